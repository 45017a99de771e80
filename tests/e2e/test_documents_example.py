"""The example of the 2004 livepatch, word for word, against every kind of target."""
import os
import shutil
import subprocess
from contextlib import suppress

import pytest

import lib
from lib import NEW, OLD, Victim, behaviour


def shell_line(directory, pid):
    """The command as it stands in the document; only pidof is told which of several targets is meant."""
    environment = {**os.environ, "PATH": f"{lib.tool_path().parent}:{directory}:{os.environ['PATH']}"}
    (directory / "pidof").write_text(f'#!/bin/sh\n[ "$1" = target ] && echo {pid}\n')
    (directory / "pidof").chmod(0o755)
    return subprocess.run("""echo 'dl foo patch.so
  jmp func_J $foo:func1
  set str_P addr $foo:patch_message' | livepatch $(pidof target) ./target""",
                          shell=True, cwd=directory, env=environment, capture_output=True, text=True)


def prepared(tmp_path, link):
    """A directory with ./target and patch.so, as the document's user has it."""
    target = shutil.copy(lib.compiled("e2e_target.c", link=link, name="target"), tmp_path)
    shutil.copy(lib.shared_object("e2e_patch.c", name="patch.so"), tmp_path)
    return target


@pytest.mark.parametrize("threads", [1, 50])
@pytest.mark.parametrize("running", ["unstripped", "stripped"])
@pytest.mark.parametrize("link", lib.LINKS)
def test_the_documents_script_runs_verbatim(tmp_path, link, running, threads):
    target = prepared(tmp_path, link)
    program = lib.stripped(target) if running == "stripped" else target
    with Victim(program, threads) as victim:
        assert behaviour(victim) == OLD
        run = shell_line(tmp_path, victim.pid)
        assert run.returncode == 0, run.stderr
        assert behaviour(victim) == NEW
        lib.revert(victim.pid)
        assert behaviour(victim) == OLD
        assert victim.ask("eintr") == "0"
        assert not lib.traced(victim.pid) and set(lib.states(victim.pid)) <= set("RS")


def test_the_old_form_prints_one_line_for_each_instruction(tmp_path):
    with Victim(prepared(tmp_path, "pie")) as victim:
        lines = shell_line(tmp_path, victim.pid).stdout.splitlines()
        assert [line.split()[0] for line in lines[:3]] == ["dl", "jmp", "set"]
        assert lines[0].startswith("dl foo @ 0x") and lines[1].startswith("jmp 0x") and lines[2].startswith("set 0x")


def test_quiet_prints_nothing(tmp_path):
    target = prepared(tmp_path, "pie")
    with Victim(target) as victim:
        run = lib.livepatch("-q", victim.pid, target, script=lib.example_script())
        assert run.out == run.err == ""
        assert behaviour(victim) == NEW


@pytest.mark.parametrize("options", [["-s"], ["--strip-debug"]])
def test_a_stripped_target_that_exports_its_symbols_needs_no_unstripped_copy(options):
    program = lib.stripped(lib.compiled("e2e_target.c", flags=("-rdynamic",)), *options)
    with Victim(program) as victim:
        lib.apply(victim.pid, lib.example_script())
        assert behaviour(victim) == NEW


def test_a_stripped_target_without_its_symbols_is_refused_naming_the_symbol():
    with Victim(lib.stripped(lib.compiled("e2e_target.c"))) as victim:
        error = lib.refusal(victim.pid, lib.example_script())
        assert error["code"] == "no-symbol" and "str_P" in error["message"] + error.get("function", "")
        assert behaviour(victim) == OLD and not lib.has_ledger(victim.pid)


def test_a_target_whose_file_is_deleted_can_be_patched(tmp_path):
    program = shutil.copy(lib.compiled("e2e_target.c"), tmp_path / "gone")
    with Victim(program) as victim:
        os.unlink(program)
        lib.apply(victim.pid, lib.example_script())
        assert behaviour(victim) == NEW


def test_another_programs_file_is_refused(tmp_path):
    with Victim(lib.compiled("e2e_target.c")) as victim:
        result = lib.livepatch("apply", "-p", victim.pid, "--json", lib.compiled("e2e_busy.c"), expect=lib.REFUSED,
                               script=lib.example_script())
        assert result.error["code"] == "build-id"
        assert behaviour(victim) == OLD


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may put files where the system has them")
def test_a_separate_debug_file_found_by_build_id_gives_the_symbols():
    program = lib.compiled("e2e_target.c", flags=("-DDEBUG_FILE",))
    note = subprocess.run(["readelf", "-n", program], capture_output=True, text=True, check=True).stdout
    build_id = note.split("Build ID: ")[1].split()[0]
    debug = lib.Path(f"/usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug")
    created = [p for p in (debug.parent, debug.parent.parent) if not p.exists()]
    debug.parent.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["objcopy", "--only-keep-debug", program, debug], check=True)
        with Victim(lib.stripped(program)) as victim:
            lib.apply(victim.pid, lib.example_script())
            assert behaviour(victim) == NEW
    finally:
        debug.unlink(missing_ok=True)
        for directory in created:
            with suppress(OSError):  # somebody else has put something there meanwhile
                directory.rmdir()


def test_a_name_that_strip_took_away_is_refused_with_what_would_help():
    with Victim(lib.stripped(lib.compiled("e2e_target.c"))) as v:
        error = lib.refusal(v.pid, "jmp func_J func_J")
    assert error["code"] == "no-symbol" and "name an unstripped copy" in error["message"]
