/*
 * x86-64: what the files of this folder share.  Manual: Intel SDM volume 2
 * (instruction formats), System V psABI for AMD64 (relocations, calling).
 */
#ifndef LP_ISA_X64_X64_H
#define LP_ISA_X64_X64_H

#include "isa/isa.h"

#define X64_INSN_MAX 15 /* SDM vol. 2, 2.3.11: longer ones fault */

/* An instruction, reduced to the questions that placing a jump asks. */
struct lp_x64_insn {
	uint8_t len;
	bool is_padding;    /* a NOP in a form that assemblers pad with, or int3 */
	bool falls_through; /* execution may go on behind it; false for ret, jmp, ud2, hlt, int3 */
	bool is_call;	    /* near or far, direct or not */
	bool is_jump;	    /* direct: jmp, jcc, loop, xbegin */
	bool repeats;	    /* rep string instruction: interrupted between rounds, the pc is still at its start */
	bool has_target;    /* direct branch, or lea of a pc-relative address */
	lp_addr target;
};

/* false when the first bytes at code are no instruction, or one longer than len. */
bool lp_x64_decode(const uint8_t *code, size_t len, lp_addr at, struct lp_x64_insn *out);

int lp_x64_entry(const struct lp_entry_request *req, struct lp_entry *out, struct lp_err *err);
bool lp_x64_reaches(const struct lp_entry *e, lp_addr dest);
int lp_x64_entry_bytes(const struct lp_entry *e, lp_addr aim, struct lp_piece out[2]);

const struct lp_reloc_howto *lp_x64_howto(uint32_t type);
int lp_x64_reloc_store(const struct lp_reloc_howto *h, uint8_t *place, uint64_t value, struct lp_err *err);

size_t lp_x64_disasm(const uint8_t *code, size_t len, lp_addr at, char *out, size_t out_size);
size_t lp_x64_insn_length(const uint8_t *code, size_t len, lp_addr at);
bool lp_x64_allocated(const uint8_t *code, size_t len);
void lp_x64_nops(uint8_t *out, size_t len);
bool lp_x64_is_nop(const uint8_t *code, size_t len);
int lp_x64_relocate(const struct lp_move_request *req, struct lp_moved *out, struct lp_err *err);
bool lp_x64_insn(const uint8_t *code, size_t len, lp_addr at, struct lp_insn *out);
size_t lp_x64_far_load(uint8_t *code, size_t len, lp_addr at, size_t field, int32_t offset, lp_addr slot, uint8_t *stub,
		       lp_addr stub_at);
uint32_t lp_x64_relax(uint32_t type, uint8_t *bytes, size_t field, int64_t addend, bool near);
void lp_x64_branches(const uint8_t *code, size_t len, lp_addr at, bool with_short,
		     void (*found)(void *arg, const struct lp_branch *b), void *arg);
int64_t lp_x64_tp_offset(uint64_t vaddr, uint64_t memsz, uint64_t align, uint64_t value);

#endif
