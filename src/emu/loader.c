#include "emu/loader.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "emu/emu.h"
#include "emu/exec.h"
#include "emu/features.h"
#include "emu/mem.h"
#include "emu/path.h"
#include "emu/proc.h"
#include "emu/vdso.h"

#define PAGE ((uint64_t)LP_GUEST_PAGE)
/* A third of 47 bits: far from the runner, its heap and where the kernel puts mappings, so that the guest's heap can grow. */
#define PIE_BASE UINT64_C(0x2aaaaaaaa000)
#define PIE_RANDOM UINT64_C(0x3fffffff000)
#define BRK_RANDOM UINT64_C(0x1fff000) /* 32 MB, as arch_randomize_brk() */
#define STACK_MAX (UINT64_C(1) << 30)  /* of an unlimited one */
#define STACK_MIN (UINT64_C(128) << 10)
#define STACK_GUARD (UINT64_C(1) << 20) /* stack_guard_gap of the kernel */

enum {
	PIE_TRIES = 8,
	CLOCK_TICKS = 100,
	/* What sigframe_size() of arch/arm64/kernel/signal.c comes to without SVE: frame, frame record, alignment. */
	SIGNAL_STACK_MIN = 4720,
};

#ifndef AT_MINSIGSTKSZ /* newer than the headers of Debian 12 */
#define AT_MINSIGSTKSZ 51
#endif

typedef LP_VEC(char *) argv_vec;

/* ---- numbers ---- */

/* Page-aligned, up to `mask`; 0 when the user wants no address randomized (setarch -R). */
static uint64_t random_pages(uint64_t mask)
{
	uint64_t value = 0;

	if (personality(UINT32_MAX) & ADDR_NO_RANDOMIZE || getrandom(&value, sizeof value, 0) != sizeof value)
		return 0;
	return lp_align_down(value & mask, PAGE);
}

/* ---- files ---- */

/* The name under which the guest would open it. */
static char *guest_path(const struct lp_emu *emu, int fd, const char *otherwise)
{
	char link[48], path[PATH_MAX];
	ssize_t len;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof path - 1);
	if (len <= 0)
		return lp_strdup(otherwise);
	path[len] = 0;
	lp_path_guest(emu, path);
	return lp_strdup(path);
}

static int open_for_guest(const struct lp_emu *emu, const char *path)
{
	char host[PATH_MAX];

	lp_path_host(emu, path, 0, host);
	return open(host, O_RDONLY | O_CLOEXEC);
}

/* ---- mapping a file ---- */

/* One file on its way into memory. */
struct mapping {
	struct lp_emu *emu;
	const struct lp_program *program;
	const char *name;
	int fd;
	uint64_t bias;
	int guard; /* LP_PROT_BTI for executable segments */
	struct lp_err *err;
};

static uint64_t reserve(struct mapping *m, uint64_t at, uint64_t len, int flags)
{
	return lp_mem_map(m->emu, at, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
}

static int no_room(const struct mapping *m, uint64_t result)
{
	const struct lp_program *p = m->program;

	if (p->is_pie)
		return lp_fail_sys(m->err, (int)-result, "%s: no room for it (%llu bytes)", m->name,
				   (unsigned long long)(p->span.end - p->span.start));
	if (result == (uint64_t)-EPERM)
		return lp_fail(m->err, EPERM,
			       "%s: it must stand at " LP_ADDR ", lower than vm.mmap_min_addr lets anybody map memory",
			       m->name, p->span.start);
	return lp_fail(m->err, ENOMEM,
		       "%s: it must stand at " LP_ADDR "-" LP_ADDR
		       ", where the runner or the kernel has something; link "
		       "it as a position-independent program (-pie)",
		       m->name, p->span.start, p->span.end);
}

/* The first address from `at` on that is what the file's alignment wants. */
static uint64_t aligned(const struct lp_program *p, uint64_t at)
{
	uint64_t rest = p->span.start & (p->align - 1);

	return lp_align_up(at - rest, p->align) + rest;
}

/* Anywhere, aligned: more than is needed, and the rest given back. */
static uint64_t reserve_anywhere(struct mapping *m, uint64_t len)
{
	uint64_t slack = m->program->align - PAGE, at = reserve(m, 0, len + slack, 0), start;

	if (lp_mem_failed(at))
		return at;
	start = aligned(m->program, at);
	if (start > at)
		lp_mem_unmap(m->emu, at, start - at);
	if (at + slack > start)
		lp_mem_unmap(m->emu, start + len, at + slack - start);
	return start;
}

static uint64_t reserve_pie(struct mapping *m, uint64_t len)
{
	for (unsigned i = 0; i < PIE_TRIES; i++) {
		uint64_t at =
			reserve(m, aligned(m->program, PIE_BASE + random_pages(PIE_RANDOM)), len, MAP_FIXED_NOREPLACE);
		if (!lp_mem_failed(at))
			return at;
	}
	return reserve_anywhere(m, len);
}

/* Address space for all segments; sets the bias. */
static int reserve_span(struct mapping *m, bool is_interpreter)
{
	const struct lp_program *p = m->program;
	uint64_t len = p->span.end - p->span.start, at;

	if (p->align > STACK_MAX)
		return lp_fail(m->err, LP_EELF, "%s: its segments want to be aligned to %llu bytes", m->name,
			       (unsigned long long)p->align);
	if (!p->is_pie)
		at = reserve(m, p->span.start, len, MAP_FIXED_NOREPLACE);
	else
		at = is_interpreter ? reserve_anywhere(m, len) : reserve_pie(m, len);
	if (lp_mem_failed(at))
		return no_room(m, at);
	m->bias = at - p->span.start;
	return 0;
}

static int map_file_part(struct mapping *m, const struct lp_segment *s, int prot)
{
	uint64_t before = s->vaddr % PAGE;
	uint64_t at = lp_mem_map(m->emu, m->bias + s->vaddr - before, s->filesz + before, prot, MAP_PRIVATE | MAP_FIXED,
				 m->fd, s->offset - before);

	return lp_mem_failed(at) ? lp_fail_sys(m->err, (int)-at, "%s: cannot map it", m->name) : 0;
}

/* Memory behind what is in the file: zeros, in the rest of its last page too. */
static int map_zeros(struct mapping *m, const struct lp_segment *s, int prot)
{
	static const uint8_t zeros[LP_GUEST_PAGE];
	uint64_t from = m->bias + s->vaddr + s->filesz, to = m->bias + s->vaddr + s->memsz;
	uint64_t page = s->filesz ? lp_align_up(from, PAGE) : lp_align_down(from, PAGE), at;

	if (from < page && prot & PROT_WRITE && lp_mem_write(from, zeros, page - from))
		return lp_fail(m->err, EFAULT, "%s: it changed while it was mapped", m->name);
	if (page >= to)
		return 0;
	at = lp_mem_map(m->emu, page, to - page, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	return lp_mem_failed(at) ? lp_fail_sys(m->err, (int)-at, "%s: no memory for its data", m->name) : 0;
}

static int map_segment(struct mapping *m, const struct lp_segment *s)
{
	int prot = s->prot | (s->prot & PROT_EXEC ? m->guard : 0), rc = 0;

	if (s->filesz)
		rc = map_file_part(m, s, prot);
	if (rc == 0 && s->memsz > s->filesz)
		rc = map_zeros(m, s, prot);
	return rc;
}

/* Behind `at`, where the next segment begins or the span ends; at itself when it is in one. */
static uint64_t next_segment(const struct lp_program *p, uint64_t at, uint64_t *end)
{
	uint64_t next = p->span.end;

	*end = at;
	for (size_t i = 0; i < p->segments.nr; i++) {
		const struct lp_segment *s = &p->segments.items[i];
		struct lp_range r = {lp_align_down(s->vaddr, PAGE), lp_align_up(s->vaddr + s->memsz, PAGE)};
		if (lp_range_has(r, at) && r.end > *end)
			*end = r.end;
		if (r.start > at && r.start < next)
			next = r.start;
	}
	return next;
}

/* What was reserved and belongs to no segment. */
static void unmap_holes(struct mapping *m)
{
	uint64_t at = m->program->span.start, end;

	while (at < m->program->span.end) {
		uint64_t next = next_segment(m->program, at, &end);
		if (end == at)
			lp_mem_unmap(m->emu, m->bias + at, next - at);
		at = end == at ? next : end;
	}
}

static struct lp_range code_of(const struct mapping *m)
{
	struct lp_range code = {UINT64_MAX, 0};

	for (size_t i = 0; i < m->program->segments.nr; i++) {
		const struct lp_segment *s = &m->program->segments.items[i];
		if (!(s->prot & PROT_EXEC))
			continue;
		if (m->bias + s->vaddr < code.start)
			code.start = m->bias + s->vaddr;
		if (m->bias + s->vaddr + s->memsz > code.end)
			code.end = m->bias + s->vaddr + s->memsz;
	}
	return code.end ? code : (struct lp_range){0, 0};
}

static int map_file(struct mapping *m, bool is_interpreter, struct lp_loaded_file *out)
{
	const struct lp_program *p = m->program;
	int rc = reserve_span(m, is_interpreter);

	for (size_t i = 0; rc == 0 && i < p->segments.nr; i++)
		rc = map_segment(m, &p->segments.items[i]);
	if (rc)
		return rc;
	unmap_holes(m);
	out->bias = m->bias;
	out->span = (struct lp_range){m->bias + p->span.start, m->bias + p->span.end};
	out->entry = m->bias + p->entry;
	out->code = code_of(m);
	out->path = guest_path(m->emu, m->fd, m->name);
	return 0;
}

/* ---- the interpreter ---- */

static int interpreter_missing(const struct lp_emu *emu, const char *program, const char *interpreter, int errnum,
			       struct lp_err *err)
{
	if (emu->options.sysroot)
		return lp_fail(err, errnum,
			       "%s: its interpreter %s is neither in %s nor on this machine: %s; give the folder that "
			       "holds it with -L",
			       program, interpreter, emu->options.sysroot, strerror(errnum));
	return lp_fail(err, errnum,
		       "%s: its interpreter %s is not on this machine: %s; give the folder that holds it with -L",
		       program, interpreter, strerror(errnum));
}

static int load_interpreter(struct lp_emu *emu, const char *program, const char *path, struct lp_loaded *l,
			    struct lp_err *err)
{
	struct lp_program p;
	struct mapping m = {.emu = emu, .program = &p, .name = path, .err = err};
	int rc;

	m.fd = open_for_guest(emu, path);
	if (m.fd < 0)
		return interpreter_missing(emu, program, path, errno, err);
	rc = lp_program_read(&p, m.fd, path, err);
	if (rc == 0) {
		m.guard = p.has_bti ? LP_PROT_BTI : 0;
		rc = map_file(&m, true, &l->interpreter);
		lp_program_free(&p);
	}
	close(m.fd);
	return rc ? lp_err_context(err, rc, "%s: its interpreter", program) : 0;
}

/* ---- stack ---- */

static uint64_t stack_size(const struct lp_emu *emu)
{
	uint64_t size = emu->options.stack_size;
	struct rlimit limit;

	if (!size)
		size = getrlimit(RLIMIT_STACK, &limit) ? STACK_MIN : limit.rlim_cur;
	if (size > STACK_MAX)
		size = STACK_MAX;
	return size < STACK_MIN ? STACK_MIN : lp_align_up(size, PAGE);
}

static int map_stack(struct lp_emu *emu, bool is_exec, struct lp_loaded *l, struct lp_err *err)
{
	uint64_t size = stack_size(emu);
	int prot = PROT_READ | PROT_WRITE | (is_exec ? PROT_EXEC : 0);
	uint64_t at = lp_mem_map(emu, 0, size + STACK_GUARD, prot,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	if (lp_mem_failed(at))
		return lp_fail(err, (int)-at,
			       "no room for a stack of %llu KB (ulimit -s): %s; have it smaller, or the limits of "
			       "memory (ulimit -d, ulimit -v) larger",
			       (unsigned long long)size / 1024, strerror((int)-at));
	lp_mem_protect(emu, at, STACK_GUARD, PROT_NONE);
	lp_mem_disown(emu, (struct lp_range){at, at + STACK_GUARD});
	l->stack = (struct lp_range){at + STACK_GUARD, at + STACK_GUARD + size};
	/* A page that is touched shall be one page, not two megabytes. */
	madvise((void *)l->stack.start, size, MADV_NOHUGEPAGE);
	lp_mem_name(emu, l->stack, "[stack]");
	return 0;
}

static int build_stack(const struct lp_emu *emu, const struct lp_program *p, char *const *argv, char *const *envp,
		       const char *execfn, struct lp_loaded *l, struct lp_err *err)
{
	/* In the order of create_elf_tables(). */
	const uint64_t auxv[][2] = {
		{AT_SYSINFO_EHDR, l->vdso},
		{AT_MINSIGSTKSZ, SIGNAL_STACK_MIN},
		{AT_HWCAP, lp_hwcap()},
		{AT_PAGESZ, PAGE},
		{AT_CLKTCK, CLOCK_TICKS},
		{AT_PHDR, p->phdr_vaddr ? l->program.bias + p->phdr_vaddr : 0},
		{AT_PHENT, sizeof(Elf64_Phdr)},
		{AT_PHNUM, p->phnum},
		{AT_BASE, p->interpreter ? l->interpreter.bias : 0},
		{AT_FLAGS, 0},
		{AT_ENTRY, l->program.entry},
		{AT_UID, getuid()},
		{AT_EUID, geteuid()},
		{AT_GID, getgid()},
		{AT_EGID, getegid()},
		{AT_SECURE, 0},
		{AT_RANDOM, 0},
		{AT_HWCAP2, lp_hwcap2()},
		{AT_EXECFN, 0},
		{AT_PLATFORM, 0},
		{AT_NULL, 0},
	};
	_Static_assert(LP_ARRAY_SIZE(auxv) <= LP_AUXV_MAX, "auxv has room");
	const struct lp_stack_plan plan = {
		.stack = l->stack,
		.argv = argv,
		.envp = envp,
		.execfn = execfn,
		.auxv = auxv,
		.nr_auxv = LP_ARRAY_SIZE(auxv),
	};

	return lp_stack_build(&plan, l, err);
}

/* ---- all of it ---- */

static void start_at(struct lp_emu *emu, const struct lp_loaded *l)
{
	struct lp_cpu *cpu = &emu->main->cpu;

	cpu->pc = l->interpreter.path ? l->interpreter.entry : l->program.entry;
	cpu->x[LP_SP] = l->sp;
}

static int load_program(struct lp_emu *emu, int fd, const char *name, const struct lp_program *p, struct lp_loaded *l,
			struct lp_err *err)
{
	struct mapping m = {.emu = emu, .program = p, .name = name, .fd = fd, .err = err};
	int rc;

	/* Of a program with an interpreter, that one guards its pages. */
	m.guard = p->has_bti && !p->interpreter ? LP_PROT_BTI : 0;
	rc = map_file(&m, false, &l->program);
	if (rc == 0)
		l->heap = lp_align_up(m.bias + p->end, PAGE) + random_pages(BRK_RANDOM);
	lp_mem_set_brk(emu, l->heap);
	if (rc == 0 && p->interpreter)
		rc = load_interpreter(emu, name, p->interpreter, l, err);
	return rc;
}

/* Highest first, as the kernel goes down from the top: stack, vDSO, libraries. */
static int load(struct lp_emu *emu, int fd, const char *name, const struct lp_program *p, char *const *argv,
		char *const *envp, struct lp_err *err)
{
	struct lp_loaded *l = emu->loaded = lp_alloc(sizeof *l);
	int rc = map_stack(emu, p->has_exec_stack, l, err);

	if (rc == 0) {
		rc = lp_vdso_map(emu, &l->vdso, &emu->sigreturn);
		rc = rc ? lp_fail_sys(err, -rc, "cannot map the vDSO") : 0;
	}
	if (rc == 0)
		rc = load_program(emu, fd, name, p, l, err);
	if (rc == 0)
		rc = build_stack(emu, p, argv, envp, name, l, err);
	if (rc == 0)
		start_at(emu, l);
	return rc;
}

/* The command line of the program itself: of a script, its interpreter's. */
static void make_argv(const struct lp_exec_file *f, char *const *argv, argv_vec *out)
{
	for (size_t i = 0; i < f->before.nr; i++)
		lp_vec_push(out, f->before.items[i]);
	if (f->before.nr == 0)
		lp_vec_push(out, *argv ? *argv : (char *)"");
	for (size_t i = 1; argv[0] && argv[i]; i++)
		lp_vec_push(out, argv[i]);
	lp_vec_push(out, NULL);
}

/* Says of a refusal of a script's interpreter whose it is, and where another one could come from. */
static int script_refused(const struct lp_emu *emu, const char *script, int rc, struct lp_err *err)
{
	lp_err_context(err, rc, "%s: its interpreter", script);
	if (!emu->options.sysroot)
		lp_err_append(err, "; give the folder that holds an AArch64 one with -L");
	return rc;
}

static int load_file(struct lp_emu *emu, const struct lp_exec_file *f, const char *name, char *const *argv,
		     char *const *envp, struct lp_err *err)
{
	argv_vec words = {0};
	struct lp_program p;
	int rc = lp_program_read(&p, f->fd, f->before.nr ? f->before.items[0] : name, err);

	if (rc)
		return f->before.nr ? script_refused(emu, name, rc, err) : rc;
	make_argv(f, argv, &words);
	rc = load(emu, f->fd, name, &p, words.items, envp, err);
	lp_vec_free(&words);
	lp_program_free(&p);
	return rc;
}

/* What other processes see as its name. */
static void set_comm(const char *name)
{
	const char *slash = strrchr(name, '/');

	prctl(PR_SET_NAME, slash ? slash + 1 : name);
}

static int refuse_file(const struct lp_emu *emu, const struct lp_exec_file *f, const char *program, const char *host,
		       int errnum, struct lp_err *err)
{
	struct stat st;

	if (f->before.nr && errnum == ENOENT)
		return interpreter_missing(emu, program, f->before.items[0], errnum, err);
	if (f->before.nr)
		return lp_fail_sys(err, errnum, "%s: its interpreter %s", program, f->before.items[0]);
	if (errnum == EACCES && stat(host, &st) == 0 && S_ISDIR(st.st_mode))
		return lp_fail(err, EACCES, "%s: a directory, not a program", program);
	if (errnum == EACCES && access(host, R_OK) == 0)
		return lp_fail(err, EACCES, "%s: neither a program nor a script", program);
	return lp_fail_sys(err, errnum, "cannot execute %s", *program ? program : "a program without a name");
}

int lp_loader_load(struct lp_emu *emu, const char *program, char *const *argv, char *const *envp, struct lp_err *err)
{
	int given = emu->options.program_fd, rc;
	struct lp_exec_file f = {.fd = -1};
	char host[PATH_MAX];

	lp_path_host(emu, program, 0, host);
	if (given)
		rc = lp_exec_follow(emu, given, "", program, false, &f);
	else
		rc = *host ? lp_exec_follow(emu, AT_FDCWD, host, program, false, &f) : -ENOENT;
	if (rc)
		rc = refuse_file(emu, &f, program, host, -rc, err);
	if (rc == 0)
		rc = load_file(emu, &f, program, argv, envp, err);
	if (rc == 0) {
		set_comm(program);
		lp_guest_proc_show(emu->loaded);
	}
	lp_exec_file_close(&f);
	if (given)
		close(given);
	return rc;
}

void lp_loader_free(struct lp_loaded *l)
{
	if (!l)
		return;
	lp_free(l->program.path);
	lp_free(l->interpreter.path);
	lp_free(l);
}
