"""The retirement of a package version: its source site says that it is not to be used or sent any more."""

from __future__ import annotations

from dataclasses import dataclass

from formats.documents.kind import DocumentKind
from formats.errors import MalformedError
from formats.names import MAX_VERSION, check_package, check_site
from formats.records import encode, format_time, open_document

NAME = "retirement"
TYPE = f"application/vnd.courier.{NAME}+json"
MAX_REASON = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Retirement:
    """``package`` ``version`` is retired by ``site``, its source, as of ``issued_ns`` (UTC)."""

    package: str
    version: int
    site: str
    issued_ns: int
    reason: str

    def payload(self) -> bytes:
        """The canonical bytes that are signed."""
        return encode(
            {
                "format": f"courier-{NAME}/1",
                "package": self.package,
                "version": self.version,
                "from": self.site,
                "issued": format_time(self.issued_ns),
                "reason": self.reason,
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> Retirement:
        """From canonical bytes; raises `MalformedError` or `UnknownFormatError`."""
        fields = open_document(payload, name=NAME)
        package = check_package(fields.text("package"), place="package")
        site = check_site(fields.text("from"), place="from")
        if not package.startswith(site):
            raise MalformedError("only its source site retires a package", place="from")
        return cls(
            package=package,
            version=fields.integer("version", minimum=1, maximum=MAX_VERSION),
            site=site,
            issued_ns=fields.time("issued"),
            reason=fields.text("reason", longest=MAX_REASON),
        )


KIND = DocumentKind(
    type=TYPE,
    title="retirement",
    parse=Retirement.parse,
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.site,
)
"""The retirement, as the trust rules and the handlers of messages know it."""
