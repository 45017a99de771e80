/*
 * Cryptographic instructions, put together to what they are for: the examples of
 * FIPS 197 and FIPS 180-4, and a product in GF(2^128)'s polynomials.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

static struct rig *rig_of_kind(bool plain)
{
	struct rig *r = rig_new();

	r->plain = plain;
	return r;
}

static void set(struct rig *r, unsigned reg, const char hex[33])
{
	for (int i = 0; i < 16; i++) {
		const char digits[3] = {hex[2 * i], hex[2 * i + 1], 0};
		r->cpu.vr[reg].b[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
}

static void assert_is(const struct rig *r, unsigned reg, const char hex[33])
{
	struct rig other;

	set(&other, 0, hex);
	assert_memory_equal(&r->cpu.vr[reg], &other.cpu.vr[0], 16);
}

/* FIPS 197, appendix B: the round keys, the input, the output. */
static void aes_encrypts_and_decrypts_the_example_of_its_standard(void **state)
{
	static const char *const keys[11] = {"2b7e151628aed2a6abf7158809cf4f3c", "a0fafe1788542cb123a339392a6c7605",
					     "f2c295f27a96b9435935807a7359f67f", "3d80477d4716fe3e1e237e446d7a883b",
					     "ef44a541a8525b7fb671253bdb0bad00", "d4d1c6f87c839d87caf2b8bc11f915bc",
					     "6d88a37a110b3efddbf98641ca0093fd", "4e54f70e5f5fc9f384a64fb24ea6dc4f",
					     "ead27321b58dbad2312bf5607f8d292f", "ac7766f319fadc2128d12941575c006e",
					     "d014f9a8c9ee2589e13f0cc8b6630ca6"};

	for (int plain = 0; plain < 2; plain++) {
		struct rig *r = rig_of_kind(plain);
		for (unsigned k = 0; k < 11; k++)
			set(r, 1 + k, keys[k]);
		set(r, 0, "3243f6a8885a308d313198a2e0370734");
		rig_run(r, "aese v0.16b, v1.16b; aesmc v0.16b, v0.16b; aese v0.16b, v2.16b; aesmc v0.16b, v0.16b;"
			   "aese v0.16b, v3.16b; aesmc v0.16b, v0.16b; aese v0.16b, v4.16b; aesmc v0.16b, v0.16b;"
			   "aese v0.16b, v5.16b; aesmc v0.16b, v0.16b; aese v0.16b, v6.16b; aesmc v0.16b, v0.16b;"
			   "aese v0.16b, v7.16b; aesmc v0.16b, v0.16b; aese v0.16b, v8.16b; aesmc v20.16b, v0.16b;"
			   "mov v0.16b, v20.16b; aese v0.16b, v9.16b; aesmc v0.16b, v0.16b;"
			   "aese v0.16b, v10.16b; eor v0.16b, v0.16b, v11.16b");
		assert_is(r, 0, "3925841d02dc09fbdc118597196a0b32");
		/* The equivalent inverse cipher: keys in between go through aesimc. */
		for (unsigned k = 1; k < 10; k++) {
			const uint32_t imc = 0x4e287800 | (1 + k) << 5 | (1 + k);
			rig_run_word(r, imc);
		}
		rig_run(r, "aesd v0.16b, v11.16b; aesimc v0.16b, v0.16b; aesd v0.16b, v10.16b; aesimc v0.16b, v0.16b;"
			   "aesd v0.16b, v9.16b; aesimc v0.16b, v0.16b; aesd v0.16b, v8.16b; aesimc v0.16b, v0.16b;"
			   "aesd v0.16b, v7.16b; aesimc v0.16b, v0.16b; aesd v0.16b, v6.16b; aesimc v0.16b, v0.16b;"
			   "aesd v0.16b, v5.16b; aesimc v0.16b, v0.16b; aesd v0.16b, v4.16b; aesimc v20.16b, v0.16b;"
			   "mov v0.16b, v20.16b; aesd v0.16b, v3.16b; aesimc v0.16b, v0.16b;"
			   "aesd v0.16b, v2.16b; eor v0.16b, v0.16b, v1.16b");
		assert_is(r, 0, "3243f6a8885a308d313198a2e0370734");
		rig_free(r);
	}
}

/* The message "abc" as the one block of 16 words. */
static void set_abc(struct rig *r, unsigned reg)
{
	memset(&r->cpu.vr[reg], 0, 4 * sizeof r->cpu.vr[0]);
	r->cpu.vr[reg].s[0] = 0x61626380;
	r->cpu.vr[reg + 3].s[3] = 24;
}

static void sha1_of_abc_is_that_of_its_standard(void **state)
{
	static const uint32_t constants[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
	static const uint32_t initial[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
	static const uint32_t digest[5] = {0xa9993e36, 0x4706816a, 0xba3e2571, 0x7850c26c, 0x9cd0d89d};
	static const char *const rounds[4] = {"sha1c q0, s1, v2.4s", "sha1p q0, s1, v2.4s", "sha1m q0, s1, v2.4s",
					      "sha1p q0, s1, v2.4s"};

	for (int plain = 0; plain < 2; plain++) {
		struct rig *r = rig_of_kind(plain);
		struct lp_cpu *cpu = &r->cpu;
		memcpy(cpu->vr[0].s, initial, 16);
		cpu->vr[1].s[0] = initial[4];
		set_abc(r, 4); /* v4 to v7 are the words to come */
		for (int i = 0; i < 20; i++) {
			for (int k = 0; k < 4; k++)
				cpu->vr[2].s[k] = cpu->vr[4].s[k] + constants[i / 5];
			rig_run(r, "sha1h s3, s0");
			rig_run(r, rounds[i / 5]);
			rig_run(r, "mov v1.16b, v3.16b; mov v8.16b, v4.16b; sha1su0 v8.4s, v5.4s, v6.4s;"
				   "sha1su1 v8.4s, v7.4s; mov v4.16b, v5.16b; mov v5.16b, v6.16b; mov v6.16b, v7.16b;"
				   "mov v7.16b, v8.16b");
		}
		for (int k = 0; k < 4; k++)
			assert_int_equal(cpu->vr[0].s[k] + initial[k], digest[k]);
		assert_int_equal(cpu->vr[1].s[0] + initial[4], digest[4]);
		rig_free(r);
	}
}

/* FIPS 180-4, 4.2.3: of the cube roots of the first 80 primes. */
static const uint64_t sha512_k[80] = {
	0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc, 0x3956c25bf348b538,
	0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118, 0xd807aa98a3030242, 0x12835b0145706fbe,
	0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2, 0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235,
	0xc19bf174cf692694, 0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
	0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5, 0x983e5152ee66dfab,
	0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4, 0xc6e00bf33da88fc2, 0xd5a79147930aa725,
	0x06ca6351e003826f, 0x142929670a0e6e70, 0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed,
	0x53380d139d95b3df, 0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
	0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30, 0xd192e819d6ef5218,
	0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8, 0x19a4c116b8d2d0c8, 0x1e376c085141ab53,
	0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8, 0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373,
	0x682e6ff3d6b2b8a3, 0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
	0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b, 0xca273eceea26619c,
	0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178, 0x06f067aa72176fba, 0x0a637dc5a2c898a6,
	0x113f9804bef90dae, 0x1b710b35131c471b, 0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc,
	0x431d67c49c100d4c, 0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
};

static void sha256_of_abc_is_that_of_its_standard(void **state)
{
	static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
					    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
	static const uint32_t digest[8] = {0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223,
					   0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad};

	for (int plain = 0; plain < 2; plain++) {
		struct rig *r = rig_of_kind(plain);
		struct lp_cpu *cpu = &r->cpu;
		memcpy(cpu->vr[0].s, initial, 16);
		memcpy(cpu->vr[1].s, initial + 4, 16);
		set_abc(r, 4);
		for (int i = 0; i < 16; i++) {
			for (int k = 0; k < 4; k++) /* its constants are the upper halves of SHA-512's */
				cpu->vr[2].s[k] = cpu->vr[4].s[k] + (uint32_t)(sha512_k[4 * i + k] >> 32);
			rig_run(r, "mov v3.16b, v0.16b; sha256h q0, q1, v2.4s; sha256h2 q1, q3, v2.4s;"
				   "mov v8.16b, v4.16b; sha256su0 v8.4s, v5.4s; sha256su1 v8.4s, v6.4s, v7.4s;"
				   "mov v4.16b, v5.16b; mov v5.16b, v6.16b; mov v6.16b, v7.16b; mov v7.16b, v8.16b");
		}
		for (int k = 0; k < 8; k++)
			assert_int_equal(cpu->vr[k / 4].s[k % 4] + initial[k], digest[k]);
		rig_free(r);
	}
}

static void sha512_of_abc_is_that_of_its_standard(void **state)
{
	static const uint64_t initial[8] = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b,
					    0xa54ff53a5f1d36f1, 0x510e527fade682d1, 0x9b05688c2b3e6c1f,
					    0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};
	static const uint64_t digest[8] = {0xddaf35a193617aba, 0xcc417349ae204131, 0x12e6fa4e89a97ea2,
					   0x0a9eeee64b55d39a, 0x2192992a274fc1a8, 0x36ba3c23a3feebbd,
					   0x454d4423643ce80e, 0x2a9ac94fa54ca49f};

	for (int plain = 0; plain < 2; plain++) {
		struct rig *r = rig_of_kind(plain);
		struct lp_cpu *cpu = &r->cpu;
		memcpy(cpu->vr[0].d, initial, sizeof initial);
		cpu->vr[8].d[0] = UINT64_C(0x6162638000000000); /* v8 to v15 are the words to come */
		cpu->vr[15].d[1] = 24;
		for (int i = 0; i < 40; i++) {
			for (int k = 0; k < 2; k++)
				cpu->vr[5].d[k] = cpu->vr[8].d[k] + sha512_k[2 * i + k];
			rig_run(r, "ext v5.16b, v5.16b, v5.16b, #8; ext v6.16b, v2.16b, v3.16b, #8;"
				   "ext v7.16b, v1.16b, v2.16b, #8; add v3.2d, v3.2d, v5.2d; sha512h q3, q6, v7.2d;"
				   "add v4.2d, v1.2d, v3.2d; sha512h2 q3, q1, v0.2d; mov v1.16b, v0.16b;"
				   "mov v0.16b, v3.16b; mov v3.16b, v2.16b; mov v2.16b, v4.16b");
			rig_run(r, "mov v16.16b, v8.16b; ext v5.16b, v12.16b, v13.16b, #8; sha512su0 v16.2d, v9.2d;"
				   "sha512su1 v16.2d, v15.2d, v5.2d; mov v8.16b, v9.16b; mov v9.16b, v10.16b;"
				   "mov v10.16b, v11.16b; mov v11.16b, v12.16b; mov v12.16b, v13.16b;"
				   "mov v13.16b, v14.16b; mov v14.16b, v15.16b; mov v15.16b, v16.16b");
		}
		for (int k = 0; k < 8; k++)
			assert_true(cpu->vr[k / 2].d[k % 2] + initial[k] == digest[k]);
		rig_free(r);
	}
}

static unsigned __int128 product(uint64_t a, uint64_t b)
{
	unsigned __int128 p = 0;

	for (int i = 0; i < 64; i++)
		p ^= (b >> i & 1) ? (unsigned __int128)a << i : 0;
	return p;
}

static void polynomials_are_multiplied_without_carries(void **state)
{
	uint64_t seed = 7;

	for (int plain = 0; plain < 2; plain++) {
		struct rig *r = rig_of_kind(plain);
		for (int n = 0; n < 200; n++) {
			for (int k = 0; k < 2; k++) {
				r->cpu.vr[1].d[k] = rig_interesting(&seed);
				r->cpu.vr[2].d[k] = rig_interesting(&seed);
			}
			rig_run(r, "pmull v3.1q, v1.1d, v2.1d; pmull2 v4.1q, v1.2d, v2.2d");
			assert_true(r->cpu.vr[3].q == product(r->cpu.vr[1].d[0], r->cpu.vr[2].d[0]));
			assert_true(r->cpu.vr[4].q == product(r->cpu.vr[1].d[1], r->cpu.vr[2].d[1]));
		}
		rig_free(r);
	}
}

static uint64_t to_the_right(uint64_t x, unsigned by)
{
	return by ? x >> by | x << (64 - by) : x;
}

static void the_helpers_of_sha3_mix_registers(void **state)
{
	uint64_t seed = 9;

	for (int plain = 0; plain < 2; plain++) {
		struct rig *r = rig_of_kind(plain);
		const union lp_vreg *v = r->cpu.vr;
		for (int i = 1; i < 4; i++)
			for (int k = 0; k < 2; k++)
				r->cpu.vr[i].d[k] = rig_random(&seed);
		rig_run(r, "eor3 v4.16b, v1.16b, v2.16b, v3.16b; bcax v5.16b, v1.16b, v2.16b, v3.16b;"
			   "rax1 v6.2d, v1.2d, v2.2d; xar v7.2d, v1.2d, v2.2d, #13; xar v8.2d, v1.2d, v2.2d, #0");
		for (int k = 0; k < 2; k++) {
			assert_true(v[4].d[k] == (v[1].d[k] ^ v[2].d[k] ^ v[3].d[k]));
			assert_true(v[5].d[k] == (v[1].d[k] ^ (v[2].d[k] & ~v[3].d[k])));
			assert_true(v[6].d[k] == (v[1].d[k] ^ to_the_right(v[2].d[k], 63)));
			assert_true(v[7].d[k] == to_the_right(v[1].d[k] ^ v[2].d[k], 13));
			assert_true(v[8].d[k] == (v[1].d[k] ^ v[2].d[k]));
		}
		rig_free(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(aes_encrypts_and_decrypts_the_example_of_its_standard),
		cmocka_unit_test(sha1_of_abc_is_that_of_its_standard),
		cmocka_unit_test(sha256_of_abc_is_that_of_its_standard),
		cmocka_unit_test(sha512_of_abc_is_that_of_its_standard),
		cmocka_unit_test(polynomials_are_multiplied_without_carries),
		cmocka_unit_test(the_helpers_of_sha3_mix_registers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
