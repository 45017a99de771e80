"""Every form of <addr> and every type of `set`."""
import struct

import pytest

import lib
from lib import Victim


@pytest.fixture(params=["pie", "non-pie"])
def victim(request):
    with Victim(lib.compiled("e2e_target.c", link=request.param)) as v:
        v.program = lib.compiled("e2e_target.c", link=request.param)
        yield v


def value_of_int(victim):
    return int(victim.ask("ints").split()[1])


def stored_bytes(victim):
    return bytes.fromhex(victim.ask("ints").split()[3])


ORIGINAL = b"abcdefghijklmnopqrstuvwxyz".ljust(32, b"\0")


def expect_bytes(victim, start, new):
    """Exactly these bytes, and no other, changed; and they come back."""
    wanted = ORIGINAL[:start] + new + ORIGINAL[start + len(new):]
    assert stored_bytes(victim) == wanted
    lib.revert(victim.pid)
    assert stored_bytes(victim) == ORIGINAL


@pytest.mark.parametrize("text,value", [("42", 42), ("-42", -42), ("0x7fffffff", 2**31 - 1), ("052", 42),
                                        ("-2147483648", -2**31)])
def test_set_int_takes_what_strtol_takes(victim, text, value):
    lib.apply(victim.pid, f"set set_int int {text}")
    assert value_of_int(victim) == value
    lib.revert(victim.pid)
    assert value_of_int(victim) == 1


def test_set_int_refuses_what_does_not_fit_or_is_no_number(victim):
    for bad in ("0x100000000000000000", "twelve", "12monkeys", ""):
        assert lib.refusal(victim.pid, f"set set_int int {bad}")["code"] in ("parse", "range")
    assert value_of_int(victim) == 1


def test_set_hex_writes_exactly_those_bytes(victim):
    lib.apply(victim.pid, "set set_here+8 hex 686578")
    expect_bytes(victim, 0, b"hex")


@pytest.mark.parametrize("bad", ["68657", "6865zz", ""])
def test_set_hex_refuses_half_bytes_and_other_letters(victim, bad):
    assert lib.refusal(victim.pid, f"set set_here+8 hex {bad}")["code"] == "parse"
    assert stored_bytes(victim) == ORIGINAL


def test_set_str_writes_the_rest_of_the_line(victim):
    lib.apply(victim.pid, "set set_here+8 str two words")
    assert stored_bytes(victim).startswith(b"two words")
    lib.revert(victim.pid)
    assert stored_bytes(victim) == ORIGINAL


def test_set_addr_takes_an_integer(victim):
    lib.apply(victim.pid, "set set_here+16 addr 0x1122334455667788")
    expect_bytes(victim, 8, struct.pack("<Q", 0x1122334455667788))


def test_an_integer_is_an_absolute_address(victim):
    at = lib.address_of(victim.pid, victim.program, "set_int")
    lib.apply(victim.pid, f"set {at:#x} int 77")
    assert value_of_int(victim) == 77


def test_a_decimal_integer_is_an_absolute_address_too(victim):
    at = lib.address_of(victim.pid, victim.program, "set_int")
    lib.apply(victim.pid, f"set {at} int 78")
    assert value_of_int(victim) == 78


def pointer_after(victim, script):
    """What `script` stored into the eight bytes at set_here+8."""
    lib.apply(victim.pid, script)
    return struct.unpack("<Q", stored_bytes(victim)[:8])[0]


def memory(pid, at, size):
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as f:
        f.seek(at)
        return f.read(size)


def test_a_memory_name_is_the_start_of_new_memory(victim):
    at = pointer_after(victim, "new room 100\nset $room str hello\nset set_here+8 addr $room")
    assert memory(victim.pid, at, 5) == b"hello"


def test_a_memory_name_with_an_integer_is_an_offset_into_it(victim):
    at = pointer_after(victim, "new room 100\nset $room:64 hex 0102\nset $room:0x42 hex 0304\n"
                               "set set_here+8 addr $room:64")
    assert memory(victim.pid, at, 4) == bytes([1, 2, 3, 4])


def test_a_file_is_loaded_as_it_is(victim, tmp_path):
    (tmp_path / "blob").write_bytes(bytes(range(256)) * 33)
    at = pointer_after(victim, f"load blob {tmp_path}/blob\nset set_here+8 addr $blob")
    assert memory(victim.pid, at, 256 * 33) == bytes(range(256)) * 33


def test_a_symbol_of_a_loaded_object_is_an_address(victim):
    at = pointer_after(victim, f"dl foo {lib.shared_object('e2e_patch.c')}\nset set_here+8 addr $foo:patch_message")
    assert memory(victim.pid, at, 16) == b"patched message\0"


def test_set_may_write_into_memory_of_the_patch(victim):
    lib.apply(victim.pid, lib.example_script() + "\nset $foo:patch_message str PATCHED")
    assert lib.behaviour(victim).startswith("patched J | PATCHED")


def test_a_loaded_object_is_never_writable_and_executable_at_once(victim):
    lib.apply(victim.pid, lib.example_script())
    assert not [line for line in lib.maps(victim.pid) if "wx" in line.split()[1]]


def test_set_beyond_the_end_of_new_memory_or_where_nothing_is_mapped_is_refused(victim):
    assert lib.refusal(victim.pid, "new room 8\nset $room:100000000 int 1")["code"] == "parse"
    assert lib.refusal(victim.pid, "set 0x10 int 1")["code"] == "unmapped"
    assert not lib.has_ledger(victim.pid)
