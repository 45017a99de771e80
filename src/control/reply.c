#include "control/reply.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "control/json.h"

#define FRAME_MAX 64 /* around the rows */

/* ---- values ---- */

static void escape_byte(struct lp_buf *b, uint8_t byte)
{
	static const char letters[] = "\\abefnrtv", meanings[] = "\\\a\b\033\f\n\r\t\v";
	const char *meaning = byte ? strchr(meanings, byte) : NULL;
	if (meaning)
		lp_buf_add(b, (char[]){'\\', letters[meaning - meanings]}, 2);
	else
		lp_buf_printf(b, "\\x%02x", byte);
}

/* Those of C1, too: to some terminals U+009B is what ESC [ is. */
static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

void lp_reply_escape(struct lp_buf *b, const char *s)
{
	const char *plain = s; /* from here to s nothing needs an escape */
	for (size_t left = strlen(s); left;) {
		uint32_t c = 0;
		size_t n = lp_utf8_length(s, left, &c), step = n ? n : 1;
		if (n == 0 || is_control(c) || c == '\\') {
			lp_buf_add(b, plain, (size_t)(s - plain));
			for (size_t i = 0; i < step; i++)
				escape_byte(b, (uint8_t)s[i]);
			plain = s + step;
		}
		s += step;
		left -= step;
	}
	lp_buf_add(b, plain, (size_t)(s - plain));
}

/* The shortest decimal that reads back as the same. */
static void put_real(struct lp_buf *b, double value)
{
	char text[40];
	for (int digits = 6; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	lp_buf_str(b, text);
}

static const char *string_of(const struct lp_field *f)
{
	return f->s ? f->s : "(null)";
}

static void put_text(struct lp_buf *b, const struct lp_field *f)
{
	switch (f->type) {
	case LP_FIELD_STRING:
		lp_reply_escape(b, string_of(f));
		break;
	case LP_FIELD_INT:
		lp_buf_printf(b, "%" PRId64, f->i);
		break;
	case LP_FIELD_UINT:
		lp_buf_printf(b, "%" PRIu64, f->u);
		break;
	case LP_FIELD_REAL:
		put_real(b, f->r);
		break;
	case LP_FIELD_BOOL:
		lp_buf_str(b, f->u ? "true" : "false");
		break;
	case LP_FIELD_ADDR:
		lp_buf_printf(b, LP_ADDR, f->u);
		break;
	}
}

/* A string of JSON where JSON has no such value. */
static bool is_quoted(const struct lp_field *f)
{
	return f->type == LP_FIELD_ADDR || (f->type == LP_FIELD_REAL && !isfinite(f->r));
}

static void put_json(struct lp_buf *b, const struct lp_field *f)
{
	if (f->type == LP_FIELD_STRING) {
		if (f->s)
			lp_json_put_string(b, f->s, LP_JSON_REPLACED);
		else
			lp_buf_str(b, "null");
		return;
	}
	lp_buf_str(b, is_quoted(f) ? "\"" : "");
	put_text(b, f);
	lp_buf_str(b, is_quoted(f) ? "\"" : "");
}

/* ---- rows ---- */

static void put_line(struct lp_buf *b, const char *format, const struct lp_field *fields, size_t nr)
{
	for (; *format; format++) {
		if (*format != '%')
			lp_buf_add(b, format, 1);
		else if (nr)
			put_text(b, fields);
		if (*format == '%' && nr) {
			fields++;
			nr--;
		}
	}
}

static void put_object(struct lp_buf *b, const struct lp_field *fields, size_t nr)
{
	lp_buf_str(b, "{");
	for (size_t i = 0; i < nr; i++) {
		lp_buf_str(b, i ? ", " : "");
		lp_json_put_string(b, fields[i].name, LP_JSON_REPLACED);
		lp_buf_str(b, ": ");
		put_json(b, &fields[i]);
	}
	lp_buf_str(b, "}");
}

/* One row is small; all of them may not be. */
static void add_row(struct lp_reply *r, const struct lp_buf *row)
{
	const char *between = r->form != LP_REPLY_TEXT && r->rows.len ? ", " : "";
	r->cut = r->cut || !lp_buf_has_room(&r->rows, strlen(between) + row->len);
	if (r->cut)
		return;
	lp_buf_str(&r->rows, between);
	lp_buf_add(&r->rows, row->data, row->len);
}

void lp_reply_fields(struct lp_reply *r, const char *format, const struct lp_field *fields, size_t nr)
{
	struct lp_buf line = {0}, row = {0};
	switch (r->form) {
	case LP_REPLY_TEXT:
		put_line(&row, format, fields, nr);
		lp_buf_str(&row, r->prompt && row.len == 0 ? "\"\"\n" : "\n");
		break;
	case LP_REPLY_JSON:
		put_object(&row, fields, nr);
		break;
	case LP_REPLY_LINES:
		put_line(&line, format, fields, nr);
		lp_json_put_string(&row, lp_buf_cstr(&line), LP_JSON_REPLACED);
		break;
	}
	add_row(r, &row);
	lp_buf_free(&line);
	lp_buf_free(&row);
}

/* ---- the whole ---- */

static const char *sentence_of(int rc, const struct lp_err *err)
{
	return err->text[0] ? err->text : lp_strerror(rc);
}

/* Details stand on lines of their own; here they follow behind a semicolon. */
static void put_sentence(struct lp_buf *out, const char *sentence)
{
	const char *end;
	for (; (end = strchr(sentence, '\n')); sentence = end + 1) {
		char *line = lp_sprintf("%.*s; ", (int)(end - sentence), sentence);
		lp_reply_escape(out, line);
		lp_free(line);
	}
	lp_reply_escape(out, sentence);
	lp_buf_str(out, "\n");
}

static void write_text(struct lp_reply *r, int rc, const struct lp_err *err, struct lp_buf *out)
{
	if (rc < 0) {
		lp_buf_printf(out, "Error: %s: ", lp_err_name(rc));
		put_sentence(out, sentence_of(rc, err));
	} else {
		lp_buf_str(out, "Success to run\n");
		lp_buf_add(out, r->rows.data, r->rows.len);
	}
	if (r->prompt)
		lp_buf_str(out, "\n");
}

static void write_json(struct lp_reply *r, int rc, const struct lp_err *err, struct lp_buf *out)
{
	lp_buf_str(out, "{");
	if (r->id && *r->id)
		lp_buf_printf(out, "\"id\": %s, ", r->id);
	if (rc < 0) {
		lp_buf_printf(out, "\"ok\": false, \"error\": {\"code\": \"%s\", \"message\": ", lp_err_name(rc));
		lp_json_put_string(out, sentence_of(rc, err), LP_JSON_REPLACED);
		lp_buf_str(out, "}}\n");
	} else {
		lp_buf_str(out, "\"ok\": true, \"data\": [");
		lp_buf_add(out, r->rows.data, r->rows.len);
		lp_buf_str(out, "]}\n");
	}
}

bool lp_reply_fits(const struct lp_reply *r, struct lp_buf *out)
{
	return !r->cut && lp_buf_has_room(out, r->rows.len + (r->id ? strlen(r->id) : 0) + FRAME_MAX);
}

void lp_reply_write(struct lp_reply *r, int rc, const struct lp_err *err, struct lp_buf *out)
{
	if (r->form == LP_REPLY_TEXT)
		write_text(r, rc, err, out);
	else
		write_json(r, rc, err, out);
}

void lp_reply_free(struct lp_reply *r)
{
	lp_buf_free(&r->rows);
}
