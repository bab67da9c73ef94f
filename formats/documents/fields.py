"""Fields that many documents have: sites, parcels, packages, who a document is from and for, and when it was issued."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from formats.errors import MalformedError
from formats.names import MAX_VERSION, check_package, check_parcel, check_path, check_site
from formats.records import OPTIONAL, Check, Digest, Document, Form, Key, Record, Text, Time, base64_text, integer, text

MAX_REASON = 1000
"""Characters of the longest reason that a person gives."""
MAX_SEAL = 200
"""Characters of the longest serial number of a tamper seal."""
MAX_ENCRYPTED_KEY = 1 << 20
"""Base64 characters of the largest encrypted parcel key that is accepted."""

Site = Annotated[Text, Check(check_site)]
Parcel = Annotated[Text, Check(check_parcel)]
Package = Annotated[Text, Check(check_package)]
Path = Annotated[Text, Check(check_path)]
Version = Annotated[int, integer(1, MAX_VERSION)]
Reason = Annotated[str, text(MAX_REASON)]
SealSerial = Annotated[str, text(MAX_SEAL)]
EncryptedKey = Annotated[bytes, base64_text(MAX_ENCRYPTED_KEY)]
Issued = Annotated[Time, Key("issued")]


def _different(sites: tuple[str, ...]) -> tuple[str, ...]:
    if not sites or len(set(sites)) != len(sites):
        raise MalformedError("one or more different sites")
    return sites


def _only(sites: tuple[str, ...]) -> str:
    if len(_different(sites)) != 1:
        raise MalformedError("this document is for one site")
    return sites[0]


Sender = Annotated[Site, Key("from")]
"""The site that signs the document."""
Receivers = Annotated[tuple[str, ...], Key("to"), Form(carried=tuple[Site, ...], load=_different, dump=list)]
"""The sites that the document is for, one or more."""
Receiver = Annotated[str, Key("to"), Form(carried=tuple[Site, ...], load=_only, dump=lambda site: [site])]
"""The one site that the document is for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParcelDocument(Document):
    """A document about a parcel: ``source`` is the site that made the parcel.

    Else a trusted site could speak about another's parcels.
    """

    parcel: Parcel
    source: Sender

    def check(self) -> None:
        """Raise `MalformedError` for a parcel that is not of its source."""
        check_parcel(self.parcel, source=self.source, place="parcel")


@dataclass(frozen=True, kw_only=True, slots=True)
class Heading(Record):
    """What any document may say of itself, for who has to know before it is parsed; None where it does not say."""

    site: Annotated[Site | None, OPTIONAL] = None
    sender: Annotated[Site | None, Key("from"), OPTIONAL] = None
    receivers: Annotated[tuple[Text, ...] | None, Key("to"), OPTIONAL] = None
    parcel: Annotated[Text | None, OPTIONAL] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageRef(Record):
    """A package version and the SHA-256 of its listing."""

    package: Package
    version: Version
    listing: Digest
