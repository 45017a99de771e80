"""include/livepatch-patch.h through `livepatch build`: later patches find what earlier ones attached."""
import lib
from buildlib import Project
from lib import Victim

SHADOW = ("int *count = (int *)livepatch_shadow_get_or_attach(&state, 1, sizeof *count);\n"
          "\tint old = step(n) + work_scale(n);\n\treturn %d + (old & 0) + (count ? *count += 1 : 0);")


def edits(number):
    return [("work.c", '#include "work.h"\n', '#include "work.h"\n#include <livepatch-patch.h>\n'),
            ("work.c", "return step(n) + work_scale(n);", SHADOW % number)]


def work(victim):
    return int(victim.ask().split()[2])


def test_a_shadow_variable_is_the_same_one_for_every_patch():
    project = Project("one-command").build()
    program = project.path / "prog"
    for number in (1000, 2000):
        project.patch(*edits(number), args=("--id", str(number), "--target", program), out=f"{number}.kpatch")
    with Victim(program) as v:
        lib.livepatch("apply", "-p", v.pid, project.path.parent / "1000.kpatch")
        assert [work(v), work(v)] == [1001, 1002]
        lib.livepatch("apply", "-p", v.pid, project.path.parent / "2000.kpatch")
        assert [work(v), work(v)] == [2003, 2004]
        lib.revert(v.pid, "2000")
        assert work(v) == 1005
