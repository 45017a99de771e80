/* Functions with difficult beginnings; see self_victims.S. */
#ifndef SELF_VICTIMS_H
#define SELF_VICTIMS_H

#define SELF_VICTIMS(X) X(push) X(line) X(page) X(landing) X(short) X(hop) X(branch) X(wide) X(call) X(special)

#define SELF_VICTIM_DECLARE(name) int victim_##name(int);
SELF_VICTIMS(SELF_VICTIM_DECLARE)

int victim_helper(int);
#ifdef __x86_64__
/* The latter come into the former behind its first instruction, and return one more. */
int victim_joined(int), victim_enters(int);
int victim_joined_far(int), victim_enters_far(int);
int victim_joined_tight(int), victim_enters_tight(int);
#endif
int victim_back(int);			    /* comes back to its second instruction */
int victim_fault(int x, const long *cell);  /* its second instruction reads *cell */
int victim_loop(const volatile int *until); /* loops in the middle of its first instructions */
void victim_trap(void);			    /* a breakpoint */
extern const char victim_fault_end[], victim_loop_end[];

#endif
