"""A server that speaks as much of GitHub's releases API as an updater needs, and misbehaves on request.

    with ReleaseServer(certificate("127.0.0.1")) as server:
        server.publish(entry, files)              # an entry of the index, and {name: bytes} of its assets
        server.limited = Limit(429, retry_after=60)
        server.asset("x.tar.gz").stops_after = 1000

It listens on a loopback address, with TLS when it is given a certificate, which openssl(1) makes of an authority that is
made anew for each session.  Everything that it is asked is in server.requests.  Nobody waits for a clock here: what hangs
does so until the block ends.
"""
import functools
import hashlib
import json
import socket
import ssl
import subprocess
import threading
from collections import namedtuple
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import lib

REPOSITORY = "owner/runner"
LONGEST_PAGE = 100  # what GitHub gives at once at most

Request = namedtuple("Request", "method path query headers")  # names of headers are in small letters
Limit = namedtuple("Limit", "status retry_after remaining reset", defaults=(None, None, None))


# ---- certificates

Certificate = namedtuple("Certificate", "file key authority")


@functools.cache
def authority(name="an authority of the tests"):
    """A certificate authority: its certificate and its key."""
    folder = lib.scratch_directory()
    openssl("-keyout", folder / "ca.key", "-out", folder / "ca.pem", "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign")
    return folder / "ca.pem", folder / "ca.key"


@functools.cache
def certificate(*hosts, by="an authority of the tests", days=2):
    """Of a server that is reached by these names and addresses."""
    folder = lib.scratch_directory()
    pem, key = authority(by)
    names = ",".join(("IP:" if host[0].isdigit() else "DNS:") + host for host in hosts)
    openssl("-CA", pem, "-CAkey", key, "-keyout", folder / "server.key", "-out", folder / "server.pem", "-subj", f"/CN={hosts[0]}",
            "-addext", f"subjectAltName={names}", "-addext", "basicConstraints=critical,CA:FALSE")
    return Certificate(folder / "server.pem", folder / "server.key", pem)


def openssl(*args):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    *map(str, args)], check=True, stdin=subprocess.DEVNULL, capture_output=True)


# ---- assets

class Asset:
    """One file, and what is wrong with the way to it."""

    def __init__(self, data):
        self.data = data
        self.etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        self.redirects = []        # where its address sends, one after the other; then to the storage
        self.status = None         # answered instead
        self.stops_after = None    # bytes, after which the connection is cut ...
        self.stops = 0             # ... this many times
        self.hangs_after = None    # bytes, after which nothing more comes and the connection stays
        self.ranges = True         # a part of it can be had
        self.ignores_if_range = False
        self.says_length = True
        self.endless = False
        self.sent = []             # how much was sent of it each time
        self.begun = threading.Event()

    def part(self, header, if_range):
        """First byte that is asked for; None: all of it.  (first, length) of others than `N-` nobody asks for here."""
        if not header or not self.ranges or not header.startswith("bytes=") or not header.endswith("-"):
            return None
        if if_range and if_range != self.etag and not self.ignores_if_range:
            return None
        return int(header[len("bytes="):-1])


class Cut(Exception):
    """The connection ends here and now."""


# ---- the server

class ReleaseServer:
    """Lives as long as its block."""

    def __init__(self, certificate=None, host="127.0.0.1", repository=REPOSITORY):
        self.host, self.repository, self.certificate = host, repository, certificate
        self.releases, self.assets, self.requests = [], {}, []
        self.lock = threading.Lock()
        self.limited = None        # a Limit, for the index
        self.limits_assets = None  # the same, for assets
        self.body = None           # bytes instead of the index
        self.endless_index = False
        self.etags = True
        self.hangs = False         # the index is asked for and does not come
        self.asked = threading.Event()
        self.ends = threading.Event()
        self.server = Server((host, 0), Handler)
        self.server.owner = self
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate.file, certificate.key)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.server.shutdown()
        self.thread.join()
        self.server.socket.close()  # connections that are left are the daemon threads', who look at self.ends

    @property
    def port(self):
        return self.server.server_address[1]

    @property
    def url(self):
        return f"{'https' if self.certificate else 'http'}://{self.host}:{self.port}"

    @property
    def downloads(self):
        return f"{self.url}/{self.repository}/releases/download"

    # ---- what it has

    def publish(self, entry, files, first=True):
        """An entry as scripts/dist writes it; addresses of assets become this server's."""
        entry = json.loads(json.dumps(entry))
        for asset in entry["assets"]:
            asset["browser_download_url"] = f"{self.downloads}/{entry['tag_name']}/{asset['name']}"
        for name, data in files.items():
            self.assets[f"{entry['tag_name']}/{name}"] = Asset(data)
        self.releases.insert(0 if first else len(self.releases), entry)
        return entry

    def asset(self, name):
        """The only one with this name, or end of a name."""
        found = [asset for path, asset in self.assets.items() if path.endswith(name)]
        assert len(found) == 1, f"{name}: {list(self.assets)}"
        return found[0]

    def index(self, page=1, per_page=30):
        return self.releases[(page - 1) * per_page:page * per_page]

    # ---- what it was asked

    def asked_for(self, part):
        """The requests whose path has this in it."""
        with self.lock:
            return [request for request in self.requests if part in request.path]

    @property
    def index_requests(self):
        return [request for request in self.asked_for("/repos/") if request.path.endswith("/releases")]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):
        """Clients that do not trust the certificate, or were killed: it is the client's side that the tests look at."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "github.com"
    is_cut = False

    def setup(self):
        self.owner = self.server.owner
        if self.owner.context:
            # Here and not where connections are accepted: who does not shake hands holds up nobody else.
            self.request = self.owner.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self):
        try:
            super().handle()
        except Cut:
            self.is_cut = True  # no end of TLS is told; what was sent arrives
        except (ConnectionError, ssl.SSLError):
            pass  # the client went, as it does in half of the tests

    def finish(self):
        with suppress(OSError, ValueError):
            super().finish()
        if self.owner.context and not self.is_cut:
            with suppress(OSError, ValueError):
                self.connection.settimeout(lib.PATIENCE)
                self.connection.unwrap()
        self.connection.close()

    def log_message(self, *_):
        pass

    # ---- answers

    def answer(self, status, body=b"", headers=(), content_type="application/json; charset=utf-8"):
        self.send_response(status)
        for name, value in dict(headers).items():
            if value is not None:
                self.send_header(name, str(value))
        if status != 304:
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 304 and self.command != "HEAD":
            self.wfile.write(body)

    def message(self, status, text, headers=()):
        self.answer(status, json.dumps({"message": text, "documentation_url": "https://docs.github.com/rest"}).encode(), headers)

    def refuse(self, limit):
        headers = {"retry-after": limit.retry_after, "x-ratelimit-limit": 60, "x-ratelimit-remaining": limit.remaining,
                   "x-ratelimit-reset": limit.reset}
        self.message(limit.status, "API rate limit exceeded for 127.0.0.1.", headers)

    def hang(self):
        self.owner.ends.wait()
        raise Cut

    # ---- requests

    def do_GET(self):
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.owner.lock:
            self.owner.requests.append(Request(self.command, url.path, query, headers))
        repository = self.owner.repository
        if url.path == f"/repos/{repository}/releases":
            self.give_index(query, headers)
        elif url.path.startswith(f"/{repository}/releases/download/"):
            self.give_address(url.path.removeprefix(f"/{repository}/releases/download/"))
        elif url.path.startswith("/storage/"):
            self.give_asset(url.path.removeprefix("/storage/"), headers)
        else:
            self.message(404, "Not Found")

    do_HEAD = do_GET

    def give_index(self, query, headers):
        owner = self.owner
        owner.asked.set()
        if owner.hangs:
            self.hang()
        if owner.limited:
            return self.refuse(owner.limited)
        if owner.endless_index:
            return self.give_without_end(b'{"tag_name": "v0.0.1"},', b"[")
        page, per_page = int(query.get("page", 1)), min(int(query.get("per_page", 30)), LONGEST_PAGE)
        body = owner.body if owner.body is not None else json.dumps(owner.index(page, per_page)).encode()
        fields = {"x-ratelimit-remaining": 59, "x-github-media-type": "github.v3"}
        if owner.etags:
            fields["ETag"] = f'W/"{hashlib.sha256(body).hexdigest()}"'
            if headers.get("if-none-match") == fields["ETag"]:
                return self.answer(304, headers=fields)
        if owner.index(page + 1, per_page):
            fields["Link"] = f'<{owner.url}{urlsplit(self.path).path}?per_page={per_page}&page={page + 1}>; rel="next"'
        return self.answer(200, body, fields)

    def give_address(self, path):
        """As at GitHub, what the index names is not where the bytes are; but nobody follows from http to anywhere but https."""
        asset = self.owner.assets.get(path)
        if self.owner.limits_assets:
            return self.refuse(self.owner.limits_assets)
        if not asset:
            return self.message(404, "Not Found")
        if asset.status:
            return self.message(asset.status, "It is not to be had")
        if not self.owner.certificate and not asset.redirects:
            return self.give_asset(path, {name.lower(): value for name, value in self.headers.items()})
        target = asset.redirects.pop(0) if asset.redirects else f"{self.owner.url}/storage/{path}?se=never&sig=abc%2B"
        return self.answer(302, headers={"Location": target}, content_type="text/html")

    def give_asset(self, path, headers):
        asset = self.owner.assets[path]
        if asset.endless:
            return self.give_without_end(asset.data)
        first = asset.part(headers.get("range"), headers.get("if-range"))
        if first is not None and first >= len(asset.data):
            return self.answer(416, headers={"Content-Range": f"bytes */{len(asset.data)}"})
        data = asset.data[first or 0:]
        self.send_response(200 if first is None else 206)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("ETag", asset.etag)
        if asset.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if first is not None:
            self.send_header("Content-Range", f"bytes {first}-{len(asset.data) - 1}/{len(asset.data)}")
        if asset.says_length:
            self.send_header("Content-Length", str(len(data)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        self.send_some(asset, data)
        if not asset.says_length:
            self.close_connection = True

    def send_some(self, asset, data):
        hangs, cuts = asset.hangs_after is not None, asset.stops > 0
        data = data[:asset.hangs_after if hangs else asset.stops_after if cuts else None]
        asset.begun.set()
        self.wfile.write(data)
        self.wfile.flush()
        asset.sent.append(len(data))
        if hangs:
            self.hang()
        if cuts:
            asset.stops -= 1
            raise Cut

    def give_without_end(self, data, before=b""):
        """Until the client has enough of it."""
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(before)
        chunk = data * (1 + 65536 // max(1, len(data)))
        while not self.owner.ends.is_set():
            self.wfile.write(chunk)


# ---- where nobody answers

def closed_port():
    """Of this machine; a connection to it is refused while the socket, which does not listen, holds it."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    return holder, holder.getsockname()[1]
