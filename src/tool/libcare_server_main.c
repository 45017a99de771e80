#include <signal.h>
#include <string.h>

#include "base/fdio.h"
#include "tool/libcare.h"
#include "tool/tool.h"

int main(int argc, char **argv)
{
	bool verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
	lp_stdio_hold();
	signal(SIGPIPE, SIG_IGN);
	out_program("libcare-server");
	out_setup(verbose, false, true);
	return libcare_server("libcare-server", argc - verbose, argv + verbose);
}
