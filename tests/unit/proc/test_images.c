#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "victims.h"

static const struct lp_image *images_of(struct lp_proc *p, const char *exe, size_t *nr)
{
	const struct lp_image *images;
	assert_ok(lp_images(p, exe, &images, nr, &last_error));
	return images;
}

/* The same images at the same places in the same order as the program itself sees them, and the vDSO after them. */
static void expect_its_own_list(struct victim *v, const struct lp_image *images, size_t nr)
{
	size_t own = v->page->slots[0].extra;
	assert_true(nr == own || (nr == own + 1 && !strcmp(images[nr - 1].name, "[vdso]")));
	for (size_t i = 0; i < own; i++)
		assert_int_equal(images[i].bias, v->page->slots[i + 1].extra);
}

static void the_images_are_those_of_the_link_map_in_its_order(void **state)
{
	size_t nr;
	struct victim *v = victim_start(1, (const char *[]){"images", "libBrokenLocale.so.1", NULL});
	struct lp_proc *p = open_locked(v->pid);
	const struct lp_image *images = images_of(p, NULL, &nr);
	expect_its_own_list(v, images, nr);
	assert_string_equal(images[0].name, "victim_images");
	lp_proc_close(p);
	victim_end(v);
}

static void a_program_started_through_the_dynamic_linker_is_found(void **state)
{
	size_t nr;
	char path[512];
	snprintf(path, sizeof path, "%s/victim_images", VICTIM_DIR);
	struct victim *v = victim_start(1, (const char *[]){"/lib64/ld-linux-x86-64.so.2", path, NULL});
	struct lp_proc *p = open_locked(v->pid);
	const struct lp_image *images = images_of(p, NULL, &nr);
	expect_its_own_list(v, images, nr);
	assert_string_equal(images[0].name, "victim_images");
	lp_proc_close(p);
	victim_end(v);
}

static void static_programs_are_one_image(void **state)
{
	static const char *const kinds[] = {"images_static", "images_static_pie"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(kinds); i++) {
		size_t nr, cursor = 0;
		struct lp_elf_sym sym;
		struct victim *v = victim_start(1, (const char *[]){kinds[i], NULL});
		struct lp_proc *p = open_locked(v->pid);
		const struct lp_image *images = images_of(p, NULL, &nr);
		assert_true(nr == 1 || (nr == 2 && !strcmp(images[1].name, "[vdso]")));
		assert_true(lp_elf_symbol_by_name(images[0].elf, LP_SYMTAB, "victim_page", &cursor, &sym));
		uint64_t page = 0;
		assert_ok(lp_mem_read(p, images[0].bias + sym.value, &page, sizeof page, &last_error));
		uint64_t ready = 0; /* through the pointer the program itself uses: the bias is right */
		assert_ok(lp_mem_read(p, page, &ready, sizeof ready, &last_error));
		assert_int_equal(ready, 1);
		map_and_unmap(p);
		lp_proc_close(p);
		victim_end(v);
	}
}

static void copy(const char *name, char *to)
{
	char from[512];
	snprintf(from, sizeof from, "%s/victim_%s", VICTIM_DIR, name);
	int in = open(from, O_RDONLY), out = mkstemp(to);
	assert_true(in >= 0 && out >= 0);
	while (sendfile(out, in, NULL, 1 << 20) > 0)
		;
	assert_int_equal(fchmod(out, 0755), 0);
	close(in);
	close(out);
}

static void a_deleted_program_is_read_all_the_same(void **state)
{
	char path[] = "/tmp/test_images.XXXXXX";
	size_t nr, cursor = 0;
	struct lp_elf_sym sym;
	copy("images", path);
	struct victim *v = victim_start(1, (const char *[]){path, NULL});
	unlink(path);
	struct lp_proc *p = open_locked(v->pid);
	const struct lp_image *images = images_of(p, NULL, &nr);
	expect_its_own_list(v, images, nr);
	assert_string_equal(images[0].path, path);
	assert_true(lp_elf_symbol_by_name(images[0].elf, LP_SYMTAB, "main", &cursor, &sym));
	map_and_unmap(p);
	lp_proc_close(p);
	victim_end(v);
}

static void the_users_copy_must_be_the_program_that_runs(void **state)
{
	size_t nr;
	const struct lp_image *images;
	char right[512], wrong[512];
	snprintf(right, sizeof right, "%s/victim_images", VICTIM_DIR);
	snprintf(wrong, sizeof wrong, "%s/victim_spin", VICTIM_DIR);
	struct victim *v = victim_start(1, (const char *[]){"images", NULL});
	struct lp_proc *p = open_locked(v->pid);
	assert_refused(lp_images(p, wrong, &images, &nr, &last_error), LP_EBUILDID);
	images = images_of(p, right, &nr);
	assert_non_null(images[0].debug);
	/* Also when the list was made without it. */
	lp_images_forget(p);
	images = images_of(p, NULL, &nr);
	assert_refused(lp_images(p, wrong, &images, &nr, &last_error), LP_EBUILDID);
	images = images_of(p, right, &nr);
	assert_non_null(images[0].debug);
	lp_proc_close(p);
	victim_end(v);
}

static void thread_local_symbols_of_the_program_have_their_offset(void **state)
{
	static const char *const kinds[] = {"images", "images_static", "images_static_pie"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(kinds); i++) {
		static const char *const names[] = {"images_tls", "images_odd"};
		size_t nr;
		struct victim *v = victim_start(1, (const char *[]){kinds[i], NULL});
		struct lp_proc *p = open_locked(v->pid);
		const struct lp_image *images = images_of(p, NULL, &nr);
		for (size_t k = 0; k < LP_ARRAY_SIZE(names); k++) {
			size_t cursor = 0;
			struct lp_elf_sym sym;
			int64_t offset;
			assert_true(lp_elf_symbol_by_name(images[0].elf, LP_SYMTAB, names[k], &cursor, &sym));
			assert_int_equal(sym.type, STT_TLS);
			assert_ok(lp_tls_offset(p, 0, sym.value, &offset, &last_error));
			assert_int_equal((uint64_t)offset, v->page->slots[k].eintrs);
		}
		if (nr > 2) {
			int64_t offset;
			assert_refused(lp_tls_offset(p, 1, 0, &offset, &last_error), LP_ERELOC);
		}
		lp_proc_close(p);
		victim_end(v);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_images_are_those_of_the_link_map_in_its_order),
		cmocka_unit_test(a_program_started_through_the_dynamic_linker_is_found),
		cmocka_unit_test(static_programs_are_one_image),
		cmocka_unit_test(a_deleted_program_is_read_all_the_same),
		cmocka_unit_test(the_users_copy_must_be_the_program_that_runs),
		cmocka_unit_test(thread_local_symbols_of_the_program_have_their_offset),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
