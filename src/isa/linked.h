/*
 * Relocations that a linker left in linked code (--emit-relocs) and that no longer say what the code does: it rewrote the
 * sequences that reach thread-local data into shorter ones and kept the old relocations.
 */
#ifndef LP_ISA_LINKED_H
#define LP_ISA_LINKED_H

#include "base/err.h"

struct lp_linked_reloc {
	uint32_t type;
	uint64_t offset; /* in the section's bytes */
	int64_t addend;
};

/*
 * Makes *r what the bytes need now; in a program (not a shared library) if `program`.  Sets *gone to the offset of
 * another relocation that has lost its instruction (the call of __tls_get_addr), or leaves it alone.
 */
void lp_linked_tls(uint16_t elf_machine, const uint8_t *bytes, size_t len, bool program, struct lp_linked_reloc *r,
		   uint64_t *gone);

#endif
