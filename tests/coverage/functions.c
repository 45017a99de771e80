#include "functions.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define DW_EH_PE_PCREL_SDATA4 0x1b

/* Bytes of the unwind table; reads past the end give 0 and leave `at` behind it. */
struct reader {
	const uint8_t *bytes;
	size_t len, at;
	lp_addr vaddr;
};

static uint8_t read8(struct reader *r)
{
	return r->at < r->len ? r->bytes[r->at++] : 0;
}

static uint32_t read32(struct reader *r)
{
	uint32_t v = r->len - r->at >= 4 && r->at <= r->len ? lp_get32(r->bytes + r->at) : 0;

	r->at = r->at + 4 <= r->len ? r->at + 4 : r->len;
	return v;
}

static uint64_t read_leb(struct reader *r)
{
	uint64_t v = 0;
	uint8_t byte;

	for (unsigned shift = 0; (byte = read8(r)) & 0x80; shift += 7)
		v |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
	return v | byte;
}

/* ---- the unwind table ---- */

struct cie {
	bool is_signal_frame;
	uint8_t encoding;
};

/* The entry at `at`, of which only the augmentation is of interest. */
static struct cie read_cie(struct reader r, size_t at)
{
	struct cie cie = {0};
	char augmentation[8] = "";

	r.at = at + 4 + 4 + 1; /* length, id, version */
	for (size_t i = 0; i < sizeof augmentation - 1; i++) {
		if (!(augmentation[i] = (char)read8(&r)))
			break;
	}
	read_leb(&r); /* alignment of code, */
	read_leb(&r); /* of data, */
	read_leb(&r); /* return address */
	read_leb(&r); /* length of what follows */
	for (const char *c = augmentation; *c; c++) {
		if (*c == 'S')
			cie.is_signal_frame = true;
		else if (*c == 'L')
			read8(&r);
		else if (*c == 'R')
			cie.encoding = read8(&r);
		else if (*c == 'P') {
			read8(&r);
			read32(&r); /* both libraries' personalities take 4 bytes; checked by R that follows */
		}
	}
	return cie;
}

static void add(function_vec *out, lp_addr at, size_t size, const char *name)
{
	struct function *f = lp_vec_add(out);

	*f = (struct function){
		.at = at, .size = size, .name = name ? lp_strdup(name) : lp_sprintf("(" LP_ADDR ")", at)};
}

static bool add_fde(struct reader *r, size_t at, uint32_t to_cie, function_vec *out)
{
	struct cie cie = read_cie(*r, at + 4 - to_cie);
	lp_addr base = r->vaddr + r->at;
	int32_t distance = (int32_t)read32(r);
	uint32_t size = read32(r);

	if (cie.encoding != DW_EH_PE_PCREL_SDATA4)
		return false;
	if (!cie.is_signal_frame) /* begins a byte before its code */
		add(out, base + (lp_addr)(int64_t)distance, size, NULL);
	return true;
}

static bool add_unwind_table(struct lp_elf *e, function_vec *out)
{
	const Elf64_Shdr *s = lp_elf_section_find(e, ".eh_frame");
	struct reader r = {0};

	if (!s || !(r.bytes = lp_elf_section_data(e, s, &r.len)))
		return false;
	r.vaddr = s->sh_addr;
	while (r.at < r.len) {
		size_t at = r.at;
		uint32_t len = read32(&r), id = read32(&r);

		if (!len)
			break;
		if (id && !add_fde(&r, at, id, out))
			return false;
		r.at = at + 4 + len;
	}
	return true;
}

/* ---- symbols ---- */

static void add_symbols(struct lp_elf *e, enum lp_symtab table, function_vec *out)
{
	for (size_t i = 0; i < lp_elf_symbol_count(e, table); i++) {
		struct lp_elf_sym s;

		if (lp_elf_symbol(e, table, i, &s) && (s.type == STT_FUNC || s.type == STT_GNU_IFUNC) && s.shndx &&
		    s.size)
			add(out, s.value, s.size, s.name);
	}
}

/* ---- together ---- */

/* The executable section that holds it; not a PLT, whose entries nobody hooks, nor what crtbegin is made of. */
static const Elf64_Shdr *section_of(struct lp_elf *e, lp_addr at)
{
	for (size_t i = 0; i < lp_elf_section_count(e); i++) {
		const Elf64_Shdr *s = lp_elf_section(e, i);
		const char *name = lp_elf_section_name(e, s);

		if ((s->sh_flags & SHF_EXECINSTR) && at >= s->sh_addr && at < s->sh_addr + s->sh_size)
			return !strncmp(name, ".plt", 4) || !strcmp(name, ".init") || !strcmp(name, ".fini") ? NULL : s;
	}
	return NULL;
}

/* By address; of several at one address the named one first, of those the longest. */
static int compare(const void *a, const void *b)
{
	const struct function *f = a, *g = b;

	if (f->at != g->at)
		return f->at < g->at ? -1 : 1;
	if ((f->name[0] == '(') != (g->name[0] == '('))
		return f->name[0] == '(' ? 1 : -1;
	return f->size != g->size ? (f->size > g->size ? -1 : 1) : strcmp(f->name, g->name);
}

static void remove_doubles(struct lp_elf *e, function_vec *v)
{
	size_t kept = 0;

	for (size_t i = 0; i < v->nr; i++) {
		if ((kept && v->items[kept - 1].at == v->items[i].at) || !section_of(e, v->items[i].at))
			lp_free(v->items[i].name);
		else
			v->items[kept++] = v->items[i];
	}
	v->nr = kept;
}

static void bound(struct lp_elf *e, function_vec *v)
{
	for (size_t i = 0; i < v->nr; i++) {
		struct function *f = &v->items[i];
		const Elf64_Shdr *s = section_of(e, f->at);
		lp_addr end = s->sh_addr + s->sh_size;

		if (i + 1 < v->nr && v->items[i + 1].at < end)
			end = v->items[i + 1].at;
		if (f->size > end - f->at)
			f->size = end - f->at;
		f->pad = end - f->at - f->size;
	}
}

bool functions_find(struct lp_elf *e, function_vec *out)
{
	if (!add_unwind_table(e, out))
		return false;
	add_symbols(e, LP_DYNSYM, out);
	add_symbols(e, LP_SYMTAB, out);
	qsort(out->items, out->nr, sizeof *out->items, compare);
	remove_doubles(e, out);
	bound(e, out);
	return true;
}

void functions_free(function_vec *v)
{
	for (size_t i = 0; i < v->nr; i++)
		lp_free(v->items[i].name);
	lp_vec_free(v);
}
