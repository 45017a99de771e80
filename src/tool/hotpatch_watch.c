#include "tool/hotpatch_watch.h"

#include <string.h>

#include "base/vec.h"
#include "tool/hotpatch_globals.h"
#include "tool/tool.h"

/* Where the values come from. */
struct watched {
	struct peer *p;
	const char *name;
	char *type;		     /* as the agent calls it */
	struct global_watch *global; /* NULL: the agent reads the value itself */
	bool json;
};

/* ---- which variable ---- */

static const char *member(const json_t *row, const char *name)
{
	const char *text = json_string_value(json_object_get(row, name));

	return text ? text : "";
}

static char *type_in_list(const json_t *rows, const char *name)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		if (!strcmp(member(row, "name"), name))
			return lp_strdup(member(row, "type"));
	}
	return NULL;
}

static int registered_type(struct peer *p, const char *name, char **out, struct lp_err *err)
{
	const char *list[] = {"var", "list"};
	json_t *rows;
	int rc = peer_ask(p, list, 2, PEER_ROWS, &rows, err);

	if (rc < 0)
		return rc;
	*out = type_in_list(rows, name);
	json_decref(rows);
	if (!*out)
		return lp_fail(err, LP_ENOVARIABLE, "no variable is registered as %s", name);
	if (!strcmp(*out, "untyped"))
		return lp_fail(err, LP_ETYPE, "%s is registered without a type: watch var TYPE %s", name, name);
	return 0;
}

static int find(struct watched *w, const char *type, struct lp_err *err)
{
	if (type)
		w->type = lp_strdup(type);
	else if (globals_is_path(w->name))
		return global_watch_open(w->p, w->name, &w->global, err);
	else
		return registered_type(w->p, w->name, &w->type, err);
	return 0;
}

/* ---- its values ---- */

/* For people as the agent writes it, escapes and all. */
static int value_of(struct watched *w, char **out, struct lp_err *err)
{
	const char *get[] = {"var", "get", w->type, w->name};
	json_t *rows;

	if (w->global)
		return global_watch_value(w->global, out, err);
	int rc = peer_ask(w->p, get, LP_ARRAY_SIZE(get), w->json ? PEER_ROWS : PEER_LINES, &rows, err);
	if (rc < 0)
		return rc;
	const json_t *row = json_array_get(rows, 0);
	const char *line = json_string_value(row);
	*out = lp_strdup(line ? line : member(row, "value"));
	json_decref(rows);
	return 0;
}

/* Does anybody read it? */
static bool show(const struct watched *w, const char *value)
{
	const char *type = w->global ? global_watch_type(w->global) : w->type;

	if (w->json) {
		json_emit_line(json_pack("{s:o, s:o, s:o}", "name", json_text(w->name), "type", json_text(type),
					 "value", json_text(value)));
	} else {
		char *line = text_line(value);

		out_printf("%s\n", line);
		lp_free(line);
	}
	return out_flush() == 0;
}

static int follow(struct watched *w, unsigned delay_ms, struct lp_err *err)
{
	char *last = NULL, *now = NULL;
	bool is_read = true;
	int rc = 0;

	while (is_read && (rc = value_of(w, &now, err)) == 0) {
		if (!last || strcmp(last, now) != 0)
			is_read = show(w, now);
		lp_free(last);
		last = now;
		is_read = is_read && peer_wait(w->p, delay_ms);
	}
	lp_free(last);
	return rc;
}

int watch_variable(struct peer *p, const char *type, const char *name, unsigned delay_ms, bool json, struct lp_err *err)
{
	struct watched w = {.p = p, .name = name, .json = json};
	int rc = find(&w, type, err);

	rc = rc < 0 ? rc : follow(&w, delay_ms, err);
	global_watch_close(w.global);
	lp_free(w.type);
	return rc;
}
