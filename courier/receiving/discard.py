"""Giving disk space back: a parcel's files go, its record stays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from courier.errors import NotFound
from courier.files import locked, remove_tree
from courier.parcel.recipes import PACKS
from courier.parcel.states import ReceivedState
from courier.parcel.transitions import log_entry
from courier.receiving.spool import PACKING_LIST
from courier.site.catalog import parcels
from courier.site.home import Site

if TYPE_CHECKING:
    from sqlalchemy import Connection

DISCARDED = "discarded"
"""The event of the log."""


def discard_parcel(site: Site, parcel: str) -> int:
    """Delete what a parcel we made keeps on our disk, or what has gathered of one that arrives; return bytes freed.

    Of what we made, compressed members and parity are made again on demand (`courier.sending.build_again`). Of an
    arriving parcel everything received is forgotten, so that its volumes can be received anew; one that was refused
    stays refused. Raises `NotFound`.
    """
    with site.catalogue.reading() as connection:
        sent = parcels.find_sent(connection, parcel)
        received = parcels.find_received(connection, parcel)
        before = parcels.read_log(connection, parcel)
    if sent is None and not received:
        if before and before[-1].event == DISCARDED:
            return 0  # The run before this one came to its end, or was killed right there.
        raise NotFound(f"{parcel} is not known here", hint="courier parcel list shows the parcels")
    freed = 0
    if sent is not None:
        folder = site.outgoing(parcel)
        # Nothing is taken from under a run that writes it.
        with locked(folder / "lock"), locked(site.home / "parcels" / "out" / "lock"):
            freed += _remove(folder / PACKS) + sum(_remove(parity) for parity in folder.glob("parity-*"))
            with site.catalogue.writing() as connection:
                _log(connection, site, parcel)
    for row in received:
        if row.state in (ReceivedState.IMPORTED, ReceivedState.ANNOUNCED):
            continue
        with locked(site.home / "parcels" / "in" / "lock"):
            folder = site.arriving(parcel, row.build)
            # Without it the folder is no spool: a kill leaves the parcel as it was, or forgotten.
            (folder / PACKING_LIST).unlink(missing_ok=True)
            freed += _remove(folder)
            with site.catalogue.writing() as connection:
                if row.state == ReceivedState.REFUSED:
                    parcels.forget_received_volumes(connection, parcel, row.build)
                else:
                    parcels.forget_received(connection, parcel, row.build)
                _log(connection, site, parcel)
    return freed


def _remove(folder: Path) -> int:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    remove_tree(folder)
    return size


def _log(connection: Connection, site: Site, parcel: str) -> None:
    parcels.write_log(connection, log_entry(site, parcel, DISCARDED, "its files were deleted here"))
