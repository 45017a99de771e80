#include "isa/linked.h"

#include <elf.h>

#ifdef LP_ISA_WITH_X64
#include "isa/x64/linked.h"
#endif

void lp_linked_tls(uint16_t elf_machine, const uint8_t *bytes, size_t len, bool program, struct lp_linked_reloc *r,
		   uint64_t *gone)
{
#ifdef LP_ISA_WITH_X64
	if (elf_machine == EM_X86_64)
		lp_x64_linked_tls(bytes, len, program, r, gone);
#endif
}
