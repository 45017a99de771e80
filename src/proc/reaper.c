/*
 * Against a deadlock that the kernel leaves to tracers (ptrace(2) does not tell of it).
 *
 * A thread that executes a program holds its process's cred_guard_mutex until all its other threads are no more.  One that we
 * have seized is no more when we have waited for it.  PTRACE_SEIZE of the next thread waits for that mutex: we would wait for the
 * exec, and the exec for us, until somebody kills us.
 *
 * So another thread of ours, which the kernel lets wait for whatever we trace, reaps what has died while a stop takes
 * suspiciously long.  Who waits for such a thread later is told that it is gone (ECHILD), as after any exec.  Not the leader:
 * its exit is its parent's affair, and no exec waits for it to be reaped.
 *
 * The thread is made with the first stop of several threads, before the pause, and sleeps between stops.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"
#include "proc/state.h"

#define PATIENCE_MS 50 /* a seizing takes a microsecond for each thread */
#define IDLE_MS 1000   /* how long nobody notices that the bell could not be rung */

struct lp_reaper {
	pthread_t thread;
	int bell;    /* an eventfd */
	int task_fd; /* the process's */
	pid_t pid;
	pid_t maker; /* a child of fork() has this memory, but not the thread */
	_Atomic bool seizing, quit;
};

static bool has_died(pid_t tid)
{
	siginfo_t info = {0};
	if (waitid(P_PID, (id_t)tid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0 || info.si_pid != tid)
		return false;
	return info.si_code == CLD_EXITED || info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED;
}

static void reap(const struct lp_reaper *r)
{
	siginfo_t info;
	int fd = openat(r->task_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		lp_close(fd);
		return;
	}
	for (struct dirent *d; (d = readdir(dir));) {
		pid_t tid = (pid_t)strtol(d->d_name, NULL, 10);
		if (tid > 0 && tid != r->pid && has_died(tid))
			waitid(P_PID, (id_t)tid, &info, WEXITED | WNOHANG | __WALL);
	}
	closedir(dir);
}

/* True: it was rung. */
static bool wait_for_bell(const struct lp_reaper *r, int timeout_ms)
{
	struct pollfd p = {.fd = r->bell, .events = POLLIN};
	eventfd_t rung;
	return poll(&p, 1, timeout_ms) == 1 && eventfd_read(r->bell, &rung) == 0;
}

static void *run(void *arg)
{
	struct lp_reaper *r = arg;
	while (!atomic_load(&r->quit)) {
		bool seizing = atomic_load(&r->seizing);
		if (!wait_for_bell(r, seizing ? PATIENCE_MS : IDLE_MS) && seizing && atomic_load(&r->seizing))
			reap(r);
	}
	return NULL;
}

/* Takes no signal that is meant for the program around us. */
static int start(struct lp_reaper *r)
{
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int error = pthread_create(&r->thread, NULL, run, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -error;
}

static void release(struct lp_reaper *r)
{
	lp_close(r->bell);
	lp_free(r);
}

static struct lp_reaper *make(const struct lp_proc *p)
{
	struct lp_reaper *r = lp_alloc(sizeof *r);
	r->task_fd = p->task_fd;
	r->pid = p->pid;
	r->maker = getpid();
	r->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->bell >= 0 && start(r) == 0)
		return r;
	release(r);
	return NULL;
}

/* Without a thread, where none can be made, it is as without this file. */
void lp_reaper_begin(struct lp_proc *p)
{
	if (p->reaper && p->reaper->maker != getpid())
		lp_reaper_close(p);
	if (!p->reaper && lp_tasks_count(p) > 1)
		p->reaper = make(p);
	if (!p->reaper)
		return;
	atomic_store(&p->reaper->seizing, true);
	eventfd_write(p->reaper->bell, 1);
}

/* In a pause, where waking somebody takes too long: the thread sees it when its patience ends. */
void lp_reaper_end(struct lp_proc *p)
{
	if (p->reaper)
		atomic_store(&p->reaper->seizing, false);
}

void lp_reaper_close(struct lp_proc *p)
{
	if (!p->reaper)
		return;
	if (p->reaper->maker == getpid()) {
		atomic_store(&p->reaper->quit, true);
		eventfd_write(p->reaper->bell, 1);
		pthread_join(p->reaper->thread, NULL);
	}
	release(p->reaper);
	p->reaper = NULL;
}
