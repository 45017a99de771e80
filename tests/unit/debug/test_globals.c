/*
 * Globals of libraries that this test loads: found by path, read where they
 * are, shown and set.
 */
#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <unistd.h>

#include "debug/debug.h"
#include "fixture.h"

#ifndef SOURCES
#error "SOURCES: the folder of this file"
#endif

/* ---- a loaded library ---- */

struct library {
	struct lp_debug *d;
	lp_addr bias;
	void *handle;
};

static struct library c, cxx;

static struct library open_library(const char *file)
{
	struct library l = {.handle = dlopen(scratch(file), RTLD_NOW | RTLD_LOCAL)};
	struct link_map *map;
	struct lp_err err = {0};

	if (!l.handle)
		fail_msg("%s", dlerror());
	assert_int_equal(dlinfo(l.handle, RTLD_DI_LINKMAP, &map), 0);
	l.bias = map->l_addr;
	if (lp_debug_open(&l.d,
			  &(struct lp_debug_file){.path = scratch(file), .name = "/lib/libglobals.so", .bias = l.bias},
			  1, &err) < 0)
		fail_msg("%s", err.text);
	((int *(*)(void))dlsym(l.handle, "use"))();
	return l;
}

static void close_library(struct library *l)
{
	lp_debug_close(l->d);
	dlclose(l->handle);
}

static struct lp_global found(const struct library *l, const char *path)
{
	struct lp_global g;
	struct lp_err err = {0};

	if (lp_global_find(l->d, path, &g, &err) < 0)
		fail_msg("%s: %s", path, err.text);
	return g;
}

/* As the agent walks it. */
static uint8_t *walk(const struct library *l, const struct lp_global *g)
{
	uint8_t *at = (uint8_t *)(uintptr_t)(l->bias + g->vaddr);

	for (size_t i = 0; i < g->hops.nr; i++)
		at = *(uint8_t **)at + g->hops.items[i];
	return at;
}

static int read_own(void *arg, lp_addr at, void *out, size_t len)
{
	/* A page may end behind a string of ours; what is there is the business of lp_global_print(). */
	memcpy(out, (const void *)(uintptr_t)at, len);
	return 0;
}

static const char *value(const struct library *l, const char *path)
{
	static struct lp_buf text;
	struct lp_global g = found(l, path);

	text.len = 0;
	lp_global_print(&g, walk(l, &g), lp_global_size(&g), &(struct lp_show){.read = read_own}, &text);
	lp_global_free(&g);
	return lp_buf_cstr(&text);
}

#define is(l, path, text) assert_string_equal(value(l, path), text)

static int refusal(const struct library *l, const char *path)
{
	struct lp_global g;
	struct lp_err err = {0};
	int rc = lp_global_find(l->d, path, &g, &err);

	if (rc == 0)
		fail_msg("%s was found", path);
	assert_true(err.text[0]);
	return rc;
}

static int set(const struct library *l, const char *path, const char *text)
{
	struct lp_global g = found(l, path);
	uint64_t size = lp_global_size(&g);
	uint8_t *bytes = lp_alloc(size), *mask = lp_alloc(size), *at = walk(l, &g);
	int rc = lp_global_parse(&g, text, bytes, mask, NULL);

	for (uint64_t i = 0; i < size && rc == 0; i++)
		at[i] = (uint8_t)((at[i] & ~mask[i]) | (bytes[i] & mask[i]));
	lp_free(bytes);
	lp_free(mask);
	lp_global_free(&g);
	return rc;
}

/* ---- C ---- */

static void scalars_are_shown_as_c_writes_them(void **state)
{
	is(&c, "a_bool", "true");
	is(&c, "a_char", "65 'A'");
	is(&c, "a_schar", "-1");
	is(&c, "a_uchar", "200");
	is(&c, "a_short", "-300");
	is(&c, "a_ushort", "60000");
	is(&c, "an_int", "-70000");
	is(&c, "an_uint", "4000000000");
	is(&c, "a_long", "-5000000000");
	is(&c, "a_u64", "18446744073709551615");
	is(&c, "a_float", "1.5");
	is(&c, "a_double", "-0.10000000000000001");
	is(&c, "a_long_double", "2.5");
	is(&c, "qualified", "9");
}

static void enums_have_their_names(void **state)
{
	is(&c, "a_colour", "BLUE");
	is(&c, "a_level", "LOW");
	is(&c, "some_rights", "READ | EXECUTE");
	is(&c, "no_colour", "100");
}

static void paths_lead_through_structures_arrays_and_pointers(void **state)
{
	is(&c, "server.port", "80");
	is(&c, "server.clients->id", "1");
	is(&c, "server.clients.id", "1");
	is(&c, "server.clients->next->name", "\"two\"");
	is(&c, "server.clients->next->name[1]", "119 'w'");
	is(&c, "(*server.clients).next->id", "2");
	is(&c, "server.clients[0].id", "1");
	is(&c, "clients[1]->at.x", "-3");
	is(&c, "server.table[1].as_int", "77");
	is(&c, "server.matrix[1][2]", "6");
	is(&c, "*to_number", "2");
	is(&c, "**to_pointer", "2");
	is(&c, "to_number[2]", "4");
	is(&c, "*numbers", "1");
	is(&c, "*a_string", "116 't'");
}

static void what_is_made_of_others_is_shown_whole(void **state)
{
	is(&c, "numbers", "{1, 2, 3, 4, 5}");
	is(&c, "server.matrix", "{{0, 0, 0}, {0, 0, 6}}");
	is(&c, "server.clients->at", "{x: 0, y: 0}");
	assert_non_null(strstr(value(&c, "*server.clients"), "{id: 1, name: \"one\", peer: 0x"));
	assert_non_null(strstr(value(&c, "*server.clients"), " \"10.0.0.1 \\\"quoted\\\"\\n\", next: 0x"));
	assert_non_null(
		strstr(value(&c, "*server.clients"), "low: 5, middle: 17, negative: -3, dirty: true, paint: GREEN}"));
	is(&c, "none", "{}");
}

static void members_stand_one_a_line_when_asked_for(void **state)
{
	struct lp_global g = found(&c, "server.table[1].at");
	struct lp_buf text = {0};

	lp_global_print(&g, walk(&c, &g), lp_global_size(&g), &(struct lp_show){.lines = true}, &text);
	assert_string_equal(lp_buf_cstr(&text), "x: -3\ny: 4");
	lp_buf_free(&text);
	lp_global_free(&g);
}

static void strings_are_read_where_they_are(void **state)
{
	assert_non_null(strstr(value(&c, "a_string"), "\"text\""));
	is(&c, "no_string", "0x0");
	is(&c, "line", "\"full\"");
}

static void bit_fields_are_read_and_set_alone(void **state)
{
	is(&c, "server.clients->low", "5");
	is(&c, "server.clients->middle", "17");
	is(&c, "server.clients->negative", "-3");
	assert_int_equal(set(&c, "server.clients->middle", "2"), 0);
	assert_int_equal(set(&c, "server.clients->negative", "-8"), 0);
	assert_int_equal(set(&c, "server.clients->paint", "BLUE"), 0);
	assert_non_null(
		strstr(value(&c, "*server.clients"), "low: 5, middle: 2, negative: -8, dirty: true, paint: BLUE}"));
	assert_int_equal(set(&c, "server.clients->middle", "32"), -LP_EVALUE);
	assert_int_equal(set(&c, "server.clients->negative", "8"), -LP_EVALUE);
	set(&c, "server.clients->middle", "17");
	set(&c, "server.clients->negative", "-3");
	set(&c, "server.clients->paint", "GREEN");
}

static void values_are_set(void **state)
{
	static const char *const rows[][3] = {
		{"an_int", "-12", "-12"},	 {"an_int", "0x10", "16"},
		{"a_bool", "false", "false"},	 {"a_char", "'z'", "122 'z'"},
		{"a_char", "66", "66 'B'"},	 {"a_u64", "3", "3"},
		{"a_double", "0.25", "0.25"},	 {"a_float", "-2", "-2"},
		{"a_long_double", "8", "8"},	 {"a_colour", "GREEN", "GREEN"},
		{"a_colour", "7", "7"},		 {"some_rights", "READ | WRITE", "READ | WRITE"},
		{"a_level", "HIGH", "HIGH"},	 {"a_level", "-1", "LOW"},
		{"line", "new", "\"new\""},	 {"to_number", "0", "0x0"},
		{"no_string", "nullptr", "0x0"}, {"server.clients->as_float", "1.5", "1.5"},
		{"server.port", "8080", "8080"}};

	int *number = NULL;
	memcpy(&number, walk(&c, &(struct lp_global){.vaddr = found(&c, "to_number").vaddr}), sizeof number);
	for (size_t i = 0; i < LP_ARRAY_SIZE(rows); i++) {
		assert_int_equal(set(&c, rows[i][0], rows[i][1]), 0);
		is(&c, rows[i][0], rows[i][2]);
	}
	memcpy(walk(&c, &(struct lp_global){.vaddr = found(&c, "to_number").vaddr}), &number, sizeof number);
}

static void what_does_not_fit_is_refused(void **state)
{
	static const char *const rows[][2] = {
		{"an_int", "2147483648"}, {"an_int", "x"},     {"an_int", ""},
		{"an_int", "1 "},	  {"an_int", " 1"},    {"an_uint", "-1"},
		{"a_uchar", "256"},	  {"a_bool", "maybe"}, {"a_colour", "PINK"},
		{"a_colour", "RED|"},	  {"a_double", "1x"},  {"line", "12345678"},
		{"to_number", "x"},	  {"a_schar", "128"},  {"a_u64", "18446744073709551616"}};

	for (size_t i = 0; i < LP_ARRAY_SIZE(rows); i++)
		assert_int_equal(set(&c, rows[i][0], rows[i][1]), -LP_EVALUE);
	assert_int_equal(set(&c, "*server.clients", "1"), -LP_ETYPE);
	assert_int_equal(set(&c, "numbers", "1"), -LP_ETYPE);
}

static void a_static_variable_is_named_by_its_source_file(void **state)
{
	assert_int_equal(refusal(&c, "own"), -LP_EAMBIGUOUS);
	is(&c, "globals.c:own", "11");
	is(&c, "hidden.c:own", "12");
	is(&c, "libglobals.so:hidden.c:own", "12");
	is(&c, "libglobals.so:an_uint", "4000000000");
	assert_int_equal(refusal(&c, "lobals.c:own"), -LP_ENOVARIABLE);
	assert_int_equal(refusal(&c, "libother.so:own"), -LP_ENOVARIABLE);
}

static void a_type_that_is_only_declared_is_found_where_it_is_defined(void **state)
{
	void *secret = dlsym(c.handle, "the_secret");
	struct lp_global g = found(&c, "server.secret");

	memcpy(walk(&c, &g), &secret, sizeof secret);
	is(&c, "server.secret->inside", "42");
	lp_global_free(&g);
}

static void what_is_not_there_is_refused(void **state)
{
	assert_int_equal(refusal(&c, "nothing"), -LP_ENOVARIABLE);
	assert_int_equal(refusal(&c, "per_thread"), -LP_ENOVARIABLE);
	assert_int_equal(refusal(&c, "server.nothing"), -LP_ETYPE);
	assert_int_equal(refusal(&c, "an_int.x"), -LP_ETYPE);
	assert_int_equal(refusal(&c, "*an_int"), -LP_ETYPE);
	assert_int_equal(refusal(&c, "an_int[0]"), -LP_ETYPE);
	assert_int_equal(refusal(&c, "numbers[5]"), -LP_EVALUE);
	assert_int_equal(refusal(&c, "server.callback[1]"), -LP_ETYPE);
	assert_int_equal(refusal(&c, "server.clients->low.x"), -LP_ETYPE);
}

static void what_is_no_path_is_refused(void **state)
{
	static const char *const wrong[] = {"",
					    " ",
					    "*",
					    "(",
					    "()",
					    "server.",
					    "server->",
					    "numbers[",
					    "numbers[]",
					    "numbers[x]",
					    "numbers[-1]",
					    "numbers[1",
					    "(an_int",
					    "an_int)",
					    "an_int x",
					    "&an_int",
					    "1",
					    "a:",
					    "numbers[99999999999999999999]"};

	for (size_t i = 0; i < LP_ARRAY_SIZE(wrong); i++)
		assert_int_equal(refusal(&c, wrong[i]), -LP_EUSAGE);
	char deep[2001];
	memset(deep, '(', 2000);
	deep[2000] = 0;
	assert_int_equal(refusal(&c, deep), -LP_EUSAGE);
	memset(deep, '*', 2000);
	assert_int_equal(refusal(&c, deep), -LP_EUSAGE);
}

static void types_are_named_as_c_does(void **state)
{
	static const char *const rows[][2] = {{"server.clients", "struct client *"},
					      {"server.fixed", "const const struct client *"},
					      {"to_pointer", "int **"},
					      {"server.callback", "int (*)()"},
					      {"a_string", "const char *"},
					      {"server.port", "port_number"},
					      {"numbers", "int[]"},
					      {"*server.clients", "struct client"}};

	for (size_t i = 0; i < LP_ARRAY_SIZE(rows); i++) {
		struct lp_global g = found(&c, rows[i][0]);

		assert_string_equal(lp_global_type(&g), rows[i][1]);
		lp_global_free(&g);
	}
}

static void add_row(void *arg, const char *name, const char *type)
{
	lp_buf_printf(arg, "%s %s;", name, type);
}

static void members_are_listed(void **state)
{
	struct lp_global g = found(&c, "server.clients");
	struct lp_buf text = {0};

	assert_int_equal(lp_global_members(&g, add_row, &text, NULL), 0);
	assert_string_equal(lp_buf_cstr(&text),
			    "id int;name char[];peer const char *;next struct client *;as_int int;as_float float;"
			    "at struct {...};low unsigned int;middle unsigned int;negative int;dirty _Bool;"
			    "paint enum colour;");
	lp_buf_free(&text);
	lp_global_free(&g);
	g = found(&c, "an_int");
	assert_int_equal(lp_global_members(&g, add_row, &text, NULL), -LP_ETYPE);
	lp_global_free(&g);
}

static void a_place_says_how_to_walk_there(void **state)
{
	struct lp_global g = found(&c, "server.clients->next->name[1]");
	struct lp_buf text = {0}, want = {0};

	lp_global_place(&g, &text);
	assert_non_null(strstr(lp_buf_cstr(&text), "elf:"));
	lp_buf_printf(&want, "+0x%llx>+32>+5", (unsigned long long)g.vaddr);
	assert_non_null(strstr(lp_buf_cstr(&text), lp_buf_cstr(&want)));
	lp_buf_free(&text);
	lp_buf_free(&want);
	lp_global_free(&g);
}

/* ---- C++ ---- */

static void names_have_namespaces(void **state)
{
	is(&cxx, "config::depth", "3");
	is(&cxx, "other::depth", "4");
	is(&cxx, "::config::inner::value", "8");
	is(&cxx, "inner::value", "8");
	is(&cxx, "value", "8");
	is(&cxx, "unnamed", "6");
	is(&cxx, "derived::count", "17");
	assert_int_equal(refusal(&cxx, "depth"), -LP_EAMBIGUOUS);
}

static void a_std_string_is_its_text(void **state)
{
	is(&cxx, "config::name", "\"short\"");
	is(&cxx, "config::longer", "\"a string that is too long for the object itself\"");
	is(&cxx, "object.title", "\"title\"");
	assert_int_equal(set(&cxx, "config::name", "x"), -LP_ETYPE);
}

static void members_of_classes_are_found_in_their_bases_too(void **state)
{
	is(&cxx, "object.in_base", "1");
	is(&cxx, "pointer->secret_", "5");
	is(&cxx, "pointer->ready", "true");
	is(&cxx, "pointer->boxed.content", "7");
	is(&cxx, "*object.reference", "3");
	is(&cxx, "numbers.content", "0.5");
	is(&cxx, "now", "busy");
	assert_int_equal(set(&cxx, "now", "idle"), 0);
	is(&cxx, "now", "idle");
	assert_int_equal(set(&cxx, "now", "busy"), 0);
	is(&cxx, "wide", "119");
	is(&cxx, "narrow", "110");
}

/* ---- several files ---- */

static void what_the_program_has_a_copy_of_is_the_copy(void **state)
{
	struct lp_debug *d;
	struct lp_global g;
	struct lp_err err = {0};

	write_text("copied.c", "int copied = 3;\n");
	write_text("copier.c", "extern int copied; int main(void) { return copied; }\n");
	shell("gcc -g -fPIC -shared -o libcopied.so copied.c");
	shell("gcc -g -fno-pie -no-pie -o copier copier.c -L. -lcopied -Wl,--build-id=none");
	struct lp_debug_file files[] = {
		{.path = scratch("copier"), .name = "/bin/copier"},
		{.path = scratch("libcopied.so"), .name = "/lib/libcopied.so", .bias = 0x7000000}};
	assert_int_equal(lp_debug_open(&d, files, 2, &err), 0);
	struct lp_elf *e = open_elf(scratch("copier"));
	assert_int_equal(lp_global_find(d, "copied", &g, &err), 0);
	assert_int_equal(g.file, 0);
	assert_int_equal(g.vaddr, symbol_named(e, LP_DYNSYM, "copied").value);
	struct lp_buf text = {0}, want = {0};
	lp_global_place(&g, &text); /* without a build-id by its address */
	lp_buf_printf(&want, LP_ADDR, g.vaddr);
	assert_string_equal(lp_buf_cstr(&text), lp_buf_cstr(&want));
	lp_buf_free(&text);
	lp_buf_free(&want);
	lp_global_free(&g);
	lp_elf_close(e);
	lp_debug_close(d);
}

static void a_file_that_is_not_the_one_that_is_loaded_is_not_looked_at(void **state)
{
	struct lp_debug *d;
	struct lp_err err = {0};
	struct lp_debug_file file = {.name = "/lib/libcopied.so", .build_id = {.bytes = {1, 2, 3}, .len = 3}};

	write_text("other.c", "int copied = 3;\n");
	shell("gcc -g -fPIC -shared -Wl,--build-id=sha1 -o libother.so other.c");
	file.path = scratch("libother.so");
	assert_int_equal(lp_debug_open(&d, &file, 1, &err), -LP_EFILE);
}

/* What a compiler says of `environ`, which the C library has under two names. */
static void a_second_name_is_found_by_its_symbol(void **state)
{
	struct lp_debug *d;
	struct lp_global g, alias;
	struct lp_err err = {0};

	write_text("alias.c", "int first_name = 3;\nextern int second_name;\n"
			      "extern int second_name __attribute__((alias(\"first_name\")));\n"
			      "static const int folded = 4;\nint use(void) { return folded; }\n__thread int own;\n");
	shell("gcc -O1 -g -fPIC -shared -o libalias.so alias.c");
	struct lp_debug_file file = {.path = scratch("libalias.so"), .name = "/lib/libalias.so"};
	assert_int_equal(lp_debug_open(&d, &file, 1, &err), 0);
	assert_int_equal(lp_global_find(d, "first_name", &g, &err), 0);
	assert_int_equal(lp_global_find(d, "second_name", &alias, &err), 0);
	assert_int_equal(alias.vaddr, g.vaddr);
	assert_string_equal(lp_global_type(&alias), "int");
	lp_global_free(&g);
	lp_global_free(&alias);
	assert_int_equal(lp_global_find(d, "own", &g, &err), -LP_ENOVARIABLE);
	assert_non_null(strstr(err.text, "thread-local"));
	assert_int_equal(lp_global_find(d, "absent", &g, &err), -LP_ENOVARIABLE);
	assert_non_null(strstr(err.text, "TYPE global:absent"));
	lp_debug_close(d);
}

/* ---- the same, made by others ---- */

struct build {
	const char *cc, *cxx, *flags, *after;
};

/* Never two of one name: one with unique symbols stays loaded. */
static struct library make_library(const struct build *b, const char *compiler, const char *sources)
{
	static unsigned nr;
	char file[32];

	snprintf(file, sizeof file, "lib%u.so", nr++);
	shell("%s %s -fPIC -shared -Wl,--build-id=sha1 -o %s %s", compiler, b->flags, file, sources);
	if (b->after)
		shell(b->after, file);
	return open_library(file);
}

static int make_libraries(void **state)
{
	const struct build *b = *state;

	c = make_library(b, b->cc, SOURCES "/globals.c " SOURCES "/hidden.c");
	cxx = make_library(b, b->cxx, SOURCES "/globals.cc");
	return 0;
}

static int drop_libraries(void **state)
{
	close_library(&c);
	close_library(&cxx);
	return 0;
}

#define APART "f=%s; objcopy --only-keep-debug $f $f.debug && strip -g $f && objcopy --add-gnu-debuglink=$f.debug $f"

static const struct build builds[] = {
	{"gcc", "g++", "-g -gdwarf-5", NULL},
	{"gcc", "g++", "-O2 -g -gdwarf-4", NULL},
	{"gcc", "g++", "-g -gdwarf-4 -fdebug-types-section", NULL},
	{"gcc", "g++", "-g -gdwarf-3 -gstrict-dwarf", NULL},
	{"gcc", "g++", "-g -gz", NULL},
	{"gcc", "g++", "-g -gsplit-dwarf", NULL},
	{"gcc", "g++", "-g", APART},
	{"clang", "clang++", "-g -gdwarf-5", NULL},
	{"clang", "clang++", "-O1 -g -gdwarf-4", NULL},
};

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scalars_are_shown_as_c_writes_them),
		cmocka_unit_test(enums_have_their_names),
		cmocka_unit_test(paths_lead_through_structures_arrays_and_pointers),
		cmocka_unit_test(what_is_made_of_others_is_shown_whole),
		cmocka_unit_test(members_stand_one_a_line_when_asked_for),
		cmocka_unit_test(strings_are_read_where_they_are),
		cmocka_unit_test(bit_fields_are_read_and_set_alone),
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(a_static_variable_is_named_by_its_source_file),
		cmocka_unit_test(a_type_that_is_only_declared_is_found_where_it_is_defined),
		cmocka_unit_test(what_is_not_there_is_refused),
		cmocka_unit_test(what_is_no_path_is_refused),
		cmocka_unit_test(types_are_named_as_c_does),
		cmocka_unit_test(members_are_listed),
		cmocka_unit_test(a_place_says_how_to_walk_there),
		cmocka_unit_test(names_have_namespaces),
		cmocka_unit_test(a_std_string_is_its_text),
		cmocka_unit_test(members_of_classes_are_found_in_their_bases_too),
		cmocka_unit_test(values_are_set),
	};
	const struct CMUnitTest of_files[] = {
		cmocka_unit_test(what_the_program_has_a_copy_of_is_the_copy),
		cmocka_unit_test(a_file_that_is_not_the_one_that_is_loaded_is_not_looked_at),
		cmocka_unit_test(a_second_name_is_found_by_its_symbol),
	};
	int failures = cmocka_run_group_tests(of_files, NULL, NULL);

	for (size_t i = 0; i < LP_ARRAY_SIZE(builds); i++) {
		printf("%s %s\n", builds[i].cc, builds[i].flags);
		void *state = (void *)&builds[i];
		make_libraries(&state);
		failures += cmocka_run_group_tests(tests, NULL, NULL);
		drop_libraries(&state);
	}
	return failures;
}
