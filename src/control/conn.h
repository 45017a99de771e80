/*
 * One client's connection: bytes in, a session, bytes out, and how long each
 * may take.
 *
 *     lp_conn_init(&c, fd, service, now);
 *     loop:
 *             epoll: lp_conn_interest(&c) says for what; what came goes into c.events
 *             lp_conn_serve(&c, now);                    // a bounded amount of work
 *             lp_conn_is_busy(&c): serve it again without waiting
 *             lp_conn_due(&c): serve it again at that time at the latest
 *             lp_conn_is_closed(&c): lp_conn_free(&c)
 *
 * Requests are not read from a client who does not read the replies, nor
 * while a line of his is there already: what is held for him has a bound.
 *
 * A connection whose time is over is first shut down for reading only.  What
 * the client could still send before that is answered: no request that was
 * taken from him is lost.
 *
 * One whose descriptor the host has closed is a client who went away.
 */
#ifndef LP_CONTROL_CONN_H
#define LP_CONTROL_CONN_H

#include "base/sm.h"
#include "control/owned.h"
#include "control/session.h"

#define LP_CONN_NEVER UINT64_MAX

struct lp_conn {
	struct lp_owned socket;
	uint32_t events; /* of epoll, since it was served last */
	struct lp_session session;
	struct lp_sm state;
	size_t held;		      /* bytes that the service has counted for him */
	size_t sent;		      /* of the session's bytes */
	bool ended;		      /* nothing more will come from him */
	bool gone;		      /* nor will he read anything */
	uint64_t bytes_in, bytes_out; /* since they were taken away */

	/* milliseconds */
	uint64_t connected;
	uint64_t heard;	  /* something came */
	uint64_t began;	  /* the line that has no end yet */
	uint64_t read;	  /* he took something, or there was nothing to take */
	uint64_t waiting; /* since */
};

void lp_conn_init(struct lp_conn *c, int fd, struct lp_service *service, uint64_t now);
void lp_conn_serve(struct lp_conn *c, uint64_t now);
uint32_t lp_conn_interest(struct lp_conn *c);
bool lp_conn_is_busy(struct lp_conn *c);
uint64_t lp_conn_due(struct lp_conn *c);
bool lp_conn_is_closed(const struct lp_conn *c);
/* Has asked nothing yet: may have to make room. */
bool lp_conn_is_silent(const struct lp_conn *c);
/* It is closed at once, whatever is under way. */
void lp_conn_drop(struct lp_conn *c);
/* Ends the socket, aborts what is open. */
void lp_conn_free(struct lp_conn *c);

#endif
