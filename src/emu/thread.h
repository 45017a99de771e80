/*
 * Guest threads: each is a host thread.  Where they stand, how all of them are
 * made to stand still, and how they come and go.
 *
 * States (lp_guest_thread.state), a word that is also a futex:
 *
 *     RUNNING   in translated code or in our own; becomes IN_HOST or PARKED at its own time
 *     AWAITED   the same, and lp_threads_stop() waits for that
 *     IN_HOST   in a system call that may block: all its registers are in its cpu.  It counts as standing still,
 *               and stops before it touches guest state again while somebody holds the world
 *     PARKED    stands still at an instruction boundary because lp_threads_stop() asked
 *
 * Between lp_threads_stop() and lp_threads_go() the caller may read and write
 * every cpu and every byte of the guest.  Stops do not nest; a second caller waits.
 * A thread whose system call returns meanwhile reads RUNNING for the instant in which it finds that it may not.
 */
#ifndef LP_EMU_THREAD_H
#define LP_EMU_THREAD_H

#include <pthread.h>

#include "emu/cpu.h"
#include "emu/signals.h"

enum lp_thread_state { LP_THREAD_RUNNING, LP_THREAD_IN_HOST, LP_THREAD_PARKED, LP_THREAD_AWAITED };

struct lp_guest_thread {
	struct lp_cpu cpu;
	_Atomic uint32_t state;	   /* enum lp_thread_state */
	int tid;		   /* the host's, which is the guest's */
	_Atomic uint32_t is_known; /* futex, thread.c: the parent of a cloned one has its number */
	uint64_t clear_child_tid;  /* guest address, set_tid_address; 0 = none */
	struct lp_thread_signals signals;
	uint64_t stack_top;  /* SP when the thread began: tells its own stack from others that it may stand on */
	bool ends;	     /* leaves lp_cpu_run() at the next occasion: exit(2), or the process ends */
	int exit_status;     /* of exit(2) */
	bool is_vfork_child; /* shares memory with a parent that waits: ends by _exit or execve */
	void *room;	     /* thread.c: the host stack of one that was cloned, with this struct at its end */
	void *exec;	     /* exec.c: of an execve that is being made */
	struct lp_guest_thread *next; /* in emu->threads */
};

/* ---- a thread's own moves ---- */

/* Around a system call that may block.  leave waits while the world is stopped. */
void lp_thread_enter_host(struct lp_guest_thread *t);
void lp_thread_leave_host(struct lp_guest_thread *t);
/* At an instruction boundary with LP_POLL_PARK set: stands still until it may go on. */
void lp_thread_park(struct lp_guest_thread *t);

/* ---- all threads ---- */

/* Returns when every other guest thread stands still; the caller need not be one.  timeout_ms 0: none; else -ETIMEDOUT. */
int lp_threads_stop(struct lp_emu *emu, unsigned timeout_ms);
void lp_threads_go(struct lp_emu *emu);
/* In between: whether any of them will have to be woken, or all wait without sleeping. */
bool lp_threads_are_asleep(const struct lp_emu *emu);
/* Each leaves the code that it is in once, soon, and goes on with what is there now; nobody waits for that. */
void lp_threads_leave_code(struct lp_emu *emu);
/* Walk, between stop and go or with emu->threads_lock held. */
struct lp_guest_thread *lp_guest_threads(struct lp_emu *emu);

/* ---- coming and going ---- */

/* The first thread: registers zero.  It is emu->main, and runs on the host thread that calls lp_guest_thread_run(). */
struct lp_guest_thread *lp_guest_thread_new(struct lp_emu *emu);
void lp_guest_thread_run(struct lp_guest_thread *t) __attribute__((noreturn));

/* clone(2) with the arguments of clone3's struct, decoded: a thread, a fork, or a vfork.  tid or -errno. */
struct lp_clone {
	uint64_t flags; /* with the exit signal in the low byte, as clone has it */
	uint64_t stack; /* the child's SP; 0: the parent's */
	uint64_t parent_tid, child_tid, tls;
	uint64_t pidfd; /* where to store it, guest address */
	uint64_t set_tid, set_tid_size, cgroup;
};
int64_t lp_thread_clone(struct lp_guest_thread *t, const struct lp_clone *c);
/* exit(2): the thread ends when it comes back to lp_cpu_run().  The last thread's status is the process's. */
void lp_thread_exit(struct lp_guest_thread *t, int status);
/* exit_group(2), and the end by a signal: does not return. */
void lp_process_exit(struct lp_emu *emu, int status) __attribute__((noreturn));
/* Ends the process as an unhandled signal would: the default action of `signal`, after what the guest is told. */
void lp_process_kill(struct lp_guest_thread *t, int signal) __attribute__((noreturn));

#endif
