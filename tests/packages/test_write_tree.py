"""Writing a package out: as its listing says, whole or not at all, and never more than the source granted."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from source_trees import (
    groups_of_names,
    make_deep,
    no_hard_links,
    ordinary_user,
    posix,
    read_deep,
    room_of,
    sparse_file,
)

from courier.errors import CourierError, DamagedError, RefusedError, UsageError
from courier.packages import write_tree as module
from courier.packages.read_tree import read_tree
from courier.packages.survey import scan_tree
from courier.packages.write_tree import Written, check_native, write_tree
from courier.site.store.folder import FolderStore
from formats.blocks import BLOCK
from formats.digest import sha256_hex
from formats.documents.listing import Entry, FileEntry, FolderEntry, HardLinkEntry, LinkEntry
from formats.errors import FormatError
from formats.names import MAX_DEPTH

pytestmark = posix
DATA = b"content"
MIB = 1 << 20


def opened(_: str) -> BinaryIO:
    return io.BytesIO(DATA)


def file_entry(
    path: str, data: bytes = DATA, mode: int = 0o644, holes: tuple[int, ...] = (), further_names: int = 0
) -> FileEntry:
    return FileEntry(
        path=path,
        size=len(data),
        sha256=sha256_hex(data),
        mtime_ns=7,
        mode=mode,
        blocks="0" * 64 if len(data) > BLOCK else "",
        holes=holes,
        further_names=further_names,
    )


def folder(path: str, mode: int = 0o755) -> FolderEntry:
    return FolderEntry(path=path, mtime_ns=9, mode=mode)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- whole or not at all --------------------------------------------------------------------------------------------


def test_a_folder_with_something_in_it_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_tree([file_entry("a")], tmp_path / "out", opened)
    assert (tmp_path / "out/a").read_bytes() == DATA
    for target in (tmp_path / "out", tmp_path / "out/a"):
        with pytest.raises(UsageError):
            write_tree([file_entry("b")], target, opened)
    write_tree([], tmp_path / "new/below", opened)
    assert list((tmp_path / "new/below").iterdir()) == []


def test_content_that_is_not_what_its_listing_says_is_never_written_out(tmp_path: Path) -> None:
    for wrong in (b"CONTENT", b"conten", b"content+", b"x"):
        with pytest.raises(DamagedError):
            write_tree([file_entry("good"), file_entry("a", wrong)], tmp_path / "out", opened)
        assert list(tmp_path.iterdir()) == []


def test_an_error_on_the_way_leaves_nothing_however_deep_or_closed(tmp_path: Path) -> None:
    def broken() -> Iterator[Entry]:
        for depth in range(1, MAX_DEPTH):
            yield folder("/".join(["d" * 6] * depth), mode=0)
        yield file_entry("e", mode=0)
        raise KeyboardInterrupt

    with ordinary_user() as home:
        with pytest.raises(KeyboardInterrupt):
            write_tree(broken(), home / "out", opened)
        assert list(home.iterdir()) == []


def test_everything_is_flushed_before_the_folder_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []

    def fsync(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            flushed.append(f"file before {sorted(path.name for path in tmp_path.glob('o*'))}")

    def sync() -> None:
        flushed.append(f"all before {sorted(path.name for path in tmp_path.glob('o*'))}")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "sync", sync)
    write_tree([folder("d"), file_entry("d/a"), file_entry("b")], tmp_path / "one", opened)
    assert flushed == ["file before []"] * 2
    flushed.clear()
    many = [file_entry(f"{n:03d}") for n in range(module._FLUSHED_ALONE + 5)]
    write_tree(many, tmp_path / "other", opened)
    assert flushed == [*["file before ['one']"] * module._FLUSHED_ALONE, "all before ['one']"]


def test_what_is_closed_already_is_cleared_away_too(tmp_path: Path) -> None:
    """The folder gets its permissions before its name; another program may put something there meanwhile."""
    with ordinary_user() as home:

        def disturbed() -> Iterator[Entry]:
            yield folder("d", mode=0o555)
            yield folder("d/e", mode=0)
            yield file_entry("d/e/a", mode=0)
            yield file_entry("d/f", mode=0)
            (home / "out").mkdir()
            (home / "out/other").touch()

        with pytest.raises(OSError, match="not empty"):
            write_tree(disturbed(), home / "out", opened)
        assert [path.name for path in home.iterdir()] == ["out"]


def test_a_listing_cannot_write_through_a_link(tmp_path: Path) -> None:
    """Such a listing is refused when it is parsed; were it not, nothing would be written outside all the same."""
    (tmp_path / "outside").mkdir()
    link = LinkEntry(path="d", target="../outside", mtime_ns=0)
    with pytest.raises((OSError, CourierError, FormatError)):
        write_tree([link, folder("d"), file_entry("d/a")], tmp_path / "out", opened)
    assert list((tmp_path / "outside").iterdir()) == []


def test_links_that_lead_out_are_made_and_counted_and_what_they_lead_to_stays(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    os.utime(tmp_path / "precious", ns=(3, 3))
    before = (tmp_path / "precious").stat()
    entries = [
        LinkEntry(path="absolute", target=str(tmp_path / "precious"), mtime_ns=11),
        LinkEntry(path="climbing", target="../precious", mtime_ns=11),
        LinkEntry(path="inside", target="nothing/there", mtime_ns=11),
    ]
    assert write_tree(entries, tmp_path / "out", opened) == Written(links_outside=2)
    assert [os.readlink(tmp_path / "out" / e.path) for e in entries] == [e.target for e in entries]  # noqa: PTH115
    assert {(tmp_path / "out" / e.path).lstat().st_mtime_ns for e in entries} == {11}
    after = (tmp_path / "precious").stat()
    assert (after.st_mtime_ns, after.st_mode, after.st_ctime_ns) == (3, before.st_mode, before.st_ctime_ns)


# --- permissions ----------------------------------------------------------------------------------------------------

MODES = [0o600, 0o000, 0o777, 0o421, 0o1644, 0o644]


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_permissions_are_those_of_the_source_whatever_the_umask_is(tmp_path: Path, mask: int) -> None:
    with ordinary_user() as home:
        (home / "place").mkdir()
        before = os.umask(mask)
        try:
            entries = [*(folder(f"d{mode:o}", mode) for mode in sorted(MODES)), folder("t", 0o1777)]
            files = [file_entry(f"f{mode:o}", mode=mode) for mode in MODES]
            write_tree(sorted([*entries, *files], key=lambda e: e.path), home / "place/out", opened)
        finally:
            os.umask(before)
        (home / "place/out").chmod(0o755)
        for mode in MODES:
            assert mode_of(home / f"place/out/f{mode:o}") == mode
            assert mode_of(home / f"place/out/d{mode:o}") == mode
        assert mode_of(home / "place/out/t") == 0o1777


def test_set_id_bits_are_dropped_and_told_unless_they_are_to_be_kept(tmp_path: Path) -> None:
    entries: list[Entry] = [file_entry("both", mode=0o6755), folder("d", 0o2775), file_entry("user", mode=0o4711)]
    assert write_tree(entries, tmp_path / "out", opened) == Written(set_id_dropped=3)
    assert [mode_of(tmp_path / "out" / entry.path) for entry in entries] == [0o755, 0o775, 0o711]
    assert write_tree(entries, tmp_path / "kept", opened, keep_set_id=True) == Written()
    assert [mode_of(tmp_path / "kept" / entry.path) for entry in entries] == [0o6755, 0o2775, 0o4711]


def test_a_file_is_its_owners_alone_while_it_is_written(tmp_path: Path) -> None:
    seen: list[int] = []

    def watched(_: str) -> BinaryIO:
        (path,) = tmp_path.glob(".courier-tmp-*/d/a")
        seen.extend((mode_of(path), mode_of(path.parent)))
        return io.BytesIO(DATA)

    before = os.umask(0)
    try:
        write_tree([folder("d", 0o777), file_entry("d/a", mode=0o666)], tmp_path / "out", watched)
    finally:
        os.umask(before)
    assert seen == [0o600, 0o700]


# --- hard links -----------------------------------------------------------------------------------------------------


def linked() -> list[Entry]:
    return [
        folder("a"),
        file_entry("a/empty", b"", 0o600, further_names=1),
        file_entry("a/file", mode=0o640, further_names=2),
        folder("b"),
        HardLinkEntry(path="b/file", first="a/file"),
        HardLinkEntry(path="empty", first="a/empty"),
        HardLinkEntry(path="file", first="a/file"),
    ]


def test_names_of_one_file_come_out_as_names_of_one_file(tmp_path: Path) -> None:
    write_tree(linked(), tmp_path / "out", opened)
    assert groups_of_names(tmp_path / "out") == {
        frozenset({"a/file", "b/file", "file"}),
        frozenset({"a/empty", "empty"}),
    }


def test_a_file_system_without_hard_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", no_hard_links)
    monkeypatch.setattr("courier.packages.tree_root._RELATIVE", True)
    write_tree(linked(), tmp_path / "out", opened)
    assert groups_of_names(tmp_path / "out") == set()
    for name, data, mode in (("b/file", DATA, 0o640), ("file", DATA, 0o640), ("empty", b"", 0o600)):
        info = (tmp_path / "out" / name).stat()
        assert ((tmp_path / "out" / name).read_bytes(), stat.S_IMODE(info.st_mode), info.st_mtime_ns) == (data, mode, 7)


# --- holes ----------------------------------------------------------------------------------------------------------


def test_holes_stay_holes(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    sparse_file(tmp_path / "source/disk", 256 << 20)
    store = FolderStore(tmp_path / "store")
    with scan_tree([tmp_path / "source"]) as tree, store.lock(), store.stage() as staging:
        summary = staging.add_listing(read_tree(tree, staging.add))
        staging.commit()
    write_tree(store.entries(summary), tmp_path / "out", store.open_content)
    assert (tmp_path / "out/disk").stat().st_size == 256 << 20
    assert room_of(tmp_path / "out") < 1 << 20
    assert (tmp_path / "out/disk").read_bytes() == (tmp_path / "source/disk").read_bytes()


@pytest.mark.parametrize(
    "holes",
    [
        (0, 1 << 20, 4096, 8192),
        (0, 3 << 20),
        (4096, 4096, 4096, 4096),
        ((1 << 20) - 4096, 8192),
        (8192, (3 << 20) - 8192),
    ],
)
def test_a_hole_map_that_lies_still_gives_the_right_bytes(tmp_path: Path, holes: tuple[int, ...]) -> None:
    data = bytearray(os.urandom(3 << 20))
    data[10_000:20_000] = bytes(10_000)
    data[(1 << 20) - 100 : (1 << 20) + 100] = bytes(200)
    entry = file_entry("a", bytes(data), holes=holes)
    write_tree([entry], tmp_path / "out", lambda _: io.BytesIO(bytes(data)))
    assert (tmp_path / "out/a").read_bytes() == data


# --- deep and long --------------------------------------------------------------------------------------------------


def test_a_path_of_4000_bytes_is_written_however_deep_the_target_is(tmp_path: Path) -> None:
    names = ["n" * 199] * 20
    assert len("/".join(names)) == 3999
    make_deep(tmp_path / "source", names, DATA)
    target = tmp_path / "/".join(["t" * 200] * 15)
    store = FolderStore(tmp_path / "store")
    with scan_tree([tmp_path / "source"]) as tree, store.lock(), store.stage() as staging:
        summary = staging.add_listing(read_tree(tree, staging.add))
        staging.commit()
    write_tree(store.entries(summary), target, store.open_content)
    assert read_deep(target, names) == DATA


# --- Windows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "..\\..\\evil",
        "C:\\evil",
        "C:evil",
        "a/..\\..",
        "\\\\host\\share",
        "a:stream",
        "a\\",
        "..\\",
        "nul",
        "d/con.txt",
        "a.",
        "a ",
        "a?",
    ],
)
def test_what_windows_reads_as_a_way_out_is_refused_there(path: str) -> None:
    check_native(path, windows=False)
    with pytest.raises(RefusedError):
        check_native(path, windows=True)
    for kept in ("a/b", "../a", ".", "", "./..a", "Übung/\U0001f4bf"):
        check_native(kept, windows=True)


def test_a_link_and_a_place_where_a_disk_is_mounted_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    for name, target in (("link", "empty"), ("dangling", "nothing")):
        (tmp_path / name).symlink_to(target)
        with pytest.raises(UsageError, match="is a link"):
            write_tree([file_entry("a")], tmp_path / name, opened)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path / "empty")
    with pytest.raises(UsageError, match="a disk is mounted at"):
        write_tree([file_entry("a")], tmp_path / "empty", opened)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "empty", "link"]
