/*
 * One thread in each kind of wait, again and again; each checks that the wait
 * was neither interrupted nor shortened nor stretched.
 *
 *     ask     ok <waits finished> | wrong: <what>
 *     call    func_J's answer
 */
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
#define SLACK_MS \
	400 /* a loaded machine may be late; a wait that was restarted from the beginning each time never ends */

const char *func_J(int n);

static _Atomic unsigned long finished;
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

static const struct kind {
	const char *name;
	int (*wait)(void);
	int timed;
} kinds[] = {
	{"nanosleep", wait_nanosleep, 1}, {"poll", wait_poll, 1}, {"futex", wait_futex, 1},
	{"epoll_wait", wait_epoll, 1},	  {"read", wait_read, 0},
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static void *block(void *arg)
{
	const struct kind *kind = arg;

	for (;;) {
		int64_t begin = now_ms();

		if (kind->wait())
			atomic_store(&wrong, kind->name);
		int64_t took = now_ms() - begin;
		/* The kernel does not tell a tracer how long epoll_wait() has waited: it begins anew. */
		bool late = took > WAIT_MS + SLACK_MS && kind->wait != wait_epoll;
		if (kind->timed && (took + 1 < WAIT_MS || late))
			atomic_store(&wrong, kind->name);
		func_J(1);
		atomic_fetch_add(&finished, 1);
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

static void answer(char *request)
{
	if (atomic_load(&wrong) || atomic_load(&interrupted_calls))
		say("wrong: %s", atomic_load(&wrong) ? atomic_load(&wrong) : "read");
	else if (!strcmp(request, "call"))
		say("%s", func_J(1));
	else
		say("ok %lu", atomic_load(&finished));
}

static void start(void *(*run)(void *), const void *arg)
{
	pthread_t t;

	if (pthread_create(&t, NULL, run, (void *)arg))
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
