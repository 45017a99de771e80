"""What the tests of the kpatch_* and libcare-* tools share: running them as people type them, and looking into what they make."""
import os
import pty
import re
import shutil
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import lib

EXAMPLES = Path(__file__).resolve().parent / "kpatch"


def tools():
    return lib.tool_path().parent


def environment(**more):
    """As on a machine where the tools are installed; messages in English, and no colours."""
    return {**os.environ, "PATH": f"{tools()}:{os.environ['PATH']}", "LC_ALL": "C", "TERM": "dumb", **more}


def example(*names):
    """A directory with copies of files of tests/e2e/kpatch."""
    directory = lib.scratch_directory()
    for name in names:
        shutil.copy(EXAMPLES / name, directory / name)
    return directory


def shell(directory, script, expect=0, **env):
    """Commands as a document prints them, in one bash that stops at the first that fails; its output, both kinds."""
    run = subprocess.run(["bash", "-e", "-c", script], cwd=directory, env=environment(**env), stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=5 * lib.PATIENCE)
    assert run.returncode == expect, f"{script}\n{run.stdout}"
    return run.stdout


def build_id(program):
    notes = subprocess.run(["readelf", "-n", program], capture_output=True, text=True, check=True).stdout
    return re.search(r"Build ID: (\S+)", notes)[1]


def sections(path):
    """name -> (type, address, flags) as readelf sees them."""
    text = subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^\s*\[ *\d+\] (\S+)\s+(\S+)\s+([0-9a-f]+) [0-9a-f]+ [0-9a-f]+ [0-9a-f]+ ([ WAXMSILGTCx]*?)\s+\d+", text, re.M)
    return {name: (kind, int(address, 16), flags.strip()) for name, kind, address, flags in found}


def relocations(path, section):
    """(offset, type, symbol, addend) of .rela<section>."""
    text = subprocess.run(["readelf", "-rW", path], capture_output=True, text=True, check=True).stdout
    part = re.search(rf"'\.rela{re.escape(section)}'.*?\n\n", text + "\n\n", re.S)[0]
    found = re.findall(r"^([0-9a-f]+)\s+[0-9a-f]+ (\S+)\s+[0-9a-f]+ (\S+) ([+-]) ([0-9a-f]+)", part, re.M)
    return [(int(at, 16), kind, symbol, int(sign + addend, 16)) for at, kind, symbol, sign, addend in found]


def elf_of(kpatch):
    """The object in a .kpatch file, as a file of its own, checked for the header's own words about it."""
    data = Path(kpatch).read_bytes()
    assert data[:8] == b"KPATCH1\0"
    offset = int.from_bytes(data[152:156], "little")
    assert offset == 504 and int.from_bytes(data[160:164], "little") == len(data) and len(data) % 16 == 0
    path = Path(kpatch).with_suffix(".object")
    path.write_bytes(data[offset:])
    return path


def header_text(kpatch, offset, size):
    return Path(kpatch).read_bytes()[offset:offset + size].split(b"\0")[0].decode()


@contextmanager
def terminal(directory, *argv, answers=(), **env):
    """A program with a terminal of its own; each (question, answer) is typed once the question stands there.

    Yields a function that waits for the end: (exit status, all that was on the screen)."""
    pid, fd = pty.fork()
    if not pid:
        os.chdir(directory)
        os.execvpe(argv[0], list(map(str, argv)), environment(**env))
    screen = bytearray()
    waiting = list(answers)

    def follow():
        while True:
            try:
                got = os.read(fd, 4096)
            except OSError:  # the last one on the terminal is gone
                return
            if not got:
                return
            screen.extend(got)
            if waiting and waiting[0][0].encode() in screen:
                os.write(fd, waiting.pop(0)[1].encode())

    reader = threading.Thread(target=follow)
    reader.start()
    status = []

    def finish():
        if not status:
            reader.join(lib.PATIENCE * 3)
            assert not reader.is_alive(), screen.decode()
            status.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        return status[0], screen.decode().replace("\r\n", "\n")

    try:
        yield finish, pid
    finally:
        if not status:
            os.kill(pid, 9)
            reader.join()
            os.waitpid(pid, 0)
        os.close(fd)


class Loop:
    """The program of the document: it says something every second, for ever."""

    def __init__(self, program):
        self.process = subprocess.Popen(["stdbuf", "-oL", program], stdout=subprocess.PIPE, text=True)
        self.pid = lib.wait_for(lambda: lib.descendant(self.process.pid, Path(program).name[:15]), "the program to start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def until(self, line, lines=lib.PATIENCE):
        """Reads up to the line; what else it says meanwhile is returned."""
        before = []
        for _ in range(lines):
            said = self.process.stdout.readline().rstrip("\n")
            if said == line:
                return before
            before.append(said)
        raise AssertionError(f"never said {line!r}, but {before}")
