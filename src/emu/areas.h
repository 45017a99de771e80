/*
 * The guest's mappings as a sorted table of disjoint intervals, and the files
 * that they are of.  Numbers only: nothing here maps, and nothing locks.
 */
#ifndef LP_EMU_AREAS_H
#define LP_EMU_AREAS_H

#include <sys/types.h>

#include "base/vec.h"
#include "emu/mem.h"

/* What is mapped: a file, a segment of shared memory, or shared memory without a name.  Kept until the table is freed. */
struct lp_area_file {
	struct lp_area_file *next; /* in its bucket */
	char *name;
	uint64_t dev, ino; /* 0, 0: memory that is only a name */
};

/* What only the area knows: the rest of struct lp_guest_area comes from its file. */
struct lp_area {
	struct lp_range range;
	int prot, flags;
	struct lp_area_file *file; /* never NULL */
	uint64_t offset;	   /* goes on with the addresses; 0 for private memory without a file */
};

enum { LP_AREA_BUCKETS = 256 };

struct lp_areas {
	LP_VEC(struct lp_area) list;
	struct lp_area_file *files[LP_AREA_BUCKETS];
	uint64_t nr_nameless;
};

/* The one of that identity and name; made when there is none. */
struct lp_area_file *lp_areas_file(struct lp_areas *a, const char *name, uint64_t dev, uint64_t ino);
/* Memory that is shared without a name: an identity that no other has. */
struct lp_area_file *lp_areas_nameless(struct lp_areas *a);

/* Index of the first area that ends behind addr; list.nr when there is none. */
size_t lp_areas_find(const struct lp_areas *a, lp_addr addr);
/* The area that holds addr, or NULL. */
struct lp_area *lp_areas_at(const struct lp_areas *a, lp_addr addr);
/* Every byte of the range is in an area; a bad range is not. */
bool lp_areas_cover(const struct lp_areas *a, struct lp_range range);
/* The first piece at or behind `range.start` that lies in the range and in one area; false: there is none. */
bool lp_areas_piece(const struct lp_areas *a, struct lp_range range, struct lp_area *out);
/* The first hole in the range; false: there is none. */
bool lp_areas_hole(const struct lp_areas *a, struct lp_range range, struct lp_range *out);

/* Nothing of the range is in the table any more. */
void lp_areas_cut(struct lp_areas *a, struct lp_range range);
/* Replaces what is there.  Joined with neighbours that are the same mapping. */
void lp_areas_add(struct lp_areas *a, const struct lp_area *area);

void lp_areas_free(struct lp_areas *a);

#endif
