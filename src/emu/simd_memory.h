/*
 * Vector registers to and from guest memory, with the rules of uop.h: load
 * everything, then write registers.
 *
 *     const uint8_t *p = lp_guest(cpu, u, addr);      // once for all that the instruction touches
 *     first = lp_peek_q(p), second = lp_peek_q(p + 16);
 *     lp_guest_done();
 */
#ifndef LP_EMU_SIMD_MEMORY_H
#define LP_EMU_SIMD_MEMORY_H

#include "emu/simd.h"

typedef long long lp_unaligned_vector __attribute__((vector_size(16), aligned(1), may_alias));

/* A load fills a register: zeros above. */
static inline __m128i lp_peek_b(const uint8_t *p)
{
	return _mm_cvtsi32_si128(*(const volatile lp_unaligned_u8 *)p);
}
static inline __m128i lp_peek_h(const uint8_t *p)
{
	return _mm_cvtsi32_si128(*(const volatile lp_unaligned_u16 *)p);
}
static inline __m128i lp_peek_s(const uint8_t *p)
{
	return _mm_cvtsi32_si128((int)*(const volatile lp_unaligned_u32 *)p);
}
static inline __m128i lp_peek_d(const uint8_t *p)
{
	return _mm_cvtsi64_si128((int64_t) * (const volatile lp_unaligned_u64 *)p);
}
static inline __m128i lp_peek_q(const uint8_t *p)
{
	return (__m128i) * (const volatile lp_unaligned_vector *)p;
}

static inline void lp_poke_b(uint8_t *p, __m128i value)
{
	*(volatile lp_unaligned_u8 *)p = (uint8_t)_mm_cvtsi128_si32(value);
}
static inline void lp_poke_h(uint8_t *p, __m128i value)
{
	*(volatile lp_unaligned_u16 *)p = (uint16_t)_mm_cvtsi128_si32(value);
}
static inline void lp_poke_s(uint8_t *p, __m128i value)
{
	*(volatile lp_unaligned_u32 *)p = (uint32_t)_mm_cvtsi128_si32(value);
}
static inline void lp_poke_d(uint8_t *p, __m128i value)
{
	*(volatile lp_unaligned_u64 *)p = (uint64_t)_mm_cvtsi128_si64(value);
}
static inline void lp_poke_q(uint8_t *p, __m128i value)
{
	*(volatile lp_unaligned_vector *)p = (lp_unaligned_vector)value;
}

#endif
