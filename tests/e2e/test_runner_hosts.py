"""--host-cpu: translated as for machines that have less than this one, programs do what they do."""
import re
import subprocess

import lib
import pytest
import runnerlib
from test_runner_differential import cases_of, differential

HOSTS = ["native", "avx512", "avx2", "avx2,+aes,+pclmul", "native,-avx512", "native,-gfni,-sha", "sse4"]

PROGRAM = """
#include <arm_neon.h>
#include <stdio.h>
int main(void)
{
	double sum = 0;
	unsigned hash = 5381;
	static unsigned char bytes[4096];
	uint8x16_t all = vdupq_n_u8(0);
	for (int i = 1; i < 3000; i++)
		sum += 1.0 / i * (i & 1 ? 1 : -0.5);
	for (int i = 0; i < 4096; i++) {
		hash = hash * 33 + __builtin_clz(hash | 1) + __builtin_ctz(hash | 8) + (hash << (i & 15)) + (hash >> 3 | hash << 29);
		bytes[i] = hash >> 11;
	}
	for (int i = 0; i < 4096; i += 16)
		all = vqaddq_u8(vrbitq_u8(all), vcntq_u8(vld1q_u8(bytes + i)));
	printf("%.17g %u %u\\\\n", sum, hash, vaddlvq_u8(all));
}
""".replace("\\\\n", "\\n")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return runnerlib.compiled(PROGRAM, where=tmp_path_factory.mktemp("hosts"))


def this_machine_can(cpu):
    done = runnerlib.run(["/nonexistent"], options=[f"--host-cpu={cpu}"])
    assert done.status in (2, 127), done.stderr
    return done.status == 127


def used(stderr):
    return re.search(rb"translated code makes use of: (.*)", stderr)[1].decode().split()


@pytest.mark.parametrize("cpu", HOSTS)
def test_a_program_does_the_same_on_every_host(cpu, program):
    if not this_machine_can(cpu):
        pytest.skip(f"this machine has no {cpu}")
    interpreted = runnerlib.run([program], options=["--no-jit"])
    translated = runnerlib.run([program], options=["--jit=tier1", f"--host-cpu={cpu}"])
    assert interpreted.status == 0 and interpreted.stdout.count(b" ") == 2
    assert translated == interpreted
    checked = runnerlib.run([program], options=["--jit=check", f"--host-cpu={cpu}"])
    assert (checked.status, checked.stdout) == (0, interpreted.stdout), checked.stderr


@pytest.mark.parametrize("cpu", HOSTS)
def test_random_streams_do_on_every_host_what_they_do_under_qemu(cpu, tmp_path):
    if not this_machine_can(cpu):
        pytest.skip(f"this machine has no {cpu}")
    script = tmp_path / "ours"
    script.write_text(f'#!/bin/sh\nexec {runnerlib.RUNNER} --jit=tier1 --host-cpu={cpu} "$@"\n')
    script.chmod(0o755)
    assert cases_of(differential("--cases", 20000, "--seed", 9, ours=script)) >= 20000


@pytest.mark.left_out("no", reason="it is about translated code")
@pytest.mark.left_out("sse4", "avx2", reason="it begins with a host that nothing is masked of")
def test_what_is_masked_is_not_made_use_of(program):
    def with_cpu(*options):
        done = runnerlib.run([program], options=["--stats", "--no-cache", *options])
        left = int(re.search(rb"(\d+) of their instructions left to the interpreter", done.stderr)[1])
        return used(done.stderr), left

    everything, left = with_cpu()
    assert with_cpu("--host-cpu=native") == (everything, left)
    nothing, all_left = with_cpu("--host-cpu=sse4")
    assert nothing == ["none"]
    if "avx2" in everything:
        assert all_left > left
        assert with_cpu("--host-cpu=avx2") == (["avx2"], left)
    for feature in everything[1:]:
        assert feature not in with_cpu(f"--host-cpu=native,-{feature}")[0]


@pytest.mark.left_out("no", reason="it is about translated code")
def test_programs_that_a_program_executes_are_translated_for_the_same_host(program, tmp_path):
    parent = runnerlib.compiled("""
#include <unistd.h>
int main(int argc, char **argv) { execv(argv[1], argv + 1); return 9; }""", where=tmp_path)
    done = runnerlib.run([parent, program], options=["--stats", "--host-cpu=sse4"])
    assert done.status == 0 and used(done.stderr) == ["none"]


@pytest.mark.left_out("no", reason="it is about translated code")
@pytest.mark.left_out("sse4", "avx2", reason="it begins with a host that nothing is masked of")
def test_a_host_of_the_configuration_counts_where_the_command_line_names_none(program, tmp_path):
    (tmp_path / "arm64runner.conf").write_text("[runner]\nhost_cpu = sse4\n")
    tmp_path.chmod(0o755)
    assert used(runnerlib.run([program], options=["--stats"], cwd=tmp_path).stderr) == ["none"]
    named = runnerlib.run([program], options=["--stats", "--host-cpu=native"], cwd=tmp_path)
    assert named.status == 0 and used(named.stderr) == used(runnerlib.run([program], options=["--stats"]).stderr)


@pytest.mark.parametrize("cpu, sentence", [
    ("avx3", b'"avx3" is not known; write sse4, avx2, avx512 or native, and behind that ,-FEATURE or ,+FEATURE of: avx2 '),
    ("avx2,aes", b'"aes" is not known'),
    ("avx2,-", b'"-" is not known')])
def test_a_host_that_is_none_is_refused_with_what_there_is(cpu, sentence):
    done = runnerlib.run(["/bin/true"], options=[f"--host-cpu={cpu}"])
    assert done.status == lib.USAGE and b"--host-cpu=" + cpu.encode() in done.stderr and sentence in done.stderr


def test_a_host_that_has_more_than_this_machine_is_refused():
    flags = subprocess.run(["grep", "-m1", "^flags", "/proc/cpuinfo"], capture_output=True, text=True).stdout.split()
    if "avx512vbmi" in flags:
        pytest.skip("this machine has everything that there is a name for")
    done = runnerlib.run(["/bin/true"], options=["--host-cpu=avx512,+vbmi"])
    assert done.status == lib.USAGE and b"this CPU, or what is left of it, has no" in done.stderr
