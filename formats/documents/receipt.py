"""The receipt: the receiving site's signed answer that says what arrived, what was damaged and what was imported.

A partial receipt names packages that are ``outstanding``: the others were imported before the rest of the parcel came.
It confirms nothing yet. The last receipt of a parcel has none, and replaces those before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from formats.delta.rows import MAX_BASE_VERSIONS
from formats.documents.fields import Issued, PackageRef, ParcelDocument, Receiver, Sender
from formats.documents.kind import DocumentKind
from formats.errors import MalformedError
from formats.records import OPTIONAL, Count, Digest, Number, Record, items, matching


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


class Ending(StrEnum):
    """Why the packages of a partial receipt that are outstanding will not be imported."""

    RECALLED = "recalled"
    SUPERSEDED = "superseded"
    REFUSED = "refused"
    """By the operator there, who may still accept them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt(ParcelDocument):
    """An import, told to the sender. ``issued_ns`` is when it was committed (UTC), or when it ended.

    ``packages`` are all that were imported of the parcel so far, ``outstanding`` those that were not. ``ended``: one of
    `Ending` where these will not be imported; else empty. ``bases``: the versions that were used to make what a delta
    brought, and the SHA-256 of their listings.
    """

    NAME = "receipt"

    source: Receiver
    destination: Sender
    build: Digest
    packing_list: Digest
    issued_ns: Issued
    packages: tuple[ReceiptPackage, ...]
    volumes: tuple[ReceiptVolume, ...]
    outstanding: Annotated[tuple[PackageRef, ...], OPTIONAL] = ()
    ended: Annotated[str, matching("|" + "|".join(Ending)), OPTIONAL] = ""
    bases: Annotated[tuple[PackageRef, ...], items(0, MAX_BASE_VERSIONS), OPTIONAL] = ()

    def check(self) -> None:
        """Raise `MalformedError` for a package that is outstanding and imported, or an end of nothing."""
        named = [(one.package, one.version) for one in (*self.packages, *self.outstanding)]
        if self.outstanding and (not self.packages or len(set(named)) != len(named)):
            raise MalformedError("each package once, imported or outstanding, and one imported", place="outstanding")
        if self.ended and not self.outstanding:
            raise MalformedError("nothing is outstanding", place="ended")

    @property
    def partial(self) -> bool:
        """Whether packages are outstanding."""
        return bool(self.outstanding)


KIND = DocumentKind(
    document=Receipt,
    title="receipt",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.destination,
)
"""The receipt, as the trust rules and the handlers of messages know it."""
TYPE = KIND.type
