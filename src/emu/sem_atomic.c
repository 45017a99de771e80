/* Atomic operations and compare-and-swap (LSE).  The host's are sequentially consistent, whatever is asked for. */
#include "emu/access.h"
#include "emu/wide.h"

/* ---- operations ---- */

#define FETCH(name) __atomic_fetch_##name(at, operand, __ATOMIC_SEQ_CST)
#define ADD(type) FETCH(add)
#define CLR(type) __atomic_fetch_and(at, (type)~operand, __ATOMIC_SEQ_CST)
#define EOR(type) FETCH(xor)
#define SET(type) FETCH(or)
#define SWAP(type) __atomic_exchange_n(at, operand, __ATOMIC_SEQ_CST)

/* What the host has no instruction for: `better` says which of old and operand it shall be. */
#define RETRY(type, better)                                                                                      \
	({                                                                                                       \
		type old = __atomic_load_n(at, __ATOMIC_RELAXED);                                                \
		while (!__atomic_compare_exchange_n(at, &old, (better) ? operand : old, false, __ATOMIC_SEQ_CST, \
						    __ATOMIC_SEQ_CST))                                           \
			;                                                                                        \
		old;                                                                                             \
	})
#define SIGNED(type, value) ((int64_t)((uint64_t)(value) << (64 - 8 * sizeof(type))))
#define SMAX(type) RETRY(type, SIGNED(type, operand) > SIGNED(type, old))
#define SMIN(type) RETRY(type, SIGNED(type, operand) < SIGNED(type, old))
#define UMAX(type) RETRY(type, operand > old)
#define UMIN(type) RETRY(type, operand < old)

#define OPERATE(type, op)                           \
	{                                           \
		type *at = lp_guest(cpu, u, addr);  \
		type operand = (type)X(cpu, u->rm); \
		SET_X(cpu, u->rd, op(type));        \
		break;                              \
	}

#define ATOMIC(row, op)                                              \
	SEM(row)                                                     \
	{                                                            \
		uint64_t addr = XSP(cpu, u->rn);                     \
		if (!lp_may_access(cpu, u, addr, 1u << FIELD(size))) \
			return NULL;                                 \
		switch (FIELD(size)) {                               \
		case 0:                                              \
			OPERATE(uint8_t, op)                         \
		case 1:                                              \
			OPERATE(uint16_t, op)                        \
		case 2:                                              \
			OPERATE(uint32_t, op)                        \
		default:                                             \
			OPERATE(uint64_t, op)                        \
		}                                                    \
		NEXT;                                                \
	}
ATOMIC(ldadd, ADD)
ATOMIC(ldclr, CLR)
ATOMIC(ldeor, EOR)
ATOMIC(ldset, SET)
ATOMIC(ldsmax, SMAX)
ATOMIC(ldsmin, SMIN)
ATOMIC(ldumax, UMAX)
ATOMIC(ldumin, UMIN)
ATOMIC(swp, SWAP)

/* ---- compare and swap ---- */

#define COMPARE_AND_SWAP(type)                                                                                  \
	{                                                                                                       \
		type found = (type)X(cpu, u->rm);                                                               \
		__atomic_compare_exchange_n((type *)lp_guest(cpu, u, addr), &found, (type)X(cpu, u->rd), false, \
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                                \
		lp_guest_done();                                                                                \
		SET_X(cpu, u->rm, found);                                                                       \
		break;                                                                                          \
	}

SEM(cas)
{
	uint64_t addr = XSP(cpu, u->rn);

	if (!lp_may_access(cpu, u, addr, 1u << FIELD(size)))
		return NULL;
	switch (FIELD(size)) {
	case 0:
		COMPARE_AND_SWAP(uint8_t)
	case 1:
		COMPARE_AND_SWAP(uint16_t)
	case 2:
		COMPARE_AND_SWAP(uint32_t)
	default:
		COMPARE_AND_SWAP(uint64_t)
	}
	NEXT;
}

static void swap_words(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr)
{
	uint64_t found = W(cpu, u->rm) | X(cpu, u->rm + 1) << 32, wanted = W(cpu, u->rd) | X(cpu, u->rd + 1) << 32;

	__atomic_compare_exchange_n((uint64_t *)lp_guest(cpu, u, addr), &found, wanted, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
	lp_guest_done();
	SET_W(cpu, u->rm, (uint32_t)found);
	SET_W(cpu, u->rm + 1, (uint32_t)(found >> 32));
}

static void swap_doublewords(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr)
{
	uint64_t found[2] = {X(cpu, u->rm), X(cpu, u->rm + 1)}, wanted[2] = {X(cpu, u->rd), X(cpu, u->rd + 1)};

	lp_exchange16(lp_guest(cpu, u, addr), found, wanted);
	lp_guest_done();
	SET_X(cpu, u->rm, found[0]);
	SET_X(cpu, u->rm + 1, found[1]);
}

/* Rs and Rt are even: their pairs end with zr at most. */
SEM(casp)
{
	uint64_t addr = XSP(cpu, u->rn);

	if (!lp_may_access(cpu, u, addr, FIELD(x) ? 16 : 8))
		return NULL;
	if (FIELD(x))
		swap_doublewords(cpu, u, addr);
	else
		swap_words(cpu, u, addr);
	NEXT;
}
