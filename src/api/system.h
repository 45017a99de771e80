/*
 * A LivePatchSystem from the inside: what the files of api/ share.
 *
 *     struct lp_err *err = lp_enter();                  // the calling thread's last error, cleared
 *     struct lp_txn_use use;
 *     struct lp_txn *t = lp_txn_use(&use, system);      // its open transaction, or one for this call alone
 *     int rc = lp_plan(t, &request, NULL, err);
 *     rc = lp_txn_done(&use, rc, err);                  // on error: rolled back to where it was; own ones: committed
 *     return lp_leave(system, rc);                      // -1, or what rc was
 *
 * A change is planned into a transaction: everything that can be refused is,
 * memory for new code is made and filled, nothing refers to it.  Commit looks
 * again (others may have been faster), has the space write, and enters the
 * patches into the table.
 *
 * Locks, in this order: shards of the table (table.h), system->lock.  No lock
 * is held while a function of the caller's runs.
 */
#ifndef LP_API_SYSTEM_H
#define LP_API_SYSTEM_H

#include <livepatch.h>
#include <pthread.h>
#include <stdatomic.h>

#include "api/names.h"
#include "api/table.h"
#include "base/err.h"
#include "base/vec.h"
#include "patch/patch.h"
#include "space/code.h"

/* What a patch has beyond a word for a word.  One allocation, bytes behind it. */
struct lp_patch_more {
	uint32_t bytes;			   /* of this allocation */
	uint32_t lead;			   /* bytes at the patch's address that stay (a landing pad) */
	uint32_t size;			   /* bytes from there on that are replaced; 0 = none (NEW_FUNC) */
	const uint8_t *original, *patched; /* `size` of them */
	const uint8_t *code;		   /* INSERT, NEW_FUNC: as it was given */
	uint32_t code_size;
	uint32_t room_size;
	lp_addr room;		       /* where new code stands; room_size 0 = nowhere */
	lp_addr target;		       /* BRANCH, REDIRECT: where it leads */
	char *name;		       /* NULL = none; behind it, too */
	const char *assembly;	       /* the text that the code was given as; the same */
	struct lp_code_divert *divert; /* made by the space; owned */
	struct lp_moved *moved;	       /* until it is committed, when threads must be moved */
	lp_addr moved_to;
	uint64_t tokens[2]; /* of the space: the edit's, or the divert's */
};

struct lp_txn;
struct lp_files; /* files.c */
struct lp_watch; /* watch.c */

/* A place that a script changed: what it put there and, `len` bytes behind that, what it found. */
struct lp_script_place {
	lp_addr at;
	uint32_t len;
	bool is_data;
	uint8_t *bytes;
};
typedef LP_VEC(struct lp_script_place) lp_script_places;

/* A patch script that was applied, or a .kpatch file. */
struct lp_script {
	uint32_t file;
	char *text;		 /* NULL: a .kpatch file, which a reload leaves alone */
	uint64_t id;		 /* the space's */
	lp_script_places places; /* of those in the system's list */
};

struct LivePatchSystem {
	struct lp_code_space *space;
	struct lp_table *table;
	atomic_int enabled;
	atomic_uint flags;
	atomic_uint_least64_t generation, refused;

	pthread_mutex_t lock;	   /* of what follows */
	struct lp_names names;	   /* NEW_FUNC's names: their address */
	LP_VEC(char *) file_names; /* number 1 is the first */
	struct lp_names file_numbers;
	LP_VEC(struct lp_script) scripts;
	struct lp_txn *open; /* transactions of threads */
	uint64_t reloads, reload_errors;
	char last_reload_error[512];

	unsigned users;				/* hooks.c: of the one system over this process */
	bool (*stays)(LivePatchSystem *system); /* for livepatch_cleanup(): true when it stays; NULL: it does not */
	struct lp_files *files;
	struct lp_watch *watch;
	void (*tell_refusal)(const char *why, void *arg); /* of a reload by ourselves; NULL: nobody */
	void *tell_arg;
};

/* Takes the space over, also on error. */
LivePatchSystem *lp_system_new(struct lp_code_space *space);
void lp_system_free(LivePatchSystem *system);
/* What ends with the last user of a system that stays. */
void lp_system_rest(LivePatchSystem *system);

/* ---- at the border of the library ---- */

/* The calling thread's error, cleared. */
struct lp_err *lp_enter(void);
/* rc, or -1 with the refusal counted.  `system` may be NULL. */
int lp_leave(LivePatchSystem *system, int rc);
/* The patch file's place that the error which is being made belongs to; NULL file = none. */
void lp_blame(const struct lp_where *where);
/* -LP_EUSAGE when there is no system, -LP_EDISABLED when it is disabled. */
int lp_system_check(LivePatchSystem *system, struct lp_err *err);
int lp_system_check_enabled(LivePatchSystem *system, struct lp_err *err);
/* A line on standard error, if the user wants them. */
bool lp_debug_on(void);
void lp_tell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- transactions ---- */

/*
 * Part of a transaction that is no patch of the table.  Committed in order
 * after the patches, but for scripts that go, which make way for them; what is
 * committed already is undone when a later one fails.
 */
struct lp_txn_part {
	uint64_t takes; /* the number of the script that this takes back; 0 = none */
	int (*commit)(void *arg, struct lp_err *err);
	void (*undo)(void *arg);
	void (*free)(void *arg, bool committed);
	void *arg;
};

/* One thing that was asked for, in order, so that a part of a transaction can be taken back. */
struct lp_txn_step {
	enum { LP_STEP_PUT, LP_STEP_TAKE, LP_STEP_UNPUT, LP_STEP_PART } kind;
	lp_addr at;
	struct lp_patch patch; /* UNPUT: what was to be put */
	struct lp_txn_part part;
};

struct lp_txn {
	LivePatchSystem *system; /* NULL: it was cleaned up */
	struct lp_table *puts;	 /* patches to come */
	struct lp_table *takes;	 /* copies of those to go; what they own stays the system's */
	struct lp_names names;	 /* of NEW_FUNC patches to come */
	LP_VEC(struct lp_txn_step) steps;
	struct lp_txn *next; /* of system->open */
};

void lp_txn_init(struct lp_txn *t, LivePatchSystem *system);
/* All or nothing; the transaction is empty afterwards either way.  Returns how many patches came and went. */
int lp_txn_apply(struct lp_txn *t, struct lp_err *err);
void lp_txn_abort(struct lp_txn *t);
/* Where it stands now, and back to there. */
size_t lp_txn_mark(const struct lp_txn *t);
void lp_txn_rollback(struct lp_txn *t, size_t mark);

/* The open transaction of the calling thread for this system, or NULL. */
struct lp_txn *lp_txn_current(LivePatchSystem *system);

/* For one call: the current transaction, or *own. */
struct lp_txn_use {
	struct lp_txn own, *txn;
	size_t mark;
};
struct lp_txn *lp_txn_use(struct lp_txn_use *use, LivePatchSystem *system);
/* rc < 0: what the call added is rolled back, and rc returned.  Else an own one is committed, and rc returned if that
 * worked. */
int lp_txn_done(struct lp_txn_use *use, int rc, struct lp_err *err);

/* Takes *patch over, also on error. */
int lp_txn_put(struct lp_txn *t, struct lp_patch *patch, struct lp_err *err);
int lp_txn_take(struct lp_txn *t, lp_addr at, struct lp_err *err);
void lp_txn_add_part(struct lp_txn *t, const struct lp_txn_part *part);
/* The address that a NEW_FUNC's name stands for, as it will be. */
bool lp_txn_name(struct lp_txn *t, const char *name, size_t len, lp_addr *at);

/* ---- planning ---- */

struct lp_request {
	enum LivePatchType type;
	lp_addr at;	  /* all but NEW_FUNC */
	lp_addr target;	  /* BRANCH, REDIRECT */
	const void *code; /* REPLACE, INSERT, NEW_FUNC */
	size_t size;
	const char *assembly; /* in place of code: its text */
	const void *expect;   /* what must be there, `expect_size` bytes; NULL = anything */
	size_t expect_size;
	const char *name; /* NEW_FUNC; NULL = none */
	const char *description;
	uint32_t file;	/* lp_system_file(); 0 = none */
	unsigned flags; /* LIVEPATCH_ALLOW_* beyond the system's */
};

/* Checks it and puts it into the transaction; `*at` (NULL allowed) receives its key. */
int lp_plan(struct lp_txn *t, const struct lp_request *r, lp_addr *at, struct lp_err *err);
/* Is the patch, whose shard is held, what the request asks for? */
bool lp_plan_is_there(struct lp_txn *t, const struct lp_request *r, const struct lp_patch *there);

/* ---- patches of files ---- */

/* The number that stands for a patch file; its name stays as long as the system. */
uint32_t lp_system_file(LivePatchSystem *system, const char *name);
const char *lp_system_file_name(LivePatchSystem *system, uint32_t number); /* "" = none */

/* A patch file that was read. */
struct lp_sourced {
	const struct lp_patchset *set;
	uint32_t file;
};

/* Plans all of the set; returns how many patches it makes. */
int lp_sets_put(struct lp_txn *t, const struct lp_sourced *s, struct lp_err *err);
/* Plans what turns the patches that came from files into those of these: patches that are the same stay untouched.
 * Returns how many change (each that goes, and each that comes in no other's place). */
int lp_sets_replace(struct lp_txn *t, const struct lp_sourced *sets, size_t nr, struct lp_err *err);
/* Where the patch that is being listed is, for a file: `op->at`, and `op->file` when the address alone would not do at the
 * next start. */
void lp_sets_place(LivePatchSystem *system, lp_addr at, struct lp_op *op);
/* The text that its code was given as, where the bytes would not do; NULL: they do.  The patch's shards are held. */
const char *lp_sets_assembly(LivePatchSystem *system, lp_addr at);
/* The active patches as a patchset, for lp_patchset_free(). */
int lp_sets_list(LivePatchSystem *system, struct lp_patchset **out, struct lp_err *err);

/* ---- what is there ---- */

/* Calls fn for every active patch by rising address, all of one moment.  fn must not use the system. */
int lp_system_each(LivePatchSystem *system, int (*fn)(const livepatch_info *info, void *arg), void *arg);
void lp_patch_info(LivePatchSystem *system, const struct lp_patch *p, livepatch_info *out, uint8_t words[8]);

/* ---- for fork(): what all systems share, so that a child does not begin in the middle of a change of it ---- */

/* In the order of the locks: watches, files, txns, shards of the table, system->lock. */
void lp_watches_hold(void);
void lp_watches_release(void);
void lp_txns_hold(void);
void lp_txns_release(void);

/* ---- ends of other files' state, called by livepatch_cleanup() ---- */

void lp_files_free(LivePatchSystem *system);
void lp_watch_stop(LivePatchSystem *system);

#endif
