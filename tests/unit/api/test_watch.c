/* Patch files that are loaded again by themselves. */
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../space/emulated.h"
#include "api/watch_path.h"

/* ---- waiting for something to become true ---- */

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

#define until(truth)                                                                              \
	do {                                                                                      \
		for (double end = seconds() + 120; !(truth); poll(NULL, 0, 1))                    \
			if (seconds() > end)                                                      \
				fail_msg("never came true: %s; the last reload said: %s", #truth, \
					 counts().last_reload_error);                             \
	} while (0)

static void watch(const char *path, int count)
{
	int rc = livepatch_watch(sys, path);
	if (rc != count)
		fail_msg("%s: %d, %s", path, rc, last_text());
}

/* ---- changes ---- */

static void a_file_that_is_written_is_loaded_again(void **state)
{
	write_file("fix", "401000 D503201F\n");
	watch("fix", 1);
	assert_int_equal(word(0x401000), NOP);
	write_file("fix", "401004 D503201F\n");
	until(word(0x401004) == NOP);
	assert_int_equal(word(0x401000), original(0x1000 / 4));
	write_file("fix", "401008 D503201F\n");
	until(word(0x401008) == NOP);
}

static void a_file_that_is_replaced_is_loaded_again(void **state)
{
	write_file("fix", "401000 D503201F\n");
	watch("fix", 1);
	for (int i = 1; i <= 3; i++) {
		char text[32];
		snprintf(text, sizeof text, "%X D503201F\n", 0x401000 + 4 * i);
		replace_file("fix", text);
		until(word(0x401000 + 4 * (uint64_t)i) == NOP);
	}
	assert_int_equal(counts().active, 1);
	assert_int_equal(counts().reloads, 3);
}

static void a_link_that_is_switched_leads_to_another_file(void **state)
{
	assert_int_equal(mkdir("one", 0755), 0);
	assert_int_equal(mkdir("two", 0755), 0);
	write_file("one/fix", "401000 D503201F\n");
	write_file("two/fix", "401004 D503201F\n");
	/* As a config map is mounted: fix -> ..data/fix, ..data -> one */
	assert_int_equal(symlink("one", "..data"), 0);
	assert_int_equal(symlink("..data/fix", "fix"), 0);
	watch("fix", 1);
	assert_int_equal(symlink("two", "..data_tmp"), 0);
	assert_int_equal(rename("..data_tmp", "..data"), 0);
	until(word(0x401004) == NOP);
	assert_int_equal(word(0x401000), original(0x1000 / 4));
	write_file("two/fix", "401008 D503201F\n"); /* where it leads now is what is watched */
	until(word(0x401008) == NOP);
	assert_int_equal(symlink("one/fix", "other"), 0);
	assert_int_equal(rename("other", "fix"), 0);
	until(word(0x401000) == NOP);
}

static void a_directory_may_go_and_come_again(void **state)
{
	assert_int_equal(mkdir("a", 0755), 0);
	assert_int_equal(mkdir("a/b", 0755), 0);
	write_file("a/b/fix", "401000 D503201F\n");
	watch("a/b/fix", 1);
	assert_int_equal(rename("a", "gone"), 0);
	until(counts().reload_errors > 0);
	assert_int_equal(word(0x401000), NOP); /* no file is no reason to take anything away */
	assert_int_equal(mkdir("a", 0755), 0);
	assert_int_equal(mkdir("a/b", 0755), 0);
	write_file("a/b/fix", "401004 D503201F\n");
	until(word(0x401004) == NOP);
	assert_int_equal(word(0x401000), original(0x1000 / 4));
	assert_string_equal(counts().last_reload_error, "");
	assert_int_equal(unlink("a/b/fix"), 0);
	assert_int_equal(rmdir("a/b"), 0);
	assert_int_equal(rename("gone/b", "a/b"), 0);
	until(word(0x401000) == NOP);
}

static void a_broken_file_keeps_the_old_set_until_it_is_mended(void **state)
{
	write_file("fix", "401000 D503201F\n");
	watch("fix", 1);
	replace_file("fix", "401000 D65F03C0\nbroken\n");
	until(counts().reload_errors == 1);
	assert_int_equal(word(0x401000), NOP);
	assert_string_equal(counts().last_reload_error, "fix:2:7: an instruction is missing after the address");
	replace_file("fix", "401000 D65F03C0\n");
	until(word(0x401000) == RET);
	assert_string_equal(counts().last_reload_error, "");
}

static void a_file_that_is_as_it_was_is_not_loaded_again(void **state)
{
	write_file("fix", "401000 D503201F\n");
	write_file("other", "401000 D503201F\n");
	watch("fix", 1);
	replace_file("fix", "401000 D503201F\n");
	write_file("fix", "401000 D503201F\n");
	assert_int_equal(utimensat(AT_FDCWD, "fix", NULL, 0), 0);
	write_file("unrelated", "broken\n");
	replace_file("fix", "401004 D503201F\n"); /* this one is seen, the others were none */
	until(word(0x401004) == NOP);
	assert_int_equal(counts().reloads, 1);
	assert_int_equal(counts().reload_errors, 0);
}

static void what_changed_for_the_worse_and_back_is_well_again(void **state)
{
	write_file("fix", "401000 D503201F\n");
	watch("fix", 1);
	replace_file("fix", "broken\n");
	until(counts().reload_errors == 1);
	replace_file("fix", "401000 D503201F\n");
	until(counts().reloads == 1);
	assert_string_equal(counts().last_reload_error, "");
}

static void a_pipe_in_the_place_of_the_file_keeps_nobody_waiting(void **state)
{
	write_file("fix", "401000 D503201F\n");
	watch("fix", 1);
	assert_int_equal(mkfifo("pipe", 0600), 0);
	assert_int_equal(rename("pipe", "fix"), 0);
	until(counts().reload_errors == 1);
	assert_string_equal(counts().last_reload_error, "fix is not a regular file");
	replace_file("fix", "401000 D65F03C0\n");
	until(word(0x401000) == RET);
}

static void many_changes_in_a_row_are_one(void **state)
{
	char text[64];
	write_file("fix", "401000 D503201F\n");
	watch("fix", 1);
	double start = seconds();
	for (int i = 0; i < 500; i++) {
		snprintf(text, sizeof text, "401000 D503201F %d\n", i);
		replace_file("fix", text);
	}
	replace_file("fix", "401004 D503201F\n");
	double took = seconds() - start;
	until(word(0x401004) == NOP);
	assert_true(counts().reloads <= 2 + (uint64_t)(took / 0.1));
}

static void a_writer_that_never_ends_is_not_waited_for(void **state)
{
	char text[64];
	write_file("fix", "401000 D503201F\n");
	watch("fix", 1);
	double end = seconds() + 120;
	for (int i = 0; counts().reloads == 0; i++) {
		assert_true(seconds() < end);
		snprintf(text, sizeof text, "401000 D503201F %d\n", i);
		replace_file("fix", text);
	}
}

static void several_files_are_watched_by_one_thread(void **state)
{
	assert_int_equal(mkdir("d", 0755), 0);
	write_file("a", "401000 D503201F\n");
	write_file("d/b", "401004 D503201F\n");
	watch("a", 1);
	watch("d/b", 1);
	replace_file("a", "401000 D65F03C0\n");
	until(word(0x401000) == RET);
	replace_file("d/b", "401004 D65F03C0\n");
	until(word(0x401004) == RET);
}

/* ---- life ---- */

static size_t nr_threads(void)
{
	size_t nr = 0;
	DIR *d = opendir("/proc/self/task");
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		nr += e->d_name[0] != '.';
	closedir(d);
	return nr;
}

static size_t nr_descriptors(void)
{
	size_t nr = 0;
	DIR *d = opendir("/proc/self/fd");
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		nr++;
	closedir(d);
	return nr;
}

static void what_cannot_be_loaded_is_not_watched(void **state)
{
	size_t threads = nr_threads();
	write_file("fix", "broken\n");
	assert_int_equal(livepatch_watch(sys, "fix"), -1);
	assert_string_equal(livepatch_last_error()->file, "fix");
	assert_int_equal(livepatch_watch(sys, "none"), -1);
	assert_int_equal(livepatch_watch(sys, NULL), -1);
	assert_int_equal(livepatch_watch(NULL, "fix"), -1);
	assert_int_equal(nr_threads(), threads);
	assert_int_equal(livepatch_unwatch(sys), -1);
	assert_untouched();
}

static void a_failed_watch_leaves_those_that_are_there(void **state)
{
	write_file("good", "401000 D503201F\n");
	write_file("bad", "broken\n");
	watch("good", 1);
	assert_int_equal(livepatch_watch(sys, "bad"), -1);
	replace_file("good", "401000 D65F03C0\n");
	until(word(0x401000) == RET);
}

static void unwatching_ends_the_thread_and_nothing_is_loaded_any_more(void **state)
{
	size_t threads = nr_threads();
	write_file("fix", "401000 D503201F\n");
	watch("fix", 1);
	size_t descriptors = nr_descriptors();
	assert_int_equal(nr_threads(), threads + 1);
	assert_int_equal(livepatch_unwatch(sys), 0);
	assert_int_equal(nr_threads(), threads);
	replace_file("fix", "401000 D65F03C0\n");
	assert_int_equal(word(0x401000), NOP);
	watch("fix", 1); /* what changed meanwhile */
	assert_int_equal(word(0x401000), RET);
	assert_int_equal(nr_descriptors(), descriptors);
}

static void watching_a_file_that_was_loaded_loads_what_is_new_in_it(void **state)
{
	write_file("fix", "401000 D503201F\n");
	assert_loads("fix", 1);
	watch("fix", 0);
	replace_file("fix", "401000 D65F03C0\n");
	until(word(0x401000) == RET);
	watch("fix", 0);
	assert_int_equal(counts().active, 1);
}

static void the_working_directory_may_change_meanwhile(void **state)
{
	write_file("fix", "401000 D503201F\n");
	watch("fix", 1);
	replace_file("fix.x", "401000 D65F03C0\n");
	assert_int_equal(chdir("/"), 0);
	char from[PATH_MAX + 8], to[PATH_MAX + 8];
	snprintf(from, sizeof from, "%s/fix.x", directory);
	snprintf(to, sizeof to, "%s/fix", directory);
	assert_int_equal(rename(from, to), 0);
	until(word(0x401000) == RET);
}

static void a_child_may_clean_up_what_its_parent_watches(void **state)
{
	write_file("fix", "401000 D503201F\n");
	watch("fix", 1);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		livepatch_cleanup(sys);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	replace_file("fix", "401000 D65F03C0\n");
	until(word(0x401000) == RET);
}

static int is_watched_anew(void)
{
	if (livepatch_unwatch(sys) == 0 || livepatch_watch_signal(sys, SIGHUP) == 0)
		return 1; /* its parent is the one who watches */
	if (livepatch_watch(sys, "fix"))
		return 2;
	replace_file("fix", "401000 D65F03C0\n");
	for (double end = seconds() + 120; word(0x401000) != RET; poll(NULL, 0, 1))
		if (seconds() > end)
			return 3;
	return 0;
}

static void a_child_watches_when_it_says_so_itself(void **state)
{
	if (is_emulated())
		skip(); /* qemu itself does not survive threads in a child of threads */
	write_file("fix", "401000 D503201F\n");
	watch("fix", 1);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		_exit(is_watched_anew());
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	until(word(0x401000) == RET);
}

/* ---- signals ---- */

static volatile sig_atomic_t nr_signals;

static void count_signal(int signo)
{
	nr_signals++;
}

static void a_signal_has_the_files_loaded_and_the_handler_before_it_is_called(void **state)
{
	struct sigaction old, ours = {.sa_handler = count_signal}, now;
	assert_int_equal(sigaction(SIGHUP, &ours, &old), 0);
	write_file("fix", "401000 D503201F\n");
	assert_int_equal(livepatch_watch_signal(sys, SIGHUP), -1); /* nothing is watched */
	watch("fix", 1);
	assert_int_equal(livepatch_watch_signal(sys, SIGHUP), 0);
	assert_int_equal(livepatch_watch_signal(sys, SIGHUP), 0);
	nr_signals = 0;
	assert_int_equal(kill(getpid(), SIGHUP), 0);
	until(counts().reloads == 1); /* also when nothing changed */
	assert_int_equal(nr_signals, 1);
	assert_int_equal(livepatch_unwatch(sys), 0);
	assert_int_equal(sigaction(SIGHUP, &old, &now), 0);
	assert_ptr_equal(now.sa_handler, count_signal);
}

static void a_signal_that_would_have_ended_the_program_does_not(void **state)
{
	write_file("fix", "401000 D503201F\n");
	watch("fix", 1);
	assert_int_equal(livepatch_watch_signal(sys, SIGUSR2), 0);
	assert_int_equal(raise(SIGUSR2), 0);
	until(counts().reloads == 1);
	assert_int_equal(livepatch_unwatch(sys), 0);
	struct sigaction now;
	assert_int_equal(sigaction(SIGUSR2, NULL, &now), 0);
	assert_ptr_equal(now.sa_handler, SIG_DFL);
}

static void a_handler_that_came_later_stays(void **state)
{
	struct sigaction ours = {.sa_handler = count_signal}, now;
	write_file("fix", "401000 D503201F\n");
	watch("fix", 1);
	assert_int_equal(livepatch_watch_signal(sys, SIGUSR1), 0);
	assert_int_equal(sigaction(SIGUSR1, &ours, NULL), 0);
	assert_int_equal(livepatch_unwatch(sys), 0);
	assert_int_equal(sigaction(SIGUSR1, NULL, &now), 0);
	assert_ptr_equal(now.sa_handler, count_signal);
	signal(SIGUSR1, SIG_DFL);
}

static struct sigaction below;

static void call_below(int signo, siginfo_t *info, void *context)
{
	nr_signals++;
	below.sa_sigaction(signo, info, context);
}

static void handlers_that_call_each_other_come_to_an_end(void **state)
{
	struct sigaction first = {.sa_handler = count_signal},
			 second = {.sa_sigaction = call_below, .sa_flags = SA_SIGINFO};
	write_file("fix", "401000 D503201F\n");
	assert_int_equal(sigaction(SIGWINCH, &first, NULL), 0);
	watch("fix", 1);
	assert_int_equal(livepatch_watch_signal(sys, SIGWINCH), 0);
	assert_int_equal(sigaction(SIGWINCH, &second, &below), 0); /* calls ours, which calls the first */
	assert_int_equal(livepatch_unwatch(sys), 0);
	watch("fix", 0);
	assert_int_equal(livepatch_watch_signal(sys, SIGWINCH), 0);
	nr_signals = 0;
	uint64_t reloads = counts().reloads;
	assert_int_equal(raise(SIGWINCH), 0);
	assert_int_equal(nr_signals, 2);
	until(counts().reloads > reloads);
	assert_int_equal(livepatch_unwatch(sys), 0);
	assert_int_equal(raise(SIGWINCH), 0);
	assert_int_equal(nr_signals, 4);
	signal(SIGWINCH, SIG_DFL);
}

static void signals_that_mean_something_else_are_refused(void **state)
{
	static const int signals[] = {0, -1, 65, SIGKILL, SIGSTOP, SIGSEGV, SIGTRAP, SIGABRT};
	write_file("fix", "401000 D503201F\n");
	watch("fix", 1);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
		assert_int_equal(livepatch_watch_signal(sys, signals[i]), -1);
		assert_int_equal(livepatch_last_error()->code, -EINVAL);
	}
	assert_int_equal(livepatch_watch_signal(NULL, SIGHUP), -1);
}

/* Signals blocked by the thread that is called `name`. */
static uint64_t blocked_by(const char *name)
{
	DIR *d = opendir("/proc/self/task");
	uint64_t blocked = 0;
	for (struct dirent *e = readdir(d); e; e = readdir(d)) {
		char path[PATH_MAX], line[256];
		bool it = false;
		snprintf(path, sizeof path, "/proc/self/task/%s/status", e->d_name);
		FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "re");
		while (f && fgets(line, sizeof line, f)) {
			if (strncmp(line, "Name:\t", 6) == 0)
				it = strncmp(line + 6, name, strlen(name)) == 0;
			if (it && strncmp(line, "SigBlk:\t", 8) == 0)
				blocked = strtoull(line + 8, NULL, 16);
		}
		if (f)
			fclose(f);
	}
	closedir(d);
	return blocked;
}

static void the_thread_takes_none_of_the_programs_signals(void **state)
{
	static const int signals[] = {SIGHUP, SIGINT, SIGTERM, SIGCHLD, SIGUSR1, SIGALRM, SIGPIPE, SIGIO};
	write_file("fix", "401000 D503201F\n");
	watch("fix", 1);
	uint64_t blocked;
	until((blocked = blocked_by("livepatch-watch")) != 0);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		assert_true(blocked >> (signals[i] - 1) & 1);
	sigset_t mine;
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mine), 0);
	assert_false(sigismember(&mine, SIGHUP));
}

/* ---- what the kernel tells about a path, step by step ---- */

static struct lp_path_watch way;

static void follow(const char *name)
{
	char path[2 * PATH_MAX];
	struct lp_err err = {0};
	snprintf(path, sizeof path, "%s/%s", directory, name);
	assert_int_equal(lp_path_watch_open(&way, &err), 0);
	assert_int_equal(lp_path_watch_add(&way, path, &err), 1);
	assert_int_equal(lp_path_watch_add(&way, path, &err), 0);
	assert_int_equal(lp_path_watch_read(&way), LP_PATH_QUIET);
}

#define tells(event) assert_int_equal(lp_path_watch_read(&way), LP_PATH_##event)

static void a_file_is_told_when_it_is_begun_written_renamed_and_removed(void **state)
{
	follow("fix");
	int fd = open("fix", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	tells(BEGUN);
	assert_int_equal(write(fd, "x", 1), 1);
	tells(QUIET);
	close(fd);
	tells(CHANGED);
	write_file("other", "x");
	tells(QUIET);
	assert_int_equal(rename("other", "fix"), 0);
	tells(CHANGED);
	assert_int_equal(rename("fix", "other"), 0);
	tells(CHANGED);
	assert_int_equal(link("other", "fix"), 0);
	tells(BEGUN);
	unlink("fix");
	tells(CHANGED);
	unlink("other");
	tells(QUIET);
	assert_int_equal(symlink("other", "fix"), 0);
	tells(CHANGED);
	write_file("other", "x"); /* where it leads is watched, too */
	tells(CHANGED);
	lp_path_watch_close(&way);
}

static void every_name_on_the_way_is_told(void **state)
{
	assert_int_equal(mkdir("a", 0755), 0);
	assert_int_equal(mkdir("a/b", 0755), 0);
	write_file("a/b/fix", "x");
	follow("a/./b/../b//fix");
	assert_int_equal(rename("a/b", "a/c"), 0);
	tells(CHANGED);
	write_file("a/c/fix", "y");
	tells(QUIET);
	assert_int_equal(rename("a/c", "a/b"), 0);
	tells(CHANGED);
	write_file("a/b/fix", "y");
	tells(CHANGED);
	assert_int_equal(rename("a", "c"), 0);
	tells(CHANGED);
	assert_int_equal(mkdir("a", 0755), 0);
	tells(BEGUN);
	assert_int_equal(mkdir("a/b", 0755), 0);
	tells(BEGUN);
	write_file("a/b/fix", "y");
	tells(CHANGED);
	unlink("a/b/fix");
	assert_int_equal(rmdir("a/b"), 0);
	assert_int_equal(rmdir("a"), 0);
	tells(CHANGED);
	write_file("a", "in its place");
	tells(CHANGED);
	lp_path_watch_close(&way);
}

static void links_that_lead_nowhere_or_in_circles_end(void **state)
{
	assert_int_equal(symlink("two", "one"), 0);
	assert_int_equal(symlink("one", "two"), 0);
	follow("one/fix");
	assert_int_equal(unlink("two"), 0);
	assert_int_equal(mkdir("two", 0755), 0);
	tells(CHANGED);
	write_file("two/fix", "x");
	tells(CHANGED);
	lp_path_watch_close(&way);
}

static void an_absolute_link_starts_at_the_root(void **state)
{
	char target[PATH_MAX + 8];
	snprintf(target, sizeof target, "%s/d", directory);
	assert_int_equal(mkdir("d", 0755), 0);
	assert_int_equal(symlink(target, "link"), 0);
	follow("link/fix");
	write_file("d/fix", "x");
	tells(CHANGED);
	lp_path_watch_close(&way);
}

static void more_events_than_the_kernel_keeps_are_a_change(void **state)
{
	FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
	unsigned most = 0;
	assert_int_equal(fscanf(f, "%u", &most), 1);
	fclose(f);
	write_file("x", "");
	write_file("y", "");
	follow("fix");
	for (unsigned i = 0; i < most / 2; i++) /* two at a time, because the kernel joins those that are the same */
		assert_int_equal(chmod(i % 2 ? "x" : "y", 0600), 0);
	tells(QUIET);
	for (unsigned i = 0; i < 2 * most; i++)
		assert_int_equal(chmod(i % 2 ? "x" : "y", 0600), 0);
	tells(CHANGED);
	tells(QUIET);
	lp_path_watch_close(&way);
}

#define test(name) cmocka_unit_test_setup_teardown(name, enter_directory, leave_directory)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_file_that_is_written_is_loaded_again),
		test(a_file_that_is_replaced_is_loaded_again),
		test(a_link_that_is_switched_leads_to_another_file),
		test(a_directory_may_go_and_come_again),
		test(a_broken_file_keeps_the_old_set_until_it_is_mended),
		test(a_file_that_is_as_it_was_is_not_loaded_again),
		test(what_changed_for_the_worse_and_back_is_well_again),
		test(a_pipe_in_the_place_of_the_file_keeps_nobody_waiting),
		test(many_changes_in_a_row_are_one),
		test(a_writer_that_never_ends_is_not_waited_for),
		test(several_files_are_watched_by_one_thread),
		test(what_cannot_be_loaded_is_not_watched),
		test(a_failed_watch_leaves_those_that_are_there),
		test(unwatching_ends_the_thread_and_nothing_is_loaded_any_more),
		test(watching_a_file_that_was_loaded_loads_what_is_new_in_it),
		test(the_working_directory_may_change_meanwhile),
		test(a_child_may_clean_up_what_its_parent_watches),
		test(a_child_watches_when_it_says_so_itself),
		test(a_signal_has_the_files_loaded_and_the_handler_before_it_is_called),
		test(a_signal_that_would_have_ended_the_program_does_not),
		test(a_handler_that_came_later_stays),
		test(handlers_that_call_each_other_come_to_an_end),
		test(signals_that_mean_something_else_are_refused),
		test(the_thread_takes_none_of_the_programs_signals),
		test(a_file_is_told_when_it_is_begun_written_renamed_and_removed),
		test(every_name_on_the_way_is_told),
		test(links_that_lead_nowhere_or_in_circles_end),
		test(an_absolute_link_starts_at_the_root),
		test(more_events_than_the_kernel_keeps_are_a_change),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
