/* The folder of the translation cache: whose it may be, and how large it becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/vec.h"
#include "jit/cache_dir.h"

enum { NOBODY = 65534 };

static char home[] = "/tmp/cache-dir-XXXXXX";

static char *path(const char *name)
{
	return lp_sprintf("%s/%s", home, name);
}

static int begin(void **state)
{
	strcpy(home + sizeof home - 7, "XXXXXX");
	if (!mkdtemp(home))
		return -1;
	return setenv("XDG_CACHE_HOME", home, 1);
}

static int end(void **state)
{
	const char *const argv[] = {"rm", "-rf", home, NULL};
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execv("/bin/rm", (char *const *)argv);
		_exit(127);
	}
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

/* Whether there is a folder to be used, as it is now. */
static int try(void)
{
	int dir = lp_cache_dir_open(true, NULL);

	if (dir < 0)
		return dir;
	close(dir);
	return 0;
}

static void put(int dir, const char *name, size_t size, time_t age)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct timespec when[2] = {{.tv_sec = time(NULL) - age}, {.tv_sec = time(NULL) - age}};
	char *data = lp_alloc(size);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), size);
	assert_int_equal(futimens(fd, when), 0);
	lp_free(data);
	close(fd);
}

static bool has(int dir, const char *name)
{
	return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void it_is_made_for_this_user_alone(void **state)
{
	char *arm64 = path("livepatch/arm64");
	mode_t mask = umask(0);
	struct stat st;
	struct lp_err err;

	assert_int_equal(lp_cache_dir_open(false, &err), -ENOENT);
	assert_int_equal(try(), 0);
	umask(mask);
	assert_int_equal(stat(arm64, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	lp_free(arm64);
}

static void a_folder_that_others_may_enter_is_not_used(void **state)
{
	static const mode_t modes[] = {0710, 0701, 0720, 0777, 0740};
	static const char *const names[] = {"livepatch", "livepatch/arm64"};

	assert_int_equal(try(), 0);
	for (unsigned n = 0; n < 2; n++) {
		char *dir = path(names[n]);
		for (unsigned i = 0; i < LP_ARRAY_SIZE(modes); i++) {
			struct lp_err err = {0};
			assert_int_equal(chmod(dir, modes[i]), 0);
			assert_int_equal(lp_cache_dir_open(true, &err), -EPERM);
			assert_non_null(strstr(err.text, "chmod 0700"));
		}
		assert_int_equal(chmod(dir, 0700), 0);
		assert_int_equal(try(), 0);
		lp_free(dir);
	}
}

static void a_link_is_not_followed(void **state)
{
	char *elsewhere = path("elsewhere"), *arm64 = path("livepatch/arm64");

	assert_int_equal(try(), 0);
	assert_int_equal(rmdir(arm64), 0);
	assert_int_equal(mkdir(elsewhere, 0700), 0);
	assert_int_equal(symlink(elsewhere, arm64), 0);
	assert_true(try() < 0);
	lp_free(elsewhere);
	lp_free(arm64);
}

static void somebody_elses_folder_is_not_used(void **state)
{
	char *arm64 = path("livepatch/arm64");

	if (geteuid() != 0)
		skip();
	assert_int_equal(try(), 0);
	assert_int_equal(chown(arm64, NOBODY, NOBODY), 0);
	assert_int_equal(try(), -EPERM);
	lp_free(arm64);
}

static void who_has_other_rights_than_his_user_has_none(void **state)
{
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(home, 0777), 0);
	pid = fork();
	if (pid == 0)
		_exit(setresuid(NOBODY, 0, 0) == 0 && try() == -EPERM ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	pid = fork();
	if (pid == 0)
		_exit(setresgid((gid_t)-1, NOBODY, (gid_t)-1) == 0 && try() == -EPERM ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void without_a_home_there_is_none(void **state)
{
	char *old = lp_strdup(getenv("HOME"));

	unsetenv("XDG_CACHE_HOME");
	setenv("HOME", home, 1);
	assert_int_equal(try(), 0);
	setenv("HOME", "here", 1);
	assert_int_equal(try(), -ENOENT);
	unsetenv("HOME");
	assert_int_equal(try(), -ENOENT);
	setenv("XDG_CACHE_HOME", "relative", 1);
	assert_int_equal(try(), -ENOENT);
	if (old)
		setenv("HOME", old, 1);
	lp_free(old);
}

static void files_of_others_are_not_read(void **state)
{
	int dir = lp_cache_dir_open(true, NULL), fd;

	assert_true(dir >= 0);
	put(dir, "mine", 1, 0);
	put(dir, "open", 1, 0);
	assert_int_equal(fchmodat(dir, "open", 0604, 0), 0);
	assert_int_equal(symlinkat("mine", dir, "link"), 0);
	assert_int_equal(mkfifoat(dir, "pipe", 0600), 0);
	assert_int_equal(mkdirat(dir, "folder", 0700), 0);
	fd = lp_cache_dir_file(dir, "mine");
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(lp_cache_dir_file(dir, "open"), -EPERM);
	assert_int_equal(lp_cache_dir_file(dir, "link"), -ELOOP);
	assert_int_equal(lp_cache_dir_file(dir, "pipe"), -EPERM);
	assert_int_equal(lp_cache_dir_file(dir, "folder"), -EPERM);
	assert_int_equal(lp_cache_dir_file(dir, "none"), -ENOENT);
	if (geteuid() == 0) {
		assert_int_equal(fchownat(dir, "mine", NOBODY, NOBODY, 0), 0);
		assert_int_equal(lp_cache_dir_file(dir, "mine"), -EPERM);
	}
	close(dir);
}

static void a_new_one_takes_the_place_of_the_old_one(void **state)
{
	int dir = lp_cache_dir_open(true, NULL), fd;
	char one[LP_CACHE_NAME_MAX], two[LP_CACHE_NAME_MAX], byte;

	for (unsigned i = 0; i < 2; i++) {
		char *name = i ? two : one;
		fd = lp_cache_dir_new(dir, name);
		assert_true(fd >= 0);
		assert_int_equal(write(fd, i ? "B" : "A", 1), 1);
		close(fd);
	}
	assert_string_not_equal(one, two);
	assert_int_equal(lp_cache_dir_rename(dir, one, "name"), 0);
	assert_int_equal(lp_cache_dir_rename(dir, two, "name"), 0);
	fd = lp_cache_dir_file(dir, "name");
	assert_int_equal(read(fd, &byte, 1), 1);
	assert_int_equal(byte, 'B');
	close(fd);
	close(dir);
}

static void the_oldest_go_first(void **state)
{
	int dir = lp_cache_dir_open(true, NULL);

	put(dir, "young", 64 << 10, 10);
	put(dir, "old", 64 << 10, 5000);
	put(dir, "middle", 64 << 10, 100);
	lp_cache_dir_limit(dir, 1 << 20);
	assert_true(has(dir, "young") && has(dir, "old") && has(dir, "middle"));
	lp_cache_dir_limit(dir, 150 << 10);
	assert_true(has(dir, "young") && !has(dir, "old") && has(dir, "middle"));
	lp_cache_dir_limit(dir, 0);
	assert_false(has(dir, "young") || has(dir, "middle"));
	close(dir);
}

static void a_use_makes_young_again(void **state)
{
	int dir = lp_cache_dir_open(true, NULL);

	put(dir, "used", 64 << 10, 1000000);
	put(dir, "not", 64 << 10, 500000);
	close(lp_cache_dir_file(dir, "used"));
	lp_cache_dir_limit(dir, 100 << 10);
	assert_true(has(dir, "used") && !has(dir, "not"));
	close(dir);
}

static void what_the_killed_leave_behind_goes(void **state)
{
	int dir = lp_cache_dir_open(true, NULL);

	put(dir, ".new-1-0", 10, 7200);
	put(dir, ".new-2-0", 10, 10);
	put(dir, "old", 10, 7200);
	lp_cache_dir_limit(dir, 1 << 20);
	assert_true(!has(dir, ".new-1-0") && has(dir, ".new-2-0") && has(dir, "old"));
	close(dir);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_is_made_for_this_user_alone),
		TEST(a_folder_that_others_may_enter_is_not_used),
		TEST(a_link_is_not_followed),
		TEST(somebody_elses_folder_is_not_used),
		TEST(who_has_other_rights_than_his_user_has_none),
		TEST(without_a_home_there_is_none),
		TEST(files_of_others_are_not_read),
		TEST(a_new_one_takes_the_place_of_the_old_one),
		TEST(the_oldest_go_first),
		TEST(a_use_makes_young_again),
		TEST(what_the_killed_leave_behind_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
