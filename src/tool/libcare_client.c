/*
 * libcare-client: one request to libcare-server, its answer to standard
 * output.  Ends with the status that the request would have had as a command.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdio.h"
#include "store/wire.h"
#include "tool/libcare.h"
#include "tool/tool.h"

static int usage(int status)
{
	fputs("usage: libcare-client [SOCKET] ARG0 [ARG1] [ARG2] ...\n", stderr);
	return status;
}

static bool put(const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(STDOUT_FILENO, text, len);
		if (n < 0 && errno != EINTR)
			return false;
		text += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return true;
}

/* Text up to a NUL, which the exit status follows; a server that knows of no status ends without. */
static int show(int fd)
{
	char piece[4096], number[8] = "";
	bool in_status = false;
	for (;;) {
		ssize_t n = recv(fd, piece, sizeof piece, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		char *nul = in_status ? piece : memchr(piece, 0, (size_t)n);
		size_t text = nul ? (size_t)(nul - piece) : (size_t)n;
		if (!in_status && !put(piece, text))
			return EXIT_REFUSED;
		if (nul)
			for (char *p = nul; p < piece + n; p++)
				if (*p >= '0' && *p <= '9' && strlen(number) + 1 < sizeof number)
					number[strlen(number)] = *p;
		in_status = in_status || nul;
	}
	return number[0] ? (int)strtol(number, NULL, 10) & 0xff : EXIT_DONE;
}

int main(int argc, char **argv)
{
	struct lp_err err = {0};
	lp_stdio_hold();
	signal(SIGPIPE, SIG_IGN);
	out_program("libcare-client");
	bool named = argc > 1 && (argv[1][0] == '/' || argv[1][0] == '@' || argv[1][0] == '.');
	int first = named ? 2 : 1;
	if (argc > first && libcare_asks_for_help(argv[first]))
		return usage(EXIT_DONE);
	if (argc <= first || argc - first >= LP_WIRE_WORDS || argv[first][0] == '-')
		return usage(EXIT_USAGE);
	int fd = lp_wire_connect(named ? argv[1] : LIBCARE_SOCKET, &err);
	if (fd < 0) {
		note_error(&err);
		return EXIT_REFUSED;
	}
	char *words[LP_WIRE_WORDS];
	size_t nr = 0;
	words[nr++] = (char *)(uintptr_t) "--status";
	for (int i = first; i < argc; i++)
		words[nr++] = argv[i];
	int rc = lp_wire_send(fd, words, nr, &err);
	if (rc < 0)
		note_error(&err);
	int status = rc < 0 ? EXIT_REFUSED : show(fd);
	lp_close(fd);
	return status;
}
