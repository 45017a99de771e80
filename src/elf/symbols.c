/*
 * The two symbol tables: .symtab, which a section header describes and strip
 * removes, and the dynamic one, which PT_DYNAMIC describes and nobody can
 * remove.
 */
#include "elf/elf.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "elf/elf_private.h"

static Elf64_Sym raw_symbol(const struct lp_elf_symtab *t, size_t i)
{
	Elf64_Sym s;
	memcpy(&s, t->raw.bytes + i * sizeof s, sizeof s);
	return s;
}

/* ---- .symtab ---- */

/*
 * Linkers write versions into the names of .symtab: "memcpy@@GLIBC_2.14".  In
 * a copy of the strings every '@' that follows something becomes a NUL, so
 * that the name ends there; the original still has the version.
 */
static int cut_versions(const struct lp_strtab *names, char **out, struct lp_err *err)
{
	*out = NULL;
	if (!names->len || !memchr(names->bytes, '@', names->len))
		return 0;
	char *cut = lp_try_realloc(NULL, names->len);
	if (!cut)
		return lp_fail(err, ENOMEM, "there is no memory for the names of symbols");
	memcpy(cut, names->bytes, names->len);
	for (size_t i = 1; i < names->len; i++)
		if (names->bytes[i] == '@' && names->bytes[i - 1])
			cut[i] = 0;
	*out = cut;
	return 0;
}

/* All local symbols come before sh_info (gABI, "Symbol Table"), and with them the STT_FILE that name their sources. */
static void list_files(struct lp_elf_symtab *t, uint64_t first_global)
{
	for (size_t i = 0; i < t->raw.count && i < first_global; i++)
		if (ELF64_ST_TYPE(raw_symbol(t, i).st_info) == STT_FILE)
			lp_vec_push(&t->files, (uint32_t)i);
}

static const Elf64_Shdr *section_of_type(const struct lp_elf *e, uint32_t type)
{
	for (size_t i = 0; i < e->sections.nr; i++)
		if (e->sections.items[i].sh_type == type && e->sections.items[i].sh_entsize == sizeof(Elf64_Sym))
			return &e->sections.items[i];
	return NULL;
}

static int read_symtab(struct lp_elf *e, struct lp_err *err)
{
	struct lp_elf_symtab *t = &e->symtabs[LP_SYMTAB];
	size_t len, names_len;
	const Elf64_Shdr *s = section_of_type(e, SHT_SYMTAB);
	const uint8_t *bytes = s ? lp_elf_section_data(e, s, &len) : NULL;
	const Elf64_Shdr *link = s ? lp_elf_section(e, s->sh_link) : NULL;
	const uint8_t *names = link ? lp_elf_section_data(e, link, &names_len) : NULL;
	if (!bytes || !names)
		return 0;
	t->raw = (struct lp_elf_table){bytes, len / sizeof(Elf64_Sym)};
	t->names = lp_strtab_make(names, names_len);
	list_files(t, s->sh_info);
	return cut_versions(&t->names, &t->cut_names, err);
}

/* ---- the dynamic symbols, whose number is written nowhere ---- */

/* A section header may know, when there is one for this very table. */
static size_t count_by_section(const struct lp_elf *e, uint64_t symtab)
{
	const Elf64_Shdr *s = section_of_type(e, SHT_DYNSYM);
	return s && s->sh_addr == symtab ? s->sh_size / sizeof(Elf64_Sym) : 0;
}

/* DT_HASH: nbucket, nchain, ...; one chain entry per symbol. */
static size_t count_by_hash(const struct lp_elf *e)
{
	uint64_t at;
	const uint8_t *hash = lp_elf_dynamic(e, DT_HASH, &at) ? lp_elf_bytes_at_vaddr(e, at, 8) : NULL;
	return hash ? lp_get32(hash + 4) : 0;
}

/*
 * DT_GNU_HASH: nbuckets, symoffset, bloom_size, bloom_shift, the bloom filter
 * (64-bit words), buckets, and one word per symbol from symoffset on whose
 * bit 0 ends a chain.  Buckets ascend, so the table ends where the chain of
 * the highest bucket ends.
 */
static size_t count_by_gnu_hash(const struct lp_elf *e)
{
	uint64_t at;
	size_t rest;
	const uint8_t *h = lp_elf_dynamic(e, DT_GNU_HASH, &at) ? lp_elf_vaddr_rest(e, at, &rest) : NULL;
	if (!h || rest < 16)
		return 0;
	uint64_t nbuckets = lp_get32(h), symoffset = lp_get32(h + 4);
	uint64_t buckets = 16 + UINT64_C(8) * lp_get32(h + 8), chains = buckets + 4 * nbuckets;
	if (chains > rest)
		return 0;
	uint64_t last = 0;
	for (uint64_t i = 0; i < nbuckets; i++) {
		uint32_t first = lp_get32(h + buckets + 4 * i);
		last = first > last ? first : last;
	}
	if (last < symoffset)
		return symoffset;
	for (;; last++) {
		uint64_t entry = chains + 4 * (last - symoffset);
		if (entry + 4 > rest)
			return 0;
		if (lp_get32(h + entry) & 1)
			return last + 1;
	}
}

/* The GNU hash leaves out undefined symbols; when nothing is defined only the relocations know how many there are. */
static size_t count_by_use(const struct lp_elf *e)
{
	size_t hashed = count_by_gnu_hash(e);
	size_t used = (size_t)lp_elf_relocs_max_symbol(e) + 1;
	return hashed > used ? hashed : used;
}

static void read_dynsym(struct lp_elf *e)
{
	struct lp_elf_symtab *t = &e->symtabs[LP_DYNSYM];
	uint64_t at;
	size_t rest, count;
	const uint8_t *bytes = lp_elf_dynamic(e, DT_SYMTAB, &at) ? lp_elf_vaddr_rest(e, at, &rest) : NULL;
	if (!bytes)
		return;
	count = count_by_section(e, at);
	if (!count)
		count = count_by_hash(e);
	if (!count)
		count = count_by_use(e);
	rest /= sizeof(Elf64_Sym);
	t->raw = (struct lp_elf_table){bytes, count < rest ? count : rest};
	t->names = e->dynstr;
}

int lp_elf_read_symbols(struct lp_elf *e, struct lp_err *err)
{
	read_dynsym(e);
	return read_symtab(e, err);
}

/* ---- one symbol ---- */

static const char *name_in(const struct lp_elf_symtab *t, uint32_t offset)
{
	const char *name = lp_strtab_get(&t->names, offset);
	if (!name)
		return "";
	return t->cut_names ? t->cut_names + offset : name;
}

/* The version that the linker wrote behind the name, from the uncut strings. */
static void version_in_name(const struct lp_elf_symtab *t, struct lp_elf_sym *s)
{
	if (!t->cut_names || s->name < t->cut_names || s->name >= t->cut_names + t->names.len)
		return;
	const char *at = t->names.bytes + (s->name - t->cut_names) + strlen(s->name);
	if (*at != '@')
		return;
	s->version_hidden = at[1] != '@';
	s->version = at + (s->version_hidden ? 1 : 2);
}

/* The last STT_FILE before index i; linkers end the last file's symbols with one that has no name. */
static const char *file_of(const struct lp_elf_symtab *t, size_t i)
{
	size_t low = 0, high = t->files.nr;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (t->files.items[middle] < i)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return NULL;
	const char *name = name_in(t, raw_symbol(t, t->files.items[low - 1]).st_name);
	return *name ? name : NULL;
}

size_t lp_elf_symbol_count(const struct lp_elf *e, enum lp_symtab table)
{
	return e->symtabs[table].raw.count;
}

bool lp_elf_symbol(const struct lp_elf *e, enum lp_symtab table, size_t i, struct lp_elf_sym *out)
{
	const struct lp_elf_symtab *t = &e->symtabs[table];
	if (i >= t->raw.count)
		return false;
	Elf64_Sym raw = raw_symbol(t, i);
	*out = (struct lp_elf_sym){
		.name = name_in(t, raw.st_name),
		.value = raw.st_value,
		.size = raw.st_size,
		.shndx = raw.st_shndx,
		.type = ELF64_ST_TYPE(raw.st_info),
		.bind = ELF64_ST_BIND(raw.st_info),
		.visibility = ELF64_ST_VISIBILITY(raw.st_other),
		.index = i,
		.table = table,
	};
	if (table == LP_DYNSYM)
		lp_elf_symbol_version(e, i, out);
	else
		version_in_name(t, out);
	if (out->bind == STB_LOCAL && out->type != STT_FILE && out->type != STT_SECTION)
		out->file = file_of(t, i);
	return true;
}
