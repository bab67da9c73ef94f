"""The site card: a site's code, name, keys and recipient, signed by itself; pinning it is what trust rests on.

A newer card of the same site has a higher ``serial`` and is signed by a key of the card before it as well as by its
own (rotation), so that trust moves from card to card without another phone call.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from formats.documents.kind import DocumentKind
from formats.envelope import PublicKey, load_public_key, parse_base64
from formats.errors import MalformedError
from formats.names import check_site
from formats.records import Fields, encode, format_time, open_document

NAME = "site-card"
TYPE = f"application/vnd.courier.{NAME}+json"
MAX_KEYS = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteKey:
    """A signing key and when signatures made by it count: from ``valid_from_ns`` until ``valid_until_ns`` (UTC).

    ``revoked_ns``: the key was lost, or is in other hands, since then (UTC); None while it is the site's alone. Whoever
    has such a key may write any date, so a date before counts only together with other evidence (`courier.site.trust`).
    """

    key: PublicKey
    valid_from_ns: int
    valid_until_ns: int
    revoked_ns: int | None = None

    def record(self) -> dict[str, object]:
        """As a JSON object."""
        record: dict[str, object] = {
            "public": base64.b64encode(self.key.der).decode(),
            "from": format_time(self.valid_from_ns),
            "until": format_time(self.valid_until_ns),
        }
        if self.revoked_ns is not None:
            record["revoked"] = format_time(self.revoked_ns)
        return record

    @classmethod
    def parse(cls, fields: Fields) -> SiteKey:
        """From a JSON object; raises `MalformedError`."""
        der = parse_base64(fields, "public", 1000)
        start, end = fields.time("from"), fields.time("until")
        if end <= start:
            raise MalformedError("ends before it begins", place=fields.at("until"))
        return cls(
            key=load_public_key(der, place=fields.at("public")),
            valid_from_ns=start,
            valid_until_ns=end,
            revoked_ns=fields.time("revoked") if fields.has("revoked") else None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteCard:
    """What a site says of itself.

    ``keys``: those that sign now or have signed what may still be under way; the first is the current one, which is
    not revoked.
    ``recipient``: age recipient (``age1...``) that content for this site is encrypted to, or None.
    ``serial`` grows by one with every card of the site.
    """

    site: str
    name: str
    serial: int
    issued_ns: int
    keys: tuple[SiteKey, ...]
    recipient: str | None

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the current key, for reading over the phone."""
        return self.keys[0].key.fingerprint

    def payload(self) -> bytes:
        """The canonical bytes that are signed."""
        record: dict[str, object] = {
            "format": f"courier-{NAME}/1",
            "site": self.site,
            "name": self.name,
            "serial": self.serial,
            "issued": format_time(self.issued_ns),
            "keys": [key.record() for key in self.keys],
        }
        if self.recipient is not None:
            record["recipient"] = self.recipient
        return encode(record)

    @classmethod
    def parse(cls, payload: bytes) -> SiteCard:
        """From canonical bytes; raises `MalformedError` or `UnknownFormatError`."""
        fields = open_document(payload, name=NAME)
        keys = tuple(SiteKey.parse(item) for item in fields.objects("keys")[: MAX_KEYS + 1])
        if not 1 <= len(keys) <= MAX_KEYS:
            raise MalformedError(f"a card has 1 to {MAX_KEYS} keys", place="keys")
        if len({key.key.keyid for key in keys}) != len(keys):
            raise MalformedError("a key stands twice", place="keys")
        if keys[0].revoked_ns is not None:
            raise MalformedError("the current key is revoked", place="keys[0].revoked")
        recipient = fields.text("recipient", pattern="age1[02-9ac-hj-np-z]{58}") if fields.has("recipient") else None
        return cls(
            site=check_site(fields.text("site"), place="site"),
            name=fields.text("name", longest=1000),
            serial=fields.integer("serial", minimum=1),
            issued_ns=fields.time("issued"),
            keys=keys,
            recipient=recipient,
        )


KIND = DocumentKind(
    type=TYPE,
    title="site card",
    parse=SiteCard.parse,
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.site,
)
"""The site card, as the trust rules and the handlers of messages know it."""
