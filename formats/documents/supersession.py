"""The supersession: a parcel's sender says that a later parcel replaces it; what is on the road of it is not wanted."""

from __future__ import annotations

from dataclasses import dataclass

from formats.documents.kind import DocumentKind
from formats.documents.packing import parse_destinations
from formats.errors import MalformedError
from formats.names import check_parcel, check_site
from formats.records import encode, format_time, open_document

NAME = "supersession"
TYPE = f"application/vnd.courier.{NAME}+json"
MAX_REASON = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Supersession:
    """``parcel`` (its ``build``) is replaced by parcel ``by``; said by their sender at ``issued_ns`` (UTC)."""

    parcel: str
    build: str
    by: str
    source: str
    destinations: tuple[str, ...]
    issued_ns: int
    reason: str = ""

    def payload(self) -> bytes:
        """The canonical bytes that are signed."""
        return encode(
            {
                "format": f"courier-{NAME}/1",
                "parcel": self.parcel,
                "build": self.build,
                "superseded_by": self.by,
                "from": self.source,
                "to": list(self.destinations),
                "issued": format_time(self.issued_ns),
                "reason": self.reason,
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> Supersession:
        """From canonical bytes; raises `MalformedError` or `UnknownFormatError`."""
        fields = open_document(payload, name=NAME)
        source = check_site(fields.text("from"), place="from")
        parcel = check_parcel(fields.text("parcel"), source=source, place="parcel")
        by = check_parcel(fields.text("superseded_by"), source=source, place="superseded_by")
        if by == parcel:
            raise MalformedError("a parcel does not replace itself", place="superseded_by")
        return cls(
            parcel=parcel,
            build=fields.digest("build"),
            by=by,
            source=source,
            destinations=parse_destinations(fields),
            issued_ns=fields.time("issued"),
            reason=fields.text("reason", longest=MAX_REASON),
        )


KIND = DocumentKind(
    type=TYPE,
    title="supersession",
    parse=Supersession.parse,
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.source,
)
"""The supersession, as the trust rules and the handlers of messages know it."""
