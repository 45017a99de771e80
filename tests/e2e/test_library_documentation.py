"""docs/library.md, man/livepatch.h.3 and the README's section: what they print is compiled and run, and nothing is left out."""
import os
import re
import shlex
import shutil
import subprocess

import pytest

import lib
import library
from library import run, snippet_program

PAGE = "docs/library.md"
SNIPPETS = library.snippets(PAGE)
MAN = lib.TOP / "man" / "livepatch.h.3"
HEADER = lib.TOP / "include" / "livepatch.h"

both_compilers = pytest.mark.parametrize("compiler", library.compilers())


def public_functions():
    names = set(re.findall(r"^\w[^;#(]*?\b(\w+)\([^;]*;", HEADER.read_text(), re.MULTILINE))
    assert len(names) > 40
    return names


# ---- docs/library.md

@both_compilers
@pytest.mark.parametrize("name", ["sequence", "kinds", "transaction", "hook", "hook_transaction", "hookable", "reload"])
def test_a_snippet_of_the_page_does_what_the_page_says(tmp_path, name, compiler):
    run(snippet_program(tmp_path, compiler, SNIPPETS[name]), cwd=tmp_path)


@both_compilers
def test_an_error_is_printed_with_its_sentence_and_its_name(tmp_path, compiler):
    said = run(snippet_program(tmp_path, compiler, SNIPPETS["errors"])).stderr
    assert "0x4001002" in said and said.endswith(" (misaligned)\n")


@both_compilers
def test_a_mistake_in_a_file_is_printed_with_its_place(tmp_path, compiler):
    program = snippet_program(tmp_path, compiler, SNIPPETS["files"])
    (tmp_path / "patches.json").write_text('[\n  {"type": "NOP", "addr": "0x4001000", "desc": "No check"},\n'
                                           '  {"type": "NOP", "address": "0x4001004"}\n]\n')
    assert re.match(r"patches\.json:3:\d+: ", run(program, "mistaken", cwd=tmp_path).stderr)
    assert not re.search("NOP", (tmp_path / "now.json").read_text())


@both_compilers
def test_what_is_loaded_is_saved(tmp_path, compiler):
    program = snippet_program(tmp_path, compiler, SNIPPETS["files"])
    (tmp_path / "patches.json").write_text('[{"type": "NOP", "addr": "0x4001000", "desc": "No check"}]')
    assert run(program, cwd=tmp_path).stderr == ""
    shutil.move(tmp_path / "now.json", tmp_path / "patches.json")
    assert run(program, cwd=tmp_path).stderr == ""
    assert "No check" in (tmp_path / "now.json").read_text()


@both_compilers
def test_patches_are_inspected_by_rising_address(tmp_path, compiler):
    lines = run(snippet_program(tmp_path, compiler, SNIPPETS["inspect"])).stdout.splitlines()
    assert lines == ["0x4001000 first", "0x4001004 second", "2 patches, generation 2"]


def test_another_process_is_patched_by_a_script(tmp_path):
    program = snippet_program(tmp_path, library.compilers()[0], SNIPPETS["process"])
    shutil.copy(lib.shared_object("e2e_patch.c", name="fix.so"), tmp_path)
    (tmp_path / "fix.patch").write_text(SNIPPETS["script"].text)
    with lib.Victim(lib.compiled("e2e_target.c")) as victim:
        before = lib.behaviour(victim)
        assert "original J" in before
        run(program, victim.pid, cwd=tmp_path)
        assert "patched J" in lib.behaviour(victim)
        assert not lib.traced(victim.pid)
        lib.revert(victim.pid)
        assert lib.behaviour(victim) == before


@pytest.mark.parametrize("name, count", [("text", 2), ("json", 5)])
def test_the_files_printed_load(tmp_path, name, count):
    loader = library.compiled(tmp_path, library.PROGRAMS / "load.c", compiler=library.compilers()[0])
    (tmp_path / "file").write_text(SNIPPETS[name].text)
    assert run(loader, tmp_path / "file").stdout.startswith(f"{count} loaded\n")


def test_every_program_on_the_page_is_a_snippet_with_a_test():
    text = (lib.TOP / PAGE).read_text()
    assert len(re.findall(r"^```c$", text, re.MULTILINE)) == sum(s.language == "c" for s in SNIPPETS.values())
    tests = open(__file__).read()
    assert [name for name in SNIPPETS if f'"{name}"' not in tests] == []


def test_the_page_names_every_function_of_the_header_or_sends_to_the_man_page():
    page = (lib.TOP / PAGE).read_text()
    left_to_the_man_page = {"livepatch_set_flags", "livepatch_get_flags", "livepatch_set_system", "livepatch_version",
                            "is_nop_instruction"}
    assert {name for name in public_functions() if name not in page} <= left_to_the_man_page


# ---- the man page

def man_text(section):
    """What a section says, without its fonts."""
    source = MAN.read_text().split(f".SH {section}\n", 1)[1].split("\n.SH ", 1)[0]
    lines = []
    for line in source.splitlines():
        if line.startswith((".B ", ".BI ", ".BR ")):
            words = shlex.split(line)[1:]
            lines.append("".join(words) if not line.startswith(".B ") else line[3:])
        elif not line.startswith("."):
            lines.append(line)
    return "\n".join(lines).replace("\\-", "-").replace("\\e", "\\") + "\n"


@both_compilers
def test_the_synopsis_declares_what_the_header_declares(tmp_path, compiler):
    (tmp_path / "synopsis.c").write_text(man_text("SYNOPSIS") + "int main(void) { return 0; }\n")
    run(library.compiled(tmp_path, tmp_path / "synopsis.c", compiler=compiler))


def test_the_synopsis_and_the_text_name_every_function():
    synopsis = man_text("SYNOPSIS")
    assert [name for name in public_functions() if f"{name}(" not in synopsis.replace("*", " ").replace(" (", "(")] == []


@both_compilers
def test_the_example_of_the_man_page_runs(tmp_path, compiler):
    (tmp_path / "example.c").write_text(man_text("EXAMPLE"))
    program = library.compiled(tmp_path, tmp_path / "example.c", compiler=compiler)
    assert run(program, env={**os.environ, "HOME": "/root"}).stdout == "somebody asks for HOME\n"


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_groff_has_nothing_to_say_about_the_man_page():
    answer = subprocess.run(["groff", "-man", "-ww", "-z", "-K", "utf8", MAN], capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (0, "")


# ---- the README

def test_the_readmes_program_works_when_it_is_pasted(tmp_path):
    """In a tree of which only the build directory and the header are taken from here."""
    section = (lib.TOP / "README.md").read_text().split("\n## In a program\n", 1)[1].split("\n## ", 1)[0]
    pasted = re.search(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[1]
    (tmp_path / "build").mkdir()
    (tmp_path / "include").symlink_to(lib.TOP / "include")
    (tmp_path / "build" / "dbg").symlink_to(library.build_directory())
    if library.sanitizers():  # the reader has none, and his compiler needs no telling
        (tmp_path / "cc").write_text(f'#!/bin/sh\nexec /usr/bin/cc {" ".join(library.sanitizers())} "$@"\n')
        (tmp_path / "cc").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    answer = subprocess.run(["bash", "-e"], input=pasted, cwd=tmp_path / "build", capture_output=True, text=True,
                            env=environment)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "somebody asks for HOME\n", "")
