"""The arrival report: the receiver's word on which volumes of a parcel it has, and the seals a person read on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from formats.documents.fields import Issued, ParcelDocument, Receiver, SealSerial, Sender
from formats.documents.kind import DocumentKind
from formats.errors import MalformedError
from formats.records import OPTIONAL, Digest, Number, Record, one_each


@dataclass(frozen=True, kw_only=True, slots=True)
class _ArrivedVolume(Record):
    number: Number
    seal: SealSerial


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival(ParcelDocument):
    """Volumes that arrived at ``destination``, which tells the parcel's sender.

    ``volumes`` maps a volume number to the serial number read on its seal, empty where there was none. ``lost`` are
    volumes that did not arrive and are given up; parity made up for them.
    ``packing_list`` is the SHA-256 of the packing list's payload. ``issued_ns`` is when it was reported (UTC).
    """

    NAME = "arrival"

    source: Receiver
    destination: Sender
    build: Digest
    packing_list: Digest
    issued_ns: Issued
    volumes: Annotated[Mapping[int, str], one_each(_ArrivedVolume, "number", "seal")]
    lost: Annotated[tuple[Number, ...], OPTIONAL] = ()

    def check(self) -> None:
        """Raise `MalformedError` for lost volumes out of order, or that arrived."""
        if list(self.lost) != sorted(set(self.lost)) or set(self.lost) & set(self.volumes):
            raise MalformedError("each volume once, in order, and none that arrived", place="lost")


KIND = DocumentKind(
    document=Arrival,
    title="arrival report",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.destination,
)
"""The arrival report, as the trust rules and the handlers of messages know it."""
TYPE = KIND.type
