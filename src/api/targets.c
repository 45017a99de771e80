/* Systems over processes: another one, and our own, of which there is one system for all that ask. */
#include "api/system.h"

#undef livepatch_init_process

static pthread_mutex_t own_lock = PTHREAD_MUTEX_INITIALIZER;
static LivePatchSystem *own;

/* Of several that asked for the one system, the last one ends it. */
static bool is_last(LivePatchSystem *s)
{
	bool last;

	pthread_mutex_lock(&own_lock);
	last = s->users <= 1;
	s->users -= !last;
	if (last && own == s)
		own = NULL;
	pthread_mutex_unlock(&own_lock);
	return last;
}

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
	if (system && is_last(system))
		lp_system_free(system);
}
