"""Patches that are asked for at the start, and are for libraries that come later."""
import json
import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

import lib
from runner_live import CC, RUNNER, built

ROOT = Path("/usr/aarch64-linux-gnu")  # the cross compiler's own C library
ADD_40 = "52800500"  # mov w0, #40
ADD_50 = "52800640"  # mov w0, #50

pytestmark = [pytest.mark.skipif(not shutil.which(CC) or not (ROOT / "lib" / "libc.so.6").exists(), reason="no cross compiler with a C library here"),
              pytest.mark.skipif(not RUNNER.exists(), reason="arm64_runner is not built")]


@pytest.fixture(scope="module")
def program():
    folder = lib.scratch_directory()
    for part in ("needed", "plugin"):
        built("libraries", "-shared", "-fPIC", f"-D{part.upper()}").rename(folder / f"lib{part}.so")
    return built("libraries", f"-L{folder}", "-lneeded", f"-Wl,-rpath,{folder}").rename(folder / "libraries")


@pytest.fixture
def terminal(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(lib.private_directory()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def started(program, *options, **popen):
    return subprocess.Popen([RUNNER, "-L", ROOT, *options, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **popen)


def say(guest, line):
    guest.stdin.write(line + "\n")
    guest.stdin.flush()
    return guest.stdout.readline().rstrip("\n")


def end(guest):
    guest.stdin.close()
    assert guest.stdout.read() == ""
    assert guest.wait(lib.PATIENCE) == 7


def typed(guest, *options):
    run = subprocess.run([RUNNER, "--pid", str(guest.pid), *options], capture_output=True, text=True, timeout=lib.PATIENCE, stdin=subprocess.DEVNULL)
    assert run.returncode == 0, run
    return run.stdout


def plugin(program):
    return program.parent / "libplugin.so"


def write_json(path, *entries):
    Path(path).write_text(json.dumps(entries))


@pytest.mark.parametrize("place", ["libneeded.so:needed", "needed"])
def test_a_library_is_patched_before_its_constructor_runs(terminal, program, place):
    guest = started(program, "--livepatch-apply", place, ADD_40, "forty")
    assert guest.stdout.readline() == "constructor: 40\n" and guest.stdout.readline() == "ready\n"
    assert say(guest, "ask") == "40 0"
    end(guest)


def test_a_plugin_is_patched_when_it_is_loaded_and_before_it_runs(terminal, program):
    write_json("p.json", {"type": "INLINE", "symbol": "libplugin.so:plugged", "instr": ADD_50, "desc": "fifty"})
    guest = started(program, "--livepatch-load", "p.json", "--livepatch-apply", "needed", ADD_40, "forty")
    assert guest.stdout.readline() == "constructor: 40\n" and guest.stdout.readline() == "ready\n"
    rows = typed(guest, "--livepatch-list").splitlines()
    assert "WAITING" in rows[0] and f"load {terminal}/p.json" in rows[0] and "has not loaded libplugin.so" in rows[0] and "forty" in rows[1]
    assert "waiting: 1" in typed(guest, "--livepatch-stats")
    assert say(guest, f"load {plugin(program)}") == "loaded 50" and say(guest, "ask") == "40 50"
    listed = typed(guest, "--livepatch-list")
    assert "WAITING" not in listed and "fifty" in listed
    write_json("p.json", {"type": "INLINE", "symbol": "libplugin.so:plugged", "instr": ADD_40})
    typed(guest, "--livepatch-reload")  # a file that waited is a file that was loaded
    assert say(guest, "ask") == "40 40"
    typed(guest, "--livepatch-revert", "all")
    assert say(guest, "ask") == "1 2"
    end(guest)


def test_sighup_does_not_end_a_program_whose_patch_file_waits(terminal, program):
    write_json("p.json", {"type": "INLINE", "symbol": "libplugin.so:plugged", "instr": ADD_50})
    guest = started(program, "--livepatch-load", "p.json")
    guest.stdout.readline(), guest.stdout.readline()
    os.kill(guest.pid, signal.SIGHUP)
    assert say(guest, f"load {plugin(program)}") == "loaded 50"
    end(guest)


def test_a_place_in_a_file_waits_as_well_and_a_watched_file_is_watched_then(terminal, program):
    out = subprocess.run(["aarch64-linux-gnu-nm", plugin(program)], capture_output=True, text=True, check=True).stdout
    at = next(int(line.split()[0], 16) for line in out.splitlines() if line.endswith(" T plugged"))
    Path("w.txt").write_text(f"libplugin.so@{at:#x} {ADD_50} fifty\n")
    guest = started(program, "--livepatch-watch", "w.txt")
    assert guest.stdout.readline() == "constructor: 1\n" and guest.stdout.readline() == "ready\n"
    assert say(guest, f"load {plugin(program)}") == "loaded 50"
    Path("new").write_text(f"libplugin.so:plugged {ADD_40} forty\n")
    os.rename("new", "w.txt")
    lib.wait_for(lambda: say(guest, "ask") == "1 40", "the reload")
    end(guest)


def test_what_waits_can_be_given_up(terminal, program):
    guest = started(program, "--livepatch-apply", "libplugin.so:plugged", ADD_50, "fifty", "--livepatch-apply", "libother.so:x", ADD_50, "other")
    guest.stdout.readline(), guest.stdout.readline()
    lib.wait_for(lambda: subprocess.run([RUNNER, "--pid", str(guest.pid), "--livepatch-list"], capture_output=True).returncode == 0, "the server")
    assert typed(guest, "--livepatch-revert", "libplugin.so:plugged") == "patches taken back: 1\n"
    assert "libother.so" in typed(guest, "--livepatch-list")
    assert typed(guest, "--livepatch-revert", "all") == "patches taken back: 1\n"
    assert typed(guest, "--livepatch-list") == "no patches\n"
    assert say(guest, f"load {plugin(program)}") == "loaded 2"
    end(guest)


@pytest.mark.parametrize("place, why, options", [("nobody", "no symbol nobody", []), ("libneeded.so:nobody", "no symbol libneeded.so:nobody", []),
                                                 ("nobody", "no symbol nobody", ["--trace"]), ("nobody", "no symbol nobody", ["--jit"])])
def test_a_name_that_no_library_brings_keeps_the_program_from_running(terminal, program, place, why, options):
    run = subprocess.run([RUNNER, "-L", ROOT, *options, "--livepatch-apply", place, ADD_40, "x", program], capture_output=True, text=True,
                         stdin=subprocess.DEVNULL, timeout=lib.PATIENCE)
    assert run.returncode == 125 and run.stdout == ""
    assert any(line.startswith("arm64_runner: a patch that waited is refused") and why in line for line in run.stderr.splitlines())


def test_a_patch_that_a_plugin_has_no_place_for_is_told_and_the_program_goes_on(terminal, program):
    with open("err", "w") as err:
        guest = started(program, "--livepatch-apply", "libplugin.so:nobody", ADD_40, "x", stderr=err)
    guest.stdout.readline(), guest.stdout.readline()
    assert say(guest, f"load {plugin(program)}") == "loaded 2"
    assert "no symbol libplugin.so:nobody" in Path("err").read_text()
    assert "refused: no symbol libplugin.so:nobody" in typed(guest, "--livepatch-list")
    end(guest)


def test_a_forked_child_waits_as_its_parent_does(terminal, program):
    guest = started(program, "--livepatch-apply", "libplugin.so:plugged", ADD_50, "fifty", "--livepatch-apply", "libplugin.so:nobody", ADD_50, "x",
                    stderr=subprocess.DEVNULL)
    guest.stdout.readline(), guest.stdout.readline()
    assert say(guest, f"fork {plugin(program)}") == "loaded 50"
    assert typed(guest, "--livepatch-list").count("waiting: ") == 2
    assert say(guest, f"load {plugin(program)}") == "loaded 50"
    end(guest)


def test_afterwards_what_is_not_loaded_is_refused(terminal, program):
    guest = started(program)
    guest.stdout.readline(), guest.stdout.readline()
    lib.wait_for(lambda: subprocess.run([RUNNER, "--pid", str(guest.pid), "--livepatch-list"], capture_output=True).returncode == 0, "the server")
    run = subprocess.run([RUNNER, "--pid", str(guest.pid), *shlex.split(f"--livepatch-apply libplugin.so:plugged {ADD_50} x")], capture_output=True, text=True)
    assert run.returncode == 1 and "has not loaded libplugin.so" in run.stderr
    end(guest)


@pytest.mark.skipif(not (lib.build_directory() / "src" / "tool" / "livepatch-cc").exists(), reason="livepatch build is not built")
def test_a_kpatch_file_for_a_library_waits_for_it(terminal):
    text = """static int calls;
__attribute__((noipa)) int answer(int x) { calls++; return x + 1; }
int count(void) { return calls; }
int seen;
__attribute__((constructor)) static void look(void) { seen = answer(1); }
"""
    (terminal / "lib.c").write_text(text)
    (terminal / "Makefile").write_text(f"libans.so: lib.c\n\t{CC} -O2 -g -fPIC -c -o lib.o lib.c\n\t{CC} -shared -Wl,--build-id -o libans.so lib.o\n")
    (terminal / "main.c").write_text("#include <stdio.h>\nint answer(int), count(void); extern int seen;\n"
                                     'int main(void) { printf("%d %d %d\\n", seen, answer(41), count()); return 7; }\n')
    subprocess.run(["make", "-s", "libans.so"], check=True)
    subprocess.run([CC, "-O2", "-o", "main", "main.c", "-L.", "-lans", f"-Wl,-rpath,{terminal}"], check=True)
    (terminal / "fix.patch").write_text("--- a/lib.c\n+++ b/lib.c\n@@ -2 +2 @@\n" + "".join(f"{sign}{line}\n" for sign, line in zip("-+", (
        text.splitlines()[1], text.splitlines()[1].replace("x + 1", "x + 1000")))))
    lib.livepatch("build", "-C", terminal, "-o", "fix.kpatch", "fix.patch")
    for options, answers in (((), "2 42 2\n"), (("--livepatch-load", "fix.kpatch"), "1001 1041 2\n")):
        run = subprocess.run([RUNNER, "-L", ROOT, *options, "./main"], capture_output=True, text=True, timeout=lib.PATIENCE)
        assert (run.returncode, run.stdout, run.stderr) == (7, answers, "")
