#include "control/wire.h"

#include <errno.h>
#include <string.h>

#include "control/json.h"

#define IDLE_BYTES 4096 /* a buffer of more is not kept for a connection that has nothing in it */

/* ---- requests ---- */

static void free_words(struct lp_words *w)
{
	for (size_t i = 0; i < w->nr; i++)
		lp_free(w->items[i]);
	lp_vec_free(w);
}

void lp_request_free(struct lp_request *r)
{
	for (size_t i = 0; i < r->commands.nr; i++)
		free_words(&r->commands.items[i]);
	lp_vec_free(&r->commands);
	lp_buf_free(&r->id);
}

/* Moves what the buffer holds to the end of the words. */
static void add_word(struct lp_words *words, struct lp_buf *word)
{
	lp_buf_add(word, "", 0);
	lp_vec_push(words, (char *)word->data);
	*word = (struct lp_buf){0};
}

static int add_command(struct lp_request *r, struct lp_words *words, struct lp_err *err)
{
	if (r->commands.nr == LP_REQUEST_COMMANDS_MAX)
		return lp_fail(err, LP_EPARSE, "more than %d commands in one line", LP_REQUEST_COMMANDS_MAX);
	lp_vec_push(&r->commands, *words);
	*words = (struct lp_words){0};
	return 0;
}

/* ---- text ---- */

struct text {
	const char *start, *at, *end;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static bool ends_word(const struct text *t)
{
	return t->at == t->end || is_blank(*t->at) || *t->at == ';';
}

static int complain(const struct text *t, struct lp_err *err, const char *what)
{
	return lp_fail(err, LP_EPARSE, "column %td: %s", t->at - t->start + 1, what);
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* Behind "\x": one or two digits. */
static int get_hex(struct text *t, struct lp_buf *word, struct lp_err *err)
{
	int value = 0, nr = 0;
	for (; nr < 2 && t->at < t->end && hex_digit(*t->at) >= 0; nr++)
		value = value * 16 + hex_digit(*t->at++);
	if (nr == 0 || value == 0)
		return complain(t, err, "\\x wants the hexadecimal digits of a byte that is not zero");
	uint8_t byte = (uint8_t)value;
	lp_buf_add(word, &byte, 1);
	return 0;
}

static int get_escape(struct text *t, struct lp_buf *word, struct lp_err *err)
{
	static const char letters[] = "\"'\\abefnrtv", meanings[] = "\"'\\\a\b\033\f\n\r\t\v";
	char c = t->at < t->end ? *t->at++ : 0;
	const char *letter = c ? strchr(letters, c) : NULL;
	if (c == 'x')
		return get_hex(t, word, err);
	if (!letter)
		return complain(t, err, "no escape of C behind the backslash");
	lp_buf_add(word, &meanings[letter - letters], 1);
	return 0;
}

static int get_quoted(struct text *t, struct lp_buf *word, struct lp_err *err)
{
	char quote = *t->at++;
	while (t->at < t->end && *t->at != quote) {
		char c = *t->at++;
		int rc = 0;
		if (c == '\\' && quote == '"')
			rc = get_escape(t, word, err);
		else
			lp_buf_add(word, &c, 1);
		if (rc < 0)
			return rc;
	}
	if (t->at == t->end)
		return complain(t, err, quote == '"' ? "the closing \" is missing" : "the closing ' is missing");
	t->at++;
	return ends_word(t) ? 0 : complain(t, err, "a blank or ';' is missing behind the quoted word");
}

static int get_word(struct text *t, struct lp_buf *word, struct lp_err *err)
{
	if (*t->at == '"' || *t->at == '\'')
		return get_quoted(t, word, err);
	const char *before = t->at;
	while (!ends_word(t))
		t->at++;
	lp_buf_add(word, before, (size_t)(t->at - before));
	return 0;
}

/* Up to the next ';'; none of its words may be there. */
static int get_command(struct text *t, struct lp_words *words, struct lp_err *err)
{
	struct lp_buf word = {0};
	int rc = 0;
	for (; rc == 0 && t->at < t->end && *t->at != ';';) {
		if (is_blank(*t->at)) {
			t->at++;
			continue;
		}
		rc = get_word(t, &word, err);
		if (rc == 0)
			add_word(words, &word);
	}
	t->at += t->at < t->end;
	lp_buf_free(&word);
	return rc;
}

static int parse_text(const char *line, size_t len, struct lp_request *out, struct lp_err *err)
{
	struct text t = {line, line, line + len};
	struct lp_words words = {0};
	int rc = 0;
	if (memchr(line, 0, len))
		return lp_fail(err, LP_EPARSE, "a NUL byte in the line");
	while (rc == 0 && t.at < t.end) {
		rc = get_command(&t, &words, err);
		if (rc == 0 && words.nr)
			rc = add_command(out, &words, err);
	}
	free_words(&words);
	return rc;
}

/* ---- JSON ---- */

/* Behind the '[' of it. */
static int get_strings(struct lp_json *j, struct lp_words *words, struct lp_err *err)
{
	struct lp_buf word = {0};
	int rc = 0;
	do {
		rc = lp_json_get_string(j, &word, err);
		if (rc == 0)
			add_word(words, &word);
	} while (rc == 0 && lp_json_take(j, ','));
	lp_buf_free(&word);
	if (rc == 0 && !lp_json_take(j, ']'))
		rc = lp_json_fail(j, err, "',' or ']'");
	return rc;
}

static int get_one_command(struct lp_json *j, struct lp_request *out, struct lp_err *err)
{
	struct lp_words words = {0};
	int rc = get_strings(j, &words, err);
	if (rc == 0)
		rc = add_command(out, &words, err);
	free_words(&words);
	return rc;
}

/* Behind the outer '['. */
static int get_commands(struct lp_json *j, struct lp_request *out, struct lp_err *err)
{
	int rc;
	do {
		rc = lp_json_take(j, '[') ? get_one_command(j, out, err) : lp_json_fail(j, err, "'['");
	} while (rc == 0 && lp_json_take(j, ','));
	if (rc == 0 && !lp_json_take(j, ']'))
		rc = lp_json_fail(j, err, "',' or ']'");
	return rc;
}

static int get_text_commands(struct lp_json *j, struct lp_request *out, struct lp_err *err)
{
	struct lp_buf text = {0};
	int rc = lp_json_get_string(j, &text, err);
	if (rc == 0 && memchr(lp_buf_cstr(&text), '\n', text.len))
		rc = lp_json_fail(j, err, "one line of commands");
	if (rc == 0)
		rc = parse_text(lp_buf_cstr(&text), text.len, out, err);
	lp_buf_free(&text);
	return rc;
}

static int get_cmd(struct lp_json *j, struct lp_request *out, struct lp_err *err)
{
	if (lp_json_peek(j) == '"')
		return get_text_commands(j, out, err);
	if (!lp_json_take(j, '['))
		return lp_json_fail(j, err, "a string or an array of strings");
	return lp_json_peek(j) == '[' ? get_commands(j, out, err) : get_one_command(j, out, err);
}

static int get_id(struct lp_json *j, struct lp_request *out, struct lp_err *err)
{
	struct lp_buf id = {0};
	int rc = lp_json_get_scalar(j, &id, err);
	if (rc == 0 && id.len > LP_REQUEST_ID_MAX)
		rc = lp_fail(err, LP_EPARSE, "the id is longer than %d bytes", LP_REQUEST_ID_MAX);
	if (rc == 0)
		lp_buf_add(&out->id, id.data, id.len);
	lp_buf_free(&id);
	return rc;
}

static int get_text_flag(struct lp_json *j, struct lp_request *out, struct lp_err *err)
{
	return lp_json_get_bool(j, &out->lines, err);
}

static const struct member {
	const char *name;
	int (*get)(struct lp_json *j, struct lp_request *out, struct lp_err *err);
} members[] = {
	{"cmd", get_cmd},
	{"id", get_id},
	{"text", get_text_flag},
};

static int get_member(struct lp_json *j, unsigned *seen, struct lp_request *out, struct lp_err *err)
{
	struct lp_buf name = {0};
	int rc = lp_json_get_string(j, &name, err);
	size_t i = 0;
	while (rc == 0 && i < LP_ARRAY_SIZE(members) && strcmp(members[i].name, lp_buf_cstr(&name)) != 0)
		i++;
	if (rc == 0 && i == LP_ARRAY_SIZE(members))
		rc = lp_fail(err, LP_EPARSE, "JSON: a request has cmd, id and text, but no \"%.40s\"",
			     lp_buf_cstr(&name));
	else if (rc == 0 && (*seen & 1u << i))
		rc = lp_fail(err, LP_EPARSE, "JSON: \"%s\" is there twice", members[i].name);
	else if (rc == 0)
		rc = lp_json_take(j, ':') ? members[i].get(j, out, err) : lp_json_fail(j, err, "':'");
	*seen |= i < LP_ARRAY_SIZE(members) ? 1u << i : 0;
	lp_buf_free(&name);
	return rc;
}

static int parse_json(const char *line, size_t len, struct lp_request *out, struct lp_err *err)
{
	struct lp_json j = lp_json_of(line, len);
	unsigned seen = 0;
	int rc = 0;
	if (!lp_json_take(&j, '{'))
		return lp_json_fail(&j, err, "an object");
	if (!lp_json_take(&j, '}')) {
		do {
			rc = get_member(&j, &seen, out, err);
		} while (rc == 0 && lp_json_take(&j, ','));
		if (rc == 0 && !lp_json_take(&j, '}'))
			rc = lp_json_fail(&j, err, "',' or '}'");
	}
	if (rc == 0 && (lp_json_peek(&j) || j.at < j.end))
		rc = lp_json_fail(&j, err, "the end of the line");
	return rc;
}

/* ---- lines ---- */

static void compact(struct lp_control_wire *w)
{
	if (w->taken == 0)
		return;
	memmove(w->bytes.data, w->bytes.data + w->taken, w->bytes.len - w->taken);
	w->bytes.len -= w->taken;
	w->searched -= w->taken;
	w->taken = 0;
}

/* Of a line that is skipped nothing is kept but its end. */
void lp_control_wire_feed(struct lp_control_wire *w, const void *data, size_t len)
{
	const char *from = data, *end = from + len;
	if (len && w->form == LP_FORM_UNKNOWN)
		w->form = *from == '{' ? LP_FORM_JSON : LP_FORM_TEXT;
	w->finished = false;
	if (w->skipping && w->bytes.len == w->taken) {
		from = memchr(from, '\n', len);
		if (!from)
			return;
	}
	compact(w);
	lp_buf_add(&w->bytes, from, (size_t)(end - from));
}

void lp_control_wire_finish(struct lp_control_wire *w)
{
	w->finished = true;
}

static void drop_bytes(struct lp_control_wire *w)
{
	if (w->bytes.cap > IDLE_BYTES)
		lp_buf_free(&w->bytes);
	w->bytes.len = w->taken = w->searched = 0;
}

bool lp_control_wire_is_partial(const struct lp_control_wire *w)
{
	return w->skipping || w->taken < w->bytes.len;
}

static const char *find_end(struct lp_control_wire *w)
{
	if (w->searched == w->bytes.len)
		return NULL;
	const char *end = memchr(w->bytes.data + w->searched, '\n', w->bytes.len - w->searched);
	w->searched = end ? (size_t)(end - (const char *)w->bytes.data) : w->bytes.len;
	return end;
}

static bool is_too_long(const struct lp_control_wire *w)
{
	return w->searched - w->taken > w->line_max;
}

bool lp_control_wire_has_line(struct lp_control_wire *w)
{
	bool ends = find_end(w) != NULL || w->finished;
	return w->taken < w->bytes.len && (w->skipping ? ends : ends || is_too_long(w));
}

struct line {
	const char *text;
	size_t len;
};

static int too_long(struct lp_control_wire *w, struct lp_err *err)
{
	return lp_fail(err, LP_ETOOLONG, "a line is longer than %zu bytes", w->line_max);
}

/* 1 = a line, which stays where it is until the next feed(); 0 = none; negative: one that is too long. */
static int next_line(struct lp_control_wire *w, struct line *out, struct lp_err *err)
{
	const char *end = find_end(w);
	bool skipped = w->skipping, long_one = is_too_long(w);
	*out = (struct line){lp_buf_cstr(&w->bytes) + w->taken, w->searched - w->taken};
	if (end) {
		w->taken = w->searched = w->searched + 1;
		w->ends_lines = true;
		w->skipping = false;
		return skipped ? next_line(w, out, err) : long_one ? too_long(w, err) : 1;
	}
	if (w->finished && !skipped && !long_one) {
		w->taken = w->bytes.len;
		return out->len > 0;
	}
	w->skipping = !w->finished && (skipped || long_one);
	if (skipped || long_one)
		drop_bytes(w);
	return long_one && !skipped ? too_long(w, err) : 0;
}

static bool is_all_blank(struct line l)
{
	while (l.len && is_blank(*l.text))
		l.text++, l.len--;
	return l.len == 0;
}

static int parse(const struct lp_control_wire *w, struct line line, struct lp_request *out, struct lp_err *err)
{
	int rc = out->json ? parse_json(line.text, line.len, out, err) : parse_text(line.text, line.len, out, err);
	if (rc == 0 && out->commands.nr == 0)
		rc = lp_fail(err, LP_EUSAGE, "a command is missing; \"help\" lists them");
	return rc < 0 ? rc : 1;
}

int lp_control_wire_next(struct lp_control_wire *w, struct lp_request *out, struct lp_err *err)
{
	struct line line;
	int rc;
	do {
		*out = (struct lp_request){.json = w->form == LP_FORM_JSON};
		rc = next_line(w, &line, err);
	} while (rc > 0 && out->json && is_all_blank(line));
	if (rc > 0)
		rc = parse(w, line, out, err);
	if (w->taken == w->bytes.len)
		drop_bytes(w);
	return rc;
}

void lp_control_wire_free(struct lp_control_wire *w)
{
	lp_buf_free(&w->bytes);
}
