"""The package store: content kept once, visible when it is whole, and gone when nothing needs it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from courier.errors import CourierError, DamagedError, RefusedError
from courier.files import TEMP
from courier.packages.trees import write_tree
from courier.site.store.folder import Store
from formats.digest import sha256_hex
from formats.documents.listing import EMPTY, Entry, FileEntry, FolderEntry, ListingSummary
from formats.errors import MalformedError

ONE, TWO, SHARED = b"one" * 1000, b"two" * 1000, b"shared" * 1000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def listing(files: dict[str, bytes]) -> list[Entry]:
    return [
        FileEntry(path=path, size=len(data), sha256=sha256_hex(data), mtime_ns=0, executable=False)
        for path, data in sorted(files.items())
    ]


def add(store: Store, files: dict[str, bytes]) -> ListingSummary:
    with store.lock(), store.stage() as staging:
        for data in files.values():
            assert staging.add(io.BytesIO(data)) == (sha256_hex(data), len(data))
        summary = staging.add_listing(listing(files))
        staging.commit()
    return summary


def snapshot(store: Store) -> dict[str, bytes]:
    """Every file below the store but its lock."""
    paths = (path for path in store.folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(store.folder)): path.read_bytes() for path in paths}


def check_whole(store: Store) -> None:
    """What has a name in the store is what its name says."""
    for path, data in snapshot(store).items():
        if path.startswith(("content/", "listings/")):
            assert sha256_hex(data) == Path(path).name


def test_content_is_taken_in_once_and_read_back(store: Store) -> None:
    first = add(store, {"a": ONE, "b": SHARED, "c": SHARED, "empty": b""})
    second = add(store, {"x": TWO, "y": SHARED})
    contents = [Path(path).name for path in snapshot(store) if path.startswith("content/")]
    assert sorted(contents) == sorted(map(sha256_hex, (ONE, TWO, SHARED)))
    assert [entry.path for entry in store.entries(first)] == ["a", "b", "c", "empty"]
    with store.open_content(sha256_hex(SHARED)) as source:
        assert source.read() == SHARED
    for data in (ONE, TWO, SHARED):
        assert store.has(sha256_hex(data), len(data))
        assert not store.has(sha256_hex(data), len(data) + 1)
    assert not store.has(sha256_hex(b"other"), 5)
    assert not store.has(EMPTY, 0)
    for summary in (first, second):
        assert list(store.verify(summary)) == []
    check_whole(store)


def test_what_is_staged_is_invisible_until_it_is_committed(store: Store) -> None:
    with store.stage() as staging:
        staging.add(io.BytesIO(ONE))
        summary = staging.add_listing(listing({"a": ONE}))
        assert staging.has(sha256_hex(ONE), len(ONE))
        assert staging.has(EMPTY, 0)
        assert not staging.has(sha256_hex(TWO), len(TWO))
        assert [entry.path for entry in staging.staged_entries(summary)] == ["a"]
        assert not store.has(sha256_hex(ONE), len(ONE))
        with pytest.raises(DamagedError):
            list(store.entries(summary))
        assert not (store.folder / "content").exists()
        staging.commit()
        assert store.has(sha256_hex(ONE), len(ONE))
        assert list(store.verify(summary)) == []
    assert not any(path.startswith(TEMP) for path in snapshot(store))


def test_staging_that_is_given_up_leaves_nothing(store: Store) -> None:
    add(store, {"a": ONE})
    before = snapshot(store)
    with store.stage() as staging:
        staging.add(io.BytesIO(TWO))
        staging.add_listing(listing({"b": TWO}))
    with pytest.raises(KeyboardInterrupt), store.stage() as staging:
        staging.add(io.BytesIO(TWO))
        raise KeyboardInterrupt
    assert snapshot(store) == before
    assert [path.name for path in store.folder.iterdir() if path.name.startswith(TEMP)] == []


def test_content_that_was_checked_elsewhere_is_placed(store: Store) -> None:
    add(store, {"a": SHARED})
    with store.stage() as staging:
        for data in (ONE, ONE, SHARED, b""):
            path = staging.temporary()
            path.write_bytes(data)
            staging.place(path, sha256_hex(data), len(data))
            assert path.exists() == (data == ONE and path.name == "1")
        summary = staging.add_listing(listing({"a": ONE, "b": SHARED}))
        staging.commit()
    assert list(store.verify(summary)) == []
    check_whole(store)


def test_a_listing_out_of_order_is_not_staged(store: Store) -> None:
    with store.stage() as staging, pytest.raises(MalformedError):
        staging.add_listing(listing({"a": ONE})[::-1] + listing({"a": ONE}))


def test_content_that_others_hold_stays_after_a_removal(store: Store) -> None:
    first = add(store, {"a": ONE, "s": SHARED})
    second = add(store, {"b": TWO, "s": SHARED})
    assert store.collect([first, second]) == 0
    freed = store.collect([second])
    assert freed == len(ONE) + len(b"".join(_lines({"a": ONE, "s": SHARED})))
    assert not store.has(sha256_hex(ONE), len(ONE))
    assert list(store.verify(second)) == []
    store.collect([])
    assert snapshot(store) == {}


def _lines(files: dict[str, bytes]) -> list[bytes]:
    from formats.documents.listing import entry_line

    return [entry_line(entry) for entry in listing(files)]


def test_what_strays_into_the_store_does_not_stop_a_collection(store: Store) -> None:
    """Desktop systems and network file systems drop files everywhere."""
    kept = add(store, {"a": ONE})
    folder = store.content_path(sha256_hex(ONE)).parent
    (store.folder / "damaged" / "a folder").mkdir(parents=True)
    strays = [folder / ".DS_Store", folder / ".nfs0001", store.folder / "content/Thumbs.db"]
    strays += [store.folder / "listings/.DS_Store", store.folder / "damaged/.DS_Store"]
    for path in strays:
        path.write_bytes(b"stray")
    store.collect([kept])
    assert list(store.verify(kept)) == []
    store.collect([])
    assert not store.has(sha256_hex(ONE), len(ONE))
    assert all(path.exists() for path in strays)


def test_nothing_is_collected_while_it_is_unknown_what_is_needed(store: Store) -> None:
    first = add(store, {"a": ONE})
    second = add(store, {"b": TWO})
    store.listing_path(first.sha256).unlink()
    with pytest.raises(DamagedError):
        store.collect([first, second])
    assert store.has(sha256_hex(ONE), len(ONE))
    assert store.has(sha256_hex(TWO), len(TWO))


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]), "differs"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "differs"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "differs"),
        (lambda path: path.write_bytes(b""), "differs"),
        (lambda path: path.unlink(), "missing"),
    ],
)
def test_damage_is_found_by_verification_and_never_written_out(
    store: Store, tmp_path: Path, harm: Callable[[Path], object], problem: str
) -> None:
    summary = add(store, {"a": ONE, "b": TWO, "empty": b""})
    harm(store.content_path(sha256_hex(TWO)))
    findings = list(store.verify(summary))
    assert [finding.path for finding in findings] == ["b"]
    assert problem in findings[0].problem
    with pytest.raises(DamagedError):
        write_tree(store.entries(summary), tmp_path / "out", store.open_content)
    assert not (tmp_path / "out").exists()


def test_content_that_was_cut_short_is_taken_in_anew(store: Store) -> None:
    summary = add(store, {"a": ONE})
    path = store.content_path(sha256_hex(ONE))
    path.write_bytes(ONE[:-1])
    assert add(store, {"a": ONE}) == summary
    assert list(store.verify(summary)) == []


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"a"', b'"b"')),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(os.urandom(100)),
    ],
)
def test_a_damaged_listing_is_damage_not_a_crash(store: Store, harm: Callable[[Path], object]) -> None:
    summary = add(store, {"a": ONE})
    harm(store.listing_path(summary.sha256))
    for use in (store.entries, store.verify):
        with pytest.raises(DamagedError) as caught:
            list(use(summary))
        assert caught.value.hint


def test_a_missing_content_is_said_to_be_missing(store: Store) -> None:
    with pytest.raises(DamagedError, match="missing"):
        store.open_content("0" * 64)


def test_one_writer_at_a_time(store: Store) -> None:
    with store.lock(), pytest.raises(RefusedError), store.lock():
        pass


# --- kills ----------------------------------------------------------------------------------------------------------

FILES = {"a": ONE, "b": TWO, "s": SHARED, "empty": b""}


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do the work in a child that is gone at its n-th file-system step, with no chance to clean up; say if it was."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    done = 0

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **keywords: object) -> object:
            nonlocal done
            done += 1
            if done == step:
                os._exit(9)
            return real(*args, **keywords)

        return call

    try:
        for name in ("rename", "replace", "mkdir", "unlink", "fsync", "open"):
            setattr(os, name, counted(getattr(os, name)))
        work()
        os._exit(0)
    except BaseException:
        os._exit(1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="elsewhere: needs fork")
def test_a_kill_at_any_step_of_taking_in_loses_nothing_and_leaves_nothing(store: Store) -> None:
    kept = add(store, {"old": b"old" * 1000, "s": SHARED})
    before = snapshot(store)
    kills = 0
    for step in range(1, 200):
        killed = killed_at(step, lambda: add(store, FILES))
        kills += killed
        check_whole(store)
        assert list(store.verify(kept)) == []
        assert {path: data for path, data in snapshot(store).items() if path in before} == before
        with store.lock():
            store.collect([kept])
        assert snapshot(store) == before
        if not killed:
            break
    assert kills > 8
    summary = add(store, FILES)
    assert list(store.verify(summary)) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="elsewhere: needs fork")
def test_a_kill_at_any_step_of_a_collection_takes_nothing_that_is_needed(store: Store) -> None:
    kept = add(store, {"old": b"old" * 1000, "s": SHARED})
    before = snapshot(store)
    for step in range(1, 50):
        add(store, FILES)
        killed = killed_at(step, lambda: store.collect([kept]))
        assert list(store.verify(kept)) == []
        store.collect([kept])
        assert snapshot(store) == before
        if not killed:
            break
    assert step > 3


@pytest.mark.parametrize("step", range(1, 6))
def test_an_error_at_any_step_of_the_commit_leaves_the_store_as_good_as_before(
    store: Store, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = add(store, {"old": b"old", "s": SHARED})
    before = snapshot(store)
    real, done = Path.replace, 0

    def replace(self: Path, target: Path) -> Path:
        nonlocal done
        done += 1
        if done == step:
            raise OSError(28, "No space left on device")
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        try:
            add(store, FILES)
        except OSError:
            assert done == step
    check_whole(store)
    assert list(store.verify(kept)) == []
    store.collect([kept])
    assert snapshot(store) == before


def test_folders_listed_in_a_package_are_kept_even_when_empty(store: Store) -> None:
    entries: list[Entry] = [FolderEntry(path="d", mtime_ns=5)]
    with store.stage() as staging:
        summary = staging.add_listing(entries)
        staging.commit()
    assert list(store.entries(summary)) == entries
    assert issubclass(DamagedError, CourierError)
