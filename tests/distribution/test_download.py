"""A client downloads from good, broken and hostile points: what it keeps is right, or it keeps nothing."""

from __future__ import annotations

import contextlib
import random
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from download_points import SERVERS, SamplePoint
from faulty_server import FAULTS, faulty, often
from http_requests import certificate
from journey import environment, run

from courier.distribution import source_list
from courier.distribution.cache_folder import changing, inventory, open_cache
from courier.distribution.cache_place import judge_placing
from courier.distribution.cache_records import EntryRecord
from courier.distribution.cache_staged import working_on
from courier.distribution.download_limits import DownloadLimits, make_limits
from courier.distribution.download_pace import Pace, Unpaced
from courier.distribution.download_plan import read_cards
from courier.distribution.download_run import Outcome, Wish, download_to_cache, download_to_folder
from courier.distribution.download_shared import Manner
from courier.distribution.folder_source import folder_source
from courier.distribution.http_source import http_source
from courier.distribution.source import Patience
from courier.errors import BusyError, CourierError, DamagedError, StoppedError
from formats.blocks import BLOCK
from formats.documents.point import CacheSettings, Withdrawn

PATIENCE = Patience(connect=2, answer=0.5, stall=0.3, span=2, busy=0.2)
BIG = random.Random(1).randbytes(6 * BLOCK + 77)
SPARSE = bytes(3 * BLOCK) + BIG[: BLOCK + 5] + bytes(2 * BLOCK)
FILES = {
    "image.wim": BIG,
    "copy.wim": BIG,
    "sparse.img": SPARSE,
    "empty": b"",
    "block": BIG[:BLOCK],
    **{f"sub/{n}.txt": f"file {n}".encode() * (n % 90 + 1) for n in range(200)},
}
SIZE = sum(map(len, FILES.values()))


@pytest.fixture(scope="module")
def made(quick: Path) -> SamplePoint:
    point = SamplePoint(quick / "made")
    point.put(FILES)
    return point


@pytest.fixture
def tmp_path(quick: Path) -> Path:
    """A new folder in memory, where the system has that."""
    return Path(tempfile.mkdtemp(dir=quick))


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_list, "FIRST_PAUSE", 0.01)


@pytest.fixture
def point(made: SamplePoint, tmp_path: Path) -> SamplePoint:
    """The point, to be altered by the test."""
    found = SamplePoint(tmp_path / "mine")
    found.folder.rmdir()
    found.folder = made.copy(f"copy-{tmp_path.name}")
    found.refs, found.serial = list(made.refs), made.serial
    return found


def wish(card: Path, *places: object, **more: Any) -> Wish:
    points = tuple(
        http_source(str(one), patience=PATIENCE) if str(one).startswith("http") else folder_source(str(one))
        for one in places
    )
    manner = Manner(pace=Unpaced(), retry_for=more.pop("retry_for", 20), connections=more.pop("connections", 4))
    return Wish(package="HQ100001", version=None, points=points, cards=read_cards([card]), manner=manner, **more)


@contextlib.contextmanager
def silent(_title: str, _total: int) -> Iterator[Callable[[int], None]]:
    yield lambda _: None


def to_folder(wanted: Wish, target: Path, stop: threading.Event | None = None) -> Outcome:
    return download_to_folder(wanted, target, stop=stop or threading.Event(), progress=silent)


def to_cache(wanted: Wish, home: Path) -> Outcome:
    return download_to_cache(wanted, home, stop=threading.Event(), progress=silent)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(code: str, work: Callable[[], object]) -> CourierError:
    with pytest.raises(CourierError) as caught:
        work()
    assert caught.value.code == code, caught.value.message
    return caught.value


def stopping(stop: threading.Event) -> Callable[[str], str]:
    """Stops the download at its first content."""

    def choose(path: str) -> str:
        if "content" in path:
            stop.set()
        return ""

    return choose


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
    closed = make_limits(["13:00-14:00"], "", zone="UTC")

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


# --- stopping, going on, two at once --------------------------------------------------------------------------------


def test_after_sigkill_the_same_command_goes_on(made: SamplePoint, tmp_path: Path) -> None:
    words = ("download", "HQ100001", "--card", made.card, "--cache", tmp_path / "cache", "--priority", "foreground")
    served = 0

    def choose(path: str) -> str:
        nonlocal served
        if "content" in path:
            served += 1
            if served > 60:
                time.sleep(0.5)
        return ""

    with faulty(made.folder, choose) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "courier", *map(str, words), "--from", server.url], env=environment()
        )
        until = time.monotonic() + 60
        while served <= 60 and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    partial = run("cache", "list", "--cache", tmp_path / "cache", "--json").document
    assert [one["active"] for one in partial["downloads"]] == [False]
    document = run(*words, "--from", made.folder, "--json").document
    assert document["resumed_bytes"] > 0
    assert document["fetched_bytes"] < SIZE
    assert files_in(Path(document["path"])) == FILES
    assert run("cache", "list", "--verify", "--cache", tmp_path / "cache", "--json").document["downloads"] == []


def test_a_download_that_is_stopped_ends_at_once_and_goes_on(made: SamplePoint, tmp_path: Path) -> None:
    stop = threading.Event()

    def choose(path: str) -> str:
        if path == "content/" + made.content(FILES["block"]).parent.name + "/" + made.content(FILES["block"]).name:
            stop.set()
        return ""

    with faulty(made.folder, choose) as server, pytest.raises(StoppedError):
        to_folder(wish(made.card, server.url, connections=1), tmp_path / "out", stop)
    assert not (tmp_path / "out").exists()
    assert to_folder(wish(made.card, made.folder), tmp_path / "out").counts.resumed
    assert files_in(tmp_path / "out") == FILES


def test_bytes_that_a_crash_spoiled_on_the_disk_are_fetched_again(made: SamplePoint, tmp_path: Path) -> None:
    stop = threading.Event()
    with faulty(made.folder, stopping(stop)) as server, pytest.raises(StoppedError):
        to_folder(wish(made.card, server.url), tmp_path / "out", stop)
    (partial,) = tmp_path.glob(".out.courier-download")
    for path in (partial / "files").rglob("*.txt"):
        path.write_bytes(bytes(path.stat().st_size))
    image = partial / "files" / "copy.wim"
    image.write_bytes(BIG[:BLOCK] + bytes(BLOCK))
    outcome = to_folder(wish(made.card, made.folder), tmp_path / "out")
    assert outcome.counts.resumed >= BLOCK
    assert files_in(tmp_path / "out") == FILES


def test_two_programs_do_not_download_the_same_into_one_cache(made: SamplePoint, tmp_path: Path) -> None:
    home = tmp_path / "cache"
    with changing(home, make=True):
        pass
    with working_on(home / "downloads" / "HQ100001-1"):
        refused("busy", lambda: to_cache(wish(made.card, made.folder), home))
    results: list[Outcome | CourierError] = []

    def both() -> None:
        try:
            results.append(to_cache(wish(made.card, made.folder), home))
        except BusyError as error:
            results.append(error)

    threads = [threading.Thread(target=both) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one for one in results if isinstance(one, Outcome)]
    assert not inventory(open_cache(home), digests=True).damaged


# --- the cache ------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_not_fetched_and_the_wait_is_said(made: SamplePoint, tmp_path: Path) -> None:
    home = tmp_path / "cache"
    run("cache", "config", "--size", SIZE - 1, "--reserve", "0", "--cache", home)
    with faulty(made.folder) as server:
        words = ("download", "HQ100001", "--from", server.url, "--card", made.card, "--cache", home, "--json")
        document = run(*words, code=5).document
    assert document["error"]["code"] == "cache-too-small"
    assert not [path for path, _ in server.asked if "content" in path]
    run("cache", "config", "--size", SIZE + 10, "--cache", home)
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "twenty").write_bytes(bytes(20))
    run("cache", "place", "HQ100002:1", "--from", folder, "--cache", home)
    again = ("download", "HQ100001", "--from", made.folder, "--card", made.card, "--cache", home, "--json")
    blocked = run(*again, code=5).document
    assert (blocked["error"]["code"], len(blocked["retry_at"])) == ("cache-blocked", 18)
    assert blocked["blocked"][0]["reason"] == "young"
    run("cache", "config", "--minimum-age", "0", "--cache", home)
    placed = run(*again).document
    assert [one["package_id"] for one in placed["evicted"]] == ["HQ100002"]
    assert run(*again).document["already"]


def test_a_partial_download_counts_and_goes_when_it_is_old(made: SamplePoint, tmp_path: Path) -> None:
    home, stop = tmp_path / "cache", threading.Event()
    with faulty(made.folder, stopping(stop)) as server, pytest.raises(StoppedError):
        download_to_cache(wish(made.card, server.url), home, stop=stop, progress=silent)
    (partial,) = inventory(open_cache(home)).downloads
    assert not partial.active
    with changing(home) as cache:
        verdict = judge_placing(cache, cache.settings.size, now_ns=time.time_ns())
        assert [one.reason for one in verdict.blocked] == ["young"]
        later = time.time_ns() + 2000 * 60 * 10**9
        assert judge_placing(cache, cache.settings.size, now_ns=later).evict == (partial.held,)
    assert run("cache", "clear", "--cache", home, "--json").document["deleted"] == [
        {"package_id": "HQ100001", "version": 1}
    ]
    assert inventory(open_cache(home)).downloads == ()


def test_a_cache_that_is_taken_away_is_named(made: SamplePoint, tmp_path: Path) -> None:
    home = tmp_path / "cache"

    def choose(path: str) -> str:
        if "content" in path and home.exists():
            with contextlib.suppress(OSError):
                home.rename(tmp_path / "away")
        return ""

    with faulty(made.folder, choose) as server:
        error = refused("not-found", lambda: to_cache(wish(made.card, server.url), home))
    assert str(home) in error.message
    (tmp_path / "away").rename(home)
    outcome = to_cache(wish(made.card, made.folder), home)
    assert outcome.placing is not None
    assert isinstance(outcome.placing.entry, EntryRecord)


def test_a_client_takes_over_the_signed_settings_of_its_class(point: SamplePoint, tmp_path: Path) -> None:
    desk = CacheSettings(client_class="desk", size=10**9, minimum_age=60, retry=240, retries=18)
    point.publish(cache=(desk,))
    home = tmp_path / "cache"
    words = ("--from", point.folder, "--card", point.card, "--cache", home, "--json")
    taken = run("cache", "config", "--class", "desk", *words).document
    assert (taken["size_bytes"], taken["minimum_age_minutes"], taken["set_by"]) == (10**9, 60, "HQ1")
    assert run("cache", "config", "--class", "lab", *words, code=6).error["hint"].endswith("desk")
    point.publish(cache=(replace(desk, size=2 * 10**9),))
    run("download", "HQ100001", "--class", "desk", *words)
    assert run("cache", "config", "--cache", home, "--json").document["size_bytes"] == 2 * 10**9


@pytest.mark.parametrize(
    "words",
    [
        ("--priority", "soon"),
        ("--window", "25:00-26:00"),
        ("--rate", "fast"),
        ("--retry-for", "long"),
        ("--from", "http://user:secret@point"),
        ("--from", "http://point/?x"),
        ("--to", "x", "--wait"),
    ],
)
def test_wrong_words_are_named(made: SamplePoint, words: tuple[str, ...], tmp_path: Path) -> None:
    more = ("--from", made.folder, "--card", made.card, "--json")
    assert run("download", "HQ100001", *more, *words, code=2).error["code"] == "usage"


def test_a_token_goes_over_plain_http_to_this_computer_only(made: SamplePoint, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("desk abcdefghijklmnop\n")
    token.chmod(0o600)
    words = ("download", "HQ100001", "--card", made.card, "--token-file", token, "--to", tmp_path / "out", "--json")
    assert "read the token" in run(*words, "--from", "http://192.0.2.1", code=2).error["message"]
