#!/usr/bin/env python3
"""Clients that believe nothing: every reply of a redis-server is compared with what it must be.

    load.py PORT        runs until SIGTERM, then prints one line and exits 1 if any request failed

redis-benchmark makes the pressure; this notices a wrong byte, an error reply or
a lost connection.  Prints: REQUESTS FAILED PONGS PATCHED-PONGS WORST-MICROSECONDS
"""
import signal
import socket
import sys
import threading
import time

CONNECTIONS = 4


def encode(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


class Client(threading.Thread):
    """One connection; each round is five requests whose replies are known beforehand."""

    def __init__(self, port, number, stop):
        super().__init__()
        self.port, self.stop = port, stop
        self.key, self.counter = b"demo:%d" % number, b"demo:n:%d" % number
        self.requests = self.failed = self.worst_ns = 0
        self.pongs = {b"+PONG\r\n": 0, b"+PONG (patched)\r\n": 0}

    def ask(self, sock, request, *answers):
        begin = time.monotonic_ns()
        sock.sendall(request)
        reply = b""
        while not reply.endswith(b"\r\n") or (reply[:1] == b"$" and reply.count(b"\r\n") < 2):
            more = sock.recv(4096)
            if not more:
                raise ConnectionError("server closed the connection")
            reply += more
        self.worst_ns = max(self.worst_ns, time.monotonic_ns() - begin)
        self.requests += 1
        if reply not in answers:
            self.failed += 1
            print(f"load: {request!r} was answered {reply!r}", file=sys.stderr)
        return reply

    def rounds(self, sock):
        n = 0
        while not self.stop.is_set():
            n += 1
            value = b"%d" % n
            bulk = b"$%d\r\n%s\r\n" % (len(value), value)
            pong = self.ask(sock, encode(b"PING"), *self.pongs)
            self.pongs[pong] = self.pongs.get(pong, 0) + 1
            self.ask(sock, encode(b"PING", value), bulk)
            self.ask(sock, encode(b"SET", self.key, value), b"+OK\r\n")
            self.ask(sock, encode(b"GET", self.key), bulk)
            self.ask(sock, encode(b"INCR", self.counter), b":%d\r\n" % n)

    def run(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.rounds(sock)
        except OSError as error:
            self.failed += 1
            print(f"load: {error}", file=sys.stderr)


def main():
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    clients = [Client(int(sys.argv[1]), n, stop) for n in range(CONNECTIONS)]
    for client in clients:
        client.start()
    stop.wait()
    for client in clients:
        client.join()
    failed = sum(c.failed for c in clients)
    print(sum(c.requests for c in clients), failed, sum(c.pongs[b"+PONG\r\n"] for c in clients),
          sum(c.pongs[b"+PONG (patched)\r\n"] for c in clients), max(c.worst_ns for c in clients) // 1000)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
