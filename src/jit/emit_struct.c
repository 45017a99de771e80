/*
 * Loads and stores of structures: LD2 to LD4, ST2 to ST4 (emu/sem_load_struct.c).
 *
 * Loads compute in the host registers of their destinations before the last access has not faulted, and write the guest's
 * registers then.
 */
#include "jit/address.h"
#include "jit/emit_simd.h"

enum { MOST = 4 };

static unsigned successor(uint32_t word, unsigned k)
{
	return (F(Rt) + k) & 31;
}

static void begin(struct lp_lanes *l, struct lp_tr *t, uint32_t word)
{
	*l = (struct lp_lanes){.t = t, .x = &t->x, .word = word, .size = F(vsize), .whole = F(Q)};
}

/* Bytes of each of them. */
static unsigned length(const struct lp_lanes *l)
{
	return l->whole ? 16 : 8;
}

/* Of loads that have the last of memory in scratch registers before they write the first of them. */
static void destinations_last(struct lp_lanes *l, unsigned d[MOST], unsigned nr)
{
	for (unsigned k = 0; k < nr; k++)
		d[k] = lp_v_dest_last(l->t, successor(l->word, k));
}
static void destinations(struct lp_lanes *l, unsigned d[MOST], unsigned nr)
{
	for (unsigned k = 0; k < nr; k++)
		d[k] = lp_v_dest(l->t, successor(l->word, k));
}
static void sources(struct lp_lanes *l, unsigned s[MOST], unsigned nr)
{
	for (unsigned k = 0; k < nr; k++)
		s[k] = lp_v_read(l->t, successor(l->word, k));
}
static void load(struct lp_lanes *l, unsigned to, unsigned base, unsigned offset)
{
	V_ONE_MEM(LP_VMOVUPS, to, lp_rm_mem(base, (int32_t)offset));
}
static void store(struct lp_lanes *l, unsigned base, unsigned offset, unsigned from)
{
	lp_x86_vex_to(l->x, LP_VMOVUPS_TO, 0, lp_rm_mem(base, (int32_t)offset), from);
}
/* Two registers of 64 bits: the halves of `from`. */
static void halves(struct lp_lanes *l, unsigned low, unsigned high, unsigned from)
{
	V_ONE(LP_VMOVQ, low, from);
	V_SHIFT(LP_VPSRLDQ_IMM, high, from, 8);
}

/* ---- two ---- */

static void load2(struct lp_lanes *l, unsigned base, const unsigned d[MOST])
{
	struct lp_order order = lp_order_even_odd(l->size);
	struct lp_x86_rm even_odd = lp_order_constant(l, &order);

	load(l, T0, base, 0);
	if (l->whole)
		load(l, T1, base, 16);
	if (l->size < D) {
		V_MEM(LP_VPSHUFB, T0, T0, even_odd);
		if (l->whole)
			V_MEM(LP_VPSHUFB, T1, T1, even_odd);
	}
	if (!l->whole) {
		halves(l, d[0], d[1], T0);
		return;
	}
	V(LP_VPUNPCKLQDQ, d[0], T0, T1);
	V(LP_VPUNPCKHQDQ, d[1], T0, T1);
}

static void store2(struct lp_lanes *l, unsigned base, const unsigned s[MOST])
{
	V(vop_low[l->size], T0, s[0], s[1]);
	store(l, base, 0, T0);
	if (!l->whole)
		return;
	V(vop_high[l->size], T0, s[0], s[1]);
	store(l, base, 16, T0);
}

/* ---- three: every register has bytes of each 16 in memory, and the other way round ---- */

/* Where part `part` of memory has the bytes of register k. */
static struct lp_order loads3(const struct lp_lanes *l, unsigned k, unsigned part)
{
	struct lp_order order;

	for (unsigned i = 0; i < 16; i++) {
		unsigned lane = i >> l->size, at = (lane * 3 + k) << l->size | (i & ((1u << l->size) - 1));
		bool is_here = i < length(l) && at / 16 == part;
		order.byte[i] = is_here ? at % 16 : NONE;
	}
	return order;
}
/* Where register k has the bytes of that part. */
static struct lp_order stores3(const struct lp_lanes *l, unsigned k, unsigned part)
{
	struct lp_order order;

	for (unsigned i = 0; i < 16; i++) {
		unsigned at = part * 16 + i, element = at >> l->size, in = at & ((1u << l->size) - 1);
		bool is_here = at < 3 * length(l) && element % 3 == k;
		order.byte[i] = is_here ? (uint8_t)(element / 3 << l->size | in) : NONE;
	}
	return order;
}

static void take(struct lp_lanes *l, unsigned to, unsigned from, struct lp_order order)
{
	V_MEM(LP_VPSHUFB, to, from, lp_order_constant(l, &order));
}

static void load3(struct lp_lanes *l, unsigned base, const unsigned d[MOST])
{
	static const unsigned part[] = {T0, T1, T2};
	unsigned parts = l->whole ? 3 : 2;

	load(l, T0, base, 0);
	if (l->whole) {
		load(l, T1, base, 16);
		load(l, T2, base, 32);
	} else {
		V_ONE_MEM(LP_VMOVQ, T1, lp_rm_mem(base, 16));
	}
	for (unsigned k = 0; k < 3; k++) {
		take(l, d[k], T0, loads3(l, k, 0));
		for (unsigned p = 1; p < parts; p++) {
			unsigned some = k < 2 ? d[k + 1] : part[p];
			take(l, some, part[p], loads3(l, k, p));
			V(LP_VPOR, d[k], d[k], some);
		}
	}
}

static void store3(struct lp_lanes *l, unsigned base, const unsigned s[MOST])
{
	for (unsigned p = 0; p * 16 < 3 * length(l); p++) {
		take(l, T0, s[0], stores3(l, 0, p));
		take(l, T1, s[1], stores3(l, 1, p));
		take(l, T2, s[2], stores3(l, 2, p));
		V(LP_VPOR, T0, T0, T1);
		V(LP_VPOR, T0, T0, T2);
		if (l->whole || p == 0)
			store(l, base, p * 16, T0);
		else
			lp_x86_vex_to(l->x, LP_VMOVQ_TO, 0, lp_rm_mem(base, 16), T0);
	}
}

/* ---- four ---- */

/* All that 16 bytes of memory have of each register, together. */
static struct lp_order by_four(unsigned size)
{
	struct lp_order order;

	for (unsigned i = 0; i < 16; i++) {
		unsigned lane = i % 4 >> size, in = i & ((1u << size) - 1);
		order.byte[i] = (uint8_t)((lane * 4 + i / 4) << size | in);
	}
	return order;
}

static void load4(struct lp_lanes *l, unsigned base, const unsigned d[MOST])
{
	unsigned parts = l->whole ? 4 : 2;

	for (unsigned p = 0; p < parts; p++)
		load(l, d[p], base, p * 16);
	for (unsigned p = 0; p < parts && l->size < S; p++)
		take(l, d[p], d[p], by_four(l->size));
	if (l->size == D) {
		V_ONE(LP_VMOVAPS, T0, d[1]);
		V(LP_VPUNPCKHQDQ, d[1], d[0], d[2]);
		V(LP_VPUNPCKLQDQ, d[0], d[0], d[2]);
		V(LP_VPUNPCKLQDQ, d[2], T0, d[3]);
		V(LP_VPUNPCKHQDQ, d[3], T0, d[3]);
		return;
	}
	V(LP_VPUNPCKLDQ, T0, d[0], d[1]);
	V(LP_VPUNPCKHDQ, T1, d[0], d[1]);
	if (!l->whole) {
		halves(l, d[0], d[1], T0);
		halves(l, d[2], d[3], T1);
		return;
	}
	V(LP_VPUNPCKLDQ, T2, d[2], d[3]);
	V(LP_VPUNPCKHDQ, d[3], d[2], d[3]);
	V(LP_VPUNPCKLQDQ, d[0], T0, T2);
	V(LP_VPUNPCKHQDQ, d[1], T0, T2);
	V(LP_VPUNPCKLQDQ, d[2], T1, d[3]);
	V(LP_VPUNPCKHQDQ, d[3], T1, d[3]);
}

static void store4(struct lp_lanes *l, unsigned base, const unsigned s[MOST])
{
	const enum lp_x86_vop *const zips[] = {vop_low, vop_high};

	for (unsigned half = 0; half < (l->whole ? 2 : 1); half++) {
		enum lp_x86_vop zip = zips[half][l->size];
		V(zip, T0, s[0], s[2]);
		V(zip, T1, s[1], s[3]);
		V(vop_low[l->size], T2, T0, T1);
		store(l, base, half * 32, T2);
		V(vop_high[l->size], T2, T0, T1);
		store(l, base, half * 32 + 16, T2);
	}
}

/* ---- whole registers ---- */

static void write_all(struct lp_lanes *l, const unsigned d[MOST], unsigned nr)
{
	for (unsigned k = 0; k < nr; k++)
		lp_v_write(l->t, successor(l->word, k), d[k]);
}

static bool structures(struct lp_tr *t, uint32_t word, unsigned nr, bool is_load, bool steps)
{
	static void (*const loads[])(struct lp_lanes *, unsigned, const unsigned[MOST]) = {load2, load3, load4};
	static void (*const stores[])(struct lp_lanes *, unsigned, const unsigned[MOST]) = {store2, store3, store4};
	unsigned base = lp_x_read(t, F(Rn), LP_RAX), v[MOST];
	struct lp_lanes l;

	begin(&l, t, word);
	if (is_load) {
		if (nr == MOST)
			destinations(&l, v, nr);
		else
			destinations_last(&l, v, nr);
		loads[nr - 2](&l, base, v);
		write_all(&l, v, nr);
	} else {
		sources(&l, v, nr);
		stores[nr - 2](&l, base, v);
	}
	if (steps)
		lp_address_step(t, word, nr * length(&l));
	return true;
}

/* ---- one structure: to one lane of each register, or to all of them ---- */

static bool element(struct lp_tr *t, uint32_t word, unsigned nr, unsigned log2, bool is_load, bool steps)
{
	static const enum lp_x86_vop insert[] = {LP_VPINSRB, LP_VPINSRW, LP_VPINSRD, LP_VPINSRQ};
	static const enum lp_x86_vop extract[] = {LP_VPEXTRB, LP_VPEXTRW, LP_VPEXTRD, LP_VPEXTRQ};
	unsigned index = (F(Q) << 3 | F(Sb) << 2 | F(vsize)) >> log2;
	unsigned base = lp_x_read(t, F(Rn), LP_RAX), v[MOST], to[MOST];
	struct lp_lanes l;

	begin(&l, t, word);
	sources(&l, v, nr);
	if (is_load)
		destinations(&l, to, nr);
	for (unsigned k = 0; k < nr; k++) {
		struct lp_x86_rm at = lp_rm_mem(base, (int32_t)(k << log2));
		if (is_load)
			lp_x86_vex_imm(l.x, insert[log2], 0, to[k], v[k], at, index);
		else
			lp_x86_vex_to_imm(l.x, extract[log2], 0, at, v[k], index);
	}
	if (is_load)
		write_all(&l, to, nr);
	if (steps)
		lp_address_step(t, word, nr << log2);
	return true;
}

static bool replicate(struct lp_tr *t, uint32_t word, unsigned nr, bool steps)
{
	static const enum lp_x86_vop broadcast[] = {LP_VPBROADCASTB, LP_VPBROADCASTW, LP_VPBROADCASTD, LP_VPBROADCASTQ};
	unsigned log2 = F(vsize), base = lp_x_read(t, F(Rn), LP_RAX), v[MOST];
	struct lp_lanes lanes, *l = &lanes;

	begin(l, t, word);
	destinations(l, v, nr);
	for (unsigned k = 0; k < nr; k++) {
		V_ONE_MEM(broadcast[log2], v[k], lp_rm_mem(base, (int32_t)(k << log2)));
		if (!l->whole)
			V_ONE(LP_VMOVQ, v[k], v[k]);
	}
	write_all(l, v, nr);
	if (steps)
		lp_address_step(t, word, nr << log2);
	return true;
}

/* ---- rows ---- */

#define TWICE(name, what, ...)                                  \
	static bool name(struct lp_tr *t, uint32_t word)        \
	{                                                       \
		return what(t, word, __VA_ARGS__, false);       \
	}                                                       \
	static bool name##_post(struct lp_tr *t, uint32_t word) \
	{                                                       \
		return what(t, word, __VA_ARGS__, true);        \
	}
#define ALL(nr)                                  \
	TWICE(ld##nr, structures, nr, true)      \
	TWICE(st##nr, structures, nr, false)     \
	TWICE(ld##nr##r, replicate, nr)          \
	TWICE(ld##nr##_b, element, nr, 0, true)  \
	TWICE(ld##nr##_h, element, nr, 1, true)  \
	TWICE(ld##nr##_s, element, nr, 2, true)  \
	TWICE(ld##nr##_d, element, nr, 3, true)  \
	TWICE(st##nr##_b, element, nr, 0, false) \
	TWICE(st##nr##_h, element, nr, 1, false) \
	TWICE(st##nr##_s, element, nr, 2, false) \
	TWICE(st##nr##_d, element, nr, 3, false)
ALL(2)
ALL(3)
ALL(4)

#define BOTH(NAME, name)                          \
	{A64_OP_##NAME, name},                    \
	{                                         \
		A64_OP_##NAME##_POST, name##_post \
	}
#define ROWS(nr)                                                                                              \
	BOTH(LD##nr, ld##nr), BOTH(ST##nr, st##nr), BOTH(LD##nr##R, ld##nr##r), BOTH(LD##nr##_B, ld##nr##_b), \
		BOTH(LD##nr##_H, ld##nr##_h), BOTH(LD##nr##_S, ld##nr##_s), BOTH(LD##nr##_D, ld##nr##_d),     \
		BOTH(ST##nr##_B, st##nr##_b), BOTH(ST##nr##_H, st##nr##_h), BOTH(ST##nr##_S, st##nr##_s),     \
		BOTH(ST##nr##_D, st##nr##_d)
const struct lp_emit_row lp_emit_struct[] = {ROWS(2), ROWS(3), ROWS(4), {0}};
