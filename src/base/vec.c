#include "base/vec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *p)
{
	if (!p) {
		fputs("livepatch: out of memory\n", stderr);
		abort();
	}
	return p;
}

void *lp_alloc(size_t size)
{
	return checked(calloc(1, size ? size : 1));
}

void *lp_realloc(void *p, size_t size)
{
	return checked(realloc(p, size ? size : 1));
}

char *lp_strdup(const char *s)
{
	return s ? checked(strdup(s)) : NULL;
}

char *lp_strdup_line(const char *s)
{
	char *line = lp_strdup(s);
	for (char *p = line; p && *p; p++)
		if (*p == '\n')
			*p = '?';
	return line;
}

void *lp_memdup(const void *p, size_t size)
{
	void *copy = lp_alloc(size);
	if (size)
		memcpy(copy, p, size);
	return copy;
}

char *lp_sprintf(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *out = lp_vsprintf(fmt, ap);
	va_end(ap);
	return out;
}

char *lp_vsprintf(const char *fmt, va_list ap)
{
	char *out = NULL;
	int n = vasprintf(&out, fmt, ap);
	return n < 0 ? checked(NULL) : out;
}

void lp_free(void *p)
{
	free(p);
}

void *lp_vec_grow(void *items, size_t *nr, size_t *cap, size_t size)
{
	if (*nr == *cap) {
		size_t more = *cap ? *cap * 2 : 8;
		size_t bytes;
		if (__builtin_mul_overflow(more, size, &bytes))
			checked(NULL);
		items = lp_realloc(items, bytes);
		*cap = more;
	}
	memset((char *)items + *nr * size, 0, size);
	++*nr;
	return items;
}
