/*
 * What runs guest code faster than the interpreter, plugged in from above (src/jit).
 *
 * The interpreter stays: it executes what the engine leaves alone, single steps
 * and traced threads.  Threads take turns between the two at block boundaries,
 * where all guest state is in struct lp_cpu.
 */
#ifndef LP_EMU_ENGINE_H
#define LP_EMU_ENGINE_H

#include <stdbool.h>
#include <ucontext.h>

#include "base/addr.h"

struct lp_cpu;
struct lp_emu;
struct lp_uop;

struct lp_engine {
	/* Runs translated code from cpu->pc on, until it leaves; what it leaves with is in the cpu, as uop.h says.  False: it
	 * has none for this pc, or for this thread as it is now; the interpreter's turn. */
	bool (*run)(struct lp_cpu *cpu);
	/* Before others look at the thread, after run: executes a few instructions more, if that is what it takes to have all
	 * guest state in the cpu.  May leave as run does. */
	void (*settle)(struct lp_cpu *cpu);
	/* In a handler of SIGSEGV or SIGBUS on the cpu's thread: when the host instruction is the engine's, puts all guest
	 * registers into the cpu as they were before the guest instruction, which the uop stands for; else NULL. */
	const struct lp_uop *(*faulted)(struct lp_cpu *cpu, const ucontext_t *context);
	/* invalidate() of that range is near, and is to be quick. */
	void (*expect)(struct lp_emu *emu, struct lp_range range);
	/* Code in the range has changed, or is no longer there: nobody enters what was made of it. */
	void (*invalidate)(struct lp_emu *emu, struct lp_range range);
	/* Dead code has become so much that it pays to stop all threads for it; they stand still. */
	bool (*is_littered)(const struct lp_emu *emu);
	void (*reclaim)(struct lp_emu *emu);
	/* The thread is no more, or has not run yet. */
	void (*thread_ended)(struct lp_cpu *cpu);
	/* Around a fork: before any lock is taken, while all stand still; in the child after unlock. */
	void (*forking)(struct lp_emu *emu);
	void (*lock)(struct lp_emu *emu);
	void (*unlock)(struct lp_emu *emu);
	void (*forked)(struct lp_emu *emu);
};

#endif
