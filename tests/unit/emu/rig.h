/*
 * A few instructions, executed on a cpu without an emulator around it.
 *
 *     struct rig *r = rig_new();
 *     r->cpu.x[1] = 5;
 *     rig_run(r, "add x0, x1, #2; svc #0");      // LP_LEAVE_SVC; r->cpu.x[0] is 7
 *     rig_run(r, "ldr x0, [x1]");                // LP_LEAVE_FAULT; r->cpu.fault is SIGSEGV at 5
 *     rig_free(r);
 *
 * The code stands at RIG_PC as far as it is concerned.  Branches within it work, and so do loops; whatever goes
 * elsewhere ends it with LP_LEAVE_LOOKUP and cpu.pc at where it was going, also the end of the code.  Direct data
 * accesses go to host memory: rig_new() maps some at r->data, with nothing behind it and nothing before it.
 *
 * It stands in for block.c (lp_slot_of, lp_block_icache_line) and for what catches host faults.
 */
#ifndef RIG_H
#define RIG_H

#include "emu/emu.h"

enum { RIG_PC = 0x10000, RIG_DATA_SIZE = 4096, RIG_MAX = 256 /* instructions */ };

struct rig {
	struct lp_cpu cpu;
	uint8_t *data;	      /* RIG_DATA_SIZE bytes, page-aligned */
	bool plain;	      /* the rows' own functions, never the specialised ones */
	uint64_t icache_line; /* the last that `ic ivau` named; 0: none */
	uint64_t depth; /* of the stack, where the code was left: the same for all functions that go on by jumps */
	struct lp_emu emu;
	struct lp_uop uops[RIG_MAX + 1];
	size_t nr;
	struct lp_slot *slots;
};

/* All registers, flags and memory zero; mxcsr as the process has it.  One at a time may run in a thread. */
struct rig *rig_new(void);
void rig_free(struct rig *r);

/* Assembles and executes; fails the test when the assembler refuses.  Returns cpu.leave. */
enum lp_leave rig_run(struct rig *r, const char *text);
enum lp_leave rig_run_words(struct rig *r, const uint32_t *words, size_t nr);
enum lp_leave rig_run_word(struct rig *r, uint32_t word);

/* The first instruction of the text. */
uint32_t rig_word(const char *text);

/* A reproducible stream of numbers: *state is any seed but 0. */
uint64_t rig_random(uint64_t *state);
/* Mostly extremes and their neighbours, else anything: what finds mistakes in integer instructions. */
uint64_t rig_interesting(uint64_t *state);

#endif
