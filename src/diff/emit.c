/*
 * The object: docs/format-kpatch.md says what it looks like.  Pieces are laid out first, then every ref is resolved into
 * (section, offset, type, symbol, addend); then sections, symbols and relocations go to the writer in an order that depends on
 * the input alone.
 */
#include "diff/model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "elf/writer.h"
#include "patch/kpatch.h"

#define CODE_ALIGN 16u
#define INFO_SIZE 48u
#define OLD_HEADER 8u
#define OLD_SIZE 32u
#define OLD_NO_THREAD 1u

/* A relocation of the patch, before the writer knows its symbols. */
struct fix {
	uint64_t at;
	uint32_t type;
	int64_t addend;
	struct target target; /* TARGET_PIECE: resolved to (section, at) below */
	uint32_t section;     /* enum out_section of the target, OUT_NONE: origin or import */
	uint64_t value;	      /* in that section */
	bool exact;	      /* a symbol must stand at the very place: its address goes into a GOT slot */
	bool shared;	      /* to a variable that may be another patch's: by its name (is_shared) */
};

typedef LP_VEC(struct fix) fix_vec;

struct made_symbol {
	uint32_t handle, section;
	uint64_t value;
	uint8_t type;
	const char *name;
};

struct out {
	struct lp_diff *d;
	struct lp_buf data[OUT_COUNT];
	uint64_t align[OUT_COUNT];
	fix_vec fixes[OUT_COUNT];
	struct lp_buf hooks, old, meta, sum;
	fix_vec hook_fixes;
	bool *used_sections; /* of the original */
	uint32_t *original_index;
	struct lp_elf_writer *w;
	uint32_t index[OUT_COUNT], section_symbol[OUT_COUNT], hooks_index;
	LP_VEC(struct made_symbol) made;
	struct lp_err *err;
	int rc;
};

static const struct {
	const char *name;
	uint64_t flags;
} out_sections[OUT_COUNT] = {
	[OUT_TEXT] = {".kpatch.text", SHF_ALLOC | SHF_EXECINSTR},
	[OUT_STRTAB] = {".kpatch.strtab", SHF_ALLOC},
	[OUT_RODATA] = {".kpatch.rodata", SHF_ALLOC},
	[OUT_LSDA] = {".kpatch.gcc_except_table", SHF_ALLOC},
	[OUT_EH] = {".kpatch.eh_frame", SHF_ALLOC},
	[OUT_INFO] = {".kpatch.info", SHF_ALLOC},
	[OUT_DATA] = {".kpatch.data", SHF_ALLOC | SHF_WRITE},
};

/* ---- layout ---- */

static int in_source_order(const void *a, const void *b)
{
	const struct piece *x = *(struct piece *const *)a, *y = *(struct piece *const *)b;

	if (x->obj->unit_index != y->obj->unit_index)
		return x->obj->unit_index < y->obj->unit_index ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static enum out_section home_of(const struct piece *p)
{
	switch (p->kind) {
	case PIECE_CODE:
		return OUT_TEXT;
	case PIECE_DATA:
		return OUT_DATA;
	case PIECE_LSDA:
		return OUT_LSDA;
	case PIECE_HOOKS:
		return OUT_NONE;
	default:
		return OUT_RODATA;
	}
}

/* What the piece had where it comes from: of its section, unless it stands at an odd place in there. */
static uint64_t align_of(const struct piece *p)
{
	uint64_t align = p->section ? p->obj->sections[p->section].header->sh_addralign : p->sym->value;

	if (!align || (align & (align - 1)) || align > 4096)
		align = 16;
	while (p->section && align > 1 && (p->start & (align - 1)))
		align /= 2;
	return p->kind == PIECE_CODE && align < CODE_ALIGN ? CODE_ALIGN : align;
}

static uint64_t append(struct out *o, enum out_section s, const void *bytes, uint64_t size, uint64_t align)
{
	struct lp_buf *b = &o->data[s];
	uint64_t at = lp_align_up(b->len, align);

	lp_buf_fill(b, s == OUT_TEXT ? 0xcc : 0, at - b->len);
	if (bytes)
		lp_buf_add(b, bytes, size);
	else
		lp_buf_fill(b, 0, size);
	if (align > o->align[s])
		o->align[s] = align;
	return at;
}

/* What is in a nameless piece is aligned as its section is, wherever in there the piece begins. */
static uint64_t append_piece(struct out *o, const struct piece *p)
{
	enum out_section s = p->out_section;
	uint64_t align = p->section ? p->obj->sections[p->section].header->sh_addralign : 0;

	if (p->sym || !align || (align & (align - 1)) || align > 4096)
		return append(o, s, lp_piece_bytes(p), lp_piece_size(p), align_of(p));
	append(o, s, NULL, (p->start - o->data[s].len) & (align - 1), 1);
	if (align > o->align[s])
		o->align[s] = align;
	return append(o, s, lp_piece_bytes(p), lp_piece_size(p), 1);
}

/* The largest patch: the format counts in 32 bits. */
#define OUT_MAX (UINT64_C(1) << 30)

static bool fits(struct out *o, const struct piece *p)
{
	uint64_t used = o->hooks.len;

	for (int i = 0; i < OUT_COUNT; i++)
		used += o->data[i].len;
	if (used + lp_piece_size(p) <= OUT_MAX)
		return true;
	if (!o->rc)
		o->rc = lp_fail(o->err, EFBIG, "the patch would be larger than 1 GiB with %s", p->name);
	return false;
}

static void place_pieces(struct out *o)
{
	struct lp_diff *d = o->d;

	if (d->included.nr)
		qsort(d->included.items, d->included.nr, sizeof *d->included.items, in_source_order);
	for (size_t i = 0; i < d->included.nr; i++) {
		struct piece *p = d->included.items[i];
		if (!fits(o, p))
			return;
		p->out_section = home_of(p);
		if (p->out_section != OUT_NONE) {
			p->out_at = append_piece(o, p);
		} else {
			p->out_at = o->hooks.len;
			lp_buf_add(&o->hooks, lp_piece_bytes(p), lp_piece_size(p));
		}
	}
}

static int fragment_order(const void *a, const void *b)
{
	const struct fragment *x = a, *y = b;

	if (x->from != y->from)
		return in_source_order(&x->from, &y->from);
	return x->at < y->at ? -1 : x->at > y->at;
}

static const uint8_t *fragment_bytes(const struct fragment *f)
{
	return lp_piece_bytes(f->from) + f->at;
}

/* Equal strings of several units are one. */
static const struct fragment *equal_fragment(const struct lp_diff *d, size_t i)
{
	const struct fragment *f = &d->fragments.items[i];

	for (size_t k = 0; k < i; k++) {
		const struct fragment *g = &d->fragments.items[k];
		if (g->size == f->size && g->align >= f->align &&
		    !memcmp(fragment_bytes(f), fragment_bytes(g), f->size))
			return g;
	}
	return NULL;
}

static void place_fragments(struct out *o)
{
	struct lp_diff *d = o->d;

	if (d->fragments.nr)
		qsort(d->fragments.items, d->fragments.nr, sizeof *d->fragments.items, fragment_order);
	for (size_t i = 0; i < d->fragments.nr; i++) {
		struct fragment *f = &d->fragments.items[i];
		const struct fragment *same = equal_fragment(d, i);
		uint64_t align = f->align && !(f->align & (f->align - 1)) && f->align <= 4096 ? f->align : 1;
		f->out_at = same ? same->out_at : append(o, OUT_RODATA, fragment_bytes(f), f->size, align);
	}
}

/* ---- refs to fixes ---- */

static bool wants_exact_symbol(unsigned formula)
{
	switch (formula) {
	case LP_RELOC_ABS:
	case LP_RELOC_PC:
	case LP_RELOC_PLT:
	case LP_RELOC_PAGEPC:
	case LP_RELOC_GOTREL:
	case LP_RELOC_GOTBASE:
	case LP_RELOC_PLTOFF:
	case LP_RELOC_TPOFF:
	case LP_RELOC_DTPOFF:
		return false;
	default:
		return true;
	}
}

static const struct fragment *fragment_at(const struct lp_diff *d, const struct piece *p, int64_t anchor)
{
	for (size_t i = 0; i < d->fragments.nr; i++)
		if (d->fragments.items[i].from == p && d->fragments.items[i].at == (uint64_t)anchor)
			return &d->fragments.items[i];
	return NULL;
}

static void fail(struct out *o, const char *name, const char *what)
{
	if (!o->rc)
		o->rc = lp_fail(o->err, LP_EINTERNAL, "%s: %s", name, what);
}

static size_t original_section(const struct out *o, const struct origin *g)
{
	const struct lp_elf *e = o->d->in.original;
	size_t at_end = 0;

	for (size_t i = 1; i < lp_elf_section_count(e); i++) {
		const Elf64_Shdr *s = lp_elf_section(e, i);
		if (!(s->sh_flags & SHF_ALLOC) || !(s->sh_flags & SHF_TLS) != (g->type != STT_TLS) ||
		    g->addr < s->sh_addr)
			continue;
		if (g->addr - s->sh_addr < s->sh_size)
			return i;
		if (g->addr - s->sh_addr == s->sh_size)
			at_end = i;
	}
	return at_end;
}

static void aim_at_origin(struct out *o, struct fix *f)
{
	size_t section = original_section(o, &f->target.origin);

	if (!section) {
		fail(o, f->target.origin.name, "is in no section of the original");
		return;
	}
	o->used_sections[section] = true;
	f->value = f->target.origin.addr - lp_elf_section(o->d->in.original, section)->sh_addr;
	f->section = (uint32_t)(OUT_COUNT + section);
}

/* docs/format-kpatch.md, "Symbols": a new weak variable gives way to that of an earlier patch. */
static bool is_shared(const struct piece *p)
{
	return !p->twin && p->out_section == OUT_DATA && p->entries.nr == 1 && p->entries.items[0]->bind == STB_WEAK &&
	       p->entries.items[0]->type == STT_OBJECT && (!p->section || p->entries.items[0]->value == p->start);
}

static void aim_at_patch(struct out *o, const struct ref *r, struct fix *f, int64_t *meant)
{
	struct piece *p = f->target.piece;

	if (f->target.kind == TARGET_FRAGMENT) {
		const struct fragment *g = fragment_at(o->d, p, r->anchor);
		if (!g) {
			fail(o, p->name, "a string was not selected");
			return;
		}
		f->section = OUT_RODATA;
		*meant = (int64_t)g->out_at + f->target.off - r->anchor;
	} else if (!p->included || p->out_section == OUT_NONE) {
		fail(o, p->name, "was not selected");
		return;
	} else {
		f->section = p->out_section;
		f->shared = is_shared(p);
		*meant = (f->shared ? 0 : (int64_t)p->out_at) + f->target.off;
	}
}

/* LibcarePlus passes over relocations that store a distance in the original's thread-local block (docs/format-kpatch.md,
 * "Relocation types"), and the code would reach whatever stands at 0: a linker writes a constant there, and so do we. */
static bool store_tls_constant(struct out *o, const struct fix *f, const struct lp_reloc_howto *h, uint8_t *place)
{
	const Elf64_Phdr *ours = lp_elf_phdr_find(o->d->in.original, PT_TLS);
	const Elf64_Phdr *tls = lp_elf_phdr_find(o->d->target, PT_TLS);
	bool from_thread = h->formula == LP_RELOC_TPOFF && o->d->isa->tp_offset;

	if (f->target.kind != TARGET_ORIGIN || !ours || !tls || (!from_thread && h->formula != LP_RELOC_DTPOFF) ||
	    (tls->p_align & (tls->p_align - 1)))
		return false;
	uint64_t value = f->target.origin.addr - ours->p_vaddr + (uint64_t)f->addend;
	if (from_thread)
		value = (uint64_t)o->d->isa->tp_offset(tls->p_vaddr, tls->p_memsz, tls->p_align, value);
	if (!o->rc)
		o->rc = o->d->isa->reloc_store(h, place, value, o->err);
	return true;
}

/* `bytes` are those that the field stands in: an instruction may be turned into a simpler one. */
static struct fix fix_of(struct out *o, const struct piece *from, const struct ref *r, uint8_t *bytes, uint64_t at)
{
	struct fix f = {.at = at, .target = lp_diff_target_of(o->d, from, r)};
	unsigned formula = r->howto->formula;
	bool ours = f.target.kind == TARGET_PIECE || f.target.kind == TARGET_FRAGMENT;
	bool near = ours || (f.target.kind == TARGET_ORIGIN && f.target.origin.type != STT_GNU_IFUNC &&
			     f.target.origin.type != STT_TLS);
	bool ifunc = f.target.kind == TARGET_ORIGIN && f.target.origin.type == STT_GNU_IFUNC;
	int64_t meant = f.target.off;

	f.type = ifunc ? r->howto->type : o->d->isa->relax(r->howto->type, bytes, at, r->addend, near);
	f.exact = wants_exact_symbol(formula) && f.type == r->howto->type;
	if (ours)
		aim_at_patch(o, r, &f, &meant);
	else if (f.target.kind == TARGET_ORIGIN)
		aim_at_origin(o, &f);
	else if (f.target.kind == TARGET_NONE)
		fail(o, from->name, "refers to what was refused");
	if (f.exact && f.section != OUT_NONE && !f.shared) {
		f.value += (uint64_t)meant;
		f.addend = -r->bias;
	} else {
		f.addend = meant - r->bias;
	}
	if (store_tls_constant(o, &f, r->howto, bytes + at))
		f.type = 0;
	return f;
}

static void push_fix(fix_vec *to, struct fix f)
{
	if (f.type) /* otherwise the bytes say it all */
		lp_vec_push(to, f);
}

static void fix_piece(struct out *o, struct piece *p)
{
	bool hooks = p->out_section == OUT_NONE;
	uint8_t *bytes = hooks ? o->hooks.data : o->data[p->out_section].data;
	fix_vec *to = hooks ? &o->hook_fixes : &o->fixes[p->out_section];

	for (size_t i = 0; i < p->refs.nr; i++) {
		push_fix(to, fix_of(o, p, &p->refs.items[i], bytes, p->out_at + p->refs.items[i].at));
	}
}

static void fix_pieces(struct out *o)
{
	for (size_t i = 0; i < o->d->included.nr; i++)
		fix_piece(o, o->d->included.items[i]);
}

/* ---- unwind tables ---- */

struct placed_cie {
	const struct object *obj;
	uint64_t from, at;
};

struct unwinding {
	LP_VEC(struct placed_cie) cies;
};

static uint64_t copy_entry(struct out *o, struct object *obj, const struct unwind_entry *e)
{
	struct piece *u = obj->unwind;
	uint64_t at = append(o, OUT_EH, lp_piece_bytes(u) + e->at, e->size, 4);

	for (size_t i = 0; i < u->refs.nr; i++) {
		const struct ref *r = &u->refs.items[i];
		if (r->at < e->at || r->at >= e->at + e->size)
			continue;
		push_fix(&o->fixes[OUT_EH], fix_of(o, u, r, o->data[OUT_EH].data, at + r->at - e->at));
	}
	return at;
}

static uint64_t cie_for(struct out *o, struct unwinding *u, struct object *obj, const struct unwind_entry *cie)
{
	for (size_t i = 0; i < u->cies.nr; i++)
		if (u->cies.items[i].obj == obj && u->cies.items[i].from == cie->at)
			return u->cies.items[i].at;
	struct placed_cie p = {obj, cie->at, copy_entry(o, obj, cie)};
	lp_vec_push(&u->cies, p);
	return p.at;
}

static void put_entry(struct out *o, struct unwinding *u, struct object *obj, const struct unwind_entry *e)
{
	const struct unwind_entry *cie = e->piece && e->piece->included ? lp_diff_unwind_entry(obj, e->cie) : NULL;

	if (!cie || cie->piece)
		return;
	uint64_t cie_at = cie_for(o, u, obj, cie);
	uint64_t at = copy_entry(o, obj, e);
	lp_put32(o->data[OUT_EH].data + at + 4, (uint32_t)(at + 4 - cie_at));
}

/* Gaps between entries would read as the end: their sizes are multiples of 4, and so is their alignment. */
static void put_unwind(struct out *o)
{
	struct unwinding u = {0};

	for (size_t i = 0; i < o->d->units.nr; i++) {
		struct object *obj = o->d->units.items[i].after;
		for (size_t k = 0; obj && k < obj->unwind_entries.nr; k++)
			put_entry(o, &u, obj, &obj->unwind_entries.items[k]);
	}
	if (o->data[OUT_EH].len)
		lp_buf_fill(&o->data[OUT_EH], 0, 4);
	lp_vec_free(&u.cies);
}

/* ---- records ---- */

static void add_fix(struct out *o, enum out_section in, uint64_t at, struct target t, uint32_t section, uint64_t value)
{
	struct fix f = {
		.at = at,
		.type = o->d->isa->reloc_abs64,
		.target = t,
		.section = section,
		.addend = (int64_t)value,
	};

	if (t.kind == TARGET_ORIGIN) {
		aim_at_origin(o, &f);
		f.addend = 0;
	}
	lp_vec_push(&o->fixes[in], f);
}

static void put_record(struct out *o, const struct origin *origin, uint64_t at, uint64_t size, const char *name)
{
	uint8_t record[INFO_SIZE] = {0};
	uint64_t place, text = append(o, OUT_STRTAB, name, strlen(name) + 1, 1);

	if (origin) {
		lp_put32(record + 16, (uint32_t)origin->size);
		lp_put64(record + 32, origin->addr);
	}
	lp_put32(record + 20, (uint32_t)size);
	place = append(o, OUT_INFO, record, sizeof record, 8);
	if (origin)
		add_fix(o, OUT_INFO, place, (struct target){.kind = TARGET_ORIGIN, .origin = *origin}, 0, 0);
	add_fix(o, OUT_INFO, place + 8, (struct target){.kind = TARGET_PIECE}, OUT_TEXT, at);
	add_fix(o, OUT_INFO, place + 24, (struct target){.kind = TARGET_PIECE}, OUT_STRTAB, text);
}

static int replacement_order(const void *a, const void *b)
{
	const struct replacement *x = a, *y = b;

	if (x->piece != y->piece)
		return in_source_order(&x->piece, &y->piece);
	if (x->entry->value != y->entry->value)
		return x->entry->value < y->entry->value ? -1 : 1;
	return x->origin.addr < y->origin.addr ? -1 : x->origin.addr > y->origin.addr;
}

static uint64_t size_from(const struct piece *p, const struct symbol *s)
{
	return s->size ? s->size : p->end - s->value;
}

static bool is_replaced(const struct lp_diff *d, const struct piece *p)
{
	for (size_t i = 0; i < d->replaced.nr; i++)
		if (d->replaced.items[i].piece == p)
			return true;
	return false;
}

static void put_records(struct out *o)
{
	struct lp_diff *d = o->d;

	if (d->replaced.nr)
		qsort(d->replaced.items, d->replaced.nr, sizeof *d->replaced.items, replacement_order);
	for (size_t i = 0; i < d->replaced.nr; i++) {
		const struct replacement *r = &d->replaced.items[i];
		put_record(o, &r->origin, r->piece->out_at + r->entry->value - r->piece->start,
			   size_from(r->piece, r->entry), r->entry->name);
	}
	for (size_t i = 0; i < d->included.nr; i++) {
		const struct piece *p = d->included.items[i];
		if (p->kind == PIECE_CODE && !is_replaced(d, p))
			put_record(o, NULL, p->out_at, lp_piece_size(p), p->name);
	}
	append(o, OUT_INFO, NULL, INFO_SIZE, 8);
}

/* ---- what the original must look like ---- */

struct old_entry {
	uint64_t addr;
	uint32_t size, flags, record;
	const char *name;
};

typedef LP_VEC(struct old_entry) old_vec;

/* Separate parts of replaced functions: nobody may be in there either. */
static void add_parts(struct out *o, const struct replacement *r, uint32_t record, old_vec *v)
{
	const struct piece *twin = r->before;

	for (size_t i = 0; i < twin->obj->pieces.nr; i++) {
		const struct piece *p = twin->obj->pieces.items[i];
		struct origin g;
		if (p->parent != twin || lp_diff_origin_of(o->d, p, NULL, &g) != ORIGIN_FOUND)
			continue;
		lp_vec_push(v,
			    ((struct old_entry){g.addr, (uint32_t)lp_piece_size(p), OLD_NO_THREAD, record, p->name}));
	}
}

/* Words that the loader relocates inside of code: text relocations, rare but lawful. */
static uint32_t put_ignored(struct out *o, const struct old_entry *e, struct lp_buf *blob)
{
	struct lp_elf_rela_iter it = {0};
	struct lp_elf_rela r;
	uint64_t textrel, flags = 0;
	uint32_t nr = 0;

	lp_elf_dynamic(o->d->target, DT_FLAGS, &flags);
	if (!(flags & DF_TEXTREL) && !lp_elf_dynamic(o->d->target, DT_TEXTREL, &textrel))
		return 0;
	while (lp_elf_rela_next(o->d->target, &it, &r, NULL) > 0) {
		const struct lp_reloc_howto *h = o->d->isa->howto(r.type);
		if (!h || r.offset < e->addr || r.offset - e->addr >= e->size)
			continue;
		uint32_t pair[2] = {(uint32_t)(r.offset - e->addr), h->width};
		lp_buf_add(blob, pair, sizeof pair);
		nr++;
	}
	return nr;
}

static void put_old_entry(struct out *o, const struct old_entry *e, size_t base, struct lp_buf *blob)
{
	const uint8_t *bytes = lp_elf_bytes_at_vaddr(o->d->target, e->addr, e->size);
	uint8_t raw[OLD_SIZE] = {0};

	if (!bytes) {
		fail(o, e->name, "has no bytes in the target");
		return;
	}
	lp_put64(raw, e->addr);
	lp_put32(raw + 8, e->size);
	lp_put32(raw + 12, e->flags);
	lp_put32(raw + 16, (uint32_t)(base + blob->len));
	lp_buf_add(blob, bytes, e->size);
	lp_buf_fill(blob, 0, lp_align_up(blob->len, 8) - blob->len);
	lp_put32(raw + 20, (uint32_t)(base + blob->len));
	lp_put32(raw + 24, put_ignored(o, e, blob));
	lp_put32(raw + 28, e->record);
	lp_buf_add(&o->old, raw, sizeof raw);
}

static void put_old(struct out *o)
{
	old_vec v = {0};
	struct lp_buf blob = {0};
	uint8_t header[OLD_HEADER];

	for (uint32_t i = 0; i < o->d->replaced.nr; i++) {
		const struct replacement *r = &o->d->replaced.items[i];
		lp_vec_push(&v, ((struct old_entry){r->origin.addr, (uint32_t)r->origin.size, 0, i, r->origin.name}));
		add_parts(o, r, i, &v);
	}
	lp_put32(header, 1);
	lp_put32(header + 4, (uint32_t)v.nr);
	lp_buf_add(&o->old, header, sizeof header);
	for (size_t i = 0; i < v.nr; i++)
		put_old_entry(o, &v.items[i], OLD_HEADER + v.nr * OLD_SIZE, &blob);
	if (blob.len)
		lp_buf_add(&o->old, blob.data, blob.len);
	lp_buf_free(&blob);
	lp_vec_free(&v);
}

/* ---- to the writer ---- */

static void write_originals(struct out *o)
{
	const struct lp_elf *e = o->d->in.original;

	for (size_t i = 1; i < lp_elf_section_count(e); i++) {
		const Elf64_Shdr *s = lp_elf_section(e, i);
		if (!o->used_sections[i])
			continue;
		o->original_index[i] = lp_elf_writer_section(o->w, &(struct lp_elf_section){
									   .name = lp_elf_section_name(e, s),
									   .type = SHT_NOBITS,
									   .flags = s->sh_flags,
									   .addr = s->sh_addr,
									   .align = s->sh_addralign,
									   .size = s->sh_size,
								   });
	}
}

static void write_sections(struct out *o)
{
	for (int i = OUT_NONE + 1; i < OUT_COUNT; i++) {
		if (!o->data[i].len)
			continue;
		o->index[i] = lp_elf_writer_section(o->w, &(struct lp_elf_section){
								  .name = out_sections[i].name,
								  .type = SHT_PROGBITS,
								  .flags = out_sections[i].flags,
								  .align = i == OUT_DATA ? 4096 : o->align[i],
								  .data = o->data[i].data,
								  .size = o->data[i].len,
							  });
	}
}

static uint32_t write_extra(struct out *o, const char *name, const struct lp_buf *data)
{
	if (!data->len)
		return 0;
	return lp_elf_writer_section(o->w, &(struct lp_elf_section){
						   .name = name,
						   .type = SHT_PROGBITS,
						   .align = 8,
						   .data = data->data,
						   .size = data->len,
					   });
}

static uint8_t symbol_type(const struct piece *p, const struct symbol *s)
{
	if (s->type == STT_NOTYPE)
		return p->kind == PIECE_CODE ? STT_FUNC : STT_OBJECT;
	return s->type;
}

static uint32_t made_symbol(struct out *o, const struct lp_elf_symbol *s)
{
	for (size_t i = 0; i < o->made.nr; i++) {
		const struct made_symbol *m = &o->made.items[i];
		if (m->section == s->shndx && m->value == s->value && m->type == s->type && !strcmp(m->name, s->name))
			return m->handle;
	}
	uint32_t handle = lp_elf_writer_symbol(o->w, s);
	lp_vec_push(&o->made, ((struct made_symbol){handle, s->shndx, s->value, s->type, s->name}));
	return handle;
}

static uint32_t shared_symbol(struct out *o, const struct piece *p)
{
	return made_symbol(o, &(struct lp_elf_symbol){
				      .name = p->entries.items[0]->name,
				      .bind = STB_WEAK,
				      .type = STT_OBJECT,
				      .shndx = o->index[p->out_section],
				      .value = p->out_at,
				      .size = p->entries.items[0]->size,
			      });
}

/* For debuggers and profilers; and new globals for later patches. */
static void write_names(struct out *o, const struct piece *p)
{
	if (p->out_section == OUT_NONE)
		return;
	if (is_shared(p)) {
		shared_symbol(o, p);
		return;
	}
	for (size_t i = 0; i < p->entries.nr; i++) {
		const struct symbol *s = p->entries.items[i];
		bool is_new = !p->twin && s->bind != STB_LOCAL && !p->by_content;
		lp_elf_writer_symbol(o->w, &(struct lp_elf_symbol){
						   .name = s->name,
						   .bind = is_new ? STB_GLOBAL : STB_LOCAL,
						   .type = symbol_type(p, s),
						   .shndx = o->index[p->out_section],
						   .value = p->out_at + s->value - (p->section ? p->start : s->value),
						   .size = s->size,
					   });
	}
}

static void write_symbols(struct out *o)
{
	for (int i = OUT_NONE + 1; i < OUT_COUNT; i++)
		if (o->index[i])
			o->section_symbol[i] = lp_elf_writer_symbol(
				o->w, &(struct lp_elf_symbol){.type = STT_SECTION, .shndx = o->index[i]});
	for (size_t i = 0; i < o->d->included.nr; i++)
		write_names(o, o->d->included.items[i]);
}

static const char *versioned(struct out *o, const struct target *t)
{
	return t->version ? lp_diff_keep(o->d, lp_sprintf("%s@%s", t->name, t->version)) : t->name;
}

static uint32_t symbol_for(struct out *o, const struct fix *f)
{
	const struct target *t = &f->target;

	if (t->kind == TARGET_IMPORT)
		return made_symbol(o, &(struct lp_elf_symbol){
					      .name = versioned(o, t),
					      .bind = t->weak ? STB_WEAK : STB_GLOBAL,
					      .type = t->type,
				      });
	if (t->kind == TARGET_ORIGIN)
		return made_symbol(o, &(struct lp_elf_symbol){
					      .name = t->origin.name,
					      .type = t->origin.type,
					      .shndx = o->original_index[f->section - OUT_COUNT],
					      .value = f->value,
					      .size = t->origin.size,
				      });
	if (f->shared)
		return shared_symbol(o, t->piece);
	if (!f->exact)
		return o->section_symbol[f->section];
	return made_symbol(o, &(struct lp_elf_symbol){
				      .name = t->piece->name,
				      .type = t->piece->kind == PIECE_CODE ? STT_FUNC : STT_OBJECT,
				      .shndx = o->index[f->section],
				      .value = f->value,
			      });
}

static int by_place(const void *a, const void *b)
{
	const struct fix *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

static void write_fixes(struct out *o, uint32_t section, fix_vec *v)
{
	if (v->nr)
		qsort(v->items, v->nr, sizeof *v->items, by_place);
	for (size_t i = 0; section && i < v->nr; i++) {
		const struct fix *f = &v->items[i];
		lp_elf_writer_rela(o->w, section,
				   &(struct lp_elf_place_rela){
					   .offset = f->at,
					   .type = f->type,
					   .symbol = symbol_for(o, f),
					   .addend = f->addend,
				   });
	}
}

static int write_out(struct out *o, struct lp_buf *out)
{
	o->w = lp_elf_writer_new(o->d->isa->elf_machine);
	write_originals(o);
	write_sections(o);
	write_extra(o, ".livepatch.meta", &o->meta);
	write_extra(o, ".livepatch.old", &o->old);
	write_extra(o, LP_KPATCH_SUM, &o->sum);
	o->hooks_index = write_extra(o, ".livepatch.hooks", &o->hooks);
	write_symbols(o);
	for (int i = OUT_NONE + 1; i < OUT_COUNT; i++)
		write_fixes(o, o->index[i], &o->fixes[i]);
	write_fixes(o, o->hooks_index, &o->hook_fixes);
	int rc = lp_elf_writer_finish(o->w, out, o->err);
	lp_elf_writer_free(o->w);
	return rc;
}

static void free_out(struct out *o)
{
	for (int i = 0; i < OUT_COUNT; i++) {
		lp_buf_free(&o->data[i]);
		lp_vec_free(&o->fixes[i]);
	}
	lp_buf_free(&o->hooks);
	lp_buf_free(&o->old);
	lp_buf_free(&o->meta);
	lp_buf_free(&o->sum);
	lp_vec_free(&o->hook_fixes);
	lp_vec_free(&o->made);
	lp_free(o->used_sections);
	lp_free(o->original_index);
}

int lp_diff_emit(struct lp_diff *d, struct lp_buf *elf_out, struct lp_err *err)
{
	size_t nr = lp_elf_section_count(d->in.original) + 1;
	struct out o = {.d = d, .err = err};

	if (d->refusals.nr)
		return lp_diff_refused(d, err);
	if (!d->included.nr)
		return lp_fail(err, LP_EDIFF, "nothing of %s changed", lp_elf_name(d->in.original));
	o.used_sections = lp_alloc(nr * sizeof *o.used_sections);
	o.original_index = lp_alloc(nr * sizeof *o.original_index);
	place_pieces(&o);
	if (!o.rc) {
		place_fragments(&o);
		fix_pieces(&o);
		put_unwind(&o);
		put_records(&o);
		put_old(&o);
		lp_diff_meta(d, &o.meta);
		lp_buf_fill(&o.sum, 0, LP_KPATCH_SUM_SIZE);
	}
	if (!o.rc)
		o.rc = write_out(&o, elf_out);
	free_out(&o);
	return o.rc;
}
