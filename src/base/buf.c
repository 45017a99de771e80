#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/vec.h"

static bool is_full(const struct lp_buf *b, size_t more)
{
	return b->cap - b->len <= more || !b->data;
}

static size_t larger(const struct lp_buf *b, size_t more)
{
	return (b->cap + more + 64) * 2;
}

static uint8_t *reserve(struct lp_buf *b, size_t more)
{
	if (is_full(b, more)) {
		b->cap = larger(b, more);
		b->data = lp_realloc(b->data, b->cap);
	}
	return b->data + b->len;
}

bool lp_buf_has_room(struct lp_buf *b, size_t more)
{
	if (!is_full(b, more))
		return true;
	uint8_t *data = lp_try_realloc(b->data, larger(b, more));
	if (!data)
		return false;
	b->cap = larger(b, more);
	b->data = data;
	b->data[b->len] = 0;
	return true;
}

static void advance(struct lp_buf *b, size_t len)
{
	b->len += len;
	b->data[b->len] = 0;
}

void lp_buf_add(struct lp_buf *b, const void *data, size_t len)
{
	uint8_t *at = reserve(b, len);
	if (len)
		memcpy(at, data, len);
	advance(b, len);
}

void lp_buf_fill(struct lp_buf *b, uint8_t byte, size_t count)
{
	memset(reserve(b, count), byte, count);
	advance(b, count);
}

void lp_buf_str(struct lp_buf *b, const char *s)
{
	lp_buf_add(b, s, strlen(s));
}

void lp_buf_printf(struct lp_buf *b, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n > 0) {
		vsnprintf((char *)reserve(b, (size_t)n), (size_t)n + 1, fmt, again);
		advance(b, (size_t)n);
	}
	va_end(again);
}

void lp_buf_hex(struct lp_buf *b, const void *data, size_t len)
{
	const uint8_t *p = data;
	for (size_t i = 0; i < len; i++)
		lp_buf_printf(b, "%s%02x", i ? " " : "", p[i]);
}

const char *lp_buf_cstr(struct lp_buf *b)
{
	return b->data ? (const char *)b->data : "";
}

void lp_buf_free(struct lp_buf *b)
{
	lp_free(b->data);
	*b = (struct lp_buf){0};
}
