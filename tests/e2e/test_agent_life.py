"""Start, fork, exec and end of a program with an agent in it: its sockets come and go with it, and its output is its own."""
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys

import pytest

import agentlib
import lib

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes other users")


def preloaded_run(*command, env=None, **how):
    """To its end; standard output and error are all that there is to see."""
    return subprocess.run(command, env={**os.environ, "LD_PRELOAD": str(agentlib.preload()), **(env or {})}, capture_output=True,
                          text=True, timeout=lib.PATIENCE * 2, check=False, **how)


class Victim(lib.Victim):
    """e2e_agent.c, preloaded."""

    def __init__(self, env=None, **popen):
        super().__init__(lib.compiled("e2e_agent.c"), env={**os.environ, "LD_PRELOAD": str(agentlib.preload()), **(env or {})}, **popen)

    def __exit__(self, *_):
        super().__exit__()
        for stale in agentlib.sockets(self.pid):
            stale.unlink()


def has_agent(pid):
    return agentlib.legacy(pid).exists()


# ---- output and end

def test_a_preloaded_program_writes_what_it_always_wrote():
    run = preloaded_run("sh", "-c", "echo foo; /bin/echo bar | cat; timeout 5 /bin/echo baz")
    assert (run.returncode, run.stdout, run.stderr) == (0, "foo\nbar\nbaz\n", "")


def test_short_lived_programs_leave_nothing():
    script = "for i in 1 2 3 4 5; do for p in echo true false cat; do /bin/$p < /dev/null > /dev/null & echo $!; wait; done; done; echo $$"
    numbers = [int(word) for word in preloaded_run("sh", "-c", script).stdout.split()]
    assert len(numbers) == 21
    assert [path for number in numbers for path in agentlib.sockets(number)] == []


def test_a_normal_end_takes_the_sockets_along():
    with Victim() as victim:
        pid = victim.pid
        assert len(agentlib.sockets(pid)) == 2
        victim.process.stdin.close()
        assert victim.process.wait(timeout=lib.PATIENCE) == 0
        assert agentlib.sockets(pid) == []


def test_the_end_of_a_registered_program_takes_the_sockets_along():
    directory = agentlib.tree()
    with agentlib.Host([directory / "examples" / "simple_server", "--logtostderr", "--period=1", "--rounds=20"], cwd=directory) as host:
        assert host.process.wait(timeout=lib.PATIENCE) == 0
        assert agentlib.sockets(host.pid) == []


def test_what_a_killed_program_leaves_is_swept_by_the_next_one():
    with Victim() as victim:
        left = agentlib.sockets(victim.pid)
        assert len(left) == 2
        victim.process.kill()
        victim.process.wait()
        preloaded_run("/bin/true")
        assert not any(path.exists() for path in left)


def test_sweeping_leaves_alone_what_is_no_dead_socket_of_ours():
    with Victim() as victim:
        directory = agentlib.primary(victim.pid).parent
        number = unused_number()
        file = directory / f"{number}.sock"
        file.write_text("somebody's")
        other = directory / "notes.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listening = directory / f"{number - 1}.sock"
            listener.bind(str(listening))
            listener.listen()
            other.write_text("")
            try:
                preloaded_run("/bin/true")
                assert file.read_text() == "somebody's" and other.exists() and listening.exists()
            finally:
                for path in (file, other, listening):
                    path.unlink()
        assert len(agentlib.sockets(victim.pid)) == 2


def unused_number():
    """Of no process, and none gets it: beyond pid_max."""
    return 2**31 - 5


# ---- names that somebody has

class Later:
    """A shell that becomes a preloaded program when it is told to: its number is known before."""

    def __init__(self, program="sleep 1000", env=None, **popen):
        script = f"read line; LD_PRELOAD={agentlib.preload()} exec {program}"
        self.process = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        env={**os.environ, "HOTPATCH_LOG": "1", **(env or {})}, **popen)
        self.pid = self.process.pid

    def go(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        lib.wait_for(lambda: agentlib.primary(self.pid), "the private socket")
        return self

    def stats(self):
        tool = agentlib.client_path("c") / "hotpatch"
        return subprocess.run([tool, "-p", str(self.pid), "stats"], capture_output=True, text=True, check=True).stdout

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        for stale in agentlib.sockets(self.pid):
            stale.unlink()


def check_taken(program, path, is_there):
    """The name is its owner's, the agent answers at its other socket and says why."""
    stats = program.stats()
    assert f"legacy socket: none: {path}" in stats or "legacy socket: none: somebody" in stats, stats
    assert is_there()


def test_a_live_socket_of_that_name_keeps_it():
    with Later() as program, socket.socket(socket.AF_UNIX) as squatter:
        path = agentlib.legacy(program.pid)
        squatter.bind(str(path))
        squatter.listen()
        try:
            inode = path.stat().st_ino
            program.go()
            check_taken(program, path, lambda: path.stat().st_ino == inode)
        finally:
            path.unlink()


def test_a_dangling_link_of_that_name_keeps_it():
    with Later() as program:
        path, aim = agentlib.legacy(program.pid), lib.scratch_directory() / "aim"
        path.symlink_to(aim)
        try:
            program.go()
            check_taken(program, path, lambda: path.is_symlink() and not aim.exists())
        finally:
            path.unlink()


def test_a_file_of_that_name_keeps_it():
    with Later() as program:
        path = agentlib.legacy(program.pid)
        path.write_text("mine")
        try:
            program.go()
            check_taken(program, path, lambda: path.read_text() == "mine")
        finally:
            path.unlink()


@needs_root
def test_another_users_socket_of_that_name_keeps_it():
    nobody = pwd.getpwnam("nobody")
    with Later() as program, socket.socket(socket.AF_UNIX) as squatter:
        path = agentlib.legacy(program.pid)
        squatter.bind(str(path))
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
        try:
            program.go()
            check_taken(program, path, lambda: path.stat().st_uid == nobody.pw_uid)
        finally:
            path.unlink()


def test_a_dead_socket_of_ours_is_replaced():
    with Later() as program:
        path = agentlib.legacy(program.pid)
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        program.go()
        lib.wait_for(lambda: f"legacy socket: {path}" in program.stats(), "the legacy socket")


# ---- who gets in

@pytest.mark.parametrize("mask", [0, 0o077, 0o777], ids=["0", "077", "0777"])
def test_the_sockets_are_the_owners_alone_whatever_the_umask(mask):
    with Victim(umask=mask) as victim:
        for path in agentlib.sockets(victim.pid):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert agentlib.ask(victim.pid, "var list") == ["Success to run"]


@needs_root
def test_another_user_is_kept_out_even_with_the_node_wide_open():
    with Victim() as victim:
        agentlib.legacy(victim.pid).chmod(0o777)
        script = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(10); "
                  "s.sendall(b'var list\\n'); sys.stdout.write(s.recv(100).decode())")
        run = subprocess.run([sys.executable, "-c", script, str(agentlib.legacy(victim.pid))], user="nobody", group="nogroup",
                             extra_groups=[], capture_output=True, text=True, check=False)
        assert "Success" not in run.stdout
        assert agentlib.ask(victim.pid, "var list") == ["Success to run"]


@needs_root
def test_a_client_does_not_talk_to_somebody_elses_socket():
    """Whoever listens at /tmp/PID.socket could answer what he likes."""
    nobody = pwd.getpwnam("nobody")
    with subprocess.Popen(["sleep", "1000"], user=nobody.pw_uid) as sleeper, socket.socket(socket.AF_UNIX) as squatter:
        path = agentlib.legacy(sleeper.pid)
        squatter.bind(str(path))
        squatter.listen()
        squatter.settimeout(1)
        try:
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
            for client in ("c", "python"):
                run = subprocess.run([agentlib.client_path(client) / "hotpatch", "-p", str(sleeper.pid), "var", "list"],
                                     capture_output=True, text=True, check=False)
                assert run.returncode == lib.LOST and not run.stdout, run
                assert f"process {os.getpid()} listens at {path}, and not process {sleeper.pid}" in run.stderr
                connection, _ = squatter.accept()
                assert connection.recv(100) == b"", "something was said to a stranger"
                connection.close()
        finally:
            path.unlink()
            sleeper.kill()


@needs_root
def test_a_setuid_program_gets_no_agent():
    libraries = agentlib.preload().parent
    flags = ("-I" + str(lib.TOP / "include"), f"-L{libraries}", f"-Wl,--no-as-needed,-rpath,{libraries}", "-lhotpatch")
    linked = lib.scratch_directory() / "linked"
    text = ('#include <hotpatch.h>\n#include <stdio.h>\n'
            'int main(void) { int rc = hotpatch_start(); printf("%d %s\\n", rc, hotpatch_last_error()); }')
    shutil.copy(lib.compiled(str(lib.source_file(text, "linked.c")), flags=flags), linked)
    linked.chmod(0o4755)
    run = subprocess.run([linked], user="nobody", group="nogroup", extra_groups=[], capture_output=True, text=True, check=False)
    assert run.stdout.startswith("-1 this program runs with other rights"), run


@pytest.mark.parametrize("said, most, refused", [
    ("read", "read", ["var set int x 1", "lib load a b"]), ("write", "write", ["lib load a b", "func rollback f"]),
    *((wrong, "read", ["var set int x 1", "lib load a b"]) for wrong in ("raed", "READ", "write ", "none", "", "code,write")),
    ("code", "code", [])])
def test_levels_are_taken_away_by_the_environment_and_what_is_no_level_takes_most(said, most, refused):
    with Victim(env={"HOTPATCH_ALLOW": said}) as victim:
        assert agentlib.ask(victim.pid, "var list") == ["Success to run"]
        assert f"allowed at most: {most}" in agentlib.ask(victim.pid, "stats")
        for command in refused:
            assert agentlib.ask(victim.pid, command)[0].startswith("Error: permission: "), command


@pytest.mark.parametrize("names, there", [("", True), ("e2e_agent", True), ("nginx:e2e_agent:x", True), ("nginx", False), ("e2e_agen", False)])
def test_preloading_is_limited_to_programs_by_name(names, there):
    with Victim(env={"HOTPATCH_EXE": names}) as victim:
        assert has_agent(victim.pid) == there


# ---- fork and exec

def test_a_child_of_fork_has_no_agent_and_leaves_its_parents_alone():
    with Victim() as victim:
        child = int(victim.ask("fork"))
        assert not has_agent(child)
        assert agentlib.ask(victim.pid, "var list") == ["Success to run"]
        assert victim.ask("end") == "gone"
        assert len(agentlib.sockets(victim.pid)) == 2
        assert agentlib.ask(victim.pid, "var list") == ["Success to run"]


def test_a_child_of_fork_has_one_of_its_own_when_asked_to():
    with Victim(env={"HOTPATCH_FORK": "1"}) as victim:
        child = int(victim.ask("fork"))
        lib.wait_for(lambda: has_agent(child), "the child's agent")
        assert agentlib.ask(child, "var get int global:config_level") == ["Success to run", "3"]
        agentlib.ask(child, "var set int global:config_level 4")
        assert agentlib.ask(child, "var get int global:config_level")[1] == "4"
        assert agentlib.ask(victim.pid, "var get int global:config_level")[1] == "3"
        assert victim.ask("end") == "gone"


PYTHON_FORKS = """
import os, sys
def generation(n):
    if n == 0:
        return 0
    child = os.fork()
    if child == 0:
        os._exit(generation(n - 1))
    return os.waitpid(child, 0)[1] >> 8
for _ in range(5):
    assert generation(3) == 0
print("done")
"""


def test_python_forks_and_its_children_fork():
    run = preloaded_run("python3", "-c", PYTHON_FORKS)
    assert (run.returncode, run.stdout, run.stderr) == (0, "done\n", "")


def test_bash_forks_twice():
    run = preloaded_run("bash", "-c", "( ( ( echo deep; /bin/echo deeper ) ) ); x=$( (echo a; (echo b) ) ); echo $x")
    assert (run.returncode, run.stdout, run.stderr) == (0, "deep\ndeeper\na b\n", "")


def test_a_program_that_execs_gets_a_new_agent_under_its_old_number():
    with Victim() as victim:
        before = agentlib.legacy(victim.pid).stat().st_ino
        victim.send(f"exec {lib.compiled('e2e_agent.c')}")
        assert victim.line() == "ready"
        lib.wait_for(lambda: has_agent(victim.pid) and agentlib.legacy(victim.pid).stat().st_ino != before, "another socket")
        assert agentlib.ask(victim.pid, "var get int global:config_level") == ["Success to run", "3"]


def test_a_daemon_keeps_its_agent_when_it_asks_for_one_in_children():
    """Two forks, a session of its own, standard streams on /dev/null."""
    file = lib.scratch_directory() / "pid"
    script = ("import os\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"
              "null = os.open('/dev/null', os.O_RDWR)\n[os.dup2(null, fd) for fd in (0, 1, 2)]\n"
              f"with open('{file}.new', 'w') as f: f.write(str(os.getpid()))\nos.rename('{file}.new', '{file}')\n"
              "import signal; signal.pause()")
    run = preloaded_run("python3", "-c", script, env={"HOTPATCH_FORK": "1"})
    assert (run.returncode, run.stderr) == (0, "")
    lib.wait_for(file.exists, "the daemon")
    daemon = int(file.read_text())
    try:
        assert agentlib.ask(daemon, "version")[0] == "Success to run"
    finally:
        os.kill(daemon, signal.SIGKILL)
        for stale in agentlib.sockets(daemon):
            stale.unlink()


@pytest.mark.parametrize("closed", [(0,), (0, 1), (0, 1, 2)], ids=str)
def test_standard_streams_that_are_closed_stay_closed(closed):
    """None of our descriptors may be taken for the program's input or output."""
    redirect = " ".join({0: "<&-", 1: ">&-", 2: "2>&-"}[fd] for fd in closed)
    file = lib.scratch_directory() / "out"
    script = (f"import os\nfound = os.listdir('/proc/self/fd')\nwith open('{file}', 'w') as f:\n"
              "    for fd in found:\n        if os.path.exists('/proc/self/fd/' + fd): print(fd, os.readlink('/proc/self/fd/' + fd), file=f)")
    preloaded_run("sh", "-c", f'exec python3 -c "$0" {redirect}', script)
    streams = dict(line.split(" ", 1) for line in file.read_text().splitlines())
    ours = {int(fd) for fd, what in streams.items() if what.startswith(("socket:", "anon_inode:"))}
    assert ours and not ours & {0, 1, 2}, streams
