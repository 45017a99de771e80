"""Applying .kpatch files: what a patch may refer to, what is checked, what list and info say, revert."""
import os
import signal
import subprocess
from pathlib import Path

import pytest

import kpatchlib
import lib
from lib import Victim

ANSWER = """
#include <stdio.h>
#include <stddef.h>
extern int counter, exported_limit;
extern __thread int tls_counter, tls_static;
const char *name_of(int n);
%s
int answer(int n, char *out, size_t size)
{
%s
}
"""


def patch(program, body, before="", **options):
    return kpatchlib.make(ANSWER % (before, body), program, **options)


def apply(victim, *files, **kwargs):
    return lib.livepatch("apply", "-p", victim.pid, *files, **kwargs)


def refused(victim, *files):
    return apply(victim, *files, "--json", expect=lib.REFUSED).error


@pytest.fixture(params=["pie", "non-pie", "static", "static-pie"])
def program(request):
    return lib.compiled("e2e_kpatch.c", link=request.param)


@pytest.fixture
def pie():
    return lib.compiled("e2e_kpatch.c")


HELLO = 'return snprintf(out, size, "new %d", n);'


def test_a_function_is_replaced_and_comes_back(program):
    fix = patch(program, HELLO)
    with Victim(program) as v:
        assert v.ask("answer 1") == "old one"
        said = apply(v, fix).out
        assert "patch 1 applied: 1 write" in said
        assert v.ask("answer 1") == "new 1"
        assert v.ask("other") == "1101"
        lib.revert(v.pid, 1)
        assert v.ask("answer 1") == "old one"


def test_the_insides_of_the_program_are_reached(program):
    body = """
	static int calls;
	static const char *const format = "new %s, %d calls, limit %d";
	counter += 10;
	tls_counter += 100;
	tls_static += 1000;
	return snprintf(out, size, format, name_of(n), ++calls, exported_limit);
"""
    fix = patch(program, body)
    with Victim(program) as v:
        v.ask("answer 0")
        apply(v, fix)
        assert v.ask("answer 2") == "new two, 1 calls, limit 2"
        assert v.ask("answer 3") == "new many, 2 calls, limit 2"
        assert v.ask("state") == "121 208 2071"


def test_new_functions_and_tables_travel_with_the_patch(pie):
    before = """
__attribute__((noinline)) static int twice(int n) { return 2 * n; }
__attribute__((noinline)) static int thrice(int n) { return 3 * n; }
static int (*const table[])(int) = {twice, thrice};
"""
    fix = patch(pie, 'return snprintf(out, size, "%d %d", table[n & 1](n), table[!(n & 1)](n));', before)
    with Victim(pie) as v:
        apply(v, fix)
        assert v.ask("answer 5") == "15 10"


def test_nothing_is_changed_by_a_dry_run(pie):
    with Victim(pie) as v:
        said = apply(v, patch(pie, HELLO), "--dry-run").out
        assert "room patch" in said and "room source" in said and "write code" in said and "answer" in said
        assert v.ask("answer 1") == "old one"
        assert lib.listed(v.pid)["patches"] == []


def test_the_same_id_is_refused_twice(pie):
    fix = patch(pie, HELLO, id="CVE-2024-31449")
    with Victim(pie) as v:
        apply(v, fix)
        error = refused(v, fix)
        assert error["code"] == "already-applied" and "CVE-2024-31449" in error["message"]
        assert v.ask("answer 1") == "new 1"


def test_another_program_is_refused_by_its_build_id(pie):
    with Victim(lib.compiled("e2e_target.c"), 1) as v:
        error = refused(v, patch(pie, HELLO))
        assert error["code"] == "not-loaded" and kpatchlib.Elf(pie).build_id in error["message"]


def test_other_code_than_the_patch_was_made_for_is_refused(pie):
    def spoil(maker):
        maker.old.bytes_at = lambda addr, size, real=maker.old.bytes_at: b"\x90" + real(addr, size)[1:]
    with Victim(pie) as v:
        error = refused(v, patch(pie, HELLO, tweak=spoil))
        assert error["code"] == "not-original" and "answer" in error["message"]
        assert v.ask("answer 1") == "old one"


def test_an_undefined_symbol_is_named(pie):
    with Victim(pie) as v:
        error = refused(v, patch(pie, "return nowhere(n);", "int nowhere(int n);"))
        assert error["code"] == "no-symbol" and "nowhere" in error["message"]


def test_a_patch_that_needs_another_is_refused_without_it(pie):
    first, second = patch(pie, HELLO, id="1"), patch(pie, HELLO, id="2", needs=["1"])
    with Victim(pie) as v:
        error = refused(v, second)
        assert error["code"] == "needs-patch" and " 1," in error["message"]
        apply(v, first)
        apply(v, second)
        assert lib.revert(v.pid, 1, "--json", expect=lib.REFUSED).error["code"] == "depended-on"


def test_patches_of_one_function_stack(pie):
    with Victim(pie) as v:
        for i in range(1, 6):
            apply(v, patch(pie, f'return snprintf(out, size, "new {i} %d", n);', id=f"000{i}"))
            assert v.ask("answer 7") == f"new {i} 7"
        for i in range(5, 1, -1):
            lib.revert(v.pid, i)
            assert v.ask("answer 7") == f"new {i - 1} 7"
        lib.revert(v.pid, 1)
        assert v.ask("answer 1") == "old one"


def test_a_later_patch_uses_symbols_of_an_earlier_one(pie):
    first = patch(pie, "return snprintf(out, size, \"first %d\", shared += n);", "int shared = 5;", id="first",
                  exports=["shared"])
    second = patch(pie, "return snprintf(out, size, \"second %d\", shared += n);", "extern int shared;", id="second")
    with Victim(pie) as v:
        assert refused(v, second)["code"] == "no-symbol"
        apply(v, first)
        assert v.ask("answer 1") == "first 6"
        apply(v, second)
        assert v.ask("answer 1") == "second 7"
        assert lib.revert(v.pid, 1, "--json", expect=lib.REFUSED).error["code"] == "depended-on"
        lib.revert(v.pid, 2)
        assert v.ask("answer 1") == "first 8"


def test_files_in_the_layout_of_libcare_are_read_too(pie):
    with Victim(pie) as v:
        apply(v, patch(pie, HELLO, libcare=True, meta=False, check=False))
        assert v.ask("answer 1") == "new 1"


def test_a_function_shorter_than_a_jump_is_patched(pie):
    fix = kpatchlib.make("int tiny(void) { return 2; }", pie)
    with Victim(pie) as v:
        assert v.ask("tiny") == "1"
        apply(v, fix)
        assert v.ask("tiny") == "2"
        lib.revert(v.pid, 1)
        assert v.ask("tiny") == "1"


def test_a_stripped_program_is_patched(pie):
    program = lib.stripped(pie)
    with Victim(program) as v:
        apply(v, patch(pie, HELLO))
        assert v.ask("answer 1") == "new 1"


def test_a_spoilt_file_is_refused_or_harmless(pie):
    path = patch(pie, HELLO)
    good = path.read_bytes()
    with Victim(pie) as v:
        for at in [*range(0, 700, 41), *range(700, len(good), 397)]:
            path.write_bytes(good[:at] + bytes([good[at] ^ 0xff]) + good[at + 1:])
            result = apply(v, path, "--json", "--dry-run", expect=None)
            assert result.status in (lib.DONE, lib.REFUSED), (at, result)


def test_a_patch_is_reverted_by_its_id_when_that_names_one(pie):
    with Victim(pie) as v:
        apply(v, patch(pie, HELLO, id="0001"))
        error = lib.revert(v.pid, "0002", "--json", expect=lib.REFUSED).error
        assert error["code"] == "no-such-patch" and "0002" in error["message"]
        lib.revert(v.pid, "0001")
        assert v.ask("answer 1") == "old one"


def test_list_tells_id_object_and_build_id_with_no_file_at_hand(pie):
    path = patch(pie, HELLO, id="CVE-2024-31449", level=3)
    with Victim(pie) as v:
        apply(v, path)
        path.unlink()
        found, = lib.listed(v.pid)["patches"]
        assert found["name"] == "CVE-2024-31449"
        assert found["objects"] == [{"id": "CVE-2024-31449", "object": "e2e_kpatch", "build_id": kpatchlib.Elf(pie).build_id,
                                     "tool": "kpatchlib", "level": 3, "functions": 1}]
        said = lib.livepatch("list", "-p", v.pid, "-v").out
        assert f"patch id CVE-2024-31449 for e2e_kpatch, build-id {kpatchlib.Elf(pie).build_id}, 1 function" in said


HOOKS = """
extern int counter;
int before(void) { counter = %d; return %d; }
int after(void) { counter += 7; return 0; }
int before_revert(void) { counter += 1000; return %d; }
int after_revert(void) { counter += 10000; return 0; }
int answer(int n, char *out, unsigned long size) { return 0; }
"""
ALL_HOOKS = [("pre-apply", "before"), ("post-apply", "after"), ("pre-revert", "before_revert"),
             ("post-revert", "after_revert")]


def counter(victim):
    return int(victim.ask("state").split()[0])


def test_hooks_run_in_the_target_in_their_order(pie):
    with Victim(pie) as v:
        v.ask("answer 1")
        apply(v, kpatchlib.make(HOOKS % (500, 0, 0), pie, hooks=ALL_HOOKS))
        assert counter(v) == 507
        lib.revert(v.pid, 1)
        assert counter(v) == 11507


def test_a_hook_that_says_no_refuses_the_apply_and_the_revert(pie):
    with Victim(pie) as v:
        assert v.ask("answer 1") == "old one"
        error = refused(v, kpatchlib.make(HOOKS % (500, 3, 0), pie, hooks=ALL_HOOKS))
        assert error["code"] == "hook-failed" and "pre-apply" in error["message"] and "3" in error["message"]
        assert v.ask("answer 1") == "old one" and lib.listed(v.pid)["patches"] == []
        assert not any("livepatch-room" in line for line in lib.maps(v.pid))
        apply(v, kpatchlib.make(HOOKS % (500, 0, 4), pie, hooks=ALL_HOOKS))
        assert lib.revert(v.pid, "--all", "--json", expect=lib.REFUSED).error["code"] == "hook-failed"
        assert len(lib.active_ids(v.pid)) == 1


EXCEPTIONS = r"""
#include <stdexcept>
#include <stdio.h>
#include <stdlib.h>
#define PATCHED __attribute__((noipa))
extern "C" PATCHED int risky(int n) { if (n > 2) throw std::runtime_error("old"); return n; }
extern "C" PATCHED int guarded(int n, char *out, size_t size)
{
	try {
		return snprintf(out, size, "%d", risky(n));
	} catch (const std::exception &e) {
		return snprintf(out, size, "caught %s", e.what());
	}
}
int main()
{
	setlinebuf(stdout);
	puts("ready");
	for (char line[256], out[512]; fgets(line, sizeof line, stdin);) {
		guarded(atoi(line), out, sizeof out);
		puts(out);
	}
}
"""
THROWS = r"""
#include <stdexcept>
#include <stdio.h>
struct Cleaner { const char *what; ~Cleaner() { fprintf(stderr, "%s\n", what); } };
extern "C" int risky(int n) { Cleaner c{"cleaned"}; if (n > 1) throw std::runtime_error("new"); return n + 100; }
"""
CXX = ("-O2", "-fPIC", "-ffunction-sections")


@pytest.fixture(scope="module")
def throwing():
    directory = lib.scratch_directory()
    (directory / "throwing.cc").write_text(EXCEPTIONS)
    subprocess.run(["c++", "-O2", "-g", "-Wall", directory / "throwing.cc", "-o",
                    directory / "throwing"], check=True)
    return directory / "throwing"


def test_exceptions_are_thrown_through_patched_functions(throwing):
    fix = kpatchlib.make(THROWS, throwing, *CXX, compiler="c++", suffix=".cc", replaces=["risky"])
    with Victim(throwing) as v:
        assert v.ask("3") == "caught old" and v.ask("2") == "2"
        apply(v, fix)
        assert v.ask("2") == "caught new" and v.ask("1") == "101"
        lib.revert(v.pid, "--all")
        assert v.ask("3") == "caught old" and v.ask("2") == "2"


def test_unwind_tables_are_forgotten_before_their_memory_goes(throwing):
    fix = kpatchlib.make(THROWS, throwing, *CXX, compiler="c++", suffix=".cc", replaces=["risky"])
    with Victim(throwing) as v:
        for _ in range(3):
            apply(v, fix)
            assert v.ask("1") == "101"
            lib.revert(v.pid, "--all", "--free")
            assert not any("livepatch-room" in line for line in lib.maps(v.pid))
            assert v.ask("3") == "caught old" and v.ask("2") == "2"


LIBUNWIND = Path("/usr/lib/x86_64-linux-gnu/libunwind.so.1")  # LLVM's; Debian's libunwind8 is another's


@pytest.mark.skipif(not LIBUNWIND.exists(), reason="LLVM's libunwind is not installed")
def test_exceptions_are_thrown_through_patched_functions_by_llvm_s_unwinder_too(throwing):
    fix = kpatchlib.make(THROWS, throwing, *CXX, compiler="c++", suffix=".cc", replaces=["risky"])
    with Victim(throwing, env={**os.environ, "LD_PRELOAD": str(LIBUNWIND)}) as v:
        assert v.ask("3") == "caught old" and v.ask("2") == "2"
        for _ in range(3):
            apply(v, fix)
            assert v.ask("2") == "caught new" and v.ask("1") == "101"
            lib.revert(v.pid, "--all", "--free")  # in vain: what libunwind has forgotten still stands in its table
            assert v.ask("3") == "caught old" and v.ask("2") == "2"


OUTER = """
#include "e2e_serve.h"
int inner(int n);
int take(char *line, const char *name);
PATCHED int outer(void)
{
	char line[64];
	while (read_line(STDIN_FILENO, line, sizeof line)) {
		take(line, "new");
		if (strcmp(line, "again") == 0)
			return 1;
	}
	(void)serve;
	return 0;
}
"""


def test_a_thread_that_stands_in_a_patched_function_is_unwound(pie):
    program = lib.compiled("e2e_kpatch_outer.c")
    fix = kpatchlib.make(OUTER, program, "-O2", "-fPIE", "-Wno-unused-function", f"-I{lib.SOURCES}", replaces=["outer"], id="1")
    inner = kpatchlib.make("int inner(int n) { return n + 2; }", program, id="2")
    hook = kpatchlib.make("int hook(void) { return 0; } int inner(int n) { return n + 3; }", program, id="3",
                          hooks=[("pre-apply", "hook")])
    with Victim(program) as v:
        assert v.ask("inner 1") == "2"
        apply(v, fix, "--allow-active")
        assert v.ask("again") == "old" and v.ask("who") == "new"
        # Words that a call of inner() has left on the stack are told from return addresses; a thread in the patch is borrowed.
        assert v.ask("inner 1") == "2"
        apply(v, inner, "--timeout", 1)
        assert v.ask("inner 1") == "3"
        apply(v, hook, "--timeout", 1)
        assert v.ask("inner 1") == "4"


SLOW_HOOK = """
#include <fcntl.h>
extern int counter;
int slow(void) { while (open("%s", O_RDONLY) < 0); counter = 4242; return 0; }
int answer(int n, char *out, unsigned long size) { return 0; }
"""


class SlowHook:
    """A patch whose hook waits for leave()."""

    def __init__(self, program):
        self.gate = lib.scratch_directory() / "gate"
        os.mkfifo(self.gate)
        self.patch = kpatchlib.make(SLOW_HOOK % self.gate, program, hooks=[("pre-apply", "slow")])

    def leave(self):
        os.close(os.open(self.gate, os.O_WRONLY))


@pytest.fixture
def slow_hook(pie):
    return SlowHook(pie)


def rooms(victim):
    return [line for line in lib.maps(victim.pid) if "livepatch-room" in line]


def test_a_hook_that_does_not_come_back_in_time_keeps_its_memory(pie, slow_hook):
    with Victim(pie) as v:
        error = apply(v, slow_hook.patch, "--json", "--timeout", "0.2", expect=lib.REFUSED).error
        assert error["code"] == "timeout" and "hook" in error["message"]
        assert rooms(v) and lib.active_ids(v.pid) == []
        slow_hook.leave()
        assert counter(v) == 4242  # it is answered once the hook is over
        assert v.ask("answer 1") == "old one"
        lib.revert(v.pid, "--all", "--free")
        assert not rooms(v)


def children(pid):
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def in_open(victim):
    """The number of the system call that the thread is in (x86-64)."""
    return Path(f"/proc/{victim.pid}/syscall").read_text().split()[0] in ("2", "257")


def test_a_livepatch_that_is_killed_while_a_hook_runs_takes_nothing_from_it(pie, slow_hook):
    with Victim(pie) as v:
        with lib.livepatch_running("apply", "-p", v.pid, slow_hook.patch) as tool:
            lib.wait_for(lambda: rooms(v), "the patch to be in memory")
            lib.wait_for(lambda: in_open(v), "the hook to wait")
            for pid in [*children(tool.pid), tool.pid]:
                os.kill(pid, signal.SIGKILL)
        lib.livepatch("recover", "-p", v.pid, "--timeout", "0.2", expect=lib.REFUSED)
        assert rooms(v)  # the hook is running in it
        slow_hook.leave()
        assert counter(v) == 4242 and v.ask("answer 1") == "old one"
        lib.livepatch("recover", "-p", v.pid)
        lib.revert(v.pid, "--all", "--free", expect=None)
        assert not rooms(v)


FAR = """
#include <stdio.h>
#include <unistd.h>
#include <string.h>
int answer(int n, char *out, size_t size)
{
	%s
}
"""


def test_a_library_s_variable_of_which_there_is_no_copy_is_loaded_from_afar(pie):
    body = "return snprintf(out, size, \"%d %d %d\", fileno(stderr), optind, environ[0] != NULL);"
    with Victim(pie) as v:
        apply(v, kpatchlib.make(FAR % body, pie))
        assert v.ask("answer 1") == "2 1 1"
        lib.revert(v.pid, "--all")
        assert v.ask("answer 1") == "old one"


def test_other_uses_of_such_a_variable_are_refused_with_the_remedy(pie):
    source = FAR % "optind += n; return snprintf(out, size, \"x\");"
    with Victim(pie) as v:
        error = refused(v, kpatchlib.make(source, pie))
        assert error["code"] == "range" and "optind" in error["message"] and "-mno-direct-extern-access" in error["message"]
        apply(v, kpatchlib.make(source, pie, "-O2", "-fPIE", "-ffunction-sections", "-mno-direct-extern-access"))
        assert v.ask("answer 1") == "x"


USES_HEADER = """
#include <livepatch-patch.h>
static int hook(void) { return 0; }
LIVEPATCH_PRE_APPLY(hook);
LIVEPATCH_POST_APPLY(hook);
int *field(void *object);
int *field(void *object) { return (int *)livepatch_shadow_get_or_attach(object, LIVEPATCH_SHADOW_ID('a', 'b', 'c', 'd', 1), 4); }
"""


@pytest.mark.parametrize("compiler, suffix, flags", [("cc", ".c", ["-std=c99"]), ("cc", ".c", ["-std=gnu17"]),
                                                     ("c++", ".cc", ["-std=c++11"]), ("c++", ".cc", ["-std=c++20"])])
def test_the_header_for_authors_is_clean_and_makes_hook_records(compiler, suffix, flags):
    object = kpatchlib.compile_object(USES_HEADER, "-O2", "-fPIC", "-Wextra", "-Werror", *flags, compiler=compiler,
                                      suffix=suffix)
    section = next(s for s in kpatchlib.Elf(object).sections if s.name == ".livepatch.hooks")
    assert sorted(section.data[i] for i in range(0, len(section.data), 16)) == [1, 2] and len(section.data) == 32
