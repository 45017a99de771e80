#include "update/owner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/vec.h"
#include "tree.h"

static char root[64];

static int enter(void **state)
{
	snprintf(root, sizeof root, "/tmp/livepatch-owner-XXXXXX");
	assert_non_null(mkdtemp(root));
	return 0;
}

static int leave(void **state)
{
	assert_int_equal(remove_tree(root), 0);
	return 0;
}

/* Below the root; its folders are made. */
static void put(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof path, "%s%s", root, name);
	for (char *slash = path + strlen(root); (slash = strchr(slash + 1, '/'));) {
		*slash = 0;
		mkdir(path, 0755);
		*slash = '/';
	}
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void info(const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof path, "/var/lib/dpkg/info/%s", name);
	put(path, text);
}

static void the_package_that_owns_a_file_is_named(void **state)
{
	struct lp_err err = {0};

	info("other.list", "/.\n/usr/bin/other\n");
	info("runner:amd64.list", "/.\n/usr\n/usr/bin\n/usr/bin/arm64_runner");
	assert_int_equal(lp_owner_check("/usr/bin/arm64_runner", root, &err), -LP_EOWNED);
	assert_non_null(strstr(err.text, "package runner:amd64"));
}

static void a_file_is_known_by_its_name_before_the_folders_were_merged(void **state)
{
	info("other.list", "/bin/arm64_runner\n");
	assert_int_equal(lp_owner_check("/usr/bin/arm64_runner", root, NULL), -LP_EOWNED);
}

static void what_no_package_has_is_nobodys(void **state)
{
	info("other.list", "/usr/bin/arm64_runner.old\n/usr/bin/arm64_runne\nx/usr/bin/arm64_runner\n");
	info("other.md5sums", "/usr/bin/arm64_runner\n");
	assert_int_equal(lp_owner_check("/usr/bin/arm64_runner", root, NULL), 0);
	assert_int_equal(lp_owner_check("/opt/arm64_runner", root, NULL), 0);
}

static void pacmans_packages_are_known(void **state)
{
	struct lp_err err = {0};

	put("/var/lib/pacman/local/ALPM_DB_VERSION", "9\n");
	put("/var/lib/pacman/local/other-1-1/files", "%FILES%\nusr/\nusr/bin/\nusr/bin/other\n");
	put("/var/lib/pacman/local/runner-0.1-2/files", "%FILES%\nusr/\nusr/bin/\nusr/bin/arm64_runner\n");
	assert_int_equal(lp_owner_check("/usr/bin/arm64_runner", root, &err), -LP_EOWNED);
	assert_non_null(strstr(err.text, "package runner-0.1-2: update that, with pacman"));
	assert_int_equal(lp_owner_check("/usr/local/bin/arm64_runner", root, NULL), 0);
}

static void apks_packages_are_known(void **state)
{
	struct lp_err err = {0};

	put("/lib/apk/db/installed",
	    "P:other\nV:1\nF:usr\nF:usr/bin\nR:other\n\n"
	    "P:runner\nV:0.1\nF:usr\nF:usr/bin\nR:arm64_runner\na:0:0:755\nF:usr/lib\nR:runner.so\n");
	assert_int_equal(lp_owner_check("/usr/bin/arm64_runner", root, &err), -LP_EOWNED);
	assert_non_null(strstr(err.text, "package runner: update that, with apk"));
	assert_int_equal(lp_owner_check("/usr/arm64_runner", root, NULL), 0);
	assert_int_equal(lp_owner_check("/usr/lib/arm64_runner", root, NULL), 0);
	assert_int_equal(lp_owner_check("/usr/binarm64_runner", root, NULL), 0);
}

static void lists_that_make_no_sense_own_nothing(void **state)
{
	put("/lib/apk/db/installed", "R:arm64_runner\nF:usr/bin\nR:arm64_runner\nP\nF\n:\nF:\nP:\nR:\n");
	put("/var/lib/pacman/local/x/files/files", "/usr/bin/arm64_runner\n");
	assert_int_equal(lp_owner_check("/usr/bin/arm64_runner", root, NULL), 0);
	assert_int_equal(lp_owner_check("/arm64_runner", root, NULL), 0);
}

static void without_lists_there_is_nothing_to_know(void **state)
{
	assert_int_equal(lp_owner_check("/usr/bin/arm64_runner", "/nonexistent", NULL), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_package_that_owns_a_file_is_named),
		T(a_file_is_known_by_its_name_before_the_folders_were_merged),
		T(what_no_package_has_is_nobodys),
		T(pacmans_packages_are_known),
		T(apks_packages_are_known),
		T(lists_that_make_no_sense_own_nothing),
		T(without_lists_there_is_nothing_to_know),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
