"""What came by network about a parcel: its ship notices and its recall, verified again each time they are used.

A site may have been revoked since a document came, so that an earlier verification does not count. What the documents
mean for an import is judged by `courier.parcel.import_checks`.
"""

from __future__ import annotations

from courier.errors import RefusedError
from courier.parcel.import_checks import recalled
from courier.site.catalog import letters, parcels
from courier.site.clock import now
from courier.site.home import Site
from courier.site.trust import Trust
from formats.documents import notice as notice_doc
from formats.documents import recall as recall_doc
from formats.documents.notice import ShipNotice
from formats.documents.packing import PackingList
from formats.documents.recall import Recall


def verified_notices(site: Site, trust: Trust, packing: PackingList) -> list[ShipNotice]:
    """As `notices_about`, for a parcel whose packing list is here."""
    return notices_about(site, trust, packing.parcel, packing.source)


def notices_about(site: Site, trust: Trust, parcel: str, source: str) -> list[ShipNotice]:
    """The ship notices of a parcel of ``source`` that came and are still to be trusted, the oldest first.

    Raises `RefusedError` where notices came and none of them is to be trusted.
    """
    with site.catalogue.reading() as connection:
        envelopes = parcels.notices(connection, parcel)
    found = []
    refused: RefusedError | None = None
    for data, arrived_ns in envelopes:
        try:
            notice, _ = trust.verify(
                data, notice_doc.KIND, now_ns=now(), where=f"ship notice of {parcel}", arrived_ns=arrived_ns
            )
        except RefusedError as error:
            refused = error
        else:
            found.append(notice)
    if refused is not None and not found:
        raise refused
    return sorted((n for n in found if n.source == source), key=lambda n: n.issued_ns)


def find_recall(site: Site, trust: Trust, parcel: str, source: str) -> Recall | None:
    """The recall of a parcel by its sender; None where none came. Raises `RefusedError` for one not to be trusted."""
    with site.catalogue.reading() as connection:
        kept = letters.find(connection, "recall", parcel, source)
    if kept is None:
        return None
    return trust.verify(
        kept.envelope, recall_doc.KIND, now_ns=now(), where=f"recall of {parcel}", arrived_ns=kept.at_ns
    )[0]


def check_not_recalled(site: Site, trust: Trust, parcel: str, source: str) -> None:
    """Raise `RefusedError` when ``source`` has recalled the parcel."""
    recall = find_recall(site, trust, parcel, source)
    if recall is not None:
        raise recalled(parcel, source, recall)


def compare_with_notices(site: Site, trust: Trust, packing: PackingList) -> tuple[str, ...]:
    """Notes on a volume that is only verified, where the ship notices here do not name its build.

    Raises `RefusedError` where its parcel was recalled.
    """
    check_not_recalled(site, trust, packing.parcel, packing.source)
    try:
        notices = verified_notices(site, trust, packing)
    except RefusedError as error:
        return (error.message,)
    if not notices or any(n.build == packing.build for n in notices):
        return ()
    return (
        f"the ship notice of {packing.source} here names another build of {packing.parcel} than this volume's: "
        f"ask {packing.source} which is right",
    )
