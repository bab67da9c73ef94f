"""Trees of files: reading the source of a package, and writing a package out as files.

Everything comes out as it went in: names, sizes, times to the nanosecond, executable bits, empty files and folders,
links. What cannot be kept (devices, sockets, links that leave the package) is refused before any content is read.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, BinaryIO

from courier.error_codes import Code
from courier.errors import DamagedError, NotFoundError, RefusedError, UsageError
from courier.files import TEMP, flush_files, make_folder, remove_tree, sweep_beside, sync_folder
from courier.site.store.content_store import StoredContent
from formats.digest import CHUNK, HashingReader
from formats.documents.listing import Entry, FileEntry, FolderEntry, LinkEntry, path_key
from formats.names import check_link, check_path, windows_keeps

FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799
"""The first and last time a document can hold, years 1 to 9999, in seconds since 1970."""

_IN_MEMORY = 8 << 20
"""Bytes of a survey that are kept in memory; a longer one, of some 50,000 files, goes to a temporary file."""

NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Flags to open a file with that is not to be a link or pipe by now; a pipe would keep us waiting."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceEntry:
    """A file, folder or link of a package's source as the survey found it: path in the package and ``lstat``.

    ``target`` is where a link leads, empty for anything else.
    """

    name: str
    mode: int
    size: int
    mtime_ns: int
    target: str = ""


class SourceTree(AbstractContextManager["SourceTree"]):
    """The source of a package as one walk over it found it. A context manager; closing drops it.

    ``entries`` counts files, folders and links, ``bytes`` the content of the files. Memory stays bounded however many
    entries there are.
    """

    def __init__(self, roots: dict[str, Path]) -> None:
        self.entries = 0
        self.bytes = 0
        self._roots = roots
        self._lines: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (closed by `close`)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop what was found."""
        self._lines.close()

    def add(self, entry: SourceEntry) -> None:
        """Note one more entry, in the order of the listing."""
        self.entries += 1
        if stat.S_ISREG(entry.mode):
            self.bytes += entry.size
        self._lines.write(json.dumps(asdict(entry)).encode() + b"\n")

    def walk(self) -> Iterator[tuple[Path, SourceEntry]]:
        """Each entry and where it is on the disk, in the order they were noted."""
        self._lines.seek(0)
        for line in self._lines:
            entry = SourceEntry(**json.loads(line))
            yield self._path(entry.name), entry

    def _path(self, name: str) -> Path:
        if "" in self._roots:
            return self._roots[""] / name
        first, _, rest = name.partition("/")
        return self._roots[first] / rest


def scan_tree(paths: Sequence[Path]) -> SourceTree:
    """Walk over the source of a package and judge what is there; no content is read. Close the result.

    The content of a single folder is the package. Otherwise each path stands in the package under its own name. Raises
    `NotFoundError`, `UsageError` (two paths of one name), `RefusedError` (a special file, a time out of range) and
    `IllegalNameError` (a name, or the target of a link).
    """
    roots = _roots(paths)
    tree = SourceTree(roots)
    try:
        for name, path, info in _walk_roots(roots):
            tree.add(_judged(name, path, info))
    except BaseException:
        tree.close()
        raise
    return tree


def _judged(name: str, path: Path, info: os.stat_result) -> SourceEntry:
    """Return the entry of a path; raises as `scan_tree` does."""
    check_path(name)
    if not FIRST_SECOND <= info.st_mtime_ns // 10**9 <= LAST_SECOND:
        raise RefusedError(
            f"{path}: its time is outside the years 1 to 9999",
            hint="set it right (touch), then add again",
            code=Code.TIME_OUT_OF_RANGE,
        )
    target = ""
    if stat.S_ISLNK(info.st_mode):
        target = os.readlink(path).replace("\\", "/") if os.name == "nt" else os.readlink(path)
        target = check_link(name, target)
    elif not stat.S_ISDIR(info.st_mode) and not stat.S_ISREG(info.st_mode):
        raise RefusedError(
            f"{path} is a device, socket or pipe",
            hint="packages hold files, folders and links; take it out of the folder",
            code=Code.SPECIAL_FILE,
        )
    return SourceEntry(name=name, mode=info.st_mode, size=info.st_size, mtime_ns=info.st_mtime_ns, target=target)


def read_tree(tree: SourceTree, take: Callable[[BinaryIO], StoredContent]) -> Iterator[Entry]:
    """Yield the entries of a package's listing, in its order; the bytes of every file go through ``take``.

    ``take`` returns what the content is that it read. Raises `RefusedError` for a file that changed since
    `scan_tree` saw it.
    """
    for path, entry in tree.walk():
        if stat.S_ISDIR(entry.mode):
            yield FolderEntry(path=entry.name, mtime_ns=entry.mtime_ns)
        elif stat.S_ISLNK(entry.mode):
            yield LinkEntry(path=entry.name, target=entry.target, mtime_ns=entry.mtime_ns)
        else:
            yield FileEntry(
                path=entry.name,
                size=entry.size,
                sha256=_read_file(path, entry, take),
                mtime_ns=entry.mtime_ns,
                executable=bool(entry.mode & stat.S_IXUSR),
            )


def _read_file(path: Path, entry: SourceEntry, take: Callable[[BinaryIO], StoredContent]) -> str:
    """Return the SHA-256 of a file; raises `RefusedError` unless it is the file that the survey saw."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | NO_LINK)) as source:
            if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                raise _changed(path)
            content = take(source)
            after = os.fstat(source.fileno())
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP) and error.filename == str(path):
            raise _changed(path) from None
        raise
    if (after.st_size, after.st_mtime_ns, content.size) != (entry.size, entry.mtime_ns, entry.size):
        raise _changed(path)
    return content.sha256


def _changed(path: Path) -> RefusedError:
    return RefusedError(f"{path} changed while it was read", hint="wait until nothing writes to it, then add it again")


def _roots(paths: Sequence[Path]) -> dict[str, Path]:
    """Return where the package's first path components are on the disk; "" stands for all of a single folder."""
    for path in paths:
        if not os.path.lexists(path):
            raise NotFoundError(f"{path} does not exist", hint="check the path")
    if len(paths) == 1 and paths[0].is_dir():
        return {"": paths[0]}
    named = {os.path.basename(os.path.abspath(path)): path for path in paths}  # noqa: PTH100, PTH119 (keeps links)
    if len(named) != len(paths):
        raise UsageError("two of the paths have the same name", hint="put them in one folder and add the folder")
    return named


def _walk_roots(roots: dict[str, Path]) -> Iterator[tuple[str, Path, os.stat_result]]:
    """Yield (path in the package, path on the disk, ``lstat``) of everything, in the order of the listing."""
    if "" in roots:
        yield from _walk_folder(roots[""], "")
        return
    for name in sorted(roots, key=path_key):
        yield from _walk_one(roots[name], name, roots[name].lstat())


def _walk_folder(folder: Path, prefix: str) -> Iterator[tuple[str, Path, os.stat_result]]:
    with os.scandir(folder) as listing:
        items = sorted(listing, key=lambda item: item.name.encode("utf-8", "surrogatepass"))
    for item in items:
        yield from _walk_one(Path(item.path), f"{prefix}{item.name}", item.stat(follow_symlinks=False))


def _walk_one(path: Path, name: str, info: os.stat_result) -> Iterator[tuple[str, Path, os.stat_result]]:
    yield name, path, info
    if stat.S_ISDIR(info.st_mode):
        yield from _walk_folder(path, f"{name}/")


def write_tree(entries: Iterable[Entry], target: Path, open_content: Callable[[str], BinaryIO]) -> None:
    """Write a package into ``target``, a folder that does not exist yet or is empty, whole or not at all.

    ``open_content`` opens content by its SHA-256. Every file is checked against its digest as it is written, and all
    are flushed to the disk before ``target`` gets its name. Raises `UsageError` when ``target`` holds something,
    `DamagedError` when stored content differs from its digest, `RefusedError` for a name this system cannot keep.
    """
    with new_folder(target) as temporary:
        _write_entries(entries, temporary, open_content)


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Fill ``target``, a folder that does not exist yet or is empty, whole or not at all.

    Yields the folder to write to, which stands beside ``target`` and gets its name when the block ends without an
    error. Raises `UsageError` when ``target`` holds something.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is not an empty folder", hint="name a folder that does not exist yet")
    make_folder(target.parent)
    sweep_beside(target)
    temporary = target.parent / f"{TEMP}{os.getpid()}-{target.name[-40:]}"
    remove_tree(temporary)
    temporary.mkdir()
    try:
        yield temporary
        if target.exists():
            target.rmdir()
        temporary.rename(target)
    except BaseException:
        remove_tree(temporary)
        raise
    sync_folder(target.parent)


def _write_entries(entries: Iterable[Entry], root: Path, open_content: Callable[[str], BinaryIO]) -> None:
    folders: list[tuple[Path, int]] = []
    files: list[Path] = []
    for entry in entries:
        check_native(entry.path)
        path = root.joinpath(*entry.path.split("/"))
        match entry:
            case FolderEntry():
                path.mkdir()
                folders.append((path, entry.mtime_ns))
            case LinkEntry():
                check_native(entry.target)
                path.symlink_to(entry.target)
                if os.utime in os.supports_follow_symlinks:
                    os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)
            case FileEntry():
                _write_file(entry, path, open_content)
                files.append(path)
    flush_files(files)
    # Last, because writing into a folder changes its time.
    for path, mtime_ns in reversed(folders):
        os.utime(path, ns=(mtime_ns, mtime_ns))


def check_native(path: str, *, windows: bool = os.name == "nt") -> None:
    """Raise `RefusedError` for a path that Windows would change, possibly into one outside the package.

    Other systems keep every path of a listing.
    """
    steps = "/".join(step for step in path.split("/") if step not in ("", ".", ".."))
    if windows and not windows_keeps(steps):
        raise RefusedError(
            f"{path!a}: Windows cannot keep this name",
            hint="export the package on a Linux machine",
            code=Code.NAME_NOT_KEPT,
        )


def _write_file(entry: FileEntry, path: Path, open_content: Callable[[str], BinaryIO]) -> None:
    with path.open("xb") as out:
        if entry.size:
            with open_content(entry.sha256) as raw:
                source = HashingReader(raw)
                shutil.copyfileobj(source, out, CHUNK)
            if source.count != entry.size or source.hexdigest() != entry.sha256:
                raise DamagedError(
                    f"package store: {entry.path}: content differs from its SHA-256",
                    hint="remove the package and add or receive it again",
                )
    if entry.executable and os.name == "posix":
        path.chmod(path.stat().st_mode | 0o111 & ~umask())
    os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))


def umask() -> int:
    """The permission bits that new files of this process do not get."""
    # It can only be read by setting it; nothing else in this process makes files at that moment.
    mask = os.umask(0)
    os.umask(mask)
    return mask
