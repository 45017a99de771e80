#include "tool/hotpatch_list.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "tool/hotpatch_ask.h"
#include "tool/tool.h"

/* ---- names KIND ---- */

/* Without JSON, one on a line is all that completion asks for. */
static json_t *name_of(const struct wish *w, const json_t *row)
{
	const char *name = json_string_value(json_object_get(row, "name"));

	if (!name || w->value[WISH_JSON])
		return json_text(name);
	char *line = text_line(name);
	json_t *text = json_text(line);
	lp_free(line);
	return text;
}

int list_names(struct peer *p, const struct wish *w, struct lp_err *err)
{
	static const struct {
		const char *kind, *verb;
	} kinds[] = {{"flags", "gflags"}, {"variables", "var"}, {"libraries", "lib"}, {"functions", "func"}};
	const char *list[] = {NULL, "list"};
	const json_t *row;
	json_t *rows;
	size_t i;

	for (i = 0; w->nr == 2 && i < LP_ARRAY_SIZE(kinds); i++) {
		if (!strcmp(kinds[i].kind, w->words[1]))
			list[0] = kinds[i].verb;
	}
	if (!list[0])
		return lp_fail(err, LP_EUSAGE, "usage: names flags|variables|libraries|functions");
	int rc = peer_ask(p, list, 2, PEER_ROWS, &rows, err);
	if (rc < 0)
		return rc;
	json_t *called = json_array();
	json_array_foreach(rows, i, row) json_array_append_new(called, name_of(w, row));
	json_decref(rows);
	answer_show(w, called);
	return 0;
}

/* ---- ps ---- */

/* Not waited for: of those that nobody else may hold up, one could hold up all the others. */
static void list_one(const struct wish *w, pid_t pid, json_t *all)
{
	struct peer p;
	char name[PROCESS_NAME_MAX];

	if (peer_open(&p, pid, 0, NULL) < 0)
		return;
	peer_close(&p);
	process_name(pid, name);
	if (w->value[WISH_JSON])
		json_array_append_new(all, json_pack("{s:i, s:o}", "pid", (int)pid, "name", json_text(name)));
	else
		out_printf("%7d %s\n", (int)pid, name);
}

int list_processes(const struct wish *w, struct lp_err *err)
{
	uint64_t pid;

	if (w->nr != 1)
		return lp_fail(err, LP_EUSAGE, "too many operands; usage: ps");
	DIR *proc = opendir("/proc");
	if (!proc)
		return lp_fail_sys(err, errno, "cannot read /proc");
	json_t *all = json_array();
	for (struct dirent *e; (e = readdir(proc));) {
		if (parse_decimal(e->d_name, INT_MAX, &pid))
			list_one(w, (pid_t)pid, all);
	}
	closedir(proc);
	answer_show(w, w->value[WISH_JSON] ? all : (json_decref(all), json_array()));
	return 0;
}
