/*
 * Which function of which file an address is in, for people: crash lines and profiles.
 *
 *     struct lp_sites sites = {0};
 *     struct lp_site p = lp_site_find(&sites, pc);
 *     lp_sites_free(&sites);
 *
 * What has been found of a mapping is kept: who lets the guest run meanwhile has to
 * forget what it unmaps.  Not thread-safe.
 */
#ifndef LP_EMU_SITES_H
#define LP_EMU_SITES_H

#include "base/addr.h"
#include "base/vec.h"

struct lp_elf;

struct lp_sites_image {
	struct lp_range range;
	uint64_t offset; /* of its beginning, in the file */
	char *file;	 /* the last part of its path; NULL: no file */
	struct lp_elf *elf;
};

/* Zeroed to begin with. */
struct lp_sites {
	LP_VEC(struct lp_sites_image) images;
};

/* Strings are the image's: good until that is forgotten. */
struct lp_site {
	const char *file, *symbol; /* NULL: not known */
	uint64_t offset;	   /* within the function, else within the file */
	uint64_t function, size;   /* where it is; 0: not known */
};

/* Reads the host's table of mappings when the address is in one that is new. */
struct lp_site lp_site_find(struct lp_sites *sites, uint64_t pc);

/* How far pc is from the function of that name in its file, which may have others (aliases); false: it is in none. */
bool lp_site_is_in(struct lp_sites *sites, uint64_t pc, const char *name, uint64_t *offset);

/* A function that calls no other has no frame record, and its caller is in x30; in one that has called, x30 leads to
 * itself.  first_record: the return address in the record that x29 points at, 0: there is none. */
bool lp_site_is_called_from_link(struct lp_sites *sites, uint64_t pc, uint64_t link, uint64_t first_record);

void lp_sites_forget(struct lp_sites *sites, struct lp_range range);
void lp_sites_free(struct lp_sites *sites);

#endif
