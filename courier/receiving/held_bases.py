"""The contents that a delta builds on, as far as this site may use them for its sender.

A sender may build only on versions that it is told are held here: its own packages, what came from it, and what is
offered to it (`courier.packages.offer.may_know`). Anything else counts as not held, so that a delta cannot find out
what is here, nor take it. What is missing can be fetched from the sender; that lies beside the spool's archives, in
``bases/HEX``, until the import.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.errors import DamagedError
from courier.packages.offer import may_know
from courier.parcel.base_contents import BASES
from courier.site.catalog import offers, packages
from courier.site.home import Site
from formats.documents.fields import PackageRef
from formats.documents.listing import FileEntry
from formats.documents.packing import PackingList


@dataclass(frozen=True, kw_only=True, slots=True)
class Unusable:
    """A version that a parcel builds on and that cannot be used; ``held``: it is here, and the sender is not told."""

    base: PackageRef
    held: bool


class HeldBases:
    """Finds the contents that a parcel needs of what is here."""

    def __init__(self, site: Site, packing: PackingList, spool: Path, needed: Iterable[tuple[str, int]]) -> None:
        """``spool``: the folder of its spool; ``needed``: SHA-256 and size of each content."""
        self._site = site
        self._fetched = spool / BASES
        self._needed = {bytes.fromhex(sha256): size for sha256, size in needed}
        self.unusable: list[Unusable] = []
        """Versions that cannot be used."""
        self._told: set[bytes] = set()
        for base in packing.bases:
            self._look(base, packing.source)

    def _look(self, base: PackageRef, sender: str) -> None:
        with self._site.catalogue.reading() as connection:
            stored = packages.find(connection, base.package, base.version)
            offered = offers.offered_to(connection, sender)
        if stored is None or stored.listing.sha256 != base.listing:
            self.unusable.append(Unusable(base=base, held=False))
            return
        if not may_know(stored, sender, offered):
            self.unusable.append(Unusable(base=base, held=True))
            return
        try:
            for entry in self._site.store.entries(stored.listing):
                if isinstance(entry, FileEntry) and bytes.fromhex(entry.sha256) in self._needed:
                    self._told.add(bytes.fromhex(entry.sha256))
        except DamagedError:
            # What of it is told is not known any more.
            self.unusable.append(Unusable(base=base, held=False))

    def is_fetched(self, sha256: str, size: int) -> bool:
        """Whether a content was fetched from the sender; it had its SHA-256 then."""
        try:
            return (self._fetched / sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def may_use(self, sha256: str) -> bool:
        """Whether the sender is told that this content is held here."""
        return bytes.fromhex(sha256) in self._told

    def missing(self) -> list[tuple[str, int]]:
        """SHA-256 and size of the contents that are needed and cannot be used; none is read for that."""
        return [
            (sha256.hex(), size)
            for sha256, size in sorted(self._needed.items())
            if not self.is_fetched(sha256.hex(), size)
            and not (sha256 in self._told and self._site.store.has(sha256.hex(), size))
        ]

    def open(self, sha256: str, size: int) -> BinaryIO:
        """Open a content that is needed; it can be sought in. Raises `DamagedError` when it is missing."""
        if self.is_fetched(sha256, size):
            return (self._fetched / sha256).open("rb")
        return self._site.store.open_content(sha256)

    def path(self, sha256: str) -> Path:
        """Where a content that was fetched is."""
        return self._fetched / sha256
