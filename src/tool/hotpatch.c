/*
 * hotpatch -p PID COMMAND...: asks the agent in a process.
 *
 * Options stand in front of the command.  What follows a command of the agent's
 * belongs to it, words with a '-' included (gflags set --unsafe ..., var set int
 * age -1); behind commands that are the client's own, its options may stand.
 */
#include "tool/hotpatch.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "tool/hotpatch_attach.h"
#include "tool/hotpatch_globals.h"
#include "tool/hotpatch_top.h"
#include "tool/hotpatch_watch.h"
#include "tool/tool.h"

#define TIMEOUT_DEFAULT_MS 10000
#define WATCH_DELAY_MS 100
#define TOP_DELAY_MS 2000
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

enum {
#define OPTION(id, letter, word, argument, sentence)
#define CLIENT(id, words, synopsis, summary) OWN_##id,
#include "tool/hotpatch.def"
#undef OPTION
#undef CLIENT
	NR_OWN
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
	unsigned timeout_ms;
	unsigned delay_ms; /* 0 = the command's own */
	int own;	   /* which of the client's own commands it is; -1 = the agent's */
	const char **words;
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

static int parse_seconds(const char *text, unsigned *ms, struct lp_err *err)
{
	char *end;
	double seconds = strtod(text, &end);

	if (!isdigit((unsigned char)*text) || *end || !(seconds <= DAY_S))
		return lp_fail(err, LP_EUSAGE, "\"%s\" is no number of seconds", text);
	*ms = (unsigned)ceil(seconds * 1000);
	return 0;
}

static int parse_delay(struct wish *w, struct lp_err *err)
{
	int rc = parse_seconds(w->value[WISH_DELAY], &w->delay_ms, err);

	return rc == 0 && !w->delay_ms ? lp_fail(err, LP_EUSAGE, "a delay is more than no time at all") : rc;
}

static int parse_values(struct wish *w, struct lp_err *err)
{
	int rc = w->value[WISH_PID] ? parse_pid(w, err) : 0;

	rc = rc == 0 && w->value[WISH_TIMEOUT] ? parse_seconds(w->value[WISH_TIMEOUT], &w->timeout_ms, err) : rc;
	return rc == 0 && w->value[WISH_DELAY] ? parse_delay(w, err) : rc;
}

/* Of the client's own commands, the one that begins with the word; -1 = none does. */
static int own_command(const char *word)
{
	static const char *const own[NR_OWN] = {
#define OPTION(id, letter, word, argument, sentence)
#define CLIENT(id, words, synopsis, summary) [OWN_##id] = words,
#include "tool/hotpatch.def"
#undef OPTION
#undef CLIENT
	};

	for (int i = 0; i < NR_OWN; i++) {
		size_t len = strcspn(own[i], " ");

		if (!strncmp(own[i], word, len) && !word[len])
			return i;
	}
	return -1;
}

static bool is_option(const char *arg)
{
	const char *value;

	return arg[0] == '-' && option_called(arg, &value) >= 0;
}

/* Behind the client's own commands, what looks like an option is one, or a mistake. */
static bool is_meant_as_option(const struct wish *w, const char *arg)
{
	return w->own >= 0 && arg[0] == '-' && arg[1] && (w->own != OWN_DETACH || strcmp(arg, "--force") != 0);
}

/* Would a ";" here end a command, or an empty one? */
static bool ends_command(const struct wish *w)
{
	return w->nr && strcmp(w->words[w->nr - 1], ";") != 0;
}

/* The words of the command, in argv's place. */
static int take_words(struct wish *w, char **argv, int at, struct lp_err *err)
{
	int rc = 0;

	w->own = argv[at] ? own_command(argv[at]) : -1;
	w->words = (const char **)argv + at;
	for (; rc == 0 && argv[at]; at++) {
		if (is_meant_as_option(w, argv[at]))
			rc = take_option(w, argv, &at, err);
		else if (strcmp(argv[at], ";") != 0 || ends_command(w))
			w->words[w->nr++] = argv[at];
	}
	w->nr -= w->nr && !ends_command(w);
	return rc;
}

static int parse_wish(struct wish *w, int argc, char **argv, struct lp_err *err)
{
	int rc = 0, at = argc ? 1 : 0;

	*w = (struct wish){.timeout_ms = TIMEOUT_DEFAULT_MS};
	for (; rc == 0 && argv[at] && argv[at][0] == '-' && argv[at][1] && strcmp(argv[at], "--") != 0; at++)
		rc = take_option(w, argv, &at, err);
	if (rc < 0)
		return rc;
	at += argv[at] && !strcmp(argv[at], "--");
	rc = take_words(w, argv, at, err);
	return rc < 0 ? rc : parse_values(w, err);
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

/* ---- watch var [TYPE] NAME, top ---- */

static int watch(struct peer *p, const struct wish *w, struct lp_err *err)
{
	if (w->nr < 3 || w->nr > 4 || strcmp(w->words[1], "var") != 0)
		return lp_fail(err, LP_EUSAGE, "usage: watch var [TYPE] NAME");
	return watch_variable(p, w->nr == 4 ? w->words[2] : NULL, w->words[w->nr - 1],
			      w->delay_ms ? w->delay_ms : WATCH_DELAY_MS, w->value[WISH_JSON], err);
}

static int show_top(struct peer *p, const struct wish *w, struct lp_err *err)
{
	if (w->nr != 1)
		return lp_fail(err, LP_EUSAGE, "too many operands; usage: top");
	return top(p, w->value[WISH_ONCE], w->value[WISH_JSON], w->delay_ms ? w->delay_ms : TOP_DELAY_MS, err);
}

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
		return lp_fail(err, LP_EUSAGE, "usage: names flags|variables|libraries|functions");
	int rc = peer_ask(p, list, 2, PEER_ROWS, &rows, err);
	if (rc < 0)
		return rc;
	json_t *called = json_array();
	json_array_foreach(rows, i, row) json_array_append_new(called, name_of(w, row));
	json_decref(rows);
	show(w, called);
	return 0;
}

/* ---- ps ---- */

static void list_one(const struct wish *w, pid_t pid, json_t *all)
{
	struct peer p;
	char name[PROCESS_NAME_MAX];

	if (peer_open(&p, pid, w->timeout_ms, NULL) < 0)
		return;
	peer_close(&p);
	process_name(pid, name);
	if (w->value[WISH_JSON])
		json_array_append_new(all, json_pack("{s:i, s:o}", "pid", (int)pid, "name", json_text(name)));
	else
		out_printf("%7d %s\n", (int)pid, name);
}

static int ps(const struct wish *w, struct lp_err *err)
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
	show(w, w->value[WISH_JSON] ? all : (json_decref(all), json_array()));
	return 0;
}

/* ---- attach, detach ---- */

static int attach(const struct wish *w, struct lp_err *err)
{
	if (w->nr > 2)
		return lp_fail(err, LP_EUSAGE, "too many operands; usage: attach [LIBRARY]");
	int rc = attach_agent(w->pid, w->nr > 1 ? w->words[1] : NULL, w->timeout_ms, err);
	if (rc == 0)
		show(w, json_array());
	return rc;
}

static int detach(const struct wish *w, struct lp_err *err)
{
	bool force = w->nr == 2 && !strcmp(w->words[1], "--force");

	if (w->nr != 1 + (size_t)force)
		return lp_fail(err, LP_EUSAGE, "usage: detach [--force]");
	int rc = detach_agent(w->pid, force, w->timeout_ms, err);
	if (rc == 0)
		show(w,
		     json_pack("[s]",
			       "its thread and its sockets are gone; the library stays mapped, and nothing runs it"));
	return rc;
}

/* ---- which of them ---- */

static const struct own {
	int (*run)(const struct wish *w, struct lp_err *err);
	int (*talk)(struct peer *p, const struct wish *w, struct lp_err *err); /* of those that have no run */
} own_rows[NR_OWN] = {
	[OWN_PS] = {ps},
	[OWN_ATTACH] = {attach},
	[OWN_DETACH] = {detach},
	[OWN_WATCH] = {NULL, watch},
	[OWN_NAMES] = {NULL, names},
	[OWN_TOP] = {NULL, show_top},
};

static int check_options(const struct wish *w, struct lp_err *err)
{
	if (w->value[WISH_ONCE] && w->own != OWN_TOP)
		return lp_fail(err, LP_EUSAGE, "--once is for top");
	if (w->value[WISH_DELAY] && w->own != OWN_TOP && w->own != OWN_WATCH)
		return lp_fail(err, LP_EUSAGE, "--delay is for watch and top");
	return 0;
}

/* The agent cannot know that a word was meant for us. */
static int tell_of_options(const struct wish *w, struct lp_err *err)
{
	for (size_t i = 0; i < w->nr; i++) {
		if (w->words[i][0] == '-' && w->words[i][1] == '-' && is_option(w->words[i])) {
			lp_err_append(err, "\noptions stand in front of the command: hotpatch %s -p %d %s ...",
				      w->words[i], (int)w->pid, w->words[0]);
			break;
		}
	}
	return -LP_EUSAGE;
}

static int run_command(struct peer *p, const struct wish *w, struct lp_err *err)
{
	json_t *data;
	int rc = globals_want(w->words, w->nr) ? globals_ask(p, w->words, w->nr, form_of(w), &data, err)
					       : ask(p, w, &data, err);

	if (rc == 0)
		show(w, data);
	return rc == -LP_EUSAGE ? tell_of_options(w, err) : rc;
}

static int talk(const struct wish *w, struct lp_err *err)
{
	struct peer p;
	int rc = peer_open(&p, w->pid, w->timeout_ms, err);

	if (rc < 0)
		return rc;
	rc = w->own < 0 ? run_command(&p, w, err) : own_rows[w->own].talk(&p, w, err);
	peer_close(&p);
	return rc;
}

static int run(const struct wish *w, struct lp_err *err)
{
	int rc = check_options(w, err);

	if (w->value[WISH_HELP] || (w->nr && !w->pid && !strcmp(w->words[0], "help"))) {
		help();
		return 0;
	}
	if (w->value[WISH_VERSION]) {
		out_printf("hotpatch %s\n", LP_TOOL_VERSION);
		return 0;
	}
	if (rc < 0)
		return rc;
	if (!w->nr)
		return lp_fail(err, LP_EUSAGE, "a command is missing; hotpatch --help lists them");
	if (!w->pid && w->own != OWN_PS)
		return lp_fail(err, LP_EUSAGE, "which process? -p PID; hotpatch ps lists them");
	return w->own >= 0 && own_rows[w->own].run ? own_rows[w->own].run(w, err) : talk(w, err);
}

static int status(int rc)
{
	return -rc == LP_ENOAGENT ? EXIT_LOST : status_of(rc);
}

/* Whoever stopped reading knows that; what else went wrong is told. */
static int flush(int status)
{
	int rc = out_flush();

	if (rc == -EPIPE)
		return status;
	if (rc < 0)
		note("cannot write to standard output: %s", strerror(-rc));
	return rc < 0 && status == EXIT_DONE ? EXIT_REFUSED : status;
}

int main(int argc, char **argv)
{
	struct wish w;
	struct lp_err err = {0};

	lp_stdio_hold();
	signal(SIGPIPE, SIG_IGN);
	out_setup(false, false, false);
	out_program("hotpatch");
	int rc = parse_wish(&w, argc, argv, &err);
	rc = rc < 0 ? rc : run(&w, &err);
	if (rc < 0 && w.value[WISH_JSON])
		json_emit(json_error(&err));
	else if (rc < 0)
		note_error(&err);
	return flush(status(rc));
}
