"""Reading a source: a package comes out as it went in, to the nanosecond, or nothing of it is taken in."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from source_trees import facts, make_rich_tree, ordinary_user, posix, sparse_file

from courier.errors import RefusedError
from courier.packages.read_tree import read_tree
from courier.packages.survey import SourceTree, scan_tree
from courier.packages.tree_root import SourceFile
from courier.packages.write_tree import write_tree
from courier.site.store.content_store import StoredContent
from courier.site.store.folder import FolderStore
from formats.digest import sha256_hex
from formats.documents.listing import (
    Entry,
    FileEntry,
    FolderEntry,
    HardLinkEntry,
    LinkEntry,
    ListingSummary,
    write_listing,
)
from formats.holes import hole_bytes

pytestmark = posix
DATA = b"content"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return make_rich_tree(tmp_path / "source")


def digest_only(stream: BinaryIO) -> StoredContent:
    data = stream.read()
    return StoredContent(sha256=sha256_hex(data), size=len(data), blocks="0" * 64 if len(data) > 1 << 20 else "")


def entries(*paths: Path, holes: bool = True) -> list[Entry]:
    with scan_tree(paths) as tree:
        return list(read_tree(tree, digest_only, holes=holes))


def stage(store: FolderStore, source: Path) -> ListingSummary:
    with scan_tree([source]) as tree, store.lock(), store.stage() as staging:
        summary = staging.add_listing(read_tree(tree, staging.add))
        staging.commit()
    return summary


def test_a_rich_tree_comes_out_as_it_went_in(tmp_path: Path, source: Path) -> None:
    store = FolderStore(tmp_path / "store")
    before = facts(source)
    summary = stage(store, source)
    write_tree(store.entries(summary), tmp_path / "out", store.open_content, keep_set_id=True)
    after = facts(tmp_path / "out")
    assert after.keys() == before.keys()
    for name, fact in before.items():
        assert after[name] == fact, name
    assert entries(tmp_path / "out") == entries(source)
    with scan_tree([source]) as tree:
        assert summary.bytes == tree.bytes
        assert summary.entries == tree.entries == len(before)
    assert facts(source) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source", "store"]


def test_an_ordinary_user_gets_everything_back_too(tmp_path: Path) -> None:
    with ordinary_user() as folder:
        (folder / "source").mkdir()
        make_rich_tree(folder / "source")
        before = facts(folder / "source")
        summary = stage(FolderStore(folder / "store"), folder / "source")
        store = FolderStore(folder / "store")
        write_tree(store.entries(summary), folder / "out", store.open_content)
        assert facts(folder / "out") == before


def test_every_kind_of_entry_is_listed_as_the_disk_tells_it(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o700)
    (tmp_path / "d/a").write_bytes(DATA)
    (tmp_path / "d/a").chmod(0o4755)
    (tmp_path / "z").hardlink_to(tmp_path / "d/a")
    (tmp_path / "l").symlink_to("d/a")
    for name in ("d/a", "l", "d"):
        os.utime(tmp_path / name, ns=(5, 1_234_567_890_123_456_789), follow_symlinks=False)
    time = 1_234_567_890_123_456_789
    assert entries(tmp_path) == [
        FolderEntry(path="d", mtime_ns=time, mode=0o700),
        FileEntry(
            path="d/a", mtime_ns=time, mode=0o4755, size=len(DATA), sha256=sha256_hex(DATA), further_names=1
        ),
        LinkEntry(path="l", mtime_ns=time, target="d/a"),
        HardLinkEntry(path="z", first="d/a"),
    ]  # fmt: skip


def test_holes_are_found_and_left_out_of_the_listing_where_they_are_not_wanted(tmp_path: Path) -> None:
    sparse_file(tmp_path / "disk.vhdx", 64 << 20)
    (with_holes,), (without,) = entries(tmp_path), entries(tmp_path, holes=False)
    assert isinstance(with_holes, FileEntry)
    assert isinstance(without, FileEntry)
    assert hole_bytes(with_holes.holes) == (64 << 20) - 8192
    assert without.holes == ()
    assert with_holes.sha256 == without.sha256


def test_files_whose_zeros_take_room_have_no_holes(tmp_path: Path) -> None:
    (tmp_path / "zeros").write_bytes(bytes(1 << 20))
    (entry,) = entries(tmp_path)
    assert isinstance(entry, FileEntry)
    assert entry.holes == ()


# --- a source that does not hold still ------------------------------------------------------------------------------


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"

    def append(stream: BinaryIO) -> StoredContent:
        result = digest_only(stream)
        with path.open("ab") as more:
            more.write(b"more")
        return result

    def overwrite(stream: BinaryIO) -> StoredContent:
        result = digest_only(stream)
        path.write_bytes(b"OLD")
        os.utime(path, ns=(5, 5))
        return result

    def truncate(stream: BinaryIO) -> StoredContent:
        os.truncate(path, 1)
        return digest_only(stream)

    def permit(stream: BinaryIO) -> StoredContent:
        path.chmod(0o600)
        return digest_only(stream)

    def partly(stream: BinaryIO) -> StoredContent:
        return StoredContent(sha256=sha256_hex(stream.read(1)), size=1)

    for take in (append, overwrite, truncate, permit, partly):
        path.write_bytes(b"old")
        path.chmod(0o644)
        with scan_tree([tmp_path]) as tree, pytest.raises(RefusedError, match="a: it changed while it was read"):
            list(read_tree(tree, take))


def _is_gone(path: Path) -> None:
    path.unlink()


def _is_a_link(path: Path) -> None:
    path.rename(path.parent.parent / "aside")
    path.symlink_to(path.parent.parent / "aside")


def _is_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _is_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("replace", "problem"),
    [
        (_is_gone, "it vanished while it was read"),
        (_is_a_link, "it cannot be read|it changed"),
        (_is_a_pipe, "it changed while it was read"),
        (_is_a_folder, "it changed while it was read"),
    ],
)
def test_a_file_that_became_something_else_since_the_survey_is_refused(
    tmp_path: Path, replace: Callable[[Path], None], problem: str
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a").write_bytes(DATA)
    with scan_tree([tmp_path / "source"]) as tree:
        replace(tmp_path / "source/a")
        with pytest.raises(RefusedError, match=f"source/a: ({problem})"):
            list(read_tree(tree, digest_only))


def test_a_folder_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "source/d").mkdir(parents=True)
    (tmp_path / "source/d/a").write_bytes(DATA)
    with scan_tree([tmp_path / "source"]) as tree:
        (tmp_path / "source/d").rename(tmp_path / "aside")
        (tmp_path / "source/d").symlink_to("../aside")
        (tmp_path / "aside/a").unlink()
        (tmp_path / "aside/a").write_bytes(b"another")
        with pytest.raises(RefusedError, match="source/d: it changed"):
            list(read_tree(tree, digest_only))


def test_all_that_changed_is_named_at_once_and_nothing_is_taken_in(tmp_path: Path) -> None:
    with ordinary_user() as folder:
        (folder / "source/d").mkdir(parents=True)
        for name in ("grows", "goes", "locks", "stays", "d/inside"):
            (folder / "source" / name).write_bytes(DATA)
        store = FolderStore(folder / "store")
        with scan_tree([folder / "source"]) as tree, store.lock():
            (folder / "source/grows").write_bytes(b"longer content")
            (folder / "source/goes").unlink()
            (folder / "source/locks").chmod(0)
            (folder / "source/d/inside").unlink()
            with pytest.raises(RefusedError) as caught, store.stage() as staging:
                staging.add_listing(read_tree(tree, staging.add))
        assert not list((folder / "store").rglob("content/*"))
        assert not list((folder / "store").rglob("listings/*"))
    for name, problem in (
        ("grows", "it changed while it was read"),
        ("goes", "it vanished while it was read"),
        ("locks", "it cannot be read (Permission denied)"),
        ("d/inside", "it vanished while it was read"),
    ):
        assert f"{folder}/source/{name}: {problem}" in caught.value.message
    assert "stays" not in caught.value.message


@pytest.fixture
def broken_disk(tmp_path: Path) -> Iterator[tuple[SourceTree, BinaryIO]]:
    (tmp_path / "a").write_bytes(DATA)
    with scan_tree([tmp_path]) as tree, Path("/dev/null").open("rb") as nothing:
        yield tree, nothing


def test_a_disk_error_of_the_source_names_the_file(
    broken_disk: tuple[SourceTree, BinaryIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(self: SourceFile, size: int | None = -1) -> bytes:
        raise OSError(errno.EIO, "Input/output error", str(self._path))

    monkeypatch.setattr(SourceFile, "read", read)
    with pytest.raises(RefusedError, match=r"a: it cannot be read \(Input/output error\)"):
        list(read_tree(broken_disk[0], digest_only))


def test_a_disk_error_of_the_store_is_not_blamed_on_the_source(broken_disk: tuple[SourceTree, BinaryIO]) -> None:
    def take(_: BinaryIO) -> StoredContent:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        list(read_tree(broken_disk[0], take))


def test_the_listing_of_a_rich_tree_keeps_its_own_rules(source: Path) -> None:
    with Path("/dev/null").open("wb") as out:
        assert write_listing(entries(source), out).entries == len(facts(source))
