"""The package definition: names one version of a package and its content by the digest of its listing.

It travels over the network channel; the content it names travels by courier. The two must agree.
"""

from __future__ import annotations

from dataclasses import dataclass

from formats.documents.kind import DocumentKind
from formats.documents.listing import ListingSummary
from formats.names import MAX_VERSION, check_package, check_site
from formats.records import encode, format_time, open_document

NAME = "package"
TYPE = f"application/vnd.courier.{NAME}+json"
MAX_NAME = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageDefinition:
    """One version of a package.

    ``site`` signs the definition: it is the site that vouches for it (the source site, or one that passes it on).
    ``created_ns`` is when this version was added at its source site, ``issued_ns`` when ``site`` signed this (UTC):
    a site may vouch for a version that is older than its key.
    """

    package: str
    version: int
    name: str
    site: str
    created_ns: int
    issued_ns: int
    listing: ListingSummary

    def payload(self) -> bytes:
        """The canonical bytes that are signed."""
        return encode(
            {
                "format": f"courier-{NAME}/1",
                "package": self.package,
                "version": self.version,
                "name": self.name,
                "from": self.site,
                "created": format_time(self.created_ns),
                "issued": format_time(self.issued_ns),
                "listing": self.listing.record(),
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> PackageDefinition:
        """From canonical bytes; raises `MalformedError` or `UnknownFormatError`."""
        fields = open_document(payload, name=NAME)
        return cls(
            package=check_package(fields.text("package"), place="package"),
            version=fields.integer("version", minimum=1, maximum=MAX_VERSION),
            name=fields.text("name", longest=MAX_NAME),
            site=check_site(fields.text("from"), place="from"),
            created_ns=fields.time("created"),
            issued_ns=fields.time("issued"),
            listing=ListingSummary.parse(fields.object("listing")),
        )


KIND = DocumentKind(
    type=TYPE,
    title="package definition",
    parse=PackageDefinition.parse,
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.site,
)
"""The package definition, as the trust rules and the handlers of messages know it."""
