"""Giving back the disk space of a parcel that arrives here."""

from __future__ import annotations

from courier.files import locked
from courier.parcel.discard import log_discarded, remove_folder
from courier.parcel.states import ReceivedState
from courier.receiving.spool import PACKING_LIST
from courier.site.catalog import parcels
from courier.site.home import Site


def discard_received(site: Site, parcel: str) -> int | None:
    """Delete what has gathered of a parcel here; return the bytes freed, None where nothing of it was received.

    Everything received is forgotten, so that its volumes can be received anew; one that was refused stays refused.
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
            # Without it the folder is no spool: a kill leaves the parcel as it was, or forgotten.
            (folder / PACKING_LIST).unlink(missing_ok=True)
            freed += remove_folder(folder)
            with site.catalogue.writing() as connection:
                if row.state == ReceivedState.REFUSED:
                    parcels.forget_received_volumes(connection, parcel, row.build)
                else:
                    parcels.forget_received(connection, parcel, row.build)
                log_discarded(connection, site, parcel)
    return freed
