#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/vec.h"
#include "store/store.h"

#define ID "df05a25bdadd282812d3ee5f0a460e69038575de"
#define OTHER "700297b7bc56a11e1d5a6fb564c2a5bc5b282082"

/* A directory of its own for each test, which is also the working directory. */
static int enter(void **state)
{
	char *name = lp_strdup("/tmp/livepatch-store-XXXXXX");
	*state = mkdtemp(name);
	return *state ? chdir(name) : -1;
}

static void clear(const char *path)
{
	lp_name_vec names = {0};
	lp_store_directories(path, &names);
	for (size_t i = names.nr; i-- > 0;) {
		static const char *const files[] = {"kpatch.bin", "description", "latest"};
		for (size_t k = 0; k < LP_ARRAY_SIZE(files); k++) {
			char *file = lp_sprintf("%s/%s", names.items[i], files[k]);
			unlink(file);
			lp_free(file);
		}
		rmdir(names.items[i]);
		lp_free(names.items[i]);
	}
	lp_vec_free(&names);
}

static int leave(void **state)
{
	static const char *const files[] = {ID ".kpatch", "before", "after", "broken.kpatch", "notes.txt"};
	clear(*state);
	for (size_t i = 0; i < LP_ARRAY_SIZE(files); i++)
		unlink(files[i]);
	int rc = chdir("/") + rmdir(*state);
	lp_free(*state);
	return rc;
}

static void put(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	chmod(path, mode);
}

static void put_level(const char *number, const char *text)
{
	char *dir = lp_sprintf("%s/%s", ID, number), *file = lp_sprintf("%s/kpatch.bin", dir);
	mkdir(ID, 0755);
	assert_int_equal(mkdir(dir, 0755), 0);
	put(file, text, 0644);
	unlink(ID "/latest");
	assert_int_equal(symlink(number, ID "/latest"), 0);
	lp_free(file);
	lp_free(dir);
}

static struct lp_store *opened(void **state)
{
	struct lp_store *s;
	assert_int_equal(lp_store_open(&s, *state, NULL), 0);
	return s;
}

static void a_patch_is_found_by_its_name(void **state)
{
	struct lp_store_found f;
	put(ID ".kpatch", "x", 0644);
	struct lp_store *s = opened(state);
	assert_int_equal(lp_store_find(s, ID, &f, NULL), 0);
	assert_int_equal(f.nr, 1);
	assert_non_null(strstr(f.items[0].path, "/" ID ".kpatch"));
	assert_int_equal(f.items[0].level, 0);
	lp_store_found_free(&f);
	assert_int_equal(lp_store_find(s, OTHER, &f, NULL), 0);
	assert_int_equal(f.nr, 0);
	lp_store_close(s);
}

static void the_latest_level_is_the_number_that_the_link_leads_to(void **state)
{
	struct lp_store_found f;
	put_level("2", "x");
	put_level("17", "x");
	put(ID "/17/description", "CVE-1\n", 0644);
	put(ID ".kpatch", "x", 0644); /* levels come first */
	struct lp_store *s = opened(state);
	assert_int_equal(lp_store_find(s, ID, &f, NULL), 0);
	assert_int_equal(f.nr, 1);
	assert_int_equal(f.items[0].level, 17);
	assert_non_null(f.items[0].description);
	assert_false(f.items[0].only_description);
	lp_store_found_free(&f);
	lp_store_close(s);
}

static void a_new_level_is_seen_without_opening_anew(void **state)
{
	struct lp_store_found f;
	put_level("1", "x");
	struct lp_store *s = opened(state);
	put_level("2", "x");
	assert_int_equal(lp_store_find(s, ID, &f, NULL), 0);
	assert_int_equal(f.items[0].level, 2);
	lp_store_found_free(&f);
	lp_store_close(s);
}

static void an_empty_patch_is_only_a_description(void **state)
{
	struct lp_store_found f;
	put_level("0", "");
	struct lp_store *s = opened(state);
	assert_int_equal(lp_store_find(s, ID, &f, NULL), 0);
	assert_int_equal(f.nr, 1);
	assert_true(f.items[0].only_description);
	lp_store_found_free(&f);
	lp_store_close(s);
}

static void a_link_that_is_no_number_is_refused(void **state)
{
	static const char *const targets[] = {"two", "-1", "1a", "99999999999999999999"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(targets); i++) {
		struct lp_store_found f;
		struct lp_err err = {0};
		put_level(targets[i], "x");
		struct lp_store *s = opened(state);
		assert_int_equal(lp_store_find(s, ID, &f, &err), -LP_EFILE);
		assert_non_null(strstr(err.text, targets[i]));
		lp_store_close(s);
	}
}

static void latest_must_be_a_link(void **state)
{
	struct lp_store_found f;
	struct lp_err err = {0};
	mkdir(ID, 0755);
	mkdir(ID "/latest", 0755);
	put(ID "/latest/kpatch.bin", "x", 0644);
	struct lp_store *s = opened(state);
	assert_int_equal(lp_store_find(s, ID, &f, &err), -LP_EFILE);
	lp_store_close(s);
}

static void a_build_id_that_is_a_path_finds_nothing(void **state)
{
	struct lp_store_found f;
	struct lp_store *s = opened(state);
	assert_int_equal(lp_store_find(s, "../../etc/passwd", &f, NULL), 0);
	assert_int_equal(f.nr, 0);
	assert_int_equal(lp_store_find(s, "", &f, NULL), 0);
	assert_int_equal(f.nr, 0);
	lp_store_close(s);
}

static void count_warning(enum lp_log_level level, const char *line, void *arg)
{
	*(int *)arg += level == LP_LOG_WARN && strstr(line, "broken.kpatch");
}

static void a_file_that_is_no_patch_is_left_out_with_a_warning(void **state)
{
	int warnings = 0;
	put("broken.kpatch", "no patch", 0644);
	put("notes.txt", "no patch either, and not called so", 0644);
	lp_log_set(LP_LOG_WARN, count_warning, &warnings);
	struct lp_store *s = opened(state);
	lp_log_set(LP_LOG_ERROR, NULL, NULL);
	assert_int_equal(warnings, 1);
	lp_store_close(s);
}

static void a_file_that_is_no_patch_is_no_store(void **state)
{
	struct lp_store *s;
	struct lp_err err = {0};
	put("broken.kpatch", "no patch", 0644);
	assert_true(lp_store_open(&s, "broken.kpatch", &err) < 0);
	assert_null(s);
	assert_int_equal(lp_store_open(&s, "nothing", &err), -LP_EFILE);
	assert_null(s);
}

static void only_executable_files_are_scripts(void **state)
{
	put("before", "#!/bin/true\n", 0755);
	put("after", "#!/bin/true\n", 0644);
	struct lp_store *s = opened(state);
	assert_non_null(lp_store_script(s, "before"));
	assert_null(lp_store_script(s, "after"));
	lp_store_close(s);
}

static void a_store_that_others_may_write_is_not_trusted(void **state)
{
	struct lp_err err = {0};
	chmod(*state, 0755);
	struct lp_store *s = opened(state);
	assert_int_equal(lp_store_trusted(s, &err), 0);
	chmod(*state, 0777);
	assert_int_equal(lp_store_trusted(s, &err), -LP_EUNTRUSTED);
	assert_non_null(strstr(err.text, *state));
	chmod(*state, 01777); /* a sticky directory protects what is in it, not what is put into it */
	assert_int_equal(lp_store_trusted(s, &err), -LP_EUNTRUSTED);
	chmod(*state, 0775);
	assert_int_equal(lp_store_trusted(s, &err), -LP_EUNTRUSTED);
	chmod(*state, 0755);
	lp_store_close(s);
}

static void a_patch_that_others_may_write_is_not_trusted(void **state)
{
	struct lp_err err = {0};
	chmod(*state, 0755);
	put_level("1", "x");
	struct lp_store *s = opened(state);
	assert_int_equal(lp_store_trusted(s, &err), 0);
	chmod(ID "/1", 0777);
	assert_int_equal(lp_store_trusted(s, &err), -LP_EUNTRUSTED);
	assert_non_null(strstr(err.text, "/1"));
	chmod(ID "/1", 0755);
	chmod(ID "/1/kpatch.bin", 0666);
	assert_int_equal(lp_store_trusted(s, &err), -LP_EUNTRUSTED);
	lp_store_close(s);
}

/* A directory that anybody may write to, and in it a file that is ours. */
static char *open_directory_of_all(void)
{
	char dir[] = "/tmp/livepatch-open-XXXXXX";
	assert_non_null(mkdtemp(dir));
	char *file = lp_sprintf("%s/patch", dir);
	put(file, "x", 0644);
	assert_int_equal(chmod(dir, 0777), 0);
	lp_free(file);
	return lp_strdup(dir);
}

static void what_a_link_leads_to_must_be_trusted_too(void **state)
{
	static const char *const links[] = {"1.kpatch", ID ".kpatch"};
	char *dir = open_directory_of_all(), *file = lp_sprintf("%s/patch", dir);
	chmod(*state, 0755);
	for (size_t i = 0; i < LP_ARRAY_SIZE(links); i++) {
		struct lp_err err = {0};
		struct lp_store *s = opened(state);
		assert_int_equal(symlink(file, links[i]), 0);
		assert_int_equal(lp_store_trusted(s, &err), -LP_EUNTRUSTED);
		assert_non_null(strstr(err.text, dir));
		assert_non_null(strstr(err.text, links[i]));
		chmod(dir, 0755);
		assert_int_equal(lp_store_trusted(s, &err), 0);
		chmod(dir, 0777);
		unlink(links[i]);
		lp_store_close(s);
	}
	unlink(file);
	rmdir(dir);
	lp_free(file);
	lp_free(dir);
}

static void a_link_that_leads_nowhere_yet_is_not_trusted(void **state)
{
	struct lp_err err = {0};
	chmod(*state, 0755);
	struct lp_store *s = opened(state);
	assert_int_equal(symlink("/tmp/livepatch-to-come", ID ".kpatch"), 0);
	assert_int_equal(lp_store_trusted(s, &err), -LP_EUNTRUSTED);
	assert_non_null(strstr(err.text, "leads nowhere"));
	unlink(ID ".kpatch");
	assert_int_equal(symlink("user@host.1234", ".#notes.txt"), 0); /* as editors make them */
	assert_int_equal(lp_store_trusted(s, &err), 0);
	unlink(".#notes.txt");
	lp_store_close(s);
}

static void nothing_is_read_of_a_store_that_is_not_trusted(void **state)
{
	struct lp_store *s;
	struct lp_err err = {0};
	int warnings = 0;
	put("broken.kpatch", "no patch", 0644);
	lp_log_set(LP_LOG_WARN, count_warning, &warnings);
	chmod(*state, 0777);
	assert_int_equal(lp_store_open_trusted(&s, *state, &err), -LP_EUNTRUSTED);
	assert_null(s);
	assert_int_equal(warnings, 0);
	chmod(*state, 0755);
	assert_int_equal(lp_store_open_trusted(&s, *state, &err), 0);
	lp_log_set(LP_LOG_ERROR, NULL, NULL);
	assert_int_equal(warnings, 1);
	lp_store_close(s);
}

static void a_pipe_among_the_patches_is_not_waited_for(void **state)
{
	int warnings = 0;
	assert_int_equal(mkfifo("broken.kpatch", 0600), 0);
	lp_log_set(LP_LOG_WARN, count_warning, &warnings);
	struct lp_store *s = opened(state);
	lp_log_set(LP_LOG_ERROR, NULL, NULL);
	assert_int_equal(warnings, 1);
	lp_store_close(s);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)
	const struct CMUnitTest tests[] = {
		TEST(a_patch_is_found_by_its_name),
		TEST(the_latest_level_is_the_number_that_the_link_leads_to),
		TEST(a_new_level_is_seen_without_opening_anew),
		TEST(an_empty_patch_is_only_a_description),
		TEST(a_link_that_is_no_number_is_refused),
		TEST(latest_must_be_a_link),
		TEST(a_build_id_that_is_a_path_finds_nothing),
		TEST(a_file_that_is_no_patch_is_left_out_with_a_warning),
		TEST(a_file_that_is_no_patch_is_no_store),
		TEST(only_executable_files_are_scripts),
		TEST(a_store_that_others_may_write_is_not_trusted),
		TEST(a_patch_that_others_may_write_is_not_trusted),
		TEST(what_a_link_leads_to_must_be_trusted_too),
		TEST(a_link_that_leads_nowhere_yet_is_not_trusted),
		TEST(nothing_is_read_of_a_store_that_is_not_trusted),
		TEST(a_pipe_among_the_patches_is_not_waited_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
