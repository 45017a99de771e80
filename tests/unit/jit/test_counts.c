/*
 * How many host instructions guest instructions become, so that worse code is seen without a clock: each sequence of
 * counted.def is translated for two kinds of hosts (--host-cpu); what is not cold is counted and held against counts.txt.  Fewer than there were is a difference too: it is to be kept.
 *
 *     BUILD/tests/unit/jit/test_counts --update      writes counts.txt; look at the difference, and commit it
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <Zydis/Zydis.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "emu/emu.h"
#include "isa/isa.h"
#include "jit/private.h"

#define CODE UINT64_C(0x50000000)
enum { NR_HOSTS = 2, LISTING = 16384 };
static const char update_with[] = "BUILD/tests/unit/jit/test_counts --update";

static const struct {
	const char *name, *text;
} patterns[] = {
#define PATTERN(name, text) {#name, text},
#include "counted.def"
#undef PATTERN
};
enum { NR_PATTERNS = sizeof patterns / sizeof patterns[0] };

/* As --host-cpu has them; columns of the golden file. */
static const char *const host_names[NR_HOSTS] = {"avx512", "avx2"};

static struct {
	struct lp_emu *emu;
	struct lp_jit *hosts[NR_HOSTS]; /* NULL: not here */
} it;

struct count {
	int guest, host[NR_HOSTS];
};
static struct count golden[NR_PATTERNS];

/* ---- translating ---- */

static int setup(void **state)
{
	static const struct lp_emu_options plain;
	struct lp_err err = {0};

	it.emu = lp_emu_new(&plain, &err);
	assert_non_null(it.emu);
	assert_int_equal(lp_mem_map(it.emu, CODE, LP_GUEST_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 CODE);
	for (size_t h = 0; h < NR_HOSTS; h++) {
		struct lp_jit_options options = {0};
		int rc = lp_jit_host_parse(host_names[h], &options.without, &err);
		if (rc == -ENOTSUP)
			continue; /* this CPU has less */
		assert_int_equal(rc, 0);
		assert_int_equal(lp_jit_attach(it.emu, &options, &err), 0);
		it.hosts[h] = it.emu->engine_data;
	}
	return 0;
}

/* Behind the pattern somebody writes all flags. */
static const struct lp_unit *translated(struct lp_jit *jit, const char *text)
{
	char whole[512];
	uint8_t bytes[LP_GUEST_PAGE] = {0};
	struct lp_err err = {0};
	struct lp_jit_slot *slot;
	size_t len;

	snprintf(whole, sizeof whole, "%sb out_\nout_: cmp x0, x0\nret\n", text);
	if (lp_isa_of(EM_AARCH64)->assemble(whole, CODE, NULL, bytes, sizeof bytes, &len, &err))
		fail_msg("%s: %s", text, err.text);
	memcpy(bytes + 0x800, (uint32_t[]){0xeb00001f, 0xd65f03c0}, 8); /* the same, where branches go */
	assert_int_equal(lp_mem_write(CODE, bytes, sizeof bytes), 0);
	lp_jit_invalidate(jit, (struct lp_range){CODE, CODE + LP_GUEST_PAGE});
	slot = lp_translate(jit, CODE, NULL);
	assert_non_null(slot);
	return slot->unit;
}

/* What is not cold, as text; returns how many instructions. */
static int list(const struct lp_unit *unit, char *out, size_t size)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;
	ZydisFormatter formatter;
	ZydisDecoder decoder;
	size_t len = 0;
	char line[128];
	int nr = 0;

	ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	*out = 0;
	for (uint32_t at = 0; at < unit->hot_size; at += insn.length, nr++) {
		assert_true(ZYAN_SUCCESS(
			ZydisDecoderDecodeFull(&decoder, unit->code + at, unit->hot_size - at, &insn, operands)));
		ZydisFormatterFormatInstruction(&formatter, &insn, operands, insn.operand_count_visible, line,
						sizeof line, at, ZYAN_NULL);
		if (len < size)
			len += (size_t)snprintf(out + len, size - len, "\t%4x  %s\n", at, line);
	}
	return nr;
}

/* ---- the golden file ---- */

static size_t pattern_named(const char *name)
{
	size_t i = 0;

	while (i < NR_PATTERNS && strcmp(patterns[i].name, name) != 0)
		i++;
	return i;
}

/* Decimal numbers, a space before each; false: they are not as many. */
static bool read_numbers(const char *text, int *numbers[], size_t nr)
{
	char *end;

	for (size_t i = 0; i < nr; i++, text = end) {
		*numbers[i] = (int)strtol(text, &end, 10);
		if (end == text)
			return false;
	}
	return true;
}

static void read_golden(void)
{
	FILE *f = fopen(COUNTS_FILE, "re");
	char line[256], *space;

	if (!f)
		return; /* each pattern says that it is missing */
	while (fgets(line, sizeof line, f)) {
		size_t i;
		space = strchr(line, ' ');
		if (*line == '#' || !space)
			continue;
		*space = 0;
		i = pattern_named(line);
		if (i == NR_PATTERNS ||
		    !read_numbers(space + 1, (int *[]){&golden[i].guest, &golden[i].host[0], &golden[i].host[1]}, 3))
			fail_msg("%s: '%s' is none of counted.def, or has no three counts: %s", COUNTS_FILE, line,
				 update_with);
	}
	fclose(f);
}

static struct count count(size_t i, char listing[NR_HOSTS][LISTING])
{
	struct count c = {0};

	for (size_t h = 0; h < NR_HOSTS; h++)
		if (it.hosts[h]) {
			const struct lp_unit *unit = translated(it.hosts[h], patterns[i].text);
			c.guest = unit->nr_insns;
			c.host[h] = list(unit, listing[h], LISTING);
		}
	return c;
}

static int update(void)
{
	static char listing[NR_HOSTS][LISTING];
	FILE *f;

	setup(NULL);
	for (size_t h = 0; h < NR_HOSTS; h++)
		if (!it.hosts[h]) {
			fprintf(stderr, "this CPU has not all features of which there are counts: %s\n", host_names[h]);
			return 1;
		}
	f = fopen(COUNTS_FILE, "we");
	if (!f) {
		perror(COUNTS_FILE);
		return 1;
	}
	fprintf(f,
		"# Host instructions of what is translated from counted.def, entry and exit included.\n"
		"# Written by %s\n"
		"# name                guest   avx512     avx2\n",
		update_with);
	for (size_t i = 0; i < NR_PATTERNS; i++) {
		struct count c = count(i, listing);
		fprintf(f, "%-22s %5d %8d %8d\n", patterns[i].name, c.guest, c.host[0], c.host[1]);
	}
	return fclose(f) ? 1 : 0;
}

/* ---- the test ---- */

static unsigned compare(size_t i)
{
	static char listing[NR_HOSTS][LISTING];
	struct count found = count(i, listing);
	unsigned differ = 0;

	for (size_t h = 0; h < NR_HOSTS; h++) {
		int expected = golden[i].host[h];
		if (!it.hosts[h] || found.host[h] == expected)
			continue;
		differ++;
		print_error("%s, %s: %d host instructions, not %d: %s\n%s\n%s\n", patterns[i].name, host_names[h],
			    found.host[h], expected,
			    !expected		       ? "there is no count of it"
			    : found.host[h] < expected ? "fewer, which is to be kept"
						       : "more",
			    patterns[i].text, listing[h]);
	}
	return differ;
}

static void hot_patterns_become_as_many_host_instructions_as_they_did(void **state)
{
	unsigned differ = 0;

	read_golden();
	for (size_t i = 0; i < NR_PATTERNS; i++)
		differ += compare(i);
	if (differ)
		fail_msg("%u counts are not those of %s; if they are meant to be: %s", differ, COUNTS_FILE,
			 update_with);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hot_patterns_become_as_many_host_instructions_as_they_did),
	};

	if (argc == 2 && !strcmp(argv[1], "--update"))
		return update();
	return cmocka_run_group_tests(tests, setup, NULL);
}
