/*
 * The listing: the first form of the word's row that applies.  The spelling is
 * objdump's, addresses as 0x...; a word that is no instruction is shown as
 * `.word 0x...`.
 */
#include "isa/a64/a64.h"

#include <string.h>

#include "base/bits.h"
#include "isa/a64/encode.h"
#include "isa/a64/operand.h"

size_t lp_a64_insn_length(const uint8_t *code, size_t len, lp_addr at)
{
	(void)code;
	(void)at;
	return len >= A64_INSN ? A64_INSN : 0;
}

bool lp_a64_allocated(const uint8_t *code, size_t len)
{
	return len >= A64_INSN && lp_a64_is_allocated(lp_get32(code));
}

static void put_form(struct lp_a64_line *l, const struct lp_a64_form *f)
{
	const struct lp_a64_operand *o = lp_a64_operands(f);

	lp_a64_put(l, "%s%s", lp_a64_mnemonic(f), o->kind == A64_OPERAND_END ? "" : " ");
	for (; o->kind != A64_OPERAND_END; o++)
		lp_a64_print_operand(l, o);
}

size_t lp_a64_disasm(const uint8_t *code, size_t len, lp_addr at, char *out, size_t out_size)
{
	char text[96] = "";

	if (len < A64_INSN)
		return 0;

	struct lp_a64_line line = {.word = lp_get32(code), .at = at, .out = text, .size = sizeof text};
	const struct lp_a64_form *form = lp_a64_form_of(lp_a64_decode(line.word), line.word);

	if (form)
		put_form(&line, form);
	else
		lp_a64_put(&line, ".word 0x%08" PRIx32, line.word);
	if (out_size) {
		size_t kept = strnlen(text, out_size - 1);
		memcpy(out, text, kept);
		out[kept] = '\0';
	}
	return A64_INSN;
}
