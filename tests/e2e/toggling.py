"""Functions that 64 threads of a guest run through, toggled: tests/guest/toggled.c and what is done to it."""
import re
import subprocess
import time
from collections import namedtuple

import lib
import runner_live

THREADS = 64
FUNCTIONS = 3  # that a round calls
KINDS = {
    # mov w0, #2; mov w1, #2
    "INLINE": ("patch apply pair 52800040,52800041", "patch revert pair"),
    "FUNCTION_REDIRECT": ("patch redirect plain twin", "patch revert plain"),
    # mov w9, #77
    "INSERT": ("patch insert grows 528009a9", "patch revert grows"),
    "all": ("patch apply pair 52800040,52800041; patch redirect plain twin; patch insert grows 528009a9", "patch revert all"),
}
# How the threads run: for ever, so that each needs a time slice to come to its next boundary; or they give way to each
# other after so many rounds, so that stopping all of them takes a context switch each.
MODES = {"spinning": (), "yielding": ("100",)}

Result = namedtuple("Result", "toggles calls seconds")


def built():
    return runner_live.built("toggled", "-static")


def last_words(guest):
    """Of one that has ended, or is about to."""
    try:
        status = guest.process.wait(5)
    except subprocess.TimeoutExpired:
        return "the guest lives"
    said = guest.buffer + guest.process.stdout.read()
    return f"the guest ended with {status}: {said.decode().strip()}"


def toggle(program, kind, mode, toggles, *, seconds=None, options=()):
    """At most so many toggles, and seconds; fails when a thread saw a mixture, or the guest ended for another reason."""
    on, off = KINDS[kind]
    done, start = 0, time.monotonic()
    with runner_live.Guest(program, *options, args=(str(THREADS), *MODES[mode])) as guest:
        try:
            client = guest.client()
            before = int(guest.ask())
            while done < toggles and (seconds is None or time.monotonic() - start < seconds):
                client.say(on)
                client.say(off)
                done += 2
            after = int(guest.ask())
        except (AssertionError, OSError, ValueError) as why:
            raise AssertionError(f"after {done} toggles: {last_words(guest)} ({why})") from why
        assert after > before
        assert client.say("patch list") == []
        return Result(done, (after - before) * FUNCTIONS, time.monotonic() - start)


def toggle_when_hot(program, kind, engine, threads, times):
    """On and off, each time with all threads through what is there now; how many translations were dropped for it."""
    with runner_live.Guest(program, engine, "--stats", args=(str(threads), *MODES["yielding"]), stderr=subprocess.PIPE) as guest:
        client = guest.client()
        for line in KINDS[kind] * times:
            before = int(guest.ask())
            lib.wait_for(lambda: int(guest.ask()) > before + 1000 * threads, "rounds")  # noqa: B023
            client.say(line)
        _, stats = guest.process.communicate(timeout=lib.PATIENCE)
        assert guest.process.returncode == 0, last_words(guest)
        return int(re.search(rb"(\d+) units dropped again", stats)[1])
