"""Programs of tests/guest that consist of parts: built for the guest and, where they can be, for this machine."""
import functools
import re
import shutil
import subprocess

import lib
import runnerlib

GUEST = lib.TOP / "tests" / "guest"
CROSS = "aarch64-linux-gnu-gcc"
FLAGS = ["-O1", "-g", "-fno-omit-frame-pointer", "-pthread"]


def parts(name):
    """All parts of the program, and those that only the guest's has."""
    source = (GUEST / f"{name}.c").read_text()
    table = source[source.index("MAIN("):]
    only = re.search(r"#define ONLY_HERE((?:.*\\\n)*.*)", source)
    return re.findall(r"PART\((\w+)\)", table), re.findall(r"PART\((\w+)\)", only[1]) if only else []


@functools.cache
def guest(name):
    out = lib.scratch_directory() / name
    subprocess.run([CROSS, *FLAGS, "-static", "-march=armv8.2-a", "-o", out, GUEST / f"{name}.c"], check=True)
    return out


@functools.cache
def native(name):
    out = lib.scratch_directory() / name
    subprocess.run(["gcc", *FLAGS, "-w", "-o", out, GUEST / f"{name}.c"], check=True)
    return out


def ours(name, part, **how):
    return runnerlib.run([guest(name), part], **how)


def theirs(name, part):
    done = subprocess.run([native(name), part], stdin=subprocess.DEVNULL, capture_output=True, timeout=lib.PATIENCE)
    return runnerlib.Run(done.returncode, done.stdout, done.stderr)


def same(name, part):
    """The part says under the runner what it says on this machine, and ends as it does."""
    expected, seen = theirs(name, part), ours(name, part)
    assert (seen.status, seen.stdout.decode()) == (expected.status, expected.stdout.decode()), seen.stderr.decode()


def missing():
    """Why these tests cannot run here; "" when they can."""
    if not shutil.which(CROSS):
        return f"no {CROSS} here"
    return "" if shutil.which(runnerlib.RUNNER) else "arm64_runner is not built"
