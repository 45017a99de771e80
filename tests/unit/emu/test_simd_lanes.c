/*
 * Advanced SIMD, lane by lane, against exact arithmetic: what the manual says of
 * a lane in integers without limits, wrapped or saturated at the end.
 *
 * Each row is run on random words and registers full of extremes, both by the
 * row's own function and by the one that is chosen for the word and this host.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

enum { QC = 1 << 27, WORDS_PER_ROW = 150 };

typedef __int128 exact;

/* One lane of the operands, as integers; bits of a result's lane; the shift of the word. */
struct lane {
	exact a, b, d;
	int bits, shift;
	bool saturated; /* by the function itself, before the end */
};

typedef exact lane_fn(struct lane *l);

/* Which lanes of the operands make one of the result. */
enum shape { SAME, LONG, WIDE, NARROW, PAIR, PAIR_LONG, ACROSS, ACROSS_LONG };
enum shift_kind { NO_SHIFT, TO_LEFT, TO_RIGHT };
enum finish { WRAP, SIGNED, UNSIGNED };

struct spec {
	const char *name; /* without what tells vectors, scalars and elements apart */
	enum shape shape;
	enum shift_kind shift;
	bool is_signed; /* how operands are read */
	enum finish finish;
	lane_fn *fn;
};

/* ---- what one lane becomes ---- */

static exact power(int n)
{
	return (exact)1 << n;
}
static exact floor_shift(exact a, int right)
{
	return right > 120 ? (a < 0 ? -1 : 0) : a >> right;
}
static exact limited(exact value, exact low, exact high, bool *saturated)
{
	*saturated |= value < low || value > high;
	return value < low ? low : value > high ? high : value;
}

#define LANE(name, expr)                  \
	static exact name(struct lane *l) \
	{                                 \
		return expr;              \
	}
LANE(sum, l->a + l->b)
LANE(difference, l->a - l->b)
LANE(half_sum, floor_shift(l->a + l->b, 1))
LANE(half_sum_rounded, floor_shift(l->a + l->b + 1, 1))
LANE(half_difference, floor_shift(l->a - l->b, 1))
LANE(absolute_difference, l->a > l->b ? l->a - l->b : l->b - l->a)
LANE(absolute_difference_added, l->d + absolute_difference(l))
LANE(absolute, l->a < 0 ? -l->a : l->a)
LANE(negated, -l->a)
LANE(greater, l->a > l->b ? -1 : 0)
LANE(not_less, l->a >= l->b ? -1 : 0)
LANE(equal, l->a == l->b ? -1 : 0)
LANE(common_bits, (l->a & l->b) != 0 ? -1 : 0)
LANE(positive, l->a > 0 ? -1 : 0)
LANE(not_negative, l->a >= 0 ? -1 : 0)
LANE(zero, l->a == 0 ? -1 : 0)
LANE(not_positive, l->a <= 0 ? -1 : 0)
LANE(negative, l->a < 0 ? -1 : 0)
LANE(maximum, l->a > l->b ? l->a : l->b)
LANE(minimum, l->a < l->b ? l->a : l->b)
LANE(product, l->a * l->b)
LANE(product_added, l->d + l->a * l->b)
LANE(product_subtracted, l->d - l->a * l->b)
LANE(doubled_high, floor_shift(2 * l->a * l->b, l->bits))
LANE(doubled_high_rounded, floor_shift(2 * l->a * l->b + power(l->bits - 1), l->bits))
LANE(doubled_high_added, floor_shift(l->d *power(l->bits) + 2 * l->a * l->b + power(l->bits - 1), l->bits))
LANE(doubled_high_subtracted, floor_shift(l->d *power(l->bits) - 2 * l->a * l->b + power(l->bits - 1), l->bits))
LANE(same, l->a)
LANE(pair_added_to_d, l->d + l->a + l->b)
LANE(high_half_of_sum, floor_shift(l->a + l->b, l->bits))
LANE(high_half_of_difference, floor_shift(l->a - l->b, l->bits))
LANE(high_half_of_sum_rounded, floor_shift(l->a + l->b + power(l->bits - 1), l->bits))
LANE(high_half_of_difference_rounded, floor_shift(l->a - l->b + power(l->bits - 1), l->bits))

/* SignedSatQ(2 * element1 * element2, 2 * esize), and then once more with the sum. */
static exact doubled(struct lane *l)
{
	return limited(2 * l->a * l->b, -power(l->bits - 1), power(l->bits - 1) - 1, &l->saturated);
}
LANE(doubled_added, l->d + doubled(l))
LANE(doubled_subtracted, l->d - doubled(l))

/* The other operand has the other sign. */
static exact unsigned_added(struct lane *l)
{
	return l->d + (l->a & (power(l->bits) - 1));
}
static exact signed_added(struct lane *l)
{
	return l->d + (l->a >= power(l->bits - 1) ? l->a - power(l->bits) : l->a);
}

static exact shifted_by(exact a, int left, bool round)
{
	if (left > 63)
		return a == 0 ? 0 : a > 0 ? power(126) : -power(126);
	if (left >= 0)
		return a * power(left);
	return floor_shift(a + (round && left > -120 ? power(-left - 1) : 0), -left);
}
LANE(shifted, shifted_by(l->a, (int8_t)l->b, false))
LANE(shifted_rounded, (int8_t)l->b < -80 ? 0 : shifted_by(l->a, (int8_t)l->b, true))
LANE(left, shifted_by(l->a, l->shift, false))
LANE(left_by_all, l->a *power(l->bits / 2))
LANE(right, floor_shift(l->a, l->shift))
LANE(right_rounded, floor_shift(l->a + power(l->shift - 1), l->shift))
LANE(right_added, l->d + right(l))
LANE(right_rounded_added, l->d + right_rounded(l))
LANE(left_inserted, (l->a << l->shift & (power(l->bits) - 1)) | (l->d & (power(l->shift) - 1)))
LANE(right_inserted, l->a >> l->shift | (l->d & (power(l->bits) - power(l->bits - l->shift))))

static exact leading(struct lane *l, int of)
{
	int n = 0;

	while (n < l->bits && (int)(l->a >> (l->bits - 1 - n) & 1) == of)
		n++;
	return n;
}
LANE(leading_zeros, leading(l, 0))
LANE(leading_signs, leading(l, l->a < 0) - 1)
static exact ones(struct lane *l)
{
	int n = 0;

	for (int i = 0; i < 8; i++)
		n += (int)(l->a >> i & 1);
	return n;
}
static exact reversed(struct lane *l)
{
	exact r = 0;

	for (int i = 0; i < 8; i++)
		r |= (l->a >> i & 1) << (7 - i);
	return r;
}
static exact polynomial(struct lane *l)
{
	exact r = 0;

	for (int i = 0; i < 8; i++)
		r ^= (l->b >> i & 1) ? l->a << i : 0;
	return r;
}

static const struct spec specs[] = {
	{"add", SAME, NO_SHIFT, false, WRAP, sum},
	{"sub", SAME, NO_SHIFT, false, WRAP, difference},
	{"shadd", SAME, NO_SHIFT, true, WRAP, half_sum},
	{"uhadd", SAME, NO_SHIFT, false, WRAP, half_sum},
	{"srhadd", SAME, NO_SHIFT, true, WRAP, half_sum_rounded},
	{"urhadd", SAME, NO_SHIFT, false, WRAP, half_sum_rounded},
	{"shsub", SAME, NO_SHIFT, true, WRAP, half_difference},
	{"uhsub", SAME, NO_SHIFT, false, WRAP, half_difference},
	{"sqadd", SAME, NO_SHIFT, true, SIGNED, sum},
	{"uqadd", SAME, NO_SHIFT, false, UNSIGNED, sum},
	{"sqsub", SAME, NO_SHIFT, true, SIGNED, difference},
	{"uqsub", SAME, NO_SHIFT, false, UNSIGNED, difference},
	{"suqadd", SAME, NO_SHIFT, true, SIGNED, unsigned_added},
	{"usqadd", SAME, NO_SHIFT, false, UNSIGNED, signed_added},
	{"sabd", SAME, NO_SHIFT, true, WRAP, absolute_difference},
	{"uabd", SAME, NO_SHIFT, false, WRAP, absolute_difference},
	{"saba", SAME, NO_SHIFT, true, WRAP, absolute_difference_added},
	{"uaba", SAME, NO_SHIFT, false, WRAP, absolute_difference_added},
	{"abs", SAME, NO_SHIFT, true, WRAP, absolute},
	{"neg", SAME, NO_SHIFT, true, WRAP, negated},
	{"sqabs", SAME, NO_SHIFT, true, SIGNED, absolute},
	{"sqneg", SAME, NO_SHIFT, true, SIGNED, negated},
	{"cmgt", SAME, NO_SHIFT, true, WRAP, greater},
	{"cmge", SAME, NO_SHIFT, true, WRAP, not_less},
	{"cmhi", SAME, NO_SHIFT, false, WRAP, greater},
	{"cmhs", SAME, NO_SHIFT, false, WRAP, not_less},
	{"cmeq", SAME, NO_SHIFT, false, WRAP, equal},
	{"cmtst", SAME, NO_SHIFT, false, WRAP, common_bits},
	{"cmgt_zero", SAME, NO_SHIFT, true, WRAP, positive},
	{"cmge_zero", SAME, NO_SHIFT, true, WRAP, not_negative},
	{"cmeq_zero", SAME, NO_SHIFT, true, WRAP, zero},
	{"cmle_zero", SAME, NO_SHIFT, true, WRAP, not_positive},
	{"cmlt_zero", SAME, NO_SHIFT, true, WRAP, negative},
	{"smax", SAME, NO_SHIFT, true, WRAP, maximum},
	{"smin", SAME, NO_SHIFT, true, WRAP, minimum},
	{"umax", SAME, NO_SHIFT, false, WRAP, maximum},
	{"umin", SAME, NO_SHIFT, false, WRAP, minimum},
	{"mul", SAME, NO_SHIFT, true, WRAP, product},
	{"mla", SAME, NO_SHIFT, true, WRAP, product_added},
	{"mls", SAME, NO_SHIFT, true, WRAP, product_subtracted},
	{"sqdmulh", SAME, NO_SHIFT, true, SIGNED, doubled_high},
	{"sqrdmulh", SAME, NO_SHIFT, true, SIGNED, doubled_high_rounded},
	{"sqrdmlah", SAME, NO_SHIFT, true, SIGNED, doubled_high_added},
	{"sqrdmlsh", SAME, NO_SHIFT, true, SIGNED, doubled_high_subtracted},
	{"clz", SAME, NO_SHIFT, false, WRAP, leading_zeros},
	{"cls", SAME, NO_SHIFT, true, WRAP, leading_signs},
	{"cnt", SAME, NO_SHIFT, false, WRAP, ones},
	{"rbit", SAME, NO_SHIFT, false, WRAP, reversed},
	{"pmul", SAME, NO_SHIFT, false, WRAP, polynomial},

	{"sshl", SAME, NO_SHIFT, true, WRAP, shifted},
	{"ushl", SAME, NO_SHIFT, false, WRAP, shifted},
	{"srshl", SAME, NO_SHIFT, true, WRAP, shifted_rounded},
	{"urshl", SAME, NO_SHIFT, false, WRAP, shifted_rounded},
	{"sqshl", SAME, NO_SHIFT, true, SIGNED, shifted},
	{"uqshl", SAME, NO_SHIFT, false, UNSIGNED, shifted},
	{"sqrshl", SAME, NO_SHIFT, true, SIGNED, shifted_rounded},
	{"uqrshl", SAME, NO_SHIFT, false, UNSIGNED, shifted_rounded},
	{"sshr_imm", SAME, TO_RIGHT, true, WRAP, right},
	{"ushr_imm", SAME, TO_RIGHT, false, WRAP, right},
	{"srshr_imm", SAME, TO_RIGHT, true, WRAP, right_rounded},
	{"urshr_imm", SAME, TO_RIGHT, false, WRAP, right_rounded},
	{"ssra_imm", SAME, TO_RIGHT, true, WRAP, right_added},
	{"usra_imm", SAME, TO_RIGHT, false, WRAP, right_added},
	{"srsra_imm", SAME, TO_RIGHT, true, WRAP, right_rounded_added},
	{"ursra_imm", SAME, TO_RIGHT, false, WRAP, right_rounded_added},
	{"shl_imm", SAME, TO_LEFT, false, WRAP, left},
	{"sli_imm", SAME, TO_LEFT, false, WRAP, left_inserted},
	{"sri_imm", SAME, TO_RIGHT, false, WRAP, right_inserted},
	{"sqshl_imm", SAME, TO_LEFT, true, SIGNED, left},
	{"uqshl_imm", SAME, TO_LEFT, false, UNSIGNED, left},
	{"sqshlu_imm", SAME, TO_LEFT, true, UNSIGNED, left},

	{"saddl", LONG, NO_SHIFT, true, WRAP, sum},
	{"uaddl", LONG, NO_SHIFT, false, WRAP, sum},
	{"ssubl", LONG, NO_SHIFT, true, WRAP, difference},
	{"usubl", LONG, NO_SHIFT, false, WRAP, difference},
	{"sabdl", LONG, NO_SHIFT, true, WRAP, absolute_difference},
	{"uabdl", LONG, NO_SHIFT, false, WRAP, absolute_difference},
	{"sabal", LONG, NO_SHIFT, true, WRAP, absolute_difference_added},
	{"uabal", LONG, NO_SHIFT, false, WRAP, absolute_difference_added},
	{"smull", LONG, NO_SHIFT, true, WRAP, product},
	{"umull", LONG, NO_SHIFT, false, WRAP, product},
	{"smlal", LONG, NO_SHIFT, true, WRAP, product_added},
	{"umlal", LONG, NO_SHIFT, false, WRAP, product_added},
	{"smlsl", LONG, NO_SHIFT, true, WRAP, product_subtracted},
	{"umlsl", LONG, NO_SHIFT, false, WRAP, product_subtracted},
	{"sqdmull", LONG, NO_SHIFT, true, SIGNED, doubled},
	{"sqdmlal", LONG, NO_SHIFT, true, SIGNED, doubled_added},
	{"sqdmlsl", LONG, NO_SHIFT, true, SIGNED, doubled_subtracted},
	{"pmull_8", LONG, NO_SHIFT, false, WRAP, polynomial},
	{"sshll", LONG, TO_LEFT, true, WRAP, left},
	{"ushll", LONG, TO_LEFT, false, WRAP, left},
	{"shll", LONG, NO_SHIFT, false, WRAP, left_by_all},
	{"saddw", WIDE, NO_SHIFT, true, WRAP, sum},
	{"uaddw", WIDE, NO_SHIFT, false, WRAP, sum},
	{"ssubw", WIDE, NO_SHIFT, true, WRAP, difference},
	{"usubw", WIDE, NO_SHIFT, false, WRAP, difference},

	{"addhn", NARROW, NO_SHIFT, false, WRAP, high_half_of_sum},
	{"subhn", NARROW, NO_SHIFT, false, WRAP, high_half_of_difference},
	{"raddhn", NARROW, NO_SHIFT, false, WRAP, high_half_of_sum_rounded},
	{"rsubhn", NARROW, NO_SHIFT, false, WRAP, high_half_of_difference_rounded},
	{"xtn", NARROW, NO_SHIFT, false, WRAP, same},
	{"sqxtn", NARROW, NO_SHIFT, true, SIGNED, same},
	{"uqxtn", NARROW, NO_SHIFT, false, UNSIGNED, same},
	{"sqxtun", NARROW, NO_SHIFT, true, UNSIGNED, same},
	{"shrn_imm", NARROW, TO_RIGHT, false, WRAP, right},
	{"rshrn_imm", NARROW, TO_RIGHT, false, WRAP, right_rounded},
	{"sqshrn_imm", NARROW, TO_RIGHT, true, SIGNED, right},
	{"uqshrn_imm", NARROW, TO_RIGHT, false, UNSIGNED, right},
	{"sqshrun_imm", NARROW, TO_RIGHT, true, UNSIGNED, right},
	{"sqrshrn_imm", NARROW, TO_RIGHT, true, SIGNED, right_rounded},
	{"uqrshrn_imm", NARROW, TO_RIGHT, false, UNSIGNED, right_rounded},
	{"sqrshrun_imm", NARROW, TO_RIGHT, true, UNSIGNED, right_rounded},

	{"addp", PAIR, NO_SHIFT, false, WRAP, sum},
	{"smaxp", PAIR, NO_SHIFT, true, WRAP, maximum},
	{"sminp", PAIR, NO_SHIFT, true, WRAP, minimum},
	{"umaxp", PAIR, NO_SHIFT, false, WRAP, maximum},
	{"uminp", PAIR, NO_SHIFT, false, WRAP, minimum},
	{"saddlp", PAIR_LONG, NO_SHIFT, true, WRAP, sum},
	{"uaddlp", PAIR_LONG, NO_SHIFT, false, WRAP, sum},
	{"sadalp", PAIR_LONG, NO_SHIFT, true, WRAP, pair_added_to_d},
	{"uadalp", PAIR_LONG, NO_SHIFT, false, WRAP, pair_added_to_d},
	{"addv", ACROSS, NO_SHIFT, false, WRAP, sum},
	{"smaxv", ACROSS, NO_SHIFT, true, WRAP, maximum},
	{"sminv", ACROSS, NO_SHIFT, true, WRAP, minimum},
	{"umaxv", ACROSS, NO_SHIFT, false, WRAP, maximum},
	{"uminv", ACROSS, NO_SHIFT, false, WRAP, minimum},
	{"saddlv", ACROSS_LONG, NO_SHIFT, true, WRAP, sum},
	{"uaddlv", ACROSS_LONG, NO_SHIFT, false, WRAP, sum},
};

/* ---- what a word does to registers ---- */

/* Lane i of `bytes` bytes, of registers that follow each other. */
static exact lane_of(const union lp_vreg *v, int i, int bytes, bool is_signed)
{
	uint64_t bits = 0;

	memcpy(&bits, v->b + i * bytes, bytes);
	if (is_signed)
		return (int64_t)(bits << (64 - 8 * bytes)) >> (64 - 8 * bytes);
	return bits;
}
static void set_lane(union lp_vreg *v, int i, int bytes, exact value)
{
	uint64_t bits = (uint64_t)value;

	memcpy(v->b + i * bytes, &bits, bytes);
}

struct expected {
	union lp_vreg rd;
	bool saturated;
};

static void finish(struct expected *e, const struct spec *s, struct lane *l, int i, exact value)
{
	int bytes = l->bits / 8;

	if (s->finish == SIGNED)
		value = limited(value, -power(l->bits - 1), power(l->bits - 1) - 1, &e->saturated);
	if (s->finish == UNSIGNED)
		value = limited(value, 0, power(l->bits) - 1, &e->saturated);
	e->saturated |= l->saturated;
	set_lane(&e->rd, i, bytes, value);
}

static bool has(const char *text, const char *part)
{
	return strstr(text, part) != NULL;
}

/* The size of the operands' lanes that the word speaks of: by immh, by size, or always bytes. */
static int lane_bytes(const struct spec *s, uint32_t word)
{
	if (has(s->name, "_imm") || has(s->name, "shll"))
		if (s->fn != left_by_all)
			return 1 << (31 - __builtin_clz(word >> 19 & 15));
	return s->fn == polynomial || s->fn == ones || s->fn == reversed ? 1 : 1 << (word >> 22 & 3);
}

/* Operand 2: a lane of rm, or the one lane that an element instruction names. */
static exact second(const struct lp_cpu *cpu, const struct spec *s, uint32_t word, bool element, int i, int bytes)
{
	unsigned h = word >> 11 & 1, l = word >> 21 & 1, m = word >> 20 & 1, rm = word >> 16 & 31;

	if (!element)
		return lane_of(&cpu->vr[rm], i, bytes, s->is_signed);
	if (bytes == 2)
		return lane_of(&cpu->vr[rm & 15], (int)(h << 2 | l << 1 | m), 2, s->is_signed);
	return lane_of(&cpu->vr[rm], (int)(h << 1 | l), 4, s->is_signed);
}

static struct expected expect(const struct lp_cpu *cpu, const struct spec *s, const char *row, uint32_t word)
{
	const bool q = word >> 30 & 1, scalar = word >> 28 & 1, element = has(row, "_elem");
	const union lp_vreg *n = &cpu->vr[word >> 5 & 31], *m = &cpu->vr[word >> 16 & 31], *d = &cpu->vr[word & 31];
	const int bytes = lane_bytes(s, word), lanes = scalar ? 1 : (q ? 16 : 8) / bytes, immhb = word >> 16 & 127;
	const int half = scalar ? 1 : 8 / bytes, from = q && !scalar ? half : 0;
	struct expected e = {0};
	struct lane l = {.bits = bytes * 8};

	if (s->shift == TO_LEFT)
		l.shift = immhb - bytes * 8;
	if (s->shift == TO_RIGHT)
		l.shift = 2 * bytes * 8 - immhb;
	switch (s->shape) {
	case SAME:
		for (int i = 0; i < lanes; i++) {
			l.a = lane_of(n, i, bytes, s->is_signed);
			l.b = second(cpu, s, word, element, i, bytes);
			l.d = lane_of(d, i, bytes, s->is_signed);
			finish(&e, s, &l, i, s->fn(&l));
		}
		break;
	case LONG:
	case WIDE:
		l.bits *= 2;
		for (int i = 0; i < half; i++) {
			l.a = s->shape == WIDE ? lane_of(n, i, 2 * bytes, s->is_signed)
					       : lane_of(n, from + i, bytes, s->is_signed);
			l.b = second(cpu, s, word, element, from + i, bytes);
			l.d = lane_of(d, i, 2 * bytes, s->is_signed);
			finish(&e, s, &l, i, s->fn(&l));
		}
		break;
	case NARROW:
		if (from)
			e.rd = *d;
		for (int i = 0; i < half; i++) {
			l.a = lane_of(n, i, 2 * bytes, s->is_signed);
			l.b = lane_of(m, i, 2 * bytes, s->is_signed);
			finish(&e, s, &l, from + i, s->fn(&l));
		}
		break;
	case PAIR:
		for (int i = 0; i < (scalar ? 1 : lanes); i++) {
			const union lp_vreg *source = scalar || i < lanes / 2 ? n : m;
			int first = scalar ? 0 : 2 * (i % (lanes / 2));
			l.a = lane_of(source, first, bytes, s->is_signed);
			l.b = lane_of(source, first + 1, bytes, s->is_signed);
			finish(&e, s, &l, i, s->fn(&l));
		}
		break;
	case PAIR_LONG:
		l.bits *= 2;
		for (int i = 0; i < lanes / 2; i++) {
			l.a = lane_of(n, 2 * i, bytes, s->is_signed);
			l.b = lane_of(n, 2 * i + 1, bytes, s->is_signed);
			l.d = lane_of(d, i, 2 * bytes, s->is_signed);
			finish(&e, s, &l, i, s->fn(&l));
		}
		break;
	case ACROSS:
	case ACROSS_LONG:
		l.a = lane_of(n, 0, bytes, s->is_signed);
		for (int i = 1; i < lanes; i++) {
			l.b = lane_of(n, i, bytes, s->is_signed);
			l.a = s->fn(&l);
		}
		l.bits *= s->shape == ACROSS_LONG ? 2 : 1;
		finish(&e, s, &l, 0, l.a);
		break;
	}
	return e;
}

/* ---- running ---- */

static void fill(struct rig *r, uint64_t *seed)
{
	for (int v = 0; v < 32; v++) {
		for (int i = 0; i < 2; i++)
			r->cpu.vr[v].d[i] = rig_interesting(seed);
		/* Extremes of small lanes, and counts of shifts. */
		for (int i = 0; i < 16; i++)
			if (rig_random(seed) >> 60 < 5)
				r->cpu.vr[v].b[i] = (uint8_t)(rig_random(seed) >> 57 ^ (rig_random(seed) >> 63) * 0x80);
	}
	r->cpu.fpsr = 0;
}

/* Some word of the row. */
static uint32_t word_of(enum lp_a64_op op, uint64_t *seed)
{
	const struct lp_a64_row *row = lp_a64_row(op);
	uint32_t word;

	do
		word = row->match | ((uint32_t)(rig_random(seed) >> 32) & ~row->mask);
	while (lp_a64_decode(word) != op);
	return word;
}

static void check(struct rig *r, const struct spec *s, enum lp_a64_op op, uint32_t word, uint64_t *seed)
{
	const char *row = lp_a64_row(op)->name;
	union lp_vreg before[32];
	struct expected e;

	fill(r, seed);
	memcpy(before, r->cpu.vr, sizeof before);
	e = expect(&r->cpu, s, row, word);
	assert_int_equal(rig_run_word(r, word), LP_LEAVE_LOOKUP);
	before[word & 31] = e.rd;
	if (memcmp(before, r->cpu.vr, sizeof before) != 0 || r->cpu.fpsr != (e.saturated ? QC : 0))
		fail_msg("%s %08x (%s): %016lx%016lx fpsr %x, not %016lx%016lx fpsr %x", row, word,
			 r->plain ? "plain" : "chosen", r->cpu.vr[word & 31].d[1], r->cpu.vr[word & 31].d[0],
			 r->cpu.fpsr, e.rd.d[1], e.rd.d[0], e.saturated ? QC : 0);
}

static enum lp_a64_op op_named(const char *name, const char *suffix)
{
	size_t len = strlen(name);

	for (enum lp_a64_op op = A64_OP_UNALLOCATED + 1; op < A64_OP_COUNT; op++) {
		const char *row = lp_a64_row(op)->name;
		if (strncmp(row, name, len) == 0 && strcmp(row + len, suffix) == 0)
			return op;
	}
	return A64_OP_UNALLOCATED;
}

static void every_row_does_to_lanes_what_exact_arithmetic_says(void **state)
{
	static const char *const suffixes[] = {"", "_v", "_s", "_elem_v", "_elem_s"};
	struct rig *r = rig_new();
	uint64_t seed = 1;

	for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
		unsigned rows = 0;
		for (size_t k = 0; k < sizeof suffixes / sizeof suffixes[0]; k++) {
			enum lp_a64_op op = op_named(specs[i].name, suffixes[k]);
			/* add_imm and the like are other instructions */
			if (op == A64_OP_UNALLOCATED || (lp_a64_row(op)->match >> 25 & 7) != 7)
				continue;
			rows++;
			for (unsigned n = 0; n < WORDS_PER_ROW; n++) {
				uint32_t word = word_of(op, &seed);
				r->plain = n & 1;
				check(r, &specs[i], op, word, &seed);
			}
		}
		if (rows == 0)
			fail_msg("no row is called %s", specs[i].name);
	}
	rig_free(r);
}

static void saturation_is_remembered_until_it_is_cleared(void **state)
{
	struct rig *r = rig_new();

	r->cpu.vr[1].h[0] = 0x7fff;
	r->cpu.vr[2].h[0] = 1;
	rig_run(r, "sqadd v0.4h, v1.4h, v2.4h; add v0.4h, v1.4h, v2.4h; sqadd v3.4h, v2.4h, v2.4h");
	assert_int_equal(r->cpu.fpsr, QC);
	rig_free(r);
}

static void lanes_above_a_short_register_do_not_saturate(void **state)
{
	struct rig *r = rig_new();

	r->cpu.vr[1].d[1] = r->cpu.vr[2].d[1] = UINT64_C(0x7fff7fff7fff7fff);
	rig_run(r, "sqadd v0.4h, v1.4h, v2.4h; sqabs v3.8b, v1.8b; uqsub v4.2s, v3.2s, v1.2s");
	assert_int_equal(r->cpu.fpsr, 0);
	rig_run(r, "sqadd v0.8h, v1.8h, v2.8h");
	assert_int_equal(r->cpu.fpsr, QC);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_does_to_lanes_what_exact_arithmetic_says),
		cmocka_unit_test(saturation_is_remembered_until_it_is_cleared),
		cmocka_unit_test(lanes_above_a_short_register_do_not_saturate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
