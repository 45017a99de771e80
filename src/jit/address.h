/* Addresses of loads and stores. */
#ifndef LP_JIT_ADDRESS_H
#define LP_JIT_ADDRESS_H

#include "jit/emit.h"

enum lp_way { LP_SCALED, LP_UNSCALED, LP_POST, LP_PRE, LP_INDEXED };

struct lp_address {
	struct lp_x86_rm at;
	unsigned base;	  /* guest register */
	int32_t then;	  /* added to it behind the access */
	bool writes_back; /* is it? */
};

/* Of an instruction that transfers 1 << log2 bytes.  May use rax and rcx, which `at` may then be in. */
struct lp_address lp_address_of(struct lp_tr *t, uint32_t word, enum lp_way way, unsigned log2);
/* [Xn|SP + offset], of pairs. */
struct lp_address lp_address_pair(struct lp_tr *t, uint32_t word, enum lp_way way, unsigned log2);
/* Behind the access.  Uses rax. */
void lp_address_write_back(struct lp_tr *t, const struct lp_address *a);
/* Behind an access with post-index: the base goes on by Xm, or by so many bytes when that is 31.  Uses rax and rcx. */
void lp_address_step(struct lp_tr *t, uint32_t word, unsigned bytes);
/* Xn|SP in rcx or its own register: no displacement, and rax and rdx stay free. */
unsigned lp_address_base(struct lp_tr *t, unsigned n);
/* Cold, and by the interpreter's function, where the address in that register is not a multiple of size; nothing has been
 * written to yet.  EFLAGS are free from here on. */
struct lp_cold *lp_address_aligned(struct lp_tr *t, unsigned reg, unsigned size);

#endif
