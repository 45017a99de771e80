"""Patches that LibcarePlus or libcare applied to a process: shown, and taken back."""
import pytest

import kpatchlib
import lib
from lib import Victim


@pytest.fixture
def program():
    return lib.compiled("e2e_foreign.c", flags=("-fcf-protection=none",))


def foreign(victim):
    return lib.listed(victim.pid)["foreign"]


def test_a_patch_of_libcareplus_is_listed(program):
    with Victim(program, "plus", "0001") as v:
        assert v.ask() == "patched by 1"
        found, = foreign(v)
        assert {k: found[k] for k in ("tool", "id", "object", "build_id", "functions", "standing")} == {
            "tool": "LibcarePlus", "id": "0001", "object": "e2e_foreign", "build_id": kpatchlib.Elf(program).build_id,
            "functions": 1, "standing": 1}
        assert "applied by LibcarePlus: patch id 0001 for e2e_foreign" in lib.livepatch("list", "-p", v.pid).out
        assert "by LibcarePlus, id 0001" in lib.livepatch("info", "-p", v.pid).out
        assert lib.livepatch("info", "-p", v.pid, "--json").json["foreign"] == [found]


def test_a_program_without_them_lists_none(program):
    with Victim(program, "plus") as v:
        assert foreign(v) == []


def test_it_is_undone_in_our_transaction_and_leaves_nothing_to_find(program):
    with Victim(program, "plus", "0001") as v:
        lib.revert(v.pid, "0001")
        assert v.ask() == "original" and foreign(v) == [] and lib.listed(v.pid)["patches"] == []
        assert v.ask("eintr") == "0"
        error = lib.revert(v.pid, "0001", "--json", expect=lib.REFUSED).error
        assert error["code"] == "no-such-patch"


def test_libcare_has_no_ids_so_the_address_names_it(program):
    with Victim(program, "libcare", "-") as v:
        found, = foreign(v)
        assert found["tool"] == "libcare" and found["id"] == ""
        lib.revert(v.pid, found["start"])
        assert v.ask() == "original"


def test_those_that_stack_are_undone_from_the_top(program):
    with Victim(program, "plus", "0001", "0002") as v:
        assert v.ask() == "patched by 2"
        error = lib.revert(v.pid, "0001", "--json", expect=lib.REFUSED).error
        assert error["code"] == "memory-changed" and "0001" in error["message"]
        lib.revert(v.pid, "0002")
        assert v.ask() == "patched by 1"
        lib.revert(v.pid, "0001")
        assert v.ask() == "original"


def test_a_patch_of_ours_goes_on_top_and_comes_off_again(program):
    fix = kpatchlib.make('const char *answer(void) { return "ours"; }', program, id="0009")
    with Victim(program, "plus", "0001") as v:
        lib.livepatch("apply", "-p", v.pid, fix)
        assert v.ask() == "ours"
        assert lib.revert(v.pid, "0001", "--json", expect=lib.REFUSED).error["code"] == "memory-changed"
        lib.revert(v.pid, "0009")
        assert v.ask() == "patched by 1"
        lib.revert(v.pid, "0001")
        assert v.ask() == "original"


def test_undo_bytes_that_are_not_those_of_the_file_are_not_written(program):
    with Victim(program, "plus", "0001") as v:
        at = int(foreign(v)[0]["start"], 16) + 2048 + 5
        with open(f"/proc/{v.pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(at)
            memory.write(b"\xcc\xcc")
        error = lib.revert(v.pid, "0001", "--json", expect=lib.REFUSED).error
        assert error["code"] == "not-original"
        assert v.ask() == "patched by 1"


def test_a_process_that_boasts_of_patches_without_end_is_listed_all_the_same(program):
    with Victim(program, "boast", "2000") as v:
        listing = lib.livepatch("list", "-p", v.pid)
        assert "more patches of other tools than are looked at" in listing.err
        assert lib.livepatch("list", "-p", v.pid, "--json").json["ok"]
