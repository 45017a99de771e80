"""Names: local, ambiguous, versioned, of one module."""
import pytest

import lib
from lib import Victim


def twin_script(name):
    return f"dl foo {lib.shared_object('e2e_twins_patch.c')}\njmp {name} $foo:new_twin"


@pytest.fixture
def twins():
    with Victim(lib.compiled("e2e_twins.c", "e2e_twins_second.c")) as v:
        yield v


def test_an_ambiguous_name_is_refused_with_the_candidates(twins):
    error = lib.refusal(twins.pid, twin_script("twin"))
    assert error["code"] == "ambiguous"
    assert "e2e_twins.c:twin" in error["message"] and "e2e_twins_second.c:twin" in error["message"]
    assert twins.ask("call") == "first second"


@pytest.mark.parametrize("file,answers", [("e2e_twins.c", "patched second"), ("e2e_twins_second.c", "first patched")])
def test_a_local_function_is_named_with_its_file(twins, file, answers):
    lib.apply(twins.pid, twin_script(f"{file}:twin"))
    assert twins.ask("call") == answers


CALLER = """
#include <string.h>
#include "e2e_serve.h"
static void answer(char *request)
{
	char text[] = "b c";
	if (!strcmp(request, "abs"))
		say("%d", abs(-7 * (int)strlen(request) / 3));
	else if (!strcmp(request, "ppid"))
		say("%d", getppid());
	else if (!strcmp(request, "pid"))
		say("%d", getpid());
	else
		say("%s", strtok(text, " "));
}
int main(void) { serve(answer); return 0; }
"""


@pytest.fixture
def caller():
    with Victim(lib.compiled(str(lib.source_file(CALLER, "caller.c")), flags=("-fno-builtin",))) as v:
        yield v


def fake(name):
    return f"dl foo {lib.shared_object('e2e_fake_patch.c')}\n{name} $foo:fake_getppid"


@pytest.mark.parametrize("name", ["libc.so.6:getppid", "getppid", "getppid@GLIBC_2.2.5",
                                  "libc.so.6:getppid@GLIBC_2.2.5"])
def test_a_function_of_a_library_is_named_by_module_and_version(caller, name):
    before = caller.ask("ppid")
    lib.apply(caller.pid, fake(f"jmp {name}"))
    assert caller.ask("ppid") == "4711"
    lib.revert(caller.pid)
    assert caller.ask("ppid") == before


@pytest.mark.parametrize("name", ["libm.so.6:getppid", "libc.so.6:getppid@GLIBC_9.9", "getppid@NOWHERE",
                                  "libnone.so:getppid"])
def test_a_wrong_module_or_version_is_refused(caller, name):
    assert lib.refusal(caller.pid, fake(f"jmp {name}"))["code"] == "no-symbol"


def test_a_got_hook_changes_what_one_module_calls_and_comes_back(caller):
    before = caller.ask("ppid")
    lib.apply(caller.pid, fake("got getppid"))
    assert caller.ask("ppid") == "4711"
    (patch,) = lib.listed(caller.pid)["patches"]
    assert {w["kind"] for w in patch["writes"]} == {"got"}
    lib.revert(caller.pid)
    assert caller.ask("ppid") == before


def test_a_got_hook_for_a_function_that_nobody_calls_is_refused(caller):
    assert lib.refusal(caller.pid, fake("got getpgid"))["code"] == "no-symbol"


def test_a_jump_from_the_program_to_a_library_goes_through_an_island():
    """They are tens of terabytes apart in a PIE: a direct jump cannot reach."""
    with Victim(lib.compiled("e2e_busy.c")) as victim:
        lib.apply(victim.pid, "jmp busy_outer libc.so.6:getpid")
        assert victim.ask("call") == str(victim.pid)
        lib.revert(victim.pid, "--all", "--free")
        assert victim.ask("call") == "8"


def test_an_unmapped_address_is_no_place_for_a_jump(caller):
    assert lib.refusal(caller.pid, fake("jmp 0x10"))["code"] == "unmapped"


@pytest.mark.parametrize("line, code", [
    ("jmp func_J func_J", "overlap"),
    ("jmp func_J+1 main", "encoding"),
    ("jmp func_J main+1", "encoding"),
])
def test_a_jump_that_could_only_crash_is_refused(line, code):
    with Victim(lib.compiled("e2e_target.c")) as target:
        assert lib.refusal(target.pid, line)["code"] == code
