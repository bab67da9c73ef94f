"""Trust: who may sign what for whom, in one pure class that takes bytes and ``now``.

Rules: only sites whose card is pinned; a signature counts when the key was valid at the time the document gives; a
document must be by the site it says it is from, and for us when it says for whom. Verify first, parse after.

A revoked key is in other hands since some moment, and those hands write any date they like. What it signed counts when
it is dated before that moment *and* was here before it. A medium may arrive later: its packing list and labels count
by their date, because nothing is imported without a ship notice that names that very packing list, and the notice is
either older than the revocation here or signed anew by a good key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from courier.error_codes import Code
from courier.errors import RefusedError, explain
from formats.documents import card as card_doc
from formats.documents.card import SiteCard, SiteKey
from formats.documents.fields import Heading
from formats.documents.kind import DocumentKind, Signed
from formats.envelope import Envelope, parse_envelope, verified_keys
from formats.errors import FormatError, MalformedError
from formats.records import format_time, read

DAY_NS = 24 * 3600 * 10**9
CLOCK_SLACK_NS = DAY_NS
"""How far a signer's clock may run ahead of ours before a document counts as from the future."""
CARD_HINT = "is it the right file? then ask the site for its card again: courier site card --out FILE"
_RESTORED = (
    "if {0} restored its home from a backup made before it renewed its key: courier site rotate-key there, then here "
    "courier site trust CARD --fingerprint FINGERPRINT, compared by phone"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownSite:
    """A pinned card, and why the site is revoked (empty while it is trusted)."""

    card: SiteCard
    revoked: str = ""


def read_card(data: bytes, *, where: str = "site card") -> SiteCard:
    """Parse a card and check that it is signed by its own current key; raises `RefusedError` or `DamagedError`.

    That the card is *who it says* is for the operator to settle, by its fingerprint.
    """
    try:
        envelope = parse_envelope(data)
        if envelope.payload_type != card_doc.TYPE:
            raise RefusedError(
                f"{where}: this is not a site card",
                hint="ask the other site for: courier site card",
                code=Code.NOT_A_CARD,
            )
        card = SiteCard.parse(envelope.payload)
        if not verified_keys(envelope, [card.keys[0].key]):
            raise RefusedError(
                f"the card of {card.site} is not signed by its own key",
                hint="it was altered; ask the site for its card again",
                code=Code.FORGED_CARD,
            )
    except FormatError as error:
        raise explain(error, where=where, hint=CARD_HINT) from None
    return card


def check_newer_card(data: bytes, pinned: SiteCard) -> SiteCard:
    """A card that replaces ``pinned``, or is that very card; raises `RefusedError`.

    A newer one has a higher serial, was issued no earlier, and is signed by a key of the pinned card that was valid
    when it was issued: a key that is still named for documents under way makes no new card.
    """
    card = read_card(data)
    if card.site != pinned.site:
        raise RefusedError(
            f"a card of {card.site}, not of {pinned.site}", hint="ask the site for its card", code=Code.WRONG_SITE
        )
    if card.payload() == pinned.payload():
        return card
    if card.serial <= pinned.serial or card.issued_ns < pinned.issued_ns:
        raise _rolled_back(card, pinned)
    valid = [key.key for key in pinned.keys if _was_valid(key, card.issued_ns) and key.revoked_ns is None]
    if not verified_keys(parse_envelope(data), valid):
        raise RefusedError(
            f"the new card of {card.site} is not signed by a key of the pinned one that was valid then",
            hint="compare the fingerprint by phone, then pin it: courier site trust CARD --fingerprint FINGERPRINT",
            code=Code.CARD_NOT_CHAINED,
        )
    return card


def check_card_by_fingerprint(card: SiteCard, pinned: SiteCard) -> None:
    """A card whose fingerprint the operator was told replaces any pinned one, but for one: raises `RefusedError` for a
    card by a key that the pinned card lists as given up or revoked, which is an old card shown again.
    """
    current = card.keys[0].key.keyid
    for key in pinned.keys:
        ended = key.revoked_ns is not None or key.valid_until_ns <= pinned.issued_ns
        if key.key.keyid == current and ended:
            raise _rolled_back(card, pinned)
    if current == pinned.keys[0].key.keyid and card.serial < pinned.serial:
        raise _rolled_back(card, pinned)


def _rolled_back(card: SiteCard, pinned: SiteCard) -> RefusedError:
    return RefusedError(
        f"card {card.serial} of {card.site} is older than, or another than, the pinned card {pinned.serial}",
        hint=f"ask {card.site} for its present card; {_RESTORED.format(card.site)}",
        code=Code.ROLLED_BACK_CARD,
    )


def _was_valid(key: SiteKey, moment_ns: int) -> bool:
    return key.valid_from_ns <= moment_ns < key.valid_until_ns


class Trust:
    """What a site trusts: itself and the sites it has pinned."""

    def __init__(self, *, own: str | None, known: Mapping[str, KnownSite], max_transit_days: int = 0) -> None:
        """``own`` is our site code, or None where there is no site (verification with a card alone).

        ``max_transit_days``: the site's policy, how long a parcel may be under way; 0: as long as it takes.
        """
        self._own = own
        self._known = known
        self._max_transit_days = max_transit_days

    def site(self, code: str) -> KnownSite:
        """A trusted site; raises `RefusedError` when it is unknown or revoked."""
        known = self._known.get(code)
        if known is None and self._own is None:
            raise RefusedError(
                f"the card given is of {', '.join(sorted(self._known))}; this is from {code}",
                hint=f"give the card of {code}: --card FILE",
                code=Code.UNKNOWN_SITE,
            )
        if known is None:
            raise RefusedError(
                f"site {code} is not trusted here",
                hint="get its card, compare the fingerprint by phone, then: courier site trust CARD",
                code=Code.UNKNOWN_SITE,
            )
        if known.revoked:
            raise RefusedError(
                f"site {code} was revoked: {known.revoked}",
                hint="settle it with that site, then pin its card: courier site trust CARD --fingerprint FINGERPRINT",
                code=Code.REVOKED_SITE,
            )
        return known

    def verify(
        self,
        data: bytes,
        kind: DocumentKind[Signed],
        *,
        now_ns: int,
        where: str = "",
        arrived_ns: int | None = None,
        on_medium: bool = False,
    ) -> tuple[Signed, Envelope]:
        """The document in envelope ``data``, after every rule of this room has been kept.

        ``where`` names the document in errors (its kind, where nothing is given). ``arrived_ns`` is when it came here
        (None: now); ``on_medium``: it came by courier (see the rule for revoked keys above). Raises `RefusedError`,
        or `DamagedError` for bytes that are no envelope at all.
        """
        where = where or kind.title
        try:
            envelope = parse_envelope(data)
            if envelope.payload_type != kind.type:
                raise RefusedError(
                    f"{where}: signed as {envelope.payload_type[:100]!r}, expected {kind.type!r}",
                    hint="it is a document of another kind: name the right file, or ask the sender for it again",
                    code=Code.WRONG_TYPE,
                )
            signer = _sender(envelope)
            known = self.site(signer)
            good = {key.keyid for key in verified_keys(envelope, [key.key for key in known.card.keys])}
            if not good and not any(key.key.keyid in dict(envelope.signatures) for key in known.card.keys):
                way = "--card FILE" if self._own is None else "courier channel sync, or: courier site trust CARD"
                raise RefusedError(
                    f"{where}: not signed by site {signer} with a key that its card here names",
                    hint=f"if {signer} has new keys, its new card comes first: {way}",
                    code=Code.UNKNOWN_KEY,
                )
            if not good:
                raise RefusedError(
                    f"{where}: not signed by site {signer}, or altered since",
                    hint=f"ask {signer} whether it sent this, or has a new key; do not use it until that is clear",
                    code=Code.BAD_SIGNATURE,
                )
            document = kind.parse(envelope.payload)
            keys = [key for key in known.card.keys if key.key.keyid in good]
            made_ns = kind.made_ns(document)
            _check_clock(made_ns, now_ns=now_ns, where=where)
            keys = _valid_keys(keys, made_ns, where=where, signer=signer)
            came_ns = None if on_medium else now_ns if arrived_ns is None else arrived_ns
            _check_revoked(made_ns, keys, came_ns=came_ns, where=where, signer=signer)
            self._check_addressee(envelope, where=where)
        except FormatError as error:
            raise explain(error, where=where) from None
        return document, envelope

    def check_transit(self, sent_ns: int, *, now_ns: int, where: str) -> None:
        """Keep the site's policy for how long a parcel may have been under way since ``sent_ns``; raises
        `RefusedError`."""
        days = (now_ns - sent_ns) // DAY_NS
        if self._max_transit_days and days >= self._max_transit_days:
            raise RefusedError(
                f"{where}: under way since {format_time(sent_ns)[:10]}, {days} days by this computer's clock "
                f"({format_time(now_ns)[:16]}Z); this site's policy allows {self._max_transit_days}",
                hint="check this computer's clock; to allow more: courier site policy --max-transit-days N (0: any)",
                code=Code.TOO_LONG_IN_TRANSIT,
            )

    def _check_addressee(self, envelope: Envelope, *, where: str) -> None:
        heading = read(Heading, envelope.head)
        if self._own is None or heading.receivers is None:
            return
        if self._own not in heading.receivers and heading.sender != self._own:
            raise RefusedError(
                f"{where}: meant for {', '.join(heading.receivers)}, not for {self._own}",
                hint="send it on to the site it is for",
                code=Code.NOT_FOR_US,
            )


def _sender(envelope: Envelope) -> str:
    """Whom a document says it is from; only tells which pinned key to verify with."""
    sender = read(Heading, envelope.head).sender
    if sender is None:
        raise MalformedError("missing", place="from")
    return sender


def _check_clock(signed_ns: int, *, now_ns: int, where: str) -> None:
    if signed_ns > now_ns + CLOCK_SLACK_NS:
        raise RefusedError(
            f"{where}: made {format_time(signed_ns)[:19]}Z, but this computer's clock says {format_time(now_ns)[:19]}Z",
            hint="set this computer's clock right; if it is right, the clock at the sender is wrong",
            code=Code.CLOCK,
        )


def _valid_keys(keys: list[SiteKey], signed_ns: int, *, where: str, signer: str) -> list[SiteKey]:
    valid = [key for key in keys if _was_valid(key, signed_ns)]
    if not valid:
        raise RefusedError(
            f"{where}: made {format_time(signed_ns)[:19]}Z, when the key of {signer} that signed it was not valid",
            hint=f"ask {signer} for its present card and for this again; {_RESTORED.format(signer)}",
            code=Code.KEY_NOT_VALID,
        )
    return valid


def _check_revoked(signed_ns: int, keys: list[SiteKey], *, came_ns: int | None, where: str, signer: str) -> None:
    for key in keys:
        revoked = key.revoked_ns
        if revoked is None or (signed_ns < revoked and (came_ns is None or came_ns < revoked)):
            return
    raise RefusedError(
        f"{where}: signed by a key of {signer} that was revoked, as of {format_time(keys[0].revoked_ns or 0)[:19]}Z",
        hint=f"do not use it; ask {signer} to send it again, signed by its present key (courier parcel ship PARCEL; "
        "a receipt comes again by itself)",
        code=Code.REVOKED_KEY,
    )
