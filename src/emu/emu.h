/*
 * An AArch64 Linux program in this process: what the layers above see.
 *
 *     struct lp_emu *emu = lp_emu_new(&options, &err);
 *     rc = lp_emu_load(emu, path, argv, envp, &err);     // maps program and interpreter, builds the stack
 *     lp_emu_run(emu);                                   // ends the process when the guest does
 *
 * One per process: signal dispositions, descriptors and the address space are
 * the process's.  The emulator does not know that live patching exists; it
 * offers to stop all threads (thread.h) and to forget translations (block.h).
 */
#ifndef LP_EMU_EMU_H
#define LP_EMU_EMU_H

#include <pthread.h>

#include "base/err.h"
#include "emu/block.h"
#include "emu/cpu.h"
#include "emu/engine.h"
#include "emu/mem.h"
#include "emu/signals.h"
#include "emu/thread.h"

struct lp_emu_options {
	const char *sysroot; /* -L; NULL = none */
	const char *argv0;   /* -0; NULL = the program's path */
	const char *self;    /* how to execute this runner again; NULL = /proc/self/exe */
	char *const *again;  /* options for children, NULL-terminated: execve of an AArch64 program passes them on */
	bool strace, stats, trace;
	bool branches;	 /* for samples: cpu->branch tells of threads that are stopped where they came from */
	bool smc_strict; /* code that may change without ic ivau is compared with what it was whenever it is come to */
	bool core;	 /* a guest that is ended by a signal leaves core.PID in the current directory */
	bool sees_end;	 /* signals that end the guest come to `exiting`, and to --strace; only SIGKILL does not */
	uint64_t
		caught; /* signals that come to the `signal` event also where the guest leaves them to their default; bit n - 1 */
	uint64_t stack_size; /* bytes; 0 = as the resource limit says */
	int program_fd;	     /* the program is open as this, and closed when it is loaded; 0: it is not */
};

/*
 * What layers above care about; any may be NULL.  Called in the thread that caused it, which may be any guest thread.
 */
struct lp_emu_events {
	void (*mapped)(struct lp_emu *emu, struct lp_range range, void *arg);	/* code or data mapped from a file */
	void (*unmapped)(struct lp_emu *emu, struct lp_range range, void *arg); /* or overwritten by a mapping */
	void (*icache)(struct lp_emu *emu, uint64_t line, void *arg);		/* the guest changed code */
	/* A fork (of a process with memory of its own) begins, before the world stops for it; and has been made or not, in
	 * the parent alone. */
	void (*forking)(struct lp_emu *emu, bool begins, void *arg);
	void (*forked)(struct lp_emu *emu, void *arg); /* in the child */
	/* Only while emu->tells_waits: a system call is about to be made that may block; long: for more than a reader's turn. */
	void (*waits)(struct lp_guest_thread *t, bool is_long, void *arg);
	/* execve is about to end this program; it may yet be refused. */
	void (*executing)(struct lp_emu *emu, void *arg);
	void (*exiting)(struct lp_emu *emu, int status, void *arg); /* negative: by that signal */
	void (*started)(struct lp_guest_thread *t, void *arg);	    /* before its first instruction */
	/* LP_POLL_TRACE: before each instruction; the debugger may keep the thread here. */
	void (*block)(struct lp_guest_thread *t, void *arg);
	/* At a breakpoint (block.h), before its instruction. */
	void (*breakpoint)(struct lp_guest_thread *t, void *arg);
	/* A synchronous fault, before anything is done about it: true when it was dealt with (pc may have changed). */
	bool (*fault)(struct lp_guest_thread *t, void *arg);
	/* A signal is about to be delivered: the one to be delivered in its place, 0 for none. */
	int (*signal)(struct lp_guest_thread *t, const siginfo_t *info, void *arg);
	void *arg;
};
enum { LP_EMU_WATCHERS = 8 };

struct lp_emu {
	struct lp_emu_options options;
	struct lp_blocks *blocks;
	struct lp_address_space *space;	    /* mem.c */
	struct lp_loaded *loaded;	    /* loader.c: program, interpreter, entry, auxv */
	struct lp_process_signals *signals; /* signals.c */
	uint64_t sigreturn; /* guest address of the vDSO's `mov x8, #139; svc #0`, which handlers return to */

	pthread_mutex_t threads_lock;
	struct lp_guest_thread *threads;
	struct lp_guest_thread *main;
	uint64_t ended_insns; /* --stats: executed by threads that are no more; with the lock */

	_Atomic uint32_t stopping; /* futex: 1 while the world is stopped */
	_Atomic bool stops_few;	   /* threads, so that they may wait without sleeping (stop.c) */
	_Atomic uint32_t awaited;  /* futex: threads that are to stand still and do not yet (stop.c) */
	_Atomic uint32_t sleepers; /* threads that sleep until the world goes on, or are about to */
	pthread_mutex_t stop_lock;

	const struct lp_engine *engine; /* NULL: the interpreter alone */
	void *engine_data;

	struct lp_emu_events events[LP_EMU_WATCHERS];
	size_t nr_events;
	atomic_bool tells_waits;
};

struct lp_emu *lp_emu_new(const struct lp_emu_options *options, struct lp_err *err);
/* Where --strace writes, instead of standard error: a file of the runner, which takes it.  0 or -errno. */
int lp_strace_to(int fd);
/* Before it runs; at most LP_EMU_WATCHERS.  Copied. */
void lp_emu_watch(struct lp_emu *emu, const struct lp_emu_events *events);
int lp_emu_load(struct lp_emu *emu, const char *program, char *const *argv, char *const *envp, struct lp_err *err);
void lp_emu_run(struct lp_emu *emu) __attribute__((noreturn));
void lp_emu_free(struct lp_emu *emu); /* of one that never ran */

/* ---- between the files of this folder ---- */

/* Has every watcher that wants to know of `event` told. */
#define lp_emu_tell(emu_, event, ...)                                                        \
	do {                                                                                 \
		struct lp_emu *tell_ = (emu_);                                               \
		for (size_t i_ = 0; i_ < tell_->nr_events; i_++)                             \
			if (tell_->events[i_].event)                                         \
				tell_->events[i_].event(__VA_ARGS__, tell_->events[i_].arg); \
	} while (0)

/* run.c: runs guest code until the thread ends (t->ends). */
void lp_cpu_run(struct lp_cpu *cpu);
/* run.c: one instruction at cpu->pc by the interpreter; cpu->leave is LP_LEAVE_LOOKUP before, and says afterwards how it ended.
 * A host fault of it goes where those of lp_cpu_run() go. */
void lp_cpu_step(struct lp_cpu *cpu);
/* run.c: the same of a block that is executed once (block.h).  How many of its instructions were, or a few more: the last is a
 * branch that was taken, or nothing follows it; 0: none, or not known. */
size_t lp_cpu_run_once(struct lp_cpu *cpu);
/* sys.c: the system call in x8, its result into x0; pc is behind the svc. */
void lp_syscall(struct lp_guest_thread *t);
/* The guest thread that runs on this host thread; NULL on others. */
struct lp_guest_thread *lp_guest_self(void);

#endif
