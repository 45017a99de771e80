/*
 * Programs that make system calls and say what came of it, in words that are
 * the same on every machine: no addresses, no pids, no times.  tests/e2e runs each
 * compiled for arm64 under the runner and under qemu-aarch64, and compiled for
 * the machine itself.
 */
#ifndef LP_GUEST_SAY_H
#define LP_GUEST_SAY_H

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Says what the call returned: a number, or the error. */
#define SAY(call) say(#call, (long)(call))
/* The same for results that differ from run to run: whether it succeeded. */
#define SAY_OK(call) say_ok(#call, (long)(call))

static inline long say(const char *text, long result)
{
	int error = errno;

	if (result == -1)
		printf("%s = -1 %s\n", text, strerrorname_np(error));
	else
		printf("%s = %ld\n", text, result);
	return result;
}

static inline long say_ok(const char *text, long result)
{
	int error = errno;

	if (result == -1)
		printf("%s = -1 %s\n", text, strerrorname_np(error));
	else
		printf("%s = ok\n", text);
	return result;
}

/* The kernel's call itself, with whatever arguments. */
#define RAW(name, ...) syscall(SYS_##name, ##__VA_ARGS__)

/* An empty directory to work in, removed with what is in it by leave(). */
static char where[] = "/tmp/guest-XXXXXX";

static inline void enter(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!mkdtemp(where) || chdir(where)) {
		perror(where);
		exit(2);
	}
}

static inline void leave(void)
{
	if (chdir("/") || rmdir(where))
		printf("something was left in the directory\n");
}

#endif
