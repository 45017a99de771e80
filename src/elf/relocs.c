/*
 * Dynamic relocations.
 *
 * Three tables: DT_RELA, DT_JMPREL (the PLT's part) and DT_RELR, which packs
 * relative relocations (gABI proposal "SHT_RELR", adopted 2022): an even word
 * is the address of a place, an odd word is a bitmap of the 63 words that
 * follow the last place seen.  The addend is the word that stands at the place.
 */
#include "elf/elf.h"

#include <string.h>

#include "base/bits.h"
#include "elf/elf_private.h"

#define RELR_BITS 63

/* A RELR entry has no type of its own: it means its machine's "B + A".  Constants of the format, no instruction set. */
static const struct {
	uint16_t machine;
	uint32_t type;
} relative_types[] = {
	{EM_X86_64, R_X86_64_RELATIVE},
	{EM_AARCH64, R_AARCH64_RELATIVE},
};

static bool relative_type(uint16_t machine, uint32_t *type)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(relative_types); i++) {
		if (relative_types[i].machine != machine)
			continue;
		*type = relative_types[i].type;
		return true;
	}
	return false;
}

/* ---- finding the tables ---- */

static void find_table(struct lp_elf *e, int part, int64_t at_tag, int64_t size_tag, size_t entry_size)
{
	struct lp_elf_reloc_table *t = &e->relocs[part];
	uint64_t at, size;
	size_t rest;
	if (!lp_elf_dynamic(e, at_tag, &at) || !lp_elf_dynamic(e, size_tag, &size) || !size)
		return;
	const uint8_t *bytes = lp_elf_vaddr_rest(e, at, &rest);
	if (!bytes || size > rest)
		t->problem = "lies outside the file";
	else if (size % entry_size)
		t->problem = "is not a whole number of entries";
	else
		t->raw = (struct lp_elf_table){bytes, size / entry_size};
}

static void check_value(struct lp_elf *e, int part, int64_t tag, uint64_t expected, const char *problem)
{
	uint64_t value;
	if (lp_elf_dynamic(e, tag, &value) && value != expected) {
		e->relocs[part].problem = problem;
		e->relocs[part].raw.count = 0;
	}
}

/* Some linkers count the PLT's relocations in DT_RELASZ too; ld.so applies them once. */
static void drop_jmprel_inside_rela(struct lp_elf *e)
{
	const struct lp_elf_table *rela = &e->relocs[PART_RELA].raw;
	struct lp_elf_table *jmprel = &e->relocs[PART_JMPREL].raw;
	const size_t size = sizeof(Elf64_Rela);
	if (jmprel->count && rela->count && jmprel->bytes >= rela->bytes &&
	    jmprel->bytes + jmprel->count * size <= rela->bytes + rela->count * size)
		jmprel->count = 0;
}

void lp_elf_read_relocs(struct lp_elf *e)
{
	find_table(e, PART_RELA, DT_RELA, DT_RELASZ, sizeof(Elf64_Rela));
	find_table(e, PART_JMPREL, DT_JMPREL, DT_PLTRELSZ, sizeof(Elf64_Rela));
	find_table(e, PART_RELR, DT_RELR, DT_RELRSZ, sizeof(Elf64_Relr));
	check_value(e, PART_RELA, DT_RELAENT, sizeof(Elf64_Rela), "has entries of another size");
	check_value(e, PART_JMPREL, DT_PLTREL, DT_RELA, "has entries without addends");
	check_value(e, PART_RELR, DT_RELRENT, sizeof(Elf64_Relr), "has entries of another size");
	drop_jmprel_inside_rela(e);

	/* The psABIs of all 64-bit machines that we know use RELA only. */
	check_value(e, PART_RELA, DT_RELSZ, 0, "is beside a table without addends (DT_REL)");
}

static Elf64_Rela rela_at(const struct lp_elf_table *t, size_t i)
{
	Elf64_Rela r;
	memcpy(&r, t->bytes + i * sizeof r, sizeof r);
	return r;
}

uint32_t lp_elf_relocs_max_symbol(const struct lp_elf *e)
{
	uint32_t max = 0;
	for (int part = PART_RELA; part <= PART_JMPREL; part++) {
		const struct lp_elf_table *t = &e->relocs[part].raw;
		for (size_t i = 0; i < t->count; i++) {
			uint32_t sym = ELF64_R_SYM(rela_at(t, i).r_info);
			max = sym > max ? sym : max;
		}
	}
	return max;
}

/* ---- walking them ---- */

static const char *const part_names[] = {
	[PART_RELA] = "DT_RELA",
	[PART_JMPREL] = "DT_JMPREL",
	[PART_RELR] = "DT_RELR",
};

static int next_rela(const struct lp_elf_table *t, struct lp_elf_rela_iter *it, struct lp_elf_rela *out)
{
	if (it->i == t->count)
		return 0;
	Elf64_Rela r = rela_at(t, it->i++);
	*out = (struct lp_elf_rela){
		.offset = r.r_offset,
		.type = ELF64_R_TYPE(r.r_info),
		.sym = ELF64_R_SYM(r.r_info),
		.addend = r.r_addend,
	};
	return 1;
}

/* Address of the next packed place: 1, 0 at the end, negative when malformed.  `relr_base` is where the next bitmap
 * starts; `relr_bits` is what is left of the current one, shifted down by `relr_bit`. */
static int next_relr_place(const struct lp_elf *e, struct lp_elf_rela_iter *it, uint64_t *place, struct lp_err *err)
{
	const struct lp_elf_table *t = &e->relocs[PART_RELR].raw;
	while (!it->relr_bits) {
		if (it->i == t->count)
			return 0;
		uint64_t word = lp_get64(t->bytes + it->i * sizeof word);
		it->i++;
		if (!(word & 1)) {
			it->relr_base = word + sizeof word;
			*place = word;
			return 1;
		}
		if (it->i == 1)
			return lp_fail(err, LP_EELF, "%s: DT_RELR starts with a bitmap", e->name);
		it->relr_bits = word >> 1;
		it->relr_bit = 0;
		it->relr_base += RELR_BITS * sizeof word;
	}
	int skip = __builtin_ctzll(it->relr_bits);
	it->relr_bit += skip;
	it->relr_bits >>= skip;
	*place = it->relr_base - (uint64_t)(RELR_BITS - it->relr_bit) * sizeof(uint64_t);
	it->relr_bits >>= 1;
	it->relr_bit++;
	return 1;
}

static int next_relr(const struct lp_elf *e, struct lp_elf_rela_iter *it, struct lp_elf_rela *out, struct lp_err *err)
{
	uint64_t place = 0;
	int rc = next_relr_place(e, it, &place, err);
	if (rc <= 0)
		return rc;
	*out = (struct lp_elf_rela){.offset = place};
	if (!relative_type(e->header.e_machine, &out->type))
		return lp_fail(err, LP_EELF, "%s: DT_RELR for unknown machine %u", e->name, e->header.e_machine);
	const uint8_t *word = lp_elf_bytes_at_vaddr(e, place, sizeof(uint64_t));
	if (!word)
		return lp_fail(err, LP_EELF, "%s: DT_RELR names " LP_ADDR ", which is not in the file", e->name, place);
	out->addend = (int64_t)lp_get64(word);
	return 1;
}

int lp_elf_rela_next(const struct lp_elf *e, struct lp_elf_rela_iter *it, struct lp_elf_rela *out, struct lp_err *err)
{
	for (; it->part < PART_END; it->part++, it->i = 0) {
		const struct lp_elf_reloc_table *t = &e->relocs[it->part];
		if (t->problem)
			return lp_fail(err, LP_EELF, "%s: the relocation table %s %s", e->name, part_names[it->part],
				       t->problem);
		int rc = it->part == PART_RELR ? next_relr(e, it, out, err) : next_rela(&t->raw, it, out);
		if (rc)
			return rc;
	}
	return 0;
}
