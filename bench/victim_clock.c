/*
 * The program whose pauses are measured, from its own side: threads that read
 * the clock as fast as they can and keep the longest gap between two readings.
 *
 *     victim_clock READERS SLEEPERS FILE
 *
 * The gaps are in FILE, mapped shared (struct board), so that asking for them
 * wakes no thread of ours.  With one reader and no sleeper the main thread
 * reads, and there is no other; else the main thread waits for requests:
 *
 *     cost N      ns for N calls of bench_0000, each waiting for the one before
 *     calls       how many of the ten thousand functions answer as patched
 *
 * A gap is a pause only where the reader has a CPU to itself: a single reader
 * is pinned to the last CPU, and the tool runs on another.  SLEEPERS wait in a
 * futex, as most threads of a server do.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include <linux/futex.h>

#include "e2e_serve.h"

/* bench_0000 ... bench_9999; the replacement answers with one less. */
/* clang-format off */
#define TEN(M, p) M(p##0) M(p##1) M(p##2) M(p##3) M(p##4) M(p##5) M(p##6) M(p##7) M(p##8) M(p##9)
#define TENS(M, p)   \
	TEN(M, p##0) \
	TEN(M, p##1) \
	TEN(M, p##2) TEN(M, p##3) TEN(M, p##4) TEN(M, p##5) TEN(M, p##6) TEN(M, p##7) TEN(M, p##8) TEN(M, p##9)
#define HUNDREDS(M, p) \
	TENS(M, p##0)  \
	TENS(M, p##1)  \
	TENS(M, p##2) TENS(M, p##3) TENS(M, p##4) TENS(M, p##5) TENS(M, p##6) TENS(M, p##7) TENS(M, p##8) TENS(M, p##9)
#define THOUSANDS(M, p)                                                                                             \
	HUNDREDS(M, p##0)                                                                                           \
	HUNDREDS(M, p##1)                                                                                           \
	HUNDREDS(M, p##2)                                                                                           \
	HUNDREDS(M, p##3) HUNDREDS(M, p##4) HUNDREDS(M, p##5) HUNDREDS(M, p##6) HUNDREDS(M, p##7) HUNDREDS(M, p##8) \
		HUNDREDS(M, p##9)
/* clang-format on */

#define DEFINE(name)                \
	int name(int n);            \
	PATCHED int name(int n)     \
	{                           \
		return (n ^ 5) + 1; \
	}
#define ENTER(name) name,

THOUSANDS(DEFINE, bench_)

int bench_patched(int n);

/* Somewhere for ten thousand jumps to go without loading anything. */
PATCHED int bench_patched(int n)
{
	return n ^ 5;
}

static int (*const functions[])(int) = {THOUSANDS(ENTER, bench_)};

/* One cache line each: a reader's gap since the epoch that it has seen. */
struct reader {
	_Atomic uint64_t longest; /* ns */
	_Atomic uint32_t seen_epoch;
} __attribute__((aligned(64)));

enum { READERS_MAX = 1000 };

/* bench/run increments the epoch to have the gaps forgotten. */
static struct board {
	_Atomic uint32_t epoch;
	struct reader readers[READERS_MAX];
} * board;

static long nr_readers;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * UINT64_C(1000000000) + t.tv_nsec;
}

static void pin_to_last_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &set);
	sched_setaffinity(0, sizeof set, &set);
}

/* Each reader resets itself, so that `longest` has one writer. */
static void *read_clock(void *arg)
{
	struct reader *r = arg;
	uint64_t longest = 0, last;
	uint32_t mine = 0;

	if (nr_readers == 1)
		pin_to_last_cpu();
	last = now_ns();
	for (;;) {
		uint64_t now = now_ns();
		uint32_t current = atomic_load_explicit(&board->epoch, memory_order_relaxed);

		if (current != mine) {
			mine = current;
			longest = 0;
			atomic_store(&r->longest, 0);
			atomic_store(&r->seen_epoch, mine);
		} else if (now - last > longest) {
			longest = now - last;
			atomic_store_explicit(&r->longest, longest, memory_order_relaxed);
		}
		last = now;
	}
	return NULL;
}

static void *sleep_for_ever(void *arg)
{
	static uint32_t word;

	for (;;)
		if (syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) && errno == EINTR)
			atomic_fetch_add(&interrupted_calls, 1);
	return NULL;
}

static void say_cost(long calls)
{
	int x = 1;
	uint64_t begin;

	pin_to_last_cpu();
	begin = now_ns();
	for (long i = 0; i < calls; i++)
		x = bench_0000(x);
	say("%lu %d", (unsigned long)(now_ns() - begin), x);
}

static void say_patched(void)
{
	int patched = 0;

	for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
		patched += functions[i](0) == 5;
	say("%d", patched);
}

static void answer(char *request)
{
	if (!strncmp(request, "cost ", 5))
		say_cost(atol(request + 5));
	else if (!strcmp(request, "calls"))
		say_patched();
	else
		say("%lu", atomic_load(&interrupted_calls));
}

static void start(long count, void *(*run)(void *), struct reader *first)
{
	pthread_attr_t small;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 256 * 1024);
	for (long i = 0; i < count; i++) {
		pthread_t t;

		if (pthread_create(&t, &small, run, first ? first + i : NULL))
			_exit(1);
	}
}

static int map_board(const char *file)
{
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, sizeof *board))
		return -1;
	board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return board == MAP_FAILED ? -1 : 0;
}

int main(int argc, char **argv)
{
	long sleepers;

	if (argc != 4 || map_board(argv[3]))
		return 2;
	nr_readers = atol(argv[1]);
	sleepers = atol(argv[2]);
	if (nr_readers > READERS_MAX)
		return 2;
	if (nr_readers == 1 && !sleepers) {
		say("ready");
		read_clock(board->readers);
	}
	start(nr_readers, read_clock, board->readers);
	start(sleepers, sleep_for_ever, NULL);
	serve(answer);
	return 0;
}
