"""System calls of an emulated program: the same results as the machine's own, family by family (tests/guest/sys_*.c)."""
import re
import shutil
import subprocess

import pytest

import lib

GUEST = lib.TOP / "tests" / "guest"
RUNNER = lib.build_directory() / "src" / "tool" / "arm64_runner"
CROSS = "aarch64-linux-gnu-gcc"

pytestmark = [pytest.mark.skipif(not RUNNER.exists(), reason="arm64_runner is not built"),
              pytest.mark.skipif(not shutil.which(CROSS), reason=f"no {CROSS} here")]

FAMILIES = ["sys_files", "sys_sockets", "sys_events", "sys_process", "sys_ipc", "sys_bad_pointers"]
# What qemu-aarch64 7.2 does not offer, or answers itself, by line; where it is silent here, all three say the same.
QEMU_DIFFERS = {
    "sys_files": "openat2",
    "sys_ipc": r"madvise|MAP_FIXED_NOREPLACE",
    "sys_process": r"^\d+$|^-1$|RLIMIT|restart_syscall|process_vm|^before$|^other$",
    "sys_bad_pointers": "^(clock_getres|clone3|epoll_pwait2|execveat|futex_waitv|get_robust_list|mincore|nanosleep|openat2|prlimit64|"
                        "process_vm_readv|readlinkat|waitid) ",
}


def compiled(name, compiler):
    program = lib.scratch_directory() / name
    subprocess.run([*compiler, "-O1", "-D_GNU_SOURCE", "-w", GUEST / f"{name}.c", "-o", program, "-pthread", "-lrt"], check=True)
    return program


@pytest.fixture(scope="module")
def native():
    return lambda name: compiled(name, ["cc"])


@pytest.fixture(scope="module")
def guest():
    return lambda name: compiled(name, [CROSS, "-static"])


def run(*command, status=0, **how):
    process = subprocess.run([*map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                             timeout=lib.PATIENCE, **how)
    assert process.returncode == status, f"{command}: {process.returncode}\n{process.stdout[-4000:]}{process.stderr[-4000:]}"
    return process


def without(text, pattern):
    return [line for line in text.splitlines() if not (pattern and re.search(pattern, line))]


# qemu-aarch64 7.2 hangs in a stack that overflows.
@pytest.mark.parametrize("family", [*FAMILIES, "sys_memory"])
def test_calls_have_the_results_that_they_have_natively(family, native, guest):
    assert run(RUNNER, guest(family)).stdout == run(native(family)).stdout


@pytest.mark.skipif(not shutil.which("qemu-aarch64"), reason="no qemu-aarch64 here")
@pytest.mark.parametrize("family", FAMILIES)
def test_calls_have_the_results_that_they_have_under_qemu(family, guest):
    program, differs = guest(family), QEMU_DIFFERS.get(family)
    assert without(run(RUNNER, program).stdout, differs) == without(run("qemu-aarch64", program).stdout, differs)


def test_calls_that_are_not_offered_are_refused(guest):
    lines = run(RUNNER, guest("sys_refused")).stdout.splitlines()
    assert len(lines) > 25
    assert [line for line in lines if "wanted" in line] == []


# ---- --strace

def traced(guest, name, *args, status=0):
    """Lines of the trace, without the thread's number."""
    return [line.partition(" ")[2] for line in run(RUNNER, "--strace", guest(name), *args, status=status).stderr.splitlines()]


def shown(lines, pattern):
    found = [line for line in lines if re.fullmatch(pattern, line)]
    assert found, f"no line is {pattern}\n" + "\n".join(lines)
    return found


def test_a_trace_names_files_flags_and_errors(guest):
    lines = traced(guest, "sys_files")
    shown(lines, r'openat\(AT_FDCWD, "file", O_RDWR\|O_CREAT\|O_EXCL, 0640\) += 3')
    shown(lines, r'openat\(AT_FDCWD, "file", O_RDWR\|O_CREAT\|O_EXCL, 0640\) += -1 EEXIST \(File exists\)')
    shown(lines, r'openat\(AT_FDCWD, "link", O_RDONLY\|O_NOFOLLOW\) += -1 ELOOP \(Too many levels of symbolic links\)')
    shown(lines, r'fcntl\(3, F_GETFL\) += \d+')
    shown(lines, r'write\(3, "hello, world\\n", 13\) += 13')
    shown(lines, r'newfstatat\(AT_FDCWD, "/dev/null", \{st_mode=S_IFCHR\|0666, st_rdev=0x103, \.\.\.\}, AT_SYMLINK_NOFOLLOW\) += 0')
    shown(lines, r'renameat2\(AT_FDCWD, "dir/renamed", AT_FDCWD, "dir/sub", RENAME_EXCHANGE\) += 0')
    shown(lines, r'writev\(3, \[\{iov_base="scatter", iov_len=7\}, \{iov_base="gather", iov_len=6\}\], 2\) += 13')
    shown(lines, r'pread64\(3, "sXYtt", 5, 0\) += 5')
    shown(lines, r'sendfile\(4, 3, \[7\], 4\) += 4')
    shown(lines, r'fcntl\(3, F_SETLK, \{l_type=F_WRLCK, l_whence=SEEK_SET, l_start=10, l_len=5\}\) += 0')
    shown(lines, r'pipe2\(\[3, 4\], O_NONBLOCK\|O_CLOEXEC\) += 0')
    shown(lines, r'close_range\(3, 4294967295, CLOSE_RANGE_CLOEXEC\) += 0')
    assert lines[-2:] == ["exit_group(0)                           = ?", "+++ exited with 0 +++"]


def test_a_trace_shows_addresses_of_sockets_and_what_is_waited_for(guest):
    lines = traced(guest, "sys_sockets")
    shown(lines, r'socketpair\(AF_UNIX, SOCK_STREAM\|SOCK_CLOEXEC, 0, \[3, 4\]\) += 0')
    shown(lines, r'connect\(\d, \{sa_family=AF_INET, sin_port=htons\(\d+\), sin_addr=inet_addr\("127\.0\.0\.1"\)\}, 16\) += 0')
    shown(lines, r'sendto\(3, "letter", 6, 0, \{sa_family=AF_UNIX, sun_path="two"\}, 110\) += 6')
    shown(lines, r'getsockopt\(3, IPPROTO_TCP, TCP_NODELAY, \[1\], \[4\]\) += 0')
    lines = traced(guest, "sys_events")
    shown(lines, r'ppoll\(\[\{fd=3, events=POLLIN, revents=POLLIN\}, \{fd=4, events=POLLOUT, revents=POLLOUT\}\], 2, NULL, NULL, 0\) += 2'
                 r'|ppoll\(\[\{fd=3, events=POLLIN, revents=POLLIN\}, \{fd=4, events=POLLOUT, revents=POLLOUT\}\], 2, NULL, NULL, 8\) += 2')
    shown(lines, r'epoll_ctl\(3, EPOLL_CTL_ADD, 4, \{events=EPOLLIN\|EPOLLET, data=0x1122334455667788\}\) += 0')
    shown(lines, r'rt_sigprocmask\(SIG_BLOCK, \[SIGUSR1\], NULL, 8\) += 0')


def test_a_trace_shows_signals_and_restarts(guest):
    lines = traced(guest, "sys_process")
    shown(lines, r'--- SIGALRM \{si_signo=SIGALRM, si_code=SI_KERNEL\} ---')
    shown(lines, r'read\(3, 0x[0-9a-f]+, 1\) += \? ERESTARTSYS \(To be restarted if SA_RESTART is set\)')
    shown(lines, r'wait4\(\d+, \[\{WIFEXITED\(s\) && WEXITSTATUS\(s\) == 42\}\], 0, NULL\) += \d+')
    shown(lines, r'prlimit64\(0, RLIMIT_AS, \{rlim_cur=1073741824\*1024, rlim_max=RLIM64_INFINITY\}, NULL\) += 0')


def test_a_trace_goes_to_a_file_that_the_program_cannot_close(guest, tmp_path):
    trace = tmp_path / "trace"
    process = run(RUNNER, "--strace-file", trace, guest("sys_files"))
    assert process.stderr == ""
    text = trace.read_text()
    assert "close_range(3, 4294967295, 0)" in text and text.endswith("+++ exited with 0 +++\n")


# ---- what the runner keeps for itself

def test_limits_of_memory_do_not_strangle_the_runner(guest, tmp_path):
    source = tmp_path / "limits.c"
    source.write_text("""
        #include <pthread.h>
        #include <stdio.h>
        #include <sys/resource.h>
        static void *run(void *arg) { return arg; }
        int main(void)
        {
            struct rlimit small = {1 << 20, 1 << 20}, now;
            pthread_t thread;
            if (setrlimit(RLIMIT_AS, &small) || setrlimit(RLIMIT_DATA, &small) || setrlimit(RLIMIT_STACK, &small))
                return 1;
            for (int i = 0; i < 20; i++)
                if (pthread_create(&thread, NULL, run, NULL) || pthread_join(thread, NULL))
                    return 2;
            getrlimit(RLIMIT_AS, &now);
            printf("%ld %ld\\n", (long)now.rlim_cur, (long)now.rlim_max);
            return 0;
        }""")
    program = tmp_path / "limits"
    subprocess.run([CROSS, "-static", "-O1", source, "-o", program, "-pthread"], check=True)
    assert run(RUNNER, program).stdout == "1048576 1048576\n"


# ---- -L

@pytest.fixture(scope="module")
def paths(guest):
    return guest("sys_paths")


@pytest.fixture
def sysroot(tmp_path):
    root = tmp_path / "sysroot"
    for name in ("etc", "opt/own", "usr/bin", "tmp"):
        (root / name).mkdir(parents=True)
    (root / "etc/own").write_text("of the sysroot")
    (root / "etc/hostname").write_text("renamed by the sysroot")
    (root / "opt/own/file").write_text("deep")
    (root / "opt/own/absolute").symlink_to("/etc/own")
    (root / "opt/own/relative").symlink_to("../../etc/own")
    (root / "opt/own/dangling").symlink_to("/opt/own/missing")
    return root


def says(sysroot, paths, *words):
    return run(RUNNER, "-L", sysroot, paths, *words).stdout.splitlines()


def test_files_of_the_sysroot_are_seen_in_place_of_the_machines(sysroot, paths, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("of the machine")
    assert says(sysroot, paths, "cat:/etc/own", "cat:/etc/hostname", f"cat:{mine}", "cat:/etc/none", "cat:/opt/own/../../etc/own") == [
        "of the sysroot", "renamed by the sysroot", "of the machine", "ENOENT", "of the sysroot"]


def test_links_of_the_sysroot_are_resolved_inside_it(sysroot, paths):
    assert says(sysroot, paths, "cat:/opt/own/absolute", "cat:/opt/own/relative", "kind:/opt/own/absolute", "kind:/opt/own/dangling",
                "cat:/opt/own/dangling", "real:/opt/own/absolute", "fd:/opt/own/absolute") == [
        "of the sysroot", "of the sysroot", "link", "link", "ENOENT", "/etc/own", "/etc/own"]


def test_a_directory_of_the_sysroot_is_where_the_program_thinks_it_is(sysroot, paths):
    assert says(sysroot, paths, "cd:/opt/own", "cat:file", "cat:../../etc/own", "cat:absolute", "ls:.", "at:/opt/own/absolute",
                "cd:..", "cat:own/file") == [
        "/opt/own", "deep", "of the sysroot", "of the sysroot", "absolute dangling file relative ", "of the sysroot", "/opt", "deep"]


def test_new_files_are_the_machines_unless_only_the_sysroot_has_their_directory(sysroot, paths, tmp_path):
    new = tmp_path / "new"
    assert says(sysroot, paths, "make:/opt/own/new", f"make:{new}", "cat:/opt/own/new", "rename:/opt/own/new",
                "remove:/opt/own/new.renamed", "kind:/opt/own/new.renamed") == ["made", "made", "made", "renamed", "removed", "ENOENT"]
    assert new.read_text() == "made"
    assert sorted(p.name for p in (sysroot / "opt/own").iterdir()) == ["absolute", "dangling", "file", "relative"]


def test_programs_and_sockets_of_the_sysroot_are_found(sysroot, paths):
    shutil.copy(paths, sysroot / "usr/bin/lp-guest-program")
    assert says(sysroot, paths, "run:/usr/bin/lp-guest-program", "run:/usr/bin/lp-no-program") == [
        "of the sysroot", "status 0", "ENOENT", "status 1"]
    assert [line.rsplit(" ", 1)[1] for line in says(sysroot, paths, "talk:/opt/own/socket")] == ["0", "0", "0"]
    assert (sysroot / "opt/own/socket").is_socket()
