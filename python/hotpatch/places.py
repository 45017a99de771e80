"""Where the sockets of an agent can be, and which processes have one."""
import os
import re
import stat
from pathlib import Path

from .errors import NotAllowed


def _status(pid):
    """Uid and the number that the process has in its own pid namespace."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    uid = int(re.search(r"^Uid:\t\d+\t(\d+)", text, re.MULTILINE)[1])
    inner = re.search(r"^NSpid:\t(.*)$", text, re.MULTILINE)
    return uid, int(inner[1].split()[-1]) if inner else pid


def owner(pid):
    return _status(pid)[0]


def candidates(pid):
    """Paths of possible sockets, the private ones first; a container's through /proc/PID/root."""
    uid, inner = _status(pid)
    names = [f"/run/user/{uid}/hotpatch/{inner}.sock"]
    if uid == os.geteuid() and os.environ.get("XDG_RUNTIME_DIR"):
        names.insert(0, os.path.join(os.environ["XDG_RUNTIME_DIR"], "hotpatch", f"{inner}.sock"))
    if uid == 0:
        names.append(f"/run/hotpatch/{inner}.sock")
    names += [f"/tmp/hotpatch-{uid}/{inner}.sock", f"/tmp/{inner}.socket"]
    roots = [""] if _same_root(pid) else [f"/proc/{pid}/root"]
    return [root + name for root in roots for name in names]


def _same_root(pid):
    try:
        theirs, ours = os.stat(f"/proc/{pid}/root"), os.stat("/proc/self/root")
    except OSError:
        return True
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def check(path, uid):
    """OSError; NotAllowed when it is no socket, or nobody's who may have made it: root may have, before it became somebody else."""
    found = os.lstat(path)
    if not stat.S_ISSOCK(found.st_mode):
        raise NotAllowed("permission", f"{path} is no socket")
    if found.st_uid not in (uid, 0):
        raise NotAllowed("permission", f"{path} belongs to user {found.st_uid}, and the process to user {uid}")


def running():
    """Numbers of all processes, in order."""
    return sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def name(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").rstrip("\n")
    except OSError:
        return "?"
