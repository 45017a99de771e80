/*
 * What a build was made of: which source became which object, which object went where in which binary.
 *
 *     lp_model_load(&m, cache.here, cache.here, tree, err);      // the records of a container, and the maps beside them
 *     m.links: the programs and libraries that the build left in its tree
 *     lp_model_free(&m);
 *
 * Records name files as they were at here/; a container that has moved since is told apart by `container`, and
 * lp_model_path() says where such a file is now.
 */
#ifndef LP_BUILD_MODEL_H
#define LP_BUILD_MODEL_H

#include "build/archive.h"
#include "build/record.h"
#include "diff/diff.h"

/* One object in one binary. */
struct lp_linked {
	char *file;			/* absolute, as at here/ */
	char *member;			/* of the archive; NULL: file is the object */
	const struct lp_record *record; /* that compiled it; NULL = unknown */
	size_t unit;			/* in record->units */
	unsigned twin;			/* which one, when several members of the archive have that name; from 0 */
	size_t member_at;		/* index in the archive + 1; 0 = the only one of that name */
	char *via;			/* the larger object (ld -r) through which it came, or NULL */
	bool expanded;			/* it is such a larger object: its parts are listed, too */
	LP_VEC(struct lp_placement) placements; /* `section` is owned */
};

/* One program or library. */
struct lp_link {
	const struct lp_record *record;
	const char *output; /* absolute, as at here/ */
	LP_VEC(struct lp_linked) objects;
	size_t last; /* where the object of the last row of the map is; the next row is likely the next one's */
};

struct lp_model_archive {
	char *path; /* where it is now */
	struct lp_buf bytes;
	struct lp_archive members;
};

struct lp_model {
	char *container, *here;
	lp_record_vec records;
	LP_VEC(struct lp_link) links; /* in the order in which they were made; one for each output */
	LP_VEC(struct lp_model_archive) archives;
	void *compared; /* files, to whether they are the same in another tree (tsearch) */
	size_t nr_units;
	bool lto; /* something was compiled for link-time optimisation */
};

/* `compdb_tree`: the tree below here/ whose compile_commands.json stands in for compilations that were not seen; NULL = none. */
int lp_model_load(struct lp_model *out, const char *container, const char *here, const char *compdb_tree,
		  struct lp_err *err);
void lp_model_free(struct lp_model *m);
/* Where a file of a record is now; the caller frees it. */
char *lp_model_path(const struct lp_model *m, const char *path);
/* A file beside a record: suffix ".map", unit and ".o". */
char *lp_model_side_file(const struct lp_model *m, const struct lp_record *r, const char *suffix);
char *lp_model_unit_file(const struct lp_model *m, const struct lp_record *r, size_t unit, const char *suffix);

/* Units of two builds are the same when they go to the same object, or, of a command that links in one go, when the same
 * source goes to the same program. */
bool lp_same_unit(const struct lp_record *a, size_t unit_a, const struct lp_record *b, size_t unit_b);
/* The last time that a unit was compiled; false when it was not. */
bool lp_model_find_unit(const struct lp_model *m, const struct lp_record *like, size_t like_unit,
			const struct lp_record **r, size_t *unit);
/* Is it what an `ld -r` of this build made? */
bool lp_model_is_partial(const struct lp_model *m, const char *path);
struct lp_link *lp_model_find_link(const struct lp_model *m, const char *output);
struct lp_linked *lp_link_find(const struct lp_link *l, const char *file, const char *member);

/* The bytes of an object as it was linked: the copy beside the record, else the file or the member. */
int lp_model_object(struct lp_model *m, const struct lp_linked *o, struct lp_buf *out, struct lp_err *err);

/* Was a unit compiled by the same command from the same bytes in both trees?  Unknown dependencies: no. */
bool lp_same_compilation(struct lp_model *before, const struct lp_record *a, size_t unit_a, struct lp_model *after,
			 const struct lp_record *b, size_t unit_b);

/* Do the sources that a unit was made of include one of these (absolute, sorted) paths?  Unknown dependencies: only its source. */
bool lp_model_depends(const struct lp_model *m, const struct lp_record *r, size_t unit, char *const *paths, size_t nr);

#endif
