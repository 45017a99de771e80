/* Where a region has guest registers: those that it uses most in host registers, in place of those that it does not. */
#include "jit/emit.h"

#include <string.h>

/* A register that is elsewhere than always is stored and loaded, and so is the one whose place it takes: where the region is
 * entered and where it is left. */
enum { COST = 4 };

static bool is_brought_in(const struct lp_tr *t, unsigned r)
{
	return t->pin[r] >= 0 && lp_pin[r] < 0;
}

static bool is_put_out(const struct lp_tr *t, unsigned r)
{
	return t->pin[r] < 0 && lp_pin[r] >= 0;
}

/* The one that is used most of those in memory, or least of those in registers where they always are. */
static int most_used(const struct lp_tr *t)
{
	int best = -1;

	for (unsigned r = 0; r <= LP_SP; r++)
		if (t->pin[r] < 0 && lp_pin[r] < 0 && (best < 0 || t->x_uses[r] > t->x_uses[best]))
			best = (int)r;
	return best;
}

static int least_used(const struct lp_tr *t)
{
	int best = -1;

	for (unsigned r = 0; r <= LP_SP; r++)
		if (t->pin[r] >= 0 && lp_pin[r] >= 0 && (best < 0 || t->x_uses[r] < t->x_uses[best]))
			best = (int)r;
	return best;
}

void lp_pins_choose(struct lp_tr *t)
{
	int in, out;

	memcpy(t->pin, lp_pin, sizeof t->pin);
	for (;;) {
		in = most_used(t);
		out = least_used(t);
		if (in < 0 || out < 0 || t->x_uses[in] <= t->x_uses[out] + COST + t->x_cost)
			return;
		t->pin[in] = t->pin[out];
		t->pin[out] = -1;
	}
}

void lp_pins_again(struct lp_tr *t)
{
	for (unsigned r = 0; r <= LP_SP; r++)
		if (is_brought_in(t, r))
			lp_x86_mov(&t->x, 1, (unsigned)t->pin[r], lp_cpu_x(r));
}

void lp_pins_enter(struct lp_tr *t)
{
	for (unsigned r = 0; r <= LP_SP; r++)
		if (is_put_out(t, r))
			lp_x86_mov_to(&t->x, 1, lp_cpu_x(r), (unsigned)lp_pin[r]);
	lp_pins_again(t);
}

void lp_pins_leave(struct lp_tr *t)
{
	for (unsigned r = 0; r <= LP_SP; r++)
		if (is_brought_in(t, r))
			lp_x86_mov_to(&t->x, 1, lp_cpu_x(r), (unsigned)t->pin[r]);
	for (unsigned r = 0; r <= LP_SP; r++)
		if (is_put_out(t, r))
			lp_x86_mov(&t->x, 1, (unsigned)lp_pin[r], lp_cpu_x(r));
}
