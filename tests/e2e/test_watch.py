"""livepatch watch: the patches of a store in every process they fit, present and to come."""
import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

import lib
import libcare
from lib import DONE, REFUSED, USAGE, Victim, livepatch
from libcare import watching


@pytest.fixture
def program():
    return libcare.program()


@pytest.fixture
def store(program):
    store = libcare.store()
    libcare.put(store, libcare.answering("new", program, id="0001"))
    return store


@pytest.fixture(params=["events", "polling"])
def how(request):
    """Told by the kernel, or looking."""
    if request.param == "polling":
        return ["--poll", "0.1"]
    with watching(libcare.store()) as event:
        if event.by != "events":
            pytest.skip("the kernel tells of processes only with CAP_NET_ADMIN in its first namespaces")
    return []


# ---- once

def test_once_patches_those_who_run(program, store):
    with Victim(program) as v, Victim(program) as w:
        said = livepatch("watch", store, "--once").out
        for victim in (v, w):
            assert f"process {victim.pid} (e2e_kpatch): 0001 applied, 1 object, paused for" in said
            assert victim.ask("answer 1") == "new 1"
        assert livepatch("watch", store, "--once").out == ""


def test_once_in_json(program, store):
    with Victim(program) as v:
        events = [json.loads(line) for line in livepatch("watch", store, "--once", "--json").out.splitlines()]
        assert events[0]["event"] == "watching" and events[0]["store"] == str(store)
        mine = next(e for e in events if e.get("pid") == v.pid)
        assert mine["event"] == "patched" and mine["ids"] == "0001" and mine["objects"] == 1
        assert mine["pause_us"] >= 0 and mine["time"] > 0


def test_once_tells_of_a_refusal_and_goes_on(program, store):
    with Victim(program) as a, Victim(program) as b:
        tracer = subprocess.Popen(["strace", "-f", "-o", "/dev/null", "-p", str(a.pid)], stderr=subprocess.DEVNULL)
        try:
            lib.wait_for(lambda: lib.traced(a.pid), "strace to attach")
            result = livepatch("watch", store, "--once", expect=REFUSED)
            assert "traced by" in result.err
            assert b.ask("answer 1") == "new 1"
        finally:
            tracer.kill()
            tracer.wait()


def test_it_wants_a_store_that_is_one_and_that_can_be_trusted(store):
    assert "needs an operand" in livepatch("watch", expect=USAGE).err
    assert "cannot open" in livepatch("watch", "/nowhere", "--once", expect=REFUSED).err
    store.chmod(0o777)
    answer = livepatch("watch", store, "--once", "--json", expect=REFUSED).json
    assert answer["error"]["code"] == "untrusted"


# ---- nobody to look at

def as_a_stranger():
    """A user who has no process of his own."""
    uid = 100000 + os.getpid()
    return uid, ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all"]


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed, which root alone can be")
def test_once_tells_that_it_may_look_at_nobody(program, store):
    _, wrap = as_a_stranger()
    with Victim(program) as v:
        result = livepatch("watch", store, "--once", wrap=wrap, expect=REFUSED)
        assert result.out == ""
        assert result.err.count("no process can be looked at") == 1
        assert "run this as root (CAP_SYS_PTRACE)" in result.err
        assert v.ask("answer 1") == "old one"


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed, which root alone can be")
def test_that_it_may_look_at_nobody_is_told_once_and_the_watch_goes_on(program, store):
    uid, wrap = as_a_stranger()
    with watching(store, "--poll", "0.1", wrap=wrap) as event:
        error = event("blind")["error"]
        assert error["code"] == "permission" and f"we are user {uid}" in error["message"]
        with Victim(program, user=uid, group=uid) as v:
            event("patched", v.pid)
        assert [e["event"] for e in event.seen] == ["watching", "blind", "patched"]


def test_memory_that_may_not_be_read_is_nobody_to_look_at(program, store):
    """Where yama guards memory, maps can be read all the same."""
    guard = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=process_vm_readv", "-e",
             "inject=process_vm_readv:error=EPERM"]
    with Victim(program):
        assert "kernel.yama.ptrace_scope" in livepatch("watch", store, "--once", wrap=guard, expect=REFUSED).err


# ---- going on

def test_present_and_future_processes_are_patched(program, store, how):
    with Victim(program) as v:
        with watching(store, *how) as event:
            said = event("patched", v.pid)
            assert said["ids"] == "0001"
            assert v.ask("answer 1") == "new 1"
            with Victim(program) as later:
                event("patched", later.pid)
                assert later.ask("answer 1") == "new 1"
        assert v.ask("answer 1") == "new 1", "the end of the watch is not the end of the patch"
        assert event.process.returncode == 0


def test_a_patch_that_comes_later_goes_to_those_who_run(program, how):
    store = libcare.store()
    with Victim(program) as v, watching(store, *how) as event:
        libcare.put(store, libcare.answering("new", program, id="0001"))
        event("patched", v.pid)
        assert v.ask("answer 1") == "new 1"


def test_a_higher_level_that_comes_later(program, how):
    store = libcare.store()
    libcare.put(store, libcare.answering("one", program, id="L1"), level=1)
    with Victim(program) as v, watching(store, *how) as event:
        assert event("patched", v.pid)["ids"] == "L1"
        libcare.put(store, libcare.answering("two", program, id="L2"), level=2)
        assert event("patched", v.pid)["ids"] == "L2"
        assert v.ask("answer 1") == "two 1"


def test_a_process_that_executes_the_program_anew_is_patched_anew(program, store, how):
    source = lib.source_file("""
#include <string.h>
#include "e2e_serve.h"
PATCHED int answer(int n, char *out, size_t size) { return snprintf(out, size, "old %d", n); }
static char **again;
static void request(char *line)
{
	char out[64];
	if (!strcmp(line, "exec"))
		execv(again[0], again);
	answer(1, out, sizeof out);
	say("%s", out);
}
int main(int argc, char **argv) { again = argv; serve(request); }
""", "again.c")
    program = lib.compiled(str(source))
    libcare.put(store, libcare.answering("new", program, id="again"))
    with Victim(program) as v, watching(store, *how) as event:
        event("patched", v.pid)
        assert v.ask() == "new 1"
        v.send("exec")
        assert v.line() == "ready"
        event("patched", v.pid)
        assert v.ask() == "new 1"


def test_a_patch_that_was_taken_out_by_hand_stays_out(program, store, how):
    with Victim(program) as v, watching(store, *how) as event:
        event("patched", v.pid)
        lib.revert(v.pid)
        with Victim(program) as later:
            event("patched", later.pid)
        assert v.ask("answer 1") == "old one"


def test_a_refusal_that_may_pass_is_tried_again(program, store, how):
    with Victim(program) as v:
        tracer = subprocess.Popen(["strace", "-f", "-o", "/dev/null", "-p", str(v.pid)], stderr=subprocess.DEVNULL)
        try:
            lib.wait_for(lambda: lib.traced(v.pid), "strace to attach")
            with watching(store, *how) as event:
                said = event("refused", v.pid)
                assert said["error"]["code"] == "traced"
                assert said["again_ms"] == 1000
                assert event("refused", v.pid)["again_ms"] == 2000
                tracer.kill()
                tracer.wait()
                event("patched", v.pid)
                assert v.ask("answer 1") == "new 1"
        finally:
            tracer.kill()
            tracer.wait()


def test_a_refusal_for_good_is_not_tried_again_until_the_store_changes(program, how):
    """A patch that was made for other code: the build-id is right, the bytes are not."""
    store = libcare.store()

    good = libcare.answering("new", program, id="0001")
    data = bytearray(Path(good).read_bytes())
    code = libcare.kpatchlib.Elf(program)
    answer = code.symbol("answer")
    body = code.bytes_at(answer.value, answer.size)
    at = data.index(body)
    data[at + len(body) - 1] ^= 0xff
    bad = lib.scratch_directory() / "bad.kpatch"
    bad.write_bytes(data)
    libcare.put(store, bad)
    with Victim(program) as v, Victim(program) as other:
        with watching(store, *how) as event:
            seen = {event("refused")["pid"], event("refused")["pid"]}
            assert seen == {v.pid, other.pid}
            with Victim(program) as later:
                # Were the first two tried again, their refusals would come before that of one who begins now.
                refused = event("refused")
                assert (refused["pid"], refused["again_ms"]) == (later.pid, None)
                assert refused["error"]["code"] == "not-original"
            libcare.put(store, good)
            event("patched", v.pid)
            assert v.ask("answer 1") == "new 1"


def test_a_store_that_others_may_write_is_not_used_until_it_is_right_again(program, store, how):
    with watching(store, *how) as event:
        errors = libcare.Lines(event.process.stderr.fileno())
        store.chmod(0o777)
        assert "may be written by others" in errors.next()
        with Victim(program) as v:
            assert v.ask("answer 1") == "old one"
            store.chmod(0o755)
            event("patched", v.pid)
            assert v.ask("answer 1") == "new 1"


def test_a_child_of_fork_has_its_parents_patch_and_no_second_one(store, how):
    program = lib.compiled("e2e_fork.c")
    store = libcare.store()
    libcare.put(store, libcare.kpatchlib.make('const char *func_J(int n) { return "patched"; }', program, id="J"))
    with Victim(program) as v, watching(store, *how) as event:
        event("patched", v.pid)
        child = int(v.ask("fork"))
        assert v.ask("child call") == "patched"
        with Victim(program) as later:
            event("patched", later.pid)  # what there was to say of the child would have come before
            assert [e["pid"] for e in event.seen if e["event"] != "watching"] == [v.pid, later.pid]
        assert lib.active_ids(child) == [1]


@pytest.mark.skipif(os.geteuid() != 0, reason="a process of another user is needed, which root alone can make")
def test_the_processes_of_one_user_do_not_keep_those_of_others_waiting(program, store, how):
    gate = lib.scratch_directory() / "gate"
    os.mkfifo(gate)
    door = os.open(gate, os.O_RDWR)
    libcare.script(store / "before", f'[ "$(sed -n "s/^Uid:.//p" /proc/$1/status | cut -f1)" != 65534 ] || read line < "{gate}"\n')
    with ExitStack() as stack:
        theirs = [stack.enter_context(Victim(program, user=65534, group=65534)) for _ in range(6)]
        with watching(store, *how) as event, Victim(program) as mine:
            event("patched", mine.pid)
            assert {e["pid"] for e in event.seen if e["event"] == "patched"} == {mine.pid}
            os.write(door, b"\n" * len(theirs))
            waiting = {v.pid for v in theirs}
            while waiting:
                waiting.discard(event("patched")["pid"])
    os.close(door)


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed, which root alone can be")
def test_once_waits_for_those_whose_user_has_had_his_share(program, store):
    """Two of a user's processes are patched at a time; the others come after them, not never."""
    with ExitStack() as stack:
        his = [stack.enter_context(Victim(program, user=65534)) for _ in range(5)]
        livepatch("watch", store, "--once")
        assert [v.ask("answer 1") for v in his] == ["new 1"] * 5


def silent(**popen):
    return Victim(lib.compiled("e2e_silent.c"), **popen)


@pytest.mark.skipif(os.geteuid() != 0, reason="a page that nobody brings needs root's userfaultfd")
def test_a_process_whose_memory_does_not_answer_keeps_nobody_waiting(program, store, how):
    """The first page of a library of his never comes, as from a file system whose server is gone."""
    with silent() as s, watching(store, *how) as event, Victim(program) as v:
        error = event("refused", s.pid)["error"]
        assert error["code"] == "timeout" and "does not answer" in error["message"]
        if v.ask("answer 1") != "new 1":
            assert event("patched", v.pid)
        assert s.ask("still") == "alive still"
        event.process.terminate()
        assert event.process.wait(lib.PATIENCE) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="a page that nobody brings needs root's userfaultfd")
def test_once_tells_of_a_process_whose_memory_does_not_answer_and_goes_on(program, store):
    with silent() as s, Victim(program) as v:
        result = livepatch("watch", store, "--once", expect=REFUSED)
        assert f"process {s.pid} could not be looked at" in result.err
        assert v.ask("answer 1") == "new 1"
        lib.wait_for(lambda: not any(str(store) in line for line in command_lines()), "the child that looked to end")


def command_lines():
    """What runs now."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(entry.read_text(errors="replace"))
    return lines


def test_a_worker_that_is_killed_is_told_of_and_its_process_tried_again(program, store, how):
    once = store / "once"
    libcare.script(store / "before", f"[ -e '{once}' ] && exit 0; : > '{once}'; kill -9 $PPID\n")
    with Victim(program) as v, watching(store, *how) as event:
        said = event("refused", v.pid)
        assert said["error"]["code"] == "unfinished" and "was lost (Killed)" in said["error"]["message"]
        event("patched", v.pid)
        assert v.ask("answer 1") == "new 1"


def test_what_watching_costs(program, store, how):
    """While nothing happens: less than 2 % of one CPU."""
    with watching(store, *how) as event, Victim(program) as v:
        event("patched", v.pid)
        fields = Path(f"/proc/{event.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        assert int(fields[11]) + int(fields[12]) < 100 * os.sysconf("SC_CLK_TCK") // 100


def test_livepatchd_is_the_watch_by_another_name(program, store):
    daemon = lib.scratch_directory() / "livepatchd"
    daemon.symlink_to(lib.tool_path())
    with Victim(program) as v:
        said = subprocess.run([daemon, store, "--once"], capture_output=True, text=True)
        assert said.returncode == DONE and f"process {v.pid} (e2e_kpatch): 0001 applied" in said.stdout
        assert v.ask("answer 1") == "new 1"
    assert subprocess.run([daemon], capture_output=True).returncode == USAGE


# ---- as a service

UNITS = lib.TOP / "packaging" / "systemd"


def unit(name, key):
    line = next(line for line in (UNITS / name).read_text().splitlines() if line.startswith(key + "="))
    return line.split("=", 1)[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="the service is root's, and a process of another user is patched")
def test_the_rights_that_the_unit_leaves_are_enough(store):
    program = libcare.program()
    kept = ",".join("+" + word[4:].lower() for word in unit("livepatchd.service", "CapabilityBoundingSet").split())
    other = Victim(program, user=65534, group=65534)
    wrap = ["setpriv", "--bounding-set", f"-all,{kept}", "--no-new-privs"]
    with other as v, watching(store, wrap=wrap) as event:
        assert event.by == "events"
        event("patched", v.pid)
        assert v.ask("answer 1") == "new 1"


def test_the_service_manager_is_told_when_it_is_ready(store):
    import socket
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        path = lib.scratch_directory() / "notify"
        s.bind(str(path))
        s.settimeout(lib.PATIENCE)
        with watching(store, env={"NOTIFY_SOCKET": str(path)}):
            assert s.recv(100) == b"READY=1"


def test_the_units_are_understood_by_the_service_manager(tmp_path):
    for path in UNITS.iterdir():
        text = path.read_text().replace("@bindir@/livepatch", str(lib.tool_path())).replace(
            "@bindir@/libcare-server", str(libcare.path_of("libcare-server")))
        (tmp_path / path.name).write_text(text)
    try:
        said = subprocess.run(["systemd-analyze", "verify", "--man=no", *map(str, tmp_path.iterdir())], capture_output=True,
                              text=True)
    except FileNotFoundError:
        pytest.skip("systemd is not installed")
    mine = [line for line in said.stderr.splitlines() if any(p.name in line for p in UNITS.iterdir())]
    assert mine == [] and said.returncode == 0, said.stderr
