"""A site, opened: its home folder with all the rooms of the hands' floor, joined for the journeys.

Home folder: ``site.json`` settings, ``card.json`` own signed card, ``keys/``, ``catalogue.sqlite``, ``store/``,
``parcels/out/PARCEL`` and ``parcels/in/PARCEL-BUILD``.
"""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from courier.error_codes import Code
from courier.errors import DamagedError, RefusedError, UsageError
from courier.files import TEMP, make_folder
from courier.site.card import CARD, clock_before_key, make_card, own_card, pinned_card
from courier.site.catalog import Catalogue, open_catalogue, packages, sites
from courier.site.catalog.database import sqlite_url
from courier.site.clock import now
from courier.site.keyring import Keyring
from courier.site.log import LOG_FOLDER
from courier.site.settings import SETTINGS, Settings
from courier.site.store.content_store import ContentStore
from courier.site.store.folder import FolderStore
from courier.site.trust import KnownSite, Trust
from formats.documents.card import SiteCard
from formats.envelope import Envelope, sign
from formats.errors import FormatError
from formats.records import format_time

_PARTS = {CARD, "keys", "store", "parcels", "channel", LOG_FOLDER, "lost+found"} | {
    f"catalogue.sqlite{more}" for more in ("", "-wal", "-shm", "-journal")
}
"""What a home holds beside its settings (lost+found: where it is a file system of its own)."""
KEY_WARNING_NS = 90 * 24 * 3600 * 10**9
"""How long before its end a key is said to end: a new card has to reach every other site meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A site whose home has been opened."""

    home: Path
    settings: Settings
    catalogue: Catalogue
    keyring: Keyring
    store: ContentStore

    @property
    def code(self) -> str:
        """The site code."""
        return self.settings.site

    @property
    def card(self) -> SiteCard:
        """This site's card as it is now: a build, an import or a server may run while its key is renewed."""
        return own_card(self.home, self.code)[0]

    @property
    def card_envelope(self) -> bytes:
        """The envelope of that card."""
        return own_card(self.home, self.code)[1]

    @cached_property
    def operator(self) -> str:
        """Who is at work, for the log."""
        try:
            name = getpass.getuser()
        except (KeyError, OSError, ImportError):
            return "unknown"
        # From the environment, where it may be anything; it goes into signed entries.
        return name.encode("utf-8", "backslashreplace").decode().replace("\0", "")[:200]

    def trust(self) -> Trust:
        """What this site trusts now."""
        with self.catalogue.reading() as connection:
            pinned = sites.everyone(connection)
        known = {site.code: KnownSite(card=pinned_card(site.card), revoked=site.revoked) for site in pinned}
        known[self.code] = KnownSite(card=self.card)
        return Trust(own=self.code, known=known, max_transit_days=self.settings.max_transit_days)

    def sign(self, payload: bytes, payload_type: str) -> Envelope:
        """Sign a document with the site's key as it is now: what it says of its time must be of now, too."""
        return sign(payload, payload_type, [self.keyring.signer(self.card.keys[0].key)])

    def signing_time(self, made_ns: int) -> int:
        """The moment to write into a document that was settled at ``made_ns`` and is signed by the present key.

        A key speaks for no time before it was made; for the same key the moment is always the same. What was settled
        while the clock was ahead is signed as of when the key was made: in the future nobody would believe it.
        """
        begun = self.card.keys[0].valid_from_ns
        return max(made_ns, begun) if made_ns <= now() else begun

    def check_key(self) -> None:
        """Raise `RefusedError` when nothing signed now would be believed: the clock stands before the key, or it has
        ended.

        Or when the key cannot be had (`unlock`). What goes on media cannot be signed again once it is under way, so it
        is asked before, not found out there.
        """
        moment, key = now(), self.card.keys[0]
        if moment < key.valid_from_ns:
            raise clock_before_key(self.card, moment)
        if self.key_has_ended():
            raise RefusedError(
                f"the signing key of {self.code} was valid until {format_time(key.valid_until_ns)[:19]}Z",
                hint="courier site rotate-key; if the key is not that old, set this computer's clock right",
                code=Code.KEY_NOT_VALID,
            )
        self.unlock()

    def unlock(self) -> None:
        """Have the signing key at hand: a secret is asked for, or found to be missing, before hours of work.

        Raises `RefusedError` or `NotFoundError`.
        """
        self.keyring.signer(self.card.keys[0].key)

    def key_has_ended(self) -> bool:
        """Whether the time of the signing key is over: it vouches for no new card any more."""
        return now() >= self.card.keys[0].valid_until_ns

    def key_warning(self) -> str:
        """What is to be said of the signing key, when it ends within `KEY_WARNING_NS` or has ended; else empty."""
        until = self.card.keys[0].valid_until_ns
        end = f"until {format_time(until)[:10]}"
        if self.key_has_ended():
            return (
                f"the signing key of {self.code} was valid {end}; other sites refuse what it signed since: "
                "courier site rotate-key, and every other site pins the new card by its fingerprint; "
                "if the key is not that old, set this computer's clock right"
            )
        if now() < until - KEY_WARNING_NS:
            return ""
        return (
            f"the signing key of {self.code} is valid {end}: renew it before that, while other sites still take its "
            "new card by themselves (courier site rotate-key, then courier channel sync)"
        )

    def outgoing(self, parcel: str) -> Path:
        """The folder of a parcel that this site made."""
        return self.home / "parcels" / "out" / parcel

    def incoming(self, parcel: str, build: str) -> Path:
        """The spool folder of a build of a parcel that arrives."""
        return self.home / "parcels" / "in" / f"{parcel}-{build[:16]}"

    def close(self) -> None:
        """Give the catalogue's connections back."""
        self.catalogue.close()


def create_site(
    home: Path, *, code: str, name: str, catalogue: str = "", key: str = "file", passphrase: bool = False
) -> Site:
    """Make a site home: keys, card, catalogue, store. Raises `UsageError` when there is one already, or something else.

    ``key`` and ``passphrase`` as for `Keyring.add`.

    The settings are written last. A home that has all but them, half made or with the settings lost, keeps its keys,
    its card and what the catalogue knows; raises `RefusedError` where the card is another site's, or lost beside
    a catalogue.
    """
    if (home / SETTINGS).exists():
        raise UsageError(f"{home} is already the home of site {Settings.load(home).site}", hint="name another --home")
    make_folder(home)
    strange = sorted(path.name for path in home.iterdir() if not (path.name.startswith(TEMP) or path.name in _PARTS))
    if strange:
        raise UsageError(
            f"{home} is no site home and not empty: it holds {', '.join(map(repr, strange[:3]))}"
            f"{' and more' if len(strange) > 3 else ''}",
            hint="name a folder that does not exist yet, or an empty one",
        )
    if (home / CARD).exists():
        try:
            there = pinned_card((home / CARD).read_bytes())
        except FormatError as error:
            raise DamagedError(f"{home / CARD}: {error}", hint="restore it from a backup of the site home") from None
        if (there.site, there.name) != (code, name):
            raise RefusedError(
                f"{home} has the keys of site {there.site} ({there.name}), and no {SETTINGS}",
                hint=f'name another --home; or to have that site again: --site {there.site} --name "{there.name}"',
                code=Code.ANOTHER_SITE,
            )
    elif (home / "catalogue.sqlite").exists():
        raise RefusedError(
            f"{home} has a catalogue, but neither {SETTINGS} nor {CARD}",
            hint="restore both from a backup of the site home; or name another --home",
            code=Code.HALF_A_HOME,
        )
    else:
        make_card(home, code=code, name=name, key=key, passphrase=passphrase)
    for folder in ("store", "parcels/out", "parcels/in"):
        make_folder(home / folder)
    open_catalogue(catalogue or sqlite_url(home / "catalogue.sqlite")).close()
    Settings(site=code, name=name, catalogue=catalogue).save(home)
    return open_site(home)


def open_site(home: Path, *, lost_catalogue: bool = False) -> Site:
    """Open a site home; raises `NotFoundError`, or `RefusedError` where a part of it is missing.

    ``lost_catalogue``: a catalogue that is gone is begun anew, to be rebuilt from media.
    """
    settings = Settings.load(home)
    catalogue = home / "catalogue.sqlite"
    lost = not settings.catalogue and not (catalogue.exists() and catalogue.stat().st_size)
    if lost and not lost_catalogue:
        raise RefusedError(
            f"{catalogue} is missing or empty",
            hint="restore it from a backup of the site home; without one: courier catalog rebuild MEDIUM...",
            code=Code.NO_CATALOGUE,
        )
    own_card(home, settings.site)
    site = Site(
        home=home,
        settings=settings,
        catalogue=open_catalogue(settings.catalogue or sqlite_url(home / "catalogue.sqlite")),
        keyring=Keyring(home / "keys"),
        store=FolderStore(home / "store"),
    )
    if lost:
        with site.catalogue.writing() as connection:
            packages.raise_counter(connection, packages.IDS_LOST, 1)
    return site
