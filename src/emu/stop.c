/*
 * All guest threads stand still.
 *
 * The stopper sets emu->stopping, then LP_POLL_PARK and AWAITED of each thread
 * that is RUNNING, and counts those in emu->awaited.  Whoever comes to stand
 * still and finds that it is AWAITED takes itself off that number; the last one
 * wakes the stopper, which sleeps on it.  So it is woken once, not once for each
 * thread.
 *
 * A thread that goes RUNNING looks at emu->stopping afterwards, the stopper at
 * states after it has set that: one of the two sees what the other has done.
 * Either the thread does not run, or it is counted.
 *
 * The number is that of AWAITED threads, always, and not only while somebody
 * stops the world: who gave up waiting leaves them as they are, and the next one
 * need not count them again.  While the stopper counts it is one more, so that
 * nobody is the last one before he has.  A thread that comes to the list later
 * is counted by its parent (lp_thread_join_stop()), which is counted itself; one
 * that leaves it stands still for ever.
 *
 * Everybody but the stopper sleeps on emu->stopping.  No thread stands still with
 * one of our locks in its hands, so that the stopper may take any of them.
 */
#include <errno.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#include "emu/emu.h"
#include "emu/fp.h"
#include "emu/thread_private.h"

/*
 * As long as to wake a thread whose processor has gone to sleep takes twice.  Where those who are waited for, and those who
 * wait, have a processor each, they wait for each other so long without the kernel.
 */
enum { SPIN_NS = 40000, SPINS_A_LOOK = 32 };

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Until the word is 0, or it takes too long. */
static void spin(const _Atomic uint32_t *word)
{
	uint64_t until = now_ns() + SPIN_NS;

	do
		for (unsigned i = 0; i < SPINS_A_LOOK; i++) {
			if (atomic_load_explicit(word, memory_order_acquire) == 0)
				return;
			__builtin_ia32_pause();
		}
	while (now_ns() < until);
}

/* Processors that we may run on. */
static unsigned nr_processors(void)
{
	static atomic_uint known;
	unsigned nr = atomic_load_explicit(&known, memory_order_relaxed);
	cpu_set_t set;

	if (nr == 0) {
		nr = sched_getaffinity(0, sizeof set, &set) ? 1 : (unsigned)CPU_COUNT(&set);
		atomic_store_explicit(&known, nr, memory_order_relaxed);
	}
	return nr;
}

/* Shared: a vfork child, which is another process, waits in the same memory. */
static int futex_wait(_Atomic uint32_t *word, uint32_t value, const struct timespec *until)
{
	long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value, until, NULL, FUTEX_BITSET_MATCH_ANY);

	return rc ? -errno : 0;
}

static void futex_wake(_Atomic uint32_t *word, int nr)
{
	syscall(SYS_futex, word, FUTEX_WAKE, nr);
}

static void await_one_less(struct lp_emu *emu)
{
	if (atomic_fetch_sub(&emu->awaited, 1) == 1)
		futex_wake(&emu->awaited, 1);
}

static void stand(struct lp_guest_thread *t, enum lp_thread_state state)
{
	t->cpu.fpsr = lp_fpsr_read(&t->cpu); /* what is in MXCSR nobody else can see */
	if (atomic_exchange(&t->state, state) == LP_THREAD_AWAITED)
		await_one_less(t->cpu.emu);
}

/* Who does not see us among the sleepers has set emu->stopping to 0 before we came: the kernel does not let us sleep then. */
static void sleep_until_go(struct lp_emu *emu)
{
	atomic_fetch_add(&emu->sleepers, 1);
	while (atomic_load(&emu->stopping))
		futex_wait(&emu->stopping, 1, NULL);
	atomic_fetch_sub(&emu->sleepers, 1);
}

/* Until nobody holds the world, and we are RUNNING. */
static void resume(struct lp_guest_thread *t)
{
	struct lp_emu *emu = t->cpu.emu;

	for (;;) {
		if (atomic_load_explicit(&emu->stops_few, memory_order_relaxed))
			spin(&emu->stopping);
		if (atomic_load(&emu->stopping))
			sleep_until_go(emu);
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

/* Its poll word first: what is awaited has been asked. */
static void await(struct lp_emu *emu, struct lp_guest_thread *t)
{
	uint32_t running = LP_THREAD_RUNNING;

	atomic_fetch_or(&t->cpu.poll, LP_POLL_PARK);
	atomic_fetch_add(&emu->awaited, 1);
	if (!atomic_compare_exchange_strong(&t->state, &running, LP_THREAD_AWAITED))
		await_one_less(emu);
}

void lp_thread_join_stop(struct lp_guest_thread *t)
{
	struct lp_emu *emu = t->cpu.emu;

	if (atomic_load(&emu->stopping))
		await(emu, t);
}

static void await_all(struct lp_emu *emu, const struct lp_guest_thread *except)
{
	atomic_fetch_add(&emu->awaited, 1);
	pthread_mutex_lock(&emu->threads_lock);
	for (struct lp_guest_thread *t = emu->threads; t; t = t->next)
		if (t != except)
			await(emu, t);
	pthread_mutex_unlock(&emu->threads_lock);
	await_one_less(emu);
}

void lp_threads_leave_code(struct lp_emu *emu)
{
	pthread_mutex_lock(&emu->threads_lock);
	for (struct lp_guest_thread *t = emu->threads; t; t = t->next)
		atomic_fetch_or(&t->cpu.poll, LP_POLL_CODE);
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
	uint32_t awaited;
	int rc = 0;

	/* While it waits for its turn a guest thread counts as standing still; with its turn nobody else stops the world. */
	if (self)
		stand(self, LP_THREAD_IN_HOST);
	pthread_mutex_lock(&emu->stop_lock);
	if (self)
		atomic_store(&self->state, LP_THREAD_RUNNING);
	atomic_store(&emu->stopping, 1);
	await_all(emu, self);
	awaited = atomic_load(&emu->awaited);
	atomic_store_explicit(&emu->stops_few, awaited < nr_processors(), memory_order_relaxed);
	if (awaited < nr_processors())
		spin(&emu->awaited);
	while ((awaited = atomic_load(&emu->awaited)) != 0) {
		if (rc == -ETIMEDOUT) {
			lp_threads_go(emu);
			return rc;
		}
		rc = futex_wait(&emu->awaited, awaited, timeout_ms ? &until : NULL);
	}
	return 0;
}

bool lp_threads_are_asleep(const struct lp_emu *emu)
{
	return atomic_load(&emu->sleepers) != 0;
}

void lp_threads_go(struct lp_emu *emu)
{
	atomic_store(&emu->stopping, 0);
	if (lp_threads_are_asleep(emu))
		futex_wake(&emu->stopping, INT32_MAX);
	pthread_mutex_unlock(&emu->stop_lock);
}

struct lp_guest_thread *lp_guest_threads(struct lp_emu *emu)
{
	return emu->threads;
}
