/* Loads and stores of general registers, and prefetches. */
#include "emu/access.h"

#define BASE XSP(cpu, u->rn)
#define IMM9 (uint64_t) lp_signed_field(u->word, 12, 9)

/* ---- one register ---- */

#define ACCESS(row, address, touch, write_back)     \
	SEM(row)                                    \
	{                                           \
		uint64_t addr = address;            \
		if (lp_is_bad_base(cpu, u))         \
			return lp_bad_base(cpu, u); \
		touch;                              \
		write_back;                         \
		NEXT;                               \
	}

/* The base is written last: where it is the loaded register as well, which is UNPREDICTABLE, it wins. */
#define SAME_ACCESS(uimm, reg, unscaled, post, pre, unprivileged, log2_size, touch) \
	ACCESS(uimm, BASE + ((uint64_t)FIELD(imm12) << (log2_size)), touch, )       \
	ACCESS(reg, BASE + lp_index(cpu, u, log2_size), touch, )                    \
	ACCESS(unscaled, BASE + IMM9, touch, )                                      \
	ACCESS(post, BASE, touch, SET_XSP(cpu, u->rn, addr + IMM9))                 \
	ACCESS(pre, BASE + IMM9, touch, SET_XSP(cpu, u->rn, addr))                  \
	ACCESS(unprivileged, BASE + IMM9, touch, )

#define STORE(type) STORE_##type(cpu, u, addr, X(cpu, u->rd))
#define LOAD(type) SET_X(cpu, u->rd, LOAD_##type(cpu, u, addr))
/* Extended to 64 or 32 bits. */
#define LOAD_SIGNED_X(type, narrow) SET_X(cpu, u->rd, (uint64_t)(narrow)LOAD_##type(cpu, u, addr))
#define LOAD_SIGNED_W(type, narrow) SET_X(cpu, u->rd, (uint32_t)(narrow)LOAD_##type(cpu, u, addr))

SAME_ACCESS(strb_uimm, strb_reg, sturb, strb_post, strb_pre, sttrb, 0, STORE(u8))
SAME_ACCESS(strh_uimm, strh_reg, sturh, strh_post, strh_pre, sttrh, 1, STORE(u16))
SAME_ACCESS(str_w_uimm, str_w_reg, stur_w, str_w_post, str_w_pre, sttr_w, 2, STORE(u32))
SAME_ACCESS(str_x_uimm, str_x_reg, stur_x, str_x_post, str_x_pre, sttr_x, 3, STORE(u64))

SAME_ACCESS(ldrb_uimm, ldrb_reg, ldurb, ldrb_post, ldrb_pre, ldtrb, 0, LOAD(u8))
SAME_ACCESS(ldrh_uimm, ldrh_reg, ldurh, ldrh_post, ldrh_pre, ldtrh, 1, LOAD(u16))
SAME_ACCESS(ldr_w_uimm, ldr_w_reg, ldur_w, ldr_w_post, ldr_w_pre, ldtr_w, 2, LOAD(u32))
SAME_ACCESS(ldr_x_uimm, ldr_x_reg, ldur_x, ldr_x_post, ldr_x_pre, ldtr_x, 3, LOAD(u64))

SAME_ACCESS(ldrsb_x_uimm, ldrsb_x_reg, ldursb_x, ldrsb_x_post, ldrsb_x_pre, ldtrsb_x, 0, LOAD_SIGNED_X(u8, int8_t))
SAME_ACCESS(ldrsb_w_uimm, ldrsb_w_reg, ldursb_w, ldrsb_w_post, ldrsb_w_pre, ldtrsb_w, 0, LOAD_SIGNED_W(u8, int8_t))
SAME_ACCESS(ldrsh_x_uimm, ldrsh_x_reg, ldursh_x, ldrsh_x_post, ldrsh_x_pre, ldtrsh_x, 1, LOAD_SIGNED_X(u16, int16_t))
SAME_ACCESS(ldrsh_w_uimm, ldrsh_w_reg, ldursh_w, ldrsh_w_post, ldrsh_w_pre, ldtrsh_w, 1, LOAD_SIGNED_W(u16, int16_t))
SAME_ACCESS(ldrsw_uimm, ldrsw_reg, ldursw, ldrsw_post, ldrsw_pre, ldtrsw, 2, LOAD_SIGNED_X(u32, int32_t))

/* ---- literals ---- */

#define LITERAL(row, touch)                                                              \
	SEM(row)                                                                         \
	{                                                                                \
		uint64_t addr = u->pc + (uint64_t)(lp_signed_field(u->word, 5, 19) * 4); \
		touch;                                                                   \
		NEXT;                                                                    \
	}
LITERAL(ldr_lit_w, LOAD(u32))
LITERAL(ldr_lit_x, LOAD(u64))
LITERAL(ldrsw_lit, LOAD_SIGNED_X(u32, int32_t))

/* ---- pairs: both are read before one is written ---- */

static void load_pair(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr)
{
	uint64_t first, second;

	if (FIELD(sf)) {
		first = LOAD_u64(cpu, u, addr);
		second = LOAD_u64(cpu, u, addr + 8);
	} else {
		first = LOAD_u32(cpu, u, addr);
		second = LOAD_u32(cpu, u, addr + 4);
	}
	SET_X(cpu, u->rd, first);
	SET_X(cpu, u->ra, second);
}

static void load_signed_pair(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr)
{
	int32_t first = (int32_t)LOAD_u32(cpu, u, addr), second = (int32_t)LOAD_u32(cpu, u, addr + 4);

	SET_X(cpu, u->rd, (uint64_t)first);
	SET_X(cpu, u->ra, (uint64_t)second);
}

static void store_pair(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr)
{
	if (FIELD(sf)) {
		STORE_u64(cpu, u, addr, X(cpu, u->rd));
		STORE_u64(cpu, u, addr + 8, X(cpu, u->ra));
	} else {
		STORE_u32(cpu, u, addr, W(cpu, u->rd));
		STORE_u32(cpu, u, addr + 4, W(cpu, u->ra));
	}
}

#define PAIR_OFFSET (uint64_t)(lp_signed_field(u->word, 15, 7) * (FIELD(sf) ? 8 : 4))
#define PAIR(name, touch)                                                                      \
	ACCESS(name##_off, BASE + PAIR_OFFSET, touch(cpu, u, addr), )                          \
	ACCESS(name##_pre, BASE + PAIR_OFFSET, touch(cpu, u, addr), SET_XSP(cpu, u->rn, addr)) \
	ACCESS(name##_post, BASE, touch(cpu, u, addr), SET_XSP(cpu, u->rn, addr + PAIR_OFFSET))
PAIR(ldp, load_pair)
PAIR(ldpsw, load_signed_pair)
PAIR(stp, store_pair)
ACCESS(ldp_nt, BASE + PAIR_OFFSET, load_pair(cpu, u, addr), )
ACCESS(stp_nt, BASE + PAIR_OFFSET, store_pair(cpu, u, addr), )

/* ---- prefetches: never fault ---- */

#define PREFETCH(row) \
	SEM(row)      \
	{             \
		NEXT; \
	}
PREFETCH(prfm_uimm)
PREFETCH(prfm_reg)
PREFETCH(prfum)
PREFETCH(prfm_lit)
