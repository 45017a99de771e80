/* The guest's registers as gdb numbers them, and the description that says so. */
#ifndef LP_GDB_REGISTERS_H
#define LP_GDB_REGISTERS_H

#include "base/buf.h"
#include "emu/cpu.h"

/* x0 to x30, sp, pc, cpsr, v0 to v31, fpsr, fpcr, tpidr */
enum {
	LP_GDB_SP = 31,
	LP_GDB_PC,
	LP_GDB_CPSR,
	LP_GDB_V0,
	LP_GDB_FPSR = LP_GDB_V0 + 32,
	LP_GDB_FPCR,
	LP_GDB_TPIDR,
	LP_GDB_NR_REGISTERS
};

extern const char lp_gdb_target_xml[];

/* Bytes as the guest would store them; returns how many, 0: no such register. */
size_t lp_gdb_register_read(const struct lp_cpu *cpu, unsigned nr, uint8_t out[16]);
bool lp_gdb_register_write(struct lp_cpu *cpu, unsigned nr, const uint8_t *bytes, size_t len);

#endif
