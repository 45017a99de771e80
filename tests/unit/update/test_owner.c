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

static const char *const folders[] = {"", "/var", "/var/lib", "/var/lib/dpkg", "/var/lib/dpkg/info"};
static char root[64];

static int enter(void **state)
{
	char path[128];

	snprintf(root, sizeof root, "/tmp/livepatch-owner-XXXXXX");
	assert_non_null(mkdtemp(root));
	for (size_t i = 1; i < LP_ARRAY_SIZE(folders); i++) {
		snprintf(path, sizeof path, "%s%s", root, folders[i]);
		assert_int_equal(mkdir(path, 0755), 0);
	}
	return 0;
}

static void info(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof path, "%s/var/lib/dpkg/info/%s", root, name);
	if (!text) {
		unlink(path);
		return;
	}
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int leave(void **state)
{
	char path[128];

	info("runner:amd64.list", NULL);
	info("other.list", NULL);
	info("other.md5sums", NULL);
	for (size_t i = LP_ARRAY_SIZE(folders); i-- > 0;) {
		snprintf(path, sizeof path, "%s%s", root, folders[i]);
		rmdir(path);
	}
	return 0;
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

static void without_dpkg_there_is_nothing_to_know(void **state)
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
		T(without_dpkg_there_is_nothing_to_know),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
