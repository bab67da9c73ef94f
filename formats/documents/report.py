"""The site report: what a site has room for, can read, holds and trusts, so that a sender builds nothing in vain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from formats.documents.kind import DocumentKind
from formats.documents.packing import parse_destinations
from formats.errors import MalformedError
from formats.names import MAX_VERSION, check_package, check_site
from formats.records import Fields, encode, format_time, open_document

NAME = "site-report"
TYPE = f"application/vnd.courier.{NAME}+json"
MAX_ITEMS = 100_000
MAX_PLACES = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A place that takes content (``store``, or a distribution point's name): bytes free, and bytes it keeps free."""

    name: str
    free: int
    reserve: int

    def record(self) -> dict[str, object]:
        """As a JSON object."""
        return {"name": self.name, "free": self.free, "reserve": self.reserve}

    @classmethod
    def parse(cls, fields: Fields) -> Place:
        """From a JSON object; raises `MalformedError`."""
        name = fields.text("name", longest=200)
        return cls(name=name, free=fields.integer("free"), reserve=fields.integer("reserve"))


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldPackage:
    """The newest version of a package that is held, and the SHA-256 of its listing."""

    package: str
    version: int
    listing: str

    def record(self) -> dict[str, object]:
        """As a JSON object."""
        return {"package": self.package, "version": self.version, "listing": self.listing}

    @classmethod
    def parse(cls, fields: Fields) -> HeldPackage:
        """From a JSON object; raises `MalformedError`."""
        return cls(
            package=check_package(fields.text("package"), place=fields.at("package")),
            version=fields.integer("version", minimum=1, maximum=MAX_VERSION),
            listing=fields.digest("listing"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteReport:
    """What ``site`` tells ``to`` of itself, as of ``issued_ns`` (UTC).

    ``places``: the first is the store. ``trusts``: site code to the serial of the card that is pinned. ``media``: kinds
    of media it can read, none: not said. ``reads``: document name to the highest major version it reads.
    """

    site: str
    to: str
    issued_ns: int
    places: tuple[Place, ...]
    trusts: Mapping[str, int]
    media: tuple[str, ...]
    reads: Mapping[str, int]
    packages: tuple[HeldPackage, ...]

    def payload(self) -> bytes:
        """The canonical bytes that are signed."""
        return encode(
            {
                "format": f"courier-{NAME}/1",
                "from": self.site,
                "to": [self.to],
                "issued": format_time(self.issued_ns),
                "places": [place.record() for place in self.places],
                "trusts": [{"site": code, "serial": self.trusts[code]} for code in sorted(self.trusts)],
                "media": list(self.media),
                "reads": [{"document": name, "major": self.reads[name]} for name in sorted(self.reads)],
                "packages": [item.record() for item in self.packages],
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> SiteReport:
        """From canonical bytes; raises `MalformedError` or `UnknownFormatError`."""
        fields = open_document(payload, name=NAME)
        to = parse_destinations(fields)
        if len(to) != 1:
            raise MalformedError("a report goes to one site", place="to")
        places = tuple(Place.parse(item) for item in _few(fields, "places", MAX_PLACES))
        if not places:
            raise MalformedError("a report names the store at least", place="places")
        trusts = [
            (check_site(item.text("site"), place=item.at("site")), item.integer("serial", minimum=1))
            for item in _few(fields, "trusts", MAX_ITEMS)
        ]
        reads = [
            (item.text("document", pattern="[a-z-]{1,100}"), item.integer("major", minimum=1))
            for item in _few(fields, "reads", MAX_PLACES)
        ]
        packages = tuple(HeldPackage.parse(item) for item in _few(fields, "packages", MAX_ITEMS))
        for name, keys in (
            ("trusts", [code for code, _ in trusts]),
            ("reads", [document for document, _ in reads]),
            ("packages", [item.package for item in packages]),
        ):
            if keys != sorted(set(keys)):
                raise MalformedError("each once, in order", place=name)
        return cls(
            site=check_site(fields.text("from"), place="from"),
            to=to[0],
            issued_ns=fields.time("issued"),
            places=places,
            trusts=dict(trusts),
            media=tuple(fields.texts("media")),
            reads=dict(reads),
            packages=packages,
        )


def _few(fields: Fields, name: str, most: int) -> list[Fields]:
    items = fields.objects(name)
    if len(items) > most:
        raise MalformedError(f"more than {most}", place=fields.at(name))
    return items


KIND = DocumentKind(
    type=TYPE,
    title="site report",
    parse=SiteReport.parse,
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.site,
)
"""The site report, as the trust rules and the handlers of messages know it."""
