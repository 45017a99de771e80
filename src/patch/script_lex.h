/*
 * Words of one line of a script, and what is wrong with them.  Private to
 * patch/.
 */
#ifndef LP_PATCH_SCRIPT_LEX_H
#define LP_PATCH_SCRIPT_LEX_H

#include "base/buf.h"
#include "patch/patch.h"

/* A piece of the line; not NUL-terminated. */
struct lp_word {
	const char *text;
	size_t len;
	unsigned column; /* of its first byte, from 1 */
};

bool lp_word_is(struct lp_word w, const char *s);
bool lp_word_begins(struct lp_word w, const char *prefix);
struct lp_word lp_word_from(struct lp_word w, size_t skip);
struct lp_word lp_word_upto(struct lp_word w, size_t len);
char *lp_word_dup(struct lp_word w);

/* ---- a line, read from left to right ---- */

struct lp_lex {
	const char *line, *at, *end;
};

/* Where the first line of a text begins: a byte order mark is not part of it. */
const char *lp_lex_begin(const char *text, const char *end);
/* The line in [line, end).  One CR before the newline belongs to the line end, also where the last newline is missing. */
struct lp_lex lp_lex_line(const char *line, const char *end);

/* Skips blanks.  False at the end of the line and at a comment. */
bool lp_lex_more(struct lp_lex *l);
/* The next run of bytes that are not blank; empty at the end of the line. */
struct lp_word lp_lex_word(struct lp_lex *l);
/* All that is left of the line, blanks and # included, after the blanks that separate it. */
struct lp_word lp_lex_rest(struct lp_lex *l);
/* Where the lexer stands. */
unsigned lp_lex_column(const struct lp_lex *l);

/* ---- integers as strtol(s, NULL, 0) writes them, but checked ---- */

struct lp_integer {
	uint64_t magnitude;
	bool negative;
	bool too_big; /* beyond 64 bits; magnitude means nothing */
	size_t bad;   /* offset of the byte that does not belong, or the word's length when all of it is good */
	const char *base_name; /* "a decimal", "an octal", "a hexadecimal" */
};

/* A sign (+ or -) is allowed.  True when the word is an integer as a whole. */
bool lp_integer_read(struct lp_word w, struct lp_integer *out);
/* Within -2^(bits-1) .. 2^bits-1? */
bool lp_integer_fits(const struct lp_integer *n, unsigned bits);
uint64_t lp_integer_bits(const struct lp_integer *n); /* two's complement */

/* ---- complaints ---- */

#define LP_COMPLAINTS_MAX 20

struct lp_complaint {
	unsigned line, column;
	char *text;
};

/*
 * Collected while reading on.  Each phase of reading keeps one more than can
 * be shown, so that the first ones in the order of the text are among those
 * kept, and "..." is known to be true.
 */
struct lp_complaints {
	struct lp_complaint *items;
	size_t nr, cap;
	size_t phase; /* complaints of earlier phases */
};

/* Returns -LP_EPARSE. */
int lp_complain(struct lp_complaints *c, unsigned line, unsigned column, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void lp_complaints_next_phase(struct lp_complaints *c);
/* In the order of the text, as "file:line:column: sentence" lines, whole lines only.  0 when there are none. */
int lp_complaints_report(struct lp_complaints *c, const char *file, struct lp_err *err);
void lp_complaints_free(struct lp_complaints *c);

/* A word as messages show it: in backquotes, shortened, nothing that upsets a terminal. */
struct lp_quoted {
	char text[96];
};
struct lp_quoted lp_quote(struct lp_word w);

/* The closest of `names` (at most a third of it mistyped), or NULL. */
const char *lp_nearest(struct lp_word w, const char *const *names, size_t nr);

/* " (did you mean `jmp`?)", or nothing. */
struct lp_hint {
	char text[48];
};
struct lp_hint lp_hint(struct lp_word w, const char *const *names, size_t nr);

#endif
