#include "control/json.h"

#include <string.h>

#define HALVES 0xd800u /* the first half of a pair; the second begins at LOW_HALVES */
#define LOW_HALVES 0xdc00u
#define HALVES_END 0xe000u

/* ---- UTF-8 ---- */

static bool is_continuation(uint8_t byte)
{
	return (byte & 0xc0) == 0x80;
}

size_t lp_utf8_length(const char *s, size_t len, uint32_t *value)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const uint8_t *p = (const uint8_t *)s;
	size_t n = len == 0	 ? 0
		   : p[0] < 0x80 ? 1
		   : p[0] < 0xc2 ? 0
		   : p[0] < 0xe0 ? 2
		   : p[0] < 0xf0 ? 3
		   : p[0] < 0xf5 ? 4
				 : 0;
	if (n == 0 || n > len)
		return 0;
	uint32_t v = n == 1 ? p[0] : p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if (!is_continuation(p[i]))
			return 0;
		v = v << 6 | (p[i] & 0x3f);
	}
	if (v < least[n] || v > 0x10ffff || (v >= HALVES && v < HALVES_END))
		return 0;
	if (value)
		*value = v;
	return n;
}

static void put_utf8(struct lp_buf *b, uint32_t v)
{
	static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
	size_t n = v < 0x80 ? 1 : v < 0x800 ? 2 : v < 0x10000 ? 3 : 4;
	uint8_t bytes[4];
	for (size_t i = n - 1; i > 0; i--, v >>= 6)
		bytes[i] = (uint8_t)(0x80 | (v & 0x3f));
	bytes[0] = (uint8_t)(lead[n] | v);
	lp_buf_add(b, bytes, n);
}

/* ---- reading ---- */

struct lp_json lp_json_of(const char *text, size_t len)
{
	return (struct lp_json){text, text, text + len};
}

char lp_json_peek(struct lp_json *j)
{
	while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' || *j->at == '\n' || *j->at == '\r'))
		j->at++;
	return j->at < j->end ? *j->at : 0;
}

bool lp_json_take(struct lp_json *j, char c)
{
	bool yes = lp_json_peek(j) == c && j->at < j->end;
	j->at += yes;
	return yes;
}

int lp_json_fail(struct lp_json *j, struct lp_err *err, const char *what)
{
	return lp_fail(err, LP_EPARSE, "JSON, column %td: expected %s", j->at - j->start + 1, what);
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

static bool take_four_digits(struct lp_json *j, uint32_t *out)
{
	uint32_t v = 0;
	if (j->end - j->at < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(j->at[i]);
		if (digit < 0)
			return false;
		v = v << 4 | (uint32_t)digit;
	}
	j->at += 4;
	*out = v;
	return true;
}

/* The second half of a pair, when it follows. */
static bool take_low_half(struct lp_json *j, uint32_t *out)
{
	const char *before = j->at;
	if (j->end - j->at >= 2 && j->at[0] == '\\' && j->at[1] == 'u') {
		j->at += 2;
		if (take_four_digits(j, out) && *out >= LOW_HALVES && *out < HALVES_END)
			return true;
	}
	j->at = before;
	return false;
}

/* Behind "\u". */
static int get_code_point(struct lp_json *j, struct lp_buf *out, struct lp_err *err)
{
	uint32_t v, low;
	if (!take_four_digits(j, &v))
		return lp_json_fail(j, err, "four hexadecimal digits");
	if (v == 0)
		return lp_json_fail(j, err, "a string without \\u0000");
	if (v >= LOW_HALVES + 0x80 && v <= LOW_HALVES + 0xff) {
		uint8_t byte = (uint8_t)(v - LOW_HALVES);
		lp_buf_add(out, &byte, 1);
		return 0;
	}
	if (v >= HALVES && v < LOW_HALVES && take_low_half(j, &low))
		v = 0x10000 + ((v - HALVES) << 10) + (low - LOW_HALVES);
	if (v >= HALVES && v < HALVES_END)
		return lp_json_fail(j, err, "a whole surrogate pair");
	put_utf8(out, v);
	return 0;
}

static int get_escape(struct lp_json *j, struct lp_buf *out, struct lp_err *err)
{
	static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	char c = j->at < j->end ? *j->at : 0;
	const char *letter = c ? strchr(letters, c) : NULL;
	if (letter) {
		lp_buf_add(out, &meanings[letter - letters], 1);
		j->at++;
		return 0;
	}
	if (c != 'u')
		return lp_json_fail(j, err, "an escape of JSON");
	j->at++;
	return get_code_point(j, out, err);
}

int lp_json_get_string(struct lp_json *j, struct lp_buf *out, struct lp_err *err)
{
	if (!lp_json_take(j, '"'))
		return lp_json_fail(j, err, "a string");
	while (j->at < j->end && *j->at != '"') {
		size_t n = lp_utf8_length(j->at, (size_t)(j->end - j->at), NULL);
		if (n == 0 || (uint8_t)*j->at < 0x20)
			return lp_json_fail(j, err, "UTF-8 without control characters");
		if (*j->at == '\\') {
			j->at++;
			int rc = get_escape(j, out, err);
			if (rc < 0)
				return rc;
			continue;
		}
		lp_buf_add(out, j->at, n);
		j->at += n;
	}
	return lp_json_take(j, '"') ? 0 : lp_json_fail(j, err, "the end of the string");
}

static bool take_word(struct lp_json *j, const char *word)
{
	size_t n = strlen(word);
	lp_json_peek(j);
	bool yes = (size_t)(j->end - j->at) >= n && memcmp(j->at, word, n) == 0;
	j->at += yes ? n : 0;
	return yes;
}

int lp_json_get_bool(struct lp_json *j, bool *out, struct lp_err *err)
{
	*out = take_word(j, "true");
	return *out || take_word(j, "false") ? 0 : lp_json_fail(j, err, "true or false");
}

static size_t take_digits(struct lp_json *j)
{
	const char *before = j->at;
	while (j->at < j->end && *j->at >= '0' && *j->at <= '9')
		j->at++;
	return (size_t)(j->at - before);
}

static bool take_here(struct lp_json *j, const char *any)
{
	bool yes = j->at < j->end && *j->at && strchr(any, *j->at);
	j->at += yes;
	return yes;
}

/* -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)? */
static bool take_number(struct lp_json *j)
{
	take_here(j, "-");
	if (!take_here(j, "0") && take_digits(j) == 0)
		return false;
	if (take_here(j, ".") && take_digits(j) == 0)
		return false;
	if (!take_here(j, "eE"))
		return true;
	take_here(j, "+-");
	return take_digits(j) > 0;
}

int lp_json_get_scalar(struct lp_json *j, struct lp_buf *out, struct lp_err *err)
{
	struct lp_buf ignored = {0};
	int rc = 0;
	char c = lp_json_peek(j);
	const char *before = j->at;
	if (c == '"')
		rc = lp_json_get_string(j, &ignored, err);
	else if (!take_word(j, "true") && !take_word(j, "false") && !take_word(j, "null") && !take_number(j))
		rc = lp_json_fail(j, err, "a string, a number, true, false or null");
	if (rc == 0)
		lp_buf_add(out, before, (size_t)(j->at - before));
	lp_buf_free(&ignored);
	return rc;
}

/* ---- writing ---- */

static void put_byte(struct lp_buf *b, uint8_t byte, enum lp_json_bytes bytes)
{
	if (bytes == LP_JSON_ESCAPED)
		lp_buf_printf(b, "\\udc%02x", byte);
	else
		lp_buf_str(b, "\xef\xbf\xbd");
}

static void put_ascii(struct lp_buf *b, char c)
{
	static const char letters[] = "\"\\bfnrt", meanings[] = "\"\\\b\f\n\r\t";
	const char *meaning = strchr(meanings, c);
	if (meaning)
		lp_buf_add(b, (char[]){'\\', letters[meaning - meanings]}, 2);
	else if ((uint8_t)c < 0x20 || c == 0x7f)
		lp_buf_printf(b, "\\u%04x", c);
	else
		lp_buf_add(b, &c, 1);
}

void lp_json_put_string(struct lp_buf *b, const char *s, enum lp_json_bytes bytes)
{
	size_t left = strlen(s);
	lp_buf_str(b, "\"");
	while (left) {
		size_t n = lp_utf8_length(s, left, NULL);
		if (n == 0)
			put_byte(b, (uint8_t)*s, bytes);
		else if (n == 1)
			put_ascii(b, *s);
		else
			lp_buf_add(b, s, n);
		s += n ? n : 1;
		left -= n ? n : 1;
	}
	lp_buf_str(b, "\"");
}
