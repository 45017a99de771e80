"""arm64_runner starts programs: its options and refusals, execve of all kinds, what a program finds of itself below /proc."""
import os
import re
import shutil
import signal
import subprocess

import pytest

import lib
import runnerlib

CROSS = "aarch64-linux-gnu-gcc"

pytestmark = [pytest.mark.skipif(not os.path.exists(runnerlib.RUNNER), reason="arm64_runner is not built"),
              pytest.mark.skipif(not shutil.which(CROSS), reason=f"no {CROSS} here")]

SHOW = r"""
#include <stdio.h>
#include <sys/auxv.h>
extern char **environ;
int main(int argc, char **argv) {
	for (int i = 0; i < argc; i++)
		printf("[%s]", argv[i]);
	printf(" %s\n", (char *)getauxval(AT_EXECFN));
	for (char **e = environ; *e; e++)
		puts(*e);
	return argc;
}
"""
# Executes argv[2] with argv[3...] as its arguments, argv[0] included; argv[1] says how.
EXEC = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
	char *const none[] = {NULL}, *const env[] = {"X=y", NULL};
	int fd = open(argv[2], O_RDONLY | O_CLOEXEC), copy, status;
	pid_t pid;
	open("/dev/null", O_RDONLY | O_CLOEXEC); /* whether that is closed, the next program tells by its first free descriptor */
	switch (argv[1][0]) {
	case 'p': execve(argv[2], argv + 3, env); break;
	case 'n': execve(argv[2], none, env); break;
	case '0': execve(argv[2], NULL, NULL); break;
	case 'f': fexecve(fd, argv + 3, env); break;
	case 'm': copy = memfd_create("copy", MFD_CLOEXEC); while (sendfile(copy, fd, NULL, 1 << 20) > 0);
		  fexecve(copy, argv + 3, env); break;
	case 'b': execve(argv[2], (char **)8, env); break;
	case 's': if ((errno = posix_spawn(&pid, argv[2], NULL, NULL, argv + 3, env)) == 0) {
			waitpid(pid, &status, 0);
			printf("status %d\n", WEXITSTATUS(status));
			return 0;
		  }
	}
	printf("%s\n", strerrorname_np(errno));
	return 99;
}
"""
SELF = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
static int is_known(const char *line, char *argv0) {
	static const char *const names[] = {"/self", "[heap]", "[stack]", "[vdso]"};
	for (int i = 0; i < 4; i++)
		if (strstr(line, names[i]))
			return 1;
	return !strchr(line, '/') && !strchr(line, '['); /* memory without a name */
}
int main(int argc, char **argv) {
	char text[8192], where[4096];
	int stranger = 0, main_is_there = 0, stack_is_there = 0, folder;
	unsigned long from, to;
	struct stat a, b;
	FILE *f = fopen("/proc/self/maps", "r");
	while (fgets(text, sizeof text, f)) {
		stranger += !is_known(text, argv[0]);
		from = strtoul(text, argv + 1, 16), to = strtoul(argv[1] + 1, NULL, 16);
		main_is_there += (unsigned long)main >= from && (unsigned long)main < to && strstr(text, "r-xp");
		stack_is_there += (unsigned long)text >= from && (unsigned long)text < to && strstr(text, "rw-p") && strstr(text, "[stack]");
	}
	fclose(f);
	printf("%d %d %d\n", stranger, main_is_there, stack_is_there);
	where[readlink("/proc/self/exe", where, sizeof where)] = 0;
	puts(where);
	stat("/proc/self/exe", &a), stat(where, &b);
	printf("%d\n", a.st_ino == b.st_ino);
	sprintf(text, "/proc/%d/task/%d", getpid(), gettid());
	folder = open(text, O_PATH);
	f = fdopen(openat(folder, "comm", O_RDONLY), "r");
	fputs(fgets(text, sizeof text, f), stdout);
	f = fdopen(openat(folder, "cmdline", O_RDONLY), "r");
	printf("%d\n", (int)fread(text, 1, sizeof text, f));
	f = fopen("/proc/cpuinfo", "r");
	while (fgets(text, sizeof text, f) && !strstr(text, "Features"));
	printf("%d\n", strstr(text, " asimd ") != NULL);
	return 0;
}
"""
# Fills its table of descriptors, all of them close-on-exec or not, and executes argv[3...]; argv[2]: by whom.
FULL = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
	struct rlimit limit = {40, 1000};
	int status;
	pid_t pid;
	if (!strcmp(argv[1], "tell")) {
		getrlimit(RLIMIT_NOFILE, &limit);
		status = open("/dev/null", O_RDONLY);
		printf("%d of %d\n", status < 0 ? -errno : status, (int)limit.rlim_cur);
		return 0;
	}
	setrlimit(RLIMIT_NOFILE, &limit);
	while (open("/dev/null", O_RDONLY | (!strcmp(argv[1], "cloexec") ? O_CLOEXEC : 0)) >= 0);
	if (!strcmp(argv[2], "spawn")) {
		errno = posix_spawn(&pid, argv[3], NULL, NULL, argv + 3, NULL);
		if (!errno && waitpid(pid, &status, 0) == pid)
			errno = status;
	} else {
		execv(argv[3], argv + 3);
	}
	getrlimit(RLIMIT_NOFILE, &limit);
	printf("%s, %d\n", errno ? strerror(errno) : "done", (int)limit.rlim_cur);
	return 0;
}
"""
# What there is of a child below /proc: of the same program, with other arguments.
CHILD = r"""
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static void show(int pid, const char *name) {
	char path[64], text[4096];
	sprintf(path, "/proc/%d/%s", pid, name);
	int fd = open(path, O_RDONLY), len = read(fd, text, sizeof text);
	for (int i = 0; i < len; i++)
		putchar(text[i] ? text[i] : ' ');
	putchar('\n');
	close(fd);
}
int main(int argc, char **argv) {
	char path[64], text[4096];
	int up[2], pid;
	if (argc > 3) {
		close(atoi(argv[3]));
		pause();
	}
	pipe(up);
	sprintf(path, "%d", up[1]);
	if ((pid = fork()) == 0)
		execl(argv[1], "another name", "wait", "two words", path, NULL);
	close(up[1]);
	read(up[0], text, 1); /* until it says that it runs */
	show(pid, "cmdline");
	show(pid, "comm");
	sprintf(path, "/proc/%d/exe", pid);
	text[readlink(path, text, sizeof text - 1)] = 0;
	puts(text);
	printf("%d\n", open(path, O_RDONLY) >= 0 && access(path, X_OK) == 0);
	fflush(stdout);
	if (argc == 3)
		getchar(); /* somebody else looks at it */
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return 0;
}
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    where = tmp_path_factory.mktemp("programs")
    for name, source, flags in (("show", SHOW, []), ("exec", EXEC, []), ("self", SELF, []), ("dynamic", SHOW, ["-dynamic"]),
                                ("full", FULL, []), ("child", CHILD, [])):
        (where / f"{name}.d").mkdir()
        runnerlib.compiled(source, *flags, where=where / f"{name}.d").rename(where / name)
    return where


def runner(*words, status=0, env=None, **how):
    done = runnerlib.run(list(words), env=env, **how)
    assert done.status == status, (words, done)
    return done.stdout.decode()


def refused(*words, status, **how):
    done = runnerlib.run(list(words), **how)
    assert (done.status, done.stdout) == (status, b""), done
    assert re.fullmatch(rb"arm64_runner: .*\n", done.stderr), done.stderr
    return done.stderr.decode()


# ---- options ----

def test_arguments_environment_and_name_are_the_programs(programs):
    env = {"A": "1", "B": "2", "PATH": "/bin"}
    out = runner("-E", "C=3=4", "-U", "B", "-E", "A=x", "-0", "name", programs / "show", "-E", "--help", status=3, env=env)
    first, *rest = out.splitlines()
    assert first == f"[name][-E][--help] {programs}/show"
    assert sorted(rest) == ["A=x", "C=3=4", "PATH=/bin"]


def test_behind_two_dashes_is_the_program(programs, tmp_path):
    shutil.copy(programs / "show", tmp_path / "--help")
    assert runner("--", "--help", status=1, cwd=tmp_path).startswith("[--help]")


def test_it_says_what_it_is():
    for option in ("--version", "--about", "--help", "-h"):
        assert "arm64_runner" in runner(option)
    assert all(f"--{word} " in runner("--help") for word in ("sysroot", "env", "unset", "argv0", "strace", "trace", "stats"))


@pytest.mark.parametrize("words, why", [(["--nonsense"], "no option"), (["-L"], "wants an argument"), ([], "which program"),
                                        (["-E", "novalue", "prog"], "VAR=VALUE")])
def test_wrong_use_is_said_in_a_sentence(words, why):
    assert why in refused(*words, status=2)


def test_a_sysroot_that_is_not_there_is_refused():
    assert "/nonexistent" in refused("-L", "/nonexistent", "prog", status=2)
    assert "-L /etc/passwd: Not a directory" in refused("-L", "/etc/passwd", "prog", status=2)


def test_what_cannot_be_run_is_refused_with_the_reason(programs, tmp_path):
    assert "No such file" in refused(tmp_path / "nothing", status=127)
    assert "an x86-64 program; only 64-bit AArch64" in refused("/proc/self/exe", status=126)
    (tmp_path / "text").write_text("hello\n")
    assert "not a program" in refused(tmp_path / "text", status=126)
    assert "a directory, not a program" in refused(tmp_path, status=126)
    assert "give the folder that holds it with -L" in refused(programs / "dynamic", status=127)
    cut = (programs / "show").read_bytes()[:20000]
    (tmp_path / "cut").write_bytes(cut)
    assert "cut short" in refused(tmp_path / "cut", status=126)


def test_a_sysroot_gives_the_interpreter(programs):
    assert runner("-L", "/usr/aarch64-linux-gnu", programs / "dynamic", "a", status=2).startswith(f"[{programs}/dynamic][a]")


def test_strace_trace_and_stats_speak_on_standard_error(programs):
    for option, want in (("--strace", rb"write\(1, "), ("--stats", rb"\d+ blocks of \d+ instructions"),
                         ("--trace", rb"(?m)^\d+ [0-9a-f]{12} d4000001 svc ")):
        done = runnerlib.run([option, programs / "show"])
        assert done.status == 1 and done.stdout.startswith(b"["), done
        assert re.search(want, done.stderr), done.stderr[-2000:]


SPINS = r"""
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) {
	puts("ready");
	fflush(stdout);
	if (argc > 1)
		pause();
	for (;;);
}
"""


def ended(program, option, sig, *arguments):
    """Its standard error, when a signal has ended it that it leaves to its default."""
    process = subprocess.Popen([runnerlib.RUNNER, *option, program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(sig)
    _, said = process.communicate(timeout=lib.PATIENCE)
    assert process.returncode == -sig
    return said.decode()


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, signal.SIGRTMIN + 3])
@pytest.mark.parametrize("arguments", [[], ["waits"]])
def test_who_is_ended_by_a_signal_has_his_last_words(tmp_path, sig, arguments):
    program = runnerlib.compiled(SPINS, where=tmp_path)
    assert ended(program, [], sig, *arguments) == ""
    assert re.search(r"\d+ instructions executed", ended(program, ["--stats"], sig, *arguments))
    name = "SIGRT_" if sig > 32 else signal.Signals(sig).name
    assert f"+++ killed by {name}" in ended(program, ["--strace"], sig, *arguments)


def test_of_a_program_without_a_name_it_is_said():
    assert "No such file" in refused("", status=127)


@pytest.mark.parametrize("words", [["--pid", "1"], ["--json"]])
def test_a_question_that_asks_nothing_is_wrong_use(words):
    done = runnerlib.run(words)
    assert done.status == 2 and b"what is asked" in done.stdout + done.stderr, done


# ---- execve ----

@pytest.mark.parametrize("how", ["p", "f", "m"])
def test_a_program_executes_another(programs, how):
    out = runner(programs / "exec", how, programs / "show", "zero", "", "two words", "-x", status=4)
    first, *rest = out.splitlines()
    assert first.startswith("[zero][][two words][-x] ") and rest == ["X=y"]
    assert first.endswith(f" {programs}/show" if how == "p" else "/dev/fd/" + first[-1])


def test_the_runners_options_are_for_children_too(programs):
    done = runnerlib.run(["--strace", programs / "exec", "p", programs / "show", "zero"])
    assert done.status == 1 and done.stderr.count(b"exit_group(1)") == 1, done


def test_a_spawned_program_is_a_process_of_its_own(programs):
    assert runner(programs / "exec", "s", programs / "show", "zero").splitlines()[-1] == "status 1"


def test_no_arguments_are_one_that_is_empty(programs):
    assert runner(programs / "exec", "n", programs / "show", status=1).startswith("[] ")
    assert runner(programs / "exec", "0", programs / "show", status=1) == f"[] {programs}/show\n"


def test_a_script_is_interpreted(programs, tmp_path):
    script = tmp_path / "script"
    script.write_text(f"#! {programs}/show -a  b \n")
    script.chmod(0o755)
    assert runner(programs / "exec", "p", script, "zero", "one", status=4).startswith(f"[{programs}/show][-a  b][{script}][one] {script}\n")
    assert runner(script, "one", status=4).startswith(f"[{programs}/show][-a  b][{script}][one]")
    script.write_text("#!/bin/echo host\n")
    assert runner(programs / "exec", "p", script, "zero", "one") == f"host {script} one\n"


def test_what_the_machine_can_execute_the_machine_executes(programs):
    assert runner(programs / "exec", "p", "/bin/echo", "zero", "hello") == "hello\n"
    assert runner(programs / "exec", "f", "/bin/uname", "zero", "-m") == os.uname().machine + "\n"


def test_errors_of_execve_are_linuxs(programs, tmp_path):
    text, plain = tmp_path / "text", tmp_path / "plain"
    text.write_text("nothing\n")
    text.chmod(0o755)
    shutil.copy(programs / "show", plain)
    plain.chmod(0o644)
    (tmp_path / "lost").write_text("#!/nonexistent\n")
    (tmp_path / "lost").chmod(0o755)
    (tmp_path / "cut").write_bytes((programs / "show").read_bytes()[:100])
    (tmp_path / "cut").chmod(0o755)
    for how, path, error in (("p", tmp_path / "nothing", "ENOENT"), ("p", tmp_path, "EACCES"), ("p", plain, "EACCES"),
                             ("p", text, "ENOEXEC"), ("p", tmp_path / "lost", "ENOENT"), ("p", tmp_path / "cut", "ENOEXEC"),
                             ("b", programs / "show", "EFAULT"), ("p", programs / "dynamic", "ENOENT"),
                             ("p", text / "below", "ENOTDIR"), ("s", tmp_path / "nothing", "ENOENT")):
        assert runner(programs / "exec", how, path, "zero", status=99) == error + "\n", (how, path)


def test_descriptors_of_the_runner_are_not_the_programs(programs):
    """The first free descriptor is the same as natively: the program's file is closed, and what was close-on-exec."""
    script = "import os, sys\nprint(sorted(map(int, os.listdir('/proc/self/fd'))))"
    native = subprocess.run(["python3", "-c", script], capture_output=True, text=True, check=True).stdout
    assert runner(programs / "exec", "p", shutil.which("python3"), "python3", "-c", script) == native


@pytest.mark.parametrize("how", ["exec", "spawn"])
def test_a_program_without_free_descriptors_executes_another(programs, how):
    end = ["done, 40"] if how == "spawn" else []
    assert runner(programs / "full", "cloexec", how, programs / "full", "tell").splitlines() == ["3 of 40", *end]
    assert runner(programs / "full", "kept", how, programs / "full", "tell").splitlines() == ["-24 of 40", *end]
    assert runner(programs / "full", "cloexec", how, "/bin/sh", "-c", "ulimit -n").splitlines() == ["40", *end]
    assert runner(programs / "full", "cloexec", "exec", "/nonexistent") == "No such file or directory, 40\n"


# ---- limits ----

def limited(letter, kilobytes, *words, status=125):
    """What is said, on one line."""
    done = subprocess.run(["bash", "-c", f'ulimit -{letter} {kilobytes}; exec "$@"', "-", runnerlib.RUNNER, *words],
                          capture_output=True, text=True)
    assert done.returncode == status and done.stderr.count("\n") == 1, done
    return done.stderr


@pytest.mark.parametrize("kilobytes", [16, 24, 64])
def test_the_runner_has_a_stack_whatever_the_limit_is(programs, kilobytes):
    limited = ["bash", "-c", f'ulimit -s {kilobytes}; exec "$@"', "-", runnerlib.RUNNER]
    done = subprocess.run([*limited, programs / "show", "a"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout.startswith(f"[{programs}/show][a]"), done
    done = subprocess.run([*limited, "--livepatch-apply", "abort", "0xd503201f", "why", "--livepatch-list", programs / "show"],
                          capture_output=True, text=True)
    assert done.returncode == 1 and "why" in done.stdout, done
    done = subprocess.run([*limited, "/nonexistent"], capture_output=True, text=True)
    assert done.returncode == 127 and "No such file" in done.stderr, done


@pytest.mark.parametrize("letter, kilobytes, name", [("d", 1000, "data"), ("v", 8000, "address space")])
def test_limits_of_memory_that_the_runner_cannot_live_under_are_told(programs, letter, kilobytes, name):
    said = limited(letter, kilobytes, programs / "show")
    assert f"the limit of {name} (ulimit -{letter}) is {kilobytes} KB" in said, said


def test_a_limit_of_memory_in_which_the_programs_stack_has_no_room_is_told(programs):
    assert "no room for a stack of 8192 KB (ulimit -s)" in limited("s 8192; ulimit -d", 6000, programs / "show", status=126)


# ---- /proc ----

def test_a_child_is_seen_as_its_program(programs):
    out = runner(programs / "child", programs / "child").splitlines()
    assert re.fullmatch(r"another name wait two words \d+ ", out[0]) and out[1:] == ["child", "", f"{programs}/child", "1"]


def test_the_machine_sees_a_programs_arguments(programs):
    guest = subprocess.Popen([runnerlib.RUNNER, programs / "child", programs / "child", "stay"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for _ in range(5):
        guest.stdout.readline()
    with open(f"/proc/{guest.pid}/cmdline", "rb") as seen:
        assert seen.read() == b"\0".join(str(word).encode() for word in (programs / "child", programs / "child", "stay", ""))
    guest.communicate(b"\n")
    assert guest.returncode == 0


def test_a_program_finds_itself_below_proc(programs, tmp_path):
    out = runner(programs / "self", "x").splitlines()
    size = len(f"{programs}/self") + len("x") + 2
    assert out == ["0 1 1", f"{programs}/self", "1", "self", str(size), "1"]
