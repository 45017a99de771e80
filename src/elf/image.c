/*
 * An ELF image: its bytes, its headers, and the two ways to reach a byte (by
 * file offset and by link-time address).
 *
 * The file is read, not mapped: somebody may truncate a file that we look at
 * (package managers replace files, but `cp` over a library truncates it), and
 * a mapping would answer with SIGBUS.
 */
#include "elf/elf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fdio.h"
#include "elf/elf_private.h"

/* The kernel loads no program with more than 64 KiB of program headers (fs/binfmt_elf.c, load_elf_phdrs). */
#define PHDRS_MAX (65536 / sizeof(Elf64_Phdr))

/* ---- bytes ---- */

const uint8_t *lp_elf_bytes_at(const struct lp_elf *e, uint64_t offset, size_t len)
{
	if (offset > e->len || len > e->len - offset)
		return NULL;
	return e->bytes + offset;
}

const uint8_t *lp_elf_vaddr_rest(const struct lp_elf *e, uint64_t vaddr, size_t *rest)
{
	if (e->debug_only)
		return NULL;
	for (size_t i = 0; i < e->phdrs.nr; i++) {
		const Elf64_Phdr *p = &e->phdrs.items[i];
		uint64_t into = vaddr - p->p_vaddr;
		uint64_t offset;
		if (p->p_type != PT_LOAD || vaddr < p->p_vaddr || into >= p->p_filesz)
			continue;
		if (__builtin_add_overflow(p->p_offset, into, &offset) || offset >= e->len)
			return NULL;
		uint64_t in_segment = p->p_filesz - into, in_file = e->len - offset;
		*rest = in_segment < in_file ? in_segment : in_file;
		return e->bytes + offset;
	}
	return NULL;
}

const uint8_t *lp_elf_bytes_at_vaddr(const struct lp_elf *e, uint64_t vaddr, size_t len)
{
	size_t rest;
	const uint8_t *bytes = lp_elf_vaddr_rest(e, vaddr, &rest);
	return bytes && len <= rest ? bytes : NULL;
}

bool lp_elf_vaddr_loaded(const struct lp_elf *e, uint64_t vaddr)
{
	for (size_t i = 0; i < e->phdrs.nr; i++) {
		const Elf64_Phdr *p = &e->phdrs.items[i];
		if (p->p_type == PT_LOAD && vaddr >= p->p_vaddr && vaddr - p->p_vaddr < p->p_memsz)
			return true;
	}
	return false;
}

struct lp_strtab lp_strtab_make(const uint8_t *bytes, size_t len)
{
	while (len && bytes[len - 1])
		len--;
	return (struct lp_strtab){(const char *)bytes, len};
}

const char *lp_strtab_get(const struct lp_strtab *t, uint64_t offset)
{
	return offset < t->len ? t->bytes + offset : NULL;
}

/* ---- headers ---- */

static int check_header(const Elf64_Ehdr *h, const char *name, struct lp_err *err)
{
	if (memcmp(h->e_ident, ELFMAG, SELFMAG))
		return lp_fail(err, LP_EELF, "%s: not an ELF file", name);
	if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB)
		return lp_fail(err, LP_EELF, "%s: not a 64-bit little-endian ELF file", name);
	if (h->e_ident[EI_VERSION] != EV_CURRENT || h->e_version != EV_CURRENT)
		return lp_fail(err, LP_EELF, "%s: unknown ELF version", name);
	return 0;
}

/* With PN_XNUM the count stands in the first section header (gABI, "ELF Header", e_phnum). */
static uint64_t program_header_count(const struct lp_elf *e)
{
	const uint8_t *first;
	if (e->header.e_phnum != PN_XNUM)
		return e->header.e_phnum;
	first = lp_elf_bytes_at(e, e->header.e_shoff, sizeof(Elf64_Shdr));
	if (!first || !e->header.e_shoff)
		return PN_XNUM;
	Elf64_Shdr s;
	memcpy(&s, first, sizeof s);
	return s.sh_info;
}

static int read_program_headers(struct lp_elf *e, struct lp_err *err)
{
	uint64_t count = program_header_count(e);
	if (!count)
		return 0;
	if (e->header.e_phentsize != sizeof(Elf64_Phdr))
		return lp_fail(err, LP_EELF, "%s: program headers of %u bytes", e->name, e->header.e_phentsize);
	if (count > PHDRS_MAX)
		return lp_fail(err, LP_EELF, "%s: %" PRIu64 " program headers are more than any kernel loads", e->name,
			       count);
	const uint8_t *table = lp_elf_bytes_at(e, e->header.e_phoff, count * sizeof(Elf64_Phdr));
	if (!table)
		return lp_fail(err, LP_EELF, "%s: program headers lie beyond the end of the file", e->name);
	e->phdrs.items = lp_memdup(table, count * sizeof(Elf64_Phdr));
	e->phdrs.nr = e->phdrs.cap = count;
	return 0;
}

static uint64_t lowest_load(const struct lp_elf *e)
{
	uint64_t lowest = UINT64_MAX;
	for (size_t i = 0; i < e->phdrs.nr; i++)
		if (e->phdrs.items[i].p_type == PT_LOAD && e->phdrs.items[i].p_vaddr < lowest)
			lowest = e->phdrs.items[i].p_vaddr;
	return lp_align_down(lowest, LP_PAGE);
}

/* In a memory image a segment's bytes stand at its address, wherever the file had them. */
static int place_by_address(struct lp_elf *e, struct lp_err *err)
{
	if (!lp_elf_phdr_find(e, PT_LOAD))
		return lp_fail(err, LP_EELF, "%s: a memory image without loaded segments", e->name);
	uint64_t origin = lowest_load(e);
	for (size_t i = 0; i < e->phdrs.nr; i++) {
		Elf64_Phdr *p = &e->phdrs.items[i];
		p->p_offset = p->p_vaddr - origin; /* below the origin: a huge offset that no access passes */
	}
	return 0;
}

int lp_elf_read_headers(struct lp_elf *e, struct lp_err *err)
{
	if (e->len < sizeof e->header)
		return lp_fail(err, LP_EELF, "%s: too short for an ELF header (%zu bytes)", e->name, e->len);
	memcpy(&e->header, e->bytes, sizeof e->header);
	int rc = check_header(&e->header, e->name, err);
	if (!rc)
		rc = read_program_headers(e, err);
	if (!rc && e->from_memory)
		rc = place_by_address(e, err);
	return rc;
}

const char *lp_elf_name(const struct lp_elf *e)
{
	return e->name;
}

const uint8_t *lp_elf_file(const struct lp_elf *e, size_t *len)
{
	*len = e->len;
	return e->from_memory ? NULL : e->bytes;
}

const Elf64_Ehdr *lp_elf_header(const struct lp_elf *e)
{
	return &e->header;
}

size_t lp_elf_phdr_count(const struct lp_elf *e)
{
	return e->phdrs.nr;
}

const Elf64_Phdr *lp_elf_phdr(const struct lp_elf *e, size_t i)
{
	return i < e->phdrs.nr ? &e->phdrs.items[i] : NULL;
}

const Elf64_Phdr *lp_elf_phdr_find(const struct lp_elf *e, uint32_t type)
{
	for (size_t i = 0; i < e->phdrs.nr; i++)
		if (e->phdrs.items[i].p_type == type)
			return &e->phdrs.items[i];
	return NULL;
}

/* ---- opening ---- */

/* Everything that is looked at more than once is found here; owns e from now on. */
static int finish_open(struct lp_elf **out, struct lp_elf *e, struct lp_err *err)
{
	int rc = lp_elf_read_headers(e, err);
	if (rc) {
		lp_elf_close(e);
		return rc;
	}
	lp_elf_read_sections(e);
	lp_elf_read_dynamic(e);
	lp_elf_read_relocs(e);
	rc = lp_elf_read_symbols(e, err);
	if (rc) {
		lp_elf_close(e);
		return rc;
	}
	lp_elf_read_versions(e);
	*out = e;
	return 0;
}

static struct lp_elf *new_elf(const char *name)
{
	struct lp_elf *e = lp_alloc(sizeof *e);
	e->name = lp_strdup(name ? name : "(memory)");
	return e;
}

int lp_elf_from_bytes(struct lp_elf **out, const void *bytes, size_t len, const char *name, struct lp_err *err)
{
	*out = NULL;
	struct lp_elf *e = new_elf(name);
	e->bytes = lp_memdup(bytes, len);
	e->len = len;
	return finish_open(out, e, err);
}

int lp_elf_from_memory(struct lp_elf **out, const void *bytes, size_t len, uint64_t bias, const char *name,
		       struct lp_err *err)
{
	*out = NULL;
	struct lp_elf *e = new_elf(name);
	e->bytes = lp_memdup(bytes, len);
	e->len = len;
	e->bias = bias;
	e->from_memory = true;
	return finish_open(out, e, err);
}

/* Look at the header first: a user may name a disk image, and its gigabytes are not worth reading. */
static int check_first_bytes(int fd, size_t len, const char *name, struct lp_err *err)
{
	Elf64_Ehdr h;
	if (len < sizeof h)
		return lp_fail(err, LP_EELF, "%s: too short for an ELF header (%zu bytes)", name, len);
	int rc = lp_pread_full(fd, &h, sizeof h, 0);
	if (rc)
		return lp_fail_sys(err, -rc, "cannot read %s", name);
	return check_header(&h, name, err);
}

int lp_elf_open_fd(struct lp_elf **out, int fd, const char *name, struct lp_err *err)
{
	struct stat st;
	*out = NULL;
	if (fstat(fd, &st) < 0)
		return lp_fail_sys(err, errno, "cannot stat %s", name);
	if (!S_ISREG(st.st_mode))
		return lp_fail(err, LP_EFILE, "%s is not a regular file", name);
	if ((uint64_t)st.st_size > LP_ELF_FILE_MAX)
		return lp_fail(err, EFBIG, "%s is larger than %" PRIu64 " bytes", name, LP_ELF_FILE_MAX);
	int rc = check_first_bytes(fd, (size_t)st.st_size, name, err);
	if (rc)
		return rc;
	struct lp_elf *e = new_elf(name);
	e->len = (size_t)st.st_size;
	e->bytes = lp_try_realloc(NULL, e->len);
	rc = e->bytes ? lp_pread_full(fd, e->bytes, e->len, 0) : -ENOMEM;
	if (rc) {
		lp_fail_sys(err, -rc, "cannot read %s", name);
		lp_elf_close(e);
		return rc;
	}
	return finish_open(out, e, err);
}

int lp_elf_open(struct lp_elf **out, const char *path, struct lp_err *err)
{
	return lp_elf_open_in_root(out, "", path, err);
}

static void free_symtab(struct lp_elf_symtab *t)
{
	lp_free(t->cut_names);
	lp_vec_free(&t->files);
	lp_free(t->buckets);
}

void lp_elf_close(struct lp_elf *e)
{
	if (!e)
		return;
	lp_vec_free(&e->places);
	lp_vec_free(&e->versions);
	free_symtab(&e->symtabs[LP_DYNSYM]);
	free_symtab(&e->symtabs[LP_SYMTAB]);
	lp_vec_free(&e->needed);
	lp_vec_free(&e->dynamic);
	lp_vec_free(&e->sections);
	lp_vec_free(&e->phdrs);
	lp_free(e->bytes);
	lp_free(e->name);
	lp_free(e);
}
