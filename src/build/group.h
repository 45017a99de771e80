/*
 * Tells process groups to end, in a way that lets make(1) tidy up.  Private to build/.
 *
 * make removes what its commands were making when it gets SIGTERM, but does not wait for them to end first: ar, in the middle of
 * open() when its own SIGTERM comes, makes the archive again, empty, and the next make takes it for made.  So all of them stand still
 * before they hear of it.
 */
#ifndef LP_BUILD_GROUP_H
#define LP_BUILD_GROUP_H

#include <stddef.h>
#include <sys/types.h>

#define LP_GROUPS_FREEZE_MS \
	500 /* at most this long until they are told; those who wait for a disk may then still move */

/* SIGTERM to all, stopped ones too; does not wait for their ends. */
void lp_groups_terminate(const pid_t *groups, size_t nr);

#endif
