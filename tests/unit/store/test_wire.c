#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/vec.h"
#include "store/wire.h"

static char directory[] = "/tmp/livepatch-wire-XXXXXX";

static int make_directory(void **state)
{
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	return rmdir(directory);
}

static struct lp_wire_request request_of(const char *bytes, size_t len)
{
	struct lp_wire_request r = {.len = len};
	memcpy(r.bytes, bytes, len);
	return r;
}

static void a_request_is_split_into_its_words(void **state)
{
	struct lp_wire_request r = request_of("patch\0-p\0004711\0/var/lib\0\0", 24);
	struct lp_wire_words w;
	assert_int_equal(lp_wire_words(&r, &w, NULL), 0);
	assert_int_equal(w.nr, 4);
	assert_string_equal(w.items[0], "patch");
	assert_string_equal(w.items[2], "4711");
	assert_string_equal(w.items[3], "/var/lib");
	assert_null(w.items[4]);
	assert_false(w.wants_status);
}

static void a_leading_status_word_is_an_option(void **state)
{
	struct lp_wire_request r = request_of("--status\0info\0\0", 15);
	struct lp_wire_words w;
	assert_int_equal(lp_wire_words(&r, &w, NULL), 0);
	assert_true(w.wants_status);
	assert_int_equal(w.nr, 1);
	assert_string_equal(w.items[0], "info");
}

static void a_request_without_a_word_is_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} bad[] = {{"\0\0", 2}, {"", 0}, {"\0", 1}, {"info", 4}, {"info\0", 5}, {"--status\0\0", 10}};
	for (size_t i = 0; i < LP_ARRAY_SIZE(bad); i++) {
		struct lp_wire_request r = request_of(bad[i].bytes, bad[i].len);
		struct lp_wire_words w;
		struct lp_err err = {0};
		assert_int_equal(lp_wire_words(&r, &w, &err), -EBADMSG);
		assert_true(err.text[0]);
	}
}

static void more_words_than_there_is_room_for_are_refused(void **state)
{
	struct lp_wire_request r = {0};
	struct lp_wire_words w;
	for (int i = 0; i <= LP_WIRE_WORDS; i++) {
		memcpy(r.bytes + r.len, "x", 2);
		r.len += 2;
	}
	r.bytes[r.len++] = 0;
	assert_int_equal(lp_wire_words(&r, &w, NULL), -EBADMSG);
	r.len -= 3; /* one word less: just enough */
	r.bytes[r.len++] = 0;
	assert_int_equal(lp_wire_words(&r, &w, NULL), 0);
	assert_int_equal(w.nr, LP_WIRE_WORDS);
	assert_null(w.items[w.nr]);
}

static void a_request_that_comes_in_pieces_is_complete_with_its_last_byte(void **state)
{
	static const char text[] = "kill\00042\0";
	struct lp_wire_request r = {0};
	int ends[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	for (size_t i = 0; i < sizeof text; i++) {
		assert_int_equal(lp_wire_take(&r, ends[1], NULL), 0); /* nothing there yet */
		assert_int_equal(write(ends[0], text + i, 1), 1);
		assert_int_equal(lp_wire_take(&r, ends[1], NULL), i + 1 == sizeof text);
	}
	close(ends[0]);
	close(ends[1]);
}

static void a_request_that_ends_early_is_an_error(void **state)
{
	struct lp_wire_request r = {0};
	struct lp_err err = {0};
	int ends[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(write(ends[0], "in", 2), 2);
	close(ends[0]);
	assert_int_equal(lp_wire_take(&r, ends[1], &err), 0);
	assert_int_equal(lp_wire_take(&r, ends[1], &err), -ECONNRESET);
	close(ends[1]);
}

static void a_request_without_end_is_cut_off(void **state)
{
	struct lp_wire_request r = {0};
	char flood[LP_WIRE_MAX + 1];
	struct lp_err err = {0};
	int ends[2], rc, size = 2 * LP_WIRE_MAX;
	memset(flood, 'a', sizeof flood);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	assert_int_equal(write(ends[0], flood, sizeof flood), sizeof flood);
	while ((rc = lp_wire_take(&r, ends[1], &err)) == 0)
		;
	assert_int_equal(rc, -EMSGSIZE);
	close(ends[0]);
	close(ends[1]);
}

static void what_is_sent_is_what_is_taken(void **state)
{
	char a[] = "unpatch", b[] = "-p", c[] = "all";
	char *words[] = {a, b, c};
	struct lp_wire_request r = {0};
	struct lp_wire_words w;
	int ends[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(lp_wire_send(ends[0], words, 3, NULL), 0);
	assert_int_equal(lp_wire_take(&r, ends[1], NULL), 1);
	assert_int_equal(lp_wire_words(&r, &w, NULL), 0);
	assert_int_equal(w.nr, 3);
	assert_string_equal(w.items[2], "all");
	close(ends[0]);
	close(ends[1]);
}

static void an_empty_word_cannot_be_sent(void **state)
{
	char a[] = "storage", b[] = "";
	char *words[] = {a, b};
	struct lp_err err = {0};
	assert_int_equal(lp_wire_send(-1, words, 2, &err), -EINVAL);
}

static void a_new_socket_is_its_owners_alone(void **state)
{
	struct stat st;
	char *name = lp_sprintf("%s/socket", directory);
	int fd = lp_wire_listen(name, NULL);
	assert_true(fd >= 0);
	assert_int_equal(lstat(name, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
	close(fd);
	lp_wire_unlink(name);
	assert_int_not_equal(lstat(name, &st), 0);
	lp_free(name);
}

static void a_socket_that_a_dead_server_left_is_replaced_and_a_live_one_is_not(void **state)
{
	struct lp_err err = {0};
	char *name = lp_sprintf("%s/socket", directory);
	int first = lp_wire_listen(name, NULL);
	assert_true(first >= 0);
	assert_int_equal(lp_wire_listen(name, &err), -EADDRINUSE);
	close(first); /* the file stays */
	int second = lp_wire_listen(name, &err);
	assert_true(second >= 0);
	int client = lp_wire_connect(name, NULL);
	assert_true(client >= 0);
	close(client);
	close(second);
	lp_wire_unlink(name);
	lp_free(name);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
	struct stat st;
	char *name = lp_sprintf("%s/file", directory);
	FILE *f = fopen(name, "w");
	assert_non_null(f);
	fclose(f);
	assert_true(lp_wire_listen(name, NULL) < 0);
	assert_int_equal(lstat(name, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	unlink(name);
	lp_free(name);
}

static void an_abstract_name_needs_no_file(void **state)
{
	char *name = lp_sprintf("@livepatch-wire-%d", (int)getpid());
	struct lp_wire_peer peer;
	int fd = lp_wire_listen(name, NULL);
	assert_true(fd >= 0);
	int client = lp_wire_connect(name, NULL), server = accept(fd, NULL, NULL);
	assert_true(client >= 0 && server >= 0);
	assert_int_equal(lp_wire_peer(server, &peer, NULL), 0);
	assert_int_equal(peer.pid, getpid());
	assert_int_equal(peer.uid, getuid());
	close(peer.pidfd);
	close(client);
	close(server);
	close(fd);
	lp_free(name);
}

static void who_connected_can_be_told_from_the_next_one_with_his_number(void **state)
{
	char *name = lp_sprintf("@livepatch-wire-%d", (int)getpid());
	struct lp_wire_peer peer;
	int ends[2], fd = lp_wire_listen(name, NULL);
	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	if (child == 0) {
		char byte;
		close(ends[1]);
		_exit(lp_wire_connect(name, NULL) < 0 || read(ends[0], &byte, 1) != 0);
	}
	int server = accept(fd, NULL, NULL);
	assert_int_equal(lp_wire_peer(server, &peer, NULL), 0);
	assert_int_equal(peer.pid, child);
	struct pollfd p = {.fd = peer.pidfd, .events = POLLIN};
	assert_true(peer.pidfd >= 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	close(ends[1]);
	assert_int_equal(poll(&p, 1, -1), 1);
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(ends[0]);
	close(peer.pidfd);
	close(server);
	close(fd);
	lp_free(name);
}

static void an_inherited_descriptor_must_be_a_socket_that_listens(void **state)
{
	char name[16];
	int ends[2];
	struct lp_err err = {0};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	snprintf(name, sizeof name, "&%d", ends[0]);
	assert_int_equal(lp_wire_listen(name, &err), -ENOTSOCK);
	assert_int_equal(lp_wire_listen("&", &err), -EINVAL);
	assert_int_equal(lp_wire_listen("&3x", &err), -EINVAL);
	assert_int_equal(lp_wire_listen("&99999999999999999999", &err), -EINVAL);
	char *path = lp_sprintf("%s/socket", directory);
	int fd = lp_wire_listen(path, NULL);
	snprintf(name, sizeof name, "&%d", fd);
	assert_int_equal(lp_wire_listen(name, &err), fd);
	close(fd);
	lp_wire_unlink(path);
	lp_free(path);
	close(ends[0]);
	close(ends[1]);
}

static void a_name_that_is_too_long_is_refused(void **state)
{
	char name[300];
	struct lp_err err = {0};
	memset(name, 'a', sizeof name);
	name[0] = '/';
	name[sizeof name - 1] = 0;
	assert_int_equal(lp_wire_connect(name, &err), -ENAMETOOLONG);
	assert_int_equal(lp_wire_connect("", &err), -EINVAL);
	assert_int_equal(lp_wire_connect("@", &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_split_into_its_words),
		cmocka_unit_test(a_leading_status_word_is_an_option),
		cmocka_unit_test(a_request_without_a_word_is_refused),
		cmocka_unit_test(more_words_than_there_is_room_for_are_refused),
		cmocka_unit_test(a_request_that_comes_in_pieces_is_complete_with_its_last_byte),
		cmocka_unit_test(a_request_that_ends_early_is_an_error),
		cmocka_unit_test(a_request_without_end_is_cut_off),
		cmocka_unit_test(what_is_sent_is_what_is_taken),
		cmocka_unit_test(an_empty_word_cannot_be_sent),
		cmocka_unit_test(a_new_socket_is_its_owners_alone),
		cmocka_unit_test(a_socket_that_a_dead_server_left_is_replaced_and_a_live_one_is_not),
		cmocka_unit_test(a_file_that_is_no_socket_is_left_alone),
		cmocka_unit_test(an_abstract_name_needs_no_file),
		cmocka_unit_test(who_connected_can_be_told_from_the_next_one_with_his_number),
		cmocka_unit_test(an_inherited_descriptor_must_be_a_socket_that_listens),
		cmocka_unit_test(a_name_that_is_too_long_is_refused),
	};
	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
