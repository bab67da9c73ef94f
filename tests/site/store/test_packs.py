"""The packs of a store: what a kill, a lost index, damage or a compaction does to them, and who reads meanwhile."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import random
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from content_stores import PacksUnderTest, add, check_whole, stored
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from courier.site.store import pack_collection, pack_file
from courier.site.store.content_store import ContentStore
from courier.site.store.folder import FolderStore
from courier.site.store.pack_file import GONE, HEADER, LARGEST, PACK, new_name
from courier.site.store.pack_index import INDEX, PackIndex, Place
from formats.digest import sha256_hex
from formats.documents.listing import ListingSummary


def noise(number: int, size: int = 0) -> bytes:
    """A content of its own; of some thousand bytes unless said otherwise."""
    rng = random.Random(number)
    return rng.randbytes(size or rng.randint(200, 8000))


def many(first: int, count: int) -> dict[str, bytes]:
    return {f"{number:06d}": noise(number) for number in range(first, first + count)}


def digest(data: bytes) -> bytes:
    return bytes.fromhex(sha256_hex(data))


@pytest.fixture
def tested(tmp_path: Path) -> PacksUnderTest:
    return PacksUnderTest(tmp_path)


def packs(tested: PacksUnderTest) -> list[Path]:
    return sorted((tested.folder / "packs").glob(f"*{PACK}"))


def fresh(tested: PacksUnderTest) -> FolderStore:
    """The store as a command that begins now sees it."""
    return FolderStore(tested.folder)


def said(store: ContentStore) -> dict[str, int]:
    return {content.sha256: content.size for content in store.contents()}


def test_small_contents_share_a_file_and_a_larger_one_has_its_own(tested: PacksUnderTest) -> None:
    files = {**many(0, 500), "just": noise(1000, LARGEST), "over": noise(1001, LARGEST + 1)}
    summary = add(tested.store, files)
    assert len(packs(tested)) == 1
    record = HEADER.pack(digest(files["just"]), LARGEST) + files["just"]
    assert record in packs(tested)[0].read_bytes()
    assert packs(tested)[0].stat().st_size == sum(40 + len(data) for name, data in files.items() if name != "over")
    assert [path.name for path in (tested.folder / "content").glob("*/*")] == [sha256_hex(files["over"])]
    assert list(tested.store.verify(summary)) == []
    check_whole(tested)


def test_a_pack_is_closed_at_its_size(tested: PacksUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_file, "PACK_SIZE", 100_000)
    monkeypatch.setattr(pack_collection, "MOST_SMALL", 1000)
    summary = add(tested.store, many(0, 200))
    sizes = [path.stat().st_size for path in packs(tested)]
    assert len(sizes) > 5
    assert max(sizes) < 100_000 + 9000
    assert list(tested.store.verify(summary)) == []


def test_small_contents_are_flushed_by_the_batch_and_not_one_by_one(
    tested: PacksUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        flushed.append(handle)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "sync", lambda: pytest.fail("the whole system was flushed"))
    add(tested.store, many(0, 2000))
    assert len(flushed) < 12


def test_more_contents_than_stay_in_memory_are_staged_and_found(
    tested: PacksUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("courier.site.store.staged_rows._ROWS", 50)
    monkeypatch.setattr("courier.site.store.staging._WAITING", 20_000)
    files = many(0, 300)
    with tested.store.lock(), tested.store.stage() as staging:
        for data in [*files.values(), *files.values()]:
            staging.add(io.BytesIO(data))
        assert all(staging.has(sha256_hex(data), len(data)) for data in files.values())
        assert not staging.has(sha256_hex(b"other"), 5)
        staging.commit()
    assert said(tested.store) == {sha256_hex(data): len(data) for data in files.values()}
    assert sum(path.stat().st_size for path in packs(tested)) == sum(40 + len(data) for data in files.values())


# --- the index --------------------------------------------------------------------------------------------------------


def lose(path: Path) -> None:
    path.unlink()


def overwrite(path: Path) -> None:
    path.write_bytes(b"no database at all " * 1000)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)


def spoil_pages(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for at in range(2 * 4096, len(data), 4096):
        data[at : at + 100] = b"\xff" * 100
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [lose, overwrite, empty, cut, spoil_pages])
@pytest.mark.parametrize("held", [True, False], ids=["store at work", "store opened after"])
def test_an_index_that_is_lost_or_damaged_is_made_anew_and_equals_the_live_one(
    tested: PacksUnderTest, harm: Callable[[Path], None], held: bool
) -> None:
    add(tested.store, many(0, 150))
    kept = add(tested.store, many(100, 300))
    tested.store.collect([kept])
    live, before = tested.rows(), said(tested.store)
    assert len(live) == 300
    harm(tested.folder / "packs" / INDEX)
    store = tested.store if held else fresh(tested)
    assert said(store) == before
    assert tested.rows() == live
    assert list(store.verify(kept)) == []
    assert add(store, many(100, 300)) == kept
    assert tested.rows() == live


def test_a_pack_that_the_index_does_not_know_yet_is_taken_in(tested: PacksUnderTest) -> None:
    """So a kill leaves it between the pack's name and the index."""
    kept = add(tested.store, many(0, 20))
    other = [noise(number) for number in range(50, 60)]
    record = b"".join(HEADER.pack(digest(data), len(data)) + data for data in other)
    tested.pack(new_name()).write_bytes(record[:-1])
    expected = {sha256_hex(data): len(data) for data in [*many(0, 20).values(), *other[:-1]]}
    assert said(fresh(tested)) == expected
    tested.store.collect([kept])
    assert said(tested.store) == {sha256_hex(data): len(data) for data in many(0, 20).values()}


def test_a_transaction_that_a_kill_cut_is_undone(tested: PacksUnderTest) -> None:
    add(tested.store, many(0, 2000))
    before = said(tested.store)
    child = os.fork()
    if not child:
        connection = sqlite3.connect(tested.folder / "packs" / INDEX, isolation_level=None)
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM content WHERE length > 500")
        os._exit(9)
    os.waitpid(child, 0)
    assert (tested.folder / "packs" / f"{INDEX}-journal").stat().st_size > 0
    assert tested.store.is_good(next(iter(before)))
    assert said(fresh(tested)) == said(tested.store) == before


def test_a_home_that_can_only_be_read_is_read_and_stays_as_it_is(
    tested: PacksUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = add(tested.store, many(0, 100))
    before = said(tested.store)
    monkeypatch.setattr(os, "access", lambda *_: False)
    index = tested.folder / "packs" / INDEX
    for harm in (lambda _: None, spoil_pages, overwrite, lose):
        harm(index)
        files = {path: path.read_bytes() for path in tested.folder.rglob("*") if path.is_file()}
        store = fresh(tested)
        assert list(store.verify(summary)) == []
        assert said(store) == before
        assert {path: path.read_bytes() for path in tested.folder.rglob("*") if path.is_file()} == files


# --- damage -----------------------------------------------------------------------------------------------------------


def test_a_pack_cut_short_loses_what_was_cut_and_nothing_else(tested: PacksUnderTest) -> None:
    files = many(0, 100)
    summary = add(tested.store, files)
    (pack,) = packs(tested)
    os.truncate(pack, pack.stat().st_size - 10_000)
    findings = list(fresh(tested).verify(summary))
    assert 0 < len(findings) < 60
    assert {finding.problem for finding in findings} <= {"content is missing", "content differs from its SHA-256"}
    assert add(tested.store, files) == summary
    assert list(tested.store.verify(summary)) == []
    assert list(fresh(tested).verify(summary)) == []


def test_a_pack_that_is_gone_is_damage_and_its_contents_are_taken_in_again(tested: PacksUnderTest) -> None:
    files = many(0, 50)
    summary = add(tested.store, files)
    packs(tested)[0].unlink()
    assert {finding.problem for finding in tested.store.verify(summary)} == {"content is missing"}
    assert not tested.store.is_good(sha256_hex(files["000000"]))
    assert add(tested.store, files) == summary
    assert list(tested.store.verify(summary)) == []


def test_findings_name_paths_in_their_order_whatever_the_order_of_the_packs(
    tested: PacksUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("courier.site.store.content_store.BATCH", 7)
    files = {**many(0, 30), "large": noise(99, 100_000), "twice": noise(3)}
    summary = add(tested.store, dict(reversed(files.items())))
    for name in ("000003", "000020", "large"):
        tested.replace(f"content/{sha256_hex(files[name])}", files[name][::-1])
    assert [finding.path for finding in tested.store.verify(summary)] == ["000003", "000020", "large", "twice"]


def test_many_contents_go_into_quarantine_at_once(tested: PacksUnderTest) -> None:
    files = {**many(0, 200), "large": noise(999, 100_000)}
    summary = add(tested.store, files)
    for data in files.values():
        tested.replace(f"content/{sha256_hex(data)}", data[::-1])
    tested.store.quarantine(*(sha256_hex(data) for data in files.values()), "0" * 64)
    assert said(tested.store) == {}
    assert len(list((tested.folder / "damaged").iterdir())) == 201
    assert add(tested.store, files) == summary
    assert list(tested.store.verify(summary)) == []


@pytest.mark.parametrize("way", ["quarantine", "adding again"])
def test_bytes_that_are_good_again_do_not_come_back_with_a_new_index(tested: PacksUnderTest, way: str) -> None:
    files = many(0, 3)
    data = files["000001"]
    add(tested.store, files)
    name, offset, _ = tested.rows()[digest(data)]
    tested.replace(f"content/{sha256_hex(data)}", data[::-1])
    if way == "quarantine":
        tested.store.quarantine(sha256_hex(data))
    else:
        add(tested.store, files)
        summary = add(tested.store, {"other": noise(7)})
        tested.store.collect([summary], [digest(files["000000"]), digest(files["000002"])])
    # The disk gives the right bytes again.
    with tested.pack(name).open("r+b") as out:
        out.seek(offset)
        out.write(data)
    (tested.folder / "packs" / INDEX).unlink()
    assert not fresh(tested).has(sha256_hex(data), len(data))
    assert fresh(tested).has(sha256_hex(files["000000"]), len(files["000000"]))


def test_a_mark_that_a_kill_cut_short_does_not_count_and_does_not_harm_later_ones(tmp_path: Path) -> None:
    path = tmp_path / f"a{GONE}"
    assert pack_file.read_marks(path) == set()
    pack_file.add_marks(path, [40, 5000])
    path.write_bytes(path.read_bytes() + b"\0\0\0")
    assert pack_file.read_marks(path) == {40, 5000}
    pack_file.add_marks(path, [1 << 40])
    assert pack_file.read_marks(path) == {40, 5000, 1 << 40}


# --- collection -------------------------------------------------------------------------------------------------------


def test_a_dead_pack_is_deleted_and_one_more_than_half_dead_is_copied_over(tested: PacksUnderTest) -> None:
    files = {f"{number}": noise(number, 6000) for number in range(40)}
    parts = [add(tested.store, dict(list(files.items())[start:end])) for start, end in ((0, 20), (20, 40))]
    few = add(tested.store, {name: files[name] for name in ("0", "1", "2", "20", "21", "22", *map(str, range(23, 35)))})
    dead = add(tested.store, {"dead": noise(100, 6000)})
    assert len(packs(tested)) == 3
    assert tested.store.collect([*parts, few, dead]).pending == 0
    room, files_before = tested.room(), set(packs(tested))
    collected = tested.store.collect([few])
    assert collected.freed == room - tested.room() > 100_000
    # Of the second pack 15 of 20 contents are in use; of the first one 3 were, and they are in a new one.
    assert collected.pending == 5 * (6000 + 40)
    assert len(packs(tested)) == 2
    assert len(files_before & set(packs(tested))) == 1
    assert said(tested.store) == said(fresh(tested)) == {row.hex(): 6000 for row in tested.rows()}
    assert len(tested.rows()) == 18
    assert list(tested.store.verify(few)) == []
    assert tested.store.collect([few]).freed == 0
    (tested.folder / "packs" / INDEX).unlink()
    assert len(said(tested.store)) == 18
    last = tested.store.collect([])
    assert (last.pending, packs(tested), list((tested.folder / "packs").glob(f"*{GONE}"))) == (0, [], [])


def test_an_open_content_outlasts_its_pack_and_a_place_looked_up_before_is_looked_up_again(
    tested: PacksUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, other = noise(1), many(10, 30)
    summary = add(tested.store, {"kept": kept, **other})
    reader = fresh(tested)
    name, offset, length = tested.rows()[digest(kept)]
    with reader.open_content(sha256_hex(kept)) as source:
        assert source.read(10) == kept[:10]
        del summary
        only = add(tested.store, {"kept": kept})
        tested.store.collect([only])
        assert not tested.pack(name).exists()
        assert source.read() == kept[10:]
    answers: list[Place | None] = [Place(pack=name, offset=offset, length=length)]
    real = PackIndex.find

    def stale(self: PackIndex, wanted: bytes) -> Place | None:
        return answers.pop() if answers else real(self, wanted)

    monkeypatch.setattr(PackIndex, "find", stale)
    with reader.open_content(sha256_hex(kept)) as source:
        assert source.read() == kept
    assert not answers


def test_damaged_content_is_as_damaged_after_its_pack_was_copied_over(tested: PacksUnderTest) -> None:
    files = {"bad": noise(1, 5000), "good": noise(2, 5000)}
    add(tested.store, {**files, **many(10, 30)})
    few = add(tested.store, files)
    tested.replace(f"content/{sha256_hex(files['bad'])}", files["bad"][::-1])
    (old,) = packs(tested)
    tested.store.collect([few])
    assert not old.exists()
    assert [(one.path, one.problem) for one in tested.store.verify(few)] == [
        ("bad", "content differs from its SHA-256")
    ]


def test_without_room_to_copy_over_nothing_is_lost(tested: PacksUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    files = many(0, 30)
    add(tested.store, files)
    few = add(tested.store, {"a": files["000000"]})
    with monkeypatch.context() as patch:
        patch.setattr(pack_collection, "free_space", lambda _: 0)
        assert tested.store.collect([few]).pending > 0
        assert list(tested.store.verify(few)) == []
    assert tested.store.collect([few]).pending == 0
    assert list(tested.store.verify(few)) == []


def test_packs_of_many_small_packages_are_put_together(tested: PacksUnderTest) -> None:
    summaries = [add(tested.store, {"a": noise(number), "b": noise(number + 1000)}) for number in range(70)]
    assert len(packs(tested)) < 35
    assert len(said(tested.store)) == len(said(fresh(tested))) == 140
    for summary in summaries:
        assert list(tested.store.verify(summary)) == []
    assert {path.suffix for path in (tested.folder / "packs").iterdir()} == {PACK, ".sqlite"}


# --- others at work ---------------------------------------------------------------------------------------------------


def read_all(store: ContentStore, files: dict[str, bytes], summary: ListingSummary, until: Callable[[], bool]) -> None:
    """Read everything again and again; fails when something is wrong."""
    while not until():
        for data in files.values():
            with store.open_content(sha256_hex(data)) as source:
                assert source.read() == data
        assert list(store.verify(summary)) == []
        assert set(said(store)) >= {sha256_hex(data) for data in files.values()}


def test_threads_and_processes_read_while_contents_come_and_go(tested: PacksUnderTest) -> None:
    files = many(0, 30)
    kept = add(tested.store, {**files, **many(100, 10)})
    kept = add(tested.store, files)
    ended = threading.Event()
    problems: list[BaseException] = []

    def guarded(store: ContentStore) -> None:
        try:
            read_all(store, files, kept, ended.is_set)
        except BaseException as error:
            problems.append(error)

    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(writer)
        os.set_blocking(reader, False)

        def until() -> bool:
            with contextlib.suppress(BlockingIOError):
                return os.read(reader, 1) == b""
            return False

        code = 1
        try:
            read_all(tested.store, files, kept, until)
            code = 0
        finally:
            os._exit(code)
    threads = [threading.Thread(target=guarded, args=(store,)) for store in (tested.store, tested.store, fresh(tested))]
    for thread in threads:
        thread.start()
    for number in range(12):
        more = add(tested.store, many(1000 + 40 * number, 40))
        assert said(tested.store).keys() >= {sha256_hex(data) for data in many(1000 + 40 * number, 40).values()}
        with tested.store.lock():
            tested.store.collect([kept, more] if number % 3 == 0 else [kept])
    ended.set()
    for thread in threads:
        thread.join()
    os.close(writer)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert problems == []
    os.close(reader)


# --- any sequence -----------------------------------------------------------------------------------------------------


class StoreMachine(RuleBasedStateMachine):
    """Packages come and go, commands are killed, the index is lost: the store says what the model says."""

    place: Path
    count = 0

    def __init__(self) -> None:
        super().__init__()
        StoreMachine.count += 1
        self.tested = PacksUnderTest(self.place / str(StoreMachine.count))
        self.packages: dict[int, ListingSummary] = {}
        self.needs: dict[int, set[str]] = {}
        self.model: dict[str, bytes] = {}
        self.made = 0

    def _datas(self, numbers: set[int]) -> dict[str, bytes]:
        return {f"{n:03d}": noise(n, 70_000 if n % 10 == 9 else 100 + 300 * n) for n in numbers}

    @rule(numbers=st.sets(st.integers(0, 24), min_size=1, max_size=12))
    def add(self, numbers: set[int]) -> None:
        files = self._datas(numbers)
        self.made += 1
        self.packages[self.made] = add(self.tested.store, files)
        self.needs[self.made] = {sha256_hex(data) for data in files.values()}
        self.model |= {sha256_hex(data): data for data in files.values()}

    @rule(numbers=st.sets(st.integers(0, 24), min_size=1, max_size=12))
    def be_killed_before_the_commit(self, numbers: set[int]) -> None:
        staging = self.tested.store.stage()
        staging.__enter__()
        for data in self._datas(numbers).values():
            staging.add(io.BytesIO(data))
        # Nothing more is done with it: its files stay, as a kill leaves them.

    @rule(numbers=st.sets(st.integers(30, 60), min_size=1, max_size=5), cut=st.integers(0, 500))
    def be_killed_before_the_index_is_written(self, numbers: set[int], cut: int) -> None:
        datas = [data for data in self._datas(numbers).values() if sha256_hex(data) not in self.model]
        record = b"".join(HEADER.pack(digest(data), len(data)) + data for data in datas if len(data) <= LARGEST)
        (self.tested.folder / "packs").mkdir(parents=True, exist_ok=True)
        self.tested.pack(pack_file.new_name()).write_bytes(record[: max(0, len(record) - cut)])
        at = 0
        for data in datas:
            if len(data) <= LARGEST:
                at += 40 + len(data)
                if at <= len(record) - cut:
                    self.model[sha256_hex(data)] = data

    @precondition(lambda self: self.packages)
    @rule(which=st.integers(0, 100))
    def remove(self, which: int) -> None:
        number = sorted(self.packages)[which % len(self.packages)]
        del self.packages[number], self.needs[number]

    @rule()
    def collect(self) -> None:
        self.tested.store.collect(self.packages.values())
        needed = set().union(*self.needs.values())
        self.model = {sha256: data for sha256, data in self.model.items() if sha256 in needed}

    @precondition(lambda self: (self.tested.folder / "packs" / INDEX).exists())
    @rule(harm=st.sampled_from([lose, overwrite, empty, cut]))
    def lose_the_index(self, harm: Callable[[Path], None]) -> None:
        harm(self.tested.folder / "packs" / INDEX)

    @precondition(lambda self: self.tested.rows())
    @rule(which=st.integers(0, 100), count=st.integers(1, 5000))
    def cut_a_pack(self, which: int, count: int) -> None:
        said(self.tested.store)
        rows = self.tested.rows()
        if not rows:
            return
        names = sorted({row[0] for row in rows.values()})
        name = names[which % len(names)]
        size = max(0, self.tested.pack(name).stat().st_size - count)
        os.truncate(self.tested.pack(name), size)
        for sha, (pack, offset, length) in rows.items():
            if pack == name and offset + length > size:
                del self.model[sha.hex()]

    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        expected = [stored(data) for _, data in sorted(self.model.items())]
        assert list(self.tested.store.contents()) == expected
        assert list(fresh(self.tested).contents()) == expected
        for sha256, data in self.model.items():
            assert self.tested.store.has(sha256, len(data))
            with self.tested.store.open_content(sha256) as source:
                assert source.read() == data
        for number, summary in self.packages.items():
            bad = {finding.sha256 for finding in self.tested.store.verify(summary)}
            assert bad == self.needs[number] - self.model.keys()


def test_any_sequence_of_commands_kills_and_losses_leaves_what_was_taken_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_file, "PACK_SIZE", 20_000)
    monkeypatch.setattr(pack_collection, "MOST_SMALL", 6)
    # Names by chance would make packs come in another order when Hypothesis repeats a sequence.
    names = (f"{number:016x}" for number in itertools.count())
    monkeypatch.setattr(pack_file, "new_name", lambda: next(names))
    StoreMachine.place = tmp_path
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=checks),
    )


def test_marks_that_a_kill_left_without_their_pack_are_deleted(tested: PacksUnderTest) -> None:
    add(tested.store, many(0, 3))
    left = tested.folder / "packs" / f"0123456789abcdef{GONE}"
    pack_file.add_marks(left, [40])
    with tested.store.lock():
        tested.store.collect([])
    assert not left.exists()
