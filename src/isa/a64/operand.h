/*
 * Operands: each kind of operand.def has a function that prints it from a word
 * and one that reads it into a word.  Private to the listing, the assembler and
 * operand_*.c.
 *
 * Reading fills in bits: `known` says which bits of `word` are decided so far,
 * the row's own at first.  An operand that wants a decided bit otherwise does
 * not fit, which is how `add x0, w1, w2` is refused: x0 has decided sf.
 */
#ifndef LP_ISA_A64_OPERAND_H
#define LP_ISA_A64_OPERAND_H

#include "isa/a64/table.h"
#include "isa/isa.h"

/* ---- printing ---- */

struct lp_a64_line {
	uint32_t word;
	lp_addr at;
	char *out; /* size bytes, always NUL-terminated; what does not fit is cut off */
	size_t size, len;
};

void lp_a64_put(struct lp_a64_line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- reading ---- */

struct lp_a64_scan {
	const char *p; /* the next character */
	uint32_t word, known;
	lp_addr at;
	const struct lp_asm_names *names;
	/* The failure that came farthest, over all the forms that were tried. */
	const char *failed_at, *why; /* why: a phrase; NULL: none yet */
	int code;
};

/* Returns false, for the caller to return. */
bool lp_a64_scan_fail(struct lp_a64_scan *s, int code, const char *why);
void lp_a64_scan_space(struct lp_a64_scan *s);
/* Each skips the space before what it reads, and stays where it was when that is not there. */
bool lp_a64_scan_char(struct lp_a64_scan *s, char c);
/* A whole identifier, any case; letters, digits, '_'. */
bool lp_a64_scan_name(struct lp_a64_scan *s, const char *name);
size_t lp_a64_scan_identifier(struct lp_a64_scan *s, const char **name);
/* One of nr names, NULL entries match nothing; -1: none of them. */
int lp_a64_scan_one_of(struct lp_a64_scan *s, const char *const *names, size_t nr);
/* [#][-]digits, decimal or 0x; negative numbers in two's complement. */
bool lp_a64_scan_integer(struct lp_a64_scan *s, uint64_t *value);
/* The same, within [min, max]. */
bool lp_a64_scan_within(struct lp_a64_scan *s, int64_t min, int64_t max, int64_t *value);
/* [#][-]digits[.digits][e[+-]digits] with at most 15 significant digits. */
bool lp_a64_scan_float(struct lp_a64_scan *s, double *value);
/* A letter of `letters` (any case) directly followed by a decimal number up to max, and then no identifier character. */
bool lp_a64_scan_lettered(struct lp_a64_scan *s, const char *letters, unsigned max, char *letter, unsigned *number);
/* Decide bits. */
bool lp_a64_scan_set(struct lp_a64_scan *s, uint32_t mask, uint32_t value);

static inline uint32_t lp_a64_bits(uint32_t word, unsigned lsb, unsigned width)
{
	return word >> lsb & (uint32_t)((UINT64_C(1) << width) - 1);
}

static inline int64_t lp_a64_signed_bits(uint32_t word, unsigned lsb, unsigned width)
{
	return (int32_t)(word << (32 - lsb - width)) >> (32 - width);
}

static inline bool lp_a64_scan_set_bits(struct lp_a64_scan *s, unsigned lsb, unsigned width, uint32_t value)
{
	uint32_t mask = (uint32_t)((UINT64_C(1) << width) - 1);

	return lp_a64_scan_set(s, mask << lsb, (value & mask) << lsb);
}

/* ---- the arguments of operands, as gen_table.py writes them ---- */

enum { NUMBER_DEC, NUMBER_HEX, NUMBER_SCALE = 4 /* << : log2 of the unit */ };

/* When a general register is 64 bits wide.  SF_N: as sf says, and N must say the same. */
enum {
	WIDTH_W,
	WIDTH_X,
	WIDTH_SF,
	WIDTH_SF_N,
	WIDTH_BIT30,
	WIDTH_SIZE,
	WIDTH_MODE = 7,
	WIDTH_SP = 8 /* | : 31 is sp */
};

enum {
	FPR_B,
	FPR_H,
	FPR_S,
	FPR_D,
	FPR_Q,
	FPR_FTYPE,
	FPR_ESIZE,
	FPR_LONG,
	FPR_SZ,
	FPR_IMMH,
	FPR_IMMH_LONG,
	FPR_OPC,
};

/* Which fields say how a vector is divided. */
enum {
	LANES_16B,
	LANES_8H,
	LANES_4S,
	LANES_2D,
	LANES_1Q,
	LANES_2H,
	LANES_SIZE,	 /* esize, Q */
	LANES_LONG,	 /* twice esize, 128 bits */
	LANES_HALVES,	 /* twice esize, Q */
	LANES_BYTES,	 /* Q */
	LANES_HALFWORDS, /* Q */
	LANES_WORDS,	 /* Q */
	LANES_SZ,	 /* 4 << sz bytes, Q */
	LANES_SZ_LONG,	 /* the same, 128 bits */
	LANES_SZ_NARROW, /* 2 << sz bytes, Q */
	LANES_SZ_PAIR,	 /* two of 4 << sz bytes */
	LANES_IMMH,	 /* highest bit of immh, Q */
	LANES_IMMH_LONG, /* twice that, 128 bits */
	LANES_IMM5,	 /* lowest bit of imm5, Q */
	LANES_VSIZE,	 /* vsize, Q */
};

enum { ELEMENT_INT, ELEMENT_FP, ELEMENT_DOT, ELEMENT_COMPLEX };
enum { SCALE_SF = 13, SCALE_OPC = 14, SCALE_MASK = 15, OFFSET_SIGNED = 16, OFFSET_OPTIONAL = 32 };
enum { POST_BYTES, POST_LIST, POST_REPLICATED };
enum { SYSOP_DC, SYSOP_IC };

/* ---- one pair for each kind ---- */

#define OPERAND(kind, name)                                                  \
	void lp_a64_print_##name(struct lp_a64_line *l, const uint8_t *arg); \
	bool lp_a64_scan_##name(struct lp_a64_scan *s, const uint8_t *arg);
#include "isa/a64/operand.def"
#undef OPERAND

void lp_a64_print_operand(struct lp_a64_line *l, const struct lp_a64_operand *o);
bool lp_a64_scan_operand(struct lp_a64_scan *s, const struct lp_a64_operand *o);

/* ---- shared between the files of operands ---- */

extern const char *const lp_a64_conditions[16];
extern const char *const lp_a64_extends[8]; /* uxtb, ... */

/* w3, xzr, ... of either width; number 31 is zr, or sp when with_sp. */
bool lp_a64_scan_register(struct lp_a64_scan *s, bool with_sp, bool *is_64, unsigned *number);
const char *lp_a64_register_name(char buf[8], bool is_64, bool with_sp, unsigned number);
/* MSR (immediate) knows the field in op1:op2, and takes the number in CRm. */
bool lp_a64_pstate_takes(uint32_t word);
/* SYS with these fields has a name as SYSOP_DC, SYSOP_IC. */
bool lp_a64_is_sysop(uint32_t word, unsigned of);

#endif
