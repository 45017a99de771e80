"""arm64_runner --profile tells where a guest program spends its time."""
import functools
import os
import re
import resource
import signal

import pytest

import runnerlib

pytestmark = pytest.mark.left_out("check", "check-tier2", reason="what a profile tells is then how long the comparison takes")

SOURCE = r"""
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#define ALONE __attribute__((noinline))
volatile unsigned long sink;
ALONE void spin(unsigned long n)
{
	for (unsigned long i = 0; i < n; i++)
		sink += i;
}
ALONE void heavy(unsigned long n)
{
	spin(3 * n);
	sink++;
}
ALONE void light(unsigned long n)
{
	spin(n);
	sink++;
}
#define FOUR(x) x x x x
ALONE unsigned long straight(unsigned long a) /* its only branch is its return */
{
	FOUR(FOUR(a = a * 3 + 7; a ^= a >> 9;))
	return a;
}
ALONE void caller(unsigned long n)
{
	for (unsigned long i = 0; i < n; i++)
		sink = straight(i);
	sink++;
}
static void *work(void *arg)
{
	prctl(PR_SET_NAME, "worker;1");
	light(3 * (unsigned long)arg);
	return NULL;
}
ALONE void stray(unsigned long n) /* its frame pointer leads nowhere */
{
	__asm__ volatile("mov x29, %0\n1: subs %1, %1, #1\n\tb.ne 1b\n\tmov x0, #0\n\tmov x8, #94\n\tsvc #0"
			 :: "r"(0x123456789000), "r"(n) : "x0", "x8");
}
int main(int argc, char **argv)
{
	const char *what = argv[1];
	unsigned long n = strtoul(argv[2], NULL, 10);
	pthread_t t;
	int p[2];
	if (!strcmp(what, "shares"))
		for (int i = 0; i < 10; i++) {
			heavy(n / 10);
			light(n / 10);
		}
	if (!strcmp(what, "leaf"))
		caller(n);
	if (!strcmp(what, "threads") && !pthread_create(&t, NULL, work, (void *)n)) {
		heavy(n);
		pthread_join(t, NULL);
	}
	if (!strcmp(what, "fork")) {
		if (fork() == 0) {
			light(3 * n);
			_exit(0);
		}
		heavy(n);
		wait(NULL);
	}
	if (!strcmp(what, "exec")) {
		heavy(n);
		execl(argv[3], argv[3], "leaf", argv[2], NULL);
	}
	if (!strcmp(what, "crash")) {
		heavy(n);
		*(volatile int *)8 = 1;
	}
	if (!strcmp(what, "ended")) {
		heavy(n);
		kill(getpid(), SIGINT);
	}
	if (!strcmp(what, "stray"))
		stray(10 * n);
	if (!strcmp(what, "wait") && !pipe(p)) {
		if (fork() == 0) {
			nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
			_exit(0);
		}
		close(p[1]);
		return read(p[0], p, 1);
	}
	return 0;
}
"""
LOOPS = 8000000  # about half a second of the interpreter: hundreds of samples, even where the machine is busy
HALF_A_SECOND = 0.5


@functools.cache
def faster(program):
    """How many times the loops that make half a second of processor time, whatever else the machine does."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    runnerlib.run([program, "shares", LOOPS])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return max(1, round(HALF_A_SECOND / max(used, 0.01)))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return runnerlib.compiled(SOURCE, "-O1", "-fno-optimize-sibling-calls", where=tmp_path_factory.mktemp("profile"))


def stacks(path):
    """What flamegraph.pl reads."""
    counts = {}
    for line in path.read_text().splitlines():
        stack, number = re.fullmatch(r"(.*) (\d+)", line).groups()
        counts[stack] = int(number)
    return counts


def profile(program, what, folder, *options, arguments=(), status=0, loops=LOOPS):
    path = folder / "out"
    done = runnerlib.run([program, what, loops * faster(program), *arguments], options=[*options, "--profile", str(path)])
    assert done.status == status, done.stderr
    return path


def of(counts, *functions):
    """How often the stack's innermost functions were these."""
    return sum(n for stack, n in counts.items() if stack.endswith(";" + ";".join(functions)))


def child_of(path):
    found = [p for p in path.parent.iterdir() if re.fullmatch(re.escape(path.name) + r"\.\d+", p.name)]
    assert len(found) == 1, sorted(path.parent.iterdir())
    return found[0]


def test_shares_are_those_of_the_work(program, tmp_path):
    counts = stacks(profile(program, "shares", tmp_path))
    heavy, light, total = of(counts, "main", "heavy", "spin"), of(counts, "main", "light", "spin"), sum(counts.values())
    assert heavy + light > 0.8 * total >= 40, counts
    assert 0.6 < heavy / (heavy + light) < 0.9, counts  # three quarters
    assert all(stack.startswith("program;") for stack in counts), counts


def test_a_function_without_branches_is_charged_with_its_own_time(program, tmp_path):
    counts = stacks(profile(program, "leaf", tmp_path, loops=LOOPS // 4))
    assert of(counts, "main", "caller", "straight") > 2 * of(counts, "main", "caller"), counts
    assert of(counts, "main", "caller", "straight") > 20


def test_threads_are_apart_by_their_names(program, tmp_path):
    counts = stacks(profile(program, "threads", tmp_path))
    main, worker = (sum(n for s, n in counts.items() if s.startswith(name) and s.endswith(end))
                    for name, end in (("program;", "main;heavy;spin"), ("worker:1;", ";work;light;spin")))
    assert main > 20 and worker > 20, counts
    assert 0.2 < main / worker < 5


def test_a_forked_child_has_a_file_of_its_own(program, tmp_path):
    path = profile(program, "fork", tmp_path)
    parent, child = stacks(path), stacks(child_of(path))
    assert of(parent, "main", "heavy", "spin") > 20 and of(parent, "light", "spin") == 0
    assert of(child, "main", "light", "spin") > 20 and of(child, "heavy", "spin") == 0


def test_a_program_that_executes_another_leaves_its_profile(program, tmp_path):
    path = profile(program, "exec", tmp_path, arguments=[program])
    assert of(stacks(path), "main", "heavy", "spin") > 5
    assert of(stacks(child_of(path)), "caller", "straight") > 5


def test_a_program_that_a_signal_ends_leaves_its_profile(program, tmp_path):
    path = profile(program, "crash", tmp_path, status=-signal.SIGSEGV)
    assert of(stacks(path), "main", "heavy", "spin") > 5


def test_a_program_that_the_user_ends_leaves_its_profile(program, tmp_path):
    path = profile(program, "ended", tmp_path, status=-signal.SIGINT)
    assert of(stacks(path), "main", "heavy", "spin") > 5


def test_a_frame_pointer_that_leads_nowhere_does_no_harm(program, tmp_path):
    counts = stacks(profile(program, "stray", tmp_path))
    assert sum(n for stack, n in counts.items() if stack.split(";")[-1] == "stray") > 10, counts


def test_waiting_is_counted_when_asked_for(program, tmp_path):
    assert sum(stacks(profile(program, "wait", tmp_path)).values()) < 20
    counts = stacks(profile(program, "wait", tmp_path, "--profile-wait"))
    assert sum(n for stack, n in counts.items() if stack.endswith("read;[in a system call]")) > 20, counts


def test_the_map_has_the_functions_that_were_seen(program, tmp_path):
    path = profile(program, "shares", tmp_path)
    rows = [line.split(" ", 2) for line in (tmp_path / "out.map").read_text().splitlines()]
    functions = {name: (int(start, 16), int(size, 16)) for start, size, name in rows}
    seen = {name for stack in stacks(path) for name in stack.split(";")[1:] if not name.startswith("[")}
    assert seen == set(functions) and {"main", "heavy", "light", "spin"} <= seen
    assert [int(row[0], 16) for row in rows] == sorted(int(row[0], 16) for row in rows)
    assert all(size > 0 for start, size in functions.values() if start)


def test_no_link_is_followed_to_the_map(program, tmp_path):
    (tmp_path / "victim").write_text("mine")
    os.symlink("victim", tmp_path / "out.map")
    path = tmp_path / "out"
    done = runnerlib.run([program, "shares", LOOPS], options=["--profile", str(path)])
    assert done.status == 0 and b"no profile in" in done.stderr
    assert (tmp_path / "victim").read_text() == "mine"
    assert of(stacks(path), "heavy", "spin") > 5


def test_a_file_that_cannot_be_made_is_refused_at_the_start(program, tmp_path):
    done = runnerlib.run([program, "shares", 1], options=["--profile", str(tmp_path / "no" / "out")])
    assert done.status == 2 and b"--profile" in done.stderr
