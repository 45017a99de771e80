/* Advanced SIMD floating point by element, and on complex numbers. */
#include <stddef.h>

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

#define ELEMENT_EXACT(row, exact, op)                                      \
	SEM(row##_elem_v)                                                  \
	{                                                                  \
		return exact(cpu, u, fp_sz(u), fp_lanes(u, fp_sz(u)), op); \
	}                                                                  \
	SEM(row##_elem_v_h)                                                \
	{                                                                  \
		return exact(cpu, u, LP_FP_H, fp_lanes(u, LP_FP_H), op);   \
	}                                                                  \
	SEM(row##_elem_s)                                                  \
	{                                                                  \
		return exact(cpu, u, fp_sz(u), 1, op);                     \
	}                                                                  \
	SEM(row##_elem_s_h)                                                \
	{                                                                  \
		return exact(cpu, u, LP_FP_H, 1, op);                      \
	}
ELEMENT_EXACT(fmla, exact3, lp_fp_muladd)
ELEMENT_EXACT(fmls, exact3, lp_fp_mulsub)
ELEMENT_EXACT(fmul, exact2, lp_fp_mul)
ELEMENT_EXACT(fmulx, exact2, lp_fp_mulx)

/* ---- the host's, unless a lane is doubtful; u->imm: where the element is, from the cpu on ---- */

static inline const void *element(const struct lp_cpu *cpu, const struct lp_uop *u)
{
	return (const uint8_t *)cpu + u->imm;
}

static inline __m128 element_f(const struct lp_cpu *cpu, const struct lp_uop *u)
{
	return _mm_load_ss(element(cpu, u));
}

static inline __m128d element_d(const struct lp_cpu *cpu, const struct lp_uop *u)
{
	return _mm_load_sd(element(cpu, u));
}

static inline __m128 element_4s(const struct lp_cpu *cpu, const struct lp_uop *u)
{
	return _mm_load1_ps(element(cpu, u));
}

static inline __m128d element_2d(const struct lp_cpu *cpu, const struct lp_uop *u)
{
	return _mm_load1_pd(element(cpu, u));
}

/* The other half of the operands is zeros: an element that is infinite would make NaNs of them, so it is kept away. */
static inline __m128 element_2s(const struct lp_cpu *cpu, const struct lp_uop *u)
{
	__m128 r = _mm_load_ss(element(cpu, u));

	return _mm_shuffle_ps(r, r, 0x50);
}

#define GET_f(r) load_f(cpu, r)
#define GET_d(r) load_d(cpu, r)
#define GET_2s(r) load_2s(&cpu->vr[r])
#define GET_4s(r) load_4s(&cpu->vr[r])
#define GET_2d(r) load_2d(&cpu->vr[r])
#define PUT_f(value) store_f(cpu, u->rd, value)
#define PUT_d(value) store_d(cpu, u->rd, value)
#define PUT_2s(value) store_2s(cpu, u, value)
#define PUT_4s(value) store_4s(cpu, u, value)
#define PUT_2d(value) store_2d(cpu, u, value)

#define BY_ELEMENT(row, shape, type, expression, doubtful, exact) \
	UOP_FN(row##_##shape)                                     \
	{                                                         \
		if (LP_LIKELY(!cpu->fp_exact)) {                  \
			type result = expression;                 \
                                                                  \
			if (LP_LIKELY(!doubtful(result))) {       \
				PUT_##shape(result);              \
				TAIL(u + 1);                      \
			}                                         \
		}                                                 \
		return exact;                                     \
	}
#define SUM(row, shape, type, host, doubtful, size, lanes, op)                                                        \
	BY_ELEMENT(row, shape, type, host(GET_##shape(u->rd), GET_##shape(u->rn), element_##shape(cpu, u)), doubtful, \
		   exact3(cpu, u, size, lanes, op))
#define SUMS(row, host, op)                                                   \
	SUM(row, f, __m128, host_##host##_f, is_doubt_f, LP_FP_S, 1, op)      \
	SUM(row, d, __m128d, host_##host##_d, is_doubt_d, LP_FP_D, 1, op)     \
	SUM(row, 2s, __m128, host_##host##_4s, has_doubt_4s, LP_FP_S, 2, op)  \
	SUM(row, 4s, __m128, host_##host##_4s, has_doubt_4s, LP_FP_S, 4, op)  \
	SUM(row, 2d, __m128d, host_##host##_2d, has_doubt_2d, LP_FP_D, 2, op) \
	BY_SHAPE(row)
#define PRODUCT(row, shape, type, host, doubtful, size, lanes, op)                                \
	BY_ELEMENT(row, shape, type, host(GET_##shape(u->rn), element_##shape(cpu, u)), doubtful, \
		   exact2(cpu, u, size, lanes, op))
#define PRODUCTS(row, host, op)                                                   \
	PRODUCT(row, f, __m128, host_##host##_f, is_doubt_f, LP_FP_S, 1, op)      \
	PRODUCT(row, d, __m128d, host_##host##_d, is_doubt_d, LP_FP_D, 1, op)     \
	PRODUCT(row, 2s, __m128, host_##host##_4s, has_doubt_4s, LP_FP_S, 2, op)  \
	PRODUCT(row, 4s, __m128, host_##host##_4s, has_doubt_4s, LP_FP_S, 4, op)  \
	PRODUCT(row, 2d, __m128d, host_##host##_2d, has_doubt_2d, LP_FP_D, 2, op) \
	BY_SHAPE(row)
/* Q and sz, then the scalar ones by sz. */
#define BY_SHAPE(row) \
	static lp_uop_fn *const row##_shapes[] = {row##_2s, row##_4s, row##_2d, row##_2d, row##_f, row##_d};

SUMS(fmla, madd, lp_fp_muladd)
SUMS(fmls, msub, lp_fp_mulsub)
PRODUCTS(fmul, mul, lp_fp_mul)

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

static lp_uop_fn *const *shapes_of(enum lp_a64_op op)
{
	switch (op) {
	case A64_OP_FMLA_ELEM_V:
	case A64_OP_FMLA_ELEM_S:
		return fmla_shapes;
	case A64_OP_FMLS_ELEM_V:
	case A64_OP_FMLS_ELEM_S:
		return fmls_shapes;
	case A64_OP_FMUL_ELEM_V:
	case A64_OP_FMUL_ELEM_S:
		return fmul_shapes;
	default:
		return NULL;
	}
}

lp_uop_fn *lp_fp_element_lower(enum lp_a64_op op, struct lp_uop *u)
{
	lp_uop_fn *const *shapes = shapes_of(op);
	enum lp_fp_size size = fp_sz(u);
	bool is_scalar = op == A64_OP_FMLA_ELEM_S || op == A64_OP_FMLS_ELEM_S || op == A64_OP_FMUL_ELEM_S;

	if (!shapes)
		return NULL;
	u->imm = offsetof(struct lp_cpu, vr) + u->rm * sizeof(union lp_vreg) +
		 element_index(u, size) * (size_t)lp_fp_bits(size) / 8;
	return shapes[is_scalar ? 4 + lp_a64_field_sz(u->word) : fp_shape(u->word)];
}
