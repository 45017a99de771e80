/*
 * Loads, stores, exclusives and atomics of general registers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

static int setup(void **state)
{
	struct rig *r = rig_new();

	r->cpu.x[1] = (uint64_t)r->data + 64;
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	rig_free(*state);
	return 0;
}

static uint64_t word_at(const struct rig *r, size_t at)
{
	uint64_t value;

	memcpy(&value, r->data + at, sizeof value);
	return value;
}

static void put(struct rig *r, size_t at, uint64_t value)
{
	memcpy(r->data + at, &value, sizeof value);
}

static void runs(struct rig *r, const char *text)
{
	if (rig_run(r, text) != LP_LEAVE_LOOKUP)
		fail_msg("%s: signal %d", text, r->cpu.fault.signal);
}

/* A fault at the first instruction that has left registers alone. */
static void faults(struct rig *r, const char *text, int signal, uint64_t addr)
{
	struct lp_cpu before = r->cpu;

	if (rig_run(r, text) != LP_LEAVE_FAULT)
		fail_msg("%s: no fault", text);
	assert_int_equal(r->cpu.fault.signal, signal);
	assert_int_equal(r->cpu.fault.addr, addr);
	assert_int_equal(r->cpu.pc, RIG_PC);
	assert_memory_equal(r->cpu.x, before.x, 32 * sizeof before.x[0]);
}

static void every_way_to_name_an_address(void **state)
{
	struct rig *r = *state;
	uint64_t base = r->cpu.x[1];

	put(r, 64, 0x1111);
	put(r, 72, 0x2222);
	put(r, 56, 0x3333);
	r->cpu.x[2] = 1;
	r->cpu.x[3] = 0xffffffff;
	runs(r, "ldr x4, [x1, #8]; ldur x5, [x1, #-8]; ldr x6, [x1, x2, lsl #3]; ldr x7, [x1, w3, sxtw #3]; "
		"ldtr x8, [x1]; ldr x9, [x1], #8");
	assert_int_equal(r->cpu.x[4], 0x2222);
	assert_int_equal(r->cpu.x[5], 0x3333);
	assert_int_equal(r->cpu.x[6], 0x2222);
	assert_int_equal(r->cpu.x[7], 0x3333);
	assert_int_equal(r->cpu.x[8], 0x1111);
	assert_int_equal(r->cpu.x[9], 0x1111);
	assert_int_equal(r->cpu.x[1], base + 8);
	runs(r, "str x9, [x1, #-16]!");
	assert_int_equal(r->cpu.x[1], base - 8);
	assert_int_equal(word_at(r, 56), 0x1111);
}

static void sizes_and_signs(void **state)
{
	struct rig *r = *state;

	put(r, 64, 0xfedcba9876548281);
	runs(r, "ldrb w2, [x1]; ldrsb x3, [x1]; ldrsb w4, [x1]; ldrh w5, [x1]; ldrsh x6, [x1]; ldrsh w7, [x1]; "
		"ldr w8, [x1, #4]; ldrsw x9, [x1, #4]");
	assert_int_equal(r->cpu.x[2], 0x81);
	assert_int_equal(r->cpu.x[3], 0xffffffffffffff81);
	assert_int_equal(r->cpu.x[4], 0xffffff81);
	assert_int_equal(r->cpu.x[5], 0x8281);
	assert_int_equal(r->cpu.x[6], 0xffffffffffff8281);
	assert_int_equal(r->cpu.x[7], 0xffff8281);
	assert_int_equal(r->cpu.x[8], 0xfedcba98);
	assert_int_equal(r->cpu.x[9], 0xfffffffffedcba98);
	runs(r, "mov x2, #-1; strb w2, [x1, #8]; strh w2, [x1, #10]; str w2, [x1, #12]; str xzr, [x1]");
	assert_int_equal(word_at(r, 72), 0xffffffffffff00ff);
	assert_int_equal(word_at(r, 64), 0);
}

static void pairs(void **state)
{
	struct rig *r = *state;
	uint64_t base = r->cpu.x[1];

	r->cpu.x[2] = 0x8000000080000001;
	r->cpu.x[3] = 3;
	runs(r, "stp x2, x3, [x1, #-16]!; ldp x4, x5, [x1], #16; ldpsw x6, x7, [x1, #-16]; stp w2, w3, [x1, #8]; "
		"ldp w8, w9, [x1, #8]; stnp x3, x3, [x1, #32]; ldnp x10, x11, [x1, #32]");
	assert_int_equal(r->cpu.x[1], base);
	assert_int_equal(r->cpu.x[4], r->cpu.x[2]);
	assert_int_equal(r->cpu.x[5], 3);
	assert_int_equal(r->cpu.x[6], 0xffffffff80000001);
	assert_int_equal(r->cpu.x[7], 0xffffffff80000000);
	assert_int_equal(r->cpu.x[8], 0x80000001);
	assert_int_equal(r->cpu.x[9], 3);
	assert_int_equal(r->cpu.x[10] + r->cpu.x[11], 6);
}

static void a_tag_in_the_top_byte_is_ignored(void **state)
{
	struct rig *r = *state;

	put(r, 64, 5);
	r->cpu.x[1] |= UINT64_C(0xab) << 56;
	runs(r, "ldr x2, [x1]; ldadd x2, x3, [x1]; ldxr x4, [x1]; stxr w5, xzr, [x1]");
	assert_int_equal(r->cpu.x[2], 5);
	assert_int_equal(r->cpu.x[4], 10);
	assert_int_equal(r->cpu.x[5], 0);
	assert_int_equal(word_at(r, 64), 0);
}

static void an_access_that_faults_changes_nothing(void **state)
{
	struct rig *r = *state;
	uint64_t end = (uint64_t)r->data + RIG_DATA_SIZE;

	r->cpu.x[1] = end - 8;
	faults(r, "ldr x2, [x1, #8]!", SIGSEGV, end);
	faults(r, "ldp x2, x1, [x1]", SIGSEGV, end);
	faults(r, "ldp x2, x3, [x1], #16", SIGSEGV, end);
	r->cpu.x[1] = end;
	faults(r, "str x2, [x1], #8", SIGSEGV, end);
	faults(r, "ldadd x2, x3, [x1]", SIGSEGV, end);
	faults(r, "cas x2, x3, [x1]", SIGSEGV, end);
	faults(r, "casp x2, x3, x4, x5, [x1]", SIGSEGV, end);
	faults(r, "ldxr x2, [x1]", SIGSEGV, end);
	faults(r, "dc zva, x1", SIGSEGV, end);
	faults(r, "dc cvau, x1", SIGSEGV, end);
	assert_int_equal(rig_run(r, "prfm pldl1keep, [x1]"), LP_LEAVE_LOOKUP);
}

static void a_misaligned_stack_pointer_is_no_base(void **state)
{
	struct rig *r = *state;

	r->cpu.x[LP_SP] = (uint64_t)r->data + 8;
	faults(r, "ldr x2, [sp]", SIGBUS, (uint64_t)r->data + 8);
	faults(r, "stp x2, x3, [sp, #-16]!", SIGBUS, (uint64_t)r->data + 8);
	faults(r, "ldr x2, [sp, #8]", SIGBUS, (uint64_t)r->data + 8);
	assert_int_equal(r->cpu.fault.esr, 0x9a000000);
}

static void accesses_that_must_be_aligned_say_so(void **state)
{
	static const char *const texts[] = {
		"ldxr x2, [x1]",    "ldaxr w2, [x1]",	   "stlxr w2, x3, [x1]",	"ldar x2, [x1]",
		"stlr w2, [x1]",    "ldapr x2, [x1]",	   "ldadd w2, w3, [x1]",	"swp x2, x3, [x1]",
		"cas w2, w3, [x1]", "ldapur w2, [x1, #4]", "casp w2, w3, w4, w5, [x1]",
	};
	struct rig *r = *state;

	r->cpu.x[1] += 2;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		faults(r, texts[i], SIGBUS, r->cpu.x[1] + (strstr(texts[i], "#4") ? 4 : 0));
	assert_int_equal(r->cpu.fault.esr, 0x92000021);
	faults(r, "stlr x2, [x1]", SIGBUS, r->cpu.x[1]);
	assert_int_equal(r->cpu.fault.esr, 0x92000061);
	faults(r, "stxp w5, w2, w3, [x1]", SIGBUS, r->cpu.x[1]);
	assert_int_equal(r->cpu.fault.esr, 0x92000061);
	faults(r, "stlur w2, [x1]", SIGBUS, r->cpu.x[1]);
	assert_int_equal(r->cpu.fault.esr, 0x92000061);
	r->cpu.x[1] += 6;
	faults(r, "ldxp x2, x3, [x1]", SIGBUS, r->cpu.x[1]);
	faults(r, "casp x2, x3, x4, x5, [x1]", SIGBUS, r->cpu.x[1]);
}

static void a_store_exclusive_needs_what_was_loaded(void **state)
{
	struct rig *r = *state;

	put(r, 64, 1);
	r->cpu.x[2] = 2;
	runs(r, "ldxr x3, [x1]; stxr w4, x2, [x1]; stxr w5, x2, [x1]");
	assert_int_equal(r->cpu.x[4], 0);
	assert_int_equal(r->cpu.x[5], 1); /* nothing is monitored any more */
	assert_int_equal(word_at(r, 64), 2);
	r->cpu.x[6] = 6;
	runs(r, "ldxr x3, [x1]; str x6, [x1]; stxr w4, x2, [x1]"); /* changed meanwhile */
	assert_int_equal(r->cpu.x[4], 1);
	assert_int_equal(word_at(r, 64), 6);
	runs(r, "ldxr x3, [x1]; clrex; stxr w4, x2, [x1]");
	assert_int_equal(r->cpu.x[4], 1);
	runs(r, "ldxr x3, [x1]; add x1, x1, #8; stxr w4, x2, [x1]"); /* another place */
	assert_int_equal(r->cpu.x[4], 1);
	assert_int_equal(word_at(r, 72), 0);
}

static void exclusive_bytes_and_pairs(void **state)
{
	struct rig *r = *state;

	put(r, 64, 0x1122334455667788);
	put(r, 72, 0x99);
	r->cpu.x[2] = 0xab;
	r->cpu.x[3] = 0xcd;
	runs(r, "ldaxrb w4, [x1]; stlxrb w5, w2, [x1]; ldxp w6, w7, [x1]; stxp w8, w7, w6, [x1]");
	assert_int_equal(r->cpu.x[4], 0x88);
	assert_int_equal(r->cpu.x[5], 0);
	assert_int_equal(r->cpu.x[6], 0x556677ab);
	assert_int_equal(r->cpu.x[7], 0x11223344);
	assert_int_equal(r->cpu.x[8], 0);
	assert_int_equal(word_at(r, 64), 0x556677ab11223344);
	runs(r, "ldaxp x4, x5, [x1]; stlxp w6, x2, x3, [x1]");
	assert_int_equal(r->cpu.x[4], 0x556677ab11223344);
	assert_int_equal(r->cpu.x[5], 0x99);
	assert_int_equal(r->cpu.x[6], 0);
	assert_int_equal(word_at(r, 64), 0xab);
	assert_int_equal(word_at(r, 72), 0xcd);
}

static void atomics_return_what_was_there(void **state)
{
	static const struct {
		const char *text;
		uint64_t operand, before, after;
	} examples[] = {
		{"ldadd x2, x3, [x1]", 5, UINT64_MAX, 4},
		{"ldaddalb w2, w3, [x1]", 1, 0x1ff, 0x100},
		{"ldclr w2, w3, [x1]", 0xf0, 0x1000000ff, 0x10000000f},
		{"ldeorh w2, w3, [x1]", 0xffff, 0x10001, 0x1fffe},
		{"ldset x2, x3, [x1]", 0xf0, 0x0f, 0xff},
		{"ldsmaxb w2, w3, [x1]", 1, 0x80, 1},
		{"ldsminh w2, w3, [x1]", 0x8000, 1, 0x8000},
		{"ldumax w2, w3, [x1]", 0x80000000, 1, 0x80000000},
		{"ldumin x2, x3, [x1]", 7, 9, 7},
		{"swp x2, x3, [x1]", 7, 9, 7},
	};
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
		const char *text = examples[i].text;
		uint64_t mask = strchr(text, 'x') < strchr(text, '[') ? UINT64_MAX : UINT32_MAX;
		put(r, 64, examples[i].before);
		r->cpu.x[2] = examples[i].operand;
		runs(r, text);
		if (strstr(text, "b w"))
			mask = 0xff;
		if (strstr(text, "h w"))
			mask = 0xffff;
		if (r->cpu.x[3] != (examples[i].before & mask) || word_at(r, 64) != examples[i].after)
			fail_msg("%s: %#lx, %#lx", text, r->cpu.x[3], word_at(r, 64));
	}
}

static void compare_and_swap_only_what_is_expected(void **state)
{
	struct rig *r = *state;

	put(r, 64, 0x1234);
	r->cpu.x[2] = 0x1200;
	r->cpu.x[3] = 0xff;
	runs(r, "cas x2, x3, [x1]");
	assert_int_equal(r->cpu.x[2], 0x1234);
	assert_int_equal(word_at(r, 64), 0x1234);
	runs(r, "casalb w2, w3, [x1]"); /* 0x34 stands there */
	assert_int_equal(r->cpu.x[2], 0x34);
	assert_int_equal(word_at(r, 64), 0x12ff);
	put(r, 72, 0x55);
	r->cpu.x[4] = 0x12ff;
	r->cpu.x[5] = 0x55;
	r->cpu.x[6] = 6;
	r->cpu.x[7] = 7;
	runs(r, "caspal x4, x5, x6, x7, [x1]");
	assert_int_equal(word_at(r, 64), 6);
	assert_int_equal(word_at(r, 72), 7);
	runs(r, "casp w4, w5, w6, w7, [x1]"); /* 0x12ff, 0x55 are not there */
	assert_int_equal(r->cpu.x[4], 6);
	assert_int_equal(r->cpu.x[5], 0);
}

static void dc_zva_clears_a_line(void **state)
{
	struct rig *r = *state;

	memset(r->data, 0xff, 256);
	r->cpu.x[1] = (uint64_t)r->data + 64 + 17;
	runs(r, "dc zva, x1");
	assert_int_equal(r->data[63], 0xff);
	for (size_t i = 64; i < 128; i++)
		assert_int_equal(r->data[i], 0);
	assert_int_equal(r->data[128], 0xff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_way_to_name_an_address, setup, teardown),
		cmocka_unit_test_setup_teardown(sizes_and_signs, setup, teardown),
		cmocka_unit_test_setup_teardown(pairs, setup, teardown),
		cmocka_unit_test_setup_teardown(a_tag_in_the_top_byte_is_ignored, setup, teardown),
		cmocka_unit_test_setup_teardown(an_access_that_faults_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_misaligned_stack_pointer_is_no_base, setup, teardown),
		cmocka_unit_test_setup_teardown(accesses_that_must_be_aligned_say_so, setup, teardown),
		cmocka_unit_test_setup_teardown(a_store_exclusive_needs_what_was_loaded, setup, teardown),
		cmocka_unit_test_setup_teardown(exclusive_bytes_and_pairs, setup, teardown),
		cmocka_unit_test_setup_teardown(atomics_return_what_was_there, setup, teardown),
		cmocka_unit_test_setup_teardown(compare_and_swap_only_what_is_expected, setup, teardown),
		cmocka_unit_test_setup_teardown(dc_zva_clears_a_line, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
