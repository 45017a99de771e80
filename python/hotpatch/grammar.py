"""What can be said on the command line, in the words of the client in C: its --help is this one, to the letter."""
import math
import re
from dataclasses import dataclass, field

from . import checks
from .errors import WrongUse

OPTIONS = (  # letter, word, argument, sentence
    ("p", "pid", "PID", "the process to ask"),
    ("", "json", "", "print answers as JSON"),
    ("", "timeout", "SEC", "how long to wait for an answer (10)"),
    ("n", "delay", "SEC", "watch and top: look this often (watch 0.1, top 2)"),
    ("", "once", "", "top: look once, and print a table"),
    ("h", "help", "", "show all of this"),
    ("", "version", "", "show the version"),
)
AGENT = (  # the agent's commands: words, operands, sentence
    ("gflags list", "", "every flag and its value"),
    ("gflags get", "NAME", "the value of a flag"),
    ("gflags set", "[--unsafe] NAME VALUE...",
     "set a flag, through its validator; a string flag where the program is quiescent, or at once with --unsafe"),
    ("var list", "", "every registered variable, its type and its value"),
    ("var get", "TYPE NAME", "the value of a registered variable, or of a global one by its symbol (global:NAME)"),
    ("var set", "[--unsafe] TYPE NAME VALUE...",
     "set a variable; a string where the program is quiescent, if it says so at all, or at once with --unsafe"),
    ("mem files", "", "the files that are loaded, in the order in which symbols are looked for"),
    ("mem get", "PLACE SIZE",
     "bytes of memory; a place is elf:BUILD-ID+0xOFFSET or 0xADDRESS, then > (follow the pointer) and +NUMBER"),
    ("mem set", "PLACE BYTES [MASK]", "write bytes, in hexadecimal; only the bits of the mask, when there is one"),
    ("lib list", "", "the libraries that were loaded through the agent"),
    ("lib load", "NAME PATH", "load a shared library and call it NAME"),
    ("lib unload", "NAME", "unload a library; refused while one of its functions is in use or a thread is inside of it"),
    ("func list", "", "registered and upgraded functions"),
    ("func upgrade", "LIBRARY FUNCTION [SYMBOL]",
     "let calls of FUNCTION, a registered name or a symbol, go to SYMBOL (FUNCTION) of the library"),
    ("func rollback", "FUNCTION [LEVEL]", "take the last upgrade back, or all of them down to LEVEL; 0 is the original"),
    ("func status", "[FUNCTION]", "the upgrades of a function, the current one last"),
)
OWN = (  # the client's own
    ("ps", "", "the processes that run the agent, of those that you may ask"),
    ("attach", "[LIBRARY]", "bring the agent into a process that was started without it"),
    ("detach", "[--force]", "take it out again; refused while functions are upgraded, or rolls them back"),
    ("watch var", "[TYPE] NAME", "print a variable, or a global:PATH, whenever it has changed, until the process ends"),
    ("top", "", "show flags, variables and functions as they are now, what has just changed in bold"),
    ("names", "flags|variables|libraries|functions", "names that the process knows, one a line, for completion"),
)
HEAD = """usage: hotpatch [OPTIONS] -p PID COMMAND...
       hotpatch [OPTIONS] ps

Asks the agent in a running process, or has it change something.
Commands with a word ';' between them happen together, or not at all.
"""
TAIL = ("Exit status: 0 done, 1 refused and nothing changed (or not in time: it may happen yet), 2 wrong use, "
        "3 no such process, or no agent in it.")
OWN_FIRST = [words.split()[0] for words, _, _ in OWN]
AGENT_FIRST = {words.split()[0] for words, _, _ in AGENT} | {"help", "version", "stats", "begin", "commit", "abort", "prompt", "json"}


@dataclass
class Wish:
    """What a command line asks for."""

    values: dict = field(default_factory=dict)  # of options, by word; True for one that takes no value
    words: list = field(default_factory=list)
    pid: int = 0
    timeout: float = 10.0
    delay: float = 0.0  # 0: the command's own

    def has(self, option):
        return option in self.values

    @property
    def own(self):
        """The first word, when it is that of a command of the client's own."""
        first = self.words[0] if self.words else ""
        return first if first in OWN_FIRST else ""

    @property
    def commands(self):
        """Each a list of its words."""
        found = [[]]
        for word in self.words:
            if word == ";":
                found.append([])
            else:
                found[-1].append(word)
        return found


def _row(left, sentence):
    return f"{left}{' ' * (40 - len(left) if len(left) < 40 else 2)}{sentence}"


def usage():
    rows = [_row(f"  {words} {operands}", sentence) for words, operands, sentence in AGENT + OWN]
    rows.append(_row("  help | version | stats ", "answered by the agent itself"))
    rows.append("")
    for letter, word, argument, sentence in OPTIONS:
        rows.append(_row(f"  {f'-{letter}, ' if letter else '    '}--{word} {argument}", sentence))
    return "\n".join([HEAD, *rows, "", TAIL])


def _option(arg):
    """Its row, and the value that is written on to it."""
    for row in OPTIONS:
        letter, word, _, _ = row
        if letter and not arg.startswith("--") and arg[1:2] == letter:
            return row, arg[2:] or None
        if arg == f"--{word}" or arg.startswith(f"--{word}="):
            return row, arg[len(word) + 3:] if "=" in arg else None
    return None, None


def is_option(word):
    return _option(word)[0] is not None


def _take_option(wish, arg, rest):
    row, value = _option(arg)
    if not row:
        raise WrongUse("usage", f"unknown option {arg}")
    _, word, argument, _ = row
    if wish.has(word):
        raise WrongUse("usage", f"--{word} is there twice")
    if value is not None and not argument:
        wish.values[word] = True  # is wished for all the same, if it is that the refusal be JSON
        raise WrongUse("usage", f"--{word} takes no value")
    if argument and value is None:
        if not rest:
            raise WrongUse("usage", f"--{word} wants a value, {argument}")
        value = rest.pop(0)
    wish.values[word] = value if argument else True


def _seconds(text, check):
    """Whole milliseconds."""
    if not re.fullmatch(r"\d+(\.\d*)?([eE][+-]?\d+)?", text, re.ASCII):
        raise WrongUse("usage", f'"{text}" is no number of seconds')
    return math.ceil(check(float(text), text) * 1000) / 1000


def _take_values(wish):
    values = wish.values
    if wish.has("pid"):
        digits = re.fullmatch("[1-9][0-9]{0,9}", values["pid"])
        wish.pid = checks.pid(int(values["pid"]) if digits else values["pid"])
    if wish.has("timeout"):
        wish.timeout = _seconds(values["timeout"], checks.seconds)
    if wish.has("delay"):
        wish.delay = _seconds(values["delay"], checks.delay)


def parse(argv, wish):
    """Fills in the wish, as far as the words are understood.

    Options stand in front of the command.  What follows a command of the agent's belongs to it, words with a '-'
    included; behind commands that are the client's own, its options may stand.
    """
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] not in ("-", "--"):
        _take_option(wish, rest.pop(0), rest)
    if rest and rest[0] == "--":
        rest.pop(0)
    while rest:
        word = rest.pop(0)
        if wish.own and word.startswith("-") and word != "-" and (wish.own, word) != ("detach", "--force"):
            _take_option(wish, word, rest)
        elif word != ";" or wish.words[-1:] not in ([], [";"]):  # not an empty command
            wish.words.append(word)
    if wish.words[-1:] == [";"]:
        wish.words.pop()
    _take_values(wish)


def _check_commands(wish):
    """What the agent would not understand, or the people who wrote it."""
    for first, *_ in wish.commands:
        if first in OWN_FIRST and len(wish.commands) > 1:
            raise WrongUse("usage", f"{first} is the client's own command: it stands alone on the line")
        if re.search("[ \t\n]", first):
            raise WrongUse("usage", f'"{first}" is one word: do not quote its blanks')
    if _leaves_open(wish.commands):
        raise WrongUse("usage", "begin without commit changes nothing; commands with ';' between them happen together without either")


def _leaves_open(commands):
    begun = False
    for command in commands:
        begun = command == ["begin"] or (begun and command not in (["commit"], ["abort"]))
    return begun


def check(wish):
    """Options that mean nothing to a command are refused, and commands that cannot be meant."""
    if wish.has("once") and wish.own != "top":
        raise WrongUse("usage", "--once is for top")
    if wish.has("delay") and wish.own not in ("top", "watch"):
        raise WrongUse("usage", "--delay is for watch and top")
    if not wish.words:
        raise WrongUse("usage", "a command is missing; hotpatch --help lists them")
    if not wish.pid and wish.own != "ps":
        raise WrongUse("usage", "which process? -p PID; hotpatch ps lists them")
    _check_commands(wish)


def hints(wish):
    """What the agent, which refuses this as wrong use, cannot know: that it was meant for the client."""
    words = [word for command in wish.commands for word in (command[1:2] if command[:1] == ["help"] else command[:1])]
    if any(word not in AGENT_FIRST for word in words):
        yield f"the client's own commands are {', '.join(OWN_FIRST)}: hotpatch --help"
    meant = [word for word in wish.words if word.startswith("--") and is_option(word)]
    if meant:
        yield f"options stand in front of the command: hotpatch {meant[0]} -p {wish.pid} {wish.words[0]} ..."
