#include "elf/writer.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/vec.h"

struct written_section {
	char *name;
	Elf64_Shdr header; /* sh_name and sh_offset are filled in at the end */
	struct lp_buf data;
	LP_VEC(struct lp_elf_place_rela) relocs;
};

struct written_symbol {
	char *name;
	Elf64_Sym raw; /* st_name likewise */
	uint32_t index;
};

struct lp_elf_writer {
	uint16_t machine;
	LP_VEC(struct written_section) sections; /* item i is section i + 1 */
	LP_VEC(struct written_symbol) symbols;	 /* item i is handle i + 1 */
};

struct lp_elf_writer *lp_elf_writer_new(uint16_t machine)
{
	struct lp_elf_writer *w = lp_alloc(sizeof *w);

	w->machine = machine;
	return w;
}

void lp_elf_writer_free(struct lp_elf_writer *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->sections.nr; i++) {
		lp_free(w->sections.items[i].name);
		lp_buf_free(&w->sections.items[i].data);
		lp_vec_free(&w->sections.items[i].relocs);
	}
	for (size_t i = 0; i < w->symbols.nr; i++)
		lp_free(w->symbols.items[i].name);
	lp_vec_free(&w->sections);
	lp_vec_free(&w->symbols);
	lp_free(w);
}

uint32_t lp_elf_writer_section(struct lp_elf_writer *w, const struct lp_elf_section *s)
{
	struct written_section *to = lp_vec_add(&w->sections);

	to->name = lp_strdup(s->name);
	to->header = (Elf64_Shdr){
		.sh_type = s->type,
		.sh_flags = s->flags,
		.sh_addr = s->addr,
		.sh_size = s->size,
		.sh_addralign = s->align ? s->align : 1,
		.sh_entsize = s->entsize,
	};
	if (s->type != SHT_NOBITS && s->size)
		lp_buf_add(&to->data, s->data, s->size);
	return (uint32_t)w->sections.nr;
}

uint32_t lp_elf_writer_symbol(struct lp_elf_writer *w, const struct lp_elf_symbol *s)
{
	struct written_symbol *to = lp_vec_add(&w->symbols);

	to->name = lp_strdup(s->name ? s->name : "");
	to->raw = (Elf64_Sym){
		.st_info = ELF64_ST_INFO(s->bind, s->type),
		.st_other = s->visibility,
		.st_shndx = (uint16_t)s->shndx,
		.st_value = s->value,
		.st_size = s->size,
	};
	return (uint32_t)w->symbols.nr;
}

void lp_elf_writer_rela(struct lp_elf_writer *w, uint32_t section, const struct lp_elf_place_rela *r)
{
	lp_vec_push(&w->sections.items[section - 1].relocs, *r);
}

/* ---- the tables at the end ---- */

/* Offset of the name in a string table that is being filled; "" is the NUL at its start. */
static uint32_t add_name(struct lp_buf *names, const char *name)
{
	uint32_t at = (uint32_t)names->len;

	if (!*name)
		return 0;
	lp_buf_add(names, name, strlen(name) + 1);
	return at;
}

/* gABI: all local symbols before the others; sh_info is the first that is not. */
static uint32_t number_symbols(struct lp_elf_writer *w)
{
	uint32_t next = 1, first_global;

	for (size_t i = 0; i < w->symbols.nr; i++)
		if (ELF64_ST_BIND(w->symbols.items[i].raw.st_info) == STB_LOCAL)
			w->symbols.items[i].index = next++;
	first_global = next;
	for (size_t i = 0; i < w->symbols.nr; i++)
		if (ELF64_ST_BIND(w->symbols.items[i].raw.st_info) != STB_LOCAL)
			w->symbols.items[i].index = next++;
	return first_global;
}

static void put_symbols(struct lp_elf_writer *w, struct lp_buf *table, struct lp_buf *names)
{
	lp_buf_fill(names, 0, 1);
	lp_buf_fill(table, 0, (w->symbols.nr + 1) * sizeof(Elf64_Sym));
	for (size_t i = 0; i < w->symbols.nr; i++) {
		struct written_symbol *s = &w->symbols.items[i];
		s->raw.st_name = add_name(names, s->name);
		memcpy(table->data + s->index * sizeof(Elf64_Sym), &s->raw, sizeof s->raw);
	}
}

static void put_relocs(const struct lp_elf_writer *w, const struct written_section *s, struct lp_buf *table)
{
	for (size_t i = 0; i < s->relocs.nr; i++) {
		const struct lp_elf_place_rela *r = &s->relocs.items[i];
		uint64_t index = r->symbol ? w->symbols.items[r->symbol - 1].index : 0;
		Elf64_Rela raw = {.r_offset = r->offset, .r_info = ELF64_R_INFO(index, r->type), .r_addend = r->addend};
		lp_buf_add(table, &raw, sizeof raw);
	}
}

static uint32_t add_table(struct lp_elf_writer *w, const char *name, uint32_t type, uint64_t entsize,
			  struct lp_buf *data)
{
	uint32_t index = lp_elf_writer_section(w, &(struct lp_elf_section){
							  .name = name,
							  .type = type,
							  .align = entsize ? 8 : 1,
							  .entsize = entsize,
							  .data = data->data,
							  .size = data->len,
						  });
	lp_buf_free(data);
	return index;
}

static void add_relocs(struct lp_elf_writer *w, uint32_t section, uint32_t symtab)
{
	struct lp_buf table = {0};
	char *name = lp_sprintf(".rela%s", w->sections.items[section - 1].name);

	put_relocs(w, &w->sections.items[section - 1], &table);
	uint32_t index = add_table(w, name, SHT_RELA, sizeof(Elf64_Rela), &table);
	w->sections.items[index - 1].header.sh_link = symtab;
	w->sections.items[index - 1].header.sh_info = section;
	w->sections.items[index - 1].header.sh_flags = SHF_INFO_LINK;
	lp_free(name);
}

/* Relocation tables, .symtab, .strtab; the indexes that they name each other by are known beforehand. */
static void add_tables(struct lp_elf_writer *w)
{
	struct lp_buf symbols = {0}, names = {0};
	uint32_t nr = (uint32_t)w->sections.nr, nr_relocs = 0, first_global = number_symbols(w);

	for (uint32_t i = 0; i < nr; i++)
		nr_relocs += w->sections.items[i].relocs.nr != 0;
	uint32_t symtab = nr + nr_relocs + 1;
	for (uint32_t i = 0; i < nr; i++)
		if (w->sections.items[i].relocs.nr)
			add_relocs(w, i + 1, symtab);
	put_symbols(w, &symbols, &names);
	add_table(w, ".symtab", SHT_SYMTAB, sizeof(Elf64_Sym), &symbols);
	w->sections.items[symtab - 1].header.sh_link = symtab + 1;
	w->sections.items[symtab - 1].header.sh_info = first_global;
	add_table(w, ".strtab", SHT_STRTAB, 0, &names);
}

static void add_section_names(struct lp_elf_writer *w)
{
	struct lp_buf names = {0};

	lp_buf_fill(&names, 0, 1);
	for (size_t i = 0; i < w->sections.nr; i++)
		w->sections.items[i].header.sh_name = add_name(&names, w->sections.items[i].name);
	uint32_t own = add_name(&names, ".shstrtab");
	uint32_t index = add_table(w, ".shstrtab", SHT_STRTAB, 0, &names);
	w->sections.items[index - 1].header.sh_name = own;
}

/* ---- the file ---- */

static void pad_to(struct lp_buf *out, size_t base, uint64_t align)
{
	lp_buf_fill(out, 0, lp_align_up(out->len - base, align) - (out->len - base));
}

static void put_contents(struct lp_elf_writer *w, struct lp_buf *out, size_t base)
{
	for (size_t i = 0; i < w->sections.nr; i++) {
		struct written_section *s = &w->sections.items[i];
		if (s->header.sh_type != SHT_NOBITS)
			pad_to(out, base, s->header.sh_addralign);
		s->header.sh_offset = out->len - base;
		if (s->data.len)
			lp_buf_add(out, s->data.data, s->data.len);
	}
}

static Elf64_Ehdr file_header(const struct lp_elf_writer *w, uint64_t shoff)
{
	return (Elf64_Ehdr){
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_REL,
		.e_machine = w->machine,
		.e_version = EV_CURRENT,
		.e_shoff = shoff,
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = (uint16_t)(w->sections.nr + 1),
		.e_shstrndx = (uint16_t)w->sections.nr,
	};
}

int lp_elf_writer_finish(struct lp_elf_writer *w, struct lp_buf *out, struct lp_err *err)
{
	size_t base = out->len;
	Elf64_Shdr none = {0};

	if (w->sections.nr > SHN_LORESERVE / 2 - 4)
		return lp_fail(err, EFBIG, "%zu sections are too many for one object", w->sections.nr);
	add_tables(w);
	add_section_names(w);
	lp_buf_fill(out, 0, sizeof(Elf64_Ehdr));
	put_contents(w, out, base);
	pad_to(out, base, 8);
	Elf64_Ehdr header = file_header(w, out->len - base);
	lp_buf_add(out, &none, sizeof none);
	for (size_t i = 0; i < w->sections.nr; i++)
		lp_buf_add(out, &w->sections.items[i].header, sizeof(Elf64_Shdr));
	memcpy(out->data + base, &header, sizeof header);
	return 0;
}
