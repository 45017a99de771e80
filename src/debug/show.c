/*
 * Bytes to text.
 */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "debug/private.h"

#define DEPTH 4
#define ITEMS 100
#define TEXT_MAX 256	   /* of a string behind a pointer, or in an array */
#define OUT_MAX (1u << 20) /* of all there is to say */

struct shower {
	struct lp_show how;
	struct lp_buf *out;
};

static void show(const struct shower *s, const struct lp_shape *shape, const uint8_t *bytes, size_t len,
		 unsigned depth);

/* ---- numbers ---- */

static uint64_t word(const uint8_t *bytes, size_t size)
{
	uint64_t v = 0;

	memcpy(&v, bytes, size < sizeof v ? size : sizeof v);
	return v;
}

static int64_t extend(uint64_t v, unsigned bits)
{
	return bits < 64 ? (int64_t)(v << (64 - bits)) >> (64 - bits) : (int64_t)v;
}

static void show_real(const struct shower *s, const uint8_t *bytes, size_t size)
{
	float f;
	double d;
	long double l;

	if (size == sizeof f) {
		memcpy(&f, bytes, sizeof f);
		lp_buf_printf(s->out, "%.9g", (double)f);
	} else if (size == sizeof d) {
		memcpy(&d, bytes, sizeof d);
		lp_buf_printf(s->out, "%.17g", d);
	} else {
		memcpy(&l, bytes, sizeof l);
		lp_buf_printf(s->out, "%.21Lg", l);
	}
}

/* What a file says of a value may be as wide as the type, with or without its sign. */
static const char *name_of_value(const struct lp_enumerator *e, size_t nr, int64_t value, unsigned bits)
{
	for (size_t i = 0; i < nr; i++) {
		if (extend((uint64_t)e[i].value ^ (uint64_t)value, bits) == 0)
			return e[i].name;
	}
	return NULL;
}

/* Names of single bits that make up the value: "READ | WRITE"; false when some are left over. */
static bool show_flags(const struct shower *s, const struct lp_enumerator *e, size_t nr, uint64_t value)
{
	struct lp_buf text = {0};

	for (size_t i = 0; i < nr; i++) {
		uint64_t bit = (uint64_t)e[i].value;

		if (bit && !(bit & (bit - 1)) && value & bit) {
			lp_buf_printf(&text, "%s%s", text.len ? " | " : "", e[i].name);
			value &= ~bit;
		}
	}
	if (!value)
		lp_buf_str(s->out, lp_buf_cstr(&text));
	lp_buf_free(&text);
	return !value;
}

static void show_enum(const struct shower *s, const struct lp_shape *shape, int64_t value)
{
	size_t nr;
	const struct lp_enumerator *e = lp_shape_enumerators(shape, &nr);
	const char *name = name_of_value(e, nr, value, (unsigned)shape->size * 8);

	if (name)
		lp_buf_str(s->out, name);
	else if (!value || !show_flags(s, e, nr, (uint64_t)value))
		lp_buf_printf(s->out, "%" PRId64, value);
}

static void show_number(const struct shower *s, const struct lp_shape *shape, uint64_t value, unsigned bits)
{
	int64_t number = extend(value, bits);

	switch (shape->kind) {
	case LP_SHAPE_BOOL:
		if (value < 2)
			lp_buf_str(s->out, value ? "true" : "false");
		else
			lp_buf_printf(s->out, "%" PRIu64, value);
		break;
	case LP_SHAPE_ENUM:
		show_enum(s, shape, shape->is_signed ? number : (int64_t)value);
		break;
	default:
		if (shape->is_signed)
			lp_buf_printf(s->out, "%" PRId64, number);
		else
			lp_buf_printf(s->out, "%" PRIu64, value);
		if (shape->kind == LP_SHAPE_CHAR && value < 128 && isprint((int)value))
			lp_buf_printf(s->out, " '%c'", (int)value);
	}
}

/* ---- text ---- */

static void show_character(struct lp_buf *out, uint8_t c)
{
	if (c == '"' || c == '\\')
		lp_buf_printf(out, "\\%c", c);
	else if (c == '\n')
		lp_buf_str(out, "\\n");
	else if (c == '\t')
		lp_buf_str(out, "\\t");
	else if (c < 32 || c == 127)
		lp_buf_printf(out, "\\%03o", c);
	else
		lp_buf_add(out, &c, 1);
}

static void show_text(const struct shower *s, const uint8_t *text, size_t len, bool is_cut)
{
	lp_buf_str(s->out, "\"");
	for (size_t i = 0; i < len; i++)
		show_character(s->out, text[i]);
	lp_buf_str(s->out, is_cut ? "\"..." : "\"");
}

/* No further than the page ends: what is behind it may not be there. */
static size_t read_text(const struct shower *s, lp_addr at, uint8_t *out, size_t max)
{
	size_t len = 0;

	while (len < max) {
		size_t part = LP_PAGE - (at + len) % LP_PAGE;

		part = part < max - len ? part : max - len;
		if (s->how.read(s->how.arg, at + len, out + len, part) < 0)
			break;
		len += part;
		if (memchr(out + len - part, 0, part))
			break;
	}
	return len;
}

static void show_text_at(const struct shower *s, lp_addr at)
{
	uint8_t text[TEXT_MAX];
	size_t nr = read_text(s, at, text, sizeof text), len = strnlen((char *)text, nr);

	if (!nr)
		return;
	lp_buf_str(s->out, " ");
	show_text(s, text, len, len == nr);
}

static void show_string(const struct shower *s, const uint8_t *bytes)
{
	lp_addr at = lp_get64(bytes);
	uint64_t len = lp_get64(bytes + 8);
	uint8_t text[4096];
	size_t part = len < sizeof text ? len : sizeof text;

	if (!s->how.read || (part && s->how.read(s->how.arg, at, text, part) < 0))
		lp_buf_printf(s->out, "{" LP_ADDR ", %" PRIu64 " bytes}", at, len);
	else
		show_text(s, text, part, part < len);
}

/* ---- what consists of others ---- */

static void show_pointer(const struct shower *s, const struct lp_shape *shape, lp_addr at)
{
	lp_buf_printf(s->out, LP_ADDR, at);
	if (at && s->how.read && lp_shape_to(shape)->kind == LP_SHAPE_CHAR)
		show_text_at(s, at);
}

static void show_characters(const struct shower *s, const uint8_t *bytes, size_t len)
{
	size_t most = len < TEXT_MAX ? len : TEXT_MAX, text = strnlen((const char *)bytes, most);

	show_text(s, bytes, text, text == most && most < len);
}

static void show_array(const struct shower *s, const struct lp_shape *shape, const uint8_t *bytes, size_t len,
		       unsigned depth)
{
	const struct lp_shape *to = lp_shape_to(shape);

	if (to->kind == LP_SHAPE_CHAR) {
		show_characters(s, bytes, shape->size < len ? shape->size : len);
		return;
	}
	lp_buf_str(s->out, "{");
	for (uint64_t i = 0; i < shape->count; i++) {
		lp_buf_str(s->out, i ? ", " : "");
		if (i == s->how.items || !to->size || (i + 1) * to->size > len || s->out->len > OUT_MAX) {
			lp_buf_str(s->out, "...");
			break;
		}
		show(s, to, bytes + i * to->size, to->size, depth + 1);
	}
	lp_buf_str(s->out, "}");
}

static void show_member(const struct shower *s, const struct lp_member *m, const uint8_t *bytes, size_t len,
			unsigned depth)
{
	uint64_t size = m->bit_size ? m->storage : m->shape->size;

	if (*m->name)
		lp_buf_printf(s->out, "%s: ", m->name);
	if (m->offset > len || size > len - m->offset)
		lp_buf_str(s->out, "...");
	else if (m->bit_size)
		show_number(s, m->shape, lp_bits_get(bytes + m->offset, m->bit_offset, m->bit_size), m->bit_size);
	else
		show(s, m->shape, bytes + m->offset, size, depth);
}

static void show_members(const struct shower *s, const struct lp_shape *shape, const uint8_t *bytes, size_t len,
			 unsigned depth)
{
	size_t nr;
	const struct lp_member *m = lp_shape_members(shape, &nr);
	bool lines = s->how.lines && !depth;

	if (depth > s->how.depth || s->out->len > OUT_MAX) {
		lp_buf_str(s->out, "{...}");
		return;
	}
	lp_buf_str(s->out, lines ? "" : "{");
	for (size_t i = 0; i < nr; i++) {
		lp_buf_str(s->out, !i ? "" : lines ? "\n" : ", ");
		show_member(s, &m[i], bytes, len, depth + 1);
	}
	lp_buf_str(s->out, lines ? "" : "}");
}

static void show_bytes(const struct shower *s, const uint8_t *bytes, size_t len)
{
	lp_buf_str(s->out, "<");
	lp_buf_hex(s->out, bytes, len < 32 ? len : 32);
	lp_buf_str(s->out, len <= 32 ? ">" : " ...>");
}

static void show(const struct shower *s, const struct lp_shape *shape, const uint8_t *bytes, size_t len, unsigned depth)
{
	if (depth > LP_NESTING_MAX || (len < shape->size && shape->kind != LP_SHAPE_ARRAY &&
				       shape->kind != LP_SHAPE_STRUCT && shape->kind != LP_SHAPE_UNION)) {
		lp_buf_str(s->out, "...");
		return;
	}
	switch (shape->kind) {
	case LP_SHAPE_REAL:
		show_real(s, bytes, shape->size);
		break;
	case LP_SHAPE_POINTER:
		show_pointer(s, shape, lp_get64(bytes));
		break;
	case LP_SHAPE_ARRAY:
		show_array(s, shape, bytes, len, depth);
		break;
	case LP_SHAPE_STRUCT:
	case LP_SHAPE_UNION:
		show_members(s, shape, bytes, len, depth);
		break;
	case LP_SHAPE_STRING:
		show_string(s, bytes);
		break;
	case LP_SHAPE_OTHER:
		show_bytes(s, bytes, shape->size);
		break;
	default:
		show_number(s, shape, word(bytes, shape->size), (unsigned)shape->size * 8);
	}
}

void lp_global_print(const struct lp_global *g, const uint8_t *bytes, size_t len, const struct lp_show *how,
		     struct lp_buf *out)
{
	struct shower s = {*how, out};

	s.how.depth = how->depth ? how->depth : DEPTH;
	s.how.items = how->items ? how->items : ITEMS;
	if (!g->bit_size)
		show(&s, g->shape, bytes, len, 0);
	else if (g->storage <= len)
		show_number(&s, g->shape, lp_bits_get(bytes, g->bit_offset, g->bit_size), g->bit_size);
	else
		lp_buf_str(out, "...");
}
