#include "api/text.h"

#include <string.h>

#include "base/vec.h"

/* The code point that UTF-8 text begins with, *len bytes long; *len 0 when it is none. */
static uint32_t decode(const unsigned char *s, size_t *len)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc0 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf8 ? 4 : 0;
	uint32_t c = n < 2 ? s[0] : s[0] & (0x7f >> n);

	*len = 0;
	if (!n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if ((n > 1 && c < least[n]) || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*len = n;
	return c;
}

struct span {
	uint32_t first, last;
};

static bool in_spans(uint32_t c, const struct span *spans, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		if (c >= spans[i].first && c <= spans[i].last)
			return true;
	}
	return false;
}

/* C0, C1, and what changes the direction of writing. */
static bool is_control(uint32_t c)
{
	static const struct span spans[] = {
		{0, 0x1f}, {0x7f, 0x9f}, {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069}};

	return in_spans(c, spans, LP_ARRAY_SIZE(spans));
}

/* Unicode's East Asian Width W and F, and the marks that stand over the character before them. */
static size_t columns(uint32_t c)
{
	static const struct span none[] = {{0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},	  {0x610, 0x61a},
					   {0x64b, 0x65f},   {0x200b, 0x200d}, {0x20d0, 0x20f0},  {0xfe00, 0xfe0f},
					   {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}, {0xe0100, 0xe01ef}};
	static const struct span two[] = {
		{0x1100, 0x115f},   {0x2e80, 0x303e},	{0x3041, 0x33ff},   {0x3400, 0x4dbf},
		{0x4e00, 0x9fff},   {0xa000, 0xa4cf},	{0xa960, 0xa97c},   {0xac00, 0xd7a3},
		{0xf900, 0xfaff},   {0xfe30, 0xfe6f},	{0xff00, 0xff60},   {0xffe0, 0xffe6},
		{0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}};

	if (in_spans(c, none, LP_ARRAY_SIZE(none)))
		return 0;
	return in_spans(c, two, LP_ARRAY_SIZE(two)) ? 2 : 1;
}

void lp_text_clean(struct lp_buf *out, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	while (*s) {
		size_t len;
		uint32_t c = decode(s, &len);

		if (len && !is_control(c)) {
			lp_buf_add(out, s, len);
			s += len;
		} else {
			lp_buf_printf(out, "\\x%02x", *s++);
		}
	}
}

static size_t clean_width(const struct lp_buf *clean)
{
	size_t width = 0, len;

	for (size_t i = 0; i < clean->len; i += len)
		width += columns(decode(clean->data + i, &len));
	return width;
}

size_t lp_text_width(const char *text)
{
	struct lp_buf clean = {0};

	lp_text_clean(&clean, text);
	size_t width = clean_width(&clean);
	lp_buf_free(&clean);
	return width;
}

void lp_text_pad(struct lp_buf *out, const char *text, size_t width)
{
	size_t used = lp_text_width(text);

	lp_text_clean(out, text);
	lp_buf_fill(out, ' ', used < width ? width - used : 0);
}
