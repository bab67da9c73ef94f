"""How a download behaves towards sources, disks and limits: what it asks how often, and what it tells."""

from __future__ import annotations

import contextlib
import errno
import os
import ssl
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from download_client import BIG, FILES, SIZE, files_in, refused, silent, stopping, to_cache, to_folder, wish
from download_points import SamplePoint
from faulty_server import faulty
from http_requests import certificate
from journey import run

from courier.distribution import space_left
from courier.distribution.download_pace import Unpaced
from courier.distribution.download_run import download_to_cache
from courier.distribution.download_small import SmallFiles
from courier.distribution.download_tree import DownloadTree
from courier.errors import StoppedError
from formats.blocks import BLOCK
from formats.documents.listing import FileEntry, FolderEntry

pytestmark = pytest.mark.usefixtures("short_pauses")


# --- towards sources ------------------------------------------------------------------------------------------------


def test_a_server_without_parts_sends_a_large_file_to_one_connection(tmp_path: Path) -> None:
    """The others end their own answers, which begin alike, before they take any of it."""
    point = SamplePoint(tmp_path / "hq")
    point.put({"image.wim": BIG})
    both = threading.Barrier(2, timeout=5)
    content = threading.local()

    def choose(path: str) -> str:
        if path.startswith("content") and not getattr(content, "asked", False):
            content.asked = True
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait()  # two connections have asked for their parts before either is answered
        return "no parts"

    taken: Counter[str] = Counter()
    with faulty(point.folder, choose) as server:
        wanted = wish(point.card, server.url, connections=2)
        manner = replace(wanted.manner, pace=_Counting(taken))
        to_folder(replace(wanted, manner=manner), tmp_path / "out")
    assert files_in(tmp_path / "out") == {"image.wim": BIG}
    assert taken["bytes"] < len(BIG) + BLOCK


class _Counting(Unpaced):
    def __init__(self, taken: Counter[str]) -> None:
        self._taken, self._lock = taken, threading.Lock()

    def take(self, most: int) -> int:
        """Count what is taken of contents: other pieces are smaller than these tests ask about."""
        with self._lock:
            self._taken["bytes"] += most
        return most


def test_what_a_peer_lacks_is_asked_of_the_point_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[int] = []
    fetch = SmallFiles.fetch

    def counted(self: SmallFiles, piece: Any, number: int, link: Any) -> Any:
        pieces.append(len(piece.entries))
        return fetch(self, piece, number, link)

    monkeypatch.setattr(SmallFiles, "fetch", counted)
    point = SamplePoint(tmp_path / "hq")
    files = {f"{n}.txt": f"file {n}".encode() for n in range(200)}
    point.put(files)
    empty = tmp_path / "empty"
    empty.mkdir()
    with faulty(empty) as peer, faulty(point.folder) as own:
        point.publish(peers=(peer.url,))
        to_folder(wish(point.card, own.url), tmp_path / "out")
    assert files_in(tmp_path / "out") == files
    assert len(pieces) <= 12  # four pieces of 64 files, once from each, and not one a file


def test_a_peer_whose_address_is_none_is_passed_over(point: SamplePoint, tmp_path: Path) -> None:
    point.publish(peers=("http://[::1", f"http://{'a' * 64}/"))
    outcome = to_folder(wish(point.card, point.folder), tmp_path / "out")
    assert files_in(tmp_path / "out") == FILES
    assert [one.kind for one in outcome.sources] == ["point"]


def test_peers_are_checked_by_the_certificates_that_are_named(point: SamplePoint, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with faulty(point.folder) as peer:
        peer.socket = context.wrap_socket(peer.socket, server_side=True)
        url = peer.url.replace("http:", "https:")
        point.publish(peers=(url,))
        outcome = to_folder(replace(wish(point.card, point.folder), ca_file=cert), tmp_path / "out")
    assert {one.name: one.bytes for one in outcome.sources}[url] == outcome.counts.fetched


# --- limits ---------------------------------------------------------------------------------------------------------


def test_nothing_is_asked_before_a_window_opens(made: SamplePoint, tmp_path: Path) -> None:
    asked: list[int] = []

    class Closed(Unpaced):
        def wait_open(self) -> float:
            asked.append(len(server.asked))
            return 0

    with faulty(made.folder) as server:
        wanted = wish(made.card, server.url)
        to_folder(replace(wanted, manner=replace(wanted.manner, pace=Closed())), tmp_path / "out")
    documents = [path for path, _ in server.asked if not path.startswith(("content", "blocks"))]
    assert documents == [server.asked[n][0] for n in range(3)]
    assert asked[:4] == [0, 0, 1, 2]  # at first, and before statement, definition and listing


def test_statement_definition_and_listing_come_no_faster_than_allowed(made: SamplePoint, tmp_path: Path) -> None:
    taken: Counter[str] = Counter()
    with faulty(made.folder) as server:
        wanted = wish(made.card, server.url)
        wanted = replace(wanted, manner=replace(wanted.manner, pace=_Counting(taken)), package="HQ100009")
        refused("not-found", lambda: to_folder(wanted, tmp_path / "out"))
    assert taken["bytes"] == (made.folder / "point.json").stat().st_size


def test_a_listing_that_fills_the_disk_is_left_before_the_reserve_is_gone(
    made: SamplePoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space_left, "_LOOK_AGAIN", 1)
    monkeypatch.setattr(space_left, "free_space", lambda _: 1000)
    error = refused("no-space", lambda: to_folder(wish(made.card, made.folder), tmp_path / "out"))
    assert "the listing of HQ100001:1" in error.message


# --- towards disks --------------------------------------------------------------------------------------------------


ENTRY = FileEntry(path="a", mtime_ns=10**18, mode=0o4755, size=1, sha256="0" * 64)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[DownloadTree]:
    (tmp_path / "tree").mkdir()
    with DownloadTree(tmp_path / "tree", resumed=False) as found:
        yield found


def test_a_disk_without_permissions_and_times_takes_a_package(
    tree: DownloadTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    for name in ("fchmod", "chmod", "utime"):
        monkeypatch.setattr(os, name, refuse)
    tree.write(ENTRY, memoryview(b"x"))
    tree.finish()
    assert (tmp_path / "tree" / "a").read_bytes() == b"x"


def test_small_files_are_flushed_where_the_system_cannot_flush_all_at_once(
    tree: DownloadTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    monkeypatch.delattr(os, "sync", raising=False)
    monkeypatch.setattr(os, "fsync", flushed.append)
    tree.write(ENTRY, memoryview(b"x"))
    assert len(flushed) == 1


def test_bits_that_would_run_a_file_as_its_owner_are_left_out_and_counted(tree: DownloadTree, tmp_path: Path) -> None:
    folder = FolderEntry(path="b", mtime_ns=10**18, mode=0o2755)
    plain = FileEntry(path="c", mtime_ns=10**18, mode=0o644, size=1, sha256="0" * 64)
    for entry in tree.files([ENTRY, folder, plain]):
        tree.write(entry, memoryview(b"x"))
    tree.finish()
    assert tree.set_id_dropped == 2
    assert stat.S_IMODE((tmp_path / "tree" / "a").stat().st_mode) == 0o755


def test_a_disk_that_takes_no_file_of_that_size_keeps_none_open(
    made: SamplePoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []
    close = os.close

    def too_large(descriptor: int, _size: int) -> None:
        def noted(number: int) -> None:
            closed.append(number)
            close(number)

        monkeypatch.setattr(os, "close", noted)
        opened.append(descriptor)
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    opened: list[int] = []
    monkeypatch.setattr("courier.distribution.part_file.os.ftruncate", too_large)
    refused("no-space", lambda: to_folder(wish(made.card, made.folder, connections=1), tmp_path / "out"))
    assert set(opened) <= set(closed)
    assert opened


# --- what is told ---------------------------------------------------------------------------------------------------


def test_a_package_that_is_there_is_shown_where_the_cache_was_moved_to(made: SamplePoint, tmp_path: Path) -> None:
    words = (
        "download",
        "HQ100001",
        "--from",
        made.folder,
        "--card",
        made.card,
        "--cache",
        tmp_path / "cache",
        "--json",
    )
    run(*words)
    run("cache", "move", tmp_path / "elsewhere", "--cache", tmp_path / "cache")
    document = run(*words).document
    assert document["already"]
    assert files_in(Path(document["path"])) == FILES
    assert document["set_id_dropped"] == 0


def test_a_download_leaves_no_lock_files(made: SamplePoint, tmp_path: Path) -> None:
    home = tmp_path / "cache"
    run("cache", "config", "--size", SIZE - 1, "--reserve", "0", "--cache", home)
    to_cache(wish(made.card, made.folder), home)  # it does not fit
    run("cache", "config", "--size", 10 * SIZE, "--cache", home)
    stop = threading.Event()
    with faulty(made.folder, stopping(stop)) as server, pytest.raises(StoppedError):
        download_to_cache(wish(made.card, server.url), home, stop=stop, progress=silent)
    assert (home / "downloads" / "HQ100001-1.lock").exists()
    to_cache(wish(made.card, made.folder), home)
    to_cache(wish(made.card, made.folder), home)  # it is there already
    assert list((home / "downloads").iterdir()) == []
    to_folder(wish(made.card, made.folder), tmp_path / "out")
    assert not list(tmp_path.glob(".out.*"))
