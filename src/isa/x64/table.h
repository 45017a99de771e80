/*
 * The table of x86-64 instructions, x64.def: what of an instruction decides its length, and what moving it asks.
 * Manual: Intel SDM volume 2, appendix A (opcode maps) and chapters 3 to 6; AMD APM volume 3 and 4 for 3DNow!, SSE4A, XOP.
 */
#ifndef LP_ISA_X64_TABLE_H
#define LP_ISA_X64_TABLE_H

#include <stdint.h>

/* Spaces of opcodes.  The numbers of the VEX, EVEX and XOP maps are what those prefixes hold, plus their first. */
enum lp_x64_map {
	X64_MAP_ONE,			/* no escape */
	X64_MAP_TWO,			/* 0f */
	X64_MAP_0F38,			/* 0f 38 */
	X64_MAP_0F3A,			/* 0f 3a */
	X64_MAP_3DNOW,			/* 0f 0f modrm: the opcode comes last */
	X64_MAP_VEX,			/* 1 to 3: as 0f, 0f 38, 0f 3a */
	X64_MAP_EVEX = X64_MAP_VEX + 4, /* 1 to 3, 5, 6 */
	X64_MAP_XOP = X64_MAP_EVEX + 7, /* 8 to 10 */
	X64_NR_MAPS = X64_MAP_XOP + 11,
};

/* When a row holds; of each group, no bit at all means that it does not matter. */
enum lp_x64_when {
	/* The prefix that belongs to the opcode (SDM vol. 2, 2.1.2; `pp` of VEX, EVEX, XOP), in the order of pp. */
	X64_WHEN_NP = 1 << 0,
	X64_WHEN_66 = 1 << 1,
	X64_WHEN_F3 = 1 << 2,
	X64_WHEN_F2 = 1 << 3,
	X64_WHEN_W0 = 1 << 4,
	X64_WHEN_W1 = 1 << 5,
	X64_WHEN_W_AS_PP = 1 << 6, /* W tells doubles (66, F2) from singles */
	X64_WHEN_L0 = 1 << 7,	   /* vector length: 128, */
	X64_WHEN_L1 = 1 << 8,	   /* 256, */
	X64_WHEN_L2 = 1 << 9,	   /* 512 bits */
	X64_WHEN_DIGIT = 1 << 10,  /* /0 .. /7: ModRM.reg extends the opcode; 8 bits */
	X64_WHEN_RM = 1 << 18,	   /* so does ModRM.rm, with mod 3; 8 bits */
};

enum lp_x64_imm {
	X64_IMM_NONE,
	X64_IMM_8,
	X64_IMM_16,
	X64_IMM_32,
	X64_IMM_Z,    /* 16 or 32 bits, as the operand size says */
	X64_IMM_V,    /* 16, 32 or 64 */
	X64_IMM_16_8, /* enter */
	X64_IMM_8_8,  /* extrq, insertq */
	X64_IMM_ADDRESS,
	X64_IMM_DISTANCE_8,
	X64_IMM_DISTANCE_32, /* whatever the operand size, on Intel */
	X64_IMM_DISTANCE_Z,
};

enum lp_x64_goes {
	X64_GOES_ON,
	X64_GOES_BRANCH, /* there or on */
	X64_GOES_JUMP,
	X64_GOES_CALL,
	X64_GOES_RETURN,
	X64_GOES_NOWHERE,
};

#define X64_FLAG(n) (UINT64_C(1) << (n))

/* What an instruction is made of.  Bits 0 to 15: general registers that it uses without naming them. */
#define X64_HAS_MODRM X64_FLAG(16)
#define X64_MAY_BE_MEMORY X64_FLAG(17)
#define X64_MAY_BE_REGISTER X64_FLAG(18)
#define X64_RM_GENERAL X64_FLAG(19)  /* ModRM.rm names a general register, */
#define X64_RM_BYTE X64_FLAG(20)     /* of 8 bits */
#define X64_REG_GENERAL X64_FLAG(21) /* so does ModRM.reg */
#define X64_REG_BYTE X64_FLAG(22)
#define X64_LOW_GENERAL X64_FLAG(23) /* so do the opcode's low bits */
#define X64_LOW_BYTE X64_FLAG(24)
#define X64_VVVV X64_FLAG(25) /* the prefix names a register: any, */
#define X64_VVVV_GENERAL X64_FLAG(26)
#define X64_IMM_SHIFT 27  /* enum lp_x64_imm */
#define X64_GOES_SHIFT 31 /* enum lp_x64_goes */
#define X64_MAY_LOCK X64_FLAG(34)
#define X64_REPEATS X64_FLAG(35) /* with rep before it */
#define X64_IS_FAR X64_FLAG(36)
#define X64_IS_LEA X64_FLAG(37)
#define X64_IS_NOP X64_FLAG(38)	     /* of the forms that assemblers pad with */
#define X64_MOD_IGNORED X64_FLAG(39) /* ModRM.rm names a register whatever mod says */
#define X64_IS_WIDE X64_FLAG(40)     /* 64 bits by default (SDM vol. 2, 2.2.1.7) */
#define X64_INDEX_IS_VECTOR X64_FLAG(41)
/* EVEX only (SDM vol. 2, 2.7). */
#define X64_MAY_MASK X64_FLAG(42)
#define X64_MUST_MASK X64_FLAG(43)
#define X64_MAY_ZERO X64_FLAG(44)
#define X64_MAY_BROADCAST X64_FLAG(45) /* b, with memory */
#define X64_MAY_ROUND X64_FLAG(46)     /* b, with a register: L'L is the rounding, */
#define X64_MAY_SAE X64_FLAG(47)       /* or stands for nothing */
/* Registers that are not all there. */
#define X64_REG_SEGMENT X64_FLAG(48)
#define X64_REG_CONTROL X64_FLAG(49)
#define X64_REG_DEBUG X64_FLAG(50)
#define X64_REG_MASK X64_FLAG(51)
#define X64_REG_BOUND X64_FLAG(52)
#define X64_REG_TILE X64_FLAG(53)
#define X64_DISTINCT X64_FLAG(54)   /* the result is none of its sources */
#define X64_NOT_RIP X64_FLAG(55)    /* no address relative to rip */
#define X64_SIB_NEEDED X64_FLAG(56) /* no address without SIB */

struct lp_x64_row {
	uint16_t first, last; /* map << 8 | opcode */
	uint32_t when;	      /* enum lp_x64_when */
	uint64_t has;
};

/* The rows of an opcode: from the one returned on, as long as first <= key.  NULL when there is none. */
const struct lp_x64_row *lp_x64_rows(unsigned key);
/* Behind the last of all. */
extern const struct lp_x64_row *const lp_x64_rows_end;

#endif
