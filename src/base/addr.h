/*
 * Addresses in another world.
 *
 * A target's address is a number, never a pointer: the type keeps host memory
 * and target memory apart.  Only space/ (and later emu/mem.c) turn one into
 * the other.
 */
#ifndef LP_BASE_ADDR_H
#define LP_BASE_ADDR_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t lp_addr;

#define LP_ADDR "0x%" PRIx64

/* Half open: [start, end). */
struct lp_range {
	lp_addr start;
	lp_addr end;
};

static inline bool lp_range_has(struct lp_range r, lp_addr a)
{
	return a >= r.start && a < r.end;
}

/* Strictly inside: a thread whose pc is at `start` has not begun the bytes. */
static inline bool lp_range_has_inside(struct lp_range r, lp_addr a)
{
	return a > r.start && a < r.end;
}

static inline bool lp_range_overlaps(struct lp_range a, struct lp_range b)
{
	return a.start < b.end && b.start < a.end;
}

static inline uint64_t lp_align_down(uint64_t v, uint64_t to)
{
	return v & ~(to - 1);
}

static inline uint64_t lp_align_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) & ~(to - 1);
}

#define LP_PAGE 4096u /* the smallest page of every supported kernel */

#endif
