/*
 * Exclusive accesses.  The monitor remembers what was read; the store is a
 * compare-and-exchange with it.  That another thread may have stored something
 * else and then the same value again goes unnoticed, which programs that were
 * written for exclusives as a compare-and-swap cannot tell.
 */
#include "emu/access.h"
#include "emu/wide.h"

/* ---- one register ---- */

static uint64_t load(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr, unsigned size)
{
	switch (size) {
	case 1:
		return LOAD_u8(cpu, u, addr);
	case 2:
		return LOAD_u16(cpu, u, addr);
	case 4:
		return LOAD_u32(cpu, u, addr);
	default:
		return LOAD_u64(cpu, u, addr);
	}
}

static void monitor(struct lp_cpu *cpu, uint64_t addr, unsigned size, uint64_t low, uint64_t high)
{
	cpu->exclusive.addr = lp_untagged(addr);
	cpu->exclusive.size = size;
	cpu->exclusive.value[0] = low;
	cpu->exclusive.value[1] = high;
}

static const struct lp_uop *load_exclusive(struct lp_cpu *cpu, const struct lp_uop *u)
{
	uint64_t addr = XSP(cpu, u->rn), value;
	unsigned size = 1u << FIELD(size);

	if (!lp_may_access(cpu, u, addr, size))
		return NULL;
	value = load(cpu, u, addr, size);
	monitor(cpu, addr, size, value, 0);
	SET_X(cpu, u->rd, value);
	NEXT;
}

#define EXCHANGE_IF(type)                                                                                   \
	({                                                                                                  \
		type expected_ = (type)expected;                                                            \
		__atomic_compare_exchange_n((type *)lp_guest(cpu, u, addr), &expected_, (type)value, false, \
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                            \
	})

/* Stores value where `expected` stands. */
static bool exchange_if(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr, unsigned size, uint64_t expected,
			uint64_t value)
{
	switch (size) {
	case 1:
		return EXCHANGE_IF(uint8_t);
	case 2:
		return EXCHANGE_IF(uint16_t);
	case 4:
		return EXCHANGE_IF(uint32_t);
	default:
		return EXCHANGE_IF(uint64_t);
	}
}

static bool is_monitored(const struct lp_cpu *cpu, uint64_t addr, unsigned size)
{
	return cpu->exclusive.size == size && cpu->exclusive.addr == lp_untagged(addr);
}

static const struct lp_uop *store_exclusive(struct lp_cpu *cpu, const struct lp_uop *u)
{
	uint64_t addr = XSP(cpu, u->rn);
	unsigned size = 1u << FIELD(size);
	bool stored;

	if (!lp_may_access(cpu, u, addr, size))
		return NULL;
	stored = is_monitored(cpu, addr, size) &&
		 exchange_if(cpu, u, addr, size, cpu->exclusive.value[0], X(cpu, u->rd));
	lp_guest_done();
	cpu->exclusive.size = 0;
	SET_W(cpu, u->rm, !stored);
	NEXT;
}

/* Acquire and release come with the host. */
#define SAME(row, function)              \
	SEM(row)                         \
	{                                \
		return function(cpu, u); \
	}
SAME(ldxr, load_exclusive)
SAME(ldaxr, load_exclusive)
SAME(stxr, store_exclusive)
SAME(stlxr, store_exclusive)

/* ---- pairs ---- */

/* Of two words: one access.  Of two doublewords each is read on its own; the store finds out whether they belonged
 * together. */
static const struct lp_uop *load_exclusive_pair(struct lp_cpu *cpu, const struct lp_uop *u)
{
	uint64_t addr = XSP(cpu, u->rn), first, second;
	bool is64 = FIELD(x);

	if (!lp_may_access(cpu, u, addr, is64 ? 16 : 8))
		return NULL;
	first = LOAD_u64(cpu, u, addr);
	second = is64 ? LOAD_u64(cpu, u, addr + 8) : 0;
	monitor(cpu, addr, is64 ? 16 : 8, first, second);
	SET_X(cpu, u->rd, is64 ? first : (uint32_t)first);
	SET_X(cpu, u->ra, is64 ? second : first >> 32);
	NEXT;
}

static bool exchange_pair_if(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr)
{
	const uint64_t *expected = cpu->exclusive.value;
	uint64_t found[2] = {expected[0], expected[1]}, wanted[2] = {X(cpu, u->rd), X(cpu, u->ra)};

	if (!FIELD(x))
		return exchange_if(cpu, u, addr, 8, expected[0], (uint32_t)wanted[0] | wanted[1] << 32);
	return lp_exchange16(lp_guest(cpu, u, addr), found, wanted);
}

static const struct lp_uop *store_exclusive_pair(struct lp_cpu *cpu, const struct lp_uop *u)
{
	uint64_t addr = XSP(cpu, u->rn);
	unsigned size = FIELD(x) ? 16 : 8;
	bool stored;

	if (!lp_may_access(cpu, u, addr, size))
		return NULL;
	stored = is_monitored(cpu, addr, size) && exchange_pair_if(cpu, u, addr);
	lp_guest_done();
	cpu->exclusive.size = 0;
	SET_W(cpu, u->rm, !stored);
	NEXT;
}

SAME(ldxp, load_exclusive_pair)
SAME(ldaxp, load_exclusive_pair)
SAME(stxp, store_exclusive_pair)
SAME(stlxp, store_exclusive_pair)
