#include <stdlib.h>
#include <sys/random.h>

#include "emu/access.h"
#include "emu/branch.h"
#include "emu/pauth.h"

/* ---- the algorithm ---- */

static uint64_t rotate(uint64_t value, unsigned by)
{
	return value << by | value >> (64 - by);
}

static void mix(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

static void absorb(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	mix(v);
	v[0] ^= word;
}

/* SipHash-1-3 (Aumasson, Bernstein) of two words. */
static uint64_t keyed_hash(const uint64_t key[2], uint64_t first, uint64_t second)
{
	uint64_t v[4] = {key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
			 key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573)};

	absorb(v, first);
	absorb(v, second);
	absorb(v, UINT64_C(16) << 56); /* the message's length */
	v[2] ^= 0xff;
	mix(v);
	mix(v);
	mix(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void lp_pauth_reset(struct lp_cpu *cpu, unsigned keys)
{
	for (unsigned i = 0; i < LP_NR_PAUTH_KEYS; i++)
		if (keys >> i & 1 && getrandom(cpu->pauth[i], sizeof cpu->pauth[i], 0) != sizeof cpu->pauth[i])
			abort();
}

/*
 * ---- pointers (DDI 0487: AddPAC, Auth, Strip) ----
 *
 * Addresses of 48 bits.  Bit 55 says which half of the address space it is: in the lower one, the user's, the top byte
 * is ignored (Linux sets TCR_EL1.TBI0 and not TBI1) and the code is in bits 54 to 48; in the upper one it is in bits
 * 63 to 56 as well.
 */

static bool is_upper(uint64_t pointer)
{
	return pointer >> 55 & 1;
}

static uint64_t code_mask(uint64_t pointer)
{
	return UINT64_C(0x7f) << 48 | (is_upper(pointer) ? UINT64_C(0xff) << 56 : 0);
}

static uint64_t stripped(uint64_t pointer)
{
	return is_upper(pointer) ? pointer | code_mask(pointer) : pointer & ~code_mask(pointer);
}

static uint64_t code_of(const struct lp_cpu *cpu, enum lp_pauth_key key, uint64_t pointer, uint64_t modifier)
{
	return keyed_hash(cpu->pauth[key], stripped(pointer), modifier) & code_mask(pointer);
}

/* A pointer that had something in the code's place cannot become a good one. */
static uint64_t sign(const struct lp_cpu *cpu, enum lp_pauth_key key, uint64_t pointer, uint64_t modifier)
{
	uint64_t code = code_of(cpu, key, pointer, modifier);

	if (pointer != stripped(pointer))
		code ^= UINT64_C(1) << (is_upper(pointer) ? 62 : 54);
	return (pointer & ~code_mask(pointer)) | code;
}

/* One that is not good becomes one that faults when used: two bits of the code say which sort of key it was. */
static uint64_t authenticate(const struct lp_cpu *cpu, enum lp_pauth_key key, uint64_t pointer, uint64_t modifier)
{
	uint64_t original = stripped(pointer), is_b = key == LP_PAUTH_IB || key == LP_PAUTH_DB;
	unsigned at = is_upper(pointer) ? 61 : 53;

	if ((pointer & code_mask(pointer)) == code_of(cpu, key, pointer, modifier))
		return original;
	return (original & ~(UINT64_C(3) << at)) | (1 + is_b) << at;
}

uint64_t lp_pauth_base(const struct lp_cpu *cpu, bool is_b, uint64_t pointer)
{
	return authenticate(cpu, is_b ? LP_PAUTH_DB : LP_PAUTH_DA, pointer, 0);
}

/* ---- on any register ---- */

#define CHANGE(row, rd, value)           \
	SEM(row)                         \
	{                                \
		uint64_t value_ = value; \
		SET_X(cpu, rd, value_);  \
		NEXT;                    \
	}

#define ON_REGISTER(function, key, with_modifier, without)                                          \
	CHANGE(with_modifier, u->rd, function(cpu, LP_PAUTH_##key, X(cpu, u->rd), XSP(cpu, u->rn))) \
	CHANGE(without, u->rd, function(cpu, LP_PAUTH_##key, X(cpu, u->rd), 0))
ON_REGISTER(sign, IA, pacia, paciza)
ON_REGISTER(sign, IB, pacib, pacizb)
ON_REGISTER(sign, DA, pacda, pacdza)
ON_REGISTER(sign, DB, pacdb, pacdzb)
ON_REGISTER(authenticate, IA, autia, autiza)
ON_REGISTER(authenticate, IB, autib, autizb)
ON_REGISTER(authenticate, DA, autda, autdza)
ON_REGISTER(authenticate, DB, autdb, autdzb)

CHANGE(xpaci, u->rd, stripped(X(cpu, u->rd)))
CHANGE(xpacd, u->rd, stripped(X(cpu, u->rd)))
CHANGE(pacga, u->rd, keyed_hash(cpu->pauth[LP_PAUTH_GA], X(cpu, u->rn), XSP(cpu, u->rm)) & ~UINT64_C(0xffffffff))

/* ---- hints: x30 or x17 ---- */

CHANGE(xpaclri, 30, stripped(cpu->x[30]))

#define ON_FIXED(function, key, z, sp, x1716)                                    \
	CHANGE(z, 30, function(cpu, LP_PAUTH_##key, cpu->x[30], 0))              \
	CHANGE(sp, 30, function(cpu, LP_PAUTH_##key, cpu->x[30], cpu->x[LP_SP])) \
	CHANGE(x1716, 17, function(cpu, LP_PAUTH_##key, cpu->x[17], cpu->x[16]))
ON_FIXED(sign, IA, paciaz, paciasp, pacia1716)
ON_FIXED(sign, IB, pacibz, pacibsp, pacib1716)
ON_FIXED(authenticate, IA, autiaz, autiasp, autia1716)
ON_FIXED(authenticate, IB, autibz, autibsp, autib1716)

/* ---- branches ---- */

#define AUTHENTIC(key, modifier) authenticate(cpu, LP_PAUTH_##key, X(cpu, u->rn), modifier)

#define JUMP(row, key, modifier)                                                      \
	SEM(row)                                                                      \
	{                                                                             \
		return lp_goto_typed(cpu, AUTHENTIC(key, modifier), lp_jump_type(u)); \
	}
JUMP(braa, IA, XSP(cpu, u->rd))
JUMP(brab, IB, XSP(cpu, u->rd))
JUMP(braaz, IA, 0)
JUMP(brabz, IB, 0)

#define CALL(row, key, modifier)                                  \
	SEM(row)                                                  \
	{                                                         \
		uint64_t target = AUTHENTIC(key, modifier);       \
		cpu->x[30] = u->pc + 4;                           \
		return lp_goto_typed(cpu, target, LP_BTYPE_CALL); \
	}
CALL(blraa, IA, XSP(cpu, u->rd))
CALL(blrab, IB, XSP(cpu, u->rd))
CALL(blraaz, IA, 0)
CALL(blrabz, IB, 0)

SEM(retaa)
{
	return lp_goto(cpu, authenticate(cpu, LP_PAUTH_IA, cpu->x[30], cpu->x[LP_SP]));
}

SEM(retab)
{
	return lp_goto(cpu, authenticate(cpu, LP_PAUTH_IB, cpu->x[30], cpu->x[LP_SP]));
}

/* ---- loads ---- */

/* imm9 with S10 in front, times eight. */
static uint64_t offset(const struct lp_uop *u)
{
	return (uint64_t)lp_signed_field(FIELD(S10) << 9 | FIELD(imm9), 0, 10) * 8;
}

#define AUTHENTIC_LOAD(row, key)                                                        \
	SEM(row)                                                                        \
	{                                                                               \
		uint64_t addr = authenticate(cpu, key, XSP(cpu, u->rn), 0) + offset(u); \
		if (lp_is_bad_base(cpu, u))                                             \
			return lp_bad_base(cpu, u);                                     \
		SET_X(cpu, u->rd, LOAD_u64(cpu, u, addr));                              \
		NEXT;                                                                   \
	}                                                                               \
	SEM(row##_pre)                                                                  \
	{                                                                               \
		uint64_t addr = authenticate(cpu, key, XSP(cpu, u->rn), 0) + offset(u); \
		if (lp_is_bad_base(cpu, u))                                             \
			return lp_bad_base(cpu, u);                                     \
		SET_X(cpu, u->rd, LOAD_u64(cpu, u, addr));                              \
		SET_XSP(cpu, u->rn, addr);                                              \
		NEXT;                                                                   \
	}
AUTHENTIC_LOAD(ldraa, LP_PAUTH_DA)
AUTHENTIC_LOAD(ldrab, LP_PAUTH_DB)
