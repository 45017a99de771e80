/*
 * Asks a runner that runs: the one of that number, or the only one of this user.
 */
#include "tool/arm64_runner.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "control/control.h"
#include "runner/runner.h"
#include "tool/hotpatch_where.h"
#include "tool/tool.h"

#define PATIENCE_MS 10000
#define NAME_MAX_SHOWN 64
#define YOUNG_MS 500
#define LOOK_MS 5

/* ---- which runner ---- */

struct found {
	pid_vec pids;
};

/* Nobody waits here for one of many. */
static void note_runner(pid_t pid, const char *path, void *arg)
{
	struct lp_control_client client;
	struct found *f = arg;
	int rc = lp_control_connect(path, pid, 0, &client, NULL);

	if (rc == 0)
		lp_control_close(&client);
	if (rc == 0 || rc == -EAGAIN)
		lp_vec_push(&f->pids, pid);
}

static void name_of(pid_t pid, char out[NAME_MAX_SHOWN])
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
	f = fopen(path, "re");
	if (!f || !fgets(out, NAME_MAX_SHOWN, f))
		snprintf(out, NAME_MAX_SHOWN, "?");
	if (f)
		fclose(f);
	out[strcspn(out, "\n")] = 0;
}

/* A number of /proc/PID/stat (proc_pid_stat(5)); the first is 1.  0: nobody can tell. */
static unsigned long long stat_of(pid_t pid, unsigned field)
{
	struct lp_buf stat = {0};
	char path[64], *at = NULL;
	unsigned long long value = 0;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (lp_read_file(path, &stat, 4096, NULL) == 0)
		at = strrchr(lp_buf_cstr(&stat), ')'); /* of the second, in which there may be anything */
	for (; at && field > 2; field--)
		at = strchr(at + 1, ' ');
	if (at)
		value = strtoull(at, NULL, 10);
	lp_buf_free(&stat);
	return value;
}

/* 0: none, or nobody can tell. */
static pid_t parent_of(pid_t pid)
{
	return (pid_t)stat_of(pid, 4);
}

static bool is_found(const struct found *f, pid_t pid)
{
	for (size_t i = 0; i < f->pids.nr; i++)
		if (f->pids.items[i] == pid)
			return true;
	return false;
}

/* The runner whose program started this one, itself or by others; 0: the user did. */
static pid_t started_by(const struct found *f, pid_t pid)
{
	pid_t ancestor = parent_of(pid);

	while (ancestor > 1 && !is_found(f, ancestor))
		ancestor = parent_of(ancestor);
	return ancestor > 1 ? ancestor : 0;
}

static int refuse_choice(const struct found *f, struct lp_err *err)
{
	char name[NAME_MAX_SHOWN];
	pid_t parent;

	if (f->pids.nr == 0)
		return lp_fail(err, LP_EGONE, "no arm64_runner of user %u runs a program; give PROGRAM, or --pid N",
			       (unsigned)geteuid());
	lp_fail(err, LP_EUSAGE, "%zu runners of this user run; add --pid to say which:", f->pids.nr);
	for (size_t i = 0; i < f->pids.nr; i++) {
		name_of(f->pids.items[i], name);
		lp_err_append(err, "\n  --pid %d  %s", (int)f->pids.items[i], name);
		parent = started_by(f, f->pids.items[i]);
		if (parent)
			lp_err_append(err, ", a child of %d", (int)parent);
	}
	return -LP_EUSAGE;
}

/* Of a program and the children that it has, the program is meant: the only one that no other runner has started. */
static int choose(pid_t *pid, struct lp_err *err)
{
	struct found f = {0};
	size_t nr = 0;
	int rc = 0;

	lp_place_each(&lp_runner_family, geteuid(), note_runner, &f);
	for (size_t i = 0; i < f.pids.nr; i++) {
		if (started_by(&f, f.pids.items[i]))
			continue;
		*pid = f.pids.items[i];
		nr++;
	}
	if (nr != 1)
		rc = refuse_choice(&f, err);
	lp_vec_free(&f.pids);
	return rc;
}

/* ---- connecting ---- */

static int try_places(pid_t pid, const struct where *at, struct lp_control_client *client, struct lp_err *err)
{
	struct lp_err refusal = {0};
	char path[256];

	for (unsigned i = 0; lp_place_candidate(&lp_runner_family, i, at->root, at->uid, at->inner, path, sizeof path);
	     i++) {
		struct lp_err why = {0};
		int rc = path[0] ? lp_control_connect(path, pid, PATIENCE_MS, client, &why) : -ENOENT;
		if (rc >= 0)
			return 0;
		if (rc != -ENOENT && rc != -ENOTDIR && rc != -ECONNREFUSED && !refusal.code)
			refusal = why;
	}
	if (!refusal.code)
		return lp_fail(err, LP_EGONE, "process %d is no arm64_runner that can be asked", (int)pid);
	*err = refusal;
	return refusal.code;
}

static bool is_young(pid_t pid)
{
	struct timespec now;
	int64_t start_ms = (int64_t)stat_of(pid, 22) * 1000 / sysconf(_SC_CLK_TCK);

	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000 - start_ms < YOUNG_MS;
}

static bool has_ended_in(int process, int ms)
{
	struct pollfd p = {.fd = process, .events = POLLIN};

	return poll(&p, 1, ms) != 0;
}

/* A program that has just begun can be asked a moment later (runner/session.c): said with the number that the shell knows
 * at once, it is meant to be waited for. */
static int try_while_young(pid_t pid, const struct where *at, struct lp_control_client *client, struct lp_err *err)
{
	int process = pidfd_open(pid, 0), rc = -LP_EGONE;

	while (process >= 0 && rc == -LP_EGONE && is_young(pid) && !has_ended_in(process, LOOK_MS)) {
		*err = (struct lp_err){0};
		rc = try_places(pid, at, client, err);
	}
	if (process >= 0)
		close(process);
	return rc;
}

static int connect_to(pid_t pid, struct lp_control_client *client, struct lp_err *err)
{
	struct where at;
	int rc = pid ? 0 : choose(&pid, err);

	rc = rc ? rc : where_is(pid, &at, err);
	if (rc)
		return rc;
	if (geteuid() && geteuid() != at.uid)
		return lp_fail(err, LP_EPERM, "not allowed to talk to process %d: only its user (uid %u) and root are",
			       (int)pid, (unsigned)at.uid);
	rc = try_places(pid, &at, client, err);
	return rc == -LP_EGONE ? try_while_young(pid, &at, client, err) : rc;
}

/* ---- asking ---- */

static int code_named(const char *name)
{
	static const char *const names[] = {
#define LP_ERR(id, machine, sentence) machine,
#include "base/err.def"
#undef LP_ERR
	};

	for (size_t i = 0; name && i < LP_ARRAY_SIZE(names); i++)
		if (!strcmp(names[i], name))
			return LP_E_BASE + (int)i;
	return LP_EREMOTE;
}

/* The rows of a reply, which the caller gets. */
static int understand(const struct lp_buf *text, json_t **rows, struct lp_err *err)
{
	json_error_t why;
	json_t *reply = json_loadb((const char *)text->data, text->len, 0, &why);
	const json_t *error = json_object_get(reply, "error");
	const char *message = json_string_value(json_object_get(error, "message"));
	int rc = 0;

	if (json_is_true(json_object_get(reply, "ok")))
		*rows = json_incref(json_object_get(reply, "data"));
	else
		rc = lp_fail(err, code_named(json_string_value(json_object_get(error, "code"))), "%s",
			     message ? message : "the runner answers with what is no reply");
	json_decref(reply);
	return rc;
}

static int ask(struct lp_control_client *client, const runner_words *request, bool lines, json_t **rows,
	       struct lp_err *err)
{
	struct lp_buf text = {0};
	int rc = lp_control_ask(client, (const char *const *)request->items, request->nr, lines, PATIENCE_MS, &text,
				err);

	if (rc == -ECONNRESET)
		rc = lp_fail(err, LP_EGONE, "process %d ended before it answered", (int)client->pid);
	rc = rc ? rc : understand(&text, rows, err);
	lp_buf_free(&text);
	return rc;
}

/* ---- answers ---- */

static void show_lines(const json_t *rows, const runner_words *request)
{
	const json_t *row;
	size_t i;

	if (json_array_size(rows) == 0 && !strcmp(request->items[1], "list"))
		out_printf("no patches\n");
	json_array_foreach(rows, i, row) out_printf("%s\n", json_string_value(row) ? json_string_value(row) : "?");
}

static int answer(struct lp_control_client *client, const struct runner_wish *w, struct lp_err *err)
{
	bool json = w->is_given[RUNNER_JSON];
	json_t *all = json_array(), *rows = NULL;
	int rc = 0;

	for (size_t i = 0; i < w->requests.nr && rc == 0; i++) {
		rc = ask(client, &w->requests.items[i], !json, &rows, err);
		if (rc == 0 && json)
			json_array_extend(all, rows);
		else if (rc == 0)
			show_lines(rows, &w->requests.items[i]);
		if (rc == 0)
			json_decref(rows);
	}
	if (rc == 0 && json)
		json_emit(json_pack("{s:b, s:i, s:o}", "ok", 1, "pid", (int)client->pid, "data", json_incref(all)));
	json_decref(all);
	return rc;
}

void runner_say_json(const struct lp_err *err)
{
	out_setup(false, false, false);
	out_program("arm64_runner");
	json_emit(json_error(err));
	out_flush();
}

int runner_client(const struct runner_wish *w)
{
	struct lp_control_client client;
	struct lp_err err = {0};
	int rc;

	signal(SIGPIPE, SIG_IGN);
	out_setup(false, false, false);
	out_program("arm64_runner");
	rc = connect_to(w->pid, &client, &err);
	if (rc == 0) {
		rc = answer(&client, w, &err);
		lp_control_close(&client);
	}
	if (rc < 0 && w->is_given[RUNNER_JSON])
		json_emit(json_error(&err));
	else if (rc < 0)
		note_error(&err);
	int written = out_flush();
	if (written < 0 && rc == 0) {
		if (written != -EPIPE) /* a reader that went away is not worth a sentence */
			note("cannot write to standard output: %s", lp_strerror(written));
		return EXIT_REFUSED;
	}
	return status_of(rc);
}
