/*
 * aarch64: what the files of this folder share.  Manual: Arm Architecture
 * Reference Manual (DDI 0487) chapter C6; relocations: ELF for the Arm 64-bit
 * Architecture (AAELF64) section 5.7.
 */
#ifndef LP_ISA_A64_A64_H
#define LP_ISA_A64_A64_H

#include "isa/isa.h"

int lp_a64_entry(const struct lp_entry_request *req, struct lp_entry *out, struct lp_err *err);
bool lp_a64_reaches(const struct lp_entry *e, lp_addr dest);
int lp_a64_entry_bytes(const struct lp_entry *e, lp_addr aim, struct lp_piece out[2]);

const struct lp_reloc_howto *lp_a64_howto(uint32_t type);
int lp_a64_reloc_store(const struct lp_reloc_howto *h, uint8_t *place, uint64_t value, struct lp_err *err);

size_t lp_a64_disasm(const uint8_t *code, size_t len, lp_addr at, char *out, size_t out_size);
bool lp_a64_allocated(const uint8_t *code, size_t len);
int lp_a64_assemble(const char *text, lp_addr at, const struct lp_asm_names *names, uint8_t *out, size_t cap,
		    size_t *len, struct lp_err *err);
size_t lp_a64_insn_length(const uint8_t *code, size_t len, lp_addr at);
void lp_a64_nops(uint8_t *out, size_t len);
bool lp_a64_is_nop(const uint8_t *code, size_t len);
int lp_a64_extent(const uint8_t *code, size_t len, lp_addr at, size_t *out, struct lp_err *err);
int lp_a64_relocate(const struct lp_move_request *req, struct lp_moved *out, struct lp_err *err);
bool lp_a64_insn(const uint8_t *code, size_t len, lp_addr at, struct lp_insn *out);
uint32_t lp_a64_relax(uint32_t type, uint8_t *bytes, size_t field, int64_t addend, bool near);

#endif
