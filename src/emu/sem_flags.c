/* Instructions on flags alone (FlagM, FlagM2) and checksums. */
#include "emu/integer.h"

/* ---- flags ---- */

SEM(cfinv)
{
	cpu->c = !cpu->c;
	NEXT;
}

static void set_flags(struct lp_cpu *cpu, bool n, bool z, bool c, bool v)
{
	cpu->n = n ? -1 : 0;
	cpu->z = !z;
	cpu->c = c;
	cpu->v = v;
}

/* To the format in which x86 and others compare floating-point numbers, and back. */
SEM(axflag)
{
	set_flags(cpu, false, cpu->z == 0 || cpu->v, cpu->c && !cpu->v, false);
	NEXT;
}

SEM(xaflag)
{
	bool z = cpu->z == 0, c = cpu->c;

	set_flags(cpu, !c && !z, z && c, c || z, !c && z);
	NEXT;
}

SEM(rmif)
{
	uint64_t value = lp_shift(true, LP_ROR, X(cpu, u->rn), FIELD(rot6));
	uint32_t mask = FIELD(nzcv) << 28;

	lp_cpu_set_nzcv(cpu, (lp_cpu_nzcv(cpu) & ~mask) | ((uint32_t)value << 28 & mask));
	NEXT;
}

SEM(setf8)
{
	uint32_t value = W(cpu, u->rn);

	set_flags(cpu, value >> 7 & 1, (value & 0xff) == 0, cpu->c, (value >> 8 ^ value >> 7) & 1);
	NEXT;
}

SEM(setf16)
{
	uint32_t value = W(cpu, u->rn);

	set_flags(cpu, value >> 15 & 1, (value & 0xffff) == 0, cpu->c, (value >> 16 ^ value >> 15) & 1);
	NEXT;
}

/* ---- checksums: four bits at a time ---- */

/* What four bits leave behind, of the polynomials 0x04c11db7 and 0x1edc6f41, bits reversed. */
static const uint32_t crc32_table[16] = {
	0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
	0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
};
static const uint32_t crc32c_table[16] = {
	0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
	0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

static uint32_t checksum(const uint32_t table[16], uint32_t sum, uint64_t data, unsigned bytes)
{
	for (unsigned i = 0; i < bytes * 2; i++) {
		sum ^= data & 15;
		sum = sum >> 4 ^ table[sum & 15];
		data >>= 4;
	}
	return sum;
}

#define CHECKSUM(row, table, bytes)                                                      \
	SEM(row)                                                                         \
	{                                                                                \
		SET_W(cpu, u->rd, checksum(table, W(cpu, u->rn), X(cpu, u->rm), bytes)); \
		NEXT;                                                                    \
	}
CHECKSUM(crc32b, crc32_table, 1)
CHECKSUM(crc32h, crc32_table, 2)
CHECKSUM(crc32w, crc32_table, 4)
CHECKSUM(crc32x, crc32_table, 8)
CHECKSUM(crc32cb, crc32c_table, 1)
CHECKSUM(crc32ch, crc32c_table, 2)
CHECKSUM(crc32cw, crc32c_table, 4)
CHECKSUM(crc32cx, crc32c_table, 8)
