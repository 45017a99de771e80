"""A .kpatch file that is not what its maker wrote is refused, and says what is wrong in it; the target notices nothing."""
import struct

import kpatchlib
import lib
import libcare
import pytest
from buildlib import Project
from libcare import ANSWER, ctl
from lib import Victim

def program():
    return libcare.program()


def refused(patch, *says):
    with Victim(program()) as victim:
        before = victim.ask("answer 1")
        error = lib.livepatch("apply", "-p", victim.pid, patch, "--json", expect=lib.REFUSED).error
        assert error["code"] == "bad-kpatch", error
        for word in says:
            assert word in error["message"], error
        assert victim.ask("answer 1") == before


def change(out, at, form, value):
    struct.pack_into(form, out.data, at, value)


def move(out, index, by):
    """The addend of a relocation."""
    offset, type, symbol, addend = out.relocations[index]
    out.relocations[index] = (offset, type, symbol, addend + by)


def relocation_to(maker, out, name):
    return next(i for i, r in enumerate(out.relocations) if maker.symbols[r[2]][0] == name)


def other_vaddr(m):
    change(m.info, 32, "<Q", 0x1234)


def other_original(m):
    change(m.info, 32, "<Q", 0)
    move(m.info, 0, 4)


def longer_original(m):
    change(m.info, 32, "<Q", 0)
    change(m.info, 16, "<I", struct.unpack_from("<I", m.info.data, 16)[0] + 64)


def other_replacement(m):
    move(m.info, 1, 4)


def call_past_the_start(m):
    move(m.text, relocation_to(m, m.text, "snprintf"), 16)


def far_away_data(m):
    index = next(i for i, r in enumerate(m.text.relocations) if m.symbols[r[2]][2] is m.rodata)
    move(m.text, index, 1 << 27)


LIES = [
    (other_vaddr, {}, "record 0 of .kpatch.info replaces answer", "the record itself says 0x1234"),
    (other_original, {}, "record 0 of .kpatch.info replaces answer", ".livepatch.old says"),
    (other_original, {"check": False}, "record 0 of .kpatch.info replaces answer", "and the function there is"),
    (longer_original, {"check": False}, "record 0 of .kpatch.info replaces answer", "and the function there is"),
    (other_replacement, {"exports": ("answer",)}, "the replacement of record 0 leads into the middle of answer"),
    (call_past_the_start, {}, ".kpatch.text+0x", "refers to a place outside of snprintf"),
    (far_away_data, {}, ".kpatch.text+0x", "refers to a place outside of .kpatch.rodata"),
]


@pytest.mark.parametrize("lie, how, says", [pytest.param(lie, how, says, id=" ".join([lie.__name__, *how]))
                                            for lie, how, *says in LIES])
def test_what_is_said_twice_must_agree(lie, how, says):
    refused(kpatchlib.make(ANSWER % "new", program(), tweak=lie, **how), *says)


# ---- unwind tables: .eh_frame begins with a CIE of 4 + 4 bytes and a version, which an FDE follows

def first_fde(eh):
    return 4 + struct.unpack_from("<I", eh.data, 0)[0]


def another_version(eh):
    change(eh, 8, "<B", 9)


def an_unknown_letter(eh):
    change(eh, 9, "<B", ord("q"))


def no_end(eh):
    del eh.data[-4:]


def a_length_behind_the_end(eh):
    change(eh, 0, "<I", 1 << 20)


def a_cie_that_is_not_there(eh):
    change(eh, first_fde(eh) + 4, "<I", 8)


def code_of_others(eh):
    change(eh, first_fde(eh) + 12, "<I", 1 << 20)


def another_start(eh):
    move(eh, next(i for i, r in enumerate(eh.relocations) if r[0] == first_fde(eh) + 8), 4)


TABLES = [
    (another_version, "unknown version"),
    (an_unknown_letter, "unknown kind"),
    (no_end, "too short"),
    (a_length_behind_the_end, "reaches behind the end"),
    (a_cie_that_is_not_there, "belongs to none that is there"),
    (code_of_others, "about code that is not the patch's"),
    (another_start, "leads into the middle of"),
]


@pytest.mark.parametrize("lie, says", TABLES, ids=[lie.__name__ for lie, _ in TABLES])
def test_unwind_tables_are_read_before_the_target_reads_them(lie, says):
    refused(kpatchlib.make(ANSWER % "new", program(), tweak=lambda m: lie(m.eh), exports=("answer",)), "eh_frame", says)


# ---- the file

def test_a_table_of_relocations_that_is_none_by_its_type_is_refused():
    patch = kpatchlib.make(ANSWER % "new", program())
    data = bytearray(patch.read_bytes())
    shoff, = struct.unpack_from("<Q", data, 504 + 0x28)
    count, = struct.unpack_from("<H", data, 504 + 0x3c)
    table = next(at for at in range(504 + shoff, 504 + shoff + 64 * count, 64)
                 if struct.unpack_from("<I", data, at + 4)[0] == kpatchlib.SHT_RELA)
    struct.pack_into("<I", data, table + 4, 0x20000004)
    patch.write_bytes(data)
    refused(patch, "is called a table of relocations, and is none")


@pytest.mark.parametrize("at", [200, 1100, -100])
def test_a_file_that_was_added_up_is_refused_when_anything_in_it_has_changed(at):
    project = Project("two-files").build()
    patch = project.patch(("work.c", '"original"', '"patched"'))["patches"][0]["path"]
    data = bytearray(open(patch, "rb").read())
    data[at] ^= 4
    with open(patch, "wb") as f:
        f.write(data)
    with lib.Victim(project.path / "prog", cwd=project.path) as victim:
        assert "is damaged" in lib.livepatch("apply", "-p", victim.pid, patch, "--json", expect=lib.REFUSED).error["message"]
        assert "is damaged" in ctl("patch", "-p", victim.pid, patch, expect=libcare.FAILED).err
        assert victim.ask() == "original 1 115"
