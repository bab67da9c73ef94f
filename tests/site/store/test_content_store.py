"""Every content store: content kept once, visible when it is whole, and gone when nothing needs it."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from content_stores import CONTENT_STORES, StoreUnderTest, add, check_whole, crcs_of, listing, stored, sums_of, table_of

from courier.errors import BusyError, DamagedError, NoSpaceError
from courier.packages.write_tree import write_tree
from courier.site.store.content_store import Collected
from formats.digest import sha256_hex
from formats.documents.listing import EMPTY, Entry, FolderEntry
from formats.errors import MalformedError

PACKED, MIB = 64 << 10, 1 << 20
ONE, TWO, SHARED = b"one" * 1000, b"two" * 1000, b"shared" * 1000


@pytest.fixture(params=CONTENT_STORES.values(), ids=list(CONTENT_STORES))
def tested(tmp_path: Path, request: pytest.FixtureRequest) -> StoreUnderTest:
    kind: type[StoreUnderTest] = request.param
    return kind(tmp_path)


def test_content_is_taken_in_once_and_read_back(tested: StoreUnderTest) -> None:
    store = tested.store
    first = add(store, {"a": ONE, "b": SHARED, "c": SHARED, "empty": b""})
    second = add(store, {"x": TWO, "y": SHARED})
    contents = [stored(data) for data in (ONE, TWO, SHARED)]
    assert list(store.contents()) == sorted(contents, key=lambda content: content.sha256)
    assert {name for name in tested.kept() if name.startswith("content/")} == {f"content/{c.sha256}" for c in contents}
    assert [entry.path for entry in store.entries(first)] == ["a", "b", "c", "empty"]
    with store.open_content(sha256_hex(SHARED)) as source:
        assert source.read() == SHARED
        source.seek(3)
        assert source.read(5) == SHARED[3:8]
    for data in (ONE, TWO, SHARED):
        assert store.has(sha256_hex(data), len(data))
        assert not store.has(sha256_hex(data), len(data) + 1)
        assert store.is_good(sha256_hex(data))
    assert not store.has(sha256_hex(b"other"), 5)
    assert not store.is_good(sha256_hex(b"other"))
    assert not store.has(EMPTY, 0)
    for summary in (first, second):
        assert store.has_listing(summary.sha256)
        assert list(store.verify(summary)) == []
    assert not store.has_listing(sha256_hex(b"other"))
    check_whole(tested)


def test_a_small_content_is_had_whole_or_is_to_be_opened(tested: StoreUnderTest) -> None:
    large = random.Random(1).randbytes(2 * MIB)
    small = [b"%d" % n * 500 for n in range(300)]
    add(tested.store, {f"{n:03}": data for n, data in enumerate(small)} | {"large": large})
    for data in [*small, large, TWO]:
        assert tested.store.small_content(bytes.fromhex(sha256_hex(data))) in (data if data in small else None, None)


def test_a_content_in_memory_is_taken_in_as_one_in_a_file(tested: StoreUnderTest) -> None:
    contents = [ONE, b"", random.Random(1).randbytes(PACKED + 1), ONE, random.Random(2).randbytes(2 * MIB)]
    told: list[int] = []
    with tested.store.lock(), tested.store.stage() as staging:
        assert [staging.add_bytes(data, told.append) for data in contents] == [stored(data) for data in contents]
        assert sum(told) == sum(map(len, contents))
        staging.commit()
    for data in filter(None, contents):
        with tested.store.open_content(sha256_hex(data)) as source:
            assert source.read() == data


def test_what_is_lacking_is_told_of_many_contents_at_once(tested: StoreUnderTest) -> None:
    large = random.Random(1).randbytes(2 * MIB)
    add(tested.store, {"a": ONE, "b": large})
    asked = [(sha256_hex(data), len(data)) for data in (ONE, large, TWO, SHARED)]
    assert set(tested.store.lacking(asked)) == {sha256_hex(TWO), sha256_hex(SHARED)}
    others = [(sha256_hex(ONE), len(ONE) + 1), (sha256_hex(large), len(large) - 1)]
    assert set(tested.store.lacking(others)) == {sha256 for sha256, _ in others}
    assert list(tested.store.lacking([])) == []
    many = [f"{n}".encode() for n in range(1, 1000)]
    add(tested.store, {f"{n}": data for n, data in enumerate(many) if n % 7})
    missing = {sha256_hex(data) for n, data in enumerate(many) if not n % 7}
    assert set(tested.store.lacking((sha256_hex(data), len(data)) for data in many)) == missing


@pytest.mark.parametrize("kept", [True, False])
def test_a_file_that_a_store_may_keep_itself_is_never_changed(
    tested: StoreUnderTest, tmp_path: Path, *, kept: bool
) -> None:
    data, source = random.Random(2).randbytes(3 * MIB), tmp_path / "source"
    source.write_bytes(data)

    def name_too(path: Path) -> bool:
        if kept:
            os.link(source, path)
        return kept

    with tested.store.lock(), tested.store.stage() as staging, source.open("rb", buffering=0) as stream:
        assert staging.add(stream, name_too=name_too) == stored(data)
        staging.commit()
    assert source.read_bytes() == data
    source.unlink()
    with tested.store.open_content(sha256_hex(data)) as read:
        assert read.read() == data
    check_whole(tested)


@pytest.mark.parametrize("size", [1, PACKED, PACKED + 1, MIB, MIB + 1, 5 * MIB, 5 * MIB + 7])
def test_each_content_has_the_digests_of_its_blocks(tested: StoreUnderTest, size: int) -> None:
    data = random.Random(size).randbytes(size)
    add(tested.store, {"a": data})
    with tested.store.stage() as staging:
        pieces = [data[at : at + 700_001] for at in range(0, size, 700_001)]
        for blocks, taken in (("", True), (stored(data).blocks, True), ("0" * 64, False)):
            content = staging.begin()
            content.append(pieces)
            assert content.finish(sha256_hex(data), blocks) == taken
        again = staging.begin()
        again.append(pieces)
        assert again.stage() == stored(data)
        staging.commit()
    assert list(tested.store.contents()) == [stored(data)]
    assert tested.store.block_digests(sha256_hex(data), size) == table_of(data)
    if size > MIB:
        assert tested.store.block_crcs(sha256_hex(data), size) == crcs_of(data)
    for wrong in ((sha256_hex(data), size + 1), (sha256_hex(b"other"), 5), (sha256_hex(b"other"), 5 * MIB)):
        with pytest.raises(DamagedError, match="missing"):
            tested.store.block_digests(*wrong)
        with pytest.raises(DamagedError, match="missing"):
            tested.store.block_crcs(*wrong)
    with tested.store.open_content(sha256_hex(data)) as source:
        assert source.read() == data
    tested.store.collect([])
    assert tested.kept() == {}


def test_a_source_that_gives_fewer_bytes_than_asked_for_is_read_to_its_end(tested: StoreUnderTest) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 7000))

    told: list[int] = []
    for data in (ONE, b"0123456789" * 1000, random.Random(3).randbytes(200_000), b""):
        told.clear()
        with tested.store.stage() as staging:
            assert staging.add(Slow(data), told.append) == stored(data)
            staging.commit()
        assert sum(told) == len(data)
        assert not data or tested.store.is_good(sha256_hex(data))


def test_very_many_contents_may_be_under_way_at_once(tested: StoreUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("courier.site.store.staging._IN_MEMORY", 50_000)
    datas = [random.Random(n).randbytes(10_000 + n) for n in range(20)]
    with tested.store.stage() as staging:
        growing = [staging.begin() for _ in datas]
        for half in (slice(0, 5000), slice(5000, None)):
            for content, data in zip(growing, datas, strict=True):
                content.append([data[half]])
        for content, data in zip(growing, datas, strict=True):
            assert content.finish(sha256_hex(data))
        staging.commit()
    assert [content.sha256 for content in tested.store.contents()] == sorted(sha256_hex(data) for data in datas)
    check_whole(tested)


def test_what_is_staged_is_invisible_until_it_is_committed(tested: StoreUnderTest) -> None:
    store = tested.store
    with store.stage() as staging:
        staging.add(io.BytesIO(ONE))
        summary = staging.add_listing(listing({"a": ONE}))
        assert staging.has(sha256_hex(ONE), len(ONE))
        assert staging.has(EMPTY, 0)
        assert not staging.has(sha256_hex(TWO), len(TWO))
        assert [entry.path for entry in staging.staged_entries(summary)] == ["a"]
        assert not store.has(sha256_hex(ONE), len(ONE))
        assert not store.has_listing(summary.sha256)
        with pytest.raises(DamagedError):
            list(store.entries(summary))
        assert list(store.contents()) == []
        assert not [name for name in tested.kept() if name.startswith(("content/", "listings/"))]
        staging.commit()
        assert store.has(sha256_hex(ONE), len(ONE))
        assert list(store.verify(summary)) == []
    assert set(tested.kept()) == {f"content/{sha256_hex(ONE)}", f"listings/{summary.sha256}"}


def test_staging_that_is_given_up_leaves_nothing(tested: StoreUnderTest) -> None:
    store = tested.store
    add(store, {"a": ONE})
    before = tested.kept()
    with store.stage() as staging:
        staging.add(io.BytesIO(TWO))
        staging.begin().append([TWO])
        staging.add_listing(listing({"b": TWO}))
    with pytest.raises(KeyboardInterrupt), store.stage() as staging:
        staging.add(io.BytesIO(TWO))
        raise KeyboardInterrupt
    assert tested.kept() == before


def test_content_that_comes_in_parts_is_taken_in_by_its_digest(tested: StoreUnderTest) -> None:
    store = tested.store
    add(store, {"a": SHARED})
    with store.stage() as staging:
        first, second = staging.begin(), staging.begin()
        first.append([ONE[:10], ONE[10:100]])
        second.append(TWO[n : n + 500] for n in range(0, len(TWO), 500))
        assert (first.size, second.size) == (100, len(TWO))
        first.append([ONE[100:]])
        assert not staging.has(sha256_hex(ONE), len(ONE))
        assert first.finish(sha256_hex(ONE))
        assert not second.finish(sha256_hex(ONE))
        for data in (ONE, SHARED, b""):
            again = staging.begin()
            again.append([data])
            assert again.finish(sha256_hex(data))
        given_up = staging.begin()
        given_up.append([TWO])
        given_up.abandon()
        assert staging.has(sha256_hex(ONE), len(ONE))
        assert not staging.has(sha256_hex(TWO), len(TWO))
        summary = staging.add_listing(listing({"a": ONE, "b": SHARED}))
        staging.commit()
    assert list(store.verify(summary)) == []
    assert {content.sha256 for content in store.contents()} == {sha256_hex(ONE), sha256_hex(SHARED)}
    check_whole(tested)


def test_an_error_half_way_through_a_part_is_raised_and_nothing_stays(tested: StoreUnderTest) -> None:
    def broken() -> Iterator[bytes]:
        yield ONE
        raise MalformedError("the medium ends here")

    with tested.store.stage() as staging:
        content = staging.begin()
        with pytest.raises(MalformedError):
            content.append(broken())
        content.abandon()
        staging.commit()
    assert tested.kept() == {}


def test_stored_content_counts_as_held_only_when_it_reads_well(tested: StoreUnderTest) -> None:
    store = tested.store
    add(store, {"a": ONE, "b": TWO})
    tested.replace(f"content/{sha256_hex(TWO)}", TWO[::-1])
    with store.stage() as staging:
        assert staging.holds(sha256_hex(ONE), len(ONE))
        assert staging.has(sha256_hex(TWO), len(TWO))
        assert not staging.holds(sha256_hex(TWO), len(TWO))
        assert staging.holds(EMPTY, 0)
        assert not staging.holds(sha256_hex(SHARED), len(SHARED))


def test_a_listing_out_of_order_is_not_staged(tested: StoreUnderTest) -> None:
    with tested.store.stage() as staging, pytest.raises(MalformedError):
        staging.add_listing(listing({"a": ONE})[::-1] + listing({"a": ONE}))


def test_content_that_others_hold_stays_after_a_removal(tested: StoreUnderTest) -> None:
    store = tested.store
    first = add(store, {"a": ONE, "s": SHARED})
    second = add(store, {"b": TWO, "s": SHARED})
    assert store.collect([first, second]) == Collected(freed=0, pending=0)
    before = tested.room()
    collected = store.collect([second])
    assert collected.freed == before - tested.room() > 0
    assert not store.has(sha256_hex(ONE), len(ONE))
    assert list(store.verify(second)) == []
    store.collect([], [bytes.fromhex(sha256_hex(TWO))])
    assert set(tested.kept()) == {f"content/{sha256_hex(TWO)}"}
    store.collect([])
    assert tested.kept() == {}


def test_nothing_is_collected_while_it_is_unknown_what_is_needed(tested: StoreUnderTest) -> None:
    store = tested.store
    first = add(store, {"a": ONE})
    second = add(store, {"b": TWO})
    tested.replace(f"listings/{first.sha256}", None)
    with pytest.raises(DamagedError):
        store.collect([first, second])
    assert store.has(sha256_hex(ONE), len(ONE))
    assert store.has(sha256_hex(TWO), len(TWO))


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (lambda data: bytes([data[0] ^ 1]) + data[1:], "differs"),
        (lambda data: data[:-1], "differs"),
        (lambda data: data + b"x", "differs"),
        (lambda data: b"", "differs"),
        (lambda data: None, "missing"),
    ],
)
def test_damage_is_found_by_verification_and_never_written_out(
    tested: StoreUnderTest, tmp_path: Path, harm: Callable[[bytes], bytes | None], problem: str
) -> None:
    store = tested.store
    summary = add(store, {"a": ONE, "b": TWO, "empty": b""})
    tested.replace(f"content/{sha256_hex(TWO)}", harm(TWO))
    assert not store.is_good(sha256_hex(TWO))
    findings = list(store.verify(summary))
    assert [finding.path for finding in findings] == ["b"]
    assert problem in findings[0].problem
    with pytest.raises(DamagedError):
        write_tree(store.entries(summary), tmp_path / "out", store.open_content)
    assert not (tmp_path / "out").exists()


def test_damaged_content_in_quarantine_is_out_of_use_and_put_right_by_adding_it_again(tested: StoreUnderTest) -> None:
    store = tested.store
    summary = add(store, {"a": ONE})
    tested.replace(f"content/{sha256_hex(ONE)}", ONE[::-1])
    store.quarantine(sha256_hex(ONE))
    store.quarantine(sha256_hex(TWO))
    assert not store.has(sha256_hex(ONE), len(ONE))
    assert tested.kept()[f"damaged/{sha256_hex(ONE)}"] == ONE[::-1]
    assert add(store, {"a": ONE}) == summary
    assert list(store.verify(summary)) == []
    before = tested.room()
    assert store.collect([summary]).freed == before - tested.room() > 0
    assert set(tested.kept()) == {f"content/{sha256_hex(ONE)}", f"listings/{summary.sha256}"}


def test_content_that_was_cut_short_is_taken_in_anew(tested: StoreUnderTest) -> None:
    summary = add(tested.store, {"a": ONE})
    tested.replace(f"content/{sha256_hex(ONE)}", ONE[:-1])
    assert add(tested.store, {"a": ONE}) == summary
    assert list(tested.store.verify(summary)) == []


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: None,
        lambda data: data[:-1],
        lambda data: data.replace(b'"a"', b'"b"'),
        lambda data: b"",
        lambda data: os.urandom(100),
    ],
)
def test_a_damaged_listing_is_damage_not_a_crash(tested: StoreUnderTest, harm: Callable[[bytes], bytes | None]) -> None:
    summary = add(tested.store, {"a": ONE})
    name = f"listings/{summary.sha256}"
    tested.replace(name, harm(tested.kept()[name]))
    for use in (tested.store.entries, tested.store.verify):
        with pytest.raises(DamagedError) as caught:
            list(use(summary))
        assert caught.value.hint


def test_a_missing_content_is_said_to_be_missing(tested: StoreUnderTest) -> None:
    with pytest.raises(DamagedError, match="missing"):
        tested.store.open_content("0" * 64)


def test_one_writer_at_a_time(tested: StoreUnderTest) -> None:
    with tested.store.lock(), pytest.raises(BusyError) as caught, tested.store.lock():
        pass
    assert caught.value.code == "busy"
    with tested.store.lock():
        pass


def test_room_is_known_and_asked_for_before_the_first_byte(tested: StoreUnderTest) -> None:
    space = tested.store.space()
    assert space.free > 0
    assert space.reserve > 0
    tested.store.require_space(0, purpose="adding the package")
    with pytest.raises(NoSpaceError, match="adding the package needs"):
        tested.store.require_space(space.free * 2, purpose="adding the package")
    with (
        pytest.raises(NoSpaceError, match=r"adding the package: .* 700 bytes are needed"),
        tested.store.naming_space(lambda: 700, purpose="adding the package"),
    ):
        raise OSError(28, "No space left on device")


def test_folders_listed_in_a_package_are_kept_even_when_empty(tested: StoreUnderTest) -> None:
    entries: list[Entry] = [FolderEntry(path="d", mtime_ns=5, mode=0o755)]
    with tested.store.stage() as staging:
        summary = staging.add_listing(entries)
        staging.commit()
    assert list(tested.store.entries(summary)) == entries


def test_content_that_was_put_right_meanwhile_does_not_go_into_quarantine(tested: StoreUnderTest) -> None:
    for data in (ONE, TWO):
        add(tested.store, {"a": data})
        tested.replace(f"content/{sha256_hex(data)}", data[::-1])
    found = [sha256_hex(data) for data in (ONE, TWO) if not tested.store.is_good(sha256_hex(data))]
    assert len(found) == 2
    # Another command adds the package again before the one that verified it has the lock.
    summary = add(tested.store, {"a": ONE, "b": TWO})
    with tested.store.lock():
        tested.store.quarantine(*found)
    assert list(tested.store.verify(summary)) == []


def test_staged_and_stored_content_counts_with_its_size_alone(tested: StoreUnderTest) -> None:
    contents = [ONE, TWO, noise_of(200_000)]
    with tested.store.lock(), tested.store.stage() as staging:
        for data in contents:
            staging.add(io.BytesIO(data))
            for size, right in ((len(data), True), (len(data) + 1, False)):
                assert staging.has(sha256_hex(data), size) is right
                assert staging.holds(sha256_hex(data), size) is right
        staging.commit()
    with tested.store.lock(), tested.store.stage() as staging:
        for data in contents:
            assert staging.holds(sha256_hex(data), len(data))
            assert not staging.holds(sha256_hex(data), len(data) + 1)


def test_a_block_table_that_was_damaged_is_put_right_by_adding_again(tested: StoreUnderTest) -> None:
    data = noise_of(3 << 20)
    add(tested.store, {"a": data})
    other = noise_of((3 << 20) - 1)
    for bad in (sums_of(data)[::-1], sums_of(other)):
        tested.replace(f"blocks/{sha256_hex(data)}", bad)
        add(tested.store, {"a": data})
        assert tested.store.block_digests(sha256_hex(data), len(data)) == table_of(data)
        assert tested.store.block_crcs(sha256_hex(data), len(data)) == crcs_of(data)


def noise_of(size: int) -> bytes:
    """Bytes that do not compress."""
    return random.Random(size).randbytes(size)
