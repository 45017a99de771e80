"""Variables that no program registered: by paths through structures and pointers, as debug information describes them."""
import json
import os
import shutil
import subprocess

import pytest

import agentlib
import lib


def environment():
    return {**os.environ, "LD_PRELOAD": str(agentlib.preload())}


class Victim(lib.Victim):
    """e2e_globals.c, preloaded."""

    def __init__(self, program=None):
        super().__init__(program or lib.compiled("e2e_globals.c"), env=environment())

    def __exit__(self, *_):
        super().__exit__()
        agentlib.sweep(self.pid)

    def run(self, *words):
        return subprocess.run([agentlib.client_path("c") / "hotpatch", "-p", str(self.pid), *words], capture_output=True, text=True,
                              timeout=lib.PATIENCE * 2, check=False)

    def value(self, path):
        run = self.run("var", "get", f"global:{path}")
        assert run.returncode == 0, run.stderr
        return run.stdout.rstrip("\n")

    def refusal(self, *words):
        run = self.run(*words)
        assert (run.returncode, run.stdout) == (1, ""), run
        return run.stderr


@pytest.fixture(name="victim", scope="module")
def a_victim():
    with Victim() as victim:
        yield victim


@pytest.mark.parametrize("path, value", [
    ("server.port", "80"),
    ("server.colour", "GREEN"),
    ("server.ratio", "0.5"),
    ("server.line", '"abc"'),
    ("server.clients->id", "1"),
    ("server.clients->next->high", "2"),
    ("(*server.clients).next->low", "1"),
    ("e2e_globals.c:fixed", "7"),
    ("e2e_globals:server.line[1]", "98 'b'"),
])
def test_a_path_leads_to_a_value(victim, path, value):
    assert victim.value(path) == value


def test_strings_behind_pointers_are_shown(victim):
    assert victim.value("server.clients->next->name").endswith(' "two"')


def test_a_structure_is_shown_one_member_a_line(victim):
    lines = victim.value("*server.clients").splitlines()
    assert [line.split(": ")[0] for line in lines] == ["id", "name", "next", "low", "high"]
    assert lines[0] == "id: 1" and lines[3:] == ["low: 3", "high: 4"]


def test_members_are_listed(victim):
    run = victim.run("var", "list", "global:server")
    assert run.stdout.splitlines() == ["clients: struct client *", "ratio: double", "line: char[]", "port: int", "colour: enum colour"]


def test_answers_can_be_had_as_json(victim):
    run = victim.run("--json", "var", "get", "global:server.colour")
    assert json.loads(run.stdout)["data"] == [{"type": "enum colour", "value": "GREEN"}]
    run = victim.run("--json", "var", "list", "global:server.clients")
    assert json.loads(run.stdout)["data"][1] == {"name": "name", "type": "const char *"}


def test_values_are_set_together():
    with Victim() as victim:
        run = victim.run("var", "set", "global:server.port", "8080", ";", "var", "set", "global:server.clients->next->high", "31", ";",
                         "var", "set", "global:server.line", "a", "b", ";", "var", "set", "global:server.colour", "BLUE")
        assert (run.returncode, run.stderr) == (0, "")
        assert victim.ask() == "port 8080 colour 2 high 31 line a b"
        assert victim.value("server.clients->next->low") == "1"


def test_when_one_is_refused_none_is_set():
    with Victim() as victim:
        assert "no such name" in victim.refusal("var", "set", "global:server.port", "1", ";", "var", "set", "global:server.colour", "PINK")
        assert "cannot be written" in victim.refusal("var", "set", "global:server.port", "1", ";", "var", "set", "global:fixed", "1")
        assert victim.ask() == "port 80 colour 1 high 2 line abc"


def test_a_null_pointer_on_the_way_is_a_sentence(victim):
    assert "null pointer" in victim.refusal("var", "get", "global:server.clients->next->next->id")
    assert victim.ask().startswith("port 80")


def test_what_is_not_there_is_a_sentence(victim):
    assert "nothing" in victim.refusal("var", "get", "global:nothing")
    assert "has no member x" in victim.refusal("var", "get", "global:server.x")


def test_debug_information_may_be_in_a_file_apart():
    directory = lib.scratch_directory()
    program = directory / "apart"
    shutil.copy(lib.compiled("e2e_globals.c"), program)
    subprocess.run(["objcopy", "--only-keep-debug", "apart", "apart.debug"], cwd=directory, check=True)
    subprocess.run(["strip", "apart"], cwd=directory, check=True)
    subprocess.run(["objcopy", "--add-gnu-debuglink=apart.debug", "apart"], cwd=directory, check=True)
    with Victim(program) as victim:
        assert victim.value("server.clients->next->id") == "2"


def test_without_debug_information_a_type_is_asked_for():
    program = lib.scratch_directory() / "bare"
    shutil.copy(lib.compiled("e2e_globals.c"), program)
    subprocess.run(["strip", "-g", str(program)], check=True)
    with Victim(program) as victim:
        assert "no variable fixed" in victim.refusal("var", "get", "global:fixed")
        assert victim.run("var", "get", "int", "global:fixed").stdout == "7\n"


def test_a_file_that_was_replaced_is_not_believed():
    program = lib.scratch_directory() / "replaced"
    shutil.copy(lib.compiled("e2e_globals.c"), program)
    with Victim(program) as victim:
        program.unlink()
        other = lib.compiled("e2e_globals.c", flags=("-DOTHER",), name="other")
        shutil.copy(other, program)
        assert victim.value("server.port") == "80"  # the one that runs is still there under /proc
