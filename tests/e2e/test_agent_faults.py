"""What ended the first HotPatch's program, or was taken for success, is refused with a sentence, and the program goes on."""
import os
import socket
import subprocess

import pytest

import agentlib
import lib


@pytest.fixture(scope="module")
def server():
    with agentlib.simple_server() as host:
        host.data("lib load patch ./examples/libadd_func_patch1.so")
        yield host


def goes_on(host):
    host.says("myname 10 3")
    assert host.data("var get int age") == ["10"]


REFUSALS = [
    ("var get string nobody", "no-variable"),
    ("var set string nobody x", "no-variable"),
    ("var get int nobody", "no-variable"),
    ("var set int nobody 1", "no-variable"),
    ("var get", "usage"),
    ("var get int", "usage"),
    ("var set int age", "usage"),
    ("gflags", "usage"),
    ("gflags get", "usage"),
    ("gflags set v", "usage"),
    ("", "usage"),
    ("   ", "usage"),
    (";", "usage"),
    ("x", "usage"),
    ("quit", "usage"),
    ("x" * 300, "usage"),
    ("var " * 300, "usage"),
    ("VAR list", "usage"),
    ("var set int age 12abc", "bad-value"),
    ("var set int age", "usage"),
    ("var set int age 2147483648", "bad-value"),
    ("var set int age 99999999999999999999999", "bad-value"),
    ("var set int age ''", "bad-value"),
    ("var set doble age 1", "wrong-type"),
    ("var get void age", "wrong-type"),
    ("var set double age 1.5", "wrong-type"),
    ("var get string age", "wrong-type"),
    ("var get int user_name", "wrong-type"),
    ("gflags get nobody", "no-flag"),
    ("gflags set nobody 1", "no-flag"),
    ("gflags set period -5", "rejected"),
    ("gflags set period soon", "rejected"),
    ("lib load other /nonexistent/lib.so", "file"),
    ("lib load other /etc/passwd", "file"),
    ("lib load patch ./examples/libadd_func_patch1.so", "exists"),
    ("lib load other ./examples/libadd_func_patch1.so", "exists"),
    ("lib unload nobody", "no-library"),
    ("func upgrade nobody add_func", "no-library"),
    ("func upgrade patch nobody", "no-function"),
    ("func upgrade patch main", "no-symbol"),
    ("func upgrade patch add_func nobody", "no-symbol"),
    ("func upgrade patch printf", "no-symbol"),
    ("func rollback nobody", "no-function"),
    ("func rollback add_func", "no-such-patch"),
    ("func status nobody", "no-function"),
    ("commit", "transaction"),
    ("abort", "transaction"),
]


@pytest.mark.parametrize("command, code", REFUSALS, ids=[c[:40].strip() or "blank" for c, _ in REFUSALS])
def test_refused_with_a_sentence(server, command, code):
    assert server.refusal(command) == code
    assert server.data("var get int age") == ["10"]


def test_the_program_goes_on_after_all_of_them(server):
    for command, code in REFUSALS:
        assert server.refusal(command) == code
    goes_on(server)
    assert server.err.read_text().count("hello") > 0


def test_a_second_rollback_is_refused(server):
    server.data("func upgrade patch add_func")
    server.data("func rollback add_func")
    assert server.refusal("func rollback add_func") == "no-such-patch"
    goes_on(server)


def test_a_request_without_end_of_line_is_complete_after_a_silence(server):
    """The Python client of the first HotPatch sends none, and reads 16 bytes once."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(agentlib.legacy(server.pid)))
        s.sendall(b"var get string user_name")
        s.settimeout(lib.PATIENCE)
        assert s.recv(16).startswith(b"Success to run\n")


def test_two_lines_in_one_packet_are_two_commands(server):
    assert server.ask("var get int age\nvar get string user_name") == ["Success to run", "10", "Success to run", "myname"]


def test_a_client_that_is_idle_keeps_nobody_waiting(server):
    with socket.socket(socket.AF_UNIX) as idle:
        idle.connect(str(agentlib.legacy(server.pid)))
        assert server.data("var get int age") == ["10"]


def test_a_client_that_goes_without_reading_hurts_nobody(server):
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(agentlib.legacy(server.pid)))
            s.sendall(b"gflags list\n" * 50)
    goes_on(server)


def test_nc_ends_by_itself(server):
    run = agentlib.shell(server, 'echo "var get int age" | nc -U /tmp/$PID.socket')
    assert (run.returncode, run.stdout) == (0, "Success to run\n10\n")


def test_a_value_cannot_look_like_another_line():
    with agentlib.simple_server() as host:
        host.data(r'''var set string user_name "a\nError: x\tb"''')
        assert len(host.data("var get string user_name")) == 1
        assert host.alive()


def test_a_reload_of_a_library_goes_by_another_file():
    """dlopen would give the old one again without a word."""
    with agentlib.simple_server() as host:
        source = 'int add_func(int a, int b) { return %d; }'
        library = lib.scratch_directory() / "libpatch.so"
        for number in (111, 222):
            text = lib.source_file(source % number, "patch.c")
            subprocess.run(["cc", "-shared", "-fPIC", "-o", library, text], check=True)
            host.data(f"lib load patch {library}")
            host.data("func upgrade patch add_func")
            host.says(f"myname 10 {number}")
            assert host.refusal("lib unload patch") == "in-use"
            host.data("func rollback add_func; lib unload patch")
            host.says("myname 10 3")
            os.unlink(library)


# ---- clients

@pytest.mark.parametrize("client", ["c", "python"])
@pytest.mark.parametrize("arguments, status", [
    ("-p $PID var get int age", 0),
    ("-p $PID var get int nobody", 1),
    ("-p $PID var", 2),
    ("-p $PID", 2),
    ("var list", 2),
    ("-p 0x12 var list", 2),
    ("--nonsense", 2),
    ("-p 2147483000 var list", 3),
    ("-p 1 var list", 3),
    ("--help", 0),
    ("--version", 0),
    ("ps", 0),
])
def test_exit_statuses_of_the_clients(server, client, arguments, status):
    run = agentlib.shell(server, "hotpatch " + arguments, client)
    assert run.returncode == status, run
    assert bool(run.stderr) == (status != 0)


@pytest.mark.parametrize("client", ["c", "python"])
def test_clients_make_json(server, client):
    answer = lib.Result(0, agentlib.shell(server, "hotpatch --json -p $PID var get int age ';' var get string user_name", client).stdout, "")
    assert answer.json == {"ok": True, "data": [{"value": "10"}, {"value": "myname"}]}
    answer.out = agentlib.shell(server, "hotpatch --json -p $PID var get int nobody", client).stdout
    assert answer.json["ok"] is False and answer.json["error"]["code"] == "no-variable"


@pytest.mark.parametrize("client", ["c", "python"])
def test_ps_lists_who_has_an_agent(server, client):
    lines = agentlib.shell(server, "hotpatch ps", client).stdout.splitlines()
    assert [str(server.pid), "simple_server"] in [line.split() for line in lines]
    assert str(os.getpid()) not in [line.split()[0] for line in lines]


def test_watch_prints_changes_until_the_process_ends():
    with agentlib.simple_server() as host:
        tool = agentlib.client_path("c") / "hotpatch"
        with subprocess.Popen([tool, "-n", "0.001", "-p", str(host.pid), "watch", "var", "age"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as watch:
            assert watch.stdout.readline() == "10\n"
            for value in (11, 12, 10):
                host.data(f"var set int age {value}")
                assert watch.stdout.readline() == f"{value}\n"
            host.process.kill()
            assert watch.wait(timeout=lib.PATIENCE) == 3


@pytest.mark.parametrize("kind, some", [("flags", "minloglevel"), ("variables", "age"), ("libraries", "patch"), ("functions", "add_func")])
def test_names_for_completion(server, kind, some):
    assert some in agentlib.shell(server, f"hotpatch -p $PID names {kind}").stdout.split()


@pytest.mark.parametrize("typed, offered", [
    ("hotpatch gf", {"gflags"}),
    ("hotpatch -p $PID gflags ", {"list", "get", "set"}),
    ("hotpatch -p $PID gflags set minlog", {"minloglevel"}),
    ("hotpatch -p $PID var get int a", {"age"}),
    ("hotpatch -p $PID func rollback add", {"add_func"}),
    ("hotpatch -p $PID lib unload ", {"patch"}),
    ("hotpatch --ti", {"--timeout"}),
])
def test_bash_completes_commands_and_live_names(server, typed, offered):
    completion = agentlib.build() / "src" / "tool" / "hotpatch.bash"
    script = f'''. {completion}; COMP_LINE="{typed}"; read -ra COMP_WORDS <<< "$COMP_LINE"
        [[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _hotpatch; printf '%s\\n' "${{COMPREPLY[@]}}"'''
    run = agentlib.shell(server, script)
    assert set(run.stdout.split()) == offered, run
