"""A site's settings file, and where its home is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from courier.errors import NotFoundError, RefusedError
from courier.files import write_atomic
from courier.site.file_names import SETTINGS
from formats.documents.custody import MAIN
from formats.documents.fields import Site as SiteCode
from formats.errors import FormatError
from formats.records import OPTIONAL, Count, NamedRecord, Text, read_named

HOLE_LIMIT = 16 << 40
"""Bytes that the holes of a parcel's sparse files may have, without a setting: they take hours to read, and no room."""
PARCEL_QUOTA = 100 * 10**9
"""Default of `Settings.parcel_quota`, in bytes."""
REPAIR_LIMIT = 256 << 20
"""Default of `Settings.repair_limit`, in bytes."""
SITE_QUOTA = 1 << 30
"""Default of `Settings.site_quota`, in bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings(NamedRecord):
    """A site's settings.

    ``catalogue``: an SQLAlchemy URL, or empty for the SQLite file in the home. ``max_transit_days``: parcels that were
    under way longer are not imported; 0: no limit. ``parcel_quota``: bytes of built parcels to keep, beyond which those
    of confirmed ones go; 0: all. ``repair_limit``: bytes of blocks that a repair request gets without the operator's
    consent. ``media``: kinds of media that this site can read, as other sites are told; empty: not told. ``relays``:
    sites that may vouch for packages of sites whose card is not pinned here. ``hole_limit``: bytes that the holes of a
    parcel's sparse files may have; 0: no limit. ``refuse_outside_links``: whether packages with links that lead out of
    them are refused. ``store``: the address of the bucket that holds the package content, or empty for the folder in
    the home. ``site_quota``: bytes of documents that one other site may put here. ``release_lost``: volumes of
    a parcel that may be reported as lost for its key to be released on arrival without the operator. ``progressive``:
    whether packages are imported as soon as they are here, before the rest of their parcel comes. ``books``: where
    its custody entries are numbered, the present book last, since catalogues were lost and they could not be numbered
    on; empty: in ``main``.
    """

    NAME = "settings"

    site: SiteCode
    name: Text
    catalogue: Text = ""
    max_transit_days: Count = 0
    parcel_quota: Count = PARCEL_QUOTA
    repair_limit: Count = REPAIR_LIMIT
    media: tuple[Text, ...] = ()
    relays: Annotated[tuple[SiteCode, ...], OPTIONAL] = ()
    hole_limit: Annotated[Count, OPTIONAL] = HOLE_LIMIT
    refuse_outside_links: Annotated[bool, OPTIONAL] = False
    site_quota: Annotated[Count, OPTIONAL] = SITE_QUOTA
    release_lost: Annotated[Count, OPTIONAL] = 0
    progressive: Annotated[bool, OPTIONAL] = False
    books: Annotated[tuple[Text, ...], OPTIONAL] = ()
    store: Annotated[Text, OPTIONAL] = ""

    @property
    def present_book(self) -> str:
        """The book that this site writes its custody entries into now."""
        return self.books[-1] if self.books else MAIN

    def save(self, home: Path) -> None:
        """Write the settings into ``home``; hold the lock of its keys, which is that of the files in it."""
        write_atomic(home / SETTINGS, self.json() + b"\n", private=True)

    @classmethod
    def load(cls, home: Path) -> Settings:
        """Read the settings from ``home``.

        Raises `NotFoundError` when it is no site home, `RefusedError` when the file is damaged.
        """
        path = home / SETTINGS
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise NotFoundError(
                f"no site home at {home}",
                hint="name it with --home DIR or $COURIER_HOME; courier init makes a new site: courier init --help",
            ) from None
        try:
            return read_named(cls, data.rstrip(b"\n"))
        except FormatError as error:
            raise RefusedError(f"{path}: {error}", hint="restore the file from a backup of the site home") from None


def find_home(given: Path | None) -> Path:
    """Where the site home is: ``given`` (``--home``), else ``$COURIER_HOME``, else the platform's data folder."""
    if given is not None:
        return given.absolute()
    if named := os.environ.get("COURIER_HOME"):
        return Path(named).absolute()
    from platformdirs import user_data_path

    return user_data_path("courier", appauthor=False)
