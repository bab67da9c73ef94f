"""Discarding a parcel: its files are deleted to free disk space, and its log stays.

The files of each side are deleted by `courier.sending.discard_sent` and `courier.receiving.discard_received`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from courier.errors import NotFoundError
from courier.files import remove_tree
from courier.parcel.transitions import log_entry
from courier.site.catalog import parcels
from courier.site.home import Site

if TYPE_CHECKING:
    from sqlalchemy import Connection

DISCARDED = "discarded"
"""The event in the parcel's log."""
GONE = "its files were deleted here"
"""The text of that event."""


def discard_parcel(site: Site, parcel: str, sides: Sequence[Callable[[Site, str], int | None]]) -> int:
    """Delete the files of a parcel; return the bytes freed.

    ``sides``: one function each for what is kept as sender and as receiver, which returns the bytes it freed, or None
    where it does not know the parcel. Raises `NotFoundError` when none of them does.
    """
    with site.catalogue.reading() as connection:
        before = parcels.read_log(connection, parcel)
    freed = [bytes_freed for side in sides if (bytes_freed := side(site, parcel)) is not None]
    # A command that was killed right at its end leaves a parcel that only the log knows.
    if not freed and not (before and before[-1].event == DISCARDED):
        raise NotFoundError(f"{parcel} is not known here", hint="courier parcel list shows the parcels")
    return sum(freed)


def remove_folder(folder: Path) -> int:
    """Delete a folder; return the bytes of the files that were in it."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    remove_tree(folder)
    return size


def log_discarded(connection: Connection, site: Site, parcel: str) -> None:
    """Record in the log of a parcel that its files were deleted here."""
    parcels.write_log(connection, log_entry(site, parcel, DISCARDED, GONE))
