/* Systems over processes, and the end of all systems. */
#include "api/hooks.h"

#undef livepatch_init_process

LivePatchSystem *livepatch_init_process(pid_t pid)
{
	struct lp_code_space *space;
	int rc = lp_code_open_process(&space, pid, lp_enter());

	if (rc) {
		lp_leave(NULL, rc);
		return NULL;
	}
	return lp_system_new(space);
}

void livepatch_cleanup(LivePatchSystem *system)
{
	lp_enter();
	if (system && !lp_own_system_release(system))
		lp_system_free(system);
}
