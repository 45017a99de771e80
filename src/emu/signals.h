/*
 * Guest signals.  Every signal that the guest handles or may be ended by comes in
 * at a host handler of ours, is noted with its siginfo in the thread that the
 * kernel chose, and is delivered at an instruction boundary: a frame as arm64
 * Linux builds it (arch/arm64/kernel/signal.c describes it: struct rt_sigframe)
 * on the guest's stack or alternate stack, and pc at the guest's handler.
 *
 * Synchronous faults (cpu->fault) are delivered the same way, at once.
 *
 * A signal that arrives while a system call blocks interrupts it: the call is
 * made by lp_safe_syscall(), which never misses one that came before it.
 */
#ifndef LP_EMU_SIGNALS_H
#define LP_EMU_SIGNALS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct lp_emu;
struct lp_cpu;
struct lp_guest_thread;

enum { LP_NSIG = 64, LP_SIGRTMIN = 32 };

/* Sets of signals are words as the kernel has them: bit n - 1 is signal n. */

/* struct sigaction of the arm64 kernel. */
struct lp_sigaction {
	uint64_t handler; /* 0 SIG_DFL, 1 SIG_IGN */
	uint64_t flags;
	uint64_t restorer; /* only with SA_RESTORER */
	uint64_t mask;
};

/* What becomes of a system call that a signal interrupted.  As long as it is not LP_RESTART_NONE, pc is on the svc and
 * x0 is the first argument again: a thread that just goes on makes the call once more. */
enum lp_restart {
	LP_RESTART_NONE,
	LP_RESTART_ALWAYS, /* the kernel's ERESTARTNOINTR */
	LP_RESTART_SA,	   /* ERESTARTSYS: SA_RESTART says */
	LP_RESTART_NOHAND, /* ERESTARTNOHAND, and ERESTART_RESTARTBLOCK: -EINTR when a handler runs */
};

struct lp_process_signals;

/* A thread's part. */
struct lp_thread_signals {
	uint8_t restart; /* enum lp_restart of the call at pc; lp_syscall_handler() turns it into what the frame shall show */
	uint64_t blocked;
	uint64_t
		before_suspend; /* rt_sigsuspend, ppoll, ...: what `blocked` is again when the handler's frame is made */
	bool has_before_suspend;
	_Atomic uint64_t pending; /* noted by the host handler, not yet delivered */
	struct {
		siginfo_t info;
	} note[LP_NSIG];
	uint64_t alt_sp, alt_size; /* sigaltstack; size 0: none */
	uint32_t alt_flags;
	uint64_t fault_address, fault_code; /* of the last synchronous fault, as frames show them */
	struct lp_process_signals *process; /* emu->signals; a vfork child's own */
};

/* Once, before the first thread is made: host handlers for what ends or is handled; SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP always. */
void lp_signals_init(struct lp_emu *emu);
/* Each host thread that runs a guest thread: from begin to end the host's mask is the guest's. */
void lp_signals_thread_begin(struct lp_guest_thread *t);
void lp_signals_thread_end(struct lp_guest_thread *t);
/* A host thread that runs no guest code takes no signals.  Returns the mask that it had; lp_host_mask() sets one. */
uint64_t lp_signals_keep_out(void);
uint64_t lp_host_mask(uint64_t mask);
/* Around execve(2): what the new program is to inherit (the guest's mask, what it ignores); failed: back again. */
void lp_signals_exec_begin(struct lp_guest_thread *t);
void lp_signals_exec_failed(struct lp_guest_thread *t);
/* Around fork(2), with all signals kept out. */
void lp_signals_fork_lock(struct lp_guest_thread *t);
void lp_signals_fork_unlock(struct lp_guest_thread *t);
/* In a new process: nothing is pending.  With its own table (lp_process_signals_copy) where it shares memory. */
void lp_signals_forked(struct lp_guest_thread *t, bool clear_handlers);
struct lp_process_signals *lp_process_signals_copy(struct lp_process_signals *p);
void lp_process_signals_free(struct lp_process_signals *p);
/* What the guest has for a signal. */
void lp_signals_action(struct lp_guest_thread *t, int sig, struct lp_sigaction *out);

/* With LP_POLL_SIGNAL set, at an instruction boundary: delivers what is pending and not blocked. */
void lp_signals_deliver(struct lp_guest_thread *t);
/* cpu->fault: to the guest's handler, or the end of the process.  Forced: a blocked or ignored one ends it. */
void lp_signals_fault(struct lp_guest_thread *t);

/* ---- system calls (arguments as the guest gave them; -errno or the result) ---- */
int64_t lp_sys_rt_sigaction(struct lp_guest_thread *t, int sig, uint64_t act, uint64_t old, uint64_t size);
int64_t lp_sys_rt_sigprocmask(struct lp_guest_thread *t, int how, uint64_t set, uint64_t old, uint64_t size);
int64_t lp_sys_rt_sigreturn(struct lp_guest_thread *t);
int64_t lp_sys_rt_sigsuspend(struct lp_guest_thread *t, uint64_t set, uint64_t size);
int64_t lp_sys_rt_sigpending(struct lp_guest_thread *t, uint64_t set, uint64_t size);
int64_t lp_sys_rt_sigtimedwait(struct lp_guest_thread *t, uint64_t set, uint64_t info, uint64_t timeout, uint64_t size);
int64_t lp_sys_sigaltstack(struct lp_guest_thread *t, uint64_t ss, uint64_t old);
/* Calls that swap the mask while they wait (ppoll, pselect6, epoll_pwait): begin before the call, which is given
 * *host_set (8 bytes) as its mask; end after it with its result, and returns what the guest shall see.  A handler that
 * runs in between finds the old mask restored behind it, as Linux does. */
int lp_signals_swap_begin(struct lp_guest_thread *t, uint64_t guest_set, uint64_t size, uint64_t *host_set);
int64_t lp_signals_swap_end(struct lp_guest_thread *t, int64_t result);

/* ---- blocking system calls ---- */

/*
 * The host's system call `nr`.  Negative errno as the kernel returns it, -EINTR included (then a handler of the guest
 * is about to run, and SA_RESTART does not matter for this call); or, with pc to be put back on the svc:
 *
 *     -LP_ERESTARTNOINTR   not made, because a guest signal was already there: LP_RESTART_ALWAYS
 *     -LP_ERESTART         interrupted before it did anything: LP_RESTART_SA
 *
 * lp_sys_rt_sigsuspend() and lp_sys_rt_sigtimedwait() also return -LP_ERESTARTNOHAND.  What lp_sys_rt_sigreturn()
 * returns is x0, whatever it looks like.
 */
enum { LP_ERESTART = 512, LP_ERESTARTNOINTR = 513, LP_ERESTARTNOHAND = 514 };
int64_t lp_safe_syscall(struct lp_guest_thread *t, long nr, const uint64_t args[6]);
/* sys.c: a handler with these sa_flags is about to run: before its frame is made, pc and x0 become what it interrupted (a
 * call that is made again afterwards, or one that returned -EINTR).  Nothing when no call was interrupted. */
void lp_syscall_handler(struct lp_guest_thread *t, uint64_t sa_flags);

#endif
