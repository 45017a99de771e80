"""The agent comes into a process that was started without it, and goes; the process notices nothing."""
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest

import agentlib
import lib
from test_servers import Load, ask_nginx, ask_redis, connected, nginx, redis  # pylint: disable=unused-import

COUNTING = """
import sys, threading
def count():
    n = 0
    while True:
        n += len([str(i) for i in range(200)])
for _ in range(3):
    threading.Thread(target=count, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    print(threading.active_count(), flush=True)
"""


def hotpatch(pid, *words, timeout=lib.PATIENCE):
    return subprocess.run([agentlib.client_path("c") / "hotpatch", "--timeout", str(timeout), "-p", str(pid), *words],
                          capture_output=True, text=True, timeout=lib.PATIENCE * 2, check=False)


def done(pid, *words):
    def run_in_time():
        """By a thread that was not held still in time nothing has been changed."""
        run = hotpatch(pid, *words)
        return None if "did not stop within" in run.stderr else run
    run = lib.wait_for(run_in_time, words)
    assert (run.returncode, run.stderr) == (0, ""), run
    return run.stdout


def refused(pid, *words, status=1):
    run = hotpatch(pid, *words)
    assert (run.returncode, run.stdout) == (status, ""), run
    return run.stderr


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def mapped(pid):
    return any("libhotpatch" in line for line in lib.maps(pid))


class Plain(lib.Victim):
    """e2e_agent.c, started as it is."""

    def __init__(self):
        super().__init__(lib.compiled("e2e_agent.c"))

    def check(self):
        """Calls of pick() go on, and all of them so far were right."""
        def counts():
            _, calls, _, wrong = self.ask().split()
            return int(calls), int(wrong)
        before, _ = counts()
        lib.wait_for(lambda: counts()[0] > before + 1000, "calls of pick()")
        assert counts()[1] == 0


def version(number):
    return lib.shared_object(str(lib.source_file(f"int pick(int n) {{ return n + {100 * number}; }}", "pick.c")), "-O2",
                             name=f"pick{number}.so")


def test_it_comes_and_goes_and_comes_again():
    with Plain() as victim:
        before = threads(victim.pid)
        for _ in range(5):
            assert done(victim.pid, "attach") == ""
            assert threads(victim.pid) == before + 1 and len(agentlib.sockets(victim.pid)) == 2
            assert done(victim.pid, "var", "get", "int", "global:config_level") == "3\n"
            assert "stays mapped" in done(victim.pid, "detach")
            lib.wait_for(lambda: threads(victim.pid) == before, "the agent's threads to end")
            assert agentlib.sockets(victim.pid) == [] and mapped(victim.pid)
            victim.check()


def test_functions_are_upgraded_by_what_was_brought_in():
    with Plain() as victim:
        done(victim.pid, "attach")
        done(victim.pid, "lib", "load", "one", str(version(1)), ";", "func", "upgrade", "one", "pick")
        victim.check()
        done(victim.pid, "func", "rollback", "pick")
        victim.check()
        done(victim.pid, "detach")


def test_it_stays_while_functions_are_upgraded():
    with Plain() as victim:
        done(victim.pid, "attach")
        done(victim.pid, "lib", "load", "one", str(version(1)), ";", "func", "upgrade", "one", "pick")
        sentence = refused(victim.pid, "detach")
        assert "--force" in sentence and "pick" in sentence.splitlines()[-1]
        assert len(agentlib.sockets(victim.pid)) == 2
        done(victim.pid, "detach", "--force")
        victim.check()
        done(victim.pid, "attach")
        assert done(victim.pid, "func", "list") == ""  # nothing is upgraded, and nothing was registered
        done(victim.pid, "detach")


def test_a_second_one_is_refused():
    with Plain() as victim:
        done(victim.pid, "attach")
        assert "already" in refused(victim.pid, "attach")
        done(victim.pid, "detach")
        assert "no agent" in refused(victim.pid, "detach", status=3)


def test_one_that_was_preloaded_can_be_sent_away_and_called_back():
    with agentlib.preloaded("sleep", "1000") as host:
        assert "already" in refused(host.pid, "attach")
        done(host.pid, "detach")
        assert agentlib.sockets(host.pid) == []
        done(host.pid, "attach")
        assert "commands" in done(host.pid, "stats")


CLOSING = """
import os, signal
os.closerange(3, 1000)
mine = [os.dup(0) for _ in range(20)]
os.write(1, b"closed")
signal.pause()
"""


def test_one_that_lost_its_descriptors_is_called_back():
    """A program may close all descriptors, and have others of the same numbers."""
    with agentlib.preloaded(sys.executable, "-c", CLOSING) as host:
        lib.wait_for(lambda: host.out.read_text() == "closed", "the program to close what it does not know")
        before = os.listdir(f"/proc/{host.pid}/fd")
        assert "no agent" in refused(host.pid, "version", status=3)
        done(host.pid, "attach")
        assert "commands" in done(host.pid, "stats") and len(agentlib.sockets(host.pid)) == 2
        done(host.pid, "detach")
        assert sorted(os.listdir(f"/proc/{host.pid}/fd")) == sorted(before)


def test_words_that_are_too_many_are_wrong_use():
    with Plain() as victim:
        assert "attach [LIBRARY]" in refused(victim.pid, "attach", "x", "y", status=2)
        assert "detach [--force]" in refused(victim.pid, "detach", "x", status=2)
        assert "unknown option --hard" in refused(victim.pid, "detach", "--hard", status=2)
        assert not mapped(victim.pid)


def test_a_library_that_is_none_of_ours_is_taken_out_again():
    with Plain() as victim:
        wrong = version(7)
        assert "hotpatch_start" in refused(victim.pid, "attach", str(wrong))
        assert not any(str(wrong) in line for line in lib.maps(victim.pid))
        assert "No such file" in refused(victim.pid, "attach", "/nowhere/lib.so")
        victim.check()


def test_another_library_than_the_one_that_stayed_is_refused(tmp_path):
    """What was detached is mapped for ever: whoever names another one would not get it."""
    other = shutil.copy(agentlib.preload().with_name("libhotpatch.so.0"), tmp_path / "libhotpatch.so.0")
    mine = agentlib.preload().with_name("libhotpatch.so.0").resolve()
    with Plain() as victim:
        done(victim.pid, "attach", str(mine))
        done(victim.pid, "detach")
        sentence = refused(victim.pid, "attach", str(other))
        assert str(other) in sentence and str(mine) in sentence
        assert agentlib.sockets(victim.pid) == []
        done(victim.pid, "attach", str(mine))
        done(victim.pid, "detach")
        done(victim.pid, "attach")
        done(victim.pid, "detach")


def test_a_stopped_process_is_waited_for_without_haste_and_the_way_out_is_said():
    with Plain() as victim:
        lib.stop(victim.pid)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = hotpatch(victim.pid, "attach", timeout=3)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run.returncode == 1 and f"kill -CONT {victim.pid}" in run.stderr, run
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
        os.kill(victim.pid, signal.SIGCONT)
        done(victim.pid, "attach")
        victim.check()
        done(victim.pid, "detach")


@pytest.mark.parametrize("link", ["static", "static-pie"])
def test_a_static_program_has_no_loader(link):
    with lib.Victim(lib.compiled("e2e_globals.c", link=link, name=f"globals_{link}")) as victim:
        assert "static program" in refused(victim.pid, "attach")
        assert victim.ask().startswith("port 80")


def test_a_process_that_ended_is_a_sentence():
    assert "no process" in refused(lib.NO_PROCESS, "attach", status=3)


def test_globals_of_a_process_that_nobody_prepared():
    with lib.Victim(lib.compiled("e2e_globals.c")) as victim:
        done(victim.pid, "attach")
        done(victim.pid, "var", "set", "global:server.clients->next->high", "30")
        assert victim.ask() == "port 80 colour 1 high 30 line abc"
        done(victim.pid, "detach")


def test_attaching_is_answered_as_json():
    with Plain() as victim:
        run = hotpatch(victim.pid, "attach", "--json")
        assert json.loads(run.stdout)["ok"] is True
        run = hotpatch(victim.pid, "attach", "--json")
        assert json.loads(run.stdout)["error"]["code"] == "exists"
        done(victim.pid, "detach")


def test_python_whose_threads_take_turns():
    python = subprocess.Popen([sys.executable, "-c", COUNTING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert python.stdout.readline() == "ready\n"
        for _ in range(3):
            done(python.pid, "attach")
            done(python.pid, "stats")
            done(python.pid, "detach")
        python.stdin.write("how many\n")
        python.stdin.flush()
        assert python.stdout.readline() == "4\n"
    finally:
        python.kill()
        python.communicate()


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
def test_redis_under_load(redis):  # pylint: disable=redefined-outer-name
    pid, port = redis
    with Load(4, lambda: connected(port), ask_redis) as load:
        for _ in range(5):
            load.progress()
            done(pid, "attach")
            done(pid, "stats")
            load.progress()
            done(pid, "detach")
        load.progress()
    assert not load.failures


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_a_worker_of_nginx_under_load(nginx):  # pylint: disable=redefined-outer-name
    pids, port = nginx
    with Load(4, lambda: connected(port), ask_nginx) as load:
        for pid in pids:
            load.progress()
            done(pid, "attach")
            assert agentlib.legacy(pid).stat().st_uid != 0 or os.geteuid()
            done(pid, "stats")
            done(pid, "detach")
            assert agentlib.sockets(pid) == []
        load.progress()
    assert not load.failures


# ---- interrupted

ROUNDS = 12


def interrupted(pid, verb, number, after):
    """The client, until it ends or so many seconds have passed."""
    client = subprocess.Popen([agentlib.client_path("c") / "hotpatch", "-p", str(pid), verb], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client.wait(timeout=after)
    except subprocess.TimeoutExpired:
        client.send_signal(number)
        client.wait(timeout=lib.PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_client_that_is_interrupted_anywhere_leaves_a_process_that_goes_on(number):
    with Plain() as victim:
        begun = time.monotonic()
        done(victim.pid, "attach")
        duration = time.monotonic() - begun
        done(victim.pid, "detach")
        for i in range(ROUNDS):
            for verb, opposite in (("attach", "detach"), ("detach", "attach")):
                interrupted(victim.pid, verb, number, duration * i / ROUNDS)
                victim.check()
                lib.wait_for(lambda: not lib.traced(victim.pid), "nobody to trace it")
                assert hotpatch(victim.pid, opposite).returncode in (lib.DONE, lib.REFUSED, lib.LOST)  # it may be there, or gone, already
                victim.check()
                if (verb == "attach") == bool(agentlib.sockets(victim.pid)):
                    done(victim.pid, "detach" if verb == "attach" else "attach")  # what was interrupted was slower than the opposite
        victim.check()
