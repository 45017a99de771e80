"""A rollback that is killed, and an update whose calls fail, at each system call that changes the disk."""
import pytest

from updatekills import NEW, OLD, STARTS, calls, changes_disk, fresh, hurt, is_whole, sweep, thinned
from updatelib import release, serving


def test_a_rollback_is_killed_at_each_call_that_changes_the_disk():
    sweep(True, lambda found: thinned([call for call in found if changes_disk(call)]))


# ---- calls that fail

def fails(call):
    return changes_disk(call) and call.name not in STARTS and call.name != "flock"


@pytest.mark.parametrize("error", ["ENOSPC", pytest.param("EIO", marks=pytest.mark.sweep)])
def test_each_call_that_changes_the_disk_fails_once(error):
    """Then it is refused in a sentence or was not needed, and the programs are whole either way."""
    with serving(release(NEW)) as server:
        with fresh(server, False) as machine:
            chosen = thinned([call for call in calls(machine, "--update") if fails(call)])
        refused = 0
        for call in chosen:
            with fresh(server, False) as machine:
                refused += fail_and_look(machine, call, error)
        assert refused > len(chosen) // 3, "most of them were not needed"


def fail_and_look(machine, call, error):
    """Was it refused?"""
    result = hurt(machine, call, f"error={error}", "--update")
    assert result.status in (0, 1), f"{call}: {result}"
    is_whole(machine, call, (OLD, NEW))
    if result.status == 1:
        assert result.err.count("\n") == 1 and result.err.startswith("update_module: "), f"{call}: {result}"
        assert machine.version == OLD, f"{call}: {result}"
    machine.update()
    is_whole(machine, call, (NEW,))
    return result.status == 1
