#include "tool/hotpatch_ask.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "tool/hotpatch_globals.h"
#include "tool/tool.h"

/* ---- answers ---- */

static void show_line(const json_t *row)
{
	const char *text = json_string_value(row);

	out_printf("%s\n", text ? text : "?");
}

void answer_show(const struct wish *w, json_t *data)
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

/* ---- asking ---- */

static void free_words(word_vec *words)
{
	for (size_t i = 0; i < words->nr; i++)
		lp_free(words->items[i]);
	lp_vec_free(words);
}

static void make_path_whole(char **path)
{
	char here[PATH_MAX];

	if (**path == '/' || access(*path, F_OK) < 0 || !getcwd(here, sizeof here))
		return;
	char *whole = lp_sprintf("%s/%s", here, *path);
	lp_free(*path);
	*path = whole;
}

/* The process stands somewhere else: paths of "lib load NAME PATH" that mean something here are sent whole. */
static void make_paths_whole(word_vec *line)
{
	for (size_t at = 0, len; at < line->nr; at += len + 1) {
		char **words = line->items + at;

		len = wish_command_length((const char *const *)words, line->nr - at);
		if (len > 3 && !strcmp(words[0], "lib") && !strcmp(words[1], "load"))
			make_path_whole(&words[3]);
	}
}

static int write_line(struct peer *p, const struct wish *w, enum globals_how how, word_vec *line, struct lp_err *err)
{
	int rc = how == GLOBALS_TRANSLATE ? globals_translate(p, w->words, w->nr, line, err) : 0;

	for (size_t i = 0; how == GLOBALS_NOT && i < w->nr; i++)
		lp_vec_push(line, lp_strdup(w->words[i]));
	if (rc == 0 && !p->elsewhere)
		make_paths_whole(line);
	return rc;
}

static int ask(struct peer *p, const struct wish *w, json_t **data, struct lp_err *err)
{
	enum globals_how how = globals_how(w->words, w->nr);
	word_vec line = {0};

	if (how == GLOBALS_ANSWER)
		return globals_answer(p, w->words, w->nr, form_of(w), data, err);
	int rc = write_line(p, w, how, &line, err);
	rc = rc < 0 ? rc : peer_ask(p, (const char *const *)line.items, line.nr, form_of(w), data, err);
	free_words(&line);
	return rc;
}

/* ---- what the agent cannot know ---- */

static bool is_agents(const char *verb)
{
	static const char *const verbs[] = {
#define COMMAND(words, synopsis, level, run, summary) words,
#include "agent/command.def"
#undef COMMAND
		"help", "version", "stats", "begin", "commit", "abort", "prompt", "json",
	};
	size_t len = strlen(verb);

	for (size_t i = 0; i < LP_ARRAY_SIZE(verbs); i++) {
		if (!strncmp(verbs[i], verb, len) && (!verbs[i][len] || verbs[i][len] == ' '))
			return true;
	}
	return false;
}

/* What the command is called that is asked for, or asked about. */
static const char *verb_of(const char *const *words, size_t nr)
{
	return words[nr > 1 && !strcmp(words[0], "help")];
}

static bool all_are_agents(const struct wish *w)
{
	for (size_t at = 0, len; at < w->nr; at += len + 1) {
		len = wish_command_length(w->words + at, w->nr - at);
		if (!is_agents(verb_of(w->words + at, len)))
			return false;
	}
	return true;
}

static void list_own(struct lp_err *err)
{
	static const char *const own[NR_OWN] = {
#define OPTION(id, letter, word, argument, sentence)
#define CLIENT(id, words, synopsis, summary) [OWN_##id] = words,
#include "tool/hotpatch.def"
#undef OPTION
#undef CLIENT
	};

	lp_err_append(err, "\nthe client's own commands are");
	for (int i = 0; i < NR_OWN; i++)
		lp_err_append(err, "%s %.*s", i ? "," : "", (int)strcspn(own[i], " "), own[i]);
	lp_err_append(err, ": hotpatch --help");
}

static void tell_of_options(const struct wish *w, struct lp_err *err)
{
	for (size_t i = 0; i < w->nr; i++) {
		if (!strncmp(w->words[i], "--", 2) && wish_is_option(w->words[i])) {
			lp_err_append(err, "\noptions stand in front of the command: hotpatch %s -p %d %s ...",
				      w->words[i], (int)w->pid, w->words[0]);
			break;
		}
	}
}

int ask_agent(struct peer *p, const struct wish *w, struct lp_err *err)
{
	json_t *data;
	int rc = ask(p, w, &data, err);

	if (rc == 0)
		answer_show(w, data);
	if (rc == -LP_EUSAGE && !all_are_agents(w))
		list_own(err);
	if (rc == -LP_EUSAGE)
		tell_of_options(w, err);
	return rc;
}
