/* Which host registers hold copies of the guest's vector registers. */
#include "jit/emit.h"

#include <string.h>

static uint32_t bit(unsigned v)
{
	return UINT32_C(1) << v;
}

static void load_bits(struct lp_tr *t, unsigned host, unsigned v, unsigned bits)
{
	enum lp_x86_vop op = bits <= 32 ? LP_VMOVSS_LOAD : bits <= 64 ? LP_VMOVSD_LOAD : LP_VMOVUPS;

	lp_x86_vex_rm(&t->x, op, 0, host, lp_cpu_v(v));
}

/* So many bits are copied, with zeros above them. */
static void load(struct lp_tr *t, unsigned v, unsigned bits)
{
	load_bits(t, (unsigned)t->v_host[v], v, bits);
	if (!t->v_fixed && !(t->v_written & bit(v)) && t->v_at_head[v] < bits)
		t->v_at_head[v] = (uint8_t)bits;
	t->v_loaded |= bit(v);
	t->v_cut_s &= ~bit(v);
	t->v_cut_d &= ~bit(v);
	t->v_cut_s |= bits <= 32 ? bit(v) : 0;
	t->v_cut_d |= bits <= 64 ? bit(v) : 0;
}

/* The copy has that many bits, if perhaps others above them. */
static bool has_bits(const struct lp_tr *t, unsigned v, unsigned bits)
{
	uint32_t cut = bits <= 32 ? 0 : bits <= 64 ? t->v_cut_s : t->v_cut_d;

	return t->v_loaded & ~cut & bit(v);
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

unsigned lp_v_read_bits(struct lp_tr *t, unsigned v, unsigned bits)
{
	allot(t, v);
	if (!has_bits(t, v, bits))
		load(t, v, bits);
	return (unsigned)t->v_host[v];
}

unsigned lp_v_read(struct lp_tr *t, unsigned v)
{
	return lp_v_read_bits(t, v, 128);
}

struct lp_x86_rm lp_v_rm(const struct lp_tr *t, unsigned v, unsigned bits)
{
	return has_bits(t, v, bits) ? lp_rm_reg((unsigned)t->v_host[v]) : lp_cpu_v(v);
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
	t->v_written |= bit(v);
	t->v_loaded |= bit(v);
	t->v_is_s &= ~bit(v);
	t->v_is_d &= ~bit(v);
	t->v_cut_s &= ~bit(v);
	t->v_cut_d &= ~bit(v);
}

void lp_v_write_bits(struct lp_tr *t, unsigned v, unsigned from, unsigned bits)
{
	lp_v_write(t, v, from);
	t->v_is_s |= bits <= 32 ? bit(v) : 0;
	t->v_is_d |= bits <= 64 ? bit(v) : 0;
}

bool lp_v_is_zero_above(const struct lp_tr *t, unsigned v, unsigned bits)
{
	uint32_t cut = bits <= 32 ? t->v_cut_s : t->v_cut_d, is = bits <= 32 ? t->v_is_s : t->v_is_d;

	return (is | (cut & t->v_loaded)) & bit(v);
}

void lp_v_forget(struct lp_tr *t)
{
	t->v_loaded = t->v_is_s = t->v_is_d = 0;
}

static unsigned copied(const struct lp_cold *c, unsigned v)
{
	return c->v_cut_s & bit(v) ? 32 : c->v_cut_d & bit(v) ? 64 : 128;
}

void lp_v_restore(struct lp_tr *t, const struct lp_cold *c)
{
	for (unsigned h = 0; h < LP_NR_V_HOST; h++)
		if (c->v_of[h] >= 0 && c->v_loaded & bit((unsigned)c->v_of[h]))
			load_bits(t, h, (unsigned)c->v_of[h], copied(c, (unsigned)c->v_of[h]));
}

/* ---- loops ---- */

void lp_v_fix(struct lp_tr *t)
{
	t->v_fixed = __builtin_popcount(t->v_used) <= LP_NR_V_HOST;
	t->v_in_loop = 0;
	if (!t->v_fixed)
		return;
	memset(t->v_host, -1, sizeof t->v_host);
	memset(t->v_of, -1, sizeof t->v_of);
	for (unsigned v = 0, host = 0; v < 32; v++) {
		if (!(t->v_used & bit(v)))
			continue;
		t->v_host[v] = (int8_t)host;
		t->v_of[host++] = (int8_t)v;
		t->v_in_loop |= t->v_at_head[v] ? bit(v) : 0;
	}
}

/* The copy is what the loop found at its head, or as good. */
static bool is_as_at_head(const struct lp_tr *t, unsigned v)
{
	unsigned bits = t->v_at_head[v];

	return has_bits(t, v, bits) && (bits == 128 || lp_v_is_zero_above(t, v, bits));
}

void lp_v_loop(struct lp_tr *t)
{
	for (unsigned v = 0; v < 32; v++)
		if (t->v_in_loop & bit(v) && !is_as_at_head(t, v))
			load(t, v, t->v_at_head[v]);
}

void lp_v_preload(struct lp_tr *t)
{
	lp_v_loop(t);
}
