"""README.md as a newcomer follows it: each block pasted into a shell, in a tree whose build directory is there already."""
import os
import re
import subprocess

import pytest

import lib

TEXT = (lib.TOP / "README.md").read_text()


def printed(section):
    """The first block of commands below a heading."""
    return re.search(r"^```sh\n(.*?)^```$", TEXT.split(f"\n## {section}\n", 1)[1], re.MULTILINE | re.DOTALL)[1]


@pytest.fixture
def build(tmp_path):
    """The directory that the reader is in after the first line."""
    (tmp_path / "build").mkdir()
    (tmp_path / "examples").symlink_to(lib.TOP / "examples")
    (tmp_path / "scripts").symlink_to(lib.TOP / "scripts")
    (tmp_path / "build" / "dbg").symlink_to(lib.build_directory())
    return tmp_path / "build"


def pasted(commands, build):
    """What is said on standard output."""
    environment = {**os.environ, "PATH": f"{lib.tool_path().parent}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(build / "cache")}
    run = subprocess.run(["bash", "-e"], input=commands, cwd=build, env=environment, capture_output=True, text=True,
                         timeout=5 * lib.PATIENCE)
    assert run.returncode == 0, run
    return run.stdout


def test_the_first_example_patches_a_program_and_takes_it_back(build):
    setup, commands = printed("Try it").split("\n", 1)
    assert setup == "scripts/setup build && make && cd build"
    said = re.findall(r"^func_J\((\d+)\) = (\d+), (\w+) message$", pasted(commands, build), re.MULTILINE)
    assert [message for _, _, message in said] == ["patched", "original"]
    assert [int(value) // int(n) for n, value, _ in said] == [1000, 2]


def test_the_fix_of_the_second_example_reaches_the_running_program(build):
    said = re.findall(r"^customer (\d+)( wins a car)?$", pasted(printed("From a fix to a running process"), build), re.MULTILINE)
    assert len(said) == 3
    assert [wins for _, wins in said[-2:]] == ["", ""], "one of two did before"


def test_the_example_of_the_agent_upgrades_a_function_and_rolls_it_back(build):
    pasted("cc -O2 -o target ../examples/target.c", build)
    said = pasted(printed("From inside, through a socket"), build)
    n, value = re.search(r"^func_J\((\d+)\) = (\d+), told through a socket$", said, re.MULTILINE).groups()
    assert int(value) == 3 * int(n)
    assert "Success to run" in said and "func_J" not in said.rsplit("Success to run", 1)[1]


def test_the_example_of_arm64_programs_runs_one(build):
    assert pasted(printed("ARM64 programs on x86-64"), build).splitlines()[-1] == "42"
