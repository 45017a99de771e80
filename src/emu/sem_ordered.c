/* Loads and stores with acquire and release, and barriers. */
#include "emu/access.h"

/*
 * Loads of x86 acquire and stores release.  What remains is that a store-release is not passed by a later
 * load-acquire (they are sequentially consistent): the store is an exchange.
 */
#define RELEASE(type) __atomic_store_n((type *)lp_guest(cpu, u, addr), (type)X(cpu, u->rd), __ATOMIC_SEQ_CST)
#define ACQUIRE(type) SET_X(cpu, u->rd, __atomic_load_n((const type *)lp_guest(cpu, u, addr), __ATOMIC_SEQ_CST))
#define ACQUIRE_SIGNED(type, narrow, wide) \
	SET_X(cpu, u->rd, (wide)(narrow)__atomic_load_n((const type *)lp_guest(cpu, u, addr), __ATOMIC_SEQ_CST))

#define ORDERED(row, touch)                                          \
	SEM(row)                                                     \
	{                                                            \
		uint64_t addr = XSP(cpu, u->rn);                     \
		if (!lp_may_access(cpu, u, addr, 1u << FIELD(size))) \
			return NULL;                                 \
		touch(cpu, u, addr, FIELD(size));                    \
		NEXT;                                                \
	}

static void acquire(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr, unsigned size)
{
	switch (size) {
	case 0:
		ACQUIRE(uint8_t);
		break;
	case 1:
		ACQUIRE(uint16_t);
		break;
	case 2:
		ACQUIRE(uint32_t);
		break;
	default:
		ACQUIRE(uint64_t);
	}
}

static void release(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr, unsigned size)
{
	switch (size) {
	case 0:
		RELEASE(uint8_t);
		break;
	case 1:
		RELEASE(uint16_t);
		break;
	case 2:
		RELEASE(uint32_t);
		break;
	default:
		RELEASE(uint64_t);
	}
	lp_guest_done();
}

ORDERED(ldar, acquire)
ORDERED(ldapr, acquire)
ORDERED(stlr, release)
/* Limited to regions (LOR), of which EL1 has defined none: ordered as the others. */
ORDERED(ldlar, acquire)
ORDERED(stllr, release)

/* With an offset (LRCPC2). */
#define ORDERED_AT(row, size, touch)                                                         \
	SEM(row)                                                                             \
	{                                                                                    \
		uint64_t addr = XSP(cpu, u->rn) + (uint64_t)lp_signed_field(u->word, 12, 9); \
		if (!lp_may_access(cpu, u, addr, size))                                      \
			return NULL;                                                         \
		touch;                                                                       \
		NEXT;                                                                        \
	}
ORDERED_AT(stlurb, 1, RELEASE(uint8_t))
ORDERED_AT(stlurh, 2, RELEASE(uint16_t))
ORDERED_AT(stlur_w, 4, RELEASE(uint32_t))
ORDERED_AT(stlur_x, 8, RELEASE(uint64_t))
ORDERED_AT(ldapurb, 1, ACQUIRE(uint8_t))
ORDERED_AT(ldapurh, 2, ACQUIRE(uint16_t))
ORDERED_AT(ldapur_w, 4, ACQUIRE(uint32_t))
ORDERED_AT(ldapur_x, 8, ACQUIRE(uint64_t))
ORDERED_AT(ldapursb_x, 1, ACQUIRE_SIGNED(uint8_t, int8_t, uint64_t))
ORDERED_AT(ldapursb_w, 1, ACQUIRE_SIGNED(uint8_t, int8_t, uint32_t))
ORDERED_AT(ldapursh_x, 2, ACQUIRE_SIGNED(uint16_t, int16_t, uint64_t))
ORDERED_AT(ldapursh_w, 2, ACQUIRE_SIGNED(uint16_t, int16_t, uint32_t))
ORDERED_AT(ldapursw, 4, ACQUIRE_SIGNED(uint32_t, int32_t, uint64_t))

/* ---- barriers ---- */

/* What x86 orders by itself, loads and stores each among themselves, needs none (CRm<1:0>: 1 loads, 2 stores). */
SEM(dmb)
{
	if ((FIELD(CRm) & 3) == 0 || (FIELD(CRm) & 3) == 3)
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	else
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
	NEXT;
}

SEM(dsb)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	NEXT;
}

SEM(sb)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	NEXT;
}

/* What is executed next may be other code than when this block was made: it is looked up. */
SEM(isb)
{
	return lp_goto(cpu, u->pc + 4);
}

SEM(clrex)
{
	cpu->exclusive.size = 0;
	NEXT;
}
