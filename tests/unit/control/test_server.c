/*
 * The server over real sockets.  What is bounded here is memory and counts,
 * never time: a server that hangs makes the test hang, which its runner ends.
 */
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "commands.h"

#define NOBODY 65534
#define FOR_EVER 1000000000u /* milliseconds */
#define MEBIBYTE (1 << 20)

static char directory[64], path[96];
static struct lp_control *server;

static struct lp_control_options options(void)
{
	return test_options;
}

/* Silence means nothing, and nobody is closed for it. */
static struct lp_control_options patient(void)
{
	struct lp_control_options o = test_options;
	o.limits.idle_ms = o.limits.partial_ms = o.limits.stuck_ms = o.limits.quiesce_ms = o.limits.open_ms = FOR_EVER;
	return o;
}

static void start(struct lp_control_options o)
{
	struct lp_err err = {0};
	assert_int_equal(lp_control_start(&o, &server, &err), 0);
	assert_int_equal(lp_control_listen(server, path, &err), 0);
}

static int set_up(void **state)
{
	snprintf(directory, sizeof directory, "/tmp/livepatch-control-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof path, "%s/socket", directory);
	atomic_store(&number, 10);
	atomic_store(&releases, 0);
	return pipe2(hold_begun, O_CLOEXEC) || pipe2(hold_ends, O_CLOEXEC);
}

static int tear_down(void **state)
{
	lp_control_stop(server);
	server = NULL;
	for (int i = 0; i < 2; i++) {
		close(hold_begun[i]);
		close(hold_ends[i]);
	}
	return rmdir(directory); /* fails when something was left behind */
}

/* ---- clients ---- */

/* The descriptor, or what refused it. */
static int connect_here(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	memcpy(a.sun_path, path, strlen(path));
	if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
		return fd;
	int error = errno;
	close(fd);
	return -error;
}

static int connect_client(void)
{
	int fd = connect_here();
	assert_true(fd >= 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Exactly that, and not a byte more is taken. */
static void hear(int fd, const char *text)
{
	struct lp_buf got = {0};
	lp_buf_fill(&got, 0, strlen(text));
	ssize_t n = recv(fd, got.data, strlen(text), MSG_WAITALL);
	assert_true(n >= 0);
	got.data[n] = 0;
	assert_string_equal((char *)got.data, text);
	lp_buf_free(&got);
}

static void ask(int fd, const char *request, const char *reply)
{
	say(fd, request);
	hear(fd, reply);
}

/* All that comes until the end, which is returned as the number of bytes; `out` may be NULL. */
static size_t hear_end(int fd, struct lp_buf *out)
{
	char data[4096];
	size_t total = 0;
	ssize_t n;
	while ((n = recv(fd, data, sizeof data, 0)) > 0) {
		total += (size_t)n;
		if (out)
			lp_buf_add(out, data, (size_t)n);
	}
	return total;
}

static void assert_ends_with(int fd, const char *text)
{
	struct lp_buf got = {0};
	hear_end(fd, &got);
	assert_string_equal(lp_buf_cstr(&got), text);
	lp_buf_free(&got);
	close(fd);
}

static void hear_line(int fd)
{
	char c = 0;
	while (c != '\n')
		assert_int_equal(recv(fd, &c, 1, 0), 1);
}

static uint64_t statistic(int fd, const char *name)
{
	struct lp_buf got = {0};
	char *line = lp_sprintf("\n%s: ", name);
	ask(fd, "prompt\n", "Success to run\n\n");
	say(fd, "stats\n");
	while (got.len < 2 || memcmp(got.data + got.len - 2, "\n\n", 2) != 0) {
		char byte;
		assert_int_equal(recv(fd, &byte, 1, 0), 1);
		lp_buf_add(&got, &byte, 1);
	}
	const char *at = strstr(lp_buf_cstr(&got), line);
	assert_non_null(at);
	uint64_t value = strtoull(at + strlen(line), NULL, 10);
	lp_buf_free(&got);
	lp_free(line);
	return value;
}

static size_t count(const char *text, const char *what)
{
	size_t nr = 0;
	for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
		nr++;
	return nr;
}

static size_t resident_bytes(void)
{
	unsigned long pages = 0, all = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	assert_int_equal(fscanf(f, "%lu %lu", &all, &pages), 2);
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* The server's thread is in `hold` when this returns, until let_go(). */
static void wait_for_hold(void)
{
	char byte;
	assert_int_equal(read(hold_begun[0], &byte, 1), 1);
}

static void let_go(void)
{
	assert_int_equal(write(hold_ends[1], "", 1), 1);
}

/* ---- lines ---- */

static void two_lines_in_one_packet_are_two_requests(void **state)
{
	start(options());
	int fd = connect_client();
	say(fd, "set 5\nget\n");
	shutdown(fd, SHUT_WR);
	assert_ends_with(fd, "Success to run\n10 -> 5\nSuccess to run\n5\n");
}

static void a_line_without_its_end_is_answered_after_silence(void **state)
{
	start(options());
	int fd = connect_client();
	ask(fd, "get", "Success to run\n10\n");
	close(fd);
}

static void a_line_that_comes_in_pieces_is_one(void **state)
{
	start(patient());
	int fd = connect_client(), other = connect_client();
	for (const char *c = "set 77\n"; *c; c++) {
		char piece[] = {*c, 0};
		say(fd, piece);
		ask(other, "echo x\n", "Success to run\nx\n"); /* the server has seen the piece */
	}
	hear(fd, "Success to run\n10 -> 77\n");
	close(fd);
	close(other);
}

static void a_moment_of_silence_means_nothing_to_who_has_ended_a_line(void **state)
{
	struct lp_control_options o = patient();
	o.limits.partial_ms = 1;
	start(o);
	int fd = connect_client(), other = connect_client();
	ask(fd, "get\n", "Success to run\n10\n");
	say(fd, "echo a");
	ask(other, "get", "Success to run\n10\n"); /* silence has been heard elsewhere */
	ask(fd, "b\n", "Success to run\nab\n");
	close(fd);
	close(other);
}

static void an_unfinished_line_behind_others_is_answered_in_the_end(void **state)
{
	start(options());
	int fd = connect_client();
	say(fd, "get\nset 4");
	assert_ends_with(fd, "Success to run\n10\nSuccess to run\n10 -> 4\n");
}

static void a_line_over_the_limit_is_refused_and_the_next_answered(void **state)
{
	struct lp_control_options o = options();
	struct lp_buf line = {0};
	o.limits.line_max = 100;
	start(o);
	int fd = connect_client();
	lp_buf_fill(&line, 'x', 101);
	lp_buf_str(&line, "\nget\n");
	say(fd, lp_buf_cstr(&line));
	shutdown(fd, SHUT_WR);
	assert_ends_with(fd, "Error: too-long: a line is longer than 100 bytes\nSuccess to run\n10\n");
	lp_buf_free(&line);
}

static void who_closes_after_the_request_is_heard_all_the_same(void **state)
{
	start(patient());
	int fd = connect_client(), other = connect_client();
	say(fd, "hold\n");
	wait_for_hold();
	int gone = connect_client();
	say(gone, "set 5\nset 6");
	close(gone);
	let_go();
	ask(fd, "", "Success to run\n");
	while (atomic_load(&number) != 6) {
		say(other, "get\n");
		hear_line(other);
		hear_line(other);
	}
	close(fd);
	close(other);
}

static void who_ends_his_side_is_answered_on_the_other(void **state)
{
	start(patient());
	int fd = connect_client();
	say(fd, "{\"cmd\": \"get\"}\n{\"cmd\": \"set 3\"}");
	shutdown(fd, SHUT_WR);
	assert_ends_with(fd, "{\"ok\": true, \"data\": [{\"value\": 10}]}\n"
			     "{\"ok\": true, \"data\": [{\"before\": 10, \"value\": 3}]}\n");
}

/* ---- time ---- */

static void a_connection_that_has_had_its_reply_ends_by_itself(void **state)
{
	start(options());
	int fd = connect_client();
	say(fd, "get\n");
	assert_ends_with(fd, "Success to run\n10\n");
}

static void a_prompt_and_json_keep_the_connection(void **state)
{
	struct lp_control_options o = options();
	o.limits.idle_ms = 1;
	start(o);
	int prompt = connect_client(), json = connect_client();
	ask(prompt, "prompt\n", "Success to run\n\n");
	ask(json, "{\"cmd\": \"get\"}\n", "{\"ok\": true, \"data\": [{\"value\": 10}]}\n");
	for (int i = 0; i < 10; i++) {
		int other = connect_client();
		say(other, "get\n");
		assert_ends_with(other, "Success to run\n10\n"); /* its time is over */
	}
	ask(prompt, "get\n", "Success to run\n10\n\n");
	ask(json, "{\"cmd\": \"get\"}\n", "{\"ok\": true, \"data\": [{\"value\": 10}]}\n");
	close(prompt);
	close(json);
}

static void spin(long microseconds)
{
	struct timespec from, now;
	clock_gettime(CLOCK_MONOTONIC, &from);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - from.tv_sec) * 1000000 + (now.tv_nsec - from.tv_nsec) / 1000 < microseconds);
}

/* Requests come just when their connections are about to be closed for idleness: what could be sent is answered. */
static void no_request_is_lost_when_a_connection_is_closed(void **state)
{
	enum { ROUNDS = 50, CLIENTS = 64 };
	struct lp_control_options o = options();
	o.limits.idle_ms = 1;
	start(o);
	for (int round = 0; round < ROUNDS; round++) {
		int fds[CLIENTS];
		bool sent[CLIENTS];
		for (int i = 0; i < CLIENTS; i++) {
			fds[i] = connect_client();
			say(fds[i], "get\n");
		}
		spin(5 * round);
		for (int i = 0; i < CLIENTS; i++) {
			spin(15);
			sent[i] = send(fds[i], "get\n", 4, MSG_NOSIGNAL) == 4;
		}
		for (int i = 0; i < CLIENTS; i++)
			assert_ends_with(fds[i],
					 sent[i] ? "Success to run\n10\nSuccess to run\n10\n" : "Success to run\n10\n");
	}
}

static void who_neither_asks_nor_ends_a_line_is_closed_in_the_end(void **state)
{
	static const char *const beginnings[] = {"", "{\"cmd\"", "get\nge"};
	struct lp_control_options o = patient();
	o.limits.stuck_ms = 1;
	start(o);
	for (size_t i = 0; i < LP_ARRAY_SIZE(beginnings); i++) {
		int fd = connect_client();
		send(fd, beginnings[i], strlen(beginnings[i]), MSG_NOSIGNAL); /* may be too late already */
		hear_end(fd, NULL);
		close(fd);
	}
}

static void who_does_not_read_is_closed_in_the_end(void **state)
{
	struct lp_control_options o = patient();
	o.limits.stuck_ms = 1;
	start(o);
	int fd = connect_client();
	while (send(fd, "fill 10000000\n", 14, MSG_NOSIGNAL) < 0) { /* its time was over before it had said anything */
		close(fd);
		fd = connect_client();
	}
	struct epoll_event e = {.events = EPOLLHUP};
	int watcher = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(watcher, EPOLL_CTL_ADD, fd, &e);
	assert_int_equal(epoll_wait(watcher, &e, 1, -1), 1);
	assert_true(hear_end(fd, NULL) < 10000000);
	close(watcher);
	close(fd);
}

/* ---- hostile clients ---- */

static void a_gigabyte_without_a_newline_costs_no_memory_and_nobody_his_turn(void **state)
{
	static char block[MEBIBYTE];
	start(patient());
	int fd = connect_client(), other = connect_client();
	memset(block, 'x', sizeof block);
	say(fd, "y");
	size_t before = resident_bytes();
	for (int i = 0; i < 1024; i++) {
		assert_int_equal(send(fd, block, sizeof block, MSG_NOSIGNAL), sizeof block);
		if (i % 64 == 0)
			ask(other, "get\n", "Success to run\n10\n");
	}
	assert_true(resident_bytes() < before + 16 * MEBIBYTE);
	ask(fd, "\nget\n", "Error: too-long: a line is longer than 65536 bytes\nSuccess to run\n10\n");
	close(fd);
	close(other);
}

/* Asks until the server takes no more of it, which others see to be so for a while. */
static size_t ask_without_reading(int fd, int other, const char *request)
{
	size_t sent = 0, len = strlen(request);
	for (int refused = 0; refused < 100;) {
		ssize_t n = send(fd, request, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		assert_true(n == (ssize_t)len || (n < 0 && errno == EAGAIN));
		sent += n > 0;
		refused = n > 0 ? 0 : refused + 1;
		if (n < 0)
			ask(other, "get\n", "Success to run\n10\n");
	}
	return sent;
}

static void who_never_reads_costs_bounded_memory_and_loses_nothing(void **state)
{
	struct lp_buf got = {0};
	start(patient());
	int fd = connect_client(), other = connect_client();
	say(fd, "get\n");
	size_t before = resident_bytes();
	size_t sent = 1 + ask_without_reading(fd, other, "fill 10000\n");
	assert_true(resident_bytes() < before + 32 * MEBIBYTE);
	shutdown(fd, SHUT_WR);
	hear_end(fd, &got);
	assert_int_equal(count(lp_buf_cstr(&got), "Success to run\n"), sent);
	lp_buf_free(&got);
	close(fd);
	close(other);
}

/* Each of them stays below what one may leave unread.  What is not answered is not held. */
static void many_who_never_read_are_answered_within_a_bound_of_all(void **state)
{
	enum { CLIENTS = 50, REQUESTS = 9, BYTES = 100000, ROUNDS = 100 };
	int fds[CLIENTS];
	struct lp_control_options o = patient();
	o.limits.held_max = MEBIBYTE;
	start(o);
	int other = connect_client(), observer = connect_client();
	uint64_t before = statistic(observer, "requests");
	for (int i = 0; i < CLIENTS; i++) {
		fds[i] = connect_client();
		for (int k = 0; k < REQUESTS; k++)
			say(fds[i], "fill 100000\n");
	}
	for (int i = 0; i < ROUNDS; i++)
		ask(other, "get\n", "Success to run\n10\n");
	assert_true(statistic(observer, "requests") - before < ROUNDS + CLIENTS * REQUESTS / 2);
	for (int i = 0; i < CLIENTS; i++) {
		shutdown(fds[i], SHUT_WR);
		assert_int_equal(hear_end(fds[i], NULL), REQUESTS * (BYTES + strlen("Success to run\n\n")));
		close(fds[i]);
	}
	close(other);
	close(observer);
}

static void ten_thousand_connections_are_served_or_told_that_they_are_too_many(void **state)
{
	enum { ALL = 10000, SERVED = 1024 };
	static int fds[ALL];
	struct rlimit before, r;
	getrlimit(RLIMIT_NOFILE, &before);
	r = before;
	r.rlim_cur = r.rlim_max < ALL + 2 * SERVED ? r.rlim_max : ALL + 2 * SERVED;
	if (r.rlim_cur < ALL + 2 * SERVED || setrlimit(RLIMIT_NOFILE, &r) < 0)
		skip(); /* this user may not open as many */
	start(patient());
	for (int i = 0; i < ALL; i++)
		fds[i] = connect_client();
	for (int i = 0; i < SERVED; i++)
		ask(fds[i], "get\n", "Success to run\n10\n");
	for (int i = SERVED; i < ALL; i++)
		assert_ends_with(fds[i], "Error: EAGAIN: too many clients are connected\n");
	for (int i = 0; i < SERVED; i++)
		close(fds[i]);
	setrlimit(RLIMIT_NOFILE, &before);
}

static void who_asks_nothing_makes_room_for_who_does(void **state)
{
	struct lp_control_options o = patient();
	struct lp_buf got = {0};
	o.limits.clients = 2;
	o.limits.idle_ms = 1;
	start(o);
	int busy = connect_client(), silent = connect_client();
	ask(busy, "prompt\n", "Success to run\n\n");
	do {
		int fd = connect_client();
		lp_buf_free(&got);
		send(fd, "get\n", 4, MSG_NOSIGNAL);
		hear_end(fd, &got);
		close(fd);
	} while (strstr(lp_buf_cstr(&got), "too many"));
	assert_string_equal(lp_buf_cstr(&got), "Success to run\n10\n");
	assert_ends_with(silent, "");
	ask(busy, "get\n", "Success to run\n10\n\n");
	lp_buf_free(&got);
	close(busy);
}

static void the_descriptors_of_the_host_limit_the_clients(void **state)
{
	int fds[17];
	struct rlimit before, r;
	getrlimit(RLIMIT_NOFILE, &before);
	r = before;
	r.rlim_cur = 64;
	setrlimit(RLIMIT_NOFILE, &r);
	start(patient());
	setrlimit(RLIMIT_NOFILE, &before);
	for (int i = 0; i < 17; i++)
		fds[i] = connect_client();
	for (int i = 0; i < 16; i++)
		ask(fds[i], "get\n", "Success to run\n10\n");
	assert_ends_with(fds[16], "Error: EAGAIN: too many clients are connected\n");
	for (int i = 0; i < 16; i++)
		close(fds[i]);
}

static void who_came_when_descriptors_had_run_out_is_served_when_there_are_some(void **state)
{
	struct rlimit before, r;
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	start(patient());
	memcpy(a.sun_path, path, strlen(path));
	int other = connect_client();
	ask(other, "get\n", "Success to run\n10\n");
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), lowest = dup(fd);
	close(lowest);
	getrlimit(RLIMIT_NOFILE, &before);
	r = before;
	r.rlim_cur = (rlim_t)lowest;
	setrlimit(RLIMIT_NOFILE, &r);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	say(fd, "get\n");
	for (int i = 0; i < 100; i++)
		ask(other, "get\n", "Success to run\n10\n");
	assert_int_equal(recv(fd, (char[1]){0}, 1, MSG_DONTWAIT), -1);
	setrlimit(RLIMIT_NOFILE, &before);
	hear(fd, "Success to run\n10\n");
	close(fd);
	close(other);
}

static void many_talk_while_many_are_idle(void **state)
{
	enum { IDLE = 50, TALKERS = 200, ROUNDS = 20 };
	int idle[IDLE], talkers[TALKERS];
	struct lp_control_options o = patient();
	o.limits.clients = IDLE + TALKERS;
	start(o);
	for (int i = 0; i < IDLE; i++) {
		idle[i] = connect_client();
		say(idle[i], i % 2 ? "ge" : "");
	}
	for (int i = 0; i < TALKERS; i++)
		talkers[i] = connect_client();
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < TALKERS; i++)
			say(talkers[i], "get\nget\n");
		for (int i = TALKERS - 1; i >= 0; i--)
			hear(talkers[i], "Success to run\n10\nSuccess to run\n10\n");
	}
	for (int i = 0; i < IDLE; i++) {
		ask(idle[i], i % 2 ? "t\n" : "get\n", "Success to run\n10\n");
		close(idle[i]);
	}
	for (int i = 0; i < TALKERS; i++)
		close(talkers[i]);
}

/* While the thread is held both send: one a thousand requests, the other one. */
static void a_client_with_a_thousand_requests_does_not_keep_another_waiting(void **state)
{
	enum { REQUESTS = 1000 };
	struct lp_buf many = {0}, got = {0};
	start(patient());
	int other = connect_client(), fd = connect_client();
	ask(other, "get\n", "Success to run\n10\n");
	say(fd, "hold\n");
	wait_for_hold();
	for (int i = 0; i < REQUESTS; i++)
		lp_buf_printf(&many, "set %d\n", i);
	say(fd, lp_buf_cstr(&many));
	say(other, "get\n");
	let_go();
	shutdown(other, SHUT_WR);
	hear_end(other, &got);
	int seen = -1;
	assert_int_equal(sscanf(lp_buf_cstr(&got), "Success to run\n%d\n", &seen), 1);
	assert_in_range(seen, 0, 100);
	shutdown(fd, SHUT_WR);
	lp_buf_free(&got);
	hear_end(fd, &got);
	assert_int_equal(count(lp_buf_cstr(&got), "Success to run\n"), REQUESTS + 1);
	lp_buf_free(&many);
	lp_buf_free(&got);
	close(fd);
	close(other);
}

/* ---- who may ---- */

/* In a child that is nobody: 0, or what went wrong. */
static int as_nobody(int (*what)(void))
{
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY) ? 99 : what());
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

static int must_not_connect(void)
{
	return connect_here() == -EACCES ? 0 : 1;
}

static int must_be_refused(void)
{
	static const char refusal[] =
		"Error: permission: only the user that the process runs as, and root, may talk to it\n";
	char got[sizeof refusal] = {0};
	int fd = connect_here();
	if (fd < 0)
		return 2;
	if (recv(fd, got, sizeof got - 1, MSG_WAITALL) != sizeof got - 1 || strcmp(got, refusal) != 0)
		return 3;
	return recv(fd, got, 1, 0) == 0 ? 0 : 4;
}

static void another_user_is_kept_out_by_the_node_and_by_his_credentials(void **state)
{
	if (geteuid() != 0)
		skip(); /* only root can become another user */
	start(patient());
	assert_int_equal(chmod(directory, 0755), 0);
	assert_int_equal(as_nobody(must_not_connect), 0);
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(as_nobody(must_be_refused), 0);
	int fd = connect_client();
	assert_int_equal(statistic(fd, "clients refused"), 1);
	close(fd);
}

/* ---- several sockets ---- */

static void a_server_listens_at_several_names_until_it_stops(void **state)
{
	struct lp_err err = {0};
	char names[8][112];
	start(patient());
	for (int i = 0; i < 8; i++) {
		snprintf(names[i], sizeof names[i], "%s.%d", path, i);
		assert_int_equal(lp_control_listen(server, names[i], &err), i < 7 ? 0 : -ENOSPC);
	}
	snprintf(path, sizeof path, "%.90s", names[3]);
	int fd = connect_client();
	ask(fd, "get\n", "Success to run\n10\n");
	close(fd);
}

static void a_name_that_somebody_has_is_no_end_of_the_server(void **state)
{
	struct lp_err err = {0};
	start(patient());
	assert_int_equal(lp_control_listen(server, path, &err), -EADDRINUSE);
	assert_int_equal(lp_control_listen(server, "relative", &err), -EINVAL);
	int fd = connect_client();
	ask(fd, "get\n", "Success to run\n10\n");
	close(fd);
}

/* ---- quiescence ---- */

static uint64_t transactions_waiting(void)
{
	int fd = connect_client();
	uint64_t nr = statistic(fd, "transactions waiting");
	close(fd);
	return nr;
}

static void what_waits_is_committed_where_the_program_says(void **state)
{
	start(patient());
	int fd = connect_client(), other = connect_client();
	lp_control_quiesce(server); /* nobody waits: nothing happens */
	say(fd, "set quiet 20\n");
	while (transactions_waiting() == 0)
		ask(other, "get\n", "Success to run\n10\n");
	while (atomic_load(&number) == 10) /* the server may be busy with something else */
		lp_control_quiesce(server);
	assert_int_equal(atomic_load(&number), 20);
	hear(fd, "Success to run\n10 -> 20\n");
	close(fd);
	close(other);
}

/* A visit of the host has an end, however much a client wants of it. */
static void what_is_asked_during_a_visit_waits_for_the_next(void **state)
{
	start(patient());
	int fd = connect_client();
	say(fd, "set quiet 1\nset quiet 2\n");
	while (transactions_waiting() == 0)
		;
	while (atomic_load(&number) == 10)
		lp_control_quiesce(server);
	assert_int_equal(atomic_load(&number), 1);
	while (atomic_load(&number) == 1)
		lp_control_quiesce(server);
	hear(fd, "Success to run\n10 -> 1\nSuccess to run\n1 -> 2\n");
	close(fd);
}

static void who_waits_and_goes_away_changes_nothing(void **state)
{
	start(patient());
	int fd = connect_client();
	say(fd, "set quiet 20\n");
	while (transactions_waiting() == 0)
		;
	close(fd);
	while (transactions_waiting() == 1)
		;
	assert_int_equal(atomic_load(&number), 10);
	assert_int_equal(atomic_load(&releases), 1);
}

static void who_waits_for_too_long_is_told(void **state)
{
	struct lp_control_options o = patient();
	o.limits.quiesce_ms = 1;
	start(o);
	int fd = connect_client();
	ask(fd, "set quiet 20\nget\n",
	    "Error: timeout: the program did not say within 1 ms that nobody reads what is to be changed\n"
	    "Success to run\n10\n");
	close(fd);
}

/* What is open keeps others off; a client who has gone to lunch does not. */
static void what_is_open_for_too_long_is_forgotten_and_its_client_told(void **state)
{
	struct lp_control_options o = patient();
	o.limits.open_ms = 1;
	start(o);
	int fd = connect_client();
	ask(fd, "{\"cmd\": \"begin\"}\n{\"cmd\": \"set 20\"}\n",
	    "{\"ok\": true, \"data\": []}\n{\"ok\": true, \"data\": [{\"before\": 10, \"value\": 20}]}\n");
	while (atomic_load(&releases) == 0)
		sched_yield();
	ask(fd, "{\"cmd\": \"commit\"}\n",
	    "{\"ok\": false, \"error\": {\"code\": \"transaction\", \"message\": \"nothing was changed, because "
	    "nothing was asked for 1 ms\"}}\n");
	ask(fd, "{\"cmd\": \"begin; set 30; commit\"}\n",
	    "{\"ok\": true, \"data\": [{\"before\": 10, \"value\": 30}]}\n");
	assert_int_equal(atomic_load(&number), 30);
	close(fd);
}

/* The thread that would commit is held by a command: the host must not be held with it for longer than a moment. */
static void a_program_goes_on_when_the_server_is_busy(void **state)
{
	start(patient());
	int fd = connect_client(), other = connect_client();
	say(fd, "set quiet 20\n");
	while (transactions_waiting() == 0)
		;
	say(other, "hold\n");
	wait_for_hold();
	lp_control_quiesce(server);
	assert_int_equal(atomic_load(&number), 10);
	let_go();
	hear(other, "Success to run\n");
	close(fd);
	close(other);
}

static atomic_bool readers_end;
static atomic_int torn_reads;

/* Reads what stands there half done, too; but for the points at which it says that it reads nothing. */
static void *read_and_rest(void *arg)
{
	while (!atomic_load(&readers_end)) {
		for (int i = 0; i < 100; i++)
			if (atomic_load(&number) == UNFINISHED)
				atomic_fetch_add(&torn_reads, 1);
		lp_control_quiesce(server);
	}
	return NULL;
}

static void what_is_changed_in_quiet_is_never_seen_half_done(void **state)
{
	enum { CLIENTS = 4, ROUNDS = 100 };
	pthread_t reader;
	int fds[CLIENTS];
	start(patient());
	atomic_store(&readers_end, false);
	atomic_store(&torn_reads, 0);
	assert_int_equal(pthread_create(&reader, NULL, read_and_rest, NULL), 0);
	for (int i = 0; i < CLIENTS; i++)
		fds[i] = connect_client();
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < CLIENTS; i++)
			say(fds[i], "{\"cmd\": \"set quiet 1; set quiet 2\"}\n");
		for (int i = 0; i < CLIENTS; i++)
			hear_line(fds[i]);
	}
	atomic_store(&readers_end, true);
	pthread_join(reader, NULL);
	assert_int_equal(atomic_load(&number), 2);
	assert_int_equal(atomic_load(&releases), 2 * CLIENTS * ROUNDS);
	assert_int_equal(atomic_load(&torn_reads), 0);
	for (int i = 0; i < CLIENTS; i++)
		close(fds[i]);
}

/* ---- the end ---- */

static void a_server_stops_while_clients_are_in_the_middle(void **state)
{
	int fds[6];
	start(patient());
	for (int i = 0; i < 6; i++)
		fds[i] = connect_client();
	ask(fds[0], "begin\nset 5\n", "Success to run\nSuccess to run\n10 -> 5\n");
	ask(fds[1], "get\nge", "Success to run\n10\n");
	say(fds[2], "fill 10000000\n");
	say(fds[3], "set quiet 7\n");
	while (transactions_waiting() == 0)
		;
	say(fds[4], "hold\n");
	wait_for_hold();
	let_go();
	lp_control_stop(server);
	server = NULL;
	assert_int_equal(connect_here(), -ENOENT);
	for (int i = 0; i < 6; i++) {
		hear_end(fds[i], NULL);
		close(fds[i]);
	}
	assert_int_equal(atomic_load(&number), 10);
	assert_int_equal(atomic_load(&releases), 2);
}

static void a_server_that_never_served_stops(void **state)
{
	struct lp_control_options o = options();
	for (int i = 0; i < 100; i++) {
		assert_int_equal(lp_control_start(&o, &server, NULL), 0);
		lp_control_stop(server);
	}
	server = NULL;
	lp_control_stop(NULL);
	lp_control_forget(NULL);
}

static int open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int nr = -3; /* itself, and two that are no numbers */
	while (readdir(d))
		nr++;
	closedir(d);
	return nr;
}

static void the_child_of_a_fork_forgets_and_the_parent_goes_on(void **state)
{
	int before = open_descriptors(), fds[5], status, ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	start(patient());
	for (int i = 0; i < 5; i++) {
		fds[i] = connect_client();
		ask(fds[i], "get\n", "Success to run\n10\n");
	}
	pid_t child = fork();
	if (child == 0) {
		char byte;
		lp_control_forget(server);
		_exit(open_descriptors() != before + 2 + 5 || read(ends[0], &byte, 1) != 1 ? 1 : 0);
	}
	for (int i = 0; i < 5; i++)
		ask(fds[i], "get\n", "Success to run\n10\n");
	lp_control_stop(server);
	server = NULL;
	for (int i = 0; i < 5; i++)
		assert_ends_with(fds[i], "");
	assert_int_equal(connect_here(), -ENOENT);
	assert_int_equal(write(ends[1], "", 1), 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(ends[0]);
	close(ends[1]);
}

/* It has copies of all descriptors: what the server closes must not come back as an event of epoll. */
static void a_child_that_forgets_nothing_does_no_harm(void **state)
{
	int fds[20], ends[2], status;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	start(patient());
	for (int i = 0; i < 20; i++) {
		fds[i] = connect_client();
		ask(fds[i], "get\n", "Success to run\n10\n");
	}
	pid_t child = fork();
	if (child == 0) {
		char byte;
		_exit(read(ends[0], &byte, 1) == 1 ? 0 : 1);
	}
	int observer = connect_client();
	for (int i = 0; i < 20; i++) {
		shutdown(fds[i], SHUT_WR);
		assert_ends_with(fds[i], "");
	}
	while (statistic(observer, "clients") != 1)
		;
	for (int i = 0; i < 100; i++)
		ask(observer, "get\n", "Success to run\n10\n\n");
	assert_int_equal(write(ends[1], "", 1), 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	close(ends[0]);
	close(ends[1]);
	close(observer);
}

/* ---- a program that closes what is not its own ---- */

enum { MOST_FDS = 256, OURS = 5 }; /* epoll, both ends of the bell, listener, connection */
static bool known[MOST_FDS];

static void note_known(void)
{
	for (int fd = 0; fd < MOST_FDS; fd++)
		known[fd] = fcntl(fd, F_GETFD) >= 0;
}

/* What was opened since, but for the client. */
static void note_ours(int client, int ours[OURS])
{
	int nr = 0;
	for (int fd = 0; fd < MOST_FDS; fd++) {
		if (known[fd] || fd == client || fcntl(fd, F_GETFD) < 0)
			continue;
		assert_true(nr < OURS);
		ours[nr++] = fd;
	}
	assert_int_equal(nr, OURS);
}

/* What the program has at the numbers that were ours, of the same kinds. */
struct robbery {
	int ours[OURS], peers[OURS]; /* the other end of a socket; -1: it is the epoll */
	int epoll, event;
};

static bool is_epoll(int fd)
{
	struct epoll_event e;
	return epoll_wait(fd, &e, 1, 0) >= 0;
}

static void put_socket(struct robbery *r, int i)
{
	int pair[2];
	struct epoll_event e = {.events = EPOLLOUT | EPOLLONESHOT, .data.u64 = 1};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(dup2(pair[0], r->ours[i]), r->ours[i]);
	close(pair[0]);
	r->peers[i] = pair[1];
	assert_int_equal(epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->ours[i], &e), 0);
}

/* Its epoll has an event at once for each socket, and each only once: who takes it away is noticed. */
static void rob(struct robbery *r, int client)
{
	note_ours(client, r->ours);
	r->epoll = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < OURS; i++) {
		r->peers[i] = -1;
		if (is_epoll(r->ours[i])) {
			assert_int_equal(dup2(r->epoll, r->ours[i]), r->ours[i]);
			close(r->epoll);
			r->epoll = r->ours[i];
		}
	}
	for (int i = 0; i < OURS; i++)
		if (r->ours[i] != r->epoll)
			put_socket(r, i);
}

/* All of it is there, nothing was written to it, and each event still comes. */
static void assert_untouched(const struct robbery *r)
{
	struct epoll_event events[2 * OURS];
	assert_int_equal(epoll_wait(r->epoll, events, 2 * OURS, 0), OURS - 1);
	for (int i = 0; i < OURS; i++) {
		if (r->peers[i] < 0)
			continue;
		assert_int_equal(recv(r->peers[i], (char[1]){0}, 1, MSG_DONTWAIT), -1);
		assert_int_equal(errno, EAGAIN);
		assert_int_equal(epoll_ctl(r->epoll, EPOLL_CTL_DEL, r->ours[i], NULL), 0);
		close(r->peers[i]);
		assert_int_equal(close(r->ours[i]), 0);
	}
	assert_int_equal(close(r->epoll), 0);
}

static int nr_threads(void)
{
	int nr = 0;
	DIR *d = opendir("/proc/self/task");
	while (readdir(d))
		nr++;
	closedir(d);
	return nr - 2;
}

static void wait_for_threads(int nr)
{
	while (nr_threads() != nr)
		sched_yield();
}

static void what_a_program_has_in_their_place_is_not_touched(void **state)
{
	struct robbery r;
	int before = nr_threads();
	note_known();
	start(patient());
	int client = connect_client();
	say(client, "hold\n");
	wait_for_hold();
	rob(&r, client);
	let_go();
	wait_for_threads(before);
	lp_control_stop(server);
	server = NULL;
	assert_untouched(&r);
	assert_ends_with(client, "");
}

/* A child that has all of it, too, keeps it alive: the thread wakes, and then at descriptors that are not its own. */
static void what_comes_in_their_place_while_the_thread_waits_is_not_touched(void **state)
{
	struct robbery r;
	int ends[2], status, before = nr_threads();
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	note_known();
	start(patient());
	int client = connect_client();
	ask(client, "get\n", "Success to run\n10\n");
	pid_t child = fork();
	if (child == 0)
		_exit(read(ends[0], (char[1]){0}, 1) == 1 ? 0 : 1);
	rob(&r, client);
	say(client, "get\n");
	wait_for_threads(before);
	lp_control_stop(server);
	server = NULL;
	assert_untouched(&r);
	assert_int_equal(write(ends[1], "", 1), 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	close(client);
	close(ends[0]);
	close(ends[1]);
}

static void a_child_does_not_close_what_came_in_their_place(void **state)
{
	struct robbery r;
	int status;
	note_known();
	start(patient());
	int client = connect_client();
	ask(client, "get\n", "Success to run\n10\n");
	rob(&r, client);
	pid_t child = fork();
	if (child == 0) {
		lp_control_forget(server);
		assert_untouched(&r);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	lp_control_stop(server);
	server = NULL;
	close(client);
	for (int i = 0; i < OURS; i++) {
		close(r.ours[i]);
		close(r.peers[i]);
	}
}

/* Such as a daemon that closes all it has, and does not know what that is; what it opens next has the same numbers. */
static void a_program_that_closes_our_descriptors_loses_the_server_and_no_more(void **state)
{
	int ours[OURS];
	note_known();
	start(patient());
	int client = connect_client();
	ask(client, "get\n", "Success to run\n10\n");
	note_ours(client, ours);
	for (int i = 0; i < OURS; i++)
		assert_int_equal(dup2(hold_begun[1], ours[i]), ours[i]);
	lp_control_stop(server);
	server = NULL;
	assert_int_equal(connect_here(), -ENOENT);
	for (int i = 0; i < OURS; i++)
		assert_int_equal(close(ours[i]), 0);
	fcntl(hold_begun[0], F_SETFL, O_NONBLOCK);
	assert_int_equal(read(hold_begun[0], (char[1]){0}, 1), -1); /* nothing was written into it */
	assert_int_equal(errno, EAGAIN);
	close(client);
}

static void signals_of_the_host_are_not_taken(void **state)
{
	sigset_t all, before;
	sigfillset(&all);
	start(patient());
	pthread_sigmask(SIG_BLOCK, &all, &before);
	kill(getpid(), SIGUSR1); /* would end the process, if a thread took it */
	kill(getpid(), SIGRTMIN + 3);
	int fd = connect_client();
	ask(fd, "get\n", "Success to run\n10\n");
	close(fd);
	assert_int_equal(sigtimedwait(&all, NULL, &(struct timespec){0}), SIGUSR1);
	assert_int_equal(sigtimedwait(&all, NULL, &(struct timespec){0}), SIGRTMIN + 3);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- netcat as people have it ---- */

/* The exit status of `nc ARGUMENT... PATH` with `input`, which is left open until it has ended unless `ends`. */
static int netcat(const char *option, const char *input, struct lp_buf *out)
{
	int in[2], from[2], status;
	char data[4096];
	ssize_t n;
	assert_int_equal(pipe2(in, O_CLOEXEC) || pipe2(from, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(in[0], 0);
		dup2(from[1], 1);
		execlp("nc.openbsd", "nc", option, path, NULL);
		_exit(127);
	}
	close(in[0]);
	close(from[1]);
	assert_int_equal(write(in[1], input, strlen(input)), strlen(input));
	close(in[1]);
	while ((n = read(from[0], data, sizeof data)) > 0)
		lp_buf_add(out, data, (size_t)n);
	close(from[0]);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void netcat_prints_the_data_and_ends_by_itself(void **state)
{
	static const char *const how[] = {"-U", "-NU"};
	start(options());
	for (size_t i = 0; i < LP_ARRAY_SIZE(how); i++) {
		struct lp_buf out = {0};
		int status = netcat(how[i], "echo one two\nget\n", &out);
		if (status == 127)
			skip(); /* netcat-openbsd is not installed */
		assert_int_equal(status, 0);
		assert_string_equal(lp_buf_cstr(&out), "Success to run\none\ntwo\nSuccess to run\n10\n");
		lp_buf_free(&out);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(two_lines_in_one_packet_are_two_requests),
		TEST(a_line_without_its_end_is_answered_after_silence),
		TEST(a_line_that_comes_in_pieces_is_one),
		TEST(a_moment_of_silence_means_nothing_to_who_has_ended_a_line),
		TEST(an_unfinished_line_behind_others_is_answered_in_the_end),
		TEST(a_line_over_the_limit_is_refused_and_the_next_answered),
		TEST(who_closes_after_the_request_is_heard_all_the_same),
		TEST(who_ends_his_side_is_answered_on_the_other),
		TEST(a_connection_that_has_had_its_reply_ends_by_itself),
		TEST(a_prompt_and_json_keep_the_connection),
		TEST(no_request_is_lost_when_a_connection_is_closed),
		TEST(who_neither_asks_nor_ends_a_line_is_closed_in_the_end),
		TEST(who_does_not_read_is_closed_in_the_end),
		TEST(a_gigabyte_without_a_newline_costs_no_memory_and_nobody_his_turn),
		TEST(who_never_reads_costs_bounded_memory_and_loses_nothing),
		TEST(many_who_never_read_are_answered_within_a_bound_of_all),
		TEST(ten_thousand_connections_are_served_or_told_that_they_are_too_many),
		TEST(who_asks_nothing_makes_room_for_who_does),
		TEST(the_descriptors_of_the_host_limit_the_clients),
		TEST(who_came_when_descriptors_had_run_out_is_served_when_there_are_some),
		TEST(many_talk_while_many_are_idle),
		TEST(a_client_with_a_thousand_requests_does_not_keep_another_waiting),
		TEST(another_user_is_kept_out_by_the_node_and_by_his_credentials),
		TEST(a_server_listens_at_several_names_until_it_stops),
		TEST(a_name_that_somebody_has_is_no_end_of_the_server),
		TEST(what_waits_is_committed_where_the_program_says),
		TEST(what_is_asked_during_a_visit_waits_for_the_next),
		TEST(who_waits_and_goes_away_changes_nothing),
		TEST(who_waits_for_too_long_is_told),
		TEST(what_is_open_for_too_long_is_forgotten_and_its_client_told),
		TEST(a_program_goes_on_when_the_server_is_busy),
		TEST(what_is_changed_in_quiet_is_never_seen_half_done),
		TEST(a_server_stops_while_clients_are_in_the_middle),
		TEST(a_server_that_never_served_stops),
		TEST(the_child_of_a_fork_forgets_and_the_parent_goes_on),
		TEST(a_child_that_forgets_nothing_does_no_harm),
		TEST(a_program_that_closes_our_descriptors_loses_the_server_and_no_more),
		TEST(what_a_program_has_in_their_place_is_not_touched),
		TEST(what_comes_in_their_place_while_the_thread_waits_is_not_touched),
		TEST(a_child_does_not_close_what_came_in_their_place),
		TEST(signals_of_the_host_are_not_taken),
		TEST(netcat_prints_the_data_and_ends_by_itself),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
