/* Advanced SIMD on integers: results with lanes of twice or half the size of the operands'. */
#include "jit/emit_simd.h"

/* ---- sums of halves, made wider ---- */

static void widen_both(struct lp_lanes *l, bool is_signed)
{
	lp_widen(l, l->size, is_signed, l->whole, T0, l->n);
	lp_widen(l, l->size, is_signed, l->whole, T1, l->m);
}

#define SUMS(sign, is_signed)                                        \
	static void do_##sign##addl(struct lp_lanes *l)              \
	{                                                            \
		widen_both(l, is_signed);                            \
		V(vop_add[l->size + 1], l->d, T0, T1);               \
	}                                                            \
	static void do_##sign##subl(struct lp_lanes *l)              \
	{                                                            \
		widen_both(l, is_signed);                            \
		V(vop_sub[l->size + 1], l->d, T0, T1);               \
	}                                                            \
	static void do_##sign##addw(struct lp_lanes *l)              \
	{                                                            \
		lp_widen(l, l->size, is_signed, l->whole, T0, l->m); \
		V(vop_add[l->size + 1], l->d, l->n, T0);             \
	}                                                            \
	static void do_##sign##subw(struct lp_lanes *l)              \
	{                                                            \
		lp_widen(l, l->size, is_signed, l->whole, T0, l->m); \
		V(vop_sub[l->size + 1], l->d, l->n, T0);             \
	}                                                            \
	ROW(sign##addl_v, LP_TWO | LP_ALL_BITS, do_##sign##addl)     \
	ROW(sign##subl_v, LP_TWO | LP_ALL_BITS, do_##sign##subl)     \
	ROW(sign##addw_v, LP_TWO | LP_ALL_BITS, do_##sign##addw)     \
	ROW(sign##subw_v, LP_TWO | LP_ALL_BITS, do_##sign##subw)
SUMS(s, true)
SUMS(u, false)

/* The distance fits into a lane without a sign, and is made wider as such. */
static void distance(struct lp_lanes *l, const enum lp_x86_vop *max, const enum lp_x86_vop *min, unsigned to)
{
	V(max[l->size], T0, l->n, l->m);
	V(min[l->size], T1, l->n, l->m);
	V(vop_sub[l->size], T0, T0, T1);
	lp_widen(l, l->size, false, l->whole, to, T0);
}

#define DISTANCES(sign)                                              \
	static void do_##sign##abdl(struct lp_lanes *l)              \
	{                                                            \
		distance(l, vop_##sign##max, vop_##sign##min, l->d); \
	}                                                            \
	static void do_##sign##abal(struct lp_lanes *l)              \
	{                                                            \
		distance(l, vop_##sign##max, vop_##sign##min, T0);   \
		V(vop_add[l->size + 1], l->d, l->d, T0);             \
	}                                                            \
	ROW(sign##abdl_v, LP_TWO | LP_ALL_BITS, do_##sign##abdl)     \
	ROW(sign##abal_v, LP_TWO_INTO | LP_ALL_BITS, do_##sign##abal)
DISTANCES(s)
DISTANCES(u)

/* ---- products ---- */

static void product(struct lp_lanes *l, bool is_signed, unsigned to)
{
	enum lp_x86_vop spread = l->whole ? LP_VPUNPCKHDQ : LP_VPUNPCKLDQ;

	if (l->size == B) {
		widen_both(l, is_signed);
		V(LP_VPMULLW, to, T0, T1);
	} else if (l->size == H) { /* lower and upper halves of the products, side by side */
		V(LP_VPMULLW, T0, l->n, l->m);
		V(is_signed ? LP_VPMULHW : LP_VPMULHUW, T1, l->n, l->m);
		V(l->whole ? LP_VPUNPCKHWD : LP_VPUNPCKLWD, to, T0, T1);
	} else { /* of every second lane */
		V(spread, T0, l->n, l->n);
		V(spread, T1, l->m, l->m);
		V(is_signed ? LP_VPMULDQ : LP_VPMULUDQ, to, T0, T1);
	}
}

/* By an element: the same without looking for lanes, and with one half of n for what may be several instructions. */
static void product_by_element(struct lp_lanes *l, bool is_signed, unsigned to)
{
	enum lp_x86_vop op = is_signed ? LP_VPMULDQ : LP_VPMULUDQ;
	struct lp_x86_rm at;
	unsigned n = T0;

	if (l->size == H) {
		lp_element(l);
		product(l, is_signed, to);
		return;
	}
	if (l->avx512) {
		lp_v_spread(l->t, lp_a64_field_Rn(l->word), l->n, l->whole);
		n = LP_V_SPREAD;
	} else {
		V(l->whole ? LP_VPUNPCKHDQ : LP_VPUNPCKLDQ, T0, l->n, l->n);
	}
	if (l->avx512 && lp_element_in_memory(l, &at)) {
		lp_x86_vex_broadcast(l->x, op, 0, to, n, at);
	} else {
		lp_element(l);
		V(op, to, n, T2);
	}
}

#define PRODUCTS(sign, is_signed)                                               \
	static void do_##sign##mull(struct lp_lanes *l)                         \
	{                                                                       \
		product(l, is_signed, l->d);                                    \
	}                                                                       \
	static void do_##sign##mlal(struct lp_lanes *l)                         \
	{                                                                       \
		product(l, is_signed, T0);                                      \
		V(vop_add[l->size + 1], l->d, l->d, T0);                        \
	}                                                                       \
	static void do_##sign##mlsl(struct lp_lanes *l)                         \
	{                                                                       \
		product(l, is_signed, T0);                                      \
		V(vop_sub[l->size + 1], l->d, l->d, T0);                        \
	}                                                                       \
	static void do_##sign##mull_elem(struct lp_lanes *l)                    \
	{                                                                       \
		product_by_element(l, is_signed, l->d);                         \
	}                                                                       \
	static void do_##sign##mlal_elem(struct lp_lanes *l)                    \
	{                                                                       \
		product_by_element(l, is_signed, T0);                           \
		V(vop_add[l->size + 1], l->d, l->d, T0);                        \
	}                                                                       \
	static void do_##sign##mlsl_elem(struct lp_lanes *l)                    \
	{                                                                       \
		product_by_element(l, is_signed, T0);                           \
		V(vop_sub[l->size + 1], l->d, l->d, T0);                        \
	}                                                                       \
	ROW(sign##mull_v, LP_TWO | LP_ALL_BITS, do_##sign##mull)                \
	ROW(sign##mlal_v, LP_TWO_INTO | LP_ALL_BITS, do_##sign##mlal)           \
	ROW(sign##mlsl_v, LP_TWO_INTO | LP_ALL_BITS, do_##sign##mlsl)           \
	ROW(sign##mull_elem_v, LP_N | LP_ALL_BITS, do_##sign##mull_elem)        \
	ROW(sign##mlal_elem_v, LP_ONE_INTO | LP_ALL_BITS, do_##sign##mlal_elem) \
	ROW(sign##mlsl_elem_v, LP_ONE_INTO | LP_ALL_BITS, do_##sign##mlsl_elem)
PRODUCTS(s, true)
PRODUCTS(u, false)

/* Polynomials over {0, 1}. */
static void do_pmull_64(struct lp_lanes *l)
{
	V_IMM(LP_VPCLMULQDQ, l->d, l->n, l->m, l->whole ? 0x11 : 0);
}
ROW(pmull_64_row, LP_TWO | LP_ALL_BITS, do_pmull_64)
static bool pmull_64(struct lp_tr *t, uint32_t word)
{
	lp_v_low_unless(t, LP_HOST_VAES);
	return t->jit->host & LP_HOST_PCLMUL && pmull_64_row(t, word);
}

/* ---- the upper half of sums ---- */

static void upper_halves(struct lp_lanes *l, const enum lp_x86_vop *op, bool rounds)
{
	struct lp_order order = lp_order_every_second(l->size, 1);
	uint64_t half = UINT64_C(1) << ((8U << l->size) - 1);
	unsigned to = l->whole ? T0 : l->d;

	V(op[l->size + 1], T0, l->n, l->m);
	if (rounds)
		V_MEM(vop_add[l->size + 1], T0, T0, lp_each_constant(l, l->size + 1, half));
	V_MEM(LP_VPSHUFB, to, T0, lp_order_constant(l, &order));
	lp_write_half(l, to);
}

#define UPPER_HALVES(name, op, rounds)            \
	static void do_##name(struct lp_lanes *l) \
	{                                         \
		upper_halves(l, op, rounds);      \
	}                                         \
	ROW(name##_v, LP_TWO | LP_HALF, do_##name)
UPPER_HALVES(addhn, vop_add, false)
UPPER_HALVES(subhn, vop_sub, false)
UPPER_HALVES(raddhn, vop_add, true)
UPPER_HALVES(rsubhn, vop_sub, true)

const struct lp_emit_row lp_emit_simd_wide[] = {
	{A64_OP_SADDL_V, saddl_v},	     {A64_OP_UADDL_V, uaddl_v},		  {A64_OP_SSUBL_V, ssubl_v},
	{A64_OP_USUBL_V, usubl_v},	     {A64_OP_SADDW_V, saddw_v},		  {A64_OP_UADDW_V, uaddw_v},
	{A64_OP_SSUBW_V, ssubw_v},	     {A64_OP_USUBW_V, usubw_v},		  {A64_OP_SABDL_V, sabdl_v},
	{A64_OP_UABDL_V, uabdl_v},	     {A64_OP_SABAL_V, sabal_v},		  {A64_OP_UABAL_V, uabal_v},
	{A64_OP_SMULL_V, smull_v},	     {A64_OP_UMULL_V, umull_v},		  {A64_OP_SMLAL_V, smlal_v},
	{A64_OP_UMLAL_V, umlal_v},	     {A64_OP_SMLSL_V, smlsl_v},		  {A64_OP_UMLSL_V, umlsl_v},
	{A64_OP_SMULL_ELEM_V, smull_elem_v}, {A64_OP_UMULL_ELEM_V, umull_elem_v}, {A64_OP_SMLAL_ELEM_V, smlal_elem_v},
	{A64_OP_UMLAL_ELEM_V, umlal_elem_v}, {A64_OP_SMLSL_ELEM_V, smlsl_elem_v}, {A64_OP_UMLSL_ELEM_V, umlsl_elem_v},
	{A64_OP_PMULL_64, pmull_64},	     {A64_OP_ADDHN_V, addhn_v},		  {A64_OP_SUBHN_V, subhn_v},
	{A64_OP_RADDHN_V, raddhn_v},	     {A64_OP_RSUBHN_V, rsubhn_v},	  {0},
};
