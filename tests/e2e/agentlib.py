"""What the tests of the agent share: programs with an agent in them, and clients."""
import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import lib


def build():
    return lib.tool_path().parent.parent.parent


def preload():
    return build() / "src" / "agent" / "libpreload_hotpatch.so"


def tree():
    """A directory with the files where document 003 has them."""
    examples = build() / "examples" / "hotpatch"
    if not (examples / "simple_server").exists():
        pytest.skip("the examples are built where gflags and glog are")
    top = lib.scratch_directory()
    for directory, files in {"preload": [preload(), preload().with_name("libhotpatch.so.0")],
                             "examples": [examples / name for name in ("simple_server", "prebuilt_server", "libadd_func_patch1.so",
                                                                       "libadd_func_patch1.dylib")]}.items():
        (top / directory).mkdir()
        for file in files:
            (top / directory / file.name).symlink_to(file)
    return top


def legacy(pid):
    return Path(f"/tmp/{pid}.socket")


def primary(pid, uid=None):
    """The private socket, by the rules that decision 12 states."""
    uid = os.geteuid() if uid is None else uid
    places = [Path(f"/run/user/{uid}/hotpatch"), Path("/run/hotpatch"), Path(f"/tmp/hotpatch-{uid}"), *Path("/tmp").glob(f"hotpatch-{uid}.??????")]
    if os.environ.get("XDG_RUNTIME_DIR"):
        places.insert(0, Path(os.environ["XDG_RUNTIME_DIR"], "hotpatch"))
    return next((p / f"{pid}.sock" for p in places if (p / f"{pid}.sock").exists()), None)


def sockets(pid):
    return [path for path in (legacy(pid), primary(pid)) if path and path.exists()]


def sweep(pid):
    """What a program that was killed has left; the next agent, of another test too, may be faster."""
    for stale in sockets(pid):
        stale.unlink(missing_ok=True)


class Host:
    """A program with an agent in it, and what it writes; ended, and its sockets gone, at the end of the block."""

    def __init__(self, command, cwd=None, env=None, agent=True, **popen):
        self.directory = Path(cwd or lib.scratch_directory())
        self.out, self.err = (lib.scratch_directory() / name for name in ("out", "err"))
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            popen = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, **popen}
            self.process = subprocess.Popen([str(c) for c in command], cwd=self.directory, env={**os.environ, **(env or {})}, **popen)
        self.pid = self.process.pid
        if agent:
            lib.wait_for(lambda: legacy(self.pid).exists() or self.process.poll() is not None, "the agent's socket")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        sweep(self.pid)

    def alive(self):
        return self.process.poll() is None

    def says(self, text, stream="out"):
        """It says so now: in a line that is not written yet when this is called."""
        path = getattr(self, stream)
        seen = path.stat().st_size

        def said():
            assert self.alive(), f"ended with {self.process.returncode}: {self.err.read_text()}"
            return any(text in line for line in path.read_bytes()[seen:].decode().splitlines())
        lib.wait_for(said, f"{text!r}; the end of its output is {path.read_bytes()[-200:]}")

    def ask(self, command):
        return ask(self.pid, command)

    def data(self, command):
        """The rows of an answer that must be a good one."""
        return data(self.pid, command)

    def refusal(self, command):
        """The code of a refusal; there is nothing else in the answer."""
        answer = self.ask(command)
        assert len(answer) == 1 and answer[0].startswith("Error: "), answer
        return answer[0].split(": ")[1]


@contextlib.contextmanager
def connection(pid):
    """To the legacy socket."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(lib.PATIENCE)
        s.connect(str(legacy(pid)))
        yield s


def ask(pid, command, newline=True):
    """Lines of a text reply."""
    with connection(pid) as s:
        s.sendall(command.encode() + (b"\n" if newline else b""))
        s.shutdown(socket.SHUT_WR)
        answer = b""
        while more := s.recv(65536):
            answer += more
    return answer.decode().splitlines()


def settled(pid, command):
    """Lines of the reply; asked for again while some thread could not be held still in time, which changes nothing."""
    def reply():
        lines = ask(pid, command)
        return None if lines[0].startswith("Error: busy: ") else lines
    return lib.wait_for(reply, command)


def data(pid, command):
    """The rows of a reply that must be a good one."""
    first, *rows = settled(pid, command)
    assert first == "Success to run", first
    return rows


def simple_server(**how):
    directory = tree()
    host = Host([directory / "examples" / "simple_server", "--logtostderr", "--period=5"], cwd=directory, **how)
    host.says("myname 10 3")
    return host


def preloaded(*command, env=None, **how):
    return Host(command, env={"LD_PRELOAD": str(preload()), **(env or {})}, **how)


class Victim(lib.Victim):
    """A program of tests/victim, preloaded; ended, and its sockets gone, at the end of the block."""

    def __init__(self, program, env=None, **popen):
        super().__init__(program, env={**os.environ, "LD_PRELOAD": str(preload()), **(env or {})}, **popen)

    def __exit__(self, *_):
        super().__exit__()
        sweep(self.pid)


# ---- clients

def _directory_with(name, text):
    directory = lib.scratch_directory()
    (directory / name).write_text(text)
    (directory / name).chmod(0o755)
    return directory


def client_path(kind):
    """A directory that has that client under the name hotpatch."""
    if kind == "c":
        return lib.tool_path().parent
    package = shlex.quote(str(lib.TOP / "python"))
    return _directory_with("hotpatch", f'#!/bin/sh\nPYTHONPATH={package} exec {shlex.quote(sys.executable)} -m hotpatch "$@"\n')


def client_environment(client, with_tool=True):
    """Where that client is found as hotpatch, and behind it the one in C, which the one in Python wants now and then."""
    others = [] if not with_tool else [str(client_path("c"))]
    return {**os.environ, "PATH": ":".join([str(client_path(client)), *others, os.environ["PATH"]])}


def hotpatch(client, *words, env=None, **how):
    """The client's run, to its end."""
    return subprocess.run(["hotpatch", *map(str, words)], env={**client_environment(client), **(env or {})}, capture_output=True, text=True,
                          timeout=lib.PATIENCE, check=False, **how)


def shell(host, line, client="c"):
    """A line of the document, in a shell that stands where the document does."""
    return subprocess.run(["bash", "-c", line], cwd=host.directory, capture_output=True, text=True, timeout=lib.PATIENCE, check=False,
                          env={**os.environ, "PID": str(host.pid), "PATH": f"{client_path(client)}:{os.environ['PATH']}"})


def ended_by(host, number=signal.SIGTERM):
    host.process.send_signal(number)
    return host.process.wait(timeout=lib.PATIENCE)
