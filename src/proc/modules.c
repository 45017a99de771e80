/*
 * Which ELF images are loaded, in the dynamic linker's own order.
 *
 *     auxv          -> the main program's headers in memory, its bias
 *     DT_DEBUG      -> r_debug -> link_map list: bias and dynamic section of each image
 *     maps          -> which file the dynamic section is mapped from
 *     the file      -> through /proc, never by a bare path: the target may live in another mount namespace, its files
 *                      may be deleted or replaced
 *
 * A file counts only when its build-id (or, without one, its program headers)
 * is the one in memory; else what is in memory is read instead, which has the
 * dynamic symbols but no others.
 *
 * The list is read while the target runs and may change it: every pointer is
 * checked, the walk is bounded, and an inconsistent reading is repeated.
 *
 * Sources: gABI chapter 5, link.h (the debugger interface of the System V
 * dynamic linker), getauxval(3), proc_pid_map_files(5).
 */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "base/log.h"
#include "proc/state.h"

#define IMAGES_MAX 65536
#define PHDRS_MAX 128
#define DYNAMIC_MAX 4096 /* entries */
#define NOTES_MAX 65536	 /* bytes of one note segment */
#define DUMP_MAX (UINT64_C(1) << 30)
#define TRIES 20 /* readings of a list that the target is changing */

/* An image as memory shows it, before its file is opened. */
struct loaded {
	uint64_t bias;
	lp_addr head;		  /* its ELF header, 0 = not mapped (a static program without one in its segments) */
	const struct lp_map *map; /* of its dynamic section, or of its header */
};
typedef LP_VEC(struct loaded) loaded_vec;

struct auxv {
	uint64_t phdr, phnum, entry, vdso;
};

/* What one reading works with. */
struct scan {
	struct lp_proc *p;
	struct lp_maps maps;
	struct auxv aux;
	Elf64_Phdr phdrs[PHDRS_MAX]; /* of the main program, from memory */
	size_t nr_phdrs;
	uint64_t bias; /* of the main program */
	loaded_vec found;
};

/* ---- the main program ---- */

static int read_auxv(struct scan *s, struct lp_err *err)
{
	char path[64];
	struct lp_buf raw = {0};
	int rc = lp_read_file(lp_proc_path(s->p, "auxv", path, sizeof path), &raw, 1 << 16, err);
	const Elf64_auxv_t *a = (const Elf64_auxv_t *)(const void *)raw.data;
	for (size_t i = 0; rc == 0 && i < raw.len / sizeof *a; i++) {
		switch (a[i].a_type) {
		case AT_PHDR:
			s->aux.phdr = a[i].a_un.a_val;
			break;
		case AT_PHNUM:
			s->aux.phnum = a[i].a_un.a_val;
			break;
		case AT_ENTRY:
			s->aux.entry = a[i].a_un.a_val;
			break;
		case AT_SYSINFO_EHDR:
			s->aux.vdso = a[i].a_un.a_val;
			break;
		}
	}
	lp_buf_free(&raw);
	if (rc < 0)
		return lp_proc_why(s->p, rc, err);
	if (!s->aux.phdr || !s->aux.phnum || s->aux.phnum > PHDRS_MAX || !s->aux.entry)
		return lp_fail(err, LP_EELF, "the auxiliary vector of process %d does not tell where its program is",
			       (int)s->p->pid);
	s->nr_phdrs = s->aux.phnum;
	return lp_mem_read(s->p, s->aux.phdr, s->phdrs, s->nr_phdrs * sizeof *s->phdrs, err);
}

static const Elf64_Phdr *phdr_of(const struct scan *s, uint32_t type)
{
	for (size_t i = 0; i < s->nr_phdrs; i++) {
		if (s->phdrs[i].p_type == type)
			return &s->phdrs[i];
	}
	return NULL;
}

/* The entry point is the one address that file and auxiliary vector both name. */
static int find_bias(struct scan *s, struct lp_err *err)
{
	char path[64];
	Elf64_Ehdr eh;
	int fd = open(lp_proc_path(s->p, "exe", path, sizeof path), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return lp_proc_why(s->p, lp_fail_sys(err, errno, "cannot open %s", path), err);
	int rc = lp_pread_full(fd, &eh, sizeof eh, 0);
	lp_close(fd);
	if (rc < 0)
		return lp_fail_sys(err, rc, "cannot read %s", path);
	s->bias = s->aux.entry - eh.e_entry;
	return 0;
}

/* ---- what is where ---- */

static bool same_file(const struct lp_map *a, const struct lp_map *b)
{
	return a->inode == b->inode && a->dev_major == b->dev_major && a->dev_minor == b->dev_minor &&
	       !strcmp(a->path, b->path);
}

/* Start of the file's mapping at or below `map`, with the ELF header in it. */
static lp_addr head_of(const struct scan *s, const struct lp_map *map)
{
	for (const struct lp_map *m = map; m >= s->maps.items; m--) {
		if (m->offset == 0 && same_file(m, map))
			return m->range.start;
	}
	return 0;
}

static void add(struct scan *s, uint64_t bias, const struct lp_map *map)
{
	lp_vec_push(&s->found, ((struct loaded){bias, head_of(s, map), map}));
}

static void add_program(struct scan *s)
{
	const struct lp_map *map = lp_maps_find(&s->maps, s->aux.entry);
	if (map)
		add(s, s->bias, map);
}

/* ---- r_debug ---- */

static lp_addr by_dt_debug(const struct scan *s)
{
	const Elf64_Phdr *dyn = phdr_of(s, PT_DYNAMIC);
	for (size_t i = 0; dyn && i < dyn->p_memsz / sizeof(Elf64_Dyn) && i < DYNAMIC_MAX; i++) {
		Elf64_Dyn d;
		if (lp_mem_read(s->p, s->bias + dyn->p_vaddr + i * sizeof d, &d, sizeof d, NULL) < 0 ||
		    d.d_tag == DT_NULL)
			break;
		if (d.d_tag == DT_DEBUG)
			return d.d_un.d_ptr;
	}
	return 0;
}

/* A dynamic linker that was started as a program has no DT_DEBUG, but its own r_debug by name. */
static lp_addr by_symbol(const struct scan *s)
{
	char path[64];
	struct lp_elf *exe;
	struct lp_elf_sym sym;
	size_t cursor = 0;
	lp_addr at = 0;
	if (phdr_of(s, PT_INTERP) || lp_elf_open(&exe, lp_proc_path(s->p, "exe", path, sizeof path), NULL) < 0)
		return 0;
	if (lp_elf_symbol_by_name(exe, LP_DYNSYM, "_r_debug", &cursor, &sym) && sym.shndx != SHN_UNDEF)
		at = s->bias + sym.value;
	lp_elf_close(exe);
	return at;
}

static lp_addr find_r_debug(const struct scan *s)
{
	lp_addr at = by_dt_debug(s);
	return at ? at : by_symbol(s);
}

/* 1 = the whole list, 0 = there is none yet, -EAGAIN = it is being changed. */
static int walk_link_map(struct scan *s)
{
	struct r_debug dbg;
	struct link_map lm;
	lp_addr at = find_r_debug(s);
	if (!at || lp_mem_read(s->p, at, &dbg, sizeof dbg, NULL) < 0 || dbg.r_version < 1 || !dbg.r_map)
		return 0;
	if (dbg.r_state != RT_CONSISTENT)
		return -EAGAIN;
	lp_addr prev = 0;
	for (at = (lp_addr)(uintptr_t)dbg.r_map; at; prev = at, at = (lp_addr)(uintptr_t)lm.l_next) {
		if (s->found.nr >= IMAGES_MAX || lp_mem_read(s->p, at, &lm, sizeof lm, NULL) < 0 ||
		    (lp_addr)(uintptr_t)lm.l_prev != prev)
			return -EAGAIN;
		lp_addr dynamic = (lp_addr)(uintptr_t)lm.l_ld;
		if (s->aux.vdso && lp_range_has(s->p->vdso, dynamic))
			continue;
		const struct lp_map *map = lp_maps_find(&s->maps, dynamic);
		if (!map)
			return -EAGAIN;
		add(s, lm.l_addr, map);
	}
	return s->found.nr > 0;
}

/* ---- without r_debug: every ELF file with code in the maps ---- */

static bool has_code(const struct scan *s, const struct lp_map *head)
{
	for (const struct lp_map *m = head; m < s->maps.items + s->maps.nr && same_file(m, head); m++) {
		if (m->prot & LP_MAP_EXEC)
			return true;
	}
	return false;
}

static size_t read_headers(struct lp_proc *p, lp_addr head, Elf64_Ehdr *eh, Elf64_Phdr out[PHDRS_MAX])
{
	if (!head || lp_mem_read(p, head, eh, sizeof *eh, NULL) < 0 || memcmp(eh->e_ident, ELFMAG, SELFMAG) ||
	    eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_phentsize != sizeof *out || eh->e_phnum > PHDRS_MAX ||
	    eh->e_phoff > (1 << 20) || lp_mem_read(p, head + eh->e_phoff, out, eh->e_phnum * sizeof *out, NULL) < 0)
		return 0;
	return eh->e_phnum;
}

static void scan_maps(struct scan *s)
{
	add_program(s);
	if (!phdr_of(s, PT_INTERP))
		return;
	for (size_t i = 0; i < s->maps.nr; i++) {
		const struct lp_map *m = &s->maps.items[i];
		Elf64_Ehdr eh;
		Elf64_Phdr ph[PHDRS_MAX];
		if (m->offset || m->path[0] != '/' || !has_code(s, m) ||
		    (s->found.nr && m->range.start == s->found.items[0].head))
			continue;
		size_t nr = read_headers(s->p, m->range.start, &eh, ph);
		for (size_t k = 0; k < nr; k++) {
			if (ph[k].p_type == PT_LOAD) { /* the first has the lowest address */
				add(s, m->range.start - lp_align_down(ph[k].p_vaddr, LP_PAGE), m);
				break;
			}
		}
	}
}

static int read_list(struct scan *s, struct lp_err *err)
{
	for (unsigned try = 0;; try++) {
		lp_maps_free(&s->maps);
		s->found.nr = 0;
		int rc = lp_maps_read(s->p, &s->maps, err);
		if (rc < 0)
			return rc;
		const struct lp_map *vdso = s->aux.vdso ? lp_maps_find(&s->maps, s->aux.vdso) : NULL;
		s->p->vdso = vdso ? vdso->range : (struct lp_range){0};
		rc = walk_link_map(s);
		if (rc > 0)
			return 0;
		if (rc < 0 && try < TRIES) {
			nanosleep(
				&(struct timespec) { 0, 1000000 << (try < 6 ? try : 6) }, NULL);
			continue;
		}
		s->found.nr = 0;
		scan_maps(s);
		return 0;
	}
}

/* ---- files ---- */

static void build_id_in_memory(struct lp_proc *p, const struct loaded *l, struct lp_build_id *out)
{
	Elf64_Ehdr eh;
	Elf64_Phdr ph[PHDRS_MAX];
	size_t nr = read_headers(p, l->head, &eh, ph);
	*out = (struct lp_build_id){0};
	for (size_t i = 0; i < nr && !out->len; i++) {
		if (ph[i].p_type != PT_NOTE || ph[i].p_filesz > NOTES_MAX)
			continue;
		uint8_t *notes = lp_alloc(ph[i].p_filesz);
		if (lp_mem_read(p, l->bias + ph[i].p_vaddr, notes, ph[i].p_filesz, NULL) == 0)
			lp_elf_build_id_from_notes(notes, ph[i].p_filesz, out);
		lp_free(notes);
	}
}

/* Without a build-id: are the program headers the same, byte for byte? */
static bool same_headers(struct lp_proc *p, const struct loaded *l, const struct lp_elf *e)
{
	Elf64_Ehdr eh;
	Elf64_Phdr ph[PHDRS_MAX];
	size_t nr = read_headers(p, l->head, &eh, ph);
	if (nr == 0 || memcmp(&eh, lp_elf_header(e), sizeof eh) || nr != lp_elf_phdr_count(e))
		return false;
	for (size_t i = 0; i < nr; i++) {
		if (memcmp(&ph[i], lp_elf_phdr(e, i), sizeof ph[i]))
			return false;
	}
	return true;
}

static bool is_it(struct lp_proc *p, const struct loaded *l, const struct lp_elf *e)
{
	struct lp_build_id memory, file;
	build_id_in_memory(p, l, &memory);
	lp_elf_build_id(e, &file);
	if (memory.len || file.len)
		return lp_build_id_equal(&memory, &file);
	return same_headers(p, l, e);
}

/* A file that was opened for an image. */
struct opened {
	struct lp_elf *elf;
	int fd;
};

static int open_regular(const char *path)
{
	struct stat st;
	/* A path can have become a FIFO or a device since; opening those has effects. */
	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return -1;
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

static bool try_file(struct lp_proc *p, const struct loaded *l, const char *path, struct opened *out)
{
	struct lp_err why = {0};
	out->fd = open_regular(path);
	if (out->fd < 0)
		return false;
	if (lp_elf_open_fd(&out->elf, out->fd, path, &why) < 0)
		lp_debug("%s", why.text);
	else if (is_it(p, l, out->elf))
		return true;
	else
		lp_debug("%s is not what process %d runs", path, (int)p->pid);
	lp_elf_close(out->elf);
	lp_close(out->fd);
	*out = (struct opened){.fd = -1};
	return false;
}

static bool open_file(struct lp_proc *p, const struct loaded *l, bool is_program, struct opened *out)
{
	char path[64], *in_root = lp_sprintf("/proc/%d/root%s", (int)p->anchor, l->map->path);
	bool found = is_program && try_file(p, l, lp_proc_path(p, "exe", path, sizeof path), out);
	snprintf(path, sizeof path, "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)p->anchor, l->map->range.start,
		 l->map->range.end);
	found = found || try_file(p, l, path, out);
	found = found || try_file(p, l, in_root, out);
	lp_free(in_root);
	return found;
}

/* ---- no file: the image as it lies in memory ---- */

static bool span_of(struct lp_proc *p, const struct loaded *l, struct lp_range *out)
{
	Elf64_Ehdr eh;
	Elf64_Phdr ph[PHDRS_MAX];
	size_t nr = read_headers(p, l->head, &eh, ph);
	*out = (struct lp_range){UINT64_MAX, 0};
	for (size_t i = 0; i < nr; i++) {
		lp_addr start = l->bias + ph[i].p_vaddr, end = start + ph[i].p_memsz;
		if (ph[i].p_type != PT_LOAD || end < start)
			continue;
		out->start = start < out->start ? start : out->start;
		out->end = end > out->end ? end : out->end;
	}
	out->start = lp_align_down(out->start, LP_PAGE);
	return out->start < out->end && out->end - out->start <= DUMP_MAX;
}

static int dump(struct lp_proc *p, const struct loaded *l, const char *name, struct lp_elf **out, struct lp_err *err)
{
	struct lp_range span;
	if (!span_of(p, l, &span))
		return lp_fail(err, LP_EELF, "%s: its file is gone and its headers are not in memory", name);
	size_t len = span.end - span.start;
	uint8_t *bytes = lp_alloc(len);
	for (size_t at = 0; at < len; at += LP_PAGE)
		lp_mem_read(p, span.start + at, bytes + at, len - at < LP_PAGE ? len - at : LP_PAGE, NULL);
	int rc = lp_elf_from_memory(out, bytes, len, l->bias, name, err);
	lp_free(bytes);
	return rc;
}

/* ---- images ---- */

static void add_image(struct lp_proc *p, const char *path, uint64_t bias, struct opened o)
{
	const char *slash = strrchr(path, '/');
	lp_vec_push(&p->images, ((struct lp_image){.name = lp_strdup(slash ? slash + 1 : path),
						   .path = lp_strdup(path),
						   .bias = bias,
						   .elf = o.elf}));
	lp_vec_push(&p->image_fds, o.fd);
}

/* A stripped image's static functions are named by its debug file only: the target's own, or one that we have. */
static void find_debug(struct lp_proc *p, struct lp_image *im)
{
	char root[64];
	const char *const roots[] = {lp_proc_path(p, "root", root, sizeof root), ""};
	for (size_t i = 0; i < LP_ARRAY_SIZE(roots) && !im->debug && !lp_elf_section_find(im->elf, ".symtab"); i++) {
		struct lp_err why = {0};
		if (lp_elf_open_debug(&im->debug, im->elf, im->path, roots[i], &why) < 0)
			lp_debug("no debug file for %s: %s", im->name, why.text);
	}
}

static int open_image(struct lp_proc *p, const struct loaded *l, bool is_program, struct lp_err *err)
{
	struct opened o = {.fd = -1};
	struct lp_err why = {0};
	if (!open_file(p, l, is_program, &o) && dump(p, l, l->map->path, &o.elf, &why) < 0) {
		if (is_program)
			return lp_fail(err, LP_EELF, "%s", why.text);
		lp_info("%s", why.text); /* its symbols are not known then; the others' are */
		return 0;
	}
	add_image(p, l->map->path, l->bias, o);
	find_debug(p, &p->images.items[p->images.nr - 1]);
	return 0;
}

/* The vDSO's mapping is a complete ELF file. */
static void open_vdso(struct lp_proc *p)
{
	size_t len = p->vdso.end - p->vdso.start;
	struct lp_elf *elf;
	struct lp_err why = {0};
	if (!len || len > (1 << 20))
		return;
	uint8_t *bytes = lp_alloc(len);
	if (lp_mem_read(p, p->vdso.start, bytes, len, &why) == 0 &&
	    lp_elf_from_bytes(&elf, bytes, len, "[vdso]", &why) == 0)
		add_image(p, "[vdso]", p->vdso.start, (struct opened){elf, -1});
	else
		lp_debug("the vDSO cannot be read: %s", why.text);
	lp_free(bytes);
}

/* ---- the user's copy of the program ---- */

static bool same_text(const struct lp_elf *a, const struct lp_elf *b)
{
	bool any = false;
	for (size_t i = 0; i < lp_elf_phdr_count(a); i++) {
		const Elf64_Phdr *ph = lp_elf_phdr(a, i);
		if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X))
			continue;
		const uint8_t *x = lp_elf_bytes_at_vaddr(a, ph->p_vaddr, ph->p_filesz);
		const uint8_t *y = lp_elf_bytes_at_vaddr(b, ph->p_vaddr, ph->p_filesz);
		if (!x || !y || memcmp(x, y, ph->p_filesz))
			return false;
		any = true;
	}
	return any;
}

static int attach_copy(struct lp_proc *p, const char *exe_file, struct lp_err *err)
{
	struct lp_image *main = &p->images.items[0];
	struct lp_elf *copy;
	struct lp_build_id ours, theirs;
	int rc = lp_elf_open(&copy, exe_file, err);
	if (rc < 0)
		return rc;
	lp_elf_build_id(main->elf, &ours);
	lp_elf_build_id(copy, &theirs);
	bool same = ours.len && theirs.len ? lp_build_id_equal(&ours, &theirs) : same_text(main->elf, copy);
	if (!same) {
		lp_elf_close(copy);
		return lp_fail(err, LP_EBUILDID, "%s is not the program that process %d (%s) runs (%s)", exe_file,
			       (int)p->pid, p->comm, main->path);
	}
	lp_elf_close(main->debug);
	main->debug = copy;
	p->copy_attached = true;
	return 0;
}

/* ---- the list ---- */

static int load(struct lp_proc *p, struct lp_err *err)
{
	struct scan s = {.p = p};
	int rc = read_auxv(&s, err);
	rc = rc < 0 ? rc : find_bias(&s, err);
	rc = rc < 0 ? rc : read_list(&s, err);
	for (size_t i = 0; rc == 0 && i < s.found.nr; i++)
		rc = open_image(p, &s.found.items[i], i == 0, err);
	if (rc == 0 && p->images.nr == 0)
		rc = lp_fail(err, LP_EELF, "no program is mapped in process %d (%s)", (int)p->pid, p->comm);
	if (rc == 0)
		open_vdso(p);
	lp_vec_free(&s.found);
	lp_maps_free(&s.maps);
	return rc;
}

/* Of a thread that exits, or executes, there are no files any more: its program would seem to be stripped. */
static int load_of_the_living(struct lp_proc *p, struct lp_err *err)
{
	int rc, kept;
	do {
		lp_images_forget(p);
		rc = load(p, err);
		kept = rc == -LP_EEXECED ? 0 : lp_proc_keep_anchor(p, err);
	} while (kept > 0);
	return kept < 0 ? kept : lp_proc_why(p, rc, err);
}

int lp_images(struct lp_proc *p, const char *exe_file, const struct lp_image **images, size_t *nr, struct lp_err *err)
{
	int rc = 0;
	if (!p->images_known)
		rc = load_of_the_living(p, err);
	if (rc == 0 && exe_file && !p->copy_attached)
		rc = attach_copy(p, exe_file, err);
	if (rc < 0) {
		lp_images_forget(p);
		return rc;
	}
	p->images_known = true;
	*images = p->images.items;
	*nr = p->images.nr;
	return 0;
}

void lp_images_forget(struct lp_proc *p)
{
	for (size_t i = 0; i < p->images.nr; i++) {
		struct lp_image *im = &p->images.items[i];
		lp_elf_close(im->elf);
		lp_elf_close(im->debug);
		lp_free((char *)(uintptr_t)im->name);
		lp_free((char *)(uintptr_t)im->path);
		lp_close(p->image_fds.items[i]);
	}
	lp_vec_free(&p->image_fds);
	lp_vec_free(&p->images);
	p->images_known = p->copy_attached = false;
	lp_unwind_forget(p);
}

int lp_image_reopen(struct lp_proc *p, size_t image)
{
	int fd = image < p->image_fds.nr ? p->image_fds.items[image] : -1;
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

int lp_image_of(const struct lp_proc *p, lp_addr at)
{
	for (size_t i = 0; i < p->images.nr; i++) {
		const struct lp_image *im = &p->images.items[i];
		for (size_t k = 0; k < lp_elf_phdr_count(im->elf); k++) {
			const Elf64_Phdr *ph = lp_elf_phdr(im->elf, k);
			if (ph->p_type == PT_LOAD && at - im->bias - ph->p_vaddr < ph->p_memsz)
				return (int)i;
		}
	}
	return -1;
}

int lp_tls_offset(struct lp_proc *p, size_t image, uint64_t sym_value, int64_t *out, struct lp_err *err)
{
	if (image >= p->images.nr)
		return lp_fail(err, LP_EINTERNAL, "there is no image %zu", image);
	const struct lp_image *im = &p->images.items[image];
	const Elf64_Phdr *tls = lp_elf_phdr_find(im->elf, PT_TLS);
	if (image != 0 || !tls || tls->p_align > (1 << 20) || (tls->p_align & (tls->p_align - 1)))
		return lp_fail(err, LP_ERELOC, "thread-local symbols of %s have no fixed place in the static TLS block",
			       im->name);
	*out = p->arch->tls_offset(tls, sym_value);
	return 0;
}
