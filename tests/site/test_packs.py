"""Packs: small contents come back to the byte, whatever is lost of the index, and whenever a run is killed."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.site.store import packs as packs_module
from courier.site.store.packs import INDEX, MAGIC, Packs


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def put(packs: Packs, folder: Path, contents: Iterable[bytes]) -> None:
    staging = packs.stage(folder)
    for data in contents:
        staging.add(sha(data), data)
    staging.commit()


def got(packs: Packs, data: bytes) -> bytes | None:
    found = packs.find(sha(data))
    return None if found is None else packs.read(found)


def numbers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.pack"))


CONTENTS = [b"a", b"b" * 1000, b"c" * 65_536, b"", *(b"%d" % n for n in range(200))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(Packs(tmp_path / "packs"), tmp_path, CONTENTS)
    return tmp_path / "packs"


def lose_index(folder: Path) -> None:
    for path in folder.glob(f"{INDEX}*"):
        path.unlink()


def test_what_is_packed_comes_back(folder: Path) -> None:
    packs = Packs(folder)
    assert [got(packs, data) for data in CONTENTS] == CONTENTS
    assert got(packs, b"never packed") is None
    assert [content.digest for content in packs.contents()] == sorted(map(sha, CONTENTS))
    assert len(numbers(folder)) == 1


def test_nothing_is_seen_before_it_is_committed(folder: Path, tmp_path: Path) -> None:
    staging = Packs(folder).stage(tmp_path)
    staging.add(sha(b"new"), b"new")
    assert staging.has(sha(b"new"))
    assert staging.read(sha(b"new")) == b"new"
    assert got(Packs(folder), b"new") is None
    staging.close()
    assert got(Packs(folder), b"new") is None


def test_an_empty_store_has_nothing_and_makes_nothing(tmp_path: Path) -> None:
    packs = Packs(tmp_path / "packs")
    assert (packs.find(sha(b"")), list(packs.contents()), packs.collect([]), packs.forget(sha(b""))) == (
        None,
        [],
        0,
        None,
    )
    put(packs, tmp_path, [])
    assert not (tmp_path / "packs").exists()


@pytest.mark.parametrize("what", ["lost", "garbage", "cut", "empty"])
def test_an_index_that_is_lost_or_damaged_is_made_again_from_the_packs(folder: Path, what: str) -> None:
    whole = (folder / INDEX).read_bytes()
    lose_index(folder)
    if what != "lost":
        (folder / INDEX).write_bytes({"garbage": b"x" * 5000, "cut": whole[:1000], "empty": b""}[what])
    assert [got(Packs(folder), data) for data in CONTENTS] == CONTENTS


def test_a_pack_that_the_index_does_not_know_is_taken_in(folder: Path, tmp_path: Path) -> None:
    """As a kill leaves it between the pack's name and the index."""
    before = shutil.copytree(folder, tmp_path / "before")
    put(Packs(folder), tmp_path, [b"later"])
    shutil.copy(folder / "00000002.pack", before)
    assert got(Packs(before), b"later") == b"later"


def test_a_pack_that_is_gone_is_not_promised(folder: Path) -> None:
    (folder / "00000001.pack").unlink()
    assert got(Packs(folder), b"a") is None


def test_a_record_that_is_damaged_is_not_indexed_and_its_neighbours_are(folder: Path) -> None:
    path = folder / "00000001.pack"
    path.write_bytes(path.read_bytes().replace(b"b" * 1000, b"b" * 999 + b"X"))
    lose_index(folder)
    packs = Packs(folder)
    assert got(packs, b"b" * 1000) is None
    assert [got(packs, data) for data in CONTENTS if data != b"b" * 1000] == [d for d in CONTENTS if len(d) != 1000]


@pytest.mark.parametrize("size", [0, 5, len(MAGIC), len(MAGIC) + 20, 500])
def test_a_pack_that_was_cut_short_keeps_what_is_whole(folder: Path, size: int) -> None:
    path = folder / "00000001.pack"
    path.write_bytes(path.read_bytes()[:size])
    lose_index(folder)
    assert all(got(Packs(folder), data) in (None, data) for data in CONTENTS)


def test_what_was_damaged_is_forgotten_and_can_be_packed_again(folder: Path, tmp_path: Path) -> None:
    packs = Packs(folder)
    assert packs.forget(sha(b"a")) == b"a"
    assert got(packs, b"a") is None
    put(packs, tmp_path, [b"a"])
    assert got(packs, b"a") == b"a"


@settings(max_examples=20, deadline=None)
@given(keep=st.sets(st.integers(0, 60)), limit=st.sampled_from([200, 2000, 1 << 20]))
def test_collecting_keeps_what_is_needed_and_gives_the_room_back(
    tmp_path_factory: pytest.TempPathFactory, keep: set[int], limit: int
) -> None:
    root = tmp_path_factory.mktemp("store")
    contents = [b"%d" % n * (n + 1) for n in range(60)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packs_module, "PACK_SIZE", limit)
        packs = Packs(root / "packs")
        put(packs, root, contents)
        before = sum(path.stat().st_size for path in (root / "packs").glob("*.pack"))
        kept = [data for n, data in enumerate(contents) if n in keep]
        freed = packs.collect(sha(data) for data in kept)
    assert freed == sum(map(len, contents)) - sum(map(len, kept))
    for again in (packs, Packs(root / "packs")):
        assert [got(again, data) for data in kept] == kept
        assert [content.digest for content in again.contents()] == sorted(map(sha, kept))
    after = sum(path.stat().st_size for path in (root / "packs").glob("*.pack"))
    live = sum(len(data) + 40 for data in kept)
    assert after <= before
    assert after <= 2 * live + len(numbers(root / "packs")) * (40 + len(MAGIC)) + 60 * 40
    lose_index(root / "packs")
    assert [got(Packs(root / "packs"), data) for data in kept] == kept


@pytest.mark.parametrize("step", ["flush_files", "sync_folder", "_transaction"])
def test_a_run_that_is_stopped_while_it_commits_loses_nothing(
    folder: Path, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    packs = Packs(folder)
    assert got(packs, b"a") == b"a"
    with monkeypatch.context() as patch:
        patch.setattr(packs_module, step, stop)
        with pytest.raises(KeyboardInterrupt):
            put(packs, tmp_path, [b"new"])
    assert [got(Packs(folder), data) for data in CONTENTS] == CONTENTS
    put(Packs(folder), tmp_path, [b"new"])
    assert got(Packs(folder), b"new") == b"new"


def test_two_stores_read_and_write_one_index_at_once(folder: Path, tmp_path: Path) -> None:
    one, other = Packs(folder), Packs(folder)
    assert got(one, b"a") == got(other, b"a") == b"a"
    put(one, tmp_path, [b"from one"])
    assert got(other, b"from one") == b"from one"
