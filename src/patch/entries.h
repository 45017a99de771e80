/*
 * What the formats of patch files, text and JSON, have in common: how numbers
 * and bytes are written, and what must be true of the entries taken together.
 * Private to patch/.
 */
#ifndef LP_PATCH_ENTRIES_H
#define LP_PATCH_ENTRIES_H

#include "patch/script.h"

/* How many hex digits w begins with. */
size_t lp_hex_length(struct lp_word w);
/* A hexadecimal number of at most `bits` bits; 0x before it is optional.  `what`: "an address", for the complaint. */
int lp_hex_number(uint64_t *out, struct lp_word w, unsigned bits, const char *what, unsigned line,
		  struct lp_complaints *c);
/* Where an entry stands: a hexadecimal number, with or without 0x, or a symbol of the target or file@0xNUMBER; the latter
 * goes into op->file and op->at. */
int lp_place_read(struct lp_op *op, struct lp_word w, unsigned line, struct lp_complaints *c);
/* Could it be one? */
bool lp_is_hex(struct lp_word w);
/* Pairs of hex digits, added to `bytes`. */
int lp_hex_bytes(struct lp_buf *bytes, struct lp_word w, unsigned line, struct lp_complaints *c);

/*
 * Once all entries are read: names are defined once and before use, no two
 * entries patch the same bytes.  Those that a loader can tell, that is; what a
 * symbol means is known only to a target.
 */
void lp_entries_check(struct lp_draft *d, struct lp_complaints *c);

/* What to do with an entry that was refused: only the name that it defines is kept, so that one mistake is told once. */
void lp_entry_drop(struct lp_draft *d, struct lp_op *op);

/* The end of every reader: the patchset, or the complaints; frees what is not given back. */
int lp_entries_finish(struct lp_patchset **out, struct lp_draft *d, struct lp_complaints *c, struct lp_err *err);

#endif
