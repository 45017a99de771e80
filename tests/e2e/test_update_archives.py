"""Archives that are signed as they should be, and try to do what no archive may: one test per trick.

A signature says who made it, not that nobody got into his machine: what is unpacked is looked at all the same.
"""
import gzip
import io
import os
import tarfile

import pytest

import lib
import updatelib
from updatelib import Machine, entry, pack, release, resigned, serving, tar_of

VERSION = "0.2.0"
TOP = f"arm64_runner-{VERSION}"
ARCHIVE = updatelib.archive_name(VERSION)


def good():
    return tar_of(VERSION)


def refused(archive, *words):
    """Nothing is installed, nothing is left, and the words are said."""
    row = resigned(VERSION, archive)
    with serving(row) as server:
        machine = Machine("0.1.0", server)
        said = machine.refuses(ARCHIVE, *words)
        machine.program.stat()
        assert machine.version == "0.1.0"
        assert not [path for path in machine.home.rglob("*pwned*")], "something was written where it must not be"
        return said


# ---- out of the folder

@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_absolute_path(kind):
    where = lib.scratch_directory() / "pwned"
    trick = entry(str(where), b"x") if kind == "file" else entry(str(where), kind=tarfile.DIRTYPE, mode=0o755)
    refused(pack([*good(), trick]), where, "absolute path")
    assert not where.exists()


@pytest.mark.parametrize("name", ["../pwned", f"{TOP}/../pwned", f"{TOP}/../../pwned", f"{TOP}/man/../../../pwned", "..", f"{TOP}/.."])
def test_a_path_with_two_dots(name):
    refused(pack([*good(), entry(name, b"x")]), f"{name} leads out of it")


@pytest.mark.parametrize("name", [f"./{TOP}/pwned", f"{TOP}//pwned", f"{TOP}/./pwned"])
def test_paths_that_are_not_written_plainly_stay_within(name):
    """They do no harm; whether they are taken or refused, nothing is anywhere else."""
    with serving(resigned(VERSION, pack([*good(), entry(name, b"x")]))) as server:
        machine = Machine("0.1.0", server)
        machine.run("--update")
        assert machine.version in ("0.1.0", VERSION)
        assert not list(machine.home.glob("*pwned*")) + list(machine.bin.glob("pwned")) + list(machine.work.iterdir())


@pytest.mark.parametrize("target", ["/etc", "..", "../..", "man/../../.."])
def test_a_symbolic_link_out_and_a_file_through_it(target):
    tricks = [entry(f"{TOP}/way", kind=tarfile.SYMTYPE, link=target), entry(f"{TOP}/way/pwned", b"x")]
    refused(pack([*good(), *tricks]), f"{TOP}/way is a symbolic link")


def test_a_symbolic_link_in_place_of_the_program():
    entries = [(info, data) for info, data in good() if info.name != f"{TOP}/arm64_runner"]
    refused(pack([*entries, entry(f"{TOP}/arm64_runner", kind=tarfile.SYMTYPE, link="/bin/true")]), f"{TOP}/arm64_runner is a symbolic link")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../bin/arm64_runner", f"{TOP}/arm64_runner"])
def test_a_hard_link(target):
    """Alone, and with something written through it, which would be the file itself."""
    link, through = entry(f"{TOP}/way", kind=tarfile.LNKTYPE, link=target), entry(f"{TOP}/way", b"pwned")
    passwd = open("/etc/passwd", "rb").read()
    refused(pack([*good(), link]), f"{TOP}/way is a hard link")
    refused(pack([*good(), link, through]), f"{TOP}/way is a hard link")
    assert open("/etc/passwd", "rb").read() == passwd


def test_a_hard_link_in_place_of_the_program():
    entries = [(info, data) for info, data in good() if info.name != f"{TOP}/arm64_runner"]
    refused(pack([*entries, entry(f"{TOP}/arm64_runner", kind=tarfile.LNKTYPE, link=f"{TOP}/arm64-sysroot")]), f"{TOP}/arm64_runner is a hard link")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE], ids=["character", "block", "fifo"])
def test_a_device(kind):
    info, data = entry(f"{TOP}/device", kind=kind)
    info.devmajor, info.devminor = 1, 3
    refused(pack([*good(), (info, data)]), f"{TOP}/device is a {'pipe' if kind == tarfile.FIFOTYPE else 'device'}")


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6755])
def test_a_setuid_program(mode):
    entries = [(updatelib.entry(info.name, data, mode=mode) if info.name == f"{TOP}/arm64_runner" else (info, data)) for info, data in good()]
    refused(pack(entries), f"{TOP}/arm64_runner is set-user-ID")


def test_owners_and_modes_of_the_archive_do_not_count():
    entries = []
    for info, data in good():
        info.uid = info.gid = 12345
        info.mode = 0o777
        entries.append((info, data))
    with serving(resigned(VERSION, pack(entries))) as server:
        machine = Machine("0.1.0", server)
        machine.update()
        assert machine.version == VERSION
        status = machine.program.stat()
        assert (status.st_uid, status.st_mode & 0o7777) == (machine.bin.stat().st_uid, 0o755)


# ---- too much

def test_too_many_entries():
    refused(pack([*good(), *(entry(f"{TOP}/n{i}", b"") for i in range(20000))]), "entries")


def test_a_bomb():
    """A hundred megabytes that are a hundred kilobytes."""
    refused(pack([*good()[:1], entry(f"{TOP}/zeros", bytes(100 << 20))], level=9), "times its size")


def test_a_bomb_of_many_small_ones():
    refused(pack([*good()[:1], *(entry(f"{TOP}/zeros{i}", bytes(1 << 20)) for i in range(100))], level=9), "times its size")


def test_more_than_a_gigabyte_of_what_packs_well_but_not_too_well():
    """Many megabytes of noise keep its ratio low."""
    packed, noise, zeros = io.BytesIO(), os.urandom(8 << 20), bytes(64 << 20)
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1, mtime=0) as out, tarfile.open(fileobj=out, mode="w|") as tar:
        for info, data in [*good()[:1], entry(f"{TOP}/noise", noise), *(entry(f"{TOP}/zeros{i}", zeros) for i in range(17))]:
            tar.addfile(info, io.BytesIO(data))
    refused(packed.getvalue(), f"unpacks to more than {1 << 30} bytes")


def test_a_file_that_claims_to_be_huge():
    info, _ = entry(f"{TOP}/huge")
    info.size = 1 << 50
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for other, data in good():
            tar.addfile(other, io.BytesIO(data))
        whole = raw.getvalue()  # without the zeros that end an archive, after which nobody reads on
    refused(gzip.compress(whole + info.tobuf(tarfile.GNU_FORMAT) + bytes(1024), 1))


# ---- damaged

@pytest.mark.parametrize("keep", [0.999, 0.5, 0.01])
def test_a_truncated_archive(keep):
    whole = pack(good())
    refused(whole[:int(len(whole) * keep)])


def test_a_tar_that_ends_early_in_a_gzip_that_does_not():
    raw = gzip.decompress(pack(good()))
    refused(gzip.compress(raw[:len(raw) // 2 + 7], 1))


@pytest.mark.parametrize("data", [b"", b"\x1f\x8b", b"no archive at all", gzip.compress(b""), gzip.compress(b"no archive"),
                                  gzip.compress(bytes(10240))], ids=["empty", "two bytes", "text", "gzip of nothing", "gzip of text", "no entries"])
def test_what_is_no_archive(data):
    refused(data)


def test_another_kind_of_archive():
    """Only tar in gzip: libarchive's readers of everything else are not let near what comes from outside."""
    import zipfile
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for info, data in good():
            if info.isfile():
                archive.writestr(info.name, data)
    refused(out.getvalue())


# ---- not what it should be

@pytest.mark.parametrize("again", ["arm64_runner", "LICENSE"])
def test_an_entry_twice(again):
    """Which of the two did whoever looked at it see?"""
    refused(pack([*good(), entry(f"{TOP}/{again}", b"the other", mode=0o755)]), f"{TOP}/{again} is there twice")


@pytest.mark.parametrize("top", ["arm64_runner-9.9.9", "arm64_runner", "other", "bin"])
def test_another_top_folder(top):
    entries = []
    for info, data in good():
        info.name = top + info.name[len(TOP):]
        entries.append((info, data))
    refused(pack(entries), f"{top}/ is not below {TOP}/")


def test_two_top_folders():
    refused(pack([*good(), entry("other/file", b"x")]), f"other/file is not below {TOP}/")


def test_no_top_folder():
    entries = []
    for info, data in good()[1:]:
        info.name = info.name[len(TOP) + 1:]
        entries.append((info, data))
    refused(pack(entries))


def test_no_program():
    refused(pack([(info, data) for info, data in good() if not info.name.endswith("/arm64_runner")]), "arm64_runner")


def test_a_folder_in_place_of_the_program():
    entries = [(info, data) for info, data in good() if not info.name.endswith("/arm64_runner")]
    refused(pack([*entries, entry(f"{TOP}/arm64_runner", kind=tarfile.DIRTYPE, mode=0o755)]), "arm64_runner")


@pytest.mark.parametrize("name", ["\x1b]0;title\x07", "a\nb", "\xff\xfe", "x" * 300, "a\\b", "/".join("d" * 100)],
                         ids=["escape", "line", "no text", "long", "backslash", "deep"])
def test_odd_names_do_not_reach_the_terminal_as_they_are(name):
    with serving(resigned(VERSION, pack([*good(), entry(f"{TOP}/{name}", b"x"), entry("../pwned", b"x")]))) as server:
        said = Machine("0.1.0", server).refuses(ARCHIVE)
        assert "\x1b" not in said.err and "\x07" not in said.err
        assert len(said.err.splitlines()) == 1, said.err


def test_nothing_of_an_archive_that_is_refused_stays_anywhere():
    with serving(resigned(VERSION, pack([*good(), entry("../pwned", b"x")]))) as server:
        machine = Machine("0.1.0", server)
        before = set(machine.home.rglob("*"))
        machine.refuses(ARCHIVE)
        assert {path for path in set(machine.home.rglob("*")) - before if not path.is_relative_to(machine.state)} == {machine.ours}
        assert not list(machine.ours.iterdir())
