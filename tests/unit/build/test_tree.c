#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scratch.h"

static const char *in(const char *name)
{
	static char path[4][512];
	static unsigned turn;
	char *p = path[turn++ % 4];
	snprintf(p, sizeof path[0], "%s/%s", scratch, name);
	return p;
}

static void put(const char *name, const char *text)
{
	assert_int_equal(lp_write_file(in(name), text, strlen(text), NULL), 0);
}

static void set_time(const char *name, long seconds, long ns)
{
	struct timespec times[2] = {{seconds, ns}, {seconds, ns}};
	assert_int_equal(utimensat(AT_FDCWD, in(name), times, AT_SYMLINK_NOFOLLOW), 0);
}

static void copy(bool age)
{
	struct lp_err err = {0};
	struct lp_tree_copy how = {.from = lp_strdup(in("a")), .to = lp_strdup(in("b")), .age_objects = age};
	if (lp_tree_copy(&how, &err) < 0)
		fail_msg("%s", err.text);
	lp_free((char *)how.from);
	lp_free((char *)how.to);
}

static struct stat look(const char *name)
{
	struct stat st;
	if (lstat(in(name), &st) < 0)
		fail_msg("%s is not there", name);
	return st;
}

static void a_copy_keeps_content_permissions_and_times(void **state)
{
	char text[16] = "";
	(void)state;
	mkdir(in("a"), 0755);
	mkdir(in("a/sub"), 0500);
	chmod(in("a/sub"), 0700);
	put("a/sub/f", "hello");
	chmod(in("a/sub/f"), 0540);
	set_time("a/sub/f", 12345, 678901234);
	chmod(in("a/sub"), 0500);
	copy(false);
	struct stat st = look("b/sub/f");
	assert_int_equal(st.st_mode & 07777, 0540);
	assert_int_equal(st.st_mtim.tv_sec, 12345);
	assert_int_equal(st.st_mtim.tv_nsec, 678901234);
	int fd = open(in("b/sub/f"), O_RDONLY);
	assert_int_equal(read(fd, text, sizeof text), 5);
	close(fd);
	assert_string_equal(text, "hello");
	assert_int_not_equal(st.st_ino, look("a/sub/f").st_ino);
}

static void links_stay_inside_the_copy_or_go_where_they_went(void **state)
{
	char target[512];
	(void)state;
	mkdir(in("a"), 0755);
	mkdir(in("a/sub"), 0755);
	put("a/f", "x");
	assert_int_equal(symlink("../f", in("a/sub/inside")), 0);
	assert_int_equal(symlink("../../elsewhere", in("a/sub/outside")), 0);
	assert_int_equal(symlink(in("a/f"), in("a/absolute")), 0);
	copy(false);
	assert_int_equal(readlink(in("b/sub/inside"), target, sizeof target), 4);
	ssize_t n = readlink(in("b/sub/outside"), target, sizeof target - 1);
	target[n > 0 ? n : 0] = 0;
	assert_string_equal(target, in("elsewhere"));
	n = readlink(in("b/absolute"), target, sizeof target - 1);
	target[n > 0 ? n : 0] = 0;
	assert_string_equal(target, in("b/f"));
}

static void what_compilers_made_is_old_in_the_copy(void **state)
{
	(void)state;
	mkdir(in("a"), 0755);
	put("a/x.o", "\177ELF....");
	put("a/x.a", "!<arch>\n");
	put("a/x.lo", "# x.lo - a libtool object file\n");
	put("a/x.c", "int x;\n");
	copy(true);
	assert_int_equal(look("b/x.o").st_mtim.tv_sec, 1);
	assert_int_equal(look("b/x.a").st_mtim.tv_sec, 1);
	assert_int_equal(look("b/x.lo").st_mtim.tv_sec, 1);
	assert_int_equal(look("b/x.c").st_mtim.tv_sec, look("a/x.c").st_mtim.tv_sec);
	assert_int_not_equal(look("a/x.o").st_mtim.tv_sec, 1);
}

static void the_hash_is_of_names_and_contents_not_of_times(void **state)
{
	struct lp_hash first, again, other;
	(void)state;
	mkdir(in("a"), 0755);
	put("a/f", "one");
	assert_int_equal(lp_tree_hash(&first, in("a"), NULL, NULL, NULL), 0);
	set_time("a/f", 1, 1);
	assert_int_equal(lp_tree_hash(&again, in("a"), NULL, NULL, NULL), 0);
	assert_memory_equal(&first, &again, sizeof first);
	put("a/f", "two");
	assert_int_equal(lp_tree_hash(&other, in("a"), NULL, NULL, NULL), 0);
	assert_memory_not_equal(&first, &other, sizeof first);
	put("a/f", "one");
	rename(in("a/f"), in("a/g"));
	assert_int_equal(lp_tree_hash(&other, in("a"), NULL, NULL, NULL), 0);
	assert_memory_not_equal(&first, &other, sizeof first);
}

static void the_hash_does_not_change_with_gits_index(void **state)
{
	struct lp_hash first, again;
	(void)state;
	mkdir(in("a"), 0755);
	mkdir(in("a/.git"), 0755);
	put("a/.git/HEAD", "ref: refs/heads/main");
	put("a/.git/index", "1");
	assert_int_equal(lp_tree_hash(&first, in("a"), NULL, NULL, NULL), 0);
	put("a/.git/index", "2");
	assert_int_equal(lp_tree_hash(&again, in("a"), NULL, NULL, NULL), 0);
	assert_memory_equal(&first, &again, sizeof first);
	put("a/.git/HEAD", "ref: refs/heads/other");
	assert_int_equal(lp_tree_hash(&again, in("a"), NULL, NULL, NULL), 0);
	assert_memory_not_equal(&first, &again, sizeof first);
}

static void changes_are_what_was_written_made_or_removed(void **state)
{
	lp_path_vec changes = {0};
	(void)state;
	mkdir(in("a"), 0755);
	put("a/same", "1");
	put("a/written", "1");
	put("a/gone", "1");
	set_time("a/written", 5, 5);
	copy(false);
	put("b/written", "2");
	put("b/made", "1");
	unlink(in("b/gone"));
	assert_int_equal(lp_tree_changes(&changes, in("a"), in("b"), NULL), 0);
	assert_int_equal(changes.nr, 3);
	assert_string_equal(changes.items[0], in("b/made"));
	assert_string_equal(changes.items[1], in("b/written"));
	assert_string_equal(changes.items[2], in("b/gone"));
	lp_paths_free(&changes);
}

static void a_directory_that_may_not_be_written_is_removed_all_the_same(void **state)
{
	(void)state;
	mkdir(in("a"), 0755);
	mkdir(in("a/locked"), 0755);
	put("a/locked/f", "x");
	chmod(in("a/locked"), 0);
	assert_int_equal(lp_tree_remove(in("a"), NULL), 0);
	assert_int_equal(access(in("a"), F_OK), -1);
	assert_int_equal(lp_tree_remove(in("a"), NULL), 0);
}

static void paths_are_joined_without_dots(void **state)
{
	static const char *const cases[][3] = {{"/a/b", "c.c", "/a/b/c.c"},
					       {"/a/b", "../c.c", "/a/c.c"},
					       {"/a/b", "./x//y/../z", "/a/b/x/z"},
					       {"/a/b", "/c", "/c"},
					       {"/", "..", "/"},
					       {"/a", "../../..", "/"}};
	(void)state;
	for (size_t i = 0; i < LP_ARRAY_SIZE(cases); i++) {
		char *path = lp_path_join(cases[i][0], cases[i][1]);
		assert_string_equal(path, cases[i][2]);
		lp_free(path);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)
	const struct CMUnitTest tests[] = {
		TEST(a_copy_keeps_content_permissions_and_times),
		TEST(links_stay_inside_the_copy_or_go_where_they_went),
		TEST(what_compilers_made_is_old_in_the_copy),
		TEST(the_hash_is_of_names_and_contents_not_of_times),
		TEST(the_hash_does_not_change_with_gits_index),
		TEST(changes_are_what_was_written_made_or_removed),
		TEST(a_directory_that_may_not_be_written_is_removed_all_the_same),
		TEST(paths_are_joined_without_dots),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
