/*
 * The A64 instruction set as data: a64.def, and what gen_table.py makes of it.
 *
 *     enum lp_a64_op op = lp_a64_decode(word);     // A64_OP_UNALLOCATED: no instruction has that word
 *     imm = lp_a64_field_imm12(word);              // fields stand where a64.def declares them
 *
 * An op is a row of a64.def.  What the architecture has and a given CPU lacks
 * decodes all the same: lp_a64_row(op)->feature tells.  What it calls CONSTRAINED
 * UNPREDICTABLE because of registers (ldp x0, x0, ...) decodes too; what it calls
 * so because of bits that should be 0 or 1 does not.
 *
 * Everything is constant, pure and thread-safe.
 */
#ifndef LP_ISA_A64_TABLE_H
#define LP_ISA_A64_TABLE_H

#include "base/addr.h"
#include "isa/a64_ops.h"

struct lp_a64_row {
	char name[16];	      /* as in a64.def */
	uint32_t mask, match; /* fixed bits; a constraint may say more */
	uint16_t feature;     /* enum lp_a64_feature */
	uint16_t condition, first_form, nr_forms;
};

/* Four table reads at most, then the row's mask and constraint (of two rows where only constraints tell them apart). */
enum lp_a64_op lp_a64_decode(uint32_t word);
/* The row has that word; true for one op at most. */
bool lp_a64_is(enum lp_a64_op op, uint32_t word);

static inline bool lp_a64_is_allocated(uint32_t word)
{
	return lp_a64_decode(word) != A64_OP_UNALLOCATED;
}

/* op < A64_OP_COUNT */
const struct lp_a64_row *lp_a64_row(enum lp_a64_op op);

/* ---- text: for the listing and the assembler ---- */

/* One way to write words of a row down. */
struct lp_a64_form {
	uint16_t op, mnemonic;
	uint32_t mask, value; /* it applies to words with these bits, ... */
	uint16_t condition;   /* ... of which this is true */
	uint16_t first_operand;
	bool also; /* only the assembler takes it */
};

enum lp_a64_operand_kind {
#define OPERAND(kind, name) A64_OPERAND_##kind,
#include "isa/a64/operand.def"
#undef OPERAND
	A64_OPERAND_END
};

struct lp_a64_operand {
	uint8_t kind;
	uint8_t arg[3];
};

bool lp_a64_form_applies(const struct lp_a64_form *f, uint32_t word);
/* The form in which `word`, which is an `op`, is printed; NULL only for A64_OP_UNALLOCATED. */
const struct lp_a64_form *lp_a64_form_of(enum lp_a64_op op, uint32_t word);
/* The forms with that mnemonic (any case), in the order to be tried: *nr indices for lp_a64_form().  NULL: none. */
const uint16_t *lp_a64_forms_named(const char *mnemonic, size_t len, size_t *nr);
const struct lp_a64_form *lp_a64_form(unsigned index);
const char *lp_a64_mnemonic(const struct lp_a64_form *f);
const struct lp_a64_operand *lp_a64_operands(const struct lp_a64_form *f); /* up to A64_OPERAND_END */
const char *lp_a64_operand_word(unsigned index);

#endif
