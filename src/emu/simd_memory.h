/* Vector registers to and from guest memory, with the rules of uop.h: load everything, then write registers. */
#ifndef LP_EMU_SIMD_MEMORY_H
#define LP_EMU_SIMD_MEMORY_H

#include "emu/simd.h"

typedef long long lp_unaligned_vector __attribute__((vector_size(16), aligned(1), may_alias));

/* A load fills a register: zeros above. */
static inline __m128i lp_load_b(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr)
{
	return _mm_cvtsi32_si128(LOAD_u8(cpu, u, addr));
}
static inline __m128i lp_load_h(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr)
{
	return _mm_cvtsi32_si128(LOAD_u16(cpu, u, addr));
}
static inline __m128i lp_load_s(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr)
{
	return _mm_cvtsi32_si128((int)LOAD_u32(cpu, u, addr));
}
static inline __m128i lp_load_d(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr)
{
	return _mm_cvtsi64_si128((int64_t)LOAD_u64(cpu, u, addr));
}
static inline __m128i lp_load_q(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr)
{
	const __m128i value = (__m128i) * (const volatile lp_unaligned_vector *)lp_guest(cpu, u, addr);

	lp_guest_done();
	return value;
}

static inline void lp_store_b(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr, __m128i value)
{
	STORE_u8(cpu, u, addr, (uint8_t)_mm_cvtsi128_si32(value));
}
static inline void lp_store_h(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr, __m128i value)
{
	STORE_u16(cpu, u, addr, (uint16_t)_mm_cvtsi128_si32(value));
}
static inline void lp_store_s(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr, __m128i value)
{
	STORE_u32(cpu, u, addr, (uint32_t)_mm_cvtsi128_si32(value));
}
static inline void lp_store_d(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr, __m128i value)
{
	STORE_u64(cpu, u, addr, (uint64_t)_mm_cvtsi128_si64(value));
}
static inline void lp_store_q(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr, __m128i value)
{
	*(volatile lp_unaligned_vector *)lp_guest(cpu, u, addr) = (lp_unaligned_vector)value;
	lp_guest_done();
}

#endif
