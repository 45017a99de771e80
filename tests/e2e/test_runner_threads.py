"""Threads and processes of emulated programs: as on this machine (tests/guest/threads.c, processes.c)."""
import pytest

import guestlib

pytestmark = pytest.mark.skipif(bool(guestlib.missing()), reason=guestlib.missing() or "-")

NEED_ANOTHER = {"waits", "ignores"}  # test_runner_signals.py


@pytest.mark.parametrize("part", guestlib.parts("threads")[0])
def test_threads_do_what_they_do_on_this_machine(part):
    guestlib.same("threads", part)


@pytest.mark.parametrize("part", [p for p in guestlib.parts("processes")[0] if p not in NEED_ANOTHER])
def test_processes_do_what_they_do_on_this_machine(part):
    guestlib.same("processes", part)
