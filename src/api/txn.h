/* Private to api/: what transactions, planning and the table of a system do for each other. */
#ifndef LP_API_TXN_H
#define LP_API_TXN_H

#include "api/sets.h"

/* Would a patch of [at, at + size) be alone there? */
int lp_txn_check(struct lp_txn *t, lp_addr at, uint64_t size, struct lp_err *err);
/* The same for a script that is being committed: the shards are held. */
int lp_txn_check_script(struct lp_txn *t, lp_addr at, uint64_t size, struct lp_err *err);
/* Does it take back the script of this number? */
bool lp_txn_takes_script(const struct lp_txn *t, uint64_t id);
/* Memory as it will be when the patches that are to go are gone. */
int lp_txn_read(struct lp_txn *t, lp_addr at, void *bytes, size_t len, struct lp_err *err);
/* As it was before all of the system's patches. */
int lp_txn_read_original(struct lp_txn *t, lp_addr at, void *bytes, size_t len, struct lp_err *err);

/* As lp_txn_take(), but 1 when there was a patch, and 0 when it is gone already. */
int lp_txn_take_if(struct lp_txn *t, lp_addr at, struct lp_err *err);

/* Counting, and names.  The patch's shards are held. */
void lp_system_note_come(LivePatchSystem *s, const struct lp_patch *p);
void lp_system_note_gone(LivePatchSystem *s, const struct lp_patch *p);
uint64_t lp_system_next_generation(LivePatchSystem *s);

/* As lp_system_each(), several times over, of the same moment. */
int lp_system_each_pass(LivePatchSystem *s, unsigned passes,
			int (*fn)(const livepatch_info *info, unsigned pass, void *arg), void *arg);

/* Frees what the patch owns, room included. */
void lp_patch_drop(LivePatchSystem *s, struct lp_patch *p);

/* Does memory hold what it put there?  Its shards are held. */
bool lp_patch_stands(LivePatchSystem *s, const struct lp_patch *p);

/* Gives up the system's patch at `at`, which is not what is in memory any more. */
int lp_patch_forget(LivePatchSystem *s, lp_addr at, struct lp_err *err);

#endif
