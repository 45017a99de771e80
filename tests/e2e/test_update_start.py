"""auto_update: the start of a program never waits for the network, and the next one tells."""
import os
import subprocess
import threading
from contextlib import suppress

import pytest

import lib
import release_server
import updatelib
from release_server import Limit
from updatelib import Machine, release, serving

DAY = 86400


def start(machine, **how):
    """The runner with a program in it, which ends with 7; nobody sees what it says."""
    result = machine.run(updatelib.guest(), by="arm64_runner", **how)
    assert result.status == 7 and result.err == "", result
    return result


def told(machine):
    """The same for a person: what is said on the terminal, and what on standard output."""
    ours, theirs = os.openpty()
    done = subprocess.run(machine.command(updatelib.guest(), by="arm64_runner"), env=machine.environment, cwd=machine.work, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=theirs, timeout=lib.PATIENCE)
    os.close(theirs)
    said = b""
    with suppress(OSError):  # EIO: all of it is read
        while data := os.read(ours, 4096):
            said += data
    os.close(ours)
    assert (done.returncode, done.stdout) == (7, b""), done
    return said.decode()


def looked(machine):
    """The check in the background has written down what it found."""
    files = (machine.state / "arm64_runner").glob("updates.*")
    return any(line.startswith("checked ") and line != "checked 0" for path in files if path.is_file() for line in text_of(path).splitlines())


def text_of(path):
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""  # a draft that has got its name


def start_and_look(machine, server):
    """A start that asks, and the end of what it left in the background."""
    before = len(server.index_requests)
    result = start(machine)
    lib.wait_for(lambda: len(server.index_requests) > before and looked(machine), "the check in the background")
    lib.wait_for(lambda: not running_from(machine), "its end")
    return result


def running_from(machine):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/exe").startswith(str(machine.bin)):
                found.append(pid)
        except OSError:
            pass
    return found


@pytest.mark.parametrize("value", ["true", "yes", "1", "on"])
def test_the_next_start_tells_of_a_newer_release(value):
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server, auto_update=value)
        start_and_look(machine, server)
        said = told(machine)
        assert "0.2.0" in said and "--update" in said and said.count("\n") == 1
        assert machine.version == "0.1.0", "it only tells"
        assert told(machine) == "", "and once"


def test_without_it_nobody_is_asked():
    with serving(release("0.2.0")) as server:
        for settings in ({}, {"auto_update": "false"}, {"auto_update": "0"}):
            machine = Machine("0.1.0", server, **settings)
            start(machine)
            assert not running_from(machine) and not (machine.state / "arm64_runner").exists()
        assert not server.requests


def test_the_bare_line_of_the_original_is_understood():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        text = machine.conf.read_text()
        machine.conf.write_text("auto_update=1\n" + text)
        start_and_look(machine, server)
        assert "0.2.0" in told(machine)


def test_a_file_with_nothing_but_the_bare_line_starts_programs():
    machine = Machine("0.1.0")
    machine.conf.write_text("auto_update=1\n")
    start(machine)
    assert "repository" in told(machine)


def test_a_start_does_not_wait_for_a_server_that_hangs():
    """The program has ended, and its standard output and error are closed, while the server still holds the check."""
    with serving(release("0.2.0")) as server:
        server.hangs = True
        machine = Machine("0.1.0", server, auto_update="true")
        start(machine)
        assert server.asked.wait(lib.PATIENCE)
        assert not server.ends.is_set()
        start(machine)
    lib.wait_for(lambda: not running_from(machine), "the end of the check")


def test_the_check_lives_on_in_nobodys_session_and_nobodys_folder():
    """Whoever waits for the program's process group, closes the terminal, or unmounts the folder, neither waits for the check nor ends it."""
    with serving(release("0.2.0")) as server:
        server.hangs = True
        machine = Machine("0.1.0", server, auto_update="true")
        start(machine)
        assert server.asked.wait(lib.PATIENCE)
        pids = running_from(machine)
        assert pids
        for pid in pids:
            assert os.getsid(int(pid)) != os.getsid(0)
            assert os.readlink(f"/proc/{pid}/cwd") == "/"
            assert not {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)} - {"/dev/null"}
    lib.wait_for(lambda: not running_from(machine), "the end of the check")


def test_the_program_has_no_child_that_it_did_not_make():
    """A guest that waits for all of its children would wait for ours, or be told of one that it does not know."""
    with serving(release("0.2.0")) as server:
        server.hangs = True
        machine = Machine("0.1.0", server, auto_update="true")
        with subprocess.Popen([machine.program, "--gdb", machine.home / "gdb", updatelib.guest()], env=machine.environment, cwd=machine.work,
                              stderr=subprocess.PIPE) as runner:
            assert server.asked.wait(lib.PATIENCE)
            lib.wait_for(lambda: [pid for pid in running_from(machine) if int(pid) != runner.pid], "the check")
            assert open(f"/proc/{runner.pid}/task/{runner.pid}/children").read() == ""
            runner.kill()
    lib.wait_for(lambda: not running_from(machine), "the end of the check")


def test_once_in_an_interval():
    with serving(release("0.1.0")) as server:
        machine = Machine("0.1.0", server, auto_update="true")
        start_and_look(machine, server)
        for _ in range(3):
            start(machine)
        lib.wait_for(lambda: not running_from(machine), "the end of all")
        assert len(server.index_requests) == 1
        machine.wait(DAY - 3600)
        start(machine)
        lib.wait_for(lambda: not running_from(machine), "the end of all")
        assert len(server.index_requests) == 1
        machine.wait(3600 + 60)
        start_and_look(machine, server)
        assert len(server.index_requests) == 2


def test_the_interval_can_be_set():
    with serving(release("0.1.0")) as server:
        machine = Machine("0.1.0", server, auto_update="true", interval="2h")
        start_and_look(machine, server)
        machine.wait(3600)
        start(machine)
        lib.wait_for(lambda: not running_from(machine), "the end of all")
        assert len(server.index_requests) == 1
        machine.wait(3600 + 60)
        start_and_look(machine, server)
        assert len(server.index_requests) == 2


def test_many_starts_at_once_ask_once():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server, auto_update="true")
        threads = [threading.Thread(target=start, args=[machine]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lib.wait_for(lambda: looked(machine) and not running_from(machine), "the checks")
        assert len(server.index_requests) == 1


def test_a_limit_is_kept_also_by_starts():
    with serving(release("0.2.0")) as server:
        server.limited = Limit(429, retry_after=2 * 3600)
        machine = Machine("0.1.0", server, auto_update="true", interval="1h")
        start_and_look(machine, server)
        machine.wait(3600 + 60)
        start(machine)
        lib.wait_for(lambda: not running_from(machine), "the end of all")
        assert len(server.index_requests) == 1


def test_no_network_is_no_word():
    """A machine that is never on the network is not told so each day."""
    holder, port = release_server.closed_port()
    with holder:
        machine = Machine("0.1.0", url=f"https://127.0.0.1:{port}", auto_update="true")
        for _ in range(3):
            assert told(machine) == ""
            lib.wait_for(lambda: not running_from(machine), "the end of the check")


def test_up_to_date_is_no_word():
    with serving(release("0.1.0")) as server:
        machine = Machine("0.1.0", server, auto_update="true")
        start_and_look(machine, server)
        assert told(machine) == ""


def test_after_the_update_nothing_is_told():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server, auto_update="true")
        start_and_look(machine, server)
        machine.update()
        assert told(machine) == ""


def test_scripts_are_told_nothing_and_the_word_waits_for_a_person():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server, auto_update="true")
        start_and_look(machine, server)
        start(machine)
        assert "0.2.0" in told(machine)


def test_a_home_that_cannot_be_written_starts_programs():
    machine = Machine("0.1.0", url="https://127.0.0.1:1", auto_update="true")
    machine.state.rmdir()
    machine.state.write_text("no folder")
    start(machine)
    start(machine, env={"HOME": "", "XDG_STATE_HOME": ""})


def test_a_missing_module_starts_programs():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server, auto_update="true")
        (machine.bin / "update_module").unlink()
        start(machine)


@pytest.mark.parametrize("mode", [0o666, 0o644], ids=["writable by others", "ones own, unpacked from somewhere"])
def test_a_configuration_in_a_hostile_folder_makes_nobody_ask_its_server(mode):
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0")
        path = machine.work / "arm64runner.conf"
        path.write_text(f"[update]\nauto_update = true\nurl = {server.url}\nca_file = {server.certificate.authority}\n"
                        f"repository = {updatelib.REPOSITORY}\nkeys = {updatelib.key('somebody').public}\n")
        path.chmod(mode)
        machine.configure(url="https://127.0.0.1:1")
        assert machine.run(updatelib.guest(), by="arm64_runner").status == 7
        lib.wait_for(lambda: not running_from(machine), "the end of all")
        assert not server.requests
