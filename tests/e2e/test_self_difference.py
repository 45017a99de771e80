"""Real packages against themselves: a diff that moves every line of every file, and changes nothing else, makes no patch."""
import difflib
import functools
import json
import os
import re
import subprocess
from pathlib import Path

import lib
import pytest

TOP = Path(__file__).resolve().parents[2]
SOURCES = {".c", ".h", ".cc", ".cpp", ".inl"}
CXX = {"gcc": "g++", "clang": "clang++"}

# What compiles every unit of a Debian source package, with a compiler and flags.
COMMANDS = {
    # C: a position-independent program, and a shared library
    "bzip2": "make -s -j2 CC={cc} CFLAGS='{flags} -D_FILE_OFFSET_BITS=64' LDFLAGS='{link}' bzip2 libbz2.a",
    # C++: a shared library
    "libjsoncpp": "printf '%s\\n' reader value writer |"
                  " xargs -P2 -I@ {cxx} {flags} -fPIC -Iinclude -c src/lib_json/json_@.cpp -o @.o &&"
                  " {cxx} {link} -shared -o libjsoncpp.so reader.o value.o writer.o",
    # C, with a static library inside two programs
    "lua5.4": "make -s -j2 -C src linux CC={cc} MYCFLAGS='{flags}' MYLDFLAGS='{link}'",
    "zlib": "CC={cc} CFLAGS='{flags}' ./configure && make -s -j2 libz.a libz.so.1.2.13 minigzip",
    "redis": "make -s -j2 CC={cc} MALLOC=libc",
}

# Debian's patches have it built by $(LIBTOOL), and where that is nothing, `--mode=compile` is a command whose failure make ignores.
AS_RELEASED = {"lua5.4"}

# Lines that are changed, and the functions that are then others; a function that others have taken in shows as these.
FIXES = {
    "bzip2": [
        ("huffman.c", "((limit[i-1] + 1) << 1) - base[i]", "((limit[i-1] + 2) << 1) - base[i]", {"BZ2_hbCreateDecodeTables"}),
        ("compress.c", "s->unseqToSeq[i] = s->nInUse;", "s->unseqToSeq[i] = s->nInUse ^ 1;",
         {"makeMaps_e", "generateMTFValues", "BZ2_compressBlock"}),
    ],
    "libjsoncpp": [
        ("src/lib_json/json_value.cpp", "return size() == 0U;", "return size() <= 1U;", {"_ZNK4Json5Value5emptyEv"}),
    ],
}

VARIANTS = {
    "no optimisation": ("-O0 -g", ""),
    "size": ("-Os", ""),
    "O3": ("-O3", ""),
    "sections": ("-O2 -ffunction-sections -fdata-sections", "-Wl,--gc-sections"),
    "branch protection": ("-O2 -fcf-protection=full", ""),
}


def source(package):
    """The package's tree; fetched once for all runs.  That it cannot be had is a failure."""
    place = TOP / "build" / "sources" / package
    fetch = subprocess.run([TOP / "scripts" / "deb-src", place, package], capture_output=True, text=True, timeout=300)
    assert not fetch.returncode, f"scripts/deb-src {package}: {fetch.stderr}"
    tree = lib.scratch_directory() / package
    patches = ["--skip-patches"] if package in AS_RELEASED else []
    subprocess.run(["dpkg-source", "--no-check", *patches, "-x", fetch.stdout.split()[-1], tree], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return tree


@pytest.fixture(scope="module")
def sources():
    """Trees of packages by name, each unpacked once."""
    return functools.cache(source)


@pytest.fixture(scope="module")
def cache():
    return lib.scratch_directory() / "cache"


def diff_of(file, before, after):
    """Of the text of one file, byte for byte."""
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), f"a/{file}", f"b/{file}", n=1)
    return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)


def moved(text):
    """Two hundred lines more above, and wider indentation except in what continues a line, which may be a string."""
    lines = text.splitlines(True)
    for i, line in enumerate(lines):
        if line[:1] in " \t" and line.strip() and not (i and lines[i - 1].rstrip().endswith("\\")):
            lines[i] = "  " + line
    return "/* moved */\n" * 200 + "".join(lines)


def everything_moved(tree):
    diff = ""
    for path in sorted(tree.rglob("*")):
        parts = path.relative_to(tree).parts
        if path.suffix not in SOURCES or not path.is_file() or parts[0] in ("debian", ".pc", "test", "tests"):
            continue
        text = path.read_bytes().decode("latin-1")
        if "\r" not in text:
            diff += diff_of("/".join(parts), text, moved(text))
    return diff


def build(tree, cache, command, diff):
    """livepatch build --json of this diff: the answer, how many units were compared, and whether there is a file."""
    top = lib.scratch_directory()
    (top / "fix.patch").write_bytes(diff.encode("latin-1"))
    run = subprocess.run([lib.tool_path(), "build", "-C", tree, "--cache", cache, "--build", command, "-o", top / "out.kpatch",
                          "--json", top / "fix.patch"], env={**os.environ, "LC_ALL": "C.UTF-8"}, capture_output=True, text=True,
                         stdin=subprocess.DEVNULL, timeout=1500)
    assert run.returncode == lib.DONE, f"{command}: {run.stdout} {run.stderr}"
    units = re.search(r"building the original: (\d+) units.*building what the diff changes: (\d+) units", run.stderr, re.DOTALL)
    return json.loads(run.stdout), [int(n) for n in units.groups()], (top / "out.kpatch").exists()


def command_for(package, cc, flags="-O2 -g", link=""):
    return COMMANDS[package].format(cc=cc, cxx=CXX[cc], flags=flags, link=link)


def expect_no_difference(tree, cache, command):
    answer, (units, compiled_again), made = build(tree, cache, command, everything_moved(tree))
    assert compiled_again == units > 2, f"{compiled_again} of {units} units were compiled with the diff: the rest was not tested"
    assert answer["patches"] == [], json.dumps(answer["patches"], indent=1)
    assert not made


@pytest.mark.parametrize("cc", CXX)
@pytest.mark.parametrize("package", FIXES)
def test_a_package_whose_lines_all_move_is_the_same_and_one_line_changes_one_function(sources, cache, package, cc):
    tree, command = sources(package), command_for(package, cc)
    expect_no_difference(tree, cache, command)

    diff, expected = "", []
    for file, old, new, functions in FIXES[package]:
        text = (tree / file).read_bytes().decode("latin-1")
        assert text.count(old) == 1
        diff += diff_of(file, text, text.replace(old, new))
        expected.append(functions)
    answer, _, made = build(tree, cache, command, diff)
    changes = [change for patch in answer["patches"] for change in patch["changes"]]
    assert made and {change["kind"] for change in changes} == {"function-changed"}
    names = {re.sub(r"\..*", "", change["name"]) for change in changes}
    for functions in expected:
        assert names & functions, f"none of {functions} is in the patch: {names}"
    assert names <= set().union(*expected)


@pytest.mark.sweep
@pytest.mark.parametrize("cc", CXX)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("package", FIXES)
def test_a_package_is_the_same_with_other_flags(sources, package, variant, cc, tmp_path):
    expect_no_difference(sources(package), tmp_path, command_for(package, cc, *VARIANTS[variant]))


@pytest.mark.sweep
@pytest.mark.parametrize("cc", CXX)
def test_programs_that_are_not_position_independent_are_the_same(sources, cc, tmp_path):
    expect_no_difference(sources("lua5.4"), tmp_path, command_for("lua5.4", cc, "-O2 -fno-pie", "-no-pie"))


@pytest.mark.sweep
@pytest.mark.parametrize("cc", CXX)
@pytest.mark.parametrize("package", ["lua5.4", "zlib", "redis"])
def test_larger_packages_are_the_same(sources, package, cc, tmp_path):
    tree = sources(package)
    answer, (_, compiled_again), made = build(tree, tmp_path, command_for(package, cc), everything_moved(tree))
    assert compiled_again > 10, "the diff made nothing be compiled: the test shows nothing"
    assert answer["patches"] == [] and not made, json.dumps(answer["patches"], indent=1)
