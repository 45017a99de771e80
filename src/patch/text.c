/*
 * Patch files as text, one patch per line:
 *
 *     # addr instruction description
 *     4001000 D503201F NOP patch
 *     4002000 14000001,D65F03C0 two instructions
 *     libc.so.6:malloc+8 D503201F at a symbol
 *     libfoo.so@0x1138 D503201F what nm shows of that object
 *
 * Numbers are hexadecimal, with or without 0x; a word of nothing but hex digits
 * is one, and the symbol `add` is written add+0.  An instruction is a word of
 * four bytes; several of them are joined by commas.  The description is the
 * rest of the line, as it stands, without the blanks around it.  A line whose
 * first character is # is a comment.
 */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "patch/entries.h"
#include "patch/kpatch.h"

struct reader {
	struct lp_draft *draft;
	unsigned line;
	struct lp_lex lex;
	struct lp_complaints complaints;
};

#define complain(r, column, ...) lp_complain(&(r)->complaints, (r)->line, column, __VA_ARGS__)

static int read_address(struct reader *r, struct lp_op *op)
{
	struct lp_word w = lp_lex_word(&r->lex);
	int rc = lp_place_read(op, w, r->line, &r->complaints);
	op->at.where = op->where;
	return rc;
}

static int add_instruction(struct reader *r, struct lp_word w, struct lp_buf *code)
{
	uint64_t word;
	int rc = lp_hex_number(&word, w, 32, "an instruction", r->line, &r->complaints);
	if (rc < 0)
		return rc;
	uint8_t bytes[4];
	lp_put32(bytes, (uint32_t)word);
	lp_buf_add(code, bytes, sizeof bytes);
	return 0;
}

static int read_instructions(struct reader *r, struct lp_op *op)
{
	struct lp_word w = lp_lex_word(&r->lex);
	struct lp_buf code = {0};
	int rc;
	for (;;) {
		const char *comma = memchr(w.text, ',', w.len);
		size_t len = comma ? (size_t)(comma - w.text) : w.len;
		rc = add_instruction(r, lp_word_upto(w, len), &code);
		if (rc < 0 || !comma)
			break;
		w = lp_word_from(w, len + 1);
	}
	op->value = code.data;
	op->value_len = code.len;
	return rc;
}

static void read_description(struct reader *r, struct lp_op *op)
{
	struct lp_word w = lp_lex_rest(&r->lex);
	while (w.len && (w.text[w.len - 1] == ' ' || w.text[w.len - 1] == '\t'))
		w.len--;
	op->desc = lp_word_dup(w);
}

/* An entry from its first word on. */
static int read_entry(struct reader *r, struct lp_op *op)
{
	*op = (struct lp_op){.kind = LP_OP_INLINE, .where = {r->draft->set.name, r->line, lp_lex_column(&r->lex)}};
	int rc = read_address(r, op);
	if (rc < 0)
		return rc;
	if (!lp_lex_more(&r->lex))
		return complain(r, lp_lex_column(&r->lex), "an instruction is missing after the address");
	rc = read_instructions(r, op);
	read_description(r, op);
	return rc;
}

static void read_line(struct reader *r, const char *line, const char *end)
{
	const char *nul = memchr(line, 0, (size_t)(end - line));
	if (nul) {
		complain(r, (unsigned)(nul - line) + 1, "a NUL byte: a patch file is text");
		return;
	}
	r->lex = lp_lex_line(line, end);
	if (!lp_lex_more(&r->lex))
		return;
	struct lp_op op;
	if (read_entry(r, &op) < 0)
		lp_entry_drop(r->draft, &op);
	else
		lp_draft_add(r->draft, &op);
}

int lp_patch_parse_text(struct lp_patchset **out, const char *text, size_t len, const char *name, struct lp_err *err)
{
	*out = NULL;
	if (len > LP_PATCH_FILE_MAX)
		return lp_fail(err, EFBIG, "%s is larger than %u bytes", name, LP_PATCH_FILE_MAX);
	struct reader r = {.draft = lp_draft_new(name)};
	const char *end = text + len;
	for (text = lp_lex_begin(text, end); text < end;) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		r.line++;
		read_line(&r, text, newline ? newline : end);
		text = newline ? newline + 1 : end;
	}
	lp_entries_check(r.draft, &r.complaints);
	return lp_entries_finish(out, r.draft, &r.complaints, err);
}

/* ---- which format ---- */

enum format { TEXT, JSON, SCRIPT };

/* The first line that has a word; else an empty one. */
static struct lp_lex first_line(const char *text, const char *end)
{
	struct lp_lex lex = lp_lex_line(text, text);
	while (text < end && !lp_lex_more(&lex)) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		lex = lp_lex_line(text, newline ? newline : end);
		text = newline ? newline + 1 : end;
	}
	return lex;
}

/* An address, or what was meant to be one: no instruction of the script language begins with a digit. */
static bool is_address(struct lp_word w)
{
	return (w.text[0] >= '0' && w.text[0] <= '9') || lp_hex_length(w) == w.len;
}

/* Eight digits each, as instructions mostly are: the operands of a misspelt script are not. */
static bool is_instructions(struct lp_word w)
{
	for (;;) {
		const char *comma = memchr(w.text, ',', w.len);
		struct lp_word item = lp_word_upto(w, comma ? (size_t)(comma - w.text) : w.len);
		bool prefixed = lp_word_begins(item, "0x") || lp_word_begins(item, "0X");
		if (!lp_is_hex(item) || item.len != (prefixed ? 10 : 8))
			return false;
		if (!comma)
			return true;
		w = lp_word_from(w, item.len + 1);
	}
}

static enum format format_of(const char *text, const char *end)
{
	struct lp_lex lex = first_line(lp_lex_begin(text, end), end);
	struct lp_word w = lp_lex_word(&lex);
	if (w.len && (w.text[0] == '[' || w.text[0] == '{'))
		return JSON;
	if (!w.len || is_address(w))
		return TEXT;
	return !lp_op_syntax_named(w) && lp_lex_more(&lex) && is_instructions(lp_lex_word(&lex)) ? TEXT : SCRIPT;
}

int lp_patch_parse(struct lp_patchset **out, const char *text, size_t len, const char *name, struct lp_err *err)
{
	*out = NULL;
	if (lp_kpatch_is(text, len))
		return lp_fail(err, LP_EPARSE, "%s:1:1: this is a .kpatch file: the tool applies it to a process",
			       name);
	switch (format_of(text, text + len)) {
	case TEXT:
		return lp_patch_parse_text(out, text, len, name, err);
	case JSON:
		return lp_patch_parse_json(out, text, len, name, err);
	case SCRIPT:
		break;
	}
	return lp_patch_parse_script(out, text, len, name, err);
}
