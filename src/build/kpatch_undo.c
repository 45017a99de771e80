/*
 * The last step: from the linked form, where everything has an address, to the relocatable object of
 * docs/format-kpatch.md, where everything is somewhere in a section.
 */
#include "build/kpatch_bind.h"
#include "build/kpatch_eh_frame.h"
#include "build/kpatch_strip.h"
#include "elf/writer.h"
#include "isa/isa.h"
#include "patch/kpatch.h"

#include <string.h>

struct record {
	char *name;
	uint64_t daddr; /* in the original */
	uint32_t dlen;
};

struct undo {
	struct binder b;
	const struct lp_isa *isa;
	struct lp_elf_writer *w;
	struct lp_err *err;
	uint32_t *own, *originals;	  /* by section number: what the writer calls them */
	uint32_t *own_sym, *original_sym; /* their section symbols */
	uint32_t *symbols[2];		  /* by symbol number, and whether it is meant as an entry */
	LP_VEC(struct record) records;
};

/* ---- sections ---- */

static bool is_table_of_relocations(const Elf64_Shdr *s)
{
	return s->sh_type == SHT_RELA || s->sh_type == SHT_REL;
}

static uint64_t flags_of(const char *name, const Elf64_Shdr *s)
{
	static const char *const constant[] = {".kpatch.info", ".kpatch.strtab", ".kpatch.rodata",
					       ".kpatch.gcc_except_table"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(constant); i++)
		if (!strcmp(name, constant[i]))
			return SHF_ALLOC;
	if (!strncmp(name, ".livepatch", 10)) /* for us alone */
		return 0;
	return s->sh_flags & (SHF_ALLOC | SHF_WRITE | SHF_EXECINSTR);
}

/* What a section may ask for: a power of two, and no more than a reader of patches takes. */
#define ALIGN_MAX LP_PAGE

static bool is_alignment(uint64_t align)
{
	return align <= ALIGN_MAX && !(align & (align - 1));
}

static int add_own(struct undo *u, size_t i)
{
	const Elf64_Shdr *s = lp_elf_section(u->b.patch, i);
	const char *name = lp_elf_section_name(u->b.patch, s);
	size_t len = 0;
	const uint8_t *data = s->sh_type == SHT_NOBITS ? NULL : lp_elf_section_data(u->b.patch, s, &len);
	if (s->sh_type == SHT_NOBITS || (!data && s->sh_size))
		return lp_fail(u->err, LP_EELF, "%s: section %s of the patch has no contents", lp_elf_name(u->b.patch),
			       name);
	if (!is_alignment(s->sh_addralign))
		return lp_fail(u->err, LP_EELF, "%s: section %s has an alignment of %llu", lp_elf_name(u->b.patch),
			       name, (unsigned long long)s->sh_addralign);
	struct lp_buf copy = {0};
	lp_buf_add(&copy, data, len);
	for (size_t r = 0; (r + 1) * LP_KPATCH_RECORD_SIZE <= len && r < u->records.nr && !strcmp(name, ".kpatch.info");
	     r++)
		memcpy(copy.data + r * LP_KPATCH_RECORD_SIZE + 32, &u->records.items[r].daddr, 8); /* vaddr */
	bool data_section = !strcmp(name, ".kpatch.data");
	u->own[i] = lp_elf_writer_section(
		u->w, &(struct lp_elf_section){
			      .name = name,
			      .type = SHT_PROGBITS,
			      .flags = flags_of(name, s),
			      .align = data_section && s->sh_addralign < 4096 ? 4096 : s->sh_addralign,
			      .data = copy.data,
			      .size = copy.len,
		      });
	lp_buf_free(&copy);
	return 0;
}

/* Code and what is read only first, .kpatch.data last. */
static int add_own_sections(struct undo *u, bool writable)
{
	int rc = 0;
	for (size_t i = 1; i < lp_elf_section_count(u->b.patch) && !rc; i++) {
		const Elf64_Shdr *s = lp_elf_section(u->b.patch, i);
		const char *name = lp_elf_section_name(u->b.patch, s);
		if (!is_patch_section(name) || is_table_of_relocations(s) || !strcmp(name, ".kpatch.eh_frame"))
			continue;
		if (writable == !!(flags_of(name, s) & SHF_WRITE))
			rc = add_own(u, i);
	}
	return rc;
}

static uint32_t original_section(struct undo *u, size_t i)
{
	const Elf64_Shdr *s = lp_elf_section(u->b.original, i);
	if (!u->originals[i])
		u->originals[i] = lp_elf_writer_section(
			u->w, &(struct lp_elf_section){
				      .name = lp_elf_section_name(u->b.original, s),
				      .type = SHT_NOBITS,
				      .flags = s->sh_flags & (SHF_ALLOC | SHF_WRITE | SHF_EXECINSTR | SHF_TLS),
				      .addr = s->sh_addr,
				      .align = is_alignment(s->sh_addralign) ? s->sh_addralign : 1,
				      .size = s->sh_size,
			      });
	return u->originals[i];
}

/* ---- symbols ---- */

static uint32_t section_symbol(struct undo *u, uint32_t section, uint32_t *cache)
{
	if (!*cache)
		*cache = lp_elf_writer_symbol(u->w, &(struct lp_elf_symbol){.type = STT_SECTION, .shndx = section});
	return *cache;
}

/* Readers want to know what a symbol is, and the linker does not always say. */
static uint8_t type_of(const struct lp_elf_sym *s, const Elf64_Shdr *section)
{
	if (s->type == STT_FUNC || s->type == STT_OBJECT || s->type == STT_TLS)
		return s->type;
	if (section && (section->sh_flags & SHF_TLS))
		return STT_TLS;
	return !section || (section->sh_flags & SHF_EXECINSTR) ? STT_FUNC : STT_OBJECT;
}

static uint32_t dynamic_symbol(struct undo *u, const struct lp_elf_sym *s)
{
	bool versioned = s->version && s->shndx == SHN_UNDEF;
	char *name = lp_sprintf("%s%s%s", s->name, versioned ? "@" : "", versioned ? s->version : "");
	uint32_t symbol = lp_elf_writer_symbol(u->w, &(struct lp_elf_symbol){
							     .name = name,
							     .bind = s->bind == STB_WEAK ? STB_WEAK : STB_GLOBAL,
							     .type = type_of(s, NULL),
						     });
	lp_free(name);
	return symbol;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);
	return n >= m && !strcmp(s + n - m, end);
}

static uint32_t own_symbol(struct undo *u, const struct binding *bound)
{
	const struct lp_elf_sym *s = &bound->sym;
	const Elf64_Shdr *section = lp_elf_section(u->b.patch, bound->section);
	bool shared = s->bind != STB_LOCAL && s->visibility == STV_DEFAULT && !ends_with(s->name, ".kpatch");
	return lp_elf_writer_symbol(u->w, &(struct lp_elf_symbol){
						  .name = s->name,
						  .bind = shared ? STB_GLOBAL : STB_LOCAL,
						  .type = type_of(s, section),
						  .shndx = u->own[bound->section],
						  .value = bound->offset,
						  .size = s->size,
					  });
}

static uint32_t original_symbol(struct undo *u, const struct binding *bound)
{
	const Elf64_Shdr *section = lp_elf_section(u->b.original, bound->section);
	return lp_elf_writer_symbol(u->w, &(struct lp_elf_symbol){
						  .name = bound->sym.name,
						  .type = type_of(&bound->sym, section),
						  .shndx = original_section(u, bound->section),
						  .value = bound->offset,
						  .size = bound->sym.size,
					  });
}

static int symbol_for(struct undo *u, size_t index, bool own_entry, uint32_t *out, struct binding *bound)
{
	int rc = binder_bind(&u->b, index, own_entry, bound, u->err);
	*out = 0;
	if (rc < 0 || bound->kind == BOUND_NOWHERE)
		return rc;
	uint32_t *cache = &u->symbols[own_entry][index];
	if (!*cache) {
		bool whole = bound->sym.type == STT_SECTION;
		if (bound->kind == BOUND_DYNAMIC)
			*cache = dynamic_symbol(u, &bound->sym);
		else if (bound->kind == BOUND_OWN && !u->own[bound->section])
			return lp_fail(u->err, LP_EELF, "%s: the patch refers to its tables", lp_elf_name(u->b.patch));
		else if (bound->kind == BOUND_OWN)
			*cache = whole ? section_symbol(u, u->own[bound->section], &u->own_sym[bound->section])
				       : own_symbol(u, bound);
		else
			*cache = whole ? section_symbol(u, original_section(u, bound->section),
							&u->original_sym[bound->section])
				       : original_symbol(u, bound);
	}
	*out = *cache;
	return 0;
}

/* ---- relocations ---- */

static int undo_section(struct undo *u, size_t section)
{
	size_t nr, target;
	const uint8_t *data = patch_relocations(u->b.patch, section, &nr, &target);
	if (!data || !u->own[target])
		return 0;
	const Elf64_Shdr *t = lp_elf_section(u->b.patch, target);
	bool info = !strcmp(lp_elf_section_name(u->b.patch, t), ".kpatch.info");
	for (size_t i = 0; i < nr; i++) {
		Elf64_Rela r;
		struct binding bound;
		uint32_t symbol;
		memcpy(&r, data + i * sizeof r, sizeof r);
		if (!ELF64_R_TYPE(r.r_info))
			continue;
		int rc = symbol_for(u, ELF64_R_SYM(r.r_info), info, &symbol, &bound);
		if (rc < 0)
			return rc;
		lp_elf_writer_rela(u->w, u->own[target],
				   &(struct lp_elf_place_rela){
					   .offset = r.r_offset - t->sh_addr,
					   .type = (uint32_t)ELF64_R_TYPE(r.r_info),
					   .symbol = symbol,
					   .addend = r.r_addend,
				   });
	}
	return 0;
}

/* ---- the records, as the patched program has them ---- */

static const uint8_t *patch_section(struct undo *u, const char *name, size_t *len)
{
	const Elf64_Shdr *s = lp_elf_section_find(u->b.patch, name);
	return s && s->sh_type != SHT_NOBITS ? lp_elf_section_data(u->b.patch, s, len) : NULL;
}

static char *string_at(const uint8_t *bytes, size_t len, uint64_t at)
{
	if (!bytes || at >= len || !memchr(bytes + at, 0, len - at))
		return NULL;
	return lp_strdup((const char *)bytes + at);
}

static int read_record_word(struct undo *u, const Elf64_Rela *r, uint64_t at, const uint8_t *names, size_t names_len)
{
	struct binding bound;
	struct record *record = &u->records.items[at / LP_KPATCH_RECORD_SIZE];
	unsigned field = at % LP_KPATCH_RECORD_SIZE;
	if (field != 0 && field != 24)
		return 0;
	int rc = binder_bind(&u->b, ELF64_R_SYM(r->r_info), true, &bound, u->err);
	if (rc < 0)
		return rc;
	uint64_t offset = bound.offset + (uint64_t)r->r_addend;
	if (field == 24 && bound.kind == BOUND_OWN) {
		lp_free(record->name);
		record->name = string_at(names, names_len, offset);
	} else if (field == 0 && bound.kind == BOUND_ORIGINAL) {
		record->daddr = lp_elf_section(u->b.original, bound.section)->sh_addr + offset;
	} else if (field == 0) {
		return lp_fail(u->err, LP_ENOSYM, "%s has no function %s", lp_elf_name(u->b.original), bound.sym.name);
	}
	return 0;
}

static int read_records(struct undo *u)
{
	size_t len = 0, names_len = 0;
	const uint8_t *info = patch_section(u, ".kpatch.info", &len),
		      *names = patch_section(u, ".kpatch.strtab", &names_len);
	if (!info)
		return lp_fail(u->err, LP_EKPATCH, "%s has no section .kpatch.info", lp_elf_name(u->b.patch));
	for (size_t i = 0; i + LP_KPATCH_RECORD_SIZE <= len; i += LP_KPATCH_RECORD_SIZE) {
		struct record *r = lp_vec_add(&u->records);
		memcpy(&r->dlen, info + i + 16, 4);
	}
	for (size_t s = 1; s < lp_elf_section_count(u->b.patch); s++) {
		size_t nr, target;
		const uint8_t *relas = patch_relocations(u->b.patch, s, &nr, &target);
		const Elf64_Shdr *t = relas ? lp_elf_section(u->b.patch, target) : NULL;
		if (!t || strcmp(lp_elf_section_name(u->b.patch, t), ".kpatch.info") != 0)
			continue;
		for (size_t i = 0; i < nr; i++) {
			Elf64_Rela r;
			memcpy(&r, relas + i * sizeof r, sizeof r);
			uint64_t at = r.r_offset - t->sh_addr;
			if (!ELF64_R_TYPE(r.r_info) || at / LP_KPATCH_RECORD_SIZE >= u->records.nr)
				continue;
			int rc = read_record_word(u, &r, at, names, names_len);
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

/* ---- what memory must look like ---- */

struct old_table {
	struct lp_buf entries, bytes; /* offsets in `bytes` still from its own start */
	uint32_t count;
};

static void put_u32(struct lp_buf *b, uint32_t v)
{
	lp_buf_add(b, &v, sizeof v);
}

/* Words that the loader changes. */
static uint32_t ignored_words(struct undo *u, uint64_t vaddr, uint32_t len, struct lp_buf *out)
{
	struct lp_elf_rela_iter it = {0};
	struct lp_elf_rela r;
	uint32_t nr = 0;
	while (lp_elf_rela_next(u->b.original, &it, &r, NULL) == 1) {
		const struct lp_reloc_howto *h = u->isa->howto(r.type);
		if (!h || !h->width || r.offset < vaddr || r.offset - vaddr >= len)
			continue;
		uint32_t start = (uint32_t)(r.offset - vaddr);
		put_u32(out, start);
		put_u32(out, h->width < len - start ? h->width : len - start);
		nr++;
	}
	return nr;
}

static void add_old(struct undo *u, struct old_table *t, uint64_t vaddr, uint32_t len, uint32_t flags, uint32_t record)
{
	const uint8_t *bytes = lp_elf_bytes_at_vaddr(u->b.original, vaddr, len);
	struct lp_buf ignore = {0};
	/* With more, nobody would take the file: records that share their functions, in somebody's bad joke. */
	if (!bytes || !len || t->bytes.len + len > LP_KPATCH_FILE_MAX)
		return;
	uint32_t nr_ignore = ignored_words(u, vaddr, len, &ignore);
	lp_buf_add(&t->entries, &vaddr, sizeof vaddr);
	put_u32(&t->entries, len);
	put_u32(&t->entries, flags);
	put_u32(&t->entries, (uint32_t)t->bytes.len);
	lp_buf_add(&t->bytes, bytes, len);
	put_u32(&t->entries, (uint32_t)t->bytes.len);
	lp_buf_add(&t->bytes, ignore.data, ignore.len);
	put_u32(&t->entries, nr_ignore);
	put_u32(&t->entries, record);
	t->count++;
	lp_buf_free(&ignore);
}

/* The cold part of a function, when there is exactly one of that name. */
static bool find_cold(struct undo *u, const char *name, struct lp_elf_sym *out)
{
	char *cold = lp_sprintf("%s.cold", name);
	struct lp_elf_sym s;
	size_t cursor = 0, found = 0;
	while (lp_elf_symbol_by_name(u->b.original, LP_SYMTAB, cold, &cursor, &s))
		if (s.type == STT_FUNC && s.shndx != SHN_UNDEF && s.size && s.size <= UINT32_MAX) {
			*out = s;
			found++;
		}
	lp_free(cold);
	return found == 1;
}

static void add_old_section(struct undo *u)
{
	struct old_table t = {.count = 0};
	for (uint32_t i = 0; i < u->records.nr; i++) {
		const struct record *r = &u->records.items[i];
		struct lp_elf_sym cold;
		if (!r->dlen)
			continue;
		add_old(u, &t, r->daddr, r->dlen, 0, i);
		if (r->name && find_cold(u, r->name, &cold))
			add_old(u, &t, cold.value, (uint32_t)cold.size, LP_KPATCH_OLD_WATCH, i);
	}
	struct lp_buf out = {0};
	uint32_t base = 8 + (uint32_t)t.entries.len;
	for (uint32_t i = 0; i < t.count; i++) {
		uint32_t at;
		for (size_t field = 16; field <= 20; field += 4) { /* offsets from the section's start */
			memcpy(&at, t.entries.data + 32 * i + field, 4);
			at += base;
			memcpy(t.entries.data + 32 * i + field, &at, 4);
		}
	}
	put_u32(&out, 1);
	put_u32(&out, t.count);
	lp_buf_add(&out, t.entries.data, t.entries.len);
	lp_buf_add(&out, t.bytes.data, t.bytes.len);
	if (t.count)
		lp_elf_writer_section(u->w, &(struct lp_elf_section){
						    .name = ".livepatch.old",
						    .type = SHT_PROGBITS,
						    .align = 8,
						    .data = out.data,
						    .size = out.len,
					    });
	lp_buf_free(&out);
	lp_buf_free(&t.entries);
	lp_buf_free(&t.bytes);
}

static int add_meta(struct undo *u, const char *object)
{
	const char *slash = strrchr(object, '/');
	struct lp_kpatch_meta meta = {.object = slash ? slash + 1 : object};
	LP_VEC(struct lp_kpatch_function) functions = {0};
	struct lp_buf json = {0};
	lp_elf_build_id(u->b.original, &meta.build_id);
	for (size_t i = 0; i < u->records.nr; i++) {
		const struct record *r = &u->records.items[i];
		if (r->name)
			lp_vec_push(&functions,
				    ((struct lp_kpatch_function){.name = r->name,
								 .why = r->dlen ? (char *)"its assembly differs"
										: (char *)"new"}));
	}
	struct lp_kpatch_notes notes = {
		.tool = "kpatch_strip", .functions = functions.items, .nr_functions = functions.nr};
	int rc = lp_kpatch_meta_json(&meta, &notes, &json, u->err);
	if (!rc)
		lp_elf_writer_section(u->w, &(struct lp_elf_section){
						    .name = ".livepatch.meta",
						    .type = SHT_PROGBITS,
						    .data = json.data,
						    .size = json.len,
					    });
	lp_buf_free(&json);
	lp_vec_free(&functions);
	return rc;
}

/* ---- unwind tables ---- */

/* A library's function whose address is its PLT entry, in a program that is not position independent. */
static uint32_t symbol_of_plt_entry(struct undo *u, uint64_t vaddr)
{
	for (size_t i = 1; i < lp_elf_symbol_count(u->b.patch, LP_SYMTAB); i++) {
		struct lp_elf_sym s;
		struct binding bound;
		uint32_t symbol;
		if (!lp_elf_symbol(u->b.patch, LP_SYMTAB, i, &s) || s.shndx != SHN_UNDEF || s.type != STT_FUNC ||
		    s.value != vaddr)
			continue;
		if (!symbol_for(u, i, false, &symbol, &bound) && bound.kind == BOUND_ORIGINAL)
			return symbol;
	}
	return 0;
}

/* An address of the patched program, as symbol and addend; 0 = not to be found in the original. */
static uint32_t symbol_of_address(struct undo *u, uint64_t vaddr, int64_t *addend)
{
	for (size_t i = 1; i < lp_elf_section_count(u->b.patch); i++) {
		const Elf64_Shdr *s = lp_elf_section(u->b.patch, i);
		const char *name = lp_elf_section_name(u->b.patch, s);
		if (!(s->sh_flags & SHF_ALLOC) || (s->sh_flags & SHF_TLS) || vaddr < s->sh_addr ||
		    vaddr - s->sh_addr >= s->sh_size)
			continue;
		*addend = (int64_t)(vaddr - s->sh_addr);
		if (u->own[i])
			return section_symbol(u, u->own[i], &u->own_sym[i]);
		for (size_t k = 1; k < lp_elf_section_count(u->b.original); k++) {
			const Elf64_Shdr *o = lp_elf_section(u->b.original, k);
			if (!strcmp(lp_elf_section_name(u->b.original, o), name) && o->sh_size == s->sh_size)
				return section_symbol(u, original_section(u, k), &u->original_sym[k]);
		}
	}
	*addend = 0;
	return symbol_of_plt_entry(u, vaddr);
}

static uint32_t type_for(const struct undo *u, const struct eh_pointer *p)
{
	if (p->width == 8 && !p->relative)
		return u->isa->reloc_abs64;
	for (uint32_t type = 1; type < 1100; type++) {
		const struct lp_reloc_howto *h = u->isa->howto(type);
		if (h && h->width == p->width && h->formula == (p->relative ? LP_RELOC_PC : LP_RELOC_ABS))
			return type;
	}
	return 0;
}

static int add_eh_pointers(struct undo *u, const struct eh_tables *t, uint32_t section)
{
	for (size_t i = 0; i < t->pointers.nr; i++) {
		const struct eh_pointer *p = &t->pointers.items[i];
		int64_t addend = 0;
		uint32_t symbol = symbol_of_address(u, p->to, &addend), type = type_for(u, p);
		if (!symbol || !type)
			return lp_fail(u->err, LP_ERELOC,
				       "the patch has exception handlers, and what they need (0x%llx in the patched "
				       "program) is not in "
				       "the original: build the patch with livepatch build",
				       (unsigned long long)p->to);
		lp_elf_writer_rela(
			u->w, section,
			&(struct lp_elf_place_rela){.offset = p->at, .type = type, .symbol = symbol, .addend = addend});
	}
	return 0;
}

/* Can all that the tables point to be found? */
static bool eh_pointers_resolve(struct undo *u, const struct eh_tables *t)
{
	int64_t addend;
	for (size_t i = 0; i < t->pointers.nr; i++)
		if (!symbol_of_address(u, t->pointers.items[i].to, &addend) || !type_for(u, &t->pointers.items[i]))
			return false;
	return true;
}

static int add_eh_frame(struct undo *u)
{
	const Elf64_Shdr *s = lp_elf_section_find(u->b.patch, ".eh_frame");
	const Elf64_Shdr *text = lp_elf_section_find(u->b.patch, ".kpatch.text");
	struct eh_tables t = {.handlers = false};
	size_t len = 0;
	const uint8_t *bytes = s && s->sh_type != SHT_NOBITS ? lp_elf_section_data(u->b.patch, s, &len) : NULL;
	if (!bytes || !text)
		return 0;
	int rc = eh_tables_pick(bytes, len, s->sh_addr, text->sh_addr, text->sh_addr + text->sh_size, &t, u->err);
	/* Without handlers the tables serve debuggers and later looks at the stack: better none than no patch. */
	if (!rc && t.bytes.len && (t.handlers || eh_pointers_resolve(u, &t))) {
		uint32_t section = lp_elf_writer_section(u->w, &(struct lp_elf_section){
								       .name = ".kpatch.eh_frame",
								       .type = SHT_PROGBITS,
								       .flags = SHF_ALLOC,
								       .align = 8,
								       .data = t.bytes.data,
								       .size = t.bytes.len,
							       });
		rc = add_eh_pointers(u, &t, section);
	}
	eh_tables_free(&t);
	return rc;
}

/* ---- all together ---- */

static int undo_all(struct undo *u, const char *object, struct lp_buf *out)
{
	int rc = read_records(u);
	if (!rc)
		rc = add_own_sections(u, false);
	if (!rc)
		rc = add_eh_frame(u);
	if (!rc)
		rc = add_own_sections(u, true);
	for (size_t i = 1; i < lp_elf_section_count(u->b.patch) && !rc; i++)
		rc = undo_section(u, i);
	if (!rc)
		add_old_section(u);
	if (!rc)
		rc = add_meta(u, object);
	return rc ? rc : lp_elf_writer_finish(u->w, out, u->err);
}

static uint32_t *numbers(size_t nr)
{
	return lp_alloc((nr + 1) * sizeof(uint32_t));
}

int lp_kpatch_undo_link(struct lp_elf *original, struct lp_elf *patch, const char *object, struct lp_buf *out,
			struct lp_err *err)
{
	struct undo u = {.err = err, .isa = lp_isa_of(lp_elf_header(patch)->e_machine)};
	if (!u.isa || lp_elf_header(original)->e_machine != u.isa->elf_machine)
		return lp_fail(err, LP_EISA, "%s and %s are not for the same instruction set, or it is not supported",
			       lp_elf_name(original), lp_elf_name(patch));
	if (lp_elf_header(patch)->e_type == ET_REL)
		return lp_fail(err, LP_EKPATCH, "%s is relocatable already", lp_elf_name(patch));
	binder_init(&u.b, original, patch);
	u.w = lp_elf_writer_new(u.isa->elf_machine);
	u.own = numbers(lp_elf_section_count(patch));
	u.own_sym = numbers(lp_elf_section_count(patch));
	u.originals = numbers(lp_elf_section_count(original));
	u.original_sym = numbers(lp_elf_section_count(original));
	u.symbols[0] = numbers(lp_elf_symbol_count(patch, LP_SYMTAB));
	u.symbols[1] = numbers(lp_elf_symbol_count(patch, LP_SYMTAB));
	int rc = undo_all(&u, object, out);
	for (size_t i = 0; i < u.records.nr; i++)
		lp_free(u.records.items[i].name);
	lp_vec_free(&u.records);
	lp_elf_writer_free(u.w);
	lp_free(u.own);
	lp_free(u.own_sym);
	lp_free(u.originals);
	lp_free(u.original_sym);
	lp_free(u.symbols[0]);
	lp_free(u.symbols[1]);
	return rc;
}
