/*
 * Objects are input: whatever stands in them, the differ answers, and reads nothing outside of them.  Real objects are damaged,
 * a few bytes at a time, by a generator with a fixed seed; run under the sanitizers this finds what reads too far.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fdio.h"
#include "pairs.h"

#ifndef CASES
#error "CASES: the directory with the sources"
#endif

#define ROUNDS 1500

static uint64_t seed;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static struct lp_buf read_object(const char *name)
{
	char path[256];
	struct lp_buf b = {0};
	struct lp_err err = {0};

	snprintf(path, sizeof path, "%s/%s", scratch(), name);
	if (lp_read_file(path, &b, 1 << 26, &err))
		fail_msg("%s", err.text);
	return b;
}

/* Half of the damage goes to tables: section headers, symbols, relocations; the rest anywhere. */
static size_t place_of_damage(const struct lp_elf *e, size_t len)
{
	size_t i = next_random() % lp_elf_section_count(e);
	const Elf64_Shdr *s = lp_elf_section(e, i);
	bool table = s->sh_type == SHT_RELA || s->sh_type == SHT_SYMTAB || s->sh_type == SHT_STRTAB;

	switch (next_random() % 4) {
	case 0:
		return next_random() % len;
	case 1:
		return lp_elf_header(e)->e_shoff + next_random() % (lp_elf_section_count(e) * sizeof(Elf64_Shdr));
	default:
		return table && s->sh_size ? s->sh_offset + next_random() % s->sh_size : next_random() % len;
	}
}

static void damage(uint8_t *bytes, size_t len, const struct lp_elf *e)
{
	static const uint8_t favourites[] = {0, 1, 0x7f, 0x80, 0xff};

	for (size_t n = 1 + next_random() % 4; n; n--) {
		size_t at = place_of_damage(e, len);
		if (at < len)
			bytes[at] = next_random() % 2 ? favourites[next_random() % sizeof favourites]
						      : (uint8_t)next_random();
	}
}

static unsigned long answered, emitted;

static void diff_once(const struct pair *p, struct lp_elf *before, struct lp_elf *after)
{
	struct lp_diff_unit unit = p->unit;
	struct lp_diff_input in = {.units = &unit, .nr_units = 1, .original = p->original, .id = "hostile"};
	struct lp_buf out = {0};
	struct lp_err err = {0};
	struct lp_diff *d;

	unit.before = before;
	unit.after = after;
	int rc = lp_diff_make(&d, &in, &err);
	assert_true(rc <= 0);
	assert_int_equal(d == NULL, rc && rc != -LP_EDIFF);
	if (d) {
		lp_diff_json(d, &out);
		answered++;
	}
	if (d && !rc && !lp_diff_empty(d) && !lp_diff_emit(d, &out, &err))
		emitted++;
	lp_buf_free(&out);
	lp_diff_free(d);
}

static void damage_and_diff(const char *source, const char *compiler, const char *flags)
{
	char path[512];
	struct pair_options o = {.compiler = compiler, .flags = flags, .link = "program"};
	struct pair p;

	snprintf(path, sizeof path, "%s/%s", CASES, source);
	if (!have_compiler(compiler, path))
		return;
	pair_make(&p, path, &o);
	struct lp_buf good = read_object("after.o");
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct lp_elf *bad = NULL;
		uint8_t *bytes = lp_memdup(good.data, good.len);
		damage(bytes, good.len, p.after);
		if (!lp_elf_from_bytes(&bad, bytes, good.len, "damaged", NULL)) {
			diff_once(&p, p.before, bad);
			diff_once(&p, bad, p.after);
		}
		lp_elf_close(bad);
		lp_free(bytes);
	}
	lp_buf_free(&good);
	pair_free(&p);
}

static void damaged_objects_are_answered(void **state)
{
	(void)state;
	seed = 0x9e3779b97f4a7c15;
	damage_and_diff("new_things.c", "gcc", "-O2");
	damage_and_diff("exceptions.cc", "gcc", "-O2");
	damage_and_diff("assembly_joined.S", "gcc", "-O2");
	damage_and_diff("layout.c", "gcc", "-O0 -g");
	damage_and_diff("jump_table.c", "clang", "-O2");
	assert_true(answered > ROUNDS);
	assert_true(emitted > ROUNDS / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(damaged_objects_are_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
