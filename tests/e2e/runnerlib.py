"""arm64_runner, Debian's arm64 programs for it, and qemu-aarch64 as the second opinion."""
import fcntl
import functools
import os
import subprocess
from collections import namedtuple
from pathlib import Path

import lib

TOP = Path(__file__).resolve().parent.parent.parent
RUNNER = os.environ.get("ARM64_RUNNER") or str(lib.tool_path().parent / "arm64_runner")
QEMU = "qemu-aarch64"

Run = namedtuple("Run", "status stdout stderr")


def packages():
    lines = (TOP / "scripts" / "guest-packages").read_text().splitlines()
    return [line.split()[0] for line in lines if line and not line.startswith("#")]


@functools.cache
def sysroot():
    """The folder with arm64 programs; fetched and unpacked when it is not there.  ARM64_SYSROOT= names another."""
    if "ARM64_SYSROOT" in os.environ:
        return Path(os.environ["ARM64_SYSROOT"])
    root = lib.build_directory().parent / "arm64-guest"
    root.mkdir(parents=True, exist_ok=True)
    with open(root / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run([TOP / "scripts" / "arm64-sysroot", root, *packages()], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0, done.stderr
    return root


def said_mode():
    """What conftest.py has put into a file of settings, as options: for a program whose environment does not lead there."""
    said = {"--jit": os.environ.get("LIVEPATCH_TEST_JIT"), "--host-cpu": os.environ.get("LIVEPATCH_TEST_HOST_CPU")}
    return [f"{option}={value}" for option, value in said.items() if value]


def seconds(nr):
    """That a program may take, in the mode that is tested: only ever spent on what hangs."""
    return nr * (20 if os.environ.get("LIVEPATCH_TEST_JIT", "").startswith("check") else 1)


def run(command, emulator=None, *, options=(), root=None, stdin=b"", timeout=300, env=None, cwd=None):
    """Runs an arm64 program; stdout and stderr are bytes."""
    prefix = [emulator or RUNNER, *(said_mode() if env is not None and not emulator else ()), *options]
    if root:
        prefix += ["-L", str(root)]
    done = subprocess.run([*prefix, *map(str, command)], input=stdin, capture_output=True, timeout=seconds(timeout), env=env, cwd=cwd)
    return Run(done.returncode, done.stdout, done.stderr)


def compiled(source, *flags, where):
    """An arm64 program, static unless said otherwise, from C text."""
    c, out = Path(where) / "program.c", Path(where) / "program"
    c.write_text(source)
    kind = [] if "-shared" in flags or "-dynamic" in flags else ["-static"]
    subprocess.run(["aarch64-linux-gnu-gcc", "-O2", *kind, *[f for f in flags if f != "-dynamic"], "-o", out, c, "-lpthread", "-lm"],
                   check=True)
    return out
