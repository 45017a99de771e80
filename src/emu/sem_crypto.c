/*
 * Cryptographic instructions: AES (FIPS 197), SHA-1, SHA-256, SHA-512 (FIPS
 * 180-4), SHA-3's helpers and products of polynomials.
 *
 * Each is here as the manual has it; where the host's CPU has an instruction for
 * it, the chooser takes that.
 */
#include <immintrin.h>
#include <sys/platform/x86.h>

#include "emu/simd.h"

/* ---- AES: one round without the key, on a state of 16 bytes, column by column ---- */

static uint8_t gf_double(uint8_t x)
{
	return (uint8_t)(x << 1 ^ (x >> 7) * 0x1b);
}
static uint8_t gf_multiply(uint8_t x, uint8_t y)
{
	uint8_t product = 0;

	for (; y; y >>= 1, x = gf_double(x))
		if (y & 1)
			product ^= x;
	return product;
}
/* x to the 254th power: 0 stays 0. */
static uint8_t gf_inverse(uint8_t x)
{
	uint8_t power = x, result = 1;

	for (unsigned i = 1; i < 8; i++) {
		power = gf_multiply(power, power);
		result = gf_multiply(result, power);
	}
	return result;
}
static uint8_t rotated(uint8_t x, unsigned by)
{
	return (uint8_t)(x << by | x >> (8 - by));
}
static uint8_t substituted(uint8_t x)
{
	x = gf_inverse(x);
	return x ^ rotated(x, 1) ^ rotated(x, 2) ^ rotated(x, 3) ^ rotated(x, 4) ^ 0x63;
}
static uint8_t unsubstituted(uint8_t x)
{
	return gf_inverse(rotated(x, 1) ^ rotated(x, 3) ^ rotated(x, 6) ^ 0x05);
}

/* Row r of the state is rotated by r columns. */
VARIANT(aese_any)
{
	const union lp_vreg d = lp_get_v(cpu, u->rd, 1), n = lp_get_v(cpu, u->rn, 1);
	union lp_vreg r;

	for (unsigned i = 0; i < 16; i++)
		r.b[i] = substituted(d.b[(i + 4 * (i % 4)) % 16] ^ n.b[(i + 4 * (i % 4)) % 16]);
	lp_set_v(cpu, u->rd, r, 1);
	NEXT;
}
VARIANT(aesd_any)
{
	const union lp_vreg d = lp_get_v(cpu, u->rd, 1), n = lp_get_v(cpu, u->rn, 1);
	union lp_vreg r;

	for (unsigned i = 0; i < 16; i++)
		r.b[i] = unsubstituted(d.b[(i + 16 - 4 * (i % 4)) % 16] ^ n.b[(i + 16 - 4 * (i % 4)) % 16]);
	lp_set_v(cpu, u->rd, r, 1);
	NEXT;
}

/* Each column times a polynomial: its coefficients from the lowest. */
static const struct lp_uop *mix_columns(struct lp_cpu *cpu, const struct lp_uop *u, const uint8_t factor[4])
{
	const union lp_vreg n = lp_get_v(cpu, u->rn, 1);
	union lp_vreg r = {0};

	for (unsigned i = 0; i < 16; i++)
		for (unsigned k = 0; k < 4; k++)
			r.b[i] ^= gf_multiply(n.b[i / 4 * 4 + k], factor[(i + 4 - k) % 4]);
	lp_set_v(cpu, u->rd, r, 1);
	NEXT;
}
VARIANT(aesmc_any)
{
	return mix_columns(cpu, u, (const uint8_t[]){2, 1, 1, 3});
}
VARIANT(aesimc_any)
{
	return mix_columns(cpu, u, (const uint8_t[]){14, 9, 13, 11});
}

#define HOST_AES __attribute__((target("aes,sse4.1")))

/* The host mixes columns only in a whole round: what that does before is undone first. */
HOST_AES VARIANT(aesmc_host)
{
	const __m128i zero = _mm_setzero_si128();

	lp_set_q(cpu, u->rd, _mm_aesenc_si128(_mm_aesdeclast_si128(lp_get_q(cpu, u->rn), zero), zero));
	TAIL(u + 1);
}
HOST_AES VARIANT(aesimc_host)
{
	lp_set_q(cpu, u->rd, _mm_aesimc_si128(lp_get_q(cpu, u->rn)));
	TAIL(u + 1);
}

/* The next instruction mixes the columns of what this one writes, in place: together they are the host's round.  There
 * is a next uop: neither of them ends a block. */
static inline bool is_followed_by(const struct lp_uop *u, lp_uop_fn *mix)
{
	return u[1].run == mix && u[1].rd == u->rd && u[1].rn == u->rd;
}
HOST_AES VARIANT(aese_host)
{
	const __m128i state = _mm_xor_si128(lp_get_q(cpu, u->rd), lp_get_q(cpu, u->rn)), zero = _mm_setzero_si128();

	if (is_followed_by(u, aesmc_host)) {
		lp_set_q(cpu, u->rd, _mm_aesenc_si128(state, zero));
		TAIL(u + 2);
	}
	lp_set_q(cpu, u->rd, _mm_aesenclast_si128(state, zero));
	TAIL(u + 1);
}
HOST_AES VARIANT(aesd_host)
{
	const __m128i state = _mm_xor_si128(lp_get_q(cpu, u->rd), lp_get_q(cpu, u->rn)), zero = _mm_setzero_si128();

	if (is_followed_by(u, aesimc_host)) {
		lp_set_q(cpu, u->rd, _mm_aesdec_si128(state, zero));
		TAIL(u + 2);
	}
	lp_set_q(cpu, u->rd, _mm_aesdeclast_si128(state, zero));
	TAIL(u + 1);
}
#define BY_HOST(row, feature)                                                    \
	CHOOSER_ONLY(row, CPU_FEATURE_ACTIVE(feature) ? row##_host : row##_any); \
	PLAIN(row, row##_any)
BY_HOST(aese, AES);
BY_HOST(aesd, AES);
BY_HOST(aesmc, AES);
BY_HOST(aesimc, AES);

/* ---- products of polynomials over {0, 1} of 64 bits ---- */

static inline uint64_t half_of(const struct lp_cpu *cpu, const struct lp_uop *u, unsigned r)
{
	return cpu->vr[r].d[lp_by_q(u->word)];
}
VARIANT(pmull_64_any)
{
	const uint64_t a = half_of(cpu, u, u->rn), b = half_of(cpu, u, u->rm);
	union lp_vreg r = {0};

	for (unsigned k = 0; k < 64; k++)
		if (b >> k & 1)
			r.q ^= (unsigned __int128)a << k;
	lp_set_v(cpu, u->rd, r, 1);
	NEXT;
}
#define HOST_PMULL __attribute__((target("pclmul")))
HOST_PMULL VARIANT(pmull_64_host_0)
{
	lp_set_q(cpu, u->rd, _mm_clmulepi64_si128(lp_get_q(cpu, u->rn), lp_get_q(cpu, u->rm), 0x00));
	TAIL(u + 1);
}
HOST_PMULL VARIANT(pmull_64_host_1)
{
	lp_set_q(cpu, u->rd, _mm_clmulepi64_si128(lp_get_q(cpu, u->rn), lp_get_q(cpu, u->rm), 0x11));
	TAIL(u + 1);
}
CHOOSER_ONLY(pmull_64, !CPU_FEATURE_ACTIVE(PCLMULQDQ) ? pmull_64_any
		       : lp_by_q(word)		      ? pmull_64_host_1
						      : pmull_64_host_0);
PLAIN(pmull_64, pmull_64_any);

/* ---- SHA: what the host has ---- */

#define HOST_SHA __attribute__((target("sha,sse4.1")))

static bool host_has_sha(void)
{
	return CPU_FEATURE_ACTIVE(SHA) && CPU_FEATURE_ACTIVE(SSE4_1);
}
#define BY_HOST_SHA(row)                                            \
	CHOOSER_ONLY(row, host_has_sha() ? row##_host : row##_any); \
	PLAIN(row, row##_any)

/* ---- SHA-1 ---- */

static uint32_t rotl32(uint32_t x, unsigned by)
{
	return x << by | x >> (32 - by);
}
static uint32_t rotr32(uint32_t x, unsigned by)
{
	return rotl32(x, 32 - by);
}
static uint32_t choose32(uint32_t x, uint32_t y, uint32_t z)
{
	return ((y ^ z) & x) ^ z;
}
static uint32_t majority32(uint32_t x, uint32_t y, uint32_t z)
{
	return (x & y) | ((x | y) & z);
}
static uint32_t parity32(uint32_t x, uint32_t y, uint32_t z)
{
	return x ^ y ^ z;
}

/* Four rounds: rd is a, b, c, d; the lowest lane of rn e; rm the words of the schedule with the constant added.  The host
 * has a, and the first word, on top, and adds the constant itself; it wants the function's number in its code. */
static inline __m128i reversed_lanes(__m128i v)
{
	return _mm_shuffle_epi32(v, 0x1b);
}
#define SHA1_ROUNDS(row, function, number, constant)                                                              \
	VARIANT(row##_any)                                                                                        \
	{                                                                                                         \
		union lp_vreg x = lp_get_v(cpu, u->rd, 1);                                                        \
		const union lp_vreg w = lp_get_v(cpu, u->rm, 1);                                                  \
		uint32_t y = cpu->vr[u->rn].s[0];                                                                 \
		for (unsigned e = 0; e < 4; e++) {                                                                \
			const uint32_t t = function(x.s[1], x.s[2], x.s[3]);                                      \
			const uint32_t first = y + rotl32(x.s[0], 5) + t + w.s[e];                                \
			y = x.s[3];                                                                               \
			x.s[3] = x.s[2];                                                                          \
			x.s[2] = rotl32(x.s[1], 30);                                                              \
			x.s[1] = x.s[0];                                                                          \
			x.s[0] = first;                                                                           \
		}                                                                                                 \
		lp_set_v(cpu, u->rd, x, 1);                                                                       \
		TAIL(u + 1);                                                                                      \
	}                                                                                                         \
	HOST_SHA VARIANT(row##_host)                                                                              \
	{                                                                                                         \
		const __m128i w = _mm_sub_epi32(lp_get_q(cpu, u->rm), _mm_set1_epi32((int)(constant)));           \
		const __m128i e = _mm_cvtsi32_si128((int)cpu->vr[u->rn].s[0]);                                    \
		const __m128i abcd = reversed_lanes(lp_get_q(cpu, u->rd));                                        \
		lp_set_q(cpu, u->rd,                                                                              \
			 reversed_lanes(_mm_sha1rnds4_epu32(abcd, reversed_lanes(_mm_add_epi32(w, e)), number))); \
		TAIL(u + 1);                                                                                      \
	}                                                                                                         \
	BY_HOST_SHA(row)
SHA1_ROUNDS(sha1c, choose32, 0, 0x5a827999);
SHA1_ROUNDS(sha1p, parity32, 1, 0x6ed9eba1);
SHA1_ROUNDS(sha1m, majority32, 2, 0x8f1bbcdc);

VARIANT(sha1h_any)
{
	lp_set_d(cpu, u->rd, rotl32(cpu->vr[u->rn].s[0], 30));
	TAIL(u + 1);
}
CHOOSER(sha1h, sha1h_any);
VARIANT(sha1su0_any)
{
	const __m128i d = lp_get_q(cpu, u->rd), n = lp_get_q(cpu, u->rn);
	const __m128i two_on = _mm_castpd_si128(_mm_shuffle_pd(_mm_castsi128_pd(d), _mm_castsi128_pd(n), 1));

	lp_set_q(cpu, u->rd, _mm_xor_si128(_mm_xor_si128(two_on, d), lp_get_q(cpu, u->rm)));
	TAIL(u + 1);
}
CHOOSER(sha1su0, sha1su0_any);
VARIANT(sha1su1_any)
{
	const union lp_vreg d = lp_get_v(cpu, u->rd, 1), n = lp_get_v(cpu, u->rn, 1);
	union lp_vreg r;

	for (unsigned i = 0; i < 3; i++)
		r.s[i] = rotl32(d.s[i] ^ n.s[i + 1], 1);
	r.s[3] = rotl32(d.s[3], 1) ^ rotl32(d.s[0] ^ n.s[1], 2);
	lp_set_v(cpu, u->rd, r, 1);
	TAIL(u + 1);
}
CHOOSER(sha1su1, sha1su1_any);

/* ---- SHA-256 ---- */

/* Four rounds on x = a, b, c, d and y = e, f, g, h. */
static inline void sha256_rounds(union lp_vreg *x, union lp_vreg *y, union lp_vreg w)
{
	for (unsigned e = 0; e < 4; e++) {
		const uint32_t sigma1 = rotr32(y->s[0], 6) ^ rotr32(y->s[0], 11) ^ rotr32(y->s[0], 25);
		const uint32_t sigma0 = rotr32(x->s[0], 2) ^ rotr32(x->s[0], 13) ^ rotr32(x->s[0], 22);
		const uint32_t t = y->s[3] + sigma1 + choose32(y->s[0], y->s[1], y->s[2]) + w.s[e];
		const uint32_t a = t + sigma0 + majority32(x->s[0], x->s[1], x->s[2]);

		y->s[3] = y->s[2];
		y->s[2] = y->s[1];
		y->s[1] = y->s[0];
		y->s[0] = t + x->s[3];
		x->s[3] = x->s[2];
		x->s[2] = x->s[1];
		x->s[1] = x->s[0];
		x->s[0] = a;
	}
}
VARIANT(sha256h_any)
{
	union lp_vreg x = lp_get_v(cpu, u->rd, 1), y = lp_get_v(cpu, u->rn, 1);

	sha256_rounds(&x, &y, lp_get_v(cpu, u->rm, 1));
	lp_set_v(cpu, u->rd, x, 1);
	NEXT;
}
VARIANT(sha256h2_any)
{
	union lp_vreg x = lp_get_v(cpu, u->rn, 1), y = lp_get_v(cpu, u->rd, 1);

	sha256_rounds(&x, &y, lp_get_v(cpu, u->rm, 1));
	lp_set_v(cpu, u->rd, y, 1);
	NEXT;
}
VARIANT(sha256su0_any)
{
	const union lp_vreg d = lp_get_v(cpu, u->rd, 1), n = lp_get_v(cpu, u->rn, 1);
	union lp_vreg r;

	for (unsigned i = 0; i < 4; i++) {
		const uint32_t next = i < 3 ? d.s[i + 1] : n.s[0];
		r.s[i] = d.s[i] + (rotr32(next, 7) ^ rotr32(next, 18) ^ next >> 3);
	}
	lp_set_v(cpu, u->rd, r, 1);
	TAIL(u + 1);
}
VARIANT(sha256su1_any)
{
	const union lp_vreg n = lp_get_v(cpu, u->rn, 1), m = lp_get_v(cpu, u->rm, 1);
	union lp_vreg r = lp_get_v(cpu, u->rd, 1);

	for (unsigned i = 0; i < 4; i++) {
		const uint32_t two_back = i < 2 ? m.s[i + 2] : r.s[i - 2], seven_back = i < 3 ? n.s[i + 1] : m.s[0];
		r.s[i] += (rotr32(two_back, 17) ^ rotr32(two_back, 19) ^ two_back >> 10) + seven_back;
	}
	lp_set_v(cpu, u->rd, r, 1);
	TAIL(u + 1);
}

/* The host's registers are, from the top, a b e f and c d g h; two rounds at a time make the former from both. */
static inline __m128i halves(__m128i high, __m128i low, bool upper)
{
	const __m128 h = _mm_castsi128_ps(high), l = _mm_castsi128_ps(low);

	return _mm_castps_si128(upper ? _mm_shuffle_ps(l, h, _MM_SHUFFLE(2, 3, 2, 3))
				      : _mm_shuffle_ps(l, h, _MM_SHUFFLE(0, 1, 0, 1)));
}
struct sha256_pair {
	__m128i abef, cdgh;
};
HOST_SHA static inline struct sha256_pair sha256_host(__m128i x, __m128i y, __m128i w)
{
	const __m128i abef = halves(x, y, false), cdgh = halves(x, y, true);
	const __m128i after_two = _mm_sha256rnds2_epu32(cdgh, abef, w);

	return (struct sha256_pair){_mm_sha256rnds2_epu32(abef, after_two, _mm_shuffle_epi32(w, 0x0e)), after_two};
}
HOST_SHA VARIANT(sha256h_host)
{
	const struct sha256_pair r = sha256_host(lp_get_q(cpu, u->rd), lp_get_q(cpu, u->rn), lp_get_q(cpu, u->rm));

	lp_set_q(cpu, u->rd, halves(r.cdgh, r.abef, true));
	TAIL(u + 1);
}
HOST_SHA VARIANT(sha256h2_host)
{
	const struct sha256_pair r = sha256_host(lp_get_q(cpu, u->rn), lp_get_q(cpu, u->rd), lp_get_q(cpu, u->rm));

	lp_set_q(cpu, u->rd, halves(r.cdgh, r.abef, false));
	TAIL(u + 1);
}
HOST_SHA VARIANT(sha256su0_host)
{
	lp_set_q(cpu, u->rd, _mm_sha256msg1_epu32(lp_get_q(cpu, u->rd), lp_get_q(cpu, u->rn)));
	TAIL(u + 1);
}
HOST_SHA VARIANT(sha256su1_host)
{
	const __m128i n = lp_get_q(cpu, u->rn), m = lp_get_q(cpu, u->rm);
	const __m128i sum = _mm_add_epi32(lp_get_q(cpu, u->rd), _mm_alignr_epi8(m, n, 4));

	lp_set_q(cpu, u->rd, _mm_sha256msg2_epu32(sum, m));
	TAIL(u + 1);
}
BY_HOST_SHA(sha256h);
BY_HOST_SHA(sha256h2);
BY_HOST_SHA(sha256su0);
BY_HOST_SHA(sha256su1);

/* ---- SHA-512 ---- */

static uint64_t rotr64(uint64_t x, unsigned by)
{
	return by ? x >> by | x << (64 - by) : x;
}
static uint64_t majority64(uint64_t x, uint64_t y, uint64_t z)
{
	return (x & y) | ((x | y) & z);
}
static uint64_t sum1(uint64_t x)
{
	return rotr64(x, 14) ^ rotr64(x, 18) ^ rotr64(x, 41);
}
static uint64_t sum0(uint64_t x)
{
	return rotr64(x, 28) ^ rotr64(x, 34) ^ rotr64(x, 39);
}

VARIANT(sha512h_any)
{
	const union lp_vreg x = lp_get_v(cpu, u->rn, 1), y = lp_get_v(cpu, u->rm, 1);
	union lp_vreg w = lp_get_v(cpu, u->rd, 1);
	uint64_t t;

	w.d[1] += ((y.d[1] & x.d[0]) ^ (~y.d[1] & x.d[1])) + sum1(y.d[1]);
	t = w.d[1] + y.d[0];
	w.d[0] += ((t & y.d[1]) ^ (~t & x.d[0])) + sum1(t);
	lp_set_v(cpu, u->rd, w, 1);
	TAIL(u + 1);
}
VARIANT(sha512h2_any)
{
	const union lp_vreg x = lp_get_v(cpu, u->rn, 1), y = lp_get_v(cpu, u->rm, 1);
	union lp_vreg w = lp_get_v(cpu, u->rd, 1);

	w.d[1] += majority64(x.d[0], y.d[1], y.d[0]) + sum0(y.d[0]);
	w.d[0] += majority64(w.d[1], y.d[0], y.d[1]) + sum0(w.d[1]);
	lp_set_v(cpu, u->rd, w, 1);
	TAIL(u + 1);
}
VARIANT(sha512su0_any)
{
	const union lp_vreg w = lp_get_v(cpu, u->rd, 1), x = lp_get_v(cpu, u->rn, 1);
	const uint64_t next[2] = {w.d[1], x.d[0]};
	union lp_vreg r;

	for (unsigned i = 0; i < 2; i++)
		r.d[i] = w.d[i] + (rotr64(next[i], 1) ^ rotr64(next[i], 8) ^ next[i] >> 7);
	lp_set_v(cpu, u->rd, r, 1);
	TAIL(u + 1);
}
VARIANT(sha512su1_any)
{
	const union lp_vreg x = lp_get_v(cpu, u->rn, 1), y = lp_get_v(cpu, u->rm, 1);
	union lp_vreg r = lp_get_v(cpu, u->rd, 1);

	for (unsigned i = 0; i < 2; i++)
		r.d[i] += (rotr64(x.d[i], 19) ^ rotr64(x.d[i], 61) ^ x.d[i] >> 6) + y.d[i];
	lp_set_v(cpu, u->rd, r, 1);
	TAIL(u + 1);
}
CHOOSER(sha512h, sha512h_any);
CHOOSER(sha512h2, sha512h2_any);
CHOOSER(sha512su0, sha512su0_any);
CHOOSER(sha512su1, sha512su1_any);

/* ---- SHA-3: a is the fourth register ---- */

#define SHA3(row, expr)                                                                       \
	VARIANT(row##_any)                                                                    \
	{                                                                                     \
		const union lp_vreg n = lp_get_v(cpu, u->rn, 1), m = lp_get_v(cpu, u->rm, 1), \
				    a = lp_get_v(cpu, u->ra, 1);                              \
		union lp_vreg r;                                                              \
		(void)a;                                                                      \
		for (unsigned i = 0; i < 2; i++)                                              \
			r.d[i] = expr;                                                        \
		lp_set_v(cpu, u->rd, r, 1);                                                   \
		TAIL(u + 1);                                                                  \
	}                                                                                     \
	CHOOSER(row, row##_any);
SHA3(eor3, n.d[i] ^ m.d[i] ^ a.d[i]);
SHA3(bcax, n.d[i] ^ (m.d[i] & ~a.d[i]));
SHA3(rax1, n.d[i] ^ rotr64(m.d[i], 63));
SHA3(xar, rotr64(n.d[i] ^ m.d[i], u->word >> 10 & 63));
