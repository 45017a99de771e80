/*
 * What one client says and is answered, without its socket and without a
 * clock.
 *
 *     struct lp_session s;
 *     lp_session_init(&s, service);
 *     lp_control_wire_feed(&s.wire, data, len);
 *     while (lp_session_step(&s))                       // one request
 *             ;
 *     ... s.out: bytes for the client, who takes them away ...
 *     lp_session_free(&s);                              // an open transaction is aborted
 *
 * A line is a transaction: what its commands prepared is committed when all of
 * them have, in the order of txn.h.  Between `begin` and `commit` it goes on
 * over several lines; one that is refused in between spoils it.
 *
 * A transaction that must wait until nobody reads makes the session wait:
 * nothing else is done for its client until lp_session_quiesce() or
 * lp_session_give_up().
 */
#ifndef LP_CONTROL_SESSION_H
#define LP_CONTROL_SESSION_H

#include "control/reply.h"
#include "control/table.h"
#include "control/txn.h"
#include "control/wire.h"

/* What all sessions share. */
struct lp_service {
	struct lp_control_options options; /* limits filled in */
	struct lp_table table;
	/* Rows of the server for `stats`; may be NULL. */
	void (*server_rows)(struct lp_service *s, struct lp_call *c);
	uint64_t requests, commands, errors, commits;
	uint64_t tickets; /* of those that wait */
	size_t held;	  /* bytes of replies that clients have not read */
};

struct lp_session {
	struct lp_service *service;
	struct lp_control_wire wire;
	struct lp_buf out;
	bool asked;  /* has made a request */
	bool prompt; /* has asked to be kept */
	bool json;   /* wants JSON for text */

	/* the transaction */
	struct lp_txn_queue changes;
	bool begun;
	char *spoilt; /* why it cannot be committed any more */

	/* while it waits */
	bool waiting;
	uint64_t ticket; /* who waits longer has the lower one */

	/* the reply in the making */
	struct lp_reply reply;
	struct lp_buf id;
};

void lp_session_init(struct lp_session *s, struct lp_service *service);
/* One request, if there is one; false: there was none. */
bool lp_session_step(struct lp_session *s);
/* Commits what waits: here and now nobody reads. */
void lp_session_quiesce(struct lp_session *s);
/* Refuses it. */
void lp_session_give_up(struct lp_session *s);
/* Something was prepared between `begin` and `commit`, and keeps others off. */
bool lp_session_holds(const struct lp_session *s);
/* Forgets it: the transaction stays open, and its commit is refused. */
void lp_session_expire(struct lp_session *s);
void lp_session_free(struct lp_session *s);

/* Once, instead of the above: one line of text (its first), with the rows of its reply but no reply; -EBUSY when it would wait. */
int lp_session_run(struct lp_session *s, const char *line, struct lp_buf *rows, struct lp_err *err);

/* ---- for the commands of the server itself ---- */

struct lp_session_call {
	struct lp_call call;
	struct lp_session *session;
};

extern const struct lp_command lp_own_commands[];
extern const size_t lp_nr_own_commands;

/* Forgets what was prepared; no transaction is open then. */
void lp_session_abort(struct lp_session *s);

#endif
