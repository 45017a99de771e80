#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "victims.h"

static const char *name_at(const struct lp_image *images, size_t nr, lp_addr at, struct lp_elf_sym *sym)
{
	for (size_t i = 0; i < nr; i++) {
		if (at >= images[i].bias && lp_elf_symbol_at(images[i].elf, at - images[i].bias, sym) && sym->size)
			return sym->name;
	}
	return "?";
}

/* The frames of `tid` that lie in named functions must contain `chain`, innermost first, without gaps. */
static void expect_chain(struct lp_proc *p, int tid, const char *const chain[])
{
	const struct lp_image *images;
	size_t nr, at = 0;
	lp_addr frames[64];
	assert_ok(lp_images(p, NULL, &images, &nr, &last_error));
	int n = lp_unwind(p, tid, frames, LP_ARRAY_SIZE(frames), &last_error);
	assert_ok(n);
	for (int i = 0; i < n && chain[at]; i++) {
		struct lp_elf_sym sym;
		const char *name = name_at(images, nr, frames[i] - (i > 0), &sym);
		if (!strcmp(name, chain[at]))
			at++;
		else if (at > 0)
			fail_msg("frame %d of thread %d is %s, not %s", i, tid, name, chain[at]);
	}
	if (chain[at])
		fail_msg("%s is not among the %d frames of thread %d", chain[at], n, tid);
}

static const char *const main_chain[] = {"leaf", "inner", "middle", "outer", "main", NULL};
static const char *const thread_chain[] = {"leaf", "inner", "middle", "outer", "thread", NULL};

static void expect_both(struct lp_proc *p, struct victim *v)
{
	size_t nr;
	const struct lp_stopped *t = lp_stopped_threads(p, &nr);
	assert_int_equal(nr, 2);
	for (size_t i = 0; i < nr; i++)
		expect_chain(p, t[i].tid, t[i].tid == v->pid ? main_chain : thread_chain);
}

static void every_frame_from_main_to_leaf_is_found(void **state)
{
	struct victim *v = victim_start(2, (const char *[]){"chain", NULL});
	struct lp_proc *p = open_locked(v->pid);
	assert_ok(lp_stop_all(p, PATIENCE_MS, &last_error));
	expect_both(p, v);
	lp_resume_all(p, NULL);
	lp_proc_close(p);
	victim_end(v);
}

static void unwinding_works_from_the_copies_after_the_target_is_gone_on(void **state)
{
	struct victim *v = victim_start(2, (const char *[]){"chain", NULL});
	struct lp_proc *p = open_locked(v->pid);
	assert_ok(lp_stop_all(p, PATIENCE_MS, &last_error));
	lp_resume_all(p, NULL);
	expect_both(p, v);
	lp_proc_close(p);
	victim_end(v);
}

static void frames_inside_the_c_library_are_walked_through(void **state)
{
	struct victim *v = victim_start(1, (const char *[]){"blockers", "nanosleep", NULL});
	struct lp_proc *p = open_locked(v->pid);
	for (unsigned i = 0; i < 50; i++) {
		assert_ok(lp_stop_all(p, PATIENCE_MS, &last_error));
		lp_resume_all(p, NULL);
		expect_chain(p, v->pid, (const char *const[]){"main", NULL});
	}
	lp_proc_close(p);
	victim_is_well(v, 1);
	victim_end(v);
}

static void a_thread_that_was_not_stopped_has_no_frames(void **state)
{
	struct victim *v = victim_start(1, (const char *[]){"spin", NULL});
	struct lp_proc *p = open_locked(v->pid);
	lp_addr frames[4];
	assert_refused(lp_unwind(p, v->pid, frames, 4, &last_error), LP_EINTERNAL);
	lp_proc_close(p);
	victim_end(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_frame_from_main_to_leaf_is_found),
		cmocka_unit_test(unwinding_works_from_the_copies_after_the_target_is_gone_on),
		cmocka_unit_test(frames_inside_the_c_library_are_walked_through),
		cmocka_unit_test(a_thread_that_was_not_stopped_has_no_frames),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
