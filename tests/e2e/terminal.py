"""A program on a terminal of its own: keys in, and the screen as a person sees it."""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

import lib


def as_from_a_shell():
    """In the child: the terminal is its own, and it takes signals, also where we were started by something that ignores them."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGTSTP):
        signal.signal(number, signal.SIG_DFL)


class Terminal:
    """Ends with the block; the program is killed if it still runs."""

    def __init__(self, *command, lines=24, columns=100, env=None, cwd=None):
        pyte = pytest.importorskip("pyte")
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.fd, theirs = pty.openpty()
        self._set_size(lines, columns)
        self.modes_before = self.modes()
        environment = {**os.environ, "TERM": "linux", "LC_ALL": "C.UTF-8", **(env or {})}
        if "NO_COLOR" not in (env or {}):
            environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen([str(word) for word in command], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=cwd,
                                        start_new_session=True, preexec_fn=as_from_a_shell)
        os.close(theirs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.fd)

    # ---- what is seen

    def _read(self, patience):
        """False at the end of output."""
        ready, _, _ = select.select([self.fd], [], [], max(0, patience))
        if not ready:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False  # EIO: the other side is closed
        self.raw += data
        self.stream.feed(data)
        return bool(data)

    def until(self, condition, what):
        deadline = time.monotonic() + lib.PATIENCE
        while not condition():
            open_still = self._read(deadline - time.monotonic())
            assert (open_still and time.monotonic() < deadline) or condition(), f"{what}; the screen:\n" + "\n".join(self.lines())

    def shows(self, text):
        self.until(lambda: any(text in line for line in self.lines()), f"{text!r} is not seen")

    def shows_no(self, text):
        self.until(lambda: not any(text in line for line in self.lines()), f"{text!r} is still seen")

    def lines(self):
        return [line.rstrip() for line in self.screen.display]

    def cell(self, text):
        """The first character of a text that is seen, with its colours."""
        for y, line in enumerate(self.screen.display):
            if text in line:
                return self.screen.buffer[y][line.index(text)]
        raise AssertionError(f"{text!r} is not seen")

    # ---- what is done

    def press(self, keys):
        os.write(self.fd, keys.encode())

    def resize(self, lines, columns):
        """The kernel tells the program."""
        self.screen.resize(lines, columns)
        self._set_size(lines, columns)

    def _set_size(self, lines, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))

    def modes(self):
        return termios.tcgetattr(self.fd)

    def ended(self):
        """What it has left, read to the end; its exit code, negative for a signal."""
        deadline = time.monotonic() + lib.PATIENCE
        while self._read(deadline - time.monotonic()):
            assert time.monotonic() < deadline, "it does not end; the screen:\n" + "\n".join(self.lines())
        return self.process.wait(timeout=lib.PATIENCE)
