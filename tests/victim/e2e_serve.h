/*
 * How an e2e victim talks: one request line on standard input, one answer line
 * on standard output, "ready" when it has set itself up.  It ends at end of
 * file, so no test can leave one behind.
 *
 * serve() reads with read(2) and counts every EINTR: a victim without signal
 * handlers must never see one, however often it is stopped.
 */
#ifndef E2E_SERVE_H
#define E2E_SERVE_H

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Compiled as written: not inlined, cloned, or known to its callers. */
#if __has_attribute(noipa)
#define PATCHED __attribute__((noipa))
#else
#define PATCHED __attribute__((noinline, optnone))
#endif

static _Atomic unsigned long interrupted_calls;

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	int len = vsnprintf(line, sizeof line - 1, fmt, ap);
	va_end(ap);
	line[len++] = '\n';
	if (write(STDOUT_FILENO, line, len) != len)
		_exit(1);
}

static int read_line(int fd, char *line, size_t size)
{
	size_t len = 0;

	while (len + 1 < size) {
		ssize_t got = read(fd, line + len, 1);

		if (got < 0 && errno == EINTR)
			atomic_fetch_add(&interrupted_calls, 1);
		else if (got != 1)
			return 0;
		else if (line[len++] == '\n')
			break;
	}
	line[len - 1] = '\0';
	return 1;
}

/* A dead copy of a pointer into a patch, in a hole of a live frame, rightly keeps its memory from being freed. */
PATCHED static void forget_dead_stack(void)
{
	volatile char below[4096];

	for (size_t i = 0; i < sizeof below; i++)
		below[i] = 0;
}

PATCHED static void serve(void (*answer)(char *request))
{
	char line[256];

	say("ready");
	while (read_line(STDIN_FILENO, line, sizeof line)) {
		answer(line);
		forget_dead_stack();
	}
}

#endif
