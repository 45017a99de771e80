#include "isa/x64/parse.h"

/*
 * What gas, LLVM, MSVC-minded linkers and hand-written assembly fill gaps
 * with: 90, 66 90, [66...][2e] 0f 1f /0, cc.  Not every instruction without
 * effect is padding: endbr64 and pause are landing pads or spin loops to us.
 */
static bool is_padding(const struct lp_x64_fields *f)
{
	if (f->map == X64_MAP_ONE && f->opcode == 0xcc)
		return true;
	return (f->has & X64_IS_NOP) && !f->rex && !(f->prefixes & ~(X64_PREFIX_66 | X64_PREFIX_2E));
}

static bool falls_through(const struct lp_x64_fields *f)
{
	switch (lp_x64_goes(f)) {
	case X64_GOES_JUMP:
	case X64_GOES_RETURN:
	case X64_GOES_NOWHERE:
		return false;
	default:
		return true;
	}
}

static bool is_pc_relative_lea(const struct lp_x64_fields *f)
{
	return (f->has & X64_IS_LEA) && lp_x64_is_rip_relative(f);
}

static void find_target(const struct lp_x64_fields *f, lp_addr end, struct lp_x64_insn *out)
{
	if (f->is_relative) {
		out->has_target = true;
		out->is_jump = !out->is_call;
		out->target = end + (uint64_t)f->imm;
	} else if (is_pc_relative_lea(f)) {
		out->has_target = true;
		out->target = end + (uint64_t)f->disp;
	}
}

bool lp_x64_decode(const uint8_t *code, size_t len, lp_addr at, struct lp_x64_insn *out)
{
	struct lp_x64_fields f;

	if (!lp_x64_parse(code, len, &f))
		return false;
	*out = (struct lp_x64_insn){
		.len = f.len,
		.is_padding = is_padding(&f),
		.falls_through = falls_through(&f),
		.is_call = lp_x64_goes(&f) == X64_GOES_CALL,
		.repeats = f.last_repeat && (f.has & X64_REPEATS),
	};
	find_target(&f, at + f.len, out);
	return true;
}

size_t lp_x64_insn_length(const uint8_t *code, size_t len, lp_addr at)
{
	struct lp_x64_fields f;

	return lp_x64_parse(code, len, &f) ? f.len : 0;
}

bool lp_x64_allocated(const uint8_t *code, size_t len)
{
	return lp_x64_insn_length(code, len, 0) != 0;
}
