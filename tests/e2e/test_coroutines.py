"""Suspended coroutines: frames on stacks that no thread stands on."""
import subprocess
import sys
from pathlib import Path

import pytest

import lib
from lib import Victim

SWITCHES = ["UCONTEXT", "JMPBUF", "ASM", "ASM_BASE"]


def program(switch, *flags):
    return lib.compiled("e2e_coroutines.c", flags=(f"-DSWITCH_{switch}", *flags), name=f"co_{switch.lower()}")


def script(function="co_outer", new="new_outer", flags=""):
    return f"dl foo {lib.shared_object('e2e_coroutines_patch.c')}\njmp {flags} {function} $foo:{new}"


@pytest.fixture(params=[(s, m) for s in SWITCHES for m in ("heap", "mapped")], ids="-".join)
def victim(request):
    switch, memory = request.param
    with Victim(program(switch), memory) as v:
        yield v


@pytest.mark.parametrize("function", ["co_outer", "co_middle"])
def test_a_function_that_a_coroutine_is_suspended_in_is_refused_with_its_backtrace(victim, function):
    assert victim.ask("enter 3") == "suspended 3"
    error = lib.refusal(victim.pid, script(function), "--timeout", "0")
    assert error["code"] == "busy" and function in error["function"]
    assert "suspended coroutine" in error["message"]
    for frame in ("co_middle", "co_outer", "visit"):
        assert frame in error["message"], error["message"]
    assert victim.ask("call") == "8"


def test_who_knows_that_there_are_no_coroutines_may_leave_the_search_out(victim):
    assert victim.ask("enter 3") == "suspended 3"
    for wrong in ("-1", "1k", "", "99999999999"):
        assert "--search" in lib.apply(victim.pid, script(), "--search", wrong, expect=lib.USAGE).err
    lib.apply(victim.pid, script(), "--timeout", "0", "--search", "1024", expect=lib.REFUSED)
    lib.apply(victim.pid, script(), "--timeout", "0", "--search", "0")
    assert victim.ask("call") == "1000"
    lib.revert(victim.pid, "--all", "--search", "0")
    assert victim.ask("call") == "8"


def test_a_coroutine_that_leaves_within_the_timeout_is_waited_for(victim):
    assert victim.ask("enter 3") == "suspended 3"
    with lib.livepatch_running("apply", "-p", victim.pid, "--timeout", "60", script=script()) as tool:
        lib.wait_for(lambda: lib.has_ledger(victim.pid), "the tool to begin")
        assert victim.ask("leave") == "left"
        _, err = tool.communicate(timeout=lib.PATIENCE)
        assert tool.returncode == lib.DONE, err
    assert victim.ask("call") == "1000"


def test_return_addresses_that_finished_calls_left_on_suspended_stacks_are_no_obstacle(victim):
    assert victim.ask("enter 5") == "suspended 5"
    assert victim.ask("leave") == "left"
    assert victim.ask("again") == "again"
    lib.apply(victim.pid, script(), "--timeout", "0")
    assert victim.ask("call") == "1000"


def test_reverting_waits_for_a_coroutine_inside_the_replacement(victim):
    lib.apply(victim.pid, script(new="new_through"))
    assert victim.ask("call") == "100"
    assert victim.ask("enter 2") == "suspended 2"
    refused = lib.revert(victim.pid, "--all", "--free", "--timeout", "0", expect=lib.REFUSED)
    assert "suspended coroutine" in refused.err and "co_outer" in refused.err, refused.err
    assert victim.ask("call") == "100"
    assert victim.ask("leave") == "left"
    lib.revert(victim.pid, "--all", "--timeout", "60")
    assert victim.ask("call") == "8"


def test_the_stack_that_a_thread_has_left_for_a_coroutine_is_looked_at(victim):
    assert victim.ask("inside") == "inside"
    assert victim.line() == "ready"
    error = lib.refusal(victim.pid, script("co_schedule"), "--timeout", "0")
    assert error["code"] == "busy" and "co_schedule" in error["function"]
    lib.apply(victim.pid, script(), "--timeout", "60")  # and nobody is in that one
    assert victim.ask("call") == "1000"


def test_allow_active_replaces_a_function_that_coroutines_are_suspended_in(victim):
    assert victim.ask("enter 2") == "suspended 2"
    lib.apply(victim.pid, script(flags="--allow-active"), "--timeout", "0")
    assert victim.ask("call") == "1000"
    assert victim.ask("leave") == "left"  # through the old body
    assert victim.ask("sum") == "9"       # numbers 0 and 1, as the old one computes them


@pytest.mark.parametrize("switch", SWITCHES)
def test_frames_that_need_a_frame_pointer_are_found(switch):
    with Victim(program(switch, "-fno-omit-frame-pointer"), "heap") as victim:
        assert victim.ask("enter 3") == "suspended 3"
        error = lib.refusal(victim.pid, script(), "--timeout", "0")
        assert error["code"] == "busy" and "co_outer" in error["message"]
        assert victim.ask("leave") == "left"
        lib.apply(victim.pid, script(), "--timeout", "60")


@pytest.mark.parametrize("switch", ["UCONTEXT", "ASM"])
def test_one_among_a_thousand_coroutines_is_found(switch):
    with Victim(program(switch), "heap") as victim:
        assert victim.ask("enter 1000") == "suspended 1000"
        assert victim.ask("leave") == "left"
        assert victim.ask("again") == "again"
        assert victim.ask("enter 1") == "suspended 1001"
        error = lib.refusal(victim.pid, script(), "--timeout", "0")
        assert error["code"] == "busy" and "visit" in error["message"]


def test_greenlets_whose_stacks_are_copied_away_are_found():
    """Greenlet keeps the frames of a suspended one in the heap, not where they ran."""
    if subprocess.run([sys.executable, "-c", "import greenlet"], capture_output=True).returncode:
        pytest.skip("python3-greenlet is not installed")
    body = lib.source_file("""
import ctypes, sys, greenlet
lib = ctypes.PyDLL(sys.argv[1])
CALLBACK = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_int)
lib.gr_outer.argtypes = [CALLBACK, ctypes.c_int]
def back(n):
    main.switch()
    return n
callback = CALLBACK(back)
main = greenlet.getcurrent()
def run():
    lib.gr_outer(callback, 3)
def deep(n):
    return deep(n - 1) if n else sum(range(10))
g = greenlet.greenlet(run)
print("ready", flush=True)
for line in sys.stdin:
    if line == "enter\\n" or line == "leave\\n":
        g.switch()
    deep(50)
    print("ok", flush=True)
""", "greens.py")
    source = lib.source_file("""
        typedef int callback(int);
        int gr_outer(callback *f, int n);
        int gr_outer(callback *f, int n) { return f(n) * 7 + 1; }
        """, "greens.c")
    new = lib.source_file("int gr_new(void *f, int n);\nint gr_new(void *f, int n) { return n; }\n", "greens_patch.c")
    text = f"dl foo {lib.shared_object(str(new))}\njmp gr_outer $foo:gr_new"
    with Victim(sys.executable, str(body), str(lib.shared_object(str(source), "-O2"))) as v:
        assert v.ask("enter") == "ok"
        error = lib.refusal(v.pid, text, "--timeout", "0")
        assert error["code"] == "busy" and "gr_outer" in error["function"], error
        assert v.ask("leave") == "ok"
        lib.apply(v.pid, text, "--timeout", "60")


@pytest.mark.parametrize("stacks", [(), ("protected",)], ids=["plain", "protected"])
def test_fibers_of_boost_context_are_found(stacks):
    if not Path("/usr/include/boost/context/fiber.hpp").exists():
        pytest.skip("libboost-context-dev is not installed")
    program = lib.scratch_directory() / "boost_fiber"
    subprocess.run(["g++", "-O2", "-g", lib.SOURCES / "e2e_boost_fiber.cc", "-o", program, "-lboost_context"], check=True)
    new = lib.source_file("int bc_new(void *back);\nint bc_new(void *back) { return 1000; }\n", "fiber_patch.c")
    text = f"dl foo {lib.shared_object(str(new))}\njmp %s $foo:bc_new"
    with Victim(program, *stacks) as victim:
        for _ in range(3):
            assert victim.ask("enter") == "8"
        for function in ("bc_outer", "bc_middle"):
            error = lib.refusal(victim.pid, text % function, "--timeout", "0")
            assert error["code"] == "busy" and function in error["function"]
            assert "bc_middle" in error["message"] and "bc_outer" in error["message"], error["message"]
        assert victim.ask("leave") == "8"
        lib.apply(victim.pid, text % "bc_outer", "--timeout", "0")
        assert victim.ask("call") == "1000"


@pytest.mark.parametrize("flags", [(), ("-fno-omit-frame-pointer",)], ids=["", "frame pointers"])
def test_the_stack_of_a_thread_that_has_ended_is_no_obstacle(flags):
    """The C library keeps such stacks for later, with all that was on them."""
    with Victim(lib.compiled("e2e_busy.c", flags=flags)) as victim:
        for _ in range(3):
            assert victim.ask("enter") == "inside"
        for _ in range(3):
            assert victim.ask("leave") == "outside"
        lib.wait_for(lambda: len(lib.threads(victim.pid)) == 1, "the threads to end")
        text = f"dl foo {lib.shared_object('e2e_busy_patch.c')}\njmp busy_outer $foo:new_outer"
        lib.apply(victim.pid, text, "--timeout", "0")
        assert victim.ask("call") == "1000"


def test_memory_that_the_program_has_not_touched_stays_untouched():
    """Reading a page that is not there makes one: the search asks first."""
    source = lib.source_file("""
        #include <sys/mman.h>
        #include "e2e_serve.h"
        const char *func_J(int n);
        PATCHED const char *func_J(int n) { return n < 0 ? "negative" : "original J"; }
        static void answer(char *request) { say("%s", func_J(1)); }
        int main(void)
        {
            char *m = mmap(NULL, 1L << 36, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            for (long i = 0; i < 64; i++)
                m[i << 30] = 1;
            serve(answer);
            return 0;
        }
        """, "sparse.c")
    new = lib.source_file('const char *func1(int n) { return n < 0 ? "negative" : "patched J"; }\n', "constant.c")
    with Victim(lib.compiled(str(source))) as victim:
        before = lib.status_of(victim.pid)
        lib.apply(victim.pid, f"dl foo {lib.shared_object(str(new))}\njmp func_J $foo:func1")
        after = lib.status_of(victim.pid)
        for what in ("VmRSS", "VmPTE"):
            assert int(after[what].split()[0]) - int(before[what].split()[0]) < 1024, (what, before[what], after[what])
        assert victim.ask() == "patched J"
