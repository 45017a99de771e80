/*
 * An ELF file whose sections can be changed in place: what the steps of kpatch_strip hand on to each other.
 *
 *     struct lp_kobject *o;
 *     rc = lp_kobject_open(&o, elf, err);             // copies everything
 *     struct lp_ksection *s = lp_kobject_section(o, ".kpatch.text");
 *     ... s->data, s->header ...
 *     lp_kobject_write(o, &bytes);                    // the same section numbers, offsets anew
 *     lp_kobject_free(o);
 *
 * Program headers do not survive: what is written is for linkers and for us, not for the kernel.
 */
#ifndef LP_BUILD_KPATCH_OBJECT_H
#define LP_BUILD_KPATCH_OBJECT_H

#include "base/buf.h"
#include "elf/elf.h"

struct lp_ksection {
	char *name;
	Elf64_Shdr header; /* sh_size is that of `data` when there is any */
	uint8_t *data;	   /* NULL for NOBITS */
};

struct lp_kobject {
	Elf64_Ehdr header;
	LP_VEC(struct lp_ksection) sections; /* by section number, 0 included */
};

int lp_kobject_open(struct lp_kobject **out, const struct lp_elf *e, struct lp_err *err);
void lp_kobject_free(struct lp_kobject *o);
/* The first of that name, or NULL. */
struct lp_ksection *lp_kobject_section(struct lp_kobject *o, const char *name);
/* A new one at the end; its bytes are copied.  Pointers to sections are void afterwards. */
struct lp_ksection *lp_kobject_add(struct lp_kobject *o, const char *name, uint32_t type, const void *data,
				   size_t size);
/* Other bytes for a section. */
void lp_ksection_set(struct lp_ksection *s, const void *data, size_t size);
/* Appends the file.  Sections lie in the order of their old offsets, new ones behind them. */
void lp_kobject_write(struct lp_kobject *o, struct lp_buf *out);

#endif
