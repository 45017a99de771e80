/*
 * The program that livepatch is killed over: it would notice a wrong register,
 * a lost system call or half a jump.
 *
 *     spin    integer and vector arithmetic in registers, checked against memory; calls what gets patched
 *     nap     nanosleep in a loop; EINTR or an early return is an error
 *     wait    futex with a long timeout; EINTR is an error
 *     main    read(0), the last kind of blocked thread, and the only one that talks:
 *             "?\n" is answered by "ok <counter> <behaviour>\n", or "wrong <what>\n" for ever after a failed check
 *
 * <behaviour> has one letter for each thing the patch changes, `o` old, `n` new,
 * `?` neither: the functions count_up and name_it, and the pointer message.
 * No malloc after the start, so that the maps change only when a patch changes them.
 */
#include <emmintrin.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Not inlined, cloned, or known to its callers. */
#if __has_attribute(noipa)
#define PATCHED __attribute__((noipa))
#else
#define PATCHED __attribute__((noinline, optnone))
#endif

int count_up(int n);
const char *name_it(int n);

const char *message = "old message";
static _Atomic unsigned long counter;
static _Atomic(const char *) wrong;

PATCHED int count_up(int n)
{
	return n + 1;
}

PATCHED const char *name_it(int n)
{
	return n < 0 ? "negative" : "old name";
}

static void check(int right, const char *what)
{
	if (!right)
		atomic_store(&wrong, what);
}

static char behaviour_of_count_up(void)
{
	int n = count_up(40);

	return n == 41 ? 'o' : n == 42 ? 'n' : '?';
}

static char behaviour_of_text(const char *text)
{
	return !strncmp(text, "old ", 4) ? 'o' : !strncmp(text, "new ", 4) ? 'n' : '?';
}

/* The reference runs in memory, the copy in registers: only the copy can be hurt by a thread that was borrowed. */
static void *spin(void *arg)
{
	volatile uint64_t in_memory = 1;
	uint64_t in_register = 1;
	__m128i vector = _mm_set1_epi32(1);

	(void)arg;
	for (;;) {
		for (int i = 0; i < 1000; i++) {
			in_register = in_register * 6364136223846793005u + 1442695040888963407u;
			in_memory = in_memory * 6364136223846793005u + 1442695040888963407u;
			vector = _mm_add_epi32(vector, _mm_set1_epi32(3));
		}
		int lanes[4];
		_mm_storeu_si128((__m128i *)lanes, vector);
		check(in_register == in_memory, "integer registers");
		check(lanes[0] == lanes[1] && lanes[1] == lanes[2] && lanes[2] == lanes[3], "vector registers");
		check(behaviour_of_count_up() != '?', "count_up");
		check(behaviour_of_text(name_it(1)) != '?', "name_it");
		/* Half of the time asleep: a CPU that is never free makes each of thousands of rounds twice as long. */
		if (atomic_fetch_add(&counter, 1) % 256 == 0)
			nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	return NULL;
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void *nap(void *arg)
{
	const struct timespec two_ms = {.tv_nsec = 2000000};

	(void)arg;
	for (;;) {
		int64_t begin = now_ns();

		check(nanosleep(&two_ms, NULL) == 0, "nanosleep was interrupted");
		check(now_ns() - begin >= two_ms.tv_nsec, "nanosleep returned early");
		check(behaviour_of_count_up() != '?', "count_up");
	}
	return NULL;
}

static void *wait_for_nothing(void *arg)
{
	static uint32_t word;
	const struct timespec day = {.tv_sec = 86400};

	(void)arg;
	for (;;)
		check(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &day, NULL, 0) == 0, "futex was interrupted");
	return NULL;
}

PATCHED static void answer(void)
{
	char line[128];
	int len;

	if (atomic_load(&wrong))
		len = snprintf(line, sizeof line, "wrong %s\n", atomic_load(&wrong));
	else
		len = snprintf(line, sizeof line, "ok %lu %c%c%c\n", atomic_load(&counter), behaviour_of_count_up(),
			       behaviour_of_text(name_it(1)), behaviour_of_text(*(const char *volatile *)&message));
	if (write(STDOUT_FILENO, line, len) != len)
		_exit(1);
}

/* A dead copy of a pointer into the patch, in a hole of a live frame, rightly keeps its memory from being freed. */
PATCHED static void forget_dead_stack(void)
{
	volatile char below[4096];

	for (size_t i = 0; i < sizeof below; i++)
		below[i] = 0;
}

int main(void)
{
	void *(*const kinds[])(void *) = {spin, nap, wait_for_nothing};

	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, kinds[i], NULL))
			return 1;
	}
	for (;;) {
		char c;
		ssize_t got = read(STDIN_FILENO, &c, 1);

		if (got == 0)
			return 0;
		check(got == 1, "read was interrupted");
		if (got == 1 && c == '\n') {
			answer();
			forget_dead_stack();
		}
	}
}
