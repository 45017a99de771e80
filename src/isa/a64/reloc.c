/*
 * aarch64 instructions carry immediates in a dozen places.  A field says which
 * instruction must stand at the place (mask, match), which bits of the value
 * are taken (from `low` on, `bits` of them; lower ones must be 0 where the
 * place cannot hold them), and where they go.  The bounds of the value are the
 * relocation's, not the field's: an _NC relocation cuts on purpose.
 */
#include "isa/a64/a64.h"

#include "base/bits.h"

enum place {
	PLACE_NONE,
	PLACE_DATA,  /* the whole width */
	PLACE_AT0,   /* imm26 */
	PLACE_AT5,   /* imm14, imm16, imm19 */
	PLACE_AT10,  /* imm12 */
	PLACE_ADR,   /* immhi at 5, immlo at 29 */
	PLACE_MOVNZ, /* imm16 at 5, and movz or movn after the value's sign */
};

/* clang-format off */
/* name, width, place, mask, match, low, bits, aligned */
#define FIELDS(F)                                                                                      \
	F(NOTHING,   0, PLACE_NONE,  0,          0,          0,  0,  false)                            \
	F(DATA16,    2, PLACE_DATA,  0,          0,          0,  16, false)                            \
	F(DATA32,    4, PLACE_DATA,  0,          0,          0,  32, false)                            \
	F(DATA64,    8, PLACE_DATA,  0,          0,          0,  64, false)                            \
	F(MOVW_G0,   4, PLACE_AT5,   0x5fe00000, 0x52800000, 0,  16, false) /* movz, movk */           \
	F(MOVW_G1,   4, PLACE_AT5,   0x5fe00000, 0x52a00000, 16, 16, false)                            \
	F(MOVW_G2,   4, PLACE_AT5,   0xdfe00000, 0xd2c00000, 32, 16, false)                            \
	F(MOVW_G3,   4, PLACE_AT5,   0xdfe00000, 0xd2e00000, 48, 16, false)                            \
	F(MOVNZ_G0,  4, PLACE_MOVNZ, 0x3fe00000, 0x12800000, 0,  16, false) /* movz, movn */           \
	F(MOVNZ_G1,  4, PLACE_MOVNZ, 0x3fe00000, 0x12a00000, 16, 16, false)                            \
	F(MOVNZ_G2,  4, PLACE_MOVNZ, 0xbfe00000, 0x92c00000, 32, 16, false)                            \
	F(MOVNZ_G3,  4, PLACE_MOVNZ, 0xbfe00000, 0x92e00000, 48, 16, false)                            \
	F(LIT19,     4, PLACE_AT5,   0x3b000000, 0x18000000, 2,  19, true)  /* ldr literal */          \
	F(ADR21,     4, PLACE_ADR,   0x9f000000, 0x10000000, 0,  21, false)                            \
	F(ADRP21,    4, PLACE_ADR,   0x9f000000, 0x90000000, 12, 21, true)                             \
	F(ADD12,     4, PLACE_AT10,  0x5fc00000, 0x11000000, 0,  12, false) /* add, adds */            \
	F(ADDHI12,   4, PLACE_AT10,  0x5fc00000, 0x11400000, 12, 12, false) /* ..., lsl 12 */          \
	F(LDST8,     4, PLACE_AT10,  0xfb000000, 0x39000000, 0,  12, false) /* is_place() */           \
	F(LDST16,    4, PLACE_AT10,  0xfb000000, 0x79000000, 1,  11, true)                             \
	F(LDST32,    4, PLACE_AT10,  0xfb000000, 0xb9000000, 2,  10, true)                             \
	F(LDST64,    4, PLACE_AT10,  0xfb000000, 0xf9000000, 3,  9,  true)                             \
	F(LDST64_15, 4, PLACE_AT10,  0xfb000000, 0xf9000000, 3,  12, true)                             \
	F(LDST128,   4, PLACE_AT10,  0xff800000, 0x3d800000, 4,  8,  true)                             \
	F(TBZ14,     4, PLACE_AT5,   0x7e000000, 0x36000000, 2,  14, true)                             \
	F(COND19,    4, PLACE_AT5,   0,          0,          2,  19, true)  /* is_place() */           \
	F(BRANCH26,  4, PLACE_AT0,   0x7c000000, 0x14000000, 2,  26, true)
/* clang-format on */

enum field {
#define F(name, width, place, mask, match, low, bits, aligned) name,
	FIELDS(F)
#undef F
};

static const struct {
	enum place place;
	uint32_t mask, match;
	uint8_t low, bits;
	bool aligned; /* bits below `low` must be 0, for nobody else stores them */
} fields[] = {
#define F(name, width, place, mask, match, low, bits, aligned) [name] = {place, mask, match, low, bits, aligned},
	FIELDS(F)
#undef F
};

enum {
#define F(name, width, place, mask, match, low, bits, aligned) WIDTH_OF_##name = (width),
	FIELDS(F)
#undef F
};

enum check { ANY, U12, U15, U16, U24, U32, U48, S15, S16, S20, S27, S31, S32, S48, B16, B32 };

/* -2^below <= X < 2^above; `below` 0 stands for 0 <= X. */
static const struct {
	uint8_t below, above;
} checks[] = {
	[ANY] = {63, 63}, [U12] = {0, 12},  [U15] = {0, 15},  [U16] = {0, 16},	[U24] = {0, 24},  [U32] = {0, 32},
	[U48] = {0, 48},  [S15] = {15, 15}, [S16] = {16, 16}, [S20] = {20, 20}, [S27] = {27, 27}, [S31] = {31, 31},
	[S32] = {32, 32}, [S48] = {48, 48}, [B16] = {15, 16}, [B32] = {31, 32},
};

struct row {
	struct lp_reloc_howto howto;
	uint8_t check;
};

/* The numbers are sparse: rows by position, found by a switch. */
enum {
#define RELOC(name, number, formula, field, check) ROW_##name,
#include "isa/a64/reloc.def"
#undef RELOC
};

static const struct row rows[] = {
#define RELOC(name_, number, formula_, field_, check) \
	[ROW_##name_] = {{number, #name_, LP_RELOC_##formula_, WIDTH_OF_##field_, field_}, check},
#include "isa/a64/reloc.def"
#undef RELOC
};

const struct lp_reloc_howto *lp_a64_howto(uint32_t type)
{
	switch (type) {
#define RELOC(name, number, formula, field, check) \
	case number:                               \
		return &rows[ROW_##name].howto;
#include "isa/a64/reloc.def"
#undef RELOC
	default:
		return NULL;
	}
}

static bool fits(enum check check, uint64_t value)
{
	int64_t v = (int64_t)value;

	if (check == ANY)
		return true;
	return v < (INT64_C(1) << checks[check].above) &&
	       v >= (checks[check].below ? -(INT64_C(1) << checks[check].below) : 0);
}

static bool is_place(enum field field, uint32_t insn)
{
	if (field == COND19) /* b.cond; cbz, cbnz */
		return (insn & 0xff000000) == 0x54000000 || (insn & 0x7e000000) == 0x34000000;
	if (field == LDST8 && (insn & 0xff800000) == 0x3d800000) /* the 128-bit ones have size 00, too */
		return false;
	return (insn & fields[field].mask) == fields[field].match;
}

/* insn with `imm` at lsb; the bits that stood there are cleared. */
static uint32_t insert(uint32_t insn, uint32_t imm, unsigned lsb, unsigned bits)
{
	uint32_t mask = ((1u << bits) - 1) << lsb;

	return (insn & ~mask) | (imm << lsb & mask);
}

static uint32_t insert_adr(uint32_t insn, uint32_t imm)
{
	return insert(insert(insn, imm, 29, 2), imm >> 2, 5, 19);
}

/* movz takes the value, movn its complement: the sign chooses, and so the bits above are right as well. */
static uint32_t insert_movnz(uint32_t insn, uint64_t value, unsigned low)
{
	const uint32_t is_movz = 1u << 30;
	bool negative = (int64_t)value < 0;

	insn = negative ? insn & ~is_movz : insn | is_movz;
	return insert(insn, (uint32_t)((negative ? ~value : value) >> low), 5, 16);
}

/* An imm12 that takes fewer than 12 bits (scaled and cut at the page) is zero in the others. */
static uint32_t imm_of(enum field field, uint64_t value)
{
	return (uint32_t)(value >> fields[field].low) & (uint32_t)((UINT64_C(1) << fields[field].bits) - 1);
}

static uint32_t insert_value(enum field field, uint32_t insn, uint64_t value)
{
	switch (fields[field].place) {
	case PLACE_AT0:
		return insert(insn, imm_of(field, value), 0, 26);
	case PLACE_AT5:
		return insert(insn, imm_of(field, value), 5, fields[field].bits);
	case PLACE_AT10:
		return insert(insn, imm_of(field, value), 10, 12);
	case PLACE_ADR:
		return insert_adr(insn, imm_of(field, value));
	case PLACE_MOVNZ:
		return insert_movnz(insn, value, fields[field].low);
	default:
		return insn;
	}
}

static int store_in_insn(const struct lp_reloc_howto *h, uint8_t *place, uint64_t value, struct lp_err *err)
{
	uint32_t insn = lp_get32(place);

	if (!is_place(h->field, insn))
		return lp_fail(err, LP_EENCODING, "%s: 0x%08" PRIx32 " is not the instruction it is for", h->name,
			       insn);
	if (fields[h->field].aligned && value & ((UINT64_C(1) << fields[h->field].low) - 1))
		return lp_fail(err, LP_ERANGE, "%s: the value 0x%" PRIx64 " is not a multiple of %u", h->name, value,
			       1u << fields[h->field].low);
	lp_put32(place, insert_value(h->field, insn, value));
	return 0;
}

int lp_a64_reloc_store(const struct lp_reloc_howto *h, uint8_t *place, uint64_t value, struct lp_err *err)
{
	/* Every howto of ours is the first member of its row. */
	enum check check = ((const struct row *)h)->check;

	if (!fits(check, value))
		return lp_fail(err, LP_ERANGE, "%s: the value 0x%" PRIx64 " is out of its range", h->name, value);
	if (fields[h->field].place != PLACE_NONE && fields[h->field].place != PLACE_DATA)
		return store_in_insn(h, place, value, err);
	memcpy(place, &value, h->width);
	return 0;
}
