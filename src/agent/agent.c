/*
 * One agent in a process: its lock, its thread, its sockets, fork.
 */
#include "agent/agent.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#include "base/reserve.h"
#include "control/places.h"

/* ---- the lock ---- */

/* So long somebody waits who may have the loader's lock, for which a command waits with ours. */
#define FORK_PATIENCE_S 2
#define ENTER_PATIENCE_S 5

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static unsigned depth; /* how often its owner has it */
static bool orphaned;  /* a child whose fork could not wait: another thread was in the middle of something */

void lp_agent_lock(void)
{
	pthread_mutex_lock(&lock);
	depth++;
}

/* False: not in time. */
static bool lock_within(int seconds)
{
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += seconds;
	if (pthread_mutex_clocklock(&lock, CLOCK_MONOTONIC, &end) != 0)
		return false;
	depth++;
	return true;
}

void lp_agent_unlock(void)
{
	depth--;
	pthread_mutex_unlock(&lock);
}

static int check_whole(struct lp_err *err)
{
	if (!orphaned)
		return 0;
	return lp_fail(
		err, EBUSY,
		"this process was forked when its parent's agent was in the middle of a command: no agent in it");
}

int lp_agent_enter(struct lp_err *err)
{
	int rc = check_whole(err);

	if (rc == 0 && !lock_within(ENTER_PATIENCE_S))
		rc = lp_fail(err, EBUSY,
			     "the agent has been in the middle of a command for %d s: in the constructor of a library "
			     "it may "
			     "be waiting for this very thread",
			     ENTER_PATIENCE_S);
	return rc;
}

/* ---- the last failure ---- */

static __thread char last_error[sizeof((struct lp_err *)NULL)->text];

int lp_agent_result(int rc, const struct lp_err *err)
{
	if (rc < 0)
		snprintf(last_error, sizeof last_error, "%s", err->text[0] ? err->text : lp_strerror(rc));
	return rc;
}

const char *hotpatch_last_error(void)
{
	return last_error;
}

/* ---- commands ---- */

char *lp_words_join(char **words, int nr)
{
	struct lp_buf b = {0};

	for (int i = 0; i < nr; i++) {
		lp_buf_str(&b, i ? " " : "");
		lp_buf_str(&b, words[i]);
	}
	char *text = lp_strdup(lp_buf_cstr(&b));
	lp_buf_free(&b);
	return text;
}

static const struct lp_command commands[] = {
#define COMMAND(words, synopsis, level, run, summary) {words, synopsis, LP_LEVEL_##level, run, summary},
#include "agent/command.def"
#undef COMMAND
};

static int commit_together(int rank, void *const *changes, size_t nr, struct lp_err *err)
{
	switch ((enum lp_rank)rank) {
	case LP_RANK_FUNCTIONS:
		return lp_functions_switch(changes, nr, err);
	case LP_RANK_UNLOAD:
		return lp_libraries_unload(changes, nr, err);
	default:
		return -ENOSYS;
	}
}

static struct {
	struct lp_control *control;
	char primary[LP_PLACE_MAX], legacy[LP_PLACE_MAX];
	char *refusals[2]; /* why one of them is not there */
	enum lp_level allow;
	pid_t pid; /* that started it */
} agent = {.allow = LP_LEVEL_CODE};

static void show_socket(struct lp_call *c, const char *which, const char *path, const char *refusal)
{
	if (path[0])
		lp_reply_row(c->reply, "% socket: %", LP_STR("which", which), LP_STR("path", path));
	else
		lp_reply_row(c->reply, "% socket: none: %", LP_STR("which", which), LP_STR("refused", refusal));
}

static void show_stats(struct lp_call *c)
{
	lp_reply_row(c->reply, "functions upgraded: %", LP_UINT("functions_upgraded", lp_functions_upgraded()));
	show_socket(c, "primary", agent.primary, agent.refusals[0]);
	show_socket(c, "legacy", agent.legacy, agent.refusals[1]);
}

static void options(struct lp_control_options *o)
{
	*o = (struct lp_control_options){.commands = commands,
					 .nr_commands = LP_ARRAY_SIZE(commands),
					 .program = "hotpatch",
					 .version = HOTPATCH_VERSION,
					 .allow = agent.allow,
					 .stats = show_stats,
					 .commit_together = commit_together,
					 .lock = lp_agent_lock,
					 .unlock = lp_agent_unlock};
}

int hotpatch_run(const char *command, void (*reply)(const char *line, void *arg), void *arg)
{
	struct lp_control_options o;
	struct lp_err err = {0};

	options(&o);
	o.allow = LP_LEVEL_CODE;
	int rc = check_whole(&err);
	rc = rc < 0 ? rc : lp_control_run(&o, command, reply, arg, &err);
	return lp_agent_result(rc, &err);
}

/* ---- start and stop ---- */

static const struct lp_family family = {.name = "hotpatch", .has_legacy = true};

/* Whoever says something wants less than everything: what is none of the words is the least. */
static enum lp_level level_called(const char *word)
{
	if (!strcmp(word, "code"))
		return LP_LEVEL_CODE;
	return strcmp(word, "write") == 0 ? LP_LEVEL_WRITE : LP_LEVEL_READ;
}

/* The environment takes from what the program allows, and adds nothing. */
static void allow_by_environment(void)
{
	const char *word = secure_getenv("HOTPATCH_ALLOW");
	enum lp_level most = word ? level_called(word) : LP_LEVEL_CODE;

	agent.allow = agent.allow < most ? agent.allow : most;
}

static int listen_on(char path[LP_PLACE_MAX], char **refusal, struct lp_err *err)
{
	int rc = path[0] ? lp_control_listen(agent.control, path, err)
			 : lp_fail(err, ENOENT, "there is no private directory for the socket");

	lp_free(*refusal);
	*refusal = NULL;
	if (rc < 0) {
		*refusal = lp_strdup_line(err->text);
		path[0] = 0;
	}
	return rc;
}

static int start(struct lp_err *err)
{
	struct lp_control_options o;
	struct lp_err first = {0};

	if (agent.control && !lp_control_is_robbed(agent.control))
		return 0;
	lp_control_stop(agent.control);
	agent.control = NULL;
	if (getauxval(AT_SECURE))
		return lp_fail(err, EPERM, "this program runs with other rights than its user's: no agent in it");
	lp_reserve_make();
	allow_by_environment();
	options(&o);
	int rc = lp_control_start(&o, &agent.control, err);
	if (rc < 0)
		return rc;
	agent.pid = getpid();
	if (lp_place_make(&family, geteuid(), agent.pid, agent.primary))
		lp_place_sweep(&family, agent.primary);
	else
		agent.primary[0] = 0;
	snprintf(agent.legacy, sizeof agent.legacy, LP_PLACE_LEGACY, (int)agent.pid);
	rc = listen_on(agent.primary, &agent.refusals[0], &first);
	if (listen_on(agent.legacy, &agent.refusals[1], err) == 0 || rc == 0)
		return 0;
	lp_control_stop(agent.control);
	agent.control = NULL;
	return rc;
}

int hotpatch_start(void)
{
	struct lp_err err = {0};
	int rc = lp_agent_enter(&err);

	if (rc < 0)
		return lp_agent_result(rc, &err);
	rc = start(&err);
	lp_agent_unlock();
	return lp_agent_result(rc, &err);
}

/* Not under the lock while the thread ends: a command of its may be waiting for it. */
void hotpatch_stop(void)
{
	lp_agent_lock();
	struct lp_control *control = agent.control;
	agent.control = NULL;
	agent.primary[0] = agent.legacy[0] = 0;
	lp_agent_unlock();
	if (control)
		lp_control_stop(control);
}

static void *stop_in_thread(void *arg)
{
	hotpatch_stop();
	return NULL;
}

/* Signals are for the program's own threads. */
int hotpatch_dismiss(void)
{
	sigset_t all, before;
	pthread_t thread;
	struct lp_err err = {0};

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = -pthread_create(&thread, NULL, stop_in_thread, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc == 0)
		pthread_detach(thread);
	else
		lp_fail_sys(&err, -rc, "cannot start a thread");
	return lp_agent_result(rc, &err);
}

const char *hotpatch_socket(void)
{
	return agent.primary;
}

const char *hotpatch_legacy_socket(void)
{
	return agent.legacy;
}

int hotpatch_allow(enum hotpatch_level most)
{
	struct lp_err err = {0};
	int rc = lp_agent_enter(&err);

	if (rc < 0)
		return lp_agent_result(rc, &err);
	if (agent.control)
		rc = lp_fail(&err, EBUSY, "what clients may do is said before hotpatch_start()");
	else if (most > HOTPATCH_CODE)
		rc = lp_fail(&err, EINVAL, "not a level of hotpatch.h");
	else
		agent.allow = (enum lp_level)most;
	lp_agent_unlock();
	return lp_agent_result(rc, &err);
}

static bool quiesces;

bool lp_agent_quiesces(void)
{
	return __atomic_load_n(&quiesces, __ATOMIC_RELAXED);
}

void hotpatch_quiesce(void)
{
	struct lp_control *control = __atomic_load_n(&agent.control, __ATOMIC_ACQUIRE);

	if (!lp_agent_quiesces())
		__atomic_store_n(&quiesces, true, __ATOMIC_RELAXED);
	if (control)
		lp_control_quiesce(control);
}

/*
 * ---- fork: the child has no thread of ours, and its parent's sockets ----
 *
 * A library's constructor may fork, with the loader's lock held, while a
 * command holds ours and waits for the loader's.  So the wait has an end, and
 * the child that could not wait has no agent: it may have been copied in the
 * middle of a change of what we know.
 *
 * Or a command itself runs what forks (a constructor, an accessor): the child
 * is in the middle of that command then, and goes on with it, if with anything.
 */
static __thread bool fork_waits_no_more;

static void before_fork(void)
{
	fork_waits_no_more = !lock_within(FORK_PATIENCE_S);
}

static void after_fork(void)
{
	if (!fork_waits_no_more)
		lp_agent_unlock();
}

/* A recursive one cannot be unlocked: its owner is a thread with the number that this one had in the parent. */
static void renew_lock(unsigned times)
{
	lock = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
	depth = 0;
	while (times--)
		lp_agent_lock();
}

static bool is_set(const char *variable)
{
	const char *value = secure_getenv(variable);

	return value && !strcmp(value, "1");
}

static void start_in_child(void)
{
	if (hotpatch_start() < 0 && is_set("HOTPATCH_LOG"))
		fprintf(stderr, "hotpatch: %s\n", hotpatch_last_error());
}

static void in_child(void)
{
	lp_reserve_forked();
	bool had_agent = agent.control != NULL;
	unsigned inside = fork_waits_no_more ? 0 : depth - 1; /* without fork's own */

	lp_control_forget(agent.control);
	agent.control = NULL;
	agent.primary[0] = agent.legacy[0] = 0;
	orphaned = orphaned || fork_waits_no_more;
	renew_lock(inside);
	if (!orphaned && !inside) {
		lp_functions_forked();
		lp_libraries_forked();
	}
	if (had_agent && !inside && is_set("HOTPATCH_FORK"))
		start_in_child();
}

__attribute__((constructor)) static void watch_forks(void)
{
	lp_self_watch_forks(); /* its locks come after ours */
	pthread_atfork(before_fork, after_fork, in_child);
}

/* No lock is taken and nothing is waited for: the thread goes on until the very end, and so do the host's. */
void hotpatch_leave(void)
{
	struct lp_control *control = __atomic_load_n(&agent.control, __ATOMIC_ACQUIRE);

	if (control && agent.pid == getpid())
		lp_control_unlink(control);
}

/* What ends in another way than by exit() leaves its names, to be swept by the next agent of that user. */
__attribute__((destructor)) static void leave_at_exit(void)
{
	hotpatch_leave();
}
