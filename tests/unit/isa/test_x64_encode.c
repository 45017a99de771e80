/*
 * Islands and IFUNC stand-ins for x86-64: their text, and what they do when
 * they run in this process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/bits.h"
#include "isa/isa.h"

static const struct lp_isa *const isa = &lp_isa_x64;

static uint8_t *map_code(void)
{
	uint8_t *p = mmap(NULL, LP_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/* Disassembles and compares line by line. */
static void assert_text(const uint8_t *code, lp_addr at, const char *const *lines, size_t nr)
{
	for (size_t i = 0, offset = 0; i < nr; i++) {
		char text[96];
		size_t len = isa->disasm(code + offset, 15, at + offset, text, sizeof text);

		assert_true(len > 0);
		assert_string_equal(text, lines[i]);
		assert_int_equal(isa->insn_length(code + offset, 15, at + offset), len);
		offset += len;
	}
}

/* ---- island ---- */

static void an_island_is_an_indirect_jump_through_the_word_behind_it(void **state)
{
	uint8_t code[LP_ISLAND_MAX];
	const char *const text[] = {"jmp [0x500006]"};

	assert_int_equal(isa->island(code, 0x500000, 0x123456789abcdef0), 14);
	assert_text(code, 0x500000, text, 1);
	assert_int_equal(lp_get64(code + 6), 0x123456789abcdef0);
}

static long six(long a, long b, long c, long d, long e, long f)
{
	return a + 10 * b + 100 * c + 1000 * d + 10000 * e + 100000 * f;
}

static void an_island_arrives_with_every_argument(void **state)
{
	uint8_t *code = map_code();
	long (*through)(long, long, long, long, long, long) =
		(long (*)(long, long, long, long, long, long))(uintptr_t)code;

	isa->island(code, (uintptr_t)code, (uintptr_t)six);
	assert_int_equal(through(1, 2, 3, 4, 5, 6), 654321);
	munmap(code, LP_PAGE);
}

/* ---- IFUNC ---- */

static void an_ifunc_stub_reads_as_its_comments_say(void **state)
{
	uint8_t code[LP_IFUNC_STUB_MAX];
	lp_addr initial = 0;
	static const char *const text[] = {
		"endbr64",
		"jmp [0x402000]",
		"nop [rax+rax*1], ax",
		"endbr64",
		"push rbp",
		"mov rbp, rsp",
		"push rdi",
		"push rsi",
		"push rdx",
		"push rcx",
		"push r8",
		"push r9",
		"push rax",
		"push r10",
		"push r11",
		"and rsp, 0xfffffffffffffff0",
		"sub rsp, 0x80",
		"movups [rsp], xmm0",
		"movups [rsp+0x10], xmm1",
		"movups [rsp+0x20], xmm2",
		"movups [rsp+0x30], xmm3",
		"movups [rsp+0x40], xmm4",
		"movups [rsp+0x50], xmm5",
		"movups [rsp+0x60], xmm6",
		"movups [rsp+0x70], xmm7",
		"mov rax, 0x7f0012345678",
		"call rax",
		"mov [0x402000], rax",
		"movups xmm0, [rsp]",
		"movups xmm1, [rsp+0x10]",
		"movups xmm2, [rsp+0x20]",
		"movups xmm3, [rsp+0x30]",
		"movups xmm4, [rsp+0x40]",
		"movups xmm5, [rsp+0x50]",
		"movups xmm6, [rsp+0x60]",
		"movups xmm7, [rsp+0x70]",
		"lea rsp, [rbp-0x48]",
		"pop r11",
		"pop r10",
		"pop rax",
		"pop r9",
		"pop r8",
		"pop rcx",
		"pop rdx",
		"pop rsi",
		"pop rdi",
		"pop rbp",
		"jmp [0x402000]",
	};

	assert_int_equal(isa->ifunc_stub(code, 0x401000, 0x402000, 0x7f0012345678, &initial), 0xa9);
	assert_int_equal(initial, 0x401010);
	assert_text(code, 0x401000, text, sizeof text / sizeof text[0]);
}

static void an_ifunc_slot_out_of_reach_or_crooked_is_refused(void **state)
{
	uint8_t code[LP_IFUNC_STUB_MAX];
	const lp_addr at = (UINT64_C(1) << 40) + 7, reach = UINT64_C(1) << 31;
	const lp_addr highest = at + 0x0a + reach - 1; /* the first jump ends at 0a */
	const lp_addr lowest = at + 0xa9 - reach;      /* the last one at a9 */
	lp_addr initial;

	assert_int_not_equal(isa->ifunc_stub(code, at, highest, 0, &initial), 0);
	assert_int_equal(isa->ifunc_stub(code, at, highest + 8, 0, &initial), 0);
	assert_int_not_equal(isa->ifunc_stub(code, at, lowest, 0, &initial), 0);
	assert_int_equal(isa->ifunc_stub(code, at, lowest - 8, 0, &initial), 0);
	assert_int_equal(isa->ifunc_stub(code, at, highest - 4, 0, &initial), 0); /* in reach, crooked */
}

/* What a caller passes in, and what the implementation finds: rdi rsi rdx rcx r8 r9 rax r10 r11, xmm0-7 or ymm0-7. */
struct frame {
	uint64_t gpr[9];
	uint8_t vec[8][32];
};

/* Not static: the assembly below names them. */
struct frame given, found;
int resolved;
uintptr_t resolver_sp;
bool with_avx;

/* The implementation: stores every argument register, then returns. */
__asm__(".text\n"
	".globl implementation, resolver, call_with\n"
	".type implementation, @function\n"
	"implementation:\n"
	"	push %rbx\n"
	"	lea found(%rip), %rbx\n"
	"	mov %rdi, (%rbx)\n"
	"	mov %rsi, 8(%rbx)\n"
	"	mov %rdx, 16(%rbx)\n"
	"	mov %rcx, 24(%rbx)\n"
	"	mov %r8, 32(%rbx)\n"
	"	mov %r9, 40(%rbx)\n"
	"	mov %rax, 48(%rbx)\n"
	"	mov %r10, 56(%rbx)\n"
	"	mov %r11, 64(%rbx)\n"
	"	cmpb $0, with_avx(%rip)\n"
	"	jne 1f\n"
	"	movups %xmm0, 72(%rbx)\n"
	"	movups %xmm1, 104(%rbx)\n"
	"	movups %xmm2, 136(%rbx)\n"
	"	movups %xmm3, 168(%rbx)\n"
	"	movups %xmm4, 200(%rbx)\n"
	"	movups %xmm5, 232(%rbx)\n"
	"	movups %xmm6, 264(%rbx)\n"
	"	movups %xmm7, 296(%rbx)\n"
	"	jmp 2f\n"
	"1:	vmovups %ymm0, 72(%rbx)\n"
	"	vmovups %ymm1, 104(%rbx)\n"
	"	vmovups %ymm2, 136(%rbx)\n"
	"	vmovups %ymm3, 168(%rbx)\n"
	"	vmovups %ymm4, 200(%rbx)\n"
	"	vmovups %ymm5, 232(%rbx)\n"
	"	vmovups %ymm6, 264(%rbx)\n"
	"	vmovups %ymm7, 296(%rbx)\n"
	"2:	pop %rbx\n"
	"	mov $4711, %eax\n"
	"	ret\n"
	".size implementation, . - implementation\n"
	/* long call_with(void *f, long shift): loads every argument register from `given`, moves the stack by `shift`. */
	".type call_with, @function\n"
	"call_with:\n"
	"	push %rbp\n"
	"	push %rbx\n"
	"	mov %rsp, %rbp\n"
	"	sub %rsi, %rsp\n"
	"	push %rdi\n"
	"	lea given(%rip), %rbx\n"
	"	cmpb $0, with_avx(%rip)\n"
	"	jne 1f\n"
	"	movups 72(%rbx), %xmm0\n"
	"	movups 104(%rbx), %xmm1\n"
	"	movups 136(%rbx), %xmm2\n"
	"	movups 168(%rbx), %xmm3\n"
	"	movups 200(%rbx), %xmm4\n"
	"	movups 232(%rbx), %xmm5\n"
	"	movups 264(%rbx), %xmm6\n"
	"	movups 296(%rbx), %xmm7\n"
	"	jmp 2f\n"
	"1:	vmovups 72(%rbx), %ymm0\n"
	"	vmovups 104(%rbx), %ymm1\n"
	"	vmovups 136(%rbx), %ymm2\n"
	"	vmovups 168(%rbx), %ymm3\n"
	"	vmovups 200(%rbx), %ymm4\n"
	"	vmovups 232(%rbx), %ymm5\n"
	"	vmovups 264(%rbx), %ymm6\n"
	"	vmovups 296(%rbx), %ymm7\n"
	"2:	mov (%rbx), %rdi\n"
	"	mov 8(%rbx), %rsi\n"
	"	mov 16(%rbx), %rdx\n"
	"	mov 24(%rbx), %rcx\n"
	"	mov 32(%rbx), %r8\n"
	"	mov 40(%rbx), %r9\n"
	"	mov 48(%rbx), %rax\n"
	"	mov 56(%rbx), %r10\n"
	"	mov 64(%rbx), %r11\n"
	"	call *(%rsp)\n"
	"	mov %rbp, %rsp\n"
	"	pop %rbx\n"
	"	pop %rbp\n"
	"	ret\n"
	".size call_with, . - call_with\n"
	/* The resolver spoils all that a C function may spoil. */
	".type resolver, @function\n"
	"resolver:\n"
	"	incl resolved(%rip)\n"
	"	mov %rsp, resolver_sp(%rip)\n"
	"	mov $-1, %rdi\n"
	"	mov $-1, %rsi\n"
	"	mov $-1, %rdx\n"
	"	mov $-1, %rcx\n"
	"	mov $-1, %r8\n"
	"	mov $-1, %r9\n"
	"	mov $-1, %r10\n"
	"	mov $-1, %r11\n"
	"	pcmpeqd %xmm0, %xmm0\n"
	"	pcmpeqd %xmm1, %xmm1\n"
	"	pcmpeqd %xmm2, %xmm2\n"
	"	pcmpeqd %xmm3, %xmm3\n"
	"	pcmpeqd %xmm4, %xmm4\n"
	"	pcmpeqd %xmm5, %xmm5\n"
	"	pcmpeqd %xmm6, %xmm6\n"
	"	pcmpeqd %xmm7, %xmm7\n"
	"	lea implementation(%rip), %rax\n"
	"	ret\n"
	".size resolver, . - resolver\n");

extern char implementation[], resolver[];
long call_with(void *f, long shift);

static void fill(struct frame *f)
{
	for (size_t i = 0; i < 9; i++)
		f->gpr[i] = UINT64_C(0x1111111111111111) * (i + 1);
	for (size_t i = 0; i < sizeof f->vec; i++)
		((uint8_t *)f->vec)[i] = (uint8_t)(i * 7 + 3);
}

static void assert_all_arrived(void)
{
	for (size_t i = 0; i < 9; i++)
		assert_int_equal(found.gpr[i], given.gpr[i]);
	for (size_t i = 0; i < 8; i++)
		assert_memory_equal(found.vec[i], given.vec[i], with_avx ? 32 : 16);
}

static void check_ifunc(long shift)
{
	uint8_t *code = map_code();
	lp_addr initial, *slot = (lp_addr *)(code + 2048);

	resolved = 0;
	fill(&given);
	assert_true(isa->ifunc_stub(code, (uintptr_t)code, (uintptr_t)slot, (uintptr_t)resolver, &initial) > 0);
	*slot = initial;
	for (int call = 0; call < 3; call++) {
		memset(&found, 0, sizeof found);
		assert_int_equal(call_with(code, shift), 4711);
		assert_all_arrived();
		assert_int_equal(resolved, 1); /* the first call only */
		assert_int_equal(*slot, (uintptr_t)implementation);
	}
	assert_int_equal(resolver_sp % 16, 8); /* as at any function's entry */
	munmap(code, LP_PAGE);
}

static void an_ifunc_stub_resolves_once_and_keeps_every_argument(void **state)
{
	with_avx = false;
	check_ifunc(0);
	check_ifunc(8); /* a caller with a crooked stack */
}

static void an_ifunc_stub_keeps_the_upper_halves_of_ymm_registers(void **state)
{
	if (!__builtin_cpu_supports("avx"))
		skip();
	with_avx = true;
	check_ifunc(0);
}

/* ---- loads from afar ---- */

/* mov 0(%rip), %reg; ret */
static size_t load(uint8_t *code, unsigned reg, bool wide)
{
	size_t n = 0;

	if (wide || reg > 7)
		code[n++] = (uint8_t)(0x40 | (wide ? 8 : 0) | (reg > 7 ? 4 : 0));
	code[n++] = 0x8b;
	code[n++] = (uint8_t)((reg & 7) << 3 | 5);
	lp_put32(code + n, 0);
	code[n + 4] = 0xc3;
	return n;
}

static void a_load_from_afar_is_a_jump_to_two_loads_and_a_jump_back(void **state)
{
	static const char *const regs[] = {"rax", "rcx", "rdx", "rbx", "",    "rbp", "rsi", "rdi",
					   "r8",  "r9",	 "r10", "r11", "r12", "r13", "r14", "r15"};
	for (unsigned reg = 0; reg < 16; reg++) {
		uint8_t code[16], stub[LP_FAR_LOAD_MAX];
		char first[64], text[96];
		if (reg == 4) /* rsp */
			continue;
		size_t field = load(code, reg, true), len = field + 5;
		size_t n = isa->far_load(code, len, 0x401000, field, 0x10, 0x402000, stub, 0x401800);
		assert_in_range(n, 1, LP_FAR_LOAD_MAX);
		isa->disasm(code, len, 0x401000, text, sizeof text);
		assert_non_null(strstr(text, "jmp"));
		assert_non_null(strstr(text, "401800"));
		size_t at = isa->disasm(stub, n, 0x401800, text, sizeof text);
		snprintf(first, sizeof first, "%s", regs[reg]);
		assert_non_null(strstr(text, first));
		assert_non_null(strstr(text, "402000"));
		at += isa->disasm(stub + at, n - at, 0x401800 + at, text, sizeof text);
		assert_non_null(strstr(text, first));
		assert_non_null(strstr(text, "10"));
		at += isa->disasm(stub + at, n - at, 0x401800 + at, text, sizeof text);
		assert_non_null(strstr(text, "jmp"));
		assert_non_null(strstr(text, "401007"));
		assert_int_equal(at, n);
	}
}

static void a_load_from_afar_loads_both_widths(void **state)
{
	static uint64_t variable[2] = {1, UINT64_C(0x1122334455667788)};
	for (int wide = 0; wide < 2; wide++) {
		uint8_t *code = map_code();
		uint64_t (*run)(void);
		size_t field = load(code, 0, wide);
		lp_put64(code + 512, (uintptr_t)variable);
		assert_true(isa->far_load(code, field + 5, (uintptr_t)code, field, 8, (uintptr_t)code + 512, code + 256,
					  (uintptr_t)code + 256));
		memcpy(&run, &code, sizeof run);
		assert_int_equal(run(), wide ? variable[1] : (uint32_t)variable[1]);
		munmap(code, LP_PAGE);
	}
}

static void what_is_no_load_stays_as_it_is(void **state)
{
	static const uint8_t others[][10] = {
		{0x48, 0x89, 0x05, 0, 0, 0, 0, 0xc3},	    /* a store */
		{0x48, 0x03, 0x05, 0, 0, 0, 0, 0xc3},	    /* add */
		{0x48, 0x8d, 0x05, 0, 0, 0, 0, 0xc3},	    /* lea */
		{0x48, 0x83, 0x3d, 0, 0, 0, 0, 0x01, 0xc3}, /* cmp with an immediate behind the field */
		{0x66, 0x8b, 0x05, 0, 0, 0, 0, 0xc3},	    /* 16 bits */
		{0x48, 0x8b, 0x80, 0, 0, 0, 0, 0xc3},	    /* not pc-relative */
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(others); i++) {
		uint8_t code[10], stub[LP_FAR_LOAD_MAX];
		memcpy(code, others[i], sizeof code);
		assert_int_equal(isa->far_load(code, sizeof code, 0x1000, 3, 0, 0x2000, stub, 0x1800), 0);
		assert_memory_equal(code, others[i], sizeof code);
	}
	uint8_t code[16], stub[LP_FAR_LOAD_MAX];
	size_t field = load(code, 0, true);
	assert_int_equal(isa->far_load(code, field + 5, 0x1000, field, 0, UINT64_C(1) << 40, stub, 0x1800), 0);
	assert_int_equal(isa->far_load(code, field + 5, 0x1000, field + 1, 0, 0x2000, stub, 0x1800), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_island_is_an_indirect_jump_through_the_word_behind_it),
		cmocka_unit_test(an_island_arrives_with_every_argument),
		cmocka_unit_test(an_ifunc_stub_reads_as_its_comments_say),
		cmocka_unit_test(an_ifunc_slot_out_of_reach_or_crooked_is_refused),
		cmocka_unit_test(an_ifunc_stub_resolves_once_and_keeps_every_argument),
		cmocka_unit_test(an_ifunc_stub_keeps_the_upper_halves_of_ymm_registers),
		cmocka_unit_test(a_load_from_afar_is_a_jump_to_two_loads_and_a_jump_back),
		cmocka_unit_test(a_load_from_afar_loads_both_widths),
		cmocka_unit_test(what_is_no_load_stays_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
