/*
 * Where functions begin and end, of real programs: the unwind tables must say
 * what the symbols say, also when those are gone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/functions.h"

#define BIAS UINT64_C(0x10000000)

/* A target that is one image. */
struct one {
	struct lp_target target;
	struct lp_image image;
};

static int one_images(struct lp_target *t, const struct lp_image **images, size_t *nr, struct lp_err *err)
{
	*images = &((struct one *)t)->image;
	*nr = 1;
	return 0;
}

static const struct lp_target_ops one_ops = {.images = one_images};

static struct one open_one(const char *path)
{
	struct one o = {.target = {.ops = &one_ops}, .image = {.name = path, .path = path, .bias = BIAS}};

	assert_int_equal(lp_elf_open(&o.image.elf, path, NULL), 0);
	return o;
}

static void close_one(struct one *o)
{
	lp_elf_close(o->image.elf);
}

struct score {
	size_t right, unknown, wrong;
};

static void judge(struct one *o, const struct lp_elf_sym *sym, lp_addr at, struct score *score)
{
	struct lp_range r;

	if (!lp_function_around(&o->target, at, &r))
		score->unknown++;
	else if (r.start == BIAS + sym->value && r.end == BIAS + sym->value + sym->size)
		score->right++;
	else
		score->wrong++;
}

/* Asks at the first, a middle and the last byte of each function; by `asked`, which may have lost its symbols. */
static struct score compare(const char *with_symbols, enum lp_symtab table, const char *asked)
{
	struct one known = open_one(with_symbols), o = open_one(asked);
	struct score score = {0};
	struct lp_elf_sym sym;

	for (size_t i = 0; i < lp_elf_symbol_count(known.image.elf, table); i++) {
		if (!lp_elf_symbol(known.image.elf, table, i, &sym) || sym.type != STT_FUNC || !sym.size ||
		    sym.shndx == SHN_UNDEF)
			continue;
		judge(&o, &sym, BIAS + sym.value, &score);
		judge(&o, &sym, BIAS + sym.value + sym.size / 2, &score);
		judge(&o, &sym, BIAS + sym.value + sym.size - 1, &score);
	}
	print_message("%s: %zu right, %zu unknown, %zu otherwise\n", asked, score.right, score.unknown, score.wrong);
	close_one(&known);
	close_one(&o);
	return score;
}

static void a_stripped_program_still_knows_its_functions(void **state)
{
	char self[512] = "", stripped[] = "/tmp/livepatch-functions-XXXXXX", command[2400];
	int fd = mkstemp(stripped);

	assert_true(fd >= 0);
	close(fd);
	assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
	/* Emulated, we are a program that the machine's own strip does not know. */
	snprintf(command, sizeof command, "strip -o '%s' '%s' 2>/dev/null || aarch64-linux-gnu-strip -o '%s' '%s'",
		 stripped, self, stripped, self);
	assert_int_equal(system(command), 0);

	struct score s = compare(self, LP_SYMTAB, stripped);

	remove(stripped);
	assert_true(s.right > 250);
	/* The C library's start files have no tables, or count padding. */
	assert_true(s.unknown + s.wrong < 20);
}

static void libc_agrees_but_for_its_assembly(void **state)
{
	struct score s = compare("/lib/x86_64-linux-gnu/libc.so.6", LP_DYNSYM, "/lib/x86_64-linux-gnu/libc.so.6");

	assert_true(s.right > 6000);
	assert_true(s.wrong * 50 < s.right);
}

static void between_functions_there_is_none(void **state)
{
	struct one o = open_one("/proc/self/exe");
	struct lp_range r;

	assert_false(lp_function_around(&o.target, BIAS, &r));
	assert_false(lp_function_around(&o.target, BIAS - 1, &r));
	assert_false(lp_function_around(&o.target, UINT64_MAX, &r));
	close_one(&o);
}

/* The header and the FDEs are data like any other: whatever stands there, the answer is a range that holds the place. */
static void a_table_that_lies_is_survived(void **state)
{
	struct one o = open_one("/proc/self/exe");
	const Elf64_Phdr *ph = lp_elf_phdr_find(o.image.elf, PT_GNU_EH_FRAME);
	size_t len = 0;

	while (lp_elf_bytes_at(o.image.elf, len, 1))
		len++;
	uint8_t *bytes = malloc(len);

	memcpy(bytes, lp_elf_bytes_at(o.image.elf, 0, len), len);
	uint64_t table = ph->p_offset, size = ph->p_filesz;

	close_one(&o);
	srandom(11);
	for (unsigned round = 0; round < 60; round++) {
		for (unsigned i = 0; i < 40; i++)
			bytes[table + 8 + (uint64_t)random() % (size - 8)] = (uint8_t)random();
		assert_int_equal(lp_elf_from_bytes(&o.image.elf, bytes, len, "liar", NULL), 0);
		for (unsigned i = 0; i < 2000; i++) {
			lp_addr at = BIAS + (uint64_t)random() % len;
			struct lp_range r;

			if (lp_function_around(&o.target, at, &r))
				assert_true(lp_range_has(r, at));
		}
		close_one(&o);
	}
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stripped_program_still_knows_its_functions),
		cmocka_unit_test(libc_agrees_but_for_its_assembly),
		cmocka_unit_test(between_functions_there_is_none),
		cmocka_unit_test(a_table_that_lies_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
