/*
 * Where the guest of the emulator spends its time: a thread stops it about a
 * thousand times a second, looks who called whom, and counts.
 *
 *     rc = lp_profile_start(emu, &(struct lp_profile_options){.file = "/tmp/prog.folded"}, err);
 *
 * FILE gets a line for each stack, "thread;main;f;g COUNT", as flamegraph.pl reads
 * it; FILE.map a line for each function seen, "START SIZE name" in hexadecimal, the
 * format of perf's map files with the guest's addresses.  Both are written when the
 * program ends or executes another, by whatever means but SIGKILL.
 *
 * A forked child goes on in FILE.PID.
 */
#ifndef LP_PROFILE_PROFILE_H
#define LP_PROFILE_PROFILE_H

#include <stdbool.h>

#include "base/err.h"

struct lp_emu;

struct lp_profile_options {
	const char *file; /* from "/" on: the guest may go elsewhere.  Copied */
	bool is_child;	  /* a runner that another has executed: FILE is that one's, ours is FILE.PID */
	bool waits;	  /* count threads that wait in a system call, too */
};

/* Before the guest runs. */
int lp_profile_start(struct lp_emu *emu, const struct lp_profile_options *options, struct lp_err *err);

#endif
