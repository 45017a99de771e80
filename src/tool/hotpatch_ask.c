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
static int send_words(struct peer *p, const struct wish *w, json_t **data, struct lp_err *err)
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
		len = wish_command_length(w, at);
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
	int rc = globals_want(w->words, w->nr) ? globals_ask(p, w->words, w->nr, form_of(w), &data, err)
					       : send_words(p, w, &data, err);

	if (rc == 0)
		answer_show(w, data);
	if (rc == -LP_EUSAGE && !all_are_agents(w))
		list_own(err);
	if (rc == -LP_EUSAGE)
		tell_of_options(w, err);
	return rc;
}
