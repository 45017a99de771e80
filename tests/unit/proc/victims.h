/*
 * Real processes for the tests of proc/: started, watched, asked whether they
 * are well, ended.
 */
#ifndef LP_TEST_VICTIMS_H
#define LP_TEST_VICTIMS_H

#include <sys/types.h>

#include "page.h"
#include "proc/proc.h"

struct victim {
	pid_t pid;
	struct victim_page *page;
};

/* VICTIM_DIR/<argv[0]> with a shared page; returns when `threads` of it have reported ready. */
struct victim *victim_start(unsigned threads, const char *const argv[]);
/* The same in pid and mount namespaces of its own, from a file that exists only there. */
struct victim *victim_start_apart(unsigned threads, const char *const argv[]);
/* Kills and reaps. */
void victim_end(struct victim *v);
/* Every one of its first `threads` slots makes progress, and none has seen an EINTR or an early wake. */
void victim_is_well(struct victim *v, unsigned threads);
uint64_t victim_eintrs(const struct victim *v);
#define PATIENCE_MS 120000 /* only ever spent on what hangs: two CPUs are shared with whatever else runs */

/* Waits (with a deadline) until cond(arg). */
void wait_until(bool (*cond)(void *arg), void *arg, const char *what);
uint64_t now_ns(void);
/* State letter of /proc/TID/stat, 0 when gone. */
char task_state(pid_t tid);

/*
 * A call of lp_inject() as often as the machine is too busy for it: no thread of the victim got the CPU, or nobody looked in
 * time at what it did.  It may have been made all the same: only for calls that may be made twice.
 */
#define patiently(call)                                                                       \
	({                                                                                    \
		uint64_t end_ = now_ns() + UINT64_C(1000000) * PATIENCE_MS;                   \
		int busy_;                                                                    \
		do                                                                            \
			busy_ = (call);                                                       \
		while ((busy_ == -LP_ETIMEOUT || busy_ == -LP_ENOTHREAD) && now_ns() < end_); \
		busy_;                                                                        \
	})

/* Maps a page, writes and reads it through the file, unmaps it: the whole round trip of a room. */
void map_and_unmap(struct lp_proc *p);
/* Runs work(pid) in a child again and again and kills it at random instants. */
void kill_workers(unsigned times, unsigned most_us, void (*work)(pid_t victim), pid_t victim);

/* An open and locked lp_proc; fails the test when that does not work. */
struct lp_proc *open_locked(pid_t pid);

#define assert_ok(call)                                                                     \
	do {                                                                                \
		struct lp_err *e_ = &last_error;                                            \
		int rc_ = (call);                                                           \
		if (rc_ < 0)                                                                \
			fail_msg("%s: %d (%s) %s", #call, rc_, lp_err_name(rc_), e_->text); \
	} while (0)
#define assert_refused(call, code)                                                                     \
	do {                                                                                           \
		int rc_ = (call);                                                                      \
		if (rc_ != -(code))                                                                    \
			fail_msg("%s: %d (%s) instead of %s: %s", #call, rc_, lp_err_name(rc_), #code, \
				 last_error.text);                                                     \
	} while (0)
extern struct lp_err last_error;

#endif
