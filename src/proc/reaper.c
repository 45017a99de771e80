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
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "proc/state.h"

#define PATIENCE_NS 50000000 /* a seizing takes a microsecond for each thread */

struct lp_reaper {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int task_fd; /* the process's */
	pid_t pid;
	bool seizing, quit; /* under the lock */
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

static struct timespec later(void)
{
	uint64_t ns = lp_now() + PATIENCE_NS;
	return (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
}

static void *run(void *arg)
{
	struct lp_reaper *r = arg;
	pthread_mutex_lock(&r->lock);
	while (!r->quit) {
		struct timespec when = later();
		if (!r->seizing)
			pthread_cond_wait(&r->changed, &r->lock);
		else if (pthread_cond_timedwait(&r->changed, &r->lock, &when) == ETIMEDOUT && r->seizing)
			reap(r);
	}
	pthread_mutex_unlock(&r->lock);
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
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
	lp_free(r);
}

static struct lp_reaper *make(const struct lp_proc *p)
{
	pthread_condattr_t attr;
	struct lp_reaper *r = lp_alloc(sizeof *r);
	r->task_fd = p->task_fd;
	r->pid = p->pid;
	pthread_mutex_init(&r->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&r->changed, &attr);
	pthread_condattr_destroy(&attr);
	if (start(r) == 0)
		return r;
	release(r);
	return NULL;
}

/* That a stop has ended is said in a pause, where waking somebody takes too long: the thread sees it when its patience ends. */
static void tell(struct lp_reaper *r, bool seizing, bool quit)
{
	pthread_mutex_lock(&r->lock);
	r->seizing = seizing;
	r->quit = quit;
	if (seizing || quit)
		pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

/* Without a thread, where none can be made, it is as without this file. */
void lp_reaper_begin(struct lp_proc *p)
{
	if (!p->reaper && lp_tasks_count(p) > 1)
		p->reaper = make(p);
	if (p->reaper)
		tell(p->reaper, true, false);
}

void lp_reaper_end(struct lp_proc *p)
{
	if (p->reaper)
		tell(p->reaper, false, false);
}

void lp_reaper_close(struct lp_proc *p)
{
	if (!p->reaper)
		return;
	tell(p->reaper, false, true);
	pthread_join(p->reaper->thread, NULL);
	release(p->reaper);
	p->reaper = NULL;
}
