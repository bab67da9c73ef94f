"""The ship notice: the network message that announces a parcel and names its packing list by digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from formats.documents.kind import DocumentKind
from formats.documents.packing import Priority, parse_destinations, parse_priority
from formats.documents.release import encrypted_key_field, parse_encrypted_key
from formats.errors import MalformedError
from formats.names import MAX_VERSION, check_package, check_parcel, check_site
from formats.records import Fields, encode, format_time, open_document

NAME = "ship-notice"
TYPE = f"application/vnd.courier.{NAME}+json"


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageRef:
    """A package version and the SHA-256 of its listing."""

    package: str
    version: int
    listing: str

    def record(self) -> dict[str, object]:
        """As a JSON object."""
        return {"package": self.package, "version": self.version, "listing": self.listing}

    @classmethod
    def parse(cls, fields: Fields) -> PackageRef:
        """From a JSON object; raises `MalformedError`."""
        return cls(
            package=check_package(fields.text("package"), place=fields.at("package")),
            version=fields.integer("version", minimum=1, maximum=MAX_VERSION),
            listing=fields.digest("listing"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ShipNotice:
    """Announces a parcel to its destinations.

    ``packing_list`` is the SHA-256 of the packing list's payload, ``build`` the build it lays out. ``seals`` maps a
    volume number to the serial number of the seal on it. ``issued_ns``: when it was marked sent (UTC). ``key``: the
    parcel's key, an age file sealed to the destinations, where it travels with the notice; else empty.
    """

    parcel: str
    source: str
    destinations: tuple[str, ...]
    issued_ns: int
    packing_list: str
    build: str
    volumes: int
    priority: Priority
    packages: tuple[PackageRef, ...]
    carrier: str = ""
    tracking: str = ""
    seals: Mapping[int, str] = field(default_factory=dict)
    key: bytes = b""

    def payload(self) -> bytes:
        """The canonical bytes that are signed."""
        record: dict[str, object] = {
            "format": f"courier-{NAME}/1",
            "parcel": self.parcel,
            "from": self.source,
            "to": list(self.destinations),
            "issued": format_time(self.issued_ns),
            "packing_list": self.packing_list,
            "build": self.build,
            "volumes": self.volumes,
            "priority": self.priority,
            "packages": [item.record() for item in self.packages],
            "carrier": self.carrier,
            "tracking": self.tracking,
            "seals": [{"volume": number, "serial": self.seals[number]} for number in sorted(self.seals)],
        }
        if self.key:
            record["key"] = encrypted_key_field(self.key)
        return encode(record)

    @classmethod
    def parse(cls, payload: bytes) -> ShipNotice:
        """From canonical bytes; raises `MalformedError` or `UnknownFormatError`."""
        fields = open_document(payload, name=NAME)
        volumes = fields.integer("volumes", minimum=1)
        seals = {
            item.integer("volume", minimum=1, maximum=volumes): item.text("serial", longest=200)
            for item in fields.objects("seals")
        }
        if list(seals) != sorted(seals) or len(seals) != len(fields.objects("seals")):
            raise MalformedError("each volume once, in order", place="seals")
        source = check_site(fields.text("from"), place="from")
        return cls(
            parcel=check_parcel(fields.text("parcel"), source=source, place="parcel"),
            source=source,
            destinations=parse_destinations(fields),
            issued_ns=fields.time("issued"),
            packing_list=fields.digest("packing_list"),
            build=fields.digest("build"),
            volumes=volumes,
            priority=parse_priority(fields),
            packages=tuple(PackageRef.parse(item) for item in fields.objects("packages")),
            carrier=fields.text("carrier", longest=1000),
            tracking=fields.text("tracking", longest=1000),
            seals=seals,
            key=parse_encrypted_key(fields) if fields.has("key") else b"",
        )


KIND = DocumentKind(
    type=TYPE,
    title="ship notice",
    parse=ShipNotice.parse,
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.source,
)
"""The ship notice, as the trust rules and the handlers of messages know it."""
