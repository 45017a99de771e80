/*
 * What a victim and its test share: a page of slots, one per thread, in which
 * the test reads how they fare.
 */
#ifndef LP_VICTIM_PAGE_H
#define LP_VICTIM_PAGE_H

#include <stdint.h>

#define VICTIM_SLOTS 1024

struct victim_slot {
	volatile uint64_t beats;  /* rounds done */
	volatile uint64_t eintrs; /* calls that returned EINTR */
	volatile uint64_t early;  /* sleeps that ended too soon */
	volatile uint64_t extra;
};

struct victim_page {
	volatile uint64_t ready; /* threads that have begun */
	struct victim_slot slots[VICTIM_SLOTS];
};

#endif
