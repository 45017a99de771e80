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

struct lp_script_info {
	const char *file;
	const char *text; /* what it says; NULL: it is a .kpatch file */
	uint64_t id;	  /* its number in the target's ledger */
	bool is_object;	  /* a .kpatch file */
	bool is_lost;	  /* the target has written over its code, or unmapped it */
};

/* Each script and .kpatch file that is applied.  fn must not use the system. */
void lp_system_each_script(LivePatchSystem *system, void (*fn)(const struct lp_script_info *info, void *arg),
			   void *arg);

/* Does memory hold what the patch at this address put there?  *mapped: there is something at all. */
bool lp_system_stands(LivePatchSystem *system, uint64_t at, bool *mapped);
/* As livepatch_revert_all(), but what the target wrote over stays, and is counted. */
int lp_system_revert_rest(LivePatchSystem *system, size_t *lost);
/* As livepatch_forget(), for a script or .kpatch file; the rest of it is taken back. */
int lp_system_forget_script(LivePatchSystem *system, uint64_t id, struct lp_err *err);

/* A .kpatch file: one transaction of the core, at once.  `*id` is its number in the target's ledger.  Neither a reload nor
 * livepatch_revert_all() is about it. */
int lp_system_apply_object(LivePatchSystem *system, const char *path, uint64_t *id, struct lp_err *err);
/* A script by its number, too. */
int lp_system_revert_object(LivePatchSystem *system, uint64_t id, struct lp_err *err);

/* Has `fn` told, in the watching thread, when a watched file changed and nothing came of it: once for each content.  Before
 * anything is watched. */
void lp_system_tell_refusals(LivePatchSystem *system, void (*fn)(const char *why, void *arg), void *arg);

/* As livepatch_watch(), for a file that was loaded: what has become of it since then is the watching thread's to find. */
int lp_system_watch_loaded(LivePatchSystem *system, const char *filename);

/* Patch files were loaded, which a reload would load again. */
bool lp_system_has_files(LivePatchSystem *system);

/* Around fork(): nobody is in the middle of anything with this system.  The child's copy is whole. */
void lp_system_hold(LivePatchSystem *system);
void lp_system_release(LivePatchSystem *system);

#endif
