/*
 * One thread, one epoll descriptor.  A turn of the thread: what came is noted,
 * then each connection that has something to do is given a bounded amount of
 * work, so that none waits for more than one such amount of every other.
 *
 * Between the threads: `bell` rings; `lock` holds the listeners and the host's
 * visit (a thread that stands in lp_control_quiesce()).  The commands, and the
 * commits that wait for such a visit, are run by the server's thread alone.
 * Neither lock nor command spans a wait.
 */
#include "control/control.h"

#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/vec.h"
#include "control/conn.h"
#include "control/socket.h"

#define MOST_LISTENERS 8
#define TURN_ACCEPTS 32 /* from one listener */
#define TURN_EVENTS 64
#define PAUSE_MS 100	/* before connections are accepted again when descriptors have run out */
#define PATIENCE_MS 100 /* that a thread of the host stands still before the server has come to it */

/* What an event of epoll is about; first in what it is of. */
struct source {
	enum { SOURCE_BELL, SOURCE_LISTENER, SOURCE_CLIENT } kind;
};

struct listener {
	struct source source;
	struct lp_node node;
	/* the server's thread's alone */
	bool knocked;
	uint64_t paused_until; /* 0 = not */
};

struct client {
	struct source source;
	struct client *next;
	struct lp_conn conn;
	uint32_t interest; /* that epoll knows of */
	unsigned slot;
};

/* What a child of a fork has to close, whatever else the server was about: a client's. */
struct slot {
	atomic_bool taken;
	struct lp_owned socket;
};

/* A thread of the host that says: here nobody reads. */
enum visit { VISIT_NONE, VISIT_OFFERED, VISIT_USED, VISIT_OVER };

struct lp_control {
	struct lp_service service;
	int epoll;
	struct lp_owned bell[2]; /* heard at the first, rung at the second */
	struct source bell_source;
	pthread_t thread;
	atomic_bool stopping, ended;

	/* the server's thread's alone */
	struct client *clients;
	unsigned nr_clients;
	uint64_t accepted, refused, turned_away, made_room, bytes_in, bytes_out;
	uint64_t now;
	bool robbed; /* the host has closed what we wait at */
	struct lp_control *next_abandoned;

	struct slot *slots; /* as many as there may be clients */

	pthread_mutex_t lock;
	pthread_cond_t visit_changed;
	enum visit visit;
	struct listener listeners[MOST_LISTENERS];
	atomic_uint nr_listeners;

	atomic_uint nr_waiting; /* transactions that wait for a visit */
};

static uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* False: the bell is gone (owned.h), and nobody hears. */
static bool ring(struct lp_control *s)
{
	return lp_owned_is_ours(&s->bell[1]) &&
	       (send(s->bell[1].fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 || errno == EAGAIN);
}

static int watch(struct lp_control *s, int op, const struct lp_owned *what, uint32_t events, struct source *source)
{
	struct epoll_event e = {.events = events, .data.ptr = source};
	if (!lp_owned_is_ours(what))
		return -EBADF;
	return epoll_ctl(s->epoll, op, what->fd, &e) < 0 ? -errno : 0;
}

/* All of epoll's descriptors have one inode: ours is the one that knows our bell. */
static bool has_epoll(struct lp_control *s)
{
	return watch(s, EPOLL_CTL_MOD, &s->bell[0], EPOLLIN, &s->bell_source) == 0;
}

/* ---- clients ---- */

static unsigned most_clients(const struct lp_control *s)
{
	return s->service.options.limits.clients;
}

static unsigned free_slot(const struct lp_control *s)
{
	unsigned i = 0;
	while (atomic_load_explicit(&s->slots[i].taken, memory_order_relaxed))
		i++;
	return i;
}

static void add_client(struct lp_control *s, int fd)
{
	struct client *c = lp_alloc(sizeof *c);
	c->source.kind = SOURCE_CLIENT;
	c->slot = free_slot(s);
	c->interest = EPOLLIN;
	lp_conn_init(&c->conn, fd, &s->service, s->now);
	s->slots[c->slot].socket = c->conn.socket;
	atomic_store(&s->slots[c->slot].taken, true);
	c->next = s->clients;
	s->clients = c;
	s->nr_clients++;
	if (watch(s, EPOLL_CTL_ADD, &c->conn.socket, c->interest, &c->source) < 0)
		c->conn.events = EPOLLERR;
}

static void free_client(struct lp_control *s, struct client *c)
{
	atomic_store(&s->slots[c->slot].taken, false);
	s->bytes_in += c->conn.bytes_in;
	s->bytes_out += c->conn.bytes_out;
	s->nr_clients--;
	/* Not by close(): a child of a fork may have the descriptor, too, and then epoll would go on to name this client. */
	watch(s, EPOLL_CTL_DEL, &c->conn.socket, 0, NULL);
	lp_conn_free(&c->conn);
	lp_free(c);
}

static void bury_closed(struct lp_control *s)
{
	for (struct client **at = &s->clients; *at;) {
		struct client *c = *at;
		if (!lp_conn_is_closed(&c->conn)) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		free_client(s, c);
	}
}

static void free_clients(struct lp_control *s)
{
	while (s->clients) {
		struct client *c = s->clients;
		s->clients = c->next;
		free_client(s, c);
	}
}

/* ---- accepting ---- */

static bool is_welcome(const struct lp_peer *p)
{
	return p->uid == geteuid() || p->uid == 0;
}

/* One line, when it can be sent at once; then the connection ends. */
static void turn_away(int fd, int code, const char *sentence)
{
	struct lp_err err = {0};
	struct lp_buf out = {0};
	struct lp_reply reply = {.form = LP_REPLY_TEXT};
	lp_reply_write(&reply, lp_fail(&err, code, "%s", sentence), &err, &out);
	if (send(fd, out.data, out.len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		errno = 0; /* then without */
	shutdown(fd, SHUT_RDWR);
	lp_close(fd);
	lp_buf_free(&out);
}

/* The one that has asked nothing for longest, if it has had time to. */
static struct client *most_silent(const struct lp_control *s)
{
	struct client *best = NULL;
	for (struct client *c = s->clients; c; c = c->next)
		if (lp_conn_is_silent(&c->conn) && (!best || c->conn.connected <= best->conn.connected))
			best = c;
	bool had_time = best && best->conn.connected + s->service.options.limits.idle_ms <= s->now;
	return had_time ? best : NULL;
}

static bool make_room(struct lp_control *s)
{
	struct client *c;
	if (s->nr_clients < most_clients(s))
		return true;
	if (!(c = most_silent(s)))
		return false;
	lp_conn_drop(&c->conn);
	bury_closed(s);
	s->made_room++;
	return true;
}

static void admit(struct lp_control *s, int fd)
{
	struct lp_peer peer;
	if (lp_socket_peer(fd, &peer) < 0 || !is_welcome(&peer)) {
		s->refused++;
		turn_away(fd, LP_EPERM, "only the user that the process runs as, and root, may talk to it");
	} else if (!make_room(s)) {
		s->turned_away++;
		turn_away(fd, EAGAIN, "too many clients are connected");
	} else {
		s->accepted++;
		add_client(s, fd);
	}
}

/* No descriptor is left: whoever knocks has to wait, and must not keep the thread awake meanwhile. */
static void pause_listener(struct lp_control *s, struct listener *l)
{
	l->paused_until = s->now + PAUSE_MS;
	watch(s, EPOLL_CTL_MOD, &l->node.socket, 0, &l->source);
}

static void accept_some(struct lp_control *s, struct listener *l)
{
	for (int i = 0; i < TURN_ACCEPTS && lp_owned_is_ours(&l->node.socket); i++) {
		int fd = lp_fd_aside(accept4(l->node.socket.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
		if (fd >= 0)
			admit(s, fd);
		else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_listener(s, l);
		if (fd < 0 && errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

static void resume_listeners(struct lp_control *s)
{
	for (unsigned i = 0; i < atomic_load(&s->nr_listeners); i++) {
		struct listener *l = &s->listeners[i];
		if (!l->paused_until || l->paused_until > s->now)
			continue;
		l->paused_until = 0;
		watch(s, EPOLL_CTL_MOD, &l->node.socket, EPOLLIN, &l->source);
	}
}

/* ---- visits of the host ---- */

static struct client *longest_waiting(const struct lp_control *s)
{
	struct client *best = NULL;
	for (struct client *c = s->clients; c; c = c->next)
		if (c->conn.session.waiting && (!best || c->conn.session.ticket < best->conn.session.ticket))
			best = c;
	return best;
}

/* Those that wait now: what their clients ask next is for the next visit. */
static void commit_waiting(struct lp_control *s)
{
	uint64_t later = s->service.tickets;
	struct client *c;
	while ((c = longest_waiting(s)) && c->conn.session.ticket < later) {
		lp_session_quiesce(&c->conn.session);
		lp_conn_serve(&c->conn, s->now);
	}
}

static bool change_visit(struct lp_control *s, enum visit from, enum visit to)
{
	pthread_mutex_lock(&s->lock);
	bool yes = s->visit == from;
	if (yes)
		s->visit = to;
	pthread_cond_broadcast(&s->visit_changed);
	pthread_mutex_unlock(&s->lock);
	return yes;
}

static bool is_visited(struct lp_control *s)
{
	pthread_mutex_lock(&s->lock);
	bool yes = s->visit == VISIT_OFFERED;
	pthread_mutex_unlock(&s->lock);
	return yes;
}

/* The program's lock first: if the visitor holds it, he goes on before we get it. */
static void receive_visit(struct lp_control *s)
{
	const struct lp_control_options *o = &s->service.options;
	if (!is_visited(s))
		return;
	if (o->lock)
		o->lock();
	if (change_visit(s, VISIT_OFFERED, VISIT_USED)) {
		commit_waiting(s);
		change_visit(s, VISIT_USED, VISIT_OVER);
	}
	if (o->unlock)
		o->unlock();
}

static void count_waiting(struct lp_control *s)
{
	unsigned nr = 0;
	for (const struct client *c = s->clients; c; c = c->next)
		nr += c->conn.session.waiting;
	atomic_store(&s->nr_waiting, nr);
}

static struct timespec patience_ends(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += PATIENCE_MS * 1000000L;
	t.tv_sec += t.tv_nsec / 1000000000L;
	t.tv_nsec %= 1000000000L;
	return t;
}

/* Until the server has used the visit, or has not begun to in time: it may be busy with something that waits for us. */
static void stand_still(struct lp_control *s)
{
	struct timespec end = patience_ends();
	int rc = 0;
	s->visit = VISIT_OFFERED;
	ring(s);
	while (s->visit == VISIT_OFFERED && rc == 0)
		rc = pthread_cond_timedwait(&s->visit_changed, &s->lock, &end);
	while (s->visit == VISIT_USED)
		pthread_cond_wait(&s->visit_changed, &s->lock);
	s->visit = VISIT_NONE;
	pthread_cond_broadcast(&s->visit_changed);
}

void lp_control_quiesce(struct lp_control *s)
{
	int cancel;
	if (atomic_load_explicit(&s->nr_waiting, memory_order_relaxed) == 0 || pthread_equal(pthread_self(), s->thread))
		return;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	pthread_mutex_lock(&s->lock);
	while (s->visit != VISIT_NONE) /* another thread's; what is changed there must not be read here */
		pthread_cond_wait(&s->visit_changed, &s->lock);
	if (!atomic_load(&s->stopping) && atomic_load(&s->nr_waiting))
		stand_still(s);
	pthread_mutex_unlock(&s->lock);
	pthread_setcancelstate(cancel, NULL);
}

/* ---- turns ---- */

static void note_events(struct lp_control *s, const struct epoll_event *events, int nr)
{
	for (int i = 0; i < nr; i++) {
		struct source *source = events[i].data.ptr;
		char rings[64];
		if (source->kind == SOURCE_CLIENT)
			((struct client *)source)->conn.events |= events[i].events;
		else if (source->kind == SOURCE_LISTENER)
			((struct listener *)source)->knocked = true;
		else if (recv(s->bell[0].fd, rings, sizeof rings, MSG_DONTWAIT) < 0)
			continue; /* it was heard before */
	}
}

static void accept_clients(struct lp_control *s)
{
	for (unsigned i = 0; i < atomic_load(&s->nr_listeners); i++) {
		if (s->listeners[i].knocked)
			accept_some(s, &s->listeners[i]);
		s->listeners[i].knocked = false;
	}
}

static bool has_work(struct client *c, uint64_t now)
{
	return c->conn.events || lp_conn_is_busy(&c->conn) || lp_conn_due(&c->conn) <= now;
}

static void set_interest(struct lp_control *s, struct client *c)
{
	uint32_t interest = lp_conn_interest(&c->conn);
	if (interest == c->interest || lp_conn_is_closed(&c->conn))
		return;
	watch(s, EPOLL_CTL_MOD, &c->conn.socket, interest, &c->source);
	c->interest = interest;
}

static void serve_clients(struct lp_control *s)
{
	for (struct client *c = s->clients; c; c = c->next) {
		if (has_work(c, s->now))
			lp_conn_serve(&c->conn, s->now);
		set_interest(s, c);
	}
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* For epoll: until something is due. */
static int time_to_wait(struct lp_control *s)
{
	uint64_t due = LP_CONN_NEVER, now = now_ms();
	for (struct client *c = s->clients; c; c = c->next)
		due = has_work(c, now) ? 0 : earlier(due, lp_conn_due(&c->conn));
	for (unsigned i = 0; i < atomic_load(&s->nr_listeners); i++)
		if (s->listeners[i].paused_until)
			due = earlier(due, s->listeners[i].paused_until);
	if (due == LP_CONN_NEVER)
		return -1;
	return due <= now ? 0 : due - now > 60000 ? 60000 : (int)(due - now);
}

/* Before: another epoll's events are not ours to take.  Behind it: nor to believe. */
static int wait_for_events(struct lp_control *s, struct epoll_event *events, int most)
{
	int nr = has_epoll(s) ? epoll_wait(s->epoll, events, most, time_to_wait(s)) : -1;
	s->robbed = !has_epoll(s);
	return nr;
}

static void turn(struct lp_control *s)
{
	struct epoll_event events[TURN_EVENTS];
	int nr = wait_for_events(s, events, TURN_EVENTS);
	if (s->robbed)
		return;
	s->now = now_ms();
	note_events(s, events, nr);
	resume_listeners(s);
	receive_visit(s);
	serve_clients(s);
	accept_clients(s);
	bury_closed(s);
	count_waiting(s);
}

/* Nobody will accept: who connects is refused, and who has connected is told. */
static void end_listeners(struct lp_control *s)
{
	for (unsigned i = 0; i < atomic_load(&s->nr_listeners); i++)
		lp_owned_end(&s->listeners[i].node.socket);
}

/* Numbers have a point in all of the world. */
static locale_t use_plain_numbers(void)
{
	locale_t plain = newlocale(LC_ALL_MASK, "C", NULL);
	if (plain)
		uselocale(plain);
	return plain;
}

static void *serve(void *arg)
{
	struct lp_control *s = arg;
	locale_t plain = use_plain_numbers();
	while (!atomic_load(&s->stopping) && !s->robbed)
		turn(s);
	free_clients(s);
	if (s->robbed)
		end_listeners(s);
	atomic_store(&s->nr_waiting, 0);
	change_visit(s, VISIT_OFFERED, VISIT_OVER);
	uselocale(LC_GLOBAL_LOCALE);
	if (plain)
		freelocale(plain);
	atomic_store(&s->ended, true);
	return NULL;
}

/* ---- stats ---- */

static void number_row(struct lp_call *c, const char *name, uint64_t value)
{
	lp_reply_row(c->reply, "%: %", LP_STR("name", name), LP_UINT("value", value));
}

static void server_rows(struct lp_service *service, struct lp_call *call)
{
	struct lp_control *s = (struct lp_control *)service;
	uint64_t in = s->bytes_in, out = s->bytes_out;
	for (const struct client *c = s->clients; c; c = c->next) {
		in += c->conn.bytes_in;
		out += c->conn.bytes_out;
	}
	number_row(call, "clients", s->nr_clients);
	number_row(call, "clients accepted", s->accepted);
	number_row(call, "clients refused", s->refused);
	number_row(call, "clients turned away", s->turned_away);
	number_row(call, "clients that made room", s->made_room);
	number_row(call, "transactions waiting", atomic_load(&s->nr_waiting));
	number_row(call, "bytes in", in);
	number_row(call, "bytes out", out);
	for (unsigned i = 0; i < atomic_load(&s->nr_listeners); i++)
		lp_reply_row(call->reply, "%: %", LP_STR("name", "socket"), LP_STR("value", s->listeners[i].node.path));
}

/* ---- beginning and end ---- */

static unsigned or_else(unsigned value, unsigned otherwise)
{
	return value ? value : otherwise;
}

/* The descriptors are the host's: a quarter of what it may open is the most that clients get. */
static unsigned default_clients(void)
{
	struct rlimit r;
	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur / 4 >= 1024)
		return 1024;
	return r.rlim_cur < 32 ? 8 : (unsigned)r.rlim_cur / 4;
}

static void fill_limits(struct lp_control_limits *l)
{
	l->line_max = l->line_max ? l->line_max : 65536;
	l->backlog_max = l->backlog_max ? l->backlog_max : 1 << 20;
	l->held_max = l->held_max ? l->held_max : 64u << 20;
	l->clients = or_else(l->clients, default_clients());
	l->idle_ms = or_else(l->idle_ms, 300);
	l->partial_ms = or_else(l->partial_ms, 50);
	l->stuck_ms = or_else(l->stuck_ms, 60000);
	l->quiesce_ms = or_else(l->quiesce_ms, 5000);
	l->open_ms = or_else(l->open_ms, 300000);
}

static struct lp_control *make_server(const struct lp_control_options *o)
{
	struct lp_control *s = lp_alloc(sizeof *s);
	pthread_condattr_t monotonic;
	s->service.options = *o;
	fill_limits(&s->service.options.limits);
	s->service.table = (struct lp_table){lp_own_commands, o->commands, lp_nr_own_commands, o->nr_commands};
	s->service.server_rows = server_rows;
	s->epoll = -1;
	s->bell[0] = s->bell[1] = LP_OWNED_NONE;
	s->slots = lp_alloc(most_clients(s) * sizeof *s->slots);
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&s->visit_changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return s;
}

static void close_epoll_and_bell(struct lp_control *s)
{
	if (has_epoll(s))
		lp_close(s->epoll);
	for (int i = 0; i < 2; i++)
		lp_owned_close(&s->bell[i]);
}

static void free_server(struct lp_control *s)
{
	for (unsigned i = 0; i < atomic_load(&s->nr_listeners); i++)
		lp_node_remove(&s->listeners[i].node);
	close_epoll_and_bell(s);
	pthread_cond_destroy(&s->visit_changed);
	pthread_mutex_destroy(&s->lock);
	lp_free(s->slots);
	lp_free(s);
}

/* Sockets: those can be told from others (owned.h). */
static int open_bell(struct lp_control *s)
{
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return -errno;
	for (int i = 0; i < 2; i++)
		s->bell[i] = lp_owned_of(lp_fd_aside(fds[i]));
	s->bell_source.kind = SOURCE_BELL;
	return s->bell[0].fd < 0 || s->bell[1].fd < 0 ? -errno : 0;
}

static int open_epoll(struct lp_control *s)
{
	s->epoll = lp_fd_aside(epoll_create1(EPOLL_CLOEXEC));
	int rc = s->epoll < 0 ? -errno : watch(s, EPOLL_CTL_ADD, &s->bell[0], EPOLLIN, &s->bell_source);
	if (rc < 0)
		lp_close(s->epoll);
	return rc;
}

static int open_descriptors(struct lp_control *s, struct lp_err *err)
{
	int rc = open_bell(s);
	rc = rc < 0 ? rc : open_epoll(s);
	return rc < 0 ? lp_fail_sys(err, -rc, "cannot make what the server's thread waits at") : 0;
}

/* The host's signals are for the host's threads.  What a thread raises itself stays: blocked, it would kill at once. */
static void signals_to_block(sigset_t *set)
{
	static const int raised[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
	sigfillset(set);
	for (size_t i = 0; i < LP_ARRAY_SIZE(raised); i++)
		sigdelset(set, raised[i]);
}

static int start_thread(struct lp_control *s, struct lp_err *err)
{
	sigset_t blocked, before;
	signals_to_block(&blocked);
	pthread_sigmask(SIG_SETMASK, &blocked, &before);
	int rc = pthread_create(&s->thread, NULL, serve, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0)
		return lp_fail_sys(err, rc, "cannot start the server's thread");
	char name[16]; /* the most that the kernel takes */
	snprintf(name, sizeof name, "%.15s", s->service.options.program);
	pthread_setname_np(s->thread, name);
	return 0;
}

int lp_control_start(const struct lp_control_options *o, struct lp_control **out, struct lp_err *err)
{
	struct lp_control *s = make_server(o);
	int rc = open_descriptors(s, err);
	if (rc == 0)
		rc = start_thread(s, err);
	if (rc < 0) {
		free_server(s);
		return rc;
	}
	*out = s;
	return 0;
}

static int listen_at(struct lp_control *s, const char *path, struct lp_err *err)
{
	unsigned nr = atomic_load(&s->nr_listeners);
	if (nr == MOST_LISTENERS)
		return lp_fail(err, ENOSPC, "a server listens at %d sockets at most", MOST_LISTENERS);
	struct listener *l = &s->listeners[nr];
	*l = (struct listener){.source.kind = SOURCE_LISTENER};
	int rc = lp_node_make(path, &l->node, err);
	if (rc < 0)
		return rc;
	rc = watch(s, EPOLL_CTL_ADD, &l->node.socket, EPOLLIN, &l->source);
	if (rc < 0) {
		lp_node_remove(&l->node);
		return lp_fail_sys(err, -rc, "cannot wait for clients at %s", path);
	}
	atomic_store(&s->nr_listeners, nr + 1);
	return 0;
}

int lp_control_listen(struct lp_control *s, const char *path, struct lp_err *err)
{
	pthread_mutex_lock(&s->lock);
	int rc = listen_at(s, path, err);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

void lp_control_unlink(const struct lp_control *s)
{
	for (unsigned i = 0; i < atomic_load(&s->nr_listeners); i++)
		lp_node_unlink(&s->listeners[i].node);
}

bool lp_control_is_robbed(const struct lp_control *s)
{
	return atomic_load(&s->ended) || !lp_owned_is_ours(&s->bell[1]);
}

/* Without the bell the thread cannot be told to end: it waits for ever, at what nobody else has any more. */
static void abandon(struct lp_control *s)
{
	static struct lp_control *_Atomic abandoned;
	pthread_detach(s->thread);
	s->next_abandoned = atomic_exchange(&abandoned, s);
}

void lp_control_stop(struct lp_control *s)
{
	if (!s)
		return;
	lp_control_unlink(s); /* first: whose connection ends finds no name any more */
	atomic_store(&s->stopping, true);
	if (!atomic_load(&s->ended) && !ring(s)) {
		abandon(s);
		return;
	}
	pthread_join(s->thread, NULL);
	free_server(s);
}

void lp_control_forget(struct lp_control *s)
{
	if (!s)
		return;
	if (pthread_equal(pthread_self(), s->thread))
		pthread_mutex_init(&s->lock, NULL); /* who has it may be a thread that is not here */
	close_epoll_and_bell(s);
	for (unsigned i = 0; i < atomic_load(&s->nr_listeners); i++)
		lp_owned_close(&s->listeners[i].node.socket);
	for (unsigned i = 0; i < most_clients(s); i++)
		if (atomic_load(&s->slots[i].taken))
			lp_owned_close(&s->slots[i].socket);
}
