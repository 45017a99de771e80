/*
 * Which ELF images the guest has loaded, in its dynamic linker's order.
 *
 *     auxv      -> the program's headers in memory, its bias
 *     DT_DEBUG  -> r_debug -> link_map list: bias and dynamic section of each image
 *     areas     -> which file the dynamic section is mapped from
 *
 * The guest runs and may change the list, or lie: every pointer is read with
 * care, the walk is bounded, and a list that is being changed leaves those
 * images that the areas tell of.  A file counts only when its headers are those
 * in memory; else what is in memory is taken instead.
 *
 * Sources: gABI chapter 5, link.h (the debugger interface of the System V
 * dynamic linker).
 */
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "emu/loader.h"
#include "space/guest_private.h"

enum { IMAGES_MAX = 4096, PHDRS_MAX = 128, DYNAMIC_MAX = 4096, NOTES_MAX = 65536, PATH_BYTES = 4096 };
#define DUMP_MAX (UINT64_C(1) << 30)

/* ---- what lies in memory ---- */

struct headers {
	Elf64_Ehdr file;
	Elf64_Phdr segments[PHDRS_MAX];
};

static bool read_headers(lp_addr at, struct headers *h)
{
	return lp_mem_get(at, &h->file) == 0 && memcmp(h->file.e_ident, ELFMAG, SELFMAG) == 0 &&
	       h->file.e_ident[EI_CLASS] == ELFCLASS64 && h->file.e_phentsize == sizeof h->segments[0] &&
	       h->file.e_phnum <= PHDRS_MAX && h->file.e_phoff <= (1 << 20) &&
	       lp_mem_read(at + h->file.e_phoff, h->segments, h->file.e_phnum * sizeof h->segments[0]) == 0;
}

static void build_id_in_memory(const struct headers *h, uint64_t bias, struct lp_build_id *out)
{
	*out = (struct lp_build_id){0};
	for (size_t i = 0; i < h->file.e_phnum && !out->len; i++) {
		const Elf64_Phdr *ph = &h->segments[i];
		if (ph->p_type != PT_NOTE || ph->p_filesz > NOTES_MAX)
			continue;
		uint8_t *notes = lp_alloc(ph->p_filesz);
		if (lp_mem_read(bias + ph->p_vaddr, notes, ph->p_filesz) == 0)
			lp_elf_build_id_from_notes(notes, ph->p_filesz, out);
		lp_free(notes);
	}
}

static bool is_it(const struct headers *h, uint64_t bias, const struct lp_elf *e)
{
	struct lp_build_id memory, file;

	build_id_in_memory(h, bias, &memory);
	lp_elf_build_id(e, &file);
	if (memory.len || file.len)
		return lp_build_id_equal(&memory, &file);
	return memcmp(&h->file, lp_elf_header(e), sizeof h->file) == 0;
}

static int dump(const struct headers *h, uint64_t bias, const char *name, struct lp_elf **out, struct lp_err *err)
{
	struct lp_range span = {UINT64_MAX, 0};

	for (size_t i = 0; i < h->file.e_phnum; i++) {
		const Elf64_Phdr *ph = &h->segments[i];
		lp_addr start = bias + ph->p_vaddr, end = start + ph->p_memsz;
		if (ph->p_type != PT_LOAD || end < start)
			continue;
		span.start = start < span.start ? start : span.start;
		span.end = end > span.end ? end : span.end;
	}
	span.start = lp_align_down(span.start, LP_PAGE);
	if (span.start >= span.end || span.end - span.start > DUMP_MAX)
		return lp_fail(err, LP_EELF, "%s: its file is gone and its headers make no sense", name);
	size_t len = span.end - span.start;
	uint8_t *bytes = lp_alloc(len);
	for (size_t at = 0; at < len; at += LP_PAGE)
		lp_mem_read(span.start + at, bytes + at, len - at < LP_PAGE ? len - at : LP_PAGE);
	int rc = lp_elf_from_memory(out, bytes, len, bias, name, err);
	lp_free(bytes);
	return rc;
}

/* ---- one image ---- */

static bool try_file(const struct headers *h, uint64_t bias, const char *path, struct lp_elf **out)
{
	struct lp_err why = {0};

	if (access(path, R_OK) != 0 || lp_elf_open(out, path, &why) < 0)
		return false;
	if (is_it(h, bias, *out))
		return true;
	lp_debug("%s is not what the guest runs", path);
	lp_elf_close(*out);
	return false;
}

/* As the guest names it: below the sysroot, or as it is; or by the mapping itself, which only root may. */
static bool open_file(struct lp_guest_target *g, const struct headers *h, uint64_t bias, const struct lp_guest_area *a,
		      struct lp_elf **out)
{
	char path[PATH_BYTES + 64];
	const char *sysroot = g->emu->options.sysroot;

	if (sysroot && snprintf(path, sizeof path, "%s%s", sysroot, a->name) < (int)sizeof path &&
	    try_file(h, bias, path, out))
		return true;
	snprintf(path, sizeof path, "/proc/self/map_files/%" PRIx64 "-%" PRIx64, a->range.start, a->range.end);
	return try_file(h, bias, a->name, out) || try_file(h, bias, path, out);
}

static void find_debug(struct lp_guest_target *g, struct lp_image *im)
{
	const char *const roots[] = {g->emu->options.sysroot, ""};
	struct lp_err why = {0};

	if (lp_elf_section_find(im->elf, ".symtab"))
		return;
	for (size_t i = 0; i < LP_ARRAY_SIZE(roots) && !im->debug; i++)
		if (roots[i] && lp_elf_open_debug(&im->debug, im->elf, im->path, roots[i], &why) < 0)
			lp_debug("no debug file for %s: %s", im->name, why.text);
}

static bool known(const struct lp_guest_target *g, uint64_t bias, const char *path)
{
	for (size_t i = 0; i < g->images.nr; i++)
		if (g->images.items[i].bias == bias && strcmp(g->images.items[i].path, path) == 0)
			return true;
	return false;
}

/* The image whose ELF header is at the begin of the area. */
static void add_image(struct lp_guest_target *g, const struct lp_guest_area *a)
{
	struct headers h;
	struct lp_elf *elf = NULL;
	struct lp_err why = {0};
	uint64_t bias = a->range.start;
	const char *slash = strrchr(a->name, '/');

	if (g->images.nr >= IMAGES_MAX || !read_headers(a->range.start, &h))
		return;
	for (size_t i = 0; i < h.file.e_phnum; i++)
		if (h.segments[i].p_type == PT_LOAD) { /* the first has the lowest address */
			bias = a->range.start - lp_align_down(h.segments[i].p_vaddr, LP_PAGE);
			break;
		}
	if (known(g, bias, a->name))
		return;
	if (!open_file(g, &h, bias, a, &elf) && dump(&h, bias, a->name, &elf, &why) < 0) {
		lp_info("%s", why.text); /* its symbols are not known then; the others' are */
		return;
	}
	lp_vec_push(&g->images, ((struct lp_image){.name = lp_strdup(slash ? slash + 1 : a->name),
						   .path = lp_strdup(a->name),
						   .bias = bias,
						   .elf = elf}));
	find_debug(g, &g->images.items[g->images.nr - 1]);
}

/* The area with the ELF header of the file that is mapped at `at`: the nearest one below. */
static bool head_of(struct lp_guest_target *g, lp_addr at, struct lp_guest_area *out)
{
	struct lp_guest_area there, a;
	bool found = false;

	if (!lp_mem_area(g->emu, at, &there))
		return false;
	for (lp_addr from = 0; lp_mem_next(g->emu, from, &a) && a.range.start <= at; from = a.range.end) {
		if (a.offset == 0 && strcmp(a.name, there.name) == 0) {
			*out = a;
			found = true;
		}
	}
	return found;
}

/* ---- r_debug ---- */

static lp_addr find_r_debug(lp_addr phdr, size_t phnum)
{
	Elf64_Phdr ph;
	uint64_t bias = 0;
	lp_addr dynamic = 0;

	for (size_t i = 0; i < phnum && lp_mem_get(phdr + i * sizeof ph, &ph) == 0; i++) {
		if (ph.p_type == PT_PHDR)
			bias = phdr - ph.p_vaddr;
		if (ph.p_type == PT_DYNAMIC)
			dynamic = ph.p_vaddr;
	}
	for (size_t i = 0; dynamic && i < DYNAMIC_MAX; i++) {
		Elf64_Dyn d;
		if (lp_mem_get(bias + dynamic + i * sizeof d, &d) || d.d_tag == DT_NULL)
			break;
		if (d.d_tag == DT_DEBUG)
			return d.d_un.d_ptr;
	}
	return 0;
}

static void walk_link_map(struct lp_guest_target *g, lp_addr r_debug)
{
	struct r_debug dbg;
	struct link_map lm;
	struct lp_guest_area a;
	size_t steps = 0;

	if (!r_debug || lp_mem_get(r_debug, &dbg) || dbg.r_version < 1)
		return;
	for (lp_addr at = (lp_addr)(uintptr_t)dbg.r_map; at && steps++ < IMAGES_MAX && lp_mem_get(at, &lm) == 0;
	     at = (lp_addr)(uintptr_t)lm.l_next)
		if (head_of(g, (lp_addr)(uintptr_t)lm.l_ld, &a))
			add_image(g, &a);
}

/* What the list did not tell of: all of it before the dynamic linker has run, and what it is about to add. */
static void scan_areas(struct lp_guest_target *g)
{
	struct lp_guest_area a;

	for (lp_addr at = 0; lp_mem_next(g->emu, at, &a); at = a.range.end)
		if (a.offset == 0 && (a.name[0] == '/' || strcmp(a.name, "[vdso]") == 0))
			add_image(g, &a);
}

static uint64_t auxv(const struct lp_emu *emu, uint64_t type)
{
	for (size_t i = 0; i < emu->loaded->nr_auxv; i++)
		if (emu->loaded->auxv[i][0] == type)
			return emu->loaded->auxv[i][1];
	return 0;
}

int lp_guest_images(struct lp_guest_target *g, const struct lp_image **images, size_t *nr, struct lp_err *err)
{
	uint64_t phdr = auxv(g->emu, AT_PHDR), phnum = auxv(g->emu, AT_PHNUM);
	struct lp_guest_area a;

	if (!g->images_known) {
		if (head_of(g, phdr, &a))
			add_image(g, &a);
		walk_link_map(g, find_r_debug(phdr, phnum < PHDRS_MAX ? phnum : PHDRS_MAX));
		scan_areas(g);
	}
	if (g->images.nr == 0)
		return lp_fail(err, LP_EELF, "no program is mapped in %s", g->target.label);
	g->images_known = true;
	*images = g->images.items;
	*nr = g->images.nr;
	return 0;
}

void lp_guest_images_forget(struct lp_guest_target *g)
{
	lp_guest_walker_free(g->walker);
	g->walker = NULL;
	for (size_t i = 0; i < g->images.nr; i++) {
		struct lp_image *im = &g->images.items[i];
		lp_elf_close(im->elf);
		lp_elf_close(im->debug);
		lp_free((char *)(uintptr_t)im->name);
		lp_free((char *)(uintptr_t)im->path);
	}
	lp_vec_free(&g->images);
	g->images_known = false;
}
