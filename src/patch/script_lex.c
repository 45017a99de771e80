#include "patch/script_lex.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

/* ---- words ---- */

bool lp_word_is(struct lp_word w, const char *s)
{
	return w.len == strlen(s) && memcmp(w.text, s, w.len) == 0;
}

bool lp_word_begins(struct lp_word w, const char *prefix)
{
	size_t len = strlen(prefix);
	return w.len >= len && memcmp(w.text, prefix, len) == 0;
}

struct lp_word lp_word_from(struct lp_word w, size_t skip)
{
	return (struct lp_word){w.text + skip, w.len - skip, w.column + (unsigned)skip};
}

struct lp_word lp_word_upto(struct lp_word w, size_t len)
{
	return (struct lp_word){w.text, len, w.column};
}

char *lp_word_dup(struct lp_word w)
{
	char *s = lp_alloc(w.len + 1);
	memcpy(s, w.text, w.len);
	return s;
}

/* ---- a line ---- */

const char *lp_lex_begin(const char *text, const char *end)
{
	return end - text >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? text + 3 : text;
}

struct lp_lex lp_lex_line(const char *line, const char *end)
{
	return (struct lp_lex){line, line, end > line && end[-1] == '\r' ? end - 1 : end};
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static void skip_blanks(struct lp_lex *l)
{
	while (l->at < l->end && is_blank(*l->at))
		l->at++;
}

unsigned lp_lex_column(const struct lp_lex *l)
{
	return (unsigned)(l->at - l->line) + 1;
}

bool lp_lex_more(struct lp_lex *l)
{
	skip_blanks(l);
	return l->at < l->end && *l->at != '#';
}

struct lp_word lp_lex_word(struct lp_lex *l)
{
	bool more = lp_lex_more(l);
	struct lp_word w = {l->at, 0, lp_lex_column(l)};
	while (more && l->at < l->end && !is_blank(*l->at))
		l->at++;
	w.len = (size_t)(l->at - w.text);
	return w;
}

struct lp_word lp_lex_rest(struct lp_lex *l)
{
	skip_blanks(l);
	struct lp_word w = {l->at, (size_t)(l->end - l->at), lp_lex_column(l)};
	l->at = l->end;
	return w;
}

/* ---- integers ---- */

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

static unsigned read_base(struct lp_word w, size_t *i, struct lp_integer *n)
{
	if (*i + 2 < w.len && w.text[*i] == '0' && (w.text[*i + 1] | 0x20) == 'x') {
		*i += 2;
		n->base_name = "a hexadecimal";
		return 16;
	}
	bool octal = *i + 1 < w.len && w.text[*i] == '0';
	n->base_name = octal ? "an octal" : "a decimal";
	return octal ? 8 : 10;
}

bool lp_integer_read(struct lp_word w, struct lp_integer *out)
{
	*out = (struct lp_integer){0};
	size_t i = 0;
	if (w.len && (w.text[0] == '-' || w.text[0] == '+'))
		out->negative = w.text[i++] == '-';
	unsigned base = read_base(w, &i, out);
	size_t first = i;
	for (; i < w.len && digit_of(w.text[i]) < (int)base; i++)
		out->too_big |= __builtin_mul_overflow(out->magnitude, base, &out->magnitude) ||
				__builtin_add_overflow(out->magnitude, digit_of(w.text[i]), &out->magnitude);
	out->bad = i;
	return i == w.len && i > first;
}

bool lp_integer_fits(const struct lp_integer *n, unsigned bits)
{
	if (n->too_big)
		return false;
	if (n->negative)
		return n->magnitude <= UINT64_C(1) << (bits - 1);
	return bits >= 64 || n->magnitude < UINT64_C(1) << bits;
}

uint64_t lp_integer_bits(const struct lp_integer *n)
{
	return n->negative ? -n->magnitude : n->magnitude;
}

/* ---- complaints ---- */

/* What a file says may have line feeds in it, and commands to terminals: a sentence is a line of text. */
static void make_a_line(char *sentence)
{
	for (char *at = sentence; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = '?';
}

int lp_complain(struct lp_complaints *c, unsigned line, unsigned column, const char *fmt, ...)
{
	if (c->nr - c->phase > LP_COMPLAINTS_MAX)
		return -LP_EPARSE;
	char sentence[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(sentence, sizeof sentence, fmt, ap);
	va_end(ap);
	make_a_line(sentence);
	*lp_vec_add(c) = (struct lp_complaint){line, column, lp_strdup(sentence)};
	return -LP_EPARSE;
}

void lp_complaints_next_phase(struct lp_complaints *c)
{
	c->phase = c->nr;
}

static int by_place(const void *a, const void *b)
{
	const struct lp_complaint *x = a, *y = b;
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return (x->column > y->column) - (x->column < y->column);
}

int lp_complaints_report(struct lp_complaints *c, const char *file, struct lp_err *err)
{
	if (!c->nr)
		return 0;
	qsort(c->items, c->nr, sizeof *c->items, by_place);
	lp_fail(err, LP_EPARSE, "%s", "");
	size_t room = err ? sizeof err->text - sizeof "\n..." : 0;
	for (size_t i = 0; err && i < c->nr; i++) {
		struct lp_complaint *it = &c->items[i];
		char *line = lp_sprintf("%s%s:%u:%u: %s", i ? "\n" : "", file, it->line, it->column, it->text);
		size_t used = strlen(err->text), len = strlen(line);
		bool shown = i < LP_COMPLAINTS_MAX && (used + len < room || i == 0);
		lp_err_append(err, "%s", shown ? line : "\n...");
		lp_free(line);
		if (!shown)
			break;
	}
	return -LP_EPARSE;
}

void lp_complaints_free(struct lp_complaints *c)
{
	for (size_t i = 0; i < c->nr; i++)
		lp_free(c->items[i].text);
	lp_vec_free(c);
}

static size_t quote_byte(char *out, size_t room, unsigned char b)
{
	bool plain = isascii(b) && isprint(b);
	return (size_t)snprintf(out, room, plain ? "%c" : "\\x%02x", b);
}

struct lp_quoted lp_quote(struct lp_word w)
{
	struct lp_quoted q = {"`"};
	size_t n = 1, i = 0;
	while (i < w.len && n < sizeof q.text - sizeof "\\xff...`")
		n += quote_byte(q.text + n, sizeof q.text - n, (unsigned char)w.text[i++]);
	snprintf(q.text + n, sizeof q.text - n, "%s", i < w.len ? "...`" : "`");
	return q;
}

/* Optimal string alignment: a swap of neighbours is one mistake, because that is how fingers slip. */
static unsigned distance(struct lp_word w, const char *name, size_t len)
{
	enum { MAX = 24 };
	unsigned d[MAX + 1][MAX + 1];
	if (w.len > MAX || len > MAX)
		return MAX;
	for (size_t i = 0; i <= w.len; i++)
		d[i][0] = (unsigned)i;
	for (size_t j = 0; j <= len; j++)
		d[0][j] = (unsigned)j;
	for (size_t i = 1; i <= w.len; i++)
		for (size_t j = 1; j <= len; j++) {
			unsigned best = d[i - 1][j - 1] + (w.text[i - 1] != name[j - 1]);
			if (d[i - 1][j] + 1 < best)
				best = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < best)
				best = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && w.text[i - 1] == name[j - 2] && w.text[i - 2] == name[j - 1] &&
			    d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	return d[w.len][len];
}

const char *lp_nearest(struct lp_word w, const char *const *names, size_t nr)
{
	const char *best = NULL;
	unsigned best_distance = 0;
	for (size_t i = 0; i < nr; i++) {
		size_t len = strlen(names[i]);
		unsigned d = distance(w, names[i], len);
		bool close = d <= 1 + (unsigned)len / 4 && d < len;
		if (close && (!best || d < best_distance)) {
			best = names[i];
			best_distance = d;
		}
	}
	return best;
}

struct lp_hint lp_hint(struct lp_word w, const char *const *names, size_t nr)
{
	struct lp_hint h = {""};
	const char *name = lp_nearest(w, names, nr);
	if (name)
		snprintf(h.text, sizeof h.text, " (did you mean `%s`?)", name);
	return h;
}
