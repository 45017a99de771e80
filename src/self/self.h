/*
 * Our own process: change code that other threads are running.
 *
 *     struct lp_self_hook h = {.fn = ..., .replacement = ...};
 *     rc = lp_self_prepare(&h, err);             // trampoline made, everything checked; nothing seen by anybody
 *     ... more of them ...
 *     rc = lp_self_commit(hooks, nr, err);       // all of them in one go, or none
 *     rc = lp_self_remove(hooks, nr, err);
 *     lp_self_release(&h);                       // of one that is not installed
 *
 *     rc = lp_self_poke(edits, nr, err);         // bytes for bytes, below the hooks
 *
 * How code is changed under running threads (poke.c, stop.h): whoever runs is
 * parked by a real-time signal; the first byte of each site becomes a
 * breakpoint; sleepers are looked at, not signalled; whoever is between two of
 * the instructions that disappear, or returns there from a signal handler, is
 * moved to their copies; then the bytes are written.  Memory is written through
 * /proc/self/mem: no page is ever writable and executable.
 *
 * Threads.  One commit, remove or poke at a time (a lock of its own); may be
 * called while any number of threads run.  Not from signal handlers.
 * Signals.  SIGTRAP and one real-time signal are taken when they are first
 * needed; whoever held SIGTRAP before gets the traps that are not ours.  Threads
 * that block them for longer than a second make changes fail (-LP_EBUSY), and
 * one in the strict mode of seccomp does at once (-LP_ESECCOMP).
 * fork() waits for a change to end.  A child of vfork() is not seen: what it
 * calls before exec must not be changed meanwhile.
 */
#ifndef LP_SELF_H
#define LP_SELF_H

#include "base/err.h"
#include "isa/isa.h"

/* The instruction set that this process runs. */
const struct lp_isa *lp_self_isa(void);

/* Where an instruction pointer inside of an edit is to go on.  From its first byte too, where nobody may begin with what
 * comes instead. */
struct lp_self_move {
	lp_addr from, to;
};

/* One site.  Whole instructions before and after; old and new are equally long. */
struct lp_self_edit {
	lp_addr at;
	size_t len;
	const uint8_t *old_bytes, *new_bytes; /* old is compared first: -LP_ECHANGED */
	const struct lp_self_move *moves;     /* for each instruction of old but the first that vanishes */
	size_t nr_moves;
};

/*
 * All edits in one go, or none.  -LP_EBUSY: a thread stands on an instruction
 * that vanishes and has no move, or did not answer; -LP_ECHANGED, -LP_EUNMAPPED,
 * -LP_ENOTCODE, -LP_EPERM (this kernel lets nobody write to code).
 */
int lp_self_poke(const struct lp_self_edit *edits, size_t nr, struct lp_err *err);

/* Executable memory for code, within reach of a direct jump of `near` when reach is set; filled once, never writable and
 * executable at once.  NULL address and -LP_EREACH when there is none. */
int lp_self_code_alloc(lp_addr near, bool reach, size_t size, lp_addr *out, struct lp_err *err);
int lp_self_code_fill(lp_addr at, const void *bytes, size_t len, struct lp_err *err);
/* Reused only when no thread can be in it any more (quarantine). */
void lp_self_code_free(lp_addr at, size_t size);

struct lp_self_hook {
	lp_addr fn;
	lp_addr replacement;
	lp_addr original;	   /* out, by prepare: calls what fn was */
	struct lp_self_site *site; /* private */
};

int lp_self_prepare(struct lp_self_hook *h, struct lp_err *err);
int lp_self_commit(struct lp_self_hook *const *hooks, size_t nr, struct lp_err *err);
int lp_self_remove(struct lp_self_hook *const *hooks, size_t nr, struct lp_err *err);
/* Another replacement, installed or not; costs what installing does. */
int lp_self_retarget(struct lp_self_hook *h, lp_addr replacement, struct lp_err *err);
void lp_self_release(struct lp_self_hook *h); /* does nothing to an installed one */
/* Gives up an installed one that somebody else wrote over.  Nothing is written, and its code stays for ever: what came
 * over it may lead there.  The function can be hooked again. */
void lp_self_abandon(struct lp_self_hook *h);

/*
 * For who takes a lock of his own around calls of self/, before his own pthread_atfork(), and before any other call of self/: fork() runs
 * prepare handlers in reverse, so his lock comes first there, too.  -LP_EINTERNAL.
 */
int lp_self_watch_forks(void);

/* What becomes of one prepared hook: led to `replacement`, installed if it is not yet; or taken out (0). */
struct lp_self_switch {
	struct lp_self_hook *hook;
	lp_addr replacement;
};
/* All of them in one go, or none: no thread calls one function as it will be and another as it was.  Each hook once. */
int lp_self_switch(const struct lp_self_switch *switches, size_t nr, struct lp_err *err);

/*
 * Who is in there: inside[i] says whether a thread executes something in
 * ranges[i], or has an address of it on its stack and so may return there, or
 * stands on what leads there (an island of a hook, or one that was).
 * True of the moment: only what nobody can call any more stays empty.
 */
int lp_self_look(const struct lp_range *ranges, bool *inside, size_t nr, struct lp_err *err);
/* What installing it changes, in the order of its writing: 1 or 2 places, new_bytes as they are now or will be.  Valid until
 * the hook is retargeted or released. */
size_t lp_self_hook_edits(const struct lp_self_hook *h, struct lp_self_edit out[2]);

/* The function around `at` by the unwind tables of the loaded objects, or by their symbols; false when neither says. */
bool lp_self_function(lp_addr at, struct lp_range *out);

struct lp_entered {
	lp_addr from; /* of the branch */
	lp_addr to;
};

/* The first instruction in `window`, a part of the code `own` which begins with one, that a branch from elsewhere in the
 * same object leads to.  False: none does, or nobody can tell; also where all instructions are of one length.  Asks the
 * loader, so not under locks that are taken with the loader's held. */
bool lp_self_entered(struct lp_range own, struct lp_range window, struct lp_entered *out);

#endif
