/*
 * var ... global:PATH without a type: the client looks into debug information,
 * and asks the agent for bytes.
 */
#ifndef LP_TOOL_HOTPATCH_GLOBALS_H
#define LP_TOOL_HOTPATCH_GLOBALS_H

#include "tool/hotpatch.h"
#include "tool/tool.h"

/*
 * How a line of commands is answered that has
 *
 *     var get global:PATH      var list global:PATH      alone
 *     var set global:PATH VALUE...                       beside whatever else happens together with it
 */
enum globals_how { GLOBALS_NOT, GLOBALS_ANSWER, GLOBALS_TRANSLATE };
enum globals_how globals_how(const char *const *words, size_t nr);
/* Rows, as of peer_ask(): lines of text or objects. */
int globals_answer(struct peer *p, const char *const *words, size_t nr, enum peer_form form, json_t **out,
		   struct lp_err *err);
/* The same line for the agent, with `mem set` in the place of each `var set`.  The words are the caller's, also after a failure. */
int globals_translate(struct peer *p, const char *const *words, size_t nr, word_vec *out, struct lp_err *err);

/* "global:...": without a type in front, it is one of these. */
bool globals_is_path(const char *word);
/*
 * The value of such a word again and again, in one line of text; debug
 * information is read once.  The caller frees the value.
 */
struct global_watch;
int global_watch_open(struct peer *p, const char *word, struct global_watch **out, struct lp_err *err);
int global_watch_value(struct global_watch *w, char **out, struct lp_err *err);
const char *global_watch_type(const struct global_watch *w);
void global_watch_close(struct global_watch *w); /* NULL is fine */

#endif
