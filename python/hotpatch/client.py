"""What can be asked of the agent of a process, with results of Python's own types."""
import contextlib
import operator
import os
import select
import threading
from dataclasses import dataclass, fields

from . import checks, places, tool
from .errors import AgentError, ConnectionLost, HotpatchError, NoAgent, WrongUse
from .peer import Peer, answers

TIMEOUT = 10.0
WATCH_DELAY = 0.1
GLOBAL = "global:"


class _Row:
    """Members are of the types that they are declared with, whatever the answer had."""

    def __post_init__(self):
        for member in fields(self):
            if not isinstance(getattr(self, member.name), member.type):
                raise TypeError(f"{member.name} is no {member.type.__name__}")


@dataclass(frozen=True)
class Flag(_Row):
    """A flag of gflags, or a property of glog.  `value` and `default` are text, as the library writes them."""

    name: str
    value: str
    type: str = ""
    default: str = ""
    description: str = ""
    file: str = ""


@dataclass(frozen=True)
class Variable(_Row):
    """A registered variable.  `value` is a bool, int, float or str; None when it cannot be read, or has no type."""

    name: str
    type: str
    value: object
    pointer: int


@dataclass(frozen=True)
class Library(_Row):
    """A library that was loaded through the agent; functions of the program are in `in_use` of its functions."""

    name: str
    path: str
    in_use: int


@dataclass(frozen=True)
class Function(_Row):
    """A function that is registered or upgraded: `level` upgrades on top of each other, the last one from `library`."""

    name: str
    pointer: int
    level: int
    library: str


# ---- values

def _typed(kind, text):
    """A value as Python has it."""
    if not isinstance(text, str):
        raise TypeError("its value is no text")
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


def _type_of(value, what="value that a variable can have"):
    """The agent's name for a Python value's type."""
    for kind, name in ((bool, "bool"), (str, "string"), (float, "double")):
        if isinstance(value, kind):
            return name
    try:
        operator.index(value)
    except TypeError:
        raise AgentError("wrong-type", f"a {type(value).__name__} is no {what}") from None
    return "int"


def _digits(value):
    try:
        return str(operator.index(value))
    except ValueError:  # Python has a limit of its own
        raise AgentError("bad-value", "the number has too many digits") from None


_WRITTEN = {"bool": lambda value: "true" if value else "false", "string": str.__str__, "int": _digits,
            "double": float.__repr__}


def _text(value):
    return _WRITTEN[_type_of(value)](value)


def _word(word):
    """Of a command: text, a path, a number."""
    word = os.fsdecode(word) if isinstance(word, os.PathLike) else word
    return _WRITTEN[_type_of(word, "word of a command")](word)


def _is_global(name):
    return isinstance(name, str) and name.startswith(GLOBAL)


def _command(words):
    return [_word(word) for word in words]


def _commands(words):
    """What stands between words ";"."""
    commands = [[]]
    for word in _command(words):
        if word == ";":
            commands.append([])
        else:
            commands[-1].append(word)
    commands = [command for command in commands if command]
    if not commands:
        raise WrongUse("usage", "a command is missing; help lists them")
    return commands


# ---- the process

class Process:
    """An agent, asked one command at a time: threads that share it take turns, and a transaction is one turn."""

    def __init__(self, pid, timeout=TIMEOUT):
        self.pid = checks.pid(pid)
        self._timeout = checks.seconds(timeout)
        self._turn = threading.RLock()
        self._begun = False
        self._peer = Peer(self.pid, self._timeout)

    def close(self):
        self._peer.close()

    def __repr__(self):
        return f"<hotpatch.Process {self.pid}{', closed' if self.fileno() < 0 else ''}>"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- any command ----

    def run(self, *words):
        """The rows of a command's answer, each a dictionary; raises AgentError when it is refused.

        A word ";" stands between commands that happen together, or not at all.
        """
        return self._ask(_commands(words), dict)

    def lines(self, *words):
        """The same, each row a line of text as people read it."""
        return self._ask(_commands(words), str)

    def _ask(self, commands, kind):
        with self._turn:
            deadline = self._peer.deadline()
            self._peer.send(commands, kind, deadline)
            return self._peer.receive(kind, deadline)

    def send(self, *words):
        """Half of run(): who sends can wait until fileno() is readable, and for other things meanwhile."""
        self._peer.send(_commands(words), dict, self._peer.deadline())

    def receive(self):
        """The other half: one reply."""
        return self._peer.receive(dict, self._peer.deadline())

    def arrived(self):
        """Whether receive() need not wait; takes what has come of the reply."""
        return self._peer.arrived()

    def fileno(self):
        return self._peer.fileno()

    def understood(self):
        """A block that takes rows apart; they may be anything."""
        return self._peer.understood()

    def _do(self, *words):
        """One command, whatever its words are: a value may be a ";"."""
        return self._ask([_command(words)], dict)

    def _all(self, make, *words):
        """What is made of each row, by its name."""
        rows = self._do(*words)
        with self.understood():
            return {row["name"]: make(row) for row in rows}

    @contextlib.contextmanager
    def transaction(self):
        """What is asked for inside is prepared, and done as a whole at the end; or not at all when anything fails."""
        with self._turn:
            self._do("begin")
            self._begun = True
            try:
                yield self
            except BaseException:
                with contextlib.suppress(HotpatchError):
                    self._do("abort")
                raise
            finally:
                self._begun = False
            self._do("commit")

    # ---- flags ----

    def flags(self):
        """Flags by name."""
        more = [member.name for member in fields(Flag)][2:]
        return self._all(lambda row: Flag(row["name"], row["value"], **{name: row[name] for name in more if name in row}), "gflags", "list")

    def get_flag(self, name):
        """A bool, int, float or str."""
        rows = self._do("gflags", "get", name)
        with self.understood():
            return _typed(rows[0].get("type", "string"), rows[0]["value"])

    def set_flag(self, name, value, unsafe=False):
        self._do("gflags", "set", *(["--unsafe"] if unsafe else []), name, _text(value))

    # ---- variables ----

    def variables(self):
        """Registered variables by name."""
        return self._all(lambda row: Variable(row["name"], row["type"], _typed(row["type"], row["value"]), int(row["pointer"], 16)),
                         "var", "list")

    def get_variable(self, name, kind=None):
        """A bool, int, float or str.

        `global:NAME` is a variable that nobody registered.  With a type (`kind`, of the agent's) it is found by its
        symbol.  Without one it may be a path, `global:server.clients->name`, and debug information says what it is:
        the command hotpatch in C reads that (NoTool when it is not there); a structure is a str of one line.
        """
        if kind is None and _is_global(name):
            rows = tool.run(self.pid, self._timeout, "var", "get", name)
            with self.understood():
                return _natural(rows[0]["value"])
        if kind is None:
            return self.variable(name).value
        rows = self._do("var", "get", kind, name)
        with self.understood():
            return _typed(kind, rows[0]["value"])

    def set_variable(self, name, value, kind=None, unsafe=False):
        """A `global:` variable without a type, and without the command in C, is one of the value's: int, double, bool, string."""
        text = _text(value)
        if kind is None and _is_global(name):
            if tool.find():
                self._set_by_tool(name, text)
                return
            kind = _type_of(value)
        kind = kind or self.variable(name).type
        self._do("var", "set", *(["--unsafe"] if unsafe else []), kind, name, text)

    def _set_by_tool(self, name, text):
        with self._turn:
            if self._begun:
                raise AgentError("transaction", f"{name} would be set at once, by another program: in a transaction its type is named")
            tool.run(self.pid, self._timeout, "var", "set", name, text)

    def watch(self, name, kind=None, delay=WATCH_DELAY):
        """Its value, and each other one that it is seen to have; ends with ConnectionLost when the process ends."""
        checks.delay(delay)
        if kind is None and _is_global(name):
            for row in tool.follow(self.pid, self._timeout, delay, "watch", "var", name):
                with self.understood():
                    value = _natural(row["value"])
                yield value
            return
        kind = kind or self.kind(name)
        for text in self.texts(name, kind, delay):
            with self.understood():
                value = _typed(kind, text)
            yield value

    def texts(self, name, kind, delay, lines=False, wait=None):
        """The same as text; with `lines` as people read it, escapes and all.  `wait` is called between two looks."""
        last = None
        while True:
            rows = self._ask([_command(("var", "get", kind, name))], str if lines else dict)
            with self.understood():
                text = rows[0] if lines else rows[0]["value"]
            if text != last:
                yield text
            last = text
            (wait or self.wait)(delay)

    def wait(self, seconds):
        """Until it is time, or the process has ended: nothing comes that was not asked for."""
        if self.fileno() >= 0:
            poll = select.poll()
            poll.register(self, select.POLLIN)
            poll.poll(seconds * 1000)

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
        return self._all(lambda row: Library(row["name"], row["path"], row["in_use"]), "lib", "list")

    def load_library(self, name, path):
        """A path that exists here is this program's, not one relative to wherever the process stands."""
        self._do("lib", "load", name, self.path_from_here(path))

    def path_from_here(self, path):
        """As the process has to be told it."""
        path = _word(path)
        with contextlib.suppress(OSError):  # this directory may have gone
            if not os.path.isabs(path) and places.is_here(self.pid) and os.path.exists(path):
                return os.path.join(os.getcwd(), path)
        return path

    def unload_library(self, name):
        self._do("lib", "unload", name)

    def functions(self):
        return self._all(lambda row: Function(row["name"], int(row["pointer"], 16), row["level"], row["library"]), "func", "list")

    def upgrade(self, library, function, symbol=None):
        self._do("func", "upgrade", library, function, *([] if symbol is None else [symbol]))

    def rollback(self, function, level=None):
        self._do("func", "rollback", function, *([] if level is None else [level]))


def connect(pid, timeout=TIMEOUT):
    """A Process; NoAgent, NotAllowed."""
    return Process(pid, timeout)


def processes():
    """Numbers of the processes that run an agent, of those that one may ask."""
    return [pid for pid in places.running() if answers(pid)]


# ---- what the command in C does

def _through_tool(pid, timeout, *words):
    pid, timeout = checks.pid(pid), checks.seconds(timeout)
    places.status(pid)
    try:
        tool.run(pid, timeout, *words)
    except ConnectionLost as error:  # there was none: it has ended just now
        raise NoAgent(error.code, str(error)) from None


def attach(pid, library=None, timeout=TIMEOUT):
    """Brings the agent into a process that was started without it.  NoTool without the command hotpatch in C."""
    _through_tool(pid, timeout, "attach", *([] if library is None else [os.path.abspath(library)]))


def detach(pid, force=False, timeout=TIMEOUT):
    """Takes it out again; refused while functions are upgraded, or rolls them back.  NoTool as above."""
    _through_tool(pid, timeout, "detach", *(["--force"] if force else []))
