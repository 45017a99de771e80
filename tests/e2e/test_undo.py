"""Reverting: by another invocation, in any sound order, and in no other."""
import itertools

import pytest

import lib
from lib import NEW, OLD, Victim, behaviour


@pytest.fixture
def victim():
    with Victim(lib.compiled("e2e_target.c"), 3) as v:
        yield v


def values(victim):
    """set_int and the first six letters: three things to change independently."""
    fields = victim.ask("ints").split()
    return fields[1], bytes.fromhex(fields[3])[:6].decode()


def write_memory(pid, at, data):
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(at)
        memory.write(data)


STEPS = ["set set_int int 2", "set set_here+8 str AB", "jmp func_J $foo:func1"]


def apply_step(victim, step):
    load = f"dl foo {lib.shared_object('e2e_patch.c')}\n" if "$foo" in step else ""
    return lib.apply_json(victim.pid, load + step)["id"]


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_independent_patches_are_reverted_in_any_order(victim, order):
    ids = [apply_step(victim, s) for s in STEPS]
    assert behaviour(victim).startswith("patched J")
    for i in order:
        lib.revert(victim.pid, ids[i])
        assert ids[i] not in lib.active_ids(victim.pid)
    assert behaviour(victim) == OLD and values(victim) == ("1", "abcdef")


def test_a_patch_that_a_later_one_builds_on_is_refused_naming_the_later_one(victim):
    first = apply_step(victim, STEPS[2])
    second = apply_step(victim, STEPS[2])
    error = lib.revert(victim.pid, first, "--json", expect=lib.REFUSED).error
    assert error["code"] == "depended-on" and str(second) in error["message"]
    assert behaviour(victim).startswith("patched J")
    lib.revert(victim.pid, second)
    lib.revert(victim.pid, first)
    assert behaviour(victim) == OLD


def test_data_patched_twice_comes_back_step_by_step(victim):
    first, second = apply_step(victim, "set set_int int 2"), apply_step(victim, "set set_int int 3")
    assert lib.revert(victim.pid, first, "--json", expect=lib.REFUSED).error["code"] == "depended-on"
    lib.revert(victim.pid, second)
    assert values(victim)[0] == "2"
    lib.revert(victim.pid, first)
    assert values(victim)[0] == "1"


def test_both_patches_of_a_stack_are_reverted_by_one_command(victim):
    first, second = apply_step(victim, STEPS[2]), apply_step(victim, STEPS[2])
    lib.revert(victim.pid, first, second)
    assert behaviour(victim) == OLD and not lib.active_ids(victim.pid)


def test_data_that_the_program_changed_since_is_not_overwritten_without_force(victim):
    patch = apply_step(victim, "set set_int int 2")
    at = lib.address_of(victim.pid, lib.compiled("e2e_target.c"), "set_int")
    write_memory(victim.pid, at, (9).to_bytes(4, "little"))
    assert lib.livepatch("check", "-p", victim.pid, "--json", expect=lib.REFUSED).status == lib.REFUSED
    assert lib.revert(victim.pid, patch, "--json", expect=lib.REFUSED).error["code"] == "memory-changed"
    assert values(victim)[0] == "9"
    lib.revert(victim.pid, patch, "--force")
    assert values(victim)[0] == "1"


def test_a_jump_that_someone_else_overwrote_is_found_by_check_and_not_reverted():
    with Victim(lib.compiled("e2e_target.c")) as victim:  # one thread, which does not call what is damaged
        lib.apply(victim.pid, lib.example_script())
        at = lib.address_of(victim.pid, lib.compiled("e2e_target.c"), "func_J")
        write_memory(victim.pid, at + 1, b"\x00\x00\x00\x00")
        report = lib.livepatch("check", "-p", victim.pid, "--json", expect=lib.REFUSED)
        assert "func_J" in report.out
        assert lib.revert(victim.pid, "--all", "--json", expect=lib.REFUSED).error["code"] == "memory-changed"
        with open(f"/proc/{victim.pid}/mem", "rb", buffering=0) as memory:
            memory.seek(at)
            assert memory.read(5) == b"\xe9\x00\x00\x00\x00"


def test_check_is_content_with_an_intact_patch(victim):
    lib.apply(victim.pid, lib.example_script())
    assert lib.livepatch("check", "-p", victim.pid, "--json").json["ok"] is True


def test_a_patch_that_is_not_there_is_refused(victim):
    assert lib.revert(victim.pid, 7, "--json", expect=lib.REFUSED).error["code"] == "no-such-patch"


def test_list_shows_what_was_applied_and_no_more(victim):
    assert lib.listed(victim.pid)["patches"] == []
    lib.apply(victim.pid, lib.example_script())
    (patch,) = lib.listed(victim.pid)["patches"]
    assert patch["state"] == "applied" and {w["symbol"] for w in patch["writes"]} == {"func_J", "str_P"}
    lib.revert(victim.pid)
    assert lib.active_ids(victim.pid) == []


def test_reverted_memory_stays_until_it_is_freed(victim):
    lib.apply(victim.pid, lib.example_script())
    lib.revert(victim.pid)
    kept = len(lib.maps(victim.pid))
    lib.apply(victim.pid, lib.example_script())
    assert behaviour(victim) == NEW
    lib.revert(victim.pid, "--all", "--free")
    assert behaviour(victim) == OLD
    assert len(lib.maps(victim.pid)) <= kept


def test_apply_and_revert_with_free_leave_the_maps_as_they_were(victim):
    lib.apply(victim.pid, "set set_int int 2")
    lib.revert(victim.pid, "--all", "--free")
    before = lib.maps(victim.pid)
    for _ in range(20):
        lib.apply(victim.pid, lib.example_script())
        assert behaviour(victim) == NEW
        lib.revert(victim.pid, "--all", "--free")
        assert behaviour(victim) == OLD
    assert lib.maps(victim.pid) == before


def test_memory_is_kept_for_a_pointer_below_a_stack_that_lies_in_the_heap():
    with Victim(lib.compiled("e2e_coroutine.c")) as v:
        lib.apply(v.pid, f"dl foo {lib.shared_object('e2e_coroutine_patch.c')}\njmp func $foo:func1")
        assert v.ask() == "1001"
        lib.revert(v.pid, "--all", "--free")
        assert v.ask() == "2" and v.ask("call") == "8"
