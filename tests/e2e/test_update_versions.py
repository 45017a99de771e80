"""Which release is taken: versions, channels, what the index says and leaves out."""
import pytest

import updatelib
from updatelib import AVAILABLE, DONE, PROGRAMS, REFUSED, Machine, release, serving


# ---- there is one

@pytest.mark.parametrize("by", PROGRAMS)
def test_a_newer_release_is_installed(by):
    with serving(release("0.2.0"), release("0.1.0")) as server:
        machine = Machine("0.1.0", server)
        said = machine.update(by=by)
        assert machine.version == "0.2.0"
        assert "0.1.0" in said.out + said.err and "0.2.0" in said.out + said.err


def test_the_update_module_of_the_original_updates_without_being_told():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        assert machine.run().status == DONE
        assert machine.version == "0.2.0"


def test_the_module_is_updated_with_the_program():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        machine.update()
        assert machine.run("--version", by="update_module").out == "update_module 0.2.0\n"


@pytest.mark.parametrize("by", PROGRAMS)
def test_check_tells_and_changes_nothing(by):
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        before = machine.fingerprint()
        said = machine.check(expect=AVAILABLE, by=by)
        assert "0.2.0" in said.out
        assert machine.fingerprint() == before
        assert not server.asked_for("/storage/"), "nothing is loaded for a check"


def test_after_the_update_there_is_nothing_to_do():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        machine.update()
        said = machine.update()
        assert "0.2.0" in said.out + said.err
        machine.check(expect=DONE)


# ---- there is none

@pytest.mark.parametrize("installed, offered", [
    ("0.2.0", ["0.2.0"]),                     # the same
    ("0.2.0", ["0.1.9", "0.1.0"]),            # older
    ("0.2.0", ["0.2.0-rc10"]),                # a candidate of what is there
    ("0.10.0", ["0.9.9"]),                    # numbers are not texts
    ("0.2.0", []),                            # nothing was ever released
    ("0.2.0-rc10", ["0.2.0-rc2", "0.2.0-rc10"]),
])
@pytest.mark.parametrize("channel", ["stable", "rc"])
def test_what_is_not_newer_is_left_alone(installed, offered, channel):
    with serving(*map(release, offered)) as server:
        machine = Machine(installed, server, channel=channel)
        before = machine.fingerprint()
        machine.check(expect=DONE)
        machine.update()
        assert machine.fingerprint() == before
        assert not server.asked_for("/storage/")


# ---- versions and channels

@pytest.mark.parametrize("installed, offered, channel, taken", [
    ("0.1.0", ["0.2.0-rc1", "0.1.1"], "stable", "0.1.1"),
    ("0.1.0", ["0.2.0-rc1", "0.1.1"], "rc", "0.2.0-rc1"),
    ("0.2.0-rc2", ["0.2.0-rc2", "0.2.0-rc10", "0.2.0-rc9"], "rc", "0.2.0-rc10"),
    ("0.2.0-rc10", ["0.2.0-rc10", "0.2.0"], "rc", "0.2.0"),
    ("0.2.0-rc10", ["0.2.0-rc11", "0.2.0"], "stable", "0.2.0"),
    ("0.9.0", ["0.9.9", "0.10.0"], "stable", "0.10.0"),
    ("0.1.0", ["0.1.9", "0.1.10"], "stable", "0.1.10"),
    ("0.9.9", ["1.0.0", "0.99.99"], "stable", "1.0.0"),
])
def test_the_newest_of_the_channel_is_taken_wherever_it_stands(installed, offered, channel, taken):
    for order in (offered, offered[::-1]):
        with serving(*map(release, order)) as server:
            machine = Machine(installed, server, channel=channel)
            machine.update()
            assert machine.version == taken


def test_the_stable_channel_takes_no_candidate_that_is_not_marked_as_one():
    row = release("0.2.0-rc1")
    row.entry["prerelease"] = False
    with serving(row) as server:
        Machine("0.1.0", server).check(expect=DONE)


def test_the_stable_channel_takes_nothing_that_is_marked_as_a_candidate():
    row = release("0.2.0")
    row.entry["prerelease"] = True
    with serving(row) as server:
        Machine("0.1.0", server).check(expect=DONE)


def test_a_draft_is_no_release():
    row = release("0.2.0")
    row.entry["draft"] = True
    with serving(row) as server:
        Machine("0.1.0", server, channel="rc").check(expect=DONE)


@pytest.mark.parametrize("tag", ["0.2.0", "v0.2.0"])
def test_tags_may_begin_with_v(tag):
    row = release("0.2.0")
    row.entry["tag_name"] = tag
    with serving(row) as server:
        machine = Machine("0.1.0", server)
        machine.update()
        assert machine.version == "0.2.0"


@pytest.mark.parametrize("tag", ["nightly", "v", "", "v99.0.0.0.0", "v99.0.0-beta", "v-1.0.0", "v99999999999999999999.0.0", "v99.0.0\u202e",
                                 None, 99])
def test_tags_that_are_no_versions_are_passed_over(tag):
    odd = release("0.2.0")
    odd.entry["tag_name"] = tag
    with serving(release("0.1.1")) as server:
        server.releases.insert(0, {**odd.entry})
        machine = Machine("0.1.0", server)
        machine.update()
        assert machine.version == "0.1.1"


def test_a_release_on_a_later_page_is_found():
    with serving(release("0.2.0")) as server:
        old = release("0.1.0").entry
        for build in range(250):
            server.releases.insert(0, {**old, "tag_name": f"v0.0.{build}", "assets": []})
        machine = Machine("0.1.0", server)
        machine.update()
        assert machine.version == "0.2.0"
        assert len(server.index_requests) > 1


# ---- assets

def test_a_release_without_an_archive_for_this_machine_is_told():
    row = release("0.2.0").without(".tar.gz").without(".minisig")
    row.entry["assets"].append({**release("0.2.0").asset(), "name": "arm64_runner-0.2.0-linux-riscv64.tar.gz"})
    with serving(row) as server:
        Machine("0.1.0", server).refuses("0.2.0", "arm64_runner-0.2.0-linux-x86_64.tar.gz")


def test_a_release_without_a_signature_is_told():
    with serving(release("0.2.0").without(".minisig")) as server:
        Machine("0.1.0", server).refuses("arm64_runner-0.2.0-linux-x86_64.tar.gz.minisig")


def test_an_asset_that_is_still_being_uploaded_is_not_loaded():
    row = release("0.2.0")
    row.asset()["state"] = "starter"
    with serving(row) as server:
        Machine("0.1.0", server).refuses(row.name)
        assert not server.asked_for("/storage/")


def test_archives_of_other_machines_are_left_alone():
    row = release("0.2.0")
    other = {**row.asset(), "name": "arm64_runner-0.2.0-linux-aarch64.tar.gz", "browser_download_url": "https://nowhere.invalid/x"}
    row.entry["assets"].insert(0, other)
    with serving(row) as server:
        machine = Machine("0.1.0", server)
        machine.update()
        assert machine.version == "0.2.0"


# ---- what is no index

@pytest.mark.parametrize("body", [b"", b"<html>Log in to the hotel's network</html>", b"{}", b'{"message": "Not Found"}', b"[", b"[" * 100000,
                                  b"\xff\xfe[]", b"null", b"[]]"], ids=lambda body: body[:20].decode("latin-1") or "empty")
def test_what_is_no_index_is_refused_and_who_gave_it_is_named(body):
    with serving() as server:
        server.body = body
        Machine("0.1.0", server).refuses(server.url)


@pytest.mark.parametrize("entry", [b"1", b"{}", b"null", b"[]", b'{"tag_name": {}}', b'{"tag_name": "v0.2.0", "draft": true, "assets": 3}'])
def test_entries_that_are_none_are_passed_over(entry):
    with serving() as server:
        server.body = b"[" + entry + b"]"
        Machine("0.1.0", server).check(expect=DONE)


@pytest.mark.parametrize("assets", [b"", b', "assets": 3', b', "assets": [1, {}, null]', b', "assets": [{"name": "arm64_runner-0.2.0-linux-x86_64.tar.gz"}]'])
def test_a_release_with_assets_that_are_none_is_told(assets):
    with serving() as server:
        server.body = b'[{"tag_name": "v0.2.0"' + assets + b"}]"
        Machine("0.1.0", server).refuses("arm64_runner-0.2.0-linux-x86_64.tar.gz")


def test_an_index_without_end_is_given_up():
    with serving() as server:
        server.endless_index = True
        Machine("0.1.0", server).refuses(server.url)


# ---- what is said

def test_the_changelog_is_that_of_the_newer_releases():
    rows = [release(v) for v in ("0.3.0-rc1", "0.2.0", "0.1.0")]
    for row in rows:
        row.entry["body"] = f"- news of {row.version}\r\n- \x1b[31mred\x07\n"
    with serving(*rows) as server:
        machine = Machine("0.1.0", server)
        stable, candidates = (machine.run(option) for option in ("--changelog", "--changelog-rc"))
        assert stable.status == candidates.status == 0, (stable, candidates)
        assert "news of 0.2.0" in stable.out and "rc1" not in stable.out
        assert "news of 0.3.0-rc1" in candidates.out
        for said in stable, candidates:
            assert not set(said.out) & {"\x1b", "\x07", "\r"}, "a terminal is not to be told what to do"


@pytest.mark.parametrize("by", PROGRAMS)
def test_both_programs_show_the_changelog(by):
    row = release("0.2.0")
    row.entry["body"] = "- something new"
    with serving(row) as server:
        said = Machine("0.1.0", server).run("--changelog", by=by)
        assert said.status == 0 and "something new" in said.out


def test_json_says_what_there_is():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        answer = machine.update("--check", "--json", expect=AVAILABLE).json
        assert answer["ok"] is True and "0.1.0" in answer.values() and "0.2.0" in answer.values(), answer
        machine.update("--json")
        assert machine.version == "0.2.0"
        assert machine.update("--check", "--json").json["ok"] is True


def test_json_says_why_it_is_refused():
    with serving(release("0.2.0").without(".minisig")) as server:
        said = Machine("0.1.0", server).update("--json", expect=REFUSED)
        assert "arm64_runner-0.2.0-linux-x86_64.tar.gz.minisig" in said.error["message"]


def test_a_wrong_option_is_wrong_use_and_changes_nothing():
    machine = Machine("0.1.0")
    before = machine.fingerprint()
    assert machine.run("--upgrade").status == 2
    assert machine.run("--update", "now", by="update_module").status == 2
    assert machine.fingerprint() == before


def test_requests_say_who_asks_and_which_api():
    with serving(release("0.2.0")) as server:
        Machine("0.1.0", server).update()
        headers = server.index_requests[0].headers
        assert headers["user-agent"].startswith("update_module/0.1.0")
        assert headers["accept"] == "application/vnd.github+json"
        assert "x-github-api-version" in headers
        assert updatelib.REPOSITORY in server.index_requests[0].path
