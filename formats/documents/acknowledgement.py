"""The acknowledgement: a site's signed word to another that it has taken in (or refused) messages, named by digest.

It is what lets a sender stop handing a message over: a transport may lose a message that it took, and nothing else
tells. An acknowledgement is not acknowledged itself; when it is lost, the message comes again and so does its answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from formats.documents.kind import DocumentKind
from formats.documents.packing import parse_destinations
from formats.errors import MalformedError
from formats.names import check_site
from formats.records import Fields, encode, format_time, open_document

NAME = "acknowledgement"
TYPE = f"application/vnd.courier.{NAME}+json"
MAX_ITEMS = 1000
MAX_REASON = 500
"""Characters of the longest reason, refused or waiting."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AcknowledgedMessage:
    """One message, by the SHA-256 of its bytes; ``refused`` says why it was not acted on, empty when it was taken.

    ``waits``: it was taken, and what it asks for waits for a person there, who has this to decide.
    """

    message: str
    refused: str
    waits: str = ""

    def record(self) -> dict[str, object]:
        """As a JSON object."""
        return {"message": self.message, "refused": self.refused, "waits": self.waits}

    @classmethod
    def parse(cls, fields: Fields) -> AcknowledgedMessage:
        """From a JSON object; raises `MalformedError`."""
        return cls(
            message=fields.digest("message"),
            refused=fields.text("refused", longest=MAX_REASON),
            waits=fields.text("waits", longest=MAX_REASON),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Acknowledgement:
    """What ``site`` did with messages that ``to`` sent it, as of ``issued_ns`` (UTC)."""

    site: str
    to: str
    issued_ns: int
    messages: tuple[AcknowledgedMessage, ...]

    def payload(self) -> bytes:
        """The canonical bytes that are signed."""
        return encode(
            {
                "format": f"courier-{NAME}/1",
                "from": self.site,
                "to": [self.to],
                "issued": format_time(self.issued_ns),
                "messages": [item.record() for item in self.messages],
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> Acknowledgement:
        """From canonical bytes; raises `MalformedError` or `UnknownFormatError`."""
        fields = open_document(payload, name=NAME)
        to = parse_destinations(fields)
        if len(to) != 1:
            raise MalformedError("an acknowledgement goes to one site", place="to")
        items = fields.objects("messages")
        if not 1 <= len(items) <= MAX_ITEMS:
            raise MalformedError(f"an acknowledgement names 1 to {MAX_ITEMS} messages", place="messages")
        return cls(
            site=check_site(fields.text("from"), place="from"),
            to=to[0],
            issued_ns=fields.time("issued"),
            messages=tuple(AcknowledgedMessage.parse(item) for item in items),
        )


KIND = DocumentKind(
    type=TYPE,
    title="acknowledgement",
    parse=Acknowledgement.parse,
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.site,
)
"""The acknowledgement, as the trust rules and the handlers of messages know it."""
