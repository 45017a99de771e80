"""What the tests of libcare-ctl, its server and livepatch watch share."""
import json
import os
import selectors
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import kpatchlib
import lib

DONE, FAILED, USAGE, LOST = 0, 1, 2, 3


def path_of(name):
    """A tool beside livepatch, in the build directory or where it is installed."""
    return lib.tool_path().parent / name


def preload_path():
    build = lib.tool_path().parent.parent / "preload" / "execve.so"
    return build if build.exists() else next(lib.tool_path().parent.parent.glob("lib/**/livepatch/execve.so"))


def run(name, *args, expect=DONE, cwd=None, env=None):
    """Run a tool to its end."""
    def once():
        done = subprocess.run([path_of(name), *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              cwd=cwd, timeout=5 * lib.PATIENCE, env={**os.environ, **(env or {})})
        return lib.Result(done.returncode, done.stdout, done.stderr)
    result = lib.unless_starved(once) if expect == DONE else once()
    assert expect is None or result.status == expect, f"{name} {args}: {result}"
    return result


def ctl(*args, **kwargs):
    return run("libcare-ctl", *args, **kwargs)


ANSWER = """
#include <stdio.h>
#include <stddef.h>
int answer(int n, char *out, size_t size)
{
	return snprintf(out, size, "%s %%d", n);
}
"""


def answering(word, program, **options):
    """A patch after which e2e_kpatch.c answers `word` and the number."""
    return kpatchlib.make(ANSWER % word, program, **options)


def program(**options):
    return lib.compiled("e2e_kpatch.c", **options)


def build_id(path):
    return kpatchlib.Elf(path).build_id


def store(**files):
    """A directory for patches."""
    directory = lib.scratch_directory()
    return directory


def script(path, text):
    """What a store runs before or after a change."""
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


def put(directory, patch, level=None, name=None):
    """A patch into a store: by its build-id, or as a level of it, or under a name."""
    id = kpatch_build_id(patch)
    if level is None:
        target = directory / (name or f"{id}.kpatch")
        fresh = directory / ".new"
        fresh.write_bytes(Path(patch).read_bytes())
        fresh.rename(target)
        return target
    place = directory / id / str(level)
    place.mkdir(parents=True)
    (place / "kpatch.bin").write_bytes(Path(patch).read_bytes())
    link = directory / id / ".latest"
    link.symlink_to(str(level))
    link.rename(directory / id / "latest")
    return place / "kpatch.bin"


def kpatch_build_id(patch):
    return Path(patch).read_bytes()[88:128].decode()


# ---- the server

class Server:
    def __init__(self, storage, name=None, *args):
        self.directory = tempfile.TemporaryDirectory()
        self.socket = name or f"{self.directory.name}/socket"
        self.log = open(f"{self.directory.name}/log", "w+")
        self.process = subprocess.Popen([path_of("libcare-server"), *args, self.socket, str(storage)],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, process_group=0)
        lib.wait_for(self.answers, "the server to listen")

    def kill(self):
        """With all its children."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def answers(self):
        assert self.process.poll() is None, self.text()
        with suppress(OSError), self.connection():
            return True

    def text(self):
        return Path(self.log.name).read_text()

    def connection(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            s.connect("\0" + self.socket[1:] if self.socket.startswith("@") else self.socket)
        except OSError:
            s.close()
            raise
        s.settimeout(lib.PATIENCE)
        return s

    def ask(self, *words, **kwargs):
        return run("libcare-client", self.socket, *words, **kwargs)

    def raw(self, request):
        """The answer to these bytes."""
        with self.connection() as s:
            with suppress(BrokenPipeError, ConnectionResetError):
                s.sendall(request)
            answer = b""
            with suppress(ConnectionResetError):
                while more := s.recv(4096):
                    answer += more
            return answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()
        self.directory.cleanup()


# ---- lines of a process

class Lines:
    """Reads lines of a descriptor, waiting for each no longer than it must."""

    def __init__(self, fd):
        self.fd, self.buffer = fd, b""

    def next(self, patience=lib.PATIENCE):
        deadline = time.monotonic() + patience
        with selectors.DefaultSelector() as selector:
            selector.register(self.fd, selectors.EVENT_READ)
            while b"\n" not in self.buffer:
                assert selector.select(max(0, deadline - time.monotonic())), f"no line comes; so far {self.buffer}"
                got = os.read(self.fd, 65536)
                assert got, f"the end of the lines; so far {self.buffer}"
                self.buffer += got
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode().rstrip("\r")

    def until(self, wanted):
        """The lines up to one for which wanted() holds."""
        lines = [self.next()]
        while not wanted(lines[-1]):
            lines.append(self.next())
        return lines


@contextmanager
def watching(directory, *args, wrap=(), env=None):
    """livepatch watch --json; yields a function that returns the next event of a kind."""
    process = subprocess.Popen([*wrap, lib.tool_path(), "watch", directory, "--json", *args], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **(env or {})})
    lines = Lines(process.stdout.fileno())

    def event(kind, pid=None):
        while True:
            said = json.loads(lines.next())
            event.seen.append(said)
            if said["event"] == kind and (pid is None or said["pid"] == pid):
                return said

    event.process, event.seen = process, []
    try:
        event.by = event("watching")["by"]
        yield event
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=lib.PATIENCE)
