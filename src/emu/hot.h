/*
 * Specialised functions for the instructions that programs execute most.
 *
 * lp_hot() replaces a uop's function by one that knows the width, the shift, the condition and the like, and takes from
 * the uop what that one does without: register numbers are indices of cpu->x (31 has become LP_SP, LP_ZR or LP_SINK, as
 * the instruction says), immediates are ready for use.  The row's own function does the same, more slowly; tests/unit/
 * emu/test_hot.c holds the two side by side.
 *
 * They go on to the next one without coming back to the loop (TAIL): none of them has a local whose address is taken.
 */
#ifndef LP_EMU_HOT_H
#define LP_EMU_HOT_H

#include "emu/integer.h"

/* ---- choosing ---- */

/* Makes the uop ready for one of a row's functions: its index, or NONE when the row's own shall stay; then the uop is
 * as it was. */
typedef int lp_hot_prepare(struct lp_uop *u);
enum { LP_HOT_NONE = -1 };

struct lp_hot {
	enum lp_a64_op op;
	lp_hot_prepare *prepare;
	lp_uop_fn *const *run; /* by that index */
};

/* Up to {0}. */
extern const struct lp_hot lp_hot_integer[], lp_hot_compare[], lp_hot_branch[], lp_hot_memory[];

/* A uop as lp_lower() has filled it in, of the row `op`. */
void lp_hot(struct lp_uop *u, enum lp_a64_op op);
/* `u` is followed by u[1] in its block: what they do together, in one, where that pays. */
void lp_hot_pair(struct lp_uop *u);

static inline uint8_t lp_reads(uint8_t r)
{
	return r == 31 ? LP_ZR : r;
}
static inline uint8_t lp_writes(uint8_t r)
{
	return r == 31 ? LP_SINK : r;
}
static inline bool lp_is64(const struct lp_uop *u)
{
	return u->word >> 31;
}

/* ---- writing them ---- */

#define HOT(name) static const struct lp_uop *name(struct lp_cpu *cpu, const struct lp_uop *u)

#define RD cpu->x[u->rd]
#define RN cpu->x[u->rn]
#define RM cpu->x[u->rm]
#define RA cpu->x[u->ra]

#define ON TAIL(u + 1)

/* To the code of a slot. */
#define GO(s)                                                                                      \
	do {                                                                                       \
		const struct lp_slot *s_ = (s);                                                    \
		cpu->pc = s_->pc;                                                                  \
		if (__builtin_expect(atomic_load_explicit(&cpu->poll, memory_order_relaxed), 0)) { \
			cpu->branch = u->pc;                                                       \
			cpu->leave = LP_LEAVE_LOOKUP;                                              \
			return NULL;                                                               \
		}                                                                                  \
		TAIL(atomic_load_explicit(&s_->entry, memory_order_acquire));                      \
	} while (0)

/* CONDITION(name, holds): `holds` of the flags in cpu; all but al and nv, in the order of their numbers. */
#define LP_CONDITIONS(CONDITION)                             \
	CONDITION(eq, cpu->z == 0)                           \
	CONDITION(ne, cpu->z != 0)                           \
	CONDITION(cs, cpu->c)                                \
	CONDITION(cc, !cpu->c)                               \
	CONDITION(mi, cpu->n < 0)                            \
	CONDITION(pl, cpu->n >= 0)                           \
	CONDITION(vs, cpu->v)                                \
	CONDITION(vc, !cpu->v)                               \
	CONDITION(hi, cpu->c && cpu->z != 0)                 \
	CONDITION(ls, !(cpu->c && cpu->z != 0))              \
	CONDITION(ge, (cpu->n < 0) == cpu->v)                \
	CONDITION(lt, (cpu->n < 0) != cpu->v)                \
	CONDITION(gt, (cpu->n < 0) == cpu->v && cpu->z != 0) \
	CONDITION(le, !((cpu->n < 0) == cpu->v && cpu->z != 0))
enum { LP_NR_CONDITIONS = 14 };

#endif
