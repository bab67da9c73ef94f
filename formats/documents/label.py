"""The volume label: which volume of which parcel this medium is, signed, and bound to one packing list."""

from __future__ import annotations

from dataclasses import dataclass

from formats.errors import Malformed
from formats.names import check_parcel, check_site, volume_name
from formats.records import encode, format_time, open_document

NAME = "volume-label"
TYPE = f"application/vnd.courier.{NAME}+json"


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeLabel:
    """Volume ``number`` of ``of`` of a parcel; ``packing_list`` is the SHA-256 of the packing list's payload.

    ``issued_ns`` (UTC) is when the layout was made, so that a volume issued again is the same to the byte.
    """

    parcel: str
    source: str
    number: int
    of: int
    packing_list: str
    issued_ns: int

    @property
    def label(self) -> str:
        """The label in ISO 9660 d-characters: ``HQ1_000042_V003``."""
        return volume_name(self.parcel, self.number)

    def payload(self) -> bytes:
        """The canonical bytes that are signed."""
        return encode(
            {
                "format": f"courier-{NAME}/1",
                "parcel": self.parcel,
                "from": self.source,
                "number": self.number,
                "of": self.of,
                "packing_list": self.packing_list,
                "issued": format_time(self.issued_ns),
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> VolumeLabel:
        """From canonical bytes; raises `Malformed` or `UnknownFormat`."""
        fields = open_document(payload, name=NAME)
        label = cls(
            parcel=check_parcel(fields.text("parcel"), place="parcel"),
            source=check_site(fields.text("from"), place="from"),
            number=fields.integer("number", minimum=1),
            of=fields.integer("of", minimum=1),
            packing_list=fields.digest("packing_list"),
            issued_ns=fields.time("issued"),
        )
        if label.number > label.of:
            raise Malformed(f"volume {label.number} of {label.of}", place="number")
        return label
