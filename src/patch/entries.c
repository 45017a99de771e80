#include "patch/entries.h"

#include <stdlib.h>
#include <string.h>

/* ---- hexadecimal ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static struct lp_word without_prefix(struct lp_word w)
{
	return lp_word_begins(w, "0x") || lp_word_begins(w, "0X") ? lp_word_from(w, 2) : w;
}

size_t lp_hex_length(struct lp_word w)
{
	size_t n = 0;
	while (n < w.len && hex_digit(w.text[n]) >= 0)
		n++;
	return n;
}

static int complain_digit(struct lp_word w, size_t bad, const char *what, unsigned line, struct lp_complaints *c)
{
	struct lp_word it = lp_word_upto(lp_word_from(w, bad), 1);
	return lp_complain(c, line, it.column, "%s is not %s: %s is not a hex digit", lp_quote(w).text, what,
			   lp_quote(it).text);
}

int lp_hex_number(uint64_t *out, struct lp_word w, unsigned bits, const char *what, unsigned line,
		  struct lp_complaints *c)
{
	struct lp_word digits = without_prefix(w);
	size_t bad = lp_hex_length(digits);
	if (bad < digits.len)
		return complain_digit(w, bad + (w.len - digits.len), what, line, c);
	if (!digits.len)
		return lp_complain(c, line, w.column, "%s is not %s: digits are missing", lp_quote(w).text, what);
	while (digits.len && digits.text[0] == '0')
		digits = lp_word_from(digits, 1);
	if (digits.len > bits / 4)
		return lp_complain(c, line, w.column, "%s is not %s: it has more than %u bits", lp_quote(w).text, what,
				   bits);
	*out = 0;
	for (size_t i = 0; i < digits.len; i++)
		*out = *out << 4 | (unsigned)hex_digit(digits.text[i]);
	return 0;
}

bool lp_is_hex(struct lp_word w)
{
	struct lp_word digits = without_prefix(w);
	return digits.len && lp_hex_length(digits) == digits.len;
}

/* What begins with a digit is a number, or was meant to be one: "7zip.c:main" and "7zip@0x10" are not. */
static bool is_number(struct lp_word w)
{
	bool digit = w.len && w.text[0] >= '0' && w.text[0] <= '9';
	return !w.len || lp_is_hex(w) || (digit && !memchr(w.text, ':', w.len) && !memchr(w.text, '@', w.len));
}

int lp_place_read(struct lp_op *op, struct lp_word w, unsigned line, struct lp_complaints *c)
{
	if (is_number(w))
		return lp_hex_number(&op->at.number, w, 64, "an address", line, c);
	int rc = lp_address_read(&op->at, w, line, c);
	if (rc == 0 && op->at.mem) {
		lp_addr_expr_free(&op->at);
		return lp_complain(c, line, w.column, "%s is code of a patch: patch the patch file instead",
				   lp_quote(w).text);
	}
	if (rc == 0 && op->at.kind == LP_ADDR_FILE) {
		op->file = op->at.symbol;
		op->at = (struct lp_addr_expr){.kind = LP_ADDR_INT, .number = op->at.number};
	}
	return rc;
}

int lp_hex_bytes(struct lp_buf *bytes, struct lp_word w, unsigned line, struct lp_complaints *c)
{
	size_t bad = lp_hex_length(w);
	if (bad < w.len)
		return lp_complain(c, line, w.column + (unsigned)bad, "%s is not a hex digit",
				   lp_quote(lp_word_upto(lp_word_from(w, bad), 1)).text);
	if (w.len % 2)
		return lp_complain(c, line, w.column, "%s has an odd number of hex digits: a byte is written with two",
				   lp_quote(w).text);
	for (size_t i = 0; i < w.len; i += 2) {
		uint8_t byte = (uint8_t)(hex_digit(w.text[i]) << 4 | hex_digit(w.text[i + 1]));
		lp_buf_add(bytes, &byte, 1);
	}
	return 0;
}

/* ---- names ---- */

static void check_definition(struct lp_draft *d, size_t i, struct lp_complaints *c)
{
	const struct lp_op *op = &d->set.ops[i];
	if (!op->mem || lp_draft_define(d, i))
		return;
	const struct lp_op *first = lp_draft_defined(d, op->mem, strlen(op->mem));
	lp_complain(c, op->where.line, op->where.column, "the name `%s` is taken: the entry on line %u has it", op->mem,
		    first->where.line);
}

static void check_use(const struct lp_draft *d, size_t i, struct lp_complaints *c)
{
	const struct lp_addr_expr *e = &d->set.ops[i].to;
	if (!e->mem)
		return;
	const struct lp_op *def = lp_draft_defined(d, e->mem, strlen(e->mem));
	if (!def)
		lp_complain(c, e->where.line, e->where.column,
			    "`$%s` is not defined: a NEW_FUNC of that name is missing", e->mem);
	else if (def >= &d->set.ops[i])
		lp_complain(c, e->where.line, e->where.column, "`$%s` is used before line %u defines it", e->mem,
			    def->where.line);
	else if (def->value && e->number >= def->value_len)
		lp_complain(c, e->where.line, e->where.column,
			    "offset %" PRIu64 " lies outside `$%s`, which line %u makes %zu bytes long", e->number,
			    e->mem, def->where.line, def->value_len);
}

/* ---- places ---- */

static int compare_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) : (a != NULL) - (b != NULL);
}

/* What the numbers of two ops count from. */
static int compare_base(const struct lp_op *a, const struct lp_op *b)
{
	int by_file = compare_text(a->file, b->file);
	return by_file ? by_file : compare_text(a->at.symbol, b->at.symbol);
}

static int by_place(const void *x, const void *y)
{
	const struct lp_op *a = *(const struct lp_op *const *)x, *b = *(const struct lp_op *const *)y;
	int base = compare_base(a, b);
	if (base)
		return base;
	if (a->at.number != b->at.number)
		return a->at.number < b->at.number ? -1 : 1;
	return (a > b) - (a < b);
}

/* Bytes from its address on that an op certainly changes. */
static uint64_t extent(const struct lp_op *op)
{
	return op->kind == LP_OP_INLINE && op->value ? op->value_len : 1;
}

/* Past the op's last byte; the end of the address space is no reason to wrap. */
static uint64_t end_of(const struct lp_op *op)
{
	uint64_t end;
	return __builtin_add_overflow(op->at.number, extent(op), &end) ? UINT64_MAX : end;
}

static void complain_overlap(const struct lp_op *a, const struct lp_op *b, struct lp_complaints *c)
{
	const struct lp_op *first = a < b ? a : b, *second = a < b ? b : a;
	struct lp_buf place = {0};
	lp_addr_expr_print(&second->at, &place);
	lp_complain(c, second->where.line, second->where.column, "%.*s is patched already by the entry on line %u",
		    (int)(place.len > 128 ? 128 : place.len), lp_buf_cstr(&place), first->where.line);
	lp_buf_free(&place);
}

static void check_places(const struct lp_patchset *ps, struct lp_complaints *c)
{
	size_t nr = 0;
	const struct lp_op **sorted = lp_alloc((ps->nr + 1) * sizeof *sorted);
	for (size_t i = 0; i < ps->nr; i++)
		if (ps->ops[i].kind != LP_OP_FUNC)
			sorted[nr++] = &ps->ops[i];
	qsort(sorted, nr, sizeof *sorted, by_place);
	const struct lp_op *reaches = NULL; /* of those before, the one that ends last */
	for (size_t i = 0; i < nr; i++) {
		bool beside = reaches && compare_base(reaches, sorted[i]) == 0;
		if (beside && sorted[i]->at.number < end_of(reaches))
			complain_overlap(reaches, sorted[i], c);
		if (!beside || end_of(sorted[i]) > end_of(reaches))
			reaches = sorted[i];
	}
	lp_free(sorted);
}

void lp_entries_check(struct lp_draft *d, struct lp_complaints *c)
{
	lp_complaints_next_phase(c);
	for (size_t i = 0; i < d->set.nr; i++)
		check_definition(d, i, c);
	for (size_t i = 0; i < d->set.nr; i++)
		check_use(d, i, c);
	check_places(&d->set, c);
}

/* ---- the end ---- */

void lp_entry_drop(struct lp_draft *d, struct lp_op *op)
{
	if (!op->mem) {
		lp_op_free(op);
		return;
	}
	struct lp_op name_only = {.kind = LP_OP_FUNC, .where = op->where, .mem = op->mem};
	op->mem = NULL;
	lp_op_free(op);
	lp_draft_add(d, &name_only);
}

int lp_entries_finish(struct lp_patchset **out, struct lp_draft *d, struct lp_complaints *c, struct lp_err *err)
{
	int rc = lp_complaints_report(c, d->set.name, err);
	lp_complaints_free(c);
	if (rc < 0)
		lp_patchset_free(&d->set);
	else
		*out = &d->set;
	return rc;
}
