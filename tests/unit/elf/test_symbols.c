/*
 * Symbols of files that are compiled here: source files of local symbols,
 * versions, lookup by name and by address, and what remains after strip.
 */
#include "fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const char one_c[] = "static int counter;\n"
			    "__attribute__((noinline)) static int helper(int x) { return counter += x; }\n"
			    "int exported(int x) { return helper(x) + 1; }\n";
static const char two_c[] = "static int counter = 5;\n"
			    "__attribute__((noinline)) static int helper(int x) { return counter -= x; }\n"
			    "int other(int x) { return helper(x) + 2; }\n"
			    "int old_api(void) { return 1; }\n"
			    "int new_api(void) { return 2; }\n"
			    "__asm__(\".symver old_api, api@V1\\n.symver new_api, api@@V2\");\n";
static const char map[] = "V1 { global: exported; other; api; local: *; };\nV2 { global: api; } V1;\n";
static const char labels_s[] = ".text\n.globl first\nfirst: .skip 16, 0x90\n"
			       ".globl sized\n.type sized, @function\nsized: .skip 16, 0x90\n.size sized, 8\n"
			       ".type inner, @object\ninner = sized + 4\n.size inner, 2\n"
			       ".globl last\nlast: .skip 5, 0x90\n"
			       ".section .text.far, \"ax\"\n.skip 64, 0x90\n"
			       ".data\n.globl word\nword: .quad first\n"
			       ".section .note.GNU-stack, \"\", @progbits\n";

static int compile(void **state)
{
	write_text("one.c", one_c);
	write_text("two.c", two_c);
	write_text("lib.map", map);
	write_text("labels.s", labels_s);
	shell("gcc -O1 -g -fPIC -c one.c two.c");
	shell("gcc -shared -Wl,--version-script=lib.map -Wl,-soname,libtwo.so.2 -o lib.so one.o two.o");
	shell("cp lib.so stripped.so && strip stripped.so");
	shell("gcc -nostdlib -nostartfiles -static -Wl,-e,first -Wl,-z,separate-code -Wl,--no-gc-sections -o labels "
	      "labels.s");
	write_text("main.c",
		   "#include <stdio.h>\nint api(void); int main(void) { return printf(\"%d\", api()) < 0; }\n");
	shell("gcc -O1 -o pie main.c ./lib.so && gcc -O1 -no-pie -o nopie main.c ./lib.so");
	return 0;
}

static void a_local_symbol_knows_its_source_file_and_a_global_one_has_none(void **state)
{
	struct lp_elf *e = open_elf(scratch("lib.so"));
	struct lp_elf_sym a, b, c;
	size_t cursor = 0;
	assert_true(lp_elf_symbol_by_name(e, LP_SYMTAB, "helper", &cursor, &a));
	assert_true(lp_elf_symbol_by_name(e, LP_SYMTAB, "helper", &cursor, &b));
	assert_false(lp_elf_symbol_by_name(e, LP_SYMTAB, "helper", &cursor, &c));
	assert_string_equal(a.file, "one.c");
	assert_string_equal(b.file, "two.c");
	assert_true(a.index < b.index);
	assert_null(symbol_named(e, LP_SYMTAB, "exported").file);
	assert_null(symbol_named(e, LP_SYMTAB, "_DYNAMIC").file);
	lp_elf_close(e);
}

#ifndef UNLIMITED /* the heap of a sanitizer ends the program, and an emulator limits nothing */

/* Not a byte more for this process. */
static void use_up_memory(void)
{
	void *volatile p; /* a compiler would leave out what nobody uses */

	setrlimit(RLIMIT_DATA, &(struct rlimit){1, 1});
	for (size_t size = 1 << 30; size; size /= 2) {
		do
			p = malloc(size);
		while (p);
	}
}

static int find_without_memory(void)
{
	struct lp_elf *e = open_elf(scratch("lib.so")), *another;
	struct lp_elf_sym a, b, c;
	size_t cursor = 0;

	use_up_memory();
	if (!lp_elf_symbol_by_name(e, LP_SYMTAB, "helper", &cursor, &a) ||
	    !lp_elf_symbol_by_name(e, LP_SYMTAB, "helper", &cursor, &b) ||
	    lp_elf_symbol_by_name(e, LP_SYMTAB, "helper", &cursor, &c) || a.index >= b.index)
		return 1;
	lp_elf_close(e); /* gives enough back to begin, and not for the whole file */
	return lp_elf_open(&another, "/proc/self/exe", NULL) == -ENOMEM ? 0 : 2;
}

static void without_memory_symbols_are_found_and_files_are_refused(void **state)
{
	int status;
	pid_t child = fork();

	if (!child)
		_exit(find_without_memory());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}
#endif

static void the_version_in_a_symtab_name_is_taken_apart(void **state)
{
	struct lp_elf *e = open_elf(scratch("lib.so"));
	for (enum lp_symtab table = LP_SYMTAB; table <= LP_DYNSYM; table++) {
		struct lp_elf_sym s;
		size_t cursor = 0, seen = 0;
		while (lp_elf_symbol_by_name(e, table, "api", &cursor, &s)) {
			bool old = s.value == symbol_named(e, LP_SYMTAB, "old_api").value;
			assert_string_equal(s.version, old ? "V1" : "V2");
			assert_int_equal(s.version_hidden, old);
			seen++;
		}
		assert_int_equal(seen, 2);
	}
	lp_elf_close(e);

	e = open_elf(scratch("pie"));
	struct lp_elf_sym wanted = symbol_named(e, LP_SYMTAB, "api");
	assert_string_equal(wanted.version, "V2");
	assert_int_equal(wanted.shndx, SHN_UNDEF);
	assert_string_equal(symbol_named(e, LP_DYNSYM, "api").version, "V2");
	lp_elf_close(e);
}

static void a_stripped_library_keeps_its_dynamic_symbols(void **state)
{
	struct lp_elf *e = open_elf(scratch("stripped.so"));
	assert_int_equal(lp_elf_symbol_count(e, LP_SYMTAB), 0);
	assert_int_equal(symbol_named(e, LP_DYNSYM, "exported").type, STT_FUNC);
	size_t cursor = 0;
	struct lp_elf_sym s;
	assert_false(lp_elf_symbol_by_name(e, LP_DYNSYM, "helper", &cursor, &s));
	assert_false(lp_elf_symbol_by_name(e, LP_SYMTAB, "exported", &cursor, &s));
	assert_string_equal(lp_elf_soname(e), "libtwo.so.2");
	lp_elf_close(e);
}

static const char *name_at(struct lp_elf *e, uint64_t vaddr)
{
	struct lp_elf_sym s;
	return lp_elf_symbol_at(e, vaddr, &s) ? s.name : "(none)";
}

static void an_address_is_named_by_the_innermost_symbol_that_holds_it(void **state)
{
	struct lp_elf *e = open_elf(scratch("labels"));
	uint64_t first = symbol_named(e, LP_SYMTAB, "first").value;
	assert_string_equal(name_at(e, first), "first");
	assert_string_equal(name_at(e, first + 15), "first");
	assert_string_equal(name_at(e, first + 16), "sized");
	assert_string_equal(name_at(e, first + 19), "sized");
	assert_string_equal(name_at(e, first + 20), "inner");
	assert_string_equal(name_at(e, first + 22), "sized");
	lp_elf_close(e);
}

static void padding_behind_a_sized_function_and_other_sections_have_no_name(void **state)
{
	struct lp_elf *e = open_elf(scratch("labels"));
	uint64_t first = symbol_named(e, LP_SYMTAB, "first").value;
	assert_string_equal(name_at(e, first + 24), "(none)");
	assert_string_equal(name_at(e, first + 32), "last");
	assert_string_equal(name_at(e, first + 36), "last");
	assert_string_equal(name_at(e, first - 1), "(none)");
	assert_string_equal(name_at(e, 0), "(none)");
	assert_string_equal(name_at(e, UINT64_MAX), "(none)");
	lp_elf_close(e);
}

static void a_boundary_is_the_next_symbol_or_the_end_of_the_section(void **state)
{
	struct lp_elf *e = open_elf(scratch("labels"));
	uint64_t first = symbol_named(e, LP_SYMTAB, "first").value;
	const Elf64_Shdr *text = lp_elf_section_find(e, ".text");
	assert_int_equal(lp_elf_next_boundary(e, first), first + 16);
	assert_int_equal(lp_elf_next_boundary(e, first + 15), first + 16);
	assert_int_equal(lp_elf_next_boundary(e, first + 16), first + 20);
	assert_int_equal(lp_elf_next_boundary(e, first + 20), first + 32);
	assert_int_equal(lp_elf_next_boundary(e, first + 32), text->sh_addr + text->sh_size);
	assert_int_equal(lp_elf_next_boundary(e, 1), 0);
	assert_int_equal(lp_elf_next_boundary(e, UINT64_MAX), 0);
	lp_elf_close(e);
}

static void thread_local_space_does_not_cover_the_data_behind_it(void **state)
{
	write_text("tls.s", ".globl _start\n_start: nop\n.section .tbss, \"awT\", @nobits\n.skip 4096\n"
			    ".section .init_array, \"aw\"\n.globl word\nword: .quad 0\n");
	shell("gcc -nostdlib -static -o tls tls.s && strip -K word tls"); /* no _edata behind it */
	struct lp_elf *e = open_elf(scratch("tls"));
	uint64_t word = symbol_named(e, LP_SYMTAB, "word").value;
	const Elf64_Shdr *tbss = lp_elf_section_find(e, ".tbss");
	assert_true(word >= tbss->sh_addr && word < tbss->sh_addr + tbss->sh_size);
	assert_int_equal(lp_elf_next_boundary(e, word), word + 8);
	lp_elf_close(e);
}

static void without_sections_a_boundary_ends_with_the_segment(void **state)
{
	size_t len;
	struct lp_elf *e;
	uint8_t *bytes = slurp(scratch("labels"), &len);
	((Elf64_Ehdr *)bytes)->e_shoff = 0;
	assert_int_equal(lp_elf_from_bytes(&e, bytes, len, "labels", NULL), 0);
	uint64_t entry = lp_elf_header(e)->e_entry;
	for (size_t i = 0; i < lp_elf_phdr_count(e); i++) {
		const Elf64_Phdr *p = lp_elf_phdr(e, i);
		if (p->p_type == PT_LOAD && (p->p_flags & PF_X))
			assert_int_equal(lp_elf_next_boundary(e, entry), p->p_vaddr + p->p_memsz);
	}
	assert_string_equal(name_at(e, entry), "(none)");
	lp_elf_close(e);
	lp_free(bytes);
}

static void every_function_of_a_real_program_is_found_at_its_own_address(void **state)
{
	static const char *const programs[] = {"pie", "nopie", "lib.so"};
	for (size_t n = 0; n < LP_ARRAY_SIZE(programs); n++) {
		struct lp_elf *e = open_elf(scratch(programs[n]));
		struct lp_elf_sym s, at;
		size_t checked = 0;
		for (size_t i = 0; lp_elf_symbol(e, LP_SYMTAB, i, &s); i++) {
			if (s.type != STT_FUNC || s.shndx == SHN_UNDEF || !s.size)
				continue;
			assert_true(lp_elf_symbol_at(e, s.value + s.size - 1, &at));
			assert_int_equal(at.value, s.value);
			assert_int_equal(at.table, LP_SYMTAB);
			assert_true(lp_elf_next_boundary(e, s.value) >= s.value + s.size);
			checked++;
		}
		assert_true(checked >= 2);
		lp_elf_close(e);
	}
}

static void bytes_come_by_address_as_the_program_would_see_them(void **state)
{
	struct lp_elf *e = open_elf(scratch("labels"));
	struct lp_elf_sym word = symbol_named(e, LP_SYMTAB, "word"), first = symbol_named(e, LP_SYMTAB, "first");
	const uint8_t *p = lp_elf_bytes_at_vaddr(e, word.value, 8);
	assert_non_null(p);
	assert_memory_equal(p, &first.value, 8);
	size_t len;
	const Elf64_Shdr *data = lp_elf_section_find(e, ".data");
	assert_ptr_equal(p, lp_elf_section_data(e, data, &len));
	assert_int_equal(len, 8);
	assert_null(lp_elf_bytes_at_vaddr(e, word.value, 1 << 20));
	assert_null(lp_elf_bytes_at_vaddr(e, UINT64_MAX - 3, 8));
	lp_elf_close(e);
}

/* Not a stopwatch: a quadratic index needs hours for this, the right one a second. */
static void a_million_symbols_stay_usable(void **state)
{
	enum { MANY = 1000000 };
	FILE *f = fopen(scratch("many.s"), "w");
	assert_non_null(f);
	fprintf(f, ".text\n.globl _start\n_start:\n");
	for (int i = 0; i < MANY; i++)
		fprintf(f, "f%d: nop\n", i);
	assert_int_equal(fclose(f), 0);
	shell("as -o many.o many.s && ld -o many many.o && rm many.s many.o");
	struct lp_elf *e = open_elf(scratch("many"));
	assert_true(lp_elf_symbol_count(e, LP_SYMTAB) >= MANY);
	uint64_t base = symbol_named(e, LP_SYMTAB, "f0").value;
	for (int i = 0; i < MANY; i += 7) {
		char name[16];
		snprintf(name, sizeof name, "f%d", i);
		assert_int_equal(symbol_named(e, LP_SYMTAB, name).value, base + (uint64_t)i);
		if (i) /* _start is there too, and global */
			assert_string_equal(name_at(e, base + (uint64_t)i), name);
		assert_int_equal(lp_elf_next_boundary(e, base + (uint64_t)i), base + (uint64_t)i + 1);
	}
	lp_elf_close(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifndef UNLIMITED
		cmocka_unit_test(without_memory_symbols_are_found_and_files_are_refused),
#endif
		cmocka_unit_test(a_local_symbol_knows_its_source_file_and_a_global_one_has_none),
		cmocka_unit_test(the_version_in_a_symtab_name_is_taken_apart),
		cmocka_unit_test(a_stripped_library_keeps_its_dynamic_symbols),
		cmocka_unit_test(an_address_is_named_by_the_innermost_symbol_that_holds_it),
		cmocka_unit_test(padding_behind_a_sized_function_and_other_sections_have_no_name),
		cmocka_unit_test(a_boundary_is_the_next_symbol_or_the_end_of_the_section),
		cmocka_unit_test(thread_local_space_does_not_cover_the_data_behind_it),
		cmocka_unit_test(without_sections_a_boundary_ends_with_the_segment),
		cmocka_unit_test(every_function_of_a_real_program_is_found_at_its_own_address),
		cmocka_unit_test(bytes_come_by_address_as_the_program_would_see_them),
		cmocka_unit_test(a_million_symbols_stay_usable),
	};
	return cmocka_run_group_tests(tests, compile, NULL);
}
