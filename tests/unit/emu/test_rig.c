/*
 * The rig itself: how a run of a few instructions ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

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

static void what_nobody_defines_is_undefined(void **state)
{
	struct rig *r = *state;

	assert_int_equal(rig_run_word(r, 0xffffffff), LP_LEAVE_FAULT);
	assert_int_equal(r->cpu.fault.signal, SIGILL);
	assert_int_equal(r->cpu.fault.code, ILL_ILLOPC);
	assert_int_equal(r->cpu.fault.addr, RIG_PC);
	assert_int_equal(r->cpu.pc, RIG_PC);
}

static void the_end_of_the_code_is_a_place_to_look_up(void **state)
{
	struct rig *r = *state;

	assert_int_equal(rig_run_words(r, NULL, 0), LP_LEAVE_LOOKUP);
	assert_int_equal(r->cpu.pc, RIG_PC);
}

static void a_slot_in_the_code_leads_there_and_others_out(void **state)
{
	struct rig *r = *state;
	struct lp_slot *s;

	r->nr = 2;
	s = lp_slot_of(r->emu.blocks, RIG_PC + 4);
	assert_ptr_equal(atomic_load(&s->entry), &r->uops[1]);
	s = lp_slot_of(r->emu.blocks, RIG_PC + 8);
	assert_null(atomic_load(&s->entry)->run(&r->cpu, atomic_load(&s->entry)));
	assert_int_equal(r->cpu.leave, LP_LEAVE_LOOKUP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_nobody_defines_is_undefined, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_of_the_code_is_a_place_to_look_up, setup, teardown),
		cmocka_unit_test_setup_teardown(a_slot_in_the_code_leads_there_and_others_out, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
