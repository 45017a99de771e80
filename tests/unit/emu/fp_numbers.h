/* Floating-point numbers that find mistakes: zeros, denormals, NaNs, limits, halves, and anything. */
#ifndef FP_NUMBERS_H
#define FP_NUMBERS_H

#include "emu/fp_number.h"

#include "rig.h"

static inline uint64_t fp_assemble(enum lp_fp_size size, uint64_t sign, uint64_t exp, uint64_t frac)
{
	const struct lp_fp_format *f = &lp_fp_formats[size];

	return (sign & 1) << (f->frac + f->exp) | exp << f->frac | (frac & ((UINT64_C(1) << f->frac) - 1));
}

static inline uint64_t fp_interesting(uint64_t *state, enum lp_fp_size size)
{
	const struct lp_fp_format *f = &lp_fp_formats[size];
	uint64_t r = rig_random(state), any = rig_random(state), top = UINT64_C(1) << (f->frac - 1);
	uint64_t max = (UINT64_C(1) << f->exp) - 1, bias = (uint64_t)f->bias, near = r >> 32 & 7;

	switch (r >> 8 & 15) {
	case 0: /* zero, and the least denormals */
		return fp_assemble(size, r, 0, any & 1 ? 0 : near);
	case 1: /* denormals */
		return fp_assemble(size, r, 0, any >> (r >> 16 & 63));
	case 2: /* the border to normal ones, from both sides */
		return fp_assemble(size, r, 1, 0) + near - 4;
	case 3: /* the largest, infinity, the first signalling NaNs */
		return fp_assemble(size, r, max, 0) + near - 4;
	case 4:
		return fp_assemble(size, r, max, any & 1 ? top | any : any | 1);
	case 5: /* small integers and their halves */
		return fp_assemble(size, r, bias + (any & 15), any & ~UINT64_C(0) << (f->frac - (r >> 16) % 8));
	case 6: /* around powers of two, up to what integers hold */
		return fp_assemble(size, r, bias + any % 66 < max ? bias + any % 66 : max - 1, 0) + near - 4;
	case 7: /* few bits */
		return fp_assemble(size, r, bias + any % 9 - 4, top >> any % f->frac | top >> (r >> 16) % f->frac);
	case 8: /* whose products are tiny */
		return fp_assemble(size, r, (bias - f->frac) / 2 + any % (f->frac + 4U), any);
	case 9: /* whose products are huge */
		return fp_assemble(size, r, bias + bias / 2 + any % 6 - 3, any);
	case 10:
		return fp_assemble(size, r, bias + any % 3 - 1, any);
	default:
		return fp_assemble(size, r, any % max, rig_random(state));
	}
}

#endif
