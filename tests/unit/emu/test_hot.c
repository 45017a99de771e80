/*
 * Specialised functions beside the rows' own: the same instruction, the same registers, the same memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "emu/hot.h"
#include "isa/a64/table.h"
#include "rig.h"

enum { WORDS_OF_A_ROW = 400, STATES_OF_A_WORD = 4 };

static int setup(void **state)
{
	*state = rig_new();
	return 0;
}

static int teardown(void **state)
{
	rig_free(*state);
	return 0;
}

static const struct lp_hot *tables[] = {lp_hot_integer, lp_hot_compare, lp_hot_branch, lp_hot_memory};

/* Everything that an instruction may change. */
struct outcome {
	uint64_t x[32], pc, at_zr, depth;
	uint32_t nzcv;
	uint8_t btype;
	enum lp_leave leave;
	struct lp_fault fault;
	uint8_t data[RIG_DATA_SIZE];
};

static void fill(struct rig *r, uint64_t *seed)
{
	for (size_t i = 0; i < RIG_DATA_SIZE; i += 8)
		memcpy(r->data + i, &(uint64_t){rig_random(seed)}, 8);
	for (size_t i = 0; i < 31; i++)
		r->cpu.x[i] = rig_interesting(seed);
	r->cpu.x[LP_SP] = (uint64_t)r->data + 2048 + (rig_random(seed) % 8 ? 0 : 8);
	lp_cpu_set_nzcv(&r->cpu, (uint32_t)rig_random(seed) & 0xf0000000);
}

/* A base that leads into the data, and an index that stays there; not always. */
static void aim(struct rig *r, uint32_t word, uint64_t *seed)
{
	unsigned base = word >> 5 & 31, index = word >> 16 & 31;

	if (index != 31 && rig_random(seed) % 4)
		r->cpu.x[index] = rig_random(seed) % 256 - 128;
	if (base != 31 && rig_random(seed) % 8)
		r->cpu.x[base] = (uint64_t)r->data + 2048 + rig_random(seed) % 64 +
				 (rig_random(seed) % 8 ? 0 : UINT64_C(0x5a) << 56);
}

static void run(struct rig *r, bool plain, const uint32_t *words, size_t nr, uint64_t seed, struct outcome *out)
{
	fill(r, &seed);
	for (size_t i = 0; i < nr; i++)
		aim(r, words[i], &seed);
	r->plain = plain;
	r->cpu.btype = 0;
	r->depth = 0;
	memset(out, 0, sizeof *out);
	out->leave = rig_run_words(r, words, nr);
	memcpy(out->x, r->cpu.x, sizeof out->x);
	out->at_zr = r->cpu.x[LP_ZR];
	out->pc = r->cpu.pc;
	out->depth = r->depth;
	out->nzcv = lp_cpu_nzcv(&r->cpu);
	out->btype = r->cpu.btype;
	out->fault.signal = r->cpu.fault.signal;
	out->fault.code = r->cpu.fault.code;
	out->fault.addr = r->cpu.fault.addr;
	memcpy(out->data, r->data, sizeof out->data);
}

/* Stores of both go to the same memory, which is filled anew. */
static void compare(struct rig *r, const uint32_t *words, size_t nr, uint64_t seed)
{
	static struct outcome hot, plain;

	run(r, false, words, nr, seed, &hot);
	run(r, true, words, nr, seed, &plain);
	if (hot.depth != plain.depth)
		fail_msg("%08x: goes on by a call", words[0]);
	for (size_t i = 0; i < 32; i++)
		if (hot.x[i] != plain.x[i])
			fail_msg("%08x: x%zu is %#lx, not %#lx", words[0], i, hot.x[i], plain.x[i]);
	if (hot.pc != plain.pc || hot.nzcv != plain.nzcv || hot.leave != plain.leave)
		fail_msg("%08x: pc %#lx, not %#lx; flags %x, not %x", words[0], hot.pc, plain.pc, hot.nzcv, plain.nzcv);
	if (hot.btype != plain.btype || hot.at_zr != plain.at_zr)
		fail_msg("%08x: BTYPE is %u, not %u; zr is %#lx", words[0], hot.btype, plain.btype, hot.at_zr);
	if (hot.fault.signal != plain.fault.signal || hot.fault.code != plain.fault.code ||
	    hot.fault.addr != plain.fault.addr)
		fail_msg("%08x: signal %d at %#lx, not %d at %#lx", words[0], hot.fault.signal, hot.fault.addr,
			 plain.fault.signal, plain.fault.addr);
	if (memcmp(hot.data, plain.data, sizeof hot.data) != 0)
		fail_msg("%08x: memory", words[0]);
}

/* A word of the row; offsets are small as often as not. */
static uint32_t word_of(enum lp_a64_op op, uint64_t *seed)
{
	const struct lp_a64_row *row = lp_a64_row(op);
	uint32_t word;

	do {
		word = (uint32_t)rig_random(seed);
		if (rig_random(seed) & 1)
			word &= ~(UINT32_C(0x1f) << 17);
		if (rig_random(seed) % 8 == 0)
			word |= 31;
		if (rig_random(seed) % 8 == 0)
			word |= 31 << 5;
		word = (word & ~row->mask) | row->match;
	} while (lp_a64_decode(word) != op);
	return word;
}

static void specialised_functions_do_what_the_rows_own_do(void **state)
{
	uint64_t seed = 6;
	size_t rows = 0;

	for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
		for (const struct lp_hot *row = tables[t]; row->prepare; row++) {
			rows++;
			for (size_t i = 0; i < WORDS_OF_A_ROW; i++) {
				uint32_t word = word_of(row->op, &seed);
				for (size_t j = 0; j < STATES_OF_A_WORD; j++)
					compare(*state, &word, 1, rig_random(&seed) | 1);
			}
		}
	assert_true(rows > 100);
}

static void a_comparison_with_its_branch_does_what_both_do(void **state)
{
	static const enum lp_a64_op first[] = {A64_OP_SUBS_IMM, A64_OP_SUBS_REG, A64_OP_ANDS_IMM, A64_OP_ANDS_REG,
					       A64_OP_ADDS_IMM};
	struct rig *r = *state;
	uint64_t seed = 7;
	size_t pairs = 0;

	for (size_t i = 0; i < 8000; i++) {
		uint32_t words[2] = {word_of(first[i % 5], &seed), word_of(A64_OP_B_COND, &seed)};
		if (words[0] >> 10 & 63 && i % 5 == 1 && i & 1)
			words[0] &= ~(UINT32_C(63) << 10);
		for (size_t j = 0; j < STATES_OF_A_WORD; j++) {
			lp_uop_fn *before;
			compare(r, words, 2, rig_random(&seed) | 1);
			r->plain = false;
			rig_run_word(r, words[0]);
			before = r->uops[0].run;
			rig_run_words(r, words, 2);
			pairs += before != r->uops[0].run;
		}
	}
	assert_true(pairs > 6000);
}

static void a_long_loop_needs_no_stack(void **state)
{
	struct rig *r = *state;

	r->plain = false;
	r->cpu.x[1] = (uint64_t)r->data;
	r->cpu.x[LP_SP] = (uint64_t)r->data + 1024;
	rig_run(r, "mov x0, #0; movz x2, #8, lsl #16; loop: str x0, [x1], #8; ldr x3, [x1, #-8]!; stp x0, x2, [sp, "
		   "#-16]!; "
		   "ldp x4, x5, [sp], #16; add x0, x3, #1; lsl x6, x0, #3; madd x7, x6, x3, x0; bl next; next: cbz x2, "
		   "loop; subs x2, x2, #1; b.ne loop");
	assert_int_equal(r->cpu.x[0], 8 << 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(specialised_functions_do_what_the_rows_own_do, setup, teardown),
		cmocka_unit_test_setup_teardown(a_comparison_with_its_branch_does_what_both_do, setup, teardown),
		cmocka_unit_test_setup_teardown(a_long_loop_needs_no_stack, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
