"""Translations are kept from one run of arm64_runner to the next: taken where the same code stands, and by nobody else."""
import os
import re
import shutil
import subprocess

import pytest

import lib
import runnerlib

CROSS = "aarch64-linux-gnu-gcc"

pytestmark = [pytest.mark.skipif(not os.path.exists(runnerlib.RUNNER), reason="arm64_runner is not built"),
              pytest.mark.skipif(not shutil.which(CROSS), reason=f"no {CROSS} here"),
              pytest.mark.left_out("tier2", "both", "check", "check-tier2", "no", reason="only --jit=tier1 keeps translations")]

PROGRAM = r"""
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
__attribute__((noinline)) int answer(int x) { return x * 3 + NUMBER; }
int main(int argc, char **argv) {
	int list[1000];
	double sum = 0;
	char text[64];
	if (argc > 1 && !strcmp(argv[1], "fork") && fork() == 0) {
		printf("child %d %s\n", answer(2), strcat(strcpy(text, "a"), "b"));
		return 0;
	}
	while (wait(NULL) > 0)
		;
	for (int i = 0; i < 1000; i++)
		list[i] = i * 7919 % 1000;
	qsort(list, 1000, sizeof *list, compare);
	for (int i = 0; i < 1000; i++)
		sum += sqrt(list[i]) + strtod("0.5", NULL);
	printf("%d %d %.6f %d\n", list[0], list[999], sum, answer(1));
	return 3;
}
"""


@pytest.fixture(scope="module")
def program():
    return built(1)


def built(number, *flags):
    return runnerlib.compiled(PROGRAM, f"-DNUMBER={number}", *flags, where=lib.scratch_directory())


def expected(number):
    return f"0 999 {sum(i ** 0.5 + 0.5 for i in range(1000)):.6f} {3 + number}\n".encode()


@pytest.fixture
def cache(monkeypatch):
    """The folder that will have the files; nobody else's."""
    home = lib.private_directory()
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home / "livepatch" / "arm64"


def counts(run):
    """Units that were made, taken from the cache, and put into it."""
    text = run.stderr.decode()
    made = re.search(r"(\d+) units of \d+ instructions translated", text)
    kept = re.search(r"(\d+) units of \d+ instructions were in the translation cache, (\d+) came into it", text)
    return int(made[1]), *(map(int, kept.groups()) if kept else (0, 0))


def go(program, *options, number=1, args=(), wrap=(), jit="--jit=tier1"):
    """All at once, so that there is much to be kept, unless it is said otherwise."""
    options = ["--stats", jit, *options]
    if wrap:
        done = subprocess.run([*wrap, runnerlib.RUNNER, *options, program, *args], capture_output=True, timeout=300)
        done = runnerlib.Run(done.returncode, done.stdout, done.stderr)
    else:
        done = runnerlib.run([program, *args], options=options)
    assert done.status == 3 and done.stdout == expected(number), done
    return done


def test_a_second_run_translates_next_to_nothing(program, cache):
    made, taken, put = counts(go(program))
    assert made > 300 and taken == 0 and put >= made - 10
    assert os.stat(cache).st_mode & 0o7777 == 0o700
    files = list(cache.iterdir())
    assert len(files) == 1 and os.stat(files[0]).st_mode & 0o7777 == 0o600
    again, taken, put = counts(go(program))
    assert again < 20 and taken >= made - 20 and put == 0
    assert list(cache.iterdir()) == files


def test_what_is_executed_once_is_not_kept_unless_it_was_translated(program, cache):
    """--jit interprets it, and takes what is kept wherever it comes from."""
    few, taken, put = counts(go(program, jit="--jit"))
    assert 50 < few < 300 and taken == 0 and put >= few - 10
    again, taken, put = counts(go(program, jit="--jit"))
    assert again < 20 and taken >= few - 20 and put == 0
    made, taken, put = counts(go(program))
    assert taken >= few - 20 and made + taken > 300 and put >= made - 10
    again, taken, put = counts(go(program, jit="--jit"))
    assert again < 20 and taken > 300 and put == 0


def test_programs_of_a_distribution_run_the_same_from_the_cache(cache):
    root = runnerlib.sysroot()
    script = "import json, math, re; print(json.dumps([math.sin(i) for i in range(9)]), re.sub('a+', 'b', 'caat'), 10 ** 50)"
    for command in (["/bin/sh", "-c", "for i in 1 2 3; do echo $i | cat; done; exec ls /"],
                    ["/usr/bin/python3", "-c", script]):
        runs = [runnerlib.run(command, options=["--stats", *options], root=root)
                for options in (["--no-cache"], [], [], [])]
        assert len({(r.status, r.stdout) for r in runs}) == 1 and runs[0].status == 0, runs
        assert counts(runs[0])[1:] == (0, 0)
        made, taken, _ = counts(runs[3])
        assert taken > 500 and made < taken / 5


@pytest.mark.left_out("avx2", reason="the other options are those of this mode")
def test_other_options_have_translations_of_their_own(program, cache):
    go(program)
    _, taken, put = counts(go(program, "--host-cpu=avx2"))
    assert taken == 0 and put > 300
    assert len(list(cache.iterdir())) == 2
    assert counts(go(program, "--host-cpu=avx2"))[1] > 300


def test_a_program_that_was_built_anew_is_translated_anew(cache):
    """Also where it says that it is the same: what stands in memory decides."""
    for number, flags in ((1, ()), (2, ())):
        where = built(number, *flags)
        go(where, number=number)
        go(where, number=number)
    same = "-Wl,--build-id=0x0123456789abcdef0123456789abcdef01234567"
    for number in (1, 2, 1, 7, 2):
        go(built(number, same), number=number)
    one = [f for f in cache.iterdir() if f.name.startswith("0123456789abcdef")]
    assert len(one) == 1
    assert counts(go(built(5, same), number=5))[1] > 300


def test_what_has_no_build_id_is_not_kept(cache):
    program = built(1, "-Wl,--build-id=none")
    assert counts(go(program))[1:] == (0, 0)
    assert not cache.exists()


def test_a_patched_program_is_what_it_was_patched_to(program, cache):
    patch = ["--jit=tier1", "--livepatch-apply", "answer", "52800540", "test", "--livepatch-apply", "answer+4", "d65f03c0", "test"]
    patched = expected(1).replace(b" 4\n", b" 42\n")
    for round_ in range(3):
        done = runnerlib.run([program], options=["--stats", *patch])
        assert done.stdout == patched and done.status == 3, (round_, done)
        go(program)
    assert counts(go(program))[1] > 300
    done = runnerlib.run([program], options=["--stats", *patch])
    assert done.stdout == patched and counts(done)[1] > 300


def test_a_child_takes_what_its_parent_has(program, cache):
    for _ in range(3):
        done = runnerlib.run([program, "fork"])
        assert sorted(done.stdout.splitlines(True)) == sorted([b"child 7 ab\n", expected(1)]) and done.status == 3


def test_many_at_once_leave_a_whole_file(program, cache):
    running = [subprocess.Popen([runnerlib.RUNNER, program], stdout=subprocess.PIPE) for _ in range(8)]
    for process in running:
        assert process.communicate(timeout=300)[0] == expected(1) and process.returncode == 3
    assert [f.name for f in cache.iterdir() if f.name.startswith(".")] == []
    made, taken, _ = counts(go(program, "--debug"))
    # --stats makes other code
    assert taken == 0
    assert counts(go(program))[1] > 300
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "long", "header", "middle", "everywhere", "noise"])
def test_a_damaged_file_does_no_harm_and_is_replaced(program, cache, damage):
    go(program)
    file, = cache.iterdir()
    whole = file.read_bytes()
    bad = bytearray(whole)
    if damage == "cut":
        bad = bad[:len(bad) // 2]
    elif damage == "empty":
        bad = b""
    elif damage == "long":
        bad += bytes(8)
    elif damage == "header":
        bad[40] ^= 1
    elif damage == "middle":
        for at in range(len(bad) // 2, len(bad) // 2 + 4096):
            bad[at] ^= 0xff
    elif damage == "everywhere":
        for at in range(128, len(bad), 64):
            bad[at] ^= 4
    else:
        bad = os.urandom(len(bad))
    file.write_bytes(bad)
    assert "cache" in go(program, "--debug").stderr.decode()
    made, taken, put = counts(go(program))
    assert taken > 300 and made < 20
    assert [f.name for f in cache.iterdir()] == [file.name]


def test_a_file_that_is_cut_while_it_is_used_does_no_harm(cache, tmp_path):
    """The pages that were mapped are not there any more."""
    program = runnerlib.compiled(r"""
#include <stdio.h>
#include <unistd.h>
int main(void) {
	char c;
	int sum = 0;
	if (read(0, &c, 1) != 1) return 1;
	for (int i = 0; i < 300; i++) sum += snprintf(NULL, 0, "%d %.3f %s %x", i, i / 7.0, "x", i);
	printf("%d\n", sum);
	return 0;
}""", where=tmp_path)
    first = runnerlib.run([program], stdin=b"x")
    assert first.status == 0
    file, = cache.iterdir()
    with subprocess.Popen([runnerlib.RUNNER, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        lib.wait_for(lambda: file.name in open(f"/proc/{process.pid}/maps").read(), "the file to be mapped")
        os.truncate(file, 200)
        assert process.communicate(b"x", timeout=300)[0] == first.stdout
    assert process.returncode == 0


def test_it_can_be_done_without(program, cache, monkeypatch):
    assert counts(go(program, "--no-cache"))[1:] == (0, 0)
    assert not cache.exists()
    settings = lib.private_directory()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(settings))
    (settings / "arm64runner.conf").write_text("[runner]\ncache = no\n")
    assert counts(go(program))[1:] == (0, 0)
    assert not cache.exists()
    (settings / "arm64runner.conf").write_text("[runner]\ncache = yes\ncache_size = 1G\n")
    assert counts(go(program))[2] > 300
    (settings / "arm64runner.conf").write_text("[runner]\ncache_size = 1K\n")
    go(built(9), number=9)
    assert list(cache.iterdir()) == []
    (settings / "arm64runner.conf").write_text("[runner]\ncache_size = some\n")
    assert b"cache_size cannot be that" in go(program).stderr


def test_all_of_it_can_be_removed(program, cache):
    def clear():
        return runnerlib.run([], options=["--cache-clear"])
    assert clear() == (0, b"", b"")
    go(program)
    assert len(list(cache.iterdir())) == 1
    assert clear() == (0, b"", b"")
    assert list(cache.iterdir()) == []
    cache.chmod(0o755)
    done = clear()
    assert done.status == 125 and b"chmod 0700" in done.stderr


@pytest.mark.parametrize("folder", ["", "arm64"])
def test_a_folder_that_others_can_enter_is_not_used(program, cache, folder):
    go(program)
    place = cache if folder else cache.parent
    place.chmod(0o750)
    done = go(program, "--debug")
    assert counts(done)[1:] == (0, 0) and b"chmod 0700" in done.stderr
    place.chmod(0o700)
    assert counts(go(program))[1] > 300


def test_a_file_that_others_can_read_is_not_used(program, cache):
    go(program)
    file, = cache.iterdir()
    file.chmod(0o644)
    made, taken, put = counts(go(program))
    assert taken == 0 and put > 300
    assert os.stat(file).st_mode & 0o777 == 0o600


def test_no_folder_no_cache(program, cache, monkeypatch):
    cache.parent.parent.joinpath("livepatch").write_text("")
    assert counts(go(program))[1:] == (0, 0)
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.delenv("HOME", raising=False)
    done = go(program, "--debug")
    assert counts(done)[1:] == (0, 0) and b"neither XDG_CACHE_HOME nor HOME" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
@pytest.mark.parametrize("options", ["size=16k", "ro"])
def test_a_disk_that_takes_nothing_does_no_harm(program, cache, options):
    cache.mkdir(parents=True, mode=0o700)
    cache.parent.chmod(0o700)
    wrap = ["unshare", "-m", "sh", "-c", f"mount -t tmpfs -o mode=700,{options} none {cache} && shift 0 && \"$@\"; r=$?; "
            f"ls -A {cache} | grep -q . && exit 99; exit $r", "sh"]
    done = go(program, "--debug", wrap=wrap)
    assert counts(done)[1:] == (0, 0) and b"cannot be written" in done.stderr


def test_a_limit_on_the_size_of_files_ends_nobody(program, cache):
    done = go(program, "--debug", wrap=["sh", "-c", "ulimit -f 8; exec \"$@\"", "sh"])
    assert counts(done)[2] == 0
    assert not cache.exists() or list(cache.iterdir()) == []
