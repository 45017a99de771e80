#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/scan.h"

static struct lp_seen scanned(const char *text)
{
	struct lp_seen s = {0};
	assert_int_equal(lp_scan_maps(&s, text, strlen(text), NULL), 0);
	return s;
}

#define CAT                                                                                              \
	"55d0c0000000-55d0c0002000 r--p 00000000 08:01 131 /usr/bin/cat\n"                               \
	"55d0c0002000-55d0c0007000 r-xp 00002000 08:01 131 /usr/bin/cat\n"                               \
	"55d0c0007000-55d0c000a000 rw-p 00007000 08:01 131 /usr/bin/cat\n"                               \
	"55d0c1000000-55d0c1021000 rw-p 00000000 00:00 0                  [heap]\n"                      \
	"7f1000000000-7f1000020000 r--p 00000000 08:01 132                /usr/lib/lib c.so (deleted)\n" \
	"7f1000020000-7f1000100000 r-xp 00020000 08:01 132                /usr/lib/lib c.so (deleted)\n"

static void objects_are_files_with_code(void **state)
{
	struct lp_seen s = scanned(CAT);
	assert_int_equal(s.objects.nr, 2);
	assert_string_equal(s.objects.items[0].path, "/usr/bin/cat");
	assert_string_equal(lp_seen_name(&s.objects.items[0]), "cat");
	assert_int_equal(s.objects.items[0].start, 0x55d0c0000000);
	assert_string_equal(s.objects.items[1].path, "/usr/lib/lib c.so");
	assert_int_equal(s.objects.items[1].start, 0x7f1000000000);
	assert_false(s.ledger);
	assert_false(s.foreign);
	lp_seen_free(&s);
}

static void data_files_are_not_objects(void **state)
{
	struct lp_seen s = scanned("7f0000000000-7f0000001000 r--p 00000000 08:01 9 /usr/lib/locale/C.utf8/LC_CTYPE\n"
				   "7f0000001000-7f0000002000 r--s 00000000 08:01 10 /var/cache/fonts\n");
	assert_int_equal(s.objects.nr, 0);
	lp_seen_free(&s);
}

static void an_object_with_several_code_mappings_is_one(void **state)
{
	struct lp_seen s = scanned("400000-401000 r-xp 00000000 08:01 9 /bin/old\n"
				   "401000-402000 r-xp 00001000 08:01 9 /bin/old\n");
	assert_int_equal(s.objects.nr, 1);
	lp_seen_free(&s);
}

static void a_ledger_and_other_tools_memory_are_noticed(void **state)
{
	struct lp_seen s = scanned("7f0000000000-7f0000001000 r--p 00000000 00:01 5 /memfd:livepatch-ledger (deleted)\n"
				   "7f0000001000-7f0000002000 r-xp 00000000 00:00 0 \n");
	assert_true(s.ledger);
	assert_true(s.foreign);
	assert_int_equal(s.objects.nr, 0);
	lp_seen_free(&s);
}

static void lines_that_make_no_sense_are_refused(void **state)
{
	static const char *const bad[] = {
		"hello\n",
		"400000-401000 r-xp 00000000 08:01 9 /bin/x", /* no end of line */
		"401000-400000 r-xp 00000000 08:01 9 /bin/x\n",
		"40000000000000000-40000000000000001 r-xp 0 0:0 9 /bin/x\n",
		"400000-401000 r-xp\n",
		"400000-401000 r-xp 00000000\n",
		"400000-401000 r-xp 00000000 08:01 99999999999999999999999 /bin/x\n",
		"-401000 r-xp 00000000 08:01 9 /bin/x\n",
		"\n",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct lp_seen s = {0};
		struct lp_err err = {0};
		assert_int_equal(lp_scan_maps(&s, bad[i], strlen(bad[i]), &err), -EBADMSG);
		assert_non_null(strstr(err.text, "line 1"));
		lp_seen_free(&s);
	}
}

static void every_prefix_of_a_text_is_safe_to_read(void **state)
{
	for (size_t len = 0; len <= strlen(CAT); len++) {
		char *copy = malloc(len + !len); /* exact, so that a sanitizer sees a byte too many */
		struct lp_seen s = {0};
		memcpy(copy, CAT, len);
		lp_scan_maps(&s, copy, len, NULL);
		lp_seen_free(&s);
		free(copy);
	}
}

/* Ourselves are scanned by a child. */
static void what_runs_is_told_by_its_own_build_id(void **state)
{
	struct lp_elf *elf;
	struct lp_build_id id;
	char hex[2 * LP_BUILD_ID_MAX + 1];
	assert_int_equal(lp_elf_open(&elf, "/proc/self/exe", NULL), 0);
	lp_elf_build_id(elf, &id);
	lp_build_id_hex(&id, hex);
	lp_elf_close(elf);
	assert_int_not_equal(id.len, 0);
	pid_t us = getpid(), child = fork();
	if (child == 0) {
		struct lp_seen s;
		bool found = false;
		int rc = lp_scan_process(us, &s, NULL);
		for (size_t i = 0; rc == 0 && i < s.objects.nr; i++)
			found = found || strcmp(s.objects.items[i].build_id, hex) == 0;
		_exit(found && s.objects.nr > 1 && s.start_time && !s.kernel ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void a_process_that_is_not_there_is_gone(void **state)
{
	struct lp_seen s;
	struct lp_err err = {0};
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	waitpid(child, NULL, 0);
	assert_int_equal(lp_scan_process(child, &s, &err), -LP_EGONE);
}

static void a_zombie_has_nothing(void **state)
{
	struct lp_seen s = {0};
	siginfo_t info;
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT);
	assert_int_equal(lp_scan_process(child, &s, NULL), 0);
	assert_int_equal(s.objects.nr, 0);
	assert_true(s.kernel);
	lp_seen_free(&s);
	waitpid(child, NULL, 0);
}

static void everybody_is_in_order_and_neither_the_first_nor_we(void **state)
{
	lp_pid_vec pids = {0};
	pid_t child = fork();
	bool seen = false;
	if (child == 0) {
		pause();
		_exit(0);
	}
	assert_int_equal(lp_scan_pids(&pids, NULL), 0);
	for (size_t i = 0; i < pids.nr; i++) {
		assert_int_not_equal(pids.items[i], 1);
		assert_int_not_equal(pids.items[i], getpid());
		assert_true(!i || pids.items[i] > pids.items[i - 1]);
		seen = seen || pids.items[i] == child;
	}
	assert_true(seen);
	lp_vec_free(&pids);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_are_files_with_code),
		cmocka_unit_test(data_files_are_not_objects),
		cmocka_unit_test(an_object_with_several_code_mappings_is_one),
		cmocka_unit_test(a_ledger_and_other_tools_memory_are_noticed),
		cmocka_unit_test(lines_that_make_no_sense_are_refused),
		cmocka_unit_test(every_prefix_of_a_text_is_safe_to_read),
		cmocka_unit_test(what_runs_is_told_by_its_own_build_id),
		cmocka_unit_test(a_process_that_is_not_there_is_gone),
		cmocka_unit_test(a_zombie_has_nothing),
		cmocka_unit_test(everybody_is_in_order_and_neither_the_first_nor_we),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
