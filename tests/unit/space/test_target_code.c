#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/core.h"
#include "space/code.h"
#include "space/space.h"
#include "victims.h"

#define THREADS 50

static struct victim *victim;
static struct lp_code_space *space;

static int start(void **state)
{
	victim = victim_start(THREADS, (const char *[]){"answers", "50", NULL});
	assert_ok(lp_code_open_process(&space, victim->pid, &last_error));
	return 0;
}

static int stop(void **state)
{
	space->ops->close(space);
	victim_is_well(victim, THREADS);
	victim_end(victim);
	return 0;
}

static lp_addr find(const char *name, uint64_t *size)
{
	struct lp_addr_expr e = {.kind = LP_ADDR_SYMBOL, .symbol = (char *)(uintptr_t)name};
	uint64_t any;
	lp_addr at;
	assert_ok(space->ops->resolve(space, &e, &at, size ? size : &any, &last_error));
	return at;
}

/* ---- instructions of the victim's ---- */

#ifdef __x86_64__
#define LOAD_LEN 5u
static void load(uint8_t out[LOAD_LEN], uint8_t number) /* mov $number,%eax */
{
	memcpy(out, (uint8_t[]){0xb8, number, 0, 0, 0}, LOAD_LEN);
}
#else
#define LOAD_LEN 4u
static void load(uint8_t out[LOAD_LEN], uint8_t number) /* mov w0,#number */
{
	uint32_t word = 0x52800000u | (uint32_t)number << 5;
	memcpy(out, &word, LOAD_LEN);
}
#endif

struct change {
	uint8_t old_bytes[LOAD_LEN], new_bytes[LOAD_LEN];
	struct lp_code_edit edit;
};

/* nine() shall return `number`. */
static struct lp_code_edit *change_nine(struct change *c, uint8_t number)
{
	lp_addr at = find("nine", NULL);
	assert_ok(space->ops->read(space, at, c->old_bytes, LOAD_LEN, &last_error));
	load(c->new_bytes, number);
	c->edit =
		(struct lp_code_edit){.at = at, .len = LOAD_LEN, .old_bytes = c->old_bytes, .new_bytes = c->new_bytes};
	return &c->edit;
}

static int commit(struct lp_code_edit *edits, size_t nr)
{
	last_error = (struct lp_err){0};
	return space->ops->commit(space, edits, nr, 0, &last_error);
}

static int undo(struct lp_code_edit *edits, size_t nr)
{
	last_error = (struct lp_err){0};
	return space->ops->undo(space, edits, nr, 0, &last_error);
}

static struct lp_code_divert *divert(const char *from, const char *to)
{
	struct lp_code_divert *d;
	assert_ok(space->ops->divert_make(space, find(from, NULL), find(to, NULL), 0, &d, &last_error));
	return d;
}

/* ---- what the victim's threads see ---- */

static uint64_t seen;

static bool all_see(void *arg)
{
	for (size_t i = 0; i < THREADS; i++)
		if (victim->page->slots[i].extra != seen)
			return false;
	return true;
}

/* nine() gives `nines` and add(10, 2) gives `sum`, in every thread. */
static void expect_answers(unsigned nines, unsigned sum)
{
	char text[64];
	seen = nines * 1000 + sum;
	snprintf(text, sizeof text, "all threads to see %u and %u", nines, sum);
	wait_until(all_see, NULL, text);
}

/* Applied entries in the ledger, as anybody else sees it. */
static size_t entries_applied(void)
{
	struct lp_target *t;
	struct lp_listing list;
	size_t nr = 0;
	assert_ok(lp_target_open_process(&t, victim->pid, NULL, &last_error));
	assert_ok(lp_ledger_list(t, &list, &last_error));
	for (size_t i = 0; i < list.nr; i++)
		nr += list.items[i].state == LP_APPLIED;
	lp_listing_free(&list);
	lp_target_close(t);
	return nr;
}

/* What `livepatch revert` does. */
static void revert_from_outside(uint64_t id)
{
	struct lp_target *t;
	struct lp_result result;
	struct lp_apply_opts opts = {.timeout_ms = 60000};
	assert_ok(lp_target_open_process(&t, victim->pid, NULL, &last_error));
	assert_ok(lp_revert(t, &id, 1, &opts, &result, &last_error));
	lp_target_close(t);
}

/* ---- tests ---- */

static void an_instruction_is_replaced_and_restored_under_fifty_threads(void **state)
{
	struct change c;
	expect_answers(9, 112);
	assert_ok(commit(change_nine(&c, 3), 1));
	assert_true(c.edit.token);
	expect_answers(3, 112);
	assert_int_equal(entries_applied(), 1);
	assert_ok(undo(&c.edit, 1));
	expect_answers(9, 112);
	assert_int_equal(entries_applied(), 0);
}

static void a_function_is_diverted_retargeted_and_restored(void **state)
{
	struct lp_code_divert *d = divert("add", "subtract");
	struct lp_code_edit edits[2] = {d->edits[0], d->edits[1]};
	assert_ok(commit(edits, d->nr));
	expect_answers(9, 108);
	assert_ok(space->ops->divert_retarget(space, d, find("twice", NULL), 0, &last_error));
	expect_answers(9, 124);
	assert_ok(undo(edits, d->nr));
	expect_answers(9, 112);
	assert_int_equal(entries_applied(), 0);
	space->ops->divert_free(space, d);
}

static void several_edits_are_one_entry(void **state)
{
	struct change c;
	struct lp_code_divert *d = divert("add", "subtract");
	struct lp_code_edit edits[3] = {*change_nine(&c, 4), d->edits[0], d->edits[1]};
	assert_ok(commit(edits, 1 + d->nr));
	expect_answers(4, 108);
	assert_int_equal(entries_applied(), 1);
	assert_ok(undo(edits, 1 + d->nr));
	expect_answers(9, 112);
	assert_int_equal(entries_applied(), 0);
	space->ops->divert_free(space, d);
}

static void one_wrong_edit_keeps_all_others_out(void **state)
{
	struct change c, wrong;
	struct lp_code_edit edits[2] = {*change_nine(&c, 4), *change_nine(&wrong, 5)};
	edits[1].at = find("count", NULL);
	assert_refused(commit(edits, 2), LP_ECHANGED);
	assert_int_equal(last_error.addr, edits[1].at);
	assert_int_equal(edits[0].token, 0);
	expect_answers(9, 112);
	assert_int_equal(entries_applied(), 0);
}

static void a_part_of_a_commit_goes_and_the_rest_stays(void **state)
{
	struct change c;
	struct lp_code_divert *d = divert("add", "subtract");
	struct lp_code_edit edits[3] = {*change_nine(&c, 4), d->edits[0], d->edits[1]};
	assert_ok(commit(edits, 1 + d->nr));
	assert_ok(undo(edits, 1));
	expect_answers(9, 108);
	assert_ok(undo(edits + 1, d->nr));
	expect_answers(9, 112);
	assert_int_equal(entries_applied(), 0);
	space->ops->divert_free(space, d);
}

static void what_stands_on_a_part_that_went_does_not_keep_the_rest(void **state)
{
	struct change first, second;
	struct lp_code_divert *d = divert("add", "subtract");
	struct lp_code_edit edits[3] = {*change_nine(&first, 4), d->edits[0], d->edits[1]};
	assert_ok(commit(edits, 1 + d->nr));
	assert_ok(undo(edits, 1));
	assert_ok(commit(change_nine(&second, 5), 1));
	expect_answers(5, 108);
	assert_ok(undo(edits + 1, d->nr));
	expect_answers(5, 112);
	assert_ok(undo(&second.edit, 1));
	expect_answers(9, 112);
	assert_int_equal(entries_applied(), 0);
	space->ops->divert_free(space, d);
}

static void changes_of_several_commits_go_as_one(void **state)
{
	struct change c;
	struct lp_code_divert *d = divert("add", "twice");
	struct lp_code_edit edits[3] = {*change_nine(&c, 6), d->edits[0], d->edits[1]};
	assert_ok(commit(edits, 1));
	assert_ok(commit(edits + 1, d->nr));
	expect_answers(6, 124);
	assert_ok(undo(edits, 1 + d->nr));
	expect_answers(9, 112);
	assert_int_equal(entries_applied(), 0);
	space->ops->divert_free(space, d);
}

static void what_a_stranger_reverted_counts_as_undone(void **state)
{
	struct change c;
	assert_ok(commit(change_nine(&c, 7), 1));
	revert_from_outside(c.edit.token);
	expect_answers(9, 112);
	assert_ok(undo(&c.edit, 1));
}

static void what_a_stranger_changed_since_is_not_undone(void **state)
{
	struct change mine, theirs;
	struct lp_code_space *own = space;
	assert_ok(commit(change_nine(&mine, 7), 1));
	assert_ok(lp_code_open_process(&space, victim->pid, &last_error));
	assert_ok(commit(change_nine(&theirs, 8), 1));
	struct lp_code_space *other = space;
	space = own;
	assert_refused(undo(&mine.edit, 1), LP_ECHANGED);
	expect_answers(8, 112);
	assert_ok(other->ops->undo(other, &theirs.edit, 1, 0, &last_error));
	assert_ok(undo(&mine.edit, 1));
	expect_answers(9, 112);
	other->ops->close(other);
}

static int exchange(struct lp_code_edit *undone, size_t nr_undone, struct lp_code_edit *edits, size_t nr)
{
	last_error = (struct lp_err){0};
	return space->ops->exchange(space, undone, nr_undone, edits, nr, 0, &last_error);
}

/* nine() is never nine in between, and add() never the old one: the victim's threads see to that themselves. */
static void what_goes_and_what_comes_in_its_place_is_one_change(void **state)
{
	struct change first, second;
	struct lp_code_divert *a = divert("add", "subtract");
	struct lp_code_edit old[3] = {*change_nine(&first, 4), a->edits[0], a->edits[1]};
	assert_ok(commit(old, 1 + a->nr));
	struct lp_code_divert *b = divert("add", "twice");
	struct lp_code_edit new[3] = {*change_nine(&second, 5), b->edits[0], b->edits[1]};
	memcpy(second.old_bytes, first.old_bytes, LOAD_LEN);
	assert_ok(exchange(old, 1 + a->nr, new, 1 + b->nr));
	expect_answers(5, 124);
	assert_int_equal(entries_applied(), 2);
	assert_ok(undo(new, 1));
	expect_answers(9, 124);
	assert_ok(undo(new + 1, b->nr));
	expect_answers(9, 112);
	assert_int_equal(entries_applied(), 0);
	space->ops->divert_free(space, a);
	space->ops->divert_free(space, b);
}

static void what_goes_elsewhere_goes_in_the_same_change(void **state)
{
	struct change c;
	struct lp_code_divert *d = divert("add", "subtract");
	struct lp_code_edit edits[2] = {d->edits[0], d->edits[1]};
	assert_ok(commit(edits, d->nr));
	assert_ok(exchange(edits, d->nr, change_nine(&c, 3), 1));
	expect_answers(3, 112);
	assert_ok(undo(&c.edit, 1));
	expect_answers(9, 112);
	assert_int_equal(entries_applied(), 0);
	space->ops->divert_free(space, d);
}

static void half_an_instruction_is_refused(void **state)
{
	struct change c;
	change_nine(&c, 7);
	c.edit.len = LOAD_LEN - 1;
	assert_refused(commit(&c.edit, 1), LP_EENCODING);
	change_nine(&c, 7);
	c.edit.at++;
	assert_true(commit(&c.edit, 1) < 0);
	expect_answers(9, 112);
}

static void unmapped_memory_is_refused(void **state)
{
	struct change c;
	uint8_t byte;
	assert_refused(space->ops->read(space, 64, &byte, 1, &last_error), LP_EUNMAPPED);
	change_nine(&c, 7);
	c.edit.at = 4096;
	assert_refused(commit(&c.edit, 1), LP_EUNMAPPED);
}

static void data_is_replaced_as_data(void **state)
{
	uint64_t size;
	int was, now = 103;
	lp_addr at = find("kept", &size);
	assert_int_equal(size, sizeof was);
	assert_ok(space->ops->read(space, at, &was, sizeof was, &last_error));
	assert_int_equal(was, 100);
	struct lp_code_edit e = {.at = at,
				 .len = sizeof was,
				 .is_data = true,
				 .old_bytes = (uint8_t *)&was,
				 .new_bytes = (uint8_t *)&now};
	assert_ok(commit(&e, 1));
	assert_ok(space->ops->read(space, at, &was, sizeof was, &last_error));
	assert_int_equal(was, 103);
	was = 100;
	assert_ok(undo(&e, 1));
	assert_ok(space->ops->read(space, at, &now, sizeof now, &last_error));
	assert_int_equal(now, 100);
}

/* A function in new memory that the instruction's neighbours are near to. */
static void code_in_new_memory_is_within_reach_and_runs(void **state)
{
	lp_addr near = find("add", NULL), room, far;
	uint8_t code[LOAD_LEN + 4];
	assert_ok(space->ops->room_make(space, near, sizeof code, &room, &last_error));
	assert_true((room > near ? room - near : near - room) < space->isa->reach);
	assert_ok(space->ops->room_make(space, 0, 100000, &far, &last_error));
	load(code, 108);
#ifdef __x86_64__
	code[LOAD_LEN] = 0xc3; /* ret */
#else
	memcpy(code + LOAD_LEN, (uint8_t[]){0xc0, 0x03, 0x5f, 0xd6}, 4);
#endif
	assert_ok(space->ops->room_fill(space, room, code, sizeof code, &last_error));
	struct lp_code_divert *d;
	assert_ok(space->ops->divert_make(space, near, room, 0, &d, &last_error));
	struct lp_code_edit edits[2] = {d->edits[0], d->edits[1]};
	assert_ok(commit(edits, d->nr));
	expect_answers(9, 108);
	assert_ok(undo(edits, d->nr));
	expect_answers(9, 112);
	space->ops->divert_free(space, d);
	space->ops->room_drop(space, room, sizeof code);
	assert_refused(space->ops->room_fill(space, near, code, sizeof code, &last_error), LP_EINTERNAL);
}

static void a_function_that_somebody_is_in_waits_unless_told_otherwise(void **state)
{
	struct lp_code_divert *d = divert("linger", "count");
	struct lp_code_edit edits[2] = {d->edits[0], d->edits[1]};
	assert_refused(commit(edits, d->nr), LP_EBUSY);
	assert_non_null(strstr(last_error.text, "linger"));
	last_error = (struct lp_err){0};
	assert_ok(space->ops->commit(space, edits, d->nr, LP_CODE_ALLOW_ACTIVE, &last_error));
	assert_ok(undo(edits, d->nr));
	space->ops->divert_free(space, d);
}

/* As a program does that makes code. */
static void overwrite(lp_addr at, const void *bytes, size_t len)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/mem", (int)victim->pid);
	int memory = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(memory >= 0);
	assert_int_equal(pwrite(memory, bytes, len, (off_t)at), (ssize_t)len);
	close(memory);
}

static void open_alone(void)
{
	struct lp_target *t;
	space->ops->close(space);
	assert_ok(lp_target_open_process(&t, victim->pid, NULL, &last_error));
	assert_ok(lp_code_open_target(&space, t, "alone", true));
}

static void what_was_written_over_is_given_up_and_the_rest_of_the_commit_goes_as_ever(void **state)
{
	struct change c, again;
	uint8_t theirs[LOAD_LEN];
	open_alone();
	struct lp_code_divert *d = divert("add", "subtract");
	struct lp_code_edit edits[3] = {*change_nine(&c, 4), d->edits[0], d->edits[1]};
	size_t nr = 1 + d->nr;
	assert_ok(commit(edits, nr));
	expect_answers(4, 108);
	load(theirs, 7);
	overwrite(edits[0].at, theirs, LOAD_LEN);
	expect_answers(7, 108);
	assert_ok(space->ops->disown(space, edits, 1, &last_error));
	expect_answers(7, 108);
	assert_int_equal(entries_applied(), 1);
	assert_ok(undo(edits + 1, nr - 1));
	expect_answers(7, 112);
	assert_int_equal(entries_applied(), 0);
	assert_ok(commit(change_nine(&again, 5), 1));
	expect_answers(5, 112);
	assert_ok(undo(&again.edit, 1));
	expect_answers(7, 112);
	overwrite(edits[0].at, c.old_bytes, LOAD_LEN);
	expect_answers(9, 112);
	space->ops->divert_free(space, d);
	space->ops->close(space);
	assert_ok(lp_code_open_process(&space, victim->pid, &last_error));
}

static void what_others_patch_too_is_not_given_up(void **state)
{
	assert_null(space->ops->disown);
}

static void functions_have_bounds(void **state)
{
	uint64_t size;
	struct lp_range f;
	lp_addr at = find("add", &size);
	assert_true(space->ops->function(space, at + 1, &f));
	assert_int_equal(f.start, at);
	assert_int_equal(f.end, at + size);
	assert_false(space->ops->function(space, 4096, &f));
}

static void an_unknown_name_is_refused(void **state)
{
	struct lp_addr_expr e = {.kind = LP_ADDR_SYMBOL, .symbol = (char *)(uintptr_t) "no_such_function"};
	lp_addr at;
	uint64_t size;
	assert_refused(space->ops->resolve(space, &e, &at, &size, &last_error), LP_ENOSYM);
}

static void a_script_is_one_transaction(void **state)
{
	static const char text[] = "jmp add subtract\nset base int32 100\n";
	struct lp_patchset *ps;
	uint64_t id;
	assert_ok(lp_patch_parse_script(&ps, text, sizeof text - 1, "fix.lp", &last_error));
	assert_ok(space->ops->script(space, ps, 0, NULL, &id, &last_error));
	expect_answers(9, 108);
	assert_int_equal(entries_applied(), 1);
	assert_ok(space->ops->unscript(space, id, 0, &last_error));
	expect_answers(9, 112);
	lp_patchset_free(ps);
}

static void *commit_and_undo(void *arg)
{
	struct change c = {.edit = *(struct lp_code_edit *)arg};
	for (int i = 0; i < 10; i++)
		if (space->ops->commit(space, &c.edit, 1, 0, NULL) < 0 ||
		    space->ops->undo(space, &c.edit, 1, 0, NULL) < 0)
			return arg;
	return NULL;
}

/* The right to trace belongs to a thread: nothing of it may be left when a call returns. */
static void any_thread_may_call(void **state)
{
	struct change c;
	change_nine(&c, 2);
	for (int i = 0; i < 3; i++) {
		pthread_t t;
		void *failed;
		assert_int_equal(pthread_create(&t, NULL, commit_and_undo, &c.edit), 0);
		assert_int_equal(pthread_join(t, &failed), 0);
		assert_null(failed);
	}
	expect_answers(9, 112);
}

static void a_target_that_is_gone_is_called_so(void **state)
{
	struct change c;
	struct lp_code_space *s;
	struct victim *v = victim_start(1, (const char *[]){"answers", "1", NULL});
	change_nine(&c, 2);
	assert_ok(lp_code_open_process(&s, v->pid, &last_error));
	victim_end(v);
	assert_refused(s->ops->commit(s, &c.edit, 1, 0, &last_error), LP_EGONE);
	s->ops->close(s);
	assert_refused(lp_code_open_process(&s, getpid(), &last_error), LP_EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_instruction_is_replaced_and_restored_under_fifty_threads),
		cmocka_unit_test(a_function_is_diverted_retargeted_and_restored),
		cmocka_unit_test(several_edits_are_one_entry),
		cmocka_unit_test(one_wrong_edit_keeps_all_others_out),
		cmocka_unit_test(a_part_of_a_commit_goes_and_the_rest_stays),
		cmocka_unit_test(what_stands_on_a_part_that_went_does_not_keep_the_rest),
		cmocka_unit_test(changes_of_several_commits_go_as_one),
		cmocka_unit_test(what_a_stranger_reverted_counts_as_undone),
		cmocka_unit_test(what_a_stranger_changed_since_is_not_undone),
		cmocka_unit_test(what_goes_and_what_comes_in_its_place_is_one_change),
		cmocka_unit_test(what_goes_elsewhere_goes_in_the_same_change),
		cmocka_unit_test(half_an_instruction_is_refused),
		cmocka_unit_test(unmapped_memory_is_refused),
		cmocka_unit_test(data_is_replaced_as_data),
		cmocka_unit_test(code_in_new_memory_is_within_reach_and_runs),
		cmocka_unit_test(a_function_that_somebody_is_in_waits_unless_told_otherwise),
		cmocka_unit_test(what_was_written_over_is_given_up_and_the_rest_of_the_commit_goes_as_ever),
		cmocka_unit_test(what_others_patch_too_is_not_given_up),
		cmocka_unit_test(functions_have_bounds),
		cmocka_unit_test(an_unknown_name_is_refused),
		cmocka_unit_test(a_script_is_one_transaction),
		cmocka_unit_test(any_thread_may_call),
		cmocka_unit_test(a_target_that_is_gone_is_called_so),
	};
	return cmocka_run_group_tests_name("space target_code", tests, start, stop);
}
