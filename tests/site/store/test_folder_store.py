"""The content store in a folder: its files, and a kill or an error at any step."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from content_stores import FolderUnderTest, add, check_whole

from formats.digest import sha256_hex

ONE, TWO, SHARED = b"one" * 1000, b"two" * 1000, b"shared" * 1000
FILES = {"a": ONE, "b": TWO, "s": SHARED, "empty": b""}


@pytest.fixture
def tested(tmp_path: Path) -> FolderUnderTest:
    return FolderUnderTest(tmp_path)


def test_what_strays_into_the_store_does_not_stop_a_collection(tested: FolderUnderTest) -> None:
    """Desktop systems and network file systems drop files everywhere."""
    kept = add(tested.store, {"a": ONE})
    folder = tested.path(f"content/{sha256_hex(ONE)}").parent
    (tested.folder / "damaged" / "a folder").mkdir(parents=True)
    strays = [folder / ".DS_Store", folder / ".nfs0001", tested.folder / "content/Thumbs.db"]
    strays += [tested.folder / "listings/.DS_Store", tested.folder / "damaged/.DS_Store"]
    for path in strays:
        path.write_bytes(b"stray")
    tested.store.collect([kept])
    assert [content.sha256 for content in tested.store.contents()] == [sha256_hex(ONE)]
    assert list(tested.store.verify(kept)) == []
    tested.store.collect([])
    assert not tested.store.has(sha256_hex(ONE), len(ONE))
    assert all(path.exists() for path in strays)


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do the work in a child process that ends at its n-th file-system step without tidying up; whether it did."""
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
def test_a_kill_at_any_step_of_taking_in_loses_nothing_and_leaves_nothing(tested: FolderUnderTest) -> None:
    store = tested.store
    kept = add(store, {"old": b"old" * 1000, "s": SHARED})
    before = tested.kept()
    kills = 0
    for step in range(1, 200):
        killed = killed_at(step, lambda: add(store, FILES))
        kills += killed
        check_whole(tested)
        assert list(store.verify(kept)) == []
        assert {name: data for name, data in tested.kept().items() if name in before} == before
        with store.lock():
            store.collect([kept])
        assert tested.kept() == before
        if not killed:
            break
    assert kills > 8
    summary = add(store, FILES)
    assert list(store.verify(summary)) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="elsewhere: needs fork")
def test_a_kill_at_any_step_of_a_collection_takes_nothing_that_is_needed(tested: FolderUnderTest) -> None:
    store = tested.store
    kept = add(store, {"old": b"old" * 1000, "s": SHARED})
    before = tested.kept()
    for step in range(1, 50):
        add(store, FILES)
        killed = killed_at(step, lambda: store.collect([kept]))
        assert list(store.verify(kept)) == []
        store.collect([kept])
        assert tested.kept() == before
        if not killed:
            break
    assert step > 3


@pytest.mark.parametrize("step", range(1, 6))
def test_an_error_at_any_step_of_the_commit_leaves_the_store_as_good_as_before(
    tested: FolderUnderTest, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = add(tested.store, {"old": b"old", "s": SHARED})
    before = tested.kept()
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
            add(tested.store, FILES)
        except OSError:
            assert done == step
    check_whole(tested)
    assert list(tested.store.verify(kept)) == []
    tested.store.collect([kept])
    assert tested.kept() == before
