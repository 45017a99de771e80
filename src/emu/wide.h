/* The host's atomic operation on sixteen bytes. */
#ifndef LP_EMU_WIDE_H
#define LP_EMU_WIDE_H

#include <stdbool.h>
#include <stdint.h>

/* Stores `wanted` at `at` (aligned to 16) where `found` stands; `found` receives what stood there. */
static inline bool lp_exchange16(void *at, uint64_t found[2], const uint64_t wanted[2])
{
	bool stored;

	__asm__ volatile("lock cmpxchg16b %1"
			 : "=@ccz"(stored), "+m"(*(uint64_t(*)[2])at), "+a"(found[0]), "+d"(found[1])
			 : "b"(wanted[0]), "c"(wanted[1])
			 : "memory");
	return stored;
}

#endif
