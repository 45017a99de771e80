"""The examples of the library, and the targets of the Makefile that run them."""
import re
import subprocess

import pytest

import lib
import library
from library import run

DOCUMENT = library.snippets("tests/snippets/document_001.md")


def example(name):
    return library.build_directory() / "examples" / name


def prices(text):
    """what -> (price of no tickets, price of three), of the rows that an example prints."""
    rows = re.findall(r"^(\S.*?) {2,}(-?\d+) +(-?\d+)$", text, re.MULTILINE)
    return {what: (int(none), int(three)) for what, none, three in rows}


# ---- livepatch_example

def test_the_demo_shows_each_kind_of_patch_before_and_after():
    text = run(example("livepatch_example"), "demo").stdout
    assert prices(text) == {
        "the program as it is": (-1, 30),
        "NOP: no check for no tickets": (0, 30),
        "INLINE: eight instead of ten": (0, 24),
        "INSERT: a fee of one, before the multiplication": (0, 27),
        "revert INLINE: ten again, the fee stays": (0, 33),
        "revert all": (-1, 30),
        "BRANCH: to the handler": (99, 99),
        "FUNCTION_REDIRECT: to what costs half": (0, 15),
        "NEW_FUNC and FUNCTION_REDIRECT: to code that was not there": (0, 0),
        "a transaction with a mistake: nothing is changed": (-1, 30),
        "one without: both": (0, 24),
    }
    assert re.search(r"anything else 0$", text, re.MULTILINE)
    refusals = text.split("changes nothing:\n", 1)[1].split("\n\n", 1)[0].splitlines()
    assert len(refusals) == 3 and all("0x" in refusal for refusal in refusals)


@pytest.mark.parametrize("name", ["patches.lpatch", "patches.json"])
def test_the_patch_file_that_is_created_loads(tmp_path, name):
    created = run(example("livepatch_example"), "create-patches", tmp_path / name).stdout
    assert prices(created) == {"what they do": (0, 24)}
    loaded = run(example("livepatch_example"), "load-patches", tmp_path / name).stdout
    assert prices(loaded) == {"before": (-1, 30), "after": (0, 24)}
    assert (tmp_path / name).read_text().startswith("[") == name.endswith(".json")


def test_the_patch_file_of_the_examples_loads():
    loaded = run(example("livepatch_example"), "load-patches", lib.TOP / "examples" / "test_patch.lpatch").stdout
    assert "3 patches from " in loaded
    assert prices(loaded) == {"before": (-1, 30), "after": (0, 24)}


def test_a_file_with_a_mistake_is_refused_by_the_example(tmp_path):
    (tmp_path / "bad.lpatch").write_text("4001000 D503201F fine\n4001002 D503201F between two instructions\n")
    answer = run(example("livepatch_example"), "load-patches", tmp_path / "bad.lpatch", expect=1)
    assert "bad.lpatch:2:" in answer.stderr and "after" not in answer.stdout


def test_the_memory_demo_shows_words_before_during_and_after():
    text = run(example("livepatch_example"), "memory-demo").stdout
    before, patched, after = (re.findall(r"^  40010\w\w  (\w{8})$", text.split(title, 1)[1].split("\n\n", 1)[0], re.MULTILINE)
                              for title in ("price, as it is:\n", "price, patched:\n", "price, reverted:\n"))
    assert before == after == "34000080 52800141 1b017c00 d65f03c0 12800000 d65f03c0".split()
    assert [i for i in range(6) if before[i] != patched[i]] == [0, 2]
    assert patched[0] == "d503201f"
    code = re.search(r"there:\n((?:  \w+  \w{8}\n)+)", text)[1].split()[1::2]
    assert code[:2] == ["11000421", "1b017c00"]


def test_help_lists_the_commands_and_a_wrong_one_exits_with_2():
    listed = run(example("livepatch_example"), "help").stdout
    assert re.findall(r"^livepatch_example (\S+)", listed, re.MULTILINE) == [
        "demo", "create-patches", "load-patches", "memory-demo", "help"]
    assert run(example("livepatch_example"), "dance", expect=2).stdout == listed
    assert run(example("livepatch_example"), "load-patches", expect=2).stdout == listed


# ---- the security examples

def test_a_hook_closes_the_hole_while_threads_run_through_it():
    text = run(example("livepatch_security_demo")).stdout
    rows = {when: tuple(map(int, numbers)) for when, *numbers in
            re.findall(r"^(.*?): +(\d+) logins, +(\d+) of them administrators by overflow, +(\d+) refused$", text, re.MULTILINE)}
    assert list(rows) == ["as it was written", "hooked", "unhooked"]
    assert rows["as it was written"][1] >= 1000 and rows["hooked"][2] >= 1000 and rows["unhooked"][1] >= 1000
    assert text.endswith("administrators by overflow while hooked: 0\n")


def test_a_patch_file_closes_the_hole_and_is_reloaded_while_the_program_runs():
    text = run(example("security_patch_example")).stdout
    answers = dict(re.findall(r"^(\S.*?) {2,}(\S{16})$", text, re.MULTILINE))
    assert answers == {
        "the program as it is": "PUBLIC..secret!!",
        "patched: indices end where the table ends": "PUBLIC..PPPPPPPP",
        "the file has a mistake: nothing changes": "PUBLIC..PPPPPPPP",
        "a better fix: stars": "PUBLIC..********",
        "the file is empty: as it was": "PUBLIC..secret!!",
    }
    assert re.search(r"^  refused: .*lookup\.json:2:\d+: ", text, re.MULTILINE)


# ---- make

@pytest.fixture
def make(tmp_path):
    """The Makefile with the build that is tested in the place of the default one; what it leaves in its tree, it leaves here."""
    (tmp_path / "build").mkdir()

    def call(*targets):
        command = ["make", "--no-print-directory", f"--file={lib.TOP / 'Makefile'}", f"BUILD={library.build_directory()}",
                   "NINJA=true", *targets]
        answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    return call


def test_make_help_lists_what_the_document_lists(make):
    printed = set(re.findall(r"^make +([a-z-]+) +#", DOCUMENT["make"].text, re.MULTILINE))
    assert printed == {"clean", "test", "demo", "create-patches", "load-patches", "memory-demo", "help"}
    listed = set(re.findall(r"^make ([a-z-]+) +\S", make("help"), re.MULTILINE))
    assert printed <= listed


def test_make_creates_and_loads_a_patch_file(make, tmp_path):
    assert "2 patches in build/example.lpatch" in make("create-patches")
    assert (tmp_path / "build" / "example.lpatch").exists()
    text = make("load-patches")
    assert "2 patches from build/example.lpatch" in text and prices(text)["after"] == (0, 24)


def test_make_runs_the_memory_demo(make):
    assert "price, reverted:" in make("memory-demo")


def test_the_documents_command_runs_the_demo_after_make(make, tmp_path):
    make()
    answer = subprocess.run(["sh", "-e"], input=DOCUMENT["demo"].text, cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 0 and "the program as it is" in answer.stdout
