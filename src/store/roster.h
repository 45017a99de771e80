/*
 * The processes that a watch keeps in mind, and when to look at each again.
 *
 *     r = lp_roster_new();
 *     lp_roster_begin(r, pid, now);            // a program began, the kernel says; or
 *     lp_roster_meet(r, pid, start, image, now) // this is who is there; nothing new when he is known
 *     while ((e = lp_roster_due(r, now))) {    // look at him; then say what came of it:
 *             lp_roster_settled(r, e, fit, now) / _refused(...) / _postponed(e, due) / lp_roster_gone(r, pid)
 *     }
 *     poll(..., lp_roster_wait(r, now));
 *
 * Times are milliseconds of a clock that does not jump.  Pure: no system calls, so that a test can live through a week.
 *
 * A program that has just begun has not loaded its libraries: it is looked at
 * a few times, less and less often, then only when the store changes or at the
 * watch's periodic round.  Refusals that time may cure are tried again with
 * growing pauses.  Others, and what succeeded, are remembered by the
 * process and the set of patches (a fingerprint of the files): they are not
 * tried again until one of the two is another.  So a patch that somebody takes
 * out by hand stays out.
 */
#ifndef LP_STORE_ROSTER_H
#define LP_STORE_ROSTER_H

#include <sys/types.h>

#include "base/addr.h"

struct lp_roster;

struct lp_roster_entry {
	pid_t pid;
	uint64_t start_time, image; /* 0 = not known yet */
	int64_t began;		    /* when we first heard of this image */
	int64_t due;		    /* INT64_MAX = not before something changes */
	unsigned looks;		    /* since it began */
	unsigned refusals;	    /* in a row */
	uint64_t settled;	    /* fingerprint of the patches that need not be tried again; 0 = none */
	bool busy;		    /* handed out by due(), and not yet settled */
};

struct lp_roster *lp_roster_new(void);
void lp_roster_free(struct lp_roster *r);
size_t lp_roster_count(const struct lp_roster *r);

/* `pid` has executed a program: whatever was known of it is void. */
void lp_roster_begin(struct lp_roster *r, pid_t pid, int64_t now);
/* Seen in a round over /proc. */
void lp_roster_meet(struct lp_roster *r, pid_t pid, uint64_t start_time, uint64_t image, int64_t now);
void lp_roster_gone(struct lp_roster *r, pid_t pid);
/* A round over /proc: begin_round, meet everybody, end_round forgets those who were not met. */
void lp_roster_begin_round(struct lp_roster *r);
void lp_roster_end_round(struct lp_roster *r);
/* He has been there for long: one look is enough. */
void lp_roster_make_old(struct lp_roster *r, pid_t pid, int64_t now);
/* The store has changed, or libraries may have been loaded: look at everybody. */
void lp_roster_look_again(struct lp_roster *r, int64_t now);

/* One whose time has come, or NULL.  It is not handed out again before one of the next four. */
struct lp_roster_entry *lp_roster_due(struct lp_roster *r, int64_t now);
struct lp_roster_entry *lp_roster_find(struct lp_roster *r, pid_t pid);
/* Nothing fits him now (fingerprint 0), or these patches are in, or will never be. */
void lp_roster_settled(struct lp_roster *r, struct lp_roster_entry *e, uint64_t fingerprint, int64_t now);
/* They may be another time; returns in how many milliseconds. */
int64_t lp_roster_refused(struct lp_roster *r, struct lp_roster_entry *e, int64_t now);
/* Somebody else comes first. */
void lp_roster_postponed(struct lp_roster_entry *e, int64_t due);
/* Is he so young that what was found may be half of it? */
bool lp_roster_is_young(const struct lp_roster_entry *e, int64_t now);
/* Milliseconds until somebody is due, 0 = now, -1 = never. */
int lp_roster_wait(const struct lp_roster *r, int64_t now);

#endif
