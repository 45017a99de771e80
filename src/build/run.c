#include "build/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "build/guardian.h"

#define TICK_MS 100
#define GRACE_TICKS 30	  /* between SIGTERM and SIGKILL */
#define LOG_TAIL_MAX 1200 /* what fits into struct lp_err, which people read */

/* ---- starting ---- */

static int redirect(posix_spawn_file_actions_t *files, const struct lp_run *r)
{
	int rc = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (!rc)
		rc = posix_spawn_file_actions_addopen(files, STDOUT_FILENO, r->log ? r->log : "/dev/null",
						      O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (!rc)
		rc = posix_spawn_file_actions_adddup2(files, STDOUT_FILENO, STDERR_FILENO);
	if (!rc && r->cwd)
		rc = posix_spawn_file_actions_addchdir_np(files, r->cwd);
	return rc;
}

/* A group of its own, and no signal blocked or ignored that was not so by nature. */
static int set_apart(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setpgroup(attr, 0);
	posix_spawnattr_setsigmask(attr, &none);
	posix_spawnattr_setsigdefault(attr, &all);
	return posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

static void child_environment(lp_env_vec *env, const struct lp_run *r, const char *temporary)
{
	lp_env_copy(env, r->env ? (char *const *)r->env : environ);
	if (temporary)
		lp_env_set(env, r->temporary ? r->temporary : "TMPDIR", temporary);
	lp_env_end(env);
}

static int start(struct lp_run *r, const char *temporary, struct lp_err *err)
{
	lp_env_vec env = {0};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attr);
	int rc = redirect(&files, r);
	if (!rc)
		rc = set_apart(&attr);
	child_environment(&env, r, temporary);
	if (!rc)
		rc = posix_spawnp(&r->pid, r->argv[0], &files, &attr, (char *const *)r->argv, env.items);
	lp_env_free(&env);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	if (rc)
		return lp_fail_sys(err, rc, "cannot run %s", r->argv[0]);
	r->group = r->pid;
	r->pidfd = (int)syscall(SYS_pidfd_open, r->pid, 0);
	return 0;
}

/* ---- waiting ---- */

static bool reap(struct lp_run *r)
{
	int status;
	pid_t got = waitpid(r->pid, &status, WNOHANG);
	if (got == 0 || (got < 0 && errno == EINTR))
		return false;
	r->status = got < 0 ? 127 : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	lp_close(r->pidfd);
	r->pid = 0;
	return true;
}

/* Until one of them may have ended or a tick has passed.  Without pidfds (Linux before 5.3) it is the tick. */
static void wait_a_while(const struct lp_run *runs, size_t nr)
{
	LP_VEC(struct pollfd) fds = {0};
	for (size_t i = 0; i < nr; i++)
		if (runs[i].pid)
			lp_vec_push(&fds, ((struct pollfd){.fd = runs[i].pidfd, .events = POLLIN}));
	poll(fds.items, fds.nr, TICK_MS);
	lp_vec_free(&fds);
}

/* A group outlives its leader, who is the only one that we can wait for. */
static bool is_group_alive(const struct lp_run *r)
{
	return r->group && kill(-r->group, 0) == 0;
}

static size_t reap_all(struct lp_run *runs, size_t nr, struct lp_guardian *guardian)
{
	size_t running = 0;
	for (size_t i = 0; i < nr; i++) {
		if (!runs[i].pid)
			continue;
		bool ended = reap(&runs[i]);
		running += !ended;
		if (ended && !is_group_alive(&runs[i]))
			lp_guardian_tell(guardian, -runs[i].group);
	}
	return running;
}

static size_t tell_all(const struct lp_run *runs, size_t nr, int what)
{
	size_t alive = 0;
	for (size_t i = 0; i < nr; i++)
		if (is_group_alive(&runs[i])) {
			alive++;
			if (what)
				kill(-runs[i].group, what);
		}
	return alive;
}

/* Where nobody reaps orphans (process 1 of some containers) a dead group stays; that is not waited for. */
static void end_all(struct lp_run *runs, size_t nr, struct lp_guardian *guardian)
{
	tell_all(runs, nr, SIGTERM);
	for (int ticks = 0; reap_all(runs, nr, guardian) + tell_all(runs, nr, 0) && ticks < 2 * GRACE_TICKS; ticks++) {
		if (ticks >= GRACE_TICKS)
			tell_all(runs, nr, SIGKILL);
		wait_a_while(runs, nr);
	}
}

int lp_watch_look(const struct lp_watch *watch, struct lp_err *err)
{
	if (watch && watch->interrupted && *watch->interrupted)
		return lp_fail(err, LP_EINTERRUPTED, "interrupted; what was running has been ended");
	if (watch && watch->tick)
		watch->tick(watch->arg);
	return 0;
}

int lp_run_all(struct lp_run *runs, size_t nr, unsigned jobs, const struct lp_watch *watch, struct lp_err *err)
{
	size_t started = 0, running = 0;
	struct lp_guardian guardian;
	int rc = lp_watch_look(watch, err);
	lp_guardian_begin(&guardian);
	for (size_t i = 0; i < nr; i++)
		runs[i].pid = runs[i].group = 0;
	while (rc == 0 && (started < nr || running)) {
		while (rc == 0 && started < nr && running < (jobs ? jobs : 1))
			if ((rc = start(&runs[started++], guardian.temporary, err)) == 0) {
				lp_guardian_tell(&guardian, runs[started - 1].group);
				running++;
			}
		if (rc == 0) {
			wait_a_while(runs, started);
			running = reap_all(runs, started, &guardian);
			rc = lp_watch_look(watch, err);
		}
	}
	if (rc < 0)
		end_all(runs, started, &guardian);
	lp_guardian_end(&guardian);
	return rc;
}

/* ---- environments ---- */

void lp_env_copy(lp_env_vec *out, char *const *from)
{
	for (; *from; from++)
		lp_vec_push(out, lp_strdup(*from));
}

static bool is_variable(const char *entry, const char *name)
{
	size_t len = strlen(name);
	return strncmp(entry, name, len) == 0 && entry[len] == '=';
}

void lp_env_set(lp_env_vec *env, const char *name, const char *value)
{
	size_t kept = 0;
	for (size_t i = 0; i < env->nr; i++) {
		if (is_variable(env->items[i], name))
			lp_free(env->items[i]);
		else
			env->items[kept++] = env->items[i];
	}
	env->nr = kept;
	if (value)
		lp_vec_push(env, lp_sprintf("%s=%s", name, value));
}

void lp_env_end(lp_env_vec *env)
{
	lp_vec_push(env, NULL);
}

void lp_env_free(lp_env_vec *env)
{
	for (size_t i = 0; i < env->nr; i++)
		lp_free(env->items[i]);
	lp_vec_free(env);
}

/* ---- logs ---- */

/* Where the last `lines` lines begin. */
static size_t last_lines(const char *text, size_t len, size_t lines)
{
	size_t at = len && text[len - 1] == '\n' ? len - 1 : len;
	for (; at; at--)
		if (text[at - 1] == '\n' && !--lines)
			break;
	return at;
}

void lp_log_tail(struct lp_buf *out, const char *log, size_t lines)
{
	char text[LOG_TAIL_MAX];
	int fd = open(log, O_RDONLY | O_CLOEXEC);
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	off_t from = size > LOG_TAIL_MAX ? size - LOG_TAIL_MAX : 0;
	size_t len = (size_t)(size - from);
	if (fd >= 0 && lp_pread_full(fd, text, len, from) == 0) {
		size_t at = last_lines(text, len, lines);
		size_t end = len && text[len - 1] == '\n' ? len - 1 : len;
		lp_buf_add(out, text + at, end - at);
	}
	lp_close(fd);
}
