/*
 * livepatch watch: the patches of a store into every process that they fit,
 * those that run and those that are to come.
 *
 * Who begins and ends is told by the kernel where it tells us (store/events.h),
 * else seen in rounds over /proc.  A round is made in either case now and then,
 * because processes load libraries without telling anybody.  What the store
 * has is looked up anew when inotify says that it has changed.
 *
 * The change itself is done by children, a few at a time (worker.h): one
 * process that is busy keeps nobody else waiting.  Another child looks who
 * needs one (looker.h): a process whose memory does not answer stops only it.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "store/events.h"
#include "store/roster.h"
#include "tool/looker.h"
#include "tool/puller.h"
#include "tool/tool.h"
#include "tool/worker.h"

#define WORKERS_MAX 4
#define WORKERS_OF_USER 2 /* a user's processes may keep two of them busy, and not those of others waiting */
#define POSTPONE_MS 500	  /* ... so his third comes later */
#define WORN_OUT_MS 5000  /* until we ask again whether a process may be looked at that has cost us lookers */
#define POLL_MS 1000	  /* between rounds when the kernel tells us nothing */
#define ROUND_MS 60000	  /* between rounds when it does */
#define LOOK_MS 60000	  /* between looks at what processes have loaded */
#define STORE_CALM_MS 200 /* after a change of the store: whoever writes it shall be done */
#define PULL_LEAST_MS 60000
#define OLD_MS 5000  /* a program that runs for so long has loaded what it needs to begin */
#define BUSY_MS 2000 /* how long one attempt waits for busy functions */

struct job {
	struct worker worker; /* fd -1 = none */
	uid_t uid;	      /* whose process it is about */
	int64_t began;	      /* of the entry that it was for */
	uint64_t fingerprint;
	char comm[17];
};

struct watch {
	const struct args *args;
	struct lp_store *store;
	struct lp_roster *roster;
	struct job jobs[WORKERS_MAX];
	struct looker looker;
	struct puller puller;
	int64_t looked_began;			      /* of the entry that is being looked at */
	int events, inotify, signals;		      /* -1 = none */
	int64_t next_round, next_look, store_changed; /* ms; 0 = not */
	int64_t round_ms, postponed;		      /* the last time to which somebody was */
	bool stop, once, store_bad, said_blind;
	size_t nr_seen, nr_denied; /* processes that we were let look at, or not */
	size_t nr_patched, nr_refused;
};

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- what is said ---- */

/* One object a line: whoever reads them need not know where one ends. */
static void emit(const struct watch *w, json_t *line)
{
	if (w->args->on[OPT_JSON]) {
		json_object_set_new(line, "time", json_integer((json_int_t)time(NULL)));
		char *text = json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII);
		out_json(text ? text : "{}");
		free(text);
	}
	json_decref(line);
	out_flush();
}

static void say_begin(const struct watch *w)
{
	const char *how = w->once ? "once" : w->events >= 0 ? "events" : "polling";
	if (!w->args->on[OPT_JSON] && !w->args->on[OPT_QUIET] && !w->once)
		out_printf("watching with %s: %s\n", lp_store_path(w->store),
			   w->events >= 0 ? "the kernel tells of new processes"
					  : "looking for new processes now and then");
	emit(w,
	     json_pack("{s:s, s:o, s:s}", "event", "watching", "store", json_text(lp_store_path(w->store)), "by", how));
}

static void say_patched(const struct watch *w, const struct job *j, const struct lp_deployed *d)
{
	char objects[SHORT_TEXT], pause[SHORT_TEXT];
	if (!w->args->on[OPT_JSON] && !w->args->on[OPT_QUIET])
		out_printf("process %d (%s): %s applied, %s, paused for %s\n", (int)j->worker.target, j->comm, d->ids,
			   count_text(d->nr_objects, "object", objects), duration_text(d->pause_ns, pause));
	emit(w, json_pack("{s:s, s:i, s:o, s:o, s:I, s:I}", "event", "patched", "pid", (int)j->worker.target, "process",
			  json_text(j->comm), "ids", json_text(d->ids), "objects", (json_int_t)d->nr_objects,
			  "pause_us", (json_int_t)(d->pause_ns / 1000)));
}

static void say_refused(const struct watch *w, pid_t pid, const char *comm, const struct lp_err *err, int64_t again)
{
	json_t *line = json_error(err);
	json_object_set_new(line, "event", json_string("refused"));
	json_object_set_new(line, "pid", json_integer(pid));
	json_object_set_new(line, "process", json_text(comm));
	json_object_set_new(line, "again_ms", again ? json_integer((json_int_t)again) : json_null());
	if (!w->args->on[OPT_JSON]) {
		note_error(err);
		if (again)
			note("process %d (%s) is tried again in %" PRId64 " s", (int)pid, comm, again / 1000);
		else if (!w->once)
			note("process %d (%s) is left alone until it, or the store, changes", (int)pid, comm);
	}
	emit(w, line);
}

static void say_blind(const struct watch *w)
{
	struct lp_err err = {0};
	lp_fail(&err, LP_EPERM,
		"no process can be looked at, so none will be patched: run this as root (CAP_SYS_PTRACE), or as the "
		"user "
		"whose processes are to be patched, with kernel.yama.ptrace_scope 0; we are user %u",
		(unsigned)geteuid());
	json_t *line = json_error(&err);
	json_object_set_new(line, "event", json_string("blind"));
	if (!w->args->on[OPT_JSON])
		note_error(&err);
	emit(w, line);
}

/* sd_notify(3), without the library: a datagram to the socket that the service manager names. */
static void say_ready(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	const char *name = getenv("NOTIFY_SOCKET");
	size_t len = name ? strlen(name) : 0;
	if (len < 2 || len >= sizeof a.sun_path)
		return;
	memcpy(a.sun_path, name, len);
	if (name[0] == '@')
		a.sun_path[0] = 0;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (struct sockaddr *)&a,
		       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	lp_close(fd);
}

/* ---- one process ---- */

/* What time may cure. */
static bool may_pass(int rc)
{
	switch (-rc) {
	case LP_EBUSY:
	case LP_ETIMEOUT:
	case LP_ELOCKED:
	case LP_ETRACED:
	case LP_ENOTHREAD:
	case LP_EREMOTE:
	case LP_EUNFINISHED:
	case LP_EINTERRUPTED:
	case EAGAIN:
	case ENOMEM:
		return true;
	default:
		return false;
	}
}

/* What may be right a second later, when the loader has done its work. */
static bool is_half_loaded(int rc)
{
	return rc == -LP_ENOTLOADED || rc == -LP_ENOSYM || rc == -LP_ERELOC || rc == -LP_ECHANGED ||
	       rc == -LP_EUNMAPPED;
}

static bool is_gone(int rc)
{
	return rc == -LP_EGONE || rc == -LP_EEXECED;
}

/* The latter two by /proc, where it hides what others do (hidepid). */
static bool is_denied(int rc)
{
	return rc == -LP_EPERM || rc == -EPERM || rc == -EACCES;
}

struct request {
	pid_t pid;
	const struct watch *watch;
};

static int deploy(void *arg, struct lp_deployed *done, struct lp_err *err)
{
	const struct request *r = arg;
	struct lp_apply_opts opts = {
		.timeout_ms = BUSY_MS, .interrupted = &interrupted, .search_most = r->watch->args->search_most};
	return lp_deploy_apply(r->pid, r->watch->store, &opts, done, err);
}

static struct job *free_job(struct watch *w)
{
	for (size_t i = 0; i < WORKERS_MAX; i++)
		if (w->jobs[i].worker.fd < 0)
			return &w->jobs[i];
	return NULL;
}

static bool is_ordinary(uid_t uid)
{
	return uid != 0 && uid != geteuid();
}

/* Root's and our own processes wait for nobody but each other: one worker is always left for them. */
static bool has_his_share(const struct watch *w, uid_t uid)
{
	size_t his = 0, ordinary = 0;
	for (size_t i = 0; i < WORKERS_MAX; i++) {
		const struct job *j = &w->jobs[i];
		his += j->worker.fd >= 0 && j->uid == uid;
		ordinary += j->worker.fd >= 0 && is_ordinary(j->uid);
	}
	return is_ordinary(uid) && (his >= WORKERS_OF_USER || ordinary >= WORKERS_MAX - 1);
}

static void postpone(struct watch *w, struct lp_roster_entry *e, int64_t due)
{
	lp_roster_postponed(e, due);
	w->postponed = due > w->postponed ? due : w->postponed;
}

static void refuse(struct watch *w, struct lp_roster_entry *e, const char *comm, const struct lp_err *err)
{
	int64_t again = lp_roster_refused(w->roster, e, now_ms());
	w->nr_refused++;
	say_refused(w, e->pid, comm, err, w->once ? 0 : again);
}

/* He, or others of the same user, have cost us lookers. */
static void keep_waiting(struct watch *w, struct lp_roster_entry *e, const struct lp_seen *who)
{
	struct lp_err err = {0};
	if (!w->once) {
		lp_roster_postponed(e, now_ms() + WORN_OUT_MS);
		return;
	}
	lp_fail(&err, LP_ETIMEOUT, "process %d was not looked at: others of its user could not be looked at in time",
		(int)e->pid);
	refuse(w, e, who->comm, &err);
}

/* What can be asked without waiting for the process; what comes of it, on_look() says. */
static void ask_about(struct watch *w, struct lp_roster_entry *e)
{
	struct lp_seen who;
	struct lp_err err = {0};
	uid_t uid = 0;
	int64_t now = now_ms();
	int rc = lp_scan_identity(e->pid, &who, &err);
	rc = rc < 0 ? rc : lp_scan_owner(e->pid, &uid, &err);
	w->nr_denied += is_denied(rc);
	if (is_gone(rc)) {
		lp_roster_gone(w->roster, e->pid);
	} else if (rc < 0 || who.kernel || w->store_bad) {
		lp_roster_settled(w->roster, e, 0, now);
	} else if (looker_is_worn_out(&w->looker, e->pid, uid)) {
		keep_waiting(w, e, &who);
	} else if (looker_ask(&w->looker, w->store, e->pid, uid, &err) < 0) {
		note_error(&err);
		lp_roster_refused(w->roster, e, now);
	} else {
		w->looked_began = e->began;
	}
}

static void hand_to_worker(struct watch *w, struct lp_roster_entry *e, const struct look *look)
{
	struct lp_err err = {0};
	struct request r = {e->pid, w};
	struct job *j = free_job(w);
	if (!j || has_his_share(w, w->looker.uid)) {
		postpone(w, e, now_ms() + POSTPONE_MS);
		return;
	}
	if (worker_start(&j->worker, e->pid, deploy, &r, &err) < 0) {
		note_error(&err);
		lp_roster_refused(w->roster, e, now_ms());
		return;
	}
	memcpy(j->comm, look->comm, sizeof j->comm);
	j->uid = w->looker.uid;
	j->began = e->began;
	j->fingerprint = look->fits;
}

/* Its memory does not answer, or whoever looked at it fell over it. */
static void give_up_on(struct watch *w, struct lp_roster_entry *e, const struct lp_err *err)
{
	struct lp_seen who = {0};
	lp_scan_identity(e->pid, &who, NULL);
	refuse(w, e, who.comm, err);
}

/* The answer is there, or the time is over.  The process goes to a worker when the store has something for it that was
 * not tried yet. */
static void on_look(struct watch *w, bool in_time)
{
	struct look look = {0};
	struct lp_err err = {0};
	struct lp_roster_entry *e = lp_roster_find(w->roster, w->looker.pid);
	int rc = in_time ? looker_answer(&w->looker, &look, &err) : looker_give_up(&w->looker, &err);
	if (!e)
		return;
	if (!e->busy || e->began != w->looked_began) { /* another program by now */
		e->busy = false;
		return;
	}
	if (is_gone(rc)) {
		lp_roster_gone(w->roster, e->pid);
		return;
	}
	if (rc == -LP_ETIMEOUT || rc == -LP_EUNFINISHED) {
		give_up_on(w, e, &err);
		return;
	}
	w->nr_denied += is_denied(rc) && !look.store_failed;
	w->nr_seen += rc == 0 && !look.kernel;
	if (look.store_failed) /* else the process is not ours to look at, or of another machine's kind */
		note_error(&err);
	if (rc == 0)
		lp_roster_meet(w->roster, e->pid, look.start_time, look.image, now_ms());
	if (rc < 0 || !look.fits || look.fits == e->settled)
		lp_roster_settled(w->roster, e, look.fits, now_ms());
	else
		hand_to_worker(w, e, &look);
}

static void conclude(struct watch *w, const struct job *j, int rc, const struct lp_deployed *d,
		     const struct lp_err *err)
{
	struct lp_roster_entry *e = lp_roster_find(w->roster, j->worker.target);
	int64_t now = now_ms(), again = 0;
	bool current = e && e->busy && e->began == j->began;
	if (is_gone(rc)) {
		if (current)
			lp_roster_gone(w->roster, j->worker.target);
		return;
	}
	if (e && !current)
		e->busy = false;
	bool passing = rc < 0 && (may_pass(rc) || (current && lp_roster_is_young(e, now) && is_half_loaded(rc)));
	if (current && passing)
		again = lp_roster_refused(w->roster, e, now);
	else if (current)
		lp_roster_settled(w->roster, e, j->fingerprint, now);
	w->nr_refused += rc < 0;
	w->nr_patched += rc == 0 && d->nr_objects;
	if (rc < 0)
		say_refused(w, j->worker.target, j->comm, err, w->once ? 0 : again);
	else if (d->nr_objects)
		say_patched(w, j, d);
}

static void finish(struct watch *w, struct job *j)
{
	struct lp_deployed done;
	struct lp_err err = {0};
	int rc = worker_finish(&j->worker, &done, &err);
	if (rc == WORKER_RECOVERS)
		return;
	j->worker.fd = -1;
	conclude(w, j, rc, &done, &err);
}

/* Is there anybody but us?  Where /proc hides processes (hidepid), not even the first one is to be seen. */
static bool is_hidden_from(void)
{
	struct lp_seen first;
	return lp_scan_identity(1, &first, NULL) < 0;
}

/* When everybody had his turn and all of them were kept from us, it is no accident; that is said once. */
static void tell_if_blind(struct watch *w)
{
	if (w->said_blind || w->store_bad || w->nr_seen || w->looker.pid || lp_roster_wait(w->roster, now_ms()) == 0 ||
	    (!w->nr_denied && !is_hidden_from()))
		return;
	w->said_blind = true;
	say_blind(w);
}

static void hand_out(struct watch *w)
{
	struct lp_roster_entry *e;
	while (!w->looker.pid && free_job(w) && (e = lp_roster_due(w->roster, now_ms())))
		ask_about(w, e);
}

/* ---- the store's changes ---- */

#define CHANGES (IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB | IN_ONLYDIR)

static void watch_below(int fd, const char *top)
{
	lp_name_vec names = {0};
	lp_store_directories(top, &names);
	for (size_t i = 0; i < names.nr; i++) {
		inotify_add_watch(fd, names.items[i], CHANGES);
		lp_free(names.items[i]);
	}
	lp_vec_free(&names);
}

/* Adding a watch that is there changes nothing, so new directories are covered by doing all of it again. */
static void watch_store(struct watch *w)
{
	if (w->inotify < 0 || !lp_store_is_directory(w->store))
		return;
	inotify_add_watch(w->inotify, lp_store_path(w->store), CHANGES);
	watch_below(w->inotify, lp_store_path(w->store));
}

static void on_store_event(struct watch *w)
{
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	while (read(w->inotify, buffer, sizeof buffer) > 0)
		;
	watch_store(w);
	w->store_changed = now_ms();
}

/* ---- everybody ---- */

static int64_t age_ms(const struct lp_seen *s)
{
	struct timespec t;
	int64_t tick = sysconf(_SC_CLK_TCK);
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 - (int64_t)s->start_time * 1000 / (tick > 0 ? tick : 100);
}

static void round_over_proc(struct watch *w)
{
	lp_pid_vec pids = {0};
	struct lp_err err = {0};
	int64_t now = now_ms();
	bool first = !w->next_look;
	if (lp_scan_pids(&pids, &err) < 0)
		note_error(&err);
	lp_roster_begin_round(w->roster);
	for (size_t i = 0; i < pids.nr; i++) {
		struct lp_seen seen;
		if (pids.items[i] == w->looker.child)
			continue;
		int rc = lp_scan_identity(pids.items[i], &seen, NULL);
		w->nr_denied += is_denied(rc);
		if (rc < 0 || seen.kernel)
			continue;
		lp_roster_meet(w->roster, seen.pid, seen.start_time, seen.image, now);
		if (first && (w->once || age_ms(&seen) > OLD_MS))
			lp_roster_make_old(w->roster, seen.pid, now);
	}
	lp_roster_end_round(w->roster);
	lp_vec_free(&pids);
	if (first)
		w->next_look = now + LOOK_MS;
	w->next_round = now + w->round_ms;
}

/* A store that cannot be trusted or read any more is not used; the last good one has paths of it only, so there is
 * nothing to go back to: nobody is patched until it is right again. */
static void reopen_store(struct watch *w)
{
	struct lp_roster_entry *e = lp_roster_find(w->roster, w->looker.pid);
	struct lp_store *store;
	struct lp_err err = {0};
	w->store_changed = 0;
	w->store_bad = false;
	if (w->looker.pid && e)
		lp_roster_postponed(e, now_ms());
	looker_stop(&w->looker);					    /* it has the old one */
	int rc = lp_store_open_trusted(&store, w->args->operands[0], &err); /* which may lead elsewhere by now */
	if (rc == 0) {
		lp_store_close(w->store);
		w->store = store;
	} else {
		w->store_bad = true;
		note_error(&err);
	}
	lp_roster_look_again(w->roster, now_ms());
}

/* Libraries come without news. */
static void periodic(struct watch *w)
{
	int64_t now = now_ms();
	if (w->store_changed && now >= w->store_changed + STORE_CALM_MS)
		reopen_store(w);
	if (now >= w->next_round)
		round_over_proc(w);
	if (now >= w->next_look) { /* also for a store that was away, or a link that was turned */
		reopen_store(w);
		watch_store(w);
		w->next_look = now + LOOK_MS;
	}
}

static void on_event(enum lp_event_of what, pid_t pid, void *arg)
{
	struct watch *w = arg;
	if (what == LP_PROCESS_EXITED)
		lp_roster_gone(w->roster, pid);
	else if (pid > 1 && pid != getpid())
		lp_roster_begin(w->roster, pid, now_ms());
}

/* ---- the loop ---- */

static int sooner(int a, int b)
{
	return a < 0 ? b : b < 0 ? a : a < b ? a : b;
}

static int until(int64_t when, int64_t now)
{
	return when <= now ? 0 : when - now > INT_MAX ? INT_MAX : (int)(when - now);
}

static int wait_time(const struct watch *w, bool has_free_job)
{
	int64_t now = now_ms();
	int ms = sooner(until(w->next_round, now), until(w->next_look, now));
	ms = sooner(ms, until(puller_due(&w->puller), now));
	if (w->looker.pid)
		ms = sooner(ms, until(w->looker.deadline, now));
	else if (has_free_job)
		ms = sooner(ms, lp_roster_wait(w->roster, now));
	return w->store_changed ? sooner(ms, until(w->store_changed + STORE_CALM_MS, now)) : ms;
}

enum { POLL_SIGNALS, POLL_EVENTS, POLL_STORE, POLL_LOOKER, POLL_PULLER, POLL_JOBS };

static void read_events(struct watch *w)
{
	int rc = lp_events_read(w->events, on_event, w);
	if (rc == 1) { /* some were lost */
		w->next_round = 0;
	} else if (rc < 0) {
		note("the kernel's process events have ended (%s); polling", strerror(-rc));
		lp_close(w->events);
		w->events = -1;
		w->round_ms = POLL_MS;
		w->next_round = 0;
	}
}

static void turn(struct watch *w)
{
	struct pollfd p[POLL_JOBS + WORKERS_MAX];
	p[POLL_SIGNALS] = (struct pollfd){.fd = w->signals, .events = POLLIN};
	p[POLL_EVENTS] = (struct pollfd){.fd = w->events, .events = POLLIN};
	p[POLL_STORE] = (struct pollfd){.fd = w->inotify, .events = POLLIN};
	p[POLL_LOOKER] = (struct pollfd){.fd = w->looker.pid ? w->looker.fd : -1, .events = POLLIN};
	p[POLL_PULLER] = (struct pollfd){.fd = w->puller.fd, .events = POLLIN};
	for (size_t i = 0; i < WORKERS_MAX; i++)
		p[POLL_JOBS + i] = (struct pollfd){.fd = w->jobs[i].worker.fd, .events = POLLIN};
	if (poll(p, LP_ARRAY_SIZE(p), wait_time(w, free_job(w) != NULL)) < 0)
		return;
	w->stop = w->stop || p[POLL_SIGNALS].revents;
	for (size_t i = 0; i < WORKERS_MAX; i++)
		if (w->jobs[i].worker.fd >= 0 && p[POLL_JOBS + i].revents)
			finish(w, &w->jobs[i]);
	if (w->looker.pid && (p[POLL_LOOKER].revents || now_ms() >= w->looker.deadline))
		on_look(w, p[POLL_LOOKER].revents);
	if (w->events >= 0 && p[POLL_EVENTS].revents)
		read_events(w);
	if (w->inotify >= 0 && p[POLL_STORE].revents)
		on_store_event(w);
}

static void finish_all(struct watch *w)
{
	for (size_t i = 0; i < WORKERS_MAX; i++)
		while (w->jobs[i].worker.fd >= 0) {
			if (w->stop && !w->jobs[i].worker.lost)
				kill(w->jobs[i].worker.child, SIGTERM);
			finish(w, &w->jobs[i]);
		}
}

static bool working(const struct watch *w)
{
	if (w->looker.pid)
		return true;
	for (size_t i = 0; i < WORKERS_MAX; i++)
		if (w->jobs[i].worker.fd >= 0)
			return true;
	return false;
}

/* --once: everybody who is there, each looked at once; those that were postponed, when their time comes. */
static void run_once(struct watch *w)
{
	bool more = true;
	round_over_proc(w);
	w->next_round = INT64_MAX;
	while (more && !w->stop) {
		hand_out(w);
		more = working(w) || now_ms() < w->postponed;
		if (more)
			turn(w);
		more = more || lp_roster_wait(w->roster, now_ms()) == 0;
	}
	finish_all(w);
	tell_if_blind(w);
}

static void run_on(struct watch *w)
{
	while (!w->stop) {
		periodic(w);
		puller_turn(&w->puller, now_ms());
		hand_out(w);
		tell_if_blind(w);
		turn(w);
	}
	finish_all(w);
}

static int catch_signals(struct lp_err *err)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_CLOEXEC);
	return fd < 0 ? lp_fail_sys(err, errno, "cannot wait for signals") : fd;
}

static int open_ears(struct watch *w, struct lp_err *err)
{
	struct lp_err why = {0};
	w->signals = catch_signals(err);
	if (w->signals < 0 || w->once)
		return w->signals < 0 ? w->signals : 0;
	w->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	watch_store(w);
	if (!w->args->on[OPT_POLL])
		w->events = lp_events_open(&why);
	if (w->events < 0 && why.code)
		lp_info("%s; polling", why.text);
	w->round_ms = w->events >= 0 ? ROUND_MS : w->args->on[OPT_POLL] ? w->args->poll_ms : POLL_MS;
	return 0;
}

static void release(struct watch *w)
{
	puller_close(&w->puller);
	looker_stop(&w->looker);
	lp_vec_free(&w->looker.lost);
	lp_close(w->events);
	lp_close(w->inotify);
	lp_close(w->signals);
	lp_roster_free(w->roster);
	lp_store_close(w->store);
}

static int check_pull(const struct args *a, struct lp_err *err)
{
	if (a->on[OPT_ONCE])
		return lp_fail(err, LP_EUSAGE,
			       "--pull goes on and --once does not: run update_module --patches %s before it",
			       a->operands[0]);
	if (a->pull_ms < PULL_LEAST_MS)
		return lp_fail(err, LP_EUSAGE, "--pull: servers are asked once a minute at most");
	return 0;
}

int verb_watch(const struct args *a, struct lp_err *err)
{
	struct watch w = {.args = a,
			  .events = -1,
			  .inotify = -1,
			  .signals = -1,
			  .looker = LOOKER_NONE,
			  .puller = PULLER_NONE,
			  .once = a->on[OPT_ONCE]};
	for (size_t i = 0; i < WORKERS_MAX; i++)
		w.jobs[i].worker.fd = -1;
	w.roster = lp_roster_new();
	int rc = lp_store_open_trusted(&w.store, a->operands[0], err);
	rc = rc ? rc : open_ears(&w, err);
	if (rc == 0 && a->on[OPT_PULL])
		rc = check_pull(a, err);
	if (rc == 0 && a->on[OPT_PULL])
		puller_open(&w.puller, a->operands[0], a->pull_ms);
	if (rc == 0) {
		say_begin(&w);
		say_ready();
		w.once ? run_once(&w) : run_on(&w);
		rc = w.once && (w.nr_refused || w.said_blind) ? EXIT_REFUSED : 0;
	}
	release(&w);
	return rc;
}
