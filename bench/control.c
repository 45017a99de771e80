/*
 * What a command to the agent costs who asks.
 *
 *     build/rel/bench/control >bench/results/control.md
 *
 * The agent runs in this process, its clients in a child: 200 connections,
 * 100,000 commands a round.  Every connection has a variable of its own, sets
 * it to another value with each fourth command, and has to get what it set
 * with the others, each reply in its turn: what does not come is lost, what is
 * not what it has to be is wrong, and either makes this program fail.
 *
 * `evenly`: so many commands a second, whether replies are there or not; the
 * time for one begins when it was to be sent.  `at once`: every connection sends
 * its next when it has its reply, so that the time is that of a queue of 200.
 * `alone`: one connection does so.
 *
 * The floor takes turns with the agent: the least that a server at such a
 * socket can do, which is to send every line back.
 */
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/vec.h"
#include "bench.h"
#include "control/control.h"
#include "hotpatch.h"

#define CLIENTS 200
#define COMMANDS 100000
#define ROUNDS 3
#define MOST_OPEN 4096	    /* requests of one connection without their replies */
#define PATIENCE 5000000000 /* nanoseconds; what is not there by then is lost */
#define LINE_MAX_BYTES 128

static void die(const char *what)
{
	fprintf(stderr, "bench/control: %s\n", what);
	_exit(1);
}

static void die_of_errno(const char *what)
{
	perror(what);
	_exit(1);
}

/* ---- the servers ---- */

struct server {
	const char *name, *path;
	/* Whether the line, which has an end, answers that one's request of that number. */
	bool (*answers)(const char *line, unsigned client, unsigned number);
};

/* The variable is to be what it was set to last. */
static unsigned last_set(unsigned number)
{
	return number - number % 4;
}

static int request(char *out, unsigned client, unsigned number)
{
	if (number == last_set(number))
		return snprintf(out, LINE_MAX_BYTES, "{\"cmd\": \"var set int age%u %u\", \"id\": %u}\n", client,
				number, number);
	return snprintf(out, LINE_MAX_BYTES, "{\"cmd\": \"var get int age%u\", \"id\": %u}\n", client, number);
}

static bool is(const char *line, const char *expected, int len)
{
	return strncmp(line, expected, (size_t)len) == 0;
}

static bool agent_answers(const char *line, unsigned client, unsigned number)
{
	char data[64] = "", expected[LINE_MAX_BYTES];
	if (number != last_set(number))
		snprintf(data, sizeof data, "{\"value\": \"%u\"}", last_set(number));
	return is(line, expected,
		  snprintf(expected, sizeof expected, "{\"id\": %u, \"ok\": true, \"data\": [%s]}\n", number, data));
}

static bool floor_answers(const char *line, unsigned client, unsigned number)
{
	char expected[LINE_MAX_BYTES];
	return is(line, expected, request(expected, client, number));
}

static void start_agent(struct server *s)
{
	static int32_t ages[CLIENTS];
	for (size_t i = 0; i < CLIENTS; i++) {
		char name[32];
		snprintf(name, sizeof name, "age%zu", i);
		if (hotpatch_register_variable(name, HOTPATCH_INT, &ages[i]) < 0)
			die(hotpatch_last_error());
	}
	if (hotpatch_start() < 0)
		die(hotpatch_last_error());
	s->path = lp_strdup(hotpatch_socket()); /* a child of fork() is told of none */
}

/* Requests come in whole packets and are sent back so. */
static void send_back(int epoll, int fd)
{
	char data[16384];
	ssize_t n = recv(fd, data, sizeof data, 0);
	if (n <= 0) {
		epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL); /* the next child may have got it, too */
		close(fd);
	} else if (send(fd, data, (size_t)n, MSG_NOSIGNAL) != n) {
		die_of_errno("the floor's send");
	}
}

static void *serve_floor(void *arg)
{
	int listener = *(int *)arg, epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event events[64], e = {.events = EPOLLIN, .data.fd = listener};
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e);
	for (;;) {
		int nr = epoll_wait(epoll, events, 64, -1);
		for (int i = 0; i < nr; i++) {
			if (events[i].data.fd != listener) {
				send_back(epoll, events[i].data.fd);
				continue;
			}
			e.data.fd = accept(listener, NULL, NULL);
			epoll_ctl(epoll, EPOLL_CTL_ADD, e.data.fd, &e);
		}
	}
	return NULL;
}

static void start_floor(struct server *s, const char *directory)
{
	static struct sockaddr_un address = {.sun_family = AF_UNIX};
	static int listener;
	pthread_t thread;
	snprintf(address.sun_path, sizeof address.sun_path, "%s/floor", directory);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, CLIENTS) < 0 ||
	    pthread_create(&thread, NULL, serve_floor, &listener) != 0)
		die_of_errno("the floor");
	s->path = address.sun_path;
}

/* ---- the clients ---- */

struct connection {
	int fd;
	unsigned number, sent, received; /* its own; requests, the next ones' numbers */
	uint64_t since[MOST_OPEN];	 /* of the open ones, by number modulo MOST_OPEN */
	struct lp_buf in;
};

struct load {
	const char *name;
	unsigned clients;
	uint64_t period; /* nanoseconds between two; 0 = the next when a reply is there */
};

/* What came of it, over all rounds; shared with the children. */
struct result {
	size_t sent, answered, wrong;
	uint64_t wall;
	double took[COMMANDS * ROUNDS]; /* microseconds, of those that were answered */
};

struct run {
	int epoll;
	const struct server *server;
	const struct load *load;
	struct connection *connections;
	struct result *result;
	size_t sent, answered; /* of this round */
};

static void send_next(struct run *r, struct connection *c, uint64_t since)
{
	char line[LINE_MAX_BYTES];
	int n = request(line, c->number, c->sent);
	c->since[c->sent++ % MOST_OPEN] = since;
	r->sent++;
	if (send(c->fd, line, (size_t)n, MSG_NOSIGNAL) != n)
		die_of_errno("send");
}

static void take_reply(struct run *r, struct connection *c, const char *line)
{
	if (!r->server->answers(line, c->number, c->received))
		r->result->wrong++;
	double took = (double)(bench_now() - c->since[c->received++ % MOST_OPEN]) / 1000;
	r->result->took[r->result->answered++] = took;
	r->answered++;
}

static void receive(struct run *r, struct connection *c)
{
	char data[16384];
	ssize_t n = recv(c->fd, data, sizeof data, MSG_DONTWAIT);
	if (n <= 0) {
		fprintf(stderr, "bench/control: the %s closes a connection\n", r->server->name);
		_exit(1);
	}
	lp_buf_add(&c->in, data, (size_t)n);
	size_t done = 0;
	for (char *end; (end = memchr(c->in.data + done, '\n', c->in.len - done));) {
		take_reply(r, c, (char *)c->in.data + done);
		done = (size_t)(end - (char *)c->in.data) + 1;
	}
	memmove(c->in.data, c->in.data + done, c->in.len - done);
	c->in.len -= done;
}

static void connect_all(struct run *r)
{
	for (unsigned i = 0; i < r->load->clients; i++) {
		struct lp_control_client client;
		struct lp_err err;
		struct connection *c = &r->connections[i];
		struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
		if (lp_control_connect(r->server->path, getppid(), PATIENCE / 1000000, &client, &err) < 0)
			die(err.text);
		c->fd = client.fd;
		c->number = i;
		epoll_ctl(r->epoll, EPOLL_CTL_ADD, c->fd, &e);
	}
}

/* For replies, until then at most; false when there was none. */
static bool receive_until(struct run *r, uint64_t when)
{
	struct epoll_event events[CLIENTS];
	uint64_t t = bench_now(), left = when > t ? when - t : 0;
	struct timespec timeout = {(time_t)(left / 1000000000), (long)(left % 1000000000)};
	int nr = epoll_pwait2(r->epoll, events, CLIENTS, &timeout, NULL);
	for (int i = 0; i < nr; i++) {
		receive(r, events[i].data.ptr);
		if (!r->load->period && r->sent < COMMANDS)
			send_next(r, events[i].data.ptr, bench_now());
	}
	return nr > 0;
}

/* All that are due; when the next one is. */
static uint64_t send_due(struct run *r, uint64_t start)
{
	uint64_t next = start + r->sent * r->load->period;
	for (; r->sent < COMMANDS && next <= bench_now(); next += r->load->period)
		send_next(r, &r->connections[r->sent % r->load->clients], next);
	return next;
}

static void run_evenly(struct run *r)
{
	uint64_t start = bench_now();
	while (r->sent < COMMANDS)
		receive_until(r, send_due(r, start));
}

static void run_at_once(struct run *r)
{
	for (unsigned i = 0; i < r->load->clients; i++)
		send_next(r, &r->connections[i], bench_now());
}

/* In a child. */
static void run_round(const struct load *l, const struct server *s, struct result *result)
{
	struct run r = {.epoll = epoll_create1(EPOLL_CLOEXEC), .server = s, .load = l, .result = result};
	r.connections = lp_alloc(l->clients * sizeof *r.connections);
	prctl(PR_SET_TIMERSLACK, 1);
	connect_all(&r);
	uint64_t start = bench_now();
	if (l->period)
		run_evenly(&r);
	else
		run_at_once(&r);
	while (r.answered < COMMANDS && receive_until(&r, bench_now() + PATIENCE))
		;
	result->wall += bench_now() - start;
	result->sent += r.sent;
}

static void in_child(const struct load *l, const struct server *s, struct result *result)
{
	int status;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		run_round(l, s, result);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		die("a round of clients ended early");
}

/* ---- the table ---- */

static double at(const struct result *r, double part)
{
	return r->answered ? r->took[(size_t)((double)(r->answered - 1) * part)] : 0;
}

static void print_row(const struct load *l, const struct server *s, struct result *r, const struct result *floor)
{
	qsort(r->took, r->answered, sizeof *r->took, bench_compare);
	printf("| %s | %s | %zu | %zu | %zu | %.0f | %.0f | %.0f | %.0f | %.0f | %.2f | %.2f |\n", l->name, s->name,
	       r->sent, r->sent - r->answered, r->wrong, (double)r->answered * 1e9 / (double)r->wall, at(r, 0.5),
	       at(r, 0.99), at(r, 0.999), at(r, 1), at(r, 0.5) / at(floor, 0.5), at(r, 0.99) / at(floor, 0.99));
}

static struct result *new_result(void)
{
	struct result *r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r == MAP_FAILED)
		die_of_errno("mmap");
	return r;
}

/* False when something was lost or wrong, also by the floor: then nothing is known. */
static bool measure(const struct load *l, const struct server *floor, const struct server *agent)
{
	struct result *of_floor = new_result(), *of_agent = new_result();
	size_t all = (size_t)COMMANDS * ROUNDS;
	for (unsigned i = 0; i < ROUNDS; i++) {
		in_child(l, floor, of_floor);
		in_child(l, agent, of_agent);
	}
	print_row(l, floor, of_floor, of_floor);
	print_row(l, agent, of_agent, of_floor);
	return of_floor->answered == all && of_agent->answered == all && !of_floor->wrong && !of_agent->wrong;
}

int main(int argc, char **argv)
{
	static const struct load loads[] = {
		{"1 alone", 1, 0},
		{"200, evenly, 10,000/s", CLIENTS, 100000},
		{"200, evenly, 20,000/s", CLIENTS, 50000},
		{"200 at once", CLIENTS, 0},
	};
	struct server floor = {.name = "floor", .answers = floor_answers},
		      agent = {.name = "agent", .answers = agent_answers};
	char directory[] = "/tmp/livepatch-bench-XXXXXX";
	bool good = true;
	if (!mkdtemp(directory))
		die_of_errno("mkdtemp");
	start_agent(&agent);
	start_floor(&floor, directory);
	printf("# Commands to the agent\n\n");
	bench_print_machine(argv);
	printf("\nMicroseconds from the moment at which a command was to be sent to the end of its reply.  Floor: a\n"
	       "server at such a socket that sends every line back.  Rounds of both take turns.\n\n"
	       "| clients | server | commands | lost | wrong | commands/s | p50 | p99 | p99.9 | most | p50 beside the "
	       "floor | p99 |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
	for (size_t i = 0; i < LP_ARRAY_SIZE(loads); i++)
		good &= measure(&loads[i], &floor, &agent);
	hotpatch_stop();
	unlink(floor.path);
	rmdir(directory);
	return good ? 0 : 1;
}
