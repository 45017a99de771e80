/*
 * Loading patch files again: all of them are read and checked first, then the
 * difference to what is there is applied in one transaction.  Whatever goes
 * wrong, nothing has changed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/files.h"
#include "api/txn.h"

#define TRIES 1000 /* each of them lost to a file that another thread has loaded meanwhile */

static int read_all(struct lp_file_list *l, struct lp_err *err)
{
	for (size_t i = 0; i < l->files.nr; i++) {
		int rc = lp_patch_file_read_again(&l->files.items[i], err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int replace_in(struct lp_txn *t, const struct lp_file_list *l, struct lp_err *err)
{
	LP_VEC(struct lp_sourced) sets = {0};
	for (size_t i = 0; i < l->files.nr; i++) {
		const struct lp_patch_file *f = &l->files.items[i];
		lp_vec_push(&sets, ((struct lp_sourced){f->set, lp_system_file(t->system, f->name)}));
	}
	int rc = lp_sets_replace(t, sets.items, sets.nr, err);
	lp_vec_free(&sets);
	if (rc < 0)
		return rc;
	lp_file_list_plan(t, l);
	return rc;
}

/* A transaction of its own: what another one has planned is not there yet, and could not be told from what is gone. */
static int replace_all(LivePatchSystem *system, const struct lp_file_list *l, struct lp_err *err)
{
	struct lp_txn_use use;
	if (lp_txn_current(system))
		return lp_fail(err, LP_ETRANSACTION,
			       "reloading is a transaction of its own, and this thread has one open");
	return lp_txn_done(&use, replace_in(lp_txn_use(&use, system), l, err), err);
}

/* Over the hashes of what was read. */
static uint64_t content_of(const struct lp_file_list *l)
{
	uint64_t all = 1;
	for (size_t i = 0; i < l->files.nr; i++)
		all = all * UINT64_C(0x100000001b3) + l->files.items[i].hash;
	return all;
}

/* What a reload is about. */
struct scope {
	LivePatchSystem *system;
	const struct lp_patch_file *only; /* in place of the files of the system; NULL: those */
	uint64_t version;		  /* of the list that it began with */
	uint64_t content;
};

static int reload_once(struct scope *s, struct lp_err *err)
{
	struct lp_file_list l = lp_file_list_now(s->system);
	s->version = l.version;
	if (s->only) {
		lp_file_list_free(&l);
		l.version = s->version;
		lp_file_list_add(&l, s->only);
	}
	int rc = read_all(&l, err);
	s->content = content_of(&l);
	if (rc == 0)
		rc = replace_all(s->system, &l, err);
	lp_file_list_free(&l);
	return rc;
}

/* Did somebody else change what was planned upon?  A patch that went before it could be taken, a file that was loaded. */
static bool raced(LivePatchSystem *system, int rc, uint64_t version)
{
	return rc == -LP_ENOPATCH || (rc < 0 && lp_file_list_version(system) != version);
}

static int reload_locked(struct scope *s, struct lp_err *err)
{
	int rc, tries = TRIES;
	do
		rc = reload_once(s, err);
	while (raced(s->system, rc, s->version) && --tries);
	return rc;
}

static void note_outcome(LivePatchSystem *system, int rc, const struct lp_err *err)
{
	pthread_mutex_lock(&system->lock);
	system->reloads += rc >= 0;
	system->reload_errors += rc < 0;
	snprintf(system->last_reload_error, sizeof system->last_reload_error, "%.*s",
		 (int)sizeof system->last_reload_error - 1, rc < 0 ? err->text : "");
	pthread_mutex_unlock(&system->lock);
}

static int reload(struct scope *s, struct lp_err *err)
{
	LivePatchSystem *system = s->system;
	int rc = lp_system_check(system, err);
	if (rc < 0)
		return rc;
	/* Noted with the lock in hand: who forks holds it, and then nobody has the system's. */
	pthread_mutex_t *lock = lp_files_lock(system);
	pthread_mutex_lock(lock);
	rc = lp_system_check_enabled(system, err);
	if (rc == 0)
		rc = reload_locked(s, err);
	note_outcome(system, rc, err);
	pthread_mutex_unlock(lock);
	return rc;
}

int lp_files_reload(LivePatchSystem *system, uint64_t *content, struct lp_err *err)
{
	struct scope s = {.system = system};
	int rc = reload(&s, err);
	*content = s.content;
	return rc;
}

int livepatch_reload(LivePatchSystem *system)
{
	struct lp_err *err = lp_enter();
	return lp_leave(system, reload(&(struct scope){.system = system}, err));
}

int livepatch_reload_patches(LivePatchSystem *system, const char *filename, int is_json)
{
	struct lp_err *err = lp_enter();
	if (!filename)
		return lp_leave(system, lp_fail(err, EINVAL, "there is no file name"));
	struct lp_patch_file only = {.name = (char *)filename, .path = lp_path_absolute(filename), .json = is_json};
	int rc = reload(&(struct scope){.system = system, .only = &only}, err);
	lp_free(only.path);
	return lp_leave(system, rc);
}
