/*
 * Watching patch files: a thread for each system that has something to watch.
 *
 * It wakes when something happens on the way to a file (watch_path.h) or when
 * a signal asks it to (bell.h), waits until those who write are done, and has
 * the files loaded again if one of them holds something new.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/api.h"
#include "api/bell.h"
#include "api/files.h"
#include "api/watch_path.h"

#define QUIET_MS 100 /* without an event before the files are looked at */
#define MOST_MS 2000 /* since the first event, whatever comes after it */
#define NEVER INT64_MAX

struct lp_watch {
	LivePatchSystem *system;
	pid_t process; /* a child that was forked has no such thread */
	pthread_t thread;
	struct lp_bell *bell;
	atomic_bool stop, look; /* ring after setting one */
	pthread_mutex_t lock;	/* of `paths` */
	struct lp_path_watch paths;

	/* Of the thread alone, in milliseconds of now(): */
	int64_t quiet_at; /* when to look, if nothing more happens; NEVER = nothing did */
	int64_t at_last;  /* ... and if it does */
	bool is_told;	  /* that this content was refused: */
	uint64_t told;
};

/* ---- waiting for quiet ---- */

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void note(struct lp_watch *w, enum lp_path_event event)
{
	if (event == LP_PATH_QUIET)
		return;
	if (w->quiet_at == NEVER)
		w->at_last = now() + MOST_MS;
	w->quiet_at = event == LP_PATH_BEGUN ? w->at_last : now() + QUIET_MS;
}

static int64_t due_at(const struct lp_watch *w)
{
	return w->quiet_at < w->at_last ? w->quiet_at : w->at_last;
}

/* For poll(): until it is time to look. */
static int timeout(const struct lp_watch *w)
{
	if (w->quiet_at == NEVER)
		return -1;
	int64_t left = due_at(w) - now();
	return left > 0 ? (int)left : 0;
}

/* ---- the thread ---- */

/* Writing a file has several events, and touching it one; and each event reads all of them. */
static void tell_refusal(struct lp_watch *w, uint64_t content, const char *why)
{
	bool is_told = w->is_told && w->told == content;
	if (w->system->tell_refusal && !is_told)
		w->system->tell_refusal(why, w->system->tell_arg);
	w->is_told = true;
	w->told = content;
}

static void reload(struct lp_watch *w)
{
	struct lp_err err = {0};
	uint64_t content;
	int rc = lp_files_reload(w->system, &content, &err);
	if (rc < 0)
		tell_refusal(w, content, err.text);
	else
		w->is_told = false;
	if (rc < 0 && lp_debug_on())
		lp_tell("the patch files changed, but all stays as it is: %s", err.text);
	else if (lp_debug_on())
		lp_tell("the patch files changed: %d patches did", rc);
}

static bool has_news(struct lp_watch *w)
{
	bool news = false;
	pthread_mutex_lock(&w->lock);
	for (size_t i = 0; !news && i < w->paths.paths.nr; i++)
		news = lp_files_look(w->system, w->paths.paths.items[i]) == LP_FILE_CHANGED;
	pthread_mutex_unlock(&w->lock);
	return news;
}

static void look(struct lp_watch *w)
{
	w->quiet_at = w->at_last = NEVER;
	if (has_news(w))
		reload(w);
}

static void read_events(struct lp_watch *w)
{
	pthread_mutex_lock(&w->lock);
	enum lp_path_event event = lp_path_watch_read(&w->paths);
	pthread_mutex_unlock(&w->lock);
	note(w, event);
}

static void answer_bell(struct lp_watch *w)
{
	if (lp_bell_answer(w->bell))
		reload(w);
	if (atomic_exchange(&w->look, false))
		note(w, LP_PATH_CHANGED);
}

static void *run(void *arg)
{
	struct lp_watch *w = arg;
	struct pollfd fds[] = {{.fd = w->paths.fd, .events = POLLIN}, {.fd = lp_bell_fd(w->bell), .events = POLLIN}};
	while (!atomic_load(&w->stop)) {
		poll(fds, LP_ARRAY_SIZE(fds), timeout(w));
		answer_bell(w);
		read_events(w);
		if (w->quiet_at != NEVER && timeout(w) == 0)
			look(w);
	}
	return NULL;
}

/*
 * The thread takes none of the program's signals.  Those that ask threads of
 * this process to stop while code changes (real-time signals, traps) it must
 * take, as far as the thread that made it does.
 */
static void block_signals(sigset_t *before)
{
	sigset_t all;
	sigfillset(&all);
	sigdelset(&all, SIGTRAP);
	pthread_sigmask(SIG_SETMASK, NULL, before);
	for (int signo = SIGRTMIN; signo <= SIGRTMAX; signo++)
		if (!sigismember(before, signo))
			sigdelset(&all, signo);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
}

static int start_thread(struct lp_watch *w, struct lp_err *err)
{
	sigset_t before;
	block_signals(&before);
	int rc = pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		return lp_fail_sys(err, rc, "cannot make a thread");
	pthread_setname_np(w->thread, "livepatch-watch");
	return 0;
}

static void ring(struct lp_watch *w, atomic_bool *why)
{
	atomic_store(why, true);
	lp_bell_ring(w->bell);
}

/* ---- its life ---- */

static void free_watch(struct lp_watch *w)
{
	lp_path_watch_close(&w->paths);
	pthread_mutex_destroy(&w->lock);
	lp_free(w);
}

static struct lp_watch *start(LivePatchSystem *system, struct lp_err *err)
{
	struct lp_watch *w = lp_alloc(sizeof *w);
	w->system = system;
	w->process = getpid();
	w->quiet_at = w->at_last = NEVER;
	pthread_mutex_init(&w->lock, NULL);
	w->paths.fd = -1;
	w->bell = lp_bell_take(err);
	int rc = w->bell ? lp_path_watch_open(&w->paths, err) : -1;
	if (rc == 0)
		rc = start_thread(w, err);
	if (rc == 0)
		return w;
	lp_bell_give(w->bell);
	free_watch(w);
	return NULL;
}

static void stop(struct lp_watch *w)
{
	if (!w)
		return;
	if (w->process == getpid()) {
		ring(w, &w->stop);
		pthread_join(w->thread, NULL);
		lp_bell_give(w->bell);
	}
	free_watch(w);
}

/* ---- the functions of livepatch.h ---- */

/* Of every system's `watch`.  Not taken by the threads, which are waited for under it. */
static pthread_mutex_t watches = PTHREAD_MUTEX_INITIALIZER;

void lp_watches_hold(void)
{
	pthread_mutex_lock(&watches);
	lp_bells_hold();
}

void lp_watches_release(void)
{
	lp_bells_release();
	pthread_mutex_unlock(&watches);
}

/* 1 when it is new. */
static int add_path(struct lp_watch *w, const char *path, struct lp_err *err)
{
	pthread_mutex_lock(&w->lock);
	int rc = lp_path_watch_add(&w->paths, path, err);
	pthread_mutex_unlock(&w->lock);
	return rc;
}

static void remove_path(struct lp_watch *w, const char *path)
{
	pthread_mutex_lock(&w->lock);
	lp_path_watch_remove(&w->paths, path);
	pthread_mutex_unlock(&w->lock);
}

/* Loaded already: what is new in it since then. */
static int load(LivePatchSystem *system, const char *name, const char *path, struct lp_err *err)
{
	uint64_t content;
	if (lp_files_look(system, path) == LP_FILE_UNKNOWN)
		return lp_files_load(system, name, false, err);
	return lp_files_reload(system, &content, err);
}

/* The path is watched before the file is loaded, so that no change falls in between. */
static int watch_path(struct lp_watch *w, const char *name, const char *path, bool loads, struct lp_err *err)
{
	int added = add_path(w, path, err);
	if (added < 0)
		return added;
	int rc = loads ? load(w->system, name, path, err) : 0;
	if (rc < 0 && added)
		remove_path(w, path);
	else
		ring(w, &w->look);
	return rc;
}

/* A child that was forked watches nothing until it is told to: the thread is its parent's. */
static struct lp_watch *own_watch(LivePatchSystem *system)
{
	if (system->watch && system->watch->process != getpid()) {
		stop(system->watch);
		system->watch = NULL;
	}
	return system->watch;
}

static int watch(LivePatchSystem *system, const char *name, bool loads, struct lp_err *err)
{
	if (lp_txn_current(system))
		return lp_fail(err, LP_ETRANSACTION,
			       "watching cannot be part of a transaction, and this thread has one open");
	struct lp_watch *w = own_watch(system) ? system->watch : start(system, err);
	if (!w)
		return err->code;
	char *path = lp_path_absolute(name);
	int rc = watch_path(w, name, path, loads, err);
	lp_free(path);
	if (rc >= 0)
		system->watch = w;
	else if (w != system->watch)
		stop(w);
	return rc;
}

void lp_system_tell_refusals(LivePatchSystem *system, void (*fn)(const char *why, void *arg), void *arg)
{
	system->tell_refusal = fn;
	system->tell_arg = arg;
}

static int watch_one(LivePatchSystem *system, const char *filename, bool loads)
{
	struct lp_err *err = lp_enter();
	int rc = lp_system_check_enabled(system, err);
	if (rc == 0 && !filename)
		rc = lp_fail(err, EINVAL, "there is no file name");
	if (rc < 0)
		return lp_leave(system, rc);
	pthread_mutex_lock(&watches);
	rc = watch(system, filename, loads, err);
	pthread_mutex_unlock(&watches);
	return lp_leave(system, rc);
}

int livepatch_watch(LivePatchSystem *system, const char *filename)
{
	return watch_one(system, filename, true);
}

int lp_system_watch_loaded(LivePatchSystem *system, const char *filename)
{
	return watch_one(system, filename, false);
}

void lp_watch_stop(LivePatchSystem *system)
{
	pthread_mutex_lock(&watches);
	stop(system->watch);
	system->watch = NULL;
	pthread_mutex_unlock(&watches);
}

static int fail_unwatched(struct lp_err *err)
{
	return lp_fail(err, LP_EUSAGE, "the system is not watched: livepatch_watch() first");
}

int livepatch_unwatch(LivePatchSystem *system)
{
	struct lp_err *err = lp_enter();
	int rc = lp_system_check(system, err);
	if (rc < 0)
		return lp_leave(system, rc);
	pthread_mutex_lock(&watches);
	if (!own_watch(system))
		rc = fail_unwatched(err);
	stop(system->watch);
	system->watch = NULL;
	pthread_mutex_unlock(&watches);
	return lp_leave(system, rc);
}

int livepatch_watch_signal(LivePatchSystem *system, int signo)
{
	struct lp_err *err = lp_enter();
	int rc = lp_system_check(system, err);
	if (rc < 0)
		return lp_leave(system, rc);
	pthread_mutex_lock(&watches);
	rc = own_watch(system) ? lp_bell_on_signal(system->watch->bell, signo, err) : fail_unwatched(err);
	pthread_mutex_unlock(&watches);
	return lp_leave(system, rc);
}
