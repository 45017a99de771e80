"""What the replay has to know of redis: how it is built, which tests need more than one server, and probes of our own
for fixes that bring no test, or none that can be run against one live server."""
import re
import socket
import struct
import subprocess
from pathlib import Path

from .server import ErrorReply, Server, Trouble, wait_for

PACKAGE = "redis"
BUILD = "make -j2 MALLOC=libc"
TARGET = "src/redis-server"
KEEP = ("src/redis-server", "src/redis-benchmark", "src/redis-cli")
TESTS = ("tests", "runtest", "redis.conf", "sentinel.conf")
ADAPTED = Path(__file__).resolve().parent / "adapted"

# Tests that the fixes bring and that are not run, by pattern: why.
NOT_RUN = (
    (r"^zipmap - element wouldn't fit|larger than 2GB|long escape sequences|too many new lines|wouldn't fit in listpack",
     "needs gigabytes of memory"),
    (r"^Fullsync should not free scripting engine", "starts two servers; a probe of ours does the same with the live one as replica"),
    (r"^(Test \w+ availability lua-enable-deprecated-api)", "starts servers with a setting that can only be given at the start"),
    (r"^Packet of missing gossip|^Packet", "starts a cluster; a probe of ours sends such a packet to the live one"),
    (r"RM_ReplyWithSimpleString|^RESP[23]:", "needs a module"),
)


# Units whose tests do with a server that they did not start, although they are marked as not doing so.
OPENED = ("unit/acl-v2", "unit/auth", "integration/corrupt-dump")

# What a reader of the table would ask.
NOTES = {
    "CVE-2025-27151": "the code is part of the program, but only runs when it is started as redis-check-aof: no server shows it",
    "CVE-2026-81934": "src/tls.c is empty in a build without BUILD_TLS=yes",
}


def needs_clean_build(diff):
    """redis's makefiles build the libraries below deps once and do not look at them again."""
    return "+++ b/deps/" in diff or "/deps/lua/src/" in diff


def is_cluster(fix):
    return fix.sources == ["src/cluster.c"]


def start(program, fix):
    """The server that a fix is for; one that has all slots when it is for a cluster's."""
    server = Server(program, cluster=is_cluster(fix))
    if is_cluster(fix):
        with server.connect() as c:
            c.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_for(lambda: b"cluster_state:ok" in c.ask("CLUSTER", "INFO"), "the cluster to be well")
    return server


def after_revert(server, fix):
    """The adapted form of this fix has locked the interpreter that exists; the old code makes a new one."""
    if "CVE-2025-46818" in fix.cves:
        with server.connect() as c:
            c.ask("SCRIPT", "FLUSH", "SYNC")


def runnable(fix):
    """(tests to run, {name: why not})"""
    tests, not_run = [], {}
    for test in fix.tests:
        why = next((w for pattern, w in NOT_RUN if re.search(pattern, test.name)), None)
        if test.unit.startswith(("unit/moduleapi", "unit/cluster")):
            why = why or "needs a module, or a cluster"
        if why:
            not_run[test.name] = why
        else:
            tests.append(test)
    return tests, not_run


# ---- probes: each answers True when the server behaves as with the fix

def scripts_survive_a_flush(server):
    """Runs the code of the fix; what it prevents cannot be seen without an exploit."""
    with server.connect() as c:
        for _ in range(3):
            assert c.ask("EVAL", "local t = {} for i = 1, 1000 do t[i] = {i} end return #t", 0) == 1000
            c.ask("SCRIPT", "FLUSH", "SYNC")
        return c.ask("EVAL", "return 7", 0) == 7


def long_chunks_load(server):
    """Runs the code of the fix; what it prevents cannot be seen without an exploit."""
    chunk = "local x = 0 " + "x = x + 1 " * 5000 + "return x"
    with server.connect() as c:
        return c.ask("EVAL", chunk, 0) == 5000 and "unexpected symbol" in c.error("EVAL", "return )", 0)


def long_strings_are_delimited(server):
    """Long brackets of all levels, and the error for an unfinished one."""
    with server.connect() as c:
        return (c.ask("EVAL", "return [==[a]]b]==] .. [[c]] --[=[ d ]=]", 0) == b"a]]bc"
                and "invalid long string delimiter" in c.error("EVAL", "return [==x", 0))


def failed_accepts_are_retried(server):
    """One accept4() fails with ECONNABORTED, as when a peer has given up: the old code stops accepting and logs a warning."""
    mark = len(server.text())
    with subprocess.Popen(["strace", "-f", "-p", str(server.pid), "-e", "trace=accept4", "-e",
                           "inject=accept4:error=ECONNABORTED:when=1"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as strace:
        try:
            while "attached" not in strace.stderr.readline():
                pass
            with server.connect() as c:
                assert c.ask("PING") == b"PONG"
            while "INJECTED" not in strace.stderr.readline():
                pass
        finally:
            strace.terminate()
            strace.communicate()
    return not server.said("Accepting client connection", mark)


def deprecated_lua_is_gone(server):
    """Functions and metatables that a script must no longer reach."""
    with server.connect() as c:
        gone = all(f"nonexistent global variable '{name}'" in c.error("EVAL", f"return {name}", 0)
                   for name in ("newproxy", "setfenv", "getfenv"))
        locked = "readonly table" in c.error("EVAL", "getmetatable('').__index = function() return 1 end", 0)
    return gone and locked


HEADER = struct.Struct(">4sIHHHHQQQ40s2048s40s46sH30sHHHB3s")  # clusterMsg up to its data
PING, GOSSIP_SIZE = 0, 104


def cluster_packet(count=0, extensions=(), flags=b"\0\0\0"):
    data = b"".join(extensions)
    return HEADER.pack(b"RCmb", HEADER.size + len(data), 1, 6379, PING, count, 0, 0, 0, b"a" * 40, b"", b"", b"",
                       len(extensions), b"", 0, 16379, 1, 0, flags) + data


def send_to_bus(server, packet, words):
    """Whether the server's log says `words` about the packet."""
    received = "cluster_stats_messages_received"

    def count():
        with server.connect() as c:
            return int(re.search(rf"{received}:(\d+)", c.ask("CLUSTER", "INFO").decode())[1])

    mark, before = len(server.text()), count()
    with socket.create_connection(("127.0.0.1", server.port + 10000), timeout=10) as bus:
        bus.sendall(packet)
        wait_for(lambda: count() > before, "the packet to be received")
    return server.said(words, mark)


def gossip_must_fit(server):
    """A PING that announces more gossip than it holds."""
    return send_to_bus(server, cluster_packet(count=100), "with gossip count 100 that exceeds total packet length")


def hostnames_must_end(server):
    """A PING with a host name that has no end."""
    extension = struct.pack(">IHH", 16, 0, 0) + b"x" * 8
    return send_to_bus(server, cluster_packet(extensions=[extension], flags=b"\4\0\0"), "missing null terminator")


def read_end(busy):
    """What a killed script answers."""
    try:
        busy.read()
    except ErrorReply:
        pass


def syncs_wait_for_scripts(server):
    """The live server as replica: while it runs a script, its master makes it synchronise anew."""
    with Server(server.process.args[0], "--repl-diskless-sync-delay", "0") as master, server.connect() as c, \
            server.connect(timeout=60) as busy, master.connect() as m:
        c.ask("CONFIG", "SET", "busy-reply-threshold", "1")
        c.ask("CONFIG", "SET", "repl-diskless-load", "swapdb")
        start = len(server.text())
        c.ask("REPLICAOF", "127.0.0.1", master.port)
        wait_for(lambda: server.said("sync: Finished with success", start), "the first synchronisation")
        busy.send("EVAL", "while true do end", 0)
        wait_for(lambda: "BUSY" in c.error("PING"), "the script to be busy")
        mark = len(server.text())
        m.ask("DEBUG", "CHANGE-REPL-ID")
        m.ask("CLIENT", "KILL", "TYPE", "replica")
        wait_for(lambda: server.said("Full resync from master", mark), "a second synchronisation to be agreed on")
        waited = still_waiting(server, mark)
        c.ask("SCRIPT", "KILL")
        read_end(busy)
        wait_for(lambda: server.said("sync: Finished with success", mark), "the second synchronisation")
        c.ask("REPLICAOF", "NO", "ONE")
        c.ask("CONFIG", "SET", "busy-reply-threshold", "5000")
    return waited


def still_waiting(server, mark):
    """Whether the replica leaves the master's data alone, for two seconds in which it handles events many times."""
    try:
        wait_for(lambda: server.said("receiving streamed RDB", mark) or server.said("Loading DB in memory", mark),
                 "what must not come", seconds=2)
    except Trouble:
        return True
    return False


# By CVE: the probe, and whether old and new code can be told apart with it.
PROBES = {
    "CVE-2024-46981": (scripts_survive_a_flush, False),
    "CVE-2025-48367": (failed_accepts_are_retried, True),
    "CVE-2025-46818": (deprecated_lua_is_gone, True),
    "CVE-2025-49844": (long_chunks_load, False),
    "CVE-2025-46819": (long_strings_are_delimited, False),
    "CVE-2026-21863": (gossip_must_fit, True),
    "CVE-2026-23631": (syncs_wait_for_scripts, True),
    "CVE-2026-92925": (hostnames_must_end, True),
}


def probe_of(fix):
    return next((PROBES[c] for c in fix.cves if c in PROBES), None)
