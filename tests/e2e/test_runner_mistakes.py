"""What arm64_runner says to a user's mistakes: the culprit, what would help, and a status as env(1) has them."""
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import lib
import runnerlib


def refused(*command, status):
    done = subprocess.run([runnerlib.RUNNER, *map(str, command)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (status, ""), (command, done)
    return done.stderr.rstrip("\n")


def script(where, interpreter):
    path = where / "script"
    path.write_text(f"#!{interpreter} -e\necho hello\n")
    path.chmod(0o755)
    return path


def test_a_script_for_this_machine_is_told_with_its_interpreter(tmp_path):
    path = script(tmp_path, "/bin/sh")
    said = refused(path, status=126)
    assert said.startswith(f"arm64_runner: {path}: its interpreter: /bin/sh: an x86-64 program"), said
    assert "-L" in said


def test_a_script_whose_interpreter_is_nowhere_is_told_with_its_name(tmp_path):
    path = script(tmp_path, "/nowhere/sh")
    assert f"{path}: its interpreter /nowhere/sh is not on this machine" in refused(path, status=127)
    assert f"/nowhere/sh is neither in {tmp_path} nor on this machine" in refused("-L", tmp_path, path, status=127)


def test_a_script_whose_interpreter_is_no_file(tmp_path):
    path = script(tmp_path, "/tmp")
    assert f"{path}: its interpreter /tmp: Permission denied" in refused(path, status=126)


def test_a_folder_is_called_one(tmp_path):
    assert f"{tmp_path}: a directory, not a program" in refused(tmp_path, status=126)


@pytest.mark.parametrize("option", [["--pid", "1"], ["--json"]])
def test_options_of_questions_do_not_start_a_program(option):
    said = refused(*option, "/bin/true", status=2)
    assert said.startswith(f"arm64_runner: {option[0]} is for questions") and "/bin/true" in said, said


@pytest.mark.parametrize("option", ["--help", "--version", "--about"])
def test_what_cannot_be_written_is_told(option):
    with open("/dev/full", "w") as full:
        done = subprocess.run([runnerlib.RUNNER, option], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 125
    assert "cannot write to standard output: No space left on device" in done.stderr


# ---- its helpers ----

def test_the_helpers_are_installed_beside_the_runner():
    listed = subprocess.run(["meson", "introspect", "--installed", lib.build_directory()], capture_output=True, text=True, check=True)
    places = {Path(p).name: Path(p).parent for p in json.loads(listed.stdout).values()}
    assert places["arm64-sysroot"] == places["arm64-binfmt"] == places["arm64_runner"]


def test_an_installed_sysroot_helper_asks_for_packages(tmp_path):
    alone = shutil.copy(runnerlib.TOP / "scripts" / "arm64-sysroot", tmp_path)
    done = subprocess.run([alone, tmp_path / "root"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("arm64-sysroot: which packages? usage:"), done


@pytest.mark.skipif(os.path.exists("/proc/sys/fs/binfmt_misc/arm64_runner"), reason="it is registered on this machine")
def test_an_installed_binfmt_helper_takes_the_runner_beside_it():
    place = lib.scratch_directory()
    alone = shutil.copy(runnerlib.TOP / "scripts" / "arm64-binfmt", place)

    def said(*words):
        """By somebody who may not register anything."""
        return subprocess.run([alone, *words], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"},
                              user=65534 if os.geteuid() == 0 else None)

    assert "arm64_runner is not installed: name it" in said("register").stderr
    (place / "arm64_runner").touch()
    (place / "arm64_runner").chmod(0o755)
    done = said("register")
    assert done.returncode == 1 and "root" in done.stderr, done
    assert said("--help").returncode == 0 and said().returncode == 2
