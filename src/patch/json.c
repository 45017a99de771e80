/*
 * Patch files as JSON: an array of objects, one patch each.
 *
 *     [
 *       {"type": "INLINE", "addr": "0x4001000", "instr": "0xD503201F", "desc": "NOP patch"},
 *       {"type": "NEW_FUNC", "name": "check", "code": "00 00 80 52 C0 03 5F D6"},
 *       {"type": "BRANCH", "symbol": "verify", "offset": 8, "target": "$check"}
 *     ]
 *
 * json.def has the members and types.
 *
 * The array is read here, each element by jansson, so that a file of a million
 * entries costs memory for one.  jansson does not tell where a value stands.
 * But what it accepted is known to be JSON, and it keeps the members in their
 * order: a scanner that only knows how values end walks the text alongside.
 */
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/bits.h"
#include "patch/entries.h"

enum key {
#define LP_JSON_KEY(key, name, types) KEY_##key,
#include "patch/json.def"
#undef LP_JSON_KEY
	NR_KEYS
};

static const struct {
	const char *name, *types;
} keys[] = {
#define LP_JSON_KEY(key, name, types) {name, types},
#include "patch/json.def"
#undef LP_JSON_KEY
};

static const struct entry_type {
	const char *name;
	enum lp_op_kind kind;
	char letter;
} types[] = {
#define LP_JSON_TYPE(name, op, letter) {name, LP_OP_##op, letter},
#include "patch/json.def"
#undef LP_JSON_TYPE
};

/* ---- places in the text ---- */

struct place {
	const char *at;
	unsigned line, column;
};

static void move_to(struct place *p, const char *to)
{
	for (; p->at < to; p->at++) {
		p->column++;
		if (*p->at == '\n') {
			p->line++;
			p->column = 1;
		}
	}
}

static const char *skip_blanks(const char *s, const char *end)
{
	while (s < end && (*s == ' ' || *s == '\t' || *s == '\n' || *s == '\r'))
		s++;
	return s;
}

/* Past the string that begins at s; its end is there, because jansson found it. */
static const char *skip_string(const char *s, const char *end)
{
	for (s++; s < end && *s != '"'; s++)
		s += *s == '\\';
	return s < end ? s + 1 : end;
}

static const char *skip_scalar(const char *s, const char *end)
{
	while (s < end && *s && !strchr(",]} \t\r\n", *s))
		s++;
	return s;
}

static const char *skip_value(const char *s, const char *end)
{
	size_t depth = 0;
	do {
		if (s >= end)
			return end;
		if (*s == '"') {
			s = skip_string(s, end);
			continue;
		}
		depth += *s == '[' || *s == '{';
		depth -= *s == ']' || *s == '}';
		s = depth || *s == ']' || *s == '}' ? s + 1 : skip_scalar(s, end);
	} while (depth);
	return s;
}

/* ---- the reader ---- */

/* A member of the entry, or an item of an array. */
struct value {
	json_t *json;
	struct place place;
};

struct reader {
	struct lp_draft *draft;
	const char *end;
	struct place here;
	struct lp_complaints complaints;
	/* The entry: */
	const struct entry_type *type;
	struct value members[NR_KEYS]; /* json NULL: not there */
};

#define complain_at(r, place, ...) lp_complain(&(r)->complaints, (place).line, (place).column, __VA_ARGS__)

static struct lp_word word_of(const char *s, unsigned column)
{
	return (struct lp_word){s, strlen(s), column};
}

/* The text of a string, one column after its quote.  Escapes in it make later columns inexact, the line not. */
static struct lp_word string_word(const struct value *v)
{
	return word_of(json_string_value(v->json), v->place.column + 1);
}

static const char *kind_of(const json_t *json)
{
	static const char *const names[] = {
		[JSON_OBJECT] = "an object",   [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
		[JSON_INTEGER] = "an integer", [JSON_REAL] = "a number",  [JSON_TRUE] = "true",
		[JSON_FALSE] = "false",	       [JSON_NULL] = "null",
	};
	return names[json_typeof(json)];
}

static bool has(const struct reader *r, enum key key)
{
	return r->members[key].json;
}

/* NULL, and complained, when it is no string or an empty one. */
static const char *text_of(struct reader *r, enum key key)
{
	const struct value *v = &r->members[key];
	if (!json_is_string(v->json)) {
		complain_at(r, v->place, "`%s` is %s: a string is expected", keys[key].name, kind_of(v->json));
		return NULL;
	}
	if (!json_string_length(v->json) && key != KEY_DESC) {
		complain_at(r, v->place, "`%s` is empty", keys[key].name);
		return NULL;
	}
	return json_string_value(v->json);
}

/* ---- numbers ---- */

/* A hex string, or an integer; `what` as in "an address". */
static int read_number(struct reader *r, const struct value *v, enum key key, unsigned bits, const char *what,
		       uint64_t *out)
{
	if (json_is_string(v->json))
		return lp_hex_number(out, string_word(v), bits, what, v->place.line, &r->complaints);
	if (json_is_real(v->json))
		return complain_at(r, v->place, "`%s` is not exact: write it as a string, \"0x...\"", keys[key].name);
	if (!json_is_integer(v->json))
		return complain_at(r, v->place, "`%s` is %s: %s as a string, \"0x...\", is expected", keys[key].name,
				   kind_of(v->json), what);
	json_int_t n = json_integer_value(v->json);
	if (n < 0)
		return complain_at(r, v->place, "`%s` is negative", keys[key].name);
	if (bits < 64 && (uint64_t)n >> bits)
		return complain_at(r, v->place, "%" JSON_INTEGER_FORMAT " is not %s: it has more than %u bits", n, what,
				   bits);
	*out = (uint64_t)n;
	return 0;
}

/* ---- where ---- */

static int read_addr(struct reader *r, struct lp_op *op)
{
	const struct value *v = &r->members[KEY_ADDR];
	op->at.kind = LP_ADDR_INT;
	if (json_is_string(v->json))
		return lp_place_read(op, string_word(v), v->place.line, &r->complaints);
	return read_number(r, v, KEY_ADDR, 64, "an address", &op->at.number);
}

static int read_symbol(struct reader *r, struct lp_op *op)
{
	const struct value *v = &r->members[KEY_SYMBOL];
	if (!text_of(r, KEY_SYMBOL))
		return -LP_EPARSE;
	int rc = lp_address_read_symbol(&op->at, string_word(v), v->place.line, &r->complaints);
	if (rc < 0 || !has(r, KEY_OFFSET))
		return rc;
	return read_number(r, &r->members[KEY_OFFSET], KEY_OFFSET, 64, "an offset", &op->at.number);
}

static int read_file(struct reader *r, struct lp_op *op)
{
	const char *text = text_of(r, KEY_FILE);
	if (!text)
		return -LP_EPARSE;
	if (has(r, KEY_SYMBOL) || op->at.kind != LP_ADDR_INT)
		return complain_at(r, r->members[KEY_FILE].place,
				   "`file` is for addresses: a symbol of an object is written \"%s:symbol\"", text);
	if (op->file)
		return complain_at(r, r->members[KEY_FILE].place, "`addr` names an object already: `%s`", op->file);
	op->file = lp_strdup(text);
	return 0;
}

static int read_place(struct reader *r, struct lp_op *op)
{
	if (has(r, KEY_ADDR) && has(r, KEY_SYMBOL))
		return complain_at(r, r->members[KEY_SYMBOL].place, "`addr` and `symbol` are two places: one of them");
	if (!has(r, KEY_ADDR) && !has(r, KEY_SYMBOL))
		return complain_at(r, op->where, "`addr` or `symbol` is missing");
	if (has(r, KEY_OFFSET) && !has(r, KEY_SYMBOL))
		return complain_at(r, r->members[KEY_OFFSET].place,
				   "`offset` is for a `symbol`: add it to the address");
	int rc = has(r, KEY_ADDR) ? read_addr(r, op) : read_symbol(r, op);
	op->at.where = op->where;
	return rc == 0 && has(r, KEY_FILE) ? read_file(r, op) : rc;
}

static int read_target(struct reader *r, struct lp_op *op)
{
	const struct value *v = &r->members[KEY_TARGET];
	if (!v->json)
		return complain_at(r, op->where,
				   "`target` is missing: an address, a symbol or the $name of a NEW_FUNC");
	op->to.where = (struct lp_where){op->where.file, v->place.line, v->place.column};
	const char *text = json_is_string(v->json) ? text_of(r, KEY_TARGET) : "0";
	if (!text)
		return -LP_EPARSE;
	bool number = text[0] >= '0' && text[0] <= '9' && !strpbrk(text, ":@"); /* "7zip.c:main" is a symbol */
	if (number)
		return read_number(r, v, KEY_TARGET, 64, "an address", &op->to.number);
	int rc = lp_address_read(&op->to, string_word(v), v->place.line, &r->complaints);
	op->to.where.file = op->where.file;
	if (rc == 0 && op->to.kind == LP_ADDR_MEMSYM)
		return complain_at(r, v->place, "`$%s` has no symbols: it is a function", op->to.mem);
	return rc;
}

/* ---- code ---- */

static int read_word(struct reader *r, const struct value *v, struct lp_buf *code)
{
	uint64_t word;
	uint8_t bytes[4];
	int rc = read_number(r, v, KEY_INSTR, 32, "an instruction", &word);
	if (rc < 0)
		return rc;
	lp_put32(bytes, (uint32_t)word);
	lp_buf_add(code, bytes, sizeof bytes);
	return 0;
}

static int read_instr(struct reader *r, struct lp_buf *code)
{
	const struct value *v = &r->members[KEY_INSTR];
	if (!json_is_array(v->json))
		return read_word(r, v, code);
	if (!json_array_size(v->json))
		return complain_at(r, v->place, "`instr` is empty");
	int rc = 0;
	struct value item = *v;
	size_t i;
	const char *s = v->place.at + 1;
	json_array_foreach(v->json, i, item.json)
	{
		s = skip_blanks(s, r->end);
		move_to(&item.place, s);
		rc = read_word(r, &item, code) < 0 ? -LP_EPARSE : rc;
		s = skip_blanks(skip_value(s, r->end), r->end) + 1;
	}
	return rc;
}

/* Pairs of hex digits in the order of memory, with blanks between them or not. */
static int read_bytes(struct reader *r, enum key key, struct lp_buf *out)
{
	const struct value *v = &r->members[key];
	const char *text = text_of(r, key);
	if (!text)
		return -LP_EPARSE;
	struct lp_lex lex = {text, text, text + strlen(text)};
	while (lp_lex_more(&lex) || lex.at < lex.end) {
		struct lp_word w = *lex.at == '#' ? lp_lex_rest(&lex) : lp_lex_word(&lex); /* there are no comments */
		w.column += v->place.column;
		if (lp_word_begins(w, "0x"))
			return lp_complain(&r->complaints, v->place.line, w.column,
					   "`%s` is bytes in the order of memory, without 0x", keys[key].name);
		int rc = lp_hex_bytes(out, w, v->place.line, &r->complaints);
		if (rc < 0)
			return rc;
	}
	return out->len ? 0 : complain_at(r, v->place, "`%s` is empty", keys[key].name);
}

static int read_asm(struct reader *r, struct lp_op *op)
{
	const char *text = text_of(r, KEY_ASM);
	op->assembly = text ? lp_strdup(text) : NULL;
	return text ? 0 : -LP_EPARSE;
}

static int read_code_file(struct reader *r, struct lp_op *op)
{
	const char *text = text_of(r, KEY_CODE_FILE);
	op->path = text ? lp_strdup(text) : NULL;
	return text ? 0 : -LP_EPARSE;
}

static int read_code(struct reader *r, struct lp_op *op)
{
	int forms = has(r, KEY_INSTR) + has(r, KEY_CODE) + has(r, KEY_ASM) + has(r, KEY_CODE_FILE);
	if (forms != 1)
		return complain_at(r, op->where, "%s: one of `instr`, `code`, `asm` and `code_file` is expected",
				   forms ? "more than one form of code" : "code is missing");
	if (has(r, KEY_ASM))
		return read_asm(r, op);
	if (has(r, KEY_CODE_FILE))
		return read_code_file(r, op);
	struct lp_buf code = {0};
	int rc = has(r, KEY_INSTR) ? read_instr(r, &code) : read_bytes(r, KEY_CODE, &code);
	op->value = code.data;
	op->value_len = code.len;
	return rc;
}

/* ---- the rest ---- */

static int read_name(struct reader *r, struct lp_op *op)
{
	const struct value *v = &r->members[KEY_NAME];
	const char *text = text_of(r, KEY_NAME);
	if (!text)
		return -LP_EPARSE;
	struct lp_word w = string_word(v);
	if (w.text[0] == '$')
		return complain_at(r, v->place, "%s: a name is defined without `$`", lp_quote(w).text);
	if (lp_memname_length(w) < w.len)
		return complain_at(r, v->place, "%s is not a name: letters, digits and _ only, no digit first",
				   lp_quote(w).text);
	op->mem = lp_strdup(text);
	return 0;
}

static int read_expect(struct reader *r, struct lp_op *op)
{
	struct lp_buf bytes = {0};
	int rc = read_bytes(r, KEY_EXPECT, &bytes);
	op->expect = bytes.data;
	op->expect_len = bytes.len;
	return rc;
}

static int read_desc(struct reader *r, struct lp_op *op)
{
	const char *text = has(r, KEY_DESC) ? text_of(r, KEY_DESC) : "";
	op->desc = text ? lp_strdup(text) : NULL;
	return text ? 0 : -LP_EPARSE;
}

static bool takes(const struct entry_type *type, enum key key)
{
	return strchr(keys[key].types, type->letter);
}

static int check_members(struct reader *r)
{
	int rc = 0;
	for (enum key key = 0; key < NR_KEYS; key++)
		if (has(r, key) && !takes(r->type, key))
			rc = complain_at(r, r->members[key].place, "%s takes no `%s`", r->type->name, keys[key].name);
	return rc;
}

static int read_type(struct reader *r, struct lp_op *op)
{
	const char *names[LP_ARRAY_SIZE(types)];
	const struct value *v = &r->members[KEY_TYPE];
	if (!v->json)
		return complain_at(r, op->where, "`type` is missing");
	const char *text = text_of(r, KEY_TYPE);
	if (!text)
		return -LP_EPARSE;
	for (size_t i = 0; i < LP_ARRAY_SIZE(types); i++) {
		names[i] = types[i].name;
		if (strcmp(types[i].name, text) == 0)
			r->type = &types[i];
	}
	if (!r->type)
		return complain_at(
			r, v->place, "unknown type %s%s: INLINE, INSERT, NEW_FUNC, REDIRECT, NOP or BRANCH is expected",
			lp_quote(string_word(v)).text, lp_hint(string_word(v), names, LP_ARRAY_SIZE(names)).text);
	op->kind = r->type->kind;
	return 0;
}

/* All that is wrong with the entry is told, not only what comes first. */
static int read_members(struct reader *r, struct lp_op *op)
{
	if (read_type(r, op) < 0)
		return -LP_EPARSE;
	bool bad = check_members(r) < 0;
	if (has(r, KEY_NAME) && takes(r->type, KEY_NAME))
		bad |= read_name(r, op) < 0;
	if (takes(r->type, KEY_ADDR))
		bad |= read_place(r, op) < 0;
	if (takes(r->type, KEY_CODE))
		bad |= read_code(r, op) < 0;
	if (takes(r->type, KEY_TARGET))
		bad |= read_target(r, op) < 0;
	if (has(r, KEY_EXPECT) && takes(r->type, KEY_EXPECT))
		bad |= read_expect(r, op) < 0;
	bad |= read_desc(r, op) < 0;
	return bad ? -LP_EPARSE : 0;
}

static int unknown_key(struct reader *r, const char *key, struct place place)
{
	const char *names[NR_KEYS];
	for (enum key i = 0; i < NR_KEYS; i++)
		names[i] = keys[i].name;
	struct lp_word w = word_of(key, place.column);
	return complain_at(r, place, "unknown member %s%s", lp_quote(w).text, lp_hint(w, names, NR_KEYS).text);
}

static struct value *member_named(struct reader *r, const char *name)
{
	for (enum key i = 0; i < NR_KEYS; i++)
		if (strcmp(keys[i].name, name) == 0)
			return &r->members[i];
	return NULL;
}

/* Each member with its place; unknown ones are complained about. */
static int lay_out(struct reader *r, json_t *object, struct place place)
{
	int rc = 0;
	const char *key, *s = place.at + 1;
	json_t *json;
	memset(r->members, 0, sizeof r->members);
	json_object_foreach(object, key, json)
	{
		s = skip_blanks(s, r->end);
		move_to(&place, s);
		struct value *v = member_named(r, key);
		if (!v)
			rc = unknown_key(r, key, place);
		s = skip_blanks(skip_string(s, r->end), r->end); /* to the colon, */
		s = skip_blanks(s + 1, r->end);			 /* to the value, */
		move_to(&place, s);
		if (v)
			*v = (struct value){json, place};
		s = skip_blanks(skip_value(s, r->end), r->end) + 1; /* and past the comma */
	}
	return rc;
}

static void read_entry(struct reader *r, json_t *json, struct place place)
{
	if (!json_is_object(json)) {
		complain_at(r, place, "an entry is %s: an object is expected, {\"type\": ...}", kind_of(json));
		return;
	}
	struct lp_op op = {.where = {r->draft->set.name, place.line, place.column}};
	r->type = NULL;
	int unknown = lay_out(r, json, place);
	if (read_members(r, &op) < 0 || unknown < 0)
		lp_entry_drop(r->draft, &op);
	else
		lp_draft_add(r->draft, &op);
}

/* ---- the array ---- */

/* The next byte that is no blank; 0 at the end. */
static char peek(struct reader *r)
{
	move_to(&r->here, skip_blanks(r->here.at, r->end));
	return r->here.at < r->end ? *r->here.at : 0;
}

/* What stands at the place, for messages: a word, or one byte of anything else. */
static struct lp_quoted found(const struct reader *r)
{
	size_t len = 0, most = (size_t)(r->end - r->here.at);
	while (len < most && isascii(r->here.at[len]) && isalnum(r->here.at[len]))
		len++;
	return lp_quote((struct lp_word){r->here.at, len ? len : 1, 0});
}

/*
 * jansson says "what, near 'token'", and how many bytes it read, the token
 * last: so it begins that much earlier.  Only a byte that is no UTF-8 comes
 * after them, and the token is what stood before it.
 */
static int complain_json(struct reader *r, const json_error_t *e)
{
	static const char near[] = " near '";
	struct place place = r->here;
	const char *at = place.at + e->position, *token = strstr(e->text, near);
	size_t what_len = token ? (size_t)(token - e->text) : strlen(e->text);
	if (!token || json_error_code(e) == json_error_invalid_utf8) {
		move_to(&place, at);
		return complain_at(r, place, "%.*s", (int)what_len, e->text);
	}
	token += strlen(near);
	size_t len = strlen(token) - 1; /* less the closing quote */
	bool there = len <= (size_t)e->position && memcmp(at - len, token, len) == 0;
	move_to(&place, there ? at - len : at);
	return complain_at(r, place, "%.*s near %s", (int)what_len, e->text,
			   lp_quote((struct lp_word){token, len, 0}).text);
}

static int read_element(struct reader *r)
{
	json_error_t e;
	size_t len = (size_t)(r->end - r->here.at);
	json_t *json =
		json_loadb(r->here.at, len, JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY, &e);
	if (!json)
		return complain_json(r, &e);
	read_entry(r, json, r->here);
	json_decref(json);
	move_to(&r->here, r->here.at + e.position);
	return 0;
}

static int expected(struct reader *r, const char *what)
{
	peek(r);
	if (r->here.at >= r->end)
		return complain_at(r, r->here, "%s is expected where the file ends", what);
	return complain_at(r, r->here, "%s is expected instead of %s", what, found(r).text);
}

static int read_array(struct reader *r)
{
	if (peek(r) != '[')
		return expected(r, "an array of patches, [{...}, ...]");
	move_to(&r->here, r->here.at + 1);
	if (peek(r) != ']')
		for (;;) {
			peek(r);
			int rc = read_element(r);
			if (rc < 0)
				return rc;
			if (peek(r) != ',')
				break;
			move_to(&r->here, r->here.at + 1);
		}
	if (peek(r) != ']')
		return expected(r, "`,` or `]`");
	move_to(&r->here, r->here.at + 1);
	peek(r);
	return r->here.at < r->end ? expected(r, "the end of the file, after the array,") : 0;
}

int lp_patch_parse_json(struct lp_patchset **out, const char *text, size_t len, const char *name, struct lp_err *err)
{
	*out = NULL;
	if (len > LP_PATCH_FILE_MAX)
		return lp_fail(err, EFBIG, "%s is larger than %u bytes", name, LP_PATCH_FILE_MAX);
	struct reader r = {.draft = lp_draft_new(name), .end = text + len};
	r.here = (struct place){lp_lex_begin(text, r.end), 1, 1};
	read_array(&r);
	lp_entries_check(r.draft, &r.complaints);
	return lp_entries_finish(out, r.draft, &r.complaints, err);
}
