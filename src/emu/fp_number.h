/* Between the files of fp_exact.h: floating-point numbers taken apart, and put together with one rounding. */
#ifndef LP_EMU_FP_NUMBER_H
#define LP_EMU_FP_NUMBER_H

#include "emu/fp_exact.h"

struct lp_fp_format {
	uint8_t frac, exp; /* widths of the fields */
	int16_t bias;
};

extern const struct lp_fp_format lp_fp_formats[]; /* by enum lp_fp_size */

enum lp_fp_kind { LP_FP_ZERO, LP_FP_FINITE, LP_FP_INF, LP_FP_QNAN, LP_FP_SNAN };

struct lp_fp_number {
	enum lp_fp_kind kind;
	bool sign;
	int exp;      /* of a finite one: 2^exp <= |value| < 2^(exp + 1) */
	uint64_t sig; /* bit 63 is set and weighs 2^exp */
};

/* A finite value that is not zero, of any precision: bit 127 is set and weighs 2^exp; bit 0 stands for all below it. */
struct lp_fp_term {
	bool sign;
	int exp;
	unsigned __int128 sig;
};

/* Conversions between precisions see half-precision numbers another way: FZ16 does not count, AHP does. */
struct lp_fp_number lp_fp_unpack_of(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, bool conversion);
uint64_t lp_fp_round_of(struct lp_cpu *cpu, enum lp_fp_size size, struct lp_fp_term t, enum lp_fp_rounding rounding,
			bool conversion);

static inline struct lp_fp_number lp_fp_unpack(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a)
{
	return lp_fp_unpack_of(cpu, size, a, false);
}

static inline uint64_t lp_fp_round(struct lp_cpu *cpu, enum lp_fp_size size, struct lp_fp_term t)
{
	return lp_fp_round_of(cpu, size, t, lp_fp_rounding(cpu), false);
}

struct lp_fp_term lp_fp_term_of(struct lp_fp_number n);
struct lp_fp_term lp_fp_product(struct lp_fp_number a, struct lp_fp_number b);
/* false: nothing is left */
bool lp_fp_sum(struct lp_fp_term a, struct lp_fp_term b, struct lp_fp_term *sum);

uint64_t lp_fp_zero(enum lp_fp_size size, bool sign);
uint64_t lp_fp_infinity(enum lp_fp_size size, bool sign);
uint64_t lp_fp_largest(enum lp_fp_size size, bool sign);
uint64_t lp_fp_default_nan(enum lp_fp_size size);
/* default NaN, and the flag */
uint64_t lp_fp_invalid(struct lp_cpu *cpu, enum lp_fp_size size);

static inline bool lp_fp_is_nan(struct lp_fp_number n)
{
	return n.kind >= LP_FP_QNAN;
}

/* What an operation with this NaN gives. */
uint64_t lp_fp_nan(struct lp_cpu *cpu, enum lp_fp_size size, struct lp_fp_number n, uint64_t a);
/* With two operands; false: neither is one. */
bool lp_fp_nans(struct lp_cpu *cpu, enum lp_fp_size size, struct lp_fp_number na, struct lp_fp_number nb, uint64_t a,
		uint64_t b, uint64_t *result);

#endif
