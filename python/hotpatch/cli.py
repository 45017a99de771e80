"""hotpatch -p PID COMMAND...: the command line of the client in Python."""
import contextlib
import os
import signal
import sys

from . import __version__, client, grammar, output, places, text, tool, top
from .errors import HotpatchError, NoTool, WrongUse

KINDS = {"flags": "gflags", "variables": "var", "libraries": "lib", "functions": "func"}
TOP_DELAY = 2.0


# ---- what is printed

def _show(wish, rows):
    if wish.has("json"):
        output.emit({"ok": True, "data": rows})
    else:
        output.write(rows)


def _say(sentence):
    with contextlib.suppress(OSError):
        print(f"hotpatch: {text.clean(sentence)}", file=sys.stderr, flush=True)


def _fail(wish, error):
    if wish.has("json"):
        message, *details = str(error).split("\n")
        output.emit({"ok": False, "error": {"code": error.code, "message": message, **({"details": details} if details else {})}})
    else:
        with contextlib.suppress(output.Unwritten):
            output.flush()
        _say(str(error))


# ---- commands

def _is_untyped(command):
    """A global variable whose type stands in debug information."""
    verb, name = command[:2], command[2:3]
    return bool(name) and name[0].startswith(client.GLOBAL) and (verb[0] == "var" or (verb == ["watch", "var"] and len(command) == 3))


def _needs_tool(wish):
    """Debug information, and entering a process, are matters of the command in C."""
    return wish.own in tool.ENTERING or any(map(_is_untyped, wish.commands))


def _words(process, wish):
    """A path that exists here is meant to be this one, wherever the process stands."""
    for command in wish.commands:
        if command[:2] == ["lib", "load"] and len(command) > 3:
            command[3] = process.path_from_here(command[3])
        yield from (*command, ";")


def _ask(process, wish):
    ask = process.run if wish.has("json") else process.lines
    try:
        _show(wish, ask(*_words(process, wish)))
    except WrongUse as error:
        raise WrongUse(error.code, "\n".join([str(error), *grammar.hints(wish)])) from None


def _watch(process, wish):
    if len(wish.words) not in (3, 4) or wish.words[1] != "var":
        raise WrongUse("usage", "usage: watch var [TYPE] NAME")
    name, kind = wish.words[-1], wish.words[2] if len(wish.words) == 4 else None
    kind = kind or process.kind(name)
    for value in process.texts(name, kind, wish.delay or client.WATCH_DELAY, lines=not wish.has("json"),
                               wait=lambda seconds: output.wait(process, seconds)):
        if wish.has("json"):
            output.emit({"name": name, "type": kind, "value": value})
        else:
            output.write([value])
        output.flush()


def _names(process, wish):
    verb = KINDS.get(wish.words[1]) if len(wish.words) == 2 else None
    if not verb:
        raise WrongUse("usage", "usage: names flags|variables|libraries|functions")
    rows = process.run(verb, "list")
    with process.understood():
        names = [row["name"] if wish.has("json") else text.line(row["name"]) for row in rows]
    _show(wish, names)


def _top(process, wish):
    if len(wish.words) != 1:
        raise WrongUse("usage", "too many operands; usage: top")
    top.run(process, wish.has("once"), wish.has("json"), wish.delay or TOP_DELAY)


def _ps(wish):
    if len(wish.words) != 1:
        raise WrongUse("usage", "too many operands; usage: ps")
    found = [(pid, places.name(pid)) for pid in client.processes()]
    _show(wish, [{"pid": pid, "name": name} if wish.has("json") else f"{pid:7} {name}" for pid, name in found])


def _become_tool(verb, argv):
    found = tool.path(verb)
    try:
        os.execv(found, ["hotpatch", *argv])
    except OSError as why:
        raise NoTool("no-tool", f"cannot run {found}: {why.strerror}") from None


def _run(wish, argv):
    if wish.has("help") or (wish.words[:1] == ["help"] and not wish.pid):
        output.write([grammar.usage()])
        return
    if wish.has("version"):
        output.write([f"hotpatch {__version__}"])
        return
    grammar.check(wish)
    if wish.own == "ps":
        _ps(wish)
    elif _needs_tool(wish):
        _become_tool(wish.words[0], argv)
    else:
        with client.connect(wish.pid, wish.timeout) as process:
            {"watch": _watch, "names": _names, "top": _top}.get(wish.own, _ask)(process, wish)


# ---- the command

def _failure(wish, argv):
    """What went wrong; None."""
    try:
        grammar.parse(argv, wish)
        _run(wish, argv)
    except HotpatchError as error:
        return error
    return None


def _told(argv):
    """The exit code, when everything is said that there is to say."""
    wish, status = grammar.Wish(), 0
    try:
        error = _failure(wish, argv)
        if error:
            status = error.exit_code
            _fail(wish, error)
        output.flush()
    except output.Unwritten as lost:
        if not isinstance(lost.why, BrokenPipeError):  # whoever stopped reading knows that
            done = not status and wish.own not in ("watch", "top")  # which are there for their output
            _say(f"cannot write to standard output: {lost}" + ("; the command itself was done" if done else ""))
            return status or 1
    return status


def _hold_streams():
    """Whichever of 0, 1 and 2 is closed is /dev/null, not to be read or written: a socket must not get its number."""
    for fd, name, how in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDONLY if fd else os.O_WRONLY), fd)
            setattr(sys, name, open(fd if fd < 2 else os.devnull, how, encoding="utf-8"))


def main(argv=None):
    """Who interrupts us need not see where."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _hold_streams()
    sys.stdout.reconfigure(errors="backslashreplace")
    return _told(sys.argv[1:] if argv is None else argv)
