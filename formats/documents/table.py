"""A parcel that goes by network: its packing list, contents and block table, as signed pieces for one destination.

Media carry these documents on every volume. Where blocks are to come without a medium, the receiver must have them
first: it knows by them what the parcel is, and judges each block. A piece is, like an answer to a repair request, a
line of canonical JSON, a newline, and raw bytes. What the pieces make together is judged by the signed packing list,
and that by its own signature.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any, Self

from formats.documents.fields import Issued, ParcelDocument, Receiver
from formats.documents.kind import DocumentKind
from formats.documents.repair import MAX_PARTS, PART_BYTES
from formats.errors import MalformedError
from formats.records import Count, Digest, Form, Key, Number, integer, join, matching, read_named


class Table(StrEnum):
    """Which document of a parcel a piece is of."""

    PACKING_LIST = "packing-list"
    """Its signed envelope."""
    CONTENTS = "contents"
    BLOCKS = "blocks"


def _as_counted(count: Any) -> Any:
    return count


@dataclass(frozen=True, kw_only=True, slots=True)
class TablePart(ParcelDocument):
    """Piece ``part`` of ``of`` of a document (`Table`) of the parcel whose packing list has SHA-256 ``packing_list``.

    ``issued_ns``: when the sender began to send the parcel by network (UTC).
    """

    NAME = "parcel-table"

    build: Digest
    site: Receiver
    issued_ns: Issued
    packing_list: Digest
    table: Annotated[str, matching("|".join(Table))]
    part: Number
    of: Annotated[int, integer(1, MAX_PARTS)]
    data: Annotated[bytes | memoryview, Key("bytes"), Form(carried=Count, load=_as_counted, dump=len)]
    """JSON has the number of bytes, and `parse` puts the bytes in its place: they follow the line."""

    def check(self) -> None:
        """Raise `MalformedError` for a piece beyond the last."""
        if self.part > self.of:
            raise MalformedError(f"part {self.part} of {self.of}", place="part")

    def payload(self) -> bytes:
        """The bytes that are signed: a canonical line, a newline, the piece."""
        return b"".join((self.json(), b"\n", self.data))

    @classmethod
    def parse(cls, payload: bytes, *, place: str = "") -> Self:
        """Read such bytes; raises `MalformedError` or `UnknownFormatError`."""
        end = payload.find(b"\n")
        if end < 0:
            raise MalformedError("no line of its own before the bytes", place=place or cls.NAME)
        piece = read_named(cls, payload[:end], place=place)
        data = memoryview(payload)[end + 1 :]
        counted: Any = piece.data
        if counted != len(data) or len(data) > PART_BYTES:
            raise MalformedError(f"{counted} where {len(data)} follow", place=join(place, "bytes"))
        return replace(piece, data=data)


KIND = DocumentKind(
    document=TablePart,
    title="document of a parcel that comes by network",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.source,
    raw=True,
)
"""The piece, as the trust rules and the handlers of messages know it."""
TYPE = KIND.type
