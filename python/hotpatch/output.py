"""Standard output: text, JSON, and waiting, of commands that go on printing."""
import contextlib
import json
import os
import select
import sys

from . import text


class Unwritten(Exception):
    """Standard output takes no more; `why` is the OSError."""

    def __init__(self, why):
        super().__init__(why.strerror)
        self.why = why


@contextlib.contextmanager
def _writing():
    try:
        yield
    except OSError as why:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left would fail once more at the end
        raise Unwritten(why) from None


def write(lines):
    for line in lines:
        with _writing():
            print(text.clean(line))


def emit(answer):
    """As JSON, on one line of plain ASCII."""
    with _writing():
        print(json.dumps(answer))


def flush():
    with _writing():
        sys.stdout.flush()


def wait(process, seconds):
    """Until it is time, or the process has ended; Unwritten when nobody reads our output any more."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.register(sys.stdout, 0)
    if any(fd == sys.stdout.fileno() for fd, _ in poll.poll(seconds * 1000)):
        raise Unwritten(BrokenPipeError())
