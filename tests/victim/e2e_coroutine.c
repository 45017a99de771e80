/* Runs on a stack that malloc gave it, with everything else of the heap below it, and keeps a pointer there. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

typedef int callback(int);
callback **kept; /* what it points to is older, and so lower, than the stack */

__attribute__((noinline)) int func(int x)
{
	__asm__ volatile("" ::: "memory");
	return x + 1;
}

static void serve(void)
{
	char line[64];
	puts("ready");
	while (fgets(line, sizeof line, stdin)) {
		if (strcmp(line, "call\n") == 0)
			printf("%d\n", *kept ? (*kept)(1) : 0);
		else
			printf("%d\n", func(1));
	}
}

/* Somebody must stand on a stack that is known for one: threads on others cannot be borrowed. */
static void *stand_by(void *arg)
{
	for (;;)
		pause();
	return arg;
}

int main(void)
{
	pthread_t thread;
	pthread_create(&thread, NULL, stand_by, NULL);
	static ucontext_t back, coroutine;
	setvbuf(stdout, NULL, _IOLBF, 0);
	kept = calloc(1, sizeof(callback *));
	char *stack = malloc(100000);
	getcontext(&coroutine);
	coroutine.uc_stack.ss_sp = stack;
	coroutine.uc_stack.ss_size = 100000;
	coroutine.uc_link = &back;
	makecontext(&coroutine, serve, 0);
	swapcontext(&back, &coroutine);
	free(stack);
	return 0;
}
