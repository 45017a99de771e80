/* Advanced SIMD: lanes and general registers copied, bytes looked up, immediates. */
#include <immintrin.h>

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
		lp_set_lane_##Z(cpu, u->rd, lane_index(u->word, LOG_##Z), (U_##Z)X(cpu, u->rn));             \
		TAIL(u + 1);                                                                                 \
	}                                                                                                    \
	VARIANT(ins_elem_##Z)                                                                                \
	{                                                                                                    \
		const unsigned from = (u->word >> 11 & 15) >> LOG_##Z;                                       \
		lp_set_lane_##Z(cpu, u->rd, lane_index(u->word, LOG_##Z), cpu->vr[u->rn].FIELD_U_##Z[from]); \
		TAIL(u + 1);                                                                                 \
	}
EACH_bhsd(LANE_FNS, );
CHOOSE_BY_SIZE(dup_s, bhsd, lp_by_imm5);
CHOOSE_BY_SIZE(umov, bhsd, lp_by_imm5);
CHOOSE_BY_SIZE_Q(smov, bhsd, lp_by_imm5_q);
CHOOSE_BY_SIZE(ins_gpr, bhsd, lp_by_imm5);
CHOOSE_BY_SIZE(ins_elem, bhsd, lp_by_imm5);

/* ---- bytes ---- */

/* 16 bytes of rm:rn from byte `by` on; the host wants that in its code. */
#define EXT_FN(by)                                                                       \
	VARIANT(ext_##by)                                                                \
	{                                                                                \
		lp_set_q(cpu, u->rd,                                                     \
			 _mm_or_si128(_mm_srli_si128(lp_get_q(cpu, u->rn), by),          \
				      _mm_slli_si128(lp_get_q(cpu, u->rm), 16 - (by)))); \
		TAIL(u + 1);                                                             \
	}
EXT_FN(0);
EXT_FN(1);
EXT_FN(2);
EXT_FN(3);
EXT_FN(4);
EXT_FN(5);
EXT_FN(6);
EXT_FN(7);
EXT_FN(8);
EXT_FN(9);
EXT_FN(10);
EXT_FN(11);
EXT_FN(12);
EXT_FN(13);
EXT_FN(14);
EXT_FN(15);
VARIANT(ext_short)
{
	const unsigned by = (u->word >> 11 & 7) * 8;
	const uint64_t n = cpu->vr[u->rn].d[0], m = cpu->vr[u->rm].d[0];

	lp_set_d(cpu, u->rd, by ? n >> by | m << (64 - by) : n);
	TAIL(u + 1);
}
static lp_uop_fn *const ext_by[16] = {ext_0, ext_1, ext_2,  ext_3,  ext_4,  ext_5,  ext_6,  ext_7,
				      ext_8, ext_9, ext_10, ext_11, ext_12, ext_13, ext_14, ext_15};
CHOOSER(ext, lp_by_q(word) ? ext_by[word >> 11 & 15] : ext_short);

/* Registers rn, rn + 1, ... (31 is followed by 0) as one table of `count` times 16 bytes; beyond it is 0 (tbl), or what
 * was there (tbx). */
#ifdef LP_EMU_V3
static inline __m128i look_up(const struct lp_cpu *cpu, const struct lp_uop *u, unsigned count, bool keeps)
{
	const __m128i index = lp_get_q(cpu, u->rm), limit = _mm_set1_epi8((char)(16 * count));
	__m128i found = _mm_setzero_si128();

	/* An index with its highest bit set finds 0: those of other registers get it by being out of 0 to 15. */
	for (unsigned k = 0; k < count; k++) {
		const __m128i here = _mm_sub_epi8(index, _mm_set1_epi8((char)(16 * k)));
		const __m128i table = lp_get_q(cpu, (u->rn + k) % 32);
		found = _mm_or_si128(found, _mm_shuffle_epi8(table, _mm_adds_epu8(here, _mm_set1_epi8(0x70))));
	}
	if (!keeps)
		return found;
	return _mm_blendv_epi8(found, lp_get_q(cpu, u->rd), _mm_cmpeq_epi8(_mm_max_epu8(index, limit), index));
}
#else
static inline __m128i look_up(const struct lp_cpu *cpu, const struct lp_uop *u, unsigned count, bool keeps)
{
	const union lp_vreg index = lp_get_v(cpu, u->rm, 1);
	union lp_vreg r = keeps ? lp_get_v(cpu, u->rd, 1) : (union lp_vreg){0};

	for (unsigned i = 0; i < 16; i++)
		if (index.b[i] < 16 * count)
			r.b[i] = cpu->vr[(u->rn + index.b[i] / 16) % 32].b[index.b[i] % 16];
	return lp_vreg_bits(r);
}
#endif
#define TABLE_FN(row, keeps, count, q)                                     \
	VARIANT(row##_##count##q)                                          \
	{                                                                  \
		const __m128i found = look_up(cpu, u, count, keeps);       \
		lp_set_q(cpu, u->rd, (q) ? found : _mm_move_epi64(found)); \
		TAIL(u + 1);                                               \
	}
#define TABLE(row, keeps)                                                                     \
	TABLE_FN(row, keeps, 1, 0)                                                            \
	TABLE_FN(row, keeps, 1, 1)                                                            \
	TABLE_FN(row, keeps, 2, 0)                                                            \
	TABLE_FN(row, keeps, 2, 1)                                                            \
	TABLE_FN(row, keeps, 3, 0)                                                            \
	TABLE_FN(row, keeps, 3, 1)                                                            \
	TABLE_FN(row, keeps, 4, 0)                                                            \
	TABLE_FN(row, keeps, 4, 1)                                                            \
	static lp_uop_fn *const row##_variants[8] = {row##_10, row##_11, row##_20, row##_21,  \
						     row##_30, row##_31, row##_40, row##_41}; \
	CHOOSER(row, row##_variants[(word >> 13 & 3) << 1 | lp_by_q(word)])
TABLE(tbl, false);
TABLE(tbx, true);

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

/* What the chooser has put into u->imm is all that is left to do; a row's own function works it out. */
static inline void set_both(struct lp_cpu *cpu, unsigned rd, uint64_t imm, bool q)
{
	const __m128i value = _mm_set1_epi64x((int64_t)imm);

	lp_set_q(cpu, rd, q ? value : _mm_move_epi64(value));
}
static inline void set_bits(struct lp_cpu *cpu, unsigned rd, uint64_t imm, bool q)
{
	const __m128i value = _mm_or_si128(lp_get_q(cpu, rd), _mm_set1_epi64x((int64_t)imm));

	lp_set_q(cpu, rd, q ? value : _mm_move_epi64(value));
}
static inline void clear_bits(struct lp_cpu *cpu, unsigned rd, uint64_t imm, bool q)
{
	const __m128i value = _mm_andnot_si128(_mm_set1_epi64x((int64_t)imm), lp_get_q(cpu, rd));

	lp_set_q(cpu, rd, q ? value : _mm_move_epi64(value));
}
#define PREPARED(action)                       \
	VARIANT(action##_0)                    \
	{                                      \
		action(cpu, u->rd, u->imm, 0); \
		TAIL(u + 1);                   \
	}                                      \
	VARIANT(action##_1)                    \
	{                                      \
		action(cpu, u->rd, u->imm, 1); \
		TAIL(u + 1);                   \
	}
PREPARED(set_both);
PREPARED(set_bits);
PREPARED(clear_bits);

#define IMMEDIATE(row, action, value)                              \
	lp_uop_fn *LP_CHOOSE(row)(struct lp_uop * u)               \
	{                                                          \
		u->imm = (value);                                  \
		return lp_by_q(u->word) ? action##_1 : action##_0; \
	}                                                          \
	LP_UNUSED VARIANT(row##_plain)                             \
	{                                                          \
		action(cpu, u->rd, value, lp_by_q(u->word));       \
		TAIL(u + 1);                                       \
	}                                                          \
	PLAIN(row, row##_plain)

IMMEDIATE(movi_8, set_both, imm8(u->word) * UINT64_C(0x0101010101010101));
IMMEDIATE(movi_16, set_both, IMM_16);
IMMEDIATE(movi_32, set_both, IMM_32);
IMMEDIATE(movi_msl, set_both, IMM_MSL);
IMMEDIATE(mvni_16, set_both, ~IMM_16);
IMMEDIATE(mvni_32, set_both, ~IMM_32);
IMMEDIATE(mvni_msl, set_both, ~IMM_MSL);
IMMEDIATE(movi_d, set_both, bytes_of_bits(imm8(u->word)));
IMMEDIATE(movi_2d, set_both, bytes_of_bits(imm8(u->word)));
IMMEDIATE(fmov_v_h, set_both, FLOAT_16);
IMMEDIATE(fmov_v, set_both, FLOAT_32);
IMMEDIATE(fmov_v_2d, set_both, FLOAT_64);
IMMEDIATE(orr_imm_16, set_bits, IMM_16);
IMMEDIATE(orr_imm_32, set_bits, IMM_32);
IMMEDIATE(bic_imm_16, clear_bits, IMM_16);
IMMEDIATE(bic_imm_32, clear_bits, IMM_32);
