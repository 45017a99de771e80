/*
 * All guest threads are made to stand still while they compute and wait, again and again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "emu/emu.h"
#include "emu/thread_private.h"
#include "isa/isa.h"

enum { NR_THREADS = 6, ROUNDS = 400, STRIDE = 64, PATIENCE_MS = 60000 };

/* Clones NR_THREADS - 1 threads; each counts in a word of its own (x22), and sleeps for a moment (x23) now and then. */
static const char counting[] = "start: mov x0, #0xf00\n" /* CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND */
			       "movk x0, #5, lsl #16\n"	 /* CLONE_THREAD | CLONE_SYSVSEM */
			       "mov x1, #0\n"
			       "mov x8, #220\n" /* clone */
			       "svc #0\n"
			       "cbz x0, work\n"
			       "add x22, x22, #64\n"
			       "sub x19, x19, #1\n"
			       "cbnz x19, start\n"
			       "work: ldr x1, [x22]\n"
			       "add x1, x1, #1\n"
			       "str x1, [x22]\n"
			       "and x2, x1, #0xfff\n"
			       "cbnz x2, work\n"
			       "mov x0, x23\n"
			       "mov x1, #0\n"
			       "mov x8, #101\n" /* nanosleep */
			       "svc #0\n"
			       "b work\n";

/* Clones two more, and all three make threads and processes that end at once; x22 counts. */
static const char churning[] = "mov x19, #2\n"
			       "start: mov x0, #0xf00\n"
			       "movk x0, #5, lsl #16\n"
			       "mov x1, #0\n"
			       "mov x8, #220\n"
			       "svc #0\n"
			       "cbz x0, work\n"
			       "add x22, x22, #64\n"
			       "sub x19, x19, #1\n"
			       "cbnz x19, start\n"
			       "work: mov x0, #0xf00\n"
			       "movk x0, #5, lsl #16\n"
			       "mov x1, #0\n"
			       "mov x8, #220\n"
			       "svc #0\n"
			       "cbz x0, leave\n"
			       "mov x0, #17\n" /* SIGCHLD: a fork */
			       "mov x1, #0\n"
			       "mov x8, #220\n"
			       "svc #0\n"
			       "cbz x0, leave\n"
			       "mov x1, #0\n"
			       "mov x2, #0x40000000\n" /* __WALL */
			       "mov x3, #0\n"
			       "mov x8, #260\n" /* wait4 */
			       "svc #0\n"
			       "ldr x1, [x22]\n"
			       "add x1, x1, #1\n"
			       "str x1, [x22]\n"
			       "b work\n"
			       "leave: mov x0, #0\n"
			       "mov x8, #93\n" /* exit */
			       "svc #0\n";

enum { WORK = 9 * 4, COUNT = WORK + 4, STORED = WORK + 12, CODE_MAX = 256 };

struct world {
	struct lp_emu *emu;
	struct lp_range code;
	uint64_t data;
	const char *guest;
	void (*control)(struct world *w);
};

static void check(bool right, const char *what)
{
	if (right)
		return;
	fprintf(stderr, "%s\n", what);
	_exit(1);
}

static void write_code(struct world *w)
{
	struct lp_err err = {0};
	uint8_t bytes[CODE_MAX];
	size_t len;

	check(!lp_isa_of(EM_AARCH64)->assemble(w->guest, w->code.start, NULL, bytes, sizeof bytes, &len, &err),
	      err.text);
	check(lp_mem_write(w->code.start, bytes, len) == 0, "no memory for code");
	w->code.end = w->code.start + len;
}

static void *run_control(void *arg)
{
	struct world *w = arg;

	lp_signals_keep_out();
	w->control(w);
	_exit(0);
}

static void run_world(struct world *w)
{
	static const uint64_t moment[2] = {0, 20000};
	struct lp_emu_options options = {0};
	struct lp_err err = {0};
	struct lp_cpu *cpu;
	pthread_t thread;

	w->emu = lp_emu_new(&options, &err);
	check(w->emu != NULL, err.text);
	w->code.start =
		lp_mem_map(w->emu, 0, LP_GUEST_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	w->data = lp_mem_map(w->emu, 0, LP_GUEST_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	write_code(w);
	lp_mem_write(w->data + LP_GUEST_PAGE - sizeof moment, moment, sizeof moment);
	lp_mem_protect(w->emu, w->code.start, LP_GUEST_PAGE, PROT_READ | PROT_EXEC);
	cpu = &w->emu->main->cpu;
	cpu->pc = w->code.start;
	cpu->x[19] = NR_THREADS - 1;
	cpu->x[22] = w->data;
	cpu->x[23] = w->data + LP_GUEST_PAGE - sizeof moment;
	check(pthread_create(&thread, NULL, run_control, w) == 0, "no thread");
	lp_guest_thread_run(w->emu->main);
}

static uint64_t sum(struct world *w)
{
	uint64_t all = 0, one;

	for (int i = 0; i < NR_THREADS; i++) {
		lp_mem_get(w->data + (uint64_t)i * STRIDE, &one);
		all += one;
	}
	return all;
}

static unsigned threads_that_stand(struct world *w)
{
	unsigned nr = 0;

	for (struct lp_guest_thread *t = lp_guest_threads(w->emu); t; t = t->next, nr++)
		check(lp_range_has(w->code, t->cpu.pc), "a thread is outside of the code");
	return nr;
}

static void look_while_stopped(struct world *w)
{
	uint64_t before = sum(w);

	threads_that_stand(w);
	for (int i = 0; i < 20; i++)
		sched_yield();
	check(sum(w) == before, "somebody counted in a world that is stopped");
}

static void stop_again_and_again(struct world *w)
{
	uint64_t begin = sum(w);
	unsigned nr = 0;

	for (int i = 0; i < ROUNDS; i++) {
		check(lp_threads_stop(w->emu, PATIENCE_MS) == 0, "the world does not stop");
		look_while_stopped(w);
		if (i % 3 == 0)
			lp_block_invalidate(w->emu->blocks, w->code);
		if (i % 9 == 0)
			lp_blocks_reclaim(w->emu->blocks);
		nr = threads_that_stand(w);
		lp_threads_go(w->emu);
		if (i % 5 == 0)
			sched_yield();
	}
	while (nr < NR_THREADS || sum(w) == begin) {
		check(lp_threads_stop(w->emu, PATIENCE_MS) == 0, "the world does not stop");
		nr = threads_that_stand(w);
		lp_threads_go(w->emu);
		sched_yield();
	}
}

static void *stop_too(void *arg)
{
	lp_signals_keep_out();
	stop_again_and_again(arg);
	return NULL;
}

static void two_stop(struct world *w)
{
	pthread_t other;

	check(pthread_create(&other, NULL, stop_too, w) == 0, "no thread");
	stop_again_and_again(w);
	pthread_join(other, NULL);
}

/* Instructions change while nobody executes them: from then on every thread counts by four. */
static void change_code(struct world *w)
{
	uint32_t add_4 = 0x91001021; /* add x1, x1, #4 */
	uint64_t one;

	stop_again_and_again(w);
	check(lp_threads_stop(w->emu, PATIENCE_MS) == 0, "the world does not stop");
	for (int i = 0; i < NR_THREADS; i++) {
		one = 0;
		lp_mem_put(w->data + (uint64_t)i * STRIDE, &one);
	}
	for (struct lp_guest_thread *t = lp_guest_threads(w->emu); t; t = t->next)
		if (lp_range_has((struct lp_range){w->code.start + WORK, w->code.start + STORED}, t->cpu.pc))
			t->cpu.pc = w->code.start + WORK;
	check(lp_mem_poke(w->emu, w->code.start + COUNT, &add_4, sizeof add_4) == 0, "no poke");
	lp_block_invalidate(w->emu->blocks, w->code);
	lp_blocks_reclaim(w->emu->blocks);
	lp_threads_go(w->emu);
	stop_again_and_again(w);
	lp_threads_stop(w->emu, PATIENCE_MS);
	for (int i = 0; i < NR_THREADS; i++) {
		lp_mem_get(w->data + (uint64_t)i * STRIDE, &one);
		check(one % 4 == 0, "old code was executed after the change");
	}
}

/* Until there have been some of them. */
static void stop_while_they_come_and_go(struct world *w)
{
	for (int i = 0; i < ROUNDS || sum(w) < 60; i++) {
		check(lp_threads_stop(w->emu, PATIENCE_MS) == 0, "the world does not stop");
		look_while_stopped(w);
		lp_threads_go(w->emu);
		if (i % 2)
			sched_yield();
	}
}

/* Some thread always has the list of threads in its hands: a child must not be left with it. */
static void hold_the_list_while_they_fork(struct world *w)
{
	time_t end = time(NULL) + PATIENCE_MS / 1000;

	while (sum(w) < 60) {
		pthread_mutex_lock(&w->emu->threads_lock);
		for (int i = 0; i < 20; i++)
			sched_yield();
		pthread_mutex_unlock(&w->emu->threads_lock);
		sched_yield();
		check(time(NULL) < end, "a child does not end");
	}
}

static long sleeps_of_this_thread(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

enum { NR_STUCK = 8 };

struct stopper {
	struct world *world;
	_Atomic int tid;
	long sleeps;
};

static void *stop_once(void *arg)
{
	struct stopper *s = arg;

	lp_signals_keep_out();
	s->sleeps = -sleeps_of_this_thread();
	s->tid = gettid();
	check(lp_threads_stop(s->world->emu, PATIENCE_MS) == 0, "the world does not stop");
	s->sleeps += sleeps_of_this_thread();
	lp_threads_go(s->world->emu);
	return NULL;
}

static bool sleeps(int tid)
{
	char path[64], text[512];
	FILE *f;
	size_t len;

	snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
	f = fopen(path, "re");
	check(f != NULL, "the stopper is gone");
	len = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[len] = 0;
	return strstr(text, ") S ") != NULL;
}

/* All threads are there.  No translation is dropped: to clear those away, guest threads stop the world, without an end. */
static void let_all_begin(struct world *w)
{
	uint64_t one = 0;

	for (int i = 0; i < NR_THREADS; i++)
		while (lp_mem_get(w->data + (uint64_t)i * STRIDE, &one) == 0 && one == 0)
			sched_yield();
}

/* One after the other stands still, and the stopper has the time to notice. */
static void count_sleeps(struct world *w)
{
	static struct lp_guest_thread stuck[NR_STUCK];
	struct stopper s = {.world = w};
	pthread_t thread;

	let_all_begin(w);
	for (int i = 0; i < NR_STUCK; i++) {
		stuck[i].cpu.emu = w->emu;
		lp_guest_thread_link(&stuck[i]);
	}
	check(pthread_create(&thread, NULL, stop_once, &s) == 0, "no thread");
	for (int i = 0; i < NR_STUCK; i++) {
		while (!s.tid || atomic_load(&w->emu->awaited) != (uint32_t)(NR_STUCK - i) || !sleeps(s.tid))
			sched_yield();
		lp_thread_enter_host(&stuck[i]);
	}
	pthread_join(thread, NULL);
	check(s.sleeps >= 1 && s.sleeps <= 3, "the stopper is woken for nothing"); /* once, but for locks */
	for (int i = 0; i < NR_STUCK; i++)
		lp_guest_thread_unlink(&stuck[i]);
}

static void stop_and_go(struct world *w)
{
	check(lp_threads_stop(w->emu, PATIENCE_MS) == 0, "the world does not stop");
	check(atomic_load(&w->emu->awaited) == 0, "somebody is waited for who stands still");
	lp_threads_go(w->emu);
}

/* One comes that never comes to a boundary: into a system call it goes in the end, or it ends. */
static void give_up_and_try_again(struct world *w)
{
	static struct lp_guest_thread stuck;

	let_all_begin(w);
	stuck.cpu.emu = w->emu;
	lp_guest_thread_link(&stuck);
	for (int i = 0; i < 3; i++)
		check(lp_threads_stop(w->emu, 5) == -ETIMEDOUT, "a thread that runs stands still");
	lp_thread_enter_host(&stuck);
	stop_and_go(w);
	lp_thread_leave_host(&stuck);
	check(lp_threads_stop(w->emu, 5) == -ETIMEDOUT, "a thread that runs again stands still");
	lp_guest_thread_unlink(&stuck);
	stop_and_go(w);
	stop_again_and_again(w);
}

/* The threads and the control thread end with the process that they are in. */
static void in_a_world(const char *guest, void (*control)(struct world *w))
{
	struct world w = {.guest = guest, .control = control};
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0)
		run_world(&w);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void every_thread_stands_still_between_stop_and_go(void **state)
{
	in_a_world(counting, stop_again_and_again);
}

static void two_who_stop_the_world_take_turns(void **state)
{
	in_a_world(counting, two_stop);
}

static void the_stopper_is_woken_by_the_last_thread_alone(void **state)
{
	in_a_world(counting, count_sleeps);
}

static void a_thread_that_was_waited_for_in_vain_is_waited_for_again(void **state)
{
	in_a_world(counting, give_up_and_try_again);
}

static void code_that_is_changed_in_a_stopped_world_is_never_executed_as_it_was(void **state)
{
	in_a_world(counting, change_code);
}

static void threads_and_processes_come_and_go_between_stops(void **state)
{
	in_a_world(churning, stop_while_they_come_and_go);
}

static void a_child_is_not_left_with_a_lock_that_another_thread_holds(void **state)
{
	in_a_world(churning, hold_the_list_while_they_fork);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_thread_stands_still_between_stop_and_go),
		cmocka_unit_test(two_who_stop_the_world_take_turns),
		cmocka_unit_test(the_stopper_is_woken_by_the_last_thread_alone),
		cmocka_unit_test(a_thread_that_was_waited_for_in_vain_is_waited_for_again),
		cmocka_unit_test(code_that_is_changed_in_a_stopped_world_is_never_executed_as_it_was),
		cmocka_unit_test(threads_and_processes_come_and_go_between_stops),
		cmocka_unit_test(a_child_is_not_left_with_a_lock_that_another_thread_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
