"""The command hotpatch in C, for what takes more than a socket: debug information, and entering a process.

It reads the types of variables that nobody registered (`global:server.port` without a type), and brings the agent into
processes that were started without it.  Whatever needs neither, this package does by itself.
"""
import json
import os
import subprocess

from .errors import NoTool, refusal

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


def path():
    found = find()
    if not found:
        raise NoTool("no-tool", "this needs the command hotpatch of livepatch, written in C, which is not in PATH; "
                                "a variable can also be named with its type: var get int global:NAME")
    return found


def _command(pid, timeout, words):
    return [path(), "--json", "--timeout", str(timeout), "-p", str(pid), *map(str, words)]


def _data(text, pid):
    try:
        answer = json.loads(text)
    except ValueError:
        raise NoTool("no-tool", f"{path()} answers for process {pid} with what is no JSON") from None
    if not answer.get("ok"):
        error = answer.get("error", {})
        raise refusal(error.get("code", "unknown"), "\n".join([error.get("message", "refused"), *error.get("details", ())]))
    return answer.get("data", [])


def run(pid, timeout, *words):
    """The rows of its answer."""
    return _data(subprocess.run(_command(pid, timeout, words), stdout=subprocess.PIPE, check=False).stdout, pid)


def follow(pid, timeout, *words):
    """The objects that it prints, one a line, until it ends with an error."""
    with subprocess.Popen(_command(pid, timeout, words), stdout=subprocess.PIPE) as process:
        try:
            for line in process.stdout:
                if line.startswith(b'{"'):
                    yield json.loads(line)
                else:
                    _data(line + process.stdout.read(), pid)
        finally:
            process.terminate()
