"""The statement of a distribution point: what it holds, signed by the site that runs it.

It stands as ``point.json`` at the root of the point's folder, where any web server can serve it. Whoever may alter what
a client is served (the point's computer, a proxy, a peer) can hold the client up, but can neither change a package nor
bring back an older one: `serial` only grows, and a client refuses a lower one than it has seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from formats.documents.fields import Issued, Package, PackageRef, Reason, Sender, Version
from formats.documents.kind import DocumentKind
from formats.errors import MalformedError
from formats.records import Count, Document, Key, Number, Record, integer, items, matching, one_each

MAX_PACKAGES = 100_000
"""Package versions of a point, at most; as many may be withdrawn."""
MAX_CLASSES = 1000
MAX_PEERS = 1000
MAX_MINIMUM_AGE = 10_080
"""Minutes: the longest time after its last use in which a cache may be told to keep an entry."""

PointName = Annotated[str, matching("[A-Za-z0-9][A-Za-z0-9._-]{0,63}")]
"""The name of a point, unique at its site: letters, digits, dots, hyphens and underlines."""
GroupName = Annotated[str, matching("([A-Za-z0-9][A-Za-z0-9._-]{0,63})?")]
"""A group of points and clients, such as the computers of one building; empty: none."""
ClassName = Annotated[str, matching("[A-Za-z0-9][A-Za-z0-9._-]{0,63}")]
"""A class of clients, such as ``desk``."""
Peer = Annotated[str, matching("https?://[!-~]{1,1000}")]
"""The base URL at which another computer of the branch serves what it holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Withdrawn(Record):
    """A package version that is not to be taken from this point any more, and why."""

    package: Package
    version: Version
    reason: Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheSettings(Record):
    """How the caches of one class of clients are set.

    ``size`` in bytes. An entry used within the last ``minimum_age`` minutes is not evicted. What does not fit is tried
    again ``retries`` times, every ``retry`` minutes.
    """

    client_class: Annotated[ClassName, Key("class")]
    size: Number
    minimum_age: Annotated[int, integer(0, MAX_MINIMUM_AGE)]
    retry: Annotated[int, integer(1, 525_600)]
    retries: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class _Least(Record):
    package: Package
    version: Version


@dataclass(frozen=True, kw_only=True, slots=True)
class PointStatement(Document):
    """What the point called ``point`` of ``site`` holds, as of ``issued_ns`` (UTC).

    ``serial`` only grows. ``packages``: the versions that are there. ``least``: for a package, the lowest version that
    a client may take; a lower one is refused, wherever it comes from. ``withdrawn``: versions that were there and must
    not be taken any more. ``cache``: settings for the caches of clients, by class. ``peers``: other computers of the
    branch, which may be asked first; they prove nothing. ``group``: the group that the point serves.
    """

    NAME = "point"

    site: Sender
    point: PointName
    serial: Number
    issued_ns: Issued
    packages: Annotated[tuple[PackageRef, ...], items(0, MAX_PACKAGES)]
    least: Annotated[Mapping[str, int], one_each(_Least, "package", "version", most=MAX_PACKAGES)]
    withdrawn: Annotated[tuple[Withdrawn, ...], items(0, MAX_PACKAGES)]
    cache: Annotated[tuple[CacheSettings, ...], items(0, MAX_CLASSES)]
    peers: Annotated[tuple[Peer, ...], items(0, MAX_PEERS)]
    group: GroupName

    def check(self) -> None:
        """Raise `MalformedError` for lists that are out of order, or contradict each other."""
        held = [(item.package, item.version) for item in self.packages]
        gone = [(item.package, item.version) for item in self.withdrawn]
        _in_order(held, "packages")
        _in_order(gone, "withdrawn")
        _in_order([item.client_class for item in self.cache], "cache")
        _in_order(self.peers, "peers")
        for n, (package, version) in enumerate(held):
            if version < self.least.get(package, 0):
                raise MalformedError("is there, but lower than the least version", place=f"packages[{n}].version")
        if both := set(held) & set(gone):
            package, version = min(both)
            raise MalformedError(f"{package}:{version} is there, and withdrawn", place="withdrawn")

    def find(self, package: str, version: int | None = None) -> PackageRef | None:
        """The version of a package that is there, the newest for None; None where it is not there."""
        found = [item for item in self.packages if item.package == package and version in (None, item.version)]
        return found[-1] if found else None

    def withdrawal(self, package: str, version: int) -> Withdrawn | None:
        """The record by which a version was withdrawn, if it was."""
        return next((item for item in self.withdrawn if (item.package, item.version) == (package, version)), None)


def _in_order(listed: Sequence[tuple[str, int]] | Sequence[str], place: str) -> None:
    if any(one >= other for one, other in pairwise(listed)):  # type: ignore[operator]
        raise MalformedError("each once, in order", place=place)


KIND = DocumentKind(
    document=PointStatement,
    title="statement of a distribution point",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.site,
)
"""The statement, as the trust rules know it."""
TYPE = KIND.type

STATEMENT = "point.json"
"""Path of the statement in the folder of a point."""


def definition_path(package: str, version: int) -> str:
    """Path in the folder of a point of the definition of a package version."""
    return f"definitions/{package}-{version}.json"


def listing_path(sha256: str) -> str:
    """Path in the folder of a point of a listing."""
    return f"listings/{sha256}"


def blocks_path(sha256: str) -> str:
    """Path in the folder of a point of the block table of a content, which is named by the content's SHA-256."""
    return f"blocks/{sha256}"


def content_path(sha256: str) -> str:
    """Path in the folder of a point of a content."""
    return f"content/{sha256[:2]}/{sha256}"
