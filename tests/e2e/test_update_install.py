"""The programs in their place: one version before is kept, what does not work goes back, nobody gets in anybody's way."""
import os
import subprocess
from contextlib import contextmanager

import pytest

import lib
import updatelib
from terminal import Terminal
from updatelib import PROGRAMS, REFUSED, Machine, entry, pack, release, resigned, serving, tar_of

TOP = "arm64_runner-0.2.0"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


def with_program(text, module=None):
    """The release 0.2.0 whose arm64_runner is a script; signed as it should be."""
    entries = [(info, data) for info, data in tar_of("0.2.0") if info.name != f"{TOP}/arm64_runner"]
    return resigned("0.2.0", pack([*entries, entry(f"{TOP}/arm64_runner", text.encode(), mode=0o755)]))


# ---- one version before

def test_rollback_brings_the_one_before_and_again_the_newer():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        machine.update()
        for expected in ("0.1.0", "0.2.0", "0.1.0"):
            said = machine.update("--rollback")
            assert machine.version == expected
            assert expected in said.out + said.err
            assert machine.run("--version").out == f"update_module {expected}\n"


@pytest.mark.parametrize("by", PROGRAMS)
def test_rollback_needs_no_network(by):
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        machine.update()
    machine.configure(url="https://127.0.0.1:1", keys=None)
    machine.update("--rollback", by=by)
    assert machine.version == "0.1.0"


def test_without_one_before_rollback_is_refused():
    Machine("0.1.0").refuses("earlier", "arm64_runner", options=["--rollback"])


def test_exactly_one_is_kept():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        machine.update()
        row = release("0.3.0")
        server.publish(row.entry, row.files)
        machine.update()
        machine.update("--rollback")
        assert machine.version == "0.2.0"
        assert machine.is_tidy()


def test_after_an_update_nothing_else_is_left():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        machine.update()
        assert machine.is_tidy()
        assert sorted(path.name for path in machine.home.iterdir()) == ["bin", "config", "state", "work"]
        assert not list(machine.work.iterdir())


@pytest.mark.parametrize("mode", [0o755, 0o700, 0o555])
def test_the_new_one_may_be_run_by_whom_the_old_one_could(mode):
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        machine.program.chmod(mode)
        machine.update()
        assert machine.program.stat().st_mode & 0o7777 == mode


def test_a_link_to_the_program_stays_one():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        link = machine.work / "runner"
        link.symlink_to(machine.program)
        machine.update("--program", link)
        assert link.is_symlink() and machine.version == "0.2.0"


def test_a_program_that_is_running_goes_on():
    """Its file keeps what it has; only the name leads to another."""
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        reader, writer = os.pipe()
        running = subprocess.Popen([machine.program, "--gdb", machine.home / "gdb", updatelib.guest()], stdin=reader, stderr=subprocess.DEVNULL)
        try:
            lib.wait_for((machine.home / "gdb").exists, "the runner")
            said = machine.update()
            assert machine.version == "0.2.0"
            assert running.poll() is None
            assert "1 running runner was told" in said.out
            assert os.readlink(f"/proc/{running.pid}/exe") != str(machine.program)
        finally:
            running.kill()
            running.wait()
            os.close(reader)
            os.close(writer)


# ---- the new one on trial

SAYS_ITS_VERSION = '#!/bin/sh\n[ "$1" != --version ] || { echo "arm64_runner 0.2.0"; exit 0; }\n'


@pytest.mark.parametrize("text, words", [
    ("#!/bin/sh\nexit 3\n", ["status 3"]),
    ("#!/bin/sh\nkill -SEGV $$\n", ["SEGV"]),
    ("#!/nonexistent/interpreter\n", ["arm64_runner"]),
    ("", ["arm64_runner"]),
    ("no program", ["arm64_runner"]),
    ("#!/bin/sh\necho arm64_runner 0.1.9\n", ["0.1.9", "0.2.0"]),
    ("#!/bin/sh\necho something else\n", ["does not say a version"]),
    (SAYS_ITS_VERSION + "exit 4\n", ["status 4"]),
])
def test_a_program_that_does_not_work_is_not_installed(text, words):
    with serving(with_program(text)) as server:
        machine = Machine("0.1.0", server)
        machine.refuses(*words)
        assert machine.version == "0.1.0"


def test_a_program_that_does_not_end_is_killed_with_all_that_it_started():
    numbers = lib.scratch_directory() / "pids"
    with serving(with_program(f"#!/bin/sh\nsleep 1000 & echo $! $$ >{numbers}; sleep 1000\n")) as server:
        Machine("0.1.0", server).refuses("did not end")
        pids = numbers.read_text().split()
        assert len(pids) == 2
        lib.wait_for(lambda: not any(lib.alive(pid) for pid in pids), "the end of what it started")


def test_a_program_that_works_on_trial_and_not_in_its_place_goes_back():
    """It is tried where it was unpacked, and once more where it will be run from."""
    text = SAYS_ITS_VERSION.replace("#!/bin/sh\n", '#!/bin/sh\ncase $0 in */.arm64_runner.update/*) ;; *) exit 5 ;; esac\n') + "exit 0\n"
    with serving(with_program(text)) as server:
        machine = Machine("0.1.0", server)
        machine.refuses("status 5")
        assert machine.version == "0.1.0"
        assert machine.run("--version").out == "update_module 0.1.0\n", "both went back"


def test_a_program_on_trial_gets_nothing_of_our_environment():
    marker = lib.scratch_directory() / "environment"
    with serving(with_program(f"#!/bin/sh\nenv >>{marker}\nexit 1\n")) as server:
        Machine("0.1.0", server).refuses(env={"SECRET_TOKEN": "hunter2", "LD_PRELOAD": ""})
        assert marker.exists() and "hunter2" not in marker.read_text()


def test_an_older_one_that_does_not_work_is_not_rolled_back_to():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        machine.update()
        (machine.ours / "previous" / "arm64_runner").write_text("#!/bin/sh\nexit 6\n")
        machine.refuses("status 6", options=["--rollback"])
        assert machine.version == "0.2.0"


# ---- whom the file belongs to

def test_a_folder_that_nobody_may_write_is_told():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        machine.bin.chmod(0o555)
        try:
            as_nobody(machine)
            machine.refuses(machine.bin, "not yours to write", wrap=unprivileged())
        finally:
            machine.bin.chmod(0o755)


def as_nobody(machine):
    if os.geteuid() == 0:
        for path in [machine.home, *machine.home.rglob("*")]:
            os.chown(path, 65534, 65534)


def unprivileged():
    """Root may write everywhere: as root, somebody else has to do it."""
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")
def test_a_folder_of_another_user_is_told():
    with serving(release("0.2.0")) as server:
        folder = lib.scratch_directory()
        machine = Machine("0.1.0", server, folder=folder)
        for path in [machine.home, *machine.home.rglob("*")]:
            os.chown(path, 65534, 65534)
        machine.refuses(folder, "not yours to write", wrap=unprivileged())


@needs_root
def test_a_folder_on_a_file_system_that_is_read_only_is_told():
    with serving(release("0.2.0")) as server, tmpfs(64 << 20) as folder:
        machine = Machine("0.1.0", server, folder=folder)
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        machine.refuses(folder)
        assert machine.version == "0.1.0"


def bound(what, where):
    """In a mount namespace of its own, where `what` stands at `where`."""
    return ["unshare", "--mount", "--", "sh", "-c", f'mount --bind {what} {where} && exec "$@"', "sh"]


@needs_root
@pytest.mark.parametrize("listed", PROGRAMS)
def test_a_file_that_a_package_brought_is_left_to_its_manager(listed):
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        lists = lib.scratch_directory()
        (lists / "arm64-runner.list").write_text(f"/.\n{machine.bin}\n{machine.bin / listed}\n")
        machine.refuses(machine.bin / listed, "arm64-runner", "apt", wrap=bound(lists, "/var/lib/dpkg/info"))
        assert not server.asked_for("/storage/")


def rpm_that_owns(path):
    """Its database, as rpm(8) writes it; nothing is installed."""
    folder = lib.scratch_directory()
    spec, database = folder / "emulator.spec", folder / "database"
    spec.write_text(f"Name: emulator\nVersion: 1\nRelease: 2\nSummary: s\nLicense: l\nBuildArch: noarch\n%description\n\n%install\n"
                    f"install -D -m755 /dev/null %{{buildroot}}{path}\n%files\n{path}\n")
    for command in (["rpmbuild", f"--define=_topdir {folder}", f"--define=_rpmdir {folder}", "-bb", spec],
                    ["rpm", "--dbpath", database, "-i", "--justdb", "--nodeps", folder / "noarch" / "emulator-1-2.noarch.rpm"]):
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "HOME": str(folder)})
    return database


@needs_root
@pytest.mark.parametrize("listed", PROGRAMS)
def test_a_file_that_rpm_brought_is_left_to_it(listed):
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        machine.refuses(machine.bin / listed, "emulator-1-2", "rpm", wrap=bound(rpm_that_owns(machine.bin / listed), "/var/lib/rpm"))
        assert not server.asked_for("/storage/")


# ---- no room

@contextmanager
def tmpfs(size):
    folder = lib.scratch_directory()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def used(folder):
    at = os.statvfs(folder)
    return (at.f_blocks - at.f_bfree) * at.f_frsize


@needs_root
@pytest.mark.parametrize("room", [0, 4096, 100_000, 0.5, 0.99], ids=["nothing", "a page", "a bit", "half of it", "nearly all"])
def test_a_full_disk_is_told_and_the_next_update_works(room):
    with serving(release("0.2.0")) as server, tmpfs(256 << 20) as folder:
        machine = Machine("0.1.0", server, folder=folder)
        needed = sum(len(updatelib.program("0.2.0", name)) for name in PROGRAMS)
        left = int(room * needed) if isinstance(room, float) else room
        subprocess.run(["mount", "-o", f"remount,size={used(folder) + left}", folder], check=True)
        machine.refuses("No space left on device")
        assert machine.version == "0.1.0"
        subprocess.run(["mount", "-o", f"remount,size={256 << 20}", folder], check=True)
        machine.update()
        assert machine.version == "0.2.0" and machine.is_tidy()


@needs_root
def test_a_place_to_remember_that_is_full_is_told():
    with serving(release("0.2.0")) as server, tmpfs(1 << 20) as folder:
        machine = Machine("0.1.0", server)
        machine.state = folder
        (folder / "filler").write_bytes(bytes(used_up(folder)))
        said = machine.run("--update")
        assert said.status == REFUSED and "No space left on device" in said.err, said
        assert machine.version == "0.1.0"


def used_up(folder):
    at = os.statvfs(folder)
    return at.f_bfree * at.f_frsize


# ---- two at once

def test_a_second_one_is_refused_while_the_first_is_at_work():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        archive = server.asset(".tar.gz")
        archive.hangs_after = 1000
        first = subprocess.Popen(machine.command("--update"), env=machine.environment, cwd=machine.work, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert archive.begun.wait(lib.PATIENCE)
            archive.hangs_after = None
            second = machine.update(expect=REFUSED)
            assert "another update" in second.err and str(machine.program) in second.err
        finally:
            first.kill()
            first.communicate()
        machine.update()
        assert machine.version == "0.2.0" and machine.is_tidy()


def test_many_at_once_end_with_one_whole_program():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        all_of_them = [subprocess.Popen(machine.command("--update"), env=machine.environment, cwd=machine.work, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True) for _ in range(6)]
        said = [(process.communicate(timeout=lib.PATIENCE)[1], process.returncode) for process in all_of_them]
        assert all(code == 0 or code == REFUSED and "another update" in text for text, code in said), said
        assert any(code == 0 for _, code in said)
        assert machine.version == "0.2.0" and machine.is_tidy()
        machine.update("--rollback")
        assert machine.version == "0.1.0", "the one before is not what the first of them had installed"


# ---- what is seen of it

def test_the_progress_is_for_terminals():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        with Terminal(*machine.command("--update"), env=machine.environment, cwd=machine.work) as terminal:
            assert terminal.ended() == 0
            assert "%" in terminal.raw.decode()
        assert machine.version == "0.2.0"


def test_where_there_is_no_terminal_there_is_no_progress():
    with serving(release("0.2.0")) as server:
        said = Machine("0.1.0", server).update()
        assert "%" not in said.out + said.err and "\r" not in said.out + said.err and "\x1b" not in said.out + said.err


def test_another_program_is_updated_when_it_is_named():
    with serving(release("0.2.0")) as server:
        machine, other = Machine("0.1.0", server), Machine("0.1.0", server)
        machine.update("--program", other.program)
        assert (machine.version, other.version) == ("0.1.0", "0.2.0")


def test_a_program_that_is_missing_is_named():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        said = machine.update("--program", machine.work / "nothing", expect=REFUSED)
        assert str(machine.work / "nothing") in said.err
