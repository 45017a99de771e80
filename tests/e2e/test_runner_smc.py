"""--smc=strict: programs that change their code and tell nobody execute what they have written."""
import re

import lib
import pytest
import runnerlib

MODES = ["tier1", "tier2", "check", "no"]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    source = (lib.TOP / "tests" / "guest" / "untold.c").read_text()
    return runnerlib.compiled(source, where=tmp_path_factory.mktemp("untold"))


def answers_of_older_code(program, *options):
    done = runnerlib.run([program], options=options)
    assert done.status == 0, done.stderr
    return {way: int(nr) for way, nr in re.findall(r"([a-z ]+?) (\d+)(?:, |$)", done.stdout.decode().strip())}


@pytest.mark.parametrize("mode", MODES)
def test_code_that_was_changed_without_a_word_is_executed_as_it_is(mode, program):
    old = answers_of_older_code(program, f"--jit={mode}", "--smc=strict")
    assert old == {"stored": 0, "called": 0, "read": 0, "in a loop": 0, "shared": 0, "protected": 0}


@pytest.mark.parametrize("mode", ["tier1", "no"])
def test_without_it_what_is_told_by_ic_ivau_counts_alone(mode, program):
    assert all(nr > 200 for nr in answers_of_older_code(program, f"--jit={mode}").values())
    assert all(nr > 200 for nr in answers_of_older_code(program, f"--jit={mode}", "--smc=ivau").values())


def test_the_configuration_says_it_as_well(program, tmp_path):
    (tmp_path / "arm64runner.conf").write_text("[runner]\nsmc = strict\n")
    done = runnerlib.run([program], cwd=tmp_path)
    assert done.status == 0 and b"stored 0, called 0" in done.stdout
    named = runnerlib.run([program], options=["--smc=ivau"], cwd=tmp_path)
    assert b"stored 0," not in named.stdout


def test_programs_that_a_program_executes_are_treated_the_same(program, tmp_path):
    parent = runnerlib.compiled("#include <unistd.h>\nint main(int n, char **a) { return execv(a[1], a + 1); }", where=tmp_path)
    assert b"stored 0, called 0" in runnerlib.run([parent, program], options=["--smc=strict"]).stdout


@pytest.mark.parametrize("mode", ["", "lax", "STRICT"])
def test_a_mode_that_is_none_is_refused_by_name(mode, program):
    done = runnerlib.run([program], options=[f"--smc={mode}"])
    assert done.status == lib.USAGE and f"--smc={mode}: the modes are ivau and strict".encode() in done.stderr
