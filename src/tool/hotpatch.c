/*
 * hotpatch -p PID COMMAND...: asks the agent in a process.
 *
 * Options stand in front of the command; what follows belongs to it, options
 * of its own included (gflags set --unsafe ...).
 */
#include "tool/hotpatch.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "tool/hotpatch_attach.h"
#include "tool/hotpatch_globals.h"
#include "tool/tool.h"

#define TIMEOUT_DEFAULT_MS 10000
#define INTERVAL_DEFAULT_MS 100
#define DAY_S 86400

/* ---- options ---- */

enum {
#define OPTION(id, letter, word, argument, sentence) WISH_##id,
#define CLIENT(id, words, synopsis, summary)
#include "tool/hotpatch.def"
#undef OPTION
#undef CLIENT
	NR_WISHES
};

static const struct {
	char letter;
	const char *word, *argument, *sentence;
} option_rows[NR_WISHES] = {
#define OPTION(id, letter, word, argument, sentence) [WISH_##id] = {letter, word, argument, sentence},
#define CLIENT(id, words, synopsis, summary)
#include "tool/hotpatch.def"
#undef OPTION
#undef CLIENT
};

struct wish {
	const char *value[NR_WISHES]; /* "" for one that takes none; NULL when it is not there */
	pid_t pid;
	unsigned timeout_ms, interval_ms;
	const char *const *words;
	size_t nr;
};

static int option_called(const char *arg, const char **value)
{
	for (int i = 0; i < NR_WISHES; i++) {
		size_t len = strlen(option_rows[i].word);

		*value = NULL;
		if (arg[1] != '-' && arg[1] == option_rows[i].letter) {
			*value = arg[2] ? arg + 2 : NULL;
			return i;
		}
		if (arg[1] == '-' && !strncmp(arg + 2, option_rows[i].word, len) &&
		    (!arg[2 + len] || arg[2 + len] == '=')) {
			*value = arg[2 + len] ? arg + 3 + len : NULL;
			return i;
		}
	}
	return -1;
}

/* argv[*at] is an option, and *at ends at its last word. */
static int take_option(struct wish *w, char **argv, int *at, struct lp_err *err)
{
	const char *arg = argv[*at], *value;
	int i = option_called(arg, &value);

	if (i < 0)
		return lp_fail(err, LP_EUSAGE, "unknown option %s", arg);
	if (w->value[i])
		return lp_fail(err, LP_EUSAGE, "--%s is there twice", option_rows[i].word);
	if (!option_rows[i].argument && value)
		return lp_fail(err, LP_EUSAGE, "--%s takes no value", option_rows[i].word);
	if (option_rows[i].argument && !value)
		value = argv[*at + 1] ? argv[++*at] : NULL;
	if (option_rows[i].argument && !value)
		return lp_fail(err, LP_EUSAGE, "--%s wants a value, %s", option_rows[i].word, option_rows[i].argument);
	w->value[i] = value ? value : "";
	return 0;
}

static int parse_pid(struct wish *w, struct lp_err *err)
{
	uint64_t pid;

	if (!parse_decimal(w->value[WISH_PID], INT_MAX, &pid))
		return lp_fail(err, LP_EUSAGE, "\"%s\" is no process id", w->value[WISH_PID]);
	w->pid = (pid_t)pid;
	return 0;
}

static int parse_timeout(struct wish *w, struct lp_err *err)
{
	char *end;
	const char *text = w->value[WISH_TIMEOUT];
	double seconds = strtod(text, &end);

	if (!isdigit((unsigned char)*text) || *end || !(seconds <= DAY_S))
		return lp_fail(err, LP_EUSAGE, "\"%s\" is no number of seconds", text);
	w->timeout_ms = (unsigned)ceil(seconds * 1000);
	return 0;
}

static int parse_interval(struct wish *w, struct lp_err *err)
{
	uint64_t ms;

	if (!parse_decimal(w->value[WISH_INTERVAL], DAY_S * UINT64_C(1000), &ms))
		return lp_fail(err, LP_EUSAGE, "\"%s\" is no number of milliseconds", w->value[WISH_INTERVAL]);
	w->interval_ms = (unsigned)ms;
	return 0;
}

static int parse_wish(struct wish *w, int argc, char **argv, struct lp_err *err)
{
	int rc = 0, at = 1;

	*w = (struct wish){.timeout_ms = TIMEOUT_DEFAULT_MS, .interval_ms = INTERVAL_DEFAULT_MS};
	for (; rc == 0 && at < argc && argv[at][0] == '-' && argv[at][1] && strcmp(argv[at], "--") != 0; at++)
		rc = take_option(w, argv, &at, err);
	at += rc == 0 && at < argc && !strcmp(argv[at], "--");
	w->words = (const char *const *)argv + at;
	w->nr = at < argc ? (size_t)(argc - at) : 0;
	rc = rc == 0 && w->value[WISH_PID] ? parse_pid(w, err) : rc;
	rc = rc == 0 && w->value[WISH_TIMEOUT] ? parse_timeout(w, err) : rc;
	return rc == 0 && w->value[WISH_INTERVAL] ? parse_interval(w, err) : rc;
}

/* ---- help ---- */

static void help_row(const char *words, const char *synopsis, const char *summary)
{
	int used = snprintf(NULL, 0, "  %s %s", words, synopsis);

	out_printf("  %s %s%*s%s\n", words, synopsis, used < 40 ? 40 - used : 2, "", summary);
}

static void help_option(int i)
{
	const char *argument = option_rows[i].argument ? option_rows[i].argument : "";
	char letter[8] = "    ";

	if (option_rows[i].letter)
		snprintf(letter, sizeof letter, "-%c, ", option_rows[i].letter);
	int used = snprintf(NULL, 0, "  %s--%s %s", letter, option_rows[i].word, argument);
	out_printf("  %s--%s %s%*s%s\n", letter, option_rows[i].word, argument, used < 40 ? 40 - used : 2, "",
		   option_rows[i].sentence);
}

static void help(void)
{
	out_printf("usage: hotpatch [OPTIONS] -p PID COMMAND...\n"
		   "       hotpatch [OPTIONS] ps\n\n"
		   "Asks the agent in a running process, or has it change something.\n"
		   "Commands with a word ';' between them happen together, or not at all.\n\n");
#define OPTION(id, letter, word, argument, sentence)
#define CLIENT(id, words, synopsis, summary) help_row(words, synopsis, summary);
#define COMMAND(words, synopsis, level, run, summary) help_row(words, synopsis, summary);
#include "agent/command.def"
#include "tool/hotpatch.def"
#undef OPTION
#undef CLIENT
#undef COMMAND
	help_row("help | version | stats", "", "answered by the agent itself");
	out_printf("\n");
	for (int i = 0; i < NR_WISHES; i++)
		help_option(i);
	out_printf("\nExit status: 0 done, 1 refused and nothing changed, 2 wrong use, 3 no such process, or no agent "
		   "in it.\n");
}

/* ---- answers ---- */

static void show_line(const json_t *row)
{
	const char *text = json_string_value(row);

	out_printf("%s\n", text ? text : "?");
}

/* Takes over the data. */
static void show(const struct wish *w, json_t *data)
{
	const json_t *row;
	size_t i;

	if (w->value[WISH_JSON]) {
		json_emit(json_pack("{s:b, s:o}", "ok", 1, "data", data));
		return;
	}
	json_array_foreach(data, i, row) show_line(row);
	json_decref(data);
}

static enum peer_form form_of(const struct wish *w)
{
	return w->value[WISH_JSON] ? PEER_ROWS : PEER_LINES;
}

/* ---- a command of the agent's ---- */

/* NULL unless words[i] is the path of a "lib load", and there is such a file here.  The caller frees it. */
static char *path_from_here(const struct wish *w, size_t i)
{
	char here[PATH_MAX];

	if (i < 3 || strcmp(w->words[i - 3], "lib") != 0 || strcmp(w->words[i - 2], "load") != 0 ||
	    w->words[i][0] == '/' || access(w->words[i], F_OK) < 0 || !getcwd(here, sizeof here))
		return NULL;
	return lp_sprintf("%s/%s", here, w->words[i]);
}

/* The process stands somewhere else: paths that mean something here are sent whole. */
static int ask(struct peer *p, const struct wish *w, json_t **data, struct lp_err *err)
{
	const char **words = lp_alloc((w->nr + 1) * sizeof *words);
	char **made = lp_alloc((w->nr + 1) * sizeof *made);

	for (size_t i = 0; i < w->nr; i++) {
		made[i] = p->elsewhere ? NULL : path_from_here(w, i);
		words[i] = made[i] ? made[i] : w->words[i];
	}
	int rc = peer_ask(p, words, w->nr, form_of(w), data, err);
	for (size_t i = 0; i < w->nr; i++)
		lp_free(made[i]);
	lp_free(made);
	lp_free(words);
	return rc;
}

static int run_command(struct peer *p, const struct wish *w, struct lp_err *err)
{
	json_t *data;
	int rc = globals_want(w->words, w->nr) ? globals_ask(p, w->words, w->nr, form_of(w), &data, err)
					       : ask(p, w, &data, err);

	if (rc == 0)
		show(w, data);
	return rc;
}

/* ---- watch var [TYPE] NAME ---- */

/* The value as text; -LP_ENOVARIABLE.  The caller frees it. */
static int value_in_list(json_t *rows, const char *name, char **out, struct lp_err *err)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		const char *called = json_string_value(json_object_get(row, "name"));
		const char *value = json_string_value(json_object_get(row, "value"));

		if (called && value && !strcmp(called, name)) {
			*out = lp_strdup(value);
			return 0;
		}
	}
	return lp_fail(err, LP_ENOVARIABLE, "no variable is registered as %s", name);
}

static int value_of(struct peer *p, const char *type, const char *name, char **out, struct lp_err *err)
{
	const char *get[] = {"var", "get", type, name}, *list[] = {"var", "list"};
	json_t *rows;
	int rc = peer_ask(p, type ? get : list, type ? 4 : 2, PEER_ROWS, &rows, err);

	if (rc < 0)
		return rc;
	if (type) {
		const char *value = json_string_value(json_object_get(json_array_get(rows, 0), "value"));
		*out = lp_strdup(value ? value : "");
	} else {
		rc = value_in_list(rows, name, out, err);
	}
	json_decref(rows);
	return rc;
}

static int show_value(const struct wish *w, const char *name, const char *value)
{
	if (w->value[WISH_JSON])
		json_emit(json_pack("{s:o, s:o}", "name", json_text(name), "value", json_text(value)));
	else
		out_printf("%s\n", value);
	return out_flush();
}

static int watch(struct peer *p, const struct wish *w, struct lp_err *err)
{
	const char *type = w->nr == 4 ? w->words[2] : NULL, *name = w->words[w->nr - 1];
	char *last = NULL, *now = NULL;
	int rc;

	if (w->nr < 3 || w->nr > 4)
		return lp_fail(err, LP_EUSAGE, "watch var [TYPE] NAME");
	while ((rc = value_of(p, type, name, &now, err)) == 0) {
		if (!last || strcmp(last, now) != 0)
			rc = show_value(w, name, now);
		lp_free(last);
		last = now;
		if (rc < 0)
			break;
		/* Nothing comes that was not asked for: what ends the wait before its time is the end of the process. */
		poll(&(struct pollfd){.fd = p->client.fd, .events = POLLIN}, 1, (int)w->interval_ms);
	}
	lp_free(last);
	return rc;
}

/* ---- names KIND ---- */

static int names(struct peer *p, const struct wish *w, struct lp_err *err)
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
		return lp_fail(err, LP_EUSAGE, "names flags|variables|libraries|functions");
	int rc = peer_ask(p, list, 2, PEER_ROWS, &rows, err);
	if (rc < 0)
		return rc;
	json_array_foreach(rows, i, row) show_line(json_object_get(row, "name"));
	json_decref(rows);
	return 0;
}

/* ---- ps ---- */

static void name_of(pid_t pid, char *out, size_t size)
{
	char path[64];
	struct lp_buf comm = {0};

	snprintf(path, sizeof path, "/proc/%d/comm", pid);
	bool known = lp_read_file(path, &comm, 4096, NULL) == 0;
	snprintf(out, size, "%s", known ? lp_buf_cstr(&comm) : "?");
	out[strcspn(out, "\n")] = 0;
	lp_buf_free(&comm);
}

static void list_one(const struct wish *w, pid_t pid, json_t *all)
{
	struct peer p;
	char name[64];

	if (peer_open(&p, pid, w->timeout_ms, NULL) < 0)
		return;
	peer_close(&p);
	name_of(pid, name, sizeof name);
	if (w->value[WISH_JSON])
		json_array_append_new(all, json_pack("{s:i, s:o}", "pid", (int)pid, "name", json_text(name)));
	else
		out_printf("%7d %s\n", (int)pid, name);
}

static int ps(const struct wish *w, struct lp_err *err)
{
	DIR *proc = opendir("/proc");
	json_t *all = json_array();
	uint64_t pid;

	if (!proc)
		return lp_fail_sys(err, errno, "cannot read /proc");
	for (struct dirent *e; (e = readdir(proc));) {
		if (parse_decimal(e->d_name, INT_MAX, &pid))
			list_one(w, (pid_t)pid, all);
	}
	closedir(proc);
	show(w, w->value[WISH_JSON] ? all : (json_decref(all), json_array()));
	return 0;
}

static bool begins(const struct wish *w, const char *first, const char *second)
{
	return w->nr && !strcmp(w->words[0], first) && (!second || (w->nr > 1 && !strcmp(w->words[1], second)));
}

/* ---- attach, detach ---- */

static int attach(const struct wish *w, struct lp_err *err)
{
	if (w->nr > 2)
		return lp_fail(err, LP_EUSAGE, "attach [LIBRARY]");
	int rc = attach_agent(w->pid, w->nr > 1 ? w->words[1] : NULL, w->timeout_ms, err);
	if (rc == 0)
		show(w, json_array());
	return rc;
}

static int detach(const struct wish *w, struct lp_err *err)
{
	bool force = w->nr == 2 && !strcmp(w->words[1], "--force");

	if (w->nr != 1 + (size_t)force)
		return lp_fail(err, LP_EUSAGE, "detach [--force]");
	int rc = detach_agent(w->pid, force, w->timeout_ms, err);
	if (rc == 0)
		show(w,
		     json_pack("[s]",
			       "its thread and its sockets are gone; the library stays mapped, and nothing runs it"));
	return rc;
}

/* ---- which of them ---- */

static int talk(const struct wish *w, struct lp_err *err)
{
	struct peer p;
	int rc = peer_open(&p, w->pid, w->timeout_ms, err);

	if (rc < 0)
		return rc;
	if (begins(w, "watch", "var"))
		rc = watch(&p, w, err);
	else if (begins(w, "names", NULL))
		rc = names(&p, w, err);
	else
		rc = run_command(&p, w, err);
	peer_close(&p);
	return rc;
}

static int run(const struct wish *w, struct lp_err *err)
{
	if (w->value[WISH_HELP] || (begins(w, "help", NULL) && !w->pid)) {
		help();
		return 0;
	}
	if (w->value[WISH_VERSION]) {
		out_printf("hotpatch %s\n", LP_TOOL_VERSION);
		return 0;
	}
	if (begins(w, "ps", NULL) && w->nr == 1)
		return ps(w, err);
	if (!w->nr)
		return lp_fail(err, LP_EUSAGE, "a command is missing; hotpatch --help lists them");
	if (!w->pid)
		return lp_fail(err, LP_EUSAGE, "which process? -p PID; hotpatch ps lists them");
	if (begins(w, "attach", NULL))
		return attach(w, err);
	if (begins(w, "detach", NULL))
		return detach(w, err);
	return talk(w, err);
}

static int status(int rc)
{
	return -rc == LP_ENOAGENT ? EXIT_LOST : status_of(rc);
}

int main(int argc, char **argv)
{
	struct wish w;
	struct lp_err err = {0};

	signal(SIGPIPE, SIG_IGN);
	out_setup(false, false, false);
	out_program("hotpatch");
	int rc = parse_wish(&w, argc, argv, &err);
	rc = rc < 0 ? rc : run(&w, &err);
	if (rc < 0 && w.value[WISH_JSON])
		json_emit(json_error(&err));
	else if (rc < 0)
		note_error(&err);
	return out_flush() < 0 && rc >= 0 ? EXIT_REFUSED : status(rc);
}
