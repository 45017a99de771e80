"""What the tests of live patching in the emulator share: programs, and a client that keeps its connection."""
import os
import socket
import subprocess
from pathlib import Path

import lib

RUNNER = lib.build_directory() / "src" / "tool" / "arm64_runner"
CC = "aarch64-linux-gnu-gcc"


def built(name, *flags):
    out = lib.scratch_directory() / name
    subprocess.run([CC, "-O2", "-g", "-Wall", "-Werror", "-pthread", "-o", out, lib.TOP / "tests" / "guest" / f"{name}.c", *flags], check=True)
    return out


def sockets():
    return list((Path(os.environ["XDG_RUNTIME_DIR"]) / "arm64_runner").glob("*.sock"))


class Guest(lib.Victim):
    """One that runs, and can be asked; its sockets are where XDG_RUNTIME_DIR says."""

    def __init__(self, program, *options, args=(), **popen):
        super().__init__(str(RUNNER), *options, program, *args, **popen)
        lib.wait_for(lambda: any(s.stem == str(self.pid) for s in sockets()), "the socket")

    def client(self):
        return Client(self.pid)


class Client:
    """A connection in text: each line's reply ends with an empty line."""

    def __init__(self, pid):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(next(s for s in sockets() if s.stem == str(pid))))
        self.socket.settimeout(lib.PATIENCE)
        self.file = self.socket.makefile("rw")
        self.say("prompt")

    def say(self, line):
        """The rows of a reply that must be a success."""
        self.file.write(line + "\n")
        self.file.flush()
        rows = []
        while (row := self.file.readline()) not in ("\n", ""):
            rows.append(row.rstrip("\n"))
        assert rows and rows[0] == "Success to run", f"{line}: {rows}"
        return rows[1:]
