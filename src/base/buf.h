/*
 * A growing string of bytes, always followed by a NUL that is not counted.
 */
#ifndef LP_BASE_BUF_H
#define LP_BASE_BUF_H

#include "base/addr.h"

struct lp_buf {
	uint8_t *data;
	size_t len, cap;
};

/* False: no memory for so much more; with it, so much can be added. */
bool lp_buf_has_room(struct lp_buf *b, size_t more);
void lp_buf_add(struct lp_buf *b, const void *data, size_t len);
void lp_buf_fill(struct lp_buf *b, uint8_t byte, size_t count);
void lp_buf_str(struct lp_buf *b, const char *s);
void lp_buf_printf(struct lp_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void lp_buf_hex(struct lp_buf *b, const void *data, size_t len); /* "48 89 e5" */
const char *lp_buf_cstr(struct lp_buf *b);			 /* never NULL */
void lp_buf_free(struct lp_buf *b);

#endif
