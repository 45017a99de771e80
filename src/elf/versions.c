/*
 * GNU symbol versions (LSB core, "Symbol Versioning").
 *
 *   DT_VERSYM   one half word per dynsym entry: a version index, bit 15 = hidden
 *   DT_VERDEF   versions that this object defines: index -> name
 *   DT_VERNEED  versions that it wants from others: index -> name
 *
 * Index 0 is local, 1 is global or the base definition (whose name is the
 * object's own): neither is a version that anybody can ask for.
 */
#include "elf/elf.h"

#include <string.h>

#include "base/bits.h"
#include "elf/elf_private.h"

#define VERSYM_HIDDEN 0x8000
#define VERSYM_VERSION 0x7fff
#define NAMES_MAX (VERSYM_VERSION + 1) /* a file that names more repeats itself */

/* A place in one of the chained tables; `len` bytes from `bytes` on may be read. */
struct chain {
	const uint8_t *bytes;
	size_t len;
};

static bool chain_get(struct chain c, void *out, size_t size)
{
	if (size > c.len)
		return false;
	memcpy(out, c.bytes, size);
	return true;
}

/* Links count from the structure that holds them; 0 ends the chain, less than a whole structure makes no sense. */
static bool chain_follow(struct chain *c, uint32_t by, size_t least)
{
	if (by < least || by > c->len)
		return false;
	c->bytes += by;
	c->len -= by;
	return true;
}

static void set_name(struct lp_elf *e, unsigned index, uint32_t name)
{
	index &= VERSYM_VERSION;
	if (index <= VER_NDX_GLOBAL)
		return;
	while (e->versions.nr <= index)
		lp_vec_push(&e->versions, NULL);
	if (!e->versions.items[index])
		e->versions.items[index] = lp_strtab_get(&e->dynstr, name);
}

static bool find_chain(const struct lp_elf *e, int64_t tag, struct chain *out)
{
	uint64_t at;
	if (!lp_elf_dynamic(e, tag, &at))
		return false;
	out->bytes = lp_elf_vaddr_rest(e, at, &out->len);
	return out->bytes;
}

static void read_definitions(struct lp_elf *e)
{
	struct chain c;
	Elf64_Verdef def;
	if (!find_chain(e, DT_VERDEF, &c))
		return;
	for (size_t n = 0; n < NAMES_MAX && chain_get(c, &def, sizeof def); n++) {
		struct chain aux = c;
		Elf64_Verdaux name;
		/* The first name is the version's own, the others are its ancestors. */
		if (!(def.vd_flags & VER_FLG_BASE) && chain_follow(&aux, def.vd_aux, sizeof def) &&
		    chain_get(aux, &name, sizeof name))
			set_name(e, def.vd_ndx, name.vda_name);
		if (!chain_follow(&c, def.vd_next, sizeof def))
			return;
	}
}

/* Returns how many names of the budget were used: many needs may share one hostile chain. */
static size_t read_need(struct lp_elf *e, struct chain c, const Elf64_Verneed *need, size_t budget)
{
	size_t n = 0;
	Elf64_Vernaux aux;
	if (!chain_follow(&c, need->vn_aux, sizeof *need))
		return 1;
	for (; n < need->vn_cnt && n < budget && chain_get(c, &aux, sizeof aux); n++) {
		set_name(e, aux.vna_other, aux.vna_name);
		if (!chain_follow(&c, aux.vna_next, sizeof aux))
			break;
	}
	return n + 1;
}

static void read_needs(struct lp_elf *e)
{
	struct chain c;
	Elf64_Verneed need;
	size_t used = 0;
	if (!find_chain(e, DT_VERNEED, &c))
		return;
	while (used < NAMES_MAX && chain_get(c, &need, sizeof need)) {
		used += read_need(e, c, &need, NAMES_MAX - used);
		if (!chain_follow(&c, need.vn_next, sizeof need))
			return;
	}
}

void lp_elf_read_versions(struct lp_elf *e)
{
	uint64_t at;
	size_t rest;
	if (!lp_elf_dynamic(e, DT_VERSYM, &at))
		return;
	e->versym.bytes = lp_elf_vaddr_rest(e, at, &rest);
	if (!e->versym.bytes)
		return;
	e->versym.count = rest / sizeof(Elf64_Half);
	read_definitions(e);
	read_needs(e);
}

void lp_elf_symbol_version(const struct lp_elf *e, size_t index, struct lp_elf_sym *out)
{
	if (index >= e->versym.count)
		return;
	unsigned versym = lp_get16(e->versym.bytes + index * sizeof(Elf64_Half));
	unsigned version = versym & VERSYM_VERSION;
	out->version_hidden = versym & VERSYM_HIDDEN;
	if (version < e->versions.nr)
		out->version = e->versions.items[version];
}
