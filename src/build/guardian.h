/*
 * Ends what we have started when we are killed in a way that leaves us no say.  Private to build/.
 *
 *     struct lp_guardian g;
 *     lp_guardian_begin(&g);            // compilers are given g.temporary for their TMPDIR
 *     lp_guardian_tell(&g, pgid);       // a process group begins
 *     lp_guardian_tell(&g, -pgid);      // it is none of his business any more
 *     lp_guardian_end(&g);              // nothing is; g.temporary is gone
 *
 * A build goes on when its livepatch is killed: make has never heard of us.  It would write into a tree that the next livepatch
 * removes and makes anew.  So a child of ours does nothing but read from a socket; when that ends, and groups are left that he
 * was told of, he ends them.  Until they are gone he holds our descriptors and with them our locks, so that the next livepatch
 * waits for as long.
 *
 * A compiler that is ended removes its temporary files, but not always all of them: SIGTERM may come between the making of a file
 * and the note of its name, or be followed by SIGKILL.  So they are put into a directory of his, which he removes when nobody is
 * left who could write into it.
 */
#ifndef LP_BUILD_GUARDIAN_H
#define LP_BUILD_GUARDIAN_H

#include <sys/types.h>

#define LP_GUARDIAN_MAX_MS 8000 /* after us, what he was told of is gone, and he with it */

struct lp_guardian {
	pid_t pid;
	int fd;		 /* -1 = there is none: no failure, for he is for the rarest of ends */
	char *temporary; /* an absolute path; NULL = there is none */
};

void lp_guardian_begin(struct lp_guardian *g);
void lp_guardian_tell(struct lp_guardian *g, pid_t group);
void lp_guardian_end(struct lp_guardian *g);

#endif
