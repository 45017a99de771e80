/*
 * What the livepatch command and the libcare programs share.
 */
#include <signal.h>
#include <stdint.h>
#include <time.h>

#include "tool/tool.h"

volatile sig_atomic_t interrupted;

static const int caught[] = {SIGINT, SIGTERM, SIGHUP};

static void on_signal(int signal)
{
	interrupted = signal;
}

/* Whoever started us with a signal ignored (nohup, a shell's background job) wants it ignored. */
static void catch_unless_ignored(int signal)
{
	struct sigaction now;
	sigaction(signal, NULL, &now);
	if (now.sa_handler == SIG_IGN)
		return;
	now = (struct sigaction){.sa_handler = on_signal};
	sigemptyset(&now.sa_mask);
	sigaction(signal, &now, NULL);
}

void signals_catch(void)
{
	interrupted = 0;
	for (size_t i = 0; i < LP_ARRAY_SIZE(caught); i++)
		catch_unless_ignored(caught[i]);
}

/* What a daemon blocks for its signalfd, and catches, is not for its children. */
void signals_default(void)
{
	sigset_t none;
	sigemptyset(&none);
	for (size_t i = 0; i < LP_ARRAY_SIZE(caught); i++) {
		struct sigaction now;
		sigaction(caught[i], NULL, &now);
		if (now.sa_handler != SIG_IGN)
			signal(caught[i], SIG_DFL);
	}
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int status_of(int rc)
{
	switch (rc < 0 ? -rc : 0) {
	case 0:
		return rc;
	case LP_EUSAGE:
		return EXIT_USAGE;
	case LP_EGONE:
	case LP_EEXECED:
		return EXIT_LOST;
	default:
		return EXIT_REFUSED;
	}
}

int64_t clock_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

bool parse_decimal(const char *text, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;
	if (text[0] < '1' || text[0] > '9')
		return false;
	for (; *text; text++) {
		unsigned digit = (unsigned)(*text - '0');
		if (digit > 9 || v > (max - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*out = v;
	return true;
}
