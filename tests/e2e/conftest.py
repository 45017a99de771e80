"""Options, marks and fixtures of the end-to-end tests; the helpers themselves are in lib.py.

    pytest tests/e2e [--build=build/dbg] [-m sweep]

LIVEPATCH=/path/to/livepatch tests another binary, an installed one for example.
LIVEPATCH_TEST_JIT=MODE: arm64_runner executes code as --jit=MODE says, wherever a test does not say it (no: interpreted).
LIVEPATCH_TEST_HOST_CPU=CPU: it translates as --host-cpu=CPU says, in the same way (avx2, sse4, ...).
"""
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

pytest.register_assert_rewrite("guestlib", "runner_live", "toggling")  # whose assertions say what was expected and what came
import lib  # noqa: E402

# What a shell starts in the background ignores SIGINT and SIGQUIT, what nohup(1) starts SIGHUP, and so would every program that
# the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGTSTP, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
# Programs that are built here are run by other users too.
os.umask(0o022)
# What is compiled here is compiled as the tests say, not as the `make` or the packager that runs them does; and programs say in
# English what is wrong.
for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "CC", "CXX", "CPPFLAGS", "CFLAGS", "CXXFLAGS", "LDFLAGS", "LD_PRELOAD",
             "LD_LIBRARY_PATH", "LANGUAGE"):
    os.environ.pop(name, None)
os.environ["LC_ALL"] = "C.UTF-8"


def pytest_addoption(parser):
    parser.addoption("--build", default=None, help="build directory that holds src/tool/livepatch (build/dbg)")


def pytest_configure(config):
    if config.option.build:
        os.environ["LIVEPATCH_TEST_BUILD"] = config.option.build
    said = {"jit": os.environ.get("LIVEPATCH_TEST_JIT"), "host_cpu": os.environ.get("LIVEPATCH_TEST_HOST_CPU")}
    if any(said.values()):
        settings = lib.scratch_directory()
        lines = "".join(f"{key} = {value}\n" for key, value in said.items() if value)
        (settings / "arm64runner.conf").write_text(f"[runner]\n{lines}")
        os.environ["XDG_CONFIG_HOME"] = str(settings)
    # What arm64_runner keeps of translations neither comes from this user's programs nor stays.
    os.environ["XDG_CACHE_HOME"] = str(lib.private_directory())
    config.addinivalue_line("markers", "sweep: long runs, only with `make sweep`")
    config.addinivalue_line("markers", "left_out(*modes, reason=): not where LIVEPATCH_TEST_JIT or LIVEPATCH_TEST_HOST_CPU is one of them")


def pytest_collection_modifyitems(items):
    modes = {os.environ.get("LIVEPATCH_TEST_JIT"), os.environ.get("LIVEPATCH_TEST_HOST_CPU")}
    for item in items:
        for mark in item.iter_markers("left_out"):
            if modes & set(mark.args):
                # bench/jit-modes tells these from what the machine cannot test.
                item.add_marker(pytest.mark.skip(reason=f"left out in this mode: {mark.kwargs['reason']}"))


def pytest_sessionstart(session):
    if not session.config.option.collectonly and not lib.tool_path().exists():
        pytest.exit(f"{lib.tool_path()} is missing: build it with `make`, or name it with LIVEPATCH=", returncode=1)


@pytest.fixture
def livepatch():
    """Runs the tool: livepatch("list", "-p", pid), livepatch("apply", ..., script="jmp ...", expect=lib.REFUSED)."""
    return lib.livepatch


@pytest.fixture
def victim():
    """Builds a program of tests/victim and runs it to the end of the test: victim("e2e_serve.c", link="static")."""
    running = []

    def run(*sources, args=(), **how):
        process = lib.Victim(lib.compiled(*sources, **how), *args)
        running.append(process)
        return process

    yield run
    for process in reversed(running):
        process.__exit__()


@pytest.fixture
def free_port():
    """A loopback port that nobody listened on a moment ago (the kernel hands them out in no order that repeats)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
