/*
 * The memory that a LivePatchSystem changes, whichever it is: a buffer of the
 * caller's, this process, another one.
 *
 *     rc = lp_code_open_buffer(&space, memory, size, base, err);      // or _self, _process
 *     rc = space->ops->read(space, at, bytes, len, err);
 *     rc = space->ops->room_make(space, near, size, &at, err);        // while everything runs: nothing refers to it yet
 *     rc = space->ops->room_fill(space, at, code, len, err);
 *     rc = space->ops->commit(space, edits, nr, flags, err);          // all edits, or none
 *     rc = space->ops->undo(space, edits, nr, flags, err);            // likewise; any subset, of several commits
 *     space->ops->close(space);
 *
 * Threads: the caller sees to it that commit and undo of one space do not
 * overlap; read and room_* may be called at any time.  Whoever executes the
 * memory meanwhile sees each instruction old or new.
 */
#ifndef LP_SPACE_CODE_H
#define LP_SPACE_CODE_H

#include <sys/types.h>

#include "base/err.h"
#include "isa/isa.h"
#include "patch/patch.h"

enum {
	LP_CODE_ALLOW_ACTIVE = 1u << 0, /* threads may stay in the functions that are replaced */
};

/* Bytes to be changed.  They were read from the space by whoever made the edit; another value there is -LP_ECHANGED. */
struct lp_code_edit {
	lp_addr at;
	uint32_t len;
	bool is_data; /* not code: no instruction pointer can be in it */
	const uint8_t *old_bytes, *new_bytes;
	/* The function that nobody enters any more (a jump on its first instruction): no thread may be inside, nor return
	 * into it.  Empty: none. */
	struct lp_range body;
	/* Instructions that vanish from `at` and stand elsewhere: where a thread that is on one of them goes on. */
	const struct lp_moved *moved;
	lp_addr moved_to;
	uint64_t token;		       /* set by commit, given back to undo; 0 before */
	struct lp_code_divert *divert; /* this edit is one of its; NULL = bytes for bytes */
};

/*
 * Calls of the function at `from` go to `to`: what a space that knows functions
 * (self, process) does itself.  Its edits are given to commit and undo like any
 * others, all of them in the same call.  Their bytes are the divert's own;
 * new_bytes are certain when commit has returned.
 */
struct lp_code_divert {
	lp_addr from, to;
	lp_addr original; /* calls what `from` was, from now on; 0 where the space has no such thing (process) */
	struct lp_code_edit edits[2];
	size_t nr;
};

/* One place that a script changes. */
struct lp_code_write {
	lp_addr at;
	size_t len;
	const uint8_t *old_bytes, *new_bytes;
	bool is_data; /* the program's own variables: it may change them too */
};

/* What becomes of a script's places: each is asked about before anything is written (negative: refused), and told when all
 * are. */
struct lp_code_witness {
	int (*may)(void *arg, const struct lp_code_write *w, struct lp_err *err);
	void (*done)(void *arg, const struct lp_code_write *w);
	void *arg;
};

struct lp_code_space {
	const struct lp_code_ops *ops;
	const struct lp_isa *isa;
	struct lp_range range; /* addresses that exist */
	bool is_own;	       /* addresses are pointers of this process */
	bool concurrent;       /* commit, undo and exchange of different bytes may overlap in time */
	bool alone;	       /* nobody else patches it: what is patched is not patched again on top */
};

struct lp_code_ops {
	const char *name; /* "buffer", "self", "process", "guest" */

	int (*read)(struct lp_code_space *s, lp_addr at, void *data, size_t len, struct lp_err *err);
	int (*commit)(struct lp_code_space *s, struct lp_code_edit *edits, size_t nr, unsigned flags,
		      struct lp_err *err);
	int (*undo)(struct lp_code_space *s, struct lp_code_edit *edits, size_t nr, unsigned flags, struct lp_err *err);
	/* Undo of `undone` and commit of `edits`, which may be of the same bytes, as one: those see no moment in between.
	 * An edit's old_bytes are those after the undo.  NULL, or -LP_EOVERLAP: the space cannot, the caller does one
	 * after the other. */
	int (*exchange)(struct lp_code_space *s, struct lp_code_edit *undone, size_t nr_undone,
			struct lp_code_edit *edits, size_t nr, unsigned flags, struct lp_err *err);

	/* Memory for code; within reach of a direct jump from `near` unless near is 0.  -LP_ENOROOM, -LP_EREACH. */
	int (*room_make)(struct lp_code_space *s, lp_addr near, size_t size, lp_addr *out, struct lp_err *err);
	int (*room_fill)(struct lp_code_space *s, lp_addr at, const void *bytes, size_t len, struct lp_err *err);
	/* Nothing leads there any more; threads may still be in it. */
	void (*room_drop)(struct lp_code_space *s, lp_addr at, size_t size);
	/* Everything checked and prepared, nothing seen by anybody.  NULL: the caller makes such edits himself (buffer). */
	int (*divert_make)(struct lp_code_space *s, lp_addr from, lp_addr to, unsigned flags,
			   struct lp_code_divert **out, struct lp_err *err);
	/* A committed one leads elsewhere from now on, with no moment in between at which it does not lead anywhere. */
	int (*divert_retarget)(struct lp_code_space *s, struct lp_code_divert *d, lp_addr to, unsigned flags,
			       struct lp_err *err);
	/* Of one that is not committed, or undone.  NULL is fine. */
	void (*divert_free)(struct lp_code_space *s, struct lp_code_divert *d);
	/* A patch's changes, committed together, are not ours any more.  Their divert, if they are one, is freed, but what it
	 * leads to stays; on error nothing has happened.  NULL where others remember what was done (process). */
	int (*disown)(struct lp_code_space *s, const struct lp_code_edit *edits, size_t nr, struct lp_err *err);
	/* Names more memory that room_make may use; NULL where the space maps its own. */
	int (*room_add)(struct lp_code_space *s, lp_addr at, size_t size, struct lp_err *err);

	/* A symbol (e->kind LP_ADDR_SYMBOL) or number in the space; *size 0 = not known.  A buffer has no symbols. */
	int (*resolve)(struct lp_code_space *s, const struct lp_addr_expr *e, lp_addr *at, uint64_t *size,
		       struct lp_err *err);
	/* Where an object that is loaded has what its own symbol table gives the address `vaddr`.  NULL where the space does
	 * not know of objects (buffer). */
	int (*in_object)(struct lp_code_space *s, const char *object, uint64_t vaddr, lp_addr *at, struct lp_err *err);
	/* The object that `at` is in, where the next start may have it elsewhere, and its own address for it; false: `at` is as
	 * good.  `object` is for lp_free().  NULL: addresses stay. */
	bool (*whose)(struct lp_code_space *s, lp_addr at, char **object, uint64_t *vaddr);
	/* The function around `at`; false when not known. */
	bool (*function)(struct lp_code_space *s, lp_addr at, struct lp_range *out);
	/* The first instruction in `window`, a part of the code `own`, that a branch from elsewhere leads to, and where that
	 * branch is.  NULL: commit looks for them, or one instruction is as long as another. */
	bool (*entered)(struct lp_code_space *s, struct lp_range own, struct lp_range window, lp_addr *from,
			lp_addr *to);
	/* A whole script (dl, jmp, set, ...) as one transaction of the core; NULL where the space has no core target.
	 * *id is what unscript takes.  No witness (NULL): nobody minds. */
	int (*script)(struct lp_code_space *s, const struct lp_patchset *ps, unsigned flags,
		      const struct lp_code_witness *witness, uint64_t *id, struct lp_err *err);
	int (*unscript)(struct lp_code_space *s, uint64_t id, unsigned flags, struct lp_err *err);
	/* A place of a script is not ours any more, as for disown; NULL where disown is. */
	int (*unscript_place)(struct lp_code_space *s, uint64_t id, struct lp_range place, struct lp_err *err);

	void (*close)(struct lp_code_space *s);
};

/* AArch64 code in [base, base + size), which is `memory` here; all edits are of 4-byte words there, each one store. */
int lp_code_open_buffer(struct lp_code_space **out, void *memory, size_t size, lp_addr base, struct lp_err *err);
int lp_code_open_self(struct lp_code_space **out, struct lp_err *err);
int lp_code_open_process(struct lp_code_space **out, pid_t pid, struct lp_err *err);
/* Any target that the engine knows; it is the space's from now on.  `name` is a literal.  `alone`: nobody else patches it. */
struct lp_target;
int lp_code_open_target(struct lp_code_space **out, struct lp_target *t, const char *name, bool alone);

#endif
