"""The agent inside of programs of Debian's, under load, while functions of theirs are switched: not one answer may be wrong.

Twenty seconds each; `make soak-agent` lets each run for ten minutes, and writes down what they counted.
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
                          ask_redis, connected, listens, receive_until)

SECONDS = float(os.environ.get("LIVEPATCH_SOAK", "20"))
GROWTH_MAX_KIB = 20000
JAVA = lib.Path("/usr/lib/jvm/default-java/bin/java")


def library(text, name):
    return lib.shared_object(str(lib.source_file(text, name)), "-O2", name=name.replace(".c", ".so"))


def names_of_threads(pid):
    return [lib.Path(f"/proc/{pid}/task/{tid}/comm").read_text().strip() for tid in lib.threads(pid)]


def resident(pid):
    return int(lib.status_of(pid)["VmRSS"].split()[0])


def switch(pid, command, counts):
    """As soon as every thread could be held still in time, and none stands in what goes; until then nothing changes."""
    def done():
        answer = agentlib.ask(pid, command)
        if answer[0].startswith(("Error: busy: ", "Error: in-use: ")):
            counts["busy"] += 1
            return False
        assert answer[0] == "Success to run", (command, answer)
        return True
    lib.wait_for(done, command)


@contextmanager
def nothing_piles_up(pid, record_property, growth_max=GROWTH_MAX_KIB):
    """Descriptors are as many as before, and memory is about as much."""
    files, memory = len(os.listdir(f"/proc/{pid}/fd")), resident(pid)
    yield
    lib.wait_for(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= files + 2, "descriptors to be closed")
    record_property("grown_kib", resident(pid) - memory)
    record_property("threads", len(lib.threads(pid)))
    assert resident(pid) - memory < growth_max
    assert str(lib._scratch) not in "".join(lib.maps(pid))


def toggle(pids, patch, function, symbol, seen_new, seen_old, record_property):
    """Rounds of load, upgrade twice, back by one, back to the original, unload, until the time is over."""
    end = time.monotonic() + SECONDS
    counts = {"rounds": 0, "busy": 0}

    def everywhere(command):
        for pid in pids:
            switch(pid, command, counts)

    while not counts["rounds"] or time.monotonic() < end:
        everywhere(f"lib load patch {patch}; func upgrade patch {function} {symbol}")
        seen_new()
        everywhere(f"func upgrade patch {function} {symbol}")
        everywhere(f"func rollback {function}")
        seen_new()
        everywhere(f"func rollback {function} 0")
        seen_old()
        everywhere("lib unload patch")
        counts["rounds"] += 1
    for name, value in counts.items():
        record_property(name, value)


def seen(load, *answers):
    """Every client has been answered so, by requests that were made after this was called."""
    def check():
        load.progress()  # what was asked before has been answered
        load.seen.clear()
        load.progress()
        load.progress()
        assert load.seen == set(answers)
    return check


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
def test_redis_goes_on(tmp_path, free_port, record_property):
    """jemalloc's background thread blocks every signal that a program can block."""
    with agentlib.preloaded("redis-server", "--port", free_port, "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path,
                            "--io-threads", "2") as server:
        lib.wait_for(lambda: listens(free_port), "redis to listen")
        lib.wait_for(lambda: "jemalloc_bg_thd" in names_of_threads(server.pid), "jemalloc's thread")
        with Load(4, lambda: connected(free_port), ask_redis) as load:
            load.progress()
            with nothing_piles_up(server.pid, record_property):
                toggle([server.pid], library(REDIS_PATCH, "redis_patch.c"), "echoCommand", "echoCommand_new",
                       seen(load, ECHO_NEW + OTHERS), seen(load, ECHO_OLD + OTHERS), record_property)
        record_property("requests", sum(load.answers))
        assert not load.failures and server.alive()


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_nginx_goes_on_in_its_workers(free_port, record_property):
    """Workers are children of a fork that then become another user."""
    top = lib.scratch_directory()  # pytest closes its own to other users, also while others use it
    (top / "www").mkdir()
    (top / "www" / "page").write_bytes(BODY)
    os.utime(top / "www" / "page", (10**9, 10**9))
    (top / "conf").write_text(NGINX_CONF.format(dir=top, port=free_port))
    with agentlib.preloaded("nginx", "-c", top / "conf", "-e", top / "error.log", env={"HOTPATCH_FORK": "1"}) as server:
        lib.wait_for(lambda: listens(free_port), "nginx to listen")
        children = lib.Path(f"/proc/{server.pid}/task/{server.pid}/children")
        lib.wait_for(lambda: len(children.read_text().split()) == 2, "both workers")
        workers = [int(pid) for pid in children.read_text().split()]
        try:
            goes_on_in(workers, free_port, record_property)
            assert server.alive()
        finally:
            server.process.terminate()
            server.process.wait()
        # They had no right to remove what root had made; the next agent of root's has.
        subprocess.run(["/bin/true"], env={**os.environ, "LD_PRELOAD": str(agentlib.preload())}, check=True)
        assert not any(agentlib.sockets(worker) for worker in workers)


def goes_on_in(workers, port, record_property):
    patch = library(NGINX_PATCH, "nginx_patch.c")
    for worker in workers:
        lib.wait_for(lambda pid=worker: agentlib.legacy(pid).exists(), "the worker's agent")
    with Load(4, lambda: connected(port), ask_nginx) as load:
        load.progress()
        with nothing_piles_up(workers[0], record_property), nothing_piles_up(workers[1], record_property):
            toggle(workers, patch, "ngx_http_time", "ngx_http_time_new", seen(load, NEW_TIME), seen(load, OLD_TIME), record_property)
    record_property("requests", sum(load.answers))
    assert not load.failures


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
    print(min(calls), sum(calls) * len(pairs), len(wrong), flush=True)
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


def test_python_goes_on(record_property):
    with lib.Victim("/usr/bin/python3", "-c", PYTHON, env={**os.environ, "LD_PRELOAD": str(agentlib.preload())}) as victim:
        def calls():
            rounds, number, wrong = map(int, victim.ask().split())
            assert wrong == 0
            return rounds, number

        def goes_on():
            before, _ = calls()
            lib.wait_for(lambda: calls()[0] > before + 1, "every thread's next round")
        try:
            goes_on()
            with nothing_piles_up(victim.pid, record_property):
                toggle([victim.pid], library(PYTHON_PATCH, "python_patch.c"), "PyOS_string_to_double", "PyOS_string_to_double",
                       goes_on, goes_on, record_property)
            goes_on()
            record_property("requests", calls()[1])
        finally:
            victim.process.kill()
            agentlib.sweep(victim.pid)


SERVER_JAVA = r"""
import java.io.*;
import java.net.*;
import java.util.*;

class Server {
	/* Most of the nulls are found by the processor: the VM's handler of SIGSEGV makes exceptions of them. */
	static int nulls(int n) {
		int found = 0;
		for (int i = 0; i < n; i++) {
			String s = i % 2 == 0 ? null : "x";
			try {
				found += s.length() - 1;
			} catch (NullPointerException e) {
				found++;
			}
		}
		return found;
	}

	static long garbage(int n) {
		Map<Integer, String> map = new TreeMap<>();
		for (int i = 0; i < n; i++)
			map.put(i * 7919 % n, "n" + i);
		long sum = 0;
		for (String s : map.values())
			sum += Integer.parseInt(s.substring(1));
		return sum;
	}

	static void serve(Socket socket) {
		try (socket) {
			BufferedReader in = new BufferedReader(new InputStreamReader(socket.getInputStream()));
			for (String line; (line = in.readLine()) != null;) {
				int n = Integer.parseInt(line), processors = Runtime.getRuntime().availableProcessors();
				socket.getOutputStream().write((processors + " " + (garbage(n) + nulls(n)) + "\n").getBytes());
			}
		} catch (IOException e) {
			throw new UncheckedIOException(e);
		}
	}

	public static void main(String[] args) throws IOException {
		ServerSocket listener = new ServerSocket(Integer.parseInt(args[0]), 50, InetAddress.getByName("127.0.0.1"));
		while (true) {
			Socket socket = listener.accept();
			socket.setTcpNoDelay(true);
			new Thread(() -> serve(socket)).start();
		}
	}
}
"""
JAVA_PATCH = """
int processors(void);
int processors(void) { return 77; }
"""
JAVA_SUM = b" %d\n" % (500 * 499 // 2 + 500 // 2)
JAVA_GROWTH_MAX_KIB = 150000  # it compiles what runs often, for as long as it runs


def ask_java(connection):
    connection.sendall(b"500\n")
    answer = receive_until(connection, lambda data: data.endswith(b"\n"))
    assert answer.endswith(JAVA_SUM), answer
    return answer


@pytest.mark.skipif(not JAVA.exists(), reason="no Java VM is installed")
def test_java_goes_on(free_port, record_property):
    """Compiled code without unwind tables, pages that are protected to stop threads, faults that are meant."""
    source = lib.source_file(SERVER_JAVA, "Server.java")
    with agentlib.preloaded(JAVA, "-Xms64m", "-Xmx64m", "-XX:+AlwaysPreTouch", "-XX:+UseG1GC", "-XX:-UsePerfData", source, free_port) as server:
        lib.wait_for(lambda: listens(free_port), "the VM to listen")
        with connected(free_port) as connection:
            original = ask_java(connection)
        with Load(4, lambda: connected(free_port), ask_java) as load:
            load.progress()
            with nothing_piles_up(server.pid, record_property, JAVA_GROWTH_MAX_KIB):
                toggle([server.pid], library(JAVA_PATCH, "java_patch.c"), "libjvm.so:JVM_ActiveProcessorCount", "processors",
                       seen(load, b"77" + JAVA_SUM), seen(load, original), record_property)
        record_property("requests", sum(load.answers))
        assert not load.failures and server.alive()
