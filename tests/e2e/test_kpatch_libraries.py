"""Patches of shared libraries, alone and together with the program: one transaction."""
import subprocess

import pytest

import kpatchlib
import lib
from lib import Victim

PIC = ("-O2", "-fPIC", "-ffunction-sections")


@pytest.fixture(scope="module", params=["cc", "clang"])
def built(request):
    """The library and a program that is linked with it."""
    if request.param == "clang" and subprocess.run(["sh", "-c", "command -v clang"], capture_output=True).returncode:
        pytest.skip("clang is not installed")
    directory = lib.scratch_directory()
    library, program = directory / "libkpatch.so", directory / "e2e_kpatch_user"
    noipa = [] if request.param == "cc" else ["-Dnoipa=noinline"]
    subprocess.run([request.param, "-O2", "-g", "-shared", "-fPIC", "-fsemantic-interposition", "-Wl,--build-id", *noipa,
                    lib.SOURCES / "e2e_kpatch_lib.c", "-o", library], check=True)
    subprocess.run([request.param, "-O2", "-g", "-D_GNU_SOURCE", "-Wl,--build-id", f"-I{lib.SOURCES}",
                    lib.SOURCES / "e2e_kpatch_user.c", library, f"-Wl,-rpath,{directory}", "-o", program], check=True)
    return program, library


def apply(victim, *files, **kwargs):
    return lib.livepatch("apply", "-p", victim.pid, *files, **kwargs)


def state(victim):
    return [int(victim.ask(f"state {i}")) for i in range(5)]


def test_a_library_is_patched_and_its_insides_are_reached(built):
    program, library = built
    fix = kpatchlib.make("""
extern __thread int lib_tls, lib_tls_static;
extern int lib_data, lib_static;
int lib_helper(int n), lib_ifunc(int n);
int lib_answer(int n)
{
	lib_tls += 10;
	lib_tls_static += 100;
	lib_static += 1000;
	return lib_helper(n) + lib_ifunc(n);
}
""", library, *PIC)
    with Victim(program) as v:
        assert v.ask("ask 1") == "8 -3"
        before = state(v)
        apply(v, fix)
        assert v.ask("ask 1") == "8 -3"  # 1 + 4 + 3
        assert v.ask("ask 2") == "12 -2"
        assert [b - a for a, b in zip(before, state(v))] == [20, 200, 2000, 0, 0]
        lib.revert(v.pid, "--all")
        assert v.ask("ask 1") == "8 -3" and [b - a for a, b in zip(before, state(v))] == [21, 201, 2001, 0, 0]


TLS = """
extern __thread int lib_tls __attribute__((visibility("hidden"))), lib_tls_static __attribute__((visibility("hidden")));
int lib_answer(int n) { return lib_tls += n, lib_tls_static += n; }
"""


@pytest.mark.parametrize("model", ["global-dynamic", "local-dynamic"])
def test_thread_local_variables_of_a_library_are_reached_in_both_dynamic_models(built, model):
    program, library = built
    fix = kpatchlib.make(TLS, library, *PIC, f"-ftls-model={model}")
    with Victim(program) as v:
        before = state(v)
        apply(v, fix)
        assert v.ask("ask 5").split()[0] == str(before[1] + 5)
        assert state(v)[:2] == [before[0] + 5, before[1] + 5]


def test_a_static_model_that_nothing_in_the_process_uses_is_refused(built):
    program, library = built
    with Victim(program) as v:
        error = apply(v, kpatchlib.make(TLS, library, *PIC, "-ftls-model=initial-exec"), "--json", expect=lib.REFUSED).error
        assert error["code"] == "reloc" and "thread pointer" in error["message"]


@pytest.fixture
def fixes(built):
    program, library = built
    return (kpatchlib.make("extern int lib_data; int own(int n) { return n * 100 + lib_data; }", program, *PIC, id="both"),
            kpatchlib.make("int lib_answer(int n) { return n * 1000; }", library, *PIC, id="both"))


def test_program_and_library_are_patched_in_one_transaction(built, fixes):
    with Victim(built[0]) as v:
        said = apply(v, *fixes).out
        assert "patch 1 applied: 2 writes" in said
        assert v.ask("ask 3") == "3000 304"
        found, = lib.listed(v.pid)["patches"]
        assert found["name"] == "both" and {o["object"] for o in found["objects"]} == {"e2e_kpatch_user", "libkpatch.so"}
        lib.revert(v.pid, "both")
        assert v.ask("ask 3") == "10 -1"


def test_when_one_of_two_does_not_fit_neither_is_applied(built, fixes):
    data = fixes[1].read_bytes()
    fixes[1].write_bytes(data.replace(kpatchlib.Elf(built[1]).build_id.encode(), b"0" * 40))
    with Victim(built[0]) as v:
        error = apply(v, *fixes, "--json", expect=lib.REFUSED).error
        assert error["code"] in ("not-loaded", "bad-kpatch")
        assert v.ask("ask 3") == "10 -1" and lib.listed(v.pid)["patches"] == []


def test_two_patches_of_one_object_are_not_one(built, fixes):
    with Victim(built[0]) as v:
        other = kpatchlib.make("int lib_answer(int n) { return 0; }", built[1], *PIC, id="other")
        assert apply(v, fixes[1], other, "--json", expect=lib.REFUSED).error["code"] == "overlap"


SHADOW = """
#include <livepatch-patch.h>
int lib_answer(int n)
{
	int *count = (int *)livepatch_shadow_get_or_attach((void *)(uintptr_t)(16 * n + 16), %d, sizeof *count);
	return %d + (*count += 1);
}
"""


def test_shadow_variables_outlive_a_patch_and_are_shared_by_later_ones(built):
    program, library = built
    share = {"exports": ["livepatch_shadow_table"]}
    with Victim(program) as v:
        apply(v, kpatchlib.make(SHADOW % (1, 1000), library, *PIC, id="1", **share))
        assert [v.ask(f"ask {n}").split()[0] for n in (5, 5, 6)] == ["1001", "1002", "1001"]
        apply(v, kpatchlib.make(SHADOW % (1, 2000), library, *PIC, id="2", **share))
        assert [v.ask(f"ask {n}").split()[0] for n in (5, 6)] == ["2003", "2002"]
        apply(v, kpatchlib.make(SHADOW % (2, 3000), library, *PIC, id="3", **share))
        assert v.ask("ask 5").split()[0] == "3001"
        lib.revert(v.pid, 3)
        assert v.ask("ask 5").split()[0] == "2004"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_program_uses_what_its_library_gets_in_the_same_transaction(built, order):
    program, library = built
    fixes = (kpatchlib.make("int fresh(int n); int own(int n) { return fresh(n) + 1; }", program, *PIC, id="x"),
             kpatchlib.make("int fresh(int n) { return n * 7; } int lib_answer(int n) { return fresh(n); }", library, *PIC,
                            id="x", exports=["fresh"]))
    with Victim(program) as v:
        assert apply(v, fixes[0], "--json", expect=lib.REFUSED).error["code"] == "no-symbol"
        apply(v, *(fixes[i] for i in order))
        assert v.ask("ask 3") == "21 22"
        lib.revert(v.pid, 1)
        assert v.ask("ask 3") == "10 -1"
