"""Updates that strace(1) hurts at one system call, chosen by name and number.

Between two system calls that change a file or a folder the updater changes only its own memory, so killing it at the entry of
each of these visits every state in which it can leave the disk.  A run that is not hurt says which calls there are; the N-th of a
kind is the same one each time, for the updater has one thread.
"""
import os
import re
import subprocess
import tempfile
from collections import Counter, namedtuple
from contextlib import contextmanager

import lib
import updatelib
from updatelib import Machine, release, serving

OLD, NEW = "0.1.0", "0.2.0"
ROOM = 200 << 20  # bytes, for one installed program, the one before and the next
CHANGES = re.compile(r"^(rename|link|unlink|mkdir|rmdir|symlink|fchmod|fchown|chmod|chown|f?truncate|fallocate|fsync|fdatasync|flock|utime)")
STARTS = ("clone", "clone3", "fork", "vfork", "execve")
LINE = re.compile(r"^(?P<name>\w+)\((?P<rest>.*)$")

Call = namedtuple("Call", "name number text")  # the number counts calls of that name


def memory():
    """A folder in memory; None where there is none with room."""
    shm = "/dev/shm"
    return shm if os.access(shm, os.W_OK) and os.statvfs(shm).f_bavail * os.statvfs(shm).f_frsize > ROOM else None


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


def rows(found, kind_of):
    """Calls in a row that are of one kind; None is a kind of its own each time."""
    kinds, found_rows = [], []
    for call in found:
        kind = kind_of(call)
        if kinds and kind is not None and kinds[-1] == kind:
            found_rows[-1].append(call)
        else:
            kinds.append(kind)
            found_rows.append([call])
    return found_rows


def ends_and_middle(row):
    return [row[i] for i in sorted({0, len(row) // 2, len(row) - 1})]


def thinned(found):
    """Of many writes in a row to one file the first, one within and the last: those between differ in how much is there."""
    def file_of(call):
        return (call.name, re.match(r"\w+\((\d+)?", call.text)[1]) if "write" in call.name else None
    return [call for row in rows(found, file_of) for call in ends_and_middle(row)]


def all_but_reading(found):
    """Each call, but of those in a row that only look (thousands, at lists of packages) the first, one within and the last."""
    return [call for row in rows(found, lambda call: None if changes_disk(call) else "looks") for call in ends_and_middle(row)]


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
    with tempfile.TemporaryDirectory(dir=memory()) as home:
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
    known = {machine.remembered(end) for end in ("", ".new", ".index", ".index.new")}
    assert set(machine.remembered().parent.iterdir()) <= known, f"{call} leaves more each time"
    return result.status != 0
