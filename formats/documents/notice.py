"""The ship notice: the network message that announces a parcel and names its packing list by digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from formats.documents.fields import (
    EncryptedKey,
    Issued,
    PackageRef,
    ParcelDocument,
    Receivers,
    SealSerial,
)
from formats.documents.kind import DocumentKind
from formats.documents.packing import Priority
from formats.errors import MalformedError
from formats.records import OPTIONAL, Count, Digest, Number, Record, one_each, text

__all__ = ["KIND", "TYPE", "PackageRef", "ShipNotice"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _SealedVolume(Record):
    volume: Number
    serial: SealSerial


@dataclass(frozen=True, kw_only=True, slots=True)
class ShipNotice(ParcelDocument):
    """Announces a parcel to its destinations.

    ``packing_list`` is the SHA-256 of the packing list's payload, ``build`` the build it lays out. ``seals`` maps a
    volume number to the serial number of the tamper seal on it, in the set of media with the number ``copy`` (0: not
    numbered). ``issued_ns`` is when it was marked sent (UTC). ``key`` is the parcel's key, an age file encrypted to the
    site that the notice is for, where it travels with the notice; else empty.
    """

    NAME = "ship-notice"

    destinations: Receivers
    issued_ns: Issued
    packing_list: Digest
    build: Digest
    volumes: Number
    priority: Priority
    packages: tuple[PackageRef, ...]
    carrier: Annotated[str, text(1000)] = ""
    tracking: Annotated[str, text(1000)] = ""
    seals: Annotated[Mapping[int, str], one_each(_SealedVolume, "volume", "serial")] = field(default_factory=dict)
    copy: Annotated[Count, OPTIONAL] = 0
    key: Annotated[EncryptedKey, OPTIONAL] = b""

    def check(self) -> None:
        """Raise `MalformedError` for a seal on a volume that does not exist."""
        for n, volume in enumerate(self.seals):
            if volume > self.volumes:
                raise MalformedError(f"volume {volume} of {self.volumes}", place=f"seals[{n}].volume")


KIND = DocumentKind(
    document=ShipNotice,
    title="ship notice",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.source,
)
"""The ship notice, as the trust rules and the handlers of messages know it."""
TYPE = KIND.type
