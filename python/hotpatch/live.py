"""What `top` shows: flags, variables and functions of a process, and which of them were something else a look before."""
import time
from dataclasses import dataclass

from .errors import AgentError
from .text import line

KINDS = ("variable", "function", "flag")  # as they are shown: a program has more flags than anybody looks at
_QUESTIONS = (("var", "list"), ("func", "status"), ("gflags", "list"))


@dataclass
class Row:
    """Text of one printable line each."""

    kind: int  # of KINDS
    name: str
    type: str
    value: str
    changed: int = 0  # the number of the look that found it to be different; 0: none has

    @property
    def key(self):
        return self.kind, self.name

    def has(self, text):
        return text.lower() in self.name.lower() or text.lower() in self.value.lower()


def _implementation(row):
    return f"{row['library']}:{row['symbol']}, level {row['level']}" if row.get("level") else "original"


def _rows(answers):
    for kind, rows in enumerate(answers):
        for row in rows:
            if "function" in row:
                yield Row(kind, line(row["function"]), line(row["pointer"]), line(_implementation(row)))
            else:
                yield Row(kind, line(row["name"]), line(row["type"]), line(row["value"]))


class Live:
    """A look is three questions, one behind the other; rows stay as they were until the last of them is answered."""

    def __init__(self, process):
        self.process = process
        self.looks = 0
        self.rows = []
        self.told = None
        self.answers = None  # of the look that is under way

    def begin(self):
        self.answers = []
        self.process.send(*_QUESTIONS[0])

    def step(self):
        """Takes an answer; True when that was the last."""
        try:
            rows = self.process.receive()
        except AgentError as error:
            if error.code != "no-flag":  # a program without gflags has none
                raise
            rows = []
        self.answers.append([row for row in rows if row.get("current", True)])
        if len(self.answers) < len(_QUESTIONS):
            self.process.send(*_QUESTIONS[len(self.answers)])
            return False
        self._complete()
        return True

    def look(self):
        self.begin()
        while not self.step():
            pass

    def _complete(self):
        before = {row.key: row for row in self.rows}
        with self.process.understood():
            rows = sorted(_rows(self.answers), key=lambda row: (row.kind, row.name.encode()))
        for row in rows if self.looks else ():
            was = before.get(row.key)
            row.changed = was.changed if was and was.value == row.value else self.looks + 1
        self.looks += 1
        self.rows, self.told, self.answers = rows, self.answers, None

    def is_changed(self, row):
        return row.changed and row.changed == self.looks

    def table(self):
        """A heading, and a line for each."""
        name = max([4, *(len(row.name) for row in self.rows)])
        kind = max([4, *(len(row.type) for row in self.rows)])
        yield f"KIND      {'NAME':{name}}  {'TYPE':{kind}}  VALUE"
        for row in self.rows:
            yield f"{KINDS[row.kind]:8}  {row.name:{name}}  {row.type:{kind}}  {row.value}"

    def json(self, name):
        lists = {f"{kind}s": rows for kind, rows in zip(KINDS, self.told)}
        return {"ok": True, "pid": self.process.pid, "name": name, "time": time.time(), **lists}
