/* Ciphers, hashes, checksums and products of polynomials (emu/sem_crypto.c). */
#include "emu/hot.h"
#include "jit/emit.h"

#undef RD
#undef RN
#undef RM
#undef RA

enum { T0 = LP_V_SCRATCH, T1, T2 };

static bool has(const struct lp_tr *t, unsigned features)
{
	return (t->jit->host & features) == features;
}

static void vvv(struct lp_tr *t, enum lp_x86_vop op, unsigned to, unsigned a, unsigned b)
{
	lp_x86_vex(&t->x, op, 0, to, a, lp_rm_reg(b));
}
static void vvv_imm(struct lp_tr *t, enum lp_x86_vop op, unsigned to, unsigned a, unsigned b, unsigned imm)
{
	lp_x86_vex_imm(&t->x, op, 0, to, a, lp_rm_reg(b), imm);
}
static void shift(struct lp_tr *t, enum lp_x86_vop op, unsigned to, unsigned from, unsigned n)
{
	lp_x86_vex_shift(&t->x, op, 0, to, lp_rm_reg(from), n);
}
static void move(struct lp_tr *t, unsigned to, unsigned from)
{
	if (to != from)
		lp_x86_vex_rm(&t->x, LP_VMOVAPS, 0, to, lp_rm_reg(from));
}
/* Lanes of 32 bits, two bits each, from the lowest. */
static void lanes(struct lp_tr *t, unsigned to, unsigned from, unsigned order)
{
	lp_x86_vex_rm_imm(&t->x, LP_VPSHUFD, 0, to, lp_rm_reg(from), order);
}
static void zero(struct lp_tr *t, unsigned to)
{
	vvv(t, LP_VPXOR, to, to, to);
}

/* to = from, its lanes rotated to the right; both may be the same, `temp` is neither. */
static void rotate(struct lp_tr *t, unsigned is64, unsigned to, unsigned from, unsigned n, unsigned temp)
{
	if (has(t, LP_HOST_AVX512)) {
		shift(t, is64 ? LP_VPRORQ_IMM : LP_VPRORD_IMM, to, from, n);
		return;
	}
	shift(t, is64 ? LP_VPSLLQ_IMM : LP_VPSLLD_IMM, temp, from, (is64 ? 64 : 32) - n);
	shift(t, is64 ? LP_VPSRLQ_IMM : LP_VPSRLD_IMM, to, from, n);
	vvv(t, LP_VPOR, to, to, temp);
}

/* to ^= from, its lanes rotated to the right. */
static void xor_rotated(struct lp_tr *t, unsigned is64, unsigned to, unsigned from, unsigned n, unsigned temp)
{
	if (has(t, LP_HOST_AVX512)) {
		rotate(t, is64, temp, from, n, temp);
		vvv(t, LP_VPXOR, to, to, temp);
		return;
	}
	shift(t, is64 ? LP_VPSLLQ_IMM : LP_VPSLLD_IMM, temp, from, (is64 ? 64 : 32) - n);
	vvv(t, LP_VPXOR, to, to, temp);
	shift(t, is64 ? LP_VPSRLQ_IMM : LP_VPSRLD_IMM, temp, from, n);
	vvv(t, LP_VPXOR, to, to, temp);
}

/* The functions of the schedules of SHA-2: T1 = T0 rotated by n, and by m, and shifted by k. */
static void sigma(struct lp_tr *t, unsigned is64, unsigned n, unsigned m, unsigned k)
{
	shift(t, is64 ? LP_VPSRLQ_IMM : LP_VPSRLD_IMM, T1, T0, k);
	xor_rotated(t, is64, T1, T0, n, T2);
	xor_rotated(t, is64, T1, T0, m, T2);
}

/* ---- AES ---- */

/* What follows mixes the columns of v in place: done here as well. */
static bool takes_mix(struct lp_tr *t, enum lp_a64_op mix, unsigned v)
{
	const struct lp_insn *next = &t->insns[t->i + 1];
	uint32_t word = next->word;

	if (!lp_tr_goes_on(t, t->i) || next->op != mix || F(Rd) != v || F(Rn) != v)
		return false;
	lp_tr_took_next(t);
	return true;
}

/* The host's round without a key; the last one of a cipher mixes no columns. */
static bool aes_round(struct lp_tr *t, uint32_t word, enum lp_x86_vop whole, enum lp_x86_vop last, enum lp_a64_op mix)
{
	unsigned v = F(Rd), d, n;

	if (!has(t, LP_HOST_AES))
		return false;
	lp_v_low_unless(t, LP_HOST_VAES);
	d = lp_v_read(t, v);
	n = lp_v_read(t, F(Rn));
	vvv(t, LP_VPXOR, d, d, n);
	zero(t, T0);
	vvv(t, takes_mix(t, mix, v) ? whole : last, d, d, T0);
	lp_v_write(t, v, d);
	return true;
}

static bool aese(struct lp_tr *t, uint32_t word)
{
	return aes_round(t, word, LP_VAESENC, LP_VAESENCLAST, A64_OP_AESMC);
}
static bool aesd(struct lp_tr *t, uint32_t word)
{
	return aes_round(t, word, LP_VAESDEC, LP_VAESDECLAST, A64_OP_AESIMC);
}

/* The host mixes columns only in a whole round: what that does before is undone first. */
static bool aesmc(struct lp_tr *t, uint32_t word)
{
	unsigned n, d;

	if (!has(t, LP_HOST_AES))
		return false;
	lp_v_low_unless(t, LP_HOST_VAES);
	n = lp_v_read(t, F(Rn));
	d = lp_v_dest_last(t, F(Rd));
	zero(t, T0);
	vvv(t, LP_VAESDECLAST, d, n, T0);
	vvv(t, LP_VAESENC, d, d, T0);
	lp_v_write(t, F(Rd), d);
	return true;
}
static bool aesimc(struct lp_tr *t, uint32_t word)
{
	unsigned n, d;

	if (!has(t, LP_HOST_AES))
		return false;
	n = lp_v_read(t, F(Rn));
	d = lp_v_dest_last(t, F(Rd));
	lp_x86_vex_rm(&t->x, LP_VAESIMC, 0, d, lp_rm_reg(n));
	lp_v_write(t, F(Rd), d);
	return true;
}

/* ---- products of polynomials over {0, 1} ---- */

/* By Horner's scheme, from the highest bit: eight lanes of 16 bits. */
static bool pmull_8(struct lp_tr *t, uint32_t word)
{
	enum lp_x86_vop unpack = F(Q) ? LP_VPUNPCKHBW : LP_VPUNPCKLBW;
	unsigned n = lp_v_read(t, F(Rn)), m = lp_v_read(t, F(Rm)), d;

	zero(t, T2);
	vvv(t, unpack, T0, n, T2);
	vvv(t, unpack, T1, T2, m); /* its bits in turn are signs */
	d = lp_v_dest_last(t, F(Rd));
	for (unsigned bit = 0; bit < 8; bit++) {
		if (bit > 0) {
			vvv(t, LP_VPADDW, d, d, d);
			vvv(t, LP_VPADDW, T1, T1, T1);
		}
		shift(t, LP_VPSRAW_IMM, T2, T1, 15);
		vvv(t, LP_VPAND, bit > 0 ? T2 : d, T2, T0);
		if (bit > 0)
			vvv(t, LP_VPXOR, d, d, T2);
	}
	lp_v_write(t, F(Rd), d);
	return true;
}

/* ---- CRC-32 ---- */

/*
 * Bit i of a number is the coefficient of x to the power of 31 - i, as everywhere in this checksum.  P is the polynomial
 * with its coefficient of x^32, 33 bits.  Some q makes the lower N bits of q * P those of the data; what is above them
 * then is the remainder.  q is the data by the inverse of P, to N bits.  Both products are taken N bits up to 64, so that
 * those bits are the lower half and the remainder begins the upper one.
 */
static const uint64_t crc32_polynomial = UINT64_C(0x1db710641), crc32_inverse = UINT64_C(0xb4e5b025f7011641);

static bool crc32(struct lp_tr *t, uint32_t word, unsigned bits)
{
	struct lp_x86 *x = &t->x;
	struct lp_x86_rm factors;

	if (!has(t, LP_HOST_PCLMUL))
		return false;
	lp_x86_vex_rm(x, LP_VMOVD, 0, T0, lp_rm_reg(lp_x_read(t, lp_reads(F(Rn)), LP_RAX)));
	lp_x86_vex_rm(x, LP_VMOVQ_64, 0, T1, lp_rm_reg(lp_x_read(t, lp_reads(F(Rm)), LP_RAX)));
	vvv(t, LP_VPXOR, T1, T1, T0);
	if (bits < 64)
		shift(t, LP_VPSLLQ_IMM, T1, T1, 64 - bits);
	factors = lp_constant(t, crc32_inverse, crc32_polynomial);
	lp_x86_vex_imm(x, LP_VPCLMULQDQ, 0, T1, T1, factors, 0);
	lp_x86_vex_imm(x, LP_VPCLMULQDQ, 0, T1, T1, factors, 0x10);
	shift(t, LP_VPSRLDQ_IMM, T1, T1, 8);
	if (bits < 32) {
		shift(t, LP_VPSRLD_IMM, T0, T0, bits);
		vvv(t, LP_VPXOR, T1, T1, T0);
	}
	lp_x86_vex_to(x, LP_VMOVD_TO, 0, lp_rm_reg(LP_RAX), T1);
	lp_x_write(t, lp_writes(F(Rd)), LP_RAX);
	return true;
}

static bool crc32b(struct lp_tr *t, uint32_t word)
{
	return crc32(t, word, 8);
}
static bool crc32h(struct lp_tr *t, uint32_t word)
{
	return crc32(t, word, 16);
}
static bool crc32w(struct lp_tr *t, uint32_t word)
{
	return crc32(t, word, 32);
}
static bool crc32x(struct lp_tr *t, uint32_t word)
{
	return crc32(t, word, 64);
}

/* ---- SHA-1: the host has the lanes the other way round ---- */

enum { REVERSED = 0x1b };

/* Four rounds: rd is a, b, c, d; the lowest lane of rn e; rm the words of the schedule with the constant added, which the
 * host adds itself. */
static bool sha1_rounds(struct lp_tr *t, uint32_t word, unsigned function, uint32_t constant)
{
	const uint64_t both = UINT64_C(0x100000001);
	unsigned n, m, d;

	if (!has(t, LP_HOST_SHA))
		return false;
	d = lp_v_read(t, F(Rd));
	n = lp_v_read(t, F(Rn));
	m = lp_v_read(t, F(Rm));
	lp_x86_vex(&t->x, LP_VPSUBD, 0, T0, m, lp_constant(t, constant * both, constant * both));
	zero(t, T1);
	vvv_imm(t, LP_VPBLENDD, T1, T1, n, 1);
	vvv(t, LP_VPADDD, T0, T0, T1);
	lanes(t, T0, T0, REVERSED);
	lanes(t, T1, d, REVERSED);
	lp_x86_sha1rnds4(&t->x, T1, lp_rm_reg(T0), function);
	lanes(t, d, T1, REVERSED);
	lp_v_write(t, F(Rd), d);
	return true;
}

static bool sha1c(struct lp_tr *t, uint32_t word)
{
	return sha1_rounds(t, word, 0, 0x5a827999);
}
static bool sha1p(struct lp_tr *t, uint32_t word)
{
	return sha1_rounds(t, word, 1, 0x6ed9eba1);
}
static bool sha1m(struct lp_tr *t, uint32_t word)
{
	return sha1_rounds(t, word, 2, 0x8f1bbcdc);
}

static bool sha1h(struct lp_tr *t, uint32_t word)
{
	unsigned n = lp_v_read(t, F(Rn)), d = lp_v_dest_last(t, F(Rd));

	rotate(t, 0, T0, n, 2, T1);
	zero(t, T1);
	vvv_imm(t, LP_VPBLENDD, d, T1, T0, 1);
	lp_v_write(t, F(Rd), d);
	return true;
}

static bool sha1su0(struct lp_tr *t, uint32_t word)
{
	unsigned d = lp_v_read(t, F(Rd)), n = lp_v_read(t, F(Rn)), m = lp_v_read(t, F(Rm));

	vvv_imm(t, LP_VSHUFPD, T0, d, n, 1);
	vvv(t, LP_VPXOR, T0, T0, d);
	vvv(t, LP_VPXOR, d, T0, m);
	lp_v_write(t, F(Rd), d);
	return true;
}

/* The highest word needs the lowest of the result, rotated once more. */
static bool sha1su1(struct lp_tr *t, uint32_t word)
{
	unsigned d = lp_v_read(t, F(Rd)), n = lp_v_read(t, F(Rn));

	shift(t, LP_VPSRLDQ_IMM, T0, n, 4);
	vvv(t, LP_VPXOR, T0, T0, d);
	rotate(t, 0, d, T0, 31, T1);
	shift(t, LP_VPSLLDQ_IMM, T0, T0, 12);
	rotate(t, 0, T0, T0, 30, T1);
	vvv(t, LP_VPXOR, d, d, T0);
	lp_v_write(t, F(Rd), d);
	return true;
}

/* ---- SHA-256 ---- */

/* The host's registers are, from the top, a b e f and c d g h; the guest's d c b a and h g f e. */
enum { HALVES_ABEF = 0x11, HALVES_CDGH = 0xbb };

/*
 * Four rounds on x = a, b, c, d and y = e, f, g, h: T1 is a b e f then, T2 c d g h, which the rounds before may have left
 * there (t->v_rounds).  The host takes two words at a time, in xmm0, which is nobody's in a unit with such an instruction.
 */
static void sha256_rounds(struct lp_tr *t, unsigned x, unsigned y, unsigned words, bool are_there)
{
	if (!are_there) {
		vvv_imm(t, LP_VSHUFPS, T2, y, x, HALVES_CDGH);
		vvv_imm(t, LP_VSHUFPS, T1, y, x, HALVES_ABEF);
	}
	move(t, 0, words);
	lp_x86_sha(&t->x, LP_SHA256RNDS2, T2, lp_rm_reg(T1));
	lanes(t, 0, words, 0x0e);
	lp_x86_sha(&t->x, LP_SHA256RNDS2, T1, lp_rm_reg(T2));
}

/*
 * mov v2, v0; sha256h q0, q1, vm; sha256h2 q1, q2, vm: the same rounds, as the second instruction would overwrite what the
 * third one needs.
 */
static bool takes_other_rounds(struct lp_tr *t, uint32_t word)
{
	enum { MOV_V = 0x4ea01c00, SHA256H2 = 0x5e005000 };
	unsigned d = F(Rd), n = F(Rn), copy;
	uint32_t next, before;

	if (t->i == 0 || !lp_tr_goes_on(t, t->i - 1) || !lp_tr_goes_on(t, t->i) || d == n)
		return false;
	before = t->insns[t->i - 1].word;
	next = t->insns[t->i + 1].word;
	copy = before & 31;
	if (before != (MOV_V | d << 16 | d << 5 | copy) || copy == d || copy == n || F(Rm) == d ||
	    next != (SHA256H2 | F(Rm) << 16 | copy << 5 | n))
		return false;
	lp_tr_took_next(t);
	return true;
}

static bool sha256h(struct lp_tr *t, uint32_t word)
{
	unsigned n, m, d;

	if (!has(t, LP_HOST_SHA))
		return false;
	d = lp_v_read(t, F(Rd));
	n = lp_v_read(t, F(Rn));
	m = lp_v_read(t, F(Rm));
	sha256_rounds(t, d, n, m, t->v_rounds == (int)F(Rd) && t->v_rounds_y == (int)F(Rn));
	vvv_imm(t, LP_VSHUFPS, d, T1, T2, HALVES_CDGH);
	lp_v_write(t, F(Rd), d);
	t->v_rounds = -1;
	if (takes_other_rounds(t, word)) {
		vvv_imm(t, LP_VSHUFPS, n, T1, T2, HALVES_ABEF);
		lp_v_write(t, F(Rn), n);
		t->v_rounds = (int)F(Rd);
		t->v_rounds_y = (int)F(Rn);
	}
	return true;
}
static bool sha256h2(struct lp_tr *t, uint32_t word)
{
	unsigned n, m, d;

	if (!has(t, LP_HOST_SHA))
		return false;
	d = lp_v_read(t, F(Rd));
	n = lp_v_read(t, F(Rn));
	m = lp_v_read(t, F(Rm));
	sha256_rounds(t, n, d, m, false);
	vvv_imm(t, LP_VSHUFPS, d, T1, T2, HALVES_ABEF);
	lp_v_write(t, F(Rd), d);
	return true;
}

static bool sha256su0(struct lp_tr *t, uint32_t word)
{
	unsigned d = lp_v_read(t, F(Rd)), n = lp_v_read(t, F(Rn));

	if (has(t, LP_HOST_SHA)) {
		lp_x86_sha(&t->x, LP_SHA256MSG1, d, lp_rm_reg(n));
		lp_v_write(t, F(Rd), d);
		return true;
	}
	vvv_imm(t, LP_VPALIGNR, T0, n, d, 4);
	sigma(t, 0, 7, 18, 3);
	vvv(t, LP_VPADDD, d, d, T1);
	lp_v_write(t, F(Rd), d);
	return true;
}

static bool sha256su1(struct lp_tr *t, uint32_t word)
{
	unsigned d = lp_v_read(t, F(Rd)), n = lp_v_read(t, F(Rn)), m = lp_v_read(t, F(Rm));

	if (has(t, LP_HOST_SHA)) {
		vvv_imm(t, LP_VPALIGNR, T0, m, n, 4);
		vvv(t, LP_VPADDD, T0, T0, d);
		lp_x86_sha(&t->x, LP_SHA256MSG2, T0, lp_rm_reg(m));
		lp_v_write(t, F(Rd), T0);
		return true;
	}
	/* The two lower words; the upper ones need them. */
	shift(t, LP_VPSRLDQ_IMM, T0, m, 8);
	sigma(t, 0, 17, 19, 10);
	vvv_imm(t, LP_VPALIGNR, T0, m, n, 4);
	vvv(t, LP_VPADDD, T1, T1, T0);
	vvv(t, LP_VPADDD, d, d, T1);
	shift(t, LP_VPSLLDQ_IMM, T0, d, 8);
	sigma(t, 0, 17, 19, 10);
	vvv(t, LP_VPADDD, d, d, T1);
	lp_v_write(t, F(Rd), d);
	return true;
}

/* ---- SHA-512 ---- */

static struct lp_x86_rm lane64(unsigned v, unsigned lane)
{
	struct lp_x86_rm rm = lp_cpu_v(v);

	rm.disp += (int32_t)lane * 8;
	return rm;
}

/* rax = the sum of three rotations of rcx; rdx is overwritten. */
static void sum(struct lp_tr *t, unsigned n, unsigned m, unsigned k)
{
	lp_x86_rorx(&t->x, 1, LP_RAX, lp_rm_reg(LP_RCX), n);
	lp_x86_rorx(&t->x, 1, LP_RDX, lp_rm_reg(LP_RCX), m);
	lp_x86_alu(&t->x, LP_ALU_XOR, 1, LP_RAX, lp_rm_reg(LP_RDX));
	lp_x86_rorx(&t->x, 1, LP_RDX, lp_rm_reg(LP_RCX), k);
	lp_x86_alu(&t->x, LP_ALU_XOR, 1, LP_RAX, lp_rm_reg(LP_RDX));
}

/* rax += (rcx ? a : b), bit by bit, + c; rcx and rdx are overwritten. */
static void add_choice(struct lp_tr *t, struct lp_x86_rm a, struct lp_x86_rm b, struct lp_x86_rm c)
{
	lp_x86_andn(&t->x, 1, LP_RDX, LP_RCX, b);
	lp_x86_alu(&t->x, LP_ALU_AND, 1, LP_RCX, a);
	lp_x86_alu(&t->x, LP_ALU_ADD, 1, LP_RAX, c);
	lp_x86_alu(&t->x, LP_ALU_ADD, 1, LP_RDX, lp_rm_reg(LP_RCX)); /* no bit is in both */
	lp_x86_alu(&t->x, LP_ALU_ADD, 1, LP_RAX, lp_rm_reg(LP_RDX));
}

/* rax += what two of rcx, a and b have, bit by bit, + c; rcx and rdx are overwritten. */
static void add_majority(struct lp_tr *t, struct lp_x86_rm a, struct lp_x86_rm b, struct lp_x86_rm c)
{
	lp_x86_mov(&t->x, 1, LP_RDX, a);
	lp_x86_alu(&t->x, LP_ALU_XOR, 1, LP_RDX, b);
	lp_x86_alu(&t->x, LP_ALU_ADD, 1, LP_RAX, c);
	lp_x86_alu(&t->x, LP_ALU_XOR, 1, LP_RCX, b);
	lp_x86_alu(&t->x, LP_ALU_AND, 1, LP_RDX, lp_rm_reg(LP_RCX));
	lp_x86_alu(&t->x, LP_ALU_XOR, 1, LP_RDX, b);
	lp_x86_alu(&t->x, LP_ALU_ADD, 1, LP_RAX, lp_rm_reg(LP_RDX));
}

/* Rd = rax, and above it what T0 has below. */
static void write_pair(struct lp_tr *t, uint32_t word)
{
	unsigned d = lp_v_dest_last(t, F(Rd));

	lp_x86_vex_rm(&t->x, LP_VMOVQ_64, 0, T1, lp_rm_reg(LP_RAX));
	vvv(t, LP_VPUNPCKLQDQ, d, T1, T0);
	lp_v_write(t, F(Rd), d);
}

static void in_memory(struct lp_tr *t, uint32_t word)
{
	lp_v_store(t, F(Rd));
	lp_v_store(t, F(Rn));
	lp_v_store(t, F(Rm));
}

/* Two rounds each; the second one begins with what the first one made. */
static bool sha512h(struct lp_tr *t, uint32_t word)
{
	unsigned w = F(Rd), x = F(Rn), y = F(Rm);

	in_memory(t, word);
	lp_flags_clobber(t);
	lp_x86_mov(&t->x, 1, LP_RCX, lane64(y, 1));
	sum(t, 14, 18, 41);
	add_choice(t, lane64(x, 0), lane64(x, 1), lane64(w, 1));
	lp_x86_vex_rm(&t->x, LP_VMOVQ_64, 0, T0, lp_rm_reg(LP_RAX));
	lp_x86_mov(&t->x, 1, LP_RCX, lp_rm_reg(LP_RAX));
	lp_x86_alu(&t->x, LP_ALU_ADD, 1, LP_RCX, lane64(y, 0));
	sum(t, 14, 18, 41);
	add_choice(t, lane64(y, 1), lane64(x, 0), lane64(w, 0));
	write_pair(t, word);
	return true;
}
static bool sha512h2(struct lp_tr *t, uint32_t word)
{
	unsigned w = F(Rd), x = F(Rn), y = F(Rm);

	in_memory(t, word);
	lp_flags_clobber(t);
	lp_x86_mov(&t->x, 1, LP_RCX, lane64(y, 0));
	sum(t, 28, 34, 39);
	add_majority(t, lane64(x, 0), lane64(y, 1), lane64(w, 1));
	lp_x86_vex_rm(&t->x, LP_VMOVQ_64, 0, T0, lp_rm_reg(LP_RAX));
	lp_x86_mov(&t->x, 1, LP_RCX, lp_rm_reg(LP_RAX));
	sum(t, 28, 34, 39);
	add_majority(t, lane64(y, 0), lane64(y, 1), lane64(w, 0));
	write_pair(t, word);
	return true;
}

static bool sha512su0(struct lp_tr *t, uint32_t word)
{
	unsigned d = lp_v_read(t, F(Rd)), n = lp_v_read(t, F(Rn));

	vvv_imm(t, LP_VPALIGNR, T0, n, d, 8);
	sigma(t, 1, 1, 8, 7);
	vvv(t, LP_VPADDQ, d, d, T1);
	lp_v_write(t, F(Rd), d);
	return true;
}
static bool sha512su1(struct lp_tr *t, uint32_t word)
{
	unsigned d = lp_v_read(t, F(Rd)), n = lp_v_read(t, F(Rn)), m = lp_v_read(t, F(Rm));

	move(t, T0, n);
	sigma(t, 1, 19, 61, 6);
	vvv(t, LP_VPADDQ, T1, T1, m);
	vvv(t, LP_VPADDQ, d, d, T1);
	lp_v_write(t, F(Rd), d);
	return true;
}

/* ---- SHA-3 ---- */

static bool eor3(struct lp_tr *t, uint32_t word)
{
	unsigned n = lp_v_read(t, F(Rn)), m = lp_v_read(t, F(Rm)), a = lp_v_read(t, F(Ra)),
		 d = lp_v_dest_last(t, F(Rd));

	vvv(t, LP_VPXOR, T0, n, m);
	vvv(t, LP_VPXOR, d, T0, a);
	lp_v_write(t, F(Rd), d);
	return true;
}
static bool bcax(struct lp_tr *t, uint32_t word)
{
	unsigned n = lp_v_read(t, F(Rn)), m = lp_v_read(t, F(Rm)), a = lp_v_read(t, F(Ra)),
		 d = lp_v_dest_last(t, F(Rd));

	vvv(t, LP_VPANDN, T0, a, m);
	vvv(t, LP_VPXOR, d, T0, n);
	lp_v_write(t, F(Rd), d);
	return true;
}
static bool rax1(struct lp_tr *t, uint32_t word)
{
	unsigned n = lp_v_read(t, F(Rn)), m = lp_v_read(t, F(Rm)), d = lp_v_dest_last(t, F(Rd));

	rotate(t, 1, T0, m, 63, T1);
	vvv(t, LP_VPXOR, d, T0, n);
	lp_v_write(t, F(Rd), d);
	return true;
}
static bool xar(struct lp_tr *t, uint32_t word)
{
	unsigned n = lp_v_read(t, F(Rn)), m = lp_v_read(t, F(Rm)), d = lp_v_dest_last(t, F(Rd));

	vvv(t, LP_VPXOR, T0, n, m);
	rotate(t, 1, d, T0, F(imm6), T1);
	lp_v_write(t, F(Rd), d);
	return true;
}

const struct lp_emit_row lp_emit_crypto[] = {
	{A64_OP_AESE, aese},
	{A64_OP_AESD, aesd},
	{A64_OP_AESMC, aesmc},
	{A64_OP_AESIMC, aesimc},
	{A64_OP_PMULL_8, pmull_8},
	{A64_OP_CRC32B, crc32b},
	{A64_OP_CRC32H, crc32h},
	{A64_OP_CRC32W, crc32w},
	{A64_OP_CRC32X, crc32x},
	{A64_OP_SHA1C, sha1c},
	{A64_OP_SHA1P, sha1p},
	{A64_OP_SHA1M, sha1m},
	{A64_OP_SHA1H, sha1h},
	{A64_OP_SHA1SU0, sha1su0},
	{A64_OP_SHA1SU1, sha1su1},
	{A64_OP_SHA256H, sha256h},
	{A64_OP_SHA256H2, sha256h2},
	{A64_OP_SHA256SU0, sha256su0},
	{A64_OP_SHA256SU1, sha256su1},
	{A64_OP_SHA512H, sha512h},
	{A64_OP_SHA512H2, sha512h2},
	{A64_OP_SHA512SU0, sha512su0},
	{A64_OP_SHA512SU1, sha512su1},
	{A64_OP_EOR3, eor3},
	{A64_OP_BCAX, bcax},
	{A64_OP_RAX1, rax1},
	{A64_OP_XAR, xar},
	{0},
};
