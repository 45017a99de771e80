/*
 * The active patches of a system, by address: who covers this instruction, and
 * in what order do they lie.
 *
 *     struct lp_held held = lp_table_lock(t, at, size);      // all that can concern [at, at + size)
 *     if (!lp_table_overlap(t, at, size))
 *             p = lp_table_add(t, &patch);
 *     lp_table_unlock(t, held);
 *
 * A table is cut into shards, page by page of the target's addresses, each
 * with a lock, a hash table and the patches that begin in it.  An instruction
 * that a patch covers has an entry of its own, so that one look-up answers both
 * "is there a patch at" and "is there a patch over"; order is made when it is
 * asked for.  48 bytes for the patch and about 17 for its entry.
 *
 * Threads.  Every function but new, free, lock and unlock wants the shards held
 * that it concerns: of the patch's whole extent for add and remove, of the
 * address alone for find.  Shards are locked by rising number.
 */
#ifndef LP_API_TABLE_H
#define LP_API_TABLE_H

#include "base/addr.h"

#define LP_PATCH_TYPES 6

struct lp_patch_more;

/* What a patch is to us.  Those of one word that need nothing else (nearly all of a million) keep it here. */
struct lp_patch {
	lp_addr at;	  /* key: what livepatch_revert() takes */
	uint32_t extent;  /* bytes from `at` on that no other patch may touch; at least one instruction */
	uint32_t applied; /* seconds, as time() */
	uint32_t file;	  /* number of the patch file's name, 0 = none */
	uint8_t type;	  /* enum LivePatchType */
	bool is_word;
	uint64_t generation;
	union {
		struct {
			uint32_t original, patched;
		} word;
		struct lp_patch_more *more;
	};
	char *description; /* NULL = none */
};

_Static_assert(sizeof(struct lp_patch) == 48, "a million of them");

/* What came and went, by type; kept where the patch is, so that threads do not share it. */
struct lp_tally {
	uint64_t applied[LP_PATCH_TYPES], reverted[LP_PATCH_TYPES];
	size_t bytes; /* of what the patches own */
};

struct lp_table;

#define LP_TABLE_MAX (1u << 25) /* patches in a table that is not shared; in a shared one about 32 times as many */

/* Which shards a thread holds: a bit each. */
struct lp_held {
	uint32_t shards;
};

/* `insn_align` of the target's instructions; `shared` when several threads will use it. */
struct lp_table *lp_table_new(unsigned insn_align, bool shared);
/* The patches' own memory is the caller's. */
void lp_table_free(struct lp_table *t);

struct lp_held lp_table_lock(struct lp_table *t, lp_addr at, uint64_t size);
struct lp_held lp_table_lock_all(struct lp_table *t);
void lp_table_unlock(struct lp_table *t, struct lp_held held);
/* Does `held` cover all of the patch?  If not, unlock and lock its extent, and look again. */
bool lp_table_holds(const struct lp_table *t, struct lp_held held, const struct lp_patch *p);

/* The patch that covers `at`, or NULL. */
struct lp_patch *lp_table_find(const struct lp_table *t, lp_addr at);
/* The first one that touches [at, at + size), or NULL. */
struct lp_patch *lp_table_overlap(const struct lp_table *t, lp_addr at, uint64_t size);
/* Copies *p, which touches no other; the copy stays where it is until it is removed. */
struct lp_patch *lp_table_add(struct lp_table *t, const struct lp_patch *p);
void lp_table_remove(struct lp_table *t, struct lp_patch *p);

/* The tally of the shard that `at` belongs to. */
struct lp_tally *lp_table_tally(struct lp_table *t, lp_addr at);

/* Below: all shards held. */

/* Of all shards. */
struct lp_tally lp_table_total(const struct lp_table *t);

size_t lp_table_count(const struct lp_table *t);
/* All of them by rising address; lp_free() the array. */
struct lp_patch **lp_table_sorted(const struct lp_table *t, size_t *nr);
/* All of them in no order. */
void lp_table_each(const struct lp_table *t, void (*fn)(struct lp_patch *p, void *arg), void *arg);
/* Bytes of memory that the table itself takes. */
size_t lp_table_bytes(const struct lp_table *t);

#endif
