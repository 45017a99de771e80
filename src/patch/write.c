/*
 * A patchset back as a patch file: what comes out parses to the same patchset.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "patch/entries.h"

/* What an op is called in messages: where it patches, or its name. */
static int refuse(const struct lp_op *op, struct lp_err *err, const char *why)
{
	struct lp_buf place = {0};
	if (op->kind == LP_OP_FUNC)
		lp_buf_printf(&place, "function `%s`", op->mem ? op->mem : "");
	else
		lp_addr_expr_print(&op->at, &place);
	int rc = lp_fail(err, LP_EUSAGE, "the patch at %s %s", lp_buf_cstr(&place), why);
	lp_buf_free(&place);
	return rc;
}

/* ---- text ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_one_line(const char *s)
{
	size_t len = strlen(s);
	return !len || (!is_blank(s[0]) && !is_blank(s[len - 1]) && !strchr(s, '\n'));
}

static bool is_one_word(const char *s)
{
	return !s || (*s && !strpbrk(s, " \t\r\n") && *s != '#');
}

static int check_text(const struct lp_op *op, struct lp_err *err)
{
	if (op->kind != LP_OP_INLINE)
		return refuse(op, err, "is of a kind that a text file cannot hold; JSON can");
	if (op->at.mem)
		return refuse(op, err, "is in memory that a script made");
	if (!is_one_word(op->at.symbol) || !is_one_word(op->file))
		return refuse(op, err, "is at a name with blanks, which a text file cannot say; JSON can");
	if (op->assembly || op->path || !op->value_len || op->value_len % 4)
		return refuse(op, err, "does not consist of words of 4 bytes, which a text file cannot say; JSON can");
	if (op->expect)
		return refuse(op, err, "expects bytes, which a text file cannot say; JSON can");
	if (op->desc && !is_one_line(op->desc))
		return refuse(op, err, "has a description that does not fit on a line of a text file; JSON has room");
	return 0;
}

/* A reader takes one CR away with the newline. */
static void write_description(const char *desc, struct lp_buf *out)
{
	size_t len = strlen(desc);
	lp_buf_printf(out, " %s%s", desc, len && desc[len - 1] == '\r' ? "\r" : "");
}

/* A symbol of hex digits alone would be a number, and one that a script begins with a script. */
static void write_place(const struct lp_op *op, struct lp_buf *out)
{
	if (op->file)
		lp_buf_printf(out, "%s@0x%" PRIX64, op->file, op->at.number);
	else if (op->at.kind == LP_ADDR_INT)
		lp_buf_printf(out, "%" PRIX64, op->at.number);
	else
		lp_buf_printf(out, "%s+0x%" PRIX64, op->at.symbol, op->at.number);
}

static void write_line(const struct lp_op *op, struct lp_buf *out)
{
	write_place(op, out);
	for (size_t i = 0; i < op->value_len; i += 4)
		lp_buf_printf(out, "%c%08" PRIX32, i ? ',' : ' ', lp_get32(op->value + i));
	if (op->desc && op->desc[0])
		write_description(op->desc, out);
	lp_buf_str(out, "\n");
}

int lp_patch_write_text(const struct lp_patchset *ps, struct lp_buf *out, struct lp_err *err)
{
	for (size_t i = 0; i < ps->nr; i++) {
		int rc = check_text(&ps->ops[i], err);
		if (rc < 0)
			return rc;
	}
	lp_buf_str(out, "# address instruction description\n");
	for (size_t i = 0; i < ps->nr; i++)
		write_line(&ps->ops[i], out);
	return 0;
}

/* ---- JSON ---- */

static const char *type_of(enum lp_op_kind kind)
{
	static const struct {
		const char *name;
		enum lp_op_kind kind;
	} types[] = {
#define LP_JSON_TYPE(name, op, letter) {name, LP_OP_##op},
#include "patch/json.def"
#undef LP_JSON_TYPE
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(types); i++)
		if (types[i].kind == kind)
			return types[i].name;
	return NULL;
}

static void set(json_t *entry, const char *key, json_t *value)
{
	if (json_object_set_new(entry, key, value) < 0)
		abort(); /* out of memory, as base/vec.h has it: what is no UTF-8 was found before */
}

static void set_hex(json_t *entry, const char *key, uint64_t number)
{
	set(entry, key, json_sprintf("0x%" PRIX64, number));
}

static void set_bytes(json_t *entry, const char *key, const uint8_t *bytes, size_t len)
{
	struct lp_buf hex = {0};
	lp_buf_hex(&hex, bytes, len);
	set(entry, key, json_stringn(lp_buf_cstr(&hex), hex.len));
	lp_buf_free(&hex);
}

static void set_words(json_t *entry, const uint8_t *bytes, size_t len)
{
	json_t *words = json_array();
	for (size_t i = 0; i < len; i += 4)
		json_array_append_new(words, json_sprintf("0x%08" PRIX32, lp_get32(bytes + i)));
	if (len == 4) {
		set(entry, "instr", json_incref(json_array_get(words, 0)));
		json_decref(words);
	} else {
		set(entry, "instr", words);
	}
}

static void set_place(json_t *entry, const struct lp_op *op)
{
	if (op->at.kind == LP_ADDR_INT) {
		set_hex(entry, "addr", op->at.number);
	} else {
		set(entry, "symbol", json_string(op->at.symbol));
		if (op->at.number)
			set_hex(entry, "offset", op->at.number);
	}
	if (op->file)
		set(entry, "file", json_string(op->file));
}

static void set_target(json_t *entry, const struct lp_op *op)
{
	struct lp_buf text = {0};
	lp_addr_expr_print(&op->to, &text);
	set(entry, "target", json_stringn(lp_buf_cstr(&text), text.len));
	lp_buf_free(&text);
}

static void set_code(json_t *entry, const struct lp_op *op, bool words)
{
	if (op->assembly)
		set(entry, "asm", json_string(op->assembly));
	else if (op->path)
		set(entry, "code_file", json_string(op->path));
	else if (words && op->value_len % 4 == 0)
		set_words(entry, op->value, op->value_len);
	else
		set_bytes(entry, "code", op->value, op->value_len);
}

static bool has_code(enum lp_op_kind kind)
{
	return kind == LP_OP_INLINE || kind == LP_OP_INSERT || kind == LP_OP_FUNC;
}

static json_t *make_entry(const struct lp_op *op, bool words)
{
	json_t *entry = json_object();
	set(entry, "type", json_string(type_of(op->kind)));
	if (op->mem)
		set(entry, "name", json_string(op->mem));
	if (op->kind != LP_OP_FUNC)
		set_place(entry, op);
	if (has_code(op->kind))
		set_code(entry, op, words);
	else if (op->kind != LP_OP_NOP)
		set_target(entry, op);
	if (op->expect)
		set_bytes(entry, "expect", op->expect, op->expect_len);
	if (op->desc && op->desc[0])
		set(entry, "desc", json_string(op->desc));
	return entry;
}

static bool is_utf8(const char *s)
{
	json_t *string = s ? json_string(s) : json_null();
	json_decref(string);
	return string;
}

static int check_json(const struct lp_op *op, struct lp_err *err)
{
	if (!type_of(op->kind))
		return refuse(op, err, "is not of a kind that a patch file can hold");
	if (op->at.mem)
		return refuse(op, err, "is in memory that a script made");
	if (has_code(op->kind) && !op->assembly && !op->path && !op->value_len)
		return refuse(op, err, "has no code");
	if (!is_utf8(op->desc) || !is_utf8(op->assembly) || !is_utf8(op->file) || !is_utf8(op->path) ||
	    !is_utf8(op->at.symbol) || !is_utf8(op->to.symbol))
		return refuse(op, err, "has a text that is not UTF-8, which JSON cannot say");
	return 0;
}

int lp_patch_write_json(const struct lp_patchset *ps, bool words, struct lp_buf *out, struct lp_err *err)
{
	for (size_t i = 0; i < ps->nr; i++) {
		int rc = check_json(&ps->ops[i], err);
		if (rc < 0)
			return rc;
	}
	lp_buf_str(out, "[");
	for (size_t i = 0; i < ps->nr; i++) {
		json_t *entry = make_entry(&ps->ops[i], words);
		char *text = json_dumps(entry, 0);
		lp_buf_printf(out, "%s\n  %s", i ? "," : "", text);
		free(text);
		json_decref(entry);
	}
	lp_buf_str(out, ps->nr ? "\n]\n" : "]\n");
	return 0;
}

/* ---- the same? ---- */

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_bytes(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	return a_len == b_len && (!a_len || memcmp(a, b, a_len) == 0);
}

static bool same_expr(const struct lp_addr_expr *a, const struct lp_addr_expr *b)
{
	return a->kind == b->kind && a->number == b->number && same_text(a->mem, b->mem) &&
	       same_text(a->symbol, b->symbol);
}

/* No text and an empty one are the same where both mean "none". */
static const char *or_empty(const char *s)
{
	return s ? s : "";
}

bool lp_op_equal(const struct lp_op *a, const struct lp_op *b)
{
	return a->kind == b->kind && same_expr(&a->at, &b->at) && same_expr(&a->to, &b->to) &&
	       same_bytes(a->value, a->value_len, b->value, b->value_len) && same_text(a->assembly, b->assembly) &&
	       same_bytes(a->expect, a->expect_len, b->expect, b->expect_len) && same_text(a->mem, b->mem) &&
	       same_text(a->file, b->file) && same_text(or_empty(a->desc), or_empty(b->desc)) &&
	       a->value_is_addr == b->value_is_addr && same_text(a->type_name, b->type_name) && a->size == b->size &&
	       same_text(a->path, b->path) && a->dlopen == b->dlopen && a->allow_active == b->allow_active &&
	       a->clobber == b->clobber && a->kpatch == b->kpatch;
}
