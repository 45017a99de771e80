#include "own.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

void go_deaf(void)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
}

static void go_stone_deaf(void)
{
	uint64_t all = UINT64_MAX;

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof all);
}

static void *loop(void *arg)
{
	struct looper *l = arg;

	if (l->deaf)
		go_deaf();
	if (l->stone_deaf)
		go_stone_deaf();
	atomic_store(&l->tid, gettid());
	((int (*)(const volatile int *))(uintptr_t)l->fn)(&l->until);
	atomic_store(&l->result, 1);
	return NULL;
}

/* Time that the thread spent in user mode, in ticks; it spends it in the loop. */
static unsigned long user_ticks(int tid)
{
	char path[64], line[512];
	unsigned long ticks = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
	f = fopen(path, "r");
	if (f && fgets(line, sizeof line, f))
		sscanf(line, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu", &ticks);
	if (f)
		fclose(f);
	return ticks;
}

void looper_start(struct looper *l)
{
	assert_int_equal(pthread_create(&l->thread, NULL, loop, l), 0);
	while (!atomic_load(&l->tid) || user_ticks(l->tid) < 2)
		sched_yield();
}

void looper_end(struct looper *l)
{
	l->until = 1;
	pthread_join(l->thread, NULL);
	assert_int_equal(l->result, 1);
}
