#include <string.h>

#include "control/session.h"

#define PROTOCOL 1
#define FEATURES "text json lines prompt transactions"

static struct lp_session *session_of(struct lp_call *c)
{
	return ((struct lp_session_call *)c)->session;
}

/* ---- about ---- */

static void help_row(struct lp_call *c, const struct lp_command *row)
{
	const char *operands = row->synopsis ? row->synopsis : "";
	struct lp_buf format = {0};
	char *usage = lp_sprintf("%s%s%s", row->words, *operands ? " " : "", operands);
	lp_buf_printf(&format, "%-34s %%", usage);
	lp_reply_row(c->reply, lp_buf_cstr(&format), LP_STR("summary", row->summary), LP_STR("command", row->words),
		     LP_STR("operands", operands), LP_STR("level", lp_level_name(row->level)));
	lp_free(usage);
	lp_buf_free(&format);
}

static int run_help(struct lp_call *c, struct lp_err *err)
{
	const struct lp_table *t = &session_of(c)->service->table;
	size_t nr = 0;
	for (size_t i = 0; i < lp_verbs_size(t); i++) {
		if (!lp_command_begins(lp_verbs_row(t, i), c->argv, (size_t)c->argc))
			continue;
		help_row(c, lp_verbs_row(t, i));
		nr++;
	}
	if (nr)
		return 0;
	return lp_fail(err, LP_EUSAGE, "no command begins with %.64s%s%.64s%s", c->argv[0], c->argc > 1 ? " " : "",
		       c->argc > 1 ? c->argv[1] : "", c->argc > 2 ? " ..." : "");
}

static int run_version(struct lp_call *c, struct lp_err *err)
{
	const struct lp_control_options *o = &session_of(c)->service->options;
	lp_reply_row(c->reply, "% %, protocol %: %", LP_STR("program", o->program), LP_STR("version", o->version),
		     LP_UINT("protocol", PROTOCOL), LP_STR("features", FEATURES));
	return 0;
}

static int run_stats(struct lp_call *c, struct lp_err *err)
{
	struct lp_service *s = session_of(c)->service;
	lp_reply_row(c->reply, "%: %", LP_STR("name", "requests"), LP_UINT("value", s->requests));
	lp_reply_row(c->reply, "%: %", LP_STR("name", "commands"), LP_UINT("value", s->commands));
	lp_reply_row(c->reply, "%: %", LP_STR("name", "errors"), LP_UINT("value", s->errors));
	lp_reply_row(c->reply, "%: %", LP_STR("name", "commits"), LP_UINT("value", s->commits));
	lp_reply_row(c->reply, "%: %", LP_STR("name", "allowed at most"),
		     LP_STR("value", lp_level_name(s->options.allow)));
	if (s->server_rows)
		s->server_rows(s, c);
	if (s->options.stats)
		s->options.stats(c);
	return 0;
}

/* ---- transactions ---- */

static int run_begin(struct lp_call *c, struct lp_err *err)
{
	struct lp_session *s = session_of(c);
	if (s->begun)
		return lp_fail(err, LP_ETRANSACTION, "a transaction is open already");
	s->begun = true;
	return 0;
}

/* The session commits at the end of the line, as it does without a transaction. */
static int run_commit(struct lp_call *c, struct lp_err *err)
{
	struct lp_session *s = session_of(c);
	if (!s->begun)
		return lp_fail(err, LP_ETRANSACTION, "no transaction is open");
	s->begun = false;
	if (s->spoilt)
		return lp_fail(err, LP_ETRANSACTION, "nothing was changed, because %s", s->spoilt);
	return 0;
}

static int run_abort(struct lp_call *c, struct lp_err *err)
{
	struct lp_session *s = session_of(c);
	if (!s->begun)
		return lp_fail(err, LP_ETRANSACTION, "no transaction is open");
	lp_session_abort(s);
	return 0;
}

/* ---- the connection ---- */

static int run_prompt(struct lp_call *c, struct lp_err *err)
{
	session_of(c)->prompt = c->reply->prompt = true;
	return 0;
}

static int run_json(struct lp_call *c, struct lp_err *err)
{
	const char *word = c->argc ? c->argv[0] : "on";
	if (strcmp(word, "on") != 0 && strcmp(word, "off") != 0)
		return lp_fail(err, LP_EUSAGE, "json is on or off, not %.64s", word);
	session_of(c)->json = strcmp(word, "on") == 0;
	return 0;
}

const struct lp_command lp_own_commands[] = {
	{"help", "[WORD...]", LP_LEVEL_READ, run_help, "the commands that begin so"},
	{"version", "", LP_LEVEL_READ, run_version, "version, protocol and features of the server"},
	{"stats", "", LP_LEVEL_READ, run_stats, "what the server has done, and for how many"},
	{"begin", "", LP_LEVEL_READ, run_begin, "what follows happens at once, or not at all"},
	{"commit", "", LP_LEVEL_READ, run_commit, "let it happen"},
	{"abort", "", LP_LEVEL_READ, run_abort, "forget it"},
	{"prompt", "", LP_LEVEL_READ, run_prompt, "keep the connection; an empty line ends each reply"},
	{"json", "[on|off]", LP_LEVEL_READ, run_json, "replies to the next lines are JSON objects"},
};
const size_t lp_nr_own_commands = LP_ARRAY_SIZE(lp_own_commands);
