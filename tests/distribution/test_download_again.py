"""Downloads that are stopped, killed, doubled or do not fit: nothing is lost, and the same command goes on."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from download_client import (
    BIG,
    FILES,
    SIZE,
    files_in,
    refused,
    silent,
    stopping,
    to_cache,
    to_folder,
    wish,
)
from download_points import SamplePoint
from faulty_server import faulty
from journey import environment, run

from courier.distribution.cache_folder import changing, inventory, open_cache
from courier.distribution.cache_place import judge_placing
from courier.distribution.cache_records import EntryRecord
from courier.distribution.cache_staged import working_on
from courier.distribution.download_run import Outcome, download_to_cache
from courier.errors import BusyError, CourierError, StoppedError
from formats.blocks import BLOCK
from formats.documents.point import CacheSettings

pytestmark = pytest.mark.usefixtures("short_pauses")


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
