/*
 * What a command over the control socket costs who asks.
 *
 *     build/rel/bench/control >bench/results/control.md
 *
 * The server runs in this process, the clients in a child: 200 connections,
 * 100,000 commands.  Each request has a number, each reply has to bring it
 * back, in order: what does not is lost.
 *
 * `paced`: so many commands a second, evenly, whether the replies are there or
 * not; the time for one begins when it was to be sent.  `as fast as it goes`:
 * every connection sends its next when it has its reply, so that the time is
 * that of a queue of 200.  `alone`: one connection does so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/vec.h"
#include "control/control.h"

#define CLIENTS 200
#define COMMANDS 100000
#define MOST_OPEN 4096 /* requests of one connection without their replies */

/* ---- the server ---- */

static int age = 10;

static int run_get(struct lp_call *c, struct lp_err *err)
{
	lp_reply_row(c->reply, "%", LP_INT("value", age));
	return 0;
}

static int set_age(void *change, struct lp_err *err)
{
	age = *(int *)change;
	return 0;
}

static int run_set(struct lp_call *c, struct lp_err *err)
{
	int *value = lp_alloc(sizeof *value);
	*value = (int)strtol(c->argv[0], NULL, 10);
	lp_change_add(c, &(struct lp_change){.commit = set_age, .release = lp_free, .change = value});
	return 0;
}

static const struct lp_command commands[] = {
	{"var get int age", "", LP_LEVEL_READ, run_get, ""},
	{"var set int age", "N", LP_LEVEL_WRITE, run_set, ""},
};

/* ---- the clients ---- */

struct connection {
	int fd;
	unsigned sent, received; /* requests; the next ones' numbers */
	uint64_t *since;	 /* of the open ones, by number modulo MOST_OPEN */
	struct lp_buf in;
};

struct load {
	const char *name;
	unsigned clients;
	uint64_t period; /* nanoseconds between two; 0 = as fast as it goes */
};

struct run {
	int epoll;
	struct connection connections[CLIENTS];
	uint64_t *took; /* nanoseconds, of those that were answered */
	size_t sent, answered, wrong;
};

static void die(const char *what)
{
	perror(what);
	_exit(1);
}

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void send_next(struct run *r, struct connection *c, uint64_t since)
{
	char request[128];
	int n = snprintf(request, sizeof request, "{\"cmd\": \"%s\", \"id\": %u}\n",
			 c->sent % 4 ? "var get int age" : "var set int age 20", c->sent);
	c->since[c->sent++ % MOST_OPEN] = since;
	r->sent++;
	if (send(c->fd, request, (size_t)n, MSG_NOSIGNAL) != n)
		die("send");
}

static void take_reply(struct run *r, struct connection *c, const char *line)
{
	char begins[64];
	int n = snprintf(begins, sizeof begins, "{\"id\": %u, \"ok\": true, ", c->received);
	if (strncmp(line, begins, (size_t)n) != 0)
		r->wrong++;
	r->took[r->answered++] = now() - c->since[c->received++ % MOST_OPEN];
}

static void receive(struct run *r, struct connection *c)
{
	char data[16384];
	ssize_t n = recv(c->fd, data, sizeof data, MSG_DONTWAIT);
	if (n <= 0)
		die("recv");
	lp_buf_add(&c->in, data, (size_t)n);
	size_t done = 0;
	for (char *end; (end = memchr(c->in.data + done, '\n', c->in.len - done));) {
		take_reply(r, c, (char *)c->in.data + done);
		done = (size_t)(end - (char *)c->in.data) + 1;
	}
	memmove(c->in.data, c->in.data + done, c->in.len - done);
	c->in.len -= done;
}

static void connect_all(struct run *r, const char *path, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		struct lp_control_client client;
		struct connection *c = &r->connections[i];
		struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
		if (lp_control_connect(path, getppid(), &client, NULL) < 0)
			die("connect");
		*c = (struct connection){.fd = client.fd, .since = lp_alloc(MOST_OPEN * sizeof *c->since)};
		epoll_ctl(r->epoll, EPOLL_CTL_ADD, c->fd, &e);
	}
}

static void wait_until(struct run *r, uint64_t when, bool fast)
{
	struct epoll_event events[CLIENTS];
	uint64_t t = now(), left = when > t ? when - t : 0;
	struct timespec timeout = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
	int nr = epoll_pwait2(r->epoll, events, CLIENTS, fast ? NULL : &timeout, NULL);
	for (int i = 0; i < nr; i++) {
		struct connection *c = events[i].data.ptr;
		receive(r, c);
		if (fast && r->sent < COMMANDS)
			send_next(r, c, now());
	}
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

static double microseconds(const struct run *r, double part)
{
	return (double)r->took[(size_t)((double)(r->answered - 1) * part)] / 1000;
}

static void print(struct run *r, const struct load *l, uint64_t took)
{
	qsort(r->took, r->answered, sizeof *r->took, compare);
	printf("| %s | %u | %zu | %zu | %.0f | %.0f | %.0f | %.0f | %.0f |\n", l->name, l->clients, r->sent,
	       r->sent - r->answered + r->wrong, (double)r->answered * 1e9 / (double)took, microseconds(r, 0.5),
	       microseconds(r, 0.99), microseconds(r, 0.999), microseconds(r, 1));
	fflush(stdout);
}

/* In the child: 0 when nothing was lost. */
static int run_load(const struct load *l, const char *path)
{
	struct run r = {.epoll = epoll_create1(EPOLL_CLOEXEC), .took = lp_alloc(COMMANDS * sizeof(uint64_t))};
	connect_all(&r, path, l->clients);
	uint64_t start = now();
	for (unsigned i = 0; i < l->clients && !l->period; i++)
		send_next(&r, &r.connections[i], now());
	while (r.answered < COMMANDS) {
		uint64_t next = start + r.sent * l->period;
		for (; l->period && r.sent < COMMANDS && next <= now(); next += l->period)
			send_next(&r, &r.connections[r.sent % l->clients], next);
		wait_until(&r, r.sent < COMMANDS ? next : now() + 1000000000u, !l->period);
	}
	print(&r, l, now() - start);
	return r.sent == r.answered && r.wrong == 0 ? 0 : 1;
}

static int in_child(const struct load *l, const char *path)
{
	int status;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		_exit(run_load(l, path));
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
}

int main(void)
{
	static const struct load loads[] = {
		{"alone", 1, 0},
		{"paced, 10,000/s", CLIENTS, 100000},
		{"paced, 20,000/s", CLIENTS, 50000},
		{"as fast as it goes", CLIENTS, 0},
	};
	char directory[] = "/tmp/livepatch-bench-XXXXXX", path[64];
	struct lp_control_options o = {.commands = commands,
				       .nr_commands = LP_ARRAY_SIZE(commands),
				       .program = "bench",
				       .version = "1",
				       .allow = LP_LEVEL_CODE,
				       .limits.clients = CLIENTS};
	struct lp_control *server;
	struct utsname u;
	int rc = 0;
	if (!mkdtemp(directory))
		die("mkdtemp");
	snprintf(path, sizeof path, "%s/socket", directory);
	if (lp_control_start(&o, &server, NULL) < 0 || lp_control_listen(server, path, NULL) < 0)
		die("server");
	uname(&u);
	printf("# Commands over the control socket\n\nMade by `bench/control` on %s, Linux %s.  Times in microseconds, "
	       "from the "
	       "moment at which a command\nwas to be sent to the end of its reply.\n\n",
	       u.machine, u.release);
	printf("| load | clients | commands | lost | commands/s | p50 | p99 | p99.9 | most "
	       "|\n|---|---|---|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < LP_ARRAY_SIZE(loads); i++)
		rc |= in_child(&loads[i], path);
	lp_control_stop(server);
	rmdir(directory);
	return rc;
}
