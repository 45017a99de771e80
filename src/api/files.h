/*
 * The patch files of a system: which were loaded, and in which state.
 *
 *     struct lp_patch_file f = {0};
 *     rc = lp_patch_file_read(&f, "fix.json", false, err);    // f.set
 *     lp_patch_file_free(&f);
 *
 *     rc = lp_files_reload(system, err);                      // livepatch_reload() without the border
 *
 * A file is remembered when the transaction that applied it is committed; the
 * list is guarded by system->lock, and counts its changes: whoever plans by it
 * can tell at commit that it is still the same.
 */
#ifndef LP_API_FILES_H
#define LP_API_FILES_H

#include "api/system.h"
#include "base/buf.h"
#include "base/vec.h"

struct lp_patch_file {
	char *name;		 /* as it was given; for messages and livepatch_info */
	char *path;		 /* absolute, links not followed */
	bool json;		 /* no other format will do */
	uint64_t hash;		 /* of the content that was read last */
	struct lp_patchset *set; /* what it held; NULL in the list of the system */
};

/* Reads and parses.  A file that is malformed is blamed (lp_blame).  Free it, also on error. */
int lp_patch_file_read(struct lp_patch_file *f, const char *name, bool json, struct lp_err *err);
uint64_t lp_patch_file_hash(const struct lp_buf *content);
/* The same again, from the same path. */
int lp_patch_file_read_again(struct lp_patch_file *f, struct lp_err *err);
void lp_patch_file_free(struct lp_patch_file *f);

/* Of one system.  A copy is anybody's own. */
struct lp_file_list {
	LP_VEC(struct lp_patch_file) files;
	uint64_t version; /* of the system's list: one more with each change */
};

struct lp_file_list lp_file_list_now(LivePatchSystem *system);
struct lp_file_list lp_file_list_copy(const struct lp_file_list *l);
/* A copy of it, less what it held; takes the place of one with the same path. */
void lp_file_list_add(struct lp_file_list *l, const struct lp_patch_file *f);
void lp_file_list_free(struct lp_file_list *l);
/* When the transaction is committed the system's list becomes a copy of this one; or the commit fails (-EAGAIN), when it
 * is not of the version that this one is a copy of any more. */
void lp_file_list_plan(struct lp_txn *t, const struct lp_file_list *l);
uint64_t lp_file_list_version(LivePatchSystem *system);

/* Held while the files of a system are loaded again; taken before all other locks. */
pthread_mutex_t *lp_files_lock(LivePatchSystem *system);

/* Reads all files again and applies the difference, or leaves all as it is; the outcome is kept for livepatch_stats().
 * `*content` tells apart what it has read. */
int lp_files_reload(LivePatchSystem *system, uint64_t *content, struct lp_err *err);
/* Loads one more.  In the calling thread's transaction, if it has one. */
int lp_files_load(LivePatchSystem *system, const char *name, bool json, struct lp_err *err);

enum lp_file_state {
	LP_FILE_UNKNOWN, /* not loaded, or not any more */
	LP_FILE_SAME,	 /* what was loaded, and the last reload went well */
	LP_FILE_CHANGED, /* or cannot be read */
};
enum lp_file_state lp_files_look(LivePatchSystem *system, const char *path);

/* `name` for a time when the working directory is another one; lp_free() it. */
char *lp_path_absolute(const char *name);

#endif
