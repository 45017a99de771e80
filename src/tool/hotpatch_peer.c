#include "tool/hotpatch.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "control/places.h"
#include "tool/hotpatch_where.h"
#include "tool/tool.h"

/* ---- connecting ---- */

static const struct lp_family family = {.name = "hotpatch", .has_legacy = true};

/* What agents check, too: others need not even look for the sockets, which they could find to be anybody's. */
static bool may_ask(const struct where *w)
{
	return !geteuid() || geteuid() == w->uid;
}

/* Somebody else sits there, or somebody who shall not be seen: anybody can make such names in /tmp. */
static bool is_strange(int rc)
{
	return rc == -LP_EPERM;
}

/* Nobody there, or not any more. */
static bool is_absence(int rc)
{
	return rc == -ENOENT || rc == -ENOTDIR || rc == -ECONNREFUSED;
}

/* What came of the places, when it is no connection. */
struct search {
	int refused; /* by the process itself */
	struct lp_err refusal, strange;
};

/* 0: connected.  -ESRCH: there is no process any more. */
static int try_places(struct peer *p, pid_t pid, const struct where *w, struct search *s)
{
	int64_t end = clock_ms() + p->timeout_ms;
	char path[256];

	for (unsigned i = 0; lp_place_candidate(&family, i, w->root, w->uid, w->inner, path, sizeof path); i++) {
		int64_t now = clock_ms();
		struct lp_err why = {0};

		if (!path[0])
			continue;
		int rc = lp_control_connect(path, pid, now < end ? (unsigned)(end - now) : 0, &p->client, &why);
		if (rc >= 0 || rc == -ESRCH)
			return rc < 0 ? rc : 0;
		if (is_strange(rc) && !s->strange.code)
			s->strange = why;
		if (!is_strange(rc) && !is_absence(rc) && !s->refused) {
			s->refused = rc;
			s->refusal = why;
		}
	}
	return -ENOENT;
}

static int refuse(const struct peer *p, pid_t pid, const struct search *s, struct lp_err *err)
{
	if (s->refused == -EAGAIN)
		return lp_fail(err, LP_ETIMEOUT, "process %d takes no clients within %g s (--timeout SEC waits longer)",
			       pid, p->timeout_ms / 1000.0);
	if (s->refused)
		return lp_fail(err, LP_EPERM, "not allowed to talk to process %d: %s", pid, s->refusal.text);
	lp_fail(err, LP_ENOAGENT,
		"process %d runs no agent; start it with LD_PRELOAD=libpreload_hotpatch.so, or bring one in: hotpatch "
		"-p %d attach",
		pid, pid);
	if (s->strange.code)
		lp_err_append(err, "\n%s", s->strange.text);
	return -LP_ENOAGENT;
}

int peer_open(struct peer *p, pid_t pid, unsigned timeout_ms, struct lp_err *err)
{
	struct where w;
	struct search found = {0};
	int rc = where_is(pid, &w, err);

	*p = (struct peer){.client = {.fd = -1}, .timeout_ms = timeout_ms};
	if (rc < 0)
		return rc;
	if (!may_ask(&w))
		return lp_fail(err, LP_EPERM, "not allowed to talk to process %d: only its user (uid %u) and root are",
			       pid, (unsigned)w.uid);
	p->elsewhere = w.root[0] != 0;
	rc = try_places(p, pid, &w, &found);
	if (rc == -ESRCH)
		return lp_fail(err, LP_EGONE, "process %d has just ended", pid);
	return rc < 0 ? refuse(p, pid, &found, err) : 0;
}

void peer_close(struct peer *p)
{
	lp_control_close(&p->client);
}

/* ---- asking ---- */

static int code_named(const char *name)
{
	static const char *const names[] = {
#define LP_ERR(id, machine, sentence) machine,
#include "base/err.def"
#undef LP_ERR
	};

	for (size_t i = 0; name && i < LP_ARRAY_SIZE(names); i++) {
		if (!strcmp(names[i], name))
			return LP_E_BASE + (int)i;
	}
	return LP_EREMOTE;
}

/* Takes over the reply. */
static int unwrap(json_t *reply, json_t **out, struct lp_err *err)
{
	json_t *data = json_object_get(reply, "data"), *error = json_object_get(reply, "error");
	const char *message = json_string_value(json_object_get(error, "message"));
	int rc = 0;

	if (json_is_true(json_object_get(reply, "ok")))
		*out = json_is_array(data) ? json_incref(data) : json_array();
	else
		rc = lp_fail(err, code_named(json_string_value(json_object_get(error, "code"))), "%s",
			     message ? message : "the process answers with what is no reply");
	json_decref(reply);
	return rc;
}

/* A process that is held up now reads what was sent when it goes on, although nobody waits for its answer any more. */
static int told_of_time(int rc, struct lp_err *err)
{
	if (rc == -LP_ETIMEOUT)
		lp_err_append(err, " (--timeout SEC waits longer); what was asked for may happen yet");
	return rc;
}

/* What came of waiting for a reply, whose text this takes over. */
static int understand(const struct peer *p, int rc, struct lp_buf *text, json_t **out, struct lp_err *err)
{
	json_error_t why;
	json_t *reply = rc == 0 ? json_loadb((const char *)text->data, text->len, 0, &why) : NULL;

	lp_buf_free(text);
	if (rc == -ECONNRESET)
		return lp_fail(err, LP_EGONE, "process %d ended, or its agent did, before it answered", p->client.pid);
	if (rc == 0 && !reply)
		return lp_fail(err, LP_EREMOTE, "process %d answers with what is no JSON: %s", p->client.pid, why.text);
	return rc < 0 ? told_of_time(rc, err) : unwrap(reply, out, err);
}

int peer_ask(struct peer *p, const char *const *words, size_t nr, enum peer_form form, json_t **out, struct lp_err *err)
{
	struct lp_buf text = {0};
	int rc = lp_control_ask(&p->client, words, nr, form == PEER_LINES, p->timeout_ms, &text, err);

	return understand(p, rc, &text, out, err);
}

int peer_send(struct peer *p, const char *const *words, size_t nr, enum peer_form form, struct lp_err *err)
{
	return told_of_time(lp_control_send(&p->client, words, nr, form == PEER_LINES, p->timeout_ms, err), err);
}

int peer_receive(struct peer *p, json_t **out, struct lp_err *err)
{
	struct lp_buf text = {0};
	int rc = lp_control_receive(&p->client, p->timeout_ms, &text, err);

	return understand(p, rc, &text, out, err);
}

bool peer_wait(struct peer *p, unsigned ms)
{
	struct pollfd on[] = {{p->client.fd, POLLIN, 0}, {STDOUT_FILENO, 0, 0}};

	return poll(on, LP_ARRAY_SIZE(on), (int)ms) <= 0 || !on[1].revents;
}

/* ---- its name ---- */

void process_name(pid_t pid, char out[PROCESS_NAME_MAX])
{
	char path[64];
	struct lp_buf comm = {0};

	snprintf(path, sizeof path, "/proc/%d/comm", pid);
	bool known = lp_read_file(path, &comm, 4096, NULL) == 0;
	snprintf(out, PROCESS_NAME_MAX, "%s", known ? lp_buf_cstr(&comm) : "?");
	out[strcspn(out, "\n")] = 0;
	lp_buf_free(&comm);
}
