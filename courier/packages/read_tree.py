"""Reading the source of a package: the bytes of every file go into the store, and its entries into a listing."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from courier.errors import RefusedError
from courier.packages.holes import find_holes
from courier.packages.offenders import CHANGED, Offenders, reason
from courier.packages.survey import SourceEntry, SourceTree
from courier.packages.tree_root import SourceFile
from courier.site.store.content_store import StoredContent
from courier.site.store.pack_file import LARGEST
from formats.documents.listing import Entry, FileEntry, FolderEntry, HardLinkEntry, LinkEntry
from formats.holes import HoleMap, hole_map

Take = Callable[[BinaryIO], StoredContent]
"""Takes in the content of an open file, to its end."""
TakeOver = Callable[[BinaryIO, Callable[[Path], bool]], StoredContent]
"""The same, with what gives the file itself one more name (`Staging.add`)."""
TakeBytes = Callable[[bytes], StoredContent]
"""Takes in a content that is in memory."""


def read_tree(
    tree: SourceTree,
    take: Take,
    *,
    holes: bool = True,
    take_over: TakeOver | None = None,
    take_bytes: TakeBytes | None = None,
) -> Iterator[Entry]:
    """Yield the entries of a package's listing, in its order; the bytes of every file go through ``take``.

    ``holes``: whether holes are looked for. ``take_over``: the files are to be deleted afterwards, so that those which
    a store can keep themselves go through this. ``take_bytes``: the small ones of all others do. Raises `RefusedError`
    that names every file which changed, vanished or cannot be read since `scan_tree` saw it.
    """
    for entry in tree.walk():
        if entry.first:
            yield HardLinkEntry(path=entry.name, first=entry.first)
        elif stat.S_ISDIR(entry.mode):
            yield FolderEntry(path=entry.name, mtime_ns=entry.mtime_ns, mode=stat.S_IMODE(entry.mode))
        elif stat.S_ISLNK(entry.mode):
            yield LinkEntry(path=entry.name, target=entry.target, mtime_ns=entry.mtime_ns)
        else:
            try:
                found: HoleMap = ()
                if take_bytes is not None and entry.size <= LARGEST and not entry.sparse and take_over is None:
                    content = take_bytes(_small(tree, entry))
                else:
                    content, found = _read_file(tree, entry, take, holes=holes, take_over=take_over)
            except _ChangedError as error:
                raise _name_all(tree, entry, str(error) or CHANGED) from None
            yield FileEntry(
                path=entry.name,
                mtime_ns=entry.mtime_ns,
                mode=stat.S_IMODE(entry.mode),
                size=content.size,
                sha256=content.sha256,
                blocks=content.blocks,
                holes=found,
                further_names=tree.further_names(entry.name),
            )


class _ChangedError(Exception):
    """A file is not the one that the survey saw, or cannot be read; no other module sees this."""


_READABLE = 0o644
"""The permission bits that a content of the store may have."""
_NOT_READ = {errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ENXIO, errno.EIO,
             errno.ESTALE}  # fmt: skip


def _read_file(
    tree: SourceTree, entry: SourceEntry, take: Take, *, holes: bool, take_over: TakeOver | None
) -> tuple[StoredContent, HoleMap]:
    """Take in a file; raises `_ChangedError` unless it is the file that the survey saw, and stays it."""
    root, below = tree.place(entry.name)
    path = root.text(below)
    named_too = False

    def name_too(target: Path) -> bool:
        nonlocal named_too
        if not _is_as_seen(os.fstat(source.fileno()), entry):
            raise _ChangedError
        named_too = root.name_too(below, target)
        if named_too and not os.path.samestat(target.stat(), os.fstat(source.fileno())):
            raise _ChangedError
        return named_too

    try:
        with SourceFile(root.open(below), path) as source:
            if not _is_as_seen(os.fstat(source.fileno()), entry):
                raise _ChangedError
            found = _holes(source, path, entry) if holes and entry.sparse else ()
            stream = cast(BinaryIO, source)
            if take_over is not None and _is_ours_alone(os.fstat(source.fileno())):
                content = take_over(stream, name_too)
            else:
                content = take(stream)
            # One more name is a change of the file as well, of the kind that the system notes a time for.
            as_seen = named_too or _is_as_seen(os.fstat(source.fileno()), entry)
            if content.size != entry.size or not as_seen:
                raise _ChangedError
    except OSError as error:
        # An error that names no file, or another one, is one of the store.
        if error.filename in (path, below) and error.errno in _NOT_READ:
            raise _ChangedError(reason(error)) from None
        raise
    return content, found


def _small(tree: SourceTree, entry: SourceEntry) -> bytes:
    """The bytes of a small file; as `_read_file`, without all that a large one needs."""
    root, below = tree.place(entry.name)
    try:
        descriptor = root.open(below)
        try:
            if not _is_as_seen(os.fstat(descriptor), entry):
                raise _ChangedError
            # One byte more than it has: there is none.
            data = os.read(descriptor, entry.size + 1)
            while len(data) < entry.size and (more := os.read(descriptor, entry.size + 1 - len(data))):
                data += more
            if len(data) != entry.size or not _is_as_seen(os.fstat(descriptor), entry):
                raise _ChangedError
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in _NOT_READ:
            raise _ChangedError(reason(error)) from None
        raise OSError(error.errno, error.strerror, root.text(below)) from None
    return data


def _holes(source: SourceFile, path: str, entry: SourceEntry) -> HoleMap:
    try:
        return hole_map(find_holes(source.fileno(), entry.size))
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def _is_as_seen(info: os.stat_result, entry: SourceEntry) -> bool:
    seen = entry.mode, entry.size, entry.mtime_ns, entry.ctime_ns
    return (info.st_mode, info.st_size, info.st_mtime_ns, info.st_ctime_ns) == seen


def _is_ours_alone(info: os.stat_result) -> bool:
    """Whether a store may keep the file itself: this user's, of one name, which nobody else may write or run."""
    return (
        hasattr(os, "geteuid")
        and info.st_uid == os.geteuid()
        and info.st_nlink == 1
        and stat.S_IMODE(info.st_mode) | _READABLE == _READABLE
        and info.st_mode & stat.S_IWUSR != 0
    )


def delete_moved(tree: SourceTree) -> list[str]:
    """Delete what was surveyed and has been added since, folders that are empty then too; return what stays, by name.

    What changed since the survey stays, and what cannot be deleted.
    """
    left, folders = list[str](), list[str]()
    for entry in tree.walk():
        root, below = tree.place(entry.name)
        if stat.S_ISDIR(entry.mode):
            folders.append(entry.name)
            continue
        try:
            info = root.lstat(below)
            if (info.st_mode, info.st_size, info.st_mtime_ns) != (entry.mode, entry.size, entry.mtime_ns):
                left.append(entry.name)
            else:
                root.delete(below)
        except OSError:
            left.append(entry.name)
    for name in reversed(folders):
        root, below = tree.place(name)
        if not root.delete_folder(below):
            left.append(name)
    return left


def _name_all(tree: SourceTree, first: SourceEntry, problem: str) -> RefusedError:
    """The error that names every file which is not what the survey saw; ``first`` has a ``problem`` for certain."""
    offenders = Offenders()
    for entry in tree.walk():
        root, below = tree.place(entry.name)
        try:
            info = root.lstat(below)
        except OSError as error:
            offenders.add(tree.path(entry.name), reason(error))
            continue
        if stat.S_ISREG(entry.mode) and not root.can_read(below):
            offenders.add(tree.path(entry.name), "it cannot be read (Permission denied)")
        elif entry.name == first.name:
            offenders.add(tree.path(entry.name), problem)
        elif not _is_as_seen(info, entry):
            offenders.add(tree.path(entry.name), CHANGED)
    try:
        offenders.check()
    except RefusedError as error:
        return error
    raise AssertionError("the file that changed is among them")
