"""Real packages against themselves: a diff that moves lines about, and changes nothing else, makes no patch."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import lib
import pytest

TOP = Path(__file__).resolve().parents[2]

# Every unit that includes these headers is compiled anew, and every __LINE__ in and below them is another number.
PACKAGES = {
    "zlib": {"build": "./configure && make -j2 libz.a libz.so.1.2.13 minigzip", "headers": ["zutil.h", "zconf.h.in"]},
    "redis": {"build": "make -j2 MALLOC=libc", "headers": ["src/server.h", "src/sds.h", "deps/lua/src/lobject.h"]},
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Extracted source packages by name, each fetched once."""
    if not shutil.which("dpkg-source"):
        pytest.skip("dpkg-source is not installed: the packages cannot be unpacked")
    found = {}

    def source(package):
        if package not in found:
            place = tmp_path_factory.mktemp(package)
            fetch = subprocess.run([TOP / "scripts" / "deb-src", place / "deb", package], capture_output=True, text=True)
            if fetch.returncode:
                pytest.skip(f"no source package {package} from the machine's own sources: {fetch.stderr[-300:]}")
            tree = place / "tree"
            subprocess.run(["dpkg-source", "--no-check", "-x", fetch.stdout.split()[-1], tree], check=True,
                           stdout=subprocess.DEVNULL)
            shutil.rmtree(tree / ".pc", ignore_errors=True)
            found[package] = tree
        return found[package]

    return source


def lines_moved(tree, headers):
    """A diff that begins each of these files with three more lines."""
    diff = ""
    for header in headers:
        first = (tree / header).read_bytes().decode("utf-8", "replace").splitlines()[0]
        diff += f"--- a/{header}\n+++ b/{header}\n@@ -1 +1,4 @@\n+\n+/* moved */\n+\n {first}\n"
    return diff


@pytest.mark.sweep
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_whose_lines_moved_is_the_same(sources, package, compiler, tmp_path):
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    tree, what = sources(package), PACKAGES[package]
    patch = tmp_path / "moved.patch"
    patch.write_text(lines_moved(tree, what["headers"]))
    command = what["build"].replace("make", f"make CC={compiler}").replace("./configure", f"CC={compiler} ./configure")
    run = subprocess.run([lib.tool_path(), "build", "-C", tree, "--cache", tmp_path / "cache", "--build", command, "-o",
                          tmp_path / "moved.kpatch", "--json", patch],
                         env={**os.environ, "LC_ALL": "C.UTF-8"}, capture_output=True, text=True, timeout=1500)
    answer = lib.Result(run.returncode, run.stdout, run.stderr)
    assert answer.status == lib.DONE, answer
    assert not (tmp_path / "moved.kpatch").exists(), answer
    compiled = re.search(r"building what the diff changes: (\d+) units", answer.err)
    assert compiled and int(compiled[1]) > 5, f"the diff made nothing be compiled, the test shows nothing: {answer}"
