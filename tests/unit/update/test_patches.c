/* Sets that follow each other, killed at every system call in between. */
#include "update/patches.h"

#include <archive.h>
#include <archive_entry.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tree.h"

#define A "aaaaaaaaaa.json"
#define B "bbbbbbbbbb.json"
#define C "cccccccccc.kpatch"
#define ROOM 65536

static char folder[64], packed[2][ROOM];
static size_t packed_size[2];

static void add(struct archive *a, const char *name, const char *text)
{
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_pathname(e, name);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0644);
	archive_entry_set_size(e, (la_int64_t)strlen(text));
	assert_int_equal(archive_write_header(a, e), 0);
	archive_write_data(a, text, strlen(text));
	archive_entry_free(e);
}

/* Set 1 has A and B, set 2 another B, and C. */
static int make_sets(void **state)
{
	for (int i = 0; i < 2; i++) {
		struct archive *a = archive_write_new();
		archive_write_add_filter_gzip(a);
		archive_write_set_format_ustar(a);
		if (archive_write_open_memory(a, packed[i], ROOM, &packed_size[i]))
			return 1;
		add(a, i ? "set-2/" B : "set-1/" A, i ? "B2" : "A1");
		add(a, i ? "set-2/" C : "set-1/" B, i ? "C2" : "B1");
		archive_write_free(a);
	}
	return 0;
}

static void begin_anew(void)
{
	remove_tree(folder);
	assert_int_equal(mkdir(folder, 0755), 0);
}

static int enter(void **state)
{
	snprintf(folder, sizeof folder, "/tmp/livepatch-patches-XXXXXX");
	return !mkdtemp(folder);
}

static int leave(void **state)
{
	return remove_tree(folder);
}

static int place(unsigned set, struct lp_patches_placed *out, struct lp_err *err)
{
	struct lp_version version = {.major = set};
	struct lp_patches_placed placed;
	struct lp_patches *p;
	int rc = lp_patches_open(&p, folder, err);

	if (rc)
		return rc;
	rc = lp_patches_place(p, &version, set == 1 ? "set-1" : "set-2", packed[set - 1], packed_size[set - 1],
			      out ? out : &placed, err);
	lp_patches_close(p);
	return rc;
}

static const char *text_of(const char *name)
{
	static char text[64];
	char path[128];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	f = fopen(path, "re");
	if (!f)
		return "none";
	text[fread(text, 1, sizeof text - 1, f)] = 0;
	fclose(f);
	return text;
}

static void are(const char *a, const char *b, const char *c)
{
	assert_string_equal(text_of(A), a);
	assert_string_equal(text_of(B), b);
	assert_string_equal(text_of(C), c);
}

static void names_of_sets_have_a_version(void **state)
{
	struct lp_version v;

	assert_true(lp_patches_is_archive("livepatch-patches-12.tar.gz", &v) && v.major == 12);
	assert_true(lp_patches_is_archive("livepatch-patches-1.2.3.tar.gz", &v) && v.build == 3);
	assert_false(lp_patches_is_archive("livepatch-patches-.tar.gz", &v));
	assert_false(lp_patches_is_archive("livepatch-patches-1.tar.gz.minisig", &v));
	assert_false(lp_patches_is_archive("livepatch-patches-x.tar.gz", &v));
	assert_false(lp_patches_is_archive("", &v));
}

static void a_later_set_stands_in_for_the_earlier_one(void **state)
{
	struct lp_patches_placed placed;
	struct lp_patches *p;

	assert_int_equal(place(1, &placed, NULL), 0);
	assert_int_equal(placed.changed, 2);
	are("A1", "B1", "none");
	assert_int_equal(place(2, &placed, NULL), 0);
	assert_int_equal(placed.changed, 2);
	assert_int_equal(placed.removed, 1);
	are("none", "B2", "C2");
	assert_int_equal(lp_patches_open(&p, folder, NULL), 0);
	assert_int_equal(lp_patches_version(p).major, 2);
	lp_patches_close(p);
}

static void the_second_of_two_is_refused(void **state)
{
	struct lp_patches *p;

	assert_int_equal(lp_patches_open(&p, folder, NULL), 0);
	assert_int_equal(place(1, NULL, NULL), -LP_ELOCKED);
	lp_patches_close(p);
	assert_int_equal(place(1, NULL, NULL), 0);
}

/* True: killed after n stops at system calls; false: it had ended by itself. */
static bool killed_after(unsigned n)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(place(2, NULL, NULL) != 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	for (unsigned i = 0; i < n && WIFSTOPPED(status); i++) {
		ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
	}
	if (!WIFSTOPPED(status)) {
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		return false;
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return true;
}

static bool is_one_of(const char *name, const char *before, const char *after)
{
	return !strcmp(text_of(name), before) || !strcmp(text_of(name), after);
}

static void killed_at_any_system_call_each_file_is_whole_and_the_next_one_goes_on(void **state)
{
	unsigned n = 0;

	for (bool was_killed = true; was_killed; n++) {
		begin_anew();
		assert_int_equal(place(1, NULL, NULL), 0);
		was_killed = killed_after(n);
		assert_true(is_one_of(A, "A1", "none") && is_one_of(B, "B1", "B2") && is_one_of(C, "none", "C2"));
		assert_int_equal(place(2, NULL, NULL), 0);
		are("none", "B2", "C2");
	}
	assert_true(n > 60);
}

#define T(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_of_sets_have_a_version),
		T(a_later_set_stands_in_for_the_earlier_one),
		T(the_second_of_two_is_refused),
		T(killed_at_any_system_call_each_file_is_whole_and_the_next_one_goes_on),
	};
	return cmocka_run_group_tests(tests, make_sets, NULL);
}
