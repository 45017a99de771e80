/*
 * Search across images.  For what ld.so would bind, ld.so itself is asked:
 * dlsym and dlvsym in this process against lp_scope_bind over its own images.
 */
#include "fixture.h"

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>

/* ---- specifications ---- */

static void assert_text(const char *a, const char *b)
{
	assert_int_equal(!a, !b);
	if (a)
		assert_string_equal(a, b);
}

static void a_specification_is_taken_apart(void **state)
{
	static const struct {
		const char *text, *module, *file, *prefix, *name, *version;
		bool version_default;
	} rows[] = {
		{"malloc", NULL, NULL, NULL, "malloc", NULL, false},
		{"memcpy@GLIBC_2.2.5", NULL, NULL, NULL, "memcpy", "GLIBC_2.2.5", false},
		{"memcpy@@GLIBC_2.14", NULL, NULL, NULL, "memcpy", "GLIBC_2.14", true},
		{"libc.so.6:malloc", NULL, NULL, "libc.so.6", "malloc", NULL, false},
		{"/lib/libc.so.6:malloc@@V", NULL, NULL, "/lib/libc.so.6", "malloc", "V", true},
		{"server.c:init", NULL, NULL, "server.c", "init", NULL, false},
		{"redis-server:server.c:init", "redis-server", "server.c", NULL, "init", NULL, false},
		{"/opt/a@1/lib.so:dir/x.c:f@V", "/opt/a@1/lib.so", "dir/x.c", NULL, "f", "V", false},
		{"foo.isra.0", NULL, NULL, NULL, "foo.isra.0", NULL, false},
		{"@odd", NULL, NULL, NULL, "@odd", NULL, false},
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(rows); i++) {
		struct lp_symspec s;
		assert_int_equal(lp_symspec_parse(&s, rows[i].text, NULL), 0);
		assert_text(s.module, rows[i].module);
		assert_text(s.file, rows[i].file);
		assert_text(s.prefix, rows[i].prefix);
		assert_text(s.name, rows[i].name);
		assert_text(s.version, rows[i].version);
		assert_int_equal(s.version_default, rows[i].version_default);
		lp_symspec_free(&s);
	}
}

static void a_specification_with_an_empty_part_is_refused(void **state)
{
	static const char *const bad[] = {"",	  ":",	     "a:", ":a",  "a::b",  ":a:b",
					  "a:b:", "a:b:c:d", "f@", "f@@", "f@@@V", "f@V@W"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(bad); i++) {
		struct lp_symspec s;
		struct lp_err err = {0};
		assert_int_equal(lp_symspec_parse(&s, bad[i], &err), -LP_EPARSE);
		assert_non_null(strstr(err.text, "module:file.c:name"));
		assert_null(s.name);
	}
}

/* ---- finding ---- */

static struct lp_image images[3];

static int compile(void **state)
{
	write_text("one.c", "static int n; __attribute__((noinline)) static int helper(void) { return ++n; }\n"
			    "int run(void) { return helper(); }\nint only_one(void) { return 3; }\n"
			    "__thread int per_thread; __thread int second_per_thread;\n");
	write_text("two.c", "static int n; __attribute__((noinline)) static int helper(void) { return --n; }\n"
			    "int run_two(void) { return helper(); }\n");
	write_text("lib.c",
		   "int run(void) { return 7; }\nint undefined_here(void);\n"
		   "int call(void) { return undefined_here(); }\n"
		   "__attribute__((visibility(\"hidden\"))) int hidden(void) { return 1; }\n"
		   "__attribute__((weak)) int weak_one(void) { return hidden(); }\n"
		   "int o(void) { return 1; }\nint m(void) { return 2; }\n"
		   "__asm__(\".symver o, api@V1\\n.symver m, api@@V2\\n\");\n"
		   "__asm__(\".symver o2, same@V1\\n.symver o2, same@@V2\\n\");\nint o2(void) { return 5; }\n");
	write_text("lib.map", "V1 { global: run; call; weak_one; api; same; };\nV2 { global: api; same; } V1;\n");
	write_text("late.c", "int weak_one(void) { return 9; }\nint undefined_here(void) { return 4; }\nint api(void) "
			     "{ return 8; }\n");
	shell("gcc -O1 -g -fPIC -c one.c && gcc -O1 -g -fPIC -S two.c");
	shell("sed -i 's|\\.file\t\"two.c\"|.file \"src/two.c\"|' two.s && gcc -c two.s");
	shell("gcc -shared -Wl,-soname,libone.so.1 -o one.so one.o two.o");
	shell("objcopy --only-keep-debug one.so one.debug && strip -o one.stripped.so one.so");
	shell("gcc -O0 -fPIC -shared -Wl,--version-script=lib.map -Wl,-soname,liblib.so.6 -o lib.so lib.c");
	shell("gcc -O0 -fPIC -shared -o late.so late.c");
	images[0] = (struct lp_image){"one.so", "/srv/app/one.so", 0x10000000, open_elf(scratch("one.stripped.so")),
				      open_elf(scratch("one.debug"))};
	images[1] = (struct lp_image){"lib.so", "/usr/lib/lib.so", 0x20000000, open_elf(scratch("lib.so")), NULL};
	images[2] = (struct lp_image){"late.so", "/usr/lib/late.so", 0x30000000, open_elf(scratch("late.so")), NULL};
	return 0;
}

static int close_images(void **state)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(images); i++) {
		lp_elf_close(images[i].elf);
		lp_elf_close(images[i].debug);
	}
	return 0;
}

static lp_found_vec find(const char *text)
{
	struct lp_symspec spec;
	struct lp_err err = {0};
	lp_found_vec found = {0};
	assert_int_equal(lp_symspec_parse(&spec, text, &err), 0);
	if (lp_scope_find(images, LP_ARRAY_SIZE(images), &spec, &found, &err))
		fail_msg("%s", err.text);
	lp_symspec_free(&spec);
	return found;
}

static size_t nr_found(const char *text)
{
	lp_found_vec found = find(text);
	size_t nr = found.nr;
	lp_vec_free(&found);
	return nr;
}

static struct lp_found only(const char *text)
{
	lp_found_vec found = find(text);
	if (found.nr != 1)
		fail_msg("%s has %zu meanings", text, found.nr);
	struct lp_found f = found.items[0];
	lp_vec_free(&found);
	return f;
}

static void one_thing_in_three_tables_is_found_once(void **state)
{
	struct lp_found f = only("only_one");
	assert_int_equal(f.image, 0);
	assert_int_equal(f.addr, images[0].bias + symbol_named(images[0].elf, LP_DYNSYM, "only_one").value);
}

static void all_meanings_come_in_search_order(void **state)
{
	lp_found_vec found = find("run");
	assert_int_equal(found.nr, 2);
	assert_int_equal(found.items[0].image, 0);
	assert_int_equal(found.items[1].image, 1);
	assert_int_equal(found.items[1].addr, images[1].bias + found.items[1].sym.value);
	lp_vec_free(&found);
}

static void a_local_symbol_is_chosen_by_its_source_file(void **state)
{
	assert_int_equal(nr_found("helper"), 2);
	assert_string_equal(only("one.c:helper").sym.file, "one.c");
	struct lp_found two = only("two.c:helper");
	assert_string_equal(two.sym.file, "src/two.c"); /* as some compilers write it */
	assert_int_equal(only("src/two.c:helper").addr, two.addr);
	assert_int_equal(nr_found("other/two.c:helper"), 0);
	assert_int_equal(nr_found("o.c:helper"), 0);
	assert_int_equal(only("one.so:two.c:helper").addr, two.addr);
	assert_int_equal(nr_found("lib.so:two.c:helper"), 0);
}

static void a_module_is_known_by_soname_basename_and_path(void **state)
{
	lp_addr run = only("lib.so:run").addr;
	assert_int_equal(only("liblib.so.6:run").addr, run);
	assert_int_equal(only("/usr/lib/lib.so:run").addr, run);
	assert_int_not_equal(only("one.so:run").addr, run);
}

static void a_module_that_is_not_loaded_is_an_error_but_an_unknown_prefix_is_a_file(void **state)
{
	struct lp_symspec spec;
	struct lp_err err = {0};
	lp_found_vec found = {0};
	assert_int_equal(nr_found("libnot.so:run"), 0);
	assert_int_equal(lp_symspec_parse(&spec, "libnot.so:one.c:run", NULL), 0);
	assert_int_equal(lp_scope_find(images, LP_ARRAY_SIZE(images), &spec, &found, &err), -LP_ENOSYM);
	assert_string_equal(err.text, "no module named libnot.so is loaded");
	lp_symspec_free(&spec);
}

static void versions_choose_among_definitions(void **state)
{
	assert_int_equal(nr_found("lib.so:api"), 2);
	struct lp_found old = only("api@V1"), new = only("api@V2");
	assert_int_not_equal(old.addr, new.addr);
	assert_int_equal(only("api@@V2").addr, new.addr);
	assert_int_equal(nr_found("api@@V1"), 0);
	assert_int_equal(nr_found("api@V3"), 0);
}

static void versions_of_one_address_are_one_thing_with_its_default_version(void **state)
{
	struct lp_found f = only("same");
	assert_string_equal(f.sym.version, "V2");
	assert_false(f.sym.version_hidden);
}

static void undefined_symbols_are_never_found(void **state)
{
	assert_int_equal(only("undefined_here").image, 2);
	assert_int_equal(nr_found("lib.so:undefined_here"), 0);
}

static void thread_local_variables_have_offsets_not_addresses(void **state)
{
	struct lp_found a = only("per_thread"), b = only("second_per_thread");
	assert_int_equal(a.addr + b.addr, 4); /* 0 and 4, in either order */
}

static void binding_sees_only_what_is_exported(void **state)
{
	struct lp_found f;
	assert_false(lp_scope_bind(images, 3, "helper", NULL, &f));
	assert_false(lp_scope_bind(images, 3, "hidden", NULL, &f));
	assert_true(lp_scope_bind(images, 3, "undefined_here", NULL, &f));
	assert_int_equal(f.image, 2);
}

static void binding_takes_the_first_in_order_weak_or_not(void **state)
{
	struct lp_found f;
	assert_true(lp_scope_bind(images, 3, "weak_one", NULL, &f));
	assert_int_equal(f.image, 1);
	assert_int_equal(f.sym.bind, STB_WEAK);
	assert_true(lp_scope_bind(images, 3, "run", NULL, &f));
	assert_int_equal(f.image, 0);
}

static void binding_without_a_version_takes_the_default_and_with_one_that_one(void **state)
{
	struct lp_found f;
	assert_true(lp_scope_bind(images, 3, "api", NULL, &f));
	assert_int_equal(f.addr, only("api@V2").addr);
	assert_true(lp_scope_bind(images, 3, "api", "V1", &f));
	assert_int_equal(f.addr, only("api@V1").addr);
	/* Nobody has V9, but late.so has no versions at all and will do. */
	assert_true(lp_scope_bind(images, 3, "api", "V9", &f));
	assert_int_equal(f.image, 2);
	assert_false(lp_scope_bind(images, 2, "api", "V9", &f));
}

/* No linker writes what these two need: the dynamic symbols of a library, changed by hand. */
static uint8_t *dynamic_part(uint8_t *bytes, const struct lp_elf *e, int64_t tag)
{
	uint64_t at;
	assert_true(lp_elf_dynamic(e, tag, &at));
	return bytes + (lp_elf_bytes_at_vaddr(e, at, 1) - lp_elf_bytes_at(e, 0, 1));
}

static bool binds(const uint8_t *bytes, size_t len, const char *name)
{
	struct lp_image image = {"changed.so", "/changed.so", 0, NULL, NULL};
	struct lp_found f;
	assert_int_equal(lp_elf_from_bytes(&image.elf, bytes, len, "changed.so", NULL), 0);
	bool bound = lp_scope_bind(&image, 1, name, NULL, &f);
	lp_elf_close(image.elf);
	return bound;
}

static void binding_passes_over_hidden_and_internal_symbols(void **state)
{
	size_t len;
	uint8_t *bytes = slurp(scratch("late.so"), &len);
	size_t index = symbol_named(images[2].elf, LP_DYNSYM, "api").index;
	Elf64_Sym *s = (Elf64_Sym *)dynamic_part(bytes, images[2].elf, DT_SYMTAB) + index;
	static const bool visible[] = {
		[STV_DEFAULT] = true, [STV_INTERNAL] = false, [STV_HIDDEN] = false, [STV_PROTECTED] = true};
	for (unsigned visibility = 0; visibility < LP_ARRAY_SIZE(visible); visibility++) {
		s->st_other = (unsigned char)visibility;
		assert_int_equal(binds(bytes, len, "api"), visible[visibility]);
	}
	lp_free(bytes);
}

static void two_default_versions_are_as_good_as_none(void **state)
{
	size_t len, cursor = 0;
	struct lp_elf_sym s;
	uint8_t *bytes = slurp(scratch("lib.so"), &len);
	assert_true(binds(bytes, len, "api"));
	Elf64_Half *versym = (Elf64_Half *)dynamic_part(bytes, images[1].elf, DT_VERSYM);
	while (lp_elf_symbol_by_name(images[1].elf, LP_DYNSYM, "api", &cursor, &s))
		versym[s.index] &= 0x7fff;
	assert_false(binds(bytes, len, "api"));
	lp_free(bytes);
}

/* ---- against the real one ---- */

typedef LP_VEC(struct lp_image) image_vec;

static int add_image(struct dl_phdr_info *info, size_t size, void *arg)
{
	image_vec *v = arg;
	const char *path = *info->dlpi_name ? info->dlpi_name : "/proc/self/exe";
	if (path[0] == '/') /* the vDSO is not searched */
		lp_vec_push(v, ((struct lp_image){path, path, info->dlpi_addr, open_elf(path), NULL}));
	return 0;
}

static bool comparable(const struct lp_elf_sym *s)
{
	return s->shndx != SHN_UNDEF && s->bind != STB_LOCAL && s->type != STT_GNU_IFUNC && s->type != STT_TLS;
}

/*
 * dlsym calls IFUNC resolvers and gives TLS variables an address.  dlvsym takes
 * nothing but the version, where a relocation (and lp_scope_bind) would take
 * an earlier definition without any: so a sanitizer's library replaces libc's.
 */
static bool has_another_answer(const struct lp_found *f, const char *version)
{
	return f->sym.type == STT_GNU_IFUNC || f->sym.type == STT_TLS || (version && !f->sym.version);
}

static void compare_binding(const image_vec *v, const char *name, const char *version)
{
	struct lp_found f;
	bool ours = lp_scope_bind(v->items, v->nr, name, version, &f);
	if (ours && has_another_answer(&f, version))
		return;
	dlerror();
	void *theirs = version ? dlvsym(RTLD_DEFAULT, name, version) : dlsym(RTLD_DEFAULT, name);
	bool found = !dlerror(); /* a symbol's value may be NULL */
	if (ours != found || (ours && f.addr != (lp_addr)(uintptr_t)theirs))
		fail_msg("%s@%s: ld.so says %p, we say %s " LP_ADDR, name, version ? version : "", theirs,
			 ours ? "" : "nothing", ours ? f.addr : 0);
}

static void every_symbol_of_this_process_is_bound_as_ld_so_binds_it(void **state)
{
	image_vec v = {0};
	struct lp_elf_sym s;
	size_t compared = 0;
	dl_iterate_phdr(add_image, &v);
	for (size_t i = 0; i < v.nr; i++) {
		for (size_t n = 0; lp_elf_symbol(v.items[i].elf, LP_DYNSYM, n, &s); n++) {
			if (!comparable(&s))
				continue;
			compare_binding(&v, s.name, NULL);
			if (s.version)
				compare_binding(&v, s.name, s.version);
			compared++;
		}
	}
	assert_true(compared > 2000);
	compare_binding(&v, "livepatch_no_such_symbol", NULL);
	compare_binding(&v, "getenv", "GLIBC_2.99");
	for (size_t i = 0; i < v.nr; i++)
		lp_elf_close(v.items[i].elf);
	lp_vec_free(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_specification_is_taken_apart),
		cmocka_unit_test(a_specification_with_an_empty_part_is_refused),
		cmocka_unit_test(one_thing_in_three_tables_is_found_once),
		cmocka_unit_test(all_meanings_come_in_search_order),
		cmocka_unit_test(a_local_symbol_is_chosen_by_its_source_file),
		cmocka_unit_test(a_module_is_known_by_soname_basename_and_path),
		cmocka_unit_test(a_module_that_is_not_loaded_is_an_error_but_an_unknown_prefix_is_a_file),
		cmocka_unit_test(versions_choose_among_definitions),
		cmocka_unit_test(versions_of_one_address_are_one_thing_with_its_default_version),
		cmocka_unit_test(undefined_symbols_are_never_found),
		cmocka_unit_test(thread_local_variables_have_offsets_not_addresses),
		cmocka_unit_test(binding_sees_only_what_is_exported),
		cmocka_unit_test(binding_takes_the_first_in_order_weak_or_not),
		cmocka_unit_test(binding_without_a_version_takes_the_default_and_with_one_that_one),
		cmocka_unit_test(binding_passes_over_hidden_and_internal_symbols),
		cmocka_unit_test(two_default_versions_are_as_good_as_none),
		cmocka_unit_test(every_symbol_of_this_process_is_bound_as_ld_so_binds_it),
	};
	return cmocka_run_group_tests(tests, compile, close_images);
}
