/*
 * One guest instruction, decoded: what a block is an array of, and how the
 * functions are written that execute it.
 *
 *     SEM(smulh)                               // one per row of a64.def, in a file sem_*.c
 *     {
 *             SET_X(cpu, u->rd, (uint64_t)((__int128)(int64_t)X(cpu, u->rn) * (int64_t)X(cpu, u->rm) >> 64));
 *             NEXT;
 *     }
 *
 * A semantic function returns the uop that is to be executed next, or NULL when
 * translated code is to be left (cpu->leave says why).  NEXT goes on behind this
 * one.  What a function reads of an instruction: u->word through the accessors
 * of the table (lp_a64_field_imm12(u->word), ...), and the register numbers that
 * stand in the same place in most instructions, already taken out of it.
 *
 * Precise faults: an instruction that faults has changed nothing.  So: touch
 * memory first (LOAD, STORE, lp_guest()), then write registers.  A host fault
 * in LOAD or STORE does not come back.
 *
 * lower.c replaces `run` by a specialised function where it pays; the function
 * of the row is always there as well, and both do the same.
 */
#ifndef LP_EMU_UOP_H
#define LP_EMU_UOP_H

#include "emu/cpu.h"
#include "isa/a64/table.h"

typedef const struct lp_uop *lp_uop_fn(struct lp_cpu *cpu, const struct lp_uop *u);

/* 32 bytes.  Immutable once its block is published. */
struct lp_uop {
	lp_uop_fn *run;
	uint32_t word;
	uint8_t rd, rn, rm, ra; /* bits 0, 5, 16 and 10 of the word, raw: 31 is 31 */
	uint64_t pc;		/* of this instruction */
	union {
		uint64_t imm;		    /* as lower.c likes */
		const struct lp_slot *slot; /* of a direct branch's target */
	};
};

/* Where a block begins, or would: one per pc, never freed.  Linking, unlinking and patching is one store to `entry`. */
struct lp_slot {
	_Atomic(const struct lp_uop *) entry; /* lp_slot_miss when there is no translation */
	uint64_t pc;
	_Atomic(struct lp_slot *) next; /* in its bucket */
};

extern const struct lp_uop lp_slot_miss;

#define SEM(row) const struct lp_uop *lp_sem_##row(struct lp_cpu *cpu, const struct lp_uop *u)

/* Declares lp_sem_ROW for every row. */
#define A64_ROW(row) lp_uop_fn lp_sem_##row;
#include "isa/a64_rows.inc"
#undef A64_ROW

extern lp_uop_fn *const lp_sem[]; /* by enum lp_a64_op */

#define NEXT return u + 1

/* The same without coming back to the loop.  Only in functions that have no local whose address goes anywhere:
 * the compiler must be able to make a jump of it (a build that does not optimise just returns). */
#if defined(__OPTIMIZE__) && !defined(LP_EMU_NO_TAIL)
#define TAIL(v)                                \
	do {                                   \
		const struct lp_uop *v_ = (v); \
		return v_->run(cpu, v_);       \
	} while (0)
#else
#define TAIL(v) return (v)
#endif

/* ---- registers ---- */

/* 31 reads as zero and swallows what is written. */
static inline uint64_t X(const struct lp_cpu *cpu, unsigned r)
{
	return r == 31 ? 0 : cpu->x[r];
}
static inline uint32_t W(const struct lp_cpu *cpu, unsigned r)
{
	return (uint32_t)X(cpu, r);
}
static inline void SET_X(struct lp_cpu *cpu, unsigned r, uint64_t value)
{
	cpu->x[r == 31 ? LP_SINK : r] = value;
}
static inline void SET_W(struct lp_cpu *cpu, unsigned r, uint32_t value)
{
	SET_X(cpu, r, value);
}
/* 31 is the stack pointer. */
static inline uint64_t XSP(const struct lp_cpu *cpu, unsigned r)
{
	return cpu->x[r];
}
static inline void SET_XSP(struct lp_cpu *cpu, unsigned r, uint64_t value)
{
	cpu->x[r] = value;
}

/* ---- memory ---- */

/* The host address of a guest address: the same number, without the tag (TBI, DDI 0487 D8.3.2). */
static inline uint64_t lp_untagged(uint64_t addr)
{
	return (uint64_t)((int64_t)(addr << 8) >> 8);
}

/* Memory to be touched by this instruction.  A fault in it is this instruction's. */
static inline void *lp_guest(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr)
{
	cpu->at = u;
	__asm__ volatile("" ::: "memory");
	return (void *)lp_untagged(addr);
}

/* After the last access: what is written to registers must not be moved before it. */
static inline void lp_guest_done(void)
{
	__asm__ volatile("" ::: "memory");
}

/* Guest memory is not the sanitizers' business: what is wrong with an address is the guest's fault, and raised there. */
#ifdef LP_EMU_NO_TAIL
#define LP_EMU_UNWATCHED __attribute__((no_sanitize("address", "null")))
#else
#define LP_EMU_UNWATCHED
#endif

/* Plain accesses of any alignment; single-copy atomic where aligned (x86-64 makes them so), acquire and release by TSO. */
#define LP_EMU_ACCESS(name, type)                                                                                   \
	typedef type lp_unaligned_##name __attribute__((aligned(1), may_alias));                                    \
	LP_EMU_UNWATCHED static inline type LOAD_##name(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr)  \
	{                                                                                                           \
		type value = *(const volatile lp_unaligned_##name *)lp_guest(cpu, u, addr);                         \
		lp_guest_done();                                                                                    \
		return value;                                                                                       \
	}                                                                                                           \
	LP_EMU_UNWATCHED static inline void STORE_##name(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr, \
							 type value)                                                \
	{                                                                                                           \
		*(volatile lp_unaligned_##name *)lp_guest(cpu, u, addr) = value;                                    \
		lp_guest_done();                                                                                    \
	}
LP_EMU_ACCESS(u8, uint8_t)
LP_EMU_ACCESS(u16, uint16_t)
LP_EMU_ACCESS(u32, uint32_t)
LP_EMU_ACCESS(u64, uint64_t)
LP_EMU_ACCESS(u128, unsigned __int128)

/* ---- leaving ---- */

/* A synchronous exception of this instruction. */
static inline const struct lp_uop *lp_raise(struct lp_cpu *cpu, const struct lp_uop *u, int signal, int code,
					    uint64_t addr)
{
	cpu->pc = u->pc;
	cpu->leave = LP_LEAVE_FAULT;
	cpu->fault = (struct lp_fault){.signal = signal, .code = code, .addr = addr};
	return NULL;
}

/* UNDEFINED: SIGILL, ILL_ILLOPC at this instruction. */
static inline const struct lp_uop *lp_undefined(struct lp_cpu *cpu, const struct lp_uop *u)
{
	return lp_raise(cpu, u, SIGILL, ILL_ILLOPC, u->pc);
}

/* Accesses that must be aligned (exclusive, ordered, atomic): true when this one is not; then return lp_misaligned(). */
static inline bool lp_is_misaligned(uint64_t addr, unsigned size)
{
	return addr & (size - 1);
}
static inline const struct lp_uop *lp_misaligned(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr)
{
	return lp_raise(cpu, u, SIGBUS, BUS_ADRALN, addr);
}

/* Go on at a slot (direct branch) or an address (indirect); both look at poll first. */
static inline const struct lp_uop *lp_goto_slot(struct lp_cpu *cpu, const struct lp_slot *slot)
{
	cpu->pc = slot->pc;
	if (__builtin_expect(atomic_load_explicit(&cpu->poll, memory_order_relaxed) != 0, 0)) {
		cpu->leave = LP_LEAVE_LOOKUP;
		return NULL;
	}
	return atomic_load_explicit(&slot->entry, memory_order_acquire);
}

static inline const struct lp_uop *lp_goto(struct lp_cpu *cpu, uint64_t pc)
{
	const struct lp_jump *j = &cpu->jumps[pc >> 2 & (LP_JUMP_CACHE - 1)];

	cpu->pc = pc;
	if (__builtin_expect(j->pc == pc && !atomic_load_explicit(&cpu->poll, memory_order_relaxed), 1))
		return atomic_load_explicit(&j->slot->entry, memory_order_acquire);
	cpu->leave = LP_LEAVE_LOOKUP;
	return NULL;
}

#endif
