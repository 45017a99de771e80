/*
 * var ... global:PATH without a type: the client looks into debug information,
 * and asks the agent for bytes.
 */
#ifndef LP_TOOL_HOTPATCH_GLOBALS_H
#define LP_TOOL_HOTPATCH_GLOBALS_H

#include "tool/hotpatch.h"

/*
 * Is this line one of
 *
 *     var get global:PATH        var list global:PATH
 *     var set global:PATH VALUE...  { ";" var set global:PATH VALUE... }
 */
bool globals_want(const char *const *words, size_t nr);
/*
 * Rows, as of peer_ask(): lines of text or objects.  `mem set` of all is one
 * request: they happen together.
 */
int globals_ask(struct peer *p, const char *const *words, size_t nr, enum peer_form form, json_t **out,
		struct lp_err *err);

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
