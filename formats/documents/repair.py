"""Repair by network: a receiver's signed request for blocks that parity cannot mend, and the sender's answer in parts.

A request names blocks of archives as ranges; archives are the same in every edition of a build, so the build and an
archive's number say which is meant. An answer is one or more parts, each signed and of use by itself, in any order:
its payload is a line of canonical JSON, a newline, and the raw bytes of the blocks one after the other, in the order
the line names them. What a part holds is judged by the receiver's own signed block table, never by this document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from formats.blocks import ranges
from formats.documents.kind import DocumentKind
from formats.documents.packing import MAX_ARCHIVES, parse_destinations
from formats.errors import MalformedError
from formats.names import check_parcel, check_site
from formats.records import Fields, encode, format_time, open_document

REQUEST_NAME = "repair-request"
REQUEST_TYPE = f"application/vnd.courier.{REQUEST_NAME}+json"
PART_NAME = "repair-part"
PART_TYPE = f"application/vnd.courier.{PART_NAME}"
PART_BYTES = 11 << 20
"""Bytes of blocks in one part, at most (one block at least): with its signature and base64 it stays under 16 MiB."""
MAX_BLOCKS = 65_536
"""Blocks in one archive, at most."""
MAX_PARTS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class FileBlocks:
    """Blocks of archive ``archive`` (its number), as inclusive ranges: ascending, none touching the next."""

    archive: int
    spans: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        """How many blocks."""
        return sum(last - first + 1 for first, last in self.spans)

    def blocks(self) -> Iterator[int]:
        """The numbers of the blocks, in order."""
        for first, last in self.spans:
            yield from range(first, last + 1)

    def record(self) -> dict[str, object]:
        """As a JSON object; the ranges are a flat list, first and last in turn."""
        return {"archive": self.archive, "blocks": [number for span in self.spans for number in span]}

    @classmethod
    def parse(cls, fields: Fields) -> FileBlocks:
        """From a JSON object; raises `MalformedError`."""
        flat = fields.integers("blocks")
        spans = tuple(zip(flat[::2], flat[1::2], strict=False))
        before = -2
        for first, last in spans:
            if not before + 1 < first <= last < MAX_BLOCKS:
                raise MalformedError("not ranges in order, none touching the next", place=fields.at("blocks"))
            before = last
        if not spans or len(flat) % 2:
            raise MalformedError("one range or more, first and last block each", place=fields.at("blocks"))
        return cls(archive=fields.integer("archive", minimum=1, maximum=MAX_ARCHIVES), spans=spans)


def file_blocks(wanted: Iterable[tuple[int, int]]) -> tuple[FileBlocks, ...]:
    """``wanted`` (archive number, block) as ranges by archive, in order."""
    found: dict[int, list[int]] = {}
    for archive, block in sorted(set(wanted)):
        found.setdefault(archive, []).append(block)
    return tuple(FileBlocks(archive=archive, spans=tuple(ranges(blocks))) for archive, blocks in found.items())


def _parse_files(fields: Fields) -> tuple[FileBlocks, ...]:
    files = tuple(FileBlocks.parse(item) for item in fields.objects("files"))
    numbers = [file.archive for file in files]
    if not files or any(a >= b for a, b in pairwise(numbers)):
        raise MalformedError("one archive or more, each once, in order", place="files")
    return files


def _parse_one_site(fields: Fields) -> str:
    to = parse_destinations(fields)
    if len(to) != 1:
        raise MalformedError("it goes to one site", place="to")
    return to[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairRequest:
    """What ``site`` asks ``source``, the parcel's sender, for; ``issued_ns``: when (UTC)."""

    parcel: str
    build: str
    site: str
    source: str
    issued_ns: int
    files: tuple[FileBlocks, ...]

    @property
    def count(self) -> int:
        """How many blocks."""
        return sum(file.count for file in self.files)

    def payload(self) -> bytes:
        """The canonical bytes that are signed."""
        return encode(
            {
                "format": f"courier-{REQUEST_NAME}/1",
                "parcel": self.parcel,
                "build": self.build,
                "from": self.site,
                "to": [self.source],
                "issued": format_time(self.issued_ns),
                "files": [file.record() for file in self.files],
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> RepairRequest:
        """From canonical bytes; raises `MalformedError` or `UnknownFormatError`."""
        fields = open_document(payload, name=REQUEST_NAME)
        source = _parse_one_site(fields)
        return cls(
            parcel=check_parcel(fields.text("parcel"), source=source, place="parcel"),
            build=fields.digest("build"),
            site=check_site(fields.text("from"), place="from"),
            source=source,
            issued_ns=fields.time("issued"),
            files=_parse_files(fields),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairPart:
    """Part ``part`` of ``of`` of the answer to the request whose payload has SHA-256 ``request``.

    ``data``: the blocks of ``files`` one after the other.
    """

    parcel: str
    build: str
    source: str
    site: str
    issued_ns: int
    request: str
    part: int
    of: int
    files: tuple[FileBlocks, ...]
    data: bytes | memoryview

    @property
    def count(self) -> int:
        """How many blocks."""
        return sum(file.count for file in self.files)

    def payload(self) -> bytes:
        """The bytes that are signed: a canonical line, a newline, the blocks."""
        line = encode(
            {
                "format": f"courier-{PART_NAME}/1",
                "parcel": self.parcel,
                "build": self.build,
                "from": self.source,
                "to": [self.site],
                "issued": format_time(self.issued_ns),
                "request": self.request,
                "part": self.part,
                "of": self.of,
                "files": [file.record() for file in self.files],
                "bytes": len(self.data),
            }
        )
        return b"".join((line, b"\n", self.data))

    @classmethod
    def parse(cls, payload: bytes) -> RepairPart:
        """From such bytes; raises `MalformedError` or `UnknownFormatError`."""
        end = payload.find(b"\n")
        if end < 0:
            raise MalformedError("no line of its own before the blocks", place=PART_NAME)
        fields = open_document(payload[:end], name=PART_NAME)
        source = check_site(fields.text("from"), place="from")
        data = memoryview(payload)[end + 1 :]
        fields.integer("bytes", minimum=len(data), maximum=len(data))
        of = fields.integer("of", minimum=1, maximum=MAX_PARTS)
        return cls(
            parcel=check_parcel(fields.text("parcel"), source=source, place="parcel"),
            build=fields.digest("build"),
            source=source,
            site=_parse_one_site(fields),
            issued_ns=fields.time("issued"),
            request=fields.digest("request"),
            part=fields.integer("part", minimum=1, maximum=of),
            of=of,
            files=_parse_files(fields),
            data=data,
        )


REQUEST_KIND = DocumentKind(
    type=REQUEST_TYPE,
    title="repair request",
    parse=RepairRequest.parse,
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.site,
)
"""The repair request, as the trust rules and the handlers of messages know it."""


PART_KIND = DocumentKind(
    type=PART_TYPE,
    title="answer to a repair request",
    parse=RepairPart.parse,
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.source,
)
"""The answer to a repair request, as the trust rules and the handlers of messages know it."""
