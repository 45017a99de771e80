#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "commands.h"

#define NOBODY 65534
#define LONG 1000000u /* milliseconds: nothing here waits for so long */

static char directory[64], path[96];
static struct lp_control *server;

static int set_up(void **state)
{
	snprintf(directory, sizeof directory, "/tmp/livepatch-client-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof path, "%s/socket", directory);
	atomic_store(&number, 10);
	if (lp_control_start(&test_options, &server, NULL) < 0 || lp_control_listen(server, path, NULL) < 0)
		return -1;
	return pipe2(hold_begun, O_CLOEXEC) || pipe2(hold_ends, O_CLOEXEC);
}

static int tear_down(void **state)
{
	lp_control_stop(server);
	for (int i = 0; i < 2; i++) {
		close(hold_begun[i]);
		close(hold_ends[i]);
	}
	return rmdir(directory);
}

static int ask(struct lp_control_client *c, bool lines, struct lp_buf *out, struct lp_err *err, const char *a,
	       const char *b)
{
	const char *words[] = {a, b};
	lp_buf_free(out);
	return lp_control_ask(c, words, b ? 2 : 1, lines, LONG, out, err);
}

/* ---- asking ---- */

static void a_client_asks_as_often_as_it_likes(void **state)
{
	struct lp_control_client c;
	struct lp_buf out = {0};
	assert_int_equal(lp_control_connect(path, getpid(), LONG, &c, NULL), 0);
	assert_int_equal(c.pid, getpid());
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ask(&c, false, &out, NULL, "get", NULL), 0);
		assert_string_equal(lp_buf_cstr(&out), "{\"ok\": true, \"data\": [{\"value\": 10}]}");
		assert_int_equal(ask(&c, true, &out, NULL, "echo", "a b"), 0);
		assert_string_equal(lp_buf_cstr(&out), "{\"ok\": true, \"data\": [\"a b\"]}");
		assert_int_equal(ask(&c, false, &out, NULL, "set", "x"), 0);
		assert_string_equal(
			lp_buf_cstr(&out),
			"{\"ok\": false, \"error\": {\"code\": \"range\", \"message\": \"x is no number\"}}");
	}
	lp_buf_free(&out);
	lp_control_close(&c);
	lp_control_close(&c);
}

/* Text shows which bytes arrived, each as its escape. */
static void words_arrive_as_they_are(void **state)
{
	struct lp_control_client c;
	struct lp_buf out = {0};
	assert_int_equal(lp_control_connect(path, getpid(), LONG, &c, NULL), 0);
	assert_int_equal(ask(&c, true, &out, NULL, "echo", "\xff;\"'\n\xc3\xa9"), 0);
	assert_string_equal(lp_buf_cstr(&out), "{\"ok\": true, \"data\": [\"\\\\xff;\\\"'\\\\n\xc3\xa9\"]}");
	lp_buf_free(&out);
	lp_control_close(&c);
}

static void a_long_reply_comes_whole(void **state)
{
	struct lp_control_client c;
	struct lp_buf out = {0};
	assert_int_equal(lp_control_connect(path, getpid(), LONG, &c, NULL), 0);
	assert_int_equal(ask(&c, true, &out, NULL, "fill", "5000000"), 0);
	assert_int_equal(out.len, 5000000 + strlen("{\"ok\": true, \"data\": [\"\"]}"));
	lp_buf_free(&out);
	lp_control_close(&c);
}

static void who_gets_no_answer_in_time_is_told(void **state)
{
	static const char *const words[] = {"hold"};
	struct lp_control_client c;
	struct lp_err err = {0};
	struct lp_buf out = {0};
	char byte;
	assert_int_equal(lp_control_connect(path, getpid(), LONG, &c, NULL), 0);
	assert_int_equal(lp_control_ask(&c, words, 1, false, 1, &out, &err), -LP_ETIMEOUT);
	assert_non_null(strstr(err.text, "has not answered within 0.001 s"));
	assert_int_equal(out.len, 0);
	assert_int_equal(read(hold_begun[0], &byte, 1), 1);
	assert_int_equal(write(hold_ends[1], "", 1), 1);
	lp_control_close(&c);
}

static void a_server_that_ends_is_noticed(void **state)
{
	struct lp_control_client c;
	struct lp_buf out = {0};
	assert_int_equal(lp_control_connect(path, getpid(), LONG, &c, NULL), 0);
	assert_int_equal(ask(&c, false, &out, NULL, "get", NULL), 0);
	lp_control_stop(server);
	server = NULL;
	assert_int_equal(ask(&c, false, &out, NULL, "get", NULL), -ECONNRESET);
	lp_buf_free(&out);
	lp_control_close(&c);
	assert_int_equal(lp_control_connect(path, getpid(), LONG, &c, NULL), -ENOENT);
	assert_int_equal(c.fd, -1);
}

static void who_is_turned_away_hears_why(void **state)
{
	struct lp_control_options o = test_options;
	struct lp_control *small;
	struct lp_control_client first, second;
	struct lp_err err = {0};
	struct lp_buf out = {0};
	char other[112];
	o.limits.clients = 1;
	o.limits.idle_ms = LONG;
	snprintf(other, sizeof other, "%s.small", path);
	assert_int_equal(lp_control_start(&o, &small, NULL), 0);
	assert_int_equal(lp_control_listen(small, other, NULL), 0);
	assert_int_equal(lp_control_connect(other, getpid(), LONG, &first, NULL), 0);
	assert_int_equal(ask(&first, false, &out, NULL, "get", NULL), 0);
	assert_int_equal(lp_control_connect(other, getpid(), LONG, &second, NULL), 0);
	assert_int_equal(ask(&second, false, &out, &err, "get", NULL), -EPROTO);
	assert_non_null(strstr(err.text, "too many clients are connected"));
	lp_buf_free(&out);
	lp_control_close(&first);
	lp_control_close(&second);
	lp_control_stop(small);
}

/* ---- whom one talks to ---- */

static void assert_refused(pid_t pid, int rc, const char *because)
{
	struct lp_control_client c;
	struct lp_err err = {0};
	assert_int_equal(lp_control_connect(path, pid, LONG, &c, &err), rc);
	assert_non_null(strstr(err.text, because));
	assert_int_equal(c.fd, -1);
}

static void a_process_that_is_not_there_is_said_to_be_so(void **state)
{
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	waitpid(pid, &status, 0);
	assert_refused(pid, -ESRCH, "there is no process");
}

static void what_is_no_socket_is_not_connected_to(void **state)
{
	char away[112];
	snprintf(away, sizeof away, "%s.away", path);
	assert_int_equal(rename(path, away), 0);
	assert_int_equal(symlink(away, path), 0);
	assert_refused(getpid(), -LP_EPERM, "is no socket");
	assert_int_equal(unlink(path), 0);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_refused(getpid(), -LP_EPERM, "is no socket");
	assert_int_equal(rename(away, path), 0);
}

/* Only what says plainly that there is nothing is an absence; all else is somebody whom nobody knows. */
static void what_cannot_be_looked_at_is_not_connected_to(void **state)
{
	char loop[96], inside[112];
	struct lp_control_client c;
	snprintf(loop, sizeof loop, "%s/loop", directory);
	snprintf(inside, sizeof inside, "%s/socket", loop);
	assert_int_equal(symlink(loop, loop), 0);
	assert_int_equal(lp_control_connect(inside, getpid(), LONG, &c, NULL), -LP_EPERM);
	assert_int_equal(unlink(loop), 0);
	assert_int_equal(lp_control_connect(inside, getpid(), LONG, &c, NULL), -ENOENT);
	close(open(loop, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(lp_control_connect(inside, getpid(), LONG, &c, NULL), -ENOTDIR);
	assert_int_equal(unlink(loop), 0);
}

static void who_takes_no_clients_is_waited_for_no_longer_than_was_said(void **state)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct lp_control_client first, second;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	lp_control_stop(server);
	server = NULL;
	memcpy(a.sun_path, path, strlen(path));
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 0), 0);
	assert_int_equal(lp_control_connect(path, getpid(), LONG, &first, NULL), 0);
	assert_int_equal(lp_control_connect(path, getpid(), 0, &second, NULL), -EAGAIN);
	assert_int_equal(lp_control_connect(path, getpid(), 1, &second, NULL), -EAGAIN);
	assert_int_equal(second.fd, -1);
	lp_control_close(&first);
	close(fd);
	unlink(path);
}

static void a_node_of_another_user_is_not_connected_to(void **state)
{
	if (geteuid() != 0)
		skip(); /* only root can make one */
	assert_int_equal(lchown(path, NOBODY, NOBODY), 0);
	assert_refused(getpid(), -LP_EPERM, "belongs to user 65534");
	assert_int_equal(lchown(path, 0, 0), 0);
}

static void a_name_at_which_nobody_listens_is_refused(void **state)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	lp_control_stop(server);
	server = NULL;
	memcpy(a.sun_path, path, strlen(path));
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	close(fd);
	assert_refused(getpid(), -ECONNREFUSED, "cannot connect");
	unlink(path);
}

/* A process of the same user has taken the place of another: it must not get a byte. */
static void who_sits_at_anothers_name_gets_nothing(void **state)
{
	int status, ready[2];
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	lp_control_stop(server);
	server = NULL;
	pid_t impostor = fork();
	if (impostor == 0) {
		struct sockaddr_un a = {.sun_family = AF_UNIX};
		char byte;
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		memcpy(a.sun_path, path, strlen(path));
		if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 1) || write(ready[1], "", 1) != 1)
			_exit(2);
		int conn = accept(fd, NULL, NULL);
		_exit(conn >= 0 && recv(conn, &byte, 1, 0) == 0 ? 0 : 1);
	}
	char byte;
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_refused(getpid(), -LP_EPERM, "and not process");
	assert_int_equal(waitpid(impostor, &status, 0), impostor);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	unlink(path);
	close(ready[0]);
	close(ready[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_client_asks_as_often_as_it_likes),
		TEST(words_arrive_as_they_are),
		TEST(a_long_reply_comes_whole),
		TEST(who_gets_no_answer_in_time_is_told),
		TEST(a_server_that_ends_is_noticed),
		TEST(who_is_turned_away_hears_why),
		TEST(a_process_that_is_not_there_is_said_to_be_so),
		TEST(what_is_no_socket_is_not_connected_to),
		TEST(what_cannot_be_looked_at_is_not_connected_to),
		TEST(who_takes_no_clients_is_waited_for_no_longer_than_was_said),
		TEST(a_node_of_another_user_is_not_connected_to),
		TEST(a_name_at_which_nobody_listens_is_refused),
		TEST(who_sits_at_anothers_name_gets_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
