"""What the tests of the C library share: the built library, the compilers, and the snippets that documents print.

A snippet is a fenced block behind a line

    <!-- snippet: NAME [run by PROGRAM] -->

PROGRAM is tests/snippets/PROGRAM.c, which includes the snippet, as it is printed, where SNIPPET stands.
"""
import functools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import lib

PROGRAMS = lib.TOP / "tests" / "snippets"
WARNINGS = ("-Wall", "-Wextra", "-Werror")
SNIPPET = re.compile(r"^<!-- snippet: (?P<name>\w+)(?: run by (?P<program>\w+))? -->\n"
                     r"```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


class Snippet(NamedTuple):
    name: str
    program: str  # None: not a program
    language: str
    text: str


@functools.cache
def snippets(path):
    """name -> Snippet, of a document."""
    found = {m["name"]: Snippet(**m.groupdict()) for m in SNIPPET.finditer((lib.TOP / path).read_text())}
    assert found, f"{path} has no snippets"
    return found


@functools.cache
def build_directory():
    return lib.build_directory()


@functools.cache
def library():
    """liblivepatch.so as it is built."""
    return next(build_directory().glob("src/**/liblivepatch.so"))


@functools.cache
def sanitizers():
    """A library that was built with sanitizers needs a program that is."""
    options = json.loads(subprocess.run(["meson", "introspect", "--buildoptions", str(build_directory())],
                                        capture_output=True, text=True, check=True).stdout)
    chosen = next(o["value"] for o in options if o["name"] == "b_sanitize")
    return () if chosen == "none" else (f"-fsanitize={chosen}",)


@functools.cache
def compilers():
    """Both, unless the library can only be linked by the one that built it."""
    if not sanitizers():
        return ("gcc", "clang")
    commands = json.loads((build_directory() / "compile_commands.json").read_text())
    return (next(c["command"].split()[0] for c in commands if c["file"].endswith(".c")),)


def compiled(directory, source, *flags, compiler="gcc", name=None):
    """A program that uses the library as it is built; what the compiler has to say is an error."""
    program = Path(directory) / (name or Path(source).stem)
    command = [compiler, "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", *WARNINGS, *sanitizers(),
               f"-I{lib.TOP / 'include'}", f"-I{lib.TOP / 'examples'}", *flags, str(source), "-o", str(program),
               f"-L{library().parent}", f"-Wl,-rpath,{library().parent}", "-llivepatch", "-pthread"]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return program


def run(program, *args, cwd=None, expect=0, env=None):
    answer = subprocess.run([str(program), *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=5 * lib.PATIENCE,
                            env=env)
    assert answer.returncode == expect, f"{program}: {answer.returncode}\n{answer.stdout}\n{answer.stderr}"
    return answer


def snippet_program(directory, compiler, snippet, *flags, **others):
    """The program around a snippet; `others` are snippets too, by the name of the macro that stands for them."""
    shutil.copy(PROGRAMS / "check.h", directory)
    for macro, part in {"SNIPPET": snippet, **others}.items():
        (Path(directory) / f"{part.name}.inc").write_text(part.text)
        flags += (f'-D{macro}="{part.name}.inc"',)
    return compiled(directory, PROGRAMS / f"{snippet.program}.c", f"-I{directory}", *flags, compiler=compiler,
                    name=f"{snippet.name}-{compiler}")
