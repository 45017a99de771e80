"""Threads and processes of emulated programs: as on this machine (tests/guest/threads.c, processes.c)."""
import pytest

import guestlib
import runnerlib

pytestmark = pytest.mark.skipif(bool(guestlib.missing()), reason=guestlib.missing() or "-")

NEED_ANOTHER = {"waits", "ignores"}  # test_runner_signals.py


@pytest.mark.parametrize("part", guestlib.parts("threads")[0])
def test_threads_do_what_they_do_on_this_machine(part):
    guestlib.same("threads", part)


@pytest.mark.parametrize("part", [p for p in guestlib.parts("processes")[0] if p not in NEED_ANOTHER])
def test_processes_do_what_they_do_on_this_machine(part):
    guestlib.same("processes", part)


RSEQ = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/rseq.h>
static void *tell(void *arg) {
	struct rseq *own = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
	int cpu = sched_getcpu();
	cpu_set_t set;
	sched_getaffinity(0, sizeof set, &set);
	printf("registered %d, cpu_id %d, cpu %s\n", __rseq_size != 0, (int)own->cpu_id, cpu >= 0 && CPU_ISSET(cpu, &set) ? "right" : "wrong");
	return NULL;
}
int main(void) {
	pthread_t thread;
	tell(NULL);
	pthread_create(&thread, NULL, tell, NULL);
	pthread_join(thread, NULL);
	return 0;
}
"""


def test_the_c_library_does_without_restartable_sequences(tmp_path):
    """It says so to whoever looks (RSEQ_CPU_ID_REGISTRATION_FAILED), and asks the kernel for the processor."""
    run = runnerlib.run([runnerlib.compiled(RSEQ, where=tmp_path)])
    assert run.stdout.decode().splitlines() == ["registered 0, cpu_id -2, cpu right"] * 2, run
