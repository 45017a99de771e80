"""Targets that do not keep still: threads by the thousand, programs run all the time, memory shared with others."""
import pytest

import lib
from lib import Victim

ROUNDS = 5


def constant_script():
    source = lib.source_file('const char *func1(int n) { return n < 0 ? "negative" : "patched J"; }\n', "constant.c")
    return f"dl foo {lib.shared_object(str(source))}\njmp func_J $foo:func1"


@pytest.mark.parametrize("parents,more", [(1, ()), (4, ()), (16, ()), (4, ("spawn",))],
                         ids=["one parent", "four", "sixteen", "and programs"])
def test_a_storm_of_threads_is_patched_or_refused_in_bounded_time(parents, more):
    """Bounded by lib.livepatch(), which runs nothing for ever; threads alone are no reason to be refused every time."""
    done = rounds = 0
    with Victim(lib.compiled("e2e_storm.c"), parents, *more) as victim:
        begin = int(victim.ask().split()[1])
        while rounds < ROUNDS or not (done or more) and rounds < 10 * ROUNDS:
            rounds += 1
            result = lib.apply(victim.pid, constant_script(), "--json", expect=None)
            if result.status == lib.REFUSED:
                assert result.error["code"] in ("timeout", "busy", "no-thread", "shared-memory"), result
                continue
            assert result.status == lib.DONE, result
            done += 1
            assert victim.ask().endswith("patched J")
            lib.revert(victim.pid, "--all", "--free")
            answer = victim.ask()
            assert answer.startswith("ok ") and answer.endswith("original J")
        lib.wait_for(lambda: int(victim.ask().split()[1]) > begin + 100, "the storm to go on")
        assert not lib.traced(victim.pid)
    assert done or more


def test_a_process_in_the_same_memory_is_a_reason_to_refuse_that_names_it():
    with Victim(lib.compiled("e2e_sharer.c")) as victim:
        sharer = victim.ask("share")
        error = lib.refusal(victim.pid, constant_script(), "--timeout", "0")
        assert error["code"] == "shared-memory" and f"process {sharer} " in error["message"], error
        assert victim.ask("call") == "original J"
        assert victim.ask("end") == "ended"
        lib.apply(victim.pid, constant_script())
        assert victim.ask("call") == "patched J"


def test_a_child_that_was_forked_is_no_process_in_the_same_memory():
    with Victim(lib.compiled("e2e_fork.c")) as victim:
        child = int(victim.ask("fork"))
        lib.apply(victim.pid, constant_script(), "--timeout", "0")
        assert victim.ask("call") == "patched J" and victim.ask("child call") == "original J"
        lib.apply(child, constant_script(), "--timeout", "0")
        assert victim.ask("child call") == "patched J"
