"""The folder that state is restored into: entries are made in it one after the other, and nothing there is lost.

A file is written under a temporary name, and gets its own once it is flushed, many at a time. Nothing is written
through a symbolic link: the links of the capture are made last, and one that stands where a folder goes is refused.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Sequence
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from courier.deployment.state_attributes import set_attributes
from courier.error_codes import Code
from courier.errors import RefusedError
from courier.files import TEMP, path_text
from courier.packages.tree_root import TreeRoot
from courier.packages.write_tree import NO_HARD_LINKS
from courier.progress import Progress
from formats.documents.state import FileRow, FolderRow, LinkRow, NameRow, PieceRow, ZerosRow, escape, unescape
from formats.names import windows_keeps

EntryRow = FolderRow | FileRow | NameRow | LinkRow
"""A row that is an entry of the tree."""
ASIDE = ".before-restore"
"""End of the name that something gets which stood in the way."""
_MOST_NAMED = 1000
_BATCH_FILES = 1024
_BATCH_BYTES = 64 << 20
_SET_ID = stat.S_ISUID | stat.S_ISGID
_CHUNK = 1 << 20


class Pieces(Protocol):
    """Where the pieces of files come from."""

    def read(self, piece: PieceRow) -> bytes:
        """The bytes of a piece, proved. Raises `FormatError`, and `DamagedError` where it is missing."""

    def is_piece(self, data: bytes, piece: PieceRow) -> bool:
        """Whether bytes are those of a piece."""


class RestoredTree(AbstractContextManager["RestoredTree"]):
    """A folder that is restored into.

    ``written``: bytes that were not there yet; ``aside``: how many things stood in the way, of which ``kept_aside``
    has the first, as they are called now; ``lost``: how many owners and attributes the system did not take.
    """

    def __init__(self, folder: Path, pieces: Pieces) -> None:
        self.written = self.aside = self.lost = 0
        self.kept_aside: list[str] = []
        self._root = TreeRoot(folder)
        self._folder = folder
        self._pieces = pieces
        self._waiting: list[tuple[str, str]] = []
        self._bytes = 0
        self._folders: list[FolderRow] = []
        self._links: list[LinkRow] = []

    def __exit__(self, *_: object) -> None:
        self._root.close()

    def has(self, row: FileRow) -> bool:
        """Whether a file of that size is there."""
        info = self._info(_name(row.path))
        return info is not None and stat.S_ISREG(info.st_mode) and info.st_size == row.size

    def take(self, row: EntryRow, pieces: Sequence[PieceRow | ZerosRow], progress: Progress) -> None:
        """Make one entry; those of a tree come in the order of its manifest."""
        match row:
            case FolderRow():
                self._take_folder(row)
            case FileRow():
                self._take_file(row, pieces, progress)
            case NameRow():
                self._take_name(row)
            case LinkRow():
                self._links.append(row)

    def finish(self) -> None:
        """Make the symbolic links, flush all, and give the folders what they have; the deepest first."""
        self._settle()
        for link in self._links:
            self._take_link(link)
        if hasattr(os, "sync"):
            os.sync()
        for row in reversed(self._folders):
            self._finish_folder(row)

    # --- folders ----------------------------------------------------------------------------------------------------

    def _take_folder(self, row: FolderRow) -> None:
        name = _name(row.path)
        info = self._info(name)
        if info is not None and stat.S_ISLNK(info.st_mode):
            raise RefusedError(
                f"{path_text(self._root.path(name))} is a link, and a folder of the state goes there",
                hint="restore into another folder, or put a folder in the place of the link",
            )
        if info is not None and not stat.S_ISDIR(info.st_mode):
            self._put_aside(name)
            info = None
        if info is None:
            self._root.mkdir(name)
        if info is None or not row.implied:
            self._folders.append(row)

    def _finish_folder(self, row: FolderRow) -> None:
        name = _name(row.path)
        mode = self._own(name, row.uid, row.gid, row.mode)
        if row.attributes:
            descriptor = self._root.open(name)
            try:
                self.lost += set_attributes(descriptor, row.attributes)
            finally:
                os.close(descriptor)
        if os.name == "posix":
            self._root.chmod(name, mode)
        self._root.utime(name, row.mtime_ns)

    # --- files ------------------------------------------------------------------------------------------------------

    def _take_file(self, row: FileRow, pieces: Sequence[PieceRow | ZerosRow], progress: Progress) -> None:
        name = _name(row.path)
        if self._is_there(name, row, pieces, progress):
            self._give(name, row)
            return
        temporary = self._temporary(name)
        self._root.delete(temporary)
        descriptor = self._root.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        with io.FileIO(descriptor, "r+b") as out:
            for piece in pieces:
                if isinstance(piece, ZerosRow):
                    out.seek(piece.size, os.SEEK_CUR)
                else:
                    _write_all(out, self._pieces.read(piece))
                    self.written += piece.size
                    self._bytes += piece.size
                progress(piece.size)
            out.truncate(row.size)
            if not hasattr(os, "sync"):
                os.fsync(out.fileno())
        self._give(temporary, row)
        self._waiting.append((temporary, name))
        if row.linked or len(self._waiting) >= _BATCH_FILES or self._bytes >= _BATCH_BYTES:
            self._settle()

    def _is_there(self, name: str, row: FileRow, pieces: Sequence[PieceRow | ZerosRow], progress: Progress) -> bool:
        """Whether a file with just these bytes is there. It is read, and never changed."""
        if not self.has(row):
            return False
        try:
            descriptor = self._root.open(name)
        except PermissionError:
            return False
        with io.FileIO(descriptor, "rb") as source:
            if not all(self._same(source, piece) for piece in pieces):
                return False
        progress(row.size)
        return True

    def _same(self, source: io.FileIO, piece: PieceRow | ZerosRow) -> bool:
        if isinstance(piece, PieceRow):
            return self._pieces.is_piece(_read_all(source, piece.size), piece)
        left = piece.size
        while left:
            data = _read_all(source, min(left, _CHUNK))
            if not data or data.strip(b"\0"):
                return False
            left -= len(data)
        return True

    def _give(self, name: str, row: FileRow) -> None:
        """Give a file its owner, attributes, permissions and time."""
        mode = self._own(name, row.uid, row.gid, row.mode)
        if row.attributes:
            descriptor = self._root.open(name)
            try:
                self.lost += set_attributes(descriptor, row.attributes)
            finally:
                os.close(descriptor)
        if os.name == "posix":
            self._root.chmod(name, mode)
        self._root.utime(name, row.mtime_ns)

    def _own(self, name: str, uid: int, gid: int, mode: int) -> int:
        """Give something its owner; return the permissions it may have: as somebody else's none that run as them."""
        if self._root.chown(name, uid, gid):
            return mode
        self.lost += 1
        return mode & ~_SET_ID

    def _settle(self) -> None:
        """Flush the files that wait, and give them their names."""
        if self._waiting and hasattr(os, "sync"):
            os.sync()
        for temporary, name in self._waiting:
            if self._info(name) is not None:
                self._put_aside(name)
            self._root.rename(temporary, name)
        self._waiting.clear()
        self._bytes = 0

    def _take_name(self, row: NameRow) -> None:
        name, first = _name(row.path), _name(row.first)
        there, wanted = self._info(name), self._root.lstat(first)
        if there is not None:
            if (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino):
                return
            self._put_aside(name)
        try:
            self._root.link(first, name)
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
            self._copy(first, name, wanted)

    def _copy(self, first: str, name: str, info: os.stat_result) -> None:
        """Make a further name as a file of its own, where the file system has no hard links."""
        temporary = self._temporary(name)
        self._root.delete(temporary)
        with (
            io.FileIO(self._root.open(first), "rb") as source,
            io.FileIO(self._root.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as out,
        ):
            while data := source.read(_CHUNK):
                _write_all(out, data)
            os.fsync(out.fileno())
        if os.name == "posix":
            self._root.chmod(temporary, stat.S_IMODE(info.st_mode))
        self._root.utime(temporary, info.st_mtime_ns)
        self._root.rename(temporary, name)

    def _take_link(self, row: LinkRow) -> None:
        name, target = _name(row.path), os.fsdecode(unescape(row.target))
        info = self._info(name)
        if info is not None and not (stat.S_ISLNK(info.st_mode) and self._root.readlink(name) == target):
            self._put_aside(name)
            info = None
        if info is None:
            self._root.symlink(target, name)
        self.lost += not self._root.chown(name, row.uid, row.gid)
        self._root.utime(name, row.mtime_ns)

    # --- what is there ----------------------------------------------------------------------------------------------

    def _info(self, name: str) -> os.stat_result | None:
        try:
            return self._root.lstat(name)
        except (FileNotFoundError, NotADirectoryError):  # a file may stand where its folder goes
            return None

    def _put_aside(self, name: str) -> None:
        """Give what stands in the way a name that is free."""
        number = 1
        while True:
            other = _beside(name, ASIDE if number == 1 else f"{ASIDE}-{number}")
            if self._info(other) is None:
                break
            number += 1
        self._root.rename(name, other)
        self.aside += 1
        if len(self.kept_aside) < _MOST_NAMED:
            self.kept_aside.append(escape(os.fsencode(other)))

    def _temporary(self, name: str) -> str:
        """A name beside, the same each time: what a kill left is written over."""
        above, slash, _ = name.rpartition("/")
        return f"{above}{slash}{TEMP}{sha256(os.fsencode(name)).hexdigest()[:32]}"


def _name(path: str, *, windows: bool = os.name == "nt") -> str:
    """The path of an entry as the system takes it.

    Raises `RefusedError` for one that Windows would change, possibly into one outside the folder.
    """
    name = os.fsdecode(unescape(path))
    if windows and not windows_keeps(name):
        raise RefusedError(
            f"{path!a}: Windows cannot keep this name",
            hint="restore it on Linux: courier state recover MIGRATION --into DIR",
            code=Code.NAME_NOT_KEPT,
        )
    return name


def _beside(name: str, ending: str) -> str:
    """A name with an ending, in the length that a name may have (255 bytes)."""
    above, slash, own = name.rpartition("/")
    kept = os.fsencode(own)[: 255 - len(ending)]
    return f"{above}{slash}{os.fsdecode(kept)}{ending}"


def _read_all(source: io.FileIO, size: int) -> bytes:
    whole = io.BytesIO()
    while size and (data := source.read(size)):
        whole.write(data)
        size -= len(data)
    return whole.getvalue()


def _write_all(out: io.FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[out.write(view) :]
