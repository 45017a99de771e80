"""The command line itself: arguments, help and its twins, JSON shapes, exit codes, the prompt."""
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time

import pytest

import lib
import libcare

VERBS = ["apply", "list", "revert", "check", "info", "recover", "watch", "build", "-i", "help"]
NOBODY = lib.NO_PROCESS


def built(name):
    """What is generated beside the tool."""
    path = lib.tool_path().parent / name
    if not path.exists():
        pytest.skip(f"{path} is not there: an installed tool is tested")
    return path


# ---- wrong use: a sentence that says what is wrong, where help is, exit code 2

WRONG = {
    (): "say which process, or what to do",
    ("4711",): "TARGET-BINARY is missing after the process id 4711",
    ("4711", "4712", "./target"): '"./target" is one operand too many for livepatch PID TARGET-BINARY',
    ("./target",): "did pidof find nothing?",
    ("0", "./target"): '"0" is not a process id',
    ("0x10", "./target"): '"0x10" is not a process id: a decimal number is expected',
    ("12a", "./target"): '"12a" is not a process id',
    ("99999999999999999999", "./target"): "is not a process id",
    ("lsit",): "there is no verb lsit; did you mean list?",
    ("aply", "-p", "1"): "did you mean apply?",
    ("frobnicate",): "frobnicate is neither a process id nor a verb",
    ("list",): "-p PID or --all-processes is missing",
    ("list", "-p", "1", "--all-processes"): "-p and --all-processes exclude each other",
    ("list", "-p", "1", "2"): 'livepatch list takes no operand, but "2" is one',
    ("info",): "-p PID is missing",
    ("info", "-p"): "-p needs a value: PID",
    ("info", "--pid"): "--pid needs a value: PID",
    ("info", "-p", "-1"): '"-1" is not a process id',
    ("info", "-p", "+1"): '"+1" is not a process id',
    ("info", "-p", " 1"): '" 1" is not a process id',
    ("info", "-p", ""): '"" is not a process id',
    ("info", "-p", "1", "-p", "2"): "-p, --pid is given twice",
    ("info", "-p", "1", "-x"): "unknown option -x",
    ("info", "-p", "1", "--frob=3"): "unknown option --frob",
    ("info", "-p", "1", "--json=yes"): "--json takes no value",
    ("info", "-p", "1", "--force"): "livepatch info does not take --force",
    ("apply", "-p", "1", "a", "b"): '"b" is one operand too many',
    ("apply", "-p", "1", "--timeout", "soon"): "seconds are expected",
    ("apply", "-p", "1", "--timeout", "1."): "seconds are expected",
    ("apply", "-p", "1", "--timeout", "-1"): "seconds are expected",
    ("apply", "-p", "1", "--timeout", "99999999999999999999"): "a day is the most",
    ("revert", "-p", "1"): "which patch?",
    ("revert", "-p", "1", "--all", "3"): '--all and the ID "3" exclude each other',
    ("-i",): "livepatch -i needs a process id",
    ("-i", "1", "a", "b"): '"b" is one operand too many',
    ("help", "lst"): "did you mean list?",
}


@pytest.mark.parametrize("args", WRONG, ids=" ".join)
def test_wrong_use_is_explained_and_ends_with_2(args):
    result = lib.livepatch(*args, expect=lib.USAGE)
    first, second = result.err.splitlines()
    assert first.startswith("livepatch: ") and WRONG[args] in first
    assert second.startswith("livepatch: try: livepatch ")
    assert result.out == ""


def test_an_abbreviated_option_is_refused_with_the_option_that_it_abbreviates():
    assert "did you mean --dry-run?" in lib.livepatch("apply", "-p", 1, "--dry", expect=lib.USAGE).err


def test_all_is_never_taken_for_allow_active():
    assert "does not take --all" in lib.livepatch("apply", "-p", 1, "--all", expect=lib.USAGE).err


def test_wrong_use_of_a_verb_points_at_the_help_of_that_verb():
    assert "try: livepatch help apply" in lib.livepatch("apply", expect=lib.USAGE).err


def test_wrong_use_is_json_when_json_is_asked_for():
    result = lib.livepatch("apply", "--json", "-p", "x", expect=lib.USAGE)
    assert result.error == {"code": "usage", "message": '"x" is not a process id: a decimal number is expected'}
    assert result.err == ""


def test_json_behind_a_double_dash_is_a_name():
    assert lib.livepatch("list", "--", "--json", expect=lib.USAGE).out == ""


@pytest.mark.parametrize("args", [("-p", NOBODY, "-v", "info"), ("-v", "info", "-p", NOBODY), ("info", "-vp", NOBODY),
                                  ("info", f"--pid={NOBODY}", "-v")])
def test_options_may_stand_on_either_side_of_the_verb(args):
    assert str(NOBODY) in lib.livepatch(*args, expect=lib.LOST).err


# ---- help, man page and completions know the same

def options_of_help(verb):
    out = lib.livepatch("-i", "--help").out if verb == "-i" else lib.livepatch("help", verb).out
    return set(re.findall(r"^  (?:-\w,|   ) --([\w-]+)", out, re.MULTILINE))


def options_of_man(verb):
    text = built("livepatch.1").read_text().replace("\\-", "-")
    section = text.split(".SH OPTIONS", 1)[1].split(".SH ", 1)[0]
    taken = set()
    for entry in section.split(".TP\n")[1:]:
        word = re.search(r"\\fB--([\w-]+)\\fR", entry)[1]
        takers = re.findall(r"\\fB([^\\]+)\\fR", entry.split("Taken by", 1)[1])
        if verb in takers:
            taken.add(word)
    return taken


def bash_completes(*words):
    """Candidates for the last word."""
    script = f"""source {built("livepatch.bash")}
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _livepatch; printf '%s\\n' "${{COMPREPLY[@]}}\""""
    run = subprocess.run(["bash", "--norc", "-c", script, "bash", "livepatch", *words], capture_output=True, text=True,
                         check=True)
    return set(run.stdout.splitlines()) - {""}


def options_of_zsh(verb):
    arm = re.search(rf"^\t{re.escape(verb)}\)\n(.*?);;", built("_livepatch").read_text(), re.MULTILINE | re.DOTALL)[1]
    return set(re.findall(r"^\t\t\t'?.*?--([\w-]+)[ )}\[]", arm, re.MULTILINE))


@pytest.mark.parametrize("verb", VERBS)
def test_help_man_page_and_completions_list_the_same_options(verb):
    options = options_of_help(verb)
    assert "help" in options
    assert options_of_man(verb) == options
    assert {o[2:] for o in bash_completes(verb, "--")} == options
    assert options_of_zsh(verb) == options


def test_the_command_without_a_verb_has_the_options_of_2004():
    assert options_of_man("PID TARGET-BINARY") == {"debug", "verbose", "quiet", "help", "version"}
    for option in "-h", "--help":
        assert lib.livepatch(option).out == lib.livepatch("help").out


def test_every_verb_stands_in_the_help_in_the_man_page_and_in_the_completion():
    overview = lib.livepatch("help").out
    man = built("livepatch.1").read_text().replace("\\-", "-")
    for verb in VERBS:
        assert re.search(rf"^(?:usage:|      ) livepatch {verb} ", overview, re.MULTILINE)
        assert f".B livepatch {verb}\n" in man
    assert bash_completes("") == set(VERBS) - {"-i"}
    assert bash_completes("help", "re") == {"revert", "recover"}


def test_bash_completes_processes_and_scripts(tmp_path):
    (tmp_path / "fix.lp").touch()
    assert str(os.getpid()) in bash_completes("list", "-p", str(os.getpid())[:-1])
    assert bash_completes("apply", "-f", f"{tmp_path}/f") == {f"{tmp_path}/fix.lp"}
    assert str(os.getpid()) in bash_completes(str(os.getpid()))


def test_bash_completes_stores_and_diffs(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "fix.patch").touch()
    assert bash_completes("watch", f"{tmp_path}/s") == {f"{tmp_path}/store"}
    assert bash_completes("build", f"{tmp_path}/f") == {f"{tmp_path}/fix.patch"}
    assert bash_completes("build", "-C", f"{tmp_path}/") == {f"{tmp_path}/store"}


def edited(tmp_path, typed, source=None):
    """What a line becomes by TAB, in a bash with readline at a terminal."""
    home, terminal = pty.openpty()
    shell = subprocess.Popen(["bash", "--norc", "--noprofile", "-i"], stdin=terminal, stdout=terminal, stderr=terminal, cwd=tmp_path,
                             start_new_session=True, env={**os.environ, "PATH": f"{lib.tool_path().parent}:{os.environ['PATH']}",
                                                          "INPUTRC": "/dev/null", "TERM": "dumb", "HISTFILE": "", "TZ": "UTC"})
    os.close(terminal)
    try:
        lines = libcare.Lines(home)
        os.write(home, f"""source {source or built("livepatch.bash")}; echo "rea"dy\n""".encode()
                 + b"""bind -x '"\\C-x\\C-l": printf "\\n<%s>\\n" "$READLINE_LINE"'; echo "go"on\n""")
        lines.until(lambda line: line == "goon")
        os.write(home, typed.encode() + b"\t\x18\x0c")
        return lines.until(lambda line: line.startswith("<"))[-1][1:-1]
    finally:
        shell.kill()
        shell.wait()
        os.close(home)


@pytest.mark.parametrize("typed, becomes", [
    ("-f a", "-f a\\ fix.lp "),
    ("-f a\\ ", "-f a\\ fix.lp "),
    ('-f "a f', '-f "a fix.lp" '),
    ("-f the:", "-f the:fix\\ of\\ today.lp "),
    ("--file=the:fix", "--file=the:fix\\ of\\ today.lp "),
    ("-f 'the:f", "-f 'the:fix of today.lp' "),
    ("my", "my\\ fixes/"),
    ("my\\ fixes/", "my\\ fixes/one.kpatch "),
])
def test_bash_completes_files_with_blanks_and_colons(tmp_path, typed, becomes):
    (tmp_path / "my fixes").mkdir()
    for name in "a fix.lp", "the:fix of today.lp", "my fixes/one.kpatch":
        (tmp_path / name).touch()
    assert edited(tmp_path, f"livepatch apply -p 1 {typed}") == f"livepatch apply -p 1 {becomes}"


def test_bash_completes_the_patches_of_the_process(tmp_path):
    """By their names, which may be anything, or their numbers; those that are applied."""
    with lib.Victim(lib.compiled("e2e_target.c")) as v:
        for n, name in enumerate(["gone", "CVE 2025: the overflow", "B:1", "D  3  4 B"]):
            lib.apply(v.pid, f"new room{n} 16", "--name", name)
        lib.revert(v.pid, "gone")
        for typed, becomes in [("CV", "CVE\\ 2025\\:\\ the\\ overflow "), ("CVE\\ 2025:", "CVE\\ 2025:\\ the\\ overflow "),
                               ('"CVE 2025: t', '"CVE 2025: the overflow" '), ("'CVE 2", "'CVE 2025: the overflow' "),
                               ("B:", "B:1 "), ("D", "D\\ \\ 3\\ \\ 4\\ B "), ("3", "3 "), ("g", "g"), ("1", "1")]:
            assert edited(tmp_path, f"livepatch revert -p {v.pid} {typed}") == f"livepatch revert -p {v.pid} {becomes}"
        assert edited(tmp_path, f"livepatch revert --pid={v.pid} D").endswith(" B ")


def test_bash_completes_the_refusals_that_can_be_allowed(tmp_path):
    assert edited(tmp_path, "livepatch build --allow lay") == "livepatch build --allow layout "
    assert edited(tmp_path, "livepatch build --allow lt") == "livepatch build --allow lt"


def libcare_completes(tool, *words):
    script = f"""source {lib.TOP / "completion/libcare.bash"}
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        $(complete -p "$1" | sed 's/.*-F \\([^ ]*\\).*/\\1/'); printf '%s\\n' "${{COMPREPLY[@]}}\""""
    run = subprocess.run(["bash", "--norc", "-c", script, "bash", tool, *words], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()) - {""}


def test_bash_completes_the_libcare_tools(tmp_path):
    (tmp_path / "fix.kpatch").touch()
    assert libcare_completes("libcare-ctl", "") == {"patch", "unpatch", "info", "server"}
    assert libcare_completes("libcare-ctl", "-v", "un") == {"unpatch"}
    assert "all" in libcare_completes("libcare-ctl", "patch", "-p", "a")
    assert libcare_completes("libcare-ctl", "patch", "-p", "1", f"{tmp_path}/") == {f"{tmp_path}/fix.kpatch"}
    assert libcare_completes("libcare-client", "/run/s", "st") == {"storage", "stop"}
    assert libcare_completes("libcare-patch-make", "--as") == {"--assembly"}


@pytest.mark.parametrize("typed, becomes", [("a", "a\\ fix.kpatch "), ("a\\ f", "a\\ fix.kpatch "), ("'a ", "'a fix.kpatch' ")])
def test_bash_completes_files_with_blanks_for_the_libcare_tools(tmp_path, typed, becomes):
    (tmp_path / "a fix.kpatch").touch()
    said = edited(tmp_path, f"libcare-ctl patch -p 1 {typed}", lib.TOP / "completion/libcare.bash")
    assert said == f"libcare-ctl patch -p 1 {becomes}"


def test_the_completion_of_kpatch_gensrc_knows_all_its_options():
    rows = re.findall(r'^GENSRC\(\w+, *\S+ *"([^"]+)"', (lib.TOP / "src/tool/kpatch_gensrc.def").read_text(), re.MULTILINE)
    assert len(rows) > 10
    assert libcare_completes("kpatch_gensrc", "--") == {f"--{word}" for word in rows}


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_the_zsh_completion_is_accepted_by_zsh():
    subprocess.run(["zsh", "-n", built("_livepatch")], check=True)
    subprocess.run(["zsh", "-n", lib.TOP / "completion/_libcare"], check=True)


def test_the_zsh_completion_has_a_way_to_complete_every_kind_of_argument():
    text = built("_livepatch").read_text()
    used, there = set(re.findall(r":(_livepatch_\w+)'", text)), set(re.findall(r"^(_livepatch_\w+)\(\)", text, re.MULTILINE))
    assert used and used <= there


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_groff_has_nothing_to_say_about_the_man_pages():
    pages = [built("livepatch.1"), *(lib.TOP / "man").glob("*.[1-8]")]
    assert len(pages) > 10
    for page in pages:
        run = subprocess.run(["groff", "-man", "-ww", "-z", "-K", "utf8", page], capture_output=True, text=True)
        assert (run.returncode, run.stderr) == (0, ""), page


def test_the_man_page_lists_every_error_code():
    man = built("livepatch.1").read_text().replace("\\-", "-")
    rows = re.findall(r'^LP_ERR\(\w+, *"([^"]+)"', (lib.TOP / "src/base/err.def").read_text(), re.MULTILINE)
    assert len(rows) > 30
    assert [c for c in rows if f".B {c}\n" not in man] == []


def test_the_version_is_that_of_the_build():
    version = re.search(r"version: '([^']+)'", (lib.TOP / "meson.build").read_text())[1]
    assert lib.livepatch("--version").out == f"livepatch {version}\n"


# ---- exit codes and refusals

def test_a_process_that_is_not_there_is_lost():
    result = lib.livepatch("info", "-p", NOBODY, expect=lib.LOST)
    assert result.err.startswith("livepatch: ") and str(NOBODY) in result.err
    error = lib.livepatch("info", "-p", NOBODY, "--json", expect=lib.LOST).error
    assert error["code"] == "target-lost" and "\n" not in error["message"]


def test_a_script_that_cannot_be_read_is_refused_with_the_systems_reason():
    result = lib.livepatch("apply", "-p", NOBODY, "-f", "/nonexistent/fix.lp", "--json", expect=lib.REFUSED)
    assert result.error["code"] == "ENOENT" and "/nonexistent/fix.lp" in result.error["message"]


@pytest.mark.parametrize("script", ["", "\n\n", "# only a comment\n"])
def test_a_script_without_an_instruction_is_refused(script):
    result = lib.apply(NOBODY, script, "--json", expect=lib.REFUSED)
    assert result.error == {"code": "parse", "message": "the script on standard input holds no instruction"}


def test_the_mistakes_of_a_script_stand_at_the_start_of_their_lines(tmp_path):
    script = tmp_path / "fix.lp"
    script.write_text("jmp a\nset b int 3\nset c\n")
    lines = lib.livepatch("apply", "-p", NOBODY, "-f", script, expect=lib.REFUSED).err.splitlines()
    assert [line.split(": ", 1)[0] for line in lines] == [f"{script}:1:6", f"{script}:3:6"]


def test_an_interrupt_while_the_script_is_read_ends_the_tool_at_once():
    tool = subprocess.Popen([lib.tool_path(), "apply", "-p", str(NOBODY)], stdin=subprocess.PIPE)
    lib.wait_for(lambda: lib.status_of(tool.pid)["State"][0] == "S" and
                 open(f"/proc/{tool.pid}/syscall").read().startswith("0 0x0 "), "it to read")
    tool.send_signal(signal.SIGINT)
    assert tool.wait(timeout=lib.PATIENCE) == -signal.SIGINT


def run_into(target, *args, script=""):
    with open(target, "w") as out:
        run = subprocess.run([lib.tool_path(), *map(str, args)], input=script, stdout=out, stderr=subprocess.PIPE, text=True)
    return run.returncode, run.stderr


def test_an_answer_that_cannot_be_written_is_a_failure_of_verbs_that_only_answer():
    status, err = run_into("/dev/full", "help")
    assert status == lib.REFUSED and "cannot write to standard output: No space left" in err


def test_a_reader_that_went_away_ends_the_tool_without_a_word():
    read, write = os.pipe()
    os.close(read)
    run = subprocess.run([lib.tool_path(), "help"], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (run.returncode, run.stderr) == (lib.REFUSED, b"")


# ---- a process that is patched

@pytest.fixture
def target():
    with lib.Victim(lib.compiled("e2e_target.c")) as running:
        yield running


RESULT_KEYS = {"ok", "pid", "id", "patches", "writes", "threads", "pause_ns", "pauses", "kept_bytes", "recovered"}


def test_a_process_that_was_never_patched_says_so(target):
    assert "was never patched\n" in lib.livepatch("list", "-p", target.pid).out
    assert "there is nothing to check" in lib.livepatch("check", "-p", target.pid).out
    assert lib.livepatch("recover", "-p", target.pid).out == "nothing was left unfinished\n"
    answer = lib.livepatch("list", "-p", target.pid, "--json").json
    assert answer["ok"] is True and answer["pid"] == target.pid and answer["patches"] == []


def test_the_form_of_2004_prints_the_operations_and_what_it_did(target):
    out = lib.livepatch(target.pid, lib.compiled("e2e_target.c"), script=lib.example_script()).out.splitlines()
    assert len(out) == 4
    assert [line.split()[0] for line in out[:3]] == ["dl", "jmp", "set"]
    assert re.fullmatch(r"patch 1 applied: 2 writes, 1 thread paused for [\d.]+ (us|ms)(, at attempt \d+)?", out[3])


def test_quiet_says_nothing_when_all_is_well(target):
    for args, script in [((target.pid, lib.compiled("e2e_target.c"), "-q"), lib.example_script()),
                         (("check", "-p", target.pid, "-q"), None), (("revert", "-p", target.pid, "--all", "-q"), None),
                         (("recover", "-p", target.pid, "-q"), None)]:
        result = lib.livepatch(*args, script=script)
        assert result.out == result.err == ""


def test_the_answers_in_json_have_the_documented_members(target):
    begin = int(time.time()) - 1  # time(2) may be a tick behind
    applied = lib.apply_json(target.pid, lib.example_script(), "--name", "the example")
    assert set(applied) == RESULT_KEYS and applied["writes"] == 2 and applied["pid"] == target.pid
    patch, = lib.listed(target.pid)["patches"]
    assert set(patch) == {"id", "state", "name", "time", "builds_on", "objects", "writes", "rooms"}
    assert (patch["name"], patch["state"], patch["id"]) == ("the example", "applied", applied["id"])
    assert begin <= patch["time"] <= time.time()
    for write in patch["writes"]:
        assert set(write) == {"address", "symbol", "kind", "old", "new"}
        assert re.fullmatch(r"0x[0-9a-f]+", write["address"])
        assert len(bytes.fromhex(write["old"])) == len(bytes.fromhex(write["new"])) > 0
    assert "foo" in [room["name"] for room in patch["rooms"]]
    checked = lib.livepatch("check", "-p", target.pid, "--json").json
    assert checked["intact"] is True and checked["checked"] == 2 and checked["differences"] == []
    reverted = lib.revert(target.pid, applied["id"], "--json").json
    assert set(reverted) == RESULT_KEYS and reverted["patches"] == 1


def test_info_in_json_has_modules_with_build_ids_threads_and_the_ledger(target):
    before = lib.livepatch("info", "-p", target.pid, "--json").json
    assert before["ledger"] is None and before["active_patches"] == 0
    lib.apply(target.pid, lib.example_script())
    info = lib.livepatch("info", "-p", target.pid, "--json").json
    assert info["program"] == os.path.realpath(lib.compiled("e2e_target.c")) and info["active_patches"] == 1
    assert [t["tid"] for t in info["threads"]] == lib.threads(target.pid)
    ids = {m["name"]: m["build_id"] for m in info["modules"]}
    note = subprocess.run(["readelf", "-n", info["program"]], capture_output=True, text=True, check=True).stdout
    assert ids["e2e_target"] in note and "libc.so.6" in ids
    ledger = int(info["ledger"], 16)
    assert any(line.startswith(f"{ledger:x}-") and "livepatch-ledger" in line for line in lib.maps(target.pid))


def test_info_and_list_for_people_show_what_their_json_says(target):
    lib.apply(target.pid, lib.example_script(), "--name", "the example")
    info = lib.livepatch("info", "-p", target.pid, "-v").out
    assert "patches:  1 active" in info and f"{target.pid}  e2e_target" in info
    table = lib.livepatch("list", "-p", target.pid).out.splitlines()
    assert table[0].split() == ["ID", "STATE", "APPLIED", "WHAT", "WRITES", "MEMORY"]
    assert re.fullmatch(r" +1  applied +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  the example +2 +[\d.]+ KiB", table[1])
    for write in lib.listed(target.pid)["patches"][0]["writes"]:
        line, = [line for line in lib.livepatch("list", "-p", target.pid, "-v").out.splitlines() if write["address"] in line]
        assert f"{write['symbol']}: " in line and bytes.fromhex(write["new"]).hex(" ") in line


def test_what_another_process_calls_itself_does_not_reach_the_terminal(target):
    lib.apply(target.pid, lib.example_script(), "--name", os.fsdecode(b"\x1b]0;owned\x07\xc2\x9b2J\xff"))
    run = subprocess.run([lib.tool_path(), "list", "-p", str(target.pid)], capture_output=True)
    assert rb"\x1b]0;owned\x07" in run.stdout
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f-\xff]", run.stdout)
    answer = json.loads(subprocess.run([lib.tool_path(), "list", "-p", str(target.pid), "--json"], capture_output=True).stdout)
    assert answer["patches"][0]["name"].startswith("\x1b]0;owned\x07") and "\ufffd" in answer["patches"][0]["name"]


def test_all_processes_lists_the_patched_ones_only():
    with lib.Victim(lib.compiled("e2e_target.c")) as patched, lib.Victim(lib.compiled("e2e_target.c")) as plain:
        lib.apply(patched.pid, lib.example_script())
        answer = lib.livepatch("list", "--all-processes", "--json").json
        pids = [p["pid"] for p in answer["processes"]]
        assert patched.pid in pids and plain.pid not in pids
        assert str(patched.pid) in lib.livepatch("list", "--all-processes").out


def test_a_patch_is_applied_also_when_the_answer_cannot_be_written(target):
    status, err = run_into("/dev/full", "apply", "-p", target.pid, script=lib.example_script())
    assert status == lib.DONE and "cannot write to standard output" in err
    assert len(lib.active_ids(target.pid)) == 1


# ---- the prompt, on a terminal

class Prompt:
    """livepatch -i on a pty; ask() sends a line and returns what appeared up to the next prompt."""

    MARK = r"livepatch \d+(?: \[\d+\])?> "

    def __init__(self, pid, state, **env):
        child, self.fd = pty.fork()
        if child == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", 24, 240, 0, 0))  # no line shall wrap
            os.environ.update(TERM="xterm", XDG_STATE_HOME=str(state), **env)
            os.execv(lib.tool_path(), ["livepatch", "-i", str(pid)])
        self.child = child
        self.text = ""
        self.greeting = self.until(self.MARK)
        assert "help lists what can be typed" in self.greeting

    def until(self, pattern):
        deadline = time.monotonic() + lib.PATIENCE
        while not (found := re.search(pattern, self.text)):
            ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{pattern!r} not in {self.text!r}"
            self.text += os.read(self.fd, 4096).decode(errors="replace")
        head, self.text = self.text[:found.start()], self.text[found.end():]
        return head

    def ask(self, line):
        """The echo of the line ends at its newline; the answer ends at the next prompt."""
        os.write(self.fd, line.encode() + b"\n")
        self.until("\n")
        return self.until(self.MARK).replace("\r", "")

    def press(self, keys, shows):
        os.write(self.fd, keys.encode())
        self.until(re.escape(shows))

    def close(self):
        os.write(self.fd, b"\x15quit\n")
        try:
            while os.read(self.fd, 4096):
                pass
        except OSError:
            pass  # EIO: the other side is closed
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])


@pytest.fixture
def prompt(target, tmp_path):
    running = Prompt(target.pid, tmp_path)
    yield running
    assert running.close() == 0


def test_the_prompt_collects_lines_shows_the_plan_applies_and_reverts(prompt, target):
    for line in lib.example_script().splitlines():
        assert prompt.ask(line) == ""
    assert prompt.ask("show").strip() == lib.example_script()
    assert "func_J" in prompt.ask("plan")
    assert lib.behaviour(target) == lib.OLD
    assert "patch 1 applied: 2 writes" in prompt.ask("apply")
    assert lib.behaviour(target) == lib.NEW
    assert re.search(r"1 +\S*applied", prompt.ask("list"))
    assert "patch 1 reverted" in prompt.ask("revert 1")
    assert lib.behaviour(target) == lib.OLD


def test_a_line_that_could_not_be_applied_is_refused_when_it_is_typed(prompt):
    assert "no_such_function" in prompt.ask("jmp no_such_function 0x1000")
    assert "prompt:1:" in prompt.ask("jmp func_J")
    assert "frob is neither an instruction nor a command" in prompt.ask("frob")
    assert "nothing is collected yet" in prompt.ask("apply")


def test_undo_removes_the_last_line_only(prompt):
    prompt.ask("set set_int int 2")
    prompt.ask("set str_P int64 0")
    assert prompt.ask("undo").strip() == "removed: set str_P int64 0"
    assert prompt.ask("show").strip() == "set set_int int 2"


def test_tab_completes_instructions_symbols_types_and_names_of_objects(prompt):
    prompt.press("j\t", shows="mp ")
    prompt.press("func_\t", shows="J ")
    prompt.press("\x15set str_P ad\t", shows="dr ")
    prompt.press("\x15", shows="\x1b[K")
    dl, *_ = lib.example_script().splitlines()
    prompt.ask(dl)
    prompt.press("jmp func_J $f\t", shows="oo:")
    prompt.press("patch_m\t", shows="essage ")


def test_control_c_drops_the_line_and_not_the_prompt(prompt):
    prompt.press("set set_", shows="set_")
    os.write(prompt.fd, b"\x03")
    prompt.until(Prompt.MARK)
    assert "nothing is collected yet" in prompt.ask("show")


def test_the_history_is_kept_for_its_owner_only(target, tmp_path):
    first = Prompt(target.pid, tmp_path)
    first.ask("set set_int int 77")
    first.close()
    history = tmp_path / "livepatch" / "history"
    assert history.stat().st_mode & 0o777 == 0o600 and history.parent.stat().st_mode & 0o777 == 0o700
    second = Prompt(target.pid, tmp_path)
    second.press("\x1b[A\x1b[A", shows="set set_int int 77")
    second.close()


def test_a_history_that_is_a_symbolic_link_is_left_alone(target, tmp_path):
    victim_file = tmp_path / "precious"
    victim_file.write_text("precious")
    (tmp_path / "livepatch").mkdir()
    (tmp_path / "livepatch" / "history").symlink_to(victim_file)
    running = Prompt(target.pid, tmp_path)
    running.ask("help")
    assert running.close() == 0
    assert victim_file.read_text() == "precious"


def test_the_prompt_reads_a_pipe_until_the_first_mistake(target):
    result = lib.livepatch("-i", target.pid, script="set set_int int 2\nset nothing_here int 3\napply\n", expect=lib.REFUSED)
    assert "nothing_here" in result.err and not lib.active_ids(target.pid)
    assert "patch 1 applied: 1 write," in lib.livepatch("-i", target.pid, script="set set_int int 2\napply\n").out


def test_colours_are_for_terminals_that_want_them(target, tmp_path):
    coloured = Prompt(target.pid, tmp_path)
    assert "\x1b[31mlivepatch:" in coloured.ask("undo")
    coloured.close()
    plain = Prompt(target.pid, tmp_path, NO_COLOR="1")
    assert "\x1b[31m" not in plain.ask("undo")
    plain.close()
    assert "\x1b" not in lib.livepatch("list", "-p", target.pid).out
