"""Live patches in the emulator's guest: what document 000 says, typed into a second terminal while the program runs."""
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

import lib
from runner_live import CC, RUNNER, Guest, built, sockets

ADD_40 = "0x1100a000"  # add w0, w0, #40

pytestmark = [pytest.mark.skipif(not shutil.which(CC), reason="no aarch64-linux-gnu-gcc here"),
              pytest.mark.skipif(not RUNNER.exists(), reason="arm64_runner is not built")]


@pytest.fixture(scope="module")
def program():
    return built("patched", "-static", "-Wl,--section-start=.at_4001000=0x4001000", "-Wl,--section-start=.at_4002000=0x4002000")


@pytest.fixture
def terminal(tmp_path, monkeypatch):
    """A folder with arm64_runner in it, and an own place for sockets: other tests' runners are not this user's here."""
    (tmp_path / "arm64_runner").symlink_to(RUNNER)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(lib.private_directory()))  # tmp_path is too long for a socket's name
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def guest(terminal, program):
    with Guest(program) as g:
        yield g


def typed(line, expect=0):
    """A line as somebody types it."""
    run = subprocess.run(shlex.split(line, comments=True), capture_output=True, text=True, timeout=lib.PATIENCE, stdin=subprocess.DEVNULL)
    assert run.returncode == expect, f"{line}: {run}"
    return run.stdout if expect == 0 else run.stderr


def listed(*options):
    out = typed(shlex.join(["./arm64_runner", *options, "--json", "--livepatch-list"]))
    return {int(row["address"], 16): row for row in json.loads(out)["data"]}


def write_json(path, *entries):
    Path(path).write_text(json.dumps(entries))


# ---- document 000

def test_the_examples_of_the_document_word_for_word(guest):
    write_json("my_patch.json", {"type": "INLINE", "addr": "0x4001000", "instr": "0xD503201F", "desc": "NOP patch"},
               {"type": "INSERT", "addr": "0x4002000", "code": "00 28 00 11", "desc": "Insert code"})
    assert guest.ask() == "1 2 3"
    assert typed("./arm64_runner --livepatch-list") == "no patches\n"
    typed("./arm64_runner --livepatch-load my_patch.json")
    assert guest.ask() == "0 12 3"
    typed("./arm64_runner --livepatch-reload")
    assert guest.ask() == "0 12 3"
    assert [row["type"] for row in listed().values()] == ["INLINE", "INSERT"]
    typed("./arm64_runner --livepatch-revert all")
    assert guest.ask() == "1 2 3"
    typed('./arm64_runner --livepatch-apply 0x4001000 0xD503201F "NOP patch"')
    assert guest.ask() == "0 2 3"
    assert "0x4001000" in typed("./arm64_runner --livepatch-list") and "NOP patch" in typed("./arm64_runner --livepatch-list")
    guest.process.stdin.close()
    assert guest.process.wait() == 7


def test_debugging_tells_on_the_programs_standard_error(terminal, program):
    with open("err", "w") as err, Guest(program, stderr=err):
        typed("./arm64_runner --livepatch-debug")
        typed(f"./arm64_runner --livepatch-apply first {ADD_40} why")
        assert "livepatch: applied at 0x4001000: why" in Path("err").read_text()


def test_the_text_file_of_the_document(guest):
    Path("my_patch.txt").write_text("# addr instruction description\n4001000 D503201F NOP patch\n4002000 D503201F Another\n")
    typed("./arm64_runner --livepatch-load my_patch.txt")
    assert guest.ask() == "0 0 3"
    typed("./arm64_runner --livepatch-save saved.txt")
    assert "4001000 D503201F NOP patch" in Path("saved.txt").read_text().replace("0x", "").replace("d503201f", "D503201F")


@pytest.fixture(scope="module")
def moving():
    return built("patched", "-static-pie", "-fPIE")  # first and second are wherever the linker has them


@pytest.mark.parametrize("name", ["saved.json", "saved.txt"])
def test_what_is_saved_is_good_for_the_next_start(terminal, moving, name):
    with Guest(moving) as g:
        for place in ("first", "second"):
            typed(f"./arm64_runner --livepatch-apply {place} {ADD_40} 'forty for {place}'")
        if name == "saved.json":
            write_json("p.json", {"type": "NEW_FUNC", "name": "mine", "asm": "mov x9, x30; bl other; add w0, w0, #7; ret x9"},
                       {"type": "REDIRECT", "symbol": "third", "target": "$mine"})
            typed("./arm64_runner --livepatch-load p.json")
            assert g.ask() == "40 40 1007"
        before = listed()
        typed(f"./arm64_runner --livepatch-save {name}")
    for start in (["--livepatch-load", name], []):
        with Guest(moving, *start) as g:
            if not start:
                typed(f"./arm64_runner --livepatch-load {name}")
            assert g.ask() == ("40 40 1007" if name == "saved.json" else "40 40 3")
            assert listed().keys() != before.keys() and "forty for second" in typed("./arm64_runner --livepatch-list")
            typed("./arm64_runner --livepatch-revert all")
            assert g.ask() == "1 2 3"


def test_what_a_saved_file_leaves_out_is_told(guest):
    Path("fix.lp").write_text("jmp third other\n")
    typed(f"./arm64_runner --livepatch-load fix.lp --livepatch-apply first {ADD_40} x")
    lines = typed("./arm64_runner --livepatch-save saved.json").splitlines()
    assert lines[0].endswith("saved.json: patches: 1") and lines[1].startswith("not in it: #") and "fix.lp: load that file as well" in lines[1]
    assert len(json.loads(Path("saved.json").read_text())) == 1


# ---- kinds and formats

def test_a_new_function_takes_the_calls_of_another(guest):
    write_json("p.json", {"type": "NEW_FUNC", "name": "mine", "asm": "add w0, w0, #77; ret"},
               {"type": "FUNCTION_REDIRECT", "symbol": "third", "target": "$mine"})
    typed("./arm64_runner --livepatch-load p.json")
    assert guest.ask() == "1 2 77"
    typed("./arm64_runner --livepatch-revert third")
    assert guest.ask() == "1 2 3"


def test_a_script_redirects_a_function(guest):
    Path("fix.lp").write_text("jmp third other\n")
    typed("./arm64_runner --livepatch-load fix.lp")
    assert guest.ask() == "1 2 1000"
    assert "fix.lp: jmp third other" in typed("./arm64_runner --livepatch-list")
    typed("./arm64_runner --livepatch-revert all")
    assert typed("./arm64_runner --livepatch-list") == "no patches\n"
    assert guest.ask() == "1 2 3"


def test_a_script_is_taken_back_by_its_number_and_leaves_the_list(guest):
    Path("fix.lp").write_text("jmp third other\n")
    typed("./arm64_runner --livepatch-load fix.lp")
    number = re.search(r"^#(\d+) +SCRIPT", typed("./arm64_runner --livepatch-list"), re.MULTILINE)[1]
    assert typed(f"./arm64_runner --livepatch-revert '#{number}'") == f"taken back: #{number}\n"
    assert guest.ask() == "1 2 3" and typed("./arm64_runner --livepatch-list") == "no patches\n"
    typed("./arm64_runner --livepatch-revert all")


def test_insert_and_redirect_from_the_command_line(guest):
    typed(f'./arm64_runner --livepatch-insert second {ADD_40} "forty more" --livepatch-redirect third other "elsewhere"')
    assert guest.ask() == "1 42 1000"


def test_a_patch_that_the_program_overwrites_is_told_to_be_lost(guest):
    typed(f"./arm64_runner --livepatch-apply first {ADD_40} x --livepatch-apply second {ADD_40} y")
    assert {row["state"] for row in listed().values()} == {"active"}
    assert guest.ask("spoil") == "spoilt"
    assert [row["state"] for row in listed().values()] == ["lost: the program has written over it", "active"]
    assert "x [lost: the program has written over it]" in typed("./arm64_runner --livepatch-list")
    assert guest.ask() == "0 40 3"


LOST = {"lost: the program has written over it"}


def states():
    return [row["state"] for row in listed().values()]


def test_what_is_lost_is_left_by_reverting_all_and_can_be_forgotten(guest):
    typed(f"./arm64_runner --livepatch-apply first {ADD_40} x --livepatch-apply second {ADD_40} y --livepatch-redirect third other z")
    error = typed("./arm64_runner --livepatch-forget first", expect=2)
    assert "stands as it was made: revert it" in error and "process" not in error
    assert guest.ask("spoil") == "spoilt" and guest.ask() == "0 40 1000"
    assert typed("./arm64_runner --livepatch-revert all") == "patches taken back: 2\nlost, and left as they are: 1; forget them (list shows which)\n"
    assert guest.ask() == "0 2 3" and set(states()) == LOST
    lost = refusal("--livepatch-revert", "first")["error"]
    assert lost["code"] == "memory-changed" and "is lost" in lost["message"] and "forget it first" in lost["message"]
    assert typed("./arm64_runner --livepatch-forget first") == "forgotten: first; what the program put there stays\n"
    assert typed("./arm64_runner --livepatch-list") == "no patches\n" and guest.ask() == "0 2 3"
    typed(f"./arm64_runner --livepatch-apply first 1100a400,d65f03c0 again")  # also of another length than what was lost
    assert guest.ask() == "41 2 3"
    typed("./arm64_runner --livepatch-revert all")
    assert guest.ask() == "0 2 3" and typed("./arm64_runner --livepatch-list") == "no patches\n"


def test_what_is_unmapped_is_lost_and_what_is_hidden_is_not(guest):
    typed(f"./arm64_runner --livepatch-apply first {ADD_40} x --livepatch-apply second {ADD_40} y")
    assert guest.ask("hide") == "hidden" and set(states()) == {"active"}
    typed("./arm64_runner --livepatch-revert all")
    assert guest.ask("map") == "mapped"
    typed(f"./arm64_runner --livepatch-apply first {ADD_40} x --livepatch-apply second {ADD_40} y")
    assert guest.ask("unmap") == "unmapped" and states() == ["lost: the program has unmapped it", "active"]
    assert "left as they are: 1" in typed("./arm64_runner --livepatch-revert all")
    assert guest.ask("map") == "mapped" and guest.ask() == "1 2 3"
    typed("./arm64_runner --livepatch-forget first")
    typed("./arm64_runner --livepatch-redirect first other z")
    assert guest.ask() == "1000 2 3"
    typed("./arm64_runner --livepatch-revert all")
    assert guest.ask() == "1 2 3" and not listed()


def test_a_thread_in_the_way_is_named_with_what_can_be_done(guest):
    error = typed("./arm64_runner --livepatch-redirect main other z", expect=1)
    assert "main, which is being changed" in error and "jmp --allow-active" in error and "--timeout" not in error


def refusal(*options):
    run = subprocess.run(["./arm64_runner", "--json", *options], capture_output=True, text=True, timeout=lib.PATIENCE, stdin=subprocess.DEVNULL)
    assert run.returncode != 0 and run.stderr == "", run
    return json.loads(run.stdout)


def test_a_reload_does_not_write_over_what_the_program_wrote(guest):
    write_json("p.json", {"type": "FUNCTION_REDIRECT", "symbol": "first", "target": "other"})
    typed("./arm64_runner --livepatch-load p.json")
    assert guest.ask("spoil") == "spoilt"
    write_json("p.json", {"type": "FUNCTION_REDIRECT", "symbol": "first", "target": "third"})
    assert "is lost" in typed("./arm64_runner --livepatch-reload", expect=1) and guest.ask() == "0 2 3"
    typed("./arm64_runner --livepatch-forget first --livepatch-reload")
    assert guest.ask() == "3 2 3"
    typed("./arm64_runner --livepatch-revert all")
    assert guest.ask() == "0 2 3"


def test_a_script_that_the_program_overwrites_is_lost_and_can_be_forgotten(guest):
    Path("fix.lp").write_text("jmp first other\njmp third other\n")
    typed("./arm64_runner --livepatch-load fix.lp")
    assert guest.ask("spoil") == "spoilt" and guest.ask() == "0 2 1000"
    number = re.search(r"^#(\d+) +SCRIPT .*\[lost: ", typed("./arm64_runner --livepatch-list"), re.MULTILINE)[1]
    assert "left as they are: 1" in typed("./arm64_runner --livepatch-revert all")
    typed(f"./arm64_runner --livepatch-forget '#{number}'")
    assert guest.ask() == "0 2 3" and typed("./arm64_runner --livepatch-list") == "no patches\n"


def test_scripts_and_patches_do_not_lie_over_each_other(guest):
    Path("fix.lp").write_text("jmp third other\n")
    Path("more.lp").write_text("set second hex 1f2003d5\njmp third other\n")
    typed("./arm64_runner --livepatch-load fix.lp")
    error = typed("./arm64_runner --livepatch-redirect third second x", expect=1)
    assert "fix.lp (#1)" in error and "take that back first" in error
    assert "fix.lp (#1)" in typed("./arm64_runner --livepatch-load more.lp", expect=1)
    assert guest.ask() == "1 2 1000"
    typed("./arm64_runner --livepatch-load fix.lp")  # it is there, and that is no mistake
    assert typed("./arm64_runner --livepatch-list").count("SCRIPT") == 1
    typed("./arm64_runner --livepatch-revert all")
    typed(f"./arm64_runner --livepatch-apply third {ADD_40} mine")
    error = typed("./arm64_runner --livepatch-load fix.lp", expect=1)
    assert "is changed by the patch at" in error and "(mine)" in error
    assert guest.ask() == "1 2 40"
    typed("./arm64_runner --livepatch-revert all")
    assert guest.ask() == "1 2 3"


def test_a_script_makes_way_for_a_patch_and_a_patch_for_a_script(guest):
    write_json("p.json", {"type": "FUNCTION_REDIRECT", "symbol": "third", "target": "second"})
    Path("fix.lp").write_text("jmp third other\n")
    typed("./arm64_runner --livepatch-load fix.lp")
    shutil.copy("p.json", "fix.lp")
    typed("./arm64_runner --livepatch-reload")
    assert guest.ask() == "1 2 2"
    Path("fix.lp").write_text("jmp third other\n")
    typed("./arm64_runner --livepatch-reload")
    assert guest.ask() == "1 2 1000"
    typed("./arm64_runner --livepatch-revert all")
    assert guest.ask() == "1 2 3"


def test_addresses_of_text_files_are_numbers_symbols_and_places_in_files(guest):
    Path("p.txt").write_text(f"first D503201F a number would be 4001000\npatched@0x4002000 D503201F\nthird {ADD_40} forty\n")
    typed("./arm64_runner --livepatch-load p.txt")
    assert guest.ask() == "0 0 40"
    Path("p.txt").write_text("nobody D503201F x\n")
    assert typed("./arm64_runner --livepatch-reload", expect=1).count("p.txt:1:1: ") == 1
    assert "p.txt:1:1: no symbol nobody" in typed("./arm64_runner --livepatch-reload", expect=1)


def test_mistakes_on_the_command_line_are_json_when_that_is_asked_for(terminal):
    for options in (("--livepatch-apply", "1"), ("--pid", "x", "--livepatch-list"), ("--nonsense",), ()):
        assert refusal(*options)["error"]["code"] == "usage"
    run = subprocess.run(["./arm64_runner", "--nonsense", "--livepatch-list", "--json"], capture_output=True, text=True)
    assert (run.returncode, json.loads(run.stdout)["ok"], run.stderr) == (2, False, "")


def test_an_address_that_is_none_is_told_without_a_place(guest):
    assert typed("./arm64_runner --livepatch-revert nobody", expect=1).startswith("arm64_runner: no symbol nobody in ")
    assert typed("./arm64_runner --livepatch-revert 0x4g", expect=1).startswith("arm64_runner: `0x4g` is not an address")


def test_addresses_are_numbers_symbols_and_places_in_files(guest):
    typed(f"./arm64_runner --livepatch-apply first {ADD_40} x --livepatch-apply patched:second+0 {ADD_40} y")
    assert guest.ask() == "40 40 3"
    typed("./arm64_runner --livepatch-revert 0x4001000 --livepatch-revert patched@0x4002000")
    assert guest.ask() == "1 2 3"


def test_several_options_happen_together_or_not_at_all(guest):
    error = typed(f"./arm64_runner --livepatch-apply first {ADD_40} x --livepatch-apply nobody {ADD_40} y", expect=1)
    assert "nobody" in error and guest.ask() == "1 2 3" and not listed()


def test_patches_before_the_first_instruction(terminal, program):
    write_json("p.json", {"type": "NOP", "symbol": "first"})
    with Guest(program, "--patches", "p.json", "--livepatch-apply", "second", ADD_40, "x") as g:
        assert g.ask() == "0 40 3"
        assert listed().keys() == {0x4001000, 0x4002000}


def test_a_patch_that_is_refused_keeps_the_program_from_running(terminal, program):
    run = subprocess.run(["./arm64_runner", "--livepatch-apply", "nobody", ADD_40, "x", program], capture_output=True, text=True, timeout=lib.PATIENCE)
    assert run.returncode == 125 and run.stdout == "" and "nobody" in run.stderr


def configured(text, *command):
    Path("arm64runner.conf").write_text(text)
    return subprocess.run(["./arm64_runner", *command], capture_output=True, text=True, timeout=lib.PATIENCE, stdin=subprocess.DEVNULL)


def test_the_configuration_of_the_document_is_accepted(terminal, program):
    run = configured("[update]\nauto_update = true\nchannel = rc\n", program)
    assert (run.returncode, run.stdout, run.stderr) == (7, "ready\n", "")


def test_a_configured_patch_file_is_loaded(terminal, program):
    write_json("p.json", {"type": "NOP", "symbol": "first"})
    Path("arm64runner.conf").write_text("[livepatch]\nload = p.json\n")
    with Guest(program) as g:
        assert g.ask() == "0 2 3"


def test_what_is_wrong_in_the_configuration_is_told_with_its_line(terminal, program):
    run = configured("; mine\n[runner]\nsysrot = /x\n[update]\nchannel = beta\n[other]\nstats = yes\n", program)
    where = [line.split(": ")[1] for line in run.stderr.splitlines()]
    assert run.returncode == 7 and [w.rsplit(":", 1)[1] for w in where] == ["3", "5", "7"] and "sysrot" in run.stderr


def test_a_configuration_that_others_may_write_does_not_count(terminal, program):
    Path("arm64runner.conf").write_text("[nonsense]\nx = 1\n")
    Path("arm64runner.conf").chmod(0o666)
    run = subprocess.run(["./arm64_runner", program], capture_output=True, text=True, timeout=lib.PATIENCE, stdin=subprocess.DEVNULL)
    assert (run.returncode, run.stderr) == (7, "")


@pytest.mark.skipif(not (lib.build_directory() / "src" / "tool" / "livepatch-cc").exists(), reason="livepatch build is not built")
def test_a_kpatch_file_of_the_cross_compiler_applies_to_the_guest(terminal):
    source = terminal / "source"
    source.mkdir()
    text = """#include <stdio.h>
static int calls;
__attribute__((noipa)) int answer(int x) { calls++; return x + 1; }
int main(void)
{
	char line[100];
	setvbuf(stdout, NULL, _IONBF, 0);
	puts("ready");
	while (fgets(line, sizeof line, stdin))
		printf("%d %d\\n", answer(41), calls);
	return 0;
}
"""
    (source / "k.c").write_text(text)
    (source / "Makefile").write_text(f"k: k.c\n\t{CC} -O2 -g -o k.o -c k.c\n\t{CC} -static -Wl,--build-id -o k k.o\n")
    subprocess.run(["make", "-s", "-C", source, "k"], check=True)
    diff = "--- a/k.c\n+++ b/k.c\n@@ -3 +3 @@\n" + "".join(f"{sign}{line}\n" for sign, line in zip("-+", (
        text.splitlines()[2], text.splitlines()[2].replace("x + 1", "x + 1000"))))
    Path("fix.patch").write_text(diff)
    lib.livepatch("build", "-C", source, "-o", "fix.kpatch", "fix.patch")
    with Guest(source / "k") as g:
        assert g.ask() == "42 1"
        assert "applied as #1" in typed("./arm64_runner --livepatch-load fix.kpatch")
        assert g.ask() == "1041 2"  # and the program's own variable
        typed("./arm64_runner --livepatch-revert '#1'")
        assert g.ask() == "42 3"


# ---- reloading

def test_a_reload_applies_the_difference_alone(guest):
    write_json("p.json", {"type": "NOP", "symbol": "first"}, {"type": "NOP", "symbol": "second"})
    typed("./arm64_runner --livepatch-load p.json")
    before = listed()
    write_json("p.json", {"type": "NOP", "symbol": "first"}, {"type": "NOP", "symbol": "third"})
    assert "2" in typed("./arm64_runner --livepatch-reload")
    after = listed()
    assert guest.ask() == "0 2 0"
    assert after[0x4001000]["generation"] == before[0x4001000]["generation"] and 0x4002000 not in after


def test_a_broken_file_changes_nothing_and_its_place_is_told(guest):
    write_json("p.json", {"type": "NOP", "symbol": "first"})
    typed("./arm64_runner --livepatch-load p.json")
    Path("p.json").write_text('[{"type": "NOP", "symbol": "second"},\n {"type": "INLINE", "addr": "0x4002000", "instr": "0xNO"}]')
    assert "p.json:2:" in typed("./arm64_runner --livepatch-reload", expect=1)
    assert guest.ask() == "0 2 3"
    assert "p.json:2:" in typed("./arm64_runner --livepatch-load p.json", expect=1)
    assert guest.ask() == "0 2 3" and len(listed()) == 1


def test_a_watched_file_is_loaded_again_by_itself(guest):
    write_json("w.json", {"type": "NOP", "symbol": "first"})
    typed("./arm64_runner --livepatch-watch w.json")
    assert guest.ask() == "0 2 3"
    write_json("new.json", {"type": "NOP", "symbol": "second"})
    os.rename("new.json", "w.json")
    lib.wait_for(lambda: guest.ask() == "1 0 3", "the reload")


def test_a_file_is_watched_from_the_start(terminal, program):
    write_json("w.json", {"type": "NOP", "symbol": "first"})
    with Guest(program, "--livepatch-watch", "w.json") as g:
        assert g.ask() == "0 2 3"
        write_json("new.json", {"type": "NOP", "symbol": "second"})
        lib.wait_for(lambda: len(os.listdir(f"/proc/{g.pid}/task")) >= 3, "the watching thread")
        os.rename("new.json", "w.json")
        lib.wait_for(lambda: g.ask() == "1 0 3", "the reload")


def written(path, text):
    Path("new").write_text(text)
    os.rename("new", path)


def test_a_watched_file_that_is_broken_is_told_once_and_changes_nothing(terminal, program):
    write_json("w.json", {"type": "NOP", "symbol": "first"})
    with open("err", "w") as err, Guest(program, "--livepatch-watch", "w.json", stderr=err) as g:
        # before it is watched, as like as not
        written("w.json", '[{"type": "NOP", "symbol": "second"},\n {"type": "INLINE", "addr": "0x4002000", "instr": "0xNO"}]')
        lib.wait_for(lambda: Path("err").read_text(), "the complaint")
        assert g.ask() == "0 2 3"
        os.utime("w.json")
        written("w.json", Path("w.json").read_text())
        written("w.json", '[{"type": "NOP", "symbol": "nobody"}]')
        lib.wait_for(lambda: "nobody" in Path("err").read_text(), "the other complaint")
        written("w.json", '[{"type": "NOP", "symbol": "third"}]')
        lib.wait_for(lambda: g.ask() == "1 2 0", "the reload")
        lines = Path("err").read_text().splitlines()
        assert len(lines) == 2 and all(line.startswith("arm64_runner: a patch file changed, and the patches stay as they are: ") for line in lines)
        assert "w.json:2:" in lines[0] and "w.json:1:2: no symbol nobody" in lines[1]


def test_sighup_tells_that_a_file_is_broken(terminal, program):
    write_json("p.json", {"type": "NOP", "symbol": "first"})
    with open("err", "w") as err, Guest(program, "--livepatch-load", "p.json", stderr=err) as g:
        Path("p.json").write_text("[")
        os.kill(g.pid, signal.SIGHUP)
        lib.wait_for(lambda: "p.json:1:2:" in Path("err").read_text(), "the complaint")
        assert g.ask() == "0 2 3"


def test_a_reload_brings_back_what_was_taken_back_by_hand(guest):
    write_json("p.json", {"type": "NOP", "symbol": "first"})
    Path("p.txt").write_text("second D503201F x\n")
    Path("fix.lp").write_text("jmp third other\n")
    for file in ("p.json", "p.txt", "fix.lp"):
        typed(f"./arm64_runner --livepatch-load {file}")
    assert guest.ask() == "0 0 1000"
    for back in ("all", "first --livepatch-revert second"):
        typed(f"./arm64_runner --livepatch-revert {back}")
        typed("./arm64_runner --livepatch-reload")
        assert guest.ask() == "0 0 1000"


def test_sighup_reloads_when_files_are_loaded(guest):
    write_json("p.json", {"type": "NOP", "symbol": "first"})
    typed("./arm64_runner --livepatch-load p.json")
    write_json("p.json", {"type": "NOP", "symbol": "second"})
    os.kill(guest.pid, signal.SIGHUP)
    lib.wait_for(lambda: guest.ask() == "1 0 3", "the reload")


def test_sighup_ends_a_program_without_patch_files(guest):
    os.kill(guest.pid, signal.SIGHUP)
    assert guest.process.wait() == -signal.SIGHUP


def test_a_program_that_handles_sighup_keeps_it(guest):
    write_json("p.json", {"type": "NOP", "symbol": "first"})
    typed("./arm64_runner --livepatch-load p.json")
    guest.send("handle")
    assert guest.line() == "handles"
    write_json("p.json", {"type": "NOP", "symbol": "second"})
    os.kill(guest.pid, signal.SIGHUP)
    lib.wait_for(lambda: guest.ask() == "0 2 3 hup", "the handler")


# ---- which runner, and who may

def test_without_a_runner_it_is_said(terminal):
    assert "no arm64_runner" in typed("./arm64_runner --livepatch-list", expect=3)
    assert json.loads(subprocess.run(["./arm64_runner", "--json", "--livepatch-list"], capture_output=True, text=True).stdout)["ok"] is False


def test_one_that_has_just_begun_is_waited_for(terminal, program):
    """Its number is known before it is served."""
    for _ in range(5):
        process = subprocess.Popen(["./arm64_runner", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert typed(f"./arm64_runner --pid {process.pid} --livepatch-list") == "no patches\n"
        finally:
            process.kill()
            process.communicate()


def test_of_two_runners_one_is_chosen(guest, program):
    with Guest(program) as second:
        error = typed(f"./arm64_runner --livepatch-apply first {ADD_40} x", expect=2)
        assert "--pid" in error and str(guest.pid) in error and str(second.pid) in error
        typed(f"./arm64_runner --pid {second.pid} --livepatch-apply first {ADD_40} x")
        assert guest.ask() == "1 2 3" and second.ask() == "40 2 3"
    typed(f"./arm64_runner --livepatch-apply second {ADD_40} x")
    assert guest.ask() == "1 40 3"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_another_user_is_refused(guest):
    run = subprocess.run([str(RUNNER), "--pid", str(guest.pid), "--livepatch-list"], capture_output=True, text=True, user=65534, group=65534,
                         extra_groups=[], timeout=lib.PATIENCE)
    assert run.returncode == 1 and "not allowed" in run.stderr
    assert guest.ask() == "1 2 3"


# ---- what may happen meanwhile

def test_the_guest_sees_nothing_of_the_server(guest):
    typed("./arm64_runner --livepatch-list")
    assert sorted(os.listdir(f"/proc/{guest.pid}/fd")) == ["0", "1", "2"]


def test_who_reads_the_output_sees_its_end(terminal, program):
    with Guest(program) as g:
        g.send("stdout")
        assert g.process.stdout.read() == b""


def test_who_reads_standard_error_sees_its_end(terminal, program):
    with Guest(program, stderr=subprocess.PIPE) as g:
        g.send("stderr")
        assert g.process.stderr.read() in (b"", "")
        assert g.ask() == "1 2 3"


def test_a_file_that_has_the_number_of_standard_error_now_is_not_written_to(terminal, program):
    write_json("p.json", {"type": "NOP", "symbol": "first"})
    with Guest(program, "--livepatch-load", "p.json", stderr=subprocess.PIPE) as g:
        assert g.ask(f"stderr {terminal}/database") == "opened"
        Path("p.json").write_text("[")
        os.kill(g.pid, signal.SIGHUP)
        lib.wait_for(lambda: "last refusal: " in typed("./arm64_runner --livepatch-stats"), "the refusal")
        typed("./arm64_runner --livepatch-reload", expect=1)  # after it
        assert Path("database").read_text() == ""


def test_a_client_that_is_killed_leaves_all_or_nothing(guest):
    write_json("p.json", {"type": "NOP", "symbol": "first"}, {"type": "NOP", "symbol": "second"}, {"type": "NOP", "symbol": "third"})
    states = set()
    for delay in [i * 0.0008 for i in range(25)]:
        client = subprocess.Popen(["./arm64_runner", "--livepatch-load", "p.json"], stdout=subprocess.DEVNULL)
        time.sleep(delay)
        client.send_signal(signal.SIGKILL)
        client.wait()
        typed("./arm64_runner --livepatch-stats")
        states.add(guest.ask())
        typed("./arm64_runner --livepatch-revert all")
        assert guest.ask() == "1 2 3"
    assert states <= {"1 2 3", "0 0 0"}


def test_the_socket_goes_with_the_program(guest):
    assert len(sockets()) == 1
    guest.process.stdin.close()
    guest.process.wait()
    assert not sockets()


def test_a_forked_child_has_its_parents_patches(guest):
    typed(f"./arm64_runner --livepatch-apply first {ADD_40} x")
    guest.send("fork")
    assert guest.line() == "child: 40 2 3"
    assert guest.ask() == "40 2 3"
    typed("./arm64_runner --livepatch-revert first")
    assert guest.ask() == "1 2 3"


def test_a_forked_child_is_patched_by_itself(guest):
    guest.send("stay")
    child = int(guest.line())
    lib.wait_for(lambda: any(s.stem == str(child) for s in sockets()), "the child's socket")
    typed(f"./arm64_runner --pid {child} --livepatch-apply first {ADD_40} x")
    os.kill(child, signal.SIGUSR1)
    assert guest.line() == "child: 40 2 3"
    assert guest.ask() == "1 2 3"


def test_without_a_number_the_parent_is_meant_and_not_its_children(guest, program):
    guest.send("stay")
    child = int(guest.line())
    lib.wait_for(lambda: any(s.stem == str(child) for s in sockets()), "the child's socket")
    typed(f"./arm64_runner --livepatch-apply first {ADD_40} x")
    assert list(listed()) == [0x4001000] and not listed("--pid", str(child))
    with Guest(program) as second:
        error = typed("./arm64_runner --livepatch-list", expect=2)
        assert f"--pid {child}  patched, a child of {guest.pid}\n" in error, error
        assert f"--pid {guest.pid}  patched\n" in error and f"--pid {second.pid}  patched\n" in error + "\n", error
    os.kill(child, signal.SIGUSR1)
    assert guest.line() == "child: 1 2 3"
    assert guest.ask() == "40 2 3"


def test_a_child_that_has_lost_its_parent_is_the_only_one(guest):
    guest.send("stay")
    child = int(guest.line())
    lib.wait_for(lambda: any(s.stem == str(child) for s in sockets()), "the child's socket")
    guest.process.kill()
    guest.process.wait()
    typed(f"./arm64_runner --livepatch-apply first {ADD_40} x")
    assert list(listed("--pid", str(child))) == [0x4001000]
    os.kill(child, signal.SIGKILL)


def test_execve_begins_with_nothing(guest, program):
    typed(f"./arm64_runner --livepatch-apply first {ADD_40} x")
    guest.send(f"exec {program}")
    assert guest.line() == "ready" and guest.ask() == "1 2 3"
    lib.wait_for(lambda: subprocess.run(["./arm64_runner", "--livepatch-list"], capture_output=True, text=True).stdout == "no patches\n", "the new runner")
