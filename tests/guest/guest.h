/* What the guest programs share: a table of parts, each of which prints what it sees. */
#ifndef GUEST_H
#define GUEST_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

struct part {
	const char *name;
	void (*run)(void);
};

#define PART(name)          \
	{                   \
#name, name \
	}

static void handle(int sig, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction act = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

	if (sigaction(sig, &act, NULL))
		printf("sigaction %d: %s\n", sig, strerror(errno));
}

static inline void tell_errno(const char *what, long result)
{
	int error = errno;

	printf("%s %ld errno %d\n", what, result, result < 0 ? error : 0);
}

static inline sigset_t set_of(int a, int b)
{
	sigset_t set;

	sigemptyset(&set);
	if (a)
		sigaddset(&set, a);
	if (b)
		sigaddset(&set, b);
	return set;
}

static int run_parts(const struct part *parts, size_t nr, int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	for (size_t i = 0; i < nr; i++) {
		if (argc == 1)
			printf("%s\n", parts[i].name);
		else if (!strcmp(parts[i].name, argv[1]))
			parts[i].run();
	}
	return 0;
}

#define MAIN(...)                                                                    \
	int main(int argc, char **argv)                                              \
	{                                                                            \
		static const struct part parts[] = {__VA_ARGS__};                    \
		return run_parts(parts, sizeof parts / sizeof parts[0], argc, argv); \
	}

#endif
