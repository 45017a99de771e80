#include "tool/hotpatch_live.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool/tool.h"

static const struct kind {
	const char *name, *plural;
	const char *words[2];
} kinds[NR_LIVE_KINDS] = {
	[LIVE_VARIABLE] = {"variable", "variables", {"var", "list"}},
	[LIVE_FUNCTION] = {"function", "functions", {"func", "status"}},
	[LIVE_FLAG] = {"flag", "flags", {"gflags", "list"}},
};

const char *live_kind_name(enum live_kind kind)
{
	return kinds[kind].name;
}

/* ---- rows ---- */

static const char *member(const json_t *row, const char *name)
{
	const char *text = json_string_value(json_object_get(row, name));

	return text ? text : "";
}

/* "patch1:add_func, level 1", or "original". */
static char *implementation(const json_t *row)
{
	json_int_t level = json_integer_value(json_object_get(row, "level"));

	if (!level)
		return lp_strdup("original");
	return lp_sprintf("%s:%s, level %" JSON_INTEGER_FORMAT, member(row, "library"), member(row, "symbol"), level);
}

static void add_row(enum live_kind kind, const json_t *row, live_vec *out)
{
	bool is_function = kind == LIVE_FUNCTION;

	if (is_function && !json_is_true(json_object_get(row, "current")))
		return;
	char *value = is_function ? implementation(row) : lp_strdup(member(row, "value"));
	lp_vec_push(out, ((struct live_row){
				 .kind = kind,
				 .name = text_line(member(row, is_function ? "function" : "name")),
				 .type = text_line(member(row, is_function ? "pointer" : "type")),
				 .value = text_line(value),
			 }));
	lp_free(value);
}

static void rows_free(live_vec *rows)
{
	for (size_t i = 0; i < rows->nr; i++) {
		lp_free(rows->items[i].name);
		lp_free(rows->items[i].type);
		lp_free(rows->items[i].value);
	}
	lp_vec_free(rows);
}

static int by_kind(const struct live_row *a, const struct live_row *b)
{
	return a->kind != b->kind ? (int)a->kind - (int)b->kind : strcmp(a->name, b->name);
}

static int compare_rows(const void *a, const void *b)
{
	return by_kind(a, b);
}

static void make_rows(const json_t *answers, live_vec *out)
{
	const json_t *row;
	size_t i;

	for (int kind = 0; kind < NR_LIVE_KINDS; kind++) {
		json_array_foreach(json_array_get(answers, (size_t)kind), i, row) add_row(kind, row, out);
	}
	if (out->nr)
		qsort(out->items, out->nr, sizeof *out->items, compare_rows);
}

/* Both are in order.  What was not there before is different, too. */
static void compare(const live_vec *before, live_vec *now, uint64_t look)
{
	size_t old = 0;

	for (size_t i = 0; i < now->nr; i++) {
		struct live_row *r = &now->items[i];

		while (old < before->nr && by_kind(&before->items[old], r) < 0)
			old++;
		const struct live_row *was =
			old < before->nr && !by_kind(&before->items[old], r) ? &before->items[old] : NULL;
		r->changed = was && !strcmp(was->value, r->value) ? was->changed : look;
	}
}

/* ---- looking ---- */

static int ask_next(const struct live *l, struct peer *p, struct lp_err *err)
{
	return peer_send(p, kinds[json_array_size(l->answers)].words, 2, PEER_ROWS, err);
}

int live_begin(struct live *l, struct peer *p, struct lp_err *err)
{
	json_decref(l->answers);
	l->answers = json_array();
	return ask_next(l, p, err);
}

static void complete(struct live *l)
{
	live_vec rows = {0};

	make_rows(l->answers, &rows);
	if (l->looks)
		compare(&l->rows, &rows, l->looks + 1);
	l->looks++;
	rows_free(&l->rows);
	l->rows = rows;
	json_decref(l->told);
	l->told = l->answers;
	l->answers = NULL;
}

int live_step(struct live *l, struct peer *p, struct lp_err *err)
{
	json_t *rows = NULL;
	int rc = peer_receive(p, &rows, err);

	if (rc == -LP_ENOFLAG) { /* a program without gflags has none */
		*err = (struct lp_err){0};
		rows = json_array();
	} else if (rc < 0) {
		return rc;
	}
	json_array_append_new(l->answers, rows);
	if (json_array_size(l->answers) < NR_LIVE_KINDS)
		return ask_next(l, p, err);
	complete(l);
	return 1;
}

int live_look(struct live *l, struct peer *p, struct lp_err *err)
{
	int rc = live_begin(l, p, err);

	while (rc == 0)
		rc = live_step(l, p, err);
	return rc < 0 ? rc : 0;
}

void live_free(struct live *l)
{
	rows_free(&l->rows);
	json_decref(l->told);
	json_decref(l->answers);
	*l = (struct live){0};
}

/* ---- choosing ---- */

bool live_is_changed(const struct live *l, const struct live_row *r)
{
	return r->changed && r->changed == l->looks;
}

static bool is_chosen(const struct live_row *r, const struct live_choice *c)
{
	return (c->kind < 0 || r->kind == (enum live_kind)c->kind) &&
	       (!*c->text || strcasestr(r->name, c->text) || strcasestr(r->value, c->text));
}

static int view_by_name(const void *a, const void *b)
{
	const struct live_row *x = *(const struct live_row *const *)a, *y = *(const struct live_row *const *)b;
	int order = strcmp(x->name, y->name);

	return order ? order : by_kind(x, y);
}

static int view_by_change(const void *a, const void *b)
{
	const struct live_row *x = *(const struct live_row *const *)a, *y = *(const struct live_row *const *)b;

	return x->changed != y->changed ? (x->changed < y->changed ? 1 : -1) : by_kind(x, y);
}

void live_choose(const struct live *l, const struct live_choice *c, live_view *out)
{
	static int (*const orders[NR_LIVE_ORDERS])(const void *, const void *) = {
		[BY_NAME] = view_by_name,
		[BY_CHANGE] = view_by_change,
	};

	out->nr = 0;
	for (size_t i = 0; i < l->rows.nr; i++) {
		if (is_chosen(&l->rows.items[i], c))
			lp_vec_push(out, &l->rows.items[i]);
	}
	if (orders[c->order] && out->nr)
		qsort(out->items, out->nr, sizeof *out->items, orders[c->order]);
}

/* ---- without a screen ---- */

static int padding(size_t width, const char *text)
{
	size_t used = text_width(text);

	return used < width ? (int)(width - used) : 0;
}

void live_table(const struct live *l)
{
	size_t name = strlen("NAME"), type = strlen("TYPE");

	for (size_t i = 0; i < l->rows.nr; i++) {
		size_t w = text_width(l->rows.items[i].name), t = text_width(l->rows.items[i].type);

		name = w > name ? w : name;
		type = t > type ? t : type;
	}
	out_style(STYLE_BOLD);
	out_printf("KIND      NAME%*s  TYPE%*s  VALUE\n", padding(name, "NAME"), "", padding(type, "TYPE"), "");
	out_style(STYLE_NONE);
	for (size_t i = 0; i < l->rows.nr; i++) {
		const struct live_row *r = &l->rows.items[i];

		out_printf("%-8s  %s%*s  %s%*s  %s\n", kinds[r->kind].name, r->name, padding(name, r->name), "",
			   r->type, padding(type, r->type), "", r->value);
	}
}

static json_t *current_ones(json_t *rows)
{
	json_t *out = json_array();
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		if (json_is_true(json_object_get(row, "current")))
			json_array_append(out, row);
	}
	return out;
}

json_t *live_json(const struct live *l, pid_t pid, const char *name)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	json_t *out = json_pack("{s:b, s:i, s:o, s:f}", "ok", 1, "pid", (int)pid, "name", json_text(name), "time",
				(double)now.tv_sec + (double)now.tv_nsec / 1e9);
	for (size_t kind = 0; kind < NR_LIVE_KINDS; kind++) {
		json_t *rows = json_array_get(l->told, kind);

		json_object_set_new(out, kinds[kind].plural,
				    kind == LIVE_FUNCTION ? current_ones(rows) : json_incref(rows));
	}
	return out;
}
