"""A Debian source package: its tree, and the fixes in its series."""
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
CVE = re.compile(r"CVE-\d{4}-\d{4,}")
DIFF_STARTS = re.compile(r"^(diff |--- |Index: )", re.MULTILINE)
FILE = re.compile(r"^\+\+\+ [^/\s]+/(\S+)", re.MULTILINE)
TCL_TEST = re.compile(r'^\+\s*test\s+(?:\{([^}]*)\}|"([^"]*)")')


@dataclass
class Test:
    """A regression test that a fix brings."""
    unit: str  # tests/unit/acl-v2.tcl -> unit/acl-v2
    name: str


@dataclass
class Fix:
    number: int  # its place among the security patches, from 1
    path: Path
    text: str
    cves: list = field(default_factory=list)
    files: list = field(default_factory=list)
    tests: list = field(default_factory=list)

    @property
    def name(self):
        return self.path.stem

    @property
    def sources(self):
        return [f for f in self.files if f.endswith((".c", ".h")) and not f.startswith("tests/")]


def header_of(text):
    start = DIFF_STARTS.search(text)
    return text[:start.start()] if start else text


def tests_of(text):
    """The Tcl tests whose first line the diff adds."""
    unit, found = None, []
    for line in text.splitlines():
        file = FILE.match(line)
        if file:
            unit = file[1]
        test = TCL_TEST.match(line)
        if test and unit and unit.startswith("tests/") and unit.endswith(".tcl"):
            found.append(Test(unit.removeprefix("tests/").removesuffix(".tcl"), test[1] or test[2]))
    return found


def read_fix(number, path):
    text = path.read_text(errors="replace")
    cves = list(dict.fromkeys(CVE.findall(path.name + "\n" + header_of(text))))
    return Fix(number, path, text, cves, FILE.findall(text), tests_of(text))


def is_security(path):
    return "CVE" in path.name or "CVE" in header_of(path.read_text(errors="replace"))


class Package:
    """The unpacked source, with the patches that are no security fixes and come before the first one applied."""

    def __init__(self, directory, name):
        said = subprocess.run([TOP / "scripts" / "deb-src", directory, name], check=True, stdout=subprocess.PIPE, text=True)
        self.dsc = Path(said.stdout.split()[-1])
        self.version = re.search(r"^Version: (.*)$", self.dsc.read_text(), re.MULTILINE)[1]
        self.pristine = directory / "pristine"
        if not self.pristine.exists():
            subprocess.run(["dpkg-source", "--skip-patches", "-x", self.dsc, self.pristine], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        patches = self.pristine / "debian" / "patches"
        listed = (patches / "series").read_text().splitlines()
        self.series = [patches / line.split()[0] for line in listed if line.strip() and not line.startswith("#")]
        security = [p for p in self.series if is_security(p)]
        self.fixes = [read_fix(n, p) for n, p in enumerate(security, 1)]

    def steps(self):
        """(patch, Fix or None) in the order of the series."""
        fixes = {f.path: f for f in self.fixes}
        return [(p, fixes.get(p)) for p in self.series]


def apply_patch(tree, path):
    """As dpkg-source applies it; a diff that does not fit is an error, not a question."""
    run = subprocess.run(["patch", "-p1", "-t", "-F", "0", "-N", "-u", "-E", "-s", "-i", path], cwd=tree,
                         capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"cve-replay: {path.name} does not apply: {run.stdout}{run.stderr}")


def copy_tree(source, destination):
    shutil.rmtree(destination, ignore_errors=True)
    subprocess.run(["cp", "-a", "--reflink=auto", source, destination], check=True)
