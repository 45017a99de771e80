"""top on a terminal.  One loop waits for keys, for the process and for signals, and never for one of them alone."""
import contextlib
import curses
import locale
import os
import select
import signal
import socket
import time
import unicodedata

from .errors import WrongUse
from .live import KINDS, Live
from .text import line

PATIENCE = 1.0  # until it is said that the process does not answer
LINES_AROUND = 4  # two above the rows, their heading, and the keys below
TYPE_WIDTH_MAX = 18
ESCAPE = 27
KEYS = "q quit  s sort  f variables, functions, flags  / with a text  space look now"
ORDERS = {"kind": lambda row: (row.kind, row.name.encode()), "name": lambda row: (row.name.encode(), row.kind),
          "last change": lambda row: (-row.changed, row.kind, row.name.encode())}
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def _columns(text):
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _fit(text, width):
    """As many characters as fit."""
    text = text[:max(width, 0)]
    while _columns(text) > width:
        text = text[:-1]
    return text


class Screen:
    def __init__(self, process, name, delay):
        self.live = Live(process)
        self.process, self.name, self.delay = process, line(name), delay
        self.order, self.kind, self.text = 0, None, ""
        self.typing = self.over = False
        self.first = 0
        self.begun = 0.0
        self.signals, self.ended_by = [], None
        self.view = []
        self.window = None

    # ---- drawing

    def _size(self):
        return self.window.getmaxyx()

    def _put(self, y, x, width, text, how=curses.A_NORMAL):
        lines, columns = self._size()
        if 0 <= y < lines and x < columns:
            with contextlib.suppress(curses.error):  # the last column of the last line: it is drawn all the same
                self.window.addstr(y, x, _fit(text, min(width, columns - x)), how)

    def _put_line(self, y, text, how=curses.A_NORMAL):
        columns = self._size()[1]
        self._put(y, 0, columns, text + " " * max(0, columns - _columns(text)), how)

    def _shown(self):
        return max(0, self._size()[0] - LINES_AROUND)

    def _table(self):
        columns = self._size()[1]
        name = max([4, *(_columns(row.name) for row in self.view)])
        name = min(name, columns // 3) if columns >= 12 else name
        kind = min(max([4, *(_columns(row.type) for row in self.view)]), TYPE_WIDTH_MAX)

        def cells(y, how, *texts):
            at = 0
            for text, width in zip(texts, (8, name, kind, columns)):
                self._put(y, at, width, text, how)
                at += width + 2
        self._put_line(2, "", curses.A_REVERSE)
        cells(2, curses.A_REVERSE, "KIND", "NAME", "TYPE", "VALUE")
        for y, row in enumerate(self.view[self.first:self.first + self._shown()], 3):
            how = self.changed if self.live.is_changed(row) else curses.A_NORMAL
            cells(y, how, KINDS[row.kind], row.name, row.type, row.value)

    def _choose(self):
        rows = [row for row in self.live.rows if self.kind in (None, row.kind) and row.has(self.text)]
        self.view = sorted(rows, key=list(ORDERS.values())[self.order])
        self.first = max(0, min(self.first, len(self.view) - self._shown()))

    def _heads(self):
        late = self.live.answers is not None and time.monotonic() - self.begun >= PATIENCE
        yield f"hotpatch top: process {self.process.pid} ({self.name}), every {self.delay:g} s" + ("; it does not answer" if late else "")
        if not self.live.looks:
            yield "looking ..."
            return
        last = min(self.first + self._shown(), len(self.view))
        only = "" if self.kind is None else f", {KINDS[self.kind]}s alone"
        yield f"{self.first + 1 if self.view else 0} to {last} of {len(self.view)}, by {list(ORDERS)[self.order]}{only}" + (
            f", with {self.text}" if self.text else "")

    def _draw(self):
        self._choose()
        self.window.erase()
        title, state = self._heads()
        self._put_line(0, title, curses.A_BOLD)
        self._put_line(1, state)
        self._table()
        typed = f"with: {self.text}"
        self._put_line(self._size()[0] - 1, typed if self.typing else KEYS, curses.A_REVERSE)
        with contextlib.suppress(curses.error):
            curses.curs_set(self.typing)
            self.window.move(self._size()[0] - 1, min(_columns(typed), self._size()[1] - 1))
        self.window.refresh()

    # ---- keys

    def _type(self, key):
        if key in (ord("\n"), ord("\r"), curses.KEY_ENTER, ESCAPE):
            self.typing = False
        if key in (ESCAPE, 21):
            self.text = ""
        elif key in (curses.KEY_BACKSPACE, 127, 8):
            self.text = self.text[:-1]
        elif 32 <= key < 127:
            self.text += chr(key)

    def _command(self, key):
        moves = {curses.KEY_UP: -1, ord("k"): -1, curses.KEY_DOWN: 1, ord("j"): 1, curses.KEY_PPAGE: -self._shown(),
                 curses.KEY_NPAGE: self._shown(), curses.KEY_HOME: -self.first, ord("g"): -self.first,
                 curses.KEY_END: len(self.view), ord("G"): len(self.view)}
        self.first = max(0, self.first + moves.get(key, 0))
        if key in (ord("q"), ord("Q")):
            self.over = True
        elif key == ord("s"):
            self.order = (self.order + 1) % len(ORDERS)
        elif key == ord("f"):
            self.kind = {None: 0, len(KINDS) - 1: None}.get(self.kind, (self.kind or 0) + 1)
        elif key == ord("/"):
            self.typing = True
        elif key == ESCAPE:
            self.text = ""
        elif key == ord(" ") and self.live.answers is None:
            self.begun = 0.0
        elif key == 12:
            self.window.clear()

    def _keys(self):
        while not self.over and (key := self.window.getch()) != curses.ERR:
            (self._type if self.typing else self._command)(key)

    # ---- the loop

    def _wait(self):
        """Seconds until something is to be done without being asked for."""
        if self.live.answers is not None:
            return PATIENCE
        return max(0.0, self.begun + self.delay - time.monotonic())

    def _look(self):
        self.begun = time.monotonic()
        self.live.begin()

    def _signals(self, woken):
        for number in woken.recv(4096):
            if number in ENDS:
                self.over, self.ended_by = True, number
            elif number == signal.SIGTSTP:
                self._stop()
            elif number == signal.SIGWINCH:
                self._resize()

    def _resize(self):
        with contextlib.suppress(OSError, curses.error):
            size = os.get_terminal_size()
            curses.resizeterm(size.lines, size.columns)

    def _stop(self):
        """^Z: whoever is in front of the terminal now has it as it was, and we have it back when we go on."""
        curses.endwin()
        before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, before)
        self._resize()
        self.window.clear()

    def _turn(self, woken):
        ready, _, _ = select.select([0, woken, self.process], [], [], self._wait())
        if woken in ready:
            self._signals(woken)
        if 0 in ready:
            self._keys()
        if self.live.answers is None and (self.process in ready or not self._wait()):
            self._look()
        elif self.process in ready and self.process.arrived():
            self.live.step()

    def _loop(self, woken):
        self._look()
        while not self.over:
            self._draw()
            self._turn(woken)

    # ---- the terminal

    def _open(self):
        locale.setlocale(locale.LC_CTYPE, "")
        try:
            self.window = curses.initscr()
        except curses.error:
            raise WrongUse("usage", f"nothing is known about a terminal called {os.environ['TERM']} (TERM); "
                                    "top --once prints a table") from None
        curses.cbreak()
        curses.noecho()
        self.window.keypad(True)
        self.window.nodelay(True)
        curses.set_escdelay(25)
        self.changed = curses.A_BOLD
        if curses.has_colors() and not os.environ.get("NO_COLOR"):
            curses.start_color()
            curses.use_default_colors()
            curses.init_pair(1, curses.COLOR_YELLOW, -1)
            self.changed |= curses.color_pair(1)

    @contextlib.contextmanager
    def _listening(self):
        """Signals as bytes that can be waited for.  That of ^Z, too: what curses does about it forgets one that comes while it draws."""
        woken, waking = socket.socketpair()
        with woken, waking:
            waking.setblocking(False)
            numbers = [n for n in (*ENDS, signal.SIGTSTP, signal.SIGWINCH) if signal.getsignal(n) is not signal.SIG_IGN]
            before = {n: signal.signal(n, lambda *_: None) for n in numbers}
            signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
            try:
                yield woken
            finally:
                signal.set_wakeup_fd(-1)
                for number, handler in before.items():
                    signal.signal(number, handler)

    def run(self):
        """Until q or ^C, or until the process ends; the terminal is as it was then.  What we are told to end by, we end by."""
        with self._listening() as woken:
            self._open()
            try:
                self._loop(woken)
            finally:
                curses.endwin()
        if self.ended_by and self.ended_by != signal.SIGINT:
            signal.signal(self.ended_by, signal.SIG_DFL)
            os.kill(os.getpid(), self.ended_by)
