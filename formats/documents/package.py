"""The package definition: names one version of a package and its content by the digest of its listing.

It travels over the network channel; the content it names travels by courier. The two must agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from formats.documents.fields import Issued, Package, Sender, Version
from formats.documents.kind import DocumentKind
from formats.documents.listing import ListingSummary
from formats.records import Document, Key, Time, text

MAX_NAME = 1000
"""Characters of the longest name of a package."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageDefinition(Document):
    """One version of a package.

    ``site`` signs the definition: it is the site that vouches for it (the source site, or one that passes it on).
    ``created_ns`` is when this version was added at its source site, ``issued_ns`` when ``site`` signed this (UTC):
    a site may vouch for a version that is older than its key.
    """

    NAME = "package"

    package: Package
    version: Version
    name: Annotated[str, text(MAX_NAME)]
    site: Sender
    created_ns: Annotated[Time, Key("created")]
    issued_ns: Issued
    listing: ListingSummary


KIND = DocumentKind(
    document=PackageDefinition,
    title="package definition",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.site,
)
"""The package definition, as the trust rules and the handlers of messages know it."""
TYPE = KIND.type
