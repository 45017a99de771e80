/*
 * Functions of awkward sizes.  Each answers 7 in eax (the caller puts it there
 * for those that are too short to), its replacement answers 42.
 *
 *     call NAME    the function's answer
 *
 * `alone` functions are followed by padding up to the next 16 bytes, as
 * compilers leave it; `tight` ones by another function at once.
 */
#include "e2e_serve.h"

__asm__(".text\n"
	".macro alone name\n"
	".p2align 4\n"
	".globl shape_\\name\n.type shape_\\name, @function\n"
	"shape_\\name:\n"
	".endm\n"
	".macro tight name\n"
	".globl shape_\\name\n.type shape_\\name, @function\n"
	"shape_\\name:\n"
	".endm\n"
	".macro done name\n.size shape_\\name, . - shape_\\name\n.endm\n"

	"alone 1\n ret\n done 1\n"
	"alone 2\n nop\n ret\n done 2\n"
	"alone 4\n movb $7, %al\n nop\n ret\n done 4\n"
	"alone 5\n movb $7, %al\n nop\n nop\n ret\n done 5\n"
	"alone 9\n endbr64\n movb $7, %al\n nop\n nop\n ret\n done 9\n"
	"alone 8\n endbr64\n movb $7, %al\n nop\n ret\n done 8\n"
	/* A hole of the padding kind lies within the reach of a two-byte jump. */
	".p2align 4\n"
	"tight near\n movb $7, %al\n ret\n done near\n"
	"tight next\n movb $7, %al\n ret\n done next\n"
	".p2align 4, 0xcc\n"
	/* No hole for 127 bytes on either side, and one byte is too short for any jump but an int3. */
	"tight wall\n .rept 32\n movb $7, %al\n movl $7, %eax\n .endr\n ret\n done wall\n"
	"tight one\n ret\n done one\n"
	"tight wall2\n .rept 32\n movb $7, %al\n movl $7, %eax\n .endr\n ret\n done wall2\n"
	/* Another function goes on behind the first instruction; before the second of these there is no hole. */
	"alone joins\n movb $7, %al\n jmp joined_body\n done joins\n"
	".p2align 6, 0xcc\n"
	"tight gap\n movb $7, %al\n ret\n done gap\n"
	".p2align 4, 0xcc\n"
	"tight joined\n movb $7, %al\n"
	"joined_body:\n nop\n nop\n nop\n ret\n done joined\n"
	"tight joins_tight\n movb $7, %al\n jmp joined_tight_body\n done joins_tight\n"
	"tight joined_tight\n movb $7, %al\n"
	"joined_tight_body:\n nop\n nop\n nop\n ret\n done joined_tight\n");

/* clang-format would never come to an end with this. */
/* clang-format off */
#define SHAPES(X) \
	X(1) X(2) X(4) X(5) X(8) X(9) X(near) X(next) X(wall) \
	X(one) X(wall2) X(joins) X(gap) X(joined) X(joins_tight) X(joined_tight)
/* clang-format on */

#define DECLARE(name) void shape_##name(void);
SHAPES(DECLARE)

static const struct shape {
	const char *name;
	void (*function)(void);
} shapes[] = {
#define ROW(name) {#name, shape_##name},
	SHAPES(ROW)};

static int call(void (*function)(void))
{
	int result = 7;

	__asm__ volatile("sub $128, %%rsp\n call *%1\n add $128, %%rsp" /* the red zone is the compiler's */
			 : "+a"(result)
			 : "r"(function)
			 : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc", "memory");
	return result;
}

static void answer(char *request)
{
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
		if (!strncmp(request, "call ", 5) && !strcmp(request + 5, shapes[i].name)) {
			say("%d", call(shapes[i].function));
			return;
		}
	say("what is %s?", request);
}

int main(void)
{
	serve(answer);
	return 0;
}
