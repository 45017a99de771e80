/*
 * Coroutines that are suspended inside of a function while every thread is
 * somewhere else.  How they switch is e2e_coroutine_switch.h's matter.
 *
 *     enter N     N coroutines go through co_outer and co_middle and are suspended there, none of them resumed yet
 *     leave       all of them return to their ends; their stacks stay, full of old return addresses
 *     again       finished ones run a function that has nothing to do with the first, and are suspended in it
 *     inside      the program goes on serving from within a coroutine; what called it is suspended
 *     call        co_outer's answer when it does not suspend
 *     sum         of what the coroutines computed
 *
 * First argument: "heap" or "mapped" stacks.
 */
#include <pthread.h>

#include "e2e_serve.h"

#include "e2e_coroutine_switch.h"

#define MAX 20000

int co_outer(struct coroutine *self);
int co_middle(struct coroutine *self);
int co_other(struct coroutine *self);
void co_schedule(void (*answer)(char *request));

static struct coroutine **all;
static int nr, mapped;
static long sum;

PATCHED int co_middle(struct coroutine *self)
{
	if (self)
		park(self);
	return self ? (int)self->number : 1;
}

/* The product after the call keeps this frame on the stack: no tail call. */
PATCHED int co_outer(struct coroutine *self)
{
	return co_middle(self) * 7 + 1;
}

PATCHED int co_other(struct coroutine *self)
{
	volatile char room[200]; /* a hole in the frame, with what was there before */

	room[0] = 1;
	park(self);
	return room[0] + 1;
}

static void visit(struct coroutine *self)
{
	for (;;) {
		sum += co_outer(self);
		park(self);
		co_other(self);
		park(self);
	}
}

static void enter(int n)
{
	for (int i = 0; i < n && nr < MAX; i++) {
		all[nr] = coroutine_make(visit, mapped);
		all[nr]->number = nr;
		resume(all[nr++]);
	}
}

static void resume_all(void)
{
	for (int i = 0; i < nr; i++)
		resume(all[i]);
}

static void (*inner)(char *request);

/* A thread on a stack that is known for one: those on others cannot be borrowed. */
static void *stand_by(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void serve_inside(struct coroutine *self)
{
	say("inside");
	serve(inner);
	_exit(0);
}

/* Its frame waits on the main stack, where nobody stands, while the coroutine serves. */
PATCHED void co_schedule(void (*answer)(char *request))
{
	struct coroutine *c = coroutine_make(serve_inside, mapped);

	pthread_t thread;

	inner = answer;
	if (pthread_create(&thread, NULL, stand_by, NULL))
		_exit(1);
	resume(c);
	say("back");
}

static void answer(char *request)
{
	if (!strncmp(request, "enter", 5)) {
		enter(atoi(request + 5));
		say("suspended %d", nr);
	} else if (!strcmp(request, "leave")) {
		resume_all();
		say("left");
	} else if (!strcmp(request, "again")) {
		resume_all();
		say("again");
	} else if (!strcmp(request, "inside")) {
		co_schedule(answer);
	} else if (!strcmp(request, "call")) {
		say("%d", co_outer(NULL));
	} else if (!strcmp(request, "sum")) {
		say("%ld", sum);
	}
}

int main(int argc, char **argv)
{
	mapped = argc > 1 && !strcmp(argv[1], "mapped");
	all = calloc(MAX, sizeof *all);
	serve(answer);
	return 0;
}
