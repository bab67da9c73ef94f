"""A site's home folder: making it, opening it, and the opened site that every command works with.

What lies in it: ``site.json`` settings, ``card.json`` the site's own signed card, ``keys/``, ``catalogue.sqlite``,
``store/`` package content, ``parcels/out/PARCEL`` parcels made here, ``parcels/in/PARCEL-BUILD`` parcels that arrive,
``channel/`` messages under way, ``state/`` keys of captures made here, and ``log/``. `courier.site.permissions` says
who may read it.
"""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import BusyError, DamagedError, RefusedError, UsageError
from courier.files import TEMP, is_locked, locked, make_folder, private_mode, remove_tree, sweep
from courier.site.card import CARD, clock_before_key, make_card, own_card, pinned_card
from courier.site.catalog import Catalogue, guests, open_catalogue, packages
from courier.site.catalog.database import check_catalogue_url, sqlite_url
from courier.site.catalog.held_things import held_by, held_thing
from courier.site.clock import now
from courier.site.file_names import BACKUP, CATALOGUE, CATALOGUE_FILES, CONFIG, SETTINGS, WATCH
from courier.site.keyring import Keyring
from courier.site.log import LOG_FOLDER
from courier.site.permissions import keep_to_owner, shared_with_group
from courier.site.pinned_sites import PinnedSites
from courier.site.settings import Settings
from courier.site.store.content_store import ContentStore
from courier.site.store.folder import FolderStore
from courier.site.trust import KEY_WARNING_NS, KnownSite, Trust
from formats.documents.card import SiteCard
from formats.envelope import Envelope, sign
from formats.errors import FormatError
from formats.records import format_time

if TYPE_CHECKING:
    from sqlalchemy import URL

_PARTS = {
    CARD,
    "keys",
    "store",
    "parcels",
    "channel",
    "locks",
    "state",
    LOG_FOLDER,
    BACKUP,
    CONFIG,
    WATCH,
    "lost+found",
} | {*CATALOGUE_FILES}
"""What a home holds besides its settings. ``lost+found`` is there where the home is a file system of its own."""


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
        """This site's card, read anew each time: the key may be renewed during a build, an import or a server's run."""
        return own_card(self.home, self.code)[0]

    @property
    def card_envelope(self) -> bytes:
        """The signed envelope of this site's card."""
        return own_card(self.home, self.code)[1]

    @cached_property
    def operator(self) -> str:
        """The name of the user that runs this command, as it is recorded in logs and custody entries."""
        try:
            name = getpass.getuser()
        except (KeyError, OSError, ImportError):
            return "unknown"
        # It may come from the environment and hold anything, and it goes into signed entries.
        return name.encode("utf-8", "backslashreplace").decode().replace("\0", "")[:200]

    @contextlib.contextmanager
    def locked(self, path: Path) -> Iterator[None]:
        """Hold the lock file ``path`` of the home while the block runs, at every computer that works on this site.

        Raises `BusyError` at once when another command holds it. Where the catalogue is on a server, the lock is held
        there too, and whoever lost it there can write nothing more into the catalogue (decision 0040); a catalogue in
        SQLite is of one computer, whose operating system keeps commands apart.
        """
        name = path.relative_to(self.home).as_posix()
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(path))
            except BusyError:
                raise held_by(held_thing(name), self.catalogue.holder(name)) from None
            stack.enter_context(self.catalogue.exclusive(name))
            yield

    def is_locked(self, path: Path) -> bool:
        """Whether a command holds the lock file ``path`` of the home, at whichever computer."""
        return is_locked(path) or bool(self.catalogue.holder(path.relative_to(self.home).as_posix()))

    @contextlib.contextmanager
    def files_locked(self) -> Iterator[None]:
        """Hold the lock of the files that stand in the home itself and of its keys; see `home_lock`."""
        with self.locked(self.home / "keys" / "lock"):
            _sweep_home(self.home)
            yield

    def trust(self) -> Trust:
        """The sites that this site trusts now, and its own policy."""
        known = PinnedSites(self.catalogue, own=self.code, own_site=KnownSite(card=self.card))
        return Trust(own=self.code, known=known, max_transit_days=self.settings.max_transit_days)

    def room_for(self, code: str) -> int:
        """Bytes that another site may still put here."""
        with self.catalogue.reading() as connection:
            return max(0, self.settings.site_quota - guests.put_here(connection, code))

    def sign(self, payload: bytes, payload_type: str) -> Envelope:
        """Sign a document with the site's present key.

        The time that the document gives must be within the key's validity: see `signing_time`.
        """
        return sign(payload, payload_type, [self.keyring.signer(self.card.keys[0].key)])

    def signing_time(self, made_ns: int) -> int:
        """The time (nanoseconds, UTC) to write into a document that was made at ``made_ns`` and is signed now.

        It is ``made_ns``, but never before the signing key was made, for other sites would refuse that. What was made
        in the future, by a clock that was ahead, is dated when the key was made. For the same key it is always the
        same.
        """
        begun = self.card.keys[0].valid_from_ns
        return max(made_ns, begun) if made_ns <= now() else begun

    def check_key(self) -> None:
        """Raise `RefusedError` unless other sites will believe what is signed now.

        They do not when this computer's clock is before the key was made, or the key has ended. Raises as `unlock` does
        too. Call it before signing what goes on media, which cannot be signed again once it is under way.
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
        """Load the signing key, and ask for its passphrase or PIN where it has one, before hours of work begin.

        Raises `RefusedError` or `NotFoundError` when it cannot be loaded.
        """
        self.keyring.signer(self.card.keys[0].key)

    def key_has_ended(self) -> bool:
        """Whether the validity of the signing key is over, so that it can sign no new card either."""
        return now() >= self.card.keys[0].valid_until_ns

    def key_warning(self) -> str:
        """A warning when the signing key has ended or ends within `KEY_WARNING_NS`; otherwise empty."""
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


@contextlib.contextmanager
def home_lock(home: Path) -> Iterator[None]:
    """Hold the lock of the files that stand in a home itself and of its keys; raises `BusyError`.

    What a killed command left of them is removed first. It keeps apart the commands of one computer, and is for homes
    whose catalogue is not open: while they are made, or their catalogue in SQLite is begun anew. Else it is
    `Site.files_locked`.
    """
    with locked(home / "keys" / "lock"):
        _sweep_home(home)
        yield


def _sweep_home(home: Path) -> None:
    sweep(home)
    sweep(home / "keys")


def change_settings(site: Site, **values: object) -> Settings:
    """Change settings of a site, those that the file has now; return them all. Raises `BusyError`."""
    with site.files_locked():
        settings = replace(Settings.load(site.home), **values)  # type: ignore[arg-type]
        settings.save(site.home)
    return settings


def create_site(
    home: Path,
    *,
    code: str,
    name: str,
    catalogue: str = "",
    store: str = "",
    key: str = "file",
    passphrase: bool = False,
    group: str = "",
    warn: Callable[[str], None] = lambda _: None,
) -> Site:
    """Make a site home: keys, card, catalogue and store; return the site, opened.

    ``catalogue``: an SQLAlchemy URL, or empty for an SQLite file in the home. ``store``: the address of a bucket, or
    empty for a folder in the home. ``key`` and ``passphrase`` as for `Keyring.add`. ``group``: name of a group of
    users, all of whom are operators of the site; empty: the home is for this user alone. ``warn`` is told what an
    operator has to know of the bucket. The settings are written last: a home without them, because its making was
    killed or they were lost, keeps its keys, its card and its catalogue. After an error nothing is left of what was
    made.

    Raises `UsageError` when the home is a site's already or holds something else, and `RefusedError` when its card is
    another site's, or is missing where there is a catalogue.
    """
    check_catalogue_url(catalogue)
    if store:
        from courier.site.objects.bucket import Bucket, parse_bucket
        from courier.site.objects.trial import claim, try_bucket

        bucket = Bucket(parse_bucket(store))
    if (home / SETTINGS).exists():
        raise UsageError(
            f"{home} is already the home of site {Settings.load(home).site}",
            hint="name another --home; at another computer of the site, which sees this folder, init is not needed",
        )
    _check_empty(home)
    if store:
        for text in try_bucket(bucket, code).warnings(bucket.address):
            warn(text)

    def have_store() -> None:
        if store:
            claim(bucket, code)

    with _nothing_left(home):
        keep_to_owner(home, group)
        with shared_with_group(home), home_lock(home):
            is_again = (home / CARD).exists()
            _make_parts(home, code=code, name=name, key=key, passphrase=passphrase)
            with contextlib.closing(open_catalogue(catalogue or _sqlite_file(home))) as opened:
                if catalogue:
                    _take_for_home(opened, is_again=is_again, have_store=have_store)
                else:
                    have_store()
            Settings(site=code, name=name, catalogue=catalogue, store=store).save(home)
        return open_site(home)


def _take_for_home(catalogue: Catalogue, *, is_again: bool, have_store: Callable[[], None]) -> None:
    """Note in a catalogue on a server that it has a home; raises `RefusedError` where it is that of another home.

    With two homes, a site would have two keys. ``is_again``: the home is made anew, and had its keys already.
    ``have_store`` has the store too, and is called in between: where either cannot be had, neither is.
    """
    with catalogue.writing() as connection:
        if packages.read_counter(connection, packages.HOME) and not is_again:
            raise RefusedError(
                "this catalogue belongs to the home of a site already, which has its keys",
                hint="at another computer of that site: use the same folder as its home, without init; or name an "
                "empty database",
                code=Code.ANOTHER_SITE,
            )
        have_store()
        packages.raise_counter(connection, packages.HOME, 1)


def _check_empty(home: Path) -> None:
    """Raise `UsageError` where a home that is to be made holds anything that is no part of one."""
    if not home.exists():
        return
    strange = sorted(path.name for path in home.iterdir() if not (path.name.startswith(TEMP) or path.name in _PARTS))
    if strange:
        raise UsageError(
            f"{home} is no site home and not empty: it holds {', '.join(map(repr, strange[:3]))}"
            f"{' and more' if len(strange) > 3 else ''}",
            hint="name a folder that does not exist yet, or an empty one",
        )


@contextlib.contextmanager
def _nothing_left(home: Path) -> Iterator[None]:
    """Make the folder of a home; when the block raises, remove what was not there before, also folders above it."""
    made = [folder for folder in (home, *home.parents) if not folder.exists()]
    make_folder(home)
    before = set(home.iterdir())
    try:
        yield
    except BusyError:
        # It is another command that makes this home: all of it is that one's.
        raise
    except BaseException:
        for path in set(home.iterdir()) - before:
            remove_tree(path)
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _make_parts(home: Path, *, code: str, name: str, key: str, passphrase: bool) -> None:
    """Make keys, card and folders of a home, but for the card and keys that are there; see `create_site`."""
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
    elif (home / CATALOGUE).exists():
        raise RefusedError(
            f"{home} has a catalogue, but neither {SETTINGS} nor {CARD}",
            hint="restore both from a backup of the site home; or name another --home",
            code=Code.HALF_A_HOME,
        )
    else:
        make_card(home, code=code, name=name, key=key, passphrase=passphrase)
    for folder in ("store", "parcels/out", "parcels/in"):
        make_folder(home / folder)


def _sqlite_file(home: Path) -> URL:
    """The address of the catalogue in a home; where there is no file yet, an empty one is made that is private."""
    path = home / CATALOGUE
    if not path.exists():
        path.touch(mode=private_mode(home))  # SQLite gives the files beside it the same permissions
    return sqlite_url(path)


def open_site(home: Path, *, lost_catalogue: bool = False, read_only: bool = False) -> Site:
    """Open a site home.

    ``lost_catalogue``: a catalogue that is missing is begun anew, to be rebuilt from media (one that is damaged stands
    in the way: see `courier.site.lost_catalogue`). ``read_only``: the catalogue is opened for reading only, as
    `courier.site.catalog.database.open_catalogue` says. Raises `NotFoundError` when there is no home, `RefusedError`
    when a part of it is missing, `DamagedError` for a damaged catalogue.
    """
    settings = Settings.load(home)
    path = home / CATALOGUE
    lost = not settings.catalogue and not (path.exists() and path.stat().st_size)
    if lost and not lost_catalogue:
        raise RefusedError(
            f"{path} is missing or empty",
            hint="restore it from a backup of the site home; without one: courier catalog rebuild --card CARD "
            "MEDIUM..., with the cards of the other sites",
            code=Code.NO_CATALOGUE,
        )
    own_card(home, settings.site)
    catalogue = open_catalogue(settings.catalogue or _sqlite_file(home), read_only=read_only)
    site = Site(
        home=home,
        settings=settings,
        catalogue=catalogue,
        keyring=Keyring(home / "keys", elsewhere=partial(catalogue.exclusive, "keys/lock")),
        store=_open_store(settings, catalogue, home / "store"),
    )
    if lost:
        with site.catalogue.writing() as connection:
            packages.raise_counter(connection, packages.IDS_LOST, 1)
    return site


def _open_store(settings: Settings, catalogue: Catalogue, folder: Path) -> ContentStore:
    if not settings.store:
        elsewhere = partial(catalogue.exclusive, "store/lock")
        return FolderStore(folder, elsewhere=elsewhere, check_held=catalogue.check_held)
    from courier.site.objects.bucket import Bucket, parse_bucket
    from courier.site.objects.store import ObjectStore

    return ObjectStore(Bucket(parse_bucket(settings.store)), catalogue, folder, site=settings.site)
