/* What the tests of self/ share: victims as edits, and threads that are known to be where they should be. */
#ifndef TEST_SELF_OWN_H
#define TEST_SELF_OWN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "base/vec.h"
#include "self/self.h"
#include "self_victims.h"

static inline lp_addr addr_of(const void *p)
{
	return (lp_addr)(uintptr_t)p;
}

#define FN(f) ((lp_addr)(uintptr_t)(f))

#define OWN_PATIENCE_MS \
	60000 /* only ever spent on what hangs: a busy machine may keep a thread from the CPU for seconds */

/* A whole function as one edit, whose instructions stand elsewhere as they are; what comes instead kills who runs it. */
struct vanishing {
	struct lp_self_edit edit;
	struct lp_self_move moves[16];
	uint8_t old[64], fatal[64];
	lp_addr copy;
};

static inline void vanish(struct vanishing *v, lp_addr fn, const char *end)
{
	const struct lp_isa *isa = lp_self_isa();
	struct lp_err err = {0};
	size_t len = addr_of(end) - fn;

	assert_true(len <= sizeof v->old);
	*v = (struct vanishing){.edit = {.at = fn, .len = len, .old_bytes = v->old, .new_bytes = v->fatal}};
	for (size_t i = 0; i < len; i++) /* no instruction on either machine */
		v->fatal[i] = isa->insn_align == 1 ? 0x06 : 0;
	for (size_t i = 0; i < len; i++)
		v->old[i] = ((const uint8_t *)(uintptr_t)fn)[i];
	assert_int_equal(lp_self_code_alloc(0, false, len, &v->copy, &err), 0);
	assert_int_equal(lp_self_code_fill(v->copy, v->old, len, &err), 0);
	v->edit.moves = v->moves;
	for (size_t i = 0, n; i < len; i += n) {
		n = isa->insn_length(v->old + i, len - i, fn + i);
		assert_true(n && v->edit.nr_moves < LP_ARRAY_SIZE(v->moves));
		v->moves[v->edit.nr_moves++] = (struct lp_self_move){fn + i, v->copy + i};
	}
}

static inline void reappear(const struct vanishing *v)
{
	struct lp_err err = {0};
	struct lp_self_edit back = v->edit;

	back.old_bytes = v->fatal;
	back.new_bytes = v->old;
	back.nr_moves = 0;
	assert_int_equal(lp_self_poke(&back, 1, &err), 0);
}

/* A thread in the middle of victim_loop (or a copy of it) until *until. */
struct looper {
	pthread_t thread;
	void *stack;
	lp_addr fn;
	_Atomic int tid;
	volatile int until;
	bool deaf;	 /* blocks every signal that the C library lets it block */
	bool stone_deaf; /* and those that it does not */
	_Atomic int result;
};

void looper_start(struct looper *l); /* returns when it loops */
void looper_end(struct looper *l);

void go_deaf(void); /* the calling thread blocks every signal, as far as the C library lets it */

#endif
