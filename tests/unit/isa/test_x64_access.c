/*
 * What is said about an instruction, against the processor: every instruction
 * on registers that libc.so.6 contains is executed, and nothing may change, or
 * matter, that was said not to.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "isa/x64/access.h"
#include "object.h"

/* ---- a stub that executes one instruction on given registers ---- */

struct state {
	uint64_t general[16]; /* as ModRM numbers them; [4], rsp, is left out */
	uint64_t xmm[16][2];
};

__asm__(".pushsection .text\n"
	".balign 64\n"
	"stub:\n"
	" push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
	" mov %rsp, stub_rsp(%rip)\n"
	" .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n movups stub_in+128+16*\\n(%rip), %xmm\\n\n .endr\n"
	" pushq $0x202\n popfq\n" /* the same flags each time, carry clear */
	" mov stub_in+0(%rip), %rax\n mov stub_in+8(%rip), %rcx\n mov stub_in+16(%rip), %rdx\n"
	" mov stub_in+24(%rip), %rbx\n mov stub_in+40(%rip), %rbp\n mov stub_in+48(%rip), %rsi\n"
	" mov stub_in+56(%rip), %rdi\n"
	" .irp n, 8,9,10,11,12,13,14,15\n mov stub_in+8*\\n(%rip), %r\\n\n .endr\n"
	"stub_hole:\n .skip 15, 0x90\n"
	" mov %rax, stub_out+0(%rip)\n mov %rcx, stub_out+8(%rip)\n mov %rdx, stub_out+16(%rip)\n"
	" mov %rbx, stub_out+24(%rip)\n mov %rbp, stub_out+40(%rip)\n mov %rsi, stub_out+48(%rip)\n"
	" mov %rdi, stub_out+56(%rip)\n"
	" .irp n, 8,9,10,11,12,13,14,15\n mov %r\\n, stub_out+8*\\n(%rip)\n .endr\n"
	" .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n movups %xmm\\n, stub_out+128+16*\\n(%rip)\n .endr\n"
	" mov stub_rsp(%rip), %rsp\n cld\n"
	" pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
	" ret\n"
	".balign 64\n"
	"stub_rsp: .skip 64\n"
	"stub_in: .skip 384\n"
	"stub_out: .skip 384\n"
	"stub_end:\n"
	".popsection\n");

extern const uint8_t stub[], stub_hole[], stub_in[], stub_out[], stub_end[];

static uint8_t *copy; /* of the stub, writable and executable */
static sigjmp_buf trapped;

static void on_trap(int signal)
{
	siglongjmp(trapped, signal);
}

static void set_up(void)
{
	static const int signals[] = {SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGTRAP};

	copy = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(copy != MAP_FAILED);
	memcpy(copy, stub, (size_t)(stub_end - stub));
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
		sigaction(signals[i], &(struct sigaction){.sa_handler = on_trap, .sa_flags = SA_NODEFER}, NULL);
}

static void load_instruction(const uint8_t *code, size_t len)
{
	uint8_t *hole = copy + (stub_hole - stub);

	memset(hole, 0x90, X64_INSN_MAX);
	memcpy(hole, code, len);
}

/* false when the processor refuses. */
static bool execute(const struct state *in, struct state *out)
{
	memcpy(copy + (stub_in - stub), in, sizeof *in);
	if (sigsetjmp(trapped, 1))
		return false;
	((void (*)(void))(uintptr_t)copy)();
	memcpy(out, copy + (stub_out - stub), sizeof *out);
	return true;
}

/* ---- registers of a state by their bit ---- */

static const uint8_t general_numbers[] = {0, 1, 2, 6, 7, 8, 9, 10, 11}; /* in the order of X64_RAX .. X64_R11 */

#define NR_TESTED (X64_XMM0 + 16)

static uint64_t *word_of(struct state *s, unsigned bit)
{
	return bit < X64_XMM0 ? &s->general[general_numbers[bit]] : s->xmm[bit - X64_XMM0];
}

static bool equal(const struct state *a, const struct state *b, unsigned bit)
{
	return !memcmp(word_of((struct state *)a, bit), word_of((struct state *)b, bit), bit < X64_XMM0 ? 8 : 16);
}

static uint64_t random_word(void)
{
	static uint64_t x = UINT64_C(0x243f6a8885a308d3);

	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

static void randomize(struct state *s, unsigned bit)
{
	*word_of(s, bit) = random_word();
	if (bit >= X64_XMM0)
		word_of(s, bit)[1] = random_word();
}

static struct state random_state(void)
{
	struct state s;

	for (size_t i = 0; i < 16; i++)
		s.general[i] = random_word();
	for (unsigned bit = X64_XMM0; bit < NR_TESTED; bit++)
		randomize(&s, bit);
	return s;
}

static void complain(const uint8_t *code, size_t len, const char *what, unsigned bit)
{
	char text[96] = "";

	lp_x64_disasm(code, len, 0, text, sizeof text);
	fail_msg("%s: %s %s", text, what, lp_x64_reg_name(bit));
}

static void check_changes(const uint8_t *code, const struct lp_x64_access *in, const struct state *before,
			  const struct state *after)
{
	for (unsigned bit = 0; bit < NR_TESTED; bit++) {
		if (!(in->writes & X64_BIT(bit)) && !equal(before, after, bit))
			complain(code, in->len, "unexpectedly changes", bit);
	}
}

/* With another value in a register that is not read, everything else comes out the same; a register that is killed does
 * even itself. */
static bool check_dependence(const uint8_t *code, const struct lp_x64_access *in, const struct state *before,
			     const struct state *after, unsigned bit)
{
	struct state other = *before, result;

	randomize(&other, bit);
	if (!execute(&other, &result))
		return false;
	for (unsigned i = 0; i < NR_TESTED; i++) {
		bool may_differ = i == bit && !(in->kills & X64_BIT(bit));

		if (!may_differ && !equal(after, &result, i))
			complain(code, in->len, i == bit ? "keeps something of" : "unexpectedly depends on", bit);
	}
	return true;
}

static bool check(const uint8_t *code, const struct lp_x64_access *in)
{
	struct state before = random_state(), after;

	load_instruction(code, in->len);
	if (!execute(&before, &after))
		return false;
	check_changes(code, in, &before, &after);
	for (unsigned bit = 0; bit < NR_TESTED; bit++) {
		if (!(in->reads & X64_BIT(bit)) && !check_dependence(code, in, &before, &after, bit))
			return false;
	}
	return true;
}

/* ---- which instructions ---- */

static bool gives_the_same_each_time(const char *text)
{
	static const char *const not_so[] = {
		"rdtsc",  "rdpmc",  "rdrand", "rdseed", "cpuid",  "rdpid",  "xgetbv", "xend",	"xtest",
		"xabort", "sys",    "int",    "rdssp",	"incssp", "wr",	    "rdfs",   "rdgs",	"popf",
		"std",	  "fld",    "f",      "emms",	"mov cr", "mov dr", "mov ss", "mov ds", "mov es",
		"mov fs", "mov gs", "enter",  "leave",	"push",	  "pop",    "xlat",   "lods",	"stos",
		"movs ",  "movsb",  "scas",   "cmps",	"rep",	  "cli",    "sti",    "in ",	"out",
		"lldt",	  "ltr",    "xsave",  "xrstor", "lock",	  "mwait",  "monitor"};

	for (size_t i = 0; i < sizeof not_so / sizeof not_so[0]; i++) {
		if (!strncmp(text, not_so[i], strlen(not_so[i])))
			return false;
	}
	return !strchr(text, '['); /* and nothing in memory */
}

static bool is_testable(const uint8_t *code, size_t len, const struct lp_x64_access *in)
{
	char text[96];

	if (in->flow != X64_NEXT || in->stack != X64_STACK_SAME || in->copies_sp || in->writes & X64_MASKS ||
	    in->reads & X64_MASKS || (in->reads | in->writes) >> NR_TESTED)
		return false;
	return lp_x64_disasm(code, len, 0, text, sizeof text) && gives_the_same_each_time(text) &&
	       !strstr(text, "rsp") && !strstr(text, "esp") && !strstr(text, " sp") && !strstr(text, "spl");
}

static bool met_before(const uint8_t *code, size_t len)
{
	static struct {
		uint8_t bytes[X64_INSN_MAX + 1];
	} seen[1 << 17];
	uint64_t h = len;

	for (size_t i = 0; i < len; i++)
		h = (h ^ code[i]) * UINT64_C(0x100000001b3);
	size_t i = h >> 32 & (sizeof seen / sizeof seen[0] - 1);
	for (; seen[i].bytes[0]; i = (i + 1) % (sizeof seen / sizeof seen[0])) {
		if (seen[i].bytes[0] == len && !memcmp(seen[i].bytes + 1, code, len))
			return true;
	}
	seen[i].bytes[0] = (uint8_t)len;
	memcpy(seen[i].bytes + 1, code, len);
	return false;
}

static void the_processor_agrees_on_every_register_instruction_of_libc(void **state)
{
	struct object o = object_open("/lib/x86_64-linux-gnu/libc.so.6");
	const Elf64_Shdr *text = object_section(&o, ".text");
	size_t executed = 0, refused = 0;
	struct lp_x64_access in;

	set_up(); /* here: cmocka takes the signals for itself before each test */
	for (size_t i = 0; i < text->sh_size; i += in.len) {
		const uint8_t *code = o.bytes + text->sh_offset + i;

		assert_true(lp_x64_access(code, text->sh_size - i, 0, &in));
		if (!is_testable(code, in.len, &in) || met_before(code, in.len))
			continue;
		*(check(code, &in) ? &executed : &refused) += 1;
	}
	print_message("%zu different instructions executed, %zu refused by this processor\n", executed, refused);
	assert_true(executed > 5000);
	object_close(&o);
}

/* ---- what libc does not show ---- */

static struct lp_x64_access access_of(const char *bytes, size_t len)
{
	struct lp_x64_access in;

	assert_true(lp_x64_access((const uint8_t *)bytes, len, 0x1000, &in));
	assert_int_equal(in.len, len);
	return in;
}

#define ACCESS(bytes) access_of(bytes, sizeof bytes - 1)

static void idioms_of_constants_read_nothing(void **state)
{
	assert_int_equal(ACCESS("\x31\xc9").reads, 0); /* xor ecx, ecx */
	assert_int_equal(ACCESS("\x31\xc9").kills, X64_BIT(X64_RCX));
	assert_int_equal(ACCESS("\x83\xc8\xff").reads, 0);		  /* or eax, -1 */
	assert_int_equal(ACCESS("\x83\xe0\x00").kills, X64_BIT(X64_RAX)); /* and eax, 0 */
	assert_int_equal(ACCESS("\x66\x0f\xef\xc0").reads, 0);		  /* pxor xmm0, xmm0 */
	assert_int_equal(ACCESS("\x66\x31\xc9").kills, 0);		  /* xor cx, cx */
	assert_int_equal(ACCESS("\x31\xca").reads, X64_BIT(X64_RCX) | X64_BIT(X64_RDX));
}

static void an_address_reads_its_registers_and_a_nop_does_not(void **state)
{
	assert_int_equal(ACCESS("\x8d\x04\x3f").reads, X64_BIT(X64_RDI)); /* lea eax, [rdi+rdi] */
	assert_int_equal(ACCESS("\x48\x89\x0c\x16").reads, X64_BIT(X64_RCX) | X64_BIT(X64_RDX) | X64_BIT(X64_RSI));
	assert_int_equal(ACCESS("\x0f\x1f\x04\x08").reads, 0); /* nop [rax+rcx] */
}

static void a_merging_vector_load_keeps_the_old_value(void **state)
{
	assert_int_equal(ACCESS("\xf2\x0f\x2a\xc0").kills, 0);		       /* cvtsi2sd xmm0, eax */
	assert_int_equal(ACCESS("\x0f\x16\x07").kills, 0);		       /* movhps xmm0, [rdi] */
	assert_int_equal(ACCESS("\xf2\x0f\x10\x07").kills, X64_BIT(X64_XMM0)); /* movsd xmm0, [rdi] */
	assert_int_equal(ACCESS("\xf2\x0f\x10\xc1").kills, 0);		       /* movsd xmm0, xmm1 */
}

static void upper_halves_are_soiled_not_written(void **state)
{
	assert_int_equal(ACCESS("\xc5\xf8\x77").writes, 0); /* vzeroupper */
	assert_int_equal(ACCESS("\xc5\xf8\x77").soils, UINT64_C(0xffff) << X64_XMM0);
	assert_int_equal(ACCESS("\xc5\xfc\x77").writes, UINT64_C(0xffff) << X64_XMM0); /* vzeroall */
	assert_int_equal(ACCESS("\xc5\xf4\x58\xc2").vector_bytes, 32);		       /* vaddps ymm0, ymm1, ymm2 */
}

static void a_masked_instruction_merges(void **state)
{
	struct lp_x64_access in = ACCESS("\x62\xf1\x7c\x49\x28\xc1"); /* vmovaps zmm0{k1}, zmm1 */

	assert_int_equal(in.kills, 0);
	assert_true(in.reads & X64_BIT(X64_XMM0) && in.reads & X64_BIT(X64_K0 + 1));
	assert_int_equal(in.vector_bytes, 64);
}

static void flow_is_told_apart(void **state)
{
	assert_int_equal(ACCESS("\xe8\x00\x00\x00\x00").flow, X64_CALL);
	assert_int_equal(ACCESS("\xe8\x00\x00\x00\x00").target, 0x1005);
	assert_int_equal(ACCESS("\xff\xd0").flow, X64_CALL_UNKNOWN);
	assert_int_equal(ACCESS("\xff\x15\x10\x00\x00\x00").slot, 0x1016);
	assert_int_equal(ACCESS("\xff\x25\x10\x00\x00\x00").flow, X64_JUMP_THROUGH);
	assert_int_equal(ACCESS("\xf2\xff\x25\x10\x00\x00\x00").slot, 0x1017); /* bnd jmp, as PLTs have it */
	assert_int_equal(ACCESS("\x3e\xff\xe0").flow, X64_JUMP_COMPUTED);      /* notrack jmp rax */
	assert_int_equal(ACCESS("\xff\x24\xc5\x00\x10\x40\x00").flow, X64_JUMP_COMPUTED);
	assert_int_equal(ACCESS("\x74\x02").flow, X64_BRANCH);
	assert_int_equal(ACCESS("\xc3").flow, X64_RETURN);
	assert_int_equal(ACCESS("\x0f\x0b").flow, X64_STOP);
	assert_int_equal(ACCESS("\xf3\x0f\x1e\xfa").flow, X64_NEXT); /* endbr64 */
}

static void a_system_call_reads_its_arguments_and_loses_two_registers(void **state)
{
	struct lp_x64_access in = ACCESS("\x0f\x05");

	assert_true(in.reads & X64_BIT(X64_R10) && in.reads & X64_BIT(X64_RDI) && in.reads & X64_BIT(X64_RAX));
	assert_true(in.writes & X64_BIT(X64_RCX) && in.writes & X64_BIT(X64_R11) && in.writes & X64_BIT(X64_RAX));
}

static void the_stack_pointer_is_followed(void **state)
{
	assert_int_equal(ACCESS("\x55").stack_by, -8);			 /* push rbp */
	assert_int_equal(ACCESS("\x48\x83\xec\x18").stack_by, -24);	 /* sub rsp, 24 */
	assert_int_equal(ACCESS("\x48\x8d\x64\x24\x10").stack_by, 16);	 /* lea rsp, [rsp+16] */
	assert_int_equal(ACCESS("\x48\x89\xe5").stack, X64_STACK_FRAME); /* mov rbp, rsp */
	assert_int_equal(ACCESS("\xc9").stack, X64_STACK_LEAVE);
	assert_int_equal(ACCESS("\x48\x83\xe4\xf0").stack, X64_STACK_LOWER); /* and rsp, -16 */
	assert_int_equal(ACCESS("\x48\x29\xc4").stack, X64_STACK_LOWER);     /* sub rsp, rax */
	assert_int_equal(ACCESS("\x48\x8b\x65\xf0").stack, X64_STACK_LOST);  /* mov rsp, [rbp-16] */
	assert_true(ACCESS("\x48\x89\xe0").copies_sp);			     /* mov rax, rsp */
	assert_int_equal(ACCESS("\xe8\x00\x00\x00\x00").stack, X64_STACK_SAME);
}

static void what_is_no_instruction_is_none(void **state)
{
	struct lp_x64_access in;

	assert_false(lp_x64_access((const uint8_t *)"\x06", 1, 0, &in));
	assert_false(lp_x64_access((const uint8_t *)"\xe8\x00", 2, 0, &in));
	assert_false(lp_x64_access((const uint8_t *)"", 0, 0, &in));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_processor_agrees_on_every_register_instruction_of_libc),
		cmocka_unit_test(idioms_of_constants_read_nothing),
		cmocka_unit_test(an_address_reads_its_registers_and_a_nop_does_not),
		cmocka_unit_test(a_merging_vector_load_keeps_the_old_value),
		cmocka_unit_test(upper_halves_are_soiled_not_written),
		cmocka_unit_test(a_masked_instruction_merges),
		cmocka_unit_test(flow_is_told_apart),
		cmocka_unit_test(a_system_call_reads_its_arguments_and_loses_two_registers),
		cmocka_unit_test(the_stack_pointer_is_followed),
		cmocka_unit_test(what_is_no_instruction_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
