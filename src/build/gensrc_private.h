/*
 * Assembly as kpatch_gensrc sees it; private to gensrc*.c.
 *
 *     struct asm_file *f;
 *     rc = asm_parse(&f, input, syntax, err);
 *     ...
 *     asm_free(f);
 *
 * A file is a list of statements.  Those that put something into a section belong to an *atom*: a function, a variable, a string
 * or a table, which begins at its label.  Statements about symbols (.globl, .type, .set ...) are kept at the symbol.
 */
#ifndef LP_BUILD_GENSRC_PRIVATE_H
#define LP_BUILD_GENSRC_PRIVATE_H

#include "build/gensrc.h"

struct span {
	const char *s;
	size_t n;
};

enum directive_class {
	DIRECTIVE_BYTES, /* or an instruction */
	DIRECTIVE_SECTION,
	DIRECTIVE_SYMBOL,
	DIRECTIVE_OPEN, /* begins a function's unwind table, stands before or after its label */
	DIRECTIVE_CFI,
	DIRECTIVE_ALIGN,
	DIRECTIVE_NOTHING,
};

struct statement {
	struct span text; /* trimmed, without comment; of a label: its name */
	size_t line;	  /* from 0 */
	uint32_t section;
	uint8_t class; /* enum directive_class */
	bool label;
};

struct section {
	struct span name;
	struct span group; /* COMDAT signature; n = 0: none */
	bool alloc, exec, write, tls;
};

enum atom_kind {
	ATOM_FUNCTION,
	ATOM_VARIABLE,	/* has a name of its own */
	ATOM_ANONYMOUS, /* a string, constant or table: part of whoever refers to it */
	ATOM_OTHER,	/* nobody's: entries of .init_array, notes */
};

#define NONE SIZE_MAX

struct atom {
	enum atom_kind kind;
	uint32_t section;
	size_t symbol; /* its label; NONE for ATOM_OTHER */
	LP_VEC(size_t) statements;
	size_t prefix;	 /* how many of these came before the label (alignment, .cfi_startproc) */
	size_t parent;	 /* atom of the function whose .cold part this is, or NONE */
	size_t cold;	 /* the reverse */
	bool closed;	 /* its .size was seen, or the next one began */
	bool ended;	 /* its unwind table is complete */
	bool reads_code; /* refers to labels inside of functions */
	/* set by the comparison */
	size_t pair;	    /* atom of the other file, or NONE */
	bool changed, emit; /* of the new file */
};

struct symbol {
	struct span name;
	size_t atom; /* where it is defined, or NONE */
	bool owner;  /* it is what the atom is called, not a label inside of it */
	bool global, weak, local;
	bool function, object, tls, ifunc;
	struct span visibility; /* ".hidden" or n = 0 */
	struct span alias;	/* what .set says, n = 0: none */
	bool common;
	uint64_t common_size, common_align;
	/* set by the comparison */
	size_t pair;	     /* symbol of the other file (variables and functions), or NONE */
	bool fresh;	     /* of the new file: has no counterpart, and goes into the patch */
	bool queued;	     /* to be emitted (anonymous ones, aliases) */
	size_t walk, number; /* the last walk that met it, and its number there */
};

struct asm_file {
	const char *name;
	enum lp_asm_syntax syntax;
	struct span source; /* from .file */
	struct lp_buf text; /* own copy, comments blanked in `clean` */
	struct lp_buf clean;
	LP_VEC(struct span) lines; /* of `text`, without newline */
	LP_VEC(struct statement) statements;
	LP_VEC(struct section) sections;
	LP_VEC(struct atom) atoms;
	LP_VEC(struct symbol) symbols;
	size_t walks; /* so many walks were made over its references */
	size_t *hash;
	size_t hash_size;
};

int asm_parse(struct asm_file **out, const struct lp_gensrc_input *in, enum lp_asm_syntax syntax, struct lp_err *err);
void asm_free(struct asm_file *f);

/* The symbol of that name, or NONE; _add makes it. */
size_t asm_symbol(const struct asm_file *f, struct span name);
size_t asm_symbol_add(struct asm_file *f, struct span name);

/* The next word of a statement's operands that may be a symbol; false at the end.  *at begins at 0. */
bool asm_next_word(const struct asm_file *f, struct span statement, size_t *at, struct span *word);
/* The first word of a statement: mnemonic or directive. */
struct span asm_mnemonic(struct span statement);

bool span_is(struct span a, const char *s);
bool span_same(struct span a, struct span b);
bool span_starts(struct span a, const char *prefix);
bool span_ends(struct span a, const char *suffix);
struct span span_trim(struct span a);
/* "name.123", "name.isra.0.cold" -> "name" */
struct span span_human(struct span name);
#define SPAN_FMT(a) (int)(a).n, (a).s

enum directive_class directive_class(struct span word);

/* Both files parsed and, after asm_compare(), paired. */
struct comparison {
	const struct lp_gensrc_options *options;
	struct asm_file *old, *new;
	struct lp_err *err;
};

/* Called for each word that may be a symbol; what it appends stands in the word's place. */
typedef void asm_rewriter(void *arg, const struct asm_file *f, struct span word, struct lp_buf *out);
void asm_rewrite(const struct asm_file *f, struct span statement, asm_rewriter *rewrite, void *arg, struct lp_buf *out);

/* Variables, also those that only a .comm makes; functions. */
bool asm_is_data(const struct asm_file *f, const struct symbol *s);
bool asm_is_function(const struct asm_file *f, const struct symbol *s);
/* Is an alias (.set) that only this file sees. */
bool asm_is_local_alias(const struct symbol *s);
bool asm_is_local_label(struct span name);
/* Constant once the program runs. */
bool asm_is_constant(const struct section *s);

int asm_compare(struct comparison *c);
int asm_emit(struct comparison *c, struct lp_buf *out, struct lp_gensrc_summary *sum);

/* An instruction of the percent syntax, as lines: its access to a variable that `wanted` names is made through the GOT.
 * Flags, registers and the red zone are as the one instruction leaves them.  False when that cannot be done. */
bool asm_through_got(struct span statement, bool (*wanted)(void *arg, struct span symbol), void *arg,
		     struct lp_buf *out);

bool asm_names_have(const lp_gensrc_names *list, struct span file, struct span name);

#endif
