#include "own.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "self/private.h"

#define STACK_SIZE (512 << 10)
#define GUARD (64 << 10) /* whole pages of whatever size */

__attribute__((constructor)) static void be_patient(void)
{
	lp_self_patience_ms = OWN_PATIENCE_MS;
}

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
	stack_t handlers;

	/* A sanitizer gives threads a stack for handlers, in one mapping with other memory of its own: see stack_map(). */
	sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, &handlers);
	if (l->deaf)
		go_deaf();
	if (l->stone_deaf)
		go_stone_deaf();
	atomic_store(&l->tid, gettid());
	((int (*)(const volatile int *))(uintptr_t)l->fn)(&l->until);
	atomic_store(&l->result, 1);
	sigaltstack(&handlers, NULL); /* who made it wants it back */
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

/* Of its own, between pages that nobody can touch: where a stack is one mapping with what else there is (a sanitizer's
 * memory), nobody can tell its end, and anything might be on it. */
static void *stack_map(void)
{
	uint8_t *all = mmap(NULL, STACK_SIZE + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(all != MAP_FAILED);
	assert_int_equal(mprotect(all + GUARD, STACK_SIZE, PROT_READ | PROT_WRITE), 0);
	return all + GUARD;
}

static void stack_unmap(void *stack)
{
	munmap((uint8_t *)stack - GUARD, STACK_SIZE + 2 * GUARD);
}

void looper_start(struct looper *l)
{
	pthread_attr_t attr;

	l->stack = stack_map();
	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, l->stack, STACK_SIZE);
	assert_int_equal(pthread_create(&l->thread, &attr, loop, l), 0);
	pthread_attr_destroy(&attr);
	while (!atomic_load(&l->tid) || user_ticks(l->tid) < 2)
		sched_yield();
}

void looper_end(struct looper *l)
{
	l->until = 1;
	pthread_join(l->thread, NULL);
	stack_unmap(l->stack);
	assert_int_equal(l->result, 1);
}
