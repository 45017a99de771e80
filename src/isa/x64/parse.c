/*
 * SDM vol. 2, chapter 2: prefixes, REX, VEX (2.3), EVEX (2.7), opcode, ModRM,
 * SIB, displacement, immediate, in this order.  The table says which opcodes
 * there are and what follows them; the rest is the same for all.
 *
 * An encoding that the manual calls #UD in all circumstances is refused.
 */
#include "isa/x64/parse.h"

struct reader {
	const uint8_t *code;
	size_t len, at;
	bool is_short; /* an instruction that goes on behind len */
};

static uint8_t peek(const struct reader *r)
{
	return r->at < r->len ? r->code[r->at] : 0;
}

static uint8_t take(struct reader *r)
{
	uint8_t byte = peek(r);

	r->is_short |= r->at >= r->len;
	r->at++;
	return byte;
}

static int64_t take_signed(struct reader *r, size_t bytes)
{
	uint64_t v = 0;

	for (size_t i = 0; i < bytes; i++)
		v |= (uint64_t)take(r) << 8 * i;
	return bytes ? (int64_t)(v << (64 - 8 * bytes)) >> (64 - 8 * bytes) : 0;
}

/* ---- prefixes ---- */

static unsigned legacy_prefix(uint8_t byte)
{
	switch (byte) {
	case 0x66:
		return X64_PREFIX_66;
	case 0x67:
		return X64_PREFIX_67;
	case 0xf0:
		return X64_PREFIX_LOCK;
	case 0xf2:
		return X64_PREFIX_F2;
	case 0xf3:
		return X64_PREFIX_F3;
	case 0x2e:
		return X64_PREFIX_2E;
	case 0x64:
	case 0x65:
		return X64_PREFIX_FS_GS;
	case 0x26:
	case 0x36:
	case 0x3e:
		return X64_PREFIX_OTHER;
	default:
		return 0;
	}
}

static bool is_rex(uint8_t byte)
{
	return (byte & 0xf0) == 0x40;
}

/* A REX counts only where the opcode follows at once (2.2.1). */
static void take_prefixes(struct reader *r, struct lp_x64_fields *f)
{
	unsigned prefix;

	for (;; r->at++) {
		uint8_t byte = peek(r);

		if (is_rex(byte)) {
			f->rex = byte;
			f->prefix_at = (uint8_t)r->at;
			f->prefix_len = 1;
			continue;
		}
		if (!(prefix = legacy_prefix(byte)))
			return;
		f->prefixes |= prefix;
		if (prefix & (X64_PREFIX_F2 | X64_PREFIX_F3))
			f->last_repeat = byte;
		if (f->rex)
			f->prefixes |= X64_PREFIX_OTHER;
		f->rex = f->prefix_len = 0;
	}
}

/* The prefix that chooses among instructions: f2 and f3 before 66, the last of them (2.1.2). */
static uint8_t mandatory(const struct lp_x64_fields *f)
{
	if (f->last_repeat)
		return f->last_repeat == 0xf3 ? 2 : 3;
	return f->prefixes & X64_PREFIX_66 ? 1 : 0;
}

/* ---- VEX, XOP, EVEX ---- */

/* W vvvv L pp, vvvv inverted: the last byte of VEX and XOP, and but for L the second but one of EVEX. */
static void read_w_vvvv_pp(struct lp_x64_fields *f, uint8_t byte)
{
	f->rex |= byte & 0x80 ? X64_REX_W : 0;
	f->vvvv = ~byte >> 3 & 15;
	f->vector_len = byte >> 2 & 1;
	f->pp = byte & 3;
}

/* R X B, inverted, on top. */
static uint8_t rex_of(uint8_t byte)
{
	return (uint8_t)(0x40 | (~byte >> 5 & 7));
}

static unsigned take_vex2(struct reader *r, struct lp_x64_fields *f)
{
	uint8_t byte = take(r);

	read_w_vvvv_pp(f, byte & 0x7f);
	f->rex = byte & 0x80 ? 0x40 : 0x40 | X64_REX_R;
	return X64_MAP_VEX + 1;
}

static bool take_vex3(struct reader *r, struct lp_x64_fields *f, unsigned first, unsigned low, unsigned high,
		      unsigned *map)
{
	uint8_t byte = take(r);

	f->rex = rex_of(byte);
	read_w_vvvv_pp(f, take(r));
	*map = first + (byte & 31);
	return (byte & 31) >= low && (byte & 31) <= high;
}

static bool take_evex(struct reader *r, struct lp_x64_fields *f, unsigned *map)
{
	uint8_t p0 = take(r), p1 = take(r), p2 = take(r);

	f->rex = rex_of(p0);
	f->high_reg = !(p0 & 0x10);
	*map = X64_MAP_EVEX + (p0 & 7);
	read_w_vvvv_pp(f, p1);
	f->vector_len = p2 >> 5 & 3;
	f->zero = p2 >> 7;
	f->broadcast = p2 >> 4 & 1;
	f->high_vvvv = !(p2 & 8);
	f->mask = p2 & 7;
	return !(p0 & 8) && (p1 & 4) && (p0 & 7) != 0 && (p0 & 7) != 4 && (p0 & 7) != 7;
}

/* XOP where a pop would have another digit than 0 (AMD APM vol. 3, 1.2.7). */
static bool is_xop(const struct reader *r)
{
	return r->at + 1 < r->len && (r->code[r->at + 1] & 31) >= 8;
}

/* ---- the opcode ---- */

static void take_legacy_opcode(struct reader *r, struct lp_x64_fields *f)
{
	f->map = X64_MAP_ONE;
	f->opcode = take(r);
	if (f->opcode == 0x0f) {
		f->map = X64_MAP_TWO;
		f->opcode = take(r);
		if (f->opcode == 0x38 || f->opcode == 0x3a) {
			f->map = f->opcode == 0x38 ? X64_MAP_0F38 : X64_MAP_0F3A;
			f->opcode = take(r);
		}
	}
	f->pp = mandatory(f);
}

static enum lp_x64_space space_of(const struct reader *r)
{
	switch (peek(r)) {
	case 0xc4:
	case 0xc5:
		return X64_SPACE_VEX;
	case 0x62:
		return X64_SPACE_EVEX;
	case 0x8f:
		return is_xop(r) ? X64_SPACE_XOP : X64_SPACE_LEGACY;
	default:
		return X64_SPACE_LEGACY;
	}
}

/* These have prefixes of their own inside, and stand no other before them (2.3.2 to 2.3.4). */
static bool stands_alone(const struct lp_x64_fields *f)
{
	return !f->rex && !(f->prefixes & (X64_PREFIX_66 | X64_PREFIX_F2 | X64_PREFIX_F3 | X64_PREFIX_LOCK));
}

static bool take_opcode(struct reader *r, struct lp_x64_fields *f)
{
	unsigned map = 0;
	bool is_sound = true;

	f->space = space_of(r);
	if (f->space == X64_SPACE_LEGACY) {
		take_legacy_opcode(r, f);
		return true;
	}
	if (!stands_alone(f))
		return false;
	f->prefix_at = (uint8_t)r->at;

	uint8_t byte = take(r);
	if (byte == 0xc5)
		map = take_vex2(r, f);
	else if (f->space == X64_SPACE_VEX)
		is_sound = take_vex3(r, f, X64_MAP_VEX, 1, 3, &map);
	else if (f->space == X64_SPACE_XOP)
		is_sound = take_vex3(r, f, X64_MAP_XOP, 8, 10, &map);
	else
		is_sound = take_evex(r, f, &map);
	f->map = (uint8_t)map;
	f->prefix_len = (uint8_t)(r->at - f->prefix_at);
	f->opcode = take(r);
	return is_sound;
}

/* ---- its row ---- */

static uint8_t mod(const struct lp_x64_fields *f)
{
	return f->modrm >> 6;
}

static uint8_t reg(const struct lp_x64_fields *f)
{
	return f->modrm >> 3 & 7;
}

static uint8_t rm(const struct lp_x64_fields *f)
{
	return f->modrm & 7;
}

/* Of a group of conditions the one that is `bit` is named, or none is. */
static bool holds(uint32_t when, uint32_t group, uint32_t bit)
{
	return !(when & group) || (when & bit);
}

static bool is_rounding(const struct lp_x64_fields *f, uint64_t has)
{
	return f->space == X64_SPACE_EVEX && f->broadcast && mod(f) == 3 && (has & (X64_MAY_ROUND | X64_MAY_SAE));
}

static bool length_holds(const struct lp_x64_fields *f, const struct lp_x64_row *row)
{
	const uint32_t all = X64_WHEN_L0 | X64_WHEN_L1 | X64_WHEN_L2;

	if (f->space == X64_SPACE_LEGACY)
		return true;
	if (is_rounding(f, row->has))
		return holds(row->when, all, X64_WHEN_L2);
	return f->vector_len < 3 && holds(row->when, all, X64_WHEN_L0 << f->vector_len);
}

static bool w_holds(const struct lp_x64_fields *f, uint32_t when)
{
	const bool w = f->rex & X64_REX_W;

	return holds(when, X64_WHEN_W0 | X64_WHEN_W1, w ? X64_WHEN_W1 : X64_WHEN_W0) &&
	       (!(when & X64_WHEN_W_AS_PP) || w == (f->pp & 1));
}

static bool form_holds(const struct lp_x64_fields *f, const struct lp_x64_row *row)
{
	if (row->has & X64_MOD_IGNORED)
		return true;
	return !(row->has & (X64_MAY_BE_MEMORY | X64_MAY_BE_REGISTER)) ||
	       (row->has & (mod(f) == 3 ? X64_MAY_BE_REGISTER : X64_MAY_BE_MEMORY));
}

static bool row_holds(const struct lp_x64_fields *f, const struct lp_x64_row *row)
{
	return holds(row->when, 0xf * X64_WHEN_NP, X64_WHEN_NP << f->pp) &&
	       holds(row->when, 0xff * X64_WHEN_DIGIT, X64_WHEN_DIGIT << reg(f)) &&
	       holds(row->when, 0xffu * X64_WHEN_RM, (uint32_t)X64_WHEN_RM << rm(f)) && w_holds(f, row->when) &&
	       length_holds(f, row) && form_holds(f, row);
}

/* All rows of an opcode have a ModRM, or none has. */
static const struct lp_x64_row *find_row(struct reader *r, struct lp_x64_fields *f)
{
	const unsigned key = (unsigned)f->map << 8 | f->opcode;
	const struct lp_x64_row *row = lp_x64_rows(key);

	if (!row)
		return NULL;
	if (row->has & X64_HAS_MODRM) {
		f->has_modrm = true;
		f->modrm_at = (uint8_t)r->at;
		f->modrm = take(r);
	}
	for (; row < lp_x64_rows_end && row->first <= key; row++) {
		if (row_holds(f, row))
			return row;
	}
	return NULL;
}

/* ---- what follows the opcode ---- */

static void take_disp(struct reader *r, struct lp_x64_fields *f, size_t bytes)
{
	f->disp_at = (uint8_t)r->at;
	f->disp_len = (uint8_t)bytes;
	f->disp = take_signed(r, bytes);
}

/* Tables 2-2 and 2-3; 67 makes addresses shorter, not their encoding. */
static void take_memory(struct reader *r, struct lp_x64_fields *f)
{
	bool has_base = true;

	if (mod(f) == 3 || (f->has & X64_MOD_IGNORED))
		return;
	if (rm(f) == 4) {
		f->sib = take(r);
		has_base = (f->sib & 7) != 5;
	} else if (rm(f) == 5) {
		has_base = false;
	}
	if (mod(f) == 1)
		take_disp(r, f, 1);
	else if (mod(f) == 2 || !has_base)
		take_disp(r, f, 4);
}

unsigned lp_x64_operand_bits(const struct lp_x64_fields *f)
{
	const bool is_near = lp_x64_goes(f) != X64_GOES_ON && !(f->has & X64_IS_FAR);

	if ((f->rex & X64_REX_W) || ((f->has & X64_IS_WIDE) && (is_near || !(f->prefixes & X64_PREFIX_66))))
		return 64;
	return f->prefixes & X64_PREFIX_66 ? 16 : 32;
}

static size_t imm_z(const struct lp_x64_fields *f)
{
	return lp_x64_operand_bits(f) == 16 ? 2 : 4;
}

static void take_imm(struct reader *r, struct lp_x64_fields *f, size_t first, size_t more)
{
	f->imm_at = (uint8_t)r->at;
	f->imm_len = (uint8_t)(first + more);
	f->imm = take_signed(r, first);
	take_signed(r, more);
}

static void take_distance(struct reader *r, struct lp_x64_fields *f, size_t bytes)
{
	f->is_relative = true;
	take_imm(r, f, bytes, 0);
}

static void take_immediate(struct reader *r, struct lp_x64_fields *f)
{
	switch ((enum lp_x64_imm)(f->has >> X64_IMM_SHIFT & 15)) {
	case X64_IMM_NONE:
		break;
	case X64_IMM_8:
		take_imm(r, f, 1, 0);
		break;
	case X64_IMM_16:
		take_imm(r, f, 2, 0);
		break;
	case X64_IMM_32:
		take_imm(r, f, 4, 0);
		break;
	case X64_IMM_Z:
		take_imm(r, f, imm_z(f), 0);
		break;
	case X64_IMM_V:
		take_imm(r, f, lp_x64_operand_bits(f) / 8, 0);
		break;
	case X64_IMM_16_8:
		take_imm(r, f, 2, 1);
		break;
	case X64_IMM_8_8:
		take_imm(r, f, 1, 1);
		break;
	case X64_IMM_ADDRESS:
		take_disp(r, f, f->prefixes & X64_PREFIX_67 ? 4 : 8);
		break;
	case X64_IMM_DISTANCE_8:
		take_distance(r, f, 1);
		break;
	case X64_IMM_DISTANCE_32:
		take_distance(r, f, 4);
		break;
	case X64_IMM_DISTANCE_Z:
		take_distance(r, f, imm_z(f));
		break;
	}
}

/* ---- what is no instruction after all ---- */

static bool is_memory(const struct lp_x64_fields *f)
{
	return f->has_modrm && mod(f) != 3 && !(f->has & X64_MOD_IGNORED);
}

bool lp_x64_is_rip_relative(const struct lp_x64_fields *f)
{
	return is_memory(f) && mod(f) == 0 && rm(f) == 5;
}

static bool lock_is_allowed(const struct lp_x64_fields *f)
{
	return !(f->prefixes & X64_PREFIX_LOCK) || ((f->has & X64_MAY_LOCK) && is_memory(f));
}

/* Register numbers, with the bits that prefixes add. */
static unsigned reg_number(const struct lp_x64_fields *f)
{
	return reg(f) | (f->rex & X64_REX_R ? 8u : 0) | (f->high_reg ? 16u : 0);
}

static unsigned vvvv_number(const struct lp_x64_fields *f)
{
	return f->vvvv | (f->high_vvvv ? 16u : 0);
}

static unsigned rm_number(const struct lp_x64_fields *f)
{
	return rm(f) | (f->rex & X64_REX_B ? 8u : 0) | (f->space == X64_SPACE_EVEX && (f->rex & X64_REX_X) ? 16u : 0);
}

static unsigned index_number(const struct lp_x64_fields *f)
{
	return (f->sib >> 3 & 7u) | (f->rex & X64_REX_X ? 8u : 0) | (f->high_vvvv ? 16u : 0);
}

/* Registers that would be there if all fields were full. */
static bool registers_exist(const struct lp_x64_fields *f)
{
	const unsigned number = reg_number(f);

	if (f->has & X64_REG_SEGMENT)
		return reg(f) < 6;
	if (f->has & X64_REG_CONTROL)
		return number == 0 || (number >= 2 && number <= 4) || number == 8;
	if (f->has & X64_REG_BOUND)
		return number < 4 && (is_memory(f) || (f->has & X64_RM_GENERAL) || rm_number(f) < 4);
	if (f->has & X64_REG_TILE)
		return number < 8 && f->vvvv < 8 && (!(f->has & X64_DISTINCT) || rm_number(f) < 8);
	if (f->has & X64_REG_MASK)
		return number < 8 && (f->space == X64_SPACE_EVEX || f->vvvv < 8);
	if (f->has & X64_REG_DEBUG)
		return number < 8;
	return !(f->has & X64_REG_GENERAL) || number < 16;
}

/* Gathers, tiles and products of complex numbers read their sources after they began to write the result. */
static bool are_distinct(const struct lp_x64_fields *f)
{
	const bool has_vvvv = f->has & X64_VVVV;
	const unsigned result = reg_number(f), vvvv = vvvv_number(f);
	unsigned other;

	if (!(f->has & X64_DISTINCT))
		return true;
	if (has_vvvv && result == vvvv)
		return false;
	if (is_memory(f) && !(f->has & X64_INDEX_IS_VECTOR))
		return true;
	other = is_memory(f) ? index_number(f) : rm_number(f);
	return result != other && (f->space == X64_SPACE_EVEX || !has_vvvv || vvvv != other);
}

static bool vvvv_is_sound(const struct lp_x64_fields *f)
{
	if (f->space == X64_SPACE_LEGACY || (f->has & X64_VVVV))
		return true;
	return f->vvvv == 0 && (!f->high_vvvv || (f->has & X64_INDEX_IS_VECTOR));
}

static bool mask_is_sound(const struct lp_x64_fields *f)
{
	if (f->mask ? !(f->has & X64_MAY_MASK) : !!(f->has & X64_MUST_MASK))
		return false;
	return !f->zero || (f->mask && (f->has & X64_MAY_ZERO));
}

static bool broadcast_is_sound(const struct lp_x64_fields *f)
{
	return !f->broadcast || (f->has & (is_memory(f) ? X64_MAY_BROADCAST : X64_MAY_ROUND | X64_MAY_SAE));
}

static bool address_is_sound(const struct lp_x64_fields *f)
{
	if (!is_memory(f))
		return true;
	return !((f->has & X64_NOT_RIP) && lp_x64_is_rip_relative(f)) && !((f->has & X64_SIB_NEEDED) && rm(f) != 4);
}

static bool is_sound(const struct lp_x64_fields *f)
{
	return lock_is_allowed(f) && registers_exist(f) && are_distinct(f) && vvvv_is_sound(f) && mask_is_sound(f) &&
	       broadcast_is_sound(f) && address_is_sound(f);
}

/* 0f 0f, operands, and then the opcode (AMD APM vol. 3, 1.2.4). */
static bool take_3dnow(struct lp_x64_fields *f)
{
	f->map = X64_MAP_3DNOW;
	f->opcode = (uint8_t)f->imm;
	f->imm = f->imm_at = f->imm_len = 0;
	return lp_x64_rows(X64_MAP_3DNOW << 8 | f->opcode);
}

bool lp_x64_parse(const uint8_t *code, size_t len, struct lp_x64_fields *out)
{
	struct reader r = {.code = code, .len = len < X64_INSN_MAX ? len : X64_INSN_MAX};
	const struct lp_x64_row *row;

	*out = (struct lp_x64_fields){0};
	take_prefixes(&r, out);
	if (!take_opcode(&r, out) || r.is_short || !(row = find_row(&r, out)) || r.is_short)
		return false;
	out->has = row->has;
	take_memory(&r, out);
	take_immediate(&r, out);
	if (r.is_short || !is_sound(out))
		return false;
	out->len = (uint8_t)r.at;
	return out->map != X64_MAP_TWO || out->opcode != 0x0f || take_3dnow(out);
}

enum lp_x64_goes lp_x64_goes(const struct lp_x64_fields *f)
{
	return (enum lp_x64_goes)(f->has >> X64_GOES_SHIFT & 7);
}

/* ---- general registers ---- */

static unsigned bit(unsigned low, bool high)
{
	return 1u << (low | (high ? 8u : 0));
}

/* Without REX, the numbers 4 to 7 of 8-bit registers are ah, ch, dh and bh. */
static unsigned byte_bit(const struct lp_x64_fields *f, unsigned low, bool high)
{
	return !f->rex && low >= 4 ? 1u << (low - 4) : bit(low, high);
}

static unsigned named_by_address(const struct lp_x64_fields *f)
{
	unsigned named = 0;

	if (rm(f) != 4)
		return lp_x64_is_rip_relative(f) ? 0 : bit(rm(f), f->rex & X64_REX_B);
	if (mod(f) != 0 || (f->sib & 7) != 5)
		named |= bit(f->sib & 7, f->rex & X64_REX_B);
	if (!(f->has & X64_INDEX_IS_VECTOR) && ((f->sib >> 3 & 7) != 4 || (f->rex & X64_REX_X)))
		named |= bit(f->sib >> 3 & 7, f->rex & X64_REX_X);
	return named;
}

unsigned lp_x64_named(const struct lp_x64_fields *f)
{
	const bool r = f->rex & X64_REX_R, b = f->rex & X64_REX_B;
	unsigned named = 0;

	if (is_memory(f))
		named |= named_by_address(f);
	else if (f->has & X64_RM_GENERAL)
		named |= f->has & X64_RM_BYTE ? byte_bit(f, rm(f), b) : bit(rm(f), b);
	if (f->has & X64_REG_GENERAL)
		named |= f->has & X64_REG_BYTE ? byte_bit(f, reg(f), r) : bit(reg(f), r);
	if (f->has & X64_LOW_GENERAL)
		named |= f->has & X64_LOW_BYTE ? byte_bit(f, f->opcode & 7, b) : bit(f->opcode & 7, b);
	if (f->has & X64_VVVV_GENERAL)
		named |= 1u << f->vvvv;
	return named;
}

unsigned lp_x64_implied(const struct lp_x64_fields *f)
{
	return (unsigned)(f->has & 0xffff);
}
