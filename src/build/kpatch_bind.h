/*
 * What a symbol of the linked patch means in terms of the original; private to kpatch_*.c.
 */
#ifndef LP_BUILD_KPATCH_BIND_H
#define LP_BUILD_KPATCH_BIND_H

#include "elf/elf.h"

enum binding_kind {
	BOUND_NOWHERE,	/* symbol 0 */
	BOUND_OWN,	/* in a section of the patch */
	BOUND_ORIGINAL, /* in a section of the original */
	BOUND_DYNAMIC,	/* whatever the dynamic linker finds */
};

struct binding {
	enum binding_kind kind;
	struct lp_elf_sym sym; /* of the patch */
	size_t section;	       /* OWN: section number in the patch; ORIGINAL: in the original */
	uint64_t offset;       /* from that section's beginning */
};

struct binder {
	struct lp_elf *original, *patch;
	bool program; /* its own definitions come first: not a shared library, or one that binds to itself */
	uint64_t tls; /* p_vaddr of the original's PT_TLS */
};

void binder_init(struct binder *b, struct lp_elf *original, struct lp_elf *patch);
/* `own_entry`: the reference is to the very function (a record of .kpatch.info), not to what its name stands for. */
int binder_bind(struct binder *b, size_t symbol, bool own_entry, struct binding *out, struct lp_err *err);

/* The section of the patch is part of it, not of the program that it was linked into. */
bool is_patch_section(const char *name);
/* Its relocations, NULL for all but .rela.kpatch.* and .rela.livepatch.*; *target is the section number they change. */
const uint8_t *patch_relocations(const struct lp_elf *e, size_t section, size_t *nr, size_t *target);

#endif
