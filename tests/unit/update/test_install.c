/*
 * The programs are texts here; killing is real: a child is traced, and killed
 * before its N-th system call and after it, for every N.
 */
#include "update/install.h"

#include <errno.h>
#include <fcntl.h>
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

#include "base/vec.h"
#include "tree.h"

static const char *const names[] = {"arm64_runner", "update_module"};

static char folder[64], program[128];

static void write_text(const char *name, const char *text, mode_t mode)
{
	char path[256];
	int fd;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	fchmod(fd, mode);
	close(fd);
}

static const char *text_of(const char *name)
{
	static char text[64];
	char path[256];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	f = fopen(path, "re");
	text[0] = 0;
	if (!f)
		return "(none)";
	text[fread(text, 1, sizeof text - 1, f)] = 0;
	fclose(f);
	return text;
}

static bool is_there(const char *name)
{
	return strcmp(text_of(name), "(none)") != 0;
}

static void empty(void)
{
	remove_tree(folder);
}

/* Old programs, installed. */
static void put_old(void)
{
	empty();
	assert_int_equal(mkdir(folder, 0755), 0);
	write_text("arm64_runner", "old", 0751);
	write_text("update_module", "old too", 0755);
}

static int enter(void **state)
{
	snprintf(folder, sizeof folder, "/tmp/livepatch-install-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(program, sizeof program, "%s/arm64_runner", folder);
	put_old();
	return 0;
}

static int leave(void **state)
{
	empty();
	return 0;
}

static struct lp_install *opened(void)
{
	struct lp_install *i = NULL;
	struct lp_err err = {0};

	if (lp_install_open(&i, program, &err))
		fail_msg("%s", err.text);
	return i;
}

/* New programs, in staging/. */
static void stage(struct lp_install *i)
{
	int fd, file;

	assert_int_equal(lp_install_staging(i, &fd, NULL), 0);
	for (size_t k = 0; k < LP_ARRAY_SIZE(names); k++) {
		file = openat(fd, names[k], O_WRONLY | O_CREAT | O_EXCL, 0755);
		assert_int_equal(write(file, k ? "new too" : "new", k ? 7 : 3), k ? 7 : 3);
		close(file);
	}
}

/* Refuses when the path is in `arg`, a folder. */
static int test(const char *path, void *arg, struct lp_err *err)
{
	const char *bad = arg;
	bool staged = strstr(path, "/staging/");

	assert_int_equal(access(path, X_OK), 0);
	if (bad && !strcmp(bad, staged ? "staged" : "installed"))
		return lp_fail(err, LP_ETRIAL, "it is bad");
	return 0;
}

static int install(const char *bad, struct lp_err *err)
{
	struct lp_install *i = opened();
	int rc;

	stage(i);
	rc = lp_install_replace(i, names, 2, test, (void *)bad, err);
	lp_install_close(i);
	return rc;
}

static int rollback(struct lp_err *err)
{
	struct lp_install *i = opened();
	int rc = lp_install_rollback(i, names, 2, test, NULL, err);

	lp_install_close(i);
	return rc;
}

static void both_are(const char *a, const char *b)
{
	assert_string_equal(text_of("arm64_runner"), a);
	assert_string_equal(text_of("update_module"), b);
}

static void nothing_is_left_over(void)
{
	assert_false(is_there(".arm64_runner.update/journal"));
	assert_false(is_there(".arm64_runner.update/back"));
	assert_false(is_there(".arm64_runner.update/previous.new/arm64_runner"));
	assert_false(is_there(".arm64_runner.update/staging/arm64_runner"));
}

/* ---- one after the other ---- */

static void all_programs_are_replaced_and_keep_their_rights(void **state)
{
	struct stat st;

	assert_int_equal(install(NULL, NULL), 0);
	both_are("new", "new too");
	assert_int_equal(stat(program, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0751);
	nothing_is_left_over();
}

static void a_rollback_brings_back_and_can_be_rolled_back(void **state)
{
	struct lp_err err = {0};

	assert_int_equal(rollback(&err), -ENOENT);
	assert_non_null(strstr(err.text, "no earlier version"));
	assert_int_equal(install(NULL, NULL), 0);
	assert_int_equal(rollback(NULL), 0);
	both_are("old", "old too");
	nothing_is_left_over();
	assert_int_equal(rollback(NULL), 0);
	both_are("new", "new too");
}

static void a_program_that_fails_on_trial_is_never_installed(void **state)
{
	struct lp_err err = {0};

	assert_int_equal(install("staged", &err), -LP_ETRIAL);
	both_are("old", "old too");
	nothing_is_left_over();
	assert_int_equal(rollback(NULL), -ENOENT);
}

static void a_program_that_fails_at_its_place_goes_again(void **state)
{
	struct lp_err err = {0};

	assert_int_equal(install("installed", &err), -LP_ETRIAL);
	assert_non_null(strstr(err.text, "what it was before"));
	both_are("old", "old too");
	nothing_is_left_over();
}

static void a_failure_keeps_what_was_kept_before(void **state)
{
	assert_int_equal(install(NULL, NULL), 0);
	assert_int_equal(install("installed", NULL), -LP_ETRIAL);
	both_are("new", "new too");
	assert_int_equal(rollback(NULL), 0);
	both_are("old", "old too");
}

static void a_program_of_another_name_is_replaced_by_the_archives(void **state)
{
	char old[sizeof program];

	memcpy(old, program, sizeof old);
	snprintf(program, sizeof program, "%s/mine", folder);
	assert_int_equal(rename(old, program), 0);
	assert_int_equal(install(NULL, NULL), 0);
	assert_string_equal(text_of("mine"), "new");
	assert_false(is_there("arm64_runner"));
}

/* ---- refusals ---- */

static void the_second_of_two_is_refused_and_the_first_goes_on(void **state)
{
	struct lp_install *first = opened(), *second = NULL;
	struct lp_err err = {0};

	stage(first);
	assert_int_equal(lp_install_open(&second, program, &err), -LP_ELOCKED);
	assert_non_null(strstr(err.text, "another update"));
	assert_int_equal(lp_install_replace(first, names, 2, test, NULL, NULL), 0);
	lp_install_close(first);
	both_are("new", "new too");
	assert_int_equal(install(NULL, NULL), 0);
}

static void a_set_user_id_program_is_not_replaced(void **state)
{
	struct lp_err err = {0};

	chmod(program, 04755);
	assert_int_equal(install(NULL, &err), -LP_EPERM);
	assert_non_null(strstr(err.text, "set-user-ID"));
	both_are("old", "old too");
}

static void a_working_folder_that_others_can_look_into_is_refused(void **state)
{
	char ours[128];
	struct lp_install *i;

	snprintf(ours, sizeof ours, "%s/.arm64_runner.update", folder);
	assert_int_equal(mkdir(ours, 0777), 0);
	chmod(ours, 0777);
	assert_int_equal(lp_install_open(&i, program, NULL), -LP_EPERM);
	assert_int_equal(rmdir(ours), 0);
	assert_int_equal(symlink("/tmp", ours), 0);
	assert_true(lp_install_open(&i, program, NULL) < 0);
}

static void a_damaged_journal_is_not_believed(void **state)
{
	static const char *const bad[] = {"", "nonsense\narm64_runner\n", "replacing\n",
					  "replacing\n../../etc/passwd\n", "replacing\n\n"};
	struct lp_install *i;

	assert_int_equal(install(NULL, NULL), 0);
	for (size_t k = 0; k < LP_ARRAY_SIZE(bad); k++) {
		write_text(".arm64_runner.update/journal", bad[k], 0600);
		assert_int_equal(lp_install_open(&i, program, NULL), -LP_EFILE);
	}
	both_are("new", "new too");
}

/* ---- killed at every system call ---- */

static void child(void (*run)(void))
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	run();
	_exit(0);
}

/* After n stops at system calls, entering and leaving counted alike.  True: it was killed; false: it had ended. */
static bool killed_after(void (*run)(void), unsigned n)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		child(run);
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

static void run_install(void)
{
	if (install(NULL, NULL))
		_exit(1);
}

static void run_bad_install(void)
{
	if (install("installed", NULL) != -LP_ETRIAL)
		_exit(1);
}

static void run_rollback(void)
{
	if (rollback(NULL))
		_exit(1);
}

static bool is_one_of(const char *name, const char *a, const char *b)
{
	const char *text = text_of(name);

	return !strcmp(text, a) || !strcmp(text, b);
}

/* Whenever it is killed: each program is whole; the next one finds old and new together, and nothing half. */
static unsigned sweep(void (*prepare)(void), void (*run)(void))
{
	unsigned n = 0;

	for (bool was_killed = true; was_killed; n++) {
		prepare();
		was_killed = killed_after(run, n);
		if (!is_one_of("arm64_runner", "old", "new") || !is_one_of("update_module", "old too", "new too"))
			fail_msg("killed after %u: not whole: %s", n, text_of("arm64_runner"));
		lp_install_close(opened());
		if (strlen(text_of("update_module")) != strlen(text_of("arm64_runner")) + 4)
			fail_msg("killed after %u: one old, one new", n);
		nothing_is_left_over();
		assert_int_equal(install(NULL, NULL), 0);
		both_are("new", "new too");
	}
	return n;
}

static void put_new(void)
{
	put_old();
	assert_int_equal(install(NULL, NULL), 0);
}

static void killed_at_any_system_call_of_an_update_nothing_is_half(void **state)
{
	assert_true(sweep(put_old, run_install) > 100);
}

static void killed_at_any_system_call_of_a_rollback_nothing_is_half(void **state)
{
	assert_true(sweep(put_new, run_rollback) > 100);
}

static void killed_while_a_bad_update_is_put_back_nothing_is_half(void **state)
{
	assert_true(sweep(put_old, run_bad_install) > 100);
}

/* Killed, then killed again in what puts it right, at every pair of a coarse grid. */
static void run_open(void)
{
	lp_install_close(opened());
}

static void killed_again_while_it_is_put_right_nothing_is_half(void **state)
{
	for (unsigned n = 60, ended = 0; !ended; n += 9) {
		for (unsigned m = 0;; m += 5) {
			put_old();
			ended = !killed_after(run_install, n);
			if (ended || !killed_after(run_open, m))
				break;
			assert_true(is_one_of("arm64_runner", "old", "new") &&
				    is_one_of("update_module", "old too", "new too"));
			lp_install_close(opened());
			if (strlen(text_of("update_module")) != strlen(text_of("arm64_runner")) + 4)
				fail_msg("killed after %u and %u: one old, one new", n, m);
			nothing_is_left_over();
		}
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(all_programs_are_replaced_and_keep_their_rights),
		T(a_rollback_brings_back_and_can_be_rolled_back),
		T(a_program_that_fails_on_trial_is_never_installed),
		T(a_program_that_fails_at_its_place_goes_again),
		T(a_failure_keeps_what_was_kept_before),
		T(a_program_of_another_name_is_replaced_by_the_archives),
		T(the_second_of_two_is_refused_and_the_first_goes_on),
		T(a_set_user_id_program_is_not_replaced),
		T(a_working_folder_that_others_can_look_into_is_refused),
		T(a_damaged_journal_is_not_believed),
		T(killed_at_any_system_call_of_an_update_nothing_is_half),
		T(killed_at_any_system_call_of_a_rollback_nothing_is_half),
		T(killed_while_a_bad_update_is_put_back_nothing_is_half),
		T(killed_again_while_it_is_put_right_nothing_is_half),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
