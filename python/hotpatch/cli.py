"""hotpatch -p PID COMMAND...: the command line of the client in Python."""
import json
import os
import signal
import sys

from . import __version__, client, grammar, live, output, places, tool, top
from .errors import HotpatchError, WrongUse

KINDS = {"flags": "gflags", "variables": "var", "libraries": "lib", "functions": "func"}
TOP_DELAY = 2.0


# ---- what is printed

def _emit(answer):
    print(json.dumps(answer))


def _show(wish, rows):
    if wish.has("json"):
        _emit({"ok": True, "data": rows})
        return
    for row in rows:
        print(row)


def _fail(wish, error):
    if wish.has("json"):
        _emit({"ok": False, "error": {"code": error.code, "message": str(error)}})
    else:
        sys.stdout.flush()
        print(f"hotpatch: {error}", file=sys.stderr)
    return error.exit_code


# ---- commands

def _needs_tool(words):
    """Debug information, and entering a process, are matters of the command in C."""
    untyped = len(words) > 2 and words[2].startswith(client.GLOBAL)
    return words[0] in ("attach", "detach") or (untyped and words[0] == "var") or (untyped and words[:2] == ["watch", "var"]
                                                                                     and len(words) == 3)


def _words(command):
    """A path that exists here is meant to be this one, wherever the process stands."""
    words = list(command)
    for i in range(len(words) - 3):
        if words[i:i + 2] == ["lib", "load"] and os.path.exists(words[i + 3]):
            words[i + 3] = os.path.abspath(words[i + 3])
    return words


def _ask(process, wish):
    ask = process.run if wish.has("json") else process.lines
    _show(wish, ask(*_words(wish.words)))


def _watch(process, wish):
    if len(wish.words) not in (3, 4) or wish.words[1] != "var":
        raise WrongUse("usage", "watch var [TYPE] NAME")
    name, kind = wish.words[-1], wish.words[2] if len(wish.words) == 4 else None
    kind = kind or process.kind(name)
    for text in process.texts(name, kind, wish.delay or client.WATCH_DELAY, lines=not wish.has("json"),
                              wait=lambda seconds: output.wait(process, seconds)):
        if wish.has("json"):
            _emit({"name": name, "type": kind, "value": text})
        else:
            print(text)
        sys.stdout.flush()


def _names(process, wish):
    verb = KINDS.get(wish.words[1]) if len(wish.words) == 2 else None
    if not verb:
        raise WrongUse("usage", "names flags|variables|libraries|functions")
    names = [row["name"] for row in process.run(verb, "list")]
    _show(wish, names if wish.has("json") else map(live.line, names))


def _top(process, wish):
    if len(wish.words) != 1:
        raise WrongUse("usage", "top, and nothing behind it but options")
    top.run(process, wish.has("once"), wish.has("json"), wish.delay or TOP_DELAY)


def _ps(wish):
    if len(wish.words) != 1:
        raise WrongUse("usage", "ps, and nothing behind it but options")
    found = [(pid, places.name(pid)) for pid in client.processes(wish.timeout)]
    _show(wish, [{"pid": pid, "name": name} if wish.has("json") else f"{pid:7} {name}" for pid, name in found])


def _run(wish, argv):
    if wish.has("help") or (wish.words[:1] == ["help"] and not wish.pid):
        print(grammar.usage())
        return
    if wish.has("version"):
        print(f"hotpatch {__version__}")
        return
    grammar.check(wish)
    if wish.own == "ps":
        _ps(wish)
    elif _needs_tool(wish.words):
        os.execv(tool.path(), ["hotpatch", *argv])
    else:
        with client.connect(wish.pid, wish.timeout) as process:
            {"watch": _watch, "names": _names, "top": _top}.get(wish.own, _ask)(process, wish)


# ---- the command

def _main(argv):
    wish = grammar.Wish()
    try:
        grammar.parse(argv, wish)
        _run(wish, argv)
        status = 0
    except HotpatchError as error:
        status = _fail(wish, error)
    sys.stdout.flush()
    return status


def main(argv=None):
    """Who interrupts us need not see where; whoever stopped reading knows that."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _main(sys.argv[1:] if argv is None else argv)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left would fail once more at the end
        if isinstance(error, BrokenPipeError):
            return 0
        print(f"hotpatch: cannot write to standard output: {error.strerror}", file=sys.stderr)
        return 1
