"""Writing a package out as files: everything as its listing says, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.error_codes import Code
from courier.errors import DamagedError, RefusedError, UsageError
from courier.files import TEMP, make_folder, remove_tree, sweep_beside, sync_file, sync_folder
from courier.niceties import share_blocks
from courier.packages.tree_root import TreeRoot
from courier.uncached import PIECE, Pieces, PieceWriter, set_direct
from formats.digest import CHUNK, SideHash
from formats.documents.listing import Entry, FileEntry, FolderEntry, HardLinkEntry, LinkEntry
from formats.holes import hole_runs
from formats.names import leads_outside, windows_keeps
from formats.records import changed

_SET_ID = stat.S_ISUID | stat.S_ISGID
_ZEROS = bytes(CHUNK)
_FLUSHED_ALONE = 64
"""Files that are flushed each by itself; of more, one call flushes all, as each would wait for the disk."""
NO_HARD_LINKS = {errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""What a file system without hard links says, or one where a file has as many names as it can have."""


@dataclass(kw_only=True, slots=True)
class Written:
    """What an operator may want to know of an export: how many symbolic links lead out of the package, and how many
    files have set-user-ID or set-group-ID bits that were left out."""

    links_outside: int = 0
    set_id_dropped: int = 0


def write_tree(
    entries: Iterable[Entry],
    target: Path,
    open_content: Callable[[str], BinaryIO],
    *,
    keep_set_id: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Written:
    """Write a package into ``target``, a folder that does not exist yet or is empty, whole or not at all.

    ``open_content`` opens content by its SHA-256. Every file is checked against its digest as it is written, and all
    are flushed to the disk before ``target`` gets its name. Set-user-ID and set-group-ID bits are left out unless
    ``keep_set_id``: files belong to whoever writes them, and with these bits would run as them. ``progress`` is told
    the bytes of content as they are written. Raises `UsageError` when ``target`` holds something, `DamagedError` when
    stored content differs from its digest, `RefusedError` for a name this system cannot keep.
    """
    with new_folder(target) as temporary, TreeRoot(temporary) as root:
        writer = _Writer(root, open_content, keep_set_id=keep_set_id, progress=progress)
        for entry in entries:
            writer.take(entry)
        writer.finish()
    return writer.written


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Fill ``target``, a folder that does not exist yet or is empty, whole or not at all.

    Yields the folder to write to, which stands beside ``target`` and gets its name when the block ends without an
    error. Raises `UsageError` when ``target`` holds something, is a link, or is where a disk is mounted: neither can
    give its place to another folder, and on another disk than its own the content would not stand beside it.
    """
    if target.is_symlink():
        raise UsageError(f"{target} is a link", hint="name a folder that does not exist yet, or the one it leads to")
    if target.is_mount():
        raise UsageError(f"a disk is mounted at {target}", hint=f"name a new folder on it: {target / 'NAME'}")
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


class _Writer:
    """Makes entries in a folder that nobody else writes to."""

    def __init__(
        self,
        root: TreeRoot,
        open_content: Callable[[str], BinaryIO],
        *,
        keep_set_id: bool,
        progress: Callable[[int], None],
    ) -> None:
        self.written = Written()
        self._progress = progress
        self._root = root
        self._open_content = open_content
        self._keep_set_id = keep_set_id
        self._folders: list[FolderEntry] = []
        self._links: list[LinkEntry] = []
        self._several_names: dict[str, FileEntry] = {}
        self._files = 0
        self._pieces = Pieces()

    def take(self, entry: Entry) -> None:
        """Make one entry. Symbolic links wait for the end, so that nothing is ever written through one."""
        check_native(entry.path)
        match entry:
            case FolderEntry():
                self._root.mkdir(entry.path)
                self._folders.append(entry)
            case LinkEntry():
                check_native(entry.target)
                self._links.append(entry)
            case HardLinkEntry():
                self._link(entry)
            case FileEntry():
                self._write_file(entry)
                if entry.further_names:
                    self._several_names[entry.path] = entry

    def finish(self) -> None:
        """Make the symbolic links, flush everything, and give the folders their times and permissions.

        Folders come last, the deepest first: writing into one changes its time and may need its permissions.
        """
        for link in self._links:
            self._root.symlink(link.target, link.path)
            self._root.utime(link.path, link.mtime_ns)
            self.written.links_outside += leads_outside(link.path, link.target)
        if self._files > _FLUSHED_ALONE and hasattr(os, "sync"):
            os.sync()
        for folder in reversed(self._folders):
            self._root.utime(folder.path, folder.mtime_ns)
            if os.name == "posix":
                self._root.chmod(folder.path, self._mode(folder.mode))

    def _mode(self, mode: int) -> int:
        if self._keep_set_id or not mode & _SET_ID:
            return mode
        self.written.set_id_dropped += 1
        return mode & ~_SET_ID

    def _link(self, entry: HardLinkEntry) -> None:
        file = self._several_names.pop(entry.first)
        if file.further_names > 1:
            self._several_names[entry.first] = changed(file, further_names=file.further_names - 1)
        try:
            self._root.link(entry.first, entry.path)
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
            self._write_file(changed(file, path=entry.path))

    def _write_file(self, entry: FileEntry) -> None:
        self._files += 1
        descriptor = self._root.open(entry.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        with io.FileIO(descriptor, "wb") as out:
            if entry.size:
                with self._open_content(entry.sha256) as raw, SideHash() as digest:
                    if entry.holes:
                        _copy_with_holes(raw, out, entry, digest, self._progress)
                    elif entry.size > PIECE:
                        _copy(raw, out, self._pieces, digest, self._progress)
                    else:
                        _copy_small(raw, out, digest, self._progress)
                    if digest.count != entry.size or digest.hexdigest() != entry.sha256:
                        raise DamagedError(
                            f"package store: {entry.path}: content differs from its SHA-256",
                            hint="remove the package and add or receive it again",
                        )
            if self._files <= _FLUSHED_ALONE or not hasattr(os, "sync"):
                sync_file(descriptor, self._root.path(entry.path))
            if os.name == "posix":
                self._root.fchmod(descriptor, self._mode(entry.mode))
        self._root.utime(entry.path, entry.mtime_ns)


def _copy(source: BinaryIO, out: io.FileIO, pieces: Pieces, digest: SideHash, progress: Callable[[int], None]) -> None:
    """Write a file's bytes, while a thread hashes them.

    Where the file system can have the file share the blocks of the store's, nothing is written. They are read for their
    digest all the same.
    """
    with PieceWriter(out.fileno()) as writer:
        works = (digest,) if _share(source, out) else (digest, writer)
        for count in pieces.pour(source, works):
            progress(count)
    set_direct(out.fileno(), False)


def _copy_small(source: BinaryIO, out: io.FileIO, digest: SideHash, progress: Callable[[int], None]) -> None:
    while data := source.read(CHUNK):
        digest.update(data)
        _write_all(out, memoryview(data))
        progress(len(data))


def _copy_with_holes(
    source: BinaryIO, out: io.FileIO, entry: FileEntry, digest: SideHash, progress: Callable[[int], None]
) -> None:
    """Write a file's bytes; holes stay holes, where they are zeros indeed: the bytes decide, the map is advice."""
    holes = hole_runs(entry.holes)
    hole = next(holes, None)
    at = 0
    while data := source.read(CHUNK):
        digest.update(data)
        view = memoryview(data)
        while view:
            while hole is not None and at >= hole[0] + hole[1]:
                hole = next(holes, None)
            inside = hole is not None and at >= hole[0]
            edge = at + len(view) if hole is None else hole[0] + hole[1] if inside else hole[0]
            part = view[: edge - at]
            if not inside or not _ZEROS.startswith(part.tobytes()):
                out.seek(at)
                _write_all(out, part)
            at += len(part)
            view = view[len(part) :]
        progress(len(data))
    out.truncate(at)


def _share(source: BinaryIO, out: io.FileIO) -> bool:
    """Have a new file share the blocks of a content that is a file; False where that cannot be."""
    try:
        descriptor = source.fileno()
    except (AttributeError, OSError):
        return False
    return share_blocks(descriptor, out.fileno())


def _write_all(out: io.FileIO, view: memoryview) -> None:
    while view:
        view = view[out.write(view) :]


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


def umask() -> int:
    """The permission bits that new files of this process do not get."""
    # It can only be read by setting it; nothing else in this process makes files at that moment.
    mask = os.umask(0)
    os.umask(mask)
    return mask
