/* Systems over targets of any kind, and the end of all systems. */
#include "api/api.h"
#include "api/files.h"
#include "api/system.h"

LivePatchSystem *lp_system_over_target(struct lp_target *t, const char *name)
{
	struct lp_code_space *space;

	lp_code_open_target(&space, t, name);
	return lp_system_new(space);
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
