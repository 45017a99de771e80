/*
 * Replacements that change every register that a callee may change, and
 * answer 41: with the caller's own 1 that makes 42.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TRASH                                                                                                     \
	"mov $-1, %%rcx\n mov %%rcx, %%rdx\n mov %%rcx, %%rsi\n mov %%rcx, %%rdi\n mov %%rcx, %%r8\n mov %%rcx, " \
	"%%r9\n"                                                                                                  \
	"mov %%rcx, %%r10\n mov %%rcx, %%r11\n"                                                                   \
	"pcmpeqd %%xmm0, %%xmm0\n movaps %%xmm0, %%xmm1\n movaps %%xmm0, %%xmm2\n movaps %%xmm0, %%xmm3\n"        \
	"movaps %%xmm0, %%xmm4\n movaps %%xmm0, %%xmm5\n movaps %%xmm0, %%xmm6\n movaps %%xmm0, %%xmm7\n"         \
	"movaps %%xmm0, %%xmm8\n movaps %%xmm0, %%xmm9\n movaps %%xmm0, %%xmm10\n movaps %%xmm0, %%xmm11\n"       \
	"movaps %%xmm0, %%xmm12\n movaps %%xmm0, %%xmm13\n movaps %%xmm0, %%xmm14\n movaps %%xmm0, %%xmm15\n"

#define TRASHED                                                                                                       \
	"rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", \
		"xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc"

int new_leaf(void)
{
	int result = 41;

	__asm__ volatile(TRASH : "+a"(result) : : TRASHED);
	return result;
}

#ifdef __AVX__
int new_wide(void)
{
	int result = 41;

	__asm__ volatile("vzeroall" : "+a"(result) : : TRASHED);
	return result;
}
#endif

/* Changes only what the old function does, too. */
__attribute__((naked)) int new_modest(void)
{
	__asm__("mov $41, %eax\n ret");
}

long new_stack(long a, long b, long c, long d, long e, long f, long g)
{
	long result = g + 35;

	__asm__ volatile(TRASH : "+a"(result) : : TRASHED);
	return result;
}

int new_blocking(void)
{
	char c;

	if (write(STDOUT_FILENO, "inside\n", 7) != 7)
		return 0;
	while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
		;
	return new_leaf();
}
