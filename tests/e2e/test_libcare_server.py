"""libcare-server and libcare-client: the protocol, who may ask, programs that are patched before main()."""
import os
import selectors
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

import lib
import libcare
from lib import Victim
from libcare import FAILED, USAGE, Lines, Server


@pytest.fixture
def program():
    return libcare.program()


@pytest.fixture
def store(program):
    store = libcare.store()
    libcare.put(store, libcare.answering("new", program, id="0001"))
    return store


# ---- being asked

def test_every_command_of_libcare_ctl(program, store):
    with Server(store) as server, Victim(program) as v:
        assert server.ask("patch", "-p", v.pid, store).out == \
            f"1 patch hunk(s) have been successfully applied to PID '{v.pid}'\n"
        assert v.ask("answer 1") == "new 1"
        assert "Patch id:                 0001" in server.ask("info", "-p", v.pid).out
        assert server.ask("unpatch", "-p", v.pid, "-i", "0001").out == \
            f"1 patch hunk(s) were successfully cancelled from PID '{v.pid}'\n"
        assert v.ask("answer 1") == "old one"


def test_the_status_of_what_was_asked_is_the_clients(program, store):
    with Server(store) as server:
        result = server.ask("patch", "-p", lib.NO_PROCESS, store, expect=libcare.LOST)
        assert "there is no process" in result.out
        assert "unknown command" in server.ask("frobnicate", expect=USAGE).out


def test_a_client_that_knows_no_status_gets_text_alone(program, store):
    with Server(store) as server, Victim(program) as v:
        request = b"\0".join(["patch", "-p", str(v.pid), str(store)][i].encode() for i in range(4)) + b"\0\0"
        assert server.raw(request) == f"1 patch hunk(s) have been successfully applied to PID '{v.pid}'\n".encode()


def test_update_patches_everybody(program, store):
    with Server(store) as server, Victim(program) as v, Victim(program) as w:
        said = server.ask("update").out
        assert f"'{v.pid}'" in said and f"'{w.pid}'" in said
        assert (v.ask("answer 1"), w.ask("answer 1")) == ("new 1", "new 1")


def test_storage_is_changed_and_must_be_one(program, store):
    with Server(libcare.store()) as server, Victim(program) as v:
        server.ask("update")
        assert v.ask("answer 1") == "old one"
        assert "cannot open /nowhere" in server.ask("storage", "/nowhere", expect=FAILED).out
        writable = libcare.store()
        writable.chmod(0o777)
        assert "may be written by others" in server.ask("storage", writable, expect=FAILED).out
        assert server.ask("storage", store).out == ""
        server.ask("update")
        assert v.ask("answer 1") == "new 1"


def test_stop_ends_it_and_removes_the_socket(store):
    with Server(store) as server:
        server.ask("stop")
        assert server.process.wait(lib.PATIENCE) == 0
        assert not Path(server.socket).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(store, number):
    with Server(store) as server:
        server.process.send_signal(number)
        assert server.process.wait(lib.PATIENCE) == 0
        assert not Path(server.socket).exists()


def test_libcare_ctl_server_is_the_same(program, store):
    directory = lib.scratch_directory()
    process = subprocess.Popen([libcare.path_of("libcare-ctl"), "server", directory / "socket", store])
    try:
        lib.wait_for((directory / "socket").exists, "the socket")
        with Victim(program) as v:
            lib.wait_for(lambda: libcare.run("libcare-client", directory / "socket", "update", expect=None).status == 0,
                         "the server")
            assert v.ask("answer 1") == "new 1"
        libcare.run("libcare-client", directory / "socket", "stop")
        assert process.wait(lib.PATIENCE) == 0
    finally:
        process.kill()


# ---- sockets

def test_the_socket_is_its_owners_alone(store):
    with Server(store) as server:
        assert Path(server.socket).stat().st_mode & 0o777 == 0o600


def test_an_abstract_socket(store):
    with Server(store, name=f"@livepatch-test-{os.getpid()}") as server:
        server.ask("stop")
        assert server.process.wait(lib.PATIENCE) == 0


def test_an_inherited_socket(store):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        path = lib.scratch_directory() / "socket"
        s.bind(str(path))
        s.listen()
        process = subprocess.Popen([libcare.path_of("libcare-server"), f"&{s.fileno()}", store], pass_fds=[s.fileno()])
    try:
        libcare.run("libcare-client", path, "stop")
        assert process.wait(lib.PATIENCE) == 0
    finally:
        process.kill()


def test_a_second_server_on_the_same_socket_is_refused(store):
    with Server(store) as server:
        assert "cannot bind" in libcare.run("libcare-server", server.socket, store, expect=FAILED).err
        server.ask("info", "-p", "all")


def test_the_socket_of_a_killed_server_is_taken_over(store):
    with Server(store) as server:
        server.process.kill()
        server.process.wait()
        assert Path(server.socket).exists()
        with Server(store, name=server.socket) as second:
            second.ask("info", "-p", "all")


# ---- hostile requests

@pytest.mark.parametrize("request_bytes", [b"\0\0", b"\0" * 20000, b"a" * 20000, b"a\0" * 500 + b"\0", b"\xff\xfe\0\0",
                                           b"execve\0-1\0\0", b"execve\0x\0\0", b"execve\0\0", b"startup\0001\0\0",
                                           b"execve\x0099999999\x003\0\0", b"kill\0001\0\0", b"run\0\0", b"storage\0\0",
                                           b"server\0/tmp/x\0\0"],
                         ids=lambda b: repr(b[:12]))
def test_a_hostile_request_harms_nobody(program, store, request_bytes):
    with Server(store) as server, Victim(program) as v:
        server.raw(request_bytes)
        assert server.process.poll() is None
        server.ask("patch", "-p", v.pid, store)
        assert v.ask("answer 1") == "new 1"


def test_those_who_say_nothing_do_not_keep_others_waiting(program, store):
    with Server(store) as server, Victim(program) as v:
        silent = [server.connection() for _ in range(300)]
        for s in silent[::2]:
            with suppress(OSError):  # the oldest have been sent away
                s.send(b"patch\0-p")
        server.ask("patch", "-p", v.pid, store)
        assert v.ask("answer 1") == "new 1"
        for s in silent:
            s.close()


def test_kill_is_for_what_run_has_started(program, store):
    with Server(store) as server, Victim(program) as v:
        assert "not a process that `run` started" in server.ask("kill", v.pid, expect=FAILED).out
        assert v.ask("answer 1") == "old one"


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed, which root alone can be")
def test_another_user_may_not_ask(program, store):
    with Server(store) as server, Victim(program) as v:
        os.chmod(server.directory.name, 0o755)
        os.chmod(server.socket, 0o666)  # what an administrator may do who wants programs of others patched at their start

        def become_nobody():
            os.setgid(65534)
            os.setuid(65534)

        for words in (["patch", "-p", str(v.pid), str(store)], ["stop"], ["storage", "/tmp"], ["kill", str(v.pid)],
                      ["execve", str(v.pid), "3"], ["startup", str(v.pid)]):
            asked = subprocess.run([libcare.path_of("libcare-client"), server.socket, *words], capture_output=True,
                                   text=True, preexec_fn=become_nobody)
            assert (asked.returncode, asked.stdout) == (FAILED, "libcare-server: you may not ask for that\n"), words
        assert v.ask("answer 1") == "old one"
        assert server.process.poll() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed, which root alone can be")
def test_another_user_may_have_his_own_programs_patched_when_he_is_let_in(tmp_path):
    program = early()
    with Server(early_store(program)) as server:
        os.chmod(server.directory.name, 0o755)
        os.chmod(server.socket, 0o666)
        said = subprocess.run(["sh", "-c", f"exec {program} mine </dev/null"], capture_output=True, text=True, user=65534,
                              group=65534, env={"LD_PRELOAD": str(libcare.preload_path()),
                                                "LIBCARE_CTL_UNIX": server.socket})
        assert said.stdout.startswith("new 1 mine 3 args 2\n"), (said, server.text())


def test_a_killed_server_leaves_its_targets_alone(program, store):
    with Server(store) as server, Victim(program) as v:
        server.ask("patch", "-p", v.pid, store)
        server.process.kill()
        server.process.wait()
        assert v.ask("answer 1") == "new 1"
        assert not lib.traced(v.pid)


# ---- programs that begin

EARLY = """
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/auxv.h>
#include "e2e_serve.h"
PATCHED int answer(int n, char *out, size_t size) { return snprintf(out, size, "old %%d", n); }
static char first[64];
__attribute__((constructor)) static void early(void) { answer(0, first, sizeof first); }
static void request(char *line)
{
	char out[64];
	answer(2, out, sizeof out);
	say("%%s", out);
}
int main(int argc, char **argv)
{
	char out[64];
	answer(1, out, sizeof out);
	/* what was said in main() before anything else, and how many descriptors are open */
	say("%%s %%s %%d args %%d", out, argv[argc - 1], dup(0), argc);
	serve(request);
}
"""


def early(**options):
    source = lib.source_file(EARLY.replace("%%", "%"), "early.c")
    return lib.compiled(str(source), name="early", **options)


def started(argv, server, **env):
    """The program's first line, and the process."""
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               env={**os.environ, "LD_PRELOAD": str(libcare.preload_path()),
                                    "LIBCARE_CTL_UNIX": server.socket, **env})
    return process, Lines(process.stdout.fileno())


def end(process):
    process.stdin.close()
    process.wait(lib.PATIENCE)
    process.stdout.close()


@pytest.fixture(params=["pie", "non-pie", "static", "static-pie"])
def early_program(request):
    return early(link=request.param)


def early_store(program):
    store = libcare.store()
    libcare.put(store, libcare.answering("new", program, id="early"))
    return store


def test_a_program_is_patched_before_main(early_program):
    """A shell with the library executes it."""
    with Server(early_store(early_program)) as server:
        process, lines = started(["sh", "-c", f"exec {early_program} first second"], server)
        assert lines.next() == "new 1 second 3 args 3", server.text()
        assert lines.next() == "ready"
        assert not lib.traced(process.pid)
        end(process)
        assert process.returncode == 0


def test_each_program_of_a_script_is_patched():
    program = early()
    script = lib.scratch_directory() / "script"
    script.write_text(f"#!/bin/sh\nfor i in 1 2 3; do {program} $i </dev/null; done\n")
    script.chmod(0o755)
    with Server(early_store(program)) as server:
        process, lines = started([script], server)
        for i in range(3):
            assert lines.until(lambda line: line != "ready")[-1] == f"new 1 {i + 1} 3 args 2", server.text()
        end(process)


def test_run_patches_what_it_starts_before_main():
    program = early()
    with Server(early_store(program)) as server:
        pid = int(server.ask("run", program, "only").out)
        lib.wait_for(lambda: "new 1 only" in server.text(), "the program to begin")
        assert "old" not in server.text()
        with suppress(ProcessLookupError):
            server.ask("kill", pid, expect=None)


def test_the_only_word_of_run_is_split_at_blanks():
    program = early()
    with Server(early_store(program)) as server:
        server.ask("run", f"{program} one two")
        lib.wait_for(lambda: "new 1 two 3 args 3" in server.text(), "the program to begin")


def test_kill_ends_what_run_has_started(program, store):
    with Server(store) as server:
        pid = int(server.ask("run", "sleep", "1000").out)
        lib.wait_for(lambda: lib.alive(pid), "it to run")
        server.ask("kill", pid)
        lib.wait_for(lambda: not lib.alive(pid), "it to end")


def test_a_program_that_was_started_without_the_library_asks_by_itself():
    """posix_spawn() in a parent that has not loaded it: the library's constructor waits for the server."""
    program = early()
    with Server(early_store(program)) as server:
        read, write = os.pipe()
        stdin, keep = os.pipe()
        pid = os.posix_spawn(program, [str(program), "spawned"],
                             {"LD_PRELOAD": str(libcare.preload_path()), "LIBCARE_CTL_UNIX": server.socket},
                             file_actions=[(os.POSIX_SPAWN_DUP2, write, 1), (os.POSIX_SPAWN_DUP2, stdin, 0)])
        os.close(write)
        assert Lines(read).next().startswith("new 1 spawned"), server.text()
        os.close(keep)
        os.close(stdin)
        os.waitpid(pid, 0)
        os.close(read)


def test_a_program_that_a_child_of_vfork_executes():
    """Python's subprocess does; the child shares its parent's memory until then."""
    program = early()
    with Server(early_store(program)) as server:
        process, lines = started(["/usr/bin/python3", "-c",
                                  f"import subprocess; print(subprocess.run(['{program}', 'x'], stdin=subprocess.DEVNULL, "
                                  "capture_output=True, text=True).stdout, flush=True)"], server)
        assert lines.next() == "new 1 x 3 args 2", server.text()
        process.wait()


@pytest.mark.parametrize("how", ["execv", "execve", "execvp", "execl", "execlp", "execle", "fexecve", "execveat"])
def test_every_way_to_execute(how):
    program = early()
    calls = {
        "execv": "execv(path, argv)", "execve": "execve(path, argv, environ)", "execvp": "execvp(path, argv)",
        "execl": 'execl(path, path, "second", (char *)0)', "execlp": 'execlp(path, path, "second", (char *)0)',
        "execle": 'execle(path, path, "second", (char *)0, environ)',
        "fexecve": "fexecve(open(path, O_RDONLY | O_CLOEXEC), argv, environ)",
        "execveat": "execveat(AT_FDCWD, path, argv, environ, 0)",
    }
    source = lib.source_file(f"""
#include <fcntl.h>
#include <unistd.h>
int main(int argc, char **given)
{{
	char *path = given[1], *argv[] = {{path, "second", 0}};
	(void)argv;
	{calls[how]};
	return 99;
}}
""", f"starter_{how}.c")
    starter = lib.compiled(str(source))
    with Server(early_store(program)) as server:
        process, lines = started([starter, program], server)
        assert lines.next() == "new 1 second 3 args 2", server.text()
        end(process)


def test_an_exec_that_fails_fails_as_ever(program, store):
    with Server(store) as server:
        process, lines = started(["sh", "-c", "/nowhere/program; echo $?"], server)
        assert lines.next() == "127"
        process.wait()
        not_executable = lib.scratch_directory() / "text"
        not_executable.write_bytes(b"\x7fELFnot")
        not_executable.chmod(0o755)
        process, lines = started(["python3", "-c",
                                  f"import os\ntry: os.execv('{not_executable}', ['x'])\n"
                                  "except OSError as e: print(e.errno, flush=True)"], server)
        assert lines.next() == "8"
        process.wait()


def test_without_a_server_programs_start_as_ever():
    program = early()

    class Nobody:
        socket = "/nowhere/socket"

    process, lines = started(["sh", "-c", f"exec {program} x"], Nobody)
    assert lines.next() == "old 1 x 3 args 2"
    end(process)


def test_a_server_that_is_killed_lets_the_program_go_on():
    """It is stopped, so that it cannot finish what the program waits for, and killed then."""
    program = early()
    with Server(early_store(program)) as server:
        slow = libcare.store()
        libcare.put(slow, libcare.answering("new", program, id="early"))
        (slow / "before").write_text(f"#!/bin/sh\necho here > '{slow}/began'\nexec sleep 1000\n")
        (slow / "before").chmod(0o755)
        server.ask("storage", slow)
        process, lines = started(["sh", "-c", f"exec {program} x"], server)
        lib.wait_for((slow / "began").exists, "the program to be held")
        assert not lib.traced(process.pid), "a program that waits at its entry point is not traced"
        server.process.kill()
        server.process.wait()
        assert lines.next() == "old 1 x 3 args 2"
        assert lines.next() == "ready"
        end(process)
        assert process.returncode == 0


@pytest.mark.parametrize("link", ["pie", "static"])
def test_a_server_that_is_killed_at_any_instant_lets_the_program_go_on(link):
    """Later and later in what it does for one program: asked, seized, exec, held, patched; until it is done in time."""
    program = early(link=link)
    store = early_store(program)
    said = []
    while len(said) < 40 or len(set(said)) < 2 and len(said) < 1000:
        with Server(store) as server:
            if not said:
                lib.stop(server.process.pid)
            process, lines = started(["sh", "-c", f"exec {program} x"], server)
            with selectors.DefaultSelector() as selector:  # some milliseconds more each time, or until it has begun
                selector.register(process.stdout, selectors.EVENT_READ)
                selector.select(len(said) / 200)
            server.kill()
            said.append(lines.next())
            assert said[-1] in ("old 1 x 3 args 2", "new 1 x 3 args 2")
            assert lines.next() == "ready"
            end(process)
            assert process.returncode == 0
    assert said[0].startswith("old"), "by a server that stood still"
    assert len(set(said)) == 2, "it was never killed late"


def test_a_server_that_hangs_keeps_a_program_no_longer_than_ten_seconds():
    program = early()
    with Server(early_store(program)) as server:
        lib.stop(server.process.pid)
        # The library's constructor waits in vain, and not for ever.
        process, lines = started([program, "x"], server)
        assert lines.next() == "old 1 x 3 args 2"
        end(process)
        server.process.send_signal(signal.SIGCONT)


def test_a_library_is_patched_before_main():
    library = lib.shared_object(str(lib.source_file("int limit(void) { return 100; }", "limit.c")), "-O2", name="liblimit.so")
    source = lib.source_file("""
#include "e2e_serve.h"
int limit(void);
static void request(char *line) { say("%d", limit()); }
int main(void) { say("first %d", limit()); serve(request); }
""", "limit_user.c")
    user = lib.compiled(str(source), flags=("-Wl,--no-as-needed", str(library), f"-Wl,-rpath,{library.parent}"))
    store = libcare.store()
    libcare.put(store, libcare.kpatchlib.make("int limit(void) { return 200; }", library, id="limit"))
    with Server(store) as server:
        process, lines = started(["sh", "-c", f"exec {user}"], server)
        assert lines.next() == "first 200", server.text()
        end(process)


THROWER = """
#include <cstdio>
#include <cstring>
#include <unistd.h>
extern "C" __attribute__((noipa)) int check(int n) { if (n == 99) throw n; return n; }
extern "C" __attribute__((noipa)) int guarded(int n) { try { return check(n); } catch (int e) { return -e; } }
int main() { std::printf("%d\\n", guarded(5)); }
"""


def test_a_program_whose_patch_throws_is_patched_before_main():
    """Unwind tables are registered by a call in the program, which waits at its entry for that."""
    source = lib.source_file(THROWER.replace("\\\\", "\\"), "thrower.cc")
    program = lib.scratch_directory() / "thrower"
    subprocess.run(["c++", "-O2", "-o", program, source], check=True)
    patch = libcare.kpatchlib.make('extern "C" int check(int n) { if (n == 5) throw 7; return n; }', program, "-O2", "-fPIE",
                                   "-ffunction-sections", compiler="c++", suffix=".cc", id="throw", replaces=["check"])
    store = libcare.store()
    libcare.put(store, patch)
    with Server(store) as server:
        process, lines = started(["sh", "-c", f"exec {program}"], server)
        assert lines.next() == "-7", server.text()
        end(process)


def test_a_program_of_another_kind_is_let_go(program, store):
    """Nothing in the store fits: it runs as it is."""
    with Server(store) as server:
        process, lines = started(["sh", "-c", "exec echo hello"], server)
        assert lines.next() == "hello"
        process.wait()


def setuid_id():
    program = lib.scratch_directory() / "id"
    program.write_bytes(Path("/usr/bin/id").read_bytes())
    os.chown(program, 0, 0)
    program.chmod(0o4755)
    return program


ASKS_BY_HAND = """
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("\\0" + sys.argv[1])
s.sendall(b"execve\\0%d\\0%d\\0\\0" % (os.getpid(), s.fileno()))
assert s.recv(1) == b"g"
s.set_inheritable(True)
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a program of another user is needed, which root alone can make")
def test_a_program_that_gains_privileges_is_left_alone_whoever_asks():
    name = f"livepatch-by-hand-{os.getpid()}"
    with Server(libcare.store(), name=f"@{name}") as server:
        said = subprocess.run(["/usr/bin/python3", "-c", ASKS_BY_HAND, name, setuid_id(), "-u"], capture_output=True, text=True,
                              user=65534, group=65534)
        assert said.stdout == "0\n", said
        lib.wait_for(lambda: "has gained privileges with this program" in server.text(), "the server to say so")


@pytest.mark.skipif(os.geteuid() != 0, reason="a program of another user is needed, which root alone can make")
def test_a_program_that_gains_privileges_keeps_them():
    setuid = setuid_id()
    with Server(libcare.store(), name=f"@livepatch-setuid-{os.getpid()}") as server:
        said = subprocess.run(["sh", "-c", f"{setuid} -u"], capture_output=True, text=True, user=65534, group=65534,
                              env={"LD_PRELOAD": str(libcare.preload_path()), "LIBCARE_CTL_UNIX": server.socket})
        assert said.stdout == "0\n", said


def test_no_descriptor_is_left_in_the_program():
    program = early()
    with Server(early_store(program)) as server:
        process, lines = started(["sh", "-c", f"exec {program} x"], server)
        lines.next()
        open_files = [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")]
        assert not any(name.startswith("socket:") for name in open_files), open_files
        end(process)
