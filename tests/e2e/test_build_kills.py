"""livepatch build and libcare-patch-make, killed at random instants: nothing of them is left, and the next run is as good as any.

What SIGKILL leaves is for the next run to clear away (docs/patch-author-guide.md, libcare-patch-make(1)); but no process goes on,
no temporary file stays, and the user's tree is not touched, or put back.

    LIVEPATCH_SEED=N pytest tests/e2e/test_build_kills.py      what a failed run printed, again (as far as chance repeats)
"""
import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import lib
import pytest
from buildlib import Project
from kpatch_lib import EXAMPLES, build_id, environment, tools

SEED = int(os.environ.get("LIVEPATCH_SEED", random.SystemRandom().randrange(10**6)))
FIX = ("work.c", '"original"', '"patched"')
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
ROUNDS = 3
COMPILERS = ("cc1", "as", "ld", "collect2")  # each a child of a driver, which tells what becomes of it


def children_of(pid):
    with suppress(FileNotFoundError, ProcessLookupError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def descendants_of(pid):
    return [d for child in children_of(pid) for d in (child, *descendants_of(child))]


def name_of(pid):
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def processes_in(*directories):
    """Whoever works below one of them, or was told of it."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                words = (entry / "cmdline").read_bytes().decode(errors="replace") + os.readlink(entry / "cwd")
                if any(str(directory) in words for directory in directories):
                    found.append(f"{entry.name} {name_of(entry.name)}")
    return found


def kill_compiler(tool):
    """One of the programs that do the work, if any runs; its driver then fails."""
    running = [pid for pid in descendants_of(tool.pid) if name_of(pid) in COMPILERS]
    if not running:
        return False
    with suppress(ProcessLookupError):
        os.kill(random.choice(running), signal.SIGKILL)
        return True
    return False


WAYS = {
    "the tool": lambda tool: tool.kill(),
    "its group": lambda tool: os.killpg(tool.pid, signal.SIGKILL),
    "a compiler": kill_compiler,
    "SIGINT": lambda tool: tool.send_signal(signal.SIGINT),
    "SIGTERM": lambda tool: tool.send_signal(signal.SIGTERM),
}


class Killed:
    """A run of a tool that ends before its time: after some seconds, or when a file is there."""

    def __init__(self, command, cwd, env, way, after):
        self.way, self.temporary = way, lib.scratch_directory()
        tool = subprocess.Popen([*map(str, command)], cwd=cwd, env={**env, "TMPDIR": str(self.temporary)}, process_group=0,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        with suppress(subprocess.TimeoutExpired):
            if isinstance(after, Path):
                lib.wait_for(lambda: after.exists() or tool.poll() is not None, after)
            else:
                tool.wait(timeout=after)
        if tool.poll() is None:
            WAYS[way](tool)
        self.output, _ = tool.communicate(timeout=lib.PATIENCE)
        self.status = tool.returncode

    def leaves_nobody(self, story, *directories):
        lib.wait_for(lambda: not processes_in(*directories), f"{processes_in(*directories)} to end: {story}")
        assert not list(self.temporary.iterdir()), story


# No signal but SIGKILL ends it, and it does not get to remove anything.
STUBBORN = """#!/bin/sh
trap '' HUP INT TERM
mktemp "${TMPDIR:-/tmp}/ccXXXXXX.s" > "$READY.draft" && mv "$READY.draft" "$READY"
exec sleep 1000
"""


def stubborn_compiler(env):
    """An environment in which gcc is that, and the file in which it says what it has made."""
    directory = lib.scratch_directory()
    for name in ("cc", "gcc"):
        (directory / name).write_text(STUBBORN)
        (directory / name).chmod(0o755)
    ready = directory / "ready"
    return {**env, "PATH": f"{directory}:{env['PATH']}", "READY": str(ready)}, ready


def was_there(killed, ready):
    """Its temporary file, where nothing may be now."""
    path = Path(ready.read_text().strip())
    assert path.is_relative_to(killed.temporary) and not path.exists()


# ---- livepatch build

def command_for(project, out, *args):
    return [lib.tool_path(), "build", "-C", project.path, "--cache", project.cache, "--build", project.command, "-o", out, *args,
            project.fix]


def build_anew(project, out):
    subprocess.run([*map(str, command_for(project, out))], env=project.env, check=True, stdout=subprocess.DEVNULL,
                   stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=5 * lib.PATIENCE, cwd=project.path.parent)
    return out.read_bytes()


@pytest.fixture(scope="module", params=["make", "ninja"])
def project(request):
    """Ninja gives each compiler a process group of its own."""
    project = Project("two-files", command=request.param, env=EPOCH)
    if request.param == "ninja":
        project.write(build_ninja="rule cc\n  command = gcc -O2 -g -I. -c $in -o $out\nrule link\n"
                      "  command = gcc -Wl,--build-id $in -o $out\nbuild main.o: cc main.c\nbuild work.o: cc work.c\n"
                      "build prog: link main.o work.o\n")
    project.fix = project.diff(FIX)
    begin = time.monotonic()
    project.expected = build_anew(project, project.path.parent / "expected.kpatch")
    project.took = time.monotonic() - begin
    return project


def check_killed_build(project, way, chance):
    before, out = project.fingerprint(), project.path.parent / "out" / "fix.kpatch"
    shutil.rmtree(out.parent, ignore_errors=True)
    out.parent.mkdir()
    cold, after = chance.random() < 0.6, chance.uniform(0, project.took)
    story = f"LIVEPATCH_SEED={SEED}: {way} killed after {after:.3f} s, {'cold' if cold else 'warm'}"
    killed = Killed(command_for(project, out, *(["--clean"] if cold else [])), project.path.parent, project.env, way, after)
    story += f": {killed.status} {killed.output}"
    killed.leaves_nobody(story, project.cache, project.path)
    assert project.fingerprint() == before, story
    assert [path.read_bytes() for path in out.parent.iterdir()] in ([], [project.expected]), story
    assert build_anew(project, project.path.parent / "again.kpatch") == project.expected, story
    assert len(list(project.cache.iterdir())) == 1, story


@pytest.mark.parametrize("way", WAYS)
def test_a_build_that_was_killed_leaves_nothing_and_the_next_is_the_same(project, way):
    chance = random.Random(f"{SEED} {way}")
    for _ in range(ROUNDS):
        check_killed_build(project, way, chance)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.sweep
def test_builds_that_were_killed_often(project, way):
    chance = random.Random(f"{SEED} {way} often")
    for _ in range(100):
        check_killed_build(project, way, chance)


@pytest.mark.parametrize("way", ["the tool", "its group", "SIGTERM"])
def test_temporary_files_of_compilers_go_that_were_killed_in_a_build(project, way):
    env, ready = stubborn_compiler(project.env)
    killed = Killed(command_for(project, project.path.parent / "none.kpatch", "--clean"), project.path.parent, env, way, ready)
    killed.leaves_nobody(f"{way}: {killed.status} {killed.output}", project.cache, project.path)
    was_there(killed, ready)


# ---- libcare-patch-make

SOURCES = (".c", ".h", ".patch", ".rej", ".orig")


def libcare_project():
    directory = lib.scratch_directory() / "project"
    shutil.copytree(EXAMPLES / "project", directory)
    return directory


def sources(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix in SOURCES}


def found(directory, *patterns):
    return [path for pattern in patterns for path in directory.rglob(pattern)]


def libcare_make(directory):
    run = subprocess.run([tools() / "libcare-patch-make", "-i", "1", "fix.patch"], cwd=directory, env=environment(**EPOCH),
                         stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=5 * lib.PATIENCE)
    assert run.returncode == 0, run.stdout + run.stderr
    patches = {path.name: path.read_bytes() for path in (directory / "patchroot").iterdir()}
    return {name: patches[f"{build_id(directory / 'lpmake' / name)}.kpatch"] for name in ("program", "libcalc.so")}


@pytest.fixture(scope="module")
def expected():
    """What a run gives that nobody kills, and how long it takes; all runs are in one place, whose name is in the binaries."""
    directory = libcare_project()
    begin = time.monotonic()
    patches = libcare_make(directory)
    return directory, patches, time.monotonic() - begin


def check_killed_make(expected, way, chance):
    directory, patches, took = expected
    before = sources(EXAMPLES / "project")
    if chance.random() < 0.7:
        subprocess.run(["make", "-s", "clean"], cwd=directory, check=True, stdout=subprocess.DEVNULL)
    after = chance.uniform(0, took)
    story = f"LIVEPATCH_SEED={SEED}: {way} killed after {after:.3f} s"
    killed = Killed([tools() / "libcare-patch-make", "-i", "1", "fix.patch"], directory, environment(**EPOCH), way, after)
    story += f": {killed.status} {killed.output}"
    killed.leaves_nobody(story, directory)
    if killed.status != -signal.SIGKILL:
        assert sources(directory) == before and not found(directory, "*lpmake.lock*", "*.lpmakeorig"), story
    assert libcare_make(directory) == patches, story
    assert sources(directory) == before, story
    assert not found(directory, "*lpmake.lock*", "*.lpmakeorig", "*.tmp", "*.unfinished"), story


@pytest.mark.parametrize("way", WAYS)
def test_a_patch_make_that_was_killed_is_made_good_by_the_next(expected, way):
    chance = random.Random(f"{SEED} {way}")
    for _ in range(ROUNDS):
        check_killed_make(expected, way, chance)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.sweep
def test_patch_makes_that_were_killed_often(expected, way):
    chance = random.Random(f"{SEED} {way} often")
    for _ in range(100):
        check_killed_make(expected, way, chance)


@pytest.mark.parametrize("way", ["the tool", "its group"])
def test_temporary_files_of_compilers_go_that_were_killed_in_a_patch_make(way):
    directory = libcare_project()
    env, ready = stubborn_compiler(environment(**EPOCH))
    killed = Killed([tools() / "libcare-patch-make", "-i", "1", "fix.patch"], directory, env, way, ready)
    killed.leaves_nobody(f"{way}: {killed.status} {killed.output}", directory)
    was_there(killed, ready)
