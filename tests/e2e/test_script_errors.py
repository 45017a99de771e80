"""A script is checked completely first; what is wrong is said as file:line:column."""
import re
import subprocess

import pytest

import lib
from lib import OLD, Victim, behaviour


@pytest.fixture(scope="module")
def victim():
    with Victim(lib.compiled("e2e_target.c")) as v:
        yield v


@pytest.fixture(autouse=True)
def nothing_is_touched(victim):
    before = lib.memory_hash(victim.rest().pid)
    yield
    assert lib.memory_hash(victim.pid) == before
    assert behaviour(victim) == OLD


GOOD = "new room 8\n"

CASES = {
    "an unknown word": ("jump func_J func_J", 2, 1),
    "a missing address": ("jmp func_J", 2, None),
    "an address too many": ("jmp func_J func_J func_J", 2, 19),
    "an unknown type": ("set str_P float 1.5", 2, 11),
    "an undefined memory name": ("set str_P addr $nowhere", 2, 16),
    "a memory name defined twice": ("new room 8", 2, None),
    "a number with letters": ("new other 12q", 2, 13),
    "a size of zero": ("new other 0", 2, 11),
    "half a hex byte": ("set str_P hex abc", 2, 15),
}


@pytest.mark.parametrize("line,row,column", CASES.values(), ids=CASES.keys())
def test_a_malformed_line_is_refused_where_it_stands(victim, tmp_path, line, row, column):
    script = tmp_path / "fix.lp"
    script.write_text(GOOD + line + "\n")
    result = lib.livepatch("apply", "-p", victim.pid, "-f", script, expect=lib.REFUSED)
    where = re.search(r"fix\.lp:(\d+):(\d+): \S", result.err)
    assert where, result.err
    assert int(where[1]) == row
    assert column is None or int(where[2]) == column


def test_all_errors_are_reported_at_once(victim, tmp_path):
    script = tmp_path / "fix.lp"
    script.write_text("jump a b\n" + GOOD + "set str_P float 1\n")
    err = lib.livepatch("apply", "-p", victim.pid, "-f", script, expect=lib.REFUSED).err
    assert "fix.lp:1:" in err and "fix.lp:3:" in err


@pytest.mark.parametrize("line,code", [
    ("jmp no_such_function func_J", "no-symbol"),
    ("jmp func_J $foo:no_such_symbol", "no-symbol"),
    ("jmp str_P $foo:func1", "not-code"),
])
def test_what_the_target_does_not_have_is_refused_with_its_line(victim, tmp_path, line, code):
    script = tmp_path / "fix.lp"
    script.write_text(f"dl foo {lib.shared_object('e2e_patch.c')}\n{line}\n")
    error = lib.livepatch("apply", "-p", victim.pid, "-f", script, "--json", expect=lib.REFUSED).error
    assert error["code"] == code
    assert "fix.lp:2:" in error["message"]


def test_a_good_line_before_a_bad_one_is_not_applied(victim):
    error = lib.refusal(victim.pid, "set set_int int 5\njmp no_such_function func_J")
    assert error["code"] == "no-symbol" and "no_such_function" in error["message"]


@pytest.mark.parametrize("name", ["absent.so", "text.so", "truncated.so", "directory.so"])
def test_a_file_that_is_no_object_is_refused_naming_it(victim, tmp_path, name):
    (tmp_path / "directory.so").mkdir()
    (tmp_path / "text.so").write_text("not an object\n" * 100)
    (tmp_path / "truncated.so").write_bytes(lib.shared_object("e2e_patch.c").read_bytes()[:1500])
    error = lib.refusal(victim.pid, f"dl foo {tmp_path / name}\njmp func_J $foo:func1")
    assert error["code"] in ("file", "bad-elf", "ENOENT") and name in error["message"]


def test_an_object_with_an_undefined_symbol_is_refused_naming_it(victim, tmp_path):
    source = lib.source_file("int nowhere_at_all(void);\nint f(void) { return nowhere_at_all(); }\n", "undefined.c")
    error = lib.refusal(victim.pid, f"dl foo {lib.shared_object(str(source))}\njmp func_J $foo:f")
    assert error["code"] == "no-symbol" and "nowhere_at_all" in error["message"]


def test_an_object_of_another_machine_is_refused(victim, tmp_path):
    image = bytearray(lib.shared_object("e2e_patch.c").read_bytes())
    image[18] = 183  # EM_AARCH64
    (tmp_path / "other.so").write_bytes(image)
    error = lib.refusal(victim.pid, f"dl foo {tmp_path}/other.so\njmp func_J $foo:func1")
    assert error["code"] in ("wrong-isa", "bad-elf")


def test_overlapping_changes_of_one_script_are_refused(victim):
    error = lib.refusal(victim.pid, "set set_here+8 hex 01020304\nset set_here+10 hex 0506")
    assert error["code"] == "overlap"


def test_dry_run_prints_the_plan_and_changes_nothing(victim):
    plan = lib.apply(victim.pid, lib.example_script(), "--dry-run").out
    assert "func_J" in plan and "str_P" in plan and "jmp" in plan
    assert not lib.has_ledger(victim.pid)


def test_dry_run_says_where_a_jump_goes_and_shows_no_half_instruction(victim):
    plan = lib.apply(victim.pid, lib.example_script(), "--dry-run").out
    assert "func_J -> $foo:func1" in plan and "part of an instruction" not in plan


def test_a_dry_run_that_nobody_can_read_did_not_succeed(victim):
    with open("/dev/full", "w") as full:
        run = subprocess.run([lib.tool_path(), "apply", "-p", str(victim.pid), "--dry-run"], stdout=full, text=True,
                             input="set set_int int 1\n", stderr=subprocess.PIPE)
    assert run.returncode == lib.REFUSED and "No space left" in run.stderr


def test_a_file_that_is_not_the_program_is_refused_as_such_also_when_no_symbol_is_needed(victim):
    error = lib.refusal(victim.pid, "new room 8", "/bin/ls")
    assert error["code"] == "build-id" and error["message"].startswith("/bin/ls is not the program")


def test_dry_run_as_json_shows_each_write_with_old_and_new_bytes(victim):
    plan = lib.apply(victim.pid, lib.example_script(), "--dry-run", "--json").json
    writes = {w["symbol"]: w for w in plan["writes"]}
    assert int(writes["func_J"]["address"], 16) == lib.address_of(victim.pid, lib.compiled("e2e_target.c"), "func_J")
    assert writes["func_J"]["new"].replace(" ", "").startswith("e9") and len(plan["rooms"]) >= 1


def test_a_function_that_is_chosen_at_run_time_and_was_not_called_yet_is_refused_as_such(victim):
    error = lib.refusal(victim.pid, "set libc.so.6:time int 1")
    assert error["code"] == "no-symbol" and "IFUNC" in error["message"]


def test_an_empty_script_is_refused_or_does_nothing(victim):
    lib.apply(victim.pid, "", expect=None)
    lib.apply(victim.pid, "# only a comment\n\n", expect=None)
    assert not lib.has_ledger(victim.pid)
