/* Bytes that could be a direct branch: Intel SDM volume 2, CALL, JMP and Jcc. */
#include "base/bits.h"
#include "isa/x64/x64.h"

/* The shapes a direct branch has: 1 or 2 opcode bytes, 1 or 4 bytes of displacement. */
static size_t branch_shape(const uint8_t *code, size_t len, bool with_short, size_t *opcode_len)
{
	*opcode_len = 1;
	if (code[0] == 0xe8 || code[0] == 0xe9) /* call, jmp rel32	*/
		return 5;
	if (with_short && (code[0] == 0xeb || (code[0] & 0xf0) == 0x70)) /* jmp, jcc rel8	*/
		return 2;
	*opcode_len = 2;
	if (code[0] == 0x0f && len > 1 && (code[1] & 0xf0) == 0x80) /* jcc rel32		*/
		return 6;
	return 0;
}

void lp_x64_branches(const uint8_t *code, size_t len, lp_addr at, bool with_short,
		     void (*found)(void *arg, const struct lp_branch *b), void *arg)
{
	for (size_t i = 0; i < len; i++) {
		size_t opcode_len, whole = branch_shape(code + i, len - i, with_short, &opcode_len);

		if (!whole || whole > len - i)
			continue;
		int64_t by = whole == 2 ? (int8_t)code[i + 1] : (int32_t)lp_get32(code + i + opcode_len);

		found(arg, &(struct lp_branch){at + i, at + i + whole, at + i + whole + (uint64_t)by, code[i] == 0xe8});
	}
}
