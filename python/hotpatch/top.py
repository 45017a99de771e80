"""hotpatch -p PID top: as JSON, as a table, or on the whole terminal."""
import os
import sys

from . import output, places
from .errors import WrongUse
from .live import Live


def _is_terminal():
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


def _snapshots(process, once, delay):
    live = Live(process)
    while True:
        live.look()
        output.emit(live.json(places.name(process.pid)))
        output.flush()
        if once:
            return
        output.wait(process, delay)


def _table(process):
    live = Live(process)
    live.look()
    output.write(live.table())


def run(process, once, as_json, delay):
    if as_json:
        _snapshots(process, once, delay)
    elif once or not _is_terminal():
        _table(process)
    else:
        try:
            from .screen import Screen  # not every Python has curses
        except ImportError:
            raise WrongUse("usage", "this Python has no curses; top --once prints a table") from None
        Screen(process, places.name(process.pid), delay).run()
