/*
 * Where suspended coroutines keep their stack pointers, and what only looks
 * like it.
 */
#include "core/quiesce.h"
#include "fake.h"

#include "base/bits.h"

#define TEXT UINT64_C(0x401000)
#define BEHIND_CALL (TEXT + 0x105) /* return addresses that the text has a call before */
#define BEHIND_OTHER (TEXT + 0x205)
#define NO_CALL (TEXT + 0x300)

#define HEAP UINT64_C(0x600000)
#define HEAP_PAGES 64
#define STACK UINT64_C(0x7f0000000000) /* a mapping of its own, with a guard below */
#define STACK_PAGES 16

static struct {
	uint8_t text[LP_PAGE], heap[HEAP_PAGES * LP_PAGE], stack[STACK_PAGES * LP_PAGE];
} memory;

static const struct place {
	struct lp_range range;
	unsigned prot;
	bool is_stack;
	uint8_t *bytes;
} places[] = {
	{{TEXT, TEXT + LP_PAGE}, LP_PROT_READ | LP_PROT_EXEC, false, memory.text},
	{{HEAP, HEAP + sizeof memory.heap}, LP_PROT_READ | LP_PROT_WRITE, false, memory.heap},
	{{STACK, STACK + sizeof memory.stack}, LP_PROT_READ | LP_PROT_WRITE, true, memory.stack},
};

static struct lp_thread thread;
static struct lp_frame frames[8];
static size_t nr_frames;
static bool breaks_off, tableless;
static lp_addr missed;
static bool heap_is_gone;
static struct lp_jmpbuf disguise;

static uint8_t *host(lp_addr at, size_t len)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(places); i++)
		if (lp_range_has(places[i].range, at) && len <= places[i].range.end - at &&
		    !(heap_is_gone && places[i].bytes == memory.heap))
			return places[i].bytes + (at - places[i].range.start);
	return NULL;
}

static void put(lp_addr at, uint64_t v)
{
	lp_put64(host(at, 8), v);
}

static int model_read(struct lp_target *t, lp_addr at, void *data, size_t len, struct lp_err *err)
{
	const uint8_t *p = host(at, len);
	if (!p)
		return -LP_EUNMAPPED;
	memcpy(data, p, len);
	return 0;
}

static int model_read_many(struct lp_target *t, const struct lp_range *r, void *const *data, size_t nr,
			   struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < nr && rc == 0; i++)
		rc = model_read(t, r[i].start, data[i], (size_t)(r[i].end - r[i].start), err);
	return rc;
}

static int model_next_area(struct lp_target *t, lp_addr from, struct lp_area *out, struct lp_err *err)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(places); i++)
		if (places[i].range.end > from) {
			*out = (struct lp_area){.range = places[i].range, .prot = places[i].prot, .is_private = true};
			return 0;
		}
	return -LP_EUNMAPPED;
}

static int model_own_memory(struct lp_target *t, void (*found)(void *, const struct lp_own_memory *), void *arg,
			    struct lp_err *err)
{
	for (size_t i = 1; i < LP_ARRAY_SIZE(places); i++)
		found(arg, &(struct lp_own_memory){.area = {.range = places[i].range, .prot = places[i].prot},
						   .is_stack = places[i].is_stack,
						   .runs = &places[i].range,
						   .nr_runs = 1});
	return 0;
}

static int model_unwind(struct lp_target *t, struct lp_suspended *s, struct lp_frame *out, size_t max, size_t *nr,
			struct lp_err *err)
{
	out[0] = (struct lp_frame){s->pc, s->sp};
	memcpy(out + 1, frames, nr_frames * sizeof *frames);
	*nr = nr_frames + 1;
	s->missed = missed;
	return tableless ? -ENOENT : breaks_off ? -LP_EBUSY : (int)*nr;
}

static bool model_jmpbuf(struct lp_target *t, struct lp_jmpbuf *out)
{
	*out = disguise;
	return disguise.key != 0;
}

static struct lp_target_ops ops;

static void put_call(lp_addr returns_to)
{
	*host(returns_to - 5, 1) = 0xe8; /* call rel32 */
}

static struct fake *model(struct lp_parked *k)
{
	struct fake *f = fake_new();
	memset(&memory, 0, sizeof memory);
	memset(memory.text, 0x90, sizeof memory.text);
	put_call(BEHIND_CALL);
	put_call(BEHIND_OTHER);
	ops = *f->target.ops;
	ops.read = model_read;
	ops.read_many = model_read_many;
	ops.next_area = model_next_area;
	ops.own_memory = model_own_memory;
	ops.unwind_suspended = model_unwind;
	ops.jmpbuf = model_jmpbuf;
	f->target.ops = &ops;
	thread = (struct lp_thread){.tid = 42, .sp = 0x1000, .stack = {0x1000, 0x2000}, .stack_is_whole = true};
	f->threads = &thread;
	f->nr_threads = 1;
	nr_frames = 0;
	missed = 0;
	breaks_off = tableless = heap_is_gone = false;
	disguise = (struct lp_jmpbuf){0};
	*k = (struct lp_parked){.t = &f->target};
	return f;
}

static void end(struct fake *f, struct lp_parked *k)
{
	lp_parked_free(k);
	fake_free(f);
}

static const struct lp_context *context_at(const struct lp_parked *k, lp_addr at)
{
	for (size_t i = 0; i < k->contexts.nr; i++)
		if (k->contexts.items[i].at == at)
			return &k->contexts.items[i];
	return NULL;
}

static bool lives(const struct lp_parked *k, lp_addr at)
{
	const struct lp_context *c = context_at(k, at);
	return c && c->live && c->bytes;
}

#define SP (STACK + 8 * LP_PAGE + 0x100)
#define RESUME (SP + 6 * 8) /* behind the registers that the switch function pushed */
#define SLOT (SP + 0x180)

/* A stack suspended by a switch function; its pointer kept at `kept`. */
static void suspend(lp_addr kept)
{
	put(kept, SP);
	put(RESUME, BEHIND_OTHER);
	put(SLOT, BEHIND_CALL);
}

static void a_stack_pointer_kept_in_the_heap_is_a_context(void **state)
{
	struct lp_parked k;
	struct fake *f = model(&k);
	suspend(HEAP + 0x40);
	lp_parked_search(&k);
	lp_parked_look(&k);
	assert_int_equal(k.contexts.nr, 1);
	assert_true(lives(&k, HEAP + 0x40));
	assert_int_equal(k.contexts.items[0].sp, SP);
	assert_int_equal(lp_get64(k.contexts.items[0].bytes + (SLOT - SP)), BEHIND_CALL);
	end(f, &k);
}

static void a_word_that_no_call_stands_before_is_no_return_address(void **state)
{
	struct lp_parked k;
	struct fake *f = model(&k);
	put(HEAP + 0x40, SP);
	put(RESUME, NO_CALL);
	lp_parked_search(&k);
	assert_int_equal(k.contexts.nr, 0);
	end(f, &k);
}

static void a_pointer_to_a_stack_with_no_way_to_resume_is_none(void **state)
{
	struct lp_parked k;
	struct fake *f = model(&k);
	put(HEAP + 0x40, SP);
	put(SP + 0x400, BEHIND_CALL);
	lp_parked_search(&k);
	assert_int_equal(k.contexts.nr, 0);
	end(f, &k);
}

static void saved_registers_on_the_same_stack_prove_nothing(void **state)
{
	struct lp_parked k;
	struct fake *f = model(&k);
	suspend(SP - 0x40);
	put(SP - 0x38, BEHIND_CALL);
	lp_parked_search(&k);
	lp_parked_look(&k);
	assert_false(lives(&k, SP - 0x40));
	end(f, &k);
}

static void a_pointer_at_the_base_of_its_own_stack_counts(void **state)
{
	struct lp_parked k;
	struct fake *f = model(&k);
	suspend(STACK);
	lp_parked_search(&k);
	lp_parked_look(&k);
	assert_true(lives(&k, STACK));
	end(f, &k);
}

static void a_context_on_a_dead_stack_counts_when_that_stack_comes_alive(void **state)
{
	struct lp_parked k;
	struct fake *f = model(&k);
	lp_addr dead = HEAP + 4 * LP_PAGE;
	suspend(dead + 0x80);
	put(dead + 0x60, BEHIND_CALL);
	put(dead + 0xa0, BEHIND_OTHER);
	lp_parked_search(&k);
	lp_parked_look(&k);
	assert_non_null(context_at(&k, dead + 0x80));
	assert_false(lives(&k, dead + 0x80));

	thread.sp = dead;
	thread.stack = (struct lp_range){dead, dead + LP_PAGE};
	thread.stack_is_whole = false;
	lp_parked_look(&k);
	assert_true(lives(&k, dead + 0x80));
	end(f, &k);
}

static void a_stack_that_a_thread_is_at_home_on_is_the_threads_matter(void **state)
{
	struct lp_parked k;
	struct fake *f = model(&k);
	suspend(HEAP + 0x40);
	lp_parked_search(&k);
	thread.sp = SP + 0x1000;
	thread.stack = (struct lp_range){SP + 0x1000, STACK + sizeof memory.stack};
	lp_parked_look(&k);
	assert_false(lives(&k, HEAP + 0x40)); /* below its stack pointer: dead */
	thread.sp = SP - 0x1000;
	thread.stack.start = SP - 0x1000;
	lp_parked_look(&k);
	assert_false(lives(&k, HEAP + 0x40)); /* above it: looked at already */
	thread.stack_is_whole = false;
	lp_parked_look(&k);
	assert_true(lives(&k, HEAP + 0x40));
	end(f, &k);
}

static void the_look_sees_where_a_context_points_by_then(void **state)
{
	struct lp_parked k;
	struct fake *f = model(&k);
	suspend(HEAP + 0x40);
	lp_parked_search(&k);
	put(HEAP + 0x40, SP - 0x40);
	put(SP - 0x10, BEHIND_CALL);
	lp_parked_look(&k);
	assert_true(lives(&k, HEAP + 0x40));
	assert_int_equal(k.contexts.items[0].sp, SP - 0x40);
	put(HEAP + 0x40, 0);
	lp_parked_look(&k);
	assert_false(lives(&k, HEAP + 0x40));
	end(f, &k);
}

static void memory_that_is_gone_by_the_look_is_passed_over(void **state)
{
	struct lp_parked k;
	struct fake *f = model(&k);
	suspend(HEAP + 0x40);
	put(STACK, SP);
	lp_parked_search(&k);
	assert_int_equal(k.contexts.nr, 2);
	heap_is_gone = true;
	lp_parked_look(&k);
	assert_false(lives(&k, HEAP + 0x40));
	assert_true(lives(&k, STACK));
	end(f, &k);
}

static uint64_t disguised(uint64_t v)
{
	v ^= disguise.key;
	return v << disguise.rotate | v >> (64 - disguise.rotate);
}

static void a_disguised_jmp_buf_is_recognised(void **state)
{
	struct lp_parked k;
	struct fake *f = model(&k);
	disguise = (struct lp_jmpbuf){.key = UINT64_C(0x123456789abcdef1), .rotate = 17, .pc_at = 1};
	put(SLOT, BEHIND_CALL);
	put(HEAP + 0x40, disguised(SP));
	put(HEAP + 0x48, disguised(BEHIND_OTHER));
	lp_parked_search(&k);
	lp_parked_look(&k);
	assert_true(lives(&k, HEAP + 0x40));
	assert_int_equal(k.contexts.items[0].sp, SP);
	assert_int_equal(k.contexts.items[0].pc, BEHIND_OTHER);
	end(f, &k);
}

static enum lp_verdict judge(struct lp_parked *k)
{
	struct lp_frame walk[16];
	size_t nr;
	lp_parked_search(k);
	lp_parked_look(k);
	assert_true(lives(k, HEAP + 0x40));
	return lp_parked_judge(k, context_at(k, HEAP + 0x40), SLOT, walk, LP_ARRAY_SIZE(walk), &nr);
}

static void a_frame_that_returns_through_the_word_is_guilty(void **state)
{
	struct lp_parked k;
	struct fake *f = model(&k);
	suspend(HEAP + 0x40);
	frames[0] = (struct lp_frame){BEHIND_OTHER, RESUME + 0x20};
	frames[1] = (struct lp_frame){BEHIND_CALL, SLOT + 8};
	nr_frames = 2;
	assert_int_equal(judge(&k), LP_GUILTY);
	end(f, &k);
}

static void a_word_that_the_walk_steps_over_is_stale(void **state)
{
	struct lp_parked k;
	struct fake *f = model(&k);
	suspend(HEAP + 0x40);
	frames[0] = (struct lp_frame){BEHIND_OTHER, SLOT + 0x40};
	nr_frames = 1;
	assert_int_equal(judge(&k), LP_IDLE);
	end(f, &k);
}

static void a_word_above_the_end_of_the_walk_is_another_stacks(void **state)
{
	struct lp_parked k;
	struct fake *f = model(&k);
	suspend(HEAP + 0x40);
	frames[0] = (struct lp_frame){BEHIND_OTHER, RESUME + 0x20};
	nr_frames = 1;
	assert_int_equal(judge(&k), LP_IDLE);
	breaks_off = true; /* not an end: it may well be of this one */
	lp_parked_free(&k);
	k = (struct lp_parked){.t = &f->target};
	assert_int_equal(judge(&k), LP_UNSETTLED);
	end(f, &k);
}

static void code_without_unwind_tables_leaves_it_unsettled(void **state)
{
	struct lp_parked k;
	struct fake *f = model(&k);
	suspend(HEAP + 0x40);
	tableless = true;
	assert_int_equal(judge(&k), LP_UNSETTLED);
	end(f, &k);
}

static void frames_that_were_copied_away_by_nobody_known_are_remains(void **state)
{
	struct lp_parked k;
	struct fake *f = model(&k);
	suspend(HEAP + 0x40);
	frames[0] = (struct lp_frame){BEHIND_OTHER, RESUME + 0x20};
	nr_frames = 1;
	breaks_off = true;
	missed = HEAP + 0x800; /* where they ran; this is not it */
	assert_int_equal(judge(&k), LP_IDLE);
	missed = STACK + 0x800;
	lp_parked_free(&k);
	k = (struct lp_parked){.t = &f->target};
	assert_int_equal(judge(&k), LP_UNSETTLED);
	end(f, &k);
}

static void a_walk_that_leads_out_of_the_code_at_once_began_at_the_wrong_place(void **state)
{
	struct lp_parked k;
	struct fake *f = model(&k);
	suspend(HEAP + 0x40);
	frames[0] = (struct lp_frame){0x12345, RESUME + 0x20};
	nr_frames = 1;
	assert_int_equal(judge(&k), LP_IDLE);
	end(f, &k);
}

/* rbx and its like are kept beside the stack pointer, and may hold the address of a local. */
static void a_register_kept_beside_the_stack_pointer_is_no_other_context(void **state)
{
	struct lp_parked k;
	struct fake *f = model(&k);
	struct lp_frame walk[16];
	size_t nr;
	suspend(HEAP + 0x40);
	put(HEAP + 0x30, SP + 0x40);
	frames[0] = (struct lp_frame){BEHIND_OTHER, SLOT + 0x40};
	nr_frames = 1;
	assert_int_equal(judge(&k), LP_IDLE);
	assert_true(lives(&k, HEAP + 0x30));
	frames[0].sp = SLOT + 8;
	frames[0].pc = BEHIND_CALL;
	assert_int_equal(lp_parked_judge(&k, context_at(&k, HEAP + 0x30), SLOT, walk, LP_ARRAY_SIZE(walk), &nr),
			 LP_IDLE);
	assert_int_equal(lp_parked_judge(&k, context_at(&k, HEAP + 0x40), SLOT, walk, LP_ARRAY_SIZE(walk), &nr),
			 LP_GUILTY);
	end(f, &k);
}

static void a_walk_that_meets_a_thread_is_that_threads_past(void **state)
{
	struct lp_parked k;
	struct fake *f = model(&k);
	suspend(HEAP + 0x40);
	thread.stack_is_whole = false;
	thread.sp = RESUME + 0x10;
	frames[0] = (struct lp_frame){BEHIND_OTHER, RESUME + 0x20};
	frames[1] = (struct lp_frame){BEHIND_CALL, SLOT + 8};
	nr_frames = 2;
	assert_int_equal(judge(&k), LP_IDLE);
	end(f, &k);
}

/* ---- as the quiesce uses it ---- */

static void suspend_harmlessly(void)
{
	put(HEAP + 0x40, SP);
	put(RESUME, BEHIND_OTHER);
}

static void suspend_in_the_function(void)
{
	suspend(HEAP + 0x400);
	frames[0] = (struct lp_frame){BEHIND_OTHER, RESUME + 0x20};
	frames[1] = (struct lp_frame){BEHIND_CALL, SLOT + 8};
	nr_frames = 2;
}

static int do_nothing(void *arg, struct lp_err *err)
{
	return 0;
}

static int suspend_meanwhile(void *arg, struct lp_err *err)
{
	suspend_in_the_function();
	return 0;
}

static int quiesce_searching(struct fake *f, uint64_t most, int (*act)(void *, struct lp_err *),
			     struct lp_quiesce_stats *stats, struct lp_err *err)
{
	struct lp_quiesce q = {.t = &f->target, .search_most = most};
	lp_quiesce_watch(&q, (struct lp_range){BEHIND_CALL - 0x20, BEHIND_CALL + 0x20}, LP_WATCH_BODY, "func_J");
	int rc = lp_quiesce_run(&q, act, NULL, stats, err);
	lp_quiesce_free(&q);
	return rc;
}

static int quiesce(struct fake *f, int (*act)(void *, struct lp_err *), struct lp_quiesce_stats *stats,
		   struct lp_err *err)
{
	return quiesce_searching(f, 0, act, stats, err);
}

static void a_suspended_coroutine_is_in_the_way(void **state)
{
	struct lp_parked k;
	struct lp_quiesce_stats stats;
	struct lp_err err = {0};
	struct fake *f = model(&k);
	suspend_harmlessly();
	assert_int_equal(quiesce(f, do_nothing, &stats, &err), 0);
	assert_false(stats.late);
	suspend_in_the_function();
	assert_int_equal(quiesce(f, do_nothing, &stats, &err), -LP_EBUSY);
	assert_non_null(strstr(err.text, "a suspended coroutine will return into func_J"));
	assert_string_equal(err.function, "func_J");
	end(f, &k);
}

static void a_coroutine_that_was_first_suspended_after_the_search_is_told_of(void **state)
{
	struct lp_parked k;
	struct lp_quiesce_stats stats;
	struct lp_err err = {0};
	struct fake *f = model(&k);
	suspend_harmlessly();
	assert_int_equal(quiesce(f, suspend_meanwhile, &stats, &err), 0);
	assert_true(stats.late);
	end(f, &k);
}

/* The heap comes first; the coroutine's stack is what is left out. */
static void no_more_memory_is_searched_than_was_asked_for(void **state)
{
	struct lp_parked k;
	struct lp_quiesce_stats stats;
	struct lp_err err = {0};
	struct fake *f = model(&k);
	suspend_in_the_function();
	uint64_t all = sizeof memory.heap + sizeof memory.stack;
	assert_int_equal(quiesce_searching(f, all, do_nothing, &stats, &err), -LP_EBUSY);
	assert_int_equal(quiesce_searching(f, all - 1, do_nothing, &stats, &err), 0);
	assert_int_equal(quiesce_searching(f, LP_SEARCH_NONE, do_nothing, &stats, &err), 0);
	end(f, &k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_suspended_coroutine_is_in_the_way),
		cmocka_unit_test(a_coroutine_that_was_first_suspended_after_the_search_is_told_of),
		cmocka_unit_test(no_more_memory_is_searched_than_was_asked_for),
		cmocka_unit_test(a_stack_pointer_kept_in_the_heap_is_a_context),
		cmocka_unit_test(a_word_that_no_call_stands_before_is_no_return_address),
		cmocka_unit_test(a_pointer_to_a_stack_with_no_way_to_resume_is_none),
		cmocka_unit_test(saved_registers_on_the_same_stack_prove_nothing),
		cmocka_unit_test(a_pointer_at_the_base_of_its_own_stack_counts),
		cmocka_unit_test(a_context_on_a_dead_stack_counts_when_that_stack_comes_alive),
		cmocka_unit_test(a_stack_that_a_thread_is_at_home_on_is_the_threads_matter),
		cmocka_unit_test(the_look_sees_where_a_context_points_by_then),
		cmocka_unit_test(memory_that_is_gone_by_the_look_is_passed_over),
		cmocka_unit_test(a_disguised_jmp_buf_is_recognised),
		cmocka_unit_test(a_frame_that_returns_through_the_word_is_guilty),
		cmocka_unit_test(a_word_that_the_walk_steps_over_is_stale),
		cmocka_unit_test(a_word_above_the_end_of_the_walk_is_another_stacks),
		cmocka_unit_test(code_without_unwind_tables_leaves_it_unsettled),
		cmocka_unit_test(frames_that_were_copied_away_by_nobody_known_are_remains),
		cmocka_unit_test(a_walk_that_leads_out_of_the_code_at_once_began_at_the_wrong_place),
		cmocka_unit_test(a_register_kept_beside_the_stack_pointer_is_no_other_context),
		cmocka_unit_test(a_walk_that_meets_a_thread_is_that_threads_past),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
