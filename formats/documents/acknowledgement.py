"""The acknowledgement: a site's signed word to another that it has accepted or refused messages, named by digest.

Only an acknowledgement tells a sender that it may stop handing a message over: a transport can lose a message that it
accepted. An acknowledgement is not acknowledged itself; when it is lost, the message comes again and is answered again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from formats.documents.fields import Issued, Receiver, Sender
from formats.documents.kind import DocumentKind
from formats.records import Digest, Document, Record, items, text

MAX_ITEMS = 1000
MAX_REASON = 500
"""Characters of the longest reason, refused or waiting."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AcknowledgedMessage(Record):
    """One message, by the SHA-256 of its bytes; ``refused`` says why it was not acted on, empty when it was accepted.

    ``waits`` is set where the message was accepted but what it asks for waits for a person, and says what to decide.
    """

    message: Digest
    refused: Annotated[str, text(MAX_REASON)]
    waits: Annotated[str, text(MAX_REASON)] = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Acknowledgement(Document):
    """What ``site`` did with messages that ``to`` sent it, as of ``issued_ns`` (UTC)."""

    NAME = "acknowledgement"

    site: Sender
    to: Receiver
    issued_ns: Issued
    messages: Annotated[tuple[AcknowledgedMessage, ...], items(1, MAX_ITEMS)]


KIND = DocumentKind(
    document=Acknowledgement,
    title="acknowledgement",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.site,
)
"""The acknowledgement, as the trust rules and the handlers of messages know it."""
TYPE = KIND.type
