/*
 * The plan from inside: how resolve and plan build it, how apply uses it.
 * Private to core/.
 */
#ifndef LP_CORE_PLAN_H
#define LP_CORE_PLAN_H

#include "core/ledger.h"
#include "core/link.h"
#include "core/relink.h"

#define LP_NONE SIZE_MAX

/* Memory of the plan: what `new`, `load` or `dl` gave a name, or a .kpatch object. */
struct lp_mem {
	const struct lp_op *op;
	size_t room;   /* index of its room */
	uint64_t size; /* offsets up to here are lawful */
	lp_addr base;
	struct lp_object *object; /* dl */
	struct lp_elf *file;	  /* dl --dlopen */
	struct lp_relink *relink; /* a .kpatch file; it has no name, and two rooms: the second keeps the file */
};

/* What `dl --dlopen` got from the target's loader; survives a rebuild of the plan. */
struct lp_opened {
	const struct lp_op *op;
	lp_addr handle, base;
};

/* Code that no thread may be inside of, beyond what the writes themselves say. */
struct lp_guard {
	struct lp_range range;
	char *symbol;
};

/* Code in an islands room that keeps registers around a call of a replacement. */
struct lp_thunk {
	lp_addr at;
	size_t len; /* the last 8 bytes are the callee's address */
};

/* A .kpatch file that an earlier patch has left in the target. */
struct lp_kept {
	uint64_t id;		   /* of the ledger's entry */
	char *name;		   /* "ID@BUILDID" */
	struct lp_entry_room room; /* where it lies; of its names, `name` is the copy */
	bool tried;		   /* it was read when its symbols were asked for: */
	struct lp_kpatch *k;	   /* NULL: it cannot be read any more, and has no symbols to offer */
};

struct lp_contracts; /* contract.h */

struct lp_plan {
	struct lp_target *t;
	const struct lp_patchset *ps;
	struct lp_apply_opts opts;
	struct lp_ledger ledger;
	LP_VEC(struct lp_mem) mems;
	LP_VEC(struct lp_room) rooms;
	LP_VEC(struct lp_write) writes;
	LP_VEC(struct lp_guard) guards;
	LP_VEC(uint64_t) deps; /* ids of patches this one builds on, ascending */
	LP_VEC(struct lp_range) taken;
	LP_VEC(struct lp_opened) opened;
	LP_VEC(struct lp_thunk) thunks;
	LP_VEC(struct lp_kept) kept; /* newest first; read on first use */
	bool kept_read;
	struct lp_foreign_list foreign; /* patches of other tools; read on first use */
	bool foreign_read;
	struct lp_contracts *contracts;
	struct lp_buf ops_text;
	bool provisional; /* some addresses wait for the target's loader */
};

/* An address expression in numbers. */
struct lp_place {
	lp_addr addr;
	uint64_t size;	       /* of the symbol that starts at addr; 0 = unknown */
	struct lp_range cold;  /* its .cold part */
	struct lp_range limit; /* the section or segment part that code at addr may use: up to the next symbol */
	char name[160];	       /* for people */
	size_t mem;	       /* index of the memory name it lies in, or LP_NONE */
	bool own_object;       /* a symbol of an object that this plan places */
};

/* Empty the plan of everything but `opened`, and build it again. */
int lp_plan_build(struct lp_plan *p, struct lp_err *err);
void lp_plan_reset(struct lp_plan *p);
const struct lp_opened *lp_plan_opened(const struct lp_plan *p, const struct lp_op *op);

/* ---- pieces of a plan, for those that build it (plan.c, plan_kpatch.c) ---- */

/* An unmapped range within `reach` of all of `near` (0: anywhere), taken from now on. */
int lp_plan_choose_hole(struct lp_plan *p, struct lp_range near, uint64_t reach, uint64_t size, lp_addr *at,
			struct lp_err *err);
struct lp_room *lp_plan_add_room(struct lp_plan *p, enum lp_room_kind kind, const char *name, const char *path,
				 struct lp_range range);
struct lp_room *lp_plan_add_plain_room(struct lp_plan *p, enum lp_room_kind kind, const char *name, const char *path,
				       struct lp_range range, unsigned prot);
struct lp_write *lp_plan_add_write(struct lp_plan *p, const struct lp_op *op, enum lp_write_kind kind, lp_addr at,
				   const void *bytes, size_t len, const char *symbol);
/* Takes its old bytes from memory, and finds the patches that it stands on. */
int lp_plan_finish_write(struct lp_plan *p, struct lp_write *w, struct lp_err *err);
void lp_plan_add_dep(struct lp_plan *p, uint64_t id);
/* Memory as it was before any patch that the ledger knows. */
int lp_plan_read_original(struct lp_plan *p, lp_addr at, uint8_t *data, size_t len, struct lp_err *err);
/* What diverts `at` to `to`: one write or two, an island or a frame that keeps registers, guards, dependencies. */
int lp_plan_jump(struct lp_plan *p, const struct lp_op *op, const struct lp_place *at, const struct lp_place *to,
		 struct lp_err *err);

/* .kpatch objects (plan_kpatch.c): placing, linking, writes, and what was read of earlier ones. */
int lp_plan_place_kpatches(struct lp_plan *p, struct lp_err *err);
int lp_plan_link_kpatch(struct lp_plan *p, struct lp_mem *m, struct lp_err *err);
int lp_plan_apply_kpatch(struct lp_plan *p, const struct lp_op *op, struct lp_err *err);
void lp_plan_forget_kept(struct lp_plan *p);

/* Patches that this one stands in for (plan_replace.c): is it one; and the writes that undo the rest of them. */
bool lp_plan_replaces(const struct lp_plan *p, uint64_t id);
int lp_plan_restore_replaced(struct lp_plan *p, struct lp_err *err);

/* ---- names to numbers ---- */

/* An address of the target. */
int lp_resolve_number(struct lp_plan *p, lp_addr at, struct lp_place *out, struct lp_err *err);
int lp_resolve(struct lp_plan *p, const struct lp_addr_expr *e, struct lp_place *out, struct lp_err *err);
/* The image whose GOT `got` shall change and the bare name and version of the symbol. */
int lp_resolve_got(struct lp_plan *p, const struct lp_addr_expr *e, size_t *image, struct lp_symspec *spec,
		   struct lp_err *err);
/* Errors of one operation begin with its place in the script. */
int lp_at_where(struct lp_err *err, int rc, const struct lp_where *w);

#endif
