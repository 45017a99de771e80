/*
 * Patches of a store in processes: what is there, what would fit, put it in,
 * take it out.  libcare-ctl, libcare-server and livepatch watch are faces of
 * this; what happens to the process is core's plan and transaction, as with
 * livepatch apply.
 *
 *     rc = lp_deploy_apply(pid, store, &opts, &done, err);      // done.nr_objects 0: nothing fits, or all is in
 *     rc = lp_deploy_revert(pid, &which, &opts, &done, err);    // done.nr_objects 0: nothing to take out
 *     rc = lp_deploy_look(pid, &status, err);                   // patches by object
 *
 * All patches that a store has for the program and the libraries of one
 * process are one transaction.  A patch that is in already is passed over when
 * it comes from a directory, and refused (-LP_EAPPLIED) when it was named.  A
 * patch of a higher level takes the place of the one below in the same
 * transaction: functions that the new one does not replace any more are the
 * original's again.  The older one lies underneath, superseded, until both are
 * taken out together.
 *
 * A store's programs `before` and `after` are run around the change, with the
 * process id as argument, while the process runs: it is never held for a
 * program to end.  They are run only when there is something to change; when
 * `before` fails the process is left alone.
 */
#ifndef LP_STORE_DEPLOY_H
#define LP_STORE_DEPLOY_H

#include "core/core.h"
#include "store/scan.h"
#include "store/store.h"

/* Flat: it travels through a pipe. */
struct lp_deployed {
	size_t nr_objects; /* whose code was changed */
	size_t nr_patches;
	char ids[256]; /* of those patches, separated by blanks, clipped */
	uint64_t pause_ns;
	unsigned nr_tries;
	size_t nr_threads;
	bool recovered;
};

/* A fingerprint of the patches that the store has for the objects of this process, whether they are in or not; 0 = none.
 * It changes when one of the files does.  Cheap: nobody is stopped and no ledger read. */
int lp_deploy_fits(const struct lp_store *s, const struct lp_seen *seen, uint64_t *out, struct lp_err *err);

int lp_deploy_apply(pid_t pid, const struct lp_store *s, const struct lp_apply_opts *opts, struct lp_deployed *out,
		    struct lp_err *err);

/* Which patches: of that id (NULL = any), of objects with one of these names or build-ids (none = any). */
struct lp_deploy_which {
	const char *id;
	char *const *objects;
	size_t nr_objects;
};

int lp_deploy_revert(pid_t pid, const struct lp_deploy_which *which, const struct lp_apply_opts *opts,
		     struct lp_deployed *out, struct lp_err *err);

/* One patch of an object, newest last. */
struct lp_deploy_patch {
	char *id;	 /* owned */
	uint64_t ledger; /* its number there; 0 = LibcarePlus or libcare applied it: */
	lp_addr foreign; /* where its memory is */
	unsigned level;
	bool superseded; /* a patch of a higher level stands above it */
};

struct lp_deploy_object {
	char *name; /* owned */
	char build_id[2 * LP_BUILD_ID_MAX + 1];
	LP_VEC(struct lp_deploy_patch) patches;
};

struct lp_deploy_status {
	LP_VEC(struct lp_deploy_object) objects; /* those with patches, in the order of their first patch */
};

int lp_deploy_look(pid_t pid, struct lp_deploy_status *out, struct lp_err *err);
void lp_deploy_status_free(struct lp_deploy_status *s);
/* NULL when it has no patch. */
const struct lp_deploy_object *lp_deploy_object_of(const struct lp_deploy_status *s, const char *build_id);
/* The level that counts: the highest of an object's patches. */
unsigned lp_deploy_level(const struct lp_deploy_object *o);

#endif
