"""libcare-ctl: its commands, texts and exit statuses; the stores that it reads."""
import os
import random
import re
import subprocess

import pytest

import kpatchlib
import lib
import libcare
from lib import Victim
from libcare import DONE, FAILED, LOST, USAGE, ctl

USAGE_TEXT = """\
usage: libcare-ctl [options] <cmd> [args]

Options:
  -v          - verbose mode
  -h          - this message

Commands:
  patch  - apply patch to a user-space process
  unpatch- unapply patch from a user-space process
  info   - show info on applied patches
"""


def paragraph(pid, target, build_id, *ids):
    lines = [f"{'Pid:':25} {pid}", f"{'Target:':25} {target}", f"{'Build id:':25} {build_id}",
             f"{'Applied patch number:':25} {len(ids)}", *(f"{'Patch id:':25} {id}" for id in ids)]
    return "\n".join(lines) + "\n\n"


@pytest.fixture
def program():
    return libcare.program()


# ---- how it is asked

def test_help_is_the_text_of_the_document():
    result = ctl("-h")
    assert (result.out, result.err) == ("", USAGE_TEXT)


def test_no_command_is_wrong_use():
    result = ctl(expect=USAGE)
    assert result.err == "err: not enough arguments.\n" + USAGE_TEXT


@pytest.mark.parametrize("args, says", [
    (["frobnicate"], "err: unknown command"),
    (["-x", "info"], "err: unknown option"),
    (["patch"], "err: not enough arguments."),
    (["patch", "-p", "1"], "err: not enough arguments."),
    (["patch", "-x", "1", "file"], "err: unknown option"),
    (["patch", "one", "two", "three"], "err: PID argument is mandatory"),
    (["patch", "-p", "12x", "file"], "neither a process id nor 'all'"),
    (["patch", "-p", "0", "file"], "neither a process id nor 'all'"),
    (["patch", "-p", "99999999999", "file"], "neither a process id nor 'all'"),
    (["patch", "-p", "12", "file", "another"], "err: too many arguments"),
    (["unpatch", "-i"], "err: not enough arguments."),
    (["unpatch", "-i", "0001", "x"], "err: PID argument is mandatory"),
    (["unpatch", "-p", "x", "-i", "0001"], "neither a process id nor 'all'"),
    (["info", "-x"], "err: unknown arg"),
    (["info", "-p", "twelve"], "neither a process id nor 'all'"),
    (["info", "-b", "00", "-r", "x"], "err: regexp & buildid | buildid & storage are mutual"),
    (["info", "-b", "00", "-s", "/"], "err: regexp & buildid | buildid & storage are mutual"),
    (["info", "-r", "("], "is not a regular expression"),
    (["server"], "err: UNIX socket argument is missing"),
])
def test_wrong_use_is_told_and_ends_with_2(args, says):
    result = ctl(*args, expect=USAGE)
    assert says in result.err
    assert result.out == ""


@pytest.mark.parametrize("command", ["patch", "unpatch", "info", "server"])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_each_command_has_help(command, option):
    result = ctl(command, option)
    assert result.err.startswith("usage: libcare-ctl " + command)


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("tool", ["livepatch", "libcare-ctl", "libcare-server", "libcare-client", "libcare-dump", "libcare-patch-make",
                                  "kpatch_gensrc", "kpatch_strip", "kpatch_make"])
def test_each_tool_has_help(tool, option):
    result = libcare.run(tool, option)
    assert "usage:" in (result.out + result.err).lower()


@pytest.mark.parametrize("args", [["--bogus"], ["-x", "/tmp"], ["a", "b", "c"]])
def test_the_server_takes_no_option_for_a_socket(args, tmp_path):
    result = libcare.run("libcare-server", *args, expect=USAGE, cwd=tmp_path)
    assert "usage: libcare-server" in result.err and not list(tmp_path.iterdir())


def test_the_client_asks_no_server_for_an_option():
    assert "usage: libcare-client" in libcare.run("libcare-client", "--bogus", expect=USAGE).err


# ---- one process

def test_patch_info_unpatch(program):
    patch = libcare.answering("new", program, id="0001")
    with Victim(program) as v:
        assert ctl("info", "-p", v.pid).out == ""
        assert ctl("patch", "-p", v.pid, patch).out == \
            f"1 patch hunk(s) have been successfully applied to PID '{v.pid}'\n"
        assert v.ask("answer 1") == "new 1"
        assert ctl("info", "-p", v.pid).out == paragraph(v.pid, program.name, libcare.build_id(program), "0001")
        assert ctl("unpatch", "-p", v.pid, "-i", "0001").out == \
            f"1 patch hunk(s) were successfully cancelled from PID '{v.pid}'\n"
        assert v.ask("answer 1") == "old one"
        assert ctl("info", "-p", v.pid).out == ""


def test_the_long_names_of_the_commands(program):
    patch = libcare.answering("new", program)
    with Victim(program) as v:
        ctl("patch-user", "-p", v.pid, patch)
        assert "Patch id:" in ctl("info-user", "-p", v.pid).out
        ctl("unpatch-user", "-p", v.pid, "-i", "0001")
        assert v.ask("answer 1") == "old one"


def test_livepatch_sees_what_libcare_ctl_did_and_the_other_way_round(program):
    with Victim(program) as v:
        ctl("patch", "-p", v.pid, libcare.answering("first", program, id="first"))
        lib.livepatch("apply", "-p", v.pid, libcare.answering("second", program, id="second"))
        assert v.ask("answer 1") == "second 1"
        assert paragraph(v.pid, program.name, libcare.build_id(program), "first", "second") == \
            ctl("info", "-p", v.pid).out
        ctl("unpatch", "-p", v.pid, "-i", "second")
        lib.revert(v.pid, "first")
        assert v.ask("answer 1") == "old one"


def test_a_patch_that_is_in_already_is_refused(program):
    patch = libcare.answering("new", program, id="0001")
    with Victim(program) as v:
        ctl("patch", "-p", v.pid, patch)
        result = ctl("patch", "-p", v.pid, patch, expect=FAILED)
        assert result.out == f"Failed to apply patch '{patch}'\n"
        assert f"A patch with patch-id(0001) is already applied by {program.name}" in result.err
        assert v.ask("answer 1") == "new 1"


def test_a_patch_for_something_else_is_not_applicable(program):
    other = libcare.program(flags=("-Wl,--build-id=0x0123456789abcdef0123456789abcdef01234567",), name="other")
    patch = libcare.answering("new", other, id="0001")
    with Victim(program) as v:
        result = ctl("patch", "-p", v.pid, patch, expect=FAILED)
        assert result.out == f"No patch(es) applicable to PID '{v.pid}' have been found\n"
        assert not lib.has_ledger(v.pid)


def test_what_cannot_be_unpatched_is_said(program):
    with Victim(program) as v:
        nothing = f"No patch(es) cancellable from PID '{v.pid}' were found\n"
        assert ctl("unpatch", "-p", v.pid, "-i", "0001", expect=FAILED).out == nothing
        ctl("patch", "-p", v.pid, libcare.answering("new", program, id="0001"))
        assert ctl("unpatch", "-p", v.pid, "-i", "0002", expect=FAILED).out == nothing
        assert ctl("unpatch", "-p", v.pid, "-i", "0001", "libnothing.so", expect=FAILED).out == nothing
        assert v.ask("answer 1") == "new 1"
        assert ctl("unpatch", "-p", v.pid, "-i", "0001", program.name).status == DONE


def test_without_an_id_everything_is_taken_out(program):
    with Victim(program) as v:
        for n in range(3):
            ctl("patch", "-p", v.pid, libcare.answering(f"new{n}", program, id=f"000{n}"))
        ctl("unpatch", "-p", v.pid)
        assert v.ask("answer 1") == "old one"


def test_unpatch_by_build_id(program):
    with Victim(program) as v:
        ctl("patch", "-p", v.pid, libcare.answering("new", program))
        ctl("unpatch", "-p", v.pid, libcare.build_id(program))
        assert v.ask("answer 1") == "old one"


def test_a_process_that_is_not_there():
    patch = libcare.answering("new", libcare.program())
    assert "there is no process" in ctl("patch", "-p", lib.NO_PROCESS, patch, expect=LOST).err
    assert ctl("unpatch", "-p", lib.NO_PROCESS, "-i", "x", expect=LOST).out == f"Failed to cancel patches for {lib.NO_PROCESS}\n"
    assert "there is no process" in ctl("info", "-p", lib.NO_PROCESS, expect=LOST).err


def test_a_file_that_is_no_patch(program):
    with Victim(program) as v:
        result = ctl("patch", "-p", v.pid, program, expect=FAILED)
        assert result.out == f"Failed to apply patch '{program}'\n"
        assert "libcare-ctl: " in result.err
        result = ctl("patch", "-p", v.pid, "/nowhere/x.kpatch", expect=FAILED)
        assert "/nowhere/x.kpatch" in result.err


def test_verbosity(program):
    patch = libcare.answering("new", program)
    with Victim(program) as v:
        assert ctl("-v", "patch", "-p", v.pid, patch).err == ""
        ctl("unpatch", "-p", v.pid)
        said = ctl("-v", "-v", "patch", "-p", v.pid, patch).err
        assert f"kpatch_ctl targeting pid {v.pid}" in said
        assert re.search(r'kpatch_ctl cmdline="[^"]*e2e_kpatch\\x00"', said), said
        assert re.search(rf"PID '{v.pid}' process patch frozen_time is \d+ microsecond", said), said


# ---- several objects, several patches

LIBRARY = """
int limit_of(int n) { return n + 100; }
"""
LIBRARY_USER = """
#include "e2e_serve.h"
int limit_of(int n);
PATCHED int answer(int n) { return 10 * n; }
static void request(char *line)
{
	say("%d %d", answer(atoi(line)), limit_of(atoi(line)));
}
int main(void)
{
	serve(request);
}
"""


@pytest.fixture(scope="module")
def pair():
    """A program and its library, and a patch for each."""
    library = lib.shared_object(str(lib.source_file(LIBRARY, "limits.c")), "-O2", name="liblimits.so")
    user = lib.compiled(str(lib.source_file(LIBRARY_USER, "limits_user.c")), name="limits_user",
                        flags=("-Wl,--no-as-needed", str(library), f"-Wl,-rpath,{library.parent}"))
    return (user, library, kpatchlib.make("int answer(int n) { return 11 * n; }", user, id="A"),
            kpatchlib.make("int limit_of(int n) { return n + 111; }", library, id="B"))


def test_a_program_and_its_library_are_patched_as_one(pair):
    user, library, *patches = pair
    store = libcare.store()
    for patch in patches:
        libcare.put(store, patch)
    with Victim(user) as v:
        assert v.ask("1") == "10 101"
        assert "2 patch hunk(s)" in ctl("patch", "-p", v.pid, store).out
        assert v.ask("1") == "11 112"
        assert len(lib.active_ids(v.pid)) == 1
        said = ctl("info", "-p", v.pid).out
        assert paragraph(v.pid, "limits_user", libcare.build_id(user), "A") in said
        assert paragraph(v.pid, "liblimits.so", libcare.build_id(library), "B") in said
        assert "2 patch hunk(s)" in ctl("unpatch", "-p", v.pid, "-i", "B").out
        assert v.ask("1") == "10 101"


def test_a_patch_for_a_library_alone(pair):
    user, library, _, patch = pair
    with Victim(user) as v:
        assert "1 patch hunk(s)" in ctl("patch", "-p", v.pid, patch).out
        assert v.ask("1") == "10 112"
        ctl("unpatch", "-p", v.pid, "-i", "B", "liblimits.so")
        assert v.ask("1") == "10 101"


def test_fifty_patches_on_one_process_in_any_sound_order(program):
    with Victim(program) as v:
        for n in range(50):
            ctl("patch", "-p", v.pid, libcare.answering(f"v{n}", program, id=f"{n:04}"))
        assert v.ask("answer 1") == "v49 1"
        shown = ctl("info", "-p", v.pid).out
        assert re.findall(r"Patch id: +(\S+)", shown) == [f"{n:04}" for n in range(50)]
        # One below the top cannot go alone, the top can.
        refused = ctl("unpatch", "-p", v.pid, "-i", "0020", expect=FAILED)
        assert "builds on it" in refused.err
        for n in range(49, 30, -1):
            ctl("unpatch", "-p", v.pid, "-i", f"{n:04}")
            assert v.ask("answer 1") == f"v{n - 1} 1"
        ctl("patch", "-p", v.pid, libcare.answering("again", program, id="0040"))
        assert v.ask("answer 1") == "again 1"
        assert "1 patch hunk(s)" in ctl("unpatch", "-p", v.pid).out
        assert v.ask("answer 1") == "old one"
        assert ctl("info", "-p", v.pid).out == ""


FUNCTIONS = 10


@pytest.fixture(scope="module")
def many():
    """A program of ten functions that can be patched one by one."""
    functions = "\n".join(f"PATCHED int f{i}(void) {{ return {i}; }}" for i in range(FUNCTIONS))
    calls = ", ".join(f"f{i}()" for i in range(FUNCTIONS))
    source = lib.source_file(f"""
#include "e2e_serve.h"
{functions}
static void request(char *line) {{ say("{' '.join(['%d'] * FUNCTIONS)}", {calls}); }}
int main(void) {{ serve(request); }}
""", "many.c")
    return lib.compiled(str(source))


def test_fifty_patches_of_ten_functions_are_reverted_in_any_sound_order(many):
    """Five on each function; taken out at random, always the newest of a function, and put back in between."""
    chance = random.Random(4)
    stacks = [[i] for i in range(FUNCTIONS)]  # what each function says, the newest last
    order = [i for i in range(FUNCTIONS) for _ in range(5)]
    chance.shuffle(order)
    directory = lib.scratch_directory()

    def push(v, i, value):
        patch = kpatchlib.make(f"int f{i}(void) {{ return {value}; }}", many, id=f"p{value}")
        patch = patch.rename(directory / f"{value}.kpatch")
        ctl("patch", "-p", v.pid, patch)
        stacks[i].append(value)

    def pop(v, i):
        ctl("unpatch", "-p", v.pid, "-i", f"p{stacks[i].pop()}")

    def says(v):
        return [int(word) for word in v.ask().split()] == [stack[-1] for stack in stacks]

    with Victim(many) as v:
        for n, i in enumerate(order):
            push(v, i, 100 + n)
        assert says(v) and len(lib.active_ids(v.pid)) == 50
        for n in range(60):
            higher = [i for i in range(FUNCTIONS) if len(stacks[i]) > 1]
            if n % 6 == 5:
                push(v, chance.randrange(FUNCTIONS), 1000 + n)
            elif higher:
                pop(v, chance.choice(higher))
            assert says(v), n
        for i in range(FUNCTIONS):
            while len(stacks[i]) > 1:
                pop(v, i)
        assert says(v) and ctl("info", "-p", v.pid).out == ""


def test_a_patch_in_the_format_of_libcare(program):
    with Victim(program) as v:
        patch = libcare.answering("new", program, libcare=True, meta=False)
        assert "1 patch hunk(s)" in ctl("patch", "-p", v.pid, patch).out
        assert v.ask("answer 1") == "new 1"
        ctl("unpatch", "-p", v.pid)
        assert v.ask("answer 1") == "old one"


def test_patches_of_different_functions_go_in_any_order(program):
    tiny = kpatchlib.make("int tiny(void) { return 2; }", program, id="tiny")
    with Victim(program) as v:
        ctl("patch", "-p", v.pid, libcare.answering("new", program, id="answer"))
        ctl("patch", "-p", v.pid, tiny)
        ctl("unpatch", "-p", v.pid, "-i", "answer")
        assert (v.ask("answer 1"), v.ask("tiny")) == ("old one", "2")
        ctl("unpatch", "-p", v.pid, "-i", "tiny")
        assert v.ask("tiny") == "1"


# ---- patches of other tools

@pytest.fixture
def foreign():
    return lib.compiled("e2e_foreign.c", flags=("-fcf-protection=none",))


def test_patches_of_libcareplus_are_shown_and_undone(foreign):
    with Victim(foreign, "plus", "0001", "0002") as v:
        assert v.ask() == "patched by 2"
        assert ctl("info", "-p", v.pid).out == paragraph(v.pid, "e2e_foreign", libcare.build_id(foreign), "0001", "0002")
        assert "revert that one first" in ctl("unpatch", "-p", v.pid, "-i", "0001", expect=FAILED).err
        assert ctl("unpatch", "-p", v.pid, "-i", "0002").out == \
            f"1 patch hunk(s) were successfully cancelled from PID '{v.pid}'\n"
        assert v.ask() == "patched by 1"
        ctl("unpatch", "-p", v.pid)
        assert v.ask() == "original"
        assert ctl("info", "-p", v.pid).out == ""


def test_patches_of_libcareplus_that_stack_go_all_at_once(foreign):
    with Victim(foreign, "plus", "0001", "0002") as v:
        assert "1 patch hunk(s)" in ctl("unpatch", "-p", v.pid).out
        assert v.ask() == "original"


def test_patches_of_libcare_have_no_id(foreign):
    with Victim(foreign, "libcare", "-") as v:
        assert "Applied patch number:     1" in ctl("info", "-p", v.pid).out
        assert "1 patch hunk(s)" in ctl("unpatch", "-p", v.pid).out
        assert v.ask() == "original"


# ---- stores

def test_a_directory_of_patches_is_applied_in_the_order_of_their_names(program):
    store = libcare.store()
    libcare.put(store, libcare.answering("second", program, id="b"), name="2-second.kpatch")
    libcare.put(store, libcare.answering("first", program, id="a"), name="1-first.kpatch")
    (store / "README").write_text("not a patch\n")
    (store / "broken.kpatch").write_text("not a patch either\n")
    with Victim(program) as v:
        result = ctl("patch", "-p", v.pid, store)
        assert "2 patch hunk(s)" in result.out
        assert "broken.kpatch" in ctl("-v", "info", "-p", v.pid, "-s", store).err
        assert v.ask("answer 1") == "second 1"


def test_applying_a_store_twice_changes_nothing(program):
    store = libcare.store()
    libcare.put(store, libcare.answering("new", program))
    with Victim(program) as v:
        ctl("patch", "-p", v.pid, store)
        assert "No patch(es) applicable" in ctl("patch", "-p", v.pid, store, expect=FAILED).out
        assert len(lib.active_ids(v.pid)) == 1


def test_a_higher_level_stands_in_for_a_lower_one(program):
    store = libcare.store()
    both = libcare.ANSWER % "one" + "int tiny(void) { return 100; }"
    with Victim(program) as v:
        libcare.put(store, kpatchlib.make(both, program, id="L1"), level=1)
        ctl("patch", "-p", v.pid, store)
        assert (v.ask("answer 7"), v.ask("tiny")) == ("one 7", "100")
        # The second level does not replace tiny() any more: it is the original's again.
        libcare.put(store, libcare.answering("two", program, id="L2"), level=2)
        assert "1 patch hunk(s)" in ctl("patch", "-p", v.pid, store).out
        assert (v.ask("answer 7"), v.ask("tiny")) == ("two 7", "1")
        shown = ctl("info", "-p", v.pid).out
        assert re.findall(r"Patch id: +(\S+)", shown) == ["L2"]
        assert "Applied patch number:     1" in shown
        assert f"{program.name} buildid={libcare.build_id(program)} patchlvl=2 latest=2" in \
            ctl("info", "-n", "-p", v.pid, "-s", store).out
        # Nothing to do while no higher level comes; and one step takes everything out.
        assert "No patch(es) applicable" in ctl("patch", "-p", v.pid, store, expect=FAILED).out
        ctl("unpatch", "-p", v.pid)
        assert (v.ask("answer 7"), v.ask("tiny")) == ("old many", "1")


def test_the_third_level_restores_what_the_second_had_replaced(program):
    store = libcare.store()
    with Victim(program) as v:
        libcare.put(store, libcare.answering("one", program, id="L1"), level=1)
        ctl("patch", "-p", v.pid, store)
        libcare.put(store, kpatchlib.make(libcare.ANSWER % "two" + "int tiny(void) { return 22; }", program, id="L2"), level=2)
        ctl("patch", "-p", v.pid, store)
        assert (v.ask("answer 7"), v.ask("tiny")) == ("two 7", "22")
        libcare.put(store, kpatchlib.make("int tiny(void) { return 33; }", program, id="L3"), level=3)
        ctl("patch", "-p", v.pid, store)
        assert (v.ask("answer 7"), v.ask("tiny")) == ("old many", "33")
        ctl("unpatch", "-p", v.pid, "-i", "L3")
        assert (v.ask("answer 7"), v.ask("tiny")) == ("old many", "1")
        assert ctl("info", "-p", v.pid).out == ""


def test_info_tells_what_the_store_has(program):
    store = libcare.store()
    id = libcare.build_id(program)
    libcare.put(store, libcare.answering("one", program, id="L1"), level=1)
    (store / id / "1" / "description").write_text("CVE-2026-0001: it said old\n")
    with Victim(program) as v:
        said = ctl("info", "-p", v.pid, "-s", store).out
        assert said == (f"pid={v.pid} comm={program.name}\n{program.name} buildid={id} latest=1\n"
                        "\nnew patch description:\nCVE-2026-0001: it said old\n"
                        "========================================\n"
                        "1 object(s) may be updated to the latest patch\n\nRun: libcare-client update\n")
        ctl("patch", "-p", v.pid, store)
        said = ctl("info", "-p", v.pid, "-s", store).out
        assert "patchlvl=1 latest=1\n\nlatest patch applied\nCVE-2026-0001" in said
        assert "may be updated" not in said
        assert "CVE" not in ctl("info", "-n", "-p", v.pid, "-s", store).out
        assert ctl("info", "-p", v.pid, "-s", store, "-r", "^nothing").out == ""


def test_a_known_hole_without_a_patch_is_shown(program):
    store = libcare.store()
    id = libcare.build_id(program)
    (store / id / "0").mkdir(parents=True)
    (store / id / "0" / "kpatch.bin").touch()
    (store / id / "0" / "description").write_text("CVE-2026-0002: no patch yet\n")
    (store / id / "latest").symlink_to("0")
    with Victim(program) as v:
        said = ctl("info", "-p", v.pid, "-s", store).out
        assert f"buildid={id} VULNERABLE\n" in said
        assert "VULNERABLE VERSION:\nCVE-2026-0002" in said
        assert "1 object(s) are vulnerable" in said
        assert "No patch(es) applicable" in ctl("patch", "-p", v.pid, store, expect=FAILED).out


def test_who_has_an_object_loaded(program):
    with Victim(program) as v, Victim(program) as w:
        said = ctl("info", "-b", libcare.build_id(program)).out
        for pid in (v.pid, w.pid):
            assert f"pid={pid} comm={program.name}\n{program.name} {libcare.build_id(program)}\n" in said


def test_all_processes_and_only_those_that_it_fits(program):
    store = libcare.store()
    libcare.put(store, libcare.answering("new", program, id="0001"))
    other = libcare.program(flags=("-Wl,--build-id=0x0123456789abcdef0123456789abcdef01234567",), name="other")
    with Victim(program) as a, Victim(program) as b, Victim(other) as c:
        said = ctl("patch", "-p", "all", store).out
        for v in (a, b):
            assert f"1 patch hunk(s) have been successfully applied to PID '{v.pid}'\n" in said
            assert v.ask("answer 1") == "new 1"
        assert f"'{c.pid}'" not in said
        shown = ctl("info", "-p", "all").out
        assert paragraph(a.pid, program.name, libcare.build_id(program), "0001") in shown
        assert ctl("patch", "-p", "all", store).out.count(f"'{a.pid}'") == 0
        said = ctl("unpatch", "-p", "all", "-i", "0001").out
        assert f"cancelled from PID '{a.pid}'" in said and f"cancelled from PID '{b.pid}'" in said
        assert a.ask("answer 1") == "old one"


def test_one_process_that_refuses_does_not_stop_the_others(program):
    """strace holds the first one."""
    store = libcare.store()
    libcare.put(store, libcare.answering("new", program, id="0001"))
    with Victim(program) as a, Victim(program) as b:
        first, second = sorted((a, b), key=lambda v: v.pid)
        tracer = subprocess.Popen(["strace", "-f", "-o", "/dev/null", "-p", str(first.pid)], stderr=subprocess.PIPE)
        try:
            lib.wait_for(lambda: lib.traced(first.pid), "strace to attach")
            result = ctl("patch", "-p", "all", store, expect=FAILED)
            assert f"applied to PID '{second.pid}'" in result.out
            assert f"Failed to apply patch '{store}'" in result.out
            assert "traced by" in result.err
        finally:
            tracer.kill()
            tracer.communicate()
        assert second.ask("answer 1") == "new 1"


# ---- before and after

def test_before_and_after_are_run_with_the_process_id_while_it_runs(program):
    store = libcare.store()
    libcare.put(store, libcare.answering("new", program, id="0001"))
    log = store / "log"
    for name in ("before", "after"):
        libcare.script(store / name, f'echo {name} $1 $(cut -d " " -f 3 /proc/$1/stat) >> "{log}"\n')
    with Victim(program) as v:
        ctl("patch", "-p", v.pid, store)
        assert re.fullmatch(rf"before {v.pid} [SR]\nafter {v.pid} [SR]\n", log.read_text())
        ctl("patch", "-p", v.pid, store, expect=FAILED)
        assert log.read_text().count("\n") == 2, "nothing to change: nothing to run"


def test_a_process_whose_before_fails_is_left_alone(program):
    store = libcare.store()
    libcare.put(store, libcare.answering("new", program, id="0001"))
    libcare.script(store / "before", "exit 3\n")
    with Victim(program) as v:
        result = ctl("patch", "-p", v.pid, store, expect=FAILED)
        assert "before" in result.err and "status 3" in result.err
        assert v.ask("answer 1") == "old one"
        assert not lib.has_ledger(v.pid)


def test_a_worker_that_is_killed_is_told_of_and_leaves_nothing(program):
    store = libcare.store()
    libcare.put(store, libcare.answering("new", program, id="0001"))
    libcare.script(store / "before", f"echo here > '{store}/began'; exec sleep 1000\n")
    with Victim(program) as v:
        process = subprocess.Popen([libcare.path_of("libcare-ctl"), "patch", "-p", str(v.pid), store],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        lib.wait_for((store / "began").exists, "the worker to begin")
        worker, = map(int, open(f"/proc/{process.pid}/task/{process.pid}/children").read().split())
        sleeper = int(open(f"/proc/{worker}/task/{worker}/children").read())
        os.kill(worker, 9)
        os.kill(sleeper, 9)
        _, err = process.communicate(timeout=lib.PATIENCE)
        assert process.returncode == FAILED
        assert f"the worker on process {v.pid} was lost (Killed); nothing of its work was left unfinished" in err
        assert v.ask("answer 1") == "old one"
        (store / "before").unlink()
        ctl("patch", "-p", v.pid, store)
        assert v.ask("answer 1") == "new 1"


# ---- libcare-dump

def test_dump_shows_the_header_and_gives_the_object_back(program):
    patch = libcare.answering("new", program, id="0001")
    said = libcare.run("libcare-dump", "-H", "-i", patch).out
    assert said == "".join(f"{label:25} {value}\n" for label, value in (
        ("Patch Name:", program.name), ("Magic:", "KPATCH1"), ("Patch id:", "0001"),
        ("buildid:", libcare.build_id(program))))
    out = lib.scratch_directory() / "object.o"
    libcare.run("libcare-dump", "-c", "-i", patch, "-o", out)
    sections = subprocess.run(["readelf", "-S", "-W", out], capture_output=True, text=True, check=True).stdout
    assert ".kpatch.text" in sections


def test_dump_is_told_what_to_do(program):
    assert "mandatory" in libcare.run("libcare-dump", expect=USAGE).err
    assert "-c needs -o" in libcare.run("libcare-dump", "-c", "-i", program, expect=USAGE).err
    assert libcare.run("libcare-dump", "-H", "-i", program, expect=FAILED).out == ""
