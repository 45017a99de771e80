"""Constructors of libraries that do what a program may: fork, and ask the agent, in the middle of a command or of dlopen()."""
import errno
from pathlib import Path

import pytest

import agentlib
import lib
from test_agent_functions import version

# Loads what it is told to, in its main thread.
LOADER = """
#include <dlfcn.h>
#include "e2e_serve.h"
int config_level = 3;
static void answer(char *path) { say("%s", dlopen(path, RTLD_NOW) ? "loaded" : dlerror()); }
int main(void) { serve(answer); return 0; }
"""

# Forks when it is told to; the child says whether it can have an agent.
FORKING = """
#include <sys/wait.h>
#include "e2e_serve.h"
int hotpatch_start(void) __attribute__((weak));
int hotpatch_register_variable(const char *name, int type, void *variable) __attribute__((weak));
const char *hotpatch_last_error(void) __attribute__((weak));
__attribute__((constructor)) static void fork_here(void)
{
	static int n;
	char line[16];
	say("in the constructor");
	if (!read_line(0, line, sizeof line))
		_exit(1);
	pid_t child = fork();
	if (!child) {
		int started = hotpatch_start(), registered = hotpatch_register_variable("n", 7, &n);
		say("%d %d %s", started < 0, registered < 0, hotpatch_last_error());
		_exit(0);
	}
	waitpid(child, NULL, 0);
}
"""

REGISTERING = """
#include "e2e_serve.h"
int hotpatch_register_variable(const char *name, int type, void *variable) __attribute__((weak));
const char *hotpatch_last_error(void) __attribute__((weak));
__attribute__((constructor)) static void register_here(void)
{
	static int n;
	char line[16];
	say("in the constructor");
	if (!read_line(0, line, sizeof line))
		_exit(1);
	say("%d %s", hotpatch_register_variable("n", 7, &n), hotpatch_last_error());
}
"""

# Of a library that the agent loads: what a child of its constructor has.
FORKING_IN_A_COMMAND = """
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
const char *hotpatch_socket(void);
int pick(int n) { return n + 100; }
__attribute__((constructor)) static void fork_here(void)
{
	pid_t child = fork();
	if (!child)
		_exit(*hotpatch_socket() ? 1 : 0);
	int status = -1;
	waitpid(child, &status, 0);
	FILE *f = fopen(FILE_NAME, "w");
	fprintf(f, "%d", status);
	fclose(f);
}
"""

LOADING = """
int hotpatch_run(const char *commands, void (*reply)(const char *, void *), void *arg);
int nested;
__attribute__((constructor)) static void load_here(void) { nested = hotpatch_run("lib load " NAME " " LIBRARY, 0, 0); }
"""


def library(text, name, *flags):
    source = lib.source_file(text, name + ".c")
    return lib.shared_object(str(source), "-O2", f"-I{lib.SOURCES}", *flags, name=f"{name}.so")


@pytest.fixture
def loader():
    with agentlib.Victim(lib.compiled(str(lib.source_file(LOADER, "loader.c")), flags=("-rdynamic",))) as victim:
        yield victim


def agent_waits_for_a_lock(pid):
    """Its thread is in futex(), as x86_64 and aarch64 number it."""
    (task,) = [t for t in Path(f"/proc/{pid}/task").iterdir() if (t / "comm").read_text() == "hotpatch\n"]
    return (task / "syscall").read_text().split()[0] in ("202", "98")


def test_a_fork_in_a_constructor_does_not_wait_for_a_command_that_waits_for_the_loader(loader):
    """The loader's lock is held by dlopen(), the agent's by a command; fork() wants that, and the command wants the loader's."""
    assert loader.ask(library(FORKING, "forking").as_posix()) == "in the constructor"
    with agentlib.connection(loader.pid) as client:
        client.sendall(b"var get int global:config_level\n")
        lib.wait_for(lambda: agent_waits_for_a_lock(loader.pid), "the agent to wait for the loader")
        said = loader.ask("fork")
        assert said.startswith("1 1 ") and "no agent" in said
        assert loader.line() == "loaded"
        assert client.makefile().readline() == "Success to run\n"
    assert agentlib.ask(loader.pid, "var get int global:config_level") == ["Success to run", "3"]


def test_a_constructor_is_refused_when_a_command_waits_for_the_loader(loader):
    """Each would wait for the other for ever."""
    assert loader.ask(library(REGISTERING, "registering").as_posix()) == "in the constructor"
    with agentlib.connection(loader.pid) as client:
        client.sendall(b"var get int global:config_level\n")
        lib.wait_for(lambda: agent_waits_for_a_lock(loader.pid), "the agent to wait for the loader")
        code, sentence = loader.ask("register").split(" ", 1)
        assert code == str(-errno.EBUSY) and "in the middle of a command" in sentence
        assert loader.line() == "loaded"
        assert client.makefile().readline() == "Success to run\n"


def test_a_constructor_registers_when_no_command_is_on(loader):
    assert loader.ask(library(REGISTERING, "registering").as_posix()) == "in the constructor"
    assert loader.ask("register").startswith("0 ")
    assert loader.line() == "loaded"
    assert agentlib.ask(loader.pid, "var set int n 7; var get int n")[0] == "Success to run"


def test_a_child_of_a_constructor_has_its_agent_when_no_command_is_on(loader):
    assert loader.ask(library(FORKING, "forking").as_posix()) == "in the constructor"
    assert loader.ask("fork").startswith("0 0")
    assert loader.line() == "loaded"
    assert agentlib.ask(loader.pid, "version")[0] == "Success to run"


def test_a_child_that_a_command_forks_has_no_agent(tmp_path):
    """It is in the middle of the command: the one thread it has is the agent's own."""
    forking = library(FORKING_IN_A_COMMAND, "inside", f'-DFILE_NAME="{tmp_path}/status"')
    with agentlib.Victim(lib.compiled("e2e_agent.c"), env={"HOTPATCH_FORK": "1"}) as victim:
        first, *_ = agentlib.ask(victim.pid, f"lib load p {forking}; func upgrade p pick")
        assert first == "Success to run"
        assert (tmp_path / "status").read_text() == "0"
        assert agentlib.ask(victim.pid, "func rollback pick; lib unload p")[0] == "Success to run"


@pytest.mark.parametrize("name", ["p", "q"])
def test_a_constructor_may_load_another_library_but_not_under_the_same_name(name):
    nested = library(LOADING, f"nested_{name}", f'-DNAME="{name}"', f'-DLIBRARY="{version(1)}"')
    with agentlib.Victim(lib.compiled("e2e_agent.c")) as victim:
        first, *_ = agentlib.ask(victim.pid, f"lib load p {nested}")
        names = [row.split(",")[0].split(": ")[1] for row in agentlib.ask(victim.pid, "lib list")[1:]]
        if name == "p":
            assert first.startswith("Error: exists") and names == ["p"]
            assert str(nested) not in "".join(lib.maps(victim.pid))
        else:
            assert first == "Success to run" and sorted(names) == ["p", "q"]
        for each in names:
            assert agentlib.ask(victim.pid, f"lib unload {each}")[0] == "Success to run"
        assert agentlib.ask(victim.pid, "lib list") == ["Success to run"]


# Counts the files that are opened by whoever is inside of the loader's dl_iterate_phdr(), and so holds its lock.
WATCHING = """
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/syscall.h>
#include "e2e_serve.h"
__attribute__((visibility("hidden"))) int config_level = 3; /* only its file tells of it */
static int opened_inside, opened;
static __thread int inside;
int dl_iterate_phdr(int (*fn)(struct dl_phdr_info *, size_t, void *), void *data)
{
	inside++;
	int rc = ((int (*)(int (*)(struct dl_phdr_info *, size_t, void *), void *))dlsym(RTLD_NEXT, "dl_iterate_phdr"))(fn, data);
	inside--;
	return rc;
}
static int count(int fd)
{
	opened++;
	opened_inside += inside;
	return fd;
}
int open64(const char *path, int flags, ...) { return count(syscall(SYS_openat, AT_FDCWD, path, flags)); }
int __open64_2(const char *path, int flags) { return open64(path, flags); }
int openat64(int directory, const char *path, int flags, ...) { return count(syscall(SYS_openat, directory, path, flags)); }
static void answer(char *request) { say("%d %d", opened > 0, opened_inside); }
int main(void) { serve(answer); return 0; }
"""


def test_files_are_not_read_while_the_loader_is_held():
    """A fork at that moment gives a child in which nobody can ask the loader again."""
    source = lib.scratch_directory() / "watching.c"
    source.write_text(WATCHING)
    with agentlib.Victim(lib.compiled(source, flags=("-rdynamic",))) as victim:
        assert agentlib.ask(victim.pid, "var get int global:config_level") == ["Success to run", "3"]
        assert victim.ask("how many") == "1 0"
