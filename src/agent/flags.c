/*
 * gflags ...: flags of the gflags library, glog's among them.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/gflags.h"

static void show_flag(void *arg, const struct lp_flag *f)
{
	struct lp_reply *r = arg;

	lp_reply_row(r, "Flag name: %, value: %", LP_STR("name", f->name), LP_STR("value", f->value),
		     LP_STR("type", f->type), LP_STR("default", f->default_value),
		     LP_STR("description", f->description), LP_STR("file", f->file));
}

int lp_cmd_gflags_list(struct lp_call *c, struct lp_err *err)
{
	return lp_gflags_each(show_flag, c->reply, err);
}

int lp_cmd_gflags_get(struct lp_call *c, struct lp_err *err)
{
	struct lp_buf type = {0}, value = {0};
	int rc = lp_gflags_get(c->argv[0], &type, &value, err);

	if (rc == 0)
		lp_reply_row(c->reply, "Flag name: %, value: %", LP_STR("name", c->argv[0]),
			     LP_STR("value", lp_buf_cstr(&value)), LP_STR("type", lp_buf_cstr(&type)));
	lp_buf_free(&type);
	lp_buf_free(&value);
	return rc;
}

/* ---- gflags set ---- */

struct setting {
	char *name, *value;
	struct lp_buf type, old;
};

typedef int set_vlog_fn(const char *pattern, int level);

/* "pattern=level"; what is not is left to glog to ignore. */
static void tell_pattern(set_vlog_fn *set, char *part)
{
	char *equals = strchr(part, '='), *end;

	if (!equals || equals == part)
		return;
	*equals = 0;
	long level = strtol(equals + 1, &end, 10);
	if (end != equals + 1 && !*end && level >= INT_MIN && level <= INT_MAX)
		set(part, (int)level);
}

/* glog reads `vmodule` once; later it wants to be told of each pattern. */
static void tell_vmodule(const char *value)
{
	struct lp_spot spot;

	if (lp_symbol_find("_ZN6google12SetVLOGLevelEPKci", &spot, NULL) < 0 || !spot.is_function)
		return;
	char *list = lp_strdup(value), *rest = list;
	for (char *part; (part = strsep(&rest, ","));)
		tell_pattern((set_vlog_fn *)(uintptr_t)spot.at, part);
	lp_free(list);
}

static int set_flag(const char *name, const char *value, struct lp_err *err)
{
	int rc = lp_gflags_set(name, value, err);

	if (rc == 0 && !strcmp(name, "vmodule"))
		tell_vmodule(value);
	return rc;
}

static int setting_commit(void *change, struct lp_err *err)
{
	struct setting *s = change;

	return set_flag(s->name, s->value, err);
}

static void setting_undo(void *change)
{
	struct setting *s = change;

	set_flag(s->name, lp_buf_cstr(&s->old), NULL);
}

static void setting_free(void *change)
{
	struct setting *s = change;

	lp_free(s->name);
	lp_free(s->value);
	lp_buf_free(&s->type);
	lp_buf_free(&s->old);
	lp_free(s);
}

int lp_cmd_gflags_set(struct lp_call *c, struct lp_err *err)
{
	bool unsafe = !strcmp(c->argv[0], "--unsafe");
	char **argv = c->argv + unsafe;
	int argc = c->argc - unsafe;

	if (argc && argv[0][0] == '-')
		return lp_fail(err, LP_EUSAGE,
			       "%s is no option of gflags set, which has --unsafe; flags are named without dashes",
			       argv[0]);
	if (argc < 2)
		return lp_fail(err, LP_EUSAGE, "gflags set [--unsafe] NAME VALUE");
	struct setting *s = lp_alloc(sizeof *s);
	s->name = lp_strdup(argv[0]);
	s->value = lp_words_join(argv + 1, argc - 1);
	int rc = lp_gflags_get(s->name, &s->type, &s->old, err);
	bool quiescent = !unsafe && !strcmp(lp_buf_cstr(&s->type), "string");
	if (rc == 0 && quiescent && !lp_agent_quiesces())
		rc = lp_fail(err, LP_EUNSAFE,
			     "%s is a string: a thread that reads it meanwhile may read freed memory. Say gflags set "
			     "--unsafe, or "
			     "let the program call hotpatch_quiesce() where none does",
			     s->name);
	if (rc < 0) {
		setting_free(s);
		return rc;
	}
	lp_change_add(c, &(struct lp_change){.rank = LP_RANK_FLAGS,
					     .commit = setting_commit,
					     .undo = setting_undo,
					     .release = setting_free,
					     .change = s,
					     .quiescent = quiescent});
	lp_reply_row(c->reply, "Set gflags result: % set to %", LP_STR("name", s->name), LP_STR("value", s->value));
	return 0;
}
