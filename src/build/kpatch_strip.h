/*
 * From a program that was linked with the code of a patch in it to the patch alone: the steps of `kpatch_strip`.
 *
 *     lp_kpatch_strip(linked, &a, err);              // sections of the patch stay, those of the program become NOBITS
 *     lp_kpatch_fixup(original, a, told, arg, &b, err);      // its references are bound to the original
 *     ... strip --strip-unneeded ...
 *     lp_kpatch_undo_link(original, c, &d, err);     // the relocatable object of docs/format-kpatch.md
 *     lp_kpatch_make(d, "0001", build_id, &file, err);       // the .kpatch file
 *
 * `linked` is what `ld --emit-relocs` made of the output of lp_gensrc_diff(); the original is the program that runs.  The
 * sections of both have the same contents, at other addresses: what the patch refers to is found by its name if it has
 * one that is global, else by its place in its section, and the sections' sizes must agree.
 *
 * All are pure: ELF in, bytes appended to a buffer.
 */
#ifndef LP_BUILD_KPATCH_STRIP_H
#define LP_BUILD_KPATCH_STRIP_H

#include "base/buf.h"
#include "elf/elf.h"

int lp_kpatch_strip(const struct lp_elf *linked, struct lp_buf *out, struct lp_err *err);

/* One line for people, without a newline. */
typedef void lp_kpatch_told(void *arg, const char *line);

int lp_kpatch_fixup(struct lp_elf *original, struct lp_elf *patch, lp_kpatch_told *told, void *arg, struct lp_buf *out,
		    struct lp_err *err);
/* `object`: the original's file name; its last component goes into the patch. */
int lp_kpatch_undo_link(struct lp_elf *original, struct lp_elf *patch, const char *object, struct lp_buf *out,
			struct lp_err *err);

struct lp_kpatch_make_opts {
	const char *id; /* NULL = none */
	struct lp_build_id build_id;
	const char *object; /* NULL = what lp_kpatch_undo_link() wrote down */
	int64_t build_time;
	uint32_t level;
};
int lp_kpatch_make(const struct lp_elf *object, const struct lp_kpatch_make_opts *opts, struct lp_buf *out,
		   struct lp_err *err);

/* Does the program have code of a patch in it? */
bool lp_kpatch_is_linked(const struct lp_elf *e);

#endif
