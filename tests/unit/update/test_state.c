#include "update/state.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tree.h"

static char folder[64];

static int enter(void **state)
{
	snprintf(folder, sizeof folder, "/tmp/livepatch-state-XXXXXX");
	assert_non_null(mkdtemp(folder));
	return setenv("XDG_STATE_HOME", folder, 1);
}

static int leave(void **state)
{
	return remove_tree(folder);
}

static struct lp_update_memory opened(const char *repository)
{
	struct lp_update_memory m;
	struct lp_err err = {0};

	if (lp_update_memory_open(&m, repository, &err))
		fail_msg("%s", err.text);
	return m;
}

static struct lp_version version(const char *text)
{
	struct lp_version v;

	assert_true(lp_version_read(text, &v));
	return v;
}

static void versions_are(const struct lp_version *v, const char *text)
{
	char shown[LP_VERSION_TEXT];

	assert_string_equal(lp_version_text(v, shown), text);
}

static void what_was_saved_is_there_again(void **state)
{
	struct lp_update_memory m = opened("owner/name");

	versions_are(&m.state.highest, "0.0.0");
	assert_int_equal(m.state.checked, 0);
	m.state.checked = 1700000000;
	m.state.not_before = 1700000100;
	m.state.highest = version("1.2.3");
	m.state.highest_rc = version("1.3.0-rc10");
	snprintf(m.state.news, sizeof m.state.news, "one sentence\nof two lines");
	assert_int_equal(lp_update_memory_save(&m, NULL), 0);
	lp_update_memory_close(&m);
	m = opened("owner/name");
	assert_int_equal(m.state.checked, 1700000000);
	assert_int_equal(m.state.not_before, 1700000100);
	versions_are(&m.state.highest, "1.2.3");
	versions_are(&m.state.highest_rc, "1.3.0-rc10");
	assert_string_equal(m.state.news, "one sentence?of two lines");
	lp_update_memory_close(&m);
}

static void each_repository_has_a_memory_of_its_own(void **state)
{
	struct lp_update_memory m = opened("owner/name");

	m.state.highest = version("9.0.0");
	assert_int_equal(lp_update_memory_save(&m, NULL), 0);
	lp_update_memory_close(&m);
	m = opened("owner/other");
	versions_are(&m.state.highest, "0.0.0");
	lp_update_memory_close(&m);
}

static void what_is_no_repository_is_refused(void **state)
{
	static const char *const bad[] = {"",	  "owner", "owner/", "/name", "a/b/c", "../x",
					  "a/..", "a b/c", "a/b?c",  "a/b\n", "a@b/c"};
	struct lp_update_memory m;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (lp_update_memory_open(&m, bad[i], NULL) != -LP_EUSAGE)
			fail_msg("\"%s\" is no repository", bad[i]);
	assert_false(lp_repository_is_fine(NULL));
	assert_true(lp_repository_is_fine("an-owner/a.name_1"));
}

static void write_state(const char *text)
{
	char path[160];
	FILE *f;

	snprintf(path, sizeof path, "%s/arm64_runner", folder);
	mkdir(path, 0700);
	snprintf(path, sizeof path, "%s/arm64_runner/updates.owner@name", folder);
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void a_damaged_memory_is_refused_and_not_forgotten(void **state)
{
	static const char *const bad[] = {"nonsense",
					  "highest 1.2.3",
					  "highest\n",
					  "highest x\n",
					  "checked -1\n",
					  "checked 1x\n",
					  "checked 99999999999999999999\n",
					  "highest-rc 1.2.3-rc\n"};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct lp_update_memory m;
		struct lp_err err = {0};
		write_state(bad[i]);
		assert_int_equal(lp_update_memory_open(&m, "owner/name", &err), -LP_EFILE);
		assert_non_null(strstr(err.text, "updates.owner@name"));
	}
}

static void lines_of_a_version_to_come_are_passed_over(void **state)
{
	struct lp_update_memory m;

	write_state("future thing\nhighest 1.0.0\n");
	m = opened("owner/name");
	versions_are(&m.state.highest, "1.0.0");
	lp_update_memory_close(&m);
}

static void a_folder_that_others_may_write_is_refused(void **state)
{
	struct lp_update_memory m = opened("owner/name");
	struct lp_err err = {0};

	fchmod(m.folder, 0777);
	lp_update_memory_close(&m);
	assert_int_equal(lp_update_memory_open(&m, "owner/name", &err), -LP_EUNTRUSTED);
	assert_non_null(strstr(err.text, "chmod"));
}

static void a_cache_stands_beside_it(void **state)
{
	struct lp_update_memory m = opened("owner/name");
	struct lp_buf got = {0};

	assert_int_equal(lp_update_memory_get(&m, "index", &got, 100, NULL), -ENOENT);
	assert_int_equal(lp_update_memory_put(&m, "index", "text", 4, NULL), 0);
	assert_int_equal(lp_update_memory_get(&m, "index", &got, 100, NULL), 0);
	assert_string_equal(lp_buf_cstr(&got), "text");
	lp_buf_free(&got);
	assert_int_equal(lp_update_memory_get(&m, "index", &got, 3, NULL), -EFBIG);
	lp_buf_free(&got);
	lp_update_memory_close(&m);
}

#define T(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_was_saved_is_there_again),
		T(each_repository_has_a_memory_of_its_own),
		T(what_is_no_repository_is_refused),
		T(a_damaged_memory_is_refused_and_not_forgotten),
		T(lines_of_a_version_to_come_are_passed_over),
		T(a_folder_that_others_may_write_is_refused),
		T(a_cache_stands_beside_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
