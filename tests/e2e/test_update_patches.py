"""Sets of live patches that come with releases: for the runner's programs, and for the store of `livepatch watch`."""
import hashlib
import json
import os
import subprocess
from contextlib import contextmanager

import pytest

import lib
import libcare
import updatelib
from lib import Victim
from libcare import watching
from updatelib import AVAILABLE, REFUSED, Machine, entry, pack, release, serving, sign

ASM = """
.globl _start, answer
_start: bl answer
        mov x8, #93
        svc #0
answer: mov x0, #7
        ret
"""
EIGHT, SEVEN = "0xd2800100", "E0 00 80 D2"  # mov x0, #8; the bytes of mov x0, #7


@pytest.fixture(scope="module")
def guest():
    """An arm64 program with a build-id: it ends with 7."""
    folder = lib.private_directory()
    (folder / "guest.s").write_text(ASM)
    subprocess.run(["aarch64-linux-gnu-gcc", "-nostdlib", "-static", "-Wl,--build-id=sha1", "-o", folder / "guest", folder / "guest.s"], check=True)
    return folder / "guest"


def patch(**more):
    return json.dumps([{"type": "INLINE", "symbol": "answer", "instr": EIGHT, "desc": "eight", **more}]).encode()


def with_patches(row, version, files, by="release", comment=None, top=None, signed=True):
    """The release, with a set of patches besides."""
    name = f"livepatch-patches-{version}.tar.gz"
    top = top or f"livepatch-patches-{version}"
    archive = pack([entry(f"{top}/{file}", data) for file, data in files.items()])
    path = lib.scratch_directory() / name
    path.write_bytes(archive)
    made = {name: archive}
    if signed:
        made[f"{name}.minisig"] = sign(path, by, comment or f"file:{name} version:{version}")
    for file, data in made.items():
        row.entry["assets"].append({"name": file, "size": len(data), "state": "uploaded", "digest": f"sha256:{hashlib.sha256(data).hexdigest()}"})
        row.files[file] = data
    return row


def id_of(program):
    return libcare.build_id(program)


@contextmanager
def offered(*sets, version="0.1.0", **settings):
    """A machine with a folder for patches, and a server whose releases have these sets, the newest first."""
    rows = [with_patches(release(f"0.1.{len(sets) - i}"), *one) if isinstance(one, tuple) else one for i, one in enumerate(sets)]
    with serving(*rows) as server:
        machine = Machine(version, server)
        folder = machine.home / "patches"
        folder.mkdir()
        machine.configure(patches=folder, **settings)
        yield machine, folder


def pull(machine, folder, *options, expect=0):
    result = machine.run("--patches", folder, *options)
    assert result.status == expect, result
    return result


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def ends(machine, guest, *options, **how):
    return machine.run(*options, guest, by="arm64_runner", **how)


# ---- the runner

def test_a_patch_of_a_release_is_applied_to_the_program_that_it_is_for(guest):
    with offered(("3", {f"{id_of(guest)}.json": patch()})) as (machine, folder):
        assert ends(machine, guest).status == 7
        assert "patches 3.0.0 are available" in pull(machine, folder, "--check", expect=AVAILABLE).out and names(folder) == []
        assert "patches 3.0.0 are in" in pull(machine, folder).out
        assert names(folder) == [f"{id_of(guest)}.json"]
        result = ends(machine, guest)
        assert (result.status, result.err) == (8, "")
        assert "nothing to do" in pull(machine, folder).out


def test_an_update_of_the_runner_brings_the_patches_too(guest):
    with offered(("3", {f"{id_of(guest)}.json": patch()})) as (machine, folder):
        said = machine.update().out
        assert "version 0.1.1 in place of 0.1.0" in said and "patches 3.0.0 are in" in said
        assert machine.version == "0.1.1" and ends(machine, guest).status == 8
        answer = json.loads(machine.run("--json").out)
        assert answer["available"] is False and answer["patches"]["to"] == "3.0.0" and answer["patches"]["available"] is False


def test_a_patch_that_does_not_fit_is_told_and_the_program_runs_without(guest):
    with offered(("3", {f"{id_of(guest)}.json": patch(expect="00 00 80 D2")})) as (machine, folder):
        pull(machine, folder)
        result = ends(machine, guest)
        assert result.status == 7 and "does not fit, and is not applied" in result.err and f"{id_of(guest)}.json" in result.err
    with offered(("3", {f"{id_of(guest)}.json": patch(expect=SEVEN)})) as (machine, folder):
        pull(machine, folder)
        assert ends(machine, guest).status == 8


def test_patches_for_other_programs_are_nobodys(guest):
    with offered(("3", {"0123456789abcdef.json": patch(), "0123456789abcdef.kpatch": b"none"})) as (machine, folder):
        pull(machine, folder)
        assert (ends(machine, guest).status, ends(machine, guest).err) == (7, "")


def test_the_command_line_names_a_folder_as_well(guest):
    with offered(("3", {f"{id_of(guest)}.json": patch()})) as (machine, folder):
        pull(machine, folder)
        machine.configure(patches=None)
        assert ends(machine, guest).status == 7
        assert ends(machine, guest, "--patches-from", folder).status == 8


def test_a_folder_that_others_may_write_is_neither_filled_nor_used(guest):
    with offered(("3", {f"{id_of(guest)}.json": patch()})) as (machine, folder):
        pull(machine, folder)
        folder.chmod(0o777)
        result = ends(machine, guest)
        assert result.status == 7 and "somebody else may write here" in result.err
        assert "somebody else may write" in pull(machine, folder, expect=REFUSED).err


def test_the_current_folder_cannot_name_one(guest):
    with offered(("3", {f"{id_of(guest)}.json": patch()})) as (machine, folder):
        pull(machine, folder)
        machine.configure(patches=None)
        (machine.work / "arm64runner.conf").write_text(f"[update]\npatches = {folder}\n")
        result = ends(machine, guest)
        assert result.status == 7 and "not taken from the current folder" in result.err


def test_patches_for_the_runner_that_is_gone_are_told():
    """By its build-id; both versions here are one build, so the old one gets another."""
    with offered(("3", {"00112233445566778899aabbccddeeff00112233.kpatch": b"x"})) as (machine, folder):
        old = id_of(machine.program)
        other = "00112233445566778899aabbccddeeff00112233"
        data = machine.program.read_bytes()
        assert data.count(bytes.fromhex(old)) == 1
        machine.program.write_bytes(data.replace(bytes.fromhex(old), bytes.fromhex(other)))
        said = machine.update().out
        assert f"{other}.kpatch is for version 0.1.0, and is not applied to version 0.1.1" in said


# ---- one set after the other

A, B, C = (f"{digit * 40}.json" for digit in "abc")


def test_a_later_set_stands_in_for_the_earlier_one():
    with offered(("10", {B: b"B2", C: b"C"}), ("9", {A: b"A", B: b"B"})) as (machine, folder):
        (folder / "mine.json").write_text("mine")
        machine.configure(channel="stable")
        assert "2 files, 2 changed, 0 removed" in pull(machine, folder).out
        assert names(folder) == sorted([B, C, "mine.json"]) and (folder / B).read_text() == "B2"


def test_what_a_set_has_no_more_goes_and_what_stays_as_it_was_is_not_touched():
    with offered(("9", {A: b"A", B: b"B"})) as (machine, folder):
        pull(machine, folder)
        before = (folder / B).stat().st_ino
        with offered(("10", {B: b"B", C: b"C"})) as (other, _):
            machine.configure(url=other.settings["url"], ca_file=other.settings["ca_file"])
            assert "1 changed, 1 removed" in pull(machine, folder).out
        assert names(folder) == [B, C] and (folder / B).stat().st_ino == before


def test_a_file_that_came_from_elsewhere_is_not_replaced():
    with offered(("9", {A: b"A", B: b"B"})) as (machine, folder):
        (folder / B).write_text("mine")
        assert "did not come from a release" in pull(machine, folder, expect=REFUSED).err
        assert names(folder) == [B] and (folder / B).read_text() == "mine"
        (folder / B).unlink()
        pull(machine, folder)
        assert names(folder) == [A, B]


def test_an_older_set_is_refused_where_a_newer_one_was_seen():
    with offered(("10", {A: b"new"})) as (machine, folder):
        pull(machine, folder)
        with offered(("9", {A: b"old"})) as (other, _):
            machine.configure(url=other.settings["url"], ca_file=other.settings["ca_file"])
            assert "nothing to do" in pull(machine, folder).out
            empty = machine.home / "empty"
            empty.mkdir()
            assert "older than 10.0.0" in pull(machine, empty, expect=REFUSED).err
            assert names(empty) == [] and (folder / A).read_text() == "new"


# ---- what is refused

@pytest.mark.parametrize("how, words", [
    (dict(signed=False), "no signature"),
    (dict(by="stranger"), "none of the"),
    (dict(comment="file:livepatch-patches-2.tar.gz version:3"), "is for file:livepatch-patches-2"),
    (dict(comment="file:livepatch-patches-3.tar.gz version:2"), "is for version:2"),
    (dict(top="elsewhere"), "not below livepatch-patches-3"),
    (dict(top="livepatch-patches-3/.."), "leads out of it"),
])
def test_sets_are_held_to_the_rules_of_programs(how, words):
    with offered(with_patches(release("0.1.1"), "3", {A: b"A"}, **how)) as (machine, folder):
        result = pull(machine, folder, expect=REFUSED)
        assert words in result.err, result
        assert names(folder) == []
        machine.update(expect=REFUSED)
        assert machine.version == "0.1.1", "the program's update is good, and is done"


def test_what_is_no_patch_stays_in_the_archive():
    with offered(("3", {A: b"A", "before": b"#!/bin/sh\n", "x.kpatch": b"", "ABCDEF0123456789.json": b"", "sub/" + B: b"B"})) as (machine, folder):
        pull(machine, folder)
        assert names(folder) == [A]


def test_the_stable_channel_takes_no_patches_of_a_candidate():
    with offered(with_patches(release("0.2.0-rc1"), "4", {A: b"rc"}), with_patches(release("0.1.1"), "3", {A: b"stable"})) as (machine, folder):
        pull(machine, folder)
        assert (folder / A).read_text() == "stable"
        machine.configure(channel="rc")
        pull(machine, folder)
        assert (folder / A).read_text() == "rc"


# ---- livepatch watch

def test_watch_pulls_what_releases_bring_and_applies_it():
    program = libcare.program()
    with Victim(program) as victim:
        made = libcare.answering("new", program, id="0001")
        with offered(("3", {f"{id_of(program)}.kpatch": made.read_bytes()})) as (machine, folder):
            assert (lib.tool_path().parent / "update_module").exists(), "watch looks for it beside itself"
            with watching(folder, "--pull", "3600", env={**os.environ, **machine.environment}) as event:
                assert event("patched", victim.pid)["ids"] == "0001"
            assert victim.ask("answer 1") == "new 1"
        assert names(folder) == [f"{id_of(program)}.kpatch"]


def test_watch_pulls_neither_once_nor_all_the_time():
    with offered(("3", {A: b"A"})) as (_, folder):
        assert "--pull goes on" in lib.livepatch("watch", folder, "--once", "--pull", "60", expect=lib.USAGE).err
        assert "once a minute" in lib.livepatch("watch", folder, "--pull", "1", expect=lib.USAGE).err
