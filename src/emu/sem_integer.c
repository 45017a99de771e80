/* Data processing, immediate and register, but for flags alone and checksums (sem_flags.c). */
#include "emu/integer.h"
#include "isa/a64/limm.h"

/* The operations by name: is64, a and b are at hand. */
#define OP_ADD(a, b) lp_sized(is64, (a) + (b))
#define OP_SUB(a, b) lp_sized(is64, (a) - (b))
#define OP_ADDS(a, b) lp_add_flags(cpu, is64, a, b, 0)
#define OP_SUBS(a, b) lp_add_flags(cpu, is64, a, ~(b), 1)
#define OP_AND(a, b) lp_sized(is64, (a) & (b))
#define OP_ORR(a, b) lp_sized(is64, (a) | (b))
#define OP_EOR(a, b) lp_sized(is64, (a) ^ (b))
#define OP_BIC(a, b) lp_sized(is64, (a) & ~(b))
#define OP_ORN(a, b) lp_sized(is64, (a) | ~(b))
#define OP_EON(a, b) lp_sized(is64, (a) ^ ~(b))

static uint64_t with_flags(struct lp_cpu *cpu, bool is64, uint64_t value)
{
	lp_logic_flags(cpu, is64, value);
	return lp_sized(is64, value);
}
#define OP_ANDS(a, b) with_flags(cpu, is64, (a) & (b))
#define OP_BICS(a, b) with_flags(cpu, is64, (a) & ~(b))

/* ---- immediate ---- */

SEM(adr)
{
	SET_X(cpu, u->rd, u->pc + (uint64_t)(lp_signed_field(u->word, 5, 19) * 4) + FIELD(immlo));
	NEXT;
}

SEM(adrp)
{
	int64_t pages = lp_signed_field(u->word, 5, 19) * 4 + FIELD(immlo);

	SET_X(cpu, u->rd, (u->pc & ~UINT64_C(4095)) + ((uint64_t)pages << 12));
	NEXT;
}

#define SUM_IMMEDIATE(row, op, set)                                            \
	SEM(row)                                                               \
	{                                                                      \
		bool is64 = FIELD(sf);                                         \
		uint64_t imm = (uint64_t)FIELD(imm12) << (FIELD(sh) ? 12 : 0); \
		set(cpu, u->rd, op(XSP(cpu, u->rn), imm));                     \
		NEXT;                                                          \
	}
SUM_IMMEDIATE(add_imm, OP_ADD, SET_XSP)
SUM_IMMEDIATE(sub_imm, OP_SUB, SET_XSP)
SUM_IMMEDIATE(adds_imm, OP_ADDS, SET_X)
SUM_IMMEDIATE(subs_imm, OP_SUBS, SET_X)

#define LOGIC_IMMEDIATE(row, op, set)                    \
	SEM(row)                                         \
	{                                                \
		bool is64 = FIELD(sf);                   \
		uint64_t imm = 0;                        \
		lp_a64_limm_decode(u->word, &imm);       \
		set(cpu, u->rd, op(X(cpu, u->rn), imm)); \
		NEXT;                                    \
	}
LOGIC_IMMEDIATE(and_imm, OP_AND, SET_XSP)
LOGIC_IMMEDIATE(orr_imm, OP_ORR, SET_XSP)
LOGIC_IMMEDIATE(eor_imm, OP_EOR, SET_XSP)
LOGIC_IMMEDIATE(ands_imm, OP_ANDS, SET_X)

SEM(movz)
{
	SET_X(cpu, u->rd, (uint64_t)FIELD(imm16) << FIELD(hw) * 16);
	NEXT;
}

SEM(movn)
{
	SET_X(cpu, u->rd, lp_sized(FIELD(sf), ~((uint64_t)FIELD(imm16) << FIELD(hw) * 16)));
	NEXT;
}

SEM(movk)
{
	unsigned shift = FIELD(hw) * 16;
	uint64_t kept = X(cpu, u->rd) & ~(UINT64_C(0xffff) << shift);

	SET_X(cpu, u->rd, lp_sized(FIELD(sf), kept | (uint64_t)FIELD(imm16) << shift));
	NEXT;
}

/* A bitfield move: `width` bits of the source from bit `from` on go to bit `to`. */
struct bitfield {
	unsigned from, to, width;
};

static struct bitfield bitfield(uint32_t word)
{
	unsigned bits = lp_a64_field_sf(word) ? 64 : 32, immr = lp_a64_field_immr(word), imms = lp_a64_field_imms(word);

	if (imms >= immr)
		return (struct bitfield){.from = immr, .width = imms - immr + 1};
	return (struct bitfield){.to = bits - immr, .width = imms + 1};
}

SEM(ubfm)
{
	struct bitfield f = bitfield(u->word);

	SET_X(cpu, u->rd, (X(cpu, u->rn) >> f.from & lp_ones(f.width)) << f.to);
	NEXT;
}

SEM(sbfm)
{
	struct bitfield f = bitfield(u->word);
	int64_t value = (int64_t)(X(cpu, u->rn) >> f.from << (64 - f.width)) >> (64 - f.width);

	SET_X(cpu, u->rd, lp_sized(FIELD(sf), (uint64_t)value << f.to));
	NEXT;
}

SEM(bfm)
{
	struct bitfield f = bitfield(u->word);
	uint64_t moved = (X(cpu, u->rn) >> f.from & lp_ones(f.width)) << f.to;
	uint64_t kept = X(cpu, u->rd) & ~(lp_ones(f.width) << f.to);

	SET_X(cpu, u->rd, lp_sized(FIELD(sf), kept | moved));
	NEXT;
}

SEM(extr)
{
	unsigned lsb = FIELD(imms);

	if (FIELD(sf))
		SET_X(cpu, u->rd, (uint64_t)(((unsigned __int128)X(cpu, u->rn) << 64 | X(cpu, u->rm)) >> lsb));
	else
		SET_W(cpu, u->rd, (uint32_t)(((uint64_t)W(cpu, u->rn) << 32 | W(cpu, u->rm)) >> lsb));
	NEXT;
}

/* ---- two registers, the second shifted or extended ---- */

#define SHIFTED(row, op)                                                               \
	SEM(row)                                                                       \
	{                                                                              \
		bool is64 = FIELD(sf);                                                 \
		uint64_t m = lp_shift(is64, FIELD(shift), X(cpu, u->rm), FIELD(imm6)); \
		SET_X(cpu, u->rd, op(X(cpu, u->rn), m));                               \
		NEXT;                                                                  \
	}
SHIFTED(and_reg, OP_AND)
SHIFTED(bic_reg, OP_BIC)
SHIFTED(orr_reg, OP_ORR)
SHIFTED(orn_reg, OP_ORN)
SHIFTED(eor_reg, OP_EOR)
SHIFTED(eon_reg, OP_EON)
SHIFTED(ands_reg, OP_ANDS)
SHIFTED(bics_reg, OP_BICS)
SHIFTED(add_reg, OP_ADD)
SHIFTED(adds_reg, OP_ADDS)
SHIFTED(sub_reg, OP_SUB)
SHIFTED(subs_reg, OP_SUBS)

#define EXTENDED(row, op, set)                                                       \
	SEM(row)                                                                     \
	{                                                                            \
		bool is64 = FIELD(sf);                                               \
		uint64_t m = lp_extend(FIELD(option), X(cpu, u->rm)) << FIELD(imm3); \
		set(cpu, u->rd, op(XSP(cpu, u->rn), m));                             \
		NEXT;                                                                \
	}
EXTENDED(add_ext, OP_ADD, SET_XSP)
EXTENDED(sub_ext, OP_SUB, SET_XSP)
EXTENDED(adds_ext, OP_ADDS, SET_X)
EXTENDED(subs_ext, OP_SUBS, SET_X)

#define WITH_CARRY(row, invert)                                                            \
	SEM(row)                                                                           \
	{                                                                                  \
		uint64_t m = invert X(cpu, u->rm);                                         \
		SET_X(cpu, u->rd, lp_sized(FIELD(sf), X(cpu, u->rn) + m + cpu->c));        \
		NEXT;                                                                      \
	}                                                                                  \
	SEM(row##s)                                                                        \
	{                                                                                  \
		uint64_t m = invert X(cpu, u->rm);                                         \
		SET_X(cpu, u->rd, lp_add_flags(cpu, FIELD(sf), X(cpu, u->rn), m, cpu->c)); \
		NEXT;                                                                      \
	}
WITH_CARRY(adc, +)
WITH_CARRY(sbc, ~)

/* ---- conditional ---- */

#define COMPARE_IF(row, second, invert, carry)                                                        \
	SEM(row)                                                                                      \
	{                                                                                             \
		if (lp_cpu_condition(cpu, FIELD(cond)))                                               \
			lp_add_flags(cpu, FIELD(sf), X(cpu, u->rn), invert(uint64_t)(second), carry); \
		else                                                                                  \
			lp_cpu_set_nzcv(cpu, FIELD(nzcv) << 28);                                      \
		NEXT;                                                                                 \
	}
COMPARE_IF(ccmn_reg, X(cpu, u->rm), +, 0)
COMPARE_IF(ccmn_imm, FIELD(imm5), +, 0)
COMPARE_IF(ccmp_reg, X(cpu, u->rm), ~, 1)
COMPARE_IF(ccmp_imm, FIELD(imm5), ~, 1)

#define SELECT(row, otherwise)                                                                     \
	SEM(row)                                                                                   \
	{                                                                                          \
		uint64_t m = X(cpu, u->rm);                                                        \
		uint64_t value = lp_cpu_condition(cpu, FIELD(cond)) ? X(cpu, u->rn) : (otherwise); \
		SET_X(cpu, u->rd, lp_sized(FIELD(sf), value));                                     \
		NEXT;                                                                              \
	}
SELECT(csel, m)
SELECT(csinc, m + 1)
SELECT(csinv, ~m)
SELECT(csneg, -m)

/* ---- multiply, divide, shift by register ---- */

SEM(madd)
{
	SET_X(cpu, u->rd, lp_sized(FIELD(sf), X(cpu, u->ra) + X(cpu, u->rn) * X(cpu, u->rm)));
	NEXT;
}

SEM(msub)
{
	SET_X(cpu, u->rd, lp_sized(FIELD(sf), X(cpu, u->ra) - X(cpu, u->rn) * X(cpu, u->rm)));
	NEXT;
}

/* 32 by 32 to 64 bits, added to or taken from a third. */
#define LONG_MULTIPLY(row, sign, type)                                                            \
	SEM(row)                                                                                  \
	{                                                                                         \
		uint64_t product = (uint64_t)(type)W(cpu, u->rn) * (uint64_t)(type)W(cpu, u->rm); \
		SET_X(cpu, u->rd, X(cpu, u->ra) sign product);                                    \
		NEXT;                                                                             \
	}
LONG_MULTIPLY(smaddl, +, int32_t)
LONG_MULTIPLY(smsubl, -, int32_t)
LONG_MULTIPLY(umaddl, +, uint32_t)
LONG_MULTIPLY(umsubl, -, uint32_t)

SEM(smulh)
{
	SET_X(cpu, u->rd, (uint64_t)((__int128)(int64_t)X(cpu, u->rn) * (int64_t)X(cpu, u->rm) >> 64));
	NEXT;
}

SEM(umulh)
{
	SET_X(cpu, u->rd, (uint64_t)((unsigned __int128)X(cpu, u->rn) * X(cpu, u->rm) >> 64));
	NEXT;
}

/* Divided by zero is zero, the least by -1 itself. */
SEM(udiv)
{
	uint64_t n = lp_sized(FIELD(sf), X(cpu, u->rn)), m = lp_sized(FIELD(sf), X(cpu, u->rm));

	SET_X(cpu, u->rd, m ? n / m : 0);
	NEXT;
}

static int64_t divide(int64_t n, int64_t m)
{
	if (m == 0)
		return 0;
	return m == -1 ? (int64_t) - (uint64_t)n : n / m;
}

SEM(sdiv)
{
	if (FIELD(sf))
		SET_X(cpu, u->rd, (uint64_t)divide((int64_t)X(cpu, u->rn), (int64_t)X(cpu, u->rm)));
	else
		SET_W(cpu, u->rd, (uint32_t)divide((int32_t)W(cpu, u->rn), (int32_t)W(cpu, u->rm)));
	NEXT;
}

#define SHIFT_BY(row, type)                                                 \
	SEM(row)                                                            \
	{                                                                   \
		bool is64 = FIELD(sf);                                      \
		unsigned by = X(cpu, u->rm) & (is64 ? 63 : 31);             \
		SET_X(cpu, u->rd, lp_shift(is64, type, X(cpu, u->rn), by)); \
		NEXT;                                                       \
	}
SHIFT_BY(lslv, LP_LSL)
SHIFT_BY(lsrv, LP_LSR)
SHIFT_BY(asrv, LP_ASR)
SHIFT_BY(rorv, LP_ROR)

/* ---- one register ---- */

/* Exchanges neighbouring groups of bits: `low` is where the lower ones are. */
static uint64_t exchange(uint64_t value, unsigned by, uint64_t low)
{
	return (value & low) << by | (value >> by & low);
}

SEM(rbit)
{
	uint64_t value = X(cpu, u->rn);

	value = exchange(value, 1, UINT64_C(0x5555555555555555));
	value = exchange(value, 2, UINT64_C(0x3333333333333333));
	value = exchange(value, 4, UINT64_C(0x0f0f0f0f0f0f0f0f));
	SET_X(cpu, u->rd, FIELD(sf) ? __builtin_bswap64(value) : __builtin_bswap32((uint32_t)value));
	NEXT;
}

SEM(rev16)
{
	SET_X(cpu, u->rd, lp_sized(FIELD(sf), exchange(X(cpu, u->rn), 8, UINT64_C(0x00ff00ff00ff00ff))));
	NEXT;
}

SEM(rev_w)
{
	SET_W(cpu, u->rd, __builtin_bswap32(W(cpu, u->rn)));
	NEXT;
}

SEM(rev32)
{
	uint64_t swapped = __builtin_bswap64(X(cpu, u->rn));

	SET_X(cpu, u->rd, swapped >> 32 | swapped << 32);
	NEXT;
}

SEM(rev_x)
{
	SET_X(cpu, u->rd, __builtin_bswap64(X(cpu, u->rn)));
	NEXT;
}

/* Zeros in front of the highest one. */
static unsigned leading_zeros(bool is64, uint64_t value)
{
	value = lp_sized(is64, value);
	if (value == 0)
		return is64 ? 64 : 32;
	return (unsigned)__builtin_clzll(value) - (is64 ? 0 : 32);
}

SEM(clz)
{
	SET_X(cpu, u->rd, leading_zeros(FIELD(sf), X(cpu, u->rn)));
	NEXT;
}

/* Bits behind the sign that are like it. */
SEM(cls)
{
	int64_t value = FIELD(sf) ? (int64_t)X(cpu, u->rn) : (int32_t)W(cpu, u->rn);
	uint64_t other = (uint64_t)(value ^ value >> 1);

	SET_X(cpu, u->rd, leading_zeros(FIELD(sf), other) - 1);
	NEXT;
}
