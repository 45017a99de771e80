/* isa/linked.h for x86-64; private to isa/. */
#ifndef LP_ISA_X64_LINKED_H
#define LP_ISA_X64_LINKED_H

#include "isa/linked.h"

void lp_x64_linked_tls(const uint8_t *bytes, size_t len, bool program, struct lp_linked_reloc *r, uint64_t *gone);

#endif
