"""Functions that 64 threads of a guest run through, toggled: tests/guest/toggled.c and what is done to it."""
import os
import re
import subprocess
import time
from collections import namedtuple
from pathlib import Path

import lib
import runner_live

THREADS = 64
FUNCTIONS = 6  # that a round calls
KINDS = {
    # mov w0, #2; mov w1, #2
    "INLINE": ("patch apply pair 52800040,52800041", "patch revert pair"),
    "FUNCTION_REDIRECT": ("patch redirect plain twin", "patch revert plain"),
    # mov w9, #77
    "INSERT": ("patch insert grows 528009a9", "patch revert grows"),
    # The same in loops: threads are in what is patched nearly all the time, and --jit=tier2 makes regions of it.
    "INLINE in a loop": ("patch apply turn 52800040,52800041", "patch revert turn"),
    "FUNCTION_REDIRECT of a loop": ("patch redirect laps longer", "patch revert laps"),
    "INSERT in a loop": ("patch insert widen 528009a9", "patch revert widen"),
    "all": ("patch apply pair 52800040,52800041; patch redirect plain twin; patch insert grows 528009a9; "
            "patch apply turn 52800040,52800041; patch redirect laps longer; patch insert widen 528009a9", "patch revert all"),
}
LOOPS = [kind for kind in KINDS if kind.endswith("loop")]
STRAIGHT = [kind for kind in KINDS if kind not in LOOPS]
# How the threads run: for ever, so that each needs a time slice to come to its next boundary; or they give way to each
# other after so many rounds, so that stopping all of them takes a context switch each.
MODES = {"spinning": (), "yielding": ("100",)}
# A function is redirected when nobody is in it.  Threads that never give way are preempted in a loop more often than
# anywhere else, so that of 64 on a few processors there is always one: that wait has no end.
KINDS["all that needs no wait"] = tuple(line.replace("patch redirect laps longer; ", "") for line in KINDS["all"])
CASES = [("yielding", kind) for kind in STRAIGHT] + [("spinning", kind) for kind in KINDS if kind not in (*LOOPS, "all")]

SAMPLES = 10  # of the memory that the guest takes, over the time of the run

Result = namedtuple("Result", "toggles calls seconds megabytes")


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


def resident(guest):
    """In megabytes."""
    pages = int(Path(f"/proc/{guest.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def toggle(program, kind, mode, toggles, *, seconds=None, options=()):
    """At most so many toggles, and seconds; fails when a thread saw a mixture, or the guest ended for another reason."""
    on, off = KINDS[kind]
    done, start, megabytes = 0, time.monotonic(), []
    with runner_live.Guest(program, *options, args=(str(THREADS), *MODES[mode])) as guest:
        try:
            client = guest.client()
            before = int(guest.ask())
            while done < toggles and (seconds is None or time.monotonic() - start < seconds):
                client.say(on)
                client.say(off)
                done += 2
                if done * SAMPLES >= toggles * len(megabytes):
                    megabytes.append(resident(guest))
            after = int(guest.ask())
        except (AssertionError, OSError, ValueError) as why:
            raise AssertionError(f"after {done} toggles: {last_words(guest)} ({why})") from why
        assert after > before
        assert client.say("patch list") == []
        return Result(done, (after - before) * FUNCTIONS, time.monotonic() - start, megabytes)


def toggle_when_hot(program, kind, engine, threads, times):
    """On and off, each time with all threads through what is there now: how many translations were dropped for it, and how many
    of all were regions."""
    with runner_live.Guest(program, engine, "--stats", args=(str(threads), *MODES["yielding"]), stderr=subprocess.PIPE) as guest:
        client = guest.client()
        for line in KINDS[kind] * times:
            before = int(guest.ask())
            lib.wait_for(lambda: int(guest.ask()) > before + 1000 * threads, "rounds")  # noqa: B023
            client.say(line)
        _, stats = guest.process.communicate(timeout=lib.PATIENCE)
        assert guest.process.returncode == 0, last_words(guest)
        regions = re.search(rb"(\d+) of the units are regions", stats)
        return int(re.search(rb"(\d+) units dropped again", stats)[1]), int(regions[1]) if regions else 0
