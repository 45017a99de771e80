/*
 * What the steps of a build share: build.c calls them in this order.
 */
#ifndef LP_BUILD_PRIVATE_H
#define LP_BUILD_PRIVATE_H

#include "build/build.h"
#include "build/cache.h"
#include "build/compile.h"
#include "build/model.h"
#include "build/remove.h"
#include "build/run.h"
#include "build/tree.h"

/* One unit that the diff may have changed. */
struct lp_affected {
	char *name;		       /* "src/networking.o" */
	struct lp_linked *linked;      /* in the original; NULL: new */
	const struct lp_record *after; /* its compilation in the changed tree; NULL: none was recorded */
	size_t after_unit;
	bool compile_before, compile_after; /* with section flags, into a file of ours */
	const char *indirect;		    /* not NULL: it refers to data too far away: indirect.c */
	bool is_removed;
	char *before_file, *after_file; /* the two objects, once they are there; NULL = none */
	struct lp_elf *before_elf, *after_elf;
};

/* One unit in one binary. */
struct lp_use {
	size_t unit; /* in lp_build.units */
	struct lp_linked *linked;
	struct lp_elf *elf; /* of `linked` */
};

/* One binary that may have changed. */
struct lp_changed_binary {
	struct lp_link *link; /* in the original */
	const char *target;   /* one of opts.targets, or NULL */
	LP_VEC(struct lp_use) uses;
	LP_VEC(struct lp_elf *) others;
	struct lp_elf *original, *target_elf, *target_debug;
	struct lp_diff *diff;
	struct lp_buf kpatch;
	struct lp_err why; /* it gets no patch; code 0: it may */
	char *path, *name; /* of the .kpatch; of the binary below the tree */
};

enum lp_build_stage {
	STAGE_READ,
	STAGE_ORIGINAL,
	STAGE_APPLY,
	STAGE_CHANGED,
	STAGE_COMPILE,
	STAGE_COMPARE,
	STAGE_COUNT,
};

struct lp_build {
	struct lp_build_opts opts;
	char *srcdir, *name, *command, *id, *wrapper, *root;
	bool guessed, cached;
	unsigned jobs;

	struct lp_cache cache;
	char *tree;    /* where trees build: <cache>/here/tree/NAME */
	char *work;    /* objects of ours */
	char *map;     /* TREE=SRCDIR */
	char *include; /* the directory with livepatch-patch.h */
	char *epoch;   /* SOURCE_DATE_EPOCH of what is compiled twice */

	LP_VEC(struct lp_tree_rename) renames; /* compilers, to their links */

	struct lp_model before, after;
	lp_path_vec changes; /* files that the diffs changed, as at `tree`; sorted */
	LP_VEC(struct lp_affected) units;
	LP_VEC(struct lp_changed_binary) binaries;
	LP_VEC(struct lp_build_patch) patches;
	char *compiler; /* what it says about its version */
	char *kept;

	enum lp_build_stage stage;
	uint64_t stage_began, stage_ns[STAGE_COUNT];
	struct lp_watch watch;
};

/* setup.c: who we are, where things go */
int lp_build_settle(struct lp_build *b, struct lp_err *err);
int lp_build_open_cache(struct lp_build *b, struct lp_err *err);
int lp_build_make_links(struct lp_build *b, struct lp_err *err); /* cache.bin */

/* trees.c: the two trees and their builds */
int lp_build_original(struct lp_build *b, struct lp_err *err);
int lp_build_apply(struct lp_build *b, struct lp_err *err);
int lp_build_changed(struct lp_build *b, struct lp_err *err);

/* indirect.c: does the object refer to what only libraries define, in a way that does not reach them? */
bool lp_build_refers_far(const struct lp_elf *object, struct lp_elf *original);

/* affected.c: which units, in which binaries; their objects */
int lp_build_find_targets(struct lp_build *b, struct lp_err *err);
int lp_build_find_affected(struct lp_build *b, struct lp_err *err);
int lp_build_compile_after(struct lp_build *b, struct lp_err *err);
int lp_build_compile_before(struct lp_build *b, struct lp_err *err);

/* verdict.c: which patches may go out although others were refused, and what is said then */
void lp_build_hold_back(struct lp_build *b);
int lp_build_verdict(const struct lp_build *b, struct lp_err *err);

/* emit.c: the differ, and files */
void lp_build_compare(struct lp_build *b);
int lp_build_write(struct lp_build *b, struct lp_err *err);

/* progress.c */
void lp_build_begin(struct lp_build *b, enum lp_build_stage stage);
void lp_build_tell(struct lp_build *b, size_t done, size_t total, const char *noun);
void lp_build_end(struct lp_build *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *lp_build_stage_name(enum lp_build_stage stage);

/* "src/redis-server": a file of the tree, for people. */
const char *lp_build_shown(const struct lp_build *b, const char *path);

#endif
