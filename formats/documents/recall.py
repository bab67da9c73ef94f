"""The recall: the sender takes a parcel back; a receiver that has not imported it never will."""

from __future__ import annotations

from dataclasses import dataclass

from formats.documents.kind import DocumentKind
from formats.documents.packing import parse_destinations
from formats.names import check_parcel, check_site
from formats.records import encode, format_time, open_document

NAME = "recall"
TYPE = f"application/vnd.courier.{NAME}+json"
MAX_REASON = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Recall:
    """Parcel ``parcel`` of ``source``, sent as ``build``, is taken back. ``issued_ns``: when (UTC)."""

    parcel: str
    source: str
    destinations: tuple[str, ...]
    build: str
    issued_ns: int
    reason: str

    def payload(self) -> bytes:
        """The canonical bytes that are signed."""
        return encode(
            {
                "format": f"courier-{NAME}/1",
                "parcel": self.parcel,
                "from": self.source,
                "to": list(self.destinations),
                "build": self.build,
                "issued": format_time(self.issued_ns),
                "reason": self.reason,
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> Recall:
        """From canonical bytes; raises `MalformedError` or `UnknownFormatError`."""
        fields = open_document(payload, name=NAME)
        source = check_site(fields.text("from"), place="from")
        return cls(
            parcel=check_parcel(fields.text("parcel"), source=source, place="parcel"),
            source=source,
            destinations=parse_destinations(fields),
            build=fields.digest("build"),
            issued_ns=fields.time("issued"),
            reason=fields.text("reason", longest=MAX_REASON),
        )


KIND = DocumentKind(
    type=TYPE,
    title="recall",
    parse=Recall.parse,
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.source,
)
"""The recall, as the trust rules and the handlers of messages know it."""
