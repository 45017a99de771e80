"""The agent in a program that has no memory left, and whose names are its own."""
import resource
import socket

import pytest

import agentlib
import lib

UNLIMITED = resource.RLIM_INFINITY


@pytest.fixture
def program():
    with agentlib.Victim(lib.compiled("e2e_agent.c")) as running:
        yield running


def first_line(program, command):
    first, *_ = agentlib.ask(program.pid, command)
    return first


def picks(by):
    return lib.shared_object(str(lib.source_file(f"int pick(int n) {{ return n + {by}; }}", "pick.c")), "-O2", name=f"pick{by}.so")


# ---- no memory

COMMANDS = [
    "version",
    "help",
    "stats",
    "var list",
    "var get int global:config_level",
    "var set int global:config_level 4",
    "var get int global:nobody",
    "gflags list",
    "mem files",
    "mem set 0x10 00",
    "lib list",
    "lib load other {library}",
    "func upgrade patch pick",
    "func upgrade patch nobody",
    "func list",
    "func rollback pick",
    "var get int global:config_level; " * 200 + "stats",
    "x" * 60000,
]


def limit(program, what, soft):
    _, hard = resource.prlimit(program.pid, what)
    resource.prlimit(program.pid, what, (soft, hard))


def goes_on(program):
    before = int(program.ask().split()[1])
    lib.wait_for(lambda: int(program.ask().split()[1]) > before, "calls of pick()")


@pytest.mark.parametrize("what", [resource.RLIMIT_AS, resource.RLIMIT_DATA], ids=["address space", "data"])
def test_a_program_without_memory_answers_and_goes_on(program, what):
    """What cannot be had is refused; when there is memory again, everything can be."""
    libraries = [picks(by) for by in (100, 200)]
    assert first_line(program, f"lib load patch {libraries[0]}") == "Success to run"
    limit(program, what, 1)
    answers = set()
    for _ in range(5):
        for command in COMMANDS:
            answers.add(first_line(program, command.format(library=libraries[1])).split(": ")[0])
        goes_on(program)
    assert answers == {"Success to run", "Error"}
    if what == resource.RLIMIT_DATA:  # in the address space that a heap has in advance there is room for files
        assert first_line(program, "var get int global:nobody").startswith("Error: ENOMEM: ")
    limit(program, what, UNLIMITED)
    assert first_line(program, "var get int global:nobody").startswith("Error: no-variable: ")
    for command in (f"lib load other {libraries[1]}", "func upgrade other pick", "func rollback pick 0; lib unload other"):
        assert first_line(program, command) == "Success to run"
    goes_on(program)


@pytest.mark.parametrize("what", [resource.RLIMIT_AS, resource.RLIMIT_DATA], ids=["address space", "data"])
def test_many_clients_of_a_program_without_memory(program, what):
    limit(program, what, 1)
    clients = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    try:
        for client in clients:
            client.settimeout(lib.PATIENCE)
            client.connect(str(agentlib.legacy(program.pid)))
            client.sendall(b"var get int global:nobody " + b"x" * 10000)
        for client in clients:
            client.sendall(b"\n")
            assert client.recv(64).startswith(b"Error: ")
    finally:
        for client in clients:
            client.close()
    limit(program, what, UNLIMITED)
    goes_on(program)


# ---- names

@pytest.mark.parametrize("name", ["lp_stop_end", "lp_alloc", "hotpatch_start", "main_with_agent", "libhotpatch.so.0:lp_stop_end"])
def test_what_the_agent_is_made_of_are_no_names_of_the_program(program, name):
    assert first_line(program, f"lib load patch {picks(100)}") == "Success to run"
    assert first_line(program, f"func upgrade patch {name} pick").startswith("Error: no-function: ")


NAMES = """
#include <unistd.h>
static volatile long follow = 42; /* the agent has functions that are called so */
__attribute__((noinline)) static int find(int n) { return n + (int)follow; }
int main(void)
{
	for (volatile int i = 0;; i = find(i))
		usleep(1000);
}
"""


def test_a_name_that_the_agent_has_too_is_the_programs():
    with agentlib.preloaded(lib.compiled(str(lib.source_file(NAMES, "names.c")))) as host:
        assert host.data("var get long global:follow") == ["42"]
        host.data(f"lib load patch {picks(100)}; func upgrade patch find pick")


def mapped_file(pid, address):
    for line in open(f"/proc/{pid}/maps", encoding="utf-8"):
        start, end = (int(number, 16) for number in line.split()[0].split("-"))
        if start <= address < end:
            return line.split()[-1]
    raise AssertionError(f"{address:#x} is not mapped")


def test_exit_is_the_c_librarys_not_the_preloaded_one(program):
    """libpreload_hotpatch.so stands in for _exit()."""
    assert first_line(program, f"lib load patch {picks(100)}; func upgrade patch _exit pick") == "Success to run"
    (row,) = (row for row in agentlib.ask(program.pid, "func list") if row.startswith("Get function: _exit, "))
    assert "/libc" in mapped_file(program.pid, int(row.split("pointer: ")[1].split(",")[0], 16))
