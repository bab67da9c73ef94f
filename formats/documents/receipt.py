"""The receipt: the receiving site's signed answer, what arrived, what was damaged, what was imported."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from formats.documents.kind import DocumentKind
from formats.documents.packing import parse_destinations
from formats.errors import MalformedError
from formats.names import MAX_VERSION, check_package, check_parcel, check_site
from formats.records import Fields, encode, format_time, open_document

NAME = "receipt"
TYPE = f"application/vnd.courier.{NAME}+json"


class Outcome(StrEnum):
    """What became of a package version at the receiver."""

    IMPORTED = "imported"
    """Now in the store, the newest version held."""
    IMPORTED_OLDER = "imported-older"
    """Now in the store beside a newer version."""
    ALREADY_HELD = "already-held"
    """The store held this very version with this very content before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiptPackage:
    """Outcome of one package version; ``listing`` is the SHA-256 of the content that is held now."""

    package: str
    version: int
    listing: str
    outcome: Outcome

    def record(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "package": self.package,
            "version": self.version,
            "listing": self.listing,
            "outcome": str(self.outcome),
        }

    @classmethod
    def parse(cls, fields: Fields) -> ReceiptPackage:
        """From a JSON object; raises `MalformedError`."""
        return cls(
            package=check_package(fields.text("package"), place=fields.at("package")),
            version=fields.integer("version", minimum=1, maximum=MAX_VERSION),
            listing=fields.digest("listing"),
            outcome=Outcome(fields.text("outcome", pattern="|".join(Outcome))),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiptVolume:
    """How one volume arrived: blocks good as read, blocks damaged as read (mended since)."""

    number: int
    received: bool
    damaged_blocks: int

    def record(self) -> dict[str, object]:
        """As a JSON object."""
        return {"number": self.number, "received": self.received, "damaged_blocks": self.damaged_blocks}

    @classmethod
    def parse(cls, fields: Fields) -> ReceiptVolume:
        """From a JSON object; raises `MalformedError`."""
        return cls(
            number=fields.integer("number", minimum=1),
            received=fields.flag("received"),
            damaged_blocks=fields.integer("damaged_blocks"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """A completed import, told to the sender. ``issued_ns``: when the import was committed (UTC)."""

    parcel: str
    source: str
    destination: str
    build: str
    packing_list: str
    issued_ns: int
    packages: tuple[ReceiptPackage, ...]
    volumes: tuple[ReceiptVolume, ...]

    def payload(self) -> bytes:
        """The canonical bytes that are signed; ``from`` is the receiving site, ``to`` the parcel's sender."""
        return encode(
            {
                "format": f"courier-{NAME}/1",
                "parcel": self.parcel,
                "from": self.destination,
                "to": [self.source],
                "build": self.build,
                "packing_list": self.packing_list,
                "issued": format_time(self.issued_ns),
                "packages": [item.record() for item in self.packages],
                "volumes": [item.record() for item in self.volumes],
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> Receipt:
        """From canonical bytes; raises `MalformedError` or `UnknownFormatError`."""
        fields = open_document(payload, name=NAME)
        to = parse_destinations(fields)
        if len(to) != 1:
            raise MalformedError("a receipt goes to the parcel's sender alone", place="to")
        return cls(
            parcel=check_parcel(fields.text("parcel"), source=to[0], place="parcel"),
            source=to[0],
            destination=check_site(fields.text("from"), place="from"),
            build=fields.digest("build"),
            packing_list=fields.digest("packing_list"),
            issued_ns=fields.time("issued"),
            packages=tuple(ReceiptPackage.parse(item) for item in fields.objects("packages")),
            volumes=tuple(ReceiptVolume.parse(item) for item in fields.objects("volumes")),
        )


KIND = DocumentKind(
    type=TYPE,
    title="receipt",
    parse=Receipt.parse,
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.destination,
)
"""The receipt, as the trust rules and the handlers of messages know it."""
