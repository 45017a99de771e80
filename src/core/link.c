/*
 * Placing a shared object, the part that needs no symbols of the target: how
 * its segments lie, what becomes of them at a base, its own symbols.
 *
 * Layout of the room, offsets from the base:
 *
 *     0 .. size                     the segments, [low, low + size) of the file
 *     size .. + stubs               code: LP_IFUNC_STUB_MAX bytes for each IFUNC
 *     .. + slots                    data: 8 bytes for each IFUNC, the address its stub jumps to
 *
 * An IFUNC is a function whose address a resolver computes.  ld.so calls the
 * resolver while it relocates; we cannot, because no code of the target or of
 * the patch runs before the change is live.  So an IFUNC without a known value
 * is bound to a stub, which calls the resolver on the first call through it:
 * what lazy binding does, at the same moment in the program's life.
 *
 * All binding is eager: there is no ld.so behind the object's lazy PLT.
 */
#include "core/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "core/link_private.h"

/* ---- layout ---- */

static unsigned prot_of(const Elf64_Phdr *p)
{
	return (p->p_flags & PF_R ? LP_PROT_READ : 0) | (p->p_flags & PF_W ? LP_PROT_WRITE : 0) |
	       (p->p_flags & PF_X ? LP_PROT_EXEC : 0);
}

/* Appends [start, end) to the pieces; what touches a piece of the same protection becomes one with it. */
static int add_piece(struct lp_object *o, uint64_t start, uint64_t end, unsigned prot, struct lp_err *err)
{
	struct lp_object_piece *last = o->nr_pieces ? &o->pieces[o->nr_pieces - 1] : NULL;
	if (start == end)
		return 0;
	if (last && last->prot == prot) {
		last->end = end;
		return 0;
	}
	if (o->nr_pieces == LP_OBJECT_PIECES_MAX)
		return lp_fail(err, LP_EELF, "%s has more than %d runs of pages with different protections", o->path,
			       LP_OBJECT_PIECES_MAX);
	o->pieces[o->nr_pieces++] = (struct lp_object_piece){start, end, prot};
	return 0;
}

/* Pages that ld.so makes read-only after relocation, as offsets; only whole ones (glibc, _dl_protect_relro). */
static struct lp_range relro_pages(const struct lp_object *o)
{
	uint64_t end;
	const Elf64_Phdr *p = lp_elf_phdr_find(o->elf, PT_GNU_RELRO);
	if (!p || __builtin_add_overflow(p->p_vaddr, p->p_memsz, &end))
		return (struct lp_range){0, 0};
	return (struct lp_range){lp_align_down(p->p_vaddr, LP_PAGE) - o->low, lp_align_down(end, LP_PAGE) - o->low};
}

static int add_segment(struct lp_object *o, uint64_t start, uint64_t end, unsigned prot, struct lp_err *err)
{
	struct lp_range relro = relro_pages(o);
	if (!(prot & LP_PROT_WRITE) || relro.start < start || relro.end > end || relro.start >= relro.end)
		return add_piece(o, start, end, prot, err);
	int rc = add_piece(o, start, relro.start, prot, err);
	rc = rc ? rc : add_piece(o, relro.start, relro.end, prot & ~(unsigned)LP_PROT_WRITE, err);
	return rc ? rc : add_piece(o, relro.end, end, prot, err);
}

/* The pages of one PT_LOAD, judged; empty ones give an empty range. */
static int segment_pages(const struct lp_object *o, const Elf64_Phdr *p, struct lp_range *out, struct lp_err *err)
{
	uint64_t end;
	if (p->p_filesz > p->p_memsz || __builtin_add_overflow(p->p_vaddr, p->p_memsz, &end) || end > INT64_MAX)
		return lp_fail(err, LP_EELF, "%s: a segment has impossible sizes", o->path);
	if (p->p_filesz && !lp_elf_bytes_at(o->elf, p->p_offset, p->p_filesz))
		return lp_fail(err, LP_EELF, "%s is cut short: a segment lies beyond its end", o->path);
	*out = (struct lp_range){lp_align_down(p->p_vaddr, LP_PAGE), lp_align_up(end, LP_PAGE)};
	if (p->p_memsz == 0)
		out->end = out->start;
	return 0;
}

static int add_load(struct lp_object *o, const Elf64_Phdr *p, struct lp_err *err)
{
	struct lp_range pages = {0, 0};
	int rc = segment_pages(o, p, &pages, err);
	if (rc < 0 || pages.start == pages.end)
		return rc;
	if (!o->nr_pieces)
		o->low = pages.start;
	uint64_t end = o->low + o->size;
	if (pages.start < end)
		return lp_fail(err, LP_EELF, "%s: segments share a page or are out of order", o->path);
	if (pages.end - o->low > LP_OBJECT_SPAN_MAX)
		return lp_fail(err, LP_EELF, "%s takes more than %" PRIu64 " MiB of address space", o->path,
			       LP_OBJECT_SPAN_MAX >> 20);
	rc = add_piece(o, o->size, pages.start - o->low, 0, err);
	rc = rc ? rc : add_segment(o, pages.start - o->low, pages.end - o->low, prot_of(p), err);
	o->size = pages.end - o->low;
	return rc;
}

static int lay_out(struct lp_object *o, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < lp_elf_phdr_count(o->elf); i++)
		if (lp_elf_phdr(o->elf, i)->p_type == PT_LOAD)
			rc = add_load(o, lp_elf_phdr(o->elf, i), err);
	if (rc == 0 && !o->nr_pieces)
		rc = lp_fail(err, LP_EELF, "%s has no segments to load", o->path);
	return rc;
}

const Elf64_Phdr *lp_object_segment(const struct lp_object *o, uint64_t vaddr, uint64_t len)
{
	for (size_t i = 0; i < lp_elf_phdr_count(o->elf); i++) {
		const Elf64_Phdr *p = lp_elf_phdr(o->elf, i);
		if (p->p_type == PT_LOAD && vaddr >= p->p_vaddr && len <= p->p_memsz &&
		    vaddr - p->p_vaddr <= p->p_memsz - len)
			return p;
	}
	return NULL;
}

/* ---- IFUNCs of the object's own ---- */

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static int add_resolver(struct lp_object *o, uint64_t resolver, struct lp_err *err)
{
	const Elf64_Phdr *p = lp_object_segment(o, resolver, 1);
	if (!p || !(p->p_flags & PF_X))
		return lp_fail(err, LP_EELF, "%s: the resolver of an IFUNC (" LP_ADDR ") lies outside its code",
			       o->path, resolver);
	lp_vec_push(&o->resolvers, resolver);
	return 0;
}

static int collect_resolver_symbols(struct lp_object *o, enum lp_symtab table, struct lp_err *err)
{
	struct lp_elf_sym s;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < lp_elf_symbol_count(o->elf, table); i++)
		if (lp_elf_symbol(o->elf, table, i, &s) && s.type == STT_GNU_IFUNC && s.shndx != SHN_UNDEF)
			rc = add_resolver(o, s.value, err);
	return rc;
}

static int collect_resolver_relocs(struct lp_object *o, struct lp_err *err)
{
	struct lp_elf_rela_iter it = {0};
	struct lp_elf_rela r;
	int rc;
	while ((rc = lp_elf_rela_next(o->elf, &it, &r, err)) > 0) {
		const struct lp_reloc_howto *h = o->isa->howto(r.type);
		if (!h || h->formula != LP_RELOC_IFUNC)
			continue;
		rc = add_resolver(o, (uint64_t)r.addend, err);
		if (rc < 0)
			break;
	}
	return rc;
}

static void sort_resolvers(struct lp_object *o)
{
	size_t kept = 0;
	if (o->resolvers.nr)
		qsort(o->resolvers.items, o->resolvers.nr, sizeof *o->resolvers.items, by_value);
	for (size_t i = 0; i < o->resolvers.nr; i++)
		if (!kept || o->resolvers.items[kept - 1] != o->resolvers.items[i])
			o->resolvers.items[kept++] = o->resolvers.items[i];
	o->resolvers.nr = o->nr_own_resolvers = kept;
}

/* Undefined symbols that may turn out to be IFUNCs of the target. */
static size_t count_possible_ifuncs(const struct lp_object *o)
{
	size_t nr = 0;
	struct lp_elf_sym s;
	for (size_t i = 1; i < lp_elf_symbol_count(o->elf, LP_DYNSYM); i++)
		nr += lp_elf_symbol(o->elf, LP_DYNSYM, i, &s) && s.shndx == SHN_UNDEF && s.type != STT_OBJECT &&
		      s.type != STT_TLS;
	return nr;
}

static int find_ifuncs(struct lp_object *o, struct lp_err *err)
{
	int rc = collect_resolver_symbols(o, LP_DYNSYM, err);
	rc = rc ? rc : collect_resolver_symbols(o, LP_SYMTAB, err);
	rc = rc ? rc : collect_resolver_relocs(o, err);
	if (rc < 0)
		return rc;
	sort_resolvers(o);
	if (o->nr_own_resolvers > LP_OBJECT_IFUNCS_MAX)
		return lp_fail(err, LP_EELF, "%s has more than %u IFUNCs", o->path, LP_OBJECT_IFUNCS_MAX);
	size_t foreign = count_possible_ifuncs(o);
	o->stub_capacity = o->nr_own_resolvers + (foreign < LP_OBJECT_IFUNCS_MAX ? foreign : LP_OBJECT_IFUNCS_MAX);
	return 0;
}

long lp_object_own_stub(const struct lp_object *o, uint64_t resolver)
{
	if (!o->nr_own_resolvers)
		return -1;
	const uint64_t *at = bsearch(&resolver, o->resolvers.items, o->nr_own_resolvers, sizeof resolver, by_value);
	return at ? at - o->resolvers.items : -1;
}

/* ---- open, close ---- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static int open_object(struct lp_object *o, struct lp_err *err)
{
	int rc = lp_elf_open(&o->elf, o->path, err);
	if (rc < 0)
		return rc;
	o->self = (struct lp_image){.name = base_name(o->path), .path = o->path, .elf = o->elf};
	o->nr_bounds = lp_elf_symbol_count(o->elf, LP_DYNSYM);
	o->bounds = lp_alloc(o->nr_bounds * sizeof *o->bounds);
	rc = lp_object_admit(o, err);
	rc = rc ? rc : lay_out(o, err);
	return rc ? rc : find_ifuncs(o, err);
}

int lp_object_open(struct lp_object **out, const char *path, const struct lp_isa *isa, struct lp_err *err)
{
	struct lp_object *o = lp_alloc(sizeof *o);
	o->path = lp_strdup(path);
	o->isa = isa;
	int rc = open_object(o, err);
	if (rc < 0) {
		lp_object_close(o);
		o = NULL;
	}
	*out = o;
	return rc;
}

void lp_object_close(struct lp_object *o)
{
	if (!o)
		return;
	lp_elf_close(o->elf);
	lp_vec_free(&o->resolvers);
	lp_free(o->bounds);
	lp_free(o->path);
	lp_free(o);
}

int lp_object_bind(struct lp_object *o, struct lp_target *t, struct lp_err *err)
{
	int rc = lp_object_bind_all(o, t, err);
	if (rc == 0)
		o->stub_capacity = o->resolvers.nr;
	return rc;
}

/* ---- the room ---- */

static uint64_t stubs_size(const struct lp_object *o)
{
	return lp_align_up(o->stub_capacity * LP_IFUNC_STUB_MAX, LP_PAGE);
}

static uint64_t slots_size(const struct lp_object *o)
{
	return lp_align_up(o->stub_capacity * sizeof(uint64_t), LP_PAGE);
}

static uint64_t stub_offset(const struct lp_object *o, uint64_t stub)
{
	return o->size + stub * LP_IFUNC_STUB_MAX;
}

static uint64_t slot_offset(const struct lp_object *o, uint64_t stub)
{
	return o->size + stubs_size(o) + stub * sizeof(uint64_t);
}

uint64_t lp_object_span(const struct lp_object *o)
{
	return o->size + stubs_size(o) + slots_size(o);
}

static void request_piece(struct lp_room_request *r, lp_addr start, lp_addr end, unsigned prot)
{
	if (start == end)
		return;
	r->pieces[r->nr_pieces].range = (struct lp_range){start, end};
	r->pieces[r->nr_pieces++].prot = prot;
}

void lp_object_room(const struct lp_object *o, lp_addr base, struct lp_room_request *out)
{
	_Static_assert(LP_ARRAY_SIZE(out->pieces) >= LP_OBJECT_PIECES_MAX + 2,
		       "stubs and slots have a piece of their own");
	lp_addr stubs = base + o->size, slots = stubs + stubs_size(o), end = base + lp_object_span(o);
	*out = (struct lp_room_request){.range = {base, end}};
	for (size_t i = 0; i < o->nr_pieces; i++)
		request_piece(out, base + o->pieces[i].start, base + o->pieces[i].end, o->pieces[i].prot);
	request_piece(out, stubs, slots, LP_PROT_READ | LP_PROT_EXEC);
	request_piece(out, slots, end, LP_PROT_READ | LP_PROT_WRITE);
}

/* ---- the image ---- */

/* One object at one base, being filled in. */
struct placing {
	const struct lp_object *o;
	lp_addr base;
	uint8_t *image;
};

static lp_addr own_address(const struct placing *p, uint64_t vaddr)
{
	return p->base + (vaddr - p->o->low);
}

static void copy_segments(const struct placing *p)
{
	for (size_t i = 0; i < lp_elf_phdr_count(p->o->elf); i++) {
		const Elf64_Phdr *ph = lp_elf_phdr(p->o->elf, i);
		if (ph->p_type != PT_LOAD || !ph->p_filesz)
			continue;
		memcpy(p->image + (ph->p_vaddr - p->o->low), lp_elf_bytes_at(p->o->elf, ph->p_offset, ph->p_filesz),
		       ph->p_filesz);
	}
}

static int place_stubs(const struct placing *p, struct lp_err *err)
{
	const struct lp_object *o = p->o;
	for (size_t i = 0; i < o->resolvers.nr; i++) {
		uint64_t resolver = o->resolvers.items[i];
		lp_addr initial, at = p->base + stub_offset(o, i), slot = p->base + slot_offset(o, i);
		if (i < o->nr_own_resolvers)
			resolver = own_address(p, resolver);
		size_t len = o->isa->ifunc_stub(p->image + stub_offset(o, i), at, slot, resolver, &initial);
		if (!len || len > LP_IFUNC_STUB_MAX)
			return lp_fail(err, LP_EINTERNAL, "%s: an IFUNC stub of %zu bytes", o->path, len);
		lp_put64(p->image + slot_offset(o, i), initial);
	}
	return 0;
}

const char *lp_object_place(const struct lp_object *o, uint64_t vaddr, char *out, size_t out_size)
{
	struct lp_elf_sym s;
	if (lp_elf_symbol_at(o->elf, vaddr, &s) && vaddr - s.value < s.size) {
		snprintf(out, out_size, "`%s`", s.name);
		return out;
	}
	const char *section = "its data";
	for (size_t i = 0; i < lp_elf_section_count(o->elf); i++) {
		const Elf64_Shdr *sh = lp_elf_section(o->elf, i);
		if (sh && (sh->sh_flags & SHF_ALLOC) && vaddr >= sh->sh_addr && vaddr - sh->sh_addr < sh->sh_size)
			section = lp_elf_section_name(o->elf, sh);
	}
	snprintf(out, out_size, "%s", section);
	return out;
}

/* S, in the psABIs' letters. */
static lp_addr symbol_value(const struct placing *p, const struct lp_bound *b, bool call)
{
	switch (b->kind) {
	case LP_BOUND_OWN:
		return own_address(p, b->value);
	case LP_BOUND_STUB:
		return !call && b->pointer ? b->pointer : p->base + stub_offset(p->o, b->value);
	case LP_BOUND_TARGET:
		return !call && b->pointer ? b->pointer : b->value;
	case LP_BOUND_TLS:
	case LP_BOUND_NOT_YET:
		break;
	}
	return 0;
}

/* A jump slot is only ever called through; all psABIs give its type this name. */
static bool is_for_calls(const struct lp_reloc_howto *h)
{
	static const char suffix[] = "_JUMP_SLOT";
	size_t len = strlen(h->name), n = sizeof suffix - 1;
	return len > n && memcmp(h->name + len - n, suffix, n) == 0;
}

/* The program is TLS module 1 in every libc (glibc, rtld_setup_main_map; musl, __init_tls); binding saw to it that only
 * the program's thread-local variables come here. */
#define TLS_MODULE_OF_PROGRAM 1

static int reloc_value(const struct placing *p, const struct lp_reloc_howto *h, const struct lp_elf_rela *r,
		       uint64_t *out, struct lp_err *err)
{
	static const struct lp_bound no_symbol = {.kind = LP_BOUND_TARGET};
	const struct lp_bound *b = r->sym ? &p->o->bounds[r->sym] : &no_symbol;
	uint64_t s = symbol_value(p, b, is_for_calls(h)), a = (uint64_t)r->addend;
	switch (h->formula) {
	case LP_RELOC_ABS:
		*out = s + a;
		return 0;
	case LP_RELOC_SYM:
		*out = s;
		return 0;
	case LP_RELOC_PC:
		*out = s + a - own_address(p, r->offset);
		return 0;
	case LP_RELOC_BASE:
		*out = own_address(p, a);
		return 0;
	case LP_RELOC_SIZE:
		*out = b->size + a;
		return 0;
	case LP_RELOC_IFUNC:
		*out = p->base + stub_offset(p->o, (uint64_t)lp_object_own_stub(p->o, a));
		return 0;
	case LP_RELOC_TPOFF:
		*out = (uint64_t)b->tp_offset + a;
		return 0;
	case LP_RELOC_DTPMOD:
		*out = TLS_MODULE_OF_PROGRAM;
		return 0;
	case LP_RELOC_DTPOFF:
		*out = b->value + a;
		return 0;
	default:
		return lp_fail(err, LP_EINTERNAL, "%s: %s was bound but cannot be applied", p->o->path, h->name);
	}
}

static int apply_reloc(const struct placing *p, const struct lp_elf_rela *r, struct lp_err *err)
{
	const struct lp_reloc_howto *h = p->o->isa->howto(r->type);
	uint64_t value = 0;
	char place[128];
	if (h->formula == LP_RELOC_NONE)
		return 0;
	int rc = reloc_value(p, h, r, &value, err);
	rc = rc ? rc : p->o->isa->reloc_store(h, p->image + (r->offset - p->o->low), value, err);
	return rc ? lp_err_context(err, rc, "%s: relocating %s", p->o->path,
				   lp_object_place(p->o, r->offset, place, sizeof place))
		  : 0;
}

static int apply_relocs(const struct placing *p, struct lp_err *err)
{
	struct lp_elf_rela_iter it = {0};
	struct lp_elf_rela r;
	int rc;
	while ((rc = lp_elf_rela_next(p->o->elf, &it, &r, err)) > 0) {
		rc = apply_reloc(p, &r, err);
		if (rc < 0)
			break;
	}
	return rc;
}

int lp_object_link(struct lp_object *o, lp_addr base, struct lp_target *t, uint8_t *image, struct lp_err *err)
{
	struct placing p = {o, base, image};
	if (base % LP_PAGE)
		return lp_fail(err, LP_EINTERNAL, "%s: the base " LP_ADDR " is not page aligned", o->path, base);
	int rc = lp_object_bind_all(o, t, err);
	if (rc < 0)
		return rc;
	memset(image, 0, lp_object_span(o));
	copy_segments(&p);
	rc = apply_relocs(&p, err);
	return rc ? rc : place_stubs(&p, err);
}

/* ---- symbols of the object ---- */

/* Which of the symbols of one name are meant, the better ones first. */
static bool is_exported_default(const struct lp_elf_sym *s)
{
	return s->bind != STB_LOCAL && !s->version_hidden;
}

static bool is_not_local(const struct lp_elf_sym *s)
{
	return s->bind != STB_LOCAL;
}

static bool is_any(const struct lp_elf_sym *s)
{
	return true;
}

static bool (*const preferences[])(const struct lp_elf_sym *s) = {is_exported_default, is_not_local, is_any};

/* Keeps the places of the object: no thread-local variables, nothing outside its segments. */
static void keep_places(const struct lp_object *o, lp_found_vec *found)
{
	size_t kept = 0;
	for (size_t i = 0; i < found->nr; i++) {
		const struct lp_elf_sym *s = &found->items[i].sym;
		if (s->type != STT_TLS && s->shndx != SHN_ABS && lp_object_segment(o, s->value, 0))
			found->items[kept++] = found->items[i];
	}
	found->nr = kept;
}

static int refuse_ambiguous(const struct lp_object *o, const lp_found_vec *found, const char *name, struct lp_err *err)
{
	lp_fail(err, LP_EAMBIGUOUS, "%s has more than one symbol %s:", o->path, name);
	for (size_t i = 0; i < found->nr; i++) {
		const struct lp_elf_sym *s = &found->items[i].sym;
		lp_err_append(err, "\n  %s%s%s at " LP_ADDR, s->file ? s->file : "", s->file ? ":" : "", s->name,
			      s->value);
	}
	return -LP_EAMBIGUOUS;
}

static int choose_symbol(const struct lp_object *o, const lp_found_vec *found, const char *name,
			 const struct lp_elf_sym **out, struct lp_err *err)
{
	for (size_t p = 0; p < LP_ARRAY_SIZE(preferences); p++) {
		size_t nr = 0;
		for (size_t i = 0; i < found->nr; i++)
			if (preferences[p](&found->items[i].sym) && nr++ == 0)
				*out = &found->items[i].sym;
		if (nr == 1)
			return 0;
		if (nr > 1)
			return refuse_ambiguous(o, found, name, err);
	}
	bool stripped = lp_elf_symbol_count(o->elf, LP_SYMTAB) == 0;
	return lp_fail(err, LP_ENOSYM, "%s defines no symbol %s%s", o->path, name,
		       stripped ? " (it is stripped: only exported symbols are known)" : "");
}

static int symbol_address(const struct lp_object *o, lp_addr base, const struct lp_elf_sym *s, lp_addr *out,
			  struct lp_err *err)
{
	*out = base + (s->value - o->low);
	if (s->type != STT_GNU_IFUNC)
		return 0;
	long stub = lp_object_own_stub(o, s->value);
	if (stub < 0)
		return lp_fail(err, LP_EINTERNAL, "%s: IFUNC %s has no stub", o->path, s->name);
	*out = base + stub_offset(o, (uint64_t)stub);
	return 0;
}

int lp_object_symbol(const struct lp_object *o, lp_addr base, const char *name, lp_addr *out, uint64_t *size,
		     struct lp_err *err)
{
	struct lp_symspec spec;
	lp_found_vec found = {0};
	const struct lp_elf_sym *s = NULL;
	int rc = lp_symspec_parse(&spec, name, err);
	if (rc < 0)
		return rc;
	rc = lp_scope_find(&o->self, 1, &spec, &found, err);
	keep_places(o, &found);
	rc = rc ? rc : choose_symbol(o, &found, name, &s, err);
	rc = rc ? rc : symbol_address(o, base, s, out, err);
	if (rc == 0 && size)
		*size = s->type == STT_GNU_IFUNC ? LP_IFUNC_STUB_MAX : s->size;
	lp_vec_free(&found);
	lp_symspec_free(&spec);
	return rc;
}
