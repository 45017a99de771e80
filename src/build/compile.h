/*
 * Compiling recorded units again, into objects of our own.
 */
#ifndef LP_BUILD_COMPILE_H
#define LP_BUILD_COMPILE_H

#include "build/record.h"
#include "build/run.h"

struct lp_compile {
	const struct lp_record *record;
	size_t unit;
	const char *indirect; /* one more word, lp_compiler_indirect()'s; NULL = none */
	char *object;	      /* where it goes */
	char *log;
};

struct lp_compile_how {
	const char *map;     /* FROM=TO, or NULL: the prefix map of the recorded build */
	const char *include; /* searched last for headers; NULL = none */
	const char *epoch;   /* SOURCE_DATE_EPOCH where the record has none: __DATE__ is then the same on both sides */
	unsigned jobs;
};

/* The recorded command for this unit alone, with one section per function and datum. */
void lp_compile_command(lp_env_vec *argv, const struct lp_compile *c, const struct lp_compile_how *how);
/* As many at a time as `how` says.  A compiler that fails is -LP_EBUILD with its last words. */
int lp_compile_all(const struct lp_compile *units, size_t nr, const struct lp_compile_how *how,
		   const struct lp_watch *watch, struct lp_err *err);
/* Would compiling it so give what the build already made?  True for assembler, and when the command has the flags itself. */
bool lp_compile_is_needless(const struct lp_record *r, size_t unit);
/* The option that sends references to other objects' data through the GOT; NULL when this compiler has none. */
const char *lp_compiler_indirect(const struct lp_record *r, const char *scratch, const struct lp_watch *watch);
/* First line of what the unit's compiler says about its version; NULL when it says nothing. */
char *lp_compiler_version(const struct lp_record *r, const char *scratch, const struct lp_watch *watch);

#endif
