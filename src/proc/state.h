/*
 * What the files of this folder share, and nobody above sees.
 *
 *     trace.c    the ptrace verbs, and waiting for one thread with a deadline
 *     threads.c  lists of threads and what /proc says of each
 *     stub.c     where the stub lies in the target
 *     stop.c     the pause
 *     inject.c   system calls by a borrowed thread
 *     sharers.c  processes in the same memory
 *     pagemap.c  which pages the program has touched
 *     jmpbuf.c   how setjmp() disguises addresses
 */
#ifndef LP_PROC_STATE_H
#define LP_PROC_STATE_H

#include <elfutils/libdwfl.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include "proc/arch/arch.h"
#include "proc/proc.h"

#define LP_TID_MAX (1 << 22) /* PID_MAX_LIMIT of a 64-bit kernel */

typedef LP_VEC(int) lp_tid_vec;

/* A thread that we have seized. */
struct lp_tracee {
	int tid;
	bool stopped;
	bool dead;
	bool lent;    /* came to us by PTRACE_O_TRACECLONE: stops by itself, once */
	int signal;   /* it was stopped on its way to this signal; detaching delivers it */
	char state;   /* 'R', or 'T' when it was group-stopped */
	lp_addr rseq; /* lp_trace_rseq(), for threads outside system calls */
	uint64_t rseq_cs;
};

/* Brackets all waiting for stops: SIGCHLD ends our naps in there. */
struct lp_hush {
	timer_t timer;
	bool has_timer;
	sigset_t old;
};

/* What is being unwound: a stopped thread, or a stack that none stands on. */
struct lp_walk {
	struct lp_range stack;
	const uint8_t *stack_bytes;
	size_t stack_len;
	const struct lp_stopped *thread; /* one of the two */
	const struct lp_walk_from *from;
	lp_addr missed; /* a word that it wanted and that could not be read: what looks like its end is none */
};

/* Where a stub is, or could be. */
struct lp_site {
	lp_addr at;
	const struct lp_stub_text *text; /* what lies there; NULL = zeros */
};

struct lp_proc {
	pid_t pid;
	pid_t anchor; /* thread that stands for the process in /proc: pid, or a live one when the leader has exited */
	char comm[64];
	uint16_t machine;
	int task_fd, mem_fd, pid_fd;
	int pagemap_fd;	       /* opened when first needed; -1 = not yet */
	bool pagemap_words;    /* the kernel has no PAGEMAP_SCAN */
	uint64_t start_time;   /* of the anchor, in clock ticks since boot */
	unsigned anchors_lost; /* one after the other, each before it could be read through */
	const struct lp_arch *arch;
	struct lp_range vdso;
	bool own; /* it is this process: to be looked at only */
	bool locked;

	LP_VEC(struct lp_site) sites;
	bool sites_known, drained;
	const struct lp_stub_text *force_stub; /* tests: this variant instead of the one the thread needs */

	/* Threads that are still ours because they neither stop nor die when they should. */
	lp_tid_vec late;

	/* the pause */
	LP_VEC(struct lp_tracee) tracees;
	LP_VEC(struct lp_stopped) stopped;
	bool paused;
	bool execed;			   /* a thread has stopped at an exec */
	uint64_t pause_began, pause_ended; /* ns, CLOCK_MONOTONIC */
	uint8_t *arena;			   /* stack copies */
	size_t arena_size;
	struct lp_hush hush;
	struct lp_reaper *reaper; /* made when first needed */
	bool cpu_held;
	int old_policy;
	struct sched_param old_param;
	lp_addr main_stack;		  /* start of "[stack]" */
	LP_VEC(struct lp_range) writable; /* stack bounds: the writable maps, read before the pause */

	/* images */
	LP_VEC(struct lp_image) images;
	LP_VEC(int) image_fds; /* of the same index; -1 = read from memory */
	bool images_known;
	bool copy_attached; /* the user's own file of the program is images[0].debug */

	Dwfl *dwfl;
	LP_VEC(struct lp_known_code) known; /* code without an image that can be unwound all the same */
	struct lp_walk *unwinding;
};

/* ---- attach.c ---- */
/* "/proc/ANCHOR/<name>"; static storage is the caller's. */
const char *lp_proc_path(const struct lp_proc *p, const char *name, char *out, size_t size);
/* Any address tells: the address space that we opened is no longer anybody's. */
bool lp_proc_replaced(const struct lp_proc *p);
/* -LP_EGONE or -LP_EEXECED when that is why something failed, else rc unchanged. */
int lp_proc_why(struct lp_proc *p, int rc, struct lp_err *err);
/*
 * To be asked after something was read through /proc/ANCHOR, whether it failed or not.  1: that thread has gone, another one
 * stands for the process from now on, and what was read is to be read again.  0: it is as it was.  -LP_EGONE; -LP_ENOTHREAD
 * when that goes on for ever.
 */
int lp_proc_keep_anchor(struct lp_proc *p, struct lp_err *err);

/* ---- threads.c ---- */
struct lp_task_stat {
	char state; /* R S D T t Z X I ... ; 0 = no such thread */
	uint64_t start_time;
	uint64_t flags; /* PF_* */
};
struct lp_task_status {
	int tgid, tracer;
	unsigned uid, euid, gid, egid;
	int seccomp;
	uint64_t pending, shared_pending, blocked, ignored, caught;
	uint64_t cap_effective;
};
struct lp_task_where {
	bool running;
	int64_t syscall; /* -1: stopped outside a system call */
	lp_addr sp, pc;
};

/* Appends the tids in `into` that are not there yet; returns how many were new, negative on error. */
int lp_tasks_list(struct lp_proc *p, lp_tid_vec *into, struct lp_err *err);
/* A process that runs in the same memory without being a thread of ours; 0 = none, or the kernel does not tell. */
pid_t lp_sharer(const struct lp_proc *p);
/* How many tasks the thread group has, zombies included: one fstat, cheap enough for the pause. */
size_t lp_tasks_count(const struct lp_proc *p);
/* Each returns 0, or negative when the thread is gone (-ESRCH) or the file unreadable. */
int lp_task_stat(pid_t tid, struct lp_task_stat *out);
int lp_task_status(pid_t tid, struct lp_task_status *out);
int lp_task_where(pid_t tid, struct lp_task_where *out);
int lp_task_comm(pid_t tid, char *out, size_t size);
/* Is a signal on its way that would have interrupted the thread without us?  `taken` was dequeued already. */
bool lp_task_interrupted(pid_t tid, int taken);
/* Pure parsers, for the tests. */
int lp_task_stat_parse(const char *text, struct lp_task_stat *out);
void lp_task_status_parse(const char *text, struct lp_task_status *out);
int lp_task_where_parse(const char *text, struct lp_task_where *out);

/* ---- trace.c ---- */
enum lp_event_kind {
	LP_EV_NONE,    /* deadline passed */
	LP_EV_TRAP,    /* PTRACE_EVENT_STOP: interrupted, or newly born */
	LP_EV_GROUP,   /* PTRACE_EVENT_STOP inside a job-control stop */
	LP_EV_SIGNAL,  /* about to take `signal` */
	LP_EV_SYSCALL, /* entering or leaving a system call */
	LP_EV_CLONE,   /* made a task, `message` is its tid */
	LP_EV_EXEC,    /* replaced its program: seen only when asked for */
	LP_EV_GONE,    /* exited, or replaced by another thread's exec */
};
struct lp_event {
	enum lp_event_kind kind;
	int signal;
	int message;
};

uint64_t lp_now(void); /* ns, CLOCK_MONOTONIC */
uint64_t lp_deadline(unsigned ms);

int lp_trace_seize(pid_t tid, unsigned long options); /* 0 or -errno */
int lp_trace_interrupt(pid_t tid);
int lp_trace_detach(pid_t tid, int signal);
int lp_trace_syscall(pid_t tid, int signal); /* go on to the next syscall-stop */
int lp_trace_cont(pid_t tid, int signal);
int lp_trace_regs(pid_t tid, struct lp_tregs *out);
int lp_trace_set_regs(pid_t tid, const struct lp_tregs *r);
/* False when the deadline passed; deadline 0 looks once. */
int lp_trace_vectors(pid_t tid, int set, struct lp_vectors *out);
int lp_trace_set_vectors(pid_t tid, int set, const struct lp_vectors *v);
int lp_trace_sigmask(pid_t tid, uint64_t *out);
bool lp_trace_wait(pid_t tid, uint64_t deadline, struct lp_event *out);
/* reaper.c: around the stop of threads, of which some may be seized already. */
void lp_reaper_begin(struct lp_proc *p);
void lp_reaper_end(struct lp_proc *p);
void lp_reaper_close(struct lp_proc *p);
void lp_hush_begin(struct lp_hush *h);
void lp_hush_end(const struct lp_hush *h);
/* What to do between two looks: `tries` counts them, `missing` the threads that are still to stop. */
void lp_trace_nap(unsigned tries, size_t missing);
static inline uint64_t lp_signal_bit(int signal)
{
	return UINT64_C(1) << (signal - 1);
}

/* Is a signal outside the set `blocked` queued for the stopped thread, or (PTRACE_PEEKSIGINFO_SHARED) its process?  1, 0,
 * or -errno when nobody can tell. */
int lp_trace_queued(pid_t tid, uint32_t flags, uint64_t blocked);
/* A stopped thread that goes on now would take a signal for the process from the leader, which was woken for it.  Waits
 * for the leader to take it, a while; what the leader blocks it will not take. */
void lp_trace_let_signal_pass(pid_t tid, uint64_t blocked_by_leader);
/* The one syscall-stop question: 1 leaving, 0 entering, negative unknown. */
int lp_trace_leaving(pid_t tid);
/* Where a stopped thread's rseq area keeps the address of its critical section's descriptor; 0 = none registered. */
lp_addr lp_trace_rseq(pid_t tid);
/* The abort handler, when pc is inside the critical section described at cs_at (0 = none), else 0. */
lp_addr lp_trace_rseq_abort(pid_t tid, lp_addr cs_at, lp_addr pc);
/* Wait until the thread stands in an event stop; signals that come first are passed on. */
enum lp_event_kind lp_trace_halt(pid_t tid, uint64_t deadline);

/* Is the EINTR in the registers of our making?  `taken`: the signal the thread was stopped on its way to; `group`: it
 * is in a job-control stop, which makes calls return EINTR by itself. */
bool lp_trace_our_eintr(const struct lp_arch *arch, pid_t tid, const struct lp_tregs *r, int taken, bool group);
/* Detach; a signal it was on its way to is delivered, EINTR that our stop caused is undone. */
int lp_trace_release(const struct lp_arch *arch, pid_t tid, const struct lp_tregs *r, int taken, bool group);

/* Remember a thread that we could not let go of; let go of those that have stopped or died by now. */
void lp_late_add(struct lp_proc *p, pid_t tid);
void lp_late_settle(struct lp_proc *p, uint64_t deadline);
bool lp_late_has(const struct lp_proc *p, pid_t tid);

/* ---- mem.c ---- */
/* Writes that respect the target's protections (a stack block must not land in a guard page). */
int lp_mem_write_honest(pid_t tid, lp_addr at, const void *data, size_t len);
bool lp_mem_readable(pid_t tid, lp_addr at);
int lp_mem_copy(pid_t tid, lp_addr at, void *data, size_t len); /* process_vm_readv: for a stopped thread */

/* ---- seccomp.c ---- */
/* Would the filters of this (stopped) thread let these calls pass, or fail at worst?  `ip`: behind the call. */
bool lp_seccomp_spares(struct lp_proc *p, pid_t tid, const struct lp_call *calls, size_t nr, lp_addr ip);
/* One filter on one call: the SECCOMP_RET_ value. */
struct sock_filter;
struct seccomp_data;
uint32_t lp_seccomp_run(const struct sock_filter *code, size_t len, const struct seccomp_data *data);

/* ---- stub.c ---- */
/* A place that holds `text` (written now if need be) within its reach of pc. */
int lp_stub_place(struct lp_proc *p, const struct lp_stub_text *text, lp_addr pc, lp_addr *at, struct lp_err *err);
bool lp_stub_has(const struct lp_proc *p, lp_addr pc);
/* Look for the places once; afterwards lp_stub_has() knows the stubs of earlier livepatches too. */
int lp_stub_sites(struct lp_proc *p, struct lp_err *err);

/* ---- exec.c ---- */
/* Does a thread whose program counter is this wait at its program's entry point?  It has no frames, and can be in
 * nobody's way; libraries are ready, a static program's own library is not. */
bool lp_exec_is_held(struct lp_proc *p, lp_addr pc);

/* ---- modules.c ---- */
/* A new descriptor of the file of an image, or -1 when it was read from memory. */
int lp_image_reopen(struct lp_proc *p, size_t image);
/* The image whose segments hold an address; negative = none. */
int lp_image_of(const struct lp_proc *p, lp_addr at);

/* ---- stop.c ---- */
/* The writable mapping around an address, as of the last pause; NULL = none. */
const struct lp_range *lp_stack_bounds(const struct lp_proc *p, lp_addr at);
/* Read the bounds of stacks anew. */
int lp_stack_learn(struct lp_proc *p, struct lp_err *err);
/* Is this thread on the stack it was born with: the main one, or the one that its thread pointer lies at the end of?
 * Only of such a stack is known that what is below sp is free, and what is above is all there is. */
bool lp_stack_is_home(const struct lp_proc *p, const struct lp_tregs *r);

/* Memory for the copies of a stop, long before it: a megabyte of fresh pages just before would push out of the caches
 * what the pause is about to use (measured: 25 us of 100). */
void lp_stop_reserve(struct lp_proc *p);
/* Registers and stack of one thread that is held already, as lp_stop_all() takes them, so that lp_unwind() works. */
int lp_look_at(struct lp_proc *p, pid_t tid, struct lp_err *err);

/* ---- unwind.c ---- */

/* Report the images to libdw; lp_unwind() does it when it was not done. */
int lp_unwind_prepare(struct lp_proc *p, struct lp_err *err);
void lp_unwind_forget(struct lp_proc *p);

/* ---- known.c ---- */
/* All known code becomes modules of p->dwfl, which is being filled. */
void lp_known_report(struct lp_proc *p);
bool lp_known_holds(const struct lp_proc *p, lp_addr at);

#endif
