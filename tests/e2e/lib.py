"""What the end-to-end tests share: the tool, programs to patch, and looks into /proc.

A victim talks by lines (tests/victim/e2e_serve.h), so a test waits for what it
needs to know and never sleeps.  wait_for() is for what only /proc can tell.
"""
import atexit
import functools
import hashlib
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
SOURCES = TOP / "tests" / "victim"
PATIENCE = 120  # seconds; only ever spent on what hangs, on a machine that may be busy with other things

DONE, REFUSED, USAGE, LOST = 0, 1, 2, 3  # exit codes
NO_PROCESS = 4194304  # pid_max at its highest; the number of a process that has ended may be somebody else's already

_scratch = Path(tempfile.mkdtemp(prefix="livepatch-e2e-"))
_scratch.chmod(0o755)
atexit.register(shutil.rmtree, _scratch, ignore_errors=True)



def scratch_directory():
    """Removed at the end of the session; other users can read it."""
    directory = Path(tempfile.mkdtemp(dir=_scratch))
    directory.chmod(0o755)
    return directory


def private_directory():
    """The same, for its user alone, and short: names of sockets have to be."""
    directory = scratch_directory()
    directory.chmod(0o700)
    return directory


# ---- the tool

def build_directory():
    """What --build= names; pytest is asked (conftest.py), for its workers are not given the command line."""
    return Path(os.environ.get("LIVEPATCH_TEST_BUILD", TOP / "build" / "dbg")).resolve()


@functools.cache
def tool_path():
    if "LIVEPATCH" in os.environ:
        return Path(os.environ["LIVEPATCH"]).resolve()
    return build_directory() / "src" / "tool" / "livepatch"


@dataclass
class Result:
    status: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def error(self):
        """The refusal of a --json run; what it says in several lines is joined to one text."""
        answer = self.json
        assert answer["ok"] is False, answer
        error = answer["error"]
        return {**error, "message": "\n".join([error["message"], *error.get("details", ())])}


LACKED_CPU = re.compile("this machine is too busy|has not finished what we asked of it within|it got no CPU time")


def unless_starved(run):
    """The Result of run(), once it is no refusal because somebody did not get the CPU in time: that has changed nothing."""
    def result():
        result = run()
        return None if result.status == REFUSED and LACKED_CPU.search(result.out + result.err) else result
    return wait_for(result, "a machine that is not too busy")


def livepatch(*args, script=None, cwd=None, expect=DONE, wrap=()):
    """Run the tool to its end; its exit code must be the expected one (None: any)."""
    def run():
        run = subprocess.run([*wrap, tool_path(), *map(str, args)], input=script, capture_output=True, text=True, cwd=cwd,
                             stdin=subprocess.DEVNULL if script is None else None, timeout=5 * PATIENCE)
        return Result(run.returncode, run.stdout, run.stderr)
    result = unless_starved(run) if expect == DONE else run()
    assert expect is None or result.status == expect, f"livepatch {args}: {result}"
    return result


def apply(pid, script, *args, **kwargs):
    return livepatch("apply", "-p", pid, *args, script=script, **kwargs)


def apply_json(pid, script, *args, **kwargs):
    return apply(pid, script, "--json", *args, **kwargs).json


def revert(pid, *what, **kwargs):
    return livepatch("revert", "-p", pid, *(what or ("--all",)), **kwargs)


def refusal(pid, script, *args):
    """The machine-readable refusal of an apply."""
    return apply(pid, script, "--json", *args, expect=REFUSED).error


def listed(pid):
    return livepatch("list", "-p", pid, "--json").json


def active_ids(pid):
    return [p["id"] for p in listed(pid)["patches"] if p["state"] == "applied"]


@contextmanager
def livepatch_running(*args, script=None):
    """The tool in the background; killed at the end of the block if it still runs."""
    process = subprocess.Popen([tool_path(), *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    process.stdin.write(script or "")
    process.stdin.close()
    process.stdin = None
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


# ---- programs

LINKS = {
    "pie": ("-fPIE", "-pie"),
    "non-pie": ("-fno-pie", "-no-pie"),
    "static": ("-static", "-fno-pie", "-no-pie"),
    "static-pie": ("-static-pie", "-fPIE"),
}


def own_build_id(path):
    """Tests that run at the same time patch whatever has the build-id of their program: it must not be that of others too."""
    return f"-Wl,--build-id=0x{hashlib.sha1(bytes(path)).hexdigest()}"


@functools.cache
def compiled(*sources, link="pie", flags=(), name=None):
    """A program of tests/victim (or a path), built once per session."""
    directory = scratch_directory()
    paths = [SOURCES / s if not str(s).startswith("/") else Path(s) for s in sources]
    program = directory / (name or paths[0].stem)
    subprocess.run(["cc", "-O2", "-g", "-Wall", "-Werror", "-D_GNU_SOURCE", f"-I{SOURCES}", *LINKS[link],
                    own_build_id(program), *flags, *paths, "-o", program, "-pthread"], check=True)
    return program


@functools.cache
def shared_object(source, *flags, name=None):
    """A patch object, with nothing but what documents of the trade say: cc -shared -fPIC."""
    directory = scratch_directory()
    path = SOURCES / source if not str(source).startswith("/") else Path(source)
    target = directory / (name or path.stem + ".so")
    subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", target, path, own_build_id(target), *flags],
                   check=True)
    return target


def source_file(text, name):
    """A generated source, for programs that no one wants to read; the same text is the same file."""
    path = _scratch / hashlib.sha256(text.encode()).hexdigest()[:16] / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def stripped(program, *options):
    program = Path(program)
    directory = scratch_directory()
    subprocess.run(["strip", *options, "-o", directory / program.name, program], check=True)
    return directory / program.name


class Victim:
    """A running program that answers lines; ends with the `with` block."""

    def __init__(self, program, *args, wrap=(), **popen):
        # A group of its own with its parent in the same session, like a shell's job: in an orphaned group, which is
        # where a test run without a terminal may be, SIGTSTP does nothing.
        popen = {"process_group": 0, **popen}
        self.process = subprocess.Popen([*map(str, wrap), program, *map(str, args)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, **popen)
        self.buffer = b""
        assert self.line() == "ready"
        self.pid = descendant(self.process.pid, Path(program).name[:15]) if wrap else self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def line(self):
        deadline = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.buffer:
                assert selector.select(max(0, deadline - time.monotonic())), "the victim does not answer"
                got = os.read(self.process.stdout.fileno(), 4096)
                assert got, f"the victim ended: {self.process.wait()}"
                self.buffer += got
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode()

    def send(self, request):
        self.process.stdin.write(request.encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, request="ask"):
        self.send(request)
        return self.line()

    def rest(self):
        """Every call bound that an answer needs, and back in read(): from here on its memory stands still."""
        self.ask()
        wait_for(lambda: set(states(self.pid)) == {"S"}, "the victim to rest")
        return self


# ---- /proc

GONE = FileNotFoundError, ProcessLookupError  # before a file of it was opened, or between that and the reading


def wait_for(condition, what):
    """For events that only /proc shows; returns the condition's value."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.002)
    raise AssertionError(f"waited in vain for {what}")


def status_of(pid, tid=None):
    text = Path(f"/proc/{pid}/task/{tid or pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def threads(pid):
    return [int(t) for t in os.listdir(f"/proc/{pid}/task")]


def of_every_thread(pid, field):
    """A field of /proc status for each thread that lives long enough to be asked; none of a process that is gone."""
    values = []
    with suppress(*GONE):
        for tid in threads(pid):
            with suppress(*GONE):
                values.append(status_of(pid, tid)[field])
    return values


def states(pid):
    """State letters."""
    return [state[0] for state in of_every_thread(pid, "State")]


def traced(pid):
    return any(tracer != "0" for tracer in of_every_thread(pid, "TracerPid"))


def alive(pid):
    try:
        return status_of(pid)["State"][0] not in "ZX"
    except GONE:
        return False


def stop(pid):
    """By job control.  A signal that was sent has not stopped anybody yet: a thread that runs may go on, or answer."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: set(states(pid)) == {"T"}, "the process to stop")


def descendant(pid, name):
    """The process called `name` among pid and what it started."""
    try:
        if Path(f"/proc/{pid}/comm").read_text().strip() == name:
            return pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except GONE:
        return None
    return next((d for d in (descendant(int(c), name) for c in children) if d), None)


def maps(pid):
    return Path(f"/proc/{pid}/maps").read_text().splitlines()


def has_ledger(pid):
    return any("/memfd:livepatch-ledger" in line for line in maps(pid))


def memory_hash(pid):
    """Of the maps and every readable byte: equal means that nothing changed at all.  Only for a victim at rest."""
    digest = hashlib.sha256()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps(pid):
            span, prot, _, _, _, *name = line.split(None, 5)
            digest.update(line.encode())
            if prot[0] != "r" or name and name[0].startswith("[v"):
                continue
            start, end = (int(x, 16) for x in span.split("-"))
            memory.seek(start)
            digest.update(memory.read(end - start))
    return digest.hexdigest()


def address_of(pid, program, symbol):
    """Run-time address, worked out from nm and the maps rather than by the tool under test."""
    lines = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout.splitlines()
    value = next(int(line.split()[0], 16) for line in lines if line.split()[-1] == symbol)
    if b"\x02\x00" == Path(program).read_bytes()[16:18]:  # ET_EXEC
        return value
    real = os.path.realpath(f"/proc/{pid}/exe")
    return value + next(int(line.split("-")[0], 16) for line in maps(pid) if line.endswith(real))


# ---- the example of 2004

EXAMPLE = "dl foo patch.so\njmp func_J $foo:func1\nset str_P addr $foo:patch_message"
OLD, NEW = "original J | original message", "patched J | patched message"


def example_script():
    return EXAMPLE.replace("patch.so", str(shared_object("e2e_patch.c", name="patch.so")))


def behaviour(victim):
    """func_J's answer and str_P; the victim's own checks must hold."""
    answer = victim.ask()
    assert answer.startswith("ok "), answer
    return answer.split(" ", 2)[2]
