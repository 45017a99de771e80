/*
 * A runner's session: the system over the guest, the server, and what becomes
 * of both when the guest forks and ends.
 *
 * One lock is held while a client's commands run.  A guest thread that forks
 * takes it first, as a thread that stands still: the command may be waiting for
 * that.  So the child's copy of everything is whole.
 */
#include "runner/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "base/log.h"
#include "base/vec.h"
#include "emu/emu.h"
#include "runner/private.h"
#include "space/guest.h"

const struct lp_family lp_runner_family = {.name = "arm64_runner"};

struct lp_runner {
	struct lp_emu *emu;
	struct lp_runner_options options;
	struct lp_target *target; /* the system's */
	LivePatchSystem *system;
	struct lp_control *control; /* with `place`: under `ends` */
	char place[LP_PLACE_MAX];
	pthread_mutex_t ends; /* of a name that is being made, and an end that would remove it */
	bool ended;
};

/* One per process: what the server calls has no argument. */
static struct lp_runner *the_runner;
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

static void session_lock(void)
{
	pthread_mutex_lock(&lock);
}

static void session_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

/* ---- commands ---- */

struct lp_guest_pauses lp_session_pauses(void)
{
	return lp_guest_pauses(the_runner->target);
}

static void show_stats(struct lp_call *c)
{
	lp_reply_row(c->reply, "%: %", LP_STR("name", "socket"), LP_STR("value", the_runner->place));
	if (*lp_installed_since())
		lp_reply_row(c->reply, "%: %", LP_STR("name", "installed since"),
			     LP_STR("value", lp_installed_since()));
}

static struct lp_control_options control_options(const struct lp_runner *r)
{
	return (struct lp_control_options){.commands = lp_runner_commands,
					   .nr_commands = lp_nr_runner_commands,
					   .program = "arm64_runner",
					   .version = r->options.version,
					   .allow = LP_LEVEL_CODE,
					   .stats = show_stats,
					   .commit_together = lp_changes_commit,
					   .lock = session_lock,
					   .unlock = session_unlock};
}

/* In quotes, with the escapes of C. */
static void add_quoted(struct lp_buf *line, const char *word)
{
	lp_buf_str(line, " \"");
	for (const unsigned char *p = (const unsigned char *)word; *p; p++) {
		if (*p < ' ' || *p > '~' || *p == '"' || *p == '\\')
			lp_buf_printf(line, "\\%03o", *p);
		else
			lp_buf_printf(line, "%c", *p);
	}
	lp_buf_str(line, "\"");
}

int lp_runner_do(struct lp_runner *r, const char *const *words, size_t nr, void (*row)(const char *line, void *arg),
		 void *arg, struct lp_err *err)
{
	struct lp_control_options o = control_options(r);
	struct lp_buf line = {0};
	int rc;

	for (size_t i = 0; i < nr; i++) {
		if (strcmp(words[i], ";") == 0)
			lp_buf_str(&line, " ;");
		else
			add_quoted(&line, words[i]);
	}
	rc = lp_control_run(&o, lp_buf_cstr(&line), row, arg, err);
	lp_buf_free(&line);
	return rc;
}

/* ---- the server ---- */

/* The table is the thread's own; /proc/self/fd is that of the process's first thread, which is the guest's. */
int lp_session_tells(bool on, struct lp_err *err)
{
	int fd = open(on ? "/proc/self/fd/2" : "/dev/null", O_WRONLY | O_APPEND | O_CLOEXEC);

	if (fd < 0)
		return lp_fail_sys(err, errno, "cannot write to the program's standard error");
	dup2(fd, STDERR_FILENO);
	close(fd);
	return 0;
}

/* Nothing of the guest's stays open because of us. */
static void leave_descriptors(bool tells)
{
	int null = open("/dev/null", O_RDWR);

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	close_range(STDERR_FILENO + 1, ~0U, 0);
	if (tells)
		lp_session_tells(true, NULL);
}

static int listen_at_place(struct lp_runner *r, struct lp_err *err)
{
	int rc;

	if (!lp_place_make(&lp_runner_family, geteuid(), getpid(), r->place)) {
		r->place[0] = 0;
		return lp_fail(err, ENOENT, "there is no private directory for the socket");
	}
	rc = lp_control_listen(r->control, r->place, err);
	if (rc == 0)
		lp_place_sweep(&lp_runner_family, r->place);
	else
		r->place[0] = 0;
	return rc;
}

static int start(struct lp_runner *r, struct lp_err *err)
{
	struct lp_control_options o = control_options(r);
	int rc = 0;

	pthread_mutex_lock(&r->ends);
	if (!r->ended)
		rc = lp_control_start(&o, &r->control, err);
	if (rc == 0 && !r->ended)
		rc = listen_at_place(r, err);
	pthread_mutex_unlock(&r->ends);
	return rc;
}

static void watch_files(struct lp_runner *r)
{
	for (const char *const *file = r->options.watch; file && *file; file++)
		if (livepatch_watch(r->system, *file) < 0)
			lp_warn("%s is not watched: %s", *file, livepatch_last_error()->text);
}

/* The server's thread inherits the table of descriptors that is made here. */
static void *begin_to_serve(void *arg)
{
	struct lp_runner *r = arg;
	struct lp_err err = {0};

	if (unshare(CLONE_FILES)) {
		lp_warn("clients are not served: no table of descriptors of its own: %s", strerrordesc_np(errno));
		return NULL;
	}
	leave_descriptors(r->options.debug);
	if (start(r, &err) < 0)
		lp_warn("clients are not served: %s", err.text);
	watch_files(r);
	return NULL;
}

/* One that takes no signals and is not waited for. */
static void start_thread(void *(*run)(void *arg), struct lp_runner *r)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, before;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&thread, &attr, run, r);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (rc)
		lp_warn("no thread for live patches: %s", strerrordesc_np(rc));
}

void lp_runner_serve(struct lp_runner *r)
{
	start_thread(begin_to_serve, r);
}

/* ---- SIGHUP ---- */

static void *reload(void *arg)
{
	struct lp_runner *r = arg;

	if (unshare(CLONE_FILES))
		return NULL;
	leave_descriptors(r->options.debug);
	if (livepatch_reload(r->system) < 0)
		lp_warn("SIGHUP: the patches stay as they are: %s", livepatch_last_error()->text);
	return NULL;
}

/*
 * SIGHUP means "read your files again" to programs that have any.  The guest's
 * own meaning comes first: one that handles it, or ignores it, gets it, and
 * nobody else does unless the option says so; one that it would end reloads
 * instead when patch files are loaded.
 */
static int on_signal(struct lp_guest_thread *t, const siginfo_t *info, void *arg)
{
	struct lp_runner *r = the_runner;
	struct lp_sigaction act;
	bool ends;

	if (info->si_signo != SIGHUP)
		return info->si_signo;
	lp_signals_action(t, SIGHUP, &act);
	ends = act.handler == 0;
	if (!r->options.reloads_on_hup && (!ends || !lp_system_has_files(r->system)))
		return SIGHUP;
	start_thread(reload, r);
	return ends ? 0 : SIGHUP;
}

/* ---- what happens to the guest ---- */

static void take_all(struct lp_runner *r)
{
	session_lock();
	lp_system_hold(r->system);
	pthread_mutex_lock(&r->ends);
}

static void give_all(struct lp_runner *r)
{
	pthread_mutex_unlock(&r->ends);
	lp_system_release(r->system);
	session_unlock();
}

static void forking(struct lp_emu *emu, bool begins, void *arg)
{
	struct lp_guest_thread *self = lp_guest_self();

	if (!begins) {
		give_all(the_runner);
		return;
	}
	lp_thread_enter_host(self);
	take_all(the_runner);
	lp_thread_leave_host(self);
}

/* The lock's owner is a thread with another number here. */
static void renew_locks(struct lp_runner *r)
{
	lp_system_release(r->system);
	pthread_mutex_unlock(&r->ends);
	lock = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
}

static void forked(struct lp_emu *emu, void *arg)
{
	struct lp_runner *r = the_runner;

	renew_locks(r);
	lp_control_forget(r->control);
	r->control = NULL;
	r->place[0] = 0;
	r->ended = false; /* a thread that the child does not have was ending the parent */
	lp_changes_forked();
	lp_runner_serve(r);
}

static void exiting(struct lp_emu *emu, int status, void *arg)
{
	struct lp_runner *r = the_runner;
	struct lp_guest_thread *self = lp_guest_self();

	/* Another thread that forks has the lock, and waits for this one to stand still. */
	if (self)
		lp_thread_enter_host(self);
	pthread_mutex_lock(&r->ends);
	r->ended = true;
	if (r->control)
		lp_control_unlink(r->control);
	pthread_mutex_unlock(&r->ends);
}

/* ---- its life ---- */

struct lp_runner *lp_runner_new(struct lp_emu *emu, const struct lp_runner_options *o, struct lp_err *err)
{
	struct lp_target *target;
	struct lp_runner *r;

	if (lp_target_open_guest(&target, emu, err) < 0)
		return NULL;
	r = lp_alloc(sizeof *r);
	r->emu = emu;
	r->options = *o;
	pthread_mutex_init(&r->ends, NULL);
	if (o->debug)
		livepatch_set_debug(1);
	r->target = target;
	r->system = lp_system_over_target(target, "guest");
	livepatch_set_system(r->system);
	lp_emu_watch(emu, &(struct lp_emu_events){
				  .forking = forking, .forked = forked, .exiting = exiting, .signal = on_signal});
	the_runner = r;
	return r;
}
