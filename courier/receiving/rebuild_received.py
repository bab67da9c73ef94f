"""Rebuilding what the catalogue knew of a received parcel from its media: its spool begins again, empty."""

from __future__ import annotations

from courier.media.reading import Medium
from courier.parcel.rebuild import Rebuilt, rebuilt_from
from courier.parcel.volume_documents import VolumeDocuments
from courier.receiving.open_spool import OpenSpools, SpoolRequest, open_spool
from courier.receiving.spools_lock import spools_door
from courier.site.catalog import parcels
from courier.site.home import Site


def rebuild_received(site: Site, medium: Medium, documents: VolumeDocuments) -> Rebuilt:
    """Record the parcel of a verified medium as one that arrives here; what is known of it stays as it is.

    Raises as `open_spool` does.
    """
    with site.catalogue.reading() as connection:
        known = parcels.find_received(connection, documents.packing.parcel, documents.packing.build)
    with spools_door(site):
        request = SpoolRequest(documents=documents, trust=site.trust(), where=documents.label.label)
        spool = open_spool(site, request, OpenSpools())
    return rebuilt_from(documents, medium, "receiver", not known, () if spool else ("imported before",))
