#include <dlfcn.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "victims.h"

#define LIBRARY "libBrokenLocale.so.1" /* part of glibc, and loaded by nobody */

static lp_addr function(struct lp_proc *p, const char *name)
{
	const struct lp_image *images;
	struct lp_found found;
	size_t nr;
	assert_ok(lp_images(p, NULL, &images, &nr, &last_error));
	if (!lp_scope_bind(images, nr, name, NULL, &found))
		fail_msg("the victim has no %s", name);
	return found.addr;
}

static bool is_loaded(struct lp_proc *p, const char *name)
{
	const struct lp_image *images;
	size_t nr;
	lp_images_forget(p);
	assert_ok(lp_images(p, NULL, &images, &nr, &last_error));
	for (size_t i = 0; i < nr; i++) {
		if (strstr(images[i].name, name))
			return true;
	}
	return false;
}

static void expect_getpid(struct lp_proc *p, unsigned rounds)
{
	lp_addr getpid_at = function(p, "getpid");
	for (unsigned i = 0; i < rounds; i++) {
		uint64_t result = 0;
		assert_ok(lp_call_function(p, getpid_at, (uint64_t[6]){0}, &result, PATIENCE_MS, &last_error));
		assert_int_equal(result, lp_proc_pid(p));
	}
}

static void call_getpid_in(unsigned rounds, unsigned threads, const char *const argv[])
{
	struct victim *v = victim_start(threads, argv);
	struct lp_proc *p = open_locked(v->pid);
	expect_getpid(p, rounds);
	lp_proc_close(p);
	victim_is_well(v, threads);
	victim_end(v);
}

static void a_busy_thread_calls_a_function_and_keeps_its_vectors(void **state)
{
	call_getpid_in(200, 1, (const char *[]){"spin", "1", NULL});
}

static void a_sleeping_thread_calls_a_function_and_sees_no_eintr(void **state)
{
	call_getpid_in(100, 1, (const char *[]){"blockers", "nanosleep", NULL});
	call_getpid_in(100, 1, (const char *[]){"blockers", "epoll", NULL});
}

static void a_thread_outside_the_allocator_is_found_while_others_allocate(void **state)
{
	call_getpid_in(100, 3, (const char *[]){"mallocs", "3", NULL});
}

static lp_addr put_string(struct lp_proc *p, const char *text)
{
	struct lp_call map = {lp_proc_sysno(p)->mmap,
			      {0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0},
			      0};
	assert_ok(patiently(lp_inject(p, &map, 1, &last_error)));
	assert_true(map.result > 0);
	assert_ok(lp_mem_write(p, (lp_addr)map.result, text, strlen(text) + 1, &last_error));
	return (lp_addr)map.result;
}

static void dlopen_and_dlclose_work_while_other_threads_allocate(void **state)
{
	struct victim *v = victim_start(3, (const char *[]){"mallocs", "3", NULL});
	struct lp_proc *p = open_locked(v->pid);
	lp_addr name = put_string(p, LIBRARY), dlopen_at = function(p, "dlopen"), dlclose_at = function(p, "dlclose");
	for (unsigned i = 0; i < 20; i++) {
		uint64_t handle = 0, rc = 1;
		assert_false(is_loaded(p, "BrokenLocale"));
		assert_ok(lp_call_function(p, dlopen_at, (uint64_t[6]){name, RTLD_NOW}, &handle, PATIENCE_MS,
					   &last_error));
		assert_int_not_equal(handle, 0);
		assert_true(is_loaded(p, "BrokenLocale"));
		assert_ok(lp_call_function(p, dlclose_at, (uint64_t[6]){handle}, &rc, PATIENCE_MS, &last_error));
		assert_int_equal(rc, 0);
	}
	lp_proc_close(p);
	victim_is_well(v, 3);
	victim_end(v);
}

#define PAGE_FD 3

/* Whoever locks the victim's page waits until this is closed. */
static int page_locked(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, PAGE_FD);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	return fd;
}

static void a_function_that_does_not_return_in_time_goes_on_by_itself(void **state)
{
	struct victim *v = victim_start(1, (const char *[]){"spin", NULL});
	struct lp_proc *p = open_locked(v->pid);
	uint64_t result;
	int page = page_locked(v->pid);
	assert_refused(
		lp_call_function(p, function(p, "flock"), (uint64_t[6]){PAGE_FD, LOCK_EX}, &result, 100, &last_error),
		LP_ETIMEOUT);
	close(page);
	victim_is_well(v, 1);
	expect_getpid(p, 3);
	lp_proc_close(p);
	victim_is_well(v, 1);
	victim_end(v);
}

static void call_forever(pid_t victim)
{
	struct lp_proc *p;
	uint64_t result;
	if (lp_proc_open(&p, victim, NULL) < 0 || lp_proc_lock(p, PATIENCE_MS, NULL) < 0)
		return;
	for (lp_addr at = function(p, "getpid");
	     lp_call_function(p, at, (uint64_t[6]){0}, &result, PATIENCE_MS, NULL) == 0;)
		;
}

/* Killed between any two steps, the sigreturn frame brings the thread back. */
static void a_victim_outlives_callers_that_are_killed(void **state)
{
	struct victim *v = victim_start(1, (const char *[]){"spin", NULL});
	kill_workers(100, 40000, call_forever, v->pid);
	victim_is_well(v, 1);
	struct lp_proc *p = open_locked(v->pid);
	expect_getpid(p, 3);
	lp_proc_close(p);
	victim_is_well(v, 1);
	victim_end(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_busy_thread_calls_a_function_and_keeps_its_vectors),
		cmocka_unit_test(a_sleeping_thread_calls_a_function_and_sees_no_eintr),
		cmocka_unit_test(a_thread_outside_the_allocator_is_found_while_others_allocate),
		cmocka_unit_test(dlopen_and_dlclose_work_while_other_threads_allocate),
		cmocka_unit_test(a_function_that_does_not_return_in_time_goes_on_by_itself),
		cmocka_unit_test(a_victim_outlives_callers_that_are_killed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
