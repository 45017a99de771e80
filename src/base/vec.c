#include "base/vec.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/reserve.h"

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
	void *p = calloc(1, size ? size : 1);
	return checked(p ? p : lp_reserve_take(size));
}

/* From one of heap and reserve to the other. */
static void *move(void *from, void *to, size_t size)
{
	if (to && from) {
		memcpy(to, from, size);
		lp_free(from);
	}
	return to;
}

void *lp_try_realloc(void *p, size_t size)
{
	size_t was = lp_reserve_size(p);
	if (!was)
		return realloc(p, size ? size : 1);
	return move(p, malloc(size ? size : 1), was < size ? was : size);
}

void *lp_realloc(void *p, size_t size)
{
	void *again = lp_try_realloc(p, size);
	if (again)
		return again;
	size_t was = p ? lp_reserve_size(p) : 0;
	if (p && !was)
		was = malloc_usable_size(p);
	return checked(move(p, lp_reserve_take(size), was < size ? was : size));
}

char *lp_strdup(const char *s)
{
	return s ? lp_memdup(s, strlen(s) + 1) : NULL;
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
	va_list again;
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	char *out = lp_alloc(n < 0 ? 1 : (size_t)n + 1);
	vsnprintf(out, n < 0 ? 1 : (size_t)n + 1, fmt, ap);
	return out;
}

void lp_free(void *p)
{
	if (!lp_reserve_give_back(p))
		free(p);
}

static size_t checked_product(size_t a, size_t b)
{
	size_t product;
	if (__builtin_mul_overflow(a, b, &product))
		checked(NULL);
	return product;
}

bool lp_vec_room_for_one(void **items, size_t nr, size_t *cap, size_t size)
{
	size_t more = *cap ? *cap * 2 : 8;
	if (nr < *cap)
		return true;
	void *again = lp_try_realloc(*items, checked_product(more, size));
	if (!again)
		return false;
	*items = again;
	*cap = more;
	return true;
}

void *lp_vec_grow(void *items, size_t *nr, size_t *cap, size_t size)
{
	if (*nr == *cap) {
		size_t more = *cap ? *cap * 2 : 8;
		items = lp_realloc(items, checked_product(more, size));
		*cap = more;
	}
	memset((char *)items + *nr * size, 0, size);
	++*nr;
	return items;
}
