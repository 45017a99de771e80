"""SIGKILL at random instants, while the target itself never keeps still.

tests/fault kills livepatch at each of its system calls, over a target that sits where it is.  Here the instant is a random
one, and the target makes threads, forks, runs programs, replaces itself or ends meanwhile.  It must notice nothing, and
the next livepatch must make it wholly old or wholly new.

    LIVEPATCH_SEED=N pytest tests/e2e/test_kills.py      what a failed run printed, again (as far as chance repeats)
"""
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

import kpatchlib
import lib
import libcare
from lib import Victim

SEED = int(os.environ.get("LIVEPATCH_SEED", random.SystemRandom().randrange(10**6)))
NEW = """
int first(int n) { return n + 2; }
const char *second(int n) { return n < 0 ? "negative" : "new"; }
"""
THINGS = ("threads", "fork", "spawn", "exec", "mayfly")  # in the order of its answer
MAY_PASS = ("timeout", "busy", "no-thread", "shared-memory", "parked")  # reasons to ask again: nothing stands still here


def program():
    return lib.compiled("e2e_restless.c")


def patch():
    return kpatchlib.make(NEW, program(), id="restless")


def script():
    path = lib.source_file(f"dl new {lib.shared_object(str(lib.source_file(NEW, 'new.c')))}\n"
                           "jmp first $new:first\njmp second $new:second\n", "script")
    return path


def store():
    directory = lib.scratch_directory()
    libcare.put(directory, patch())
    return directory


def children_of(pid):
    """Of all its threads."""
    found = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += [int(word) for word in thread.read_text().split()]
    return found


def descendants_of(pid):
    return [d for child in children_of(pid) for d in (child, *descendants_of(child))]


class Killer:
    """Runs tools on a process and kills them on the way."""

    def __init__(self, victim, seed, pick=None):
        self.victim, self.random = victim, random.Random(seed)
        self.pick = pick or (lambda: victim.pid)
        self.seed, self.tools = seed, self.commands()
        self.took = {name: 0.06 for name in self.tools}  # seconds, when nobody kills it
        self.killed = self.ended = 0
        self.said = []

    def commands(self):
        livepatch, ctl, fix, plan, shelf = lib.tool_path(), libcare.path_of("libcare-ctl"), patch(), script(), store()
        return {
            "apply": lambda pid: [livepatch, "apply", "-p", pid, "-f", plan],
            "apply-kpatch": lambda pid: [livepatch, "apply", "-p", pid, fix],
            "revert": lambda pid: [livepatch, "revert", "-p", pid, "--all"],
            "revert-free": lambda pid: [livepatch, "revert", "-p", pid, "--all", "--free"],
            "patch": lambda pid: [ctl, "patch", "-p", pid, fix],
            "unpatch": lambda pid: [ctl, "unpatch", "-p", pid],
            "recover": lambda pid: [livepatch, "recover", "-p", pid],
            "watch": lambda pid: [livepatch, "watch", shelf],
        }

    def one(self):
        """One tool, and when it has not ended by a random time, its death: of the first process, of a child, of all."""
        name = self.random.choice(list(self.tools))
        who = self.random.choice(["first", "child", "all", "all"])
        after = self.random.uniform(0, 1.2) * self.took[name]
        pid = self.pick()
        begin = time.monotonic()
        tool = subprocess.Popen([*map(str, self.tools[name](pid))], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, process_group=0)
        try:
            tool.wait(timeout=after)
            self.ended += 1
            self.took[name] = (self.took[name] + time.monotonic() - begin) / 2
        except subprocess.TimeoutExpired:
            self.killed += 1
            self.kill(tool, who)
        if name == "watch" and who == "child":
            tool.terminate()  # it goes on when a worker dies
        output, _ = tool.communicate(timeout=lib.PATIENCE)  # its end: whoever is left has the same standard output
        self.said.append(f"{name} of {pid}, {who} killed after {after:.4f} s: {tool.returncode} {output.strip()}")
        return pid

    def kill(self, tool, who):
        below = descendants_of(tool.pid)
        with suppress(ProcessLookupError):
            if who == "all":
                os.killpg(tool.pid, signal.SIGKILL)
            elif who == "child" and below:
                os.kill(self.random.choice(below), signal.SIGKILL)
            else:
                os.kill(tool.pid, signal.SIGKILL)

    def story(self):
        return "\n".join([f"LIVEPATCH_SEED={self.seed}", *self.said[-8:]])

    # ---- afterwards

    def let_go(self, pid):
        """Nobody is stopped or traced."""
        def free():
            return not lib.alive(pid) or (not lib.traced(pid) and not set(lib.states(pid)) & set("Tt"))

        lib.wait_for(free, f"nobody to be stopped or traced\n{self.story()}")

    def ask(self):
        answer = self.victim.ask().split()
        assert answer[0] == "ok", f"the victim says {answer}\n{self.story()}"
        return answer[1], [int(n) for n in answer[2:]]

    def goes_on(self, things):
        _, begin = self.ask()
        lib.wait_for(lambda: all(now > then for i, (now, then) in enumerate(zip(self.ask()[1], begin)) if i in things),
                     f"each thing to be done once more after {begin}\n{self.story()}")

    def insist(self, *args):
        """Until nobody is in the way."""
        for _ in range(50):
            result = lib.livepatch(*args, "--json", expect=None)
            if result.status == lib.DONE:
                return
            assert result.status in (lib.REFUSED, lib.LOST), f"{args}: {result}\n{self.story()}"
            code = result.error["code"]
            assert code in MAY_PASS or (self.may_vanish and code in ("target-lost", "target-execed")), \
                f"{args}: {result}\n{self.story()}"
        raise AssertionError(f"{args} is refused again and again: {result}\n{self.story()}")

    may_vanish = False

    def is_whole(self):
        behaviour, _ = self.ask()
        assert behaviour in ("oo", "nn"), f"after recover it is {behaviour}\n{self.story()}"
        return behaviour


def run(things, rounds, seed):
    with Victim(program(), *things) as victim:
        killer = Killer(victim, seed)
        killer.may_vanish = "exec" in things
        # What is replaced forgets how often it did anything else.
        done = [THINGS.index("exec")] if "exec" in things else [i for i, name in enumerate(THINGS) if name in things]
        for _ in range(rounds):
            pid = killer.one()
            killer.let_go(pid)
            killer.goes_on(done)
            if killer.random.random() < 0.6:
                killer.insist("recover", "-p", pid)
                killer.is_whole()
            elif killer.random.random() < 0.5:
                killer.insist("revert", "-p", pid, "--all")  # it recovers by itself
                assert killer.is_whole() == "oo", killer.story()
        killer.insist("recover", "-p", victim.pid)
        killer.insist("revert", "-p", victim.pid, "--all", "--free")
        assert killer.is_whole() == "oo", killer.story()
        return killer


KINDS = [("threads",), ("fork", "threads"), ("spawn",), ("exec",), ("exec", "threads")]


@pytest.mark.parametrize("things", KINDS, ids=" and ".join)
def test_killed_over_a_restless_target(things):
    killer = run(things, 12, SEED)
    assert killer.killed, "every tool ended before its time"


@pytest.mark.parametrize("seed", range(1, 11))
@pytest.mark.parametrize("things", KINDS, ids=" and ".join)
@pytest.mark.sweep
def test_killed_often_over_a_restless_target(things, seed):
    run(things, 100, seed)


def run_over_mayflies(rounds, seed):
    """The target ends by itself while it is changed, and its parent looks how."""
    with Victim(program(), "mayfly") as victim:
        killer = Killer(victim, seed, pick=lambda: killer.random.choice(
            lib.wait_for(lambda: children_of(victim.pid), "a mayfly")))
        for _ in range(rounds):
            killer.let_go(killer.one())
            killer.goes_on([THINGS.index("mayfly")])
        return killer


def test_killed_over_targets_that_end():
    run_over_mayflies(20, SEED)


@pytest.mark.parametrize("seed", range(1, 11))
@pytest.mark.sweep
def test_killed_often_over_targets_that_end(seed):
    run_over_mayflies(100, seed)
