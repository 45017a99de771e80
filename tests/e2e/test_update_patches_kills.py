"""A set of patches that is being put into a folder, killed at each call that changes the disk: each file is whole, the next one succeeds."""
import shutil

import pytest

from test_update_patches import A, B, C, offered, pull
from updatekills import calls, changes_disk, hurt, thinned

OLD = {A: b"A", B: b"B"}
NEW = {B: b"B2", C: b"C"}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def left(folder):
    """What is there besides, which is the puller's own."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if str(path.relative_to(folder)).startswith("."))


@pytest.fixture
def folders():
    """With the set before in it; a copy, and what is remembered, for each time that it is hurt."""
    with offered(("9", OLD)) as (machine, folder), offered(("10", NEW)) as (other, _):
        pull(machine, folder)
        machine.configure(url=other.settings["url"], ca_file=other.settings["ca_file"])

        def again():
            for kept, place in ((machine.home / "kept", folder), (machine.home / "kept-state", machine.state)):
                if kept.exists():
                    shutil.rmtree(place)
                    shutil.copytree(kept, place, symlinks=True)
                else:
                    shutil.copytree(place, kept, symlinks=True)

        again()
        yield machine, folder, again


def test_killed_at_each_call_that_changes_the_disk(folders):
    machine, folder, again = folders
    options = ("--patches", folder)
    chosen = thinned([call for call in calls(machine, *options) if changes_disk(call)])
    assert contents(folder) == NEW
    clean = left(folder)
    killed = 0
    for call in chosen:
        again()
        assert contents(folder) == OLD
        result = hurt(machine, call, "signal=KILL", *options)
        assert result.status in (-9, 137, 0), f"{call}: {result}"
        killed += result.status != 0
        for name, data in contents(folder).items():
            assert data in (OLD.get(name), NEW.get(name)), f"{name} after {call} is {data}"
        pull(machine, folder)
        assert contents(folder) == NEW, f"after {call}"
        assert left(folder) == clean, f"after {call}"
    assert killed >= len(chosen) // 2, "most of them must have been killed"
