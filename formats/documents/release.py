"""The key release: the key of a parcel, handed over when its arrival was reported; and what an encrypted key holds.

A parcel's key is an age identity that is on no medium. It travels inside an age file, encrypted to the destinations, in
the ship notice or in this document. That file holds a small JSON object which binds the key to its parcel and build.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from formats.documents.fields import EncryptedKey, Issued, Parcel, ParcelDocument, Receiver
from formats.documents.kind import DocumentKind
from formats.errors import MalformedError
from formats.records import Digest, Document, text


@dataclass(frozen=True, kw_only=True, slots=True)
class ParcelKey(Document):
    """What an encrypted key holds: ``identity`` is the age identity (``AGE-SECRET-KEY-1...``) that opens the parcel."""

    NAME = "parcel-key"

    parcel: Parcel
    build: Digest
    identity: Annotated[str, text(200)]

    def __repr__(self) -> str:
        return f"ParcelKey({self.parcel})"

    def check(self) -> None:
        """Raise `MalformedError`, without repeating the key, where it is no age identity."""
        if not self.identity.startswith("AGE-SECRET-KEY-1"):
            raise MalformedError("not an age identity", place="identity")


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyRelease(ParcelDocument):
    """The key of ``parcel`` for ``destination``, released at ``issued_ns`` (UTC).

    ``key`` is an age file encrypted to the destination.
    """

    NAME = "key-release"

    destination: Receiver
    build: Digest
    issued_ns: Issued
    key: EncryptedKey


KIND = DocumentKind(
    document=KeyRelease,
    title="key release",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.source,
)
"""The key release, as the trust rules and the handlers of messages know it."""
TYPE = KIND.type
