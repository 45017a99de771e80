/* library_process PID: what fix.patch says is done to it. */
#include "check.h"

int main(int argc, char **argv)
{
	pid_t pid = argc > 1 ? atoi(argv[1]) : 0;

#include SNIPPET

	answered("livepatch_load_from_file", 2, NULL);
	answered_no_more();
	return 0;
}
