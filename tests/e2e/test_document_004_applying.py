"""The document on LibcarePlus, "Applying the LibcarePlus Hot Patch": every command as it is printed.

The commands run in a process namespace of their own where that is allowed, so that $(pidof foo) is the document's foo and
not one of another test.
"""
import os
import pty
import re
import shlex
import subprocess
from contextlib import suppress

import lib
import libcare
import pytest
from kpatch_lib import build_id, environment, example, shell, terminal, tools

INSTALLED = "libcare-ctl -h"

INSTALLED_SAYS = """\
usage: libcare-ctl [options] <cmd> [args]

Options:
  -v          - verbose mode
  -h          - this message

Commands:
  patch  - apply patch to a user-space process
  unpatch- unapply patch from a user-space process
  info   - show info on applied patches
"""

LOAD = "libcare-ctl -v patch -p $(pidof foo) ./patchroot/BuildID.kpatch"
QUERY = "libcare-ctl info -p $(pidof foo)"
UNINSTALL = "libcare-ctl unpatch -p $(pidof foo) -i 0001"

OLD, NEW = "Hello world!", "Hello world being patched!"


@pytest.fixture(scope="module")
def made():
    """What the document's way of making patches leaves: lpmake/foo and patchroot/BUILDID.kpatch."""
    directory = example("foo.c", "bar.c", "makefile")
    diff = subprocess.run(["diff", "-up", "foo.c", "bar.c"], cwd=directory, capture_output=True, text=True)
    (directory / "foo.patch").write_text(diff.stdout)
    with terminal(directory, tools() / "libcare-patch-make", "--clean", "-i", "0001", "foo.patch",
                  answers=[("File to patch: ", "foo.c\n")]) as (finish, _):
        status, screen = finish()
    assert status == 0, screen
    id = build_id(directory / "lpmake" / "foo")
    (directory / "patchroot" / f"{id}.kpatch").rename(directory / "patchroot" / "BuildID.kpatch")
    return directory


def may_unshare():
    return os.geteuid() == 0 and subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"],
                                                capture_output=True).returncode == 0


class FirstWindow:
    """A terminal in which a shell runs ./lpmake/foo; the second window is another shell of the same namespace."""

    def __init__(self, directory, command="./lpmake/foo"):
        self.directory = directory
        master, slave = pty.openpty()
        words = ["unshare", "--pid", "--fork", "--mount-proc"] if may_unshare() else []
        self.process = subprocess.Popen([*words, "sh", "-c", f"{command} & wait"], cwd=directory, env=environment(),
                                        stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
        os.close(slave)
        self.fd = master
        self.lines = libcare.Lines(master)
        self.enter = ["nsenter", "--target", str(self.inside()), "--pid", "--mount", f"--wd={directory}"] if words else []

    def inside(self):
        return lib.wait_for(lambda: lib.descendant(self.process.pid, "foo"), "foo to run")

    def run(self, command, expect=0):
        done = subprocess.run([*self.enter, "bash", "-c", command], cwd=self.directory, env=environment(), text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=lib.PATIENCE)
        assert done.returncode == expect, done.stdout
        return done.stdout

    def pid(self):
        """As the second window sees it."""
        return self.run("pidof foo").strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with suppress(AssertionError):
            os.kill(self.inside(), 9)
        self.process.wait(lib.PATIENCE)
        os.close(self.fd)


def test_the_installation_is_checked_as_printed(tmp_path):
    assert shell(tmp_path, INSTALLED) == INSTALLED_SAYS


def test_load_query_and_uninstall_as_printed(made):
    with FirstWindow(made) as window:
        assert window.lines.next() == OLD
        pid = window.pid()
        assert window.run(LOAD) == f"1 patch hunk(s) have been successfully applied to PID '{pid}'\n"
        assert set(window.lines.until(lambda line: line == NEW)) <= {OLD, NEW}
        assert window.lines.next() == NEW
        assert window.run(QUERY) == (f"Pid:                      {pid}\n"
                                     f"Target:                   foo\n"
                                     f"Build id:                 {build_id(made / 'lpmake' / 'foo')}\n"
                                     f"Applied patch number:     1\n"
                                     f"Patch id:                 0001\n\n")
        assert window.run(UNINSTALL) == f"1 patch hunk(s) were successfully cancelled from PID '{pid}'\n"
        assert set(window.lines.until(lambda line: line == OLD)) <= {OLD, NEW}
        assert window.lines.next() == OLD
        assert window.run(QUERY) == ""


def test_a_patch_made_by_hand_is_loaded_and_uninstalled(made):
    """The six steps of "Manual Creation", then the same three commands."""
    from test_document_004_making import COMPARE, COMPILE, LINK, MAKE, STRIP
    directory = example("foo.c", "bar.c")
    for step in (COMPILE, COMPARE, LINK, STRIP, MAKE):
        shell(directory, step)
    with FirstWindow(directory, "./foo") as window:
        assert window.lines.next() == OLD
        window.run("libcare-ctl -v patch -p $(pidof foo) foo.kpatch")
        window.lines.until(lambda line: line == NEW)
        assert "Patch id:                 0001" in window.run(QUERY)
        window.run(UNINSTALL)
        window.lines.until(lambda line: line == OLD)


def test_the_whole_patchroot_is_a_store(made):
    """What libcare-patch-make leaves, as it leaves it, can be applied as a directory, to everybody, or by a server."""
    store = libcare.store()
    libcare.put(store, made / "patchroot" / "BuildID.kpatch")
    with FirstWindow(made) as window:
        assert window.lines.next() == OLD
        said = window.run(f"libcare-ctl patch -p all {shlex.quote(str(store))}")
        assert re.fullmatch(r"1 patch hunk\(s\) have been successfully applied to PID '\d+'\n", said)
        window.lines.until(lambda line: line == NEW)
        window.run("libcare-ctl unpatch -p all")
        window.lines.until(lambda line: line == OLD)
