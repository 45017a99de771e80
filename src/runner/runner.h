/*
 * Live patching of the emulator's guest: a LivePatchSystem over it, and the
 * control socket through which others ask for patches.
 *
 *     struct lp_runner *r = lp_runner_new(emu, &options, err);      // before the guest's first instruction
 *     rc = lp_runner_do(r, words, nr, row, arg, err);               // commands of command.def, as one transaction
 *     lp_runner_serve(r);                                           // from now on clients are served
 *     lp_emu_run(emu);
 *
 * One per process, for as long as it lives: threads of the guest may end it at
 * any time.
 *
 * The server's thread and those it starts have a table of descriptors of their
 * own (unshare(2), CLONE_FILES): the guest neither sees nor closes what they
 * open, and gets the numbers that it would get without them.
 */
#ifndef LP_RUNNER_RUNNER_H
#define LP_RUNNER_RUNNER_H

#include "base/err.h"
#include "control/places.h"

struct lp_emu;
struct lp_runner;

/* Where its sockets are. */
extern const struct lp_family lp_runner_family;

/* Strings stay the caller's, and have to stay. */
struct lp_runner_options {
	const char *version;
	bool debug;	     /* tell on standard error what is patched */
	bool reloads_on_hup; /* SIGHUP has the patch files loaded again also where the guest handles it */
	const char *const
		*watch; /* files to watch once it serves, loaded before by `patch load`; ends with NULL; or NULL */
};

/* Makes the system, which livepatch_get_system() gives from now on. */
struct lp_runner *lp_runner_new(struct lp_emu *emu, const struct lp_runner_options *o, struct lp_err *err);
/* Words of commands, with ";" between them: all happen, or none.  `row` gets the lines of the reply; may be NULL. */
int lp_runner_do(struct lp_runner *r, const char *const *words, size_t nr, void (*row)(const char *line, void *arg),
		 void *arg, struct lp_err *err);
/*
 * Before it serves: the patches of a folder that are for what is loaded (the program and its interpreter, by build-id); a
 * JSON file is watched from then on.  What is refused is said, and the program runs without.
 */
void lp_runner_take_patches(struct lp_runner *r, const char *folder, void (*say)(const char *line, void *arg),
			    void *arg);
/* A program that cannot be asked still runs: what is wrong is told by the log. */
void lp_runner_serve(struct lp_runner *r);

#endif
