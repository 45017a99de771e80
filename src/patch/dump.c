/*
 * A patchset back as a script: what comes out parses to the same patchset.
 * Text that a script cannot hold verbatim (a string that begins with a blank,
 * or holds a newline) comes out as hex, which writes the same bytes.
 */
#include <string.h>

#include "base/bits.h"
#include "patch/script.h"

static void print_integer(const struct lp_op *op, struct lp_buf *out)
{
	uint64_t v = 0;
	memcpy(&v, op->value, op->value_len);
	unsigned unused = 64 - 8 * (unsigned)op->value_len;
	lp_buf_printf(out, "%" PRId64, (int64_t)(v << unused) >> unused);
}

static bool text_survives(const struct lp_op *op)
{
	const char *s = (const char *)op->value;
	size_t len = op->value_len - 1;
	return op->value_len && s[len] == 0 && !memchr(s, 0, len) && !memchr(s, '\n', len) && s[0] != ' ' &&
	       s[0] != '\t';
}

/* A reader takes one CR away with the newline. */
static void print_text(const struct lp_op *op, struct lp_buf *out)
{
	size_t len = op->value_len - 1;
	lp_buf_add(out, op->value, len);
	if (len && op->value[len - 1] == '\r')
		lp_buf_str(out, "\r");
}

static enum lp_value_form form_of(const struct lp_op *op)
{
	const struct lp_value_type *t = lp_value_type_named((struct lp_word){op->type_name, strlen(op->type_name), 0});
	if (t->form == LP_VALUE_TEXT && !text_survives(op))
		return LP_VALUE_BYTES;
	return t->form;
}

static void print_value(const struct lp_op *op, struct lp_buf *out)
{
	enum lp_value_form form = form_of(op);
	lp_buf_printf(out, "%s ", form == LP_VALUE_BYTES ? "hex" : op->type_name);
	switch (form) {
	case LP_VALUE_INTEGER:
		print_integer(op, out);
		break;
	case LP_VALUE_TEXT:
		print_text(op, out);
		break;
	case LP_VALUE_BYTES:
		lp_buf_hex(out, op->value, op->value_len);
		break;
	case LP_VALUE_ADDRESS:
		lp_addr_expr_print(&op->to, out);
		break;
	}
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static void print_file(const char *path, struct lp_buf *out)
{
	size_t len = strlen(path);
	bool plain = len && path[0] != '"' && path[0] != '#' && !is_blank(path[0]) && !is_blank(path[len - 1]) &&
		     path[len - 1] != '\r';
	if (plain) {
		lp_buf_str(out, path);
		return;
	}
	lp_buf_str(out, "\"");
	for (; *path; path++) {
		if (*path == '"' || *path == '\\')
			lp_buf_str(out, "\\");
		lp_buf_add(out, path, 1);
	}
	lp_buf_str(out, "\"");
}

static void print_operand(enum lp_operand kind, const struct lp_op *op, struct lp_buf *out)
{
	switch (kind) {
	case LP_OPERAND_AT:
	case LP_OPERAND_SYMBOL:
		lp_addr_expr_print(&op->at, out);
		break;
	case LP_OPERAND_TO:
		lp_addr_expr_print(&op->to, out);
		break;
	case LP_OPERAND_VALUE:
		print_value(op, out);
		break;
	case LP_OPERAND_MEMNAME:
		lp_buf_str(out, op->mem);
		break;
	case LP_OPERAND_SIZE:
		lp_buf_printf(out, "%" PRIu64, op->size);
		break;
	case LP_OPERAND_FILE:
		print_file(op->path, out);
		break;
	}
}

static void print_options(const struct lp_op_syntax *syntax, const struct lp_op *op, struct lp_buf *out)
{
	struct lp_op copy = *op;
	for (size_t i = 0; i < LP_OP_OPTIONS_MAX && syntax->options[i]; i++)
		if (*lp_op_option(&copy, syntax->options[i]))
			lp_buf_printf(out, " %s", syntax->options[i]);
}

static void print_op(const struct lp_op *op, struct lp_buf *out)
{
	if (op->kind == LP_OP_OBJECT) { /* no script can say it */
		lp_buf_printf(out, "# %s\n", op->path);
		return;
	}
	if (op->kind == LP_OP_UNDO) {
		lp_buf_printf(out, "# undo %s\n", op->mem);
		return;
	}
	const struct lp_op_syntax *syntax = lp_op_syntax_of(op->kind);
	lp_buf_str(out, syntax->name);
	print_options(syntax, op, out);
	for (size_t i = 0; i < LP_ARRAY_SIZE(syntax->operands); i++) {
		lp_buf_str(out, " ");
		print_operand(syntax->operands[i].kind, op, out);
	}
	lp_buf_str(out, "\n");
}

void lp_patch_dump(const struct lp_patchset *ps, struct lp_buf *out)
{
	for (size_t i = 0; i < ps->nr; i++)
		print_op(&ps->ops[i], out);
}
