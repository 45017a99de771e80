#include "self/traps.h"

#include <stdatomic.h>

#include "base/vec.h"
#include "self/arch/arch.h"

#define SMALLEST 256

struct trap {
	_Atomic lp_addr at; /* 0: free */
	_Atomic lp_addr to;
	_Atomic bool armed;
};

struct table {
	struct table *smaller; /* keeps it reachable: readers may still be in there */
	size_t nr, size;       /* size: a power of two */
	struct trap traps[];
};

static struct table *_Atomic current;
static _Atomic unsigned inside;

static size_t hash(lp_addr at)
{
	return (size_t)((at * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

/* The entry of `at`, or the free one where it belongs. */
static struct trap *slot(struct table *t, lp_addr at)
{
	for (size_t i = hash(at);; i++) {
		struct trap *trap = &t->traps[i & (t->size - 1)];
		lp_addr there = atomic_load_explicit(&trap->at, memory_order_acquire);

		if (!there || there == at)
			return trap;
	}
}

static struct trap *find(lp_addr at)
{
	struct table *t = atomic_load_explicit(&current, memory_order_acquire);
	struct trap *trap = t ? slot(t, at) : NULL;

	return trap && atomic_load_explicit(&trap->at, memory_order_relaxed) ? trap : NULL;
}

static struct table *grown(struct table *old)
{
	size_t size = old ? old->size * 2 : SMALLEST;
	struct table *t = lp_alloc(sizeof *t + size * sizeof t->traps[0]);

	t->smaller = old;
	t->size = size;
	t->nr = old ? old->nr : 0;
	for (size_t i = 0; old && i < old->size; i++) {
		if (old->traps[i].at)
			slot(t, old->traps[i].at)->at = old->traps[i].at; /* none is armed: nobody is at work */
	}
	return t;
}

void lp_traps_prepare(lp_addr at)
{
	struct table *t = current;

	if (find(at))
		return;
	if (!t || t->nr * 2 >= t->size) {
		t = grown(t);
		atomic_store_explicit(&current, t, memory_order_release);
	}
	t->nr++;
	atomic_store_explicit(&slot(t, at)->at, at, memory_order_release);
}

void lp_traps_arm(lp_addr at, lp_addr to)
{
	struct trap *trap = find(at);

	atomic_store(&trap->to, to);
	atomic_store(&trap->armed, true);
}

void lp_traps_disarm(lp_addr at)
{
	struct trap *trap = find(at);

	atomic_store(&trap->armed, false);
	atomic_store(&trap->to, 0);
}

static bool stands(lp_addr at)
{
	const volatile uint8_t *code = (const volatile uint8_t *)(uintptr_t)at;

	for (size_t i = 0; i < lp_self_arch.trap_len; i++) {
		if (code[i] != lp_self_arch.trap[i])
			return false;
	}
	return true;
}

enum lp_trap_answer lp_traps_ask(lp_addr at, lp_addr *to)
{
	struct trap *trap = find(at);

	if (!trap)
		return LP_TRAP_FOREIGN;
	*to = at;
	if (!stands(at)) /* it was ours, and has gone meanwhile */
		return LP_TRAP_GO;
	if (!atomic_load(&trap->armed)) /* a breakpoint of the program's own, in its own code */
		return stands(at) ? LP_TRAP_FOREIGN : LP_TRAP_GO;
	*to = atomic_load(&trap->to);
	if (*to)
		return LP_TRAP_GO;
	*to = at;
	return LP_TRAP_WAIT;
}

void lp_traps_enter(void)
{
	atomic_fetch_add(&inside, 1);
}

void lp_traps_leave(void)
{
	atomic_fetch_sub(&inside, 1);
}

bool lp_traps_busy(void)
{
	return atomic_load(&inside) != 0;
}

void lp_traps_forked(void)
{
	atomic_store(&inside, 0);
}
