/*
 * Floating point in integers: beside the host's arithmetic, beside wider formats, and where the manual alone says how.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "emu/sem_fp.h"
#include "fp_numbers.h"

enum {
	CASES = 100000,
	IOC = LP_FPSR_IOC,
	DZC = LP_FPSR_DZC,
	OFC = LP_FPSR_OFC,
	UFC = LP_FPSR_UFC,
	IXC = LP_FPSR_IXC,
	IDC = LP_FPSR_IDC,
	UP = 1 << LP_FPCR_RMODE_SHIFT,
	DOWN = 2 << LP_FPCR_RMODE_SHIFT,
	ZERO = 3 << LP_FPCR_RMODE_SHIFT,
	FZ = LP_FPCR_FZ,
	DN = LP_FPCR_DN,
};

static struct lp_cpu cpu;
static uint64_t seed = 20240229;

/* ---- beside the host ---- */

struct outcome {
	uint64_t result;
	uint32_t flags;
};

/* What the host has raised since the last call, as FPSR has it. */
static uint32_t host_flags(void)
{
	uint32_t flags;

	cpu.fpsr = 0;
	flags = lp_fpsr_read(&cpu);
	lp_fpsr_write(&cpu, 0);
	return flags;
}

static uint32_t own_flags(void)
{
	uint32_t flags = cpu.fpsr;

	cpu.fpsr = 0;
	return flags;
}

static bool is_nan(enum lp_fp_size size, uint64_t a)
{
	return lp_fp_abs(size, a) > lp_fp_infinity(size, false);
}

/* The least normal number: where the host decides otherwise what is tiny. */
static bool is_border(enum lp_fp_size size, uint64_t a)
{
	return lp_fp_abs(size, a) == fp_assemble(size, 0, 1, 0);
}

static bool agree(enum lp_fp_size size, struct outcome own, struct outcome host)
{
	if (is_nan(size, host.result)) /* whose NaN is another question; a product's may be invalid for Arm alone */
		return is_nan(size, own.result) && (host.flags & ~own.flags) == 0 && (own.flags & ~IOC) == 0;
	if (is_border(size, own.result))
		own.flags &= ~(uint32_t)UFC, host.flags &= ~(uint32_t)UFC;
	return own.result == host.result && own.flags == host.flags;
}

static void check(const char *name, enum lp_fp_size size, const uint64_t v[3], struct outcome own, struct outcome host)
{
	if (!agree(size, own, host))
		fail_msg("%s of size %u, fpcr %#x, %#lx %#lx %#lx: %#lx flags %#x, the host has %#lx flags %#x", name,
			 size, cpu.fpcr, v[0], v[1], v[2], own.result, own.flags, host.result, host.flags);
}

static __m128d d(uint64_t bits)
{
	return _mm_castsi128_pd(_mm_cvtsi64_si128((int64_t)bits));
}

static __m128 f(uint64_t bits)
{
	return _mm_castsi128_ps(_mm_cvtsi32_si128((int)bits));
}

static uint64_t of_d(__m128d value)
{
	return (uint64_t)_mm_cvtsi128_si64(_mm_castpd_si128(value));
}

static uint64_t of_f(__m128 value)
{
	return (uint32_t)_mm_cvtsi128_si32(_mm_castps_si128(value));
}

#define BESIDE(name, size, of, host_expression, own_expression)               \
	do {                                                                  \
		struct outcome host = {of(host_expression), 0}, own = {0, 0}; \
                                                                              \
		host.flags = host_flags();                                    \
		own.result = own_expression;                                  \
		own.flags = own_flags();                                      \
		check(name, size, v, own, host);                              \
	} while (0)

static void arithmetic_d(const uint64_t v[3])
{
	const enum lp_fp_size size = LP_FP_D;

	BESIDE("add", size, of_d, host_add_d(d(v[0]), d(v[1])), lp_fp_add(&cpu, size, v[0], v[1]));
	BESIDE("sub", size, of_d, host_sub_d(d(v[0]), d(v[1])), lp_fp_sub(&cpu, size, v[0], v[1]));
	BESIDE("mul", size, of_d, host_mul_d(d(v[0]), d(v[1])), lp_fp_mul(&cpu, size, v[0], v[1]));
	BESIDE("div", size, of_d, host_div_d(d(v[0]), d(v[1])), lp_fp_div(&cpu, size, v[0], v[1]));
	BESIDE("sqrt", size, of_d, host_sqrt_d(d(v[0])), lp_fp_sqrt(&cpu, size, v[0]));
	if (__builtin_cpu_supports("fma"))
		BESIDE("muladd", size, of_d, host_madd_d(d(v[2]), d(v[0]), d(v[1])),
		       lp_fp_muladd(&cpu, size, v[2], v[0], v[1]));
}

static void arithmetic_f(const uint64_t v[3])
{
	const enum lp_fp_size size = LP_FP_S;

	BESIDE("add", size, of_f, host_add_f(f(v[0]), f(v[1])), lp_fp_add(&cpu, size, v[0], v[1]));
	BESIDE("sub", size, of_f, host_sub_f(f(v[0]), f(v[1])), lp_fp_sub(&cpu, size, v[0], v[1]));
	BESIDE("mul", size, of_f, host_mul_f(f(v[0]), f(v[1])), lp_fp_mul(&cpu, size, v[0], v[1]));
	BESIDE("div", size, of_f, host_div_f(f(v[0]), f(v[1])), lp_fp_div(&cpu, size, v[0], v[1]));
	BESIDE("sqrt", size, of_f, host_sqrt_f(f(v[0])), lp_fp_sqrt(&cpu, size, v[0]));
	if (__builtin_cpu_supports("fma"))
		BESIDE("muladd", size, of_f, host_madd_f(f(v[2]), f(v[0]), f(v[1])),
		       lp_fp_muladd(&cpu, size, v[2], v[0], v[1]));
}

static void in_each_rounding_mode(void (*test)(const uint64_t v[3]), enum lp_fp_size size)
{
	for (uint32_t mode = 0; mode < 4; mode++) {
		lp_fpcr_write(&cpu, mode << LP_FPCR_RMODE_SHIFT);
		lp_fpsr_write(&cpu, 0);
		for (unsigned i = 0; i < CASES; i++)
			test((const uint64_t[]){fp_interesting(&seed, size), fp_interesting(&seed, size),
						fp_interesting(&seed, size)});
	}
	lp_fpcr_write(&cpu, 0);
}

static void arithmetic_is_the_host_s_but_for_nans_and_what_is_tiny(void **state)
{
	in_each_rounding_mode(arithmetic_d, LP_FP_D);
	in_each_rounding_mode(arithmetic_f, LP_FP_S);
}

static __m128 narrowed(uint64_t a)
{
	__m128 r = _mm_setzero_ps();

	__asm__ volatile("cvtsd2ss %1, %0" : "+x"(r) : "x"(d(a)));
	return r;
}

static __m128d widened(uint64_t a)
{
	__m128d r = _mm_setzero_pd();

	__asm__ volatile("cvtss2sd %1, %0" : "+x"(r) : "x"(f(a)));
	return r;
}

static __m128d of_int(uint64_t a)
{
	__m128d r = _mm_setzero_pd();

	__asm__ volatile("cvtsi2sdq %1, %0" : "+x"(r) : "r"(a));
	return r;
}

static uint64_t to_int(uint64_t a)
{
	uint64_t r;

	__asm__ volatile("cvtsd2siq %1, %0" : "=r"(r) : "x"(d(a)));
	return r;
}

static __m128d rounded(uint64_t a)
{
	__m128d r = _mm_setzero_pd();

	__asm__ volatile("roundsd $4, %1, %0" : "+x"(r) : "x"(d(a)));
	return r;
}

static void conversions(const uint64_t v[3])
{
	enum lp_fp_rounding mode = lp_fp_rounding(&cpu);
	uint64_t integer = rig_interesting(&seed);
	struct outcome there, here;

	BESIDE("narrow", LP_FP_S, of_f, narrowed(v[0]), lp_fp_convert(&cpu, LP_FP_S, LP_FP_D, v[0], mode));
	BESIDE("widen", LP_FP_D, of_d, widened((uint32_t)v[1]),
	       lp_fp_convert(&cpu, LP_FP_D, LP_FP_S, (uint32_t)v[1], mode));
	BESIDE("from int", LP_FP_D, of_d, of_int(integer), lp_fp_from_fixed(&cpu, LP_FP_D, integer, false, 0));
	if (__builtin_cpu_supports("sse4.1"))
		BESIDE("round", LP_FP_D, of_d, rounded(v[0]), lp_fp_round_int(&cpu, LP_FP_D, v[0], mode, true));
	there.result = to_int(v[0]);
	there.flags = host_flags();
	here.result = lp_fp_to_fixed(&cpu, LP_FP_D, v[0], mode, 64, false, 0);
	here.flags = own_flags();
	assert_int_equal(here.flags, there.flags);
	if (!(here.flags & IOC))
		assert_int_equal(here.result, there.result);
}

static void conversions_are_the_host_s_but_for_what_does_not_fit(void **state)
{
	in_each_rounding_mode(conversions, LP_FP_D);
}

/* ---- half precision, beside double ---- */

/* Sums and products of halves are exact in double precision: one rounding, whichever way. */
static void half_arithmetic_is_that_of_doubles_rounded(void **state)
{
	for (uint32_t mode = 0; mode < 4; mode++) {
		lp_fpcr_write(&cpu, mode << LP_FPCR_RMODE_SHIFT);
		for (unsigned i = 0; i < CASES; i++) {
			uint64_t a = fp_interesting(&seed, LP_FP_H), b = fp_interesting(&seed, LP_FP_H), wide;
			uint64_t da = lp_fp_convert(&cpu, LP_FP_D, LP_FP_H, a, LP_ROUND_NEAREST);
			uint64_t db = lp_fp_convert(&cpu, LP_FP_D, LP_FP_H, b, LP_ROUND_NEAREST);
			enum lp_fp_rounding rounding = (enum lp_fp_rounding)mode;
			struct outcome half, full;

			if (is_nan(LP_FP_H, a) || is_nan(LP_FP_H, b))
				continue;
			own_flags();
			half.result = i & 1 ? lp_fp_mul(&cpu, LP_FP_H, a, b) : lp_fp_add(&cpu, LP_FP_H, a, b);
			half.flags = own_flags();
			wide = i & 1 ? lp_fp_mul(&cpu, LP_FP_D, da, db) : lp_fp_add(&cpu, LP_FP_D, da, db);
			full.result = lp_fp_convert(&cpu, LP_FP_H, LP_FP_D, wide, rounding);
			full.flags = own_flags();
			assert_int_equal(half.result, full.result);
			assert_int_equal(half.flags, full.flags);
		}
	}
	lp_fpcr_write(&cpu, 0);
}

static void every_half_comes_back_from_double(void **state)
{
	for (uint64_t a = 0; a < 0x10000; a++) {
		uint64_t wide = lp_fp_convert(&cpu, LP_FP_D, LP_FP_H, a, LP_ROUND_NEAREST);
		uint64_t quiet = is_nan(LP_FP_H, a) ? a | 0x200 : a;

		assert_int_equal(lp_fp_convert(&cpu, LP_FP_H, LP_FP_D, wide, LP_ROUND_NEAREST), quiet);
	}
}

/* An integer is what a half's square root is between: squares, exact in double, tell. */
static void a_half_s_root_is_the_nearest(void **state)
{
	for (uint64_t a = 1; a < 0x7c00; a++) {
		uint64_t root = lp_fp_sqrt(&cpu, LP_FP_H, a);
		double value, low, high;

		value = _mm_cvtsd_f64(d(lp_fp_convert(&cpu, LP_FP_D, LP_FP_H, a, LP_ROUND_NEAREST)));
		low = _mm_cvtsd_f64(d(lp_fp_convert(&cpu, LP_FP_D, LP_FP_H, root - 1, LP_ROUND_NEAREST)));
		high = _mm_cvtsd_f64(d(lp_fp_convert(&cpu, LP_FP_D, LP_FP_H, root + 1, LP_ROUND_NEAREST)));
		double middle = _mm_cvtsd_f64(d(lp_fp_convert(&cpu, LP_FP_D, LP_FP_H, root, LP_ROUND_NEAREST)));
		assert_true((low + middle) / 2 * ((low + middle) / 2) <= value);
		assert_true((high + middle) / 2 * ((high + middle) / 2) >= value);
	}
	own_flags();
}

/* ---- to integers of every width, beside a plain definition ---- */

/* value * 2^fbits as a number of 2^-60ths, where that fits. */
static __int128 scaled(double value, unsigned fbits)
{
	return (__int128)(value * 0x1p40) * ((__int128)1 << (20 + fbits));
}

static __int128 rounded_fixed(__int128 sixtieths, enum lp_fp_rounding rounding)
{
	const __int128 one = (__int128)1 << 60;
	__int128 below = sixtieths >> 60, rest = sixtieths - below * one;

	switch (rounding) {
	case LP_ROUND_NEAREST:
		return below + (rest * 2 > one || (rest * 2 == one && below & 1));
	case LP_ROUND_UP:
		return below + (rest != 0);
	case LP_ROUND_DOWN:
		return below;
	case LP_ROUND_AWAY:
		return below + (rest * 2 > one || (rest * 2 == one && below >= 0));
	default:
		return below + (rest != 0 && below < 0);
	}
}

static void every_half_becomes_the_right_integer(void **state)
{
	static const unsigned widths[] = {16, 32, 64};

	for (uint64_t a = 0; a < 0x10000; a++) {
		enum lp_fp_rounding rounding = (enum lp_fp_rounding)(rig_random(&seed) % 5);
		unsigned width = widths[rig_random(&seed) % 3], fbits = (unsigned)(rig_random(&seed) % 12);
		bool is_unsigned = rig_random(&seed) & 1;
		__int128 least = is_unsigned ? 0 : -((__int128)1 << (width - 1));
		__int128 most = ((__int128)1 << (is_unsigned ? width : width - 1)) - 1, value;
		uint64_t result;

		if (is_nan(LP_FP_H, a) || lp_fp_abs(LP_FP_H, a) == 0x7c00)
			continue;
		own_flags();
		value = rounded_fixed(
			scaled(_mm_cvtsd_f64(d(lp_fp_convert(&cpu, LP_FP_D, LP_FP_H, a, LP_ROUND_NEAREST))), fbits),
			rounding);
		result = lp_fp_to_fixed(&cpu, LP_FP_H, a, rounding, width, is_unsigned, fbits);
		assert_int_equal(!!(own_flags() & IOC), value < least || value > most);
		value = value < least ? least : value > most ? most : value;
		assert_int_equal(result, (uint64_t)value & ~UINT64_C(0) >> (64 - width));
	}
}

/* ---- what the manual alone says ---- */

struct example {
	const char *why;
	uint32_t fpcr;
	uint64_t v[3];
	uint64_t result;
	uint32_t flags;
};

static void expect(const struct example *e, uint64_t result)
{
	uint32_t flags = own_flags();

	if (result != e->result || flags != e->flags)
		fail_msg("%s: %#lx flags %#x, not %#lx flags %#x", e->why, result, flags, e->result, e->flags);
}

#define ONE 0x3ff0000000000000
#define INFINITE 0x7ff0000000000000
#define MINUS 0x8000000000000000
#define QUIET1 0x7ff8000000000001
#define QUIET2 0xfff8000000000002
#define SIGNAL1 0x7ff0000000000001
#define SIGNAL2 0xfff0000000000002
#define DEFAULT 0x7ff8000000000000
#define LEAST 0x0010000000000000 /* normal */
#define TINY 0x0000000000000001

static void of_two_nans_the_signalling_then_the_first_survives(void **state)
{
	static const struct example examples[] = {
		{"the first quiet one", 0, {QUIET1, QUIET2}, QUIET1, 0},
		{"a signalling one before a quiet one", 0, {QUIET1, SIGNAL2}, QUIET2, IOC},
		{"the first signalling one", 0, {SIGNAL2, SIGNAL1}, QUIET2, IOC},
		{"the only one", 0, {ONE, QUIET2}, QUIET2, 0},
		{"the default NaN", DN, {ONE, QUIET2}, DEFAULT, 0},
		{"the default NaN, and invalid", DN, {SIGNAL1, QUIET2}, DEFAULT, IOC},
		{"infinities that cancel make the default NaN", 0, {INFINITE, INFINITE | MINUS}, DEFAULT, IOC},
		{"a denormal beside a NaN is flushed all the same", FZ, {TINY, QUIET1}, QUIET1, IDC},
	};

	for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
		cpu.fpcr = examples[i].fpcr;
		expect(&examples[i], lp_fp_add(&cpu, LP_FP_D, examples[i].v[0], examples[i].v[1]));
	}
}

static void in_a_fused_product_the_addend_comes_first(void **state)
{
	static const struct example examples[] = {
		{"the addend's", 0, {QUIET2, QUIET1, ONE}, QUIET2, 0},
		{"a signalling factor before a quiet addend", 0, {QUIET2, ONE, SIGNAL1}, QUIET1, IOC},
		{"zero times infinity beats a quiet addend", 0, {QUIET2, 0, INFINITE}, DEFAULT, IOC},
		{"but not a signalling one", 0, {SIGNAL2, INFINITE, 0}, QUIET2, IOC},
		{"infinities that cancel", 0, {INFINITE, INFINITE, ONE | MINUS}, DEFAULT, IOC},
		{"nothing is left: plus zero", 0, {ONE, ONE, ONE | MINUS}, 0, 0},
		{"minus zero when rounding down", DOWN, {ONE, ONE, ONE | MINUS}, MINUS, 0},
	};

	for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
		const struct example *e = &examples[i];

		cpu.fpcr = e->fpcr;
		expect(e, lp_fp_muladd(&cpu, LP_FP_D, e->v[0], e->v[1], e->v[2]));
	}
}

static void tiny_is_what_is_tiny_before_it_is_rounded(void **state)
{
	static const struct example examples[] = {
		/* (1 - 2^-53) * 2^-1022 rounds up to the least normal number */
		{"rounded up to normal", 0, {LEAST, 0x3fefffffffffffff}, LEAST, UFC | IXC},
		{"exact and denormal: no underflow", 0, {LEAST, 0x3fe0000000000000}, LEAST >> 1, 0},
		{"flushed: underflow alone", FZ, {LEAST, 0x3fe0000000000000}, 0, UFC},
		{"flushed before it could be rounded up", FZ, {LEAST, 0xbfefffffffffffff}, MINUS, UFC},
		{"operands are flushed to zeros of their sign", FZ, {TINY | MINUS, ONE}, MINUS, IDC},
		{"rounded up to the least denormal", UP, {TINY, 0x3f00000000000000}, TINY, UFC | IXC},
		{"an overflow rounded to zero",
		 ZERO,
		 {0x7fe0000000000000, 0x4010000000000000},
		 INFINITE - 1,
		 OFC | IXC},
	};

	for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
		cpu.fpcr = examples[i].fpcr;
		expect(&examples[i], lp_fp_mul(&cpu, LP_FP_D, examples[i].v[0], examples[i].v[1]));
	}
}

static void half_precision_has_modes_of_its_own(void **state)
{
	static const struct example arithmetic[] = {
		{"FZ is not for halves", FZ, {1, 0}, 1, 0},
		{"FZ16 flushes without saying so", LP_FPCR_FZ16, {1, 0}, 0, 0},
		{"AHP is not for arithmetic", LP_FPCR_AHP, {0x7c00, 0x3c00}, 0x7c00, 0},
	};
	static const struct example narrowed_examples[] = {
		{"65536 is infinite", 0, {0x40f0000000000000}, 0x7c00, OFC | IXC},
		{"65536 is a number in the alternative format", LP_FPCR_AHP, {0x40f0000000000000}, 0x7c00, 0},
		{"the alternative format ends, invalid", LP_FPCR_AHP, {0x4100000000000000}, 0x7fff, IOC},
		{"it has no infinity", LP_FPCR_AHP, {INFINITE | MINUS}, 0xffff, IOC},
		{"it has no NaN", LP_FPCR_AHP, {QUIET2}, 0x8000, IOC},
		{"FZ16 is not for conversions", LP_FPCR_FZ16, {0x3e70000000000000}, 1, 0},
		{"FZ flushes what comes in", FZ, {TINY}, 0, IDC},
		{"a NaN keeps its upper bits", 0, {0x7ff4440000000000}, 0x7f11, IOC},
	};

	for (size_t i = 0; i < sizeof arithmetic / sizeof arithmetic[0]; i++) {
		cpu.fpcr = arithmetic[i].fpcr;
		expect(&arithmetic[i], lp_fp_add(&cpu, LP_FP_H, arithmetic[i].v[0], arithmetic[i].v[1]));
	}
	for (size_t i = 0; i < sizeof narrowed_examples / sizeof narrowed_examples[0]; i++) {
		cpu.fpcr = narrowed_examples[i].fpcr;
		expect(&narrowed_examples[i],
		       lp_fp_convert(&cpu, LP_FP_H, LP_FP_D, narrowed_examples[i].v[0], LP_ROUND_NEAREST));
	}
}

static void rounding_to_odd_keeps_what_is_lost(void **state)
{
	static const struct example examples[] = {
		{"one and a bit", 0, {ONE + 1}, 0x3f800001, IXC},
		{"exact", 0, {ONE}, 0x3f800000, 0},
		{"too large: the largest", 0, {0x7fe0000000000000}, 0x7f7fffff, OFC | IXC},
		{"too small: the least", 0, {TINY}, 1, UFC | IXC},
	};

	for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
		cpu.fpcr = examples[i].fpcr;
		expect(&examples[i], lp_fp_convert(&cpu, LP_FP_S, LP_FP_D, examples[i].v[0], LP_ROUND_ODD));
	}
}

static void numbers_come_before_quiet_nans_in_maxnum(void **state)
{
	cpu.fpcr = 0;
	assert_int_equal(lp_fp_maxnum(&cpu, LP_FP_D, QUIET1, ONE), ONE);
	assert_int_equal(lp_fp_minnum(&cpu, LP_FP_D, ONE, QUIET1), ONE);
	assert_int_equal(lp_fp_maxnum(&cpu, LP_FP_D, QUIET1, QUIET2), QUIET1);
	assert_int_equal(own_flags(), 0);
	assert_int_equal(lp_fp_maxnum(&cpu, LP_FP_D, ONE, SIGNAL2), QUIET2);
	assert_int_equal(own_flags(), IOC);
	assert_int_equal(lp_fp_max(&cpu, LP_FP_D, QUIET1, ONE), QUIET1);
	assert_int_equal(lp_fp_max(&cpu, LP_FP_D, MINUS, 0), 0);
	assert_int_equal(lp_fp_min(&cpu, LP_FP_D, 0, MINUS), MINUS);
	assert_int_equal(own_flags(), 0);
}

static void zero_times_infinity_is_two_for_fmulx(void **state)
{
	cpu.fpcr = 0;
	assert_int_equal(lp_fp_mulx(&cpu, LP_FP_D, 0, INFINITE), 0x4000000000000000);
	assert_int_equal(lp_fp_mulx(&cpu, LP_FP_S, 0xff800000, 0), 0xc0000000);
	assert_int_equal(own_flags(), 0);
	assert_int_equal(lp_fp_mul(&cpu, LP_FP_D, 0, INFINITE), DEFAULT);
	assert_int_equal(own_flags(), IOC);
}

/* An estimate has eight bits: it is within 1/256 of what it estimates. */
static void estimates_are_close(void **state)
{
	cpu.fpcr = 0;
	for (unsigned i = 0; i < CASES; i++) {
		uint64_t a = fp_assemble(LP_FP_D, 0, 512 + rig_random(&seed) % 1024, rig_random(&seed));
		double value = _mm_cvtsd_f64(d(a)), recip, rsqrt;

		recip = _mm_cvtsd_f64(d(lp_fp_recip_estimate(&cpu, LP_FP_D, a)));
		rsqrt = _mm_cvtsd_f64(d(lp_fp_rsqrt_estimate(&cpu, LP_FP_D, a)));
		assert_true(recip * value > 255.0 / 256 && recip * value < 257.0 / 256);
		assert_true(rsqrt * rsqrt * value > 254.0 / 256 && rsqrt * rsqrt * value < 258.0 / 256);
	}
	/* Table entries that Arm's documents and CPUs show. */
	assert_int_equal(lp_fp_recip_estimate(&cpu, LP_FP_S, 0x3f800000), 0x3f7f8000);
	assert_int_equal(lp_fp_rsqrt_estimate(&cpu, LP_FP_S, 0x3f800000), 0x3f7f8000);
	assert_int_equal(lp_fp_recip_unsigned(0x7fffffff), 0xffffffff);
	assert_int_equal(lp_fp_recip_unsigned(0x80000000), 0xff800000);
	assert_int_equal(own_flags(), 0);
	assert_int_equal(lp_fp_recip_estimate(&cpu, LP_FP_D, MINUS), INFINITE | MINUS);
	assert_int_equal(own_flags(), DZC);
	assert_int_equal(lp_fp_recip_estimate(&cpu, LP_FP_D, TINY), INFINITE);
	assert_int_equal(own_flags(), OFC | IXC);
}

static void javascript_integers_wrap(void **state)
{
	static const struct {
		uint64_t a;
		uint32_t result;
		bool exact;
		uint32_t flags;
	} examples[] = {
		{0, 0, true, 0},
		{MINUS, 0, false, 0},
		{0xc000000000000000, 0xfffffffe, true, 0},	/* -2 */
		{0x3ff8000000000000, 1, false, IXC},		/* 1.5 */
		{0x41f0000000100000, 1, false, IOC},		/* 2^32 + 1 */
		{0xc1f0000000180000, (uint32_t)-1, false, IOC}, /* -(2^32 + 1.5) */
		{0xc1e0000000000000, 0x80000000, true, 0},	/* -2^31 */
		{0x41e0000000000000, 0x80000000, false, IOC},	/* 2^31 */
		{0x4330000000000003, 3, false, IOC},		/* 2^52 + 3 */
		{0x4530000000000001, 0, false, IOC},		/* 2^84 + 2^32 */
		{INFINITE, 0, false, IOC},
		{QUIET1, 0, false, IOC},
	};

	cpu.fpcr = 0;
	for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
		bool exact;

		assert_int_equal(lp_fp_to_javascript(&cpu, examples[i].a, &exact), examples[i].result);
		assert_int_equal(exact, examples[i].exact);
		assert_int_equal(own_flags(), examples[i].flags);
	}
	cpu.fpcr = FZ; /* a denormal that is flushed was no zero */
	bool exact;
	assert_int_equal(lp_fp_to_javascript(&cpu, TINY, &exact), 0);
	assert_false(exact);
	assert_int_equal(own_flags(), IDC);
}

static void immediates_expand(void **state)
{
	assert_int_equal(lp_fp_expand(LP_FP_D, 0x70), ONE);
	assert_int_equal(lp_fp_expand(LP_FP_S, 0x70), 0x3f800000);
	assert_int_equal(lp_fp_expand(LP_FP_H, 0x70), 0x3c00);
	assert_int_equal(lp_fp_expand(LP_FP_D, 0xbf), 0xc03f000000000000); /* -31 */
	assert_int_equal(lp_fp_expand(LP_FP_S, 0x40), 0x3e000000);	   /* 0.125 */
}

static void the_exact_engine_leaves_mxcsr_alone(void **state)
{
	lp_fpcr_write(&cpu, UP);
	lp_fpsr_write(&cpu, 0);
	lp_fp_div(&cpu, LP_FP_D, ONE, 0x4008000000000000);
	lp_fp_sqrt(&cpu, LP_FP_D, ONE | MINUS);
	lp_fp_mul(&cpu, LP_FP_D, LEAST, LEAST);
	cpu.fpsr = 0;
	assert_int_equal(lp_fpsr_read(&cpu), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arithmetic_is_the_host_s_but_for_nans_and_what_is_tiny),
		cmocka_unit_test(conversions_are_the_host_s_but_for_what_does_not_fit),
		cmocka_unit_test(half_arithmetic_is_that_of_doubles_rounded),
		cmocka_unit_test(every_half_comes_back_from_double),
		cmocka_unit_test(a_half_s_root_is_the_nearest),
		cmocka_unit_test(every_half_becomes_the_right_integer),
		cmocka_unit_test(of_two_nans_the_signalling_then_the_first_survives),
		cmocka_unit_test(in_a_fused_product_the_addend_comes_first),
		cmocka_unit_test(tiny_is_what_is_tiny_before_it_is_rounded),
		cmocka_unit_test(half_precision_has_modes_of_its_own),
		cmocka_unit_test(rounding_to_odd_keeps_what_is_lost),
		cmocka_unit_test(numbers_come_before_quiet_nans_in_maxnum),
		cmocka_unit_test(zero_times_infinity_is_two_for_fmulx),
		cmocka_unit_test(estimates_are_close),
		cmocka_unit_test(javascript_integers_wrap),
		cmocka_unit_test(immediates_expand),
		cmocka_unit_test(the_exact_engine_leaves_mxcsr_alone),
	};

	lp_fp_begin(&cpu);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
