/*
 * Opening: what is refused and why, and files that lie about themselves.  The
 * fuzz target asks every question of every truncation and mutation; what it
 * proves is what a sanitizer sees, so run this with one.
 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../fuzz/fuzz.h"

static uint8_t *small;
static size_t small_len;

/* All kinds of tables in a few kilobytes: versions both ways, RELA, PLT, RELR, both hashes, notes, symtab. */
static int compile(void **state)
{
	write_text("small.c", "extern char *getenv(const char *); extern int two(void);\n"
			      "int one(void) { return getenv(\"x\") != 0; }\nint *where[3] = {0, 0, 0};\n"
			      "static int data; int *more[2] = {&data, &data};\n"
			      "int o(void) { return two(); }\nint m(void) { return one(); }\n"
			      "__asm__(\".symver o, api@V1\\n.symver m, api@@V2\");\n");
	write_text("small.map", "V1 { global: one; where; api; };\nV2 { global: api; local: *; } V1;\n");
	shell("gcc -Os -fPIC -fno-asynchronous-unwind-tables -shared -nostartfiles -Wl,-z,lazy,-z,noseparate-code "
	      "-Wl,--version-script=small.map,--hash-style=both,--build-id,-z,pack-relative-relocs,-soname,libsmall.so "
	      "-Wl,-z,max-page-size=4096,-z,norelro -o small.so small.c -lc");
	small = slurp(scratch("small.so"), &small_len);
	return 0;
}

static int forget(void **state)
{
	lp_free(small);
	return 0;
}

static void assert_refused(const void *bytes, size_t len, const char *sentence)
{
	struct lp_elf *e;
	struct lp_err err = {0};
	assert_int_equal(lp_elf_from_bytes(&e, bytes, len, "bad", &err), -LP_EELF);
	assert_null(e);
	assert_string_equal(err.text, sentence);
}

static void what_is_not_such_an_elf_file_is_refused_with_a_sentence(void **state)
{
	uint8_t copy[4096];
	Elf64_Ehdr *h = (Elf64_Ehdr *)copy;
	assert_refused("", 0, "bad: too short for an ELF header (0 bytes)");
	assert_refused(small, 63, "bad: too short for an ELF header (63 bytes)");
#define WITH(change, sentence)            \
	memcpy(copy, small, sizeof copy); \
	change;                           \
	assert_refused(copy, sizeof copy, sentence)
	WITH(copy[1] = 'e', "bad: not an ELF file");
	WITH(copy[EI_CLASS] = ELFCLASS32, "bad: not a 64-bit little-endian ELF file");
	WITH(copy[EI_DATA] = ELFDATA2MSB, "bad: not a 64-bit little-endian ELF file");
	WITH(h->e_version = 2, "bad: unknown ELF version");
	WITH(h->e_phentsize = 32, "bad: program headers of 32 bytes");
	WITH(h->e_phnum = 60000, "bad: 60000 program headers are more than any kernel loads");
	WITH(h->e_phnum = 1000, "bad: program headers lie beyond the end of the file");
	WITH(h->e_phoff = UINT64_MAX - 7, "bad: program headers lie beyond the end of the file");
#undef WITH
}

static void what_is_not_a_regular_file_is_refused_and_never_waited_for(void **state)
{
	struct lp_elf *e;
	struct lp_err err = {0};
	assert_int_equal(mkfifo(scratch("fifo"), 0600), 0);
	assert_int_equal(lp_elf_open(&e, scratch("fifo"), &err), -LP_EFILE);
	assert_int_equal(lp_elf_open(&e, "/dev/zero", &err), -LP_EFILE);
	assert_string_equal(err.text, "/dev/zero is not a regular file");
	assert_int_equal(lp_elf_open(&e, "/", &err), -LP_EFILE);
	assert_int_equal(lp_elf_open(&e, scratch("absent"), &err), -ENOENT);
	assert_non_null(strstr(err.text, "absent"));
	assert_int_equal(lp_elf_open(&e, "/proc/self/maps", &err), -LP_EELF);
}

static void a_huge_file_that_is_no_elf_file_is_not_read(void **state)
{
	struct lp_elf *e;
	struct lp_err err = {0};
	int fd = open(scratch("huge"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)LP_ELF_FILE_MAX), 0);
	assert_int_equal(lp_elf_open_fd(&e, fd, "huge", &err), -LP_EELF);
	assert_int_equal(ftruncate(fd, (off_t)LP_ELF_FILE_MAX + 1), 0);
	assert_int_equal(lp_elf_open_fd(&e, fd, "huge", &err), -EFBIG);
	close(fd);
}

static void a_file_truncated_after_opening_is_still_all_there(void **state)
{
	shell("cp small.so victim.so");
	struct lp_elf *e = open_elf(scratch("victim.so"));
	assert_int_equal(truncate(scratch("victim.so"), 0), 0);
	assert_string_equal(lp_elf_soname(e), "libsmall.so");
	assert_memory_equal(lp_elf_bytes_at(e, 0, small_len), small, small_len);
	lp_elf_close(e);
}

static void the_bytes_stay_inside_the_file(void **state)
{
	struct lp_elf *e = open_elf(scratch("small.so"));
	assert_non_null(lp_elf_bytes_at(e, small_len - 1, 1));
	assert_null(lp_elf_bytes_at(e, small_len - 1, 2));
	assert_null(lp_elf_bytes_at(e, small_len + 1, 0));
	assert_null(lp_elf_bytes_at(e, UINT64_MAX, 2));
	assert_null(lp_elf_bytes_at(e, 1, SIZE_MAX));
	lp_elf_close(e);
}

static void closing_nothing_is_fine(void **state)
{
	lp_elf_close(NULL);
}

static void the_small_file_has_every_kind_of_table(void **state)
{
	static const int64_t tags[] = {DT_HASH, DT_GNU_HASH, DT_RELA,	DT_JMPREL,
				       DT_RELR, DT_VERSYM,   DT_VERDEF, DT_VERNEED};
	struct lp_elf *e = open_elf(scratch("small.so"));
	uint64_t value;
	for (size_t i = 0; i < LP_ARRAY_SIZE(tags); i++)
		assert_true(lp_elf_dynamic(e, tags[i], &value));
	assert_true(lp_elf_symbol_count(e, LP_SYMTAB) > 5);
	assert_true(small_len < 64 * 1024);
	lp_elf_close(e);
}

static void every_truncation_can_be_asked_everything(void **state)
{
	for (size_t len = 0; len <= small_len; len++) {
		uint8_t *cut = lp_memdup(small, len); /* of exactly that size */
		assert_int_equal(LLVMFuzzerTestOneInput(cut, len), 0);
		lp_free(cut);
	}
}

static void every_changed_byte_can_be_asked_everything(void **state)
{
	static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
	uint8_t *copy = lp_memdup(small, small_len);
	for (size_t i = 0; i < small_len; i++) {
		for (size_t v = 0; v < LP_ARRAY_SIZE(values); v++) {
			if (v && !small[i] && i % 4) /* the padding between the tables: one change is enough */
				continue;
			copy[i] = small[i] == values[v] ? (uint8_t)(small[i] ^ 0x10) : values[v];
			assert_int_equal(LLVMFuzzerTestOneInput(copy, small_len), 0);
		}
		copy[i] = small[i];
	}
	lp_free(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_such_an_elf_file_is_refused_with_a_sentence),
		cmocka_unit_test(what_is_not_a_regular_file_is_refused_and_never_waited_for),
		cmocka_unit_test(a_huge_file_that_is_no_elf_file_is_not_read),
		cmocka_unit_test(a_file_truncated_after_opening_is_still_all_there),
		cmocka_unit_test(the_bytes_stay_inside_the_file),
		cmocka_unit_test(closing_nothing_is_fine),
		cmocka_unit_test(the_small_file_has_every_kind_of_table),
		cmocka_unit_test(every_truncation_can_be_asked_everything),
		cmocka_unit_test(every_changed_byte_can_be_asked_everything),
	};
	return cmocka_run_group_tests(tests, compile, forget);
}
