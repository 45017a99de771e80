/*
 * One thread in each kind of wait, again and again; each checks that the wait
 * was neither interrupted nor shortened.
 *
 *     ask          ok <waits finished, of the kind with the fewest> | wrong: <what>
 *     continued    the same, without the kind that begins anew after a stop
 *     call         func_J's answer
 */
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>

#include "e2e_serve.h"

#define WAIT_MS 100

const char *func_J(int n);

static _Atomic(const char *) wrong;
static int silent_pipe[2], talking_pipe[2], epoll_fd;

PATCHED const char *func_J(int n)
{
	return n < 0 ? "negative" : "original J";
}

static int wait_nanosleep(void)
{
	return nanosleep(&(struct timespec){.tv_nsec = WAIT_MS * 1000000}, NULL);
}

static int wait_poll(void)
{
	return poll(&(struct pollfd){.fd = silent_pipe[0], .events = POLLIN}, 1, WAIT_MS);
}

static int wait_futex(void)
{
	static uint32_t word;
	long rc = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &(struct timespec){.tv_nsec = WAIT_MS * 1000000},
			  NULL, 0);

	return rc < 0 && errno == ETIMEDOUT ? 0 : -1;
}

static int wait_epoll(void)
{
	struct epoll_event event;

	return epoll_wait(epoll_fd, &event, 1, WAIT_MS);
}

/* The other end writes after WAIT_MS. */
static int wait_read(void)
{
	char c;

	return read(talking_pipe[0], &c, 1) == 1 ? 0 : -1;
}

static struct kind {
	const char *name;
	int (*wait)(void);
	bool timed;
	bool anew; /* the kernel does not tell a tracer how long it has waited */
	_Atomic unsigned long finished;
} kinds[] = {
	{"nanosleep", wait_nanosleep, .timed = true}, {"poll", wait_poll, .timed = true},
	{"futex", wait_futex, .timed = true},	      {"epoll_wait", wait_epoll, .timed = true, .anew = true},
	{.name = "read", .wait = wait_read},
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static void *block(void *arg)
{
	struct kind *kind = arg;

	for (;;) {
		int64_t begin = now_ms();

		if (kind->wait())
			atomic_store(&wrong, kind->name);
		if (kind->timed && now_ms() - begin + 1 < WAIT_MS)
			atomic_store(&wrong, kind->name);
		func_J(1);
		atomic_fetch_add(&kind->finished, 1);
	}
	return NULL;
}

static void *feed_reader(void *arg)
{
	for (;;) {
		wait_nanosleep();
		if (write(talking_pipe[1], "x", 1) != 1)
			_exit(1);
	}
	return NULL;
}

static unsigned long fewest_finished(bool anew)
{
	unsigned long fewest = ULONG_MAX;

	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		if (kinds[i].finished < fewest && (anew || !kinds[i].anew))
			fewest = kinds[i].finished;
	}
	return fewest;
}

static void answer(char *request)
{
	if (atomic_load(&wrong) || atomic_load(&interrupted_calls))
		say("wrong: %s", atomic_load(&wrong) ? atomic_load(&wrong) : "read");
	else if (!strcmp(request, "call"))
		say("%s", func_J(1));
	else
		say("ok %lu", fewest_finished(strcmp(request, "continued") != 0));
}

static void start(void *(*run)(void *), void *arg)
{
	pthread_t t;

	if (pthread_create(&t, NULL, run, arg))
		_exit(1);
}

int main(void)
{
	if (pipe(silent_pipe) || pipe(talking_pipe) || (epoll_fd = epoll_create1(0)) < 0)
		return 1;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, silent_pipe[0], &(struct epoll_event){.events = EPOLLIN});
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		start(block, &kinds[i]);
	start(feed_reader, NULL);
	serve(answer);
	return 0;
}
