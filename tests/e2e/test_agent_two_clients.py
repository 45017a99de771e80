"""Two clients over the same libraries and functions: what one has open is nobody else's until it ends."""
import json
import socket

import pytest

import agentlib
import lib
from test_agent_functions import Program, version


@pytest.fixture
def program():
    with Program() as running:
        running.data(f"lib load old {version(1)}")
        yield running


class Client:
    """A connection that keeps open: rows of an answer, or the code and the sentence of a refusal."""

    def __init__(self, pid):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(lib.PATIENCE)
        self.socket.connect(str(agentlib.legacy(pid)))
        self.wire = self.socket.makefile("rw")

    def __call__(self, line):
        print(json.dumps({"cmd": line}), file=self.wire, flush=True)
        answer = json.loads(self.wire.readline())
        return answer["data"] if answer["ok"] else (answer["error"]["code"], answer["error"]["message"])

    def opens(self, *lines):
        for line in ("begin", *lines):
            assert isinstance(self(line), list), line

    def is_kept_off(self, line):
        code, sentence = self(line)
        assert code == "EBUSY" and "another client's open transaction" in sentence, (line, code, sentence)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wire.close()
        self.socket.close()


@pytest.fixture
def clients(program):
    with Client(program.pid) as one, Client(program.pid) as other:
        yield one, other


def test_what_one_has_loaded_is_not_used_nor_unloaded_by_the_other(program, clients):
    one, other = clients
    one.opens(f"lib load new {version(2)}")
    other.is_kept_off("func upgrade new pick")
    other.is_kept_off("lib unload new")
    assert other(f"lib load new {version(3)}")[0] == "exists"
    assert one("abort") == []
    assert "pick2.so" not in "".join(lib.maps(program.pid))
    assert other("func upgrade new pick")[0] == "no-library"
    program.check()
    one.opens(f"lib load new {version(2)}")
    assert one("commit") == []
    assert isinstance(other("func upgrade new pick"), list)
    program.check()


def test_what_one_upgrades_is_not_upgraded_by_the_other(program, clients):
    one, other = clients
    one.opens(f"lib load new {version(2)}", "func upgrade new pick")
    other.is_kept_off("func upgrade old pick")
    other.is_kept_off("func rollback pick")
    assert one("abort") == []
    assert program.data("func list") == []
    assert isinstance(other("func upgrade old pick"), list)
    assert program.status() == (["original", "old"], 1)
    program.check()


def test_no_upgrade_is_lost(program, clients):
    one, other = clients
    one.opens("func upgrade old pick")
    other.is_kept_off("func rollback pick")
    assert one("commit") == []
    assert program.status() == (["original", "old"], 1)
    assert isinstance(other("func rollback pick"), list)
    program.check()


def test_a_library_that_one_may_leave_is_not_unloaded_by_the_other(program, clients):
    one, other = clients
    program.data("func upgrade old pick")
    one.opens("func rollback pick")
    assert other("lib unload old")[0] == "in-use"
    assert one("abort") == []
    program.check()
    one.opens("func rollback pick; lib unload old")
    other.is_kept_off("lib unload old")
    other.is_kept_off("func upgrade old hold pick")
    assert one("commit") == []
    assert program.data("lib list") == []
    program.check()


def test_who_goes_away_keeps_nobody_off(program, clients):
    one, other = clients
    one.opens(f"lib load new {version(2)}", "func upgrade old pick")
    one.__exit__()
    lib.wait_for(lambda: isinstance(other("func upgrade old pick"), list), "the lost transaction to be forgotten")
    assert program.status() == (["original", "old"], 1)
    program.check()


def test_a_child_begins_without_what_was_open_in_its_parent():
    with Program(HOTPATCH_FORK="1") as program, Client(program.pid) as one:
        program.data(f"lib load old {version(1)}")
        one.opens(f"lib load new {version(2)}", "func upgrade old pick")
        child = int(program.ask("fork"))
        lib.wait_for(agentlib.legacy(child).exists, "the agent of the child")
        assert agentlib.ask(child, "func upgrade new pick")[0] == "Success to run"
        assert agentlib.ask(child, "func rollback pick; lib unload new; lib unload old")[0] == "Success to run"
        assert one("commit") == []
        assert program.status() == (["original", "old"], 1)
        assert program.ask("done") == "gone"
        for path in agentlib.sockets(child):
            path.unlink()


def test_a_refusal_to_unload_names_the_functions_and_the_way_back(program):
    program.data("func upgrade old pick; func upgrade old hold pick")
    code, sentence = program.refusal("lib unload old")
    assert code == "in-use" and "pick, hold" in sentence and "func rollback FUNCTION 0" in sentence
    program.data("func rollback pick 0; func rollback hold 0; lib unload old")


def test_a_file_that_is_loaded_already_is_named_as_it_was(program):
    code, sentence = program.refusal(f"lib load again {version(1)}")
    assert code == "exists" and "as old" in sentence and "lib unload old" in sentence
    libc = next(line.split()[-1] for line in lib.maps(program.pid) if "libc.so" in line)
    code, sentence = program.refusal(f"lib load again {libc}")
    assert code == "exists" and "the program has loaded" in sentence
