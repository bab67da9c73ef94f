"""A site's settings file, and where its home is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from courier.errors import NotFoundError, RefusedError
from courier.files import write_atomic
from formats.errors import FormatError
from formats.names import check_site
from formats.records import encode, open_document

SETTINGS = "site.json"
REPAIR_LIMIT = 256 << 20
"""Default of `Settings.repair_limit`, in bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """A site's settings.

    ``catalogue``: an SQLAlchemy URL, or empty for the SQLite file in the home. ``max_transit_days``: parcels that were
    under way longer are not imported; 0: no limit. ``parcel_quota``: bytes of built parcels to keep; 0: all.
    ``repair_limit``: bytes of blocks that a repair request gets without the operator's consent. ``media``: kinds of
    media that this site can read, as other sites are told; empty: not told.
    """

    site: str
    name: str
    catalogue: str = ""
    max_transit_days: int = 0
    parcel_quota: int = 0
    repair_limit: int = REPAIR_LIMIT
    media: tuple[str, ...] = ()

    def save(self, home: Path) -> None:
        """Write the settings into ``home``."""
        record = {
            "format": "courier-settings/1",
            "site": self.site,
            "name": self.name,
            "catalogue": self.catalogue,
            "max_transit_days": self.max_transit_days,
            "parcel_quota": self.parcel_quota,
            "repair_limit": self.repair_limit,
            "media": list(self.media),
        }
        write_atomic(home / SETTINGS, encode(record) + b"\n")

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
            fields = open_document(data.rstrip(b"\n"), name="settings")
            return cls(
                site=check_site(fields.text("site")),
                name=fields.text("name"),
                catalogue=fields.text("catalogue"),
                max_transit_days=fields.integer("max_transit_days") if fields.has("max_transit_days") else 0,
                parcel_quota=fields.integer("parcel_quota") if fields.has("parcel_quota") else 0,
                repair_limit=fields.integer("repair_limit") if fields.has("repair_limit") else REPAIR_LIMIT,
                media=tuple(fields.texts("media")) if fields.has("media") else (),
            )
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
