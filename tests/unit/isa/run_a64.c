/*
 * Runs what src/isa/a64 produces: a static aarch64 program that links those
 * sources, generates code, and calls it.  On an x86-64 host it is run by
 * `qemu-aarch64 -cpu max`, which enforces BTI.  cmocka is not there for that
 * machine, so it speaks TAP.
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "isa/isa.h"

#ifndef PROT_BTI
#define PROT_BTI 0x10
#endif

#define CODE_SIZE (64u << 10)

static const struct lp_isa *const isa = &lp_isa_a64;
static const char *failure;
static uint8_t *code; /* CODE_SIZE bytes, readable, writable, executable */

#define expect(condition)                                                 \
	do {                                                              \
		if (!(condition) && !failure)                             \
			failure = __FILE_NAME__ ": expected " #condition; \
	} while (0)

/* ---- putting code into memory ---- */

static void put_insns(size_t offset, const uint32_t *insns, size_t nr)
{
	memcpy(code + offset, insns, nr * 4);
}

#define PUT(offset, ...) put_insns(offset, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / 4)

static uint64_t here(size_t offset)
{
	return (uintptr_t)code + offset;
}

static void sync_code(void)
{
	__builtin___clear_cache((char *)code, (char *)code + CODE_SIZE);
}

static uint64_t call(size_t offset, uint64_t x0, uint64_t x1)
{
	sync_code();
	return ((uint64_t(*)(uint64_t, uint64_t))here(offset))(x0, x1);
}

static void reloc(uint32_t type, size_t offset, uint64_t value)
{
	struct lp_err err = {0};

	if (isa->reloc_store(isa->howto(type), code + offset, value, &err) && !failure)
		failure = strdup(err.text);
}

static uint64_t page(uint64_t v)
{
	return v & ~UINT64_C(0xfff);
}

enum {
	NOP = 0xd503201f,
	RET = 0xd65f03c0,
	BTI_C = 0xd503245f,
	PACIASP = 0xd503233f,
	AUTIASP = 0xd50323bf,
	MOV_W0_7 = 0x528000e0, /* mov w0, #7 */
};

/* ---- island ---- */

static uint64_t eight(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
	return a + 10 * b + 100 * c + 1000 * d + 10000 * e + 100000 * f + 1000000 * g + 10000000 * h;
}

static void an_island_arrives_with_every_argument(void)
{
	size_t len = isa->island(code, here(0), (uintptr_t)eight);
	uint64_t (*through)(uint64_t, ...) = (uint64_t(*)(uint64_t, ...))here(0);

	expect(len <= LP_ISLAND_MAX);
	sync_code();
	expect(through(1, 2, 3, 4, 5, 6, 7, 8) == 87654321);
}

/* ---- entries ---- */

static uint64_t replacement(uint64_t a, uint64_t b)
{
	return 1000 * a + b;
}

/* Patches the function of `size` bytes at 1024; the jump goes to an island at 0. */
static void patch(size_t size, size_t expected_len)
{
	struct lp_entry_request req = {.addr = here(1024), .code = code + 1024, .code_len = size, .size = size};
	struct lp_piece pieces[2] = {{0}};
	struct lp_entry e = {0};
	struct lp_err err = {0};

	isa->island(code, here(0), (uintptr_t)replacement);
	if (isa->entry(&req, &e, &err))
		failure = strdup(err.text);
	expect(isa->entry_bytes(&e, here(0), pieces) == 1);
	expect(pieces[0].len == expected_len);
	memcpy(code + (pieces[0].at - here(0)), pieces[0].bytes, pieces[0].len);
}

static void guard(bool on)
{
	if (mprotect(code, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC | (on ? PROT_BTI : 0)))
		failure = "mprotect(PROT_BTI) failed";
}

static void a_four_byte_function_runs_the_replacement(void)
{
	PUT(1024, RET);
	expect(call(1024, 3, 5) == 3);
	patch(4, 4);
	expect(call(1024, 3, 5) == 3005);
}

static void a_function_with_a_landing_pad_runs_the_replacement_in_guarded_memory(void)
{
	PUT(1024, BTI_C, MOV_W0_7, RET);
	guard(true);
	expect(call(1024, 3, 5) == 7);
	patch(12, 4);
	expect(call(1024, 3, 5) == 3005);
	guard(false);
}

static void a_function_that_signs_its_return_runs_the_replacement_in_guarded_memory(void)
{
	PUT(1024, PACIASP, MOV_W0_7, AUTIASP, RET);
	guard(true);
	expect(call(1024, 3, 5) == 7);
	patch(16, 8);
	expect(call(1024, 3, 5) == 3005);
	guard(false);
}

/* Why the two cases above need what they need: here a bare `b` at the entry is what an indirect call arrives at. */
static void a_bare_jump_in_guarded_memory_is_no_landing_pad(void)
{
	PUT(1024, 0x14000002 /* b 8 */, NOP, MOV_W0_7, RET);
	guard(true);
	pid_t child = fork();
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		_exit((int)call(1024, 3, 5));
	}
	int status = 0;
	waitpid(child, &status, 0);
	guard(false);
	expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGILL);
}

/* ---- moved instructions ---- */

#define FAR_FROM_CODE UINT64_C(0x300000000) /* out of a direct jump's reach */

/* x0 + 1 in a copy far from `code`, then back into it for + 2 and the return. */
static uint64_t run_moved(bool told_of_guard)
{
	uint8_t *copy = mmap((void *)FAR_FROM_CODE, LP_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	struct lp_err err = {0};
	struct lp_moved moved;

	PUT(2048, BTI_C, 0x91000400 /* add x0, x0, 1 */, 0x91000800 /* add x0, x0, 2 */, RET);
	struct lp_move_request req = {.from = here(2052),
				      .code = code + 2052,
				      .code_len = 12,
				      .need = 4,
				      .to = FAR_FROM_CODE,
				      .room = LP_PAGE,
				      .function = here(2048),
				      .function_code = code + 2048,
				      .function_size = 16,
				      .guarded = told_of_guard};

	if (copy == MAP_FAILED || isa->relocate(&req, &moved, &err))
		return 0;
	memcpy(copy, moved.bytes, moved.len);
	__builtin___clear_cache((char *)copy, (char *)copy + moved.len);
	sync_code();
	return ((uint64_t(*)(uint64_t))(uintptr_t)copy)(5);
}

static void a_far_copy_returns_into_guarded_memory(void)
{
	guard(true);
	expect(run_moved(true) == 8);
	guard(false);
	expect(run_moved(false) == 8);
}

static void a_far_copy_that_is_not_told_of_the_guard_dies(void)
{
	int status;
	pid_t child = fork();

	if (!child) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		guard(true);
		_exit(run_moved(false) == 8);
	}
	expect(child > 0 && waitpid(child, &status, 0) == child);
	expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGILL);
}

/* ---- IFUNC ---- */

struct frame {
	uint64_t x[9];
	uint64_t pad;
	uint8_t q[8][16];
};
struct frame given, found;
uint64_t resolved, resolver_sp, resolver_x0, resolver_x1;
extern char implementation[], resolver[];
uint64_t call_with(uint64_t f);

__asm__(".text\n"
	".globl implementation, resolver, call_with\n"
	".type implementation, %function\n"
	"implementation:\n"
	"	bti	c\n"
	"	adrp	x9, found\n"
	"	add	x9, x9, :lo12:found\n"
	"	stp	x0, x1, [x9]\n"
	"	stp	x2, x3, [x9, 16]\n"
	"	stp	x4, x5, [x9, 32]\n"
	"	stp	x6, x7, [x9, 48]\n"
	"	str	x8, [x9, 64]\n"
	"	stp	q0, q1, [x9, 80]\n"
	"	stp	q2, q3, [x9, 112]\n"
	"	stp	q4, q5, [x9, 144]\n"
	"	stp	q6, q7, [x9, 176]\n"
	"	mov	x0, 4711\n"
	"	ret\n"
	".type call_with, %function\n"
	"call_with:\n"
	"	stp	x29, x30, [sp, -16]!\n"
	"	mov	x29, sp\n"
	"	mov	x16, x0\n"
	"	adrp	x9, given\n"
	"	add	x9, x9, :lo12:given\n"
	"	ldp	x0, x1, [x9]\n"
	"	ldp	x2, x3, [x9, 16]\n"
	"	ldp	x4, x5, [x9, 32]\n"
	"	ldp	x6, x7, [x9, 48]\n"
	"	ldr	x8, [x9, 64]\n"
	"	ldp	q0, q1, [x9, 80]\n"
	"	ldp	q2, q3, [x9, 112]\n"
	"	ldp	q4, q5, [x9, 144]\n"
	"	ldp	q6, q7, [x9, 176]\n"
	"	blr	x16\n"
	"	ldp	x29, x30, [sp], 16\n"
	"	ret\n"
	/* The resolver spoils all that a function may spoil. */
	".type resolver, %function\n"
	"resolver:\n"
	"	bti	c\n"
	"	adrp	x9, resolver_x0\n"
	"	str	x0, [x9, :lo12:resolver_x0]\n"
	"	adrp	x9, resolver_x1\n"
	"	str	x1, [x9, :lo12:resolver_x1]\n"
	"	mov	x10, sp\n"
	"	adrp	x9, resolver_sp\n"
	"	str	x10, [x9, :lo12:resolver_sp]\n"
	"	adrp	x9, resolved\n"
	"	ldr	x10, [x9, :lo12:resolved]\n"
	"	add	x10, x10, 1\n"
	"	str	x10, [x9, :lo12:resolved]\n"
	"	mov	x1, -1\n"
	"	mov	x2, -1\n"
	"	mov	x3, -1\n"
	"	mov	x4, -1\n"
	"	mov	x5, -1\n"
	"	mov	x6, -1\n"
	"	mov	x7, -1\n"
	"	mov	x8, -1\n"
	"	mov	x16, -1\n"
	"	mov	x17, -1\n"
	"	movi	v0.2d, 0\n"
	"	movi	v1.2d, 0\n"
	"	movi	v2.2d, 0\n"
	"	movi	v3.2d, 0\n"
	"	movi	v4.2d, 0\n"
	"	movi	v5.2d, 0\n"
	"	movi	v6.2d, 0\n"
	"	movi	v7.2d, 0\n"
	"	adrp	x0, implementation\n"
	"	add	x0, x0, :lo12:implementation\n"
	"	ret\n");

static void an_ifunc_stub_resolves_once_and_keeps_every_argument(void)
{
	lp_addr initial = 0, slot = here(CODE_SIZE - 8); /* another page than the code */

	resolved = 0;
	resolver_x0 = resolver_x1 = 99;
	for (size_t i = 0; i < 9; i++)
		given.x[i] = UINT64_C(0x1111111111111111) * (i + 1);
	for (size_t i = 0; i < sizeof given.q; i++)
		((uint8_t *)given.q)[i] = (uint8_t)(i * 7 + 3);
	expect(isa->ifunc_stub(code + 64, here(64), slot, (uintptr_t)resolver, &initial) <= LP_IFUNC_STUB_MAX);
	lp_put64(code + CODE_SIZE - 8, initial);
	sync_code();
	guard(true);
	for (int i = 0; i < 3; i++) {
		memset(&found, 0, sizeof found);
		expect(call_with(here(64)) == 4711);
		expect(!memcmp(found.x, given.x, sizeof found.x));
		expect(!memcmp(found.q, given.q, sizeof found.q));
		expect(resolved == 1);
		expect(lp_get64(code + CODE_SIZE - 8) == (uintptr_t)implementation);
	}
	guard(false);
	expect(resolver_sp % 16 == 0);
	expect(resolver_x0 == 0 && resolver_x1 == 0); /* "no hwcap, no second argument" */
}

static void an_ifunc_slot_out_of_reach_or_crooked_is_refused(void)
{
	static uint8_t out[LP_IFUNC_STUB_MAX];
	const lp_addr at = UINT64_C(1) << 40, reach = UINT64_C(1) << 32;
	lp_addr initial;

	expect(isa->ifunc_stub(out, at, at + reach - 8, 0, &initial));
	expect(!isa->ifunc_stub(out, at, at + reach, 0, &initial));
	expect(isa->ifunc_stub(out, at, at - reach, 0, &initial));
	expect(!isa->ifunc_stub(out, at, at - reach - 8, 0, &initial));
	expect(!isa->ifunc_stub(out, at, at + 12, 0, &initial));
}

/* ---- relocations: the instruction is executed, its effect must be the value's ---- */

#define DATA 8192u /* where the data of these tests lies in `code` */

static void adr_and_adrp_compute_the_address(void)
{
	PUT(0, 0x10000000 /* adr x0, . */, RET);
	reloc(R_AARCH64_ADR_PREL_LO21, 0, (uint64_t)-3 + DATA);
	expect(call(0, 0, 0) == here(DATA - 3));
	reloc(R_AARCH64_ADR_PREL_LO21, 0, (uint64_t)-5);
	expect(call(0, 0, 0) == here(0) - 5);
	reloc(R_AARCH64_ADR_PREL_LO21, 0, 0xfffff);
	expect(call(0, 0, 0) == here(0xfffff));
	reloc(R_AARCH64_ADR_PREL_LO21, 0, -UINT64_C(0x100000));
	expect(call(0, 0, 0) == here(0) - 0x100000);

	PUT(0, 0x90000000 /* adrp x0, . */, 0x91000000 /* add x0, x0, 0 */, RET);
	for (int i = 0; i < 4; i++) {
		uint64_t target = (uint64_t[]){here(DATA + 0x123), here(0) - 0x12345678, here(0) + 0xfffff000,
					       here(0) - 0xfffffabc}[i];

		reloc(R_AARCH64_ADR_PREL_PG_HI21, 0, page(target) - page(here(0)));
		reloc(R_AARCH64_ADD_ABS_LO12_NC, 4, target);
		expect(call(0, 0, 0) == target);
	}
}

static void sixteen_bits_at_a_time_make_the_whole_value(void)
{
	const uint64_t value = 0xfedcba9876543210;

	PUT(0, 0xd2800000 /* movz x0, 0 */, 0xf2a00000 /* movk x0, 0, lsl 16 */, 0xf2c00000, 0xf2e00000, RET);
	reloc(R_AARCH64_MOVW_UABS_G0_NC, 0, value);
	reloc(R_AARCH64_MOVW_UABS_G1_NC, 4, value);
	reloc(R_AARCH64_MOVW_UABS_G2_NC, 8, value);
	reloc(R_AARCH64_MOVW_UABS_G3, 12, value);
	expect(call(0, 0, 0) == value);
}

static void a_signed_move_takes_both_signs(void)
{
	static const struct {
		uint32_t type, insn;
		int64_t value; /* its other bits are the sign's */
	} rows[] = {
		{R_AARCH64_MOVW_SABS_G0, 0xd2800000, 0x1234},
		{R_AARCH64_MOVW_SABS_G0, 0xd2800000, -0x1234},
		{R_AARCH64_MOVW_SABS_G0, 0x92800000, 0x1234}, /* a movn that must become movz */
		{R_AARCH64_MOVW_SABS_G0, 0xd2800000, 0xffff},
		{R_AARCH64_MOVW_SABS_G0, 0xd2800000, -0x10000},
		{R_AARCH64_MOVW_SABS_G1, 0xd2a00000, 0x12340000},
		{R_AARCH64_MOVW_SABS_G1, 0xd2a00000, -0x12340000 + 0xffff},
		{R_AARCH64_MOVW_SABS_G2, 0xd2c00000, INT64_C(0x123400000000)},
		{R_AARCH64_MOVW_SABS_G2, 0xd2c00000, ~INT64_C(0x123400000000)},
		{R_AARCH64_MOVW_PREL_G3, 0xd2e00000, INT64_C(0x1234) << 48},
		{R_AARCH64_TLSLE_MOVW_TPREL_G0, 0xd2800000, -7},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		PUT(0, rows[i].insn, RET);
		reloc(rows[i].type, 0, (uint64_t)rows[i].value);
		expect((int64_t)call(0, 0, 0) == rows[i].value);
	}
}

static void loads_of_every_width_find_their_datum(void)
{
	static const struct {
		uint32_t type, insn; /* x0 = page; result in x0 */
		size_t offset, width;
	} rows[] = {
		{R_AARCH64_LDST8_ABS_LO12_NC, 0x39400000, 0xfff, 1},   /* ldrb w0, [x0] */
		{R_AARCH64_LDST16_ABS_LO12_NC, 0x79400000, 0xffe, 2},  /* ldrh w0, [x0] */
		{R_AARCH64_LDST32_ABS_LO12_NC, 0xb9400000, 0xffc, 4},  /* ldr w0, [x0] */
		{R_AARCH64_LDST64_ABS_LO12_NC, 0xf9400000, 0xff8, 8},  /* ldr x0, [x0] */
		{R_AARCH64_LDST128_ABS_LO12_NC, 0x3dc00000, 0xff0, 8}, /* ldr q0, [x0]; its low half is taken */
		{R_AARCH64_LD64_GOT_LO12_NC, 0xf9400000, 0x128, 8},    {R_AARCH64_LDST64_ABS_LO12_NC, 0xf9400000, 0, 8},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint64_t want = 0;

		for (size_t k = 0; k < 4096; k++)
			code[DATA + k] = (uint8_t)(k * 13 + i + 1);
		memcpy(&want, code + DATA + rows[i].offset, rows[i].width);
		PUT(0, rows[i].insn, rows[i].insn == 0x3dc00000 ? 0x9e660000 /* fmov x0, d0 */ : NOP, RET);
		reloc(rows[i].type, 0, here(DATA + rows[i].offset));
		expect(call(0, here(DATA), 0) == want);
	}
	PUT(0, 0x58000000 /* ldr x0, . */, RET);
	reloc(R_AARCH64_LD_PREL_LO19, 0, DATA + 0x10);
	expect(call(0, 0, 0) == lp_get64(code + DATA + 0x10));
	/* the instruction before: itself and its successor as data */
	PUT(1024, NOP, NOP, 0x58000000, RET);
	reloc(R_AARCH64_LD_PREL_LO19, 1032, (uint64_t)-8);
	expect(call(1032, 0, 0) == ((uint64_t)NOP << 32 | NOP));
}

static void two_additions_make_a_24_bit_offset(void)
{
	PUT(0, 0x91400000 /* add x0, x0, 0, lsl 12 */, 0x91000000 /* add x0, x0, 0 */, RET);
	reloc(R_AARCH64_TLSLE_ADD_TPREL_HI12, 0, 0xabcdef);
	reloc(R_AARCH64_TLSLE_ADD_TPREL_LO12_NC, 4, 0xabcdef);
	expect(call(0, 0x1000000, 0) == 0x1abcdef);
}

static void branches_of_every_kind_arrive(void)
{
	static const struct {
		uint32_t type, insn;
		uint64_t taken_x0; /* with which the branch is taken; ~0: always */
	} rows[] = {
		{R_AARCH64_JUMP26, 0x14000000, 1},		    /* b */
		{R_AARCH64_CONDBR19, 0xb4000000, 0},		    /* cbz x0 */
		{R_AARCH64_CONDBR19, 0xb5000000, 1},		    /* cbnz x0 */
		{R_AARCH64_TSTBR14, 0x36000000, 0},		    /* tbz w0, 0 */
		{R_AARCH64_TSTBR14, 0xb7f80000, UINT64_C(1) << 63}, /* tbnz x0, 63 */
	};
	static const int32_t distances[] = {8, 2048, 32764, -8, -2048, -32768};
	const size_t at = 32768;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (size_t k = 0; k < sizeof distances / sizeof distances[0]; k++) {
			memset(code, 0, CODE_SIZE);
			PUT(at, rows[i].insn, RET);
			if (distances[k] == 32764) /* the last two instructions */
				PUT(at + 32764 - 4, MOV_W0_7, RET), reloc(rows[i].type, at, 32764 - 4);
			else
				PUT(at + (size_t)distances[k], MOV_W0_7, RET),
					reloc(rows[i].type, at, (uint64_t)distances[k]);
			expect(call(at, rows[i].taken_x0, 0) == 7);
		}
	}
	/* cmp x0, x1; b.eq */
	PUT(at, 0xeb01001f, 0x54000000, RET);
	PUT(at + 64, MOV_W0_7, RET);
	reloc(R_AARCH64_CONDBR19, at + 4, 60);
	expect(call(at, 5, 5) == 7);
	expect(call(at, 5, 6) == 5);
	/* mov x19, lr kept on the stack; bl; the callee's answer comes back */
	PUT(at, 0xa9bf7bfd /* stp x29, x30, [sp, -16]! */, 0x94000000, 0xa8c17bfd /* ldp x29, x30, [sp], 16 */, RET);
	reloc(R_AARCH64_CALL26, at + 4, 60);
	expect(call(at, 1, 0) == 7);
}

static void data_words_take_addresses_and_distances(void)
{
	reloc(R_AARCH64_ABS64, DATA, here(0));
	expect(lp_get64(code + DATA) == here(0));
	lp_put64(code + DATA, 0);
	reloc(R_AARCH64_PREL32, DATA, (uint64_t)-4);
	expect(lp_get64(code + DATA) == 0xfffffffc);
	reloc(R_AARCH64_PREL16, DATA, 0x7ffe);
	expect(lp_get64(code + DATA) == 0xffff7ffe);
}

/* ---- running them ---- */

#define TEST(function)              \
	{                           \
		function, #function \
	}

int main(void)
{
	static const struct {
		void (*run)(void);
		const char *name;
	} tests[] = {
		TEST(an_island_arrives_with_every_argument),
		TEST(a_four_byte_function_runs_the_replacement),
		TEST(a_function_with_a_landing_pad_runs_the_replacement_in_guarded_memory),
		TEST(a_function_that_signs_its_return_runs_the_replacement_in_guarded_memory),
		TEST(a_bare_jump_in_guarded_memory_is_no_landing_pad),
		TEST(a_far_copy_returns_into_guarded_memory),
		TEST(a_far_copy_that_is_not_told_of_the_guard_dies),
		TEST(an_ifunc_stub_resolves_once_and_keeps_every_argument),
		TEST(an_ifunc_slot_out_of_reach_or_crooked_is_refused),
		TEST(adr_and_adrp_compute_the_address),
		TEST(sixteen_bits_at_a_time_make_the_whole_value),
		TEST(a_signed_move_takes_both_signs),
		TEST(loads_of_every_width_find_their_datum),
		TEST(two_additions_make_a_24_bit_offset),
		TEST(branches_of_every_kind_arrive),
		TEST(data_words_take_addresses_and_distances),
	};
	const size_t nr = sizeof tests / sizeof tests[0];
	int failures = 0;

	/* Low, so that adrp's 4 GiB in both directions are addresses. */
	code = mmap((void *)0x200000000, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (code == MAP_FAILED)
		return perror("mmap"), 1;
	printf("1..%zu\n", nr);
	for (size_t i = 0; i < nr; i++) {
		failure = NULL;
		memset(code, 0, CODE_SIZE);
		tests[i].run();
		printf("%s %zu - %s\n", failure ? "not ok" : "ok", i + 1, tests[i].name);
		if (failure)
			printf("# %s\n", failure);
		failures += failure != NULL;
		fflush(stdout);
	}
	return failures != 0;
}
