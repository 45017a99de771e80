"""What an archive has to prove before anything of it is looked at: size, digest, signature, key, trusted comment, age."""
import base64
import os

import pytest

import lib
import updatelib
from updatelib import AVAILABLE, DONE, REFUSED, Machine, comment_for, key, release, resigned, serving

ARCHIVE = "arm64_runner-0.2.0-linux-x86_64.tar.gz"


def archive():
    return release("0.2.0").files[ARCHIVE]


def refused(row, *words, machine=None, **settings):
    """An update to it is refused in these words, whatever the channel, and a later good one is not in the way."""
    with serving(row) as server:
        machine = machine or Machine("0.1.0", server, **settings)
        said = machine.refuses(ARCHIVE, *words)
        assert machine.version == "0.1.0"
        server.releases.clear()
        server.assets.clear()
        good = release("0.2.0")
        server.publish(good.entry, good.files)
        machine.configure(keys=key().public)
        machine.update()
        assert machine.version == "0.2.0"
        return said


# ---- size and digest

@pytest.mark.parametrize("size", [lambda n: n - 1, lambda n: n + 1, lambda n: 1], ids=["one less", "one more", "one"])
def test_a_size_that_is_not_the_indexs_is_refused(size):
    row = release("0.2.0")
    row.asset()["size"] = size(row.asset()["size"])
    refused(row, str(row.asset()["size"]))


def test_a_digest_that_is_not_the_indexs_is_refused():
    row = release("0.2.0")
    row.asset()["digest"] = "sha256:" + "0" * 64
    refused(row, "0" * 64)


def test_an_index_that_says_no_digest_leaves_it_to_the_signature():
    row = release("0.2.0")
    row.asset()["digest"] = None
    with serving(row) as server:
        machine = Machine("0.1.0", server)
        machine.update()
        assert machine.version == "0.2.0"


# ---- the signature

def changed(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


@pytest.mark.parametrize("at", [0, -1, 5000])
def test_an_archive_with_one_other_bit_is_refused(at):
    row = release("0.2.0").replace(".tar.gz", changed(archive(), at % len(archive())))
    refused(row, "signature", key().id)


def test_the_signature_of_another_archive_is_refused():
    row = release("0.2.0")
    row.replace(".minisig", release("0.1.0").files["arm64_runner-0.1.0-linux-x86_64.tar.gz.minisig"])
    refused(row, "signature")


def test_a_signature_of_minisigns_old_kind_is_refused_with_what_to_do():
    refused(resigned("0.2.0", archive(), legacy=True), "without -l")


def test_a_key_that_is_not_trusted_is_refused_by_its_number():
    refused(resigned("0.2.0", archive(), by="somebody"), key("somebody").id)


def test_another_key_of_the_same_number_is_refused():
    """The number is not secret: who makes a signature can write any."""
    row = resigned("0.2.0", archive(), by="somebody")
    lines = row.files[ARCHIVE + ".minisig"].decode().split("\n")
    raw = bytearray(base64.b64decode(lines[1]))
    raw[2:10] = base64.b64decode(key().public)[2:10]
    lines[1] = base64.b64encode(bytes(raw)).decode()
    refused(row.replace(".minisig", "\n".join(lines).encode()), "signature", key().id)


@pytest.mark.parametrize("keys", ["somebody release", "release somebody"])
def test_one_of_several_keys_is_enough(keys):
    with serving(resigned("0.2.0", archive(), by="somebody")) as server:
        machine = Machine("0.1.0", server, keys=[key(name).public for name in keys.split()])
        machine.update()
        assert machine.version == "0.2.0"


def test_without_any_key_nothing_is_trusted_and_the_setting_is_named():
    with serving(release("0.2.0")) as server:
        Machine("0.1.0", server, keys=None).refuses("keys")


@pytest.mark.parametrize("bad", ["RWQ", "not a key", "", "RW" + "A" * 60])
def test_a_key_that_is_none_is_told(bad):
    with serving(release("0.2.0")) as server:
        Machine("0.1.0", server, keys=bad).refuses("key")
        assert not server.asked_for("/storage/")


SIGNATURE_DAMAGES = {
    "empty": lambda text: b"",
    "cut": lambda text: text[:60],
    "without the trusted comment": lambda text: b"\n".join(text.split(b"\n")[:2]) + b"\n",
    "without the signature of the comment": lambda text: b"\n".join(text.split(b"\n")[:3]) + b"\n",
    "no base64": lambda text: text.replace(b"=", b"!"),
    "binary": lambda text: bytes(range(256)),
    "huge": lambda text: text + b"A" * 1000000,
    "a zero within": lambda text: text.replace(b" file:", b"\0file:"),
    "html": lambda text: b"<html>log in</html>",
}


@pytest.mark.parametrize("damage", SIGNATURE_DAMAGES)
def test_a_signature_that_is_none_is_refused(damage):
    row = release("0.2.0")
    row.replace(".minisig", SIGNATURE_DAMAGES[damage](row.files[ARCHIVE + ".minisig"]))
    refused(row)


# ---- the trusted comment

def test_a_comment_that_was_changed_is_refused():
    row = release("0.2.0")
    row.replace(".minisig", row.files[ARCHIVE + ".minisig"].replace(b"version:0.2.0", b"version:0.2.1"))
    refused(row, "trusted comment", key().id)


@pytest.mark.parametrize("comment, words", [
    (comment_for("0.2.0", "arm64_runner-0.1.0-linux-x86_64.tar.gz"), ["file:arm64_runner-0.1.0-linux-x86_64.tar.gz"]),
    (comment_for("0.1.0", ARCHIVE), ["version:0.1.0"]),
    ("nothing to say", ["file:"]),
    (f"file:{ARCHIVE}", ["version:"]),
    ("version:0.2.0", ["file:"]),
    (f"file:{ARCHIVE} version:0.2.0 version:0.1.0", ["version:"]),
    (f"file:other.tar.gz file:{ARCHIVE} version:0.2.0", ["file:"]),
    (f"xfile:{ARCHIVE} xversion:0.2.0", ["file:"]),
    (f"file:{ARCHIVE} version:0.2.0-rc1", ["version:0.2.0-rc1"]),
])
def test_a_comment_for_something_else_is_refused_though_it_is_signed(comment, words):
    refused(resigned("0.2.0", archive(), comment=comment), *words)


@pytest.mark.parametrize("comment", [
    f"timestamp:1\tfile:{ARCHIVE}\tversion:0.2.0\thashed",  # as minisign writes them by itself
    f"version:0.2.0 file:{ARCHIVE}",
])
def test_the_order_of_the_comment_and_what_else_it_says_do_not_matter(comment):
    with serving(resigned("0.2.0", archive(), comment=comment)) as server:
        machine = Machine("0.1.0", server)
        machine.update()
        assert machine.version == "0.2.0"


# ---- older ones, again

def test_an_older_release_under_a_newer_name_is_refused():
    """All of it is signed, for 0.1.0: whoever has the server calls it 0.2.0."""
    old, row = release("0.1.0"), release("0.2.0")
    row.replace(".tar.gz", old.files[old.name]).replace(".minisig", old.files[old.name + ".minisig"])
    refused(row, "0.1.0")


def test_an_older_release_than_the_highest_that_was_seen_is_refused():
    with serving(release("0.3.0")) as server:
        machine = Machine("0.1.0", server)
        machine.update()
        machine.update("--rollback")
        assert machine.version == "0.1.0"
        server.releases.clear()
        row = release("0.2.0")
        server.publish(row.entry, row.files)
        machine.refuses("0.2.0", "0.3.0")
        assert machine.version == "0.1.0"


def test_the_highest_that_was_seen_may_come_again():
    with serving(release("0.3.0")) as server:
        machine = Machine("0.1.0", server)
        machine.update()
        machine.update("--rollback")
        machine.update()
        assert machine.version == "0.3.0"


def test_a_version_that_was_only_claimed_is_not_remembered():
    """Or whoever has the server for a day stops all updates for ever."""
    fake = release("0.9.0")
    fake.replace(".tar.gz", b"no archive")
    with serving(fake) as server:
        machine = Machine("0.1.0", server)
        machine.check(expect=AVAILABLE)
        machine.refuses("0.9.0")
        server.releases.clear()
        row = release("0.2.0")
        server.publish(row.entry, row.files)
        machine.update()
        assert machine.version == "0.2.0"


def test_the_stable_channel_is_not_held_up_by_a_candidate_that_was_tried():
    with serving(release("0.3.0-rc1"), release("0.2.0")) as server:
        machine = Machine("0.1.0", server, channel="rc")
        machine.update()
        machine.update("--rollback")
        machine.configure(channel="stable")
        machine.update()
        assert machine.version == "0.2.0"


# ---- unsigned ones

def unsigned():
    return release("0.2.0").without(".minisig")


def test_an_unsigned_one_is_taken_when_the_command_line_says_so():
    with serving(unsigned()) as server:
        machine = Machine("0.1.0", server)
        machine.refuses(ARCHIVE + ".minisig")
        machine.update("--unsigned")
        assert machine.version == "0.2.0"


def test_the_flag_is_not_for_signatures_that_are_wrong():
    row = release("0.2.0").replace(".tar.gz", changed(archive(), 5000))
    with serving(row) as server:
        Machine("0.1.0", server).refuses("signature", options=["--unsigned"])


@pytest.mark.parametrize("setting", [{"require_signature": "false"}, {"require_signature": "no", "keys": None}])
def test_no_configuration_makes_an_unsigned_one_welcome(setting):
    with serving(unsigned()) as server:
        Machine("0.1.0", server, **setting).refuses("arm64runner.conf:", "require_signature")


# ---- configuration that somebody else put there

def hostile(folder, server, **settings):
    """An arm64runner.conf as the archive of a program could bring it."""
    settings = {"url": server.url, "ca_file": server.certificate.authority, "repository": updatelib.REPOSITORY,
                "keys": key("somebody").public, "auto_update": "true", "require_signature": "false", **settings}
    path = folder / "arm64runner.conf"
    path.write_text("[update]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items() if value is not None))
    return path


def evil_release():
    return resigned("9.9.9", release("0.2.0").files[ARCHIVE], by="somebody")


@pytest.mark.parametrize("how", ["writable", "own"])
def test_a_configuration_in_the_current_folder_brings_no_keys(how):
    """Whoever runs an update where a stranger's archive was unpacked has the stranger's file there as his own."""
    with serving(release("0.2.0")) as good, serving(evil_release()) as evil:
        machine = Machine("0.1.0", good)
        path = hostile(machine.work, evil)
        path.chmod(0o666 if how == "writable" else 0o644)
        machine.update()
        assert machine.version == "0.2.0"
        assert not evil.requests


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_configuration_of_somebody_else_is_passed_over():
    with serving(release("0.2.0")) as good, serving(evil_release()) as evil:
        machine = Machine("0.1.0", good)
        os.chown(hostile(machine.work, evil), 65534, 65534)
        machine.update()
        assert machine.version == "0.2.0" and not evil.requests


def test_a_link_in_the_current_folder_is_no_way_around_it():
    with serving(release("0.2.0")) as good, serving(evil_release()) as evil:
        machine = Machine("0.1.0", good)
        other = lib.scratch_directory()
        path = hostile(other, evil)
        path.chmod(0o666)
        (machine.work / "arm64runner.conf").symlink_to(path)
        machine.update()
        assert machine.version == "0.2.0" and not evil.requests


def test_a_file_that_is_named_on_the_command_line_counts():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0")
        machine.conf.unlink()
        where = lib.scratch_directory()
        path = hostile(where, server, keys=key().public)
        machine.update("--config", path)
        assert machine.version == "0.2.0"


def test_a_configuration_with_mistakes_is_told_with_the_line():
    machine = Machine("0.1.0", channel="nightly")
    said = machine.run("--update")
    number = machine.conf.read_text().splitlines().index("channel = nightly") + 1
    assert f"{machine.conf}:{number}" in said.err and "channel" in said.err


def test_a_repository_that_is_none_is_told():
    for name in ("runner", "../../etc", "a/b/c", "owner/", "owner/na me"):
        said = Machine("0.1.0", url="https://127.0.0.1:1", repository=name).run("--update")
        assert said.status in (1, 2) and f"{name} is no repository" in said.err, said


def test_without_a_repository_the_setting_is_named():
    said = Machine("0.1.0", url="https://127.0.0.1:1", repository=None).run("--update")
    assert said.status in (1, 2) and "repository = OWNER/NAME" in said.err, said
