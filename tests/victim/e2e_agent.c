/*
 * A program for the agent: four threads call pick() without pause, and any
 * answer that is not one whole version of it is counted.
 *
 *     ask             "calls N wrong N"
 *     hold            a thread calls hold(), and is inside of it when the answer comes
 *     release         it has come back
 *     fork            a child, which lives until the next line: its number
 *     exec PROGRAM    becomes that program
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>

#include "e2e_serve.h"

#define CALLERS 4

int config_level = 3;
long config_limits[4] = {1, 2, 3, 4};
double config_ratio = 0.5;
const char *config_name = "plain";

static _Atomic unsigned long calls, wrong;
static int gate[2], inside[2];

/* Versions add 1, 100, 200, ... */
PATCHED int pick(int n)
{
	return n + 1;
}

PATCHED int hold(int in, int out)
{
	return 0;
}

static void *call(void *arg)
{
	for (int n = 0;; n = (n + 1) & 0xffff) {
		int by = pick(n) - n;

		if (by != 1 && (by % 100 || by < 100 || by > 900))
			atomic_fetch_add(&wrong, 1);
		atomic_fetch_add(&calls, 1);
		usleep(n % 64 ? 0 : 100);
	}
	return NULL;
}

static void *call_hold(void *arg)
{
	hold(gate[0], inside[1]);
	return NULL;
}

static pthread_t holder;

static void start_holding(void)
{
	char c;

	if (pthread_create(&holder, NULL, call_hold, NULL) || read(inside[0], &c, 1) != 1)
		_exit(2);
	say("held");
}

static void end_holding(void)
{
	if (write(gate[1], "x", 1) != 1 || pthread_join(holder, NULL))
		_exit(2);
	say("released");
}

static void make_child(void)
{
	char line[16];
	int until[2];

	if (pipe(until))
		_exit(2);
	pid_t pid = fork();
	if (!pid) {
		close(until[1]);
		_exit(read(until[0], line, 1));
	}
	close(until[0]);
	say("%d", pid);
	if (!read_line(STDIN_FILENO, line, sizeof line))
		_exit(0);
	close(until[1]);
	waitpid(pid, NULL, 0);
	say("gone");
}

static void become(const char *program)
{
	execl(program, program, (char *)NULL);
	_exit(3);
}

static void answer(char *request)
{
	if (!strcmp(request, "hold"))
		start_holding();
	else if (!strcmp(request, "release"))
		end_holding();
	else if (!strcmp(request, "fork"))
		make_child();
	else if (!strncmp(request, "exec ", 5))
		become(request + 5);
	else
		say("calls %lu wrong %lu", atomic_load(&calls), atomic_load(&wrong));
}

int main(void)
{
	pthread_t t;

	if (pipe(gate) || pipe(inside))
		return 2;
	for (int i = 0; i < CALLERS; i++) {
		if (pthread_create(&t, NULL, call, NULL))
			return 2;
	}
	serve(answer);
	return 0;
}
