#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/txn.h"

/* What was done is written down: "+a" committed, "!a" refused, "-a" undone, ".a" released, "+(ab)" together. */
static struct lp_buf story;

struct step {
	char name;
	bool refuses;
};

static void tell(char what, char name)
{
	lp_buf_printf(&story, "%c%c ", what, name);
}

static int commit(void *change, struct lp_err *err)
{
	struct step *s = change;
	tell(s->refuses ? '!' : '+', s->name);
	return s->refuses ? lp_fail(err, LP_EBUSY, "%c refuses", s->name) : 0;
}

static void undo(void *change)
{
	tell('-', ((struct step *)change)->name);
}

static void release(void *change)
{
	tell('.', ((struct step *)change)->name);
}

static bool together_refuses;

static int together(int rank, void *const *changes, size_t nr, struct lp_err *err)
{
	lp_buf_printf(&story, "%c(", together_refuses ? '!' : '+');
	for (size_t i = 0; i < nr; i++)
		lp_buf_printf(&story, "%c", ((struct step *)changes[i])->name);
	lp_buf_printf(&story, "@%d) ", rank);
	return together_refuses ? lp_fail(err, LP_EBUSY, "together") : 0;
}

static void add(struct lp_txn_queue *q, struct step *s, int rank, bool alone)
{
	lp_queue_add(
		q,
		&(struct lp_change){
			.rank = rank, .commit = alone ? commit : NULL, .undo = undo, .release = release, .change = s});
}

static int forget_story(void **state)
{
	lp_buf_free(&story);
	together_refuses = false;
	return 0;
}

static void assert_story(struct lp_txn_queue *q, int rc, const char *expected)
{
	struct lp_err err = {0};
	assert_int_equal(lp_queue_commit(q, together, &err), rc);
	assert_int_equal(err.code, rc);
	lp_queue_release(q);
	assert_string_equal(lp_buf_cstr(&story), expected);
}

static void commits_go_by_rank_and_then_as_they_were_added(void **state)
{
	struct step s[] = {{'a', false}, {'b', false}, {'c', false}, {'d', false}, {'e', false}};
	static const int ranks[] = {3, 1, 2, 1, 3};
	struct lp_txn_queue q = {0};
	for (size_t i = 0; i < LP_ARRAY_SIZE(s); i++)
		add(&q, &s[i], ranks[i], true);
	assert_story(&q, 0, "+b +d +c +a +e .e .d .c .b .a ");
}

static void nothing_is_committed_well(void **state)
{
	struct lp_txn_queue q = {0};
	assert_story(&q, 0, "");
}

/* For every n. */
static void when_the_nth_refuses_those_before_are_undone_in_reverse(void **state)
{
	enum { NR = 6 };
	for (size_t n = 0; n < NR; n++) {
		struct step s[NR];
		struct lp_txn_queue q = {0};
		struct lp_buf expected = {0};
		for (size_t i = 0; i < NR; i++) {
			s[i] = (struct step){(char)('a' + i), i == n};
			add(&q, &s[i], 0, true);
		}
		for (size_t i = 0; i <= n; i++)
			lp_buf_printf(&expected, "%c%c ", i == n ? '!' : '+', s[i].name);
		for (size_t i = n; i-- > 0;)
			lp_buf_printf(&expected, "-%c ", s[i].name);
		for (size_t i = NR; i-- > 0;)
			lp_buf_printf(&expected, ".%c ", s[i].name);
		assert_story(&q, -LP_EBUSY, lp_buf_cstr(&expected));
		lp_buf_free(&expected);
		lp_buf_free(&story);
	}
}

static void those_without_a_commit_go_together_rank_by_rank(void **state)
{
	struct step s[] = {{'a', false}, {'b', false}, {'c', false}, {'d', false}, {'e', false}};
	struct lp_txn_queue q = {0};
	add(&q, &s[0], 2, false);
	add(&q, &s[1], 1, true);
	add(&q, &s[2], 2, false);
	add(&q, &s[3], 3, false);
	add(&q, &s[4], 2, true);
	assert_story(&q, 0, "+b +e +(ac@2) +(d@3) .e .d .c .b .a ");
}

static void when_those_together_refuse_none_of_them_is_undone(void **state)
{
	struct step s[] = {{'a', false}, {'b', false}, {'c', false}};
	struct lp_txn_queue q = {0};
	together_refuses = true;
	add(&q, &s[0], 1, true);
	add(&q, &s[1], 2, false);
	add(&q, &s[2], 2, false);
	assert_story(&q, -LP_EBUSY, "+a !(bc@2) -a .c .b .a ");
}

static void when_a_later_one_refuses_those_together_are_undone_too(void **state)
{
	struct step s[] = {{'a', false}, {'b', false}, {'c', true}};
	struct lp_txn_queue q = {0};
	add(&q, &s[0], 1, false);
	add(&q, &s[1], 1, false);
	add(&q, &s[2], 2, true);
	assert_story(&q, -LP_EBUSY, "+(ab@1) !c -b -a .c .b .a ");
}

static void what_was_never_committed_is_only_released(void **state)
{
	struct step s[] = {{'a', false}, {'b', false}};
	struct lp_txn_queue q = {0};
	add(&q, &s[0], 1, true);
	add(&q, &s[1], 1, true);
	lp_queue_release(&q);
	assert_string_equal(lp_buf_cstr(&story), ".b .a ");
	assert_int_equal(q.changes.nr, 0);
}

static void functions_may_be_missing(void **state)
{
	struct lp_txn_queue q = {0};
	lp_queue_add(&q, &(struct lp_change){.rank = 1});
	assert_int_equal(lp_queue_commit(&q, NULL, NULL), 0);
	lp_queue_release(&q);
}

static void one_quiescent_change_makes_the_whole_wait(void **state)
{
	struct lp_txn_queue q = {0};
	lp_queue_add(&q, &(struct lp_change){.rank = 1});
	assert_false(lp_queue_is_quiescent(&q));
	lp_queue_add(&q, &(struct lp_change){.rank = 1, .quiescent = true});
	assert_true(lp_queue_is_quiescent(&q));
	lp_queue_release(&q);
	assert_false(lp_queue_is_quiescent(&q));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(commits_go_by_rank_and_then_as_they_were_added, forget_story),
		cmocka_unit_test_teardown(nothing_is_committed_well, forget_story),
		cmocka_unit_test_teardown(when_the_nth_refuses_those_before_are_undone_in_reverse, forget_story),
		cmocka_unit_test_teardown(those_without_a_commit_go_together_rank_by_rank, forget_story),
		cmocka_unit_test_teardown(when_those_together_refuse_none_of_them_is_undone, forget_story),
		cmocka_unit_test_teardown(when_a_later_one_refuses_those_together_are_undone_too, forget_story),
		cmocka_unit_test_teardown(what_was_never_committed_is_only_released, forget_story),
		cmocka_unit_test(functions_may_be_missing),
		cmocka_unit_test(one_quiescent_change_makes_the_whole_wait),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
