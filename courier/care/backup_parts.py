"""What a backup of a site holds: the manifest, and the files of the home, by the names that they have in it.

It is a tar in the pax format, encrypted as a file of age: ``age -d`` and ``tar`` read it. First comes `MANIFEST`, then
settings, card, configuration and keys, then the catalogue, then the other files. Not in it: the contents of the store,
parity (which is made anew from them), blocks of parcels that arrive, messages on their way in, logs and locks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from courier.files import TEMP
from courier.site.card import CARD
from courier.site.file_names import CATALOGUE, CONFIG, SETTINGS
from formats.documents.fields import Site as SiteCode
from formats.records import NamedRecord, Text, Time

MANIFEST = "backup.json"
KEYS = "keys"
_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_PARCEL = r"[A-Z0-9]{3}-[0-9]{6}"
_NAMES = re.compile(
    rf"{re.escape(MANIFEST)}|{re.escape(SETTINGS)}|{re.escape(CARD)}|{re.escape(CATALOGUE)}|{re.escape(CONFIG)}"
    rf"|{KEYS}/{_PART}|store/listings/[0-9a-f]{{64}}|parcels/out/{_PARCEL}(/{_PART}){{1,2}}"
)
_LEFT_OUT = re.compile(r"parcels/out/[^/]+/(lock|parity-[0-9]+(/.*)?|packs(/.*)?)|.*/lock|lock")


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest(NamedRecord):
    """What a backup is of: the site, when it was begun, and where its catalogue was (an SQLAlchemy URL, or empty)."""

    NAME = "backup"

    site: SiteCode
    made_ns: Time
    catalogue: Text


def is_allowed(name: str) -> bool:
    """Whether a backup may hold a file of that name; any other would come to lie where no home has one."""
    return _NAMES.fullmatch(name) is not None and _LEFT_OUT.fullmatch(name) is None


def files_of_keys(home: Path) -> list[Path]:
    """Settings, card and keys: they change together, under the lock of the home."""
    named = [home / name for name in (SETTINGS, CARD, CONFIG) if (home / name).is_file()]
    return [*named, *_files(home / KEYS)]


def files_of_work(home: Path) -> Iterator[Path]:
    """What parcels that were made here consist of besides content, and the listings of the packages."""
    yield from _files(home / "parcels" / "out")
    yield from _files(home / "store" / "listings")


def _files(folder: Path) -> list[Path]:
    """The files below a folder that belong into a backup, in order."""
    if not folder.is_dir():
        return []
    home = folder.parent if folder.name == KEYS else folder.parent.parent
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return [path for path in found if is_allowed(path.relative_to(home).as_posix()) and not _is_temporary(path, home)]


def _is_temporary(path: Path, home: Path) -> bool:
    return any(part.startswith(TEMP) for part in path.relative_to(home).parts)
