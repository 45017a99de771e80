/* Between thread.c and fork.c. */
#ifndef LP_EMU_THREAD_PRIVATE_H
#define LP_EMU_THREAD_PRIVATE_H

#include "emu/emu.h"

/* linux/sched.h, which cannot be had together with sched.h */
#define LP_CLONE_CLEAR_SIGHAND UINT64_C(0x100000000)
#define LP_CLONE_INTO_CGROUP UINT64_C(0x200000000)

/* Which guest thread runs on this host thread. */
void lp_guest_self_set(struct lp_guest_thread *t);

/* A thread that goes on where its parent is, with its own room and host stack; not yet in emu->threads.  NULL: no memory. */
struct lp_guest_thread *lp_guest_thread_cloned(struct lp_guest_thread *parent, const struct lp_clone *c);
/* The host stack of such a thread. */
void *lp_guest_thread_stack(struct lp_guest_thread *t, size_t *size);
void lp_guest_thread_free(struct lp_guest_thread *t);

void lp_guest_thread_link(struct lp_guest_thread *t);
/* stop.c, of one that comes to the list, with threads_lock held: a stop that has begun waits for it too. */
void lp_thread_join_stop(struct lp_guest_thread *t);
/* It runs no guest code any more.  True: it was the last one. */
bool lp_guest_thread_unlink(struct lp_guest_thread *t);

/* In a new process: only t is left.  by_libc: the C library knows that the others are gone, so their stacks can go too. */
void lp_guest_threads_forked(struct lp_guest_thread *t, bool by_libc);

/* fork.c: flags without CLONE_THREAD. */
int64_t lp_process_clone(struct lp_guest_thread *t, const struct lp_clone *c);

#endif
