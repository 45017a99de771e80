/*
 * An x86-64 instruction taken apart into its fields, in 64-bit mode, by a decoder of our own: code that hooks functions
 * of its own process brings no library with it.  What it is called, and what it does to which register, it does not know.
 *
 * Pure, any thread, no allocation.
 */
#ifndef LP_ISA_X64_PARSE_H
#define LP_ISA_X64_PARSE_H

#include "isa/x64/table.h"
#include "isa/x64/x64.h"

enum lp_x64_prefix {
	X64_PREFIX_66 = 1 << 0,
	X64_PREFIX_67 = 1 << 1,
	X64_PREFIX_LOCK = 1 << 2,
	X64_PREFIX_F3 = 1 << 3,
	X64_PREFIX_F2 = 1 << 4,
	X64_PREFIX_2E = 1 << 5,
	X64_PREFIX_FS_GS = 1 << 6,
	X64_PREFIX_OTHER = 1 << 7, /* means nothing: es, ss, ds, a REX before another prefix */
};

enum lp_x64_rex { X64_REX_B = 1, X64_REX_X = 2, X64_REX_R = 4, X64_REX_W = 8 };

enum lp_x64_space { X64_SPACE_LEGACY, X64_SPACE_VEX, X64_SPACE_EVEX, X64_SPACE_XOP };

struct lp_x64_fields {
	uint8_t len;
	uint8_t prefixes;    /* enum lp_x64_prefix; those that are part of the opcode included */
	uint8_t last_repeat; /* 0xf2, 0xf3: the one that counts; 0 */
	uint8_t space;	     /* enum lp_x64_space */
	uint8_t map;	     /* enum lp_x64_map */
	uint8_t opcode;
	uint8_t rex;	   /* 0: none; what VEX, EVEX and XOP say, in the same bits */
	uint8_t prefix_at; /* of REX (if any), VEX, EVEX or XOP */
	uint8_t prefix_len;
	uint8_t vector_len; /* L, L'L */
	uint8_t pp;	    /* in the order of enum lp_x64_when */
	uint8_t vvvv;
	uint8_t mask, broadcast, zero, high_reg, high_vvvv; /* EVEX: aaa, b, z, R', V' */
	bool has_modrm;
	uint8_t modrm, modrm_at;
	uint8_t sib;
	uint8_t disp_at, disp_len; /* of an address; disp_len 0: none */
	int64_t disp;
	uint8_t imm_at, imm_len; /* all immediates, or the distance of a branch */
	int64_t imm;		 /* sign-extended; of `enter` and the like the first */
	bool is_relative;	 /* imm is that distance */
	uint64_t has;		 /* of its row in the table, enum lp_x64_goes in it */
};

/* false when the first bytes at code are no instruction, or one longer than len. */
bool lp_x64_parse(const uint8_t *code, size_t len, struct lp_x64_fields *out);

enum lp_x64_goes lp_x64_goes(const struct lp_x64_fields *f);
/* Its memory operand counts from the end of the instruction. */
bool lp_x64_is_rip_relative(const struct lp_x64_fields *f);
unsigned lp_x64_operand_bits(const struct lp_x64_fields *f);
/* The general registers that operands name, bit n for number n; and those that no operand does. */
unsigned lp_x64_named(const struct lp_x64_fields *f);
unsigned lp_x64_implied(const struct lp_x64_fields *f);

#endif
