/* Loads and stores of one vector register, or of a pair. */
#include "emu/simd.h"
#include "emu/simd_memory.h"

/* ---- one register: sizes B, H, S, D, Q of the manual ---- */

static inline uint64_t imm12(uint32_t word)
{
	return word >> 10 & 0xfff;
}
static inline uint64_t imm9(uint32_t word)
{
	return (uint64_t)((int64_t)((uint64_t)word << 43) >> 55);
}

/* Where the access is, by the addressing; what the base register is afterwards. */
#define BASE XSP(cpu, u->rn)
#define SHIFT(log) ((log) * (u->word >> 12 & 1))
#define AT_uimm(log) (BASE + (imm12(u->word) << (log)))
#define AT_imm9(log) (BASE + imm9(u->word))
#define AT_x(log) (BASE + (X(cpu, u->rm) << SHIFT(log)))
#define AT_uxtw(log) (BASE + ((uint64_t)W(cpu, u->rm) << SHIFT(log)))
#define AT_sxtw(log) (BASE + ((uint64_t)(int32_t)W(cpu, u->rm) << SHIFT(log)))

#define LOAD_FN(name, Z, log, at)                                   \
	VARIANT(name)                                               \
	{                                                           \
		lp_set_q(cpu, u->rd, lp_load_##Z(cpu, u, at(log))); \
		TAIL(u + 1);                                        \
	}
#define STORE_FN(name, Z, log, at)                                   \
	VARIANT(name)                                                \
	{                                                            \
		lp_store_##Z(cpu, u, at(log), lp_get_q(cpu, u->rd)); \
		TAIL(u + 1);                                         \
	}
/* The base register becomes the sum; it is what is accessed (pre), or the old one is (post). */
#define WRITEBACK_FNS(load, store, Z)                           \
	VARIANT(load##_post_any)                                \
	{                                                       \
		const uint64_t at = BASE;                       \
		lp_set_q(cpu, u->rd, lp_load_##Z(cpu, u, at));  \
		SET_XSP(cpu, u->rn, at + imm9(u->word));        \
		TAIL(u + 1);                                    \
	}                                                       \
	VARIANT(load##_pre_any)                                 \
	{                                                       \
		const uint64_t at = BASE + imm9(u->word);       \
		lp_set_q(cpu, u->rd, lp_load_##Z(cpu, u, at));  \
		SET_XSP(cpu, u->rn, at);                        \
		TAIL(u + 1);                                    \
	}                                                       \
	VARIANT(store##_post_any)                               \
	{                                                       \
		const uint64_t at = BASE;                       \
		lp_store_##Z(cpu, u, at, lp_get_q(cpu, u->rd)); \
		SET_XSP(cpu, u->rn, at + imm9(u->word));        \
		TAIL(u + 1);                                    \
	}                                                       \
	VARIANT(store##_pre_any)                                \
	{                                                       \
		const uint64_t at = BASE + imm9(u->word);       \
		lp_store_##Z(cpu, u, at, lp_get_q(cpu, u->rd)); \
		SET_XSP(cpu, u->rn, at);                        \
		TAIL(u + 1);                                    \
	}                                                       \
	CHOOSER(load##_post, load##_post_any);                  \
	CHOOSER(load##_pre, load##_pre_any);                    \
	CHOOSER(store##_post, store##_post_any);                \
	CHOOSER(store##_pre, store##_pre_any);

/* option: 2 UXTW, 3 LSL, 6 SXTW, 7 SXTX. */
#define BY_EXTENSION(row) \
	CHOOSER(row##_reg, (word >> 13 & 7) == 2 ? row##_uxtw : (word >> 13 & 7) == 6 ? row##_sxtw : row##_x);

#define ONE_REGISTER(Z, log)                        \
	LOAD_FN(ldr_##Z##_imm12, Z, log, AT_uimm);  \
	LOAD_FN(ldr_##Z##_imm9, Z, log, AT_imm9);   \
	LOAD_FN(ldr_##Z##_x, Z, log, AT_x);         \
	LOAD_FN(ldr_##Z##_uxtw, Z, log, AT_uxtw);   \
	LOAD_FN(ldr_##Z##_sxtw, Z, log, AT_sxtw);   \
	STORE_FN(str_##Z##_imm12, Z, log, AT_uimm); \
	STORE_FN(str_##Z##_imm9, Z, log, AT_imm9);  \
	STORE_FN(str_##Z##_x, Z, log, AT_x);        \
	STORE_FN(str_##Z##_uxtw, Z, log, AT_uxtw);  \
	STORE_FN(str_##Z##_sxtw, Z, log, AT_sxtw);  \
	CHOOSER(ldr_##Z##_uimm, ldr_##Z##_imm12);   \
	CHOOSER(ldur_##Z, ldr_##Z##_imm9);          \
	CHOOSER(str_##Z##_uimm, str_##Z##_imm12);   \
	CHOOSER(stur_##Z, str_##Z##_imm9);          \
	BY_EXTENSION(ldr_##Z);                      \
	BY_EXTENSION(str_##Z);                      \
	WRITEBACK_FNS(ldr_##Z, str_##Z, Z);

ONE_REGISTER(b, 0);
ONE_REGISTER(h, 1);
ONE_REGISTER(s, 2);
ONE_REGISTER(d, 3);
ONE_REGISTER(q, 4);

/* ---- literals ---- */

static inline uint64_t literal(const struct lp_uop *u)
{
	return u->pc + 4 * (uint64_t)((int64_t)((uint64_t)u->word << 40) >> 45);
}
#define LITERAL(row, Z)                                                \
	VARIANT(row##_any)                                             \
	{                                                              \
		lp_set_q(cpu, u->rd, lp_load_##Z(cpu, u, literal(u))); \
		TAIL(u + 1);                                           \
	}                                                              \
	CHOOSER(row, row##_any);
LITERAL(ldr_lit_s, s);
LITERAL(ldr_lit_d, d);
LITERAL(ldr_lit_q, q);

/* ---- pairs ---- */

static inline uint64_t imm7(uint32_t word)
{
	return (uint64_t)((int64_t)((uint64_t)word << 42) >> 57);
}

#define PAIR_FNS(Z, log)                                                                           \
	static inline void load_pair_##Z(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t at)  \
	{                                                                                          \
		const __m128i first = lp_load_##Z(cpu, u, at);                                     \
		const __m128i second = lp_load_##Z(cpu, u, at + (1 << (log)));                     \
		lp_set_q(cpu, u->rd, first);                                                       \
		lp_set_q(cpu, u->ra, second);                                                      \
	}                                                                                          \
	static inline void store_pair_##Z(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t at) \
	{                                                                                          \
		lp_store_##Z(cpu, u, at, lp_get_q(cpu, u->rd));                                    \
		lp_store_##Z(cpu, u, at + (1 << (log)), lp_get_q(cpu, u->ra));                     \
	}                                                                                          \
	PAIR_FORMS(ldp, load, Z, log);                                                             \
	PAIR_FORMS(stp, store, Z, log);

#define PAIR_FORMS(row, action, Z, log)                                     \
	VARIANT(row##_off_##Z)                                              \
	{                                                                   \
		action##_pair_##Z(cpu, u, BASE + (imm7(u->word) << (log))); \
		TAIL(u + 1);                                                \
	}                                                                   \
	VARIANT(row##_post_##Z)                                             \
	{                                                                   \
		const uint64_t at = BASE;                                   \
		action##_pair_##Z(cpu, u, at);                              \
		SET_XSP(cpu, u->rn, at + (imm7(u->word) << (log)));         \
		TAIL(u + 1);                                                \
	}                                                                   \
	VARIANT(row##_pre_##Z)                                              \
	{                                                                   \
		const uint64_t at = BASE + (imm7(u->word) << (log));        \
		action##_pair_##Z(cpu, u, at);                              \
		SET_XSP(cpu, u->rn, at);                                    \
		TAIL(u + 1);                                                \
	}
PAIR_FNS(s, 2);
PAIR_FNS(d, 3);
PAIR_FNS(q, 4);

/* opc: 0 S, 1 D, 2 Q. */
#define BY_OPC(form) ((word >> 30) == 0 ? form##_s : (word >> 30) == 1 ? form##_d : form##_q)
CHOOSER(ldp_v_nt, BY_OPC(ldp_off));
CHOOSER(ldp_v_off, BY_OPC(ldp_off));
CHOOSER(ldp_v_post, BY_OPC(ldp_post));
CHOOSER(ldp_v_pre, BY_OPC(ldp_pre));
CHOOSER(stp_v_nt, BY_OPC(stp_off));
CHOOSER(stp_v_off, BY_OPC(stp_off));
CHOOSER(stp_v_post, BY_OPC(stp_post));
CHOOSER(stp_v_pre, BY_OPC(stp_pre));
