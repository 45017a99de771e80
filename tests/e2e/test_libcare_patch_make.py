"""libcare-patch-make on a program with a library, and when something goes wrong: the sources are as they were, whatever happens."""
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import lib
import pytest
from kpatch_lib import EXAMPLES, build_id, elf_of, environment, example, sections, shell, tools

PROJECT = EXAMPLES / "project"
ORIGINAL, PATCHED = "line {} says 3 ({})", "line {} tells 103, {} ({})"


def project():
    directory = lib.scratch_directory() / "project"
    shutil.copytree(PROJECT, directory)
    return directory


def make(directory, *args, expect=0, **env):
    return shell(directory, " ".join(["libcare-patch-make", *map(str, args)]), expect=expect, **env)


def patch_for(directory, name):
    return directory / "patchroot" / f"{build_id(directory / 'lpmake' / name)}.kpatch"


def sources(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix in (".c", ".h", ".patch", ".rej", ".orig")}


def untouched(directory, original=PROJECT):
    return sources(directory) == sources(original) and not list(directory.glob("*lpmake.lock*")) + list(
        directory.rglob("*.lpmakeorig"))


@pytest.fixture(scope="module", params=["objects", "assembly"])
def built(request):
    """By both ways of comparing."""
    directory = project()
    way = ["--assembly"] if request.param == "assembly" else []
    return directory, way, make(directory, *way, "-c", "-i", "fix-of-two", "-j", "2", "fix.patch")


def test_a_program_and_its_library_are_patched_together(built):
    directory, *_ = built
    with lib.Victim(directory / "lpmake" / "program") as victim:
        assert victim.ask() == ORIGINAL.format(11, 1)
        lib.livepatch("apply", "-p", victim.pid, patch_for(directory, "program"), patch_for(directory, "libcalc.so"))
        assert victim.ask() == PATCHED.format(12, "and added", 2)
        assert victim.ask() == PATCHED.format(13, "and added again", 3)
        lib.revert(victim.pid)
        assert victim.ask() == ORIGINAL.format(14, 4)


def test_what_is_installed_is_what_make_makes_without_us():
    """So that a patch fits what a distribution has built with the same commands."""
    directory = project()
    shell(directory, "make CC=gcc install DESTDIR=$PWD/plain && make clean")
    make(directory, "-i", "1", "fix.patch")
    for name in ("program", "libcalc.so"):
        assert build_id(directory / "lpmake" / name) == build_id(directory / "plain" / name)


def test_nothing_is_left_in_the_sources(built):
    directory, *_ = built
    assert untouched(directory)
    assert not (directory / "text_added.c").exists()


def test_each_patch_has_what_its_own_binary_needs(built):
    directory, *_ = built
    assert ".kpatch.data" in sections(elf_of(patch_for(directory, "program")))
    assert ".kpatch.data" not in sections(elf_of(patch_for(directory, "libcalc.so")))


def test_update_makes_the_patches_again_without_a_build(built):
    directory, way, _ = built
    patch_for(directory, "program").unlink()
    again = make(directory, *way, "--update", "-i", "other")
    assert "BUILDING" not in again and "MAKING PATCHES" in again
    assert b'"id":"other"' in patch_for(directory, "program").read_bytes()


def test_the_next_make_does_not_take_what_was_built_from_the_patch(built):
    directory, *_ = built
    shell(directory, "make CC=gcc")
    assert b"tells" not in (directory / "program").read_bytes()


def test_a_patch_that_does_not_apply_is_an_error_and_leaves_nothing():
    directory = project()
    (directory / "fix.patch").write_text((PROJECT / "fix.patch").read_text().replace("return a + b;", "return a - b;"))
    said = make(directory, "-i", "1", "fix.patch", expect=1)
    assert "fix.patch does not apply" in said
    (directory / "fix.patch").write_bytes((PROJECT / "fix.patch").read_bytes())
    assert untouched(directory)


def test_code_that_does_not_compile_is_an_error_and_leaves_nothing():
    directory = project()
    patch = (PROJECT / "fix.patch").read_text().replace("return a + b + 100;", "return a + b + nonsense;")
    (directory / "fix.patch").write_text(patch)
    said = make(directory, "-i", "1", "fix.patch", expect=1)
    assert "nonsense" in said and "make failed with status 2" in said
    shutil.copy(PROJECT / "fix.patch", directory)
    assert untouched(directory)


@pytest.mark.parametrize("way, text", [
    ([], "lines"),
    (["--assembly"], "Variable lines was removed or changed? Patch requires adoptation"),
])
def test_a_changed_initial_value_is_refused_by_name(way, text):
    directory = project()
    (directory / "state.patch").write_text("--- a/text.c\n+++ b/text.c\n@@ -5 +5 @@\n-static int lines = 10;\n+static int lines = 20;\n")
    said = make(directory, *way, "-i", "1", "state.patch", expect=1)
    assert text in said
    (directory / "state.patch").unlink()
    assert untouched(directory)


def test_a_makefile_that_names_its_compiler_itself_is_an_error_that_says_so():
    directory = project()
    makefile = directory / "Makefile"
    makefile.write_text(makefile.read_text().replace("$(CC)", "gcc"))
    said = make(directory, "-c", "-i", "1", "fix.patch", expect=1)
    assert "was not linked by $(CC)" in said and "the makefile must call its compiler $(CC)" in said
    assert sources(directory) == sources(PROJECT)


def test_an_object_that_lay_there_before_is_not_taken_for_a_new_one():
    """A patch would come of it that changes nothing."""
    directory = project()
    shell(directory, "make CC=gcc && rm program libtext.a libcalc.so")
    said = make(directory, "-i", "1", "fix.patch", expect=1)
    assert "what it was before is not known" in said and "--clean" in said
    assert untouched(directory)
    make(directory, "-c", "-i", "1", "fix.patch")


def test_what_was_being_made_when_a_run_was_killed_is_made_anew():
    """Object and binary are there and new; what is kept of them is not."""
    directory = project()
    make(directory, "-i", "1", "fix.patch")
    shell(directory, "touch *.c *.h && make CC=gcc")
    for name, made in (("main.original.o", "main.o"), ("program.original.link", "program")):
        (directory / f".kpatch_{name}.unfinished").write_text(str(directory / made))
        (directory / f".kpatch_{name}").unlink()
    make(directory, "-i", "1", "fix.patch")
    assert patch_for(directory, "program").exists()
    assert (directory / ".kpatch_main.original.o").exists() and not list(directory.glob(".kpatch_*.unfinished"))


def test_a_binary_without_a_build_id_is_named():
    directory = project()
    said = make(directory, "-i", "1", "fix.patch", expect=1, LDFLAGS="-Wl,--build-id=none")
    assert f"{directory}/lpmake/program has no build-id" in said


def test_a_build_id_can_be_given():
    directory = project()
    given = "0123456789abcdef0123456789abcdef01234567"
    make(directory, "-i", "1", "-b", given, "fix.patch")
    assert [path.name for path in (directory / "patchroot").glob("*.kpatch")] == [f"{given}.kpatch"]


def test_directories_are_where_the_environment_says():
    directory = project()
    elsewhere = lib.scratch_directory()
    make(directory, "-i", "1", "fix.patch", LPMAKE_ORIGINAL_DIR=f"{elsewhere}/a", LPMAKE_PATCHED_DIR=f"{elsewhere}/b",
         LPMAKE_PATCHROOT=f"{elsewhere}/c")
    assert (elsewhere / "c" / f"{build_id(elsewhere / 'a' / 'program')}.kpatch").exists()
    assert not (directory / "lpmake").exists() and not (directory / "patchroot").exists()


def test_a_makefile_of_our_own_comes_first():
    directory = project()
    (directory / "Makefile").rename(directory / "lpmakefile")
    (directory / "Makefile").write_text("all:\n\tfalse\n")
    make(directory, "-i", "1", "fix.patch")
    assert patch_for(directory, "program").exists()


@pytest.mark.parametrize("option", ["-d STAGE", "--destdir=STAGE"])
def test_the_makefile_may_call_the_place_to_install_to_otherwise(option):
    directory = project()
    makefile = directory / "Makefile"
    makefile.write_text(makefile.read_text().replace("$(DESTDIR)", "$(STAGE)"))
    make(directory, option, "-i", "1", "fix.patch")
    assert patch_for(directory, "program").exists()


@pytest.mark.parametrize("option", ["-s src", "--srcdir=src"])
def test_the_sources_may_stand_in_a_directory_of_their_own(option):
    directory = lib.scratch_directory() / "project"
    shutil.copytree(PROJECT, directory / "src")
    (directory / "src" / "fix.patch").rename(directory / "fix.patch")
    (directory / "Makefile").write_text("all install clean:\n\t$(MAKE) -C src $@\n")
    before = sources(directory / "src")
    make(directory, option, "-i", "1", "fix.patch")
    assert patch_for(directory, "program").exists()
    assert sources(directory / "src") == before


@pytest.mark.parametrize("args", [["fix.patch"], ["-i", "''", "fix.patch"], ["-i", "two\\ words", "fix.patch"]])
def test_an_id_is_needed_and_must_be_one(args):
    assert "Invalid patch-id!" in make(project(), *args, expect=1)


def test_a_makefile_with_spaces_where_tabs_belong_is_makes_to_complain_about():
    directory = example("foo.c", "bar.c", "makefile")
    (directory / "makefile").write_text((EXAMPLES / "makefile").read_text().replace("\t", "    "))
    shell(directory, "diff -up foo.c bar.c > foo.patch || :")
    said = make(directory, "-i", "0001", "foo.patch", expect=1)
    assert "missing separator" in said and "make failed with status 2" in said
    assert (directory / "foo.c").read_bytes() == (EXAMPLES / "foo.c").read_bytes()


# ---- interrupted where the sources are changed

HOOK = """
[ "$KPATCH_STAGE" = patched ] || exit 0
echo > reached
exec cat hold
"""


class Held:
    """libcare-patch-make, stopped by the makefile while the patched code is being built."""

    def __init__(self, directory):
        (directory / "hook.sh").write_text(HOOK)
        os.mkfifo(directory / "hold")
        self.process = subprocess.Popen([tools() / "libcare-patch-make", "-i", "1", "fix.patch"], cwd=directory,
                                        env=environment(BUILD_HOOK="sh hook.sh"), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0)
        lib.wait_for((directory / "reached").exists, "the build of the patched code")
        assert b"tells" in (directory / "text.c").read_bytes()

    def end(self, signum, everybody):
        makes = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        os.kill(self.process.pid, signum)
        for make in makes if everybody else []:
            with suppress(ProcessLookupError):
                os.killpg(int(make), signum)
        output, _ = self.process.communicate(timeout=lib.PATIENCE)
        return self.process.returncode, output


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("everybody", [True, False])
def test_a_signal_puts_the_sources_back(signum, everybody):
    directory = project()
    status, said = Held(directory).end(signum, everybody)
    assert status == 128 + signum
    assert "interrupted by signal" in said
    assert untouched(directory)


def test_after_a_kill_the_next_run_puts_the_sources_back_first():
    directory = project()
    (directory / "empty.h").write_text("")
    Held(directory).end(signal.SIGKILL, everybody=True)
    assert (directory / "text_added.c").exists()
    said = make(directory, "-i", "1", "fix.patch")
    assert "an earlier run was killed: 4 source files put back" in said
    assert patch_for(directory, "program").exists()
    (directory / "empty.h").unlink()
    assert untouched(directory)


def test_two_runs_in_one_tree_do_not_mix():
    directory = project()
    held = Held(directory)
    assert "another libcare-patch-make is at work" in make(directory, "-i", "1", "fix.patch", expect=1)
    held.end(signal.SIGTERM, everybody=True)
    assert untouched(directory)


def test_what_was_made_of_a_patched_source_is_older_than_the_source_that_is_put_back():
    """Also when that happens at once, for make takes for made what is as old as its source."""
    directory = lib.scratch_directory()
    (directory / "text").write_text("original\n")
    (directory / "Makefile").write_text("out: text\n\tcp text out\n\t! grep -q patched text\ninstall: out\n")
    (directory / "fix.patch").write_text("--- a/text\n+++ b/text\n@@ -1 +1 @@\n-original\n+patched\n")
    for _ in range(5):
        make(directory, "-i", "1", "fix.patch", expect=1)
        assert (directory / "text").read_text() == "original\n" and (directory / "out").read_text() == "patched\n"
        assert (directory / "text").stat().st_mtime_ns > (directory / "out").stat().st_mtime_ns
