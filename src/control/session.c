#include "control/session.h"

#include <errno.h>
#include <string.h>

#include "base/reserve.h"

void lp_change_add(struct lp_call *c, const struct lp_change *change)
{
	lp_queue_add(c->changes, change);
}

void lp_session_init(struct lp_session *s, struct lp_service *service)
{
	*s = (struct lp_session){.service = service, .wire.line_max = service->options.limits.line_max};
}

void lp_session_abort(struct lp_session *s)
{
	lp_queue_release(&s->changes);
	lp_free(s->spoilt);
	s->spoilt = NULL;
	s->begun = false;
}

/* The functions of commands and changes run under the lock of the program that has them. */
static void lock(const struct lp_session *s)
{
	if (s->service->options.lock)
		s->service->options.lock();
}

static void unlock(const struct lp_session *s)
{
	if (s->service->options.unlock)
		s->service->options.unlock();
}

static void drop_reply(struct lp_session *s)
{
	lp_reply_free(&s->reply);
	lp_buf_free(&s->id);
}

void lp_session_free(struct lp_session *s)
{
	lock(s);
	lp_session_abort(s);
	unlock(s);
	drop_reply(s);
	lp_control_wire_free(&s->wire);
	lp_buf_free(&s->out);
}

/* ---- replies ---- */

static void begin_reply(struct lp_session *s, struct lp_request *r)
{
	enum lp_reply_form form =
		r->json ? (r->lines ? LP_REPLY_LINES : LP_REPLY_JSON) : (s->json ? LP_REPLY_JSON : LP_REPLY_TEXT);
	s->id = r->id;
	r->id = (struct lp_buf){0};
	s->reply = (struct lp_reply){.form = form, .prompt = s->prompt, .id = lp_buf_cstr(&s->id)};
}

static void end_reply(struct lp_session *s, int rc, const struct lp_err *err)
{
	s->service->errors += rc < 0;
	lp_reply_write(&s->reply, rc, err, &s->out);
	drop_reply(s);
}

/* ---- commands ---- */

static int check_level(const struct lp_session *s, const struct lp_command *c, struct lp_err *err)
{
	enum lp_level most = s->service->options.allow;
	if (c->level <= most)
		return 0;
	return lp_fail(err, LP_EPERM, "%s is a command of level %s, and this program allows no more than %s", c->words,
		       lp_level_name(c->level), lp_level_name(most));
}

static int run_command(struct lp_session *s, struct lp_words *w, struct lp_err *err)
{
	const struct lp_command *c;
	size_t taken;
	if (lp_reserve_is_low())
		return lp_fail(err, ENOMEM, "the program has no memory left");
	int rc = lp_verbs_find(&s->service->table, w->items, w->nr, &c, &taken, err);
	if (rc == 0)
		rc = check_level(s, c, err);
	if (rc == 0)
		rc = lp_verbs_check(c, w->nr - taken, err);
	if (rc == 0 && lp_queue_is_full(&s->changes))
		rc = lp_fail(err, LP_ETRANSACTION, "more than %d changes in one transaction", LP_TXN_CHANGES_MAX);
	if (rc < 0)
		return rc;
	struct lp_session_call call = {
		.call = {s->service->options.host, (int)(w->nr - taken), w->items + taken, &s->reply, &s->changes},
		.session = s,
	};
	s->service->commands++;
	rc = c->run(&call.call, err);
	return rc < 0 ? rc : 0;
}

static int run_commands(struct lp_session *s, struct lp_request *r, struct lp_err *err)
{
	int rc = 0;
	size_t i;
	for (i = 0; rc == 0 && i < r->commands.nr; i++)
		rc = run_command(s, &r->commands.items[i], err);
	if (rc < 0 && r->commands.nr > 1)
		lp_err_context(err, rc, "command %zu of the line (%.40s)", i, r->commands.items[i - 1].items[0]);
	return rc;
}

/* ---- transactions ---- */

/* Takes over the reason; the first one is told. */
static void spoil(struct lp_session *s, char *why)
{
	lp_queue_release(&s->changes);
	lp_free(s->spoilt ? why : NULL);
	s->spoilt = s->spoilt ? s->spoilt : why;
}

/* What a refusal leaves: a transaction that was open before stays open, to be ended by who began it. */
static void take_back(struct lp_session *s, bool was_begun, const struct lp_err *err)
{
	if (!was_begun || !s->begun) {
		lp_session_abort(s);
		return;
	}
	spoil(s, lp_sprintf("a command was refused: %s", err->text));
}

static int commit(struct lp_session *s, struct lp_err *err)
{
	int rc = lp_queue_commit(&s->changes, s->service->options.commit_together, err);
	s->service->commits += rc == 0 && s->changes.changes.nr;
	lp_session_abort(s);
	return rc;
}

static void wait_for_quiet(struct lp_session *s)
{
	s->waiting = true;
	s->ticket = s->service->tickets++;
}

/* Runs what was asked, and commits it unless it has to wait. */
static int perform(struct lp_session *s, struct lp_request *r, int rc, struct lp_err *err)
{
	bool was_begun = s->begun;
	rc = rc < 0 ? rc : run_commands(s, r, err);
	if (rc == 0 && !lp_reply_fits(&s->reply, &s->out))
		rc = lp_fail(err, ENOMEM, "the program has no memory left for the answer");
	if (rc < 0)
		take_back(s, was_begun, err);
	else if (!s->begun && lp_queue_is_quiescent(&s->changes))
		wait_for_quiet(s);
	else if (!s->begun)
		rc = commit(s, err);
	return rc;
}

static void answer(struct lp_session *s, struct lp_request *r, int rc, struct lp_err *err)
{
	begin_reply(s, r);
	rc = perform(s, r, rc, err);
	if (!s->waiting)
		end_reply(s, rc, err);
}

bool lp_session_step(struct lp_session *s)
{
	struct lp_request r;
	struct lp_err err = {0};
	if (s->waiting || !lp_control_wire_has_line(&s->wire))
		return false;
	int rc = lp_control_wire_next(&s->wire, &r, &err);
	if (rc != 0) {
		s->asked = true;
		s->service->requests++;
		lock(s);
		answer(s, &r, rc, &err);
		unlock(s);
	}
	lp_request_free(&r);
	return true;
}

void lp_session_quiesce(struct lp_session *s)
{
	struct lp_err err = {0};
	lock(s);
	int rc = commit(s, &err);
	unlock(s);
	s->waiting = false;
	end_reply(s, rc, &err);
}

void lp_session_give_up(struct lp_session *s)
{
	struct lp_err err = {0};
	int rc = lp_fail(&err, LP_ETIMEOUT,
			 "the program did not say within %u ms that nobody reads what is to be changed",
			 s->service->options.limits.quiesce_ms);
	lock(s);
	lp_session_abort(s);
	unlock(s);
	s->waiting = false;
	end_reply(s, rc, &err);
}

bool lp_session_holds(const struct lp_session *s)
{
	return s->begun && s->changes.changes.nr;
}

void lp_session_expire(struct lp_session *s)
{
	lock(s);
	spoil(s, lp_sprintf("nothing was asked for %u ms", s->service->options.limits.open_ms));
	unlock(s);
}

int lp_session_run(struct lp_session *s, const char *line, struct lp_buf *rows, struct lp_err *err)
{
	struct lp_request r;
	s->wire.form = LP_FORM_TEXT;
	lp_control_wire_feed(&s->wire, line, strlen(line));
	lp_control_wire_finish(&s->wire);
	int rc = lp_control_wire_next(&s->wire, &r, err);
	begin_reply(s, &r);
	lock(s);
	rc = rc == 0 ? lp_fail(err, LP_EUSAGE, "a command is missing") : perform(s, &r, rc, err);
	if (s->waiting)
		rc = lp_fail(err, EBUSY, "this may only be changed where the program says that nobody reads it");
	unlock(s);
	lp_request_free(&r);
	if (rc == 0)
		lp_buf_add(rows, s->reply.rows.data, s->reply.rows.len);
	return rc;
}
