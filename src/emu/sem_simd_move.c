/* Advanced SIMD: lanes and general registers copied, bytes looked up, immediates. */
#include "emu/simd.h"

/* ---- one lane, everywhere or somewhere ---- */

/* imm5: the lowest bit that is set is the size, the bits above it the index. */
static inline unsigned lane_index(uint32_t word, unsigned log_size)
{
	return (word >> 16 & 31) >> (log_size + 1);
}

#define BROADCAST(Z, q, value)                                    \
	do {                                                      \
		const U_##Z lane_ = (value);                      \
		union lp_vreg r_;                                 \
		for (unsigned i = 0; i < 16 / sizeof(U_##Z); i++) \
			r_.FIELD_U_##Z[i] = lane_;                \
		lp_set_v(cpu, u->rd, r_, q);                      \
	} while (0)

#define DUP_FN(Z, q)                                                                       \
	VARIANT(dup_elem_##Z##q)                                                           \
	{                                                                                  \
		BROADCAST(Z, q, cpu->vr[u->rn].FIELD_U_##Z[lane_index(u->word, LOG_##Z)]); \
		TAIL(u + 1);                                                               \
	}                                                                                  \
	VARIANT(dup_gpr_##Z##q)                                                            \
	{                                                                                  \
		BROADCAST(Z, q, (U_##Z)X(cpu, u->rn));                                     \
		TAIL(u + 1);                                                               \
	}
#define DUP_FNS(Z, ...) DUP_FN(Z, 0) DUP_FN(Z, 1)
EACH_bhsd(DUP_FNS, );
CHOOSE_BY_SIZE_Q(dup_elem, bhsd, lp_by_imm5_q);
CHOOSE_BY_SIZE_Q(dup_gpr, bhsd, lp_by_imm5_q);

#define LANE_FNS(Z, ...)                                                                                     \
	VARIANT(dup_s_##Z)                                                                                   \
	{                                                                                                    \
		lp_set_d(cpu, u->rd, cpu->vr[u->rn].FIELD_U_##Z[lane_index(u->word, LOG_##Z)]);              \
		TAIL(u + 1);                                                                                 \
	}                                                                                                    \
	VARIANT(umov_##Z)                                                                                    \
	{                                                                                                    \
		SET_X(cpu, u->rd, cpu->vr[u->rn].FIELD_U_##Z[lane_index(u->word, LOG_##Z)]);                 \
		TAIL(u + 1);                                                                                 \
	}                                                                                                    \
	VARIANT(smov_##Z##0)                                                                                 \
	{                                                                                                    \
		SET_W(cpu, u->rd, (uint32_t)cpu->vr[u->rn].FIELD_S_##Z[lane_index(u->word, LOG_##Z)]);       \
		TAIL(u + 1);                                                                                 \
	}                                                                                                    \
	VARIANT(smov_##Z##1)                                                                                 \
	{                                                                                                    \
		SET_X(cpu, u->rd, (uint64_t)cpu->vr[u->rn].FIELD_S_##Z[lane_index(u->word, LOG_##Z)]);       \
		TAIL(u + 1);                                                                                 \
	}                                                                                                    \
	VARIANT(ins_gpr_##Z)                                                                                 \
	{                                                                                                    \
		cpu->vr[u->rd].FIELD_U_##Z[lane_index(u->word, LOG_##Z)] = (U_##Z)X(cpu, u->rn);             \
		TAIL(u + 1);                                                                                 \
	}                                                                                                    \
	VARIANT(ins_elem_##Z)                                                                                \
	{                                                                                                    \
		const unsigned from = (u->word >> 11 & 15) >> LOG_##Z;                                       \
		cpu->vr[u->rd].FIELD_U_##Z[lane_index(u->word, LOG_##Z)] = cpu->vr[u->rn].FIELD_U_##Z[from]; \
		TAIL(u + 1);                                                                                 \
	}
EACH_bhsd(LANE_FNS, );
CHOOSE_BY_SIZE(dup_s, bhsd, lp_by_imm5);
CHOOSE_BY_SIZE(umov, bhsd, lp_by_imm5);
CHOOSE_BY_SIZE_Q(smov, bhsd, lp_by_imm5_q);
CHOOSE_BY_SIZE(ins_gpr, bhsd, lp_by_imm5);
CHOOSE_BY_SIZE(ins_elem, bhsd, lp_by_imm5);

/* ---- bytes ---- */

#define EXT_FN(q)                                                                 \
	VARIANT(ext_##q)                                                          \
	{                                                                         \
		enum { SIZE = (q) ? 16 : 8 };                                     \
		uint8_t both[32];                                                 \
		__m128i r;                                                        \
		_mm_storeu_si128((__m128i *)both, lp_get_q(cpu, u->rn));          \
		_mm_storeu_si128((__m128i *)(both + SIZE), lp_get_q(cpu, u->rm)); \
		memcpy(&r, both + (u->word >> 11 & 15), sizeof r);                \
		lp_set_q(cpu, u->rd, (q) ? r : _mm_move_epi64(r));                \
		NEXT;                                                             \
	}
EXT_FN(0);
EXT_FN(1);
CHOOSER(ext, lp_by_q(word) ? ext_1 : ext_0);

/* Registers rn, rn + 1, ... (31 is followed by 0) as one table of bytes; an index beyond it: `otherwise`. */
static inline union lp_vreg look_up(const struct lp_cpu *cpu, const struct lp_uop *u, union lp_vreg otherwise)
{
	const unsigned size = 16 * ((u->word >> 13 & 3) + 1);
	const union lp_vreg index = lp_get_v(cpu, u->rm, 1);
	union lp_vreg r = otherwise;

	for (unsigned i = 0; i < 16; i++)
		if (index.b[i] < size)
			r.b[i] = cpu->vr[(u->rn + index.b[i] / 16) % 32].b[index.b[i] % 16];
	return r;
}
VARIANT(tbl_any)
{
	lp_set_v(cpu, u->rd, look_up(cpu, u, (union lp_vreg){0}), lp_by_q(u->word));
	NEXT;
}
VARIANT(tbx_any)
{
	lp_set_v(cpu, u->rd, look_up(cpu, u, lp_get_v(cpu, u->rd, 1)), lp_by_q(u->word));
	NEXT;
}
CHOOSER(tbl, tbl_any);
CHOOSER(tbx, tbx_any);

/* ---- immediates ---- */

static inline uint64_t imm8(uint32_t word)
{
	return (word >> 11 & 0xe0) | (word >> 5 & 0x1f);
}
/* cmode says by how many bytes; msl shifts ones in. */
#define BYTES_32 (8 * (u->word >> 13 & 3))
#define BYTES_16 (8 * (u->word >> 13 & 1))
#define BYTES_MSL (8 + 8 * (u->word >> 12 & 1))
#define IMM_32 ((imm8(u->word) << BYTES_32) * UINT64_C(0x100000001))
#define IMM_16 ((imm8(u->word) << BYTES_16) * UINT64_C(0x1000100010001))
#define IMM_MSL ((imm8(u->word) << BYTES_MSL | ((UINT64_C(1) << BYTES_MSL) - 1)) * UINT64_C(0x100000001))

/* Each bit of imm8 is a byte. */
static inline uint64_t bytes_of_bits(uint64_t bits)
{
	bits = (bits | bits << 28) & UINT64_C(0x0000000f0000000f);
	bits = (bits | bits << 14) & UINT64_C(0x0003000300030003);
	bits = (bits | bits << 7) & UINT64_C(0x0101010101010101);
	return bits * 255;
}

/* VFPExpandImm: sign, exponent of three bits around the bias, four bits of fraction. */
static inline uint64_t expand_float(uint64_t imm, unsigned exponent_bits, unsigned fraction_bits)
{
	uint64_t sign = imm >> 7, low = imm >> 6 & 1;
	uint64_t exponent = (low ^ 1) << (exponent_bits - 1) |
			    (low ? ((UINT64_C(1) << (exponent_bits - 3)) - 1) << 2 : 0) | (imm >> 4 & 3);

	return sign << (exponent_bits + fraction_bits) | exponent << fraction_bits | (imm & 15) << (fraction_bits - 4);
}
#define FLOAT_16 (expand_float(imm8(u->word), 5, 10) * UINT64_C(0x1000100010001))
#define FLOAT_32 (expand_float(imm8(u->word), 8, 23) * UINT64_C(0x100000001))
#define FLOAT_64 expand_float(imm8(u->word), 11, 52)

/* Both halves are `expr`, of the destination's d where that counts. */
#define SET_IMMEDIATE(row, expr)                                        \
	VARIANT(row##_0)                                                \
	{                                                               \
		LP_UNUSED const uint64_t d = cpu->vr[u->rd].d[0];       \
		lp_set_d(cpu, u->rd, expr);                             \
		TAIL(u + 1);                                            \
	}                                                               \
	VARIANT(row##_1)                                                \
	{                                                               \
		lp_set_q(cpu, u->rd, _mm_set1_epi64x((int64_t)(expr))); \
		TAIL(u + 1);                                            \
	}                                                               \
	CHOOSER(row, lp_by_q(word) ? row##_1 : row##_0);
#define CHANGE_BY_IMMEDIATE(row, imm, change)                                                \
	VARIANT(row##_0)                                                                     \
	{                                                                                    \
		const __m128i d = lp_get_q(cpu, u->rd), i = _mm_set1_epi64x((int64_t)(imm)); \
		lp_set_q(cpu, u->rd, _mm_move_epi64(change));                                \
		TAIL(u + 1);                                                                 \
	}                                                                                    \
	VARIANT(row##_1)                                                                     \
	{                                                                                    \
		const __m128i d = lp_get_q(cpu, u->rd), i = _mm_set1_epi64x((int64_t)(imm)); \
		lp_set_q(cpu, u->rd, change);                                                \
		TAIL(u + 1);                                                                 \
	}                                                                                    \
	CHOOSER(row, lp_by_q(word) ? row##_1 : row##_0);

SET_IMMEDIATE(movi_8, imm8(u->word) * UINT64_C(0x0101010101010101));
SET_IMMEDIATE(movi_16, IMM_16);
SET_IMMEDIATE(movi_32, IMM_32);
SET_IMMEDIATE(movi_msl, IMM_MSL);
SET_IMMEDIATE(mvni_16, ~IMM_16);
SET_IMMEDIATE(mvni_32, ~IMM_32);
SET_IMMEDIATE(mvni_msl, ~IMM_MSL);
SET_IMMEDIATE(movi_d, bytes_of_bits(imm8(u->word)));
SET_IMMEDIATE(movi_2d, bytes_of_bits(imm8(u->word)));
SET_IMMEDIATE(fmov_v_h, FLOAT_16);
SET_IMMEDIATE(fmov_v, FLOAT_32);
SET_IMMEDIATE(fmov_v_2d, FLOAT_64);
CHANGE_BY_IMMEDIATE(orr_imm_16, IMM_16, _mm_or_si128(d, i));
CHANGE_BY_IMMEDIATE(orr_imm_32, IMM_32, _mm_or_si128(d, i));
CHANGE_BY_IMMEDIATE(bic_imm_16, IMM_16, _mm_andnot_si128(i, d));
CHANGE_BY_IMMEDIATE(bic_imm_32, IMM_32, _mm_andnot_si128(i, d));
