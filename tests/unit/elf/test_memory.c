/*
 * Images dumped from a running process: this one.  What the dynamic linker did
 * to the pages must not change what the views say.
 */
#include "fixture.h"

#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

/* The pages of one loaded object, as another process would read them: holes are zeros. */
struct dump {
	uint8_t *bytes;
	size_t len;
	uint64_t bias;
	char path[512];
};

static void take_dump(const struct dl_phdr_info *info, struct dump *out)
{
	uint64_t low = UINT64_MAX, high = 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const Elf64_Phdr *p = &info->dlpi_phdr[i];
		if (p->p_type != PT_LOAD)
			continue;
		low = p->p_vaddr < low ? p->p_vaddr : low;
		high = p->p_vaddr + p->p_memsz > high ? p->p_vaddr + p->p_memsz : high;
	}
	low = lp_align_down(low, LP_PAGE);
	out->bias = info->dlpi_addr;
	out->len = lp_align_up(high, LP_PAGE) - low;
	out->bytes = calloc(1, out->len);
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	assert_true(mem >= 0);
	for (size_t at = 0; at < out->len; at += LP_PAGE)
		if (pread(mem, out->bytes + at, LP_PAGE, (off_t)(out->bias + low + at)) != (ssize_t)LP_PAGE)
			memset(out->bytes + at, 0, LP_PAGE);
	close(mem);
}

static const char *wanted;

static int dump_wanted(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct dump *out = arg;
	const char *name = *info->dlpi_name ? info->dlpi_name : "/proc/self/exe";
	if (!strstr(name, wanted))
		return 0;
	take_dump(info, out);
	snprintf(out->path, sizeof out->path, "%s", name);
	return 1;
}

static struct dump dump_of(const char *part_of_path)
{
	struct dump d = {0};
	wanted = part_of_path;
	assert_int_equal(dl_iterate_phdr(dump_wanted, &d), 1);
	return d;
}

static struct lp_elf *view(const struct dump *d)
{
	struct lp_elf *e;
	struct lp_err err = {0};
	if (lp_elf_from_memory(&e, d->bytes, d->len, d->bias, d->path, &err))
		fail_msg("%s", err.text);
	return e;
}

static void assert_same_symbols(const struct lp_elf *file, const struct lp_elf *memory)
{
	assert_int_equal(lp_elf_symbol_count(file, LP_DYNSYM), lp_elf_symbol_count(memory, LP_DYNSYM));
	for (size_t i = 0; i < lp_elf_symbol_count(file, LP_DYNSYM); i++) {
		struct lp_elf_sym a, b;
		assert_true(lp_elf_symbol(file, LP_DYNSYM, i, &a));
		assert_true(lp_elf_symbol(memory, LP_DYNSYM, i, &b));
		assert_string_equal(a.name, b.name);
		assert_int_equal(a.value, b.value);
		assert_int_equal(a.size, b.size);
		assert_int_equal(a.version_hidden, b.version_hidden);
		assert_int_equal(!a.version, !b.version);
		if (a.version)
			assert_string_equal(a.version, b.version);
	}
}

static void assert_same_relocs(const struct lp_elf *file, const struct lp_elf *memory)
{
	struct lp_elf_rela_iter in_file = {0}, in_memory = {0};
	struct lp_elf_rela a, b;
	int more;
	do {
		more = lp_elf_rela_next(file, &in_file, &a, NULL);
		assert_int_equal(lp_elf_rela_next(memory, &in_memory, &b, NULL), more);
		if (more != 1)
			break;
		assert_int_equal(a.offset, b.offset);
		assert_int_equal(a.type, b.type);
		assert_int_equal(a.sym, b.sym);
	} while (true);
	assert_int_equal(more, 0);
}

static void assert_same(const struct dump *d)
{
	struct lp_elf *file = open_elf(d->path), *memory = view(d);
	struct lp_build_id a, b;
	lp_elf_build_id(file, &a);
	lp_elf_build_id(memory, &b);
	assert_true(lp_build_id_equal(&a, &b));
	assert_int_equal(lp_elf_section_count(memory), 0);
	assert_int_equal(lp_elf_symbol_count(memory, LP_SYMTAB), 0);
	if (lp_elf_soname(file))
		assert_string_equal(lp_elf_soname(memory), lp_elf_soname(file));
	for (size_t i = 0; lp_elf_needed(file, i); i++)
		assert_string_equal(lp_elf_needed(memory, i), lp_elf_needed(file, i));
	assert_same_symbols(file, memory);
	assert_same_relocs(file, memory);
	lp_elf_close(memory);
	lp_elf_close(file);
}

static void a_dumped_library_says_what_its_file_says(void **state)
{
	struct dump d = dump_of("/libc.so");
	assert_same(&d);
	free(d.bytes);
}

static void a_dumped_program_says_what_its_file_says(void **state)
{
	struct dump d = dump_of("/proc/self/exe");
	assert_same(&d);
	free(d.bytes);
}

static void without_the_bias_the_loaders_pointers_lead_nowhere(void **state)
{
	struct dump d = dump_of("/libc.so");
	d.bias = 0;
	struct lp_elf *e = view(&d);
	assert_int_equal(lp_elf_symbol_count(e, LP_DYNSYM), 0);
	lp_elf_close(e);
	free(d.bytes);
}

static void addresses_in_a_dump_are_link_time_addresses(void **state)
{
	struct dump d = dump_of("/libc.so");
	struct lp_elf *file = open_elf(d.path), *memory = view(&d);
	struct lp_elf_sym s = symbol_named(memory, LP_DYNSYM, "getenv");
	assert_ptr_equal((void *)(uintptr_t)(d.bias + s.value), (void *)(uintptr_t)getenv);
	assert_memory_equal(lp_elf_bytes_at_vaddr(memory, s.value, s.size),
			    lp_elf_bytes_at_vaddr(file, s.value, s.size), s.size);
	struct lp_elf_sym at;
	assert_true(lp_elf_symbol_at(memory, s.value + 1, &at));
	assert_string_equal(at.name, "getenv");
	lp_elf_close(memory);
	lp_elf_close(file);
	free(d.bytes);
}

static void the_vdso_is_read_from_memory(void **state)
{
	struct dl_phdr_info info = {.dlpi_addr = getauxval(AT_SYSINFO_EHDR)};
	if (!info.dlpi_addr)
		skip();
	const Elf64_Ehdr *h = (const Elf64_Ehdr *)info.dlpi_addr;
	info.dlpi_phdr = (const Elf64_Phdr *)(info.dlpi_addr + h->e_phoff);
	info.dlpi_phnum = h->e_phnum;
	struct dump d = {.path = "[vdso]"};
	take_dump(&info, &d);
	struct lp_elf *e = view(&d);
	struct lp_elf_sym s = symbol_named(e, LP_DYNSYM, "__vdso_clock_gettime");
	assert_string_equal(s.version, "LINUX_2.6");
	assert_false(s.version_hidden);
	assert_int_equal(s.type, STT_FUNC);
	assert_memory_equal(lp_elf_bytes_at_vaddr(e, s.value, s.size), (void *)(info.dlpi_addr + s.value), s.size);
	assert_string_equal(lp_elf_soname(e), "linux-vdso.so.1");
	lp_elf_close(e);
	free(d.bytes);
}

static void a_dump_cut_short_gives_less_but_nothing_wrong(void **state)
{
	struct dump d = dump_of("/libc.so");
	struct lp_elf *whole = view(&d), *part;
	struct lp_elf_sym a, b;
	for (size_t len = LP_PAGE; len < d.len; len += 16 * LP_PAGE) {
		assert_int_equal(lp_elf_from_memory(&part, d.bytes, len, d.bias, "part", NULL), 0);
		size_t count = lp_elf_symbol_count(part, LP_DYNSYM);
		assert_true(count <= lp_elf_symbol_count(whole, LP_DYNSYM));
		for (size_t i = 0; i < count; i++) {
			assert_true(lp_elf_symbol(whole, LP_DYNSYM, i, &a));
			assert_true(lp_elf_symbol(part, LP_DYNSYM, i, &b));
			assert_int_equal(a.value, b.value);
			if (*b.name)
				assert_string_equal(a.name, b.name);
		}
		lp_elf_close(part);
	}
	lp_elf_close(whole);
	free(d.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dumped_library_says_what_its_file_says),
		cmocka_unit_test(a_dumped_program_says_what_its_file_says),
		cmocka_unit_test(without_the_bias_the_loaders_pointers_lead_nowhere),
		cmocka_unit_test(addresses_in_a_dump_are_link_time_addresses),
		cmocka_unit_test(the_vdso_is_read_from_memory),
		cmocka_unit_test(a_dump_cut_short_gives_less_but_nothing_wrong),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
