/* Which of the specialised floating-point functions executes a word. */
#include "emu/sem_fp.h"

lp_uop_fn *lp_fp_lower(enum lp_a64_op op, struct lp_uop *u)
{
	static lp_fp_lower_fn *const files[] = {lp_fp_scalar_lower,  lp_fp_convert_lower, lp_fp_vector_lower,
						lp_fp_element_lower, lp_fp_unary_lower,	  lp_fp_lane_lower,
						lp_fp_compare_lower};

	if ((u->word >> 25 & 7) != 7) /* C4.1: x111 is floating point and Advanced SIMD */
		return NULL;
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		lp_uop_fn *fn = files[i](op, u);

		if (fn)
			return fn;
	}
	return NULL;
}
