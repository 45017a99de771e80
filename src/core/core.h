/*
 * The core's face: a patchset and a target in, a change (or a refusal) out.
 *
 *     struct lp_plan *plan;
 *     rc = lp_plan_make(&plan, target, patchset, &opts, err);   // nothing written; plan can be printed
 *     lp_plan_print(plan, buf)  or  lp_plan_rooms(), lp_plan_writes()
 *     rc = lp_plan_apply(plan, &result, err);                   // as a whole, or not at all
 *     lp_plan_free(plan);
 *
 *     rc = lp_ledger_list(target, &list, err);
 *     rc = lp_revert(target, ids, nr, &opts, &result, err);     // as a whole, or not at all
 *     rc = lp_recover(target, &opts, &result, err);             // finish or remove what a dead livepatch left
 *     rc = lp_check(target, &report, err);                      // does memory still hold what the ledger says?
 *
 * The caller holds no lock: apply, revert and recover lock the target
 * themselves; apply and revert recover first when they find an unfinished
 * entry.
 */
#ifndef LP_CORE_H
#define LP_CORE_H

#include <signal.h>

#include "base/buf.h"
#include "core/target.h"
#include "patch/patch.h"

struct lp_apply_opts {
	unsigned timeout_ms; /* how long to wait for busy functions and for other livepatches; 0 = do not wait */
	bool allow_active;   /* as if every jmp said --allow-active */
	bool force;	     /* revert: also when the program has changed the data since */
	bool free_rooms;     /* revert: unmap `dl`, `load` and `new` memory too, when nothing points into it */
	/* apply: patches that this one stands in for: what they replaced, and this one does not, becomes the original's
	 * again in the same transaction.  They stay in the ledger, below this one. */
	const uint64_t *replaces;
	size_t nr_replaces;
	const volatile sig_atomic_t *interrupted; /* polled while waiting; may be NULL */
	/* Bytes of the target's memory that are searched for suspended coroutines; 0 = LP_SEARCH_USUAL. */
	uint64_t search_most;
};

#define LP_SEARCH_USUAL (UINT64_C(16) << 30) /* some thirty seconds */
#define LP_SEARCH_NONE UINT64_MAX	     /* the caller knows that there are none */

/* ---- plan ---- */

enum lp_write_kind { LP_WRITE_CODE, LP_WRITE_DATA, LP_WRITE_GOT };

struct lp_write {
	lp_addr at;
	size_t len;
	enum lp_write_kind kind;
	uint8_t *old_bytes, *new_bytes; /* owned by the plan */
	char *symbol;			/* what is changed, for people: "func_J", "str_P", "0x1234" */
	struct lp_range body;		/* CODE: the function that is replaced (stack check) ... */
	struct lp_range cold;		/* ... and its .cold part; empty when none */
	struct lp_range replacement;	/* CODE: where it jumps to, for the stack check of the revert; may be empty */
	char *preserves; /* CODE: "rcx for main+0x31 (target)": the jump goes through code that keeps these
				     registers for callers that rely on them; NULL = straight */
	bool allow_active;
	uint64_t over;	       /* id of the active patch whose bytes this one replaces, 0 = none */
	struct lp_where where; /* line of the script */
};

enum lp_room_kind {
	LP_ROOM_OBJECT,
	LP_ROOM_FILE,
	LP_ROOM_MEMORY,
	LP_ROOM_ISLANDS,
	LP_ROOM_HANDLE,
	LP_ROOM_PATCH,	/* code and data of a .kpatch object */
	LP_ROOM_SOURCE, /* the .kpatch file itself, read-only; its name is "ID@BUILDID" */
};

struct lp_room {
	enum lp_room_kind kind;
	char *name; /* memory name, or "islands" */
	char *path; /* file it came from, or NULL */
	struct lp_range range;
	struct lp_room_request request;
	uint8_t *bytes; /* range-sized image of it (body), owned by the plan; NULL for HANDLE */
	lp_addr handle; /* HANDLE: dlopen's result; PATCH: its unwind tables, 0 = none */
	size_t used;	/* bytes that count for people */
};

struct lp_plan; /* opaque: see plan.h */

int lp_plan_make(struct lp_plan **out, struct lp_target *t, const struct lp_patchset *ps,
		 const struct lp_apply_opts *opts, struct lp_err *err);
const struct lp_room *lp_plan_rooms(const struct lp_plan *p, size_t *nr);
const struct lp_write *lp_plan_writes(const struct lp_plan *p, size_t *nr);
/* "set %p type val", "new name @ %p [size]", ... one line per operation as livepatch -v prints them. */
void lp_plan_print_ops(const struct lp_plan *p, struct lp_buf *out);
/* The whole plan for --dry-run: rooms, bodies, each write with address, symbol, old and new bytes, disassembly. */
void lp_plan_print(const struct lp_plan *p, struct lp_buf *out);
void lp_plan_free(struct lp_plan *p);

struct lp_result {
	uint64_t id; /* of the patch applied; revert: of the last one */
	size_t nr_patches, nr_writes;
	uint64_t pause_ns; /* the one pause that did it */
	unsigned nr_tries; /* pauses taken, 1 = no thread was in the way */
	size_t nr_threads;
	size_t kept_bytes; /* revert: patch memory left mapped */
	bool recovered;	   /* an unfinished entry was cleaned up first */
};

int lp_plan_apply(struct lp_plan *p, struct lp_result *out, struct lp_err *err);

/* ---- names ---- */

/* What an address expression that names no memory of a patch means in the target.  *size 0 = not known. */
int lp_resolve_addr(struct lp_target *t, const struct lp_addr_expr *e, lp_addr *at, uint64_t *size, struct lp_err *err);
/* Where the target has what stands at the link-time address `vaddr` in an object (its file's name or path, or its
 * soname).  -LP_ENOTLOADED; -LP_ERANGE when the object has nothing there. */
int lp_resolve_in_object(struct lp_target *t, const char *object, uint64_t vaddr, lp_addr *at, struct lp_err *err);

/* ---- what is there ---- */

enum lp_entry_state { LP_PREPARED = 1, LP_APPLYING, LP_APPLIED, LP_REVERTING, LP_REVERTED };

struct lp_listed_write {
	lp_addr at;
	size_t len;
	enum lp_write_kind kind;
	char *symbol;
	uint8_t *old_bytes, *new_bytes;
};

struct lp_listed_room {
	enum lp_room_kind kind;
	char *name, *path;
	struct lp_range range;
	bool kept; /* patch reverted, memory kept */
};

/* A .kpatch file that is in the target. */
struct lp_listed_object {
	char *id, *object, *build_id; /* "" when the file does not say; build_id in hex */
	char *tool;		      /* NULL = not said */
	uint32_t level;
	size_t nr_functions; /* replaced ones and new ones */
};

struct lp_listed {
	uint64_t id;
	enum lp_entry_state state;
	char *name;   /* of the patchset */
	int64_t time; /* seconds since the epoch, host clock */
	uint32_t pid_of_tool;
	struct lp_listed_write *writes;
	size_t nr_writes;
	struct lp_listed_room *rooms;
	size_t nr_rooms;
	uint64_t *builds_on; /* ids of earlier patches this one needs */
	size_t nr_builds_on;
	struct lp_listed_object *objects; /* applied patches from .kpatch files: one for each */
	size_t nr_objects;
};

struct lp_listing {
	struct lp_listed *items; /* oldest first; active and unfinished ones, and reverted ones that keep rooms */
	size_t nr;
	bool unfinished; /* a livepatch died here; recover would act */
	lp_addr ledger;	 /* 0 = this process was never patched */
	size_t ledger_bytes;
};

int lp_ledger_list(struct lp_target *t, struct lp_listing *out, struct lp_err *err);
void lp_listing_free(struct lp_listing *l);
/* Would it list the patch of this number?  Costs the same however many there are; false also when nobody can tell. */
bool lp_ledger_lists(struct lp_target *t, uint64_t id);
const char *lp_entry_state_name(enum lp_entry_state s);
const char *lp_write_kind_name(enum lp_write_kind k);
const char *lp_room_kind_name(enum lp_room_kind k);

/* ---- patches of other tools ---- */

/* A function that LibcarePlus or libcare has diverted. */
struct lp_foreign_hunk {
	lp_addr at, to;
	uint32_t old_len, new_len; /* of the two functions */
	uint32_t record;
	bool stands; /* the jump is there, and what it replaced is known: */
	size_t len;
	uint8_t jump[LP_JUMP_MAX], old_bytes[LP_JUMP_MAX];
};

struct lp_foreign_patch {
	const char *tool;	      /* "LibcarePlus", "libcare" */
	char *id, *object, *build_id; /* "" when its header does not say */
	uint32_t level;
	struct lp_range memory;
	struct lp_foreign_hunk *hunks;
	size_t nr_hunks, nr_standing;
};

struct lp_foreign_list {
	LP_VEC(struct lp_foreign_patch) items;
};

/* They are undone by applying a patchset made with lp_patch_add_undo(). */
int lp_foreign_patches(struct lp_target *t, struct lp_foreign_list *out, struct lp_err *err);
void lp_foreign_free(struct lp_foreign_list *l);

/* nr == 0: all, newest first. */
int lp_revert(struct lp_target *t, const uint64_t *ids, size_t nr, const struct lp_apply_opts *opts,
	      struct lp_result *out, struct lp_err *err);
int lp_recover(struct lp_target *t, const struct lp_apply_opts *opts, struct lp_result *out, struct lp_err *err);
/*
 * The target has put something else at `place`: these applied patches claim it no more, and nothing but the ledger is
 * written.  For targets that end with us (a writer that is killed in the middle may leave an entry twice).
 */
int lp_forsake(struct lp_target *t, const uint64_t *ids, size_t nr, struct lp_range place,
	       const struct lp_apply_opts *opts, struct lp_err *err);

/* check: every active write compared with memory. */
struct lp_check_item {
	uint64_t id;
	lp_addr at;
	char *symbol;
	enum lp_write_kind kind;
	bool intact;
	uint8_t *expected, *found;
	size_t len;
};
struct lp_check_report {
	struct lp_check_item *items; /* those that differ */
	size_t nr, nr_checked;
	bool unfinished;
};
int lp_check(struct lp_target *t, struct lp_check_report *out, struct lp_err *err);
void lp_check_report_free(struct lp_check_report *r);

#endif
