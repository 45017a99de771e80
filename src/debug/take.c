/*
 * Text to bytes.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "debug/private.h"

static int refuse(const struct lp_shape *s, const char *text, const char *why, struct lp_err *err)
{
	return lp_fail(err, LP_EVALUE, "\"%s\" is no value of type %s: %s", text, s->name, why);
}

/* ---- numbers ---- */

/* The C library skips blanks in front, and we do not. */
static bool begins_well(const char *text)
{
	return *text && !isspace((unsigned char)*text);
}

static int signed_number(const struct lp_shape *s, const char *text, unsigned bits, uint64_t *out, struct lp_err *err)
{
	char *end;

	errno = 0;
	long long v = strtoll(text, &end, 0);
	if (!begins_well(text) || end == text || *end)
		return refuse(s, text, "not a number", err);
	if (errno || !lp_fits_signed(v, bits))
		return refuse(s, text, "it does not fit", err);
	*out = (uint64_t)v;
	return 0;
}

static int unsigned_number(const struct lp_shape *s, const char *text, unsigned bits, uint64_t *out, struct lp_err *err)
{
	char *end;

	errno = 0;
	unsigned long long v = strtoull(text, &end, 0);
	if (!begins_well(text) || end == text || *end)
		return refuse(s, text, "not a number", err);
	if (errno || *text == '-' || !lp_fits_unsigned(v, bits))
		return refuse(s, text, "it does not fit", err);
	*out = v;
	return 0;
}

static int integer(const struct lp_shape *s, const char *text, unsigned bits, uint64_t *out, struct lp_err *err)
{
	return s->is_signed ? signed_number(s, text, bits, out, err) : unsigned_number(s, text, bits, out, err);
}

static int boolean(const struct lp_shape *s, const char *text, uint64_t *out, struct lp_err *err)
{
	static const char *const words[][2] = {{"false", "true"}, {"0", "1"}, {"no", "yes"}, {"off", "on"}};

	for (size_t i = 0; i < LP_ARRAY_SIZE(words); i++) {
		for (unsigned v = 0; v < 2; v++) {
			if (!strcmp(text, words[i][v])) {
				*out = v;
				return 0;
			}
		}
	}
	return refuse(s, text, "neither true nor false", err);
}

static int character(const struct lp_shape *s, const char *text, unsigned bits, uint64_t *out, struct lp_err *err)
{
	size_t len = strlen(text);

	if (len == 3 && text[0] == '\'' && text[2] == '\'')
		*out = (uint8_t)text[1];
	else if (len == 1 && !isdigit((unsigned char)*text))
		*out = (uint8_t)*text;
	else
		return integer(s, text, bits, out, err);
	return 0;
}

static bool enumerator(const struct lp_shape *s, const char *name, size_t len, uint64_t *out)
{
	size_t nr;
	const struct lp_enumerator *e = lp_shape_enumerators(s, &nr);

	for (size_t i = 0; i < nr; i++) {
		if (!strncmp(e[i].name, name, len) && !e[i].name[len]) {
			*out |= (uint64_t)e[i].value & (UINT64_MAX >> (64 - s->size * 8));
			return true;
		}
	}
	return false;
}

/* "RED", "READ|WRITE", or a number. */
static int enumeration(const struct lp_shape *s, const char *text, unsigned bits, uint64_t *out, struct lp_err *err)
{
	const char *at = text;

	*out = 0;
	if (isdigit((unsigned char)*text) || *text == '-')
		return integer(s, text, bits, out, err);
	for (;;) {
		at += strspn(at, " ");
		size_t len = strcspn(at, " |");
		if (!len || !enumerator(s, at, len, out))
			return refuse(s, text, "it has no such name", err);
		at += len;
		at += strspn(at, " ");
		if (!*at)
			break;
		if (*at++ != '|')
			return refuse(s, text, "names are joined by |", err);
	}
	if (bits < s->size * 8 && !lp_fits_unsigned(*out, bits))
		return refuse(s, text, "it does not fit", err);
	return 0;
}

static int pointer(const struct lp_shape *s, const char *text, uint64_t *out, struct lp_err *err)
{
	if (!strcmp(text, "NULL") || !strcmp(text, "nullptr")) {
		*out = 0;
		return 0;
	}
	return unsigned_number(s, text, 64, out, err);
}

static int whole_number(const struct lp_shape *s, const char *text, unsigned bits, uint64_t *out, struct lp_err *err)
{
	switch (s->kind) {
	case LP_SHAPE_BOOL:
		return boolean(s, text, out, err);
	case LP_SHAPE_CHAR:
		return character(s, text, bits, out, err);
	case LP_SHAPE_SIGNED:
	case LP_SHAPE_UNSIGNED:
		return integer(s, text, bits, out, err);
	case LP_SHAPE_ENUM:
		return enumeration(s, text, bits, out, err);
	case LP_SHAPE_POINTER:
		return pointer(s, text, out, err);
	case LP_SHAPE_STRING:
		return lp_fail(err, LP_ETYPE,
			       "a std::string is set by a program that registers it: others cannot know who reads it");
	default:
		return lp_fail(err, LP_ETYPE, "%s is not set as a whole: set its members", s->name);
	}
}

static int real(const struct lp_shape *s, const char *text, uint8_t *bytes, struct lp_err *err)
{
	char *end;
	long double l = strtold(text, &end);
	float f = strtof(text, NULL);
	double d = strtod(text, NULL);

	if (!begins_well(text) || end == text || *end)
		return refuse(s, text, "not a number", err);
	memcpy(bytes, s->size == sizeof f ? (void *)&f : s->size == sizeof d ? (void *)&d : (void *)&l, s->size);
	return 0;
}

/* ---- arrays of characters ---- */

static int characters(const struct lp_shape *s, const char *text, uint8_t *bytes, uint8_t *mask, struct lp_err *err)
{
	size_t len = strlen(text);

	if (len >= s->size)
		return lp_fail(err, LP_EVALUE, "the array holds %llu characters at most",
			       (unsigned long long)(s->size ? s->size - 1 : 0));
	memset(mask, 0, s->size); /* what is behind the text stays */
	memset(mask, 0xff, len + 1);
	memcpy(bytes, text, len + 1);
	return 0;
}

int lp_global_parse(const struct lp_global *g, const char *text, uint8_t *bytes, uint8_t *mask, struct lp_err *err)
{
	const struct lp_shape *s = g->shape;
	uint64_t value = 0;
	size_t size = lp_global_size(g);
	unsigned bits = g->bit_size ? g->bit_size : (unsigned)s->size * 8;

	memset(bytes, 0, size);
	memset(mask, 0xff, size);
	if (s->kind == LP_SHAPE_REAL)
		return real(s, text, bytes, err);
	if (s->kind == LP_SHAPE_ARRAY && lp_shape_to(s)->kind == LP_SHAPE_CHAR)
		return characters(s, text, bytes, mask, err);
	int rc = whole_number(s, text, bits, &value, err);
	if (rc == 0 && g->bit_size) {
		memset(mask, 0, size);
		lp_bits_put(bytes, g->bit_offset, g->bit_size, value);
		lp_bits_put(mask, g->bit_offset, g->bit_size, UINT64_MAX);
	} else if (rc == 0) {
		memcpy(bytes, &value, s->size);
	}
	return rc;
}
