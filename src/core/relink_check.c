/*
 * What shows that a .kpatch object is not what its maker wrote, once everything in it has its address: the things that are said
 * twice must agree.  A file with a checksum was found sound before (patch/kpatch_sum.c); those of other tools have none, and one
 * flipped bit in an addend sends a jump into the middle of a function.
 *
 * Records: the original begins where .livepatch.old and the record's own vaddr say, or else where a function of the image
 * begins; the replacement begins where no function of the patch goes on.
 *
 * Addends: code lies in the section that is named, data not far from it, and functions of others are called at their start.
 *
 * Unwind tables (LSB Core, 10.6.1): the run-time library of the target reads them when it throws, and believes every word.
 * Entries of a length and an id; id 0 is a CIE, anything else a function's FDE, whose id is the distance back to its CIE.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "core/functions.h"
#include "core/relink_private.h"

/* A function that the patch brings, by its symbol. */
struct own {
	lp_addr start, end;
	uint32_t sym;
	size_t reaching; /* index of the one that ends last, of it and all before it */
};

struct check {
	const struct lp_relink *r;
	lp_addr base;
	const uint8_t *image;
	LP_VEC(struct own) own;		   /* by address */
	const struct lp_kpatch_old **olds; /* per record; NULL = nothing is said of it */
};

/* ---- functions of the patch ---- */

static int by_start(const void *a, const void *b)
{
	const lp_addr *x = a, *y = b; /* the first member */
	return (*x > *y) - (*x < *y);
}

static void note_own(struct check *c, uint32_t sym)
{
	struct lp_elf_sym s;
	if (!lp_elf_symbol(c->r->k->elf, LP_SYMTAB, sym, &s) || s.type != STT_FUNC ||
	    s.shndx >= c->r->body->nr_sections || !lp_kpatch_is_own_section(c->r->k, s.shndx))
		return;
	uint64_t size = lp_elf_section(c->r->k->elf, s.shndx)->sh_size;
	lp_addr start = c->base + c->r->body->places[s.shndx] + s.value;
	if (s.value <= size && s.size <= size - s.value)
		lp_vec_push(&c->own, ((struct own){.start = start, .end = start + s.size, .sym = sym}));
}

static void find_own(struct check *c)
{
	for (size_t i = 1; i < c->r->body->nr_symbols; i++)
		note_own(c, (uint32_t)i);
	if (c->own.nr)
		qsort(c->own.items, c->own.nr, sizeof *c->own.items, by_start);
	for (size_t i = 0; i < c->own.nr; i++) {
		size_t before = i ? c->own.items[i - 1].reaching : i;
		c->own.items[i].reaching = c->own.items[before].end > c->own.items[i].end ? before : i;
	}
}

/* The function that goes on at an address where none begins; NULL = there is none, as far as they have names. */
static const struct own *interrupted(const struct check *c, lp_addr at)
{
	size_t lo = 0, hi = c->own.nr;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (c->own.items[mid].start <= at)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo || c->own.items[lo - 1].start == at)
		return NULL;
	const struct own *f = &c->own.items[c->own.items[lo - 1].reaching];
	return f->end > at ? f : NULL;
}

static int check_start(const struct check *c, lp_addr at, const char *what, size_t i, struct lp_err *err)
{
	char name[256];
	const struct own *f = interrupted(c, at);
	return f ? lp_fail(err, LP_EKPATCH, "%s is damaged: %s %zu leads into the middle of %s", c->r->k->path, what, i,
			   lp_relink_symbol_name(c->r, f->sym, name, sizeof name))
		 : 0;
}

/* ---- records ---- */

/* The last entry about a record that is not only about a part of it. */
static void find_olds(struct check *c)
{
	c->olds = lp_alloc((c->r->k->nr_records + 1) * sizeof *c->olds);
	for (size_t i = 0; i < c->r->k->olds.nr; i++) {
		const struct lp_kpatch_old *o = &c->r->k->olds.items[i];
		if (o->record < c->r->k->nr_records && !(o->flags & LP_KPATCH_OLD_WATCH))
			c->olds[o->record] = o;
	}
}

static int refuse_original(const struct lp_relink *r, const struct lp_relink_function *f, const char *says,
			   uint64_t vaddr, struct lp_err *err)
{
	return lp_fail(err, LP_EKPATCH,
		       "%s is damaged: record %u of .kpatch.info replaces %s at 0x%" PRIx64
		       " of the original, and %s says 0x%" PRIx64,
		       r->k->path, f->record, f->name, f->old_body.start - r->bias, says, vaddr);
}

/* Nobody has said what must be there: then at least a function. */
static int check_is_function(const struct lp_relink *r, const struct lp_relink_function *f, struct lp_err *err)
{
	struct lp_range is;
	struct lp_found symbol;
	if (!lp_function_around(r->t, f->old_body.start, &is))
		return 0;
	bool begins = is.start == f->old_body.start ||
		      (lp_target_symbol_at(r->t, f->old_body.start, &symbol) && symbol.addr == f->old_body.start);
	if (begins && f->old_body.end <= is.end)
		return 0;
	return lp_fail(
		err, LP_EKPATCH,
		"%s was made for another program, or is damaged: record %u of .kpatch.info replaces %s at " LP_ADDR
		"-" LP_ADDR ", and the function there is " LP_ADDR "-" LP_ADDR,
		r->k->path, f->record, f->name, f->old_body.start, f->old_body.end, is.start, is.end);
}

static int check_original(const struct check *c, const struct lp_relink_function *f, struct lp_err *err)
{
	struct lp_kpatch_record rec;
	const struct lp_relink *r = c->r;
	const struct lp_kpatch_old *old = c->olds[f->record];
	lp_kpatch_record_decode(c->image + r->body->places[r->k->info] + f->record * LP_KPATCH_RECORD_SIZE, &rec);
	if (f->old_body.start == f->old_body.end)
		return 0;
	if (rec.vaddr && r->bias + rec.vaddr != f->old_body.start)
		return refuse_original(r, f, "the record itself", rec.vaddr, err);
	if (!old)
		return check_is_function(r, f, err);
	return r->bias + old->vaddr == f->old_body.start ? 0 : refuse_original(r, f, ".livepatch.old", old->vaddr, err);
}

static int check_records(const struct check *c, struct lp_err *err)
{
	const struct lp_relink *r = c->r;
	int rc = 0;
	for (size_t i = 0; i < r->functions.nr && rc == 0; i++) {
		const struct lp_relink_function *f = &r->functions.items[i];
		rc = check_original(c, f, err);
		rc = rc ? rc : check_start(c, f->new_body.start, "the replacement of record", f->record, err);
	}
	for (size_t i = 0; i < r->hooks.nr && rc == 0; i++)
		rc = check_start(c, r->hooks.items[i].function, "hook", i, err);
	return rc;
}

/* ---- what code refers to ---- */

#define BEFORE 16 /* a displacement counts from behind its instruction */
/* How far outside of an array compilers let an address lie that is the base of what is in it. */
#define FAR (INT64_C(16) << 20)

static bool is_code(const struct lp_relink *r, size_t section)
{
	const Elf64_Shdr *s = lp_elf_section(r->k->elf, section);
	return s && (s->sh_flags & SHF_ALLOC) && (s->sh_flags & SHF_EXECINSTR);
}

/* Distances that stand in data are relative to something else. */
static bool is_address(const struct lp_relink *r, const struct lp_kpatch_rela *rela, bool *relative)
{
	const struct lp_reloc_howto *h = r->t->isa->howto(rela->type);
	*relative = h && (h->formula == LP_RELOC_PC || h->formula == LP_RELOC_PLT);
	return *relative ? is_code(r, rela->section) : h && h->formula == LP_RELOC_ABS;
}

/* Past all of the code in a section, or far from a section of data?  Of a function of somebody else only the start is known. */
static bool aims_outside(const struct lp_relink *r, const struct lp_kpatch_rela *rela, const struct lp_elf_sym *s)
{
	bool relative, code = is_code(r, s->shndx);
	const Elf64_Shdr *section = s->shndx == SHN_UNDEF ? NULL : lp_elf_section(r->k->elf, s->shndx);
	int64_t to;
	if (!is_address(r, rela, &relative))
		return false;
	if (!section)
		return s->shndx == SHN_UNDEF && s->type == STT_FUNC && rela->addend != 0 && rela->addend != -4;
	if (__builtin_add_overflow((int64_t)s->value, rela->addend, &to))
		return true;
	int64_t before = !code ? FAR : relative ? BEFORE : 0, behind = code ? 0 : FAR;
	return to < -before || (to > behind && (uint64_t)(to - behind) > section->sh_size);
}

static int check_aims(const struct lp_relink *r, struct lp_err *err)
{
	struct lp_kpatch_rela_iter it = {0};
	struct lp_kpatch_rela rela;
	struct lp_elf_sym s;
	char name[256];
	while (lp_kpatch_rela_next(r->k, &it, &rela))
		if (lp_kpatch_is_own_section(r->k, rela.section) && rela.sym &&
		    lp_elf_symbol(r->k->elf, LP_SYMTAB, rela.sym, &s) && aims_outside(r, &rela, &s))
			return lp_fail(err, LP_EKPATCH,
				       "%s is damaged: %s+0x%" PRIx64 " refers to a place outside of %s", r->k->path,
				       lp_elf_section_name(r->k->elf, lp_elf_section(r->k->elf, rela.section)),
				       rela.offset, lp_relink_symbol_name(r, rela.sym, name, sizeof name));
	return 0;
}

/* ---- unwind tables ---- */

#define EH_OMIT 0xffu
#define EH_INDIRECT 0x80u
#define EH_PCREL 0x10u
#define EH_WHERE 0x70u
#define EH_FORM 0x0fu

struct cie {
	uint64_t at; /* ascending */
	uint8_t code, lsda;
	bool has_data; /* 'z' */
};

struct tables {
	const uint8_t *bytes;
	uint64_t len;
	lp_addr at;
	struct lp_range code, room, image;
	LP_VEC(struct cie) cies;
	LP_VEC(struct lp_range) functions; /* that entries are about */
	const char *wrong;		   /* the first thing */
};

struct reader {
	struct tables *t;
	uint64_t at, end; /* of the entry */
};

static void complain(struct tables *t, const char *what)
{
	if (!t->wrong)
		t->wrong = what;
}

static uint64_t take(struct reader *r, unsigned width)
{
	uint64_t v = 0;
	if (r->end - r->at < width) {
		complain(r->t, "an entry is too short");
		r->at = r->end;
		return 0;
	}
	memcpy(&v, r->t->bytes + r->at, width);
	r->at += width;
	return v;
}

static uint64_t take_uleb(struct reader *r)
{
	uint64_t v = 0;
	for (unsigned shift = 0; !r->t->wrong; shift += 7) {
		uint8_t b = (uint8_t)take(r, 1);
		v |= shift < 64 ? (uint64_t)(b & 0x7f) << shift : 0;
		if (!(b & 0x80))
			break;
	}
	return v;
}

static unsigned width_of(uint8_t encoding)
{
	static const uint8_t widths[16] = {[0x0] = 8, [0x2] = 2, [0x3] = 4, [0x4] = 8, [0xa] = 2, [0xb] = 4, [0xc] = 8};
	return widths[encoding & EH_FORM];
}

static uint64_t take_form(struct reader *r, uint8_t encoding)
{
	unsigned width = width_of(encoding);
	if (!width) {
		complain(r->t, "a pointer is encoded in an unknown way");
		return 0;
	}
	uint64_t v = take(r, width);
	bool is_signed = encoding & 0x08;
	if (is_signed && width < 8)
		v = (uint64_t)((int64_t)(v << (64 - 8 * width)) >> (64 - 8 * width));
	return v;
}

/* 0 = there is none. */
static lp_addr take_pointer(struct reader *r, uint8_t encoding)
{
	lp_addr here = r->t->at + r->at;
	uint8_t where = encoding & EH_WHERE;
	if (where && where != EH_PCREL)
		complain(r->t, "a pointer is encoded in an unknown way");
	uint64_t v = take_form(r, encoding);
	return v && where == EH_PCREL ? here + v : v;
}

static void check_personality(struct reader *r, uint8_t encoding)
{
	lp_addr at = take_pointer(r, encoding);
	bool reached = lp_range_has(r->t->room, at) || lp_range_has(r->t->image, at);
	if (!at || ((encoding & EH_INDIRECT) && !reached))
		complain(r->t, "a personality function is reached through memory of somebody else");
}

static void read_augmentation(struct reader *r, struct cie *c, const char *letters)
{
	uint64_t len = take_uleb(r), begin = r->at;
	if (len > r->end - begin) {
		complain(r->t, "an entry is too short");
		return;
	}
	for (const char *l = letters + 1; *l && !r->t->wrong; l++) {
		if (*l == 'R')
			c->code = (uint8_t)take(r, 1);
		else if (*l == 'L')
			c->lsda = (uint8_t)take(r, 1);
		else if (*l == 'P')
			check_personality(r, (uint8_t)take(r, 1));
		else if (!strchr("SBG", *l))
			complain(r->t, "an entry is of an unknown kind");
	}
	if (r->at - begin != len)
		complain(r->t, "an entry has another length than it says");
}

static void read_cie(struct reader *r, uint64_t at)
{
	struct cie c = {.at = at, .lsda = EH_OMIT};
	uint8_t version = (uint8_t)take(r, 1);
	const char *letters = (const char *)r->t->bytes + r->at;
	const void *nul = memchr(letters, 0, r->end - r->at);
	if ((version != 1 && version != 3) || !nul) {
		complain(r->t, "an entry is of an unknown version");
		return;
	}
	r->at += strlen(letters) + 1;
	take_uleb(r); /* code alignment */
	take_uleb(r); /* data alignment: signed, and as long */
	if (version == 1)
		take(r, 1);
	else
		take_uleb(r);
	c.has_data = letters[0] == 'z';
	if (c.has_data)
		read_augmentation(r, &c, letters);
	else if (letters[0])
		complain(r->t, "an entry is of an unknown kind");
	lp_vec_push(&r->t->cies, c);
}

static void read_fde(struct reader *r, uint64_t at, uint32_t back)
{
	uint64_t key = at + 4 - back;
	const struct cie *c =
		r->t->cies.nr ? bsearch(&key, r->t->cies.items, r->t->cies.nr, sizeof *c, by_start) : NULL;
	if (!c) {
		complain(r->t, "an entry belongs to none that is there");
		return;
	}
	lp_addr start = take_pointer(r, c->code);
	uint64_t len = take_form(r, c->code & EH_FORM & ~0x08u);
	if (!lp_range_has(r->t->code, start) || len > r->t->code.end - start)
		complain(r->t, "an entry is about code that is not the patch's");
	else if (len)
		lp_vec_push(&r->t->functions, ((struct lp_range){start, start + len}));
	uint64_t data = c->has_data ? take_uleb(r) : 0;
	if (data > r->end - r->at)
		complain(r->t, "an entry is too short");
	else if (c->lsda != EH_OMIT && data) {
		lp_addr lsda = take_pointer(r, c->lsda);
		if (lsda && !lp_range_has(r->t->room, lsda))
			complain(r->t, "an exception table is not in the patch");
	}
}

/* True when another entry follows. */
static bool read_entry(struct tables *t, uint64_t *at)
{
	struct reader r = {t, *at, t->len};
	uint32_t len = (uint32_t)take(&r, 4);
	if (t->wrong || !len)
		return false;
	if (len == UINT32_MAX || len < 4 || len > t->len - r.at) {
		complain(t, "an entry reaches behind the end");
		return false;
	}
	r.end = r.at + len;
	uint32_t id = (uint32_t)take(&r, 4);
	if (id)
		read_fde(&r, *at, id);
	else
		read_cie(&r, *at);
	*at = r.end;
	return !t->wrong;
}

/* The library takes the first that it finds. */
static void check_overlaps(struct tables *t)
{
	if (t->functions.nr)
		qsort(t->functions.items, t->functions.nr, sizeof *t->functions.items, by_start);
	for (size_t i = 1; i < t->functions.nr; i++)
		if (t->functions.items[i].start < t->functions.items[i - 1].end)
			complain(t, "two entries are about the same code");
}

/* Entries begin where functions do, as far as these have names. */
static int check_starts(const struct check *c, const struct tables *t, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < t->functions.nr && rc == 0; i++)
		rc = check_start(c, t->functions.items[i].start, "in .kpatch.eh_frame the entry of function", i, err);
	return rc;
}

static int check_frames(const struct check *c, struct lp_err *err)
{
	const struct lp_relink *r = c->r;
	struct lp_range frames = r->eh_frame;
	if (frames.start == frames.end)
		return 0;
	struct tables t = {.bytes = c->image + (frames.start - c->base),
			   .len = frames.end - frames.start,
			   .at = frames.start,
			   .code = {c->base, c->base + r->body->islands_at},
			   .room = {c->base, c->base + r->body->end},
			   .image = lp_relink_near(r)};
	uint64_t at = 0;
	while (read_entry(&t, &at))
		;
	check_overlaps(&t);
	int rc = t.wrong ? lp_fail(err, LP_EKPATCH, "%s: .kpatch.eh_frame+0x%" PRIx64 ": %s", r->k->path, at, t.wrong)
			 : check_starts(c, &t, err);
	lp_vec_free(&t.cies);
	lp_vec_free(&t.functions);
	return rc;
}

int lp_relink_check(const struct lp_relink *r, lp_addr base, const uint8_t *image, struct lp_err *err)
{
	struct check c = {.r = r, .base = base, .image = image};
	find_own(&c);
	find_olds(&c);
	int rc = check_records(&c, err);
	rc = rc ? rc : check_aims(r, err);
	rc = rc ? rc : check_frames(&c, err);
	lp_vec_free(&c.own);
	lp_free(c.olds);
	return rc;
}
