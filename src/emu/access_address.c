/* From a load or store to its address, by the encoding classes of DDI 0487 C4.1.88 (loads and stores). */
#include "emu/access_address.h"

#include "emu/pauth.h"
#include "emu/uop.h"

static uint32_t bits(uint32_t word, unsigned lsb, unsigned width)
{
	return word >> lsb & ((1u << width) - 1);
}

static int64_t signed_bits(uint32_t word, unsigned lsb, unsigned width)
{
	return (int64_t)((uint64_t)word << (64 - lsb - width)) >> (64 - width);
}

static bool is_vector(uint32_t word)
{
	return bits(word, 26, 1);
}

/* log2 of the size of a single register's access. */
static unsigned single_scale(uint32_t word)
{
	return bits(word, 30, 2) | (is_vector(word) ? bits(word, 23, 1) << 2 : 0);
}

static unsigned pair_scale(uint32_t word)
{
	return is_vector(word) ? 2 + bits(word, 30, 2) : 2 + bits(word, 31, 1);
}

static bool single_stores(uint32_t word)
{
	return is_vector(word) ? !bits(word, 22, 1) : bits(word, 22, 2) == 0;
}

/* Rm, extended and shifted as its option says. */
static uint64_t register_offset(const struct lp_cpu *cpu, uint32_t word)
{
	uint64_t m = X(cpu, bits(word, 16, 5));
	unsigned shift = bits(word, 12, 1) ? single_scale(word) : 0;

	switch (bits(word, 13, 3)) {
	case 2:
		m = (uint32_t)m;
		break;
	case 6:
		m = (uint64_t)(int32_t)m;
		break;
	default:
		break;
	}
	return m << shift;
}

enum { LDAPR = 12 }; /* bits 15 to 12 */

/* Register (unscaled, before and after, unprivileged), atomic, register offset, with authentication. */
static uint64_t single_offset(const struct lp_cpu *cpu, uint32_t word, bool *write)
{
	unsigned form = bits(word, 10, 2);

	if (!bits(word, 21, 1))
		return form == 1 ? 0 : (uint64_t)signed_bits(word, 12, 9);
	switch (form) {
	case 0:
		*write = bits(word, 12, 4) != LDAPR; /* the others are atomic */
		return 0;
	case 2:
		return register_offset(cpu, word);
	default: /* what stands where opc is otherwise is of the offset, and the key */
		*write = false;
		return (uint64_t)((bits(word, 22, 1) ? -512 : 0) + (int64_t)bits(word, 12, 9)) * 8;
	}
}

static uint64_t offset(const struct lp_cpu *cpu, uint32_t word, bool *write)
{
	switch (bits(word, 27, 3)) {
	case 1: /* exclusive, ordered, compare and swap; structures */
		*write = !bits(word, 22, 1);
		return 0;
	case 3: /* LDAPUR and STLUR; literals have been seen to */
		*write = bits(word, 22, 2) == 0;
		return (uint64_t)signed_bits(word, 12, 9);
	case 5:
		*write = !bits(word, 22, 1);
		return bits(word, 23, 2) == 1 ? 0 : (uint64_t)signed_bits(word, 15, 7) << pair_scale(word);
	default:
		*write = single_stores(word);
		if (bits(word, 24, 1))
			return (uint64_t)bits(word, 10, 12) << single_scale(word);
		return single_offset(cpu, word, write);
	}
}

static uint64_t base(const struct lp_cpu *cpu, uint32_t word)
{
	uint64_t n = XSP(cpu, bits(word, 5, 5));

	return (word & 0xff200400) == 0xf8200400 ? lp_pauth_base(cpu, bits(word, 23, 1), n) : n; /* LDRAA, LDRAB */
}

bool lp_access_address(const struct lp_cpu *cpu, uint64_t pc, uint32_t word, uint64_t *addr, bool *write)
{
	*write = false;
	if ((word & 0xffffffe0) == 0xd50b7420) { /* dc zva */
		*write = true;
		*addr = lp_untagged(X(cpu, bits(word, 0, 5)));
		return true;
	}
	if (bits(word, 25, 1) || !bits(word, 27, 1)) /* not a load or store */
		return false;
	if (bits(word, 27, 3) == 3 && !bits(word, 24, 1)) {
		*addr = pc + (uint64_t)(signed_bits(word, 5, 19) * 4);
		return true;
	}
	*addr = lp_untagged(base(cpu, word) + offset(cpu, word, write));
	return true;
}
