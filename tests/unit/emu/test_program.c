#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "emu/program.h"
#include "small_program.h"

static int read_bytes(struct lp_program *out, const void *bytes, size_t len, struct lp_err *err)
{
	int fd = small_file(bytes, len), rc = lp_program_read(out, fd, "prog", err);

	close(fd);
	return rc;
}

static struct lp_program accepted(const struct small_program *p)
{
	struct lp_program out;
	struct lp_err err = {0};

	if (read_bytes(&out, p, sizeof *p, &err))
		fail_msg("%s", err.text);
	return out;
}

static void refused_bytes(const void *bytes, size_t len, const char *why)
{
	struct lp_program out;
	struct lp_err err = {0};

	assert_true(read_bytes(&out, bytes, len, &err) < 0);
	assert_ptr_equal(strstr(err.text, "prog: "), err.text);
	if (!strstr(err.text, why))
		fail_msg("\"%s\" does not say \"%s\"", err.text, why);
	lp_program_free(&out);
}

static void refused(const struct small_program *p, const char *why)
{
	refused_bytes(p, sizeof *p, why);
}

static void a_sound_program_is_read(void **state)
{
	struct small_program p = small_program();
	struct lp_program out;

	small_program_interpret(&p, "/lib/ld.so");
	out = accepted(&p);
	assert_true(out.is_pie);
	assert_true(out.has_bti);
	assert_false(out.has_exec_stack);
	assert_int_equal(out.entry, SMALL_CODE_AT);
	assert_int_equal(out.phdr_vaddr, 0x40);
	assert_int_equal(out.segments.nr, 2);
	assert_int_equal(out.segments.items[1].prot, PROT_READ | PROT_WRITE);
	assert_int_equal(out.span.start, 0);
	assert_int_equal(out.span.end, 0x6000);
	assert_int_equal(out.end, SMALL_DATA_AT + 0x100 + SMALL_BSS);
	assert_string_equal(out.interpreter, "/lib/ld.so");
	lp_program_free(&out);
}

static void another_machines_program_is_called_by_name(void **state)
{
	static const struct {
		unsigned machine, class, data;
		const char *name;
	} cases[] = {
		{EM_X86_64, ELFCLASS64, ELFDATA2LSB, "an x86-64 program"},
		{EM_ARM, ELFCLASS32, ELFDATA2LSB, "a 32-bit ARM program"},
		{EM_AARCH64, ELFCLASS32, ELFDATA2LSB, "ILP32"},
		{EM_AARCH64, ELFCLASS64, ELFDATA2MSB, "big-endian"},
		{4711, ELFCLASS64, ELFDATA2LSB, "machine 4711"},
	};

	for (size_t i = 0; i < LP_ARRAY_SIZE(cases); i++) {
		struct small_program p = small_program();
		p.ehdr.e_machine = (Elf64_Half)cases[i].machine;
		p.ehdr.e_ident[EI_CLASS] = (unsigned char)cases[i].class;
		p.ehdr.e_ident[EI_DATA] = (unsigned char)cases[i].data;
		refused(&p, cases[i].name);
		refused(&p, "AArch64");
	}
}

static void what_is_no_program_is_refused(void **state)
{
	struct small_program p = small_program();

	refused_bytes("", 0, "not a program");
	refused_bytes("\177ELF", 4, "not a program");
	refused_bytes("text\n", 5, "not a program");
	p.ehdr.e_type = ET_REL;
	refused(&p, "an object file");
	p.ehdr.e_type = ET_CORE;
	refused(&p, "a core file");
	p.ehdr.e_type = 77;
	refused(&p, "ELF type 77");
}

static void a_folder_is_refused(void **state)
{
	struct lp_program out;
	struct lp_err err = {0};
	int fd = open("/", O_RDONLY | O_CLOEXEC);

	assert_int_equal(lp_program_read(&out, fd, "/", &err), -EISDIR);
	close(fd);
}

static void headers_that_lie_are_refused(void **state)
{
	struct small_program p = small_program();

	p.ehdr.e_phnum = 0;
	refused(&p, "program headers");
	p.ehdr.e_phnum = 2000;
	refused(&p, "program headers");
	p = small_program();
	p.ehdr.e_phentsize = 32;
	refused(&p, "program headers");
	p = small_program();
	p.ehdr.e_phoff = SMALL_SIZE - 8;
	refused(&p, "beyond the end");
	p.ehdr.e_phoff = UINT64_MAX - 8;
	refused(&p, "beyond the end");
}

static void segments_that_lie_are_refused(void **state)
{
	struct small_program sound = small_program(), p = sound;
	Elf64_Phdr *text = &p.phdrs[SMALL_TEXT];

	text->p_filesz = text->p_memsz + 1;
	refused(&p, "more bytes in the file");
	p = sound;
	text->p_vaddr = UINT64_C(1) << 47;
	refused(&p, "2^47");
	text->p_vaddr = UINT64_MAX - 0xfff;
	refused(&p, "2^47");
	p = sound;
	text->p_memsz = UINT64_MAX;
	refused(&p, "2^47");
	p = sound;
	text->p_filesz = text->p_memsz = SMALL_SIZE + 1;
	refused(&p, "cut short");
	p = sound;
	text->p_offset = UINT64_MAX - 0xfff;
	refused(&p, "cut short");
	p = sound;
	text->p_vaddr = 0x10;
	refused(&p, "cannot be mapped");
	p = sound;
	text->p_type = p.phdrs[SMALL_DATA].p_type = PT_NULL;
	refused(&p, "nothing in it");
	p = sound;
	text->p_memsz = text->p_filesz = p.phdrs[SMALL_DATA].p_memsz = p.phdrs[SMALL_DATA].p_filesz = 0;
	refused(&p, "nothing in it");
}

static void an_interpreters_name_must_be_one(void **state)
{
	struct small_program p = small_program();
	Elf64_Phdr *interp = &p.phdrs[SMALL_INTERP];

	small_program_interpret(&p, "/lib/ld.so");
	interp->p_filesz = 1;
	refused(&p, "interpreter");
	interp->p_filesz = 4097;
	refused(&p, "interpreter");
	interp->p_filesz = 5; /* no NUL at its end */
	refused(&p, "interpreter is damaged");
	interp->p_filesz = 11;
	interp->p_offset = UINT64_MAX;
	refused(&p, "interpreter is damaged");
}

static void a_damaged_property_note_is_no_property(void **state)
{
	static const struct {
		size_t index;
		uint32_t value;
	} lies[] = {{0, 5}, {1, 17}, {1, 0xffffffff}, {1, 8}, {2, 1}, {3, 0}, {4, 0xc0000001}, {5, 0xffffffff}, {5, 0}};

	for (size_t i = 0; i < LP_ARRAY_SIZE(lies); i++) {
		struct small_program p = small_program();
		struct lp_program out;
		p.property[lies[i].index] = lies[i].value;
		out = accepted(&p);
		assert_false(out.has_bti);
		lp_program_free(&out);
	}
}

static void flags_of_the_stack_are_taken(void **state)
{
	struct small_program p = small_program();
	struct lp_program out;

	p.phdrs[SMALL_STACK].p_flags = PF_R | PF_W | PF_X;
	out = accepted(&p);
	assert_true(out.has_exec_stack);
	lp_program_free(&out);
	p.phdrs[SMALL_STACK].p_type = PT_NULL; /* says nothing: not executable on arm64 */
	out = accepted(&p);
	assert_false(out.has_exec_stack);
	lp_program_free(&out);
}

static void the_kind_of_a_file_is_in_its_first_bytes(void **state)
{
	struct small_program p = small_program();

	assert_int_equal(lp_program_kind(&p, sizeof p), LP_PROGRAM_GUEST);
	assert_int_equal(lp_program_kind(&p, 19), LP_PROGRAM_OTHER);
	p.ehdr.e_machine = EM_X86_64;
	assert_int_equal(lp_program_kind(&p, sizeof p), LP_PROGRAM_HOST);
	assert_int_equal(lp_program_kind("#!/bin/sh", 9), LP_PROGRAM_SCRIPT);
	assert_int_equal(lp_program_kind("#", 1), LP_PROGRAM_OTHER);
	assert_int_equal(lp_program_kind("", 0), LP_PROGRAM_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_program_is_read),
		cmocka_unit_test(another_machines_program_is_called_by_name),
		cmocka_unit_test(what_is_no_program_is_refused),
		cmocka_unit_test(a_folder_is_refused),
		cmocka_unit_test(headers_that_lie_are_refused),
		cmocka_unit_test(segments_that_lie_are_refused),
		cmocka_unit_test(an_interpreters_name_must_be_one),
		cmocka_unit_test(a_damaged_property_note_is_no_property),
		cmocka_unit_test(flags_of_the_stack_are_taken),
		cmocka_unit_test(the_kind_of_a_file_is_in_its_first_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
