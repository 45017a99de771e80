/*
 * arm64_runner --self-test: this very file runs a small program of its own
 * making, from loading to exit, once as it is and once with a patch applied
 * before its first instruction.  An update is tried with it before it stays.
 */
#include <elf.h>
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tool/arm64_runner.h"

#include "base/version.h"

#define BASE UINT64_C(0x400000)
#define PATCHED "0x4000a0" /* the last but one instruction */

/* Adds 1 to 100 up, less 5008: 42. */
static const uint32_t code[] = {
	0xd2800000, /* 400078: mov x0, #0 */
	0xd2800c81, /*         mov x1, #100 */
	0x8b010000, /* 400080: add x0, x0, x1 */
	0xf1000421, /*         subs x1, x1, #1 */
	0x54ffffc1, /*         b.ne 400080 */
	0xd2827202, /*         mov x2, #5008 */
	0xcb020000, /*         sub x0, x0, x2 */
	0xd2800ba8, /*         mov x8, #93 (exit) */
	0xd503201f, /* 400098: nop */
	0xd503201f, /*         nop */
	0xd503201f, /* 4000a0: nop; patched: mov x0, #7 */
	0xd4000001, /*         svc #0 */
};

struct program {
	Elf64_Ehdr file;
	Elf64_Phdr segment;
	uint32_t code[LP_ARRAY_SIZE(code)];
};

_Static_assert(offsetof(struct program, code) == 0x78, "as the addresses above say");

static struct program make_program(void)
{
	struct program p = {
		.file = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
			 .e_type = ET_EXEC,
			 .e_machine = EM_AARCH64,
			 .e_version = EV_CURRENT,
			 .e_entry = BASE + offsetof(struct program, code),
			 .e_phoff = offsetof(struct program, segment),
			 .e_ehsize = sizeof(Elf64_Ehdr),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = 1},
		.segment = {.p_type = PT_LOAD,
			    .p_flags = PF_R | PF_X,
			    .p_vaddr = BASE,
			    .p_paddr = BASE,
			    .p_filesz = sizeof(struct program),
			    .p_memsz = sizeof(struct program),
			    .p_align = 4096},
	};

	memcpy(p.code, code, sizeof code);
	return p;
}

static int write_program(struct lp_err *err)
{
	struct program p = make_program();
	int fd = memfd_create("self-test", 0);

	if (fd < 0 || write(fd, &p, sizeof p) != sizeof p)
		return lp_fail_sys(err, errno, "self-test: no memory for a program");
	return fd;
}

/* The exit status; negative: it did not come to that. */
static int run_program(int fd, bool is_patched, struct lp_err *err)
{
	char number[16];
	const char *plain[] = {"arm64_runner", "--exec-fd", number, "self-test", NULL};
	const char *patched[] = {"arm64_runner", "--exec-fd", number, "--livepatch-apply", PATCHED, "0xd28000e0",
				 "self-test",	 "self-test", NULL};
	int status, rc;
	pid_t pid;

	snprintf(number, sizeof number, "%d", fd);
	rc = posix_spawn(&pid, "/proc/self/exe", NULL, NULL, (char *const *)(is_patched ? patched : plain), environ);
	if (rc)
		return lp_fail_sys(err, rc, "self-test: this program cannot be run");
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return lp_fail_sys(err, errno, "self-test");
	if (!WIFEXITED(status))
		return lp_fail(err, LP_EINTERNAL, "self-test: ended by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

static int expect(bool is_patched, int expected, struct lp_err *err)
{
	int fd = write_program(err), got;

	if (fd < 0)
		return fd;
	got = run_program(fd, is_patched, err);
	close(fd);
	if (got < 0 || got == expected)
		return got < 0 ? got : 0;
	return lp_fail(err, LP_EINTERNAL, "self-test: a program%s ends with %d instead of %d",
		       is_patched ? " with a patch" : "", got, expected);
}

int runner_self_test(struct lp_err *err)
{
	int rc = expect(false, 42, err);

	rc = rc ? rc : expect(true, 7, err);
	if (rc)
		return RUNNER_FAILED;
	printf("arm64_runner %s: works\n", lp_program_version);
	return 0;
}
