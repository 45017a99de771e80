/*
 * Files that lie about their variables: whatever they say, a question has an
 * end and reads nothing that it was not given.
 */
#include <stdlib.h>

#include "debug/debug.h"
#include "fixture.h"

#define MUTANTS 1500

static uint64_t state = 88172645463325252u;

static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

static const char *const c_paths[] = {
	"server",   "server.clients->next->name[3]", "*server.clients",	      "a_colour",      "numbers",
	"an_int",   "server.matrix[1][1]",	     "server.secret->inside", "globals.c:own", "*to_pointer",
	"a_string", "server.clients->paint",	     "some_rights",	      "line"};
static const char *const cxx_paths[] = {"config::name",	     "object",	     "pointer->boxed.content",
					"*object.reference", "numbers",	     "now",
					"derived::count",    "object.title", "inner::value"};

static int read_nothing(void *arg, lp_addr at, void *out, size_t len)
{
	memset(out, 'x', len);
	return at % 3 ? 0 : -LP_EUNMAPPED;
}

static void count_row(void *arg, const char *name, const char *type)
{
	*(size_t *)arg += strlen(name) + strlen(type);
}

/* Everything that can be done with one of them.  Not more than this test has to give. */
static void use(struct lp_global *g)
{
	static uint8_t bytes[65536], mask[65536];
	struct lp_buf text = {0};
	size_t len = 0;

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 7);
	lp_global_place(g, &text);
	lp_global_print(g, bytes, sizeof bytes, &(struct lp_show){.read = read_nothing}, &text);
	lp_global_print(g, bytes, 5, &(struct lp_show){.lines = true}, &text);
	assert_true(lp_global_type(g) != NULL);
	lp_global_members(g, count_row, &len, NULL);
	if (lp_global_size(g) <= sizeof bytes) {
		lp_global_parse(g, "1", bytes, mask, NULL);
		lp_global_parse(g, "GREEN", bytes, mask, NULL);
	}
	lp_buf_free(&text);
}

static size_t ask(const char *file, const char *const *paths, size_t nr)
{
	struct lp_debug *d;
	size_t found = 0;

	if (lp_debug_open(&d, &(struct lp_debug_file){.path = file, .name = "libglobals.so"}, 1, NULL) < 0)
		return 0;
	for (size_t i = 0; i < nr; i++) {
		struct lp_global g;

		if (lp_global_find(d, paths[i], &g, NULL) < 0)
			continue;
		use(&g);
		lp_global_free(&g);
		found++;
	}
	lp_debug_close(d);
	return found;
}

static void write_bytes(const char *name, const uint8_t *bytes, size_t len)
{
	FILE *f = fopen(scratch(name), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

/* Where debug information is in the file. */
static size_t sections(const uint8_t *bytes, size_t len, struct lp_range *out, size_t max)
{
	static const char *const names[] = {".debug_info",     ".debug_abbrev", ".debug_str",
					    ".debug_line_str", ".debug_addr",	".debug_str_offsets"};
	struct lp_elf *e;
	size_t nr = 0;

	assert_int_equal(lp_elf_from_bytes(&e, bytes, len, "victim", NULL), 0);
	for (size_t i = 0; i < LP_ARRAY_SIZE(names); i++) {
		const Elf64_Shdr *s = lp_elf_section_find(e, names[i]);

		if (s && s->sh_size && nr < max)
			out[nr++] = (struct lp_range){s->sh_offset, s->sh_offset + s->sh_size};
	}
	lp_elf_close(e);
	return nr;
}

static void mutate(uint8_t *bytes, const struct lp_range *where, size_t nr)
{
	for (uint64_t n = 1 + next() % 8; n; n--) {
		/* What entries look like is a few bytes, and decides the most. */
		const struct lp_range *r = &where[next() % 2 ? next() % nr : nr > 1];
		uint8_t *at = &bytes[r->start + next() % (r->end - r->start)];

		*at = next() % 3 ? (uint8_t)next() : next() % 2 ? 0xff : 0;
	}
}

static void try_mutants(const char *make, const char *const *paths, size_t nr_paths)
{
	struct lp_range where[8];
	size_t len, found = 0;

	shell("%s", make);
	uint8_t *good = slurp(scratch("good.so"), &len), *bad = lp_alloc(len);
	size_t nr = sections(good, len, where, LP_ARRAY_SIZE(where));
	assert_true(nr >= 2);
	assert_int_equal(ask(scratch("good.so"), paths, nr_paths), nr_paths);
	for (unsigned i = 0; i < MUTANTS; i++) {
		memcpy(bad, good, len);
		mutate(bad, where, nr);
		write_bytes("bad.so", bad, len);
		found += ask(scratch("bad.so"), paths, nr_paths);
	}
	/* Not so hostile that nothing was looked at. */
	assert_true(found > MUTANTS);
	lp_free(good);
	lp_free(bad);
}

static void mutants_of_c_are_survived(void **unused)
{
	try_mutants("gcc -g -gdwarf-5 -fPIC -shared -o good.so " SOURCES "/globals.c " SOURCES "/hidden.c", c_paths,
		    LP_ARRAY_SIZE(c_paths));
}

static void mutants_of_clang_are_survived(void **unused)
{
	try_mutants("clang -g -gdwarf-5 -fPIC -shared -o good.so " SOURCES "/globals.c " SOURCES "/hidden.c", c_paths,
		    LP_ARRAY_SIZE(c_paths));
}

static void mutants_of_cxx_are_survived(void **unused)
{
	try_mutants("g++ -g -gdwarf-4 -fPIC -shared -o good.so " SOURCES "/globals.cc", cxx_paths,
		    LP_ARRAY_SIZE(cxx_paths));
}

static void a_file_that_ends_early_is_survived(void **unused)
{
	size_t len;

	shell("gcc -g -fPIC -shared -o good.so " SOURCES "/globals.c " SOURCES "/hidden.c");
	uint8_t *good = slurp(scratch("good.so"), &len);
	for (size_t end = 0; end < len; end += len / 200) {
		write_bytes("bad.so", good, end);
		ask(scratch("bad.so"), c_paths, LP_ARRAY_SIZE(c_paths));
	}
	lp_free(good);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mutants_of_c_are_survived),
		cmocka_unit_test(mutants_of_clang_are_survived),
		cmocka_unit_test(mutants_of_cxx_are_survived),
		cmocka_unit_test(a_file_that_ends_early_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
