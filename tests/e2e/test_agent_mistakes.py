"""What a new user gets wrong at the clients of the agent, and what somebody else can do about it: each a sentence that helps."""
import contextlib
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

import agentlib
import lib

CLIENTS = pytest.mark.parametrize("client", ["c", "python"])
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
NOBODY = 65534
SOMEBODY = 200000 + os.getpid()  # nobody else's number


@pytest.fixture(name="server", scope="module")
def a_server():
    with agentlib.simple_server() as host:
        yield host


def refused(run, status, *texts):
    """A refusal in people's words, and no traceback."""
    assert run.returncode == status and not run.stdout and run.stderr.startswith("hotpatch: "), run
    assert "Traceback" not in run.stderr, run
    for text in texts:
        assert text in run.stderr, run
    return run.stderr


# ---- others at its sockets

@contextlib.contextmanager
def squatted(pid, how):
    """Somebody has /tmp/PID.socket; he keeps it."""
    path = agentlib.legacy(pid)
    with contextlib.ExitStack() as stack:
        if how == "directory":
            path.mkdir()
            stack.callback(path.rmdir)
        else:
            stack.callback(path.unlink)
        if how == "file":
            path.touch()
        elif how == "loop":
            path.symlink_to(path)
        elif how == "nowhere":
            path.symlink_to("/nowhere/at/all")
        elif how in ("listener", "deaf", "foreign"):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(path))
            listener.listen(0 if how == "deaf" else 10)
        if how == "foreign":
            os.chown(path, NOBODY, NOBODY)
        yield path


SQUATTERS = pytest.mark.parametrize("how, says", [
    ("file", "is no socket"), ("directory", "is no socket"), ("loop", "is no socket"), ("nowhere", "is no socket"),
    ("listener", f"process {os.getpid()} listens at"), ("deaf", f"process {os.getpid()} listens at"),
    pytest.param("foreign", f"belongs to user {NOBODY}", marks=needs_root)],
    ids=["file", "directory", "loop", "nowhere", "listener", "deaf", "foreign"])


@CLIENTS
@SQUATTERS
def test_who_sits_at_the_name_of_a_socket_is_named_and_not_believed(client, how, says):
    with lib.Victim(lib.compiled("e2e_globals.c")) as victim, squatted(victim.pid, how) as path:
        text = refused(agentlib.hotpatch(client, "-p", victim.pid, "version"), lib.LOST, f"process {victim.pid} runs no agent", says)
        assert len(text.splitlines()) == 2 and str(path) in text.splitlines()[1]


@CLIENTS
@SQUATTERS
def test_who_sits_at_the_name_of_a_socket_does_not_keep_the_agent_out(client, how, says):
    with lib.Victim(lib.compiled("e2e_globals.c")) as victim, squatted(victim.pid, how) as path:
        before = path.lstat()
        run = agentlib.hotpatch(client, "-p", victim.pid, "attach")
        assert (run.returncode, run.stderr) == (0, ""), run
        run = agentlib.hotpatch(client, "-p", victim.pid, "var", "get", "int", "global:fixed")
        assert (run.returncode, run.stdout) == (0, "7\n"), run
        assert agentlib.hotpatch(client, "-p", victim.pid, "detach").returncode == 0
        assert os.path.samestat(before, path.lstat())


@CLIENTS
@needs_root
@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_a_directory_that_somebody_else_made_for_a_user_is_nobodys(client, mode):
    place = Path(f"/tmp/hotpatch-{SOMEBODY}")
    place.mkdir()
    try:
        place.chmod(mode)
        with subprocess.Popen(["sleep", "1000"], user=SOMEBODY, group=SOMEBODY, extra_groups=[]) as sleeper:
            (place / f"{sleeper.pid}.sock").symlink_to(place / f"{sleeper.pid}.sock")
            try:
                run = agentlib.hotpatch(client, "-p", sleeper.pid, "version", user=SOMEBODY, group=SOMEBODY, extra_groups=[])
                refused(run, lib.LOST, "runs no agent", str(place))
            finally:
                sleeper.kill()
    finally:
        for left in place.iterdir():
            left.unlink()
        place.rmdir()


@CLIENTS
@needs_root
def test_who_takes_all_names_of_a_user_does_not_keep_the_agent_out(client):
    """It makes a directory with a name that nobody could know, and the next one uses that, too."""
    alone = {"user": SOMEBODY, "group": SOMEBODY, "extra_groups": []}
    place = Path(f"/tmp/hotpatch-{SOMEBODY}")
    place.touch()
    made = set()
    try:
        for _ in range(2):
            with subprocess.Popen(["sleep", "1000"], **alone) as sleeper, squatted(sleeper.pid, "file"):
                try:
                    run = agentlib.hotpatch(client, "-p", sleeper.pid, "attach")  # root brings it in, and its user asks
                    assert (run.returncode, run.stderr) == (0, ""), run
                    for who in ({}, alone):
                        run = agentlib.hotpatch(client, "-p", sleeper.pid, "stats", **who)
                        assert run.returncode == 0 and "legacy socket: none" in run.stdout, run
                        made.add(agentlib.primary(sleeper.pid, SOMEBODY).parent)
                finally:
                    sleeper.kill()
        assert len(made) == 1
        assert not list(made.pop().glob("*.sock"))[1:]  # the second has removed what the first left
    finally:
        place.unlink()
        for directory in Path("/tmp").glob(f"hotpatch-{SOMEBODY}.??????"):
            for left in directory.iterdir():
                left.unlink()
            directory.rmdir()


@CLIENTS
@needs_root
def test_the_process_of_somebody_else_is_refused_with_who_may_ask(client, server):
    for words in (["version"], ["watch", "var", "age"], ["top"]):
        run = agentlib.hotpatch(client, "-p", server.pid, *words, user=NOBODY, group=NOBODY, extra_groups=[])
        refused(run, lib.REFUSED, f"not allowed to talk to process {server.pid}: only its user (uid 0) and root are")


@CLIENTS
def test_who_takes_no_clients_holds_nobody_up_longer_than_was_said(client):
    """A process whose agent's queue is full: only those that come first wait, in the kernel."""
    with agentlib.simple_server() as host, contextlib.ExitStack() as stack:
        lib.stop(host.pid)
        for path in agentlib.sockets(host.pid):
            with contextlib.suppress(BlockingIOError):
                while True:
                    waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                    waiting.setblocking(False)
                    waiting.connect(str(path))
        refused(agentlib.hotpatch(client, "--timeout", "0.2", "-p", host.pid, "version"), lib.REFUSED,
                f"process {host.pid} takes no clients within 0.2 s", "--timeout")
        run = agentlib.hotpatch(client, "--timeout", "1000", "ps")
        assert run.returncode == 0 and str(host.pid) not in run.stdout.split()


# ---- not in time

@CLIENTS
def test_what_was_not_answered_in_time_may_happen_yet_and_that_is_said(client):
    with agentlib.simple_server() as host:
        lib.stop(host.pid)
        run = agentlib.hotpatch(client, "--timeout", "0.1", "-p", host.pid, "var", "set", "int", "age", "77")
        refused(run, lib.REFUSED, f"process {host.pid} has not answered within 0.1 s", "--timeout SEC", "may happen yet")
        run = agentlib.hotpatch(client, "--json", "--timeout", "0", "-p", host.pid, "var", "list")
        error = json.loads(run.stdout)["error"]
        assert (run.returncode, error["code"]) == (lib.REFUSED, "timeout") and "within 0 s" in error["message"]
        host.process.send_signal(signal.SIGCONT)
        lib.wait_for(lambda: host.data("var get int age") == ["77"], "what was asked for to happen")


STARTS_SLOWLY = """
#include <unistd.h>
__attribute__((constructor)) static void begin(void) { for (;;) pause(); }
int hotpatch_start(void) { return 0; }
"""


@CLIENTS
def test_who_does_not_wait_for_the_agent_is_told_how_to_look_for_it(client):
    library = lib.shared_object(str(lib.source_file(STARTS_SLOWLY, "slow.c")), name="slow.so")
    with lib.Victim(lib.compiled("e2e_globals.c")) as victim:
        run = agentlib.hotpatch(client, "--timeout", "0.2", "-p", victim.pid, "attach", library)
        refused(run, lib.REFUSED, "it goes on by itself", f"--timeout SEC waits longer; hotpatch -p {victim.pid} version says whether")


@CLIENTS
def test_that_it_may_happen_yet_is_in_the_help(client):
    assert "(or not in time: it may happen yet)" in agentlib.hotpatch(client, "--help").stdout.splitlines()[-1]


# ---- lines that cannot mean anything

@CLIENTS
@pytest.mark.parametrize("line", ["begin", "begin ; var set int age 5", "var set int age 5 ; begin", "begin ; var set int age 5 ; commit ; begin"])
def test_a_transaction_that_nobody_commits_is_wrong_use(client, server, line):
    run = agentlib.hotpatch(client, "-p", server.pid, *line.split())
    refused(run, lib.USAGE, "begin without commit changes nothing")
    assert server.data("var get int age") == ["10"]


@CLIENTS
@pytest.mark.parametrize("line", ["begin ; var set int age 11 ; var set int age 10 ; commit", "begin ; var set int age 5 ; abort"])
def test_a_transaction_that_ends_on_its_line_is_done(client, server, line):
    run = agentlib.hotpatch(client, "-p", server.pid, *line.split())
    assert (run.returncode, run.stderr) == (0, "")
    assert server.data("var get int age") == ["10"]


@CLIENTS
@pytest.mark.parametrize("line", ["var set int age 11 ; var get int age", "begin ; var set int age 11 ; var get int age ; commit"])
def test_a_line_reads_what_stood_there_before_it(client, server, line):
    """As docs/agent.md says."""
    try:
        run = agentlib.hotpatch(client, "-p", server.pid, *line.split())
        assert (run.returncode, run.stdout) == (0, "10\n"), run
        assert server.data("var get int age") == ["11"]
    finally:
        server.data("var set int age 10")


@CLIENTS
def test_words_that_were_quoted_together_are_said_to_be_one(client, server):
    for words in (["var list"], ["var list", ";", "stats"], ["stats", ";", "var get int age"]):
        refused(agentlib.hotpatch(client, "-p", server.pid, *words), lib.USAGE, '" is one word: do not quote its blanks')


@CLIENTS
@pytest.mark.parametrize("line", ["wach var age", "attch", "psx", "help attach", "help wach", "var list ; tpo"])
def test_a_misspelt_command_is_told_of_those_of_the_client_too(client, server, line):
    refused(agentlib.hotpatch(client, "-p", server.pid, *line.split()), lib.USAGE,
            "\nthe client's own commands are ps, attach, detach, watch, top, names: hotpatch --help")


@CLIENTS
@pytest.mark.parametrize("line", ["var lsit", "gflags", "var get int", "help var x"])
def test_a_command_of_the_agents_is_not_told_of_those_of_the_client(client, server, line):
    assert "client's own" not in refused(agentlib.hotpatch(client, "-p", server.pid, *line.split()), lib.USAGE)


@CLIENTS
@pytest.mark.parametrize("line, word", [("var list ; attach", "attach"), ("attach ; var list", "attach"), ("var list ; watch var age", "watch"),
                                        ("ps ; ps", "ps"), ("begin ; detach ; commit", "detach")])
def test_commands_of_the_client_stand_alone(client, server, line, word):
    refused(agentlib.hotpatch(client, "-p", server.pid, *line.split()), lib.USAGE,
            f"{word} is the client's own command: it stands alone on the line")


@CLIENTS
def test_semicolons_in_front_are_nothing(client, server):
    run = agentlib.hotpatch(client, "-p", server.pid, ";", "names", "variables", ";")
    assert (run.returncode, run.stdout) == (0, "age\nuser_name\n"), run


@CLIENTS
@pytest.mark.parametrize("text, says", [("86401", "86400 seconds"), ("1e400", "86400 seconds"), ("0x10", "no number"), ("1e", "no number"),
                                        ("1.5.2", "no number"), ("inf", "no number"), ("", "no number"), (" 1", "no number"), ("1s", "no number")])
def test_seconds_are_a_number_and_less_than_a_day(client, text, says):
    refused(agentlib.hotpatch(client, "--timeout", text, "ps"), lib.USAGE, f'"{text}" is ', says)
    refused(agentlib.hotpatch(client, "-n", text, "-p", "1", "top"), lib.USAGE, f'"{text}" is ', says)


@CLIENTS
@pytest.mark.parametrize("text", ["86400", "1e1", "1.", "1.5", "1E-1"])
def test_seconds_may_be_written_as_people_write_numbers(client, text):
    assert agentlib.hotpatch(client, "--timeout", text, "ps").returncode == 0


@CLIENTS
def test_who_gives_json_a_value_wants_json(client):
    run = agentlib.hotpatch(client, "--json=1", "ps")
    assert (run.returncode, run.stderr) == (lib.USAGE, "")
    assert json.loads(run.stdout)["error"] == {"code": "usage", "message": "--json takes no value"}


@CLIENTS
@pytest.mark.parametrize("line", ["var set --unsaf int age 5", "gflags set --unsaf rounds 5", "gflags set --rounds 5"])
def test_an_option_that_there_is_not_is_wrong_use(client, server, line):
    refused(agentlib.hotpatch(client, "-p", server.pid, *line.split()), lib.USAGE, "is no option of", "--unsafe")


# ---- numbers that are no process

@CLIENTS
def test_a_thread_is_told_whose_it_is(client):
    with agentlib.simple_server() as host:
        thread = next(tid for tid in lib.threads(host.pid) if tid != host.pid)
        for words in (["version"], ["attach"], ["detach"], ["top"]):
            refused(agentlib.hotpatch(client, "-p", thread, *words), lib.LOST, f"{thread} is a thread of process {host.pid}: name the process")


@CLIENTS
def test_a_process_that_waits_for_its_parent_has_exited(client):
    with subprocess.Popen(["true"]) as child:
        lib.wait_for(lambda: lib.states(child.pid) == ["Z"], "its end")
        for words in (["version"], ["attach"]):
            refused(agentlib.hotpatch(client, "-p", child.pid, *words), lib.LOST, f"process {child.pid} has exited already")


LEADERLESS = """
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void *stay(void *arg) { puts("ready"); fflush(stdout); pause(); return NULL; }
int main(void) { pthread_t t; pthread_create(&t, NULL, stay, NULL); pthread_exit(NULL); }
"""


@CLIENTS
def test_a_process_whose_first_thread_has_ended_is_one(client):
    program = lib.compiled(str(lib.source_file(LEADERLESS, "leaderless.c")), flags=("-pthread",))
    with agentlib.preloaded(program) as host:
        lib.wait_for(lambda: lib.status_of(host.pid)["State"][0] == "Z", "its first thread to end")
        run = agentlib.hotpatch(client, "-p", host.pid, "var", "list")
        assert (run.returncode, run.stderr) == (0, ""), run


# ---- programs that are just starting

LOADER = """
#ifdef __x86_64__
#define NR(x64, a64) x64
static long ask(long nr, long a, long b, long c, long d)
{
	register long r10 asm("r10") = d;
	asm volatile("syscall" : "+a"(nr) : "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return nr;
}
#else
#define NR(x64, a64) a64
static long ask(long nr, long a, long b, long c, long d)
{
	register long x8 asm("x8") = nr, x0 asm("x0") = a, x1 asm("x1") = b, x2 asm("x2") = c, x3 asm("x3") = d;
	asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
}
#endif
void _start(void)
{
	ask(NR(1, 64), 1, (long)"ready\\n", 6, 0);
	for (;;)
		ask(NR(271, 73), 0, 0, 0, 0); /* ppoll() */
}
"""


@CLIENTS
def test_a_program_that_is_just_starting_is_not_called_static(client):
    """Its loader brings nothing in."""
    loader = lib.compiled(str(lib.source_file(LOADER, "loader.c")), link="static", flags=("-nostdlib", "-fno-stack-protector"))
    program = lib.compiled("e2e_globals.c", flags=(f"-Wl,--dynamic-linker={loader}",), name="starting")
    with subprocess.Popen([program], stdout=subprocess.PIPE) as starting:
        try:
            assert starting.stdout.readline() == b"ready\n"
            run = agentlib.hotpatch(client, "--json", "--timeout", "0.2", "-p", starting.pid, "attach")
            error = json.loads(run.stdout)["error"]
            assert (run.returncode, error["code"]) == (lib.REFUSED, "starting") and "only just starting" in error["message"], error
        finally:
            starting.kill()


@CLIENTS
def test_a_program_that_is_just_starting_is_waited_for(client):
    for _ in range(10):
        with subprocess.Popen(["sleep", "1000"]) as sleeper:
            try:
                run = agentlib.hotpatch(client, "--timeout", lib.PATIENCE, "-p", sleeper.pid, "attach")
                assert (run.returncode, run.stderr) == (0, ""), run
                assert agentlib.hotpatch(client, "-p", sleeper.pid, "detach").returncode == 0
            finally:
                sleeper.kill()


# ---- answers

@CLIENTS
@pytest.mark.parametrize("words", [["watch", "var", "nobody"], ["watch", "var", "global:nothing"], ["top"]])
def test_the_error_of_a_command_that_prints_lines_is_one(client, words):
    with lib.Victim(lib.compiled("e2e_globals.c")) as victim:
        run = agentlib.hotpatch(client, "--json", "-p", victim.pid, *words)
        assert len(run.stdout.splitlines()) == 1 and json.loads(run.stdout)["ok"] is False


@CLIENTS
def test_watch_in_json_ends_with_a_line_that_says_why(client):
    with agentlib.simple_server() as host:
        watch = subprocess.Popen(["hotpatch", "--json", "-n", "0.001", "-p", str(host.pid), "watch", "var", "age"], text=True,
                                 env=agentlib.client_environment(client), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert json.loads(watch.stdout.readline())["value"] == "10"
        host.process.kill()
        out, err = watch.communicate(timeout=lib.PATIENCE)
        assert (watch.returncode, err) == (lib.LOST, "")
        assert [json.loads(line)["error"]["code"] for line in out.splitlines()] == ["target-lost"]


@CLIENTS
def test_that_a_command_was_done_is_said_when_its_answer_cannot_be_written(client):
    with agentlib.preloaded("sleep", "1000") as host:
        run = agentlib.shell(host, f"PATH=$PATH:{agentlib.client_path('c')}; hotpatch -p $PID detach > /dev/full", client)
        assert run.returncode == lib.REFUSED and "cannot write to standard output: " in run.stderr
        assert run.stderr.endswith("; the command itself was done\n")
        assert agentlib.sockets(host.pid) == []
    run = agentlib.shell(host, "hotpatch -p 2147483000 version > /dev/full", client)
    assert run.returncode == lib.LOST and "was done" not in run.stderr


@CLIENTS
@pytest.mark.parametrize("line", ["watch var age", "--json watch var age", "top --once", "--json --once top"])
def test_what_is_there_for_its_output_was_not_done_without(client, server, line):
    run = agentlib.shell(server, f"hotpatch -p $PID {line} > /dev/full", client)
    assert run.returncode == lib.REFUSED and run.stderr.startswith("hotpatch: cannot write to standard output: ")
    assert "was done" not in run.stderr


# ---- the agent's own

@pytest.mark.parametrize("command", ["lib load '' /tmp/x.so", 'lib load "" ""', "lib load x ''"])
def test_a_library_has_a_name_and_a_path(server, command):
    assert server.refusal(command) == "usage"
    assert server.data("lib list") == []


def test_a_line_that_is_too_long_has_a_word_for_a_code(server):
    assert server.refusal("var get int " + "a" * 70000) == "too-long"
    run = agentlib.hotpatch("c", "--json", "-p", server.pid, "var", "set", "string", "user_name", "a" * 70000)
    assert (run.returncode, json.loads(run.stdout)["error"]["code"]) == (lib.REFUSED, "too-long")


@pytest.mark.parametrize("place", ["0x1000 zz", "0x1000 000", "0x1000 ''", "0x1000 0000 00", "nonsense 00"])
def test_what_is_no_place_and_what_are_no_bytes_are_wrong_use(server, place):
    assert server.refusal(f"mem set {place}") == "usage"


# ---- variables of which nobody knows, beside other commands

def test_globals_are_set_together_with_other_things():
    with agentlib.Victim(lib.compiled("e2e_globals.c")) as victim:
        run = agentlib.hotpatch("c", "-p", victim.pid, "stats", ";", "var", "set", "global:server.port", "81", ";", "version", ";",
                                "var", "set", "int", "global:second", "7")
        assert run.returncode == 1 and "second has " in run.stderr and ", and int has 4" in run.stderr, run
        assert victim.ask().startswith("port 80 ")
        run = agentlib.hotpatch("c", "-p", victim.pid, "begin", ";", "var", "set", "global:server.port", "81", ";", "version", ";", "commit")
        assert run.returncode == 0 and run.stdout.startswith("hotpatch "), run
        assert victim.ask().startswith("port 81 ")


@pytest.mark.parametrize("line", ["stats ; var get global:fixed", "var get global:fixed ; var list", "var set global:server.port 1 ; var list global:server"])
def test_a_question_about_a_global_stands_alone(line):
    with agentlib.Victim(lib.compiled("e2e_globals.c")) as victim:
        refused(agentlib.hotpatch("c", "-p", victim.pid, *line.split()), lib.USAGE, "global:PATH stands alone on the line")
        assert victim.ask().startswith("port 80 ")


@pytest.mark.parametrize("path, says", [("server.port[0]", '"server.port[0]": int is no pointer'), ("server.port.x", '"server.port.x": int has no members'),
                                        ("server.line[16]", '"server.line[16]": there is no element 16 of 16')])
def test_a_path_that_leads_nowhere_is_named(path, says):
    with agentlib.Victim(lib.compiled("e2e_globals.c")) as victim:
        refused(agentlib.hotpatch("c", "-p", victim.pid, "var", "get", f"global:{path}"), lib.REFUSED, says)
