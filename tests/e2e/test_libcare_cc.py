"""libcare-cc: everything that the environment can tell it."""
import re

import lib
import pytest
from kpatch_lib import sections, shell

SOURCE = """\
#include <stdio.h>
#ifdef WRONG
#error WRONG is defined
#endif
#ifdef PATCHED
#define WORD "patched"
#else
#define WORD "original"
#endif
const char *word(void)
{
	return WORD;
}
int main(void)
{
	puts(word());
	return 0;
}
"""


@pytest.fixture
def directory():
    directory = lib.scratch_directory()
    (directory / "word.c").write_text(SOURCE)
    return directory


def names(directory):
    return {path.name for path in directory.iterdir()}


def script(path, text):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


# ---- stages

def test_without_a_stage_it_does_nothing(directory):
    assert shell(directory, "libcare-cc -c word.c", expect=129) == "KPCC: KPATCH_STAGE is undefined\n"
    assert "Wrong KPATCH_STAGE: 'other'" in shell(directory, "libcare-cc -c word.c", expect=129, KPATCH_STAGE="other")
    assert names(directory) == {"word.c"}


def test_the_original_stage_keeps_the_assembly_and_compiles(directory):
    shell(directory, "libcare-cc -g -O2 -c word.c", KPATCH_STAGE="original")
    assert names(directory) == {"word.c", "word.o", ".kpatch_word.original.s"}
    assert not [name for name in sections(directory / "word.o") if name.startswith((".debug", ".kpatch"))]
    assert shell(directory, "gcc -o word word.o; ./word") == "original\n"


def test_the_patched_stage_merges_both(directory):
    shell(directory, "libcare-cc -O2 -c word.c", KPATCH_STAGE="original")
    shell(directory, "libcare-cc -O2 -DPATCHED -c word.c", KPATCH_STAGE="patched")
    assert names(directory) >= {".kpatch_word.original.s", ".kpatch_word.patched.s", ".kpatch_word.s"}
    assert {".kpatch.text", ".kpatch.info", ".kpatch.strtab"} <= set(sections(directory / "word.o"))
    assert shell(directory, "gcc -o word word.o; ./word") == "original\n", "what is new waits to be applied"


def test_a_patched_stage_without_an_original_says_what_is_missing(directory):
    said = shell(directory, "libcare-cc -O2 -c word.c", expect=129, KPATCH_STAGE="patched")
    assert re.search(r"KPCC: \.kpatch_word\.original\.s is missing: word\.c was not compiled in stage original", said)


@pytest.mark.parametrize("stage, source", [("configure", "word.c"), ("original", "conftest.c")])
def test_what_configure_compiles_is_the_real_compilers(directory, stage, source):
    (directory / "conftest.c").write_text(SOURCE)
    shell(directory, f"libcare-cc -O2 -o program {source}", KPATCH_STAGE=stage)
    assert not [name for name in names(directory) if name.startswith(".kpatch")]
    assert shell(directory, "./program") == "original\n"


# ---- compilers

def test_the_real_compilers_are_named_by_the_environment(directory):
    for name, real in [("mycc", "gcc"), ("mycxx", "g++")]:
        script(directory / name, f'echo {name} >> calls\nexec {real} "$@"\n')
    environment = {"KPATCH_STAGE": "original", "KPCCREAL": f"{directory}/mycc", "KPCXXREAL": f"{directory}/mycxx"}
    shell(directory, "libcare-cc -c word.c", **environment)
    assert set((directory / "calls").read_text().split()) == {"mycc"}
    (directory / "calls").unlink()
    (directory / "word.cc").write_text(SOURCE)
    shell(directory, "libcare-c++ -c word.cc", **environment)
    assert set((directory / "calls").read_text().split()) == {"mycxx"}


@pytest.mark.parametrize("command", ["-c word.c -o word.o", "-o word word.o"])
def test_what_a_killed_linker_or_assembler_has_left_is_not_taken_for_made(directory, command):
    """The driver fails, but removes nothing: make would not make it again."""
    half = script(directory / "half", 'while [ "$1" != -o ]; do shift; done; echo half > "$2"; exit 1\n')
    shell(directory, f"libcare-cc {command}", expect=1, KPATCH_STAGE="original", KPATCH_OBJECTS="1", KPCCREAL=str(half))
    assert names(directory) == {"half", "word.c"}


def test_kpatch_gensrc_is_looked_for_where_the_environment_says(directory):
    script(directory / "kpatch_gensrc", "echo called with $1; exit 3\n")
    said = shell(directory, "libcare-cc -c word.c", expect=3, KPATCH_STAGE="original", KPATCH_PATH=str(directory))
    assert said == "called with --dbg-filter\n"


# ---- words of commands

def test_words_are_removed_from_compilations(directory):
    assert "WRONG is defined" in shell(directory, "libcare-cc -DWRONG -c word.c", expect=1, KPATCH_STAGE="original")
    shell(directory, "libcare-cc -DWRONG -g -c word.c", KPATCH_STAGE="original", KPCC_REMOVE_ARGS="-g;-DWRONG")


def test_words_are_added_to_links(directory):
    for words, kept in [("", False), ("-Wl,-q;-Wl,-rpath,/there", True)]:
        shell(directory, "libcare-cc -c word.c && libcare-cc -o word word.o", KPATCH_STAGE="original", KPCC_APPEND_ARGS=words)
        assert (".rela.text" in sections(directory / "word")) == kept
        assert ("[/there]" in shell(directory, "readelf -d word")) == kept


def test_debug_information_stays_when_nothing_takes_it_away(directory):
    for options, stays in [({"KPCC_DBGFILTER_ARGS": ""}, True), ({}, False)]:
        shell(directory, "libcare-cc -g -c word.c", KPATCH_STAGE="original", KPCC_REMOVE_ARGS="", **options)
        assert ("DW_TAG_compile_unit" in shell(directory, "readelf --debug-dump=info word.o")) == stays


def test_the_merge_is_told_what_to_do(directory):
    """The change is declared to be none."""
    shell(directory, "libcare-cc -O2 -c word.c", KPATCH_STAGE="original")
    shell(directory, "libcare-cc -O2 -DPATCHED -c word.c", KPATCH_STAGE="patched",
          KPCC_PATCH_ARGS="--force-gotpcrel;--os=rhel6;--ignore-changes=word,main")
    assert ".kpatch.text" not in sections(directory / "word.o")


# ---- files

def test_assembly_is_kept_under_other_names_and_elsewhere(directory):
    (directory / "kept").mkdir()
    shell(directory, "libcare-cc -c word.c", KPATCH_STAGE="original", KPATCH_PREFIX="mine-", KPATCH_ASM_DIR="kept")
    assert names(directory) == {"word.c", "word.o", "kept"}
    assert names(directory / "kept") == {"mine-word.original.s"}


def test_assembler_sources_are_taken_apart_on_request(directory):
    (directory / "add.S").write_text("\t.text\n\t.globl add\n\t.type add, @function\nadd:\n\tret\n\t.size add, .-add\n"
                                     '\t.section .note.GNU-stack,"",@progbits\n')
    shell(directory, "libcare-cc -c add.S", KPATCH_STAGE="original")
    assert ".kpatch_add.original.s" not in names(directory)
    shell(directory, "libcare-cc -c add.S", KPATCH_STAGE="original", KPATCH_GENSRC_ASM="1")
    assert ".kpatch_add.original.s" in names(directory)


def test_commands_are_shown_on_request(directory):
    assert shell(directory, "libcare-cc -c word.c", KPATCH_STAGE="original", KPCC_DEBUG="0") == ""
    said = shell(directory, "libcare-cc -c word.c", KPATCH_STAGE="original", KPCC_DEBUG="1")
    assert '"-S" "word.c" "-o" ".kpatch_word.original.s"' in said and "kpatch_gensrc" in said


@pytest.mark.parametrize("name", ["some-words", "2nd", "a$b", "a b"])
def test_a_source_may_have_any_name(directory, name):
    """The document allows C identifiers only."""
    (directory / "word.c").rename(directory / f"{name}.c")
    quoted = f"'{name}.c'"
    shell(directory, f"libcare-cc -O2 -c {quoted}", KPATCH_STAGE="original")
    shell(directory, f"libcare-cc -O2 -DPATCHED -c {quoted}", KPATCH_STAGE="patched")
    assert ".kpatch.text" in sections(directory / f"{name}.o")
