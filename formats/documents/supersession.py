"""The supersession: a parcel's sender says that a later parcel replaces it, so the earlier one is not wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from formats.documents.fields import Issued, Parcel, ParcelDocument, Reason, Receivers
from formats.documents.kind import DocumentKind
from formats.errors import MalformedError
from formats.names import check_parcel
from formats.records import Digest, Key


@dataclass(frozen=True, kw_only=True, slots=True)
class Supersession(ParcelDocument):
    """``parcel`` (its ``build``) is replaced by parcel ``by``; their sender says so at ``issued_ns`` (UTC)."""

    NAME = "supersession"

    build: Digest
    by: Annotated[Parcel, Key("superseded_by")]
    destinations: Receivers
    issued_ns: Issued
    reason: Reason = ""

    def check(self) -> None:
        """Raise `MalformedError` unless ``by`` is another parcel of the same sender."""
        check_parcel(self.by, source=self.source, place="superseded_by")
        if self.by == self.parcel:
            raise MalformedError("a parcel does not replace itself", place="superseded_by")


KIND = DocumentKind(
    document=Supersession,
    title="supersession",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.source,
)
"""The supersession, as the trust rules and the handlers of messages know it."""
TYPE = KIND.type
