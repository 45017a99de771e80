/*
 * System registers, features, cache maintenance and pointer authentication.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "emu/features.h"
#include "emu/pauth.h"
#include "rig.h"

static int setup(void **state)
{
	struct rig *r = rig_new();

	lp_pauth_reset(&r->cpu, 31);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	rig_free(*state);
	return 0;
}

static uint64_t value_of(struct rig *r, const char *sysreg)
{
	char text[64];

	snprintf(text, sizeof text, "mrs x0, %s", sysreg);
	if (rig_run(r, text) != LP_LEAVE_LOOKUP)
		fail_msg("%s cannot be read", sysreg);
	return r->cpu.x[0];
}

static void registers_of_el0_keep_what_is_written(void **state)
{
	struct rig *r = *state;

	r->cpu.x[1] = UINT64_MAX;
	rig_run(r, "msr nzcv, x1; msr tpidr_el0, x1; msr dit, x1; msr ssbs, x1");
	assert_int_equal(value_of(r, "nzcv"), 0xf0000000);
	assert_int_equal(value_of(r, "tpidr_el0"), UINT64_MAX);
	assert_int_equal(value_of(r, "dit"), 1 << 24);
	assert_int_equal(value_of(r, "ssbs"), 1 << 12);
	assert_int_equal(value_of(r, "tpidrro_el0"), 0);
	rig_run(r, "msr dit, #0; msr ssbs, #0; msr nzcv, xzr");
	assert_int_equal(value_of(r, "dit") | value_of(r, "ssbs") | value_of(r, "nzcv"), 0);
	r->cpu.x[1] = 1 << 24;
	rig_run(r, "msr fpcr, x1; msr fpcr, xzr; msr fpsr, x1");
	assert_int_equal(value_of(r, "fpcr"), 0);
}

static void caches_and_counters_are_described(void **state)
{
	struct rig *r = *state;
	uint64_t ctr = value_of(r, "ctr_el0"), before = value_of(r, "cntvct_el0");

	assert_int_equal(4 << (ctr & 15), 64);	     /* IminLine */
	assert_int_equal(4 << (ctr >> 16 & 15), 64); /* DminLine */
	assert_int_equal(ctr >> 28 & 3, 0);	     /* DIC, IDC: the guest must clean and invalidate */
	assert_int_equal(4 << value_of(r, "dczid_el0"), 64);
	assert_int_equal(value_of(r, "cntfrq_el0"), 1000000000);
	assert_true(value_of(r, "cntvct_el0") > before);
}

static void hwcap_and_id_registers_agree(void **state)
{
	struct rig *r = *state;
	uint64_t hwcap = lp_hwcap();

	assert_int_equal(hwcap >> 8 & 1, (value_of(r, "id_aa64isar0_el1") >> 20 & 15) == 2);  /* atomics */
	assert_int_equal(hwcap >> 4 & 1, (value_of(r, "id_aa64isar0_el1") >> 4 & 15) == 2);   /* pmull */
	assert_int_equal(hwcap >> 21 & 1, (value_of(r, "id_aa64isar0_el1") >> 12 & 15) == 2); /* sha512 */
	assert_int_equal(hwcap >> 30 & 1, (value_of(r, "id_aa64isar1_el1") >> 8 & 15) == 1);  /* paca */
	assert_int_equal(lp_hwcap2() >> 17 & 1, (value_of(r, "id_aa64pfr1_el1") & 15) == 1);  /* bti */
	assert_int_equal(value_of(r, "id_aa64pfr0_el1") >> 32 & 15, 0);			      /* sve */
	assert_int_equal(hwcap >> 22 & 1, 0);
	assert_int_equal(value_of(r, "id_aa64zfr0_el1"), 0);
	assert_int_equal(value_of(r, "midr_el1") >> 24, 0x41);
	assert_string_equal(lp_feature_name(0), "fp");
}

static void what_is_not_offered_is_undefined_or_a_hint(void **state)
{
	struct rig *r = *state;

	assert_false(lp_cpu_offers(A64_FEATURE_MTE));
	assert_true(lp_cpu_offers(A64_FEATURE_LSE));
	assert_int_equal(rig_run(r, "stg x1, [x1]"), LP_LEAVE_FAULT);
	assert_int_equal(r->cpu.fault.signal, SIGILL);
	assert_int_equal(rig_run(r, "esb; psb csync; tsb csync; hint #127"), LP_LEAVE_LOOKUP);
}

static void ic_ivau_tells_the_translations(void **state)
{
	struct rig *r = *state;

	r->cpu.x[1] = 0xab00000000012345;
	rig_run(r, "ic ivau, x1");
	assert_int_equal(r->icache_line & ~UINT64_C(63), 0x12340);
}

/* ---- pointer authentication ---- */

static void a_signed_pointer_authenticates_once_with_the_same_modifier(void **state)
{
	static const struct {
		const char *sign, *authenticate;
	} pairs[] = {
		{"pacia x0, x1", "autia x0, x1"}, {"pacib x0, x1", "autib x0, x1"}, {"pacda x0, x1", "autda x0, x1"},
		{"pacdb x0, x1", "autdb x0, x1"}, {"paciza x0", "autiza x0"},	    {"pacdzb x0", "autdzb x0"},
	};
	struct rig *r = *state;
	const uint64_t pointer = 0x0000712345678900;

	r->cpu.x[1] = 0x1234;
	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
		bool differed = false;
		/* 7 bits of code are all zero now and then */
		for (uint64_t at = pointer; at < pointer + 64; at++) {
			r->cpu.x[0] = at;
			rig_run(r, pairs[i].sign);
			differed |= r->cpu.x[0] != at;
			assert_int_equal(r->cpu.x[0] & 0xff80ffffffffffff, at);
			rig_run(r, pairs[i].authenticate);
			assert_int_equal(r->cpu.x[0], at);
		}
		assert_true(differed);
	}
}

static void a_forged_pointer_becomes_one_that_faults(void **state)
{
	struct rig *r = *state;
	const uint64_t pointer = 0x0000712345678900;

	r->cpu.x[0] = pointer;
	rig_run(r, "pacia x0, x1");
	r->cpu.x[0] ^= UINT64_C(1) << 48;
	rig_run(r, "mov x3, x0; autia x3, x1; mov x4, x0; autib x4, x1; xpaci x0");
	assert_int_equal(r->cpu.x[3], pointer | UINT64_C(1) << 53);
	assert_int_equal(r->cpu.x[0], pointer);
	r->cpu.x[0] = pointer;
	rig_run(r, "pacdb x0, x1; eor x0, x0, #0x1000000000000; autdb x0, x1");
	assert_int_equal(r->cpu.x[0], pointer | UINT64_C(2) << 53);
}

static void a_pointer_with_bits_in_the_codes_place_cannot_be_signed_well(void **state)
{
	struct rig *r = *state;

	r->cpu.x[0] = 0x0011712345678900;
	rig_run(r, "pacia x0, x1; autia x0, x1");
	assert_int_equal(r->cpu.x[0] >> 53 & 3, 1);
}

static void the_return_address_is_signed_with_the_stack_pointer(void **state)
{
	struct rig *r = *state;

	r->cpu.x[30] = 0x712345678900;
	r->cpu.x[LP_SP] = 0x7fff0000;
	assert_int_equal(rig_run(r, "paciasp; nop; retaa"), LP_LEAVE_LOOKUP);
	assert_int_equal(r->cpu.pc, 0x712345678900);
	r->cpu.x[30] = 0x712345678900;
	rig_run(r, "pacibsp; autibsp");
	assert_int_equal(r->cpu.x[30], 0x712345678900);
	rig_run(r, "paciaz; xpaclri");
	assert_int_equal(r->cpu.x[30], 0x712345678900);
	r->cpu.x[17] = 0x712345678900;
	rig_run(r, "pacia1716; autia1716");
	assert_int_equal(r->cpu.x[17], 0x712345678900);
}

static void keys_differ_and_can_be_renewed(void **state)
{
	struct rig *r = *state;
	uint64_t before;

	r->cpu.x[1] = 1;
	r->cpu.x[2] = 2;
	rig_run(r, "pacga x0, x1, x2");
	before = r->cpu.x[0];
	assert_int_equal(before & 0xffffffff, 0);
	rig_run(r, "pacga x0, x1, x2");
	assert_int_equal(r->cpu.x[0], before);
	lp_pauth_reset(&r->cpu, 1 << LP_PAUTH_IA);
	rig_run(r, "pacga x0, x1, x2");
	assert_int_equal(r->cpu.x[0], before);
	lp_pauth_reset(&r->cpu, 1 << LP_PAUTH_GA);
	rig_run(r, "pacga x0, x1, x2; pacga x3, x2, x1");
	assert_int_not_equal(r->cpu.x[0], before); /* but for one time in 2^32 */
	assert_int_not_equal(r->cpu.x[0], r->cpu.x[3]);
}

static void an_authenticated_load_reads_behind_the_pointer(void **state)
{
	struct rig *r = *state;
	uint64_t base = (uint64_t)r->data;

	memcpy(r->data + 8, &(uint64_t){42}, 8);
	r->cpu.x[1] = base;
	rig_run(r, "pacdza x1; ldraa x2, [x1, #8]; ldraa x3, [x1, #8]!");
	assert_int_equal(r->cpu.x[2], 42);
	assert_int_equal(r->cpu.x[3], 42);
	assert_int_equal(r->cpu.x[1], base + 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(registers_of_el0_keep_what_is_written, setup, teardown),
		cmocka_unit_test_setup_teardown(caches_and_counters_are_described, setup, teardown),
		cmocka_unit_test_setup_teardown(hwcap_and_id_registers_agree, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_not_offered_is_undefined_or_a_hint, setup, teardown),
		cmocka_unit_test_setup_teardown(ic_ivau_tells_the_translations, setup, teardown),
		cmocka_unit_test_setup_teardown(a_signed_pointer_authenticates_once_with_the_same_modifier, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_forged_pointer_becomes_one_that_faults, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pointer_with_bits_in_the_codes_place_cannot_be_signed_well, setup,
						teardown),
		cmocka_unit_test_setup_teardown(the_return_address_is_signed_with_the_stack_pointer, setup, teardown),
		cmocka_unit_test_setup_teardown(keys_differ_and_can_be_renewed, setup, teardown),
		cmocka_unit_test_setup_teardown(an_authenticated_load_reads_behind_the_pointer, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
