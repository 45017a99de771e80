// What gcc makes of a function: without an argument, for one value of it, or in two parts; and callers that stay as they are.
// flags: -O2
// compiler: gcc
// expect: function-changed second_of.isra.0
// expect: function-changed power.constprop.0
// expect: function-changed tell.part.0
#include <stdio.h>

struct pair {
	int a, b;
};

/* Only p->b is needed, so that is what second_of.isra.0 takes. */
static __attribute__((noinline)) int second_of(struct pair *p)
{
#ifdef AFTER
	return p->b * 5 + 1;
#else
	return p->b * 5 + 2;
#endif
}

/* by is always 7: power.constprop.0 does without it. */
static __attribute__((noinline)) int power(int x, int by)
{
	int all = 1;

	for (int i = 0; i < by; i++)
#ifdef AFTER
		all = all * x + 3;
#else
		all = all * x + 4;
#endif
	return all;
}

/* The question is taken into the callers, and tell.part.0 is the rest. */
static void tell(int x)
{
	if (__builtin_expect(x < 1000, 1))
		return;
	for (int i = 0; i < x; i++) {
		printf("%d of %d\n", i, x);
#ifdef AFTER
		puts("and on");
#else
		puts("and off");
#endif
		for (int k = 0; k < i; k++)
			printf("%d %d\n", k, i);
		puts("done");
	}
	fflush(stdout);
}

__attribute__((noipa)) int one(struct pair *p)
{
	tell(p->a);
	return second_of(p) + power(p->a, 7);
}

__attribute__((noipa)) int two(struct pair *p)
{
	tell(p->b);
	return second_of(p + 1) * power(p->b, 7);
}

int main(int argc, char **argv)
{
	struct pair p[3] = {{argc, 2}, {3, argc}};

	(void)argv;
	tell(argc);
	return one(p) + two(p);
}
