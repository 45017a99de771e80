"""Our patches in the hands of LibcarePlus, by a second implementation of its half that applies them (libcareplus.py)."""
import shutil
import time
from pathlib import Path

import kpatchlib
import lib
import libcare
import libcareplus
import pytest
from buildlib import Project
from kpatch_lib import EXAMPLES, build_id, shell
from test_kpatch_steps import ORIGINAL, PATCHED, REVERTED, made

COMPILERS = [cc for cc in ("gcc", "clang") if shutil.which(cc)]
FLAGS = ["-O0", "-O2", "-O2 -fno-pie -no-pie", "-Os -ffunction-sections", "-O3 -fPIC -fno-plt -ftls-model=local-exec", "-O1 -fcf-protection"]
MAKEFILE = """\
all: program
program: main.o
\t$(CC) {flags} -o $@ main.o -lm
main.o: main.c
\t$(CC) {flags} -c -o $@ $<
clean:
\trm -f program *.o
install: program
\tmkdir -p $(DESTDIR)
\tcp program $(DESTDIR)
"""


# ---- the ways to make one

def by_hand(cc, flags):
    directory, _ = made("rich.c", cc=cc, flags=flags)
    return directory / "program", directory / "program.kpatch"


def project(cc, flags):
    made = Project("two-files", command=f"make CC={cc}").write(Makefile=MAKEFILE.format(flags=flags),
                                                               main_c=(EXAMPLES / "rich.c").read_text())
    return made, made.diff(("main.c", "#include <assert.h>\n", "#define PATCHED\n#include <assert.h>\n"))


def by_build(cc, flags):
    source, diff = project(cc, flags)
    source.build()
    source.livepatch("-o", source.path.parent / "fix.kpatch", "--id", "fix1", diff)
    return source.path / "program", source.path.parent / "fix.kpatch"


# A program reaches a library's variable as if it were its own, and a patch that is the first to do so has no copy of it:
# `livepatch build` and kpatch_gensrc see to that themselves, libcare-patch-make compares what make has made.
NO_COPIES = {"gcc": "-mno-direct-extern-access", "clang": "-fno-direct-access-external-data"}


def by_script(cc, flags, *way):
    source, diff = project(cc, f"{flags} {NO_COPIES[cc]}")
    shell(source.path, f"libcare-patch-make {' '.join(way)} -c -i fix1 {diff}", CC=cc)
    program = source.path / "lpmake" / "program"
    return program, source.path / "patchroot" / f"{build_id(program)}.kpatch"


def by_script_with_assembly(cc, flags):
    return by_script(cc, flags, "--assembly")


WAYS = {"kpatch_make": by_hand, "livepatch build": by_build, "libcare-patch-make": by_script,
        "libcare-patch-make --assembly": by_script_with_assembly}


@pytest.fixture(scope="module", params=WAYS)
def one(request):
    """(program, its patch) as each tool makes it."""
    return WAYS[request.param]("gcc", "-O2")


# ---- the file

def test_each_field_of_the_header_is_what_is_documented(one):
    program, path = one
    patch, size = libcareplus.Patch(path), path.stat().st_size
    assert patch.magic == b"KPATCH1\0"
    assert patch.id == b"fix1\0\0\0\0"
    assert (patch.flags, patch.safety_method) == (0, 0)
    assert patch.modulename.rstrip(b"\0") == b"program"
    assert patch.buildid == build_id(program).encode() + b"\0"
    assert time.time() - 3600 < patch.build_time <= time.time()
    assert (patch.csum, patch.nr_reloc) == (0, 0)
    assert (patch.kpatch_offset, patch.rel_offset) == (504, 504)
    assert patch.total_size == size and size % 16 == 0
    assert (patch.jmp_offset, patch.elf_offset, patch.total_mem) == (0, 0, 0)
    assert patch.entries == [0] * 16 and patch.srcversion == bytes(25)


def test_sections_of_the_original_have_its_addresses_and_no_bytes(one):
    program, path = one
    originals = {s.name: s for s in kpatchlib.Elf(program).sections}
    sections = libcareplus.Patch(path).sections
    named = list(zip(sections.names, sections.headers))
    borrowed = {name: h for name, h in named if h[1] == libcareplus.NOBITS}
    assert ".text" in borrowed
    for name, h in borrowed.items():
        assert (h[3], h[5], h[2] & 7) == (originals[name].addr, originals[name].size, originals[name].flags & 7), name
    own = {name: h for name, h in named if h[2] & kpatchlib.ALLOC and h[1] != libcareplus.NOBITS}
    assert {".kpatch.text", ".kpatch.info", ".kpatch.strtab"} <= own.keys()
    assert all(h[3] == 0 for h in own.values())
    assert max(own, key=lambda name: own[name][4]) == ".kpatch.data" and own[".kpatch.data"][4] % 4096 == 0


def test_each_field_of_the_records_is_what_is_documented(one):
    program, path = one
    functions = {s.name: s for s in kpatchlib.Elf(program).symbols if s.type == kpatchlib.FUNC and s.shndx}
    sections = libcareplus.Patch(path).sections
    info = sections.named(".kpatch.info")
    assert info[5] % 48 == 0
    records = [libcareplus.RECORD.unpack_from(sections.elf, info[4] + at) for at in range(0, info[5], 48)]
    pointers = pointers_of(sections, ".kpatch.info")
    strings, text = sections.named(".kpatch.strtab"), sections.named(".kpatch.text")
    assert records[-1] == (0,) * 8, "the end"
    seen = set()
    for i, (_, _, dlen, slen, _, vaddr, flags, pad) in enumerate(records[:-1]):
        into, offset = pointers[48 * i + 8]
        assert into is text and offset + slen <= text[5] and slen
        into, offset = pointers[48 * i + 24]
        name = sections.string(strings, offset).removesuffix(".kpatch")
        assert into is strings
        assert (flags, pad) == (0, 0)
        if dlen == 0:
            assert 48 * i not in pointers
            continue
        into, offset = pointers[48 * i]
        assert into[1] == libcareplus.NOBITS and into[3] + offset == functions[name].value
        assert dlen == functions[name].size and vaddr in (0, functions[name].value)
        seen.add(name)
    assert {"second_count", "choose"} <= seen


def pointers_of(sections, name):
    """Offset -> (section, offset in it) of the R_X86_64_64 of a section."""
    table = sections.named(".rela" + name)
    found = {}
    for at in range(table[4], table[4] + table[5], 24):
        offset, info, addend = libcareplus.struct.unpack_from("<QQq", sections.elf, at)
        assert info & 0xffffffff == libcareplus.ABS64
        symbol = sections.symbols[info >> 32]
        found[offset] = sections.headers[symbol[3]], symbol[4] + addend
    return found


def test_what_we_add_is_not_loaded(one):
    sections = libcareplus.Patch(one[1]).sections
    extra = {name: h for name, h in zip(sections.names, sections.headers) if name.startswith(".livepatch.")}
    assert ".livepatch.old" in extra
    for name, h in extra.items():
        assert h[1] == kpatchlib.SHT_PROGBITS and not h[2] & kpatchlib.ALLOC, name


# ---- the process

def plus_takes_it_and_our_ctl_takes_it_out(program, patch):
    with libcareplus.victim(program) as (victim, process):
        assert [victim.ask("xa") for _ in range(2)] == ORIGINAL
        libcareplus.apply(process, patch)
        assert [victim.ask("xa") for _ in range(2)] == PATCHED
        info = libcare.ctl("info", "-p", victim.pid).out
        assert f"Target:                   {Path(program).name}\n" in info and "Patch id:                 fix1\n" in info
        assert libcare.ctl("unpatch", "-p", victim.pid, "-i", "fix1").out == (
            f"1 patch hunk(s) were successfully cancelled from PID '{victim.pid}'\n")
        assert [victim.ask("xa")] == REVERTED
        assert libcare.ctl("info", "-p", victim.pid).out == ""


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("cc", COMPILERS)
@pytest.mark.parametrize("way", WAYS)
def test_libcareplus_applies_what_we_make_and_we_undo_it(way, cc, flags):
    plus_takes_it_and_our_ctl_takes_it_out(*WAYS[way](cc, flags))


def test_a_level_and_a_long_id_are_where_libcareplus_looks_for_them():
    source, diff = project("gcc", "-O2")
    source.build()
    source.livepatch("-o", source.path.parent / "fix.kpatch", "--id", "CVE-2026-12345", diff)
    patch = libcareplus.Patch(source.path.parent / "fix.kpatch")
    assert patch.id == kpatchlib.fnv28("CVE-2026-12345").encode() + b"\0"
