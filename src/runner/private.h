/* What the files of runner/ share. */
#ifndef LP_RUNNER_PRIVATE_H
#define LP_RUNNER_PRIVATE_H

#include <livepatch.h>

#include "control/control.h"
#include "runner/config.h"
#include "runner/runner.h"
#include "space/guest.h"

/* ---- changes.c: what clients have prepared and not committed ---- */

/*
 * Around a call of livepatch.h that plans something: its transaction is that of
 * the client's.
 *
 *     rc = lp_changes_enter(c, err);
 *     rc = rc ? rc : livepatch_apply(...);
 *     return lp_changes_leave(c, rc, err);
 */
int lp_changes_enter(struct lp_call *c, struct lp_err *err);
/* rc is what the call returned: below 0, its error is the command's. */
int lp_changes_leave(struct lp_call *c, int rc, struct lp_err *err);
/* For what cannot be part of a transaction: -LP_ETRANSACTION when the client has something prepared. */
int lp_changes_none(struct lp_call *c, const char *what, struct lp_err *err);
/* commit_together of the server's options. */
int lp_changes_commit(int rank, void *const *changes, size_t nr, struct lp_err *err);
/* In a forked child: its parent's clients are not its own. */
void lp_changes_forked(void);

/* The last error of livepatch.h as one of ours, when rc is below 0; else rc. */
int lp_api_result(int rc, struct lp_err *err);

/* ---- pending.c: what was asked for before the first instruction, and waits for a library ---- */

void lp_pending_open(bool has_interpreter);
/* From now on what cannot be done is refused. */
void lp_pending_close(void);
/* The dynamic linker is done.  By any thread. */
void lp_pending_program_begins(void);
/* For the end of a command: 0 when what it was refused for is that a library is not there, and it waits now; else rc. */
int lp_pending_offer(struct lp_call *c, const char *verb, int rc, struct lp_err *err);
/* By any thread. */
size_t lp_pending_count(void);
/* What waits, or was refused, is given up; the count.  `first`: those whose first operand this is. */
size_t lp_pending_drop_all(void);
size_t lp_pending_drop(const char *first);
bool lp_pending_has_file(const char *file);
void lp_pending_rows(struct lp_call *c);
/* A row for each that a saved file leaves out. */
void lp_pending_not_saved(struct lp_call *c);
/* False: something was refused. */
bool lp_pending_try(struct lp_runner *r, void (*applied)(const char *verb, const char *first),
		    void (*refused)(const char *line));

/* ---- fitting.c ---- */
/* Files of patches for what is loaded, in the order in which to apply them.  No such folder is fine. -LP_EUNTRUSTED. */
int lp_fitting_find(struct lp_target *t, const char *folder, lp_config_paths *out, struct lp_err *err);

/* ---- session.c ---- */
/* How long the guest stood still. */
struct lp_guest_pauses lp_session_pauses(void);
/* What the server tells goes to the guest's standard error from now on, or nowhere. */
int lp_session_tells(bool on, struct lp_err *err);

/* ---- commands.c ---- */
/* The version of the runner that was installed while this one runs; "": none that we were told of. */
const char *lp_installed_since(void);
extern const struct lp_command lp_runner_commands[];
extern const size_t lp_nr_runner_commands;

#define COMMAND(words, synopsis, level, run, summary) int run(struct lp_call *c, struct lp_err *err);
#include "runner/command.def"
#undef COMMAND

#endif
