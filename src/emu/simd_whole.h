/*
 * Whole registers by lanes of size Z (b, h, s, d), in host instructions: what the
 * compiler makes less well of a loop over lanes.
 *
 * Counts of shifts are those of the manual, 0 to all bits of a lane.
 */
#ifndef LP_EMU_SIMD_WHOLE_H
#define LP_EMU_SIMD_WHOLE_H

#include <emmintrin.h>
#include <stdbool.h>
#include <stdint.h>

#define COUNT(by) _mm_cvtsi32_si128((int)(by))

static inline __m128i add_b(__m128i x, __m128i y)
{
	return _mm_add_epi8(x, y);
}
static inline __m128i add_h(__m128i x, __m128i y)
{
	return _mm_add_epi16(x, y);
}
static inline __m128i add_s(__m128i x, __m128i y)
{
	return _mm_add_epi32(x, y);
}
static inline __m128i add_d(__m128i x, __m128i y)
{
	return _mm_add_epi64(x, y);
}

/* ---- shifts: the host's of all bits or more is 0, or all signs ---- */

static inline __m128i sll_h(__m128i x, unsigned by)
{
	return _mm_sll_epi16(x, COUNT(by));
}
static inline __m128i sll_s(__m128i x, unsigned by)
{
	return _mm_sll_epi32(x, COUNT(by));
}
static inline __m128i sll_d(__m128i x, unsigned by)
{
	return _mm_sll_epi64(x, COUNT(by));
}
static inline __m128i srl_h(__m128i x, unsigned by)
{
	return _mm_srl_epi16(x, COUNT(by));
}
static inline __m128i srl_s(__m128i x, unsigned by)
{
	return _mm_srl_epi32(x, COUNT(by));
}
static inline __m128i srl_d(__m128i x, unsigned by)
{
	return _mm_srl_epi64(x, COUNT(by));
}
static inline __m128i sra_h(__m128i x, unsigned by)
{
	return _mm_sra_epi16(x, COUNT(by));
}
static inline __m128i sra_s(__m128i x, unsigned by)
{
	return _mm_sra_epi32(x, COUNT(by));
}

/* Of bytes: what came from the neighbour goes. */
static inline __m128i sll_b(__m128i x, unsigned by)
{
	return _mm_and_si128(sll_h(x, by), _mm_set1_epi8((char)(0xff << by)));
}
static inline __m128i srl_b(__m128i x, unsigned by)
{
	return _mm_and_si128(srl_h(x, by), _mm_set1_epi8((char)(0xff >> by)));
}
/* The sign, where the shift has put it, is spread by a borrow. */
static inline __m128i sra_b(__m128i x, unsigned by)
{
	const unsigned count = by < 8 ? by : 7;
	const __m128i sign = _mm_set1_epi8((char)(0x80 >> count));

	return _mm_sub_epi8(_mm_xor_si128(srl_b(x, count), sign), sign);
}
static inline __m128i sra_d(__m128i x, unsigned by)
{
	const unsigned count = by < 64 ? by : 63;
	const __m128i sign = srl_d(_mm_set1_epi64x(INT64_MIN), count);

	return _mm_sub_epi64(_mm_xor_si128(srl_d(x, count), sign), sign);
}

/* ---- the lower half as lanes of twice the size; lanes of twice the size, truncated, as the lower half ---- */

static inline __m128i widen_U_b(__m128i x)
{
	return _mm_unpacklo_epi8(x, _mm_setzero_si128());
}
static inline __m128i widen_U_h(__m128i x)
{
	return _mm_unpacklo_epi16(x, _mm_setzero_si128());
}
static inline __m128i widen_U_s(__m128i x)
{
	return _mm_unpacklo_epi32(x, _mm_setzero_si128());
}
static inline __m128i widen_S_b(__m128i x)
{
	return _mm_srai_epi16(_mm_unpacklo_epi8(x, x), 8);
}
static inline __m128i widen_S_h(__m128i x)
{
	return _mm_srai_epi32(_mm_unpacklo_epi16(x, x), 16);
}
static inline __m128i widen_S_s(__m128i x)
{
	return _mm_unpacklo_epi32(x, _mm_srai_epi32(x, 31));
}

static inline __m128i narrow_b(__m128i x)
{
	return _mm_packus_epi16(_mm_and_si128(x, _mm_set1_epi16(0xff)), _mm_setzero_si128());
}
/* Signed saturation is none of what has been extended from 16 bits. */
static inline __m128i narrow_h(__m128i x)
{
	return _mm_packs_epi32(_mm_srai_epi32(_mm_slli_epi32(x, 16), 16), _mm_setzero_si128());
}
static inline __m128i narrow_s(__m128i x)
{
	return _mm_move_epi64(_mm_shuffle_epi32(x, 0x08));
}

/* The operations for lanes of twice the size. */
#define WIDER_b h
#define WIDER_h s
#define WIDER_s d
#define OF_SIZE_(operation, Z) operation##_##Z
#define OF_SIZE(operation, Z) OF_SIZE_(operation, Z)
#define OF_WIDER(operation, Z) OF_SIZE(operation, WIDER_##Z)

/* ---- lanes of two registers: every second, side by side; neighbours of both, alternating ---- */

#define LOW_BYTES _mm_set1_epi16(0xff)
#define PERMUTATION(name, expr)                          \
	static inline __m128i name(__m128i n, __m128i m) \
	{                                                \
		return expr;                             \
	}
/* Saturation changes nothing: what is packed fits. */
PERMUTATION(even_b, _mm_packus_epi16(_mm_and_si128(n, LOW_BYTES), _mm_and_si128(m, LOW_BYTES)))
PERMUTATION(odd_b, _mm_packus_epi16(_mm_srli_epi16(n, 8), _mm_srli_epi16(m, 8)))
PERMUTATION(even_h,
	    _mm_packs_epi32(_mm_srai_epi32(_mm_slli_epi32(n, 16), 16), _mm_srai_epi32(_mm_slli_epi32(m, 16), 16)))
PERMUTATION(odd_h, _mm_packs_epi32(_mm_srai_epi32(n, 16), _mm_srai_epi32(m, 16)))
PERMUTATION(even_s, _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(n), _mm_castsi128_ps(m), 0x88)))
PERMUTATION(odd_s, _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(n), _mm_castsi128_ps(m), 0xdd)))
PERMUTATION(even_d, _mm_unpacklo_epi64(n, m))
PERMUTATION(odd_d, _mm_unpackhi_epi64(n, m))
PERMUTATION(low_b, _mm_unpacklo_epi8(n, m))
PERMUTATION(low_h, _mm_unpacklo_epi16(n, m))
PERMUTATION(low_s, _mm_unpacklo_epi32(n, m))
PERMUTATION(low_d, _mm_unpacklo_epi64(n, m))
PERMUTATION(high_b, _mm_unpackhi_epi8(n, m))
PERMUTATION(high_h, _mm_unpackhi_epi16(n, m))
PERMUTATION(high_s, _mm_unpackhi_epi32(n, m))
PERMUTATION(high_d, _mm_unpackhi_epi64(n, m))
PERMUTATION(evens_b, _mm_or_si128(_mm_and_si128(n, LOW_BYTES), _mm_slli_epi16(m, 8)))
PERMUTATION(odds_b, _mm_or_si128(_mm_srli_epi16(n, 8), _mm_andnot_si128(LOW_BYTES, m)))
PERMUTATION(evens_h, _mm_or_si128(_mm_srli_epi32(_mm_slli_epi32(n, 16), 16), _mm_slli_epi32(m, 16)))
PERMUTATION(odds_h, _mm_or_si128(_mm_srli_epi32(n, 16), _mm_slli_epi32(_mm_srli_epi32(m, 16), 16)))
PERMUTATION(evens_s, _mm_unpacklo_epi32(_mm_shuffle_epi32(n, 0x08), _mm_shuffle_epi32(m, 0x08)))
PERMUTATION(odds_s, _mm_unpacklo_epi32(_mm_shuffle_epi32(n, 0x0d), _mm_shuffle_epi32(m, 0x0d)))
PERMUTATION(evens_d, _mm_unpacklo_epi64(n, m))
PERMUTATION(odds_d, _mm_unpackhi_epi64(n, m))

/* What instructions that work on halves take. */
static inline __m128i upper_if(__m128i x, bool upper)
{
	return upper ? _mm_unpackhi_epi64(x, x) : x;
}

/* ---- of lanes of twice the size the lower and the upper half, extended ---- */

#define HALF_OF_LANES(name, expr)             \
	static inline __m128i name(__m128i x) \
	{                                     \
		return expr;                  \
	}
HALF_OF_LANES(lower_U_b, _mm_and_si128(x, LOW_BYTES))
HALF_OF_LANES(lower_U_h, _mm_srli_epi32(_mm_slli_epi32(x, 16), 16))
HALF_OF_LANES(lower_U_s, _mm_srli_epi64(_mm_slli_epi64(x, 32), 32))
HALF_OF_LANES(lower_S_b, _mm_srai_epi16(_mm_slli_epi16(x, 8), 8))
HALF_OF_LANES(lower_S_h, _mm_srai_epi32(_mm_slli_epi32(x, 16), 16))
HALF_OF_LANES(lower_S_s, sra_d(_mm_slli_epi64(x, 32), 32))
HALF_OF_LANES(upper_U_b, _mm_srli_epi16(x, 8))
HALF_OF_LANES(upper_U_h, _mm_srli_epi32(x, 16))
HALF_OF_LANES(upper_U_s, _mm_srli_epi64(x, 32))
HALF_OF_LANES(upper_S_b, _mm_srai_epi16(x, 8))
HALF_OF_LANES(upper_S_h, _mm_srai_epi32(x, 16))
HALF_OF_LANES(upper_S_s, sra_d(x, 32))

#endif
