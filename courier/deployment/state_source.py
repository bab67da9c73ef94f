"""Reading the files whose state is captured: each becomes rows of the manifest, and pieces for the point.

Errors of the source are listed, and the rest goes on; those of the point end the capture.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from courier.deployment.state_attributes import attributes_of
from courier.deployment.state_walk import Found, Tally, Walk, left_out
from courier.errors import RefusedError
from courier.files import path_text
from courier.packages.holes import find_holes
from courier.packages.offenders import CHANGED, reason
from courier.packages.tree_root import SourceFile, TreeRoot
from courier.progress import Progress
from formats.documents.state import (
    MANIFEST,
    PIECE,
    AnyRow,
    FileRow,
    FolderRow,
    LeftRow,
    LinkRow,
    NameRow,
    PieceRow,
    ZerosRow,
    escape,
)
from formats.holes import data_runs, hole_map, hole_runs

_TRIES = 2
"""How often a file that changes while it is read is begun anew."""
_IN_MEMORY = 1 << 20
"""Bytes of the rows of one file that are kept in memory; more of them, of some 40 GB, go to the work folder."""


class StateSource:
    """The files of a computer, read once. ``rows`` counts the lines of the manifest; ``tally`` what is in them;
    ``not_kept`` what of the files is not kept, by kind."""

    def __init__(
        self,
        tree: TreeRoot,
        *,
        write: Callable[[bytes], None],
        put: Callable[[bytes], str],
        work: Path,
        progress: Progress,
        check_stop: Callable[[], None],
    ) -> None:
        """``write`` takes lines of the manifest; ``put`` takes a piece and gives its digest; ``check_stop`` raises to
        stop."""
        self.rows = 0
        self.tally = Tally()
        self.not_kept: dict[str, int] = {}
        self._tree = tree
        self._write = write
        self._put = put
        self._work = work
        self._progress = progress
        self._check_stop = check_stop
        self._first_names: dict[tuple[int, int], str] = {}

    def take_all(self, walk: Walk) -> None:
        """Take everything that a walk finds, and list what cannot be read."""
        for found in walk:
            self._check_stop()
            if found.why is not None or found.info is None:
                self._leave(found)
                continue
            try:
                self._take(found, found.info)
            except _UnreadError as error:
                self._leave(Found(name=found.name, info=found.info, why="unread", reason=str(error)))
        self.tally.unmatched = walk.unmatched

    def _row(self, one: AnyRow) -> None:
        self.rows += 1
        self._write(MANIFEST.line(one))

    def _leave(self, found: Found) -> None:
        if not found.name:
            raise RefusedError(
                f"{path_text(self._tree.path(''))}: {found.reason}",
                hint="run it as a user who may read it (as root, if need be)",
            )
        one = left_out(found)
        self.tally.leave(one)
        self._row(LeftRow(path=one.path, why=one.why, size=one.size, reason=one.reason))

    def _take(self, found: Found, info: os.stat_result) -> None:
        path = escape(os.fsencode(found.name))
        if stat.S_ISLNK(info.st_mode):
            with _reading():
                target = escape(os.fsencode(self._tree.readlink(found.name)))
            self.tally.links += 1
            self._row(LinkRow(path=path, target=target, uid=info.st_uid, gid=info.st_gid, mtime_ns=info.st_mtime_ns))
        elif stat.S_ISDIR(info.st_mode):
            self.tally.folders += not found.implied
            self._row(
                FolderRow(
                    path=path,
                    mode=stat.S_IMODE(info.st_mode),
                    uid=info.st_uid,
                    gid=info.st_gid,
                    mtime_ns=info.st_mtime_ns,
                    implied=int(found.implied),
                    attributes=() if found.implied else self._attributes(found.name),
                )
            )
        elif info.st_nlink > 1 and (info.st_dev, info.st_ino) in self._first_names:
            self.tally.files += 1
            self._row(NameRow(path=path, first=self._first_names[info.st_dev, info.st_ino]))
        else:
            self._take_file(found.name, path)

    def _attributes(self, name: str) -> tuple[tuple[str, bytes], ...]:
        try:
            descriptor = self._tree.open(name)
        except OSError:
            return ()  # its names are read all the same, or listed as what cannot be read
        try:
            return attributes_of(descriptor, self.not_kept)
        finally:
            os.close(descriptor)

    # --- files ------------------------------------------------------------------------------------------------------

    def _take_file(self, name: str, path: str) -> None:
        """Take a file whole, as it was at one moment. Raises `_UnreadError` where it is never still."""
        for _ in range(_TRIES):
            with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(self._work)) as rows:
                with _reading():
                    source = SourceFile(self._tree.open(name), self._tree.path(name))
                with source:
                    with _reading():
                        before = os.fstat(source.fileno())
                    if not stat.S_ISREG(before.st_mode):
                        break
                    attributes = attributes_of(source.fileno(), self.not_kept)
                    count = self._read(source, before, rows)
                    with _reading():
                        after = os.fstat(source.fileno())
                if count is None or _seen(before) != _seen(after):
                    continue
                self._row(_file_row(path, before, attributes))
                rows.seek(0)
                while block := rows.read(_IN_MEMORY):
                    self._write(block)
            self.rows += count
            self.tally.files += 1
            self.tally.bytes += before.st_size
            if before.st_nlink > 1:
                self._first_names[before.st_dev, before.st_ino] = path
            return
        raise _UnreadError(CHANGED)

    def _read(self, source: SourceFile, info: os.stat_result, rows: IO[bytes]) -> int | None:
        """Take in the content of an open file; return how many rows it has, None where it ended early."""
        count = 0
        with _reading():
            holes = hole_map(find_holes(source.fileno(), info.st_size)) if _may_have_holes(info) else ()
        zeros = dict(hole_runs(holes))
        for offset, length in sorted([*data_runs(holes, info.st_size), *zeros.items()]):
            if offset in zeros:
                rows.write(MANIFEST.line(ZerosRow(size=length)))
                count += 1
                self._progress(length)
                continue
            source.seek(offset)
            left = length
            while left:
                self._check_stop()
                with _reading():
                    data = _read_piece(source, min(left, PIECE))
                if not data:
                    return None
                rows.write(MANIFEST.line(PieceRow(size=len(data), digest=self._put(data))))
                count += 1
                left -= len(data)
                self._progress(len(data))
        return count


class _UnreadError(Exception):
    """Something of the source cannot be read, and why; no other module sees this."""


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Errors of the source in the block are listed, those of the point are not."""
    try:
        yield
    except OSError as error:
        raise _UnreadError(reason(error)) from None


def _file_row(path: str, info: os.stat_result, attributes: tuple[tuple[str, bytes], ...]) -> FileRow:
    return FileRow(
        path=path,
        mode=stat.S_IMODE(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
        mtime_ns=info.st_mtime_ns,
        size=info.st_size,
        linked=int(info.st_nlink > 1),
        attributes=attributes,
    )


def _seen(info: os.stat_result) -> tuple[int, int, int]:
    return info.st_size, info.st_mtime_ns, info.st_ctime_ns


def _may_have_holes(info: os.stat_result) -> bool:
    return bool(getattr(info, "st_blocks", info.st_size) * 512 < info.st_size)


def _read_piece(source: SourceFile, size: int) -> bytes:
    """So many bytes, fewer where the file ends."""
    whole = io.BytesIO()
    while size and (data := source.read(size)):
        whole.write(data)
        size -= len(data)
    return whole.getvalue()
