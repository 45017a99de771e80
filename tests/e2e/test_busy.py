"""A function that a thread is inside of is not replaced, unless the script says so."""
import signal
import threading

import pytest

import lib
from lib import Victim


@pytest.fixture
def victim():
    with Victim(lib.compiled("e2e_busy.c")) as v:
        yield v


def script(flags="", function="busy_outer"):
    return f"dl foo {lib.shared_object('e2e_busy_patch.c')}\njmp {flags} {function} $foo:new_outer"


@pytest.mark.parametrize("function", ["busy_outer", "busy_middle"])
def test_a_busy_function_is_refused_with_thread_function_and_backtrace(victim, function):
    before = lib.threads(victim.pid)
    assert victim.ask("enter") == "inside"
    (visitor,) = set(lib.threads(victim.pid)) - set(before)
    error = lib.refusal(victim.pid, script(function=function), "--timeout", "0")
    assert error["code"] == "busy"
    assert error["thread"] == visitor and function in error["function"]
    for frame in ("busy_middle", "busy_outer", "visitor"):
        assert frame in error["message"], error["message"]
    assert victim.ask("call") == "8"
    assert victim.ask("leave") == "outside"
    assert victim.ask("eintr") == "0"


def test_a_refusal_leaves_nothing_behind(victim):
    assert victim.ask("enter") == "inside"
    lib.refusal(victim.pid, script(), "--timeout", "0")
    first = [line for line in lib.maps(victim.pid) if "livepatch-ledger" not in line and "[heap]" not in line]
    lib.refusal(victim.pid, script(), "--timeout", "0")
    assert [m for m in lib.maps(victim.pid) if "livepatch-ledger" not in m and "[heap]" not in m] == first
    assert not lib.active_ids(victim.pid) and not lib.traced(victim.pid)
    assert set(lib.states(victim.pid)) <= set("RS")


def test_a_function_that_becomes_free_within_the_timeout_is_replaced(victim):
    assert victim.ask("enter") == "inside"
    with lib.livepatch_running("apply", "-p", victim.pid, "--timeout", "60", script=script()) as tool:
        # The ledger's mapping appears before the first pause: from then on the tool is waiting for us, or about to.
        lib.wait_for(lambda: lib.has_ledger(victim.pid), "the tool to begin")
        assert victim.ask("leave") == "outside"
        out, err = tool.communicate(timeout=lib.PATIENCE)
        assert tool.returncode == lib.DONE, err
    assert victim.ask("call") == "1000"


def test_the_process_runs_while_a_busy_function_is_waited_for(victim):
    assert victim.ask("enter") == "inside"
    with lib.livepatch_running("apply", "-p", victim.pid, "--timeout", "3600", script=script()) as tool:
        lib.wait_for(lambda: lib.has_ledger(victim.pid), "the tool to begin")
        for _ in range(1000):  # a process that were held stopped could not answer
            assert victim.ask("call") == "8"
        assert tool.poll() is None
        tool.send_signal(signal.SIGINT)
        tool.communicate(timeout=lib.PATIENCE)
        assert tool.returncode == lib.REFUSED


def test_allow_active_replaces_a_busy_function(victim):
    assert victim.ask("enter") == "inside"
    lib.apply(victim.pid, script("--allow-active"), "--timeout", "0")
    assert victim.ask("call") == "1000"
    assert victim.ask("leave") == "outside"  # through the old body, which is still there but for its first bytes


def test_allow_active_can_be_said_on_the_command_line(victim):
    assert victim.ask("enter") == "inside"
    lib.apply(victim.pid, script(), "--timeout", "0", "--allow-active")
    assert victim.ask("call") == "1000"
    assert victim.ask("leave") == "outside"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_while_waiting_leaves_nothing_changed(victim, number):
    assert victim.ask("enter") == "inside"
    with lib.livepatch_running("apply", "-p", victim.pid, "--timeout", "3600", "--json", script=script()) as tool:
        lib.wait_for(lambda: lib.has_ledger(victim.pid), "the tool to begin")
        tool.send_signal(number)
        out, err = tool.communicate(timeout=lib.PATIENCE)
        assert tool.returncode == lib.REFUSED, err
        assert '"interrupted"' in out
    assert not lib.active_ids(victim.pid) and not lib.traced(victim.pid)
    assert victim.ask("call") == "8"
    assert victim.ask("leave") == "outside"


@pytest.mark.parametrize("end,code", [("exit", "target-lost"), ("exec", "target-execed")])
def test_a_target_that_ends_or_execs_while_waited_for_is_reported_as_lost(victim, end, code):
    assert victim.ask("enter") == "inside"
    with lib.livepatch_running("apply", "-p", victim.pid, "--timeout", "3600", "--json", script=script()) as tool:
        lib.wait_for(lambda: lib.has_ledger(victim.pid), "the tool to begin")
        victim.send(end)
        out, err = tool.communicate(timeout=lib.PATIENCE)
        assert tool.returncode == lib.LOST, (out, err)
        assert f'"{code}"' in out
    if end == "exec":
        assert victim.line() == "ready"
        assert not lib.has_ledger(victim.pid) and not lib.traced(victim.pid)
        lib.apply(victim.pid, script())  # the new program is a target like any other
        assert victim.ask("call") == "1000"


def test_reverting_waits_for_a_thread_inside_the_replacement(tmp_path):
    source = lib.source_file("""
        int busy_middle(int wait);
        int through(int wait);
        int through(int wait) { return busy_middle(wait) * 100; }
        """, "through.c")
    with Victim(lib.compiled("e2e_busy.c")) as victim:
        lib.apply(victim.pid, f"dl foo {lib.shared_object(str(source), '-O1')}\njmp busy_outer $foo:through")
        assert victim.ask("call") == "100"
        assert victim.ask("enter") == "inside"
        lib.revert(victim.pid, "--all", "--free", "--timeout", "0", expect=lib.REFUSED)
        assert victim.ask("call") == "100"
        assert victim.ask("leave") == "outside"
        lib.revert(victim.pid, "--all", "--free", "--timeout", "60")
        assert victim.ask("call") == "8"


def test_two_livepatches_wait_for_each_other():
    with Victim(lib.compiled("e2e_target.c"), 3) as victim:
        results = []
        runs = [threading.Thread(target=lambda: results.append(lib.apply_json(victim.pid, lib.example_script())["id"]))
                for _ in range(6)]
        for run in runs:
            run.start()
        for run in runs:
            run.join()
        assert len(set(results)) == 6 == len(lib.active_ids(victim.pid))
        lib.revert(victim.pid)
        assert lib.behaviour(victim) == lib.OLD
