/* Text for a terminal that came from anywhere, in columns. */
#ifndef LP_API_TEXT_H
#define LP_API_TEXT_H

#include "base/buf.h"

/* `text` without anything that moves the cursor: control characters and bytes that are no UTF-8 become \xNN. */
void lp_text_clean(struct lp_buf *out, const char *text);
/* Columns that clean text takes. */
size_t lp_text_width(const char *text);
/* Clean text, and blanks up to `width` columns. */
void lp_text_pad(struct lp_buf *out, const char *text, size_t width);

#endif
