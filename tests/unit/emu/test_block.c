/*
 * Translations: made once, entered again, dropped when code changes, checked where pages are guarded.
 *
 * Stands in for the address space: code is where the tests put it, and what a fetch finds there is what they say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/vec.h"
#include "emu/branch.h"
#include "emu/emu.h"
#include "emu/vdso.h"
#include "isa/isa.h"

enum { PAGE = 4096, EM_GUEST = 183 };

static struct {
	uint32_t *code; /* two pages, the second readable only as data */
	bool guarded;
	int refused; /* SEGV_... */
	bool may_change;
	struct lp_range alias;
	void (*while_read)(void);
	struct lp_emu emu;
	struct lp_cpu cpu;
	uint64_t icache;
} it;

/* ---- in place of the address space ---- */

int lp_mem_fetch(struct lp_emu *emu, uint64_t pc, bool *bti, uint64_t *until)
{
	uint64_t page = (uint64_t)it.code;

	*bti = it.guarded;
	*until = (pc | (PAGE - 1)) + 1;
	if (pc < page || pc >= page + 2 * PAGE)
		return SEGV_MAPERR;
	return pc >= page + PAGE ? SEGV_ACCERR : it.refused;
}

bool lp_mem_may_change(struct lp_emu *emu, uint64_t addr)
{
	return it.may_change;
}

int lp_mem_read(uint64_t addr, void *data, size_t len)
{
	memcpy(data, (const void *)addr, len);
	if (it.while_read)
		it.while_read();
	return 0;
}

size_t lp_mem_aliases(struct lp_emu *emu, struct lp_range range, struct lp_range *out, size_t max)
{
	*out = it.alias;
	return it.alias.end != 0;
}

void lp_vdso_lower(const struct lp_emu *emu, struct lp_uop *u)
{
}

/* ---- the tests' own ---- */

static void icache(struct lp_emu *emu, uint64_t line, void *arg)
{
	it.icache = line;
}

static int setup(void **state)
{
	memset(&it, 0, sizeof it);
	it.code = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(it.code, MAP_FAILED);
	it.emu.blocks = lp_blocks_new(&it.emu);
	it.emu.events[0].icache = icache;
	it.emu.nr_events = 1;
	it.cpu.emu = &it.emu;
	it.cpu.jumps[0].pc = 4;
	return 0;
}

static int teardown(void **state)
{
	lp_blocks_free(it.emu.blocks);
	return munmap(it.code, 2 * PAGE);
}

static uint64_t at(size_t index)
{
	return (uint64_t)&it.code[index];
}

static void put(size_t index, const char *text)
{
	struct lp_err err = {0};
	size_t len;

	if (lp_isa_of(EM_GUEST)->assemble(text, at(index), NULL, (uint8_t *)&it.code[index], 64, &len, &err))
		fail_msg("%s: %s", text, err.text);
}

static void put_branch(size_t from, size_t to)
{
	it.code[from] = UINT32_C(0x14000000) | ((uint32_t)(to - from) & 0x3ffffff);
}

/* As lp_cpu_run() does, until something other than a place to look up comes. */
static enum lp_leave run(size_t index)
{
	it.cpu.pc = at(index);
	do {
		const struct lp_uop *u = lp_block_enter(it.emu.blocks, &it.cpu);
		while (u)
			u = u->run(&it.cpu, u);
	} while (it.cpu.leave == LP_LEAVE_LOOKUP);
	return it.cpu.leave;
}

static void faults(size_t index, int signal, int code, uint64_t addr)
{
	assert_int_equal(run(index), LP_LEAVE_FAULT);
	assert_int_equal(it.cpu.fault.signal, signal);
	assert_int_equal(it.cpu.fault.code, code);
	assert_int_equal(it.cpu.fault.addr, addr);
	assert_int_equal(it.cpu.pc, addr);
}

static uint64_t built(void)
{
	struct lp_block_stats stats;

	lp_blocks_stats(it.emu.blocks, &stats);
	return stats.built;
}

static struct lp_range words(size_t index, size_t nr)
{
	return (struct lp_range){at(index), at(index + nr)};
}

static void a_block_that_was_cut_goes_on_in_the_next(void **state)
{
	for (size_t i = 0; i < LP_BLOCK_MAX * 2 + 3; i++)
		put(i, "add x0, x0, #1");
	put(LP_BLOCK_MAX * 2 + 3, "svc #0");
	assert_int_equal(run(0), LP_LEAVE_SVC);
	assert_int_equal(it.cpu.x[0], LP_BLOCK_MAX * 2 + 3);
	assert_int_equal(it.cpu.pc, at(LP_BLOCK_MAX * 2 + 4));
	assert_int_equal(built(), 3);
	run(0);
	assert_int_equal(it.cpu.x[0], 2 * (LP_BLOCK_MAX * 2 + 3));
	assert_int_equal(built(), 3);
}

static void code_that_changed_is_translated_anew_when_it_is_said(void **state)
{
	put(0, "mov x0, #1; svc #0");
	put(8, "mov x1, #1; svc #0");
	run(0);
	run(8);
	put(0, "mov x0, #2");
	run(0);
	assert_int_equal(it.cpu.x[0], 1);
	lp_block_invalidate(it.emu.blocks, words(1, 1)); /* the block's end is the block */
	run(0);
	assert_int_equal(it.cpu.x[0], 2);
	assert_int_equal(built(), 3);
	run(8);
	assert_int_equal(built(), 3);
	lp_block_invalidate(it.emu.blocks, (struct lp_range){0, UINT64_MAX});
	lp_blocks_reclaim(it.emu.blocks);
	run(8);
	assert_int_equal(built(), 4);
}

static void a_branch_finds_what_its_target_has_become(void **state)
{
	put_branch(0, 16);
	put(16, "mov x0, #1; svc #0");
	run(0);
	run(0);
	assert_int_equal(it.cpu.x[0], 1);
	put(16, "mov x0, #2; svc #0");
	lp_block_invalidate(it.emu.blocks, words(16, 1));
	run(0);
	assert_int_equal(it.cpu.x[0], 2);
}

static void change_while_read(void)
{
	it.while_read = NULL;
	put(0, "mov x0, #2");
	lp_block_invalidate(it.emu.blocks, words(0, 1));
}

static void a_change_while_code_is_read_is_not_missed(void **state)
{
	put(0, "mov x0, #1; svc #0");
	it.while_read = change_while_read;
	run(0);
	assert_int_equal(it.cpu.x[0], 2);
}

static void what_cannot_be_fetched_faults_where_it_is(void **state)
{
	put(PAGE / 4 - 1, "nop");
	put_branch(0, 0x1000);
	faults(0, SIGSEGV, SEGV_MAPERR, at(0x1000));
	assert_int_equal(it.cpu.fault.esr, LP_ESR_FETCH_TRANSLATION);
	faults(PAGE / 4 - 1, SIGSEGV, SEGV_ACCERR, at(PAGE / 4)); /* off the end of the page */
	assert_int_equal(it.cpu.fault.esr, LP_ESR_FETCH_PERMISSION);
	put(4, "br x0");
	it.cpu.x[0] = at(8) + 2;
	faults(4, SIGBUS, BUS_ADRALN, at(8) + 2);
	for (uint64_t pc = 0; pc < 8; pc += 4) {
		it.cpu.x[0] = pc;
		faults(4, SIGSEGV, SEGV_MAPERR, pc);
	}
}

static void a_tag_in_an_address_to_go_to_is_ignored(void **state)
{
	put(0, "br x0");
	put(4, "svc #0");
	it.cpu.x[0] = at(4) | UINT64_C(0x5a) << 56;
	assert_int_equal(run(0), LP_LEAVE_SVC);
	assert_int_equal(it.cpu.pc, at(5));
}

static void branches_into_a_guarded_page_need_a_landing_pad(void **state)
{
	it.guarded = true;
	put(0, "br x0");
	put(2, "blr x0");
	put(4, "nop; svc #0");
	put(8, "bti c; svc #0");
	put(12, "bti j; svc #0");
	it.code[16] = 0x17fffff4;	   /* b to 4 */
	for (unsigned i = 0; i < 2; i++) { /* not known yet, and known */
		it.cpu.x[0] = at(4);
		faults(0, SIGILL, ILL_ILLOPC, at(4));
		assert_int_equal(it.cpu.btype, LP_BTYPE_JUMP);
		it.cpu.btype = 0; /* as the signal's handler has it */
		faults(2, SIGILL, ILL_ILLOPC, at(4));
		it.cpu.btype = 0;
		it.cpu.x[0] = at(8);
		assert_int_equal(run(2), LP_LEAVE_SVC);
		faults(0, SIGILL, ILL_ILLOPC, at(8));
		it.cpu.btype = 0;
		it.cpu.x[0] = at(12);
		assert_int_equal(run(0), LP_LEAVE_SVC);
		assert_int_equal(run(16), LP_LEAVE_SVC); /* a direct branch needs none */
		assert_int_equal(it.cpu.btype, LP_BTYPE_NONE);
	}
}

static void a_page_that_is_not_guarded_forgets_how_it_was_entered(void **state)
{
	put(0, "blr x0");
	put_branch(4, 8);
	put(8, "svc #0");
	it.cpu.x[0] = at(4);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(run(0), LP_LEAVE_SVC);
		assert_int_equal(it.cpu.btype, LP_BTYPE_NONE);
	}
}

static void one_instruction_is_executed_alone(void **state)
{
	struct lp_uop uops[2];
	const struct lp_uop *u;

	put(0, "subs x0, x0, #0");
	it.code[1] = 0x54000080; /* b.eq, four words on */
	it.cpu.pc = at(0);
	for (unsigned i = 0; i < 2; i++) {
		u = lp_block_single(it.emu.blocks, &it.cpu, uops);
		while (u == &uops[0] || u == &uops[1])
			u = u->run(&it.cpu, u);
		assert_int_equal(it.cpu.pc, i == 0 ? at(1) : at(5));
	}
	it.guarded = true;
	it.cpu.btype = LP_BTYPE_CALL;
	it.cpu.pc = at(0);
	assert_null(lp_block_single(it.emu.blocks, &it.cpu, uops));
	assert_int_equal(it.cpu.fault.signal, SIGILL);
}

static void one_instruction_is_not_followed_by_the_block_behind_it(void **state)
{
	struct lp_uop uops[2];
	const struct lp_uop *u;

	put(0, "nop");
	put(1, "cfinv");
	put(2, "svc #0");
	assert_int_equal(run(1), LP_LEAVE_SVC);
	assert_int_equal(it.cpu.c, 1);
	it.cpu.pc = at(0);
	u = lp_block_single(it.emu.blocks, &it.cpu, uops);
	while (u == &uops[0] || u == &uops[1])
		u = u->run(&it.cpu, u);
	assert_int_equal(it.cpu.pc, at(1));
	assert_int_equal(it.cpu.c, 1);
}

/* One block from there. */
static enum lp_leave run_once(size_t index)
{
	struct lp_block_once room;
	const struct lp_uop *u;

	it.cpu.pc = at(index);
	it.cpu.poll = LP_POLL_ALONE;
	it.cpu.leave = LP_LEAVE_LOOKUP;
	for (u = lp_block_once(it.emu.blocks, &it.cpu, &room); u;)
		u = u->run(&it.cpu, u);
	it.cpu.poll = 0;
	return it.cpu.leave;
}

static void assert_nothing_is_kept(void)
{
	struct lp_block_stats stats;

	lp_blocks_stats(it.emu.blocks, &stats);
	assert_int_equal(stats.built, 0);
	assert_int_equal(stats.slots, 0);
}

static void a_block_that_is_executed_once_goes_on_behind_branches_that_are_not_taken(void **state)
{
	put(0, "subs x0, x0, #1");
	it.code[1] = 0x54000080; /* b.eq, four words on */
	put(2, "add x1, x1, #1");
	it.code[3] = 0xb5000061; /* cbnz x1, three words on */
	put(5, "mov x2, #7");
	put(6, "svc #0");
	it.cpu.x[0] = 1;
	assert_int_equal(run_once(0), LP_LEAVE_LOOKUP);
	assert_int_equal(it.cpu.pc, at(5));
	assert_int_equal(it.cpu.x[1], 0);
	it.cpu.x[0] = 2;
	assert_int_equal(run_once(0), LP_LEAVE_LOOKUP);
	assert_int_equal(it.cpu.pc, at(6));
	assert_int_equal(it.cpu.x[1], 1);
	assert_int_equal(run_once(5), LP_LEAVE_SVC);
	assert_int_equal(it.cpu.x[2], 7);
	assert_nothing_is_kept();
}

static void it_does_not_go_on_in_a_block_that_is_kept(void **state)
{
	put(0, "add x1, x1, #1");
	put_branch(1, 8);
	put(8, "mov x2, #7; svc #0");
	assert_int_equal(run(8), LP_LEAVE_SVC);
	it.cpu.x[2] = 0;
	assert_int_equal(run_once(0), LP_LEAVE_LOOKUP);
	assert_int_equal(it.cpu.pc, at(8));
	assert_int_equal(it.cpu.x[2], 0);
}

static void it_ends_with_its_page_or_when_it_is_long(void **state)
{
	for (size_t i = 0; i < PAGE / 4; i++)
		put(i, "add x1, x1, #1");
	assert_int_equal(run_once(0), LP_LEAVE_LOOKUP);
	assert_int_equal(it.cpu.pc, at(LP_BLOCK_MAX));
	assert_int_equal(it.cpu.x[1], LP_BLOCK_MAX);
	assert_int_equal(run_once(PAGE / 4 - 3), LP_LEAVE_LOOKUP);
	assert_int_equal(it.cpu.pc, at(PAGE / 4));
	assert_int_equal(it.cpu.x[1], LP_BLOCK_MAX + 3);
	assert_int_equal(run_once(PAGE / 4), LP_LEAVE_FAULT);
	assert_int_equal(it.cpu.fault.code, SEGV_ACCERR);
	assert_nothing_is_kept();
}

static void it_minds_breakpoints_landing_pads_and_who_counts(void **state)
{
	put(0, "add x1, x1, #1; add x1, x1, #1; svc #0");
	it.emu.options.stats = true;
	assert_int_equal(run_once(0), LP_LEAVE_SVC);
	assert_int_equal(it.cpu.nr_insns, 3);
	lp_block_breakpoint(it.emu.blocks, at(1), true);
	assert_int_equal(run_once(0), LP_LEAVE_BREAKPOINT);
	assert_int_equal(it.cpu.pc, at(1));
	assert_int_equal(it.cpu.x[1], 3);
	it.guarded = true;
	it.cpu.btype = LP_BTYPE_CALL;
	assert_int_equal(run_once(0), LP_LEAVE_FAULT);
	assert_int_equal(it.cpu.fault.signal, SIGILL);
	assert_nothing_is_kept();
}

static void ic_ivau_drops_the_line_and_its_aliases(void **state)
{
	put(16, "mov x0, #1; svc #0");
	put(512, "mov x1, #1; svc #0");
	put(0, "ic ivau, x2; svc #0");
	run(16);
	run(512);
	put(16, "mov x0, #2");
	put(512, "mov x1, #2");
	it.alias = words(512, 16);
	it.cpu.x[2] = at(20);
	run(0);
	assert_int_equal(it.icache, at(16));
	run(16);
	run(512);
	assert_int_equal(it.cpu.x[0], 2);
	assert_int_equal(it.cpu.x[1], 2);
}

/* By a branch that is linked already, as well; on a page that is guarded it is still entered through a landing pad. */
static void strictly_code_that_may_change_is_executed_as_it_stands(void **state)
{
	it.emu.options.smc_strict = true;
	for (unsigned kind = 0; kind < 4; kind++) {
		it.may_change = kind & 1;
		it.guarded = kind & 2;
		lp_block_invalidate(it.emu.blocks, words(0, 64));
		put_branch(0, 16);
		put(16, "bti j; mov x0, #1; mov x1, #1; svc #0");
		run(0);
		assert_int_equal(it.cpu.x[0], 1);
		put(18, "mov x1, #2");
		run(0);
		assert_int_equal(it.cpu.x[1], it.may_change ? 2 : 1);
		put(17, "mov x0, #2");
		run(16);
		assert_int_equal(it.cpu.x[0], it.may_change ? 2 : 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_block_that_was_cut_goes_on_in_the_next, setup, teardown),
		cmocka_unit_test_setup_teardown(code_that_changed_is_translated_anew_when_it_is_said, setup, teardown),
		cmocka_unit_test_setup_teardown(a_branch_finds_what_its_target_has_become, setup, teardown),
		cmocka_unit_test_setup_teardown(a_change_while_code_is_read_is_not_missed, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_fetched_faults_where_it_is, setup, teardown),
		cmocka_unit_test_setup_teardown(a_tag_in_an_address_to_go_to_is_ignored, setup, teardown),
		cmocka_unit_test_setup_teardown(branches_into_a_guarded_page_need_a_landing_pad, setup, teardown),
		cmocka_unit_test_setup_teardown(a_page_that_is_not_guarded_forgets_how_it_was_entered, setup, teardown),
		cmocka_unit_test_setup_teardown(one_instruction_is_executed_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(one_instruction_is_not_followed_by_the_block_behind_it, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			a_block_that_is_executed_once_goes_on_behind_branches_that_are_not_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(it_does_not_go_on_in_a_block_that_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(it_ends_with_its_page_or_when_it_is_long, setup, teardown),
		cmocka_unit_test_setup_teardown(it_minds_breakpoints_landing_pads_and_who_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(ic_ivau_drops_the_line_and_its_aliases, setup, teardown),
		cmocka_unit_test_setup_teardown(strictly_code_that_may_change_is_executed_as_it_stands, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
