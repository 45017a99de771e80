/* What rows.def and the text forms of a64.def say of a word. */
#include "differential.h"

#include <signal.h>
#include <string.h>
#include <strings.h>

#include "base/vec.h"
#include "isa/a64/operand.h"

/* ---- rows.def ---- */

enum { ABSENT = 1, HINT };

static const uint8_t feature_states[A64_FEATURE_COUNT] = {
#define FEATURE(name, state) [A64_FEATURE_##name] = state,
#include "rows.def"
};

static const char *const skipped_rows[A64_OP_COUNT] = {
#define SKIP_ROW(row, why) [A64_OP_##row] = why,
#include "rows.def"
};

static const struct {
	enum lp_a64_op row;
	uint32_t mask, value;
	const char *why;
} skipped_words[] = {
#define SKIP_WORDS(row, mask, value, why) {A64_OP_##row, mask, value, why},
#include "rows.def"
};

static const struct {
	enum lp_a64_op row;
	uint32_t fpcr;
} withouts[] = {
#define WITHOUT(row, fpcr, why) {A64_OP_##row, fpcr},
#include "rows.def"
};

static const struct {
	enum lp_a64_op row;
	uint32_t signal;
} forgiven[] = {
#define FORGIVE(row, signal, why) {A64_OP_##row, signal},
#include "rows.def"
};

enum { BEFORE, AFTER, STRIP };

static const struct diff_company companies[] = {
#define COMPANY(row, order, other, to0, from0, to1, from1) \
	{A64_OP_##row, A64_OP_##other, (order) != BEFORE, (order) == STRIP, {to0, to1}, {from0, from1}},
#include "rows.def"
};

static const struct {
	enum lp_a64_op first, second;
} follows[] = {
#define FOLLOW(first, second) {A64_OP_##first, A64_OP_##second},
#include "rows.def"
};

enum { R = 1, W = 2 };

static const struct {
	uint8_t op0, op1, n, m, op2, access;
} sysregs[] = {
#define SYSREG(op0, op1, n, m, op2, access, note) {op0, op1, n, m, op2, access},
#include "rows.def"
};

static const struct {
	uint8_t op1, m, op2;
} sysops[] = {
#define SYSOP(op1, n, m, op2, note) {op1, m, op2},
#include "rows.def"
};

bool diff_feature_absent(unsigned feature)
{
	return feature_states[feature] == ABSENT;
}

const char *diff_row_skipped(enum lp_a64_op op)
{
	return skipped_rows[op];
}

uint32_t diff_row_without(enum lp_a64_op op)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(withouts); i++)
		if (withouts[i].row == op)
			return withouts[i].fpcr;
	return 0;
}

bool diff_signal_forgiven(uint32_t word, uint32_t signal)
{
	enum lp_a64_op op = lp_a64_decode(word);

	for (size_t i = 0; i < LP_ARRAY_SIZE(forgiven); i++)
		if (forgiven[i].row == op && forgiven[i].signal == signal)
			return true;
	return false;
}

const struct diff_company *diff_company(enum lp_a64_op op, unsigned i)
{
	for (size_t k = 0; k < LP_ARRAY_SIZE(companies); k++)
		if (companies[k].row == op && !i--)
			return &companies[k];
	return NULL;
}

enum lp_a64_op diff_follower(enum lp_a64_op op, uint32_t number)
{
	size_t nr = 0;

	for (size_t i = 0; i < LP_ARRAY_SIZE(follows); i++)
		nr += follows[i].first == op;
	if (!nr)
		return A64_OP_UNALLOCATED;
	number %= nr;
	for (size_t i = 0;; i++)
		if (follows[i].first == op && !number--)
			return follows[i].second;
}

enum lp_a64_op diff_op_named(const char *name, size_t len)
{
	for (enum lp_a64_op op = 0; op < A64_OP_COUNT; op++)
		if (strlen(lp_a64_row(op)->name) == len && !strncasecmp(lp_a64_row(op)->name, name, len))
			return op;
	return A64_OP_COUNT;
}

static uint32_t system_fields(uint32_t op1, uint32_t n, uint32_t m, uint32_t op2)
{
	return op1 << 16 | n << 12 | m << 8 | op2 << 5;
}

static bool sysreg_word(uint32_t number, uint32_t base, unsigned access, uint32_t *word)
{
	size_t first = number % LP_ARRAY_SIZE(sysregs), i = first;

	while (!(sysregs[i].access & access))
		i = (i + 1) % LP_ARRAY_SIZE(sysregs);
	*word = base | (uint32_t)(sysregs[i].op0 & 1) << 19 |
		system_fields(sysregs[i].op1, sysregs[i].n, sysregs[i].m, sysregs[i].op2);
	return true;
}

bool diff_system_word(enum lp_a64_op op, uint32_t number, bool with_zva, uint32_t *word)
{
	uint32_t base = lp_a64_row(op)->match;
	size_t i = number % LP_ARRAY_SIZE(sysops);

	if (op == A64_OP_MRS || op == A64_OP_MSR_REG)
		return sysreg_word(number, base, op == A64_OP_MRS ? R : W, word);
	if (op != A64_OP_SYS)
		return false;
	*word = base |
		(with_zva ? system_fields(3, 7, 4, 1) : system_fields(sysops[i].op1, 7, sysops[i].m, sysops[i].op2));
	return true;
}

/* ---- what the forms say ---- */

static unsigned log2_unit(uint32_t word, unsigned scale)
{
	switch (scale & SCALE_MASK) {
	case SCALE_SF:
		return 2 + lp_a64_bits(word, 31, 1);
	case SCALE_OPC:
		return 2 + lp_a64_bits(word, 30, 2);
	default:
		return scale & SCALE_MASK;
	}
}

static const struct lp_a64_operand *operands_of(enum lp_a64_op op, uint32_t word)
{
	return lp_a64_operands(lp_a64_form_of(op, word));
}

static bool is_punctuation(const struct lp_a64_operand *o, char c)
{
	return o->kind == A64_OPERAND_PUNCTUATION && o->arg[0] == c;
}

static void add_to_address(const struct lp_a64_operand *o, uint32_t word, struct diff_address *a)
{
	switch (o->kind) {
	case A64_OPERAND_OFFSET:
		a->offset = o->arg[2] & OFFSET_SIGNED ? lp_a64_signed_bits(word, o->arg[0], o->arg[1])
						      : lp_a64_bits(word, o->arg[0], o->arg[1]);
		a->offset *= INT64_C(1) << log2_unit(word, o->arg[2]);
		break;
	case A64_OPERAND_LDRA:
		a->offset = (int64_t)lp_a64_bits(word, 12, 9) * 8 - (int64_t)lp_a64_bits(word, 22, 1) * 4096;
		break;
	case A64_OPERAND_INDEX:
		a->is_indexed = true;
		a->option = lp_a64_bits(word, 13, 3);
		a->shift = lp_a64_bits(word, 12, 1) ? o->arg[0] : 0;
		break;
	default:
		break;
	}
}

bool diff_address_of(enum lp_a64_op op, uint32_t word, struct diff_address *a)
{
	const struct lp_a64_operand *o = operands_of(op, word);

	*a = (struct diff_address){0};
	while (o->kind != A64_OPERAND_END && !is_punctuation(o, '['))
		o++;
	/* `v1.s[2]` has one too, of a lane. */
	if (o->kind == A64_OPERAND_END || o[1].kind != A64_OPERAND_GPR || o[1].arg[0] != 5)
		return false;
	for (; !is_punctuation(o, ']'); o++)
		add_to_address(o, word, a);
	a->is_base_written = o[1].kind != A64_OPERAND_END;
	return true;
}

uint32_t diff_registers_of(enum lp_a64_op op, uint32_t word)
{
	uint32_t named = 0, lsb;

	if (lp_a64_row(op)->feature == A64_FEATURE_PAUTH && (word & 0xfffff01f) == 0xd503201f)
		named |= UINT32_C(1) << 17 | UINT32_C(1) << 30;
	for (const struct lp_a64_operand *o = operands_of(op, word); o->kind != A64_OPERAND_END; o++) {
		if (o->kind == A64_OPERAND_PUNCTUATION || o->kind == A64_OPERAND_WORD)
			continue;
		/* Whatever it is, some register's number may stand there. */
		lsb = o->arg[0] <= 20 ? o->arg[0] : 0;
		named |= UINT32_C(1) << lp_a64_bits(word, lsb, 5);
		if (o->kind == A64_OPERAND_GPR_NEXT)
			named |= UINT32_C(2) << lp_a64_bits(word, lsb, 5);
	}
	if (op == A64_OP_BL || op == A64_OP_BLR || op == A64_OP_BLRAA || op == A64_OP_BLRAB || op == A64_OP_BLRAAZ ||
	    op == A64_OP_BLRABZ)
		named |= UINT32_C(1) << 30;
	return named & 0x7fffffff;
}

/* C4.1.94: exclusives and their like; atomic memory operations; LDAPR, LDAPUR. */
bool diff_must_be_aligned(uint32_t word)
{
	return (word & 0x3f000000) == 0x08000000 || (word & 0x3f200c00) == 0x38200000 ||
	       (word & 0x3f000000) == 0x19000000;
}

static bool has(const char *name, const char *part)
{
	return strstr(name, part);
}

enum diff_kind diff_kind_of(enum lp_a64_op op, uint32_t word)
{
	const char *name = lp_a64_row(op)->name;
	size_t len = strlen(name);

	if (!(word >> 25 & 7 & 7) || (word >> 25 & 7) != 7)
		return DIFF_NR_KINDS; /* no Advanced SIMD, no floating point */
	if (*name == 'f' || has(name, "cvtf")) {
		if (len > 2 && !strcmp(name + len - 2, "_h") && op != A64_OP_FCVT_H)
			return DIFF_HALF;
		if ((word & 0x5f000000) == 0x1e000000 || (word & 0x5f000000) == 0x1f000000)
			return (const uint8_t[]){DIFF_SINGLE, DIFF_DOUBLE, DIFF_DOUBLE, DIFF_HALF}[word >> 22 & 3];
		if (op == A64_OP_FCMLA_V || op == A64_OP_FCADD_V || op == A64_OP_FCMLA_ELEM)
			return DIFF_HALF + (word >> 22 & 3) - 1;
		if (op == A64_OP_FCVTL_V)
			return word >> 22 & 1 ? DIFF_SINGLE : DIFF_HALF;
		if (op == A64_OP_FCVTN_V)
			return word >> 22 & 1 ? DIFF_DOUBLE : DIFF_SINGLE;
		return word >> 22 & 1 ? DIFF_DOUBLE : DIFF_SINGLE;
	}
	return DIFF_INT8 + (word >> 22 & 3);
}

/* ---- what is CONSTRAINED UNPREDICTABLE (K1.1), and so different between emulators ---- */

static uint32_t rt(uint32_t word)
{
	return word & 31;
}

static uint32_t rn(uint32_t word)
{
	return word >> 5 & 31;
}

static uint32_t rt2(uint32_t word)
{
	return word >> 10 & 31;
}

static uint32_t rs(uint32_t word)
{
	return word >> 16 & 31;
}

static const char *exclusive_unpredictable(uint32_t word)
{
	bool is_pair = word >> 21 & 1, is_load = word >> 22 & 1;

	if (word >> 23 & 1)
		return NULL; /* ordered, or compare and swap */
	if (is_pair && !(word >> 31))
		return NULL; /* CASP */
	if (is_load)
		return is_pair && rt(word) == rt2(word) ? "one target twice" : NULL;
	if (rs(word) == rt(word) || (is_pair && rs(word) == rt2(word)))
		return "the status goes where the data comes from";
	return rs(word) == rn(word) && rn(word) != 31 ? "the status goes where the address comes from" : NULL;
}

static const char *pair_unpredictable(uint32_t word)
{
	bool is_load = word >> 22 & 1, is_simd = word >> 26 & 1, writes_base = word >> 23 & 1;

	if (is_load && rt(word) == rt2(word))
		return "one target twice";
	if (writes_base && !is_simd && rn(word) != 31 && (rn(word) == rt(word) || rn(word) == rt2(word)))
		return "the base is written twice, or stored while it is written";
	return NULL;
}

/* Immediate post- and pre-indexed. */
static const char *single_unpredictable(uint32_t word)
{
	bool is_simd = word >> 26 & 1, writes_base = word >> 10 & 1;

	if (word >> 24 & 1 || word >> 21 & 1 || !writes_base || is_simd)
		return NULL;
	return rn(word) != 31 && rn(word) == rt(word) ? "the base is written twice, or stored while it is written"
						      : NULL;
}

static const char *unpredictable(enum lp_a64_op op, uint32_t word)
{
	if ((word & 0x3f000000) == 0x08000000)
		return exclusive_unpredictable(word);
	if ((word & 0x3a000000) == 0x28000000)
		return pair_unpredictable(word);
	if ((op == A64_OP_BRAA || op == A64_OP_BRAB || op == A64_OP_BLRAA || op == A64_OP_BLRAB) &&
	    rn(word) == rt(word))
		return "not unpredictable, but no signed pointer is its own modifier";
	if ((op == A64_OP_LDRAA_PRE || op == A64_OP_LDRAB_PRE) && rn(word) == rt(word))
		return "the base is written twice";
	if ((word & 0x3a000000) == 0x38000000)
		return single_unpredictable(word);
	return NULL;
}

const char *diff_word_skipped(enum lp_a64_op op, uint32_t word)
{
	if (skipped_rows[op])
		return skipped_rows[op];
	for (size_t i = 0; i < LP_ARRAY_SIZE(skipped_words); i++)
		if (skipped_words[i].row == op && (word & skipped_words[i].mask) == skipped_words[i].value)
			return skipped_words[i].why;
	return unpredictable(op, word);
}
