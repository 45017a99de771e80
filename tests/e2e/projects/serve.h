/* What every project's main() does: "ready", then an answer to each line until the input ends. */
#ifndef SERVE_H
#define SERVE_H

#include <stdio.h>

static int serve(void (*answer)(char *out, size_t size))
{
	char line[256], out[256];
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		answer(out, sizeof out);
		puts(out);
		fflush(stdout);
	}
	return 0;
}

#endif
