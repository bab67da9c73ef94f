"""Other sites: pinning their cards, and revoking them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from courier.error_codes import Code
from courier.errors import CourierError, NotFoundError, RefusedError, UsageError
from courier.files import path_text, write_atomic
from courier.site.card import pinned_card
from courier.site.catalog import parcels, sites
from courier.site.catalog.parcels import LogEntry
from courier.site.catalog.sites import Address, PinnedSite
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import encrypt_again
from courier.site.trust import CARD_HINT, check_card_by_fingerprint, check_card_clock, check_newer_card, read_card
from formats.documents.card import SiteCard
from formats.envelope import Envelope, parse_envelope
from formats.errors import FormatError
from formats.names import check_site

MAX_CARD = 1 << 20
"""Bytes of the largest file that is read as a card."""


def read_card_file(path: Path) -> tuple[bytes, SiteCard]:
    """The bytes of a card's file, and the card.

    Raises `RefusedError` or `DamagedError`, naming the file, when it is no card or a damaged one.
    """
    with path.open("rb") as source:
        data = source.read(MAX_CARD + 1)
    if len(data) > MAX_CARD:
        raise RefusedError(f"{path} is too long for a site card", hint=CARD_HINT, code=Code.NOT_A_CARD)
    return data, read_card(data, where=path_text(path))


def write_card(site: Site, path: Path) -> None:
    """Write this site's card to a file; another card or an empty file there is replaced.

    Raises `UsageError` when the file holds anything else.
    """
    if path.exists() and not path.is_dir() and not (path.is_file() and _is_replaceable(path)):
        raise UsageError(f"{path} exists and is not a site card", hint="name another file for the card")
    write_atomic(path, site.card_envelope, readable=True)


def _is_replaceable(path: Path) -> bool:
    try:
        return path.stat().st_size == 0 or bool(read_card_file(path))
    except CourierError:
        return False


@dataclass(frozen=True, kw_only=True, slots=True)
class Pinned:
    """A card that was pinned; ``before``: the card pinned until then, or None for the first card of a site."""

    card: SiteCard
    before: SiteCard | None
    was_revoked: bool

    @property
    def is_same(self) -> bool:
        """Whether the same card was pinned already."""
        return self.before is not None and self.before.payload() == self.card.payload()


def pin_card(site: Site, data: bytes, *, fingerprint: str | None) -> Pinned:
    """Pin the card of another site; return it and the one before it.

    The first card of a site is pinned on the operator's word. A newer one must be signed by a key of the pinned card,
    unless ``fingerprint`` is given, as the other site reads it out. Raises `RefusedError` when the fingerprint differs
    or the card may not replace the pinned one or is dated in the future, `UsageError` for an incomplete fingerprint or
    this site's own card.
    """
    card = read_card(data)
    if card.site == site.code:
        raise UsageError(f"this is a card of {site.code}, this site itself", hint="pin the cards of other sites")
    keyid = card.keys[0].key.keyid
    told = None if fingerprint is None else re.sub(r"[\s:-]", "", fingerprint).lower()
    if told is not None and re.fullmatch("[0-9a-f]{64}", told) is None:
        raise UsageError(
            f"{fingerprint!r} is not a fingerprint, which has 64 digits 0-9 a-f, in sixteen groups of four",
            hint="give all of what the other site reads out (there: courier site card --out FILE)",
        )
    if told is not None and told != keyid:
        raise RefusedError(
            f"the card of {card.site} has the fingerprint {card.fingerprint}, not the one given",
            hint="do not trust this card; get it again from the site itself",
            code=Code.WRONG_FINGERPRINT,
        )
    check_card_clock(card, now_ns=now())
    with site.catalogue.reading() as connection:
        pinned = sites.find(connection, card.site)
    before = pinned_card(pinned.card) if pinned is not None else None
    if before is not None and fingerprint is not None:
        check_card_by_fingerprint(card, before)
    elif pinned is not None and before is not None and not pinned.revoked:
        check_newer_card(data, before, now_ns=now())
    elif pinned is not None:
        raise RefusedError(
            f"{card.site} was revoked: {pinned.revoked}",
            hint="compare the fingerprint of the new card by phone and give it with --fingerprint",
            code=Code.REVOKED_SITE,
        )
    record = PinnedSite(code=card.site, name=card.name, card=data, serial=card.serial, revoked="", pinned_ns=now())
    with site.catalogue.writing() as connection:
        sites.pin(connection, record)
        encrypt_again(connection, card.site)
    return Pinned(card=card, before=before, was_revoked=pinned is not None and bool(pinned.revoked))


def is_pinned(site: Site, card: SiteCard) -> bool:
    """Whether this very card is pinned, and its site is trusted."""
    with site.catalogue.reading() as connection:
        pinned = sites.find(connection, card.site)
    return pinned is not None and not pinned.revoked and pinned_card(pinned.card).payload() == card.payload()


def verify_card(site: Site, data: bytes) -> tuple[SiteCard, Envelope]:
    """The card in a message, which must be newer than the pinned one of its site, or that very one.

    Raises `RefusedError` for what `check_newer_card` refuses and for a site that is not trusted, `FormatError` for
    bytes that are no card.
    """
    envelope = parse_envelope(data)
    known = site.trust().site(SiteCard.parse(envelope.payload).site)
    return check_newer_card(data, known.card, now_ns=now()), envelope


def take_card(site: Site, card: SiteCard, envelope: Envelope) -> str:
    """Pin a newer card that came by network; return an empty text, as nothing waits for a person."""
    with site.catalogue.writing() as connection:
        pinned = sites.find(connection, card.site)
        if pinned is not None and card.serial > pinned.serial:
            sites.pin(connection, replace(pinned, name=card.name, card=envelope.encode(), serial=card.serial))
            encrypt_again(connection, card.site)
            text = f"{card.site} has a new card (serial {card.serial}), signed by the key before it"
            entry = LogEntry(parcel="", at_ns=now(), operator=site.operator, event="card", text=text)
            parcels.write_log(connection, entry)
    return ""


def find_site(site: Site, code: str) -> tuple[PinnedSite, SiteCard]:
    """A pinned site, revoked or not, and its card; raises `NotFoundError`."""
    with site.catalogue.reading() as connection:
        pinned = sites.find(connection, _code(code))
    if pinned is None:
        raise NotFoundError(f"no card of site {code} is pinned", hint="courier site trust CARD; courier site list")
    return pinned, pinned_card(pinned.card)


def list_sites(site: Site) -> list[tuple[PinnedSite, SiteCard, list[Address]]]:
    """Every pinned site with its card and its addresses, by code."""
    with site.catalogue.reading() as connection:
        everyone = sites.everyone(connection)
        return [(pinned, pinned_card(pinned.card), sites.addresses(connection, pinned.code)) for pinned in everyone]


def revoke_site(site: Site, code: str, reason: str) -> None:
    """Stop trusting a site; ``reason`` is kept and shown. Raises `NotFoundError` when no card of it is pinned."""
    with site.catalogue.writing() as connection:
        if not sites.revoke(connection, _code(code), reason or "by the operator"):
            raise NotFoundError(f"no card of site {code} is pinned", hint="courier site list")


def _code(code: str) -> str:
    try:
        return check_site(code)
    except FormatError as error:
        raise UsageError(error.message, hint="write it like HQ1") from None
