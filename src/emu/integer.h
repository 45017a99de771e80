/*
 * Integer arithmetic as A64 defines it: sums with flags, shifts, extensions.
 * Shared by the functions of rows (sem_*.c) and the specialised ones (hot_*.c).
 */
#ifndef LP_EMU_INTEGER_H
#define LP_EMU_INTEGER_H

#include "emu/uop.h"

/* A field of the instruction at u. */
#define FIELD(name) lp_a64_field_##name(u->word)

/* `width` bits from bit `lsb` on, as a signed number. */
static inline int64_t lp_signed_field(uint32_t word, unsigned lsb, unsigned width)
{
	return (int64_t)((uint64_t)word << (64 - lsb - width)) >> (64 - width);
}

/* count 0 to 64 */
static inline uint64_t lp_ones(unsigned count)
{
	return count >= 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;
}

/* What remains of a value in a register of 32 or 64 bits. */
static inline uint64_t lp_sized(bool is64, uint64_t value)
{
	return is64 ? value : (uint32_t)value;
}

/* a + b + carry with all four flags (DDI 0487: AddWithCarry).  A difference is a + ~b + 1. */
static inline uint64_t lp_add64(struct lp_cpu *cpu, uint64_t a, uint64_t b, bool carry)
{
	uint64_t sum = a + b + carry;

	cpu->n = (int64_t)sum;
	cpu->z = sum;
	cpu->c = carry ? sum <= a : sum < a;
	cpu->v = (~(a ^ b) & (a ^ sum)) >> 63;
	return sum;
}

static inline uint32_t lp_add32(struct lp_cpu *cpu, uint32_t a, uint32_t b, bool carry)
{
	uint32_t sum = a + b + carry;

	cpu->n = (int32_t)sum;
	cpu->z = sum;
	cpu->c = carry ? sum <= a : sum < a;
	cpu->v = (~(a ^ b) & (a ^ sum)) >> 31;
	return sum;
}

static inline uint64_t lp_add_flags(struct lp_cpu *cpu, bool is64, uint64_t a, uint64_t b, bool carry)
{
	return is64 ? lp_add64(cpu, a, b, carry) : lp_add32(cpu, (uint32_t)a, (uint32_t)b, carry);
}

/* The flags of a logical result: C and V are cleared. */
static inline void lp_logic_flags(struct lp_cpu *cpu, bool is64, uint64_t value)
{
	cpu->n = is64 ? (int64_t)value : (int32_t)value;
	cpu->z = lp_sized(is64, value);
	cpu->c = 0;
	cpu->v = 0;
}

enum lp_shift { LP_LSL, LP_LSR, LP_ASR, LP_ROR };

/* by < the register's width */
static inline uint64_t lp_shift(bool is64, enum lp_shift type, uint64_t value, unsigned by)
{
	unsigned bits = is64 ? 64 : 32;

	value = lp_sized(is64, value);
	switch (type) {
	case LP_LSL:
		value <<= by;
		break;
	case LP_LSR:
		value >>= by;
		break;
	case LP_ASR:
		value = is64 ? (uint64_t)((int64_t)value >> by) : (uint64_t)(int64_t)((int32_t)value >> by);
		break;
	case LP_ROR:
		value = value >> by | value << ((bits - by) & (bits - 1));
		break;
	}
	return lp_sized(is64, value);
}

/* uxtb uxth uxtw uxtx sxtb sxth sxtw sxtx */
static inline uint64_t lp_extend(unsigned option, uint64_t value)
{
	switch (option) {
	case 0:
		return (uint8_t)value;
	case 1:
		return (uint16_t)value;
	case 2:
		return (uint32_t)value;
	case 4:
		return (uint64_t)(int8_t)value;
	case 5:
		return (uint64_t)(int16_t)value;
	case 6:
		return (uint64_t)(int32_t)value;
	default:
		return value;
	}
}

#endif
