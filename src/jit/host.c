/* What the host's CPU can do, and what of it is to be used. */
#include <cpuid.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/platform/x86.h>

#include "jit/private.h"

enum level { SSE4, AVX2, AVX512, NATIVE, NR_LEVELS };

static const char *const level_words[NR_LEVELS] = {"sse4", "avx2", "avx512", "native"};

static const struct {
	const char *word;
	unsigned bit;
	enum level level;
} features[] = {
#define HOST(id, word, level) {word, LP_HOST_##id, level},
#include "jit/host.def"
#undef HOST
};
enum { NR_FEATURES = sizeof features / sizeof features[0] };

/* ---- the CPU ---- */

/* As libc has found it when it started: in a virtual machine each CPUID is an exit to the host, of microseconds, and
 * __builtin_cpu_supports() has a constructor that makes ten. */
bool lp_host_can(void)
{
	return CPU_FEATURE_ACTIVE(SSE4_2) && CPU_FEATURE_ACTIVE(POPCNT);
}

static bool has_v3(void)
{
	return CPU_FEATURE_ACTIVE(AVX2) && CPU_FEATURE_ACTIVE(BMI1) && CPU_FEATURE_ACTIVE(BMI2) &&
	       CPU_FEATURE_ACTIVE(FMA) && CPU_FEATURE_ACTIVE(LZCNT);
}

/* What CPU_FEATURE_ACTIVE() does, which shifts a 1 into the sign for the highest bit of a register. */
static bool has_avx512vl(void)
{
	enum { BITS = 32, REGISTERS = 4, LEAF_BITS = BITS * REGISTERS };
	const struct cpuid_feature *leaf = __x86_get_cpuid_feature_leaf(x86_cpu_AVX512VL / LEAF_BITS);

	return leaf->active_array[x86_cpu_AVX512VL % LEAF_BITS / BITS] >> x86_cpu_AVX512VL % BITS & 1;
}

static bool has_avx512(void)
{
	return CPU_FEATURE_ACTIVE(AVX512F) && CPU_FEATURE_ACTIVE(AVX512BW) && CPU_FEATURE_ACTIVE(AVX512DQ) &&
	       has_avx512vl();
}

/* Intel's manual, volume 1, 13.4: in the standard format, which is the kernel's for signals. */
static unsigned ask_high_at(void)
{
	enum { XSAVE = 0xd, HIGH = 7, HIGH_SIZE = 16 * 64 };
	unsigned size, offset, c, d;

	return __get_cpuid_count(XSAVE, HIGH, &size, &offset, &c, &d) && size >= HIGH_SIZE ? offset : 0;
}

/* Not before it is needed: in a virtual machine CPUID is asked of the hypervisor, which takes some microseconds. */
unsigned lp_host_high_at(void)
{
	enum { KNOWN = 1 }; /* offsets are even */
	static atomic_uint known;
	unsigned at = atomic_load_explicit(&known, memory_order_relaxed);

	if (!at) {
		at = ask_high_at() | KNOWN;
		atomic_store_explicit(&known, at, memory_order_relaxed);
	}
	return at & ~(unsigned)KNOWN;
}

unsigned lp_host_usable(unsigned f)
{
	if (!(f & LP_HOST_V3))
		return 0;
	return f & LP_HOST_AVX512 ? f : f & ~(unsigned)(LP_HOST_VBMI | LP_HOST_BITALG | LP_HOST_VAES);
}

unsigned lp_host_features(void)
{
	unsigned f = 0;

	f |= has_v3() ? LP_HOST_V3 : 0;
	f |= CPU_FEATURE_ACTIVE(AES) ? LP_HOST_AES : 0;
	f |= CPU_FEATURE_ACTIVE(PCLMULQDQ) ? LP_HOST_PCLMUL : 0;
	f |= CPU_FEATURE_ACTIVE(VAES) && CPU_FEATURE_ACTIVE(VPCLMULQDQ) ? LP_HOST_VAES : 0;
	f |= CPU_FEATURE_ACTIVE(GFNI) ? LP_HOST_GFNI : 0;
	f |= CPU_FEATURE_ACTIVE(AVX512_VBMI) ? LP_HOST_VBMI : 0;
	f |= has_avx512() ? LP_HOST_AVX512 : 0;
	f |= CPU_FEATURE_ACTIVE(AVX512_BITALG) ? LP_HOST_BITALG : 0;
	f |= CPU_FEATURE_ACTIVE(SHA) ? LP_HOST_SHA : 0;
	return lp_host_usable(f);
}

/* ---- --host-cpu ---- */

static bool is_word(const char *text, size_t len, const char *word)
{
	return strlen(word) == len && !memcmp(text, word, len);
}

static unsigned bits_of_level(enum level level)
{
	unsigned bits = 0;

	for (size_t i = 0; i < NR_FEATURES; i++)
		if (features[i].level <= level)
			bits |= features[i].bit;
	return bits;
}

static enum level find_level(const char *text, size_t len)
{
	enum level level = SSE4;

	while (level < NR_LEVELS && !is_word(text, len, level_words[level]))
		level++;
	return level;
}

static unsigned find_feature(const char *text, size_t len)
{
	for (size_t i = 0; i < NR_FEATURES; i++)
		if (is_word(text, len, features[i].word))
			return features[i].bit;
	return 0;
}

static int refuse(struct lp_err *err, const char *whole, const char *what, size_t len)
{
	char known[128];

	lp_jit_host_words(~0U, known, sizeof known);
	return lp_fail(err, LP_EUSAGE,
		       "--host-cpu=%s: \"%.*s\" is not known; write sse4, avx2, avx512 or native, and behind that "
		       ",-FEATURE or ,+FEATURE of: %s",
		       whole, (int)len, what, known);
}

void lp_jit_host_words(unsigned bits, char *out, size_t size)
{
	size_t at = 0;

	snprintf(out, size, "none");
	for (size_t i = 0; i < NR_FEATURES && at < size; i++)
		if (bits & features[i].bit)
			at += (size_t)snprintf(out + at, size - at, "%s%s", at ? " " : "", features[i].word);
}

/* What is named has to be there; "native" is what is there, and so is what it is without something. */
static int check(const char *text, unsigned named, struct lp_err *err)
{
	unsigned missing = named & ~lp_host_features();
	char lacks[128], has[128];

	if (!missing)
		return 0;
	lp_jit_host_words(missing, lacks, sizeof lacks);
	lp_jit_host_words(lp_host_features(), has, sizeof has);
	return lp_fail(err, ENOTSUP, "--host-cpu=%s: this CPU, or what is left of it, has no %s; it has: %s", text,
		       lacks, has);
}

int lp_jit_host_parse(const char *text, unsigned *without, struct lp_err *err)
{
	size_t len = strcspn(text, ",");
	enum level level = find_level(text, len);
	unsigned wanted, named, bit;

	if (level == NR_LEVELS)
		return refuse(err, text, text, len);
	wanted = bits_of_level(level);
	named = level == NATIVE ? 0 : wanted;
	for (const char *at = text + len; *at; at += len) {
		at++;
		len = strcspn(at, ",");
		bit = len && (*at == '-' || *at == '+') ? find_feature(at + 1, len - 1) : 0;
		if (!bit)
			return refuse(err, text, at, len);
		wanted = *at == '+' ? wanted | bit : wanted & ~bit;
		named = *at == '+' ? named | bit : named & ~bit;
	}
	*without = bits_of_level(NATIVE) & ~wanted;
	return check(text, named, err);
}
