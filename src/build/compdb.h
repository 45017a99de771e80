/*
 * compile_commands.json: how units were compiled, when nobody was there to see it.
 */
#ifndef LP_BUILD_COMPDB_H
#define LP_BUILD_COMPDB_H

#include "build/record.h"

/*
 * Adds a record for each entry whose object is there and which no record in `records` made; they count as older than those
 * that were seen.  Looks for the file at the top of the tree and in the directories one level below.  A file that cannot be
 * understood, or is not there, adds nothing.
 */
void lp_compdb_load(lp_record_vec *records, const char *tree);
/* The same from a text, for directories and files that the text names. */
void lp_compdb_parse(lp_record_vec *records, const char *text, size_t len, const char *tree);

#endif
