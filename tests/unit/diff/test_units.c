/* Several units of one program: who is whom, and what only the whole shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "pairs.h"

#define UNITS_MAX 4

/* Sources as strings; an empty one is a unit that is not there. */
struct source {
	const char *name, *before, *after;
};

struct program {
	struct lp_diff_unit units[UNITS_MAX];
	struct lp_elf *linked[UNITS_MAX];
	size_t nr;
	struct lp_elf *original, *target;
	struct lp_diff *d;
	struct lp_err err;
	int rc;
	struct lp_diff_input in;
};

static void write_source(const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", scratch(), name);
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static struct lp_elf *open_it(const char *fmt, ...)
{
	char path[256];
	struct lp_err err = {0};
	struct lp_elf *e = NULL;
	size_t n = (size_t)snprintf(path, sizeof path, "%s/", scratch());
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path + n, sizeof path - n, fmt, ap);
	va_end(ap);
	if (lp_elf_open(&e, path, &err))
		fail_msg("%s", err.text);
	return e;
}

static struct lp_elf *compile(const struct source *s, const char *text, const char *as, const char *flags)
{
	if (!text)
		return NULL;
	write_source(s->name, text);
	run("cd %s && gcc -w -O2 %s -c -o %s.%s.o %s", scratch(), flags, s->name, as, s->name);
	return open_it("%s.%s.o", s->name, as);
}

/* Compiles and links; p->in may be changed before diff(). */
static void build(struct program *p, const struct source *sources, size_t nr, const char *link_flags)
{
	char objects[1024] = "";

	*p = (struct program){.nr = nr};
	for (size_t i = 0; i < nr; i++) {
		const struct source *s = &sources[i];
		p->units[i].name = s->name;
		p->units[i].before = compile(s, s->before, "before", "-ffunction-sections -fdata-sections");
		p->units[i].after = compile(s, s->after, "after", "-ffunction-sections -fdata-sections");
		p->linked[i] = compile(s, s->before, "linked", "");
		size_t n = strlen(objects);
		if (s->before)
			snprintf(objects + n, sizeof objects - n, " %s.linked.o", s->name);
	}
	run("cd %s && gcc -w -o original %s %s", scratch(), objects, link_flags);
	p->original = open_it("original");
	p->in = (struct lp_diff_input){
		.units = p->units, .nr_units = nr, .original = p->original, .id = "units", .object_name = "original"};
}

static void diff(struct program *p)
{
	p->rc = lp_diff_make(&p->d, &p->in, &p->err);
	if (!p->d)
		fail_msg("%s", p->err.text);
}

static void destroy(struct program *p)
{
	lp_diff_free(p->d);
	for (size_t i = 0; i < p->nr; i++) {
		lp_elf_close(p->units[i].before);
		lp_elf_close(p->units[i].after);
		lp_elf_close(p->linked[i]);
	}
	lp_elf_close(p->original);
	lp_elf_close(p->target);
}

static const struct lp_diff_change *change_of(const struct program *p, const char *name)
{
	size_t nr;
	const struct lp_diff_change *c = lp_diff_changes(p->d, &nr);

	for (size_t i = 0; i < nr; i++)
		if (!strcmp(c[i].name, name))
			return &c[i];
	return NULL;
}

static void expect_change(const struct program *p, enum lp_diff_kind kind, const char *name)
{
	const struct lp_diff_change *c = change_of(p, name);

	if (!c || c->kind != kind)
		fail_msg("%s: %s, wanted %s", name, c ? lp_diff_kind_name(c->kind) : "no change",
			 lp_diff_kind_name(kind));
}

static const struct lp_diff_refusal *refusal_of(const struct program *p, const char *code, const char *culprit)
{
	size_t nr;
	const struct lp_diff_refusal *r = lp_diff_refusals(p->d, &nr);

	for (size_t i = 0; i < nr; i++)
		if (!strcmp(r[i].code, code) && !strcmp(r[i].culprit, culprit))
			return &r[i];
	return NULL;
}

static void expect_refusal(const struct program *p, const char *code, const char *culprit)
{
	const struct lp_diff_refusal *r = refusal_of(p, code, culprit);

	assert_int_equal(p->rc, -LP_EDIFF);
	if (!r)
		fail_msg("no refusal %s of %s, but: %s", code, culprit, p->err.text);
	assert_non_null(strstr(r->sentence, culprit));
	assert_true(strlen(r->remedy) > 10);
	assert_non_null(strstr(p->err.text, code));
}

/* The address in the original to which the object's relocations for `symbol` lead; fails when there are several. */
static uint64_t bound_address(struct program *p, const char *symbol)
{
	struct lp_buf bytes = {0};
	struct lp_elf *e = NULL;
	struct lp_elf_sym s;
	uint64_t found = 0;

	if (lp_diff_emit(p->d, &bytes, &p->err))
		fail_msg("%s", p->err.text);
	assert_int_equal(lp_elf_from_bytes(&e, bytes.data, bytes.len, "emitted", &p->err), 0);
	for (size_t i = 1; lp_elf_symbol(e, LP_SYMTAB, i, &s); i++) {
		const Elf64_Shdr *h = lp_elf_section(e, s.shndx);
		if (strcmp(s.name, symbol) || !h || h->sh_type != SHT_NOBITS)
			continue;
		assert_true(!found || found == h->sh_addr + s.value);
		found = h->sh_addr + s.value;
	}
	lp_elf_close(e);
	lp_buf_free(&bytes);
	return found;
}

static uint64_t address_in_file(struct lp_elf *e, const char *name, const char *file)
{
	struct lp_elf_sym s;

	for (size_t at = 0; lp_elf_symbol_by_name(e, LP_SYMTAB, name, &at, &s);)
		if (!file || (s.file && !strcmp(s.file, file)))
			return s.value;
	fail_msg("no %s of %s", name, file ? file : "any file");
	return 0;
}

/* ---- names ---- */

#define TWO_STATES(change)                                                                                        \
	{"one.c", "static int state = 1; int one(void) { return state++; }",                                      \
	 "static int state = 1; int one(void) { return state" change "; }"},                                      \
	{                                                                                                         \
		"two.c", "static int state = 2; int one(void); int main(void) { state += one(); return state; }", \
			"static int state = 2; int one(void); int main(void) { state -= one(); return state; }"   \
	}

static void statics_of_one_name_are_told_apart_by_their_file(void **state)
{
	const struct source sources[] = {TWO_STATES("++")};
	struct program p;

	(void)state;
	build(&p, sources, 2, "");
	diff(&p);
	assert_int_equal(p.rc, 0);
	assert_null(change_of(&p, "one"));
	expect_change(&p, LP_DIFF_FUNCTION_CHANGED, "main");
	assert_int_equal(bound_address(&p, "state"), address_in_file(p.original, "state", "two.c"));
	destroy(&p);
}

static void statics_of_one_name_in_files_of_one_name_are_refused_without_a_map(void **state)
{
	const struct source sources[] = {TWO_STATES("++")};
	struct program p;

	(void)state;
	build(&p, sources, 2, "");
	run("cd %s && objcopy --keep-symbol=state --keep-symbol=main --keep-symbol=one --strip-symbol=one.c "
	    "--strip-symbol=two.c "
	    "original nameless",
	    scratch());
	lp_elf_close(p.original);
	p.in.original = p.original = open_it("nameless");
	diff(&p);
	assert_int_equal(p.rc, -LP_EDIFF);
	destroy(&p);
}

static void the_map_finds_what_names_cannot(void **state)
{
	const struct source sources[] = {TWO_STATES("--")};
	struct program p;
	struct lp_placement places[2][2];

	(void)state;
	build(&p, sources, 2, "");
	for (int i = 0; i < 2; i++) {
		const char *file = sources[i].name;
		places[i][0] = (struct lp_placement){".data", 0, address_in_file(p.original, "state", file), 4};
		places[i][1] = (struct lp_placement){".text", 0, address_in_file(p.original, "one", NULL), 0};
		p.units[i].linked = p.linked[i];
		p.units[i].placements = places[i];
		p.units[i].nr_placements = 2;
	}
	diff(&p);
	assert_int_equal(p.rc, 0);
	expect_change(&p, LP_DIFF_FUNCTION_CHANGED, "one");
	destroy(&p);
}

static void a_wrong_map_is_not_believed(void **state)
{
	const struct source sources[] = {TWO_STATES("--")};
	struct program p;
	const struct lp_placement wrong[] = {{".data", 0, 0x1000, 4}};

	(void)state;
	build(&p, sources, 2, "");
	p.units[0].linked = p.linked[0];
	p.units[0].placements = wrong;
	p.units[0].nr_placements = 1;
	diff(&p);
	expect_refusal(&p, "ambiguous-original", "state");
	destroy(&p);
}

/* ---- across units ---- */

static void a_new_function_is_called_across_units(void **state)
{
	const struct source sources[] = {
		{"caller.c", "int main(void) { return 1; }", "int fresh(int); int main(void) { return fresh(1); }"},
		{"other.c", "int old(int x) { return x; }",
		 "static int count; int old(int x) { return x; } int fresh(int x) { return x + ++count; }"},
	};
	struct program p;

	(void)state;
	build(&p, sources, 2, "");
	diff(&p);
	assert_int_equal(p.rc, 0);
	expect_change(&p, LP_DIFF_FUNCTION_CHANGED, "main");
	expect_change(&p, LP_DIFF_FUNCTION_NEW, "fresh");
	expect_change(&p, LP_DIFF_DATA_NEW, "count");
	assert_null(change_of(&p, "old"));
	destroy(&p);
}

static void a_new_unit_travels_as_far_as_it_is_needed(void **state)
{
	const struct source sources[] = {
		{"main.c", "int main(void) { return 1; }", "int fresh(int); int main(void) { return fresh(1); }"},
		{"new.c", NULL, "int fresh(int x) { return x + 9; } int unused(int x) { return x - 9; }"},
	};
	struct program p;

	(void)state;
	build(&p, sources, 2, "");
	diff(&p);
	assert_int_equal(p.rc, 0);
	expect_change(&p, LP_DIFF_FUNCTION_NEW, "fresh");
	assert_null(change_of(&p, "unused"));
	destroy(&p);
}

static void a_function_that_moved_to_another_unit_is_still_the_same(void **state)
{
	const struct source sources[] = {
		{"from.c", "int moving(int x) { return x * 3; } int main(void) { return moving(1); }",
		 "int moving(int x); int main(void) { return moving(1); }"},
		{"to.c", "int rest(int x) { return x; }",
		 "int rest(int x) { return x; } int moving(int x) { return x * 4; }"},
	};
	struct program p;

	(void)state;
	build(&p, sources, 2, "");
	diff(&p);
	assert_int_equal(p.rc, 0);
	expect_change(&p, LP_DIFF_FUNCTION_CHANGED, "moving");
	destroy(&p);
}

static void a_global_constant_may_change_when_nobody_else_uses_it(void **state)
{
	const struct source sources[] = {
		{"table.c", "const int table[3] = {1, 2, 3}; int get(int i) { return table[i]; }",
		 "const int table[3] = {1, 2, 4}; int get(int i) { return table[i]; }"},
		{"main.c", "int get(int); int main(int c, char **v) { return get(c); }",
		 "int get(int); int main(int c, char **v) { return get(c); }"},
	};
	struct program p;

	(void)state;
	build(&p, sources, 2, "");
	struct lp_elf *stranger = p.linked[1], *user = p.linked[0];
	p.in.nr_units = 1;
	diff(&p);
	expect_refusal(&p, "changed-constant", "table"); /* who knows what the others do */
	lp_diff_free(p.d);
	p.in.others = &stranger;
	p.in.nr_others = 1;
	diff(&p);
	assert_int_equal(p.rc, 0);
	expect_change(&p, LP_DIFF_CONST_CHANGED, "table");
	expect_change(&p, LP_DIFF_FUNCTION_CHANGED, "get");
	(void)user;
	destroy(&p);
}

/* ---- the original ---- */

static void another_binary_than_the_rebuilt_one_is_refused(void **state)
{
	const struct source sources[] = {
		{"main.c", "int twice(int x) { return 2 * x; } int main(int c, char **v) { return twice(c); }",
		 "int twice(int x) { return 3 * x; } int main(int c, char **v) { return twice(c); }"},
	};
	struct program p;

	(void)state;
	build(&p, sources, 1, "-Wl,--build-id");
	write_source("foreign.c", "int twice(int x) { return 7 * x; } int main(int c, char **v) { return twice(c); }");
	run("cd %s && gcc -O2 -Wl,--build-id -o foreign foreign.c", scratch());
	p.in.target = p.target = open_it("foreign");
	diff(&p);
	expect_refusal(&p, "original-differs", "twice");
	destroy(&p);
}

static void the_same_code_under_another_build_id_will_do(void **state)
{
	const struct source sources[] = {
		{"main.c",
		 "int state = 1; int twice(int x) { return 2 * x; } int main(int c, char **v) { return twice(c); }",
		 "int state = 1; int twice(int x) { return 3 * x + state; } int main(int c, char **v) { return "
		 "twice(c); }"},
	};
	struct program p;

	(void)state;
	build(&p, sources, 1, "-Wl,--build-id");
	run("cd %s && gcc -Wl,--build-id=0x1234567890 -o same main.c.linked.o && strip same", scratch());
	p.in.target = p.target = open_it("same");
	diff(&p);
	assert_int_equal(p.rc, 0);
	expect_change(&p, LP_DIFF_FUNCTION_CHANGED, "twice");
	destroy(&p);
}

static void folded_functions_are_not_replaced(void **state)
{
	const struct source sources[] = {
		{"main.c",
		 "__attribute__((noinline,noipa)) int a(int x) { return x * 77; } __attribute__((noinline,noipa)) int "
		 "b(int x) { "
		 "return x * 77; } int main(int c, char **v) { return a(c) + b(c); }",
		 "__attribute__((noinline,noipa)) int a(int x) { return x * 78; } __attribute__((noinline,noipa)) int "
		 "b(int x) { "
		 "return x * 77; } int main(int c, char **v) { return a(c) + b(c); }"},
	};
	struct program p;

	(void)state;
	build(&p, sources, 1, "");
	/* what a linker's --icf does to the symbol table */
	run("cd %s && objcopy --add-symbol b_folded=.text:$(printf '0x%%x' $(( 0x$(nm original | awk '$3 == \"a\" "
	    "{print $1}') - 0x$(readelf -SW "
	    "original | awk '$2 == \".text\" {print $4} $3 == \".text\" {print $5}') ))),function,global original "
	    "folded",
	    scratch());
	lp_elf_close(p.original);
	p.in.original = p.original = open_it("folded");
	diff(&p);
	expect_refusal(&p, "shared-code", "a");
	destroy(&p);
}

static void a_static_program_has_only_what_it_has(void **state)
{
	const struct source sources[] = {
		{"main.c", "int f(int x) { return x; } int main(int c, char **v) { return f(c); }",
		 "int lockf(int, int, long); int f(int x) { return lockf(x, 1, 2); } int main(int c, char **v) { "
		 "return f(c); }"},
	};
	struct program p;

	(void)state;
	build(&p, sources, 1, "-static");
	diff(&p);
	expect_refusal(&p, "undefined-symbol", "lockf");
	destroy(&p);
}

static void what_the_linker_dropped_is_not_in_the_original(void **state)
{
	const struct source sources[] = {
		{"main.c",
		 "static int counter __attribute__((section(\".data.counter\"))) = 5; "
		 "__attribute__((section(\".text.unused\"))) int unused(void) { return counter++; } "
		 "int main(int c, char **v) { return c; }",
		 "static int counter __attribute__((section(\".data.counter\"))) = 5; "
		 "__attribute__((section(\".text.unused\"))) int unused(void) { return counter++; } "
		 "int main(int c, char **v) { return c + counter; }"},
	};
	struct program p;

	(void)state;
	build(&p, sources, 1, "-Wl,--gc-sections");
	diff(&p);
	expect_refusal(&p, "not-in-original", "counter");
	destroy(&p);
}

static void code_without_a_name_is_not_found_in_the_original(void **state)
{
	const struct source sources[] = {
		{"main.c",
		 "__asm__(\".pushsection .text.nameless, \\\"ax\\\"; ret; .popsection\"); int main(void) { return 1; }",
		 "__asm__(\".pushsection .text.nameless, \\\"ax\\\"; nop; ret; .popsection\"); int main(void) { return "
		 "1; }"},
	};
	struct program p;

	(void)state;
	build(&p, sources, 1, "");
	diff(&p);
	expect_refusal(&p, "not-in-original", ".text.nameless");
	destroy(&p);
}

/* ---- objects ---- */

static void numbers_that_only_the_assembler_knows_do_not_travel(void **state)
{
	const struct source sources[] = {
		{"main.c",
		 "long address(void) { return 1; } long place(void) { return 2; } "
		 "int main(void) { return (int)(address() + place()); }",
		 "long address(void) { __asm__ volatile(\"call 0x401000\"); return 1; } "
		 "__attribute__((noipa)) long place(void) { long at; "
		 "__asm__ volatile(\"mov magic@GOTPCREL(%%rip), %0; .globl magic; magic = 0x1000\" : \"=r\"(at)); "
		 "return at; } "
		 "int main(void) { return (int)(address() + place()); }"},
	};
	struct program p;

	(void)state;
	build(&p, sources, 1, "");
	diff(&p);
	expect_refusal(&p, "absolute-symbol", "address");
	expect_refusal(&p, "absolute-symbol", "magic");
	destroy(&p);
}

static void objects_without_machine_code_are_refused(void **state)
{
	const struct source sources[] = {
		{"main.c", "int main(void) { return 1; }", "int main(void) { return 2; }"},
	};
	struct program p;

	(void)state;
	build(&p, sources, 1, "");
	lp_elf_close(p.units[0].after);
	p.units[0].after = compile(&sources[0], sources[0].after, "after", "-flto");
	diff(&p);
	expect_refusal(&p, "lto", "main.c");
	destroy(&p);
}

static void variables_do_not_change_what_they_are(void **state)
{
	const struct source sources[] = {
		{"main.c", "int a = 1; const int b = 2; __thread int c = 3; int main(void) { return a++ + b + c++; }",
		 "const int a = 1; int b = 2; __thread int c = 4; int main(void) { return a + b++ + c++; }"},
	};
	struct program p;

	(void)state;
	build(&p, sources, 1, "");
	diff(&p);
	expect_refusal(&p, "changed-storage", "a");
	expect_refusal(&p, "changed-storage", "b");
	expect_refusal(&p, "changed-tls", "c");
	destroy(&p);
}

static void a_user_may_name_functions_that_take_a_line(void **state)
{
	const struct source sources[] = {
		{"main.c",
		 "void note(int line); void note(int line) { __asm__(\"\" : : \"r\"(line)); }\nint main(void) { "
		 "note(__LINE__); "
		 "return 0; }",
		 "void note(int line); void note(int line) { __asm__(\"\" : : \"r\"(line)); }\n\n\nint main(void) { "
		 "note(__LINE__); "
		 "return 0; }"},
	};
	static const char *const names[] = {"note"};
	struct program p;

	(void)state;
	build(&p, sources, 1, "");
	for (int i = 0; i < 2; i++) {
		lp_elf_close(i ? p.units[0].after : p.units[0].before);
		*(i ? &p.units[0].after : &p.units[0].before) =
			compile(&sources[0], i ? sources[0].after : sources[0].before, i ? "after" : "before",
				"-fno-inline -ffunction-sections -fdata-sections");
	}
	diff(&p);
	expect_change(&p, LP_DIFF_FUNCTION_CHANGED, "main");
	lp_diff_free(p.d);
	p.in.line_functions = names;
	p.in.nr_line_functions = 1;
	diff(&p);
	assert_int_equal(p.rc, 0);
	assert_true(lp_diff_empty(p.d));
	destroy(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(statics_of_one_name_are_told_apart_by_their_file),
		cmocka_unit_test(statics_of_one_name_in_files_of_one_name_are_refused_without_a_map),
		cmocka_unit_test(the_map_finds_what_names_cannot),
		cmocka_unit_test(a_wrong_map_is_not_believed),
		cmocka_unit_test(a_new_function_is_called_across_units),
		cmocka_unit_test(a_new_unit_travels_as_far_as_it_is_needed),
		cmocka_unit_test(a_function_that_moved_to_another_unit_is_still_the_same),
		cmocka_unit_test(a_global_constant_may_change_when_nobody_else_uses_it),
		cmocka_unit_test(another_binary_than_the_rebuilt_one_is_refused),
		cmocka_unit_test(the_same_code_under_another_build_id_will_do),
		cmocka_unit_test(folded_functions_are_not_replaced),
		cmocka_unit_test(a_static_program_has_only_what_it_has),
		cmocka_unit_test(what_the_linker_dropped_is_not_in_the_original),
		cmocka_unit_test(code_without_a_name_is_not_found_in_the_original),
		cmocka_unit_test(numbers_that_only_the_assembler_knows_do_not_travel),
		cmocka_unit_test(objects_without_machine_code_are_refused),
		cmocka_unit_test(variables_do_not_change_what_they_are),
		cmocka_unit_test(a_user_may_name_functions_that_take_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
