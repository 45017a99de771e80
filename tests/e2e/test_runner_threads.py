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


SLEEPS = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>
static sem_t end;
static void *wait(void *arg) {
	sem_wait(&end);
	return NULL;
}
static long sleeps(void) {
	struct rusage usage;
	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}
/* Threads that run at the same time wait for each other in the kernel, to map memory: one processor for all. */
static void stay(void) {
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof one, &one);
}
int main(void) {
	enum { NR = 60 };
	pthread_t thread[NR];
	sem_init(&end, 0, 0);
	stay();
	long before = sleeps();
	for (int i = 0; i < NR; i++)
		pthread_create(&thread[i], NULL, wait, NULL);
	printf("%ld\n", sleeps() - before);
	for (int i = 0; i < NR; i++)
		sem_post(&end);
	for (int i = 0; i < NR; i++)
		pthread_join(thread[i], NULL);
	return 0;
}
"""


def test_who_makes_threads_does_not_wait_for_them_to_begin(tmp_path):
    """But now and then for a lock of the kernel."""
    run = runnerlib.run([runnerlib.compiled(SLEEPS, where=tmp_path)])
    assert run.status == 0 and int(run.stdout) < 20, run
