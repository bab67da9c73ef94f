"""A client downloads from good, broken and hostile points: what it keeps is right, or it keeps nothing."""

from __future__ import annotations

import contextlib
import ssl
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from download_client import (
    BIG,
    FILES,
    PATIENCE,
    SIZE,
    SPARSE,
    files_in,
    refused,
    to_cache,
    to_folder,
    wish,
)
from download_points import SERVERS, SamplePoint
from faulty_server import FAULTS, faulty, often
from http_requests import certificate

from courier.distribution import source_list
from courier.distribution.download_limits import DownloadLimits, make_limits
from courier.distribution.download_pace import Pace
from courier.distribution.http_source import http_source
from courier.errors import DamagedError
from formats.blocks import BLOCK
from formats.documents.point import Withdrawn

pytestmark = pytest.mark.usefixtures("short_pauses")


# --- good points ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", [*SERVERS, "folder"])
def test_a_package_comes_from_every_kind_of_point_as_it_was_added(
    made: SamplePoint, server: str, tmp_path: Path
) -> None:
    serving = SERVERS[server](made.folder) if server in SERVERS else contextlib.nullcontext(str(made.folder))
    with serving as place:
        outcome = to_folder(wish(made.card, place), tmp_path / "out")
    assert files_in(tmp_path / "out") == FILES
    info = (tmp_path / "out" / "sub" / "1.txt").stat()
    assert (info.st_mtime_ns, info.st_mode & 0o7777) == (10**18, 0o640)
    # A large content with two names is fetched once, and blocks of zeros never.
    assert outcome.counts.fetched == SIZE - len(BIG) - 4 * BLOCK - (len(SPARSE) - 6 * BLOCK)
    assert outcome.sources[0].faults == ()
    assert sorted(path.name for path in tmp_path.iterdir() if "download" in path.name) == []


def test_a_server_is_asked_some_times_for_a_file_not_for_every_block(made: SamplePoint, tmp_path: Path) -> None:
    with faulty(made.folder) as server:
        to_folder(wish(made.card, server.url), tmp_path / "out")
    assert len([path for path, asked in server.asked if asked]) <= 8


def test_a_server_without_parts_of_files_is_used_file_by_file(made: SamplePoint, tmp_path: Path) -> None:
    with faulty(made.folder, lambda _: "no parts") as server:
        to_folder(wish(made.card, server.url), tmp_path / "out")
    assert files_in(tmp_path / "out") == FILES


def test_a_peer_of_the_statement_is_asked_first_and_only_for_contents(point: SamplePoint, tmp_path: Path) -> None:
    with faulty(point.copy(f"{tmp_path.name}-peer")) as peer, faulty(point.folder) as own:
        point.publish(peers=tuple(sorted(["http://127.0.0.1:9/", peer.url])))
        outcome = to_folder(wish(point.card, own.url), tmp_path / "out")
    assert files_in(tmp_path / "out") == FILES
    by_name = {one.name: one for one in outcome.sources}
    assert by_name[peer.url].bytes == outcome.counts.fetched
    assert not [path for path, _ in peer.asked if path.endswith(".json")]


def test_a_peer_with_wrong_bytes_is_blamed_and_does_no_harm(point: SamplePoint, tmp_path: Path) -> None:
    with faulty(point.folder, lambda _: "wrong bytes") as peer, faulty(point.folder) as own:
        point.publish(peers=(peer.url,))
        outcome = to_folder(wish(point.card, own.url), tmp_path / "out")
    assert files_in(tmp_path / "out") == FILES
    assert {one.name for one in outcome.sources if one.refused} == {peer.url}


# --- broken points --------------------------------------------------------------------------------------------------


def test_a_package_comes_whole_through_a_line_with_30_percent_faults(
    made: SamplePoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_list, "MOST_WRONG", 50)
    with faulty(made.folder, often(0.3)) as server:
        outcome = to_folder(wish(made.card, server.url), tmp_path / "out")
    assert files_in(tmp_path / "out") == FILES
    assert set(server.done) == {"", *FAULTS}
    assert outcome.sources[0].faults


@pytest.mark.parametrize(
    "fault", ["cut", "wrong bytes", "wrong length", "wrong offset", "500", "403", "redirect", "slow"]
)
def test_another_point_goes_on_where_one_fails(made: SamplePoint, fault: str, tmp_path: Path) -> None:
    with faulty(made.folder, lambda path: fault if "content" in path else "") as bad, faulty(made.folder) as good:
        outcome = to_folder(wish(made.card, bad.url, good.url), tmp_path / "out")
    assert files_in(tmp_path / "out") == FILES
    blamed = {one.name for one in outcome.sources if one.faults}
    assert blamed == {bad.url}
    if fault == "redirect":
        assert "192.0.2.1" in outcome.sources[0].faults[0][0]


def test_a_file_that_a_point_lacks_comes_from_another(point: SamplePoint, tmp_path: Path) -> None:
    other = point.copy(f"{tmp_path.name}-other")
    point.content(BIG).unlink()
    point.content(FILES["sub/3.txt"]).unlink()
    with faulty(point.folder) as first:
        outcome = to_folder(wish(point.card, first.url, other), tmp_path / "out")
    assert files_in(tmp_path / "out") == FILES
    # What is not there is final: it is asked for once by each connection at most.
    assert len([path for path, _ in first.asked if path.endswith(point.content(BIG).name)]) <= 6
    assert outcome.sources[1].bytes >= len(BIG)


def test_what_no_point_has_right_is_said_and_what_came_is_kept(point: SamplePoint, tmp_path: Path) -> None:
    content = point.content(BIG)
    good = content.read_bytes()
    content.write_bytes(good[: 2 * BLOCK] + b"x" + good[2 * BLOCK + 1 :])
    error = refused("incomplete", lambda: to_folder(wish(point.card, point.folder, connections=1), tmp_path / "out"))
    assert "block 2" in error.message
    assert isinstance(error, DamagedError)
    assert not (tmp_path / "out").exists()
    content.write_bytes(good)
    outcome = to_folder(wish(point.card, point.folder), tmp_path / "out")
    assert outcome.counts.resumed >= 2 * BLOCK
    assert files_in(tmp_path / "out") == FILES


def test_a_dead_point_is_unreachable_and_the_other_is_taken(made: SamplePoint, tmp_path: Path) -> None:
    dead = "http://127.0.0.1:9"
    assert (
        refused("unreachable", lambda: to_folder(wish(made.card, dead, retry_for=0.5), tmp_path / "a")).exit_code == 7
    )
    to_folder(wish(made.card, dead, made.folder), tmp_path / "b")


# --- hostile points -------------------------------------------------------------------------------------------------


def test_an_older_statement_is_refused_once_a_newer_was_seen(point: SamplePoint, tmp_path: Path) -> None:
    old = (point.folder / "point.json").read_bytes()
    point.publish()
    to_cache(wish(point.card, point.folder), tmp_path / "cache")
    (point.folder / "point.json").write_bytes(old)
    refused("rolled-back-point", lambda: to_cache(wish(point.card, point.folder), tmp_path / "cache"))


def test_what_was_withdrawn_or_is_too_old_is_refused(point: SamplePoint, tmp_path: Path) -> None:
    wanted = replace(wish(point.card, point.folder), version=1)
    point.publish(packages=(), withdrawn=(Withdrawn(package="HQ100001", version=1, reason="a fault"),))
    refused("withdrawn", lambda: to_folder(wanted, tmp_path / "out"))
    point.publish(packages=(), least={"HQ100001": 2})
    refused("withdrawn", lambda: to_folder(wanted, tmp_path / "out"))
    refused("not-found", lambda: to_folder(replace(wanted, package="HQ100009"), tmp_path / "out"))


def test_another_sites_statement_and_another_listing_are_refused(point: SamplePoint, tmp_path: Path) -> None:
    from download_points import Signing

    from formats.documents.point import definition_path, listing_path

    listing = point.folder / listing_path(point.refs[0].listing)
    good = listing.read_bytes()
    listing.write_bytes(good.replace(b"1.txt", b"7.txt", 1))
    refused("digest-mismatch", lambda: to_folder(wish(point.card, point.folder), tmp_path / "out"))
    listing.write_bytes(good)
    point.put({"other": b"other"}, package="HQ100002")
    other = (point.folder / definition_path("HQ100002", 1)).read_bytes()
    (point.folder / definition_path("HQ100001", 1)).write_bytes(other)
    refused("definition-disagrees", lambda: to_folder(wish(point.card, point.folder), tmp_path / "out"))
    point.hq = Signing("HQ1", 9)
    point.publish()
    error = refused("unknown-key", lambda: to_folder(wish(point.card, point.folder), tmp_path / "out"))
    assert error.exit_code == 3
    assert not (tmp_path / "out").exists()


def test_an_endless_answer_ends(made: SamplePoint, tmp_path: Path) -> None:
    with faulty(made.folder, lambda path: "endless" if path.startswith(("content", "point")) else "") as bad:
        outcome = to_folder(wish(made.card, bad.url, made.folder), tmp_path / "out")
    assert files_in(tmp_path / "out") == FILES
    assert outcome.sources[1].bytes


def test_https_is_verified_by_the_file_of_certificates_that_is_named(made: SamplePoint, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with faulty(made.folder) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = server.url.replace("http:", "https:")
        good = http_source(url, patience=PATIENCE, ca_file=cert)
        to_folder(replace(wish(made.card, made.folder), points=(good,)), tmp_path / "out")
        error = refused("unreachable", lambda: to_folder(wish(made.card, url, retry_for=0.1), tmp_path / "no"))
    assert "certificate" in error.message
    assert files_in(tmp_path / "out") == FILES


def test_a_window_that_closes_interrupts_and_the_rest_comes_when_it_opens(made: SamplePoint, tmp_path: Path) -> None:
    asked = 0
    now_ns = int(datetime(2026, 1, 5, 12, tzinfo=UTC).timestamp()) * 10**9
    closed = make_limits(["13:00-14:00"], zone="UTC")

    def limits() -> DownloadLimits:
        nonlocal asked
        asked += 1
        return closed if 50 < asked < 60 else DownloadLimits()

    stop = threading.Event()
    pace = Pace(limits, stop=stop, now=lambda: now_ns, sleep=lambda _: None)
    with faulty(made.folder) as server:
        wanted = wish(made.card, server.url)
        outcome = to_folder(replace(wanted, manner=replace(wanted.manner, pace=pace)), tmp_path / "out", stop)
    assert files_in(tmp_path / "out") == FILES
    assert outcome.sources[0].faults == ()
