"""Discarding a parcel that was received: its spool is deleted."""

from __future__ import annotations

from courier.parcel.discard import GONE, log_discarded, remove_folder
from courier.parcel.states import NOTHING_HERE, ReceivedEvent, ReceivedState
from courier.parcel.transitions import received_event
from courier.receiving.parcel_status import received_row
from courier.receiving.spool import PACKING_LIST
from courier.receiving.spools_lock import alone_with_spool
from courier.site.catalog import parcels
from courier.site.home import Site


def discard_received(site: Site, parcel: str) -> int | None:
    """Delete what has gathered of a parcel; return the bytes freed, or None where nothing of it was received.

    That its volumes were received is forgotten, so that they can be received anew. The parcel stays known, as
    discarded; one that was refused stays refused.
    """
    with site.catalogue.reading() as connection:
        received = parcels.find_received(connection, parcel)
    if not received:
        return None
    freed = 0
    for known in received:
        folder = site.incoming(parcel, known.build)
        with alone_with_spool(site, folder):
            row = received_row(site, parcel, known.build)
            if row.state == ReceivedState.IMPORTED or row.state in NOTHING_HERE:
                continue
            site.catalogue.check_held()
            # Without it the folder is no spool, so that a kill at any moment leaves the parcel whole or discarded.
            (folder / PACKING_LIST).unlink(missing_ok=True)
            freed += remove_folder(folder)
            with site.catalogue.writing() as connection:
                parcels.forget_received_volumes(connection, parcel, row.build)
                if row.state == ReceivedState.REFUSED:
                    log_discarded(connection, site, parcel)
                else:
                    received_event(connection, site, parcel, row.build, ReceivedEvent.DISCARDED, GONE, hold=0)
    return freed
