"""Standard output, of commands that go on printing."""
import select
import sys


def wait(process, seconds):
    """Until it is time, or the process has ended; BrokenPipeError when nobody reads our output any more."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.register(sys.stdout, 0)
    if any(fd == sys.stdout.fileno() for fd, _ in poll.poll(seconds * 1000)):
        raise BrokenPipeError
