"""Killed at its system calls: the installed program always runs, and the next update succeeds.

Here at each call that changes the disk; in the long run also before, between and behind them.

    pytest -m sweep tests/e2e/test_update_kills.py
"""
import pytest

from updatekills import all_but_reading, changes_disk, sweep, thinned


@pytest.mark.parametrize("part", range(2))
def test_killed_at_each_call_that_changes_the_disk(part):
    sweep(False, lambda found: thinned([call for call in found if changes_disk(call)]), (part, 2))


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("rolls_back", [False, True], ids=["update", "rollback"])
@pytest.mark.sweep
def test_killed_at_every_call(rolls_back, part):
    sweep(rolls_back, all_but_reading, (part, 4))
