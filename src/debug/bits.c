/*
 * Bit-fields: so many bits from a bit on, lowest first.
 */
#include "debug/private.h"

uint64_t lp_bits_get(const uint8_t *bytes, unsigned from, unsigned nr)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < nr; i++)
		v |= (uint64_t)(bytes[(from + i) / 8] >> (from + i) % 8 & 1) << i;
	return v;
}

void lp_bits_put(uint8_t *bytes, unsigned from, unsigned nr, uint64_t v)
{
	for (unsigned i = 0; i < nr; i++) {
		uint8_t bit = (uint8_t)(1u << (from + i) % 8);
		uint8_t *at = &bytes[(from + i) / 8];

		*at = v >> i & 1 ? *at | bit : *at & (uint8_t)~bit;
	}
}
