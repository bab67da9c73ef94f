"""The recall: the sender takes a parcel back; a receiver that has not imported it never will."""

from __future__ import annotations

from dataclasses import dataclass

from formats.documents.fields import Issued, ParcelDocument, Reason, Receivers
from formats.documents.kind import DocumentKind
from formats.records import Digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Recall(ParcelDocument):
    """Parcel ``parcel`` of ``source``, sent as ``build``, is taken back at ``issued_ns`` (UTC)."""

    NAME = "recall"

    destinations: Receivers
    build: Digest
    issued_ns: Issued
    reason: Reason


KIND = DocumentKind(
    document=Recall,
    title="recall",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.source,
)
"""The recall, as the trust rules and the handlers of messages know it."""
TYPE = KIND.type
