/*
 * Callers that keep values where the calling convention forbids it, because
 * they have seen that the callee leaves them alone: what gcc makes of functions
 * of one file (-fipa-ra), written down so that no compiler can do otherwise.
 *
 *     NAME    the caller's answer: 7 when its callee is unpatched, 42 when it is replaced
 *
 * Anything else is a register that was lost.
 */
#include "e2e_serve.h"

__asm__(".text\n"
	".macro function name\n"
	".p2align 4\n.globl \\name\n.type \\name, @function\n"
	"\\name:\n.cfi_startproc\n"
	".endm\n"
	".macro end name\n.cfi_endproc\n.size \\name, . - \\name\n.endm\n"
	/* Leaves: 6 in eax, and nothing else touched. */
	".macro leaf name\n function \\name\n mov $6, %eax\n ret\n end \\name\n.endm\n"
	"leaf leaf_general\n leaf leaf_vector\n leaf leaf_wide\n leaf leaf_deep\n leaf leaf_tail\n leaf leaf_polite\n"
	"leaf leaf_blocking\n"

	"function keeps_general\n"
	" mov $1, %ecx\n xor %r8d, %r8d\n sub $8, %rsp\n call leaf_general\n add $8, %rsp\n"
	" add %rcx, %rax\n add %r8, %rax\n ret\n"
	"end keeps_general\n"

	"function keeps_vector\n"
	" mov $1, %eax\n cvtsi2sd %eax, %xmm5\n sub $8, %rsp\n call leaf_vector\n add $8, %rsp\n"
	" cvttsd2si %xmm5, %ecx\n add %ecx, %eax\n ret\n"
	"end keeps_vector\n"

	/* The value is in the upper half, which movups does not reach. */
	"function keeps_wide\n"
	" mov $1, %eax\n vmovd %eax, %xmm6\n vinsertf128 $1, %xmm6, %ymm6, %ymm6\n vxorps %xmm6, %xmm6, %xmm7\n"
	" sub $8, %rsp\n call leaf_wide\n add $8, %rsp\n"
	" vextractf128 $1, %ymm6, %xmm6\n vmovd %xmm6, %ecx\n vzeroupper\n add %ecx, %eax\n ret\n"
	"end keeps_wide\n"

	/* The promise is the middle function's as well. */
	"function middle\n sub $8, %rsp\n call leaf_deep\n add $8, %rsp\n ret\n end middle\n"
	"function keeps_deep\n"
	" mov $1, %r9d\n sub $8, %rsp\n call middle\n add $8, %rsp\n add %r9d, %eax\n ret\n"
	"end keeps_deep\n"

	"function hands_on\n jmp leaf_tail\n end hands_on\n"
	"function keeps_tail\n"
	" mov $1, %esi\n sub $8, %rsp\n call hands_on\n add $8, %rsp\n add %esi, %eax\n ret\n"
	"end keeps_tail\n"

	/* By the book. */
	"function keeps_nothing\n"
	" push %rbx\n mov $1, %ebx\n call leaf_polite\n mov $1, %ecx\n add %ebx, %eax\n pop %rbx\n ret\n"
	"end keeps_nothing\n"

	/* Its seventh argument lies on the stack. */
	"function leaf_stack\n mov 8(%rsp), %rax\n ret\n end leaf_stack\n"
	"function keeps_stack\n"
	" mov $1, %ecx\n pushq $6\n call leaf_stack\n add $8, %rsp\n add %ecx, %eax\n ret\n"
	"end keeps_stack\n"

	"function keeps_blocking\n"
	" mov $1, %r10d\n sub $8, %rsp\n call leaf_blocking\n add $8, %rsp\n add %r10d, %eax\n ret\n"
	"end keeps_blocking\n");

#define CALLERS(X) X(general) X(vector) X(wide) X(deep) X(tail) X(nothing) X(stack) X(blocking)

#define DECLARE(name) int keeps_##name(void);
CALLERS(DECLARE)

static const struct caller {
	const char *name;
	int (*function)(void);
} callers[] = {
#define ROW(name) {#name, keeps_##name},
	CALLERS(ROW)};

static void answer(char *request)
{
	for (size_t i = 0; i < sizeof callers / sizeof callers[0]; i++)
		if (!strcmp(request, callers[i].name))
			say("%d", callers[i].function());
}

int main(void)
{
	serve(answer);
	return 0;
}
