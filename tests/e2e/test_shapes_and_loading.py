"""Functions of awkward sizes, and objects of awkward kinds."""
import subprocess

import pytest

import lib
from lib import NEW, Victim, behaviour


def shape_script(*names):
    return f"dl foo {lib.shared_object('e2e_shapes_patch.c')}\n" + \
        "".join(f"jmp shape_{name} $foo:answer_42\n" for name in names)


@pytest.fixture(params=["pie", "non-pie"])
def shapes(request):
    with Victim(lib.compiled("e2e_shapes.c", link=request.param)) as v:
        yield v


ALL = ["1", "2", "4", "5", "8", "9", "near", "next", "wall", "one", "wall2", "joins", "gap", "joined", "joins_tight",
       "joined_tight"]


def answers(victim):
    return {name: victim.ask(f"call {name}") for name in ALL}


@pytest.mark.parametrize("name", ["1", "2", "4", "5", "8", "9", "near", "next", "wall", "joined"])
def test_a_function_of_any_size_is_replaced_and_its_neighbours_are_not(shapes, name):
    lib.apply(shapes.pid, shape_script(name))
    assert answers(shapes) == {n: "42" if n == name else "7" for n in ALL}
    lib.revert(shapes.pid)
    assert answers(shapes) == dict.fromkeys(ALL, "7")


def test_neighbours_that_share_their_padding_are_replaced_together(shapes):
    lib.apply(shapes.pid, shape_script("1", "2", "4", "near"))
    assert answers(shapes) == {n: "42" if n in ("1", "2", "4", "near") else "7" for n in ALL}
    lib.revert(shapes.pid)
    assert answers(shapes) == dict.fromkeys(ALL, "7")


def test_a_function_of_one_byte_between_others_is_refused_and_says_why(shapes):
    error = lib.refusal(shapes.pid, shape_script("one"))
    assert error["code"] == "too-short" and "shape_one" in error["message"]
    assert answers(shapes) == dict.fromkeys(ALL, "7")


def test_a_function_that_another_goes_on_in_is_refused_where_a_short_jump_has_no_room(shapes):
    error = lib.refusal(shapes.pid, shape_script("joined_tight"))
    assert error["code"] == "branched-into" and "jumps to" in error["message"]
    assert answers(shapes) == dict.fromkeys(ALL, "7")


def test_an_object_that_needs_the_loader_is_refused_and_told_of_dlopen():
    with Victim(lib.compiled("e2e_target.c")) as victim:
        error = lib.refusal(victim.pid, f"dl foo {lib.shared_object('e2e_dlobj.c', '-lm')}\njmp func_J $foo:func1")
        assert error["code"] == "needs-dlopen" and "--dlopen" in error["message"]


@pytest.mark.parametrize("threads", [1, 6])
def test_dlopen_loads_an_object_with_tls_constructors_and_needed_libraries(threads):
    script = f"dl --dlopen foo {lib.shared_object('e2e_dlobj.c', '-lm')}\njmp func_J $foo:func1"
    with Victim(lib.compiled("e2e_target.c"), threads) as victim:
        lib.apply(victim.pid, script)
        assert behaviour(victim).startswith("patched J")
        assert any("e2e_dlobj.so" in line for line in lib.maps(victim.pid))
        lib.revert(victim.pid)
        assert behaviour(victim).startswith("original J")
        assert victim.ask("eintr") == "0"


def test_dlopen_of_an_object_that_cannot_be_loaded_is_refused_with_the_loaders_reason(tmp_path):
    with Victim(lib.compiled("e2e_target.c")) as victim:
        source = lib.source_file("extern int nowhere_at_all(void);\nint func1(void);\nint func1(void) "
                                 "{ return nowhere_at_all(); }\n", "unloadable.c")
        error = lib.refusal(victim.pid, f"dl --dlopen foo {lib.shared_object(str(source), '-Wl,-z,now')}\n"
                                        "jmp func_J $foo:func1")
        assert "unloadable.so" in error["message"]
        assert behaviour(victim).startswith("original J")


def room_behind_text(program):
    """Bytes of the last page of code that no segment claims."""
    segments = subprocess.run(["readelf", "-lW", program], capture_output=True, text=True, check=True).stdout
    start, size = next((int(f[2], 16), int(f[5], 16)) for f in map(str.split, segments.splitlines())
                       if f and f[0] == "LOAD" and "E" in f[6:-1])
    return -(start + size) % 4096


def static_program_without_room_behind_text():
    fill = 0
    for name in ("first", "second"):
        source = lib.source_file(f'__asm__(".pushsection .text\\n.fill {fill}, 1, 0x90\\n.popsection");', f"fill_{name}.c")
        program = lib.compiled("e2e_target.c", str(source), link="static")
        fill = max(0, room_behind_text(program) // 16 * 16 - 64)  # the sections behind are aligned
    assert room_behind_text(program) < 112  # the stub takes more
    return program


def test_a_static_program_whose_last_page_of_code_is_full_is_patched_through_its_vdso():
    with Victim(static_program_without_room_behind_text()) as victim:
        assert lib.behaviour(victim) == lib.OLD
        lib.apply(victim.pid, lib.example_script())
        assert lib.behaviour(victim) == lib.NEW
        lib.revert(victim.pid)
        assert lib.behaviour(victim) == lib.OLD


def test_dlopen_in_a_static_program_is_refused():
    with Victim(lib.compiled("e2e_target.c", link="static")) as victim:
        lib.refusal(victim.pid, f"dl --dlopen foo {lib.shared_object('e2e_dlobj.c', '-lm')}\njmp func_J $foo:func1")
        assert behaviour(victim).startswith("original J")


@pytest.mark.parametrize("link", ["pie", "non-pie"])
def test_calls_through_ifuncs_reach_what_the_resolver_chose(link):
    with Victim(lib.compiled("e2e_target.c", link=link)) as victim:
        lib.apply(victim.pid, f"dl foo {lib.shared_object('e2e_ifunc_patch.c')}\njmp func_J $foo:func1")
        for _ in range(3):
            assert behaviour(victim).startswith("patched J")


@pytest.mark.parametrize("flags", [("-O0",), ("-O2",), ("-O3",), ("-Os",), ("-O2", "-fcf-protection=full"),
                                   ("-O2", "-ffunction-sections", "-Wl,--gc-sections"), ("-O2", "-Wl,-z,now"),
                                   ("-O2", "-Wl,-z,noseparate-code"), ("-O2", "-fpatchable-function-entry=16,14")],
                         ids=" ".join)
def test_targets_of_every_compilation_are_patched(flags):
    with Victim(lib.compiled("e2e_target.c", flags=flags), 3) as victim:
        lib.apply(victim.pid, lib.example_script())
        assert behaviour(victim) == NEW
        lib.revert(victim.pid)
        assert behaviour(victim) == lib.OLD
