"""--perf-map and --jitdump: what Linux's perf is told of translated code."""
import re
import shutil
import struct
import subprocess
from collections import namedtuple
from pathlib import Path

import lib
import pytest
import runnerlib

pytestmark = pytest.mark.left_out("no", reason="it is about translated code")

PROGRAM = """
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noinline)) unsigned long burn_cycles(unsigned long n)
{
	unsigned long h = 1;
	for (unsigned long i = 0; i < n; i++)
		h = h * 6364136223846793005ul + (h >> 7) + i;
	return h;
}

__attribute__((noinline)) unsigned long burn_in_child(unsigned long n)
{
	unsigned long h = 1;
	for (unsigned long i = 0; i < n; i++)
		h = (h ^ i) * 31 + (h >> 9);
	return h;
}

static volatile unsigned long sink;

int main(int argc, char **argv)
{
	unsigned long n = strtoul(argv[2], 0, 10);
	pid_t child = 0;
	sink = burn_cycles(n);
	if (*argv[1] == 'f' && !(child = fork())) {
		sink = burn_in_child(n);
		printf("%d\\n", (int)getpid());
		return 0;
	}
	wait(NULL);
	printf("%d %d\\n", (int)getpid(), open("/dev/null", O_RDONLY));
	fflush(stdout);
	if (*argv[1] == 'e')
		execl(argv[3], argv[3], "f", argv[2], (char *)0);
	return 0;
}
"""

Entry = namedtuple("Entry", "start size name")
Load = namedtuple("Load", "time pid tid address number name code")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return runnerlib.compiled(PROGRAM, where=tmp_path_factory.mktemp("perf"))


@pytest.fixture
def told(tmp_path):
    """Runs with both options in a folder of its own; the maps go with the test."""
    maps = []

    def run(*command, options=("--perf-map", "--jitdump"), env=None):
        # All at once, as functions are called once here.
        done = runnerlib.run(command, options=["--jit=tier1", *options], cwd=tmp_path, env=env)
        assert done.status == 0 and not done.stderr, done
        pids = [int(line.split()[0]) for line in done.stdout.splitlines()]
        maps.extend(Path(f"/tmp/perf-{pid}.map") for pid in pids)
        return done, pids

    yield run
    for path in maps:
        path.unlink(missing_ok=True)


def map_of(pid):
    path = Path(f"/tmp/perf-{pid}.map")
    assert path.stat().st_mode & 0o777 == 0o600
    entries = []
    for line in path.read_text().splitlines():
        assert re.fullmatch(r"[1-9a-f][0-9a-f]* [1-9a-f][0-9a-f]* [ -~]+", line), line
        start, size, name = line.split(" ", 2)
        entries.append(Entry(int(start, 16), int(size, 16), name))
    for one, next_one in zip(sorted(entries), sorted(entries)[1:]):
        assert one.start + one.size <= next_one.start, (one, next_one)
    return entries


def dump_of(path, pid):
    """Every byte of a jitdump, by the kernel's tools/perf/Documentation/jitdump-specification.txt."""
    assert path.stat().st_mode & 0o777 == 0o600
    data = path.read_bytes()
    magic, version, size, machine, pad, owner, time, flags = struct.unpack_from("<IIIIIIQQ", data)
    assert (magic, version, size, machine, pad, owner, flags) == (0x4A695444, 1, 40, 62, 0, pid, 0)
    loads, at = [], size
    while at < len(data):
        kind, size, when, owner, tid, vma, address, code_size, number = struct.unpack_from("<IIQIIQQQQ", data, at)
        end = data.index(0, at + 56)
        name = data[at + 56:end].decode()
        assert kind == 0 and owner == pid and vma == address and size == 56 + len(name) + 1 + code_size and at + size <= len(data)
        assert when >= (loads[-1].time if loads else time) and number == len(loads)
        loads.append(Load(when, owner, tid, address, number, name, data[end + 1:at + size]))
        at += size
    assert at == len(data)
    return loads


def names(entries):
    return [entry.name for entry in entries]


def test_map_and_dump_tell_the_same_units_by_function_and_offset(program, told, tmp_path):
    done, (pid,) = told(program, "-", 1000)
    entries, loads = map_of(pid), dump_of(tmp_path / f"jit-{pid}.dump", pid)
    assert [(e.start, e.size, e.name) for e in entries] == [(load.address, len(load.code), load.name) for load in loads]
    assert "burn_cycles" in names(entries) and names(entries)[0] == "[arm64_runner]"
    assert any(re.fullmatch(r"burn_cycles\+0x[0-9a-f]+", name) for name in names(entries))
    assert "burn_in_child" not in names(entries)
    assert done.stdout == b"%d 3\n" % pid  # its first descriptor is what it is without


def test_each_piece_of_code_is_there_as_it_runs(program, told, tmp_path):
    _, (pid,) = told(program, "-", 1000)
    loop = [load for load in dump_of(tmp_path / f"jit-{pid}.dump", pid) if load.name.startswith("burn_cycles+")][0]
    # cmp dword ptr [rbp + ...], 0: each unit begins so (docs/jit.md)
    near = loop.code[1] == 0x7d  # the displacement has one byte
    assert loop.code[0] == 0x83 and loop.code[1] in (0x7d, 0xbd) and loop.code[3 if near else 6] == 0 and loop.tid == pid


def test_a_forked_child_has_files_of_its_own_with_what_its_parent_had(program, told, tmp_path):
    _, (child, parent) = told(program, "f", 1000)
    theirs, ours = map_of(child), map_of(parent)
    assert "burn_cycles" in names(theirs) and "burn_in_child" in names(theirs)
    assert "burn_cycles" in names(ours) and "burn_in_child" not in names(ours)
    assert names(theirs) == names(dump_of(tmp_path / f"jit-{child}.dump", child))
    assert names(ours) == names(dump_of(tmp_path / f"jit-{parent}.dump", parent))


def test_a_program_that_is_executed_goes_on_in_the_map_and_begins_a_dump(program, told, tmp_path):
    _, (pid, child, same) = told(program, "e", 1000, program)
    assert pid == same
    assert names(map_of_all(pid)).count("burn_cycles") == 2
    loads = dump_of(tmp_path / f"jit-{pid}.dump", pid)
    assert names(loads).count("burn_cycles") == 1
    assert "burn_in_child" in names(dump_of(tmp_path / f"jit-{child}.dump", child))


def map_of_all(pid):
    """Of more than one program: they may overlap."""
    lines = Path(f"/tmp/perf-{pid}.map").read_text().splitlines()
    return [Entry(int(start, 16), int(size, 16), name) for start, size, name in (line.split(" ", 2) for line in lines)]


def test_a_dump_goes_where_jitdumpdir_says(program, told, tmp_path):
    (tmp_path / "dumps").mkdir()
    _, (pid,) = told(program, "-", 10, options=["--jitdump"], env={"JITDUMPDIR": str(tmp_path / "dumps")})
    assert dump_of(tmp_path / "dumps" / f"jit-{pid}.dump", pid) and not Path(f"/tmp/perf-{pid}.map").exists()


def refused(program, before, option, tmp_path):
    done = subprocess.run(["sh", "-c", f'{before}; echo $$; exec "$@"', "-", runnerlib.RUNNER, option, program, "-", "1"],
                          capture_output=True, text=True, cwd=tmp_path)
    pid = int(done.stdout.split()[0])
    assert done.returncode == 125 and done.stdout == f"{pid}\n"
    return pid, done.stderr


@pytest.mark.parametrize("before", ["echo mine > {}", "ln -s $PWD/victim {}", "mkfifo {}"])
def test_a_file_that_is_there_already_is_refused_and_stays_as_it_is(program, tmp_path, before):
    (tmp_path / "victim").write_text("untouched")
    for option, path in ("--perf-map", "/tmp/perf-$$.map"), ("--jitdump", "jit-$$.dump"):
        pid, said = refused(program, before.format(path), option, tmp_path)
        there = tmp_path / path.replace("$$", str(pid))
        assert f"{option}: {'' if path[0] == '/' else './'}{path.replace('$$', str(pid))} is there already" in said and "remove it" in said
        assert there.is_fifo() or there.read_text() in ("mine\n", "untouched")
        there.unlink()
    assert (tmp_path / "victim").read_text() == "untouched"


def test_a_folder_that_cannot_be_written_to_is_named(program, tmp_path):
    done = runnerlib.run([program, "-", 1], options=["--jitdump"], env={"JITDUMPDIR": "/nonexistent"})
    assert done.status == 125 and re.search(rb"--jitdump: /nonexistent/jit-\d+.dump cannot be made: No such file", done.stderr)


@pytest.mark.parametrize("option", ["--perf-map", "--jitdump"])
def test_a_limit_on_the_size_of_files_ends_what_is_told_and_not_the_program(program, option, tmp_path):
    done = subprocess.run(["bash", "-c", 'ulimit -f 2; exec "$@"', "-", runnerlib.RUNNER, option, program, "-", "1"],
                          cwd=tmp_path, capture_output=True, text=True)
    pid = int(done.stdout.split()[0])
    Path(f"/tmp/perf-{pid}.map").unlink(missing_ok=True)
    assert done.returncode == 0
    assert done.stderr == "arm64_runner: what perf is told cannot be written any more: File too large\n"


@pytest.mark.parametrize("option", ["--perf-map", "--jitdump"])
def test_without_translated_code_there_is_nothing_to_tell(program, option, tmp_path):
    done = runnerlib.run([program, "-", 1], options=[option, "--no-jit"], cwd=tmp_path)
    assert done.status == lib.USAGE and f"{option} is about translated code" in done.stderr.decode()
    assert not list(tmp_path.glob("jit-*"))


def perf(*args, cwd):
    return subprocess.run(["perf", *map(str, args)], capture_output=True, text=True, cwd=cwd, stdin=subprocess.DEVNULL,
                          env={"HOME": str(cwd), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"})


def perf_works(where):
    return shutil.which("perf") and perf("record", "-q", "-e", "cpu-clock:u", "-k", "mono", "-o", "try", "true", cwd=where).returncode == 0


def shares(data, cwd):
    """How much of the time is in each function's units."""
    text = perf("report", "-i", data, "--stdio", "--sort", "sym", cwd=cwd).stdout
    found = {}
    for share, name in re.findall(r"^ +([0-9.]+)%  \[\.\] (\w+)", text, re.MULTILINE):
        found[name] = found.get(name, 0) + float(share)
    return found


def test_perf_finds_the_functions_of_the_program_by_either_file(program, tmp_path):
    if not perf_works(tmp_path):
        pytest.skip("no perf here, or it may not record")
    for option in "--perf-map", "--jitdump":
        done = perf("record", "-q", "-e", "cpu-clock:u", "-k", "mono", "-o", "data", runnerlib.RUNNER, option, program, "f", 60000000,
                    cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        data, said = "data", done.stdout
        if option == "--jitdump":
            done = perf("inject", "--jit", "-i", "data", "-o", "injected", cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            data = "injected"
        found = shares(data, tmp_path)
        for line in said.splitlines():
            Path(f"/tmp/perf-{line.split()[0]}.map").unlink(missing_ok=True)
        assert found.get("burn_cycles", 0) > 15 and found.get("burn_in_child", 0) > 15, (option, found)
