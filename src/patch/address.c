/*
 * Address expressions: one word, no blanks.
 *
 *     0x401000                    an absolute address, notations of strtoul(s, NULL, 0)
 *     $mem  $mem:16  $mem+16      start of a memory name, or that many bytes into it
 *     $mem:symbol[+0x10]          symbol of an object that `dl` placed
 *     [prefix:]symbol[@ver][+0x10]  symbol of the target
 *     file@0x1138                 what nm(1) shows of an object of the target's; versions begin with no digit
 *
 * The offset is what follows the last '+' behind the last ':', so that the
 * '+' of `libstdc++.so.6:name` is part of the name.  Which prefix means a
 * module and which a source file only the target's list of images can tell;
 * the symbol is kept as written for lp_symspec_parse().
 */
#include <string.h>

#include "patch/script.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_identifier(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && is_digit(c));
}

size_t lp_memname_length(struct lp_word w)
{
	size_t n = 0;
	while (n < w.len && is_identifier(w.text[n], n == 0))
		n++;
	return n;
}

bool lp_patch_is_name(const char *text)
{
	struct lp_word w = {.text = text, .len = strlen(text)};

	return w.len && lp_memname_length(w) == w.len;
}

int lp_complain_integer(struct lp_complaints *c, unsigned line, struct lp_word w, const struct lp_integer *n,
			const char *what)
{
	if (n->bad >= w.len)
		return lp_complain(c, line, w.column, "%s is not %s: digits are missing", lp_quote(w).text, what);
	struct lp_word bad = lp_word_upto(lp_word_from(w, n->bad), 1);
	return lp_complain(c, line, bad.column, "%s is not %s: %s cannot stand in %s number", lp_quote(w).text, what,
			   lp_quote(bad).text, n->base_name);
}

/* An address or an offset: not negative, 64 bits. */
static int read_unsigned(uint64_t *out, struct lp_word w, const char *what, unsigned line, struct lp_complaints *c)
{
	struct lp_integer n;
	if (!lp_integer_read(w, &n))
		return lp_complain_integer(c, line, w, &n, what);
	if (n.negative)
		return lp_complain(c, line, w.column, "%s is not %s: it is negative", lp_quote(w).text, what);
	if (n.too_big)
		return lp_complain(c, line, w.column, "%s is not %s: it has more than 64 bits", lp_quote(w).text, what);
	*out = n.magnitude;
	return 0;
}

static size_t last_of(struct lp_word w, char c)
{
	const char *at = memrchr(w.text, c, w.len);
	return at ? (size_t)(at - w.text) : w.len;
}

/* "name-4": an offset that we do not take; a '-' elsewhere belongs to the name. */
static bool ends_in_minus_integer(struct lp_word w)
{
	struct lp_integer n;
	size_t minus = last_of(w, '-');
	return minus > 0 && minus < w.len && lp_integer_read(lp_word_from(w, minus), &n);
}

static int check_symbol(struct lp_word w, struct lp_word name, unsigned line, struct lp_complaints *c)
{
	if (!name.len || name.text[0] == '@')
		return lp_complain(c, line, name.column, "a symbol name is missing in %s", lp_quote(w).text);
	if (w.text[0] == ':')
		return lp_complain(c, line, w.column,
				   "nothing stands before the `:` of %s: a module or a source file is expected",
				   lp_quote(w).text);
	if (memmem(w.text, w.len, "::", 2))
		return lp_complain(c, line, w.column, "%s looks like a C++ name: write the mangled one (nm shows it)",
				   lp_quote(w).text);
	if (name.text[name.len - 1] == '@')
		return lp_complain(c, line, name.column + (unsigned)name.len - 1,
				   "a version is missing after the `@` of %s", lp_quote(w).text);
	if (memchr(name.text, '+', name.len))
		return lp_complain(c, line, name.column + (unsigned)last_of(name, '+'), "%s has more than one offset",
				   lp_quote(w).text);
	if (ends_in_minus_integer(name))
		return lp_complain(c, line, name.column + (unsigned)last_of(name, '-'),
				   "an offset can only be added to a symbol: %s", lp_quote(w).text);
	return 0;
}

/* [prefix:]name[@version][+offset] into out->symbol and out->number. */
static int read_symbol(struct lp_addr_expr *out, struct lp_word w, unsigned line, struct lp_complaints *c)
{
	size_t colon = last_of(w, ':');
	struct lp_word name = colon < w.len ? lp_word_from(w, colon + 1) : w;
	size_t plus = last_of(name, '+');
	if (plus < name.len) {
		int rc = read_unsigned(&out->number, lp_word_from(name, plus + 1), "an offset", line, c);
		if (rc < 0)
			return rc;
		w = lp_word_upto(w, (size_t)(name.text + plus - w.text));
		name = lp_word_upto(name, plus);
	}
	int rc = check_symbol(w, name, line, c);
	if (rc == 0)
		out->symbol = lp_word_dup(w);
	return rc;
}

static int check_bytes(struct lp_word w, unsigned line, struct lp_complaints *c)
{
	for (size_t i = 0; i < w.len; i++)
		if ((unsigned char)w.text[i] < 0x20 || w.text[i] == 0x7f)
			return lp_complain(c, line, w.column + (unsigned)i,
					   "a control character (0x%02x) cannot stand in an address",
					   (unsigned char)w.text[i]);
	return 0;
}

static int read_mem(struct lp_addr_expr *out, struct lp_word w, unsigned line, struct lp_complaints *c)
{
	struct lp_word name = lp_word_from(w, 1);
	size_t len = lp_memname_length(name);
	if (!len)
		return lp_complain(c, line, name.column, "a memory name is expected after `$`: letters, digits and _");
	struct lp_word rest = lp_word_from(name, len);
	out->kind = LP_ADDR_MEM;
	if (rest.len) {
		char sign = rest.text[0];
		if (sign != ':' && sign != '+')
			return lp_complain(c, line, rest.column,
					   "%s cannot follow the memory name in %s: `:` or `+` is expected",
					   lp_quote(lp_word_upto(rest, 1)).text, lp_quote(w).text);
		rest = lp_word_from(rest, 1);
		if (!rest.len)
			return lp_complain(c, line, rest.column, "a symbol or an offset is expected after %s",
					   lp_quote(w).text);
		bool number = sign == '+' || is_digit(rest.text[0]) || rest.text[0] == '-' || rest.text[0] == '+';
		out->kind = number ? LP_ADDR_MEM : LP_ADDR_MEMSYM;
		int rc = number ? read_unsigned(&out->number, rest, "an offset", line, c)
				: read_symbol(out, rest, line, c);
		if (rc < 0)
			return rc;
	}
	out->mem = lp_word_dup(lp_word_upto(name, len));
	return 0;
}

/* Where the `@` of file@NUMBER is; w.len: it is none. */
static size_t file_sign(struct lp_word w)
{
	size_t at = last_of(w, '@');
	return at > 0 && at + 1 < w.len && is_digit(w.text[at + 1]) ? at : w.len;
}

static int read_in_file(struct lp_addr_expr *out, struct lp_word w, size_t sign, unsigned line, struct lp_complaints *c)
{
	int rc = read_unsigned(&out->number, lp_word_from(w, sign + 1), "an address", line, c);
	out->kind = LP_ADDR_FILE;
	if (rc == 0)
		out->symbol = lp_word_dup(lp_word_upto(w, sign));
	return rc;
}

static int read_any(struct lp_addr_expr *out, struct lp_word w, unsigned line, struct lp_complaints *c)
{
	if (w.text[0] == '$')
		return read_mem(out, w, line, c);
	size_t sign = file_sign(w);
	if (sign < w.len)
		return read_in_file(out, w, sign, line, c);
	bool number = (is_digit(w.text[0]) || w.text[0] == '-' || w.text[0] == '+') && !memchr(w.text, ':', w.len);
	out->kind = number ? LP_ADDR_INT : LP_ADDR_SYMBOL;
	return number ? read_unsigned(&out->number, w, "an address", line, c) : read_symbol(out, w, line, c);
}

int lp_address_read(struct lp_addr_expr *out, struct lp_word w, unsigned line, struct lp_complaints *c)
{
	*out = (struct lp_addr_expr){.where = {.line = line, .column = w.column}};
	int rc = check_bytes(w, line, c);
	if (rc == 0)
		rc = read_any(out, w, line, c);
	if (rc < 0)
		lp_addr_expr_free(out);
	return rc;
}

int lp_address_read_symbol(struct lp_addr_expr *out, struct lp_word w, unsigned line, struct lp_complaints *c)
{
	int rc = lp_address_read(out, w, line, c);
	if (rc < 0)
		return rc;
	if (out->kind == LP_ADDR_SYMBOL && !out->number)
		return 0;
	bool offset = out->kind == LP_ADDR_SYMBOL;
	lp_addr_expr_free(out);
	return lp_complain(c, line, w.column,
			   offset ? "%s has an offset: only the symbol itself can be meant here"
				  : "%s is not a symbol: a name that some module imports is expected",
			   lp_quote(w).text);
}

/* ---- the expression alone, and back to text ---- */

int lp_patch_parse_addr(struct lp_addr_expr *out, const char *text, struct lp_err *err)
{
	struct lp_complaints c = {0};
	struct lp_lex lex = {text, text, text + strlen(text)};
	struct lp_word w = lp_lex_word(&lex);
	*out = (struct lp_addr_expr){0};
	if (!w.len)
		lp_complain(&c, 1, w.column, "an address is expected");
	else if (lp_address_read(out, w, 1, &c) == 0 && lp_lex_more(&lex)) {
		w = lp_lex_word(&lex);
		lp_complain(&c, 1, w.column, "unexpected %s after the address", lp_quote(w).text);
	}
	out->where.file = "address";
	int rc = lp_complaints_report(&c, "address", err);
	lp_complaints_free(&c);
	if (rc < 0)
		lp_addr_expr_free(out);
	return rc;
}

void lp_addr_expr_print(const struct lp_addr_expr *e, struct lp_buf *out)
{
	switch (e->kind) {
	case LP_ADDR_INT:
		lp_buf_printf(out, LP_ADDR, e->number);
		return;
	case LP_ADDR_MEM:
		lp_buf_printf(out, "$%s", e->mem);
		if (e->number)
			lp_buf_printf(out, ":0x%" PRIx64, e->number);
		return;
	case LP_ADDR_FILE:
		lp_buf_printf(out, "%s@0x%" PRIx64, e->symbol, e->number);
		return;
	case LP_ADDR_MEMSYM:
		lp_buf_printf(out, "$%s:", e->mem);
		break;
	case LP_ADDR_SYMBOL:
		break;
	}
	lp_buf_str(out, e->symbol);
	if (e->number)
		lp_buf_printf(out, "+0x%" PRIx64, e->number);
}
