"""For the tests of `livepatch build`: projects, diffs, and the running programs that they are for."""
import difflib
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import lib

PROJECTS = Path(__file__).resolve().parent / "projects"


class Project:
    """A private copy of one of tests/e2e/projects, built as its user builds it."""

    def __init__(self, name, command="make", env=None, cache=None):
        top = lib.scratch_directory()
        self.path = top / name
        shutil.copytree(PROJECTS / name, self.path)
        shutil.copy(PROJECTS / "serve.h", self.path)
        self.command, self.env = command, {**os.environ, **(env or {})}
        self.cache = cache or top / "cache"
        self.diffs = 0

    def build(self):
        subprocess.run(self.command, shell=True, cwd=self.path, env=self.env, check=True, stdout=subprocess.DEVNULL)
        return self

    def write(self, **files):
        """Replaces files of the project; the name's last underscore is the dot: Makefile=..., main_c=..."""
        for name, text in files.items():
            path = self.path / (name if name == "Makefile" else ".".join(name.rsplit("_", 1)))
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return self

    def fingerprint(self):
        """Of every name, content and time in the tree."""
        digest = hashlib.sha256()
        for path in sorted(self.path.rglob("*")):
            digest.update(f"{path} {path.lstat().st_mtime_ns} {path.lstat().st_mode}".encode())
            if path.is_file():
                digest.update(path.read_bytes())
        return digest.hexdigest()

    def diff(self, *edits):
        """A diff file of edits (file, old text, new text); a file with old None is new."""
        by_file = {}
        for file, old, new in edits:
            before, after = by_file.get(file) or ((self.path / file).read_text(),) * 2 if old is not None else ("", "")
            assert old is None or after.count(old) == 1, f"{old!r} stands {after.count(old)} times in {file}"
            by_file[file] = (before, new if old is None else after.replace(old, new))
        text = ""
        for file, (before, after) in by_file.items():
            origin = f"a/{file}" if before else "/dev/null"
            text += "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), origin, f"b/{file}"))
        self.diffs += 1
        path = self.path.parent / f"fix-{self.diffs}.patch"
        path.write_text(text)
        return path

    def livepatch(self, *args, expect=lib.DONE):
        """livepatch build for this project."""
        command = () if self.command is None else ("--build", self.command)
        run = subprocess.run([lib.tool_path(), "build", "-C", self.path, "--cache", self.cache, *command, *map(str, args)],
                             env=self.env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=10 * lib.PATIENCE,
                             cwd=self.path.parent)
        result = lib.Result(run.returncode, run.stdout, run.stderr)
        assert expect is None or result.status == expect, f"livepatch build {args}: {result}"
        return result

    def patch(self, *edits, args=(), out="fix.kpatch"):
        """Builds the live patches of a diff; the answer of --json."""
        before = self.fingerprint()
        answer = self.livepatch("--json", "-o", self.path.parent / out, *args, self.diff(*edits)).json
        assert self.fingerprint() == before, "the user's tree was touched"
        return answer


def build_id(path):
    notes = subprocess.run(["readelf", "-n", path], capture_output=True, text=True, check=True).stdout
    return notes.split("Build ID: ", 1)[1].split()[0]
