"""Bringing back what the catalogue knew of a parcel that arrives, from its media: its spool begins again, empty."""

from __future__ import annotations

from courier.files import locked
from courier.media.reading import Medium
from courier.parcel.rebuild import Rebuilt, rebuilt_from
from courier.parcel.volume_documents import VolumeDocuments
from courier.receiving.open_spool import open_spool
from courier.site.catalog import parcels
from courier.site.home import Site


def rebuild_received(site: Site, medium: Medium, documents: VolumeDocuments) -> Rebuilt:
    """Record the parcel of a verified medium as one that arrives here; a parcel that is known stays as it is."""
    with site.catalogue.reading() as connection:
        known = parcels.find_received(connection, documents.packing.parcel, documents.packing.build)
    with locked(site.home / "parcels" / "in" / "lock"):
        spool = open_spool(site, documents, hold=False)
    return rebuilt_from(documents, medium, "receiver", not known, () if spool else ("imported before",))
