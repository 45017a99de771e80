"""livepatch build: the many ways in which compilers and linkers are called."""
import json
import os
import shutil
import subprocess

import pytest

import lib
from buildlib import Project, build_id

FIX = ("work.c", '"original"', '"patched"')

MAKEFILES = {
    "a compiler named by its absolute path":
        "prog: main.c work.c\n\t/usr/bin/gcc -O2 -I. -c main.c\n\t/usr/bin/gcc -O2 -I. -c work.c\n\t/usr/bin/gcc -o prog main.o work.o\n",
    "a partial link":
        "prog: all.o\n\tcc -o $@ all.o\nall.o: main.o work.o\n\tld -r -o $@ main.o work.o\nCFLAGS = -O2 -I.\n",
    "a partial link through the driver":
        "prog: all.o\n\tcc -o $@ all.o\nall.o: main.o work.o\n\tcc -nostdlib -r -o $@ main.o work.o\nCFLAGS = -O2 -I.\n",
    "a thin archive":
        "prog: main.o libw.a\n\tcc -o $@ main.o libw.a\nlibw.a: work.o\n\trm -f $@; ar rcsT $@ work.o\nCFLAGS = -O2 -I.\n",
    "a response file":
        "prog: main.o work.o\n\techo 'main.o \"work.o\" -o prog' > args\n\tcc @args\nCFLAGS = -O2 -I.\n",
    "sources and dependencies in one command":
        "prog: main.c work.c\n\tgcc -O2 -I. -MMD -o prog main.c work.c\n",
    "several sources to several objects":
        "prog: main.c work.c\n\tgcc -O2 -I. -c main.c work.c\n\tgcc -o prog main.o work.o\n",
    "an object that is moved after it was made":
        "prog: main.o work.c\n\tmkdir -p objs\n\tgcc -O2 -I. -c work.c -o work.tmp\n\tmv work.tmp objs/w.o\n\tgcc -o prog main.o objs/w.o\nCFLAGS = -O2 -I.\n",
    "by way of assembly":
        "prog: main.o work.o\n\tcc -o $@ main.o work.o\nCFLAGS = -O2 -I.\nwork.o: work.c\n\tgcc $(CFLAGS) -S work.c -o work.s\n\tgcc -c work.s -o work.o\n",
    "sections for the linker to collect":
        "CFLAGS = -O2 -I. -ffunction-sections -fdata-sections\nprog: main.o work.o\n\tcc -Wl,--gc-sections -o $@ main.o work.o\n",
    "no position independence":
        "CFLAGS = -O2 -I. -fno-pie\nprog: main.o work.o\n\tcc -no-pie -o $@ main.o work.o\n",
    "gold":
        "CFLAGS = -O2 -I.\nprog: main.o work.o\n\tcc -fuse-ld=gold -o $@ main.o work.o\n",
    "lld":
        "CFLAGS = -O2 -I.\nprog: main.o work.o\n\tclang -fuse-ld=lld -Wl,--build-id -o $@ main.o work.o\n",
    "a map that the build wants for itself":
        "CFLAGS = -O2 -I.\nprog: main.o work.o\n\tcc -Wl,-Map=own.map -o $@ main.o work.o\n\ttest -s own.map\n",
    "a library between":
        "CFLAGS = -O2 -I. -fPIC\nprog: main.o libw.so\n\tcc -o $@ main.o -L. -lw -Wl,-rpath,'$$ORIGIN'\nlibw.so: work.o\n\tcc -shared -o $@ work.o\n",
    "a program that is stripped where it is made":
        "CFLAGS = -O2 -I.\nprog: main.o work.o\n\tcc -o $@ main.o work.o\n\tstrip prog\n",
    "link options in the environment of a script":
        "prog: main.c work.c\n\tprintf 'set -e\\nfor f in main work; do gcc -O2 -I. -c $$f.c -o $$f.o; done\\nexec gcc -o prog main.o work.o\\n' > b.sh\n"
        "\tsh b.sh\n",
    "a source whose name has blanks and signs":
        "CFLAGS = -O2 -I.\nprog: main.o work.c\n\tcp work.c 'my-work $$1.c'\n\tgcc $(CFLAGS) -c 'my-work $$1.c'\n\tgcc -o prog main.o 'my-work $$1.o'\n",
    "os optimisation": "CFLAGS = -Os -I.\nprog: main.o work.o\n\tcc -o $@ main.o work.o\n",
    "no optimisation": "CFLAGS = -O0 -g -I.\nprog: main.o work.o\n\tcc -o $@ main.o work.o\n",
    "branch protection": "CFLAGS = -O3 -fcf-protection -I.\nprog: main.o work.o\n\tcc -o $@ main.o work.o\n",
}


@pytest.fixture(scope="module")
def cache():
    return lib.scratch_directory() / "cache"


@pytest.mark.parametrize("shape", MAKEFILES)
def test_a_running_program_is_patched_that_was_built_with(shape, cache):
    project = Project("two-files", cache=cache).write(Makefile=MAKEFILES[shape]).build()
    with lib.Victim(project.path / "prog", cwd=project.path) as victim:
        assert victim.ask() == "original 1 115"
        patches = project.patch(FIX)["patches"]
        assert [p["build_id"] for p in patches] == [build_id(project.path / ("libw.so" if "libw.so" in MAKEFILES[shape] else "prog"))]
        lib.livepatch("apply", "-p", victim.pid, patches[0]["path"])
        assert victim.ask().startswith("patched 2 ")


def test_compile_commands_stand_in_for_a_compiler_that_was_not_seen(cache):
    project = Project("two-files", command="sh b.sh", cache=cache)
    (project.path / "b.sh").write_text("set -e\nfor f in main work; do /usr/bin/gcc -O2 -I. -c $f.c -o $f.o; done\n/usr/bin/gcc -o prog main.o work.o\n")
    (project.path / "compile_commands.json").write_text(json.dumps(
        [{"directory": str(project.path), "file": f"{f}.c", "command": f"/usr/bin/gcc -O2 -I. -c {f}.c -o {f}.o"} for f in ("main", "work")]))
    project.build()
    with lib.Victim(project.path / "prog", cwd=project.path) as victim:
        patches = project.patch(FIX)["patches"]
        lib.livepatch("apply", "-p", victim.pid, patches[0]["path"])
        assert victim.ask().startswith("patched ")


def test_a_compiler_may_be_a_script_that_calls_another_one(tmp_path, cache):
    script = tmp_path / "some-gcc"
    script.write_text('#!/bin/sh\nexec gcc "$@" -fno-ident\n')
    script.chmod(0o755)
    project = Project("two-files", command="make CC=some-gcc", cache=cache, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}).build()
    with lib.Victim(project.path / "prog", cwd=project.path) as victim:
        lib.livepatch("apply", "-p", victim.pid, project.patch(FIX)["patches"][0]["path"])
        assert victim.ask().startswith("patched 1 ")


@pytest.mark.parametrize("link", ["", "-static"])
def test_a_program_of_another_c_library_is_patched(link, cache):
    project = Project("two-files", command=f"make CC=musl-gcc LDFLAGS='{link} -Wl,--build-id'", cache=cache).build()
    program = (project.path / "prog").read_bytes()
    assert (b"/ld-musl-" in program) == (not link) and b"GNU C Library" not in program
    with lib.Victim(project.path / "prog", cwd=project.path) as victim:
        lib.livepatch("apply", "-p", victim.pid, project.patch(FIX)["patches"][0]["path"])
        assert victim.ask().startswith("patched 1 ")
        lib.revert(victim.pid)
        assert victim.ask().startswith("original 2 ")


@pytest.mark.skipif(not shutil.which("meson"), reason="meson builds livepatch itself, but need not be on a machine that tests an installed one")
def test_a_meson_project_is_built_as_guessed(cache):
    project = Project("two-files", command=None, cache=cache)
    (project.path / "Makefile").unlink()
    (project.path / "meson.build").write_text("project('p', 'c')\nexecutable('prog', 'main.c', 'work.c')\n")
    subprocess.run("meson setup livepatch-build && ninja -C livepatch-build", shell=True, cwd=project.path, check=True, stdout=subprocess.DEVNULL)
    with lib.Victim(project.path / "livepatch-build/prog", cwd=project.path) as victim:
        patches = project.patch(FIX)["patches"]
        lib.livepatch("apply", "-p", victim.pid, patches[0]["path"])
        assert victim.ask().startswith("patched ")


def test_objects_that_lie_in_the_tree_are_built_anew_and_not_trusted(cache):
    """The user's tree was built with other flags than it is built with now."""
    project = Project("two-files", command="make CFLAGS='-O0 -I.'", cache=cache).build()
    project.command = "make CFLAGS='-O2 -I.'"
    answer = project.patch(FIX)
    clean = Project("two-files", command=project.command, cache=cache)
    (clean.path.parent / "x").mkdir()
    assert answer["patches"][0]["build_id"] == clean.patch(FIX)["patches"][0]["build_id"]


def test_an_object_that_cannot_be_seen_being_made_is_refused_not_overlooked(cache):
    project = Project("two-files", command="cat main.c work.c | gcc -O2 -I. -x c - -o prog", cache=cache)
    for file in ("main.c", "work.c"):
        path = project.path / file
        path.write_text(path.read_text().replace("state", f"{file[0]}_state").replace("step", f"{file[0]}_step"))
    error = project.livepatch("--json", project.diff(FIX), expect=lib.REFUSED).error
    assert error["code"] == "nothing-recorded"
