/* The guest's flags in EFLAGS, and how they come to memory and back. */
#include "jit/emit.h"

/* ---- to memory ---- */

static struct lp_x86_rm in_memory(unsigned byte)
{
	return lp_rm_mem(LP_RBP, (int32_t)(offsetof(struct lp_cpu, jit.flags) + byte) - LP_CPU_BIAS);
}

/* Without a REX prefix, number 5 is ch. */
static void store_ch(struct lp_x86 *x, struct lp_x86_rm to)
{
	lp_x86_put8(x, 0x88);
	lp_x86_modrm(x, 5, to, 0);
}

/* Bit `from` of rcx, or its opposite, alone in rdx. */
static void take_bit(struct lp_x86 *x, unsigned from, bool opposite)
{
	lp_x86_mov(x, 0, LP_RDX, lp_rm_reg(LP_RCX));
	lp_x86_shift_imm(x, LP_SHIFT_SHR, 0, lp_rm_reg(LP_RDX), from);
	if (opposite)
		lp_x86_not(x, 0, lp_rm_reg(LP_RDX));
	lp_x86_alu_imm(x, LP_ALU_AND, 0, lp_rm_reg(LP_RDX), 1);
}

void lp_flags_to_c(struct lp_x86 *x)
{
	_Static_assert(LP_FLAG_V == 1 << 0 && LP_FLAG_NOT_C == 1 << 8 && LP_FLAG_Z == 1 << 14, "bits below");
	lp_x86_mov(x, 0, LP_RCX, in_memory(0));
	/* N is the sign of n: the uppermost bit of its last byte */
	store_ch(x, lp_rm_mem(LP_RBP, (int32_t)offsetof(struct lp_cpu, n) + 7 - LP_CPU_BIAS));
	take_bit(x, 14, true);
	lp_x86_mov_to(x, 1, LP_CPU(z), LP_RDX);
	take_bit(x, 8, true);
	lp_x86_store(x, 1, LP_CPU(c), LP_RDX);
	lp_x86_store(x, 1, LP_CPU(v), LP_RCX);
}

void lp_flags_from_c(struct lp_x86 *x)
{
	lp_x86_movzx8(x, LP_RDX, LP_CPU(c));
	lp_x86_alu_imm(x, LP_ALU_XOR, 0, lp_rm_reg(LP_RDX), 1);
	lp_x86_mov_imm32(x, LP_RCX, 0);
	lp_x86_alu_imm(x, LP_ALU_CMP, 1, LP_CPU(z), 0);
	lp_x86_setcc(x, LP_CC_E, lp_rm_reg(LP_RCX));
	lp_x86_shift_imm(x, LP_SHIFT_SHL, 0, lp_rm_reg(LP_RCX), 6);
	lp_x86_alu(x, LP_ALU_OR, 0, LP_RDX, lp_rm_reg(LP_RCX));
	lp_x86_mov(x, 1, LP_RCX, LP_CPU(n));
	lp_x86_shift_imm(x, LP_SHIFT_SHR, 1, lp_rm_reg(LP_RCX), 63);
	lp_x86_shift_imm(x, LP_SHIFT_SHL, 0, lp_rm_reg(LP_RCX), 7);
	lp_x86_alu(x, LP_ALU_OR, 0, LP_RDX, lp_rm_reg(LP_RCX));
	lp_x86_shift_imm(x, LP_SHIFT_SHL, 0, lp_rm_reg(LP_RDX), 8);
	lp_x86_movzx8(x, LP_RCX, LP_CPU(v));
	lp_x86_alu(x, LP_ALU_OR, 0, LP_RDX, lp_rm_reg(LP_RCX));
	lp_x86_mov_to(x, 0, in_memory(0), LP_RDX);
}

static void keep_integer(struct lp_x86 *x, bool carry_is_opposite)
{
	if (!carry_is_opposite)
		lp_x86_cmc(x);
	lp_x86_lahf(x);
	lp_x86_setcc(x, LP_CC_O, lp_rm_reg(LP_RAX));
	lp_x86_mov_to(x, 0, in_memory(0), LP_RAX);
	if (!carry_is_opposite)
		lp_x86_cmc(x);
}

/* less: N; equal: Z and C; greater: C; unordered: C and V.  Host: less: CF; equal: ZF; greater: none; unordered: ZF, CF, PF.
 * Which of two numbers is less no host predicts: no jump. */
static void keep_fp(struct lp_x86 *x)
{
	struct lp_x86_fixup unordered;

	lp_x86_store_imm(x, 4, in_memory(0), LP_FLAG_V);
	unordered = lp_x86_jcc_forward_short(x, LP_CC_P);
	lp_x86_lahf(x);
	lp_x86_alu_sized(x, LP_ALU_SBB, 1, LP_RAX, lp_rm_reg(LP_RAX)); /* -1: less */
	lp_x86_alu_imm_sized(x, LP_ALU_AND, 1, lp_rm_reg(LP_RAX), 0x80);
	lp_x86_put16(x, 0xe008); /* or al, ah */
	lp_x86_store(x, 1, in_memory(1), LP_RAX);
	lp_x86_store_imm(x, 1, in_memory(0), 0);
	lp_x86_sahf(x);
	lp_x86_bind(x, unordered);
}

/* Of operands the other way round: less: none; equal: ZF; greater: CF. */
static void keep_fp_back(struct lp_x86 *x)
{
	static const struct {
		enum lp_x86_cc cc;
		uint32_t flags;
	} cases[] = {{LP_CC_P, LP_FLAG_V}, {LP_CC_A, LP_FLAG_N | LP_FLAG_NOT_C}, {LP_CC_E, LP_FLAG_Z}};
	struct lp_x86_fixup done[3];

	for (unsigned i = 0; i < 3; i++) {
		lp_x86_store_imm(x, 4, in_memory(0), (int32_t)cases[i].flags);
		done[i] = lp_x86_jcc_forward_short(x, cases[i].cc);
	}
	lp_x86_store_imm(x, 4, in_memory(0), 0);
	for (unsigned i = 0; i < 3; i++)
		lp_x86_bind(x, done[i]);
}

void lp_flags_keep(struct lp_tr *t)
{
	if (t->flags_kept || t->flags == LP_FLAGS_IN_MEMORY)
		return;
	if (t->flags == LP_FLAGS_FP)
		keep_fp(&t->x);
	else if (t->flags == LP_FLAGS_FP_BACK)
		keep_fp_back(&t->x);
	else
		keep_integer(&t->x, t->flags == LP_FLAGS_SUB);
	t->flags_kept = true;
}

/* Whether anybody asks, from the current instruction on, for the flags as they were before it. */
static bool is_wanted(const struct lp_tr *t)
{
	if (t->is_region)
		return t->insns[t->i].live;
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
	uint32_t flags = cpu->jit.flags;

	switch (kind) {
	case LP_FLAGS_IN_MEMORY:
		n = flags & LP_FLAG_N;
		z = flags & LP_FLAG_Z;
		c = !(flags & LP_FLAG_NOT_C);
		v = flags & LP_FLAG_V;
		break;
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

static struct lp_test of_sub(unsigned pair)
{
	static const uint8_t cc[] = {LP_CC_E, LP_CC_AE, LP_CC_S, LP_CC_O, LP_CC_A, LP_CC_GE, LP_CC_G};

	return (struct lp_test){cc[pair], 0};
}

/* From memory to EFLAGS. */
static void reload(struct lp_tr *t)
{
	struct lp_x86 *x = &t->x;

	lp_x86_movzx16(x, LP_RAX, in_memory(0));
	lp_x86_alu_imm_sized(x, LP_ALU_ADD, 1, lp_rm_reg(LP_RAX), 0x7f); /* 1 overflows; sahf leaves OF */
	lp_x86_sahf(x);
	t->flags = LP_FLAGS_SUB;
}

static struct lp_test of_memory(struct lp_tr *t, unsigned pair)
{
	static const struct {
		uint32_t flags;
		enum lp_x86_cc cc;
	} bits[] = {{LP_FLAG_Z, LP_CC_NE},
		    {LP_FLAG_NOT_C, LP_CC_E},
		    {LP_FLAG_N, LP_CC_NE},
		    {LP_FLAG_V, LP_CC_NE},
		    {LP_FLAG_NOT_C | LP_FLAG_Z, LP_CC_E}};
	uint32_t flags;

	if (pair >= sizeof bits / sizeof bits[0]) {
		reload(t);
		return of_sub(pair);
	}
	flags = bits[pair].flags;
	if (flags >> 8)
		lp_x86_test_imm_sized(&t->x, 1, in_memory(1), (int32_t)(flags >> 8));
	else
		lp_x86_test_imm_sized(&t->x, 1, in_memory(0), (int32_t)flags);
	return (struct lp_test){bits[pair].cc, 0};
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
	/* CF: the bit */
	lp_x86_bt_imm(x, LP_BIT_TEST, 0, in_memory(0), 8);
	if (!inverted)
		lp_x86_cmc(x);
}
