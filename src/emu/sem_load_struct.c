/* Loads and stores of structures: LD1 to LD4, ST1 to ST4 (DDI 0487, C3.2.13). */
#include "emu/simd.h"
#include "emu/simd_memory.h"

/* Registers follow each other; 31 is followed by 0. */
#define REGISTER(k) ((u->rd + (k)) % 32u)

/* Behind the access: by a register, or by what was accessed when that is 31. */
static inline void advance(struct lp_cpu *cpu, const struct lp_uop *u, unsigned bytes)
{
	SET_XSP(cpu, u->rn, XSP(cpu, u->rn) + (u->rm == 31 ? bytes : X(cpu, u->rm)));
}

/* One VARIANT without and one with post-index for an access of `bytes`. */
#define WITH_POST(name, bytes)                                            \
	VARIANT(name)                                                     \
	{                                                                 \
		access_##name(cpu, u, lp_guest(cpu, u, XSP(cpu, u->rn))); \
		lp_guest_done();                                          \
		TAIL(u + 1);                                              \
	}                                                                 \
	VARIANT(post_##name)                                              \
	{                                                                 \
		access_##name(cpu, u, lp_guest(cpu, u, XSP(cpu, u->rn))); \
		lp_guest_done();                                          \
		advance(cpu, u, bytes);                                   \
		TAIL(u + 1);                                              \
	}
#define ACCESS(name) static inline void access_##name(struct lp_cpu *cpu, const struct lp_uop *u, uint8_t *p)

/* ---- whole registers, one after the other: what size their lanes have does not matter ---- */

#define WHOLE_FNS(count, q, Z)                                                           \
	ACCESS(ld1_##count##_##q)                                                        \
	{                                                                                \
		__m128i value[count];                                                    \
		for (unsigned k = 0; k < (count); k++)                                   \
			value[k] = lp_peek_##Z(p + k * ((q) ? 16 : 8));                  \
		lp_guest_done();                                                         \
		for (unsigned k = 0; k < (count); k++)                                   \
			lp_set_q(cpu, REGISTER(k), value[k]);                            \
	}                                                                                \
	ACCESS(st1_##count##_##q)                                                        \
	{                                                                                \
		for (unsigned k = 0; k < (count); k++)                                   \
			lp_poke_##Z(p + k * ((q) ? 16 : 8), lp_get_q(cpu, REGISTER(k))); \
	}                                                                                \
	WITH_POST(ld1_##count##_##q, (count) * ((q) ? 16 : 8));                          \
	WITH_POST(st1_##count##_##q, (count) * ((q) ? 16 : 8));
#define WHOLE(name, count)                                                                      \
	WHOLE_FNS(count, 0, d);                                                                 \
	WHOLE_FNS(count, 1, q);                                                                 \
	CHOOSER(ld1##name, lp_by_q(word) ? ld1_##count##_1 : ld1_##count##_0);                  \
	CHOOSER(st1##name, lp_by_q(word) ? st1_##count##_1 : st1_##count##_0);                  \
	CHOOSER(ld1##name##_post, lp_by_q(word) ? post_ld1_##count##_1 : post_ld1_##count##_0); \
	CHOOSER(st1##name##_post, lp_by_q(word) ? post_st1_##count##_1 : post_st1_##count##_0);
WHOLE(, 1);
WHOLE(x2, 2);
WHOLE(x3, 3);
WHOLE(x4, 4);

/* ---- structures of `count` elements, interleaved in memory ---- */

static inline unsigned by_vsize_q(uint32_t word)
{
	return (word >> 10 & 3) << 1 | lp_by_q(word);
}

/* Two and four are zipped and unzipped by whole registers; a short register's are the lower halves of such. */
#define PAIRS_FN(Z, q)                                                                          \
	ACCESS(ld2_##Z##q)                                                                      \
	{                                                                                       \
		const __m128i x = lp_peek_q(p), y = (q) ? lp_peek_q(p + 16) : x;                \
		lp_guest_done();                                                                \
		set_part(cpu, REGISTER(0), even_##Z(x, y), q);                                  \
		set_part(cpu, REGISTER(1), odd_##Z(x, y), q);                                   \
	}                                                                                       \
	ACCESS(st2_##Z##q)                                                                      \
	{                                                                                       \
		const __m128i x = lp_get_q(cpu, REGISTER(0)), y = lp_get_q(cpu, REGISTER(1));   \
		lp_poke_q(p, low_##Z(x, y));                                                    \
		if (q)                                                                          \
			lp_poke_q(p + 16, high_##Z(x, y));                                      \
	}                                                                                       \
	ACCESS(ld4_##Z##q)                                                                      \
	{                                                                                       \
		const __m128i w = lp_peek_q(p), x = lp_peek_q(p + 16);                          \
		const __m128i y = (q) ? lp_peek_q(p + 32) : w, z = (q) ? lp_peek_q(p + 48) : x; \
		lp_guest_done();                                                                \
		const __m128i even_low = even_##Z(w, x), even_high = even_##Z(y, z);            \
		const __m128i odd_low = odd_##Z(w, x), odd_high = odd_##Z(y, z);                \
		set_part(cpu, REGISTER(0), even_##Z(even_low, even_high), q);                   \
		set_part(cpu, REGISTER(1), even_##Z(odd_low, odd_high), q);                     \
		set_part(cpu, REGISTER(2), odd_##Z(even_low, even_high), q);                    \
		set_part(cpu, REGISTER(3), odd_##Z(odd_low, odd_high), q);                      \
	}                                                                                       \
	ACCESS(st4_##Z##q)                                                                      \
	{                                                                                       \
		const __m128i w = lp_get_q(cpu, REGISTER(0)), x = lp_get_q(cpu, REGISTER(1));   \
		const __m128i y = lp_get_q(cpu, REGISTER(2)), z = lp_get_q(cpu, REGISTER(3));   \
		const __m128i even_low = low_##Z(w, y), odd_low = low_##Z(x, z);                \
		lp_poke_q(p, low_##Z(even_low, odd_low));                                       \
		lp_poke_q(p + 16, high_##Z(even_low, odd_low));                                 \
		if (q) {                                                                        \
			const __m128i even_high = high_##Z(w, y), odd_high = high_##Z(x, z);    \
			lp_poke_q(p + 32, low_##Z(even_high, odd_high));                        \
			lp_poke_q(p + 48, high_##Z(even_high, odd_high));                       \
		}                                                                               \
	}                                                                                       \
	WITH_POST(ld2_##Z##q, 2 * ((q) ? 16 : 8));                                              \
	WITH_POST(st2_##Z##q, 2 * ((q) ? 16 : 8));                                              \
	WITH_POST(ld4_##Z##q, 4 * ((q) ? 16 : 8));                                              \
	WITH_POST(st4_##Z##q, 4 * ((q) ? 16 : 8));
static inline void set_part(struct lp_cpu *cpu, unsigned r, __m128i value, bool q)
{
	lp_set_q(cpu, r, q ? value : _mm_move_epi64(value));
}

#define THREES_FN(Z, q, half)                                                         \
	ACCESS(ld3_##Z##q)                                                            \
	{                                                                             \
		enum { LANES = ((q) ? 16 : 8) / sizeof(U_##Z), SIZE = (q) ? 16 : 8 }; \
		U_##Z memory[3 * LANES];                                              \
		union lp_vreg value[3] = {0};                                         \
		for (unsigned k = 0; k < 3; k++) {                                    \
			const __m128i part = lp_peek_##half(p + k * SIZE);            \
			memcpy(memory + k * LANES, &part, SIZE);                      \
		}                                                                     \
		lp_guest_done();                                                      \
		for (unsigned i = 0; i < LANES; i++)                                  \
			for (unsigned k = 0; k < 3; k++)                              \
				value[k].FIELD_U_##Z[i] = memory[i * 3 + k];          \
		for (unsigned k = 0; k < 3; k++)                                      \
			lp_set_v(cpu, REGISTER(k), value[k], 1);                      \
	}                                                                             \
	ACCESS(st3_##Z##q)                                                            \
	{                                                                             \
		enum { LANES = ((q) ? 16 : 8) / sizeof(U_##Z), SIZE = (q) ? 16 : 8 }; \
		U_##Z memory[3 * LANES];                                              \
		union lp_vreg value[3];                                               \
		for (unsigned k = 0; k < 3; k++)                                      \
			value[k] = lp_get_v(cpu, REGISTER(k), 1);                     \
		for (unsigned i = 0; i < LANES; i++)                                  \
			for (unsigned k = 0; k < 3; k++)                              \
				memory[i * 3 + k] = value[k].FIELD_U_##Z[i];          \
		for (unsigned k = 0; k < 3; k++) {                                    \
			__m128i part = _mm_setzero_si128();                           \
			memcpy(&part, memory + k * LANES, SIZE);                      \
			lp_poke_##half(p + k * SIZE, part);                           \
		}                                                                     \
	}                                                                             \
	WITH_POST(ld3_##Z##q, 3 * ((q) ? 16 : 8));                                    \
	WITH_POST(st3_##Z##q, 3 * ((q) ? 16 : 8));
#define INTERLEAVED_FNS(Z, ...) PAIRS_FN(Z, 0) PAIRS_FN(Z, 1) THREES_FN(Z, 0, d) THREES_FN(Z, 1, q)
EACH_bhs(INTERLEAVED_FNS, );
PAIRS_FN(d, 1);
THREES_FN(d, 1, q);
#define INTERLEAVED_ROW(row, prefix)                                                                      \
	static lp_uop_fn *const row##_variants[8] = {prefix##_b0, prefix##_b1, prefix##_h0, prefix##_h1,  \
						     prefix##_s0, prefix##_s1, NULL,	    prefix##_d1}; \
	CHOOSER(row, row##_variants[by_vsize_q(word)]);
#define INTERLEAVED(count)                                 \
	INTERLEAVED_ROW(ld##count, ld##count);             \
	INTERLEAVED_ROW(st##count, st##count);             \
	INTERLEAVED_ROW(ld##count##_post, post_ld##count); \
	INTERLEAVED_ROW(st##count##_post, post_st##count);
INTERLEAVED(2);
INTERLEAVED(3);
INTERLEAVED(4);

/* ---- one structure, to one lane of each register or to all of them ---- */

/* Q, S and size, as far as the size of a lane leaves them. */
static inline unsigned lane_of(uint32_t word, unsigned log_size)
{
	return ((word >> 30 & 1) << 3 | (word >> 10 & 7)) >> log_size;
}

#define ONE_FN(Z, count)                                                                            \
	ACCESS(ld##count##_##Z)                                                                     \
	{                                                                                           \
		const unsigned lane = lane_of(u->word, LOG_##Z);                                    \
		U_##Z value[count];                                                                 \
		for (unsigned k = 0; k < (count); k++)                                              \
			value[k] = LANE_AT(Z, p + k * sizeof value[0]);                             \
		lp_guest_done();                                                                    \
		for (unsigned k = 0; k < (count); k++)                                              \
			lp_set_lane_##Z(cpu, REGISTER(k), lane, value[k]);                          \
	}                                                                                           \
	ACCESS(st##count##_##Z)                                                                     \
	{                                                                                           \
		const unsigned lane = lane_of(u->word, LOG_##Z);                                    \
		for (unsigned k = 0; k < (count); k++)                                              \
			LANE_AT(Z, p + k * sizeof(U_##Z)) = cpu->vr[REGISTER(k)].FIELD_U_##Z[lane]; \
	}                                                                                           \
	WITH_POST(ld##count##_##Z, (count) * sizeof(U_##Z));                                        \
	WITH_POST(st##count##_##Z, (count) * sizeof(U_##Z));                                        \
	CHOOSER(ld##count##_##Z, ld##count##_##Z);                                                  \
	CHOOSER(st##count##_##Z, st##count##_##Z);                                                  \
	CHOOSER(ld##count##_##Z##_post, post_ld##count##_##Z);                                      \
	CHOOSER(st##count##_##Z##_post, post_st##count##_##Z);

#define REPLICATED_FN(Z, q, count)                                          \
	ACCESS(ld##count##r_##Z##q)                                         \
	{                                                                   \
		U_##Z value[count];                                         \
		for (unsigned k = 0; k < (count); k++)                      \
			value[k] = LANE_AT(Z, p + k * sizeof value[0]);     \
		lp_guest_done();                                            \
		for (unsigned k = 0; k < (count); k++) {                    \
			union lp_vreg all;                                  \
			for (unsigned i = 0; i < 16 / sizeof value[0]; i++) \
				all.FIELD_U_##Z[i] = value[k];              \
			lp_set_v(cpu, REGISTER(k), all, q);                 \
		}                                                           \
	}                                                                   \
	WITH_POST(ld##count##r_##Z##q, (count) * sizeof(U_##Z));
#define REPLICATED_FNS(Z, count) REPLICATED_FN(Z, 0, count) REPLICATED_FN(Z, 1, count)
#define REPLICATED_ENTRY(Z, prefix) prefix##_##Z##0, prefix##_##Z##1,
#define REPLICATED_ROW(row, prefix)                                                        \
	static lp_uop_fn *const row##_variants[8] = {EACH_bhsd(REPLICATED_ENTRY, prefix)}; \
	CHOOSER(row, row##_variants[by_vsize_q(word)]);

#define UNALIGNED_b lp_unaligned_u8
#define UNALIGNED_h lp_unaligned_u16
#define UNALIGNED_s lp_unaligned_u32
#define UNALIGNED_d lp_unaligned_u64
#define LANE_AT(Z, p) (*(volatile UNALIGNED_##Z *)(p))

#define SINGLE(count)                               \
	EACH_bhsd(ONE_FN, count);                   \
	EACH_bhsd(REPLICATED_FNS, count);           \
	REPLICATED_ROW(ld##count##r, ld##count##r); \
	REPLICATED_ROW(ld##count##r_post, post_ld##count##r);
SINGLE(1);
SINGLE(2);
SINGLE(3);
SINGLE(4);
