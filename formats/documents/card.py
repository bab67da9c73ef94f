"""The site card: a site's code, name, keys and recipient, signed by itself. Trust in a site begins with pinning it.

A newer card of the same site has a higher ``serial``. It is signed by a key of the card before it as well as by its own
(rotation), so trust moves from card to card without another phone call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from formats.documents.fields import Issued, Site
from formats.documents.kind import DocumentKind
from formats.envelope import PublicKey, load_public_key
from formats.errors import MalformedError
from formats.records import OPTIONAL, Document, Form, Key, Number, Record, Time, base64_text, items, matching, text

MAX_KEYS = 32


def _load_key(der: bytes) -> PublicKey:
    return load_public_key(der, place="")


_CarriedKey = Form(carried=Annotated[bytes, base64_text(1000)], load=_load_key, dump=lambda key: key.der)


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteKey(Record):
    """A signing key; signatures made by it count from ``valid_from_ns`` until ``valid_until_ns`` (UTC).

    ``revoked_ns`` is when the key was lost or came into other hands (UTC), None while it is the site's alone. Whoever
    has such a key may write any date, so an earlier date counts only together with other evidence
    (`courier.site.trust`).
    """

    key: Annotated[PublicKey, Key("public"), _CarriedKey]
    valid_from_ns: Annotated[Time, Key("from")]
    valid_until_ns: Annotated[Time, Key("until")]
    revoked_ns: Annotated[Time | None, Key("revoked"), OPTIONAL] = None

    def check(self) -> None:
        """Raise `MalformedError` for a key that is never valid."""
        if self.valid_until_ns <= self.valid_from_ns:
            raise MalformedError("ends before it begins", place="until")


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteCard(Document):
    """What a site says of itself.

    ``keys`` are those that sign now, or have signed what may still be under way; the first is the current one, which is
    not revoked. ``recipient`` is the age recipient (``age1...``) that content for this site is encrypted to, or None.
    ``serial`` grows by one with every card of the site.
    """

    NAME = "site-card"

    site: Site
    name: Annotated[str, text(1000)]
    serial: Number
    issued_ns: Issued
    keys: Annotated[tuple[SiteKey, ...], items(1, MAX_KEYS)]
    recipient: Annotated[str | None, matching("age1[02-9ac-hj-np-z]{58}"), OPTIONAL] = None

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the current key, for reading over the phone."""
        return self.keys[0].key.fingerprint

    def check(self) -> None:
        """Raise `MalformedError` for a key listed twice, or a current key that is revoked."""
        if len({key.key.keyid for key in self.keys}) != len(self.keys):
            raise MalformedError("a key is listed twice", place="keys")
        if self.keys[0].revoked_ns is not None:
            raise MalformedError("the current key is revoked", place="keys[0].revoked")


KIND = DocumentKind(
    document=SiteCard,
    title="site card",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.site,
)
"""The site card, as the trust rules and the handlers of messages know it."""
TYPE = KIND.type
