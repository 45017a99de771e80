/*
 * The floor under every pause: stop all threads of a process and let them go,
 * doing nothing in between.
 *
 *     pause [--fifo] PID ROUNDS      one line per round: ns from the first interrupt to the last detach
 *
 * Seizing does not stop anyone and is not in the figure, as it is not in the
 * tool's.  --fifo runs the window at real-time priority: detaching a thread
 * wakes it, and on few CPUs the woken preempt the one who wakes the others.
 */
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

enum { THREADS_MAX = 100000 };

static pid_t threads[THREADS_MAX];
static size_t nr_threads;

static void die(const char *what)
{
	fprintf(stderr, "pause: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * UINT64_C(1000000000) + t.tv_nsec;
}

static void list_threads(const char *pid)
{
	char path[64];
	struct dirent *d;

	snprintf(path, sizeof path, "/proc/%s/task", pid);
	DIR *dir = opendir(path);
	if (!dir)
		die(path);
	nr_threads = 0;
	while ((d = readdir(dir)) && nr_threads < THREADS_MAX)
		if (d->d_name[0] != '.')
			threads[nr_threads++] = atoi(d->d_name);
	closedir(dir);
}

static void seize_all(void)
{
	for (size_t i = 0; i < nr_threads; i++)
		if (ptrace(PTRACE_SEIZE, threads[i], NULL, NULL))
			die("seize");
}

static void interrupt_all(void)
{
	for (size_t i = 0; i < nr_threads; i++)
		if (ptrace(PTRACE_INTERRUPT, threads[i], NULL, NULL))
			die("interrupt");
}

static void wait_all(void)
{
	for (size_t i = 0; i < nr_threads; i++)
		if (waitpid(threads[i], NULL, __WALL) != threads[i])
			die("wait");
}

static void detach_all(void)
{
	for (size_t i = 0; i < nr_threads; i++)
		if (ptrace(PTRACE_DETACH, threads[i], NULL, NULL))
			die("detach");
}

static uint64_t pause_once(bool fifo)
{
	const struct sched_param high = {.sched_priority = 1}, normal = {0};
	uint64_t begin, end;

	seize_all();
	if (fifo && sched_setscheduler(0, SCHED_FIFO, &high))
		die("real-time priority");
	begin = now_ns();
	interrupt_all();
	wait_all();
	detach_all();
	end = now_ns();
	if (fifo)
		sched_setscheduler(0, SCHED_OTHER, &normal);
	return end - begin;
}

int main(int argc, char **argv)
{
	bool fifo = argc > 1 && !strcmp(argv[1], "--fifo");

	argc -= fifo;
	argv += fifo;
	if (argc != 3) {
		fputs("usage: pause [--fifo] PID ROUNDS\n", stderr);
		return 2;
	}
	list_threads(argv[1]);
	for (long i = atol(argv[2]); i > 0; i--)
		printf("%lu\n", (unsigned long)pause_once(fifo));
	return 0;
}
