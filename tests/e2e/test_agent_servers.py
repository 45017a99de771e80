"""The agent inside of programs of Debian's, under load, while functions of theirs are switched: not one answer may be wrong.

Some seconds each; `make soak-agent` lets each run for ten minutes.
"""
import os
import shutil
import subprocess
import time
from contextlib import contextmanager

import pytest

import agentlib
import lib
from test_servers import (BODY, ECHO_NEW, ECHO_OLD, NEW_TIME, NGINX_CONF, NGINX_PATCH, OLD_TIME, OTHERS, REDIS_PATCH, Load, ask_nginx,
                          ask_redis, connected, listens)

SECONDS = float(os.environ.get("LIVEPATCH_SOAK", "3"))
GROWTH_MAX_KIB = 20000


def library(text, name):
    return lib.shared_object(str(lib.source_file(text, name)), "-O2", name=name.replace(".c", ".so"))


def data(pid, command):
    first, *rows = agentlib.ask(pid, command)
    assert first == "Success to run", (command, first)
    return rows


def resident(pid):
    return int(lib.status_of(pid)["VmRSS"].split()[0])


def unload(pid):
    """As soon as no thread stands in it."""
    lib.wait_for(lambda: agentlib.ask(pid, "lib unload patch")[0] == "Success to run", "the library to be empty")


@contextmanager
def nothing_piles_up(pid):
    """After a first round: descriptors are as many as before, and memory is about as much."""
    files, memory = len(os.listdir(f"/proc/{pid}/fd")), resident(pid)
    yield
    lib.wait_for(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= files + 2, "descriptors to be closed")
    assert resident(pid) - memory < GROWTH_MAX_KIB
    assert str(lib._scratch) not in "".join(lib.maps(pid))


def toggle(pid, patch, function, symbol, seen_new, seen_old):
    """Rounds of load, upgrade twice, back by one, back to the original, unload, until the time is over."""
    end = time.monotonic() + SECONDS
    rounds = 0
    while not rounds or time.monotonic() < end:
        data(pid, f"lib load patch {patch}; func upgrade patch {function} {symbol}")
        seen_new()
        data(pid, f"func upgrade patch {function} {symbol}; func rollback {function}")
        data(pid, f"func rollback {function} 0")
        seen_old()
        unload(pid)
        rounds += 1
    return rounds


def seen(load, *answers):
    """Every client has been answered so, by requests that were made after this was called."""
    def check():
        load.progress()  # what was asked before has been answered
        load.seen.clear()
        load.progress()
        load.progress()
        assert load.seen == set(answers)
    return check


def redis(directory, port, background_thread):
    """jemalloc's background thread blocks every signal for as long as it lives."""
    return agentlib.preloaded("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory,
                              "--io-threads", "2", "--jemalloc-bg-thread", background_thread)


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
def test_redis_goes_on(tmp_path, free_port):
    with redis(tmp_path, free_port, "no") as server:
        lib.wait_for(lambda: listens(free_port), "redis to listen")
        with Load(4, lambda: connected(free_port), ask_redis) as load:
            load.progress()
            with nothing_piles_up(server.pid):
                toggle(server.pid, library(REDIS_PATCH, "redis_patch.c"), "echoCommand", "echoCommand_new",
                       seen(load, ECHO_NEW + OTHERS), seen(load, ECHO_OLD + OTHERS))
        assert not load.failures and server.alive()


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
def test_a_thread_that_blocks_every_signal_is_named_and_nothing_changes(tmp_path, free_port):
    """It cannot be held still from inside; its memory can be changed all the same."""
    with redis(tmp_path, free_port, "yes") as server:
        lib.wait_for(lambda: listens(free_port), "redis to listen")
        lib.wait_for(lambda: "jemalloc_bg_thd" in [(t / "comm").read_text().strip() for t in lib.Path(f"/proc/{server.pid}/task").iterdir()],
                     "jemalloc's thread")
        patch = library(REDIS_PATCH, "redis_patch.c")
        answer = server.ask(f"lib load patch {patch}; func upgrade patch echoCommand echoCommand_new")
        assert answer[0].startswith("Error: busy: thread ") and "blocks" in answer[0]
        with Load(2, lambda: connected(free_port), ask_redis) as load:
            seen(load, ECHO_OLD + OTHERS)()
        assert not load.failures and server.data("lib list") == []


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_nginx_goes_on_in_its_workers(tmp_path, free_port):
    """Workers are children of a fork that then become another user."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "page").write_bytes(BODY)
    os.utime(tmp_path / "www" / "page", (10**9, 10**9))
    (tmp_path / "conf").write_text(NGINX_CONF.format(dir=tmp_path, port=free_port))
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == os.getuid() and str(directory).startswith("/tmp/"):
            directory.chmod(directory.stat().st_mode | 0o011)
    with agentlib.preloaded("nginx", "-c", tmp_path / "conf", "-e", tmp_path / "error.log", env={"HOTPATCH_FORK": "1"}) as server:
        lib.wait_for(lambda: listens(free_port), "nginx to listen")
        children = lib.Path(f"/proc/{server.pid}/task/{server.pid}/children")
        lib.wait_for(lambda: len(children.read_text().split()) == 2, "both workers")
        workers = [int(pid) for pid in children.read_text().split()]
        patch = library(NGINX_PATCH, "nginx_patch.c")
        for worker in workers:
            lib.wait_for(lambda pid=worker: agentlib.legacy(pid).exists(), "the worker's agent")
        with Load(4, lambda: connected(free_port), ask_nginx) as load:
            for worker in workers:
                toggle(worker, patch, "ngx_http_time", "ngx_http_time_new", load.progress, load.progress)
            for worker in workers:
                data(worker, f"lib load patch {patch}; func upgrade patch ngx_http_time ngx_http_time_new")
            seen(load, NEW_TIME)()
            for worker in workers:
                data(worker, "func rollback ngx_http_time")
            seen(load, OLD_TIME)()
        assert not load.failures and server.alive()
        server.process.terminate()
        server.process.wait()
        # They had no right to remove what root had made; the next agent of root's has.
        subprocess.run(["/bin/true"], env={**os.environ, "LD_PRELOAD": str(agentlib.preload())}, check=True)
        assert not any(agentlib.sockets(worker) for worker in workers)


PYTHON = """
import sys, threading
calls, wrong = [0] * 4, []
pairs = [(repr(x), x) for x in (0.1, 1.5, -2.25e-300, 1e308, 12345.678, 0.30000000000000004)]
def work(i):
    while True:
        for text, value in pairs:
            if float(text) != value:
                wrong.append(text)
        calls[i] += 1
for i in range(4):
    threading.Thread(target=work, args=(i,), daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    print(min(calls), len(wrong), flush=True)
"""
PYTHON_PATCH = """
#include <stdlib.h>
double PyOS_string_to_double(const char *s, char **end, void *overflow);
double PyOS_string_to_double(const char *s, char **end, void *overflow)
{
	char *stop;
	double v = strtod(s, &stop);
	if (end)
		*end = stop;
	return v;
}
"""


def test_python_goes_on():
    with lib.Victim("/usr/bin/python3", "-c", PYTHON, env={**os.environ, "LD_PRELOAD": str(agentlib.preload())}) as victim:
        def calls():
            number, wrong = map(int, victim.ask().split())
            assert wrong == 0
            return number

        def goes_on():
            before = calls()
            lib.wait_for(lambda: calls() > before + 1, "every thread's next round")
        try:
            goes_on()
            with nothing_piles_up(victim.pid):
                toggle(victim.pid, library(PYTHON_PATCH, "python_patch.c"), "PyOS_string_to_double", "PyOS_string_to_double", goes_on, goes_on)
            goes_on()
        finally:
            victim.process.kill()
            for stale in agentlib.sockets(victim.pid):
                stale.unlink()
