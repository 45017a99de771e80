/*
 * Floating-point instructions: FPCR and FPSR in MXCSR, and that rows compute the same with host arithmetic as without.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "emu/sem_fp.h"
#include "fp_numbers.h"

enum {
	CASES = 400, /* of each row */
	IOC = LP_FPSR_IOC,
	DZC = LP_FPSR_DZC,
	IXC = LP_FPSR_IXC,
	UP = 1 << LP_FPCR_RMODE_SHIFT,
	DOWN = 2 << LP_FPCR_RMODE_SHIFT,
};

static int setup(void **state)
{
	struct rig *r = rig_new();

	lp_fp_begin(&r->cpu);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	lp_fpcr_write(&r->cpu, 0);
	rig_free(r);
	return 0;
}

/* ---- the control and status registers ---- */

static void what_the_host_raised_is_read_and_written(void **state)
{
	struct rig *r = *state;

	r->cpu.vr[1].g[0] = 1;
	r->cpu.vr[2].g[0] = 3;
	rig_run(r, "fdiv d0, d1, d2");
	assert_int_equal(lp_fpsr_read(&r->cpu), IXC);
	rig_run(r, "fdiv d0, d1, d3");
	assert_int_equal(lp_fpsr_read(&r->cpu), IXC | DZC);
	lp_fpsr_write(&r->cpu, LP_FPSR_QC | IOC);
	assert_int_equal(lp_fpsr_read(&r->cpu), LP_FPSR_QC | IOC);
	lp_fpsr_write(&r->cpu, 0);
	assert_int_equal(lp_fpsr_read(&r->cpu), 0);
}

static void the_rounding_mode_is_the_guest_s(void **state)
{
	struct rig *r = *state;
	union lp_vreg up, down;

	r->cpu.vr[1].g[0] = 1;
	r->cpu.vr[2].g[0] = 3;
	lp_fpcr_write(&r->cpu, UP);
	rig_run(r, "fdiv d0, d1, d2");
	up = r->cpu.vr[0];
	lp_fpcr_write(&r->cpu, DOWN);
	rig_run(r, "fdiv d0, d1, d2");
	down = r->cpu.vr[0];
	assert_int_equal(up.d[0], 0x3fd5555555555556);
	assert_int_equal(down.d[0], 0x3fd5555555555555);
	rig_run(r, "frinti d0, d0; frintp d1, d1");
	assert_int_equal(r->cpu.vr[0].d[0], 0);
}

static void a_change_of_rounding_keeps_the_flags(void **state)
{
	struct rig *r = *state;

	r->cpu.vr[1].g[0] = 1;
	rig_run(r, "fdiv d0, d1, d2");
	lp_fpcr_write(&r->cpu, DOWN);
	assert_int_equal(lp_fpsr_read(&r->cpu), DZC);
}

static void bits_without_a_meaning_are_not_kept(void **state)
{
	struct rig *r = *state;

	lp_fpcr_write(&r->cpu, UINT32_MAX);
	assert_int_equal(r->cpu.fpcr, 0x07c80000);
	lp_fpsr_write(&r->cpu, UINT32_MAX);
	assert_int_equal(lp_fpsr_read(&r->cpu), 0x0800009f);
}

static void a_handler_that_goes_elsewhere_loses_no_flags(void **state)
{
	struct rig *r = *state;
	uint32_t interrupted, fresh = 0x1f80;

	lp_fpcr_write(&r->cpu, UP);
	r->cpu.vr[1].g[0] = 1;
	rig_run(r, "fdiv d0, d1, d2");
	__asm__ volatile("stmxcsr %0\n\tldmxcsr %1" : "=m"(interrupted) : "m"(fresh));
	assert_int_equal(lp_fpsr_read(&r->cpu), 0);
	lp_fp_land(&r->cpu, interrupted);
	assert_int_equal(lp_fpsr_read(&r->cpu), DZC);
	r->cpu.vr[2].g[0] = 3;
	rig_run(r, "fdiv d0, d1, d2");
	assert_int_equal(r->cpu.vr[0].d[0], 0x3fd5555555555556);
}

static void denormals_are_numbers_until_they_are_flushed(void **state)
{
	struct rig *r = *state;

	r->cpu.vr[1].d[0] = 1;
	rig_run(r, "fadd d0, d1, d1");
	assert_int_equal(r->cpu.vr[0].d[0], 2);
	assert_int_equal(lp_fpsr_read(&r->cpu), 0);
	lp_fpcr_write(&r->cpu, LP_FPCR_FZ);
	rig_run(r, "fadd d0, d1, d1");
	assert_int_equal(r->cpu.vr[0].d[0], 0);
	assert_int_equal(lp_fpsr_read(&r->cpu), LP_FPSR_IDC);
}

/* The host rounds first, and finds nothing tiny in the result. */
static void what_is_rounded_up_to_the_least_normal_number_is_an_underflow(void **state)
{
	static const struct {
		const char *text;
		enum lp_fp_size size;
	} examples[] = {
		{"fmul d0, d1, d2", LP_FP_D},
		{"fnmul d0, d1, d2", LP_FP_D},
		{"fdiv d0, d3, d4", LP_FP_D},
		{"fmadd d0, d1, d2, d5", LP_FP_D},
		{"fnmsub d0, d1, d2, d5", LP_FP_D},
		{"fmul v0.2d, v1.2d, v2.2d", LP_FP_D},
		{"fmul v0.2d, v1.2d, v2.d[0]", LP_FP_D},
		{"fdiv v0.2d, v3.2d, v4.2d", LP_FP_D},
		{"fmla v5.2d, v1.2d, v2.2d", LP_FP_D},
		{"fmls v5.2d, v1.2d, v2.d[1]", LP_FP_D},
		{"fmul s0, s1, s2", LP_FP_S},
		{"fdiv s0, s3, s4", LP_FP_S},
		{"fmadd s0, s1, s2, s5", LP_FP_S},
		{"fmul v0.4s, v1.4s, v2.4s", LP_FP_S},
		{"fmul v0.2s, v1.2s, v2.2s", LP_FP_S},
		{"fmul v0.2s, v1.2s, v2.s[3]", LP_FP_S},
		{"fdiv v0.2s, v3.2s, v4.2s", LP_FP_S},
		{"fmla v5.4s, v1.4s, v2.4s", LP_FP_S},
		{"fmla v5.2s, v1.2s, v2.s[1]", LP_FP_S},
		{"fcvt s0, d6", LP_FP_D},
	};
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
		enum lp_fp_size size = examples[i].size;
		uint64_t bias = (uint64_t)lp_fp_formats[size].bias, all = ~UINT64_C(0);
		unsigned frac = lp_fp_formats[size].frac, k = frac / 2 + 2;
		const uint64_t values[] = {
			0,
			fp_assemble(size, 0, 1, UINT64_C(1) << (frac - k)),    /* (1 + 2^-k) * least */
			fp_assemble(size, 0, bias - 1, all << (frac - k + 1)), /* 1 - 2^-k */
			fp_assemble(size, 0, 1, all),
			fp_assemble(size, 0, bias + 1, 0),
			0,
			0x380fffffffffffff, /* 2^-126, almost */
		};

		for (unsigned v = 0; v < sizeof values / sizeof values[0]; v++)
			for (unsigned lane = 0; lane < 8U >> size; lane++)
				set_fp_lane(&r->cpu.vr[v], size, lane, values[v]);
		lp_fpsr_write(&r->cpu, 0);
		rig_run(r, examples[i].text);
		if (lp_fpsr_read(&r->cpu) != (LP_FPSR_UFC | LP_FPSR_IXC))
			fail_msg("%s: fpsr %#x", examples[i].text, lp_fpsr_read(&r->cpu));
	}
}

/* ---- rows, with host arithmetic and without ---- */

static bool is_floating_point(enum lp_a64_op op)
{
	const struct lp_a64_row *row = lp_a64_row(op);

	return (row->match >> 25 & 7) == 7 &&
	       (row->name[0] == 'f' || strncmp(row->name, "scvtf", 5) == 0 || strncmp(row->name, "ucvtf", 5) == 0);
}

static union lp_vreg some_vector(uint64_t *seed)
{
	enum lp_fp_size size = (enum lp_fp_size)(rig_random(seed) % 3);
	union lp_vreg v = {.q = 0};

	for (unsigned i = 0; i < 8U >> size; i++)
		set_fp_lane(&v, size, i, fp_interesting(seed, size));
	return v;
}

/* Registers 0 to 7 everywhere, so that operands meet. */
static uint32_t some_word(enum lp_a64_op op, uint64_t *seed)
{
	for (unsigned tries = 0; tries < 1000; tries++) {
		uint32_t word = (uint32_t)(rig_random(seed) & ~UINT64_C(0x180318)) & ~lp_a64_row(op)->mask;

		if (lp_a64_is(op, word | lp_a64_row(op)->match))
			return word | lp_a64_row(op)->match;
	}
	fail_msg("no word of %s", lp_a64_row(op)->name);
	return 0;
}

struct outcome {
	union lp_vreg vr[8];
	uint64_t x[8];
	uint32_t nzcv, fpsr;
};

static struct outcome outcome_of(struct rig *r, uint32_t word, const struct outcome *before, bool exact, bool plain)
{
	struct outcome after = {.nzcv = 0};

	memcpy(r->cpu.vr, before->vr, sizeof before->vr);
	memcpy(r->cpu.x, before->x, sizeof before->x);
	lp_cpu_set_nzcv(&r->cpu, before->nzcv);
	lp_fpsr_write(&r->cpu, before->fpsr);
	r->cpu.fp_exact = exact;
	r->plain = plain;
	assert_int_equal(rig_run_word(r, word), LP_LEAVE_LOOKUP);
	memcpy(after.vr, r->cpu.vr, sizeof after.vr);
	memcpy(after.x, r->cpu.x, sizeof after.x);
	after.nzcv = lp_cpu_nzcv(&r->cpu);
	after.fpsr = lp_fpsr_read(&r->cpu);
	return after;
}

static void check_word(struct rig *r, uint32_t word, const struct outcome *before)
{
	struct outcome exact = outcome_of(r, word, before, true, true);
	struct outcome fast = outcome_of(r, word, before, false, false),
		       plain = outcome_of(r, word, before, false, true);

	if (memcmp(&exact, &fast, sizeof exact) || memcmp(&exact, &plain, sizeof exact))
		fail_msg("%s, word %08x, fpcr %#x, fpsr %#x: fpsr %#x with the host, %#x without",
			 lp_a64_row(lp_a64_decode(word))->name, word, r->cpu.fpcr, before->fpsr, fast.fpsr, exact.fpsr);
}

static void host_arithmetic_changes_nothing(void **state)
{
	struct rig *r = *state;
	uint64_t seed = 77;
	unsigned nr_rows = 0;

	if (r->cpu.fp_exact) /* this host is not asked at all */
		skip();
	for (unsigned op = 1; op < A64_OP_COUNT; op++) {
		if (!is_floating_point((enum lp_a64_op)op) || !lp_cpu_offers(lp_a64_row((enum lp_a64_op)op)->feature))
			continue;
		nr_rows++;
		for (unsigned i = 0; i < CASES; i++) {
			struct outcome before = {.nzcv = (uint32_t)rig_random(&seed) & 0xf0000000};

			for (unsigned k = 0; k < 8; k++) {
				before.vr[k] = some_vector(&seed);
				before.x[k] = rig_interesting(&seed);
			}
			lp_fpcr_write(&r->cpu, i & 1 ? 0 : (uint32_t)rig_random(&seed) & (LP_FPCR_RMODE | LP_FPCR_DN));
			check_word(r, some_word((enum lp_a64_op)op, &seed), &before);
		}
	}
	assert_true(nr_rows > 270);
}

/* fcmp; b.cond over one instruction; add x0, x0, #1 */
static struct outcome compare_and_branch(struct rig *r, uint32_t compare, uint32_t cond, const struct outcome *before,
					 bool exact, bool plain)
{
	const uint32_t words[] = {compare, 0x54000040 | cond, 0x91000400};
	struct outcome after = *before;

	memcpy(r->cpu.vr, before->vr, sizeof before->vr);
	r->cpu.x[0] = 0;
	lp_cpu_set_nzcv(&r->cpu, 0);
	lp_fpsr_write(&r->cpu, 0);
	r->cpu.fp_exact = exact;
	r->plain = plain;
	assert_int_equal(rig_run_words(r, words, 3), LP_LEAVE_LOOKUP);
	assert_int_equal(r->cpu.pc, RIG_PC + 12);
	after.x[0] = r->cpu.x[0];
	after.nzcv = lp_cpu_nzcv(&r->cpu);
	after.fpsr = lp_fpsr_read(&r->cpu);
	return after;
}

static void a_branch_goes_by_the_comparison_before_it(void **state)
{
	static const char *const compares[] = {"fcmp d0, d1",	"fcmpe d0, d1",	  "fcmp s0, s1",
					       "fcmpe s0, s1",	"fcmp d0, #0.0",  "fcmpe d0, #0.0",
					       "fcmp s0, #0.0", "fcmpe s0, #0.0", "fcmp h0, h1"};
	struct rig *r = *state;
	uint64_t seed = 5;

	for (size_t i = 0; i < sizeof compares / sizeof compares[0]; i++)
		for (unsigned k = 0; k < 16 * 40; k++) {
			uint32_t word = rig_word(compares[i]);
			struct outcome before = {.vr = {some_vector(&seed), some_vector(&seed)}}, one, two;

			if (k % 3 == 0)
				before.vr[1] = before.vr[0];
			one = compare_and_branch(r, word, k % 16, &before, true, true);
			two = compare_and_branch(r, word, k % 16, &before, false, false);
			assert_memory_equal(&one, &two, sizeof one);
			two = compare_and_branch(r, word, k % 16, &before, true, false);
			assert_memory_equal(&one, &two, sizeof one);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_the_host_raised_is_read_and_written, setup, teardown),
		cmocka_unit_test_setup_teardown(the_rounding_mode_is_the_guest_s, setup, teardown),
		cmocka_unit_test_setup_teardown(a_change_of_rounding_keeps_the_flags, setup, teardown),
		cmocka_unit_test_setup_teardown(bits_without_a_meaning_are_not_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(a_handler_that_goes_elsewhere_loses_no_flags, setup, teardown),
		cmocka_unit_test_setup_teardown(denormals_are_numbers_until_they_are_flushed, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_rounded_up_to_the_least_normal_number_is_an_underflow, setup,
						teardown),
		cmocka_unit_test_setup_teardown(host_arithmetic_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_branch_goes_by_the_comparison_before_it, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
