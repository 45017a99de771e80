/*
 * aarch64 on the host: where a jump can stand, exact reach, and the listing
 * beside objdump's.  What the code does when it runs is in run_a64.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "isa/isa.h"
#include "object.h"

#define ENTRY UINT64_C(0x400000)

static const struct lp_isa *const isa = &lp_isa_a64;

enum {
	NOP = 0xd503201f,
	RET = 0xd65f03c0,
	BTI = 0xd503241f,
	BTI_C = 0xd503245f,
	BTI_J = 0xd503249f,
	BTI_JC = 0xd50324df,
	PACIASP = 0xd503233f,
	PACIBSP = 0xd503237f,
	STP = 0xa9bf7bfd, /* stp x29, x30, [sp, #-16]! */
};

/* Whole words; the first `size` bytes are the function, the rest is padding. */
#define REQUEST(size_, ...)                                                              \
	(struct lp_entry_request)                                                        \
	{                                                                                \
		.addr = ENTRY, .code = (const uint8_t *)(const uint32_t[]){__VA_ARGS__}, \
		.code_len = sizeof((const uint32_t[]){__VA_ARGS__}), .size = (size_),    \
		.pad = sizeof((const uint32_t[]){__VA_ARGS__}) - (size_),                \
	}

static struct lp_entry_request live(struct lp_entry_request req)
{
	req.body_stays_live = true;
	return req;
}

static void assert_jump(struct lp_entry_request req, lp_addr at, size_t len)
{
	struct lp_err err = {0};
	struct lp_entry e;

	if (isa->entry(&req, &e, &err))
		fail_msg("refused: %s", err.text);
	assert_int_equal(e.shape, LP_ENTRY_DIRECT);
	assert_int_equal(e.jump_at, at);
	assert_int_equal(e.jump_len, len);
}

static void assert_refused(struct lp_entry_request req, int code)
{
	struct lp_err err = {0};
	struct lp_entry e;
	int rc = isa->entry(&req, &e, &err);

	if (rc != -code)
		fail_msg("expected %s, got %d: %s", lp_err_name(code), rc, err.text);
	assert_int_equal(err.code, rc);
	assert_true(err.text[0]);
}

static bool is_revisited(struct lp_entry_request req)
{
	struct lp_entry e;

	assert_int_equal(isa->entry(&req, &e, NULL), 0);
	return e.revisited;
}

static void one_instruction_is_enough(void **state)
{
	assert_jump(REQUEST(4, RET), ENTRY, 4);
	assert_jump(REQUEST(8, NOP, RET), ENTRY, 4);
	assert_jump(REQUEST(8, STP, RET), ENTRY, 4);
	assert_jump(REQUEST(0, RET), ENTRY, 4);
	assert_jump(REQUEST(4, 0x14000400), ENTRY, 4); /* b: patched before, or a thunk */
}

static void the_jump_stands_behind_a_landing_pad(void **state)
{
	assert_jump(REQUEST(8, BTI_C, RET), ENTRY + 4, 4);
	assert_jump(REQUEST(8, BTI_J, RET), ENTRY + 4, 4);
	assert_jump(REQUEST(8, BTI_JC, RET), ENTRY + 4, 4);
	assert_jump(REQUEST(8, BTI, RET), ENTRY + 4, 4);
	assert_jump(REQUEST(0, BTI_C, RET), ENTRY + 4, 4);
}

static void a_signing_entry_gets_a_landing_pad_of_its_own(void **state)
{
	struct lp_entry e = {.shape = LP_ENTRY_DIRECT, .jump_at = ENTRY, .jump_len = 8};
	struct lp_piece out[2];

	assert_jump(REQUEST(12, PACIASP, STP, RET), ENTRY, 8);
	assert_jump(REQUEST(12, PACIBSP, STP, RET), ENTRY, 8);
	assert_int_equal(isa->entry_bytes(&e, ENTRY + 0x1000, out), 1);
	assert_int_equal(out[0].len, 8);
	assert_int_equal(lp_get32(out[0].bytes), BTI_C);
	assert_int_equal(lp_get32(out[0].bytes + 4), 0x140003ff); /* b .+0xffc */
}

static void a_landing_pad_alone_is_too_short_unless_dead_nops_follow(void **state)
{
	assert_refused(REQUEST(4, BTI_C), LP_ETOOSHORT);
	assert_refused(REQUEST(4, PACIASP), LP_ETOOSHORT);
	assert_refused(REQUEST(4, BTI_C, NOP), LP_ETOOSHORT); /* falls into whatever the NOP belongs to */
	assert_refused(REQUEST(0), LP_ETOOSHORT);
}

static void what_is_no_code_is_refused(void **state)
{
	struct lp_entry_request crooked = REQUEST(4, RET), cut = REQUEST(4, RET);

	assert_refused(REQUEST(4, 0), LP_EENCODING);
	crooked.addr += 2;
	assert_refused(crooked, LP_EENCODING);
	assert_refused(REQUEST(6, RET, RET), LP_EENCODING);
	cut.size = 4096;
	assert_refused(cut, LP_EENCODING);
}

static void every_kind_of_branch_into_the_replaced_bytes_is_found_when_the_body_stays_live(void **state)
{
	/* paciasp; 4: nop; 8: <branch to 4>; ret */
	static const uint32_t branches[] = {
		0x17ffffff, /* b .-4 */
		0x97ffffff, /* bl .-4 */
		0x54ffffe0, /* b.eq .-4 */
		0xb4ffffe0, /* cbz x0, .-4 */
		0x35ffffe0, /* cbnz w0, .-4 */
		0x3607ffe0, /* tbz w0, #0, .-4 */
		0xb7ffffe0, /* tbnz x0, #63, .-4 */
		0x10ffffe0, /* adr x0, .-4 */
	};

	for (size_t i = 0; i < sizeof branches / sizeof branches[0]; i++) {
		assert_refused(live(REQUEST(16, PACIASP, NOP, branches[i], RET)), LP_EBRANCHED);
		assert_jump(REQUEST(16, PACIASP, NOP, branches[i], RET), ENTRY, 8);
		/* one instruction farther on it leads to 8, just behind */
		assert_jump(live(REQUEST(16, PACIASP, NOP, NOP, branches[i])), ENTRY, 8);
		assert_jump(live(REQUEST(12, STP, branches[i], RET)), ENTRY, 4); /* to the jump itself */
	}
}

static void a_loop_to_the_entry_makes_it_revisited(void **state)
{
	assert_true(is_revisited(REQUEST(12, NOP, 0x54ffffe0 /* b.eq .-4 */, RET)));
	assert_true(is_revisited(REQUEST(16, BTI_C, NOP, 0x54ffffe0, RET)));
	assert_true(is_revisited(REQUEST(16, BTI_C, 0x54ffffe0, NOP, RET)));
	assert_false(is_revisited(REQUEST(12, NOP, 0x97ffffff /* bl .-4 */, RET)));
	assert_false(is_revisited(REQUEST(16, NOP, NOP, 0x54ffffe0, RET)));
}

static void reach_is_exact_to_the_instruction(void **state)
{
	const lp_addr at = UINT64_C(1) << 40, reach = UINT64_C(1) << 27;
	struct lp_entry e = {.shape = LP_ENTRY_DIRECT, .jump_at = at, .jump_len = 4};
	struct lp_entry with_pad = {.shape = LP_ENTRY_DIRECT, .jump_at = at - 4, .jump_len = 8};
	struct lp_piece out[2];

	for (int i = 0; i < 2; i++) {
		const struct lp_entry *p = i ? &with_pad : &e;

		assert_true(isa->reaches(p, at + reach - 4));
		assert_false(isa->reaches(p, at + reach));
		assert_true(isa->reaches(p, at - reach));
		assert_false(isa->reaches(p, at - reach - 4));
		assert_false(isa->reaches(p, at + 2)); /* no instruction stands there */
		assert_int_equal(isa->entry_bytes(p, at + reach, out), 0);
		assert_int_equal(isa->entry_bytes(p, at + reach - 4, out), 1);
		assert_int_equal(lp_get32(out[0].bytes + 4 * i), 0x15ffffff);
		assert_int_equal(isa->entry_bytes(p, at - reach, out), 1);
		assert_int_equal(lp_get32(out[0].bytes + 4 * i), 0x16000000);
		assert_true(isa->reaches(p, p->jump_at + isa->reach - 4));
		assert_true(isa->reaches(p, p->jump_at - isa->reach + 4));
	}
}

/* ---- the listing ---- */

static void the_listing_reads_what_we_write(void **state)
{
	uint8_t code[LP_IFUNC_STUB_MAX];
	char text[64];
	lp_addr initial;
	static const char *const island[] = {"ldr x16, 0x500008", "br x16"};
	static const char *const stub[] = {
		"bti c",
		"adrp x16, 0x502000",
		"ldr x16, [x16, #8]",
		"br x16",
		"bti c",
		"stp x29, x30, [sp, #-224]!",
		"mov x29, sp",
		"stp x0, x1, [sp, #16]",
		"stp x2, x3, [sp, #32]",
		"stp x4, x5, [sp, #48]",
		"stp x6, x7, [sp, #64]",
		"str x8, [sp, #80]",
		"stp q0, q1, [sp, #96]",
		"stp q2, q3, [sp, #128]",
		"stp q4, q5, [sp, #160]",
		"stp q6, q7, [sp, #192]",
		"mov x0, #0x0",
		"mov x1, #0x0",
		"ldr x16, 0x500088",
		"blr x16",
		"mov x16, x0",
		"adrp x17, 0x502000",
		"str x16, [x17, #8]",
		"ldp q6, q7, [sp, #192]",
		"ldp q4, q5, [sp, #160]",
		"ldp q2, q3, [sp, #128]",
		"ldp q0, q1, [sp, #96]",
		"ldr x8, [sp, #80]",
		"ldp x6, x7, [sp, #64]",
		"ldp x4, x5, [sp, #48]",
		"ldp x2, x3, [sp, #32]",
		"ldp x0, x1, [sp, #16]",
		"ldp x29, x30, [sp], #224",
		"br x16",
	};

	assert_int_equal(isa->island(code, 0x500000, 0x1234), 16);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(isa->disasm(code + 4 * i, 4, 0x500000 + 4 * i, text, sizeof text), 4);
		assert_string_equal(text, island[i]);
	}
	assert_int_equal(lp_get64(code + 8), 0x1234);
	assert_int_equal(isa->ifunc_stub(code, 0x500000, 0x502008, 0x1234, &initial), 0x90);
	assert_int_equal(initial, 0x500010);
	for (size_t i = 0; i < sizeof stub / sizeof stub[0]; i++) {
		assert_int_equal(isa->disasm(code + 4 * i, 4, 0x500000 + 4 * i, text, sizeof text), 4);
		assert_string_equal(text, stub[i]);
	}
	assert_int_equal(lp_get64(code + 0x88), 0x1234);
	assert_int_equal(isa->disasm(code, 3, 0, text, sizeof text), 0);
	assert_int_equal(isa->insn_length(code, 3, 0), 0);
	assert_int_equal(isa->insn_length(code, 4, 0), 4);
}

/* objdump's "mnemonic<TAB>operands <symbol> // comment" as we spell it; branch targets lack the 0x there. */
static void normalise(char *line)
{
	char *end = strstr(line, "//");

	if (end)
		*end = '\0';
	if ((end = strchr(line, '<')))
		*end = '\0';
	for (char *p = line; *p; p++) {
		if (*p == '\t')
			*p = ' ';
	}
	for (size_t len = strlen(line); len && strchr(" \n\t", line[len - 1]); len--)
		line[len - 1] = '\0';
}

/* Ours without "0x" in front of an address that ends the line, to compare with objdump's. */
static void drop_last_0x(char *line)
{
	char *last = strrchr(line, ' ');

	if (last && !strncmp(last + 1, "0x", 2))
		memmove(last + 1, last + 3, strlen(last + 3) + 1);
}

static void the_listing_agrees_with_objdump_on_a_whole_libc(void **state)
{
	const char *libc = "/usr/aarch64-linux-gnu/lib/libc.so.6";
	char line[512], command[256], ours[64], copy[64];
	size_t known = 0, unknown = 0;

	if (access(libc, R_OK) || !have_program("aarch64-linux-gnu-objdump"))
		skip();
	snprintf(command, sizeof command, "aarch64-linux-gnu-objdump -d -j .text %s", libc);
	FILE *f = popen(command, "re");
	assert_non_null(f);
	while (fgets(line, sizeof line, f)) {
		unsigned long at;
		uint32_t word;
		int used = 0;

		if (sscanf(line, " %lx: %8" SCNx32 " %n", &at, &word, &used) != 2 || !used)
			continue;
		assert_int_equal(isa->disasm((const uint8_t *)&word, 4, at, ours, sizeof ours), 4);
		if (!strncmp(ours, ".word", 5)) {
			unknown++;
			continue;
		}
		known++;
		normalise(line + used);
		strcpy(copy, ours);
		drop_last_0x(copy);
		if (strcmp(copy, line + used) && strcmp(ours, line + used))
			fail_msg("0x%lx: %08x: ours '%s', objdump's '%s'", at, word, ours, line + used);
	}
	assert_int_equal(pclose(f), 0);
	print_message("%zu instructions as objdump shows them, %zu as words\n", known, unknown);
	assert_true(known > 100000);
}

static void an_isa_is_found_by_its_elf_machine(void **state)
{
	assert_ptr_equal(lp_isa_of(EM_AARCH64), &lp_isa_a64);
	assert_ptr_equal(lp_isa_of(EM_X86_64), &lp_isa_x64);
	assert_null(lp_isa_of(EM_386));
	assert_string_equal(lp_isa_of(EM_AARCH64)->name, "aarch64");
	assert_string_equal(lp_isa_of(EM_X86_64)->name, "x86_64");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_instruction_is_enough),
		cmocka_unit_test(the_jump_stands_behind_a_landing_pad),
		cmocka_unit_test(a_signing_entry_gets_a_landing_pad_of_its_own),
		cmocka_unit_test(a_landing_pad_alone_is_too_short_unless_dead_nops_follow),
		cmocka_unit_test(what_is_no_code_is_refused),
		cmocka_unit_test(every_kind_of_branch_into_the_replaced_bytes_is_found_when_the_body_stays_live),
		cmocka_unit_test(a_loop_to_the_entry_makes_it_revisited),
		cmocka_unit_test(reach_is_exact_to_the_instruction),
		cmocka_unit_test(the_listing_reads_what_we_write),
		cmocka_unit_test(the_listing_agrees_with_objdump_on_a_whole_libc),
		cmocka_unit_test(an_isa_is_found_by_its_elf_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
