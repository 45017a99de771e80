"""Signals and faults of emulated programs: sent ones as on this machine, what is arm64's own as its kernel has it."""
import re
import shutil
import signal
import subprocess

import pytest

import guestlib
import lib
import runnerlib

pytestmark = pytest.mark.skipif(bool(guestlib.missing()), reason=guestlib.missing() or "-")


@pytest.mark.parametrize("part", guestlib.parts("signals")[0])
def test_signals_come_as_on_this_machine(part):
    guestlib.same("signals", part)


def said(name, part, status=0):
    run = guestlib.ours(name, part)
    assert run.status == status, run.stderr.decode()
    return run.stdout.decode().splitlines()


def test_a_handler_sees_and_changes_all_registers():
    assert said("signals", "context_is_written_back") == [
        "magic 46508001 size 528 x19 1 x20 1234 fpcr 800000 fpsr 0 sp 1",
        "v9 5a5a5a5a5a5a5a5a 5a5a5a5a5a5a5a5a",
        "x19 99 nzcv 60000000 fpcr c00000 d9 5a5a5a5a5a5a5a5a v8 7 4000000000000000 x0 0"]


def test_the_frame_is_laid_out_as_the_kernel_does():
    assert said("signals", "stays_and_goes") == [
        "record 1 1, info below context 128, alignment 0, space 4688", "flags 0 link 1 code -6"]


def test_the_guest_has_the_signals_that_c_libraries_keep_for_themselves():
    assert said("signals", "thirty_two") == [
        "0", "signal 32: signo 32 code -6 pid 1 uid 1 value 0, mask 0",
        "0", "signal 33: signo 33 code -6 pid 1 uid 1 value 0, mask 0"]


def test_a_frame_that_the_kernel_could_not_have_built_is_a_fault():
    assert said("signals", "bad_frames") == ["0: b", "1: b", "2: b", "3: b", "4: 100"]


# ---- faults

QEMU = ["-cpu", "max,sve=off,sme=off"]
# Where qemu-aarch64 7.2 is not Linux: the code of an undefined instruction, and fault_address.
NOT_LINUX = [(re.compile(r"signal 4 code 2"), "signal 4 code 1"), (re.compile(r", fault_address differs"), "")]


def like_linux(text):
    for pattern, instead in NOT_LINUX:
        text = pattern.sub(instead, text)
    return text


@pytest.mark.skipif(not shutil.which(runnerlib.QEMU), reason="no qemu-aarch64 here")
@pytest.mark.parametrize("part", ["loads", "stores", "others", "branches", "ends"])
def test_faults_are_told_as_under_qemu(part):
    run = runnerlib.run([guestlib.guest("faults"), part], runnerlib.QEMU, options=QEMU)
    expected = like_linux(run.stdout.decode()).splitlines()
    seen = like_linux("\n".join(said("faults", part))).splitlines()
    # The block that DC ZVA clears begins at the address that it is given; qemu names the page.
    assert [line for line in seen if "dc zva" not in line] == [line for line in expected if "dc zva" not in line]


def test_an_address_that_no_mapping_can_have_is_named():
    assert said("faults", "tagged") == [
        "ldr x0, [x9]: no fault",
        "ldr x0, [x9]: signal 11 code 2 addr room+1000",
        "str x0, [x9, #8]: signal 11 code 2 addr room+1008",
        "ldr x0, [x9]: signal 11 code 1 addr 1000000000000",
        "ldr x0, [x9, #24]: signal 11 code 1 addr 12345600000018",
        "ldp x0, x1, [x9, #32]: signal 11 code 1 addr 12345600000020",
        "ldr q0, [x9], #16: signal 11 code 1 addr 12345600000000",
        "strb w0, [x9, #-1]!: signal 11 code 1 addr 12345600000000",
        "ld2 {v0.16b, v1.16b}, [x9]: signal 11 code 1 addr 12345600000000",
        "ldxr x0, [x9]: signal 11 code 1 addr 12345600000000",
        "mov x1, #3", "ldr w0, [x9, x1, lsl #2]: signal 11 code 1 addr 1234560000000c",
        "mov w1, #-4", "ldr w0, [x9, w1, sxtw]: signal 11 code 1 addr 123455fffffffc"]


def test_the_syndrome_says_whether_it_was_a_write():
    assert said("faults", "write_esr") == ["ldr x0, [x9]: esr 92000007", "str x0, [x9]: esr 92000047",
                                           "str x0, [x9]: esr 9200004f"]


def test_calls_that_are_given_bad_memory_fail_and_do_not_fault():
    out = guestlib.ours("faults", "calls").stdout.replace(b"\0", b"").decode().splitlines()
    assert out == ["read -1 14", "write over the edge 1", "clock 14", "uname -1 14", "faults 0"]


def test_a_stack_overflow_is_handled_on_the_alternate_stack():
    assert said("faults", "stack_overflow", status=3) == ["overflow: near sp 1, code 1"]


# ---- the end by a signal

CRASH = (r"arm64_runner: guest ended by SIGSEGV, address 0x18, at 0x[0-9a-f]+ inner\+0x[0-9a-f]+ \(faults\) "
         r"< 0x[0-9a-f]+ outer\+0x[0-9a-f]+ \(faults\) < 0x[0-9a-f]+ crash\+0x[0-9a-f]+ \(faults\) < 0x[0-9a-f]+ main\+.*\n")


def test_who_crashes_leaves_one_line_and_ends_by_the_signal(tmp_path):
    run = guestlib.ours("faults", "crash", cwd=tmp_path)
    assert run.status == -signal.SIGSEGV
    assert re.fullmatch(CRASH, run.stderr.decode()), run.stderr.decode()
    assert not list(tmp_path.iterdir())


def test_callers_are_told_by_return_addresses_that_are_signed(tmp_path):
    program = tmp_path / "faults"
    subprocess.run([guestlib.CROSS, *guestlib.FLAGS, "-static", "-march=armv8.2-a", "-mbranch-protection=pac-ret+leaf", "-o", program,
                    guestlib.GUEST / "faults.c"], check=True)
    run = runnerlib.run([program, "crash"])
    assert run.status == -signal.SIGSEGV
    assert re.fullmatch(CRASH, run.stderr.decode()), run.stderr.decode()


@pytest.mark.skipif(not shutil.which("gdb-multiarch"), reason="no gdb-multiarch here")
def test_gdb_reads_the_core_file(tmp_path):
    run = guestlib.ours("faults", "crash", cwd=tmp_path, options=["--core"])
    assert run.status == -signal.SIGSEGV
    core, = tmp_path.glob("core.*")
    ask = ["bt", "p/x $v5.d.u", "p $_siginfo.si_signo", "p $_siginfo._sifields._sigfault.si_addr", "info auxv", "p *(int*)room",
           "info threads", "thread 2", "bt"]
    out = subprocess.run(["gdb-multiarch", "-nx", "-batch", *[x for a in ask for x in ("-ex", a)], guestlib.guest("faults"), core],
                         stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=lib.PATIENCE).stdout
    assert re.search(r"#0 .* inner \(p=.*0x18\).*\n#1 .* outer \(\).*\n#2 .* crash \(\)", out), out
    assert "{0x7777777777777777, 0x7777777777777777}" in out and "= 11\n" in out and "(void *) 0x18" in out
    assert re.search(r'AT_PLATFORM .*"aarch64"', out)
    assert len(re.findall(r"^[* ] \d +Thread ", out, re.MULTILINE)) == 2
    assert re.search(r"\[Switching to thread 2.*\n(.*\n)*#\d+ .* sit \(", out), out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGQUIT, signal.SIGRTMIN + 4])
def test_a_signal_from_outside_ends_the_runner_by_itself(number):
    with subprocess.Popen([runnerlib.RUNNER, guestlib.guest("processes"), "waits"], stdout=subprocess.PIPE) as p:
        assert p.stdout.readline() == b"waiting\n"
        p.send_signal(number)
        assert p.wait(lib.PATIENCE) == -number


def test_a_shell_can_stop_and_continue_it():
    with subprocess.Popen([runnerlib.RUNNER, guestlib.guest("processes"), "waits"], stdout=subprocess.PIPE,
                          process_group=0) as p:  # the kernel does not stop a group without a parent in its session
        assert p.stdout.readline() == b"waiting\n"
        p.send_signal(signal.SIGTSTP)
        lib.wait_for(lambda: "T" in lib.states(p.pid), "the stop")
        p.send_signal(signal.SIGCONT)
        lib.wait_for(lambda: "T" not in lib.states(p.pid), "the end of the stop")
        p.terminate()
        assert p.wait(lib.PATIENCE) == -signal.SIGTERM


def test_what_the_runner_is_told_to_ignore_its_program_ignores():
    run = subprocess.run(["sh", "-c", 'trap "" TERM; exec "$@"', "sh", runnerlib.RUNNER, guestlib.guest("processes"), "ignores"],
                         stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=lib.PATIENCE)
    assert run.stdout == "TERM is ignored 1\nstill here\n" and run.returncode == 0
