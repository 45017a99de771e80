/*
 * A program that changes its own code and tells nobody (no ic ivau, no isb), in several ways; for each, how often it got
 * the answer of older code, of 300.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ROUNDS = 300, CALLER = 64, LOOP = 128, CODE_SIZE = 4096 };
typedef long function(long);

static uint32_t answer(unsigned nr) /* mov w0, #nr */
{
	return 0x52800000 | nr << 5;
}

/* One that answers, one that calls it, and a loop that changes its first instruction half-way. */
static void write_code(uint32_t *code)
{
	static const uint32_t caller[] = {0xa9bf7bfd, 0x97ffffef, 0xa8c17bfd, 0xd65f03c0};
	static const uint32_t loop[] = {
		0xd2800001, /* mov x1, #0 */
		0x10000063, /* adr x3, . + 12 */
		0x52810424, /* mov w4, #0x0821 */
		0x72b22004, /* movk w4, #0x9100, lsl #16: add x1, x1, #2 */
		0x91000421, /* add x1, x1, #1 */
		0xf100c81f, /* cmp x0, #50 */
		0x54000041, /* b.ne . + 8 */
		0xb9000064, /* str w4, [x3] */
		0xf1000400, /* subs x0, x0, #1 */
		0x54ffff61, /* b.ne . - 20 */
		0xaa0103e0, /* mov x0, x1 */
		0xd65f03c0, /* ret */
	};

	code[0] = answer(0);
	code[1] = 0xd65f03c0;
	memcpy(code + CALLER / 4, caller, sizeof caller);
	memcpy(code + LOOP / 4, loop, sizeof loop);
}

static uint32_t *map(int prot, int flags, int fd)
{
	void *at = mmap(NULL, CODE_SIZE, prot, flags, fd, 0);
	return at == MAP_FAILED ? NULL : at;
}

static long call(const void *code, long arg)
{
	__asm__ volatile("" ::: "memory");
	return ((function *)code)(arg);
}

int main(void)
{
	enum { RWX = PROT_READ | PROT_WRITE | PROT_EXEC };
	uint32_t *plain = map(RWX, MAP_PRIVATE | MAP_ANONYMOUS, -1), *data, *code;
	unsigned stale[6] = {0};
	int file = memfd_create("code", 0), ends[2];
	uint32_t word;

	if (!plain || file < 0 || ftruncate(file, CODE_SIZE) || pipe(ends))
		return 2;
	write_code(plain);
	for (unsigned i = 1; i <= ROUNDS; i++) {
		*(volatile uint32_t *)plain = answer(i);
		stale[0] += call(plain, 0) != i;
		*(volatile uint32_t *)plain = answer(i + 1000);
		stale[1] += call(plain + CALLER / 4, 0) != i + 1000;
	}
	for (unsigned i = 1; i <= ROUNDS; i++) {
		word = answer(i);
		if (write(ends[1], &word, sizeof word) != sizeof word ||
		    read(ends[0], plain, sizeof word) != sizeof word)
			return 2;
		stale[2] += call(plain, 0) != i;
	}
	for (unsigned i = 1; i <= ROUNDS; i++) {
		write_code(plain);
		stale[3] += call(plain + LOOP / 4, 100) != 51 + 2 * 49;
	}
	data = map(PROT_READ | PROT_WRITE, MAP_SHARED, file);
	code = map(PROT_READ | PROT_EXEC, MAP_SHARED, file);
	if (!data || !code)
		return 2;
	write_code(data);
	for (unsigned i = 1; i <= ROUNDS; i++) {
		*(volatile uint32_t *)data = answer(i);
		stale[4] += call(code, 0) != i;
	}
	for (unsigned i = 1; i <= ROUNDS; i++) {
		mprotect(plain, CODE_SIZE, PROT_READ | PROT_EXEC);
		call(plain, 0);
		mprotect(plain, CODE_SIZE, RWX);
		*(volatile uint32_t *)plain = answer(i);
		stale[5] += call(plain, 0) != i;
	}
	printf("stored %u, called %u, read %u, in a loop %u, shared %u, protected %u\n", stale[0], stale[1], stale[2],
	       stale[3], stale[4], stale[5]);
	return 0;
}
