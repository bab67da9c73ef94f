"""Discarding a parcel that was received: its spool is deleted."""

from __future__ import annotations

from courier.files import locked
from courier.parcel.discard import log_discarded, remove_folder
from courier.parcel.states import ReceivedState
from courier.receiving.spool import PACKING_LIST
from courier.site.catalog import parcels
from courier.site.home import Site


def discard_received(site: Site, parcel: str) -> int | None:
    """Delete what has gathered of a parcel; return the bytes freed, or None where nothing of it was received.

    What was received is forgotten, so that its volumes can be received anew; a parcel that was refused stays refused.
    """
    with site.catalogue.reading() as connection:
        received = parcels.find_received(connection, parcel)
    if not received:
        return None
    freed = 0
    for row in received:
        if row.state in (ReceivedState.IMPORTED, ReceivedState.ANNOUNCED):
            continue
        with locked(site.home / "parcels" / "in" / "lock"):
            folder = site.incoming(parcel, row.build)
            # Without it the folder is no spool, so that a kill at any moment leaves the parcel whole or forgotten.
            (folder / PACKING_LIST).unlink(missing_ok=True)
            freed += remove_folder(folder)
            with site.catalogue.writing() as connection:
                if row.state == ReceivedState.REFUSED:
                    parcels.forget_received_volumes(connection, parcel, row.build)
                else:
                    parcels.forget_received(connection, parcel, row.build)
                log_discarded(connection, site, parcel)
    return freed
