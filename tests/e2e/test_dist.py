"""scripts/dist: what is in a release, and that it is the same each time."""
import hashlib
import json
import os
import subprocess
import tarfile

import pytest

import lib
import updatelib
from updatelib import dist, key, made, release

VERSION = "0.2.0-rc3"


def entries(version=VERSION):
    return {info.name: (info, data) for info, data in updatelib.tar_of(version)}


def test_everything_is_below_one_folder_and_sorted_and_nobodys():
    found = updatelib.tar_of(VERSION)
    names = [info.name for info, _ in found]
    assert names == sorted(names) and names[0] == f"arm64_runner-{VERSION}"
    for info, _ in found:
        assert info.name == names[0] or info.name.startswith(names[0] + "/")
        assert (info.uid, info.gid, info.uname, info.mtime) == (0, 0, "root", updatelib.MADE)
        assert info.isdir() and info.mode == 0o755 or info.isfile() and info.mode in (0o755, 0o644)


def test_it_holds_the_programs_their_manuals_the_licence_and_its_version():
    names = {name.partition("/")[2] for name in entries()}
    assert {"arm64_runner", "update_module", "LICENSE", "VERSION", "man/man1/arm64_runner.1", "man/man1/update_module.1",
            "man/man5/arm64runner.conf.5"} <= names
    assert entries()[f"arm64_runner-{VERSION}/VERSION"][1] == f"{VERSION}\n".encode()


@pytest.mark.parametrize("version", ["0.2.0-rc3", "0.2.0", "12.34.567-rc89"])
def test_the_programs_say_the_version_and_their_name_has_no_number(version):
    machine = updatelib.Machine(version)
    for name in ("arm64_runner", "update_module"):
        said = machine.run("--version", by=name)
        assert (said.status, said.out) == (0, f"{name} {version}\n"), said


def test_the_same_build_gives_the_same_bytes():
    again = lib.scratch_directory()
    assert dist(f"--version={VERSION}", f"--out={again}").status == 0
    name = release(VERSION).name
    assert (again / name).read_bytes() == (made(VERSION) / name).read_bytes()


def test_the_time_is_that_of_source_date_epoch():
    out = lib.scratch_directory()
    assert dist(f"--version={VERSION}", f"--out={out}", env={"SOURCE_DATE_EPOCH": "1000000000"}).status == 0
    with tarfile.open(out / release(VERSION).name) as tar:
        assert {info.mtime for info in tar} == {1000000000}
    assert json.loads((out / f"arm64_runner-{VERSION}.release.json").read_text())["published_at"] == "2001-09-09T01:46:40Z"


def test_minisign_verifies_it_and_the_trusted_comment_names_file_and_version():
    path = made(VERSION) / release(VERSION).name
    done = subprocess.run(["minisign", "-V", "-P", key().public, "-m", path], capture_output=True, text=True)
    assert done.returncode == 0, done
    comment = done.stdout.partition("Trusted comment: ")[2].split()
    assert set(comment) == {f"timestamp:{updatelib.MADE}", f"file:{path.name}", f"version:{VERSION}"}


def test_it_prints_the_digest_and_the_entry_of_the_index():
    out = lib.scratch_directory()
    done = dist(f"--version={VERSION}", f"--key={key().secret}", f"--out={out}", "--repository=me/mine", "--url=https://example.org")
    assert done.status == 0
    first, _, rest = done.out.partition("\n")
    archive = out / release(VERSION).name
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert first == f"{digest}  {archive}"
    entry = json.loads(rest)
    assert (entry["tag_name"], entry["draft"], entry["prerelease"]) == (f"v{VERSION}", False, True)
    row, signature = entry["assets"]
    assert (row["name"], row["size"], row["digest"]) == (archive.name, archive.stat().st_size, f"sha256:{digest}")
    assert row["browser_download_url"] == f"https://example.org/me/mine/releases/download/v{VERSION}/{archive.name}"
    assert signature["name"] == archive.name + ".minisig"


def test_without_a_version_it_is_the_projects():
    out = lib.scratch_directory()
    done = dist(f"--out={out}")
    project = subprocess.run([lib.build_directory() / "src/tool/arm64_runner", "--version"], capture_output=True, text=True).stdout.split()[1]
    assert done.status == 0 and (out / updatelib.archive_name(project)).exists()
    assert "not signed" in done.err


def test_its_time_does_not_need_a_git_tree_when_it_is_said(tmp_path):
    assert dist(f"--version={VERSION}", f"--out={tmp_path}", env={"GIT_DIR": "/nonexistent"}).status == 0
    done = dist(f"--version={VERSION}", f"--out={tmp_path}", env={"GIT_DIR": "/nonexistent", "SOURCE_DATE_EPOCH": "yesterday"})
    assert done.status == 1 and "SOURCE_DATE_EPOCH is 'yesterday'" in done.err


@pytest.mark.parametrize("version", ["1.2", "v1.2.3", "1.2.3-rc", "1.2.3-beta1", "1.2.3/../x", "01.2.3", "1.2.3-rc1\n"])
def test_what_is_no_version_is_refused(version):
    done = dist(f"--version={version}", f"--out={lib.scratch_directory()}")
    assert done.status == 1 and "is no version: MAJOR.MINOR.BUILD" in done.err


def test_a_key_that_is_missing_or_none_is_named(tmp_path):
    done = dist(f"--key={tmp_path}/nokey", f"--out={tmp_path}")
    assert done.status == 1 and f"{tmp_path}/nokey is missing" in done.err
    (tmp_path / "broken").write_text("this is no key\n")
    done = dist(f"--key={tmp_path}/broken", f"--out={tmp_path}")
    assert done.status == 1 and f"minisign does not sign with {tmp_path}/broken" in done.err
    assert not list(tmp_path.glob("*.release.json")), "what could not be signed is not announced"


def test_a_build_without_the_programs_is_named(tmp_path):
    done = subprocess.run([updatelib.DIST, tmp_path], capture_output=True, text=True, env={**os.environ, "SOURCE_DATE_EPOCH": "1"})
    assert done.returncode == 1 and f"{tmp_path}/src/tool/arm64_runner" in done.stderr and "missing" in done.stderr


def test_help_names_the_options_and_how_to_make_a_key():
    done = subprocess.run([updatelib.DIST, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    for word in ("--version", "--key", "--out", "minisign -G", "make dist VERSION="):
        assert word in done.stdout


def test_the_archive_is_read_by_tar():
    """Whoever does not update by the updater unpacks it so."""
    where = lib.scratch_directory()
    subprocess.run(["tar", "-xzf", "-", "-C", where], input=release(VERSION).files[release(VERSION).name], check=True)
    assert (where / f"arm64_runner-{VERSION}" / "LICENSE").read_bytes() == (lib.TOP / "LICENSE").read_bytes()


def test_no_debug_information_goes_with_it():
    data = entries()[f"arm64_runner-{VERSION}/arm64_runner"][1]
    program = lib.scratch_directory() / "arm64_runner"
    program.write_bytes(data)
    names = subprocess.run(["readelf", "-SW", program], capture_output=True, text=True, check=True).stdout
    assert ".livepatch.version" in names and ".debug_info" not in names
