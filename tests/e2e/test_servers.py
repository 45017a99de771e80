"""Debian's own servers, under load, patched and reverted fifty times: not one request may fail."""
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

import lib

ROUNDS = 50


class Load:
    """Clients that ask without pause and check every answer; an exception or a wrong answer is a failed request."""

    def __init__(self, clients, connect, ask):
        self.connect, self.ask = connect, ask
        self.ending = threading.Event()
        self.answers, self.failures, self.seen = [0] * clients, [], set()
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(clients)]

    def run(self, index):
        try:
            with self.connect() as connection:
                while not self.ending.is_set():
                    self.seen.add(self.ask(connection))
                    self.answers[index] += 1
        except Exception as failure:  # whatever it is, the user of a server would have seen it
            self.failures.append(repr(failure))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def progress(self):
        """Every client has been answered anew."""
        before = list(self.answers)
        lib.wait_for(lambda: self.failures or all(a > b for a, b in zip(self.answers, before)), "every client's answer")
        assert not self.failures


def connected(port):
    connection = socket.create_connection(("127.0.0.1", port), timeout=lib.PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def receive_until(connection, complete):
    data = b""
    while not complete(data):
        more = connection.recv(65536)
        assert more, "the server closed the connection"
        data += more
    return data


# ---- redis

REDIS_PATCH = """
void addReplyBulkCString(void *client, const char *text);
void echoCommand_new(void *client);
void echoCommand_new(void *client) { addReplyBulkCString(client, "patched"); }
"""
ECHO = b"*2\r\n$4\r\nECHO\r\n$8\r\noriginal\r\n"
SET_AND_GET = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n" + b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
ECHO_OLD, ECHO_NEW, OTHERS = b"$8\r\noriginal\r\n", b"$7\r\npatched\r\n", b"+OK\r\n$1\r\nv\r\n"


def ask_redis(connection):
    connection.sendall(ECHO + SET_AND_GET)
    answer = receive_until(connection, lambda data: data.endswith(OTHERS))
    assert answer in (ECHO_OLD + OTHERS, ECHO_NEW + OTHERS), answer
    return answer


@pytest.fixture
def redis(tmp_path, free_port):
    server = subprocess.Popen(["redis-server", "--port", str(free_port), "--bind", "127.0.0.1", "--save", "",
                               "--dir", tmp_path, "--appendonly", "yes", "--io-threads", "2"],
                              stdout=subprocess.DEVNULL)
    try:
        lib.wait_for(lambda: listens(free_port), "redis to listen")
        yield server.pid, free_port
    finally:
        server.kill()
        server.wait()


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
def test_redis_under_load_is_patched_and_reverted_without_a_failed_request(redis):
    pid, port = redis
    patch = lib.shared_object(str(lib.source_file(REDIS_PATCH, "redis_patch.c")))
    script = f"dl foo {patch}\njmp echoCommand $foo:echoCommand_new"
    benchmark = subprocess.Popen(["redis-benchmark", "-p", str(port), "-l", "-q", "-c", "20", "-t", "set,get,incr"],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        with Load(4, lambda: connected(port), ask_redis) as load:
            for _ in range(ROUNDS):
                load.progress()
                lib.apply(pid, script, "--timeout", "60")
                load.progress()  # what was asked before the change has been answered
                load.seen.clear()
                load.progress()
                assert ECHO_NEW + OTHERS in load.seen
                lib.revert(pid, "--all", "--free", "--timeout", "60")
            load.progress()
            load.seen.clear()
            load.progress()
            load.progress()
            assert load.seen == {ECHO_OLD + OTHERS}
        assert not load.failures
        assert benchmark.poll() is None, benchmark.stderr.read()  # it ends at the first error it sees
    finally:
        benchmark.kill()
        _, said = benchmark.communicate()
    assert b"rror" not in said, said


# ---- nginx

NGINX_PATCH = r"""
#include <string.h>
#include <time.h>
unsigned char *ngx_http_time_new(unsigned char *to, time_t t);
unsigned char *ngx_http_time_new(unsigned char *to, time_t t)
{
	memcpy(to, "Thu, 01 Jan 1970 00:00:00 GMT", 29);
	return to + 29;
}
"""
NGINX_CONF = """
daemon off; pid "{dir}/pid"; error_log "{dir}/error.log"; worker_processes 2;
events {{ worker_connections 64; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path "{dir}/t1"; proxy_temp_path "{dir}/t2"; fastcgi_temp_path "{dir}/t3"; uwsgi_temp_path "{dir}/t4";
  scgi_temp_path "{dir}/t5";
  server {{ listen 127.0.0.1:{port}; root "{dir}/www"; }}
}}
"""
BODY = b"the page\n"
REQUEST = b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n"


def ask_nginx(connection):
    connection.sendall(REQUEST)
    answer = receive_until(connection, lambda data: data.endswith(b"\r\n\r\n" + BODY))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer
    return re.search(rb"Last-Modified: (.*)\r\n", answer)[1]


@pytest.fixture
def nginx(tmp_path, free_port):
    (tmp_path / "www").mkdir()
    tmp_path.chmod(0o755)
    (tmp_path / "www" / "page").write_bytes(BODY)
    os.utime(tmp_path / "www" / "page", (10**9, 10**9))
    (tmp_path / "conf").write_text(NGINX_CONF.format(dir=tmp_path, port=free_port))
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.getuid() and Path(tempfile.gettempdir()) in parent.parents:
            parent.chmod(parent.stat().st_mode | 0o011)  # the workers run as another user
    server = subprocess.Popen(["nginx", "-c", tmp_path / "conf", "-e", tmp_path / "error.log"])
    try:
        lib.wait_for(lambda: listens(free_port), "nginx to listen")
        children = lib.Path(f"/proc/{server.pid}/task/{server.pid}/children")
        lib.wait_for(lambda: len(children.read_text().split()) == 2, "both workers")
        yield [int(pid) for pid in children.read_text().split()], free_port
    finally:
        server.terminate()
        server.wait()


OLD_TIME, NEW_TIME = b"Sun, 09 Sep 2001 01:46:40 GMT", b"Thu, 01 Jan 1970 00:00:00 GMT"


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_nginx_under_load_is_patched_and_reverted_without_a_failed_request(nginx):
    workers, port = nginx
    patch = lib.shared_object(str(lib.source_file(NGINX_PATCH, "nginx_patch.c")), "-fno-builtin")
    script = f"dl foo {patch}\njmp ngx_http_time $foo:ngx_http_time_new"
    with Load(6, lambda: connected(port), ask_nginx) as load:
        for _ in range(ROUNDS):
            for worker in workers:
                lib.apply(worker, script, "--timeout", "60")
            load.progress()
            load.seen.clear()
            load.progress()
            assert load.seen == {NEW_TIME}
            for worker in workers:
                lib.revert(worker, "--all", "--free", "--timeout", "60")
            load.progress()
            load.seen.clear()
            load.progress()
            assert load.seen == {OLD_TIME}
    assert not load.failures
