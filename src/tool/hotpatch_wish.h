/*
 * What a command line asks for.
 *
 *     struct wish w;
 *     rc = wish_parse(&w, argc, argv, err);   // after a refusal, too, w says whether JSON is wanted
 *     rc = rc < 0 ? rc : wish_check(&w, err);
 *
 * Options stand in front of the command.  What follows a command of the agent's
 * belongs to it, words with a '-' included (gflags set --unsafe ..., var set int
 * age -1); behind commands that are the client's own, its options may stand.
 */
#ifndef LP_TOOL_HOTPATCH_WISH_H
#define LP_TOOL_HOTPATCH_WISH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

enum {
#define OPTION(id, letter, word, argument, sentence) WISH_##id,
#define CLIENT(id, words, synopsis, summary)
#include "tool/hotpatch.def"
#undef OPTION
#undef CLIENT
	NR_WISHES
};

/* Commands that the client knows by itself. */
enum {
#define OPTION(id, letter, word, argument, sentence)
#define CLIENT(id, words, synopsis, summary) OWN_##id,
#include "tool/hotpatch.def"
#undef OPTION
#undef CLIENT
	NR_OWN
};

/* Strings are argv's. */
struct wish {
	const char *value[NR_WISHES]; /* "" for one that takes none; NULL when it is not there */
	pid_t pid;
	unsigned timeout_ms;
	unsigned delay_ms; /* 0 = the command's own */
	int own;	   /* which of the client's own commands it is; -1 = the agent's */
	const char **words;
	size_t nr;
};

int wish_parse(struct wish *w, int argc, char **argv, struct lp_err *err);
/* What can be told to be wrong before anybody is asked.  -LP_EUSAGE. */
int wish_check(const struct wish *w, struct lp_err *err);

/* The command of the client's own that begins with the word; -1 = none does. */
int wish_own_command(const char *word);
/* A word that would be an option in front of the command. */
bool wish_is_option(const char *word);
/* How many of the words come before the first ";". */
size_t wish_command_length(const char *const *words, size_t nr);

#endif
