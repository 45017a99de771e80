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

/* Where the access is, by the addressing.  Choosers put constant offsets into u->imm; a row's own function works them out. */
#define BASE XSP(cpu, u->rn)
#define SHIFT(log) ((log) * (u->word >> 12 & 1))
#define AT_prepared(log) (BASE + u->imm)
#define AT_uimm(log) (BASE + (imm12(u->word) << (log)))
#define AT_imm9(log) (BASE + imm9(u->word))
#define AT_x(log) (BASE + (X(cpu, u->rm) << SHIFT(log)))
#define AT_uxtw(log) (BASE + ((uint64_t)W(cpu, u->rm) << SHIFT(log)))
#define AT_sxtw(log) (BASE + ((uint64_t)(int32_t)W(cpu, u->rm) << SHIFT(log)))
#define PREPARED(row, offset, chosen)                    \
	lp_uop_fn *LP_CHOOSE(row)(struct lp_uop * u)     \
	{                                                \
		LP_UNUSED const uint32_t word = u->word; \
		u->imm = (offset);                       \
		return chosen;                           \
	}

#define LOAD(Z, at)                                                       \
	do {                                                              \
		const __m128i value_ = lp_peek_##Z(lp_guest(cpu, u, at)); \
		lp_guest_done();                                          \
		lp_set_q(cpu, u->rd, value_);                             \
	} while (0)
#define STORE(Z, at)                                                     \
	do {                                                             \
		lp_poke_##Z(lp_guest(cpu, u, at), lp_get_q(cpu, u->rd)); \
		lp_guest_done();                                         \
	} while (0)
#define ACCESS_FN(name, ACTION, Z, log, at) \
	VARIANT(name)                       \
	{                                   \
		ACTION(Z, at(log));         \
		TAIL(u + 1);                \
	}
/* The base register becomes the sum; it is what is accessed (pre), or the old one is (post). */
#define WRITEBACK_FNS(row, ACTION, Z)                     \
	VARIANT(row##_post_any)                           \
	{                                                 \
		const uint64_t at = BASE;                 \
		ACTION(Z, at);                            \
		SET_XSP(cpu, u->rn, at + imm9(u->word));  \
		TAIL(u + 1);                              \
	}                                                 \
	VARIANT(row##_pre_any)                            \
	{                                                 \
		const uint64_t at = BASE + imm9(u->word); \
		ACTION(Z, at);                            \
		SET_XSP(cpu, u->rn, at);                  \
		TAIL(u + 1);                              \
	}                                                 \
	CHOOSER(row##_post, row##_post_any);              \
	CHOOSER(row##_pre, row##_pre_any);

/* option: 2 UXTW, 3 LSL, 6 SXTW, 7 SXTX. */
#define BY_EXTENSION(row) \
	CHOOSER(row##_reg, (word >> 13 & 7) == 2 ? row##_uxtw : (word >> 13 & 7) == 6 ? row##_sxtw : row##_x);

#define ONE_REGISTER(Z, log)            \
	FORMS(ldr, ldur, LOAD, Z, log); \
	FORMS(str, stur, STORE, Z, log);
#define FORMS(scaled, unscaled, ACTION, Z, log)                                  \
	ACCESS_FN(scaled##_##Z##_imm, ACTION, Z, log, AT_prepared);              \
	ACCESS_FN(scaled##_##Z##_uimm_plain, ACTION, Z, log, AT_uimm);           \
	ACCESS_FN(unscaled##_##Z##_plain, ACTION, Z, log, AT_imm9);              \
	ACCESS_FN(scaled##_##Z##_x, ACTION, Z, log, AT_x);                       \
	ACCESS_FN(scaled##_##Z##_uxtw, ACTION, Z, log, AT_uxtw);                 \
	ACCESS_FN(scaled##_##Z##_sxtw, ACTION, Z, log, AT_sxtw);                 \
	PREPARED(scaled##_##Z##_uimm, imm12(word) << (log), scaled##_##Z##_imm); \
	PREPARED(unscaled##_##Z, imm9(word), scaled##_##Z##_imm);                \
	PLAIN(scaled##_##Z##_uimm, scaled##_##Z##_uimm_plain);                   \
	PLAIN(unscaled##_##Z, unscaled##_##Z##_plain);                           \
	BY_EXTENSION(scaled##_##Z);                                              \
	WRITEBACK_FNS(scaled##_##Z, ACTION, Z);

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
#define LITERAL(row, Z)              \
	VARIANT(row##_any)           \
	{                            \
		LOAD(Z, literal(u)); \
		TAIL(u + 1);         \
	}                            \
	CHOOSER(row, row##_any);
LITERAL(ldr_lit_s, s);
LITERAL(ldr_lit_d, d);
LITERAL(ldr_lit_q, q);

/* ---- pairs ---- */

static inline uint64_t imm7(uint32_t word)
{
	return (uint64_t)((int64_t)((uint64_t)word << 42) >> 57);
}

#define LOAD_PAIR(Z, log, at)                                           \
	do {                                                            \
		const uint8_t *p_ = lp_guest(cpu, u, at);               \
		const __m128i first_ = lp_peek_##Z(p_);                 \
		const __m128i second_ = lp_peek_##Z(p_ + (1 << (log))); \
		lp_guest_done();                                        \
		lp_set_q(cpu, u->rd, first_);                           \
		lp_set_q(cpu, u->ra, second_);                          \
	} while (0)
#define STORE_PAIR(Z, log, at)                                        \
	do {                                                          \
		uint8_t *p_ = lp_guest(cpu, u, at);                   \
		lp_poke_##Z(p_, lp_get_q(cpu, u->rd));                \
		lp_poke_##Z(p_ + (1 << (log)), lp_get_q(cpu, u->ra)); \
		lp_guest_done();                                      \
	} while (0)
#define PAIR_FORMS(row, ACTION, Z, log)                              \
	VARIANT(row##_imm_##Z)                                       \
	{                                                            \
		ACTION(Z, log, BASE + u->imm);                       \
		TAIL(u + 1);                                         \
	}                                                            \
	VARIANT(row##_off_##Z)                                       \
	{                                                            \
		ACTION(Z, log, BASE + (imm7(u->word) << (log)));     \
		TAIL(u + 1);                                         \
	}                                                            \
	VARIANT(row##_post_##Z)                                      \
	{                                                            \
		const uint64_t at = BASE;                            \
		ACTION(Z, log, at);                                  \
		SET_XSP(cpu, u->rn, at + (imm7(u->word) << (log)));  \
		TAIL(u + 1);                                         \
	}                                                            \
	VARIANT(row##_pre_##Z)                                       \
	{                                                            \
		const uint64_t at = BASE + (imm7(u->word) << (log)); \
		ACTION(Z, log, at);                                  \
		SET_XSP(cpu, u->rn, at);                             \
		TAIL(u + 1);                                         \
	}
#define PAIR_FNS(Z, log)                    \
	PAIR_FORMS(ldp, LOAD_PAIR, Z, log); \
	PAIR_FORMS(stp, STORE_PAIR, Z, log);
PAIR_FNS(s, 2);
PAIR_FNS(d, 3);
PAIR_FNS(q, 4);

/* opc: 0 S, 1 D, 2 Q. */
#define BY_OPC(form) ((word >> 30) == 0 ? form##_s : (word >> 30) == 1 ? form##_d : form##_q)
#define OFFSET_PAIR(row, fn)                                               \
	PREPARED(row, imm7(word) << ((word >> 30) + 2), BY_OPC(fn##_imm)); \
	PLAIN(row, BY_OPC(fn##_off));
OFFSET_PAIR(ldp_v_nt, ldp);
OFFSET_PAIR(ldp_v_off, ldp);
OFFSET_PAIR(stp_v_nt, stp);
OFFSET_PAIR(stp_v_off, stp);
CHOOSER(ldp_v_post, BY_OPC(ldp_post));
CHOOSER(ldp_v_pre, BY_OPC(ldp_pre));
CHOOSER(stp_v_post, BY_OPC(stp_post));
CHOOSER(stp_v_pre, BY_OPC(stp_pre));
