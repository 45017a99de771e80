/*
 * From names to numbers.
 *
 * Which of several symbols a bare name means:
 *
 *   1. Exported (global or weak) symbols: the first in the order in which the
 *      target's own dynamic linker searches, its default version if no version
 *      was given.  That is the one the target itself would bind.
 *   2. Only local (static) symbols: the one there is, else a refusal that
 *      lists them.
 *   3. Both: a refusal.  Guessing here would patch the wrong function.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "core/plan.h"

int lp_at_where(struct lp_err *err, int rc, const struct lp_where *w)
{
	return rc < 0 && w->line ? lp_err_context(err, rc, "%s:%u:%u", w->file, w->line, w->column) : rc;
}

static bool is_local(const struct lp_found *f)
{
	return f->sym.bind == STB_LOCAL;
}

static int refuse_candidates(struct lp_plan *p, const char *text, const lp_found_vec *all, struct lp_err *err)
{
	const struct lp_image *images;
	size_t nr;
	p->t->ops->images(p->t, &images, &nr, NULL);
	int rc = lp_fail(err, LP_EAMBIGUOUS, "%s is ambiguous; say which one:", text);
	for (size_t i = 0; i < all->nr && i < 12; i++) {
		const struct lp_found *f = &all->items[i];
		if (is_local(f) && f->sym.file)
			lp_err_append(err, "\n  %s:%s:%s  " LP_ADDR " (local)", images[f->image].name, f->sym.file,
				      f->sym.name, f->addr);
		else
			lp_err_append(err, "\n  %s:%s%s%s  " LP_ADDR " (%s)", images[f->image].name, f->sym.name,
				      f->sym.version ? "@" : "", f->sym.version ? f->sym.version : "", f->addr,
				      is_local(f) ? "local" : "global");
	}
	if (all->nr > 12)
		lp_err_append(err, "\n  ... and %zu more", all->nr - 12);
	return rc;
}

static int image_named(const struct lp_image *images, size_t nr, const char *name, size_t *image);

/* "libfoo.so.1:f" when there is no such image: it is no source file. */
static const char *absent_library(struct lp_plan *p, const struct lp_symspec *spec)
{
	const char *name = spec->module ? spec->module : spec->prefix;
	const struct lp_image *images;
	size_t nr, image;
	bool is_library = name && strstr(name, ".so");
	return is_library && p->t->ops->images(p->t, &images, &nr, NULL) == 0 &&
			       image_named(images, nr, name, &image) < 0
		       ? name
		       : NULL;
}

/* A name that is not there may be one that strip(1) took away. */
static int refuse_unknown(struct lp_plan *p, const char *text, const struct lp_symspec *spec, struct lp_err *err)
{
	const struct lp_image *images;
	const char *library = p->t->tells_absent ? absent_library(p, spec) : NULL;
	size_t nr;
	if (library)
		return lp_fail(err, LP_ENOTLOADED, "%s has not loaded %s", p->t->label, library);
	int rc = lp_fail(err, LP_ENOSYM, "no symbol %s in %s", text, p->t->label);
	if (spec->module || p->t->ops->images(p->t, &images, &nr, NULL) < 0 || !nr)
		return rc;
	bool has_table = (images[0].elf && lp_elf_symbol_count(images[0].elf, LP_SYMTAB)) ||
			 (images[0].debug && lp_elf_symbol_count(images[0].debug, LP_SYMTAB));
	if (!has_table)
		lp_err_append(err, "; its program is stripped: name an unstripped copy of it as EXE");
	return rc;
}

/* Rules 1 to 3 above. */
static int choose(struct lp_plan *p, const char *text, const struct lp_symspec *spec, const lp_found_vec *all,
		  struct lp_found *out, struct lp_err *err)
{
	const struct lp_found *global = NULL;
	size_t nr_local = 0, local = 0;
	for (size_t i = 0; i < all->nr; i++) {
		const struct lp_found *f = &all->items[i];
		if (is_local(f)) {
			nr_local++;
			local = i;
		} else if (!global || (global->image == f->image && !spec->version && global->sym.version_hidden &&
				       !f->sym.version_hidden)) {
			global = f;
		}
	}
	if (all->nr == 0)
		return refuse_unknown(p, text, spec, err);
	if ((global && nr_local) || nr_local > 1)
		return refuse_candidates(p, text, all, err);
	*out = global ? *global : all->items[local];
	return 0;
}

static bool find_cold(struct lp_plan *p, const struct lp_found *f, struct lp_range *out)
{
	const struct lp_image *images;
	size_t nr;
	if (p->t->ops->images(p->t, &images, &nr, NULL) < 0)
		return false;
	char name[256];
	snprintf(name, sizeof name, "%s.cold", f->sym.name);
	struct lp_elf *tables[] = {images[f->image].elf, images[f->image].debug};
	for (size_t i = 0; i < LP_ARRAY_SIZE(tables); i++) {
		size_t cursor = 0;
		struct lp_elf_sym s;
		while (tables[i] && lp_elf_symbol_by_name(tables[i], LP_SYMTAB, name, &cursor, &s)) {
			bool same_file = !f->sym.file || !s.file || strcmp(f->sym.file, s.file) == 0;
			if (s.shndx != SHN_UNDEF && same_file) {
				lp_addr at = images[f->image].bias + s.value;
				*out = (struct lp_range){at, at + s.size};
				return true;
			}
		}
	}
	return false;
}

static void limit_of(struct lp_plan *p, lp_addr at, struct lp_range *limit)
{
	uint64_t vaddr;
	const struct lp_image *img = lp_target_image_at(p->t, at, &vaddr, NULL);
	*limit = (struct lp_range){at, at};
	if (!img)
		return;
	uint64_t end = lp_elf_next_boundary(img->elf, vaddr);
	if (img->debug) {
		uint64_t other = lp_elf_next_boundary(img->debug, vaddr);
		if (other && (!end || other < end))
			end = other;
	}
	if (end > vaddr)
		limit->end = img->bias + end;
}

/*
 * An IFUNC symbol's address is its resolver; what callers reach is what some
 * GOT of the target holds for it.  A slot that still points elsewhere than into
 * the library that defines the symbol has not been bound yet.
 */
static int ifunc_value(struct lp_plan *p, const struct lp_found *f, lp_addr *out, struct lp_err *err)
{
	const struct lp_image *images;
	size_t nr, home;
	int rc = p->t->ops->images(p->t, &images, &nr, err);
	for (size_t i = 0; i < nr && rc == 0; i++) {
		lp_addr_vec slots = {0};
		rc = lp_link_got_slots(p->t, i, f->sym.name, NULL, &slots, err);
		if (rc == -LP_ENOSYM) /* the vDSO, which binds nothing */
			rc = 0;
		for (size_t k = 0; k < slots.nr && rc == 0; k++) {
			uint8_t word[8];
			uint64_t vaddr;
			struct lp_area area;
			if (p->t->ops->read(p->t, slots.items[k], word, sizeof word, NULL) < 0)
				continue;
			lp_addr v = lp_get64(word);
			if (v != f->addr && p->t->ops->area(p->t, v, &area, NULL) == 0 && (area.prot & LP_PROT_EXEC) &&
			    lp_target_image_at(p->t, v, &vaddr, &home) && home == f->image) {
				*out = v;
				lp_vec_free(&slots);
				return 0;
			}
		}
		lp_vec_free(&slots);
	}
	return rc ? rc
		  : lp_fail(err, LP_ENOSYM,
			    "%s is chosen at run time (IFUNC) and %s has not called it yet; name the implementation",
			    f->sym.name, p->t->label);
}

static int resolve_symbol(struct lp_plan *p, const struct lp_addr_expr *e, struct lp_place *out, struct lp_err *err)
{
	struct lp_symspec spec;
	int rc = lp_symspec_parse(&spec, e->symbol, err);
	if (rc < 0)
		return rc;
	const struct lp_image *images;
	size_t nr;
	lp_found_vec all = {0};
	struct lp_found f = {0};
	rc = p->t->ops->images(p->t, &images, &nr, err);
	rc = rc ? rc : lp_scope_find(images, nr, &spec, &all, err);
	rc = rc ? rc : choose(p, e->symbol, &spec, &all, &f, err);
	if (rc == 0 && f.sym.type == STT_TLS)
		rc = lp_fail(err, LP_ERELOC, "%s is a thread-local variable: it has one address per thread", e->symbol);
	if (rc == 0 && f.sym.type == STT_GNU_IFUNC) {
		rc = ifunc_value(p, &f, &f.addr, err);
		f.sym.size = 0;
	}
	if (rc == 0) {
		out->addr = f.addr + e->number;
		out->size = e->number ? 0 : f.sym.size;
		snprintf(out->name, sizeof out->name, "%s", e->symbol);
		if (e->number)
			snprintf(out->name, sizeof out->name, "%.120s+%#" PRIx64, e->symbol, e->number);
		else
			find_cold(p, &f, &out->cold);
		limit_of(p, out->addr, &out->limit);
	}
	lp_vec_free(&all);
	lp_symspec_free(&spec);
	return rc;
}

int lp_resolve_number(struct lp_plan *p, lp_addr at, struct lp_place *out, struct lp_err *err)
{
	struct lp_area area;
	*out = (struct lp_place){.mem = LP_NONE};
	int rc = p->t->ops->area(p->t, at, &area, err);
	if (rc < 0)
		return lp_fail(err, LP_EUNMAPPED, "nothing is mapped at " LP_ADDR " in %s", at, p->t->label);
	out->addr = at;
	limit_of(p, out->addr, &out->limit);
	struct lp_found f;
	/* An address that is a function's first byte is that function. */
	if (lp_target_symbol_at(p->t, out->addr, &f) && f.addr == out->addr) {
		out->size = f.sym.size;
		find_cold(p, &f, &out->cold);
		snprintf(out->name, sizeof out->name, "%s", f.sym.name);
	} else {
		lp_target_describe(p->t, out->addr, out->name, sizeof out->name);
	}
	return 0;
}

static size_t find_mem(const struct lp_plan *p, const char *name)
{
	for (size_t i = 0; i < p->mems.nr; i++)
		if (p->mems.items[i].op->mem && strcmp(p->mems.items[i].op->mem, name) == 0)
			return i;
	return LP_NONE;
}

/* Symbols of a file that the target's own loader takes: exported ones first, static ones second. */
static int symbol_of_file(struct lp_elf *file, const char *name, uint64_t *value, uint64_t *size, struct lp_err *err)
{
	for (int table = LP_DYNSYM; table >= LP_SYMTAB; table--) {
		size_t cursor = 0;
		struct lp_elf_sym s;
		while (lp_elf_symbol_by_name(file, (enum lp_symtab)table, name, &cursor, &s))
			if (s.shndx != SHN_UNDEF && s.type != STT_TLS && s.type != STT_GNU_IFUNC) {
				*value = s.value;
				*size = s.size;
				return 0;
			}
	}
	return lp_fail(err, LP_ENOSYM, "%s defines no symbol %s", lp_elf_name(file), name);
}

static int resolve_mem(struct lp_plan *p, const struct lp_addr_expr *e, struct lp_place *out, struct lp_err *err)
{
	out->mem = find_mem(p, e->mem);
	if (out->mem == LP_NONE)
		return lp_fail(err, LP_ENOMEM, "memory name $%s is not defined", e->mem);
	const struct lp_mem *m = &p->mems.items[out->mem];
	out->addr = m->base;
	snprintf(out->name, sizeof out->name, "$%s", e->mem);
	int rc = 0;
	if (e->kind == LP_ADDR_MEMSYM) {
		if (m->object)
			rc = lp_object_symbol(m->object, m->base, e->symbol, &out->addr, &out->size, err);
		else if (m->file) {
			uint64_t value = 0;
			rc = symbol_of_file(m->file, e->symbol, &value, &out->size, err);
			out->addr = rc ? 0 : m->base + value;
		} else
			rc = lp_fail(err, LP_ENOSYM, "$%s is plain memory and has no symbol %s", e->mem, e->symbol);
		out->own_object = rc == 0;
		snprintf(out->name, sizeof out->name, "$%s:%.100s", e->mem, e->symbol);
	}
	if (rc == 0 && e->number) {
		out->addr += e->number;
		out->size = 0;
		size_t used = strlen(out->name);
		snprintf(out->name + used, sizeof out->name - used, "%s%#" PRIx64,
			 e->kind == LP_ADDR_MEMSYM ? "+" : ":", e->number);
	}
	if (rc == 0 && (out->addr < m->base || out->addr - m->base > m->size))
		rc = lp_fail(err, LP_ERANGE, "%s lies outside of $%s, which has %" PRIu64 " bytes", out->name, e->mem,
			     m->size);
	return rc;
}

static int resolve_in_file(struct lp_plan *p, const struct lp_addr_expr *e, struct lp_place *out, struct lp_err *err)
{
	lp_addr at;
	int rc = lp_resolve_in_object(p->t, e->symbol, e->number, &at, err);
	return rc ? rc : lp_resolve_number(p, at, out, err);
}

int lp_resolve(struct lp_plan *p, const struct lp_addr_expr *e, struct lp_place *out, struct lp_err *err)
{
	*out = (struct lp_place){.mem = LP_NONE};
	int rc = -EINVAL;
	switch (e->kind) {
	case LP_ADDR_INT:
		rc = lp_resolve_number(p, e->number, out, err);
		break;
	case LP_ADDR_MEM:
	case LP_ADDR_MEMSYM:
		rc = resolve_mem(p, e, out, err);
		break;
	case LP_ADDR_SYMBOL:
		rc = resolve_symbol(p, e, out, err);
		break;
	case LP_ADDR_FILE:
		rc = resolve_in_file(p, e, out, err);
		break;
	}
	return lp_at_where(err, rc, &e->where);
}

int lp_resolve_addr(struct lp_target *t, const struct lp_addr_expr *e, lp_addr *at, uint64_t *size, struct lp_err *err)
{
	struct lp_plan nothing = {.t = t};
	struct lp_place place;
	int rc = lp_resolve(&nothing, e, &place, err);
	if (rc < 0)
		return rc;
	*at = place.addr;
	*size = place.size;
	return 0;
}

static int image_named(const struct lp_image *images, size_t nr, const char *name, size_t *image)
{
	for (size_t i = 0; i < nr; i++) {
		const char *soname = images[i].elf ? lp_elf_soname(images[i].elf) : NULL;
		if (strcmp(images[i].name, name) == 0 || strcmp(images[i].path, name) == 0 ||
		    (soname && strcmp(soname, name) == 0)) {
			*image = i;
			return 0;
		}
	}
	return -LP_ENOSYM;
}

int lp_resolve_in_object(struct lp_target *t, const char *object, uint64_t vaddr, lp_addr *at, struct lp_err *err)
{
	const struct lp_image *images;
	size_t nr, image, holder;
	uint64_t there;
	int rc = t->ops->images(t, &images, &nr, err);
	if (rc < 0)
		return rc;
	if (image_named(images, nr, object, &image) < 0)
		return lp_fail(err, LP_ENOTLOADED, "%s has not loaded %s", t->label, object);
	*at = images[image].bias + vaddr;
	if (!lp_target_image_at(t, *at, &there, &holder) || holder != image)
		return lp_fail(err, LP_ERANGE, "%s has nothing at " LP_ADDR, object, vaddr);
	return 0;
}

int lp_resolve_got(struct lp_plan *p, const struct lp_addr_expr *e, size_t *image, struct lp_symspec *spec,
		   struct lp_err *err)
{
	if (e->kind != LP_ADDR_SYMBOL || e->number)
		return lp_at_where(err, lp_fail(err, LP_EPARSE, "got takes a symbol's name"), &e->where);
	const struct lp_image *images;
	size_t nr;
	int rc = lp_symspec_parse(spec, e->symbol, err);
	if (rc < 0)
		return lp_at_where(err, rc, &e->where);
	rc = p->t->ops->images(p->t, &images, &nr, err);
	*image = 0;
	const char *module = spec->module ? spec->module : spec->prefix;
	if (rc == 0 && module && image_named(images, nr, module, image) < 0)
		rc = lp_fail(err, LP_ENOSYM, "%s has loaded no module %s", p->t->label, module);
	if (rc < 0)
		lp_symspec_free(spec);
	return lp_at_where(err, rc, &e->where);
}
