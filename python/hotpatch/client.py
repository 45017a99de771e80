"""One connection to the agent of a process, in JSON, and what can be asked of it."""
import contextlib
import json
import os
import socket
import struct
from dataclasses import dataclass

from . import places
from .errors import AgentError, ConnectionLost, HotpatchError, NoAgent, NotAllowed, WrongUse

TIMEOUT = 10.0
REPLY_MAX = 256 << 20


@dataclass(frozen=True)
class Flag:
    name: str
    value: str
    type: str = ""
    default: str = ""
    description: str = ""
    file: str = ""


@dataclass(frozen=True)
class Variable:
    name: str
    type: str
    value: object
    pointer: int


@dataclass(frozen=True)
class Library:
    name: str
    path: str
    in_use: int


@dataclass(frozen=True)
class Function:
    name: str
    pointer: int
    level: int
    library: str


def _typed(kind, text):
    """A value as Python has it."""
    if kind == "bool":
        return text == "true"
    if kind in ("float", "double"):
        return float(text)
    if "int" in kind or kind in ("short", "ushort", "long", "ulong"):
        return int(text)
    return text


def _text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def _type_of(value):
    """The agent's name for a Python value's type."""
    for kind, name in ((bool, "bool"), (int, "int"), (float, "double"), (str, "string")):
        if isinstance(value, kind):
            return name
    raise HotpatchError("wrong-type", f"a {type(value).__name__} is no value that a variable can have")


def _commands(words):
    """A command is a list of its words."""
    commands = [[]]
    for word in map(str, words):
        if word == ";":
            commands.append([])
        else:
            commands[-1].append(word)
    return commands


class Process:
    """An agent, asked one command at a time.  Not to be shared between threads."""

    def __init__(self, pid, timeout=TIMEOUT):
        self.pid = pid
        self._asked = 0
        self._rest = b""
        self._socket = _connect(pid, timeout)

    def close(self):
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- any command ----

    def run(self, *words):
        """The rows of a command's answer, each a dictionary; raises AgentError when it is refused.

        A word ";" stands between commands that happen together, or not at all.
        """
        return self._ask(words, False)

    def lines(self, *words):
        """The same, each row a line of text as people read it."""
        return self._ask(words, True)

    def _ask(self, words, text):
        self._asked += 1
        request = json.dumps({"id": self._asked, "cmd": _commands(words), "text": text}) + "\n"
        try:
            self._socket.sendall(request.encode())
            reply = json.loads(self._line())
        except (OSError, ValueError) as why:
            raise ConnectionLost("target-lost", f"process {self.pid} did not answer: {why}") from why
        if not reply.get("ok"):
            error = reply.get("error", {})
            kind = WrongUse if error.get("code") == "usage" else AgentError
            raise kind(error.get("code", "unknown"), error.get("message", "refused"))
        return reply.get("data", [])

    def _line(self):
        while b"\n" not in self._rest:
            more = self._socket.recv(65536)
            if not more or len(self._rest) > REPLY_MAX:
                raise ConnectionLost("target-lost", f"process {self.pid} closed the connection")
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("utf-8", errors="replace")

    @contextlib.contextmanager
    def transaction(self):
        """What is asked for inside is prepared, and done as a whole at the end; or not at all when anything fails."""
        self.run("begin")
        try:
            yield self
        except BaseException:
            with contextlib.suppress(HotpatchError):
                self.run("abort")
            raise
        self.run("commit")

    # ---- flags ----

    def flags(self):
        return {row["name"]: Flag(**row) for row in self.run("gflags", "list")}

    def get_flag(self, name):
        row = self.run("gflags", "get", name)[0]
        return _typed(row.get("type", "string"), row["value"])

    def set_flag(self, name, value, unsafe=False):
        self.run("gflags", "set", *(["--unsafe"] if unsafe else []), name, _text(value))

    # ---- variables ----

    def variables(self):
        rows = self.run("var", "list")
        return {r["name"]: Variable(r["name"], r["type"], _typed(r["type"], r["value"]), int(r["pointer"], 16)) for r in rows}

    def get_variable(self, name, kind=None):
        if kind is None:
            return self._registered(name).value
        return _typed(kind, self.run("var", "get", kind, name)[0]["value"])

    def set_variable(self, name, value, kind=None, unsafe=False):
        if kind is None:
            kind = _type_of(value) if name.startswith("global:") else self._registered(name).type
        self.run("var", "set", *(["--unsafe"] if unsafe else []), kind, name, _text(value))

    def _registered(self, name):
        try:
            return self.variables()[name]
        except KeyError:
            raise AgentError("no-variable", f"no variable is registered as {name}") from None

    # ---- libraries and functions ----

    def libraries(self):
        return {r["name"]: Library(r["name"], r["path"], r["in_use"]) for r in self.run("lib", "list")}

    def load_library(self, name, path):
        """A path that exists here is this program's, not one relative to wherever the process stands."""
        self.run("lib", "load", name, os.path.abspath(path) if os.path.exists(path) else path)

    def unload_library(self, name):
        self.run("lib", "unload", name)

    def functions(self):
        rows = self.run("func", "list")
        return {r["name"]: Function(r["name"], int(r["pointer"], 16), r["level"], r["library"]) for r in rows}

    def upgrade(self, library, function, symbol=None):
        self.run("func", "upgrade", library, function, *([symbol] if symbol else []))

    def rollback(self, function, level=None):
        self.run("func", "rollback", function, *([] if level is None else [str(level)]))


def connect(pid, timeout=TIMEOUT):
    return Process(pid, timeout)


def processes():
    """Numbers of the processes that run an agent."""
    return list(places.with_agent())


def _connect(pid, timeout):
    """The first socket that is the process's own, made sure of before anything is sent."""
    try:
        uid, paths = places.owner(pid), places.candidates(pid)
    except OSError:
        raise NoAgent("target-lost", f"there is no process {pid}") from None
    refused = None
    for path in paths:
        if not places.is_socket_of(path, uid):
            continue
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        channel.settimeout(timeout)
        try:
            channel.connect(path)
            _check_peer(channel, path, pid)
            return channel
        except PermissionError:
            refused = NotAllowed("permission", f"not allowed to talk to process {pid}: it belongs to user {uid}")
        except OSError:
            pass
        except NotAllowed as why:
            refused = why
        channel.close()
    raise refused or NoAgent("no-agent", f"process {pid} runs no agent; start it with LD_PRELOAD=libpreload_hotpatch.so, "
                                         f"or bring it in: hotpatch -p {pid} attach")


def _check_peer(channel, path, pid):
    """A connection's other end as the kernel knows it; anybody can give a socket a name."""
    size = struct.calcsize("3i")
    peer, _, _ = struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    if peer != pid:
        raise NotAllowed("permission", f"{path} is held by process {peer}, not by process {pid}")
