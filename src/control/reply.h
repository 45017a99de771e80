/*
 * Replies: rows while the commands run, bytes when they have.
 *
 *     struct lp_reply r = lp_reply_as(LP_REPLY_TEXT);
 *     lp_reply_row(&r, ...);                            // control.h
 *     lp_reply_write(&r, &how, rc, &err, &out);         // rc < 0: the error instead of the rows
 *     lp_reply_free(&r);
 *
 *     text    "Success to run", then the rows, one line each; or one line "Error: CODE: sentence"
 *     JSON    {"id": ..., "ok": true, "data": [...]} or {"id": ..., "ok": false, "error": {"code": ..., "message": ...}}
 *
 * No value can end its line, or look like the end of a reply.
 */
#ifndef LP_CONTROL_REPLY_H
#define LP_CONTROL_REPLY_H

#include "control/control.h"

enum lp_reply_form {
	LP_REPLY_TEXT,
	LP_REPLY_JSON,	/* rows are objects */
	LP_REPLY_LINES, /* JSON whose rows are the lines of text */
};

struct lp_reply {
	enum lp_reply_form form;
	bool prompt;	/* text: an empty line ends it, and no row is one */
	const char *id; /* JSON text; NULL or "" = none */
	struct lp_buf rows;
	bool cut; /* there was no memory for all of its rows */
};

/* False: there is no memory to write it to `out`. */
bool lp_reply_fits(const struct lp_reply *r, struct lp_buf *out);

void lp_reply_write(struct lp_reply *r, int rc, const struct lp_err *err, struct lp_buf *out);
void lp_reply_free(struct lp_reply *r);

/* As in a row: control characters, backslashes and what is not UTF-8 become escapes of C. */
void lp_reply_escape(struct lp_buf *b, const char *s);

#endif
