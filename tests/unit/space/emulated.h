/* Is this program run by an emulator of one machine's programs on another?  Those have no ptrace. */
#ifndef LP_TESTS_EMULATED_H
#define LP_TESTS_EMULATED_H

#include <errno.h>
#include <stdbool.h>
#include <sys/ptrace.h>

static inline bool is_emulated(void)
{
	errno = 0;
	return ptrace(PTRACE_PEEKDATA, 0, NULL, NULL) < 0 && errno == ENOSYS;
}

#endif
