"""The document on LibcarePlus, "Creating LibcarePlus Hot Patches": every command as it is printed."""
import re
import subprocess
from pathlib import Path

import lib
import pytest
from kpatch_lib import Loop, build_id, elf_of, example, header_text, relocations, sections, shell, terminal, tools

OLD, NEW = "Hello world!", "Hello world being patched!"

COMPILE = """
gcc -S foo.c
gcc -S bar.c
ls
"""

COMPARE = """
sed -i 's/bar.c/foo.c/' bar.s
kpatch_gensrc --os=rhel6 -i foo.s -i bar.s -o foobar.s --force-global
"""

LINK = """
gcc -o foo foo.s
gcc -o foobar foobar.s -Wl,-q
"""

STRIP = """
kpatch_strip --strip foobar foobar.stripped
kpatch_strip --rel-fixup foo foobar.stripped
strip --strip-unneeded foobar.stripped
kpatch_strip --undo-link foo foobar.stripped
"""

MAKE = """
str=$(readelf -n foo | grep 'Build ID')
substr=${str##* }
kpatch_make -b $substr -i 0001 foobar.stripped -o foo.kpatch
ls
"""

FIXUPS = "Fixing up relocation printf@@GLIBC_2.2.5+fffffffffffffffc\nFixing up relocation print_hello+0\n"


@pytest.fixture(scope="module")
def by_hand():
    """The directory after steps 1 to 6, and what each step said."""
    directory = example("foo.c", "bar.c")
    steps = (COMPILE, COMPARE, LINK, STRIP, MAKE)
    return directory, {step: shell(directory, step) for step in steps}


def makefile_project():
    directory = example("foo.c", "bar.c", "makefile")
    diff = subprocess.run(["diff", "-up", "foo.c", "bar.c"], cwd=directory, capture_output=True, text=True)
    (directory / "foo.patch").write_text(diff.stdout)
    return directory


@pytest.fixture(scope="module")
def by_script():
    """The directory after libcare-patch-make was run on a terminal and told which file to patch; the screen."""
    directory = makefile_project()
    with terminal(directory, tools() / "libcare-patch-make", "--clean", "-i", "0001", "foo.patch",
                  answers=[("File to patch: ", "foo.c\n")]) as (finish, _):
        status, screen = finish()
    assert status == 0, screen
    return directory, screen


def test_each_step_by_hand_says_what_the_document_says(by_hand):
    _, said = by_hand
    assert said[COMPILE].endswith("bar.c\nbar.s\nfoo.c\nfoo.s\n")
    assert said[COMPARE] == ""
    assert said[LINK] == ""
    assert said[STRIP] == FIXUPS
    assert said[MAKE] == "bar.c\nbar.s\nfoo\nfoo.c\nfoo.kpatch\nfoo.s\nfoobar\nfoobar.s\nfoobar.stripped\n"


def test_the_merged_assembly_holds_the_original_unchanged(by_hand):
    directory, _ = by_hand
    merged = (directory / "foobar.s").read_text().splitlines()
    original = (directory / "foo.s").read_text().splitlines()
    assert [line for line in merged[:len(original) + 1] if line != "print_hello.Lfe:"] == original
    assert "print_hello.kpatch:" in merged and "print_hello.kpatch_end:" in merged
    assert "main.kpatch:" not in merged


def test_the_patch_made_by_hand_has_the_documented_form(by_hand):
    directory, _ = by_hand
    patch = directory / "foo.kpatch"
    assert header_text(patch, 8, 8) == "0001"
    assert header_text(patch, 24, 64) == "foo"
    assert header_text(patch, 88, 41) == build_id(directory / "foo")
    found = sections(elf_of(patch))
    assert found[".kpatch.text"] == ("PROGBITS", 0, "AX")
    assert found[".kpatch.info"] == ("PROGBITS", 0, "A")
    original = sections(directory / "foo")
    assert found[".text"] == ("NOBITS", original[".text"][1], "AX")


def test_its_references_go_to_the_original_and_to_the_library(by_hand):
    directory, _ = by_hand
    patch = elf_of(directory / "foo.kpatch")
    assert ("R_X86_64_PC32", "printf@GLIBC_2.2.5", -4) in [r[1:] for r in relocations(patch, ".kpatch.text")]
    assert [r[2] for r in relocations(patch, ".kpatch.info")][:2] == ["print_hello", "print_hello.kpatch"]


def test_the_patch_made_by_hand_changes_the_program(by_hand):
    directory, _ = by_hand
    with Loop(directory / "foo") as loop:
        loop.until(OLD)
        lib.livepatch("apply", "-p", loop.pid, directory / "foo.kpatch")
        assert set(loop.until(NEW)) <= {OLD}
        lib.revert(loop.pid)
        assert set(loop.until(OLD)) <= {NEW}


def test_the_script_says_what_the_document_says(by_script):
    directory, screen = by_script
    # The compiler's warning about sleep() is not in the document, and paths and times are this machine's.
    lines = [line for line in screen.splitlines() if not re.match(r"foo\.c: In function|foo\.c:14:|   14 \||      \|", line)]
    cc = tools() / "libcare-cc"
    assert [re.sub(r"(--- foo\.c|\+\+\+ bar\.c)\s.*", r"\1", line) for line in lines] == [
        "rm -f foo",
        "BUILDING ORIGINAL CODE",
        f"{cc} -o foo foo.c",
        f"INSTALLING ORIGINAL OBJECTS INTO {directory}/lpmake",
        "mkdir $DESTDIR || :",
        "cp foo $DESTDIR",
        "applying foo.patch...",
        "can't find file to patch at input line 3",
        "Perhaps you used the wrong -p or --strip option?",
        "The text leading up to this was:",
        "--------------------------",
        "|--- foo.c",
        "|+++ bar.c",
        "--------------------------",
        "File to patch: foo.c",
        "patching file foo.c",
        "BUILDING PATCHED CODE",
        f"{cc} -o foo foo.c",
        f"INSTALLING PATCHED OBJECTS INTO {directory}/.lpmaketmp/patched",
        "mkdir $DESTDIR || :",
        "cp foo $DESTDIR",
        "MAKING PATCHES",
        *FIXUPS.splitlines(),
        f"patch for {directory}/lpmake/foo is in {directory}/patchroot/{build_id(directory / 'lpmake' / 'foo')}.kpatch",
    ]


def test_the_source_is_as_it_was_after_the_script(by_script):
    directory, _ = by_script
    assert (directory / "foo.c").read_bytes() == (Path(__file__).parent / "kpatch" / "foo.c").read_bytes()
    assert not list(directory.glob("*.lpmakeorig")) and not list(directory.glob("*.rej"))


def test_the_scripts_patch_changes_the_program_it_installed(by_script):
    directory, _ = by_script
    program = directory / "lpmake" / "foo"
    with Loop(program) as loop:
        loop.until(OLD)
        lib.livepatch("apply", "-p", loop.pid, directory / "patchroot" / f"{build_id(program)}.kpatch")
        assert set(loop.until(NEW)) <= {OLD}


@pytest.mark.parametrize("flags", ["-O2", "-Os", "-O2 -fno-pie -no-pie", "-O2 -fcf-protection", "-O1 -fPIC -g"])
def test_the_steps_by_hand_work_with_other_options(flags):
    directory = example("foo.c", "bar.c")
    commands = COMPILE + COMPARE + LINK + STRIP + MAKE
    shell(directory, commands.replace("gcc ", f"gcc {flags} "))
    patch = elf_of(directory / "foo.kpatch")
    # Some have print_hello() inlined into main() as well.
    assert "print_hello" in [symbol for _, _, symbol, _ in relocations(patch, ".kpatch.info")]
