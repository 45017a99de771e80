/* What the host's CPU can do. */
#include <cpuid.h>

#include "jit/private.h"

enum { LZCNT = 1 << 5, SHA = 1 << 29 };

/* Compilers know most names; not all know these. */
static bool has_lzcnt(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(0x80000001, &a, &b, &c, &d) && c & LZCNT;
}

static bool has_sha(void)
{
	unsigned a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & SHA;
}

bool lp_host_can(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
	       __builtin_cpu_supports("fma") && has_lzcnt();
}

static bool has_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

unsigned lp_host_features(void)
{
	unsigned f = 0;

	f |= __builtin_cpu_supports("aes") ? LP_HOST_AES : 0;
	f |= __builtin_cpu_supports("pclmul") ? LP_HOST_PCLMUL : 0;
	f |= __builtin_cpu_supports("gfni") ? LP_HOST_GFNI : 0;
	f |= __builtin_cpu_supports("avx512vbmi") ? LP_HOST_VBMI : 0;
	f |= has_avx512() ? LP_HOST_AVX512 : 0;
	f |= has_avx512() && __builtin_cpu_supports("avx512bitalg") ? LP_HOST_BITALG : 0;
	f |= has_sha() ? LP_HOST_SHA : 0;
	return f;
}
