/*
 * Advanced SIMD: one row of a64.def is one line, what happens to one lane.
 *
 *     BOTH(sqadd, bhsd, bhsd, S, SAT((W)a + b))       // rows sqadd_v and sqadd_s
 *
 * bhsd   the sizes of lanes that the row has
 * S, U   how lanes are read: signed, unsigned
 * a, b   this lane of the first and second operand; d: of the destination as it was
 * T      the lane's type; U and S the unsigned and signed one of its width; BITS of them
 * W      a signed type that holds sums and products of two lanes
 * SAT    into a T; when that changes the value, FPSR.QC
 *
 * From each line come functions for every size of lanes and both widths of
 * registers, whose loops have constant length: the compiler makes vector
 * instructions of them.  A chooser (choose.h) picks one by the fields of the
 * word.  An operand of 64 bits is read with zeros above (so that what is there
 * does not saturate), and its result written so.
 *
 * A register is always written by one store of 16 bytes: two smaller ones could
 * not be forwarded to a load of 16.
 */
#ifndef LP_EMU_SIMD_H
#define LP_EMU_SIMD_H

#include <emmintrin.h>
#include <string.h>

#include "emu/choose.h"
#include "emu/simd_whole.h"

/* A line is for lanes with and without sign: what can never be true of some is meant for the others. */
#pragma GCC diagnostic ignored "-Wtype-limits"

enum { LP_FPSR_QC = 1 << 27 };

/* ---- registers as values ---- */

typedef uint8_t lp_v16 __attribute__((vector_size(16), aligned(1), may_alias));

static inline __m128i lp_get_q(const struct lp_cpu *cpu, unsigned r)
{
	return _mm_load_si128((const __m128i *)&cpu->vr[r]);
}
static inline void lp_set_q(struct lp_cpu *cpu, unsigned r, __m128i value)
{
	__asm__("" : "+x"(value)); /* in one register: the compiler would store halves where it has them apart */
	_mm_store_si128((__m128i *)&cpu->vr[r], value);
}
/* With zeros above. */
static inline void lp_set_d(struct lp_cpu *cpu, unsigned r, uint64_t value)
{
	lp_set_q(cpu, r, _mm_cvtsi64_si128((int64_t)value));
}

static inline __m128i lp_vreg_bits(union lp_vreg v)
{
	__m128i bits;

	memcpy(&bits, &v, sizeof bits);
	return bits;
}
static inline union lp_vreg lp_vreg_of(__m128i bits)
{
	union lp_vreg v;

	memcpy(&v, &bits, sizeof v);
	return v;
}

/* All of a register (q), or its lower half with zeros above. */
static inline union lp_vreg lp_get_v(const struct lp_cpu *cpu, unsigned r, bool q)
{
	__m128i bits = lp_get_q(cpu, r);

	return lp_vreg_of(q ? bits : _mm_move_epi64(bits));
}
static inline void lp_set_v(struct lp_cpu *cpu, unsigned r, union lp_vreg v, bool q)
{
	__m128i bits = lp_vreg_bits(v);

	lp_set_q(cpu, r, q ? bits : _mm_move_epi64(bits));
}
/* What the "2" forms (xtn2) write: the upper half; the others the lower, with zeros above. */
static inline void lp_set_half(struct lp_cpu *cpu, unsigned r, union lp_vreg v, bool upper)
{
	__m128i half = lp_vreg_bits(v);

	lp_set_q(cpu, r, upper ? _mm_unpacklo_epi64(lp_get_q(cpu, r), half) : _mm_move_epi64(half));
}

/* A lane of `1 << log` bytes of ones; read from 16 - i lanes' bytes on, it is lane i. */
static const uint8_t lp_lane_masks[4][32] __attribute__((aligned(32), unused)) = {
	{[16] = 255},
	{[16] = 255, 255},
	{[16] = 255, 255, 255, 255},
	{[16] = 255, 255, 255, 255, 255, 255, 255, 255},
};
#define LP_SET_LANE(Z, type, log, set1)                                                                              \
	static inline void lp_set_lane_##Z(struct lp_cpu *cpu, unsigned r, unsigned lane, type value)                \
	{                                                                                                            \
		const __m128i mask = _mm_loadu_si128((const __m128i *)(lp_lane_masks[log] + 16 - (lane << (log))));  \
		lp_set_q(cpu, r, _mm_or_si128(_mm_and_si128(mask, set1), _mm_andnot_si128(mask, lp_get_q(cpu, r)))); \
	}
LP_SET_LANE(b, uint8_t, 0, _mm_set1_epi8((char)value))
LP_SET_LANE(h, uint16_t, 1, _mm_set1_epi16((short)value))
LP_SET_LANE(s, uint32_t, 2, _mm_set1_epi32((int)value))
LP_SET_LANE(d, uint64_t, 3, _mm_set1_epi64x((int64_t)value))

static inline void lp_set_qc(struct lp_cpu *cpu, bool saturated)
{
	if (__builtin_expect(saturated, 0))
		cpu->fpsr |= LP_FPSR_QC;
}

/* ---- lanes ---- */

#define U_b uint8_t
#define U_h uint16_t
#define U_s uint32_t
#define U_d uint64_t
#define S_b int8_t
#define S_h int16_t
#define S_s int32_t
#define S_d int64_t
#define W_b int
#define W_h int
#define W_s int64_t
#define W_d __int128

/* Members of union lp_vreg. */
#define FIELD_U_b b
#define FIELD_U_h h
#define FIELD_U_s s
#define FIELD_U_d d
#define FIELD_S_b sb
#define FIELD_S_h sh
#define FIELD_S_s ss
#define FIELD_S_d sd

/* Of twice the size: members, types. */
#define WIDE_FIELD_U_b h
#define WIDE_FIELD_U_h s
#define WIDE_FIELD_U_s d
#define WIDE_FIELD_S_b sh
#define WIDE_FIELD_S_h ss
#define WIDE_FIELD_S_s sd
#define WIDE_U_b uint16_t
#define WIDE_U_h uint32_t
#define WIDE_U_s uint64_t
#define WIDE_S_b int16_t
#define WIDE_S_h int32_t
#define WIDE_S_s int64_t
#define WIDE_W_b int
#define WIDE_W_h int64_t
#define WIDE_W_s __int128

#define LOG_b 0
#define LOG_h 1
#define LOG_s 2
#define LOG_d 3

#define EACH_b(M, ...) M(b, __VA_ARGS__)
#define EACH_h(M, ...) M(h, __VA_ARGS__)
#define EACH_s(M, ...) M(s, __VA_ARGS__)
#define EACH_d(M, ...) M(d, __VA_ARGS__)
#define EACH_bh(M, ...) M(b, __VA_ARGS__) M(h, __VA_ARGS__)
#define EACH_hs(M, ...) M(h, __VA_ARGS__) M(s, __VA_ARGS__)
#define EACH_bhs(M, ...) M(b, __VA_ARGS__) M(h, __VA_ARGS__) M(s, __VA_ARGS__)
#define EACH_bhsd(M, ...) M(b, __VA_ARGS__) M(h, __VA_ARGS__) M(s, __VA_ARGS__) M(d, __VA_ARGS__)

#define LP_UNUSED __attribute__((unused))

/* Before a loop over lanes, which the compiler must not take apart before it has looked for vectors. */
#define LP_LANES _Pragma("GCC unroll 1")

/* What the lines are written in: types and constants for lanes of size Z, read as `sign`. */
#define LP_LANE_TYPES(Z, sign)          \
	typedef U_##Z U LP_UNUSED;      \
	typedef S_##Z S LP_UNUSED;      \
	typedef W_##Z W LP_UNUSED;      \
	typedef sign##_##Z T LP_UNUSED; \
	enum { BITS = sizeof(U) * 8 };  \
	LP_UNUSED unsigned saturated = 0;

/* The limits of a type, as W. */
#define LP_TOP(type) ((W)(((W)1 << (sizeof(type) * 8 - ((type)-1 < (type)1))) - 1))
#define LP_BOTTOM(type) ((type)-1 < (type)1 ? -LP_TOP(type) - 1 : 0)
#define LP_SAT(name, type, value)                                                   \
	({                                                                          \
		const W name = (value);                                             \
		const W name##_limited = name > LP_TOP(type)	  ? LP_TOP(type)    \
					 : name < LP_BOTTOM(type) ? LP_BOTTOM(type) \
								  : name;           \
		saturated |= name##_limited != name;                                \
		(type) name##_limited;                                              \
	})
#define SAT(value) LP_SAT(sum, T, value)
#define SAT_U(value) LP_SAT(sum, U, value)
#define MASK(condition) ((condition) ? (T)-1 : (T)0)

/* ---- choosing ---- */

static inline unsigned lp_by_q(uint32_t word)
{
	return word >> 30 & 1;
}
static inline unsigned lp_by_esize(uint32_t word)
{
	return word >> 22 & 3;
}
static inline unsigned lp_by_esize_q(uint32_t word)
{
	return lp_by_esize(word) << 1 | lp_by_q(word);
}
/* The size is the highest bit of immh. */
static inline unsigned lp_by_immh(uint32_t word)
{
	return 31 - (unsigned)__builtin_clz((word >> 19 & 15) | 1);
}
static inline unsigned lp_by_immh_q(uint32_t word)
{
	return lp_by_immh(word) << 1 | lp_by_q(word);
}
/* The size is the lowest bit of imm5. */
static inline unsigned lp_by_imm5(uint32_t word)
{
	return (unsigned)__builtin_ctz((word >> 16 & 15) | 8);
}
static inline unsigned lp_by_imm5_q(uint32_t word)
{
	return lp_by_imm5(word) << 1 | lp_by_q(word);
}

#define VARIANT(name) static const struct lp_uop *name(struct lp_cpu *cpu, const struct lp_uop *u)

/* SEM(row), in the one compilation that has the rows' own functions: what `plain` (a lp_uop_fn *) does. */
#ifdef LP_EMU_V3
#define PLAIN(row, plain)
#else
#define PLAIN(row, plain)                                \
	SEM(row)                                         \
	{                                                \
		LP_UNUSED const uint32_t word = u->word; \
		return (plain)(cpu, u);                  \
	}
#endif
#define CHOOSER_ONLY(row, chosen)                        \
	lp_uop_fn *LP_CHOOSE(row)(struct lp_uop * u)     \
	{                                                \
		LP_UNUSED const uint32_t word = u->word; \
		return chosen;                           \
	}
/* The chooser of a row, and its function: `chosen` is a lp_uop_fn * that looks at `word`. */
#define CHOOSER(row, chosen)      \
	CHOOSER_ONLY(row, chosen) \
	PLAIN(row, chosen)

/* Variants row_Z0 and row_Z1 for lanes of size Z in registers of 64 and 128 bits. */
#define LP_AT(index, value) [index] = value,
#define LP_SIZE_Q_ENTRY(Z, row) LP_AT(2 * LOG_##Z, row##_##Z##0) LP_AT(2 * LOG_##Z + 1, row##_##Z##1)
#define CHOOSE_BY_SIZE_Q(row, sizes, by)                                                  \
	static lp_uop_fn *const row##_variants[8] = {EACH_##sizes(LP_SIZE_Q_ENTRY, row)}; \
	CHOOSER(row, row##_variants[by(word)]);
/* Variants row_Z of scalars. */
#define LP_SIZE_ENTRY(Z, row) LP_AT(LOG_##Z, row##_##Z)
#define CHOOSE_BY_SIZE(row, sizes, by)                                                  \
	static lp_uop_fn *const row##_variants[4] = {EACH_##sizes(LP_SIZE_ENTRY, row)}; \
	CHOOSER(row, row##_variants[by(word)]);

/* ---- shapes: how lanes of operands and results belong to each other ---- */

/* The second operand: a lane of rm, ... */
#define B_LANE(cpu, u, q, Z, sign) lp_get_v(cpu, (u)->rm, q)
/* ... or the same one for all lanes, by H:L:M or H:L; what is broadcast is read from a register with that lane everywhere. */
#define B_ELEMENT(cpu, u, q, Z, sign) lp_element_##Z(cpu, (u)->word)

static inline union lp_vreg lp_element_h(const struct lp_cpu *cpu, uint32_t word)
{
	unsigned index = (word >> 11 & 1) << 2 | (word >> 20 & 3);

	return lp_vreg_of(_mm_set1_epi16(cpu->vr[word >> 16 & 15].sh[index]));
}
static inline union lp_vreg lp_element_s(const struct lp_cpu *cpu, uint32_t word)
{
	unsigned index = (word >> 11 & 1) << 1 | (word >> 21 & 1);

	return lp_vreg_of(_mm_set1_epi32(cpu->vr[word >> 16 & 31].ss[index]));
}

/* Lanes of one size all over. */
#define LP_SAME_FN(Z, q, row, sign, B, expr)                                                \
	VARIANT(row##_##Z##q)                                                               \
	{                                                                                   \
		LP_LANE_TYPES(Z, sign)                                                      \
		const union lp_vreg n = lp_get_v(cpu, u->rn, q), m = B(cpu, u, q, Z, sign), \
				    was = lp_get_v(cpu, u->rd, q);                          \
		union lp_vreg r;                                                            \
		LP_LANES for (unsigned i = 0; i < 16 / sizeof(T); i++)                      \
		{                                                                           \
			LP_UNUSED const T a = n.FIELD_##sign##_##Z[i];                      \
			LP_UNUSED const T b = m.FIELD_##sign##_##Z[i];                      \
			LP_UNUSED const T d = was.FIELD_##sign##_##Z[i];                    \
			r.FIELD_##sign##_##Z[i] = (T)(expr);                                \
		}                                                                           \
		lp_set_qc(cpu, saturated);                                                  \
		lp_set_v(cpu, u->rd, r, q);                                                 \
		TAIL(u + 1);                                                                \
	}
#define LP_SAME_FNS(Z, ...) LP_SAME_FN(Z, 0, __VA_ARGS__) LP_SAME_FN(Z, 1, __VA_ARGS__)

/* The same on the lowest lane alone. */
#define LP_SCALAR_FN(Z, row, sign, B, expr)                                                              \
	VARIANT(row##_##Z)                                                                               \
	{                                                                                                \
		LP_LANE_TYPES(Z, sign)                                                                   \
		const union lp_vreg m = B(cpu, u, 1, Z, sign);                                           \
		LP_UNUSED const T a = cpu->vr[u->rn].FIELD_##sign##_##Z[0], b = m.FIELD_##sign##_##Z[0], \
				  d = cpu->vr[u->rd].FIELD_##sign##_##Z[0];                              \
		const T r = (T)(expr);                                                                   \
		lp_set_qc(cpu, saturated);                                                               \
		lp_set_d(cpu, u->rd, (U)r);                                                              \
		TAIL(u + 1);                                                                             \
	}

#define VECTOR(name, sizes, sign, expr)                          \
	EACH_##sizes(LP_SAME_FNS, name##_v, sign, B_LANE, expr); \
	CHOOSE_BY_SIZE_Q(name##_v, sizes, lp_by_esize_q);
#define SCALAR(name, sizes, sign, expr)                           \
	EACH_##sizes(LP_SCALAR_FN, name##_s, sign, B_LANE, expr); \
	CHOOSE_BY_SIZE(name##_s, sizes, lp_by_esize);
#define BOTH(name, sizes, scalar_sizes, sign, expr) \
	VECTOR(name, sizes, sign, expr);            \
	SCALAR(name, scalar_sizes, sign, expr);

#define VECTOR_ELEMENT(name, sign, expr)                            \
	EACH_hs(LP_SAME_FNS, name##_elem_v, sign, B_ELEMENT, expr); \
	CHOOSE_BY_SIZE_Q(name##_elem_v, hs, lp_by_esize_q);
#define SCALAR_ELEMENT(name, sign, expr)                             \
	EACH_hs(LP_SCALAR_FN, name##_elem_s, sign, B_ELEMENT, expr); \
	CHOOSE_BY_SIZE(name##_elem_s, hs, lp_by_esize);

/* Long: lanes of one half of the operands make lanes of twice the size, of type TW; d is a TW, W holds sums of those. */
#define LP_WIDE_TYPES(Z, sign)                  \
	typedef U_##Z U LP_UNUSED;              \
	typedef sign##_##Z T LP_UNUSED;         \
	typedef WIDE_##sign##_##Z TW LP_UNUSED; \
	typedef WIDE_U_##Z UW LP_UNUSED;        \
	typedef WIDE_W_##Z W LP_UNUSED;         \
	enum { BITS = sizeof(U) * 8 };          \
	LP_UNUSED unsigned saturated = 0;
#define SAT_W(value) LP_SAT(sum, TW, value)

/* A register, or its upper half as the lower, with lanes of twice the size. */
#define LP_WIDENED(Z, sign, bits, upper) lp_vreg_of(widen_##sign##_##Z(upper_if(bits, upper)))

#define LP_LONG_FN(Z, q, row, sign, B, expr)                                                         \
	VARIANT(row##_##Z##q)                                                                        \
	{                                                                                            \
		LP_WIDE_TYPES(Z, sign)                                                               \
		const union lp_vreg n = LP_WIDENED(Z, sign, lp_get_q(cpu, u->rn), q),                \
				    m = LP_WIDENED(Z, sign, lp_vreg_bits(B(cpu, u, 1, Z, sign)), q), \
				    was = lp_get_v(cpu, u->rd, 1);                                   \
		union lp_vreg r;                                                                     \
		LP_LANES for (unsigned i = 0; i < 8 / sizeof(T); i++)                                \
		{                                                                                    \
			LP_UNUSED const TW a = n.WIDE_FIELD_##sign##_##Z[i];                         \
			LP_UNUSED const TW b = m.WIDE_FIELD_##sign##_##Z[i];                         \
			LP_UNUSED const TW d = was.WIDE_FIELD_##sign##_##Z[i];                       \
			r.WIDE_FIELD_##sign##_##Z[i] = (TW)(expr);                                   \
		}                                                                                    \
		lp_set_qc(cpu, saturated);                                                           \
		lp_set_v(cpu, u->rd, r, 1);                                                          \
		TAIL(u + 1);                                                                         \
	}
#define LP_LONG_FNS(Z, ...) LP_LONG_FN(Z, 0, __VA_ARGS__) LP_LONG_FN(Z, 1, __VA_ARGS__)
#define LP_LONG_SCALAR_FN(Z, row, sign, B, expr)                                                         \
	VARIANT(row##_##Z)                                                                               \
	{                                                                                                \
		LP_WIDE_TYPES(Z, sign)                                                                   \
		const union lp_vreg m = B(cpu, u, 0, Z, sign);                                           \
		LP_UNUSED const T a = cpu->vr[u->rn].FIELD_##sign##_##Z[0], b = m.FIELD_##sign##_##Z[0]; \
		LP_UNUSED const TW d = cpu->vr[u->rd].WIDE_FIELD_##sign##_##Z[0];                        \
		const TW r = (TW)(expr);                                                                 \
		lp_set_qc(cpu, saturated);                                                               \
		lp_set_d(cpu, u->rd, (UW)r);                                                             \
		TAIL(u + 1);                                                                             \
	}
#define LONG(name, sizes, sign, expr)                            \
	EACH_##sizes(LP_LONG_FNS, name##_v, sign, B_LANE, expr); \
	CHOOSE_BY_SIZE_Q(name##_v, sizes, lp_by_esize_q);
#define LONG_SCALAR(name, sizes, sign, expr)                           \
	EACH_##sizes(LP_LONG_SCALAR_FN, name##_s, sign, B_LANE, expr); \
	CHOOSE_BY_SIZE(name##_s, sizes, lp_by_esize);
#define LONG_ELEMENT(name, sign, expr)                              \
	EACH_hs(LP_LONG_FNS, name##_elem_v, sign, B_ELEMENT, expr); \
	CHOOSE_BY_SIZE_Q(name##_elem_v, hs, lp_by_esize_q);
#define LONG_SCALAR_ELEMENT(name, sign, expr)                             \
	EACH_hs(LP_LONG_SCALAR_FN, name##_elem_s, sign, B_ELEMENT, expr); \
	CHOOSE_BY_SIZE(name##_elem_s, hs, lp_by_esize);

/* Wide: a is of twice the size already. */
#define LP_WIDE_FN(Z, q, row, sign, expr)                                                                          \
	VARIANT(row##_##Z##q)                                                                                      \
	{                                                                                                          \
		LP_WIDE_TYPES(Z, sign)                                                                             \
		const union lp_vreg n = lp_get_v(cpu, u->rn, 1), m = LP_WIDENED(Z, sign, lp_get_q(cpu, u->rm), q); \
		union lp_vreg r;                                                                                   \
		LP_LANES for (unsigned i = 0; i < 8 / sizeof(T); i++)                                              \
		{                                                                                                  \
			const UW a = n.WIDE_FIELD_U_##Z[i], b = m.WIDE_FIELD_U_##Z[i];                             \
			r.WIDE_FIELD_U_##Z[i] = (UW)(expr);                                                        \
		}                                                                                                  \
		lp_set_v(cpu, u->rd, r, 1);                                                                        \
		TAIL(u + 1);                                                                                       \
	}
#define LP_WIDE_FNS(Z, ...) LP_WIDE_FN(Z, 0, __VA_ARGS__) LP_WIDE_FN(Z, 1, __VA_ARGS__)
#define WIDE(name, sign, expr)                       \
	EACH_bhs(LP_WIDE_FNS, name##_v, sign, expr); \
	CHOOSE_BY_SIZE_Q(name##_v, bhs, lp_by_esize_q);

/* Narrow: lanes a, b of twice the size (read as `from`) make lanes of type T (`sign`) in one half; W holds sums of a and b. */
#define LP_NARROW_TYPES(Z, from, sign)          \
	typedef U_##Z U LP_UNUSED;              \
	typedef sign##_##Z T LP_UNUSED;         \
	typedef WIDE_##from##_##Z TW LP_UNUSED; \
	typedef WIDE_U_##Z UW LP_UNUSED;        \
	typedef WIDE_W_##Z W LP_UNUSED;         \
	enum { BITS = sizeof(U) * 8 };          \
	LP_UNUSED unsigned saturated = 0;
#define LP_NARROW_FN(Z, q, row, from, sign, expr)                                             \
	VARIANT(row##_##Z##q)                                                                 \
	{                                                                                     \
		LP_NARROW_TYPES(Z, from, sign)                                                \
		const union lp_vreg n = lp_get_v(cpu, u->rn, 1), m = lp_get_v(cpu, u->rm, 1); \
		union lp_vreg r = {0};                                                        \
		LP_LANES for (unsigned i = 0; i < 8 / sizeof(T); i++)                         \
		{                                                                             \
			LP_UNUSED const TW a = n.WIDE_FIELD_##from##_##Z[i];                  \
			LP_UNUSED const TW b = m.WIDE_FIELD_##from##_##Z[i];                  \
			r.FIELD_##sign##_##Z[i] = (T)(expr);                                  \
		}                                                                             \
		lp_set_qc(cpu, saturated);                                                    \
		lp_set_half(cpu, u->rd, r, q);                                                \
		TAIL(u + 1);                                                                  \
	}
#define LP_NARROW_FNS(Z, ...) LP_NARROW_FN(Z, 0, __VA_ARGS__) LP_NARROW_FN(Z, 1, __VA_ARGS__)
#define LP_NARROW_SCALAR_FN(Z, row, from, sign, expr)                   \
	VARIANT(row##_##Z)                                              \
	{                                                               \
		LP_NARROW_TYPES(Z, from, sign)                          \
		const TW a = cpu->vr[u->rn].WIDE_FIELD_##from##_##Z[0]; \
		const T r = (T)(expr);                                  \
		lp_set_qc(cpu, saturated);                              \
		lp_set_d(cpu, u->rd, (U)r);                             \
		TAIL(u + 1);                                            \
	}

#endif
