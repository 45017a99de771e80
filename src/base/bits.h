/*
 * Bytes to numbers and numbers to bytes, little endian, any alignment; and
 * the two questions every encoder asks of an immediate.
 */
#ifndef LP_BASE_BITS_H
#define LP_BASE_BITS_H

#include <string.h>

#include "base/addr.h"

static inline uint16_t lp_get16(const void *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

static inline uint32_t lp_get32(const void *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

static inline uint64_t lp_get64(const void *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

static inline void lp_put16(void *p, uint16_t v)
{
	memcpy(p, &v, sizeof v);
}

static inline void lp_put32(void *p, uint32_t v)
{
	memcpy(p, &v, sizeof v);
}

static inline void lp_put64(void *p, uint64_t v)
{
	memcpy(p, &v, sizeof v);
}

/* Does v fit in `bits` bits, two's complement? */
static inline bool lp_fits_signed(int64_t v, unsigned bits)
{
	return bits >= 64 || (v >= -(INT64_C(1) << (bits - 1)) && v < (INT64_C(1) << (bits - 1)));
}

static inline bool lp_fits_unsigned(uint64_t v, unsigned bits)
{
	return bits >= 64 || v < (UINT64_C(1) << bits);
}

/* CRC-32C (Castagnoli, reflected, RFC 3720 appendix B.4); start with crc = 0. */
uint32_t lp_crc32c(uint32_t crc, const void *data, size_t len);

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "both supported hosts are little endian");

#endif
