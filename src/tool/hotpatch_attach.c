#include "tool/hotpatch_attach.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "space/space.h"
#include "tool/tool.h"

#define STARTING_MS 10 /* between two looks at a program that is just starting */

/* ---- attach ---- */

/* Beside this program as it was built, or where it was installed.  The caller frees it. */
static char *own_library(struct lp_err *err)
{
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

	self[len > 0 ? len : 0] = 0;
	char *slash = strrchr(self, '/'),
	     *built = lp_sprintf("%.*s/../agent/libhotpatch.so.0", slash ? (int)(slash - self) : 0, self);
	char *path = realpath(built, NULL);
	lp_free(built);
	path = path ? path : realpath(HOTPATCH_LIBRARY, NULL);
	if (!path)
		lp_fail(err, LP_EFILE, "libhotpatch.so.0 is not installed; attach PATH names another one");
	return path;
}

static char *library_path(const char *named, struct lp_err *err)
{
	char *path = named ? realpath(named, NULL) : own_library(err);

	if (!path && named)
		lp_fail_sys(err, errno, "cannot find \"%s\"", named);
	return path;
}

/* 0: there is an agent, and it may be asked. */
static int answers(pid_t pid, unsigned timeout_ms, struct lp_err *err)
{
	struct peer p;
	int rc = peer_open(&p, pid, timeout_ms, err);

	if (rc == 0)
		peer_close(&p);
	return rc;
}

/* What a thread was asked to do it does, even if that takes longer than somebody waits for it. */
static int told_of_time(pid_t pid, int rc, struct lp_err *err)
{
	if (rc == -LP_ETIMEOUT)
		lp_err_append(err,
			      "\n--timeout SEC waits longer; hotpatch -p %d version says whether the agent is there",
			      (int)pid);
	return rc;
}

/* A program that is just starting is asked again until it has brought in its C library. */
static int enter(pid_t pid, const char *path, bool only_this, unsigned timeout_ms, struct lp_err *err)
{
	int64_t end = clock_ms() + timeout_ms;
	int rc;

	while ((rc = lp_visitor_enter(pid, path, only_this, "hotpatch_start", timeout_ms, err)) == -LP_ESTARTING &&
	       clock_ms() < end)
		poll(NULL, 0, STARTING_MS);
	return told_of_time(pid, rc, err);
}

/* Somebody else at its socket, or a user who may not talk to it, does not keep us out: who may trace it may. */
int attach_agent(pid_t pid, const char *library, unsigned timeout_ms, struct lp_err *err)
{
	int rc = answers(pid, timeout_ms, err);

	if (rc == 0)
		return lp_fail(err, LP_EEXISTS, "process %d runs an agent already", (int)pid);
	if (rc == -LP_EGONE)
		return rc;
	char *path = library_path(library, err);
	if (!path)
		return err->code;
	*err = (struct lp_err){0};
	rc = enter(pid, path, library != NULL, timeout_ms, err);
	free(path);
	return rc < 0 ? rc : answers(pid, timeout_ms, err);
}

/* ---- detach ---- */

typedef LP_VEC(const char *) name_vec;

/* Names of the functions that are not what they were; they live as long as the rows. */
static void upgraded(const json_t *rows, name_vec *out)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		const char *name = json_string_value(json_object_get(row, "name"));

		if (name && json_integer_value(json_object_get(row, "level")) > 0)
			lp_vec_push(out, name);
	}
}

static int refuse(pid_t pid, const name_vec *names, struct lp_err *err)
{
	lp_fail(err, LP_EINUSE, "functions of process %d are upgraded; detach --force rolls them back:", (int)pid);
	for (size_t i = 0; i < names->nr; i++)
		lp_err_append(err, "%s %s", i ? "," : "", names->items[i]);
	return -LP_EINUSE;
}

/* All of them in one go. */
static int roll_back(struct peer *p, const name_vec *names, struct lp_err *err)
{
	LP_VEC(const char *) words = {0};
	json_t *rows;

	for (size_t i = 0; i < names->nr; i++) {
		if (i)
			lp_vec_push(&words, ";");
		lp_vec_push(&words, "func");
		lp_vec_push(&words, "rollback");
		lp_vec_push(&words, names->items[i]);
		lp_vec_push(&words, "0");
	}
	int rc = peer_ask(p, words.items, words.nr, PEER_LINES, &rows, err);
	if (rc == 0)
		json_decref(rows);
	lp_vec_free(&words);
	return rc;
}

static int make_original(struct peer *p, bool force, struct lp_err *err)
{
	const char *list[] = {"func", "list"};
	name_vec names = {0};
	json_t *rows;
	int rc = peer_ask(p, list, 2, PEER_ROWS, &rows, err);

	if (rc < 0)
		return rc;
	upgraded(rows, &names);
	if (names.nr)
		rc = force ? roll_back(p, &names, err) : refuse(p->client.pid, &names, err);
	lp_vec_free(&names);
	json_decref(rows);
	return rc;
}

/* Its end is the end of what connects us. */
static int wait_for_end(struct peer *p, struct lp_err *err)
{
	struct pollfd end = {.fd = p->client.fd, .events = POLLIN | POLLRDHUP};
	char byte;
	int ready;

	do {
		ready = poll(&end, 1, (int)p->timeout_ms);
	} while (ready < 0 && errno == EINTR);
	if (ready > 0 && recv(p->client.fd, &byte, 1, MSG_DONTWAIT) <= 0)
		return 0;
	return lp_fail(err, LP_ETIMEOUT,
		       "the agent of process %d was told to stop, and has not within %g s; it may yet",
		       (int)p->client.pid, p->timeout_ms / 1000.0);
}

int detach_agent(pid_t pid, bool force, unsigned timeout_ms, struct lp_err *err)
{
	struct peer p;
	int rc = peer_open(&p, pid, timeout_ms, err);

	if (rc < 0)
		return rc;
	rc = make_original(&p, force, err);
	rc = rc < 0 ? rc : told_of_time(pid, lp_visitor_leave(pid, "hotpatch_dismiss", timeout_ms, err), err);
	rc = rc < 0 ? rc : wait_for_end(&p, err);
	peer_close(&p);
	return rc;
}
