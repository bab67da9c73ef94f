"""The content store in a folder: its files and their holes, and a kill or an error at any step."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from content_stores import FolderUnderTest, PacksUnderTest, add, check_whole, crcs_of, sums_of, table_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from courier.errors import DamagedError
from courier.files import allocated
from courier.site.store.sparse import RUN, SparseWriter
from formats.digest import sha256_hex

ONE, TWO, SHARED = b"one" * 1000, b"two" * 1000, b"shared" * 1000
LARGE = random.Random(1).randbytes((1 << 20) + 1)
FILES = {"a": ONE, "b": TWO, "s": SHARED, "empty": b"", "large": LARGE}
MIB = 1 << 20


@pytest.fixture(params=[FolderUnderTest, PacksUnderTest])
def tested(tmp_path: Path, request: pytest.FixtureRequest) -> FolderUnderTest:
    kind: type[FolderUnderTest] = request.param
    return kind(tmp_path)


def test_what_strays_into_the_store_does_not_stop_a_collection(tmp_path: Path) -> None:
    """Desktop systems and network file systems drop files everywhere."""
    tested = FolderUnderTest(tmp_path)
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


def with_zeros(*runs: tuple[int, int], size: int) -> bytes:
    """Noise with zeros from each offset to the other."""
    data = bytearray(random.Random(size).randbytes(size))
    for start, end in runs:
        data[start:end] = bytes(end - start)
    return bytes(data)


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.sampled_from([-1, 0, 1])), max_size=4),
    st.lists(st.sampled_from([1, 1000, RUN - 1, RUN, RUN + 1, 3 * RUN, 5 * RUN + 7]), min_size=1, max_size=5),
    st.integers(1, 12 * RUN),
    st.integers(1, 3),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_with_holes_reads_as_it_was_given_in_whatever_pieces(
    tmp_path: Path, runs: list[tuple[int, int, int]], pieces: list[int], size: int, openings: int
) -> None:
    zeros = ((max(0, start * RUN + by), max(0, start * RUN + by, end * RUN)) for start, end, by in runs)
    data = with_zeros(*((start, min(end, size)) for start, end in zeros if start < size), size=size)
    path = tmp_path / "out"
    path.unlink(missing_ok=True)
    at = written = 0
    for part in range(1, openings + 1):
        with SparseWriter(path, at) as out:
            while at < size * part // openings:
                piece = data[at : at + pieces[written % len(pieces)]][: size * part // openings - at]
                out.write(piece)
                at += len(piece)
                written += 1
        assert path.stat().st_size == at
    assert path.read_bytes() == data


def has_holes(folder: Path) -> bool:
    """Whether the file system of a folder leaves room out."""
    path = folder / "probe"
    with path.open("wb") as out:
        out.truncate(MIB)
    return allocated(path.stat()) < MIB


def test_runs_of_zeros_take_no_room_whichever_way_they_come_in(tested: FolderUnderTest, tmp_path: Path) -> None:
    if not has_holes(tmp_path):
        pytest.skip("elsewhere: needs a file system with holes")
    files = {
        "inside": with_zeros((MIB, 9 * MIB), size=10 * MIB),
        "end": with_zeros((MIB, 10 * MIB + 5), size=10 * MIB + 5),
        "start": with_zeros((0, 9 * MIB), size=10 * MIB),
    }
    summary = add(tested.store, files)
    whole = with_zeros((MIB, 5 * MIB), size=6 * MIB)
    with tested.store.stage() as staging:
        content = staging.begin()
        for at in range(0, len(whole), MIB):
            content.append([whole[at : at + 1000], whole[at + 1000 : at + MIB]])
        assert content.finish(sha256_hex(whole), sha256_hex(table_of(whole)))
        staging.commit()
    for data in (*files.values(), whole):
        with tested.store.open_content(sha256_hex(data)) as source:
            assert source.read() == data
        path = tested.path(f"content/{sha256_hex(data)}")
        assert path.stat().st_size == len(data)
        assert allocated(path.stat()) <= 3 * MIB
    assert list(tested.store.verify(summary)) == []
    room = tested.room()
    assert tested.store.collect([]).freed == room < 12 * MIB


def test_a_block_table_that_is_lost_or_cut_is_made_anew(tested: FolderUnderTest) -> None:
    data = with_zeros(size=2 * MIB + 10)
    add(tested.store, {"a": data})
    path = tested.path(f"blocks/{sha256_hex(data)}")
    kept = sums_of(data)
    assert path.read_bytes() == kept
    for harm in (
        path.unlink,
        lambda: path.write_bytes(kept[:-1]),
        lambda: path.write_bytes(b"x" + kept[1:]),
        lambda: path.write_bytes(b""),
    ):
        harm()
        assert tested.store.block_digests(sha256_hex(data), len(data)) == table_of(data)
        assert path.read_bytes() == kept
        harm()
        assert tested.store.block_crcs(sha256_hex(data), len(data)) == crcs_of(data)
        assert path.read_bytes() == kept
    path.unlink()
    add(tested.store, {"a": data})
    assert path.read_bytes() == kept
    path.unlink()
    tested.replace(f"content/{sha256_hex(data)}", data[::-1])
    with pytest.raises(DamagedError, match="differs"):
        tested.store.block_digests(sha256_hex(data), len(data))
    with pytest.raises(DamagedError, match="differs"):
        tested.store.block_crcs(sha256_hex(data), len(data))
    tested.store.collect([])
    assert tested.kept() == {}


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
