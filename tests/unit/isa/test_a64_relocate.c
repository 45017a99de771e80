/* Moved aarch64 instructions: what they become near and far, and which are refused. */
#include "moved.h"

#include "base/bits.h"

#define FROM UINT64_C(0x10000000)
#define NEAR UINT64_C(0x10010000)    /* every distance fits */
#define MIDDLE UINT64_C(0x13000000)  /* only b and adrp fit */
#define FAR UINT64_C(0x7f0000000000) /* nothing fits */

#define B_OVER(n) (0x14000000u | (n))
#define BR(n) (0xd61f0000u | (n) << 5)
#define RET(n) (0xd65f0000u | (n) << 5)
#define LDR_LIT(reg, words) (0x58000000u | (words) << 5 | (reg))

static const struct lp_isa *const isa = &lp_isa_a64;

/* `need` bytes of these instructions, which are a whole function, leave for `to`. */
#define MOVE(to_, need_, ...) move_request((to_), (need_), (uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}))

static struct lp_move_request move_request(lp_addr to, size_t need, const uint32_t *code, size_t len)
{
	return (struct lp_move_request){
		.from = FROM,
		.code = (const uint8_t *)code,
		.code_len = len,
		.need = need,
		.to = to,
		.room = LP_MOVED_MAX,
		.function = FROM,
		.function_code = (const uint8_t *)code,
		.function_size = len,
	};
}

static void assert_words_(const struct lp_moved *m, const uint32_t *words, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		if (lp_get32(m->bytes + 4 * i) != words[i])
			fail_msg("word %zu is %08x instead of %08x", i, lp_get32(m->bytes + 4 * i), words[i]);
	}
	assert_int_equal(m->len, 4 * nr);
}
#define assert_words(m, ...) assert_words_((m), (uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}) / 4)

#define WORDS_OF(v) (uint32_t)(v), (uint32_t)((uint64_t)(v) >> 32)

static uint32_t b(lp_addr at, lp_addr to)
{
	return 0x14000000 | ((uint32_t)((to - at) >> 2) & 0x03ffffff);
}

/* ---- the common case ---- */

static void an_instruction_without_pc_is_copied_and_jumped_behind(void **state)
{
	struct lp_moved m = moved(MOVE(NEAR, 4, 0xa9bf7bfd, 0x910003fd)); /* stp x29, x30, [sp, #-16]! */

	assert_int_equal(m.taken, 4);
	assert_words(&m, 0xa9bf7bfd, b(NEAR + 4, FROM + 4));
	assert_map(&m, {0, 0}, {4, 4});
}

static void two_leave_with_a_signed_return_address(void **state)
{
	struct lp_moved m = moved(MOVE(NEAR, 8, 0xd503233f, 0xa9bf7bfd, 0x910003fd)); /* paciasp */

	assert_int_equal(m.taken, 8);
	assert_words(&m, 0xd503233f, 0xa9bf7bfd, b(NEAR + 8, FROM + 8));
}

static void nothing_comes_behind_a_return_or_a_jump(void **state)
{
	struct lp_moved m = moved(MOVE(NEAR, 4, 0xd65f03c0));

	assert_words(&m, 0xd65f03c0);
	m = moved(MOVE(NEAR, 4, B_OVER(0x100)));
	assert_words(&m, b(NEAR, FROM + 0x400));
	refused(MOVE(NEAR, 8, 0xd65f03c0, 0xa9bf7bfd), LP_ETOOSHORT);
}

/* ---- addresses ---- */

static void an_address_is_counted_anew_or_loaded_whole(void **state)
{
	struct lp_moved m = moved(MOVE(NEAR, 4, 0x10000043, 0xd503201f)); /* adr x3, .+8 */

	assert_words(&m, 0x10000003u | ((uint32_t)((int64_t)(FROM + 8 - NEAR) >> 2) & 0x7ffff) << 5,
		     b(NEAR + 4, FROM + 4));
	m = moved(MOVE(MIDDLE, 4, 0x10000043, 0xd503201f));
	assert_words(&m, LDR_LIT(3u, 2u), b(MIDDLE + 4, FROM + 4), WORDS_OF(FROM + 8));
	m = moved(MOVE(MIDDLE, 4, 0xb0000003, 0xd503201f)); /* adrp x3, .+4096 */
	assert_words(&m,
		     0x90000003u | ((uint32_t)((int64_t)(FROM + 0x1000 - MIDDLE) >> 12) & 3) << 29 |
			     ((uint32_t)((int64_t)(FROM + 0x1000 - MIDDLE) >> 14) & 0x7ffff) << 5,
		     b(MIDDLE + 4, FROM + 4));
	m = moved(MOVE(FAR, 4, 0xb0000003, 0xd65f03c0));
	assert_words(&m, LDR_LIT(3u, 4u), LDR_LIT(17u, 5u), BR(17u), 0, WORDS_OF(FROM + 0x1000), WORDS_OF(FROM + 4));
}

static void literals_are_loaded_from_where_they_are(void **state)
{
	struct lp_moved m = moved(MOVE(NEAR, 4, 0x58000043, 0xd65f03c0)); /* ldr x3, .+8 */

	assert_words(&m, 0x58000003u | ((uint32_t)((int64_t)(FROM + 8 - NEAR) >> 2) & 0x7ffff) << 5,
		     b(NEAR + 4, FROM + 4));
	m = moved(MOVE(MIDDLE, 4, 0x58000043, 0xd65f03c0));
	assert_words(&m, LDR_LIT(3u, 4u), 0xf9400063, b(MIDDLE + 8, FROM + 4), 0, WORDS_OF(FROM + 8));
	m = moved(MOVE(MIDDLE, 4, 0x18000043, 0xd65f03c0)); /* ldr w3 */
	assert_words(&m, LDR_LIT(3u, 4u), 0xb9400063, b(MIDDLE + 8, FROM + 4), 0, WORDS_OF(FROM + 8));
	m = moved(MOVE(MIDDLE, 4, 0x98000043, 0xd65f03c0)); /* ldrsw x3 */
	assert_words(&m, LDR_LIT(3u, 4u), 0xb9800063, b(MIDDLE + 8, FROM + 4), 0, WORDS_OF(FROM + 8));
	m = moved(MOVE(MIDDLE, 4, 0xd8000043, 0xd65f03c0)); /* prfm: a hint */
	assert_words(&m, 0xd503201f, b(MIDDLE + 4, FROM + 4));
}

static void a_vector_literal_borrows_a_register(void **state)
{
	static const uint32_t load[] = {0xbd400223, 0xfd400223, 0x3dc00223};

	for (uint32_t size = 0; size < 3; size++) {
		struct lp_moved m = moved(MOVE(MIDDLE, 4, 0x1c000043u | size << 30, 0xd65f03c0)); /* ldr s3, d3, q3 */

		assert_words(&m, 0xf81f0ff1, LDR_LIT(17u, 5u), load[size], 0xf84107f1, b(MIDDLE + 16, FROM + 4), 0,
			     WORDS_OF(FROM + 8));
	}
	/* ldr xzr: register 31 as a base would be sp */
	struct lp_moved m = moved(MOVE(MIDDLE, 4, 0x5800005f, 0xd65f03c0));

	assert_words(&m, 0xf81f0ff1, LDR_LIT(17u, 5u), 0xf940023f, 0xf84107f1, b(MIDDLE + 16, FROM + 4), 0,
		     WORDS_OF(FROM + 8));
	refused(MOVE(NEAR, 4, 0xdc000043, 0xd65f03c0), LP_EENCODING);
}

static void what_refers_to_the_bytes_that_leave_is_refused(void **state)
{
	refused(MOVE(NEAR, 8, 0x10000023, 0xd503201f, 0xd65f03c0), LP_EBRANCHED); /* adr x3, .+4 */
	refused(MOVE(NEAR, 8, 0x58000023, 0xd503201f, 0xd65f03c0), LP_EBRANCHED);
	moved(MOVE(NEAR, 8, 0x10000003, 0xd503201f, 0xd65f03c0)); /* its own entry */
}

/* ---- branches ---- */

static void conditional_branches_are_inverted_around_a_longer_one(void **state)
{
	static const struct {
		uint32_t insn, inverted, fields;
	} branches[] = {
		{0x54000000, 0x54000001, 0xff00001f}, /* b.eq */
		{0x5400000b, 0x5400000a, 0xff00001f}, /* b.lt */
		{0x34000005, 0x35000005, 0xff00001f}, /* cbz w5 */
		{0xb5000005, 0xb4000005, 0xff00001f}, /* cbnz x5 */
		{0x36180005, 0x37180005, 0xfff8001f}, /* tbz w5, #3 */
		{0xb7180005, 0xb6180005, 0xfff8001f}, /* tbnz x5, #35 */
	};

	for (size_t i = 0; i < sizeof branches / sizeof branches[0]; i++) {
		struct lp_moved m = moved(MOVE(NEAR, 4, branches[i].insn | 8u << 5, 0xd503201f));

		/* The 16 bits of tbz reach 32 KiB: not that far. */
		if ((branches[i].insn & 0x7e000000) != 0x36000000) {
			assert_int_equal(m.len, 8);
			assert_int_equal(lp_get32(m.bytes) & branches[i].fields, branches[i].insn);
		} else {
			assert_words(&m, branches[i].inverted | 2u << 5, b(NEAR + 4, FROM + 0x20),
				     b(NEAR + 8, FROM + 4));
		}
		m = moved(MOVE(MIDDLE, 4, branches[i].insn | 8u << 5, 0xd503201f));
		assert_words(&m, branches[i].inverted | 2u << 5, b(MIDDLE + 4, FROM + 0x20), b(MIDDLE + 8, FROM + 4));
		/* ret at +4, where x17 is free; the branch leaves the function, where it is free, too */
		m = moved(MOVE(FAR, 4, branches[i].insn | 8u << 5, 0xd65f03c0));
		assert_words(&m, branches[i].inverted | 3u << 5, LDR_LIT(17u, 5u), BR(17u), LDR_LIT(17u, 5u), BR(17u),
			     0, WORDS_OF(FROM + 0x20), WORDS_OF(FROM + 4));
	}
	/* b.al is no condition */
	struct lp_moved m = moved(MOVE(MIDDLE, 4, 0x5400000eu | 8u << 5, 0xd503201f));

	assert_int_equal(lp_get32(m.bytes), b(MIDDLE, FROM + 0x20));
}

static void branches_among_the_moved_lead_to_the_moved(void **state)
{
	/* adr x3, .+16; cbz x0, .-4; tbz w1, #0, .-4 */
	struct lp_moved m = moved(MOVE(MIDDLE, 12, 0x10000083, 0xb4ffffe0, 0x3607ffe1, 0xd65f03c0));

	assert_words(&m, LDR_LIT(3u, 4u), 0xb4ffffe0, 0x3607ffe1, b(MIDDLE + 12, FROM + 12), WORDS_OF(FROM + 16));
}

static void a_branch_from_the_rest_of_the_function_into_the_middle_is_refused(void **state)
{
	assert_int_equal(refused(MOVE(NEAR, 8, 0xd503233f, 0xd503201f, 0x54ffffe0), LP_EBRANCHED).addr, FROM + 8);
	moved(MOVE(NEAR, 8, 0xd503233f, 0xd503201f, 0x54ffffc0)); /* to the first of them */
	moved(MOVE(NEAR, 4, 0xd503233f, 0xd503201f, 0x54ffffe0)); /* that one stays */
}

static void a_far_jump_takes_only_a_register_that_is_free(void **state)
{
	/* nop; add x0, x17, x0; ret: x17 is read, x16 is not */
	struct lp_moved m = moved(MOVE(FAR, 4, 0xd503201f, 0x8b000220, 0xd65f03c0));

	assert_words(&m, 0xd503201f, LDR_LIT(16u, 3u), BR(16u), 0, WORDS_OF(FROM + 4));
	/* both are read */
	refused(MOVE(FAR, 4, 0xd503201f, 0x8b110200, 0xd65f03c0), LP_EREACH);
	refused(MOVE(FAR, 4, 0xd503201f, 0xd503211f, 0xd65f03c0), LP_EREACH); /* pacia1716 */
	/* ... after a branch */
	refused(MOVE(FAR, 4, 0xd503201f, 0xb4000040, 0xd65f03c0, 0x8b110200, 0xd65f03c0), LP_EREACH);
	/* ... but written before: adrp x16; ldr x17 (its base is x16): x16 is free */
	m = moved(MOVE(FAR, 4, 0xd503201f, 0x90000010, 0xf9400211, 0x91000210, BR(17u)));
	assert_words(&m, 0xd503201f, LDR_LIT(16u, 3u), BR(16u), 0, WORDS_OF(FROM + 4));
	/* wherever a computed jump goes, something may be read */
	refused(MOVE(FAR, 4, 0xd503201f, BR(1u)), LP_EREACH);
}

static void a_far_jump_into_a_bti_page_is_a_return(void **state)
{
	struct lp_move_request req = MOVE(FAR, 4, 0xd503201f, 0xd65f03c0);
	struct lp_moved m;

	req.guarded = true;
	m = moved(req);
	assert_words(&m, 0xd503201f, LDR_LIT(17u, 3u), RET(17u), 0, WORDS_OF(FROM + 4));
}

/* ---- calls ---- */

static void a_call_leaves_the_return_address_that_it_always_left(void **state)
{
	struct lp_moved m = moved(MOVE(NEAR, 4, 0x94000100, 0xd65f03c0)); /* bl .+0x400 */

	assert_words(&m, LDR_LIT(30u, 2u), b(NEAR + 4, FROM + 0x400), WORDS_OF(FROM + 4));
	m = moved(MOVE(FAR, 4, 0x94000100, 0xd65f03c0));
	assert_words(&m, LDR_LIT(30u, 4u), LDR_LIT(16u, 5u), BR(16u), 0, WORDS_OF(FROM + 4), WORDS_OF(FROM + 0x400));
	m = moved(MOVE(NEAR, 4, 0xd63f0060, 0xd65f03c0)); /* blr x3 */
	assert_words(&m, LDR_LIT(30u, 2u), 0xd61f0060, WORDS_OF(FROM + 4));
	m = moved(MOVE(NEAR, 4, 0xd73f0864, 0xd65f03c0)); /* blraa x3, x4 */
	assert_words(&m, LDR_LIT(30u, 2u), 0xd71f0864, WORDS_OF(FROM + 4));
	refused(MOVE(NEAR, 4, 0xd63f03c0, 0xd65f03c0), LP_EENCODING); /* blr x30 */
	refused(MOVE(NEAR, 8, 0x94000100, 0xd503201f, 0xd65f03c0), LP_EBRANCHED);
}

static void a_function_that_calls_itself_calls_what_stands_at_its_entry(void **state)
{
	struct lp_moved m = moved(MOVE(NEAR, 4, 0x94000000, 0xd65f03c0));

	assert_words(&m, LDR_LIT(30u, 2u), b(NEAR + 4, FROM), WORDS_OF(FROM + 4));
}

/* ---- refusals ---- */

static void what_is_no_code_or_not_known_is_refused(void **state)
{
	refused(MOVE(NEAR, 4, 0x00000000, 0xd65f03c0), LP_EENCODING);
	refused(MOVE(NEAR, 4, 0xd4200000, 0xd65f03c0), LP_EENCODING); /* brk #0 */
	refused(MOVE(NEAR, 4, 0x74000000, 0xd65f03c0), LP_EENCODING); /* cbgt */
	refused(MOVE(NEAR, 4, 0xdac1a3fe, 0xd65f03c0), LP_EENCODING); /* paciasppc */
	refused(MOVE(NEAR + 2, 4, 0xd503201f), LP_EENCODING);
	refused(MOVE(NEAR, 8, 0xd503201f), LP_ETOOSHORT);
	struct lp_move_request req = MOVE(NEAR, 4, 0xd503201f, 0xd65f03c0);

	req.room = 7;
	refused(req, LP_ERANGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_instruction_without_pc_is_copied_and_jumped_behind),
		cmocka_unit_test(two_leave_with_a_signed_return_address),
		cmocka_unit_test(nothing_comes_behind_a_return_or_a_jump),
		cmocka_unit_test(an_address_is_counted_anew_or_loaded_whole),
		cmocka_unit_test(literals_are_loaded_from_where_they_are),
		cmocka_unit_test(a_vector_literal_borrows_a_register),
		cmocka_unit_test(what_refers_to_the_bytes_that_leave_is_refused),
		cmocka_unit_test(conditional_branches_are_inverted_around_a_longer_one),
		cmocka_unit_test(branches_among_the_moved_lead_to_the_moved),
		cmocka_unit_test(a_branch_from_the_rest_of_the_function_into_the_middle_is_refused),
		cmocka_unit_test(a_far_jump_takes_only_a_register_that_is_free),
		cmocka_unit_test(a_far_jump_into_a_bti_page_is_a_return),
		cmocka_unit_test(a_call_leaves_the_return_address_that_it_always_left),
		cmocka_unit_test(a_function_that_calls_itself_calls_what_stands_at_its_entry),
		cmocka_unit_test(what_is_no_code_or_not_known_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
