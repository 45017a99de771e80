#include "profile/counts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 256 };

/* FNV-1a. */
static uint64_t hash(const char *text)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	return h ^ h >> 32;
}

/* Where it is, or would be. */
static uint32_t *slot_of(struct lp_counts *counts, const char *text)
{
	size_t mask = counts->nr_slots - 1, i = hash(text) & mask;

	while (counts->slots[i] && strcmp(counts->all.items[counts->slots[i] - 1].text, text) != 0)
		i = (i + 1) & mask;
	return &counts->slots[i];
}

static void fill_slots(struct lp_counts *counts)
{
	lp_free(counts->slots);
	counts->slots = lp_alloc(counts->nr_slots * sizeof *counts->slots);
	for (size_t i = 0; i < counts->all.nr; i++)
		*slot_of(counts, counts->all.items[i].text) = (uint32_t)i + 1;
}

void lp_counts_add(struct lp_counts *counts, const char *text)
{
	uint32_t *slot;

	if (counts->all.nr * 2 >= counts->nr_slots) {
		counts->nr_slots = counts->nr_slots ? counts->nr_slots * 2 : FIRST_SLOTS;
		fill_slots(counts);
	}
	slot = slot_of(counts, text);
	if (*slot) {
		counts->all.items[*slot - 1].nr++;
	} else if (counts->all.nr == LP_COUNTS_MAX) {
		counts->lost++;
	} else {
		lp_vec_push(&counts->all, ((struct lp_count){lp_strdup(text), 1}));
		*slot = (uint32_t)counts->all.nr;
	}
}

static int by_text(const void *a, const void *b)
{
	return strcmp(((const struct lp_count *)a)->text, ((const struct lp_count *)b)->text);
}

void lp_counts_print(struct lp_counts *counts, struct lp_buf *out)
{
	if (counts->all.nr) {
		qsort(counts->all.items, counts->all.nr, sizeof *counts->all.items, by_text);
		fill_slots(counts);
	}
	for (size_t i = 0; i < counts->all.nr; i++)
		lp_buf_printf(out, "%s %" PRIu64 "\n", counts->all.items[i].text, counts->all.items[i].nr);
	if (counts->lost)
		lp_buf_printf(out, "[too many stacks] %" PRIu64 "\n", counts->lost);
}

void lp_counts_free(struct lp_counts *counts)
{
	for (size_t i = 0; i < counts->all.nr; i++)
		lp_free(counts->all.items[i].text);
	lp_vec_free(&counts->all);
	lp_free(counts->slots);
	*counts = (struct lp_counts){0};
}
