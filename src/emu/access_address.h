/* Which address a load or store was about to touch: for faults and watchpoints. */
#ifndef LP_EMU_ACCESS_ADDRESS_H
#define LP_EMU_ACCESS_ADDRESS_H

#include "emu/cpu.h"

/* The first byte of the access of the instruction `word` at pc, before it is executed, without its tag; *write: it stores.
 * False: the instruction is none that touches memory. */
bool lp_access_address(const struct lp_cpu *cpu, uint64_t pc, uint32_t word, uint64_t *addr, bool *write);

#endif
