/*
 * Decoding: the listing, the lengths, and all of libc.so.6 without a miss.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "isa/isa.h"
#include "object.h"

static const struct lp_isa *const isa = &lp_isa_x64;

static void a_listing_shows_absolute_targets(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *text;
	} rows[] = {
		{"\xe9\xfb\x0f\x00\x00", 5, "jmp 0x402000"},
		{"\xeb\xfe", 2, "jmp 0x401000"},
		{"\x0f\x84\x00\x01\x00\x00", 6, "jz 0x401106"},
		{"\xe8\x00\x00\x00\x00", 5, "call 0x401005"},
		{"\xff\x25\x00\x00\x00\x00", 6, "jmp [0x401006]"},
		{"\x48\x8d\x05\x10\x00\x00\x00", 7, "lea rax, [0x401017]"},
		{"\xf3\x0f\x1e\xfa", 4, "endbr64"},
		{"\x48\x89\xe5", 3, "mov rbp, rsp"},
		{"\x48\xb8\xef\xcd\xab\x89\x67\x45\x23\x01", 10, "mov rax, 0x123456789abcdef"},
		{"\x62\xf1\x7c\x48\x58\xc1", 6, "vaddps zmm0, zmm0, zmm1"},
		{"\xcc", 1, "int3"},
		{"\xc3", 1, "ret"},
	};
	char text[96];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(isa->disasm((const uint8_t *)rows[i].bytes, rows[i].len, 0x401000, text, sizeof text),
				 rows[i].len);
		assert_string_equal(text, rows[i].text);
	}
}

static void what_does_not_decode_has_no_length(void **state)
{
	char text[8] = "x";

	assert_int_equal(isa->insn_length((const uint8_t *)"\x06", 1, 0), 0);	      /* not in 64-bit mode */
	assert_int_equal(isa->insn_length((const uint8_t *)"\xe9\x00\x00", 3, 0), 0); /* cut short */
	assert_int_equal(isa->insn_length((const uint8_t *)"", 0, 0), 0);
	assert_int_equal(isa->disasm((const uint8_t *)"\x06", 1, 0, text, sizeof text), 0);
	assert_string_equal(text, "");
}

static void a_listing_that_does_not_fit_stays_inside_its_buffer(void **state)
{
	char text[] = "????????????????";

	assert_int_equal(isa->disasm((const uint8_t *)"\x48\xb8\xef\xcd\xab\x89\x67\x45\x23\x01", 10, 0, text, 6), 10);
	assert_non_null(memchr(text, '\0', 6));
	assert_string_equal(text + 6, "??????????");
	assert_int_equal(isa->disasm((const uint8_t *)"\xc3", 1, 0, NULL, 0), 1);
}

/* Every .text byte belongs to an instruction: a walk from the start arrives exactly at the end. */
static void walk_text(const char *path)
{
	struct object o = object_open(path);
	const Elf64_Shdr *text = object_section(&o, ".text");
	const uint8_t *code = o.bytes + text->sh_offset;
	size_t offset = 0, count = 0;

	assert_int_equal(o.eh->e_machine, EM_X86_64);
	for (; offset < text->sh_size; count++) {
		size_t len = isa->insn_length(code + offset, text->sh_size - offset, text->sh_addr + offset);

		if (!len)
			fail_msg("%s: no instruction at 0x%lx", path, text->sh_addr + offset);
		offset += len;
	}
	assert_int_equal(offset, text->sh_size);
	print_message("%s: %zu instructions\n", path, count);
	assert_true(count > 100000);
	object_close(&o);
}

static void all_of_libc_decodes_without_a_miss(void **state)
{
	const char *path = "/lib/x86_64-linux-gnu/libc.so.6";

	if (access(path, R_OK))
		skip();
	walk_text(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_listing_shows_absolute_targets),
		cmocka_unit_test(what_does_not_decode_has_no_length),
		cmocka_unit_test(a_listing_that_does_not_fit_stays_inside_its_buffer),
		cmocka_unit_test(all_of_libc_decodes_without_a_miss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
