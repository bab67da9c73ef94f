"""The volume label: which volume of which parcel this medium is, signed, and bound to one packing list."""

from __future__ import annotations

from dataclasses import dataclass

from formats.documents.kind import DocumentKind
from formats.errors import MalformedError
from formats.names import check_parcel, check_path, check_site, volume_name
from formats.records import encode, format_time, open_document

NAME = "volume-label"
TYPE = f"application/vnd.courier.{NAME}+json"


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeLabel:
    """Volume ``number`` of ``of`` of a parcel; ``packing_list`` is the SHA-256 of the packing list's payload.

    ``issued_ns`` (UTC) is when the layout was made, so that a volume issued again is the same to the byte. ``tags``
    are (path, SHA-256) of the other files beside the payload that a person or a stock tool may read or run, so that
    an altered restore script is found.
    """

    parcel: str
    source: str
    number: int
    of: int
    packing_list: str
    issued_ns: int
    tags: tuple[tuple[str, str], ...]

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
                "tags": [{"path": path, "sha256": sha256} for path, sha256 in self.tags],
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> VolumeLabel:
        """From canonical bytes; raises `MalformedError` or `UnknownFormatError`."""
        fields = open_document(payload, name=NAME)
        source = check_site(fields.text("from"), place="from")
        label = cls(
            parcel=check_parcel(fields.text("parcel"), source=source, place="parcel"),
            source=source,
            number=fields.integer("number", minimum=1),
            of=fields.integer("of", minimum=1),
            packing_list=fields.digest("packing_list"),
            issued_ns=fields.time("issued"),
            tags=tuple(
                (check_path(item.text("path"), place=item.at("path")), item.digest("sha256"))
                for item in fields.objects("tags")
            ),
        )
        if label.number > label.of:
            raise MalformedError(f"volume {label.number} of {label.of}", place="number")
        if len(dict(label.tags)) != len(label.tags):
            raise MalformedError("a path stands twice", place="tags")
        return label


KIND = DocumentKind(
    type=TYPE,
    title="volume label",
    parse=VolumeLabel.parse,
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.source,
)
"""The volume label, as the trust rules and the handlers of messages know it."""
