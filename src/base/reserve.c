#include "base/reserve.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define PIECE 256u
#define PIECES 16384u

static uint8_t *_Atomic reserve;
static atomic_flag in_there = ATOMIC_FLAG_INIT;
static uint16_t runs[PIECES]; /* pieces of what begins here; 0 within it, and where nothing is */
static bool taken[PIECES];
static _Atomic size_t nr_taken;

void lp_reserve_make(void)
{
	if (atomic_load(&reserve))
		return;
	void *p = mmap(NULL, (size_t)PIECE * PIECES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p != MAP_FAILED)
		atomic_store(&reserve, p);
}

bool lp_reserve_is_low(void)
{
	return atomic_load(&nr_taken) > PIECES / 2;
}

/* A few steps, and no other lock within. */
static void enter(void)
{
	while (atomic_flag_test_and_set(&in_there))
		;
}

static void leave(void)
{
	atomic_flag_clear(&in_there);
}

void lp_reserve_forked(void)
{
	leave();
}

/* The first place of so many pieces; PIECES: there is none. */
static size_t find(size_t nr)
{
	size_t from = 0;
	for (size_t i = 0; i < PIECES && i - from < nr; i++)
		if (taken[i])
			from = i + 1;
	return from + nr <= PIECES ? from : PIECES;
}

static void mark(size_t from, size_t nr, bool as)
{
	memset(taken + from, as, nr);
	runs[from] = as ? (uint16_t)nr : 0;
	atomic_store(&nr_taken, as ? atomic_load(&nr_taken) + nr : atomic_load(&nr_taken) - nr);
}

void *lp_reserve_take(size_t size)
{
	uint8_t *memory = atomic_load(&reserve);
	size_t nr = size / PIECE + 1;
	if (!memory || nr > PIECES)
		return NULL;
	enter();
	size_t from = find(nr);
	if (from < PIECES)
		mark(from, nr, true);
	leave();
	return from < PIECES ? memset(memory + from * PIECE, 0, nr * PIECE) : NULL;
}

/* Where it is in the reserve, in pieces; PIECES: somewhere else. */
static size_t index_of(const void *p)
{
	const uint8_t *memory = atomic_load(&reserve);
	uintptr_t into = (uintptr_t)p - (uintptr_t)memory;
	return memory && into < (size_t)PIECE * PIECES ? into / PIECE : PIECES;
}

size_t lp_reserve_size(const void *p)
{
	size_t i = index_of(p);
	return i < PIECES ? (size_t)runs[i] * PIECE : 0;
}

bool lp_reserve_give_back(void *p)
{
	size_t i = index_of(p);
	if (i == PIECES)
		return false;
	enter();
	mark(i, runs[i], false);
	leave();
	return true;
}
