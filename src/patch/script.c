/*
 * The script language: one instruction per line.
 *
 *     # a comment; blank lines and leading blanks are fine
 *     dl foo patch.so
 *     jmp func_J $foo:func1           # a comment may also end a line
 *     set str_P addr $foo:patch_message
 *     set banner str to the end of the line, # and "quotes" included
 *
 * ops.def has the instructions, types.def the types, address.c the addresses.
 * A script made on another system may begin with a byte order mark and end its
 * lines with CR LF.  File names are the rest of the line, without the blanks
 * at its end, or stand in double quotes, where \" and \\ are the only escapes.
 *
 * Reading has two phases, so that one run shows all mistakes: each line for
 * itself, then the memory names, which must be defined once and before use.
 */
#include "patch/entries.h"

#include <stdio.h>
#include <string.h>

/* Where in the text the reader stands, and what it found wrong so far. */
struct reader {
	const char *file;
	unsigned line;
	struct lp_lex lex;
	struct lp_complaints complaints;
};

#define complain(r, column, ...) lp_complain(&(r)->complaints, (r)->line, column, __VA_ARGS__)

/* ---- one operand ---- */

static int read_address(struct reader *r, struct lp_addr_expr *out)
{
	int rc = lp_address_read(out, lp_lex_word(&r->lex), r->line, &r->complaints);
	out->where.file = r->file;
	return rc;
}

static int read_symbol(struct reader *r, struct lp_addr_expr *out)
{
	int rc = lp_address_read_symbol(out, lp_lex_word(&r->lex), r->line, &r->complaints);
	out->where.file = r->file;
	return rc;
}

static int read_memname(struct reader *r, struct lp_op *op)
{
	struct lp_word w = lp_lex_word(&r->lex);
	size_t len = lp_memname_length(w);
	if (w.text[0] == '$')
		return complain(r, w.column, "%s: a memory name is defined without `$`", lp_quote(w).text);
	if (len < w.len)
		return complain(r, w.column + (unsigned)len,
				"%s is not a memory name: letters, digits and _ only, no digit first",
				lp_quote(w).text);
	op->mem = lp_word_dup(w);
	return 0;
}

static int read_size(struct reader *r, struct lp_op *op)
{
	struct lp_integer n;
	struct lp_word w = lp_lex_word(&r->lex);
	if (!lp_integer_read(w, &n))
		return lp_complain_integer(&r->complaints, r->line, w, &n, "a size");
	if (n.negative || n.too_big || n.magnitude == 0 || n.magnitude > LP_NEW_MAX)
		return complain(r, w.column, "%s is not a usable size: 1 to %" PRIu64 " bytes", lp_quote(w).text,
				LP_NEW_MAX);
	op->size = n.magnitude;
	return 0;
}

static int read_quoted_file(struct reader *r, struct lp_op *op)
{
	struct lp_lex *l = &r->lex;
	unsigned column = lp_lex_column(l);
	char *out = op->path = lp_alloc((size_t)(l->end - l->at) + 1);
	for (l->at++; l->at < l->end && *l->at != '"'; l->at++) {
		if (*l->at == '\\' && l->at + 1 < l->end) {
			l->at++;
			if (*l->at != '"' && *l->at != '\\')
				return complain(r, lp_lex_column(l) - 1,
						"unknown escape in the file name: only \\\" and \\\\ are known");
		}
		*out++ = *l->at;
	}
	if (l->at == l->end)
		return complain(r, column, "the file name's closing quote is missing");
	l->at++;
	if (!op->path[0])
		return complain(r, column, "the file name is empty");
	return 0;
}

static int read_file(struct reader *r, struct lp_op *op)
{
	if (*r->lex.at == '"')
		return read_quoted_file(r, op);
	struct lp_word w = lp_lex_rest(&r->lex);
	while (w.text[w.len - 1] == ' ' || w.text[w.len - 1] == '\t')
		w.len--;
	op->path = lp_word_dup(w);
	return 0;
}

/* ---- the value of `set` ---- */

static int read_integer(struct reader *r, const struct lp_value_type *type, struct lp_op *op)
{
	struct lp_integer n;
	struct lp_word w = lp_lex_word(&r->lex);
	if (!lp_integer_read(w, &n))
		return lp_complain_integer(&r->complaints, r->line, w, &n, "an integer");
	unsigned bits = 8 * type->width;
	if (!lp_integer_fits(&n, bits))
		return complain(r, w.column, "%s does not fit in %s: -0x%" PRIx64 " to 0x%" PRIx64, lp_quote(w).text,
				type->name, UINT64_C(1) << (bits - 1), UINT64_MAX >> (64 - bits));
	uint64_t v = lp_integer_bits(&n);
	op->value = lp_memdup(&v, type->width);
	op->value_len = type->width;
	return 0;
}

static void read_text(struct reader *r, struct lp_op *op)
{
	struct lp_word w = lp_lex_rest(&r->lex);
	op->value = (uint8_t *)lp_word_dup(w);
	op->value_len = w.len + 1;
}

static int read_bytes(struct reader *r, struct lp_op *op)
{
	struct lp_buf bytes = {0};
	int rc = 0;
	while (rc == 0 && lp_lex_more(&r->lex))
		rc = lp_hex_bytes(&bytes, lp_lex_word(&r->lex), r->line, &r->complaints);
	op->value_len = bytes.len;
	op->value = bytes.data;
	return rc;
}

static int unknown_type(struct reader *r, struct lp_word w)
{
	size_t nr;
	const struct lp_value_type *types = lp_value_types(&nr);
	const char *names[16];
	for (size_t i = 0; i < nr; i++)
		names[i] = types[i].name;
	return complain(r, w.column, "unknown type %s%s: int, int8, int16, int32, int64, str, hex or addr is expected",
			lp_quote(w).text, lp_hint(w, names, nr).text);
}

static int read_value(struct reader *r, struct lp_op *op)
{
	struct lp_word w = lp_lex_word(&r->lex);
	const struct lp_value_type *type = lp_value_type_named(w);
	if (!type)
		return unknown_type(r, w);
	op->type_name = type->name;
	if (type->form == LP_VALUE_TEXT) {
		read_text(r, op); /* an empty string is a string */
		return 0;
	}
	if (!lp_lex_more(&r->lex))
		return complain(r, lp_lex_column(&r->lex), "a value of type %s is missing", type->name);
	if (type->form == LP_VALUE_INTEGER)
		return read_integer(r, type, op);
	if (type->form == LP_VALUE_BYTES)
		return read_bytes(r, op);
	op->value_is_addr = true;
	return read_address(r, &op->to);
}

/* ---- one line ---- */

static int read_operand(struct reader *r, enum lp_operand kind, struct lp_op *op)
{
	switch (kind) {
	case LP_OPERAND_AT:
		return read_address(r, &op->at);
	case LP_OPERAND_TO:
		return read_address(r, &op->to);
	case LP_OPERAND_SYMBOL:
		return read_symbol(r, &op->at);
	case LP_OPERAND_VALUE:
		return read_value(r, op);
	case LP_OPERAND_MEMNAME:
		return read_memname(r, op);
	case LP_OPERAND_SIZE:
		return read_size(r, op);
	case LP_OPERAND_FILE:
		return read_file(r, op);
	}
	return -LP_EINTERNAL;
}

struct options {
	char text[64];
};

/* The options of an instruction, each between `before` and `after`. */
static struct options options_of(const struct lp_op_syntax *s, const char *before, const char *after)
{
	struct options o = {""};
	for (size_t i = 0, len = 0; i < LP_OP_OPTIONS_MAX && s->options[i] && len < sizeof o.text; i++)
		len += (size_t)snprintf(o.text + len, sizeof o.text - len, "%s%s%s", before, s->options[i], after);
	return o;
}

struct usage {
	char text[128];
};

/* "jmp [--allow-active] [--clobber] <addr1> <addr2>" */
static struct usage usage_of(const struct lp_op_syntax *s)
{
	struct usage u;
	snprintf(u.text, sizeof u.text, "%s %s%s %s", s->name, options_of(s, "[", "] ").text, s->operands[0].text,
		 s->operands[1].text);
	return u;
}

static const struct lp_op_syntax *read_verb(struct reader *r)
{
	size_t nr;
	const struct lp_op_syntax *all = lp_op_syntaxes(&nr);
	const char *names[16];
	struct lp_word w = lp_lex_word(&r->lex);
	const struct lp_op_syntax *syntax = lp_op_syntax_named(w);
	if (syntax)
		return syntax;
	for (size_t i = 0; i < nr; i++)
		names[i] = all[i].name;
	complain(r, w.column, "unknown instruction %s%s: set, new, load, dl, jmp or got is expected", lp_quote(w).text,
		 lp_hint(w, names, nr).text);
	return NULL;
}

static const char *option_named(const struct lp_op_syntax *syntax, struct lp_word w)
{
	for (size_t i = 0; i < LP_OP_OPTIONS_MAX && syntax->options[i]; i++)
		if (lp_word_is(w, syntax->options[i]))
			return syntax->options[i];
	return NULL;
}

static int read_options(struct reader *r, const struct lp_op_syntax *syntax, struct lp_op *op)
{
	while (lp_lex_more(&r->lex)) {
		struct lp_lex before = r->lex;
		struct lp_word w = lp_lex_word(&r->lex);
		if (!lp_word_begins(w, "--")) {
			r->lex = before;
			return 0;
		}
		if (!syntax->options[0])
			return complain(r, w.column, "unknown option %s: `%s` takes none", lp_quote(w).text,
					syntax->name);
		const char *option = option_named(syntax, w);
		if (!option)
			return complain(r, w.column, "unknown option %s: `%s` takes%s only", lp_quote(w).text,
					syntax->name, options_of(syntax, " ", "").text);
		*lp_op_option(op, option) = true;
	}
	return 0;
}

static int read_op(struct reader *r, struct lp_op *op)
{
	lp_lex_more(&r->lex);
	op->where = (struct lp_where){r->file, r->line, lp_lex_column(&r->lex)};
	const struct lp_op_syntax *syntax = read_verb(r);
	if (!syntax)
		return -LP_EPARSE;
	op->kind = syntax->kind;
	int rc = read_options(r, syntax, op);
	for (size_t i = 0; rc == 0 && i < LP_ARRAY_SIZE(syntax->operands); i++) {
		if (!lp_lex_more(&r->lex))
			return complain(r, lp_lex_column(&r->lex), "%s is missing: %s", syntax->operands[i].text,
					usage_of(syntax).text);
		rc = read_operand(r, syntax->operands[i].kind, op);
	}
	if (rc == 0 && lp_lex_more(&r->lex)) {
		struct lp_word w = lp_lex_word(&r->lex);
		rc = complain(r, w.column, "unexpected %s after the end of the instruction: %s", lp_quote(w).text,
			      usage_of(syntax).text);
	}
	return rc;
}

/* 1 = *op holds an instruction, 0 = none on this line, negative = complained; *op may be half filled then. */
static int read_line(struct reader *r, const char *line, const char *end, struct lp_op *op)
{
	*op = (struct lp_op){0};
	r->lex = lp_lex_line(line, end);
	end = r->lex.end;
	const char *nul = memchr(line, 0, (size_t)(end - line));
	if (nul)
		return complain(r, (unsigned)(nul - line) + 1, "a NUL byte: a script is a text file");
	if (!lp_lex_more(&r->lex))
		return 0;
	int rc = read_op(r, op);
	return rc < 0 ? rc : 1;
}

/* ---- memory names ---- */

/* Bytes that must be there: those that `set` writes; one to point at. */
static uint64_t bytes_needed(const struct lp_op *op, const struct lp_addr_expr *e)
{
	if (op->kind != LP_OP_SET || e != &op->at)
		return 1;
	return op->value_is_addr ? sizeof(lp_addr) : op->value_len;
}

static int check_offset(struct reader *r, const struct lp_op *op, const struct lp_addr_expr *e, const struct lp_op *def)
{
	uint64_t needs = bytes_needed(op, e);
	if (def->kind != LP_OP_NEW || (e->number <= def->size && needs <= def->size - e->number))
		return 0;
	if (e->number >= def->size)
		return complain(r, e->where.column,
				"offset %" PRIu64 " lies outside `$%s`, which line %u makes %" PRIu64 " bytes long",
				e->number, e->mem, def->where.line, def->size);
	return complain(r, e->where.column,
			"%" PRIu64 " bytes at offset %" PRIu64 " do not fit in `$%s`, which line %u makes %" PRIu64
			" bytes long",
			needs, e->number, e->mem, def->where.line, def->size);
}

/* `index` is the op's own place in the draft: what is defined there or later is not defined yet. */
static int check_use(struct reader *r, const struct lp_draft *d, size_t index, const struct lp_op *op,
		     const struct lp_addr_expr *e)
{
	if (!e->mem)
		return 0;
	const struct lp_op *def = lp_draft_defined(d, e->mem, strlen(e->mem));
	if (!def)
		return complain(r, e->where.column, "memory name `$%s` is not defined: new, load or dl defines one",
				e->mem);
	if ((size_t)(def - d->set.ops) >= index)
		return complain(r, e->where.column, "memory name `$%s` is used before line %u defines it", e->mem,
				def->where.line);
	if (e->kind == LP_ADDR_MEMSYM && def->kind != LP_OP_DL)
		return complain(r, e->where.column, "`$%s` has no symbols: line %u defines it with %s, not with dl",
				e->mem, def->where.line, lp_op_syntax_of(def->kind)->name);
	return check_offset(r, op, e, def);
}

static int check_uses(struct reader *r, const struct lp_draft *d, size_t index, const struct lp_op *op)
{
	r->line = op->where.line;
	int at = check_use(r, d, index, op, &op->at);
	int to = check_use(r, d, index, op, &op->to);
	return at < 0 ? at : to;
}

static int complain_twice(struct reader *r, const struct lp_op *op, const struct lp_op *first)
{
	r->line = op->where.line;
	return complain(r, op->where.column, "memory name `%s` is defined a second time; the first is on line %u",
			op->mem, first->where.line);
}

/* Ops whose own line was refused still define their name, so that one mistake is told once. */
static void check_names(struct reader *r, struct lp_draft *d)
{
	struct lp_patchset *ps = &d->set;
	for (size_t i = 0; i < ps->nr; i++)
		if (ps->ops[i].mem && !lp_draft_define(d, i))
			complain_twice(r, &ps->ops[i], lp_draft_defined(d, ps->ops[i].mem, strlen(ps->ops[i].mem)));
	for (size_t i = 0; i < ps->nr; i++)
		check_uses(r, d, i, &ps->ops[i]);
}

/* ---- the whole text ---- */

/* Keeps what a refused line defines, but no uses: they may be half read. */
static void keep_definition_only(struct lp_op *op)
{
	lp_addr_expr_free(&op->at);
	lp_addr_expr_free(&op->to);
}

static void read_text_lines(struct reader *r, struct lp_draft *d, const char *text, const char *end)
{
	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		const char *line_end = newline ? newline : end;
		struct lp_op op;
		r->line++;
		int rc = read_line(r, text, line_end, &op);
		if (rc < 0)
			keep_definition_only(&op);
		if (rc)
			lp_draft_add(d, &op);
		text = newline ? newline + 1 : end;
	}
}

int lp_patch_parse_script(struct lp_patchset **out, const char *text, size_t len, const char *name, struct lp_err *err)
{
	*out = NULL;
	if (len > LP_SCRIPT_MAX)
		return lp_fail(err, LP_EPARSE, "%s: the script is larger than %u bytes", name, LP_SCRIPT_MAX);
	struct lp_draft *d = lp_draft_new(name);
	struct reader r = {.file = d->set.name};
	const char *end = text + len;
	read_text_lines(&r, d, lp_lex_begin(text, end), end);
	lp_complaints_next_phase(&r.complaints);
	check_names(&r, d);
	int rc = lp_complaints_report(&r.complaints, name, err);
	lp_complaints_free(&r.complaints);
	if (rc < 0)
		lp_patchset_free(&d->set);
	else
		*out = &d->set;
	return rc;
}

/* ---- one line for the prompt ---- */

static int check_prompt_op(struct reader *r, const struct lp_draft *d, const struct lp_op *op)
{
	const struct lp_op *first = op->mem ? lp_draft_defined(d, op->mem, strlen(op->mem)) : NULL;
	if (first)
		return complain_twice(r, op, first);
	return check_uses(r, d, d->set.nr, op);
}

static void commit_prompt_op(struct lp_draft *d, const struct lp_op *op)
{
	lp_draft_add(d, op);
	if (op->mem)
		lp_draft_define(d, d->set.nr - 1);
}

int lp_patch_parse_line(struct lp_patchset **ps, const char *line, unsigned line_number, const char *name,
			struct lp_err *err)
{
	struct lp_draft *d = *ps ? lp_draft_of(*ps) : lp_draft_new(name);
	struct reader r = {.file = lp_draft_file(d, name), .line = line_number};
	struct lp_op op;
	const char *end = strchrnul(line, '\n');
	int rc = read_line(&r, line, end, &op);
	if (rc >= 0 && *end && end[1])
		rc = complain(&r, (unsigned)(end - line) + 1, "more than one line");
	if (rc > 0 && check_prompt_op(&r, d, &op) == 0)
		commit_prompt_op(d, &op);
	else
		lp_op_free(&op);
	rc = lp_complaints_report(&r.complaints, name, err);
	lp_complaints_free(&r.complaints);
	if (rc < 0 && !*ps)
		lp_patchset_free(&d->set);
	if (rc == 0)
		*ps = &d->set;
	return rc;
}
