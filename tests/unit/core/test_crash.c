/*
 * Apply and revert with the writer killed before each change it makes to the
 * target, one after the other, and with each change failing once.  After a
 * death the next livepatch must find its way; after a failure the target must
 * be as before, at once.
 */
#include "base/bits.h"
#include "fake.h"

static const struct lp_apply_opts opts = {.timeout_ms = 0};

static int apply(struct fake *f, const char *script, uint64_t *id, struct lp_err *err)
{
	struct lp_patchset *ps;
	struct lp_plan *plan;
	struct lp_result result = {0};
	int rc = lp_patch_parse_script(&ps, script, strlen(script), "test", err);
	assert_int_equal(rc, 0);
	rc = lp_plan_make(&plan, &f->target, ps, &opts, err);
	if (rc == 0)
		rc = lp_plan_apply(plan, &result, err);
	lp_plan_free(plan);
	lp_patchset_free(ps);
	if (id)
		*id = result.id;
	return rc;
}

static int revert(struct fake *f, uint64_t id, struct lp_err *err)
{
	struct lp_result result;
	return lp_revert(&f->target, id ? &id : NULL, id ? 1 : 0, &opts, &result, err);
}

static uint32_t word(const struct fake *f, lp_addr at)
{
	uint32_t v;
	memcpy(&v, f->data + (at - FAKE_DATA), sizeof v);
	return v;
}

static void set_word(struct fake *f, lp_addr at, uint32_t v)
{
	memcpy(f->data + (at - FAKE_DATA), &v, sizeof v);
}

#define A (FAKE_DATA + 0x100)
/* crosses a page: half of it may be written when the writer dies */
#define B (FAKE_DATA + 0x4ffe)
#define SCRIPT "new m 5000\nset 0x10000100 int 17\nset 0x10004ffe addr $m\nset $m:8 str hello\n"

static void the_old_program(const struct fake *f)
{
	assert_int_equal(word(f, A), 1);
	assert_int_equal(word(f, B), 2);
}

static bool is_new(const struct fake *f)
{
	return word(f, A) == 17 && word(f, B) != 2;
}

static struct fake *fresh(void)
{
	struct fake *f = fake_new();
	set_word(f, A, 1);
	set_word(f, B, 2);
	return f;
}

static size_t active(struct fake *f)
{
	struct lp_listing l;
	struct lp_err err = {0};
	assert_int_equal(lp_ledger_list(&f->target, &l, &err), 0);
	assert_false(l.unfinished);
	size_t n = 0;
	for (size_t i = 0; i < l.nr; i++)
		n += l.items[i].state == LP_APPLIED;
	lp_listing_free(&l);
	return n;
}

/* The target is usable: one more patch goes in and out. */
static void still_works(struct fake *f)
{
	struct lp_err err = {0};
	uint64_t id;
	size_t before = active(f);
	assert_int_equal(apply(f, "set 0x10000800 int 99\n", &id, &err), 0);
	assert_int_equal(word(f, FAKE_DATA + 0x800), 99);
	assert_int_equal(active(f), before + 1);
	assert_int_equal(revert(f, id, &err), 0);
	assert_int_equal(word(f, FAKE_DATA + 0x800), 0);
	assert_int_equal(active(f), before);
}

static void recover(struct fake *f)
{
	struct lp_err err = {0};
	struct lp_result result;
	if (lp_recover(&f->target, &opts, &result, &err) < 0)
		fail_msg("%s", err.text);
}

static void a_patch_goes_in_and_out(void **state)
{
	struct fake *f = fresh();
	struct lp_err err = {0};
	uint64_t id;
	assert_int_equal(apply(f, SCRIPT, &id, &err), 0);
	assert_int_equal(id, 1);
	assert_true(is_new(f));
	assert_int_equal(f->rooms.nr, 1);
	assert_int_equal(revert(f, id, &err), 0);
	the_old_program(f);
	assert_int_equal(f->rooms.nr, 1); /* something may still point to it */
	fake_free(f);
}

static void killed_before_any_change_of_an_apply(void **state)
{
	for (uint64_t k = 1;; k++) {
		struct fake *f = fresh();
		struct lp_err err = {0};
		f->die_at = k;
		int rc = apply(f, SCRIPT, NULL, &err);
		bool finished = f->writes < k;
		f->die_at = 0;
		if (finished) {
			assert_int_equal(rc, 0);
			assert_in_range(k, 12, 200); /* the sweep saw a real apply */
			fake_free(f);
			return;
		}
		recover(f);
		if (active(f)) { /* dead after the last store that counts: applied */
			assert_true(is_new(f));
			assert_int_equal(revert(f, 0, &err), 0);
		} else {
			the_old_program(f);
		}
		the_old_program(f);
		still_works(f);
		assert_int_equal(apply(f, SCRIPT, NULL, &err), 0);
		assert_true(is_new(f));
		fake_free(f);
	}
}

static void killed_before_any_change_of_a_revert(void **state)
{
	for (uint64_t k = 1;; k++) {
		struct fake *f = fresh();
		struct lp_err err = {0};
		assert_int_equal(apply(f, SCRIPT, NULL, &err), 0);
		f->die_at = f->writes + k;
		uint64_t limit = f->die_at;
		int rc = revert(f, 0, &err);
		bool finished = f->writes < limit;
		f->die_at = 0;
		if (!finished)
			recover(f);
		if (finished)
			assert_int_equal(rc, 0);
		if (active(f)) {
			assert_true(is_new(f));
			assert_int_equal(revert(f, 0, &err), 0);
		}
		the_old_program(f);
		still_works(f);
		fake_free(f);
		if (finished)
			return;
	}
}

/* The one that recovers may be killed as well. */
static void killed_again_while_recovering(void **state)
{
	for (uint64_t k = 1; k < 60; k++)
		for (uint64_t j = 1; j < 40; j += 3) {
			struct fake *f = fresh();
			struct lp_err err = {0};
			f->die_at = k;
			apply(f, SCRIPT, NULL, &err);
			struct lp_result result;
			f->die_at = f->writes + j;
			lp_recover(&f->target, &opts, &result, &err);
			f->die_at = 0;
			recover(f);
			if (active(f))
				assert_int_equal(revert(f, 0, &err), 0);
			the_old_program(f);
			still_works(f);
			fake_free(f);
		}
}

static void changes_failing_undo_an_apply(uint64_t more, bool shares_fate)
{
	for (uint64_t k = 1;; k++) {
		struct fake *f = fresh();
		struct lp_err err = {0};
		f->target.shares_fate = shares_fate;
		f->fail_at = k;
		f->fail_more = more;
		int rc = apply(f, SCRIPT, NULL, &err);
		bool finished = f->writes < k;
		f->fail_at = 0;
		if (finished) {
			assert_int_equal(rc, 0);
			fake_free(f);
			return;
		}
		if (rc < 0) {
			if (more == 0)
				the_old_program(f);
			assert_true(err.text[0] != 0);
			recover(f);
			the_old_program(f);
			assert_int_equal(active(f), 0);
		} else {
			assert_true(is_new(f)); /* the last change is only housekeeping */
			recover(f);
		}
		still_works(f);
		fake_free(f);
	}
}

static void any_one_change_failing_undoes_an_apply(void **state)
{
	changes_failing_undo_an_apply(0, false);
	changes_failing_undo_an_apply(0, true);
}

static void what_cannot_be_undone_is_left_to_recover(void **state)
{
	changes_failing_undo_an_apply(1, false);
	changes_failing_undo_an_apply(1, true);
}

static uint64_t writes_of(const char *script, bool shares_fate)
{
	struct fake *f = fresh();
	struct lp_err err = {0};
	uint64_t writes;

	f->target.shares_fate = shares_fate;
	assert_int_equal(apply(f, script, NULL, &err), 0);
	assert_int_equal(active(f), 1);
	writes = f->writes;
	fake_free(f);
	return writes;
}

static void who_ends_with_the_target_marks_only_what_may_be_done_by_halves(void **state)
{
	assert_int_equal(writes_of("set 0x10000100 int 17\n", true), writes_of("set 0x10000100 int 17\n", false) - 1);
	assert_int_equal(writes_of(SCRIPT, true), writes_of(SCRIPT, false));
}

static void patches_stack_and_the_lower_one_is_held(void **state)
{
	struct fake *f = fresh();
	struct lp_err err = {0};
	uint64_t one, two;
	assert_int_equal(apply(f, "set 0x10000100 int 17\n", &one, &err), 0);
	assert_int_equal(apply(f, "set 0x10000100 int 18\n", &two, &err), 0);
	assert_int_equal(revert(f, one, &err), -LP_EDEPENDED);
	assert_non_null(strstr(err.text, "patch 2"));
	assert_int_equal(word(f, A), 18);
	assert_int_equal(revert(f, two, &err), 0);
	assert_int_equal(word(f, A), 17);
	assert_int_equal(revert(f, one, &err), 0);
	assert_int_equal(word(f, A), 1);
	fake_free(f);
}

static void a_stack_is_reverted_as_one(void **state)
{
	struct fake *f = fresh();
	struct lp_err err = {0};
	for (int i = 0; i < 20; i++) {
		char script[64];
		snprintf(script, sizeof script, "set 0x10000100 int %d\n", 100 + i);
		assert_int_equal(apply(f, script, NULL, &err), 0);
	}
	assert_int_equal(word(f, A), 119);
	assert_int_equal(revert(f, 0, &err), 0);
	assert_int_equal(word(f, A), 1);
	assert_int_equal(active(f), 0);
	fake_free(f);
}

static void killed_before_any_change_of_a_revert_of_a_stack(void **state)
{
	bool finished = false;
	for (uint64_t k = 1; !finished; k++) {
		struct fake *f = fresh();
		struct lp_err err = {0};
		for (int i = 0; i < 3; i++)
			assert_int_equal(apply(f, SCRIPT, NULL, &err), 0);
		uint64_t limit = f->die_at = f->writes + k;
		revert(f, 0, &err);
		finished = f->writes < limit;
		f->die_at = 0;
		recover(f);
		if (active(f))
			assert_int_equal(revert(f, 0, &err), 0);
		the_old_program(f);
		still_works(f);
		fake_free(f);
	}
}

static void part_of_an_earlier_change_cannot_be_changed(void **state)
{
	struct fake *f = fresh();
	struct lp_err err = {0};
	assert_int_equal(apply(f, "set 0x10000100 int64 17\n", NULL, &err), 0);
	assert_int_equal(apply(f, "set 0x10000104 int 5\n", NULL, &err), -LP_EOVERLAP);
	assert_non_null(strstr(err.text, "patch 1"));
	fake_free(f);
}

static void a_value_that_the_program_changed_is_not_overwritten(void **state)
{
	struct fake *f = fresh();
	struct lp_err err = {0};
	assert_int_equal(apply(f, "set 0x10000100 int 17\n", NULL, &err), 0);
	set_word(f, A, 4711);
	assert_int_equal(revert(f, 0, &err), -LP_ECHANGED);
	assert_int_equal(word(f, A), 4711);
	struct lp_result result;
	struct lp_apply_opts force = {.force = true};
	assert_int_equal(lp_revert(&f->target, NULL, 0, &force, &result, &err), 0);
	assert_int_equal(word(f, A), 1);
	fake_free(f);
}

static void ten_thousand_patches_go_in_and_out_in_any_order(void **state)
{
	enum { N = 10000 };
	struct fake *f = fresh();
	struct lp_err err = {0};
	static uint64_t ids[N];
	for (int i = 0; i < N; i++) {
		char script[64];
		snprintf(script, sizeof script, "set %#x int %d\n", (unsigned)FAKE_DATA + 0x10000 + i * 8, i + 1);
		assert_int_equal(apply(f, script, &ids[i], &err), 0);
	}
	assert_int_equal(active(f), N);
	srand(7);
	for (int i = N - 1; i > 0; i--) {
		int k = rand() % (i + 1);
		uint64_t id = ids[i];
		ids[i] = ids[k];
		ids[k] = id;
	}
	uint64_t before = f->writes;
	for (int i = 0; i < N / 2; i++)
		assert_int_equal(revert(f, ids[i], &err), 0);
	assert_true((f->writes - before) / (N / 2) < 40); /* not one for each of the others */
	assert_int_equal(active(f), N - N / 2);
	assert_int_equal(revert(f, 0, &err), 0);
	for (int i = 0; i < N; i++)
		assert_int_equal(word(f, FAKE_DATA + 0x10000 + (lp_addr)i * 8), 0);
	fake_free(f);
}

static void space_in_the_ledger_is_used_again(void **state)
{
	struct fake *f = fresh();
	struct lp_err err = {0};
	uint64_t end = 0;
	for (int i = 0; i < 3000; i++) {
		uint64_t id;
		assert_int_equal(apply(f, "set 0x10000100 int 17\n", &id, &err), 0);
		assert_int_equal(revert(f, id, &err), 0);
		struct lp_ledger l;
		assert_int_equal(lp_ledger_open(&l, &f->target, &err), 0);
		if (i == 1500)
			end = l.h.end;
		if (i > 1500)
			assert_int_equal(l.h.end, end);
	}
	fake_free(f);
}

/* Whoever can write the target's memory can write a header that says anything, with the right CRC. */
static void a_ledger_is_only_where_its_name_is(void **state)
{
	struct fake *f = fresh();
	struct lp_err err = {0};
	struct lp_ledger l;
	assert_int_equal(apply(f, SCRIPT, NULL, &err), 0);
	assert_int_equal(lp_ledger_open(&l, &f->target, &err), 0);
	l.h.nr_extents = 2;
	l.h.extents[1].addr = FAKE_DATA;
	l.h.extents[1].size = FAKE_DATA_SIZE;
	assert_int_equal(lp_ledger_end(&l, &err), 0);
	assert_int_equal(lp_ledger_open(&l, &f->target, &err), -LP_ELEDGER);
	assert_int_equal(apply(f, SCRIPT, NULL, &err), -LP_ELEDGER);
	fake_free(f);
}

static void a_short_entry_cannot_ask_for_a_huge_index(void **state)
{
	enum { N = 1000 };
	struct fake *f = fresh();
	struct lp_err err = {0};
	struct lp_ledger l;
	uint64_t off;
	assert_int_equal(apply(f, SCRIPT, NULL, &err), 0);
	assert_int_equal(lp_ledger_open(&l, &f->target, &err), 0);
	static struct lp_entry_room rooms[N];
	for (size_t i = 0; i < N; i++)
		rooms[i] = (struct lp_entry_room){.range = {0, UINT64_C(1) << 37}, .kind = LP_ROOM_MEMORY};
	struct lp_ledger_entry e = {.id = 9, .state = LP_APPLIED, .rooms = rooms, .nr_rooms = N}, is;
	assert_int_equal(lp_ledger_add(&l, &e, &off, &err), 0);
	assert_int_equal(lp_ledger_read(&l, off, &is, &err), -LP_ELEDGER);
	assert_int_equal(lp_ledger_rebuild(&l, &err), -LP_ELEDGER);
	fake_free(f);
}

static void many_short_entries_cannot_either(void **state)
{
	struct fake *f = fresh();
	struct lp_err err = {0};
	struct lp_ledger l;
	uint64_t off;
	assert_int_equal(apply(f, SCRIPT, NULL, &err), 0);
	assert_int_equal(lp_ledger_open(&l, &f->target, &err), 0);
	struct lp_entry_room room = {.range = {0, UINT64_C(1) << 37}, .kind = LP_ROOM_MEMORY};
	for (uint64_t id = 9; id < 109; id++) {
		struct lp_ledger_entry e = {.id = id, .state = LP_APPLIED, .rooms = &room, .nr_rooms = 1};
		assert_int_equal(lp_ledger_add(&l, &e, &off, &err), 0);
	}
	assert_int_equal(lp_ledger_rebuild(&l, &err), -LP_ELEDGERFULL);
	fake_free(f);
}

/* Ten thousand writes that share one megabyte of name would be ten gigabytes of listing. */
static void a_name_without_an_end_in_sight_is_damage(void **state)
{
	struct fake *f = fresh();
	struct lp_err err = {0};
	struct lp_ledger l;
	struct lp_ledger_entry e;
	assert_int_equal(apply(f, SCRIPT, NULL, &err), 0);
	assert_int_equal(lp_ledger_open(&l, &f->target, &err), 0);
	assert_int_equal(lp_ledger_read_id(&l, 1, &e, &err), 0);
	size_t len = e.size + 5000;
	uint64_t off = e.off;
	uint8_t *blob = lp_alloc(len);
	memcpy(blob, e.blob, e.size);
	memset(blob + e.size, 'x', 4999);
	lp_ledger_entry_free(&e);
	uint32_t body_len = (uint32_t)(len - 40), name = (uint32_t)(len - 4096);
	memcpy(blob + 28, &body_len, sizeof body_len);
	for (int longer = 0; longer < 2; longer++, name -= 1) {
		memcpy(blob + 40 + 32, &name, sizeof name); /* struct body, name */
		uint32_t crc = lp_crc32c(0, blob + 40, body_len);
		memcpy(blob + 24, &crc, sizeof crc);
		int rc = lp_ledger_decode(blob, len, off, &e, &err);
		assert_int_equal(rc, longer ? -LP_ELEDGER : 0);
		if (rc == 0) {
			e.blob = NULL; /* it is wanted once more */
			lp_ledger_entry_free(&e);
		}
	}
	lp_free(blob);
	fake_free(f);
}

static void a_patch_s_name_may_be_as_long_as_anybody_likes(void **state)
{
	struct fake *f = fresh();
	struct lp_err err = {0};
	struct lp_patchset *ps;
	struct lp_plan *plan;
	struct lp_result result;
	struct lp_listing l;
	char name[20000];
	memset(name, 'x', sizeof name);
	name[sizeof name - 1] = 0;
	assert_int_equal(lp_patch_parse_script(&ps, SCRIPT, strlen(SCRIPT), name, &err), 0);
	assert_int_equal(lp_plan_make(&plan, &f->target, ps, &opts, &err), 0);
	assert_int_equal(lp_plan_apply(plan, &result, &err), 0);
	lp_plan_free(plan);
	lp_patchset_free(ps);
	assert_int_equal(lp_ledger_list(&f->target, &l, &err), 0);
	assert_int_equal(strlen(l.items[0].name), 4095);
	lp_listing_free(&l);
	assert_int_equal(revert(f, result.id, &err), 0);
	fake_free(f);
}

static void a_number_is_looked_up_as_the_list_shows_it(void **state)
{
	struct fake *f = fresh();
	struct lp_err err = {0};
	uint64_t first, second;
	assert_false(lp_ledger_lists(&f->target, 1));
	assert_int_equal(apply(f, "set 0x10000100 int 17\n", &first, &err), 0);
	assert_int_equal(apply(f, "set 0x10000100 int 18\n", &second, &err), 0);
	assert_true(lp_ledger_lists(&f->target, first));
	assert_true(lp_ledger_lists(&f->target, second));
	assert_false(lp_ledger_lists(&f->target, second + 1));
	assert_int_equal(revert(f, second, &err), 0);
	assert_false(lp_ledger_lists(&f->target, second));
	fake_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_patch_goes_in_and_out),
		cmocka_unit_test(killed_before_any_change_of_an_apply),
		cmocka_unit_test(killed_before_any_change_of_a_revert),
		cmocka_unit_test(killed_again_while_recovering),
		cmocka_unit_test(any_one_change_failing_undoes_an_apply),
		cmocka_unit_test(what_cannot_be_undone_is_left_to_recover),
		cmocka_unit_test(who_ends_with_the_target_marks_only_what_may_be_done_by_halves),
		cmocka_unit_test(patches_stack_and_the_lower_one_is_held),
		cmocka_unit_test(a_number_is_looked_up_as_the_list_shows_it),
		cmocka_unit_test(a_stack_is_reverted_as_one),
		cmocka_unit_test(killed_before_any_change_of_a_revert_of_a_stack),
		cmocka_unit_test(part_of_an_earlier_change_cannot_be_changed),
		cmocka_unit_test(a_value_that_the_program_changed_is_not_overwritten),
		cmocka_unit_test(ten_thousand_patches_go_in_and_out_in_any_order),
		cmocka_unit_test(space_in_the_ledger_is_used_again),
		cmocka_unit_test(a_ledger_is_only_where_its_name_is),
		cmocka_unit_test(a_short_entry_cannot_ask_for_a_huge_index),
		cmocka_unit_test(many_short_entries_cannot_either),
		cmocka_unit_test(a_name_without_an_end_in_sight_is_damage),
		cmocka_unit_test(a_patch_s_name_may_be_as_long_as_anybody_likes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
