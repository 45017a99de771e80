/* Advanced SIMD floating point by element, and on complex numbers. */
#include "emu/sem_fp_vector.h"

/* ---- the element ---- */

/* `L` is bit 21 here. */
static inline unsigned bit_l(const struct lp_uop *u)
{
	return u->word >> 21 & 1;
}

/* Which lane of which register, by the size of lanes: H:L:M of v0 to v15, H:L, H of all. */
static inline unsigned element_register(const struct lp_uop *u, enum lp_fp_size size)
{
	return size == LP_FP_H ? u->rm & 15 : u->rm;
}

static inline unsigned element_index(const struct lp_uop *u, enum lp_fp_size size)
{
	unsigned h = lp_a64_field_H(u->word), l = bit_l(u), m = lp_a64_field_M(u->word);

	switch (size) {
	case LP_FP_H:
		return h << 2 | l << 1 | m;
	case LP_FP_S:
		return h << 1 | l;
	default:
		return h;
	}
}

/* In every lane. */
static union lp_vreg repeated(const struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size)
{
	uint64_t value = fp_lane(&cpu->vr[element_register(u, size)], size, element_index(u, size));
	union lp_vreg r;

	for (unsigned i = 0; i < 8U >> size; i++)
		set_fp_lane(&r, size, i, value);
	return r;
}

static uint64_t mulsub(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t addend, uint64_t a, uint64_t b)
{
	return lp_fp_muladd(cpu, size, addend, lp_fp_neg(size, a), b);
}

static LP_RARE const struct lp_uop *exact2(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size,
					   unsigned lanes, lp_fp_binary *op)
{
	return lp_fp_lanes2(cpu, u, size, lanes, repeated(cpu, u, size), op);
}

static LP_RARE const struct lp_uop *exact3(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size,
					   unsigned lanes, lp_fp_ternary *op)
{
	return lp_fp_lanes3(cpu, u, size, lanes, repeated(cpu, u, size), op);
}

#define ELEMENT_EXACT(row, exact, op)                                    \
	SEM(row##_elem_v_h)                                              \
	{                                                                \
		return exact(cpu, u, LP_FP_H, fp_lanes(u, LP_FP_H), op); \
	}                                                                \
	SEM(row##_elem_s)                                                \
	{                                                                \
		return exact(cpu, u, fp_sz(u), 1, op);                   \
	}                                                                \
	SEM(row##_elem_s_h)                                              \
	{                                                                \
		return exact(cpu, u, LP_FP_H, 1, op);                    \
	}
ELEMENT_EXACT(fmla, exact3, lp_fp_muladd)
ELEMENT_EXACT(fmls, exact3, mulsub)
ELEMENT_EXACT(fmul, exact2, lp_fp_mul)
ELEMENT_EXACT(fmulx, exact2, lp_fp_mulx)

SEM(fmulx_elem_v)
{
	return exact2(cpu, u, fp_sz(u), fp_lanes(u, fp_sz(u)), lp_fp_mulx);
}

static inline __m128 element_4s(const struct lp_cpu *cpu, const struct lp_uop *u)
{
	return _mm_set1_ps(cpu->vr[u->rm].f[element_index(u, LP_FP_S)]);
}

static inline __m128d element_2d(const struct lp_cpu *cpu, const struct lp_uop *u)
{
	return _mm_set1_pd(cpu->vr[u->rm].g[element_index(u, LP_FP_D)]);
}

/* The other half of the operands is zeros: an element that is infinite would make NaNs of them, so it is kept away. */
static inline __m128 element_2s(const struct lp_cpu *cpu, const struct lp_uop *u)
{
	return _mm_castsi128_ps(_mm_move_epi64(_mm_castps_si128(element_4s(cpu, u))));
}

#define TRY(shape, type, expression, doubtful, exact)          \
	do {                                                   \
		if (LP_LIKELY(!cpu->fp_exact)) {               \
			type result = expression;              \
                                                               \
			if (LP_LIKELY(!doubtful(result))) {    \
				store_##shape(cpu, u, result); \
				TAIL(u + 1);                   \
			}                                      \
		}                                              \
		return exact;                                  \
	} while (0)
#define V(shape, r) load_##shape(&cpu->vr[r])

#define ELEMENT3(row, host, op)                                                                                  \
	UOP_FN(row##_2s)                                                                                         \
	{                                                                                                        \
		TRY(2s, __m128, host_##host##_4s(V(2s, u->rd), V(2s, u->rn), element_2s(cpu, u)), has_doubt_4s,  \
		    exact3(cpu, u, LP_FP_S, 2, op));                                                             \
	}                                                                                                        \
	UOP_FN(row##_4s)                                                                                         \
	{                                                                                                        \
		TRY(4s, __m128, host_##host##_4s(V(4s, u->rd), V(4s, u->rn), element_4s(cpu, u)), has_doubt_4s,  \
		    exact3(cpu, u, LP_FP_S, 4, op));                                                             \
	}                                                                                                        \
	UOP_FN(row##_2d)                                                                                         \
	{                                                                                                        \
		TRY(2d, __m128d, host_##host##_2d(V(2d, u->rd), V(2d, u->rn), element_2d(cpu, u)), has_doubt_2d, \
		    exact3(cpu, u, LP_FP_D, 2, op));                                                             \
	}                                                                                                        \
	ROW_BY_SHAPE(row)

ELEMENT3(fmla_elem_v, madd, lp_fp_muladd)
ELEMENT3(fmls_elem_v, msub, mulsub)

UOP_FN(fmul_elem_v_2s)
{
	TRY(2s, __m128, host_mul_4s(V(2s, u->rn), element_2s(cpu, u)), has_doubt_4s,
	    exact2(cpu, u, LP_FP_S, 2, lp_fp_mul));
}
UOP_FN(fmul_elem_v_4s)
{
	TRY(4s, __m128, host_mul_4s(V(4s, u->rn), element_4s(cpu, u)), has_doubt_4s,
	    exact2(cpu, u, LP_FP_S, 4, lp_fp_mul));
}
UOP_FN(fmul_elem_v_2d)
{
	TRY(2d, __m128d, host_mul_2d(V(2d, u->rn), element_2d(cpu, u)), has_doubt_2d,
	    exact2(cpu, u, LP_FP_D, 2, lp_fp_mul));
}
ROW_BY_SHAPE(fmul_elem_v)

/* ---- complex numbers: real parts in even lanes, imaginary ones in odd lanes ---- */

/* Which parts are multiplied, and what is negated, by the rotation. */
static void rotate_multiply_add(struct lp_cpu *cpu, enum lp_fp_size size, union lp_vreg *r, unsigned at,
				const union lp_vreg *n, const union lp_vreg *m, unsigned m_at, unsigned rotation)
{
	uint64_t a = fp_lane(n, size, at + (rotation & 1));
	uint64_t even = fp_lane(m, size, m_at + (rotation & 1)), odd = fp_lane(m, size, m_at + !(rotation & 1));

	if (rotation == 1 || rotation == 2)
		even = lp_fp_neg(size, even);
	if (rotation >= 2)
		odd = lp_fp_neg(size, odd);
	set_fp_lane(r, size, at, lp_fp_muladd(cpu, size, fp_lane(r, size, at), a, even));
	set_fp_lane(r, size, at + 1, lp_fp_muladd(cpu, size, fp_lane(r, size, at + 1), a, odd));
}

static enum lp_fp_size complex_size(const struct lp_uop *u)
{
	return (enum lp_fp_size)(lp_a64_field_esize(u->word) - 1);
}

/* The lanes that the instruction has, and nothing behind them. */
static void set_lanes(struct lp_cpu *cpu, const struct lp_uop *u, union lp_vreg value)
{
	if (!lp_a64_field_Q(u->word))
		value.d[1] = 0;
	cpu->vr[u->rd] = value;
}

SEM(fcmla_v)
{
	enum lp_fp_size size = complex_size(u);
	union lp_vreg r = cpu->vr[u->rd];

	for (unsigned i = 0; i < fp_lanes(u, size); i += 2)
		rotate_multiply_add(cpu, size, &r, i, &cpu->vr[u->rn], &cpu->vr[u->rm], i, lp_a64_field_rot(u->word));
	set_lanes(cpu, u, r);
	NEXT;
}

SEM(fcmla_elem)
{
	enum lp_fp_size size = complex_size(u);
	unsigned h = lp_a64_field_H(u->word), l = bit_l(u);
	unsigned m_at = 2 * (size == LP_FP_H ? h << 1 | l : h);
	union lp_vreg r = cpu->vr[u->rd];

	for (unsigned i = 0; i < fp_lanes(u, size); i += 2)
		rotate_multiply_add(cpu, size, &r, i, &cpu->vr[u->rn], &cpu->vr[u->rm], m_at,
				    lp_a64_field_rot13(u->word));
	set_lanes(cpu, u, r);
	NEXT;
}

/* Plus the other one, turned by 90 or 270 degrees. */
SEM(fcadd_v)
{
	enum lp_fp_size size = complex_size(u);
	const union lp_vreg *n = &cpu->vr[u->rn], *m = &cpu->vr[u->rm];
	union lp_vreg r = {.q = 0};

	for (unsigned i = 0; i < fp_lanes(u, size); i += 2) {
		uint64_t even = fp_lane(m, size, i + 1), odd = fp_lane(m, size, i);

		if (lp_a64_field_rot1(u->word))
			odd = lp_fp_neg(size, odd);
		else
			even = lp_fp_neg(size, even);
		set_fp_lane(&r, size, i, lp_fp_add(cpu, size, fp_lane(n, size, i), even));
		set_fp_lane(&r, size, i + 1, lp_fp_add(cpu, size, fp_lane(n, size, i + 1), odd));
	}
	set_lanes(cpu, u, r);
	NEXT;
}

/* ---- by shape, at once ---- */

lp_uop_fn *lp_fp_element_lower(enum lp_a64_op op, uint32_t word)
{
	switch (op) {
	case A64_OP_FMLA_ELEM_V:
		return fmla_elem_v_shapes[fp_shape(word)];
	case A64_OP_FMLS_ELEM_V:
		return fmls_elem_v_shapes[fp_shape(word)];
	case A64_OP_FMUL_ELEM_V:
		return fmul_elem_v_shapes[fp_shape(word)];
	default:
		return NULL;
	}
}
