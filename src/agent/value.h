/*
 * Values as text and as bytes.
 *
 *     const struct lp_type *t = lp_type_named("int");
 *     rc = lp_value_parse(t, "0x20", bytes, err);
 *     lp_value_print(t, bytes, &text);
 *
 * Numbers are read and written as in the C locale, whatever the program's is.
 */
#ifndef LP_AGENT_VALUE_H
#define LP_AGENT_VALUE_H

#include "base/buf.h"
#include "base/err.h"
#include <hotpatch.h>

#define LP_VALUE_MAX 8
#define LP_TEXT_MAX 65536 /* of a string that is shown */

enum lp_kind {
	LP_KIND_BOOL,
	LP_KIND_CHAR,
	LP_KIND_SIGNED,
	LP_KIND_UNSIGNED,
	LP_KIND_REAL,
	LP_KIND_CSTRING,
	LP_KIND_STRING,	 /* only through an accessor */
	LP_KIND_UNTYPED, /* the request says */
};

struct lp_type {
	enum hotpatch_type id;
	enum lp_kind kind;
	size_t size; /* bytes; 0: none of its own */
	const char *const *names;
};

const struct lp_type *lp_type_named(const char *name);		  /* NULL: there is none */
const struct lp_type *lp_type_of(enum hotpatch_type id);	  /* NULL: out of range */
const struct lp_type *lp_type_sized(size_t size, bool is_signed); /* integer of that size, NULL when there is none */

/* Scalars.  -LP_EVALUE: not a number, or one that does not fit. */
int lp_value_parse(const struct lp_type *t, const char *text, uint8_t out[LP_VALUE_MAX], struct lp_err *err);
void lp_value_print(const struct lp_type *t, const uint8_t bytes[LP_VALUE_MAX], struct lp_buf *out);

#endif
