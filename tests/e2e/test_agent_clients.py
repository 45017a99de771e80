"""The two clients of the agent, in C and in Python: one grammar, one set of exit codes, and what people type at them."""
import json
import os
import shutil
import signal
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import agentlib
import lib
from terminal import Terminal

sys.path.insert(0, str(lib.TOP / "python"))

import hotpatch  # noqa: E402

CLIENTS = pytest.mark.parametrize("client", ["c", "python"])
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
NOBODY = 65534


@pytest.fixture(name="server", scope="module")
def a_server():
    with agentlib.simple_server() as host:
        host.data(f"lib load patch {agentlib.build() / 'examples' / 'hotpatch' / 'libadd_func_patch1.so'}")
        yield host


@pytest.fixture(name="victim", scope="module")
def a_victim():
    with agentlib.Victim(lib.compiled("e2e_globals.c")) as victim:
        yield victim


# ---- one grammar

def test_both_clients_have_the_same_help_to_the_letter():
    texts = [agentlib.hotpatch(client, "--help").stdout for client in ("c", "python")]
    assert texts[0] == texts[1] and "watch var [TYPE] NAME" in texts[0]
    assert agentlib.hotpatch("c", "--version").stdout == agentlib.hotpatch("python", "--version").stdout


@pytest.mark.parametrize("line", [
    "", "--nonsense", "-p", "-p 0 var list", "-p -1 var list", "-p 99999999999 var list", "-p 1x var list", "-p 1 -p 2 var list",
    "--json=yes ps", "--timeout", "--timeout soon ps", "--timeout -1 ps", "--timeout nan ps", "-n 0 -p 1 top", "-n 1 ps", "--once ps",
    "ps extra", "ps --once", "var list", "top", "-p 2147483000 var list", "-p 2147483000 top", "-p 2147483000 watch var age",
    "-p $PID", "-p $PID nonsense", "-p $PID var", "-p $PID var get", "-p $PID var get int", "-p $PID var get int age more",
    "-p $PID watch", "-p $PID watch flag x", "-p $PID watch var", "-p $PID watch var nobody", "-p $PID watch var string age",
    "-p $PID names", "-p $PID names nonsense", "-p $PID top extra", "-p $PID gflags set rounds", "-p $PID gflags set rounds many",
    "-p $PID var set int age twenty", "-p $PID var set int age 1 ';' var set int nobody 1", "-p $PID lib load x /nowhere",
    "-p $PID attach", "-p $PID detach --nonsense", "-p $PID top --nonsense", "-p $PID var get int age --json", "ps --json=1",
    "-p $PID nonsense 1>&-", "-p $PID var list 1>&-", "-p $PID nonsense 0<&-", "-p $PID ';'", "-p $PID ''",
    "--timeout 0x10 ps", "--timeout 86401 ps", "--timeout 1e9999 ps", "--timeout inf ps", "-n 1e9 -p 1 top", "--timeout 1. -p 2147483000 top",
    "-p $PID begin", "-p $PID var set int age 1 ';' begin", "-p $PID begin ';' commit ';' begin ';' var list", "begin",
    "-p $PID 'var list'", "-p $PID var list ';' 'var list'", "-p $PID ' '", "-p $PID 'watch var age'", "-p 2147483000 'var list'",
    "-p $PID var list ';' attach", "-p $PID attach ';' var list", "-p $PID ';' top ';' ps", "ps ';' ps", "-p $PID 'var list' ';' ps",
    "-p $PID wach var age", "-p $PID help attach", "-p $PID attch", "-p $PID psx ';' begin", "-p $PID wach --json", "-p $PID help nothing --once",
    "-p $PID detach --json=1", "-p $PID --json var set int age twenty", "--json -p $PID attach", "--json -p 2147483000 top",
    "-p $PID var set global:age 1 ';' nonsense", "-p $PID nonsense ';' var set global:age 1", "-p $PID var get int age ';' var get global:age",
    "--timeout 0 -p $PID var list", "-p $THREAD var list", "-p $THREAD attach", "-p $THREAD top",
])
def test_both_clients_refuse_alike(server, line):
    thread = next(tid for tid in lib.threads(server.pid) if tid != server.pid)
    runs = [agentlib.shell(server, f"PATH=$PATH:{agentlib.client_path('c')}; THREAD={thread}; hotpatch {line}", client) for client in ("c", "python")]
    assert (runs[0].returncode, runs[0].stderr) == (runs[1].returncode, runs[1].stderr)
    assert runs[0].returncode in (1, 2, 3)
    if "json" in line and runs[0].stdout:
        assert json.loads(runs[0].stdout) == json.loads(runs[1].stdout) and not json.loads(runs[0].stdout)["ok"] and not runs[0].stderr
    else:
        assert runs[0].stderr.startswith("hotpatch: ") and not runs[0].stdout and not runs[1].stdout


@CLIENTS
@pytest.mark.parametrize("line, out", [
    ("-p$PID var get int age", "10\n"),
    ("--pid=$PID var get int age", "10\n"),
    ("--pid $PID -- var get int age", "10\n"),
    ("-p $PID var set int age -1 ';' var set int age 10", ""),
    ("-p $PID var get int age ';'", "10\n"),
    ("-p $PID ';' var get int age ';' ';' var get int age", "10\n10\n"),
    ("-p $PID names variables --json", None),
    ("names variables -p $PID", "age\nuser_name\n"),
])
def test_options_may_be_written_as_people_write_them(server, client, line, out):
    run = agentlib.shell(server, f"hotpatch {line}", client)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == out if out is not None else json.loads(run.stdout)["data"] == ["age", "user_name"]


@CLIENTS
def test_an_option_behind_a_command_of_the_agent_is_told_where_it_stands(server, client):
    run = agentlib.shell(server, "hotpatch -p $PID var get int age --json", client)
    assert run.returncode == lib.USAGE and f"hotpatch --json -p {server.pid} var ..." in run.stderr


@CLIENTS
def test_without_standard_streams_nothing_is_said_to_the_wrong_one(server, client):
    run = agentlib.shell(server, "hotpatch -p $PID nonsense 2>&-", client)
    assert (run.returncode, run.stdout) == (lib.USAGE, "")
    run = agentlib.shell(server, "hotpatch -p $PID var list 1>&-", client)
    assert run.returncode == 1 and "cannot write to standard output" in run.stderr


@CLIENTS
def test_a_process_without_an_agent_is_told_with_what_would_help(client):
    with lib.Victim(lib.compiled("e2e_globals.c")) as victim:
        run = agentlib.hotpatch(client, "-p", victim.pid, "var", "list")
        assert run.returncode == lib.LOST
        assert "LD_PRELOAD=libpreload_hotpatch.so" in run.stderr and f"hotpatch -p {victim.pid} attach" in run.stderr


@CLIENTS
@needs_root
def test_somebody_else_is_told_that_it_is_not_allowed(server, client):
    run = agentlib.hotpatch(client, "-p", server.pid, "var", "list", user=NOBODY, group=NOBODY, extra_groups=[])
    assert run.returncode == lib.REFUSED and f"not allowed to talk to process {server.pid}" in run.stderr
    run = agentlib.hotpatch(client, "ps", user=NOBODY, group=NOBODY, extra_groups=[])
    assert run.returncode == 0 and str(server.pid) not in run.stdout.split()


@CLIENTS
def test_what_cannot_be_written_is_told(server, client):
    run = agentlib.shell(server, "hotpatch -p $PID var list > /dev/full", client)
    assert run.returncode == 1 and "cannot write to standard output" in run.stderr
    run = agentlib.shell(server, "hotpatch -p $PID watch var age | head -1", client)
    assert (run.stdout, run.stderr) == ("10\n", "")


@CLIENTS
def test_a_process_that_does_not_answer_is_not_waited_for_longer_than_was_said(client):
    with agentlib.simple_server() as host:
        agentlib.stop(host.process)
        run = agentlib.hotpatch(client, "--timeout", "0.2", "-p", host.pid, "var", "list")
        assert run.returncode == 1 and "has not answered within 0.2 s" in run.stderr and "may happen yet" in run.stderr


# ---- watch

class Watch:
    """hotpatch watch ..., read line by line."""

    def __init__(self, client, pid, *words, options=()):
        self.process = subprocess.Popen(["hotpatch", *options, "-n", "0.001", "-p", str(pid), "watch", "var", *words],
                                        env=agentlib.client_environment(client), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def line(self):
        return self.process.stdout.readline().rstrip("\n")

    def ended(self):
        out, err = self.process.communicate(timeout=lib.PATIENCE)
        return self.process.returncode, out, err


@CLIENTS
def test_watch_follows_a_global_that_nobody_registered_by_its_path(client):
    with agentlib.Victim(lib.compiled("e2e_globals.c")) as victim, Watch(client, victim.pid, "global:server.clients->next->high") as watch:
        assert watch.line() == "2"
        for value in ("3", "31", "2"):
            agentlib.hotpatch("c", "-p", victim.pid, "var", "set", "global:second.high", value)
            assert watch.line() == value
        victim.process.kill()
        status, out, err = watch.ended()
        assert (status, out) == (lib.LOST, "") and f"process {victim.pid} ended" in err


@CLIENTS
def test_watch_shows_a_structure_on_one_line(victim, client):
    with Watch(client, victim.pid, "global:first") as watch:
        line = watch.line()
        assert line.startswith("{id: 1, name: 0x") and line.endswith(", low: 3, high: 4}")


@CLIENTS
def test_watch_takes_a_type_too(victim, client):
    with Watch(client, victim.pid, "int", "global:fixed") as watch:
        assert watch.line() == "7"


@CLIENTS
def test_watch_makes_json_one_object_a_line(victim, client):
    with Watch(client, victim.pid, "global:server.colour", options=["--json"]) as watch:
        assert json.loads(watch.line()) == {"name": "global:server.colour", "type": "enum colour", "value": "GREEN"}
    with agentlib.simple_server() as host, Watch(client, host.pid, "age", options=["--json"]) as watch:
        assert json.loads(watch.line()) == {"name": "age", "type": "int", "value": "10"}


@CLIENTS
@pytest.mark.parametrize("path, says", [("global:nothing", "no variable nothing"), ("global:server.x", "has no member x")])
def test_watch_of_what_is_not_there_is_a_sentence(victim, client, path, says):
    run = agentlib.hotpatch(client, "-p", victim.pid, "watch", "var", path)
    assert run.returncode == 1 and says in run.stderr and not run.stdout


@CLIENTS
@pytest.mark.parametrize("name", ["age", "user_name"])
def test_control_c_ends_watch_without_a_word(client, name):
    with agentlib.simple_server() as host, Watch(client, host.pid, name) as watch:
        assert watch.line() in ("10", "myname")
        watch.process.send_signal(signal.SIGINT)
        assert watch.ended() == (-signal.SIGINT, "", "")
        assert host.alive()


@CLIENTS
def test_a_value_of_several_lines_is_one_line_of_watch(client):
    with agentlib.simple_server() as host, Watch(client, host.pid, "user_name") as watch:
        assert watch.line() == "myname"
        host.data(r'''var set string user_name "a\nb"''')
        assert watch.line() == r"a\nb"


# ---- completion, in shells that people have

def bash(client, cwd):
    completion = agentlib.build() / "src" / "tool" / "hotpatch.bash"
    environment = {**agentlib.client_environment(client), "PS1": "ready> "}
    terminal = Terminal("bash", "--norc", "--noprofile", "-i", columns=200, cwd=cwd, env=environment)
    terminal.shows("ready>")
    terminal.press(f"bind 'set completion-query-items 0' 'set page-completions off' 'set show-all-if-ambiguous on'; . {completion}; clear\n")
    return terminal


def zsh(client, cwd):
    functions = lib.scratch_directory()
    shutil.copy(agentlib.build() / "src" / "tool" / "_hotpatch", functions / "_hotpatch")
    environment = {**agentlib.client_environment(client), "PS1": "ready> ", "ZDOTDIR": str(functions)}
    terminal = Terminal("zsh", "-f", "-i", columns=200, cwd=cwd, env=environment)
    terminal.shows("ready>")
    terminal.press(f"fpath=({functions} $fpath); autoload -U compinit; compinit -u -D; unsetopt listambiguous; LISTMAX=1000; clear\n")
    return terminal


SHELLS = {"bash": bash, "zsh": zsh}
SHELL = pytest.mark.parametrize("shell", [pytest.param(name, marks=pytest.mark.skipif(not shutil.which(name), reason=f"{name} is not installed"))
                                          for name in SHELLS])


def completed(host, shell, client, typed, *wanted, cwd=None):
    """Tab is pressed behind the line; what is wanted is seen."""
    with SHELLS[shell](client, cwd) as terminal:
        terminal.until(lambda: terminal.lines()[0] == "ready>" and not any(terminal.lines()[1:]), "a clear screen")
        terminal.press(typed.replace("$PID", str(host.pid)) + "\t")
        for text in wanted:
            terminal.shows(text.replace("$PID", str(host.pid)))
        return "\n".join(terminal.lines())


@SHELL
@CLIENTS
@pytest.mark.parametrize("typed, wanted", [
    ("hotpatch gf", ["gflags"]),
    ("hotpatch -p $PID gflags ", ["list", "get", "set"]),
    ("hotpatch -p $PID gflags set minlog", ["set minloglevel"]),
    ("hotpatch -p $PID var list ';' gflags set minlog", ["set minloglevel"]),
    ("hotpatch -p $PID var set int age 5 \\; lib l", ["list", "load"]),
    ("hotpatch -p $PID gflags set --unsafe gree", ["--unsafe greeting"]),
    ("hotpatch -p $PID var get int a", ["int age"]),
    ("hotpatch -p $PID watch var user", ["var user_name"]),
    ("hotpatch -p $PID func rollback add", ["rollback add_func"]),
    ("hotpatch -p $PID func upgrade patch add", ["patch add_func"]),
    ("hotpatch -p $PID lib unload pa", ["unload patch"]),
    ("hotpatch -p $PID names fu", ["names functions"]),
    ("hotpatch -p $PID to", ["$PID top"]),
    ("hotpatch --ti", ["--timeout"]),
])
def test_completion_knows_commands_and_live_names(server, shell, client, typed, wanted):
    completed(server, shell, client, typed, *wanted)


@SHELL
def test_completion_offers_processes_with_an_agent(server, shell):
    completed(server, shell, "c", "hotpatch -p ", "$PID")


@SHELL
def test_completion_offers_files_to_load(server, shell):
    directory = lib.scratch_directory()
    (directory / "libonly_one.so").touch()
    completed(server, shell, "c", f"hotpatch -p $PID lib load x {directory}/libonly", "libonly_one.so")


HOSTILE = r"""
#include "hotpatch.h"
#include "e2e_serve.h"
static int value;
static void answer(char *request) { say("%d", value); }
int main(void)
{
	hotpatch_register_variable("evil$(touch${IFS}pwned)`touch${IFS}pwned`", HOTPATCH_INT, &value);
	if (hotpatch_start() < 0)
		return 1;
	serve(answer);
}
"""


@SHELL
def test_a_name_of_another_process_is_no_command(shell):
    agent = agentlib.preload().parent
    program = lib.compiled(str(lib.source_file(HOSTILE, "hostile.c")), flags=(
        f"-I{lib.TOP / 'include'}", f"-L{agent}", "-Wl,--no-as-needed", "-l:libhotpatch.so.0", f"-Wl,-rpath,{agent}"))
    here = lib.scratch_directory()
    with lib.Victim(program) as victim:
        completed(victim, shell, "c", "hotpatch -p $PID var get int ev", r"evil\$\(touch", cwd=here)
        assert not list(here.iterdir())
        for stale in agentlib.sockets(victim.pid):
            stale.unlink()


# ---- the library in Python

@pytest.fixture(name="process")
def a_process(server, monkeypatch):
    monkeypatch.setenv("PATH", agentlib.client_environment("c")["PATH"])
    with hotpatch.connect(server.pid) as connected:
        yield connected


def test_results_are_of_types_of_python(process):
    assert process.variables()["age"] == hotpatch.Variable("age", "int", 10, process.variables()["age"].pointer)
    assert process.get_variable("user_name") == "myname"
    assert process.get_flag("rounds") == 0 and process.get_flag("logtostderr") is True
    assert process.flags()["period"].type == "int32"
    assert process.libraries()["patch"].in_use == 0
    assert process.functions()["add_func"].level == 0


@pytest.mark.parametrize("act, error, code", [
    (lambda p: p.get_variable("nobody"), hotpatch.AgentError, "no-variable"),
    (lambda p: p.set_variable("age", "twenty"), hotpatch.AgentError, "bad-value"),
    (lambda p: p.get_flag("nobody"), hotpatch.AgentError, "no-flag"),
    (lambda p: p.run("nonsense"), hotpatch.WrongUse, "usage"),
    (lambda p: p.upgrade("nobody", "add_func"), hotpatch.AgentError, "no-library"),
    (lambda p: hotpatch.connect(2147483000), hotpatch.NoAgent, "target-lost"),
    (lambda p: hotpatch.connect(os.getpid()), hotpatch.NoAgent, "no-agent"),
])
def test_failures_are_exceptions_of_their_own(process, act, error, code):
    with pytest.raises(error) as raised:
        act(process)
    assert type(raised.value) is error and raised.value.code == code


def test_a_transaction_that_fails_changes_nothing(process):
    with pytest.raises(hotpatch.AgentError), process.transaction():
        process.set_variable("age", 99, kind="int")
        process.run("var", "set", "int", "nobody", "1")
    assert process.get_variable("age") == 10


def test_globals_without_a_type_are_what_debug_information_says(victim, monkeypatch):
    monkeypatch.setenv("PATH", agentlib.client_environment("c")["PATH"])
    with hotpatch.connect(victim.pid) as process:
        assert process.get_variable("global:server.port") == 80
        assert process.get_variable("global:server.ratio") == 0.5
        assert process.get_variable("global:server.colour") == "GREEN"
        process.set_variable("global:server.clients->id", 5)
        assert process.get_variable("global:first.id") == 5
        process.set_variable("global:first.id", 1)
        values = process.watch("global:server.port", delay=0.001)
        assert next(values) == 80
        process.set_variable("global:server.port", 81)
        assert next(values) == 81
        values.close()
        process.set_variable("global:server.port", 80)
        with pytest.raises(hotpatch.AgentError) as refused:
            process.get_variable("global:nothing")
        assert refused.value.code == "no-variable"


def test_without_the_command_in_c_that_is_told_and_a_type_still_does(victim, monkeypatch):
    monkeypatch.setenv("PATH", str(lib.scratch_directory()))
    with hotpatch.connect(victim.pid) as process:
        with pytest.raises(hotpatch.NoTool):
            process.get_variable("global:fixed")
        assert process.get_variable("global:fixed", "int") == 7
    run = subprocess.run([sys.executable, "-m", "hotpatch", "-p", str(victim.pid), "var", "get", "global:fixed"], capture_output=True,
                         text=True, cwd=lib.TOP / "python", check=False)
    assert run.returncode == 1 and "not in PATH" in run.stderr


def test_watch_ends_with_the_process(monkeypatch):
    with agentlib.simple_server() as host, hotpatch.connect(host.pid) as process:
        values = process.watch("age", delay=0.001)
        assert next(values) == 10
        host.data("var set int age 12")
        assert next(values) == 12
        host.process.kill()
        with pytest.raises(hotpatch.ConnectionLost):
            next(values)


def test_processes_are_those_that_answer(server):
    assert server.pid in hotpatch.processes() and os.getpid() not in hotpatch.processes()


def test_attach_and_detach_from_python(monkeypatch):
    monkeypatch.setenv("PATH", agentlib.client_environment("c")["PATH"])
    with lib.Victim(lib.compiled("e2e_globals.c")) as victim:
        hotpatch.attach(victim.pid)
        with hotpatch.connect(victim.pid) as process:
            assert process.get_variable("global:server.port") == 80
        hotpatch.detach(victim.pid)
        with pytest.raises(hotpatch.NoAgent):
            hotpatch.connect(victim.pid)


def test_pip_installs_it_without_a_network(server, tmp_path):
    """As README has it; pip is Debian's, which the environment sees."""
    source = tmp_path / "python"
    shutil.copytree(lib.TOP / "python", source, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    venv.EnvBuilder(system_site_packages=True, with_pip=False).create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    offline = {**os.environ, "PIP_NO_INDEX": "1", "PIP_INDEX_URL": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"}
    run = subprocess.run([python, "-m", "pip", "install", "./python"], cwd=tmp_path, env=offline, capture_output=True,
                         text=True, check=False, timeout=5 * lib.PATIENCE)
    assert run.returncode == 0, run.stderr
    installed = subprocess.run([tmp_path / "venv" / "bin" / "hotpatch", "-p", str(server.pid), "var", "get", "int", "age"],
                               capture_output=True, text=True, check=False)
    assert (installed.returncode, installed.stdout) == (0, "10\n"), installed.stderr
    where = subprocess.run([python, "-c", "import hotpatch; print(hotpatch.__file__)"], capture_output=True, text=True, cwd="/", check=True)
    assert Path(where.stdout.strip()).is_relative_to(tmp_path / "venv")
