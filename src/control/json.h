/*
 * As much JSON as the protocol speaks: a reader that walks over one text, and
 * a writer of strings.
 *
 *     struct lp_json j = lp_json_of(text, len);
 *     if (!lp_json_take(&j, '{'))
 *             return lp_json_fail(&j, err, "an object");
 *     rc = lp_json_get_string(&j, &name, err);
 *
 * Strict: RFC 8259, UTF-8, no value that has no place in a C string.  One
 * convention beyond it, which Python's os.fsencode() has too: a byte that is
 * not UTF-8 travels as the escape of a lone half of a pair, 0xff as "\udcff".
 */
#ifndef LP_CONTROL_JSON_H
#define LP_CONTROL_JSON_H

#include "base/buf.h"
#include "base/err.h"

struct lp_json {
	const char *start, *at, *end;
};

struct lp_json lp_json_of(const char *text, size_t len);

/* Skips blanks, then: the next character, 0 at the end; or takes it when it is `c`. */
char lp_json_peek(struct lp_json *j);
bool lp_json_take(struct lp_json *j, char c);

/* "column N: expected WHAT"; -LP_EPARSE. */
int lp_json_fail(struct lp_json *j, struct lp_err *err, const char *what);

/* Appends what the string means. */
int lp_json_get_string(struct lp_json *j, struct lp_buf *out, struct lp_err *err);
int lp_json_get_bool(struct lp_json *j, bool *out, struct lp_err *err);
/* Appends the text of a string, number, true, false or null as it stands. */
int lp_json_get_scalar(struct lp_json *j, struct lp_buf *out, struct lp_err *err);

/* How many bytes at `s` are one character in UTF-8; 0 = none.  `value` may be NULL. */
size_t lp_utf8_length(const char *s, size_t len, uint32_t *value);

/* What becomes of a byte that is not UTF-8: U+FFFD, which every reader takes; or the escape, which is read back. */
enum lp_json_bytes { LP_JSON_REPLACED, LP_JSON_ESCAPED };
void lp_json_put_string(struct lp_buf *b, const char *s, enum lp_json_bytes bytes);

#endif
