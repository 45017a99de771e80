/* The guest's flags in EFLAGS, and how they come to memory and back. */
#include "jit/emit.h"

/* ---- to memory ---- */

/* SF is bit 7 of ah and N the sign of `n`. */
static void keep_sign(struct lp_x86 *x)
{
	lp_x86_lahf(x);
	/* ah has the number 4 where there is no REX prefix */
	lp_x86_put8(x, 0x88);
	lp_x86_modrm(x, 4, lp_rm_mem(LP_RBP, (int32_t)offsetof(struct lp_cpu, n) + 7 - LP_CPU_BIAS), 0);
}

static void keep_integer(struct lp_x86 *x, enum lp_x86_cc carry)
{
	keep_sign(x);
	lp_x86_store_imm(x, 8, LP_CPU(z), 0);
	lp_x86_setcc(x, LP_CC_NE, LP_CPU(z));
	lp_x86_setcc(x, carry, LP_CPU(c));
	lp_x86_setcc(x, LP_CC_O, LP_CPU(v));
}

/* less: N; equal: Z and C; greater: C; unordered: C and V. */
static void keep_fp(struct lp_x86 *x, bool back)
{
	struct lp_x86_fixup unordered, done;

	lp_x86_store_imm(x, 8, LP_CPU(n), 0);
	lp_x86_store_imm(x, 8, LP_CPU(z), 1);
	lp_x86_setcc(x, LP_CC_P, LP_CPU(v));
	lp_x86_store_imm(x, 1, LP_CPU(c), 1);
	unordered = lp_x86_jcc_forward_short(x, LP_CC_P);
	lp_x86_setcc(x, LP_CC_NE, LP_CPU(z));
	lp_x86_setcc(x, back ? LP_CC_BE : LP_CC_AE, LP_CPU(c));
	done = lp_x86_jcc_forward_short(x, back ? LP_CC_BE : LP_CC_AE);
	lp_x86_store_imm(x, 8, LP_CPU(n), -1);
	lp_x86_bind(x, done);
	lp_x86_bind(x, unordered);
}

void lp_flags_keep(struct lp_tr *t)
{
	if (t->flags_kept || t->flags == LP_FLAGS_IN_MEMORY)
		return;
	if (t->flags == LP_FLAGS_FP || t->flags == LP_FLAGS_FP_BACK)
		keep_fp(&t->x, t->flags == LP_FLAGS_FP_BACK);
	else
		keep_integer(&t->x, t->flags == LP_FLAGS_SUB ? LP_CC_AE : LP_CC_B);
	t->flags_kept = true;
}

/* Whether anybody asks, from the current instruction on, for the flags as they were before it. */
static bool is_wanted(const struct lp_tr *t)
{
	return t->i == 0 ? true : t->insns[t->i - 1].flags_live;
}

void lp_flags_clobber(struct lp_tr *t)
{
	if (t->flags != LP_FLAGS_IN_MEMORY && is_wanted(t))
		lp_flags_keep(t);
	t->flags = LP_FLAGS_IN_MEMORY;
	t->flags_kept = true;
	t->flags_at[t->i] = LP_FLAGS_IN_MEMORY; /* the access is still to come */
}

void lp_flags_set_from(struct lp_cpu *cpu, enum lp_flags kind, uint64_t eflags)
{
	bool cf = eflags & 1, pf = eflags >> 2 & 1, zf = eflags >> 6 & 1, sf = eflags >> 7 & 1, of = eflags >> 11 & 1;
	bool n = sf, z = zf, c = cf, v = of;

	switch (kind) {
	case LP_FLAGS_IN_MEMORY:
		return;
	case LP_FLAGS_SUB:
		c = !cf;
		break;
	case LP_FLAGS_ADD:
		break;
	case LP_FLAGS_FP:
	case LP_FLAGS_FP_BACK:
		v = pf;
		z = zf && !pf;
		n = !pf && (kind == LP_FLAGS_FP ? cf : !cf && !zf);
		c = !n;
		break;
	}
	lp_cpu_set_nzcv(cpu, (uint32_t)n << 31 | (uint32_t)z << 30 | (uint32_t)c << 29 | (uint32_t)v << 28);
}

/* ---- questions ---- */

static struct lp_test of_memory(struct lp_tr *t, unsigned pair)
{
	struct lp_x86 *x = &t->x;

	switch (pair) {
	case 0: /* eq */
		lp_x86_alu_imm(x, LP_ALU_CMP, 1, LP_CPU(z), 0);
		return (struct lp_test){LP_CC_E, 0};
	case 1: /* cs */
		lp_x86_alu_imm_sized(x, LP_ALU_CMP, 1, LP_CPU(c), 0);
		return (struct lp_test){LP_CC_NE, 0};
	case 2: /* mi */
		lp_x86_alu_imm(x, LP_ALU_CMP, 1, LP_CPU(n), 0);
		return (struct lp_test){LP_CC_S, 0};
	case 3: /* vs */
		lp_x86_alu_imm_sized(x, LP_ALU_CMP, 1, LP_CPU(v), 0);
		return (struct lp_test){LP_CC_NE, 0};
	case 4: /* hi: C and not Z.  CF = (z == 0); 1 - c - CF is below or 0 unless c and not z */
		lp_x86_alu_imm(x, LP_ALU_CMP, 1, LP_CPU(z), 1);
		lp_x86_movzx8(x, LP_RAX, LP_CPU(c));
		lp_x86_alu_imm(x, LP_ALU_SBB, 0, lp_rm_reg(LP_RAX), 0);
		/* 1: c and not z; 0 or -1: not */
		lp_x86_alu_imm(x, LP_ALU_CMP, 0, lp_rm_reg(LP_RAX), 0);
		return (struct lp_test){LP_CC_G, 0};
	case 5: /* ge: N is V */
		lp_x86_mov(x, 1, LP_RAX, LP_CPU(n));
		lp_x86_shift_imm(x, LP_SHIFT_SHR, 1, lp_rm_reg(LP_RAX), 63);
		lp_x86_alu_sized(x, LP_ALU_CMP, 1, LP_RAX, LP_CPU(v));
		return (struct lp_test){LP_CC_E, 0};
	default: /* gt: N is V, and not Z */
		lp_x86_mov(x, 1, LP_RAX, LP_CPU(n));
		lp_x86_shift_imm(x, LP_SHIFT_SHR, 1, lp_rm_reg(LP_RAX), 63);
		lp_x86_alu_sized(x, LP_ALU_XOR, 1, LP_RAX, LP_CPU(v));
		/* rax 0: N is V.  CF = (z == 0) */
		lp_x86_alu_imm(x, LP_ALU_CMP, 1, LP_CPU(z), 1);
		lp_x86_alu_imm(x, LP_ALU_ADC, 0, lp_rm_reg(LP_RAX), 0);
		return (struct lp_test){LP_CC_E, 0};
	}
}

static struct lp_test of_sub(unsigned pair)
{
	static const uint8_t cc[] = {LP_CC_E, LP_CC_AE, LP_CC_S, LP_CC_O, LP_CC_A, LP_CC_GE, LP_CC_G};

	return (struct lp_test){cc[pair], 0};
}

static struct lp_test of_add(struct lp_tr *t, unsigned pair)
{
	switch (pair) {
	case 1:
		return (struct lp_test){LP_CC_B, 0};
	case 4:
		lp_x86_cmc(&t->x);
		t->flags = LP_FLAGS_SUB;
		return of_sub(pair);
	default:
		return of_sub(pair);
	}
}

static struct lp_test of_fp(unsigned pair)
{
	static const struct lp_test tests[] = {
		{LP_CC_E, LP_PARITY_AND_NOT},
		{LP_CC_AE, LP_PARITY_OR},
		{LP_CC_B, LP_PARITY_AND_NOT},
		{LP_CC_P, 0},
		{LP_CC_A, LP_PARITY_OR},
		{LP_CC_AE, 0},
		{LP_CC_A, 0},
	};

	return tests[pair];
}

static struct lp_test of_fp_back(unsigned pair)
{
	static const struct lp_test tests[] = {
		{LP_CC_E, LP_PARITY_AND_NOT},
		{LP_CC_BE, 0},
		{LP_CC_A, 0},
		{LP_CC_P, 0},
		{LP_CC_B, 0},
		{LP_CC_BE, LP_PARITY_AND_NOT},
		{LP_CC_B, LP_PARITY_AND_NOT},
	};

	return tests[pair];
}

static struct lp_test opposite(struct lp_test test)
{
	static const uint8_t parity[] = {LP_PARITY_NO_MATTER, LP_PARITY_OR, LP_PARITY_AND_NOT};

	return (struct lp_test){test.cc ^ 1, parity[test.parity]};
}

struct lp_test lp_flags_test(struct lp_tr *t, unsigned condition)
{
	unsigned pair = condition >> 1;
	struct lp_test test;

	switch (t->flags) {
	case LP_FLAGS_SUB:
		test = of_sub(pair);
		break;
	case LP_FLAGS_ADD:
		test = of_add(t, pair);
		break;
	case LP_FLAGS_FP:
		test = of_fp(pair);
		break;
	case LP_FLAGS_FP_BACK:
		test = of_fp_back(pair);
		break;
	default:
		test = of_memory(t, pair);
		break;
	}
	return condition & 1 ? opposite(test) : test;
}

/* ---- what is done with the answer ---- */

void lp_flags_jump(struct lp_tr *t, struct lp_test test, bool holds, struct lp_x86_fixup to[2])
{
	struct lp_x86 *x = &t->x;

	if (!holds)
		test = opposite(test);
	to[1] = (struct lp_x86_fixup){0};
	if (test.parity == LP_PARITY_AND_NOT) {
		struct lp_x86_fixup over = lp_x86_jcc_forward_short(x, LP_CC_P);
		to[0] = lp_x86_jcc_forward(x, test.cc);
		lp_x86_bind(x, over);
		return;
	}
	to[0] = lp_x86_jcc_forward(x, test.cc);
	if (test.parity == LP_PARITY_OR)
		to[1] = lp_x86_jcc_forward(x, LP_CC_P);
}

void lp_flags_cmov(struct lp_tr *t, struct lp_test test, unsigned w, unsigned to, struct lp_x86_rm from,
		   unsigned otherwise)
{
	lp_x86_cmov(&t->x, test.cc, w, to, from);
	if (test.parity == LP_PARITY_OR)
		lp_x86_cmov(&t->x, LP_CC_P, w, to, from);
	else if (test.parity == LP_PARITY_AND_NOT)
		lp_x86_cmov(&t->x, LP_CC_P, w, to, lp_rm_reg(otherwise));
}

void lp_flags_carry(struct lp_tr *t, bool inverted, bool sets)
{
	struct lp_x86 *x = &t->x;

	if (t->flags == LP_FLAGS_SUB || t->flags == LP_FLAGS_ADD) {
		bool is_opposite = t->flags == LP_FLAGS_SUB;
		if (!sets && t->insns[t->i].flags_live)
			lp_flags_keep(t);
		t->flags = LP_FLAGS_IN_MEMORY;
		if (is_opposite != inverted)
			lp_x86_cmc(x);
		return;
	}
	lp_flags_clobber(t);
	/* CF = c < 1 */
	lp_x86_alu_imm_sized(x, LP_ALU_CMP, 1, LP_CPU(c), 1);
	if (!inverted)
		lp_x86_cmc(x);
}
