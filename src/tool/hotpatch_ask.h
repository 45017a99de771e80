/*
 * A line of commands for the agent, and its answer as people or programs read it.
 */
#ifndef LP_TOOL_HOTPATCH_ASK_H
#define LP_TOOL_HOTPATCH_ASK_H

#include "tool/hotpatch.h"
#include "tool/hotpatch_wish.h"

/* Asks, and shows what comes.  To -LP_EUSAGE it adds what the agent cannot know. */
int ask_agent(struct peer *p, const struct wish *w, struct lp_err *err);

/* The rows of an answer: lines of text, or with --json anything.  Takes over the data. */
void answer_show(const struct wish *w, json_t *data);

#endif
