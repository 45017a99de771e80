/*
 * What can be seen of a process's memory from outside without touching it:
 * which pages are its own, who else runs in it, what setjmp() hid.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "proc/state.h"
#include "victims.h"

#define PAGES 64

static uint8_t *region;
static jmp_buf kept;
static char other_stack[16384] __attribute__((aligned(16)));

static int idle(void *arg)
{
	for (;;)
		pause();
	return 0;
}

/* A copy of this process that waits; with `sharer` another one runs in its memory. */
static pid_t child(pid_t *sharer)
{
	int ends[2];
	pid_t other = 0;
	assert_int_equal(pipe(ends), 0);
	pid_t pid = fork();
	if (pid == 0) {
		if (sharer)
			other = clone(idle, other_stack + sizeof other_stack, CLONE_VM, NULL);
		if (write(ends[1], &other, sizeof other) != (ssize_t)sizeof other)
			_exit(1);
		idle(NULL);
	}
	assert_true(pid > 0);
	assert_int_equal(read(ends[0], &other, sizeof other), sizeof other);
	close(ends[0]);
	close(ends[1]);
	if (sharer)
		*sharer = other;
	return pid;
}

static void end(struct lp_proc *p, pid_t pid)
{
	lp_proc_close(p);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static struct lp_proc *opened(pid_t pid)
{
	struct lp_proc *p = NULL;
	assert_ok(lp_proc_open(&p, pid, &last_error));
	return p;
}

static bool among(const lp_range_vec *runs, size_t page)
{
	lp_addr at = (lp_addr)(uintptr_t)region + page * LP_PAGE;
	for (size_t i = 0; i < runs->nr; i++)
		if (lp_range_has(runs->items[i], at))
			return true;
	return false;
}

static void check_runs(bool by_words)
{
	pid_t pid = child(NULL);
	struct lp_proc *p = opened(pid);
	lp_range_vec runs = {0};
	lp_addr start = (lp_addr)(uintptr_t)region;
	p->pagemap_words = by_words;
	assert_int_equal(lp_touched(p, (struct lp_range){start, start + PAGES * LP_PAGE}, &runs), 0);
	for (size_t i = 0; i < PAGES; i++)
		assert_int_equal(among(&runs, i), i == 3 || i == 4 || i == 10 || i == PAGES - 1);
	assert_int_equal(runs.nr, 3); /* neighbours are one */
	lp_vec_free(&runs);
	end(p, pid);
}

static void pages_that_were_written_are_the_programs_own(void **state)
{
	check_runs(false);
}

static void an_older_kernel_tells_the_same_by_words(void **state)
{
	check_runs(true);
}

static void pages_of_a_file_are_not_its_own(void **state)
{
	pid_t pid = child(NULL);
	struct lp_proc *p = opened(pid);
	lp_range_vec runs = {0};
	lp_addr code = lp_align_down((lp_addr)(uintptr_t)&check_runs, LP_PAGE);
	assert_int_equal(lp_touched(p, (struct lp_range){code, code + LP_PAGE}, &runs), 0);
	assert_int_equal(runs.nr, 0);
	lp_vec_free(&runs);
	end(p, pid);
}

static void nobody_else_runs_in_the_memory_of_a_forked_child(void **state)
{
	pid_t pid = child(NULL);
	struct lp_proc *p = opened(pid);
	assert_int_equal(lp_sharer(p), 0);
	end(p, pid);
}

static void a_process_that_was_cloned_into_the_memory_is_named(void **state)
{
	pid_t sharer, pid = child(&sharer);
	struct lp_proc *p = opened(pid);
	assert_true(sharer > 0);
	assert_int_equal(lp_sharer(p), sharer);
	kill(sharer, SIGKILL);
	end(p, pid);
}

static uint64_t plain(const struct lp_disguise *d, uint64_t word)
{
	return (d->rotate ? word >> d->rotate | word << (64 - d->rotate) : word) ^ d->key;
}

static void what_setjmp_hid_is_found_again(void **state)
{
	struct lp_disguise d;
	uint64_t words[sizeof kept / 8];
	lp_addr here = (lp_addr)(uintptr_t)__builtin_frame_address(0);
	lp_addr code = (lp_addr)(uintptr_t)&what_setjmp_hid_is_found_again;
	bool found = false;
	assert_int_equal(setjmp(kept), 0);
	memcpy(words, kept, sizeof words);
	pid_t pid = child(NULL);
	struct lp_proc *p = opened(pid);
	assert_true(lp_jmpbuf_disguise(p, &d));
	for (int i = 0; i < 14 && !found; i++)
		found = here - plain(&d, words[i]) < 4096 && i + d.pc_at >= 0 &&
			plain(&d, words[i + d.pc_at]) - code < 4096;
	assert_true(found);
	end(p, pid);
}

static int set_up(void **state)
{
	region = mmap(NULL, PAGES * LP_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (region == MAP_FAILED)
		return -1;
	madvise(region, PAGES * LP_PAGE, MADV_NOHUGEPAGE);
	region[3 * LP_PAGE] = region[4 * LP_PAGE + 5] = region[10 * LP_PAGE] = region[PAGES * LP_PAGE - 1] = 1;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_that_were_written_are_the_programs_own),
		cmocka_unit_test(an_older_kernel_tells_the_same_by_words),
		cmocka_unit_test(pages_of_a_file_are_not_its_own),
		cmocka_unit_test(nobody_else_runs_in_the_memory_of_a_forked_child),
		cmocka_unit_test(a_process_that_was_cloned_into_the_memory_is_named),
		cmocka_unit_test(what_setjmp_hid_is_found_again),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
