"""The files that say what a client's cache is and what it holds: ``cache.json`` and, for each entry, ``entry.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from courier.distribution.cache_rules import DEFAULT_MINIMUM_AGE, DEFAULT_SIZE, MOST_MINIMUM_AGE, Held, Limits
from courier.files import RESERVE
from formats.documents.fields import Package, Version
from formats.errors import MalformedError
from formats.records import OPTIONAL, Count, Digest, Key, NamedRecord, Number, Time, items, text

MAX_LOCKS = 1000
"""Most names that lock one entry."""
MAX_LOCK_NAME = 200
"""Characters of the longest name that locks an entry."""

LockName = Annotated[str, text(MAX_LOCK_NAME)]
Folder = Annotated[str, text(4096)]


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheSettings(NamedRecord):
    """The settings of a cache, and where its entries are.

    ``size``: bytes that all entries may have. ``minimum_age``: minutes since its last reference for which an entry does
    not go. ``reserve``: bytes that stay free on the disk. ``set_by``: who set these: empty for the operator of this
    computer, else a site. ``folder``: the folder of the entries, empty for the cache's own. ``leaving``: the folder
    that the entries were moved from, while what is left of them there is being deleted; ``.`` for the cache's own.
    """

    NAME = "cache"

    size: Number = DEFAULT_SIZE
    minimum_age: Annotated[Count, Key("minimum_age_minutes")] = DEFAULT_MINIMUM_AGE
    reserve: Count = RESERVE
    set_by: Annotated[str, text(100), OPTIONAL] = ""
    folder: Annotated[Folder, OPTIONAL] = ""
    leaving: Annotated[Folder, OPTIONAL] = ""

    def check(self) -> None:
        """Raise `MalformedError` for a minimum age beyond the highest."""
        if self.minimum_age > MOST_MINIMUM_AGE:
            raise MalformedError(f"more than {MOST_MINIMUM_AGE} minutes", place="minimum_age_minutes")

    @property
    def limits(self) -> Limits:
        """What the rules ask of the settings."""
        return Limits(size=self.size, minimum_age=self.minimum_age, reserve=self.reserve)


@dataclass(frozen=True, kw_only=True, slots=True)
class EntryRecord(NamedRecord):
    """What a cache knows of one entry.

    ``listing``: SHA-256 of the package's listing, which stands beside the record. ``bytes``: those of all its files.
    ``locks``: names of who uses it, in order. ``persisted``: kept until an operator says otherwise.
    """

    NAME = "cache-entry"

    package: Package
    version: Version
    listing: Digest
    bytes: Count
    placed_ns: Annotated[Time, Key("placed")]
    referenced_ns: Annotated[Time, Key("referenced")]
    locks: Annotated[tuple[LockName, ...], items(0, MAX_LOCKS)] = ()
    persisted: bool = False

    @property
    def name(self) -> str:
        """The name of the entry's folder."""
        return f"{self.package}-{self.version}"

    @property
    def held(self) -> Held:
        """The entry as the rules see it."""
        return Held(
            package=self.package,
            version=self.version,
            bytes=self.bytes,
            referenced_ns=self.referenced_ns,
            locked=bool(self.locks),
            persisted=self.persisted,
        )
