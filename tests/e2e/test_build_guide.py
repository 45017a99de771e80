"""What docs/patch-author-guide.md shows: hooks, shadow variables, judgements; and trees that are git's."""
import os
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


@pytest.fixture(scope="module")
def accounts():
    return Project("two-files").write(main_c=MAIN, work_h=WORK_H, work_c=WORK_C).build()


def running(project):
    return lib.Victim(project.path / "prog", cwd=project.path)


def apply(victim, answer):
    assert len(answer["patches"]) == 1, answer
    lib.livepatch("apply", "-p", victim.pid, answer["patches"][0]["path"])


def test_a_hook_sets_what_an_initialiser_can_no_longer_set(accounts):
    with running(accounts) as victim:
        assert victim.ask() == "account 1 has 90, limit 1000"
        apply(victim, accounts.patch(
            ("work.c", "#include <stdlib.h>\n", "#include <stdlib.h>\n#include <livepatch-patch.h>\n"),
            ("work.c", "struct account *account_new(int id)",
             "static int raise_limit(void)\n{\n\tlimit = 5000;\n\treturn 0;\n}\nLIVEPATCH_POST_APPLY(raise_limit);\n\n"
             "struct account *account_new(int id)")))
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
    with running(accounts) as victim:
        for _ in range(3):
            victim.ask()
        apply(victim, accounts.patch(
            ("work.c", "#include <stdlib.h>\n", "#include <stdlib.h>\n#include <livepatch-patch.h>\n"),
            ("work.c", "a->balance -= amount;",
             "int *spent = (int *)livepatch_shadow_get_or_attach(a, 1, sizeof *spent);\n\tif (spent)\n\t\ta->id = 100 + (*spent += 1);\n"
             "\ta->balance -= amount;")))
        assert [victim.ask().split()[1] for _ in range(6)] == ["101", "101", "101", "102", "102", "102"]


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
                         env={**os.environ, "HOME": str(project.path.parent)})
    assert run.returncode == 0, run.stderr
    cache = project.path.parent / ".cache/livepatch/build"
    assert cache.stat().st_mode & 0o777 == 0o700
