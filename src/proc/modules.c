/*
 * The images of a process, in the order in which its dynamic linker searches.
 *
 * That order is the linker's own list: r_debug (found through DT_DEBUG of the
 * main program) heads the chain of link_maps.  What is on the list is memory
 * of the target and believed only after checks: at most IMAGES_MAX entries,
 * each dynamic section inside a mapping.
 *
 * The file behind an image is opened by what cannot lie before what can:
 * /proc/PID/exe and /proc/PID/map_files name the mapped inode itself, even
 * when it was deleted or replaced on disk by an upgrade; the path below
 * /proc/PID/root may by now be another file, so its build-id is compared with
 * the one in the target's memory.  When no file fits, the image is read from
 * memory, which still knows its dynamic symbols.
 */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "proc/state.h"

#define IMAGES_MAX 4096
#define PHDRS_MAX 64
#define IMAGE_MAX (UINT64_C(1) << 30) /* bytes read out of memory for one image */
#define NOTES_MAX 65536

struct auxv {
	lp_addr phdr, entry, base, vdso;
	uint64_t phnum;
};

/* One image while it is being found. */
struct finding {
	struct lp_proc *p;
	const char *exe_file;
	struct lp_maps maps;
	struct auxv aux;
};

static int read_auxv(struct lp_proc *p, struct auxv *out, struct lp_err *err)
{
	char path[64];
	struct lp_buf b = {0};
	int rc = lp_read_file(lp_proc_path(p, "auxv", path, sizeof path), &b, 1u << 16, err);
	*out = (struct auxv){0};
	for (size_t i = 0; rc == 0 && i + sizeof(Elf64_auxv_t) <= b.len; i += sizeof(Elf64_auxv_t)) {
		Elf64_auxv_t a;
		memcpy(&a, b.data + i, sizeof a);
		switch (a.a_type) {
		case AT_PHDR: out->phdr = a.a_un.a_val; break;
		case AT_PHNUM: out->phnum = a.a_un.a_val; break;
		case AT_ENTRY: out->entry = a.a_un.a_val; break;
		case AT_BASE: out->base = a.a_un.a_val; break;
		case AT_SYSINFO_EHDR: out->vdso = a.a_un.a_val; break;
		}
	}
	lp_buf_free(&b);
	return rc;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* ---- what memory says of an image ---- */

/* Program headers behind the ELF header at `at`; their number, 0 when there is none. */
static size_t phdrs_at(struct lp_proc *p, lp_addr at, Elf64_Phdr out[PHDRS_MAX])
{
	Elf64_Ehdr eh;
	if (lp_mem_read(p, at, &eh, sizeof eh, NULL) < 0 || memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 ||
	    eh.e_phentsize != sizeof *out || eh.e_phnum == 0 || eh.e_phnum > PHDRS_MAX || eh.e_phoff > NOTES_MAX ||
	    lp_mem_read(p, at + eh.e_phoff, out, eh.e_phnum * sizeof *out, NULL) < 0)
		return 0;
	return eh.e_phnum;
}

static uint64_t lowest_load(const Elf64_Phdr *ph, size_t nr)
{
	uint64_t low = UINT64_MAX;
	for (size_t i = 0; i < nr; i++)
		if (ph[i].p_type == PT_LOAD && ph[i].p_vaddr < low)
			low = ph[i].p_vaddr;
	return low == UINT64_MAX ? 0 : lp_align_down(low, LP_PAGE);
}

static void build_id_in_memory(struct lp_proc *p, lp_addr header, struct lp_build_id *out)
{
	Elf64_Phdr ph[PHDRS_MAX];
	size_t nr = phdrs_at(p, header, ph);
	lp_addr bias = header - lowest_load(ph, nr);
	out->len = 0;
	for (size_t i = 0; i < nr && !out->len; i++) {
		if (ph[i].p_type != PT_NOTE || ph[i].p_filesz == 0 || ph[i].p_filesz > NOTES_MAX)
			continue;
		uint8_t *notes = lp_alloc(ph[i].p_filesz);
		if (lp_mem_read(p, bias + ph[i].p_vaddr, notes, ph[i].p_filesz, NULL) == 0)
			lp_elf_build_id_from_notes(notes, ph[i].p_filesz, out);
		lp_free(notes);
	}
}

/* The whole image out of memory, page by page; what cannot be read stays zero. */
static int elf_from_memory(struct lp_proc *p, lp_addr header, const char *name, struct lp_elf **out, struct lp_err *err)
{
	Elf64_Phdr ph[PHDRS_MAX];
	size_t nr = phdrs_at(p, header, ph);
	uint64_t low = lowest_load(ph, nr), high = low;
	for (size_t i = 0; i < nr; i++)
		if (ph[i].p_type == PT_LOAD && ph[i].p_vaddr + ph[i].p_memsz > high)
			high = ph[i].p_vaddr + ph[i].p_memsz;
	if (nr == 0 || high - low > IMAGE_MAX)
		return lp_fail(err, LP_EELF, "%s: memory at " LP_ADDR " holds no ELF image", name, header);
	size_t len = lp_align_up(high - low, LP_PAGE);
	uint8_t *bytes = lp_alloc(len);
	for (size_t at = 0; at < len; at += LP_PAGE)
		lp_mem_read(p, header + at, bytes + at, LP_PAGE, NULL);
	int rc = lp_elf_from_memory(out, bytes, high - low, header - low, name, err);
	lp_free(bytes);
	return rc;
}

/* ---- files ---- */

static int open_map_file(struct lp_proc *p, const struct lp_map *m)
{
	char name[96], path[128];
	snprintf(name, sizeof name, "map_files/%" PRIx64 "-%" PRIx64, m->range.start, m->range.end);
	return open(lp_proc_path(p, name, path, sizeof path), O_RDONLY | O_CLOEXEC);
}

static int open_by_path(struct lp_proc *p, const struct lp_map *m)
{
	char root[64];
	char *path = lp_sprintf("%s%s", lp_proc_path(p, "root", root, sizeof root), m->path);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	lp_free(path);
	return fd;
}

static bool is_same(struct lp_proc *p, lp_addr header, const struct lp_elf *file)
{
	struct lp_build_id here, there;
	lp_elf_build_id(file, &there);
	build_id_in_memory(p, header, &here);
	if (here.len || there.len)
		return lp_build_id_equal(&here, &there);
	/* Neither has one: the headers must agree at least. */
	Elf64_Phdr ph[PHDRS_MAX];
	size_t nr = phdrs_at(p, header, ph);
	if (nr == 0 || nr != lp_elf_phdr_count(file))
		return false;
	for (size_t i = 0; i < nr; i++)
		if (memcmp(&ph[i], lp_elf_phdr(file, i), sizeof ph[i]) != 0)
			return false;
	return true;
}

static struct lp_elf *try_fd(struct lp_proc *p, int fd, lp_addr header, const char *name)
{
	struct lp_elf *e = NULL;
	if (fd < 0)
		return NULL;
	if (lp_elf_open_fd(&e, fd, name, NULL) == 0 && !is_same(p, header, e)) {
		lp_debug("%s on disk is not what process %d has loaded", name, (int)p->pid);
		lp_elf_close(e);
		e = NULL;
	}
	lp_close(fd);
	return e;
}

static int open_image(struct lp_proc *p, const struct lp_map *m, struct lp_elf **out, struct lp_err *err)
{
	*out = try_fd(p, open_map_file(p, m), m->range.start, m->path);
	if (!*out)
		*out = try_fd(p, open_by_path(p, m), m->range.start, m->path);
	return *out ? 0 : elf_from_memory(p, m->range.start, m->path[0] ? m->path : "an image", out, err);
}

/* Static functions are named by .symtab only; a stripped file's is in its debug file. */
static void open_debug(struct lp_proc *p, struct lp_image *img)
{
	char root[64];
	if (lp_elf_section_find(img->elf, ".symtab") || img->debug)
		return;
	lp_elf_open_debug(&img->debug, img->elf, img->path, "", NULL);
	if (!img->debug)
		lp_elf_open_debug(&img->debug, img->elf, img->path, lp_proc_path(p, "root", root, sizeof root), NULL);
}

static struct lp_image *add_image(struct lp_proc *p, const char *path, uint64_t bias, struct lp_elf *elf)
{
	struct lp_image *img = lp_vec_add(&p->images);
	char *copy = lp_strdup(path);
	*img = (struct lp_image){.name = base_name(copy), .path = copy, .bias = bias, .elf = elf};
	return img;
}

/* ---- the main program ---- */

/* Without build-ids: every byte of executable segments must be what the process runs. */
static bool same_text(struct lp_proc *p, uint64_t bias, const struct lp_elf *file)
{
	bool any = false;
	for (size_t i = 0; i < lp_elf_phdr_count(file); i++) {
		const Elf64_Phdr *ph = lp_elf_phdr(file, i);
		if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X))
			continue;
		const uint8_t *want = lp_elf_bytes_at(file, ph->p_offset, ph->p_filesz);
		if (!want)
			return false;
		uint8_t *is = lp_alloc(ph->p_filesz);
		bool same = lp_mem_read(p, bias + ph->p_vaddr, is, ph->p_filesz, NULL) == 0 && memcmp(is, want, ph->p_filesz) == 0;
		lp_free(is);
		if (!same)
			return false;
		any = true;
	}
	return any;
}

static int use_exe_file(struct finding *f, struct lp_image *img, struct lp_err *err)
{
	struct lp_elf *file;
	struct lp_build_id ours, theirs;
	char a[2 * LP_BUILD_ID_MAX + 1], b[2 * LP_BUILD_ID_MAX + 1];
	int rc = lp_elf_open(&file, f->exe_file, err);
	if (rc < 0)
		return rc;
	lp_elf_build_id(img->elf, &ours);
	lp_elf_build_id(file, &theirs);
	bool same = ours.len && theirs.len ? lp_build_id_equal(&ours, &theirs) : same_text(f->p, img->bias, file);
	if (!same) {
		lp_build_id_hex(&ours, a);
		lp_build_id_hex(&theirs, b);
		rc = lp_fail(err, LP_EBUILDID, "%s is not the program that process %d runs (%s): build-id %s, running %s", f->exe_file,
			     (int)f->p->pid, img->path, b[0] ? b : "none", a[0] ? a : "none");
		lp_elf_close(file);
		return rc;
	}
	img->debug = file;
	return 0;
}

static int find_program(struct finding *f, struct lp_err *err)
{
	struct lp_proc *p = f->p;
	char path[64], target[4096];
	struct lp_elf *elf;
	int fd = open(lp_proc_path(p, "exe", path, sizeof path), O_RDONLY | O_CLOEXEC);
	ssize_t n = readlink(path, target, sizeof target - 1);
	if (fd < 0 || n < 0) {
		int e = errno;
		lp_close(fd);
		return lp_fail_sys(err, e, "cannot open the program of process %d (%s)", (int)p->pid, path);
	}
	target[n] = 0;
	static const char deleted[] = " (deleted)";
	if ((size_t)n > sizeof deleted && strcmp(target + n - (sizeof deleted - 1), deleted) == 0)
		target[n - (ssize_t)(sizeof deleted - 1)] = 0;
	int rc = lp_elf_open_fd(&elf, fd, target, err);
	lp_close(fd);
	if (rc < 0)
		return rc;
	struct lp_image *img = add_image(p, target, f->aux.entry - lp_elf_header(elf)->e_entry, elf);
	if (f->exe_file)
		rc = use_exe_file(f, img, err);
	if (rc == 0)
		open_debug(p, img);
	return rc;
}

/* ---- the dynamic linker's list ---- */

static const struct lp_map *first_map_of(const struct lp_maps *maps, const struct lp_map *m)
{
	const struct lp_map *first = m;
	for (const struct lp_map *k = m; k >= maps->items; k--) {
		if (k->inode != m->inode || k->dev_major != m->dev_major || k->dev_minor != m->dev_minor || strcmp(k->path, m->path))
			continue;
		first = k;
		if (k->offset == 0)
			break;
	}
	return first;
}

static bool listed(const struct lp_proc *p, uint64_t bias)
{
	for (size_t i = 0; i < p->images.nr; i++)
		if (p->images.items[i].bias == bias)
			return true;
	return false;
}

static int add_mapped(struct finding *f, const struct lp_map *any, struct lp_err *err)
{
	const struct lp_map *m = first_map_of(&f->maps, any);
	struct lp_elf *elf;
	Elf64_Phdr ph[PHDRS_MAX];
	size_t nr = phdrs_at(f->p, m->range.start, ph);
	if (nr == 0)
		return 0;
	uint64_t bias = m->range.start - lowest_load(ph, nr);
	if (listed(f->p, bias))
		return 0;
	int rc = open_image(f->p, m, &elf, err);
	if (rc == 0)
		open_debug(f->p, add_image(f->p, m->path, bias, elf));
	return rc;
}

/* Address of the main program's r_debug, 0 when it has none (static, or its linker has not come to it yet). */
static lp_addr find_r_debug(struct finding *f)
{
	const struct lp_image *exe = &f->p->images.items[0];
	const Elf64_Phdr *dyn = lp_elf_phdr_find(exe->elf, PT_DYNAMIC);
	for (size_t i = 0; dyn && i < dyn->p_memsz / sizeof(Elf64_Dyn); i++) {
		Elf64_Dyn d;
		if (lp_mem_read(f->p, exe->bias + dyn->p_vaddr + i * sizeof d, &d, sizeof d, NULL) < 0 || d.d_tag == DT_NULL)
			break;
		if (d.d_tag == DT_DEBUG)
			return d.d_un.d_ptr;
	}
	return 0;
}

static int walk_link_maps(struct finding *f, lp_addr r_debug, struct lp_err *err)
{
	struct r_debug head;
	struct link_map lm;
	if (lp_mem_read(f->p, r_debug, &head, sizeof head, NULL) < 0)
		return 0;
	lp_addr at = (lp_addr)(uintptr_t)head.r_map;
	int rc = 0;
	for (size_t i = 0; at && i < IMAGES_MAX && rc == 0; i++) {
		if (lp_mem_read(f->p, at, &lm, sizeof lm, NULL) < 0)
			break;
		const struct lp_map *m = lp_maps_find(&f->maps, (lp_addr)(uintptr_t)lm.l_ld);
		if (i > 0 && m && m->path[0] == '/')
			rc = add_mapped(f, m, err);
		at = (lp_addr)(uintptr_t)lm.l_next;
	}
	return rc;
}

/* No list: every file that is mapped executable, in address order. */
static int walk_maps(struct finding *f, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < f->maps.nr && rc == 0; i++) {
		const struct lp_map *m = &f->maps.items[i];
		if ((m->prot & LP_MAP_EXEC) && m->path[0] == '/' && m->inode && strncmp(m->path, "/memfd:", 7) != 0)
			rc = add_mapped(f, m, err);
	}
	return rc;
}

static void add_vdso(struct finding *f)
{
	struct lp_elf *elf;
	Elf64_Phdr ph[PHDRS_MAX];
	size_t nr = f->aux.vdso ? phdrs_at(f->p, f->aux.vdso, ph) : 0;
	if (nr && elf_from_memory(f->p, f->aux.vdso, "[vdso]", &elf, NULL) == 0)
		add_image(f->p, "[vdso]", f->aux.vdso - lowest_load(ph, nr), elf);
}

static int find_images(struct finding *f, struct lp_err *err)
{
	int rc = lp_maps_read(f->p, &f->maps, err);
	rc = rc ? rc : read_auxv(f->p, &f->aux, err);
	rc = rc ? rc : find_program(f, err);
	if (rc < 0)
		return rc;
	bool is_static = !lp_elf_phdr_find(f->p->images.items[0].elf, PT_INTERP);
	lp_addr r_debug = is_static ? 0 : find_r_debug(f);
	if (r_debug)
		rc = walk_link_maps(f, r_debug, err);
	if (rc == 0 && !is_static && f->p->images.nr == 1)
		rc = walk_maps(f, err);
	if (rc == 0)
		add_vdso(f);
	return rc;
}

int lp_images(struct lp_proc *p, const char *exe_file, const struct lp_image **images, size_t *nr, struct lp_err *err)
{
	int rc = 0;
	if (!p->images_known) {
		struct finding f = {.p = p, .exe_file = exe_file};
		rc = find_images(&f, err);
		lp_maps_free(&f.maps);
		if (rc < 0) {
			lp_images_forget(p);
			return lp_proc_why(p, rc, err);
		}
		p->images_known = true;
	}
	*images = p->images.items;
	*nr = p->images.nr;
	return rc;
}

void lp_images_forget(struct lp_proc *p)
{
	for (size_t i = 0; i < p->images.nr; i++) {
		lp_elf_close(p->images.items[i].elf);
		lp_elf_close(p->images.items[i].debug);
		lp_free((char *)p->images.items[i].path);
	}
	lp_vec_free(&p->images);
	p->images_known = false;
}

int lp_tls_offset(struct lp_proc *p, size_t image, uint64_t sym_value, int64_t *out, struct lp_err *err)
{
	if (!p->images_known || image >= p->images.nr)
		return lp_fail(err, LP_EINTERNAL, "no image %zu", image);
	const Elf64_Phdr *tls = lp_elf_phdr_find(p->images.items[image].elf, PT_TLS);
	if (image != 0 || !tls)
		return lp_fail(err, LP_ERELOC, "%s: only thread-local variables of the main program have a place known from outside",
			       p->images.items[image].name);
	*out = p->arch->tls_offset(tls, sym_value);
	return 0;
}
