#include "isa/x64/x64.h"

#include <elf.h>

#include "isa/x64/encode.h"
#include "isa/x64/liveness.h"

const struct lp_isa lp_isa_x64 = {
	.name = "x86_64",
	.elf_machine = EM_X86_64,
	.insn_align = 1,
	.jump_len = X64_JMP32_LEN,
	.code_bits = UINT64_MAX,
	/* rel32 counts from the end of the jump, and a hole lies up to 128 bytes off: a page of margin covers both. */
	.reach = (UINT64_C(1) << 31) - LP_PAGE,

	.entry = lp_x64_entry,
	.reaches = lp_x64_reaches,
	.entry_bytes = lp_x64_entry_bytes,
	.island = lp_x64_island,
	.ifunc_stub = lp_x64_ifunc_stub,
	.far_load = lp_x64_far_load,
	.howto = lp_x64_howto,
	.reloc_store = lp_x64_reloc_store,
	.insn_length = lp_x64_insn_length,
	.allocated = lp_x64_allocated,
	.nops = lp_x64_nops,
	.is_nop = lp_x64_is_nop,
	.relocate = lp_x64_relocate,
	.insn = lp_x64_insn,
	.relax = lp_x64_relax,
	.reloc_abs64 = R_X86_64_64,
	.tp_offset = lp_x64_tp_offset,
	.branches = lp_x64_branches,
#ifndef LP_ISA_HOOKS_ONLY
	.disasm = lp_x64_disasm,
	.regs = &lp_x64_regs,
#endif
};
