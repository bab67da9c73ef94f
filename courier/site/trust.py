"""Trust: who may sign what for whom. Pure: it takes bytes and the time, and reads nothing.

The rules: only sites whose card is pinned are trusted. A signature counts when its key was valid at the time that the
document gives. A document must be signed by the site that it says it is from, and where it says whom it is for, this
site must be among them. Bytes are verified before they are parsed.

A revoked key has been in other hands since some moment, and they can write any date. What it signed counts only when
it is dated before that moment *and* came here before it. A medium may arrive later: its packing list and labels count
by their date alone, because nothing is imported without a ship notice that names exactly that packing list, and the
notice either came here before the revocation or was signed anew by a good key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

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
KEY_WARNING_NS = 90 * 24 * 3600 * 10**9
"""How long before the end of a signing key commands warn of it: its successor has to reach every other site."""
CLOCK_SLACK_NS = DAY_NS
"""How far a signer's clock may run ahead of ours before a document counts as from the future."""
CARD_HINT = "is it the right file? then ask the site for its card again: courier site card --out FILE"
_RESTORED = (
    "if {0} restored its home from a backup made before it renewed its key: courier site rotate-key there, then here "
    "courier site trust CARD --fingerprint FINGERPRINT, compared by phone"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownSite:
    """A pinned card; ``revoked`` says why the site is not trusted any more, or is empty."""

    card: SiteCard
    revoked: str = ""


def read_card(data: bytes, *, where: str = "site card") -> SiteCard:
    """Parse a card and check that it is signed by its own current key; ``where`` names it in errors.

    Whether it really is the card of the site that it names is for the operator to find out, by its fingerprint. Raises
    `RefusedError` or `DamagedError`.
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


def check_newer_card(data: bytes, pinned: SiteCard, *, now_ns: int) -> SiteCard:
    """The card in ``data``, when it may replace ``pinned`` or is the same card; otherwise raises `RefusedError`.

    A newer card has a higher serial, was not issued earlier, and is signed by a key of the pinned card that was valid
    when it was issued and still is at ``now_ns``, when it comes (nanoseconds, UTC): whoever has an old key can write
    any date. Keys that the pinned card lists only for documents under way cannot sign a new card.
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
    check_card_clock(card, now_ns=now_ns)
    valid = [key.key for key in pinned.keys if _may_vouch(key, card.issued_ns, now_ns)]
    if not verified_keys(parse_envelope(data), valid):
        raise RefusedError(
            f"the new card of {card.site} is not signed by a key of the pinned one that was valid then and still is",
            hint="compare the fingerprint by phone, then pin it: courier site trust CARD --fingerprint FINGERPRINT",
            code=Code.CARD_NOT_CHAINED,
        )
    return card


def check_card_clock(card: SiteCard, *, now_ns: int) -> None:
    """Raise `RefusedError` for a card that is dated in the future: no card of the site after it would be newer."""
    _check_clock(card.issued_ns, now_ns=now_ns, where=f"the card of {card.site}")


def _may_vouch(key: SiteKey, issued_ns: int, now_ns: int) -> bool:
    """Whether a pinned key may sign a card that says it was issued at ``issued_ns`` and comes at ``now_ns``."""
    still_valid = now_ns < key.valid_until_ns + CLOCK_SLACK_NS
    return _was_valid(key, issued_ns) and still_valid and key.revoked_ns is None


def check_card_by_fingerprint(card: SiteCard, pinned: SiteCard) -> None:
    """Raise `RefusedError` when a card may not replace ``pinned`` even though the operator gave its fingerprint.

    That is so for an old card that is shown again: one whose key the pinned card lists as ended or revoked, or one of
    the same key with a lower serial.
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
        f"card {card.serial} of {card.site} is older than the pinned card {pinned.serial}, or contradicts it",
        hint=f"ask {card.site} for its present card; {_RESTORED.format(card.site)}",
        code=Code.ROLLED_BACK_CARD,
    )


def _was_valid(key: SiteKey, moment_ns: int) -> bool:
    return key.valid_from_ns <= moment_ns < key.valid_until_ns


class Trust:
    """What a site trusts: itself and the sites it has pinned."""

    def __init__(self, *, own: str | None, known: Mapping[str, KnownSite], max_transit_days: int = 0) -> None:
        """``own``: this site's code, or None where there is no site (verification with a card alone).

        ``known``: the trusted and revoked sites by code. ``max_transit_days``: how many days a parcel may be under way
        by this site's policy; 0: no limit.
        """
        self._own = own
        self._known = known
        self._max_transit_days = max_transit_days

    @classmethod
    def of_cards(cls, *cards: SiteCard) -> Trust:
        """Trust in just these cards, for a computer without a site home."""
        return cls(own=None, known={card.site: KnownSite(card=card) for card in cards})

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

    def is_pinned(self, code: str) -> bool:
        """Whether a card of this site is pinned here, be it revoked or not."""
        return code in self._known

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
        """The document in envelope ``data``, and the envelope, when every rule of this module holds.

        ``where`` names the document in errors; without it, its kind does. ``arrived_ns``: when it came here, in
        nanoseconds (UTC); None: now. ``on_medium``: it came by courier (see the rule for revoked keys above). Raises
        `RefusedError`, or `DamagedError` for bytes that are no envelope.
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
            heading = _heading(envelope.head)
            signer = _sender(heading)
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
            self._check_addressee(heading, where=where)
        except FormatError as error:
            raise explain(error, where=where) from None
        return document, envelope

    def check_transit(self, sent_ns: int, *, now_ns: int, where: str) -> None:
        """Raise `RefusedError` when a parcel sent at ``sent_ns`` has been under way longer than the policy allows."""
        days = (now_ns - sent_ns) // DAY_NS
        if self._max_transit_days and days >= self._max_transit_days:
            raise RefusedError(
                f"{where}: under way since {format_time(sent_ns)[:10]}, {days} days by this computer's clock "
                f"({format_time(now_ns)[:16]}Z); this site's policy allows {self._max_transit_days}",
                hint="check this computer's clock; to allow more: courier site policy --max-transit-days N (0: any)",
                code=Code.TOO_LONG_IN_TRANSIT,
            )

    def _check_addressee(self, heading: Heading, *, where: str) -> None:
        if self._own is None or heading.receivers is None:
            return
        if self._own not in heading.receivers and heading.sender != self._own:
            raise RefusedError(
                f"{where}: meant for {', '.join(heading.receivers)}, not for {self._own}",
                hint="send it on to the site it is for",
                code=Code.NOT_FOR_US,
            )


@lru_cache(maxsize=2)
def _heading(head: bytes) -> Heading:
    """What the head of a document says of itself; it is judged as strictly as the whole document.

    The last two are kept: each volume of a parcel has a label of its own and the same packing list, which is long.
    """
    return read(Heading, head)


def _sender(heading: Heading) -> str:
    """The site that a document says it is from, not verified yet: it tells which pinned keys to verify with."""
    if heading.sender is None:
        raise MalformedError("missing", place="from")
    return heading.sender


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
