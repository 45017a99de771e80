/* What memory the instruction at pc would touch: for watchpoints. */
#ifndef LP_GDB_ACCESS_H
#define LP_GDB_ACCESS_H

#include "emu/cpu.h"

struct lp_gdb_access {
	struct lp_range range;
	bool reads, writes;
};

/* False: none. */
bool lp_gdb_access_of(const struct lp_cpu *cpu, uint32_t word, struct lp_gdb_access *out);

#endif
