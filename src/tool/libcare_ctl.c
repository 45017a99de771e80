/*
 * libcare-ctl: patch, unpatch, info, server, as LibcarePlus and libcare have them.
 */
#include <getopt.h>
#include <signal.h>

#include "base/fdio.h"
#include "tool/libcare.h"
#include "tool/tool.h"

/* What is printed without -v is what the family's documents show; -v adds warnings and hints, a second one what is
 * being done, a third one everything. */
enum { QUIET, WARNINGS, INFO, DEBUG };

int main(int argc, char **argv)
{
	int opt, verbose = 0;
	lp_stdio_hold();
	signal(SIGPIPE, SIG_IGN);
	out_program("libcare-ctl");
	opterr = 0;
	if (argc == 2 && libcare_asks_for_help(argv[1]))
		return libcare_usage(NULL);
	while ((opt = getopt(argc, argv, "+hv")) != -1) {
		if (opt == 'h')
			return libcare_usage(NULL);
		if (opt != 'v')
			return libcare_usage("unknown option");
		verbose++;
	}
	out_setup(verbose >= INFO, verbose >= DEBUG, verbose == QUIET);
	if (optind == argc)
		return libcare_usage("not enough arguments.");
	signals_catch();
	int status = libcare_command(argc - optind, argv + optind);
	int rc = out_flush();
	return rc < 0 && status == EXIT_DONE ? EXIT_REFUSED : status;
}
