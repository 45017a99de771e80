"""Servers of ours on free loopback ports, the load on them, and the packages' own tests against them."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .source import TOP

PATIENCE = 60  # seconds; only ever spent on a failure
TEST_SECONDS = 180
ANSI = re.compile(r"\x1b\[[0-9;]*m")


# The server has a processor to itself, as far as our own load is concerned: what waits for a processor behind
# redis-benchmark measures the scheduler.  livepatch may run anywhere.
CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPUS, LOAD_CPUS = (CPUS[-1:], CPUS[:-1]) if len(CPUS) > 1 else (CPUS, CPUS)


def on(cpus):
    return lambda: os.sched_setaffinity(0, cpus)


class Trouble(Exception):
    """The replay of this one fix cannot go on."""


def wait_for(condition, what, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Trouble(f"waited {seconds} s for {what}")
        time.sleep(0.01)


def free_port(offset=0):
    """A port that is free now, and so is the one `offset` above it."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", (port + offset) % 65536 if offset else 0))
            except OSError:
                continue
            if port + offset < 65536:
                return port


class Server:
    """A redis-server that ends with the `with` block."""

    def __init__(self, program, *options, cluster=False):
        self.directory = Path(tempfile.mkdtemp(prefix="cve-replay-"))
        self.log = self.directory / "log"
        self.port = free_port(10000 if cluster else 0)
        self.output = open(self.log, "wb")
        self.process = subprocess.Popen(
            [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir",
             self.directory, "--enable-debug-command", "yes", "--enable-protected-configs", "yes",
             *(["--cluster-enabled", "yes"] if cluster else []), *options],
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT, preexec_fn=on(SERVER_CPUS))
        self.pid = self.process.pid
        wait_for(lambda: not self.alive() or self.said("Ready to accept connections"), "the server to be ready")
        if not self.alive():
            raise Trouble(f"the server did not start: {self.text()[-300:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.output.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def alive(self):
        return self.process.poll() is None

    def text(self):
        return self.log.read_text(errors="replace")

    def said(self, words, after=0):
        return words in self.text()[after:]

    def connect(self, timeout=10):
        return Connection(self.port, timeout)

    def info(self, field):
        with self.connect() as c:
            found = re.search(rf"^{field}:(.*?)\r?$", c.ask("INFO", "everything").decode(), re.MULTILINE)
        return int(found[1]) if found else 0


class ErrorReply(Exception):
    pass


class Connection:
    """As much of the protocol as the probes need."""

    def __init__(self, port, timeout):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise ErrorReply(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        return rest

    def ask(self, *words):
        self.send(*words)
        return self.read()

    def error(self, *words):
        """The text of the error reply; empty when there is none."""
        try:
            self.ask(*words)
        except ErrorReply as reply:
            return str(reply)
        return ""


class Load:
    """redis-benchmark for pressure, and clients that compare every reply with what it must be."""

    def __init__(self, server, benchmark, clients=20):
        self.server = server
        with server.connect() as c:
            c.ask("FLUSHALL")  # the checking clients know what they will find
        self.errors = server.info("total_error_replies")
        self.begin = server.info("total_commands_processed")
        self.pressure = subprocess.Popen(
            [benchmark, "-h", "127.0.0.1", "-p", str(server.port), "-c", str(clients), "-q", "-l", "-n", "20000", "-t",
             "ping_mbulk,set,get,incr,lpush,rpop,hset"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, preexec_fn=on(LOAD_CPUS))
        self.checked = subprocess.Popen([sys.executable, TOP / "demo" / "load.py", str(server.port)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        preexec_fn=on(LOAD_CPUS))
        self.more()

    def more(self, requests=20000):
        """Until that many more requests were served."""
        goal = self.server.info("total_commands_processed") + requests
        wait_for(lambda: self.server.info("total_commands_processed") >= goal, f"{requests} requests to be served")

    def stop(self):
        """(requests served, requests failed)"""
        ended_early = self.pressure.poll() is not None
        self.checked.send_signal(signal.SIGTERM)
        said, complaints = self.checked.communicate(timeout=PATIENCE)
        requests, failed = (int(word) for word in said.split()[:2])
        self.pressure.kill()
        stderr = self.pressure.communicate()[1].decode(errors="replace")
        failed += self.server.info("total_error_replies") - self.errors
        failed += stderr.count("Error")
        if ended_early:
            failed += 1
        if failed:
            print("".join((complaints + stderr).splitlines(True)[:5]), file=sys.stderr)
        return self.server.info("total_commands_processed") - self.begin, failed

    def kill(self):
        for process in (self.pressure, self.checked):
            if process.returncode is None:
                process.kill()
                process.communicate()


# ---- the package's own tests

def open_tests_to_live_servers(place, units):
    """Let the units run against a server that they did not start, in our copy of the tests.

    "external:skip" marks tests that assume a server of their own; they get one (nobody else uses ours).  Where they look
    into its log they find it, also in other units.
    """
    support = place / "tests" / "support" / "server.tcl"
    text = support.read_text()
    if "CVE_REPLAY_LOG" not in text:
        here = '    dict set srv "port" $::port\n'
        assert here in text
        support.write_text(text.replace(here, here + '    dict set srv "stdout" $::env(CVE_REPLAY_LOG)\n', 1))
    for unit in units:
        file = place / "tests" / f"{unit}.tcl"
        raw = file.read_bytes()
        file.write_bytes(raw.replace(b"external:skip", b""))


def run_tests(place, server, tests):
    """{name: "ok", "failed" or "crashed"}"""
    results = {}
    for unit in dict.fromkeys(t.unit for t in tests):
        names = [t.name for t in tests if t.unit == unit]
        results.update(run_unit(place, server, unit, names))
    return results


def run_in_group(args, place, environment):
    """(what it printed, whether it ended in time).  Of what it starts nothing is left: it would be in the way of the next."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(args, cwd=place, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                   env=environment, start_new_session=True)
        in_time = True
        try:
            process.wait(TEST_SECONDS)
        except subprocess.TimeoutExpired:
            in_time = False
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        out.seek(0)
        return ANSI.sub("", out.read().decode(errors="replace")), in_time


def run_unit(place, server, unit, names):
    if not server.alive():
        return {n: "crashed" for n in names}
    args = ["./runtest", "--host", "127.0.0.1", "--port", str(server.port), "--baseport", str(free_port(10000)), "--single", unit,
            "--ignore-encoding"]
    for name in names:
        args += ["--only", name]
    output, in_time = run_in_group(args, place, {"PATH": "/usr/bin:/bin", "CVE_REPLAY_LOG": str(server.log)})
    (place / f"{unit.replace('/', '-')}.out").write_text(output)
    if in_time and not re.search(r"\[(ok|err|exception)\]", output) and server.alive():
        raise Trouble(f"the tests of {unit} did not run: {output.strip().splitlines()[-1:]}")
    # A unit may run a test more than once, as script and as function: all must pass.
    passed = {n for n in names if f"[ok]: {n}" in output and f"[err]: {n}" not in output}
    if len(passed) < len(names):
        try:
            server.process.wait(2)  # a crash report takes a moment
        except subprocess.TimeoutExpired:
            pass
    failure = "failed" if server.alive() else "crashed"
    return {n: "ok" if n in passed else failure for n in names}
