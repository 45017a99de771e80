#include "agent/value.h"

#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

/* ---- types ---- */

#define TYPE(id, kind, size, ...) static const char *const names_##id[] = {__VA_ARGS__, NULL};
#include "agent/type.def"
#undef TYPE

static const struct lp_type types[] = {
#define TYPE(id, kind, size, ...) {HOTPATCH_##id, LP_KIND_##kind, size, names_##id},
#include "agent/type.def"
#undef TYPE
};

const struct lp_type *lp_type_named(const char *name)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(types); i++) {
		for (const char *const *n = types[i].names; *n; n++) {
			if (!strcmp(*n, name))
				return &types[i];
		}
	}
	return NULL;
}

const struct lp_type *lp_type_of(enum hotpatch_type id)
{
	return id >= HOTPATCH_BOOL && (size_t)(id - HOTPATCH_BOOL) < LP_ARRAY_SIZE(types) ? &types[id - HOTPATCH_BOOL]
											  : NULL;
}

const struct lp_type *lp_type_sized(size_t size, bool is_signed)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(types); i++) {
		if (types[i].size == size && types[i].kind == (is_signed ? LP_KIND_SIGNED : LP_KIND_UNSIGNED))
			return &types[i];
	}
	return NULL;
}

/* ---- the C locale ---- */

static locale_t c_locale;

static void make_locale(void)
{
	c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* The program's own locale may write 1,5. */
static locale_t use_c_locale(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_locale);
	return uselocale(c_locale);
}

/* ---- text to bytes ---- */

static int refuse(const struct lp_type *t, const char *text, const char *why, struct lp_err *err)
{
	return lp_fail(err, LP_EVALUE, "\"%s\" is no value of type %s: %s", text, t->names[0], why);
}

/* The C library skips blanks in front, and we do not. */
static bool ends_well(const char *text, const char *end)
{
	return end != text && !*end && !isspace((unsigned char)*text);
}

/* 0x20 is hexadecimal; 010 is ten, whatever C says. */
static int base_of(const char *text)
{
	const char *digits = text + (*text == '-' || *text == '+');

	return digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X') ? 16 : 10;
}

static int parse_signed(const struct lp_type *t, const char *text, uint8_t *out, struct lp_err *err)
{
	unsigned bits = (unsigned)t->size * 8;
	char *end;

	errno = 0;
	int64_t v = strtoll(text, &end, base_of(text));
	if (!ends_well(text, end))
		return refuse(t, text, "not a whole number", err);
	if (errno || (bits < 64 && (v < -(INT64_C(1) << (bits - 1)) || v >= INT64_C(1) << (bits - 1))))
		return refuse(t, text, "out of its range", err);
	memcpy(out, &v, sizeof v);
	return 0;
}

static int parse_unsigned(const struct lp_type *t, const char *text, uint8_t *out, struct lp_err *err)
{
	unsigned bits = (unsigned)t->size * 8;
	char *end;

	errno = 0;
	uint64_t v = strtoull(text, &end, base_of(text));
	if (!ends_well(text, end))
		return refuse(t, text, "not a whole number", err);
	if (errno || strchr(text, '-') || (bits < 64 && v >> bits))
		return refuse(t, text, "out of its range", err);
	memcpy(out, &v, sizeof v);
	return 0;
}

static int parse_real(const struct lp_type *t, const char *text, uint8_t *out, struct lp_err *err)
{
	locale_t before = use_c_locale();
	char *end;

	errno = 0;
	double v = strtod(text, &end);
	int range = errno == ERANGE && isinf(v);
	uselocale(before);
	if (!ends_well(text, end))
		return refuse(t, text, "not a number", err);
	if (range || (t->size == 4 && isfinite(v) && isinf((float)v)))
		return refuse(t, text, "out of its range", err);
	if (t->size == 4)
		memcpy(out, &(float){(float)v}, sizeof(float));
	else
		memcpy(out, &v, sizeof v);
	return 0;
}

static int parse_bool(const struct lp_type *t, const char *text, uint8_t *out, struct lp_err *err)
{
	static const char *const yes[] = {"true", "1", "yes", "on", "t", "y"};
	static const char *const no[] = {"false", "0", "no", "off", "f", "n"};

	for (size_t i = 0; i < LP_ARRAY_SIZE(yes); i++) {
		if (!strcmp(text, yes[i]) || !strcmp(text, no[i])) {
			out[0] = !strcmp(text, yes[i]);
			return 0;
		}
	}
	return refuse(t, text, "true or false is expected", err);
}

/* One character, or its number when it has more than one digit. */
static int parse_char(const struct lp_type *t, const char *text, uint8_t *out, struct lp_err *err)
{
	char *end;

	if (strlen(text) == 1) {
		out[0] = (uint8_t)text[0];
		return 0;
	}
	errno = 0;
	long v = strtol(text, &end, base_of(text));
	if (!ends_well(text, end) || errno || v < -128 || v > 255)
		return refuse(t, text, "one character, or its number, is expected", err);
	out[0] = (uint8_t)v;
	return 0;
}

int lp_value_parse(const struct lp_type *t, const char *text, uint8_t out[LP_VALUE_MAX], struct lp_err *err)
{
	memset(out, 0, LP_VALUE_MAX);
	switch (t->kind) {
	case LP_KIND_BOOL:
		return parse_bool(t, text, out, err);
	case LP_KIND_CHAR:
		return parse_char(t, text, out, err);
	case LP_KIND_SIGNED:
		return parse_signed(t, text, out, err);
	case LP_KIND_UNSIGNED:
		return parse_unsigned(t, text, out, err);
	case LP_KIND_REAL:
		return parse_real(t, text, out, err);
	default:
		return lp_fail(err, LP_EINTERNAL, "%s is no scalar", t->names[0]);
	}
}

/* ---- bytes to text ---- */

static int64_t signed_of(const struct lp_type *t, const uint8_t *bytes)
{
	unsigned unused = 64 - (unsigned)t->size * 8;
	uint64_t v;

	memcpy(&v, bytes, sizeof v);
	return (int64_t)(v << unused) >> unused;
}

static uint64_t unsigned_of(const struct lp_type *t, const uint8_t *bytes)
{
	uint64_t v = 0;

	memcpy(&v, bytes, t->size);
	return v;
}

/* With as few digits as tell it from every other number of its type. */
static void print_real(const struct lp_type *t, const uint8_t *bytes, struct lp_buf *out)
{
	locale_t before = use_c_locale();
	char text[64];
	float f;
	double d;

	memcpy(&f, bytes, sizeof f);
	memcpy(&d, bytes, sizeof d);
	int least = t->size == 4 ? 6 : 15, most = t->size == 4 ? 9 : 17;
	for (int digits = least; digits <= most; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, t->size == 4 ? (double)f : d);
		if (t->size == 4 ? strtof(text, NULL) == f : strtod(text, NULL) == d)
			break;
	}
	uselocale(before);
	lp_buf_str(out, text);
}

static void print_char(uint8_t c, struct lp_buf *out)
{
	if (c > ' ' && c < 0x7f)
		lp_buf_printf(out, "%c", c);
	else
		lp_buf_printf(out, "%02d", (signed char)c); /* one digit would be the character */
}

void lp_value_print(const struct lp_type *t, const uint8_t bytes[LP_VALUE_MAX], struct lp_buf *out)
{
	switch (t->kind) {
	case LP_KIND_BOOL:
		lp_buf_str(out, bytes[0] ? "true" : "false");
		break;
	case LP_KIND_CHAR:
		print_char(bytes[0], out);
		break;
	case LP_KIND_SIGNED:
		lp_buf_printf(out, "%lld", (long long)signed_of(t, bytes));
		break;
	case LP_KIND_UNSIGNED:
		lp_buf_printf(out, "%llu", (unsigned long long)unsigned_of(t, bytes));
		break;
	case LP_KIND_REAL:
		print_real(t, bytes, out);
		break;
	default:
		break;
	}
}
