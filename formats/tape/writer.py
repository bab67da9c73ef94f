"""Writes a parcel volume on a labelled tape, or on a chain of tapes (reels) when one is too short.

A tape has VOL1, then for each tape file its HDR labels, a mark, its data blocks, a mark, its EOF labels and a mark; one
more mark ends the tape. Reels are changed only within a file, so every reel but the last ends with EOV labels, and its
last file continues as the first of the next reel. After its early warning a drive needs room for one unit of data and
three label groups. Data are read, hashed and written once.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import BinaryIO

from formats.digest import CHUNK, SideHash
from formats.errors import DigestMismatchError, NoRoomError
from formats.tape.drive import BLOCK, MARK_BYTES, Drive, EndOfMediumError
from formats.tape.index import INDEX_PATH, TapeIndex, make_index
from formats.tape.labels import (
    FileLabel,
    VolumeLabel,
    check_label,
    check_volume_id,
    file_records,
    group_size,
    label_date,
    reel_id,
    volume_records,
)
from formats.tape.records import RECORD


@dataclass(frozen=True, kw_only=True, slots=True)
class TapeFile:
    """A file to write: ``path`` (`formats.tape.labels.check_tape_path`), ``size`` in bytes, and ``open``.

    ``open`` gives a new stream of exactly ``size`` bytes, which is opened once, read whole, and closed. If ``sha256``
    is given, the first index has it, and what is read is compared with it.
    """

    path: str
    size: int
    open: Callable[[], BinaryIO]
    sha256: str | None = None


def tape_size(files: Sequence[tuple[str, int]], *, block_size: int = BLOCK) -> int:
    """Exact bytes that `write_volume` puts on one reel for files of these paths and sizes.

    Labels and both indexes are included, and each tape mark counts as `MARK_BYTES`. A further reel adds its labels and
    marks. Raises what `write_volume` raises for such files.
    """
    index = make_index(
        [(path, size, None) for path, size in files], set_id="000000", created_ns=0, block_size=block_size
    )
    listed = len(index.encode())
    every = [(INDEX_PATH, listed), *files, (INDEX_PATH, listed)]
    marks = 3 * len(every) + 1
    return 2 * RECORD + sum(size + group_size(path) for path, size in every) + marks * MARK_BYTES


def write_volume(
    drive: Drive,
    files: Sequence[TapeFile],
    *,
    label: str,
    owner: str,
    created_ns: int,
    block_size: int = BLOCK,
    volume_id: Callable[[int], str] | None = None,
    next_reel: Callable[[int], Drive] | None = None,
    unit: int = 1,
) -> TapeIndex:
    """Write a volume from the start of the tape, over whatever it holds; return its index, which has every digest.

    ``label`` is the parcel volume (``HQ1_000042_V003``), ``owner`` who publishes it, ``created_ns`` when it was made
    (nanoseconds since 1970, UTC). ``volume_id`` gives the identifier of each reel, counted from 1 (six characters A-Z
    0-9, as on its barcode); without it, see `formats.tape.labels.reel_id`. When a drive warns that its end is near,
    ``next_reel`` is asked for the drive with the reel of the given number, from 2; without it, writing goes on to the
    very end. A file is cut at a multiple of ``unit`` bytes (a multiple of ``block_size``, or 1 for any block), so that
    no such unit lies on two reels. Each reel is rewound at its end, and is on the medium by then.

    Raises `NoRoomError` when the volume does not fit on the reels, `DigestMismatchError` when a stream is shorter,
    longer or other than its file says, `IllegalNameError`, `MalformedError` and `TooLargeError` for what labels cannot
    hold (before anything is written), and `OSError` from the drive. After an error the tape has no end, which readers
    notice.
    """
    identify = volume_id or (lambda reel: reel_id(label, reel))
    set_id = check_volume_id(identify(1))
    check_label(label)
    index = make_index(
        [(file.path, file.size, file.sha256) for file in files],
        set_id=set_id,
        created_ns=created_ns,
        block_size=block_size,
    )
    first = VolumeLabel(volume_id=set_id, owner=owner, label=label, reel=1, set_id=set_id, created_ns=created_ns)
    head = FileLabel(
        kind="HDR",
        number=1,
        path=INDEX_PATH,
        size=0,
        block_size=block_size,
        set_id=set_id,
        date=label_date(created_ns),
        is_index=True,
    )
    reels = _Reels(drive, first, identify, next_reel, unit)
    reels.write(head, _in_memory(index.encode()))
    entries = []
    for entry, file in zip(index.files, files, strict=True):
        digest = reels.write(replace(head, number=entry.number, path=entry.path, is_index=False), file)
        if file.sha256 not in (None, digest):
            raise DigestMismatchError("content differs from its listed SHA-256", place=file.path)
        entries.append(replace(entry, sha256=digest))
    index = replace(index, files=tuple(entries))
    reels.write(replace(head, number=len(files) + 2), _in_memory(index.encode()))
    reels.end()
    return index


class _Reels:
    """The reels of a volume, of which one is being written."""

    def __init__(
        self,
        drive: Drive,
        first: VolumeLabel,
        identify: Callable[[int], str],
        next_reel: Callable[[int], Drive] | None,
        unit: int,
    ) -> None:
        self._unit = unit
        self._identify = identify
        self._next_reel = next_reel
        self._label = first
        self._begin(drive)

    def _begin(self, drive: Drive) -> None:
        self._drive = drive
        self._near_end = False
        self._has_data = False  # whether a block or the end of a file has been written on this reel
        drive.rewind()
        self._put(volume_records(self._label))

    def _put(self, records: Sequence[bytes | memoryview]) -> None:
        for record in records:
            self._near_end |= self._drive.write_block(record)

    def write(self, head: FileLabel, file: TapeFile) -> str:
        """Write one tape file, over as many reels as it takes; return its SHA-256."""
        try:
            with SideHash() as digest:
                return self._sections(replace(head, size=file.size), file, digest)
        except EndOfMediumError as error:
            raise NoRoomError(
                f"reel {self._label.reel} ({self._label.volume_id}) is full: {error.message}", place=file.path
            ) from None

    def _sections(self, head: FileLabel, file: TapeFile, digest: SideHash) -> str:
        offset = blocks = 0
        self._open_section(head)
        if file.size == 0 and self._must_change_reel(offset):
            head = self._change_reel(replace(head, sha256=digest.hexdigest()), offset)
        for block in _blocks(file, head.block_size):
            if self._must_change_reel(offset):
                head = self._change_reel(replace(head, blocks=blocks, sha256=digest.hexdigest()), offset)
                blocks = 0
            self._put([block])
            digest.update(block)
            self._has_data = True
            offset += len(block)
            blocks += 1
        whole = digest.hexdigest()
        self._close_section(replace(head, kind="EOF", blocks=blocks, sha256=whole))
        self._has_data = True
        return whole

    def _open_section(self, head: FileLabel) -> None:
        self._put(file_records(head))
        self._drive.write_mark()

    def _close_section(self, trailer: FileLabel) -> None:
        self._drive.write_mark()
        self._put(file_records(trailer))
        self._drive.write_mark()

    def _must_change_reel(self, offset: int) -> bool:
        return self._near_end and self._next_reel is not None and offset % self._unit == 0

    def _change_reel(self, section: FileLabel, offset: int) -> FileLabel:
        """Close the section and the reel; begin the next section, at byte ``offset`` of the file, on the next reel."""
        if not self._has_data or self._next_reel is None:
            raise NoRoomError(f"reel {self._label.reel} has no room for anything but labels", place=self._label.label)
        self._close_section(replace(section, kind="EOV"))
        self.end()
        number = self._label.reel + 1
        self._label = replace(self._label, reel=number, volume_id=check_volume_id(self._identify(number)))
        self._begin(self._next_reel(number))
        head = replace(section, section=section.section + 1, offset=offset, blocks=0, sha256="")
        self._open_section(head)
        return head

    def end(self) -> None:
        """Write the mark that ends the tape, and rewind it."""
        self._drive.write_mark()
        self._drive.rewind()


def _blocks(file: TapeFile, block_size: int) -> Iterator[memoryview]:
    """The file in blocks, of which the last may be shorter; raises `DigestMismatchError` unless it has its size."""
    step = max(1, CHUNK // block_size) * block_size
    left = file.size
    with closing(file.open()) as source:
        while left:
            wanted = min(left, step)
            view = memoryview(_read(source, wanted))
            if len(view) < wanted:
                raise DigestMismatchError(
                    f"ended after {file.size - left + len(view)} of {file.size} bytes", place=file.path
                )
            for start in range(0, wanted, block_size):
                yield view[start : start + block_size]
            left -= wanted
        if source.read(1):
            raise DigestMismatchError(f"goes on past its {file.size} bytes", place=file.path)


def _read(source: BinaryIO, size: int) -> bytes:
    """``size`` bytes, fewer only at the end of the source, which may give them in several pieces."""
    pieces = []
    while size and (data := source.read(size)):
        pieces.append(data)
        size -= len(data)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _in_memory(data: bytes) -> TapeFile:
    return TapeFile(path=INDEX_PATH, size=len(data), open=lambda: io.BytesIO(data))
