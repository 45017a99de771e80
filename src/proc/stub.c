/*
 * Where the stub lies.
 *
 * The last page of an executable file mapping is rarely full: what follows the
 * segment's end in it belongs to nobody.  Bytes written there change no code
 * of the program, cost one private page, and are harmless when left behind,
 * so the stub is left behind and found again by its bytes.  "Belongs to
 * nobody" is proved by the program headers that lie in memory (the padding
 * must begin at or after p_vaddr + p_memsz), not guessed from zeros alone.
 *
 * A small static program may leave no room there.  It has the vDSO, whose image
 * ends before its last page does as well; that page becomes the process's own
 * with the first write, as it does when a debugger sets a breakpoint in it.
 * Only then, for it is not in every process's interest to have a copy of it.
 *
 * Refused: shared mappings (the write would reach the file), anonymous memory
 * (a JIT's).
 */
#include <errno.h>
#include <string.h>

#include "proc/state.h"

#define MARGIN 8 /* unused bytes kept behind the segment's end: no prefetch or over-read surprises */
#define PHDRS_MAX 64

static bool same_file(const struct lp_map *a, const struct lp_map *b)
{
	return a->inode == b->inode && a->dev_major == b->dev_major && a->dev_minor == b->dev_minor &&
	       !strcmp(a->path, b->path);
}

/* The mapping of the same file that starts at its offset 0, at or below `at`: where the ELF header is. */
static const struct lp_map *header_map(const struct lp_maps *maps, size_t at)
{
	for (size_t i = at + 1; i-- > 0;) {
		const struct lp_map *m = &maps->items[i];
		if (!same_file(m, &maps->items[at]))
			continue;
		if (m->offset == 0)
			return m;
	}
	return NULL;
}

static size_t read_phdrs(struct lp_proc *p, lp_addr head, Elf64_Phdr out[PHDRS_MAX])
{
	Elf64_Ehdr eh;
	if (lp_mem_read(p, head, &eh, sizeof eh, NULL) < 0 || memcmp(eh.e_ident, ELFMAG, SELFMAG) ||
	    eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_phentsize != sizeof *out || eh.e_phnum == 0 ||
	    eh.e_phnum > PHDRS_MAX)
		return 0;
	uint64_t len = eh.e_phnum * sizeof *out;
	if (eh.e_phoff > LP_PAGE * 16 || lp_mem_read(p, head + eh.e_phoff, out, len, NULL) < 0)
		return 0;
	return eh.e_phnum;
}

/* First byte of the mapping that lies behind its segment, or 0 when the headers do not explain the mapping. */
static lp_addr segment_end(struct lp_proc *p, const struct lp_map *head, const struct lp_map *text)
{
	Elf64_Phdr ph[PHDRS_MAX];
	size_t nr = read_phdrs(p, head->range.start, ph);
	const Elf64_Phdr *first = NULL, *found = NULL;
	for (size_t i = 0; i < nr; i++) {
		if (ph[i].p_type != PT_LOAD)
			continue;
		if (!first)
			first = &ph[i];
		if ((ph[i].p_flags & PF_X) && !found && lp_align_down(ph[i].p_offset, LP_PAGE) == text->offset)
			found = &ph[i];
	}
	if (!found || found->p_memsz != found->p_filesz || found->p_memsz > text->range.end - text->range.start)
		return 0;
	lp_addr end = text->range.start + found->p_vaddr % LP_PAGE + found->p_memsz;
	lp_addr by_bias = head->range.start - lp_align_down(first->p_vaddr, LP_PAGE) + found->p_vaddr + found->p_memsz;
	return end == by_bias && end <= text->range.end && text->range.end - end < LP_PAGE ? end : 0;
}

static bool may_hold(const struct lp_map *m)
{
	return (m->prot & LP_MAP_EXEC) && !(m->prot & LP_MAP_WRITE) && (m->prot & LP_MAP_READ) && m->is_private &&
	       m->inode && m->path[0] == '/';
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
	return len == 0 || (bytes[0] == 0 && !memcmp(bytes, bytes + 1, len - 1));
}

static bool holds(const uint8_t *bytes, size_t slot, const struct lp_stub_text *t)
{
	size_t after_tail = t->tail_at + t->tail_len;
	size_t before_tail = t->tail_len ? t->tail_at : t->len;
	return !memcmp(bytes, t->code, before_tail) &&
	       (!t->tail_len || !memcmp(bytes + after_tail, t->code + after_tail, t->len - after_tail)) &&
	       is_zero(bytes + t->len, slot - t->len);
}

/* What the longest variant takes: a small program leaves few bytes behind its text. */
static size_t slot_size(const struct lp_proc *p)
{
	size_t most = 0;
	for (const struct lp_stub_text *const *t = p->arch->stubs; *t; t++)
		most = (*t)->len > most ? (*t)->len : most;
	return lp_align_up(most, 8);
}

/* One slot per variant, counted from the end of the page. */
static void add_sites(struct lp_proc *p, lp_addr end_of_page, lp_addr end)
{
	size_t nr = 0, slot = slot_size(p);
	for (const struct lp_stub_text *const *t = p->arch->stubs; *t; t++)
		nr++;
	for (size_t i = 1; i <= nr; i++) {
		lp_addr at = end_of_page - i * slot;
		uint8_t bytes[LP_STUB_ROOM];
		if (at < end + MARGIN || lp_mem_read(p, at, bytes, slot, NULL) < 0)
			return;
		struct lp_site site = {.at = at};
		for (const struct lp_stub_text *const *t = p->arch->stubs; *t && !site.text; t++)
			site.text = holds(bytes, slot, *t) ? *t : NULL;
		if (site.text || is_zero(bytes, slot))
			lp_vec_push(&p->sites, site);
	}
}

static uint64_t later(uint64_t end, uint64_t offset, uint64_t size)
{
	uint64_t other;
	if (__builtin_add_overflow(offset, size, &other))
		return UINT64_MAX;
	return other > end ? other : end;
}

/* Where the vDSO's image ends, as a file and as segments; UINT64_MAX when its headers make no sense. */
static uint64_t vdso_size(struct lp_proc *p)
{
	Elf64_Phdr ph[PHDRS_MAX];
	Elf64_Ehdr eh;
	size_t nr = read_phdrs(p, p->vdso.start, ph);
	if (!nr || lp_mem_read(p, p->vdso.start, &eh, sizeof eh, NULL) < 0)
		return UINT64_MAX;
	uint64_t end = later(0, eh.e_shoff, (uint64_t)eh.e_shnum * eh.e_shentsize);
	for (size_t i = 0; i < nr; i++) {
		end = later(end, ph[i].p_offset, ph[i].p_filesz);
		if (ph[i].p_type == PT_LOAD)
			end = later(end, ph[i].p_vaddr, ph[i].p_memsz); /* it is linked at 0 */
	}
	return end;
}

/* Where there is another place, only a stub that is there already counts: a thread may be in it. */
static void add_vdso_sites(struct lp_proc *p)
{
	size_t nr = p->sites.nr, kept = nr;
	uint64_t room = p->vdso.end - p->vdso.start;
	uint64_t used = room ? vdso_size(p) : UINT64_MAX;
	if (used >= room || room - used >= LP_PAGE)
		return;
	add_sites(p, p->vdso.end, p->vdso.start + used);
	for (size_t i = nr; i < p->sites.nr; i++) {
		if (nr == 0 || p->sites.items[i].text)
			p->sites.items[kept++] = p->sites.items[i];
	}
	p->sites.nr = kept;
}

static int find_sites(struct lp_proc *p, struct lp_err *err)
{
	struct lp_maps maps;
	int rc = lp_maps_read(p, &maps, err);
	if (rc < 0)
		return rc;
	p->sites.nr = 0;
	for (size_t i = 0; i < maps.nr; i++) {
		if (!strcmp(maps.items[i].path, "[vdso]"))
			p->vdso = maps.items[i].range;
		const struct lp_map *text = &maps.items[i], *head;
		lp_addr end;
		if (may_hold(text) && (head = header_map(&maps, i)) && (end = segment_end(p, head, text)))
			add_sites(p, text->range.end, end);
	}
	add_vdso_sites(p);
	lp_maps_free(&maps);
	p->sites_known = true;
	return 0;
}

static bool within(const struct lp_stub_text *text, lp_addr at, lp_addr pc)
{
	uint64_t distance = at > pc ? at - pc : pc - at;
	return !text->reach || distance < text->reach;
}

static struct lp_site *choose(struct lp_proc *p, const struct lp_stub_text *text, lp_addr pc)
{
	struct lp_site *empty = NULL;
	for (size_t i = 0; i < p->sites.nr; i++) {
		struct lp_site *s = &p->sites.items[i];
		if (!within(text, s->at, pc))
			continue;
		if (s->text == text)
			return s;
		if (!s->text && !empty)
			empty = s;
	}
	return empty;
}

/* The library may have been unloaded since we looked: what is there now? */
static bool still_so(struct lp_proc *p, const struct lp_site *s)
{
	uint8_t bytes[LP_STUB_ROOM];
	size_t slot = slot_size(p);
	if (lp_mem_read(p, s->at, bytes, slot, NULL) < 0)
		return false;
	return s->text ? holds(bytes, slot, s->text) : is_zero(bytes, slot);
}

int lp_stub_sites(struct lp_proc *p, struct lp_err *err)
{
	return p->sites_known ? 0 : find_sites(p, err);
}

int lp_stub_place(struct lp_proc *p, const struct lp_stub_text *text, lp_addr pc, lp_addr *at, struct lp_err *err)
{
	int rc = lp_stub_sites(p, err);
	if (rc < 0)
		return rc;
	struct lp_site *s = choose(p, text, pc);
	if (s && !still_so(p, s)) {
		if ((rc = find_sites(p, err)) < 0)
			return rc;
		s = choose(p, text, pc);
	}
	if (!s)
		return lp_fail(
			err, LP_EREACH,
			"no executable mapping of process %d (%s), nor its vDSO, has %d unused bytes at its end%s",
			(int)p->pid, p->comm, (int)slot_size(p), text->reach ? " near enough" : "");
	if (!s->text) {
		/* Zeros until now, so nobody runs it: one write within one page. */
		rc = lp_mem_write(p, s->at, text->code, text->len, err);
		if (rc < 0)
			return rc;
		s->text = text;
	}
	*at = s->at;
	return 0;
}

bool lp_stub_has(const struct lp_proc *p, lp_addr pc)
{
	for (size_t i = 0; i < p->sites.nr; i++) {
		const struct lp_site *s = &p->sites.items[i];
		if (s->text && lp_range_has((struct lp_range){s->at, s->at + s->text->len}, pc))
			return true;
	}
	return false;
}
