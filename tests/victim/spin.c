/*
 * Threads that check their own arithmetic: general, SSE and flag state that a
 * careless borrower would spoil.  A thread that finds itself wrong aborts.
 *
 *     spin [THREADS]
 */
#include "victim.h"

static void *spin(void *arg)
{
	struct victim_slot *slot = arg;
	uint64_t a = 1, b = 2, c = 3, d = 4, x = 5, y = 6;
	double f = 1.5, g = 2.25;
	for (;;) {
		uint64_t seed = slot->beats + 1;
		a = seed;
		b = a * 3;
		c = b ^ 0x5555;
		d = c + a;
		x = d * 7;
		y = x - b;
		f = (double)(seed & 0xffff) + 0.5;
		g = f * 4.0;
		/* Every value goes through a register that the compiler must take as live across the loop of nops. */
		for (int i = 0; i < 50; i++)
			__asm__ volatile(""
					 : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(x), "+r"(y), VICTIM_FP(f),
					   VICTIM_FP(g)::"cc");
		victim_check(slot,
			     a == seed && b == seed * 3 && c == ((seed * 3) ^ 0x5555) && d == c + a && x == d * 7 &&
				     y == x - b && f == (double)(seed & 0xffff) + 0.5 && g == f * 4.0,
			     "a register changed under us");
		slot->beats++;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	return victim_run(argc > 1 ? atoi(argv[1]) : 1, spin);
}
