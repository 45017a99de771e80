"""Killed at its system calls: the installed program always runs, and the next update succeeds.

Between two system calls that change a file or a folder the updater changes only its own memory, so killing it at the entry of
each of these visits every state in which it can leave the disk.  A run that is not hurt says which calls there are; strace(1)
kills at the N-th of a kind, which is the same one each time: the updater has one thread.  Reads, waits and what goes over the
network are left to the long run.

    pytest -m sweep tests/e2e/test_update_kills.py        each call, of every kind
"""
import os
import re
import subprocess
import tempfile
from collections import Counter, namedtuple
from contextlib import contextmanager

import pytest

import lib
import updatelib
from updatelib import Machine, release, serving

OLD, NEW = "0.1.0", "0.2.0"
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) and os.statvfs("/dev/shm").f_bavail * os.statvfs("/dev/shm").f_frsize > 200 << 20 else None
CHANGES = re.compile(r"^(rename|link|unlink|mkdir|rmdir|symlink|fchmod|fchown|chmod|chown|f?truncate|fallocate|fsync|fdatasync|flock|utime)")
STARTS = ("clone", "clone3", "fork", "vfork", "execve")
LINE = re.compile(r"^(?P<name>\w+)\((?P<rest>.*)$")

Call = namedtuple("Call", "name number text")  # the number counts calls of that name


def calls(machine, *options):
    """Every system call of an update that nobody hurts, in their order."""
    log = lib.scratch_directory() / "strace"
    result = machine.run(*options, wrap=["strace", "-qq", "-y", "-o", log])
    assert result.status == 0, result
    counts, found = Counter(), []
    for line in log.read_text(errors="replace").splitlines():
        match = LINE.match(line)
        if match:
            counts[match["name"]] += 1
            found.append(Call(match["name"], counts[match["name"]], line))
    return found


def changes_disk(call):
    if call.name in ("openat", "open", "creat"):
        return "O_CREAT" in call.text or "O_TRUNC" in call.text
    if call.name in ("write", "pwrite64", "writev"):
        return bool(re.match(r"\w+\(\d+</", call.text)) and "</dev/" not in call.text
    return bool(CHANGES.match(call.name)) or call.name in STARTS


def thinned(found):
    """Of many writes in a row to one file the first, one within and the last: those between differ in how much is there."""
    runs = []
    for call in found:
        kind = (call.name, re.match(r"\w+\((\d+)?", call.text)[1]) if "write" in call.name else None
        if runs and kind and runs[-1][0] == kind:
            runs[-1][1].append(call)
        else:
            runs.append((kind, [call]))
    return [call for _, row in runs for call in sorted({row[0], row[len(row) // 2], row[-1]}, key=lambda c: c.number)]


def hurt(machine, call, how, *options):
    return machine.run(*options, wrap=["strace", "-qq", "-o", "/dev/null", "-e", f"trace={call.name}", "-e",
                                       f"inject={call.name}:{how}:when={call.number}"])


def is_whole(machine, call, versions):
    """Each of the programs runs, and is one of these, to the byte."""
    for name in updatelib.PROGRAMS:
        said = subprocess.run([machine.bin / name, "--version"], capture_output=True, text=True)
        assert said.returncode == 0 and said.stdout in [f"{name} {v}\n" for v in versions], f"{name} after {call}: {said}"
        assert (machine.bin / name).read_bytes() in [updatelib.program(v, name) for v in versions], f"{name} after {call}"


@contextmanager
def fresh(server, rolls_back):
    """An installed program, in memory where there is room: what is made durable a thousand times need not be."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as home:
        machine = Machine(OLD, server, home=home)
        if rolls_back:
            machine.update()
        yield machine


def sweep(rolls_back, choose, part=(0, 1)):
    options = ("--update", "--rollback") if rolls_back else ("--update",)
    with serving(release(NEW)) as server:
        with fresh(server, rolls_back) as machine:
            chosen = choose(calls(machine, *options))[part[0]::part[1]]
        assert chosen
        killed = 0
        for call in chosen:
            with fresh(server, rolls_back) as machine:
                killed += kill_and_look(machine, call, options)
        assert killed >= len(chosen) // 2, "most of them must have been killed"


def kill_and_look(machine, call, options):
    """Was it killed?  The numbers of some calls vary a bit from run to run (how often the network is read): then it came to its end."""
    result = hurt(machine, call, "signal=KILL", *options)
    assert result.status in (-9, 137, 0), f"{call}: {result}"
    is_whole(machine, call, (OLD, NEW))
    again = machine.update()
    assert machine.version == NEW, f"{call}: {again}"
    is_whole(machine, call, (NEW,))
    assert machine.is_tidy(), call
    return result.status != 0


@pytest.mark.parametrize("part", range(2))
def test_killed_at_each_call_that_changes_the_disk(part):
    sweep(False, lambda found: thinned([call for call in found if changes_disk(call)]), (part, 2))


def test_killed_at_each_call_of_a_rollback_that_changes_the_disk():
    sweep(True, lambda found: thinned([call for call in found if changes_disk(call)]))


@pytest.mark.parametrize("part", range(8))
@pytest.mark.parametrize("rolls_back", [False, True], ids=["update", "rollback"])
@pytest.mark.sweep
def test_killed_at_every_call(rolls_back, part):
    sweep(rolls_back, lambda found: found, (part, 8))


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
