/*
 * From the bytes of a connection to requests.
 *
 *     struct lp_control_wire w = {.line_max = 65536};
 *     lp_control_wire_feed(&w, data, len);                 // whatever came, cut as it may be
 *     while ((rc = lp_control_wire_next(&w, &request, &err)) != 0) {
 *             rc > 0: request;  rc < 0: a malformed one, to be answered by err; reading goes on behind it
 *             lp_request_free(&request);
 *     }
 *     lp_control_wire_finish(&w);                          // at the end of input, or after silence: a line without its end is one
 *
 * The first byte of a connection decides: '{' = JSON, anything else = text.
 *
 * Text.  A line ends with LF or CR LF.  Commands are separated by ';', words by
 * blanks.  A word that begins with ' or " goes on to the next one of those, and
 * may hold anything; in "..." the escapes of C stand for what they do in C.
 *
 * JSON.  One object a line:
 *
 *     "cmd"    a line of text; or the words of one command; or an array of such arrays
 *     "id"     any scalar, optional: comes back with the reply
 *     "text"   true: rows of the reply are the lines that text clients see
 *
 * How the bytes were cut makes no difference, and never more than line_max
 * bytes and the last piece are held.  Pure: no input, no output, no time.
 */
#ifndef LP_CONTROL_WIRE_H
#define LP_CONTROL_WIRE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

#define LP_REQUEST_COMMANDS_MAX 256 /* in one line */
#define LP_REQUEST_ID_MAX 256	    /* bytes */

struct lp_words {
	char **items;
	size_t nr, cap;
};

struct lp_request {
	bool json;			  /* how it came */
	bool lines;			  /* "text": true */
	struct lp_buf id;		  /* JSON text; empty = none */
	LP_VEC(struct lp_words) commands; /* at least one, none without a word */
};

enum lp_control_form { LP_FORM_UNKNOWN, LP_FORM_TEXT, LP_FORM_JSON };

/* Zero but for line_max. */
struct lp_control_wire {
	size_t line_max;
	enum lp_control_form form;
	bool ends_lines; /* the client has ended a line once: it will end the others, too */
	/* private */
	struct lp_buf bytes;
	size_t taken;	 /* bytes before it are done with */
	size_t searched; /* no line ends before it */
	bool skipping;	 /* up to the end of a line that is too long */
	bool finished;	 /* what stands there is a line */
};

void lp_control_wire_feed(struct lp_control_wire *w, const void *data, size_t len);
/* 1 = a request, 0 = more bytes are needed, -LP_EPARSE, -LP_ETOOLONG.  Fills in `out` (also when it refuses: json and id). */
int lp_control_wire_next(struct lp_control_wire *w, struct lp_request *out, struct lp_err *err);
void lp_control_wire_finish(struct lp_control_wire *w);
/* Bytes wait for the end of their line. */
bool lp_control_wire_is_partial(const struct lp_control_wire *w);
/* A line is there: next() will not return 0. */
bool lp_control_wire_has_line(struct lp_control_wire *w);
void lp_control_wire_free(struct lp_control_wire *w);

void lp_request_free(struct lp_request *r);

#endif
