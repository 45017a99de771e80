/*
 * Branches, exceptions and landing pads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "emu/branch.h"
#include "rig.h"

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

static void goes_to(struct rig *r, const char *text, uint64_t pc)
{
	assert_int_equal(rig_run(r, text), LP_LEAVE_LOOKUP);
	if (r->cpu.pc != pc)
		fail_msg("%s: at %#lx", text, r->cpu.pc);
}

static void direct_branches_go_where_they_say(void **state)
{
	struct rig *r = *state;

	goes_to(r, "b #0x12340", 0x12340);
	goes_to(r, "bl #0x8000", 0x8000);
	assert_int_equal(r->cpu.x[30], RIG_PC + 4);
	r->cpu.x[1] = UINT64_C(1) << 32;
	goes_to(r, "cbz x1, #0x20000", RIG_PC + 4);
	goes_to(r, "cbz w1, #0x20000", 0x20000);
	goes_to(r, "cbnz x1, #0x20000", 0x20000);
	goes_to(r, "cbnz w1, #0x20000", RIG_PC + 4);
	goes_to(r, "tbz x1, #32, #0x10100", RIG_PC + 4);
	goes_to(r, "tbnz x1, #32, #0x10100", 0x10100);
	goes_to(r, "tbz w1, #31, #0x10100", 0x10100);
	goes_to(r, "tbnz xzr, #63, #0x10100", RIG_PC + 4);
}

static void loops_run_to_their_end(void **state)
{
	struct rig *r = *state;

	goes_to(r, "mov x0, #0; mov x1, #100; loop: add x0, x0, x1; subs x1, x1, #1; b.ne loop", RIG_PC + 20);
	assert_int_equal(r->cpu.x[0], 5050);
}

static void indirect_branches_go_where_the_register_says(void **state)
{
	struct rig *r = *state;

	r->cpu.x[1] = 0x123450;
	goes_to(r, "br x1", 0x123450);
	goes_to(r, "blr x1", 0x123450);
	assert_int_equal(r->cpu.x[30], RIG_PC + 4);
	goes_to(r, "ret", RIG_PC + 4);
	goes_to(r, "ret x1", 0x123450);
	r->cpu.x[30] = 0x777000;
	goes_to(r, "blr x30", 0x777000);
	assert_int_equal(r->cpu.x[30], RIG_PC + 4);
}

static void poll_ends_a_loop_at_the_target_of_its_branch(void **state)
{
	struct rig *r = *state;

	atomic_store(&r->cpu.poll, LP_POLL_PARK);
	assert_int_equal(rig_run(r, "nop; b #0x10000"), LP_LEAVE_LOOKUP);
	assert_int_equal(r->cpu.pc, RIG_PC);
}

static void exceptions_are_what_linux_makes_of_them(void **state)
{
	static const char *const undefined[] = {"udf #0",
						"hlt #1",
						"hvc #0",
						"smc #0",
						"dcps1",
						"eret",
						"drps",
						"mrs x0, cntpct_el0",
						"mrs x0, pmccntr_el0",
						"mrs x0, daif",
						"msr daifset, #2",
						"mrs x0, tpidr_el1",
						"msr tpidrro_el0, x0",
						"dc ivac, x0",
						"irg x0, x1",
						"sys #0, c7, c8, #0, x0"};
	struct rig *r = *state;

	assert_int_equal(rig_run(r, "nop; svc #7"), LP_LEAVE_SVC);
	assert_int_equal(r->cpu.pc, RIG_PC + 8);
	assert_int_equal(rig_run(r, "nop; brk #1"), LP_LEAVE_FAULT);
	assert_int_equal(r->cpu.pc, RIG_PC + 4);
	assert_int_equal(r->cpu.fault.signal, SIGTRAP);
	assert_int_equal(r->cpu.fault.code, TRAP_BRKPT);
	for (size_t i = 0; i < sizeof undefined / sizeof undefined[0]; i++) {
		if (rig_run(r, undefined[i]) != LP_LEAVE_FAULT || r->cpu.fault.signal != SIGILL ||
		    r->cpu.fault.code != ILL_ILLOPC)
			fail_msg("%s is not undefined", undefined[i]);
		assert_int_equal(r->cpu.pc, RIG_PC);
	}
}

static void a_system_call_opens_the_monitor(void **state)
{
	struct rig *r = *state;

	r->cpu.x[1] = (uint64_t)r->data;
	rig_run(r, "ldxr x0, [x1]; svc #0");
	assert_int_equal(r->cpu.exclusive.size, 0);
}

/* ---- guarded pages ---- */

static bool lands(struct rig *r, const char *pad, uint8_t btype)
{
	const struct lp_uop uops[2] = {{.run = lp_landing, .pc = RIG_PC, .imm = lp_landing_accepts(rig_word(pad))}};
	const struct lp_uop *next;

	r->cpu.btype = btype;
	next = lp_landing(&r->cpu, uops);
	if (!next) {
		assert_int_equal(r->cpu.fault.signal, SIGILL);
		assert_int_equal(r->cpu.pc, RIG_PC);
		assert_int_equal(r->cpu.btype, btype);
		return false;
	}
	assert_ptr_equal(next, &uops[1]);
	assert_int_equal(r->cpu.btype, LP_BTYPE_NONE);
	return true;
}

static void landing_pads_take_the_branches_they_are_for(void **state)
{
	static const struct {
		const char *pad;
		bool jump_any, call, jump;
	} pads[] = {
		{"bti c", true, true, false},	{"bti j", true, false, true}, {"bti jc", true, true, true},
		{"bti", false, false, false},	{"nop", false, false, false}, {"paciasp", true, true, false},
		{"pacibsp", true, true, false}, {"brk #0", true, true, true}, {"add x0, x0, #1", false, false, false},
	};
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof pads / sizeof pads[0]; i++) {
		assert_true(lands(r, pads[i].pad, LP_BTYPE_NONE));
		assert_int_equal(lands(r, pads[i].pad, LP_BTYPE_JUMP_ANY), pads[i].jump_any);
		assert_int_equal(lands(r, pads[i].pad, LP_BTYPE_CALL), pads[i].call);
		assert_int_equal(lands(r, pads[i].pad, LP_BTYPE_JUMP), pads[i].jump);
	}
}

static uint8_t btype_of(struct rig *r, const char *text, bool guarded)
{
	struct lp_uop uop;

	lp_lower(r->emu.blocks, &uop, rig_word(text), RIG_PC);
	if (guarded)
		lp_guard(&uop);
	r->cpu.btype = LP_BTYPE_NONE;
	assert_null(uop.run(&r->cpu, &uop)); /* nothing is known of the target */
	return r->cpu.btype;
}

static void branches_say_of_what_type_they_are(void **state)
{
	struct rig *r = *state;

	assert_int_equal(btype_of(r, "br x1", false), LP_BTYPE_JUMP_ANY);
	assert_int_equal(btype_of(r, "br x1", true), LP_BTYPE_JUMP);
	assert_int_equal(btype_of(r, "br x16", true), LP_BTYPE_JUMP_ANY);
	assert_int_equal(btype_of(r, "br x17", true), LP_BTYPE_JUMP_ANY);
	assert_int_equal(btype_of(r, "braa x1, x2", true), LP_BTYPE_JUMP);
	assert_int_equal(btype_of(r, "blr x1", false), LP_BTYPE_CALL);
	assert_int_equal(btype_of(r, "blr x1", true), LP_BTYPE_CALL);
	assert_int_equal(btype_of(r, "blraaz x1", true), LP_BTYPE_CALL);
	assert_int_equal(btype_of(r, "ret", true), LP_BTYPE_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(direct_branches_go_where_they_say, setup, teardown),
		cmocka_unit_test_setup_teardown(loops_run_to_their_end, setup, teardown),
		cmocka_unit_test_setup_teardown(indirect_branches_go_where_the_register_says, setup, teardown),
		cmocka_unit_test_setup_teardown(poll_ends_a_loop_at_the_target_of_its_branch, setup, teardown),
		cmocka_unit_test_setup_teardown(exceptions_are_what_linux_makes_of_them, setup, teardown),
		cmocka_unit_test_setup_teardown(a_system_call_opens_the_monitor, setup, teardown),
		cmocka_unit_test_setup_teardown(landing_pads_take_the_branches_they_are_for, setup, teardown),
		cmocka_unit_test_setup_teardown(branches_say_of_what_type_they_are, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
