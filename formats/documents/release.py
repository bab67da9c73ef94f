"""The key release: the key of a parcel, handed over when its arrival was reported; and what a sealed key holds.

A parcel's key is an age identity that stands on no medium. It travels inside an age file, sealed to the destinations,
in the ship notice or in this document; in it is a small JSON object that binds the key to its parcel and build.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from formats.documents.kind import DocumentKind
from formats.documents.packing import parse_destinations
from formats.envelope import parse_base64
from formats.errors import MalformedError
from formats.names import check_parcel, check_site
from formats.records import Fields, encode, format_time, open_document

NAME = "key-release"
TYPE = f"application/vnd.courier.{NAME}+json"
KEY = "parcel-key"
MAX_ENCRYPTED_KEY = 1 << 20
"""Base64 characters of the largest sealed key that is taken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParcelKey:
    """What a sealed key holds: ``identity`` is the age identity (``AGE-SECRET-KEY-1...``) that opens the parcel."""

    parcel: str
    build: str
    identity: str

    def __repr__(self) -> str:
        return f"ParcelKey({self.parcel})"

    def payload(self) -> bytes:
        """The canonical bytes that are sealed."""
        return encode(
            {"format": f"courier-{KEY}/1", "parcel": self.parcel, "build": self.build, "identity": self.identity}
        )

    @classmethod
    def parse(cls, payload: bytes) -> ParcelKey:
        """From canonical bytes; raises `MalformedError` (without repeating the key) or `UnknownFormatError`."""
        fields = open_document(payload, name=KEY)
        identity = fields.text("identity", longest=200)
        if not identity.startswith("AGE-SECRET-KEY-1"):
            raise MalformedError("not an age identity", place="identity")
        return cls(parcel=check_parcel(fields.text("parcel")), build=fields.digest("build"), identity=identity)


def encrypted_key_field(encrypted: bytes) -> str:
    """A sealed key as documents carry it: base64."""
    return base64.b64encode(encrypted).decode()


def parse_encrypted_key(fields: Fields, name: str = "key") -> bytes:
    """The sealed key in a field; raises `MalformedError`."""
    return parse_base64(fields, name, MAX_ENCRYPTED_KEY)


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyRelease:
    """The key of ``parcel``, for ``destination``; ``key`` is an age file sealed to it. ``issued_ns``: when (UTC)."""

    parcel: str
    source: str
    destination: str
    build: str
    issued_ns: int
    key: bytes

    def payload(self) -> bytes:
        """The canonical bytes that are signed."""
        return encode(
            {
                "format": f"courier-{NAME}/1",
                "parcel": self.parcel,
                "from": self.source,
                "to": [self.destination],
                "build": self.build,
                "issued": format_time(self.issued_ns),
                "key": encrypted_key_field(self.key),
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> KeyRelease:
        """From canonical bytes; raises `MalformedError` or `UnknownFormatError`."""
        fields = open_document(payload, name=NAME)
        to = parse_destinations(fields)
        if len(to) != 1:
            raise MalformedError("a key is released to one site at a time", place="to")
        source = check_site(fields.text("from"), place="from")
        return cls(
            parcel=check_parcel(fields.text("parcel"), source=source, place="parcel"),
            source=source,
            destination=to[0],
            build=fields.digest("build"),
            issued_ns=fields.time("issued"),
            key=parse_encrypted_key(fields),
        )


KIND = DocumentKind(
    type=TYPE,
    title="key release",
    parse=KeyRelease.parse,
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.source,
)
"""The key release, as the trust rules and the handlers of messages know it."""
