/* Code that all units share: the ways in and out. */
#include <stddef.h>

#include "jit/emit.h"
#include "jit/private.h"

static const struct {
	uint8_t guest, host;
} pins[] = {
#define PIN(guest, host) {guest, host},
#define MEM(guest)
#include "jit/registers.def"
#undef PIN
#undef MEM
};
enum { NR_PINS = sizeof pins / sizeof pins[0] };

static const uint8_t saved_by_callee[] = {LP_RBX, LP_RBP, LP_R12, LP_R13, LP_R14, LP_R15};
enum { NR_SAVED = sizeof saved_by_callee };

static void spill(struct lp_x86 *x)
{
	for (size_t i = 0; i < NR_PINS; i++)
		lp_x86_mov_to(x, 1, LP_CPU(x[pins[i].guest]), pins[i].host);
}

static void reload(struct lp_x86 *x)
{
	for (size_t i = 0; i < NR_PINS; i++)
		lp_x86_mov(x, 1, pins[i].host, LP_CPU(x[pins[i].guest]));
}

static const void *here(const struct lp_x86 *x)
{
	return (const void *)lp_x86_here(x);
}

/* void enter(struct lp_cpu *, const void *code) */
static void enter(struct lp_x86 *x)
{
	for (size_t i = 0; i < NR_SAVED; i++)
		lp_x86_push(x, saved_by_callee[i]);
	lp_x86_alu_imm(x, LP_ALU_SUB, 1, lp_rm_reg(LP_RSP), 8); /* calls are made from aligned stacks */
	lp_x86_lea(x, 1, LP_RBP, lp_rm_mem(LP_RDI, LP_CPU_BIAS));
	lp_x86_mov_to(x, 1, LP_CPU(jit.host_sp), LP_RSP);
	lp_x86_mov(x, 1, LP_RAX, lp_rm_reg(LP_RSI));
	lp_flags_from_c(x);
	reload(x);
	lp_x86_mov(x, 1, LP_RSP, LP_CPU(jit.shadow_sp));
	lp_x86_jmp_rm(x, lp_rm_reg(LP_RAX));
}

/* Guest registers are in the cpu. */
static void leave(struct lp_x86 *x)
{
	lp_x86_mov_to(x, 1, LP_CPU(jit.shadow_sp), LP_RSP);
	lp_x86_mov(x, 1, LP_RSP, LP_CPU(jit.host_sp));
	lp_x86_alu_imm(x, LP_ALU_ADD, 1, lp_rm_reg(LP_RSP), 8);
	for (size_t i = NR_SAVED; i-- > 0;)
		lp_x86_pop(x, saved_by_callee[i]);
	lp_x86_ret(x);
}

static void exit_lookup(struct lp_x86 *x)
{
	lp_x86_mov_to(x, 1, LP_CPU(pc), LP_RAX);
	lp_flags_to_c(x);
	spill(x);
	leave(x);
}

/* The uop's function on the stack of C; the caller's return address is left out of what is kept of the shadow stack. */
static void call_uop(struct lp_x86 *x)
{
	spill(x);
	lp_flags_to_c(x);
	lp_x86_lea(x, 1, LP_RCX, lp_rm_mem(LP_RSP, 8));
	lp_x86_mov_to(x, 1, LP_CPU(jit.shadow_sp), LP_RCX);
	lp_x86_mov(x, 1, LP_RSI, lp_rm_reg(LP_RAX));
	lp_x86_lea(x, 1, LP_RDI, lp_rm_mem(LP_RBP, -LP_CPU_BIAS));
	lp_x86_mov(x, 1, LP_RSP, LP_CPU(jit.host_sp));
	lp_x86_call_rm(x, lp_rm_mem(LP_RSI, offsetof(struct lp_uop, run)));
	lp_x86_mov(x, 1, LP_RSP, LP_CPU(jit.shadow_sp));
}

static void fallback(struct lp_x86 *x, const void *left)
{
	call_uop(x);
	lp_x86_test(x, 1, lp_rm_reg(LP_RAX), LP_RAX);
	lp_x86_jcc(x, LP_CC_E, left);
	lp_flags_from_c(x);
	reload(x);
	lp_x86_lea(x, 1, LP_RSP, lp_rm_mem(LP_RSP, -8));
	lp_x86_ret(x);
}

static void miss(struct lp_x86 *x, const void *exit)
{
	lp_x86_mov_to(x, 1, LP_CPU(jit.missed), LP_RAX);
	lp_x86_mov(x, 1, LP_RAX, lp_rm_mem(LP_RAX, offsetof(struct lp_jit_slot, pc)));
	lp_x86_jmp(x, exit);
}

static void jump(struct lp_x86 *x, const void *exit)
{
	lp_emit_jump_entry(x);
	lp_x86_jcc(x, LP_CC_NE, exit);
	lp_x86_mov(x, 1, LP_RDX, lp_rm_sib(LP_RDX, LP_RCX, 4, offsetof(struct lp_jump_entry, slot)));
	lp_x86_jmp_rm(x, lp_rm_mem(LP_RDX, offsetof(struct lp_jit_slot, code)));
}

/* Some frames have been left without returning from them (longjmp, exceptions, tail calls that are none): the one that
 * is returned to may be a few further up. */
static void ret_miss(struct lp_x86 *x, const void *jump)
{
	enum { DEPTH = 16 };
	uint8_t *again;
	struct lp_x86_fixup found;

	lp_x86_lea(x, 1, LP_RCX, lp_rm_mem(LP_RSP, 16));
	lp_x86_mov_imm(x, LP_RDX, DEPTH);
	again = x->at;
	lp_x86_alu(x, LP_ALU_CMP, 1, LP_RCX, LP_CPU(jit.shadow_base));
	lp_x86_jcc(x, LP_CC_AE, jump);
	lp_x86_alu(x, LP_ALU_CMP, 1, LP_RAX, lp_rm_mem(LP_RCX, 8));
	found = lp_x86_jcc_forward_short(x, LP_CC_E);
	lp_x86_alu_imm(x, LP_ALU_ADD, 1, lp_rm_reg(LP_RCX), 16);
	lp_x86_alu_imm(x, LP_ALU_SUB, 0, lp_rm_reg(LP_RDX), 1);
	lp_x86_jcc_back(x, LP_CC_NE, again);
	lp_x86_jmp(x, jump);
	lp_x86_bind(x, found);
	lp_x86_mov(x, 1, LP_RSP, lp_rm_reg(LP_RCX));
	lp_x86_ret(x);
}

/* Somebody has a return address of LP_SHADOW_NOWHERE. */
static void bottom(struct lp_x86 *x, const void *exit)
{
	lp_x86_mov(x, 1, LP_RSP, LP_CPU(jit.shadow_base));
	lp_x86_mov_imm(x, LP_RAX, LP_SHADOW_NOWHERE);
	lp_x86_jmp(x, exit);
}

int lp_stubs_make(struct lp_jit *jit)
{
	struct lp_segment *s = &jit->segments[0];
	struct lp_jit_stubs *stubs = &jit->stubs;
	struct lp_x86 x = {.at = s->rw, .end = s->rw + LP_SEGMENT, .run_offset = s->rx - s->rw};

#define STUB(name, ...)                         \
	do {                                    \
		stubs->name = (void *)here(&x); \
		name(&x, ##__VA_ARGS__);        \
	} while (0)
	STUB(enter);
	stubs->exit_left = here(&x);
	leave(&x);
	STUB(exit_lookup);
	STUB(fallback, stubs->exit_left);
	stubs->call_c = here(&x);
	call_uop(&x);
	lp_x86_jmp(&x, stubs->exit_left);
	STUB(miss, stubs->exit_lookup);
	STUB(jump, stubs->exit_lookup);
	STUB(ret_miss, stubs->jump);
	STUB(bottom, stubs->exit_lookup);
#undef STUB
	s->used = (size_t)(x.at - s->rw);
	return x.out_of_reach ? -1 : 0;
}
