#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proc/state.h"
#include "victims.h"

static void expect_sentence(const char *part)
{
	if (!strstr(last_error.text, part))
		fail_msg("\"%s\" does not say \"%s\"", last_error.text, part);
}

static void a_process_that_is_not_there_is_refused(void **state)
{
	struct lp_proc *p;
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	assert_refused(lp_proc_open(&p, pid, &last_error), LP_EGONE);
	expect_sentence("there is no process");
	assert_null(p);
	assert_refused(lp_proc_open(&p, 0, &last_error), LP_EGONE);
	assert_refused(lp_proc_open(&p, -1, &last_error), LP_EGONE);
}

static void we_do_not_patch_ourselves(void **state)
{
	struct lp_proc *p;
	assert_refused(lp_proc_open(&p, getpid(), &last_error), LP_EPERM);
	expect_sentence("this livepatch itself");
}

static void a_kernel_thread_is_refused(void **state)
{
	struct lp_proc *p;
	char name[32] = "";
	FILE *f = fopen("/proc/2/comm", "r");
	if (!f || !fgets(name, sizeof name, f) || strcmp(name, "kthreadd\n"))
		skip();
	fclose(f);
	assert_refused(lp_proc_open(&p, 2, &last_error), LP_EPERM);
	expect_sentence("kernel thread");
}

static bool is_zombie(void *arg)
{
	return task_state(*(pid_t *)arg) == 'Z';
}

static void a_zombie_is_refused(void **state)
{
	struct lp_proc *p;
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	wait_until(is_zombie, &pid, "a child to become a zombie");
	assert_refused(lp_proc_open(&p, pid, &last_error), LP_EGONE);
	expect_sentence("zombie");
	waitpid(pid, NULL, 0);
}

static pid_t other_thread(pid_t pid)
{
	struct lp_proc *p;
	lp_tid_vec tids = {0};
	assert_ok(lp_proc_open(&p, pid, &last_error));
	assert_int_equal(lp_tasks_list(p, &tids, &last_error), 2);
	pid_t tid = tids.items[tids.items[0] == pid];
	lp_vec_free(&tids);
	lp_proc_close(p);
	return tid;
}

static void a_thread_is_not_taken_for_a_process(void **state)
{
	struct lp_proc *p;
	struct victim *v = victim_start(2, (const char *[]){"spin", "2", NULL});
	char sentence[64];
	assert_refused(lp_proc_open(&p, other_thread(v->pid), &last_error), LP_EGONE);
	snprintf(sentence, sizeof sentence, "is a thread of process %d", (int)v->pid);
	expect_sentence(sentence);
	victim_end(v);
}

static void another_tracer_is_named(void **state)
{
	struct lp_proc *p;
	struct victim *v = victim_start(1, (const char *[]){"spin", NULL});
	int ready[2];
	char byte, sentence[64];
	assert_int_equal(pipe(ready), 0);
	pid_t tracer = fork();
	if (tracer == 0) {
		prctl(PR_SET_NAME, "some-debugger");
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (ptrace(PTRACE_SEIZE, v->pid, 0, 0) == 0 && write(ready[1], "r", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(lp_proc_open(&p, v->pid, &last_error), 0);
	assert_refused(lp_proc_lock(p, 0, &last_error), LP_ETRACED);
	lp_proc_close(p);
	snprintf(sentence, sizeof sentence, "traced by process %d (some-debugger)", (int)tracer);
	expect_sentence(sentence);
	kill(tracer, SIGKILL);
	waitpid(tracer, NULL, 0);
	p = open_locked(v->pid);
	lp_proc_close(p);
	victim_end(v);
}

/* The smallest 32-bit program: it jumps to itself. */
static const unsigned char program32[] = {
	0x7f, 'E', 'L',	 'F',  1, 1, 1,	   0, 0, 0, 0, 0, 0, 0, 0, 0,	 2, 0,	  3,	0,    1,  0,
	0,    0,   0x54, 0x80, 4, 8, 52,   0, 0, 0, 0, 0, 0, 0, 0, 0,	 0, 0,	  52,	0,    32, 0,
	1,    0,   0,	 0,    0, 0, 0,	   0, 1, 0, 0, 0, 0, 0, 0, 0,	 0, 0x80, 4,	8,    0,  0x80,
	4,    8,   0x56, 0,    0, 0, 0x56, 0, 0, 0, 5, 0, 0, 0, 0, 0x10, 0, 0,	  0xeb, 0xfe, /* jmp . */
};

static void a_32_bit_program_is_refused(void **state)
{
	char path[] = "/tmp/test32.XXXXXX";
	int fd = mkstemp(path);
	assert_int_equal(write(fd, program32, sizeof program32), sizeof program32);
	fchmod(fd, 0755);
	close(fd);
	int status, failed[2];
	assert_int_equal(pipe2(failed, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(path, path, NULL);
		_exit(write(failed[1], "f", 1) == 1 ? 127 : 126);
	}
	close(failed[1]);
	char byte;
	bool no_exec = read(failed[0], &byte, 1) == 1; /* the pipe closes when exec succeeds */
	close(failed[0]);
	struct lp_proc *p;
	int rc = no_exec ? -ENOSYS : lp_proc_open(&p, pid, &last_error);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	unlink(path);
	if (no_exec)
		skip(); /* a kernel without 32-bit programs */
	assert_int_equal(rc, -LP_EISA);
	expect_sentence("32-bit");
}

static void without_the_right_to_trace_the_reason_is_given(void **state)
{
	struct victim *v = victim_start(1, (const char *[]){"spin", NULL});
	int report[2];
	struct lp_err got = {0};
	if (geteuid() != 0)
		skip();
	assert_int_equal(pipe(report), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct lp_proc *p;
		struct lp_err err = {0};
		if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
			_exit(1);
		lp_proc_open(&p, v->pid, &err);
		_exit(write(report[1], &err, sizeof err) == sizeof err ? 0 : 1);
	}
	assert_int_equal(read(report[0], &got, sizeof got), sizeof got);
	waitpid(pid, NULL, 0);
	last_error = got;
	assert_int_equal(got.code, -LP_EPERM);
	expect_sentence("runs as uid 0 and we as uid 65534");
	victim_is_well(v, 1);
	victim_end(v);
}

static void only_one_livepatch_works_on_a_process_at_a_time(void **state)
{
	struct victim *v = victim_start(1, (const char *[]){"spin", NULL});
	struct lp_proc *p;
	int ready[2];
	char byte, sentence[64];
	assert_int_equal(pipe(ready), 0);
	pid_t other = fork();
	if (other == 0) {
		struct lp_proc *q;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (lp_proc_open(&q, v->pid, NULL) == 0 && lp_proc_lock(q, 0, NULL) == 0 &&
		    write(ready[1], "l", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_ok(lp_proc_open(&p, v->pid, &last_error));
	uint64_t begin = now_ns();
	assert_refused(lp_proc_lock(p, 100, &last_error), LP_ELOCKED);
	assert_true(now_ns() - begin >= 100000000);
	snprintf(sentence, sizeof sentence, "process %d (", (int)other);
	expect_sentence(sentence);
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	assert_ok(lp_proc_lock(p, PATIENCE_MS, &last_error)); /* the kernel dropped it */
	struct lp_proc *q;
	assert_ok(lp_proc_open(&q, v->pid, &last_error));
	assert_refused(lp_proc_lock(q, 0, &last_error), LP_ELOCKED);
	lp_proc_unlock(p);
	assert_ok(lp_proc_lock(q, 0, &last_error));
	lp_proc_close(q);
	lp_proc_close(p);
	victim_end(v);
}

static bool came_back(void *arg)
{
	struct victim *v = arg;
	return v->page->ready >= 2;
}

static void a_process_that_execs_is_noticed_by_every_call(void **state)
{
	struct victim *v = victim_start(1, (const char *[]){"phoenix", NULL});
	struct lp_proc *p = open_locked(v->pid);
	struct lp_maps m;
	uint64_t word;
	map_and_unmap(p);
	assert_ok(lp_maps_read(p, &m, &last_error));
	lp_addr at = m.items[0].range.start;
	lp_maps_free(&m);
	v->page->slots[0].extra = 1;
	wait_until(came_back, v, "the victim to exec");
	struct lp_call call = {lp_proc_sysno(p)->close, {(uint64_t)-1}, 0};
	assert_refused(lp_proc_check(p, &last_error), LP_EEXECED);
	assert_refused(lp_mem_read(p, at, &word, sizeof word, &last_error), LP_EEXECED);
	assert_refused(lp_mem_write(p, at, &word, sizeof word, &last_error), LP_EEXECED);
	assert_refused(lp_inject(p, &call, 1, &last_error), LP_EEXECED);
	assert_refused(lp_stop_all(p, PATIENCE_MS, &last_error), LP_EEXECED);
	lp_proc_close(p);
	victim_is_well(v, 1);
	victim_end(v);
}

/* The exec falls between any two steps of the pause: it is noticed, or came before or after. */
static void a_process_that_execs_in_the_middle_of_a_stop_is_let_go(void **state)
{
	struct victim *v = victim_start(1, (const char *[]){"phoenix", NULL});
	unsigned stopped = 0, noticed = 0;
	/* Later and later, until it has come both before and after. */
	for (unsigned i = 0; i < 300 || ((!stopped || !noticed) && i < 100000); i++) {
		struct lp_proc *p;
		int rc = lp_proc_open(&p, v->pid, &last_error);
		if (rc == -LP_EGONE || rc == -LP_EEXECED)
			continue; /* in the middle of one */
		assert_ok(rc);
		v->page->slots[0].extra = 1;
		for (uint64_t end = now_ns() + i * 1000; now_ns() < end;)
			;
		rc = lp_stop_all(p, PATIENCE_MS, &last_error);
		if (rc == 0)
			lp_resume_all(p, NULL);
		else if (rc != -LP_EEXECED)
			fail_msg("%s", last_error.text);
		*(rc == 0 ? &stopped : &noticed) += 1;
		lp_proc_close(p);
	}
	assert_true(stopped > 0 && noticed > 0);
	victim_is_well(v, 1);
	victim_end(v);
}

/* The exec waits for the other threads that we trace, and our seizing of one for the exec (reaper.c): it falls between the
 * first seizing and the last. */
static void a_process_of_many_threads_that_execs_in_the_middle_of_a_stop_is_let_go(void **state)
{
	struct victim *v = victim_start(1, (const char *[]){"phoenix", "100", NULL});
	for (unsigned i = 0; i < 100; i++) {
		struct lp_proc *p;
		int rc = lp_proc_open(&p, v->pid, &last_error);
		if (rc == -LP_EGONE || rc == -LP_EEXECED)
			continue;
		assert_ok(rc);
		v->page->slots[0].extra = 1 + 10 * i;
		for (unsigned tries = 0; tries < 20 && rc == 0; tries++) {
			rc = lp_stop_all(p, PATIENCE_MS, &last_error);
			lp_resume_all(p, NULL);
		}
		if (rc < 0 && rc != -LP_EEXECED)
			fail_msg("%s", last_error.text);
		lp_proc_close(p);
	}
	victim_is_well(v, 1);
	victim_end(v);
}

static void a_process_that_dies_is_noticed_by_every_call(void **state)
{
	struct victim *v = victim_start(1, (const char *[]){"spin", NULL});
	struct lp_proc *p = open_locked(v->pid);
	uint64_t word;
	struct lp_call call = {lp_proc_sysno(p)->close, {(uint64_t)-1}, 0};
	map_and_unmap(p);
	kill(v->pid, SIGKILL);
	wait_until(is_zombie, &v->pid, "the victim to be dead");
	assert_refused(lp_proc_check(p, &last_error), LP_EGONE);
	assert_refused(lp_mem_read(p, 0x1000, &word, sizeof word, &last_error), LP_EGONE);
	assert_refused(lp_inject(p, &call, 1, &last_error), LP_EGONE);
	assert_refused(lp_stop_all(p, PATIENCE_MS, &last_error), LP_EGONE);
	lp_proc_close(p);
	victim_end(v);
}

static void a_process_killed_in_the_pause_is_let_go_quietly(void **state)
{
	for (unsigned i = 0; i < 20; i++) {
		struct victim *v = victim_start(4, (const char *[]){"spin", "4", NULL});
		struct lp_proc *p = open_locked(v->pid);
		assert_ok(lp_stop_all(p, PATIENCE_MS, &last_error));
		kill(v->pid, SIGKILL);
		lp_resume_all(p, NULL);
		wait_until(is_zombie, &v->pid, "the victim to be dead");
		assert_refused(lp_stop_all(p, PATIENCE_MS, &last_error), LP_EGONE);
		lp_proc_close(p);
		victim_end(v);
	}
}

static void a_process_whose_first_thread_has_exited_works(void **state)
{
	struct victim *v = victim_start(2, (const char *[]){"leaderless", NULL});
	wait_until(is_zombie, &v->pid, "the first thread to exit");
	struct lp_proc *p = open_locked(v->pid);
	for (unsigned i = 0; i < 100; i++) {
		size_t nr;
		assert_ok(lp_stop_all(p, PATIENCE_MS, &last_error));
		lp_stopped_threads(p, &nr);
		assert_int_equal(nr, 2);
		lp_resume_all(p, NULL);
		map_and_unmap(p);
	}
	lp_proc_close(p);
	uint64_t before = v->page->slots[0].beats;
	for (uint64_t end = now_ns() + UINT64_C(1000000) * PATIENCE_MS; v->page->slots[0].beats == before;)
		assert_true(now_ns() < end);
	victim_end(v);
}

/* Through the thread that has gone nothing can be read: the program would seem to have no file, and no symbols. */
static void a_process_whose_leader_exits_after_it_was_opened_is_seen_as_before(void **state)
{
	struct victim *v = victim_start(2, (const char *[]){"leaderless", "when told", NULL});
	struct lp_proc *p = open_locked(v->pid);
	struct lp_maps maps;
	const struct lp_image *images;
	struct lp_elf_sym sym;
	size_t nr, cursor = 0;
	v->page->slots[2].extra = 1;
	wait_until(is_zombie, &v->pid, "the first thread to exit");
	assert_ok(lp_images(p, NULL, &images, &nr, &last_error));
	assert_true(lp_elf_symbol_by_name(images[0].elf, LP_SYMTAB, "victim_page", &cursor, &sym));
	assert_ok(lp_maps_read(p, &maps, &last_error));
	lp_maps_free(&maps);
	lp_proc_close(p);
	victim_end(v);
}

static void maps_are_read_though_the_leader_has_exited_since(void **state)
{
	struct victim *v = victim_start(2, (const char *[]){"leaderless", "when told", NULL});
	struct lp_proc *p = open_locked(v->pid);
	struct lp_maps maps;
	v->page->slots[2].extra = 1;
	wait_until(is_zombie, &v->pid, "the first thread to exit");
	assert_ok(lp_maps_read(p, &maps, &last_error));
	assert_non_null(lp_maps_find(&maps, maps.items[0].range.start));
	lp_maps_free(&maps);
	lp_proc_close(p);
	victim_end(v);
}

static void a_process_in_other_namespaces_works(void **state)
{
	const struct lp_image *images;
	size_t nr;
	if (geteuid() != 0)
		skip();
	struct victim *v = victim_start_apart(2, (const char *[]){"spin", "2", NULL});
	struct lp_proc *p = open_locked(v->pid);
	for (unsigned i = 0; i < 50; i++) {
		map_and_unmap(p);
		assert_ok(lp_stop_all(p, PATIENCE_MS, &last_error));
		lp_resume_all(p, NULL);
	}
	assert_ok(lp_images(p, NULL, &images, &nr, &last_error));
	assert_string_equal(images[0].path, "/mnt/apart");
	assert_true(access(images[0].path, F_OK) < 0); /* not here */
	size_t cursor = 0;
	struct lp_elf_sym sym;
	assert_true(lp_elf_symbol_by_name(images[0].elf, LP_SYMTAB, "victim_run", &cursor, &sym) ||
		    lp_elf_symbol_by_name(images[0].elf, LP_SYMTAB, "main", &cursor, &sym));
	lp_proc_close(p);
	victim_is_well(v, 2);
	victim_end(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_process_that_is_not_there_is_refused),
		cmocka_unit_test(we_do_not_patch_ourselves),
		cmocka_unit_test(a_kernel_thread_is_refused),
		cmocka_unit_test(a_zombie_is_refused),
		cmocka_unit_test(a_thread_is_not_taken_for_a_process),
		cmocka_unit_test(another_tracer_is_named),
		cmocka_unit_test(a_32_bit_program_is_refused),
		cmocka_unit_test(without_the_right_to_trace_the_reason_is_given),
		cmocka_unit_test(only_one_livepatch_works_on_a_process_at_a_time),
		cmocka_unit_test(a_process_that_execs_is_noticed_by_every_call),
		cmocka_unit_test(a_process_that_execs_in_the_middle_of_a_stop_is_let_go),
		cmocka_unit_test(a_process_of_many_threads_that_execs_in_the_middle_of_a_stop_is_let_go),
		cmocka_unit_test(a_process_that_dies_is_noticed_by_every_call),
		cmocka_unit_test(a_process_killed_in_the_pause_is_let_go_quietly),
		cmocka_unit_test(a_process_whose_first_thread_has_exited_works),
		cmocka_unit_test(a_process_whose_leader_exits_after_it_was_opened_is_seen_as_before),
		cmocka_unit_test(maps_are_read_though_the_leader_has_exited_since),
		cmocka_unit_test(a_process_in_other_namespaces_works),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
