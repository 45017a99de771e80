"""Standard output: text, JSON, and waiting, of commands that go on printing."""
import json
import select
import sys

from . import text


def write(lines):
    for line in lines:
        print(text.clean(line))


def emit(answer):
    """As JSON, on one line of plain ASCII."""
    print(json.dumps(answer))


def wait(process, seconds):
    """Until it is time, or the process has ended; BrokenPipeError when nobody reads our output any more."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.register(sys.stdout, 0)
    if any(fd == sys.stdout.fileno() for fd, _ in poll.poll(seconds * 1000)):
        raise BrokenPipeError
