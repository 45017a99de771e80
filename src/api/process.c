/* Systems over other processes. */
#include "api/system.h"

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
