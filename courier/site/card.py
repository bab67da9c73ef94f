"""The card of this site in its home, and the cards of other sites as they were pinned.

A site card is signed; it names the site's signing keys, and the recipient that content for the site is encrypted to.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from courier.error_codes import Code
from courier.errors import CourierError, RefusedError
from courier.files import write_atomic
from courier.site.clock import now
from courier.site.file_names import SETTINGS
from courier.site.keyring import Keyring
from courier.site.trust import read_card
from formats.documents import card as card_doc
from formats.documents.card import SiteCard, SiteKey
from formats.envelope import parse_envelope, sign
from formats.records import format_time

CARD = "card.json"
"""File of this site's signed card in its home."""
KEY_LIFE_NS = 5 * 365 * 24 * 3600 * 10**9
"""How long a signing key is valid, in nanoseconds: five years."""


def make_card(home: Path, *, code: str, name: str, key: str, passphrase: bool) -> None:
    """Make the keys of a new site, and its first card. ``key`` and ``passphrase`` as for `Keyring.add`."""
    keyring = Keyring(home / "keys")
    public = keyring.add(key, passphrase=passphrase)
    issued = now()
    card = SiteCard(
        site=code,
        name=name,
        serial=1,
        issued_ns=issued,
        keys=(SiteKey(key=public, valid_from_ns=issued, valid_until_ns=issued + KEY_LIFE_NS),),
        recipient=keyring.generate_identity(passphrase=passphrase),
    )
    envelope = sign(card.payload(), card_doc.TYPE, [keyring.signer(public)])
    write_atomic(home / CARD, envelope.encode(), private=True)


@lru_cache(maxsize=16)
def _checked_card(data: bytes, where: str) -> SiteCard:
    return read_card(data, where=where)


def own_card(home: Path, code: str) -> tuple[SiteCard, bytes]:
    """The card in the home of site ``code``, and its envelope.

    Raises `RefusedError` or `DamagedError`, naming the file, when it is missing, damaged, or another site's.
    """
    path, hint = home / CARD, "restore it from a backup of the site home"
    try:
        envelope = path.read_bytes()
        card = _checked_card(envelope, str(path))
    except FileNotFoundError:
        raise RefusedError(f"{path} is missing", hint=hint) from None
    except CourierError as error:
        raise type(error)(error.message, hint=hint, code=error.code) from None
    if card.site != code:
        raise RefusedError(
            f"{home / SETTINGS} is of site {code}, {path} of site {card.site}",
            hint="restore both from a backup of the site home",
            code=Code.ANOTHER_SITE,
        )
    return card, envelope


@lru_cache(maxsize=4096)
def pinned_card(data: bytes) -> SiteCard:
    """The card in an envelope that was verified when it was pinned; it is not verified again."""
    # Cached, because a server reads hundreds of cards for every message that it takes in.
    return SiteCard.parse(parse_envelope(data).payload)


def clock_before_key(card: SiteCard, moment_ns: int) -> RefusedError:
    """The error for a clock that is before the site's signing key was made: it is wrong now, or was wrong then."""
    return RefusedError(
        f"this computer's clock says {format_time(moment_ns)[:19]}Z, before the signing key of {card.site} was made, "
        f"{format_time(card.keys[0].valid_from_ns)[:19]}Z",
        hint="set this computer's clock right, then give the command again; if it is right, it was ahead when the key "
        "was made: courier site rotate-key --lost, and every other site pins the new card by its fingerprint",
        code=Code.CLOCK,
    )
