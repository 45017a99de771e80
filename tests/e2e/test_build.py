"""livepatch build: from a diff of a source tree to a patched process."""
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

import lib
from buildlib import Project, build_id
from kpatch_lib import terminal

TWO_FILES_FIX = ("work.c", '"original"', '"patched"')


def running(project, program="prog"):
    return lib.Victim(project.path / program, cwd=project.path)


def only_patch(answer):
    assert answer["ok"] is True, answer
    assert len(answer["patches"]) == 1, answer["patches"]
    return answer["patches"][0]


def apply(victim, patch):
    lib.livepatch("apply", "-p", victim.pid, patch["path"])


def names(patch, kind):
    return {change["name"] for change in patch["changes"] if change["kind"] == kind}


@pytest.fixture(scope="module")
def two_files():
    """Built once; its original stays in the cache for all tests of this file."""
    return Project("two-files").build()


# ---- from diff to process

def test_a_fix_of_one_file_reaches_the_running_program_and_can_be_taken_back(two_files):
    with running(two_files) as victim:
        assert victim.ask() == "original 1 115"
        patch = only_patch(two_files.patch(TWO_FILES_FIX))
        assert names(patch, "function-changed") == {"work_name"}
        apply(victim, patch)
        assert victim.ask().startswith("patched 2 ")
        lib.revert(victim.pid)
        assert victim.ask().startswith("original 3 ")


def test_a_build_keeps_its_place_for_temporary_files_and_no_compilers_place_is_remembered():
    places = [lib.scratch_directory(), lib.scratch_directory()]
    project = Project("two-files", command="make && touch $TMPDIR/mine")
    for place, again in zip(places, (False, True)):
        project.env["TMPDIR"] = str(place)
        assert ("from the cache" in project.livepatch("-o", project.path.parent / "fix.kpatch", project.diff(TWO_FILES_FIX)).err) == again
        assert [path.name for path in place.iterdir()] == ["mine"]
        records = [path.read_text() for path in project.cache.rglob("records/*.rec*")]
        assert records and not any(str(place) in text for text in records)
        shutil.rmtree(place)


def test_the_rebuilt_original_is_the_users_binary_to_the_byte(two_files):
    patch = only_patch(two_files.patch(TWO_FILES_FIX))
    assert patch["build_id"] == build_id(two_files.path / "prog")


def test_a_changed_function_goes_on_with_the_state_of_the_running_one(two_files):
    with running(two_files) as victim:
        victim.ask(), victim.ask()
        apply(victim, only_patch(two_files.patch(("work.c", "return p + state;", "return p + state + 7000;"))))
        assert victim.ask() == "original 3 7037"  # previous is 2, state is work.c's 5


def test_a_header_that_is_inlined_changes_its_callers(two_files):
    with running(two_files) as victim:
        patch = only_patch(two_files.patch(("work.h", "n * 10", "n * 1000")))
        assert "work" in names(patch, "function-changed")
        apply(victim, patch)
        assert victim.ask() == "original 1 1105"


def test_a_new_function_and_a_new_variable_come_along(two_files):
    with running(two_files) as victim:
        patch = only_patch(two_files.patch(
            ("work.c", "int work(int n)\n", "static int extra;\nint more(int n);\n__attribute__((noinline)) int more(int n)\n"
             "{\n\textra += 10000;\n\treturn n + extra;\n}\n\nint work(int n)\n"),
            ("work.c", "return step(n) + work_scale(n);", "return more(step(n) + work_scale(n));")))
        assert "more" in names(patch, "function-new")
        victim.ask()
        apply(victim, patch)
        assert victim.ask() == "original 2 10026"
        assert victim.ask() == "original 3 20037"


def test_a_new_file_is_compiled_and_linked_into_the_patch(two_files):
    with running(two_files) as victim:
        patch = only_patch(two_files.patch(
            ("extra.c", None, "int extra(int n)\n{\n\treturn n + 500000;\n}\n"),
            ("work.c", "return step(n) + work_scale(n);", "extern int extra(int);\n\treturn extra(step(n));"),
            ("Makefile", "prog: main.o work.o\n", "prog: main.o work.o extra.o\n"),
            ("Makefile", "$@ main.o work.o\n", "$@ main.o work.o extra.o\n")))
        assert "extra" in names(patch, "function-new")
        apply(victim, patch)
        assert victim.ask() == "original 1 500105"


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_data_of_a_library_that_the_original_does_not_use_is_reached(compiler):
    project = Project("two-files", command=f"make CC={compiler}").build()
    with running(project) as victim:
        apply(victim, only_patch(project.patch(
            ("work.c", "#include \"work.h\"\n", "#include \"work.h\"\nextern char *program_invocation_short_name;\n"),
            ("work.c", '"original"', "program_invocation_short_name"))))
        assert victim.ask() == "prog 1 115"


def test_a_member_of_a_static_library_is_found_by_its_bytes_when_two_have_one_name(livepatch):
    project = Project("static-library").build()
    with running(project) as victim:
        assert victim.ask() == "2 1001"
        apply(victim, only_patch(project.patch(("other/work.c", "total += n;", "total += n * 100;"))))
        assert victim.ask() == "3 1101"


def test_a_shared_library_is_patched_in_the_program_that_uses_it():
    project = Project("shared-library").build()
    with running(project) as victim:
        assert victim.ask() == "hello 1"
        patch = only_patch(project.patch(("greet.c", "greetings++;\n\treturn \"hello\"", "greetings += 100;\n\treturn \"good day\"")))
        assert patch["binary"] == "libgreet.so"
        apply(victim, patch)
        assert victim.ask() == "good day 101"


def test_exceptions_are_thrown_through_patched_cplusplus():
    project = Project("cplusplus").build()
    with running(project) as victim:
        assert victim.ask() == "area 2"
        apply(victim, only_patch(project.patch(("shapes.cc", "side > 3", "side > 2"), ("shapes.cc", "too large", "far too large"))))
        assert victim.ask() == "area 4"
        assert victim.ask() == "caught far too large"


def test_clang_and_lld_are_followed_as_well():
    project = Project("two-files", command="make LDFLAGS='-fuse-ld=lld -Wl,--build-id'", env={"CC": "clang"}).build()
    with running(project) as victim:
        before = victim.ask()
        assert before.startswith("original 1 ")
        patch = only_patch(project.patch(TWO_FILES_FIX))
        assert patch["build_id"] == build_id(project.path / "prog")
        apply(victim, patch)
        assert victim.ask().startswith("patched 2 ")


def test_assembly_is_patched():
    project = Project("assembly").build()
    with running(project) as victim:
        assert victim.ask() == "103 8"
        apply(victim, only_patch(project.patch(("add.S", "addl	bias(%rip), %eax", "addl	bias(%rip), %eax\n\taddl	$1000, %eax"))))
        assert victim.ask() == "1103 8"


def test_assembly_is_patched_that_as_made_by_its_own_name():
    project = Project("assembly")
    project.write(Makefile=(project.path / "Makefile").read_text() + "add.o: add.S\n\tas -o $@ add.S\n").build()
    with running(project) as victim:
        assert victim.ask() == "103 8"
        apply(victim, only_patch(project.patch(("add.S", "addl	bias(%rip), %eax", "addl	bias(%rip), %eax\n\taddl	$1000, %eax"))))
        assert victim.ask() == "1103 8"


def test_a_command_that_compiles_and_links_in_one_go_is_taken_apart():
    project = Project("one-command").build()
    with running(project) as victim:
        assert victim.ask() == "original 1 115"
        patch = only_patch(project.patch(TWO_FILES_FIX))
        assert patch["build_id"] == build_id(project.path / "prog")
        apply(victim, patch)
        assert victim.ask().startswith("patched 2 ")


def test_what_cmake_writes_absolute_paths_into_is_built_all_the_same():
    project = Project("cmake", command=None)
    subprocess.run("cmake -S . -B out && make -C out", shell=True, cwd=project.path, check=True, stdout=subprocess.DEVNULL)
    with running(project, "out/prog") as victim:
        assert victim.ask() == "total 1"
        answer = project.patch(("lib/work.c", "total += n;", "total += n * 50;"))
        assert answer["guessed"] is True
        apply(victim, only_patch(answer))
        assert victim.ask() == "total 51"


def test_a_cmake_project_that_was_never_configured_is():
    project = Project("cmake", command=None)
    patch = only_patch(project.patch(("lib/work.c", "total += n;", "total += n * 50;")))
    assert patch["binary"] == "livepatch-build/prog"
    assert not (project.path / "livepatch-build").exists()


# ---- what is made, and what is not

def test_what_is_compiled_again_from_the_same_bytes_is_not_compared(two_files):
    project = Project("two-files", command="make -B", cache=two_files.cache)
    answer = project.patch(TWO_FILES_FIX)
    assert only_patch(answer)["units"] == 1, "make -B compiles both"


def test_other_flags_in_a_makefile_are_a_change(two_files):
    """make itself would not compile anything again for that."""
    text = (two_files.path / "work.c").read_text()
    project = Project("two-files", cache=two_files.cache)
    project.write(work_c=text.replace('"original"', 'NAME'), Makefile=(project.path / "Makefile").read_text().replace(
        "-Wall", "-Wall -DNAME='\"original\"'")).build()
    with running(project) as victim:
        patch = only_patch(project.patch(("Makefile", '"original"', '"patched"')))
        assert names(patch, "function-changed") == {"work_name"}
        apply(victim, patch)
        assert victim.ask().startswith("patched ")


def test_a_tree_whose_own_binary_is_another_build_is_told_of(two_files):
    project = Project("two-files", command="make CFLAGS='-O1 -I.'", cache=two_files.cache).build()
    project.command = "make CFLAGS='-O2 -I.'"
    result = project.livepatch("-o", project.path.parent / "z.kpatch", project.diff(TWO_FILES_FIX))
    assert "--target" in result.err and str(project.path / "prog") in result.err


def test_the_second_diff_finds_the_original_in_the_cache(two_files):
    two_files.patch(TWO_FILES_FIX)
    assert two_files.patch(("work.c", '"busy"', '"very busy"'))["cached"] is True


def test_another_compiler_flag_is_another_original(two_files):
    project = Project("two-files", cache=two_files.cache)
    two_files.patch(TWO_FILES_FIX)
    project.command = "make CFLAGS='-O1 -I.'"
    assert project.patch(TWO_FILES_FIX)["cached"] is False


def test_clean_builds_the_original_anew(two_files):
    two_files.patch(TWO_FILES_FIX)
    assert two_files.patch(TWO_FILES_FIX, args=["--clean"])["cached"] is False


def test_the_changed_tree_and_the_objects_are_kept_on_request(two_files):
    diff = two_files.diff(TWO_FILES_FIX)
    said = two_files.livepatch("--keep", "-o", two_files.path.parent / "x.kpatch", diff).out
    kept = Path(re.search(r"^kept: (.*)$", said, re.MULTILINE)[1])
    assert kept.is_relative_to(two_files.cache)
    changed = [path for path in kept.rglob("work.c") if '"patched"' in path.read_text()]
    assert changed and list(kept.rglob("*.o"))
    assert "kept:" not in two_files.livepatch("-o", two_files.path.parent / "x.kpatch", diff).out
    assert not any(path.exists() for path in changed)


def test_a_comment_makes_no_difference_and_no_file(two_files):
    answer = two_files.patch(("work.c", "main.c has one, too", "and so has main.c"), out="none.kpatch")
    assert answer["patches"] == []
    assert not (two_files.path.parent / "none.kpatch").exists()


def test_only_the_named_target_gets_a_patch():
    project = Project("shared-library").build()
    installed = project.path.parent / "installed"
    installed.mkdir()
    stripped = installed / "libgreet.so"
    shutil.copy(project.path / "libgreet.so", stripped)
    subprocess.run(["strip", stripped], check=True)
    patch = only_patch(project.patch(("greet.c", '"hello"', '"bye"'), args=["--target", stripped]))
    assert patch["target"] == str(stripped)
    assert project.patch(("greet.c", '"hello"', '"bye"'), args=["--target", project.path / "prog"])["patches"] == []


def test_several_binaries_get_a_file_each():
    project = Project("two-files")
    makefile = project.path / "Makefile"
    makefile.write_text("all: prog second\nsecond: main.o work.o\n\t$(CC) -o $@ work.o main.o\n" + makefile.read_text())
    (project.path.parent / "fixes").mkdir()
    answer = project.patch(TWO_FILES_FIX, out="fixes")
    assert sorted(os.path.basename(p["path"]) for p in answer["patches"]) == ["prog.kpatch", "second.kpatch"]


def test_the_tool_says_what_changed_and_why(two_files):
    out = two_files.livepatch("-o", two_files.path.parent / "x.kpatch", two_files.diff(TWO_FILES_FIX)).out
    assert "function-changed" in out and "work_name" in out and "build-id" in out


STAGES = ["reading the source tree", "building the original", "applying the diff to a copy", "building what the diff changes",
          "compiling affected units from both trees", "comparing objects"]


def test_each_stage_is_told_on_a_line_with_counts_and_time(two_files):
    said = two_files.livepatch("--clean", "-o", two_files.path.parent / "x.kpatch", two_files.diff(TWO_FILES_FIX)).err
    lines = re.findall(r"^livepatch: (.*?): (.*) \(\d+\.\d s\)$", said, re.MULTILINE)
    assert [stage for stage, _ in lines] == STAGES and len(said.splitlines()) == len(STAGES)
    assert dict(lines)["building the original"].startswith("2 units")
    assert dict(lines)["building what the diff changes"].startswith("1 unit")


def test_at_a_terminal_the_stage_is_told_while_it_lasts(two_files):
    out = two_files.path.parent / "x.kpatch"
    with terminal(two_files.path, lib.tool_path(), "build", "--clean", "--cache", two_files.cache, "-o", out,
                  two_files.diff(TWO_FILES_FIX)) as (finish, _):
        status, screen = finish()
    assert status == lib.DONE, screen
    assert [stage for stage in STAGES if f"{stage} ..." not in screen] == []


def test_a_series_of_diffs_is_applied_in_order(two_files):
    first = two_files.diff(TWO_FILES_FIX)
    second = two_files.path.parent / "second.patch"
    second.write_text(first.read_text().replace('"patched"', '"patched twice"').replace('"original"', '"patched"'))
    answer = two_files.livepatch("--json", "-o", two_files.path.parent / "y.kpatch", first, second).json
    with running(two_files) as victim:
        apply(victim, only_patch(answer))
        assert victim.ask().startswith("patched twice ")


# ---- refusals

def refusal(project, *args, expect=lib.REFUSED):
    return project.livepatch("--json", *args, expect=expect).error


def test_a_diff_that_does_not_apply_is_refused_naming_file_and_hunk(two_files):
    diff = two_files.diff(TWO_FILES_FIX)
    diff.write_text(diff.read_text().replace('"original"', '"something else"'))
    error = refusal(two_files, diff)
    assert error["code"] == "diff-does-not-apply"
    assert "work.c" in error["message"] and "#1" in error["message"]


def test_a_diff_that_is_in_the_tree_already_is_refused(two_files):
    diff = two_files.diff(("work.c", '"original"', '"before"'))
    text = diff.read_text()
    diff.write_text(text.replace("-\treturn calls > 1000 ? \"busy\" : \"original\";", "-\treturn calls > 1000 ? \"busy\" : \"never\";")
                    .replace("\"before\"", "\"original\""))
    error = refusal(two_files, diff)
    assert error["code"] == "diff-does-not-apply"
    assert "already" in error["message"]


def test_a_build_that_fails_shows_its_last_words(two_files):
    error = refusal(two_files, two_files.diff(("work.c", "int work(int n)", "int work(int n, syntax error")))
    assert error["code"] == "build-failed"
    assert "work.c" in error["message"]


def test_a_build_that_compiles_nothing_is_refused(two_files):
    project = Project("two-files", command="true", cache=two_files.cache)
    error = refusal(project, project.diff(TWO_FILES_FIX))
    assert error["code"] == "nothing-recorded"


def test_link_time_optimisation_is_refused_with_a_sentence():
    project = Project("two-files", command="make CFLAGS='-O2 -flto -I.' LDFLAGS=-flto")
    error = refusal(project, project.diff(TWO_FILES_FIX))
    assert error["code"] == "lto"
    assert "-flto" in error["message"]


def test_a_changed_initialiser_is_refused_with_a_remedy(two_files):
    out = two_files.path.parent / "refused.kpatch"
    error = refusal(two_files, "-o", out, two_files.diff(("work.c", "state = 5", "state = 6")))
    assert error["code"] == "unsafe-difference"
    assert "state" in error["message"]
    assert not out.exists()


SEVERAL = """
CFLAGS = -O2 -g -fPIC -I.
all: server check libshared.so user
server: server.o common.o
	$(CC) -o $@ server.o common.o
check: check.o common.o
	$(CC) -o $@ check.o common.o
libshared.so: shared.o
	$(CC) -shared -Wl,-soname,libshared.so -o $@ shared.o
user: user.o common.o libshared.so
	$(CC) -o $@ user.o common.o ./libshared.so -Wl,-rpath,'$$ORIGIN'
"""
COMMON_FIX = ("common.c", "return n + 1;", "return n + 100;")
CHECK_FIX = ("check.c", "expected = 1", "expected = 100")  # a changed initialiser
SHARED_FIX = ("shared.c", "limit = 1", "limit = 100")


@pytest.fixture(scope="module")
def several():
    """A server, its test program, and a program with a library; all but the library have common.c."""
    project = Project("two-files")
    main = '#include "serve.h"\nint common(int n);\n%s\n' \
        'static void answer(char *out, size_t size) { snprintf(out, size, "%%d", common(%s)); }\n' \
        'int main(void) { return serve(answer); }\n'
    project.write(Makefile=SEVERAL, common_c="__attribute__((noipa)) int common(int n) { if (n > 999) n %= 7; return n + 1; }\n",
                  server_c=main % ("", "1"), check_c=main % ("int expected = 1;", "expected"),
                  user_c=main % ("int shared(void);", "shared()"),
                  shared_c="static int limit = 1;\nint shared(void) { return limit; }\nvoid raise(void) { limit++; }\n")
    return project.build()


def made(project, *edits, args=(), expect=lib.REFUSED):
    """The answer, and the files that were written."""
    out = project.path.parent / f"several-{project.diffs}"
    answer = project.livepatch("--json", "-o", f"{out}/", *args, project.diff(*edits), expect=expect).json
    return answer, sorted(path.name for path in out.iterdir()) if out.exists() else []


def test_a_refused_test_program_does_not_keep_the_server_from_its_patch(several):
    answer, files = made(several, COMMON_FIX, CHECK_FIX)
    assert files == ["server.kpatch", "user.kpatch"]
    assert answer["error"]["code"] == "unsafe-difference"
    said = "\n".join([answer["error"]["message"], *answer["error"]["details"]])
    assert "expected" in said and "no live patch was made of check" in said and "made of server, user" in said
    refused = {p["binary"]: p["refused"] for p in answer["patches"]}
    assert set(refused) == {"server", "check", "user"} and [b for b in refused if refused[b]] == ["check"]
    with lib.Victim(several.path / "server") as victim:
        assert victim.ask() == "2"
        apply(victim, next(p for p in answer["patches"] if p["binary"] == "server"))
        assert victim.ask() == "101"


def test_a_refused_library_holds_back_the_programs_that_load_it(several):
    answer, files = made(several, COMMON_FIX, SHARED_FIX)
    assert files == ["check.kpatch", "server.kpatch"]
    refused = {p["binary"]: p["refused"] for p in answer["patches"]}
    assert refused["user"] == "user is held back: its processes load libshared.so, which was refused"
    assert "limit" in refused["libshared.so"]


def test_a_file_that_would_look_like_all_there_is_is_not_written(several):
    out = several.path.parent / "all.kpatch"
    several.livepatch("-o", out, several.diff(COMMON_FIX, CHECK_FIX), expect=lib.REFUSED)
    assert not out.exists()
    assert sorted(path.name for path in out.parent.glob("all*")) == ["all-server.kpatch", "all-user.kpatch"]


def test_what_is_left_out_by_name_is_no_refusal(several):
    answer, files = made(several, COMMON_FIX, CHECK_FIX, args=["--skip", "check", "--skip", "u*"], expect=lib.DONE)
    assert files == ["server.kpatch"] and [p["binary"] for p in answer["patches"]] == ["server"]


def test_a_name_to_leave_out_that_the_build_does_not_make_is_refused(several):
    error = refusal(several, "--skip", "chekc", several.diff(COMMON_FIX))
    assert "chekc" in error["message"] and "server" in error["message"]


def test_a_binary_without_a_build_id_does_not_keep_others_from_their_patch(several):
    project = Project("two-files", cache=several.cache)
    for file in several.path.glob("*.c"):
        shutil.copy(file, project.path)
    project.write(Makefile=SEVERAL.replace("check.o common.o\n\t$(CC)", "check.o common.o\n\t$(CC) -Wl,--build-id=none"))
    answer, files = made(project, COMMON_FIX)
    assert files == ["server.kpatch", "user.kpatch"] and answer["error"]["code"] == "build-id"


def test_a_target_of_another_source_is_refused(two_files):
    project = Project("two-files", command="make CFLAGS='-O0 -I.'", cache=two_files.cache).build()
    error = refusal(two_files, "--target", project.path / "prog", two_files.diff(TWO_FILES_FIX))
    assert error["code"] == "unsafe-difference"


def test_a_target_that_the_build_does_not_make_is_refused(two_files):
    error = refusal(two_files, "--target", "/bin/true", two_files.diff(TWO_FILES_FIX))
    assert "/bin/true" in error["message"] and "prog" in error["message"]


@pytest.mark.parametrize("args", [[], ["--target"], ["--target", "a", "--skip", "b", "x"], ["-j", "0", "x"], ["--bogus", "x"], ["--id", "a b", "x"]])
def test_wrong_usage_is_told_with_status_2(args, tmp_path):
    (tmp_path / "x").write_text("")
    lib.livepatch("build", *args, cwd=tmp_path, expect=lib.USAGE)


def test_a_cache_that_others_can_write_to_is_refused(two_files, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    project = Project("two-files", cache=shared)
    assert refusal(project, project.diff(TWO_FILES_FIX))["code"] == "permission"


# ---- interruptions

def children_of(pid):
    out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(word) for word in out.split()]


def grandchildren_of(pid):
    return [inner for child in children_of(pid) for inner in children_of(child)]


def start_slow_build(project, marker, wrap=()):
    """livepatch build, up to where the build command runs and holds still."""
    project.command = f"touch {marker}; exec cat {marker}.fifo"
    os.mkfifo(f"{marker}.fifo")
    process = subprocess.Popen([*wrap, lib.tool_path(), "build", "-C", project.path, "--cache", project.cache, "--build",
                                project.command, project.diff(TWO_FILES_FIX)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lib.wait_for(marker.exists, "the build to begin")
    return process


def group_is_gone(pids):
    return not any(lib.alive(pid) for pid in pids)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_ends_what_it_started_and_leaves_nothing(tmp_path, how):
    project = Project("two-files")
    process = start_slow_build(project, tmp_path / "began")
    inner = lib.wait_for(lambda: grandchildren_of(process.pid), "the shell")
    guards = children_of(process.pid)
    process.send_signal(how)
    _, err = process.communicate(timeout=lib.PATIENCE)
    assert process.returncode == 1 and "interrupted" in err
    assert group_is_gone(guards + inner)
    assert not [p for p in project.cache.glob("*/here")]


CURIOUS = '''#!/bin/sh
[ "$1" = --version ] || exec {gcc} "$@"
touch {marker}
exec cat {marker}.fifo
'''


def test_a_build_that_is_interrupted_while_it_asks_the_compiler_for_its_version_makes_no_patch(tmp_path):
    """It would not say by whom it was compiled."""
    marker, compiler, out = tmp_path / "asked", tmp_path / "bin" / "gcc", tmp_path / "fix.kpatch"
    os.mkfifo(f"{marker}.fifo")
    compiler.parent.mkdir()
    compiler.write_text(CURIOUS.format(gcc=shutil.which("gcc"), marker=marker))
    compiler.chmod(0o755)
    project = Project("two-files", command="make CC=gcc", env={"PATH": f"{compiler.parent}:{os.environ['PATH']}"})
    process = subprocess.Popen([lib.tool_path(), "build", "-C", project.path, "--cache", project.cache, "--build", project.command,
                                "-o", out, project.diff(TWO_FILES_FIX)],
                               env=project.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lib.wait_for(marker.exists, "the compiler to be asked")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=lib.PATIENCE)
    assert process.returncode == 1 and "interrupted" in err
    assert not out.exists()


def test_a_killed_build_takes_its_children_along_and_the_next_one_succeeds(tmp_path):
    project = Project("two-files")
    process = start_slow_build(project, tmp_path / "began")
    inner = lib.wait_for(lambda: grandchildren_of(process.pid), "the shell")
    guards = children_of(process.pid)
    process.kill()
    process.communicate()
    lib.wait_for(lambda: group_is_gone(guards + inner), "the children to go")
    project.command = "make"
    only_patch(project.patch(TWO_FILES_FIX))
    assert len([p for p in project.cache.iterdir()]) == 1, "what the killed one left is swept away"


@pytest.mark.parametrize("args, says", [
    (["-o", "nowhere/fix.kpatch"], "cannot write nowhere/fix.kpatch: No such file or directory"),
    (["-o", "nowhere/patches/"], "cannot write nowhere/patches/: No such file or directory"),
    (["-o", "/proc/self/fix.kpatch"], "cannot write /proc/self/fix.kpatch: "),
    (["--allow", "initialiser"], "--allow initialiser: there is no such code; one may allow changed-initialiser, removed-data, "),
    (["--allow", "layouts:struct a"], "--allow layouts:struct a: there is no such code"),
    (["--allow", "changed-size:table"], "--allow changed-size:table: it would corrupt the process; one may allow"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_what_cannot_come_to_a_good_end_is_told_before_anything_is_built(args, says):
    project = Project("two-files", command="touch built; false")
    result = project.livepatch(*args, project.diff(TWO_FILES_FIX), expect=lib.USAGE if args[0] == "--allow" else lib.REFUSED)
    assert says in result.err
    assert not list(project.cache.glob("*/*/build.log"))


def test_an_empty_diff_is_told_by_its_name(tmp_path):
    empty = tmp_path / "empty.patch"
    empty.touch()
    assert f"{empty} holds no diff" in Project("two-files", command="false").livepatch(empty, expect=lib.REFUSED).err


def test_no_file_of_the_build_takes_the_place_of_a_closed_standard_descriptor(tmp_path):
    process = start_slow_build(Project("two-files"), tmp_path / "began", wrap=("sh", "-c", 'exec "$@" <&- >&-', "sh"))
    assert [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in (0, 1)] == ["/dev/null", "/dev/null"]
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=lib.PATIENCE)
    assert process.returncode == 1 and "interrupted" in err


def test_two_builds_of_one_tree_take_turns(two_files):
    command = [lib.tool_path(), "build", "-C", two_files.path, "--cache", two_files.cache, "--build", "make", "--json"]
    processes = [subprocess.Popen([*command, "-o", two_files.path.parent / f"turn-{i}.kpatch", two_files.diff(TWO_FILES_FIX)],
                                  stdout=subprocess.PIPE, text=True) for i in range(3)]
    for process in processes:
        only_patch(json.loads(process.communicate(timeout=5 * lib.PATIENCE)[0]))
        assert process.returncode == 0


def test_a_crash_between_the_trees_is_put_right(two_files):
    two_files.patch(TWO_FILES_FIX)
    here = next(p for p in two_files.cache.glob("*/here") if (p / "complete").exists())
    here.rename(here.parent / "original")
    (here.parent / "here").mkdir()
    assert two_files.patch(TWO_FILES_FIX)["cached"] is True
