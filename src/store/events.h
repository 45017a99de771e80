/*
 * The kernel's news of processes: the proc connector (linux/cn_proc.h).
 *
 *     fd = lp_events_open(err);                  // -LP_EPERM and others: poll /proc instead
 *     rc = lp_events_read(fd, on_event, arg);    // when readable; 1 = some were lost, look at everybody
 *
 * Needs CAP_NET_ADMIN and the first network and process namespace.
 */
#ifndef LP_STORE_EVENTS_H
#define LP_STORE_EVENTS_H

#include <sys/types.h>

#include "base/err.h"

enum lp_event_of { LP_PROCESS_FORKED, LP_PROCESS_EXECED, LP_PROCESS_EXITED };

typedef void lp_event_fn(enum lp_event_of what, pid_t pid, void *arg);

/* Subscribes, and waits for the kernel to say so. */
int lp_events_open(struct lp_err *err);
int lp_events_read(int fd, lp_event_fn *fn, void *arg);

#endif
