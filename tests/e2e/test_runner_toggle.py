"""A function that 64 threads run through is patched and unpatched all the time: no thread sees a mixture, none crashes.

    make toggle-torture                 # 100,000 toggles of each kind
"""
import os
import shutil

import pytest

import lib
import runner_live

TOGGLES = int(os.environ.get("TOGGLES", "50"))  # of each kind
KINDS = {
    # mov w0, #2; mov w1, #2
    "INLINE": ("patch apply pair 52800040,52800041", "patch revert pair"),
    "FUNCTION_REDIRECT": ("patch redirect plain twin", "patch revert plain"),
    # mov w9, #77
    "INSERT": ("patch insert grows 528009a9", "patch revert grows"),
    "all": ("patch apply pair 52800040,52800041; patch redirect plain twin; patch insert grows 528009a9", "patch revert all"),
}

pytestmark = [pytest.mark.skipif(not shutil.which(runner_live.CC), reason="no aarch64-linux-gnu-gcc here"),
              pytest.mark.skipif(not runner_live.RUNNER.exists(), reason="arm64_runner is not built")]


@pytest.fixture(scope="module")
def program():
    return runner_live.built("toggled", "-static")


@pytest.mark.parametrize("kind", KINDS)
def test_threads_that_run_through_what_is_toggled_see_the_old_or_the_new(kind, program, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(lib.private_directory()))
    on, off = KINDS[kind]
    with runner_live.Guest(program, args=("64",)) as guest:
        client = guest.client()
        before = int(guest.ask())
        for _ in range(TOGGLES // 2):
            client.say(on)
            client.say(off)
        assert int(guest.ask()) > before
        assert client.say("patch list") == []
