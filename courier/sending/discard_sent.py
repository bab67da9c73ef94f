"""Giving back the disk space of a parcel that this site made."""

from __future__ import annotations

from courier.parcel.discard import log_discarded, remove_folder
from courier.parcel.recipes import PACKS
from courier.site.catalog import parcels
from courier.site.home import Site


def discard_sent(site: Site, parcel: str) -> int | None:
    """Delete the compressed members and parity files of a parcel; return the bytes freed, None if it is not ours.

    `courier.sending.missing_files` makes them again on demand. Raises `BusyError` while another command holds it.
    """
    with site.catalogue.reading() as connection:
        if parcels.find_sent(connection, parcel) is None:
            return None
    folder = site.outgoing(parcel)
    # A run that writes the parcel needs them.
    with site.locked(folder / "lock"), site.locked(site.home / "parcels" / "out" / "lock"):
        site.catalogue.check_held()
        freed = remove_folder(folder / PACKS) + sum(remove_folder(parity) for parity in folder.glob("parity-*"))
        with site.catalogue.writing() as connection:
            log_discarded(connection, site, parcel)
    return freed
