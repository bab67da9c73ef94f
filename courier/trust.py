"""Trust: who may sign what for whom, in one pure class that takes bytes and ``now``.

Rules: only sites whose card is pinned; a signature counts when the key was valid at the time the document gives; a
document must be by the site it says it is from, and for us when it says for whom. Verify first, parse after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from courier.errors import Refused, explain
from formats.documents import card as card_doc
from formats.documents.card import SiteCard, SiteKey
from formats.envelope import Envelope, parse_envelope, verified_keys
from formats.errors import FormatError
from formats.records import Fields, decode, format_time

Document = TypeVar("Document")

CLOCK_SLACK_NS = 24 * 3600 * 10**9
"""How far a signer's clock may run ahead of ours before a document counts as from the future."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownSite:
    """A pinned card, and why the site is revoked (empty while it is trusted)."""

    card: SiteCard
    revoked: str = ""


def read_card(data: bytes) -> SiteCard:
    """Parse a card and check that it is signed by its own current key; raises `Refused` or `Damaged`.

    That the card is *who it says* is for the operator to settle, by its fingerprint.
    """
    try:
        envelope = parse_envelope(data)
        if envelope.payload_type != card_doc.TYPE:
            raise Refused(
                "this is not a site card", hint="ask the other site for: courier site card", code="not-a-card"
            )
        card = SiteCard.parse(envelope.payload)
        if not verified_keys(envelope, [card.keys[0].key]):
            raise Refused(
                f"the card of {card.site} is not signed by its own key",
                hint="it was altered; ask the site for its card again",
                code="forged-card",
            )
    except FormatError as error:
        raise explain(error, where="site card", hint="ask the site for its card again") from None
    return card


def check_newer_card(data: bytes, pinned: SiteCard) -> SiteCard:
    """A card that replaces ``pinned``, or is that very card; raises `Refused`.

    A newer one has a higher serial, was issued no earlier, and is signed by a key of the pinned card that was valid
    when it was issued: a key that is still named for documents under way makes no new card.
    """
    card = read_card(data)
    if card.site != pinned.site:
        raise Refused(
            f"a card of {card.site}, not of {pinned.site}", hint="ask the site for its card", code="wrong-site"
        )
    if card.payload() == pinned.payload():
        return card
    if card.serial <= pinned.serial or card.issued_ns < pinned.issued_ns:
        raise Refused(
            f"card {card.serial} of {card.site} is older than, or another than, the pinned card {pinned.serial}",
            hint="ask the site for its present card",
            code="rolled-back-card",
        )
    valid = [key.key for key in pinned.keys if key.valid_from_ns <= card.issued_ns < key.valid_until_ns]
    if not verified_keys(parse_envelope(data), valid):
        raise Refused(
            f"the new card of {card.site} is not signed by a key of the pinned one that was valid then",
            hint="compare the fingerprint by phone, then pin it: courier site trust CARD --fingerprint FINGERPRINT",
            code="card-not-chained",
        )
    return card


class Trust:
    """What a site trusts: itself and the sites it has pinned."""

    def __init__(self, *, own: str | None, known: Mapping[str, KnownSite]) -> None:
        """``own`` is our site code, or None where there is no site (verification with a card alone)."""
        self._own = own
        self._known = known

    def site(self, code: str) -> KnownSite:
        """A trusted site; raises `Refused` when it is unknown or revoked."""
        known = self._known.get(code)
        if known is None:
            raise Refused(
                f"site {code} is not trusted here",
                hint="get its card, compare the fingerprint by phone, then: courier site trust CARD",
                code="unknown-site",
            )
        if known.revoked:
            raise Refused(
                f"site {code} was revoked: {known.revoked}",
                hint="settle it with that site, then pin its new card: courier site trust CARD",
                code="revoked-site",
            )
        return known

    def verify(
        self,
        data: bytes,
        parse: Callable[[bytes], Document],
        *,
        payload_type: str,
        signed_ns: Callable[[Document], int],
        now_ns: int,
        where: str,
    ) -> tuple[Document, Envelope]:
        """The document in envelope ``data``, after every rule of this room has been kept.

        ``signed_ns`` gives the time the document says it was made. Raises `Refused`, or `Damaged` for bytes that are
        no envelope at all.
        """
        try:
            envelope = parse_envelope(data)
            if envelope.payload_type != payload_type:
                raise Refused(
                    f"{where}: signed as {envelope.payload_type[:100]!r}, expected {payload_type!r}",
                    hint="ask the sender for it again",
                    code="wrong-type",
                )
            signer = _sender(envelope)
            known = self.site(signer)
            good = {key.keyid for key in verified_keys(envelope, [key.key for key in known.card.keys])}
            if not good:
                raise Refused(
                    f"{where}: not signed by site {signer}, or altered since",
                    hint=f"ask {signer} whether it sent this, or has a new key; do not use it until that is clear",
                    code="bad-signature",
                )
            document = parse(envelope.payload)
            keys = [key for key in known.card.keys if key.key.keyid in good]
            _check_time(signed_ns(document), keys, now_ns=now_ns, where=where, signer=signer)
            self._check_addressee(envelope, where=where)
        except FormatError as error:
            raise explain(error, where=where) from None
        return document, envelope

    def _check_addressee(self, envelope: Envelope, *, where: str) -> None:
        fields = Fields(decode(envelope.payload))
        if self._own is None or not fields.has("to"):
            return
        destinations = fields.texts("to")
        if self._own not in destinations and fields.text("from") != self._own:
            raise Refused(
                f"{where}: meant for {', '.join(destinations)}, not for {self._own}",
                hint="send it on to the site it is for",
                code="not-for-us",
            )


def _sender(envelope: Envelope) -> str:
    """Whom a document says it is from; only tells which pinned key to verify with."""
    fields = Fields(decode(envelope.payload))
    return fields.text("from", pattern="[A-Z0-9]{3}")


def _check_time(signed_ns: int, keys: list[SiteKey], *, now_ns: int, where: str, signer: str) -> None:
    if not any(key.valid_from_ns <= signed_ns < key.valid_until_ns for key in keys):
        raise Refused(
            f"{where}: made {format_time(signed_ns)[:19]}Z, when the key of {signer} that signed it was not valid",
            hint=f"ask {signer} for its present card and for this again",
            code="key-not-valid",
        )
    if signed_ns > now_ns + CLOCK_SLACK_NS:
        raise Refused(
            f"{where}: made {format_time(signed_ns)[:19]}Z, but this computer's clock says {format_time(now_ns)[:19]}Z",
            hint="set this computer's clock right; if it is right, the clock at the sender is wrong",
            code="clock",
        )
