/*
 * Separate debug files: found by build-id and by debuglink, refused when they
 * belong to another build, and never looked for outside the given root.
 */
#include "fixture.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

static int compile(void **state)
{
	write_text("p.c", "static int hidden_one(int x) { return x + 1; }\n"
			  "int main(int argc, char **argv) { (void)argv; return hidden_one(argc); }\n");
	/* bin/p has a debuglink and no build-id, bin/q a build-id and no debuglink */
	shell("mkdir -p root/usr/bin root/usr/lib/debug/usr/bin other");
	shell("gcc -g -O0 -Wl,--build-id=none -o other/p p.c && gcc -g -O1 -Wl,--build-id=none -o other/wrong p.c");
	shell("cd other && objcopy --only-keep-debug p p.debug && strip -o ../root/usr/bin/p p && "
	      "objcopy --add-gnu-debuglink=p.debug ../root/usr/bin/p && objcopy --only-keep-debug wrong wrong.debug");
	shell("gcc -g -O0 -Wl,--build-id=0x0123456789abcdef -o other/q p.c && cd other && "
	      "objcopy --only-keep-debug q q.debug && strip -o ../root/usr/bin/q q");
	return 0;
}

static void remove_debug_files(void)
{
	shell("find root/usr -name '*.debug' -delete");
}

static struct lp_elf *debug_of(const char *program)
{
	char path[256];
	struct lp_elf *e, *d;
	struct lp_err err = {0};
	snprintf(path, sizeof path, "root/usr/bin/%s", program);
	e = open_elf(scratch(path));
	snprintf(path, sizeof path, "/usr/bin/%s", program);
	if (lp_elf_open_debug(&d, e, path, scratch("root"), &err))
		fail_msg("%s", err.text);
	lp_elf_close(e);
	return d;
}

static void assert_has_debug(const char *program)
{
	struct lp_elf *d = debug_of(program);
	assert_non_null(d);
	assert_string_equal(symbol_named(d, LP_SYMTAB, "hidden_one").file, "p.c");
	lp_elf_close(d);
	remove_debug_files();
}

static void without_a_debug_file_there_is_none_and_no_error(void **state)
{
	assert_null(debug_of("p"));
	assert_null(debug_of("q"));
}

static void the_debuglink_is_followed_beside_below_and_in_the_debug_tree(void **state)
{
	static const char *const places[] = {"usr/bin", "usr/bin/.debug", "usr/lib/debug/usr/bin"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(places); i++) {
		shell("mkdir -p root/%s && cp other/p.debug root/%s/p.debug", places[i], places[i]);
		assert_has_debug("p");
	}
}

static void a_debuglink_with_another_checksum_is_passed_over(void **state)
{
	shell("cp other/wrong.debug root/usr/bin/p.debug");
	assert_null(debug_of("p"));
	shell("mkdir -p root/usr/bin/.debug && cp other/p.debug root/usr/bin/.debug/p.debug");
	assert_has_debug("p");
}

static void the_build_id_names_the_file(void **state)
{
	shell("mkdir -p root/usr/lib/debug/.build-id/01 && cp other/q.debug "
	      "root/usr/lib/debug/.build-id/01/23456789abcdef.debug");
	assert_has_debug("q");
}

static void a_file_at_the_right_place_with_another_build_id_is_passed_over(void **state)
{
	shell("mkdir -p root/usr/lib/debug/.build-id/01 && cp other/p.debug "
	      "root/usr/lib/debug/.build-id/01/23456789abcdef.debug");
	assert_null(debug_of("q"));
	shell("printf 'not an ELF file at all' > root/usr/lib/debug/.build-id/01/23456789abcdef.debug");
	assert_null(debug_of("q"));
	remove_debug_files();
}

/* Without it links are not followed at all (debug.c); qemu's user mode has none. */
static bool has_openat2(void)
{
	return syscall(SYS_openat2, -1, NULL, NULL, 0) < 0 && errno != ENOSYS;
}

static void symbolic_links_stay_inside_the_root(void **state)
{
	if (!has_openat2())
		skip();
	/* Absolute from the target's point of view: right inside the root, nothing on our side. */
	shell("mkdir -p root/srv root/usr/lib/debug/.build-id/01 && cp other/q.debug root/srv/q.file && "
	      "ln -s /srv/q.file root/usr/lib/debug/.build-id/01/23456789abcdef.debug");
	assert_has_debug("q");
	/* The other way round: it is there for us, but not for the target. */
	shell("ln -s $PWD/other/q.debug root/usr/lib/debug/.build-id/01/23456789abcdef.debug");
	assert_null(debug_of("q"));
	remove_debug_files();
}

static void a_fifo_in_the_place_of_a_debug_file_does_not_hang(void **state)
{
	shell("mkdir -p root/usr/lib/debug/.build-id/01 && mkfifo "
	      "root/usr/lib/debug/.build-id/01/23456789abcdef.debug");
	assert_null(debug_of("q"));
	remove_debug_files();
}

static void a_root_that_is_gone_is_an_error(void **state)
{
	struct lp_elf *e = open_elf(scratch("root/usr/bin/q")), *d;
	struct lp_err err = {0};
	assert_int_equal(lp_elf_open_debug(&d, e, "/usr/bin/q", scratch("nowhere"), &err), -ENOENT);
	assert_null(d);
	assert_non_null(strstr(err.text, "nowhere"));
	lp_elf_close(e);
}

static void a_debug_file_has_addresses_but_no_bytes(void **state)
{
	struct lp_elf *d = open_elf(scratch("other/q.debug")), *e = open_elf(scratch("other/q"));
	struct lp_elf_sym s = symbol_named(d, LP_SYMTAB, "hidden_one"), at;
	struct lp_build_id a, b;
	assert_int_equal(s.value, symbol_named(e, LP_SYMTAB, "hidden_one").value);
	assert_null(lp_elf_bytes_at_vaddr(d, s.value, 1));
	assert_non_null(lp_elf_bytes_at_vaddr(e, s.value, 1));
	assert_int_equal(lp_elf_symbol_count(d, LP_DYNSYM), 0);
	assert_true(lp_elf_symbol_at(d, s.value, &at));
	assert_string_equal(at.name, "hidden_one");
	assert_int_equal(lp_elf_next_boundary(d, s.value), lp_elf_next_boundary(e, s.value));
	lp_elf_build_id(d, &a);
	lp_elf_build_id(e, &b);
	assert_true(lp_build_id_equal(&a, &b));
	lp_elf_close(d);
	lp_elf_close(e);
}

/* eu-strip copies the segments as they were: their offsets mean nothing in the debug file. */
static void segments_of_a_debug_file_are_not_believed(void **state)
{
	size_t len;
	struct lp_elf *e = open_elf(scratch("other/q")), *d;
	const Elf64_Shdr *text = lp_elf_section_find(e, ".text");
	uint8_t *bytes = slurp(scratch("other/q"), &len);
	Elf64_Shdr *headers = (Elf64_Shdr *)(bytes + lp_elf_header(e)->e_shoff);
	headers[text - lp_elf_section(e, 0)].sh_type = SHT_NOBITS;
	assert_int_equal(lp_elf_from_bytes(&d, bytes, len, "q.debug", NULL), 0);
	struct lp_elf_rela_iter it = {0};
	struct lp_elf_rela r;
	struct lp_build_id a, b;
	assert_non_null(lp_elf_bytes_at_vaddr(e, text->sh_addr, 1));
	assert_null(lp_elf_bytes_at_vaddr(d, text->sh_addr, 1));
	assert_int_equal(lp_elf_symbol_count(d, LP_DYNSYM), 0);
	assert_int_equal(lp_elf_rela_next(d, &it, &r, NULL), 0);
	assert_int_equal(lp_elf_symbol_count(d, LP_SYMTAB), lp_elf_symbol_count(e, LP_SYMTAB));
	lp_elf_build_id(e, &a);
	lp_elf_build_id(d, &b);
	assert_true(lp_build_id_equal(&a, &b));
	lp_elf_close(d);
	lp_elf_close(e);
	lp_free(bytes);
}

/* Debian's own: only when libc6-dbg is installed. */
static void the_c_librarys_own_debug_file_is_found(void **state)
{
	static const char path[] = "/lib/x86_64-linux-gnu/libc.so.6";
	struct lp_elf *e = open_elf(path), *d;
	assert_int_equal(lp_elf_open_debug(&d, e, path, "", NULL), 0);
	if (!d) {
		lp_elf_close(e);
		print_message("libc6-dbg is not installed\n");
		skip();
	}
	/* Both spellings of the versions, the linker's in the name and versym's, give the same symbol. */
	struct lp_elf_sym a = symbol_named(e, LP_DYNSYM, "getenv"), b = symbol_named(d, LP_SYMTAB, "getenv");
	assert_int_equal(a.value, b.value);
	struct lp_image image = {"libc.so.6", path, 0x1000, e, d};
	struct lp_symspec spec;
	lp_found_vec found = {0};
	assert_int_equal(lp_symspec_parse(&spec, "memcpy@GLIBC_2.2.5", NULL), 0);
	assert_int_equal(lp_scope_find(&image, 1, &spec, &found, NULL), 0);
	assert_int_equal(found.nr, 1);
	lp_symspec_free(&spec);
	lp_vec_free(&found);
	lp_elf_close(d);
	lp_elf_close(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_debug_file_there_is_none_and_no_error),
		cmocka_unit_test(the_debuglink_is_followed_beside_below_and_in_the_debug_tree),
		cmocka_unit_test(a_debuglink_with_another_checksum_is_passed_over),
		cmocka_unit_test(the_build_id_names_the_file),
		cmocka_unit_test(a_file_at_the_right_place_with_another_build_id_is_passed_over),
		cmocka_unit_test(symbolic_links_stay_inside_the_root),
		cmocka_unit_test(a_fifo_in_the_place_of_a_debug_file_does_not_hang),
		cmocka_unit_test(a_root_that_is_gone_is_an_error),
		cmocka_unit_test(a_debug_file_has_addresses_but_no_bytes),
		cmocka_unit_test(segments_of_a_debug_file_are_not_believed),
		cmocka_unit_test(the_c_librarys_own_debug_file_is_found),
	};
	return cmocka_run_group_tests(tests, compile, NULL);
}
