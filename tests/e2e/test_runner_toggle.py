"""A function that 64 threads run through is patched and unpatched all the time: no thread sees a mixture, none crashes.

    make toggle-torture                 # 100,000 toggles of each kind: bench/toggle-torture
"""
import shutil
import statistics

import pytest

import lib
import runner_live
import toggling

TOGGLES = {"spinning": 100, "yielding": 1000}

pytestmark = [pytest.mark.skipif(not shutil.which(runner_live.CC), reason="no aarch64-linux-gnu-gcc here"),
              pytest.mark.skipif(not runner_live.RUNNER.exists(), reason="arm64_runner is not built")]


@pytest.fixture(scope="module")
def program():
    return toggling.built()


@pytest.mark.parametrize(("mode", "kind"), toggling.CASES)
def test_threads_that_run_through_what_is_toggled_see_the_old_or_the_new(kind, mode, program, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(lib.private_directory()))
    assert toggling.toggle(program, kind, mode, TOGGLES[mode]).toggles == TOGGLES[mode]


@pytest.mark.parametrize("kind", toggling.LOOPS)
@pytest.mark.parametrize("engine", ["--jit=tier1", "--jit=tier2", "--jit=both"])
def test_so_do_those_whose_loops_are_toggled(engine, kind, program, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(lib.private_directory()))
    assert toggling.toggle(program, kind, "yielding", 500, options=[engine]).toggles == 500


@pytest.mark.parametrize("threads", [8, 64])
@pytest.mark.parametrize("kind", toggling.STRAIGHT)
@pytest.mark.parametrize("engine", ["--jit=tier1", "--jit=tier2"])
def test_what_is_toggled_is_translated_code_that_threads_are_in(engine, kind, threads, program, monkeypatch):
    """Each change drops translations, as all threads have come through what was changed before: `rounds` says so."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(lib.private_directory()))
    dropped, _ = toggling.toggle_when_hot(program, kind, engine, threads, 10)
    assert dropped >= 2 * 10


@pytest.mark.parametrize("kind", ["INLINE in a loop", "INSERT in a loop"])
@pytest.mark.parametrize("engine", ["--jit=tier2", "--jit=both"])
def test_loops_that_are_toggled_become_regions_each_time(engine, kind, program, monkeypatch):
    """At least when nothing is inserted: with a detour in it, a loop is too long for one."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(lib.private_directory()))
    dropped, regions = toggling.toggle_when_hot(program, kind, engine, toggling.THREADS, 10)
    assert dropped >= 2 * 10
    assert regions >= 10


def test_what_threads_execute_when_they_may_go_on_is_no_part_of_the_pause(program, monkeypatch):
    """Sixty-four that never give way take all processors as soon as they are let go: tens of milliseconds, for each change."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(lib.private_directory()))
    on, off = toggling.KINDS["INLINE"]
    rest = []
    with runner_live.Guest(program, args=(str(toggling.THREADS),)) as guest:
        client = guest.client()
        for line in [on, off] * 10:
            client.say(line)
            stats = dict(row.split(": ", 1) for row in client.say("patch stats"))
            rest.append(int(stats["last pause, nanoseconds"]) - int(stats["of these, until all threads stood still"]))
    assert 0 < statistics.median(rest) < 20_000_000, rest
