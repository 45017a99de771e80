/*
 * Comparison of two assembly files of one translation unit, before and after a change, as `kpatch_gensrc` does it.
 *
 *     struct lp_gensrc_options o = {.syntax = LP_ASM_GUESS};
 *     rc = lp_gensrc_diff(&o, &before, &after, &out, err);     // `before` unchanged, and what changed in .kpatch.* sections
 *     rc = lp_gensrc_filter(&before, LP_FILTER_CFI, &out);     // debug information taken out
 *     lp_gensrc_options_free(&o);
 *
 * The output assembles to an object that is linked in place of the original one: the original's sections come out byte
 * for byte, and beside them
 *
 *     .kpatch.text    F.kpatch ... F.kpatch_end for every changed function F, new functions
 *     .kpatch.rodata  strings, constants and tables that these use
 *     .kpatch.data    new variables
 *     .kpatch.info    one record of 48 bytes per function (docs/format-kpatch.md), names in .kpatch.strtab
 *
 * What gcc and clang write for C and C++ is understood, and so is assembly by hand that marks its functions with .type.  Functions
 * are compared after their local labels are numbered in order of appearance and the strings, constants and jump tables that they
 * refer to are put in place of the reference, so that a label's number is no change.
 *
 * Nothing is kept between calls.  Errors are sentences that name function or variable, and line where there is one.
 */
#ifndef LP_BUILD_GENSRC_H
#define LP_BUILD_GENSRC_H

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

/* How the assembler writes comments and operands. */
enum lp_asm_syntax {
	LP_ASM_GUESS,	/* from what stands in the files */
	LP_ASM_PERCENT, /* # starts a comment, registers have a % (AT&T) */
	LP_ASM_SLASHES, /* // starts a comment, # an immediate */
};

/* "name", or "file.c:name": only in that source file. */
struct lp_gensrc_name {
	char *file; /* NULL = any */
	char *name;
};

typedef LP_VEC(struct lp_gensrc_name) lp_gensrc_names;

struct lp_gensrc_options {
	enum lp_asm_syntax syntax;
	const char *file;		/* what "file.c:" is compared with; NULL = what the assembly says in .file */
	bool force_gotpcrel;		/* variables that may be a library's are reached through the GOT */
	bool force_global;		/* the new forms of functions are made global symbols */
	lp_gensrc_names ignore_changes; /* changes in these do not count */
	lp_gensrc_names unlink_symbols; /* the new form is put into the patch, nothing leads to it */
	lp_gensrc_names must_adapt; /* a change in these is refused unless the function is marked KPGENSRC_ADAPTED */
	/* Functions that may change at all; others are ignored.  Empty = every one. */
	lp_gensrc_names only;
	void (*log)(void *arg, const char *line); /* what was paired, what differs; may be NULL */
	void *arg;
};

/* "name,file:name,..." appended to the list. */
void lp_gensrc_names_add(lp_gensrc_names *list, const char *text);
void lp_gensrc_options_free(struct lp_gensrc_options *o);

struct lp_gensrc_summary {
	size_t changed, added, variables; /* functions, functions, variables */
};

/* An input is a whole file, `name` what errors call it.  `sum` may be NULL. */
struct lp_gensrc_input {
	const char *name;
	const char *text;
	size_t len;
};

int lp_gensrc_diff(const struct lp_gensrc_options *o, const struct lp_gensrc_input *before,
		   const struct lp_gensrc_input *after, struct lp_buf *out, struct lp_gensrc_summary *sum,
		   struct lp_err *err);

enum lp_gensrc_filter {
	LP_FILTER_EH_FRAME = 1,	     /* .eh_frame sections too */
	LP_FILTER_EXCEPT_TABLE = 2,  /* .gcc_except_table sections too */
	LP_FILTER_CFI = 4,	     /* .cfi_* too */
	LP_FILTER_EMIT_NEWLINES = 8, /* an empty line for each that is left out */
};

/* The file without debug information. */
int lp_gensrc_filter(const struct lp_gensrc_input *in, unsigned flags, enum lp_asm_syntax syntax, struct lp_buf *out,
		     struct lp_err *err);

#endif
