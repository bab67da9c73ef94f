"""Renewing this site's keys: a new card when they are renewed, or when they were lost.

A new card is signed by the new key and by the old keys that nobody else has, so every site that has pinned an earlier
card takes it by itself. The old keys stay on the card, no longer valid for signing, so that parcels under way still
verify. Keys that were lost or stolen cannot sign the new card: it is signed by the new key alone, lists the old one as
revoked, and every other site pins it by its fingerprint, compared by phone. A key that is not valid yet, because it was
made while the clock was ahead, is replaced in that way too, for no site believes it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from courier.errors import UsageError
from courier.files import write_atomic
from courier.site.card import CARD, KEY_LIFE_NS, clock_before_key
from courier.site.catalog import messages, packages, sites
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from formats.digest import sha256_hex
from formats.documents import card as card_doc
from formats.documents.card import MAX_KEYS, SiteCard, SiteKey
from formats.envelope import MAX_SIGNATURES, PublicKey, parse_envelope, sign
from formats.records import format_time

CARD_SERIALS = "card-serial"
"""The counter of serials of cards that are passed over, since a home that was lost may have given them out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rotation:
    """A new card of this site; ``told``: the sites that it is queued for; ``place``: where the new signing key is."""

    card: SiteCard
    told: tuple[str, ...]
    place: str


def rotate_key(
    site: Site, *, where: str = "file", passphrase: bool = False, lost: bool = False, since_ns: int | None = None
) -> Rotation:
    """Give this site a new signing key and a new recipient, and queue its new card for every site with an address.

    ``where`` and ``passphrase`` as for `Keyring.add`; where the keys were encrypted, the new ones are too. ``lost``:
    the present keys are lost or in other hands, since ``since_ns`` (nanoseconds, UTC; None: since now). Raises
    `UsageError` when that moment is impossible, `RefusedError` or `NotFoundError` when a key cannot be loaded, and
    `RefusedError` when the present key is not valid yet and not ``lost``.
    """
    with site.files_locked():
        old, moment = site.card, now()
        since = moment if since_ns is None else since_ns
        if moment <= old.keys[0].valid_from_ns and not lost:
            raise clock_before_key(old, moment)
        if lost and since_ns is not None:
            _check_since(old, since, moment)
        # The keys that sign the new card are loaded before anything is changed.
        older = [] if lost else site.keyring.signers([old.keys[0].key, *_older_keys(site, old)])
        passphrase = passphrase or site.keyring.is_locked
        key = site.keyring.add(where, passphrase=passphrase)
        if any(key.keyid == known.key.keyid for known in old.keys):
            raise UsageError("that key is on this site's card already", hint="make a new key first")
        recipient = site.keyring.generate_identity(passphrase=passphrase, lost=lost)
        site.keyring.renew_recovery(passphrase=passphrase, lost=lost)
        with site.catalogue.reading() as connection:
            passed_over = packages.read_counter(connection, CARD_SERIALS)
        new = SiteKey(key=key, valid_from_ns=moment, valid_until_ns=moment + KEY_LIFE_NS)
        card = replace(
            old,
            serial=max(old.serial, passed_over) + 1,
            issued_ns=moment,
            keys=(new, *(_given_up(key, moment, since if lost else None) for key in old.keys))[:MAX_KEYS],
            recipient=recipient,
        )
        envelope = sign(card.payload(), card_doc.TYPE, [site.keyring.signer(key), *older])
        write_atomic(site.home / CARD, envelope.encode(), private=True)
        told = announce_card(site)
    return Rotation(card=card, told=told, place=site.keyring.place(key))


def _given_up(key: SiteKey, moment: int, since: int | None) -> SiteKey:
    """An older key as the new card lists it: no longer valid, and revoked if it was lost while it was valid."""
    # A key that is not valid yet keeps its validity: a card with a key that ends before it begins is malformed.
    until = min(key.valid_until_ns, moment) if key.valid_from_ns < moment else key.valid_until_ns
    lost = since is not None and key.revoked_ns is None and since < key.valid_until_ns
    return replace(key, valid_until_ns=until, revoked_ns=since if lost else key.revoked_ns)


def _check_since(old: SiteCard, since: int, moment: int) -> None:
    """Raise `UsageError` when the keys cannot have been lost then: before they were made, or in the future."""
    begun = min(key.valid_from_ns for key in old.keys if key is old.keys[0] or key.valid_until_ns > moment)
    if not begun < since <= moment:
        raise UsageError(
            f"--since {format_time(since)[:19]}Z is before the present key was made, or in the future",
            hint=f"give a moment in UTC after {format_time(begun)[:19]}Z, when it was made; or leave --since out",
        )


def _older_keys(site: Site, card: SiteCard) -> list[PublicKey]:
    """The older keys that are still ours, as many as an envelope has room for.

    They sign the new card too, for a site that missed the last renewal knows only them.
    """
    older = [key.key for key in card.keys[1:] if key.revoked_ns is None and site.keyring.has(key.key)]
    return older[: MAX_SIGNATURES - 2]


def key_not_valid_yet(site: Site) -> str:
    """A warning when this computer's clock is before the present key was made; otherwise empty."""
    moment = now()
    return clock_before_key(site.card, moment).message if moment <= site.card.keys[0].valid_from_ns else ""


def unacknowledged(site: Site) -> tuple[str, ...]:
    """The sites that have not acknowledged this site's present card yet."""
    if site.card.serial == 1:
        return ()
    name = sha256_hex(site.card_envelope)
    with site.catalogue.reading() as connection:
        codes = [pinned.code for pinned in sites.everyone(connection) if not pinned.revoked]
        sent = [(code, messages.find(connection, "out", name, code)) for code in codes]
    return tuple(code for code, message in sent if message is not None and message.state in messages.LIVE)


def announce_card(site: Site) -> tuple[str, ...]:
    """Queue this site's card for every trusted site that has an address; return these sites.

    Does nothing for a site that it was queued for before. Every exchange calls it again: the renewal may have been
    killed before the card was queued, or a site may have got an address since.
    """
    data = site.card_envelope
    envelope, name = parse_envelope(data), sha256_hex(data)
    with site.catalogue.writing() as connection:
        reached = {address.site for address in sites.addresses(connection)}
        codes = tuple(p.code for p in sites.everyone(connection) if p.code in reached and not p.revoked)
        for code in codes:
            for older in messages.live(connection, code):
                # An older card that arrives after the present one would be refused as rolled back.
                if older.type == card_doc.TYPE and older.sha256 != name:
                    messages.forget(connection, older)
            if messages.find(connection, "out", name, code) is None:
                enqueue(connection, envelope, code)
    return codes
