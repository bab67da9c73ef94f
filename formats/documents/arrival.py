"""The arrival report: the receiver's word on which volumes of a parcel it has, and the seals a person read on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from formats.documents.kind import DocumentKind
from formats.documents.packing import parse_destinations
from formats.errors import MalformedError
from formats.names import check_parcel, check_site
from formats.records import encode, format_time, open_document

NAME = "arrival"
TYPE = f"application/vnd.courier.{NAME}+json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """Volumes that arrived at ``destination``.

    ``volumes`` maps a volume number to the serial number read on its seal, empty where there was none.
    ``packing_list`` is the SHA-256 of the packing list's payload. ``issued_ns``: when it was reported (UTC).
    """

    parcel: str
    source: str
    destination: str
    build: str
    packing_list: str
    issued_ns: int
    volumes: Mapping[int, str]

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
                "volumes": [{"number": number, "seal": self.volumes[number]} for number in sorted(self.volumes)],
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> Arrival:
        """From canonical bytes; raises `MalformedError` or `UnknownFormatError`."""
        fields = open_document(payload, name=NAME)
        to = parse_destinations(fields)
        if len(to) != 1:
            raise MalformedError("an arrival is reported to the parcel's sender alone", place="to")
        listed = [
            (item.integer("number", minimum=1), item.text("seal", longest=200)) for item in fields.objects("volumes")
        ]
        volumes = dict(listed)
        if list(volumes) != sorted(volumes) or len(volumes) != len(listed):
            raise MalformedError("each volume once, in order", place="volumes")
        return cls(
            parcel=check_parcel(fields.text("parcel"), source=to[0], place="parcel"),
            source=to[0],
            destination=check_site(fields.text("from"), place="from"),
            build=fields.digest("build"),
            packing_list=fields.digest("packing_list"),
            issued_ns=fields.time("issued"),
            volumes=volumes,
        )


KIND = DocumentKind(
    type=TYPE,
    title="arrival report",
    parse=Arrival.parse,
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.destination,
)
"""The arrival report, as the trust rules and the handlers of messages know it."""
