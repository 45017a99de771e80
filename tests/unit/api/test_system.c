/* livepatch.h over memory of the caller's: every kind of patch, every refusal. */
#include <ctype.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "isa/isa.h"
#include "livepatch.h"

#define BASE 0x400000
#define WORDS 65536
#define NOP 0xd503201fu
#define RET 0xd65f03c0u
#define MOV_X0_1 0xd2800020u

static uint32_t memory[WORDS];
static LivePatchSystem *sys;

static uint32_t word(uint64_t addr)
{
	return memory[(addr - BASE) / 4];
}

static void set_word(uint64_t addr, uint32_t value)
{
	memory[(addr - BASE) / 4] = value;
}

static int setup(void **state)
{
	memset(memory, 0, sizeof memory);
	for (uint64_t a = BASE; a < BASE + 0x4000; a += 4)
		set_word(a, MOV_X0_1);
	sys = livepatch_init(memory, sizeof memory, BASE);
	return sys ? 0 : -1;
}

static int teardown(void **state)
{
	livepatch_cleanup(sys);
	return 0;
}

static void assert_refused(int rc, const char *name)
{
	assert_int_equal(rc, -1);
	assert_string_equal(livepatch_last_error()->name, name);
	assert_true(livepatch_last_error()->code < 0);
	assert_true(livepatch_last_error()->text[0]);
}

static livepatch_counts counts(void)
{
	livepatch_counts c;

	assert_int_equal(livepatch_get_counts(sys, &c), 0);
	return c;
}

/* ---- one word ---- */

static void a_word_is_replaced_and_comes_back(void **state)
{
	assert_int_equal(livepatch_apply(sys, BASE + 0x1000, NOP, "NOP patch"), 0);
	assert_int_equal(word(BASE + 0x1000), NOP);
	assert_int_equal(livepatch_revert(sys, BASE + 0x1000), 0);
	assert_int_equal(word(BASE + 0x1000), MOV_X0_1);
}

static void a_word_outside_of_the_memory_is_refused(void **state)
{
	assert_refused(livepatch_apply(sys, 0x4001000, NOP, "NOP patch"), "out-of-range");
	assert_int_equal(livepatch_last_error()->addr, 0x4001000);
	assert_refused(livepatch_apply(sys, BASE - 4, NOP, NULL), "out-of-range");
	assert_refused(livepatch_apply(sys, BASE + sizeof memory, NOP, NULL), "out-of-range");
	assert_int_equal(livepatch_apply(sys, BASE + sizeof memory - 4, NOP, NULL), 0);
}

static void a_misaligned_word_is_refused(void **state)
{
	for (int i = 1; i < 4; i++)
		assert_refused(livepatch_apply(sys, BASE + 0x100 + i, NOP, NULL), "misaligned");
}

static void the_same_word_twice_is_refused(void **state)
{
	assert_int_equal(livepatch_apply(sys, BASE, NOP, "first"), 0);
	assert_refused(livepatch_apply(sys, BASE, RET, "second"), "overlap");
	assert_int_equal(word(BASE), NOP);
}

static void a_revert_without_patch_is_refused(void **state)
{
	assert_refused(livepatch_revert(sys, BASE), "no-such-patch");
}

static void a_revert_over_what_somebody_else_wrote_is_refused(void **state)
{
	livepatch_apply(sys, BASE, NOP, NULL);
	set_word(BASE, RET);
	assert_refused(livepatch_revert(sys, BASE), "memory-changed");
	assert_int_equal(word(BASE), RET);
	assert_int_equal(counts().active, 1);
}

static void what_somebody_else_wrote_over_is_forgotten_without_a_write(void **state)
{
	static const uint32_t two[] = {NOP, NOP};
	livepatch_apply(sys, BASE, NOP, NULL);
	livepatch_apply_code(sys, BASE + 8, two, sizeof two, NULL, NULL);
	assert_refused(livepatch_forget(sys, BASE), "usage"); /* it stands */
	assert_refused(livepatch_forget(sys, BASE + 4), "no-such-patch");
	assert_refused(livepatch_forget(sys, BASE + 12), "no-such-patch"); /* the middle of one */
	set_word(BASE, RET);
	set_word(BASE + 12, RET);
	assert_int_equal(livepatch_forget(sys, BASE), 0);
	assert_int_equal(livepatch_forget(sys, BASE + 8), 0);
	assert_int_equal(word(BASE), RET);
	assert_int_equal(word(BASE + 8), NOP);
	assert_int_equal(word(BASE + 12), RET);
	assert_int_equal(counts().active, 0);
	assert_int_equal(livepatch_apply(sys, BASE, NOP, NULL), 0);
	assert_int_equal(livepatch_revert(sys, BASE), 0);
	assert_int_equal(word(BASE), RET); /* that is what it found */
	assert_refused(livepatch_forget(NULL, BASE), "usage");
}

static void memory_of_a_forgotten_patch_is_not_used_again(void **state)
{
	uint64_t one, two;
	static const uint32_t code[] = {MOV_X0_1, RET};
	assert_int_equal(livepatch_insert(sys, BASE, code, sizeof code, NULL), 0);
	uint64_t room = BASE + 4 * (int64_t)((int32_t)(word(BASE) << 6) >> 6);
	set_word(BASE, RET);
	assert_int_equal(livepatch_forget(sys, BASE), 0);
	assert_int_equal(word(room), MOV_X0_1);
	assert_int_equal(livepatch_new_func(sys, NULL, code, sizeof code, &one, NULL), 0);
	assert_int_equal(livepatch_new_func(sys, NULL, code, sizeof code, &two, NULL), 0);
	assert_true(one != room && two != room);
}

static void all_zeroes_and_all_ones_may_be_written_when_the_flag_says_so(void **state)
{
	livepatch_set_flags(sys, LIVEPATCH_ALLOW_UNALLOCATED);
	assert_int_equal(livepatch_get_flags(sys), LIVEPATCH_ALLOW_UNALLOCATED);
	assert_int_equal(livepatch_apply(sys, BASE, 0, "zeroes"), 0);
	assert_int_equal(livepatch_apply(sys, BASE + 4, UINT32_MAX, "ones"), 0);
	assert_int_equal(word(BASE), 0);
	assert_int_equal(word(BASE + 4), UINT32_MAX);
}

static void nothing_is_applied_while_disabled_but_reverted(void **state)
{
	livepatch_apply(sys, BASE, NOP, NULL);
	livepatch_set_enabled(sys, 0);
	assert_refused(livepatch_apply(sys, BASE + 4, NOP, NULL), "disabled");
	assert_refused(livepatch_create_nop(sys, BASE + 4, NULL), "disabled");
	assert_int_equal(livepatch_revert(sys, BASE), 0);
	livepatch_set_enabled(sys, 1);
	assert_int_equal(livepatch_apply(sys, BASE + 4, NOP, NULL), 0);
}

static void an_error_is_gone_after_the_next_call(void **state)
{
	assert_refused(livepatch_revert(sys, BASE), "no-such-patch");
	assert_int_equal(livepatch_apply(sys, BASE, NOP, NULL), 0);
	assert_int_equal(livepatch_last_error()->code, 0);
	assert_string_equal(livepatch_last_error()->text, "");
	assert_null(livepatch_last_error()->file);
}

static void a_missing_system_is_an_error_and_no_crash(void **state)
{
	livepatch_counts c;

	assert_refused(livepatch_apply(NULL, BASE, NOP, NULL), "usage");
	assert_refused(livepatch_revert(NULL, BASE), "usage");
	assert_refused(livepatch_revert_all(NULL), "usage");
	assert_refused(livepatch_begin(NULL), "usage");
	assert_refused(livepatch_get_counts(NULL, &c), "usage");
	livepatch_list(NULL);
	livepatch_stats(NULL);
	livepatch_demo(NULL);
	livepatch_set_enabled(NULL, 1);
	livepatch_cleanup(NULL);
}

/* ---- several words ---- */

static void several_words_are_one_patch(void **state)
{
	const uint32_t code[] = {NOP, RET, NOP};

	assert_int_equal(livepatch_apply_code(sys, BASE + 8, code, sizeof code, NULL, "three"), 0);
	assert_memory_equal(&memory[2], code, sizeof code);
	assert_int_equal(counts().active, 1);
	assert_refused(livepatch_apply(sys, BASE + 12, NOP, NULL), "overlap");
	assert_refused(livepatch_revert(sys, BASE + 12), "no-such-patch");
	assert_int_equal(livepatch_revert(sys, BASE + 8), 0);
	assert_int_equal(word(BASE + 8), MOV_X0_1);
	assert_int_equal(word(BASE + 16), MOV_X0_1);
}

static void what_is_expected_must_be_there(void **state)
{
	const uint32_t code[] = {NOP, RET}, wrong[] = {MOV_X0_1, NOP}, right[] = {MOV_X0_1, MOV_X0_1};

	assert_refused(livepatch_apply_code(sys, BASE, code, sizeof code, wrong, NULL), "memory-changed");
	assert_int_equal(word(BASE), MOV_X0_1);
	assert_int_equal(livepatch_apply_code(sys, BASE, code, sizeof code, right, NULL), 0);
}

static void code_that_leaves_the_memory_or_is_no_code_is_refused(void **state)
{
	const uint32_t code[] = {NOP, RET};

	assert_refused(livepatch_apply_code(sys, BASE + sizeof memory - 4, code, 8, NULL, NULL), "out-of-range");
	assert_refused(livepatch_apply_code(sys, BASE, code, 6, NULL, NULL), "misaligned");
	assert_refused(livepatch_apply_code(sys, BASE, code, 0, NULL, NULL), "usage");
	assert_refused(livepatch_apply_code(sys, BASE, NULL, 8, NULL, NULL), "usage");
	assert_int_equal(counts().active, 0);
}

static void a_patch_over_many_pages_is_found_everywhere(void **state)
{
	static uint32_t code[8192];

	for (size_t i = 0; i < 8192; i++)
		code[i] = NOP;
	assert_int_equal(livepatch_apply_code(sys, BASE + 0x8000 - 8, code, sizeof code, NULL, "long"), 0);
	for (uint64_t a = BASE + 0x8000 - 8; a < BASE + 0x8000 - 8 + sizeof code; a += 4)
		assert_int_equal(livepatch_find(sys, a, NULL, NULL, NULL), 1);
	assert_int_equal(livepatch_find(sys, BASE + 0x8000 - 12, NULL, NULL, NULL), 0);
	assert_int_equal(livepatch_revert(sys, BASE + 0x8000 - 8), 0);
	assert_int_equal(livepatch_find(sys, BASE + 0x8000, NULL, NULL, NULL), 0);
}

/* ---- NOP, BRANCH ---- */

static void nops_are_told_from_other_hints(void **state)
{
	assert_int_equal(is_nop_instruction(NOP), 1);
	assert_int_equal(is_nop_instruction(0xd503203f), 1); /* yield */
	assert_int_equal(is_nop_instruction(0xd503205f), 0); /* wfe */
	assert_int_equal(is_nop_instruction(0xd503245f), 0); /* bti c */
	assert_int_equal(is_nop_instruction(0xd503233f), 0); /* paciasp */
	assert_int_equal(is_nop_instruction(RET), 0);
	assert_int_equal(is_nop_instruction(0), 0);
}

static void a_branch_is_encoded(void **state)
{
	assert_int_equal(livepatch_create_branch(sys, BASE + 0x1000, BASE + 0x2000, "Jump to handler"), 0);
	assert_int_equal(word(BASE + 0x1000), 0x14000400);
	assert_int_equal(livepatch_create_branch(sys, BASE + 0x1004, BASE + 0x1000, "back"), 0);
	assert_int_equal(word(BASE + 0x1004), 0x17ffffff);
}

static void a_branch_to_half_an_instruction_is_refused(void **state)
{
	assert_refused(livepatch_create_branch(sys, BASE, BASE + 0x102, NULL), "misaligned");
	assert_refused(livepatch_create_branch(sys, BASE + 1, BASE + 0x100, NULL), "misaligned");
	assert_int_equal(word(BASE), MOV_X0_1);
}

static void a_branch_reaches_128_MiB_less_one_instruction_and_128_MiB_back(void **state)
{
	const uint64_t at = BASE + 0x1000;

	assert_int_equal(livepatch_create_branch(sys, at, at + (1 << 27) - 4, NULL), 0);
	assert_int_equal(word(at), 0x15ffffff);
	assert_int_equal(livepatch_revert(sys, at), 0);

	livepatch_cleanup(sys);
	sys = livepatch_init(memory, sizeof memory, UINT64_C(1) << 32);
	uint64_t far = (UINT64_C(1) << 32) + 0x1000;
	assert_int_equal(livepatch_create_branch(sys, far, far - (1 << 27), NULL), 0);
	assert_int_equal(memory[0x400], 0x16000000);
}

/* Follows the island: ldr x16, literal; br x16. */
static void assert_leads_to(uint64_t at, uint64_t to)
{
	int64_t distance = (int64_t)(int32_t)(word(at) << 6) >> 4;
	uint64_t island = at + (uint64_t)distance;
	bool found = false;

	assert_int_equal(word(at) >> 26, 5);
	for (unsigned i = 0; i < 6; i++) {
		uint64_t literal;
		memcpy(&literal, &memory[(island - BASE) / 4 + i], 8);
		found |= literal == to;
	}
	assert_true(found);
}

static void a_branch_beyond_that_goes_through_an_island(void **state)
{
	const uint64_t at = BASE + 0x1000, to = at + (1 << 27);

	assert_int_equal(livepatch_create_branch(sys, at, to, "far"), 0);
	assert_leads_to(at, to);
	assert_int_equal(livepatch_revert(sys, at), 0);
	assert_int_equal(word(at), MOV_X0_1);
}

static void without_room_a_far_branch_is_refused(void **state)
{
	for (size_t i = 0; i < WORDS; i++)
		memory[i] = NOP;
	assert_refused(livepatch_create_branch(sys, BASE, BASE + (UINT64_C(1) << 30), NULL), "no-room");
	assert_int_equal(word(BASE), NOP);
}

/* ---- NEW_FUNC, REDIRECT ---- */

static void a_function_gets_memory_in_the_middle_of_the_zeroes(void **state)
{
	const uint32_t code[] = {MOV_X0_1, RET};
	uint64_t at = 0;

	assert_int_equal(livepatch_new_func(sys, "one", code, sizeof code, &at, "returns 1"), 0);
	assert_true(at > BASE + 0x10000 && at < BASE + sizeof memory - 0x10000);
	assert_memory_equal(&memory[(at - BASE) / 4], code, sizeof code);
	assert_refused(livepatch_new_func(sys, "one", code, sizeof code, &at, "again"), "overlap");
	assert_int_equal(livepatch_revert(sys, at), 0);
	assert_int_equal(livepatch_new_func(sys, "one", code, sizeof code, &at, "its name is free again"), 0);
}

static void the_room_is_where_it_was_said(void **state)
{
	const uint32_t code[] = {MOV_X0_1, RET};
	uint64_t at;

	assert_int_equal(livepatch_set_room(sys, BASE + 0x20000, 64), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(livepatch_new_func(sys, NULL, code, sizeof code, &at, NULL), 0);
		assert_true(at >= BASE + 0x20000 && at + 8 <= BASE + 0x20040);
	}
	assert_refused(livepatch_new_func(sys, NULL, code, sizeof code, &at, NULL), "no-room");
	assert_int_equal(livepatch_set_room(sys, BASE + 0x30000, 64), 0);
	assert_int_equal(livepatch_new_func(sys, NULL, code, sizeof code, &at, NULL), 0);
	assert_int_equal(at, BASE + 0x30000);
	assert_refused(livepatch_set_room(sys, BASE + sizeof memory, 64), "out-of-range");
	assert_refused(livepatch_set_room(sys, BASE + 0x20000, 64), "overlap");
}

static void room_in_use_cannot_be_patched(void **state)
{
	const uint32_t code[] = {MOV_X0_1, RET};
	uint64_t at;

	livepatch_new_func(sys, NULL, code, sizeof code, &at, NULL);
	assert_refused(livepatch_apply(sys, at + 4, NOP, NULL), "overlap");
}

static void room_is_used_again_when_there_is_no_other(void **state)
{
	const uint32_t code[] = {MOV_X0_1, RET};
	uint64_t first, at;

	livepatch_set_room(sys, BASE + 0x20000, 32);
	assert_int_equal(livepatch_new_func(sys, NULL, code, sizeof code, &first, NULL), 0);
	assert_int_equal(livepatch_revert(sys, first), 0);
	assert_int_equal(livepatch_new_func(sys, NULL, code, sizeof code, &at, NULL), 0);
	assert_int_not_equal(at, first); /* somebody may still be in it */
	assert_int_equal(livepatch_new_func(sys, NULL, code, sizeof code, &at, NULL), 0);
	assert_int_equal(at, first);
}

static void everything_is_taken_back_also_after_new_functions(void **state)
{
	static uint32_t before[0x4000 / 4];
	const uint32_t code[] = {MOV_X0_1, RET};
	uint64_t at;

	memcpy(before, memory, sizeof before);
	livepatch_apply(sys, BASE, NOP, NULL);
	livepatch_new_func(sys, "f", code, sizeof code, &at, NULL);
	livepatch_redirect_function(sys, BASE + 0x100, at, NULL);
	livepatch_create_nop(sys, BASE + 8, NULL);
	assert_int_equal(livepatch_revert_all(sys), 4);
	assert_memory_equal(memory, before, sizeof before);
	assert_int_equal(livepatch_revert_all(sys), 0);
	assert_int_equal(counts().active, 0);
	assert_int_equal(counts().reverted, 4);
}

static void a_function_is_redirected_behind_its_landing_pad(void **state)
{
	set_word(BASE + 0x200, 0xd503245f); /* bti c */
	assert_int_equal(livepatch_redirect_function(sys, BASE + 0x200, BASE + 0x300, "pad"), 0);
	assert_int_equal(word(BASE + 0x200), 0xd503245f);
	assert_int_equal(word(BASE + 0x204), 0x1400003f);
	assert_refused(livepatch_apply(sys, BASE + 0x200, NOP, NULL), "overlap");
	assert_int_equal(livepatch_revert(sys, BASE + 0x200), 0);
	assert_int_equal(word(BASE + 0x204), MOV_X0_1);
	assert_refused(livepatch_redirect_function(sys, BASE + 0x200, BASE + 0x200, NULL), "usage");
}

/* Host memory that holds AArch64 code, as a program that patches an emulator has it. */
static void a_function_of_the_host_is_copied(void **state)
{
	static const uint32_t abs_diff[] = {
		0xeb01001f, /*	cmp	x0, x1	*/
		0x5400006a, /*	b.ge	1f	*/
		0xcb000020, /*	sub	x0, x1, x0	*/
		RET,	    /*	ret	*/
		0xcb010000, /* 1: sub	x0, x0, x1	*/
		RET,	    /*	ret	*/
		NOP,	    /*	not part of it	*/
	};
	uint64_t to;

	assert_int_equal(livepatch_insert_func(sys, BASE + 0x2000, (void *)(uintptr_t)abs_diff, "New handler"), 0);
	assert_int_equal(word(BASE + 0x2000) >> 26, 5);
	to = BASE + 0x2000 + (uint64_t)((int64_t)(int32_t)(word(BASE + 0x2000) << 6) >> 4);
	assert_memory_equal(&memory[(to - BASE) / 4], abs_diff, 6 * 4);
	assert_int_equal(memory[(to - BASE) / 4 + 6], 0);
	assert_int_equal(livepatch_revert(sys, BASE + 0x2000), 0);
	assert_int_equal(word(BASE + 0x2000), MOV_X0_1);
}

static void a_function_that_leaves_itself_is_not_copied(void **state)
{
	static const uint32_t calls[] = {0x97fffff0 /* bl, before it */, RET}, page[] = {0x90000000 /* adrp */, RET},
			      no_code[] = {0};

	assert_refused(livepatch_insert_func(sys, BASE, (void *)(uintptr_t)calls, NULL), "out-of-reach");
	assert_refused(livepatch_insert_func(sys, BASE, (void *)(uintptr_t)page, NULL), "out-of-reach");
	assert_refused(livepatch_insert_func(sys, BASE, (void *)(uintptr_t)no_code, NULL), "encoding");
	assert_refused(livepatch_insert_func(sys, BASE, (void *)0x10, NULL), "unmapped");
	assert_refused(livepatch_insert_func(sys, BASE, NULL, NULL), "usage");
	assert_int_equal(word(BASE), MOV_X0_1);
}

/* ---- transactions ---- */

static void nothing_is_seen_before_commit(void **state)
{
	assert_int_equal(livepatch_begin(sys), 0);
	assert_int_equal(livepatch_apply(sys, BASE, NOP, NULL), 0);
	assert_int_equal(livepatch_create_branch(sys, BASE + 4, BASE + 8, NULL), 0);
	assert_int_equal(word(BASE), MOV_X0_1);
	assert_int_equal(counts().active, 0);
	assert_int_equal(livepatch_commit(sys), 0);
	assert_int_equal(word(BASE), NOP);
	assert_int_equal(word(BASE + 4), 0x14000001);
	assert_int_equal(counts().active, 2);
	assert_int_equal(counts().generation, 1);
}

static void an_aborted_transaction_changes_nothing(void **state)
{
	const uint32_t code[] = {MOV_X0_1, RET};
	uint64_t at;

	livepatch_apply(sys, BASE + 8, NOP, NULL);
	assert_int_equal(livepatch_begin(sys), 0);
	livepatch_apply(sys, BASE, NOP, NULL);
	livepatch_new_func(sys, "f", code, sizeof code, &at, NULL);
	livepatch_revert(sys, BASE + 8);
	assert_int_equal(livepatch_abort(sys), 0);
	assert_int_equal(word(BASE), MOV_X0_1);
	assert_int_equal(word(BASE + 8), NOP);
	assert_int_equal(counts().active, 1);
	assert_refused(livepatch_commit(sys), "transaction");
	assert_refused(livepatch_abort(sys), "transaction");
}

static void a_transaction_that_cannot_be_done_whole_is_not_done(void **state)
{
	livepatch_begin(sys);
	livepatch_apply(sys, BASE, NOP, NULL);
	livepatch_apply(sys, BASE + 4, NOP, NULL);
	set_word(BASE + 4, RET); /* somebody else, meanwhile */
	assert_refused(livepatch_commit(sys), "memory-changed");
	assert_int_equal(livepatch_last_error()->addr, BASE + 4);
	assert_int_equal(word(BASE), MOV_X0_1);
	assert_int_equal(counts().active, 0);
}

static void refusals_inside_a_transaction_come_at_once(void **state)
{
	livepatch_apply(sys, BASE + 12, NOP, NULL);
	livepatch_begin(sys);
	assert_int_equal(livepatch_apply(sys, BASE, NOP, NULL), 0);
	assert_refused(livepatch_apply(sys, BASE, RET, NULL), "overlap");
	assert_refused(livepatch_apply(sys, BASE + 12, RET, NULL), "overlap");
	assert_refused(livepatch_revert(sys, BASE + 4), "no-such-patch");
	assert_refused(livepatch_begin(sys), "transaction");
	assert_int_equal(livepatch_commit(sys), 0);
	assert_int_equal(word(BASE), NOP);
}

static void a_patch_is_exchanged_in_one_transaction(void **state)
{
	const uint32_t two[] = {NOP, NOP};

	livepatch_apply_code(sys, BASE, two, sizeof two, NULL, "two");
	livepatch_begin(sys);
	assert_int_equal(livepatch_revert(sys, BASE), 0);
	assert_refused(livepatch_revert(sys, BASE), "no-such-patch");
	assert_int_equal(livepatch_apply(sys, BASE + 4, RET, "one"), 0);
	assert_int_equal(livepatch_commit(sys), 0);
	assert_int_equal(word(BASE), MOV_X0_1);
	assert_int_equal(word(BASE + 4), RET);
	assert_int_equal(livepatch_revert(sys, BASE + 4), 0);
	assert_int_equal(word(BASE + 4), MOV_X0_1);
}

static void what_was_asked_for_inside_can_be_taken_back_inside(void **state)
{
	livepatch_begin(sys);
	livepatch_apply(sys, BASE, NOP, "a");
	assert_int_equal(livepatch_revert(sys, BASE), 0);
	livepatch_apply(sys, BASE, RET, "b");
	livepatch_apply(sys, BASE + 4, NOP, "c");
	assert_int_equal(livepatch_revert_all(sys), 2);
	livepatch_apply(sys, BASE + 8, NOP, "d");
	assert_int_equal(livepatch_commit(sys), 0);
	assert_int_equal(word(BASE), MOV_X0_1);
	assert_int_equal(word(BASE + 4), MOV_X0_1);
	assert_int_equal(word(BASE + 8), NOP);
	assert_int_equal(counts().active, 1);
}

static void a_transaction_of_a_cleaned_up_system_is_none(void **state)
{
	livepatch_begin(sys);
	livepatch_apply(sys, BASE, NOP, NULL);
	livepatch_cleanup(sys);
	sys = livepatch_init(memory, sizeof memory, BASE);
	assert_refused(livepatch_commit(sys), "transaction");
	assert_int_equal(livepatch_begin(sys), 0);
	assert_int_equal(livepatch_abort(sys), 0);
	assert_int_equal(word(BASE), MOV_X0_1);
}

static void a_transaction_is_of_one_system(void **state)
{
	static uint32_t others[16];
	LivePatchSystem *other = livepatch_init(others, sizeof others, 0x1000);

	livepatch_begin(sys);
	assert_int_equal(livepatch_apply(other, 0x1000, NOP, NULL), 0);
	assert_int_equal(others[0], NOP);
	assert_refused(livepatch_commit(other), "transaction");
	assert_refused(livepatch_begin(other), "transaction");
	assert_int_equal(livepatch_abort(sys), 0);
	livepatch_cleanup(other);
}

/* ---- what is there ---- */

struct seen {
	uint64_t addrs[16];
	size_t nr;
	livepatch_info last;
};

static int see(const livepatch_info *info, void *arg)
{
	struct seen *s = arg;

	s->addrs[s->nr++] = info->addr;
	s->last = *info;
	return s->nr == 16;
}

static void patches_are_told_by_rising_address(void **state)
{
	static const unsigned offsets[] = {0x3000, 4, 0x1ffc, 0x2000, 0, 0x800};
	struct seen s = {0};

	for (size_t i = 0; i < 6; i++)
		livepatch_apply(sys, BASE + offsets[i], NOP, NULL);
	assert_int_equal(livepatch_foreach(sys, see, &s), 0);
	assert_int_equal(s.nr, 6);
	for (size_t i = 1; i < 6; i++)
		assert_true(s.addrs[i] > s.addrs[i - 1]);
}

static int check_branch(const livepatch_info *i, void *arg)
{
	assert_int_equal(i->addr, BASE + 4);
	assert_int_equal(i->type, PATCH_BRANCH);
	assert_int_equal(i->size, 4);
	assert_int_equal(*(const uint32_t *)(const void *)i->original, MOV_X0_1);
	assert_int_equal(*(const uint32_t *)(const void *)i->patched, 0x1400003f);
	assert_int_equal(i->target, BASE + 0x100);
	assert_string_equal(i->description, "to there");
	assert_string_equal(i->name, "");
	assert_string_equal(i->file, "");
	assert_int_equal(i->generation, 1);
	assert_true(i->applied > 1600000000);
	return 42;
}

static void a_patch_tells_all_about_itself(void **state)
{
	int answer = 0;

	livepatch_create_branch(sys, BASE + 4, BASE + 0x100, "to there");
	assert_int_equal(livepatch_find(sys, BASE + 4, check_branch, NULL, &answer), 1);
	assert_int_equal(answer, 42);
	assert_int_equal(livepatch_find(sys, BASE + 8, check_branch, NULL, &answer), 0);
}

static int check_func(const livepatch_info *i, void *arg)
{
	assert_int_equal(i->type, PATCH_NEW_FUNC);
	assert_int_equal(i->size, 0);
	assert_null(i->original);
	assert_int_equal(i->code_size, 8);
	assert_int_equal(*(const uint32_t *)(const void *)i->code, MOV_X0_1);
	assert_string_equal(i->name, "one");
	assert_int_equal(i->target, i->addr);
	return 0;
}

static void a_function_tells_its_name_and_code(void **state)
{
	const uint32_t code[] = {MOV_X0_1, RET};
	uint64_t at;

	livepatch_new_func(sys, "one", code, sizeof code, &at, NULL);
	assert_int_equal(livepatch_find(sys, at, check_func, NULL, NULL), 1);
}

static int revert_it(const livepatch_info *info, void *arg)
{
	return livepatch_revert(sys, info->addr);
}

static void a_callback_may_even_change_the_system(void **state)
{
	for (int i = 0; i < 8; i++)
		livepatch_apply(sys, BASE + 4 * i, NOP, "x");
	assert_int_equal(livepatch_foreach(sys, revert_it, NULL), 0);
	assert_int_equal(counts().active, 0);
}

static void the_shared_system_is_gone_after_its_cleanup(void **state)
{
	livepatch_set_system(sys);
	assert_ptr_equal(livepatch_get_system(), sys);
	livepatch_cleanup(livepatch_get_system());
	assert_null(livepatch_get_system());
	sys = livepatch_init(memory, sizeof memory, BASE);
	livepatch_set_system(sys);
	static uint32_t others[16];
	livepatch_cleanup(livepatch_init(others, sizeof others, 0));
	assert_ptr_equal(livepatch_get_system(), sys);
}

static void memory_that_cannot_be_patched_makes_no_system(void **state)
{
	assert_null(livepatch_init(NULL, 16, 0));
	assert_string_equal(livepatch_last_error()->name, "usage");
	assert_null(livepatch_init((char *)memory + 2, 16, 0));
	assert_string_equal(livepatch_last_error()->name, "misaligned");
	assert_null(livepatch_init(memory, 16, 2));
	assert_string_equal(livepatch_last_error()->name, "misaligned");
	assert_null(livepatch_init(memory, 3, 0));
	assert_null(livepatch_init(memory, sizeof memory, UINT64_MAX - 3));
	assert_string_equal(livepatch_last_error()->name, "out-of-range");
}

/* ---- a million ---- */

#define MILLION 1000000

static int count_rising(const livepatch_info *info, void *arg)
{
	uint64_t *next = arg;

	assert_int_equal(info->addr, *next);
	*next += 4;
	return 0;
}

static void a_million_patches_take_under_128_bytes_each(void **state)
{
	uint32_t *many = malloc(MILLION * 4);
	livepatch_counts c;
	uint64_t next = BASE;

	for (uint32_t i = 0; i < MILLION; i++)
		many[i] = MOV_X0_1;
	livepatch_cleanup(sys);
	sys = livepatch_init(many, MILLION * 4, BASE);
	for (uint32_t i = 0; i < MILLION; i++) /* 7919 is prime: all of them, in no order */
		assert_int_equal(livepatch_apply(sys, BASE + UINT64_C(7919) * i % MILLION * 4, NOP, "one"), 0);
	c = counts();
	assert_int_equal(c.active, MILLION);
	assert_true(c.bytes - 4 * MILLION < 128 * (size_t)MILLION);
	assert_int_equal(livepatch_foreach(sys, count_rising, &next), 0);
	assert_int_equal(next, BASE + 4 * MILLION);
	assert_int_equal(livepatch_revert_all(sys), MILLION);
	for (uint32_t i = 0; i < MILLION; i++)
		assert_int_equal(many[i], MOV_X0_1);
	livepatch_cleanup(sys);
	free(many);
	sys = livepatch_init(memory, sizeof memory, BASE);
}

/* ---- INSERT ---- */

static void inserted_code_runs_before_the_instruction(void **state)
{
	const uint32_t code[] = {0xd2800041 /* mov x1, #2 */};

	assert_int_equal(livepatch_insert(sys, BASE + 0x40, code, sizeof code, "before"), 0);
	uint64_t room = BASE + 0x40 + (uint64_t)((int64_t)(int32_t)(word(BASE + 0x40) << 6) >> 4);
	assert_int_equal(word(BASE + 0x40) >> 26, 5);
	assert_int_equal(word(room), code[0]);
	assert_int_equal(word(room + 4), MOV_X0_1);
	assert_int_equal(word(room + 8) >> 26, 5);
	assert_int_equal(room + 8 + (uint64_t)((int64_t)(int32_t)(word(room + 8) << 6) >> 4), BASE + 0x44);
	assert_int_equal(word(BASE + 0x44), MOV_X0_1);
	assert_int_equal(livepatch_revert(sys, BASE + 0x40), 0);
	assert_int_equal(word(BASE + 0x40), MOV_X0_1);
}

/* Does one of the instructions there name that address? */
static bool names_address(uint64_t from, size_t nr, uint64_t address)
{
	char text[128], wanted[32];

	snprintf(wanted, sizeof wanted, "0x%" PRIx64, address);
	for (uint64_t at = from; at < from + 4 * nr; at += 4) {
		uint32_t code = word(at);
		assert_int_equal(lp_isa_a64.disasm((const uint8_t *)&code, sizeof code, at, text, sizeof text), 4);
		const char *found = strstr(text, wanted);
		if (found && !isxdigit((unsigned char)found[strlen(wanted)]))
			return true;
	}
	return false;
}

static void what_refers_to_its_place_means_the_same_behind_inserted_code(void **state)
{
	static const struct {
		uint32_t word;
		uint64_t target;
	} moved[] = {
		{0x10000800, BASE + 0x140}, /* adr  x0, .+0x100 */
		{0x90000002, BASE},	    /* adrp x2, . */
		{0x58000201, BASE + 0x80},  /* ldr  x1, .+0x40 */
		{0x14000080, BASE + 0x240}, /* b    .+0x200 */
		{0x94000080, BASE + 0x240}, /* bl   .+0x200 */
		{0x54000400, BASE + 0xc0},  /* b.eq .+0x80 */
		{0xb4000400, BASE + 0xc0},  /* cbz  x0, .+0x80 */
		{0x36180400, BASE + 0xc0},  /* tbz  w0, #3, .+0x80 */
	};

	for (size_t i = 0; i < sizeof moved / sizeof *moved; i++) {
		const uint32_t code[] = {0xd2800041 /* mov x1, #2 */};
		set_word(BASE + 0x40, moved[i].word);
		assert_int_equal(livepatch_insert(sys, BASE + 0x40, code, sizeof code, "before"), 0);
		uint64_t room = BASE + 0x40 + (uint64_t)((int64_t)(int32_t)(word(BASE + 0x40) << 6) >> 4);
		assert_int_equal(word(room), code[0]);
		assert_int_not_equal(word(room + 4), moved[i].word);
		assert_true(names_address(room + 4, 4, moved[i].target));
		assert_int_equal(livepatch_revert(sys, BASE + 0x40), 0);
		assert_int_equal(word(BASE + 0x40), moved[i].word);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_word_is_replaced_and_comes_back),
		T(a_word_outside_of_the_memory_is_refused),
		T(a_misaligned_word_is_refused),
		T(the_same_word_twice_is_refused),
		T(a_revert_without_patch_is_refused),
		T(a_revert_over_what_somebody_else_wrote_is_refused),
		T(what_somebody_else_wrote_over_is_forgotten_without_a_write),
		T(memory_of_a_forgotten_patch_is_not_used_again),
		T(all_zeroes_and_all_ones_may_be_written_when_the_flag_says_so),
		T(nothing_is_applied_while_disabled_but_reverted),
		T(an_error_is_gone_after_the_next_call),
		T(a_missing_system_is_an_error_and_no_crash),
		T(several_words_are_one_patch),
		T(what_is_expected_must_be_there),
		T(code_that_leaves_the_memory_or_is_no_code_is_refused),
		T(a_patch_over_many_pages_is_found_everywhere),
		T(nops_are_told_from_other_hints),
		T(a_branch_is_encoded),
		T(a_branch_to_half_an_instruction_is_refused),
		T(a_branch_reaches_128_MiB_less_one_instruction_and_128_MiB_back),
		T(a_branch_beyond_that_goes_through_an_island),
		T(without_room_a_far_branch_is_refused),
		T(a_function_gets_memory_in_the_middle_of_the_zeroes),
		T(the_room_is_where_it_was_said),
		T(room_in_use_cannot_be_patched),
		T(room_is_used_again_when_there_is_no_other),
		T(everything_is_taken_back_also_after_new_functions),
		T(a_function_is_redirected_behind_its_landing_pad),
		T(a_function_of_the_host_is_copied),
		T(a_function_that_leaves_itself_is_not_copied),
		T(nothing_is_seen_before_commit),
		T(an_aborted_transaction_changes_nothing),
		T(a_transaction_that_cannot_be_done_whole_is_not_done),
		T(refusals_inside_a_transaction_come_at_once),
		T(a_patch_is_exchanged_in_one_transaction),
		T(what_was_asked_for_inside_can_be_taken_back_inside),
		T(a_transaction_of_a_cleaned_up_system_is_none),
		T(a_transaction_is_of_one_system),
		T(patches_are_told_by_rising_address),
		T(a_patch_tells_all_about_itself),
		T(a_function_tells_its_name_and_code),
		T(a_callback_may_even_change_the_system),
		T(the_shared_system_is_gone_after_its_cleanup),
		T(memory_that_cannot_be_patched_makes_no_system),
		T(inserted_code_runs_before_the_instruction),
		T(what_refers_to_its_place_means_the_same_behind_inserted_code),
		T(a_million_patches_take_under_128_bytes_each),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
