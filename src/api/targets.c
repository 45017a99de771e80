/* Systems over targets of any kind, and the end of all systems. */
#include "api/api.h"
#include "api/sets.h"
#include "api/files.h"
#include "api/system.h"

LivePatchSystem *lp_system_over_target(struct lp_target *t, const char *name)
{
	struct lp_code_space *space;

	lp_code_open_target(&space, t, name, true);
	return lp_system_new(space);
}

static unsigned flags_of(LivePatchSystem *system)
{
	return atomic_load(&system->flags) & LIVEPATCH_ALLOW_ACTIVE ? LP_CODE_ALLOW_ACTIVE : 0;
}

int lp_objects_check(LivePatchSystem *system, struct lp_err *err)
{
	int rc = lp_system_check_enabled(system, err);

	if (rc == 0 && !system->space->ops->script)
		rc = lp_fail(err, LP_EUSAGE, ".kpatch files are for processes, and this is memory");
	return rc;
}

int lp_system_revert_object(LivePatchSystem *system, uint64_t id, struct lp_err *err)
{
	int rc = lp_objects_check(system, err);

	rc = rc ? rc : system->space->ops->unscript(system->space, id, flags_of(system), err);
	if (rc == 0)
		lp_scripts_delist(system, id);
	return rc;
}

/* Whoever is in the middle of something holds one of these. */
void lp_system_hold(LivePatchSystem *system)
{
	lp_watches_hold();
	pthread_mutex_lock(lp_files_lock(system));
	lp_txns_hold();
}

void lp_system_release(LivePatchSystem *system)
{
	lp_txns_release();
	pthread_mutex_unlock(lp_files_lock(system));
	lp_watches_release();
}

void livepatch_cleanup(LivePatchSystem *system)
{
	lp_enter();
	if (system && !(system->stays && system->stays(system)))
		lp_system_free(system);
}
