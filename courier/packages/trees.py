"""Trees of files at the edge of the store: reading a package's source, and writing a package out again.

Everything comes out as it went in: names, sizes, times with nanoseconds, executable bits, empty files and folders,
links. What cannot be kept (devices, sockets, links that leave the package) is refused before anything is stored.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from courier.error_codes import Code
from courier.errors import DamagedError, NotFoundError, RefusedError, UsageError
from courier.files import TEMP, flush_files, make_folder, remove_tree, sweep_beside, sync_folder
from formats.digest import CHUNK, HashingReader
from formats.documents.listing import Entry, FileEntry, FolderEntry, LinkEntry, path_key
from formats.names import check_link, check_path, windows_keeps

FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799
"""The times that documents can tell: the years 1 to 9999, in seconds since 1970."""


def source_size(paths: Sequence[Path]) -> int:
    """Bytes of all regular files under ``paths``; raises `NotFoundError`."""
    total = 0
    for _, path, info in _walk_all(paths):
        if stat.S_ISREG(info.st_mode):
            total += info.st_size
        del path
    return total


def read_tree(paths: Sequence[Path], take: Callable[[BinaryIO], tuple[str, int]]) -> Iterator[Entry]:
    """The entries of a package made of ``paths``, in listing order; every file's bytes go through ``take``.

    One folder: what is in it is the package. Otherwise each path stands in the package under its own name. Raises
    `NotFoundError`, `UsageError`, `RefusedError` (a special file; a file that changed while it was read) and
    `IllegalNameError`.
    """
    for name, path, info in _walk_all(paths):
        check_path(name)
        mtime_ns = info.st_mtime_ns
        if not FIRST_SECOND <= mtime_ns // 10**9 <= LAST_SECOND:
            raise RefusedError(
                f"{path}: its time is outside the years 1 to 9999",
                hint="set it right (touch), then add again",
                code=Code.TIME_OUT_OF_RANGE,
            )
        if stat.S_ISDIR(info.st_mode):
            yield FolderEntry(path=name, mtime_ns=mtime_ns)
        elif stat.S_ISLNK(info.st_mode):
            target = os.readlink(path).replace("\\", "/") if os.name == "nt" else os.readlink(path)
            yield LinkEntry(path=name, target=check_link(name, target), mtime_ns=mtime_ns)
        elif stat.S_ISREG(info.st_mode):
            sha256, size = _take(path, info, take)
            executable = bool(info.st_mode & stat.S_IXUSR)
            yield FileEntry(path=name, size=size, sha256=sha256, mtime_ns=mtime_ns, executable=executable)
        else:
            raise RefusedError(
                f"{path} is a device, socket or pipe",
                hint="packages hold files, folders and links; take it out of the folder",
                code=Code.SPECIAL_FILE,
            )


def _take(path: Path, info: os.stat_result, take: Callable[[BinaryIO], tuple[str, int]]) -> tuple[str, int]:
    with path.open("rb") as source:
        sha256, size = take(source)
        after = os.fstat(source.fileno())
    if (after.st_size, after.st_mtime_ns, size) != (info.st_size, info.st_mtime_ns, info.st_size):
        raise RefusedError(
            f"{path} changed while it was read", hint="wait until nothing writes to it, then add it again"
        )
    return sha256, size


def _walk_all(paths: Sequence[Path]) -> Iterator[tuple[str, Path, os.stat_result]]:
    for path in paths:
        if not os.path.lexists(path):
            raise NotFoundError(f"{path} does not exist", hint="check the path")
    if len(paths) == 1 and paths[0].is_dir():
        yield from _walk_folder(paths[0], "")
        return
    named = {os.path.basename(os.path.abspath(path)): path for path in paths}  # noqa: PTH100, PTH119 (keeps links)
    if len(named) != len(paths):
        raise UsageError("two of the paths have the same name", hint="put them in one folder and add the folder")
    for name in sorted(named, key=path_key):
        yield from _walk_one(named[name], name, named[name].lstat())


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
    """Write a package into ``target``, a folder that does not exist yet or is empty: whole, or not at all.

    Every file is checked against its digest as it is written, and all are on the disk before ``target`` gets its name.
    Raises `UsageError` when ``target`` holds something, `DamagedError` when stored content is not what its listing
    says, `RefusedError` for a name that this system cannot keep.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is not an empty folder", hint="name a folder that does not exist yet")
    make_folder(target.parent)
    sweep_beside(target)
    temporary = target.parent / f"{TEMP}{os.getpid()}-{target.name[-40:]}"
    remove_tree(temporary)
    temporary.mkdir()
    try:
        folders: list[FolderEntry] = []
        files: list[Path] = []
        for entry in entries:
            check_native(entry.path)
            path = temporary.joinpath(*entry.path.split("/"))
            match entry:
                case FolderEntry():
                    path.mkdir()
                    folders.append(entry)
                case LinkEntry():
                    check_native(entry.target)
                    path.symlink_to(entry.target)
                    if os.utime in os.supports_follow_symlinks:
                        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)
                case FileEntry():
                    _write_file(entry, path, open_content)
                    files.append(path)
        flush_files(files)
        for folder in reversed(folders):
            # After their content, which changes a folder's time.
            os.utime(temporary.joinpath(*folder.path.split("/")), ns=(folder.mtime_ns, folder.mtime_ns))
        if target.exists():
            target.rmdir()
        temporary.rename(target)
    except BaseException:
        remove_tree(temporary)
        raise
    sync_folder(target.parent)


def check_native(path: str, *, windows: bool = os.name == "nt") -> None:
    """Raise `RefusedError` for a path that this system would make another of: on Windows, even one outside the
    package."""
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
        path.chmod(path.stat().st_mode | 0o111 & ~_umask())
    os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))


def _umask() -> int:
    # Asking changes it for a moment; nothing else in this process makes files meanwhile.
    mask = os.umask(0)
    os.umask(mask)
    return mask
