/*
 * The core file of a guest, as arm64 Linux writes it (fs/binfmt_elf.c,
 * struct elf_prstatus and elf_prpsinfo of linux/elfcore.h): notes about the
 * process and about each thread, the one that ended it first, then memory.
 */
#include <elf.h>
#include <stdio.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <sys/resource.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "base/vec.h"
#include "emu/crash.h"
#include "emu/emu.h"
#include "emu/fp.h"
#include "emu/frame.h"
#include "emu/loader.h"

enum { STOP_MS = 1000, CHUNK = 1 << 16, NAME_LIMIT = 4096 };

struct prstatus {
	int32_t signo, code, error;
	int16_t cursig;
	uint64_t pending, held;
	int32_t pid, ppid, pgrp, sid;
	uint64_t times[8];
	uint64_t x[31], sp, pc, pstate;
	int32_t has_fp;
};

struct fpregset {
	union lp_vreg v[32];
	uint32_t fpsr, fpcr, reserved[2];
};

struct prpsinfo {
	char state, sname, zombie, nice;
	uint64_t flag;
	uint32_t uid, gid;
	int32_t pid, ppid, pgrp, sid;
	char fname[16], args[80];
};

_Static_assert(sizeof(struct prstatus) == 392 && sizeof(struct fpregset) == 528 && sizeof(struct prpsinfo) == 136,
	       "what debuggers expect");

typedef LP_VEC(struct lp_guest_area) area_vec;

/* ---- notes ---- */

static void pad(struct lp_buf *out)
{
	lp_buf_fill(out, 0, lp_align_up(out->len, 4) - out->len);
}

static void add_note(struct lp_buf *out, const char *owner, uint32_t type, const void *data, size_t len)
{
	Elf64_Nhdr head = {(uint32_t)strlen(owner) + 1, (uint32_t)len, type};

	lp_buf_add(out, &head, sizeof head);
	lp_buf_add(out, owner, head.n_namesz);
	pad(out);
	lp_buf_add(out, data, len);
	pad(out);
}

static void add_status(struct lp_buf *out, const struct lp_guest_thread *t, int sig)
{
	struct prstatus s = {
		.signo = sig,
		.cursig = (int16_t)sig,
		.pending = atomic_load(&t->signals.pending),
		.held = t->signals.blocked,
		.pid = t->tid,
		.ppid = getppid(),
		.pgrp = getpgrp(),
		.sid = getsid(0),
		.sp = t->cpu.x[LP_SP],
		.pc = t->cpu.pc,
		.pstate = lp_pstate_read(&t->cpu),
		.has_fp = 1,
	};

	memcpy(s.x, t->cpu.x, sizeof s.x);
	add_note(out, "CORE", NT_PRSTATUS, &s, sizeof s);
}

static void add_vectors(struct lp_buf *out, const struct lp_guest_thread *t)
{
	struct fpregset f = {.fpcr = t->cpu.fpcr, .fpsr = t->cpu.fpsr};

	if (t == lp_guest_self())
		f.fpsr = lp_fpsr_read(&t->cpu);
	memcpy(f.v, t->cpu.vr, sizeof f.v);
	add_note(out, "CORE", NT_PRFPREG, &f, sizeof f);
	add_note(out, "LINUX", NT_ARM_TLS, &t->cpu.tpidr, sizeof t->cpu.tpidr);
}

static void add_process(struct lp_buf *out, const struct lp_guest_thread *t)
{
	const struct lp_loaded *loaded = t->cpu.emu->loaded;
	const char *path = loaded->program.path ? loaded->program.path : "", *slash = strrchr(path, '/');
	struct prpsinfo p = {
		.sname = 'R',
		.uid = getuid(),
		.gid = getgid(),
		.pid = getpid(),
		.ppid = getppid(),
		.pgrp = getpgrp(),
		.sid = getsid(0),
	};
	size_t len = loaded->args.end - loaded->args.start;

	memcpy(p.fname, slash ? slash + 1 : path, strnlen(slash ? slash + 1 : path, sizeof p.fname - 1));
	if (len >= sizeof p.args)
		len = sizeof p.args - 1;
	if (lp_mem_read(loaded->args.start, p.args, len))
		len = 0;
	for (size_t i = 0; i + 1 < len; i++)
		if (p.args[i] == 0)
			p.args[i] = ' ';
	add_note(out, "CORE", NT_PRPSINFO, &p, sizeof p);
	add_note(out, "CORE", NT_AUXV, loaded->auxv, loaded->nr_auxv * sizeof loaded->auxv[0]);
}

/* Which files are mapped where; offsets in pages. */
static void add_files(struct lp_buf *out, const area_vec *areas)
{
	struct lp_buf table = {0}, names = {0};
	uint64_t head[2] = {0, LP_GUEST_PAGE};

	lp_buf_add(&table, head, sizeof head);
	for (size_t i = 0; i < areas->nr; i++) {
		const struct lp_guest_area *a = &areas->items[i];
		uint64_t row[3] = {a->range.start, a->range.end, a->offset / LP_GUEST_PAGE};
		if (!a->name || *a->name != '/')
			continue;
		lp_buf_add(&table, row, sizeof row);
		lp_buf_add(&names, a->name, strlen(a->name) + 1);
		head[0]++;
	}
	memcpy(table.data, head, sizeof head);
	lp_buf_add(&table, names.data, names.len);
	add_note(out, "CORE", NT_FILE, table.data, table.len);
	lp_buf_free(&table);
	lp_buf_free(&names);
}

static void add_notes(struct lp_buf *out, struct lp_guest_thread *t, const siginfo_t *info, const area_vec *areas)
{
	add_status(out, t, info->si_signo);
	add_process(out, t);
	add_note(out, "CORE", NT_SIGINFO, info, sizeof *info);
	add_files(out, areas);
	add_vectors(out, t);
	for (struct lp_guest_thread *other = lp_guest_threads(t->cpu.emu); other; other = other->next) {
		if (other == t)
			continue;
		add_status(out, other, 0);
		add_vectors(out, other);
	}
}

/* ---- memory ---- */

static void list_areas(struct lp_emu *emu, area_vec *areas)
{
	struct lp_guest_area area;

	for (uint64_t at = 0; areas->nr < PN_XNUM - 1 && lp_mem_next(emu, at, &area); at = area.range.end)
		lp_vec_push(areas, area);
}

static uint64_t bytes_of(const struct lp_guest_area *a)
{
	return a->prot & 1 /* PROT_READ */ ? a->range.end - a->range.start : 0;
}

static void add_headers(struct lp_buf *out, const area_vec *areas, size_t notes)
{
	size_t nr = areas->nr + 1;
	uint64_t at = sizeof(Elf64_Ehdr) + nr * sizeof(Elf64_Phdr);
	Elf64_Ehdr head = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_CORE,
		.e_machine = EM_AARCH64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof head,
		.e_ehsize = sizeof head,
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = (Elf64_Half)nr,
	};
	Elf64_Phdr note = {.p_type = PT_NOTE, .p_offset = at, .p_filesz = notes, .p_align = 4};

	lp_buf_add(out, &head, sizeof head);
	lp_buf_add(out, &note, sizeof note);
	at = lp_align_up(at + notes, LP_GUEST_PAGE);
	for (size_t i = 0; i < areas->nr; i++) {
		const struct lp_guest_area *a = &areas->items[i];
		Elf64_Phdr load = {
			.p_type = PT_LOAD,
			.p_flags = (Elf64_Word)((a->prot & 1 ? PF_R : 0) | (a->prot & 2 ? PF_W : 0) |
						(a->prot & 4 ? PF_X : 0)),
			.p_offset = at,
			.p_vaddr = a->range.start,
			.p_filesz = bytes_of(a),
			.p_memsz = a->range.end - a->range.start,
			.p_align = LP_GUEST_PAGE,
		};
		lp_buf_add(out, &load, sizeof load);
		at += load.p_filesz;
	}
}

static bool is_zero(const uint8_t *data, size_t len)
{
	return len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0);
}

/* What cannot be read (behind the end of a file) and what is zero stays a hole. */
static void copy_area(int fd, int mem, const struct lp_guest_area *a, uint64_t at)
{
	static uint8_t chunk[CHUNK];
	uint64_t len = bytes_of(a);

	for (uint64_t done = 0; done < len; done += CHUNK) {
		size_t n = len - done < CHUNK ? len - done : CHUNK;
		ssize_t got = pread(mem, chunk, n, (off_t)(a->range.start + done));
		if (got > 0 && !is_zero(chunk, (size_t)got))
			lp_pwrite_full(fd, chunk, (size_t)got, (off_t)(at + done));
	}
}

static void write_core(int fd, const area_vec *areas, const struct lp_buf *notes)
{
	struct lp_buf head = {0};
	uint64_t at;
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);

	add_headers(&head, areas, notes->len);
	lp_pwrite_full(fd, head.data, head.len, 0);
	lp_pwrite_full(fd, notes->data, notes->len, (off_t)head.len);
	at = lp_align_up(head.len + notes->len, LP_GUEST_PAGE);
	for (size_t i = 0; i < areas->nr; i++) {
		copy_area(fd, mem, &areas->items[i], at);
		at += bytes_of(&areas->items[i]);
	}
	if (ftruncate(fd, (off_t)at))
		lp_close(fd); /* the last bytes are missing where they are zero: nothing to be done */
	lp_close(mem);
	lp_buf_free(&head);
}

void lp_crash_core(struct lp_guest_thread *t, const siginfo_t *info)
{
	struct lp_emu *emu = t->cpu.emu;
	static const struct rlimit none = {0, 0};
	struct lp_buf notes = {0};
	area_vec areas = {0};
	char name[32];
	int fd;

	if (!emu->options.core)
		return;
	/* Ours is the one that is asked for; the host's would be of the emulator. */
	setrlimit(RLIMIT_CORE, &none);
	/* Whoever does not stand still by then is written down as he was last seen. */
	lp_threads_stop(emu, STOP_MS);
	snprintf(name, sizeof name, "core.%d", (int)getpid());
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	list_areas(emu, &areas);
	add_notes(&notes, t, info, &areas);
	write_core(fd, &areas, &notes);
	lp_close(fd);
	lp_vec_free(&areas);
	lp_buf_free(&notes);
}
