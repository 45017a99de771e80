/*
 * A function that stays on the stack for as long as the test wants it to.
 *
 *     enter      a thread goes busy_outer -> busy_middle -> waits; answered when it waits
 *     leave      it returns; answered when it has
 *     call       busy_outer's answer when it does not wait
 *     exec       the program replaces itself (and says "ready" again)
 *     exit       it ends
 *     eintr      number of calls that were interrupted
 */
#include <fcntl.h>
#include <pthread.h>

#include "e2e_serve.h"

int busy_outer(int wait);
int busy_middle(int wait);

static int gate[2], arrived[2], left[2];

static char pass(int fd)
{
	char c = 0;

	while (read(fd, &c, 1) < 0 && errno == EINTR)
		atomic_fetch_add(&interrupted_calls, 1);
	return c;
}

static void hand(int fd)
{
	if (write(fd, "x", 1) != 1)
		_exit(1);
}

PATCHED int busy_middle(int wait)
{
	if (wait) {
		hand(arrived[1]);
		pass(gate[0]);
	}
	return wait + 1;
}

/* The product after the call keeps this frame on the stack: no tail call. */
PATCHED int busy_outer(int wait)
{
	return busy_middle(wait) * 7 + 1;
}

static void *visitor(void *arg)
{
	busy_outer(1);
	hand(left[1]);
	return NULL;
}

static void answer(char *request)
{
	if (!strcmp(request, "enter")) {
		pthread_t t;

		if (pthread_create(&t, NULL, visitor, NULL) || pthread_detach(t))
			_exit(1);
		pass(arrived[0]);
		say("inside");
	} else if (!strcmp(request, "leave")) {
		hand(gate[1]);
		pass(left[0]);
		say("outside");
	} else if (!strcmp(request, "call")) {
		say("%d", busy_outer(0));
	} else if (!strcmp(request, "exec")) {
		execl("/proc/self/exe", "e2e_busy", (char *)NULL);
		_exit(1);
	} else if (!strcmp(request, "exit")) {
		_exit(0);
	} else if (!strcmp(request, "eintr")) {
		say("%lu", atomic_load(&interrupted_calls));
	}
}

int main(void)
{
	/* Close-on-exec: the program that `exec` starts makes its own. */
	if (pipe2(gate, O_CLOEXEC) || pipe2(arrived, O_CLOEXEC) || pipe2(left, O_CLOEXEC))
		return 1;
	serve(answer);
	return 0;
}
