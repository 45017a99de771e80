#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/vec.h"
#include "control/control.h"
#include "control/socket.h"

#define NOBODY 65534

static char directory[64], path[96];

static int make_directory(void **state)
{
	snprintf(directory, sizeof directory, "/tmp/livepatch-node-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof path, "%s/4711.socket", directory);
	return 0;
}

static int remove_directory(void **state)
{
	unlink(path);
	return rmdir(directory); /* fails when something was left behind */
}

static int names_in_directory(void)
{
	DIR *d = opendir(directory);
	int nr = 0;
	for (struct dirent *e; (e = readdir(d));)
		nr += e->d_name[0] != '.' || (e->d_name[1] && e->d_name[1] != '.');
	closedir(d);
	return nr;
}

static int connects(void)
{
	int fd = lp_socket_connect(path, 1000, NULL);
	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

/* A socket of somebody's at the name. */
static int bind_other(int type)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	memcpy(a.sun_path, path, strlen(path));
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

static void assert_refused(const char *because)
{
	struct lp_node node;
	struct lp_err err = {0};
	assert_int_equal(lp_node_make(path, &node, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, because));
	assert_int_equal(node.socket.fd, -1);
	assert_int_equal(names_in_directory(), 1);
	lp_node_remove(&node);
	assert_int_equal(names_in_directory(), 1);
}

/* ---- making and removing ---- */

static void a_node_is_for_its_owner_alone_whatever_the_umask(void **state)
{
	static const mode_t masks[] = {0, 022, 077, 0777};
	for (size_t i = 0; i < LP_ARRAY_SIZE(masks); i++) {
		struct lp_node node;
		struct stat st;
		mode_t before = umask(masks[i]);
		int rc = lp_node_make(path, &node, NULL);
		umask(before);
		assert_int_equal(rc, 0);
		assert_int_equal(lstat(path, &st), 0);
		assert_true(S_ISSOCK(st.st_mode));
		assert_int_equal(st.st_mode & 07777, 0600);
		assert_int_equal(names_in_directory(), 1);
		assert_true(fcntl(node.socket.fd, F_GETFD) & FD_CLOEXEC);
		lp_node_remove(&node);
		assert_int_equal(names_in_directory(), 0);
	}
}

static void a_node_can_be_connected_to_until_it_is_removed(void **state)
{
	struct lp_node node;
	struct lp_peer peer;
	assert_int_equal(lp_node_make(path, &node, NULL), 0);
	int client = lp_socket_connect(path, 1000, NULL), served = accept4(node.socket.fd, NULL, NULL, SOCK_CLOEXEC);
	assert_int_equal(lp_socket_peer(served, &peer), 0);
	assert_int_equal(peer.pid, getpid());
	assert_int_equal(peer.uid, geteuid());
	assert_int_equal(lp_socket_peer(client, &peer), 0);
	assert_int_equal(peer.pid, getpid());
	lp_node_remove(&node);
	assert_int_equal(connects(), -ENOENT);
	close(client);
	close(served);
}

static void a_name_must_be_absolute_and_fit(void **state)
{
	struct lp_node node;
	char long_name[200] = "/tmp/";
	memset(long_name + 5, 'x', sizeof long_name - 6);
	assert_int_equal(lp_node_make("relative.socket", &node, NULL), -EINVAL);
	assert_int_equal(lp_node_make("", &node, NULL), -EINVAL);
	assert_int_equal(lp_node_make(long_name, &node, NULL), -ENAMETOOLONG);
	assert_int_equal(lp_node_make("/nonexistent-directory/x", &node, NULL), -ENOENT);
}

/* ---- who has the name already ---- */

static void a_dead_socket_of_ours_is_replaced(void **state)
{
	struct lp_node node;
	close(bind_other(SOCK_STREAM));
	assert_int_equal(connects(), -ECONNREFUSED);
	assert_int_equal(lp_node_make(path, &node, NULL), 0);
	assert_int_equal(connects(), 0);
	assert_int_equal(names_in_directory(), 1);
	lp_node_remove(&node);
}

static void a_living_socket_is_left_alone(void **state)
{
	int other = bind_other(SOCK_STREAM);
	listen(other, 1);
	assert_refused("somebody listens");
	assert_int_equal(connects(), 0);
	close(other);
}

static void a_living_socket_whose_queue_is_full_is_left_alone(void **state)
{
	int other = bind_other(SOCK_STREAM), waiting[8];
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	memcpy(a.sun_path, path, strlen(path));
	listen(other, 0);
	for (size_t i = 0; i < LP_ARRAY_SIZE(waiting); i++) {
		waiting[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		connect(waiting[i], (struct sockaddr *)&a, sizeof a);
	}
	assert_refused("somebody listens");
	for (size_t i = 0; i < LP_ARRAY_SIZE(waiting); i++)
		close(waiting[i]);
	close(other);
}

static void a_socket_of_another_kind_is_left_alone(void **state)
{
	int other = bind_other(SOCK_DGRAM);
	assert_refused("somebody listens");
	close(other);
}

static void a_dangling_link_is_left_alone(void **state)
{
	char target[8];
	assert_int_equal(symlink("nowhere", path), 0);
	assert_refused("is no socket");
	assert_int_equal(readlink(path, target, sizeof target), 7);
}

static void a_link_to_a_dead_socket_is_left_alone(void **state)
{
	char real[128];
	close(bind_other(SOCK_STREAM));
	snprintf(real, sizeof real, "%s.real", directory);
	assert_int_equal(rename(path, real), 0);
	assert_int_equal(symlink(real, path), 0);
	assert_refused("is no socket");
	assert_int_equal(unlink(real), 0);
}

static void a_file_and_a_directory_are_left_alone(void **state)
{
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_refused("is no socket");
	unlink(path);
	mkdir(path, 0700);
	assert_refused("is no socket");
	rmdir(path);
}

static void a_dead_socket_of_another_user_is_left_alone(void **state)
{
	struct stat st;
	if (geteuid() != 0)
		skip(); /* only root can make one */
	close(bind_other(SOCK_STREAM));
	assert_int_equal(lchown(path, NOBODY, NOBODY), 0);
	assert_refused("belongs to user 65534");
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_uid, NOBODY);
}

static void only_a_dead_socket_of_ours_is_buried(void **state)
{
	int other = bind_other(SOCK_STREAM);
	listen(other, 1);
	assert_int_equal(lp_control_bury(path, NULL), -EADDRINUSE);
	assert_int_equal(connects(), 0);
	close(other);
	assert_int_equal(lp_control_bury(path, NULL), 0);
	assert_int_equal(names_in_directory(), 0);
	assert_int_equal(lp_control_bury(path, NULL), 0);
	assert_int_equal(symlink("nowhere", path), 0);
	assert_int_equal(lp_control_bury(path, NULL), -EADDRINUSE);
	assert_int_equal(names_in_directory(), 1);
}

static void only_what_is_still_ours_is_removed(void **state)
{
	struct lp_node node;
	assert_int_equal(lp_node_make(path, &node, NULL), 0);
	unlink(path);
	int other = bind_other(SOCK_STREAM);
	listen(other, 1);
	lp_node_remove(&node);
	assert_int_equal(connects(), 0);
	close(other);
}

/* ---- at the same time ---- */

#define RIVALS 4
#define RACES 200

static pthread_barrier_t line_up;
static int winners[RACES];

static void *race(void *arg)
{
	for (int i = 0; i < RACES; i++) {
		struct lp_node node;
		pthread_barrier_wait(&line_up);
		int rc = lp_node_make(path, &node, NULL);
		pthread_barrier_wait(&line_up);
		if (rc == 0) {
			__atomic_fetch_add(&winners[i], 1, __ATOMIC_RELAXED);
			lp_node_remove(&node);
		}
	}
	return NULL;
}

static void of_those_who_want_a_name_at_once_one_gets_it(void **state)
{
	pthread_t rivals[RIVALS];
	pthread_barrier_init(&line_up, NULL, RIVALS);
	for (int i = 0; i < RIVALS; i++)
		assert_int_equal(pthread_create(&rivals[i], NULL, race, NULL), 0);
	for (int i = 0; i < RIVALS; i++)
		pthread_join(rivals[i], NULL);
	for (int i = 0; i < RACES; i++)
		assert_int_equal(winners[i], 1);
	pthread_barrier_destroy(&line_up);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_node_is_for_its_owner_alone_whatever_the_umask),
		TEST(a_node_can_be_connected_to_until_it_is_removed),
		TEST(a_name_must_be_absolute_and_fit),
		TEST(a_dead_socket_of_ours_is_replaced),
		TEST(a_living_socket_is_left_alone),
		TEST(a_living_socket_whose_queue_is_full_is_left_alone),
		TEST(a_socket_of_another_kind_is_left_alone),
		TEST(a_dangling_link_is_left_alone),
		TEST(a_link_to_a_dead_socket_is_left_alone),
		TEST(a_file_and_a_directory_are_left_alone),
		TEST(a_dead_socket_of_another_user_is_left_alone),
		TEST(only_a_dead_socket_of_ours_is_buried),
		TEST(only_what_is_still_ours_is_removed),
		TEST(of_those_who_want_a_name_at_once_one_gets_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
