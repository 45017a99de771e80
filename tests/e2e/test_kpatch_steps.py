"""kpatch_gensrc, kpatch_strip and kpatch_make on more of the language than the document has: programs go on with their state."""
import shutil
import subprocess

import lib
import pytest
from kpatch_lib import EXAMPLES, build_id, elf_of, relocations, sections, shell, tools

BUILD = """
{cc} {flags} -S {source} -o before.s
{cc} {flags} -DPATCHED -S {source} -o after.s
kpatch_gensrc {gensrc} -i before.s -i after.s -o merged.s
{cc} {flags} -o program before.s {libs}
{cc} {flags} -o merged merged.s -Wl,-q {libs}
kpatch_strip --strip merged patch
kpatch_strip --rel-fixup program patch
strip --strip-unneeded patch
kpatch_strip --undo-link program patch
"""

# What rich.c says: calls, the counters of two functions, strings, a double, a thread's variable, a sort, an address, ...
ORIGINAL = [
    "101 11 21 zero cinque 3.00 8 123 1 2 120 5",
    "102 12 22 zero cinque 3.00 9 123 1 2 120 5",
]
PATCHED = [
    "103 13 23 nil cinque, fixed 5.00 12 321 1 2 129 8",
    "104 14 28 nil cinque, fixed 5.00 15 321 1 2 129 8",
]
REVERTED = ["105 15 25 zero cinque 3.00 16 123 1 2 120 5"]


def made(source, cc="gcc", flags="-O2", gensrc="--force-gotpcrel", libs="-lm", expect=0):
    """The directory with program and program.kpatch; what the commands said."""
    directory = lib.scratch_directory()
    said = shell(directory, BUILD.format(cc=cc, flags=flags, source=EXAMPLES / source, gensrc=gensrc, libs=libs), expect=expect)
    if not expect:
        shell(directory, f"kpatch_make -b {build_id(directory / 'program')} -i fix1 patch -o program.kpatch")
    return directory, said


COMPILERS = [cc for cc in ("gcc", "clang") if shutil.which(cc)]


@pytest.mark.parametrize("cc", COMPILERS)
@pytest.mark.parametrize("flags", [
    "-O0", "-O1", "-O2", "-O3 -g", "-Os", "-O2 -fPIC", "-O2 -fno-pie -no-pie", "-O2 -ffunction-sections -fdata-sections",
    "-O2 -fcommon", "-O2 -fno-plt", "-O2 -fcf-protection", "-O2 -mno-red-zone",
])
def test_a_program_takes_the_patch_and_gives_it_back(cc, flags):
    directory, _ = made("rich.c", cc=cc, flags=flags)
    with lib.Victim(directory / "program") as victim:
        assert [victim.ask("xa") for _ in range(2)] == ORIGINAL
        lib.livepatch("apply", "-p", victim.pid, directory / "program.kpatch")
        assert [victim.ask("xa") for _ in range(2)] == PATCHED
        lib.revert(victim.pid)
        assert [victim.ask("xa")] == REVERTED


def test_a_librarys_variable_that_the_program_has_no_copy_of_is_refused_with_the_remedy():
    _, said = made("rich.c", flags="-O0", gensrc="", expect=1)
    assert "environ is a library's" in said and "--force-gotpcrel" in said


def test_another_program_is_not_taken_for_the_original():
    directory, _ = made("rich.c")
    said = shell(directory, f"""
        gcc -O2 -DPATCHED -o other {EXAMPLES / 'rich.c'} -lm
        kpatch_strip --strip merged again
        kpatch_strip --rel-fixup other again""", expect=1)
    assert "is of another size" in said or "bytes in the original and" in said


@pytest.mark.parametrize("flags", ["-O0", "-O2", "-O2 -fno-pie -no-pie"])
def test_exceptions_pass_through_patched_code(flags):
    directory, _ = made("throwing.cc", cc="g++", flags=flags, libs="")
    with lib.Victim(directory / "program") as victim:
        assert [victim.ask() for _ in range(2)] == ["fine 10, 1 seen", "refusal: n is 2, 1 seen"]
        lib.livepatch("apply", "-p", victim.pid, directory / "program.kpatch")
        assert [victim.ask() for _ in range(2)] == ["patched refusal: n is 3, a multiple of three, 1 seen", "fine 40, 2 seen"]
        lib.revert(victim.pid)
        assert [victim.ask() for _ in range(2)] == ["fine 50, 3 seen", "refusal: n is 6, 3 seen"]


SHARED = """
{cc} {flags} -fPIC -fsemantic-interposition -S {source} -o before.s
{cc} {flags} -fPIC -fsemantic-interposition -DPATCHED -S {source} -o after.s
kpatch_gensrc -i before.s -i after.s -o merged.s
{cc} -shared -o libthing.so before.s
{cc} -shared -o merged.so merged.s -Wl,-q
kpatch_strip --strip merged.so patch
kpatch_strip --rel-fixup libthing.so patch
strip --strip-unneeded patch
kpatch_strip --undo-link libthing.so patch
kpatch_make -b $(readelf -n libthing.so | sed -n 's/.*Build ID: //p') -i lib patch -o libthing.kpatch
{cc} {flags} -DPROGRAM {source} -o program -L. -lthing -Wl,-rpath,'$ORIGIN' -pthread
"""


@pytest.mark.parametrize("cc", COMPILERS)
@pytest.mark.parametrize("flags", ["-O2", "-O0", "-O2 -ftls-model=initial-exec", "-O2 -fno-plt", "-O2 -fvisibility=hidden"])
def test_a_library_keeps_its_threads_variables_and_what_the_program_overrides(cc, flags):
    """thing.c: thread-local variables in the models of libraries, a variable that the program has a copy of, an overridden function."""
    directory = lib.scratch_directory()
    shell(directory, SHARED.format(cc=cc, flags=flags, source=EXAMPLES / "thing.c"))
    with lib.Victim(directory / "program") as victim:
        assert victim.ask() == "main 11 other 21 shared 5 hook program"
        lib.livepatch("apply", "-p", victim.pid, directory / "libthing.kpatch")
        assert victim.ask() == "main 111 other 121 shared 6 hook program, patched"
        lib.revert(victim.pid)
        assert victim.ask() == "main 112 other 122 shared 6 hook program"


def test_hooks_and_shadow_variables_travel_with_a_patch_made_by_hand():
    include = lib.TOP / "include"
    directory, _ = made("hooked.c", flags=f"-O2 -I{include}", libs="")
    with lib.Victim(directory / "program") as victim:
        assert victim.ask() == "limit 10, 0 extra"
        lib.livepatch("apply", "-p", victim.pid, directory / "program.kpatch")
        assert victim.ask() == "limit 20, 1 extra"
        assert victim.ask() == "limit 20, 2 extra"
        lib.revert(victim.pid)
        assert victim.ask() == "limit 10, 0 extra"
