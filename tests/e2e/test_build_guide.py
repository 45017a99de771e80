"""What docs/patch-author-guide.md shows: its commands, hooks, shadow variables, judgements; and trees that are git's."""
import os
import re
import shutil
import subprocess

import pytest

import lib
from buildlib import Project

MAIN = """#include <stdlib.h>
#include "serve.h"
#include "work.h"

static struct account *accounts[3];

static void answer(char *out, size_t size)
{
	static int turn;
	if (!accounts[0])
		for (int i = 0; i < 3; i++)
			accounts[i] = account_new(i + 1);
	snprintf(out, size, "%s", account_spend(accounts[turn++ % 3], 10));
}

int main(void)
{
	return serve(answer);
}
"""

WORK_H = """#pragma once
struct account {
	int id, balance;
};
struct account *account_new(int id);
const char *account_spend(struct account *a, int amount);
"""

WORK_C = """#include <stdio.h>
#include <stdlib.h>
#include "work.h"

static int limit = 1000;
static int warnings;

struct account *account_new(int id)
{
	struct account *a = calloc(1, sizeof *a);
	a->id = id;
	a->balance = 100;
	return a;
}

__attribute__((noipa)) static void complain(int line)
{
	warnings = line;
}

const char *account_spend(struct account *a, int amount)
{
	static char text[64];
	if (amount > limit)
		complain(__LINE__);
	if (amount < 0)
		limit = amount;
	a->balance -= amount;
	snprintf(text, sizeof text, "account %d has %d, limit %d", a->id, a->balance, limit);
	return text;
}
"""


GUIDE = (lib.TOP / "docs/patch-author-guide.md").read_text()


def printed(language, section):
    """The first block of code below a heading of the guide."""
    return re.search(rf"^```{language}\n(.*?)^```$", GUIDE.split(f"# {section}\n", 1)[1], re.MULTILINE | re.DOTALL)[1]


@pytest.fixture(scope="module")
def accounts():
    return Project("two-files").write(main_c=MAIN, work_h=WORK_H, work_c=WORK_C).build()


def running(project):
    return lib.Victim(project.path / "prog", cwd=project.path)


def apply(victim, answer):
    assert len(answer["patches"]) == 1, answer
    lib.livepatch("apply", "-p", victim.pid, answer["patches"][0]["path"])


def test_the_commands_at_the_top_work_as_printed(tmp_path):
    """For a program that is smaller than redis-server."""
    tree, tools = tmp_path / "redis-7.0.15", tmp_path / "bin"
    project = Project("two-files")
    project.path = shutil.move(project.path, tree)
    project.write(Makefile=(tree / "Makefile").read_text().replace("prog", "redis-server")).build()
    project.diff(("work.c", '"original"', '"patched"')).rename(tmp_path / "CVE-2025-0001.patch")
    with lib.Victim(tree / "redis-server", cwd=tree) as victim:
        tools.mkdir()
        (tools / "pidof").write_text(f"#!/bin/sh\necho {victim.pid}\n")
        (tools / "pidof").chmod(0o755)
        path = f"{tools}:{lib.tool_path().parent}:{os.environ['PATH']}"
        lines = printed("sh", "From a diff to a patched process").splitlines()
        for commands, name in [(lines[:3], "patched 1"), ([lines[0], lines[3]], "original 2")]:
            run = subprocess.run(["bash", "-e"], input="\n".join(commands), cwd=tmp_path, capture_output=True, text=True,
                                 env={**os.environ, "PATH": path, "XDG_CACHE_HOME": str(tmp_path / "cache")})
            assert run.returncode == 0, run.stderr
            assert victim.ask().startswith(name)


def test_a_hook_sets_what_an_initialiser_can_no_longer_set(accounts):
    include, hook = printed("c", "A variable whose value must change: a hook").split("\n", 1)
    with running(accounts) as victim:
        assert victim.ask() == "account 1 has 90, limit 1000"
        apply(victim, accounts.patch(
            ("work.c", "#include <stdlib.h>\n", f"#include <stdlib.h>\n{include}\n"),
            ("work.c", "struct account *account_new(int id)", f"{hook}\nstruct account *account_new(int id)")))
        assert victim.ask() == "account 2 has 90, limit 5000"


def test_a_pre_apply_hook_that_says_no_keeps_the_patch_out(accounts):
    with running(accounts) as victim:
        victim.ask()
        answer = accounts.patch(
            ("work.c", "#include <stdlib.h>\n", "#include <stdlib.h>\n#include <livepatch-patch.h>\n"),
            ("work.c", "struct account *account_new(int id)",
             "static int may_not(void)\n{\n\treturn limit == 1000 ? 17 : 0;\n}\nLIVEPATCH_PRE_APPLY(may_not);\n\n"
             "struct account *account_new(int id)"),
            ("work.c", "account %d has", "ACCOUNT %d has"))
        error = lib.livepatch("apply", "-p", victim.pid, "--json", answer["patches"][0]["path"], expect=lib.REFUSED).error
        assert error["code"] == "hook-failed" and "17" in error["message"]
        assert victim.ask() == "account 2 has 90, limit 1000"


def test_a_new_field_of_old_objects_is_a_shadow_variable(accounts):
    """The first amount and the second are accounted for in one that was there before the patch."""
    shown = printed("c", "A structure that must grow: a shadow variable")
    beginning, spend, end = re.fullmatch(r"(#include.*?#define[^\n]*\n)(.*)\.\.\.\n(.*)", shown, re.DOTALL).groups()
    told = 'snprintf(text, sizeof text, "account %d has %d, limit %d", a->id, a->balance, limit);'
    with running(accounts) as victim:
        for _ in range(3):
            victim.ask()
        apply(victim, accounts.patch(
            ("work.c", "#include <stdlib.h>\n", f"#include <stdlib.h>\n{beginning}"),
            ("work.c", "a->balance -= amount;", f"{spend}\ta->balance -= amount;"),
            ("work.c", told, 'snprintf(text, sizeof text, "account %d has spent %d", a->id, spent ? *spent : -1);'),
            ("work.c", "__attribute__((noipa)) static void complain", f"void account_close(struct account *a);\n"
             f"void account_close(struct account *a)\n{{\n{end}}}\n\n__attribute__((noipa)) static void complain")))
        assert [victim.ask() for _ in range(4)] == [f"account {i} has spent {n}" for i, n in [(1, 10), (2, 10), (3, 10), (1, 20)]]


def test_a_grown_structure_is_refused_and_named(accounts):
    error = accounts.livepatch("--json", accounts.diff(("work.h", "int id, balance;", "int id, balance, spent;"),
                                                       ("work.c", "a->balance -= amount;", "a->balance -= a->spent += amount;")),
                               expect=lib.REFUSED).json
    assert error["error"]["code"] == "unsafe-difference"
    refusals = [r for p in error["patches"] for r in p["refusals"]]
    assert any(r["code"] == "layout" and "account" in r["culprit"] and r["allowable"] for r in refusals), refusals


def test_a_judgement_can_be_overruled(accounts):
    diff = accounts.diff(("work.c", "limit = 1000", "limit = 2000"), ("work.c", "account %d has", "Account %d has"))
    out = accounts.path.parent / "allowed.kpatch"
    refused = accounts.livepatch("-o", out, diff, expect=lib.REFUSED)
    assert "--allow changed-initialiser:limit" in refused.out
    accounts.livepatch("-o", out, "--allow", "changed-initialiser:limit", diff)
    with running(accounts) as victim:
        lib.livepatch("apply", "-p", victim.pid, out)
        assert victim.ask() == "Account 1 has 90, limit 1000"


def test_a_line_number_before_a_function_of_the_project_can_be_declared_to_mean_nothing(accounts):
    edits = [("work.c", "static int warnings;", "static int warnings;\n/* moves all that follows */\n")]
    assert [c["name"] for p in accounts.patch(*edits)["patches"] for c in p["changes"]] == ["account_spend"]
    assert accounts.patch(*edits, args=["--line-function", "complain"])["patches"] == []


def test_a_tree_of_git_builds_with_what_git_says_about_it(accounts):
    """A version that is asked of git ends up in the binary; and the copy's git leaves the user's alone."""
    project = Project("two-files", command="make CFLAGS=\"-O2 -I. -DREVISION='\\\"$(git rev-parse HEAD)\\\"'\"", cache=accounts.cache)
    text = (project.path / "work.c").read_text()
    project.write(work_c=text.replace('"busy"', "REVISION"))
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org"]
    for args in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *args], cwd=project.path, check=True)
    (project.path / ".git/info/exclude").write_text("*.o\nprog\n")
    project.build()
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project.path, capture_output=True, text=True, check=True).stdout.strip()
    assert head.encode() in (project.path / "prog").read_bytes()
    patch = project.patch(("work.c", '"original"', '"patched"'))["patches"][0]
    with running(project) as victim:
        lib.livepatch("apply", "-p", victim.pid, patch["path"])
        assert victim.ask().startswith("patched")


def test_a_user_without_rights_builds_for_himself(accounts, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    project = Project("two-files")
    for path in [project.path.parent, *project.path.parent.rglob("*")]:
        os.chown(path, 65534, 65534, follow_symlinks=False)
    diff = project.diff(("work.c", '"original"', '"patched"'))
    os.chown(diff, 65534, 65534)
    run = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", lib.tool_path(), "build", "-C", project.path,
                          "-o", project.path.parent / "x.kpatch", diff], capture_output=True, text=True,
                         env={**os.environ, "HOME": str(project.path.parent), "XDG_CACHE_HOME": ""})
    assert run.returncode == 0, run.stderr
    cache = project.path.parent / ".cache/livepatch/build"
    assert cache.stat().st_mode & 0o777 == 0o700


# ---- what is refused

def refusals():
    """The codes, each with whether it can be allowed."""
    rows = re.findall(r'^REFUSE\(\w+,\s*"([^"]+)",\s*(true|false)', (lib.TOP / "src/diff/refuse.def").read_text(), re.MULTILINE)
    assert len(rows) > 15
    return {code: allowable == "true" for code, allowable in rows}


def test_the_guide_has_every_refusal_and_says_which_can_be_allowed():
    section = GUIDE.split("## What is refused", 1)[1].split("\n### ", 1)[0]
    cells = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    assert {code: "allowable" in row[2] for row in cells for code in re.findall(r"`([\w-]+)`", row[1])} == refusals()


def test_every_refusal_is_provoked_by_a_test():
    tests = lib.TOP / "tests/unit/diff"
    provoked = set(re.findall(r'expect_refusal\(&p, "([\w-]+)"', (tests / "test_units.c").read_text()))
    for case in (tests / "cases").iterdir():
        provoked.update(re.findall(r"^\W*refuse: ([\w-]+)", case.read_text(), re.MULTILINE))
    assert provoked == set(refusals())
