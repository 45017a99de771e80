/*
 * The assembler: each form with the mnemonic is tried in turn; the first that
 * takes all of the operands, and whose row has the word that they make, is it.
 *
 * Two passes: the first finds the labels, which it can because every statement
 * is one word.
 */
#include "isa/a64/a64.h"

#include <string.h>

#include "base/bits.h"
#include "base/vec.h"
#include "isa/a64/encode.h"
#include "isa/a64/operand.h"

/* Names are looked through one after the other. */
#define LABELS_MAX 1024

struct label {
	const char *name;
	size_t len;
	lp_addr at;
};

/* The text being assembled; `scan` stands where reading goes on. */
struct program {
	struct lp_a64_scan scan;
	const char *text;
	const struct lp_asm_names *outer;
	LP_VEC(struct label) labels;
	struct lp_err *err;
};

/* ---- names ---- */

static bool find_label(void *arg, const char *name, size_t len, lp_addr *out)
{
	const struct program *p = arg;

	for (size_t i = 0; i < p->labels.nr; i++) {
		const struct label *l = &p->labels.items[i];
		if (l->len == len && !memcmp(l->name, name, len)) {
			*out = l->at;
			return true;
		}
	}
	return p->outer && p->outer->lookup(p->outer->arg, name, len, out);
}

/* ---- statements ---- */

static bool at_comment(const char *p)
{
	return p[0] == '/' && p[1] == '/';
}

/* Of the statement: its separator, a comment, the text's end. */
static bool at_end(const char *p)
{
	return !*p || *p == ';' || *p == '\n' || *p == '\r' || at_comment(p);
}

static void skip_separators(struct lp_a64_scan *s)
{
	for (;;) {
		lp_a64_scan_space(s);
		if (at_comment(s->p))
			s->p += strcspn(s->p, "\n");
		else if (*s->p == ';' || *s->p == '\n' || *s->p == '\r')
			s->p++;
		else
			return;
	}
}

static const char *statement_end(const char *p)
{
	while (!at_end(p))
		p++;
	return p;
}

/* `name:`; stays where it was when there is none. */
static size_t scan_label_name(struct lp_a64_scan *s, const char **name)
{
	const char *start = s->p;
	size_t len = lp_a64_scan_identifier(s, name);

	if (len && lp_a64_scan_char(s, ':'))
		return len;
	s->p = start;
	return 0;
}

static int refuse(struct program *p, int code, const char *where, const char *why)
{
	unsigned line = 1;
	const char *start = p->text;

	for (const char *c = p->text; c < where; c++) {
		if (*c == '\n') {
			line++;
			start = c + 1;
		}
	}
	return lp_fail(p->err, code, "line %u, column %zu: %s", line, (size_t)(where - start) + 1, why);
}

static int add_label(struct program *p, const char *name, size_t len, lp_addr at)
{
	for (size_t i = 0; i < p->labels.nr; i++) {
		if (p->labels.items[i].len == len && !memcmp(p->labels.items[i].name, name, len))
			return refuse(p, LP_EPARSE, name, "the label is defined twice");
	}
	if (p->labels.nr == LABELS_MAX)
		return refuse(p, LP_ERANGE, name, "there are too many labels");
	lp_vec_push(&p->labels, ((struct label){name, len, at}));
	return 0;
}

static int find_labels(struct program *p, lp_addr at)
{
	struct lp_a64_scan *s = &p->scan;
	const char *name;
	size_t len;
	int rc = 0;

	for (skip_separators(s); !rc && *s->p; skip_separators(s)) {
		len = scan_label_name(s, &name);
		if (len) {
			rc = add_label(p, name, len, at);
			continue;
		}
		s->p = statement_end(s->p);
		at += A64_INSN;
	}
	return rc;
}

/* ---- one instruction ---- */

static bool scan_operands(struct lp_a64_scan *s, const struct lp_a64_form *f)
{
	for (const struct lp_a64_operand *o = lp_a64_operands(f); o->kind != A64_OPERAND_END; o++) {
		if (!lp_a64_scan_operand(s, o))
			return false;
	}
	lp_a64_scan_space(s);
	return at_end(s->p) || lp_a64_scan_fail(s, LP_EPARSE, "the end of the instruction is expected");
}

/* Reads the operands at s->p as `f` has them; s->word receives the instruction. */
static bool scan_form(struct lp_a64_scan *s, const struct lp_a64_form *f)
{
	const struct lp_a64_row *row = lp_a64_row(f->op);

	s->word = row->match | f->value;
	s->known = row->mask | f->mask;
	if (!scan_operands(s, f))
		return false;
	return (lp_a64_decode(s->word) == f->op && lp_a64_form_applies(f, s->word)) ||
	       lp_a64_scan_fail(s, LP_EENCODING, "no instruction has these operands");
}

/* .word NUMBER: data between instructions, and what the listing shows for words that are none. */
static bool scan_word_directive(struct lp_a64_scan *s)
{
	int64_t value;

	if (!lp_a64_scan_within(s, INT32_MIN, UINT32_MAX, &value))
		return false;
	s->word = (uint32_t)value;
	lp_a64_scan_space(s);
	return at_end(s->p) || lp_a64_scan_fail(s, LP_EPARSE, "the end of the statement is expected");
}

static size_t mnemonic_length(const char *p)
{
	size_t len = 0;

	while (!at_end(p + len) && p[len] != ' ' && p[len] != '\t')
		len++;
	return len;
}

static bool scan_statement(struct lp_a64_scan *s)
{
	const char *mnemonic = s->p;
	size_t len = mnemonic_length(mnemonic), nr;
	const uint16_t *forms = lp_a64_forms_named(mnemonic, len, &nr);

	if (len == 5 && !memcmp(mnemonic, ".word", 5)) {
		s->p += len;
		return scan_word_directive(s);
	}
	if (!forms)
		return lp_a64_scan_fail(s, LP_EPARSE, "no instruction has that name");
	for (size_t i = 0; i < nr; i++) {
		s->p = mnemonic + len;
		if (scan_form(s, lp_a64_form(forms[i])))
			return true;
	}
	return false;
}

/* ---- all of them ---- */

static int write_statements(struct program *p, uint8_t *out, size_t cap, size_t *len)
{
	struct lp_a64_scan *s = &p->scan;
	const char *name;

	*len = 0;
	for (skip_separators(s); *s->p; skip_separators(s)) {
		if (scan_label_name(s, &name))
			continue;
		s->why = NULL;
		if (cap - *len < A64_INSN)
			return refuse(p, LP_ERANGE, s->p, "there is no room for the instruction");
		if (!scan_statement(s))
			return refuse(p, s->code, s->failed_at, s->why);
		lp_put32(out + *len, s->word);
		*len += A64_INSN;
		s->at += A64_INSN;
	}
	return 0;
}

int lp_a64_assemble(const char *text, lp_addr at, const struct lp_asm_names *names, uint8_t *out, size_t cap,
		    size_t *len, struct lp_err *err)
{
	struct program p = {.scan = {.p = text, .at = at}, .text = text, .outer = names, .err = err};
	const struct lp_asm_names inner = {find_label, &p};

	p.scan.names = &inner;
	int rc = find_labels(&p, at);
	p.scan.p = text;
	if (!rc)
		rc = write_statements(&p, out, cap, len);
	lp_vec_free(&p.labels);
	return rc;
}
