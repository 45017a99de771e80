"""The way to the server: conditional requests, limits, broken and slow downloads, TLS, redirects, no network at all."""
import re
import signal
import subprocess
import time

import pytest

import lib
import release_server
from release_server import Limit, ReleaseServer, certificate
from updatelib import AVAILABLE, DONE, Machine, release, serving

ARCHIVE = "arm64_runner-0.2.0-linux-x86_64.tar.gz"


def seconds_in(said):
    """The time until the next question, as the refusal says it."""
    return int(re.search(r" (\d+) s\b", said.err)[1])


# ---- conditional requests

def test_an_index_that_is_the_same_is_not_sent_again():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        machine.check(expect=AVAILABLE)
        machine.check(expect=AVAILABLE)
        first, second = server.index_requests
        assert "if-none-match" not in first.headers and second.headers["if-none-match"].startswith('W/"')


def test_an_update_goes_by_the_kept_index_too():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        machine.check(expect=AVAILABLE)
        machine.update()
        assert machine.version == "0.2.0"


def test_a_newer_index_replaces_the_kept_one():
    with serving(release("0.1.0")) as server:
        machine = Machine("0.1.0", server)
        machine.check(expect=DONE)
        server.publish(release("0.2.0").entry, release("0.2.0").files)
        machine.check(expect=AVAILABLE)


def test_the_kept_index_of_one_server_is_not_anothers():
    with serving(release("0.2.0")) as first, serving(release("0.1.0")) as second:
        machine = Machine("0.1.0", first)
        machine.check(expect=AVAILABLE)
        machine.configure(url=second.url)
        machine.check(expect=DONE)
        assert "if-none-match" not in second.index_requests[0].headers


@pytest.mark.parametrize("damage", [lambda old: b"", lambda old: b"\0damaged{", lambda old: old[:len(old) // 2], lambda old: old + b"]"],
                         ids=["empty", "garbage", "half", "more"])
def test_a_kept_index_that_is_damaged_is_asked_for_again(damage):
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        machine.check(expect=AVAILABLE)
        kept = machine.remembered(".index")
        kept.write_bytes(damage(kept.read_bytes()))
        machine.run("--update", "--check")
        machine.check(expect=AVAILABLE)


def test_what_is_remembered_is_not_guessed_when_it_is_damaged():
    """It may have said which version is too old."""
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        machine.check(expect=AVAILABLE)
        kept = machine.remembered()
        kept.write_bytes(b"highest nonsense\n")
        machine.refuses(kept.name, "damaged")
        kept.unlink()
        machine.check(expect=AVAILABLE)


# ---- limits

@pytest.mark.parametrize("limit", [Limit(403, retry_after=90), Limit(429, retry_after=90), Limit(429, retry_after=90, remaining=0, reset=1)],
                         ids=["403", "429", "both headers"])
def test_a_limit_is_told_with_the_time_to_come_again(limit):
    with serving(release("0.2.0")) as server:
        server.limited = limit
        said = Machine("0.1.0", server).refuses(str(limit.status))
        assert 60 < seconds_in(said) <= 90
        assert len(server.index_requests) == 1, "nobody tries again at once"


def test_the_reset_time_of_github_is_told():
    at = int(time.time()) + 1800
    with serving(release("0.2.0")) as server:
        server.limited = Limit(403, remaining=0, reset=at)
        said = Machine("0.1.0", server).refuses("403")
        assert 1700 < seconds_in(said) <= 1800


def test_within_the_time_the_server_is_not_asked_again():
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        server.limited = Limit(429, retry_after=3600)
        machine.refuses("429")
        server.limited = None
        assert 3500 < seconds_in(machine.refuses(server.url)) <= 3600
        assert len(server.index_requests) == 1


@pytest.mark.parametrize("retry_after", ["Fri, 31 Dec 1999 23:59:59 GMT", "-5", "99999999999999999999", "soon", ""])
def test_a_retry_time_that_makes_no_sense_does_not_stop_updates_for_ever(retry_after):
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        server.limited = Limit(429, retry_after=retry_after)
        machine.refuses("429")
        server.limited = None
        machine.wait(2 * 86400)
        machine.update()
        assert machine.version == "0.2.0"


def test_a_clock_that_was_ahead_for_a_moment_does_not_stop_updates():
    """What was remembered then is a year from now; no server may put us off for that long."""
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server)
        server.limited = Limit(429, retry_after=3600)
        machine.refuses("429")
        server.limited = None
        machine.wait(-365 * 86400)
        machine.update()
        assert machine.version == "0.2.0"


def test_a_limit_on_downloads_is_told_too():
    with serving(release("0.2.0")) as server:
        server.limits_assets = Limit(429, retry_after=90)
        Machine("0.1.0", server).refuses("429", ARCHIVE)


@pytest.mark.parametrize("status", [401, 404, 500, 503])
def test_other_refusals_of_the_server_are_told_with_the_address(status):
    with serving(release("0.2.0")) as server:
        server.limited = Limit(status)
        Machine("0.1.0", server).refuses(status, server.url)


def test_a_repository_that_does_not_exist_is_named():
    with serving(release("0.2.0")) as server:
        Machine("0.1.0", server, repository="nobody/nothing").refuses("404", "nobody/nothing")


# ---- downloads that break

@pytest.mark.parametrize("ranges", [True, False], ids=["with ranges", "without ranges"])
def test_a_download_that_breaks_once_is_finished(ranges):
    with serving(release("0.2.0")) as server:
        archive = server.asset(ARCHIVE)
        archive.stops_after, archive.stops, archive.ranges = 100_000, 1, ranges
        machine = Machine("0.1.0", server)
        machine.update()
        assert machine.version == "0.2.0"
        if ranges:
            assert sum(archive.sent) == len(archive.data), "what had come is not loaded again"


def test_a_download_that_always_breaks_is_given_up():
    with serving(release("0.2.0")) as server:
        archive = server.asset(ARCHIVE)
        archive.stops_after, archive.stops = 1000, 1000
        machine = Machine("0.1.0", server)
        machine.refuses(ARCHIVE)
        assert 1 <= len(archive.sent) <= 10
        archive.stops = 0
        machine.update()
        assert machine.version == "0.2.0"


def test_half_of_an_archive_that_has_been_replaced_is_not_joined_to_the_other_half():
    """The server says nothing of it, and continues the old file with the new one's bytes."""
    with serving(release("0.2.0")) as server:
        archive = server.asset(ARCHIVE)
        good = archive.data
        archive.data, archive.ignores_if_range = bytes(len(good)), True
        archive.stops_after, archive.stops = 5000, 1000
        machine = Machine("0.1.0", server)
        machine.refuses(ARCHIVE)
        archive.data, archive.stops = good, 0
        machine.run("--update")
        if machine.version != "0.2.0":  # refused, and then nothing of the wrong half may be left
            machine.update()
        assert machine.version == "0.2.0"


def test_a_download_that_stands_still_is_given_up():
    with serving(release("0.2.0")) as server:
        server.asset(ARCHIVE).hangs_after = 1000
        Machine("0.1.0", server, timeout=1).refuses(ARCHIVE)


def test_a_server_that_takes_the_connection_and_says_nothing_is_given_up():
    with serving(release("0.2.0")) as server:
        server.hangs = True
        Machine("0.1.0", server, timeout=1).refuses(server.url)


def test_an_archive_without_end_is_given_up_at_its_size():
    with serving(release("0.2.0")) as server:
        server.asset(ARCHIVE).endless = True
        Machine("0.1.0", server).refuses(ARCHIVE)


def test_an_archive_whose_length_is_not_told_is_taken():
    with serving(release("0.2.0")) as server:
        server.asset(ARCHIVE).says_length = False
        machine = Machine("0.1.0", server)
        machine.update()
        assert machine.version == "0.2.0"


def test_an_archive_that_is_too_large_is_not_even_asked_for():
    row = release("0.2.0")
    row.asset()["size"] = 10 << 30
    with serving(row) as server:
        Machine("0.1.0", server).refuses(ARCHIVE)
        assert not server.asked_for("/storage/")


def test_an_asset_that_is_gone_is_told():
    with serving(release("0.2.0")) as server:
        server.asset(ARCHIVE).status = 404
        Machine("0.1.0", server).refuses("404", ARCHIVE)


def test_an_interrupted_download_leaves_nothing_in_the_way():
    with serving(release("0.2.0")) as server:
        archive = server.asset(ARCHIVE)
        archive.hangs_after = 100_000
        machine = Machine("0.1.0", server)
        process = subprocess.Popen(machine.command("--update"), env=machine.environment, cwd=machine.work,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert archive.begun.wait(lib.PATIENCE)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=lib.PATIENCE)
        assert process.returncode == -signal.SIGINT or process.returncode in (1, 130)
        assert machine.version == "0.1.0"
        archive.hangs_after = None
        machine.update()
        assert machine.version == "0.2.0"


# ---- TLS

def test_a_server_whose_authority_is_not_trusted_is_refused():
    with ReleaseServer(certificate("127.0.0.1", by="somebody else")) as server:
        machine = Machine("0.1.0", server, ca_file=certificate("127.0.0.1").authority)
        machine.refuses(server.url, "certificate")
        assert not server.requests


def test_without_a_ca_file_the_machines_authorities_count_and_ours_is_none_of_them():
    with serving(release("0.2.0")) as server:
        Machine("0.1.0", server, ca_file=None).refuses(server.url, "certificate")


@pytest.mark.parametrize("variable", ["CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_environment_may_name_the_authorities(variable):
    with serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server, ca_file=None)
        machine.check(expect=AVAILABLE, env={variable: str(server.certificate.authority)})


def test_a_certificate_of_another_host_is_refused():
    with serving(release("0.2.0"), hosts=("example.test",)) as server:
        machine = Machine("0.1.0", server)
        machine.refuses(server.url, "certificate")
        assert not server.requests


def test_a_server_of_storage_that_is_not_trusted_is_refused():
    with serving(release("0.2.0")) as server, ReleaseServer(certificate("127.0.0.1", by="somebody else")) as other:
        other.assets["x"] = release_server.Asset(b"x")
        server.asset(ARCHIVE).redirects = [f"{other.url}/storage/x"]
        Machine("0.1.0", server).refuses("certificate", ARCHIVE)
        assert not other.requests


def test_http_is_for_this_machine_only():
    machine = Machine("0.1.0", url="http://updates.example.invalid")
    machine.refuses("http://updates.example.invalid", "https")
    with ReleaseServer() as server:
        server.publish(release("0.2.0").entry, release("0.2.0").files)
        machine = Machine("0.1.0", server)
        machine.update()
        assert machine.version == "0.2.0"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "file:///etc", "gopher://127.0.0.1", "127.0.0.1", "https://", "https:///x",
                                 "http://127.0.0.1.example.invalid", "http://localhost@example.invalid", "http://127.0.0.1@example.invalid"])
def test_addresses_of_other_kinds_are_refused_by_name(url):
    Machine("0.1.0", url=url).refuses(url)


@pytest.mark.parametrize("target", ["http://updates.example.invalid/x", "file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1:1/x"])
def test_a_redirect_does_not_lead_out_of_https(target):
    with serving(release("0.2.0")) as server:
        server.asset(ARCHIVE).redirects = [target]
        Machine("0.1.0", server).refuses(ARCHIVE)


def test_a_redirect_does_not_lead_to_plain_http_on_this_machine():
    """Where it would find the very file."""
    with serving(release("0.2.0")) as server, ReleaseServer() as other:
        other.assets["x"] = release_server.Asset(server.asset(ARCHIVE).data)
        server.asset(ARCHIVE).redirects = [f"{other.url}/storage/x"]
        Machine("0.1.0", server).refuses(ARCHIVE)
        assert not other.requests


def test_a_redirect_does_not_lead_to_a_file(tmp_path):
    with serving(release("0.2.0")) as server:
        (tmp_path / "x").write_bytes(server.asset(ARCHIVE).data)
        server.asset(ARCHIVE).redirects = [f"file://{tmp_path}/x"]
        Machine("0.1.0", server).refuses(ARCHIVE)


def test_redirects_end():
    with serving(release("0.2.0")) as server:
        archive = server.asset(ARCHIVE)
        again = f"{server.downloads}/v0.2.0/{ARCHIVE}"
        archive.redirects = [again] * 1000
        Machine("0.1.0", server).refuses(ARCHIVE)
        assert len(archive.redirects) > 900


def test_a_few_redirects_are_followed():
    with serving(release("0.2.0")) as server:
        archive = server.asset(ARCHIVE)
        archive.redirects = [f"{server.downloads}/v0.2.0/{ARCHIVE}"] * 2
        machine = Machine("0.1.0", server)
        machine.update()
        assert machine.version == "0.2.0"


@pytest.mark.parametrize("address", ["http://updates.example.invalid/x.tar.gz", "file:///etc/passwd", ""])
def test_the_address_of_an_asset_is_held_to_the_same_rules(address):
    with serving(release("0.2.0")) as server:
        server.releases[0]["assets"][0]["browser_download_url"] = address
        Machine("0.1.0", server).refuses(address or ARCHIVE)


@pytest.mark.parametrize("end", [".tar.gz", ".minisig"])
def test_a_list_from_elsewhere_has_no_server_of_this_machine_asked(end):
    """By plain http:, which is for who is configured to be this machine."""
    with serving(release("0.2.0")) as server, ReleaseServer() as other:
        other.assets["x"] = release_server.Asset(server.asset(ARCHIVE).data)
        next(asset for asset in server.releases[0]["assets"] if asset["name"].endswith(end))["browser_download_url"] = f"{other.url}/storage/x"
        Machine("0.1.0", server).refuses(server.url, other.url, "only https:// is asked")
        assert not other.requests


# ---- no network

def test_a_refused_connection_is_told():
    holder, port = release_server.closed_port()
    with holder:
        Machine("0.1.0", url=f"https://127.0.0.1:{port}").refuses(f"127.0.0.1:{port}")


def test_a_name_that_does_not_resolve_is_told():
    Machine("0.1.0", url="https://updates.example.invalid").refuses("updates.example.invalid")


def test_what_is_no_tls_is_told():
    with ReleaseServer() as server:
        Machine("0.1.0", url=server.url.replace("http:", "https:")).refuses(str(server.port))


def test_a_proxy_of_the_environment_is_used():
    """Which is nobody here: the request must not go past it."""
    holder, port = release_server.closed_port()
    with holder, serving(release("0.2.0")) as server:
        machine = Machine("0.1.0", server, url=server.url.replace("127.0.0.1", "localhost"))
        machine.refuses(f"{port}", env={"https_proxy": f"http://127.0.0.1:{port}"})
        assert not server.requests
