#include "api/names.h"

#include <string.h>

#include "base/vec.h"

/* FNV-1a. */
static size_t hash_of(const char *name, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)name[i]) * UINT64_C(0x100000001b3);
	return (size_t)(h ^ h >> 32);
}

static size_t home_of(const struct lp_names *n, const char *name, size_t len)
{
	return hash_of(name, len) & (n->size - 1);
}

/* The slot that holds the name, or the free one where it belongs. */
static struct lp_name *slot_of(const struct lp_names *n, const char *name, size_t len)
{
	for (size_t i = home_of(n, name, len);; i = (i + 1) & (n->size - 1)) {
		struct lp_name *s = &n->slots[i];

		if (!s->name || (strlen(s->name) == len && memcmp(s->name, name, len) == 0))
			return s;
	}
}

static void grow(struct lp_names *n)
{
	struct lp_names bigger = {.nr = n->nr, .size = n->size ? n->size * 2 : 16};

	bigger.slots = lp_alloc(bigger.size * sizeof *bigger.slots);
	for (size_t i = 0; i < n->size; i++) {
		const struct lp_name *s = &n->slots[i];
		if (s->name)
			*slot_of(&bigger, s->name, strlen(s->name)) = *s;
	}
	lp_free(n->slots);
	*n = bigger;
}

bool lp_names_add(struct lp_names *n, const char *name, uint64_t number)
{
	if (2 * n->nr >= n->size)
		grow(n);
	struct lp_name *s = slot_of(n, name, strlen(name));

	if (s->name)
		return false;
	*s = (struct lp_name){lp_strdup(name), number};
	n->nr++;
	return true;
}

bool lp_names_find(const struct lp_names *n, const char *name, size_t len, uint64_t *number)
{
	const struct lp_name *s = n->size ? slot_of(n, name, len) : NULL;

	if (!s || !s->name)
		return false;
	*number = s->number;
	return true;
}

/* Names behind the gap move up, those that may: none is ever found beyond a free slot. */
void lp_names_remove(struct lp_names *n, const char *name)
{
	struct lp_name *s = n->size ? slot_of(n, name, strlen(name)) : NULL;
	size_t mask = n->size - 1;

	if (!s || !s->name)
		return;
	lp_free(s->name);
	size_t gap = (size_t)(s - n->slots);
	for (size_t i = (gap + 1) & mask; n->slots[i].name; i = (i + 1) & mask) {
		size_t home = home_of(n, n->slots[i].name, strlen(n->slots[i].name));

		if (((i - home) & mask) >= ((i - gap) & mask)) {
			n->slots[gap] = n->slots[i];
			gap = i;
		}
	}
	n->slots[gap] = (struct lp_name){0};
	n->nr--;
}

void lp_names_free(struct lp_names *n)
{
	for (size_t i = 0; i < n->size; i++)
		lp_free(n->slots[i].name);
	lp_free(n->slots);
	*n = (struct lp_names){0};
}

size_t lp_names_bytes(const struct lp_names *n)
{
	size_t bytes = n->size * sizeof *n->slots;

	for (size_t i = 0; i < n->size; i++)
		bytes += n->slots[i].name ? strlen(n->slots[i].name) + 1 : 0;
	return bytes;
}
