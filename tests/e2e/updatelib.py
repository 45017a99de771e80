"""An installed arm64_runner, releases for it as `make dist` makes them, and what its updater says."""
import functools
import gzip
import hashlib
import io
import json
import os
import re
import struct
import subprocess
import tarfile
from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path

import lib
from release_server import REPOSITORY, ReleaseServer, certificate

DONE, REFUSED, AVAILABLE = 0, 1, 10  # exit codes
PROGRAMS = ("update_module", "arm64_runner")
DIST = lib.TOP / "scripts" / "dist"
MADE = 1767225600  # when all releases of the tests were

# ---- keys and signatures

Key = namedtuple("Key", "public secret id")


def key(name="release"):
    """A minisign key without a password; the same each time."""
    return make_key(name)


@functools.cache
def make_key(name):
    folder = lib.private_directory()
    subprocess.run(["minisign", "-G", "-W", "-p", folder / "pub", "-s", folder / "key"], check=True, capture_output=True,
                   stdin=subprocess.DEVNULL)
    comment, public = (folder / "pub").read_text().splitlines()
    return Key(public, folder / "key", comment.split()[-1])


def sign(path, by="release", comment=None, legacy=False):
    """The text of the signature."""
    signature = lib.scratch_directory() / "minisig"
    subprocess.run(["minisign", "-S", "-s", key(by).secret, "-m", path, "-x", signature, "-c", "of a test", "-t", comment or "",
                    *(["-l"] if legacy else [])], check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return signature.read_bytes()


# ---- releases

class Release:
    """One entry of the index with its files; tests change either."""

    def __init__(self, version, entry, files):
        self.version, self.entry, self.files = version, entry, files

    @property
    def name(self):
        """Of the archive."""
        return archive_name(self.version)

    def asset(self, end=".tar.gz"):
        """Its row in the entry."""
        return next(asset for asset in self.entry["assets"] if asset["name"].endswith(end))

    def without(self, end):
        self.entry["assets"] = [asset for asset in self.entry["assets"] if not asset["name"].endswith(end)]
        return self

    def replace(self, end, data):
        """Another file; the index tells its size and digest as they are."""
        row = self.asset(end)
        row["size"], row["digest"] = len(data), f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.files[row["name"]] = data
        return self


def archive_name(version):
    return f"arm64_runner-{version}-linux-x86_64.tar.gz"


def dist(*options, env=None):
    """scripts/dist on the build that is tested; in a hurry."""
    done = subprocess.run([DIST, "--level=1", *map(str, options), lib.build_directory()], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env={**os.environ, "SOURCE_DATE_EPOCH": str(MADE), **(env or {})})
    return lib.Result(done.returncode, done.stdout, done.stderr)


@functools.cache
def made(version):
    """The folder in which scripts/dist put a release."""
    out = lib.scratch_directory()
    done = dist(f"--version={version}", f"--key={key().secret}", f"--out={out}", f"--repository={REPOSITORY}")
    assert done.status == 0, done
    return out


def release(version):
    """As made by scripts/dist, for a test to change."""
    out = made(version)
    entry = json.loads((out / f"arm64_runner-{version}.release.json").read_text())
    return Release(version, entry, {asset["name"]: (out / asset["name"]).read_bytes() for asset in entry["assets"]})


def comment_for(version, name=None):
    return f"timestamp:{MADE} file:{name or archive_name(version)} version:{version}"


def resigned(version, archive, by="release", comment=None, legacy=False):
    """A release whose archive is another, with all that belongs to it: size, digest, signature."""
    path = lib.scratch_directory() / archive_name(version)
    path.write_bytes(archive)
    row = release(version)
    row.replace(".tar.gz", archive)
    row.replace(".minisig", sign(path, by, comment or comment_for(version), legacy))
    return row


# ---- archives by hand

def tar_of(version):
    """Entries of a good archive: (TarInfo, bytes) in order."""
    with tarfile.open(fileobj=io.BytesIO(release(version).files[archive_name(version)])) as tar:
        return [(entry, tar.extractfile(entry).read() if entry.isfile() else b"") for entry in tar]


@functools.cache
def program(version, name):
    """Its bytes."""
    return next(data for info, data in tar_of(version) if info.name == f"arm64_runner-{version}/{name}")


def entry(name, data=b"", kind=tarfile.REGTYPE, mode=0o644, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.linkname = kind, mode, len(data), link
    return info, data


def pack(entries, level=1):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), level, mtime=0)


@functools.cache
def guest():
    """An arm64 program of three instructions that ends with 7: no compiler has to be there."""
    code = struct.pack("<3I", 0xd28000e0, 0xd2800ba8, 0xd4000001)  # mov x0, 7; mov x8, 93 (exit); svc 0
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 183, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 120 + len(code), 120 + len(code), 0x1000)
    path = lib.scratch_directory() / "guest"
    path.write_bytes(header + segment + code)
    path.chmod(0o755)
    return path


# ---- a machine with the program on it

class Machine:
    """A home with an arm64_runner of some version in it, and a configuration that names a server."""

    def __init__(self, version, server=None, folder=None, home=None, **settings):
        self.home = Path(home) if home else lib.private_directory()
        self.bin = Path(folder) if folder else self.home / "bin"
        self.state = self.home / "state"
        self.work = self.home / "work"
        for place in (self.bin, self.state, self.work, self.home / "config"):
            place.mkdir(exist_ok=True)
        for name in PROGRAMS:
            (self.bin / name).write_bytes(program(version, name))
            (self.bin / name).chmod(0o755)
        self.conf = self.home / "config" / "arm64runner.conf"
        self.settings = {"repository": REPOSITORY, "keys": key().public}
        if server:
            self.settings["url"] = server.url
            if server.certificate:
                self.settings["ca_file"] = server.certificate.authority
        self.configure(**settings)

    def configure(self, **settings):
        """None takes a setting away; a list is one that is there several times."""
        self.settings.update(settings)
        lines = [f"{name} = {one}" for name, value in self.settings.items() if value is not None
                 for one in (value if isinstance(value, list) else [value])]
        self.conf.write_text("\n".join(["[update]", *lines, ""]))

    @property
    def program(self):
        return self.bin / "arm64_runner"

    @property
    def environment(self):
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), "LC_ALL": "C.UTF-8", "XDG_STATE_HOME": str(self.state),
                "XDG_CONFIG_HOME": str(self.home / "config"), "TMPDIR": str(self.home)}

    def command(self, *options, by="update_module"):
        """arm64_runner has its other options, and --update to say that it is meant; the module updates when it is not told anything."""
        return [str(self.bin / by), *map(str, options)]

    def run(self, *options, by="update_module", wrap=(), env=None, cwd=None, stdin=subprocess.DEVNULL):
        done = subprocess.run([*map(str, wrap), *self.command(*options, by=by)], stdin=stdin, capture_output=True, text=True,
                              env={**self.environment, **(env or {})}, cwd=cwd or self.work, timeout=lib.PATIENCE)
        return lib.Result(done.returncode, done.stdout, done.stderr)

    def update(self, *options, expect=DONE, **how):
        """--update to its end; the exit code must be the expected one."""
        result = self.run("--update", *options, **how)
        assert result.status == expect, result
        return result

    def check(self, expect, **how):
        return self.update("--check", expect=expect, **how)

    def refuses(self, *words, options=(), **how):
        """An update that is refused in a sentence with these words, and has changed nothing that can be seen in the folder."""
        before = self.fingerprint()
        result = self.update(*options, expect=REFUSED, **how)
        for word in words:
            assert str(word) in result.err, f"{word!r} is not in: {result.err}"
        assert self.fingerprint() == before, f"the folder has changed: {before} to {self.fingerprint()}"
        return result

    @property
    def ours(self):
        """What the updater keeps beside the program."""
        return self.bin / ".arm64_runner.update"

    def fingerprint(self):
        """Every file of the folder the program is in, but for an empty folder of the updater's."""
        return {str(path.relative_to(self.bin)): (path.lstat().st_mode, hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None)
                for path in sorted(self.bin.rglob("*")) if path != self.ours}

    def is_tidy(self):
        """Nothing is there but the programs, and one version of them before."""
        left = {str(path.relative_to(self.bin)) for path in self.bin.rglob("*")}
        before = {f"{self.ours.name}/previous/{name}" for name in PROGRAMS} | {f"{self.ours.name}/previous"}
        assert left - before <= {*PROGRAMS, self.ours.name}, left
        return True

    def remembered(self, suffix=""):
        """The file in which the updater keeps what it knows; with .index the copy of the index."""
        return self.state / "arm64_runner" / ("updates." + self.settings["repository"].replace("/", "@") + suffix)

    def wait(self, seconds):
        """As if they had passed: what is remembered happened so much earlier."""
        text = self.remembered().read_text()
        moved, found = re.subn(r"^(checked|not-before) (\d+)$", lambda m: f"{m[1]} {max(0, int(m[2]) - seconds)}", text, flags=re.M)
        assert found == 2, text
        self.remembered().write_text(moved)

    @property
    def version(self):
        """What the installed program says of itself; it must run."""
        done = subprocess.run([self.program, "--version"], capture_output=True, text=True, timeout=lib.PATIENCE)
        assert done.returncode == 0 and done.stdout.startswith("arm64_runner "), done
        return done.stdout.split()[1]


@contextmanager
def serving(*releases, hosts=("127.0.0.1", "localhost"), **how):
    """A server that has these, the first of them first."""
    with ReleaseServer(certificate(*hosts), **how) as server:
        for row in reversed(releases):
            server.publish(row.entry, row.files)
        yield server
