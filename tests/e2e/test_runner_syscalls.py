"""System calls of an emulated program: the same results as the machine's own, family by family (tests/guest/sys_*.c)."""
import os
import re
import shutil
import signal
import subprocess

import pytest

import lib

GUEST = lib.TOP / "tests" / "guest"
RUNNER = lib.build_directory() / "src" / "tool" / "arm64_runner"
CROSS = "aarch64-linux-gnu-gcc"

pytestmark = [pytest.mark.skipif(not RUNNER.exists(), reason="arm64_runner is not built"),
              pytest.mark.skipif(not shutil.which(CROSS), reason=f"no {CROSS} here")]

FAMILIES = ["sys_files", "sys_sockets", "sys_events", "sys_process", "sys_ipc", "sys_bad_pointers"]
# What qemu-aarch64 7.2 does not offer, or answers itself, by line; where it is silent here, all three say the same.
QEMU_DIFFERS = {
    "sys_files": "openat2",
    "sys_ipc": r"madvise|MAP_FIXED_NOREPLACE",
    "sys_process": r"^\d+$|^-1$|RLIMIT|restart_syscall|process_vm|^before$|^other$",
    "sys_bad_pointers": r"^(clock_getres|clone3|epoll_pwait2|execveat|futex_waitv|openat2|process_vm_readv|waitid|wait4|mincore|"
                        r"getrlimit|setrlimit|prlimit64|sched_\w+|rt_sig\w+|sigaltstack|ppoll|pselect6|epoll_pwait|faccessat2|"
                        r"copy_file_range|get_robust_list|getcpu|capget|recvmmsg|recvmsg|sendmsg|signalfd4|utimensat|semctl|semop|"
                        r"semtimedop|msgsnd|splice|readv|writev|getsockname|getsockopt|setsockopt|memfd_create|execve|connect|bind) ",
}


def compiled(name, compiler):
    program = lib.scratch_directory() / name
    subprocess.run([*compiler, "-O1", "-D_GNU_SOURCE", "-w", GUEST / f"{name}.c", "-o", program, "-pthread", "-lrt"], check=True)
    return program


@pytest.fixture(scope="module")
def native():
    return lambda name: compiled(name, ["cc"])


@pytest.fixture(scope="module")
def guest():
    return lambda name: compiled(name, [CROSS, "-static"])


def run(*command, status=0, **how):
    process = subprocess.run([*map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                             timeout=lib.PATIENCE, **how)
    assert process.returncode == status, f"{command}: {process.returncode}\n{process.stdout[-4000:]}{process.stderr[-4000:]}"
    return process


def without(text, pattern):
    return [line for line in text.splitlines() if not (pattern and re.search(pattern, line))]


@pytest.mark.parametrize("family", FAMILIES)
def test_calls_have_the_results_that_they_have_natively(family, native, guest):
    assert run(RUNNER, guest(family)).stdout == run(native(family)).stdout


@pytest.mark.skipif(not shutil.which("qemu-aarch64"), reason="no qemu-aarch64 here")
@pytest.mark.parametrize("family", FAMILIES)
def test_calls_have_the_results_that_they_have_under_qemu(family, guest):
    program, differs = guest(family), QEMU_DIFFERS.get(family)
    assert without(run(RUNNER, program).stdout, differs) == without(run("qemu-aarch64", program).stdout, differs)
