/*
 * Objects made by real compilers are linked into this very process, which
 * plays the target, and then run: a wrong relocation is a wrong result.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/buf.h"
#include "base/fdio.h"
#include "core/link.h"

/* ---- what objects find in the target ---- */

int exported_by_nobody(int x);
static int quiet_local(int x);
int shared_name(void);
int program_data[4] = {10, 20, 30, 40};
__thread int program_tls = 1000;
static int (*volatile keep_local)(int) = quiet_local;

__attribute__((noinline)) int exported_by_nobody(int x)
{
	return x * 3 + program_data[1];
}

__attribute__((noinline)) static int quiet_local(int x)
{
	return x + 7;
}

__attribute__((noinline)) int shared_name(void)
{
	return 1;
}

/* ---- this process as a target ---- */

struct fake {
	struct lp_target target;
	pid_t pid;
	LP_VEC(struct lp_image) images;
};

static FILE *open_proc(struct lp_target *t, const char *file)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", ((struct fake *)t)->pid, file);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	return f;
}

static int fake_area(struct lp_target *t, lp_addr at, struct lp_area *out, struct lp_err *err)
{
	FILE *maps = open_proc(t, "maps");
	char line[512], r, w, x;
	bool found = false;
	while (!found && fgets(line, sizeof line, maps))
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %c%c%c", &out->range.start, &out->range.end, &r, &w, &x) == 5)
			found = lp_range_has(out->range, at);
	fclose(maps);
	out->prot = found ? (r == 'r' ? LP_PROT_READ : 0u) | (w == 'w' ? LP_PROT_WRITE : 0u) |
				    (x == 'x' ? LP_PROT_EXEC : 0u)
			  : 0;
	return found ? 0 : lp_fail(err, LP_EUNMAPPED, "not mapped");
}

static int fake_read(struct lp_target *t, lp_addr at, void *data, size_t len, struct lp_err *err)
{
	FILE *mem = open_proc(t, "mem");
	int rc = lp_pread_full(fileno(mem), data, len, (off_t)at);
	fclose(mem);
	return rc < 0 ? lp_fail(err, LP_EUNMAPPED, "not readable") : 0;
}

static int fake_images(struct lp_target *t, const struct lp_image **images, size_t *nr, struct lp_err *err)
{
	struct fake *f = (struct fake *)t;
	*images = f->images.items;
	*nr = f->images.nr;
	return 0;
}

/* Variant II of the ELF TLS document: the program's block ends at the thread pointer. */
static int fake_tls_offset(struct lp_target *t, size_t image, uint64_t value, int64_t *out, struct lp_err *err)
{
	struct fake *f = (struct fake *)t;
	const Elf64_Phdr *tls = lp_elf_phdr_find(f->images.items[image].elf, PT_TLS);
	if (image || !tls)
		return lp_fail(err, LP_ERELOC, "not static");
	*out = (int64_t)(value - lp_align_up(tls->p_memsz, tls->p_align));
	return 0;
}

static const struct lp_target_ops fake_ops = {
	.read = fake_read,
	.area = fake_area,
	.images = fake_images,
	.tls_offset = fake_tls_offset,
};

static void add_image(struct fake *f, const char *path, uint64_t bias)
{
	struct lp_err err = {0};
	struct lp_elf *elf;
	if (lp_elf_open(&elf, path, &err) < 0)
		fail_msg("%s", err.text);
	const char *slash = strrchr(path, '/');
	lp_vec_push(&f->images, ((struct lp_image){.name = lp_strdup(slash ? slash + 1 : path),
						   .path = lp_strdup(path),
						   .bias = bias,
						   .elf = elf}));
}

static int add_loaded(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct fake *f = arg;
	if (strstr(info->dlpi_name, "linux-vdso"))
		return 0;
	add_image(f, f->images.nr ? info->dlpi_name : "/proc/self/exe", info->dlpi_addr);
	return 0;
}

static struct fake *empty_fake(void)
{
	struct fake *f = lp_alloc(sizeof *f);
	f->target = (struct lp_target){&fake_ops, lp_isa_of(EM_X86_64), lp_strdup("this process")};
	f->pid = getpid();
	return f;
}

/* Last, as spaces list it. */
static void add_vdso(struct fake *f)
{
	lp_addr at = getauxval(AT_SYSINFO_EHDR);
	struct lp_area area;
	struct lp_elf *elf;
	assert_int_equal(fake_area(&f->target, at, &area, NULL), 0);
	assert_int_equal(lp_elf_from_memory(&elf, (void *)(uintptr_t)at, area.range.end - at, at, "[vdso]", NULL), 0);
	lp_vec_push(
		&f->images,
		((struct lp_image){.name = lp_strdup("[vdso]"), .path = lp_strdup("[vdso]"), .bias = at, .elf = elf}));
}

static struct fake *open_self(void)
{
	struct fake *f = empty_fake();
	dl_iterate_phdr(add_loaded, f);
	add_vdso(f);
	return f;
}

static void close_fake(struct fake *f)
{
	for (size_t i = 0; i < f->images.nr; i++) {
		lp_elf_close(f->images.items[i].elf);
		lp_free((char *)(uintptr_t)f->images.items[i].name);
		lp_free((char *)(uintptr_t)f->images.items[i].path);
	}
	lp_vec_free(&f->images);
	lp_free(f->target.label);
	lp_free(f);
}

static struct fake *self;

/* ---- compiling ---- */

static char dir[] = "/tmp/lp-test-link-XXXXXX";

static char *path_of(const char *name)
{
	return lp_sprintf("%s/%s", dir, name);
}

static void write_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0755);
	assert_true(fd >= 0);
	assert_int_equal(lp_pwrite_full(fd, data, len, 0), 0);
	close(fd);
}

/* "cc flags": the source file's name follows; the result is dir/name. */
static char *build(const char *name, const char *how, const char *source)
{
	char *out = path_of(name), *in = lp_sprintf("%s.c", out);
	write_file(in, source, strlen(source));
	char *cmd = lp_sprintf("cd %s && %s -o %s %s 2>%s.log", dir, how, out, in, out);
	if (system(cmd) != 0)
		fail_msg("failed: %s (see %s.log)", cmd, out);
	lp_free(cmd);
	lp_free(in);
	return out;
}

/* ---- loading ---- */

struct loaded {
	struct lp_object *o;
	lp_addr base;
	uint64_t span;
	struct lp_room_request room;
};

static void map_room(struct loaded *l, const uint8_t *image)
{
	memcpy((void *)(uintptr_t)l->base, image, l->span);
	lp_addr at = l->base;
	for (size_t i = 0; i < l->room.nr_pieces; i++) {
		struct lp_range r = l->room.pieces[i].range;
		unsigned prot = l->room.pieces[i].prot;
		assert_true(r.start == at && r.end > r.start && r.start % LP_PAGE == 0);
		assert_false((prot & LP_PROT_WRITE) && (prot & LP_PROT_EXEC));
		assert_int_equal(mprotect((void *)(uintptr_t)r.start, r.end - r.start,
					  (prot & LP_PROT_READ ? PROT_READ : 0) |
						  (prot & LP_PROT_WRITE ? PROT_WRITE : 0) |
						  (prot & LP_PROT_EXEC ? PROT_EXEC : 0)),
				 0);
		at = r.end;
	}
	assert_true(at == l->base + l->span);
}

static int try_load(struct loaded *l, const char *path, struct fake *f, bool bind_first, struct lp_err *err)
{
	*l = (struct loaded){0};
	int rc = lp_object_open(&l->o, path, f->target.isa, err);
	if (rc == 0 && bind_first)
		rc = lp_object_bind(l->o, &f->target, err);
	if (rc < 0)
		return rc;
	l->span = lp_object_span(l->o);
	void *at = mmap(NULL, l->span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	l->base = (lp_addr)(uintptr_t)at;
	lp_object_room(l->o, l->base, &l->room);
	uint8_t *image = malloc(l->span);
	memset(image, 0xa5, l->span);
	rc = lp_object_link(l->o, l->base, &f->target, image, err);
	if (rc == 0)
		map_room(l, image);
	free(image);
	return rc;
}

static void unload(struct loaded *l)
{
	if (l->base)
		munmap((void *)(uintptr_t)l->base, l->span);
	lp_object_close(l->o);
}

static struct loaded load_with(const char *path, struct fake *f, bool bind_first)
{
	struct loaded l;
	struct lp_err err = {0};
	if (try_load(&l, path, f, bind_first, &err) < 0)
		fail_msg("%s", err.text);
	return l;
}

static struct loaded load(const char *name, const char *how, const char *source)
{
	char *path = build(name, how, source);
	struct loaded l = load_with(path, self, true);
	lp_free(path);
	return l;
}

static lp_addr address(const struct loaded *l, const char *name)
{
	struct lp_err err = {0};
	lp_addr at = 0;
	if (lp_object_symbol(l->o, l->base, name, &at, NULL, &err) < 0)
		fail_msg("%s", err.text);
	return at;
}

static long call(const struct loaded *l, const char *name, long a)
{
	return ((long (*)(long))(uintptr_t)address(l, name))(a);
}

static unsigned prot_at(const struct loaded *l, lp_addr at)
{
	for (size_t i = 0; i < l->room.nr_pieces; i++)
		if (lp_range_has(l->room.pieces[i].range, at))
			return l->room.pieces[i].prot;
	return 0;
}

/* Refused with that code, and the message holds those words. */
static void refused(const char *name, const char *how, const char *source, int code, const char *words)
{
	struct loaded l;
	struct lp_err err = {0};
	char *path = build(name, how, source);
	int rc = try_load(&l, path, self, true, &err);
	if (rc != -code || !strstr(err.text, words))
		fail_msg("%s: rc %d (%s), expected %s and '%s' in '%s'", name, rc, lp_err_name(rc), lp_err_name(code),
			 words, err.text);
	assert_int_equal(err.code, rc);
	unload(&l);
	lp_free(path);
}

/* ---- running ---- */

static const char everything[] = "#include <string.h>\n#include <stdlib.h>\n#include <stdio.h>\n"
				 "extern int exported_by_nobody(int);\n"
				 "extern int program_data[4];\n"
				 "int counter = 5; int zeros[3000]; static int hidden = 9;\n"
				 "int *pointer = &counter; int *into = &zeros[2999]; int *theirs = &program_data[2];\n"
				 "static int __attribute__((noinline)) twice(int x) { return 2 * x + hidden; }\n"
				 "int thrice(int x) { return 3 * x; }\n"
				 "static int (*const table[])(int) = {twice, thrice, exported_by_nobody, abs};\n"
				 "size_t (*len)(const char *) = strlen;\n"
				 "const char *const words[] = {\"alpha\", \"be\", \"gamma rays\"};\n"
				 "long run(long n) {\n"
				 "	char buf[64]; long sum = 0;\n"
				 "	for (int i = 0; i < 4; i++) sum = sum * 31 + table[i]((int)n);\n"
				 "	for (int i = 0; i < 3; i++) { memcpy(buf, words[i], strlen(words[i]) + 1); sum "
				 "= sum * 31 + (long)len(buf) + buf[0]; }\n"
				 "	for (int i = 0; i < 3000; i++) sum += zeros[i];\n"
				 "	*pointer += 1; *into = 77; sum = sum * 31 + counter + zeros[2999] + *theirs;\n"
				 "	snprintf(buf, sizeof buf, \"%ld-%s\", n, words[1]); sum = sum * 31 + "
				 "(long)strlen(buf) + strcmp(buf, \"4-be\");\n"
				 "	*into = 0;\n"
				 "	return sum;\n"
				 "}\n";

/* The same arithmetic, done here. */
static long expected_of_everything(long n, int counter)
{
	const long called[] = {2 * n + 9, 3 * n, exported_by_nobody((int)n), labs(n)};
	const char *const words[] = {"alpha", "be", "gamma rays"};
	char buf[64];
	long sum = 0;
	for (int i = 0; i < 4; i++)
		sum = sum * 31 + called[i];
	for (int i = 0; i < 3; i++)
		sum = sum * 31 + (long)strlen(words[i]) + words[i][0];
	sum = sum * 31 + counter + 77 + program_data[2];
	snprintf(buf, sizeof buf, "%ld-%s", n, words[1]);
	return sum * 31 + (long)strlen(buf) + strcmp(buf, "4-be");
}

static void run_everything(const char *how, bool bind_first)
{
	char *path = build("everything.so", how, everything);
	struct loaded l = load_with(path, self, bind_first);
	assert_int_equal(call(&l, "run", 4), expected_of_everything(4, 6));
	assert_int_equal(call(&l, "run", 4), expected_of_everything(4, 7));
	unload(&l);
	lp_free(path);
}

static void objects_of_gcc_and_clang_run_at_every_level_and_with_every_linker(void **state)
{
	static const char *const compilers[] = {"gcc", "clang", "clang -fuse-ld=lld", "gcc -fuse-ld=gold"};
	static const char *const levels[] = {"-O0", "-O1", "-O2"};
	static const char *const styles[] = {
		"",
		"-Wl,-z,now",
		"-Wl,-z,lazy -Wl,-z,norelro",
		"-fno-plt -fvisibility=default",
		"-Wl,-z,relro,-z,now -fcf-protection=full",
	};
	for (size_t c = 0; c < LP_ARRAY_SIZE(compilers); c++)
		for (size_t o = 0; o < LP_ARRAY_SIZE(levels); o++)
			for (size_t s = 0; s < LP_ARRAY_SIZE(styles); s++) {
				char *how = lp_sprintf("%s -shared -fPIC %s %s -fno-builtin", compilers[c], levels[o],
						       styles[s]);
				run_everything(how, (c + o + s) % 2);
				lp_free(how);
			}
}

static void packed_relative_relocations_are_applied(void **state)
{
	static const char *const how[] = {
		"gcc -shared -fPIC -fno-builtin -Wl,-z,pack-relative-relocs",
		"clang -shared -fPIC -fno-builtin -fuse-ld=lld -Wl,--pack-dyn-relocs=relr",
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(how); i++) {
		char *path = build("relr.so", how[i], everything);
		struct loaded l = load_with(path, self, true);
		struct lp_elf *e;
		uint64_t at;
		assert_int_equal(lp_elf_open(&e, path, NULL), 0);
		assert_true(lp_elf_dynamic(e, DT_RELR, &at));
		assert_int_equal(call(&l, "run", 4), expected_of_everything(4, 6));
		lp_elf_close(e);
		unload(&l);
		lp_free(path);
	}
}

static void an_object_without_the_startup_files_is_taken(void **state)
{
	struct loaded l =
		load("bare.so", "gcc -shared -fPIC -nostartfiles -nostdlib", "int f(int x) { return x + 1; }");
	assert_int_equal(call(&l, "f", 41), 42);
	unload(&l);
}

static void a_stripped_object_works_through_its_exports(void **state)
{
	struct loaded l =
		load("stripped.so", "gcc -shared -fPIC -s",
		     "static int h(int x) { return x * 5; } int (*volatile p)(int) = h; int f(int x) { return p(x); }");
	struct lp_err err = {0};
	lp_addr at;
	assert_int_equal(call(&l, "f", 5), 25);
	assert_int_equal(lp_object_symbol(l.o, l.base, "h", &at, NULL, &err), -LP_ENOSYM);
	assert_non_null(strstr(err.text, "stripped"));
	unload(&l);
}

/* ---- protections ---- */

static void constants_with_relocations_are_read_only_once_linked(void **state)
{
	static const char source[] =
		"int f(void) { return 1; } int (*const table[])(void) = {f}; int data = 1; int bss[9000];"
		"const int ro = 3;";
	struct loaded l = load("relro.so", "gcc -shared -fPIC -Wl,-z,relro", source);
	assert_int_equal(prot_at(&l, address(&l, "table")), LP_PROT_READ);
	assert_int_equal(prot_at(&l, address(&l, "ro")), LP_PROT_READ);
	assert_int_equal(prot_at(&l, address(&l, "f")), LP_PROT_READ | LP_PROT_EXEC);
	assert_int_equal(prot_at(&l, address(&l, "data")), LP_PROT_READ | LP_PROT_WRITE);
	assert_int_equal(prot_at(&l, address(&l, "bss") + 4 * 8999), LP_PROT_READ | LP_PROT_WRITE);
	unload(&l);
	l = load("norelro.so", "gcc -shared -fPIC -Wl,-z,norelro", source);
	assert_int_equal(prot_at(&l, address(&l, "table")), LP_PROT_READ | LP_PROT_WRITE);
	unload(&l);
}

static void bound_first_an_object_without_ifuncs_has_no_pages_for_stubs(void **state)
{
	char *path = build("plain.so", "gcc -shared -fPIC",
			   "extern int exported_by_nobody(int); int f(int x) { return exported_by_nobody(x); }");
	struct loaded early = load_with(path, self, true), late = load_with(path, self, false);
	assert_true(early.span < late.span);
	assert_int_equal(call(&early, "f", 2), 26);
	assert_int_equal(call(&late, "f", 2), 26);
	unload(&early);
	unload(&late);
	lp_free(path);
}

/* ---- whose definition ---- */

static void the_objects_own_definition_comes_before_the_targets(void **state)
{
	struct loaded l = load("own.so", "gcc -shared -fPIC -O0",
			       "int shared_name(void) { return 2; } int f(void) { return shared_name(); }");
	assert_int_equal(shared_name(), 1);
	assert_int_equal(call(&l, "f", 0), 2);
	unload(&l);
}

static void symbols_that_the_program_does_not_export_are_found_global_then_local(void **state)
{
	assert_null(dlsym(RTLD_DEFAULT, "exported_by_nobody"));
	struct loaded l = load("unexported.so", "gcc -shared -fPIC",
			       "extern int exported_by_nobody(int), quiet_local(int);\n"
			       "int f(int x) { return exported_by_nobody(x) * 100 + quiet_local(x); }");
	assert_int_equal(call(&l, "f", 1), 2308);
	assert_int_equal(keep_local(1), 8);
	unload(&l);
}

static void data_of_the_program_is_shared_not_copied(void **state)
{
	struct loaded l = load("data.so", "gcc -shared -fPIC",
			       "extern int program_data[4]; void f(int x) { program_data[3] = x; }");
	call(&l, "f", 4711);
	assert_int_equal(program_data[3], 4711);
	program_data[3] = 40;
	unload(&l);
}

static void a_weak_symbol_that_nobody_defines_is_zero(void **state)
{
	struct loaded l = load(
		"weak.so", "gcc -shared -fPIC",
		"extern void nowhere_at_all(void) __attribute__((weak)); long f(void) { return nowhere_at_all == 0; }");
	assert_int_equal(call(&l, "f", 0), 1);
	unload(&l);
}

static void a_variable_that_is_unique_in_the_process_stays_so(void **state)
{
	static const char source[] =
		"inline int next() { static int n; return ++n; } extern \"C\" int f(int) { return next(); }";
	static const char how[] = "g++ -x c++ -shared -fPIC -O0 -fno-exceptions";
	char *path = build("libunique.so", how, source);
	void *handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
	assert_non_null(handle);
	int (*theirs)(int) = (int (*)(int))(uintptr_t)dlsym(handle, "f");
	struct fake *f = open_self();
	char *ours = build("unique.so", how, source);
	struct loaded l = load_with(ours, f, true);
	assert_int_equal(theirs(0), 1);
	assert_int_equal(call(&l, "f", 0), 2);
	assert_int_equal(theirs(0), 3);
	unload(&l);
	close_fake(f);
	dlclose(handle);
	lp_free(ours);
	lp_free(path);
}

static void versions_that_the_object_asks_for_are_the_ones_it_gets(void **state)
{
	struct loaded l =
		load("versions.so", "gcc -shared -fPIC",
		     "typedef int walk(void);\n"
		     "walk old, new;\n"
		     "__asm__(\".symver old, nftw@GLIBC_2.2.5\"); __asm__(\".symver new, nftw@GLIBC_2.3.3\");\n"
		     "void *get_old(void) { return old; } void *get_new(void) { return new; }");
	void *oldest = dlvsym(RTLD_DEFAULT, "nftw", "GLIBC_2.2.5"),
	     *newest = dlvsym(RTLD_DEFAULT, "nftw", "GLIBC_2.3.3");
	assert_true(oldest && newest && oldest != newest);
	assert_int_equal(call(&l, "get_old", 0), (long)oldest);
	assert_int_equal(call(&l, "get_new", 0), (long)newest);
	unload(&l);
}

static void an_undefined_symbol_is_refused_with_who_asks_and_where_it_may_be(void **state)
{
	refused("undefined.so", "gcc -shared -fPIC",
		"extern int does_not_exist; int *table_of_mine[] = {&does_not_exist};", LP_ENOSYM,
		"undefined symbol does_not_exist, referenced by `table_of_mine`: nothing in this process defines it");
	char *dep = build("libdep.so", "gcc -shared -fPIC -Wl,-soname,libdep.so.3", "int from_dep(void) { return 1; }");
	char *how = lp_sprintf("gcc -shared -fPIC -Wl,--no-as-needed %s", dep);
	refused("needs.so", how, "int from_dep(void); int f(void) { return from_dep(); }", LP_ENOSYM,
		"it may come from libdep.so.3, which is not loaded there; `dl --dlopen` loads it");
	lp_free(how);
	lp_free(dep);
}

static void a_needed_library_that_nothing_is_taken_from_does_not_matter(void **state)
{
	char *dep = build("libdep.so", "gcc -shared -fPIC -Wl,-soname,libdep.so.3", "int from_dep(void) { return 1; }");
	char *how = lp_sprintf("gcc -shared -fPIC -Wl,--no-as-needed %s", dep);
	struct loaded l = load("needless.so", how, "int f(int x) { return x; }");
	assert_int_equal(call(&l, "f", 3), 3);
	unload(&l);
	lp_free(how);
	lp_free(dep);
}

static void the_vdso_lends_nothing(void **state)
{
	assert_string_equal(self->images.items[self->images.nr - 1].name, "[vdso]");
	refused("vdso.so", "gcc -shared -fPIC",
		"int __vdso_gettimeofday(void *, void *); int f(void) { return __vdso_gettimeofday(0, 0); }", LP_ENOSYM,
		"undefined symbol __vdso_gettimeofday");
}

static char *build_versioned(const char *name, const char *version, const char *more)
{
	char *map = path_of("version.map"), *text = lp_sprintf("%s { global: versioned; local: *; };", version);
	write_file(map, text, strlen(text));
	char *how = lp_sprintf("gcc -shared -fPIC -Wl,-soname,libversioned.so -Wl,--version-script=%s %s", map, more);
	char *path = build(name, how, "int versioned(int x) { return x; }");
	lp_free(how);
	lp_free(text);
	lp_free(map);
	return path;
}

static void a_version_that_the_target_lacks_is_not_replaced_by_another_one(void **state)
{
	char *newer = build_versioned("newer.so", "V_2", ""), *older = build_versioned("older.so", "V_1", "");
	void *handle = dlopen(older, RTLD_NOW | RTLD_GLOBAL);
	assert_non_null(handle);
	struct fake *f = open_self();
	char *how = lp_sprintf("gcc -shared -fPIC -Wl,--no-as-needed %s", newer);
	char *user = build("asks.so", how, "int versioned(int); int f(int x) { return versioned(x); }");
	struct loaded l;
	struct lp_err err = {0};
	assert_int_equal(try_load(&l, user, f, true, &err), -LP_ENOSYM);
	assert_non_null(strstr(err.text, "undefined symbol versioned@V_2"));
	unload(&l);
	close_fake(f);
	dlclose(handle);
	lp_free(user);
	lp_free(how);
	lp_free(older);
	lp_free(newer);
}

static const char twins[] = "static int __attribute__((noinline)) twin(int x) { return x + N; }\n"
			    "int (*volatile NAME)(int) = twin;";

/* A library with two local functions of one name, from a.c and b.c. */
static char *build_twins(const char *name)
{
	lp_free(build("a.o", "gcc -c -fPIC -DN=1 -DNAME=pa", twins));
	char *object_b = build("b.o", "gcc -c -fPIC -DN=2 -DNAME=pb", twins);
	char *how = lp_sprintf("gcc -shared -fPIC %s/a.o %s", dir, object_b);
	char *path = build(name, how, "int unique_here(void) { return 5; }");
	lp_free(how);
	lp_free(object_b);
	return path;
}

static void an_unexported_symbol_that_the_target_has_twice_is_refused_with_both(void **state)
{
	char *path = build_twins("libtwins.so");
	void *handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
	assert_non_null(handle);
	struct fake *f = open_self();
	char *user = build("user.so", "gcc -shared -fPIC", "int twin(int); int f(int x) { return twin(x); }");
	struct loaded l;
	struct lp_err err = {0};
	assert_int_equal(try_load(&l, user, f, true, &err), -LP_EAMBIGUOUS);
	assert_non_null(strstr(err.text, "a.o.c:twin in libtwins.so"));
	assert_non_null(strstr(err.text, "b.o.c:twin in libtwins.so"));
	unload(&l);
	close_fake(f);
	dlclose(handle);
	lp_free(user);
	lp_free(path);
}

/* ---- IFUNCs ---- */

static void an_ifunc_of_the_target_is_bound_to_what_ld_so_chose(void **state)
{
	struct loaded l =
		load("ifunc.so", "gcc -shared -fPIC -fno-builtin",
		     "#include <string.h>\nvoid *f(void) { return strlen; } void *g(void) { return memmove; }");
	assert_int_equal(call(&l, "f", 0), (long)dlsym(RTLD_DEFAULT, "strlen"));
	assert_int_equal(call(&l, "g", 0), (long)dlsym(RTLD_DEFAULT, "memmove"));
	unload(&l);
}

/* A library whose function is chosen by a resolver that counts its calls; no GOT of its own holds the choice. */
static void *open_chooser(void)
{
	char *path = build("libchooser.so", "gcc -shared -fPIC -O1",
			   "int nr_resolved; static long plus(long a, double b) { return a + (long)(2 * b); }\n"
			   "static void *resolve(void) { nr_resolved++; return plus; }\n"
			   "long choice(long, double) __attribute__((ifunc(\"resolve\")));");
	void *handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
	assert_non_null(handle);
	lp_free(path);
	return handle;
}

static const char chooser_user[] =
	"long choice(long, double); long f(long n) { return choice(n, 0.5 + n); } void *g(void) { return choice; }";

static void an_ifunc_that_no_got_holds_gets_a_stub_that_resolves_it_on_the_first_call(void **state)
{
	void *handle = open_chooser();
	int *nr_resolved = dlsym(handle, "nr_resolved");
	struct fake *f = open_self();
	char *path = build("stub.so", "gcc -shared -fPIC -O2", chooser_user);
	struct loaded l = load_with(path, f, true);
	lp_addr stub = (lp_addr)call(&l, "g", 0);
	assert_true(stub >= l.base && stub < l.base + l.span);
	assert_int_equal(prot_at(&l, stub), LP_PROT_READ | LP_PROT_EXEC);
	assert_int_equal(*nr_resolved, 0);
	assert_int_equal(call(&l, "f", 5), 16);
	assert_int_equal(call(&l, "f", 7), 22);
	assert_int_equal(*nr_resolved, 1);
	unload(&l);
	close_fake(f);
	lp_free(path);
	dlclose(handle);
}

static const char own_ifunc[] =
	"static int resolved;\n"
	"static long nine(long a, double b) { return a + (long)b + 9; }\n"
	"static void *resolve(void) { resolved++; return nine; }\n"
	"long chosen(long a, double b) __attribute__((ifunc(\"resolve\")));\n"
	"static long quiet(long a, double b) __attribute__((ifunc(\"resolve\"), used));\n"
	"long (*pointer)(long, double) = chosen;\n"
	"int times(void) { return resolved; }\n"
	"long run(long n) { return chosen(n, 0.5 + n) * 10000 + pointer(n, 2.5) * 100 + quiet(n, 1.0); }\n";

static void ifuncs_of_the_object_are_resolved_by_the_program_not_by_us(void **state)
{
	static const char *const how[] = {"gcc -shared -fPIC -O0", "gcc -shared -fPIC -O2 -Wl,-z,now",
					  "clang -shared -fPIC -O1"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(how); i++) {
		struct loaded l = load("own_ifunc.so", how[i], own_ifunc);
		assert_int_equal(call(&l, "times", 0), 0);
		assert_int_equal(call(&l, "run", 3), 15 * 10000 + 14 * 100 + 13);
		assert_true(call(&l, "times", 0) >= 1);
		assert_int_equal(call(&l, "run", 4), 17 * 10000 + 15 * 100 + 14);
		long (*chosen)(long, double) = (long (*)(long, double))(uintptr_t)address(&l, "chosen");
		assert_int_equal(chosen(1, 2.0), 12);
		unload(&l);
	}
}

/* ---- thread-local storage ---- */

static void thread_local_variables_of_the_program_are_reached_in_both_models(void **state)
{
	static const char source[] =
		"extern __thread int program_tls; int f(int x) { int old = program_tls; program_tls = x; return old; }";
	static const char *const how[] = {
		"gcc -shared -fPIC -O2 -ftls-model=initial-exec",
		"gcc -shared -fPIC -O2 -ftls-model=global-dynamic",
		"clang -shared -fPIC -O1",
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(how); i++) {
		struct loaded l = load("tls.so", how[i], source);
		program_tls = 1000;
		assert_int_equal(call(&l, "f", 5), 1000);
		assert_int_equal(program_tls, 5);
		unload(&l);
	}
}

static void other_thread_local_variables_need_the_targets_loader(void **state)
{
	refused("tls_own.so", "gcc -shared -fPIC", "__thread int mine; int f(void) { return mine; }", LP_ENEEDSDLOPEN,
		"dl --dlopen");
	refused("tls_desc.so", "gcc -shared -fPIC -mtls-dialect=gnu2",
		"extern __thread int program_tls; int f(void) { return program_tls; }", LP_ENEEDSDLOPEN,
		"TLS descriptor");
	char *path = build("libtls.so", "gcc -shared -fPIC", "__thread int tls_of_library;");
	void *handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
	assert_non_null(handle);
	struct fake *f = open_self();
	char *user = build("tls_user.so", "gcc -shared -fPIC",
			   "extern __thread int tls_of_library; int f(void) { return tls_of_library; }");
	struct loaded l;
	struct lp_err err = {0};
	assert_int_equal(try_load(&l, user, f, true, &err), -LP_ENEEDSDLOPEN);
	assert_non_null(strstr(err.text, "tls_of_library of libtls.so"));
	unload(&l);
	close_fake(f);
	dlclose(handle);
	lp_free(user);
	lp_free(path);
}

/* ---- what is refused ---- */

static void constructors_and_destructors_need_the_targets_loader(void **state)
{
	static const char ctor[] =
		"int x; static __attribute__((constructor)) void set_up(void) { x = 1; } int f(void) { return x; }";
	static const char dtor[] =
		"int x; static __attribute__((destructor)) void tear_down(void) { x = 1; } int f(void) { return x; }";
	refused("ctor.so", "gcc -shared -fPIC", ctor, LP_ENEEDSDLOPEN,
		"constructor (set_up) that would have to run; `dl --dlopen`");
	refused("ctor_s.so", "gcc -shared -fPIC -s", ctor, LP_ENEEDSDLOPEN, "has a constructor that would have to run");
	refused("ctor_bare.so", "gcc -shared -fPIC -nostartfiles", ctor, LP_ENEEDSDLOPEN, "constructor (set_up)");
	refused("ctor_relr.so", "clang -shared -fPIC -fuse-ld=lld -Wl,--pack-dyn-relocs=relr", ctor, LP_ENEEDSDLOPEN,
		"constructor (set_up)");
	refused("dtor.so", "gcc -shared -fPIC", dtor, LP_ENEEDSDLOPEN, "destructor (tear_down)");
	refused("init.so", "gcc -shared -fPIC -Wl,-init=start_me", "void start_me(void) {}", LP_ENEEDSDLOPEN,
		"constructor (start_me)");
}

static void code_that_throws_needs_the_targets_loader(void **state)
{
	refused("throws.so", "g++ -x c++ -shared -fPIC", "extern \"C\" int f(int x) { if (x) throw 1; return 0; }",
		LP_ENEEDSDLOPEN, "exceptions");
}

static void what_is_not_a_sound_shared_object_is_refused(void **state)
{
	refused("object.so", "gcc -c -fPIC", "int f;", LP_EELF, "is an object file: link it with cc -shared");
	refused("program.so", "gcc -pie -fPIE", "int main(void) { return 0; }", LP_EELF, "is a program");
	refused("fixed.so", "gcc -no-pie", "int main(void) { return 0; }", LP_EELF, "is a program");
	refused("textrel.so", "gcc -shared -fPIC -Wl,-z,notext", "__asm__(\".text\\n.globl f\\nf: .quad puts\\n\");",
		LP_EELF, "relocations in its code");
	refused("wx.so", "gcc -shared -fPIC -nostdlib -nostartfiles -Wl,--omagic",
		"int x = 1; int f(void) { return x; }", LP_EELF, "writable and executable");
	refused("stack.so", "gcc -shared -fPIC -Wl,-z,execstack", "int f;", LP_ENEEDSDLOPEN, "executable stack");
	refused("aligned.so", "gcc -shared -fPIC", "int f __attribute__((aligned(65536))) = 1;", LP_ENEEDSDLOPEN,
		"aligned to 65536 bytes");
	refused("foreign.so", "aarch64-linux-gnu-gcc -shared -fPIC", "int f;", LP_EISA, "another machine");
	refused("text.so", "echo hello > text.so; true", "", LP_EELF, "text.so");
}

static void a_file_that_is_not_there_is_named(void **state)
{
	struct lp_object *o;
	struct lp_err err = {0};
	assert_int_equal(lp_object_open(&o, "/nowhere/x.so", self->target.isa, &err), -ENOENT);
	assert_null(o);
	assert_non_null(strstr(err.text, "/nowhere/x.so"));
}

/* Take the flags away by which an object admits relocations in its code. */
static void hide_textrel(const char *path)
{
	struct lp_buf file = {0};
	struct lp_elf *e;
	assert_int_equal(lp_read_file(path, &file, 1u << 24, NULL), 0);
	assert_int_equal(lp_elf_open(&e, path, NULL), 0);
	const Elf64_Phdr *p = lp_elf_phdr_find(e, PT_DYNAMIC);
	Elf64_Dyn *d = (Elf64_Dyn *)(file.data + p->p_offset);
	for (; d->d_tag != DT_NULL; d++) {
		if (d->d_tag == DT_TEXTREL)
			d->d_tag = DT_DEBUG;
		if (d->d_tag == DT_FLAGS)
			d->d_un.d_val &= ~(Elf64_Xword)DF_TEXTREL;
	}
	write_file(path, file.data, file.len);
	lp_elf_close(e);
	lp_buf_free(&file);
}

static void a_relocation_in_code_is_refused_also_when_it_is_not_announced(void **state)
{
	char *path = build("sneaky.so", "gcc -shared -fPIC -Wl,-z,notext",
			   "__asm__(\".text\\n.globl f\\nf: .quad puts\\n\");");
	struct loaded l;
	struct lp_err err = {0};
	hide_textrel(path);
	assert_int_equal(try_load(&l, path, self, true, &err), -LP_EELF);
	assert_non_null(strstr(err.text, "not writable"));
	unload(&l);
	lp_free(path);
}

/* ---- symbols of the object ---- */

static void static_functions_are_found_and_twins_need_their_file(void **state)
{
	char *path = build_twins("twins.so");
	struct loaded l = load_with(path, self, true);
	struct lp_err err = {0};
	lp_addr at;
	uint64_t size = 0;
	assert_int_equal(lp_object_symbol(l.o, l.base, "twin", &at, NULL, &err), -LP_EAMBIGUOUS);
	assert_non_null(strstr(err.text, "a.o.c:twin"));
	assert_non_null(strstr(err.text, "b.o.c:twin"));
	assert_int_equal(call(&l, "a.o.c:twin", 10), 11);
	assert_int_equal(call(&l, "b.o.c:twin", 10), 12);
	assert_int_equal(call(&l, "unique_here", 0), 5);
	assert_int_equal(lp_object_symbol(l.o, l.base, "unique_here", &at, &size, &err), 0);
	assert_true(size > 0 && size < 64);
	assert_int_equal(lp_object_symbol(l.o, l.base, "puts", &at, NULL, &err), -LP_ENOSYM);
	unload(&l);
	lp_free(path);
}

/* ---- pointers to functions in programs that are not position-independent ---- */

static void function_pointers_agree_with_a_program_that_took_its_own_plt_entry(void **state)
{
	char *exe = build("nopie", "gcc -fno-pie -no-pie",
			  "#include <stdio.h>\n#include <unistd.h>\nint (*volatile p)(const char *) = puts;"
			  "int main(void) { return p(\"\") + (getpid() == (int)(long)puts); }");
	struct fake *f = empty_fake();
	add_image(f, exe, 0);
	for (size_t i = 1; i + 1 < self->images.nr; i++)
		add_image(f, self->images.items[i].path, self->images.items[i].bias);
	size_t cursor = 0;
	struct lp_elf_sym s;
	assert_true(lp_elf_symbol_by_name(f->images.items[0].elf, LP_DYNSYM, "puts", &cursor, &s));
	assert_true(s.shndx == SHN_UNDEF && s.value);

	char *path = build("pointer.so", "gcc -shared -fPIC -fno-builtin -O0",
			   "#include <stdio.h>\nint (*pointer)(const char *) = puts;"
			   "void *get(void) { return puts; } int call_it(void) { return puts(\"\"); }");
	struct loaded l = load_with(path, f, true);
	assert_true(lp_get64((void *)(uintptr_t)address(&l, "pointer")) == s.value);
	assert_int_equal(call(&l, "get", 0), (long)s.value);
	unload(&l);
	close_fake(f);
	lp_free(path);
	lp_free(exe);
}

/* ---- got ---- */

static size_t image_named(struct fake *f, const char *name)
{
	size_t i = 0;
	while (i < f->images.nr && strcmp(f->images.items[i].name, name))
		i++;
	assert_true(i < f->images.nr);
	return i;
}

static int hooked(void)
{
	return 4711;
}

static void got_slots_of_an_image_are_all_found_and_calls_go_through_them(void **state)
{
	char *path = build("libgot.so", "gcc -shared -fPIC -O0 -Wl,-z,lazy,-z,norelro",
			   "#include <unistd.h>\nint ask(void) { return getppid(); } void *volatile p; void *get(void) "
			   "{ return p = getppid; }");
	void *handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
	assert_non_null(handle);
	int (*ask)(void) = (int (*)(void))(uintptr_t)dlsym(handle, "ask");
	assert_int_equal(ask(), getppid());

	struct fake *f = open_self();
	size_t image = image_named(f, "libgot.so");
	lp_addr_vec slots = {0};
	struct lp_err err = {0};
	assert_int_equal(lp_link_got_slots(&f->target, image, "getppid", NULL, &slots, &err), 0);
	assert_true(slots.nr >= 1);
	for (size_t i = 0; i < slots.nr; i++) {
		assert_true(lp_get64((void *)(uintptr_t)slots.items[i]) == (uintptr_t)dlsym(RTLD_DEFAULT, "getppid"));
		lp_put64((void *)(uintptr_t)slots.items[i], (uintptr_t)hooked);
	}
	assert_int_equal(ask(), 4711);

	size_t nr = slots.nr;
	assert_int_equal(lp_link_got_slots(&f->target, image, "getppid", "GLIBC_2.2.5", &slots, &err), 0);
	assert_int_equal(slots.nr, 2 * nr);
	assert_int_equal(lp_link_got_slots(&f->target, image, "getppid", "GLIBC_9.9", &slots, &err), 0);
	assert_int_equal(lp_link_got_slots(&f->target, image, "getppi", NULL, &slots, &err), 0);
	assert_int_equal(slots.nr, 2 * nr);
	lp_vec_free(&slots);
	close_fake(f);
	dlclose(handle);
	lp_free(path);
}

static void a_hook_in_a_got_is_not_taken_for_the_resolution_of_an_ifunc(void **state)
{
	void *chooser = open_chooser();
	char *path = build("libhooked.so", "gcc -shared -fPIC -O0 -Wl,-z,now,-z,norelro", chooser_user);
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	assert_non_null(handle);
	struct fake *f = open_self();
	lp_addr_vec slots = {0};
	assert_int_equal(lp_link_got_slots(&f->target, image_named(f, "libhooked.so"), "choice", NULL, &slots, NULL),
			 0);
	assert_true(slots.nr >= 1);
	uint64_t chosen = lp_get64((void *)(uintptr_t)slots.items[0]);
	char *user = build("chosen.so", "gcc -shared -fPIC", chooser_user);

	struct loaded l = load_with(user, f, true);
	assert_true((uint64_t)call(&l, "g", 0) == chosen);
	unload(&l);
	for (size_t i = 0; i < slots.nr; i++)
		lp_put64((void *)(uintptr_t)slots.items[i], (uintptr_t)hooked);
	l = load_with(user, f, true);
	lp_addr bound = (lp_addr)call(&l, "g", 0);
	assert_true(bound >= l.base && bound < l.base + l.span);
	unload(&l);
	lp_vec_free(&slots);
	close_fake(f);
	dlclose(handle);
	dlclose(chooser);
	lp_free(user);
	lp_free(path);
}

static void an_unresolved_lazy_slot_is_not_taken_for_the_resolution_of_an_ifunc(void **state)
{
	void *chooser = open_chooser();
	char *path = build("liblazy.so", "gcc -shared -fPIC -O0 -Wl,-z,lazy",
			   "long choice(long, double); long ask(long n) { return choice(n, 1); }");
	void *handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
	assert_non_null(handle);
	long (*ask)(long) = (long (*)(long))(uintptr_t)dlsym(handle, "ask");
	struct fake *f = open_self();
	char *user = build("chosen.so", "gcc -shared -fPIC", chooser_user);
	struct loaded l = load_with(user, f, true);
	lp_addr bound = (lp_addr)call(&l, "g", 0);
	assert_true(bound >= l.base && bound < l.base + l.span);
	unload(&l);

	assert_int_equal(ask(1), 3); /* now ld.so has filled in the slot */
	l = load_with(user, f, true);
	bound = (lp_addr)call(&l, "g", 0);
	assert_false(bound >= l.base && bound < l.base + l.span);
	assert_int_equal(call(&l, "f", 5), 16);
	unload(&l);
	close_fake(f);
	dlclose(handle);
	dlclose(chooser);
	lp_free(user);
	lp_free(path);
}

/* The same file without section headers: nothing tells where its PLT is. */
static void hide_sections(const char *path)
{
	struct lp_buf file = {0};
	assert_int_equal(lp_read_file(path, &file, 1u << 24, NULL), 0);
	Elf64_Ehdr *h = (Elf64_Ehdr *)file.data;
	h->e_shoff = h->e_shnum = h->e_shstrndx = 0;
	write_file(path, file.data, file.len);
	lp_buf_free(&file);
}

static void a_lazy_slot_of_the_defining_library_is_told_from_its_resolution(void **state)
{
	for (int stripped = 0; stripped < 2; stripped++) {
		char *path = build("libself.so", "gcc -shared -fPIC -O1 -Wl,-z,lazy",
				   "static long plus(long a, double b) { return a + (long)(2 * b); } static void "
				   "*resolve(void) { return plus; }\n"
				   "long choice(long, double) __attribute__((ifunc(\"resolve\")));\nlong ask(long n) { "
				   "return choice(n, 1); }");
		if (stripped)
			hide_sections(path);
		void *handle = dlopen(path, RTLD_LAZY | RTLD_GLOBAL);
		assert_non_null(handle);
		long (*ask)(long) = (long (*)(long))(uintptr_t)dlsym(handle, "ask");
		struct fake *f = open_self();
		char *user = build("chosen.so", "gcc -shared -fPIC", chooser_user);
		for (int resolved = 0; resolved < 2; resolved++) {
			struct loaded l = load_with(user, f, true);
			lp_addr bound = (lp_addr)call(&l, "g", 0);
			assert_true((bound >= l.base && bound < l.base + l.span) == !resolved);
			assert_int_equal(call(&l, "f", 5), 16);
			unload(&l);
			assert_int_equal(ask(1), 3);
		}
		close_fake(f);
		dlclose(handle);
		lp_free(user);
		lp_free(path);
	}
}

/* ---- a static program ---- */

/* Runs until the pipe at its standard input closes; returns once it stands in main. */
static pid_t start_static(const char *path, int *input)
{
	int in[2], out[2];
	char byte;
	assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execl(path, path, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	assert_int_equal(read(out[0], &byte, 1), 1);
	close(out[0]);
	*input = in[1];
	return pid;
}

static void a_static_program_lends_its_functions_and_the_choices_of_its_ifuncs(void **state)
{
	char *exe = build(
		"static", "gcc -static -O1 -fno-builtin",
		"#include <string.h>\n#include <unistd.h>\nint main(int n, char **a) { char c = (char)strlen(a[0]);"
		"write(1, &c, 1); return (int)read(0, &c, 1); }");
	int input, status;
	struct fake *f = empty_fake();
	add_image(f, exe, 0);
	f->pid = start_static(exe, &input);

	char *path = build("for_static.so", "gcc -shared -fPIC -fno-builtin",
			   "#include <string.h>\n#include <unistd.h>\n"
			   "size_t (*len)(const char *) = strlen; ssize_t (*get)(int, void *, size_t) = read;");
	struct lp_object *o;
	struct lp_err err = {0};
	const lp_addr base = UINT64_C(0x500000000000);
	assert_int_equal(lp_object_open(&o, path, f->target.isa, &err), 0);
	uint8_t *image = malloc(lp_object_span(o));
	if (lp_object_link(o, base, &f->target, image, &err) < 0)
		fail_msg("%s", err.text);
	lp_addr len, get;
	struct lp_elf_sym s;
	assert_int_equal(lp_object_symbol(o, base, "len", &len, NULL, &err), 0);
	assert_int_equal(lp_object_symbol(o, base, "get", &get, NULL, &err), 0);
	assert_true(lp_elf_symbol_at(f->images.items[0].elf, lp_get64(image + (len - base)), &s));
	assert_int_equal(strncmp(s.name, "__strlen_", 9), 0); /* __strlen_avx2 and its kin */
	assert_int_equal(s.value, lp_get64(image + (len - base)));
	assert_true(lp_elf_symbol_at(f->images.items[0].elf, lp_get64(image + (get - base)), &s));
	assert_non_null(strstr(s.name, "read"));

	close(input);
	assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
	assert_int_equal(status, 0);
	free(image);
	lp_object_close(o);
	close_fake(f);
	lp_free(path);
	lp_free(exe);
}

/* ---- the other instruction set ---- */

static void an_aarch64_object_is_linked_against_an_aarch64_libc(void **state)
{
	static const char libc[] = "/usr/aarch64-linux-gnu/lib/libc.so.6";
	const lp_addr libc_at = UINT64_C(0x7f0000000000), base = UINT64_C(0x500000000000);
	struct fake *f = empty_fake();
	f->target.isa = lp_isa_of(EM_AARCH64);
	add_image(f, libc, libc_at);
	char *path = build("a64.so", "aarch64-linux-gnu-gcc -shared -fPIC -O1",
			   "#include <unistd.h>\nint data = 7; int *own = &data; pid_t (*theirs)(void) = getpid;");
	struct lp_object *o;
	struct lp_err err = {0};
	assert_int_equal(lp_object_open(&o, path, f->target.isa, &err), 0);
	uint8_t *image = malloc(lp_object_span(o));
	if (lp_object_link(o, base, &f->target, image, &err) < 0)
		fail_msg("%s", err.text);
	lp_addr data, own, theirs;
	assert_int_equal(lp_object_symbol(o, base, "data", &data, NULL, &err), 0);
	assert_int_equal(lp_object_symbol(o, base, "own", &own, NULL, &err), 0);
	assert_int_equal(lp_object_symbol(o, base, "theirs", &theirs, NULL, &err), 0);
	size_t cursor = 0;
	struct lp_elf_sym s;
	assert_true(lp_elf_symbol_by_name(f->images.items[0].elf, LP_DYNSYM, "getpid", &cursor, &s));
	assert_true(lp_get64(image + (own - base)) == data);
	assert_true(lp_get64(image + (theirs - base)) == libc_at + s.value);
	free(image);
	lp_object_close(o);
	close_fake(f);
	lp_free(path);
}

/* ---- damaged files ---- */

static uint64_t random_state = 88172645463325252u;

static uint64_t random_bits(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* Half of the damage goes where it hurts: headers, and the tables that the dynamic section names. */
static void damage(uint8_t *bytes, size_t len, const struct lp_range *tables, size_t nr_tables)
{
	static const uint8_t nasty[] = {0, 1, 0x7f, 0x80, 0xff, 8};
	for (unsigned n = 1 + random_bits() % 4; n; n--) {
		struct lp_range r = {0, len};
		if (random_bits() % 4)
			r = tables[random_bits() % nr_tables];
		size_t at = r.start + random_bits() % (r.end - r.start);
		bytes[at] = random_bits() % 2 ? nasty[random_bits() % sizeof nasty] : (uint8_t)random_bits();
	}
}

static size_t find_tables(const char *path, struct lp_range out[8])
{
	static const char *const names[] = {".dynamic", ".rela.dyn", ".rela.plt", ".dynsym", ".symtab"};
	struct lp_elf *e;
	size_t nr = 0;
	assert_int_equal(lp_elf_open(&e, path, NULL), 0);
	out[nr++] = (struct lp_range){0, sizeof(Elf64_Ehdr) + lp_elf_phdr_count(e) * sizeof(Elf64_Phdr)};
	for (size_t i = 0; i < LP_ARRAY_SIZE(names); i++) {
		const Elf64_Shdr *s = lp_elf_section_find(e, names[i]);
		if (s && s->sh_size)
			out[nr++] = (struct lp_range){s->sh_offset, s->sh_offset + s->sh_size};
	}
	lp_elf_close(e);
	return nr;
}

static void try_damaged(const char *path, unsigned *nr_linked)
{
	struct lp_object *o;
	struct lp_err err = {0};
	int rc = lp_object_open(&o, path, self->target.isa, &err);
	if (rc == 0 && lp_object_span(o) < 64u << 20) {
		uint8_t *image = malloc(lp_object_span(o)); /* exactly: sanitizers see one byte too many */
		lp_addr at;
		rc = lp_object_link(o, 0x10000, &self->target, image, &err);
		lp_object_symbol(o, 0x10000, "run", &at, NULL, NULL);
		free(image);
	}
	*nr_linked += rc == 0;
	if (rc < 0)
		assert_true(err.code == rc && err.text[0]);
	lp_object_close(o);
}

/* The file with its second PT_LOAD changed. */
static void with_segment(const struct lp_buf *good, const Elf64_Phdr *change, const char *words)
{
	char *bad = path_of("segment.so");
	struct lp_object *o;
	struct lp_err err = {0};
	uint8_t *bytes = lp_memdup(good->data, good->len);
	Elf64_Phdr *p = (Elf64_Phdr *)(bytes + ((Elf64_Ehdr *)bytes)->e_phoff);
	assert_true(p[0].p_type == PT_LOAD && p[1].p_type == PT_LOAD);
	p[1] = *change;
	write_file(bad, bytes, good->len);
	assert_int_equal(lp_object_open(&o, bad, self->target.isa, &err), -LP_EELF);
	assert_non_null(strstr(err.text, words));
	lp_free(bytes);
	lp_free(bad);
}

static void segments_that_lie_are_refused(void **state)
{
	char *path = build("good.so", "gcc -shared -fPIC -nostdlib", "int f(int x) { return x; }");
	struct lp_buf good = {0};
	assert_int_equal(lp_read_file(path, &good, 1u << 24, NULL), 0);
	Elf64_Phdr was = ((Elf64_Phdr *)(good.data + ((Elf64_Ehdr *)good.data)->e_phoff))[1], p = was;
	p.p_memsz = p.p_filesz - 1;
	with_segment(&good, &p, "impossible sizes");
	p = was, p.p_vaddr = p.p_memsz = UINT64_C(1) << 63;
	with_segment(&good, &p, "impossible sizes");
	p = was, p.p_vaddr = 0;
	with_segment(&good, &p, "share a page");
	p = was, p.p_memsz = UINT64_C(1) << 40;
	with_segment(&good, &p, "address space");
	p = was, p.p_filesz = p.p_memsz = good.len;
	with_segment(&good, &p, "cut short");
	lp_buf_free(&good);
	lp_free(path);
}

static void a_damaged_object_is_refused_or_linked_but_never_believed(void **state)
{
	char *path = build("good.so", "gcc -shared -fPIC -fno-builtin", everything), *bad = path_of("bad.so");
	struct lp_buf good = {0};
	struct lp_range tables[8];
	unsigned nr_linked = 0;
	assert_int_equal(lp_read_file(path, &good, 1u << 24, NULL), 0);
	size_t nr_tables = find_tables(path, tables);
	for (int i = 0; i < 1500; i++) {
		uint8_t *bytes = lp_memdup(good.data, good.len);
		damage(bytes, good.len, tables, nr_tables);
		write_file(bad, bytes, i % 10 ? good.len : random_bits() % good.len);
		try_damaged(bad, &nr_linked);
		lp_free(bytes);
	}
	assert_in_range(nr_linked, 50, 1450);
	lp_buf_free(&good);
	lp_free(path);
	lp_free(bad);
}

/* ---- all of them ---- */

static int set_up(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	self = open_self();
	return 0;
}

static int tear_down(void **state)
{
	char *cmd = lp_sprintf("rm -rf %s", dir);
	close_fake(self);
	int rc = system(cmd);
	lp_free(cmd);
	return rc;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_of_gcc_and_clang_run_at_every_level_and_with_every_linker),
		cmocka_unit_test(packed_relative_relocations_are_applied),
		cmocka_unit_test(an_object_without_the_startup_files_is_taken),
		cmocka_unit_test(a_stripped_object_works_through_its_exports),
		cmocka_unit_test(constants_with_relocations_are_read_only_once_linked),
		cmocka_unit_test(bound_first_an_object_without_ifuncs_has_no_pages_for_stubs),
		cmocka_unit_test(the_objects_own_definition_comes_before_the_targets),
		cmocka_unit_test(symbols_that_the_program_does_not_export_are_found_global_then_local),
		cmocka_unit_test(data_of_the_program_is_shared_not_copied),
		cmocka_unit_test(a_weak_symbol_that_nobody_defines_is_zero),
		cmocka_unit_test(a_variable_that_is_unique_in_the_process_stays_so),
		cmocka_unit_test(versions_that_the_object_asks_for_are_the_ones_it_gets),
		cmocka_unit_test(an_undefined_symbol_is_refused_with_who_asks_and_where_it_may_be),
		cmocka_unit_test(a_needed_library_that_nothing_is_taken_from_does_not_matter),
		cmocka_unit_test(the_vdso_lends_nothing),
		cmocka_unit_test(a_version_that_the_target_lacks_is_not_replaced_by_another_one),
		cmocka_unit_test(an_unexported_symbol_that_the_target_has_twice_is_refused_with_both),
		cmocka_unit_test(an_ifunc_of_the_target_is_bound_to_what_ld_so_chose),
		cmocka_unit_test(an_ifunc_that_no_got_holds_gets_a_stub_that_resolves_it_on_the_first_call),
		cmocka_unit_test(ifuncs_of_the_object_are_resolved_by_the_program_not_by_us),
		cmocka_unit_test(thread_local_variables_of_the_program_are_reached_in_both_models),
		cmocka_unit_test(other_thread_local_variables_need_the_targets_loader),
		cmocka_unit_test(constructors_and_destructors_need_the_targets_loader),
		cmocka_unit_test(code_that_throws_needs_the_targets_loader),
		cmocka_unit_test(what_is_not_a_sound_shared_object_is_refused),
		cmocka_unit_test(a_file_that_is_not_there_is_named),
		cmocka_unit_test(a_relocation_in_code_is_refused_also_when_it_is_not_announced),
		cmocka_unit_test(static_functions_are_found_and_twins_need_their_file),
		cmocka_unit_test(function_pointers_agree_with_a_program_that_took_its_own_plt_entry),
		cmocka_unit_test(got_slots_of_an_image_are_all_found_and_calls_go_through_them),
		cmocka_unit_test(a_hook_in_a_got_is_not_taken_for_the_resolution_of_an_ifunc),
		cmocka_unit_test(an_unresolved_lazy_slot_is_not_taken_for_the_resolution_of_an_ifunc),
		cmocka_unit_test(a_lazy_slot_of_the_defining_library_is_told_from_its_resolution),
		cmocka_unit_test(a_static_program_lends_its_functions_and_the_choices_of_its_ifuncs),
		cmocka_unit_test(an_aarch64_object_is_linked_against_an_aarch64_libc),
		cmocka_unit_test(segments_that_lie_are_refused),
		cmocka_unit_test(a_damaged_object_is_refused_or_linked_but_never_believed),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
