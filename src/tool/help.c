#include "tool/tool.h"

#include <stdio.h>
#include <string.h>

#define HELP_WIDTH 79
#define HELP_INDENT 24

/* `text` in lines that end before HELP_WIDTH, the first one continuing at column HELP_INDENT. */
static void print_wrapped(const char *text)
{
	size_t column = HELP_INDENT;
	while (*text) {
		size_t word = strcspn(text, " ");
		if (column > HELP_INDENT && column + 1 + word > HELP_WIDTH) {
			out_printf("\n%*s", HELP_INDENT, "");
			column = HELP_INDENT;
		}
		out_printf("%s%.*s", column > HELP_INDENT ? " " : "", (int)word, text);
		column += word + (column > HELP_INDENT);
		text += word;
		text += strspn(text, " ");
	}
	out_printf("\n");
}

static void print_option(const struct option_row *o)
{
	char letter[8] = "   ";
	if (o->letter)
		snprintf(letter, sizeof letter, "-%c,", o->letter);
	int used = snprintf(NULL, 0, "  %s --%s%s%s", letter, o->word, o->argument ? " " : "",
			    o->argument ? o->argument : "");
	bool fits = used < HELP_INDENT;
	out_printf("  %s --%s%s%s%s%*s", letter, o->word, o->argument ? " " : "", o->argument ? o->argument : "",
		   fits ? "" : "\n", fits ? HELP_INDENT - used : HELP_INDENT, "");
	print_wrapped(o->sentence);
}

static void print_usage(const char *lead, const struct verb *v)
{
	out_printf("%s livepatch%s%s %s\n", lead, v->word[0] ? " " : "", v->word, v->synopsis);
}

static void help_verb(const struct verb *v)
{
	print_usage("usage:", v);
	out_printf("  %s.\n\n", v->summary);
	for (int i = 0; i < OPT_COUNT; i++)
		if (verb_takes(v, (enum option_id)i))
			print_option(&option_table[i]);
}

static void help_all(void)
{
	out_printf("livepatch changes the code and data of a running process, as a whole or not at all.\n\n");
	for (int i = 0; i < VERB_COUNT; i++)
		print_usage(i ? "      " : "usage:", &verb_table[i]);
	out_printf("\n");
	for (int i = 0; i < VERB_COUNT; i++) {
		const struct verb *v = &verb_table[i];
		if (v->word[0]) {
			out_printf("  %-*s", HELP_INDENT - 2, v->word);
			print_wrapped(v->summary);
		}
	}
	out_printf("\nlivepatch help VERB shows the options of a verb, man livepatch the script language.\n"
		   "Exit status: 0 done, 1 refused and nothing changed, 2 wrong usage, 3 target lost.\n");
}

void help_print(const struct verb *v)
{
	if (v)
		help_verb(v);
	else
		help_all();
}

int verb_help(const struct args *a, struct lp_err *err)
{
	if (!a->nr_operands) {
		help_print(NULL);
		return 0;
	}
	const struct verb *v = verb_find(a->operands[0]);
	if (v) {
		help_print(v);
		return 0;
	}
	const char *nearest = verb_nearest(a->operands[0]);
	return lp_fail(err, LP_EUSAGE, "there is no verb %s%s%s%s", a->operands[0], nearest ? "; did you mean " : "",
		       nearest ? nearest : "", nearest ? "?" : "");
}
