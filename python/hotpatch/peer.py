"""A connection to the agent of a process: the kernel says that it is that one, before anything is sent."""
import contextlib
import json
import os
import socket
import stat
import struct
import time

from . import answer, places
from .errors import ConnectionLost, HotpatchError, NoAgent, NoAnswer, NotAllowed

REPLY_MAX = 64 << 20
PIECE = 65536
CREDENTIALS = "3i"  # struct ucred


# ---- whose socket it is

class _NotIts(Exception):
    """Something has the name of a socket of the process's, and is none: as good as nothing, but worth a word."""


def _look(path, uid):
    """Root may have made it, before it became somebody else."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as why:
        raise _NotIts(f"cannot look at {path}: {why.strerror}") from None
    if not stat.S_ISSOCK(found.st_mode):
        raise _NotIts(f"{path} is no socket")
    if found.st_uid not in (uid, 0):
        raise _NotIts(f"{path} belongs to user {found.st_uid}, and the process to user {uid}")


def _check_peer(channel, path, pid, uid):
    """A connection's other end as the kernel knows it; anybody can give a socket a name."""
    credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(CREDENTIALS))
    peer, user, _ = struct.unpack(CREDENTIALS, credentials)
    if peer != pid:
        raise _NotIts(f"process {peer} listens at {path}, and not process {pid}")
    if user not in (uid, 0):
        raise _NotIts(f"user {user} listens at {path}, and the process belongs to user {uid}")


# ---- connecting

def _patience(channel, seconds):
    """The kernel itself waits for room among those that wait to be taken: poll() says nothing about that."""
    channel.setblocking(seconds > 0)
    whole = int(seconds)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", whole, max(1, int((seconds - whole) * 1e6))))


def _connect_at(path, pid, uid, patience):
    _look(path, uid)
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _patience(channel, patience)
        channel.connect(path)
        _check_peer(channel, path, pid, uid)
    except BaseException:
        channel.close()
        raise
    return channel


def _not_allowed(pid, why):
    return NotAllowed("permission", f"not allowed to talk to process {pid}: {why}")


def _late(pid, timeout):
    return NoAnswer("timeout", f"process {pid} takes no clients within {timeout:g} s (--timeout SEC waits longer)")


def _first(pid, uid, paths, timeout):
    """The socket of the first place that has the process's own; else the reason why none has."""
    refusal = strange = None
    end = time.monotonic() + timeout
    for path in paths:
        try:
            return _connect_at(path, pid, uid, max(0.0, end - time.monotonic())), None
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            pass  # nobody there, or not any more: the next place may have it
        except BlockingIOError:
            refusal = refusal or _late(pid, timeout)
        except _NotIts as why:
            strange = strange or why
        except OSError as why:
            refusal = refusal or _not_allowed(pid, f"cannot connect to {path}: {why.strerror or why}")
    return None, refusal or NoAgent("no-agent", f"process {pid} runs no agent; start it with LD_PRELOAD=libpreload_hotpatch.so, or bring "
                                                f"one in: hotpatch -p {pid} attach" + (f"\n{strange}" if strange else ""))


def _connect(pid, timeout):
    found = places.status(pid)
    if os.geteuid() not in (0, found.uid):
        raise _not_allowed(pid, f"only its user (uid {found.uid}) and root are")
    channel, failure = _first(pid, found.uid, places.candidates(pid, found), timeout)
    if failure:
        raise failure
    return channel


def answers(pid):
    """Whether it has an agent that takes clients now."""
    try:
        _connect(pid, 0).close()
    except HotpatchError:
        return False
    return True


# ---- asking

class Peer:
    """One request, one reply, and so on.  When anything fails nobody knows whose the next reply would be: it is closed."""

    def __init__(self, pid, timeout):
        self.pid, self.timeout = pid, timeout
        self._asked = 0
        self._begun = bytearray()  # of a reply
        self._socket = _connect(pid, timeout)

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # whoever waits in another thread is woken
        self._socket.close()

    def fileno(self):
        return self._socket.fileno()

    def deadline(self):
        return time.monotonic() + self.timeout

    def send(self, commands, kind, deadline):
        """A command is a list of its words."""
        self._asked += 1
        request = json.dumps({"id": self._asked, "cmd": commands, "text": kind is str}) + "\n"
        with self._conversing(), contextlib.suppress(BrokenPipeError):  # why it was closed can be read all the same
            self._socket.settimeout(max(0.0, deadline - time.monotonic()))  # who has no time asks all the same
            self._socket.sendall(request.encode())

    def receive(self, kind, deadline):
        """Rows of a kind (dict, str); the agent's refusal is raised."""
        with self._conversing():
            found = answer.parse(self._line(deadline))
            if found.get("id", self._asked) != self._asked:  # who is turned away was not asked for a request
                raise ValueError("it belongs to another request")
            rows, refusal = answer.read(found, kind)
        if refusal:
            raise refusal
        return rows

    @contextlib.contextmanager
    def understood(self):
        """What is done to the rows of an answer may find out that they are none.  Nothing else belongs into the block."""
        try:
            yield
        except LookupError as what:
            raise self._nonsense(f"{what} is missing") from None
        except (TypeError, ValueError) as why:
            raise self._nonsense(why) from None

    # ---- one line

    def arrived(self):
        """Takes what is there; whether that makes a reply that receive() need not wait for."""
        with self._conversing(), contextlib.suppress(BlockingIOError):
            self._take(0)
        return self._begun.endswith(b"\n")

    def _line(self, deadline):
        while not self._begun.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0:
                raise socket.timeout
            self._take(left)
        line, self._begun = self._begun, bytearray()
        return line.decode()

    def _take(self, seconds):
        self._socket.settimeout(seconds)
        piece = self._socket.recv(PIECE)
        if not piece:
            raise ConnectionResetError
        if len(self._begun) + len(piece) > REPLY_MAX or b"\n" in piece[:-1]:
            raise ValueError("it has no end, or more comes behind it")
        self._begun += piece

    # ---- what can happen

    @contextlib.contextmanager
    def _conversing(self):
        if self.fileno() < 0:
            raise ConnectionLost("target-lost", f"the connection to process {self.pid} is closed: connect again")
        try:
            yield
        except BaseException as why:
            self.close()
            raise self._meaning(why) from None

    def _meaning(self, why):
        if isinstance(why, (socket.timeout, BlockingIOError)):
            return NoAnswer("timeout", f"process {self.pid} has not answered within {self.timeout:g} s (--timeout SEC waits longer); "
                                       "what was asked for may happen yet")
        if isinstance(why, OSError):
            return ConnectionLost("target-lost", f"process {self.pid} ended, or its agent did, before it answered")
        return self._nonsense(why) if isinstance(why, ValueError) else why

    def _nonsense(self, why):
        return HotpatchError("remote-call", f"process {self.pid} answers with what is no reply: {why}")
