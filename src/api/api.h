/*
 * A LivePatchSystem for those who are part of the toolkit, beyond livepatch.h.
 *
 *     LivePatchSystem *s = lp_system_over_target(target, "guest");       // takes the target over
 *     rc = lp_system_find(s, &expression, &at, &size, err);
 *     livepatch_cleanup(s);
 *
 * Transactions that outlive a call of their thread's, for a server that has many clients on one thread:
 *
 *     livepatch_begin(s);  livepatch_apply(s, ...);
 *     struct lp_txn *t = lp_txn_lay_aside(s);                            // the thread has none open now
 *     ...
 *     lp_txn_take_up(t);  livepatch_commit(s);
 */
#ifndef LP_API_API_H
#define LP_API_API_H

#include <livepatch.h>

#include "base/err.h"
#include "core/target.h"
#include "patch/patch.h"

struct lp_txn;

/* `name`, a literal, is what the target is called in tables. */
LivePatchSystem *lp_system_over_target(struct lp_target *t, const char *name);

/* NULL when the thread has none open for this system. */
struct lp_txn *lp_txn_lay_aside(LivePatchSystem *system);
/* By a thread that has none open. */
void lp_txn_take_up(struct lp_txn *t);

/* An address as it is now: a number, a symbol, or the name of a function that a patch brought ($name). */
int lp_system_find(LivePatchSystem *system, const struct lp_addr_expr *e, uint64_t *at, struct lp_err *err);

/* The address that an object which is loaded has for its own address `vaddr`; by its file's name or path, or its soname. */
int lp_system_find_in_file(LivePatchSystem *system, const char *object, uint64_t vaddr, uint64_t *at,
			   struct lp_err *err);

/* Each script that is applied: its file, what it says, and its number in the target's ledger.  fn must not use the system. */
void lp_system_each_script(LivePatchSystem *system,
			   void (*fn)(const char *file, const char *text, uint64_t id, void *arg), void *arg);

/* A .kpatch file: one transaction of the core, at once.  `*id` is its number in the target's ledger; the system's table
 * knows nothing of it. */
int lp_system_apply_object(LivePatchSystem *system, const char *path, uint64_t *id, struct lp_err *err);
/* A script by its number, too. */
int lp_system_revert_object(LivePatchSystem *system, uint64_t id, struct lp_err *err);

/* Patch files were loaded, which a reload would load again. */
bool lp_system_has_files(LivePatchSystem *system);

/* Around fork(): nobody is in the middle of anything with this system.  The child's copy is whole. */
void lp_system_hold(LivePatchSystem *system);
void lp_system_release(LivePatchSystem *system);

#endif
