"""
What start-up and forks cost the host, in system calls: counts are the same on a busy machine, and clocks are not.  Without
translations of earlier runs, which have calls of their own and differ from run to run.
"""
import re
import subprocess

import pytest
from runnerlib import RUNNER, compiled, sysroot

FORKS = r"""
#include <sys/wait.h>
#include <unistd.h>
int main(void)
{
    for (int i = 0; i < 4; i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0)
            _exit(7);
        if (waitpid(pid, &status, 0) != pid || WEXITSTATUS(status) != 7)
            return 1;
    }
    return 0;
}
"""
THREADS = r"""
#include <pthread.h>
static void *nothing(void *arg) { return arg; }
int main(void)
{
    for (int i = 0; i < 40; i++) {
        pthread_t t;
        if (pthread_create(&t, 0, nothing, 0) || pthread_join(t, 0))
            return 1;
    }
    return 0;
}
"""
NOTHING = "int main(void) { return 0; }"


def calls(where, *command):
    """The system calls of each thread, in the order in which threads began, from the program's begin on."""
    return list(traced(where, *command)[0].values())


def traced(where, *command):
    """The system calls of each thread, by its number, and the numbers of the processes that were waited for, in that order."""
    out = where / "calls"
    done = subprocess.run(["strace", "-f", "-qq", "-e", "signal=none", "-o", out, RUNNER, "--no-cache", *command], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    of, waited = {}, []
    for line in out.read_text().splitlines():
        pid, call = line.split(None, 1)
        name = re.match(r"(\w+)\(", call)
        if name:
            of.setdefault(pid, []).append(name[1])
        waited += re.findall(r"wait4.* = (\d+)$", call)
    return of, waited


@pytest.fixture
def where(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_program_that_does_nothing_starts_with_few_calls(where):
    program = compiled(NOTHING, where=where)
    calls(where, program)  # its translations are kept
    first, *_ = calls(where, program)
    assert first[-1] == "exit_group"
    assert len(first) <= 210, first  # of which 63 ask what each signal does
    assert first.count("mmap") <= 24, first
    assert first.count("mprotect") <= 12, first
    assert "socket" not in first and "bind" not in first, first


def test_a_program_of_a_sysroot_starts_with_few_calls(where):
    root = sysroot()
    calls(where, "-L", str(root), root / "usr/bin/true")
    first, *_ = calls(where, "-L", str(root), root / "usr/bin/true")
    assert len(first) <= 380, first


def test_a_forked_child_makes_few_calls_of_ours(where):
    # By whom the program waits for: strace tells exit_group of a thread, too, that another's exit_group kills at its own system call.
    threads, waited = traced(where, compiled(FORKS, where=where))
    assert len(waited) == 4, threads
    children = [threads[pid] for pid in waited]
    # The guest's own are set_robust_list and exit_group.  What the first child comes to, the second translates, and the others
    # find translated.
    assert len(children[0]) <= 20 and len(children[1]) <= 20, children
    for child in children[2:]:
        assert len(child) <= 9, child
        assert "mmap" not in child and "mprotect" not in child and "madvise" not in child, child


def test_threads_one_after_the_other_use_the_same_memory(where):
    everyone = calls(where, compiled(THREADS, where=where))
    nothing = calls(where, compiled(NOTHING, where=where))
    maps = [sum(c.count("mmap") + c.count("munmap") for c in threads) for threads in (everyone, nothing)]
    assert len(everyone) >= 41
    assert maps[0] - maps[1] < 40, maps
