#include "isa/a64/table.h"

#include <string.h>
#include <strings.h>

#include "isa/a64/limm.h"
#include "isa/a64/operand.h"

/* A step of the decision tree: bits [lsb, lsb + width) choose one of the entries from `first` on. */
struct node {
	uint8_t lsb, width;
	uint16_t first;
};

enum { LEAF_END = 0xffff };

/* ---- named conditions of a64.def; gen_table.py knows them as well ---- */

static bool limm(uint32_t word)
{
	return lp_a64_limm_decode(word, NULL);
}

static bool limm_moves(uint32_t word)
{
	uint64_t value;

	return lp_a64_limm_decode(word, &value) && lp_a64_is_wide_move(value, word >> 31 ? 64 : 32);
}

static bool pstate(uint32_t word)
{
	return lp_a64_pstate_takes(word);
}

static bool is_dc(uint32_t word)
{
	return lp_a64_is_sysop(word, SYSOP_DC);
}

static bool is_ic(uint32_t word)
{
	return lp_a64_is_sysop(word, SYSOP_IC);
}

#include "isa/a64_table.inc"

/* ---- decoding ---- */

bool lp_a64_is(enum lp_a64_op op, uint32_t word)
{
	const struct lp_a64_row *r = &rows[op];

	return op != A64_OP_UNALLOCATED && (word & r->mask) == r->match &&
	       (!r->condition || condition_holds(r->condition, word));
}

enum lp_a64_op lp_a64_decode(uint32_t word)
{
	unsigned entry = ROOT;

	while (!(entry & LEAF)) {
		const struct node *n = &nodes[entry];
		entry = entries[n->first + (word >> n->lsb & ((1u << n->width) - 1))];
	}
	for (const uint16_t *op = &leaves[entry & ~LEAF]; *op != LEAF_END; op++) {
		if (lp_a64_is(*op, word))
			return *op;
	}
	return A64_OP_UNALLOCATED;
}

const struct lp_a64_row *lp_a64_row(enum lp_a64_op op)
{
	return &rows[op];
}

/* ---- forms ---- */

bool lp_a64_form_applies(const struct lp_a64_form *f, uint32_t word)
{
	return (word & f->mask) == f->value && condition_holds(f->condition, word);
}

const struct lp_a64_form *lp_a64_form_of(enum lp_a64_op op, uint32_t word)
{
	for (unsigned i = 0; i < rows[op].nr_forms; i++) {
		const struct lp_a64_form *f = &forms[rows[op].first_form + i];
		if (!f->also && lp_a64_form_applies(f, word))
			return f;
	}
	return NULL;
}

enum { NR_FORMS = sizeof forms / sizeof forms[0] };

static const char *nth_mnemonic(size_t i)
{
	return mnemonics[forms[forms_by_mnemonic[i]].mnemonic];
}

static int compare(const char *text, size_t len, const char *mnemonic)
{
	int order = strncasecmp(text, mnemonic, len);

	return order ? order : mnemonic[len] ? -1 : 0;
}

/* The first form whose mnemonic is not less than the text. */
static size_t lower_bound(const char *text, size_t len)
{
	size_t low = 0, high = NR_FORMS;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (compare(text, len, nth_mnemonic(middle)) > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const uint16_t *lp_a64_forms_named(const char *mnemonic, size_t len, size_t *nr)
{
	size_t first = lower_bound(mnemonic, len), end = first;

	while (end < NR_FORMS && compare(mnemonic, len, nth_mnemonic(end)) == 0)
		end++;
	*nr = end - first;
	return *nr ? &forms_by_mnemonic[first] : NULL;
}

const struct lp_a64_form *lp_a64_form(unsigned index)
{
	return &forms[index];
}

const char *lp_a64_mnemonic(const struct lp_a64_form *f)
{
	return mnemonics[f->mnemonic];
}

const struct lp_a64_operand *lp_a64_operands(const struct lp_a64_form *f)
{
	return &operands[f->first_operand];
}

const char *lp_a64_operand_word(unsigned index)
{
	return words[index];
}
