"""The store in a bucket: kills between bucket and catalogue, keys without rights, and several computers."""

from __future__ import annotations

import io
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from content_stores import ObjectPacksUnderTest, add, listing, stored
from faulty_s3 import Answer, faulty_s3
from journey import Home, exported, introduce, noise, run, sent, write_files
from postgresql import new_database
from s3_server import new_bucket

from courier.errors import BusyError, DamagedError, RefusedError
from courier.site.catalog import open_catalogue
from courier.site.objects.bucket import Bucket
from courier.site.objects.checking import AT_ONCE
from courier.site.objects.cross_check import content_size
from courier.site.objects.store import ObjectStore
from courier.site.store.content_store import MISSING, Collected
from formats.blocks import BLOCK, DIGEST, block_count
from formats.digest import sha256_hex
from formats.documents.listing import ListingSummary

SMALL, LARGE = b"small" * 100, random.Random(1).randbytes(3 << 20)


@pytest.fixture
def tested(tmp_path: Path) -> ObjectPacksUnderTest:
    return ObjectPacksUnderTest(tmp_path)


def test_what_a_kill_left_in_the_bucket_is_found_and_taken_in(
    tested: ObjectPacksUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = add(tested.store, {"a": b"kept" * 50})
    with monkeypatch.context() as patched:
        patched.setattr("courier.site.catalog.objects.add_objects", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            add(tested.store, {"s": SMALL, "l": LARGE})
    assert not tested.store.has(sha256_hex(SMALL), len(SMALL))
    with tested.store.lock():
        assert tested.store.cross_check(mend=False) == 3
        assert not tested.store.has(sha256_hex(LARGE), len(LARGE))
        assert tested.store.cross_check(mend=True) == 3
        assert tested.store.cross_check(mend=True) == 0
    for data in (SMALL, LARGE):
        assert tested.store.has(sha256_hex(data), len(data))
        assert tested.store.is_good(sha256_hex(data))
    assert stored(LARGE) in list(tested.store.contents())
    with tested.store.lock():
        tested.store.collect([before])
    assert tested.room() == sum(one.size for one in tested.bucket.list("packs")) + sum(
        one.size for one in tested.bucket.list("listings")
    )
    assert list(tested.store.verify(before)) == []


def test_an_object_that_is_gone_is_found_without_reading(tested: ObjectPacksUnderTest) -> None:
    add(tested.store, {"s": SMALL, "l": LARGE})
    (name,) = [one.name for one in tested.bucket.list("content")]
    tested.bucket.delete([name])
    with pytest.raises(DamagedError, match="missing"), tested.store.open_content(sha256_hex(LARGE)) as source:
        source.read(1)
    with tested.store.lock():
        assert tested.store.cross_check(mend=True) == 1
    assert not tested.store.has(sha256_hex(LARGE), len(LARGE))
    assert tested.store.has(sha256_hex(SMALL), len(SMALL))


def test_without_the_right_to_delete_what_is_not_needed_stays_pending(
    tested: ObjectPacksUnderTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add(tested.store, {"s": SMALL, "l": LARGE})
    room = tested.room()
    with faulty_s3() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        server.fault = lambda method, _path: Answer(status=403, code="AccessDenied") if method == "POST" else None
        there = ObjectStore(Bucket(tested.bucket.address), tested.catalogue, tmp_path / "other", site="HQ1")
        with there.lock():
            assert there.collect([]) == Collected(freed=0, pending=room)
    assert not tested.store.has(sha256_hex(LARGE), len(LARGE))
    assert tested.room() == room
    with tested.store.lock():
        assert tested.store.collect([]) == Collected(freed=room, pending=0)
    assert tested.room() == 0


def test_packs_that_are_mostly_empty_are_copied_over(tested: ObjectPacksUnderTest) -> None:
    files = {str(n): random.Random(n).randbytes(5_000) for n in range(20)}
    kept = [add(tested.store, {"kept": b"k" * 5_000}), add(tested.store, files)]
    some = dict(list(files.items())[:4])
    kept[1] = add(tested.store, some)
    with tested.store.lock():
        collected = tested.store.collect(kept)
    assert collected == Collected(freed=collected.freed, pending=0)
    assert collected.freed > 16 * 5_000
    for summary in kept:
        assert list(tested.store.verify(summary)) == []


def test_contents_are_verified_several_at_once_and_a_sample_reads_few(
    tested: ObjectPacksUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{n:02}": noise(100_000, n) for n in range(20)}
    summary = add(tested.store, files)
    under_way, most, lock = 0, 0, threading.Lock()

    def slow(method: str, path: str) -> None:
        nonlocal under_way, most
        with lock:
            under_way += "/content/" in path
            most = max(most, under_way)
        time.sleep(0.05)
        with lock:
            under_way -= "/content/" in path

    with faulty_s3() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        server.fault = slow
        there = ObjectStore(Bucket(tested.bucket.address), tested.catalogue, tested.store._folder, site="HQ1")
        told: list[int] = []
        assert list(there.verify(summary, told.append)) == []
        assert sum(told) == summary.bytes
        assert 3 <= most <= AT_ONCE
        server.asked.clear()
        chosen = {sha256_hex(data) for data in list(files.values())[:3]}
        assert list(there.verify(summary, chosen=chosen.__contains__)) == []
        assert len([path for _, path in server.asked if "/content/" in path]) == 3
        server.fault = lambda method, path: Answer(status=403, code="AccessDenied") if "/content/" in path else None
        with pytest.raises(RefusedError, match="may not read"):
            list(there.verify(summary))


def test_what_is_wrong_is_told_in_the_order_of_the_paths(tested: ObjectPacksUnderTest) -> None:
    files = {"a": noise(100_000, 1), "b": b"small", "c": noise(2 << 20, 2), "d": noise(100_000, 3), "e": b"other"}
    summary = add(tested.store, files)
    for name in ("a", "b", "c"):
        tested.replace(f"content/{sha256_hex(files[name])}", bytes(len(files[name])))
    tested.replace(f"content/{sha256_hex(files['d'])}", None)
    assert [(one.path, one.problem == MISSING) for one in tested.store.verify(summary)] == [
        ("a", False),
        ("b", False),
        ("c", False),
        ("d", True),
    ]


def test_a_reader_jumps_and_reads_on(tested: ObjectPacksUnderTest) -> None:
    add(tested.store, {"l": LARGE})
    with tested.store.open_content(sha256_hex(LARGE)) as source:
        for at, count in ((0, 10), (2_000_000, 1_500_000), (5, 70_000), (len(LARGE) - 3, 10), (0, len(LARGE))):
            assert source.seek(at) == at
            assert source.read(count) == LARGE[at : at + count]
        assert source.seek(0, os.SEEK_END) == len(LARGE)
        assert source.read() == b""


@pytest.mark.parametrize("size", [1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 1, 1000 * BLOCK - 1, 5 * BLOCK + 7])
def test_the_size_of_a_content_is_known_from_its_object(size: int) -> None:
    sums = block_count(size) * (DIGEST + 4) + 4 if size > BLOCK else 0
    assert content_size(size + sums) == size


# --- several computers ----------------------------------------------------------------------------------------------


@pytest.fixture
def hosts(postgresql: str, tmp_path: Path) -> Iterator[list[ObjectStore]]:
    """The store of one site as two computers have it."""
    url, bucket = new_database(postgresql), new_bucket()
    catalogues = [open_catalogue(url) for _ in range(2)]
    yield [ObjectStore(bucket, one, tmp_path / f"host{n}", site="HQ1") for n, one in enumerate(catalogues)]
    for catalogue in catalogues:
        catalogue.close()


def test_one_computer_at_a_time_writes_and_all_see_it(hosts: list[ObjectStore]) -> None:
    one, other = hosts
    with one.lock():
        with pytest.raises(BusyError, match=f"the store of packages: .*process {os.getpid()} on "), other.lock():
            pass
        with one.stage() as staging:
            staging.add(io.BytesIO(LARGE))
            summary = staging.add_listing(listing({"l": LARGE}))
            staging.commit()
    assert list(other.verify(summary)) == []
    with other.lock():
        other.collect([])
    assert not one.has_listing(summary.sha256)


def test_a_computer_that_lost_the_store_can_do_no_harm(hosts: list[ObjectStore]) -> None:
    slow, quick = hosts
    with slow.lock(), slow.stage() as staging:
        staging.add(io.BytesIO(LARGE))
        # Its line to the server breaks, and another computer takes over.
        with slow._catalogue._engine.connect() as connection:
            others = "FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
            connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid, 10000) {others}")
        with quick.lock():
            summary = add_here(quick)
        with pytest.raises(BusyError, match="lost the store"):
            staging.commit()
        with pytest.raises(BusyError, match="lost the store"):
            slow.collect([])
    assert list(quick.verify(summary)) == []
    assert not quick.has(sha256_hex(LARGE), len(LARGE))


def add_here(store: ObjectStore) -> ListingSummary:
    with store.stage() as staging:
        staging.add(io.BytesIO(SMALL))
        summary = staging.add_listing(listing({"s": SMALL}))
        staging.commit()
    return summary


# --- a whole journey ------------------------------------------------------------------------------------------------


def test_a_parcel_goes_from_bucket_to_bucket(tmp_path: Path) -> None:
    homes = []
    for code in ("HQ1", "BR1"):
        address = new_bucket().address
        run("init", "--site", code, "--name", code, "--home", tmp_path / code, "--store", address)
        run("site", "card", "--out", tmp_path / f"{code}.card", "--home", tmp_path / code)
        homes.append(Home(code=code, path=tmp_path / code))
    hq, br = homes
    introduce(tmp_path, hq, br)
    files = write_files(tmp_path / "files", **{"a": SMALL, "b": LARGE, "c": noise(200_000)})
    hq("package", "add", files, "--name", "Image")
    _, media = sent(hq, "HQ100001", out=tmp_path / "media")
    hq("channel", "sync")
    br("channel", "sync")
    br("parcel", "receive", *media)
    assert exported(br, "HQ100001", tmp_path / "out") == exported(hq, "HQ100001", tmp_path / "again")
    assert (tmp_path / "out" / "b").read_bytes() == LARGE
    assert br("package", "verify")["packages"]
