"""Reading one volume: its documents first, then the blocks of its payload.

Used by `courier.receiving` to receive volumes and to verify them. Documents and payload are read in one pass; nothing
of the payload is used before the packing list has been verified.
"""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.errors import DamagedError, explain
from courier.files import explain_os
from courier.media import volume_files as volume
from courier.media.reading import Medium, TapeMedium
from courier.parcel.volume_documents import DocumentReader, VolumeDocuments
from courier.site.trust import Trust
from formats.blocks import BlockTable
from formats.documents.packing import PackingList
from formats.errors import FormatError, MalformedError, UnreadableError

PAYLOAD = "data/"
"""Folder of a bag in which the payload lies (RFC 8493, 2.1.2)."""
MAX_NAMED = 32
"""So many files of one medium that are not the parcel's are named; the rest are only counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadBlock:
    """Block ``block`` of file ``index``: its bytes, or None where the medium could not be read."""

    index: int
    block: int
    data: bytes | None


class VolumeReader:
    """Reads one medium: `documents` first, then `blocks`.

    `blocks` may be called again, and after `close`, for every medium but a tape in a drive; the documents are not read
    again for that.
    """

    def __init__(self, medium: Medium, trust: Trust, *, scratch: Path, now_ns: int) -> None:
        """``scratch``: a folder for copies of the two large tables; ``now_ns``: nanoseconds since 1970, UTC."""
        self._medium = medium
        self._document_reader = DocumentReader(medium, trust, scratch=scratch, now_ns=now_ns)
        self._walk = medium.walk()
        self._next: tuple[str, int, BinaryIO] | None = None
        self._unexpected: list[str] = []
        self._unnamed = 0
        self._ended = False
        self._at_payload = False
        self.seen: set[int] = set()

    def documents(
        self,
        known: Callable[[str], bytes | None] = lambda _: None,
        before: Callable[[str, int], bytes | None] = lambda _label, _created_ns: None,
    ) -> VolumeDocuments:
        """Read and verify the documents.

        ``known`` returns the envelope of a packing list that another volume brought already, by its digest; it replaces
        one that cannot be read here. ``before`` does so by the volume's label and when its layout was made (nanoseconds
        since 1970, UTC), for a further reel of a tape: the documents are only on the first.

        Raises `RefusedError` for a volume that is not to be trusted, and `DamagedError` for one that cannot be read.
        """
        try:
            while (found := self._advance()) is not None:
                path, size, stream = found
                if path.startswith(PAYLOAD):
                    self._next = path, size, stream
                    break
                self._document_reader.take(path, size, stream)
            self._at_payload = True
        except FormatError as error:
            raise explain(error, where=self._medium.name, hint=_hint(error)) from None
        reel = self._medium.first_label if isinstance(self._medium, TapeMedium) else None
        if self._document_reader.none and reel is not None and reel.reel > 1:
            return self._document_reader.of_further_reel(reel, before)
        return self._document_reader.verified(known, self._next[0] if self._next is not None else "")

    def _advance(self) -> tuple[str, int, BinaryIO] | None:
        try:
            return next(self._walk, None)
        except OSError as error:
            if error.errno != errno.EIO:
                known = explain_os(error)
                raise type(known)(
                    f"{self._medium.name}: {error.strerror or error}", hint=known.hint, code=known.code
                ) from None
            raise DamagedError(
                f"{self._medium.name}: cannot be read any further ({error.strerror})",
                hint="try another drive; parity may make up for what stays unread, or its sender: "
                "courier parcel repair PARCEL --from-network",
            ) from None

    def bag_findings(self, documents: VolumeDocuments) -> list[str]:
        """See `DocumentReader.bag_findings`; call it after `documents`."""
        return self._document_reader.bag_findings(documents)

    def copy_findings(self, documents: VolumeDocuments) -> list[str]:
        """See `DocumentReader.copy_findings`; there are none unless `blocks` has come to the end of the volume."""
        goes_on = isinstance(self._medium, TapeMedium) and self._medium.continues
        return self._document_reader.copy_findings(documents) if self._ended and not goes_on else []

    def tape_findings(self) -> list[str]:
        """A note for each part of a tape beside its files that was damaged and not needed: labels, indexes, marks.

        Call it when `blocks` has come to its end.
        """
        found = self._medium.findings if isinstance(self._medium, TapeMedium) else []
        more = [f"tape: {len(found) - MAX_NAMED} more of these"] if len(found) > MAX_NAMED else []
        return [*(f"tape: {text}" for text in found[:MAX_NAMED]), *more]

    def lacking_reels(self, packing: PackingList, missing: Mapping[int, Iterable[int]]) -> str:
        """The reels that were not given and hold blocks that are ``missing`` (by file), for people; "" where none do.

        Call it when `blocks` has come to its end.
        """
        if not isinstance(self._medium, TapeMedium):
            return ""
        size = packing.block_size
        lost = [(packing.path(index), block * size) for index, blocks in missing.items() for block in blocks]
        return self._medium.lacking(lost)

    def blocks(self, packing: PackingList, number: int, wanted: Callable[[int, int], bool]) -> Iterator[ReadBlock]:
        """Read the payload of volume ``number``: the blocks that are ``wanted`` (index, block), in order.

        Blocks past a truncated end are not yielded. Files that the packing list does not put on this volume are
        named by `unexpected`, files that are there by `seen`.
        """
        indexes = {packing.path(index): index for index in packing.on_volume(number)}
        try:
            if not self._at_payload:
                self._rewind()
            self._at_payload = False
            while self._next is not None:
                path, size, stream = self._next
                index = indexes.get(path)
                if index is None or index in self.seen:
                    if path.startswith(PAYLOAD):
                        self._note_unexpected(path)
                    elif path.startswith(volume.COPIES):
                        self._document_reader.note_copy(path, stream)
                else:
                    self.seen.add(index)
                    yield from self._file(packing, index, size, stream, wanted)
                self._next = self._advance()
            self._ended = True
        except FormatError as error:
            raise explain(error, where=self._medium.name, hint=_read_on(error, packing.parcel)) from None

    def _rewind(self) -> None:
        """Begin a new reading of the payload; the documents before it are passed over."""
        self.close()
        self._walk = self._medium.walk()
        self.seen.clear()
        self._unexpected.clear()
        self._unnamed, self._ended = 0, False
        self._next = self._advance()
        while self._next is not None and not self._next[0].startswith(PAYLOAD):
            self._next = self._advance()

    def _file(
        self, packing: PackingList, index: int, size: int, stream: BinaryIO, wanted: Callable[[int, int], bool]
    ) -> Iterator[ReadBlock]:
        length = packing.files()[index].size
        if size > length:
            self._note_unexpected(f"{packing.path(index)} ({size - length} bytes too long)")
        at = 0
        for block, start in enumerate(range(0, length, packing.block_size)):
            count = min(packing.block_size, length - start)
            if start >= size:
                return
            if not wanted(index, block):
                continue
            data: bytes | None
            try:
                if at != start:
                    stream.seek(start)
                data = _read_exactly(stream, count)
                at = start + len(data)
            except (OSError, UnreadableError):
                data, at = None, -1
            yield ReadBlock(index=index, block=block, data=data)

    def _note_unexpected(self, path: str) -> None:
        if len(self._unexpected) < MAX_NAMED:
            self._unexpected.append(path)
        else:
            self._unnamed += 1

    def unexpected(self) -> list[str]:
        """A finding for each file read so far that is not the parcel's; those after the first few are only counted."""
        found = [f"{path} is not in the packing list" for path in self._unexpected]
        return [*found, f"{self._unnamed} more are not in the packing list"] if self._unnamed else found

    def close(self) -> None:
        """Close the medium; a later reading of its blocks opens it again."""
        self._at_payload = False
        self._walk.close()  # type: ignore[attr-defined]


def bad_blocks(
    reader: VolumeReader,
    documents: VolumeDocuments,
    table: BlockTable,
    files: Collection[int],
    progress: Callable[[int], None],
) -> dict[int, list[int]]:
    """Read these files of a volume (their indexes), and return by file the blocks without their signed digest.

    Every other file is passed over, but `VolumeReader.unexpected` names those that are not the parcel's. ``progress``
    is called with the bytes of each good block.
    """
    bad = {index: set(range(table.count(index))) for index in files}
    for read in reader.blocks(documents.packing, documents.label.number, lambda index, _: index in bad):
        if read.data is not None and table.is_good(read.index, read.block, read.data):
            bad[read.index].discard(read.block)
            progress(len(read.data))
    return {index: sorted(blocks) for index, blocks in bad.items() if blocks}


def _hint(error: FormatError) -> str:
    """What to do about a medium that cannot be read at all; empty for other errors, whose usual hint is right."""
    if isinstance(error, (MalformedError, UnreadableError)):
        return (
            "is it the right medium? then try another drive; the parity of the other volumes may make up for it; "
            "or have this volume written again by its sender"
        )
    return ""


def _read_on(error: FormatError, parcel: str) -> str:
    """What to do about a medium whose documents are good and whose payload cannot be read; else empty."""
    if isinstance(error, (MalformedError, UnreadableError)):
        return (
            "what was read is kept: try another drive; parity mends what stays bad, or its sender: "
            f"courier parcel repair {parcel} --from-network"
        )
    return ""


def _read_exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) == count or not data:
        return data
    parts = io.BytesIO()
    parts.write(data)
    while parts.tell() < count and (data := stream.read(count - parts.tell())):
        parts.write(data)
    return parts.getvalue()
