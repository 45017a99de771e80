/*
 * What the files of patch/ share: the tables by name, the patchset while it is
 * being made, and the reader of address expressions.  Private to patch/.
 */
#ifndef LP_PATCH_SCRIPT_H
#define LP_PATCH_SCRIPT_H

#include "base/vec.h"
#include "patch/patch.h"
#include "patch/script_lex.h"

/* ---- tables ---- */

const struct lp_op_syntax *lp_op_syntax_of(enum lp_op_kind kind);
const struct lp_op_syntax *lp_op_syntax_named(struct lp_word name);   /* NULL when unknown */
const struct lp_value_type *lp_value_type_named(struct lp_word name); /* NULL when unknown */
/* Where an option of the instruction is kept; NULL when it does not take that one. */
bool *lp_op_option(struct lp_op *op, const char *option);

/* ---- a patchset being made ---- */

/* Every lp_patchset is the first member of one of these. */
struct lp_draft {
	struct lp_patchset set;
	size_t cap;
	LP_VEC(char *) files; /* names that lp_where points to */
	struct {
		uint32_t *slots; /* open addressing; index of the defining op plus one, 0 = free */
		size_t nr, size; /* size is a power of two, or 0 */
	} names;
};

struct lp_draft *lp_draft_new(const char *name);
struct lp_draft *lp_draft_of(struct lp_patchset *ps);
/* The same string each time it is asked for the same name; lives as long as the draft. */
const char *lp_draft_file(struct lp_draft *d, const char *name);
/* Takes over all that op owns. */
void lp_draft_add(struct lp_draft *d, const struct lp_op *op);
/* Enter op number `i` under its memory name.  False, and nothing changed, when the name is taken. */
bool lp_draft_define(struct lp_draft *d, size_t i);
/* The op that defines a memory name, or NULL. */
const struct lp_op *lp_draft_defined(const struct lp_draft *d, const char *name, size_t len);
void lp_op_free(struct lp_op *op); /* frees what it owns */

/* ---- addresses ---- */

/* One word as an address expression; out->where.file is left to the caller. */
int lp_address_read(struct lp_addr_expr *out, struct lp_word w, unsigned line, struct lp_complaints *c);
/* The same when only a symbol of the target will do. */
int lp_address_read_symbol(struct lp_addr_expr *out, struct lp_word w, unsigned line, struct lp_complaints *c);
/* Length of the memory name (an identifier) at the start of w; 0 when there is none. */
size_t lp_memname_length(struct lp_word w);
/* Complains about a word that is no integer; `what` is what it was read as ("an address", "the size"). */
int lp_complain_integer(struct lp_complaints *c, unsigned line, struct lp_word w, const struct lp_integer *n,
			const char *what);

#endif
