"""The site home: where it is, and what its one settings file says."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from courier.errors import NotFoundError, RefusedError
from courier.files import write_atomic
from formats.documents.fields import Site as SiteCode
from formats.errors import FormatError
from formats.records import Count, NamedRecord, Text, read_named

SETTINGS = "site.json"
REPAIR_LIMIT = 256 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings(NamedRecord):
    """A site's settings. ``catalogue`` is an SQLAlchemy URL, or empty for the SQLite file in the home.

    ``max_transit_days``: parcels that were under way longer are not imported; 0: however long it takes;
    ``parcel_quota``: bytes of built parcels to keep, 0: all; ``repair_limit``: bytes of blocks that are sent to a site
    that asks for repair without asking the operator.
    ``media``: kinds of media that this site can read, told to senders; none: not said.
    """

    NAME = "settings"

    site: SiteCode
    name: Text
    catalogue: Text = ""
    max_transit_days: Count = 0
    parcel_quota: Count = 0
    repair_limit: Count = REPAIR_LIMIT
    media: tuple[Text, ...] = ()

    def save(self, home: Path) -> None:
        """Write them into ``home``."""
        write_atomic(home / SETTINGS, self.json() + b"\n")

    @classmethod
    def load(cls, home: Path) -> Settings:
        """Read them from ``home``; raises `NotFoundError` when there is no site, `RefusedError` when the file is
        damaged."""
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
    """The site home: ``given`` (``--home``), else ``$COURIER_HOME``, else the platform's data folder."""
    if given is not None:
        return given.absolute()
    if named := os.environ.get("COURIER_HOME"):
        return Path(named).absolute()
    from platformdirs import user_data_path

    return user_data_path("courier", appauthor=False)
