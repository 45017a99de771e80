/*
 * Reading .kpatch files.
 *
 * Nothing in the file is believed.  After lp_kpatch_from_bytes() these hold,
 * and the core relies on them:
 *
 *   - every own section lies inside the file, is not W and X at once, and has
 *     an alignment that is a power of two and at most a page;
 *   - every relocation table is whole, belongs to a section with bytes, and
 *     each entry names a symbol that exists; the place's offset is inside its
 *     section (how many bytes the type touches there is for who applies it);
 *   - each symbol that a relocation uses lies in no section, in an own section
 *     or in one of the original, with a value inside of it or at its end;
 *   - .kpatch.info is an own section;
 *   - what the entries of .livepatch.old compare and ignore is together no
 *     more than that section, so that comparing takes no longer than reading;
 *   - names are strings that end.
 */
#include "patch/kpatch.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bits.h"
#include "base/fdio.h"
#include "base/vec.h"

#define SECTIONS_MAX 65280u /* SHN_LORESERVE: extended numbering is not for patches */
#define OLD_HEADER 8u
#define OLD_ENTRY 32u
#define OLD_VERSION 1u
#define HOOK_SIZE 16u
#define META_MAX (16u << 20)

static const struct lp_kpatch_layout layouts[] = {
	[LP_KPATCH_PLUS] = {"LibcarePlus", 504, 8, 24, 88, 41, 136, 152, 156, 160, 164, 168, 176, 184},
	[LP_KPATCH_LIBCARE] = {"libcare", 688, 0, 16, 80, 256, 336, 352, 356, 360, 364, 0, 0, 368},
};

#define MODULENAME_SIZE 64u
#define ID_SIZE 8u

const struct lp_kpatch_layout *lp_kpatch_layout(enum lp_kpatch_variant v)
{
	return &layouts[v];
}

void lp_kpatch_record_decode(const uint8_t *bytes, struct lp_kpatch_record *out)
{
	*out = (struct lp_kpatch_record){.daddr = lp_get64(bytes),
					 .saddr = lp_get64(bytes + 8),
					 .dlen = lp_get32(bytes + 16),
					 .slen = lp_get32(bytes + 20),
					 .symstr = lp_get64(bytes + 24),
					 .vaddr = lp_get64(bytes + 32),
					 .flags = lp_get32(bytes + 40)};
}

bool lp_kpatch_record_is_end(const struct lp_kpatch_record *r)
{
	return !r->daddr && !r->saddr && !r->dlen && !r->slen;
}

/* ---- the header ---- */

bool lp_kpatch_is(const void *bytes, size_t len)
{
	return len >= sizeof LP_KPATCH_MAGIC && memcmp(bytes, LP_KPATCH_MAGIC, sizeof LP_KPATCH_MAGIC) == 0;
}

static bool is_variant(const struct lp_kpatch *k, const struct lp_kpatch_layout *l)
{
	return k->len >= l->header_size + SELFMAG && lp_get32(k->bytes + l->kpatch_offset) == l->header_size &&
	       memcmp(k->bytes + l->header_size, ELFMAG, SELFMAG) == 0;
}

static const struct lp_kpatch_layout *find_variant(struct lp_kpatch *k)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(layouts); i++)
		if (is_variant(k, &layouts[i])) {
			k->variant = (enum lp_kpatch_variant)i;
			return &layouts[i];
		}
	return NULL;
}

/* Lists have a line for it. */
static bool is_line(const char *text)
{
	while ((unsigned char)*text >= 0x20 && *text != 0x7f)
		text++;
	return !*text;
}

/* A field of text; what has no end within it is malformed. */
static int text_field(const struct lp_kpatch *k, uint32_t at, uint32_t size, const char *what, char **out,
		      struct lp_err *err)
{
	const char *text = (const char *)k->bytes + at;
	if (!memchr(text, 0, size))
		return lp_fail(err, LP_EKPATCH, "%s: the %s in the header has no end", k->path, what);
	if (!is_line(text))
		return lp_fail(err, LP_EKPATCH, "%s: the %s in the header is not printable", k->path, what);
	lp_free(*out);
	*out = lp_strdup(text);
	return 0;
}

static int read_build_id(struct lp_kpatch *k, const struct lp_kpatch_layout *l, struct lp_err *err)
{
	char *hex = NULL;
	int rc = text_field(k, l->buildid, l->buildid_size, "build-id", &hex, err);
	if (rc == 0 && hex[0] && !lp_build_id_parse(hex, &k->build_id))
		rc = lp_fail(err, LP_EKPATCH, "%s: the build-id in the header is not one", k->path);
	lp_free(hex);
	return rc;
}

static int read_header(struct lp_kpatch *k, struct lp_err *err)
{
	if (!lp_kpatch_is(k->bytes, k->len))
		return lp_fail(err, LP_EKPATCH, "%s: not a .kpatch file", k->path);
	const struct lp_kpatch_layout *l = find_variant(k);
	if (!l)
		return lp_fail(
			err, LP_EKPATCH,
			"%s: a .kpatch file of unknown layout: no ELF object behind a header of 504 or 688 bytes",
			k->path);
	k->elf_offset = l->header_size;
	uint32_t total = lp_get32(k->bytes + l->total_size);
	if (total < l->header_size || total > k->len)
		return lp_fail(err, LP_EKPATCH, "%s is cut short: it says it has %u bytes, and has %zu", k->path, total,
			       k->len);
	k->len = total;
	k->build_time = (int64_t)lp_get64(k->bytes + l->build_time);
	k->level = lp_get32(k->bytes + l->entries + sizeof(uint32_t) * LP_KPATCH_ENTRY_LEVEL);
	int rc = l->id ? text_field(k, l->id, ID_SIZE, "patch id", &k->id, err) : 0;
	if (rc == 0 && k->id[0] && lp_kpatch_check_id(k->id, NULL) < 0)
		rc = lp_fail(err, LP_EKPATCH, "%s: the patch id in the header is not printable", k->path);
	rc = rc ? rc : text_field(k, l->modulename, MODULENAME_SIZE, "object's name", &k->object, err);
	return rc ? rc : read_build_id(k, l, err);
}

/* ---- sections ---- */

static bool is_ours_by_name(const char *name)
{
	return strncmp(name, ".kpatch.", 8) == 0;
}

bool lp_kpatch_is_own_section(const struct lp_kpatch *k, size_t i)
{
	const Elf64_Shdr *s = lp_elf_section(k->elf, i);
	if (!i || !s || s->sh_type == SHT_NOBITS || s->sh_type == SHT_NULL || s->sh_type == SHT_RELA)
		return false;
	/* strip(1) is not known to drop the flag, but the libcare tools' sections count by name. */
	return (s->sh_flags & SHF_ALLOC) || is_ours_by_name(lp_elf_section_name(k->elf, s));
}

bool lp_kpatch_is_original_section(const struct lp_kpatch *k, size_t i)
{
	const Elf64_Shdr *s = lp_elf_section(k->elf, i);
	return i && s && s->sh_type == SHT_NOBITS;
}

static int check_own(struct lp_kpatch *k, const Elf64_Shdr *s, struct lp_err *err)
{
	const char *name = lp_elf_section_name(k->elf, s);
	size_t len;
	if (s->sh_size && !lp_elf_section_data(k->elf, s, &len))
		return lp_fail(err, LP_EKPATCH, "%s: the section %s lies outside of the file", k->path, name);
	if ((s->sh_flags & (SHF_WRITE | SHF_EXECINSTR)) == (SHF_WRITE | SHF_EXECINSTR))
		return lp_fail(err, LP_EKPATCH, "%s: the section %s is both writable and executable", k->path, name);
	if (s->sh_flags & SHF_TLS)
		return lp_fail(err, LP_EKPATCH, "%s: the section %s is thread-local, which a patch cannot bring",
			       k->path, name);
	if (s->sh_addralign > LP_PAGE || (s->sh_addralign & (s->sh_addralign - 1)))
		return lp_fail(err, LP_EKPATCH, "%s: the section %s has an alignment of %" PRIu64, k->path, name,
			       (uint64_t)s->sh_addralign);
	return 0;
}

static int check_original(struct lp_kpatch *k, const Elf64_Shdr *s, struct lp_err *err)
{
	uint64_t end;
	if (__builtin_add_overflow(s->sh_addr, s->sh_size, &end))
		return lp_fail(err, LP_EKPATCH, "%s: the section %s of the original has impossible bounds", k->path,
			       lp_elf_section_name(k->elf, s));
	return 0;
}

static int check_sections(struct lp_kpatch *k, struct lp_err *err)
{
	size_t nr = lp_elf_section_count(k->elf);
	int rc = 0;
	if (nr < 2 || nr > SECTIONS_MAX)
		return lp_fail(err, LP_EKPATCH, "%s: its ELF object has %zu sections", k->path, nr);
	for (size_t i = 1; i < nr && rc == 0; i++) {
		const Elf64_Shdr *s = lp_elf_section(k->elf, i);
		if (s->sh_type == SHT_REL)
			rc = lp_fail(err, LP_EKPATCH, "%s: %s: relocations without addends are not for 64 bits",
				     k->path, lp_elf_section_name(k->elf, s));
		else if (s->sh_type != SHT_RELA && strncmp(lp_elf_section_name(k->elf, s), ".rela.", 6) == 0)
			rc = lp_fail(err, LP_EKPATCH, "%s: %s is called a table of relocations, and is none", k->path,
				     lp_elf_section_name(k->elf, s));
		else if (lp_kpatch_is_own_section(k, i))
			rc = check_own(k, s, err);
		else if (lp_kpatch_is_original_section(k, i))
			rc = check_original(k, s, err);
	}
	return rc;
}

/* Index of the one section of that name, 0 = none. */
static int find_section(struct lp_kpatch *k, const char *name, size_t *out, struct lp_err *err)
{
	*out = 0;
	for (size_t i = 1; i < lp_elf_section_count(k->elf); i++) {
		const Elf64_Shdr *s = lp_elf_section(k->elf, i);
		if (s->sh_type == SHT_NOBITS || strcmp(lp_elf_section_name(k->elf, s), name) != 0)
			continue;
		if (*out)
			return lp_fail(err, LP_EKPATCH, "%s has two sections %s", k->path, name);
		*out = i;
	}
	return 0;
}

static int section_bytes(struct lp_kpatch *k, const char *name, size_t *index, const uint8_t **bytes, size_t *len,
			 struct lp_err *err)
{
	*bytes = NULL;
	*len = 0;
	int rc = find_section(k, name, index, err);
	if (rc < 0 || !*index)
		return rc;
	const Elf64_Shdr *s = lp_elf_section(k->elf, *index);
	*bytes = lp_elf_section_data(k->elf, s, len);
	if (!*bytes && s->sh_size)
		return lp_fail(err, LP_EKPATCH, "%s: the section %s lies outside of the file", k->path, name);
	return 0;
}

/* ---- relocations ---- */

/* Section 0 is none, whatever its header says. */
static bool is_table(const struct lp_kpatch *k, size_t i)
{
	const Elf64_Shdr *s = lp_elf_section(k->elf, i);
	return i && s->sh_type == SHT_RELA;
}

bool lp_kpatch_rela_next(const struct lp_kpatch *k, struct lp_kpatch_rela_iter *it, struct lp_kpatch_rela *out)
{
	for (; it->table < lp_elf_section_count(k->elf); it->table++, it->i = 0) {
		size_t len;
		if (!is_table(k, it->table))
			continue;
		const Elf64_Shdr *s = lp_elf_section(k->elf, it->table);
		const uint8_t *bytes = lp_elf_section_data(k->elf, s, &len);
		if (!bytes || (it->i + 1) * sizeof(Elf64_Rela) > len)
			continue;
		Elf64_Rela r;
		memcpy(&r, bytes + it->i++ * sizeof r, sizeof r);
		*out = (struct lp_kpatch_rela){s->sh_info, r.r_offset, (uint32_t)ELF64_R_TYPE(r.r_info),
					       (uint32_t)ELF64_R_SYM(r.r_info), r.r_addend};
		return true;
	}
	return false;
}

static int check_table(struct lp_kpatch *k, size_t i, struct lp_err *err)
{
	const Elf64_Shdr *s = lp_elf_section(k->elf, i);
	const Elf64_Shdr *changed = lp_elf_section(k->elf, s->sh_info), *symbols = lp_elf_section(k->elf, s->sh_link);
	const char *name = lp_elf_section_name(k->elf, s);
	size_t len;
	if (s->sh_size && !lp_elf_section_data(k->elf, s, &len))
		return lp_fail(err, LP_EKPATCH, "%s: %s lies outside of the file", k->path, name);
	if (s->sh_size % sizeof(Elf64_Rela) || (s->sh_entsize && s->sh_entsize != sizeof(Elf64_Rela)))
		return lp_fail(err, LP_EKPATCH, "%s: %s is not a table of relocations", k->path, name);
	if (s->sh_size && (!s->sh_info || !changed || !lp_elf_section_data(k->elf, changed, &len)))
		return lp_fail(err, LP_EKPATCH, "%s: %s belongs to no section that has bytes", k->path, name);
	if (s->sh_size && (!symbols || symbols->sh_type != SHT_SYMTAB))
		return lp_fail(err, LP_EKPATCH, "%s: %s names no symbol table", k->path, name);
	return 0;
}

static int check_symbol(struct lp_kpatch *k, uint32_t index, struct lp_err *err)
{
	struct lp_elf_sym sym;
	if (!lp_elf_symbol(k->elf, LP_SYMTAB, index, &sym))
		return lp_fail(err, LP_EKPATCH, "%s: a relocation names symbol %u of %zu", k->path, index,
			       lp_elf_symbol_count(k->elf, LP_SYMTAB));
	if (sym.shndx == SHN_UNDEF || sym.shndx == SHN_ABS)
		return 0;
	const Elf64_Shdr *s = lp_elf_section(k->elf, sym.shndx);
	bool lies = lp_kpatch_is_own_section(k, sym.shndx) || lp_kpatch_is_original_section(k, sym.shndx);
	if (!lies)
		return lp_fail(err, LP_EKPATCH, "%s: the symbol %s lies in no section of the patch or of the original",
			       k->path, sym.name);
	if (sym.value > s->sh_size)
		return lp_fail(err, LP_EKPATCH, "%s: the symbol %s lies behind the end of its section %s", k->path,
			       sym.name, lp_elf_section_name(k->elf, s));
	return 0;
}

static int check_relocations(struct lp_kpatch *k, struct lp_err *err)
{
	struct lp_kpatch_rela_iter it = {0};
	struct lp_kpatch_rela r;
	int rc = 0;
	for (size_t i = 1; i < lp_elf_section_count(k->elf) && rc == 0; i++)
		if (is_table(k, i))
			rc = check_table(k, i, err);
	while (rc == 0 && lp_kpatch_rela_next(k, &it, &r)) {
		const Elf64_Shdr *s = lp_elf_section(k->elf, r.section);
		if (r.offset >= s->sh_size)
			rc = lp_fail(err, LP_EKPATCH,
				     "%s: a relocation at offset 0x%" PRIx64 " of %s, which has 0x%" PRIx64 " bytes",
				     k->path, r.offset, lp_elf_section_name(k->elf, s), (uint64_t)s->sh_size);
		else if (r.sym)
			rc = check_symbol(k, r.sym, err);
	}
	return rc;
}

/* ---- .kpatch.info ---- */

static int read_records(struct lp_kpatch *k, struct lp_err *err)
{
	const uint8_t *bytes;
	size_t len;
	int rc = section_bytes(k, ".kpatch.info", &k->info, &bytes, &len, err);
	if (rc < 0)
		return rc;
	if (!k->info)
		return lp_fail(err, LP_EKPATCH, "%s has no section .kpatch.info", k->path);
	if (!lp_kpatch_is_own_section(k, k->info))
		return lp_fail(err, LP_EKPATCH, "%s: the section .kpatch.info is of a type that is not loaded",
			       k->path);
	/* Relocated words of a record are zeros here; only a record without replacement is no record. */
	for (; (k->nr_records + 1) * LP_KPATCH_RECORD_SIZE <= len; k->nr_records++) {
		struct lp_kpatch_record r;
		lp_kpatch_record_decode(bytes + k->nr_records * LP_KPATCH_RECORD_SIZE, &r);
		if (!r.dlen && !r.slen)
			break;
		if (!r.slen)
			return lp_fail(err, LP_EKPATCH, "%s: record %" PRIu64 " of .kpatch.info has no replacement",
				       k->path, k->nr_records);
	}
	return 0;
}

/* ---- .livepatch.old ---- */

static bool fits(uint64_t at, uint64_t size, size_t len)
{
	return at <= len && size <= len - at;
}

static int check_ignored(struct lp_kpatch *k, const struct lp_kpatch_old *o, struct lp_err *err)
{
	for (uint32_t i = 0; i < o->nr_ignore; i++)
		if (!fits(lp_get32(o->ignore + 8 * i), lp_get32(o->ignore + 8 * i + 4), o->len))
			return lp_fail(err, LP_EKPATCH, "%s: .livepatch.old ignores bytes outside of its range",
				       k->path);
	return 0;
}

/* Takes `size` bytes out of what the entries may still be about. */
static bool spend(uint64_t *left, uint64_t size)
{
	bool enough = size <= *left;
	*left -= enough ? size : 0;
	return enough;
}

static int read_old(struct lp_kpatch *k, const uint8_t *section, size_t len, const uint8_t *e, uint64_t *left,
		    struct lp_err *err)
{
	uint64_t end;
	uint32_t bytes = lp_get32(e + 16), ignore = lp_get32(e + 20);
	struct lp_kpatch_old o = {.vaddr = lp_get64(e),
				  .len = lp_get32(e + 8),
				  .flags = lp_get32(e + 12),
				  .nr_ignore = lp_get32(e + 24),
				  .record = lp_get32(e + 28)};
	if (!fits(bytes, o.len, len) || !fits(ignore, UINT64_C(8) * o.nr_ignore, len) ||
	    __builtin_add_overflow(o.vaddr, o.len, &end) || (o.record != UINT32_MAX && o.record >= k->nr_records))
		return lp_fail(err, LP_EKPATCH, "%s: an entry of .livepatch.old points outside", k->path);
	if (!spend(left, o.len) || !spend(left, UINT64_C(8) * o.nr_ignore))
		return lp_fail(err, LP_EKPATCH, "%s: entries of .livepatch.old share their bytes", k->path);
	o.bytes = section + bytes;
	o.ignore = section + ignore;
	lp_vec_push(&k->olds, o);
	return check_ignored(k, &o, err);
}

static int read_olds(struct lp_kpatch *k, struct lp_err *err)
{
	const uint8_t *bytes;
	size_t len, index;
	int rc = section_bytes(k, ".livepatch.old", &index, &bytes, &len, err);
	if (rc < 0 || !index)
		return rc;
	if (len < OLD_HEADER || lp_get32(bytes) != OLD_VERSION)
		return lp_fail(err, LP_EVERSION, "%s: .livepatch.old is of another version", k->path);
	uint32_t nr = lp_get32(bytes + 4);
	if (nr > (len - OLD_HEADER) / OLD_ENTRY)
		return lp_fail(err, LP_EKPATCH, "%s: .livepatch.old is cut short", k->path);
	uint64_t left = len - OLD_HEADER - (uint64_t)nr * OLD_ENTRY;
	for (uint32_t i = 0; i < nr && rc == 0; i++)
		rc = read_old(k, bytes, len, bytes + OLD_HEADER + (size_t)i * OLD_ENTRY, &left, err);
	return rc;
}

/* ---- .livepatch.hooks ---- */

static int read_hooks(struct lp_kpatch *k, struct lp_err *err)
{
	const uint8_t *bytes;
	size_t len;
	int rc = section_bytes(k, ".livepatch.hooks", &k->hooks, &bytes, &len, err);
	if (rc < 0 || !k->hooks)
		return rc;
	if (len % HOOK_SIZE)
		return lp_fail(err, LP_EKPATCH, "%s: .livepatch.hooks is not a table of hooks", k->path);
	k->nr_hooks = len / HOOK_SIZE;
	for (size_t i = 0; i < k->nr_hooks; i++) {
		uint64_t kind = lp_get64(bytes + i * HOOK_SIZE);
		if (kind < LP_HOOK_PRE_APPLY || kind > LP_HOOK_POST_REVERT)
			return lp_fail(err, LP_EKPATCH, "%s: a hook of unknown kind %" PRIu64, k->path, kind);
	}
	return 0;
}

/* ---- .livepatch.meta ---- */

static int meta_wrong(struct lp_kpatch *k, const char *what, struct lp_err *err)
{
	return lp_fail(err, LP_EKPATCH, "%s: .livepatch.meta: %s", k->path, what);
}

/* A member that is text or not there. */
static int meta_text(struct lp_kpatch *k, json_t *object, const char *member, char **out, struct lp_err *err)
{
	json_t *v = json_object_get(object, member);
	if (!v)
		return 0;
	if (!json_is_string(v))
		return meta_wrong(k, "a name is not a string", err);
	if (!is_line(json_string_value(v)))
		return meta_wrong(k, "a name is not printable", err);
	lp_free(*out);
	*out = lp_strdup(json_string_value(v));
	return 0;
}

static int meta_build_id(struct lp_kpatch *k, json_t *meta, struct lp_err *err)
{
	char *hex = NULL;
	struct lp_build_id id;
	int rc = meta_text(k, meta, "build_id", &hex, err);
	if (rc == 0 && hex && !lp_build_id_parse(hex, &id))
		rc = meta_wrong(k, "the build-id is not one", err);
	else if (rc == 0 && hex && k->build_id.len &&
		 (id.len < k->build_id.len || memcmp(id.bytes, k->build_id.bytes, k->build_id.len) != 0))
		rc = meta_wrong(k, "the build-id is not that of the header", err);
	else if (rc == 0 && hex)
		k->build_id = id;
	lp_free(hex);
	return rc;
}

static int meta_id(struct lp_kpatch *k, json_t *meta, struct lp_err *err)
{
	struct lp_err why = {0};
	char *id = NULL, in_header[ID_SIZE];
	int rc = meta_text(k, meta, "id", &id, err);
	if (rc == 0 && id && id[0]) {
		lp_kpatch_short_id(id, in_header);
		if (lp_kpatch_check_id(id, &why) < 0)
			rc = meta_wrong(k, why.text, err);
		else if (k->id[0] && strcmp(k->id, in_header) != 0)
			rc = meta_wrong(k, "the id is not that of the header", err);
	}
	if (rc == 0 && id) {
		lp_free(k->id);
		k->id = id;
		id = NULL;
	}
	lp_free(id);
	return rc;
}

static int meta_needs(struct lp_kpatch *k, json_t *meta, struct lp_err *err)
{
	json_t *needs = json_object_get(meta, "needs"), *v;
	size_t i;
	if (needs && !json_is_array(needs))
		return meta_wrong(k, "needs is not an array", err);
	json_array_foreach(needs, i, v)
	{
		if (!json_is_string(v))
			return meta_wrong(k, "a need is not a string", err);
		lp_vec_push(&k->needs, lp_strdup(json_string_value(v)));
	}
	return 0;
}

static int meta_functions(struct lp_kpatch *k, json_t *meta, struct lp_err *err)
{
	json_t *functions = json_object_get(meta, "functions"), *v;
	size_t i;
	int rc = 0;
	if (functions && !json_is_array(functions))
		return meta_wrong(k, "functions is not an array", err);
	json_array_foreach(functions, i, v)
	{
		if (!json_is_object(v))
			return meta_wrong(k, "a function is not an object", err);
		struct lp_kpatch_function *f = lp_vec_add(&k->functions);
		rc = meta_text(k, v, "name", &f->name, err);
		rc = rc ? rc : meta_text(k, v, "unit", &f->unit, err);
		rc = rc ? rc : meta_text(k, v, "why", &f->why, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int take_meta(struct lp_kpatch *k, json_t *meta, struct lp_err *err)
{
	json_t *version = json_object_get(meta, "version"), *level = json_object_get(meta, "level");
	if (!json_is_object(meta) || !json_is_integer(version))
		return meta_wrong(k, "not an object with a version", err);
	if (json_integer_value(version) != 1)
		return lp_fail(err, LP_EVERSION, "%s: .livepatch.meta is of version %lld, and this livepatch knows 1",
			       k->path, (long long)json_integer_value(version));
	/* A store writes the level of what it holds into the header. */
	if (!k->level && json_is_integer(level) && json_integer_value(level) >= 0 &&
	    json_integer_value(level) <= UINT32_MAX)
		k->level = (uint32_t)json_integer_value(level);
	int rc = meta_id(k, meta, err);
	rc = rc ? rc : meta_build_id(k, meta, err);
	rc = rc ? rc : meta_text(k, meta, "object", &k->object, err);
	rc = rc ? rc : meta_text(k, meta, "tool", &k->tool, err);
	rc = rc ? rc : meta_text(k, meta, "compiler", &k->compiler, err);
	rc = rc ? rc : meta_needs(k, meta, err);
	return rc ? rc : meta_functions(k, meta, err);
}

static int read_meta(struct lp_kpatch *k, struct lp_err *err)
{
	const uint8_t *bytes;
	size_t len, index;
	json_error_t where;
	int rc = section_bytes(k, ".livepatch.meta", &index, &bytes, &len, err);
	if (rc < 0 || !index)
		return rc;
	if (len > META_MAX)
		return meta_wrong(k, "it is too large", err);
	json_t *meta = json_loadb((const char *)bytes, len, JSON_REJECT_DUPLICATES, &where);
	if (!meta)
		return lp_fail(err, LP_EKPATCH, "%s: .livepatch.meta:%d:%d: %s", k->path, where.line, where.column,
			       where.text);
	rc = take_meta(k, meta, err);
	json_decref(meta);
	return rc;
}

/* ---- the whole ---- */

static int check_elf(struct lp_kpatch *k, struct lp_err *err)
{
	const Elf64_Ehdr *h = lp_elf_header(k->elf);
	if (h->e_type != ET_REL || h->e_phnum)
		return lp_fail(err, LP_EKPATCH, "%s: what it holds is not a relocatable object", k->path);
	return 0;
}

static int read_all(struct lp_kpatch *k, struct lp_err *err)
{
	int rc = read_header(k, err);
	rc = rc ? rc : lp_elf_from_bytes(&k->elf, k->bytes + k->elf_offset, k->len - k->elf_offset, k->path, err);
	rc = rc ? rc : lp_kpatch_sum_check(k, err);
	rc = rc ? rc : check_elf(k, err);
	rc = rc ? rc : check_sections(k, err);
	rc = rc ? rc : check_relocations(k, err);
	rc = rc ? rc : read_records(k, err);
	rc = rc ? rc : read_olds(k, err);
	rc = rc ? rc : read_hooks(k, err);
	rc = rc ? rc : find_section(k, ".kpatch.eh_frame", &k->eh_frame, err);
	rc = rc ? rc : read_meta(k, err);
	if (rc == 0 && !k->build_id.len)
		rc = lp_fail(err, LP_EKPATCH, "%s does not say which build-id it is for", k->path);
	return rc;
}

/* Takes the bytes over. */
static int open_bytes(struct lp_kpatch **out, uint8_t *bytes, size_t len, const char *name, struct lp_err *err)
{
	struct lp_kpatch *k = lp_alloc(sizeof *k);
	k->path = lp_strdup(name);
	k->id = lp_strdup("");
	k->object = lp_strdup("");
	k->bytes = bytes;
	k->len = len;
	int rc = read_all(k, err);
	if (rc < 0) {
		lp_kpatch_free(k);
		k = NULL;
	}
	*out = k;
	return rc;
}

int lp_kpatch_from_bytes(struct lp_kpatch **out, const void *bytes, size_t len, const char *name, struct lp_err *err)
{
	return open_bytes(out, lp_memdup(bytes, len), len, name, err);
}

/* Whoever may put a name into a store may also make it that of a pipe that nobody writes to: not waited for. */
static int read_regular(const char *path, struct lp_buf *out, struct lp_err *err)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return lp_fail_sys(err, errno, "cannot open %s", path);
	int rc = 0;
	if (fstat(fd, &st) < 0)
		rc = lp_fail_sys(err, errno, "cannot stat %s", path);
	else if (!S_ISREG(st.st_mode))
		rc = lp_fail(err, LP_EFILE, "%s is not a regular file", path);
	else if ((rc = lp_read_fd(fd, out, LP_KPATCH_FILE_MAX, err)) < 0)
		rc = lp_err_context(err, rc, "%s", path);
	lp_close(fd);
	return rc;
}

int lp_kpatch_open(struct lp_kpatch **out, const char *path, struct lp_err *err)
{
	struct lp_buf b = {0};
	*out = NULL;
	int rc = read_regular(path, &b, err);
	if (rc < 0) {
		lp_buf_free(&b);
		return rc;
	}
	return open_bytes(out, b.data ? b.data : lp_alloc(1), b.len, path, err);
}

void lp_kpatch_free(struct lp_kpatch *k)
{
	if (!k)
		return;
	for (size_t i = 0; i < k->needs.nr; i++)
		lp_free(k->needs.items[i]);
	for (size_t i = 0; i < k->functions.nr; i++) {
		lp_free(k->functions.items[i].name);
		lp_free(k->functions.items[i].unit);
		lp_free(k->functions.items[i].why);
	}
	lp_vec_free(&k->needs);
	lp_vec_free(&k->functions);
	lp_vec_free(&k->olds);
	lp_elf_close(k->elf);
	lp_free(k->tool);
	lp_free(k->compiler);
	lp_free(k->path);
	lp_free(k->id);
	lp_free(k->object);
	lp_free(k->bytes);
	lp_free(k);
}
