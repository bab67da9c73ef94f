"""Trees: a package comes out as it went in, to the nanosecond, or is refused before anything is stored."""

from __future__ import annotations

import io
import os
import socket
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from courier.errors import CourierError, DamagedError, NotFoundError, RefusedError, UsageError
from courier.packages import trees
from courier.packages.trees import read_tree, scan_tree, write_tree
from courier.site.store.content_store import StoredContent
from courier.site.store.folder import FolderStore
from formats.digest import sha256_hex
from formats.documents.listing import EMPTY, Entry, FileEntry, FolderEntry, LinkEntry, ListingSummary
from formats.errors import FormatError, IllegalNameError

posix = pytest.mark.skipif(os.name != "posix", reason="elsewhere: POSIX only")
pytestmark = posix

NFC, NFD = unicodedata.normalize("NFC", "Übung"), unicodedata.normalize("NFD", "Übung")
TIMES = [0, -1, -(10**17) - 7, 1_795_000_000_123_456_789, 4_000_000_000_999_999_999, 999_999_999, 10**19]


def make_rich_tree(root: Path) -> Path:
    """Everything a package must keep."""
    contents: dict[str, bytes] = {
        "install.wim": os.urandom(3 << 20),
        "copy of install.wim": b"",
        ".hidden/.file": b"hidden",
        "empty.dat": b"",
        "x" * 255: b"longest name",
        "\U0001f4bf" * 63: b"emoji",
        NFC: b"composed",
        NFD: b"decomposed",
        "日本語/ファイル.txt": b"x",
        "case/a": b"lower",
        "case/A": b"upper",
        'C:\\win*?"<>|': b"no name for Windows",
        "con": b"device",
        "end. ": b"dot and space",
        "new\nline\ttab\x01\x7f": b"control",
        "-rf": b"dash",
        "a b/ c ": b"spaces",
        "deep/" + "/".join(["d" * 60] * 12) + "/leaf": b"a path of more than 700 characters",
        "run.sh": b"#!/bin/sh\n",
        "twin1": b"the same bytes",
        "twin2": b"the same bytes",
    }
    for name, data in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (root / "copy of install.wim").write_bytes((root / "install.wim").read_bytes())
    (root / "empty folder/empty too").mkdir(parents=True)
    (root / "run.sh").chmod(0o755)
    (root / "link").symlink_to("install.wim")
    (root / "case/up").symlink_to("../.hidden/.file")
    (root / "dangling").symlink_to("not there/at all")
    (root / "folder link").symlink_to("case")
    (root / "odd link").symlink_to("./case//a")
    every = sorted(root.rglob("*"), key=lambda path: -len(path.parts))
    for n, path in enumerate(every):
        ns = TIMES[n % len(TIMES)] + n
        os.utime(path, ns=(ns, ns), follow_symlinks=False)
    return root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return make_rich_tree(tmp_path / "source")


def digest_only(stream: BinaryIO) -> StoredContent:
    data = stream.read()
    return StoredContent(sha256=sha256_hex(data), size=len(data))


def entries(*paths: Path) -> list[Entry]:
    with scan_tree(paths) as tree:
        return list(read_tree(tree, digest_only))


def scanned_bytes(*paths: Path) -> int:
    with scan_tree(paths) as tree:
        return tree.bytes


def stage(store: FolderStore, source: Path) -> ListingSummary:
    with scan_tree([source]) as tree, store.lock(), store.stage() as staging:
        summary = staging.add_listing(read_tree(tree, staging.add))
        staging.commit()
    return summary


def facts(root: Path) -> dict[str, tuple[object, ...]]:
    """All that must be the same, asked of the disk without our code."""
    result: dict[str, tuple[object, ...]] = {}
    for path in root.rglob("*"):
        info = path.lstat()
        what: object = path.read_bytes() if stat.S_ISREG(info.st_mode) else None
        what = os.readlink(path) if path.is_symlink() else what  # noqa: PTH115 (as it is, not normalised)
        executable = stat.S_ISREG(info.st_mode) and bool(info.st_mode & 0o100)
        result[str(path.relative_to(root))] = (stat.S_IFMT(info.st_mode), what, info.st_mtime_ns, executable)
    return result


def test_a_rich_tree_comes_out_as_it_went_in(tmp_path: Path, source: Path) -> None:
    store = FolderStore(tmp_path / "store")
    before = facts(source)
    summary = stage(store, source)
    write_tree(store.entries(summary), tmp_path / "out", store.open_content)
    after = facts(tmp_path / "out")
    assert after.keys() == before.keys()
    for name, fact in before.items():
        assert after[name] == fact, name
    assert entries(tmp_path / "out") == entries(source)
    assert (
        summary.bytes
        == scanned_bytes(source)
        == sum(p.lstat().st_size for p in source.rglob("*") if p.is_file() and not p.is_symlink())
    )
    assert facts(source) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source", "store"]


def test_the_same_content_is_kept_once_and_empty_files_not_at_all(tmp_path: Path, source: Path) -> None:
    store = FolderStore(tmp_path / "store")
    summary = stage(store, source)
    kept = list(store.contents())
    wanted = {e.sha256 for e in store.entries(summary) if isinstance(e, FileEntry) and e.size}
    assert [content.sha256 for content in kept] == sorted(wanted)
    for content in kept:
        with store.open_content(content.sha256) as stream:
            assert sha256_hex(stream.read()) == content.sha256
    assert EMPTY not in wanted
    assert summary.files > len(wanted) + 2


def test_one_folder_is_its_content_and_several_paths_stand_under_their_names(tmp_path: Path, source: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/x").write_bytes(b"1")
    (tmp_path / "a.wim").write_bytes(b"22")
    (tmp_path / "l").symlink_to("b")
    assert [e.path for e in entries(tmp_path / "b")] == ["x"]
    assert [e.path for e in entries(tmp_path / "a.wim")] == ["a.wim"]
    several = entries(tmp_path / "l", tmp_path / "b", tmp_path / "a.wim")
    assert [(e.path, type(e)) for e in several] == [
        ("a.wim", FileEntry),
        ("b", FolderEntry),
        ("b/x", FileEntry),
        ("l", LinkEntry),
    ]
    assert scanned_bytes(tmp_path / "b", tmp_path / "a.wim") == 3


def test_paths_that_are_not_there_or_have_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").touch()
    with pytest.raises(NotFoundError):
        entries(tmp_path / "nothing")
    with pytest.raises(NotFoundError):
        scan_tree([tmp_path / "a", tmp_path / "nothing"])
    with pytest.raises(UsageError):
        entries(tmp_path / "a/x", tmp_path / "b/x")


def test_special_files_are_refused(tmp_path: Path) -> None:
    def fifo(path: Path) -> None:
        os.mkfifo(path)

    def unix(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))

    for n, make in enumerate((fifo, unix)):
        folder = tmp_path / str(n)
        folder.mkdir()
        make(folder / "s")
        with pytest.raises(RefusedError) as caught:
            entries(folder)
        assert caught.value.code == "special-file"
        with pytest.raises(RefusedError):
            entries(folder / "s")
    if Path("/dev/null").is_char_device():
        with pytest.raises(RefusedError):
            entries(Path("/dev/null"))


@pytest.mark.parametrize(
    ("links", "bad"),
    [
        ({"a": "/etc/passwd"}, "a"),
        ({"a": "../x"}, "a"),
        ({"d/a": "../../x"}, "d/a"),
        ({"d/e/up": "../..", "out": "d/e/up/.."}, "out"),
    ],
)
def test_links_that_climb_are_refused(tmp_path: Path, links: dict[str, str], bad: str) -> None:
    for path, target in links.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).symlink_to(target)
    with pytest.raises(IllegalNameError) as caught:
        entries(tmp_path)
    assert caught.value.place == bad


def test_a_time_that_no_document_can_tell_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(DATA)
    monkeypatch.setattr("courier.packages.trees.LAST_SECOND", 0)
    with pytest.raises(RefusedError, match="a: its time is outside"):
        entries(tmp_path / "a")


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).touch()
    with pytest.raises(IllegalNameError):
        entries(tmp_path)


def test_a_link_to_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(os.fsdecode(b"caf\xe9"))
    with pytest.raises(IllegalNameError):
        entries(tmp_path)


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

    def partly(stream: BinaryIO) -> StoredContent:
        return digest_only(io.BytesIO(stream.read(1)))

    for take in (append, overwrite, truncate, partly):
        path.write_bytes(b"old")
        with scan_tree([tmp_path]) as tree, pytest.raises(RefusedError, match="changed while it was read"):
            list(read_tree(tree, take))


def test_a_file_that_became_something_else_since_the_survey_is_refused(tmp_path: Path) -> None:
    def is_gone(path: Path) -> None:
        path.unlink()

    def is_a_link(path: Path) -> None:
        path.rename(tmp_path / "aside")
        path.symlink_to(tmp_path / "aside")

    def is_a_pipe(path: Path) -> None:
        path.unlink()
        os.mkfifo(path)

    for n, replace in enumerate((is_gone, is_a_link, is_a_pipe)):
        folder = tmp_path / str(n)
        folder.mkdir()
        (folder / "a").write_bytes(DATA)
        with scan_tree([folder]) as tree:
            replace(folder / "a")
            with pytest.raises(RefusedError, match="a changed while it was read"):
                list(read_tree(tree, digest_only))


def test_a_survey_reads_no_content_and_holds_little_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "_IN_MEMORY", 1000)
    for n in range(40):
        (tmp_path / f"{n:02}").write_bytes(DATA)
        (tmp_path / f"{n:02}").chmod(0)
    with scan_tree([tmp_path]) as tree:
        assert (tree.entries, tree.bytes) == (40, 40 * len(DATA))
        assert [entry.name for _, entry in tree.walk()] == [f"{n:02}" for n in range(40)]
        assert tree._lines._rolled  # type: ignore[attr-defined]  # what is over the limit is on the disk


# --- writing out ----------------------------------------------------------------------------------------------------

DATA = b"content"


def opened(_: str) -> BinaryIO:
    return io.BytesIO(DATA)


def file_entry(path: str, data: bytes = DATA) -> FileEntry:
    return FileEntry(path=path, size=len(data), sha256=sha256_hex(data), mtime_ns=0, executable=False)


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
    for wrong in (b"CONTENT", b"conten", b"content+", b""):
        with pytest.raises(DamagedError):
            write_tree([file_entry("good"), file_entry("a", wrong or b"x")], tmp_path / "out", opened)
        assert list(tmp_path.iterdir()) == []


def test_an_error_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[Entry]:
        yield FolderEntry(path="d", mtime_ns=0)
        yield file_entry("d/a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tree(broken(), tmp_path / "out", opened)
    assert list(tmp_path.iterdir()) == []


def test_everything_is_flushed_before_the_folder_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []

    def flush_files(paths: list[Path]) -> None:
        assert not (tmp_path / "out").exists()
        flushed.extend(path.name for path in paths)

    monkeypatch.setattr(trees, "flush_files", flush_files)
    write_tree([FolderEntry(path="d", mtime_ns=0), file_entry("d/a"), file_entry("b")], tmp_path / "out", opened)
    assert sorted(flushed) == ["a", "b"]


def test_a_listing_cannot_write_through_a_link(tmp_path: Path) -> None:
    """Such a listing is refused when it is parsed; were it not, nothing would be written outside all the same."""
    (tmp_path / "outside").mkdir()
    link = LinkEntry(path="d", target="../outside", mtime_ns=0)
    with pytest.raises((OSError, CourierError, FormatError)):
        write_tree([link, FolderEntry(path="d", mtime_ns=0), file_entry("d/a")], tmp_path / "out", opened)
    assert list((tmp_path / "outside").iterdir()) == []


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
    trees.check_native(path, windows=False)
    with pytest.raises(RefusedError):
        trees.check_native(path, windows=True)
    for kept in ("a/b", "../a", ".", "", "./..a", "Übung/\U0001f4bf"):
        trees.check_native(kept, windows=True)


def test_umask_is_kept_for_executables(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        entry = FileEntry(path="x", size=len(DATA), sha256=sha256_hex(DATA), mtime_ns=0, executable=True)
        write_tree([entry], tmp_path / "out", opened)
        assert stat.S_IMODE((tmp_path / "out/x").stat().st_mode) == 0o750
    finally:
        os.umask(before)
