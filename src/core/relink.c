/*
 * Placing a .kpatch object: layout, relocation, what is in it.
 *
 * Layout of the room, offsets from the base, each part page aligned:
 *
 *     code, r-x        the own sections that are executable
 *                      islands: jumps to functions that may be out of reach
 *                      stubs for loads of variables that may be out of reach (isa->far_load)
 *                      stubs: LP_IFUNC_STUB_MAX bytes for each IFUNC without known value (link.c says why)
 *     constants, r--   the own sections that are neither executable nor writable, .kpatch.info among them
 *                      the GOT: slots that the code reaches things through
 *     variables, rw-   the own sections that are writable
 *                      8 bytes for each stub, the address it jumps to
 *                      at the very end, when there are unwind tables, LP_FRAMES_OBJECT bytes (inside.h)
 *
 * The GOT is read-only for the program: it is filled before anything runs.
 *
 * An original that is not position independent is reached by absolute 32-bit
 * addresses, and its patch may use such addresses of its own as well: they fit
 * when the room lies below 2 GiB, as the image does, and are refused when not.
 */
#include "core/relink.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "core/inside.h"
#include "core/relink_private.h"

#define NO_PLACE UINT64_MAX

/* ---- which image ---- */

static bool is_for(const struct lp_kpatch *k, const struct lp_image *image)
{
	struct lp_build_id id;
	if (!image->elf)
		return false;
	lp_elf_build_id(image->elf, &id);
	/* A header of LibcarePlus has no place for more than 20 bytes. */
	return id.len >= k->build_id.len && (id.len == k->build_id.len || k->build_id.len == 20) &&
	       memcmp(id.bytes, k->build_id.bytes, k->build_id.len) == 0;
}

int lp_relink_find_image(struct lp_target *t, const struct lp_kpatch *k, size_t *image, struct lp_err *err)
{
	const struct lp_image *images;
	size_t nr;
	char hex[2 * LP_BUILD_ID_MAX + 1];
	int rc = t->ops->images(t, &images, &nr, err);
	if (rc < 0)
		return rc;
	for (*image = 0; *image < nr; ++*image)
		if (is_for(k, &images[*image]))
			return 0;
	lp_build_id_hex(&k->build_id, hex);
	return lp_fail(err, LP_ENOTLOADED,
		       "%s is for %s with build-id %s, and %s has loaded nothing with that build-id", k->path,
		       k->object[0] ? k->object : "an object", hex, t->label);
}

/* ---- layout ---- */

enum part { CODE, CONSTANTS, VARIABLES };

static enum part part_of(const Elf64_Shdr *s)
{
	return s->sh_flags & SHF_EXECINSTR ? CODE : s->sh_flags & SHF_WRITE ? VARIABLES : CONSTANTS;
}

/* Own sections of a part, in the order of the file; *at moves past them. */
static int place_sections(struct lp_relink *r, enum part part, uint64_t *at, struct lp_err *err)
{
	for (size_t i = 1; i < r->body->nr_sections; i++) {
		const Elf64_Shdr *s = lp_elf_section(r->k->elf, i);
		if (!lp_kpatch_is_own_section(r->k, i) || part_of(s) != part)
			continue;
		*at = lp_align_up(*at, s->sh_addralign ? s->sh_addralign : 1);
		r->body->places[i] = *at;
		if (s->sh_size > LP_RELINK_SPAN_MAX || *at + s->sh_size > LP_RELINK_SPAN_MAX)
			return lp_fail(err, LP_EKPATCH, "%s takes more than %" PRIu64 " MiB of address space",
				       r->k->path, LP_RELINK_SPAN_MAX >> 20);
		*at += s->sh_size;
	}
	return 0;
}

static int lay_out(struct lp_relink *r, struct lp_err *err)
{
	struct lp_relink_body *b = r->body;
	uint64_t at = 0;
	int rc = place_sections(r, CODE, &at, err);
	b->islands_at = lp_align_up(at, LP_RELINK_ISLAND);
	b->loads_at = b->islands_at + b->islands.nr * LP_RELINK_ISLAND;
	b->stubs_at = b->loads_at + b->nr_loads * LP_FAR_LOAD_MAX;
	at = b->code_end = lp_align_up(b->stubs_at + b->resolvers.nr * LP_IFUNC_STUB_MAX, LP_PAGE);
	rc = rc ? rc : place_sections(r, CONSTANTS, &at, err);
	b->got_at = lp_align_up(at, sizeof(uint64_t));
	at = b->constants_end = lp_align_up(b->got_at + UINT64_C(8) * b->nr_words, LP_PAGE);
	rc = rc ? rc : place_sections(r, VARIABLES, &at, err);
	b->pointers_at = lp_align_up(at, sizeof(uint64_t));
	at = b->pointers_at + b->resolvers.nr * sizeof(uint64_t);
	b->end = lp_align_up(at + (r->k->eh_frame ? LP_FRAMES_OBJECT : 0), LP_PAGE);
	return rc;
}

uint64_t lp_relink_span(const struct lp_relink *r)
{
	return r->body->end;
}

static void request_piece(struct lp_room_request *out, lp_addr start, lp_addr end, unsigned prot)
{
	if (start == end)
		return;
	out->pieces[out->nr_pieces].range = (struct lp_range){start, end};
	out->pieces[out->nr_pieces++].prot = prot;
}

void lp_relink_room(const struct lp_relink *r, lp_addr base, struct lp_room_request *out)
{
	const struct lp_relink_body *b = r->body;
	*out = (struct lp_room_request){.range = {base, base + b->end}};
	request_piece(out, base, base + b->code_end, LP_PROT_READ | LP_PROT_EXEC);
	request_piece(out, base + b->code_end, base + b->constants_end, LP_PROT_READ);
	request_piece(out, base + b->constants_end, base + b->end, LP_PROT_READ | LP_PROT_WRITE);
}

struct lp_range lp_relink_near(const struct lp_relink *r)
{
	const struct lp_image *images;
	size_t nr;
	struct lp_range near = {UINT64_MAX, 0};
	if (r->t->ops->images(r->t, &images, &nr, NULL) < 0 || r->image >= nr)
		return (struct lp_range){0, 0};
	for (size_t i = 0; i < lp_elf_phdr_count(images[r->image].elf); i++) {
		const Elf64_Phdr *p = lp_elf_phdr(images[r->image].elf, i);
		lp_addr start = r->bias + p->p_vaddr;
		if (p->p_type != PT_LOAD || !p->p_memsz)
			continue;
		near.start = start < near.start ? start : near.start;
		near.end = start + p->p_memsz > near.end ? start + p->p_memsz : near.end;
	}
	return near;
}

/* ---- open, close ---- */

static int open_body(struct lp_relink *r, struct lp_err *err)
{
	const struct lp_image *images;
	size_t nr;
	struct lp_relink_body *b = r->body;
	int rc = lp_relink_find_image(r->t, r->k, &r->image, err);
	rc = rc ? rc : r->t->ops->images(r->t, &images, &nr, err);
	if (rc < 0)
		return rc;
	if (lp_elf_header(r->k->elf)->e_machine != r->t->isa->elf_machine)
		return lp_fail(err, LP_EISA, "%s was made for another machine than %s, which runs on %s", r->k->path,
			       r->t->label, r->t->isa->name);
	r->bias = images[r->image].bias;
	b->nr_sections = lp_elf_section_count(r->k->elf);
	b->places = lp_alloc(b->nr_sections * sizeof *b->places);
	for (size_t i = 0; i < b->nr_sections; i++)
		b->places[i] = NO_PLACE;
	b->nr_symbols = lp_elf_symbol_count(r->k->elf, LP_SYMTAB);
	b->symbols = lp_alloc((b->nr_symbols + 1) * sizeof *b->symbols);
	rc = lp_relink_bind(r, err);
	return rc ? rc : lay_out(r, err);
}

int lp_relink_open(struct lp_relink **out, const struct lp_kpatch *k, struct lp_target *t,
		   const struct lp_relink_earlier *earlier, struct lp_err *err)
{
	struct lp_relink *r = lp_alloc(sizeof *r);
	r->k = k;
	r->t = t;
	r->body = lp_alloc(sizeof *r->body);
	r->body->earlier = *earlier;
	int rc = open_body(r, err);
	if (rc < 0) {
		lp_relink_close(r);
		r = NULL;
	}
	*out = r;
	return rc;
}

static void forget_contents(struct lp_relink *r)
{
	for (size_t i = 0; i < r->functions.nr; i++)
		lp_free(r->functions.items[i].name);
	lp_vec_free(&r->functions);
	lp_vec_free(&r->hooks);
}

void lp_relink_close(struct lp_relink *r)
{
	if (!r)
		return;
	forget_contents(r);
	lp_free(r->body->symbols);
	lp_free(r->body->places);
	lp_vec_free(&r->body->resolvers);
	lp_vec_free(&r->body->islands);
	lp_vec_free(&r->body->got);
	lp_free(r->body);
	lp_free(r);
}

/* ---- the image ---- */

struct placing {
	struct lp_relink *r;
	struct lp_relink_body *b;
	lp_addr base;
	uint8_t *image;
	uint8_t *hooks; /* .livepatch.hooks, which is not of the image */
};

/* S, in the psABIs' letters; of a call, or of an address that may be compared. */
static lp_addr address_of(const struct placing *p, const struct lp_relink_symbol *s, bool call)
{
	switch (s->kind) {
	case LP_RELINK_OWN:
		return p->base + p->b->places[s->section] + s->value;
	case LP_RELINK_STUB:
		return !call && s->pointer ? s->pointer : p->base + p->b->stubs_at + s->value * LP_IFUNC_STUB_MAX;
	case LP_RELINK_ORIGINAL:
	case LP_RELINK_OUTSIDE:
		return !call && s->pointer ? s->pointer : s->value;
	case LP_RELINK_TLS:
	case LP_RELINK_UNUSED:
		break;
	}
	return 0;
}

static lp_addr slot_address(const struct placing *p, const struct lp_relink_symbol *s, enum lp_relink_slot_kind kind)
{
	return p->base + p->b->got_at + UINT64_C(8) * (s->slots[kind] - 1);
}

const char *lp_relink_symbol_name(const struct lp_relink *r, uint32_t sym, char *out, size_t size)
{
	struct lp_elf_sym s;
	const Elf64_Shdr *section = NULL;
	if (!lp_elf_symbol(r->k->elf, LP_SYMTAB, sym, &s))
		snprintf(out, size, "symbol %u", sym);
	else if (s.name[0])
		snprintf(out, size, "%s", s.name);
	else if ((section = lp_elf_section(r->k->elf, s.shndx)))
		snprintf(out, size, "%s", lp_elf_section_name(r->k->elf, section));
	else
		snprintf(out, size, "nothing");
	return out;
}

static int refuse_formula(const struct placing *p, const struct lp_reloc_howto *h, const char *why, struct lp_err *err)
{
	return lp_fail(err, LP_ERELOC, "%s: %s %s", p->r->k->path, h->name, why);
}

static int tls_value(const struct placing *p, const struct lp_relink_symbol *s, enum lp_relink_slot_kind kind,
		     bool second, uint64_t *out, struct lp_err *err)
{
	uint64_t words[2];
	int rc = lp_relink_tls_words(p->r, s, kind, &words[0], &words[1], err);
	*out = words[second];
	return rc;
}

/* What the libcare tools write for initial-exec: the addend is the link-time address of a slot in the original's GOT. */
static bool names_slot_of_original(const struct lp_kpatch_rela *rela)
{
	return rela->addend != -4;
}

static int reloc_value(const struct placing *p, const struct lp_reloc_howto *h, const struct lp_kpatch_rela *rela,
		       lp_addr place, uint64_t *out, struct lp_err *err)
{
	const struct lp_relink_symbol *s = &p->b->symbols[rela->sym];
	uint64_t a = (uint64_t)rela->addend, v;
	int rc = 0;
	switch (h->formula) {
	case LP_RELOC_ABS:
	case LP_RELOC_SYM:
		*out = address_of(p, s, false) + a;
		return 0;
	case LP_RELOC_PC:
		*out = address_of(p, s, false) + a - place;
		return 0;
	case LP_RELOC_PLT:
		*out = address_of(p, s, true) + a - place;
		return 0;
	case LP_RELOC_PAGEPC:
		*out = lp_align_down(address_of(p, s, false) + a, LP_PAGE) - lp_align_down(place, LP_PAGE);
		return 0;
	case LP_RELOC_GOTPC:
		*out = slot_address(p, s, LP_SLOT_ADDRESS) + a - place;
		return 0;
	case LP_RELOC_GOTPAGE:
		*out = lp_align_down(slot_address(p, s, LP_SLOT_ADDRESS), LP_PAGE) - lp_align_down(place, LP_PAGE);
		return 0;
	case LP_RELOC_GOTABS:
		*out = slot_address(p, s, LP_SLOT_ADDRESS);
		return 0;
	case LP_RELOC_GOTBASE:
		*out = p->base + p->b->got_at + a - place;
		return 0;
	case LP_RELOC_GOTREL:
	case LP_RELOC_PLTOFF:
		*out = address_of(p, s, h->formula == LP_RELOC_PLTOFF) + a - (p->base + p->b->got_at);
		return 0;
	case LP_RELOC_GOTOFF:
		*out = slot_address(p, s, LP_SLOT_ADDRESS) + a - (p->base + p->b->got_at);
		return 0;
	case LP_RELOC_SIZE:
		*out = s->size + a;
		return 0;
	case LP_RELOC_TPOFF:
		rc = tls_value(p, s, LP_SLOT_TPOFF, false, &v, err);
		*out = v + a;
		return rc;
	case LP_RELOC_DTPMOD:
		return tls_value(p, s, LP_SLOT_TLS_VAR, false, out, err);
	case LP_RELOC_DTPOFF:
		*out = s->value + a;
		return 0;
	case LP_RELOC_GOTTP:
		*out = names_slot_of_original(rela) ? p->r->bias + a - 4 - place
						    : slot_address(p, s, LP_SLOT_TPOFF) + a - place;
		return 0;
	case LP_RELOC_GOTTP_PAGE:
		*out = lp_align_down(slot_address(p, s, LP_SLOT_TPOFF), LP_PAGE) - lp_align_down(place, LP_PAGE);
		return 0;
	case LP_RELOC_GOTTP_ABS:
		*out = slot_address(p, s, LP_SLOT_TPOFF);
		return 0;
	case LP_RELOC_TLSGD:
		*out = slot_address(p, s, LP_SLOT_TLS_VAR) + a - place;
		return 0;
	case LP_RELOC_TLSLD:
		*out = slot_address(p, s, LP_SLOT_TLS_MODULE) + a - place;
		return 0;
	default:
		return refuse_formula(p, h, "cannot be applied in a running process", err);
	}
}

/* A call may go to what is too far away by way of an island. */
static bool can_go_round(const struct lp_reloc_howto *h, const struct lp_relink_symbol *s)
{
	return s->island && (h->formula == LP_RELOC_PC || h->formula == LP_RELOC_PLT);
}

static int explain(const struct placing *p, const struct lp_kpatch_rela *rela, int rc, struct lp_err *err)
{
	char name[256];
	const Elf64_Shdr *s = lp_elf_section(p->r->k->elf, rela->section);
	return lp_err_context(err, rc, "%s: %s+0x%" PRIx64 " refers to %s", p->r->k->path,
			      lp_elf_section_name(p->r->k->elf, s), rela->offset,
			      lp_relink_symbol_name(p->r, rela->sym, name, sizeof name));
}

/* A compiler that makes a program takes a library's variable to be in reach: the linker would make a copy of it. */
static bool wants_copy(const struct placing *p, const struct lp_reloc_howto *h, const struct lp_kpatch_rela *rela)
{
	const struct lp_relink_symbol *s = &p->b->symbols[rela->sym];
	struct lp_elf_sym elf;
	return h->formula == LP_RELOC_PC && s->kind == LP_RELINK_OUTSIDE &&
	       lp_elf_symbol(p->r->k->elf, LP_SYMTAB, rela->sym, &elf) && elf.type == STT_OBJECT;
}

static int refuse_copy(const struct placing *p, const struct lp_kpatch_rela *rela, struct lp_err *err)
{
	char name[256];
	return lp_fail(
		err, LP_ERANGE,
		"%s is a variable of a library, of which the program has no copy, and it lies too far away for the "
		"way that the patch refers to it: compile the patch with -mno-direct-extern-access (gcc), "
		"-fno-direct-access-external-data (clang) or -fPIC",
		lp_relink_symbol_name(p->r, rela->sym, name, sizeof name));
}

/* Where instructions can be read from up to a place in a section: its function, if it has a name. */
static struct lp_range code_around(const struct lp_kpatch *k, size_t section, uint64_t at)
{
	struct lp_elf_sym s;
	uint64_t size = lp_elf_section(k->elf, section)->sh_size;
	for (size_t i = 1; i < lp_elf_symbol_count(k->elf, LP_SYMTAB); i++)
		if (lp_elf_symbol(k->elf, LP_SYMTAB, i, &s) && s.shndx == section && s.type == STT_FUNC &&
		    at >= s.value && at - s.value < s.size && s.size <= size - s.value)
			return (struct lp_range){s.value, s.value + s.size};
	return (struct lp_range){0, size};
}

static bool load_from_afar(const struct placing *p, const struct lp_kpatch_rela *rela)
{
	const struct lp_relink_symbol *s = &p->b->symbols[rela->sym];
	struct lp_range around = code_around(p->r->k, rela->section, rela->offset);
	uint64_t stub = p->b->loads_at + p->b->loads_used * LP_FAR_LOAD_MAX;
	uint64_t code = p->b->places[rela->section] + around.start;
	if (!p->r->t->isa->far_load || !s->slots[LP_SLOT_ADDRESS] || p->b->loads_used == p->b->nr_loads)
		return false;
	/* The displacement counts from behind itself, where the instruction ends. */
	int64_t offset;
	if (__builtin_add_overflow(rela->addend, 4, &offset) || !lp_fits_signed(offset, 32) ||
	    !p->r->t->isa->far_load(p->image + code, around.end - around.start, p->base + code,
				    rela->offset - around.start, (int32_t)offset, slot_address(p, s, LP_SLOT_ADDRESS),
				    p->image + stub, p->base + stub))
		return false;
	p->b->loads_used++;
	return true;
}

static int apply_reloc(const struct placing *p, const struct lp_kpatch_rela *rela, uint8_t *bytes, lp_addr place,
		       struct lp_err *err)
{
	const struct lp_relink_symbol *s = &p->b->symbols[rela->sym];
	const struct lp_reloc_howto *h = p->r->t->isa->howto(rela->type);
	uint64_t value = 0;
	if (h->formula == LP_RELOC_NONE)
		return 0;
	int rc = reloc_value(p, h, rela, place, &value, err);
	if (rc == 0) {
		bool round = can_go_round(h, s);
		rc = p->r->t->isa->reloc_store(h, bytes, value, round ? NULL : err);
		if (rc == -LP_ERANGE && round) {
			value = p->base + p->b->islands_at + (s->island - 1) * LP_RELINK_ISLAND +
				(uint64_t)rela->addend - place;
			rc = p->r->t->isa->reloc_store(h, bytes, value, err);
		}
		if (rc == -LP_ERANGE && wants_copy(p, h, rela))
			rc = load_from_afar(p, rela) ? 0 : refuse_copy(p, rela, err);
	}
	return rc ? explain(p, rela, rc, err) : 0;
}

static int apply_relocs(const struct placing *p, struct lp_err *err)
{
	struct lp_kpatch_rela_iter it = {0};
	struct lp_kpatch_rela rela;
	int rc = 0;
	while (rc == 0 && lp_kpatch_rela_next(p->r->k, &it, &rela)) {
		uint64_t at = p->b->places[rela.section];
		if (at != NO_PLACE)
			rc = apply_reloc(p, &rela, p->image + at + rela.offset, p->base + at + rela.offset, err);
		else if (p->r->k->hooks && rela.section == p->r->k->hooks)
			rc = apply_reloc(p, &rela, p->hooks + rela.offset, 0, err);
	}
	return rc;
}

static int fill_slot(const struct placing *p, const struct lp_relink_slot *slot, struct lp_err *err)
{
	const struct lp_relink_symbol *s = &p->b->symbols[slot->sym];
	uint8_t *at = p->image + p->b->got_at + UINT64_C(8) * slot->word;
	uint64_t first = 0, second = 0;
	if (slot->kind == LP_SLOT_ADDRESS) {
		lp_put64(at, address_of(p, s, false));
		return 0;
	}
	int rc = lp_relink_tls_words(p->r, s, slot->kind, &first, &second, err);
	if (rc < 0)
		return lp_err_context(err, rc, "%s", p->r->k->path);
	lp_put64(at, first);
	if (slot->kind != LP_SLOT_TPOFF)
		lp_put64(at + 8, second);
	return 0;
}

static int place_stubs(const struct placing *p, struct lp_err *err)
{
	for (size_t i = 0; i < p->b->resolvers.nr; i++) {
		uint64_t stub = p->b->stubs_at + i * LP_IFUNC_STUB_MAX,
			 pointer = p->b->pointers_at + i * sizeof(uint64_t);
		lp_addr initial;
		size_t len = p->r->t->isa->ifunc_stub(p->image + stub, p->base + stub, p->base + pointer,
						      p->b->resolvers.items[i], &initial);
		if (!len || len > LP_IFUNC_STUB_MAX)
			return lp_fail(err, LP_EINTERNAL, "%s: an IFUNC stub of %zu bytes", p->r->k->path, len);
		lp_put64(p->image + pointer, initial);
	}
	return 0;
}

static void place_islands(const struct placing *p)
{
	for (size_t i = 0; i < p->b->islands.nr; i++) {
		uint64_t at = p->b->islands_at + i * LP_RELINK_ISLAND;
		const struct lp_relink_symbol *s = &p->b->symbols[p->b->islands.items[i]];
		p->r->t->isa->island(p->image + at, p->base + at, address_of(p, s, true));
	}
}

static void copy_sections(const struct placing *p)
{
	for (size_t i = 1; i < p->b->nr_sections; i++) {
		size_t len;
		const uint8_t *bytes =
			p->b->places[i] == NO_PLACE
				? NULL
				: lp_elf_section_data(p->r->k->elf, lp_elf_section(p->r->k->elf, i), &len);
		if (bytes)
			memcpy(p->image + p->b->places[i], bytes, len);
	}
}

/* ---- what is in it ---- */

static bool inside(const struct placing *p, lp_addr at, uint64_t len, uint64_t from, uint64_t to)
{
	return at >= p->base + from && at <= p->base + to && len <= p->base + to - at;
}

/* Code of the image itself; its own loader vouches for the bounds. */
static bool in_image_code(const struct lp_relink *r, lp_addr at, uint64_t len)
{
	const struct lp_image *images;
	size_t nr;
	if (r->t->ops->images(r->t, &images, &nr, NULL) < 0 || at < r->bias)
		return false;
	uint64_t vaddr = at - r->bias;
	for (size_t i = 0; i < lp_elf_phdr_count(images[r->image].elf); i++) {
		const Elf64_Phdr *ph = lp_elf_phdr(images[r->image].elf, i);
		if (ph->p_type == PT_LOAD && (ph->p_flags & PF_X) && vaddr >= ph->p_vaddr && len <= ph->p_memsz &&
		    vaddr - ph->p_vaddr <= ph->p_memsz - len)
			return true;
	}
	return false;
}

/* The name as its author knows it. */
static char *function_name(const struct placing *p, uint64_t symstr)
{
	static const char suffix[] = ".kpatch";
	uint64_t from = p->b->code_end, to = p->b->end;
	if (!inside(p, symstr, 1, from, to))
		return lp_strdup("?");
	const char *text = (const char *)p->image + (symstr - p->base);
	size_t len = strnlen(text, p->base + to - symstr), n = sizeof suffix - 1;
	if (len > n && memcmp(text + len - n, suffix, n) == 0)
		len -= n;
	return lp_sprintf("%.*s", (int)(len < 1024 ? len : 1024), text);
}

static int read_record(const struct placing *p, uint64_t i, struct lp_err *err)
{
	struct lp_kpatch_record rec;
	lp_kpatch_record_decode(p->image + p->b->places[p->r->k->info] + i * LP_KPATCH_RECORD_SIZE, &rec);
	struct lp_relink_function f = {.record = (uint32_t)i,
				       .old_body = {rec.daddr, rec.daddr + rec.dlen},
				       .new_body = {rec.saddr, rec.saddr + rec.slen}};
	if (!rec.daddr != !rec.dlen)
		return lp_fail(err, LP_EKPATCH, "%s: record %" PRIu64 " of .kpatch.info has half an original",
			       p->r->k->path, i);
	if (!inside(p, rec.saddr, rec.slen, 0, p->b->islands_at))
		return lp_fail(err, LP_EKPATCH, "%s: the replacement in record %" PRIu64 " is not in the patch's code",
			       p->r->k->path, i);
	if (rec.daddr && !in_image_code(p->r, rec.daddr, rec.dlen))
		return lp_fail(err, LP_EKPATCH, "%s: the original in record %" PRIu64 " is not in the code of %s",
			       p->r->k->path, i, p->r->k->object);
	f.name = function_name(p, rec.symstr);
	lp_vec_push(&p->r->functions, f);
	return 0;
}

static int read_hooks(const struct placing *p, struct lp_err *err)
{
	const uint8_t *bytes = p->hooks;
	if (p->r->k->hooks && p->b->places[p->r->k->hooks] != NO_PLACE) /* they ask to be in memory, too */
		bytes = p->image + p->b->places[p->r->k->hooks];
	for (size_t i = 0; i < p->r->k->nr_hooks; i++) {
		struct lp_relink_hook h = {(enum lp_kpatch_hook)lp_get64(bytes + i * 16), lp_get64(bytes + i * 16 + 8)};
		if (!inside(p, h.function, 1, 0, p->b->islands_at))
			return lp_fail(err, LP_EKPATCH, "%s: hook %zu is not in the patch's code", p->r->k->path, i);
		lp_vec_push(&p->r->hooks, h);
	}
	return 0;
}

static int read_contents(const struct placing *p, struct lp_err *err)
{
	int rc = 0;
	forget_contents(p->r);
	for (uint64_t i = 0; i < p->r->k->nr_records && rc == 0; i++)
		rc = read_record(p, i, err);
	rc = rc ? rc : read_hooks(p, err);
	size_t eh = p->r->k->eh_frame;
	if (rc == 0 && eh && p->b->places[eh] != NO_PLACE) {
		lp_addr at = p->base + p->b->places[eh];
		p->r->eh_frame = (struct lp_range){at, at + lp_elf_section(p->r->k->elf, eh)->sh_size};
		struct lp_room_trailer t = {LP_ROOM_TRAILER_MAGIC, at, p->r->eh_frame.end - at};
		memcpy(p->image + p->b->end - sizeof t, &t, sizeof t);
	}
	return rc;
}

static uint8_t *copy_hooks(const struct lp_relink *r)
{
	size_t len = 0;
	const uint8_t *bytes =
		r->k->hooks ? lp_elf_section_data(r->k->elf, lp_elf_section(r->k->elf, r->k->hooks), &len) : NULL;
	/* Room behind the end: the last relocation may be as wide as any. */
	uint8_t *copy = lp_alloc(len + 16);
	if (bytes)
		memcpy(copy, bytes, len);
	return copy;
}

int lp_relink_link(struct lp_relink *r, lp_addr base, uint8_t *image, struct lp_err *err)
{
	struct placing p = {r, r->body, base, image, copy_hooks(r)};
	int rc = 0;
	memset(image, 0, r->body->end);
	r->body->loads_used = 0;
	copy_sections(&p);
	place_islands(&p);
	rc = place_stubs(&p, err);
	for (size_t i = 0; i < p.b->got.nr && rc == 0; i++)
		rc = fill_slot(&p, &p.b->got.items[i], err);
	rc = rc ? rc : apply_relocs(&p, err);
	rc = rc ? rc : read_contents(&p, err);
	rc = rc ? rc : lp_relink_check(r, base, image, err);
	lp_free(p.hooks);
	return rc;
}

/* ---- the file that the target keeps ---- */

void lp_relink_source(const struct lp_relink *r, lp_addr base, uint8_t *bytes)
{
	uint64_t table = r->k->elf_offset + lp_elf_header(r->k->elf)->e_shoff;
	memcpy(bytes, r->k->bytes, r->k->len);
	lp_kpatch_sum_forget(r->k, bytes);
	for (size_t i = 1; i < r->body->nr_sections; i++) {
		uint8_t *header = bytes + table + i * sizeof(Elf64_Shdr);
		if (r->body->places[i] != NO_PLACE)
			lp_put64(header + offsetof(Elf64_Shdr, sh_addr), base + r->body->places[i]);
	}
	for (size_t i = 0; i < r->hooks.nr; i++)
		lp_put64(bytes + r->k->elf_offset + lp_elf_section(r->k->elf, r->k->hooks)->sh_offset + 16 * i + 8,
			 r->hooks.items[i].function);
}

/* The next global symbol of that name that an own section defines. */
static bool own_global(const struct lp_kpatch *k, const char *name, size_t *cursor, struct lp_elf_sym *out)
{
	while (lp_elf_symbol_by_name(k->elf, LP_SYMTAB, name, cursor, out)) {
		const Elf64_Shdr *section = lp_elf_section(k->elf, out->shndx);
		if (out->bind != STB_LOCAL && out->shndx != SHN_UNDEF && section &&
		    lp_kpatch_is_own_section(k, out->shndx) && out->value <= section->sh_size)
			return true;
	}
	return false;
}

bool lp_relink_symbol(const struct lp_relink *r, lp_addr base, const char *name, lp_addr *addr, uint64_t *size)
{
	size_t cursor = 0;
	struct lp_elf_sym s;
	if (!own_global(r->k, name, &cursor, &s))
		return false;
	*addr = base + r->body->places[s.shndx] + s.value;
	*size = s.size;
	return true;
}

int lp_relink_symbol_of(const struct lp_kpatch *kept, const char *name, lp_addr *addr, uint64_t *size)
{
	size_t cursor = 0;
	struct lp_elf_sym s;
	while (own_global(kept, name, &cursor, &s)) {
		const Elf64_Shdr *section = lp_elf_section(kept->elf, s.shndx);
		if (!section->sh_addr)
			continue;
		*addr = section->sh_addr + s.value;
		*size = s.size;
		return 1;
	}
	return 0;
}
