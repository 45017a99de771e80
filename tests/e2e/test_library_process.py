"""Another process through livepatch.h, beside the tool: the same ledger, the same rules."""
import pytest

import lib
import library

THREADS = 50


@pytest.fixture(scope="module")
def remote_program(tmp_path_factory):
    return library.compiled(tmp_path_factory.mktemp("library"), lib.SOURCES / "e2e_library.c", f"-I{lib.SOURCES}")


class Remote(lib.Victim):
    """The program that uses the library."""

    def does(self, request):
        answer = self.ask(request)
        assert answer.startswith("ok "), answer
        return int(answer[3:])

    def refuses(self, request):
        answer = self.ask(request)
        assert not answer.startswith("ok "), answer
        return answer.split(":")[0]


@pytest.fixture
def remote(remote_program):
    with Remote(remote_program) as process:
        yield process


@pytest.fixture
def target(victim):
    return victim("e2e_target.c", args=[THREADS])


def func_J(target):
    return lib.address_of(target.pid, lib.compiled("e2e_target.c"), "func_J")


def says(target):
    return lib.behaviour(target).split(" | ")[0]


def test_a_transaction_of_the_library_is_a_patch_to_everybody_else(remote, target):
    remote.does(f"open {target.pid}")
    assert remote.does(f"patch {func_J(target)}") == 0
    assert says(target) == "patched J"
    assert remote.does("count") == 2
    [patch] = lib.listed(target.pid)["patches"]
    assert patch["state"] == "applied"
    assert "livepatch.h" in patch["name"]
    assert not lib.traced(target.pid)
    assert remote.does("revert all") == 2
    assert says(target) == "original J"
    assert lib.active_ids(target.pid) == []
    assert target.ask("eintr") == "0"


def test_what_the_tool_reverts_is_gone_for_the_library(remote, target):
    remote.does(f"open {target.pid}")
    remote.does(f"patch {func_J(target)}")
    lib.revert(target.pid)
    assert says(target) == "original J"
    assert remote.does("revert all") == 2
    assert remote.does(f"patch {func_J(target)}") == 0
    assert says(target) == "patched J"


def test_the_tool_does_not_take_away_what_it_does_not_know(remote, target):
    """A patch of the tool on top of the library's keeps it in its place."""
    remote.does(f"open {target.pid}")
    remote.does(f"patch {func_J(target)}")
    lib.apply(target.pid, lib.example_script())
    assert lib.behaviour(target) == lib.NEW
    assert remote.refuses("revert all") in ("depended-on", "memory-changed", "overlap")
    assert lib.behaviour(target) == lib.NEW
    lib.revert(target.pid, lib.active_ids(target.pid)[-1])
    assert says(target) == "patched J"
    assert remote.does("revert all") == 2
    assert lib.behaviour(target) == lib.OLD


def test_a_script_is_a_patch_file_of_the_library(remote, target, tmp_path):
    script = tmp_path / "fix.lp"
    script.write_text(lib.example_script())
    remote.does(f"open {target.pid}")
    remote.does(f"load {script}")
    assert lib.behaviour(target) == lib.NEW
    assert len(lib.active_ids(target.pid)) == 1


def test_a_user_of_the_library_may_be_killed_at_any_moment(remote_program, target):
    at = func_J(target)
    for _ in range(10):
        with Remote(remote_program) as remote:
            remote.does(f"open {target.pid}")
            remote.does(f"toggle {at}")
            assert says(target) in ("original J", "patched J")
    lib.livepatch("recover", "-p", target.pid)
    lib.revert(target.pid)
    assert says(target) == "original J"
    with Remote(remote_program) as remote:
        remote.does(f"open {target.pid}")
        remote.does(f"patch {at}")
        assert says(target) == "patched J"


def test_a_target_that_has_ended_is_called_so(remote, victim):
    with lib.Victim(lib.compiled("e2e_target.c")) as ended:
        remote.does(f"open {ended.pid}")
        at = func_J(ended)
    assert remote.refuses(f"patch {at}") == "target-lost"
    assert remote.refuses(f"open {ended.pid}") == "target-lost"
    assert remote.refuses(f"open {remote.pid}") == "permission"
