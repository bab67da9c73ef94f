"""The volume label: which volume of which parcel this medium is, signed, and bound to one packing list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from formats.documents.fields import Issued, ParcelDocument, Path
from formats.documents.kind import DocumentKind
from formats.errors import MalformedError
from formats.names import volume_name
from formats.records import Digest, Form, Number, Record


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tag(Record):
    path: Path
    sha256: Digest


def _load_tags(tags: tuple[_Tag, ...]) -> tuple[tuple[str, str], ...]:
    if len({tag.path for tag in tags}) != len(tags):
        raise MalformedError("a path is listed twice")
    return tuple((tag.path, tag.sha256) for tag in tags)


def _dump_tags(tags: Iterable[tuple[str, str]]) -> list[_Tag]:
    return [_Tag(path=path, sha256=sha256) for path, sha256 in tags]


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeLabel(ParcelDocument):
    """Volume ``number`` of ``of`` of a parcel; ``packing_list`` is the SHA-256 of the packing list's payload.

    ``issued_ns`` (UTC) is when the layout was made, so that a volume issued again is the same to the byte. ``tags``
    are (path, SHA-256) of the other files beside the payload that a person or a stock tool may read or run, so that
    an altered restore script is found.
    """

    NAME = "volume-label"

    number: Number
    of: Number
    packing_list: Digest
    issued_ns: Issued
    tags: Annotated[tuple[tuple[str, str], ...], Form(carried=tuple[_Tag, ...], load=_load_tags, dump=_dump_tags)]

    @property
    def label(self) -> str:
        """The label in ISO 9660 d-characters: ``HQ1_000042_V003``."""
        return volume_name(self.parcel, self.number)

    def check(self) -> None:
        """Raise `MalformedError` for a volume beyond the last."""
        if self.number > self.of:
            raise MalformedError(f"volume {self.number} of {self.of}", place="number")


KIND = DocumentKind(
    document=VolumeLabel,
    title="volume label",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.source,
)
"""The volume label, as the trust rules and the handlers of messages know it."""
TYPE = KIND.type
