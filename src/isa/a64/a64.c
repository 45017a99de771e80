#include "isa/a64/a64.h"

#include <elf.h>

#include "isa/a64/encode.h"

const struct lp_isa lp_isa_a64 = {
	.name = "aarch64",
	.elf_machine = EM_AARCH64,
	.insn_align = A64_INSN,
	.jump_len = A64_INSN,
	.code_bits = (UINT64_C(1) << 48) - 1,
	/* The jump may stand 4 bytes behind the entry that the caller counts from; a page of margin is plenty. */
	.reach = (UINT64_C(1) << 27) - LP_PAGE,

	.entry = lp_a64_entry,
	.reaches = lp_a64_reaches,
	.entry_bytes = lp_a64_entry_bytes,
	.island = lp_a64_island,
	.ifunc_stub = lp_a64_ifunc_stub,
	.howto = lp_a64_howto,
	.reloc_store = lp_a64_reloc_store,
	.disasm = lp_a64_disasm,
	.insn_length = lp_a64_insn_length,
	.allocated = lp_a64_allocated,
	.assemble = lp_a64_assemble,
	.nops = lp_a64_nops,
	.is_nop = lp_a64_is_nop,
	.extent = lp_a64_extent,
	.relocate = lp_a64_relocate,
	.insn = lp_a64_insn,
	.relax = lp_a64_relax,
	.reloc_abs64 = R_AARCH64_ABS64,
};
