/* Where the guest's paths lead, with a sysroot and with the machine's own tree around it. */
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

#include "base/vec.h"
#include "emu/path.h"

/* A sysroot, and a directory of the host that the sysroot does not have. */
static char root[] = "/tmp/lp-path-root-XXXXXX";
static char host[] = "/tmp/lp-path-host-XXXXXX";
static struct lp_emu emu;
static struct lp_guest_thread thread;

static void in(const char *tree, const char *path, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s%s", tree, path);
}

static void make_dir(const char *tree, const char *path)
{
	char whole[PATH_MAX];

	in(tree, path, whole);
	assert_int_equal(mkdir(whole, 0755), 0);
}

static void make_file(const char *tree, const char *path)
{
	char whole[PATH_MAX];
	FILE *f;

	in(tree, path, whole);
	f = fopen(whole, "we");
	assert_non_null(f);
	fclose(f);
}

static void make_link(const char *tree, const char *path, const char *target)
{
	char whole[PATH_MAX];

	in(tree, path, whole);
	assert_int_equal(symlink(target, whole), 0);
}

static int make_trees(void **state)
{
	char target[PATH_MAX];

	assert_non_null(mkdtemp(root));
	assert_non_null(mkdtemp(host));
	make_dir(root, "/only");
	make_dir(root, "/only/deep");
	make_file(root, "/only/file");
	make_link(root, "/only/absolute", "/only/file");
	make_link(root, "/only/relative", "deep/../file");
	make_link(root, "/only/up", "../../../../only/file");
	make_link(root, "/only/dangling", "/only/missing");
	make_link(root, "/only/self", "/only/self");
	make_link(root, "/dirlink", "/only/deep");
	make_link(root, "/devices", "/dev");
	make_file(root, "/only/deep/leaf");
	make_dir(root, "/tmp");
	make_dir(root, "/etc");
	make_file(root, "/etc/lp-of-sysroot");
	make_file(host, "/file");
	snprintf(target, sizeof target, "%s/file", host);
	make_link(root, "/only/to_host", target);
	emu.options.sysroot = root;
	thread.cpu.emu = &emu;
	return 0;
}

static int remove_trees(void **state)
{
	char command[PATH_MAX];

	snprintf(command, sizeof command, "rm -rf %s %s", root, host);
	return system(command);
}

/* The guest's path leads to `path` of a tree. */
static void leads(const char *guest, unsigned how, const char *tree, const char *path)
{
	char out[PATH_MAX], want[PATH_MAX];

	in(tree, path, want);
	lp_path_host(&emu, guest, how, out);
	assert_string_equal(out, want);
}

static void what_the_sysroot_has_is_taken_from_there(void **state)
{
	leads("/only/file", 0, root, "/only/file");
	leads("/only", 0, root, "/only");
	leads("/only/", 0, root, "/only/");
	leads("//only//./deep/../file", 0, root, "/only/file");
	leads("/etc/lp-of-sysroot", 0, root, "/etc/lp-of-sysroot");
}

static void everything_else_is_the_hosts(void **state)
{
	char path[PATH_MAX];

	leads("/etc/passwd", 0, "", "/etc/passwd");
	leads("/only/missing", 0, "", "/only/missing");
	leads("/nowhere/at/all", 0, "", "/nowhere/at/all");
	in(host, "/file", path);
	leads(path, 0, host, "/file");
	leads("", 0, "", "");
}

static void links_inside_the_sysroot_stay_inside(void **state)
{
	leads("/only/absolute", 0, root, "/only/file");
	leads("/only/relative", 0, root, "/only/file");
	leads("/only/up", 0, root, "/only/file");
	leads("/dirlink/leaf", 0, root, "/only/deep/leaf");
	leads("/dirlink/../file", 0, root, "/only/file");
	leads("/../../only/file", 0, root, "/only/file");
}

static void a_link_itself_can_be_meant(void **state)
{
	leads("/only/absolute", LP_PATH_NOFOLLOW, root, "/only/absolute");
	leads("/only/dangling", LP_PATH_NOFOLLOW, root, "/only/dangling");
	leads("/dirlink", LP_PATH_NOFOLLOW, root, "/dirlink");
	leads("/dirlink/", LP_PATH_NOFOLLOW, root, "/only/deep/");
	leads("/dirlink/leaf", LP_PATH_NOFOLLOW, root, "/only/deep/leaf");
}

static void a_link_to_what_only_the_host_has_leads_to_the_host(void **state)
{
	leads("/only/to_host", 0, host, "/file");
	leads("/devices/null", 0, "", "/dev/null");
	leads("/only/dangling", 0, "", "/only/missing");
}

static void links_that_go_in_circles_end(void **state)
{
	char out[PATH_MAX];

	lp_path_host(&emu, "/only/self", 0, out);
	assert_int_equal(open(out, O_RDONLY | O_CLOEXEC), -1);
}

static void a_new_file_is_the_hosts_unless_only_the_sysroot_has_the_directory(void **state)
{
	leads("/only/new", LP_PATH_CREATE, root, "/only/new");
	leads("/dirlink/new", LP_PATH_CREATE, root, "/only/deep/new");
	leads("/only/dangling", LP_PATH_CREATE, root, "/only/missing");
	leads("/etc/lp-new", LP_PATH_CREATE, "", "/etc/lp-new");
	leads("/tmp/lp-new", LP_PATH_CREATE, "", "/tmp/lp-new");
	leads("/only/none/new", LP_PATH_CREATE, "", "/only/none/new");
	leads("/only/file", LP_PATH_CREATE, root, "/only/file");
}

static void directories_of_the_machine_are_its_own(void **state)
{
	leads("/", 0, "", "/");
	leads("/tmp", 0, "", "/tmp");
	leads("/tmp/", 0, "", "/tmp");
	leads("/proc/self/status", 0, "", "/proc/self/status");
	leads("/dev/null", 0, "", "/dev/null");
}

static void a_path_that_names_the_sysroot_is_not_looked_up_in_it_twice(void **state)
{
	char path[PATH_MAX];

	in(root, "/only/absolute", path);
	leads(path, 0, root, "/only/file");
	leads(root, 0, "", "/");
}

static void the_kernels_paths_are_told_without_the_sysroot(void **state)
{
	char path[PATH_MAX];

	in(root, "/only/file", path);
	lp_path_guest(&emu, path);
	assert_string_equal(path, "/only/file");
	snprintf(path, sizeof path, "%s", root);
	lp_path_guest(&emu, path);
	assert_string_equal(path, "/");
	snprintf(path, sizeof path, "%s-and-more/x", root);
	lp_path_guest(&emu, path);
	assert_memory_equal(path, root, strlen(root));
	snprintf(path, sizeof path, "/etc/passwd");
	lp_path_guest(&emu, path);
	assert_string_equal(path, "/etc/passwd");
}

static void relative(const char *guest, unsigned how, struct lp_path *p)
{
	assert_int_equal(lp_path_get(&thread, AT_FDCWD, (uint64_t)(uintptr_t)guest, how, p), 0);
}

static void relative_paths_in_a_directory_of_the_sysroot_see_both_trees(void **state)
{
	char path[PATH_MAX], was[PATH_MAX];
	struct lp_path p;
	int fd;

	assert_non_null(getcwd(was, sizeof was));
	in(root, "/only", path);
	assert_int_equal(chdir(path), 0);
	relative("absolute", 0, &p);
	in(root, "/only/file", path);
	assert_string_equal(p.text, path);
	relative("../../../etc/passwd", 0, &p);
	assert_string_equal(p.text, "/only/../../../etc/passwd");
	in(root, "/only/deep", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(lp_path_get(&thread, fd, (uint64_t)(uintptr_t) "leaf", 0, &p), 0);
	in(root, "/only/deep/leaf", path);
	assert_string_equal(p.text, path);
	assert_int_equal(p.dirfd, AT_FDCWD);
	close(fd);
	assert_int_equal(chdir(host), 0);
	relative("file", 0, &p);
	assert_string_equal(p.text, "file");
	assert_int_equal(chdir("/"), 0);
	relative("only/file", 0, &p);
	in(root, "/only/file", path);
	assert_string_equal(p.text, path);
	assert_int_equal(chdir(was), 0);
}

static void a_path_of_the_greatest_length_is_not_cut(void **state)
{
	char path[PATH_MAX], out[PATH_MAX];

	memset(path, 'x', sizeof path);
	memcpy(path, "/only/", 6);
	path[PATH_MAX - 1] = 0;
	lp_path_host(&emu, path, 0, out);
	assert_string_equal(out, path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_sysroot_has_is_taken_from_there),
		cmocka_unit_test(everything_else_is_the_hosts),
		cmocka_unit_test(links_inside_the_sysroot_stay_inside),
		cmocka_unit_test(a_link_itself_can_be_meant),
		cmocka_unit_test(a_link_to_what_only_the_host_has_leads_to_the_host),
		cmocka_unit_test(links_that_go_in_circles_end),
		cmocka_unit_test(a_new_file_is_the_hosts_unless_only_the_sysroot_has_the_directory),
		cmocka_unit_test(directories_of_the_machine_are_its_own),
		cmocka_unit_test(a_path_that_names_the_sysroot_is_not_looked_up_in_it_twice),
		cmocka_unit_test(the_kernels_paths_are_told_without_the_sysroot),
		cmocka_unit_test(relative_paths_in_a_directory_of_the_sysroot_see_both_trees),
		cmocka_unit_test(a_path_of_the_greatest_length_is_not_cut),
	};

	return cmocka_run_group_tests(tests, make_trees, remove_trees);
}
