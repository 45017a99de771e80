/*
 * A small AArch64 machine: as much of it as the functions in these examples
 * need.  It stands for the emulator whose memory livepatch.h changes.
 *
 *     struct guest g = {.memory = memory, .size = sizeof(memory), .base = 0x4000000};
 *     uint32_t answer = guest_call(&g, 0x4001000, argument);
 *
 * What an emulator owes the library is in guest_fetch(): it reads an
 * instruction by one load.  Several guests may run in the same memory, each in
 * a thread of its own.
 */
#ifndef GUEST_H
#define GUEST_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct guest {
	uint8_t *memory;
	size_t size;
	uint64_t base;	   /* address of memory[0] */
	uint64_t x[32];	   /* x[31] is the zero register */
	uint64_t pc, next; /* of the instruction that runs, of the one after it */
	bool n, z, c, v;
};

/* Where a function returns to when guest_call() called it: no memory is there. */
#define GUEST_CALLER UINT64_C(0xfffffffffffffff0)

static inline void guest_stop(const struct guest *g, const char *why)
{
	fprintf(stderr, "guest: %s at %#" PRIx64 "\n", why, g->pc);
	exit(1);
}

static inline void *guest_at(const struct guest *g, uint64_t addr, size_t len)
{
	if (addr - g->base > g->size || g->size - (addr - g->base) < len)
		guest_stop(g, "access outside of its memory");
	return g->memory + (addr - g->base);
}

/* One load, ordered after what its patch wrote before it: the old instruction or the new one, never half of each. */
static inline uint32_t guest_fetch(const struct guest *g)
{
	return __atomic_load_n((uint32_t *)guest_at(g, g->pc, 4), __ATOMIC_ACQUIRE);
}

/* ---- fields of an instruction ---- */

static inline uint32_t guest_bits(uint32_t word, unsigned at, unsigned count)
{
	return word >> at & ((UINT32_C(1) << count) - 1);
}

static inline int64_t guest_signed_bits(uint32_t word, unsigned at, unsigned count)
{
	uint32_t sign = UINT32_C(1) << (count - 1);

	return (int64_t)(guest_bits(word, at, count) ^ sign) - (int64_t)sign;
}

/* Half of the registers' names mean 32 bits. */
static inline uint64_t guest_width(uint32_t word, uint64_t value)
{
	return word >> 31 ? value : (uint32_t)value;
}

static inline void guest_set(struct guest *g, unsigned reg, uint64_t value)
{
	if (reg != 31)
		g->x[reg] = value;
}

static inline bool guest_condition(const struct guest *g, unsigned cond)
{
	const bool holds[] = {g->z, g->c, g->n, g->v, g->c && !g->z, g->n == g->v, g->n == g->v && !g->z, true};

	return holds[cond >> 1] != (cond & 1) || cond == 15;
}

/* ---- instructions ---- */

static inline void guest_nop(struct guest *g, uint32_t word)
{
	(void)g, (void)word;
}

static inline void guest_move(struct guest *g, uint32_t word) /* movn, movz, movk */
{
	unsigned rd = guest_bits(word, 0, 5), shift = 16 * guest_bits(word, 21, 2), kind = guest_bits(word, 29, 2);
	uint64_t value = (uint64_t)guest_bits(word, 5, 16) << shift;

	if (kind == 3)
		value |= g->x[rd] & ~(UINT64_C(0xffff) << shift);
	guest_set(g, rd, guest_width(word, kind == 0 ? ~value : value));
}

static inline void guest_add(struct guest *g, uint32_t word, uint64_t operand) /* add, sub, adds, subs */
{
	uint64_t a = guest_width(word, g->x[guest_bits(word, 5, 5)]), b = guest_width(word, operand);
	bool subtract = guest_bits(word, 30, 1);
	uint64_t sum = guest_width(word, subtract ? a - b : a + b);
	unsigned top = word >> 31 ? 63 : 31;

	guest_set(g, guest_bits(word, 0, 5), sum);
	if (!guest_bits(word, 29, 1))
		return;
	g->n = sum >> top & 1;
	g->z = sum == 0;
	g->c = subtract ? a >= b : sum < a;
	g->v = ((subtract ? a ^ b : ~(a ^ b)) & (a ^ sum)) >> top & 1;
}

static inline void guest_add_immediate(struct guest *g, uint32_t word)
{
	guest_add(g, word, (uint64_t)guest_bits(word, 10, 12) << (12 * guest_bits(word, 22, 1)));
}

static inline void guest_add_register(struct guest *g, uint32_t word)
{
	guest_add(g, word, g->x[guest_bits(word, 16, 5)] << guest_bits(word, 10, 6));
}

static inline void guest_multiply(struct guest *g, uint32_t word) /* madd */
{
	uint64_t product = g->x[guest_bits(word, 5, 5)] * g->x[guest_bits(word, 16, 5)];

	guest_set(g, guest_bits(word, 0, 5), guest_width(word, g->x[guest_bits(word, 10, 5)] + product));
}

static inline void guest_select(struct guest *g, uint32_t word) /* csel */
{
	unsigned from = guest_condition(g, guest_bits(word, 12, 4)) ? guest_bits(word, 5, 5) : guest_bits(word, 16, 5);

	guest_set(g, guest_bits(word, 0, 5), guest_width(word, g->x[from]));
}

static inline void guest_load_byte(struct guest *g, uint32_t word) /* ldrb w, [x, w, uxtw] */
{
	uint64_t addr = g->x[guest_bits(word, 5, 5)] + (uint32_t)g->x[guest_bits(word, 16, 5)];

	guest_set(g, guest_bits(word, 0, 5), *(uint8_t *)guest_at(g, addr, 1));
}

static inline void guest_load_literal(struct guest *g, uint32_t word) /* ldr x, label */
{
	uint64_t value;

	memcpy(&value, guest_at(g, g->pc + guest_signed_bits(word, 5, 19) * 4, 8), 8);
	guest_set(g, guest_bits(word, 0, 5), value);
}

static inline void guest_adr(struct guest *g, uint32_t word)
{
	int64_t offset = guest_signed_bits(word, 5, 19) * 4 + guest_bits(word, 29, 2);

	guest_set(g, guest_bits(word, 0, 5), g->pc + offset);
}

static inline void guest_b(struct guest *g, uint32_t word) /* b, bl */
{
	if (word >> 31)
		g->x[30] = g->next;
	g->next = g->pc + guest_signed_bits(word, 0, 26) * 4;
}

static inline void guest_b_cond(struct guest *g, uint32_t word)
{
	if (guest_condition(g, guest_bits(word, 0, 4)))
		g->next = g->pc + guest_signed_bits(word, 5, 19) * 4;
}

static inline void guest_cbz(struct guest *g, uint32_t word) /* cbz, cbnz */
{
	bool zero = guest_width(word, g->x[guest_bits(word, 0, 5)]) == 0;

	if (zero != guest_bits(word, 24, 1))
		g->next = g->pc + guest_signed_bits(word, 5, 19) * 4;
}

static inline void guest_br(struct guest *g, uint32_t word) /* br, blr, ret */
{
	uint64_t target = g->x[guest_bits(word, 5, 5)];

	if (guest_bits(word, 21, 2) == 1)
		g->x[30] = g->next;
	g->next = target;
}

static inline void guest_step(struct guest *g)
{
	static const struct {
		uint32_t mask, bits;
		void (*run)(struct guest *g, uint32_t word);
	} instructions[] = {
		{0xffffffff, 0xd503201f, guest_nop},
		{0x7f800000, 0x12800000, guest_move}, /* movn */
		{0x5f800000, 0x52800000, guest_move}, /* movz, movk */
		{0x1f800000, 0x11000000, guest_add_immediate},
		{0x1fe00000, 0x0b000000, guest_add_register}, /* shifted left */
		{0x7fe08000, 0x1b000000, guest_multiply},
		{0x7fe00c00, 0x1a800000, guest_select},
		{0xffe0fc00, 0x38604800, guest_load_byte},
		{0xff000000, 0x58000000, guest_load_literal},
		{0x9f000000, 0x10000000, guest_adr},
		{0x7c000000, 0x14000000, guest_b},
		{0xff000010, 0x54000000, guest_b_cond},
		{0x7e000000, 0x34000000, guest_cbz},
		{0xff9ffc1f, 0xd61f0000, guest_br},
	};
	uint32_t word = guest_fetch(g);

	g->next = g->pc + 4;
	for (size_t i = 0; i < sizeof(instructions) / sizeof(*instructions); i++) {
		if ((word & instructions[i].mask) != instructions[i].bits)
			continue;
		instructions[i].run(g, word);
		g->pc = g->next;
		return;
	}
	guest_stop(g, "an instruction that this small machine does not have");
}

/* Calls the function at addr with one argument; what it answers. */
static inline uint32_t guest_call(struct guest *g, uint64_t addr, uint32_t argument)
{
	g->x[0] = argument;
	g->x[30] = GUEST_CALLER;
	g->pc = addr;
	for (unsigned steps = 0; g->pc != GUEST_CALLER; steps++) {
		if (steps == 10000)
			guest_stop(g, "no end in sight");
		guest_step(g);
	}
	return (uint32_t)g->x[0];
}

/* Puts code into the guest's memory before it runs. */
static inline void guest_store(struct guest *g, uint64_t addr, const void *code, size_t len)
{
	memcpy(guest_at(g, addr, len), code, len);
}

#endif
