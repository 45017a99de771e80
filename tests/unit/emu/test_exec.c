#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "emu/exec.h"
#include "small_program.h"

/* Files in a folder that is the guest's root. */
static char root[] = "/tmp/test_exec.XXXXXX";
static struct lp_emu emu = {.options = {.sysroot = root}};

static void put(const char *name, const void *bytes, size_t len, unsigned mode)
{
	char path[200];
	int fd;

	snprintf(path, sizeof path, "%s%s", root, name);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void put_script(const char *name, const char *text)
{
	put(name, text, strlen(text), 0755);
}

/* Follows /name of the root; "interpreter|argument|script" that replace argv[0] into `before`. */
static int follow(const char *name, char before[512], enum lp_program_kind *kind)
{
	struct lp_exec_file f;
	char path[200];
	int rc;

	snprintf(path, sizeof path, "%s%s", root, name);
	rc = lp_exec_follow(&emu, AT_FDCWD, path, name, true, &f);
	*kind = f.kind;
	*before = 0;
	for (size_t i = 0; i < f.before.nr; i++)
		snprintf(before + strlen(before), 512 - strlen(before), "%s%s", i ? "|" : "", f.before.items[i]);
	lp_exec_file_close(&f);
	return rc;
}

static void becomes(const char *name, const char *want)
{
	char before[512];
	enum lp_program_kind kind;

	assert_int_equal(follow(name, before, &kind), 0);
	assert_int_equal(kind, LP_PROGRAM_GUEST);
	assert_string_equal(before, want);
}

static void fails(const char *name, int error)
{
	char before[512];
	enum lp_program_kind kind;

	assert_int_equal(follow(name, before, &kind), error);
}

static void a_program_is_itself(void **state)
{
	becomes("/prog", "");
}

static void a_script_becomes_its_interpreter(void **state)
{
	put_script("/script", "#!/prog\n");
	becomes("/script", "/prog|/script");
	put_script("/script", "#! \t /prog  a b\tc \t \nrest");
	becomes("/script", "/prog|a b\tc|/script");
	put_script("/script", "#!/prog"); /* no end of line: the end of the file is one */
	becomes("/script", "/prog|/script");
}

static void an_interpreter_may_be_a_script(void **state)
{
	put_script("/inner", "#!/prog -i\n");
	put_script("/script", "#!/inner -x\n");
	/* As Linux has it: each is called with the path of the one that it interprets. */
	becomes("/script", "/prog|-i|/inner|-x|/script");
}

static void scripts_in_a_circle_end(void **state)
{
	put_script("/script", "#!/script\n");
	fails("/script", -ELOOP);
}

static void a_line_that_names_nothing_is_no_script(void **state)
{
	char long_line[600] = "#!/";

	put_script("/script", "#!\n/prog\n");
	fails("/script", -ENOEXEC);
	put_script("/script", "#!   \n");
	fails("/script", -ENOEXEC);
	memset(long_line + 3, 'x', sizeof long_line - 4);
	put_script("/script", long_line); /* cut off: who knows whose name it is */
	fails("/script", -ENOEXEC);
	long_line[6] = ' '; /* the interpreter's name is whole, its argument may be cut */
	put_script("/script", long_line);
	fails("/script", -ENOENT);
}

static void a_missing_interpreter_is_missing(void **state)
{
	put_script("/script", "#!/nothing/here\n");
	fails("/script", -ENOENT);
	fails("/nothing", -ENOENT);
}

static void what_must_not_be_executed_is_not(void **state)
{
	struct small_program p = small_program();

	fails("", -EACCES); /* a folder */
	put("/plain", &p, sizeof p, 0644);
	fails("/plain", -EACCES);
	put_script("/script", "#!/plain\n");
	fails("/script", -EACCES);
	put("/script", "#!/prog\n", 8, 0600);
	fails("/script", -EACCES);
}

static void what_we_do_not_know_is_left_to_the_kernel(void **state)
{
	struct small_program p = small_program();
	char before[512];
	enum lp_program_kind kind;

	p.ehdr.e_machine = EM_X86_64;
	put("/host", &p, sizeof p, 0755);
	assert_int_equal(follow("/host", before, &kind), 0);
	assert_int_equal(kind, LP_PROGRAM_HOST);
	put_script("/text", "echo hello\n");
	assert_int_equal(follow("/text", before, &kind), 0);
	assert_int_equal(kind, LP_PROGRAM_OTHER);
}

static void a_descriptor_is_as_good_as_a_path(void **state)
{
	struct small_program p = small_program();
	int fd = small_file(&p, sizeof p);
	struct lp_exec_file f;

	assert_int_equal(lp_exec_follow(&emu, fd, "", "/dev/fd/9", false, &f), 0);
	assert_int_equal(f.kind, LP_PROGRAM_GUEST);
	assert_int_not_equal(f.fd, fd);
	lp_exec_file_close(&f);
	close(fd);
}

static int make_root(void **state)
{
	struct small_program p = small_program();

	if (!mkdtemp(root))
		return -1;
	put("/prog", &p, sizeof p, 0755);
	return 0;
}

static int remove_root(void **state)
{
	static const char *const names[] = {"prog", "script", "inner", "plain", "host", "text"};
	char path[200];

	for (size_t i = 0; i < LP_ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof path, "%s/%s", root, names[i]);
		unlink(path);
	}
	return rmdir(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_program_is_itself),
		cmocka_unit_test(a_script_becomes_its_interpreter),
		cmocka_unit_test(an_interpreter_may_be_a_script),
		cmocka_unit_test(scripts_in_a_circle_end),
		cmocka_unit_test(a_line_that_names_nothing_is_no_script),
		cmocka_unit_test(a_missing_interpreter_is_missing),
		cmocka_unit_test(what_must_not_be_executed_is_not),
		cmocka_unit_test(what_we_do_not_know_is_left_to_the_kernel),
		cmocka_unit_test(a_descriptor_is_as_good_as_a_path),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}
