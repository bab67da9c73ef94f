"""The retirement of a package version: its source site says that it is not to be used or sent any more."""

from __future__ import annotations

from dataclasses import dataclass

from formats.documents.fields import Issued, Package, Reason, Sender, Version
from formats.documents.kind import DocumentKind
from formats.errors import MalformedError
from formats.records import Document


@dataclass(frozen=True, kw_only=True, slots=True)
class Retirement(Document):
    """``package`` ``version`` is retired by ``site``, its source, as of ``issued_ns`` (UTC)."""

    NAME = "retirement"

    package: Package
    version: Version
    site: Sender
    issued_ns: Issued
    reason: Reason

    def check(self) -> None:
        """Raise `MalformedError` for a package of another site."""
        if not self.package.startswith(self.site):
            raise MalformedError("only its source site retires a package", place="from")


KIND = DocumentKind(
    document=Retirement,
    title="retirement",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.site,
)
"""The retirement, as the trust rules and the handlers of messages know it."""
TYPE = KIND.type
