"""--dump-block: a unit's guest code beside its host code."""
import re
import shutil
import subprocess
from pathlib import Path

import lib
import pytest
import runnerlib

MODULE = Path(runnerlib.RUNNER).parent / "dump_module"

pytestmark = [pytest.mark.skipif(not MODULE.exists(), reason="no Zydis when this was built"),
              pytest.mark.left_out("no", reason="it is about translated code")]

PROGRAM = """
#include <stdio.h>
#include <unistd.h>
#include <fcntl.h>
#include <sys/wait.h>

__attribute__((noinline)) long sum(const long *a, const long *end, long *out)
{
	long s = 0;
	while (a != end)
		s += *a++;
	*out = s;
	return s;
}

__attribute__((noinline)) double mean(double x, long n) { return x / n + 0x1.23456789abcdep0; }

__attribute__((noinline)) void count(long n)
{
	__asm__ volatile("mov x9, %0\\n\\tmov x10, #0\\n"
			 "1:\\tadd x10, x10, x9\\n\\tcbz x10, 2f\\n\\tsubs x9, x9, #1\\n\\tb.ne 1b\\n2:" ::"r"(n)
			 : "x9", "x10", "cc");
}

int main(int argc, char **argv)
{
	long a[50], all;
	for (int i = 0; i < 50; i++)
		a[i] = i;
	sum(a, a + 50, &all);
	printf("%ld %.3f\\n", all, mean(all, 50));
	fflush(stdout);
	count(100);
	if (argc > 2 && *argv[1] == 'e')
		execv(argv[2], argv + 2);
	printf("%d %d\\n", open("/dev/null", O_RDONLY), (int)waitpid(-1, NULL, 0));
	return 0;
}
"""
SAYS = b"1225 25.638\n3 -1\n"
GUEST = re.compile(r"^([0-9a-f]+)  ([0-9a-f]{8})  (.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return runnerlib.compiled(PROGRAM, "-O1", where=tmp_path_factory.mktemp("dump"))


def symbol(program, name):
    for line in subprocess.run(["aarch64-linux-gnu-nm", program], capture_output=True, text=True, check=True).stdout.splitlines():
        if line.endswith(f" {name}"):
            return int(line.split()[0], 16)
    raise AssertionError(name)


def dumped(program, *options, says=SAYS, args=(), env=None):
    done = runnerlib.run([program, *args], options=options, env=env)
    assert done.status == 0 and done.stdout == says, done.stderr
    return done.stderr.decode()


def units(text):
    return [part for part in re.split(r"^(?=unit at )", text, flags=re.MULTILINE) if part.startswith("unit at ")]


def test_each_guest_instruction_is_followed_by_what_the_host_executes_for_it(program):
    text = dumped(program, "--dump-block", "sum")
    at = symbol(program, "sum")
    whole = [u for u in units(text) if u.startswith(f"unit at {at:#x} (sum [program]): ")]
    assert len(whole) == 1
    unit = whole[0]
    nr = int(re.search(r": (\d+) instructions, \d+ bytes of host code at 0x[0-9a-f]+, \d+ of them cold", unit)[1])
    guest = GUEST.findall(unit)
    assert [int(pc, 16) for pc, _, _ in guest] == [at + 4 * i for i in range(nr)]
    words = subprocess.run(["aarch64-linux-gnu-objdump", "-d", f"--start-address={at}", f"--stop-address={at + 4 * nr}", program],
                           capture_output=True, text=True, check=True).stdout
    assert [word for _, word, _ in guest] == re.findall(r"^ *[0-9a-f]+:\s+([0-9a-f]{8})", words, re.MULTILINE)
    # The load of the loop, its address in x0 or a register that is pinned as well; the end, where the caller is found.
    load = re.search(r"ldr x\d, \[x\d\], #8\n((?:\t.*\n)+)", unit)[1]
    assert re.search(r"mov r\w+, \[r\w+\]\n.*lea (r\w+), \[\1\+0x8\]", load)
    last = re.search(r"ret\n((?:\t.*\n)+)", unit)[1]
    assert "mov rax, [x30]" in last and last.endswith("ret\n")


@pytest.mark.left_out("sse4", reason="vectors and floating point are left to the interpreter there")
def test_what_host_code_refers_to_has_names(program):
    text = dumped(program, "--dump-block", "sum", "--dump-block", "mean", "--dump-block", "main")
    assert re.search(r"^registers: x0 rdi, .*, sp rbx$", text, re.MULTILINE)
    assert "cmp dword ptr [poll], 0x0" in text
    assert re.search(r"jmp stub exit_lookup$", text, re.MULTILINE)
    assert re.search(r"(jz|jnz) \+[0-9a-f]+$", text, re.MULTILINE)
    assert f"call [slot of {symbol(program, 'sum'):#x}]" in text
    assert re.search(r"\[v0\]", text)


def test_a_region_is_shown_with_its_own_registers(program):
    """Where no other unit has them: its hot part asks memory for them before its first instruction and behind its last."""
    region = units(dumped(program, "--jit=tier2", "--dump-block=count+8"))[-1]
    registers = re.search(r"^registers: (.*)$", region, re.MULTILINE)[1]
    assert {"x9", "x10"} <= {pair.split()[0] for pair in registers.split(", ")}
    loop = region[GUEST.search(region).start():]
    loop = loop[:loop.index("b.ne")]
    assert [word for _, _, word in GUEST.findall(loop)][0].startswith("add")
    assert "[x9]" not in loop and "[x10]" not in loop


def test_cold_parts_are_marked_with_the_instruction_that_they_are_of(program):
    for unit in units(dumped(program, "--dump-block", "sum")):
        hot, *cold = re.split(r"^(?=cold, of )", unit, flags=re.MULTILINE)
        pcs = {pc for pc, _, _ in GUEST.findall(hot)}
        assert cold and all(re.match(r"cold, of ([0-9a-f]+)\n\t", part)[1] in pcs for part in cold)
        size, nr_cold = map(int, re.search(r"(\d+) bytes of host code at 0x[0-9a-f]+, (\d+) of them cold", unit).groups())
        assert int(re.search(r"\t *([0-9a-f]+)  ", cold[0])[1], 16) == size - nr_cold


def test_an_address_is_in_every_unit_that_holds_it(program):
    at = symbol(program, "sum") + 16
    text = dumped(program, "--dump-block", f"{at:#x}")
    assert len(units(text)) >= 2  # the function's beginning runs on into the loop, which begins another
    assert all(f"\n{at:x}  " in unit for unit in units(text))
    assert len(units(dumped(program, "--dump-block", "sum+0x10"))) == len(units(text))
    assert dumped(program, "--dump-block", "no_such_symbol") == ""


def test_the_program_sees_no_child_and_no_descriptor(program, tmp_path):
    everything = tmp_path / "dumps"
    assert dumped(program, "--dump-file", everything, "--dump-block", "main", "--dump-block", "waitpid", "--dump-block", "__libc_open64") == ""
    assert len(units(everything.read_text())) >= 3


def test_a_program_that_the_program_executes_is_shown_as_well_and_appended(program, tmp_path):
    everything = tmp_path / "dumps"
    everything.write_text("kept\n")
    dumped(program, "--dump-file", everything, "--dump-block", "sum", "--dump-block=mean", args=["e", program], says=b"1225 25.638\n" + SAYS)
    text = everything.read_text()
    heads = re.findall(r"^unit at \S+ \((sum|mean) \[", text, re.MULTILINE)
    assert text.startswith("kept\n") and heads.count("sum") == heads.count("mean") == 2


@pytest.mark.parametrize("options, sentence", [
    (["--dump-block", "sum", "--no-jit"], "--dump-block is about translated code, and nothing is translated: --no-jit is to be left out"),
    (["--dump-block", "0x12"], "--dump-block 0x12: write the address of an instruction (0x4006e0), or a symbol (main, main+0x10)"),
    (["--dump-block", "4006e0"], "--dump-block 4006e0: write the address"),
    (["--dump-block", "sum+"], "--dump-block sum+: write the address"),
    (["--dump-block", "sum+0x6"], "--dump-block sum+0x6: write the address"),
    (["--dump-block", "+8"], "--dump-block +8: write the address"),
    (["--dump-file", "/dev/null"], "--dump-file goes with --dump-block"),
    (["--dump-block", "sum", "--dump-file", "/nonexistent/x"], "--dump-file /nonexistent/x: No such file or directory")])
def test_what_cannot_be_shown_is_refused(program, options, sentence):
    done = runnerlib.run([program], options=options)
    assert done.status == lib.USAGE and f"arm64_runner: {sentence}" in done.stderr.decode()


@pytest.mark.parametrize("file, limit", [("/dev/full", "unlimited"), ("units", "0")])
def test_a_file_that_takes_no_units_is_told_and_ends_nobody(program, file, limit, tmp_path):
    command = ["bash", "-c", f'ulimit -f {limit}; exec "$@"', "-", runnerlib.RUNNER, "--dump-block", "main", "--dump-file", file, program]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, SAYS)
    assert b"could not be written to the file of --dump-file" in done.stderr


def test_a_runner_without_its_module_says_what_is_missing(program, tmp_path):
    alone = tmp_path / "arm64_runner"
    shutil.copy(runnerlib.RUNNER, alone)
    done = runnerlib.run([program], alone, options=["--dump-block", "main"])
    assert done.status == 125 and f"dump_module, which should be beside this program: {tmp_path}/dump_module: No such file" in done.stderr.decode()
    assert runnerlib.run([program], alone).stdout == SAYS


@pytest.mark.parametrize("text", ["", "unit\n", "unit 0x1 x\nhost 0 5 9\ninsn 0 0 0\ncode 90 90\n", "insn 1 2 3\ncode zz\n", "host 1 2 3\n" * 100,
                                  "unit 0x4 x\nhost 0x10 4 4\ninsn 0x4 0 0\ncode 90 90 90\n"])
def test_the_module_refuses_what_is_no_unit(text):
    done = subprocess.run([MODULE], input=text, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == "" and "is expected on standard input" in done.stderr


def test_the_module_shows_bytes_that_are_no_instruction():
    text = "unit 0x4 x\nhost 0x10 3 9\n".replace("9", "2") + "insn 0x4 0xd503201f 0\ninsn 0x8 0 99\ncold 77 0x4\ncode 90 06 06\n"
    done = subprocess.run([MODULE], input=text, capture_output=True, text=True)
    assert done.returncode == 0 and "(no instruction: 06)" in done.stdout and "4  d503201f  nop\n" in done.stdout
