/*
 * Integer instructions: results and flags.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "rig.h"

static int setup(void **state)
{
	*state = rig_new();
	return 0;
}

static int teardown(void **state)
{
	rig_free(*state);
	return 0;
}

/* What x0 is behind the instruction; flags only where they are not ANY. */
struct example {
	const char *text;
	uint64_t x1, x2, x0;
	int nzcv;
};

enum { ANY = -1, N = 8, Z = 4, C = 2, V = 1 };

static void check(struct rig *r, const struct example *e)
{
	r->cpu.x[0] = 0x0123456789abcdef;
	r->cpu.x[1] = e->x1;
	r->cpu.x[2] = e->x2;
	r->cpu.x[3] = 1000;
	lp_cpu_set_nzcv(&r->cpu, (uint32_t)(N | C) << 28);
	if (rig_run(r, e->text) != LP_LEAVE_LOOKUP || r->cpu.pc != RIG_PC + 4)
		fail_msg("%s: signal %d", e->text, r->cpu.fault.signal);
	if (r->cpu.x[0] != e->x0)
		fail_msg("%s: %#lx is not %#lx", e->text, r->cpu.x[0], e->x0);
	if (e->nzcv != ANY && lp_cpu_nzcv(&r->cpu) >> 28 != (uint32_t)e->nzcv)
		fail_msg("%s: flags %#x are not %#x", e->text, lp_cpu_nzcv(&r->cpu) >> 28, e->nzcv);
}

#define CHECK_ALL(r, examples)                                              \
	for (size_t i = 0; i < sizeof(examples) / sizeof(examples)[0]; i++) \
	check(r, &(examples)[i])

/* clang-format off */
static void sums_and_their_flags(void **state)
{
	static const struct example examples[] = {
		{"add x0, x1, #4095, lsl #12", 1, 0, 0xfff001, N | C},
		{"add w0, w1, #1", 0xffffffff, 0, 0, N | C},
		{"sub x0, x1, #1", 0, 0, UINT64_MAX, N | C},
		{"adds x0, x1, x2", UINT64_MAX, 1, 0, Z | C},
		{"adds x0, x1, x2", INT64_MAX, 1, UINT64_C(1) << 63, N | V},
		{"adds w0, w1, w2", 0x7fffffff, 1, 0x80000000, N | V},
		{"adds w0, w1, w2", 0xffffffff, 1, 0, Z | C},
		{"subs x0, x1, x2", 5, 5, 0, Z | C},
		{"subs x0, x1, x2", 4, 5, UINT64_MAX, N},
		{"subs w0, w1, w2", 0x80000000, 1, 0x7fffffff, C | V},
		{"subs x0, x1, x2, lsl #4", 0x100, 0x10, 0, Z | C},
		{"add x0, x1, x2, asr #63", 10, UINT64_C(1) << 63, 9, N | C},
		{"add w0, w1, w2, lsr #31", 10, 0xffffffff80000000, 11, N | C},
		{"add x0, x1, w2, sxtw #2", 100, 0xffffffff, 96, N | C},
		{"add x0, x1, w2, uxtb", 100, 0x1ff, 355, N | C},
		{"sub x0, x1, x2, sxtx #4", 100, 1, 84, N | C},
		{"subs x0, x1, w2, uxth", 0xffff, 0xabcdffff, 0, Z | C},
		{"adc x0, x1, x2", 1, 2, 4, N | C},
		{"adcs x0, x1, x2", UINT64_MAX, UINT64_MAX, UINT64_MAX, N | C},
		{"sbc x0, x1, x2", 5, 3, 2, N | C},
		{"sbcs w0, w1, w2", 3, 5, 0xfffffffe, N},
	};

	CHECK_ALL(*state, examples);
}

static void logic_and_its_flags(void **state)
{
	static const struct example examples[] = {
		{"and x0, x1, #0xff00ff00ff00ff", UINT64_MAX, 0, 0xff00ff00ff00ff, N | C},
		{"orr w0, w1, #0x80000001", 0xffffffff00000010, 0, 0x80000011, N | C},
		{"eor x0, x1, #-2", 1, 0, UINT64_MAX, N | C},
		{"ands x0, x1, #1", 2, 0, 0, Z},
		{"ands w0, w1, w2", 0x80000000, 0x80000000, 0x80000000, N},
		{"bic x0, x1, x2", 0xff, 0x0f, 0xf0, N | C},
		{"bics x0, x1, x2", 0xff, 0xff, 0, Z},
		{"orn w0, w1, w2", 0, 0xffffffff, 0, N | C},
		{"eon x0, x1, x2, ror #8", 0, 0xff, 0x00ffffffffffffff, N | C},
		{"eor w0, w1, w2, ror #4", 0, 0xf, 0xf0000000, N | C},
	};

	CHECK_ALL(*state, examples);
}

static void moves_and_bitfields(void **state)
{
	static const struct example examples[] = {
		{"movz x0, #0xbeef, lsl #48", 0, 0, 0xbeef000000000000, ANY},
		{"movn w0, #0", 0, 0, 0xffffffff, ANY},
		{"movk x0, #0xffff, lsl #16", 0, 0, 0x01234567ffffcdef, ANY},
		{"movk w0, #0, lsl #16", 0, 0, 0xcdef, ANY},
		{"ubfx x0, x1, #4, #8", 0xabcd, 0, 0xbc, ANY},
		{"ubfiz w0, w1, #28, #4", 0xff, 0, 0xf0000000, ANY},
		{"sbfx x0, x1, #4, #8", 0x0f80, 0, 0xfffffffffffffff8, ANY},
		{"sbfiz w0, w1, #4, #4", 0xf, 0, 0xfffffff0, ANY},
		{"sxtw x0, w1", 0x80000000, 0, 0xffffffff80000000, ANY},
		{"sxtb w0, w1", 0x80, 0, 0xffffff80, ANY},
		{"lsl x0, x1, #63", 3, 0, UINT64_C(1) << 63, ANY},
		{"lsr w0, w1, #31", 0x1ffffffff, 0, 1, ANY},
		{"asr w0, w1, #31", 0x80000000, 0, 0xffffffff, ANY},
		{"asr x0, x1, #63", UINT64_C(1) << 63, 0, UINT64_MAX, ANY},
		{"bfi x0, x1, #8, #8", 0xaa, 0, 0x0123456789abaaef, ANY},
		{"bfxil w0, w1, #8, #8", 0x12aa00, 0, 0x89abcdaa, ANY},
		{"extr x0, x1, x2, #8", 0x11, 0x2222222222222222, 0x1122222222222222, ANY},
		{"extr w0, w1, w2, #0", 1, 2, 2, ANY},
		{"ror w0, w1, #4", 0xf, 0, 0xf0000000, ANY},
		{"adrp x0, #0x12000", 0, 0, 0x12000, ANY},
		{"adr x0, #0xfffd", 0, 0, 0xfffd, ANY},
	};

	CHECK_ALL(*state, examples);
}

static void products_quotients_and_shifts(void **state)
{
	static const struct example examples[] = {
		{"madd x0, x1, x2, x3", 7, 6, 1042, ANY},
		{"msub w0, w1, w2, w3", 7, 200, 0xfffffe70, ANY},
		{"smull x0, w1, w2", 0xffffffff, 2, 0xfffffffffffffffe, ANY},
		{"umaddl x0, w1, w2, x3", 0xffffffff, 2, 0x2000003e6, ANY},
		{"smsubl x0, w1, w2, x3", 0xffffffff, 2, 1002, ANY},
		{"umsubl x0, w1, w2, x3", 3, 2, 994, ANY},
		{"smulh x0, x1, x2", UINT64_MAX, UINT64_MAX, 0, ANY},
		{"umulh x0, x1, x2", UINT64_MAX, UINT64_MAX, 0xfffffffffffffffe, ANY},
		{"udiv x0, x1, x2", 7, 0, 0, ANY},
		{"udiv w0, w1, w2", 0x1fffffff0, 16, 0xfffffff, ANY},
		{"sdiv x0, x1, x2", UINT64_C(1) << 63, UINT64_MAX, UINT64_C(1) << 63, ANY},
		{"sdiv w0, w1, w2", 0x80000000, 0xffffffff, 0x80000000, ANY},
		{"sdiv w0, w1, w2", 0xfffffff9, 2, 0xfffffffd, ANY},
		{"sdiv x0, x1, x2", 7, 0, 0, ANY},
		{"lsl x0, x1, x2", 1, 65, 2, ANY},
		{"lsr w0, w1, w2", 0xffffffff80000000, 63, 1, ANY},
		{"asr w0, w1, w2", 0x80000000, 4, 0xf8000000, ANY},
		{"ror x0, x1, x2", 1, 1, UINT64_C(1) << 63, ANY},
	};

	CHECK_ALL(*state, examples);
}

static void bits_and_bytes_turned_and_counted(void **state)
{
	static const struct example examples[] = {
		{"rbit x0, x1", 0x8000000000000001, 0, 0x8000000000000001, ANY},
		{"rbit w0, w1", 0xffffffff00000003, 0, 0xc0000000, ANY},
		{"rev16 x0, x1", 0x0123456789abcdef, 0, 0x23016745ab89efcd, ANY},
		{"rev w0, w1", 0xffffffff01020304, 0, 0x04030201, ANY},
		{"rev32 x0, x1", 0x0102030405060708, 0, 0x0403020108070605, ANY},
		{"rev x0, x1", 0x0102030405060708, 0, 0x0807060504030201, ANY},
		{"clz x0, x1", 0, 0, 64, ANY},
		{"clz w0, w1", 0xffffffff00000001, 0, 31, ANY},
		{"cls x0, x1", UINT64_MAX, 0, 63, ANY},
		{"cls w0, w1", 0xf0000000, 0, 3, ANY},
		{"cls w0, w1", 0, 0, 31, ANY},
		{"crc32b w0, w1, w2", 0xffffffff, 'a', 0x174841bc, ANY},
		{"crc32cb w0, w1, w2", 0xffffffff, 'a', 0x3e2fbccf, ANY},
		{"crc32x w0, w1, x2", 0, 0x0123456789abcdef, 0x21193d2e, ANY},
	};

	CHECK_ALL(*state, examples);
}

static void conditions_choose(void **state)
{
	/* N and C are set: ge, eq and vs do not hold; lt, ne, cs and hi do */
	static const struct example examples[] = {
		{"csel x0, x1, x2, ne", 1, 2, 1, N | C},
		{"csel w0, w1, w2, ge", 1, 0xffffffff00000002, 2, N | C},
		{"csinc x0, x1, x2, eq", 1, 2, 3, N | C},
		{"csinv w0, w1, w2, vs", 1, 0, 0xffffffff, N | C},
		{"csneg x0, x1, x2, ge", 1, 5, (uint64_t)-5, N | C},
		{"cset x0, hi", 0, 0, 1, N | C},
		{"cset x0, ls", 0, 0, 0, N | C},
		{"csel x0, x1, x2, al", 1, 2, 1, N | C},
		{"ccmp x1, x2, #5, eq", 3, 3, 0x0123456789abcdef, Z | V},
		{"ccmp x1, x2, #5, ne", 3, 3, 0x0123456789abcdef, Z | C},
		{"ccmp w1, #31, #0, lt", 30, 0, 0x0123456789abcdef, N},
		{"ccmn x1, x2, #0, cs", UINT64_MAX, 1, 0x0123456789abcdef, Z | C},
		{"ccmn w1, #1, #0, cs", 0x7fffffff, 0, 0x0123456789abcdef, N | V},
		{"cfinv", 0, 0, 0x0123456789abcdef, N},
		{"rmif x1, #60, #6", 0, 0, 0x0123456789abcdef, N},
		{"rmif x1, #63, #15", 7, 0, 0x0123456789abcdef, N | Z | C},
		{"setf8 w1", 0x80, 0, 0x0123456789abcdef, N | C | V},
		{"setf16 w1", 0x10000, 0, 0x0123456789abcdef, Z | C | V},
		{"axflag", 0, 0, 0x0123456789abcdef, C},
		{"xaflag", 0, 0, 0x0123456789abcdef, C},
	};

	CHECK_ALL(*state, examples);
}
/* clang-format on */

static void register_31_is_zero_or_the_stack_pointer_as_the_instruction_says(void **state)
{
	struct rig *r = *state;

	r->cpu.x[LP_SP] = 0x1000;
	r->cpu.x[1] = 7;
	rig_run(r, "add x0, sp, #16; add sp, sp, x1; add x2, xzr, x1; subs xzr, x1, x1; mov x3, sp; and sp, x1, #6");
	assert_int_equal(r->cpu.x[0], 0x1010);
	assert_int_equal(r->cpu.x[2], 7);
	assert_int_equal(r->cpu.x[3], 0x1007);
	assert_int_equal(r->cpu.x[LP_SP], 6);
	assert_int_equal(lp_cpu_nzcv(&r->cpu) >> 28, Z | C);
	assert_int_equal(r->cpu.x[LP_ZR], 0);
}

static void every_condition_is_what_the_manual_says(void **state)
{
	struct rig *r = *state;

	for (unsigned nzcv = 0; nzcv < 16; nzcv++) {
		bool n = nzcv & N, z = nzcv & Z, c = nzcv & C, v = nzcv & V;
		const bool holds[16] = {z,    !z,      c,	   !c,	   n,	   !n,		 v,
					!v,   c && !z, !(c && !z), n == v, n != v, n == v && !z, !(n == v && !z),
					true, true};
		for (unsigned cond = 0; cond < 16; cond++) {
			lp_cpu_set_nzcv(&r->cpu, nzcv << 28);
			assert_int_equal(lp_cpu_nzcv(&r->cpu), nzcv << 28);
			rig_run_word(r, 0x54000080 | cond); /* b.cond 16 on */
			assert_int_equal(r->cpu.pc, RIG_PC + (holds[cond] ? 16 : 4));
			r->cpu.x[1] = 1;
			r->cpu.x[2] = 2;
			rig_run_word(r, rig_word("csel x0, x1, x2, eq") | cond << 12);
			assert_int_equal(r->cpu.x[0], holds[cond] ? 1 : 2);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sums_and_their_flags, setup, teardown),
		cmocka_unit_test_setup_teardown(logic_and_its_flags, setup, teardown),
		cmocka_unit_test_setup_teardown(moves_and_bitfields, setup, teardown),
		cmocka_unit_test_setup_teardown(products_quotients_and_shifts, setup, teardown),
		cmocka_unit_test_setup_teardown(bits_and_bytes_turned_and_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(conditions_choose, setup, teardown),
		cmocka_unit_test_setup_teardown(register_31_is_zero_or_the_stack_pointer_as_the_instruction_says, setup,
						teardown),
		cmocka_unit_test_setup_teardown(every_condition_is_what_the_manual_says, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
