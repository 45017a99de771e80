/* Characters, words, plain numbers; and the scanner that all operands are read with. */
#include "isa/a64/operand.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- printing ---- */

void lp_a64_put(struct lp_a64_line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (l->len >= l->size)
		return;
	va_start(ap, fmt);
	n = vsnprintf(l->out + l->len, l->size - l->len, fmt, ap);
	va_end(ap);
	l->len += n > 0 ? (size_t)n : 0;
}

/* ---- scanning ---- */

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_identifier(char c)
{
	return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || c == '_';
}

bool lp_a64_scan_fail(struct lp_a64_scan *s, int code, const char *why)
{
	const char *at = s->p + strspn(s->p, " \t");

	/* Of two forms that fail at one place, the one that knew what it read says more. */
	if (!s->why || at > s->failed_at || (at == s->failed_at && s->code == LP_EPARSE)) {
		s->failed_at = at;
		s->why = why;
		s->code = code;
	}
	return false;
}

void lp_a64_scan_space(struct lp_a64_scan *s)
{
	while (*s->p == ' ' || *s->p == '\t')
		s->p++;
}

bool lp_a64_scan_char(struct lp_a64_scan *s, char c)
{
	lp_a64_scan_space(s);
	if (*s->p != c)
		return false;
	s->p++;
	return true;
}

size_t lp_a64_scan_identifier(struct lp_a64_scan *s, const char **name)
{
	lp_a64_scan_space(s);
	*name = s->p;
	if (is_digit(*s->p))
		return 0;
	while (is_identifier(*s->p))
		s->p++;
	return (size_t)(s->p - *name);
}

static bool same_name(const char *text, size_t len, const char *name)
{
	for (size_t i = 0; i < len; i++) {
		if (lower(text[i]) != name[i])
			return false;
	}
	return !name[len];
}

bool lp_a64_scan_name(struct lp_a64_scan *s, const char *name)
{
	return lp_a64_scan_one_of(s, &name, 1) == 0;
}

int lp_a64_scan_one_of(struct lp_a64_scan *s, const char *const *names, size_t nr)
{
	const char *name;
	size_t len = lp_a64_scan_identifier(s, &name);

	for (size_t i = 0; len && i < nr; i++) {
		if (names[i] && same_name(name, len, names[i]))
			return (int)i;
	}
	s->p = name;
	return -1;
}

static int digit_value(char c)
{
	if (is_digit(c))
		return c - '0';
	return lower(c) >= 'a' && lower(c) <= 'f' ? lower(c) - 'a' + 10 : 16;
}

/* At least one digit, then no identifier character; 2^64 and more is refused. */
static bool scan_digits(struct lp_a64_scan *s, uint64_t *value)
{
	unsigned base = s->p[0] == '0' && lower(s->p[1]) == 'x' ? 16 : 10;
	const char *first = s->p += base == 16 ? 2 : 0;

	for (*value = 0; digit_value(*s->p) < (int)base; s->p++) {
		if (__builtin_mul_overflow(*value, base, value) ||
		    __builtin_add_overflow(*value, (uint64_t)digit_value(*s->p), value))
			return lp_a64_scan_fail(s, LP_ERANGE, "the number has more than 64 bits");
	}
	return s->p > first && !is_identifier(*s->p);
}

static bool scan_signed(struct lp_a64_scan *s, uint64_t *value, bool *negative)
{
	const char *start = s->p;

	lp_a64_scan_char(s, '#');
	*negative = lp_a64_scan_char(s, '-');
	lp_a64_scan_space(s);
	if (scan_digits(s, value))
		return true;
	s->p = start;
	lp_a64_scan_space(s);
	return lp_a64_scan_fail(s, LP_EPARSE, "a number is expected");
}

bool lp_a64_scan_integer(struct lp_a64_scan *s, uint64_t *value)
{
	const char *start = s->p;
	bool negative;

	if (!scan_signed(s, value, &negative))
		return false;
	if (negative && *value > UINT64_C(1) << 63) {
		s->p = start;
		return lp_a64_scan_fail(s, LP_ERANGE, "the number has more than 64 bits");
	}
	*value = negative ? -*value : *value;
	return true;
}

bool lp_a64_scan_within(struct lp_a64_scan *s, int64_t min, int64_t max, int64_t *value)
{
	const char *start = s->p;
	uint64_t v;
	bool negative;

	if (!scan_signed(s, &v, &negative))
		return false;
	*value = (int64_t)(negative ? -v : v);
	if (v <= INT64_MAX && *value >= min && *value <= max)
		return true;
	s->p = start;
	lp_a64_scan_space(s);
	return lp_a64_scan_fail(s, LP_ERANGE, "the number does not fit");
}

/* Digits to a number below 10^15 and the power of ten it is short of; trailing zeroes only count. */
static bool scan_decimals(struct lp_a64_scan *s, uint64_t *mantissa, int *exponent)
{
	unsigned digits = 0, zeroes = 0;
	bool fraction = false;

	*mantissa = 0;
	*exponent = 0;
	for (; is_digit(*s->p) || (*s->p == '.' && !fraction); s->p++) {
		if (*s->p == '.') {
			fraction = true;
			continue;
		}
		digits++;
		if (*s->p == '0' && fraction) {
			zeroes++;
			continue;
		}
		for (; zeroes; zeroes--, (*exponent)--) {
			if (*mantissa >= UINT64_C(100000000000000))
				return false;
			*mantissa *= 10;
		}
		if (*mantissa >= UINT64_C(100000000000000))
			return false;
		*mantissa = *mantissa * 10 + (uint64_t)(*s->p - '0');
		*exponent -= fraction;
	}
	return digits > 0;
}

static bool scan_exponent(struct lp_a64_scan *s, int *exponent)
{
	bool negative;
	int value = 0;

	if (lower(*s->p) != 'e')
		return true;
	s->p++;
	negative = *s->p == '-';
	s->p += *s->p == '-' || *s->p == '+';
	if (!is_digit(*s->p))
		return false;
	for (; is_digit(*s->p); s->p++)
		value = value > 1000 ? value : value * 10 + (*s->p - '0');
	*exponent += negative ? -value : value;
	return true;
}

bool lp_a64_scan_float(struct lp_a64_scan *s, double *value)
{
	const char *start = s->p;
	uint64_t mantissa;
	int exponent;

	lp_a64_scan_char(s, '#');
	bool negative = lp_a64_scan_char(s, '-');
	if (!scan_decimals(s, &mantissa, &exponent) || !scan_exponent(s, &exponent) || is_identifier(*s->p)) {
		s->p = start;
		lp_a64_scan_space(s);
		return lp_a64_scan_fail(s, LP_EPARSE, "a floating-point number is expected");
	}
	/* Exact or nearly so: both factors are, up to 10^22. */
	*value = (double)mantissa;
	for (; exponent > 0 && *value < 1e6; exponent--)
		*value *= 10;
	double divisor = 1;
	for (; exponent < 0 && divisor < 1e22; exponent++)
		divisor *= 10;
	if (exponent && mantissa)
		return lp_a64_scan_fail(s, LP_ERANGE, "the number does not fit");
	*value = negative ? -(*value / divisor) : *value / divisor;
	return true;
}

bool lp_a64_scan_lettered(struct lp_a64_scan *s, const char *letters, unsigned max, char *letter, unsigned *number)
{
	const char *name;
	size_t len = lp_a64_scan_identifier(s, &name);
	unsigned value = 0;

	for (size_t i = 1; i < len; i++) {
		if (!is_digit(name[i]) || (i > 1 && value == 0))
			goto no;
		value = value * 10 + (unsigned)(name[i] - '0');
		if (value > max)
			goto no;
	}
	if (len > 1 && strchr(letters, lower(name[0]))) {
		*letter = lower(name[0]);
		*number = value;
		return true;
	}
no:
	s->p = name;
	return false;
}

bool lp_a64_scan_set(struct lp_a64_scan *s, uint32_t mask, uint32_t value)
{
	if ((s->word ^ value) & s->known & mask)
		return lp_a64_scan_fail(s, LP_EPARSE, "the operands do not go together");
	s->known |= mask;
	s->word |= value;
	return true;
}

/* ---- the operands ---- */

void lp_a64_print_punctuation(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, arg[0] == ',' ? ", " : "%c", arg[0]);
}

bool lp_a64_scan_punctuation(struct lp_a64_scan *s, const uint8_t *arg)
{
	static const char *const missing[] = {"',' is expected", "'[' is expected", "']' is expected",
					      "'!' is expected"};

	if (lp_a64_scan_char(s, (char)arg[0]))
		return true;
	return lp_a64_scan_fail(s, LP_EPARSE, missing[arg[0] == '[' ? 1 : arg[0] == ']' ? 2 : arg[0] == '!' ? 3 : 0]);
}

void lp_a64_print_word(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, "%s", lp_a64_operand_word(arg[0]));
}

bool lp_a64_scan_word(struct lp_a64_scan *s, const uint8_t *arg)
{
	return lp_a64_scan_name(s, lp_a64_operand_word(arg[0])) || lp_a64_scan_fail(s, LP_EPARSE, "unknown operand");
}

void lp_a64_print_number(struct lp_a64_line *l, const uint8_t *arg)
{
	uint32_t value = lp_a64_bits(l->word, arg[0], arg[1]) << (arg[2] >> NUMBER_SCALE);

	lp_a64_put(l, arg[2] & NUMBER_HEX ? "#0x%" PRIx32 : "#%" PRIu32, value);
}

bool lp_a64_scan_number(struct lp_a64_scan *s, const uint8_t *arg)
{
	unsigned scale = arg[2] >> NUMBER_SCALE;
	int64_t value;

	if (!lp_a64_scan_within(s, 0, ((INT64_C(1) << arg[1]) - 1) << scale, &value))
		return false;
	if (value & ((1 << scale) - 1))
		return lp_a64_scan_fail(s, LP_ERANGE, "the number is no multiple of what the instruction counts in");
	return lp_a64_scan_set_bits(s, arg[0], arg[1], (uint32_t)(value >> scale));
}

void lp_a64_print_zero(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, arg[0] ? "#0.0" : "#0");
}

bool lp_a64_scan_zero(struct lp_a64_scan *s, const uint8_t *arg)
{
	double value;

	return lp_a64_scan_float(s, &value) &&
	       (value == 0 || lp_a64_scan_fail(s, LP_ERANGE, "only zero is possible here"));
}

const char *const lp_a64_conditions[16] = {"eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc",
					   "hi", "ls", "ge", "lt", "gt", "le", "al", "nv"};

void lp_a64_print_cond(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, "%s", lp_a64_conditions[lp_a64_bits(l->word, arg[0], 4) ^ arg[1]]);
}

bool lp_a64_scan_cond(struct lp_a64_scan *s, const uint8_t *arg)
{
	static const char *const synonyms[4] = {NULL, NULL, "hs", "lo"};
	int cond = lp_a64_scan_one_of(s, lp_a64_conditions, 16);

	if (cond < 0)
		cond = lp_a64_scan_one_of(s, synonyms, 4);
	if (cond < 0)
		return lp_a64_scan_fail(s, LP_EPARSE, "a condition is expected");
	return lp_a64_scan_set_bits(s, arg[0], 4, (uint32_t)cond ^ arg[1]);
}

/* ---- all kinds ---- */

static const struct {
	void (*print)(struct lp_a64_line *l, const uint8_t *arg);
	bool (*scan)(struct lp_a64_scan *s, const uint8_t *arg);
} kinds[] = {
#define OPERAND(kind, name) {lp_a64_print_##name, lp_a64_scan_##name},
#include "isa/a64/operand.def"
#undef OPERAND
};

void lp_a64_print_operand(struct lp_a64_line *l, const struct lp_a64_operand *o)
{
	kinds[o->kind].print(l, o->arg);
}

bool lp_a64_scan_operand(struct lp_a64_scan *s, const struct lp_a64_operand *o)
{
	return kinds[o->kind].scan(s, o->arg);
}
