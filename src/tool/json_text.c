/* JSON of what any program of ours may say: text, addresses, refusals; and how it is printed. */
#include "tool/tool.h"

#include <stdlib.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

static json_t *clean_text(const char *s, size_t len)
{
	struct lp_buf clean = {0};
	for (size_t i = 0; i < len;) {
		size_t n = utf8_length(s + i, len - i);
		if (n)
			lp_buf_add(&clean, s + i, n);
		else
			lp_buf_str(&clean, REPLACEMENT);
		i += n ? n : 1;
	}
	json_t *text = json_stringn_nocheck(lp_buf_cstr(&clean), clean.len);
	lp_buf_free(&clean);
	return text;
}

json_t *json_text(const char *s)
{
	return s ? clean_text(s, strlen(s)) : json_null();
}

json_t *json_addr(lp_addr a)
{
	return json_sprintf(LP_ADDR, a);
}

/* The first line is the message; a backtrace or a list of candidates follows it line by line. */
static void add_sentence(json_t *error, const char *text)
{
	size_t len = strcspn(text, "\n");
	json_object_set_new(error, "message", clean_text(text, len));
	if (!text[len])
		return;
	json_t *details = json_array();
	for (text += len; *text; text += len) {
		text++;
		len = strcspn(text, "\n");
		json_array_append_new(details, clean_text(text, len));
	}
	json_object_set_new(error, "details", details);
}

json_t *json_error(const struct lp_err *err)
{
	json_t *error = json_pack("{s:s}", "code", lp_err_name(err->code));
	add_sentence(error, err->text[0] ? err->text : lp_strerror(err->code));
	if (err->tid)
		json_object_set_new(error, "thread", json_integer(err->tid));
	if (err->function[0])
		json_object_set_new(error, "function", json_text(err->function));
	if (err->addr)
		json_object_set_new(error, "address", json_addr(err->addr));
	return json_pack("{s:b, s:o}", "ok", 0, "error", error);
}

static void emit(json_t *object, size_t layout)
{
	char *text = json_dumps(object, layout | JSON_ENSURE_ASCII);
	if (!text)
		abort(); /* out of memory; every string was checked above */
	out_json(text);
	free(text);
	json_decref(object);
}

void json_emit(json_t *object)
{
	emit(object, JSON_INDENT(2));
}

void json_emit_line(json_t *object)
{
	emit(object, JSON_COMPACT);
}
