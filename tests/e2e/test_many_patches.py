"""A thousand patches in one process at once."""
import random


import lib
from lib import Victim

FUNCTIONS = 1000


def many_functions():
    lines = ['#include "e2e_serve.h"']
    for i in range(FUNCTIONS):
        lines.append(f"int many_{i}(int n);\nPATCHED int many_{i}(int n) {{ return n * 3 + {i}; }}")
    table = ", ".join(f"many_{i}" for i in range(FUNCTIONS))
    lines.append(f"""
static int (*const table[])(int) = {{{table}}};
/* One letter per function: old, new, or neither. */
static void answer(char *request)
{{
	char letters[{FUNCTIONS} + 1] = "";
	for (int i = 0; i < {FUNCTIONS}; i++) {{
		int got = table[i](100000);
		letters[i] = got == 300000 + i ? 'o' : got == 42 ? 'n' : '?';
	}}
	say("%s", letters);
}}
int main(void) {{ serve(answer); return 0; }}
""")
    return lib.compiled(str(lib.source_file("\n".join(lines), "many.c")))


def test_a_thousand_patches_live_together_and_leave_in_random_order():
    patch = lib.shared_object("e2e_shapes_patch.c")
    with Victim(many_functions()) as victim:
        ids = [lib.apply_json(victim.pid, f"dl foo {patch}\njmp many_{i} $foo:answer_42")["id"]
               for i in range(FUNCTIONS)]
        assert victim.ask() == "n" * FUNCTIONS
        assert lib.active_ids(victim.pid) == ids
        order = list(range(FUNCTIONS))
        random.Random(2004).shuffle(order)
        expected = ["n"] * FUNCTIONS
        while order:
            batch, order = order[:25], order[25:]
            lib.revert(victim.pid, *(ids[i] for i in batch))
            for i in batch:
                expected[i] = "o"
            assert victim.ask() == "".join(expected)
        assert lib.active_ids(victim.pid) == []


def test_a_thousand_functions_change_in_one_patch_and_one_pause():
    patch = lib.shared_object("e2e_shapes_patch.c")
    script = f"dl foo {patch}\n" + "".join(f"jmp many_{i} $foo:answer_42\n" for i in range(FUNCTIONS))
    with Victim(many_functions()) as victim:
        lib.apply(victim.pid, script)
        assert victim.ask() == "n" * FUNCTIONS
        lib.revert(victim.pid)
        assert victim.ask() == "o" * FUNCTIONS


def test_fifty_patches_stacked_on_one_function_come_off_one_by_one():
    with Victim(lib.compiled("e2e_busy.c")) as victim:
        ids = []
        for i in range(50):
            source = lib.source_file(f"int f(void);\nint f(void) {{ return {5000 + i}; }}\n", f"stack_{i}.c")
            script = f"dl foo {lib.shared_object(str(source))}\njmp busy_outer $foo:f"
            ids.append(lib.apply_json(victim.pid, script)["id"])
            assert victim.ask("call") == str(5000 + i)
        for i in reversed(range(1, 50)):
            lib.revert(victim.pid, ids[i])
            assert victim.ask("call") == str(5000 + i - 1)
        lib.revert(victim.pid, ids[0])
        assert victim.ask("call") == "8"
