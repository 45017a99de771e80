#include "build/kpatch_object.h"

#include <stdlib.h>
#include <string.h>

#define SECTIONS_MAX 65000u /* extended numbering is not for patches, and some are added */
#define PAD_MAX 4096u	    /* for each of them; more is not needed between steps */

/* Sections that share bytes would each get a copy of them: a small file could fill all memory. */
static bool are_apart(const struct lp_elf *e)
{
	uint64_t sum = 0, end = 0;
	for (size_t i = 1; i < lp_elf_section_count(e); i++) {
		const Elf64_Shdr *s = lp_elf_section(e, i);
		size_t len;
		if (!lp_elf_section_data(e, s, &len))
			continue;
		sum += len;
		end = s->sh_offset + len > end ? s->sh_offset + len : end;
	}
	return sum <= end;
}

int lp_kobject_open(struct lp_kobject **out, const struct lp_elf *e, struct lp_err *err)
{
	*out = NULL;
	if (lp_elf_section_count(e) > SECTIONS_MAX || !are_apart(e))
		return lp_fail(err, LP_EELF, "%s has too many sections, or sections that share their bytes",
			       lp_elf_name(e));
	struct lp_kobject *o = lp_alloc(sizeof *o);
	o->header = *lp_elf_header(e);
	*out = o;
	for (size_t i = 0; i < lp_elf_section_count(e); i++) {
		const Elf64_Shdr *from = lp_elf_section(e, i);
		struct lp_ksection *s = lp_vec_add(&o->sections);
		s->header = *from;
		s->name = lp_strdup(lp_elf_section_name(e, from));
		if (!i || from->sh_type == SHT_NOBITS || from->sh_type == SHT_NULL)
			continue;
		size_t len;
		const uint8_t *data = lp_elf_section_data(e, from, &len);
		if (!data && from->sh_size) {
			lp_fail(err, LP_EELF, "%s: section %s lies outside of the file", lp_elf_name(e), s->name);
			lp_kobject_free(o);
			*out = NULL;
			return -LP_EELF;
		}
		lp_ksection_set(s, data, data ? len : 0);
	}
	if (!o->sections.nr) {
		lp_kobject_free(o);
		*out = NULL;
		return lp_fail(err, LP_EELF, "%s has no sections", lp_elf_name(e));
	}
	return 0;
}

void lp_kobject_free(struct lp_kobject *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < o->sections.nr; i++) {
		lp_free(o->sections.items[i].name);
		lp_free(o->sections.items[i].data);
	}
	lp_vec_free(&o->sections);
	lp_free(o);
}

struct lp_ksection *lp_kobject_section(struct lp_kobject *o, const char *name)
{
	for (size_t i = 1; i < o->sections.nr; i++)
		if (!strcmp(o->sections.items[i].name, name))
			return &o->sections.items[i];
	return NULL;
}

void lp_ksection_set(struct lp_ksection *s, const void *data, size_t size)
{
	uint8_t *copy = lp_alloc(size + 1);
	if (size)
		memcpy(copy, data, size);
	lp_free(s->data);
	s->data = copy;
	s->header.sh_size = size;
}

struct lp_ksection *lp_kobject_add(struct lp_kobject *o, const char *name, uint32_t type, const void *data, size_t size)
{
	struct lp_ksection *s = lp_vec_add(&o->sections);
	s->name = lp_strdup(name);
	s->header.sh_type = type;
	s->header.sh_addralign = 1;
	s->header.sh_offset = UINT64_MAX;
	lp_ksection_set(s, data, size);
	return s;
}

/* ---- writing ---- */

static void name_sections(struct lp_kobject *o)
{
	struct lp_buf names = {0};
	lp_buf_fill(&names, 0, 1);
	for (size_t i = 1; i < o->sections.nr; i++) {
		o->sections.items[i].header.sh_name = (uint32_t)names.len;
		lp_buf_add(&names, o->sections.items[i].name, strlen(o->sections.items[i].name) + 1);
	}
	lp_ksection_set(&o->sections.items[o->header.e_shstrndx], names.data, names.len);
	lp_buf_free(&names);
}

struct by_offset {
	uint64_t offset;
	size_t index;
};

static int compare_offsets(const void *a, const void *b)
{
	const struct by_offset *x = a, *y = b;
	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static void pad_to(struct lp_buf *out, size_t start, uint64_t align)
{
	if (align > 1 && align <= PAD_MAX)
		lp_buf_fill(out, 0, (size_t)((align - (out->len - start) % align) % align));
}

static void write_sections(struct lp_kobject *o, struct lp_buf *out, size_t start)
{
	size_t nr = o->sections.nr;
	struct by_offset *order = lp_alloc(nr * sizeof *order);
	for (size_t i = 0; i < nr; i++)
		order[i] = (struct by_offset){o->sections.items[i].header.sh_offset, i};
	qsort(order, nr, sizeof *order, compare_offsets);
	for (size_t i = 0; i < nr; i++) {
		struct lp_ksection *s = &o->sections.items[order[i].index];
		if (!order[i].index)
			continue;
		if (s->data)
			pad_to(out, start, s->header.sh_addralign);
		s->header.sh_offset = out->len - start;
		if (s->data)
			lp_buf_add(out, s->data, s->header.sh_size);
	}
	lp_free(order);
}

void lp_kobject_write(struct lp_kobject *o, struct lp_buf *out)
{
	size_t start = out->len;
	if (!o->header.e_shstrndx || o->header.e_shstrndx >= o->sections.nr) {
		lp_kobject_add(o, ".shstrtab", SHT_STRTAB, "", 1);
		o->header.e_shstrndx = (uint16_t)(o->sections.nr - 1);
	}
	name_sections(o);
	o->header.e_phoff = o->header.e_phnum = 0;
	o->header.e_phentsize = 0;
	o->header.e_shentsize = sizeof(Elf64_Shdr);
	o->header.e_shnum = (uint16_t)o->sections.nr;
	lp_buf_add(out, &o->header, sizeof o->header);
	write_sections(o, out, start);
	pad_to(out, start, 8);
	o->header.e_shoff = out->len - start;
	for (size_t i = 0; i < o->sections.nr; i++)
		lp_buf_add(out, &o->sections.items[i].header, sizeof(Elf64_Shdr));
	memcpy(out->data + start, &o->header, sizeof o->header);
}
