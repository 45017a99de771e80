"""Forks, and processes that we cannot or may not patch."""
import os
import pwd
import shutil
import signal
import subprocess
from contextlib import contextmanager

import pytest

import lib
from lib import NEW, OLD, Victim, behaviour
from test_threads import constant_script

NOBODY = pwd.getpwnam("nobody")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become someone else")


def test_a_forked_child_carries_the_patch_and_a_ledger_of_its_own():
    with Victim(lib.compiled("e2e_fork.c")) as victim:
        lib.apply(victim.pid, constant_script())
        child = int(victim.ask("fork"))
        assert victim.ask("child call") == "patched J"
        assert lib.active_ids(child) == lib.active_ids(victim.pid)
        lib.revert(child)
        assert victim.ask("child call") == "original J" and victim.ask("call") == "patched J"
        assert lib.active_ids(child) == [] != lib.active_ids(victim.pid)
        lib.apply(child, constant_script())
        lib.revert(victim.pid)
        assert victim.ask("child call") == "patched J" and victim.ask("call") == "original J"


def test_forking_all_the_time_does_not_disturb_patching():
    source = lib.source_file("""
        #include <pthread.h>
        #include <sys/wait.h>
        #include "e2e_serve.h"
        const char *func_J(int n);
        static _Atomic unsigned long children, wrong;
        PATCHED const char *func_J(int n) { return n < 0 ? "negative" : "original J"; }
        static void *breed(void *arg)
        {
            for (;;) {
                int status;
                pid_t pid = fork();
                if (pid == 0)
                    _exit(strstr(func_J(1), " J") ? 0 : 1);
                if (waitpid(pid, &status, 0) != pid || status)
                    wrong++;
                children++;
            }
            return NULL;
        }
        static void answer(char *request) { say("%lu %s %lu", wrong, func_J(1), children); }
        int main(void)
        {
            pthread_t t;
            if (pthread_create(&t, NULL, breed, NULL))
                return 1;
            serve(answer);
            return 0;
        }
        """, "forker.c")
    with Victim(lib.compiled(str(source))) as victim:
        for _ in range(50):
            lib.apply(victim.pid, constant_script())
            assert victim.ask().startswith("0 patched J")
            lib.revert(victim.pid, "--all", "--free")
            assert victim.ask().startswith("0 original J")


@contextmanager
def unchanged(victim):
    """Not one byte of the victim may change."""
    victim.rest()
    before = lib.memory_hash(victim.pid)
    yield
    assert lib.memory_hash(victim.pid) == before


def test_a_target_under_another_tracer_is_refused_naming_the_tracer():
    with Victim(lib.compiled("e2e_target.c")) as victim:
        strace = subprocess.Popen(["strace", "-q", "-o", "/dev/null", "-p", str(victim.pid)])
        try:
            lib.wait_for(lambda: lib.traced(victim.pid), "strace to attach")
            with unchanged(victim):
                error = lib.refusal(victim.pid, lib.example_script())
            assert error["code"] == "traced" and "strace" in error["message"] and str(strace.pid) in error["message"]
        finally:
            strace.send_signal(signal.SIGINT)
            strace.wait()
        lib.apply(victim.pid, lib.example_script())
        assert behaviour(victim) == NEW


def test_a_target_of_which_one_thread_is_traced_is_refused():
    with Victim(lib.compiled("e2e_target.c"), 3) as victim:
        other = next(t for t in lib.threads(victim.pid) if t != victim.pid)
        tracer = subprocess.Popen(["python3", "-c", f"""
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
print(libc.ptrace(0x4206, {other}, 0, 0), flush=True)  # PTRACE_SEIZE
sys.stdin.read()
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert tracer.stdout.readline() == b"0\n"
        assert lib.refusal(victim.pid, lib.example_script())["code"] == "traced"
        tracer.communicate()
        lib.apply(victim.pid, lib.example_script())
        assert behaviour(victim) == NEW and not lib.traced(victim.pid)


@pytest.fixture
def public_tool():
    """A copy of the tool where an ordinary user can reach it, whatever the rights of the source tree."""
    directory = lib.scratch_directory()
    return shutil.copy(lib.tool_path(), directory)


AS_NOBODY = ("setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups", "--inh-caps=-all")


def run_as_nobody(tool, pid, script):
    run = subprocess.run([*AS_NOBODY, tool, "apply", "-p", str(pid), "--json"], input=script,
                         capture_output=True, text=True)
    return lib.Result(run.returncode, run.stdout, run.stderr)


@root_only
def test_another_users_process_is_refused_for_want_of_permission(public_tool):
    with Victim(lib.compiled("e2e_target.c")) as victim:
        with unchanged(victim):
            result = run_as_nobody(public_tool, victim.pid, lib.example_script())
        assert result.status == lib.REFUSED and result.error["code"] == "permission", result


@root_only
def test_an_ordinary_user_patches_a_process_of_their_own(public_tool):
    with Victim(lib.compiled("e2e_target.c"), wrap=AS_NOBODY) as victim:
        result = run_as_nobody(public_tool, victim.pid, lib.example_script())
        assert result.status == lib.DONE, result
        assert behaviour(victim) == NEW


@pytest.mark.parametrize("pid,code", [(lib.NO_PROCESS, "target-lost"), (2, "permission")])
def test_no_process_and_a_kernel_thread_are_refused(pid, code):
    if pid == 2 and not os.path.exists("/proc/2"):
        pytest.skip("no kernel threads to be seen in here")
    result = lib.apply(pid, lib.example_script(), "--json", expect=None)
    assert result.status in (lib.REFUSED, lib.LOST) and result.json["ok"] is False


def test_a_zombie_is_refused():
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        lib.wait_for(lambda: lib.status_of(child)["State"][0] == "Z", "the child to end")
        result = lib.apply(child, lib.example_script(), "--json", expect=None)
        assert result.status in (lib.REFUSED, lib.LOST) and result.json["ok"] is False
    finally:
        os.waitpid(child, 0)


@pytest.mark.parametrize("mode", ["strict", "kill"])
def test_a_confined_target_lives_whether_it_is_patched_or_refused(mode):
    """Root can suspend a filter; strict mode is refused, with a sentence of its own and nothing touched."""
    with Victim(lib.compiled("e2e_seccomp.c"), mode) as victim:
        result = lib.apply(victim.pid, constant_script(), "--json", expect=None)
        if mode == "strict":
            assert result.status == lib.REFUSED and result.error["code"] == "seccomp"
            assert not lib.has_ledger(victim.pid)
        if result.status == lib.DONE:
            assert victim.ask("call") == "patched J"
            lib.revert(victim.pid)
        else:
            assert result.error["code"] == "seccomp"
        assert victim.ask("call") == "original J"


@root_only
def test_a_confined_target_is_refused_where_the_filter_cannot_be_suspended(public_tool):
    with Victim(lib.compiled("e2e_seccomp.c"), "kill", wrap=AS_NOBODY) as victim:
        result = run_as_nobody(public_tool, victim.pid, constant_script())
        assert result.status == lib.REFUSED and result.error["code"] == "seccomp", result
        assert victim.ask("call") == "original J"


@root_only
@pytest.mark.parametrize("namespaces", ["--pid --fork", "--pid --fork --mount-proc", "--mount", "--net",
                                        "--pid --fork --mount-proc --net --ipc --uts"])
def test_a_target_in_other_namespaces_is_patched_like_any_other(namespaces):
    with Victim(lib.compiled("e2e_target.c"), 2, wrap=["unshare", *namespaces.split()]) as victim:
        lib.apply(victim.pid, lib.example_script())
        assert behaviour(victim) == NEW
        lib.revert(victim.pid)
        assert behaviour(victim) == OLD


@root_only
def test_a_target_in_a_chroot_is_patched_with_the_files_of_its_own_root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    program = lib.compiled("e2e_target.c")
    needed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for word in needed.split():
        if word.startswith("/"):
            os.makedirs(root / os.path.dirname(word)[1:], exist_ok=True)
            shutil.copy(word, root / word[1:])
    shutil.copy(program, root / "e2e_target")
    with Victim("/e2e_target", wrap=["chroot", root]) as victim:
        lib.apply(victim.pid, lib.example_script())
        assert behaviour(victim) == NEW
