/*
 * Units that are kept from one run of the runner to the next, in files (cache_dir.h, cache_file.h), one for each file of the
 * guest's that has a build-id.
 *
 * A unit is known by where in its file it begins.  It is taken when the guest's memory holds, at this instant, the words
 * that were translated, and those behind its exits that were looked at: what it was made of decides, not where it comes
 * from.  Its code is put where there is room, and what it refers to (struct lp_unit_ref) is entered.
 *
 * A process writes what it has translated when it ends, and before it executes another program.
 */
#ifndef LP_JIT_CACHE_H
#define LP_JIT_CACHE_H

#include "jit/cache_file.h"
#include "jit/emit.h"

/* From now on; bytes: what all files together may have.  When there cannot be one, nothing is kept: --debug says why. */
void lp_cache_begin(struct lp_jit *jit, uint64_t bytes);

/* The file that pc is of, to be asked for without the translator's lock; 0: nothing of it is kept. */
unsigned lp_cache_image(struct lp_jit *jit, uint64_t pc);

/* There is one of what may stand at pc.  Takes the lock. */
bool lp_cache_has(struct lp_jit *jit, uint64_t pc);

/* The unit at pc, of at most so many instructions, ready to be published; NULL: there is none.  With the lock. */
struct lp_unit *lp_cache_load(struct lp_jit *jit, unsigned image, uint64_t pc, size_t nr);

/* After a translation has been made, before its unit is: what its code refers to, into t->unit_refs.  False: it depends on
 * something that another run would not have. */
bool lp_cache_note(struct lp_tr *t, const uint8_t *code, size_t size);

/* Code in the range is, or was, other code than the file's.  With the lock. */
void lp_cache_changed(struct lp_jit *jit, struct lp_range range);

/* The record of a unit: its length, or 0 when there is no room for it or it cannot be kept.  With the lock. */
size_t lp_cache_pack(struct lp_jit *jit, const struct lp_unit *u, uint8_t *out, size_t room);
/* And back, as lp_cache_load() does; NULL when it is not for what stands there, or no good. */
struct lp_unit *lp_cache_unpack(struct lp_jit *jit, const uint8_t *record, size_t len, uint64_t pc, size_t nr);

#endif
