"""Repair by network: a receiver's signed request for blocks that parity cannot mend, and the sender's answer in parts.

A request names blocks of archives as ranges; archives are the same in every edition of a build, so the build and an
archive's number say which is meant. An answer is one or more parts, each signed and of use by itself, in any order:
its payload is a line of canonical JSON, a newline, and the raw bytes of the blocks one after the other, in the order
the line names them. What a part holds is judged by the receiver's own signed block table, never by this document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Any, Self

from formats.blocks import ranges
from formats.documents.fields import Issued, ParcelDocument, Receiver, Sender
from formats.documents.kind import DocumentKind
from formats.documents.packing import MAX_ARCHIVES
from formats.errors import MalformedError
from formats.records import Count, Digest, Form, Key, Number, Record, integer, join, read_named

PART_BYTES = 11 << 20
"""Bytes of blocks in one part, at most (one block at least): with its signature and base64 it stays under 16 MiB."""
MAX_BLOCKS = 65_536
"""Blocks in one archive, at most."""
MAX_PARTS = 1_000_000


def _load_spans(flat: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    spans = tuple(zip(flat[::2], flat[1::2], strict=False))
    before = -2
    for first, last in spans:
        if not before + 1 < first <= last < MAX_BLOCKS:
            raise MalformedError("not ranges in order, none touching the next")
        before = last
    if not spans or len(flat) % 2:
        raise MalformedError("one range or more, first and last block each")
    return spans


def _dump_spans(spans: Iterable[tuple[int, int]]) -> list[int]:
    return [number for span in spans for number in span]


_Spans = Form(carried=tuple[Count, ...], load=_load_spans, dump=_dump_spans)
"""Ranges as a flat list, first and last block in turn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileBlocks(Record):
    """Blocks of archive ``archive`` (its number), as inclusive ranges: ascending, none touching the next."""

    archive: Annotated[int, integer(1, MAX_ARCHIVES)]
    spans: Annotated[tuple[tuple[int, int], ...], Key("blocks"), _Spans]

    @property
    def count(self) -> int:
        """How many blocks."""
        return sum(last - first + 1 for first, last in self.spans)

    def blocks(self) -> Iterator[int]:
        """The numbers of the blocks, in order."""
        for first, last in self.spans:
            yield from range(first, last + 1)


def file_blocks(wanted: Iterable[tuple[int, int]]) -> tuple[FileBlocks, ...]:
    """``wanted`` (archive number, block) as ranges by archive, in order."""
    found: dict[int, list[int]] = {}
    for archive, block in sorted(set(wanted)):
        found.setdefault(archive, []).append(block)
    return tuple(FileBlocks(archive=archive, spans=tuple(ranges(blocks))) for archive, blocks in found.items())


def _load_files(files: tuple[FileBlocks, ...]) -> tuple[FileBlocks, ...]:
    if not files or any(a.archive >= b.archive for a, b in pairwise(files)):
        raise MalformedError("one archive or more, each once, in order")
    return files


_Files = Annotated[tuple[FileBlocks, ...], Form(carried=tuple[FileBlocks, ...], load=_load_files, dump=tuple)]


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairRequest(ParcelDocument):
    """What ``site`` asks ``source``, the parcel's sender, for at ``issued_ns`` (UTC)."""

    NAME = "repair-request"

    build: Digest
    site: Sender
    source: Receiver
    issued_ns: Issued
    files: _Files

    @property
    def count(self) -> int:
        """How many blocks."""
        return sum(file.count for file in self.files)


def _as_counted(count: Any) -> Any:
    return count


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairPart(ParcelDocument):
    """Part ``part`` of ``of`` of the answer to the request whose payload has SHA-256 ``request``.

    Of blocks that nobody asked for, because their parcel is sent by network, ``request`` is the SHA-256 of the payload
    of its packing list. ``data`` holds the blocks of ``files`` one after the other.
    """

    NAME = "repair-part"

    build: Digest
    site: Receiver
    issued_ns: Issued
    request: Digest
    part: Number
    of: Annotated[int, integer(1, MAX_PARTS)]
    files: _Files
    data: Annotated[bytes | memoryview, Key("bytes"), Form(carried=Count, load=_as_counted, dump=len)]
    """JSON has the number of bytes, and `parse` puts the bytes in its place: they follow the line."""

    @property
    def count(self) -> int:
        """How many blocks."""
        return sum(file.count for file in self.files)

    def check(self) -> None:
        """Raise `MalformedError` for a part beyond the last."""
        if self.part > self.of:
            raise MalformedError(f"part {self.part} of {self.of}", place="part")

    def payload(self) -> bytes:
        """The bytes that are signed: a canonical line, a newline, the blocks."""
        return b"".join((self.json(), b"\n", self.data))

    @classmethod
    def parse(cls, payload: bytes, *, place: str = "") -> Self:
        """Read such bytes; raises `MalformedError` or `UnknownFormatError`."""
        end = payload.find(b"\n")
        if end < 0:
            raise MalformedError("no line of its own before the blocks", place=place or cls.NAME)
        part = read_named(cls, payload[:end], place=place)
        data = memoryview(payload)[end + 1 :]
        counted: Any = part.data
        if counted != len(data):
            raise MalformedError(f"{counted} where {len(data)} follow", place=join(place, "bytes"))
        return replace(part, data=data)


REQUEST_KIND = DocumentKind(
    document=RepairRequest,
    title="repair request",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.site,
)
"""The repair request, as the trust rules and the handlers of messages know it."""
REQUEST_TYPE = REQUEST_KIND.type


PART_KIND = DocumentKind(
    document=RepairPart,
    title="answer to a repair request",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.source,
    raw=True,
)
"""The answer to a repair request, as the trust rules and the handlers of messages know it."""
PART_TYPE = PART_KIND.type
