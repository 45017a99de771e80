"""gdb-multiarch debugs programs in arm64_runner."""
import re
import signal
import subprocess
import time

import pytest

import runnerlib

SOURCE = r"""
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
volatile int counter;
volatile long table[4];
static volatile sig_atomic_t caught;
__attribute__((noinline)) int add(int a, int b)
{
	counter++;
	return a + b;
}
static void *work(void *arg)
{
	for (int i = 0; i < 3; i++)
		add(i, 100);
	return NULL;
}
static void handler(int sig)
{
	caught = sig;
}
__attribute__((noinline)) void spin(void)
{
	for (;;)
		counter++;
}
int main(int argc, char **argv)
{
	pthread_t t;
	int s = 0;
	if (argc > 1 && !strcmp(argv[1], "spin"))
		spin();
	signal(SIGUSR1, handler);
	for (int i = 0; i < 3; i++) {
		s = add(s, i);
		table[i] = s;
	}
	raise(SIGUSR1);
	pthread_create(&t, NULL, work, NULL);
	pthread_join(t, NULL);
	if (fork() == 0)
		_exit(add(1, 2));
	wait(NULL);
	printf("%d %d %d\n", s, counter, caught);
	if (argc > 1 && !strcmp(argv[1], "crash"))
		*(volatile int *)8 = 1;
	return 5;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return runnerlib.compiled(SOURCE, "-g", "-O1", where=tmp_path_factory.mktemp("gdb"))


class Session:
    """One run of gdb over one run of the program, by commands known before."""

    def __init__(self, program, commands, *arguments, root=None, shows_signals=False, timeout=120):
        where = program.parent / "stub"
        where.unlink(missing_ok=True)
        options = ["-L", str(root)] if root else []
        self.guest = subprocess.Popen([runnerlib.RUNNER, *options, "--gdb", str(where), str(program), *arguments], stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True)
        end = time.monotonic() + 60
        while not where.exists():
            assert time.monotonic() < end and self.guest.poll() is None
            time.sleep(0.01)
        gdb = ["gdb-multiarch", "-q", "-nx", "-batch", "-ex", "set confirm off", "-ex", "set debuginfod enabled off",
               "-ex", f"target remote {where}"]
        for command in [*([] if shows_signals else ["handle SIGUSR1 nostop noprint pass"]), *commands]:
            gdb += ["-ex", command]
        try:
            done = subprocess.run([*gdb, str(program)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
            self.said = done.stdout + done.stderr
            self.out = self.guest.communicate(timeout=timeout)[0]
        finally:
            self.guest.kill()
        self.status = self.guest.returncode


def test_breakpoints_stop_with_arguments_and_callers(program):
    s = Session(program, ["break add", "continue", "bt", "continue", "print a + b", "delete", "continue"])
    assert "add (a=a@entry=0, b=b@entry=0)" in s.said and re.search(r"#1 .* in main", s.said), s.said
    assert "$1 = 1" in s.said and "exited with code 05" in s.said
    assert (s.status, s.out) == (5, "3 6 10\n")


def test_steps_are_of_one_instruction_and_of_one_line(program):
    s = Session(program, ["break add", "continue", "print $pc", "stepi", "print $pc", "finish", "delete", "continue"])
    first, second = (int(x, 16) for x in re.findall(r"\$\d = .*?(0x[0-9a-f]+) <add", s.said))
    assert second == first + 4
    assert "Value returned is" in s.said and s.status == 5


def test_watchpoints_tell_old_and_new_values(program):
    s = Session(program, ["watch counter", "continue", "continue", "delete", "awatch table[1]", "continue", "delete", "continue"])
    assert "Old value = 0\nNew value = 1" in s.said and "Old value = 1\nNew value = 2" in s.said, s.said
    assert "Hardware access (read/write) watchpoint" in s.said and re.search(r"New value = 1\n", s.said)
    assert s.status == 5


def test_threads_stop_together_and_are_listed(program):
    s = Session(program, ["tbreak work", "continue", "info threads", "thread 1", "bt 2", "continue"])
    assert len(re.findall(r"^[ *] +\d +Thread ", s.said, re.M)) == 2, s.said
    assert re.search(r"\* +2 +Thread .* work ", s.said) and s.status == 5


def test_registers_and_memory_are_read_and_written(program):
    s = Session(program, ["break add", "continue", "set var $x0 = 40", "set var counter = 100", "print $v0.d.u", "print/x $cpsr", "info registers sp",
                          "delete", "continue"])
    assert re.search(r"\$1 = \{0x?[0-9a-f]+, ", s.said) or "$1 = {" in s.said
    assert s.out == "43 106 10\n" and s.status == 5, (s.said, s.out)


def test_signals_are_shown_before_they_are_delivered(program):
    s = Session(program, ["continue", "print (int) caught", "signal 0"], shows_signals=True)
    assert "received signal SIGUSR1" in s.said and "$1 = 0" in s.said, s.said
    assert s.out == "3 6 0\n"
    s = Session(program, ["continue", "continue"], shows_signals=True)
    assert s.out == "3 6 10\n"


def test_a_crash_stops_at_its_instruction(program):
    s = Session(program, ["continue", "bt", "continue"], "crash")
    assert "received signal SIGSEGV" in s.said and re.search(r"#0 .*main", s.said), s.said
    assert "terminated with signal SIGSEGV" in s.said and s.status == -signal.SIGSEGV


def test_an_interrupt_stops_what_runs_for_ever(program):
    s = Session(program, ["python import threading; threading.Timer(1, lambda: gdb.post_event(lambda: gdb.execute('interrupt'))).start()",
                          "continue", "bt 1", "kill"], "spin")
    assert "received signal SIGINT" in s.said and "spin" in s.said, s.said
    assert s.status == -signal.SIGKILL


def test_detached_the_program_goes_on(program):
    s = Session(program, ["break add", "continue", "detach"])
    assert (s.status, s.out) == (5, "3 6 10\n")


def test_libraries_of_the_sysroot_have_symbols(tmp_path):
    root = runnerlib.sysroot()
    program = runnerlib.compiled('#include <stdlib.h>\n#include <stdio.h>\nint main(void)\n{\n\tputs(getenv("HOME") ? "home" : "none");\n\treturn 0;\n}\n',
                                 "-g", "-dynamic", where=tmp_path)
    s = Session(program, ["break main", "continue", "break puts", "continue", "bt 2", "info sharedlibrary", "delete", "continue"], root=root)
    assert re.search(r"#0 .* puts", s.said) and re.search(r"#1 .* main", s.said), s.said
    assert "libc.so.6" in s.said and s.status == 0 and s.out == "home\n"


def test_wrong_places_for_the_stub_are_refused(program):
    done = runnerlib.run([program], options=["--gdb", "70000"])
    assert done.status == 2 and b"give a port from 1 to 65535, or the path of a socket" in done.stderr
    done = runnerlib.run([program], options=["--gdb", "/no/such/folder/x"])
    assert done.status != 0 and b"cannot listen for gdb at /no/such/folder/x" in done.stderr
