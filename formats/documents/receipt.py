"""The receipt: the receiving site's signed answer that says what arrived, what was damaged and what was imported."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from formats.delta.rows import MAX_BASE_VERSIONS
from formats.documents.fields import Issued, PackageRef, ParcelDocument, Receiver, Sender
from formats.documents.kind import DocumentKind
from formats.records import OPTIONAL, Count, Digest, Number, Record, items


class Outcome(StrEnum):
    """What became of a package version at the receiver."""

    IMPORTED = "imported"
    """Now in the store, the newest version held."""
    IMPORTED_OLDER = "imported-older"
    """Now in the store beside a newer version."""
    ALREADY_HELD = "already-held"
    """The store already held this very version with this very content."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiptPackage(PackageRef):
    """Outcome of one package version; ``listing`` is the SHA-256 of the listing of the content that is held now."""

    outcome: Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiptVolume(Record):
    """How one volume arrived: whether it came, and how many of its blocks were damaged as read (repaired since)."""

    number: Number
    received: bool
    damaged_blocks: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt(ParcelDocument):
    """A completed import, told to the sender. ``issued_ns`` is when the import was committed (UTC).

    ``bases``: the versions that were used to make what a delta brought, and the SHA-256 of their listings.
    """

    NAME = "receipt"

    source: Receiver
    destination: Sender
    build: Digest
    packing_list: Digest
    issued_ns: Issued
    packages: tuple[ReceiptPackage, ...]
    volumes: tuple[ReceiptVolume, ...]
    bases: Annotated[tuple[PackageRef, ...], items(0, MAX_BASE_VERSIONS), OPTIONAL] = ()


KIND = DocumentKind(
    document=Receipt,
    title="receipt",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.destination,
)
"""The receipt, as the trust rules and the handlers of messages know it."""
TYPE = KIND.type
