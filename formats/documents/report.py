"""The site report: what a site has room for, can read, holds and trusts, so that a sender builds nothing in vain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from formats.documents.fields import Issued, PackageRef, Receiver, Sender, Site
from formats.documents.kind import DocumentKind
from formats.errors import MalformedError
from formats.records import OPTIONAL, Count, Document, Number, Record, Text, items, matching, one_each, text

MAX_ITEMS = 100_000
MAX_PLACES = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Place(Record):
    """A place that takes content (``store``, or a distribution point's name): bytes free, and bytes it keeps free.

    ``branch``: it is a point on a computer of the client class.
    """

    name: Annotated[str, text(200)]
    free: Count
    reserve: Count
    branch: Annotated[bool, OPTIONAL] = False


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldPackage(PackageRef):
    """A version of a package that is held, and the SHA-256 of its listing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Trusted(Record):
    site: Site
    serial: Number


@dataclass(frozen=True, kw_only=True, slots=True)
class _ReadDocument(Record):
    document: Annotated[str, matching("[a-z-]{1,100}")]
    major: Number


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteReport(Document):
    """What ``site`` tells ``to`` of itself, as of ``issued_ns`` (UTC).

    ``places``: the first is the store. ``trusts`` maps a site code to the serial of the card that is pinned. ``media``
    are the kinds of media it can read; empty means that it does not say. ``reads`` maps the name of a document to the
    highest major version of it that the site reads. ``packages``: the versions held that ``to`` may know of: its own
    packages, those that came from it, and those that are offered to it.
    """

    NAME = "site-report"

    site: Sender
    to: Receiver
    issued_ns: Issued
    places: Annotated[tuple[Place, ...], items(1, MAX_PLACES)]
    trusts: Annotated[Mapping[str, int], one_each(_Trusted, "site", "serial", most=MAX_ITEMS)]
    media: tuple[Text, ...]
    reads: Annotated[Mapping[str, int], one_each(_ReadDocument, "document", "major", most=MAX_PLACES)]
    packages: Annotated[tuple[HeldPackage, ...], items(0, MAX_ITEMS)]

    def check(self) -> None:
        """Raise `MalformedError` for versions listed twice or out of order."""
        packages = [(item.package, item.version) for item in self.packages]
        if packages != sorted(set(packages)):
            raise MalformedError("each once, in order", place="packages")


KIND = DocumentKind(
    document=SiteReport,
    title="site report",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.site,
)
"""The site report, as the trust rules and the handlers of messages know it."""
TYPE = KIND.type
