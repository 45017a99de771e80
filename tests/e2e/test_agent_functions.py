"""Functions that go elsewhere and come back while all threads call them; several changes that happen together, or not at all."""
import json
import os
import socket
import threading

import pytest

import agentlib
import lib

ROUNDS = 60


class Program(lib.Victim):
    """e2e_agent.c, preloaded; its counters tell of every answer that was no whole version of pick()."""

    def __init__(self, **env):
        super().__init__(lib.compiled("e2e_agent.c"), env={**os.environ, "LD_PRELOAD": str(agentlib.preload()), **env})

    def __exit__(self, *_):
        super().__exit__()
        agentlib.sweep(self.pid)

    def data(self, command):
        return agentlib.data(self.pid, command)

    def refusal(self, command):
        (line,) = agentlib.ask(self.pid, command)
        assert line.startswith("Error: "), line
        return line.split(": ", 2)[1:]

    def counts(self):
        _, calls, _, wrong = self.ask().split()
        return int(calls), int(wrong)

    def check(self):
        """Calls go on, and all of them so far were right."""
        before, _ = self.counts()
        lib.wait_for(lambda: self.counts()[0] > before + 1000, "calls of pick()")
        assert self.counts()[1] == 0

    def status(self, function="pick"):
        """The libraries of its levels, and which is current."""
        levels = [row.split(", ") for row in self.data(f"func status {function}")]
        return [next((f.split(": ")[1] for f in level if f.startswith("library: ")), "original") for level in levels], \
               next(i for i, level in enumerate(levels) if level[-1] == "current: true")


def version(number):
    return lib.shared_object(str(lib.source_file(f"int pick(int n) {{ return n + {100 * number}; }}", "pick.c")), "-O2",
                             name=f"pick{number}.so")


HOLDING = """
#include <unistd.h>
int hold(int in, int out) { char c; return write(out, "x", 1) == 1 && read(in, &c, 1) == 1; }
"""


@pytest.fixture
def program():
    with Program() as running:
        yield running


def test_three_upgrades_are_a_stack_that_any_level_of_can_be_gone_back_to(program):
    for n in (1, 2, 3):
        program.data(f"lib load v{n} {version(n)}; func upgrade v{n} pick")
        assert program.status() == (["original", *(f"v{i}" for i in range(1, n + 1))], n)
        program.check()
    program.data("func rollback pick 1")
    assert program.status() == (["original", "v1"], 1)
    assert program.refusal("lib unload v1")[0] == "in-use"
    program.data("lib unload v2; lib unload v3")
    for level in ("1", "2", "-1", "x", ""):
        assert program.refusal(f"func rollback pick '{level}'")[0] == "bad-value"
    program.data("func rollback pick 0")
    assert program.refusal("func rollback pick")[0] in ("no-function", "no-such-patch")
    program.data("lib unload v1")
    program.check()


def test_the_last_level_goes_back_to_the_one_before_not_to_the_original(program):
    for n in (1, 2):
        program.data(f"lib load v{n} {version(n)}; func upgrade v{n} pick")
    program.data("func rollback pick")
    assert program.status() == (["original", "v1"], 1)


def test_an_upgrade_goes_by_another_symbol(program):
    other = lib.shared_object(str(lib.source_file("int other_pick(int n) { return n + 700; }", "other.c")), "-O2")
    program.data(f"lib load other {other}; func upgrade other pick other_pick")
    program.check()


def test_a_library_is_not_unloaded_while_its_functions_are_in_use(program):
    program.data(f"lib load v1 {version(1)}; func upgrade v1 pick")
    code, sentence = program.refusal("lib unload v1")
    assert code == "in-use" and "v1" in sentence
    program.data("func rollback pick; lib unload v1")
    program.check()


def test_a_library_is_not_unloaded_while_a_thread_stands_in_it(program):
    library = lib.shared_object(str(lib.source_file(HOLDING, "hold.c")), "-O2")
    program.data(f"lib load h {library}; func upgrade h hold")
    assert program.ask("hold") == "held"
    program.data("func rollback hold")
    code, sentence = program.refusal("lib unload h")
    assert code == "in-use" and "thread" in sentence
    assert str(library) in "".join(lib.maps(program.pid))
    assert program.ask("release") == "released"
    lib.wait_for(lambda: agentlib.ask(program.pid, "lib unload h")[0] == "Success to run", "nobody to be inside of it")
    assert str(library) not in "".join(lib.maps(program.pid))
    program.check()


def test_four_threads_call_while_upgrades_toggle(program):
    program.data("; ".join(f"lib load v{n} {version(n)}" for n in (1, 2, 3)))
    with socket.socket(socket.AF_UNIX) as s, s.makefile("rw") as wire:
        s.connect(str(agentlib.legacy(program.pid)))

        def ask(words):
            def reply():
                print(json.dumps({"cmd": words}), file=wire, flush=True)
                answer = json.loads(wire.readline())
                return answer if answer["ok"] or answer["error"]["code"] != "busy" else None
            answer = lib.wait_for(reply, words)
            assert answer["ok"], answer
        for i in range(ROUNDS):
            for n in (1, 2, 3):
                ask(f"func upgrade v{n} pick")
            ask("func rollback pick" if i % 2 else "func rollback pick 1")
            ask("func rollback pick 0")
    program.check()


def test_many_clients_toggle_at_once(program):
    program.data("; ".join(f"lib load v{n} {version(n)}" for n in (1, 2)))
    failures = []

    def toggle(n):
        for _ in range(20):
            for command in (f"func upgrade v{n} pick", "func rollback pick"):
                answer = agentlib.settled(program.pid, command)
                if answer[0] != "Success to run":
                    failures.append((command, answer))
    threads = [threading.Thread(target=toggle, args=(n,)) for n in (1, 2, 1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert program.data("func list") == []
    program.check()


# ---- together, or not at all

def test_a_line_of_several_commands_does_nothing_when_one_is_refused(program):
    program.data(f"lib load v1 {version(1)}")
    before = program.data("lib list")
    for bad in ("var set int global:config_level x", "gflags set nothing 1", "func rollback nothing", "nonsense", "lib load a /nonexistent"):
        line = f"var set int global:config_level 9; func upgrade v1 pick; lib load v2 {version(2)}; {bad}"
        assert len(agentlib.ask(program.pid, line)) == 1
        assert program.data("var get int global:config_level") == ["3"]
        assert program.data("func list") == []
        assert program.data("lib list") == before
        assert "pick2.so" not in "".join(lib.maps(program.pid))
    program.check()


def test_a_library_that_is_loaded_upgraded_to_and_refused_later_leaves_nothing(program):
    line = f"lib load v1 {version(1)}; func upgrade v1 pick; func upgrade v1 nobody"
    assert len(agentlib.ask(program.pid, line)) == 1
    assert program.data("lib list") == []
    assert "pick1.so" not in "".join(lib.maps(program.pid))
    program.check()


def session(pid, *lines):
    """The first line of each reply, of one connection that keeps open."""
    with socket.socket(socket.AF_UNIX) as s, s.makefile("rw") as wire:
        s.settimeout(lib.PATIENCE)
        s.connect(str(agentlib.legacy(pid)))
        answers = []
        for line in lines:
            print(json.dumps({"cmd": line}), file=wire, flush=True)
            answer = json.loads(wire.readline())
            answers.append(answer["data"] if answer["ok"] else answer["error"]["code"])
        return answers


def test_nothing_happens_between_begin_and_commit(program):
    answers = session(program.pid, "begin", "var set int global:config_level 9", f"lib load v1 {version(1)}", "func upgrade v1 pick",
                      "var get int global:config_level", "commit", "var get int global:config_level")
    assert answers[4] == [{"value": "3"}] and answers[6] == [{"value": "9"}]
    assert program.status() == (["original", "v1"], 1)


def test_abort_and_a_lost_connection_forget_what_was_begun(program):
    begun = ["begin", "var set int global:config_level 9", f"lib load v1 {version(1)}", "func upgrade v1 pick"]
    session(program.pid, *begun, "abort")
    session(program.pid, *begun)
    lib.wait_for(lambda: program.data("lib list") == [], "the lost transaction to be forgotten")
    assert program.data("func list") == [] and program.data("var get int global:config_level") == ["3"]
    program.check()


def test_a_refusal_between_begin_and_commit_spoils_the_whole(program):
    answers = session(program.pid, "begin", "var set int global:config_level 9", "var set int global:config_level x", "commit")
    assert answers == [[], [], "bad-value", "transaction"]
    assert program.data("var get int global:config_level") == ["3"]


# ---- variables that nobody registered

@pytest.mark.parametrize("kind, name, before, to", [
    ("int", "config_level", "3", "-7"),
    ("double", "config_ratio", "0.5", "1e-300"),
    ("char*", "config_name", "plain", "not so plain"),
])
def test_globals_by_their_symbols(program, kind, name, before, to):
    assert program.data(f"var get {kind} global:{name}") == [before]
    program.data(f"var set {kind} global:{name} {to}")
    assert program.data(f"var get {kind} global:{name}") == [to]


@pytest.mark.parametrize("command, code", [
    ("var get int global:nobody", "no-variable"),
    ("var get long global:config_level", "wrong-type"),
    ("var get int global:config_limits", "wrong-type"),
    ("var get string global:config_name", "wrong-type"),
    ("var set int global:pick 1", "wrong-type"),
    ("var set int global:main 1", "wrong-type"),
])
def test_globals_that_are_refused(program, command, code):
    assert program.refusal(command)[0] == code


FORKS = """
import os
while True:
    child = os.fork()
    if not child:
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        os._exit(1)
    os.write(1, b".")
"""


def test_a_program_that_forks_all_the_time_goes_on(tmp_path):
    """fork() waits for the locks that a command takes: all of them in the same order, or both would wait for ever."""
    source = tmp_path / "patch.c"
    source.write_text("int parent(void) { return 4711; }\n")
    library = lib.shared_object(str(source))
    with agentlib.preloaded("/usr/bin/python3", "-c", FORKS) as host:
        host.data(f"lib load patch {library}")
        for _ in range(ROUNDS):
            host.data("func upgrade patch getppid parent")
            host.data("func rollback getppid")
        seen = host.out.stat().st_size
        lib.wait_for(lambda: host.out.stat().st_size > seen, "another child")
        assert host.alive()


def test_a_library_that_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo.so")
    with agentlib.preloaded("sleep", "1000") as host:
        for what in (tmp_path / "fifo.so", "/dev/zero", tmp_path):
            assert host.refusal(f"lib load x {what}") == "file"
