#include "control/conn.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define READ_BYTES 16384 /* at a time */
#define TURN_REQUESTS 16 /* before others have their turn */
#define IDLE_BYTES 16384 /* a buffer of more is not kept for a connection that has nothing in it */

enum { ASKING, WAITING, DRAINING, CLOSED };

static const struct lp_sm_state states[] = {
	[ASKING] = {"asking", LP_SM(WAITING) | LP_SM(DRAINING) | LP_SM(CLOSED)},
	[WAITING] = {"waiting", LP_SM(ASKING) | LP_SM(CLOSED)}, /* its transaction does */
	[DRAINING] = {"draining", LP_SM(CLOSED)},		/* all is answered, and not all of it sent */
	[CLOSED] = {"closed", 0},
};

void lp_conn_init(struct lp_conn *c, int fd, struct lp_service *service, uint64_t now)
{
	*c = (struct lp_conn){
		.socket = lp_owned_of(fd), .state = {"a connection", states, ASKING}, .connected = now, .read = now};
	lp_session_init(&c->session, service);
}

bool lp_conn_is_closed(const struct lp_conn *c)
{
	return c->state.now == CLOSED;
}

bool lp_conn_is_silent(const struct lp_conn *c)
{
	return !c->session.asked && c->state.now == ASKING;
}

static const struct lp_control_limits *limits_of(const struct lp_conn *c)
{
	return &c->session.service->options.limits;
}

static size_t unsent(const struct lp_conn *c)
{
	return c->session.out.len - c->sent;
}

/* So much is held for him now. */
static void account(struct lp_conn *c, size_t bytes)
{
	c->session.service->held += bytes - c->held;
	c->held = bytes;
}

void lp_conn_free(struct lp_conn *c)
{
	lp_owned_end(&c->socket);
	account(c, 0);
	lp_session_free(&c->session);
}

/* ---- in ---- */

static bool may_answer(const struct lp_conn *c)
{
	bool held_too_much = c->session.service->held >= limits_of(c)->held_max;
	return c->state.now == ASKING && unsent(c) < (held_too_much ? 1 : limits_of(c)->backlog_max);
}

static bool wants_input(struct lp_conn *c)
{
	return !c->ended && may_answer(c) && !lp_control_wire_has_line(&c->session.wire);
}

static void hear(struct lp_conn *c, const void *data, size_t len, uint64_t now)
{
	if (!lp_control_wire_is_partial(&c->session.wire))
		c->began = now;
	c->heard = now;
	c->bytes_in += len;
	lp_control_wire_feed(&c->session.wire, data, len);
}

static void end_input(struct lp_conn *c)
{
	c->ended = true;
	lp_control_wire_finish(&c->session.wire);
}

/* Asked before each use: commands take their time, and the host may do anything meanwhile. */
static bool has_socket(struct lp_conn *c)
{
	if (lp_owned_is_ours(&c->socket))
		return true;
	c->gone = true;
	if (!c->ended)
		end_input(c);
	return false;
}

static void receive(struct lp_conn *c, uint64_t now)
{
	char data[READ_BYTES];
	if (!wants_input(c) || !has_socket(c))
		return;
	ssize_t n = recv(c->socket.fd, data, sizeof data, MSG_DONTWAIT);
	if (n > 0)
		hear(c, data, (size_t)n, now);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		end_input(c);
}

/* From now on he has something to read; and a line whose rest still comes begins again with each that is done. */
static void answer(struct lp_conn *c, uint64_t now)
{
	if (unsent(c) == 0)
		c->read = now;
	for (int i = 0; i < TURN_REQUESTS && may_answer(c) && !c->session.waiting; i++) {
		if (!lp_session_step(&c->session))
			return;
		c->began = now;
	}
}

/* ---- out ---- */

static void drop_output(struct lp_conn *c)
{
	if (c->session.out.cap > IDLE_BYTES)
		lp_buf_free(&c->session.out);
	c->session.out.len = c->sent = 0;
}

static void send_replies(struct lp_conn *c, uint64_t now)
{
	if (unsent(c) && !c->gone && has_socket(c)) {
		ssize_t n = send(c->socket.fd, c->session.out.data + c->sent, unsent(c), MSG_DONTWAIT | MSG_NOSIGNAL);
		c->gone = n < 0 && errno != EAGAIN && errno != EINTR;
		if (n > 0) {
			c->sent += (size_t)n;
			c->bytes_out += (size_t)n;
			c->read = now;
		}
	}
	if (c->gone || unsent(c) == 0) {
		drop_output(c);
		c->read = now;
	}
}

/* ---- time ---- */

static void hang_up(struct lp_conn *c, uint64_t now)
{
	if (has_socket(c))
		shutdown(c->socket.fd, SHUT_RD);
	c->connected = c->heard = c->began = now; /* the end of input comes next, and not through time */
}

void lp_conn_drop(struct lp_conn *c)
{
	lp_sm_move(&c->state, CLOSED);
}

static void drop(struct lp_conn *c, uint64_t now)
{
	lp_conn_drop(c);
}

static void complete_line(struct lp_conn *c, uint64_t now)
{
	lp_control_wire_finish(&c->session.wire);
}

static void give_up_waiting(struct lp_conn *c, uint64_t now)
{
	lp_session_give_up(&c->session);
}

static void expire(struct lp_conn *c, uint64_t now)
{
	lp_session_expire(&c->session);
}

/*
 * Clients of the first HotPatch send no end of line: a moment's silence is one.
 * Those who have sent one get more time for the next; those at a prompt type.
 */
static uint64_t silence_ends_line(const struct lp_conn *c)
{
	const struct lp_control_wire *w = &c->session.wire;
	const struct lp_control_limits *l = limits_of(c);
	if (w->form != LP_FORM_TEXT || w->skipping || c->session.prompt)
		return LP_CONN_NEVER;
	return c->heard + (w->ends_lines ? l->idle_ms : l->partial_ms);
}

/* What happens next to a connection to which nothing happens. */
struct due {
	uint64_t at;
	void (*act)(struct lp_conn *c, uint64_t now);
};

static struct due due_of_partial_line(const struct lp_conn *c, const struct lp_control_limits *l)
{
	uint64_t silence = silence_ends_line(c), too_slow = c->began + l->stuck_ms;
	return silence < too_slow ? (struct due){silence, complete_line} : (struct due){too_slow, drop};
}

static struct due next_due(const struct lp_conn *c)
{
	const struct lp_control_limits *l = limits_of(c);
	const struct lp_session *s = &c->session;
	if (c->state.now == CLOSED)
		return (struct due){LP_CONN_NEVER, NULL};
	if (c->state.now == WAITING)
		return (struct due){c->waiting + l->quiesce_ms, give_up_waiting};
	if (unsent(c))
		return (struct due){c->read + l->stuck_ms, drop};
	if (c->ended)
		return (struct due){LP_CONN_NEVER, NULL};
	if (lp_control_wire_is_partial(&s->wire))
		return due_of_partial_line(c, l);
	if (!s->asked)
		return (struct due){c->connected + l->stuck_ms, hang_up};
	if (s->wire.form == LP_FORM_TEXT && !s->prompt)
		return (struct due){(c->heard > c->read ? c->heard : c->read) + l->idle_ms, hang_up};
	if (lp_session_holds(s))
		return (struct due){c->heard + l->open_ms, expire};
	return (struct due){LP_CONN_NEVER, NULL};
}

uint64_t lp_conn_due(struct lp_conn *c)
{
	return next_due(c).at;
}

static void keep_time(struct lp_conn *c, uint64_t now)
{
	struct due due = next_due(c);
	if (now >= due.at)
		due.act(c, now);
}

/* ---- the whole ---- */

/* Who hung up reads nothing more, and does not get what waits for others. */
static void notice_events(struct lp_conn *c)
{
	if (c->events & (EPOLLHUP | EPOLLERR))
		c->gone = true;
	c->events = 0;
}

static bool is_answered(struct lp_conn *c)
{
	return c->ended && !lp_control_wire_has_line(&c->session.wire);
}

static void move(struct lp_conn *c, uint64_t now)
{
	if (c->state.now == ASKING && c->session.waiting) {
		lp_sm_move(&c->state, WAITING);
		c->waiting = now;
	} else if (c->state.now == WAITING && !c->session.waiting) {
		lp_sm_move(&c->state, ASKING);
	}
	if (c->state.now == WAITING && c->gone)
		lp_sm_move(&c->state, CLOSED);
	if (c->state.now == ASKING && is_answered(c))
		lp_sm_move(&c->state, DRAINING);
	if (c->state.now == DRAINING && unsent(c) == 0)
		lp_sm_move(&c->state, CLOSED);
}

void lp_conn_serve(struct lp_conn *c, uint64_t now)
{
	notice_events(c);
	receive(c, now);
	keep_time(c, now);
	move(c, now);
	answer(c, now);
	send_replies(c, now);
	account(c, unsent(c));
	move(c, now);
}

uint32_t lp_conn_interest(struct lp_conn *c)
{
	return (wants_input(c) ? EPOLLIN : 0u) | (unsent(c) ? EPOLLOUT : 0u);
}

bool lp_conn_is_busy(struct lp_conn *c)
{
	return may_answer(c) && (lp_control_wire_has_line(&c->session.wire) || (c->gone && !c->ended));
}
