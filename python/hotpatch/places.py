"""Processes, and where the sockets of an agent in one can be."""
import contextlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from .errors import HotpatchError, NoAgent


@dataclass(frozen=True)
class Status:
    """What the kernel says of a process."""

    uid: int  # whose rights it has
    inner: int  # its number in its own pid namespace, which the sockets are named after


def _numbers(text, name):
    found = re.search(rf"^{name}:\t([\d\t ]*)$", text, re.MULTILINE)
    return [int(number) for number in found[1].split()] if found else []


def _is_over(text):
    """A first thread that has ended is a zombie, too, while others go on."""
    return re.search(r"^State:\t[ZX]", text, re.MULTILINE) and _numbers(text, "Threads") in ([], [0], [1])


def status(pid):
    """NoAgent when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        raise NoAgent("target-lost", f"there is no process {pid}") from None
    process = _numbers(text, "Tgid")[0]
    if process != pid:
        raise NoAgent("target-lost", f"{pid} is a thread of process {process}: name the process")
    if _is_over(text):
        raise NoAgent("target-lost", f"process {pid} has exited already; its parent has not asked how")
    return Status(_numbers(text, "Uid")[1], (_numbers(text, "NSpid") or [pid])[-1])


def candidates(pid, found):
    """Paths of possible sockets, the usual ones first; a container's through /proc/PID/root."""
    uid, inner = found.uid, found.inner
    names = [f"/run/user/{uid}/hotpatch/{inner}.sock"]
    if uid == os.geteuid() and os.environ.get("XDG_RUNTIME_DIR"):
        names.insert(0, os.path.join(os.environ["XDG_RUNTIME_DIR"], "hotpatch", f"{inner}.sock"))
    if uid == 0:
        names.append(f"/run/hotpatch/{inner}.sock")
    names += [f"/tmp/hotpatch-{uid}/{inner}.sock", f"/tmp/{inner}.socket"]
    root = "" if is_here(pid) else f"/proc/{pid}/root"
    return [*(root + name for name in names), *(f"{spare}/{inner}.sock" for spare in _spares(root, uid))]


def _spares(root, uid):
    """What an agent has when somebody else has all of those names: /tmp/hotpatch-UID.XXXXXX."""
    prefix = f"hotpatch-{uid}."
    with contextlib.suppress(OSError), os.scandir(f"{root}/tmp") as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and len(entry.name) == len(prefix) + 6 and _is_private(entry.path, uid):
                yield entry.path


def _is_private(path, uid):
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o077


def is_here(pid):
    """Its paths are ours: it has the same root directory."""
    try:
        theirs, ours = os.stat(f"/proc/{pid}/root"), os.stat("/proc/self/root")
    except OSError:
        return True
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def running():
    """Numbers of all processes, in order."""
    try:
        return sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    except OSError as why:
        raise HotpatchError("file", f"cannot read /proc: {why.strerror}") from None


def name(pid):
    """What the kernel calls it, "?" when it is gone; its first line."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").split("\n")[0]
    except OSError:
        return "?"
