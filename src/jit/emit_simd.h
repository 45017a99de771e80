/*
 * Advanced SIMD on integers: what its emit functions share.
 *
 *     static void do_cmhs(struct lp_lanes *l)
 *     {
 *             V(vop_umin[l->size], T0, l->n, l->m);
 *             V(vop_cmeq[l->size], l->d, T0, l->m);
 *     }
 *     ROW(cmhs_v, LP_TWO, do_cmhs)            // a function for lp_emit_..[]: reads the operands, computes, writes d
 *
 * A computing function has its operands in host registers n and m (and in d what was there before, where it is one of
 * LP_..._INTO), and writes l->d with its last instruction only: it may be n or m.  T0, T1 and T2 are for what is in
 * between.  Of a register of 64 bits the upper half need not be right: that is cleared behind it.
 */
#ifndef LP_JIT_EMIT_SIMD_H
#define LP_JIT_EMIT_SIMD_H

#include "emu/hot.h"
#include "jit/emit.h"

#undef RD
#undef RN
#undef RM
#undef RA

enum { T0 = LP_V_SCRATCH, T1, T2 };
enum { B, H, S, D }; /* sizes of lanes */

struct lp_lanes {
	struct lp_tr *t;
	struct lp_x86 *x;
	uint32_t word;
	unsigned size; /* log2 of bytes */
	bool whole;    /* 128 bits, else 64 */
	bool avx512;
	unsigned d, n, m;
};
typedef void lp_lanes_fn(struct lp_lanes *l);

/* What is read. */
enum {
	LP_N = 1,
	LP_M = 2,
	LP_D = 4,
	LP_ONE = LP_N,
	LP_TWO = LP_N | LP_M,
	LP_ONE_INTO = LP_N | LP_D,
	LP_TWO_INTO = LP_N | LP_M | LP_D,
	LP_ELEMENT = 8,	      /* m is the element that H:L:M names, everywhere, in T2 */
	LP_ALL_BITS = 16,     /* d is whole, or its upper half is zero already */
	LP_SIZE_OF_IMMH = 32, /* instead of esize */
	LP_HALF = 64,	      /* writes one half by lp_write_half(): d is read when it is the upper one */
};

void lp_element(struct lp_lanes *l);
/* Where its lane is in memory, with as many bytes as a lane of twice the size has; false: nowhere. */
bool lp_element_in_memory(struct lp_lanes *l, struct lp_x86_rm *at);

bool lp_lanes_do(struct lp_tr *t, uint32_t word, unsigned how, lp_lanes_fn *compute);

#define ROW(row, how, compute)                                 \
	static bool row(struct lp_tr *t, uint32_t word)        \
	{                                                      \
		return lp_lanes_do(t, word, (how), (compute)); \
	}

/* Scalars have bit 30 set, and bit 28. */
static inline bool lp_is_whole(uint32_t word)
{
	return (word >> 28 & 5) == 4;
}

/* ---- host instructions by size of lanes ---- */

extern const enum lp_x86_vop vop_add[4], vop_sub[4], vop_cmeq[4], vop_cmgt[4];
/* Of lanes of 64 bits only with AVX-512. */
extern const enum lp_x86_vop vop_smax[4], vop_smin[4], vop_umax[4], vop_umin[4];
extern const enum lp_x86_vop vop_low[4], vop_high[4]; /* vpunpck.. */

#define V(op, to, a, b) lp_x86_vex(l->x, op, 0, to, a, lp_rm_reg(b))
#define V_MEM(op, to, a, memory) lp_x86_vex(l->x, op, 0, to, a, memory)
#define V_IMM(op, to, a, b, imm) lp_x86_vex_imm(l->x, op, 0, to, a, lp_rm_reg(b), imm)
#define V_ONE(op, to, a) lp_x86_vex_rm(l->x, op, 0, to, lp_rm_reg(a))
#define V_ONE_MEM(op, to, memory) lp_x86_vex_rm(l->x, op, 0, to, memory)
#define V_ONE_IMM(op, to, a, imm) lp_x86_vex_rm_imm(l->x, op, 0, to, lp_rm_reg(a), imm)
#define V_SHIFT(op, to, a, by) lp_x86_vex_shift(l->x, op, 0, to, lp_rm_reg(a), by)

static inline void lp_v_zero(struct lp_lanes *l, unsigned to)
{
	V(LP_VPXOR, to, to, to);
}
static inline void lp_v_ones(struct lp_lanes *l, unsigned to)
{
	V(LP_VPCMPEQD, to, to, to);
}
/* to = ~a; scratch is another register, perhaps `to`. */
void lp_v_not(struct lp_lanes *l, unsigned to, unsigned a, unsigned scratch);

/* ---- constants ---- */

/* The lowest bits of value in every lane. */
static inline uint64_t lp_each(unsigned size, uint64_t value)
{
	static const uint64_t ones[] = {UINT64_C(0x0101010101010101), UINT64_C(0x0001000100010001),
					UINT64_C(0x0000000100000001), 1};

	return size == D ? value : (value & ((UINT64_C(1) << (8U << size)) - 1)) * ones[size];
}
static inline struct lp_x86_rm lp_each_constant(struct lp_lanes *l, unsigned size, uint64_t value)
{
	return lp_constant(l->t, lp_each(size, value), lp_each(size, value));
}
/* Ones in the lowest lane only. */
static inline struct lp_x86_rm lp_lowest_lane(struct lp_lanes *l, unsigned size)
{
	return lp_constant(l->t, size == D ? UINT64_MAX : (UINT64_C(1) << (8U << size)) - 1, 0);
}

/* An order of bytes for vpshufb; NONE: zero. */
struct lp_order {
	uint8_t byte[16];
};
enum { NONE = 0x80 };
static inline struct lp_x86_rm lp_order_constant(struct lp_lanes *l, const struct lp_order *order)
{
	uint64_t halves[2];

	memcpy(halves, order, sizeof halves);
	return lp_constant(l->t, halves[0], halves[1]);
}
/* Lanes of that size: every second one, from `first` on, in the lower half; zeros above. */
struct lp_order lp_order_every_second(unsigned size, unsigned first);
/* Those in the lower half, and the ones between in the upper. */
struct lp_order lp_order_even_odd(unsigned size);

/* ---- shifts by constants, of all sizes, from 0 to all bits ---- */

void lp_shl(struct lp_lanes *l, unsigned size, unsigned to, unsigned from, unsigned by);
void lp_shr(struct lp_lanes *l, unsigned size, unsigned to, unsigned from, unsigned by);
/* scratch is neither `from` nor `to`. */
void lp_sar(struct lp_lanes *l, unsigned size, unsigned to, unsigned from, unsigned by, unsigned scratch);

/* ---- one half, as lanes of twice the size ---- */

/* size: of the lanes that are widened; from is read first. */
void lp_widen(struct lp_lanes *l, unsigned size, bool is_signed, bool upper, unsigned to, unsigned from);
/* What is in the lower half of `from` becomes d's upper half, or its lower one with zeros above, which has them already. */
void lp_write_half(struct lp_lanes *l, unsigned from);

#endif
