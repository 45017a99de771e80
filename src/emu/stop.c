/*
 * All guest threads stand still.
 *
 * The stopper sets emu->stopping and LP_POLL_PARK everywhere, and then looks at
 * states until none is RUNNING.  A thread changes its state first and looks at
 * emu->stopping then, the stopper the other way round: one of the two sees what
 * the other has done.  Whoever comes to stand still while somebody waits for it
 * counts emu->stood up, which is what the stopper sleeps on; everybody else sleeps
 * on emu->stopping.
 *
 * No thread stands still with one of our locks in its hands, so that the stopper
 * may take any of them.
 */
#include <errno.h>
#include <time.h>
#include <unistd.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#include "emu/emu.h"
#include "emu/fp.h"

/* Shared: a vfork child, which is another process, waits in the same memory. */
static int futex_wait(_Atomic uint32_t *word, uint32_t value, const struct timespec *until)
{
	long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value, until, NULL, FUTEX_BITSET_MATCH_ANY);

	return rc ? -errno : 0;
}

static void futex_wake_all(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX);
}

static void stand(struct lp_guest_thread *t, enum lp_thread_state state)
{
	struct lp_emu *emu = t->cpu.emu;

	t->cpu.fpsr = lp_fpsr_read(&t->cpu); /* what is in MXCSR nobody else can see */
	atomic_store(&t->state, state);
	if (!atomic_load(&emu->stopping))
		return;
	atomic_fetch_add(&emu->stood, 1);
	futex_wake_all(&emu->stood);
}

/* Until nobody holds the world, and we are RUNNING. */
static void resume(struct lp_guest_thread *t)
{
	struct lp_emu *emu = t->cpu.emu;

	for (;;) {
		while (atomic_load(&emu->stopping))
			futex_wait(&emu->stopping, 1, NULL);
		atomic_fetch_and(&t->cpu.poll, ~(uint32_t)LP_POLL_PARK);
		atomic_store(&t->state, LP_THREAD_RUNNING);
		if (!atomic_load(&emu->stopping))
			break;
		stand(t, LP_THREAD_PARKED);
	}
	lp_fp_begin(&t->cpu); /* FPCR and FPSR may have been written */
}

void lp_thread_enter_host(struct lp_guest_thread *t)
{
	stand(t, LP_THREAD_IN_HOST);
}

void lp_thread_leave_host(struct lp_guest_thread *t)
{
	atomic_store(&t->state, LP_THREAD_RUNNING);
	if (!atomic_load(&t->cpu.emu->stopping))
		return;
	stand(t, LP_THREAD_PARKED);
	resume(t);
}

void lp_thread_park(struct lp_guest_thread *t)
{
	stand(t, LP_THREAD_PARKED);
	resume(t);
}

static bool all_stand(struct lp_emu *emu, const struct lp_guest_thread *except)
{
	bool all = true;

	pthread_mutex_lock(&emu->threads_lock);
	for (const struct lp_guest_thread *t = emu->threads; t && all; t = t->next)
		all = t == except || atomic_load(&t->state) != LP_THREAD_RUNNING;
	pthread_mutex_unlock(&emu->threads_lock);
	return all;
}

static void ask_to_park(struct lp_emu *emu, const struct lp_guest_thread *except)
{
	pthread_mutex_lock(&emu->threads_lock);
	for (struct lp_guest_thread *t = emu->threads; t; t = t->next)
		if (t != except)
			atomic_fetch_or(&t->cpu.poll, LP_POLL_PARK);
	pthread_mutex_unlock(&emu->threads_lock);
}

static struct timespec deadline(unsigned timeout_ms)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	now.tv_sec += timeout_ms / 1000;
	now.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (now.tv_nsec >= 1000000000) {
		now.tv_sec++;
		now.tv_nsec -= 1000000000;
	}
	return now;
}

int lp_threads_stop(struct lp_emu *emu, unsigned timeout_ms)
{
	struct lp_guest_thread *self = lp_guest_self();
	struct timespec until = deadline(timeout_ms);
	int rc = 0;

	/* While it waits for its turn a guest thread counts as standing still; with its turn nobody else stops the world. */
	if (self)
		stand(self, LP_THREAD_IN_HOST);
	pthread_mutex_lock(&emu->stop_lock);
	if (self)
		atomic_store(&self->state, LP_THREAD_RUNNING);
	atomic_store(&emu->stopping, 1);
	ask_to_park(emu, self);
	for (;;) {
		uint32_t stood = atomic_load(&emu->stood);
		if (all_stand(emu, self))
			return 0;
		if (rc == -ETIMEDOUT)
			break;
		rc = futex_wait(&emu->stood, stood, timeout_ms ? &until : NULL);
	}
	lp_threads_go(emu);
	return rc;
}

void lp_threads_go(struct lp_emu *emu)
{
	atomic_store(&emu->stopping, 0);
	futex_wake_all(&emu->stopping);
	pthread_mutex_unlock(&emu->stop_lock);
}

struct lp_guest_thread *lp_guest_threads(struct lp_emu *emu)
{
	return emu->threads;
}
