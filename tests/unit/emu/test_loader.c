#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "elf/elf.h"
#include "emu/emu.h"
#include "emu/loader.h"
#include "small_program.h"

#define PAGE UINT64_C(4096)
#define WORDS(...) ((char *const *)(const char *const[]){__VA_ARGS__, NULL})

/* ---- a program in memory ---- */

static struct lp_emu *loaded;

static struct lp_emu *load_with(const struct small_program *p, struct lp_emu_options options, char *const *argv,
				struct lp_err *err)
{
	char *const *envp = WORDS("A=1", "HOME=/");
	struct lp_emu *emu;

	options.program_fd = small_file(p, sizeof *p);
	emu = lp_emu_new(&options, err);
	assert_non_null(emu);
	if (lp_emu_load(emu, "/bin/prog", argv, envp, err) == 0)
		return loaded = emu;
	lp_emu_free(emu);
	return NULL;
}

static struct lp_emu *load(const struct small_program *p)
{
	char *const *argv = WORDS("prog", "one", "");
	struct lp_err err = {0};
	struct lp_emu *emu = load_with(p, (struct lp_emu_options){0}, argv, &err);

	if (!emu)
		fail_msg("%s", err.text);
	return emu;
}

static void refused(const struct small_program *p, struct lp_emu_options options, const char *why)
{
	char *const *argv = WORDS("prog");
	struct lp_err err = {0};

	assert_null(load_with(p, options, argv, &err));
	if (!strstr(err.text, why))
		fail_msg("\"%s\" does not say \"%s\"", err.text, why);
}

static int unload(void **state)
{
	struct lp_guest_area area;

	while (loaded && lp_mem_next(loaded, 0, &area))
		lp_mem_unmap(loaded, area.range.start, area.range.end - area.range.start);
	lp_emu_free(loaded);
	loaded = NULL;
	return 0;
}

static uint64_t word(uint64_t at)
{
	return lp_get64((const void *)at);
}

static uint64_t auxv(const struct lp_emu *emu, uint64_t key)
{
	for (size_t i = 0; i < emu->loaded->nr_auxv; i++)
		if (emu->loaded->auxv[i][0] == key)
			return emu->loaded->auxv[i][1];
	fail_msg("no %llu in the auxiliary vector", (unsigned long long)key);
	return 0;
}

static const char *prot_at(struct lp_emu *emu, uint64_t addr)
{
	static char text[8];
	struct lp_guest_area a;

	if (!lp_mem_area(emu, addr, &a))
		return "hole";
	snprintf(text, sizeof text, "%c%c%c%c", a.prot & PROT_READ ? 'r' : '-', a.prot & PROT_WRITE ? 'w' : '-',
		 a.prot & PROT_EXEC ? 'x' : '-', a.prot & LP_PROT_BTI ? 'b' : '-');
	return text;
}

/* ---- segments ---- */

static void segments_stand_where_they_belong(void **state)
{
	struct small_program p = small_program();
	struct lp_emu *emu = load(&p);
	uint64_t bias = emu->loaded->program.bias;

	assert_int_equal(emu->main->cpu.pc, bias + SMALL_CODE_AT);
	assert_memory_equal((void *)(bias + SMALL_CODE_AT), p.code, 12);
	assert_string_equal(prot_at(emu, bias + SMALL_CODE_AT), "r-xb"); /* a program without interpreter is guarded */
	assert_string_equal(prot_at(emu, bias + SMALL_DATA_AT), "rw--");
	assert_memory_equal((void *)(bias + SMALL_DATA_AT), p.data, sizeof p.data);
	for (uint64_t at = bias + SMALL_DATA_AT + 0x100; at < bias + 0x6000; at++)
		assert_int_equal(*(uint8_t *)at, 0);
	assert_string_equal(prot_at(emu, bias + 0x6000), "hole");
	assert_int_equal(bias % PAGE, 0);
	assert_int_equal(emu->loaded->program.code.end, bias + SMALL_DATA_AT);
}

static void between_segments_nothing_is_mapped(void **state)
{
	struct small_program p = small_program();
	uint64_t bias;

	p.phdrs[SMALL_DATA].p_vaddr += 0x10000;
	load(&p);
	bias = loaded->loaded->program.bias;
	assert_string_equal(prot_at(loaded, bias + SMALL_CODE_AT), "r-xb");
	assert_string_equal(prot_at(loaded, bias + SMALL_DATA_AT), "hole");
	assert_string_equal(prot_at(loaded, bias + 0x11fff), "hole");
	assert_string_equal(prot_at(loaded, bias + 0x12000), "rw--");
}

static void segments_that_overlap_are_mapped_in_order(void **state)
{
	struct small_program p = small_program();
	uint64_t bias;

	p.phdrs[SMALL_DATA].p_vaddr = SMALL_CODE_AT;
	load(&p);
	bias = loaded->loaded->program.bias;
	assert_string_equal(prot_at(loaded, bias), "r-xb");
	assert_string_equal(prot_at(loaded, bias + SMALL_CODE_AT), "rw--");
	assert_memory_equal((void *)(bias + SMALL_CODE_AT), p.data, sizeof p.data);
}

static void a_segment_of_zeros_alone_is_mapped(void **state)
{
	struct small_program p = small_program();
	uint64_t bias;

	p.phdrs[SMALL_DATA].p_filesz = 0;
	p.phdrs[SMALL_DATA].p_vaddr += 8;
	load(&p);
	bias = loaded->loaded->program.bias;
	assert_int_equal(word(bias + SMALL_DATA_AT), 0);
	assert_string_equal(prot_at(loaded, bias + SMALL_DATA_AT), "rw--");
}

static void alignment_is_what_the_file_wants(void **state)
{
	struct small_program p = small_program();

	p.phdrs[SMALL_TEXT].p_align = 1 << 21;
	load(&p);
	assert_int_equal(loaded->loaded->program.bias % (1 << 21), 0);
	unload(NULL);
	p.phdrs[SMALL_TEXT].p_align = UINT64_C(1) << 40;
	refused(&p, (struct lp_emu_options){0}, "aligned");
	p.phdrs[SMALL_TEXT].p_align = 12345; /* no power of two: not looked at */
	load(&p);
}

static void a_program_with_a_place_of_its_own_gets_it_or_a_reason(void **state)
{
	struct small_program p = small_program();
	char *taken = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	p.ehdr.e_type = ET_EXEC;
	p.phdrs[SMALL_TEXT].p_vaddr += 0x10000000;
	p.phdrs[SMALL_DATA].p_vaddr += 0x10000000;
	p.ehdr.e_entry += 0x10000000;
	load(&p);
	assert_int_equal(loaded->loaded->program.bias, 0);
	assert_int_equal(loaded->main->cpu.pc, 0x10000000 + SMALL_CODE_AT);
	unload(NULL);

	p.phdrs[SMALL_TEXT].p_vaddr = (uint64_t)taken;
	p.phdrs[SMALL_DATA].p_vaddr = (uint64_t)taken + SMALL_DATA_AT;
	refused(&p, (struct lp_emu_options){0}, "-pie");
	munmap(taken, PAGE);
}

/* ---- the stack ---- */

static void the_stack_is_as_linux_builds_it(void **state)
{
	struct small_program p = small_program();
	struct lp_emu *emu = load(&p);
	uint64_t sp = emu->main->cpu.x[LP_SP], at = sp;

	assert_int_equal(sp % 16, 0);
	assert_true(lp_range_has(emu->loaded->stack, sp));
	assert_int_equal(word(at), 3);
	assert_string_equal((char *)word(at + 8), "prog");
	assert_string_equal((char *)word(at + 16), "one");
	assert_string_equal((char *)word(at + 24), "");
	assert_int_equal(word(at + 32), 0);
	assert_string_equal((char *)word(at + 40), "A=1");
	assert_string_equal((char *)word(at + 48), "HOME=/");
	assert_int_equal(word(at + 56), 0);
	assert_memory_equal((void *)(at + 64), emu->loaded->auxv, emu->loaded->nr_auxv * 16);
	assert_int_equal(emu->loaded->auxv[emu->loaded->nr_auxv - 1][0], AT_NULL);
	/* One block of strings, as ps(1) and setproctitle() expect it. */
	assert_int_equal(word(at + 8), emu->loaded->args.start);
	assert_memory_equal((void *)emu->loaded->args.start, "prog\0one\0\0A=1\0HOME=/\0/bin/prog", 31);
	assert_int_equal(emu->loaded->envs.start, emu->loaded->args.end);
	assert_int_equal(word(emu->loaded->stack.end - 8), 0);
	assert_string_equal(prot_at(emu, emu->loaded->stack.start), "rw--");
	assert_string_equal(prot_at(emu, emu->loaded->stack.start - 1), "hole");
}

static void the_auxiliary_vector_tells_where_things_are(void **state)
{
	struct small_program p = small_program();
	struct lp_emu *emu = load(&p);
	uint64_t bias = emu->loaded->program.bias;

	assert_int_equal(auxv(emu, AT_PHDR), bias + 0x40);
	assert_int_equal(auxv(emu, AT_PHNUM), SMALL_NR_PHDRS);
	assert_int_equal(auxv(emu, AT_PHENT), 56);
	assert_int_equal(auxv(emu, AT_ENTRY), bias + SMALL_CODE_AT);
	assert_int_equal(auxv(emu, AT_BASE), 0);
	assert_int_equal(auxv(emu, AT_PAGESZ), 4096);
	assert_int_equal(auxv(emu, AT_SECURE), 0);
	assert_int_equal(auxv(emu, AT_UID), getuid());
	assert_int_equal(auxv(emu, AT_HWCAP) & 3, 3); /* FP, ASIMD */
	assert_string_equal((char *)auxv(emu, AT_PLATFORM), "aarch64");
	assert_string_equal((char *)auxv(emu, AT_EXECFN), "/bin/prog");
	assert_true(lp_range_has(emu->loaded->stack, auxv(emu, AT_RANDOM) + 15));
	assert_int_equal(auxv(emu, AT_SYSINFO_EHDR), emu->loaded->vdso);
}

static void addresses_are_never_the_same(void **state)
{
	struct small_program p = small_program();
	uint64_t bias, heap;

	load(&p);
	bias = loaded->loaded->program.bias;
	heap = loaded->loaded->heap - bias;
	unload(NULL);
	load(&p);
	assert_int_not_equal(loaded->loaded->program.bias, bias);
	assert_int_not_equal(loaded->loaded->heap - loaded->loaded->program.bias, heap);
}

static void the_stack_is_as_large_and_as_executable_as_asked(void **state)
{
	char *const *argv = WORDS("prog");
	struct small_program p = small_program();
	struct lp_err err = {0};

	p.phdrs[SMALL_STACK].p_flags |= PF_X;
	assert_non_null(load_with(&p, (struct lp_emu_options){.stack_size = 1 << 20}, argv, &err));
	assert_int_equal(loaded->loaded->stack.end - loaded->loaded->stack.start, 1 << 20);
	assert_string_equal(prot_at(loaded, loaded->loaded->sp), "rwx-");
}

static void arguments_that_do_not_fit_are_refused(void **state)
{
	static char big[60000];
	char *const *argv = WORDS("prog", big);
	struct small_program p = small_program();
	struct lp_err err = {0};

	memset(big, 'x', sizeof big - 1);
	assert_null(load_with(&p, (struct lp_emu_options){.stack_size = 1}, argv, &err));
	assert_int_equal(err.code, -E2BIG);
	assert_non_null(strstr(err.text, "128 KB"));
	assert_non_null(load_with(&p, (struct lp_emu_options){0}, argv, &err));
}

static void the_heap_begins_behind_the_program(void **state)
{
	struct small_program p = small_program();
	struct lp_emu *emu = load(&p);
	uint64_t now = lp_mem_brk(emu, 0);

	assert_true(now >= emu->loaded->program.span.end);
	assert_true(now < emu->loaded->program.span.end + (32 << 20));
	assert_int_equal(lp_mem_brk(emu, now + 100 * PAGE), now + 100 * PAGE);
}

/* ---- interpreters ---- */

static char root[] = "/tmp/test_loader.XXXXXX";

static void put_into_root(const char *path, const void *bytes, size_t len)
{
	char whole[200];
	int fd;

	snprintf(whole, sizeof whole, "%s%s", root, path);
	fd = open(whole, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

static void an_interpreter_comes_from_the_sysroot(void **state)
{
	char *const *argv = WORDS("prog");
	struct small_program p = small_program(), interpreter = p;
	const struct lp_loaded *l;
	struct lp_err err = {0};

	put_into_root("/lib/test-ld.so", &interpreter, sizeof interpreter);
	small_program_interpret(&p, "/lib/test-ld.so");
	refused(&p, (struct lp_emu_options){0}, "give the folder that holds it with -L");
	if (!load_with(&p, (struct lp_emu_options){.sysroot = root}, argv, &err))
		fail_msg("%s", err.text);
	l = loaded->loaded;
	assert_int_equal(loaded->main->cpu.pc, l->interpreter.bias + SMALL_CODE_AT);
	assert_string_equal(l->interpreter.path, "/lib/test-ld.so");
	assert_int_equal(auxv(loaded, AT_BASE), l->interpreter.bias);
	assert_int_equal(auxv(loaded, AT_ENTRY), l->program.bias + SMALL_CODE_AT);
	/* The kernel guards the interpreter's pages; that one is to guard the program's. */
	assert_string_equal(prot_at(loaded, l->interpreter.bias + SMALL_CODE_AT), "r-xb");
	assert_string_equal(prot_at(loaded, l->program.bias + SMALL_CODE_AT), "r-x-");
}

static void an_interpreter_that_is_none_is_refused(void **state)
{
	struct small_program p = small_program(), interpreter = p;

	interpreter.ehdr.e_machine = EM_X86_64;
	put_into_root("/lib/test-ld.so", &interpreter, sizeof interpreter);
	small_program_interpret(&p, "/lib/test-ld.so");
	refused(&p, (struct lp_emu_options){.sysroot = root}, "its interpreter: /lib/test-ld.so: an x86-64 program");
}

/* ---- the vDSO ---- */

static void the_vdso_is_a_library_with_versions(void **state)
{
	struct small_program p = small_program();
	struct lp_emu *emu = load(&p);
	struct lp_elf *elf;
	struct lp_elf_sym sym;
	struct lp_err err = {0};
	static const char *const names[] = {"__kernel_rt_sigreturn", "__kernel_clock_gettime", "__kernel_gettimeofday",
					    "__kernel_clock_getres"};

	assert_string_equal(prot_at(emu, emu->loaded->vdso), "r-xb");
	assert_int_equal(lp_elf_from_bytes(&elf, (void *)emu->loaded->vdso, PAGE, "vdso", &err), 0);
	assert_string_equal(lp_elf_soname(elf), "linux-vdso.so.1");
	for (size_t i = 0; i < LP_ARRAY_SIZE(names); i++) {
		size_t cursor = 0;
		assert_true(lp_elf_symbol_by_name(elf, LP_DYNSYM, names[i], &cursor, &sym));
		assert_string_equal(sym.version, "LINUX_2.6.39");
		assert_int_equal(sym.type, STT_FUNC);
	}
	lp_elf_close(elf);
	/* What unwinders know a signal handler's caller by: mov x8, #139; svc #0. */
	assert_int_equal(word(emu->sigreturn), UINT64_C(0xd4000001d2801168));
}

static void the_vdsos_versions_have_the_hash_that_loaders_compare(void **state)
{
	static const char *const names[] = {"linux-vdso.so.1", "LINUX_2.6.39"};
	struct small_program p = small_program();
	struct lp_emu *emu = load(&p);
	struct lp_elf *elf;
	uint64_t at;

	assert_int_equal(lp_elf_from_bytes(&elf, (void *)emu->loaded->vdso, PAGE, "vdso", NULL), 0);
	assert_true(lp_elf_dynamic(elf, DT_VERDEF, &at));
	at += emu->loaded->vdso;
	for (size_t i = 0; i < 2; i++) {
		const Elf64_Verdef *def = (void *)at;
		uint32_t hash = 0;
		for (const char *c = names[i]; *c; c++) {
			hash = (hash << 4) + (uint8_t)*c;
			hash ^= hash >> 24 & 0xf0;
			hash &= 0x0fffffff;
		}
		assert_int_equal(def->vd_hash, hash);
		at += def->vd_next;
	}
	lp_elf_close(elf);
}

/* ---- and it runs ---- */

static int status_of(const struct small_program *p)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		lp_emu_run(load(p));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void a_program_runs_to_its_end(void **state)
{
	struct small_program p = small_program();
	int status;

	p.code[0] = 0xd2800540; /* mov x0, #42 */
	status = status_of(&p);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
}

static void the_word_that_calls_us_is_undefined_outside_the_vdso(void **state)
{
	struct small_program p = small_program();
	struct lp_emu *emu = load(&p);
	int status;

	for (uint64_t at = emu->sigreturn; at < emu->sigreturn + 80; at += 4)
		if ((uint32_t)word(at) >> 16 == 0 && (uint32_t)word(at))
			p.code[0] = (uint32_t)word(at);
	assert_int_equal(p.code[0] >> 16, 0);
	unload(NULL);
	status = status_of(&p);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGILL);
}

/* ---- */

static int make_root(void **state)
{
	char lib[64];

	if (!mkdtemp(root))
		return -1;
	snprintf(lib, sizeof lib, "%s/lib", root);
	return mkdir(lib, 0755);
}

static int remove_root(void **state)
{
	char path[64];

	snprintf(path, sizeof path, "%s/lib/test-ld.so", root);
	unlink(path);
	snprintf(path, sizeof path, "%s/lib", root);
	rmdir(path);
	return rmdir(root);
}

#define TEST(name) cmocka_unit_test_teardown(name, unload)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(segments_stand_where_they_belong),
		TEST(between_segments_nothing_is_mapped),
		TEST(segments_that_overlap_are_mapped_in_order),
		TEST(a_segment_of_zeros_alone_is_mapped),
		TEST(alignment_is_what_the_file_wants),
		TEST(a_program_with_a_place_of_its_own_gets_it_or_a_reason),
		TEST(the_stack_is_as_linux_builds_it),
		TEST(the_auxiliary_vector_tells_where_things_are),
		TEST(addresses_are_never_the_same),
		TEST(the_stack_is_as_large_and_as_executable_as_asked),
		TEST(arguments_that_do_not_fit_are_refused),
		TEST(the_heap_begins_behind_the_program),
		TEST(an_interpreter_comes_from_the_sysroot),
		TEST(an_interpreter_that_is_none_is_refused),
		TEST(the_vdso_is_a_library_with_versions),
		TEST(the_vdsos_versions_have_the_hash_that_loaders_compare),
		TEST(a_program_runs_to_its_end),
		TEST(the_word_that_calls_us_is_undefined_outside_the_vdso),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}
