/*
 * update_module, run now and then to fetch patches into a store.
 *
 *     struct puller p = PULLER_NONE;
 *     puller_open(&p, store, every_ms);          // from then on it is due
 *     ... puller_wait(&p, now): how long until puller_turn() has something to do; poll for p.fd besides ...
 *     puller_turn(&p, now);                      // starts one that is due, or ends one that has ended
 *     puller_close(&p);
 *
 * What it has to say it says on standard error itself.
 */
#ifndef LP_TOOL_PULLER_H
#define LP_TOOL_PULLER_H

#include <stdint.h>
#include <sys/types.h>

struct puller {
	const char *store;
	int64_t every, next; /* ms; every 0: never */
	pid_t child;	     /* 0 = none */
	int fd;		     /* readable when it has ended; -1 = none */
};
#define PULLER_NONE ((struct puller){.fd = -1})

void puller_open(struct puller *p, const char *store, int64_t every_ms);
int64_t puller_due(const struct puller *p); /* INT64_MAX: not by time */
void puller_turn(struct puller *p, int64_t now);
/* One that is at work is ended; what it was about can bear that. */
void puller_close(struct puller *p);

#endif
