"""hotpatch top: on a terminal as people see it, and as a table and JSON for everybody else."""
import json
import os
import signal
import subprocess

import pytest

import agentlib
import lib
from terminal import Terminal

CLIENTS = pytest.mark.parametrize("client", ["c", "python"])


@pytest.fixture(name="server", scope="module")
def a_server():
    with agentlib.simple_server() as host:
        yield host


def top(host, client, *words, env=None, delay="0.05", **how):
    tool = agentlib.client_path(client) / "hotpatch"
    return Terminal(tool, "-p", host.pid, "-n", delay, "top", *words, env=env, **how)


ON_REQUEST = "3600"  # it looks when space is pressed: what is seen of one look stays until then


def is_put_back(terminal):
    """The modes of the line, and the cursor is seen again."""
    return terminal.modes() == terminal.modes_before and terminal.raw.rfind(b"\x1b[?25l") < terminal.raw.rfind(b"\x1b[?25h")


# ---- on a terminal

@CLIENTS
def test_values_are_seen_as_they_change_and_what_has_changed_stands_out(client):
    with agentlib.simple_server() as host, top(host, client, delay=ON_REQUEST) as terminal:
        terminal.shows("variable  age ")
        terminal.shows("function  add_func")
        terminal.shows(f"process {host.pid} (simple_server)")
        assert terminal.cell("variable  age").fg == "default" and not terminal.cell("variable  age").bold
        host.data("var set int age 4711")
        terminal.press(" ")
        terminal.until(lambda: any("4711" in line for line in terminal.lines()) and terminal.cell("4711").bold, "4711 in bold")
        assert terminal.cell("4711").fg == "brown"  # what pyte calls the dark yellow
        terminal.press(" ")
        terminal.until(lambda: not terminal.cell("4711").bold, "the next look finds nothing new")
        host.data(f"lib load patch {agentlib.build() / 'examples' / 'hotpatch' / 'libadd_func_patch1.so'}")
        host.data("func upgrade patch add_func")
        terminal.press(" ")
        terminal.shows("patch:add_func, level 1")
        host.data("func rollback add_func; lib unload patch")
        terminal.press(" ")
        terminal.shows("original")
        terminal.press("q")
        assert terminal.ended() == 0 and is_put_back(terminal)


@CLIENTS
def test_without_colours_bold_alone_tells_what_has_changed(client):
    with agentlib.simple_server() as host, top(host, client, env={"NO_COLOR": "1"}, delay=ON_REQUEST) as terminal:
        terminal.shows("variable  age ")
        host.data("var set int age 4711")
        terminal.press(" ")
        terminal.until(lambda: any("4711" in line for line in terminal.lines()) and terminal.cell("4711").bold, "4711 in bold")
        assert terminal.cell("4711").fg == "default"
        assert not any(b"\x1b[%d" % colour in terminal.raw for colour in range(30, 38))


@CLIENTS
def test_keys_choose_sort_and_search(server, client):
    with top(server, client) as terminal:
        terminal.shows("flag      ")
        terminal.press("f")
        terminal.shows("variables alone")
        terminal.shows_no("add_func")
        terminal.press("f")
        terminal.shows("functions alone")
        terminal.shows("function  add_func")
        terminal.press("f")
        terminal.shows("flags alone")
        terminal.press("f")
        terminal.shows("function  add_func")
        terminal.press("/AGE")
        terminal.shows("with: AGE")
        terminal.shows_no("add_func")
        terminal.shows("variable  age ")
        terminal.press("\n")
        terminal.press("\x1b")
        terminal.shows_no(", with AGE")
        terminal.press("s")
        terminal.shows("by name")
        terminal.until(lambda: terminal.lines()[3].startswith("function  add_func"), "functions among the flags")
        terminal.press("s")
        terminal.shows("by last change")
        terminal.press("q")
        assert terminal.ended() == 0


@CLIENTS
def test_what_does_not_fit_is_scrolled(server, client):
    with top(server, client, lines=10) as terminal:
        terminal.shows("1 to 6 of ")
        terminal.until(lambda: terminal.lines()[9].startswith("q quit"), "the last line, which is drawn last")
        first = terminal.lines()[3]
        terminal.press("j")
        terminal.shows("2 to 7 of ")
        terminal.until(lambda: terminal.lines()[3] != first, "another first row")
        terminal.press("\x1b[6~")
        terminal.shows("8 to 13 of ")
        terminal.press("G")
        terminal.shows_no("1 to ")
        terminal.shows("flag      vmodule")
        terminal.press("g")
        terminal.shows(first)


@CLIENTS
def test_a_window_may_change_its_size_even_to_one_cell(server, client):
    with top(server, client) as terminal:
        terminal.shows("variable  age ")
        terminal.resize(40, 120)
        terminal.until(lambda: terminal.lines()[39].startswith("q quit"), "keys on the new last line")
        terminal.resize(1, 1)
        terminal.until(lambda: terminal.lines() in (["h"], ["q"]), "one cell")
        terminal.resize(24, 80)
        terminal.until(lambda: terminal.lines()[23].startswith("q quit") and terminal.lines()[0].startswith("hotpatch top"), "all again")
        terminal.press("q")
        assert terminal.ended() == 0 and is_put_back(terminal)


@CLIENTS
def test_control_c_is_a_way_out(server, client):
    with top(server, client) as terminal:
        terminal.shows("variable  age ")
        terminal.press("\x03")
        assert terminal.ended() == 0 and is_put_back(terminal)


@CLIENTS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_who_ends_it_by_a_signal_sees_that_and_the_terminal_is_as_it_was(server, client, number):
    with top(server, client) as terminal:
        terminal.shows("variable  age ")
        terminal.process.send_signal(number)
        assert terminal.ended() == -number and is_put_back(terminal)


@CLIENTS
def test_the_end_of_the_process_is_told_after_the_terminal_is_put_back(client):
    with agentlib.simple_server() as host, top(host, client) as terminal:
        terminal.shows("variable  age ")
        host.process.kill()
        assert terminal.ended() == lib.LOST and is_put_back(terminal)
        assert f"process {host.pid} ended, or its agent did".encode() in terminal.raw


@CLIENTS
def test_a_process_that_does_not_answer_keeps_nobody_from_leaving(client):
    with agentlib.simple_server() as host, top(host, client) as terminal:
        terminal.shows("variable  age ")
        host.process.send_signal(signal.SIGSTOP)
        terminal.shows("it does not answer")
        host.process.send_signal(signal.SIGCONT)
        terminal.shows_no("it does not answer")
        host.process.send_signal(signal.SIGSTOP)
        terminal.shows("it does not answer")
        terminal.press("q")
        assert terminal.ended() == 0 and is_put_back(terminal)


@CLIENTS
def test_it_can_be_stopped_and_come_back(server, client):
    """In a shell with job control, as ^Z is used."""
    directory = agentlib.client_path(client)
    with Terminal("bash", "--norc", "--noprofile", "-i", env={"PATH": f"{directory}:{os.environ['PATH']}", "PS1": "ready> "}) as terminal:
        terminal.shows("ready>")
        terminal.press(f"hotpatch -p {server.pid} -n 0.05 top\n")
        terminal.shows("variable  age ")
        terminal.press("\x1a")
        terminal.shows("Stopped")
        terminal.screen.reset()  # what is seen from here on has been drawn again
        terminal.press("clear; fg\n")
        terminal.shows("variable  age ")
        terminal.shows("q quit")
        seen = len(terminal.raw)
        terminal.press("q")
        terminal.until(lambda: b"ready> " in terminal.raw[seen:], "the prompt: what is typed before is top's to read")
        terminal.press("echo ended with $?\n")
        terminal.shows("ended with 0")


@CLIENTS
def test_an_unknown_terminal_is_told(server, client):
    with top(server, client, env={"TERM": "no-such-terminal"}) as terminal:
        assert terminal.ended() == lib.USAGE
        assert b"no-such-terminal" in terminal.raw and b"top --once" in terminal.raw


# ---- elsewhere

def run(host, client, *words, status=0):
    done = subprocess.run([agentlib.client_path(client) / "hotpatch", "-p", str(host.pid), *words], capture_output=True, text=True,
                          timeout=lib.PATIENCE, check=False)
    assert done.returncode == status, done
    return done.stdout


@CLIENTS
def test_without_a_terminal_it_is_one_plain_table(server, client):
    server.data("var set int age 10")
    table = run(server, client, "top")
    assert run(server, client, "top", "--once") == table and "\x1b" not in table
    heading, *rows = [line.split() for line in table.splitlines()]
    assert heading == ["KIND", "NAME", "TYPE", "VALUE"]
    assert ["variable", "age", "int", "10"] in rows and ["flag", "rounds", "int32", "0"] in rows
    assert [row for row in rows if row[0] == "function" and row[1] == "add_func" and row[-1] == "original"]


def test_both_clients_print_the_same_table(server):
    assert run(server, "c", "top") == run(server, "python", "top")


def test_once_on_a_terminal_is_a_table_too(server):
    with top(server, "c", "--once", lines=60) as terminal:
        assert terminal.ended() == 0
        assert any(line.startswith("variable  age") for line in terminal.lines())


@CLIENTS
def test_snapshots_are_json_one_a_line(client):
    with agentlib.simple_server() as host:
        one = json.loads(run(host, client, "top", "--json", "--once"))
        assert one["ok"] is True and (one["pid"], one["name"]) == (host.pid, "simple_server")
        assert [row["value"] for row in one["variables"] if row["name"] == "age"] == ["10"]
        assert [row["function"] for row in one["functions"]] == ["add_func"]
        assert "minloglevel" in [row["name"] for row in one["flags"]]
        tool = agentlib.client_path(client) / "hotpatch"
        with subprocess.Popen([tool, "-p", str(host.pid), "--json", "-n", "0.01", "top"], stdout=subprocess.PIPE, text=True) as many:
            json.loads(many.stdout.readline())
            host.data("var set int age 11")
            while not any(row["value"] == "11" for row in json.loads(many.stdout.readline())["variables"]):
                pass
            host.process.kill()
            *_, last = many.stdout.read().rpartition('{"ok":' if client == "c" else '{"ok": false')
            assert many.wait(timeout=lib.PATIENCE) == lib.LOST and "target-lost" in last


@CLIENTS
def test_a_program_without_flags_has_a_table_all_the_same(client):
    with agentlib.preloaded(lib.compiled("e2e_globals.c"), stdin=subprocess.PIPE) as host:
        assert run(host, client, "top").split() == ["KIND", "NAME", "TYPE", "VALUE"]


@CLIENTS
def test_a_value_of_another_process_cannot_talk_to_the_terminal(client):
    with agentlib.simple_server() as host:
        host.data(r'''var set string user_name "a\x1b]0;title\x07\n\xc2\x9bb"''')
        assert r"a\x1b]0;title\x07\n\xc2\x9bb" in run(host, client, "top")
        with top(host, client) as terminal:
            terminal.shows(r"a\x1b]0;title\x07\n\xc2\x9bb")
            assert b"\x1b]0" not in terminal.raw
