#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fdio.h"

static int file_of(const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void a_read_is_whole_or_an_error(void **state)
{
	int fd = file_of("0123456789");
	char got[11] = {0};
	assert_int_equal(lp_pread_full(fd, got, 10, 0), 0);
	assert_string_equal(got, "0123456789");
	assert_int_equal(lp_pread_full(fd, got, 4, 6), 0);
	assert_memory_equal(got, "6789", 4);
	assert_int_equal(lp_pread_full(fd, got, 5, 6), -EIO);
	assert_int_equal(lp_pread_full(fd, got, 0, 100), 0);
	lp_close(fd);
	assert_int_equal(lp_pread_full(fd, got, 1, 0), -EBADF);
}

static void a_write_is_whole_or_an_error(void **state)
{
	int fd = file_of("0123456789");
	char got[11] = {0};
	assert_int_equal(lp_pwrite_full(fd, "abc", 3, 2), 0);
	assert_int_equal(lp_pread_full(fd, got, 10, 0), 0);
	assert_string_equal(got, "01abc56789");
	lp_close(fd);
	assert_int_equal(lp_pwrite_full(fd, "x", 1, 0), -EBADF);
}

/* A pipe gives what is there: short counts are the rule. */
static void a_pipe_is_read_to_its_end(void **state)
{
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	if (child == 0) {
		for (int i = 0; i < 20000; i++)
			if (write(ends[1], "0123456789", 10) != 10)
				_exit(1);
		_exit(0);
	}
	close(ends[1]);
	struct lp_buf out = {0};
	struct lp_err err = {0};
	assert_int_equal(lp_read_fd(ends[0], &out, 1 << 20, &err), 0);
	assert_int_equal(out.len, 200000);
	assert_memory_equal(out.data + 199990, "0123456789", 11);
	lp_buf_free(&out);
	close(ends[0]);
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void the_limit_is_the_last_size_that_is_read(void **state)
{
	struct lp_err err = {0};
	struct lp_buf out = {0};
	int fd = file_of("0123456789");
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(lp_read_fd(fd, &out, 10, &err), 0);
	assert_int_equal(out.len, 10);
	lp_buf_free(&out);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(lp_read_fd(fd, &out, 9, &err), -EFBIG);
	assert_string_equal(err.text, "larger than 9 bytes");
	lp_buf_free(&out);
	lp_close(fd);
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
	struct lp_err err = {0};
	struct lp_buf out = {0};
	assert_int_equal(lp_read_file("/nonexistent/patch.lp", &out, 100, &err), -ENOENT);
	assert_string_equal(err.text, "cannot open /nonexistent/patch.lp: No such file or directory");
	assert_int_equal(lp_read_file("/tmp", &out, 100, &err), -EISDIR);
	assert_string_equal(err.text, "/tmp is a directory");
	assert_int_equal(lp_read_file("/proc/self/exe", &out, 100, &err), -EFBIG);
	assert_string_equal(err.text, "/proc/self/exe: larger than 100 bytes");
	lp_buf_free(&out);
}

/* A file in /proc says that it has 0 bytes. */
static void a_file_is_read_to_its_end_whatever_size_it_claims(void **state)
{
	struct lp_err err = {0};
	struct lp_buf out = {0};
	struct stat st;
	assert_int_equal(stat("/proc/self/maps", &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(lp_read_file("/proc/self/maps", &out, 1 << 20, &err), 0);
	assert_non_null(strstr(lp_buf_cstr(&out), "[stack]"));
	lp_buf_free(&out);
}

static void closing_keeps_errno_and_takes_minus_one(void **state)
{
	errno = EXDEV;
	lp_close(-1);
	lp_close(file_of(""));
	assert_int_equal(errno, EXDEV);
}

static void a_standard_stream_that_is_closed_stays_free(void **state)
{
	int input = dup(STDIN_FILENO);
	close(STDIN_FILENO);
	int first = open("/dev/null", O_RDONLY), aside = lp_fd_aside(first);
	bool is_free = fcntl(STDIN_FILENO, F_GETFD) < 0;
	dup2(input, STDIN_FILENO);
	assert_int_equal(first, STDIN_FILENO);
	assert_true(is_free && aside > STDERR_FILENO);
	assert_int_equal(fcntl(aside, F_GETFD), FD_CLOEXEC);
	assert_int_equal(lp_fd_aside(aside), aside);
	assert_int_equal(lp_fd_aside(-1), -1);
	close(aside);
	close(input);
}

static void close_and_hold(void)
{
	close(STDIN_FILENO);
	close(STDERR_FILENO);
	lp_stdio_hold();
	char byte;
	bool unusable = read(STDIN_FILENO, &byte, 1) < 0 && write(STDERR_FILENO, "", 1) < 0;
	int next = dup(STDOUT_FILENO);
	_exit(unusable && next > STDERR_FILENO ? 0 : 1);
}

static void a_closed_standard_descriptor_is_given_to_nobody_else(void **state)
{
	int status;
	pid_t child = fork();
	if (child == 0)
		close_and_hold();
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void an_open_standard_descriptor_is_left_alone(void **state)
{
	struct stat before, after;
	assert_int_equal(fstat(STDOUT_FILENO, &before), 0);
	lp_stdio_hold();
	assert_int_equal(fstat(STDOUT_FILENO, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(before.st_dev, after.st_dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_read_is_whole_or_an_error),
		cmocka_unit_test(a_write_is_whole_or_an_error),
		cmocka_unit_test(a_pipe_is_read_to_its_end),
		cmocka_unit_test(the_limit_is_the_last_size_that_is_read),
		cmocka_unit_test(a_file_that_cannot_be_read_is_named),
		cmocka_unit_test(a_file_is_read_to_its_end_whatever_size_it_claims),
		cmocka_unit_test(closing_keeps_errno_and_takes_minus_one),
		cmocka_unit_test(a_standard_stream_that_is_closed_stays_free),
		cmocka_unit_test(a_closed_standard_descriptor_is_given_to_nobody_else),
		cmocka_unit_test(an_open_standard_descriptor_is_left_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
