/*
 * Packed and plain relocations of objects linked here, and tables that lie.
 */
#include "fixture.h"

#include <stdlib.h>

#include "base/bits.h"

static const char table_c[] = "static int numbers[200];\n"
			      "int *pointers[200] = {\n"
			      "#define P(n) [n] = &numbers[n], [n + 1] = &numbers[n + 1], [n + 3] = &numbers[n + 3],\n"
			      "P(0) P(10) P(63) P(64) P(70) P(127) P(128) P(190)\n"
			      "};\n";

static int compile(void **state)
{
	write_text("table.c", table_c);
	shell("gcc -O1 -fPIC -c table.c");
	shell("gcc -shared -nostdlib -o plain.so table.o");
	shell("gcc -shared -nostdlib -Wl,-z,pack-relative-relocs -o bfd.so table.o");
	shell("ld.lld -shared --pack-dyn-relocs=relr -o lld.so table.o");
	return 0;
}

/* The indexes of `pointers` that are relocated, and what they will point to. */
static size_t check_pointers(struct lp_elf *e, bool seen[200])
{
	uint64_t pointers = symbol_named(e, LP_DYNSYM, "pointers").value;
	uint64_t numbers = symbol_named(e, LP_SYMTAB, "numbers").value;
	struct lp_elf_rela_iter it = {0};
	struct lp_elf_rela r;
	size_t nr = 0;
	while (lp_elf_rela_next(e, &it, &r, NULL) == 1) {
		if (r.offset < pointers || r.offset >= pointers + 200 * 8)
			continue;
		uint64_t index = (r.offset - pointers) / 8;
		assert_int_equal(r.type, R_X86_64_RELATIVE);
		assert_int_equal(r.sym, 0);
		assert_int_equal((uint64_t)r.addend, numbers + 4 * index);
		assert_false(seen[index]);
		seen[index] = true;
		nr++;
	}
	return nr;
}

static void packed_relocations_say_the_same_as_plain_ones(void **state)
{
	static const char *const packed[] = {"bfd.so", "lld.so"};
	bool plain[200] = {0};
	struct lp_elf *e = open_elf(scratch("plain.so"));
	uint64_t value;
	assert_false(lp_elf_dynamic(e, DT_RELR, &value));
	assert_int_equal(check_pointers(e, plain), 22); /* P(63) and P(64) share one, so do P(127) and P(128) */
	lp_elf_close(e);
	for (size_t i = 0; i < LP_ARRAY_SIZE(packed); i++) {
		bool seen[200] = {0};
		e = open_elf(scratch(packed[i]));
		assert_true(lp_elf_dynamic(e, DT_RELR, &value));
		assert_int_equal(check_pointers(e, seen), 22);
		assert_memory_equal(seen, plain, sizeof seen);
		lp_elf_close(e);
	}
}

static int last_result(struct lp_elf *e, struct lp_err *err)
{
	struct lp_elf_rela_iter it = {0};
	struct lp_elf_rela r;
	int rc;
	while ((rc = lp_elf_rela_next(e, &it, &r, err)) == 1)
		;
	return rc;
}

/* Where a dynamic entry stands in the file. */
static Elf64_Dyn *entry(uint8_t *bytes, const struct lp_elf *e, int64_t tag)
{
	const Elf64_Phdr *p = lp_elf_phdr_find(e, PT_DYNAMIC);
	Elf64_Dyn *d = (Elf64_Dyn *)(bytes + p->p_offset);
	while (d->d_tag != tag) {
		assert_int_not_equal(d->d_tag, DT_NULL);
		d++;
	}
	return d;
}

static void assert_refused(const uint8_t *bytes, size_t len, const char *why)
{
	struct lp_elf *e;
	struct lp_err err = {0};
	assert_int_equal(lp_elf_from_bytes(&e, bytes, len, "bad", &err), 0);
	assert_int_equal(last_result(e, &err), -LP_EELF);
	if (!strstr(err.text, why))
		fail_msg("expected '%s' in '%s'", why, err.text);
	lp_elf_close(e);
}

static void a_relocation_table_that_lies_is_refused_with_a_reason(void **state)
{
	static const struct {
		int64_t tag;
		uint64_t value;
		const char *why;
	} lies[] = {
		{DT_RELRSZ, 1 << 30, "DT_RELR lies outside the file"},
		{DT_RELRSZ, 9, "DT_RELR is not a whole number of entries"},
		{DT_RELRENT, 4, "DT_RELR has entries of another size"},
		{DT_RELR, UINT64_MAX - 8, "DT_RELR lies outside the file"},
	};
	size_t len;
	struct lp_elf *e = open_elf(scratch("bfd.so"));
	for (size_t i = 0; i < LP_ARRAY_SIZE(lies); i++) {
		uint8_t *bytes = slurp(scratch("bfd.so"), &len);
		entry(bytes, e, lies[i].tag)->d_un.d_val = lies[i].value;
		assert_refused(bytes, len, lies[i].why);
		lp_free(bytes);
	}
	lp_elf_close(e);
}

static void packed_words_that_make_no_sense_are_refused(void **state)
{
	size_t len;
	struct lp_elf *e = open_elf(scratch("bfd.so"));
	const Elf64_Shdr *relr = lp_elf_section_find(e, ".relr.dyn");
	assert_non_null(relr);
	uint8_t *bytes = slurp(scratch("bfd.so"), &len);
	lp_put64(bytes + relr->sh_offset, 0xff);
	assert_refused(bytes, len, "DT_RELR starts with a bitmap");
	lp_put64(bytes + relr->sh_offset, 0x123456780);
	assert_refused(bytes, len, "DT_RELR names 0x123456780, which is not in the file");
	lp_free(bytes);
	lp_elf_close(e);
}

static void the_plt_counted_twice_is_walked_once(void **state)
{
	write_text("calls.c", "void a(void); void b(void); void f(void) { a(); b(); }\n");
	shell("gcc -O0 -fPIC -shared -nostdlib -Wl,-z,lazy -o calls.so calls.c");
	size_t len;
	struct lp_elf *e = open_elf(scratch("calls.so")), *twice;
	uint8_t *bytes = slurp(scratch("calls.so"), &len);
	uint64_t jmprel, size;
	assert_true(lp_elf_dynamic(e, DT_JMPREL, &jmprel));
	assert_true(lp_elf_dynamic(e, DT_PLTRELSZ, &size));
	/* With nothing but a PLT, an entry that nobody reads and the terminator can say DT_RELA. */
	Elf64_Dyn *d = entry(bytes, e, DT_PLTGOT);
	*d = (Elf64_Dyn){DT_RELA, {jmprel}};
	Elf64_Dyn *null = entry(bytes, e, DT_JMPREL);
	while (null->d_tag != DT_NULL)
		null++;
	*null = (Elf64_Dyn){DT_RELASZ, {size}};
	assert_int_equal(lp_elf_from_bytes(&twice, bytes, len, "twice", NULL), 0);
	struct lp_elf_rela_iter it = {0}, it2 = {0};
	struct lp_elf_rela a, b;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(lp_elf_rela_next(e, &it, &a, NULL), 1);
		assert_int_equal(lp_elf_rela_next(twice, &it2, &b, NULL), 1);
		assert_int_equal(a.offset, b.offset);
	}
	assert_int_equal(lp_elf_rela_next(e, &it, &a, NULL), 0);
	assert_int_equal(lp_elf_rela_next(twice, &it2, &b, NULL), 0);
	lp_elf_close(twice);
	lp_elf_close(e);
	lp_free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packed_relocations_say_the_same_as_plain_ones),
		cmocka_unit_test(a_relocation_table_that_lies_is_refused_with_a_reason),
		cmocka_unit_test(packed_words_that_make_no_sense_are_refused),
		cmocka_unit_test(the_plt_counted_twice_is_walked_once),
	};
	return cmocka_run_group_tests(tests, compile, NULL);
}
