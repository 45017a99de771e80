/*
 * Coming in: the one lock, what has to be found out first, and fork.
 */
#include "self/self.h"

#include <pthread.h>

#include "self/entered.h"
#include "self/private.h"
#include "self/stop.h"
#include "self/traps.h"
#include "self/write.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool ready;

const struct lp_isa *lp_self_isa(void)
{
	return lp_isa_of(lp_self_arch.machine);
}

static void before_fork(void)
{
	pthread_mutex_lock(&lock);
	lp_self_functions_hold();
	lp_self_entered_hold();
}

static void after_fork(void)
{
	lp_self_entered_release();
	lp_self_functions_release();
	pthread_mutex_unlock(&lock);
}

static void in_child(void)
{
	if (ready) { /* else nothing is there that could be left behind */
		lp_stop_forked();
		lp_traps_forked();
	}
	after_fork();
}

int lp_self_watch_forks(void)
{
	static bool watched;

	watched = watched || !pthread_atfork(before_fork, after_fork, in_child);
	return watched ? 0 : -LP_EINTERNAL;
}

static int setup(struct lp_err *err)
{
	int rc;

	if (!lp_self_isa())
		return lp_fail(err, LP_EISA, "this build does not know the instructions that it runs");
	rc = lp_writer_setup(err);
	rc = rc ? rc : lp_stop_setup(err);
	if (!rc && lp_self_watch_forks())
		rc = lp_fail(err, LP_EINTERNAL, "cannot be told of forks");
	ready = !rc;
	return rc;
}

int lp_self_enter(struct lp_err *err)
{
	int rc;

	pthread_mutex_lock(&lock);
	lp_self_look_for_filters();
	rc = ready ? 0 : setup(err);
	if (rc)
		pthread_mutex_unlock(&lock);
	return rc;
}

void lp_self_leave(void)
{
	pthread_mutex_unlock(&lock);
}
