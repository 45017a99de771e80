"""Callers that keep values in registers across a call, because the compiler saw that the callee leaves them alone."""
import random
import re
import subprocess

import pytest

import lib
from lib import Victim

GENERAL = ["rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"]
VECTORS = [f"xmm{i}" for i in range(16)]


def has_avx():
    return " avx " in open("/proc/cpuinfo").read()


def victim():
    return Victim(lib.compiled("e2e_contract.c", flags=("-mavx",)))


def script(leaf, new, option=""):
    return f"dl p {lib.shared_object('e2e_contract_patch.c', '-O2', '-mavx')}\njmp {option} {leaf} $p:{new}"


def preserved(pid, text):
    """Registers that the plan keeps, and for whom: what --dry-run says."""
    out = lib.apply(pid, text, "--dry-run").out
    return [(set(m[1].split()), m[2]) for m in re.finditer(r"^  preserves (.*) for (.*)$", out, re.M)]


def test_the_example_is_patched_though_gcc_keeps_values_in_the_callers_registers(tmp_path):
    lib.compiled(str(lib.TOP / "examples" / "target.c"))
    source = lib.TOP / "examples"
    subprocess.run(["gcc", "-O2", source / "target.c", "-o", tmp_path / "target"], check=True)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "patch.so", source / "patch.c"], check=True)
    process = subprocess.Popen([tmp_path / "target"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "func_J(1) = 2, original message\n"
        lib.livepatch(process.pid, "./target", cwd=tmp_path, script="""dl foo patch.so
  jmp func_J $foo:func1
  set str_P addr $foo:patch_message""")
        n, seen = 1, ""
        while "patched" not in seen:
            n, seen = n + 1, process.stdout.readline()
            assert seen in (f"func_J({n}) = {n * 2}, original message\n", f"func_J({n}) = {n * 1000}, patched message\n",
                            f"func_J({n}) = {n * 1000}, original message\n")
        lib.revert(process.pid)
        assert any(process.stdout.readline().endswith("original message\n") for _ in range(3))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("caller, leaf, kept, caller_name", [
    ("general", "leaf_general", {"rcx", "r8"}, "keeps_general"),
    ("vector", "leaf_vector", {"xmm5"}, "keeps_vector"),
    ("deep", "leaf_deep", {"r9"}, "keeps_deep"),
    ("tail", "leaf_tail", {"rsi"}, "keeps_tail"),
])
def test_what_a_caller_relies_on_survives_the_replacement(caller, leaf, kept, caller_name):
    with victim() as v:
        assert v.ask(caller) == "7"
        text = script(leaf, "new_leaf")
        assert preserved(v.pid, text) == [(kept, f"{preserved(v.pid, text)[0][1]}")]
        assert preserved(v.pid, text)[0][1].startswith(caller_name + "+0x")
        lib.apply(v.pid, text)
        assert v.ask(caller) == "42"
        lib.revert(v.pid)
        assert v.ask(caller) == "7"


@pytest.mark.skipif(not has_avx(), reason="the machine has no AVX")
def test_the_upper_half_of_a_vector_register_survives_too():
    with victim() as v:
        assert v.ask("wide") == "7"
        lib.apply(v.pid, script("leaf_wide", "new_wide"))
        assert v.ask("wide") == "42"


def test_a_plain_jump_would_have_lost_the_registers():
    with victim() as v:
        text = script("leaf_general", "new_leaf", "--clobber")
        assert preserved(v.pid, text) == []
        lib.apply(v.pid, text)
        assert v.ask("general") == "39"  # 41 + rcx + r8, both -1
        lib.revert(v.pid)
        assert v.ask("general") == "7"


def test_nobody_relies_on_anything_and_the_jump_is_plain():
    with victim() as v:
        out = lib.apply(v.pid, script("leaf_polite", "new_leaf"), "--dry-run").out
        assert "preserves" not in out and "islands" not in out
        lib.apply(v.pid, script("leaf_polite", "new_leaf"))
        assert v.ask("nothing") == "42"


def test_a_replacement_that_changes_no_more_than_the_old_function_gets_a_plain_jump():
    with victim() as v:
        assert preserved(v.pid, script("leaf_general", "new_modest")) == []
        lib.apply(v.pid, script("leaf_general", "new_modest"))
        assert v.ask("general") == "42"


def test_arguments_on_the_stack_make_it_a_refusal_that_names_caller_registers_and_remedy():
    with victim() as v:
        error = lib.refusal(v.pid, script("leaf_stack", "new_stack"))
        assert error["code"] == "register-contract"
        for word in ("keeps_stack+0x", "leaf_stack", "rcx", "stack", "--clobber"):
            assert word in error["message"], word
        assert v.ask("stack") == "7" and not lib.has_ledger(v.pid)
        lib.apply(v.pid, script("leaf_stack", "new_stack", "--clobber"))
        assert v.ask("stack") == "40"  # 41 + rcx


def test_a_replacement_that_reads_no_stack_may_be_called_around_one():
    with victim() as v:
        lib.apply(v.pid, script("leaf_stack", "new_leaf"))
        assert v.ask("stack") == "42"


def test_revert_waits_for_a_thread_that_will_return_through_the_frame():
    with victim() as v:
        lib.apply(v.pid, script("leaf_blocking", "new_blocking"))
        v.send("blocking")
        assert v.line() == "inside"
        refused = lib.livepatch("revert", "-p", v.pid, "--all", "--timeout", "0.2", "--json", expect=lib.REFUSED)
        assert refused.error["code"] == "busy"
        assert v.ask("go on") == "42"
        lib.revert(v.pid)
        assert v.ask("blocking") == "7"


def test_two_patches_of_one_function_keep_the_contract_both():
    with victim() as v:
        lib.apply(v.pid, script("leaf_general", "new_leaf"))
        lib.apply(v.pid, script("leaf_general", "new_leaf"))
        assert v.ask("general") == "42"
        lib.revert(v.pid)
        assert v.ask("general") == "7"


def test_a_stripped_program_keeps_its_contracts_too():
    program = lib.compiled("e2e_contract.c", flags=("-mavx",))
    address = next(int(line.split()[0], 16) for line in
                   subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout.splitlines()
                   if line.endswith(" leaf_deep"))
    with Victim(lib.stripped(program)) as v:
        base = lib.address_of(v.pid, program, "leaf_deep") - address
        text = script(hex(base + address), "new_leaf")
        assert [regs for regs, _ in preserved(v.pid, text)] == [{"r9"}]
        lib.apply(v.pid, text)
        assert v.ask("deep") == "42"


def test_a_jump_in_the_middle_of_a_function_is_nobodys_call():
    with victim() as v:
        assert preserved(v.pid, script("keeps_general+0xc", "new_leaf")) == []


def test_a_replacement_that_the_script_itself_rewrites_is_not_taken_at_its_word():
    with victim() as v:
        text = script("leaf_general", "new_modest")
        assert preserved(v.pid, text) == []
        assert [regs for regs, _ in preserved(v.pid, text + "\nset $p:new_modest hex 31c9b829000000c3")] == [{"rcx", "r8"}]
        lib.apply(v.pid, text + "\nset $p:new_modest hex 31c9b829000000c3")  # xor ecx, ecx; mov eax, 41; ret
        assert v.ask("general") == "42"


# ---- programs that nobody wrote

LEAVES, MIDDLES, TOPS = 24, 12, 12


def expression(rng, names, depth=3):
    if depth == 0 or rng.random() < 0.2:
        return rng.choice(names + [str(rng.randrange(1, 1000))])
    a, b = (expression(rng, names, depth - 1) for _ in "ab")
    return f"({a} {rng.choice('+-*^&|')} {b})"


def real_expression(rng, names):
    return " + ".join(f"{n} * {rng.randrange(1, 9)}.5" for n in names)


def generated(seed):
    """A program full of small functions that know each other, and the names, results and bodies of its leaves."""
    rng = random.Random(seed)
    text, leaves = ['#include "e2e_serve.h"', "static long sink; static double real_sink;"], []
    for i in range(LEAVES):
        kind = rng.choice(["long", "double", "void"])
        body = {"long": f"return {expression(rng, ['a', 'b'])};", "double": f"return {real_expression(rng, ['x', 'y'])};",
                "void": "sink_at(a);"}[kind]
        body = body.replace("sink_at(a);", "*cell = 3;")
        params = {"long": "long a, long b", "double": "double x, double y", "void": "long *cell"}[kind]
        leaves.append((f"leaf{i}", kind, params, body))
        text.append(f"__attribute__((noinline, aligned(16))) {kind} leaf{i}({params}) {{ {body} }}")

    def call(name, kind):
        return {"long": f"a = {name}(a ^ {rng.randrange(99)}, b);", "double": f"x = {name}(x, y) * 0.25;",
                "void": f"{name}(&sink); b += sink;"}[kind]

    def block(callees):
        lines = []
        for _ in range(rng.randrange(2, 6)):
            name, kind = rng.choice(callees)
            lines.append(rng.choice(["{}", "if (a & %d) {{ {} }}" % rng.randrange(1, 64),
                                     "for (long i = 0; i < (b & 3); i++) {{ c += i; {} }}"]).format(call(name, kind)))
            lines.append(rng.choice([f"c = {expression(rng, ['a', 'b', 'c'])};", "y = y * 0.5 + x;", "b ^= c;", ""]))
        return " ".join(lines)

    known = [(name, kind) for name, kind, _, _ in leaves]
    for level, count in (("middle", MIDDLES), ("top", TOPS)):
        fresh = []
        for i in range(count):
            name = f"{level}{i}"
            text.append(f"__attribute__((noinline)) {'static ' if level == 'middle' else ''}long {name}(long a, long b) {{ "
                        f"long c = a - b; double x = a & 1023, y = b & 511; {block(known)} "
                        f"real_sink = x + y; return a ^ b ^ c ^ (long)x; }}")
            fresh.append((name, "long"))
        known += fresh
    calls = " ".join(f"sum = sum * 31 + top{i}(n + {i}, sum & 4095);" for i in range(TOPS))
    text.append(f"static void answer(char *request) {{ long n = atol(request), sum = 0; sink = 0; {calls} "
                'say("%ld %.6g", sum, real_sink); }')
    text.append("int main(void) { serve(answer); }")
    return "\n".join(text), leaves


def trashing(leaves):
    """The same functions again; each then changes every register that the convention lets it."""
    text = []
    for name, kind, params, body in leaves:
        results = {"long": ["rax"], "double": ["xmm0"], "void": []}[kind]
        trash = [f"mov $-1, %%{r}" for r in GENERAL if r not in results]
        trash += [f"pcmpeqd %%{r}, %%{r}" for r in VECTORS if r not in results]
        clobbers = ", ".join(f'"{r}"' for r in GENERAL + VECTORS if r not in results)
        output = {"long": '"+a"(r)', "double": '"+Yz"(r)', "void": ""}[kind]
        work = body.replace("return", f"{kind} r =") if kind != "void" else body
        text.append(f"{kind} new_{name}({params}) {{ {work} __asm__ volatile(\"{'; '.join(trash)}\" : {output} : : {clobbers}, "
                    f'"cc", "memory"); {"return r;" if kind != "void" else ""} }}')
    return "\n".join(text)


def program_and_patch(seed, options):
    """Both compiled, and the script that replaces every leaf; `%s` in it is for options of jmp."""
    text, leaves = generated(seed)
    name = f"generated-{seed}{options.replace(' ', '')}"
    program = lib.compiled(str(lib.source_file(text, name + ".c")), link="non-pie" if "-fno-pic" in options else "pie",
                           flags=(*options.split(), "-Wno-unused-function", "-fwrapv"), name=name[:15])
    patch = lib.shared_object(str(lib.source_file(trashing(leaves), name + "-patch.c")), "-O2", "-fwrapv")
    return program, f"dl p {patch}\n" + "".join(f"jmp%s {leaf} $p:new_{leaf}\n" for leaf, *_ in leaves)


def answers(victim):
    return [victim.ask(str(n)) for n in range(40)]


@pytest.mark.parametrize("options", ["-O2", "-O3", "-Os", "-O1 -fipa-ra", "-O2 -fcf-protection -fno-pic"])
@pytest.mark.parametrize("seed", range(4))
def test_generated_programs_compute_the_same_when_every_leaf_changes_every_register(seed, options):
    program, script = program_and_patch(seed, options)
    with Victim(program) as v:
        before = answers(v)
        lib.apply(v.pid, script.replace("%s", ""))
        assert answers(v) == before
        lib.revert(v.pid)
        assert answers(v) == before


def test_generated_programs_would_notice_a_lost_register():
    noticed = 0
    for seed in range(4):
        program, script = program_and_patch(seed, "-O2")
        with Victim(program) as v:
            before = answers(v)
            assert preserved(v.pid, script.replace("%s", ""))
            lib.apply(v.pid, script.replace("%s", " --clobber"))
            try:
                noticed += answers(v) != before
            except AssertionError:
                noticed += 1  # it died
    assert noticed >= 3
