"""The command hotpatch in C, for what takes more than a socket: debug information, and entering a process.

It reads the types of variables that nobody registered (`global:server.port` without a type), and brings the agent into
processes that were started without it.  Whatever needs neither, this package does by itself.
"""
import contextlib
import os
import subprocess

from . import answer
from .errors import NoTool

ENTERING = ("attach", "detach")
_ELF = b"\x7fELF"


def _is_program(path):
    try:
        with open(path, "rb") as file:
            return file.read(len(_ELF)) == _ELF and os.access(path, os.X_OK)
    except OSError:
        return False


def find():
    """The first in PATH that is a program, and not this package's own script; None."""
    paths = (os.path.join(directory, "hotpatch") for directory in os.get_exec_path() if directory)
    return next(filter(_is_program, paths), None)


def path(verb):
    """Of the command, to do that: a variable can be had without it."""
    found = find()
    if not found:
        typed = "" if verb in ENTERING else "; a variable can also be named with its type: var get int global:NAME"
        raise NoTool("no-tool", f"this needs the command hotpatch of livepatch, written in C, which is not in PATH{typed}")
    return found


@contextlib.contextmanager
def _started(pid, timeout, options, words):
    """What it prints, to be read; it is ended with the block."""
    command = [path(words[0]), "--json", "--timeout", str(timeout), *options, "-p", str(pid), *words]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
    except OSError as why:
        raise NoTool("no-tool", f"cannot run {command[0]}: {why.strerror}") from None
    with process:
        try:
            yield process.stdout
        except ValueError as why:
            raise NoTool("no-tool", f"{command[0]} answers for process {pid} with what is no answer: {why}") from None
        finally:
            process.terminate()


def _rows(told):
    rows, refusal = answer.read(answer.parse(told.decode()), (dict, str))
    if refusal:
        raise refusal
    return rows


def run(pid, timeout, *words):
    """The rows of its answer."""
    with _started(pid, timeout, [], words) as output:
        return _rows(output.read())


def follow(pid, timeout, delay, *words):
    """The objects that it prints, one a line, until it ends with an error, on one line or on several."""
    with _started(pid, timeout, ["--delay", str(delay)], words) as output:
        for line in output:
            if not line.startswith(b'{"name"'):
                _rows(line + output.read())
                return
            yield answer.parse(line.decode())
        _rows(b"")
