/* Which host registers hold copies of the guest's vector registers. */
#include "jit/emit.h"

#include <string.h>

static uint32_t bit(unsigned v)
{
	return UINT32_C(1) << v;
}

static void load(struct lp_tr *t, unsigned v)
{
	lp_x86_vex_rm(&t->x, LP_VMOVUPS, 0, (unsigned)t->v_host[v], lp_cpu_v(v));
	t->v_loaded |= bit(v);
}

/* The one that was used least lately: an instruction never asks for so many that it loses one of its own. */
static unsigned choose(const struct lp_tr *t)
{
	unsigned best = 0;

	for (unsigned h = 0; h < LP_NR_V_HOST; h++) {
		if (t->v_of[h] < 0)
			return h;
		if (t->v_when[h] < t->v_when[best])
			best = h;
	}
	return best;
}

static void allot(struct lp_tr *t, unsigned v)
{
	unsigned host;

	t->v_used |= bit(v);
	if (t->v_host[v] < 0) {
		host = choose(t);
		if (t->v_of[host] >= 0) {
			t->v_host[t->v_of[host]] = -1;
			t->v_loaded &= ~bit((unsigned)t->v_of[host]);
		}
		t->v_of[host] = (int8_t)v;
		t->v_host[v] = (int8_t)host;
	}
	t->v_when[t->v_host[v]] = ++t->v_turn;
}

unsigned lp_v_read(struct lp_tr *t, unsigned v)
{
	allot(t, v);
	if (!(t->v_loaded & bit(v)))
		load(t, v);
	return (unsigned)t->v_host[v];
}

unsigned lp_v_dest(struct lp_tr *t, unsigned v)
{
	allot(t, v);
	return (unsigned)t->v_host[v];
}

void lp_v_write(struct lp_tr *t, unsigned v, unsigned from)
{
	allot(t, v);
	if ((unsigned)t->v_host[v] != from)
		lp_x86_vex_rm(&t->x, LP_VMOVAPS, 0, (unsigned)t->v_host[v], lp_rm_reg(from));
	lp_x86_vex_to(&t->x, LP_VMOVUPS_TO, 0, lp_cpu_v(v), (unsigned)t->v_host[v]);
	t->v_loaded |= bit(v);
	t->v_is_s &= ~bit(v);
	t->v_is_d &= ~bit(v);
}

void lp_v_write_bits(struct lp_tr *t, unsigned v, unsigned from, unsigned bits)
{
	lp_v_write(t, v, from);
	t->v_is_s |= bits <= 32 ? bit(v) : 0;
	t->v_is_d |= bits <= 64 ? bit(v) : 0;
}

bool lp_v_is_zero_above(const struct lp_tr *t, unsigned v, unsigned bits)
{
	return (bits == 32 ? t->v_is_s : t->v_is_d) & bit(v);
}

void lp_v_forget(struct lp_tr *t)
{
	t->v_loaded = t->v_is_s = t->v_is_d = 0;
}

void lp_v_restore(struct lp_tr *t, const struct lp_cold *c)
{
	for (unsigned h = 0; h < LP_NR_V_HOST; h++)
		if (c->v_of[h] >= 0 && c->v_loaded & bit((unsigned)c->v_of[h]))
			lp_x86_vex_rm(&t->x, LP_VMOVUPS, 0, h, lp_cpu_v((unsigned)c->v_of[h]));
}

/* ---- loops ---- */

void lp_v_fix(struct lp_tr *t)
{
	t->v_fixed = __builtin_popcount(t->v_used) <= LP_NR_V_HOST;
	t->v_in_loop = t->v_fixed ? t->v_used : 0;
	if (!t->v_fixed)
		return;
	memset(t->v_host, -1, sizeof t->v_host);
	memset(t->v_of, -1, sizeof t->v_of);
	for (unsigned v = 0, host = 0; v < 32; v++) {
		if (!(t->v_used & bit(v)))
			continue;
		t->v_host[v] = (int8_t)host;
		t->v_of[host++] = (int8_t)v;
	}
}

static void load_missing(struct lp_tr *t)
{
	for (unsigned v = 0; v < 32; v++)
		if (t->v_in_loop & ~t->v_loaded & bit(v))
			load(t, v);
}

void lp_v_preload(struct lp_tr *t)
{
	load_missing(t);
}

void lp_v_loop(struct lp_tr *t)
{
	load_missing(t);
}
