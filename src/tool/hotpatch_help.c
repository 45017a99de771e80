#include "tool/hotpatch_help.h"

#include <stdio.h>

#include "tool/tool.h"

static void help_row(const char *words, const char *synopsis, const char *summary)
{
	int used = snprintf(NULL, 0, "  %s %s", words, synopsis);

	out_printf("  %s %s%*s%s\n", words, synopsis, used < 40 ? 40 - used : 2, "", summary);
}

static void help_option(char letter, const char *word, const char *argument, const char *sentence)
{
	char short_one[8] = "    ";

	if (letter)
		snprintf(short_one, sizeof short_one, "-%c, ", letter);
	int used = snprintf(NULL, 0, "  %s--%s %s", short_one, word, argument);
	out_printf("  %s--%s %s%*s%s\n", short_one, word, argument, used < 40 ? 40 - used : 2, "", sentence);
}

void help(void)
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
#define OPTION(id, letter, word, argument, sentence) help_option(letter, word, argument ? argument : "", sentence);
#define CLIENT(id, words, synopsis, summary)
#include "tool/hotpatch.def"
#undef OPTION
#undef CLIENT
	out_printf("\nExit status: 0 done, 1 refused and nothing changed (or not in time: it may happen yet), 2 wrong "
		   "use, 3 no such process, or no agent in it.\n");
}
