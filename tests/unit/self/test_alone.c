/*
 * What hooks functions can be a library that needs the C library alone: a process that it is loaded into has what it had.
 * SELF_ALONE is its path.
 */
#include "own.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>

static void *library;
static int (*alone_hook)(lp_addr fn, lp_addr replacement, lp_addr *original);
static int (*original)(int);

static int count_objects(struct dl_phdr_info *info, size_t size, void *arg)
{
	++*(size_t *)arg;
	return 0;
}

static size_t nr_objects(void)
{
	size_t nr = 0;

	dl_iterate_phdr(count_objects, &nr);
	return nr;
}

static const char *strings_of(const struct link_map *m)
{
	for (const ElfW(Dyn) *d = m->l_ld; d->d_tag != DT_NULL; d++) {
		if (d->d_tag == DT_STRTAB)
			return (const char *)d->d_un.d_ptr;
	}
	return NULL;
}

static void it_needs_the_c_library_and_nothing_else(void **state)
{
	struct link_map *m;
	size_t nr = 0;

	assert_int_equal(dlinfo(library, RTLD_DI_LINKMAP, &m), 0);
	for (const ElfW(Dyn) *d = m->l_ld; d->d_tag != DT_NULL; d++) {
		if (d->d_tag != DT_NEEDED)
			continue;
		const char *name = strings_of(m) + d->d_un.d_val;
		if (strcmp(name, "libc.so.6") && strncmp(name, "ld-linux", strlen("ld-linux"))) /* a part of it */
			fail_msg("it needs %s", name);
		nr++;
	}
	assert_true(nr > 0);
}

static int hundred_more(int x)
{
	return original(x) + 100;
}

static void it_hooks_functions_of_the_program_that_loaded_it(void **state)
{
	lp_addr at = 0;

	assert_int_equal(victim_line(7), 14);
	assert_int_equal(alone_hook(FN(victim_line), FN(hundred_more), &at), 0);
	original = (int (*)(int))(uintptr_t)at;
	assert_int_equal(victim_line(7), 114);
}

static int load(void **state)
{
	size_t before = nr_objects();

	library = dlopen(SELF_ALONE, RTLD_NOW);
	if (!library)
		fail_msg("%s", dlerror());
	*(void **)&alone_hook = dlsym(library, "alone_hook");
	assert_non_null(alone_hook);
	assert_int_equal(nr_objects(), before + 1);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_needs_the_c_library_and_nothing_else),
		cmocka_unit_test(it_hooks_functions_of_the_program_that_loaded_it),
	};

	return cmocka_run_group_tests(tests, load, NULL);
}
