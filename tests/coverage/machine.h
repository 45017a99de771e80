/*
 * A few instructions at a time, executed by an emulator (libunicorn).
 *
 *     struct machine *m = machine_open(isa);
 *     machine_map(m, at, size);  machine_map_code(m, at, size);  machine_write(m, at, bytes, len);
 *     machine_shuffle(m, seed);                       // what every run begins with: registers, flags, stack
 *     struct run a = {.pc = from, .stay = {from, from + n}};
 *     machine_run(m, &a);                             // until the pc leaves a.stay
 *     ... another run; machine_differ(m, &a, &b) ...
 *     run_free(&a);
 *     machine_close(m);
 *
 * A run leaves memory as it was: what it wrote is in the run.  Every register
 * and every word of the stack points to memory that is mapped, or is a small
 * number.
 */
#ifndef LP_TESTS_COVERAGE_MACHINE_H
#define LP_TESTS_COVERAGE_MACHINE_H

#include "base/buf.h"
#include "isa/isa.h"

struct machine;

#define MACHINE_REGS 72

/* In an order of the machine's own, little endian, zeros behind the shorter ones. */
struct machine_state {
	uint8_t regs[MACHINE_REGS][16];
};

/* One byte of memory that a run wrote. */
struct touched {
	lp_addr at;
	uint8_t before, after;
};

enum run_end {
	RUN_LEFT,    /* the pc is outside; it may be where nothing is mapped */
	RUN_STOPPED, /* arrived at stop_at */
	RUN_FAULT,   /* the instruction at pc cannot be executed */
	RUN_ENDLESS,
};

struct run {
	lp_addr pc; /* in: first; out: last */
	struct lp_range stay;
	lp_addr stop_at; /* 0: nowhere */
	bool go_on;	 /* begin with what the last run ended with, memory and all */
	bool keep;	 /* leave memory as it is until the next run has begun */
	/* out */
	enum run_end end;
	struct machine_state state;
	LP_VEC(struct touched) memory; /* by address */
};

struct machine *machine_open(const struct lp_isa *isa);
void machine_close(struct machine *m);
/* Whole pages of data; what is executed there is a fault.  (What is not code may be more than the emulator can take.) */
void machine_map(struct machine *m, lp_addr at, size_t size);
/* The pages of this part are code. */
void machine_map_code(struct machine *m, lp_addr at, size_t size);
void machine_write(struct machine *m, lp_addr at, const void *bytes, size_t len);

void machine_shuffle(struct machine *m, uint64_t seed);
void machine_run(struct machine *m, struct run *r);
void run_free(struct run *r);

/* What the convention calls dead may differ. */
struct allowance {
	bool scratch_registers; /* those between functions */
	enum {
		DEAD_NOTHING,
		DEAD_BEYOND, /* below the red zone */
		DEAD_ALL,    /* below the stack pointer: at the entry of a function */
	} below_stack;
};

/* true, and what in `why`, when b did not do what a did. */
bool machine_differ(struct machine *m, const struct run *a, const struct run *b, struct allowance may,
		    struct lp_buf *why);

#endif
