/*
 * Spaces join the core's target interface to one backend each.
 */
#ifndef LP_SPACE_H
#define LP_SPACE_H

#include <sys/types.h>

#include "core/target.h"

/* Another process.  exe_file: the user's unstripped copy of its program, or NULL. */
int lp_target_open_process(struct lp_target **out, pid_t pid, const char *exe_file, struct lp_err *err);
/* This process, to be looked at: names, memory, its ledger, the lock.  Whatever would stop a thread is refused. */
int lp_target_open_own(struct lp_target **out, struct lp_err *err);

/* A program that is about to begin, stopped at its entry point without being traced: lp_exec_catch() and lp_exec_hold()
 * of proc/proc.h. */
int lp_process_catch(pid_t pid, struct lp_err *err);
int lp_process_hold(pid_t pid, int fd, int watch_fd, unsigned timeout_ms, struct lp_err *err);

/*
 * A library that visits a process: loaded by the process's own loader unless it
 * is there already, then its function `start` is called; it takes nothing and
 * returns 0 or a negative code.  What fails halfway is taken back.  `path` is
 * absolute, and means the same to the process.  -LP_ENEEDSDLOPEN: a static
 * program; -LP_ESTARTING: one whose libraries are not there yet; -LP_ENOTHREAD:
 * no thread came to a place where it could be asked; -LP_EEXISTS: `only_this`,
 * and another library that has `start` is there.
 */
int lp_visitor_enter(pid_t pid, const char *path, bool only_this, const char *start, unsigned timeout_ms,
		     struct lp_err *err);
/* Calls `stop` of such a library.  The library itself stays mapped. */
int lp_visitor_leave(pid_t pid, const char *stop, unsigned timeout_ms, struct lp_err *err);

#endif
