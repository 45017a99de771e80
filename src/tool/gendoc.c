/*
 * Runs on the build machine: fills the man page and the completions from the
 * tables that the parser reads, so that none of them can know an option that
 * the others do not.
 *
 *     gendoc TEMPLATE OUTPUT
 *
 * A line of the template that is a name of `fillings` between two @ is
 * replaced; every other line is copied.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NR(a) (sizeof(a) / sizeof((a)[0]))

enum verb_id {
#define VERB(id, word, run, effect, least, most, synopsis, summary) VERB_##id,
#include "tool/verbs.def"
#undef VERB
};

static const struct verb {
	const char *word, *synopsis, *summary;
} verbs[] = {
#define VERB(id, word, run, effect, least, most, synopsis, summary) {word, synopsis, summary},
#include "tool/verbs.def"
#undef VERB
};

static const struct option {
	int letter;
	const char *word, *argument;
	uint32_t verbs;
	const char *sentence;
} options[] = {
#define V(verb) (1u << VERB_##verb)
#define OPTION(id, letter, word, argument, verbs, sentence) {letter, word, argument, verbs, sentence},
#include "tool/options.def"
#undef OPTION
#undef V
};

static const struct error {
	const char *code, *sentence;
} errors[] = {
#define LP_ERR(name, machine, sentence) {machine, sentence},
#include "base/err.def"
#undef LP_ERR
};

/* The agent's, then those that its client does by itself. */
static const struct command {
	const char *words, *synopsis, *summary;
} commands[] = {
#define OPTION(id, letter, word, argument, sentence)
#define CLIENT(id, words, synopsis, summary) {words, synopsis, summary},
#define COMMAND(words, synopsis, level, run, summary) {words, synopsis, summary},
#include "agent/command.def"
#include "tool/hotpatch.def"
#undef OPTION
#undef CLIENT
#undef COMMAND
};

static const struct option client_options[] = {
#define OPTION(id, letter, word, argument, sentence) {letter, word, argument, 0, sentence},
#define CLIENT(id, words, synopsis, summary)
#include "tool/hotpatch.def"
#undef OPTION
#undef CLIENT
};

static const struct option runner_options[] = {
#define RUNNER(id, letter, word, argument, inherited, sentence) \
	{letter, word, sizeof(argument) > 1 ? argument : NULL, 0, sentence},
#include "tool/arm64_runner.def"
#undef RUNNER
};

static const struct option update_options[] = {
#define UPDATE(id, letter, word, argument, sentence) \
	{letter, word, sizeof(argument) > 1 ? argument : NULL, 0, sentence},
#include "tool/update_module.def"
#undef UPDATE
};

static const struct setting {
	const char *section, *key, *kind, *sentence;
	bool decides;
} settings[] = {
#define CONFIG(section, key, kind, member, sentence) {section, key, #kind, sentence, false},
#define DECIDES(section, key, kind, member, sentence) {section, key, #kind, sentence, true},
#include "runner/config.def"
#undef CONFIG
#undef DECIDES
};

static const struct refusal {
	const char *code;
	bool allowable;
} refusals[] = {
#define REFUSE(name, code, allowable, remedy) {code, allowable},
#include "diff/refuse.def"
#undef REFUSE
};

static int takes(size_t verb, const struct option *o)
{
	return o->verbs >> verb & 1;
}

static int is_word(const struct verb *v)
{
	return isalpha((unsigned char)v->word[0]);
}

/* ---- man page ---- */

/* groff would take '-' for a hyphen and a leading '.' or "'" for a request. */
static void roff(FILE *out, const char *text)
{
	for (const char *p = text; *p; p++) {
		if (p == text && (*p == '.' || *p == '\''))
			fputs("\\&", out);
		if (*p == '-')
			fputs("\\-", out);
		else if (*p == '\\')
			fputs("\\e", out);
		else
			fputc(*p, out);
	}
}

static void roff_sentence(FILE *out, const char *text)
{
	fputc(toupper((unsigned char)text[0]), out);
	roff(out, text + 1);
	fputs(".\n", out);
}

static void man_synopsis(FILE *out)
{
	for (size_t i = 0; i < NR(verbs); i++) {
		fputs(i ? ".br\n.B livepatch" : ".B livepatch", out);
		if (verbs[i].word[0]) {
			fputc(' ', out);
			roff(out, verbs[i].word);
		}
		fputc('\n', out);
		roff(out, verbs[i].synopsis);
		fputc('\n', out);
	}
}

static void man_verbs(FILE *out)
{
	for (size_t i = 0; i < NR(verbs); i++) {
		if (!verbs[i].word[0])
			continue;
		fputs(".TP\n.B livepatch ", out);
		roff(out, verbs[i].word);
		fputc('\n', out);
		roff_sentence(out, verbs[i].summary);
	}
}

static void man_taken_by(FILE *out, const struct option *o)
{
	const char *lead = "Taken by ";
	for (size_t i = 0; i < NR(verbs); i++) {
		if (!takes(i, o))
			continue;
		fprintf(out, "%s\\fB", lead);
		roff(out, verbs[i].word[0] ? verbs[i].word : "PID TARGET-BINARY");
		fputs("\\fR", out);
		lead = ", ";
	}
	fputs(".\n", out);
}

/* Written --word[=ARGUMENT], of which a shell completes the word. */
static int is_optional(const struct option *o)
{
	return o->argument && *o->argument == '[';
}

static void man_option(FILE *out, const struct option *o)
{
	fputs(".TP\n", out);
	if (o->letter)
		fprintf(out, "\\fB\\-%c\\fR, ", o->letter);
	fputs("\\fB\\-\\-", out);
	roff(out, o->word);
	fprintf(out, "\\fR%s%s%s%s\n", o->argument && !is_optional(o) ? " " : "", o->argument ? "\\fI" : "",
		o->argument ? o->argument : "", o->argument ? "\\fR" : "");
	roff_sentence(out, o->sentence);
}

static void man_options(FILE *out)
{
	for (size_t i = 0; i < NR(options); i++) {
		man_option(out, &options[i]);
		fputs(".br\n", out);
		man_taken_by(out, &options[i]);
	}
}

static void man_client_options(FILE *out)
{
	for (size_t i = 0; i < NR(client_options); i++)
		man_option(out, &client_options[i]);
}

static void man_runner_options(FILE *out)
{
	for (size_t i = 0; i < NR(runner_options); i++)
		man_option(out, &runner_options[i]);
}

static void man_update_options(FILE *out)
{
	for (size_t i = 0; i < NR(update_options); i++)
		man_option(out, &update_options[i]);
}

/* How the man page calls what a setting may be. */
static const char *kind_word(const char *kind)
{
	static const char *const words[][2] = {
		{"BOOL", "yes|no"},  {"CHANNEL", "stable|rc"}, {"JIT", "no|yes|tier1|tier2|both|check|check-tier2"},
		{"PATH", "FILE"},    {"PATHS", "FILE"},	       {"TEXT", "TEXT"},
		{"SECONDS", "TIME"}, {"KEYS", "KEY|FILE"},     {"SWITCH", "yes|no"},
		{"BYTES", "SIZE"}};

	for (size_t i = 0; i < NR(words); i++)
		if (!strcmp(words[i][0], kind))
			return words[i][1];
	return kind;
}

static void man_settings(FILE *out)
{
	for (size_t i = 0; i < NR(settings); i++) {
		const struct setting *s = &settings[i];
		if (!i || strcmp(s->section, settings[i - 1].section) != 0)
			fprintf(out, ".SS [%s]\n", s->section);
		fprintf(out, ".TP\n\\fB%s\\fR = \\fI%s\\fR%s\n", s->key, kind_word(s->kind), s->decides ? " (*)" : "");
		roff_sentence(out, s->sentence);
	}
}

static void man_commands(FILE *out)
{
	for (size_t i = 0; i < NR(commands); i++) {
		fputs(".TP\n.BI \"", out);
		roff(out, commands[i].words);
		fputs(" \" \"", out);
		roff(out, commands[i].synopsis);
		fputs("\"\n", out);
		roff_sentence(out, commands[i].summary);
	}
}

static void man_errors(FILE *out)
{
	for (size_t i = 0; i < NR(errors); i++) {
		fputs(".TP\n.B ", out);
		roff(out, errors[i].code);
		fputc('\n', out);
		roff_sentence(out, errors[i].sentence);
	}
}

/* What an argument is, by the letters that its name begins with: "CODE[:NAME]" is a CODE. */
static size_t kind_length(const char *argument)
{
	return strspn(argument, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
}

/* ---- bash ---- */

static void bash_verbs(FILE *out)
{
	fputs("\tlocal verbs=\"", out);
	for (size_t i = 0, nr = 0; i < NR(verbs); i++)
		if (is_word(&verbs[i]))
			fprintf(out, "%s%s", nr++ ? " " : "", verbs[i].word);
	fputs("\"\n", out);
}

static void bash_options(FILE *out)
{
	for (size_t v = 0; v < NR(verbs); v++) {
		fprintf(out, "\t%s) options=\"", verbs[v].word[0] ? verbs[v].word : "\"\"");
		for (size_t i = 0, nr = 0; i < NR(options); i++) {
			if (!takes(v, &options[i]))
				continue;
			fprintf(out, "%s--%s", nr++ ? " " : "", options[i].word);
			if (options[i].letter)
				fprintf(out, " -%c", options[i].letter);
		}
		fputs("\" ;;\n", out);
	}
}

/* What --allow may be told. */
static void bash_codes(FILE *out)
{
	fputs("\tlocal codes=\"", out);
	for (size_t i = 0, nr = 0; i < NR(refusals); i++)
		if (refusals[i].allowable)
			fprintf(out, "%s%s", nr++ ? " " : "", refusals[i].code);
	fputs("\"\n", out);
}

/* Options that are followed by a value, each with the function that offers one. */
static void bash_values(FILE *out)
{
	for (size_t i = 0; i < NR(options); i++) {
		if (!options[i].argument)
			continue;
		fputc('\t', out);
		if (options[i].letter)
			fprintf(out, "-%c|", options[i].letter);
		fprintf(out, "--%s) _livepatch_value %.*s; return ;;\n", options[i].word,
			(int)kind_length(options[i].argument), options[i].argument);
	}
}

/* One a line, behind each other: "gflags list" is two words to complete. */
static void bash_commands(FILE *out)
{
	for (size_t i = 0; i < NR(commands); i++)
		fprintf(out, "\t'%s'\n", commands[i].words);
}

static void bash_client_options(FILE *out)
{
	fputs("\tlocal options=\"", out);
	for (size_t i = 0; i < NR(client_options); i++)
		fprintf(out, "%s--%s", i ? " " : "", client_options[i].word);
	fputs("\"\n", out);
}

/* Those that take an argument, and those that do not: what comes behind the last of them is the program. */
static void bash_runner_options(FILE *out)
{
	static const char *const names[] = {"alone", "with"};

	for (int with = 0; with < 2; with++) {
		const char *between = "";
		fprintf(out, "\tlocal %s=\"", names[with]);
		for (size_t i = 0; i < NR(runner_options); i++) {
			if ((runner_options[i].argument && !is_optional(&runner_options[i])) != with)
				continue;
			fprintf(out, "%s--%s", between, runner_options[i].word);
			between = " ";
		}
		fputs("\"\n", out);
	}
}

static void bash_update_options(FILE *out)
{
	fputs("\tlocal options=\"", out);
	for (size_t i = 0; i < NR(update_options); i++)
		fprintf(out, "%s--%s", i ? " " : "", update_options[i].word);
	fputs("\"\n", out);
}

/* ---- zsh ---- */

/* Inside single quotes, within [...] of an _arguments specification. */
static void zsh_quoted(FILE *out, const char *text)
{
	for (const char *p = text; *p; p++) {
		if (*p == '\'')
			fputs("'\\''", out);
		else if (strchr("[]:\\", *p))
			fprintf(out, "\\%c", *p);
		else
			fputc(*p, out);
	}
}

static void zsh_verbs(FILE *out)
{
	for (size_t i = 0; i < NR(verbs); i++) {
		if (!is_word(&verbs[i]))
			continue;
		fprintf(out, "\t\t'%s:", verbs[i].word);
		zsh_quoted(out, verbs[i].summary);
		fputs("'\n", out);
	}
}

static void zsh_option(FILE *out, const char *program, const struct option *o)
{
	fputs("\t\t\t", out);
	if (o->letter)
		fprintf(out, "'(-%c --%s)'{-%c,--%s}'[", o->letter, o->word, o->letter, o->word);
	else
		fprintf(out, "'--%s[", o->word);
	zsh_quoted(out, o->sentence);
	fputc(']', out);
	if (o->argument && !is_optional(o)) {
		fputc(':', out);
		zsh_quoted(out, o->argument);
		fprintf(out, ":_%s_%.*s", program, (int)kind_length(o->argument), o->argument);
	}
	fputs("'\n", out);
}

static void zsh_options(FILE *out)
{
	for (size_t v = 0; v < NR(verbs); v++) {
		fprintf(out, "\t%s)\n\t\tspecs=(\n", verbs[v].word[0] ? verbs[v].word : "''");
		for (size_t i = 0; i < NR(options); i++)
			if (takes(v, &options[i]))
				zsh_option(out, "livepatch", &options[i]);
		fputs("\t\t)\n\t\t;;\n", out);
	}
}

static void zsh_client_options(FILE *out)
{
	for (size_t i = 0; i < NR(client_options); i++)
		zsh_option(out, "hotpatch", &client_options[i]);
}

static void zsh_runner_options(FILE *out)
{
	for (size_t i = 0; i < NR(runner_options); i++)
		zsh_option(out, "arm64_runner", &runner_options[i]);
}

static void zsh_update_options(FILE *out)
{
	for (size_t i = 0; i < NR(update_options); i++)
		zsh_option(out, "update_module", &update_options[i]);
}

/* ---- templates ---- */

static const struct {
	const char *name;
	void (*print)(FILE *out);
} fillings[] = {
	{"man-synopsis", man_synopsis},
	{"man-verbs", man_verbs},
	{"man-options", man_options},
	{"man-errors", man_errors},
	{"bash-verbs", bash_verbs},
	{"bash-options", bash_options},
	{"man-commands", man_commands},
	{"man-client-options", man_client_options},
	{"bash-commands", bash_commands},
	{"bash-client-options", bash_client_options},
	{"zsh-client-options", zsh_client_options},
	{"bash-codes", bash_codes},
	{"bash-values", bash_values},
	{"zsh-verbs", zsh_verbs},
	{"zsh-options", zsh_options},
	{"man-runner-options", man_runner_options},
	{"bash-runner-options", bash_runner_options},
	{"zsh-runner-options", zsh_runner_options},
	{"man-update-options", man_update_options},
	{"man-settings", man_settings},
	{"bash-update-options", bash_update_options},
	{"zsh-update-options", zsh_update_options},
};

static int fill(const char *line, FILE *out)
{
	for (size_t i = 0; i < NR(fillings); i++) {
		size_t len = strlen(fillings[i].name);
		if (line[0] == '@' && strncmp(line + 1, fillings[i].name, len) == 0 &&
		    strcmp(line + 1 + len, "@\n") == 0) {
			fillings[i].print(out);
			return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	char line[4096];
	FILE *in = argc == 3 ? fopen(argv[1], "r") : NULL;
	FILE *out = in ? fopen(argv[2], "w") : NULL;
	if (!out) {
		fprintf(stderr, "usage: gendoc TEMPLATE OUTPUT\n");
		return 2;
	}
	while (fgets(line, sizeof line, in))
		if (!fill(line, out))
			fputs(line, out);
	return ferror(in) || fclose(out) ? 1 : 0;
}
