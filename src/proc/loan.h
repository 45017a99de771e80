/*
 * One thread of the target, borrowed: chosen, stopped, and how it will go on.
 *
 *     lp_loan_candidates(p, &who, err);                     // best first
 *     struct lp_loan l = {.p = p, .tid = who.items[0].tid};
 *     if (!lp_loan_take(&l)) ... l.unfit, l.refusal         // not this one
 *     ... send it somewhere with registers made from l.go_on ...
 *     lp_loan_return(&l);                                   // or: let it go as it was
 */
#ifndef LP_PROC_LOAN_H
#define LP_PROC_LOAN_H

#include "proc/state.h"

struct lp_candidate {
	pid_t tid;
	int rank;
};
typedef LP_VEC(struct lp_candidate) lp_candidate_vec;

struct lp_loan {
	struct lp_proc *p;
	pid_t tid;
	bool group;	       /* it is under job control */
	bool filtered;	       /* a seccomp filter is on it, suspended as long as we live */
	struct lp_tregs found; /* as it stopped */
	struct lp_tregs go_on; /* with which it goes on by itself, as if it had not been stopped */
	const char *unfit;     /* why it cannot be borrowed */
	int refusal;	       /* LP_ESECCOMP, LP_EPERM: for good; 0: perhaps a moment later */
};

/* Threads that may be borrowed, blocked ones first; at most a few hundred are looked at. */
int lp_loan_candidates(struct lp_proc *p, lp_candidate_vec *out, struct lp_err *err);
/* Stops the thread.  False: it was let go again, l->unfit says why. */
bool lp_loan_take(struct lp_loan *l);
/* The borrowed thread must not take a signal for the process from the leader when it goes on. */
void lp_loan_let_signal_pass(const struct lp_loan *l);
/* Lets it go as it was found. */
void lp_loan_return(struct lp_loan *l);
/* Fills in err when the thread, or its process, is gone in the middle. */
int lp_loan_lost(struct lp_loan *l, struct lp_err *err);
/* The thread is busy for us and late; it is let go when it stops.  Fills in err. */
int lp_loan_late(struct lp_loan *l, unsigned ms, struct lp_err *err);
/* No candidate was fit: the last one's reason as a refusal. */
int lp_loan_none(const struct lp_loan *last, struct lp_err *err);

/* inject.c: nothing of an earlier livepatch is still to happen on a thread. */
int lp_stub_drain(struct lp_proc *p, struct lp_err *err);

#endif
