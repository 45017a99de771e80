#include "emu/program.h"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/bits.h"
#include "base/fdio.h"
#include "emu/mem.h"

#define TOP (UINT64_C(1) << 47)

enum {
	PHDRS_MAX = 65536, /* bytes, as Linux has it */
	NOTE_MAX = 4096,
	FEATURE_1_AND = 0xc0000000, /* GNU_PROPERTY_AARCH64_FEATURE_1_AND */
};

/* One file being read. */
struct reading {
	int fd;
	const char *name;
	uint64_t size;
	struct lp_err *err;
};

#define refuse(r, ...) lp_fail((r)->err, LP_EELF, __VA_ARGS__)

/* ---- whose program it is ---- */

static const char *machine_name(unsigned machine, unsigned bits)
{
#define MACHINE(em, b, name)                \
	if (machine == (em) && bits == (b)) \
		return name;
#include "emu/machine.def"
#undef MACHINE
	return NULL;
}

enum lp_program_kind lp_program_kind(const void *head, size_t len)
{
	const uint8_t *h = head;

	if (len >= 2 && h[0] == '#' && h[1] == '!')
		return LP_PROGRAM_SCRIPT;
	if (len < offsetof(Elf64_Ehdr, e_version) || memcmp(h, ELFMAG, SELFMAG) != 0)
		return LP_PROGRAM_OTHER;
	return h[EI_CLASS] == ELFCLASS64 && h[EI_DATA] == ELFDATA2LSB &&
			       lp_get16(h + offsetof(Elf64_Ehdr, e_machine)) == EM_AARCH64
		       ? LP_PROGRAM_GUEST
		       : LP_PROGRAM_HOST;
}

static int refuse_machine(const struct reading *r, const Elf64_Ehdr *e)
{
	const char *name = machine_name(e->e_machine, e->e_ident[EI_CLASS] == ELFCLASS32 ? 32 : 64);

	if (e->e_ident[EI_DATA] == ELFDATA2MSB)
		return refuse(r, "%s: a big-endian program; only little-endian AArch64 programs can be run", r->name);
	if (name)
		return refuse(r, "%s: %s; only 64-bit AArch64 programs can be run", r->name, name);
	return refuse(r, "%s: a program for machine %u; only 64-bit AArch64 programs can be run", r->name,
		      e->e_machine);
}

static int check_header(const struct reading *r, const Elf64_Ehdr *e)
{
	enum lp_program_kind kind = lp_program_kind(e, r->size < sizeof *e ? r->size : sizeof *e);

	if (kind == LP_PROGRAM_HOST)
		return refuse_machine(r, e);
	if (kind != LP_PROGRAM_GUEST)
		return refuse(r, "%s: not a program (no ELF file)", r->name);
	if (e->e_type == ET_REL)
		return refuse(r, "%s: an object file; link it first", r->name);
	if (e->e_type == ET_CORE)
		return refuse(r, "%s: a core file, not a program", r->name);
	if (e->e_type != ET_EXEC && e->e_type != ET_DYN)
		return refuse(r, "%s: not a program (ELF type %u)", r->name, e->e_type);
	if (e->e_phentsize != sizeof(Elf64_Phdr) || e->e_phnum == 0 || e->e_phnum > PHDRS_MAX / sizeof(Elf64_Phdr))
		return refuse(r, "%s: its program headers are damaged (%u of %u bytes)", r->name, e->e_phnum,
			      e->e_phentsize);
	return 0;
}

/* ---- segments ---- */

static int prot_of(uint32_t flags)
{
	return (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) | (flags & PF_X ? PROT_EXEC : 0);
}

static int check_segment(const struct reading *r, const Elf64_Phdr *p, size_t i)
{
	if (p->p_filesz > p->p_memsz)
		return refuse(r, "%s: segment %zu has more bytes in the file than in memory", r->name, i);
	if (p->p_vaddr >= TOP || p->p_memsz > TOP - lp_align_up(p->p_vaddr, LP_GUEST_PAGE))
		return refuse(r, "%s: segment %zu (address 0x%llx, %llu bytes) does not fit below 2^47", r->name, i,
			      (unsigned long long)p->p_vaddr, (unsigned long long)p->p_memsz);
	if (p->p_filesz && (p->p_offset > r->size || p->p_filesz > r->size - p->p_offset))
		return refuse(r, "%s: segment %zu reaches beyond the end of the file; it is cut short", r->name, i);
	if (p->p_filesz && (p->p_vaddr - p->p_offset) % LP_GUEST_PAGE)
		return refuse(r, "%s: segment %zu cannot be mapped: address 0x%llx, file offset 0x%llx", r->name, i,
			      (unsigned long long)p->p_vaddr, (unsigned long long)p->p_offset);
	return 0;
}

static void add_segment(struct lp_program *out, const Elf64_Phdr *p)
{
	uint64_t start = lp_align_down(p->p_vaddr, LP_GUEST_PAGE), end = p->p_vaddr + p->p_memsz;
	bool is_power = p->p_align && !(p->p_align & (p->p_align - 1));
	bool first = out->segments.nr == 0;
	struct lp_segment s = {.vaddr = p->p_vaddr,
			       .memsz = p->p_memsz,
			       .offset = p->p_offset,
			       .filesz = p->p_filesz,
			       .prot = prot_of(p->p_flags)};

	lp_vec_push(&out->segments, s);
	if (first || start < out->span.start)
		out->span.start = start;
	if (end > out->end)
		out->end = end;
	out->span.end = lp_align_up(out->end, LP_GUEST_PAGE);
	if (is_power && p->p_align > out->align)
		out->align = p->p_align;
}

static int read_segments(const struct reading *r, struct lp_program *out, const Elf64_Ehdr *e, const Elf64_Phdr *phdrs)
{
	for (size_t i = 0; i < e->e_phnum; i++) {
		const Elf64_Phdr *p = &phdrs[i];
		int rc = p->p_type == PT_LOAD ? check_segment(r, p, i) : 0;
		if (rc)
			return rc;
		if (p->p_type != PT_LOAD || p->p_memsz == 0)
			continue;
		add_segment(out, p);
		if (e->e_phoff >= p->p_offset && e->e_phoff - p->p_offset < p->p_filesz)
			out->phdr_vaddr = p->p_vaddr + (e->e_phoff - p->p_offset);
	}
	return out->segments.nr ? 0 : refuse(r, "%s: nothing in it is to be loaded", r->name);
}

/* ---- the other headers ---- */

static int read_interpreter(const struct reading *r, struct lp_program *out, const Elf64_Phdr *p)
{
	char name[PATH_MAX];

	if (out->interpreter) /* the first counts */
		return 0;
	if (p->p_filesz < 2 || p->p_filesz > sizeof name)
		return refuse(r, "%s: the name of its interpreter is %llu bytes long", r->name,
			      (unsigned long long)p->p_filesz);
	if (p->p_offset > r->size || p->p_filesz > r->size - p->p_offset ||
	    lp_pread_full(r->fd, name, p->p_filesz, (off_t)p->p_offset) < 0 || name[p->p_filesz - 1])
		return refuse(r, "%s: the name of its interpreter is damaged", r->name);
	out->interpreter = lp_strdup(name);
	return 0;
}

/* Properties are pairs of type and size, padded to 8; what is damaged is not there. */
static bool properties_have_bti(const uint8_t *at, size_t len)
{
	while (len >= 8) {
		uint32_t type = lp_get32(at), size = lp_get32(at + 4);
		uint64_t step = 8 + lp_align_up(size, 8);
		if (type == FEATURE_1_AND && size == 4 && len >= 12)
			return lp_get32(at + 8) & 1;
		if (step > len)
			break;
		at += step;
		len -= step;
	}
	return false;
}

static void read_properties(const struct reading *r, struct lp_program *out, const Elf64_Phdr *p)
{
	uint8_t note[NOTE_MAX];
	Elf64_Nhdr head;
	size_t at = sizeof head + 4;

	if (p->p_filesz < at || p->p_filesz > sizeof note || p->p_offset > r->size ||
	    p->p_filesz > r->size - p->p_offset || lp_pread_full(r->fd, note, p->p_filesz, (off_t)p->p_offset) < 0)
		return;
	memcpy(&head, note, sizeof head);
	if (head.n_namesz != 4 || head.n_type != NT_GNU_PROPERTY_TYPE_0 || memcmp(note + sizeof head, "GNU", 4) != 0 ||
	    head.n_descsz > p->p_filesz - at)
		return;
	out->has_bti = properties_have_bti(note + at, head.n_descsz);
}

static int read_other(const struct reading *r, struct lp_program *out, const Elf64_Phdr *p)
{
	switch (p->p_type) {
	case PT_INTERP:
		return read_interpreter(r, out, p);
	case PT_GNU_STACK:
		out->has_exec_stack = p->p_flags & PF_X;
		return 0;
	case PT_GNU_PROPERTY:
		read_properties(r, out, p);
		return 0;
	default:
		return 0;
	}
}

static int read_phdrs(const struct reading *r, struct lp_program *out, const Elf64_Ehdr *e)
{
	size_t len = e->e_phnum * sizeof(Elf64_Phdr);
	Elf64_Phdr *phdrs;
	int rc;

	if (e->e_phoff > r->size || len > r->size - e->e_phoff)
		return refuse(r, "%s: its program headers lie beyond the end of the file; it is cut short", r->name);
	phdrs = lp_alloc(len);
	rc = lp_pread_full(r->fd, phdrs, len, (off_t)e->e_phoff);
	if (rc < 0)
		rc = lp_fail_sys(r->err, -rc, "cannot read %s", r->name);
	else
		rc = read_segments(r, out, e, phdrs);
	for (size_t i = 0; rc == 0 && i < e->e_phnum; i++)
		rc = read_other(r, out, &phdrs[i]);
	lp_free(phdrs);
	return rc;
}

int lp_program_read(struct lp_program *out, int fd, const char *name, struct lp_err *err)
{
	struct reading r = {.fd = fd, .name = name, .err = err};
	Elf64_Ehdr e = {0};
	struct stat st;
	int rc;

	*out = (struct lp_program){.align = LP_GUEST_PAGE};
	if (fstat(fd, &st))
		return lp_fail_sys(err, errno, "cannot read %s", name);
	if (S_ISDIR(st.st_mode))
		return lp_fail(err, EISDIR, "%s: a directory, not a program", name);
	r.size = (uint64_t)st.st_size;
	rc = lp_pread_full(fd, &e, r.size < sizeof e ? r.size : sizeof e, 0);
	if (rc < 0)
		return lp_fail_sys(err, -rc, "cannot read %s", name);
	rc = check_header(&r, &e);
	if (rc == 0)
		rc = read_phdrs(&r, out, &e);
	if (rc)
		lp_program_free(out);
	out->is_pie = e.e_type == ET_DYN;
	out->entry = e.e_entry;
	out->phnum = e.e_phnum;
	return rc;
}

void lp_program_free(struct lp_program *p)
{
	lp_vec_free(&p->segments);
	lp_free(p->interpreter);
	p->interpreter = NULL;
}
