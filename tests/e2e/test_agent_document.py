"""Every command line of document 003, as it stands there."""
import os
import re

import pytest

import agentlib
import lib

PATCH = "add_func_patch1"
LIBRARY = "./examples/libadd_func_patch1.dylib"

# What is asked; the answer, line by line, as regular expressions; what the program then says.
GFLAGS = [
    ("gflags list", r"(Flag name: \w+, value: .*\n)*Flag name: minloglevel, value: 0\n(Flag name: \w+, value: .*\n)*", None),
    ("gflags get minloglevel", r"Flag name: minloglevel, value: 0\n", None),
    ("gflags set minloglevel 2", r"Set gflags result: minloglevel set to 2\n", None),
    ("gflags get minloglevel", r"Flag name: minloglevel, value: 2\n", None),
]
VARIABLES = [
    ("var list", r"Get variable: age, pointer: 0x[0-9a-f]+, type: int, value: 10\n"
                 r"Get variable: user_name, pointer: 0x[0-9a-f]+, type: string, value: myname\n", "myname 10 3"),
    ("var get string user_name", r"myname\n", None),
    ("var set string user_name new_name", r"", "new_name 10 3"),
    ("var get int age", r"10\n", None),
    ("var set int age 20", r"", "new_name 20 3"),
    ("var get int age", r"20\n", None),
]
LIBRARIES = [
    ("lib list", r"", None),
    (f"lib load {PATCH} {LIBRARY}", rf"Try to load dynamic library: {PATCH}, path: \S*/examples/libadd_func_patch1.dylib\n", None),
    ("lib list", rf"Get library: {PATCH}, pointer: 0x[0-9a-f]+, path: \S+, functions in use: 0\n", None),
    (f"func upgrade {PATCH} add_func",
     rf"Try to upgrade function from dynamic library: {PATCH}, function name: add_func, level: 1\n", "new_name 20 300"),
    ("func rollback add_func", r"Try to rollback function: add_func, level: 0\n", "new_name 20 3"),
    (f"lib unload {PATCH}", rf"Try to unload dynamic library: {PATCH}\n", "new_name 20 3"),
    ("lib list", r"", None),
]


def check(host, lines, client):
    for command, answer, effect in lines:
        if client == "nc":
            answer = "Success to run\n" + answer.replace(r"\S*/examples", r"./examples")
            run = agentlib.shell(host, f'echo "{command}" | nc -U /tmp/$PID.socket')
        else:
            run = agentlib.shell(host, f"hotpatch -p $PID {command}", client)
        assert run.returncode == 0 and not run.stderr, run
        assert re.fullmatch(answer, run.stdout), (command, run.stdout)
        if effect:
            host.says(effect)


@pytest.mark.parametrize("client", ["nc", "python", "c"])
def test_simple_server_takes_every_command_of_the_document(client):
    with agentlib.simple_server() as host:
        check(host, GFLAGS + VARIABLES + LIBRARIES, client)


@pytest.mark.parametrize("client", ["nc", "python", "c"])
def test_prebuilt_server_takes_the_flags_and_libraries_of_the_document(client):
    start = 'LD_PRELOAD="./preload/libpreload_hotpatch.so" ./examples/prebuilt_server'
    with agentlib.Host(["bash", "-c", start], cwd=agentlib.tree(), env={"GLOG_logtostderr": "1"}) as host:
        host.says("be warned", stream="err")
        check(host, GFLAGS, client)
        seen = host.err.stat().st_size
        check(host, [("gflags set period 1", r"Set gflags result: period set to 1\n", None), *LIBRARIES[:3]], client)
        assert host.err.stat().st_size == seen, "it goes on to log what minloglevel leaves out"
        agentlib.shell(host, 'echo "gflags set minloglevel 0" | nc -U /tmp/$PID.socket')
        host.says("for your information", stream="err")
        check(host, [(command, answer, None) for command, answer, _ in LIBRARIES[5:]], client)
        assert host.out.read_bytes() == b"", "the agent writes into the program's output"


def test_registered_and_preloaded_are_one_agent():
    with agentlib.simple_server(env={"LD_PRELOAD": str(agentlib.preload())}) as host:
        check(host, VARIABLES, "nc")


def test_glog_takes_vmodule_and_v_while_it_runs():
    with agentlib.Host(["bash", "-c", 'LD_PRELOAD="./preload/libpreload_hotpatch.so" exec ./examples/prebuilt_server --period=5'],
                       cwd=agentlib.tree(), env={"GLOG_logtostderr": "1"}) as host:
        host.says("be warned", stream="err")
        assert "verbose" not in host.err.read_text()
        host.data("gflags set v 1")
        host.says("verbose", stream="err")
        host.data("gflags set v 0")
        host.data("gflags set --unsafe vmodule prebuilt_server=1")
        host.says("verbose", stream="err")


def test_glog_without_gflags_is_set_through_its_variables():
    program = lib.compiled("e2e_glog.cc", flags=("-Wl,--no-as-needed", "-lstdc++"))
    with lib.Victim(program, env={**os.environ, "LD_PRELOAD": str(agentlib.preload())}) as victim:
        def ask(command):
            return agentlib.ask(victim.pid, command)
        rows = ask("gflags list")[1:]
        assert "Flag name: minloglevel, value: 0" in rows and "Flag name: max_log_size, value: 1800" in rows and len(rows) == 7
        for command in ("minloglevel 2", "v 3", "logtostderr true", "max_log_size 7", "--unsafe vmodule a=1,b*=2", "--unsafe log_dir /tmp"):
            assert ask(f"gflags set {command}")[0] == "Success to run"
        assert ask("gflags get log_dir") == ["Success to run", "Flag name: log_dir, value: /tmp"]
        assert victim.ask() == "2 3 1 7 /tmp a=1;b*=2;"
        for command, code in (("set minloglevel x", "rejected"), ("set logtostderr 7", "rejected"), ("get period", "no-flag"),
                              ("set log_dir /tmp", "unsafe")):
            assert ask(f"gflags {command}")[0].startswith(f"Error: {code}: ")
        assert victim.ask() == "2 3 1 7 /tmp a=1;b*=2;"


def test_a_program_without_flags_says_so():
    with lib.Victim(lib.compiled("e2e_agent.c"), env={**os.environ, "LD_PRELOAD": str(agentlib.preload())}) as victim:
        for command in ("list", "get v", "set v 1"):
            assert agentlib.ask(victim.pid, f"gflags {command}")[0].startswith("Error: no-flag: this program has neither gflags nor glog")
