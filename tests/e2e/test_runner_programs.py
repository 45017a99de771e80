"""Debian's arm64 programs do under arm64_runner what they do under qemu-aarch64: every byte of output, every exit status."""
import os
import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import lib
import runnerlib


def both(command, **how):
    """What came of it, the same under both."""
    ours = runnerlib.run(command, root=runnerlib.sysroot(), **how)
    theirs = runnerlib.run(command, runnerlib.QEMU, root=runnerlib.sysroot(), **how)
    assert (ours.status, ours.stdout, ours.stderr) == (theirs.status, theirs.stdout, theirs.stderr)
    return ours


def ours(command, **how):
    """For programs that execute others of the sysroot: qemu-aarch64 cannot."""
    done = runnerlib.run(command, root=runnerlib.sysroot(), **how)
    assert done.status == 0, done.stderr.decode()
    return done.stdout.decode()


def program(name):
    return runnerlib.sysroot() / "usr" / "bin" / name


SHELL = r"""
for i in 1 2 3; do printf '%03d ' $i; done; echo
f() { local x=$1; echo "$((x * x)) ${x:-none}"; return 7; }
f 12; echo $?
case abc in a*c) echo matched;; esac
x=$(echo inner | { read -r line; echo "<$line>"; }); echo "$x"
(exit 3); echo $?
trap 'echo leaving' EXIT
set -- a 'b c' d; echo "$# $2"
while [ $# -gt 0 ]; do shift; done; echo $#
"""
LUA = """
local t = {} for i = 1, 20000 do t[i] = i * 1.5 end
local s = 0 for _, v in ipairs(t) do s = s + v end
print(s, math.sin(1), math.exp(0.5), string.format('%g %q %.14g', 0.1, 'a\\n', 1/3), 7 // 2, 2^53, -7 % 3, 1 << 62)
print(pcall(error, {}), select('#', string.find('hello world', 'o (w)')), tostring(0/0), math.tointeger(3.0))
local co = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b * 2 end) print(co(1), co(21))
table.sort(t, function(a, b) return a > b end) print(t[1], t[#t], collectgarbage('count') > 0)
"""
PYTHON = """
import cmath, datetime, decimal, fractions, hashlib, itertools, json, math, random, re, statistics, struct, zlib
print(json.dumps({'a': [1, 2.5, None, True], 'b': 'x' * 3}), re.findall(r'(\\w)(\\d+)', 'a1 b22 c333'))
print(math.pi, math.sin(1e10), math.gamma(5.5), math.fsum([0.1] * 10), cmath.sqrt(-2), 10**50 // 7, pow(3, 1000, 10**9 + 7))
print(hashlib.sha256(b'x').hexdigest(), hashlib.md5(b'y').hexdigest(), hashlib.sha3_256(b'z').hexdigest(), hashlib.blake2b(b'w').hexdigest())
print(decimal.Decimal(1) / 7, fractions.Fraction(3, 7) + 1, zlib.crc32(b'crc'), struct.pack('<dfq', 1.1, 2.2, -3).hex())
random.seed(42); print([random.random() for _ in range(3)], random.gauss(0, 1), statistics.stdev(range(10)))
print(float('1e308') * 10, float('nan'), -0.0, 5e-324 / 2, round(2.5), f'{1/3:.17g}', int(1e18), 0.1 + 0.2, hex(-255), 1e16 + 1)
print(sorted({'b': 1, 'a': 2}.items()), list(itertools.permutations('abc', 2))[:3], datetime.date(2020, 2, 29).isoformat())
"""
PERL = r"""
my %h; $h{$_ % 100} += $_ for 1 .. 20000; print join(',', map {"$_=$h{$_}"} (sort keys %h)[0 .. 5]), "\n";
printf "%.15g %s %e %x\n", sqrt 2, 10 ** 20, 1 / 3, 255; my $s = 'hello world'; (my $t = $s) =~ tr/a-z/A-Z/; print "$t\n";
print join('|', split /o/, $s), ' ', scalar reverse($s), ' ', sprintf('%vd', '1.22.333'), "\n"; print unpack('H*', pack('d>', 3.25)), "\n";
eval { die "caught\n" }; print $@; local $, = '-'; print sort({$b <=> $a} 3, 11, 2), "\n";
"""
SQL = """create table t(a integer primary key, b, c text);
with recursive n(x) as (select 1 union all select x + 1 from n where x < 20000) insert into t select x, x * x % 1000, hex(x) from n;
select count(*), sum(b), avg(b), max(c) from t; create index i on t(b, c);
select b, count(*) from t group by b order by 2 desc, 1 limit 5; update t set b = b + 0.5 where a % 3 = 0; select total(b) from t;
delete from t where a % 2; select count(*) from t; select round(1.0 / 3, 10), 1e300 * 1e10, typeof(9223372036854775807 + 1);"""
SQL_100000 = """create table t(a integer primary key, b integer, c text); begin;
with recursive n(x) as (select 1 union all select x + 1 from n where x < 100000) insert into t select x, x * 7919 % 100003, hex(x) from n; commit;
create index i on t(b); pragma integrity_check; select count(*), sum(b), min(c), max(c) from t;
update t set c = c || b where a % 10 = 0; select count(distinct b), total(length(c)) from t where b between 100 and 90000;
delete from t where b % 3 = 0; vacuum; pragma integrity_check; select count(*), sum(a) from t;
select sum(x.b * y.a % 1000) from t x join t y on x.b = y.a; pragma page_count;"""

ALIKE = {
    "bash": ["bash", "--norc", "-c", SHELL],
    "dash": ["dash", "-c", SHELL.replace("local x=$1", "x=$1")],
    "busybox shell": ["busybox", "sh", "-c", SHELL],
    "lua": ["lua5.4", "-e", LUA],
    "python": ["python3", "-c", PYTHON],
    "perl": ["perl", "-e", PERL],
    "sqlite": ["sqlite3", ":memory:", SQL],
    "awk": ["gawk", "BEGIN { for (i = 0; i < 5000; i++) s += sin(i) * i; print s, substr(\"abc\", 2), toupper(\"x\"), 2 ** 0.5 }"],
    "openssl digests": ["openssl", "dgst", "-sha512", "/proc/self/exe"],
    "openssl sha1": ["openssl", "dgst", "-sha1", "/proc/self/exe"],
    "openssl sha256": ["openssl", "dgst", "-sha256", "/proc/self/exe"],
    "openssl sha3": ["openssl", "dgst", "-sha3-256", "/proc/self/exe"],
    "openssl cipher": ["openssl", "enc", "-aes-256-cbc", "-k", "pw", "-pbkdf2", "-S", "0011223344556677", "-in", __file__],
    "openssl chacha": ["openssl", "enc", "-chacha20", "-k", "pw", "-pbkdf2", "-S", "0011223344556677", "-in", __file__],
    "gzip": ["gzip", "-9nc", __file__],
    "xz": ["xz", "-6c", __file__],
    "zstd": ["zstd", "-19qc", __file__],
    "bzip2": ["bzip2", "-9c", __file__],
    "rust": ["rg", "-n", "--no-heading", "--sort", "path", "def \\w+", __file__],
    "sort": ["sort", "-k2", "-r", __file__],
    "date": ["date", "-u", "-d", "@86400", "+%F %T %A"],
    "ls": ["ls", "-la", "--time-style=full-iso", str(runnerlib.TOP / "tests" / "e2e" / "kpatch")],
    "stat": ["stat", "-c", "%n %s %a %F %i %h %Y %b %B %t", "/etc/passwd", "/dev/null", str(runnerlib.TOP / "docs")],
    "find": ["find", "/etc/apt", "-type", "f", "-size", "-4k", "-newermt", "2000-01-01"],
    "sha256sum": ["sha256sum", __file__],
    "factor": ["factor", "18446744073709551557", "600851475143"],
    "no such file": ["cat", "/no/such/file"],
    "wrong option": ["ls", "--no-such-option"],
    "tar": ["tar", "-C", "/etc", "-cf", "-", "--sort=name", "--mtime=@0", "apt"],
    "diff": ["diff", "-u", "/etc/passwd", "/etc/group"],
    "od": ["od", "-A", "x", "-t", "fFx1", "-N", "64", "/usr/bin/env"],
}


CHECKS = ("check", "check-tier2")  # some fifty times slower


def alike(command, *arguments):
    env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root", "PYTHONHASHSEED": "0", "PERL_HASH_SEED": "0"}
    both([program(command), *arguments], env=env)


@pytest.mark.parametrize("name", ALIKE)
def test_programs_say_the_same_under_both_emulators(name):
    alike(*ALIKE[name])


@pytest.mark.left_out(*CHECKS, reason="2300 million instructions take minutes, and sqlite is checked with less")
def test_sqlite_says_the_same_of_100000_rows():
    alike("sqlite3", ":memory:", SQL_100000)


def test_go_programs_run():
    done = runnerlib.run([program("fzf"), "-f", "pay"], root=runnerlib.sysroot(), stdin=b"apple\npaypal\nspray\n")
    assert done.stdout == b"paypal\nspray\n" or set(done.stdout.split()) == {b"paypal"}, done


@pytest.mark.parametrize("applet", ["echo a b", "seq 3", "expr 6 * 7", "basename /a/b.c .c", "printf %x\\n 255", "md5sum /etc/passwd",
                                    "cut -d: -f1 /etc/passwd", "head -n2 /etc/passwd", "wc /etc/passwd", "uniq /etc/group", "rev /etc/hostname",
                                    "cal 2 2020", "factor 12345", "sum /etc/passwd", "tac /etc/group", "nl /etc/group", "base64 /etc/passwd",
                                    "sed s/root/toor/ /etc/passwd", "awk -F: {print$3*2} /etc/passwd", "grep -c : /etc/passwd", "sort -n /etc/group",
                                    "cmp /etc/passwd /etc/group", "test -d /etc", "true", "false", "dirname /a/b", "date -u -d @0", "ls /etc/apt",
                                    "cksum /etc/passwd", "strings /bin/true", "hexdump -C /etc/hostname", "bc --version", "dc -e 5,3*p", "tr a-z A-Z",
                                    "readlink -f /bin", "stat -c %s /etc/passwd", "find /etc/apt -type d", "tee", "which ls", "yes --help", "env", "id -u",
                                    "gzip -c /etc/passwd", "bzip2 -c /etc/passwd", "sha1sum /etc/passwd", "sha3sum /etc/passwd", "sha512sum /etc/passwd",
                                    "xxd /etc/hostname", "od -t x2 /etc/hostname", "fold -w 20 /etc/passwd", "expand /etc/group", "paste /etc/group",
                                    "comm /etc/passwd /etc/group", "diff -u /etc/passwd /etc/group", "cpio -t", "tar -cf - -C /etc passwd", "uuencode x",
                                    "tail -n 3 /etc/passwd", "split --help", "shuf -n 0", "timeout 5 echo in time", "xargs echo", "cut -c 2-4",
                                    "ipcalc -bn 10.1.2.3/22", "realpath /etc/..", "du -s /etc/apt", "dd bs=4 count=1", "truncate --help", "uname -m",
                                    "expr length abc", "unexpand -a", "usleep 1", "mktemp -u /tmp/fixed", "ar -t /no", "sh -c ulimit", "crc32 /etc/passwd"])
def test_applets_of_busybox_say_the_same(applet):
    both([program("busybox"), *applet.split()], stdin=b"some text\n", env={"PATH": "/usr/bin:/bin"})


def test_every_standard_module_of_python_is_imported_as_under_qemu():
    script = ("import sys, importlib\nfor n in sorted(sys.stdlib_module_names):\n"
              " if n in ('antigravity', 'this', 'idlelib', 'tkinter', '_tkinter', 'turtle', 'turtledemo'): continue\n"
              " try: importlib.import_module(n); print(n)\n except ImportError as e: print(n, e)\n")
    done = both([program("python3"), "-W", "ignore", "-c", script], env={"PATH": "/usr/bin:/bin"})
    assert done.stdout.count(b"\n") > 250


def test_python_has_processes_threads_and_foreign_functions():
    script = """
import ctypes, multiprocessing, queue, subprocess, threading
def square(x): return x * x
if __name__ == '__main__':
    with multiprocessing.Pool(2) as pool: print(pool.map(square, range(10)))
    q = queue.Queue()
    ts = [threading.Thread(target=lambda i=i: q.put(i)) for i in range(20)]
    [t.start() for t in ts]; [t.join() for t in ts]; print(sorted(q.queue))
    libc = ctypes.CDLL(None); print(libc.abs(-5), ctypes.cast(libc.strchr, ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int))(b'hello', 108))
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    a = (ctypes.c_int * 5)(5, 1, 4, 2, 3); libc.qsort(a, 5, 4, compare(lambda x, y: x[0] - y[0])); print(list(a))
    print(subprocess.run(['uname', '-m'], capture_output=True, text=True).stdout.strip())
"""
    out = ours([program("python3"), "-c", script])
    assert out.splitlines() == [str([x * x for x in range(10)]), str(list(range(20))), "5 b'llo'", "[1, 2, 3, 4, 5]", "aarch64"]


def test_a_compiler_for_arm64_compiles_a_program_that_runs(tmp_path):
    (tmp_path / "p.c").write_text('#include <stdio.h>\n#include <math.h>\nint main(int c, char **v)\n{\n\tfor (int i = 0; i < 3; i++)\n'
                                  '\t\tprintf("%d %.3f\\n", i, sqrt(i + c));\n\treturn c;\n}\n')
    ours([program("aarch64-linux-gnu-gcc-12"), "-O2", tmp_path / "p.c", "-o", tmp_path / "p", "-lm"], cwd=tmp_path)
    done = runnerlib.run([tmp_path / "p", "x"], root=runnerlib.sysroot())
    assert (done.status, done.stdout) == (2, b"0 1.414\n1 1.732\n2 2.000\n")


def test_git_keeps_a_history(tmp_path):
    script = f"""set -e; cd {tmp_path}; git init -q -b main .; git config user.email a@b; git config user.name n
export GIT_COMMITTER_DATE=2020-01-01T00:00:00Z GIT_AUTHOR_DATE=2020-01-01T00:00:00Z
for i in 1 2 3; do echo $i >>f; git add f; git commit -qm "m $i"; done; git log --format='%h %s'; git fsck 2>&1; git gc -q; git show --stat HEAD~1 | tail -2"""
    out = ours([program("bash"), "-c", script])
    native = subprocess.run(["git", "-C", tmp_path, "log", "--format=%h %s"], capture_output=True, text=True, check=True).stdout
    assert out.startswith(native) and "1 file changed" in out


@pytest.mark.left_out(*CHECKS, reason="2300 million instructions take minutes, and each of the compressors is checked with less")
def test_round_trips_through_compressors_of_the_sysroot():
    script = 'for z in "gzip -9" "xz -3" "zstd -q" "bzip2"; do set -- $z; cat /usr/bin/bash | $z -c | $1 -dc | cmp - /usr/bin/bash && echo $1; done'
    assert ours([program("bash"), "-c", script]).split() == ["gzip", "xz", "zstd", "bzip2"]


def test_openssl_deciphers_what_it_ciphers(tmp_path):
    cipher = [program("openssl"), "enc", "-aes-128-cbc", "-K", "000102030405060708090a0b0c0d0e0f", "-iv", "00112233445566778899aabbccddeeff"]
    secret = tmp_path / "secret"
    secret.write_bytes(both([*cipher, "-in", __file__]).stdout)
    assert secret.stat().st_size > os.stat(__file__).st_size
    assert both([*cipher, "-d", "-in", secret]).stdout == Path(__file__).read_bytes()


@pytest.mark.left_out(*CHECKS, reason="a second is too short for a round of what is executed twice and compared")
def test_speed_of_openssl_is_told_for_every_size():
    # By the clock: of processor time, counted in ticks of ten milliseconds, there may be none in a second of a busy machine.
    out = ours([program("openssl"), "speed", "-elapsed", "-seconds", "1", "-bytes", "1024", "-mr", "-evp", "aes-128-gcm"])
    assert re.search(r"^\+F:\d+:AES-128-GCM:(?!0\.0)[\d.]+$", out, re.M | re.I), out
    out = ours([program("openssl"), "speed", "-elapsed", "-seconds", "1", "-mr", "sha256"])
    assert re.search(r"^\+F:\d+:sha256(:(?!0\.0)[\d.]+){6}$", out, re.M), out


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(answers, process, what):
    end = time.monotonic() + runnerlib.seconds(60)
    while not answers():
        assert process.poll() is None, f"{what} ended"
        assert time.monotonic() < end, f"{what} does not answer"
        time.sleep(0.05)


@pytest.fixture
def started():
    running = []

    def start(command, **how):
        p = subprocess.Popen([runnerlib.RUNNER, "-L", str(runnerlib.sysroot()), *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **how)
        running.append(p)
        return p

    yield start
    for p in running:
        if p.poll() is None:
            p.kill()
        p.communicate()


def connects(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def test_redis_serves_native_clients_under_load(started, tmp_path):
    port = free_port()
    server = started([program("redis-server"), "--port", port, "--save", "", "--dir", tmp_path])
    wait_until(lambda: connects(port), server, "redis-server")
    bench = subprocess.run(["redis-benchmark", "-p", str(port), "-q", "-n", "4000", "-c", "20", "-t", "set,get,lpush,zadd,mset", "--csv"],
                           capture_output=True, text=True, timeout=240)
    assert bench.returncode == 0 and len(re.findall(r'^"(SET|GET|LPUSH|ZADD|MSET)', bench.stdout, re.M)) == 5, bench.stdout + bench.stderr
    cli = ["redis-cli", "-p", str(port)]
    assert subprocess.run([*cli, "eval", "return redis.call('dbsize') * 2", "0"], capture_output=True, text=True).stdout.strip().isdigit()
    subprocess.run([*cli, "shutdown", "nosave"], check=False)
    assert server.wait(60) == 0


def fetched(port):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: s.recv(65536), b""))


def test_nginx_serves_several_clients_from_several_workers(started, tmp_path):
    port = free_port()
    (tmp_path / "index.html").write_bytes(b"x" * 100000)
    tmp_path.chmod(0o755)
    (tmp_path / "nginx.conf").write_text(f"""daemon off; worker_processes 2; pid {tmp_path}/pid; error_log stderr; events {{ worker_connections 64; }}
user root; http {{ access_log off; server {{ listen 127.0.0.1:{port}; root {tmp_path}; }} client_body_temp_path {tmp_path}/a; proxy_temp_path {tmp_path}/b;
fastcgi_temp_path {tmp_path}/c; uwsgi_temp_path {tmp_path}/d; scgi_temp_path {tmp_path}/e; }}\n""")
    server = started([runnerlib.sysroot() / "usr" / "sbin" / "nginx", "-c", tmp_path / "nginx.conf", "-p", tmp_path])
    wait_until(lambda: connects(port), server, "nginx")
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(fetched, [port] * 400))
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 200 OK") and answer.endswith(b"\r\n\r\n" + b"x" * 100000)
    server.send_signal(signal.SIGQUIT)
    assert server.wait(60) == 0


def test_tls_handshakes_on_loopback(started, tmp_path):
    port = free_port()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2", "-keyout", tmp_path / "k",
                    "-out", tmp_path / "c"], check=True, capture_output=True)
    server = started([program("openssl"), "s_server", "-accept", port, "-key", tmp_path / "k", "-cert", tmp_path / "c", "-www", "-quiet"],
                     stdin=subprocess.DEVNULL)
    wait_until(lambda: connects(port), server, "openssl s_server")
    for protocol in ("-tls1_2", "-tls1_3"):
        out = ours([program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", protocol, "-CAfile", tmp_path / "c", "-verify_return_error"],
                   stdin=b"Q\n")
        assert "Verify return code: 0 (ok)" in out


JAVA = """public class Busy {
	static long mix(long x) { for (int i = 0; i < 50; i++) x = x * 6364136223846793005L + i; return x; }
	public static void main(String[] a) throws Exception {
		long s = 0;
		for (int i = 0; i < 20000; i++) s ^= mix(i);
		Thread[] t = new Thread[4];
		for (int i = 0; i < 4; i++) { t[i] = new Thread(() -> { Object[] o = new Object[100]; for (int k = 0; k < 20000; k++) o[k % 100] = new int[k % 50]; }); t[i].start(); }
		for (Thread x : t) x.join();
		System.gc();
		System.out.println(Long.toHexString(s) + " " + Math.sqrt(2) + " " + String.format("%.3f", 1 / 3.0));
	}
}
"""


def test_a_java_machine_compiles_and_runs(tmp_path):
    """It makes code while it runs, and answers SIGSEGV itself."""
    (tmp_path / "Busy.java").write_text(JAVA)
    native = ["/usr/lib/jvm/default-java/bin/java"]
    subprocess.run([*native, "-m", "jdk.compiler/com.sun.tools.javac.Main", "--release", "17", "-d", tmp_path, tmp_path / "Busy.java"], check=True)
    expected = subprocess.run([*native, "-cp", tmp_path, "Busy"], capture_output=True, text=True, check=True).stdout
    home = next((runnerlib.sysroot() / "usr" / "lib" / "jvm").glob("java-17-*"))
    assert ours([home / "bin" / "java", "-Xmx128m", "-cp", tmp_path, "Busy"]) == expected


def test_the_demo_patches_redis_under_load():
    demo = subprocess.run([runnerlib.TOP / "demo" / "arm64.sh", lib.build_directory()], env={**os.environ, "ARM64_SYSROOT": str(runnerlib.sysroot())},
                          capture_output=True, text=True, timeout=300)
    assert demo.returncode == 0 and re.search(r"^failed requests +0$", demo.stdout, re.M), demo.stdout + demo.stderr
    assert demo.stdout.count("PONG") >= 3 and "TIME answers PONG" in demo.stdout
