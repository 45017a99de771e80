/*
 * A process that shares its memory with one that is no thread of it.
 *
 *     share     make one with clone(CLONE_VM): answers its number
 *     end       it ends, and is waited for
 *     call      func_J's answer
 */
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "e2e_serve.h"

const char *func_J(int n);

static char stack[64 << 10] __attribute__((aligned(16)));
static int gate[2];
static pid_t sharer;

PATCHED const char *func_J(int n)
{
	return n < 0 ? "negative" : "original J";
}

static int wait_at_gate(void *arg)
{
	char c;

	while (syscall(SYS_read, gate[0], &c, 1) < 0)
		;
	return 0;
}

static void answer(char *request)
{
	if (!strcmp(request, "share")) {
		sharer = clone(wait_at_gate, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL);
		say("%d", (int)sharer);
	} else if (!strcmp(request, "end")) {
		if (write(gate[1], "x", 1) != 1 || waitpid(sharer, NULL, 0) != sharer)
			_exit(1);
		say("ended");
	} else {
		say("%s", func_J(1));
	}
}

int main(void)
{
	if (pipe(gate))
		return 1;
	serve(answer);
	if (sharer)
		kill(sharer, SIGKILL);
	return 0;
}
