/*
 * Commands by the words of a request.
 *
 *     rc = lp_verbs_find(&table, argv, argc, &command, &taken, err);   // taken: words of the command's own
 *     rc = lp_verbs_check(command, argc - taken, err);                 // as many as its synopsis says
 *
 * Pure; a table is two arrays, the server's own commands first.
 */
#ifndef LP_CONTROL_TABLE_H
#define LP_CONTROL_TABLE_H

#include "control/control.h"

struct lp_table {
	const struct lp_command *own, *theirs;
	size_t nr_own, nr_theirs;
};

size_t lp_verbs_size(const struct lp_table *t);
const struct lp_command *lp_verbs_row(const struct lp_table *t, size_t i);

/*
 * The command with most words that the request begins with.  -LP_EUSAGE says
 * what can follow a word that several commands begin with, or which command
 * looks like the one that was asked for.
 */
int lp_verbs_find(const struct lp_table *t, char *const *argv, size_t argc, const struct lp_command **out,
		  size_t *taken, struct lp_err *err);
int lp_verbs_check(const struct lp_command *c, size_t operands, struct lp_err *err);

/* Does the command begin with those words?  All do with none. */
bool lp_command_begins(const struct lp_command *c, char *const *words, size_t nr);

const char *lp_level_name(enum lp_level level);

#endif
