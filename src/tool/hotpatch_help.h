/*
 * hotpatch --help, from the tables of the client and of the agent.
 */
#ifndef LP_TOOL_HOTPATCH_HELP_H
#define LP_TOOL_HOTPATCH_HELP_H

void help(void);

#endif
