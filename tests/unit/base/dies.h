/*
 * For tests of what must end the program: after cmocka.h.
 */
#ifndef LP_TEST_DIES_H
#define LP_TEST_DIES_H

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"

/* Runs `act` in a child whose stderr comes back; true when it did not survive. */
static inline bool dies(void (*act)(void), char *said, size_t size)
{
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	if (child == 0) {
		dup2(ends[1], STDERR_FILENO);
		act();
		_exit(0);
	}
	close(ends[1]);
	struct lp_buf out = {0};
	assert_int_equal(lp_read_fd(ends[0], &out, 1 << 20, NULL), 0);
	snprintf(said, size, "%s", lp_buf_cstr(&out));
	lp_buf_free(&out);
	close(ends[0]);
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

#endif
