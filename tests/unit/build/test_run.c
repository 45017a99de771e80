#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"
#include "build/run.h"

static char *log_file(void)
{
	char path[] = "/tmp/lp-run-XXXXXX";
	close(mkstemp(path));
	return lp_strdup(path);
}

static struct lp_run shell(const char *const argv[4], const char *log)
{
	return (struct lp_run){.argv = argv, .log = log};
}

static void exit_statuses_and_signals_are_told(void **state)
{
	static const char *const three[] = {"sh", "-c", "exit 3", NULL}, *const killed[] = {"sh", "-c", "kill -9 $$",
											    NULL};
	struct lp_run runs[2] = {shell(three, NULL), shell(killed, NULL)};
	(void)state;
	assert_int_equal(lp_run_all(runs, 2, 2, NULL, NULL), 0);
	assert_int_equal(runs[0].status, 3);
	assert_int_equal(runs[1].status, 128 + 9);
}

static void output_and_errors_go_to_the_log(void **state)
{
	static const char *const argv[] = {"sh", "-c", "echo one; echo two >&2; pwd", NULL};
	char *log = log_file();
	struct lp_run run = shell(argv, log);
	struct lp_buf text = {0};
	(void)state;
	run.cwd = "/";
	assert_int_equal(lp_run_all(&run, 1, 1, NULL, NULL), 0);
	assert_int_equal(lp_read_file(log, &text, 4096, NULL), 0);
	assert_string_equal(lp_buf_cstr(&text), "one\ntwo\n/\n");
	lp_buf_free(&text);
	unlink(log);
	lp_free(log);
}

static void input_is_empty(void **state)
{
	static const char *const argv[] = {"sh", "-c", "test -z \"$(cat)\"", NULL};
	struct lp_run run = shell(argv, NULL);
	(void)state;
	assert_int_equal(lp_run_all(&run, 1, 1, NULL, NULL), 0);
	assert_int_equal(run.status, 0);
}

static void a_program_that_is_not_there_is_an_error(void **state)
{
	static const char *const argv[] = {"livepatch-no-such-program", NULL};
	struct lp_run run = {.argv = argv};
	struct lp_err err = {0};
	(void)state;
	assert_int_equal(lp_run_all(&run, 1, 1, NULL, &err), -2);
	assert_non_null(strstr(err.text, "livepatch-no-such-program"));
}

static volatile sig_atomic_t interrupted;

static void interrupt(void *arg)
{
	struct lp_buf text = {0};
	if (lp_read_file(arg, &text, 64, NULL) == 0 && text.len)
		interrupted = 1;
	lp_buf_free(&text);
}

/* The shell's child ignores SIGTERM and holds the log: it must be gone when the call returns. */
static void an_interruption_ends_the_whole_group(void **state)
{
	static const char *const argv[] = {"sh", "-c", "(trap '' TERM; echo ready; exec sleep 1000) & wait", NULL};
	char *log = log_file();
	struct lp_run run = shell(argv, log);
	struct lp_watch watch = {.interrupted = &interrupted, .tick = interrupt, .arg = log};
	(void)state;
	interrupted = 0;
	assert_int_equal(lp_run_all(&run, 1, 1, &watch, NULL), -LP_EINTERRUPTED);
	assert_int_equal(kill(-run.group, 0), -1);
	unlink(log);
	lp_free(log);
}

static void environments_are_edited_by_name(void **state)
{
	char *const from[] = {(char *)"A=1", (char *)"AB=2", NULL};
	lp_env_vec env = {0};
	(void)state;
	lp_env_copy(&env, from);
	lp_env_set(&env, "A", "3");
	lp_env_set(&env, "AB", NULL);
	lp_env_set(&env, "C", "");
	lp_env_end(&env);
	assert_string_equal(env.items[0], "A=3");
	assert_string_equal(env.items[1], "C=");
	assert_null(env.items[2]);
	lp_env_free(&env);
}

static void the_tail_of_a_log_is_its_last_lines(void **state)
{
	char *log = log_file();
	struct lp_buf tail = {0};
	static const char *const argv[] = {"sh", "-c", "seq 1 1000", NULL};
	struct lp_run run = shell(argv, log);
	(void)state;
	assert_int_equal(lp_run_all(&run, 1, 1, NULL, NULL), 0);
	lp_log_tail(&tail, log, 3);
	assert_string_equal(lp_buf_cstr(&tail), "998\n999\n1000");
	lp_buf_free(&tail);
	unlink(log);
	lp_log_tail(&tail, log, 3);
	assert_int_equal(tail.len, 0);
	lp_free(log);
}

/* Two lines: who runs, and what it has started. */
static void read_pids(const char *log, pid_t out[2])
{
	struct lp_buf text = {0};
	while (text.len < 2 || text.data[text.len - 1] != '\n' || !strchr(lp_buf_cstr(&text), '\n')[1]) {
		lp_buf_free(&text);
		assert_int_equal(lp_read_file(log, &text, 4096, NULL), 0);
		lp_buf_cstr(&text);
		poll(NULL, 0, 1);
		if (!text.len)
			lp_buf_str(&text, "\n");
	}
	char *end;
	out[0] = (pid_t)strtol(lp_buf_cstr(&text), &end, 10);
	out[1] = (pid_t)strtol(end, NULL, 10);
	lp_buf_free(&text);
}

/* A build goes on when nobody waits for it any more, unless somebody ends it. */
static void being_killed_ends_the_whole_group(void **state)
{
	static const char *const argv[] = {"sh", "-c", "echo $$; sleep 1000 & echo $!; wait", NULL};
	char *log = log_file();
	pid_t pids[2];
	(void)state;
	pid_t child = fork();
	if (child == 0) {
		struct lp_run run = shell(argv, log);
		lp_run_all(&run, 1, 1, NULL, NULL);
		_exit(0);
	}
	read_pids(log, pids);
	int ends[2] = {(int)syscall(SYS_pidfd_open, pids[0], 0), (int)syscall(SYS_pidfd_open, pids[1], 0)};
	assert_true(ends[0] >= 0 && ends[1] >= 0);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	for (int i = 0; i < 2; i++) {
		struct pollfd p = {.fd = ends[i], .events = POLLIN};
		assert_int_equal(poll(&p, 1, -1), 1);
		close(ends[i]);
	}
	unlink(log);
	lp_free(log);
}

static bool is_there(const char *path)
{
	return access(path, F_OK) == 0;
}

/* The one line of a log. */
static char *read_line(const char *log)
{
	struct lp_buf text = {0};
	assert_int_equal(lp_read_file(log, &text, 4096, NULL), 0);
	char *line = lp_sprintf("%.*s", (int)strcspn(lp_buf_cstr(&text), "\n"), lp_buf_cstr(&text));
	lp_buf_free(&text);
	return line;
}

static void temporary_files_end_with_what_is_run(void **state)
{
	static const char *const argv[] = {"sh", "-c",
					   "mkdir -m 0 $TMPDIR/a && : > $TMPDIR/b && stat -c '%a %n' $TMPDIR", NULL};
	char *log = log_file();
	struct lp_run run = shell(argv, log);
	(void)state;
	assert_int_equal(lp_run_all(&run, 1, 1, NULL, NULL), 0);
	assert_int_equal(run.status, 0);
	char *line = read_line(log);
	assert_memory_equal(line, "700 /", 5);
	assert_false(is_there(line + 4));
	unlink(log);
	lp_free(line);
	lp_free(log);
}

static void the_directory_for_them_can_have_another_name(void **state)
{
	static const char *const argv[] = {"sh", "-c", "test $TMPDIR = /mine && test -d $THEIRS && echo $THEIRS", NULL};
	static const char *const env[] = {"TMPDIR=/mine", "THEIRS=/", NULL};
	char *log = log_file();
	struct lp_run run = shell(argv, log);
	(void)state;
	run.env = env;
	run.temporary = "THEIRS";
	assert_int_equal(lp_run_all(&run, 1, 1, NULL, NULL), 0);
	assert_int_equal(run.status, 0);
	char *line = read_line(log);
	assert_string_not_equal(line, "/");
	assert_false(is_there(line));
	unlink(log);
	lp_free(line);
	lp_free(log);
}

static void a_place_that_is_not_there_is_passed_over(void **state)
{
	static const char *const argv[] = {"sh", "-c", "test -d $TMPDIR", NULL};
	struct lp_run run = shell(argv, NULL);
	(void)state;
	setenv("TMPDIR", "/there/is/no/such/place", 1);
	assert_int_equal(lp_run_all(&run, 1, 1, NULL, NULL), 0);
	assert_int_equal(run.status, 0);
	unsetenv("TMPDIR");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exit_statuses_and_signals_are_told),
		cmocka_unit_test(output_and_errors_go_to_the_log),
		cmocka_unit_test(input_is_empty),
		cmocka_unit_test(a_program_that_is_not_there_is_an_error),
		cmocka_unit_test(an_interruption_ends_the_whole_group),
		cmocka_unit_test(being_killed_ends_the_whole_group),
		cmocka_unit_test(temporary_files_end_with_what_is_run),
		cmocka_unit_test(the_directory_for_them_can_have_another_name),
		cmocka_unit_test(a_place_that_is_not_there_is_passed_over),
		cmocka_unit_test(environments_are_edited_by_name),
		cmocka_unit_test(the_tail_of_a_log_is_its_last_lines),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
