/*
 * Between the emit_fp*.c: host arithmetic, and what is done about results that are not the guest's.
 *
 * As in emu/sem_fp.h, the host computes, and the result is looked at: a NaN, or (of products, sums of them and narrowed
 * numbers) the least normal number, about which the two architectures do not agree whether it is tiny, is not written.
 * The interpreter's function executes the whole instruction then, in cold code.
 *
 * Scratch registers: LP_FP_TEST is overwritten by the looks, 0 and 1 are the instruction's.
 */
#ifndef LP_JIT_EMIT_FP_H
#define LP_JIT_EMIT_FP_H

#include "emu/hot.h"
#include "jit/emit.h"

#undef RD
#undef RN
#undef RM
#undef RA

enum { LP_FP_S0 = LP_V_SCRATCH, LP_FP_S1, LP_FP_TEST };

/* What is computed with: a scalar or all lanes, single or double. */
enum lp_fp_form { LP_FP_SS, LP_FP_SD, LP_FP_PS, LP_FP_PD, LP_NR_FP_FORMS };
#define LP_FP_FORMS(insn)                              \
	{                                              \
		insn##SS, insn##SD, insn##PS, insn##PD \
	}

static inline bool lp_fp_is_double(enum lp_fp_form form)
{
	return form & 1;
}
static inline bool lp_fp_is_packed(enum lp_fp_form form)
{
	return form & 2;
}

/* Constants, of either precision: all but the sign, the sign, the least normal number, from which on all are integers. */
enum lp_fp_number { LP_FP_ABS, LP_FP_SIGN, LP_FP_LEAST, LP_FP_INTEGRAL, LP_FP_HALF, LP_FP_ONE };
/* In all lanes of 128 bits, or in the scalar's with zeros above. */
struct lp_x86_rm lp_fp_constant(struct lp_tr *t, enum lp_fp_number number, enum lp_fp_form form);
struct lp_x86_rm lp_fp_constant_alone(struct lp_tr *t, enum lp_fp_number number, enum lp_fp_form form);

/* Jumps where the result in r (any lane, when packed) is a NaN, or that or the least normal number.  EFLAGS are lost. */
struct lp_x86_fixup lp_fp_if_nan(struct lp_tr *t, enum lp_fp_form form, unsigned r);
struct lp_x86_fixup lp_fp_if_doubt(struct lp_tr *t, enum lp_fp_form form, unsigned r);
/* The same of what cannot be negative. */
struct lp_x86_fixup lp_fp_if_doubt_of_square(struct lp_tr *t, enum lp_fp_form form, unsigned r);
/* Where the host register has its highest bit set in any lane of 32 or 64 bits. */
struct lp_x86_fixup lp_fp_if_sign(struct lp_tr *t, enum lp_fp_form form, unsigned r);

/* A host register without what stands above the scalar. */
void lp_fp_clear_above(struct lp_tr *t, enum lp_fp_form form, unsigned to, unsigned from);
/* The scalar, or all 128 bits, in host register r are the new value of v; clean: there is nothing above a scalar. */
void lp_fp_write(struct lp_tr *t, enum lp_fp_form form, unsigned v, unsigned r, bool clean);
/* The end of an instruction that has written its result: `hard` leads to the interpreter's function. */
void lp_fp_end(struct lp_tr *t, struct lp_x86_fixup hard);
void lp_fp_end2(struct lp_tr *t, struct lp_x86_fixup hard, struct lp_x86_fixup hard2);

/* How much of a register the form has. */
static inline unsigned lp_fp_bits(enum lp_fp_form form)
{
	return lp_fp_is_packed(form) ? 128 : lp_fp_is_double(form) ? 64 : 32;
}
static inline unsigned lp_fp_read(struct lp_tr *t, enum lp_fp_form form, unsigned v)
{
	return lp_v_read_bits(t, v, lp_fp_bits(form));
}
/* Whether nothing stands above guest register v's scalar in its host register. */
static inline bool lp_fp_is_clean(const struct lp_tr *t, enum lp_fp_form form, unsigned v)
{
	return lp_v_is_zero_above(t, v, lp_fp_bits(form));
}

/* VFPExpandImm (DDI 0487) */
uint64_t lp_fp_immediate(enum lp_fp_form form, unsigned imm8);

/* to = from rounded to an integer, `how` as LP_VROUND.. has it; above a scalar: what is above `from`. */
void lp_fp_round(struct lp_tr *t, enum lp_fp_form form, unsigned to, unsigned from, unsigned how);
/* to = from rounded to the nearest, halves away from zero, without Inexact; jumps where it is too large to have any.
 * Uses all scratch registers; `to` is none of them but LP_FP_S0, and not `from`. */
struct lp_x86_fixup lp_fp_round_away(struct lp_tr *t, enum lp_fp_form form, unsigned to, unsigned from);
/* How a row rounds: a mode of LP_VROUND.., or this. */
enum { LP_FP_AWAY = 0x100 };

#endif
