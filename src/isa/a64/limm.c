#include "isa/a64/limm.h"

static uint64_t ones(unsigned count)
{
	return count >= 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;
}

/* Within the low `size` bits. */
static uint64_t rotate_right(uint64_t value, unsigned by, unsigned size)
{
	return by ? (value >> by | value << (size - by)) & ones(size) : value;
}

static uint64_t repeat(uint64_t element, unsigned size, unsigned bits)
{
	uint64_t value = 0;

	for (unsigned at = 0; at < bits; at += size)
		value |= element << at;
	return value;
}

bool lp_a64_limm_decode(uint32_t word, uint64_t *out)
{
	unsigned bits = word >> 31 ? 64 : 32, n = word >> 22 & 1, immr = word >> 16 & 63, imms = word >> 10 & 63;
	unsigned sizes = n << 6 | (~imms & 63);

	if (sizes < 2 || (n && bits == 32))
		return false;

	unsigned size = 1u << (31 - __builtin_clz(sizes));
	unsigned run = imms & (size - 1);
	if (run == size - 1)
		return false;
	if (out)
		*out = repeat(rotate_right(ones(run + 1), immr & (size - 1), size), size, bits);
	return true;
}

/* The shortest element that repeats to `value`. */
static unsigned element_size(uint64_t value, unsigned bits)
{
	unsigned size = bits;

	while (size > 2 && (value & ones(size / 2)) == (value >> size / 2 & ones(size / 2)))
		size /= 2;
	return size;
}

bool lp_a64_limm_encode(uint64_t value, unsigned bits, uint32_t *out)
{
	value &= ones(bits);
	if (value == 0 || value == ones(bits))
		return false;

	unsigned size = element_size(value, bits);
	uint64_t element = value & ones(size);
	unsigned run = (unsigned)__builtin_popcountll(element);

	for (unsigned by = 0; by < size; by++) {
		if (rotate_right(ones(run), by, size) != element)
			continue;
		unsigned imms = ((~(size - 1) << 1 | (run - 1)) & 63);
		*out = (size == 64 ? 1u << 12 : 0) | by << 6 | imms;
		return true;
	}
	return false;
}

/* At most one 16-bit part is not 0. */
static bool is_one_part(uint64_t value)
{
	unsigned parts = 0;

	for (unsigned at = 0; at < 64; at += 16)
		parts += (value >> at & 0xffff) != 0;
	return parts <= 1;
}

bool lp_a64_is_wide_move(uint64_t value, unsigned bits)
{
	return is_one_part(value & ones(bits)) || is_one_part(~value & ones(bits));
}
