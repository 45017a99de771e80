"""--jit=check tells of differences that there are, and of no others."""
import pytest

import runnerlib

# What translated code leaves to the interpreter in the middle of a unit, and memory behind which there is some that cannot be read.
PROGRAM = r"""
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>

static void step_over(int sig, siginfo_t *info, void *context)
{
	printf("%d %d\n", sig, info->si_code);
	((ucontext_t *)context)->uc_mcontext.pc += 4;
}

static void before_an_edge(void)
{
	char *edge = (char *)mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + 4096;

	mprotect(edge, 4096, PROT_NONE);
	for (int i = 8; i < 80; i += 8) {
		uint64_t *last = (uint64_t *)(edge - i);
		uint64_t old;
		asm volatile(".arch_extension lse\nldadd %2, %0, %1" : "=r"(old), "+Q"(*last) : "r"(i + 1L));
		asm volatile("swp %2, %0, %1" : "=r"(old), "+Q"(*last) : "r"(old + 3));
		printf("%d: %lu %lu\n", i, (unsigned long)old, (unsigned long)*last);
	}
}

static void with_a_bad_stack(void)
{
	struct sigaction act = {.sa_sigaction = step_over, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	stack_t own = {.ss_sp = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), .ss_size = 1 << 16};

	sigaltstack(&own, NULL);
	sigaction(SIGBUS, &act, NULL);
	for (int i = 0; i < 3; i++)
		asm volatile("mov x20, sp\nsub x21, x20, #8\nmov sp, x21\nldr x22, [sp]\nmov sp, x20" ::: "x20", "x21", "x22", "memory");
}

int main(void)
{
	before_an_edge();
	with_a_bad_stack();
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return runnerlib.compiled(PROGRAM, where=tmp_path_factory.mktemp("check"))


@pytest.mark.parametrize("mode", ["check", "check-tier2"])
def test_what_is_right_is_no_difference(program, mode):
    interpreted = runnerlib.run([program], options=["--no-jit"])
    assert interpreted.stdout.count(b"7 1\n") == 3 and interpreted.stdout.count(b": ") == 9
    assert runnerlib.run([program], options=[f"--jit={mode}"]) == interpreted
