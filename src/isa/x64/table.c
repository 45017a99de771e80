#include "isa/x64/table.h"

#include <stddef.h>

/* The words of x64.def.  Operands have the letters of SDM vol. 2, A.2.1. */
#define NP X64_WHEN_NP
#define P66 X64_WHEN_66
#define F3 X64_WHEN_F3
#define F2 X64_WHEN_F2
#define W0 X64_WHEN_W0
#define W1 X64_WHEN_W1
#define WP X64_WHEN_W_AS_PP
#define L0 X64_WHEN_L0
#define L1 X64_WHEN_L1
#define L2 X64_WHEN_L2
#define D(n) (X64_WHEN_DIGIT << (n))
#define RM(n) (X64_WHEN_RM << (n))
#define ANY 0

#define AX X64_FLAG(0)
#define CX X64_FLAG(1)
#define DX X64_FLAG(2)
#define BX X64_FLAG(3)
#define SP X64_FLAG(4)
#define BP X64_FLAG(5)
#define SI X64_FLAG(6)
#define DI X64_FLAG(7)
#define R11 X64_FLAG(11)

#define M (X64_HAS_MODRM | X64_MAY_BE_MEMORY)
#define U (X64_HAS_MODRM | X64_MAY_BE_REGISTER)
#define W (M | U)
#define R (U | X64_RM_GENERAL)
#define Ev (W | X64_RM_GENERAL)
#define Eb (Ev | X64_RM_BYTE)
#define V X64_HAS_MODRM
#define G (V | X64_REG_GENERAL)
#define Gb (G | X64_REG_BYTE)
#define K (V | X64_REG_MASK)
#define S (V | X64_REG_SEGMENT)
#define T (V | X64_REG_TILE)
#define C (V | X64_REG_CONTROL | X64_MOD_IGNORED)
#define DR (V | X64_REG_DEBUG | X64_MOD_IGNORED)
#define BND (V | X64_REG_BOUND)
#define Z X64_LOW_GENERAL
#define Zb (Z | X64_LOW_BYTE)
#define H X64_VVVV
#define B (X64_VVVV | X64_VVVV_GENERAL)
#define X (M | X64_INDEX_IS_VECTOR | X64_SIB_NEEDED | X64_NOT_RIP)

#define IMM(kind) ((uint64_t)X64_IMM_##kind << X64_IMM_SHIFT)
#define Ib IMM(8)
#define Iw IMM(16)
#define Id IMM(32)
#define Iz IMM(Z)
#define Iv IMM(V)
#define IwIb IMM(16_8)
#define IbIb IMM(8_8)
#define O IMM(ADDRESS)
#define Jb IMM(DISTANCE_8)
#define Jd IMM(DISTANCE_32)
#define Jz IMM(DISTANCE_Z)

#define GOES(how) ((uint64_t)X64_GOES_##how << X64_GOES_SHIFT)
#define BRANCH GOES(BRANCH)
#define JUMP GOES(JUMP)
#define CALL GOES(CALL)
#define RETURN GOES(RETURN)
#define NOWHERE GOES(NOWHERE)

#define LOCK X64_MAY_LOCK
#define REP X64_REPEATS
#define FAR X64_IS_FAR
#define LEA X64_IS_LEA
#define NOP X64_IS_NOP
#define WIDE X64_IS_WIDE
#define SIB X64_SIB_NEEDED
#define NORIP X64_NOT_RIP
#define DISTINCT X64_DISTINCT
#define NONE 0

#define k X64_MAY_MASK
#define kz (X64_MAY_MASK | X64_MAY_ZERO)
#define kk (X64_MAY_MASK | X64_MUST_MASK)
#define BC X64_MAY_BROADCAST
#define ER X64_MAY_ROUND
#define SAE X64_MAY_SAE

static const struct lp_x64_row rows[] = {
#define RUN(map, from, to, when, has) {X64_MAP_##map << 8 | (from), X64_MAP_##map << 8 | (to), when, has},
#define VEX(n, from, to, when, has) {(X64_MAP_VEX + (n)) << 8 | (from), (X64_MAP_VEX + (n)) << 8 | (to), when, has},
#define EVEX(n, from, to, when, has) {(X64_MAP_EVEX + (n)) << 8 | (from), (X64_MAP_EVEX + (n)) << 8 | (to), when, has},
#define XOP(n, from, to, when, has) {(X64_MAP_XOP + (n)) << 8 | (from), (X64_MAP_XOP + (n)) << 8 | (to), when, has},
#define ROW(map, op, when, has) RUN(map, op, op, when, has)
#include "isa/x64/x64.def"
};

const struct lp_x64_row *const lp_x64_rows_end = rows + sizeof rows / sizeof rows[0];

const struct lp_x64_row *lp_x64_rows(unsigned key)
{
	size_t low = 0, high = sizeof rows / sizeof rows[0];

	/* Rows are in order, and ranges are equal or apart: the first that ends at key or behind it. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (rows[middle].last < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low < sizeof rows / sizeof rows[0] && rows[low].first <= key ? &rows[low] : NULL;
}
