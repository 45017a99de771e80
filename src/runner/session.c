/*
 * A runner's session: the system over the guest, the server, and what becomes
 * of both when the guest forks and ends.
 *
 * One lock is held while a client's commands run.  A guest thread that forks
 * takes it first, as a thread that stands still: the command may be waiting for
 * that.  So the child's copy of everything is whole.
 *
 * What the guest itself sets off (SIGHUP, code that it maps and that patches
 * wait for) is done by a thread of ours, the worker, with a table of
 * descriptors of its own, while the guest thread goes on, or stands still.
 */
#include "runner/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api.h"
#include "base/log.h"
#include "base/vec.h"
#include "emu/emu.h"
#include "emu/loader.h"
#include "runner/private.h"
#include "space/guest.h"

const struct lp_family lp_runner_family = {.name = "arm64_runner"};

enum { EXIT_REFUSED = 125 };

struct lp_runner {
	struct lp_emu *emu;
	struct lp_runner_options options;
	struct lp_target *target; /* the system's */
	LivePatchSystem *system;
	struct lp_control *control; /* with `place`: under `ends` */
	char place[LP_PLACE_MAX];
	pthread_mutex_t ends; /* of a name that is being made, and an end that would remove it */
	bool ended;
	int64_t serves_at_ms; /* of a forked child that is not served yet */

	/* The worker's: what it is to do, and what it has done. */
	pthread_mutex_t work;
	pthread_cond_t asked, answered;
	bool works, reloads;
	uint64_t tries_asked, tries_done;
	bool tries_well;    /* nothing that waited was refused before the program began */
	pid_t pid;	    /* of the process that has the worker */
	bool is_young;	    /* and was when it got it */
	struct stat told;   /* standard error when the program began */
	atomic_bool awaits; /* the program's own first instruction, because something waits for a library */
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

/*
 * The guest's standard error, for as long as a line takes: who reads it shall
 * see its end when the guest closes it.  Only if it is still what it was when
 * the program began: another file may have the number by now.  -1: it is not.
 */
static int borrow_stderr(const struct lp_runner *r)
{
	int process = pidfd_open(getpid(), 0), fd = process < 0 ? -1 : pidfd_getfd(process, STDERR_FILENO, 0);
	struct stat now;

	if (process >= 0)
		close(process);
	if (fd >= 0 && (fstat(fd, &now) || now.st_dev != r->told.st_dev || now.st_ino != r->told.st_ino)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

enum { TELL_WAIT_MS = 1000 };

/* Nobody waits for who does not read. */
static void write_line(int fd, const char *line)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	char text[PIPE_BUF];
	int len = snprintf(text, sizeof text, "arm64_runner: %s\n", line);

	if (len >= (int)sizeof text)
		text[sizeof text - 2] = '\n';
	if (poll(&p, 1, TELL_WAIT_MS) == 1 && write(fd, text, strlen(text)) < 0)
		lp_debug("nobody is told: %s", strerrordesc_np(errno));
}

/* For threads whose table of descriptors is not the guest's. */
static void tell(const char *line)
{
	int fd = borrow_stderr(the_runner);

	if (fd < 0)
		return;
	write_line(fd, line);
	close(fd);
}

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
	int null;

	close_range(STDERR_FILENO + 1, ~0U, 0); /* first: there may be as many as the limit lets there be */
	null = open("/dev/null", O_RDWR);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (null > STDERR_FILENO)
		close(null);
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

/* ---- patches by build-id ---- */

static bool take_patch(struct lp_runner *r, const char *file, void (*say)(const char *line, void *arg), void *arg)
{
	const char *const words[] = {"patch", "load", file};
	struct lp_err err = {0};
	char *line;

	if (lp_runner_do(r, words, LP_ARRAY_SIZE(words), NULL, NULL, &err) == 0)
		return true;
	line = lp_sprintf("%s does not fit, and is not applied: %s", file, err.text);
	say(line, arg);
	lp_free(line);
	return false;
}

static bool can_be_watched(const char *file)
{
	const char *dot = strrchr(file, '.');

	return dot && !strcmp(dot, ".json");
}

/* Its own list, which lives as long as it does: of the given ones, and of these. */
static void watch_too(struct lp_runner *r, const lp_config_paths *files)
{
	LP_VEC(const char *) all = {0};

	for (const char *const *file = r->options.watch; file && *file; file++)
		lp_vec_push(&all, *file);
	for (size_t i = 0; i < files->nr; i++)
		lp_vec_push(&all, files->items[i]);
	lp_vec_push(&all, NULL);
	r->options.watch = all.items;
}

void lp_runner_take_patches(struct lp_runner *r, const char *folder, void (*say)(const char *line, void *arg),
			    void *arg)
{
	lp_config_paths found = {0}, watched = {0};
	struct lp_err err = {0};

	if (lp_fitting_find(r->target, folder, &found, &err))
		say(err.text, arg);
	for (size_t i = 0; i < found.nr; i++) {
		if (take_patch(r, found.items[i], say, arg) && can_be_watched(found.items[i]))
			lp_vec_push(&watched, found.items[i]);
		else
			lp_free(found.items[i]);
	}
	watch_too(r, &watched);
	lp_vec_free(&found);
	lp_vec_free(&watched);
}

/* ---- the server, continued ---- */

static void watch_file(struct lp_runner *r, const char *file)
{
	char *line;

	if (lp_system_watch_loaded(r->system, file) >= 0)
		return;
	line = lp_sprintf("%s is not watched: %s", file, livepatch_last_error()->text);
	tell(line);
	lp_free(line);
}

/* One that waits for a library is watched once it is loaded. */
static void watch_files(struct lp_runner *r)
{
	for (const char *const *file = r->options.watch; file && *file; file++) {
		session_lock();
		bool waits = lp_pending_has_file(*file);
		session_unlock();
		if (!waits)
			watch_file(r, *file);
	}
}

static void tell_refusal(const char *why, void *arg)
{
	char *line = lp_sprintf("a patch file changed, and the patches stay as they are: %s", why);

	tell(line);
	lp_free(line);
}

/* ---- the worker ---- */

static void reload(struct lp_runner *r)
{
	char *line;

	if (livepatch_reload(r->system) >= 0)
		return;
	line = lp_sprintf("SIGHUP: the patches stay as they are: %s", livepatch_last_error()->text);
	tell(line);
	lp_free(line);
}

static void on_applied(const char *verb, const char *first)
{
	struct lp_runner *r = the_runner;

	for (const char *const *file = r->options.watch; !strcmp(verb, "load") && file && *file; file++)
		if (!strcmp(*file, first))
			watch_file(r, first);
}

static bool try_waiting(struct lp_runner *r)
{
	bool well;

	session_lock();
	well = lp_pending_try(r, on_applied, tell);
	session_unlock();
	return well;
}

/* With r->work in hand, which is put down meanwhile. */
static void work_once(struct lp_runner *r)
{
	uint64_t asked = r->tries_asked;
	bool reloads = r->reloads, tries = asked != r->tries_done, well = r->tries_well;

	r->reloads = false;
	pthread_mutex_unlock(&r->work);
	if (reloads)
		reload(r);
	if (tries)
		well = try_waiting(r);
	pthread_mutex_lock(&r->work);
	r->tries_well = well;
	r->tries_done = asked;
	pthread_cond_broadcast(&r->answered);
}

static void work(struct lp_runner *r)
{
	pthread_mutex_lock(&r->work);
	for (;;) {
		while (!r->reloads && r->tries_asked == r->tries_done)
			pthread_cond_wait(&r->asked, &r->work);
		work_once(r);
	}
}

static int64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/*
 * Most programs are at their end in a few milliseconds: a socket and its thread would cost them more than they do, as
 * would to wait with their end for a socket that is just being made.
 */
enum { AGE_MS = 10 };

static struct timespec in_ms(int ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += (t.tv_nsec + ms * 1000000L) / 1000000000;
	t.tv_nsec = (t.tv_nsec + ms * 1000000L) % 1000000000;
	return t;
}

/* Until the program is no longer young, or has something for us to do. */
static void await_age(struct lp_runner *r)
{
	struct timespec old = in_ms(AGE_MS);
	int rc = 0;

	pthread_mutex_lock(&r->work);
	while (rc == 0 && !r->reloads && r->tries_asked == r->tries_done)
		rc = pthread_cond_clockwait(&r->asked, &r->work, CLOCK_MONOTONIC, &old);
	pthread_mutex_unlock(&r->work);
}

/* The server's thread, and the watching one, inherit the table of descriptors that is made here. */
static void *begin_to_serve(void *arg)
{
	struct lp_runner *r = arg;
	struct lp_err err = {0};

	if (r->is_young)
		await_age(r);
	if (unshare(CLONE_FILES)) {
		lp_warn("clients are not served: no table of descriptors of its own: %s", strerrordesc_np(errno));
		return NULL;
	}
	leave_descriptors(r->options.debug);
	if (start(r, &err) < 0)
		lp_warn("clients are not served: %s", err.text);
	watch_files(r);
	work(r);
	return NULL;
}

/* One that takes no signals and is not waited for. */
static bool start_thread(void *(*run)(void *arg), struct lp_runner *r)
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
	return !rc;
}

static void await_program(struct lp_runner *r);

void lp_runner_serve(struct lp_runner *r)
{
	lp_pending_close();
	if (lp_pending_count() && !r->works) /* a forked child's program has begun, or is awaited already */
		await_program(r);
	r->is_young = (!r->pid || clock_ms() < r->serves_at_ms) && !(r->options.watch && *r->options.watch) &&
		      !lp_pending_count();
	r->pid = getpid();
	r->works = true;
	if (!start_thread(begin_to_serve, r))
		r->works = false;
}

/* ---- SIGHUP ---- */

static void ask_for_reload(struct lp_runner *r)
{
	pthread_mutex_lock(&r->work);
	r->reloads = true;
	pthread_cond_signal(&r->asked);
	pthread_mutex_unlock(&r->work);
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
	if (!r->options.reloads_on_hup && (!ends || !(lp_system_has_files(r->system) || lp_pending_count())))
		return SIGHUP;
	ask_for_reload(r);
	return ends ? 0 : SIGHUP;
}

/* ---- code that patches wait for ---- */

/* A guest thread stands still until all that waits was tried. */
static bool try_again(struct lp_runner *r, struct lp_guest_thread *t)
{
	bool well;

	lp_thread_enter_host(t);
	pthread_mutex_lock(&r->work);
	uint64_t mine = ++r->tries_asked;
	pthread_cond_signal(&r->asked);
	while (r->tries_done < mine)
		pthread_cond_wait(&r->answered, &r->work);
	well = r->tries_well;
	pthread_mutex_unlock(&r->work);
	lp_thread_leave_host(t);
	return well;
}

/* Asked at every mapping of code: takes no lock, which a client's command may hold for as long as it waits for a thread. */
static bool has_work(struct lp_runner *r, struct lp_guest_thread *t)
{
	return lp_pending_count() && t && r->works && r->pid == getpid();
}

/* What is refused before the program's own first instruction keeps it from running. */
static void try_or_end(struct lp_runner *r, struct lp_guest_thread *t, bool begins)
{
	if (!try_again(r, t) && begins)
		lp_process_exit(r->emu, EXIT_REFUSED);
}

static void mapped(struct lp_emu *emu, struct lp_range range, void *arg)
{
	struct lp_runner *r = the_runner;
	struct lp_guest_thread *t = lp_guest_self();
	struct lp_guest_area area;

	if (has_work(r, t) && lp_mem_area(emu, range.start, &area) && area.prot & PROT_EXEC)
		try_or_end(r, t, atomic_load(&r->awaits));
}

static uint64_t program_entry(const struct lp_emu *emu)
{
	return emu->loaded->program.entry;
}

static void await_program(struct lp_runner *r)
{
	if (!r->emu->loaded->interpreter.path)
		return;
	atomic_store(&r->awaits, true);
	lp_block_breakpoint(r->emu->blocks, program_entry(r->emu), true);
}

/* At our breakpoint, or any instruction where each is looked at.  Once the dynamic linker is done, names that are still
 * unknown are mistakes. */
static void at_instruction(struct lp_guest_thread *t, void *arg)
{
	struct lp_runner *r = the_runner;

	if (t->cpu.pc != program_entry(r->emu) || !atomic_exchange(&r->awaits, false))
		return;
	lp_block_breakpoint(r->emu->blocks, t->cpu.pc, false);
	lp_pending_program_begins();
	if (has_work(r, t))
		try_or_end(r, t, true);
}

/* ---- what happens to the guest ---- */

static void take_all(struct lp_runner *r)
{
	session_lock();
	lp_system_hold(r->system);
	pthread_mutex_lock(&r->ends);
	pthread_mutex_lock(&r->work);
}

static void give_all(struct lp_runner *r)
{
	pthread_mutex_unlock(&r->work);
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

/* Nobody here waits for an answer; what was asked for is the parent's. */
static void new_work(struct lp_runner *r)
{
	pthread_mutex_init(&r->work, NULL);
	pthread_cond_init(&r->asked, NULL);
	pthread_cond_init(&r->answered, NULL);
	r->reloads = false;
	r->tries_asked = r->tries_done = 0;
}

/* The lock's owner is a thread with another number here. */
static void renew_locks(struct lp_runner *r)
{
	lp_system_release(r->system);
	pthread_mutex_unlock(&r->ends);
	lock = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
	new_work(r);
}

/*
 * Most children execute something else at once, or end.  Threads and a socket cost them more than all the rest of a fork
 * does, so a child gets its worker at its first system call that may block for long, or that may block at all once it is
 * a little older; one that is young then has 10 ms more to end in.
 */
static void serve_later(struct lp_runner *r)
{
	if (lp_pending_count()) {
		lp_runner_serve(r);
		return;
	}
	r->works = false;
	r->serves_at_ms = clock_ms() + AGE_MS;
	atomic_store(&r->emu->tells_waits, true);
}

static void waits(struct lp_guest_thread *t, bool is_long, void *arg)
{
	struct lp_runner *r = the_runner;

	if ((!is_long && clock_ms() < r->serves_at_ms) || !atomic_exchange(&r->emu->tells_waits, false))
		return;
	lp_thread_enter_host(t);
	lp_runner_serve(r);
	lp_thread_leave_host(t);
}

static void forked(struct lp_emu *emu, void *arg)
{
	struct lp_runner *r = the_runner;

	renew_locks(r);
	r->control = NULL; /* its descriptors were in the worker's table, which is not here */
	r->place[0] = 0;
	r->ended = false; /* a thread that the child does not have was ending the parent */
	lp_changes_forked();
	serve_later(r);
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
	new_work(r);
	if (fstat(STDERR_FILENO, &r->told))
		memset(&r->told, 0, sizeof r->told);
	if (o->debug)
		livepatch_set_debug(1);
	r->target = target;
	r->system = lp_system_over_target(target, "guest");
	livepatch_set_system(r->system);
	lp_system_tell_refusals(r->system, tell_refusal, NULL);
	lp_pending_open(emu->loaded->interpreter.path != NULL);
	lp_emu_watch(emu, &(struct lp_emu_events){.forking = forking,
						  .forked = forked,
						  .waits = waits,
						  .exiting = exiting,
						  .signal = on_signal,
						  .mapped = mapped,
						  .breakpoint = at_instruction,
						  .block = at_instruction});
	the_runner = r;
	return r;
}
