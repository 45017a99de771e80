"""Threads of every kind come back exactly as they were."""
import os
import signal

import pytest

import lib
from lib import NEW, OLD, Victim, behaviour

ROUNDS = 200


def constant_script():
    """For victims that have func_J but no str_P."""
    source = lib.source_file('const char *func1(int n) { return n < 0 ? "negative" : "patched J"; }\n', "constant.c")
    return f"dl foo {lib.shared_object(str(source))}\njmp func_J $foo:func1"


def apply_and_revert(pid, rounds, between=lambda: None):
    for _ in range(rounds):
        lib.apply(pid, constant_script())
        between()
        lib.revert(pid, "--all", "--free")


def test_blocked_threads_see_no_interruption_and_no_wrong_timeout():
    with Victim(lib.compiled("e2e_blockers.c")) as victim:
        def fewest(request="ask"):
            ok, waits = victim.ask(request).split()
            assert ok == "ok"
            return int(waits)

        begin = fewest("continued")

        def change():
            lib.apply(victim.pid, constant_script())
            assert victim.ask("call") == "patched J"
            lib.revert(victim.pid, "--all", "--free")
            assert victim.ask("call") == "original J"
            return fewest("continued") > begin + 10

        for _ in range(ROUNDS // 4):
            change()
        # A wait that began anew with each pause would never end while they come.
        lib.wait_for(change, "every wait that can be continued to finish again and again")
        last = fewest()
        lib.wait_for(lambda: fewest() > last + 2, "the others to finish")


def test_threads_that_come_and_go_are_all_caught():
    with Victim(lib.compiled("e2e_churn.c")) as victim:
        begin = int(victim.ask().split()[1])

        def patched():
            assert victim.ask().endswith("patched J")

        apply_and_revert(victim.pid, ROUNDS, patched)
        ok, born, *answer = victim.ask().split()
        assert ok == "ok" and answer == ["original", "J"]
        lib.wait_for(lambda: int(victim.ask().split()[1]) > begin + ROUNDS, "threads to be born")
        assert not lib.traced(victim.pid)


def test_fifty_spinning_and_sleeping_threads_keep_their_arithmetic():
    with Victim(lib.compiled("e2e_target.c"), 50) as victim:
        for _ in range(ROUNDS // 4):
            lib.apply(victim.pid, lib.example_script())
            assert behaviour(victim) == NEW
            lib.revert(victim.pid, "--all", "--free")
            assert behaviour(victim) == OLD
        assert victim.ask("eintr") == "0"


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTSTP])
def test_a_target_that_job_control_stopped_is_patched_and_stays_stopped(number):
    with Victim(lib.compiled("e2e_target.c"), 4) as victim:
        os.kill(victim.pid, number)
        lib.wait_for(lambda: set(lib.states(victim.pid)) == {"T"}, "the target to stop")
        lib.apply(victim.pid, lib.example_script())
        lib.wait_for(lambda: set(lib.states(victim.pid)) == {"T"}, "the target to be stopped again")
        lib.revert(victim.pid)
        lib.apply(victim.pid, lib.example_script())
        lib.wait_for(lambda: set(lib.states(victim.pid)) == {"T"}, "the target to be stopped again")
        assert not lib.traced(victim.pid)
        os.kill(victim.pid, signal.SIGCONT)
        assert behaviour(victim) == NEW
        assert victim.ask("eintr") == "0"


def test_a_target_stopped_by_job_control_reports_no_stop_or_continue_to_its_parent_that_did_not_happen():
    """A shell watches its jobs by waitpid: it must not see the target continue."""
    with Victim(lib.compiled("e2e_target.c"), 2) as victim:
        os.kill(victim.pid, signal.SIGSTOP)
        assert os.waitpid(victim.pid, os.WUNTRACED)[1] & 0xff == 0x7f
        lib.apply(victim.pid, lib.example_script())
        continued, _ = os.waitpid(victim.pid, os.WCONTINUED | os.WNOHANG)
        assert continued == 0
        os.kill(victim.pid, signal.SIGCONT)
        assert behaviour(victim) == NEW


def test_a_pending_signal_is_delivered_once():
    source = lib.source_file("""
        #include <signal.h>
        #include "e2e_serve.h"
        const char *func_J(int n);
        static volatile sig_atomic_t seen;
        PATCHED const char *func_J(int n) { return n < 0 ? "negative" : "original J"; }
        static void handler(int sig) { seen++; }
        static void answer(char *request) { say("%d %s", (int)seen, func_J(1)); }
        int main(void)
        {
            sigaction(SIGUSR1, &(struct sigaction){.sa_handler = handler, .sa_flags = SA_RESTART}, NULL);
            serve(answer);
            return 0;
        }
        """, "signals.c")
    with Victim(lib.compiled(str(source))) as victim:
        for i in range(1, 60):
            with lib.livepatch_running("apply", "-p", victim.pid, script=constant_script()) as tool:
                os.kill(victim.pid, signal.SIGUSR1)
                _, err = tool.communicate(timeout=lib.PATIENCE)
                assert tool.returncode == lib.DONE, err
            assert victim.ask() == f"{i} patched J"
            lib.revert(victim.pid, "--all", "--free")
