/*
 * What self/ asks of the instruction set that this process runs: a form that
 * arch/<cpu family>.c fills in; the build compiles exactly one.
 *
 * All functions are safe in signal handlers: no lock, no allocation, no call
 * into another library (which may be the very code that is being changed).
 */
#ifndef LP_SELF_ARCH_H
#define LP_SELF_ARCH_H

#include <signal.h>
#include <ucontext.h>

#include "base/addr.h"

#define LP_TRAP_MAX 4
#define LP_FRAME_WORDS 5 /* what frame() looks at */

struct lp_self_arch {
	uint16_t machine;	   /* ELF e_machine */
	uint8_t trap[LP_TRAP_MAX]; /* a breakpoint: replaces the first bytes of an instruction in one store */
	size_t trap_len;

	lp_addr (*pc)(const ucontext_t *uc);
	void (*set_pc)(ucontext_t *uc, lp_addr pc);
	lp_addr (*sp)(const ucontext_t *uc);
	/* The interrupted code goes on in `to`, which does not come back. */
	void (*divert)(ucontext_t *uc, void (*to)(void));

	/* Was the signal raised by a breakpoint of that kind, and where does (or did) it stand? */
	bool (*trapped)(const siginfo_t *info, const ucontext_t *uc, lp_addr *at);

	/*
	 * Are these words of a stack part of what the kernel saved before it entered a signal handler?  words[0] is where
	 * the interrupted code's stack pointer would be, words[1] its pc.  Matches on values that the kernel writes there
	 * on every entry, so that it does not matter who set up the handler or how it returns.
	 */
	bool (*frame)(const uint64_t words[LP_FRAME_WORDS]);
	/* So many bytes before words[0] the kernel has saved the thread's stack for handlers: a stack_t. */
	size_t frame_stack;

	void (*serialize)(void); /* from here on this thread fetches what memory holds */

	/* What comes back into this program's code must be a kind of branch that may (lp_move_request.guarded). */
	bool (*guarded)(void);

	/* Code of a function that returns `value`: for finding out how code can be written. */
	size_t (*probe)(uint8_t out[16], uint16_t value);
};

extern const struct lp_self_arch lp_self_arch;

/* -errno on failure.  The C library's wrappers may be hooked, or set errno of the thread that a signal interrupted. */
long lp_self_syscall(long nr, long a, long b, long c, long d, long e, long f);

#endif
