"""Numbers of processes and of seconds, as the command line and the library take them."""
import operator

from .errors import WrongUse

PID_MAX = 2**31 - 1
DAY = 86400


def pid(number):
    """An int, and nothing that only looks like one."""
    try:
        found = 0 if isinstance(number, bool) else operator.index(number)
    except TypeError:
        found = 0
    if not 0 < found <= PID_MAX:
        raise WrongUse("usage", f'"{number}" is no process id')
    return found


def seconds(number, written=None):
    """A float; `written` is what stood on the command line."""
    written = number if written is None else written
    try:
        found = float(number)
    except (TypeError, ValueError, OverflowError):
        found = -1.0
    if isinstance(number, (str, bytes)) or not found >= 0:
        raise WrongUse("usage", f'"{written}" is no number of seconds')
    if found > DAY:
        raise WrongUse("usage", f'"{written}" is more than {DAY} seconds, which is the most')
    return found


def delay(number, written=None):
    found = seconds(number, written)
    if not found:
        raise WrongUse("usage", "a delay is more than no time at all")
    return found
