"""The client in Python against whoever is not what it ought to be: hostile answers, hostile names, hostile places, and its own callers."""
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import agentlib
import lib
from terminal import Terminal

sys.path.insert(0, str(lib.TOP / "python"))

import hotpatch  # noqa: E402
from hotpatch import tool  # noqa: E402

ESCAPE = "\x1b]0;owned\x07\x1b[2J\u009b2J"
SHOWN = r"\x1b]0;owned\x07\x1b[2J\xc2\x9b2J"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
NOBODY = 65534


# ---- a liar: this process listens where an agent of its own would

class Liar:
    """Says what it is told to, to everybody and every request; what it was asked is kept."""

    def __init__(self, say):
        self.say, self.asked = say, []
        self.path = agentlib.legacy(os.getpid())
        self.socket = socket.socket(socket.AF_UNIX)

    def __enter__(self):
        self.socket.bind(str(self.path))
        self.socket.listen(50)
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()
        self.path.unlink()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                with self.socket.accept()[0] as client, contextlib.suppress(OSError):
                    for request in client.makefile("rb"):
                        self.asked.append(json.loads(request))
                        self.say(client, self.asked[-1]["id"])


def says(data):
    return Liar(lambda client, _: client.sendall(data))


def rows(*data, **more):
    return says(json.dumps({"ok": True, "data": data, **more}).encode() + b"\n")


def command(*words, **how):
    """The command in Python, asking this process."""
    return agentlib.hotpatch("python", "--timeout", "60", "-p", os.getpid(), *words, **how)


NONSENSE = {
    "no JSON": b"Error: bad\n",
    "an array": b"[]\n",
    "no number": b'{"ok": true, "data": [NaN]}\n',
    "a number without end": b'{"ok": true, "data": [' + b"1" * 100000 + b"]}\n",
    "arrays in arrays": b'{"ok": true, "data": ' + b"[" * 200000 + b"]" * 200000 + b"}\n",
    "objects in objects": b'{"ok": true, "data": ' + b'{"a":' * 100000 + b"1" + b"}" * 100001 + b"\n",
    "half a string": b'{"ok": true, "data": ["a\n',
    "bytes that are no text": b'{"ok": true, "data": ["\xff"]}\n',
    "a control character": b'{"ok": true, "data": ["\x1b[2J"]}\n',
    "data that is a number": b'{"ok": true, "data": 5}\n',
    "no data": b'{"ok": true, "data": null}\n',
    "data that is an object": b'{"ok": true, "data": {"a": 1}}\n',
    "rows that are numbers": b'{"ok": true, "data": [5]}\n',
    "rows that are arrays": b'{"ok": true, "data": [["name"]]}\n',
    "rows in rows": b'{"ok": true, "data": [{"name": {"x": 1}}]}\n',
    "an error that is text": b'{"ok": false, "error": "no"}\n',
    "an error that is none": b'{"ok": false}\n',
    "an error of numbers": b'{"ok": false, "error": {"code": 5, "message": 7}}\n',
    "an error of arrays": b'{"ok": false, "error": {"code": [], "message": {}}}\n',
    "details that are no texts": b'{"ok": false, "error": {"code": "usage", "message": "no", "details": [1]}}\n',
    "neither yes nor no": b'{"ok": 1, "data": []}\n',
    "two replies at once": b'{"ok": true, "data": []}\n{"ok": true, "data": []}\n',
    "the reply to another request": b'{"id": 99, "ok": true, "data": []}\n',
}
COMMANDS = {"a command": ["var", "list"], "a command as JSON": ["--json", "var", "list"], "names": ["names", "variables"],
            "top": ["top", "--once"], "top as JSON": ["--json", "top", "--once"], "watch": ["watch", "var", "x"]}


@pytest.mark.parametrize("what", NONSENSE)
def test_an_answer_that_is_none_is_told_and_the_connection_is_closed(what):
    with says(NONSENSE[what]), hotpatch.connect(os.getpid()) as process:
        with pytest.raises(hotpatch.HotpatchError) as raised:
            process.flags()
        assert raised.value.code == "remote-call" and f"process {os.getpid()} answers with what is no reply" in str(raised.value)
        with pytest.raises(hotpatch.ConnectionLost, match="closed: connect again"):
            process.flags()


@pytest.mark.parametrize("how", COMMANDS)
@pytest.mark.parametrize("what", ["arrays in arrays", "a number without end", "data that is a number", "an error of arrays", "rows that are arrays"])
def test_no_answer_makes_the_command_print_a_traceback(what, how):
    with says(NONSENSE[what]):
        run = command(*COMMANDS[how])
    assert run.returncode == lib.REFUSED and "answers with what is no reply" in run.stdout + run.stderr
    assert "Traceback" not in run.stderr


ROW = {"name": "x", "type": "int", "value": "1", "pointer": "0x10", "path": "/x", "in_use": 0, "level": 0, "library": "original"}


@pytest.mark.parametrize("ask, changed", [
    ("flags", {"name": 1}), ("flags", {"value": None}), ("variables", {"value": "one"}), ("variables", {"pointer": "here"}),
    ("variables", {"pointer": 16}), ("variables", {"type": None}), ("variables", {"value": True}), ("libraries", {"in_use": "0"}),
    ("libraries", {"path": False}), ("functions", {"level": "0"}), ("functions", {"pointer": None}), ("functions", {"library": 1}),
])
def test_rows_with_members_of_other_types_are_no_reply(ask, changed):
    with rows(ROW), hotpatch.connect(os.getpid()) as process:
        assert list(getattr(process, ask)()) == ["x"]
    with rows({**ROW, **changed}), hotpatch.connect(os.getpid()) as process, pytest.raises(hotpatch.HotpatchError) as raised:
        getattr(process, ask)()
    assert raised.value.code == "remote-call"


@pytest.mark.parametrize("ask", [
    lambda p: p.flags(), lambda p: p.variables(), lambda p: p.libraries(), lambda p: p.functions(), lambda p: p.get_flag("x"),
    lambda p: p.get_variable("x", "int"), lambda p: next(p.watch("x", "int")), lambda p: p.variable("x"),
])
def test_rows_without_members_are_no_reply(ask):
    with rows({"nam": "x"}), hotpatch.connect(os.getpid()) as process, pytest.raises(hotpatch.HotpatchError) as raised:
        ask(process)
    assert raised.value.code == "remote-call"


@pytest.mark.parametrize("ask", [lambda p: p.get_flag("x"), lambda p: p.get_variable("x", "int"), lambda p: next(p.watch("x", "int"))])
def test_an_answer_without_rows_is_no_reply_where_one_is_wanted(ask):
    with rows(), hotpatch.connect(os.getpid()) as process, pytest.raises(hotpatch.HotpatchError) as raised:
        ask(process)
    assert raised.value.code == "remote-call"


def drip(client, _):
    while True:
        client.sendall(b" ")
        time.sleep(0.01)


def test_an_answer_that_drips_is_not_waited_for_longer_than_was_said():
    with Liar(drip):
        run = agentlib.hotpatch("python", "--timeout", "0.3", "-p", os.getpid(), "var", "list")
    assert run.returncode == lib.REFUSED
    assert run.stderr == (f"hotpatch: process {os.getpid()} has not answered within 0.3 s (--timeout SEC waits longer); "
                          "what was asked for may happen yet\n")


def test_an_endless_answer_is_left():
    def endless(client, _):
        while True:
            client.sendall(b"x" * 65536)
    with Liar(endless), hotpatch.connect(os.getpid()) as process, pytest.raises(hotpatch.HotpatchError) as raised:
        process.lines("var", "list")
    assert raised.value.code == "remote-call"


def test_a_long_answer_is_read_in_time_that_grows_with_its_length():
    text = "x" * (48 << 20)
    with rows(text), hotpatch.connect(os.getpid(), 60) as process:
        begun = time.thread_time()
        assert process.lines("var", "list") == [text]
        assert time.thread_time() - begun < 2.5  # 0.1; when each piece is added to a copy of those before it, 6


# ---- what a terminal would act on

def test_answers_do_not_reach_the_terminal_as_they_are():
    with rows(f"{ESCAPE}\nnext"):
        assert command("var", "list").stdout == f"{SHOWN}\nnext\n"
    with says(json.dumps({"ok": False, "error": {"code": "no", "message": ESCAPE, "details": [ESCAPE]}}).encode() + b"\n"):
        assert command("var", "list").stderr == f"hotpatch: {SHOWN}\n{SHOWN}\n"
        with hotpatch.connect(os.getpid()) as process, pytest.raises(hotpatch.AgentError) as raised:
            process.run("var", "list")
    assert str(raised.value) == f"{SHOWN}\n{SHOWN}"  # as a traceback has it
    with rows({"name": ESCAPE}):
        assert command("names", "variables").stdout == f"{SHOWN}\n"
    with rows({**ROW, "name": ESCAPE, "value": "\ud800"}):
        table = command("top", "--once")
    assert table.returncode == 0 and SHOWN in table.stdout and "\x1b" not in table.stdout and r"\ud800" in table.stdout


def test_values_are_not_changed_on_their_way_to_a_program():
    with rows({"value": ESCAPE}), hotpatch.connect(os.getpid()) as process:
        assert process.get_variable("x", "string") == ESCAPE


def test_words_of_the_command_line_do_not_reach_the_terminal_as_they_are():
    assert agentlib.hotpatch("python", f"--{ESCAPE}").stderr == f"hotpatch: unknown option --{SHOWN}\n"
    assert agentlib.hotpatch("python", b"--\xff".decode(errors="surrogateescape")).stderr == "hotpatch: unknown option --\\xff\n"


@pytest.fixture(name="hostile_name")
def a_hostile_name():
    comm = Path("/proc/self/comm")
    before = comm.read_text(encoding="utf-8")
    comm.write_text("\x1b[2J\x1b]0;o\x07\nx", encoding="utf-8")
    yield r"\x1b[2J\x1b]0;o\x07"
    comm.write_text(before, encoding="utf-8")


def test_the_name_of_a_process_does_not_reach_the_terminal_as_it_is(hostile_name):
    with rows():
        assert f"{os.getpid():7} {hostile_name}\n" in agentlib.hotpatch("python", "ps").stdout
    tool_in_python = agentlib.client_path("python") / "hotpatch"
    with rows(ROW), Terminal(tool_in_python, "-p", os.getpid(), "top", lines=10) as terminal:
        terminal.shows(f"process {os.getpid()} ({hostile_name})")
        terminal.press("q")
        assert terminal.ended() == 0


def test_keys_are_not_kept_waiting_by_half_an_answer():
    with says(b'{"ok": true, ') as liar, Terminal(agentlib.client_path("python") / "hotpatch", "--timeout", "86400", "-p", os.getpid(), "top",
                                                 lines=10) as terminal:
        lib.wait_for(lambda: liar.asked, "the first question")
        terminal.shows("it does not answer")
        terminal.press("q")
        assert terminal.ended() == 0


# ---- whose socket it is

@pytest.fixture(name="bystander")
def a_bystander():
    """A process without an agent; what has the name of its socket goes with it."""
    with lib.Victim(lib.compiled("e2e_globals.c")) as victim:
        yield victim
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            agentlib.legacy(victim.pid).unlink()


SQUATS = {"a file": (lambda path: path.touch(), "is no socket"),
          "a link to itself": (lambda path: path.symlink_to(path), "is no socket"),
          "a FIFO": (os.mkfifo, "is no socket")}


@pytest.mark.parametrize("what", SQUATS)
def test_who_takes_the_name_of_a_socket_does_not_make_a_process_unreachable(bystander, what):
    squat, says_so = SQUATS[what]
    squat(agentlib.legacy(bystander.pid))
    with pytest.raises(hotpatch.NoAgent) as raised:
        hotpatch.connect(bystander.pid)
    assert raised.value.code == "no-agent" and str(raised.value).endswith(f"attach\n{agentlib.legacy(bystander.pid)} {says_so}")


@needs_root
def test_a_socket_of_somebody_else_is_none_of_the_process(bystander):
    path = agentlib.legacy(bystander.pid)
    with socket.socket(socket.AF_UNIX) as squatter:
        squatter.bind(str(path))
        squatter.listen()
        os.chown(path, NOBODY, NOBODY)
        with pytest.raises(hotpatch.NoAgent, match=f"belongs to user {NOBODY}, and the process to user 0"):
            hotpatch.connect(bystander.pid)


def test_who_listens_in_place_of_the_process_is_told_nothing(bystander):
    with socket.socket(socket.AF_UNIX) as squatter:
        squatter.bind(str(agentlib.legacy(bystander.pid)))
        squatter.listen()
        with pytest.raises(hotpatch.NoAgent, match=f"process {os.getpid()} listens at .*, and not process {bystander.pid}"):
            hotpatch.connect(bystander.pid)
        with squatter.accept()[0] as client:
            assert client.recv(1) == b""


def test_a_place_that_cannot_be_looked_at_is_no_end(monkeypatch):
    directory = lib.scratch_directory()
    (directory / "hotpatch").symlink_to(directory / "hotpatch")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    with rows("reached"), hotpatch.connect(os.getpid()) as process:
        assert process.lines("var", "list") == ["reached"]
    with pytest.raises(hotpatch.NoAgent, match="cannot look at .*: Too many levels of symbolic links"):
        hotpatch.connect(os.getpid())


@needs_root
def test_somebody_else_is_told_who_may(bystander):
    run = agentlib.hotpatch("python", "-p", bystander.pid, "var", "list", user=NOBODY, group=NOBODY, extra_groups=[])
    assert (run.returncode, run.stderr) == (lib.REFUSED, f"hotpatch: not allowed to talk to process {bystander.pid}: "
                                                         "only its user (uid 0) and root are\n")


@contextlib.contextmanager
def full():
    """An agent, it seems, that takes no clients: as many as may wait do."""
    path = agentlib.legacy(os.getpid())
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as waiting:
        listener.bind(str(path))
        listener.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                client = waiting.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
                client.connect(str(path))
        yield
        path.unlink()


def test_a_process_that_takes_no_clients_is_not_waited_for_longer_than_was_said():
    with full():
        for timeout in (0.1, 0):
            with pytest.raises(hotpatch.NoAnswer) as raised:
                hotpatch.connect(os.getpid(), timeout)
            assert str(raised.value) == f"process {os.getpid()} takes no clients within {timeout:g} s (--timeout SEC waits longer)"
        assert os.getpid() not in hotpatch.processes()


def test_a_thread_is_told_to_be_one():
    with rows():
        thread = next(int(tid) for tid in os.listdir("/proc/self/task") if int(tid) != os.getpid())
        with pytest.raises(hotpatch.NoAgent, match=f"{thread} is a thread of process {os.getpid()}: name the process"):
            hotpatch.connect(thread)


def test_a_process_that_has_exited_is_told_to_have():
    child = subprocess.Popen(["true"])
    lib.wait_for(lambda: lib.states(child.pid) == ["Z"], "a zombie")
    with pytest.raises(hotpatch.NoAgent) as raised:
        hotpatch.connect(child.pid)
    child.wait()
    assert str(raised.value) == f"process {child.pid} has exited already; its parent has not asked how" and raised.value.code == "target-lost"


# ---- what callers do

@pytest.fixture(name="server", scope="module")
def a_server():
    with agentlib.simple_server() as host:
        yield host


@pytest.fixture(name="process")
def a_process(server, monkeypatch):
    monkeypatch.setenv("PATH", agentlib.client_environment("c")["PATH"])
    with hotpatch.connect(server.pid) as connected:
        yield connected


@pytest.mark.parametrize("pid", ["7042", None, 0, -1, 2**31, 1.0, True, b"1"])
def test_what_is_no_number_of_a_process_is_refused(pid):
    for act in (hotpatch.connect, hotpatch.attach, hotpatch.detach):
        with pytest.raises(hotpatch.WrongUse) as raised:
            act(pid)
        assert str(raised.value) == f'"{pid}" is no process id'


@pytest.mark.parametrize("timeout", ["1", None, -1, float("nan"), b"1"])
def test_what_is_no_number_of_seconds_is_refused(timeout):
    with pytest.raises(hotpatch.WrongUse, match=f'"{timeout}" is no number of seconds'):
        hotpatch.connect(os.getpid(), timeout)


def test_more_than_a_day_is_too_long():
    for timeout in (86401, float("inf")):
        with pytest.raises(hotpatch.WrongUse, match="is more than 86400 seconds, which is the most"):
            hotpatch.connect(os.getpid(), timeout)


@pytest.mark.parametrize("act", [hotpatch.attach, hotpatch.detach])
def test_nobody_to_be_entered_is_no_agent(act, process):
    with pytest.raises(hotpatch.NoAgent, match="there is no process 2147483000") as raised:
        act(2147483000)
    assert raised.value.code == "target-lost"


def test_no_time_at_all_is_no_answer(server):
    with hotpatch.connect(server.pid, timeout=0) as process, pytest.raises(hotpatch.NoAnswer) as raised:
        process.run("var", "list")
    assert str(raised.value) == (f"process {server.pid} has not answered within 0 s (--timeout SEC waits longer); "
                                 "what was asked for may happen yet")


def test_after_its_end_a_connection_is_closed(process):
    assert repr(process) == f"<hotpatch.Process {process.pid}>"
    process.close()
    process.close()
    assert repr(process) == f"<hotpatch.Process {process.pid}, closed>"
    for act in (process.flags, lambda: next(process.watch("age")), lambda: process.transaction().__enter__()):
        with pytest.raises(hotpatch.ConnectionLost, match=f"the connection to process {process.pid} is closed: connect again"):
            act()


@pytest.mark.parametrize("act", [
    lambda p: p.set_variable("user_name", None), lambda p: p.set_variable("user_name", b"x"), lambda p: p.set_variable("user_name", ["x"]),
    lambda p: p.set_variable("global:age", None), lambda p: p.set_flag("greeting", b"x"), lambda p: p.run("var", "get", None, "age"),
    lambda p: p.lines("var", b"list"), lambda p: p.upgrade(None, "add_func"), lambda p: p.rollback("add_func", [1]),
])
def test_what_is_no_text_and_no_number_is_not_sent_as_its_representation(process, act):
    with pytest.raises(hotpatch.AgentError) as raised:
        act(process)
    assert raised.value.code == "wrong-type"
    assert process.get_variable("user_name") == "myname" and process.get_flag("greeting") == "hello"


def test_no_command_is_wrong_use(process):
    for words in ((), (";",), (";", ";")):
        with pytest.raises(hotpatch.WrongUse, match="a command is missing"):
            process.run(*words)


def test_words_may_be_numbers_and_paths(process):
    library = agentlib.build() / "examples" / "hotpatch" / "libadd_func_patch1.so"
    process.run("lib", "load", "words", Path(library))
    process.run("var", "set", "int", "age", 12, ";", "lib", "unload", "words")
    assert process.get_variable("age") == 12
    process.set_variable("age", 10)


def test_threads_that_share_a_connection_take_turns(process):
    wrong = []

    def ask():
        try:
            for _ in range(200):
                assert (process.get_variable("age"), process.get_flag("rounds")) == (10, 0)
                with process.transaction():
                    process.set_variable("age", 10)
        except (AssertionError, hotpatch.HotpatchError) as error:
            wrong.append(error)
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and process.get_variable("age") == 10


def test_who_closes_a_connection_wakes_a_thread_that_waits_for_an_answer():
    outcome = []

    def ask(process):
        try:
            process.run("var", "list")
        except hotpatch.HotpatchError as error:
            outcome.append(type(error))
    with says(b"") as liar, hotpatch.connect(os.getpid(), 600) as process:
        thread = threading.Thread(target=ask, args=(process,))
        thread.start()
        lib.wait_for(lambda: liar.asked, "the request")
        process.close()
        thread.join()
    assert outcome == [hotpatch.ConnectionLost]


def test_an_answer_that_is_not_waited_for_any_more_is_not_taken_for_the_next(server):
    class Enough(Exception):
        pass

    def enough(*_):
        raise Enough
    before = signal.signal(signal.SIGALRM, enough)
    try:
        with says(b"") as liar, hotpatch.connect(os.getpid(), 600) as process:
            threading.Thread(target=lambda: (lib.wait_for(lambda: liar.asked, "the request"), os.kill(os.getpid(), signal.SIGALRM))).start()
            with pytest.raises(Enough):
                process.run("var", "list")
            with pytest.raises(hotpatch.ConnectionLost, match="closed: connect again"):
                process.run("var", "list")
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_program_with_many_files_can_watch(process):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < 2000:
        pytest.skip("so many files may not be opened")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 2000), most))
    try:
        with contextlib.ExitStack() as files:
            while files.enter_context(open(os.devnull, "rb")).fileno() < 1100:
                pass
            with hotpatch.connect(process.pid) as far:
                values = far.watch("age", delay=0.001)
                assert next(values) == 10
                process.set_variable("age", 11)
                assert next(values) == 11
                process.set_variable("age", 10)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_transaction_sets_variables_without_being_told_their_types(process):
    with process.transaction():
        process.set_variable("age", 31)
        process.set_variable("user_name", "x")
    assert (process.get_variable("age"), process.get_variable("user_name")) == (31, "x")
    with process.transaction():
        process.set_variable("age", 10)
        process.set_variable("user_name", "myname")


def test_the_example_of_the_package_does_what_it_says():
    example = (lib.TOP / "python" / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    with agentlib.simple_server() as host:
        (host.directory / "libpatch1.so").symlink_to(agentlib.build() / "examples" / "hotpatch" / "libadd_func_patch1.so")
        run = subprocess.run([sys.executable, "-c", f"pid = {host.pid}\n{example}"], capture_output=True, text=True, cwd=host.directory,
                             env={**os.environ, "PYTHONPATH": str(lib.TOP / "python")}, check=False)
        assert (run.returncode, run.stdout, run.stderr) == (0, "20 0\n", "")
        assert host.data("func list") and "level: 1" in host.data("func list")[0]


def test_a_value_may_be_what_stands_between_commands(process):
    process.set_variable("user_name", ";")
    process.set_flag("greeting", ";", unsafe=True)
    assert (process.get_variable("user_name"), process.get_flag("greeting")) == (";", ";")
    process.set_flag("greeting", "hello", unsafe=True)
    process.set_variable("user_name", "myname")
    with pytest.raises(hotpatch.AgentError, match="no flag called ;"):
        process.get_flag(";")


def test_a_number_of_more_digits_than_python_writes_is_no_value(process):
    with pytest.raises(hotpatch.AgentError) as raised:
        process.set_variable("age", 10 ** 100000)
    assert raised.value.code == "bad-value"


NUMBER = r"""
#include "e2e_serve.h"
int number = 7;
static void answer(char *request) { say("%d", number); }
int main(void) { serve(answer); }
"""


def test_a_transaction_does_not_let_another_program_set_a_variable_at_once(monkeypatch):
    monkeypatch.setenv("PATH", agentlib.client_environment("c")["PATH"])
    with agentlib.Victim(lib.compiled(str(lib.source_file(NUMBER, "number.c")))) as victim, hotpatch.connect(victim.pid) as process:
        with pytest.raises(hotpatch.AgentError, match="in a transaction its type is named") as raised, process.transaction():
            process.set_variable("global:number", 8)
        assert raised.value.code == "transaction" and victim.ask() == "7"
        with process.transaction():
            process.set_variable("global:number", 8, kind="int")
            assert victim.ask() == "7" and process.get_variable("global:number") == 7
        assert victim.ask() == "8"
        process.set_variable("global:number", 9)
        assert victim.ask() == "9"


def test_a_failure_that_cannot_be_written_is_no_success():
    with says(json.dumps({"ok": False, "error": {"code": "no", "message": "no"}}).encode() + b"\n"), open("/dev/full", "wb") as full_device:
        run = subprocess.run([agentlib.client_path("python") / "hotpatch", "--json", "-p", str(os.getpid()), "var", "list"], stdout=full_device,
                             stderr=subprocess.PIPE, text=True, check=False)
    assert (run.returncode, run.stderr) == (lib.REFUSED, "hotpatch: cannot write to standard output: No space left on device\n")


def test_a_directory_that_has_gone_is_no_reason(server):
    directory = lib.scratch_directory()
    run = agentlib.hotpatch("python", "-p", server.pid, "lib", "load", "x", ".", cwd=directory, preexec_fn=lambda: os.rmdir(directory))
    assert run.returncode == lib.REFUSED and "standard output" not in run.stderr and "Traceback" not in run.stderr, run


# ---- the command in C

def test_without_the_command_in_c_each_command_is_told_what_helps(server, monkeypatch):
    monkeypatch.setenv("PATH", str(lib.scratch_directory()))
    with pytest.raises(hotpatch.NoTool) as raised:
        hotpatch.attach(server.pid)
    assert str(raised.value) == "this needs the command hotpatch of livepatch, written in C, which is not in PATH"
    with hotpatch.connect(server.pid) as process, pytest.raises(hotpatch.NoTool, match="a variable can also be named with its type"):
        process.get_variable("global:age")


ERROR = {"ok": False, "error": {"code": "target-lost", "message": "process 7 ended", "details": ["so it did"]}}


@pytest.mark.parametrize("indent", [None, 2])
def test_the_end_of_watch_is_understood_on_one_line_and_on_several(process, monkeypatch, indent):
    said = lib.source_file(json.dumps({"name": "global:x", "type": "int", "value": "7"}) + "\n" + json.dumps(ERROR, indent=indent) + "\n", "said")
    script = lib.scratch_directory() / "hotpatch"
    script.write_text(f"#!/bin/sh\ncat {said}\n")
    script.chmod(0o755)
    monkeypatch.setattr(tool, "path", lambda verb: str(script))
    values = process.watch("global:x")
    assert next(values) == 7
    with pytest.raises(hotpatch.ConnectionLost) as raised:
        next(values)
    assert str(raised.value) == "process 7 ended\nso it did"


@pytest.mark.parametrize("said", ["", "nonsense", "[]", '{"ok": true, "data": 5}', '{"ok": false}', '{"name": 1}', "[" * 100000])
def test_a_command_in_c_that_is_another_one_is_told(process, monkeypatch, said):
    script = lib.scratch_directory() / "hotpatch"
    script.write_text(f"#!/bin/sh\ncat {lib.source_file(said, 'said')}\n")
    script.chmod(0o755)
    monkeypatch.setattr(tool, "path", lambda verb: str(script))
    for ask in (lambda: process.get_variable("global:x"), lambda: list(process.watch("global:x"))):
        with pytest.raises(hotpatch.HotpatchError) as raised:
            ask()
        assert raised.value.code in ("no-tool", "remote-call")


def test_a_command_in_c_that_cannot_be_run_is_told(server):
    directory = lib.scratch_directory()
    (directory / "hotpatch").write_bytes(b"\x7fELF")
    (directory / "hotpatch").chmod(0o755)
    run = agentlib.hotpatch("python", "-p", server.pid, "var", "get", "global:x",
                            env={"PATH": f"{agentlib.client_path('python')}:{directory}:/usr/bin:/bin"})
    assert (run.returncode, run.stderr) == (lib.REFUSED, f"hotpatch: cannot run {directory}/hotpatch: Exec format error\n")
