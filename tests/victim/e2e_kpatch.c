/*
 * A program with insides that a patch refers to: static functions and
 * variables, thread-local ones, strings, calls of libraries.
 *
 *     answer N    answer(N), which is what patches replace
 *     state       calls, the static counter, the thread-local one
 *     other       what the function says that nobody replaces
 */
#include <stdint.h>

#include "e2e_serve.h"

static int counter = 100;
static const char *const names[] = {"zero", "one", "two"};
__thread int tls_counter = 7;
static __thread int tls_static = 70;
int exported_limit = 2;

PATCHED static const char *name_of(int n)
{
	return n >= 0 && n <= exported_limit ? names[n] : "many";
}

PATCHED int answer(int n, char *out, size_t size)
{
	counter++;
	tls_counter++;
	tls_static++;
	return snprintf(out, size, "old %s", name_of(n));
}

PATCHED int other(int n)
{
	return n + counter;
}

PATCHED int tiny(void)
{
	return 1;
}

static void request(char *line)
{
	char out[512];

	if (strncmp(line, "answer ", 7) == 0) {
		answer(atoi(line + 7), out, sizeof out);
		say("%s", out);
	} else if (strcmp(line, "state") == 0) {
		say("%d %d %d", counter, tls_counter, tls_static);
	} else if (strcmp(line, "other") == 0) {
		say("%d", other(1000));
	} else if (strcmp(line, "tiny") == 0) {
		say("%d", tiny());
	} else {
		say("?");
	}
}

int main(void)
{
	serve(request);
}
