/*
 * Updates, as arm64_runner sees them: update_module, which is installed beside
 * it, does all of it.  This program is static and has no network in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runner/config.h"
#include "base/version.h"
#include "tool/arm64_runner.h"
#include "update/state.h"

#define USUAL_INTERVAL_S 86400

/* ---- the program beside us ---- */

struct beside {
	char self[PATH_MAX], module[PATH_MAX];
};

static int find_self(char out[PATH_MAX], struct lp_err *err)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);

	path[len > 0 ? len : 0] = 0;
	memcpy(out, path, sizeof path);
	return strchr(path, '/') ? 0 : lp_fail(err, ENOENT, "this program's own file cannot be found");
}

int runner_beside(const char *name, char *out, size_t size, struct lp_err *err)
{
	char self[PATH_MAX];

	if (find_self(self, err))
		return -ENOENT;
	if (snprintf(out, size, "%.*s/%s", (int)(strrchr(self, '/') - self), self, name) >= (int)size)
		return lp_fail(err, ENAMETOOLONG, "%s", self);
	return 0;
}

static int find_module(struct beside *b, struct lp_err *err)
{
	int rc = find_self(b->self, err);

	rc = rc ? rc : runner_beside("update_module", b->module, sizeof b->module, err);
	if (rc)
		return rc;
	if (access(b->module, X_OK))
		return lp_fail_sys(err, errno, "updates are update_module's, which should be beside this program: %s",
				   b->module);
	return 0;
}

/* ---- in the foreground ---- */

bool runner_wants_update(const struct runner_wish *w)
{
	return w->is_given[RUNNER_UPDATE] || w->is_given[RUNNER_CHANGELOG] || w->is_given[RUNNER_CHANGELOG_RC];
}

int runner_update(const struct runner_wish *w, struct lp_err *err)
{
	static const enum runner_option passed[] = {RUNNER_CHECK,     RUNNER_ROLLBACK,	   RUNNER_UNSIGNED,
						    RUNNER_CHANGELOG, RUNNER_CHANGELOG_RC, RUNNER_JSON};
	char options[LP_ARRAY_SIZE(passed)][32];
	const char *argv[LP_ARRAY_SIZE(passed) + 4] = {"update_module", "--program"};
	struct beside b;
	size_t nr = 3;

	if (find_module(&b, err))
		return EXIT_FAILURE;
	argv[2] = b.self;
	for (size_t i = 0; i < LP_ARRAY_SIZE(passed); i++)
		if (w->is_given[passed[i]]) {
			snprintf(options[i], sizeof options[i], "--%s", runner_rows[passed[i]].word);
			argv[nr++] = options[i];
		}
	argv[nr] = NULL;
	execv(b.module, (char *const *)argv);
	lp_fail_sys(err, errno, "%s cannot be run", b.module);
	return EXIT_FAILURE;
}

/* ---- beside the program that is run ---- */

/* Nothing of ours stays open in it, and it has no terminal. */
static void become_detached(void)
{
	int null = open("/dev/null", O_RDWR);

	setsid();
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	close_range(STDERR_FILENO + 1, ~0U, 0);
}

/* A child's child: the program that is run would be told of a child that it did not make. */
static void start_detached(const struct beside *b)
{
	const char *const argv[] = {"update_module", "--program", b->self, "--background", NULL};
	pid_t child = fork();

	if (child == 0) {
		become_detached();
		if (fork() == 0)
			execv(b->module, (char *const *)argv);
		_exit(0);
	}
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) {
	}
}

/* Whoever inherits orphans would get ours, and the program that is run would see it. */
static bool inherits_orphans(void)
{
	int subreaper = 0;

	return getpid() == 1 || prctl(PR_GET_CHILD_SUBREAPER, &subreaper) || subreaper;
}

static void look(struct lp_update_memory *m, unsigned interval_s)
{
	struct beside b;

	if (!inherits_orphans() && find_module(&b, NULL) == 0 && lp_update_memory_takes_turn(m, interval_s))
		start_detached(&b);
}

/* What the last look found; once, and to a person. */
static void tell_news(struct lp_update_memory *m)
{
	struct lp_version ours;
	bool is_old = lp_version_read(lp_program_version, &ours) &&
		      (m->state.available.major || m->state.available.minor || m->state.available.build) &&
		      lp_version_compare(&ours, &m->state.available) >= 0;

	if (!m->state.news[0] || !isatty(STDERR_FILENO))
		return;
	if (!is_old)
		fprintf(stderr, "arm64_runner: %s\n", m->state.news);
	m->state.news[0] = 0;
	lp_update_memory_save(m, NULL);
}

void runner_auto_update(const struct lp_runner_config *c)
{
	const char *repository = lp_update_repository(c->repository);
	struct lp_update_memory m;
	struct lp_err err = {0};

	if (!c->auto_update)
		return;
	if (!repository)
		lp_fail(&err, LP_EUSAGE, "%s", LP_NO_REPOSITORY);
	else if (lp_update_memory_open(&m, repository, &err) == 0) {
		tell_news(&m);
		look(&m, c->interval_s ? c->interval_s : USUAL_INTERVAL_S);
		lp_update_memory_close(&m);
	}
	if (err.code && isatty(STDERR_FILENO))
		fprintf(stderr, "arm64_runner: auto_update: %s\n", err.text);
}
