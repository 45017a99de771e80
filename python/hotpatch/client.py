"""One connection to the agent of a process, in JSON, and what can be asked of it."""
import contextlib
import json
import os
import select
import socket
import struct
from dataclasses import dataclass

from . import places, tool
from .errors import AgentError, ConnectionLost, HotpatchError, NoAgent, NoAnswer, NotAllowed, refusal

TIMEOUT = 10.0
WATCH_DELAY = 0.1
REPLY_MAX = 256 << 20
GLOBAL = "global:"


@dataclass(frozen=True)
class Flag:
    """A flag of gflags, or a property of glog.  `value` and `default` are text, as the library writes them."""

    name: str
    value: str
    type: str = ""
    default: str = ""
    description: str = ""
    file: str = ""


@dataclass(frozen=True)
class Variable:
    """A registered variable.  `value` is a bool, int, float or str; None when it cannot be read, or has no type."""

    name: str
    type: str
    value: object
    pointer: int


@dataclass(frozen=True)
class Library:
    """A library that was loaded through the agent; functions of the program are in `in_use` of its functions."""

    name: str
    path: str
    in_use: int


@dataclass(frozen=True)
class Function:
    """A function that is registered or upgraded: `level` upgrades on top of each other, the last one from `library`."""

    name: str
    pointer: int
    level: int
    library: str


def _typed(kind, text):
    """A value as Python has it."""
    if kind == "untyped" or (text == "?" and kind not in ("string", "char*", "char")):
        return None
    if kind == "bool":
        return text == "true"
    if kind in ("float", "double"):
        return float(text)
    if "int" in kind or kind in ("short", "ushort", "long", "ulong"):
        return int(text)
    return text


def _natural(text):
    """A value of a type that only the program's language knows: a number is one, all else stays text."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
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
    return [command for command in commands if command]


class Process:
    """An agent, asked one command at a time.  Not to be shared between threads."""

    def __init__(self, pid, timeout=TIMEOUT):
        self.pid = pid
        self._asked = 0
        self._rest = b""
        self._timeout = timeout
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
        self.send(words, text)
        return self.receive()

    def send(self, words, text=False):
        """Half of run() or lines(): who sends can wait until fileno() is readable, and for other things meanwhile."""
        self._asked += 1
        request = json.dumps({"id": self._asked, "cmd": _commands(words), "text": text}) + "\n"
        with self._connected(), contextlib.suppress(BrokenPipeError):  # why it was closed can be read all the same
            self._socket.sendall(request.encode())

    def receive(self):
        """The other half: one reply."""
        with self._connected():
            reply = json.loads(self._line())
            if not isinstance(reply, dict):
                raise ValueError("no object")
        if not reply.get("ok"):
            error = reply.get("error", {})
            raise refusal(error.get("code", "unknown"), error.get("message", "refused"))
        return reply.get("data", [])

    def fileno(self):
        return self._socket.fileno()

    @contextlib.contextmanager
    def _connected(self):
        """What can happen to the connection.  After a timeout nobody knows whose the next answer would be."""
        try:
            yield
        except TimeoutError:
            self.close()
            raise NoAnswer("timeout", "the process has not answered in time") from None
        except ValueError as why:
            raise AgentError("remote-call", f"process {self.pid} answers with what is no reply: {why}") from None
        except OSError:
            raise self._lost() from None

    def _lost(self):
        return ConnectionLost("target-lost", f"process {self.pid} ended, or its agent did, before it answered")

    def _line(self):
        while b"\n" not in self._rest:
            more = self._socket.recv(65536)
            if not more or len(self._rest) > REPLY_MAX:
                raise self._lost()
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
        """Flags by name."""
        return {row["name"]: Flag(**row) for row in self.run("gflags", "list")}

    def get_flag(self, name):
        """A bool, int, float or str."""
        row = self.run("gflags", "get", name)[0]
        return _typed(row.get("type", "string"), row["value"])

    def set_flag(self, name, value, unsafe=False):
        self.run("gflags", "set", *(["--unsafe"] if unsafe else []), name, _text(value))

    # ---- variables ----

    def variables(self):
        """Registered variables by name."""
        rows = self.run("var", "list")
        return {r["name"]: Variable(r["name"], r["type"], _typed(r["type"], r["value"]), int(r["pointer"], 16)) for r in rows}

    def get_variable(self, name, kind=None):
        """A bool, int, float or str.

        `global:NAME` is a variable that nobody registered.  With a type (`kind`, of the agent's) it is found by its
        symbol.  Without one it may be a path, `global:server.clients->name`, and debug information says what it is:
        the command hotpatch in C reads that (NoTool when it is not there); a structure is a str of one line.
        """
        if kind is None and name.startswith(GLOBAL):
            return _natural(tool.run(self.pid, self._timeout, "var", "get", name)[0]["value"])
        if kind is None:
            return self.variable(name).value
        return _typed(kind, self.run("var", "get", kind, name)[0]["value"])

    def set_variable(self, name, value, kind=None, unsafe=False):
        """A `global:` variable without a type, and without the command in C, is one of the value's: int, double, bool, string."""
        if kind is None and name.startswith(GLOBAL):
            if tool.find():
                tool.run(self.pid, self._timeout, "var", "set", name, _text(value))
                return
            kind = _type_of(value)
        kind = kind or self.variable(name).type
        self.run("var", "set", *(["--unsafe"] if unsafe else []), kind, name, _text(value))

    def watch(self, name, kind=None, delay=WATCH_DELAY):
        """Its value, and each other one that it is seen to have; ends with ConnectionLost when the process ends."""
        if kind is None and name.startswith(GLOBAL):
            for row in tool.follow(self.pid, self._timeout, "--delay", delay, "watch", "var", name):
                yield _natural(row["value"])
            return
        kind = kind or self.kind(name)
        for text in self.texts(name, kind, delay):
            yield _typed(kind, text)

    def texts(self, name, kind, delay, lines=False, wait=None):
        """The same as text; with `lines` as people read it, escapes and all.  `wait` is called between two looks."""
        last = None
        while True:
            row = self._ask(("var", "get", kind, name), lines)[0]
            text = row if lines else row["value"]
            if text != last:
                yield text
            last = text
            (wait or self.wait)(delay)

    def wait(self, seconds):
        """Until it is time, or the process has ended: nothing comes that was not asked for."""
        select.select([self._socket], [], [], seconds)

    def kind(self, name):
        """The type of a registered variable."""
        found = self.variable(name).type
        if found == "untyped":
            raise AgentError("wrong-type", f"{name} is registered without a type: watch var TYPE {name}")
        return found

    def variable(self, name):
        """A registered one."""
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
    """A Process; NoAgent, NotAllowed."""
    return Process(pid, timeout)


def processes(timeout=TIMEOUT):
    """Numbers of the processes that run an agent, of those that one may ask."""
    return [pid for pid in places.running() if _answers(pid, timeout)]


def attach(pid, library=None, timeout=TIMEOUT):
    """Brings the agent into a process that was started without it.  NoTool without the command hotpatch in C."""
    tool.run(pid, timeout, "attach", *([os.path.abspath(library)] if library else []))


def detach(pid, force=False, timeout=TIMEOUT):
    """Takes it out again; refused while functions are upgraded, or rolls them back.  NoTool as above."""
    tool.run(pid, timeout, "detach", *(["--force"] if force else []))


# ---- connecting

def _answers(pid, timeout):
    try:
        Process(pid, timeout).close()
    except HotpatchError:
        return False
    return True


def _connect(pid, timeout):
    """The first socket that is the process's own, made sure of before anything is sent."""
    try:
        uid, paths = places.owner(pid), places.candidates(pid)
    except OSError:
        raise NoAgent("target-lost", f"there is no process {pid}") from None
    refused = None
    for path in paths:
        try:
            return _connect_at(path, pid, uid, timeout)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            pass  # nobody there, or not any more: the next place may have it
        except OSError as why:
            refused = refused or f"cannot connect to {path}: {why.strerror or why}"
        except NotAllowed as why:
            refused = refused or str(why)
    if refused:
        raise NotAllowed("permission", f"not allowed to talk to process {pid}: {refused}")
    raise NoAgent("no-agent", f"process {pid} runs no agent; start it with LD_PRELOAD=libpreload_hotpatch.so, or bring one in: "
                              f"hotpatch -p {pid} attach")


def _connect_at(path, pid, uid, timeout):
    places.check(path, uid)
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        channel.settimeout(timeout)
        channel.connect(path)
        _check_peer(channel, path, pid, uid)
    except BaseException:
        channel.close()
        raise
    return channel


def _check_peer(channel, path, pid, uid):
    """A connection's other end as the kernel knows it; anybody can give a socket a name."""
    size = struct.calcsize("3i")
    peer, user, _ = struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    if peer != pid:
        raise NotAllowed("permission", f"process {peer} listens at {path}, and not process {pid}")
    if user not in (uid, 0):
        raise NotAllowed("permission", f"user {user} listens at {path}, and the process belongs to user {uid}")
